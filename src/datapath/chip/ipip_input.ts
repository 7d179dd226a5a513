// IP or MPLS received in IP itself (net/ipv4/ipip.c: ipip_tunnel_rcv; net/ipv6/sit.c: ipip6_rcv, sit_tunnel_rcv;
// net/ipv6/ip6_tunnel.c: ipxip6_rcv). The protocol of the outer header says what is inside.

import {
  NETDEV_KIND_IP6TNL,
  NETDEV_KIND_IPIP,
  NETDEV_KIND_SIT,
} from '../../memory/layout/netdev.ts'
import { DROP_TUNNEL_PROTOCOL } from '../../memory/layout/drop.ts'
import { GRE_MODE } from '../../memory/layout/gre.ts'
import { PKT_TUN } from '../../memory/layout/packet.ts'
import { BE_IP, BE_IPV6, BE_MPLS_UC } from './frame.ts'
import { addressAt, ipTunnelOf, isExternal, KEYLESS } from './ip_tunnel.ts'
import { drop } from './state.ts'
import { outerTos, packetUp, setTunnel } from './tunnel_input.ts'

export const IPPROTO_IPIP: u32 = 4
export const IPPROTO_IPV6: u32 = 41
export const IPPROTO_MPLS: u32 = 137

/** A packet whose outer headers are right; `at`: offset of the inner one. False: nobody took it, it is the host's. */
export function ipipInput(pkt: usize, data: usize, at: u32, family: u32, iif: u32, ipProto: u32): bool {
  const ip = data + at - (family == 4 ? 20 : 40)
  const remote = addressAt(ip + (family == 4 ? 12 : 8), family)
  const local = addressAt(ip + (family == 4 ? 16 : 24), family)
  let dev: usize = 0
  if (family == 6) {
    dev = ipTunnelOf(IPPROTO_IPIP, NETDEV_KIND_IP6TNL, remote, local, family, iif, 0, KEYLESS)
  } else {
    if (ipProto != IPPROTO_IPV6) dev = ipTunnelOf(IPPROTO_IPIP, NETDEV_KIND_IPIP, remote, local, family, iif, 0, KEYLESS)
    if (dev == 0) dev = ipTunnelOf(IPPROTO_IPIP, NETDEV_KIND_SIT, remote, local, family, iif, 0, KEYLESS)
  }
  if (dev == 0) return false
  const mode = <u32>load<u8>(dev, GRE_MODE)
  if (mode != 0 && mode != ipProto) {
    drop(pkt, DROP_TUNNEL_PROTOCOL)
    return true
  }
  if (isExternal(dev)) setTunnel(pkt, data, at, family, 0, 0)
  else store<usize>(pkt, 0, PKT_TUN)
  const type: u32 = ipProto == IPPROTO_IPIP ? BE_IP : ipProto == IPPROTO_IPV6 ? BE_IPV6 : BE_MPLS_UC
  packetUp(pkt, dev, data, at, outerTos(data, at, family), type)
  return true
}
