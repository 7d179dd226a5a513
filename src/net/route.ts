// Which way a packet of ours goes: the output route lookup (ip_route_output_key, ip6_route_output + ip6_dst_lookup).
//
// `lookup` asks the routing table, checks or selects the source address, and answers with everything copied out, or
// with the errno that the kernel would give. Any thread that is an online RCU reader.

import type { Arena } from '../memory/arena.ts'
import { IFF_LOOPBACK, IFF_UP } from '../memory/layout/netdev.ts'
import { EACCES, EHOSTUNREACH, EINVAL, ENETUNREACH, ENODEV } from '../wire/netlink_error.ts'
import {
  AF_INET,
  AF_INET6,
  RT_SCOPE_LINK,
  RT_SCOPE_UNIVERSE,
  RT_TABLE_DEFAULT,
  RT_TABLE_LOCAL,
  RT_TABLE_MAIN,
  RTN_BLACKHOLE,
  RTN_BROADCAST,
  RTN_LOCAL,
  RTN_MULTICAST,
  RTN_PROHIBIT,
  RTN_THROW,
  RTN_UNICAST,
  RTN_UNREACHABLE,
  RTN_UNSPEC,
} from '../wire/rtm_route.ts'
import { selectSource4, selectSource6 } from './addr.ts'
import {
  fibMatch,
  ROUTE_F_OWN_GATEWAY,
  ROUTE_FLAGS,
  ROUTE_GATEWAY,
  ROUTE_GW_FAMILY,
  ROUTE_LEN,
  ROUTE_MTU,
  ROUTE_OIF,
  ROUTE_PREFSRC,
  ROUTE_SCOPE,
  ROUTE_SIBLING,
  ROUTE_TOS,
  ROUTE_TYPE,
  ROUTE_WEIGHT,
} from './fib.ts'
import {
  familyBits,
  ipv4Address,
  isAny,
  isLimitedBroadcast,
  isLinkLocal,
  isLoopback,
  isMulticast,
  isZeronet,
  readAddress,
} from './inet.ts'
import { localIfindex } from './local.ts'
import { aliveHops, hopsOf, leavesBy, selectHop, totalWeight } from './multipath.ts'
import { loopbackDev, netdevByIndex, netdevFlags, netdevIfindex, netdevIsUp, netdevMtu } from './netdev.ts'

/** What a lookup found. */
export interface Route {
  /** 0, or the kernel's answer: ENETUNREACH, EHOSTUNREACH, EACCES, EINVAL, ENODEV. */
  errno: number
  /** RTN_UNICAST, _LOCAL, _BROADCAST, _MULTICAST; with an errno also _BLACKHOLE, _UNREACHABLE, _PROHIBIT; RTN_UNSPEC: no route. */
  type: number
  /** Device (address) that the packet leaves by: loopback for RTN_LOCAL; 0 with an errno. */
  dev: number
  /** Family of `nexthop` (an IPv4 route may have an IPv6 gateway). */
  family: number
  /** The gateway; null: the destination is on link. */
  gateway: Uint8Array | null
  /** Whom to resolve on `dev`: the gateway, or the destination. */
  nexthop: Uint8Array
  /** Source address: the one given, or the one selected. */
  src: Uint8Array
  /** Largest IP packet this way: the route's mtu metric, or the device's MTU. */
  mtu: number
  /** Next hops of the route that are alive, 0 when it has only one; the weight of this one, and of all of them. */
  hops: number
  weight: number
  weights: number
  /** Prefix length of the route; that of an address when there was none to ask. */
  length: number
}

export interface LookupOptions {
  /** Source address; absent or all zero: select one. */
  src?: Uint8Array
  /** ifindex to leave by, 0 any. */
  oif?: number
  /** tos of the packet, for routes that ask for one. */
  tos?: number
}

const NOWHERE = new Uint8Array(16)
const failed = (errno: number, family: number, dst: Uint8Array, type = RTN_UNSPEC): Route => ({
  errno,
  type,
  dev: 0,
  family,
  gateway: null,
  nexthop: dst,
  src: NOWHERE,
  mtu: 0,
  hops: 0,
  weight: 0,
  weights: 0,
  length: 0,
})

/** The route that applies, 0 without: local table, main, default; a throw route sends the search to the next table. */
function match(a: Arena, family: number, dst: Uint8Array, oif: number, tos: number): number {
  const m = a.m
  const wanted = (r: number): boolean =>
    (m[(r + ROUTE_TOS) >> 2] === 0 || m[(r + ROUTE_TOS) >> 2] === tos) &&
    (oif === 0 || leavesBy(a, r, oif) || m[(r + ROUTE_OIF) >> 2] === 0)
  for (const table of [RT_TABLE_LOCAL, RT_TABLE_MAIN, RT_TABLE_DEFAULT]) {
    const r = fibMatch(a, table, family, dst, wanted)
    if (r !== 0 && m[(r + ROUTE_TYPE) >> 2] !== RTN_THROW) return r
  }
  return 0
}

