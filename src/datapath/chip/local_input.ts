// What passed the ingress filters is for the host: its own checks, and the tunnels that end here.
//
// VLAN tags (there are no VLAN devices), the packet's type, IP headers, local addresses, UDP lengths and checksums, in
// the kernel's order (ip_rcv_core, ip_route_input, udp_rcv). A packet for the UDP port or the IP protocol of a tunnel
// device goes on in the tunnel's own file (vxlan_input.ts …). All else that the kernel's stack would look at is handed to
// the host as it is (PUNT_LOCAL); what it would drop without a word is dropped here, by name.
//
// True: the sender is told that the packet was dropped (NET_RX_DROP).

import {
  DROP_HEADROOM,
  DROP_IP_CSUM,
  DROP_IP_HEADER,
  DROP_NO_PROTOCOL,
  DROP_OTHERHOST,
  DROP_UDP_CSUM,
  DROP_UDP_LENGTH,
  DROP_VLAN,
  DROP_VLAN_UNKNOWN,
} from '../../memory/layout/drop.ts'
import {
  LOCAL_ENTRIES,
  LOCAL_ENTRY_ADDR,
  LOCAL_ENTRY_FAMILY,
  LOCAL_ENTRY_SIZE,
  LOCAL_ENTRY_TYPE,
  LOCAL_MASK,
  NETDEV_F_UDP6_ZERO_CSUM_RX,
  NETDEV_FEATURES,
  NETDEV_IFINDEX,
  NETDEV_KIND,
  NETDEV_KIND_GENEVE,
  NETDEV_KIND_VXLAN,
  NETDEV_MAC,
  NETDEV_SIZE,
} from '../../memory/layout/netdev.ts'
import {
  PKT_DATA,
  PKT_F_CSUM_VERIFIED,
  PKT_F_REASSEMBLED,
  PKT_FLAGS,
  PKT_HEADROOM,
  PKT_LEN,
  PKT_PROTO,
  PKT_TYPE_DEV_SHIFT,
  PKT_TYPE_SHIFT,
} from '../../memory/layout/packet.ts'
import { SUPER_LOCAL, SUPER_NETDEVS } from '../../memory/layout/super.ts'
import { PUNT_LOCAL } from '../../memory/layout/worker.ts'
import { bareudpInput } from './bareudp_input.ts'
import { fold, sumWords } from './checksum.ts'
import { BE_ARP, BE_IP, BE_IPV6, ETH_LEN, innerProtocol, isBare, isTagged, setNetworkHeader } from './frame.ts'
import { drop, punt } from './state.ts'
import { geneveInput } from './geneve_input.ts'
import { greInput } from './gre_input.ts'
import { ipipInput } from './ipip_input.ts'
import { protocolTunnel, tunnelPort } from './tunnel_input.ts'
import { untag } from './vlan.ts'
import { vxlanInput } from './vxlan_input.ts'

const IPPROTO_UDP: u32 = 17
const IPPROTO_GRE: u32 = 47
const RTN_LOCAL: u32 = 2
const PACKET_OTHERHOST: u32 = 3
const UDP_LEN: u32 = 8

/** PACKET_OTHERHOST: a unicast address that is not the one of the device which received the frame. */
function isOtherHost(pkt: usize, data: usize): bool {
  const type = load<u32>(pkt, PKT_FLAGS) >>> PKT_TYPE_SHIFT
  if (type != 0) return type == PACKET_OTHERHOST + 1
  if ((load<u8>(data) & 1) != 0) return false
  const dev = load<usize>(SUPER_NETDEVS) + ((load<u32>(pkt, PKT_FLAGS) >>> PKT_TYPE_DEV_SHIFT) & 0xfff) * NETDEV_SIZE
  return load<u32>(data) != load<u32>(dev, NETDEV_MAC) || load<u16>(data, 4) != load<u16>(dev, NETDEV_MAC + 4)
}

/** Is the address (loaded words; IPv4: the first alone) one of the switch's own? */
export function isLocal(family: u32, w0: u32, w1: u32, w2: u32, w3: u32): bool {
  const table = load<usize>(SUPER_LOCAL)
  if (table == 0) return false
  let h = w0 ^ w1 ^ w2 ^ w3
  h ^= h >>> 16
  h ^= h >>> 8
  const last = load<u32>(table, LOCAL_MASK)
  let e = table + LOCAL_ENTRIES + (h & last) * LOCAL_ENTRY_SIZE
  let f = load<u32>(e, LOCAL_ENTRY_FAMILY)
  while (f != 0) {
    const same =
      f == family &&
      load<u32>(e, LOCAL_ENTRY_ADDR) == w0 &&
      load<u32>(e, LOCAL_ENTRY_ADDR + 4) == w1 &&
      load<u32>(e, LOCAL_ENTRY_ADDR + 8) == w2 &&
      load<u32>(e, LOCAL_ENTRY_ADDR + 12) == w3
    if (same) return load<u32>(e, LOCAL_ENTRY_TYPE) == RTN_LOCAL
    h++
    e = table + LOCAL_ENTRIES + (h & last) * LOCAL_ENTRY_SIZE
    f = load<u32>(e, LOCAL_ENTRY_FAMILY)
  }
  return false
}

