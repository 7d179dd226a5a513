// What all tunnels share when they receive: which device a UDP port belongs to, the metadata that a packet of an external
// device keeps of its outer headers (udp_tun_rx_dst, ip_tun_rx_dst), and its way up from the tunnel device.
//
// A packet of a device of layer 3 has no Ethernet header: its protocol stands in the two bytes in front of it, as behind
// an action that takes the Ethernet header away (frame.ts: isBare).

import {
  TUN_DST,
  TUN_FLAGS,
  TUN_ID,
  TUN_ID_HI,
  TUN_IPV6,
  TUN_LABEL,
  TUN_MODE,
  TUN_SRC,
  TUN_TOS,
  TUN_TP_SRC,
  TUNNEL_CSUM,
} from '../../memory/layout/action.ts'
import {
  IFF_UP,
  NETDEV_F_EXTERNAL,
  NETDEV_FEATURES,
  NETDEV_FLAGS,
  NETDEV_IFINDEX,
  NETDEV_KIND,
  NETDEV_KIND_BAREUDP,
  NETDEV_RX_COUNTER,
  NETDEV_TP_NEXT,
  NETDEV_TUN,
  TP_PROTO,
} from '../../memory/layout/netdev.ts'
import {
  PKT_DATA,
  PKT_FLAGS,
  PKT_LEN,
  PKT_TUN,
  PKT_TUN_INFO,
  PKT_TYPE_DEV_SHIFT,
  PKT_TYPE_SHIFT,
} from '../../memory/layout/packet.ts'
import { SUPER_UDP_PORTS } from '../../memory/layout/super.ts'
import { DROP_INNER_HEADER, DROP_TUNNEL_ECN } from '../../memory/layout/drop.ts'
import { defer } from './backlog.ts'
import { decapsulateEcn } from './ecn.ts'
import { BE_IP, BE_IPV6, ETH_LEN, isVlan, setNetworkHeader } from './frame.ts'
import { deliver } from './input.ts'
import { count, drop, mirredNest } from './state.ts'

/** PACKET_HOST, as PKT_FLAGS has it. */
const TYPE_HOST: u32 = 1

/** Has the device a socket for packets over this family? Without a remote of IPv6 a classic one has IPv4 alone. */
export function takesFamily(dev: usize, family: u32): bool {
  if ((load<u32>(dev, NETDEV_FEATURES) & NETDEV_F_EXTERNAL) != 0 || load<u32>(dev, NETDEV_KIND) == NETDEV_KIND_BAREUDP) {
    return true
  }
  const tun = load<usize>(dev, NETDEV_TUN)
  const ipv6 = tun != 0 && (load<u32>(tun, TUN_MODE) & TUN_IPV6) != 0
  return ipv6 == (family == 6)
}

/** First tunnel device that listens on the port (as loaded) over this family, 0 when none does. */
export function tunnelPort(port: u32, family: u32): usize {
  return open(load<usize>(load<usize>(SUPER_UDP_PORTS) + ((<usize>port) << 2)), family)
}

/** First tunnel device that takes packets of an IP protocol of its own, 0 when none does. */
// @ts-ignore: decorator
@inline
export function protocolTunnel(ipProto: u32): usize {
  // IPv6 and MPLS in IP are on the list of IP in IP.
  const list: u32 = ipProto == 41 || ipProto == 137 ? 4 : ipProto
  return load<usize>(load<usize>(SUPER_UDP_PORTS) + ((<usize>(TP_PROTO + list)) << 2))
}

/** The next one behind `dev`. */
export function nextTunnel(dev: usize, family: u32): usize {
  return open(load<usize>(dev, NETDEV_TP_NEXT), family)
}

/** The first, from `dev` on, that is up and takes the family. */
function open(dev: usize, family: u32): usize {
  while (dev != 0 && !((load<u32>(dev, NETDEV_FLAGS) & IFF_UP) != 0 && takesFamily(dev, family))) {
    dev = load<usize>(dev, NETDEV_TP_NEXT)
  }
  return dev
}

/** tos or traffic class of the outer packet. `at`: offset of what follows its plain IP header. */
export function outerTos(data: usize, at: u32, family: u32): u32 {
  return family == 4 ? <u32>load<u8>(data + at - 19) : (<u32>bswap<u16>(load<u16>(data + at - 40)) >> 4) & 255
}

