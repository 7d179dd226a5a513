// Whose is a packet that arrived? The input route lookup of a host that does not forward (ip_route_input_slow,
// ip_route_input_mc, fib_validate_source with rp_filter off; ip6_route_input).

import { IFF_LOOPBACK } from '../memory/layout/netdev.ts'
import { addrFind, nextAddr, readAddr } from '../net/addr.ts'
import { fibMatch, ROUTE_TYPE } from '../net/fib.ts'
import { isAny, isLimitedBroadcast, isLinkLocal, isLoopback, isMulticast, isZeronet, sameAddress } from '../net/inet.ts'
import { netdevFlags, netdevIfindex } from '../net/netdev.ts'
import { solicitedNode } from '../wire/nd.ts'
import {
  AF_INET,
  AF_INET6,
  RT_TABLE_DEFAULT,
  RT_TABLE_LOCAL,
  RT_TABLE_MAIN,
  RTN_BROADCAST,
  RTN_LOCAL,
  RTN_THROW,
  RTN_UNICAST,
} from '../wire/rtm_route.ts'
import type { HostState } from './state.ts'

/**
 * local, broadcast, multicast: ours. forward: somebody else's, and we do not forward. unreachable: there is not even a
 * route. martian: an address that cannot be. ignored: a group nobody here belongs to.
 */
export type Fate = 'local' | 'broadcast' | 'multicast' | 'forward' | 'unreachable' | 'martian' | 'ignored'

function typeOf(h: HostState, family: number, dst: Uint8Array): number {
  for (const table of [RT_TABLE_LOCAL, RT_TABLE_MAIN, RT_TABLE_DEFAULT]) {
    const r = fibMatch(h.a, table, family, dst, () => true)
    if (r !== 0 && h.a.m[(r + ROUTE_TYPE) >> 2] !== RTN_THROW) return h.a.m[(r + ROUTE_TYPE) >> 2]
  }
  return 0
}

/** An address of ours as the source of what arrives from outside (inet_lookup_ifaddr_rcu). */
const isOwn4 = (h: HostState, src: Uint8Array): boolean => {
  for (let p = nextAddr(h.a, 0, 0, AF_INET); p !== 0; p = nextAddr(h.a, p, 0, AF_INET))
    if (sameAddress(readAddr(h.a, p).local, src)) return true
  return false
}

/** 224.0.0.1: every host is a member. */
const isJoined4 = (dst: Uint8Array): boolean => dst[0] === 224 && dst[1] === 0 && dst[2] === 0 && dst[3] === 1

/** An IPv4 packet from `src` to `dst` that arrived from outside. */
export function inputRoute4(h: HostState, src: Uint8Array, dst: Uint8Array): Fate {
  if (isMulticast(AF_INET, dst)) {
    if (!isJoined4(dst)) return 'ignored'
    const bad = isMulticast(AF_INET, src) || isLimitedBroadcast(AF_INET, src) || isLoopback(AF_INET, src)
    return bad || (!isZeronet(AF_INET, src) && isOwn4(h, src)) ? 'martian' : 'multicast'
  }
  if (isMulticast(AF_INET, src) || isLimitedBroadcast(AF_INET, src)) return 'martian'
  if (isLimitedBroadcast(AF_INET, dst) || (isAny(src) && isAny(dst)))
    return !isZeronet(AF_INET, src) && isOwn4(h, src) ? 'martian' : 'broadcast'
  if (isZeronet(AF_INET, src) || isZeronet(AF_INET, dst)) return 'martian'
  if (isLoopback(AF_INET, dst) || isLoopback(AF_INET, src)) return 'martian'
  const type = typeOf(h, AF_INET, dst)
  if (type === RTN_BROADCAST) return isOwn4(h, src) ? 'martian' : 'broadcast'
  if (type === RTN_LOCAL) return isOwn4(h, src) ? 'martian' : 'local'
  return type === 0 ? 'unreachable' : 'forward'
}

/** All nodes of the link, and the solicited-node group of each address of the device (ipv6_chk_mcast_addr). */
function isJoined6(h: HostState, dst: Uint8Array, dev: number): boolean {
  const scope = dst[1] & 15
  if ((scope === 1 || scope === 2) && dst[15] === 1 && dst.subarray(2, 15).every((x) => x === 0)) return true
  const ifindex = netdevIfindex(h.a, dev)
  for (let p = nextAddr(h.a, 0, ifindex, AF_INET6); p !== 0; p = nextAddr(h.a, p, ifindex, AF_INET6))
    if (sameAddress(solicitedNode(readAddr(h.a, p).local), dst)) return true
  return false
}

/** The source and destination checks of ip6_rcv_core, then the route. */
export function inputRoute6(h: HostState, src: Uint8Array, dst: Uint8Array, dev: number): Fate {
  const loopback = (netdevFlags(h.a, dev) & IFF_LOOPBACK) !== 0
  if (!loopback && (isLoopback(AF_INET6, src) || isLoopback(AF_INET6, dst))) return 'martian'
  if (isMulticast(AF_INET6, src)) return 'martian'
  if (isMulticast(AF_INET6, dst)) {
    const scope = dst[1] & 15
    if (scope === 0 || (scope === 1 && !loopback)) return 'martian'
    return isJoined6(h, dst, dev) ? 'multicast' : 'ignored'
  }
  // A link-local address is one of the device that received the packet.
  if (isLinkLocal(AF_INET6, dst))
    return addrFind(h.a, netdevIfindex(h.a, dev), AF_INET6, dst) !== 0 ? 'local' : 'forward'
  const type = typeOf(h, AF_INET6, dst)
  if (type === RTN_LOCAL) return 'local'
  return type === RTN_UNICAST ? 'forward' : 'unreachable'
}
