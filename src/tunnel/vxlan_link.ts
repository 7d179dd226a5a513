// The parameters of a vxlan device in its slot: NETDEV_PRIV, and IFLA_VXLAN_* out of it (vxlan_newlink, vxlan_changelink,
// vxlan_config_apply, vxlan_fill_info).
//
// Two kinds of device. An external one (collect_md) takes addresses and VNI of each packet from its tunnel metadata. A
// classic one has a VNI, a remote and a local address of its own; its metadata is a tun_info made here (NETDEV_TUN).
// Runs under rtnl.

import type { Arena } from '../memory/arena.ts'
import {
  TUN_DST,
  TUN_FLAGS,
  TUN_ID,
  TUN_IPV6,
  TUN_LABEL,
  TUN_MODE,
  TUN_REFCNT,
  TUN_SIZE,
  TUN_SRC,
  TUN_TOS,
  TUN_TP_DST,
  TUN_TTL,
  TUN_TX,
  TUNNEL_CSUM,
  TUNNEL_KEY,
} from '../memory/layout/action.ts'
import {
  IFF_UP,
  NETDEV_F_EXTERNAL,
  NETDEV_F_GBP,
  NETDEV_F_UDP6_ZERO_CSUM_RX,
  NETDEV_FEATURES,
  NETDEV_FLAGS,
  NETDEV_KIND,
  NETDEV_KIND_NONE,
  NETDEV_KIND_VXLAN,
  NETDEV_MAX,
  NETDEV_MTU,
  NETDEV_PRIV,
  NETDEV_SIZE,
  NETDEV_TP_DST,
  NETDEV_TUN,
  NETDEV_VNI,
} from '../memory/layout/netdev.ts'
import { SUPER_NETDEVS } from '../memory/layout/super.ts'
import { alloc, freeRcu } from '../memory/pool.ts'
import { TAG_TUN_INFO } from '../memory/tags.ts'
import { isAny } from '../net/inet.ts'
import type { MtuRange } from '../net/request.ts'
import type { Builder } from '../wire/netlink.ts'
import { EADDRINUSE, EEXIST, EINVAL } from '../wire/netlink_error.ts'
import * as L from '../wire/rtm_link.ts'
import { AF_INET6 } from '../wire/rtm_route.ts'
import {
  apply,
  type Config,
  emptyConfig,
  parse,
  refuse,
  VXLAN_F_COLLECT_METADATA,
  VXLAN_F_GBP,
  VXLAN_F_IPV6,
  VXLAN_F_IPV6_LINKLOCAL,
  VXLAN_F_LEARN,
  VXLAN_F_RCV_FLAGS,
  VXLAN_F_TTL_INHERIT,
  VXLAN_F_UDP_ZERO_CSUM_TX,
  VXLAN_F_UDP_ZERO_CSUM6_RX,
  VXLAN_F_UDP_ZERO_CSUM6_TX,
  validate,
} from './vxlan_config.ts'

// ---- NETDEV_PRIV of a vxlan device
/** VXLAN_F_*. @under rtnl */
export const VXLAN_FLAGS = NETDEV_PRIV
/** AF_INET or AF_INET6, of remote and local alike. @under rtnl */
export const VXLAN_FAMILY = NETDEV_PRIV + 4
/** ifindex of `dev`, 0 without. @under rtnl */
export const VXLAN_LINK = NETDEV_PRIV + 8
/** IPv6 flow label, host order. @under rtnl */
export const VXLAN_LABEL = NETDEV_PRIV + 12
/** Sixteen bytes each. @under rtnl */
export const VXLAN_REMOTE = NETDEV_PRIV + 16
export const VXLAN_LOCAL = NETDEV_PRIV + 32
export const VXLAN_AGEING = NETDEV_PRIV + 48
export const VXLAN_LIMIT = NETDEV_PRIV + 52
/** u16 each: `srcport MIN MAX`, 0 0 for the system's range. @under rtnl */
export const VXLAN_PORT_MIN = NETDEV_PRIV + 56
export const VXLAN_PORT_MAX = NETDEV_PRIV + 58
/** u8 each. tos 1 is `inherit`. @under rtnl */
export const VXLAN_TOS = NETDEV_PRIV + 60
export const VXLAN_TTL = NETDEV_PRIV + 61
/** VXLAN_DF_*. @under rtnl */
export const VXLAN_DF = NETDEV_PRIV + 62
const PRIV_SIZE = 64

