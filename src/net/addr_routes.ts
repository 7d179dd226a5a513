// The routes that come with addresses (fib_add_ifaddr, fib_del_ifaddr; addrconf_prefix_route): one for the address
// itself in the local table, one for its subnet, and for IPv4 those of the broadcast addresses. Control, under rtnl.

import type { Arena } from '../memory/arena.ts'
import { IFF_LOOPBACK } from '../memory/layout/netdev.ts'
import { IFA_F_NOPREFIXROUTE, IFA_F_SECONDARY } from '../wire/rtm_addr.ts'
import {
  AF_INET,
  AF_INET6,
  RT_SCOPE_HOST,
  RT_SCOPE_LINK,
  RT_TABLE_LOCAL,
  RT_TABLE_MAIN,
  RTN_BROADCAST,
  RTN_LOCAL,
  RTN_MULTICAST,
  RTN_UNICAST,
  RTPROT_KERNEL,
} from '../wire/rtm_route.ts'
import { type NewAddr, nextAddr, readAddr } from './addr.ts'
import {
  fibEach,
  fibFind,
  fibInsert,
  fibRemove,
  type NewRoute,
  newRoute,
  ROUTE_FAMILY,
  ROUTE_METRIC,
  ROUTE_OIF,
  ROUTE_PREFSRC,
  ROUTE_TYPE,
} from './fib.ts'
import { addressAt, familyBits, ipv4Address, ipv4Number, isAny, isZeronet, prefixOf, sameAddress } from './inet.ts'
import { netdevFlags, netdevIsUp, netdevSlot } from './netdev.ts'

const ANY = new Uint8Array(16)
/** IP6_RT_PRIO_ADDRCONF. */
const METRIC6_KERNEL = 256

/** Adds a route unless there is one of the same type, device and metric. */
export function putRoute(a: Arena, r: NewRoute): void {
  const same = fibFind(
    a,
    r.table,
    r.family,
    r.dst,
    r.length,
    (x) =>
      a.m[(x + ROUTE_TYPE) >> 2] === r.type &&
      a.m[(x + ROUTE_OIF) >> 2] === r.oif &&
      a.m[(x + ROUTE_METRIC) >> 2] >>> 0 === r.metric,
  )
  if (same === 0) fibInsert(a, r)
}

/** Removes the route of the same type and device. */
function takeRoute(a: Arena, r: NewRoute): void {
  const same = fibFind(
    a,
    r.table,
    r.family,
    r.dst,
    r.length,
    (x) => a.m[(x + ROUTE_TYPE) >> 2] === r.type && a.m[(x + ROUTE_OIF) >> 2] === r.oif,
  )
  if (same !== 0) fibRemove(a, same)
}

const kernelRoute = (n: NewAddr, r: Partial<NewRoute>): NewRoute =>
  newRoute({ family: n.family, table: RT_TABLE_LOCAL, type: RTN_LOCAL, protocol: RTPROT_KERNEL, oif: n.ifindex, ...r })

const localRoute = (a: Arena, n: NewAddr): NewRoute =>
  kernelRoute(n, {
    dst: n.local,
    length: familyBits(n.family),
    scope: n.family === AF_INET ? RT_SCOPE_HOST : 0,
    prefsrc: n.family === AF_INET ? primaryOf(a, n) : ANY,
  })

/** The primary address of the subnet of a secondary one speaks for it (inet_ifa_byprefix). */
function primaryOf(a: Arena, n: NewAddr): Uint8Array {
  if (!(n.flags & IFA_F_SECONDARY)) return n.local
  for (let p = nextAddr(a, 0, n.ifindex, AF_INET); p !== 0; p = nextAddr(a, p, n.ifindex, AF_INET)) {
    const x = readAddr(a, p)
    if (x.flags & IFA_F_SECONDARY || x.length !== n.length) continue
    if (sameAddress(prefixOf(x.peer, x.length), prefixOf(n.peer, n.length))) return x.local
  }
  return n.local
}

