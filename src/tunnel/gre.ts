// GRE (RFC 2784, RFC 2890): gretap and ip6gretap carry Ethernet frames, gre and ip6gre what is behind their Ethernet header.
//
//   |C|0|K|S|  Reserved0      | Ver |         Protocol Type         |
//   |      Checksum (optional)      |       Reserved1 (optional)    |
//   |                         Key (optional)                        |
//   |                   Sequence Number (optional)                  |
//
// What the outer headers say over IPv4 is ip_md_tunnel_xmit (external devices) and ip_tunnel_xmit (others) of Linux 6.1:
// they take the ttl of the inner packet when nobody said one, and do not send inner packets that may not be fragmented and
// are longer than the device's MTU. Over IPv6 it is ip6_tnl_xmit: no ECN goes out, the flow label is a hash when nobody
// said one, an external device selects its source itself, and a device of its own sends a limit of nested encapsulations
// along in a destination option (RFC 2473).
//
// An external device has a key and a checksum when the metadata say so; tunnel_key asks for a checksum unless told
// `nocsum`. A device of its own has what it was told.

import type { Arena } from '../memory/arena.ts'
import * as T from '../memory/layout/action.ts'
import * as H from '../memory/layout/encap.ts'
import * as G from '../memory/layout/gre.ts'
import * as N from '../memory/layout/netdev.ts'
import { SLOW_NO_KEY, SLOW_NO_REMOTE, SLOW_NONE, SLOW_SOURCE } from '../memory/layout/slow.ts'
import { isAny } from '../net/inet.ts'
import { AF_INET, AF_INET6 } from '../wire/rtm_route.ts'
import * as Link from './gre_link.ts'
import * as Link6 from './gre6_link.ts'
import { DEFAULT_TTL, type Outer, type TunnelType } from './tunnel.ts'

export const IPPROTO_GRE = 47
const IPPROTO_DSTOPTS = 60
const ETH_P_TEB = 0x6558
const ETH_LEN = 14
/** A destination options header with the encapsulation limit, and padding. */
const ENCAP_LIMIT_LEN = 8
const IPV6_TLV_TNL_ENCAP_LIMIT = 4
const IPV6_TLV_PADN = 1

export const has = (a: Arena, dev: number, feature: number): boolean =>
  (a.m[(dev + N.NETDEV_FEATURES) >> 2] & feature) !== 0

/** Metadata of what is sent: the packet's for an external device, else the device's own. */
export const keyOf = (a: Arena, dev: number, given: number): number =>
  has(a, dev, N.NETDEV_F_EXTERNAL) ? given : a.m[(dev + N.NETDEV_TUN) >> 2]

/** gre_calc_hlen, of TUNNEL_*. */
export const greLength = (flags: number): number =>
  4 + (flags & T.TUNNEL_CSUM ? 4 : 0) + (flags & T.TUNNEL_KEY ? 4 : 0) + (flags & T.TUNNEL_SEQ ? 4 : 0)

/** Is the key one that a device over this family sends with? */
function isKey(a: Arena, tun: number, family: number): boolean {
  if (tun === 0) return false
  const mode = a.m[(tun + T.TUN_MODE) >> 2]
  return (mode & T.TUN_TX) !== 0 && (mode & T.TUN_IPV6 ? AF_INET6 : AF_INET) === family
}

/** What the two families and all that is in GRE share. SLOW_*. */
function common(a: Arena, dev: number, tun: number, family: number, out: Outer): number {
  if (!isKey(a, tun, family)) return SLOW_NO_KEY
  const external = has(a, dev, N.NETDEV_F_EXTERNAL)
  const ethernet = !has(a, dev, N.NETDEV_F_L3)
  const flags = a.m[(tun + T.TUN_FLAGS) >> 2]
  for (let i = 0; i < 16; i++) {
    out.src[i] = a.u8[tun + T.TUN_SRC + i]
    out.dst[i] = a.u8[tun + T.TUN_DST + i]
  }
  if (!external && isAny(out.dst)) return SLOW_NO_REMOTE
  out.family = family
  out.oif = external ? 0 : a.m[(dev + G.GRE_LINK) >> 2]
  out.proto = IPPROTO_GRE
  out.tos = a.u8[tun + T.TUN_TOS]
  out.ttl = a.u8[tun + T.TUN_TTL]
  out.label = 0
  out.flags = H.HEADER_F_GRE | H.HEADER_F_LOOKS | H.HEADER_F_WHOLE
  if (flags & T.TUNNEL_CSUM) out.flags |= H.HEADER_F_CSUM
  if (flags & T.TUNNEL_SEQ) out.flags |= H.HEADER_F_SEQ
  if (!ethernet) out.flags |= H.HEADER_F_INNER_TYPE
  out.portMin = 0
  out.portCount = 0
  out.length = greLength(flags)
  out.extension = 0
  out.strip = ethernet ? 0 : ETH_LEN
  out.ethertypes = 0
  out.innerMtu = a.m[(dev + N.NETDEV_MTU) >> 2]
  if (out.ttl === 0) {
    out.ttl = DEFAULT_TTL
    out.flags |= H.HEADER_F_TTL_INHERIT
  }
  return SLOW_NONE
}

