// What a GRE device answers when an inner packet is larger than it can send (tnl_update_pmtu, ip6_tnl_xmit): ICMP
// "fragmentation needed" or ICMPv6 "packet too big" to the inner packet's source, as from the port that it came by. The
// packet is not sent. VXLAN and Geneve do so only behind a bridge, of which there is none.

import type { Arena } from '../memory/arena.ts'
import { DROP_PKT_TOO_BIG } from '../memory/layout/drop.ts'
import {
  HEADER_DEV,
  HEADER_F_DF_INHERIT,
  HEADER_F_DF_SET,
  HEADER_F_IPV6,
  HEADER_FLAGS,
  HEADER_INNER_MTU,
  HEADER_L3,
  HEADER_L4,
  HEADER_LEN,
  HEADER_MTU,
  HEADER_STRIP,
} from '../memory/layout/encap.ts'
import { NETDEV_F_EXTERNAL, NETDEV_FEATURES } from '../memory/layout/netdev.ts'
import {
  PKT_DATA,
  PKT_FLAGS,
  PKT_LEN,
  PKT_NETWORK_MASK,
  PKT_NETWORK_SHIFT,
  PKT_TYPE_DEV_SHIFT,
} from '../memory/layout/packet.ts'
import { netdevByIndex, netdevMac } from '../net/netdev.ts'
import * as Eth from '../wire/ethernet.ts'
import * as Icmp from '../wire/icmp.ts'
import * as Icmp6 from '../wire/icmp6.ts'
import * as Ipv4 from '../wire/ipv4.ts'
import * as Ipv6 from '../wire/ipv6.ts'
import { icmp6Error, icmpError } from './icmp_error.ts'
import { frameOf, type HostState, view } from './state.ts'

const IPV4_MIN_MTU = 68
const GRE_LEN = 4
const IFINDEX_MASK = 0xfff

/** Has the packet no Ethernet header (datapath/chip/frame.ts)? */
export function isBare(a: Arena, pkt: number): boolean {
  const at = (a.m[(pkt + PKT_FLAGS) >> 2] >>> PKT_NETWORK_SHIFT) & PKT_NETWORK_MASK
  return at !== 0 && pkt + at === a.m[(pkt + PKT_DATA) >> 2]
}

/** The largest inner packet, from its IP header on, that the device says it takes. */
function limitOf(a: Arena, header: number, ipv6: boolean, df: boolean): number {
  const field = (f: number): number => a.m[(header + f) >> 2]
  const flags = field(HEADER_FLAGS)
  const ethernet = field(HEADER_STRIP) === 0 ? Eth.LEN : 0
  const l3 = field(HEADER_L3)
  if (flags & HEADER_F_IPV6) {
    // An external device counts a GRE header without key and checksum, whatever it sends.
    const external = (a.m[(field(HEADER_DEV) + NETDEV_FEATURES) >> 2] & NETDEV_F_EXTERNAL) !== 0
    const gre = external ? GRE_LEN : field(HEADER_LEN) - field(HEADER_L4)
    const mtu = field(HEADER_MTU) - (field(HEADER_L4) - l3) - gre - ethernet
    return Math.max(mtu, ipv6 ? Ipv6.MIN_MTU : IPV4_MIN_MTU)
  }
  const counts = flags & HEADER_F_DF_SET || (df && flags & HEADER_F_DF_INHERIT)
  return counts ? field(HEADER_MTU) - (field(HEADER_LEN) - l3) - ethernet : field(HEADER_INNER_MTU)
}

/** PUNT_INNER_MTU: a frame that a tunnel device refused for its size; `header` is what it would have got. The packet is taken. */
export function innerTooBig(h: HostState, pkt: number, header: number): void {
  const { a } = h
  const { m } = a
  const port = netdevByIndex(a, (m[(pkt + PKT_FLAGS) >> 2] >>> PKT_TYPE_DEV_SHIFT) & IFINDEX_MASK)
  const frame = isBare(a, pkt) ? withEthernet(h, pkt, port) : frameOf(h, pkt)
  const d = view(frame)
  const type = Eth.type(d, 0)
  const df = type === Eth.ETH_P_IP && (Ipv4.fragment(d, Eth.LEN) & Ipv4.DF) !== 0
  const limit = limitOf(a, header, type === Eth.ETH_P_IPV6, df)
  h.dp.drop(pkt, DROP_PKT_TOO_BIG)
  if (port === 0) return
  if (type === Eth.ETH_P_IP) icmpError(h, frame, port, Icmp.ICMP_DEST_UNREACH, Icmp.ICMP_FRAG_NEEDED, limit)
  if (type === Eth.ETH_P_IPV6) icmp6Error(h, frame, port, Icmp6.ICMPV6_PKT_TOOBIG, 0, limit)
}

/** A copy of a packet without Ethernet header, with one from nobody to the device. */
function withEthernet(h: HostState, pkt: number, dev: number): Uint8Array {
  const { a } = h
  const data = a.m[(pkt + PKT_DATA) >> 2]
  const out = new Uint8Array(Eth.LEN + a.m[(pkt + PKT_LEN) >> 2])
  if (dev !== 0) out.set(netdevMac(a, dev))
  out.set(a.u8.subarray(data - 2, data), 12)
  out.set(a.u8.subarray(data, data + out.length - Eth.LEN), Eth.LEN)
  return out
}
