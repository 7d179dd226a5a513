// The route entry: one output route lookup and the encap entries that go by it (after mlx5e_route_entry, scheme 3.13).
//
// The key is what the lookup asks: family, destination, source, outgoing interface, tos. The answer is kept with the
// generation that the routing table had BEFORE the lookup, so that "is it still true?" is one comparison of two numbers,
// never of times (races 72, 73). A change of the routing table posts the route update; it asks again for every entry
// whose generation is old. Everything here is under encap_tbl. A lookup reads the routing table as an RCU reader.

import type { Arena } from '../memory/arena.ts'
import { hashInsert, hashLookup, hashRemove } from '../memory/hash_table.ts'
import { NETDEV_KIND, NETDEV_KIND_PORT } from '../memory/layout/netdev.ts'
import {
  SLOW_BLACKHOLE,
  SLOW_BROADCAST,
  SLOW_DEV_DOWN,
  SLOW_LOCAL,
  SLOW_MULTICAST,
  SLOW_NO_ROUTE,
  SLOW_NONE,
  SLOW_NOT_A_PORT,
  SLOW_PROHIBIT,
  SLOW_SOURCE,
  SLOW_UNREACHABLE,
} from '../memory/layout/slow.ts'
import { insert, remove } from '../memory/list.ts'
import { alloc, free, TAG_ROUTE } from '../memory/pool.ts'
import { FIB_GENERATION, fibBase } from '../net/fib.ts'
import { addressAt, addressHash, isAny, isLoopback, readAddress, writeAddress } from '../net/inet.ts'
import { localIfindex } from '../net/local.ts'
import { netdevIsUp } from '../net/netdev.ts'
import { lookup, type Route } from '../net/route.ts'
import { load } from '../sync/atomic.ts'
import * as Refcount from '../sync/refcount.ts'
import type { Outer } from '../tunnel/tunnel.ts'
import {
  AF_INET,
  RTN_BLACKHOLE,
  RTN_BROADCAST,
  RTN_LOCAL,
  RTN_MULTICAST,
  RTN_PROHIBIT,
  RTN_UNREACHABLE,
} from '../wire/rtm_route.ts'
import { ENTRY_ROUTE, ENTRY_ROUTE_LINK } from './encap_entry.ts'
import { devGeneration, ROOT_ROUTE_TABLE, rootOf } from './root.ts'

/** One for each encap entry, one for each pass. @atomic */
export const ROUTE_ENTRY_REFCNT = 0
// The question. @constant
export const ROUTE_ENTRY_FAMILY = 4
export const ROUTE_ENTRY_OIF = 8
export const ROUTE_ENTRY_TOS = 12
export const ROUTE_ENTRY_DST = 16
export const ROUTE_ENTRY_SRC = 32
export const ROUTE_ENTRY_HASH = 48
// The answer.
/** Generation of routing table and devices before the lookup. @under encap_tbl */
export const ROUTE_ENTRY_GENERATION = 52
/** SLOW_NONE when it leads out of a port, else why not. @under encap_tbl */
export const ROUTE_ENTRY_WHY = 56
/** Port (address), family and address of the next hop, source address, MTU. @under encap_tbl */
export const ROUTE_ENTRY_DEV = 60
export const ROUTE_ENTRY_NEXTHOP = 64
export const ROUTE_ENTRY_SOURCE = 80
export const ROUTE_ENTRY_NEXTHOP_FAMILY = 96
export const ROUTE_ENTRY_MTU = 100
/** Bumped when the answer changes; from 1. @under encap_tbl */
export const ROUTE_ENTRY_VERSION = 104
/** First encap entry, by ENTRY_ROUTE_LINK. @under encap_tbl */
export const ROUTE_ENTRY_ENCAPS = 108
/** Of several next hops: how many are alive (0: the route has one), the weight of this one, and of all. @under encap_tbl */
export const ROUTE_ENTRY_HOPS = 112
export const ROUTE_ENTRY_WEIGHT = 116
export const ROUTE_ENTRY_WEIGHTS = 120
export const ROUTE_ENTRY_SIZE = 128

