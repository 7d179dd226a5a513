// A thread dies at any of its steps: the others neither hang nor find anything broken.
import { cas, load, wake } from '../sync/atomic.ts'
import { CHAIN, lockClasses, PRIO } from '../sync/lock_order.ts'
import { lock, ownerOf, unlock } from '../sync/mutex.ts'
import * as Work from '../sync/workqueue.ts'
import type { Scenario } from '../testing/scenario.ts'
import { type Arena, attachArena, layOutArena } from './arena.ts'
import { alloc, free, freeRcu, inUse, reclaim } from './pool.ts'
import { recordOf, THREAD_SUPERVISED } from './thread_record.ts'
import { recoverDead } from './threads.ts'

const OPTIONS = { packets: 2, frameSize: 60, counters: 2100, emc: 2, threads: 6 }
/** Words of the super page that nothing else uses. */
const LOCK = 2048 >> 2
const LOCK2 = LOCK + 1
const Q = LOCK + 16
const W = Q + Work.QUEUE_WORDS
const SIZE = 192

function setup(m: Int32Array, memory: WebAssembly.Memory): void {
  layOutArena(memory, OPTIONS)
  Work.initQueue(m, Q)
  Work.initWork(m, W, Q, 1, 0)
}

/** Nobody who lives still sleeps (the explorer looks after that); locks are free; a pending work can be run. */
function check(m: Int32Array, memory: WebAssembly.Memory): string | undefined {
  if (ownerOf(m, LOCK) !== 0 || ownerOf(m, LOCK2) !== 0) return 'a lock is still held'
  Work.run(m, Q, 0, () => {})
  if (Work.isPending(m, W)) return 'a work is pending for ever'
  const a = attachArena(memory)
  const seen = new Set<number>()
  for (let i = 0; i < 200; i++) {
    const p = alloc(a, SIZE)
    if (seen.has(p)) return `object ${p} is given out twice`
    seen.add(p)
  }
  for (const p of seen) free(a, p, SIZE)
  reclaim(a)
  const { deferred = 0, ...left } = inUse(a)
  if (deferred > 1) return `${deferred} frees are deferred for ever` // who dies with a bag in hand loses the bag
  return (left.untagged ?? 0) > 1 ? `in use: ${JSON.stringify(left)}` : undefined
}

const locks = (a: Arena): void => {
  lock(a.m, LOCK, CHAIN)
  lock(a.m, LOCK2, PRIO)
  unlock(a.m, LOCK2, PRIO)
  unlock(a.m, LOCK, CHAIN)
}
const one = (a: Arena): void => {
  lock(a.m, LOCK, CHAIN)
  unlock(a.m, LOCK, CHAIN)
}

const recover = (a: Arena, who: number): void => {
  recoverDead(a, who)
}

const scenario = (threads: ((a: Arena) => void)[], supervisor = recover): Scenario<Arena> => ({
  words: (2 << 20) / 4,
  setup,
  enter: attachArena,
  threads,
  supervisor,
  check,
})

export const goodLocksKill = scenario([locks, one, one])

/** The twin frees what the dead thread holds, and wakes nobody for what it was about to take. */
export const badLocksKill = scenario([locks, one, one], (a, who) => {
  const { m } = a
  const supervised = (recordOf(a, who) + THREAD_SUPERVISED) >> 2
  for (const c of lockClasses) {
    const word = m[supervised + c.rank]
    if (word === 0 || ownerOf(m, word) !== who) continue
    const v = load(m, word)
    if (cas(m, word, v, 0)) wake(m, word)
  }
})

export const goodPoolKill = scenario([
  (a) => {
    freeRcu(a, alloc(a, SIZE), SIZE)
    reclaim(a)
  },
  (a) => {
    freeRcu(a, alloc(a, SIZE), SIZE)
    reclaim(a)
  },
])

const poster = (a: Arena): void => {
  Work.post(a.m, W)
}
const posting = [poster, poster, (a: Arena) => void Work.run(a.m, Q, 0, () => {})]
export const goodPostKill: Scenario<Arena> = { ...scenario(posting), mortal: [0, 1] }

/** The twin forgets that the dead thread was posting. */
export const badPostKill: Scenario<Arena> = { ...scenario(posting, () => {}), mortal: [0, 1] }