const prefixRoute = (a: Arena, n: NewAddr): NewRoute | null => {
  if (n.flags & IFA_F_NOPREFIXROUTE) return null
  const dst = prefixOf(n.peer, n.length)
  if (n.family === AF_INET6)
    return kernelRoute(n, {
      table: RT_TABLE_MAIN,
      type: RTN_UNICAST,
      dst,
      length: n.length,
      metric: n.metric || METRIC6_KERNEL,
    })
  if (isZeronet(AF_INET, dst) || n.flags & IFA_F_SECONDARY || (n.length === 32 && sameAddress(dst, n.local)))
    return null
  const loopback = (netdevFlags(a, netdevSlot(a, n.ifindex)) & IFF_LOOPBACK) !== 0
  return kernelRoute(n, {
    table: loopback ? RT_TABLE_LOCAL : RT_TABLE_MAIN,
    type: loopback ? RTN_LOCAL : RTN_UNICAST,
    dst,
    length: n.length,
    scope: loopback ? RT_SCOPE_HOST : RT_SCOPE_LINK,
    prefsrc: n.local,
    metric: n.metric,
  })
}

function broadcastRoutes(a: Arena, n: NewAddr): NewRoute[] {
  if (n.family !== AF_INET || !netdevIsUp(a, netdevSlot(a, n.ifindex))) return []
  const route = (dst: Uint8Array): NewRoute =>
    kernelRoute(n, { type: RTN_BROADCAST, dst, length: 32, scope: RT_SCOPE_LINK, prefsrc: n.local })
  const out: NewRoute[] = []
  if (!isAny(n.broadcast) && ipv4Number(n.broadcast) !== 0xffffffff) out.push(route(n.broadcast))
  const dst = prefixOf(n.peer, n.length)
  if (!isZeronet(AF_INET, dst) && !(n.flags & IFA_F_SECONDARY) && n.length < 31) {
    const last = ipv4Address((ipv4Number(dst) | (0xffffffff >>> n.length)) >>> 0)
    if (!out.some((r) => sameAddress(r.dst, last))) out.push(route(last))
  }
  return out
}

/** ff00::/8 on a device that is up. */
export const multicastRoute6 = (ifindex: number): NewRoute =>
  newRoute({
    family: AF_INET6,
    table: RT_TABLE_LOCAL,
    type: RTN_MULTICAST,
    protocol: RTPROT_KERNEL,
    dst: Uint8Array.of(0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
    length: 8,
    metric: METRIC6_KERNEL,
    oif: ifindex,
  })

/** fib_add_ifaddr, addrconf_prefix_route: of an IPv4 address on a device that is down only the local route. */
export function addRoutes(a: Arena, n: NewAddr): void {
  const up = netdevIsUp(a, netdevSlot(a, n.ifindex))
  if (n.family === AF_INET6 && !up) return
  putRoute(a, localRoute(a, n))
  if (!up) return
  const prefix = prefixRoute(a, n)
  if (prefix !== null) putRoute(a, prefix)
  for (const r of broadcastRoutes(a, n)) putRoute(a, r)
}

/** fib_del_ifaddr and fib_sync_down_addr, after the address left the list: routes that another address still needs stay. */
export function dropRoutes(a: Arena, n: NewAddr): void {
  const others: NewAddr[] = []
  for (let p = nextAddr(a, 0, 0, n.family); p !== 0; p = nextAddr(a, p, 0, n.family)) others.push(readAddr(a, p))
  const mine = others.filter((x) => x.ifindex === n.ifindex)
  const kept = [
    ...mine.flatMap((x) => [prefixRoute(a, x), ...broadcastRoutes(a, x)]),
    ...others.map((x) => localRoute(a, x)),
  ]
  const needed = (r: NewRoute): boolean =>
    kept.some(
      (k) => k !== null && k.type === r.type && k.length === r.length && sameAddress(k.dst, r.dst) && k.oif === r.oif,
    )
  const gone = [prefixRoute(a, n), ...broadcastRoutes(a, n), localRoute(a, n)]
  for (const r of gone) if (r !== null && !needed(r)) takeRoute(a, r)
  if (others.some((x) => sameAddress(x.local, n.local))) return
  fibEach(a, (r) => {
    if (a.m[(r + ROUTE_FAMILY) >> 2] === n.family && addressAt(a.u8, r + ROUTE_PREFSRC, n.local)) fibRemove(a, r)
  })
}
