// SCTP associations: their state by the chunks that each side sent, with verification tags as witnesses of who speaks
// (nf_conntrack_proto_sctp.c; RFC 9260 8.4, 8.5).
//
//   NONE ─INIT─▶ CLOSED ─INIT ACK─▶ COOKIE_WAIT ─COOKIE ECHO─▶ COOKIE_ECHOED ─COOKIE ACK─▶ ESTABLISHED
//        ─SHUTDOWN─▶ SHUTDOWN_SENT | SHUTDOWN_RECD ─SHUTDOWN ACK─▶ SHUTDOWN_ACK_SENT ─SHUTDOWN COMPLETE─▶ CLOSED
//
// A second path of an association begins with a HEARTBEAT: HEARTBEAT_SENT, and ESTABLISHED when it is acknowledged.

import * as C from '../../memory/layout/conntrack.ts'
import { crc32c } from './checksum.ts'
import { setStatus, spinLock, spinUnlock, statusOf } from './conntrack.ts'
import { PACKET_ACCEPT, PACKET_INVALID, refresh } from './conntrack_proto.ts'

const HEADER: i32 = 12
const CHUNK: i32 = 4

const DATA: u32 = 0
const INIT: u32 = 1
const INIT_ACK: u32 = 2
const HEARTBEAT: u32 = 4
const HEARTBEAT_ACK: u32 = 5
const ABORT: u32 = 6
const SHUTDOWN: u32 = 7
const SHUTDOWN_ACK: u32 = 8
const ERROR: u32 = 9
const COOKIE_ECHO: u32 = 10
const COOKIE_ACK: u32 = 11
const SHUTDOWN_COMPLETE: u32 = 14

/** The tag of ABORT and SHUTDOWN COMPLETE is the sender's own. */
const FLAG_T: u8 = 1
/** A heartbeat came with a wrong tag; only its acknowledgement can say that it was right. */
const VTAG_FAILED: u8 = 1

/** Milliseconds that a connection is kept in a state. */
function timeoutOf(state: u32): u32 {
  if (state == C.SCTP_CONNTRACK_ESTABLISHED) return 210000
  if (state == C.SCTP_CONNTRACK_HEARTBEAT_SENT) return 30000
  return state <= <u32>C.SCTP_CONNTRACK_CLOSED ? 10000 : 3000
}

/**
 * The state that a chunk leads to, in a direction: one row of sctp_conntracks, a hexadecimal digit for each state, NONE
 * rightmost. 9: the chunk is invalid. 0: it changes nothing.
 */
function row(dir: u32, chunk: u32): u64 {
  const original = dir == C.CT_DIR_ORIGINAL
  switch (chunk) {
    case INIT:
      return original ? 0x271143211 : 0x976543219
    case INIT_ACK:
      return original ? 0x176543211 : 0x976543229
    case ABORT:
      return original ? 0x111111111 : 0x911111119
    case SHUTDOWN:
      return original ? 0x176553211 : 0x976563219
    case SHUTDOWN_ACK:
      return original ? 0x777743217 : 0x977743219
    case ERROR:
      return original ? 0x176543211 : 0x976541219
    case COOKIE_ECHO:
      return original ? 0x176543311 : 0x976543319
    case COOKIE_ACK:
      return original ? 0x176544211 : 0x976544219
    case SHUTDOWN_COMPLETE:
      return original ? 0x116543211 : 0x916543219
    case HEARTBEAT:
      return original ? 0x876543218 : 0x876543219
    case HEARTBEAT_ACK:
      return original ? 0x876543211 : 0x476543219
    default:
      return 0
  }
}

/** sctp_new_state */
function nextState(dir: u32, state: u32, chunk: u32): u32 {
  const r = row(dir, chunk)
  return r == 0 ? state : <u32>(r >> (state << 2)) & 15
}

/** Bit i: there is a chunk of type i. Set by `chunksFit`; types beyond 31 change no state. */
let chunks: u32 = 0

// @ts-ignore: decorator
@inline
function has(type: u32): bool {
  return ((chunks >>> type) & 1) != 0
}

// @ts-ignore: decorator
@inline
function chunkLength(p: usize): i32 {
  return (<i32>bswap<u16>(load<u16>(p, 2)) + 3) & ~3
}

