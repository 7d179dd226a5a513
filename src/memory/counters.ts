// Counters: packets, bytes, drops, overlimits and times of use, one shard for each datapath worker.
//
// A counter is a number. A worker adds to its own shard with plain stores and never to another's; a reader sums. An id
// freed goes through a grace period before it is given out again, so that a packet in flight cannot count for the next
// owner; all shards are cleared when it is. Id 0 is no counter. The ids come from the pool like objects (magazine.ts):
// an id's object is its place in the first worker's shard.

import type { Arena } from './arena.ts'
import { SUPER_WORKER, SUPER_WORKERS } from './layout/super.ts'
import * as W from './layout/worker.ts'
import { unmark } from './magazine.ts'
import { deferCounted, takeCounted } from './pool.ts'
import { COUNTER_CLASS } from './size_class.ts'
import { TAG_COUNTER } from './tags.ts'

const shardOf = (a: Arena, worker: number): number =>
  a.m[(a.m[SUPER_WORKER >> 2] + worker * W.WORKER_SIZE + W.WORKER_COUNTERS) >> 2]

/** A new counter, all zero. Throws MemoryError when there is none left. */
export function counterAlloc(a: Arena): number {
  const { m } = a
  const p = takeCounted(a, COUNTER_CLASS, TAG_COUNTER)
  const first = shardOf(a, 0)
  if (!unmark(a, p)) {
    const workers = m[SUPER_WORKERS >> 2]
    for (let i = 0; i < workers; i++) {
      const w = (shardOf(a, i) + p - first) >> 2
      for (let k = 0; k < W.COUNTER_SIZE >> 2; k++) m[w + k] = 0
    }
  }
  return ((p - first) / W.COUNTER_SIZE) | 0
}

/** Gives the id back after a grace period. */
export function counterFree(a: Arena, id: number): void {
  if (id !== 0) deferCounted(a, COUNTER_CLASS, shardOf(a, 0) + id * W.COUNTER_SIZE, TAG_COUNTER)
}

export interface Counter {
  packets: number
  bytes: number
  drops: number
  overlimits: number
  /** Milliseconds of the switch's clock + 1, 0 = never. */
  lastUsed: number
  firstUsed: number
}

const u64 = (m: Int32Array, w: number): number => (m[w] >>> 0) + (m[w + 1] >>> 0) * 0x100000000

/**
 * A 64-bit count that its worker may be writing: the high word is read before and after, so that a carry between the
 * two halves is not seen half.
 */
function readU64(m: Int32Array, w: number): number {
  for (;;) {
    const high = m[w + 1]
    const v = u64(m, w)
    if (m[w + 1] === high) return v
  }
}

/** The sum of all shards. Exact when no packet is in flight; else each part is one that was true during the call. */
export function counterRead(a: Arena, id: number): Counter {
  const { m } = a
  const c: Counter = { packets: 0, bytes: 0, drops: 0, overlimits: 0, lastUsed: 0, firstUsed: 0 }
  if (id === 0) return c
  const workers = m[SUPER_WORKERS >> 2]
  for (let i = 0; i < workers; i++) {
    const w = (shardOf(a, i) + id * W.COUNTER_SIZE) >> 2
    c.packets += readU64(m, w + (W.COUNTER_PACKETS >> 2))
    c.bytes += readU64(m, w + (W.COUNTER_BYTES >> 2))
    c.drops += m[w + (W.COUNTER_DROPS >> 2)] >>> 0
    c.overlimits += m[w + (W.COUNTER_OVERLIMITS >> 2)] >>> 0
    const last = m[w + (W.COUNTER_LAST_USED >> 2)] >>> 0
    const first = m[w + (W.COUNTER_FIRST_USED >> 2)] >>> 0
    if (last > c.lastUsed) c.lastUsed = last
    if (first !== 0 && (c.firstUsed === 0 || first < c.firstUsed)) c.firstUsed = first
  }
  return c
}
