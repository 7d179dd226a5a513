// csum: recomputes checksums (net/sched/act_csum.c).

import { PKT_DATA, PKT_LEN } from '../../memory/layout/packet.ts'
import { crc32c, fold, sumWords } from './checksum.ts'
import { BE_IP, BE_IPV6, innerProtocol, isBare, isVlan, networkHeader } from './frame.ts'

// TCA_CSUM_UPDATE_FLAG_*
const IPV4HDR: u32 = 1
const ICMP: u32 = 2
const IGMP: u32 = 4
const TCP: u32 = 8
const UDP: u32 = 16
const UDPLITE: u32 = 32
const SCTP: u32 = 64

/** What the transport checksum of a protocol is among the flags, 0 when it has none. */
function flagOf(ipProto: u32, ipv6: bool): u32 {
  switch (ipProto) {
    case 1:
      return ipv6 ? 0 : ICMP
    case 58:
      return ipv6 ? ICMP : 0
    case 2:
      return ipv6 ? 0 : IGMP
    case 6:
      return TCP
    case 17:
      return UDP
    case 136:
      return UDPLITE
    case 132:
      return SCTP
    default:
      return 0
  }
}

/** Sum of the pseudo header, as words are loaded. */
// @ts-ignore: decorator
@inline
export function pseudo(ip: usize, ipv6: bool, length: u32, ipProto: u32): u32 {
  const addresses = ipv6 ? sumWords(ip + 8, 32) : sumWords(ip + 12, 8)
  return addresses + <u32>bswap<u16>(<u16>length) + (ipProto << 8)
}

/** udp and udplite: over IPv4 a checksum of zero stays zero with udp; lengths that make no sense leave zero behind. */
function udp(ip: usize, ipv6: bool, t: usize, room: u32, lite: bool): void {
  const length = <u32>bswap<u16>(load<u16>(t, 4))
  if (!lite && !ipv6 && load<u16>(t, 6) == 0) return
  store<u16>(t, 0, 6)
  let covered = length
  if (lite && length == 0) covered = room
  else if (lite ? length < 8 || length > room : length != room) return
  const check = ~fold(pseudo(ip, ipv6, length, lite ? 136 : 17) + sumWords(t, covered)) & 0xffff
  store<u16>(t, <u16>(check == 0 ? 0xffff : check), 6)
}

/**
 * The checksum behind an IP header: `t` the transport header, `room` the bytes from there to the end of the IP packet,
 * `rest` to the end of the frame. False: the packet is too short for what it says.
 */
function transport(ip: usize, ipv6: bool, t: usize, room: i32, rest: i32, ipProto: u32): bool {
  const header = ipProto == 6 ? 20 : ipProto == 132 ? 12 : 8
  if (room > rest || room < header) return false
  switch (ipProto) {
    case 6:
      store<u16>(t, 0, 16)
      store<u16>(t, <u16>~fold(pseudo(ip, ipv6, room, 6) + sumWords(t, room)), 16)
      break
    case 17:
      udp(ip, ipv6, t, room, false)
      break
    case 136:
      udp(ip, ipv6, t, room, true)
      break
    case 132:
      store<u32>(t, 0, 8)
      store<u32>(t, crc32c(t, rest), 8)
      break
    default:
      store<u16>(t, 0, 2)
      store<u16>(t, <u16>~fold((ipv6 ? pseudo(ip, true, room, 58) : 0) + sumWords(t, room)), 2)
      break
  }
  return true
}

/** tcf_csum_ipv4 */
function ipv4(ip: usize, n: i32, flags: u32): bool {
  if (n < 20) return false
  const header = <i32>(load<u8>(ip) & 15) << 2
  const ipProto = (load<u16>(ip, 6) & 0xff1f) != 0 ? 0 : <u32>load<u8>(ip, 9)
  if ((flags & flagOf(ipProto, false)) != 0) {
    const total = <i32>bswap<u16>(load<u16>(ip, 2))
    if (!transport(ip, false, ip + header, total - header, n - header, ipProto)) return false
  }
  if ((flags & IPV4HDR) != 0) {
    store<u16>(ip, 0, 10)
    // ip_fast_csum of less than five words gives its first one as it is.
    const check = header < 20 ? <u32>load<u16>(ip) : ~sumWords(ip, header < n ? header : n)
    store<u16>(ip, <u16>check, 10)
  }
  return true
}

/** More than any frame has, and far from the end of the numbers. */
const JUMBO_MAX: u32 = 1 << 28

/** The payload length that a hop-by-hop header of `n` bytes says (jumbogram), or `length`; -1: malformed. */
function jumbo(header: usize, n: i32, length: i32): i32 {
  let o: i32 = 2
  while (n - o > 1) {
    const type = load<u8>(header + o)
    const size = type == 0 ? 1 : <i32>load<u8>(header + o, 1) + 2
    if (type == 0xc2) {
      if (size != 6 || n - o < 6 || (o & 3) != 2) return -1
      const says = bswap<u32>(load<u32>(header + o, 2))
      return says < JUMBO_MAX ? says : JUMBO_MAX
    }
    if (size > n - o) return length
    o += size
  }
  return length
}

/** tcf_csum_ipv6 */
function ipv6(ip: usize, n: i32, flags: u32): bool {
  if (n < 40) return false
  let length = <i32>bswap<u16>(load<u16>(ip, 4))
  let next = <u32>load<u8>(ip, 6)
  let o: i32 = 40
  while (next == 0 || next == 43 || next == 60) {
    if (o + 2 > n) return false
    const size = (<i32>load<u8>(ip + o, 1) + 1) << 3
    if (o + size > n) return false
    if (next == 0) {
      length = jumbo(ip + o, size, length)
      if (length < 0) return false
    }
    next = load<u8>(ip + o)
    o += size
    if (o + 1 > n) return true
  }
  if ((flags & flagOf(next, true)) == 0) return true
  return transport(ip, true, ip + o, length + 40 - o, n - o, next)
}

/** OP_CSUM. False: a packet whose lengths cannot be right. */
export function csum(pkt: usize, flags: u32): bool {
  let ip = networkHeader(pkt)
  const end = load<usize>(pkt, PKT_DATA) + load<u32>(pkt, PKT_LEN)
  let proto = innerProtocol(pkt)
  while (isVlan(proto) && !isBare(pkt) && ip + 4 <= end) {
    proto = load<u16>(ip, 2)
    ip += 4
  }
  const n = <i32>(end - ip)
  if (proto == BE_IP) return ipv4(ip, n, flags)
  return proto != BE_IPV6 || ipv6(ip, n, flags)
}
