// RTM_NEWLINK, RTM_SETLINK, RTM_DELLINK, RTM_GETLINK: devices as `ip link` speaks of them (net/core/rtnetlink.c).
//
// A link is made in the kernel's order: name, MTU and address of the generic part, then the kind's own newlink, then the
// flags. Any refusal on the way takes the device out again. Under rtnl.

import type { Arena } from '../memory/arena.ts'
import { counterRead } from '../memory/counters.ts'
import { TUN_DST, TUN_SRC } from '../memory/layout/action.ts'
import {
  NETDEV_F_EXTERNAL,
  NETDEV_FEATURES,
  NETDEV_KIND,
  NETDEV_KIND_DUMMY,
  NETDEV_KIND_GRE,
  NETDEV_KIND_IP6GRE,
  NETDEV_KIND_IP6TNL,
  NETDEV_KIND_IPIP,
  NETDEV_KIND_LOOPBACK,
  NETDEV_KIND_PORT,
  NETDEV_KIND_SIT,
  NETDEV_QDISC,
  NETDEV_RX_COUNTER,
  NETDEV_TUN,
  NETDEV_TX_COUNTER,
} from '../memory/layout/netdev.ts'
import {
  attrBytes,
  attrLen,
  attrString,
  type Builder,
  forEachAttr,
  NLA_HDRLEN,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  parseAttrs,
} from '../wire/netlink.ts'
import { EADDRNOTAVAIL, EBUSY, EEXIST, EINVAL, ENODEV, EOPNOTSUPP, NetlinkError } from '../wire/netlink_error.ts'
import * as L from '../wire/rtm_link.ts'
import { AF_INET6, AF_UNSPEC } from '../wire/rtm_route.ts'
import { linkDelete, linkDown, linkSetFlags, linkSetMac, linkSetMtu, linkUp } from './link.ts'
import {
  isEthernet,
  lastIfindex,
  netdevByIndex,
  netdevByName,
  netdevFlags,
  netdevIfindex,
  netdevIsUp,
  netdevMac,
  netdevMtu,
  netdevName,
  netdevNotify,
  netdevRegister,
  netdevRename,
  netdevSetMac,
  netdevTakeBack,
  nextNetdev,
  refuseKernels,
  validName,
} from './netdev.ts'
import { beginReply, type MtuRange, type Request } from './request.ts'

const tb = new Int32Array(L.IFLA_ALLMULTI + 1)
const info = new Int32Array(L.IFLA_INFO_SLAVE_DATA + 1)

/** Attributes that a request may carry; another one would be accepted and ignored. */
const KNOWN = new Set([
  L.IFLA_IFNAME,
  L.IFLA_ADDRESS,
  L.IFLA_MTU,
  L.IFLA_LINKINFO,
  L.IFLA_EXT_MASK,
  L.IFLA_NUM_TX_QUEUES,
  L.IFLA_NUM_RX_QUEUES,
])

/** What people call them. */
const NAMES: Readonly<Record<number, string>> = {
  [L.IFLA_LINK]: 'a lower device (link)',
  [L.IFLA_TXQLEN]: 'txqueuelen',
  [L.IFLA_MASTER]: 'master',
  [L.IFLA_GROUP]: 'group',
  [L.IFLA_IFALIAS]: 'alias',
  [L.IFLA_NET_NS_FD]: 'netns',
  [L.IFLA_NET_NS_PID]: 'netns',
  [L.IFLA_AF_SPEC]: 'addrgenmode',
  [L.IFLA_XDP]: 'xdp',
  [L.IFLA_CARRIER]: 'carrier',
  [L.IFLA_BROADCAST]: 'broadcast',
}

/** Finds the attributes; refuses a kind of device that there is not, then attributes that are not known, by name. */
function parse(r: Request): void {
  parseAttrs(r.d, L.IFINFOMSG_ATTRS, r.end, tb, L.IFLA_ALLMULTI)
  info.fill(0)
  const li = tb[L.IFLA_LINKINFO]
  if (li) parseAttrs(r.d, li, li + attrLen(r.d, li), info, L.IFLA_INFO_SLAVE_DATA)
  const kind = info[L.IFLA_INFO_KIND] ? attrString(r.d, info[L.IFLA_INFO_KIND]) : ''
  if (kind && kind !== 'dummy' && r.c.kinds.named(kind) === undefined)
    throw new NetlinkError(EOPNOTSUPP, `Unknown device type: ${kind} is not supported`)
  forEachAttr(r.d, L.IFINFOMSG_ATTRS, r.end, (type, payload) => {
    if (KNOWN.has(type)) return
    throw new NetlinkError(EOPNOTSUPP, `${NAMES[type] ?? `link attribute ${type}`} is not supported`, payload - 4)
  })
}

