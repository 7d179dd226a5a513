// The parameters of ip6gre, ip6gretap and ip6erspan devices: IFLA_GRE_* to the slot and back (ip6gre_tunnel_validate,
// ip6gre_tap_validate, ip6erspan_tap_validate, ip6gre_netlink_parms, ip6gre_tnl_link_config, ip6gre_fill_info of Linux 6.1).
//
// ip6gre and ip6gretap share one external device; ip6erspan has its own. Others have both ends of their own. What is
// refused is what gre_link.ts refuses, and what the packet itself would have to tell (its mark, dscp to copy). Runs under rtnl.

import type { Arena } from '../memory/arena.ts'
import * as N from '../memory/layout/netdev.ts'
import { isAny } from '../net/inet.ts'
import type { MtuRange } from '../net/request.ts'
import { lookup } from '../net/route.ts'
import type { Builder } from '../wire/netlink.ts'
import { EEXIST, EINVAL, EOPNOTSUPP } from '../wire/netlink_error.ts'
import * as L from '../wire/rtm_link.ts'
import { AF_INET6 } from '../wire/rtm_route.ts'
import * as C from './gre_config.ts'

export { dellink } from './gre_config.ts'

export const IP6_TNL_F_IGN_ENCAP_LIMIT = 0x1
export const IP6_TNL_F_USE_ORIG_TCLASS = 0x2
export const IP6_TNL_F_USE_ORIG_FLOWLABEL = 0x4
const IP6_TNL_F_RCV_DSCP_COPY = 0x10
const IP6_TNL_F_USE_ORIG_FWMARK = 0x20
const IP6_TNL_F_ALLOW_LOCAL_REMOTE = 0x40

const MIN_MTU = 1280
const IPV4_MIN_MTU = 68
const IP_MAX_MTU = 65535
const ETH_DATA_LEN = 1500
const IPV6_LEN = 40
const ENCAP_LIMIT_LEN = 8

function parse(a: Arena, dev: number, d: DataView, data: number, end: number, had: C.GreConfig | null): C.GreConfig {
  const c = C.parseGre(a, dev, d, data, end, true)
  if (C.isEthernet(a, dev) && C.tb[L.IFLA_GRE_REMOTE] && isAny(c.remote))
    C.refuse(EINVAL, 'gre: the remote is no address', C.tb[L.IFLA_GRE_REMOTE])
  if (had) c.external ||= had.external
  const odd = IP6_TNL_F_RCV_DSCP_COPY | IP6_TNL_F_USE_ORIG_FWMARK | IP6_TNL_F_ALLOW_LOCAL_REMOTE
  if (c.tnlFlags & odd)
    C.refuse(EOPNOTSUPP, 'ip6gre: dscp inherit, fwmark inherit and allow-localremote are not supported')
  if (!c.external && isAny(c.remote)) C.refuse(EOPNOTSUPP, 'ip6gre: a device without a remote is not supported')
  return c
}

/** ip6gre_tunnel_find, and the external devices that there are. */
function validate(a: Arena, self: number, c: C.GreConfig): void {
  const kind = C.kindOf(a, self)
  const family = [N.NETDEV_KIND_IP6GRE, N.NETDEV_KIND_IP6GRETAP]
  const mirrors = kind === N.NETDEV_KIND_IP6ERSPAN
  if (c.external) {
    for (const o of C.others(a, self, mirrors ? [kind] : family, true)) if (o.external) C.refuse(EEXIST)
    return
  }
  const ethernet = [N.NETDEV_KIND_IP6GRETAP, N.NETDEV_KIND_IP6ERSPAN]
  const type = kind === N.NETDEV_KIND_IP6GRE ? [kind] : ethernet
  for (const o of C.others(a, self, type, true))
    if (!o.external && C.sameEnds(o, c) && o.ikey === c.ikey) C.refuse(EEXIST)
}

