// A thread's record: what others need to know of a thread that may die, and what it keeps for itself to be fast.
//
// The arena has SUPER_THREAD_COUNT of them. A thread takes one when it attaches and keeps it until it leaves or is
// buried. Only the thread itself writes its record, except after its death (threads.ts), so nothing here is locked:
//
//   who it is · the locks it holds (sync/supervise.ts) · objects in use by tag and by class (this thread's allocations less
//   its frees: only the sum over all records means something) · the open bag of deferred frees · magazines of free
//   objects, one for each size class (pool.ts)
//
// The record also numbers the thread as an RCU reader: behind the datapath workers' readers comes one for each record.
import { cas, load, store } from '../sync/atomic.ts'
import * as Rcu from '../sync/rcu.ts'
import { RECORD_WORDS, supervise } from '../sync/supervise.ts'
import { self } from '../sync/thread.ts'
import type { Arena } from './arena.ts'
import * as Super from './layout/super.ts'
import { MemoryError } from './memory_error.ts'
import { CLASSES } from './size_class.ts'

/** `self` of the thread it belongs to, 0 when free. @atomic */
export const THREAD_SELF = 0
/** THREAD_LIVE or THREAD_DEAD. @atomic */
export const THREAD_STATE = 4
/** The bag of deferred frees that is being filled, 0 without; objects in it. @worker */
export const THREAD_BAG = 8
/** Objects given to freeRcu less objects freed after their grace period. @worker */
export const THREAD_DEFERRED = 12
/** The datapath workers it drives, a bit for each: their RCU readers are its as well. @worker */
export const THREAD_WORKERS = 16
/** Locks it holds and work it is posting: sync/supervise.ts. @worker */
export const THREAD_SUPERVISED = 64
/** Objects in use by tag. @worker */
export const THREAD_TAGS = THREAD_SUPERVISED + RECORD_WORDS * 4
export const TAG_MAX = 64
/** Objects in use by class. @worker */
export const THREAD_USED = THREAD_TAGS + TAG_MAX * 4
/** Magazines: for each class a count, then the free objects. @worker */
export const THREAD_MAGAZINES = THREAD_USED + 80 * 4
export const MAGAZINE_COUNT = 0
export const MAGAZINE_OBJECTS = 4
export const MAGAZINE_SIZE = 256
export const THREAD_SIZE = THREAD_MAGAZINES + 80 * MAGAZINE_SIZE

export const THREAD_LIVE = 1
export const THREAD_DEAD = 2

if (CLASSES > 80) throw new Error(`${CLASSES} size classes: the thread record has room for 80`)

/** Address of record `slot`. */
export const recordAt = (a: Arena, slot: number): number => a.m[Super.SUPER_THREADS >> 2] + slot * THREAD_SIZE

/** Number of a record. */
export const slotOf = (a: Arena, record: number): number => ((record - a.m[Super.SUPER_THREADS >> 2]) / THREAD_SIZE) | 0

export const recordCount = (a: Arena): number => a.m[Super.SUPER_THREAD_COUNT >> 2]

/** RCU reader of this thread: online while it uses RCU pointers outside the datapath. */
export const readerOf = (a: Arena): number => a.m[Super.SUPER_WORKERS >> 2] + slotOf(a, a.thread)

/** The record of the thread `who`, 0 when it has none. */
export function recordOf(a: Arena, who: number): number {
  for (let slot = 0; slot < recordCount(a); slot++) {
    const r = recordAt(a, slot)
    if (load(a.m, (r + THREAD_SELF) >> 2) === who) return r
  }
  return 0
}

/** Does a living thread announce (sync/supervise.ts) that it is at word i? Asked after a sign that one was. */
export function isAnnounced(a: Arena, what: number, i: number): boolean {
  const { m } = a
  for (let slot = 0; slot < recordCount(a); slot++) {
    const r = recordAt(a, slot)
    if (m[((r + THREAD_SUPERVISED) >> 2) + what] === i && load(m, (r + THREAD_SELF) >> 2) !== 0) return true
  }
  return false
}

const isDead = (a: Arena) => (m: Int32Array, who: number) => {
  if (m !== a.m) return false
  const r = recordOf(a, who)
  return r !== 0 && load(m, (r + THREAD_STATE) >> 2) === THREAD_DEAD
}

/** This thread's record: the one it has, or a free one. attachArena calls it. Throws when all are taken. */
export function enter(a: Arena): number {
  const { m } = a
  let r = recordOf(a, self)
  for (let slot = 0; r === 0 && slot < recordCount(a); slot++) {
    if (cas(m, (recordAt(a, slot) + THREAD_SELF) >> 2, 0, self)) r = recordAt(a, slot)
  }
  if (r === 0) throw new MemoryError(`all ${recordCount(a)} thread records of the arena are taken`)
  store(m, (r + THREAD_STATE) >> 2, THREAD_LIVE)
  Rcu.admit(m, m[Super.SUPER_RCU >> 2] >> 2, m[Super.SUPER_WORKERS >> 2] + slotOf(a, r))
  supervise(m, (r + THREAD_SUPERVISED) >> 2, isDead(a))
  return r
}

/** This thread drives datapath worker i from now on: when it leaves or dies, the worker's reader goes offline. */
export const driveWorker = (a: Arena, i: number): void => {
  a.m[(a.thread + THREAD_WORKERS) >> 2] |= 1 << i
}