const MIN_MTU = 68
const MAX_MTU = 65535
/** Outer IP, UDP, VXLAN and the inner Ethernet header: what is not payload. */
const HEADROOM4 = 20 + 8 + 8 + 14
const HEADROOM6 = 40 + 8 + 8 + 14

const slot = (a: Arena, ifindex: number): number => a.m[SUPER_NETDEVS >> 2] + ifindex * NETDEV_SIZE
const kindOf = (a: Arena, ifindex: number): number =>
  ifindex > 0 && ifindex < NETDEV_MAX ? a.m[(slot(a, ifindex) + NETDEV_KIND) >> 2] : NETDEV_KIND_NONE

/** The two bytes of a port as they are on the wire, loaded as a little-endian number (NETDEV_TP_DST). */
const swap16 = (port: number): number => ((port & 0xff) << 8) | (port >> 8)

function check(a: Arena, self: number, c: Config): void {
  validate(c, kindOf(a, c.link) !== NETDEV_KIND_NONE)
  if (vniInUse(a, self, c)) refuse(EEXIST, 'A VXLAN device with the specified VNI already exists')
}

/** vxlan_vni_in_use: would a packet find two devices? */
function vniInUse(a: Arena, self: number, c: Config): boolean {
  const same = VXLAN_F_RCV_FLAGS | VXLAN_F_IPV6
  for (let i = 1; i < NETDEV_MAX; i++) {
    const dev = slot(a, i)
    if (dev === self || a.m[(dev + NETDEV_KIND) >> 2] !== NETDEV_KIND_VXLAN) continue
    if (a.m[(dev + NETDEV_VNI) >> 2] !== c.vni || a.m[(dev + NETDEV_TP_DST) >> 2] !== swap16(c.port)) continue
    const flags = a.m[(dev + VXLAN_FLAGS) >> 2]
    if ((flags & same) !== (c.flags & same)) continue
    if (c.flags & VXLAN_F_IPV6_LINKLOCAL && a.m[(dev + VXLAN_LINK) >> 2] !== c.link) continue
    return true
  }
  return false
}

const read = (a: Arena, dev: number): Config => ({
  flags: a.m[(dev + VXLAN_FLAGS) >> 2],
  vni: a.m[(dev + NETDEV_VNI) >> 2],
  remoteFamily: a.m[(dev + VXLAN_FAMILY) >> 2],
  localFamily: a.m[(dev + VXLAN_FAMILY) >> 2],
  remote: a.u8.slice(dev + VXLAN_REMOTE, dev + VXLAN_REMOTE + 16),
  local: a.u8.slice(dev + VXLAN_LOCAL, dev + VXLAN_LOCAL + 16),
  link: a.m[(dev + VXLAN_LINK) >> 2],
  tos: a.u8[dev + VXLAN_TOS],
  ttl: a.u8[dev + VXLAN_TTL],
  df: a.u8[dev + VXLAN_DF],
  label: a.m[(dev + VXLAN_LABEL) >> 2],
  ageing: a.m[(dev + VXLAN_AGEING) >> 2],
  limit: a.m[(dev + VXLAN_LIMIT) >> 2],
  portMin: a.d.getUint16(dev + VXLAN_PORT_MIN, true),
  portMax: a.d.getUint16(dev + VXLAN_PORT_MAX, true),
  port: swap16(a.m[(dev + NETDEV_TP_DST) >> 2]),
})

/** vxlan_config_apply. The tun_info of a classic device is replaced whole: the datapath may be reading the old one. */
function write(a: Arena, dev: number, c: Config): void {
  const { m, u8, d } = a
  u8.fill(0, dev + NETDEV_PRIV, dev + NETDEV_PRIV + PRIV_SIZE)
  m[(dev + VXLAN_FLAGS) >> 2] = c.flags
  m[(dev + VXLAN_FAMILY) >> 2] = c.remoteFamily
  m[(dev + VXLAN_LINK) >> 2] = c.link
  m[(dev + VXLAN_LABEL) >> 2] = c.label
  u8.set(c.remote, dev + VXLAN_REMOTE)
  u8.set(c.local, dev + VXLAN_LOCAL)
  m[(dev + VXLAN_AGEING) >> 2] = c.ageing
  m[(dev + VXLAN_LIMIT) >> 2] = c.limit
  d.setUint16(dev + VXLAN_PORT_MIN, c.portMin, true)
  d.setUint16(dev + VXLAN_PORT_MAX, c.portMax, true)
  u8[dev + VXLAN_TOS] = c.tos
  u8[dev + VXLAN_TTL] = c.ttl
  u8[dev + VXLAN_DF] = c.df
  m[(dev + NETDEV_TP_DST) >> 2] = swap16(c.port)
  m[(dev + NETDEV_VNI) >> 2] = c.vni
  m[(dev + NETDEV_FEATURES) >> 2] =
    (c.flags & VXLAN_F_COLLECT_METADATA ? NETDEV_F_EXTERNAL : 0) |
    (c.flags & VXLAN_F_GBP ? NETDEV_F_GBP : 0) |
    (c.flags & VXLAN_F_UDP_ZERO_CSUM6_RX ? NETDEV_F_UDP6_ZERO_CSUM_RX : 0)
  const old = m[(dev + NETDEV_TUN) >> 2]
  m[(dev + NETDEV_TUN) >> 2] = c.flags & VXLAN_F_COLLECT_METADATA ? 0 : tunInfo(a, c)
  if (old) freeRcu(a, old, TUN_SIZE, TAG_TUN_INFO)
}

