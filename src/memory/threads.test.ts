import { expect, test } from 'vitest'
import { load, wait } from '../sync/atomic.ts'
import { CHAIN, PRIO } from '../sync/lock_order.ts'
import { lock, ownerOf, unlock } from '../sync/mutex.ts'
import { spawn } from '../sync/thread.ts'
import { onThreads } from '../testing/on_threads.ts'
import { createArena, reserve } from './arena.ts'
import { alloc, inUse, reclaim } from './pool.ts'
import { recordOf } from './thread_record.ts'
import { recoverDead } from './threads.ts'

const bodies = new URL('./threads.stress.ts', import.meta.url)

test('four threads share locks and memory, and nothing is lost', { timeout: 60_000 }, async () => {
  const a = createArena({ bytes: 64 << 20, packets: 64, counters: 10000, emc: 64 })
  const word = reserve(a, 64) >> 2
  const rounds = 20000
  await onThreads(bodies, 'churn', 4, { memory: a.memory, word, rounds })
  expect(a.m[word + 1]).toBe(4 * rounds)
  reclaim(a)
  expect(inUse(a)).toEqual({})
})

test('readers see whole objects while they are replaced', { timeout: 60_000 }, async () => {
  const a = createArena({ bytes: 64 << 20, packets: 64, counters: 10000, emc: 64 })
  const word = reserve(a, 64) >> 2
  a.m[word] = alloc(a, 192)
  const [, x, y] = await onThreads<number>(bodies, 'replaceAndRead', 3, { memory: a.memory, word, rounds: 200_000 })
  expect(x + y).toBeGreaterThan(0)
  reclaim(a)
  expect(inUse(a)).toEqual({ untagged: 1, '192 bytes': 1 })
})

test('what a killed thread held is recovered', { timeout: 60_000 }, async () => {
  const a = createArena({ bytes: 16 << 20, packets: 64, counters: 1024, emc: 64 })
  const { m } = a
  const word = reserve(a, 64) >> 2
  const job = { url: bodies.href, name: 'dieHolding', data: { memory: a.memory, word }, index: 0 }
  const t = spawn(new URL('../testing/on_threads.ts', import.meta.url), job)
  for (let i = 0; i < 200 && load(m, word + 2) === 0; i++) wait(m, word + 2, 0, 100)
  expect(ownerOf(m, word)).toBe(t.self)
  await t.terminate()
  await t.ended
  const order: string[] = []
  expect(recoverDead(a, t.self, (c) => order.push(c.name)).locks).toEqual(['prio', 'chain'])
  expect(order).toEqual(['prio', 'chain'])
  expect(recordOf(a, t.self)).toBe(0)
  lock(m, word, CHAIN)
  lock(m, word + 1, PRIO)
  unlock(m, word + 1, PRIO)
  unlock(m, word, CHAIN)
  reclaim(a)
  expect(inUse(a)).toEqual({})
  expect(recoverDead(a, t.self).locks).toEqual([])
})