function target(r: Request): number {
  const index = L.ifiIndex(r.d)
  if (index < 0) throw new NetlinkError(EINVAL, "ifindex can't be negative")
  if (index > 0) return netdevByIndex(r.a, index)
  return tb[L.IFLA_IFNAME] ? netdevByName(r.a, attrString(r.d, tb[L.IFLA_IFNAME])) : 0
}

/** RTM_NEWLINK: makes a device, or changes one; RTM_SETLINK: changes one. */
export function newLink(r: Request): void {
  parse(r)
  const { a, d } = r
  const dev = target(r)
  const kindName = info[L.IFLA_INFO_KIND] ? attrString(d, info[L.IFLA_INFO_KIND]) : ''
  if (dev !== 0) {
    if (r.type === L.RTM_NEWLINK && r.flags & NLM_F_EXCL) throw new NetlinkError(EEXIST)
    if (r.type === L.RTM_NEWLINK && r.flags & NLM_F_REPLACE)
      throw new NetlinkError(EOPNOTSUPP, 'a device is changed or deleted, not replaced')
    const todo = checkChange(r, dev)
    if (tb[L.IFLA_LINKINFO]) {
      const kind = r.c.kinds.of(a, dev)
      if (kind === undefined || kind.name !== kindName)
        throw new NetlinkError(EOPNOTSUPP, `the device is not of type ${kindName}`, tb[L.IFLA_LINKINFO] - NLA_HDRLEN)
      const data = info[L.IFLA_INFO_DATA]
      if (data) kind.changelink(a, dev, d, data, data + attrLen(d, data))
      netdevNotify(a, L.RTM_NEWLINK, dev)
    }
    change(r, dev, todo)
    return
  }
  if (r.type === L.RTM_SETLINK || !(r.flags & NLM_F_CREATE)) throw new NetlinkError(ENODEV)
  make(r, kindName)
}

function make(r: Request, kindName: string): void {
  const { a, d, c } = r
  const kind = c.kinds.named(kindName)
  if (kind === undefined && kindName !== 'dummy') throw new NetlinkError(EOPNOTSUPP, 'Unknown device type')
  const name = tb[L.IFLA_IFNAME] ? attrString(d, tb[L.IFLA_IFNAME]) : ''
  const mtu = tb[L.IFLA_MTU] ? d.getUint32(tb[L.IFLA_MTU], true) : 0
  const mac = tb[L.IFLA_ADDRESS] ? etherAddress(r) : null
  const last = lastIfindex(a)
  const dev = netdevRegister(a, {
    name: name ? templateName(a, name) : templateName(a, `${kindName}%d`),
    kind: kind?.kind ?? NETDEV_KIND_DUMMY,
    mtu: mtu || 1500,
    ifindex: L.ifiIndex(d),
  })
  try {
    if (tb[L.IFLA_MTU]) validateMtu(mtu, kind?.mtuRange(a, dev, true) ?? ANY_MTU)
    const data = info[L.IFLA_INFO_DATA]
    kind?.newlink(a, dev, d, data, data ? data + attrLen(d, data) : 0, mtu)
    if (isEthernet(a, dev)) netdevSetMac(a, dev, mac ?? ownMac(dev, netdevIfindex(a, dev)))
  } catch (e) {
    netdevTakeBack(a, dev, last)
    throw e
  }
  try {
    if (goesUp(r, dev)) kind?.open?.(a, dev)
  } catch (e) {
    kind?.dellink(a, dev)
    netdevTakeBack(a, dev, last)
    throw e
  }
  netdevNotify(a, L.RTM_NEWLINK, dev)
  setFlags(r, dev)
}

/** `vxlan%d`: the lowest free number (dev_alloc_name). */
function templateName(a: Arena, name: string): string {
  if (!name.includes('%d')) return name
  for (let i = 0; ; i++) {
    const n = name.replace('%d', String(i))
    if (!validName(n)) throw new NetlinkError(EINVAL, 'not a valid ifname')
    if (netdevByName(a, n) === 0) return n
  }
}

/** A locally administered address. The kernel draws one at random; a replay must be the same every time. */
const ownMac = (dev: number, ifindex: number): Uint8Array =>
  Uint8Array.of(0x02, 0xfb, dev >>> 24, ifindex >>> 16, ifindex >>> 8, ifindex)

