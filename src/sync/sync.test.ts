import { expect, test } from 'vitest'
import { complete, result, waitFor } from './completion.ts'
import { ENCAP_TBL, lockClasses, NEIGH, POOL, RTNL } from './lock_order.ts'
import { assertHeld, assertNoneHeld, held, lock, ownerOf, recoverLock, tryLock, unlock } from './mutex.ts'
import * as Rcu from './rcu.ts'
import * as Refcount from './refcount.ts'
import { supervise } from './supervise.ts'
import { self } from './thread.ts'
import * as Work from './workqueue.ts'

const words = (n = 256): Int32Array => new Int32Array(new SharedArrayBuffer(n * 4))

test('lock ranks are the order of the drawing and fit a bit mask', () => {
  expect(lockClasses.length).toBeLessThanOrEqual(28)
  for (const [i, c] of lockClasses.entries()) expect(c.rank).toBe(i)
})

test('a lock records its owner and is given back', () => {
  const m = words()
  lock(m, 5, RTNL)
  expect(ownerOf(m, 5)).toBe(self)
  expect(held()).toBe('rtnl')
  assertHeld(RTNL)
  lock(m, 6, NEIGH)
  expect(held()).toBe('rtnl > neigh')
  expect(() => assertNoneHeld()).toThrow('rtnl > neigh still held')
  unlock(m, 5, RTNL) // any order of giving back is fine
  unlock(m, 6, NEIGH)
  expect([m[5], m[6]]).toEqual([0, 0])
  assertNoneHeld()
})

test('the lock order is enforced', () => {
  const m = words()
  lock(m, 6, NEIGH)
  expect(() => lock(m, 5, RTNL)).toThrow('lock order: rtnl taken under neigh')
  expect(() => tryLock(m, 5, ENCAP_TBL)).toThrow('lock order: encap_tbl taken under neigh')
  expect(() => lock(m, 7, NEIGH)).toThrow('lock order: neigh taken under neigh')
  expect(() => unlock(m, 7, NEIGH)).toThrow('not held')
  expect(() => assertHeld(POOL)).toThrow('pool not held')
  unlock(m, 6, NEIGH)
  expect(() => unlock(m, 6, NEIGH)).toThrow('not held')
})

test('a lock of a dead owner: tryLock fails, recovery frees it, but not a lock of another', () => {
  const m = words()
  m[9] = 77 // as thread 77 left it
  expect(tryLock(m, 9, RTNL)).toBe(false)
  expect(recoverLock(m, 9, 78)).toBe(false)
  expect(recoverLock(m, 9, 77)).toBe(true)
  expect(tryLock(m, 9, RTNL)).toBe(true)
  unlock(m, 9, RTNL)
})

test('the supervision record shows what is held', () => {
  const m = words()
  supervise(m, 100, () => false)
  lock(m, 9, ENCAP_TBL)
  expect(m[100 + ENCAP_TBL.rank]).toBe(9)
  unlock(m, 9, ENCAP_TBL)
  expect(m[100 + ENCAP_TBL.rank]).toBe(0)
})

test('reference counts: the last put knows, zero is final, bugs saturate', () => {
  const m = words()
  Refcount.init(m, 0)
  Refcount.get(m, 0)
  expect(Refcount.take(m, 0)).toBe(true)
  expect([Refcount.put(m, 0), Refcount.putNotLast(m, 0)]).toEqual([false, true])
  expect(Refcount.putNotLast(m, 0)).toBe(false)
  expect(Refcount.put(m, 0)).toBe(true)
  expect(Refcount.take(m, 0)).toBe(false)
  expect(() => Refcount.put(m, 0)).toThrow('already zero')
  expect(m[0]).toBe(Refcount.SATURATED)
  expect(Refcount.take(m, 0)).toBe(true) // leaked, so it can be held safely
  m[1] = 0
  expect(() => Refcount.get(m, 1)).toThrow('get from zero')
  m[2] = 0x7fffffff
  expect(() => Refcount.get(m, 2)).toThrow('overflow')
  expect(m[2]).toBe(Refcount.SATURATED)
})

test('a completion happens once', () => {
  const m = words()
  expect(result(m, 0)).toBe(0)
  complete(m, 0, -22)
  expect(waitFor(m, 0)).toBe(-22)
  expect(() => complete(m, 0, 1)).toThrow('completed twice')
  expect(() => complete(m, 1, 0)).toThrow('pending')
})

