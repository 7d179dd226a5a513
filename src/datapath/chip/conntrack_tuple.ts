// From headers to tuples: what of a packet says which connection it is of (nf_ct_get_tuple), and how the packets of the
// other direction say it (nf_ct_invert_tuple).

import * as C from '../../memory/layout/conntrack.ts'

export const IPPROTO_ICMP: u32 = 1
export const IPPROTO_TCP: u32 = 6
export const IPPROTO_UDP: u32 = 17
export const IPPROTO_DCCP: u32 = 33
export const IPPROTO_GRE: u32 = 47
export const IPPROTO_ICMPV6: u32 = 58
export const IPPROTO_SCTP: u32 = 132
export const IPPROTO_UDPLITE: u32 = 136

const NEXTHDR_HOP: u32 = 0
const NEXTHDR_ROUTING: u32 = 43
const NEXTHDR_FRAGMENT: u32 = 44
const NEXTHDR_AUTH: u32 = 51
const NEXTHDR_NONE: u32 = 59
const NEXTHDR_DEST: u32 = 60

const GRE_VERSION: u16 = 0x0700 // of the flags as loaded
const GRE_VERSION_1: u16 = 0x0100
const GRE_PROTO_PPP: u16 = 0x0b88

/** IP protocol behind the headers that `l4Header` or `fragment6` walked over. */
export let l4Proto: u32 = 0

/** ipv6_ext_hdr */
function isExtension(next: u32): bool {
  return (
    next == NEXTHDR_HOP ||
    next == NEXTHDR_ROUTING ||
    next == NEXTHDR_FRAGMENT ||
    next == NEXTHDR_AUTH ||
    next == NEXTHDR_NONE ||
    next == NEXTHDR_DEST
  )
}

/** Bytes of the extension header at `p`. */
// @ts-ignore: decorator
@inline
function extensionLength(next: u32, p: usize): i32 {
  if (next == NEXTHDR_FRAGMENT) return 8
  const length = <i32>load<u8>(p, 1)
  return next == NEXTHDR_AUTH ? (length + 2) << 2 : (length + 1) << 3
}

/**
 * get_l4proto: where the transport header of an IP packet of `n` bytes begins, -1 when there is none to be had: cut
 * short, or a later fragment. Sets l4Proto.
 */
export function l4Header(ip: usize, n: i32, family: u32): i32 {
  if (family == 4) {
    if (n < 20) return -1
    if ((load<u16>(ip, 6) & 0xff1f) != 0) return -1
    const at = <i32>(load<u8>(ip) & 15) << 2
    l4Proto = load<u8>(ip, 9)
    return at > n ? -1 : at
  }
  if (n < 40) return -1
  let next = <u32>load<u8>(ip, 6)
  let at: i32 = 40
  while (isExtension(next)) {
    if (next == NEXTHDR_NONE || at + 2 > n) return -1
    const p = ip + at
    if (next == NEXTHDR_FRAGMENT && (at + 4 > n || (load<u16>(p, 2) & 0xf8ff) != 0)) return -1
    at += extensionLength(next, p)
    next = load<u8>(p)
  }
  l4Proto = next
  return at
}

/** Is an IPv6 packet a fragment: 1, or not: 0 (ipv6_find_hdr)? -1: its headers are cut short. */
export function fragment6(ip: usize, n: i32): i32 {
  if (n < 40) return -1
  let next = <u32>load<u8>(ip, 6)
  let at: i32 = 40
  let found: i32 = 0
  while (isExtension(next) && next != NEXTHDR_NONE) {
    if (at + 2 > n) return -1
    const p = ip + at
    if (next == NEXTHDR_FRAGMENT) {
      if (at + 4 > n) return -1
      found = 1
      if ((load<u16>(p, 2) & 0xf8ff) != 0) {
        const behind = <u32>load<u8>(p)
        return !isExtension(behind) || behind == NEXTHDR_NONE ? 1 : -1
      }
    }
    at += extensionLength(next, p)
    next = load<u8>(p)
  }
  return found
}

