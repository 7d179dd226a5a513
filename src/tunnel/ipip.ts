// IP in IP (RFC 2003, RFC 4213, RFC 2473): ipip and sit over IPv4, ip6tnl over IPv6. There is no header between; the outer
// one's protocol says what is inside: IPv4, IPv6 or MPLS, whatever the mode of the device lets through.
//
// Addresses, ttl, tos and DF are those of GRE devices (gre.ts; ip_tunnel_xmit, ipip6_tunnel_xmit, ip6_tnl_xmit of Linux
// 6.1). Over IPv6 the inner ECN goes out, which GRE does not let. ipip and ip6tnl may be external; sit may not.

import type { Arena } from '../memory/arena.ts'
import * as T from '../memory/layout/action.ts'
import * as H from '../memory/layout/encap.ts'
import { GRE_MODE } from '../memory/layout/gre.ts'
import * as N from '../memory/layout/netdev.ts'
import { SLOW_NONE } from '../memory/layout/slow.ts'
import { AF_INET6 } from '../wire/rtm_route.ts'
import { has, keyOf, outer4, outer6, writeExtension } from './gre.ts'
import * as Link from './ipip_link.ts'
import type { Outer, TunnelType } from './tunnel.ts'

const IPPROTO_DSTOPTS = 60
// EtherTypes as on the wire, loaded little-endian.
const BE_IP = 0x0008
const BE_IPV6 = 0xdd86
const BE_MPLS = 0x4788

/** EtherTypes that a mode carries; of `any`, the two that the kind is for (MPLS goes by its own mode, and in ipip). */
function typesOf(kind: number, mode: number): number {
  if (mode === Link.IPPROTO_IPIP) return BE_IP
  if (mode === Link.IPPROTO_IPV6) return BE_IPV6
  if (mode === Link.IPPROTO_MPLS) return BE_MPLS
  return BE_IP | ((kind === N.NETDEV_KIND_IPIP ? BE_MPLS : BE_IPV6) << 16)
}

const outer =
  (over: TunnelType['outer']): TunnelType['outer'] =>
  (a: Arena, dev: number, given: number, out: Outer): number => {
    const why = over(a, dev, given, out)
    if (why !== SLOW_NONE) return why
    const kind = a.m[(dev + N.NETDEV_KIND) >> 2]
    const mode = a.u8[dev + GRE_MODE]
    out.flags &= ~(H.HEADER_F_GRE | H.HEADER_F_INNER_TYPE | H.HEADER_F_CSUM | H.HEADER_F_SEQ | H.HEADER_F_NO_ECN)
    if (mode === 0) out.flags |= H.HEADER_F_INNER_PROTO
    if (out.extension === 0) out.proto = mode
    out.length = out.extension
    out.ethertypes = typesOf(kind, mode)
    // sit looks at sizes only where the outer packet has DF.
    if (kind === N.NETDEV_KIND_SIT && !(out.flags & H.HEADER_F_DF_SET)) out.innerMtu = 0
    if (out.family === AF_INET6 && has(a, dev, N.NETDEV_F_EXTERNAL)) {
      const tun = keyOf(a, dev, given)
      for (let i = 0; i < 16; i++) out.src[i] = a.u8[tun + T.TUN_SRC + i]
    }
    return SLOW_NONE
  }

function write(a: Arena, dev: number, _given: number, out: Outer, d: DataView, at: number): void {
  writeExtension(a, dev, out, d, at)
  if (out.proto === IPPROTO_DSTOPTS) d.setUint8(at, a.u8[dev + GRE_MODE])
}

const type = (name: string, kind: number, over: TunnelType['outer']): TunnelType => ({
  name,
  kind,
  proto: Link.IPPROTO_IPIP,
  newlink: Link.newlink,
  changelink: Link.changelink,
  dellink: Link.dellink,
  fillInfo: Link.fillInfo,
  mtuRange: Link.mtuRange,
  mtuTaken: Link.mtuTaken,
  outer: outer(over),
  write,
})

export const ipip = type('ipip', N.NETDEV_KIND_IPIP, outer4)
export const sit = type('sit', N.NETDEV_KIND_SIT, outer4)
export const ip6tnl = type('ip6tnl', N.NETDEV_KIND_IP6TNL, outer6)
