// MPLS or IP received behind nothing but UDP (drivers/net/bareudp.c: bareudp_udp_encap_recv).
//
// There is no header that says what a packet is: IP says it itself, MPLS is multicast when the outer packet is. The
// metadata have a key that nobody gave: 0.

import { TUNNEL_KEY } from '../../memory/layout/action.ts'
import { BAREUDP_ETHERTYPE, BAREUDP_MULTIPROTO } from '../../memory/layout/bareudp.ts'
import { DROP_TUNNEL_HEADER } from '../../memory/layout/drop.ts'
import { PKT_LEN } from '../../memory/layout/packet.ts'
import { BE_IP, BE_IPV6, BE_MPLS_MC, BE_MPLS_UC } from './frame.ts'
import { drop } from './state.ts'
import { outerTos, packetUp, setUdpTunnel } from './tunnel_input.ts'

const UDP_LEN: u32 = 8

/** The protocol of what is in the packet, 0 when the device does not take it. */
function protocolOf(dev: usize, data: usize, udp: u32, len: u32, family: u32): u32 {
  const type = <u32>load<u16>(dev, BAREUDP_ETHERTYPE)
  const multi = load<u16>(dev, BAREUDP_MULTIPROTO) != 0
  if (type == BE_IP) {
    if (len <= udp + UDP_LEN) return 0
    const version = load<u8>(data + udp + UDP_LEN) >>> 4
    if (version == 4) return BE_IP
    return version == 6 && multi ? BE_IPV6 : 0
  }
  if (type != BE_MPLS_UC) return type
  const dst = <u32>load<u8>(data + udp - (family == 4 ? 4 : 16))
  if (family == 4 ? (dst & 0xf0) != 0xe0 : dst != 0xff) return type
  return multi ? BE_MPLS_MC : 0
}

/** A packet for the device's port whose outer headers are right. `udp`: offset of the UDP header. */
export function bareudpInput(pkt: usize, dev: usize, data: usize, udp: u32, family: u32): void {
  const type = protocolOf(dev, data, udp, load<u32>(pkt, PKT_LEN), family)
  if (type == 0) {
    drop(pkt, DROP_TUNNEL_HEADER)
    return
  }
  setUdpTunnel(pkt, data, udp, family, TUNNEL_KEY, 0)
  packetUp(pkt, dev, data, udp + UDP_LEN, outerTos(data, udp, family), type)
}
