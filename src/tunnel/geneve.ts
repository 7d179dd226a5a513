// Geneve (RFC 8926): an Ethernet frame behind UDP, eight bytes, and options.
//
//   |Ver|  Opt Len  |O|C|    Rsvd.  |          Protocol Type        |
//   |        Virtual Network Identifier (VNI)       |    Reserved   |
//   |                    Variable-Length Options                    |
//
// What the outer headers say is geneve_xmit_skb of Linux 6.1. Two things differ from vxlan: an external device sends the
// ttl of the metadata as it is, 0 when nobody said one; and the UDP port is always the device's, whatever the metadata
// say. The kernel takes source ports from 1 to 65534; here they are of the system's range, which is part of it and is what
// vxlan has: no port of a service appears as a source.

import type { Arena } from '../memory/arena.ts'
import {
  TUN_DST,
  TUN_FLAGS,
  TUN_ID,
  TUN_IPV6,
  TUN_LABEL,
  TUN_MODE,
  TUN_OPTS,
  TUN_OPTS_KIND,
  TUN_OPTS_LEN,
  TUN_SRC,
  TUN_TOS,
  TUN_TTL,
  TUN_TX,
  TUNNEL_CRIT_OPT,
  TUNNEL_CSUM,
  TUNNEL_DONT_FRAGMENT,
  TUNNEL_GENEVE_OPT,
  TUNNEL_OAM,
} from '../memory/layout/action.ts'
import {
  HEADER_F_ALL_TAGS,
  HEADER_F_CSUM,
  HEADER_F_DF_INHERIT,
  HEADER_F_DF_SET,
  HEADER_F_TOS_INHERIT,
  HEADER_F_TTL_INHERIT,
  HEADER_F_UDP,
} from '../memory/layout/encap.ts'
import { ENC_OPTS_GENEVE } from '../memory/layout/flow_key.ts'
import {
  NETDEV_F_EXTERNAL,
  NETDEV_FEATURES,
  NETDEV_KIND_GENEVE,
  NETDEV_TP_DST,
  NETDEV_TUN,
} from '../memory/layout/netdev.ts'
import { SLOW_NO_KEY, SLOW_NONE } from '../memory/layout/slow.ts'
import { GENEVE_DF_INHERIT, GENEVE_DF_SET } from '../wire/rtm_link.ts'
import { AF_INET, AF_INET6 } from '../wire/rtm_route.ts'
import * as Link from './geneve_link.ts'
import { DEFAULT_TTL, LOCAL_PORT_MAX, LOCAL_PORT_MIN, type Outer, type TunnelType } from './tunnel.ts'

const IPPROTO_UDP = 17
const UDP_LEN = 8
const GENEVE_LEN = 8
const ETH_P_TEB = 0x6558
const TOS_INHERIT = 1

const isExternal = (a: Arena, dev: number): boolean => (a.m[(dev + NETDEV_FEATURES) >> 2] & NETDEV_F_EXTERNAL) !== 0

/** Bytes of options that travel: those of the metadata when they are Geneve's. */
const optionsLength = (a: Arena, tun: number): number =>
  a.m[(tun + TUN_FLAGS) >> 2] & TUNNEL_GENEVE_OPT && a.u8[tun + TUN_OPTS_KIND] === ENC_OPTS_GENEVE
    ? a.u8[tun + TUN_OPTS_LEN]
    : 0

function outer(a: Arena, dev: number, given: number, out: Outer): number {
  const external = isExternal(a, dev)
  const tun = external ? given : a.m[(dev + NETDEV_TUN) >> 2]
  if (external && (tun === 0 || !(a.m[(tun + TUN_MODE) >> 2] & TUN_TX))) return SLOW_NO_KEY
  const flags = a.m[(tun + TUN_FLAGS) >> 2]
  out.family = a.m[(tun + TUN_MODE) >> 2] & TUN_IPV6 ? AF_INET6 : AF_INET
  for (let i = 0; i < 16; i++) {
    out.src[i] = a.u8[tun + TUN_SRC + i]
    out.dst[i] = a.u8[tun + TUN_DST + i]
  }
  out.oif = 0
  out.proto = IPPROTO_UDP
  out.tos = a.u8[tun + TUN_TOS]
  out.ttl = a.u8[tun + TUN_TTL]
  out.label = a.m[(tun + TUN_LABEL) >> 2]
  out.flags = HEADER_F_UDP | HEADER_F_ALL_TAGS | (flags & TUNNEL_CSUM ? HEADER_F_CSUM : 0)
  out.portMin = LOCAL_PORT_MIN
  out.portCount = LOCAL_PORT_MAX - LOCAL_PORT_MIN
  out.length = UDP_LEN + GENEVE_LEN + optionsLength(a, tun)
  out.extension = 0
  out.strip = 0
  out.ethertypes = 0
  out.innerMtu = 0
  if (external) out.flags |= flags & TUNNEL_DONT_FRAGMENT && out.family === AF_INET ? HEADER_F_DF_SET : 0
  else classic(a, dev, out)
  return SLOW_NONE
}

/** What only a device of its own can be told: to take tos, ttl and DF of the inner packet. */
function classic(a: Arena, dev: number, out: Outer): void {
  if (out.tos === TOS_INHERIT) {
    out.tos = 0
    out.flags |= HEADER_F_TOS_INHERIT
  }
  if (a.u8[dev + Link.GENEVE_TTL_INHERIT]) {
    out.ttl = DEFAULT_TTL
    out.flags |= HEADER_F_TTL_INHERIT
  } else out.ttl ||= DEFAULT_TTL
  const df = a.u8[dev + Link.GENEVE_DF]
  if (out.family !== AF_INET) return
  if (df === GENEVE_DF_SET) out.flags |= HEADER_F_DF_SET
  else if (df === GENEVE_DF_INHERIT) out.flags |= HEADER_F_DF_INHERIT
}

function write(a: Arena, dev: number, given: number, _out: Outer, d: DataView, o: number): void {
  const tun = isExternal(a, dev) ? given : a.m[(dev + NETDEV_TUN) >> 2]
  const flags = a.m[(tun + TUN_FLAGS) >> 2]
  const options = optionsLength(a, tun)
  d.setUint16(o, 0)
  d.setUint16(o + 2, a.m[(dev + NETDEV_TP_DST) >> 2], true)
  d.setUint32(o + 4, 0)
  const g = o + UDP_LEN
  d.setUint8(g, options >> 2)
  d.setUint8(g + 1, (flags & TUNNEL_OAM ? 0x80 : 0) | (flags & TUNNEL_CRIT_OPT ? 0x40 : 0))
  d.setUint16(g + 2, ETH_P_TEB)
  d.setUint32(g + 4, (a.m[(tun + TUN_ID) >> 2] & 0xffffff) << 8)
  for (let i = 0; i < options; i++) d.setUint8(g + GENEVE_LEN + i, a.u8[tun + TUN_OPTS + i])
}

export const geneve: TunnelType = {
  name: 'geneve',
  kind: NETDEV_KIND_GENEVE,
  proto: IPPROTO_UDP,
  newlink: Link.newlink,
  changelink: Link.changelink,
  dellink: Link.dellink,
  fillInfo: Link.fillInfo,
  open: Link.open,
  mtuRange: Link.mtuRange,
  outer,
  write,
}