test('a grace period ends when every online reader has been quiescent since', () => {
  const m = words(Rcu.size(4))
  Rcu.init(m, 0, 2)
  Rcu.online(m, 0, 0)
  Rcu.online(m, 0, 1)
  const s = Rcu.stamp(m, 0)
  expect(Rcu.elapsed(m, 0, s)).toBe(false)
  Rcu.quiescent(m, 0, 0)
  expect(Rcu.elapsed(m, 0, s)).toBe(false)
  Rcu.offline(m, 0, 1)
  expect(Rcu.elapsed(m, 0, s)).toBe(true)
  Rcu.admit(m, 0, 3)
  Rcu.online(m, 0, 3)
  expect(Rcu.elapsed(m, 0, s)).toBe(true)
  expect(Rcu.elapsed(m, 0, Rcu.stamp(m, 0))).toBe(false)
  expect(Rcu.isOnline(m, 0, 3)).toBe(true)
})

test('stamps survive the wrap of the counter', () => {
  const m = words(Rcu.size(1))
  Rcu.init(m, 0, 1)
  m[Rcu.counterWord(0)] = -1 // odd, one step before 1
  Rcu.online(m, 0, 0)
  const s = Rcu.stamp(m, 0)
  expect(s).toBe(1)
  expect(Rcu.elapsed(m, 0, s)).toBe(false)
  Rcu.quiescent(m, 0, 0)
  expect(Rcu.elapsed(m, 0, s)).toBe(true)
})

const item = (m: Int32Array, q: number, i: number, f = 1): number => {
  const w = q + Work.QUEUE_WORDS + i * Work.WORK_WORDS
  Work.initWork(m, w, q, f, 100 + i)
  return w
}

test('works run in the order of posting, once for any number of posts before they run', () => {
  const m = words()
  const [x, y] = [item(m, 16, 0), item(m, 16, 1, 2)]
  expect([Work.post(m, y), Work.post(m, x), Work.post(m, y)]).toEqual([true, true, false])
  const ran: number[][] = []
  expect(Work.run(m, 16, 0, (f, argument) => ran.push([f, argument]))).toBe(2)
  expect(ran).toEqual([
    [2, 101],
    [1, 100],
  ])
  expect(Work.isPending(m, x)).toBe(false)
})

test('a work that posts itself while it runs runs again', () => {
  const m = words()
  const x = item(m, 16, 0)
  let n = 0
  Work.post(m, x)
  expect(Work.run(m, 16, 0, (_f, _a, w) => void (++n < 3 && Work.post(m, w)))).toBe(3)
  Work.post(m, x)
  expect(Work.run(m, 16, 0, (_f, _a, w) => void Work.post(m, w), 5)).toBe(5)
})

test('delayed works wait for their time, over the wrap of the clock', () => {
  const m = words()
  const base = 0x7ffffff0
  const [x, y, z] = [item(m, 16, 0), item(m, 16, 1), item(m, 16, 2)]
  Work.postAt(m, x, base + 40)
  Work.postAt(m, y, base + 20)
  Work.postAt(m, z, base + 40)
  const ran: number[] = []
  const run = (now: number) => Work.run(m, 16, now, (_f, argument) => ran.push(argument))
  expect(run(base)).toBe(0)
  expect(Work.nextDue(m, 16, base)).toBe(20)
  expect(run(base + 39)).toBe(1)
  expect(run(base + 40)).toBe(2)
  expect(ran).toEqual([101, 100, 102])
  expect(Work.nextDue(m, 16, base + 40)).toBe(Number.POSITIVE_INFINITY)
  Work.postAt(m, x, base + 90)
  const dropped: number[] = []
  Work.dropDelayed(m, 16, (_f, argument) => dropped.push(argument))
  expect([dropped, Work.isPending(m, x)]).toEqual([[100], false])
})

test('a periodic work runs once a run, even when the run is ahead of the clock that it goes by', () => {
  const m = words()
  const x = item(m, 16, 0)
  const again = (_f: number, _a: number, w: number): void => void Work.postAt(m, w, 1000 + 50)
  Work.post(m, x)
  expect(Work.run(m, 16, 9000, again)).toBe(1)
  Work.run(m, 16, 1000, again)
  expect([Work.isPending(m, x), Work.nextDue(m, 16, 9000)]).toEqual([true, 0])
  expect(Work.run(m, 16, 9000, again)).toBe(1)
})

test('a work whose poster died is run once, whether it had been pushed or not', () => {
  const m = words()
  const [x, y] = [item(m, 16, 0), item(m, 16, 1)]
  m[x] = 77 // marked by thread 77, never pushed
  Work.recoverPost(m, x, 77)
  Work.post(m, y)
  Work.recoverPost(m, y, self) // pushed before its poster died
  const ran: number[] = []
  Work.run(m, 16, 0, (_f, argument) => ran.push(argument))
  expect(ran.sort()).toEqual([100, 101])
})