/** See TunnelType.outer: over IPv4. */
export function outer4(a: Arena, dev: number, given: number, out: Outer): number {
  const tun = keyOf(a, dev, given)
  const why = common(a, dev, tun, AF_INET, out)
  if (why !== SLOW_NONE) return why
  const external = has(a, dev, N.NETDEV_F_EXTERNAL)
  if (external ? out.tos === 1 : out.tos & 1) {
    out.tos &= ~1
    out.flags |= H.HEADER_F_TOS_INHERIT
  }
  const flags = a.m[(tun + T.TUN_FLAGS) >> 2]
  const df = external ? (flags & T.TUNNEL_DONT_FRAGMENT) !== 0 : a.u8[dev + G.GRE_PMTUDISC] !== 0
  if (df) out.flags |= H.HEADER_F_DF_SET
  else if (!external && !a.u8[dev + G.GRE_IGNORE_DF]) out.flags |= H.HEADER_F_DF_INHERIT
  return SLOW_NONE
}

/** See TunnelType.outer: over IPv6. */
export function outer6(a: Arena, dev: number, given: number, out: Outer): number {
  const tun = keyOf(a, dev, given)
  const why = common(a, dev, tun, AF_INET6, out)
  if (why !== SLOW_NONE) return why
  out.flags |= H.HEADER_F_NO_ECN | H.HEADER_F_FLOW_LABEL | H.HEADER_F_NO_RETURN
  out.label = a.m[(tun + T.TUN_LABEL) >> 2]
  if (has(a, dev, N.NETDEV_F_EXTERNAL)) {
    out.src.fill(0)
    return SLOW_NONE
  }
  if (isAny(out.src)) return SLOW_SOURCE // ip6_tnl_xmit_ctl: both ends must be known
  const flags = a.m[(dev + G.GRE_TNL_FLAGS) >> 2]
  if (flags & Link6.IP6_TNL_F_USE_ORIG_TCLASS) out.flags |= H.HEADER_F_TOS_INHERIT
  if (flags & Link6.IP6_TNL_F_USE_ORIG_FLOWLABEL) out.flags |= H.HEADER_F_LABEL_INHERIT
  if (!(flags & Link6.IP6_TNL_F_IGN_ENCAP_LIMIT)) {
    out.proto = IPPROTO_DSTOPTS
    out.extension = ENCAP_LIMIT_LEN
    out.length += ENCAP_LIMIT_LEN
  }
  return SLOW_NONE
}

/** ipv6_push_frag_opts of an encapsulation limit, where there is one. Where the transport header begins. */
export function writeExtension(a: Arena, dev: number, out: Outer, d: DataView, o: number): number {
  if (out.extension === 0) return o
  d.setUint8(o, IPPROTO_GRE)
  d.setUint8(o + 1, 0)
  d.setUint8(o + 2, IPV6_TLV_TNL_ENCAP_LIMIT)
  d.setUint8(o + 3, 1)
  d.setUint8(o + 4, a.u8[dev + G.GRE_ENCAP_LIMIT])
  d.setUint8(o + 5, IPV6_TLV_PADN)
  d.setUint8(o + 6, 1)
  d.setUint8(o + 7, 0)
  return o + out.extension
}

/** gre_build_header. */
export function writeGre(d: DataView, o: number, flags: number, protocol: number, key: number): void {
  const [csum, keyed, seq] = [flags & T.TUNNEL_CSUM, flags & T.TUNNEL_KEY, flags & T.TUNNEL_SEQ]
  d.setUint16(o, (csum ? G.GRE_F_CSUM : 0) | (keyed ? G.GRE_F_KEY : 0) | (seq ? G.GRE_F_SEQ : 0))
  d.setUint16(o + 2, protocol)
  if (csum) d.setUint32(o + 4, 0)
  const at = o + 4 + (csum ? 4 : 0)
  if (keyed) d.setUint32(at, key)
  if (seq) d.setUint32(at + (keyed ? 4 : 0), 0)
}

function write(a: Arena, dev: number, given: number, out: Outer, d: DataView, at: number): void {
  const tun = keyOf(a, dev, given)
  // A layer 3 tunnel says what each packet is.
  const protocol = has(a, dev, N.NETDEV_F_L3) ? 0 : ETH_P_TEB
  const o = writeExtension(a, dev, out, d, at)
  writeGre(d, o, a.m[(tun + T.TUN_FLAGS) >> 2], protocol, a.m[(tun + T.TUN_ID) >> 2])
}

const over4 = (name: string, kind: number): TunnelType => ({
  name,
  kind,
  proto: IPPROTO_GRE,
  newlink: Link.newlink,
  changelink: Link.changelink,
  dellink: Link.dellink,
  fillInfo: Link.fillInfo,
  mtuRange: Link.mtuRange,
  mtuTaken: Link.mtuTaken,
  outer: outer4,
  write,
})
const over6 = (name: string, kind: number): TunnelType => ({
  ...over4(name, kind),
  newlink: Link6.newlink,
  changelink: Link6.changelink,
  dellink: Link6.dellink,
  fillInfo: Link6.fillInfo,
  mtuRange: Link6.mtuRange,
  mtuTaken: Link6.mtuTaken,
  outer: outer6,
})

export const gretap = over4('gretap', N.NETDEV_KIND_GRETAP)
export const gre = over4('gre', N.NETDEV_KIND_GRE)
export const ip6gretap = over6('ip6gretap', N.NETDEV_KIND_IP6GRETAP)
export const ip6gre = over6('ip6gre', N.NETDEV_KIND_IP6GRE)
