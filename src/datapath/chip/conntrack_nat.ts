// Network address translation of connections (nf_nat_core.c, nf_nat_proto.c): which addresses and ports a new one gets,
// and writing them into its packets, checksums with them, both ways, and into the packets that ICMP errors carry.
//
// A mapping is nothing but the connection's reply tuple: it is how answers will look, so its inverse is how the packets
// must look when they leave. `setup` changes it before the connection is confirmed; after that it never changes.
//
// What a kernel chooses by a random number is chosen here by a number that follows from the source: the same every time,
// and the same for all connections of a source, which a kernel sees to by remembering them (find_appropriate_src).

import * as S from '../../memory/layout/action_state.ts'
import * as C from '../../memory/layout/conntrack.ts'
import { crc32c, fold, replace4, sumWords } from './checksum.ts'
import { connOf, find, sameTuple, statusOf, tupleAt, tupleOf } from './conntrack.ts'
import { isSumRight } from './conntrack_proto.ts'
import {
  invertTuple,
  IPPROTO_DCCP,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPPROTO_UDP,
  IPPROTO_UDPLITE,
  l4Header,
  l4Proto,
} from './conntrack_tuple.ts'

/** enum nf_nat_manip_type */
export const MANIP_SRC: u32 = 0
export const MANIP_DST: u32 = 1

const ATTEMPTS_MAX: u32 = 128
const ATTEMPTS_MIN: u32 = 16

const ICMP_REDIRECT: u8 = 5

// ---- choosing

/** The range at hand: addresses (when it has any), ports as numbers. */
let hasAddress: bool = false
let minAddress: usize = 0
let maxAddress: usize = 0
let hasPorts: bool = false
let minPort: u32 = 0
let maxPort: u32 = 0

/** nf_nat_used_tuple: would the replies of `t` be those of another connection than `conn`? */
function isUsed(tab: usize, t: usize, conn: usize, now: u32): bool {
  const reply = tupleAt(3)
  if (!invertTuple(reply, t)) return false
  const h = find(tab, reply, now)
  if (h == 0) return false
  const other = connOf(h)
  return other != conn && !sameTuple(other + C.CONN_ORIGINAL, conn + C.CONN_ORIGINAL)
}

/** Where a tuple has what may be changed of its port. */
// @ts-ignore: decorator
@inline
function portField(manip: u32): usize {
  return manip == MANIP_SRC ? C.TUPLE_SPORT : C.TUPLE_DPORT
}

/** l4proto_in_range */
function isPortInRange(t: usize, manip: u32): bool {
  const proto = <u32>load<u8>(t, C.TUPLE_PROTO)
  const icmp = proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6
  if (!icmp && !hasNatPorts(proto)) return true
  const port = <u32>bswap<u16>(load<u16>(t + (icmp ? <usize>C.TUPLE_SPORT : portField(manip))))
  return port >= minPort && port <= maxPort
}

function hasNatPorts(proto: u32): bool {
  return (
    proto == IPPROTO_TCP ||
    proto == IPPROTO_UDP ||
    proto == IPPROTO_UDPLITE ||
    proto == IPPROTO_SCTP ||
    proto == IPPROTO_DCCP
  )
}

/** Compares addresses of 16 bytes as the wire orders them. */
function compareAddress(a: usize, b: usize): i32 {
  for (let i: usize = 0; i < 16; i += 4) {
    const x = bswap<u32>(load<u32>(a + i))
    const y = bswap<u32>(load<u32>(b + i))
    if (x != y) return x < y ? -1 : 1
  }
  return 0
}

// @ts-ignore: decorator
@inline
function isAddressInRange(at: usize): bool {
  return compareAddress(at, minAddress) >= 0 && compareAddress(at, maxAddress) <= 0
}

