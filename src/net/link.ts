// What follows from a change of a device or of an address: routes, the local table, link-local addresses, neighbours
// (the notifier chains of net/ipv4/fib_frontend.c, net/ipv6/addrconf.c, net/ipv4/arp.c).
//
//   up            ports of tunnel sockets open; connected routes of its addresses appear; IPv6 link-local address
//   down          its routes go, but for local IPv4 addresses; its IPv6 addresses go; its neighbours go
//   address add   local, connected and broadcast routes
//   address del   those routes, and others that named it as source
//
// Control, under rtnl. Every function leaves the tables as a whole right: routes first, then the local table.

import type { Arena } from '../memory/arena.ts'
import {
  IFF_LOOPBACK,
  IFF_LOWER_UP,
  IFF_RUNNING,
  IFF_UP,
  NETDEV_IFINDEX,
  NETDEV_KIND_LOOPBACK,
  NETDEV_KIND_PORT,
} from '../memory/layout/netdev.ts'
import {
  IFA_F_NOPREFIXROUTE,
  IFA_F_PERMANENT,
  IFA_F_SECONDARY,
  IFAPROT_KERNEL_LL,
  IFAPROT_KERNEL_LO,
} from '../wire/rtm_addr.ts'
import { RTM_DELLINK, RTM_NEWLINK } from '../wire/rtm_link.ts'
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
import {
  ADDR_FLAGS,
  ADDR_LEN,
  addrInit,
  addrInsert,
  addrRemove,
  linkLocalEui64,
  type NewAddr,
  nextAddr,
  readAddr,
  rtScope6,
} from './addr.ts'
import {
  fibEach,
  fibFind,
  fibInit,
  fibInsert,
  fibRemove,
  type NewRoute,
  newRoute,
  ROUTE_FAMILY,
  ROUTE_METRIC,
  ROUTE_OIF,
  ROUTE_PREFSRC,
  ROUTE_SCOPE,
  ROUTE_TYPE,
} from './fib.ts'
import { addressAt, familyBits, ipv4Address, ipv4Number, isAny, isZeronet, prefixOf, sameAddress } from './inet.ts'
import { publishLocal } from './local.ts'
import { neighInit } from './neigh.ts'
import { neighFlush } from './neigh_update.ts'
import {
  isEthernet,
  netdevFlags,
  netdevIfindex,
  netdevIsUp,
  netdevMac,
  netdevMtu,
  netdevName,
  netdevNotify,
  netdevRegister,
  netdevSetFlags,
  netdevSetMac,
  netdevSetMtu,
  netdevSlot,
  netdevUnregister,
  udpPortClose,
  udpPortOpen,
} from './netdev.ts'

const ANY = new Uint8Array(16)
/** IP6_RT_PRIO_ADDRCONF. */
const METRIC6_KERNEL = 256
const IPV6_MIN_MTU = 1280

/** Makes the tables of net/ in a new arena, and the loopback device, up, with its addresses. Once, before any other call. */
export function netInit(a: Arena, now = 0): void {
  fibInit(a)
  addrInit(a)
  neighInit(a)
  const lo = netdevRegister(a, { name: 'lo', kind: NETDEV_KIND_LOOPBACK, mtu: 65536 })
  linkUp(a, lo, now)
}

/** A port of the switch: Ethernet, made and set up. `mac` six bytes. Gives back its address. */
export function addPort(a: Arena, name: string, port: number, mac: Uint8Array, mtu = 1500, now = 0): number {
  const dev = netdevRegister(a, { name, kind: NETDEV_KIND_PORT, mtu, mac, port })
  linkUp(a, dev, now)
  return dev
}

/** An address with what nobody said: permanent, forever. */
export const newAddr = (
  a: Arena,
  n: Partial<NewAddr> & Pick<NewAddr, 'family' | 'ifindex' | 'local' | 'length'>,
): NewAddr => ({
  peer: n.local,
  broadcast: ANY,
  scope: n.family === AF_INET6 ? rtScope6(n.local) : 0,
  flags: IFA_F_PERMANENT,
  valid: -1,
  preferred: -1,
  label: n.family === AF_INET ? nameOf(a, n.ifindex) : '',
  metric: 0,
  proto: 0,
  cstamp: 0,
  ...n,
})

const nameOf = (a: Arena, ifindex: number): string => netdevName(a, netdevSlot(a, ifindex))