function dropped(pkt: usize, reason: i32): bool {
  drop(pkt, reason)
  return true
}

function toHost(pkt: usize, dev: usize): bool {
  punt(pkt, dev, PUNT_LOCAL, 0)
  return false
}

/** The host has looked at its addresses, and found that it is ours. */
function isRouted(pkt: usize): bool {
  return (load<u32>(pkt, PKT_FLAGS) & PKT_F_REASSEMBLED) != 0
}

/** A packet on its way up, from a device's filters or, reassembled, from the host. */
export function localInput(pkt: usize, dev: usize): bool {
  let data = load<usize>(pkt, PKT_DATA)
  let len = load<u32>(pkt, PKT_LEN)
  while (isTagged(data, len) && !isBare(pkt)) {
    if ((load<u16>(data, 14) & 0xff0f) != 0) return dropped(pkt, DROP_VLAN_UNKNOWN)
    if (len < 20) return dropped(pkt, DROP_VLAN)
    untag(pkt) // VLAN 0 is no VLAN: a priority
    data = load<usize>(pkt, PKT_DATA)
    len = load<u32>(pkt, PKT_LEN)
  }
  const proto = innerProtocol(pkt)
  if (proto != BE_IP && proto != BE_IPV6 && proto != BE_ARP) return dropped(pkt, DROP_NO_PROTOCOL)
  if (isBare(pkt)) {
    if (!wrap(pkt, dev, proto)) return dropped(pkt, DROP_HEADROOM)
    data = load<usize>(pkt, PKT_DATA)
    len = load<u32>(pkt, PKT_LEN)
  }
  if (isOtherHost(pkt, data)) return dropped(pkt, DROP_OTHERHOST)
  if (proto == BE_IP) return ipv4Input(pkt, dev, data, len - ETH_LEN)
  if (proto == BE_IPV6) return ipv6Input(pkt, dev, data, len - ETH_LEN)
  return toHost(pkt, dev)
}

/**
 * A packet without Ethernet header, of a device of layer 3, gets one, since the host knows no others: from nobody to
 * the device. False: no room.
 */
function wrap(pkt: usize, dev: usize, proto: u32): bool {
  const data = load<usize>(pkt, PKT_DATA) - ETH_LEN
  if (data < pkt + PKT_HEADROOM) return false
  store<u64>(data, 0, 4)
  store<u32>(data, load<u32>(dev, NETDEV_MAC))
  store<u16>(data, load<u16>(dev, NETDEV_MAC + 4), 4)
  store<u16>(data, <u16>proto, 12)
  store<usize>(pkt, data, PKT_DATA)
  store<u32>(pkt, load<u32>(pkt, PKT_LEN) + ETH_LEN, PKT_LEN)
  setNetworkHeader(pkt, 0)
  store<u16>(pkt, 0, PKT_PROTO)
  return true
}

/** Does a tunnel device take packets of this protocol? UDP is asked by port. */
// @ts-ignore: decorator
@inline
function isTunnelled(ipProto: u32): bool {
  return ipProto == IPPROTO_UDP || protocolTunnel(ipProto) != 0
}

/** Does the source of an IPv4 packet to us need a closer look (multicast, loopback, 0/8, an address of ours)? */
export function isOddSource(src: u32): bool {
  const first = src & 255
  return first >= 224 || first == 127 || first == 0 || isLocal(4, src, 0, 0, 0)
}

/** ip_rcv_core, and what follows for UDP to an address of ours. `n`: bytes behind the Ethernet header. */
function ipv4Input(pkt: usize, dev: usize, data: usize, n: u32): bool {
  const ip = data + ETH_LEN
  if (n < 20) return dropped(pkt, DROP_IP_HEADER)
  const first = <u32>load<u8>(ip)
  const header = (first & 15) << 2
  if (first >>> 4 != 4 || header < 20 || n < header) return dropped(pkt, DROP_IP_HEADER)
  if (sumWords(ip, header) != 0xffff) return dropped(pkt, DROP_IP_CSUM)
  const total = <u32>bswap<u16>(load<u16>(ip, 2))
  if (n < total || total < header) return dropped(pkt, DROP_IP_HEADER)
  store<u32>(pkt, ETH_LEN + total, PKT_LEN)
  const ipProto = <u32>load<u8>(ip, 9)
  if (header != 20 || (load<u16>(ip, 6) & 0xff3f) != 0 || !isTunnelled(ipProto)) return toHost(pkt, dev)
  const dst = load<u32>(ip, 16)
  const odd = (dst & 255) == 127 || !isLocal(4, dst, 0, 0, 0) || isOddSource(load<u32>(ip, 12))
  if (odd && !isRouted(pkt)) return toHost(pkt, dev)
  if (ipProto != IPPROTO_UDP) return protocolInput(pkt, dev, data, ETH_LEN + header, 4, ipProto)
  return udpInput(pkt, dev, data, ETH_LEN + header, 4)
}