/** find_best_ips_proto: an address of the range, the same for the same two hosts. */
function chooseAddress(t: usize, manip: u32): void {
  if (!hasAddress) return
  const at = t + (manip == MANIP_SRC ? C.TUPLE_SRC : C.TUPLE_DST)
  if (compareAddress(minAddress, maxAddress) == 0) {
    v128.store(at, v128.load(minAddress))
    return
  }
  const words: usize = load<u8>(t, C.TUPLE_FAMILY) == 4 ? 1 : 4
  let j = hashOf(t, manip == MANIP_SRC ? 16 : 32)
  let free = false
  for (let i: usize = 0; i < words; i++) {
    const low: u32 = free ? 0 : bswap<u32>(load<u32>(minAddress + (i << 2)))
    const count: u64 = free ? 0xffffffff : <u64>bswap<u32>(load<u32>(maxAddress + (i << 2))) - low + 1
    const word = bswap<u32>(low + <u32>((<u64>j * count) >> 32))
    store<u32>(at + (i << 2), word)
    if (word != load<u32>(maxAddress + (i << 2))) free = true
    if (manip == MANIP_DST) j ^= load<u32>(t + C.TUPLE_DST + (i << 2))
  }
}

/** A number for the source of a tuple (16 bytes), or for both ends (32). */
function hashOf(t: usize, bytes: usize): u32 {
  let h: u32 = 0x9e3779b9
  for (let i: usize = 0; i < bytes; i += 4) {
    h = (h ^ load<u32>(t + i)) * 0x85ebca6b
    h ^= h >>> 15
  }
  return h
}

/** nf_nat_l4proto_unique_tuple: a port of the range, or of those like it, that nobody uses; at worst one in use. */
function choosePort(tab: usize, t: usize, conn: usize, manip: u32, now: u32): void {
  const proto = <u32>load<u8>(t, C.TUPLE_PROTO)
  const icmp = proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6
  if (!icmp && !hasNatPorts(proto)) return
  const field = t + (icmp ? <usize>C.TUPLE_SPORT : portField(manip))
  let min: u32 = 0
  let size: u32 = 65536
  if (hasPorts) {
    min = minPort < maxPort ? minPort : maxPort
    size = (minPort < maxPort ? maxPort : minPort) - min + 1
  } else if (!icmp) {
    if (manip == MANIP_DST) return
    const port = <u32>bswap<u16>(load<u16>(field))
    min = port < 512 ? 1 : port < 1024 ? 600 : 1024
    size = port < 512 ? 511 : port < 1024 ? 424 : 64512
  }
  const source = conn + C.CONN_ORIGINAL
  const luck = (hashOf(source, 16) ^ load<u16>(source, C.TUPLE_SPORT)) * 0x85ebca6b
  let offset = manip == MANIP_DST && !icmp ? 0 : luck >>> 16
  let attempts = size < ATTEMPTS_MAX ? size : ATTEMPTS_MAX
  let more = true
  while (more) {
    for (let i: u32 = 0; i < attempts; i++, offset++) {
      store<u16>(field, bswap<u16>(<u16>(min + (offset & 0xffff) % size)))
      if (!isUsed(tab, t, conn, now)) return
    }
    more = attempts < size && attempts >= ATTEMPTS_MIN
    attempts >>= 1
    offset = offset * 0x9e3779b9 + 0x7f4a7c15
  }
}

/** get_unique_tuple: how the packets of `conn` shall look, from how they look now (`from`), into `t`. */
function uniqueTuple(tab: usize, t: usize, from: usize, conn: usize, manip: u32, now: u32): void {
  memory.copy(t, from, C.TUPLE_SIZE)
  if (manip == MANIP_SRC) {
    const fits =
      (!hasAddress || isAddressInRange(from + C.TUPLE_SRC)) && (!hasPorts || isPortInRange(from, MANIP_SRC))
    if (fits && !isUsed(tab, t, conn, now)) return
  }
  chooseAddress(t, manip)
  if (hasPorts) {
    if (isPortInRange(t, manip) && (minPort == maxPort || !isUsed(tab, t, conn, now))) return
  } else if (!isUsed(tab, t, conn, now)) {
    return
  }
  choosePort(tab, t, conn, manip, now)
}

