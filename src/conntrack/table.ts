// The table of connections, seen from control: laid out once, counted, listed. What happens in it is the chip's
// (datapath/chip/conntrack.ts), which finds it at SUPER_PART_CT.
//
// A table never grows: its size is a share of the arena, and what does not fit is given up early or dropped by name.

import { type Arena, reserve } from '../memory/arena.ts'
import * as C from '../memory/layout/conntrack.ts'
import { LARGE_SIZE } from '../memory/layout/packet.ts'
import { SUPER_BYTES, SUPER_LARGE, SUPER_PART_CT, SUPER_PARTS, SUPER_WORKERS } from '../memory/layout/super.ts'
import { load } from '../sync/atomic.ts'

/** nf_conntrack_max of a machine with a gigabyte or more. */
const MOST = 65536
/** One connection for so many bytes of arena. */
const SHARE = 16384
/** Connections of a burst may all wait for a grace period at once, in every worker. */
const BURST = 256

const TABLE = (SUPER_PARTS + SUPER_PART_CT) >> 2

/** Lays the table out. Once for an arena, before its datapath runs. `max`: connections that it may know. */
export function conntrackInit(
  a: Arena,
  max = Math.min(MOST, Math.max(64, Math.floor(a.m[SUPER_BYTES >> 2] / SHARE))),
): void {
  const { m } = a
  const buckets = Math.max(C.CT_LOCKS, 2 ** Math.ceil(Math.log2(max * 2)))
  const waiting = (max >> 3) + BURST * m[SUPER_WORKERS >> 2]
  const table = reserve(a, C.CT_TABLE_SIZE)
  const connections = reserve(a, (max + waiting) * C.CONN_SIZE)
  m[(table + C.CT_TABLE_BUCKETS) >> 2] = reserve(a, buckets * 4)
  m[(table + C.CT_TABLE_MASK) >> 2] = buckets - 1
  m[(table + C.CT_TABLE_LOCKS) >> 2] = reserve(a, C.CT_LOCKS * 4)
  m[(table + C.CT_TABLE_MAX) >> 2] = max
  m[(table + C.CT_TABLE_FRESH) >> 2] = connections
  m[(table + C.CT_TABLE_END) >> 2] = connections + (max + waiting) * C.CONN_SIZE
  layOutLarge(a, table)
  m[TABLE] = table
}

/** Slots for datagrams that are put together: enough for those that are on their way at once. */
function layOutLarge(a: Arena, table: number): void {
  const { m } = a
  const count = Math.min(64, Math.max(4, m[SUPER_BYTES >> 2] >> 24))
  const first = reserve(a, count * LARGE_SIZE)
  for (let i = count - 1; i >= 0; i--) {
    const slot = first + i * LARGE_SIZE
    m[slot >> 2] = m[(table + C.CT_TABLE_LARGE) >> 2]
    m[(table + C.CT_TABLE_LARGE) >> 2] = slot
  }
  m[SUPER_LARGE >> 2] = first
}

/** Connections that are known now; 0 where there is no table. */
export function connectionCount(a: Arena): number {
  const table = a.m[TABLE]
  return table === 0 ? 0 : load(a.m, (table + C.CT_TABLE_COUNT) >> 2)
}

/** Connections that were given up to make room for others. */
export function earlyDrops(a: Arena): number {
  const table = a.m[TABLE]
  return table === 0 ? 0 : load(a.m, (table + C.CT_TABLE_EARLY_DROPS) >> 2)
}

/** Chains of the table. */
export function bucketCount(a: Arena): number {
  const table = a.m[TABLE]
  return table === 0 ? 0 : a.m[(table + C.CT_TABLE_MASK) >> 2] + 1
}

/** Addresses of the connections that live at `now` (milliseconds), at most `most` of them. An RCU reader's. */
export function connectionsOf(a: Arena, now: number, most = Number.POSITIVE_INFINITY): number[] {
  const { m } = a
  const table = m[TABLE]
  const found: number[] = []
  if (table === 0) return found
  const first = m[(table + C.CT_TABLE_BUCKETS) >> 2] >> 2
  const end = first + m[(table + C.CT_TABLE_MASK) >> 2]
  for (let bucket = first; bucket <= end && found.length < most; bucket++)
    for (let t = load(m, bucket); t !== 0; t = load(m, (t + C.TUPLE_NEXT) >> 2)) {
      if (m[(t + C.TUPLE_DIR) >> 2] !== C.CT_DIR_ORIGINAL) continue
      const dying = load(m, (t + C.CONN_STATUS) >> 2) & C.IPS_DYING
      if (!dying && ((m[(t + C.CONN_TIMEOUT) >> 2] - now) | 0) > 0) found.push(t)
    }
  return found
}