/** do_basic_checks of the chunks at [p, end): is there one, and may those that are there come together? */
function chunksFit(p: usize, end: usize): bool {
  chunks = 0
  let count = 0
  let alone = false
  while (p + CHUNK <= end) {
    const type = <u32>load<u8>(p)
    if (type == INIT || type == INIT_ACK || type == SHUTDOWN_COMPLETE) alone = true
    const first = type == COOKIE_ACK || type == COOKIE_ECHO || alone
    if ((first && count != 0) || load<u16>(p, 2) == 0) return false
    if (type < 32) chunks |= 1 << type
    p += chunkLength(p)
    count++
  }
  return count != 0
}

function isCrcRight(sctp: usize, n: i32): bool {
  const sum = load<u32>(sctp, 8)
  store<u32>(sctp, 0, 8)
  const right = crc32c(sctp, n) == sum
  store<u32>(sctp, sum, 8)
  return right
}

// @ts-ignore: decorator
@inline
function tagOf(conn: usize, dir: u32): u32 {
  return load<u32>(conn + C.CONN_SCTP_VTAGS + (<usize>dir << 2))
}

// @ts-ignore: decorator
@inline
function setTag(conn: usize, dir: u32, tag: u32): void {
  store<u32>(conn + C.CONN_SCTP_VTAGS + (<usize>dir << 2), tag)
}

/** sctp_new: may the packet begin a connection? Sets the tags that it tells. */
function begins(conn: usize, sctp: usize, end: usize): bool {
  if (has(ABORT) || has(SHUTDOWN_COMPLETE) || has(COOKIE_ACK)) return false
  memory.fill(conn + C.CONN_SCTP_STATE, 0, C.CONN_SCTP_SIZE)
  const tag = load<u32>(sctp, 4)
  for (let p = sctp + HEADER; p + CHUNK <= end; p += chunkLength(p)) {
    const type = <u32>load<u8>(p)
    const state = nextState(C.CT_DIR_ORIGINAL, C.SCTP_CONNTRACK_NONE, type)
    if (state == C.SCTP_CONNTRACK_NONE || state == C.SCTP_CONNTRACK_MAX) return false
    if (type == INIT) {
      if (tag != 0 || p + 20 > end) return false
      setTag(conn, C.CT_DIR_REPLY, load<u32>(p, 4))
    } else {
      setTag(conn, type == HEARTBEAT ? C.CT_DIR_ORIGINAL : C.CT_DIR_REPLY, tag)
    }
  }
  return true
}

/** Does an ABORT or SHUTDOWN COMPLETE, at `p`, have the tag that it must have? */
function hasEitherTag(conn: usize, p: usize, tag: u32, dir: u32): bool {
  return tag == tagOf(conn, (load<u8>(p, 1) & FLAG_T) == 0 ? dir : dir ^ 1)
}

// What comes of the tag of a heartbeat.
const TAG_GOOD: i32 = 0
const TAG_DOUBTFUL: i32 = 1
const TAG_WRONG: i32 = 2

function heartbeatTag(conn: usize, tag: u32, dir: u32, isAck: bool, ignored: bool): i32 {
  const flags = load<u8>(conn, C.CONN_SCTP_FLAGS)
  const own = tagOf(conn, dir)
  if (own == 0) {
    setTag(conn, dir, tag)
    return TAG_GOOD
  }
  if (tag == own) {
    store<u8>(conn, flags & ~VTAG_FAILED, C.CONN_SCTP_FLAGS)
    return TAG_GOOD
  }
  if (has(DATA) || ignored) return TAG_WRONG
  if (!isAck) {
    store<u8>(conn, flags | VTAG_FAILED, C.CONN_SCTP_FLAGS)
    store<u8>(conn, <u8>dir, C.CONN_SCTP_LAST_DIR)
    return TAG_DOUBTFUL
  }
  if ((flags & VTAG_FAILED) == 0 || <u32>load<u8>(conn, C.CONN_SCTP_LAST_DIR) == dir) return TAG_WRONG
  store<u8>(conn, flags & ~VTAG_FAILED, C.CONN_SCTP_FLAGS)
  setTag(conn, dir, tag)
  setTag(conn, dir ^ 1, 0)
  return TAG_GOOD
}

/** INIT and INIT ACK, at `p`, say the tag that the other side shall use. False: it cannot be. */
function noteInit(conn: usize, p: usize, end: usize, dir: u32, isAck: bool): bool {
  if (p + 20 > end) return false
  const said = load<u32>(p, 4)
  const own: u8 = 1 << <u8>dir
  const inits = load<u8>(conn, C.CONN_SCTP_INITS)
  if (isAck) {
    const tag = tagOf(conn, dir ^ 1)
    const other = (inits & (own ^ 3)) != 0
    if (!other && tag != 0 && tag != said) return false
    if (inits == 3 && tag != said) return false
  } else {
    store<u8>(conn, inits == 3 ? own : inits | own, C.CONN_SCTP_INITS)
  }
  setTag(conn, dir ^ 1, said)
  return true
}