/** nf_nat_setup_info with the range at hand: what a connection that is not confirmed is translated to. */
function setup(tab: usize, conn: usize, manip: u32, now: u32): void {
  const current = tupleAt(0)
  const chosen = tupleAt(1)
  if (!invertTuple(current, conn + C.CONN_REPLY)) return
  uniqueTuple(tab, chosen, current, conn, manip, now)
  let status = statusOf(conn)
  if (!sameTuple(current, chosen)) {
    invertTuple(conn + C.CONN_REPLY, chosen)
    status |= manip == MANIP_SRC ? C.IPS_SRC_NAT : C.IPS_DST_NAT
  }
  store<u32>(conn, status | (manip == MANIP_SRC ? C.IPS_SRC_NAT_DONE : C.IPS_DST_NAT_DONE), C.CONN_STATUS)
}

/** The range that an action names. False: it names no address, and so nothing (NF_NAT_RANGE_MAP_IPS). */
function rangeOf(params: usize): bool {
  const flags = load<u32>(params, S.CT_NAT_FLAGS)
  hasAddress = (flags & (S.CT_NAT_IPV4 | S.CT_NAT_IPV6)) != 0
  minAddress = params + S.CT_NAT_MIN
  maxAddress = params + S.CT_NAT_MAX
  hasPorts = (flags & S.CT_NAT_PORTS) != 0
  minPort = bswap<u16>(load<u16>(params, S.CT_NAT_PORT_MIN))
  maxPort = bswap<u16>(load<u16>(params, S.CT_NAT_PORT_MAX))
  return hasAddress
}

/** nf_nat_alloc_null_binding: the address stays; the port too, when nobody else has it. */
function rangeOfItself(conn: usize, manip: u32): void {
  hasAddress = true
  minAddress = conn + C.CONN_REPLY + (manip == MANIP_SRC ? C.TUPLE_DST : C.TUPLE_SRC)
  maxAddress = minAddress
  hasPorts = false
}

// ---- writing

/** inet_proto_csum_replace2 on a checksum field at `p`, words as loaded. */
function replaceWord(p: usize, from: u32, to: u32): void {
  store<u16>(p, <u16>replace4(load<u16>(p), from, to))
}

/** inet_proto_csum_replace of an address: its words. */
function replaceAddress(p: usize, from: usize, to: usize, words: usize): void {
  for (let i: usize = 0; i < words; i++) replaceWord(p, load<u32>(from + (i << 2)), load<u32>(to + (i << 2)))
}

/** l4proto_manip_pkt: ports or id at `l4`, `room` bytes there, and the checksum with the address that will change. */
function writeL4(l4: usize, room: i32, proto: u32, old: usize, to: usize, words: usize, target: usize, manip: u32): bool {
  const at = l4 + (manip == MANIP_SRC ? 0 : 2)
  const port = load<u16>(target + portField(manip))
  switch (proto) {
    case IPPROTO_TCP: {
      if (room < 8) return false
      const was = load<u16>(at)
      store<u16>(at, port)
      // Inside an ICMP error there may be no more than eight bytes of it.
      if (room < 20) return true
      replaceAddress(l4 + 16, old, to, words)
      replaceWord(l4 + 16, was, port)
      return true
    }
    case IPPROTO_UDP:
    case IPPROTO_UDPLITE: {
      if (room < 8) return false
      const was = load<u16>(at)
      store<u16>(at, port)
      if (load<u16>(l4, 6) == 0 && proto == IPPROTO_UDP) return true
      replaceAddress(l4 + 6, old, to, words)
      replaceWord(l4 + 6, was, port)
      if (load<u16>(l4, 6) == 0) store<u16>(l4, 0xffff, 6)
      return true
    }
    case IPPROTO_SCTP: {
      if (room < 8) return false
      store<u16>(at, port)
      if (room >= 12) {
        store<u32>(l4, 0, 8)
        store<u32>(l4, crc32c(l4, room), 8)
      }
      return true
    }
    case IPPROTO_DCCP: {
      if (room < 8) return false
      const was = load<u16>(at)
      store<u16>(at, port)
      if (room < 12) return true
      replaceAddress(l4 + 6, old, to, words)
      replaceWord(l4 + 6, was, port)
      return true
    }
    case IPPROTO_ICMP: {
      if (room < 8) return false
      const type = load<u8>(l4)
      if (type != 0 && type != 8 && (type < 13 || type > 18)) return true
      const id = load<u16>(target, C.TUPLE_SPORT)
      replaceWord(l4 + 2, load<u16>(l4, 4), id)
      store<u16>(l4, id, 4)
      return true
    }
    case IPPROTO_ICMPV6: {
      if (room < 8) return false
      replaceAddress(l4 + 2, old, to, words)
      const type = load<u8>(l4)
      if (type != 128 && type != 129) return true
      const id = load<u16>(target, C.TUPLE_SPORT)
      replaceWord(l4 + 2, load<u16>(l4, 4), id)
      store<u16>(l4, id, 4)
      return true
    }
    default:
      return true
  }
}

