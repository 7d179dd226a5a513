// Mutual exclusion and no lost wake-up: three threads, each once or twice through the lock.
import type { Scenario } from '../testing/scenario.ts'
import { cas, exchange, load, wait, wake } from './atomic.ts'
import { CHAIN, POOL } from './lock_order.ts'
import { lock, unlock } from './mutex.ts'
import { deref } from './rcu.ts'
import { self } from './thread.ts'

const LOCK = 1
const COUNT = 2
const LOCK2 = 3

/** Not atomic on purpose: the lock must make it so. */
const increment = (m: Int32Array): void => {
  const n = deref(m, COUNT)
  deref(m, COUNT)
  m[COUNT] = n + 1
}

const through = (m: Int32Array): void => {
  lock(m, LOCK, CHAIN)
  increment(m)
  unlock(m, LOCK, CHAIN)
}

const counts =
  (n: number) =>
  (m: Int32Array): string | undefined =>
    m[COUNT] !== n ? `count is ${m[COUNT]}, not ${n}` : m[LOCK] !== 0 ? `lock word is ${m[LOCK]}` : undefined

export const good: Scenario = { words: 64, threads: [through, through, through], check: counts(3) }

/** Two locks, nested, against each one alone. */
export const goodNested: Scenario = {
  words: 64,
  threads: [
    (m) => {
      lock(m, LOCK, CHAIN)
      lock(m, LOCK2, POOL)
      increment(m)
      unlock(m, LOCK, CHAIN)
      unlock(m, LOCK2, POOL)
    },
    (m) => {
      lock(m, LOCK2, POOL)
      increment(m)
      unlock(m, LOCK2, POOL)
    },
    (m) => {
      lock(m, LOCK, CHAIN)
      unlock(m, LOCK, CHAIN)
    },
  ],
  check: counts(2),
}

const WAITERS = 0x40000000

/** The twin: who slept takes the lock without WAITERS, so the third thread is never woken. */
const badThrough = (m: Int32Array): void => {
  if (!cas(m, LOCK, 0, self)) {
    for (;;) {
      const v = load(m, LOCK)
      if (v === 0) {
        if (cas(m, LOCK, 0, self)) break
      } else if ((v & WAITERS) !== 0 || cas(m, LOCK, v, v | WAITERS)) wait(m, LOCK, v | WAITERS)
    }
  }
  increment(m)
  if ((exchange(m, LOCK, 0) & WAITERS) !== 0) wake(m, LOCK, 1)
}
export const badWaiters: Scenario = { words: 64, threads: [badThrough, badThrough, badThrough], check: counts(3) }

/** The twin: two locks taken in both orders, which mutex.ts would refuse. */
const take = (m: Int32Array, i: number): void => {
  while (!cas(m, i, 0, 1)) wait(m, i, 1)
}
const give = (m: Int32Array, i: number): void => {
  exchange(m, i, 0)
  wake(m, i)
}
const both =
  (a: number, b: number) =>
  (m: Int32Array): void => {
    take(m, a)
    take(m, b)
    give(m, b)
    give(m, a)
  }
export const badOrder: Scenario = { words: 64, threads: [both(LOCK, LOCK2), both(LOCK2, LOCK)], check: () => undefined }
