// A completion against those who wait for it: nobody sleeps for ever, nobody sees "done" without the result.
import type { Scenario } from '../testing/scenario.ts'
import { load, store, wait, wake } from './atomic.ts'
import { complete, waitFor } from './completion.ts'

const DONE = 1
const RESULT = 2
const BY = 8

const check = (m: Int32Array): string | undefined =>
  m[BY] === -22 && m[BY + 1] === -22 ? undefined : `waiters saw ${m[BY]} and ${m[BY + 1]}`

const waiter =
  (i: number) =>
  (m: Int32Array): void => {
    m[BY + i] = waitFor(m, DONE)
  }
export const good: Scenario = { words: 64, threads: [(m) => complete(m, DONE, -22), waiter(0), waiter(1)], check }

/** The twin is mlx5e's first version: completed, then the result written (race 14). */
const badWaiter =
  (i: number) =>
  (m: Int32Array): void => {
    while (load(m, DONE) === 0) wait(m, DONE, 0)
    m[BY + i] = load(m, RESULT)
  }
export const badResult: Scenario = {
  words: 64,
  threads: [
    (m) => {
      store(m, DONE, 1)
      wake(m, DONE)
      store(m, RESULT, -22)
    },
    badWaiter(0),
    badWaiter(1),
  ],
  check,
}

/** The twin wakes one waiter of two. */
export const badWake: Scenario = {
  words: 64,
  threads: [
    (m) => {
      store(m, DONE, -22)
      wake(m, DONE, 1)
    },
    waiter(0),
    waiter(1),
  ],
  check,
}
