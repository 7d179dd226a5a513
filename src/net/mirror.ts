// The mirror of a kernel: what it says of links, addresses, routes and neighbours becomes the switch's own tables.
//
//   device       a port of the switch has a device of the kernel's behind it, found by its name; a tunnel device of the kernel
//                that is `external` and of a kind that we know becomes one of ours; loopback is loopback. Nothing else is seen
//   ifindex      the kernel's and ours differ; the map between them is here
//   address      of the devices that are seen, and local ones of all others, at loopback
//   route        tables local, main and default, of the devices that are seen. A route by another device is an unreachable
//                one: a packet of ours cannot go there, and must not go elsewhere. Of several next hops (ECMP) it is the
//                first that is alive; when that dies the kernel tells, and it is the next
//   neighbour    state and MAC as they are: its timers, its ARP and ND are the kernel's. What packets or encap/ want
//                resolved is asked for (`asked`)
//
// Links and neighbours are told one by one and are absolute: an event is the whole state of its object. Addresses and
// routes are read anew after any change, because a kernel takes routes away without a word (those of a device that went
// down, those that named a deleted address). What is new comes in before what is old goes, so no packet is without a route in
// between. All changes run under rtnl, on the notifier's thread.
//
// What came from the kernel is marked in the arena: devices, and with them their addresses and neighbours, NETDEV_F_KERNEL;
// routes ROUTE_F_KERNEL. So another mirror on another thread may go on where one has ended or died: it finds what is marked,
// and makes it what the kernel says. Only which ifindex is whose it has to be told anew, by `replace('link')`.

import type { Arena } from '../memory/arena.ts'
import {
  IFF_LOWER_UP,
  IFF_RUNNING,
  IFF_UP,
  NETDEV_F_KERNEL,
  NETDEV_FEATURES,
  NETDEV_KIND,
  NETDEV_KIND_PORT,
} from '../memory/layout/netdev.ts'
import { exchange, load, store } from '../sync/atomic.ts'
import { RTNL } from '../sync/lock_order.ts'
import { lock, unlock } from '../sync/mutex.ts'
import {
  attrBytes,
  attrLen,
  attrString,
  Builder,
  forEachAttr,
  msgType,
  NLM_F_CREATE,
  NLM_F_REQUEST,
  parseAttrs,
  viewOf,
} from '../wire/netlink.ts'
import { NetlinkError } from '../wire/netlink_error.ts'
import * as I from '../wire/rtm_addr.ts'
import * as L from '../wire/rtm_link.ts'
import * as N from '../wire/rtm_neigh.ts'
import * as R from '../wire/rtm_route.ts'
import { addrInsert, addrRemove, type NewAddr, nextAddr, readAddr } from './addr.ts'
import {
  fibEach,
  fibInsert,
  fibRemove,
  type NewRoute,
  newRoute,
  ROUTE_F_KERNEL,
  ROUTE_FLAGS,
  ROUTE_OIF,
  ROUTE_SEQ,
  readRoute,
} from './fib.ts'
import { familyBytes } from './inet.ts'
import { linkDelete, newAddr } from './link.ts'
import { publishLocal } from './local.ts'
import {
  NEIGH_ASKED,
  NEIGH_ASKS,
  NEIGH_DEV,
  NEIGH_FAMILY,
  neighAddress,
  neighEach,
  neighLookup,
  neighTable,
} from './neigh.ts'
import { neighFlush, neighGet, neighMirror, neighRemove } from './neigh_update.ts'
import {
  isEthernet,
  isKernels,
  loopbackDev,
  netdevByIndex,
  netdevByName,
  netdevFlags,
  netdevIfindex,
  netdevIsUp,
  netdevMac,
  netdevMtu,
  netdevName,
  netdevNotify,
  netdevRename,
  netdevSetFlags,
  netdevSetMac,
  netdevSetMtu,
  nextNetdev,
  udpPortClose,
  udpPortOpen,
} from './netdev.ts'
import { type NetContext, netRequest, rtnlWord } from './request.ts'

export type MirrorKind = 'link' | 'addr' | 'route' | 'neigh'