/** Bits of a tos that routes may ask for (IPTOS_RT_MASK). */
const RT_TOS = 0x1c

const hashOf = (o: Outer, tos: number): number =>
  (addressHash(o.dst, o.family, o.oif) ^ Math.imul(addressHash(o.src, tos, 0), 31)) | 0

const isFor = (a: Arena, r: number, o: Outer, tos: number): boolean =>
  a.m[(r + ROUTE_ENTRY_FAMILY) >> 2] === o.family &&
  a.m[(r + ROUTE_ENTRY_OIF) >> 2] === o.oif &&
  a.m[(r + ROUTE_ENTRY_TOS) >> 2] === tos &&
  addressAt(a.u8, r + ROUTE_ENTRY_DST, o.dst) &&
  addressAt(a.u8, r + ROUTE_ENTRY_SRC, o.src)

/** Is this still the question that `o` asks? (A classic device may have got another remote.) */
export const routeIsFor = (a: Arena, r: number, o: Outer): boolean => isFor(a, r, o, o.tos & RT_TOS)

/** Ties encap entry `e` to the route entry that its outer header needs, making and asking it first if need be. */
export function routeAttachLocked(a: Arena, e: number, o: Outer): number {
  const { m } = a
  const root = rootOf(a)
  const tos = o.tos & RT_TOS
  const hash = hashOf(o, tos)
  // One that cannot be taken is what a thread left that died while it took it out of the table.
  const found = (p: number): boolean => isFor(a, p, o, tos) && Refcount.take(m, (p + ROUTE_ENTRY_REFCNT) >> 2)
  let r = hashLookup(a, root + ROOT_ROUTE_TABLE, hash, found)
  if (r === 0) {
    r = alloc(a, ROUTE_ENTRY_SIZE, TAG_ROUTE)
    Refcount.init(m, (r + ROUTE_ENTRY_REFCNT) >> 2)
    m[(r + ROUTE_ENTRY_FAMILY) >> 2] = o.family
    m[(r + ROUTE_ENTRY_OIF) >> 2] = o.oif
    m[(r + ROUTE_ENTRY_TOS) >> 2] = tos
    m[(r + ROUTE_ENTRY_HASH) >> 2] = hash
    writeAddress(a.u8, r + ROUTE_ENTRY_DST, o.dst)
    writeAddress(a.u8, r + ROUTE_ENTRY_SRC, o.src)
    routeAskLocked(a, r)
    try {
      hashInsert(a, root + ROOT_ROUTE_TABLE, hash, r) // last, so that what a dying thread leaves in the table is whole
    } catch (error) {
      free(a, r, ROUTE_ENTRY_SIZE, TAG_ROUTE)
      throw error
    }
  }
  m[(e + ENTRY_ROUTE) >> 2] = r
  insert(a, r + ROUTE_ENTRY_ENCAPS, e, ENTRY_ROUTE_LINK)
  return r
}

/** Unties `e`; the last one frees the route entry. */
export function routeDetachLocked(a: Arena, e: number): void {
  const r = a.m[(e + ENTRY_ROUTE) >> 2]
  if (r === 0) return
  remove(a, e, ENTRY_ROUTE_LINK)
  a.m[(e + ENTRY_ROUTE) >> 2] = 0
  routePutLocked(a, r)
}

/** Under encap_tbl: nobody sees a route entry without it, so it is freed at once. */
export function routePutLocked(a: Arena, r: number): void {
  if (!Refcount.put(a.m, (r + ROUTE_ENTRY_REFCNT) >> 2)) return
  hashRemove(a, rootOf(a) + ROOT_ROUTE_TABLE, a.m[(r + ROUTE_ENTRY_HASH) >> 2], r)
  free(a, r, ROUTE_ENTRY_SIZE, TAG_ROUTE)
}