function etherAddress(r: Request): Uint8Array {
  const mac = attrBytes(r.d, tb[L.IFLA_ADDRESS])
  if (mac.length !== 6) throw new NetlinkError(EINVAL, 'Invalid link address length', tb[L.IFLA_ADDRESS] - 4)
  if (mac[0] & 1 || mac.every((x) => x === 0)) throw new NetlinkError(EADDRNOTAVAIL)
  return mac.slice()
}

/** What a request changes in a device; undefined, 0 and '' where it says nothing. */
interface Change {
  readonly mac: Uint8Array | undefined
  readonly mtu: number
  readonly name: string
}

/** Everything that do_setlink may refuse, before anything is changed: here a refused request has changed nothing. */
function checkChange(r: Request, dev: number): Change {
  const { a, d } = r
  refuseKernels(a, dev)
  let mac: Uint8Array | undefined
  if (tb[L.IFLA_ADDRESS]) {
    if (!isEthernet(a, dev) || a.m[(dev + NETDEV_KIND) >> 2] === NETDEV_KIND_LOOPBACK)
      throw new NetlinkError(EOPNOTSUPP, 'the address of this device cannot be set', tb[L.IFLA_ADDRESS] - NLA_HDRLEN)
    mac = etherAddress(r)
  }
  const mtu = tb[L.IFLA_MTU] ? d.getUint32(tb[L.IFLA_MTU], true) : netdevMtu(a, dev)
  if (tb[L.IFLA_MTU]) {
    validateMtu(mtu, mtuRange(r, dev))
    const [least, most] = r.c.kinds.of(a, dev)?.mtuTaken?.(a, dev) ?? [0, 0]
    if (mtu !== netdevMtu(a, dev) && (mtu < least || (most > 0 && mtu > most))) throw new NetlinkError(EINVAL)
  }
  const named = tb[L.IFLA_IFNAME] && L.ifiIndex(d) > 0 ? attrString(d, tb[L.IFLA_IFNAME]) : ''
  const name = named && named !== netdevName(a, dev) ? templateName(a, named) : ''
  if (name) {
    if (netdevIsUp(a, dev)) throw new NetlinkError(EBUSY)
    if (!validName(name)) throw new NetlinkError(EINVAL, 'not a valid ifname')
    if (netdevByName(a, name) !== 0) throw new NetlinkError(EEXIST)
  }
  return { mac, mtu, name }
}

/** do_setlink: address, MTU, name, flags, in the kernel's order. */
function change(r: Request, dev: number, { mac, mtu, name }: Change): void {
  const { a } = r
  if (goesUp(r, dev)) r.c.kinds.of(a, dev)?.open?.(a, dev)
  if (mac) linkSetMac(a, dev, mac)
  if (mtu !== netdevMtu(a, dev)) linkSetMtu(a, dev, mtu, r.now)
  if (name) {
    netdevRename(a, dev, name)
    netdevNotify(a, L.RTM_NEWLINK, dev)
  }
  setFlags(r, dev)
}

const SETTABLE = L.IFF_NOARP | L.IFF_PROMISC | L.IFF_ALLMULTI | L.IFF_MULTICAST | L.IFF_DEBUG | L.IFF_DYNAMIC

/** `ifi_change`; 0 means all flags, as old programs send it, if there are any. */
const changeMask = (d: DataView): number => L.ifiChange(d) || (L.ifiFlags(d) ? 0xffffffff : 0)

/** Will the device be up, and is not yet? Then its kind is asked first, which may refuse. */
const goesUp = (r: Request, dev: number): boolean =>
  (changeMask(r.d) & L.ifiFlags(r.d) & L.IFF_UP) !== 0 && !netdevIsUp(r.a, dev)

/** rtnl_configure_link, dev_change_flags. */
function setFlags(r: Request, dev: number): void {
  const { a } = r
  const mask = changeMask(r.d)
  if (!mask) return
  const flags = L.ifiFlags(r.d)
  const now = netdevFlags(a, dev)
  linkSetFlags(a, dev, (now & ~(mask & SETTABLE)) | (flags & mask & SETTABLE))
  if (!(mask & L.IFF_UP)) return
  if (flags & L.IFF_UP) linkUp(a, dev, r.now)
  else linkDown(a, dev)
}

const ANY_MTU: MtuRange = [0, 0]
/** A port is what a veth is: ETH_MIN_MTU, ETH_MAX_MTU. */
const PORT_MTU: MtuRange = [68, 65535]

/** min_mtu and max_mtu of a device. */
function mtuRange({ a, c }: LinkSource, dev: number): MtuRange {
  if (a.m[(dev + NETDEV_KIND) >> 2] === NETDEV_KIND_PORT) return PORT_MTU
  return c.kinds.of(a, dev)?.mtuRange(a, dev, false) ?? ANY_MTU
}