export interface MirrorOptions {
  /** Devices of the kernel that are behind a port of the switch, and the port. */
  readonly ports: ReadonlyMap<string, string>
  /** A tunnel device of the kernel's came, went, or has another name. Under rtnl. */
  devicesChanged?(): void
  /** Something of the kernel's cannot be had here, and why. */
  refused?(what: string, why: string): void
}

/** A next hop as the kernel says it. */
interface Hop {
  /** The kernel's ifindex. */
  readonly theirs: number
  readonly gateway: Uint8Array
  readonly family: number
  readonly flags: number
  readonly weight: number
}

/** A route of the kernel's that is in the table. */
interface Known {
  readonly key: string
  readonly route: number
}

const UP = IFF_UP | IFF_RUNNING | IFF_LOWER_UP
const ROUTES: readonly MirrorKind[] = ['route']
const ALL: readonly MirrorKind[] = ['addr', 'route', 'neigh']
const ADDRESSES: readonly MirrorKind[] = ['addr', 'route']
const NOTHING: readonly MirrorKind[] = []

const tb = new Int32Array(L.IFLA_ALLMULTI + 1)
const info = new Int32Array(L.IFLA_INFO_SLAVE_DATA + 1)

export class Mirror {
  readonly #c: NetContext
  readonly #a: Arena
  readonly #o: MirrorOptions
  /** The kernel's ifindex to ours. */
  readonly #ours = new Map<number, number>()
  readonly #theirs = new Map<number, number>()
  #ports: ReadonlyMap<string, string>
  /** Routes that came from the kernel: of each (table, family, prefix, …) those that there are, best first. */
  #routes: Map<string, Known[]> | undefined
  /** What was refused, so that it is said once. */
  readonly #refused = new Set<string>()
  #asks = 0
  readonly #b = new Builder(2048)

  constructor(c: NetContext, o: MirrorOptions) {
    this.#c = c
    this.#a = c.a
    this.#o = o
    this.#ports = o.ports
  }

  /** Other devices are behind other ports from now on. All links are to be replaced behind this. */
  setPorts(ports: ReadonlyMap<string, string>): void {
    this.#ports = ports
  }

