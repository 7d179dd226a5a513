// The forwarding information base: the routes (net/ipv4/fib_trie.c, net/ipv6/ip6_fib.c). Which way a packet goes, with
// its source address and errors, is net/route.ts; this file keeps and finds.
//
// A route is an immutable struct. One with several next hops has a sibling for each but the first: a copy of the route, with
// another hop, that is on no chain and lives as long as the first (multipath.ts chooses). Routes of one (table, family,
// prefix) hang together in one hash chain, best first: greater tos, smaller metric, then age. Every table that lookups ask (local, main, default) has a count of its routes
// for each prefix length, so that a match tries only the lengths in use, longest first.
//
// Writers hold lock `fib`; a route is linked in or out with one store and freed after a grace period. Readers on any
// thread need no lock: they are online RCU readers. Each change bumps FIB_GENERATION and is told to the listeners of
// the thread that made it, after the lock is dropped.

import type { Arena } from '../memory/arena.ts'
import { reserve } from '../memory/arena.ts'
import { SUPER_PART_FIB, SUPER_PARTS } from '../memory/layout/super.ts'
import { alloc, freeRcu } from '../memory/pool.ts'
import { TAG_FIB } from '../memory/tags.ts'
import { add, load } from '../sync/atomic.ts'
import { FIB } from '../sync/lock_order.ts'
import { lock, unlock } from '../sync/mutex.ts'
import { deref, publish } from '../sync/rcu.ts'
import {
  AF_INET,
  AF_INET6,
  RT_TABLE_DEFAULT,
  RT_TABLE_LOCAL,
  RT_TABLE_MAIN,
  RTM_DELROUTE,
  RTM_NEWROUTE,
} from '../wire/rtm_route.ts'
import { addressAt, addressHash, familyBits, prefixOf, readAddress, writeAddress } from './inet.ts'

// ---- the table
/** Bumped by every change. @atomic */
export const FIB_GENERATION = 0
/** Futex word of lock class fib. @atomic */
export const FIB_LOCK = 4
/** Routes in all tables. @under fib */
export const FIB_COUNT = 8
/** Number of the next route, for order by age. @under fib */
export const FIB_NEXT_SEQ = 12
/** For each of the three tables: 33 counts of IPv4 lengths, 129 of IPv6. @under fib */
export const FIB_LENGTHS = 64
const LENGTHS = 33 + 129
const FIB_BUCKETS = 64 + 3 * LENGTHS * 4
const BUCKETS = 16384

// ---- a route: immutable but for ROUTE_NEXT
/** @rcu fib */
export const ROUTE_NEXT = 0
export const ROUTE_TABLE = 4
export const ROUTE_FAMILY = 8
/** Prefix length. */
export const ROUTE_LEN = 12
export const ROUTE_DST = 16
/** RTN_*. */
export const ROUTE_TYPE = 32
export const ROUTE_SCOPE = 36
/** RTPROT_*. */
export const ROUTE_PROTO = 40
export const ROUTE_TOS = 44
export const ROUTE_METRIC = 48
/** ifindex, 0 without (blackhole and its kin). */
export const ROUTE_OIF = 52
/** Family of the gateway, 0 when the destination is on link. */
export const ROUTE_GW_FAMILY = 56
/** RTAX_MTU, 0 = the device's. */
export const ROUTE_MTU = 60
export const ROUTE_GATEWAY = 64
/** All zero = none. */
export const ROUTE_PREFSRC = 80
/** RTNH_F_ONLINK and the like, for `ip route show`. */
export const ROUTE_FLAGS = 96
/** In ROUTE_FLAGS, ours alone: the gateway is an address of ours, so the destination counts as on link. */
export const ROUTE_F_OWN_GATEWAY = 0x40000000
/** In ROUTE_FLAGS, ours alone: a kernel's route, mirrored (net/mirror.ts). */
export const ROUTE_F_KERNEL = 0x20000000
/** Age: smaller is older. */
export const ROUTE_SEQ = 100
/** Metrics that were given: bit n for RTAX n; RTAX_LOCK's word, RTAX_ADVMSS, RTAX_HOPLIMIT. */
export const ROUTE_METRICS = 104
export const ROUTE_LOCKED = 108
export const ROUTE_ADVMSS = 112
export const ROUTE_HOPLIMIT = 116
/** Of several next hops the next one, 0 the last. */
export const ROUTE_SIBLING = 120
/** Its share of the flows, from 1. */
export const ROUTE_WEIGHT = 124
export const ROUTE_SIZE = 128

