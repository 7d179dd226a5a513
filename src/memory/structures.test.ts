import { expect, test } from 'vitest'
import { type Arena, createArena, reserve } from './arena.ts'
import * as Hash from './hash_table.ts'
import { first, insert, isLinked, next, remove } from './list.ts'
import { alloc, free, inUse, reclaim } from './pool.ts'
import * as Ring from './ring.ts'
import * as Trace from './trace_ring.ts'

const arena = (): Arena => createArena({ bytes: 16 << 20, packets: 64, counters: 1024, emc: 64 })

test('a list keeps its order through inserts and removals anywhere', () => {
  const a = arena()
  const head = alloc(a, 16)
  const LINK = 8
  const [p, q, r] = [alloc(a, 16), alloc(a, 16), alloc(a, 16)]
  const walk = (): number[] => {
    const seen: number[] = []
    for (let x = first(a, head); x !== 0; x = next(a, x, LINK)) seen.push(x)
    return seen
  }
  insert(a, head, p, LINK)
  insert(a, head, q, LINK)
  insert(a, q + LINK, r, LINK)
  expect(walk()).toEqual([q, r, p])
  remove(a, r, LINK)
  expect(walk()).toEqual([q, p])
  expect(next(a, r, LINK)).toBe(p) // a reader on r finds its way
  expect([isLinked(a, r, LINK), isLinked(a, q, LINK)]).toEqual([false, true])
  remove(a, r, LINK)
  remove(a, q, LINK)
  remove(a, p, LINK)
  expect(walk()).toEqual([])
})

test('a hash table agrees with a Map through growth and removals', () => {
  const a = arena()
  const t = reserve(a, Hash.HASH_TABLE_SIZE)
  Hash.hashInit(a, t)
  const model = new Map<number, number>()
  let seed = 1
  const random = (n: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff
    return seed % n
  }
  const hash = (key: number): number => (key % 50) * 0x01000193 // collisions on purpose
  for (let i = 0; i < 20000; i++) {
    const key = random(700)
    const found = Hash.hashLookup(a, t, hash(key), (p) => a.m[p >> 2] === key)
    expect(found).toBe(model.get(key) ?? 0)
    if (found === 0) {
      const p = alloc(a, 16)
      a.m[p >> 2] = key
      Hash.hashInsert(a, t, hash(key), p)
      model.set(key, p)
    } else if (random(2) === 0) {
      expect(Hash.hashRemove(a, t, hash(key), found)).toBe(true)
      expect(Hash.hashRemove(a, t, hash(key), found)).toBe(false)
      model.delete(key)
      free(a, found, 16)
    }
    expect(Hash.hashCount(a, t)).toBe(model.size)
  }
  const all = new Set<number>()
  Hash.hashEach(a, t, (p) => all.add(p))
  expect(all).toEqual(new Set(model.values()))
  for (const p of all) free(a, p, 16)
  Hash.hashDestroy(a, t)
  expect(Hash.hashLookup(a, t, 1, () => true)).toBe(0)
  reclaim(a)
  expect(inUse(a)).toEqual({})
})

test('a ring carries words in order, refuses when full, and wraps', () => {
  const a = arena()
  const r = Ring.ringCreate(a, 7)
  const out = new Int32Array(16)
  let pushed = 0
  let popped = 0
  for (let round = 0; round < 100; round++) {
    const words = Int32Array.from({ length: 5 }, (_, i) => pushed + i)
    pushed += Ring.ringPush(a, r, words, 0, 5)
    expect(Ring.ringCount(a, r)).toBe(pushed - popped)
    const n = Ring.ringPop(a, r, out, 0, 1 + (round % 4))
    for (let i = 0; i < n; i++) expect(out[i]).toBe(popped++)
  }
  while (Ring.ringPush(a, r, out, 0, 1) === 1);
  expect(Ring.ringCount(a, r)).toBe(8)
  expect(Ring.ringPop(a, r, out, 0, 16)).toBe(8)
  expect(Ring.ringPop(a, r, out, 0, 16)).toBe(0)
  Ring.ringDestroy(a, r)
  expect(inUse(a)).toEqual({})
})

test('a trace ring shows the newest events and counts what was lost', () => {
  const a = arena()
  const r = Trace.traceCreate(a, 8)
  const time = 7_000_000_000_123_456
  for (let i = 0; i < 5; i++) Trace.traceWrite(a, r, 10 + i, time, [i, -i], 2)
  const ids: number[] = []
  const read = Trace.traceRead(a, r, 0, (e) => {
    ids.push(e[Trace.TRACE_ID])
    expect(Trace.traceTime(e)).toBe(time)
    expect([e[Trace.TRACE_ARG], e[Trace.TRACE_ARG + 1], e[Trace.TRACE_ARG + 2]]).toEqual([
      e[Trace.TRACE_ID] - 10,
      10 - e[Trace.TRACE_ID],
      0,
    ])
  })
  expect([ids, read]).toEqual([[10, 11, 12, 13, 14], { next: 5, lost: 0 }])
  for (let i = 0; i < 20; i++) Trace.traceWrite(a, r, i, i, [], 0)
  ids.length = 0
  expect(Trace.traceRead(a, r, read.next, (e) => ids.push(e[Trace.TRACE_ID]))).toEqual({ next: 25, lost: 12 })
  expect(ids).toEqual([12, 13, 14, 15, 16, 17, 18, 19])
  expect(Trace.traceWritten(a, r)).toBe(25)
})
