// Push header: an encap header's template in front of a packet, and what depends on the packet written into it.
//
// The template is right-aligned in its room, so whole words of sixteen bytes are copied up to the inner frame's first
// byte; what the first word carries beyond the template lands in the headroom, which belongs to nobody. Then tos with
// the inner ECN, lengths, IPv4 id and checksum, UDP source port and checksum, what GRE says of the packet (vxlan_xmit_one,
// udp_tunnel_xmit_skb, iptunnel_xmit, ip_tunnel_ecn_encap, ip_tunnel_xmit, ip6_tnl_xmit).

import * as H from '../../memory/layout/encap.ts'
import {
  DROP_HEADROOM,
  DROP_INNER_HEADER,
  DROP_LOOP,
  DROP_TUNNEL_PROTOCOL,
} from '../../memory/layout/drop.ts'
import { NETDEV_F_EXTERNAL, NETDEV_FEATURES, NETDEV_SEQ_OUT, NETDEV_TX_COUNTER } from '../../memory/layout/netdev.ts'
import { PKT_DATA, PKT_HASH, PKT_HEADROOM, PKT_IIF, PKT_LEN, PKT_PROTO, PKT_TUN } from '../../memory/layout/packet.ts'
import { PUNT_INNER_MTU, PUNT_MTU } from '../../memory/layout/worker.ts'
import { fold, sumNumber } from './checksum.ts'
import { bareFlowHash, flowHash } from './entropy.ts'
import { fillErspan } from './erspan.ts'
import {
  BE_IP,
  BE_IPV6,
  ETH_LEN,
  innerProtocol,
  isBare,
  isPlain,
  isVlan,
  macLen,
  networkHeader,
  networkProtocol,
  outerProtocol,
  setNetworkHeader,
} from './frame.ts'
import { transmit } from './output.ts'
import { count, drop, punt, setModified } from './state.ts'
import { tracePush } from './trace.ts'

/** An erspan header's place behind a GRE header with a sequence number; version 0 has neither. */
const ERSPAN_AT: usize = 8

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

/** Of tos and ttl: they are an IP header's. */
const IS_IP: u32 = 0x10000

/**
 * tos and ttl of the IP header at `ip`, tos | ttl << 8 | IS_IP; 0 when there is none. As the kernel, which does not ask
 * whether the header is whole, as far as there are bytes.
 */
function tosTtlAt(type: u32, ip: usize, end: usize): u32 {
  if ((type != BE_IP && type != BE_IPV6) || ip + 2 > end) return 0
  const at: usize = type == BE_IP ? 8 : 7
  const ttl = ip + at < end ? <u32>load<u8>(ip + at) : 0
  const tos = type == BE_IP ? <u32>load<u8>(ip, 1) : (<u32>bswap<u16>(load<u16>(ip)) >> 4) & 255
  return tos | (ttl << 8) | IS_IP
}

