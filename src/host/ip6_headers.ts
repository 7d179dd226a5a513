// Extension headers of an IPv6 packet for the host, in order, up to what they carry (ip6_protocol_deliver_rcu,
// ip6_parse_tlv, ipv6_rthdr_rcv of a host without segment routing, mobility and IPsec).
//
// Hop-by-hop options are looked at only right behind the IPv6 header; there and in destination options an unknown option
// says itself what becomes of the packet (RFC 8200 section 4.2). A routing header with nothing left to visit is passed
// over. The walk ends at a transport header or at a Fragment header.

import { isMulticast } from '../net/inet.ts'
import * as Icmp6 from '../wire/icmp6.ts'
import * as Ipv6 from '../wire/ipv6.ts'
import { AF_INET6 } from '../wire/rtm_route.ts'

export type Walk =
  /** `proto` stands at `at`, named by the byte at `pointer`. */
  | { readonly what: 'upper'; readonly proto: number; readonly at: number; readonly pointer: number }
  | { readonly what: 'drop' }
  /** The sender is told: an ICMPv6 parameter problem with this code and pointer. */
  | { readonly what: 'problem'; readonly code: number; readonly pointer: number }

const DROP: Walk = { what: 'drop' }
const IPV6_TLV_PAD1 = 0
const IPV6_TLV_PADN = 1
const IPV6_TLV_ROUTERALERT = 5
const IPV6_SRCRT_TYPE_4 = 4
/** A packet may have seven bytes of padding in a row. */
const PAD_MAX = 7
/** Code of an option that is not known. */
const ICMPV6_UNK_OPTION = 2

/** ip6_parse_tlv: null when the options from `o` to `end` let the packet pass. */
function options(d: DataView, ip: number, o: number, end: number, hop: boolean): Walk | null {
  let padding = 0
  for (let at = o + 2; at < end; ) {
    const type = d.getUint8(at)
    if (type === IPV6_TLV_PAD1) {
      if (++padding > PAD_MAX) return DROP
      at++
      continue
    }
    if (at + 2 > end) return DROP
    const length = d.getUint8(at + 1) + 2
    if (at + length > end) return DROP
    if (type === IPV6_TLV_PADN) {
      padding += length
      if (padding > PAD_MAX) return DROP
      for (let i = 2; i < length; i++) if (d.getUint8(at + i) !== 0) return DROP
    } else {
      padding = 0
      if (hop && type === IPV6_TLV_ROUTERALERT) {
        if (length !== 4) return DROP
      } else if (type >> 6 === 1) return DROP
      else if (type >> 6 === 2 || (type >> 6 === 3 && !isMulticast(AF_INET6, Ipv6.dst(d, ip))))
        return { what: 'problem', code: ICMPV6_UNK_OPTION, pointer: at - ip }
      else if (type >> 6 === 3) return DROP
    }
    at += length
  }
  return null
}

/** Walks from the IPv6 header at `ip` to `end`, the end of the packet. */
export function walkHeaders(d: DataView, ip: number, end: number): Walk {
  let proto = Ipv6.nextHeader(d, ip)
  let at = ip + Ipv6.LEN
  let pointer = ip + 6
  for (;;) {
    const hop = proto === Ipv6.NEXTHDR_HOP
    if (hop && at !== ip + Ipv6.LEN) return { what: 'problem', code: Icmp6.ICMPV6_UNK_NEXTHDR, pointer: pointer - ip }
    if (!hop && proto !== Ipv6.NEXTHDR_DEST && proto !== Ipv6.NEXTHDR_ROUTING)
      return { what: 'upper', proto, at, pointer }
    if (at + 8 > end) return DROP
    const next = at + (d.getUint8(at + 1) + 1) * 8
    if (next > end) return DROP
    if (proto === Ipv6.NEXTHDR_ROUTING) {
      const type = d.getUint8(at + 2)
      if (d.getUint8(at + 3) !== 0)
        return type === IPV6_SRCRT_TYPE_4
          ? DROP
          : { what: 'problem', code: Icmp6.ICMPV6_HDR_FIELD, pointer: at + 2 - ip }
    } else {
      const stop = options(d, ip, at, next, hop)
      if (stop !== null) return stop
    }
    pointer = at
    proto = d.getUint8(at)
    at = next
  }
}

/**
 * Does a first fragment, whose data begin at `at` with header `proto`, lack a part of the headers up to the transport
 * header (ipv6frag_thdr_truncated)?
 */
export function isCutInHeaders(d: DataView, proto: number, at: number, end: number): boolean {
  let p = proto
  let o = at
  while (Ipv6.isExtension(p)) {
    if (o + 8 > end) return true
    const length = p === Ipv6.NEXTHDR_AUTH ? (d.getUint8(o + 1) + 2) * 4 : (d.getUint8(o + 1) + 1) * 8
    p = d.getUint8(o)
    o += length
  }
  const need = p === 6 ? 20 : p === 17 || p === Ipv6.NEXTHDR_ICMP ? 8 : 1
  return o + need > end
}
