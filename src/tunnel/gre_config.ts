// What a GRE device was told, in its slot and out of it: IFLA_GRE_* as one record, for gre_link.ts (IPv4) and gre6_link.ts
// (IPv6), which know what each family checks, defaults to and shows.
//
// An external device has no addresses and keys of its own; others have a tun_info made here (NETDEV_TUN), which the
// datapath may be reading and which is therefore replaced whole. Under rtnl.

import type { Arena } from '../memory/arena.ts'
import * as T from '../memory/layout/action.ts'
import * as G from '../memory/layout/gre.ts'
import * as N from '../memory/layout/netdev.ts'
import { SUPER_NETDEVS } from '../memory/layout/super.ts'
import { alloc, freeRcu, TAG_TUN_INFO } from '../memory/pool.ts'
import { sameAddress } from '../net/inet.ts'
import { attrLen, type Builder, parseAttrs } from '../wire/netlink.ts'
import { EINVAL, EOPNOTSUPP, ERANGE, NetlinkError } from '../wire/netlink_error.ts'
import * as L from '../wire/rtm_link.ts'

const IPPROTO_GRE = 47
const ETH_LEN = 14
/** erspan's session id has ten bits, its index twenty, its hardware id six. */
const ID_MASK = 0x3ff
const INDEX_MASK = 0xfffff
const HWID_MASK = 0x3f

export interface GreConfig {
  readonly ipv6: boolean
  external: boolean
  link: number
  iflags: number
  oflags: number
  ikey: number
  okey: number
  local: Uint8Array
  remote: Uint8Array
  ttl: number
  /** tos (IPv4), or the traffic class of `flowinfo`. */
  tos: number
  fwmark: number
  pmtudisc: boolean
  ignoreDf: boolean
  encapLimit: number
  tnlFlags: number
  /** Traffic class and flow label, host order. */
  flowinfo: number
  erspanVersion: number
  erspanIndex: number
  erspanDirection: number
  erspanHwid: number
}

/** IFLA_GRE_* of the message at hand: offsets of payloads, 0 where there is none. */
export const tb = new Int32Array(L.IFLA_GRE_ERSPAN_HWID + 1)
/** Least payload by attribute type (ipgre_policy, ip6gre_policy); addresses by family. */
const LEAST: Record<number, number> = {
  [L.IFLA_GRE_LINK]: 4,
  [L.IFLA_GRE_IFLAGS]: 2,
  [L.IFLA_GRE_OFLAGS]: 2,
  [L.IFLA_GRE_IKEY]: 4,
  [L.IFLA_GRE_OKEY]: 4,
  [L.IFLA_GRE_TTL]: 1,
  [L.IFLA_GRE_TOS]: 1,
  [L.IFLA_GRE_PMTUDISC]: 1,
  [L.IFLA_GRE_ENCAP_LIMIT]: 1,
  [L.IFLA_GRE_FLOWINFO]: 4,
  [L.IFLA_GRE_FLAGS]: 4,
  [L.IFLA_GRE_ENCAP_TYPE]: 2,
  [L.IFLA_GRE_IGNORE_DF]: 1,
  [L.IFLA_GRE_FWMARK]: 4,
  [L.IFLA_GRE_ERSPAN_INDEX]: 4,
  [L.IFLA_GRE_ERSPAN_VER]: 1,
  [L.IFLA_GRE_ERSPAN_DIR]: 1,
  [L.IFLA_GRE_ERSPAN_HWID]: 2,
}

export const refuse = (errno: number, message = '', at?: number): never => {
  throw new NetlinkError(errno, message, at ? at - 4 : undefined)
}

export const kindOf = (a: Arena, dev: number): number => a.m[(dev + N.NETDEV_KIND) >> 2]
const LAYER3 = [N.NETDEV_KIND_GRE, N.NETDEV_KIND_IP6GRE, N.NETDEV_KIND_IPIP, N.NETDEV_KIND_SIT, N.NETDEV_KIND_IP6TNL]
const MIRRORS = [N.NETDEV_KIND_ERSPAN, N.NETDEV_KIND_IP6ERSPAN]
export const isEthernet = (a: Arena, dev: number): boolean => !LAYER3.includes(kindOf(a, dev))
export const isErspan = (a: Arena, dev: number): boolean => MIRRORS.includes(kindOf(a, dev))

