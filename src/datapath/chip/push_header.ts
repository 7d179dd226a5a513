// Push header: an encap header's template in front of a packet, and what depends on the packet written into it.
//
// The template is right-aligned in its room, so whole words of sixteen bytes are copied up to the inner frame's first
// byte; what the first word carries beyond the template lands in the headroom, which belongs to nobody. Then tos with
// the inner ECN, lengths, IPv4 id and checksum, UDP source port and checksum (vxlan_xmit_one, udp_tunnel_xmit_skb,
// iptunnel_xmit, ip_tunnel_ecn_encap).

import * as H from '../../memory/layout/encap.ts'
import { DROP_HEADROOM, DROP_INNER_HEADER } from '../../memory/layout/drop.ts'
import { NETDEV_TX_COUNTER } from '../../memory/layout/netdev.ts'
import { PKT_DATA, PKT_HASH, PKT_HEADROOM, PKT_IIF, PKT_LEN, PKT_PROTO, PKT_TUN } from '../../memory/layout/packet.ts'
import { PUNT_MTU } from '../../memory/layout/worker.ts'
import { fold, sumNumber } from './checksum.ts'
import { flowHash } from './entropy.ts'
import { BE_IP, BE_IPV6, ETH_LEN, innerProtocol, isPlain, isVlan, macLen, networkProtocol, setNetworkHeader } from './frame.ts'
import { transmit } from './output.ts'
import { count, drop, punt, setModified } from './state.ts'
import { tracePush } from './trace.ts'

/** Encapsulated. */
export const PUSH_DONE: i32 = 0
/** Encapsulated, and larger than the route's MTU. */
export const PUSH_TOO_BIG: i32 = 1
/** Not: there is no room in front of the packet. */
export const PUSH_NO_ROOM: i32 = 2
/** Not: the packet's own IP header is cut short, and the tunnel looks. */
export const PUSH_CUT: i32 = 3

/** IPv4 identification of the packets that this worker makes. */
let nextId: u32 = 0

/** Workers begin apart from each other. */
export function seedId(worker: u32): void {
  nextId = worker << 12
}

/** The next one. */
// @ts-ignore: decorator
@inline
export function takeId(): u32 {
  return nextId++ & 0xffff
}

/**
 * tos and ttl of the inner packet, tos | ttl << 8; 0 when it is not IP. As the kernel, which looks for them behind one
 * tag only, whatever stands there.
 */
function innerTosTtl(pkt: usize, data: usize, len: u32): u32 {
  const type = networkProtocol(pkt)
  const at = macLen(data, len)
  const ip = data + at
  if (type == BE_IP) return at + 20 <= len ? <u32>load<u8>(ip, 1) | (<u32>load<u8>(ip, 8) << 8) : 0
  if (type == BE_IPV6 && at + 40 <= len) return ((<u32>bswap<u16>(load<u16>(ip)) >> 4) & 255) | (<u32>load<u8>(ip, 7) << 8)
  return 0
}

/** skb_vlan_inet_prepare: the same of the IP packet behind all tags. -1: its header is cut short. */
function wholeTosTtl(pkt: usize, data: usize, len: u32): i32 {
  let at = macLen(data, len)
  let type = innerProtocol(pkt)
  while (isVlan(type) && at + 4 <= len) {
    type = load<u16>(data + at, 2)
    at += 4
  }
  const ip = data + at
  if (type == BE_IP) return at + 20 <= len ? <i32>load<u8>(ip, 1) | (<i32>load<u8>(ip, 8) << 8) : -1
  if (type != BE_IPV6) return 0
  return at + 40 <= len ? ((<i32>bswap<u16>(load<u16>(ip)) >> 4) & 255) | (<i32>load<u8>(ip, 7) << 8) : -1
}

/** INET_ECN_encapsulate: the inner ECN goes out; inner CE as ECT(0). */
// @ts-ignore: decorator
@inline
export function ecnEncapsulate(outer: u32, inner: u32): u32 {
  const ecn = inner & 3
  return (outer & 0xfc) | (ecn == 3 ? 2 : ecn)
}

/** Does the inner packet ask for no fragmentation? (vxlan and geneve count every IPv6 packet.) */
function innerDf(data: usize, len: u32, flags: u32): bool {
  if (len < 34) return false
  const type = load<u16>(data, 12)
  if (type == BE_IP) return (load<u8>(data, 20) & 0x40) != 0
  return type == BE_IPV6 && (flags & H.HEADER_F_UDP) != 0
}

