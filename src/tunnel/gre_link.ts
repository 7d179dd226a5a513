// The parameters of gre, gretap and erspan devices: IFLA_GRE_* to the slot and back (ipgre_tunnel_validate,
// ipgre_tap_validate, erspan_validate, ipgre_netlink_parms, ip_tunnel_newlink, ip_tunnel_bind_dev, ipgre_fill_info of
// Linux 6.1).
//
// There may be one external device of a kind; others have a remote of their own. What would put another header in front
// (fou, gue) and many-to-many devices without a remote are refused by name. Runs under rtnl.

import type { Arena } from '../memory/arena.ts'
import { GRE_F_KEY } from '../memory/layout/gre.ts'
import * as N from '../memory/layout/netdev.ts'
import { isAny } from '../net/inet.ts'
import type { MtuRange } from '../net/request.ts'
import { lookup } from '../net/route.ts'
import type { Builder } from '../wire/netlink.ts'
import { EEXIST, EINVAL, EOPNOTSUPP } from '../wire/netlink_error.ts'
import * as L from '../wire/rtm_link.ts'
import { AF_INET } from '../wire/rtm_route.ts'
import * as C from './gre_config.ts'

export { dellink } from './gre_config.ts'

const MIN_MTU = 68
const MAX_MTU = 65535
const ETH_DATA_LEN = 1500
const IPV4_LEN = 20

function parse(a: Arena, dev: number, d: DataView, data: number, end: number, had: C.GreConfig | null): C.GreConfig {
  const c = C.parseGre(a, dev, d, data, end, false)
  if (C.isEthernet(a, dev) && C.tb[L.IFLA_GRE_REMOTE] && isAny(c.remote))
    refuse(EINVAL, 'gre: the remote is no address', C.tb[L.IFLA_GRE_REMOTE])
  if (had) {
    c.external ||= had.external
    if (!C.tb[L.IFLA_GRE_FWMARK]) c.fwmark = had.fwmark
    if (!C.tb[L.IFLA_GRE_IGNORE_DF]) c.ignoreDf = had.ignoreDf
  }
  if (c.ignoreDf && c.pmtudisc) refuse(EINVAL, 'gre: ignore-df needs nopmtudisc', C.tb[L.IFLA_GRE_IGNORE_DF])
  if (!c.external && isAny(c.remote)) refuse(EOPNOTSUPP, 'gre: a device without a remote is not supported')
  return c
}

const refuse = C.refuse

/** ip_tunnel_find: would a packet find two devices? */
function validate(a: Arena, self: number, c: C.GreConfig): void {
  for (const o of C.others(a, self, [C.kindOf(a, self)], false)) {
    const keys = (x: C.GreConfig): boolean => (x.iflags & GRE_F_KEY) !== 0
    const same = C.sameEnds(o, c) && keys(o) === keys(c) && o.ikey === c.ikey
    if (c.external ? o.external : !o.external && same) refuse(EEXIST)
  }
}

/** ip_tunnel_bind_dev: the MTU of the way to the remote, or of the lower device, less what is put in front. */
function mtuOf(a: Arena, dev: number, c: C.GreConfig): number {
  let lower = ETH_DATA_LEN
  const route = isAny(c.remote) ? null : lookup(a, AF_INET, c.remote, { src: c.local, oif: c.link, tos: c.tos & 0x1e })
  if (route && route.errno === 0) lower = Math.min(a.m[(route.dev + N.NETDEV_MTU) >> 2], MAX_MTU)
  return Math.max(lower - overhead(a, dev, c), MIN_MTU)
}

const overhead = (a: Arena, dev: number, c: C.GreConfig): number =>
  IPV4_LEN + C.headerBytes(c, C.isErspan(a, dev)) + C.ethernetBytes(a, dev)

/** ipgre_tap_setup and erspan_setup are Ethernet's and unlimited, ipgre_tunnel_setup says nothing. See TunnelType.mtuRange. */
export const mtuRange = (a: Arena, dev: number): MtuRange => [C.isEthernet(a, dev) ? MIN_MTU : 0, 0]

/** ip_tunnel_change_mtu. */
export const mtuTaken = (a: Arena, dev: number): MtuRange => [
  MIN_MTU,
  MAX_MTU - overhead(a, dev, C.readGre(a, dev, false)),
]

/** ARPHRD_IPGRE, or none for an external device: neither has ARP. */
function setFlags(a: Arena, dev: number, c: C.GreConfig): void {
  if (C.isEthernet(a, dev)) return
  a.m[(dev + N.NETDEV_FLAGS) >> 2] = N.IFF_NOARP | (isAny(c.remote) ? 0 : N.IFF_POINTOPOINT)
}

/** ip_tunnel_newlink. See TunnelType.newlink. */
export function newlink(a: Arena, dev: number, d: DataView, data: number, end: number, mtu: number): void {
  const c = parse(a, dev, d, data, end, null)
  validate(a, dev, c)
  C.writeGre(a, dev, c)
  setFlags(a, dev, c)
  const most = MAX_MTU - overhead(a, dev, c)
  a.m[(dev + N.NETDEV_MTU) >> 2] = mtu ? Math.min(Math.max(mtu, MIN_MTU), most) : mtuOf(a, dev, c)
}

/** ip_tunnel_changelink: what is not said is not kept, but for the mark and ignore-df. */
export function changelink(a: Arena, dev: number, d: DataView, data: number, end: number): void {
  const had = C.readGre(a, dev, false)
  const c = parse(a, dev, d, data, end, had)
  validate(a, dev, c)
  C.writeGre(a, dev, c)
  if (had.link !== c.link || had.fwmark !== c.fwmark) a.m[(dev + N.NETDEV_MTU) >> 2] = mtuOf(a, dev, c)
}

/** ipgre_fill_info, erspan_fill_info: same attributes, same order. */
export function fillInfo(a: Arena, dev: number, b: Builder): void {
  const c = C.readGre(a, dev, false)
  if (C.isErspan(a, dev)) C.fillErspan(c, b)
  C.fillEnds(c, b)
  b.attrU8(L.IFLA_GRE_TTL, c.ttl)
  b.attrU8(L.IFLA_GRE_TOS, c.tos)
  b.attrU8(L.IFLA_GRE_PMTUDISC, c.pmtudisc ? 1 : 0)
  b.attrU32(L.IFLA_GRE_FWMARK, c.fwmark)
  C.fillEncap(b)
  b.attrU8(L.IFLA_GRE_IGNORE_DF, c.ignoreDf ? 1 : 0)
  if (c.external) b.attrFlag(L.IFLA_GRE_COLLECT_METADATA)
}
