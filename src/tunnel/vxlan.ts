// VXLAN (RFC 7348): an Ethernet frame behind UDP and eight bytes.
//
//   0                   1                   2                   3
//   |G|R|R|R|I|R|R|R|R|D|R|R|A|R|R|R|        group policy id        |   I always; G, D, A and the id only with gbp
//   |                VNI                            |   reserved    |
//
// What the outer headers say is vxlan_xmit_one of Linux 6.1. An external device follows the packet's metadata: tos as
// given with the inner ECN on top, ttl or the route's, DF by TUNNEL_DONT_FRAGMENT, UDP checksum by TUNNEL_CSUM, port and
// VNI as given. A classic device follows its parameters, where tos 1 and the ttl flag mean "as the inner packet"; a
// tunnel key that a packet brings along changes nothing there but DF.

import type { Arena } from '../memory/arena.ts'
import {
  TUN_DST,
  TUN_FLAGS,
  TUN_ID,
  TUN_IPV6,
  TUN_LABEL,
  TUN_MODE,
  TUN_OPTS,
  TUN_OPTS_LEN,
  TUN_SRC,
  TUN_TOS,
  TUN_TP_DST,
  TUN_TTL,
  TUN_TX,
  TUNNEL_CSUM,
  TUNNEL_DONT_FRAGMENT,
  TUNNEL_VXLAN_OPT,
} from '../memory/layout/action.ts'
import {
  HEADER_F_CSUM,
  HEADER_F_DF_INHERIT,
  HEADER_F_DF_SET,
  HEADER_F_TOS_INHERIT,
  HEADER_F_TTL_INHERIT,
  HEADER_F_UDP,
} from '../memory/layout/encap.ts'
import {
  NETDEV_F_EXTERNAL,
  NETDEV_F_GBP,
  NETDEV_FEATURES,
  NETDEV_KIND_VXLAN,
  NETDEV_TP_DST,
  NETDEV_TUN,
} from '../memory/layout/netdev.ts'
import { SLOW_NO_KEY, SLOW_NO_REMOTE, SLOW_NONE, SLOW_OPTIONS, SLOW_PER_PACKET } from '../memory/layout/slow.ts'
import { isAny, isMulticast } from '../net/inet.ts'
import { VXLAN_DF_INHERIT, VXLAN_DF_SET } from '../wire/rtm_link.ts'
import { AF_INET, AF_INET6 } from '../wire/rtm_route.ts'
import { DEFAULT_TTL, LOCAL_PORT_MAX, LOCAL_PORT_MIN, type Outer, type TunnelType } from './tunnel.ts'
import { VXLAN_F_TTL_INHERIT } from './vxlan_config.ts'
import * as Link from './vxlan_link.ts'

const IPPROTO_UDP = 17
const UDP_LEN = 8
const VXLAN_LEN = 8
const VXLAN_HF_VNI = 0x08000000
const VXLAN_HF_GBP = 0x80000000
/** struct vxlan_metadata: one word, host order: policy id, and two bits that travel in the header's second byte. */
const VXLAN_GBP_ID_MASK = 0xffff
const VXLAN_GBP_POLICY_APPLIED = 1 << 19
const VXLAN_GBP_DONT_LEARN = 1 << 22
/** `tos inherit`. */
const TOS_INHERIT = 1

const isExternal = (a: Arena, dev: number): boolean => (a.m[(dev + NETDEV_FEATURES) >> 2] & NETDEV_F_EXTERNAL) !== 0

function copyAddresses(a: Arena, tun: number, out: Outer): void {
  for (let i = 0; i < 16; i++) {
    out.src[i] = a.u8[tun + TUN_SRC + i]
    out.dst[i] = a.u8[tun + TUN_DST + i]
  }
  out.family = a.m[(tun + TUN_MODE) >> 2] & TUN_IPV6 ? AF_INET6 : AF_INET
}

/** udp_flow_src_port: [min, max), the system's range when the device has none; the last one is never taken, as in the kernel. */
function ports(a: Arena, dev: number, out: Outer): void {
  let min = a.d.getUint16(dev + Link.VXLAN_PORT_MIN, true)
  let max = a.d.getUint16(dev + Link.VXLAN_PORT_MAX, true)
  if (min >= max) {
    min = LOCAL_PORT_MIN
    max = LOCAL_PORT_MAX
  }
  out.portMin = min
  out.portCount = max - min
}

function outerExternal(a: Arena, tun: number, out: Outer): number {
  if (tun === 0 || !(a.m[(tun + TUN_MODE) >> 2] & TUN_TX)) return SLOW_NO_KEY
  const flags = a.m[(tun + TUN_FLAGS) >> 2]
  if (flags & TUNNEL_VXLAN_OPT && a.u8[tun + TUN_OPTS_LEN] < 4) return SLOW_OPTIONS
  copyAddresses(a, tun, out)
  out.oif = 0
  out.tos = a.u8[tun + TUN_TOS]
  out.ttl = a.u8[tun + TUN_TTL] || DEFAULT_TTL
  out.label = a.m[(tun + TUN_LABEL) >> 2]
  out.flags |= flags & TUNNEL_CSUM ? HEADER_F_CSUM : 0
  out.flags |= flags & TUNNEL_DONT_FRAGMENT && out.family === AF_INET ? HEADER_F_DF_SET : 0
  return SLOW_NONE
}

