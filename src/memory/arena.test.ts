import { expect, test } from 'vitest'
import { attachArena, createArena, packetStride, reserve, workerOf } from './arena.ts'
import * as Super from './layout/super.ts'
import * as W from './layout/worker.ts'

const small = { bytes: 64 << 20, packets: 64, counters: 1024, emc: 64 }

test('a worker finds its packet slots, lowest address on top, none twice', () => {
  const a = createArena({ ...small, workers: 2, frameSize: 9018 })
  const slots = new Set<number>()
  for (const i of [0, 1]) {
    const w = workerOf(a, i) >> 2
    expect(a.m[w + (W.WORKER_FREE_COUNT >> 2)]).toBe(64)
    const free = a.m[w + (W.WORKER_FREE >> 2)] >> 2
    expect(a.m[free + 63]).toBeLessThan(a.m[free + 62])
    for (let k = 0; k < 64; k++) slots.add(a.m[free + k])
  }
  expect(slots.size).toBe(128)
  const stride = a.m[Super.SUPER_PACKET_SIZE >> 2]
  expect(stride).toBeGreaterThanOrEqual(640 + 9018)
  const first = a.m[Super.SUPER_PACKETS >> 2]
  for (const p of slots) expect((p - first) % stride).toBe(0)
})

test('consecutive packet slots do not share cache sets', () => {
  for (const size of [60, 1514, 1536, 9018, 65535]) expect((packetStride(size) / 64) % 2).toBe(1)
})

test('reserve hands out aligned, disjoint, zero memory until the arena is full', () => {
  const a = createArena(small)
  let last = reserve(a, 10, 4096)
  expect(last % 4096).toBe(0)
  const p = reserve(a, 100, 64)
  expect(p).toBeGreaterThanOrEqual(last + 10)
  last = reserve(a, 1 << 20)
  expect(a.u8.slice(last, last + 4096).every((b) => b === 0)).toBe(true)
  expect(() => reserve(a, 64 << 20)).toThrow('arena full')
  expect(() => reserve(a, -1)).toThrow('arena full')
})

test('the same thread attaches with the same record; foreign memory is refused', () => {
  const a = createArena(small)
  expect(attachArena(a.memory).thread).toBe(a.thread)
  expect(() => attachArena(new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }))).toThrow('not an arena')
})

test('an arena of the default size costs little until it is used', () => {
  const before = process.memoryUsage().rss
  const a = createArena()
  expect(process.memoryUsage().rss - before).toBeLessThan(16 << 20)
  expect(a.m[Super.SUPER_BYTES >> 2]).toBe(1 << 30)
})