/** A route as control speaks of it. */
export interface NewRoute {
  family: number
  /** RT_TABLE_*. */
  table: number
  /** Sixteen bytes, host bits clear. */
  dst: Uint8Array
  length: number
  type: number
  scope: number
  protocol: number
  tos: number
  metric: number
  /** 0 without. */
  oif: number
  gatewayFamily: number
  gateway: Uint8Array
  prefsrc: Uint8Array
  mtu: number
  flags: number
  metrics: number
  locked: number
  advmss: number
  hoplimit: number
  /** Of several next hops this one's share, from 1; alone 1. */
  weight: number
  /** The other next hops, each as the whole route would be with that one alone. */
  siblings: readonly NewRoute[]
}

const ANY = new Uint8Array(16)

/** A route with everything unsaid at zero. */
export const newRoute = (r: Partial<NewRoute> & Pick<NewRoute, 'family' | 'table' | 'type'>): NewRoute => ({
  dst: ANY,
  length: 0,
  scope: 0,
  protocol: 0,
  tos: 0,
  metric: 0,
  oif: 0,
  gatewayFamily: 0,
  gateway: ANY,
  prefsrc: ANY,
  mtu: 0,
  flags: 0,
  metrics: 0,
  locked: 0,
  advmss: 0,
  hoplimit: 0,
  weight: 1,
  siblings: [],
  ...r,
})

/** Called after a route came (RTM_NEWROUTE) or went (RTM_DELROUTE), on the thread that did it; the route is still readable. */
export type FibListener = (a: Arena, event: number, route: number) => void
const listeners = new WeakMap<WebAssembly.Memory, FibListener[]>()

export function fibListen(a: Arena, f: FibListener): void {
  const l = listeners.get(a.memory)
  if (l) l.push(f)
  else listeners.set(a.memory, [f])
}

function changed(a: Arena, event: number, route: number): void {
  add(a.m, (fibBase(a) + FIB_GENERATION) >> 2, 1)
  for (const f of listeners.get(a.memory) ?? []) f(a, event, route)
}

/** Address of the table. */
export const fibBase = (a: Arena): number => a.m[(SUPER_PARTS + SUPER_PART_FIB) >> 2]

/** Once for an arena, before anything else of net/. */
export function fibInit(a: Arena): void {
  a.m[(SUPER_PARTS + SUPER_PART_FIB) >> 2] = reserve(a, FIB_BUCKETS + BUCKETS * 4, 64)
}

/** A number that is another one after every change. */
export const fibGeneration = (a: Arena): number => load(a.m, (fibBase(a) + FIB_GENERATION) >> 2)

const bucketWord = (a: Arena, table: number, family: number, dst: Uint8Array, length: number): number =>
  (fibBase(a) + FIB_BUCKETS + (addressHash(dst, table, (family << 8) | length) & (BUCKETS - 1)) * 4) >> 2

/** Word of the count of a prefix length, -1 for a table that lookups do not ask. */
function lengthWord(a: Arena, table: number, family: number, length: number): number {
  const i = table === RT_TABLE_LOCAL ? 0 : table === RT_TABLE_MAIN ? 1 : table === RT_TABLE_DEFAULT ? 2 : -1
  if (i < 0) return -1
  return ((fibBase(a) + FIB_LENGTHS) >> 2) + i * LENGTHS + (family === AF_INET ? 0 : 33) + length
}

const isAt = (a: Arena, r: number, table: number, family: number, dst: Uint8Array, length: number): boolean =>
  a.m[(r + ROUTE_TABLE) >> 2] === table &&
  a.m[(r + ROUTE_LEN) >> 2] === length &&
  a.m[(r + ROUTE_FAMILY) >> 2] === family &&
  addressAt(a.u8, r + ROUTE_DST, dst)

/** True when route x stands in front of a new one of this tos and metric. */
const before = (a: Arena, x: number, tos: number, metric: number, orEqual: boolean): boolean => {
  const m = a.m
  if (m[(x + ROUTE_TOS) >> 2] !== tos) return m[(x + ROUTE_TOS) >> 2] > tos
  const theirs = m[(x + ROUTE_METRIC) >> 2] >>> 0
  return orEqual ? theirs <= metric : theirs < metric
}