/** Pushes the header and writes what depends on the packet. PUSH_*. */
export function pushHeader(pkt: usize, header: usize): i32 {
  const flags = load<u32>(header, H.HEADER_FLAGS)
  const size = load<u32>(header, H.HEADER_LEN)
  const frame = load<usize>(pkt, PKT_DATA)
  const frameLen = load<u32>(pkt, PKT_LEN)
  const strip = load<u32>(header, H.HEADER_STRIP)
  const inner = frame + strip
  const copied: usize = size <= 64 ? 64 : (size + 15) & ~15
  if (inner - copied < pkt + PKT_HEADROOM) return PUSH_NO_ROOM

  // What the inner packet says, before its Ethernet header may be overwritten.
  let tosTtl: u32 = 0
  if (load<u16>(frame, 12) == BE_IP && frameLen >= 34 && isPlain(pkt)) tosTtl = <u32>load<u8>(frame, 15) | (<u32>load<u8>(frame, 22) << 8)
  else if ((flags & H.HEADER_F_ALL_TAGS) != 0) {
    const whole = wholeTosTtl(pkt, frame, frameLen)
    if (whole < 0) return PUSH_CUT
    tosTtl = whole
  } else tosTtl = innerTosTtl(pkt, frame, frameLen)
  const hash = (flags & (H.HEADER_F_UDP | H.HEADER_F_FLOW_LABEL)) != 0 ? flowHash(frame, frameLen) : 0
  const df = (flags & H.HEADER_F_DF_INHERIT) != 0 && innerDf(frame, frameLen, flags)

  const end = header + H.HEADER_BYTES + ((flags & H.HEADER_F_SMALL) != 0 ? H.HEADER_ROOM_SMALL : H.HEADER_ROOM)
  if (size <= 64) {
    v128.store(inner - 64, v128.load(end - 64))
    v128.store(inner - 48, v128.load(end - 48))
    v128.store(inner - 32, v128.load(end - 32))
    v128.store(inner - 16, v128.load(end - 16))
  } else {
    for (let i = copied; i != 0; i -= 16) v128.store(inner - i, v128.load(end - i))
  }
  const data = inner - size
  const len = frameLen - strip + size
  store<usize>(pkt, data, PKT_DATA)
  store<u32>(pkt, len, PKT_LEN)

  const l3 = load<u32>(header, H.HEADER_L3)
  const ip = data + l3
  const ipLen = len - l3
  const tos0 = (flags & H.HEADER_F_TOS_INHERIT) != 0 ? tosTtl & 255 : load<u32>(header, H.HEADER_TOS)
  const tos = (flags & H.HEADER_F_NO_ECN) != 0 ? tos0 : ecnEncapsulate(tos0, tosTtl)
  let ttl: u32 = 0
  if ((flags & H.HEADER_F_TTL_INHERIT) != 0) {
    ttl = tosTtl >>> 8
    if (ttl == 0) ttl = load<u32>(header, H.HEADER_TTL)
  }
  if ((flags & H.HEADER_F_IPV6) == 0) {
    const id = takeId()
    let sum = load<u32>(header, H.HEADER_IP_SUM) + tos + ipLen + id + (ttl << 8)
    if (df) {
      sum += 0x4000
      store<u16>(ip, 0x0040, 6)
    }
    if (ttl != 0) store<u8>(ip, <u8>ttl, 8)
    store<u8>(ip, <u8>tos, 1)
    store<u32>(ip, <u32>bswap<u16>(<u16>ipLen) | (<u32>bswap<u16>(<u16>id) << 16), 2)
    store<u16>(ip, bswap<u16>(<u16>~fold(sum)), 10)
  } else {
    if (ttl != 0) store<u8>(ip, <u8>ttl, 7)
    store<u16>(ip, load<u16>(ip) | bswap<u16>(<u16>(tos << 4)))
    store<u16>(ip, bswap<u16>(<u16>(ipLen - 40)), 4)
    if ((flags & H.HEADER_F_FLOW_LABEL) != 0) {
      store<u32>(ip, (load<u32>(ip) & 0x0000f0ff) | bswap<u32>((hash ^ (hash >>> 12)) & 0xfffff))
    }
  }

  const l4 = load<u32>(header, H.HEADER_L4)
  const t = data + l4
  const tLen = len - l4
  if ((flags & H.HEADER_F_UDP) != 0) {
    const port = load<u32>(header, H.HEADER_PORT_MIN) + <u32>((<u64>hash * load<u32>(header, H.HEADER_PORT_COUNT)) >> 32)
    store<u16>(t, bswap<u16>(<u16>port))
    store<u16>(t, bswap<u16>(<u16>tLen), 4)
    if ((flags & H.HEADER_F_CSUM) != 0) {
      const check = ~fold(load<u32>(header, H.HEADER_PSEUDO_SUM) + tLen + sumNumber(t, tLen)) & 0xffff
      store<u16>(t, check == 0 ? 0xffff : bswap<u16>(<u16>check), 6)
    }
  } else if ((flags & (H.HEADER_F_GRE | H.HEADER_F_CSUM)) == (H.HEADER_F_GRE | H.HEADER_F_CSUM)) {
    store<u16>(t, bswap<u16>(<u16>~sumNumber(t, tLen)), 4)
  }
  tracePush(pkt, header)
  return ipLen > load<u32>(header, H.HEADER_MTU) ? PUSH_TOO_BIG : PUSH_DONE
}

/** The end of a tunnel device's transmission: the header, then the port that it leaves by. Takes the packet. */
export function sendEncapsulated(pkt: usize, dev: usize, header: usize): void {
  const bytes = load<u32>(pkt, PKT_LEN)
  const pushed = pushHeader(pkt, header)
  if (pushed >= PUSH_NO_ROOM) {
    drop(pkt, pushed == PUSH_CUT ? DROP_INNER_HEADER : DROP_HEADROOM)
    return
  }
  // skb_scrub_packet: a packet of the host's own, without tunnel metadata.
  store<usize>(pkt, 0, PKT_TUN)
  store<u32>(pkt, 0, PKT_IIF)
  store<u32>(pkt, 0, PKT_HASH)
  setNetworkHeader(pkt, 0)
  store<u16>(pkt, 0, PKT_PROTO)
  setModified(true)
  count(load<u32>(dev, NETDEV_TX_COUNTER), bytes - ETH_LEN)
  const out = load<usize>(header, H.HEADER_OUT_DEV)
  if (pushed == PUSH_TOO_BIG) punt(pkt, out, PUNT_MTU, header)
  else transmit(pkt, out)
}