/** dev_validate_mtu. */
function validateMtu(mtu: number, [min, max]: MtuRange): void {
  if (mtu > 0x7fffffff || mtu < min) throw new NetlinkError(EINVAL, 'mtu less than device minimum')
  if (max > 0 && mtu > max) throw new NetlinkError(EINVAL, 'mtu greater than device maximum')
}

/** RTM_DELLINK: a dummy or tunnel device goes, with its addresses, routes, neighbours and filters. */
export function delLink(r: Request): void {
  parse(r)
  const { a } = r
  if (L.ifiIndex(r.d) <= 0 && !tb[L.IFLA_IFNAME]) throw new NetlinkError(EINVAL, 'no device is named')
  const dev = target(r)
  if (dev === 0) throw new NetlinkError(ENODEV)
  refuseKernels(a, dev)
  const kind = a.m[(dev + NETDEV_KIND) >> 2]
  if (kind === NETDEV_KIND_PORT || kind === NETDEV_KIND_LOOPBACK)
    throw new NetlinkError(EOPNOTSUPP, 'this device cannot be deleted')
  linkDown(a, dev)
  const type = r.c.kinds.of(a, dev)
  linkDelete(a, dev)
  type?.dellink(a, dev)
}

/** RTM_GETLINK: one device by index or name, or all of them, of one kind when LINKINFO says so. */
export function getLink(r: Request): void {
  parseAttrs(r.d, L.IFINFOMSG_ATTRS, r.end, tb, L.IFLA_ALLMULTI)
  if ((r.flags & NLM_F_DUMP) === NLM_F_DUMP) {
    info.fill(0)
    const li = tb[L.IFLA_LINKINFO]
    if (li) parseAttrs(r.d, li, li + attrLen(r.d, li), info, L.IFLA_INFO_SLAVE_DATA)
    const only = info[L.IFLA_INFO_KIND] ? attrString(r.d, info[L.IFLA_INFO_KIND]) : ''
    for (let dev = nextNetdev(r.a, 0); dev !== 0; dev = nextNetdev(r.a, dev))
      if (!only || kindName(r, dev) === only) r.reply(linkMessage(r, dev, true))
    return
  }
  const dev = target(r)
  if (dev === 0) throw new NetlinkError(ENODEV)
  r.reply(linkMessage(r, dev, false))
}

/** What a message of a link is made from. */
export type LinkSource = Pick<Request, 'a' | 'c'>

const kindName = (r: LinkSource, dev: number): string =>
  r.a.m[(dev + NETDEV_KIND) >> 2] === NETDEV_KIND_DUMMY ? 'dummy' : (r.c.kinds.of(r.a, dev)?.name ?? '')

function arphrd(a: Arena, dev: number): number {
  const kind = a.m[(dev + NETDEV_KIND) >> 2]
  if (kind === NETDEV_KIND_LOOPBACK) return L.ARPHRD_LOOPBACK
  const external = (a.m[(dev + NETDEV_FEATURES) >> 2] & NETDEV_F_EXTERNAL) !== 0
  if (kind === NETDEV_KIND_GRE) return external ? L.ARPHRD_NONE : L.ARPHRD_IPGRE
  if (kind === NETDEV_KIND_IP6GRE) return L.ARPHRD_IP6GRE
  if (kind === NETDEV_KIND_IPIP) return L.ARPHRD_TUNNEL
  if (kind === NETDEV_KIND_SIT) return L.ARPHRD_SIT
  if (kind === NETDEV_KIND_IP6TNL) return L.ARPHRD_TUNNEL6
  return isEthernet(a, dev) ? L.ARPHRD_ETHER : L.ARPHRD_NONE
}

/** Both ends of a GRE or IP in IP device stand where others have their addresses; zeros, when it has none of its own. */
function fillEnds(a: Arena, dev: number, b: Builder): void {
  const kind = a.m[(dev + NETDEV_KIND) >> 2]
  const over6 = kind === NETDEV_KIND_IP6GRE || kind === NETDEV_KIND_IP6TNL
  if (!over6 && kind !== NETDEV_KIND_GRE && kind !== NETDEV_KIND_IPIP && kind !== NETDEV_KIND_SIT) return
  const n = over6 ? 16 : 4
  const tun = a.m[(dev + NETDEV_TUN) >> 2]
  const end = (field: number): Uint8Array => (tun === 0 ? new Uint8Array(n) : a.u8.slice(tun + field, tun + field + n))
  b.attr(L.IFLA_ADDRESS, end(TUN_SRC))
  b.attr(L.IFLA_BROADCAST, end(TUN_DST))
}

