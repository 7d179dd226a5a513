// DCCP connections: their state by the type of each packet and the role of who sent it (nf_conntrack_proto_dccp.c;
// RFC 4340).
//
//   NONE ─Request─▶ REQUEST ─Response─▶ RESPOND ─Ack─▶ PARTOPEN ─(anything of the server)─▶ OPEN
//        ─CloseReq─▶ CLOSEREQ ─Close─▶ CLOSING ─Reset─▶ TIMEWAIT

import * as C from '../../memory/layout/conntrack.ts'
import { pseudo } from './action_csum.ts'
import { fold, sumWords } from './checksum.ts'
import { kill, setStatus, spinLock, spinUnlock, statusOf, table } from './conntrack.ts'
import { PACKET_ACCEPT, PACKET_INVALID, refresh } from './conntrack_proto.ts'
import { IPPROTO_DCCP } from './conntrack_tuple.ts'

const HEADER: i32 = 12

const REQUEST: u32 = 0
const RESPONSE: u32 = 1
const DATA: u32 = 2
const ACK: u32 = 3
const DATAACK: u32 = 4
const CLOSEREQ: u32 = 5
const CLOSE: u32 = 6
const RESET: u32 = 7
/** Types from here on are reserved. */
const INVALID: u32 = 10

/** Twice the longest life of a packet, in milliseconds. */
const TWO_MSL: u32 = 240000

/** Milliseconds that a connection is kept in a state. */
function timeoutOf(state: u32): u32 {
  switch (state) {
    case C.CT_DCCP_RESPOND:
    case C.CT_DCCP_PARTOPEN:
      return 2 * TWO_MSL
    case C.CT_DCCP_OPEN:
      return 12 * 3600 * 1000
    case C.CT_DCCP_CLOSEREQ:
    case C.CT_DCCP_CLOSING:
      return 64000
    default:
      return TWO_MSL
  }
}

/**
 * The state that a packet of a type leads to, sent by the client or the server: one row of dccp_state_table, a
 * hexadecimal digit for each state, NONE rightmost. 8: let through, nothing changes. 9: the packet is invalid.
 */
function row(server: bool, type: u32): u32 {
  switch (type) {
    case REQUEST:
      return server ? 0x18888889 : 0x18888211
    case RESPONSE:
      return server ? 0x98888229 : 0x98888889
    case DATA:
      return server ? 0x96944999 : 0x96549999
    case ACK:
    case DATAACK:
      return server ? 0x96944999 : 0x96543399
    case CLOSEREQ:
      return server ? 0x95555999 : 0x99999999
    case CLOSE:
      return server ? 0x96966999 : 0x99666999
    case RESET:
      return server ? 0x77777779 : 0x87777779
    default:
      return 0x88888889 // Sync and SyncAck
  }
}

// @ts-ignore: decorator
@inline
function typeOf(dccp: usize): u32 {
  return ((<u32>load<u8>(dccp, 8)) >>> 1) & 15
}

/** dccp_error */
function isBroken(ip: usize, n: i32, at: i32, family: u32): bool {
  const room = n - at
  if (room < HEADER) return true
  const dccp = ip + at
  const header = <i32>load<u8>(dccp, 4) << 2
  if (header < HEADER || header > room) return true
  const coverage = <i32>load<u8>(dccp, 5) & 15
  const covered = coverage == 0 ? room : (coverage - 1) << 2
  if (covered > room) return true
  const sum = pseudo(ip, family == 6, room, IPPROTO_DCCP) + sumWords(dccp, covered)
  return fold(fold(sum)) != 0xffff || typeOf(dccp) >= INVALID
}

/** dccp_hdr_seq: 48 bits with the long header, 24 with the short one. */
function sequenceOf(dccp: usize): u64 {
  const high = <u64>bswap<u16>(load<u16>(dccp, 10))
  if ((load<u8>(dccp, 8) & 1) == 0) return high + (<u64>load<u8>(dccp, 9) << 16)
  return (high << 32) + bswap<u32>(load<u32>(dccp, 12))
}

/** dccp_ack_seq */
function acknowledges(dccp: usize): u64 {
  const p = dccp + ((load<u8>(dccp, 8) & 1) != 0 ? 16 : HEADER)
  return (<u64>bswap<u16>(load<u16>(p, 2)) << 32) + bswap<u32>(load<u32>(p, 4))
}

