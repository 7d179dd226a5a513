// Several workers make, find, finish and give up the same connections at once. Afterwards the table is what it must be:
// each connection in two chains, once, nobody twice, none lost.
import { expect, test } from 'vitest'
import { reserve } from '../memory/arena.ts'
import * as C from '../memory/layout/conntrack.ts'
import { SUPER_PART_CT, SUPER_PARTS } from '../memory/layout/super.ts'
import { onThreads } from '../testing/on_threads.ts'
import { connectionCount, earlyDrops } from './table.ts'
import type { Job } from './threads.stress.ts'
import { World } from './world.fixture.ts'

/** Every tuple of every chain, by what it says. */
function tuples({ sw }: World): Map<string, number> {
  const { m, u8 } = sw.arena
  const table = m[(SUPER_PARTS + SUPER_PART_CT) >> 2]
  const first = m[(table + C.CT_TABLE_BUCKETS) >> 2] >> 2
  const found = new Map<string, number>()
  for (let bucket = 0; bucket <= m[(table + C.CT_TABLE_MASK) >> 2]; bucket++)
    for (let t = m[first + bucket]; t !== 0; t = m[(t + C.TUPLE_NEXT) >> 2]) {
      const key = Buffer.from(u8.slice(t, t + C.TUPLE_NEXT)).toString('hex')
      expect(found.has(key)).toBe(false)
      found.set(key, t)
    }
  return found
}

test.each([
  ['room for all', 256, 40],
  ['too many for the table', 64, 200],
])(
  '%s',
  async (_, connections, conversations) => {
    const threads = 2
    const w = new World({ connections, workers: threads })
    const { arena } = w.sw
    const job: Job = {
      memory: arena.memory,
      devices: [w.sw.portDevice(0), w.sw.portDevice(1)],
      ready: reserve(arena, 64) >> 2,
      threads,
      conversations,
      packets: 20000,
      seed: 20240711,
    }
    const results = await onThreads<{ left: number; drops: number }>(
      new URL('./threads.stress.ts', import.meta.url),
      'track',
      threads,
      job,
    )
    const [left, drops] = [results.reduce((s, r) => s + r.left, 0), results.reduce((s, r) => s + r.drops, 0)]
    expect(left + drops).toBe(threads * job.packets)
    const table = tuples(w)
    expect(table.size).toBe(2 * connectionCount(arena))
    for (const t of table.values()) {
      const conn = t - arena.m[(t + C.TUPLE_DIR) >> 2] * C.TUPLE_SIZE
      expect(arena.m[(conn + C.CONN_STATUS) >> 2] & (C.IPS_CONFIRMED | C.IPS_DYING)).toBe(C.IPS_CONFIRMED)
    }
    if (connections > conversations) {
      expect(table.size).toBe(2 * conversations)
      expect([drops, earlyDrops(arena)]).toEqual([0, 0])
    } else {
      expect(connectionCount(arena)).toBeLessThanOrEqual(connections)
      expect(earlyDrops(arena)).toBeGreaterThan(0)
    }
    w.wait(300000)
    w.wait(100000)
    expect(tuples(w).size).toBe(0)
    expect(connectionCount(arena)).toBe(0)
  },
  120000,
)
