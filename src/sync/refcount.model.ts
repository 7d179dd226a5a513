// Take against the last put: whoever got a reference finds the object alive; exactly one thread tears it down.
import type { Scenario } from '../testing/scenario.ts'
import { add, load } from './atomic.ts'
import { deref } from './rcu.ts'
import * as Refcount from './refcount.ts'

const REFCNT = 1
const TORN_DOWN = 2
const SEEN_DEAD = 3

const release = (m: Int32Array): void => {
  if (Refcount.put(m, REFCNT)) add(m, TORN_DOWN, 1)
}
const use = (m: Int32Array): void => {
  if (deref(m, TORN_DOWN) !== 0) m[SEEN_DEAD] = 1
}

const finder =
  (take: (m: Int32Array, i: number) => boolean) =>
  (m: Int32Array): void => {
    if (!take(m, REFCNT)) return
    use(m)
    release(m)
  }

const model = (take: (m: Int32Array, i: number) => boolean): Scenario => ({
  words: 64,
  setup: (m) => Refcount.init(m, REFCNT),
  threads: [release, finder(take), finder(take)],
  check: (m) =>
    m[SEEN_DEAD] !== 0
      ? 'a holder found the object torn down'
      : m[TORN_DOWN] !== 1
        ? `torn down ${m[TORN_DOWN]} times`
        : undefined,
})

export const good = model(Refcount.take)

/** The twin looks first and adds then: up from zero. */
export const badTake = model((m, i) => {
  if (load(m, i) === 0) return false
  add(m, i, 1)
  return true
})

/** putNotLast, then put under the table's lock: the lookup under that lock finds only live objects. */
export const goodNotLast: Scenario = {
  words: 64,
  setup: (m) => Refcount.init(m, REFCNT, 2),
  threads: [
    (m) => {
      if (!Refcount.putNotLast(m, REFCNT)) release(m)
    },
    (m) => {
      if (!Refcount.putNotLast(m, REFCNT)) release(m)
    },
  ],
  check: (m) => (m[TORN_DOWN] === 1 && m[REFCNT] === 0 ? undefined : `torn down ${m[TORN_DOWN]} times`),
}