/** nf_nat_manip_pkt: makes the header at `ip`, of a packet of `n` bytes, look like `target`. False: it is cut short. */
function writePacket(ip: usize, n: i32, family: u32, target: usize, manip: u32): bool {
  const at = l4Header(ip, n, family)
  if (at < 0) return family == 6 && n >= 40 ? writeAddress(ip, 6, target, manip) : false
  const field = ip + (family == 4 ? 12 : 8) + (manip == MANIP_SRC ? 0 : family == 4 ? 4 : 16)
  const to = target + (manip == MANIP_SRC ? C.TUPLE_SRC : C.TUPLE_DST)
  if (!writeL4(ip + at, n - at, l4Proto, field, to, family == 4 ? 1 : 4, target, manip)) return false
  return writeAddress(ip, family, target, manip)
}

function writeAddress(ip: usize, family: u32, target: usize, manip: u32): bool {
  const to = target + (manip == MANIP_SRC ? C.TUPLE_SRC : C.TUPLE_DST)
  if (family == 6) {
    v128.store(ip + (manip == MANIP_SRC ? 8 : 24), v128.load(to))
    return true
  }
  const field = ip + (manip == MANIP_SRC ? 12 : 16)
  replaceWord(ip + 10, load<u32>(field), load<u32>(to))
  store<u32>(field, load<u32>(to))
  return true
}

// @ts-ignore: decorator
@inline
function statusBit(manip: u32, dir: u32): u32 {
  const bit: u32 = manip == MANIP_SRC ? C.IPS_SRC_NAT : C.IPS_DST_NAT
  return dir == C.CT_DIR_REPLY ? bit ^ C.IPS_NAT_MASK : bit
}

/** nf_nat_packet */
function translate(ip: usize, n: i32, family: u32, conn: usize, dir: u32, manip: u32): bool {
  if ((statusOf(conn) & statusBit(manip, dir)) == 0) return true
  const target = tupleAt(0)
  if (!invertTuple(target, tupleOf(conn, dir ^ 1))) return false
  return writePacket(ip, n, family, target, manip)
}

/** nf_nat_icmp_reply_translation: an ICMP error, and the packet in it, the other way round. */
function translateError(ip: usize, n: i32, at: i32, family: u32, conn: usize, dir: u32, manip: u32): bool {
  const v6 = family == 6
  const proto: u32 = v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP
  const icmp = ip + at
  if (at + 8 + (v6 ? 40 : 20) > n || !isSumRight(ip, n, at, family, proto)) return false
  const status = statusOf(conn)
  const redirect = v6 ? load<u8>(icmp) == 137 : load<u8>(icmp) == ICMP_REDIRECT
  // A redirect means a route, which a translated connection does not share.
  if (redirect && ((status & C.IPS_NAT_DONE_MASK) != C.IPS_NAT_DONE_MASK || (status & C.IPS_NAT_MASK) != 0)) return false
  if ((status & statusBit(manip, dir)) == 0) return true
  if (!writePacket(icmp + 8, n - at - 8, family, tupleOf(conn, dir ^ 1), manip ^ 1)) return false
  const target = tupleAt(0)
  invertTwo(target, tupleOf(conn, dir ^ 1), proto)
  if (!writeAddress(ip, family, target, manip)) return false
  store<u16>(icmp, 0, 2)
  store<u16>(icmp, <u16>~fold(fold(errorPseudo(ip, n, at, v6) + sumWords(icmp, n - at))), 2)
  return true
}