/** Is the sender of direction `dir` the server? CONN_DCCP_SERVER is its direction. */
// @ts-ignore: decorator
@inline
function isServer(conn: usize, dir: u32): bool {
  return <u32>load<u8>(conn, C.CONN_DCCP_SERVER) == dir
}

/** Has the acknowledgement all the bytes that it takes? */
function hasAck(dccp: usize, room: i32): bool {
  return room >= ((load<u8>(dccp, 8) & 1) != 0 ? 24 : 20)
}

/** What the step from `old` to `state` asks for; the state it is then. */
function step(conn: usize, dccp: usize, room: i32, dir: u32, type: u32, old: u32, state: u32): u32 {
  switch (state) {
    case C.CT_DCCP_REQUEST:
      // Again, the other way round: the roles change.
      if (old == C.CT_DCCP_TIMEWAIT && isServer(conn, dir)) store<u8>(conn, <u8>(dir ^ 1), C.CONN_DCCP_SERVER)
      return state
    case C.CT_DCCP_RESPOND:
      if (old == C.CT_DCCP_REQUEST) store<u64>(conn, sequenceOf(dccp), C.CONN_DCCP_HANDSHAKE)
      return state
    case C.CT_DCCP_PARTOPEN:
      if (old == C.CT_DCCP_RESPOND && type == ACK && hasAck(dccp, room)) {
        if (acknowledges(dccp) == load<u64>(conn, C.CONN_DCCP_HANDSHAKE)) setStatus(conn, C.IPS_ASSURED)
      }
      return state
    case C.CT_DCCP_IGNORE: {
      const asked =
        <u32>load<u8>(conn, C.CONN_DCCP_LAST_DIR) == (dir ^ 1) && <u32>load<u8>(conn, C.CONN_DCCP_LAST_TYPE) == REQUEST
      if (!asked || type != RESPONSE) return state
      // The server answers a Request that was let through: the two are in agreement, and this table was not.
      store<u8>(conn, <u8>dir, C.CONN_DCCP_SERVER)
      store<u64>(conn, sequenceOf(dccp), C.CONN_DCCP_HANDSHAKE)
      return C.CT_DCCP_RESPOND
    }
    default:
      return state
  }
}

/** dccp_packet. PACKET_*. */
export function dccpPacket(conn: usize, ip: usize, n: i32, at: i32, family: u32, dir: u32, now: u32): i32 {
  if (isBroken(ip, n, at, family)) return PACKET_INVALID
  const dccp = ip + at
  const type = typeOf(dccp)
  const status = statusOf(conn)
  if ((status & C.IPS_CONFIRMED) == 0) {
    if (type != REQUEST) return PACKET_INVALID
    memory.fill(conn + C.CONN_DCCP_STATE, 0, C.CONN_DCCP_SIZE)
    store<u8>(conn, C.CT_DIR_REPLY, C.CONN_DCCP_SERVER)
  }
  if (type == RESET && (status & C.IPS_SEEN_REPLY) == 0) {
    // Refused before anything was said: forget it at once.
    kill(table(), conn)
    return PACKET_ACCEPT
  }
  const lock = conn + C.CONN_LOCK
  spinLock(lock)
  const old = <u32>load<u8>(conn, C.CONN_DCCP_STATE)
  const wanted = (row(isServer(conn, dir), type) >>> (old << 2)) & 15
  const state = step(conn, dccp, n - at, dir, type, old, wanted)
  if (state != C.CT_DCCP_INVALID) {
    store<u8>(conn, <u8>dir, C.CONN_DCCP_LAST_DIR)
    store<u8>(conn, <u8>type, C.CONN_DCCP_LAST_TYPE)
    if (state != C.CT_DCCP_IGNORE) store<u8>(conn, <u8>state, C.CONN_DCCP_STATE)
  }
  spinUnlock(lock)
  if (state == C.CT_DCCP_INVALID) return PACKET_INVALID
  if (state != C.CT_DCCP_IGNORE) refresh(conn, timeoutOf(state), now)
  return PACKET_ACCEPT
}
