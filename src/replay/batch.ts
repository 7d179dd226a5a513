// Batches: long rows of `tc filter` and `tc actions` lines, parsed by several control workers at once.
//
//   setup lines     b b b b b b b … b b b   x   b b b …       x: any other line, the switch's own thread does it
//                   └─chunks of 64, parsed in parallel,       between batches
//                     committed in their order (batch_thread.ts)
//
// A batch gives what its lines one after the other give: the same tables, the same refusals. Devices, qdiscs and
// addresses cannot change in one, so parsing a line needs nothing that a line before it does. The switch's thread waits,
// outside of every read section, and touches nothing meanwhile.

import type { Switch } from '../switch/switch.ts'
import { spawn, type Thread } from '../sync/thread.ts'
import { type BatchEntry, type BatchJob, type BatchThreadData, CHUNK, CTL_WORDS } from './batch_thread.ts'
import type { Step } from './scenario.ts'

/** A shorter row of lines is not worth a batch. */
export const SHORTEST = 2 * CHUNK

const OBJECTS = new Set(['filter', 'actions'])
const VERBS = new Set(['add', 'del', 'delete', 'change', 'replace'])

/** May this line be one of a batch? Options and abbreviations may mean anything: those lines stand for themselves. */
export function isBatchLine(words: readonly string[]): boolean {
  const at = words[0] === 'tc' ? 1 : 0
  return OBJECTS.has(words[at]) && VERBS.has(words[at + 1])
}

/** A longer row of lines is several batches. */
export const LONGEST = 1 << 16

/** How many steps from `at` on are one batch; 0 when they are too few. */
export function batchLength(steps: readonly Step[], at: number, shortest = SHORTEST): number {
  let n = 0
  while (n < LONGEST && at + n < steps.length && steps[at + n].moment === null && isBatchLine(steps[at + n].words)) n++
  return n < shortest ? 0 : n
}

export interface ControlWorkers {
  /** Does the steps now; what they said, in their order. It ends behind a refusal of a step that is not forgiving. */
  run(steps: readonly Step[]): Promise<BatchEntry[]>
  close(): Promise<void>
}

/** Starts n control workers of the switch. */
export function openControlWorkers(sw: Switch, n: number): ControlWorkers {
  const data: BatchThreadData = { batch: true, memory: sw.arena.memory }
  const threads = Array.from({ length: n }, () =>
    spawn(new URL('./batch_thread.ts', import.meta.url), data, 'control worker'),
  )
  const died = Promise.race(
    threads.map(async (t) => {
      const { error } = await t.ended
      throw error ?? new Error('a control worker ended early')
    }),
  )
  died.catch(() => {})
  return {
    async run(steps) {
      const job = jobOf(steps, Math.floor(sw.now / 1e6))
      sw.datapath.offline()
      try {
        const said = await Promise.race([Promise.all(threads.map((t) => answer(t, job))), died])
        return said.flat().sort((a, b) => a.line - b.line)
      } finally {
        sw.datapath.online()
        sw.advance(sw.now)
      }
    },
    async close() {
      for (const t of threads) t.post(null)
      const late = setTimeout(() => {
        for (const t of threads) void t.terminate()
      }, 5000)
      await Promise.all(threads.map((t) => t.ended))
      clearTimeout(late)
    },
  }
}

const answer = (t: Thread, job: BatchJob): Promise<BatchEntry[]> =>
  new Promise((resolve) => {
    t.onceMessage((m) => resolve(m as BatchEntry[]))
    t.post(job)
  })

const LINE_FEED = 0x0a

function jobOf(steps: readonly Step[], now: number): BatchJob {
  const lines = Buffer.from(steps.map((s) => `${s.words.join('\0')}\n`).join(''))
  const text = new Uint8Array(new SharedArrayBuffer(lines.length))
  text.set(lines)
  const starts = new Int32Array(new SharedArrayBuffer((steps.length + 1) * 4))
  const forgiving = new Uint8Array(new SharedArrayBuffer(steps.length))
  steps.forEach((s, i) => {
    starts[i + 1] = lines.indexOf(LINE_FEED, starts[i]) + 1
    forgiving[i] = s.forgiving ? 1 : 0
  })
  return { ctl: new Int32Array(new SharedArrayBuffer(CTL_WORDS * 4)), text, starts, forgiving, now }
}