/** What the two families refuse of a message in the same words (ipgre_tunnel_validate, ip6gre_tunnel_validate). */
export function parseGre(a: Arena, dev: number, d: DataView, data: number, end: number, ipv6: boolean): GreConfig {
  if (end === 0) tb.fill(0)
  else parseAttrs(d, data, end, tb, tb.length - 1)
  const least = (t: number): number =>
    t === L.IFLA_GRE_LOCAL || t === L.IFLA_GRE_REMOTE ? (ipv6 ? 16 : 4) : (LEAST[t] ?? 0)
  for (let t = 1; t < tb.length; t++)
    if (tb[t] !== 0 && attrLen(d, tb[t]) < least(t)) refuse(ERANGE, 'Attribute failed policy validation', tb[t])
  const u8 = (t: number): number => (tb[t] ? d.getUint8(tb[t]) : 0)
  const le32 = (t: number): number => (tb[t] ? d.getUint32(tb[t], true) : 0)
  const be16 = (t: number): number => (tb[t] ? d.getUint16(tb[t]) : 0)
  const be32 = (t: number): number => (tb[t] ? d.getUint32(tb[t]) : 0)
  const address = (t: number): Uint8Array => {
    const out = new Uint8Array(16)
    if (tb[t]) for (let i = 0; i < (ipv6 ? 16 : 4); i++) out[i] = d.getUint8(tb[t] + i)
    return out
  }
  const flowinfo = be32(L.IFLA_GRE_FLOWINFO)
  const c: GreConfig = {
    ipv6,
    external: tb[L.IFLA_GRE_COLLECT_METADATA] !== 0,
    link: le32(L.IFLA_GRE_LINK),
    iflags: be16(L.IFLA_GRE_IFLAGS),
    oflags: be16(L.IFLA_GRE_OFLAGS),
    ikey: be32(L.IFLA_GRE_IKEY),
    okey: be32(L.IFLA_GRE_OKEY),
    local: address(L.IFLA_GRE_LOCAL),
    remote: address(L.IFLA_GRE_REMOTE),
    ttl: u8(L.IFLA_GRE_TTL),
    tos: ipv6 ? (flowinfo >>> 20) & 0xff : u8(L.IFLA_GRE_TOS),
    fwmark: le32(L.IFLA_GRE_FWMARK),
    pmtudisc: !tb[L.IFLA_GRE_PMTUDISC] || u8(L.IFLA_GRE_PMTUDISC) !== 0,
    ignoreDf: u8(L.IFLA_GRE_IGNORE_DF) !== 0,
    encapLimit: u8(L.IFLA_GRE_ENCAP_LIMIT),
    tnlFlags: le32(L.IFLA_GRE_FLAGS),
    flowinfo: flowinfo & 0xfffffff,
    erspanVersion: isErspan(a, dev) ? (tb[L.IFLA_GRE_ERSPAN_VER] ? u8(L.IFLA_GRE_ERSPAN_VER) : 1) : 0,
    erspanIndex: 0,
    erspanDirection: 0,
    erspanHwid: 0,
  }
  if ((c.iflags | c.oflags) & (G.GRE_F_ROUTING | 7))
    refuse(EINVAL, 'gre: routing and versions other than 0 are not supported')
  if (c.erspanVersion === 1) c.erspanIndex = le32(L.IFLA_GRE_ERSPAN_INDEX)
  if (c.erspanVersion === 2) {
    c.erspanDirection = u8(L.IFLA_GRE_ERSPAN_DIR)
    c.erspanHwid = tb[L.IFLA_GRE_ERSPAN_HWID] ? d.getUint16(tb[L.IFLA_GRE_ERSPAN_HWID], true) : 0
  }
  if (isErspan(a, dev)) checkErspan(c)
  if (tb[L.IFLA_GRE_ENCAP_TYPE] && d.getUint16(tb[L.IFLA_GRE_ENCAP_TYPE], true) !== L.TUNNEL_ENCAP_NONE)
    refuse(c.external ? EINVAL : EOPNOTSUPP, 'gre: encap fou and gue are not supported', tb[L.IFLA_GRE_ENCAP_TYPE])
  return c
}

/** erspan_validate, ip6erspan_tap_validate: sequence numbers and a key, nothing else, and numbers that fit the header. */
function checkErspan(c: GreConfig): void {
  if (c.erspanVersion > 2 || (c.ipv6 && c.erspanVersion === 0)) refuse(EINVAL, 'erspan: no such version')
  if (c.erspanVersion === 0) return
  if (!c.external && (c.iflags | c.oflags) !== (G.GRE_F_SEQ | G.GRE_F_KEY))
    refuse(EINVAL, 'erspan: it has sequence numbers and a key, and nothing else')
  if ((c.ikey | c.okey) & ~ID_MASK) refuse(EINVAL, 'erspan: the key has ten bits')
  if (c.erspanIndex & ~INDEX_MASK || c.erspanDirection > 1 || c.erspanHwid & ~HWID_MASK)
    refuse(EINVAL, 'erspan: index, direction or hardware id out of range')
}

