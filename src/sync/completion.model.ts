// A completion against those who wait for it: nobody sleeps for ever, nobody sees "done" without the result.
import type { Scenario } from '../testing/scenario.ts'
import { load, store, wait, wake } from './atomic.ts'
import { complete, face, nudge, result, sleep, waitFor } from './completion.ts'

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

/** The twin sleeps without saying so: nobody wakes it. */
const silent =
  (i: number) =>
  (m: Int32Array): void => {
    while (load(m, DONE) === 0) wait(m, DONE, 0)
    m[BY + i] = result(m, DONE)
  }
export const badSilent: Scenario = {
  words: 64,
  threads: [(m) => complete(m, DONE, -22), silent(0), silent(1)],
  check,
}

const DEAD = 3

/** Waits until completed or until DEAD says that nobody will. */
const careful = (m: Int32Array): void => {
  for (let seen = face(m, DONE); result(m, DONE) === 0; seen = face(m, DONE)) {
    if (load(m, DEAD) !== 0) return
    sleep(m, DONE, seen)
  }
}
const noCheck = (): undefined => undefined

/** Who should complete dies instead, and a third says so: the waiter does not sleep through it. */
export const goodNudge: Scenario = {
  words: 64,
  threads: [
    careful,
    (m) => {
      store(m, DEAD, 1)
      nudge(m, DONE)
    },
  ],
  check: noCheck,
}

/** The twin only wakes: a waiter that looked before and sleeps after has missed it. */
export const badNudge: Scenario = {
  words: 64,
  threads: [
    careful,
    (m) => {
      store(m, DEAD, 1)
      wake(m, DONE)
    },
  ],
  check: noCheck,
}

/** Nudged and completed at the same time: the result is what was said. */
export const goodNudged: Scenario = {
  words: 64,
  threads: [(m) => complete(m, DONE, -22), waiter(0), (m) => nudge(m, DONE)],
  check: (m) => (m[BY] === -22 && m[DONE] === -22 ? undefined : `waiter saw ${m[BY]}, the word is ${m[DONE]}`),
}
