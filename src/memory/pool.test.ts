import { expect, test } from 'vitest'
import * as Rcu from '../sync/rcu.ts'
import { type Arena, createArena, rcuOf, workerOf } from './arena.ts'
import { counterAlloc, counterFree, counterRead } from './counters.ts'
import { COUNTER_PACKETS, COUNTER_SIZE, WORKER_COUNTERS } from './layout/worker.ts'
import { alloc, free, freeRcu, inUse, reclaim, TAG_FLOW, TAG_MASK } from './pool.ts'
import { classOf, classSize } from './size_class.ts'

const arena = (bytes = 64 << 20, workers = 1): Arena =>
  createArena({ bytes, workers, packets: 64, counters: 5000, emc: 64 })

const isZero = (a: Arena, p: number, size: number): boolean => a.u8.slice(p, p + size).every((b) => b === 0)

test('every size gets a class that holds it, and not much more', () => {
  for (let size = 1; size < 100000; size += size < 5000 ? 1 : 997) {
    const got = classSize[classOf(size)]
    expect(got).toBeGreaterThanOrEqual(size)
    if (size > 512) expect(got / size).toBeLessThan(1.52)
  }
  for (const size of [64, 128, 192, 256, 448, 1088, 16 + 4 * 1024, 16 + 4 * 65536]) {
    expect(classSize[classOf(size)] - size).toBeLessThanOrEqual(size < 4096 ? 0 : 48)
  }
})

test('objects are zero, aligned, disjoint, and zero again after use', () => {
  const a = arena()
  for (const size of [8, 16, 32, 64, 100, 192, 448, 1088, 5000, 200000]) {
    const seen = new Set<number>()
    const live: number[] = []
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < (size > 4096 ? 5 : 200); i++) {
        const p = alloc(a, size)
        expect(p % (size >= 64 ? 64 : 16)).toBe(0)
        expect(isZero(a, p, size)).toBe(true)
        expect(live.includes(p)).toBe(false)
        a.u8.fill(0xa5, p, p + size)
        live.push(p)
        seen.add(p)
      }
      while (live.length > 0) free(a, live.pop()!, size)
    }
    expect(seen.size).toBeLessThan(size > 4096 ? 10 : 300)
  }
  expect(inUse(a)).toEqual({})
})

test('the leak report names what is left', () => {
  const a = arena()
  const f = alloc(a, 192, TAG_FLOW)
  alloc(a, 256, TAG_MASK)
  expect(inUse(a)).toEqual({ flow: 1, mask: 1, '192 bytes': 1, '256 bytes': 1 })
  free(a, f, 192, TAG_FLOW)
  expect(inUse(a)).toEqual({ mask: 1, '256 bytes': 1 })
})

test('freeing twice and writing to freed memory are caught', () => {
  const a = arena()
  const p = alloc(a, 64)
  free(a, p, 64)
  expect(() => free(a, p, 64)).toThrow('freed twice')
  a.m[(p >> 2) + 2] = 7
  expect(() => alloc(a, 64)).toThrow('written to after it was freed')
})

test('a deferred free waits for every reader that is online, and for no other', () => {
  const a = arena(64 << 20, 3)
  const r = rcuOf(a)
  Rcu.online(a.m, r, 0)
  Rcu.online(a.m, r, 1)
  const p = alloc(a, 64, TAG_FLOW)
  a.m[p >> 2] = 42
  freeRcu(a, p, 64, TAG_FLOW)
  expect(reclaim(a)).toBe(0)
  expect(inUse(a)).toEqual({ deferred: 1 })
  Rcu.quiescent(a.m, r, 0)
  expect(reclaim(a)).toBe(0)
  expect(a.m[p >> 2]).toBe(42)
  Rcu.offline(a.m, r, 1)
  expect(reclaim(a)).toBe(1)
  expect(inUse(a)).toEqual({})
  expect(alloc(a, 64)).toBe(p)
})

test('deferred frees are reused without anybody asking', () => {
  const a = arena(4 << 20)
  for (let i = 0; i < 100000; i++) freeRcu(a, alloc(a, 192), 192)
  reclaim(a)
  expect(inUse(a)).toEqual({})
})

test('a full arena says so and works on', () => {
  const a = arena(4 << 20)
  const live: number[] = []
  expect(() => {
    for (;;) live.push(alloc(a, 448))
  }).toThrow('arena full')
  expect(live.length).toBeGreaterThan(2000)
  free(a, live.pop()!, 448)
  live.push(alloc(a, 448))
  for (const p of live) free(a, p, 448)
  expect(inUse(a)).toEqual({})
  expect(() => alloc(a, 0)).toThrow('0 bytes')
  expect(() => alloc(a, -1)).toThrow('-1 bytes')
})

test('counters sum their shards, are clear when given out again, and end', () => {
  const a = arena(64 << 20, 2)
  const id = counterAlloc(a)
  expect(id).toBeGreaterThan(0)
  for (const i of [0, 1]) {
    const shard = a.m[(workerOf(a, i) + WORKER_COUNTERS) >> 2]
    a.m[(shard + id * COUNTER_SIZE + COUNTER_PACKETS) >> 2] = -1
    a.m[((shard + id * COUNTER_SIZE + COUNTER_PACKETS) >> 2) + 1] = 1
    a.m[((shard + id * COUNTER_SIZE) >> 2) + 4] = 100 + i
    a.m[((shard + id * COUNTER_SIZE) >> 2) + 5] = 50 - i
  }
  expect(counterRead(a, id)).toMatchObject({ packets: 2 * (2 ** 33 - 1), lastUsed: 101, firstUsed: 49 })
  counterFree(a, id)
  reclaim(a)
  expect(inUse(a)).toEqual({})
  const ids: number[] = []
  expect(() => {
    for (;;) ids.push(counterAlloc(a))
  }).toThrow('counters are taken')
  expect(new Set(ids).size).toBe(4999)
  expect(ids.includes(id)).toBe(true)
  expect(counterRead(a, id)).toEqual({ packets: 0, bytes: 0, drops: 0, overlimits: 0, lastUsed: 0, firstUsed: 0 })
  expect(counterRead(a, 0).packets).toBe(0)
})