function linkMessage(r: Request, dev: number, more: boolean): Uint8Array {
  const b = beginReply(r, L.RTM_NEWLINK, more)
  fillLink(r, dev, b)
  return b.end()
}

/** rtnl_fill_ifinfo: the attributes that iproute2 shows, in the kernel's order. */
export function fillLink(r: LinkSource, dev: number, b: Builder): void {
  const { a } = r
  const up = netdevIsUp(a, dev)
  const kind = a.m[(dev + NETDEV_KIND) >> 2]
  L.ifinfomsg(b, AF_UNSPEC, arphrd(a, dev), netdevIfindex(a, dev), netdevFlags(a, dev), 0)
  b.attrStr(L.IFLA_IFNAME, netdevName(a, dev))
  b.attrU32(L.IFLA_TXQLEN, 1000)
  b.attrU8(L.IFLA_OPERSTATE, !up ? L.IF_OPER_DOWN : kind === NETDEV_KIND_PORT ? L.IF_OPER_UP : L.IF_OPER_UNKNOWN)
  b.attrU8(L.IFLA_LINKMODE, 0)
  b.attrU32(L.IFLA_MTU, netdevMtu(a, dev))
  const [min, max] = mtuRange(r, dev)
  b.attrU32(L.IFLA_MIN_MTU, min)
  b.attrU32(L.IFLA_MAX_MTU, max)
  b.attrU32(L.IFLA_GROUP, 0)
  b.attrU32(L.IFLA_PROMISCUITY, 0)
  b.attrU32(L.IFLA_ALLMULTI, 0)
  b.attrU32(L.IFLA_NUM_TX_QUEUES, 1)
  b.attrU32(L.IFLA_GSO_MAX_SEGS, 65535)
  b.attrU32(L.IFLA_GSO_MAX_SIZE, 65536)
  b.attrU32(L.IFLA_GRO_MAX_SIZE, 65536)
  b.attrU32(L.IFLA_TSO_MAX_SIZE, 65536)
  b.attrU32(L.IFLA_TSO_MAX_SEGS, 65535)
  b.attrU32(L.IFLA_NUM_RX_QUEUES, 1)
  b.attrU8(L.IFLA_CARRIER, up ? 1 : 0)
  const hook = a.m[(dev + NETDEV_QDISC) >> 2] ? (r.c.qdiscName?.(dev) ?? '') : ''
  b.attrStr(L.IFLA_QDISC, hook || (up ? 'noqueue' : 'noop'))
  if (isEthernet(a, dev)) {
    b.attr(L.IFLA_ADDRESS, netdevMac(a, dev))
    b.attr(L.IFLA_BROADCAST, new Uint8Array(6).fill(kind === NETDEV_KIND_LOOPBACK ? 0 : 255))
  } else fillEnds(a, dev, b)
  fillStats(a, dev, b)
  const name = kindName(r, dev)
  if (name) {
    const li = b.nest(L.IFLA_LINKINFO)
    b.attrStr(L.IFLA_INFO_KIND, name)
    const type = r.c.kinds.of(a, dev)
    if (type !== undefined) {
      const data = b.nest(L.IFLA_INFO_DATA)
      type.fillInfo(a, dev, b)
      b.nestEnd(data)
    }
    b.nestEnd(li)
  }
  const af = b.nest(L.IFLA_AF_SPEC)
  const inet6 = b.nest(AF_INET6)
  b.attrU8(L.IFLA_INET6_ADDR_GEN_MODE, L.IN6_ADDR_GEN_MODE_EUI64)
  b.nestEnd(inet6)
  b.nestEnd(af)
}

/** struct rtnl_link_stats64: rx and tx packets and bytes, then what we do not count apart. */
function fillStats(a: Arena, dev: number, b: Builder): void {
  const rx = counterRead(a, a.m[(dev + NETDEV_RX_COUNTER) >> 2])
  const tx = counterRead(a, a.m[(dev + NETDEV_TX_COUNTER) >> 2])
  const stats = [rx.packets, tx.packets, rx.bytes, tx.bytes, 0, 0, rx.drops, tx.drops]
  const o = b.attrRoom(L.IFLA_STATS64, 25 * 8)
  b.u8s.fill(0, o, o + 25 * 8)
  stats.forEach((v, i) => {
    b.d.setUint32(o + i * 8, v >>> 0, true)
    b.d.setUint32(o + i * 8 + 4, Math.floor(v / 0x1_0000_0000), true)
  })
}
