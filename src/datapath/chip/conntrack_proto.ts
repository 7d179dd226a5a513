// What each protocol makes of a packet: is it one at all, may it begin a connection, how long is the connection kept
// (nf_conntrack_proto_udp.c, _icmp.c, _icmpv6.c, _gre.c, _generic.c; TCP, SCTP and DCCP have files of their own).

import * as C from '../../memory/layout/conntrack.ts'
import { pseudo } from './action_csum.ts'
import { fold, sumWords } from './checksum.ts'
import { setStatus, statusOf } from './conntrack.ts'
import { dccpPacket } from './conntrack_dccp.ts'
import { sctpPacket } from './conntrack_sctp.ts'
import {
  IPPROTO_DCCP,
  IPPROTO_GRE,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPPROTO_UDP,
  IPPROTO_UDPLITE,
} from './conntrack_tuple.ts'
import { tcpPacket } from './conntrack_tcp.ts'

/** The packet is of the connection; it is of none; the connection is gone, look again; it must be dropped. */
export const PACKET_ACCEPT: i32 = 0
export const PACKET_INVALID: i32 = 1
export const PACKET_REPEAT: i32 = 2
export const PACKET_DROP: i32 = 3

// Milliseconds: the kernel's defaults.
const UDP_UNREPLIED: u32 = 30000
export const UDP_REPLIED: u32 = 120000
/** A conversation over UDP this old is a stream. */
const UDP_STREAM_AFTER: u32 = 2000
const ICMP_TIMEOUT: u32 = 30000
const GRE_UNREPLIED: u32 = 30000
const GRE_REPLIED: u32 = 180000
const GENERIC_TIMEOUT: u32 = 600000

/** nf_ct_refresh: lives that long from now on, or from when it is confirmed. */
export function refresh(conn: usize, ms: u32, now: u32): void {
  const confirmed = (statusOf(conn) & C.IPS_CONFIRMED) != 0
  store<u32>(conn, confirmed ? now + ms : ms, C.CONN_TIMEOUT)
}

/** nf_checksum: is the sum over the transport header and all behind it right? */
export function isSumRight(ip: usize, n: i32, at: i32, family: u32, proto: u32): bool {
  const length = <u32>(n - at)
  const start = proto == IPPROTO_ICMP ? 0 : pseudo(ip, family == 6, length, proto)
  return fold(fold(start + sumWords(ip + at, length))) == 0xffff
}

/** udp_error, udplite_error */
function isUdpBroken(ip: usize, n: i32, at: i32, family: u32, lite: bool): bool {
  const room = n - at
  if (room < 8) return true
  const udp = ip + at
  let length = <i32>bswap<u16>(load<u16>(udp, 4))
  if (lite) {
    if (length == 0) length = room
    if (length < 8 || length > room || load<u16>(udp, 6) == 0) return true
    const sum = pseudo(ip, family == 6, room, IPPROTO_UDPLITE) + sumWords(udp, length)
    return fold(fold(sum)) != 0xffff
  }
  if (length > room || length < 8) return true
  return load<u16>(udp, 6) != 0 && !isSumRight(ip, n, at, family, IPPROTO_UDP)
}

/** nf_conntrack_udp_packet */
function udpPacket(conn: usize, now: u32): void {
  const status = statusOf(conn)
  if ((status & C.IPS_CONFIRMED) == 0) store<u32>(conn, now + UDP_STREAM_AFTER, C.CONN_UDP_STREAM)
  if ((status & C.IPS_SEEN_REPLY) == 0) {
    refresh(conn, UDP_UNREPLIED, now)
    return
  }
  const stream = <i32>(now - load<u32>(conn, C.CONN_UDP_STREAM)) > 0
  refresh(conn, stream ? UDP_REPLIED : UDP_UNREPLIED, now)
  if (stream && (status & C.IPS_ASSURED) == 0) setStatus(conn, C.IPS_ASSURED)
}

/** May a message of this type begin a connection: is it a question? */
function isQuestion(type: u32, v6: bool): bool {
  return v6 ? type == 128 || type == 139 : type == 8 || type == 13 || type == 15 || type == 17
}

/**
 * nf_conntrack_handle_packet: a packet of `n` bytes with a transport header at `at`, of connection `conn` in direction
 * `dir`. PACKET_*.
 */
export function protocolPacket(conn: usize, ip: usize, n: i32, at: i32, family: u32, dir: u32, now: u32): i32 {
  const proto = <u32>load<u8>(conn, C.CONN_ORIGINAL + C.TUPLE_PROTO)
  switch (proto) {
    case IPPROTO_TCP:
      return tcpPacket(conn, ip, n, at, family, dir, now)
    case IPPROTO_SCTP:
      return sctpPacket(conn, ip, n, at, dir, now)
    case IPPROTO_DCCP:
      return dccpPacket(conn, ip, n, at, family, dir, now)
    case IPPROTO_UDP:
    case IPPROTO_UDPLITE:
      if (isUdpBroken(ip, n, at, family, proto == IPPROTO_UDPLITE)) return PACKET_INVALID
      udpPacket(conn, now)
      return PACKET_ACCEPT
    case IPPROTO_ICMP:
    case IPPROTO_ICMPV6: {
      const v6 = proto == IPPROTO_ICMPV6
      if (v6 != (family == 6)) return PACKET_INVALID
      if (!isQuestion(load<u8>(conn, C.CONN_ORIGINAL + C.TUPLE_DPORT), v6)) return PACKET_INVALID
      refresh(conn, ICMP_TIMEOUT, now)
      return PACKET_ACCEPT
    }
    case IPPROTO_GRE: {
      const replied = (statusOf(conn) & C.IPS_SEEN_REPLY) != 0
      refresh(conn, replied ? GRE_REPLIED : GRE_UNREPLIED, now)
      if (replied) setStatus(conn, C.IPS_ASSURED)
      return PACKET_ACCEPT
    }
    default:
      refresh(conn, GENERIC_TIMEOUT, now)
      return PACKET_ACCEPT
  }
}