function makeRoute(a: Arena, n: NewRoute, sibling: number): number {
  const m = a.m
  const r = alloc(a, ROUTE_SIZE, TAG_FIB)
  m[(r + ROUTE_TABLE) >> 2] = n.table
  m[(r + ROUTE_FAMILY) >> 2] = n.family
  m[(r + ROUTE_LEN) >> 2] = n.length
  writeAddress(a.u8, r + ROUTE_DST, n.dst)
  m[(r + ROUTE_TYPE) >> 2] = n.type
  m[(r + ROUTE_SCOPE) >> 2] = n.scope
  m[(r + ROUTE_PROTO) >> 2] = n.protocol
  m[(r + ROUTE_TOS) >> 2] = n.tos
  m[(r + ROUTE_METRIC) >> 2] = n.metric
  m[(r + ROUTE_OIF) >> 2] = n.oif
  m[(r + ROUTE_GW_FAMILY) >> 2] = n.gatewayFamily
  m[(r + ROUTE_MTU) >> 2] = n.mtu
  writeAddress(a.u8, r + ROUTE_GATEWAY, n.gateway)
  writeAddress(a.u8, r + ROUTE_PREFSRC, n.prefsrc)
  m[(r + ROUTE_FLAGS) >> 2] = n.flags
  m[(r + ROUTE_METRICS) >> 2] = n.metrics
  m[(r + ROUTE_LOCKED) >> 2] = n.locked
  m[(r + ROUTE_ADVMSS) >> 2] = n.advmss
  m[(r + ROUTE_HOPLIMIT) >> 2] = n.hoplimit
  m[(r + ROUTE_SIBLING) >> 2] = sibling
  m[(r + ROUTE_WEIGHT) >> 2] = n.weight
  return r
}

/** Links a route in: behind those of the same tos and metric when `last`, else in front of them. Gives back its address. */
export function fibInsert(a: Arena, n: NewRoute, last = true): number {
  const m = a.m
  let sibling = 0
  for (const s of [...n.siblings].reverse()) sibling = makeRoute(a, s, sibling)
  const r = makeRoute(a, n, sibling)
  const base = fibBase(a)
  lock(m, (base + FIB_LOCK) >> 2, FIB)
  m[(r + ROUTE_SEQ) >> 2] = m[(base + FIB_NEXT_SEQ) >> 2]++
  m[(base + FIB_COUNT) >> 2]++
  // Among routes of its own prefix by rank; other prefixes in the chain do not matter.
  let word = bucketWord(a, n.table, n.family, n.dst, n.length)
  for (let x = m[word]; x !== 0; x = m[word]) {
    if (isAt(a, x, n.table, n.family, n.dst, n.length) && !before(a, x, n.tos, n.metric >>> 0, last)) break
    word = (x + ROUTE_NEXT) >> 2
  }
  m[(r + ROUTE_NEXT) >> 2] = m[word]
  publish(m, word, r)
  const lengths = lengthWord(a, n.table, n.family, n.length)
  if (lengths >= 0) add(m, lengths, 1)
  unlock(m, (base + FIB_LOCK) >> 2, FIB)
  changed(a, RTM_NEWROUTE, r)
  return r
}

/** Takes a route out; the memory lives on until readers are done. */
export function fibRemove(a: Arena, r: number): void {
  const m = a.m
  const base = fibBase(a)
  const dst = readAddress(a.u8, r + ROUTE_DST, new Uint8Array(16))
  const [table, family, length] = [m[(r + ROUTE_TABLE) >> 2], m[(r + ROUTE_FAMILY) >> 2], m[(r + ROUTE_LEN) >> 2]]
  lock(m, (base + FIB_LOCK) >> 2, FIB)
  let word = bucketWord(a, table, family, dst, length)
  while (m[word] !== 0 && m[word] !== r) word = (m[word] + ROUTE_NEXT) >> 2
  const found = m[word] === r
  if (found) {
    publish(m, word, m[(r + ROUTE_NEXT) >> 2])
    m[(base + FIB_COUNT) >> 2]--
    const lengths = lengthWord(a, table, family, length)
    if (lengths >= 0) add(m, lengths, -1)
  }
  unlock(m, (base + FIB_LOCK) >> 2, FIB)
  if (!found) return
  changed(a, RTM_DELROUTE, r)
  for (let h = r; h !== 0; ) {
    const next = m[(h + ROUTE_SIBLING) >> 2]
    freeRcu(a, h, ROUTE_SIZE, TAG_FIB)
    h = next
  }
}

/** First route of exactly this prefix in a table for which `wanted` holds, in order of tos and metric; 0 without. */
export function fibFind(
  a: Arena,
  table: number,
  family: number,
  dst: Uint8Array,
  length: number,
  wanted: (route: number) => boolean,
): number {
  const m = a.m
  for (let r = deref(m, bucketWord(a, table, family, dst, length)); r !== 0; r = deref(m, (r + ROUTE_NEXT) >> 2))
    if (isAt(a, r, table, family, dst, length) && wanted(r)) return r
  return 0
}

/**
 * Longest prefix match in one table: the first route, longest first, for which `wanted` holds; 0 without.
 * `table` is RT_TABLE_LOCAL, _MAIN or _DEFAULT.
 */
export function fibMatch(
  a: Arena,
  table: number,
  family: number,
  dst: Uint8Array,
  wanted: (route: number) => boolean,
): number {
  for (let length = familyBits(family); length >= 0; length--) {
    if (load(a.m, lengthWord(a, table, family, length)) === 0) continue
    const r = fibFind(a, table, family, prefixOf(dst, length), length, wanted)
    if (r !== 0) return r
  }
  return 0
}