/** The metadata of everything that a classic device sends by itself. */
function tunInfo(a: Arena, c: Config): number {
  const p = alloc(a, TUN_SIZE, TAG_TUN_INFO)
  const ipv6 = c.remoteFamily === AF_INET6
  const zeroCsum = c.flags & (ipv6 ? VXLAN_F_UDP_ZERO_CSUM6_TX : VXLAN_F_UDP_ZERO_CSUM_TX)
  a.m[(p + TUN_MODE) >> 2] = TUN_TX | (ipv6 ? TUN_IPV6 : 0)
  a.m[(p + TUN_FLAGS) >> 2] = TUNNEL_KEY | (zeroCsum ? 0 : TUNNEL_CSUM)
  a.m[(p + TUN_ID) >> 2] = c.vni
  a.u8.set(c.local, p + TUN_SRC)
  a.u8.set(c.remote, p + TUN_DST)
  a.d.setUint16(p + TUN_TP_DST, c.port)
  a.u8[p + TUN_TOS] = c.tos
  a.u8[p + TUN_TTL] = c.ttl
  a.m[(p + TUN_LABEL) >> 2] = c.label
  a.m[(p + TUN_REFCNT) >> 2] = 1
  return p
}

/** vxlan_setup. vxlan_validate, which comes first, has words of its own for a new device. See TunnelType.mtuRange. */
export const mtuRange = (_a: Arena, _dev: number, isNew: boolean): MtuRange => (isNew ? [0, 0] : [MIN_MTU, MAX_MTU])

/** vxlan_change_mtu: no more than the lower device leaves. */
export function mtuTaken(a: Arena, dev: number): MtuRange {
  const c = read(a, dev)
  return [0, c.link ? lowerMtu(a, c) : 0]
}

const lowerMtu = (a: Arena, c: Config): number =>
  a.m[(slot(a, c.link) + NETDEV_MTU) >> 2] - (c.flags & VXLAN_F_IPV6 ? HEADROOM6 : HEADROOM4)

const setMtu = (a: Arena, dev: number, c: Config, asked: number, change: boolean): void => {
  let mtu = asked || a.m[(dev + NETDEV_MTU) >> 2]
  if (c.link) {
    const max = Math.max(lowerMtu(a, c), MIN_MTU)
    if ((!change && !asked) || mtu > max) mtu = max
  }
  a.m[(dev + NETDEV_MTU) >> 2] = mtu
}

/** vxlan_newlink. See TunnelType.newlink. */
export function newlink(a: Arena, dev: number, d: DataView, data: number, end: number, mtu: number): void {
  if (mtu !== 0 && (mtu < MIN_MTU || mtu > MAX_MTU)) refuse(EINVAL, 'MTU must be between 68 and 65535')
  parse(d, data, end)
  const c = emptyConfig()
  apply(c, d, false)
  check(a, dev, c)
  write(a, dev, c)
  setMtu(a, dev, c, mtu, false)
}

/** vxlan_changelink. See TunnelType.changelink. */
export function changelink(a: Arena, dev: number, d: DataView, data: number, end: number): void {
  parse(d, data, end)
  const c = read(a, dev)
  apply(c, d, true)
  check(a, dev, c)
  write(a, dev, c)
  setMtu(a, dev, c, 0, true)
}

/** vxlan_dellink: the metadata of a classic device. */
export function dellink(a: Arena, dev: number): void {
  const tun = a.m[(dev + NETDEV_TUN) >> 2]
  a.m[(dev + NETDEV_TUN) >> 2] = 0
  if (tun) freeRcu(a, tun, TUN_SIZE, TAG_TUN_INFO)
}

