// The pool's shared list, and frees that wait for readers.
import { add, store } from '../sync/atomic.ts'
import * as Rcu from '../sync/rcu.ts'
import type { Scenario } from '../testing/scenario.ts'
import { type Arena, attachArena, layOutArena, rcuOf } from './arena.ts'
import * as Super from './layout/super.ts'
import { alloc, free, freeRcu, inUse, reclaim } from './pool.ts'
import { classOf, POOL_BATCHES, POOL_FIRST, POOL_SIZE } from './size_class.ts'
import { readerOf } from './thread_record.ts'

const WORDS = (2 << 20) / 4
const OPTIONS = { packets: 2, frameSize: 60, counters: 2100, emc: 2, threads: 4 }
/** Results: words of the super page that nothing else uses. */
const OUT = 2048 >> 2
const SIZE = 192

const enter = (memory: WebAssembly.Memory): Arena => attachArena(memory)

/** One batch on the shared list, all magazines empty but the first thread's. */
function oneBatch(_m: Int32Array, memory: WebAssembly.Memory): void {
  const a = layOutArena(memory, OPTIONS)
  const all = Array.from({ length: 63 }, () => alloc(a, SIZE))
  for (const p of all) free(a, p, SIZE)
}

/** Takes one object and leaves its address; magazines hold the rest of the batch. */
const taker =
  (i: number) =>
  (a: Arena): void => {
    const p = alloc(a, SIZE)
    add(a.m, p >> 2, 1)
    a.m[OUT + i] = p
  }

const distinct = (m: Int32Array): string | undefined => {
  for (let i = 0; i < 2; i++) if (m[m[OUT + i] >> 2] !== 1) return `object ${m[OUT + i]} was given out twice`
  return undefined
}

export const goodRefill: Scenario<Arena> = {
  words: WORDS,
  setup: oneBatch,
  enter,
  threads: [taker(0), taker(1)],
  check: distinct,
}

/** The twin takes the batch off the shared list without its lock. */
const badTaker =
  (i: number) =>
  (a: Arena): void => {
    const list = (a.m[Super.SUPER_POOLS >> 2] + POOL_FIRST + classOf(SIZE) * POOL_SIZE + POOL_BATCHES) >> 2
    const batch = Rcu.deref(a.m, list)
    Rcu.publish(a.m, list, a.m[(batch >> 2) + 1])
    a.m[batch >> 2] = 0
    if (batch === 0) return
    add(a.m, (batch >> 2) + 3, 1)
    a.m[OUT + i] = batch
  }
export const badRefill: Scenario<Arena> = {
  ...goodRefill,
  threads: [badTaker(0), badTaker(1)],
  check: (m) => (m[OUT] !== 0 && m[OUT] === m[OUT + 1] ? 'one batch went to two threads' : undefined),
}

// HEAD points to an object of 42s; the writer replaces it, frees the old one, and uses what it gets next.
const HEAD = OUT
const SEEN = OUT + 1

const fortyTwo = (a: Arena): number => {
  const p = alloc(a, SIZE)
  a.m[(p >> 2) + 3] = 42
  return p
}

const reader = (a: Arena): void => {
  const i = readerOf(a)
  Rcu.online(a.m, rcuOf(a), i)
  const p = Rcu.deref(a.m, HEAD)
  if (Rcu.deref(a.m, (p >> 2) + 3) !== 42) a.m[SEEN] = 1
  Rcu.offline(a.m, rcuOf(a), i)
}

const writer =
  (release: (a: Arena, p: number, size: number) => void) =>
  (a: Arena): void => {
    const old = a.m[HEAD]
    Rcu.publish(a.m, HEAD, fortyTwo(a))
    release(a, old, SIZE)
    reclaim(a)
    const p = alloc(a, SIZE) // the one just freed, when that may be reused
    store(a.m, (p >> 2) + 3, -1)
    free(a, p, SIZE)
  }

/** With some free objects in its magazines, so that the steps are about the grace period. */
function enterWarm(memory: WebAssembly.Memory): Arena {
  const a = attachArena(memory)
  for (const size of [SIZE, 1024]) {
    const some = [alloc(a, size), alloc(a, size), alloc(a, size)]
    for (const p of some) free(a, p, size)
  }
  return a
}

export const goodDeferred: Scenario<Arena> = {
  words: WORDS,
  setup(m, memory) {
    const a = layOutArena(memory, OPTIONS)
    m[HEAD] = fortyTwo(a)
  },
  enter: enterWarm,
  threads: [reader, writer(freeRcu), reader],
  check(m, memory) {
    if (m[SEEN] !== 0) return 'a reader saw freed memory'
    const a = attachArena(memory)
    reclaim(a)
    const left = JSON.stringify(inUse(a))
    return left === '{"untagged":1,"192 bytes":1}' ? undefined : `in use: ${left}`
  },
}
export const badDeferred: Scenario<Arena> = { ...goodDeferred, threads: [reader, writer(free), reader] }

/** Two threads free for later at once: nothing is lost or freed twice. */
export const goodTwoDeferring: Scenario<Arena> = {
  ...goodDeferred,
  threads: [
    (a) => {
      freeRcu(a, alloc(a, SIZE), SIZE)
      reclaim(a)
    },
    (a) => {
      freeRcu(a, alloc(a, SIZE), SIZE)
      reclaim(a)
    },
  ],
}