/** What the device has. */
export function readGre(a: Arena, dev: number, ipv6: boolean): GreConfig {
  const tun = a.m[(dev + N.NETDEV_TUN) >> 2]
  const at = (field: number): Uint8Array => (tun === 0 ? new Uint8Array(16) : a.u8.slice(tun + field, tun + field + 16))
  return {
    ipv6,
    external: (a.m[(dev + N.NETDEV_FEATURES) >> 2] & N.NETDEV_F_EXTERNAL) !== 0,
    link: a.m[(dev + G.GRE_LINK) >> 2],
    iflags: a.d.getUint16(dev + G.GRE_IFLAGS, true),
    oflags: a.d.getUint16(dev + G.GRE_OFLAGS, true),
    ikey: a.m[(dev + G.GRE_IKEY) >> 2] >>> 0,
    okey: a.m[(dev + G.GRE_OKEY) >> 2] >>> 0,
    local: at(T.TUN_SRC),
    remote: at(T.TUN_DST),
    ttl: tun === 0 ? 0 : a.u8[tun + T.TUN_TTL],
    tos: tun === 0 ? 0 : a.u8[tun + T.TUN_TOS],
    fwmark: a.m[(dev + G.GRE_FWMARK) >> 2] >>> 0,
    pmtudisc: a.u8[dev + G.GRE_PMTUDISC] !== 0,
    ignoreDf: a.u8[dev + G.GRE_IGNORE_DF] !== 0,
    encapLimit: a.u8[dev + G.GRE_ENCAP_LIMIT],
    tnlFlags: a.m[(dev + G.GRE_TNL_FLAGS) >> 2],
    flowinfo: a.m[(dev + G.GRE_FLOWINFO) >> 2],
    erspanVersion: a.u8[dev + G.GRE_ERSPAN_VER],
    erspanIndex: a.m[(dev + G.GRE_ERSPAN_INDEX) >> 2],
    erspanDirection: a.u8[dev + G.GRE_ERSPAN_DIR],
    erspanHwid: a.u8[dev + G.GRE_ERSPAN_HWID],
  }
}

/** Puts `c` into the slot. Sequence numbers go on as they are. */
export function writeGre(a: Arena, dev: number, c: GreConfig): void {
  const { m, u8, d } = a
  m[(dev + G.GRE_LINK) >> 2] = c.link
  m[(dev + G.GRE_IKEY) >> 2] = c.ikey
  m[(dev + G.GRE_OKEY) >> 2] = c.okey
  d.setUint16(dev + G.GRE_IFLAGS, c.iflags, true)
  d.setUint16(dev + G.GRE_OFLAGS, c.oflags, true)
  u8[dev + G.GRE_PMTUDISC] = c.pmtudisc ? 1 : 0
  u8[dev + G.GRE_IGNORE_DF] = c.ignoreDf ? 1 : 0
  u8[dev + G.GRE_ENCAP_LIMIT] = c.encapLimit
  u8[dev + G.GRE_ERSPAN_VER] = c.erspanVersion
  m[(dev + G.GRE_FWMARK) >> 2] = c.fwmark
  m[(dev + G.GRE_TNL_FLAGS) >> 2] = c.tnlFlags
  m[(dev + G.GRE_FLOWINFO) >> 2] = c.flowinfo
  m[(dev + G.GRE_ERSPAN_INDEX) >> 2] = c.erspanIndex
  u8[dev + G.GRE_ERSPAN_DIR] = c.erspanDirection
  u8[dev + G.GRE_ERSPAN_HWID] = c.erspanHwid
  m[(dev + N.NETDEV_TP_DST) >> 2] = N.TP_PROTO + IPPROTO_GRE
  m[(dev + N.NETDEV_FEATURES) >> 2] = (c.external ? N.NETDEV_F_EXTERNAL : 0) | (isEthernet(a, dev) ? 0 : N.NETDEV_F_L3)
  const old = m[(dev + N.NETDEV_TUN) >> 2]
  m[(dev + N.NETDEV_TUN) >> 2] = c.external ? 0 : tunInfo(a, c)
  if (old) freeRcu(a, old, T.TUN_SIZE, TAG_TUN_INFO)
}

