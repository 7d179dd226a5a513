// A completion: something that happens once, with a result, and that others wait for (mlx5e's res_ready, init_done).
//
// One word. 0 is pending; any other value is final and is the result: 1 for success, a negative errno for failure.
// The result IS the state, in one store, so nobody can see "done" without it.
import { exchange, load, wait, wake } from './atomic.ts'

/** A thread looks around this often while it waits: see `gone`. */
const SLICE_MS = 1000

/** Ends the wait of everybody, now and later. Once: a second call is a bug and throws. */
export function complete(m: Int32Array, i: number, result: number): void {
  if (result === 0) throw new Error('completion: the result 0 means pending')
  const old = exchange(m, i, result)
  if (old !== 0) throw new Error(`completion at word ${i} completed twice (${old}, then ${result})`)
  wake(m, i)
}

/** The result, or 0 while pending. */
export const result = (m: Int32Array, i: number): number => load(m, i)

/**
 * Sleeps until completed; returns the result. Hold no lock that the completing thread needs.
 * `gone` is asked once a second whether the one who should complete has died; it may throw or complete in its place.
 */
export function waitFor(m: Int32Array, i: number, gone?: () => void): number {
  for (;;) {
    const r = load(m, i)
    if (r !== 0) return r
    if (!wait(m, i, 0, SLICE_MS) && gone !== undefined) gone()
  }
}