/** ip6_rcv_core, likewise. Extension headers are the host's. */
function ipv6Input(pkt: usize, dev: usize, data: usize, n: u32): bool {
  const ip = data + ETH_LEN
  if (n < 40 || load<u8>(ip) >>> 4 != 6) return dropped(pkt, DROP_IP_HEADER)
  const routed = isRouted(pkt)
  const next = <u32>load<u8>(ip, 6)
  if (!isTunnelled(next) || (load<u8>(ip, 8) == 0xff && !routed)) return toHost(pkt, dev)
  const payload = <u32>bswap<u16>(load<u16>(ip, 4))
  if (payload + 40 > n) return dropped(pkt, DROP_IP_HEADER)
  const local = isLocal(6, load<u32>(ip, 24), load<u32>(ip, 28), load<u32>(ip, 32), load<u32>(ip, 36))
  // A source without fifteen bytes of its own is none (::) or the loopback (::1): the host knows what becomes of it.
  const odd = (load<u64>(ip, 8) | (load<u64>(ip, 16) << 8)) == 0
  if (!routed && (odd || !local)) return toHost(pkt, dev)
  store<u32>(pkt, ETH_LEN + 40 + payload, PKT_LEN)
  if (next != IPPROTO_UDP) return protocolInput(pkt, dev, data, ETH_LEN + 40, 6, next)
  return udpInput(pkt, dev, data, ETH_LEN + 40, 6)
}

/** Tunnels that have an IP protocol of their own. `at`: offset of what follows the IP header. */
function protocolInput(pkt: usize, dev: usize, data: usize, at: u32, family: u32, ipProto: u32): bool {
  const iif = load<u32>(dev, NETDEV_IFINDEX)
  const taken = ipProto == IPPROTO_GRE ? greInput(pkt, data, at, family, iif) : ipipInput(pkt, data, at, family, iif, ipProto)
  return taken ? false : toHost(pkt, dev)
}

/** udp_rcv: lengths, the socket, then the checksum. `at`: offset of the UDP header. */
function udpInput(pkt: usize, dev: usize, data: usize, at: u32, family: u32): bool {
  const udp = data + at
  const n = load<u32>(pkt, PKT_LEN) - at
  if (n < UDP_LEN) return dropped(pkt, DROP_UDP_LENGTH)
  const length = <u32>bswap<u16>(load<u16>(udp, 4))
  if (length > n || length < UDP_LEN) return dropped(pkt, DROP_UDP_LENGTH)
  const tunnel = tunnelPort(load<u16>(udp, 2), family)
  if (tunnel == 0) return toHost(pkt, dev)
  store<u32>(pkt, at + length, PKT_LEN)
  if (load<u16>(udp, 6) == 0) {
    if (family == 6 && (load<u32>(tunnel, NETDEV_FEATURES) & NETDEV_F_UDP6_ZERO_CSUM_RX) == 0) {
      return dropped(pkt, DROP_UDP_CSUM)
    }
  } else if ((load<u32>(pkt, PKT_FLAGS) & PKT_F_CSUM_VERIFIED) == 0 && !udpChecksumHolds(data, at, length, family)) {
    return dropped(pkt, DROP_UDP_CSUM)
  }
  const kind = load<u32>(tunnel, NETDEV_KIND)
  if (kind == NETDEV_KIND_VXLAN) vxlanInput(pkt, tunnel, data, at, family)
  else if (kind == NETDEV_KIND_GENEVE) geneveInput(pkt, tunnel, data, at, family)
  else bareudpInput(pkt, tunnel, data, at, family)
  return false
}

function udpChecksumHolds(data: usize, at: u32, length: u32, family: u32): bool {
  const addresses = family == 4 ? sumWords(data + at - 8, 8) : sumWords(data + at - 32, 32)
  return fold(addresses + <u32>bswap<u16>(<u16>length) + (IPPROTO_UDP << 8) + sumWords(data + at, length)) == 0xffff
}