function tunInfo(a: Arena, c: GreConfig): number {
  const p = alloc(a, T.TUN_SIZE, TAG_TUN_INFO)
  a.m[(p + T.TUN_MODE) >> 2] = T.TUN_TX | (c.ipv6 ? T.TUN_IPV6 : 0)
  a.m[(p + T.TUN_FLAGS) >> 2] =
    (c.oflags & G.GRE_F_CSUM ? T.TUNNEL_CSUM : 0) |
    (c.oflags & G.GRE_F_KEY ? T.TUNNEL_KEY : 0) |
    (c.oflags & G.GRE_F_SEQ ? T.TUNNEL_SEQ : 0)
  a.m[(p + T.TUN_ID) >> 2] = c.okey
  a.u8.set(c.local, p + T.TUN_SRC)
  a.u8.set(c.remote, p + T.TUN_DST)
  a.u8[p + T.TUN_TOS] = c.tos
  a.u8[p + T.TUN_TTL] = c.ttl
  a.m[(p + T.TUN_LABEL) >> 2] = c.flowinfo & 0xfffff
  a.m[(p + T.TUN_REFCNT) >> 2] = 1
  return p
}

/** Other devices of the kinds, with what they have. */
export function* others(a: Arena, self: number, kinds: readonly number[], ipv6: boolean): Generator<GreConfig> {
  for (let i = 1; i < N.NETDEV_MAX; i++) {
    const dev = a.m[SUPER_NETDEVS >> 2] + i * N.NETDEV_SIZE
    if (dev !== self && kinds.includes(kindOf(a, dev))) yield readGre(a, dev, ipv6)
  }
}

/** Would the two be told apart by the addresses and the lower device? */
export const sameEnds = (x: GreConfig, y: GreConfig): boolean =>
  sameAddress(x.local, y.local) && sameAddress(x.remote, y.remote) && x.link === y.link

/** Bytes of the GRE header and of what follows it in each packet: tunnel->hlen. */
export function headerBytes(c: GreConfig, erspan: boolean): number {
  if (erspan) return c.erspanVersion === 0 ? 4 : 8 + (c.erspanVersion === 1 ? 8 : 12)
  const bits = [G.GRE_F_CSUM, G.GRE_F_KEY, G.GRE_F_SEQ]
  return 4 + 4 * bits.filter((b) => c.oflags & b).length
}

/** What an inner Ethernet header takes of the MTU. */
export const ethernetBytes = (a: Arena, dev: number): number => (isEthernet(a, dev) ? ETH_LEN : 0)

/** Gives the device's tun_info back. */
export function dellink(a: Arena, dev: number): void {
  const tun = a.m[(dev + N.NETDEV_TUN) >> 2]
  a.m[(dev + N.NETDEV_TUN) >> 2] = 0
  if (tun) freeRcu(a, tun, T.TUN_SIZE, TAG_TUN_INFO)
}

/** IFLA_GRE_ERSPAN_*, in front of all others. */
export function fillErspan(c: GreConfig, b: Builder): void {
  b.attrU8(L.IFLA_GRE_ERSPAN_VER, c.erspanVersion)
  if (c.erspanVersion === 1) b.attrU32(L.IFLA_GRE_ERSPAN_INDEX, c.erspanIndex)
  if (c.erspanVersion === 2) {
    b.attrU8(L.IFLA_GRE_ERSPAN_DIR, c.erspanDirection)
    b.attrU16(L.IFLA_GRE_ERSPAN_HWID, c.erspanHwid)
  }
}

/** IFLA_GRE_LINK to _REMOTE, which the families have in the same order. */
export function fillEnds(c: GreConfig, b: Builder): void {
  const n = c.ipv6 ? 16 : 4
  // erspan's key stands in its own header, and is shown as if it stood in GRE's.
  const shown = c.erspanVersion !== 0 && !c.external ? c.oflags | G.GRE_F_KEY : c.oflags
  b.attrU32(L.IFLA_GRE_LINK, c.link)
  b.attrBe16(L.IFLA_GRE_IFLAGS, c.iflags)
  b.attrBe16(L.IFLA_GRE_OFLAGS, shown)
  b.attrBe32(L.IFLA_GRE_IKEY, c.ikey)
  b.attrBe32(L.IFLA_GRE_OKEY, c.okey)
  b.attr(L.IFLA_GRE_LOCAL, c.local.subarray(0, n))
  b.attr(L.IFLA_GRE_REMOTE, c.remote.subarray(0, n))
}

/** IFLA_GRE_ENCAP_*: none. */
export function fillEncap(b: Builder): void {
  b.attrU16(L.IFLA_GRE_ENCAP_TYPE, L.TUNNEL_ENCAP_NONE)
  b.attrBe16(L.IFLA_GRE_ENCAP_SPORT, 0)
  b.attrBe16(L.IFLA_GRE_ENCAP_DPORT, 0)
  b.attrU16(L.IFLA_GRE_ENCAP_FLAGS, 0)
}
