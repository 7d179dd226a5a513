// The table of local addresses that the datapath asks for every IP packet that it is handed: is this for us?
//
// It is what the local routing table says about single addresses (RTN_LOCAL, RTN_BROADCAST), as a small immutable hash
// table at SUPER_LOCAL (layout/netdev.ts draws it), made anew and published whole after a change; the old one is freed
// after a grace period. A prefix of local addresses (127.0.0.0/8, `ip route add local 10.0.0.0/8`) is not in it: such
// packets are punted, and the host asks the routing table itself. Made by control under rtnl, read by every thread.

import type { Arena } from '../memory/arena.ts'
import {
  LOCAL_BYTES,
  LOCAL_ENTRIES,
  LOCAL_ENTRY_ADDR,
  LOCAL_ENTRY_FAMILY,
  LOCAL_ENTRY_IFINDEX,
  LOCAL_ENTRY_SIZE,
  LOCAL_ENTRY_TYPE,
  LOCAL_MASK,
} from '../memory/layout/netdev.ts'
import { SUPER_LOCAL } from '../memory/layout/super.ts'
import { alloc, freeRcu } from '../memory/pool.ts'
import { TAG_LOCAL } from '../memory/tags.ts'
import { deref, publish } from '../sync/rcu.ts'
import { AF_INET, RT_TABLE_LOCAL, RTN_BROADCAST, RTN_LOCAL } from '../wire/rtm_route.ts'
import { fibEach, ROUTE_DST, ROUTE_FAMILY, ROUTE_LEN, ROUTE_OIF, ROUTE_TABLE, ROUTE_TYPE } from './fib.ts'
import { familyBits } from './inet.ts'
import { bumpGeneration } from './netdev.ts'

/** The hash that layout/netdev.ts prescribes, of the words of an address. */
export function localHash(w0: number, w1: number, w2: number, w3: number): number {
  let h = w0 ^ w1 ^ w2 ^ w3
  h ^= h >>> 16
  return h ^ (h >>> 8)
}

/** Makes the table from the local routes and publishes it. The caller holds rtnl, or is alone. */
export function publishLocal(a: Arena): void {
  const m = a.m
  const routes: number[] = []
  fibEach(a, (r) => {
    const type = m[(r + ROUTE_TYPE) >> 2]
    if (m[(r + ROUTE_TABLE) >> 2] !== RT_TABLE_LOCAL || (type !== RTN_LOCAL && type !== RTN_BROADCAST)) return
    if (m[(r + ROUTE_LEN) >> 2] === familyBits(m[(r + ROUTE_FAMILY) >> 2])) routes.push(r)
  })
  let buckets = 8
  while (buckets < routes.length * 2) buckets *= 2
  const bytes = LOCAL_ENTRIES + buckets * LOCAL_ENTRY_SIZE
  const t = alloc(a, bytes, TAG_LOCAL)
  m[(t + LOCAL_MASK) >> 2] = buckets - 1
  m[(t + LOCAL_BYTES) >> 2] = bytes
  for (const r of routes) {
    const w = (r + ROUTE_DST) >> 2
    const family = m[(r + ROUTE_FAMILY) >> 2] === AF_INET ? 4 : 6
    let e = t + LOCAL_ENTRIES + (localHash(m[w], m[w + 1], m[w + 2], m[w + 3]) & (buckets - 1)) * LOCAL_ENTRY_SIZE
    let known = false
    while (m[(e + LOCAL_ENTRY_FAMILY) >> 2] !== 0 && !known) {
      known = isEntry(m, e, family, m[w], m[w + 1], m[w + 2], m[w + 3])
      if (!known) e = next(t, e, buckets)
    }
    // One address on two devices: local on one of them is local.
    if (known && m[(e + LOCAL_ENTRY_TYPE) >> 2] === RTN_LOCAL) continue
    m[(e + LOCAL_ENTRY_FAMILY) >> 2] = family
    m[(e + LOCAL_ENTRY_IFINDEX) >> 2] = m[(r + ROUTE_OIF) >> 2]
    m[(e + LOCAL_ENTRY_TYPE) >> 2] = m[(r + ROUTE_TYPE) >> 2]
    for (let i = 0; i < 4; i++) m[((e + LOCAL_ENTRY_ADDR) >> 2) + i] = m[w + i]
  }
  const old = m[SUPER_LOCAL >> 2]
  publish(m, SUPER_LOCAL >> 2, t)
  if (old !== 0) freeRcu(a, old, m[(old + LOCAL_BYTES) >> 2], TAG_LOCAL)
  bumpGeneration(a)
}

const next = (t: number, e: number, buckets: number): number =>
  e + LOCAL_ENTRY_SIZE === t + LOCAL_ENTRIES + buckets * LOCAL_ENTRY_SIZE ? t + LOCAL_ENTRIES : e + LOCAL_ENTRY_SIZE

const isEntry = (m: Int32Array, e: number, family: number, w0: number, w1: number, w2: number, w3: number): boolean => {
  const w = (e + LOCAL_ENTRY_ADDR) >> 2
  return (
    m[(e + LOCAL_ENTRY_FAMILY) >> 2] === family && m[w] === w0 && m[w + 1] === w1 && m[w + 2] === w2 && m[w + 3] === w3
  )
}

const word = (b: Uint8Array, o: number): number => b[o] | (b[o + 1] << 8) | (b[o + 2] << 16) | (b[o + 3] << 24)

/** The entry of an address (arena address), 0 when it is neither local nor a broadcast address. RCU reader. */
export function localEntry(a: Arena, family: number, address: Uint8Array): number {
  const m = a.m
  const t = deref(m, SUPER_LOCAL >> 2)
  if (t === 0) return 0
  const f = family === AF_INET ? 4 : 6
  const [w0, w1, w2, w3] = [word(address, 0), word(address, 4), word(address, 8), word(address, 12)]
  const buckets = m[(t + LOCAL_MASK) >> 2] + 1
  let e = t + LOCAL_ENTRIES + (localHash(w0, w1, w2, w3) & (buckets - 1)) * LOCAL_ENTRY_SIZE
  for (; m[(e + LOCAL_ENTRY_FAMILY) >> 2] !== 0; e = next(t, e, buckets)) if (isEntry(m, e, f, w0, w1, w2, w3)) return e
  return 0
}

/** RTN_LOCAL, RTN_BROADCAST, or 0. */
export function localType(a: Arena, family: number, address: Uint8Array): number {
  const e = localEntry(a, family, address)
  return e === 0 ? 0 : a.m[(e + LOCAL_ENTRY_TYPE) >> 2]
}

/** ifindex of the device whose address it is, 0 when it is not ours. */
export function localIfindex(a: Arena, family: number, address: Uint8Array): number {
  const e = localEntry(a, family, address)
  return e !== 0 && a.m[(e + LOCAL_ENTRY_TYPE) >> 2] === RTN_LOCAL ? a.m[(e + LOCAL_ENTRY_IFINDEX) >> 2] : 0
}