/** The one of a route's next hops that the packet takes: that of the device asked for, or one by the hash of the flow. */
const hopFor = (a: Arena, r: number, src: Uint8Array | null, dst: Uint8Array, oif: number): number =>
  oif === 0 ? selectHop(a, r, src ?? NOWHERE, dst) : (hopsOf(a, r).find((h) => a.m[(h + ROUTE_OIF) >> 2] === oif) ?? r)

const errnoOf = (type: number): number =>
  type === RTN_BLACKHOLE ? EINVAL : type === RTN_UNREACHABLE ? EHOSTUNREACH : type === RTN_PROHIBIT ? EACCES : 0

/**
 * The output route for a destination of family AF_INET or AF_INET6 (sixteen bytes). Never throws: a refusal is `errno`.
 */
export function lookup(a: Arena, family: number, dst: Uint8Array, o: LookupOptions = {}): Route {
  return family === AF_INET ? lookup4(a, dst, o) : lookup6(a, dst, o)
}

function found(
  a: Arena,
  family: number,
  dst: Uint8Array,
  type: number,
  dev: number,
  r: number,
  src: Uint8Array,
  hops: number,
): Route {
  const m = a.m
  const alive = hops === 0 || m[(hops + ROUTE_SIBLING) >> 2] === 0 ? [] : aliveHops(a, hops)
  const own = r !== 0 && (m[(r + ROUTE_FLAGS) >> 2] & ROUTE_F_OWN_GATEWAY) !== 0
  const gatewayFamily = r === 0 || own ? 0 : m[(r + ROUTE_GW_FAMILY) >> 2]
  const gateway = gatewayFamily === 0 ? null : readAddress(a.u8, r + ROUTE_GATEWAY, new Uint8Array(16))
  return {
    errno: 0,
    type,
    dev,
    family: gatewayFamily || family,
    gateway,
    nexthop: gateway ?? dst,
    src,
    mtu: (r !== 0 && m[(r + ROUTE_MTU) >> 2]) || netdevMtu(a, dev),
    hops: alive.length,
    weight: r === 0 ? 0 : m[(r + ROUTE_WEIGHT) >> 2],
    weights: totalWeight(a, alive),
    length: r === 0 ? familyBits(family) : m[(r + ROUTE_LEN) >> 2],
  }
}

function lookup4(a: Arena, dst: Uint8Array, o: LookupOptions): Route {
  const m = a.m
  let src = o.src !== undefined && !isAny(o.src) ? o.src : null
  let oif = o.oif ?? 0
  const lbcast = isLimitedBroadcast(AF_INET, dst)
  const mcast = isMulticast(AF_INET, dst)
  let dev = 0
  let r = 0
  let hops = 0
  let type = RTN_UNICAST
  let onLink = false
  if (src !== null) {
    if (isMulticast(AF_INET, src) || isLimitedBroadcast(AF_INET, src) || isZeronet(AF_INET, src))
      return failed(EINVAL, AF_INET, dst)
    const owner = ownerOf(a, src)
    if (owner === 0) return failed(ENETUNREACH, AF_INET, dst)
    if (oif === 0 && (mcast || lbcast)) {
      oif = owner
      dev = netdevByIndex(a, oif)
      onLink = true
    }
  }
  if (oif !== 0 && !onLink) {
    dev = netdevByIndex(a, oif)
    if (dev === 0) return failed(ENODEV, AF_INET, dst)
    if (!netdevIsUp(a, dev)) return failed(ENETUNREACH, AF_INET, dst)
    if (lbcast || (dst[0] === 224 && dst[1] === 0 && dst[2] === 0)) {
      src ??= selectSource4(a, oif, null, RT_SCOPE_LINK)
      onLink = true
    } else if (src === null && mcast) src = selectSource4(a, oif, null, RT_SCOPE_UNIVERSE)
  }
  let to = dst
  if (!onLink && isAny(dst)) {
    to = src ?? ipv4Address(0x7f000001)
    src ??= to
    dev = loopbackDev(a)
    type = RTN_LOCAL
    onLink = true
  }
  if (!onLink) {
    r = match(a, AF_INET, to, oif, o.tos ?? 0)
    if (r === 0) {
      if (oif === 0) return failed(ENETUNREACH, AF_INET, dst)
      src ??= selectSource4(a, oif, null, RT_SCOPE_LINK)
    } else {
      type = m[(r + ROUTE_TYPE) >> 2]
      const refused = errnoOf(type)
      if (refused !== 0) return failed(refused, AF_INET, dst, type)
      const prefsrc = readAddress(a.u8, r + ROUTE_PREFSRC, new Uint8Array(16))
      if (type === RTN_LOCAL) {
        dev = loopbackDev(a)
        src ??= isAny(prefsrc) ? to : prefsrc
      } else {
        hops = r
        r = hopFor(a, r, src, to, oif)
        dev = netdevByIndex(a, m[(r + ROUTE_OIF) >> 2])
        if (src === null && !isAny(prefsrc)) src = prefsrc
        if (src === null && dev !== 0) {
          const gateway =
            m[(r + ROUTE_GW_FAMILY) >> 2] === AF_INET ? readAddress(a.u8, r + ROUTE_GATEWAY, new Uint8Array(16)) : null
          src = selectSource4(a, netdevIfindex(a, dev), gateway, m[(r + ROUTE_SCOPE) >> 2])
        }
      }
    }
  }
  if (dev === 0) return failed(ENODEV, AF_INET, dst)
  src ??= NOWHERE
  // __mkroute_output
  if (isLoopback(AF_INET, src) && !(netdevFlags(a, dev) & IFF_LOOPBACK)) return failed(EINVAL, AF_INET, dst)
  if (lbcast) type = RTN_BROADCAST
  else if (mcast) type = RTN_MULTICAST
  else if (isZeronet(AF_INET, to)) return failed(EINVAL, AF_INET, dst)
  if (type === RTN_BROADCAST) r = 0
  return found(a, AF_INET, to, type, dev, r, src, hops)
}