/** Puts addresses, protocol, family and zone of an IP packet into a tuple, with no ports yet. */
function addresses(t: usize, ip: usize, family: u32, proto: u32, zone: u32): void {
  const zero = i64x2.splat(0)
  if (family == 4) {
    v128.store(t, zero, C.TUPLE_SRC)
    v128.store(t, zero, C.TUPLE_DST)
    store<u32>(t, load<u32>(ip, 12), C.TUPLE_SRC)
    store<u32>(t, load<u32>(ip, 16), C.TUPLE_DST)
  } else {
    v128.store(t, v128.load(ip, 8), C.TUPLE_SRC)
    v128.store(t, v128.load(ip, 24), C.TUPLE_DST)
  }
  store<u32>(t, 0, C.TUPLE_SPORT)
  store<u32>(t, proto | (family << 8) | (zone << 16), C.TUPLE_PROTO)
  store<u64>(t, 0, C.TUPLE_NEXT)
}

/**
 * nf_ct_get_tuple of an IP packet of `n` bytes whose header of protocol l4Proto begins at `at`. False: it is cut short,
 * or says nothing that could be a connection.
 */
export function getTuple(t: usize, ip: usize, n: i32, at: i32, family: u32, zone: u32): bool {
  const proto = l4Proto
  addresses(t, ip, family, proto, zone)
  const p = ip + at
  switch (proto) {
    case IPPROTO_ICMP:
    case IPPROTO_ICMPV6:
      if (at + 8 > n) return false
      store<u16>(t, load<u16>(p, 4), C.TUPLE_SPORT)
      store<u16>(t, load<u16>(p), C.TUPLE_DPORT)
      return true
    case IPPROTO_TCP:
    case IPPROTO_UDP:
    case IPPROTO_UDPLITE:
    case IPPROTO_SCTP:
    case IPPROTO_DCCP:
      if (at + 4 > n) return false
      store<u32>(t, load<u32>(p), C.TUPLE_SPORT)
      return true
    case IPPROTO_GRE:
      // Without the keys of PPTP (version 1) any two hosts have one connection.
      if (at + 4 > n || (load<u16>(p) & GRE_VERSION) != GRE_VERSION_1) return true
      if (at + 8 > n) return true
      if (load<u16>(p, 2) != GRE_PROTO_PPP) return false
      store<u16>(t, load<u16>(p, 6), C.TUPLE_DPORT)
      return true
    default:
      return true
  }
}

/** ICMP type of the answer to a question, or of the question of an answer; -1 for others. */
function icmpCounterpart(type: u32, proto: u32): i32 {
  if (proto == IPPROTO_ICMP) {
    if (type == 8) return 0
    if (type == 0) return 8
    if (type >= 13 && type <= 18) return <i32>(((type - 13) ^ 1) + 13)
    return -1
  }
  if (type == 128 || type == 129) return <i32>(type ^ 1)
  if (type == 139) return 140
  return type == 140 ? 139 : -1
}

/** nf_ct_invert_tuple: how packets of the other direction say it. False: there is no other direction. */
export function invertTuple(to: usize, from: usize): bool {
  const src = v128.load(from, C.TUPLE_SRC)
  const dst = v128.load(from, C.TUPLE_DST)
  const rest = load<u32>(from, C.TUPLE_PROTO)
  const sport = load<u16>(from, C.TUPLE_SPORT)
  const dport = load<u16>(from, C.TUPLE_DPORT)
  const proto = rest & 0xff
  v128.store(to, dst, C.TUPLE_SRC)
  v128.store(to, src, C.TUPLE_DST)
  store<u32>(to, rest, C.TUPLE_PROTO)
  if (proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6) {
    const type = icmpCounterpart(dport & 0xff, proto)
    if (type < 0) return false
    store<u16>(to, sport, C.TUPLE_SPORT)
    store<u16>(to, <u16>((<u32>dport & 0xff00) | <u32>type), C.TUPLE_DPORT)
    return true
  }
  store<u16>(to, dport, C.TUPLE_SPORT)
  store<u16>(to, sport, C.TUPLE_DPORT)
  return true
}