  /** Everything of a kind. Takes rtnl. */
  replace(kind: MirrorKind, messages: readonly Uint8Array[]): void {
    this.#locked(() => {
      if (kind === 'link') this.#replaceLinks(messages)
      else if (kind === 'addr') this.#replaceAddresses(messages)
      else if (kind === 'route') this.#replaceRoutes(messages)
      else this.#replaceNeighbours(messages)
    })
  }

  /** One event: what is to be read anew because of it. Takes rtnl. */
  event(message: Uint8Array): readonly MirrorKind[] {
    switch (msgType(viewOf(message))) {
      case L.RTM_NEWLINK:
        return this.#locked(() => this.#newLink(message))
      case L.RTM_DELLINK:
        return this.#locked(() => this.#delLink(L.ifiIndex(viewOf(message))))
      case N.RTM_NEWNEIGH:
      case N.RTM_DELNEIGH:
        this.#locked(() => this.#neighbour(message, msgType(viewOf(message)) === N.RTM_DELNEIGH))
        return NOTHING
      case I.RTM_NEWADDR:
      case I.RTM_DELADDR:
        return ADDRESSES
      case R.RTM_NEWROUTE:
      case R.RTM_DELROUTE:
        return R.rtmFlags(viewOf(message)) & R.RTM_F_CLONED ? NOTHING : ROUTES
      default:
        return NOTHING
    }
  }

  /** Neighbours that somebody wants resolved since the last time: `ask` gets each, with the kernel's ifindex. */
  asked(ask: (family: number, address: Uint8Array, ifindex: number) => void): void {
    const a = this.#a
    const asks = load(a.m, (neighTable(a) + NEIGH_ASKS) >> 2)
    if (asks === this.#asks) return
    this.#asks = asks
    neighEach(a, (n) => {
      if (load(a.m, (n + NEIGH_ASKED) >> 2) === 0 || exchange(a.m, (n + NEIGH_ASKED) >> 2, 0) === 0) return
      const family = a.m[(n + NEIGH_FAMILY) >> 2]
      const theirs = this.#theirs.get(netdevIfindex(a, a.m[(n + NEIGH_DEV) >> 2]))
      if (theirs !== undefined) ask(family, neighAddress(a, n).subarray(0, familyBytes(family)), theirs)
    })
  }

  /** Names and ifindexes, the kernel's and ours. */
  devices(): { theirs: number; ours: number }[] {
    return [...this.#ours].map(([theirs, ours]) => ({ theirs, ours }))
  }

  #locked<T>(f: () => T): T {
    lock(this.#a.m, rtnlWord, RTNL)
    try {
      return f()
    } finally {
      unlock(this.#a.m, rtnlWord, RTNL)
    }
  }

  #dev(theirs: number): number {
    const ours = this.#ours.get(theirs)
    const dev = ours === undefined ? 0 : netdevByIndex(this.#a, ours)
    return dev !== 0 && isKernels(this.#a, dev) ? dev : 0
  }

  // ---- links
  #replaceLinks(messages: readonly Uint8Array[]): void {
    const a = this.#a
    const there = new Set(messages.map((m) => L.ifiIndex(viewOf(m))))
    for (const theirs of [...this.#ours.keys()]) if (!there.has(theirs)) this.#delLink(theirs)
    for (const m of messages) this.#newLink(m)
    // What an earlier mirror has left, and the kernel has no more.
    for (let dev = nextNetdev(a, 0); dev !== 0; dev = nextNetdev(a, dev))
      if (isKernels(a, dev) && !this.#theirs.has(netdevIfindex(a, dev))) this.#lose(dev)
  }

  #newLink(message: Uint8Array): readonly MirrorKind[] {
    const a = this.#a
    const d = viewOf(message)
    const theirs = L.ifiIndex(d)
    parseAttrs(d, L.IFINFOMSG_ATTRS, message.length, tb, L.IFLA_ALLMULTI)
    const name = tb[L.IFLA_IFNAME] ? attrString(d, tb[L.IFLA_IFNAME]) : ''
    let dev = this.#dev(theirs)
    let fresh = false
    if (dev !== 0 && dev !== loopbackDev(a) && !this.#hasName(dev, name)) {
      this.#delLink(theirs)
      dev = 0
    }
    if (dev === 0) {
      dev = this.#adopt(message, theirs, name)
      if (dev === 0) return NOTHING
      fresh = true
    }
    if (dev === loopbackDev(a)) return fresh ? ALL : NOTHING
    if (tb[L.IFLA_MTU] && d.getUint32(tb[L.IFLA_MTU], true) !== netdevMtu(a, dev)) {
      netdevSetMtu(a, dev, d.getUint32(tb[L.IFLA_MTU], true))
      netdevNotify(a, L.RTM_NEWLINK, dev)
    }
    const mac = tb[L.IFLA_ADDRESS] ? attrBytes(d, tb[L.IFLA_ADDRESS]) : null
    if (mac !== null && mac.length === 6 && isEthernet(a, dev) && !mac.every((v, i) => v === netdevMac(a, dev)[i])) {
      netdevSetMac(a, dev, mac.slice())
      netdevNotify(a, L.RTM_NEWLINK, dev)
    }
    const flags = L.ifiFlags(d)
    const up = (flags & IFF_UP) !== 0 && (flags & IFF_LOWER_UP) !== 0
    if (up === netdevIsUp(a, dev)) return fresh ? ALL : NOTHING
    this.#setUp(dev, up)
    return ALL
  }

  #setUp(dev: number, up: boolean): void {
    const a = this.#a
    try {
      if (up) this.#c.kinds.of(a, dev)?.open?.(a, dev)
    } catch (e) {
      this.#refuse(`device ${netdevName(a, dev)}`, String((e as Error).message))
      return
    }
    netdevSetFlags(a, dev, up ? netdevFlags(a, dev) | UP : netdevFlags(a, dev) & ~UP)
    if (up) udpPortOpen(a, dev)
    else udpPortClose(a, dev)
    netdevNotify(a, L.RTM_NEWLINK, dev)
  }

  /** The device of ours that a kernel's is: a port of that name, loopback, or a tunnel device that is made now. 0: none. */
  #adopt(message: Uint8Array, theirs: number, name: string): number {
    const a = this.#a
    const d = viewOf(message)
    let dev = 0
    const port = this.#ports.get(name)
    if (L.ifiFlags(d) & L.IFF_LOOPBACK) dev = loopbackDev(a)
    else if (port !== undefined) dev = netdevByName(a, port)
    else if (tb[L.IFLA_LINKINFO]) dev = this.#tunnel(message, name)
    if (dev === 0) return 0
    const ours = netdevIfindex(a, dev)
    this.#ours.set(theirs, ours)
    this.#theirs.set(ours, theirs)
    if (isKernels(a, dev)) return dev
    if (dev === loopbackDev(a) || a.m[(dev + NETDEV_KIND) >> 2] === NETDEV_KIND_PORT) this.#empty(dev)
    store(a.m, (dev + NETDEV_FEATURES) >> 2, a.m[(dev + NETDEV_FEATURES) >> 2] | NETDEV_F_KERNEL)
    return dev
  }

  /** Is a device that was seen still the one that the kernel calls so? A tunnel device is renamed with it. */
  #hasName(dev: number, name: string): boolean {
    const a = this.#a
    if (a.m[(dev + NETDEV_KIND) >> 2] === NETDEV_KIND_PORT) return this.#ports.get(name) === netdevName(a, dev)
    if (netdevName(a, dev) === name) return true
    if (netdevByName(a, name) !== 0) return false
    netdevRename(a, dev, name)
    this.#o.devicesChanged?.()
    netdevNotify(a, L.RTM_NEWLINK, dev)
    return true
  }

  #refuse(what: string, why: string): void {
    if (this.#refused.has(`${what} ${why}`)) return
    this.#refused.add(`${what} ${why}`)
    this.#o.refused?.(what, why)
  }

  /** What the switch gave the device by itself goes: what it has is the kernel's to say. */
  #empty(dev: number): void {
    const a = this.#a
    const ifindex = netdevIfindex(a, dev)
    for (let p = nextAddr(a, 0, ifindex, 0); p !== 0; ) {
      const next = nextAddr(a, p, ifindex, 0)
      addrRemove(a, p)
      p = next
    }
    fibEach(a, (r) => {
      if (a.m[(r + ROUTE_OIF) >> 2] === ifindex) fibRemove(a, r)
    })
    neighFlush(a, dev)
    publishLocal(a)
    this.#routes = undefined
  }

  /** A device of ours for an `external` tunnel device of the kernel. */
  #tunnel(message: Uint8Array, name: string): number {
    const a = this.#a
    const d = viewOf(message)
    const li = tb[L.IFLA_LINKINFO]
    parseAttrs(d, li, li + attrLen(d, li), info, L.IFLA_INFO_SLAVE_DATA)
    const kind = info[L.IFLA_INFO_KIND] ? attrString(d, info[L.IFLA_INFO_KIND]) : ''
    const wanted = PARAMETERS[kind]
    const data = info[L.IFLA_INFO_DATA]
    if (wanted === undefined || !data || this.#c.kinds.named(kind) === undefined) return 0
    let external = false
    forEachAttr(d, data, data + attrLen(d, data), (type, o) => {
      if (type === wanted.external && (attrLen(d, o) === 0 || d.getUint8(o) !== 0)) external = true
    })
    if (!external) return 0
    const known = netdevByName(a, name)
    if (known !== 0) {
      if (isKernels(a, known) && this.#c.kinds.of(a, known)?.name === kind) return known
      this.#refuse(`${kind} ${name}`, 'the switch has another device of that name')
      return 0
    }
    const b = this.#b
    b.begin(L.RTM_NEWLINK, NLM_F_REQUEST | NLM_F_CREATE)
    L.ifinfomsg(b, 0, 0, 0, 0, 0)
    b.attrStr(L.IFLA_IFNAME, name)
    const linkinfo = b.nest(L.IFLA_LINKINFO)
    b.attrStr(L.IFLA_INFO_KIND, kind)
    const parameters = b.nest(L.IFLA_INFO_DATA)
    forEachAttr(d, data, data + attrLen(d, data), (type, o, n) => {
      if (wanted.types.includes(type)) b.attr(type, message.subarray(o, o + n))
    })
    b.nestEnd(parameters)
    b.nestEnd(linkinfo)
    try {
      netRequest(this.#c, b.end(), () => {})
    } catch (e) {
      if (!(e instanceof NetlinkError)) throw e
      this.#refuse(`${kind} ${name}`, e.message)
      return 0
    }
    this.#o.devicesChanged?.()
    return netdevByName(a, name)
  }

  #delLink(theirs: number): readonly MirrorKind[] {
    const a = this.#a
    const dev = this.#dev(theirs)
    if (dev === 0 || dev === loopbackDev(a)) return NOTHING
    this.#ours.delete(theirs)
    this.#theirs.delete(netdevIfindex(a, dev))
    this.#lose(dev)
    return ALL
  }

  /** A device of the kernel's that is no more, or that is to be the switch's own again. */
  #lose(dev: number): void {
    const a = this.#a
    // A port stays, without the kernel's device behind it: down until that comes back under its name.
    if (a.m[(dev + NETDEV_KIND) >> 2] === NETDEV_KIND_PORT) {
      if (!netdevIsUp(a, dev)) return
      this.#setUp(dev, false)
      this.#empty(dev)
    } else if (dev !== loopbackDev(a)) {
      const type = this.#c.kinds.of(a, dev)
      linkDelete(a, dev)
      type?.dellink(a, dev)
      this.#routes = undefined
      this.#o.devicesChanged?.()
    }
  }

  // ---- addresses
  #replaceAddresses(messages: readonly Uint8Array[]): void {
    const a = this.#a
    const wanted = messages.map((m) => this.#addressOf(m)).filter((n) => n !== null)
    const keys = new Set(wanted.map(addressKey))
    const there = new Set<string>()
    for (const ours of this.#ours.values())
      for (let p = nextAddr(a, 0, ours, 0); p !== 0; ) {
        const next = nextAddr(a, p, ours, 0)
        const key = addressKey(readAddr(a, p))
        if (keys.has(key)) there.add(key)
        else addrRemove(a, p)
        p = next
      }
    for (const n of wanted) if (!there.has(addressKey(n))) addrInsert(a, n)
    publishLocal(a)
  }

  #addressOf(message: Uint8Array): NewAddr | null {
    const d = viewOf(message)
    const family = I.ifaFamily(d)
    const dev = this.#dev(I.ifaIndex(d))
    if (dev === 0 || (family !== R.AF_INET && family !== R.AF_INET6)) return null
    const attrs = new Int32Array(I.IFA_PROTO + 1)
    parseAttrs(d, I.IFADDRMSG_ATTRS, message.length, attrs, I.IFA_PROTO)
    const flags = attrs[I.IFA_FLAGS] ? d.getUint32(attrs[I.IFA_FLAGS], true) : I.ifaFlags(d)
    if (flags & (I.IFA_F_TENTATIVE | I.IFA_F_DADFAILED)) return null
    const sixteen = (type: number): Uint8Array => {
      const out = new Uint8Array(16)
      if (attrs[type]) out.set(attrBytes(d, attrs[type]).subarray(0, familyBytes(family)))
      return out
    }
    const local = sixteen(attrs[I.IFA_LOCAL] ? I.IFA_LOCAL : I.IFA_ADDRESS)
    return newAddr(this.#a, {
      family,
      ifindex: netdevIfindex(this.#a, dev),
      local,
      peer: attrs[I.IFA_ADDRESS] ? sixteen(I.IFA_ADDRESS) : local,
      length: I.ifaPrefixlen(d),
      scope: I.ifaScope(d),
      flags: flags | I.IFA_F_PERMANENT,
      broadcast: sixteen(I.IFA_BROADCAST),
    })
  }

  // ---- routes
  #replaceRoutes(messages: readonly Uint8Array[]): void {
    const a = this.#a
    const wanted = new Map<string, { key: string; n: NewRoute }[]>()
    for (const m of messages) {
      const n = this.#routeOf(m)
      if (n === null) continue
      const group = groupOf(n)
      const others = wanted.get(group)
      const one = { key: routeKey(n), n }
      if (others === undefined) wanted.set(group, [one])
      else others.push(one)
    }
    const known = this.#routes ?? this.#marked()
    const now = new Map<string, Known[]>()
    for (const [group, list] of wanted) {
      const before = known.get(group) ?? []
      const same = before.length === list.length && before.every((x, i) => x.key === list[i].key)
      now.set(group, same ? before : list.map(({ key, n }) => ({ key, route: fibInsert(a, n, true) })))
      if (!same) for (const x of before) fibRemove(a, x.route)
    }
    for (const [group, before] of known) if (!now.has(group)) for (const x of before) fibRemove(a, x.route)
    this.#routes = now
    publishLocal(a)
  }

  /** The routes that an earlier mirror has left. */
  #marked(): Map<string, Known[]> {
    const { m } = this.#a
    const all: number[] = []
    fibEach(this.#a, (r) => {
      if (m[(r + ROUTE_FLAGS) >> 2] & ROUTE_F_KERNEL) all.push(r)
    })
    const known = new Map<string, Known[]>()
    for (const route of all.sort((x, y) => m[(x + ROUTE_SEQ) >> 2] - m[(y + ROUTE_SEQ) >> 2])) {
      const n = readRoute(this.#a, route)
      known.set(groupOf(n), [...(known.get(groupOf(n)) ?? []), { key: routeKey(n), route }])
    }
    return known
  }

  #routeOf(message: Uint8Array): NewRoute | null {
    const a = this.#a
    const d = viewOf(message)
    const family = R.rtmFamily(d)
    if ((family !== R.AF_INET && family !== R.AF_INET6) || R.rtmFlags(d) & R.RTM_F_CLONED) return null
    const attrs = new Int32Array(R.RTA_NH_ID + 1)
    parseAttrs(d, R.RTMSG_ATTRS, message.length, attrs, R.RTA_NH_ID)
    const table = attrs[R.RTA_TABLE] ? d.getUint32(attrs[R.RTA_TABLE], true) : R.rtmTable(d)
    if (table !== R.RT_TABLE_LOCAL && table !== R.RT_TABLE_MAIN && table !== R.RT_TABLE_DEFAULT) return null
    const bytes = familyBytes(family)
    const sixteen = (o: number): Uint8Array => {
      const out = new Uint8Array(16)
      if (o) out.set(attrBytes(d, o).subarray(0, bytes))
      return out
    }
    const type = R.rtmType(d)
    const n = newRoute({
      family,
      table,
      type,
      dst: sixteen(attrs[R.RTA_DST]),
      length: R.rtmDstLen(d),
      scope: family === R.AF_INET ? R.rtmScope(d) : 0,
      protocol: R.rtmProtocol(d),
      tos: R.rtmTos(d),
      metric: attrs[R.RTA_PRIORITY] ? d.getUint32(attrs[R.RTA_PRIORITY], true) : 0,
      prefsrc: sixteen(attrs[R.RTA_PREFSRC]),
      flags: ROUTE_F_KERNEL,
    })
    if (attrs[R.RTA_METRICS]) {
      forEachAttr(d, attrs[R.RTA_METRICS], attrs[R.RTA_METRICS] + attrLen(d, attrs[R.RTA_METRICS]), (metric, o) => {
        if (metric !== R.RTAX_MTU) return
        n.mtu = d.getUint32(o, true)
        n.metrics |= 1 << R.RTAX_MTU
      })
    }
    const [hop = null, ...others] = this.#hops(d, attrs, family)
    if (type === R.RTN_LOCAL || type === R.RTN_BROADCAST || type === R.RTN_ANYCAST || type === R.RTN_MULTICAST) {
      // Local addresses of devices that are not seen are ours all the same: packets for them end here.
      const dev = hop === null ? 0 : this.#dev(hop.theirs)
      if (dev === 0 && type !== R.RTN_LOCAL) return null
      n.oif = netdevIfindex(a, dev === 0 ? loopbackDev(a) : dev)
      return n
    }
    if (type !== R.RTN_UNICAST) return n
    if (hop === null) return null
    const dev = this.#dev(hop.theirs)
    // By a device that is not seen: nothing of ours goes there, nor elsewhere instead.
    if (dev === 0) return { ...n, type: R.RTN_UNREACHABLE, prefsrc: new Uint8Array(16) }
    const by = (h: Hop): NewRoute => ({
      ...n,
      oif: netdevIfindex(a, this.#dev(h.theirs)),
      gateway: h.gateway,
      gatewayFamily: h.family,
      flags: n.flags | (h.flags & (R.RTNH_F_ONLINK | R.RTNH_F_DEAD | R.RTNH_F_LINKDOWN)),
      weight: h.weight,
    })
    return { ...by(hop), siblings: others.map(by) }
  }

  /** The next hops of a route. Of several only those by a device that is seen, if there is one: nothing of ours takes others. */
  #hops(d: DataView, attrs: Int32Array, family: number): Hop[] {
    if (!attrs[R.RTA_MULTIPATH]) {
      if (!attrs[R.RTA_OIF]) return []
      const flags = R.rtmFlags(d) & R.RTNH_F_ONLINK
      return [{ theirs: d.getUint32(attrs[R.RTA_OIF], true), flags, weight: 1, ...gatewayOf(d, attrs, family) }]
    }
    const o = attrs[R.RTA_MULTIPATH]
    const end = o + attrLen(d, o)
    const hops: Hop[] = []
    // struct rtnexthop { u16 len; u8 flags; u8 hops; i32 ifindex; }, then attributes.
    for (let at = o; end - at >= 8; ) {
      const n = d.getUint16(at, true)
      if (n < 8 || at + n > end) break
      const own = new Int32Array(R.RTA_NH_ID + 1)
      parseAttrs(d, at + 8, at + n, own, R.RTA_NH_ID)
      hops.push({
        theirs: R.rtnhIfindex(d, at),
        flags: R.rtnhFlags(d, at),
        weight: R.rtnhHops(d, at) + 1,
        ...gatewayOf(d, own, family),
      })
      at += (n + 3) & ~3
    }
    // With none that is alive the kernel passes over the route.
    if (hops.every((h) => (h.flags & (R.RTNH_F_DEAD | R.RTNH_F_LINKDOWN)) !== 0)) return []
    const seen = hops.filter((h) => this.#dev(h.theirs) !== 0)
    return seen.length > 0 ? seen : hops
  }

  // ---- neighbours
  #replaceNeighbours(messages: readonly Uint8Array[]): void {
    const a = this.#a
    const there = new Set<number>()
    for (const m of messages) {
      const n = this.#neighbour(m, false)
      if (n !== 0) there.add(n)
    }
    neighEach(a, (n) => {
      const dev = a.m[(n + NEIGH_DEV) >> 2]
      // One that only waits to be asked for is not the kernel's yet.
      if (this.#hasNeighbours(dev) && !there.has(n) && load(a.m, (n + NEIGH_ASKED) >> 2) === 0) neighRemove(a, n)
    })
  }

  /** Loopback's are of nobody's interest. */
  #hasNeighbours(dev: number): boolean {
    return isKernels(this.#a, dev) && dev !== loopbackDev(this.#a)
  }

  #neighbour(message: Uint8Array, gone: boolean): number {
    const a = this.#a
    const d = viewOf(message)
    const family = N.ndmFamily(d)
    const dev = this.#dev(N.ndmIfindex(d))
    if (dev === 0 || !this.#hasNeighbours(dev) || (family !== R.AF_INET && family !== R.AF_INET6)) return 0
    if (N.ndmFlags(d) & N.NTF_PROXY) return 0
    const attrs = new Int32Array(N.NDA_LLADDR + 1)
    parseAttrs(d, N.NDMSG_ATTRS, message.length, attrs, N.NDA_LLADDR)
    if (!attrs[N.NDA_DST]) return 0
    const address = new Uint8Array(16)
    address.set(attrBytes(d, attrs[N.NDA_DST]).subarray(0, familyBytes(family)))
    if (gone) {
      const n = neighLookup(a, family, address, dev)
      if (n !== 0) neighRemove(a, n)
      return 0
    }
    const now = this.#c.now()
    const n = neighGet(a, family, address, dev, now, true)
    if (n === 0) return 0
    const mac = attrs[N.NDA_LLADDR] ? attrBytes(d, attrs[N.NDA_LLADDR]) : null
    neighMirror(a, n, mac?.length === 6 ? mac.slice() : null, N.ndmState(d), N.ndmFlags(d), now)
    return n
  }
}