/** ifindex of the device that an IPv4 address of ours belongs to (__ip_dev_find), 0 when it is not local. */
function ownerOf(a: Arena, address: Uint8Array): number {
  const exact = localIfindex(a, AF_INET, address)
  if (exact !== 0) return exact
  const m = a.m
  const r = fibMatch(a, RT_TABLE_LOCAL, AF_INET, address, () => true)
  return r !== 0 && m[(r + ROUTE_TYPE) >> 2] === RTN_LOCAL ? m[(r + ROUTE_OIF) >> 2] : 0
}

function lookup6(a: Arena, dst: Uint8Array, o: LookupOptions): Route {
  const m = a.m
  const src = o.src !== undefined && !isAny(o.src) ? o.src : null
  let oif = o.oif ?? 0
  // A link-local source says the device (rt6_need_strict).
  if (
    oif === 0 &&
    src !== null &&
    isLinkLocal(AF_INET6, src) &&
    (isLinkLocal(AF_INET6, dst) || isMulticast(AF_INET6, dst))
  )
    oif = localIfindex(a, AF_INET6, src)
  const hops = match(a, AF_INET6, dst, oif, o.tos ?? 0)
  if (hops === 0) return failed(ENETUNREACH, AF_INET6, dst)
  const r = hopFor(a, hops, src, dst, oif)
  let type = m[(r + ROUTE_TYPE) >> 2]
  const refused = errnoOf(type)
  if (refused !== 0) return failed(refused, AF_INET6, dst, type)
  const owner = netdevByIndex(a, m[(r + ROUTE_OIF) >> 2])
  const dev = type === RTN_LOCAL ? loopbackDev(a) : owner
  if (dev === 0) return failed(ENODEV, AF_INET6, dst)
  if (!(netdevFlags(a, dev) & IFF_UP)) return failed(ENETUNREACH, AF_INET6, dst)
  if (isMulticast(AF_INET6, dst)) type = RTN_MULTICAST
  let from = src
  if (from === null) {
    const prefsrc = readAddress(a.u8, r + ROUTE_PREFSRC, new Uint8Array(16))
    from = isAny(prefsrc) ? selectSource6(a, netdevIfindex(a, owner === 0 ? dev : owner), dst) : prefsrc
    if (from === null) return failed(ENETUNREACH, AF_INET6, dst)
  }
  return found(a, AF_INET6, dst, type, dev, r, from, hops)
}

/** What the routing table says of an address as the kernel asks of destinations and sources (inet_addr_type): RTN_*. */
export function addressType(a: Arena, family: number, address: Uint8Array): number {
  if (family === AF_INET && (isZeronet(AF_INET, address) || isLimitedBroadcast(AF_INET, address))) return RTN_BROADCAST
  if (isMulticast(family, address)) return RTN_MULTICAST
  const r = fibMatch(a, RT_TABLE_LOCAL, family, address, () => true)
  return r === 0 ? RTN_UNICAST : a.m[(r + ROUTE_TYPE) >> 2]
}
