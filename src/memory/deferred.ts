// Deferred frees: what readers may still see waits here for a grace period. Nobody ever waits for it.
//
// A thread puts what it unlinked into its open bag. A full bag is stamped (sync/rcu.ts) and joins the shared queue; the
// stamps of the queue rise, so looking at its head is enough. Whoever runs out of free objects, or calls reclaim, takes
// the bags at the head whose grace period is over and gives their objects to its own magazines. So a thread that went
// idle, or died, keeps at most its open bag from being reused; reclaim closes that too.
//
// A bag is an object of the pool: next bag, stamp, count, then pairs (address, size class).
import { DEFER } from '../sync/lock_order.ts'
import { lock, unlock } from '../sync/mutex.ts'
import * as Rcu from '../sync/rcu.ts'
import { type Arena, rcuOf } from './arena.ts'
import * as Super from './layout/super.ts'
import { giveObject, takeObject, unmark } from './magazine.ts'
import { classOf, classSize, DEFER_HEAD, DEFER_LOCK, DEFER_TAIL, SIZE_CLASSES } from './size_class.ts'
import { THREAD_BAG, THREAD_DEFERRED } from './thread_record.ts'

const BAG_NEXT = 0
const BAG_STAMP = 1
const BAG_COUNT = 2
const BAG_PAIRS = 4
const BAG_BYTES = 1024
/** Objects in a bag: one stamp, one look at all readers and two locks are shared by so many frees. */
const BAG_MAX = (BAG_BYTES / 4 - BAG_PAIRS) / 2
const BAG_CLASS = classOf(BAG_BYTES)
/** An object this large (an outgrown table) does not wait for its bag to fill. */
const LARGE = 65536

/** Frees the object of class c at p once every present reader has passed a quiescent state. */
export function deferFree(a: Arena, c: number, p: number): void {
  const { m } = a
  const bagWord = (a.thread + THREAD_BAG) >> 2
  let bag = m[bagWord]
  if (bag === 0) {
    bag = takeObject(a, BAG_CLASS)
    unmark(a, bag)
    m[bagWord] = bag
  }
  const w = bag >> 2
  const n = m[w + BAG_COUNT]
  m[w + BAG_PAIRS + 2 * n] = p
  m[w + BAG_PAIRS + 2 * n + 1] = c
  m[w + BAG_COUNT] = n + 1
  m[(a.thread + THREAD_DEFERRED) >> 2]++
  if (n + 1 === BAG_MAX || (c < SIZE_CLASSES && classSize[c] >= LARGE)) {
    closeBag(a, a.thread)
    reclaimElapsed(a)
  }
}

/** Stamps the open bag of a record and appends it to the queue: it is full, or its thread pauses, or died. */
export function closeBag(a: Arena, record: number): void {
  const { m } = a
  const bag = m[(record + THREAD_BAG) >> 2]
  if (bag === 0) return
  const q = m[Super.SUPER_POOLS >> 2] >> 2
  lock(m, q + (DEFER_LOCK >> 2), DEFER)
  m[(record + THREAD_BAG) >> 2] = 0 // first: who dies here loses a bag, and none is queued twice
  m[(bag >> 2) + BAG_STAMP] = Rcu.stamp(m, rcuOf(a))
  const tail = m[q + (DEFER_TAIL >> 2)]
  m[tail === 0 ? q + (DEFER_HEAD >> 2) : (tail >> 2) + BAG_NEXT] = bag
  m[q + (DEFER_TAIL >> 2)] = bag
  unlock(m, q + (DEFER_LOCK >> 2), DEFER)
}

/** Frees the bags whose grace period is over; returns how many objects. Never waits. */
export function reclaimElapsed(a: Arena): number {
  const { m } = a
  let freed = 0
  for (;;) {
    const bag = popElapsed(a)
    if (bag === 0) break
    const w = bag >> 2
    const n = m[w + BAG_COUNT]
    for (let i = 0; i < n; i++) giveObject(a, m[w + BAG_PAIRS + 2 * i + 1], m[w + BAG_PAIRS + 2 * i])
    m[(a.thread + THREAD_DEFERRED) >> 2] -= n
    giveObject(a, BAG_CLASS, bag)
    freed += n
  }
  return freed
}

function popElapsed(a: Arena): number {
  const { m } = a
  const q = m[Super.SUPER_POOLS >> 2] >> 2
  if (m[q + (DEFER_HEAD >> 2)] === 0) return 0 // a plain look: what was queued a moment ago has not elapsed anyway
  lock(m, q + (DEFER_LOCK >> 2), DEFER)
  let bag = m[q + (DEFER_HEAD >> 2)]
  if (bag !== 0 && Rcu.elapsed(m, rcuOf(a), m[(bag >> 2) + BAG_STAMP])) {
    const next = m[(bag >> 2) + BAG_NEXT]
    m[q + (DEFER_HEAD >> 2)] = next
    if (next === 0) m[q + (DEFER_TAIL >> 2)] = 0
  } else bag = 0
  unlock(m, q + (DEFER_LOCK >> 2), DEFER)
  return bag
}

/**
 * Closes this thread's bag and frees all that may be freed now; returns how many objects. A thread calls it before it
 * goes idle and with no RCU pointer in hand (after its quiescent state, or offline), else its own reader holds it up.
 */
export function reclaim(a: Arena): number {
  closeBag(a, a.thread)
  return reclaimElapsed(a)
}