/** Parameters of kinds that are taken over, and the one that says `external`. */
const PARAMETERS: Readonly<Record<string, { readonly external: number; readonly types: readonly number[] }>> = {
  vxlan: {
    external: L.IFLA_VXLAN_COLLECT_METADATA,
    types: [
      L.IFLA_VXLAN_COLLECT_METADATA,
      L.IFLA_VXLAN_PORT,
      L.IFLA_VXLAN_UDP_CSUM,
      L.IFLA_VXLAN_UDP_ZERO_CSUM6_TX,
      L.IFLA_VXLAN_UDP_ZERO_CSUM6_RX,
      L.IFLA_VXLAN_LEARNING,
      L.IFLA_VXLAN_GBP,
    ],
  },
  geneve: {
    external: L.IFLA_GENEVE_COLLECT_METADATA,
    types: [
      L.IFLA_GENEVE_COLLECT_METADATA,
      L.IFLA_GENEVE_PORT,
      L.IFLA_GENEVE_UDP_CSUM,
      L.IFLA_GENEVE_UDP_ZERO_CSUM6_TX,
      L.IFLA_GENEVE_UDP_ZERO_CSUM6_RX,
    ],
  },
  gretap: { external: L.IFLA_GRE_COLLECT_METADATA, types: [L.IFLA_GRE_COLLECT_METADATA] },
  ip6gretap: { external: L.IFLA_GRE_COLLECT_METADATA, types: [L.IFLA_GRE_COLLECT_METADATA] },
}

