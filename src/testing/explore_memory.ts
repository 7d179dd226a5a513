// The memory of a scenario, put back before every schedule: what is in the way of running many.
//
// An arena has thousands of pages and a schedule writes to a few dozen, but nobody tells which: plain stores go by no hook.
// So only the pages that a schedule is known to have written to are put back, and now and then all others are compared with
// what they should be. When one differs, it belongs to those from then on, and what ran since the last comparison began
// with wrong memory: the explorer goes back to that moment and runs it again (explore.ts). That happens in the first few
// schedules of a scenario, and hardly ever after them.

const PAGE_WORDS = 1024

export interface Snapshot {
  /** Puts back the pages that are known to be written to. */
  restore(): void
  /** Has every schedule since the last call begun with the memory of the snapshot? Puts back what was wrong. */
  verify(): boolean
}

/** Remembers what is in `m` now. */
export function takeSnapshot(m: Int32Array): Snapshot {
  const copy = m.slice()
  const now = Buffer.from(m.buffer)
  const then = Buffer.from(copy.buffer)
  const written = new Uint8Array(Math.ceil(m.length / PAGE_WORDS))
  /** Views of the copy, for each page that is written to, and where they go. */
  const pages: Int32Array[] = []
  const words: number[] = []
  const same = (p: number): boolean => {
    const from = p * PAGE_WORDS * 4
    const to = Math.min(from + PAGE_WORDS * 4, now.length)
    return now.compare(then, from, to, from, to) === 0
  }
  return {
    restore() {
      for (let i = 0; i < pages.length; i++) m.set(pages[i], words[i])
    },
    verify() {
      const known = pages.length
      for (let p = 0; p < written.length; p++) {
        if (written[p] !== 0 || same(p)) continue
        written[p] = 1
        words.push(p * PAGE_WORDS)
        pages.push(copy.subarray(p * PAGE_WORDS, (p + 1) * PAGE_WORDS))
        m.set(pages[pages.length - 1], p * PAGE_WORDS)
      }
      return pages.length === known
    },
  }
}