const overhead = (a: Arena, dev: number, c: C.GreConfig): number =>
  IPV6_LEN +
  C.headerBytes(c, C.isErspan(a, dev)) +
  C.ethernetBytes(a, dev) +
  (c.tnlFlags & IP6_TNL_F_IGN_ENCAP_LIMIT ? 0 : ENCAP_LIMIT_LEN)

/** ip6gre_tunnel_init_common, then ip6gre_tnl_link_config_route where both ends are known. */
function mtuOf(a: Arena, dev: number, c: C.GreConfig): number {
  const mtu = ETH_DATA_LEN - overhead(a, dev, c)
  if (c.external || isAny(c.local)) return mtu
  const route = lookup(a, AF_INET6, c.remote, { src: c.local, oif: c.link })
  if (route.errno !== 0) return mtu
  return Math.max(a.m[(route.dev + N.NETDEV_MTU) >> 2] - overhead(a, dev, c), MIN_MTU)
}

/** ip6gre_tap_setup and ip6erspan_tap_setup are Ethernet's and unlimited. See TunnelType.mtuRange. */
export const mtuRange = (a: Arena, dev: number): MtuRange => [C.isEthernet(a, dev) ? IPV4_MIN_MTU : 0, 0]

/** ip6_tnl_change_mtu. */
export const mtuTaken = (a: Arena, dev: number): MtuRange => most(a, dev, C.readGre(a, dev, true))

const most = (a: Arena, dev: number, c: C.GreConfig): MtuRange => [
  IPV4_MIN_MTU,
  IP_MAX_MTU - IPV6_LEN - C.headerBytes(c, C.isErspan(a, dev)) - C.ethernetBytes(a, dev),
]

/** ip6gre_tunnel_setup, ip6gre_tnl_link_config_common. */
function setFlags(a: Arena, dev: number, c: C.GreConfig): void {
  if (C.isEthernet(a, dev)) return
  const both = !isAny(c.local) && !isAny(c.remote)
  a.m[(dev + N.NETDEV_FLAGS) >> 2] = N.IFF_NOARP | (both ? N.IFF_POINTOPOINT : 0)
}

/** ip6gre_newlink, ip6erspan_newlink. See TunnelType.newlink. */
export function newlink(a: Arena, dev: number, d: DataView, data: number, end: number, mtu: number): void {
  const c = parse(a, dev, d, data, end, null)
  validate(a, dev, c)
  C.writeGre(a, dev, c)
  setFlags(a, dev, c)
  const [min, max] = most(a, dev, c)
  a.m[(dev + N.NETDEV_MTU) >> 2] = mtu >= min && mtu <= max ? mtu : mtuOf(a, dev, c)
}

/** ip6gre_changelink: what is not said is not kept. */
export function changelink(a: Arena, dev: number, d: DataView, data: number, end: number): void {
  const c = parse(a, dev, d, data, end, C.readGre(a, dev, true))
  validate(a, dev, c)
  C.writeGre(a, dev, c)
  a.m[(dev + N.NETDEV_MTU) >> 2] = mtuOf(a, dev, c)
}

/** ip6gre_fill_info: same attributes, same order. */
export function fillInfo(a: Arena, dev: number, b: Builder): void {
  const c = C.readGre(a, dev, true)
  if (C.isErspan(a, dev)) C.fillErspan(c, b)
  C.fillEnds(c, b)
  b.attrU8(L.IFLA_GRE_TTL, c.ttl)
  b.attrU8(L.IFLA_GRE_ENCAP_LIMIT, c.encapLimit)
  b.attrBe32(L.IFLA_GRE_FLOWINFO, c.flowinfo)
  b.attrU32(L.IFLA_GRE_FLAGS, c.tnlFlags)
  b.attrU32(L.IFLA_GRE_FWMARK, c.fwmark)
  C.fillEncap(b)
  if (c.external) b.attrFlag(L.IFLA_GRE_COLLECT_METADATA)
}
