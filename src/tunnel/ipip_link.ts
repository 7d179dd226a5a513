// The parameters of ipip, sit and ip6tnl devices: IFLA_IPTUN_* to the slot and back (ipip_netlink_parms, ipip_fill_info;
// ipip6_validate, ipip6_netlink_parms, ipip6_fill_info; ip6_tnl_validate, ip6_tnl_netlink_parms, ip6_tnl_fill_info of
// Linux 6.1).
//
// They keep what GRE devices keep (gre_config.ts), and a mode: the protocol that they carry, 0 any. Many-to-many devices,
// 6rd, ISATAP, fou and gue are refused by name. Runs under rtnl.

import type { Arena } from '../memory/arena.ts'
import { GRE_MODE } from '../memory/layout/gre.ts'
import * as N from '../memory/layout/netdev.ts'
import { isAny } from '../net/inet.ts'
import type { MtuRange } from '../net/request.ts'
import { lookup } from '../net/route.ts'
import { attrLen, type Builder, parseAttrs } from '../wire/netlink.ts'
import { EEXIST, EINVAL, EOPNOTSUPP, ERANGE } from '../wire/netlink_error.ts'
import * as L from '../wire/rtm_link.ts'
import { AF_INET, AF_INET6 } from '../wire/rtm_route.ts'
import * as C from './gre_config.ts'
import { IP6_TNL_F_IGN_ENCAP_LIMIT } from './gre6_link.ts'

export { dellink } from './gre_config.ts'

export const IPPROTO_IPIP = 4
export const IPPROTO_IPV6 = 41
export const IPPROTO_MPLS = 137
/** dscp and fwmark inherit, allow-localremote: what the packet itself would have to tell. */
const ODD_FLAGS = 0x10 | 0x20 | 0x40
const ETH_DATA_LEN = 1500
const MAX_MTU = 65535
const ENCAP_LIMIT_LEN = 8

const tb = new Int32Array(L.IFLA_IPTUN_FWMARK + 1)
/** Least payload by attribute type (ipip_policy, ipip6_policy, ip6_tnl_policy); addresses by family. */
const LEAST: Record<number, number> = {
  [L.IFLA_IPTUN_LINK]: 4,
  [L.IFLA_IPTUN_TTL]: 1,
  [L.IFLA_IPTUN_TOS]: 1,
  [L.IFLA_IPTUN_ENCAP_LIMIT]: 1,
  [L.IFLA_IPTUN_FLOWINFO]: 4,
  [L.IFLA_IPTUN_PROTO]: 1,
  [L.IFLA_IPTUN_PMTUDISC]: 1,
  [L.IFLA_IPTUN_ENCAP_TYPE]: 2,
  [L.IFLA_IPTUN_FWMARK]: 4,
}

const isV6 = (a: Arena, dev: number): boolean => C.kindOf(a, dev) === N.NETDEV_KIND_IP6TNL
const isSit = (a: Arena, dev: number): boolean => C.kindOf(a, dev) === N.NETDEV_KIND_SIT

/** Protocols that a kind may be told to carry. */
const MODES: Readonly<Record<number, readonly number[]>> = {
  [N.NETDEV_KIND_IPIP]: [0, IPPROTO_IPIP, IPPROTO_MPLS],
  [N.NETDEV_KIND_SIT]: [0, IPPROTO_IPIP, IPPROTO_IPV6, IPPROTO_MPLS],
  [N.NETDEV_KIND_IP6TNL]: [0, IPPROTO_IPIP, IPPROTO_IPV6],
}
/** What they carry when nobody says. */
const MODE_OF: Readonly<Record<number, number>> = {
  [N.NETDEV_KIND_IPIP]: IPPROTO_IPIP,
  [N.NETDEV_KIND_SIT]: IPPROTO_IPV6,
  [N.NETDEV_KIND_IP6TNL]: 0,
}

interface Told {
  readonly c: C.GreConfig
  readonly mode: number
}