/** RTA_GATEWAY, or RTA_VIA of another family. */
function gatewayOf(d: DataView, attrs: Int32Array, family: number): { gateway: Uint8Array; family: number } {
  const gateway = new Uint8Array(16)
  if (attrs[R.RTA_GATEWAY]) {
    gateway.set(attrBytes(d, attrs[R.RTA_GATEWAY]).subarray(0, familyBytes(family)))
    return { gateway, family }
  }
  if (!attrs[R.RTA_VIA]) return { gateway, family: 0 }
  gateway.set(attrBytes(d, attrs[R.RTA_VIA]).subarray(2))
  return { gateway, family: d.getUint16(attrs[R.RTA_VIA], true) }
}

const hex = (x: Uint8Array): string => Buffer.from(x).toString('hex')

const addressKey = (n: NewAddr): string =>
  `${n.ifindex} ${n.family} ${hex(n.local)} ${hex(n.peer)} ${n.length} ${n.scope} ${n.flags} ${hex(n.broadcast)}`

/** Routes of one group are rivals: the first is the one. */
const groupOf = (n: NewRoute): string => `${n.table} ${n.family} ${hex(n.dst)}/${n.length} ${n.tos} ${n.metric}`

const routeKey = (n: NewRoute): string =>
  [`${n.type} ${n.scope} ${n.protocol} ${hex(n.prefsrc)} ${n.mtu}`, ...[n, ...n.siblings].map(hopKey)].join(', ')

const hopKey = (n: NewRoute): string => `${n.oif} ${n.gatewayFamily} ${hex(n.gateway)} ${n.flags} ${n.weight}`
