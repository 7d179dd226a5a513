// GRE over IPv4 (RFC 2784, RFC 2890): gretap carries Ethernet frames, gre what is behind their Ethernet header.
//
//   |C|0|K|S|  Reserved0      | Ver |         Protocol Type         |
//   |      Checksum (optional)      |       Reserved1 (optional)    |
//   |                         Key (optional)                        |
//
// What the outer headers say is ip_md_tunnel_xmit (external devices) and ip_tunnel_xmit (others) of Linux 6.1. Unlike the
// UDP tunnels, both take the ttl of the inner packet when nobody said one, and both refuse, with ICMP, inner packets that
// may not be fragmented and are longer than the device's MTU (HEADER_INNER_MTU). An external device has a key and a
// checksum when the metadata say so; tunnel_key asks for a checksum unless told `nocsum`.

import type { Arena } from '../memory/arena.ts'
import * as T from '../memory/layout/action.ts'
import * as H from '../memory/layout/encap.ts'
import {
  NETDEV_F_EXTERNAL,
  NETDEV_F_L3,
  NETDEV_FEATURES,
  NETDEV_KIND_GRE,
  NETDEV_KIND_GRETAP,
  NETDEV_MTU,
  NETDEV_TUN,
} from '../memory/layout/netdev.ts'
import { SLOW_NO_KEY, SLOW_NO_REMOTE, SLOW_NONE } from '../memory/layout/slow.ts'
import { isAny } from '../net/inet.ts'
import { AF_INET } from '../wire/rtm_route.ts'
import * as Link from './gre_link.ts'
import { DEFAULT_TTL, type Outer, type TunnelType } from './tunnel.ts'

const IPPROTO_GRE = 47
const ETH_P_TEB = 0x6558
const IPV4_LEN = 20
const ETH_LEN = 14
// Flags of the header.
const GRE_CSUM = 0x8000
const GRE_KEY = 0x2000

const has = (a: Arena, dev: number, feature: number): boolean => (a.m[(dev + NETDEV_FEATURES) >> 2] & feature) !== 0

/** Metadata of what is sent: the packet's for an external device, else the device's own. */
const keyOf = (a: Arena, dev: number, given: number): number =>
  has(a, dev, NETDEV_F_EXTERNAL) ? given : a.m[(dev + NETDEV_TUN) >> 2]

/** gre_calc_hlen. */
const greLength = (flags: number): number => 4 + (flags & T.TUNNEL_CSUM ? 4 : 0) + (flags & T.TUNNEL_KEY ? 4 : 0)

function outer(a: Arena, dev: number, given: number, out: Outer): number {
  const external = has(a, dev, NETDEV_F_EXTERNAL)
  const tun = keyOf(a, dev, given)
  if (tun === 0 || !(a.m[(tun + T.TUN_MODE) >> 2] & T.TUN_TX)) return SLOW_NO_KEY
  if (a.m[(tun + T.TUN_MODE) >> 2] & T.TUN_IPV6) return SLOW_NO_KEY
  const flags = a.m[(tun + T.TUN_FLAGS) >> 2]
  const ethernet = !has(a, dev, NETDEV_F_L3)
  for (let i = 0; i < 16; i++) {
    out.src[i] = a.u8[tun + T.TUN_SRC + i]
    out.dst[i] = a.u8[tun + T.TUN_DST + i]
  }
  if (!external && isAny(out.dst)) return SLOW_NO_REMOTE
  out.family = AF_INET
  out.oif = external ? 0 : a.m[(dev + Link.GRE_LINK) >> 2]
  out.proto = IPPROTO_GRE
  out.tos = a.u8[tun + T.TUN_TOS]
  out.ttl = a.u8[tun + T.TUN_TTL]
  out.label = 0
  out.flags = H.HEADER_F_GRE | (flags & T.TUNNEL_CSUM ? H.HEADER_F_CSUM : 0) | (ethernet ? 0 : H.HEADER_F_INNER_TYPE)
  out.portMin = 0
  out.portCount = 0
  out.length = greLength(flags)
  out.strip = ethernet ? 0 : ETH_LEN
  out.ethertypes = 0
  if (external ? out.tos === 1 : out.tos & 1) {
    out.tos = 0
    out.flags |= H.HEADER_F_TOS_INHERIT
  }
  if (out.ttl === 0) {
    out.ttl = DEFAULT_TTL
    out.flags |= H.HEADER_F_TTL_INHERIT
  }
  const df = external ? (flags & T.TUNNEL_DONT_FRAGMENT) !== 0 : a.u8[dev + Link.GRE_PMTUDISC] !== 0
  if (df) out.flags |= H.HEADER_F_DF_SET
  else if (!external && !a.u8[dev + Link.GRE_IGNORE_DF]) out.flags |= H.HEADER_F_DF_INHERIT
  out.innerMtu = df ? -(IPV4_LEN + out.length + (ethernet ? ETH_LEN : 0)) : a.m[(dev + NETDEV_MTU) >> 2]
  return SLOW_NONE
}

/** gre_build_header. */
function write(a: Arena, dev: number, given: number, _out: Outer, d: DataView, o: number): void {
  const tun = keyOf(a, dev, given)
  const flags = a.m[(tun + T.TUN_FLAGS) >> 2]
  const [csum, key] = [flags & T.TUNNEL_CSUM, flags & T.TUNNEL_KEY]
  d.setUint16(o, (csum ? GRE_CSUM : 0) | (key ? GRE_KEY : 0))
  d.setUint16(o + 2, has(a, dev, NETDEV_F_L3) ? 0 : ETH_P_TEB) // a layer 3 tunnel says what each packet is
  if (csum) d.setUint32(o + 4, 0)
  if (key) d.setUint32(o + 4 + (csum ? 4 : 0), a.m[(tun + T.TUN_ID) >> 2])
}

const type = (name: string, kind: number): TunnelType => ({
  name,
  kind,
  proto: IPPROTO_GRE,
  newlink: Link.newlink,
  changelink: Link.changelink,
  dellink: Link.dellink,
  fillInfo: Link.fillInfo,
  outer,
  write,
})

export const gretap = type('gretap', NETDEV_KIND_GRETAP)
export const gre = type('gre', NETDEV_KIND_GRE)