function parse(a: Arena, dev: number, d: DataView, data: number, end: number): Told {
  const ipv6 = isV6(a, dev)
  if (end === 0) tb.fill(0)
  else parseAttrs(d, data, end, tb, tb.length - 1)
  const address = (t: number): boolean => t === L.IFLA_IPTUN_LOCAL || t === L.IFLA_IPTUN_REMOTE
  for (let t = 1; t < tb.length; t++) {
    const least = address(t) ? (ipv6 ? 16 : 4) : t === L.IFLA_IPTUN_FLAGS ? (ipv6 ? 4 : 2) : (LEAST[t] ?? 0)
    if (tb[t] !== 0 && attrLen(d, tb[t]) < least) C.refuse(ERANGE, 'Attribute failed policy validation', tb[t])
  }
  const u8 = (t: number, other = 0): number => (tb[t] ? d.getUint8(tb[t]) : other)
  const le32 = (t: number): number => (tb[t] ? d.getUint32(tb[t], true) : 0)
  const addressAt = (t: number): Uint8Array => {
    const out = new Uint8Array(16)
    if (tb[t]) for (let i = 0; i < (ipv6 ? 16 : 4); i++) out[i] = d.getUint8(tb[t] + i)
    return out
  }
  const kind = C.kindOf(a, dev)
  const mode = u8(L.IFLA_IPTUN_PROTO, MODE_OF[kind])
  if (!MODES[kind].includes(mode)) C.refuse(EINVAL, 'this tunnel does not carry that protocol', tb[L.IFLA_IPTUN_PROTO])
  const flowinfo = tb[L.IFLA_IPTUN_FLOWINFO] ? d.getUint32(tb[L.IFLA_IPTUN_FLOWINFO]) : 0
  const ttl = u8(L.IFLA_IPTUN_TTL, isSit(a, dev) ? 64 : 0)
  const c: C.GreConfig = {
    ...C.readGre(a, dev, ipv6),
    ipv6,
    external: tb[L.IFLA_IPTUN_COLLECT_METADATA] !== 0 && !isSit(a, dev),
    link: le32(L.IFLA_IPTUN_LINK),
    iflags: 0,
    oflags: 0,
    ikey: 0,
    okey: 0,
    local: addressAt(L.IFLA_IPTUN_LOCAL),
    remote: addressAt(L.IFLA_IPTUN_REMOTE),
    ttl,
    tos: ipv6 ? (flowinfo >>> 20) & 0xff : u8(L.IFLA_IPTUN_TOS),
    fwmark: le32(L.IFLA_IPTUN_FWMARK),
    pmtudisc: u8(L.IFLA_IPTUN_PMTUDISC, 1) !== 0 || (tb[L.IFLA_IPTUN_TTL] !== 0 && ttl !== 0),
    ignoreDf: false,
    encapLimit: u8(L.IFLA_IPTUN_ENCAP_LIMIT),
    tnlFlags: ipv6 ? le32(L.IFLA_IPTUN_FLAGS) : 0,
    flowinfo: flowinfo & 0xfffffff,
  }
  refuseOdd(a, dev, d, c)
  return { c, mode }
}

function refuseOdd(a: Arena, dev: number, d: DataView, c: C.GreConfig): void {
  const name = isV6(a, dev) ? 'ip6tnl' : isSit(a, dev) ? 'sit' : 'ipip'
  if (tb[L.IFLA_IPTUN_ENCAP_TYPE] && d.getUint16(tb[L.IFLA_IPTUN_ENCAP_TYPE], true) !== L.TUNNEL_ENCAP_NONE)
    C.refuse(EOPNOTSUPP, `${name}: encap fou and gue are not supported`, tb[L.IFLA_IPTUN_ENCAP_TYPE])
  if (tb[L.IFLA_IPTUN_6RD_PREFIX]) C.refuse(EOPNOTSUPP, 'sit: 6rd is not supported', tb[L.IFLA_IPTUN_6RD_PREFIX])
  if (!c.ipv6 && tb[L.IFLA_IPTUN_FLAGS] && d.getUint16(tb[L.IFLA_IPTUN_FLAGS], true) & 1)
    C.refuse(EOPNOTSUPP, 'sit: isatap is not supported', tb[L.IFLA_IPTUN_FLAGS])
  if (c.tnlFlags & ODD_FLAGS)
    C.refuse(EOPNOTSUPP, 'ip6tnl: dscp inherit, fwmark inherit and allow-localremote are not supported')
  if (!c.external && isAny(c.remote)) C.refuse(EOPNOTSUPP, `${name}: a device without a remote is not supported`)
}

/** ip_tunnel_find, ipip6_tunnel_locate, ip6_tnl_locate. */
function validate(a: Arena, self: number, c: C.GreConfig): void {
  for (const o of C.others(a, self, [C.kindOf(a, self)], c.ipv6))
    if (c.external ? o.external : !o.external && C.sameEnds(o, c)) C.refuse(EEXIST)
}

const overhead = (c: C.GreConfig): number =>
  c.ipv6 ? 40 + (c.tnlFlags & IP6_TNL_F_IGN_ENCAP_LIMIT ? 0 : ENCAP_LIMIT_LEN) : 20

/** ip_tunnel_bind_dev, ipip6_tunnel_bind_dev, ip6_tnl_link_config: the MTU of the way to the remote, less the header. */
function mtuOf(a: Arena, dev: number, c: C.GreConfig): number {
  const least = C.kindOf(a, dev) === N.NETDEV_KIND_IPIP ? 68 : 1280
  const known = !c.external && !(c.ipv6 && isAny(c.local))
  if (!known) return ETH_DATA_LEN - overhead(c)
  const route = lookup(a, c.ipv6 ? AF_INET6 : AF_INET, c.remote, { src: c.local, oif: c.link, tos: c.tos & 0x1e })
  if (route.errno !== 0) return ETH_DATA_LEN - overhead(c)
  return Math.max(Math.min(a.m[(route.dev + N.NETDEV_MTU) >> 2], MAX_MTU) - overhead(c), least)
}