/** Rises with every change of the routing table or of a device: both only rise, so their sum tells. */
const generation = (a: Arena): number => (load(a.m, (fibBase(a) + FIB_GENERATION) >> 2) + devGeneration(a)) | 0

/** Has the routing table or a device changed since the answer? */
export const isOutdated = (a: Arena, r: number): boolean => a.m[(r + ROUTE_ENTRY_GENERATION) >> 2] !== generation(a)

/** Why packets by this route do not simply leave by a port: SLOW_*. */
function whyNot(a: Arena, o: { family: number; src: Uint8Array }, route: Route): number {
  if (route.errno !== 0) {
    if (route.type === RTN_BLACKHOLE) return SLOW_BLACKHOLE
    if (route.type === RTN_UNREACHABLE) return SLOW_UNREACHABLE
    if (route.type === RTN_PROHIBIT) return SLOW_PROHIBIT
    const foreign = !isAny(o.src) && !isLoopback(o.family, o.src) && localIfindex(a, o.family, o.src) === 0
    return o.family === AF_INET && foreign ? SLOW_SOURCE : SLOW_NO_ROUTE
  }
  if (route.type === RTN_LOCAL) return SLOW_LOCAL
  if (route.type === RTN_BROADCAST) return SLOW_BROADCAST
  if (route.type === RTN_MULTICAST) return SLOW_MULTICAST
  if (route.dev === 0 || a.m[(route.dev + NETDEV_KIND) >> 2] !== NETDEV_KIND_PORT) return SLOW_NOT_A_PORT
  return netdevIsUp(a, route.dev) ? SLOW_NONE : SLOW_DEV_DOWN
}

/** Asks the routing table again and keeps the answer; another answer has another version. */
export function routeAskLocked(a: Arena, r: number): void {
  const { m } = a
  m[(r + ROUTE_ENTRY_GENERATION) >> 2] = generation(a) // before the lookup: a change after it makes the answer old
  const family = m[(r + ROUTE_ENTRY_FAMILY) >> 2]
  const src = readAddress(a.u8, r + ROUTE_ENTRY_SRC, new Uint8Array(16))
  const route = lookup(a, family, readAddress(a.u8, r + ROUTE_ENTRY_DST, new Uint8Array(16)), {
    src,
    oif: m[(r + ROUTE_ENTRY_OIF) >> 2],
    tos: m[(r + ROUTE_ENTRY_TOS) >> 2],
  })
  const why = whyNot(a, { family, src }, route)
  // For people only: what it leads to may be the same.
  m[(r + ROUTE_ENTRY_HOPS) >> 2] = route.hops
  m[(r + ROUTE_ENTRY_WEIGHT) >> 2] = route.weight
  m[(r + ROUTE_ENTRY_WEIGHTS) >> 2] = route.weights
  const same =
    m[(r + ROUTE_ENTRY_VERSION) >> 2] !== 0 &&
    m[(r + ROUTE_ENTRY_WHY) >> 2] === why &&
    m[(r + ROUTE_ENTRY_DEV) >> 2] === route.dev &&
    m[(r + ROUTE_ENTRY_NEXTHOP_FAMILY) >> 2] === route.family &&
    m[(r + ROUTE_ENTRY_MTU) >> 2] === route.mtu &&
    addressAt(a.u8, r + ROUTE_ENTRY_NEXTHOP, route.nexthop) &&
    addressAt(a.u8, r + ROUTE_ENTRY_SOURCE, route.src)
  if (same) return
  m[(r + ROUTE_ENTRY_VERSION) >> 2]++
  m[(r + ROUTE_ENTRY_WHY) >> 2] = why
  m[(r + ROUTE_ENTRY_DEV) >> 2] = route.dev
  m[(r + ROUTE_ENTRY_NEXTHOP_FAMILY) >> 2] = route.family
  m[(r + ROUTE_ENTRY_MTU) >> 2] = route.mtu
  writeAddress(a.u8, r + ROUTE_ENTRY_NEXTHOP, route.nexthop)
  writeAddress(a.u8, r + ROUTE_ENTRY_SOURCE, route.src)
}