/** Likewise of the inner packet. As the kernel, which looks for them behind one tag only, whatever stands there. */
function innerTosTtl(pkt: usize, data: usize, len: u32): u32 {
  return tosTtlAt(isBare(pkt) ? innerProtocol(pkt) : networkProtocol(pkt), networkHeader(pkt), data + len)
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
function innerDf(pkt: usize, end: usize, flags: u32): bool {
  const type = outerProtocol(pkt)
  const ip = networkHeader(pkt)
  if (type == BE_IP) return ip + 20 <= end && (load<u8>(ip, 6) & 0x40) != 0
  return type == BE_IPV6 && (flags & H.HEADER_F_UDP) != 0
}

/** What a tunnel device looks at before it sends. H.PUSH_DONE: it may. `end`: end of the packet. */
function check(pkt: usize, header: usize, flags: u32, end: usize): i32 {
  const types = load<u32>(header, H.HEADER_ETHERTYPES)
  const type = outerProtocol(pkt)
  if (types != 0 && type != (types & 0xffff) && type != types >>> 16) return H.PUSH_PROTOCOL
  const ip = networkHeader(pkt)
  const n = <i32>(end - ip)
  if ((flags & H.HEADER_F_WHOLE) != 0 && ((type == BE_IP && n < 20) || (type == BE_IPV6 && n < 40))) return H.PUSH_CUT
  if ((flags & H.HEADER_F_NO_RETURN) != 0 && type == BE_IPV6 && returns(ip, header, flags)) return H.PUSH_LOOP
  const most = load<u32>(header, H.HEADER_INNER_MTU)
  if (most == 0) return H.PUSH_DONE
  const frame = load<usize>(pkt, PKT_DATA)
  const stripped: u32 = load<u32>(header, H.HEADER_STRIP) == 0 ? 0 : ETH_LEN
  const bytes = <i32>(end - frame) - (isBare(pkt) ? 0 : <i32>ETH_LEN)
  if ((flags & H.HEADER_F_IPV6) != 0) {
    // ip6_tnl_xmit: what does not fit its route, whatever it is
    const frameBytes = stripped == 0 ? <i32>(end - frame) : bytes
    const outer = frameBytes + <i32>(load<u32>(header, H.HEADER_LEN) - load<u32>(header, H.HEADER_L3))
    return outer > load<i32>(header, H.HEADER_MTU) ? H.PUSH_INNER_TOO_BIG : H.PUSH_DONE
  }
  // tnl_update_pmtu
  const df = type == BE_IP && (load<u8>(ip, 6) & 0x40) != 0
  let limit = <i32>most
  if ((flags & H.HEADER_F_DF_SET) != 0 || (df && (flags & H.HEADER_F_DF_INHERIT) != 0)) {
    limit = <i32>(load<u32>(header, H.HEADER_MTU) - load<u32>(header, H.HEADER_LEN) + stripped)
  }
  const refuses = type == BE_IP ? df : type == BE_IPV6 && limit >= 1280
  return refuses && bytes > limit ? H.PUSH_INNER_TOO_BIG : H.PUSH_DONE
}

/** ip6gre_tnl_addr_conflict: does an IPv6 packet come from where the tunnel goes to? An external one goes to nobody. */
function returns(ip: usize, header: usize, flags: u32): bool {
  const size = load<u32>(header, H.HEADER_LEN)
  const room: u32 = (flags & H.HEADER_F_SMALL) != 0 ? H.HEADER_ROOM_SMALL : H.HEADER_ROOM
  const to = header + H.HEADER_BYTES + room - size + load<u32>(header, H.HEADER_L3) + 24
  const external = (load<u32>(load<usize>(header, H.HEADER_DEV), NETDEV_FEATURES) & NETDEV_F_EXTERNAL) != 0
  const remote = external ? i64x2.splat(0) : v128.load(to)
  return !v128.any_true(v128.xor(v128.load(ip, 8), remote))
}

/**
 * A tagged frame on its way into a device of layer 3: the kernel has taken the Ethernet header away when it finds that the
 * tag must be in the packet, and puts it where it would be in a frame, twelve bytes in.
 */
function tagInside(frame: usize): void {
  const tag = load<u32>(frame, 12)
  const at = frame + ETH_LEN
  memory.copy(at, at + 4, 12)
  store<u32>(at, tag, 12)
}

/** The IP protocol that a packet of type `type` is, in IP itself. */
// @ts-ignore: decorator
@inline
function protocolOf(type: u32): u32 {
  return type == BE_IP ? 4 : type == BE_IPV6 ? 41 : 137
}

/** The next sequence number of the tunnel device (atomic_fetch_inc of o_seqno). */
// @ts-ignore: decorator
@inline
function takeSequence(header: usize): u32 {
  return atomic.add<u32>(load<usize>(header, H.HEADER_DEV) + NETDEV_SEQ_OUT, 1)
}

/** What stands in a GRE header of this packet alone: protocol, sequence number, checksum. `t`: the header. */
function fillGre(header: usize, flags: u32, t: usize, tLen: u32, type: u32): void {
  if ((flags & H.HEADER_F_INNER_TYPE) != 0) store<u16>(t, <u16>type, 2)
  if ((flags & H.HEADER_F_SEQ) != 0) {
    const seq = takeSequence(header)
    const bits = load<u8>(t)
    store<u32>(t + ((bits & 0x80) != 0 ? 4 : 0) + ((bits & 0x20) != 0 ? 4 : 0), bswap<u32>(seq), 4)
  }
  if ((flags & H.HEADER_F_CSUM) != 0) store<u16>(t, bswap<u16>(<u16>~sumNumber(t, tLen)), 4)
}

/** Pushes the header and writes what depends on the packet. H.PUSH_*. */
export function pushHeader(pkt: usize, header: usize): i32 {
  const flags = load<u32>(header, H.HEADER_FLAGS)
  const size = load<u32>(header, H.HEADER_LEN)
  const frame = load<usize>(pkt, PKT_DATA)
  let frameLen = load<u32>(pkt, PKT_LEN)
  const strip = load<u32>(header, H.HEADER_STRIP) == 0 || isBare(pkt) ? 0 : ETH_LEN
  const inner = frame + strip
  const copied: usize = size <= 64 ? 64 : (size + 15) & ~15
  if (inner - copied < pkt + PKT_HEADROOM) return H.PUSH_NO_ROOM
  let type: u32 = 0
  let ipIn: usize = 0
  let cut = false
  if ((flags & H.HEADER_F_LOOKS) != 0) {
    type = outerProtocol(pkt)
    ipIn = networkHeader(pkt)
    if ((flags & H.HEADER_F_ERSPAN) != 0) {
      const most = load<u32>(header, H.HEADER_INNER_MTU) + ETH_LEN
      cut = frameLen > most
      if (cut) frameLen = most
    }
    const refused = check(pkt, header, flags, frame + frameLen)
    // The kernel has the GRE header before it looks at the size: what is too big has had its number, too.
    if (refused == H.PUSH_INNER_TOO_BIG && (flags & H.HEADER_F_SEQ) != 0) takeSequence(header)
    if (refused != H.PUSH_DONE) return refused
  }

  // What the inner packet says, before its Ethernet header may be overwritten.
  let tosTtl: u32 = 0
  if ((flags & H.HEADER_F_LOOKS) != 0) tosTtl = tosTtlAt(type, ipIn, frame + frameLen)
  else if (load<u16>(frame, 12) == BE_IP && frameLen >= 34 && isPlain(pkt)) {
    tosTtl = <u32>load<u8>(frame, 15) | (<u32>load<u8>(frame, 22) << 8) | IS_IP
  } else if ((flags & H.HEADER_F_ALL_TAGS) != 0) {
    const whole = wholeTosTtl(pkt, frame, frameLen)
    if (whole < 0) return H.PUSH_CUT
    tosTtl = whole
  } else {
    tosTtl = innerTosTtl(pkt, frame, frameLen)
  }
  let hash: u32 = 0
  if ((flags & (H.HEADER_F_UDP | H.HEADER_F_FLOW_LABEL)) != 0) {
    hash = isBare(pkt) ? bareFlowHash(frame, frameLen) : flowHash(frame, frameLen)
  }
  const df = (flags & H.HEADER_F_DF_INHERIT) != 0 && innerDf(pkt, frame + frameLen, flags)
  if (strip != 0 && isVlan(type)) tagInside(frame)

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
    ttl = (tosTtl >>> 8) & 255
    // GRE and IP in IP take even a ttl of zero; the others have it for none.
    if (ttl == 0 && ((flags & H.HEADER_F_LOOKS) == 0 || (tosTtl & IS_IP) == 0)) ttl = load<u32>(header, H.HEADER_TTL)
  }
  if ((flags & H.HEADER_F_IPV6) == 0) {
    const id: u32 = (flags & H.HEADER_F_NO_ID) != 0 ? 0 : takeId()
    let sum = load<u32>(header, H.HEADER_IP_SUM) + tos + ipLen + id + (ttl << 8)
    if (df) {
      sum += 0x4000
      store<u16>(ip, 0x0040, 6)
    }
    if (ttl != 0) store<u8>(ip, <u8>ttl, 8)
    if ((flags & H.HEADER_F_INNER_PROTO) != 0) {
      sum += protocolOf(type)
      store<u8>(ip, <u8>protocolOf(type), 9)
    }
    store<u8>(ip, <u8>tos, 1)
    store<u32>(ip, <u32>bswap<u16>(<u16>ipLen) | (<u32>bswap<u16>(<u16>id) << 16), 2)
    store<u16>(ip, bswap<u16>(<u16>~fold(sum)), 10)
  } else {
    if (ttl != 0) store<u8>(ip, <u8>ttl, 7)
    if ((flags & H.HEADER_F_INNER_PROTO) != 0) {
      store<u8>(ip + (load<u32>(header, H.HEADER_L4) == l3 + 40 ? 6 : 40), <u8>protocolOf(type))
    }
    store<u16>(ip, load<u16>(ip) | bswap<u16>(<u16>(tos << 4)))
    store<u16>(ip, bswap<u16>(<u16>(ipLen - 40)), 4)
    if ((flags & H.HEADER_F_LABEL_INHERIT) != 0 && type == BE_IPV6) {
      store<u32>(ip, load<u32>(ip) | (load<u32>(ipIn) & 0xffff0f00))
    }
    if ((flags & H.HEADER_F_FLOW_LABEL) != 0 && (load<u32>(ip) & 0xffff0f00) == 0) {
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
  } else if ((flags & H.HEADER_F_GRE) != 0) {
    if ((flags & (H.HEADER_F_ERSPAN | H.HEADER_F_SEQ)) == (H.HEADER_F_ERSPAN | H.HEADER_F_SEQ)) {
      fillErspan(t + ERSPAN_AT, pkt, inner, frameLen, ipIn, type, cut, (flags & H.HEADER_F_IPV6) != 0)
    }
    fillGre(header, flags, t, tLen, type)
  }
  tracePush(pkt, header)
  return ipLen > load<u32>(header, H.HEADER_MTU) ? H.PUSH_TOO_BIG : H.PUSH_DONE
}

/** Why a packet was dropped that no header was pushed in front of. */
function dropOf(pushed: i32): i32 {
  if (pushed == H.PUSH_CUT) return DROP_INNER_HEADER
  if (pushed == H.PUSH_PROTOCOL) return DROP_TUNNEL_PROTOCOL
  return pushed == H.PUSH_LOOP ? DROP_LOOP : DROP_HEADROOM
}

/** The end of a tunnel device's transmission: the header, then the port that it leaves by. Takes the packet. */
export function sendEncapsulated(pkt: usize, dev: usize, header: usize): void {
  const bytes = load<u32>(pkt, PKT_LEN)
  const bare = isBare(pkt)
  const pushed = pushHeader(pkt, header)
  if (pushed == H.PUSH_INNER_TOO_BIG) {
    store<usize>(pkt, 0, PKT_TUN)
    punt(pkt, dev, PUNT_INNER_MTU, header)
    return
  }
  if (pushed >= H.PUSH_NO_ROOM) {
    drop(pkt, dropOf(pushed))
    return
  }
  // skb_scrub_packet: a packet of the host's own, without tunnel metadata.
  store<usize>(pkt, 0, PKT_TUN)
  store<u32>(pkt, 0, PKT_IIF)
  store<u32>(pkt, 0, PKT_HASH)
  setNetworkHeader(pkt, 0)
  store<u16>(pkt, 0, PKT_PROTO)
  setModified(true)
  count(load<u32>(dev, NETDEV_TX_COUNTER), bare ? bytes : bytes - ETH_LEN)
  const out = load<usize>(header, H.HEADER_OUT_DEV)
  if (pushed == H.PUSH_TOO_BIG) punt(pkt, out, PUNT_MTU, header)
  else transmit(pkt, out)
}