// ---- routes that come with addresses
function put(a: Arena, r: NewRoute): void {
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

function take(a: Arena, r: NewRoute): void {
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

const multicastRoute6 = (ifindex: number): NewRoute =>
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
function addRoutes(a: Arena, n: NewAddr): void {
  const up = netdevIsUp(a, netdevSlot(a, n.ifindex))
  if (n.family === AF_INET6 && !up) return
  put(a, localRoute(a, n))
  if (!up) return
  const prefix = prefixRoute(a, n)
  if (prefix !== null) put(a, prefix)
  for (const r of broadcastRoutes(a, n)) put(a, r)
}

/** fib_del_ifaddr and fib_sync_down_addr, after the address left the list: routes that another address still needs stay. */
function dropRoutes(a: Arena, n: NewAddr): void {
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
  for (const r of gone) if (r !== null && !needed(r)) take(a, r)
  if (others.some((x) => sameAddress(x.local, n.local))) return
  fibEach(a, (r) => {
    if (a.m[(r + ROUTE_FAMILY) >> 2] === n.family && addressAt(a.u8, r + ROUTE_PREFSRC, n.local)) fibRemove(a, r)
  })
}

/** Adds an address with its routes. The caller has checked that it may. Gives back its struct. */
export function addAddress(a: Arena, n: NewAddr): number {
  const p = addrInsert(a, n)
  addRoutes(a, n)
  publishLocal(a)
  return p
}

/** Removes an address with its routes, and the secondary ones of a primary one. */
export function removeAddress(a: Arena, p: number): void {
  const n = readAddr(a, p)
  if (n.family === AF_INET && !(n.flags & IFA_F_SECONDARY)) {
    const prefix = prefixOf(n.peer, n.length)
    for (let s = nextAddr(a, 0, n.ifindex, AF_INET); s !== 0; ) {
      const next = nextAddr(a, s, n.ifindex, AF_INET)
      if (a.m[(s + ADDR_FLAGS) >> 2] & IFA_F_SECONDARY && a.m[(s + ADDR_LEN) >> 2] === n.length) {
        const x = readAddr(a, s)
        if (sameAddress(prefixOf(x.peer, n.length), prefix) && addrRemove(a, s)) dropRoutes(a, x)
      }
      s = next
    }
  }
  if (addrRemove(a, p)) dropRoutes(a, n)
  publishLocal(a)
}

// ---- devices
/** Sets a device up (dev_open and the notifiers). Nothing when it is up. The tunnel type's own `open` came before. */
export function linkUp(a: Arena, dev: number, now = 0): void {
  if (netdevIsUp(a, dev)) return
  netdevSetFlags(a, dev, netdevFlags(a, dev) | IFF_UP | IFF_RUNNING | IFF_LOWER_UP)
  udpPortOpen(a, dev)
  const ifindex = netdevIfindex(a, dev)
  const loopback = (netdevFlags(a, dev) & IFF_LOOPBACK) !== 0
  for (let p = nextAddr(a, 0, ifindex, 0); p !== 0; p = nextAddr(a, p, ifindex, 0)) addRoutes(a, readAddr(a, p))
  const proto = loopback ? IFAPROT_KERNEL_LO : IFAPROT_KERNEL_LL
  const cstamp = Math.floor(now / 10)
  if (loopback && nextAddr(a, 0, ifindex, AF_INET) === 0)
    addAddress(
      a,
      newAddr(a, {
        family: AF_INET,
        ifindex,
        local: ipv4Address(0x7f000001),
        length: 8,
        scope: RT_SCOPE_HOST,
        proto,
        cstamp,
      }),
    )
  if (netdevMtu(a, dev) >= IPV6_MIN_MTU) up6(a, dev, proto, cstamp)
  publishLocal(a)
  netdevNotify(a, RTM_NEWLINK, dev)
}

/** The multicast route and the address that IPv6 gives itself (addrconf_dev_config: EUI-64). */
function up6(a: Arena, dev: number, proto: number, cstamp: number): void {
  const ifindex = netdevIfindex(a, dev)
  const loopback = (netdevFlags(a, dev) & IFF_LOOPBACK) !== 0
  if (!loopback) put(a, multicastRoute6(ifindex))
  if (!loopback && !isEthernet(a, dev)) return
  const local = loopback ? new Uint8Array(16) : linkLocalEui64(netdevMac(a, dev))
  if (loopback) local[15] = 1
  for (let p = nextAddr(a, 0, ifindex, AF_INET6); p !== 0; p = nextAddr(a, p, ifindex, AF_INET6))
    if (sameAddress(readAddr(a, p).local, local)) return
  addAddress(a, newAddr(a, { family: AF_INET6, ifindex, local, length: loopback ? 128 : 64, proto, cstamp }))
}

/** Routes of a device, and its IPv6 addresses, go; all of them when the device itself goes. */
function flush(a: Arena, dev: number, all: boolean): void {
  const ifindex = netdevIfindex(a, dev)
  for (let p = nextAddr(a, 0, ifindex, all ? 0 : AF_INET6); p !== 0; ) {
    const next = nextAddr(a, p, ifindex, all ? 0 : AF_INET6)
    const n = readAddr(a, p)
    if (addrRemove(a, p)) dropRoutes(a, n)
    p = next
  }
  fibEach(a, (r) => {
    if (a.m[(r + ROUTE_OIF) >> 2] !== ifindex) return
    // An IPv4 address stays local while its device is down (its nexthop has scope nowhere).
    const stays = !all && a.m[(r + ROUTE_FAMILY) >> 2] === AF_INET && a.m[(r + ROUTE_SCOPE) >> 2] === RT_SCOPE_HOST
    if (!stays) fibRemove(a, r)
  })
  neighFlush(a, dev)
}

/** Sets a device down. Nothing when it is down. */
export function linkDown(a: Arena, dev: number): void {
  if (!netdevIsUp(a, dev)) return
  netdevSetFlags(a, dev, netdevFlags(a, dev) & ~(IFF_UP | IFF_RUNNING | IFF_LOWER_UP))
  udpPortClose(a, dev)
  flush(a, dev, false)
  publishLocal(a)
  netdevNotify(a, RTM_NEWLINK, dev)
}

/** Takes a device away. Listeners hear RTM_DELLINK while it is still in the table, down: who keeps filters drops them. */
export function linkDelete(a: Arena, dev: number): void {
  linkDown(a, dev)
  flush(a, dev, true)
  publishLocal(a)
  netdevNotify(a, RTM_DELLINK, dev)
  netdevUnregister(a, dev)
}

/** Another MTU. Below 1280 IPv6 leaves the device. */
export function linkSetMtu(a: Arena, dev: number, mtu: number, now = 0): void {
  const before = netdevMtu(a, dev)
  netdevSetMtu(a, dev, mtu)
  if (before >= IPV6_MIN_MTU && mtu < IPV6_MIN_MTU) leave6(a, dev)
  if (before < IPV6_MIN_MTU && mtu >= IPV6_MIN_MTU && netdevIsUp(a, dev)) {
    up6(a, dev, IFAPROT_KERNEL_LL, Math.floor(now / 10))
    publishLocal(a)
  }
  netdevNotify(a, RTM_NEWLINK, dev)
}

function leave6(a: Arena, dev: number): void {
  const ifindex = a.m[(dev + NETDEV_IFINDEX) >> 2]
  for (let p = nextAddr(a, 0, ifindex, AF_INET6); p !== 0; ) {
    const next = nextAddr(a, p, ifindex, AF_INET6)
    const n = readAddr(a, p)
    if (addrRemove(a, p)) dropRoutes(a, n)
    p = next
  }
  fibEach(a, (r) => {
    if (a.m[(r + ROUTE_OIF) >> 2] === ifindex && a.m[(r + ROUTE_FAMILY) >> 2] === AF_INET6) fibRemove(a, r)
  })
  publishLocal(a)
}

/** Another Ethernet address: whoever was resolved on the device is forgotten (neigh_changeaddr). */
export function linkSetMac(a: Arena, dev: number, mac: Uint8Array): void {
  netdevSetMac(a, dev, mac)
  neighFlush(a, dev)
  netdevNotify(a, RTM_NEWLINK, dev)
}

/** IFF_* other than IFF_UP. */
export function linkSetFlags(a: Arena, dev: number, flags: number): void {
  if (flags === netdevFlags(a, dev)) return
  netdevSetFlags(a, dev, flags)
  netdevNotify(a, RTM_NEWLINK, dev)
}
