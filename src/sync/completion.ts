// A completion: something that happens once, with a result, and that others wait for (mlx5e's res_ready, init_done).
//
// One word. 0 is pending; any other value is final and is the result: 1 for success, a negative errno for failure.
// The result IS the state, in one store, so nobody can see "done" without it.
//
// Pending has other faces. WAITED: somebody may sleep on the word; most completions are never waited for, and a wake-up
// costs more than the completion. NUDGED, which `nudge` puts on and takes off: whoever reads the word, looks whether the
// one who should complete still lives, and then sleeps on the value that it read, does not sleep through a nudge in
// between.
import { cas, exchange, load, wait, wake } from './atomic.ts'

/** A thread looks around this often while it waits: see `gone`. */
const SLICE_MS = 1000

const NUDGED = 0x40000000
const WAITED = 0x20000000
const isPending = (word: number): boolean => (word & ~(NUDGED | WAITED)) === 0

/** Ends the wait of everybody, now and later. Once: a second call is a bug and throws. */
export function complete(m: Int32Array, i: number, result: number): void {
  if (isPending(result)) throw new Error(`completion: the result ${result} means pending`)
  const old = exchange(m, i, result)
  if (!isPending(old)) throw new Error(`completion at word ${i} completed twice (${old}, then ${result})`)
  if ((old & WAITED) !== 0) wake(m, i)
}

/** The result, or 0 while pending. */
export const result = (m: Int32Array, i: number): number => {
  const word = load(m, i)
  return isPending(word) ? 0 : word
}

/** What `sleep` compares, to be read before looking whether a sleep makes sense. */
export const face = (m: Int32Array, i: number): number => load(m, i)

/** Sleeps while the word is what `face` gave, and that is pending; false when a second passed. */
export function sleep(m: Int32Array, i: number, seen: number): boolean {
  if (!isPending(seen)) return true
  if ((seen & WAITED) === 0 && !cas(m, i, seen, seen | WAITED)) return true
  return wait(m, i, seen | WAITED, SLICE_MS)
}

/** Makes everybody who sleeps, or is about to, look round once. Does nothing to a completion that is done. */
export function nudge(m: Int32Array, i: number): void {
  for (let word = load(m, i); isPending(word); word = load(m, i)) if (cas(m, i, word, word ^ NUDGED)) break
  wake(m, i)
}

/**
 * Sleeps until completed; returns the result. Hold no lock that the completing thread needs.
 * `gone` is asked once a second whether the one who should complete has died; it may throw or complete in its place.
 */
export function waitFor(m: Int32Array, i: number, gone?: () => void): number {
  for (;;) {
    const seen = face(m, i)
    if (!isPending(seen)) return seen
    if (!sleep(m, i, seen) && gone !== undefined) gone()
  }
}