/** Of `walk`: the packet is invalid; it is accepted and prolongs nothing; it is accepted. */
const WALK_INVALID: i32 = 0
const WALK_IGNORE: i32 = 1
const WALK_ACCEPT: i32 = 2

/** State behind the last chunk that `walk` went over. */
let lastState: u32 = 0

/** Goes over the chunks, the connection's lock held. */
function walk(conn: usize, sctp: usize, end: usize, dir: u32, confirmed: bool): i32 {
  const tag = load<u32>(sctp, 4)
  let ignored = false
  lastState = C.SCTP_CONNTRACK_NONE
  for (let p = sctp + HEADER; p + CHUNK <= end; p += chunkLength(p)) {
    const type = <u32>load<u8>(p)
    switch (type) {
      case INIT:
        if (tag != 0) return WALK_INVALID
        break
      case ABORT:
      case SHUTDOWN_COMPLETE:
        if (!hasEitherTag(conn, p, tag, dir)) return WALK_INVALID
        break
      case COOKIE_ECHO:
        if (tag != tagOf(conn, dir)) return WALK_INVALID
        break
      case COOKIE_ACK:
        store<u8>(conn, 0, C.CONN_SCTP_INITS)
        break
      case HEARTBEAT:
      case HEARTBEAT_ACK: {
        const found = heartbeatTag(conn, tag, dir, type == HEARTBEAT_ACK, ignored)
        if (found == TAG_WRONG) return WALK_INVALID
        if (found == TAG_DOUBTFUL) {
          ignored = true
          continue
        }
        break
      }
      default:
        break
    }
    const old = <u32>load<u8>(conn, C.CONN_SCTP_STATE)
    lastState = nextState(dir, old, type)
    if (lastState == C.SCTP_CONNTRACK_MAX) return WALK_INVALID
    if ((type == INIT || type == INIT_ACK) && !noteInit(conn, p, end, dir, type == INIT_ACK)) return WALK_INVALID
    // An INIT that is sent again does not prolong the life of what it did not open.
    const again = old == C.SCTP_CONNTRACK_CLOSED && lastState == C.SCTP_CONNTRACK_CLOSED
    if (type == INIT && again && confirmed) ignored = true
    store<u8>(conn, <u8>lastState, C.CONN_SCTP_STATE)
    if (lastState != old && lastState == C.SCTP_CONNTRACK_ESTABLISHED) setStatus(conn, C.IPS_ASSURED)
  }
  return ignored ? WALK_IGNORE : WALK_ACCEPT
}

/** Is the tag of the packet as it must be, where no chunk has a rule of its own? */
function isTagRight(conn: usize, tag: u32, dir: u32): bool {
  const special =
    has(INIT) ||
    has(SHUTDOWN_COMPLETE) ||
    has(COOKIE_ECHO) ||
    has(ABORT) ||
    has(SHUTDOWN_ACK) ||
    has(HEARTBEAT) ||
    has(HEARTBEAT_ACK)
  return special || tag == tagOf(conn, dir)
}

/** nf_conntrack_sctp_packet. PACKET_*. */
export function sctpPacket(conn: usize, ip: usize, n: i32, at: i32, dir: u32, now: u32): i32 {
  const sctp = ip + at
  const end = ip + n
  if (at + HEADER > n || !isCrcRight(sctp, n - at) || !chunksFit(sctp + HEADER, end)) return PACKET_INVALID
  const confirmed = (statusOf(conn) & C.IPS_CONFIRMED) != 0
  if (!confirmed && !begins(conn, sctp, end)) return PACKET_INVALID
  if (!isTagRight(conn, load<u32>(sctp, 4), dir)) return PACKET_INVALID
  const lock = conn + C.CONN_LOCK
  spinLock(lock)
  const found = walk(conn, sctp, end, dir, confirmed)
  const state = lastState
  spinUnlock(lock)
  if (found == WALK_INVALID) return PACKET_INVALID
  if (found == WALK_ACCEPT) refresh(conn, timeoutOf(state), now)
  return PACKET_ACCEPT
}