function outerClassic(a: Arena, dev: number, tun: number, out: Outer): number {
  const own = a.m[(dev + NETDEV_TUN) >> 2]
  copyAddresses(a, own, out)
  if (isAny(out.dst)) return SLOW_NO_REMOTE
  if (a.m[(dev + NETDEV_FEATURES) >> 2] & NETDEV_F_GBP) return SLOW_PER_PACKET // the policy id is the packet's mark
  out.oif = a.m[(dev + Link.VXLAN_LINK) >> 2]
  out.tos = a.u8[own + TUN_TOS]
  if (out.tos === TOS_INHERIT) {
    out.tos = 0
    out.flags |= HEADER_F_TOS_INHERIT
  }
  if (a.m[(dev + Link.VXLAN_FLAGS) >> 2] & VXLAN_F_TTL_INHERIT) {
    out.ttl = DEFAULT_TTL
    out.flags |= HEADER_F_TTL_INHERIT
  } else {
    out.ttl = a.u8[own + TUN_TTL] || (isMulticast(out.family, out.dst) ? 1 : DEFAULT_TTL)
  }
  out.label = a.m[(own + TUN_LABEL) >> 2]
  out.flags |= a.m[(own + TUN_FLAGS) >> 2] & TUNNEL_CSUM ? HEADER_F_CSUM : 0
  if (out.family === AF_INET) {
    const df = a.u8[dev + Link.VXLAN_DF]
    if (tun !== own && tun !== 0) out.flags |= a.m[(tun + TUN_FLAGS) >> 2] & TUNNEL_DONT_FRAGMENT ? HEADER_F_DF_SET : 0
    else if (df === VXLAN_DF_SET) out.flags |= HEADER_F_DF_SET
    else if (df === VXLAN_DF_INHERIT) out.flags |= HEADER_F_DF_INHERIT
  }
  return SLOW_NONE
}

function outer(a: Arena, dev: number, tun: number, out: Outer): number {
  out.proto = IPPROTO_UDP
  out.flags = HEADER_F_UDP
  out.length = UDP_LEN + VXLAN_LEN
  out.extension = 0
  out.strip = 0
  out.ethertypes = 0
  out.innerMtu = 0
  ports(a, dev, out)
  return isExternal(a, dev) ? outerExternal(a, tun, out) : outerClassic(a, dev, tun, out)
}

/** vxlan_build_gbp_hdr: the first word's extra bits of an external device with gbp. */
function policy(a: Arena, dev: number, tun: number): number {
  if (!(a.m[(dev + NETDEV_FEATURES) >> 2] & NETDEV_F_GBP)) return 0
  if (!(a.m[(tun + TUN_FLAGS) >> 2] & TUNNEL_VXLAN_OPT)) return 0
  const gbp = a.m[(tun + TUN_OPTS) >> 2]
  if (gbp === 0) return 0
  return (
    VXLAN_HF_GBP |
    (gbp & VXLAN_GBP_DONT_LEARN ? 0x400000 : 0) |
    (gbp & VXLAN_GBP_POLICY_APPLIED ? 0x080000 : 0) |
    (gbp & VXLAN_GBP_ID_MASK)
  )
}

function write(a: Arena, dev: number, tun: number, _out: Outer, d: DataView, o: number): void {
  const external = isExternal(a, dev)
  const key = external ? tun : a.m[(dev + NETDEV_TUN) >> 2]
  // The packet's own port, else the device's; both are wire-order bytes.
  const given = external ? a.d.getUint16(key + TUN_TP_DST, true) : 0
  d.setUint32(o, 0)
  d.setUint16(o + 2, given || a.m[(dev + NETDEV_TP_DST) >> 2], true)
  d.setUint32(o + 4, 0)
  d.setUint32(o + UDP_LEN, VXLAN_HF_VNI | (external ? policy(a, dev, key) : 0))
  d.setUint32(o + UDP_LEN + 4, (a.m[(key + TUN_ID) >> 2] & 0xffffff) << 8)
}

export const vxlan: TunnelType = {
  name: 'vxlan',
  kind: NETDEV_KIND_VXLAN,
  proto: IPPROTO_UDP,
  newlink: Link.newlink,
  changelink: Link.changelink,
  dellink: Link.dellink,
  fillInfo: Link.fillInfo,
  open: Link.open,
  mtuRange: Link.mtuRange,
  mtuTaken: Link.mtuTaken,
  outer,
  write,
}
