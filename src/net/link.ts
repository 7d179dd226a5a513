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
import { IFA_F_PERMANENT, IFA_F_SECONDARY, IFAPROT_KERNEL_LL, IFAPROT_KERNEL_LO } from '../wire/rtm_addr.ts'
import { RTM_DELLINK, RTM_NEWLINK } from '../wire/rtm_link.ts'
import { AF_INET, AF_INET6, RT_SCOPE_HOST } from '../wire/rtm_route.ts'
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
import { addRoutes, dropRoutes, multicastRoute6, putRoute } from './addr_routes.ts'
import { fibEach, fibInit, fibRemove, ROUTE_FAMILY, ROUTE_OIF, ROUTE_SCOPE } from './fib.ts'
import { ipv4Address, prefixOf, sameAddress } from './inet.ts'
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
export function addPort(
  a: Arena,
  name: string,
  port: number,
  mac: Uint8Array,
  mtu = 1500,
  now = 0,
  ifindex = 0,
): number {
  const dev = netdevRegister(a, { name, kind: NETDEV_KIND_PORT, mtu, mac, port, ifindex })
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
  if (!loopback) putRoute(a, multicastRoute6(ifindex))
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