/** vxlan_fill_info of Linux 6.1: same attributes, same order. */
export function fillInfo(a: Arena, dev: number, b: Builder): void {
  const c = read(a, dev)
  const bit = (f: number): number => (c.flags & f ? 1 : 0)
  const ipv6 = c.remoteFamily === AF_INET6
  b.attrU32(L.IFLA_VXLAN_ID, c.vni)
  if (!isAny(c.remote)) b.attr(ipv6 ? L.IFLA_VXLAN_GROUP6 : L.IFLA_VXLAN_GROUP, c.remote.subarray(0, ipv6 ? 16 : 4))
  if (c.link) b.attrU32(L.IFLA_VXLAN_LINK, c.link)
  if (!isAny(c.local)) b.attr(ipv6 ? L.IFLA_VXLAN_LOCAL6 : L.IFLA_VXLAN_LOCAL, c.local.subarray(0, ipv6 ? 16 : 4))
  b.attrU8(L.IFLA_VXLAN_TTL, c.ttl)
  b.attrU8(L.IFLA_VXLAN_TTL_INHERIT, bit(VXLAN_F_TTL_INHERIT))
  b.attrU8(L.IFLA_VXLAN_TOS, c.tos)
  b.attrU8(L.IFLA_VXLAN_DF, c.df)
  b.attrBe32(L.IFLA_VXLAN_LABEL, c.label)
  b.attrU8(L.IFLA_VXLAN_LEARNING, bit(VXLAN_F_LEARN))
  b.attrU8(L.IFLA_VXLAN_PROXY, 0)
  b.attrU8(L.IFLA_VXLAN_RSC, 0)
  b.attrU8(L.IFLA_VXLAN_L2MISS, 0)
  b.attrU8(L.IFLA_VXLAN_L3MISS, 0)
  b.attrU8(L.IFLA_VXLAN_COLLECT_METADATA, bit(VXLAN_F_COLLECT_METADATA))
  b.attrU32(L.IFLA_VXLAN_AGEING, c.ageing)
  b.attrU32(L.IFLA_VXLAN_LIMIT, c.limit)
  b.attrBe16(L.IFLA_VXLAN_PORT, c.port)
  b.attrU8(L.IFLA_VXLAN_UDP_CSUM, 1 - bit(VXLAN_F_UDP_ZERO_CSUM_TX))
  b.attrU8(L.IFLA_VXLAN_UDP_ZERO_CSUM6_TX, bit(VXLAN_F_UDP_ZERO_CSUM6_TX))
  b.attrU8(L.IFLA_VXLAN_UDP_ZERO_CSUM6_RX, bit(VXLAN_F_UDP_ZERO_CSUM6_RX))
  b.attrU8(L.IFLA_VXLAN_REMCSUM_TX, 0)
  b.attrU8(L.IFLA_VXLAN_REMCSUM_RX, 0)
  const range = new Uint8Array([c.portMin >> 8, c.portMin, c.portMax >> 8, c.portMax])
  b.attr(L.IFLA_VXLAN_PORT_RANGE, range)
  if (bit(VXLAN_F_GBP)) b.attrFlag(L.IFLA_VXLAN_GBP)
}

/** Address families whose sockets the device opens: both for an external one (vxlan_sock_add). Bit 0 IPv4, bit 1 IPv6. */
const sockets = (a: Arena, dev: number): number => {
  const flags = a.m[(dev + VXLAN_FLAGS) >> 2]
  return flags & VXLAN_F_COLLECT_METADATA ? 3 : flags & VXLAN_F_IPV6 ? 2 : 1
}

/** vxlan_open: a socket is shared only by devices that receive in the same way. */
export function open(a: Arena, dev: number): void {
  const port = a.m[(dev + NETDEV_TP_DST) >> 2]
  for (let i = 1; i < NETDEV_MAX; i++) {
    const other = slot(a, i)
    if (other === dev || a.m[(other + NETDEV_TP_DST) >> 2] !== port) continue
    if (kindOf(a, i) === NETDEV_KIND_NONE || !(a.m[(other + NETDEV_FLAGS) >> 2] & IFF_UP)) continue
    if (kindOf(a, i) !== NETDEV_KIND_VXLAN) refuse(EADDRINUSE, '')
    if (!(sockets(a, dev) & sockets(a, other))) continue
    const differ = (a.m[(dev + VXLAN_FLAGS) >> 2] ^ a.m[(other + VXLAN_FLAGS) >> 2]) & VXLAN_F_RCV_FLAGS
    if (differ) refuse(EADDRINUSE, '')
  }
}