/** The packet's tunnel metadata from its outer IP header, which ends at `at`. TUNNEL_* in `flags`. */
export function setTunnel(pkt: usize, data: usize, at: u32, family: u32, flags: u32, id: u32): void {
  const tun = pkt + PKT_TUN_INFO
  const zero = i64x2.splat(0)
  v128.store(tun, zero, 0)
  v128.store(tun, zero, 16)
  v128.store(tun, zero, 32)
  v128.store(tun, zero, 48)
  const t = data + at
  if (family == 4) {
    const ip = t - 20
    store<u32>(tun, load<u32>(ip, 12), TUN_SRC)
    store<u32>(tun, load<u32>(ip, 16), TUN_DST)
    store<u16>(tun, <u16>load<u8>(ip, 1) | (<u16>load<u8>(ip, 8) << 8), TUN_TOS)
  } else {
    const ip = t - 40
    store<u32>(tun, TUN_IPV6, TUN_MODE)
    v128.store(tun, v128.load(ip, 8), TUN_SRC)
    v128.store(tun, v128.load(ip, 24), TUN_DST)
    const word = bswap<u32>(load<u32>(ip))
    store<u16>(tun, <u16>((word >>> 20) & 255) | (<u16>load<u8>(ip, 7) << 8), TUN_TOS)
    store<u32>(tun, word & 0xfffff, TUN_LABEL)
  }
  store<u32>(tun, flags, TUN_FLAGS)
  store<u32>(tun, 0, TUN_ID_HI)
  store<u32>(tun, id, TUN_ID)
  store<usize>(pkt, tun, PKT_TUN)
}

/** udp_tun_rx_dst: likewise, with the ports, and whether there was a checksum. `udp`: offset of the UDP header. */
export function setUdpTunnel(pkt: usize, data: usize, udp: u32, family: u32, flags: u32, id: u32): void {
  const t = data + udp
  setTunnel(pkt, data, udp, family, load<u16>(t, 6) != 0 ? flags | TUNNEL_CSUM : flags, id)
  store<u32>(pkt + PKT_TUN_INFO, load<u32>(t), TUN_TP_SRC)
}

/** pskb_inet_may_pull: an inner IP packet has its header. `n`: bytes from the IP header on. */
// @ts-ignore: decorator
@inline
export function isInnerCut(type: u32, n: i32): bool {
  return (type == BE_IP && n < 20) || (type == BE_IPV6 && n < 40)
}

/**
 * skb_protocol(skb, true) of a frame in which the kernel has not looked for its Ethernet header yet (ip_tunnel_rcv): what
 * is behind all tags, while the ECN is looked for behind the Ethernet header, in the first tag. 0: cut short.
 */
export function typeBehindTags(inner: usize, n: u32): u32 {
  for (let at: u32 = 12; at + 2 <= n; at += 4) {
    const type = <u32>load<u16>(inner + at)
    if (!isVlan(type)) return type
  }
  return 0
}

/**
 * The packet leaves its outer headers and comes up from `dev`: an Ethernet frame that begins at offset `at`, its header
 * whole. ECN first, as of a packet of protocol `ecnType`.
 */
export function frameUp(pkt: usize, dev: usize, data: usize, at: u32, tos: u32, ecnType: u32): void {
  const inner = data + at
  const n = load<u32>(pkt, PKT_LEN) - at
  if (isInnerCut(load<u16>(inner, 12), <i32>(n - ETH_LEN))) drop(pkt, DROP_INNER_HEADER)
  else if (!decapsulateEcn(tos, inner + ETH_LEN, ecnType)) drop(pkt, DROP_TUNNEL_ECN)
  else up(pkt, dev, inner, n, n - ETH_LEN, load<u32>(dev, NETDEV_IFINDEX) << PKT_TYPE_DEV_SHIFT)
}

/** Likewise for a device of layer 3: a packet of protocol `type` (as loaded) that begins at offset `at`. */
export function packetUp(pkt: usize, dev: usize, data: usize, at: u32, tos: u32, type: u32): void {
  const inner = data + at
  const n = load<u32>(pkt, PKT_LEN) - at
  if (isInnerCut(type, <i32>n)) {
    drop(pkt, DROP_INNER_HEADER)
    return
  }
  if (!decapsulateEcn(tos, inner, type)) {
    drop(pkt, DROP_TUNNEL_ECN)
    return
  }
  store<u16>(inner - 2, <u16>type)
  store<u32>(pkt, TYPE_HOST << PKT_TYPE_SHIFT, PKT_FLAGS)
  setNetworkHeader(pkt, inner)
  up(pkt, dev, inner, n, n, load<u32>(pkt, PKT_FLAGS) | (load<u32>(dev, NETDEV_IFINDEX) << PKT_TYPE_DEV_SHIFT))
}

function up(pkt: usize, dev: usize, inner: usize, len: u32, bytes: u32, flags: u32): void {
  store<usize>(pkt, inner, PKT_DATA)
  store<u32>(pkt, len, PKT_LEN)
  store<u32>(pkt, flags, PKT_FLAGS)
  count(load<u32>(dev, NETDEV_RX_COUNTER), bytes)
  // The kernel's NAPI takes it when the work at hand is done.
  if (mirredNest != 0) defer(pkt, dev)
  else deliver(pkt, dev)
}