/** Every route, in no order. The caller is an RCU reader or holds rtnl; `each` may remove the route it is given. */
export function fibEach(a: Arena, each: (route: number) => void): void {
  const m = a.m
  const first = (fibBase(a) + FIB_BUCKETS) >> 2
  for (let word = first; word < first + BUCKETS; word++)
    for (let r = deref(m, word); r !== 0; ) {
      const next = deref(m, (r + ROUTE_NEXT) >> 2)
      each(r)
      r = next
    }
}

function siblingsOf(a: Arena, r: number): NewRoute[] {
  const all: NewRoute[] = []
  for (let h = a.m[(r + ROUTE_SIBLING) >> 2]; h !== 0; h = a.m[(h + ROUTE_SIBLING) >> 2])
    all.push({ ...readRoute(a, h), siblings: [] })
  return all
}

/** A route's fields, copied out. */
export function readRoute(a: Arena, r: number): NewRoute {
  const m = a.m
  return {
    table: m[(r + ROUTE_TABLE) >> 2],
    family: m[(r + ROUTE_FAMILY) >> 2],
    length: m[(r + ROUTE_LEN) >> 2],
    dst: readAddress(a.u8, r + ROUTE_DST, new Uint8Array(16)),
    type: m[(r + ROUTE_TYPE) >> 2],
    scope: m[(r + ROUTE_SCOPE) >> 2],
    protocol: m[(r + ROUTE_PROTO) >> 2],
    tos: m[(r + ROUTE_TOS) >> 2],
    metric: m[(r + ROUTE_METRIC) >> 2] >>> 0,
    oif: m[(r + ROUTE_OIF) >> 2],
    gatewayFamily: m[(r + ROUTE_GW_FAMILY) >> 2],
    gateway: readAddress(a.u8, r + ROUTE_GATEWAY, new Uint8Array(16)),
    prefsrc: readAddress(a.u8, r + ROUTE_PREFSRC, new Uint8Array(16)),
    mtu: m[(r + ROUTE_MTU) >> 2],
    flags: m[(r + ROUTE_FLAGS) >> 2],
    metrics: m[(r + ROUTE_METRICS) >> 2],
    locked: m[(r + ROUTE_LOCKED) >> 2],
    advmss: m[(r + ROUTE_ADVMSS) >> 2],
    hoplimit: m[(r + ROUTE_HOPLIMIT) >> 2],
    weight: m[(r + ROUTE_WEIGHT) >> 2],
    siblings: siblingsOf(a, r),
  }
}

/**
 * All routes in the order of a kernel dump. IPv4: by prefix, longer first, tos, metric (a walk of the trie). IPv6: what
 * is inside a prefix before the prefix itself (a walk of the radix tree), then metric.
 */
export function fibSorted(a: Arena, wanted: (route: number) => boolean): number[] {
  const m = a.m
  const all: number[] = []
  fibEach(a, (r) => {
    if (wanted(r)) all.push(r)
  })
  const bytes = (x: number, y: number): number => {
    for (let i = 0; i < 16; i++) {
      const d = a.u8[x + ROUTE_DST + i] - a.u8[y + ROUTE_DST + i]
      if (d !== 0) return d
    }
    return 0
  }
  const inside = (x: number, y: number): boolean =>
    addressAt(
      a.u8,
      y + ROUTE_DST,
      prefixOf(readAddress(a.u8, x + ROUTE_DST, new Uint8Array(16)), m[(y + ROUTE_LEN) >> 2]),
    )
  return all.sort((x, y) => {
    const f = m[(x + ROUTE_FAMILY) >> 2] - m[(y + ROUTE_FAMILY) >> 2]
    if (f !== 0) return f
    const t = m[(x + ROUTE_TABLE) >> 2] - m[(y + ROUTE_TABLE) >> 2]
    if (t !== 0) return t
    const longer = m[(y + ROUTE_LEN) >> 2] - m[(x + ROUTE_LEN) >> 2]
    if (m[(x + ROUTE_FAMILY) >> 2] === AF_INET6 && longer !== 0) {
      if (longer < 0 && inside(x, y)) return -1
      if (longer > 0 && inside(y, x)) return 1
    }
    return (
      bytes(x, y) ||
      longer ||
      m[(y + ROUTE_TOS) >> 2] - m[(x + ROUTE_TOS) >> 2] ||
      (m[(x + ROUTE_METRIC) >> 2] >>> 0) - (m[(y + ROUTE_METRIC) >> 2] >>> 0) ||
      m[(x + ROUTE_SEQ) >> 2] - m[(y + ROUTE_SEQ) >> 2]
    )
  })
}