/** How the outer header must look: only its addresses are of use, so what follows them may be of another protocol. */
function invertTwo(to: usize, from: usize, proto: u32): void {
  const src = v128.load(from, C.TUPLE_SRC)
  v128.store(to, v128.load(from, C.TUPLE_DST), C.TUPLE_SRC)
  v128.store(to, src, C.TUPLE_DST)
  store<u32>(to, 0, C.TUPLE_SPORT)
  store<u32>(to, proto, C.TUPLE_PROTO)
}

function errorPseudo(ip: usize, n: i32, at: i32, v6: bool): u32 {
  return v6 ? sumWords(ip + 8, 32) + <u32>bswap<u16>(<u16>(n - at)) + (IPPROTO_ICMPV6 << 8) : 0
}

/** ct_nat_execute. `params`: the action's, 0 for a mapping to itself. False: the packet must be dropped. */
function execute(
  tab: usize,
  ip: usize,
  n: i32,
  family: u32,
  conn: usize,
  state: u32,
  dir: u32,
  params: usize,
  manip: u32,
  now: u32,
): bool {
  if ((state & C.CT_STATE_RELATED) != 0) {
    const at = l4Header(ip, n, family)
    if (at >= 0 && l4Proto == (family == 6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP)) {
      return translateError(ip, n, at, family, conn, dir, manip)
    }
  }
  const done: u32 = manip == MANIP_SRC ? C.IPS_SRC_NAT_DONE : C.IPS_DST_NAT_DONE
  const status = statusOf(conn)
  if ((state & (C.CT_STATE_NEW | C.CT_STATE_RELATED)) != 0 && (status & (done | C.IPS_CONFIRMED)) == 0) {
    if (params == 0 || !rangeOf(params)) rangeOfItself(conn, manip)
    setup(tab, conn, manip, now)
  }
  return translate(ip, n, family, conn, dir, manip)
}

/**
 * tcf_ct_act_nat: `ct nat` and `ct commit nat`, for a packet of connection `conn` (`state` CT_STATE_*). False: the
 * packet must be dropped.
 */
export function natPacket(
  tab: usize,
  ip: usize,
  n: i32,
  family: u32,
  conn: usize,
  state: u32,
  params: usize,
  toSource: bool,
  toDestination: bool,
  commit: bool,
  now: u32,
): bool {
  const dir: u32 = (state & C.CT_STATE_REPLY) != 0 ? C.CT_DIR_REPLY : C.CT_DIR_ORIGINAL
  const related = (state & C.CT_STATE_RELATED) != 0 && dir == C.CT_DIR_ORIGINAL
  const before = statusOf(conn)
  let manip: u32 = MANIP_SRC
  if ((state & C.CT_STATE_NEW) == 0 && (before & C.IPS_NAT_MASK) != 0 && (!related || commit)) {
    const source = (before & C.IPS_SRC_NAT) != 0
    if (dir == C.CT_DIR_REPLY) manip = source ? MANIP_DST : MANIP_SRC
    else manip = source ? MANIP_SRC : MANIP_DST
  } else if (toSource) {
    manip = MANIP_SRC
  } else if (toDestination) {
    manip = MANIP_DST
  } else {
    return true
  }
  if (!execute(tab, ip, n, family, conn, state, dir, params, manip, now)) return false
  const status = statusOf(conn)
  if ((status & C.IPS_DST_NAT) == 0) return true
  if ((status & C.IPS_SRC_NAT) != 0) return execute(tab, ip, n, family, conn, state, dir, params, manip ^ 1, now)
  return dir != C.CT_DIR_ORIGINAL || execute(tab, ip, n, family, conn, state, dir, 0, MANIP_SRC, now)
}