/** ipip_tunnel_setup says nothing, ipip6_tunnel_setup all, ip6_tnl_dev_init_gen when there is one. See TunnelType.mtuRange. */
export function mtuRange(a: Arena, dev: number, isNew: boolean): MtuRange {
  const kind = C.kindOf(a, dev)
  if (kind === N.NETDEV_KIND_SIT) return [1280, MAX_MTU + 40 - 20]
  return kind === N.NETDEV_KIND_IPIP || isNew ? [0, 0] : [68, MAX_MTU]
}

/** ip_tunnel_change_mtu, ip6_tnl_change_mtu. sit has none. */
export function mtuTaken(a: Arena, dev: number): MtuRange {
  const kind = C.kindOf(a, dev)
  if (kind === N.NETDEV_KIND_SIT) return [0, 0]
  if (kind === N.NETDEV_KIND_IPIP) return [68, MAX_MTU - 20]
  const inner = a.u8[dev + GRE_MODE]
  return [inner === IPPROTO_IPV6 ? 1280 : 68, inner === IPPROTO_IPIP ? MAX_MTU - 40 : MAX_MTU]
}

function write(a: Arena, dev: number, { c, mode }: Told): void {
  C.writeGre(a, dev, c)
  a.u8[dev + GRE_MODE] = mode
  a.m[(dev + N.NETDEV_TP_DST) >> 2] = N.TP_PROTO + IPPROTO_IPIP
}

/** ipip_newlink, ipip6_newlink, ip6_tnl_newlink. See TunnelType.newlink. */
export function newlink(a: Arena, dev: number, d: DataView, data: number, end: number, mtu: number): void {
  const told = parse(a, dev, d, data, end)
  const { c } = told
  validate(a, dev, c)
  write(a, dev, told)
  const ends = !isAny(c.remote) && !(c.ipv6 && isAny(c.local))
  a.m[(dev + N.NETDEV_FLAGS) >> 2] = N.IFF_NOARP | (ends ? N.IFF_POINTOPOINT : 0)
  a.m[(dev + N.NETDEV_MTU) >> 2] = wanted(a, dev, mtu) || mtuOf(a, dev, c)
}

/** ip_tunnel_newlink brings an MTU that was asked for into the range, ip6_tnl_newlink passes over one outside. */
function wanted(a: Arena, dev: number, mtu: number): number {
  const [min, max] = mtuTaken(a, dev)
  if (mtu === 0 || max === 0) return mtu
  if (C.kindOf(a, dev) === N.NETDEV_KIND_IPIP) return Math.min(Math.max(mtu, min), max)
  return mtu < min || mtu > max ? 0 : mtu
}

/** What is not said is not kept. */
export function changelink(a: Arena, dev: number, d: DataView, data: number, end: number): void {
  const told = parse(a, dev, d, data, end)
  validate(a, dev, told.c)
  write(a, dev, told)
}

/** ipip_fill_info, ipip6_fill_info, ip6_tnl_fill_info: same attributes, same order. */
export function fillInfo(a: Arena, dev: number, b: Builder): void {
  const c = C.readGre(a, dev, isV6(a, dev))
  const n = c.ipv6 ? 16 : 4
  const mode = a.u8[dev + GRE_MODE]
  b.attrU32(L.IFLA_IPTUN_LINK, c.link)
  b.attr(L.IFLA_IPTUN_LOCAL, c.local.subarray(0, n))
  b.attr(L.IFLA_IPTUN_REMOTE, c.remote.subarray(0, n))
  b.attrU8(L.IFLA_IPTUN_TTL, c.ttl)
  if (c.ipv6) {
    b.attrU8(L.IFLA_IPTUN_ENCAP_LIMIT, c.encapLimit)
    b.attrBe32(L.IFLA_IPTUN_FLOWINFO, c.flowinfo)
    b.attrU32(L.IFLA_IPTUN_FLAGS, c.tnlFlags)
    b.attrU8(L.IFLA_IPTUN_PROTO, mode)
  } else {
    const sit = isSit(a, dev)
    b.attrU8(L.IFLA_IPTUN_TOS, c.tos)
    if (!sit) b.attrU8(L.IFLA_IPTUN_PROTO, mode)
    b.attrU8(L.IFLA_IPTUN_PMTUDISC, c.pmtudisc ? 1 : 0)
    if (sit) b.attrU8(L.IFLA_IPTUN_PROTO, mode)
    if (sit) b.attrU16(L.IFLA_IPTUN_FLAGS, 0)
  }
  b.attrU32(L.IFLA_IPTUN_FWMARK, c.fwmark)
  b.attrU16(L.IFLA_IPTUN_ENCAP_TYPE, L.TUNNEL_ENCAP_NONE)
  b.attrBe16(L.IFLA_IPTUN_ENCAP_SPORT, 0)
  b.attrBe16(L.IFLA_IPTUN_ENCAP_DPORT, 0)
  b.attrU16(L.IFLA_IPTUN_ENCAP_FLAGS, 0)
  if (c.external) b.attrFlag(L.IFLA_IPTUN_COLLECT_METADATA)
}
