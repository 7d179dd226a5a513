// TCP connections: their state by the flags that each side sent, and whether a segment can be of the window that the
// other side has offered (nf_conntrack_proto_tcp.c, 6.1, after "Real Stateful TCP Packet Filtering in IP Filter" by
// Guido van Rooij). A segment that cannot is invalid; the switches of the kernel are as it comes: tcp_loose, not
// tcp_be_liberal.
//
//   NONE ─SYN─▶ SYN_SENT ─SYN,ACK─▶ SYN_RECV ─ACK─▶ ESTABLISHED ─FIN─▶ FIN_WAIT ─ACK─▶ CLOSE_WAIT ─FIN─▶ LAST_ACK
//                                                                                                          │ ACK
//   RST ─▶ CLOSE from every state; SYN both ways: SYN_SENT2                                              TIME_WAIT

import * as C from '../../memory/layout/conntrack.ts'
import { kill, setStatus, spinLock, spinUnlock, statusOf, table } from './conntrack.ts'
import { isSumRight, PACKET_ACCEPT, PACKET_DROP, PACKET_INVALID, PACKET_REPEAT, refresh } from './conntrack_proto.ts'
import { IPPROTO_TCP } from './conntrack_tuple.ts'

const FIN: u32 = 1
const SYN: u32 = 2
const RST: u32 = 4
const ACK: u32 = 16
const URG: u32 = 32

// What a segment is by its flags (enum tcp_bit_set).
const SYN_SET: u32 = 0
const SYNACK_SET: u32 = 1
const FIN_SET: u32 = 2
const ACK_SET: u32 = 3
const RST_SET: u32 = 4
const NONE_SET: u32 = 5

// IP_CT_TCP_FLAG_*
const WINDOW_SCALE: u32 = 1
const SACK_PERM: u32 = 2
const CLOSE_INIT: u32 = 4
export const BE_LIBERAL: u32 = 8
const DATA_UNACKNOWLEDGED: u32 = 0x10
const MAXACK_SET: u32 = 0x20
const EXP_CHALLENGE_ACK: u32 = 0x40
const SIMULTANEOUS_OPEN: u32 = 0x80

const MAX_WSCALE: u8 = 14
const MAX_RETRANS: u32 = 3
const MAXACKWINCONST: u32 = 66000

const RETRANS_TIMEOUT: u32 = 300000
const UNACK_TIMEOUT: u32 = 300000
const CLOSE_TIMEOUT: u32 = 10000

/** Milliseconds that a connection is kept in a state. */
export function tcpTimeout(state: u32): u32 {
  switch (state) {
    case C.TCP_CONNTRACK_SYN_SENT:
    case C.TCP_CONNTRACK_SYN_SENT2:
    case C.TCP_CONNTRACK_FIN_WAIT:
    case C.TCP_CONNTRACK_TIME_WAIT:
      return 120000
    case C.TCP_CONNTRACK_SYN_RECV:
    case C.TCP_CONNTRACK_CLOSE_WAIT:
      return 60000
    case C.TCP_CONNTRACK_ESTABLISHED:
      return 5 * 24 * 3600 * 1000
    case C.TCP_CONNTRACK_LAST_ACK:
      return 30000
    default:
      return CLOSE_TIMEOUT
  }
}

/**
 * The state that a segment of a kind leads to, in a direction: one row of tcp_conntracks, a hexadecimal digit for each
 * state, NONE rightmost, then SYN_SENT, SYN_RECV, ESTABLISHED, FIN_WAIT, CLOSE_WAIT, LAST_ACK, TIME_WAIT, CLOSE,
 * SYN_SENT2. a: the segment is invalid. b: let through, nothing changes.
 */
function row(dir: u32, kind: u32): u64 {
  switch (kind) {
    case SYN_SET:
      return dir == C.CT_DIR_ORIGINAL ? 0x911bbbbb11 : 0x9a1aaaaa9a
    case SYNACK_SET:
      return dir == C.CT_DIR_ORIGINAL ? 0x2aaaaaa2aa : 0x2bbbbbbb2a
    case FIN_SET:
      return 0xa8766644aa
    case ACK_SET:
      return dir == C.CT_DIR_ORIGINAL ? 0xa8775533a3 : 0xb8775532ba
    case RST_SET:
      return 0x888888888a
    default:
      return 0xaaaaaaaaaa
  }
}

// @ts-ignore: decorator
@inline
function kindOf(flags: u32): u32 {
  if ((flags & RST) != 0) return RST_SET
  if ((flags & SYN) != 0) return (flags & ACK) != 0 ? SYNACK_SET : SYN_SET
  if ((flags & FIN) != 0) return FIN_SET
  return (flags & ACK) != 0 ? ACK_SET : NONE_SET
}

/** tcp_error: cut short, a wrong checksum, flags that do not go together (PSH, ECE and CWR go with all). */
function isBroken(ip: usize, n: i32, at: i32, family: u32): bool {
  const tcp = ip + at
  const room = n - at
  if (room < 20) return true
  const header = <i32>(load<u8>(tcp, 12) >>> 4) << 2
  if (header < 20 || room < header) return true
  if (!isSumRight(ip, n, at, family, IPPROTO_TCP)) return true
  const flags = <u32>load<u8>(tcp, 13) & (FIN | SYN | RST | ACK | URG)
  switch (flags) {
    case SYN:
    case SYN | URG:
    case SYN | ACK:
    case RST:
    case RST | ACK:
    case FIN | ACK:
    case FIN | ACK | URG:
    case ACK:
    case ACK | URG:
      return false
    default:
      return true
  }
}

// @ts-ignore: decorator
@inline
function isBefore(a: u32, b: u32): bool {
  return <i32>(a - b) < 0
}

// @ts-ignore: decorator
@inline
function seenBy(conn: usize, dir: u32): usize {
  return conn + C.CONN_TCP_SEEN + <usize>dir * <usize>C.SEEN_SIZE
}

// @ts-ignore: decorator
@inline
function seenFlags(seen: usize): u32 {
  return load<u8>(seen, C.SEEN_FLAGS)
}

// @ts-ignore: decorator
@inline
function setSeenFlags(seen: usize, flags: u32): void {
  store<u8>(seen, <u8>flags, C.SEEN_FLAGS)
}

/** Sequence number behind the segment (segment_seq_plus_len). */
function endOf(tcp: usize, room: i32): u32 {
  const flags = <u32>load<u8>(tcp, 13)
  const data = room - (<i32>(load<u8>(tcp, 12) >>> 4) << 2)
  return bswap<u32>(load<u32>(tcp, 4)) + <u32>data + ((flags & SYN) != 0 ? 1 : 0) + ((flags & FIN) != 0 ? 1 : 0)
}

/** What a SYN's options promise: tcp_options finds these. */
let optionScale: u8 = 0
let optionFlags: u32 = 0

/** tcp_options. False: there are none, and nothing known changes. */
function readOptions(tcp: usize): bool {
  let left = (<i32>(load<u8>(tcp, 12) >>> 4) << 2) - 20
  if (left == 0) return false
  optionScale = 0
  optionFlags = 0
  let p = tcp + 20
  while (left > 0) {
    const kind = load<u8>(p)
    if (kind == 0) return true
    if (kind == 1) {
      p++
      left--
      continue
    }
    if (left < 2) return true
    const size = <i32>load<u8>(p, 1)
    if (size < 2 || size > left) return true
    if (kind == 4 && size == 2) {
      optionFlags |= SACK_PERM
    } else if (kind == 3 && size == 3) {
      const scale = load<u8>(p, 2)
      optionScale = scale > MAX_WSCALE ? MAX_WSCALE : scale
      optionFlags |= WINDOW_SCALE
    }
    p += size
    left -= size
  }
  return true
}

function takeOptions(tcp: usize, seen: usize): void {
  if (!readOptions(tcp)) return
  store<u8>(seen, optionScale, C.SEEN_SCALE)
  setSeenFlags(seen, (seenFlags(seen) & BE_LIBERAL) | optionFlags)
}

/** tcp_sack: the highest right edge of the blocks that a segment acknowledges, or `ack`. */
function highestSack(tcp: usize, ack: u32): u32 {
  let left = (<i32>(load<u8>(tcp, 12) >>> 4) << 2) - 20
  let p = tcp + 20
  while (left > 0) {
    const kind = load<u8>(p)
    if (kind == 0) return ack
    if (kind == 1) {
      p++
      left--
      continue
    }
    if (left < 2) return ack
    const size = <i32>load<u8>(p, 1)
    if (size < 2 || size > left) return ack
    if (kind == 5 && size >= 10 && (size - 2) % 8 == 0) {
      for (let i: i32 = 2; i < size; i += 8) {
        const right = bswap<u32>(load<u32>(p + i, 4))
        if (isBefore(ack, right)) ack = right
      }
      return ack
    }
    p += size
    left -= size
  }
  return ack
}

/** tcp_init_sender */
function initSender(sender: usize, receiver: usize, tcp: usize, end: u32, win: u32, dir: u32): void {
  store<u32>(sender, end, C.SEEN_END)
  store<u32>(sender, end, C.SEEN_MAXEND)
  store<u32>(sender, win == 0 ? 1 : win, C.SEEN_MAXWIN)
  takeOptions(tcp, sender)
  // Windows are scaled when both sides offer it (RFC 1323).
  if (dir == C.CT_DIR_REPLY && (seenFlags(sender) & seenFlags(receiver) & WINDOW_SCALE) == 0) {
    store<u8>(sender, 0, C.SEEN_SCALE)
    store<u8>(receiver, 0, C.SEEN_SCALE)
  }
}

// What isInWindow finds.
const IN_WINDOW: i32 = 0
const OUT_OF_WINDOW: i32 = 1
/** Nothing is to be learned from it, but it may pass. */
const PASSED_OVER: i32 = 2

/** tcp_in_window. */
function inWindow(conn: usize, tcp: usize, room: i32, dir: u32, kind: u32): i32 {
  const sender = seenBy(conn, dir)
  const receiver = seenBy(conn, dir ^ 1)
  const flags = <u32>load<u8>(tcp, 13)
  const state = <u32>load<u8>(conn, C.CONN_TCP_STATE)
  const winRaw = <u32>bswap<u16>(load<u16>(tcp, 14))
  let win = winRaw
  let seq = bswap<u32>(load<u32>(tcp, 4))
  let ack = bswap<u32>(load<u32>(tcp, 8))
  let end = endOf(tcp, room)
  let sack = (seenFlags(receiver) & SACK_PERM) != 0 ? highestSack(tcp, ack) : ack

  if (load<u32>(sender, C.SEEN_MAXWIN) == 0) {
    if ((flags & SYN) != 0) {
      initSender(sender, receiver, tcp, end, win, dir)
      if ((flags & ACK) == 0) return IN_WINDOW // both sides open at once
    } else {
      // In the middle of a connection whose beginning was not seen: this segment is believed.
      const swin = win << load<u8>(sender, C.SEEN_SCALE)
      store<u32>(sender, end, C.SEEN_END)
      store<u32>(sender, swin == 0 ? 1 : swin, C.SEEN_MAXWIN)
      store<u32>(sender, end + (swin == 0 ? 1 : swin), C.SEEN_MAXEND)
      if (load<u32>(receiver, C.SEEN_MAXWIN) == 0) {
        store<u32>(receiver, sack, C.SEEN_END)
        store<u32>(receiver, sack, C.SEEN_MAXEND)
      } else if (sack == load<u32>(receiver, C.SEEN_END) + 1) {
        store<u32>(receiver, sack, C.SEEN_END) // the answer to a keepalive
      }
    }
  } else if (
    (flags & SYN) != 0 &&
    isBefore(load<u32>(sender, C.SEEN_END), end) &&
    (state == C.TCP_CONNTRACK_SYN_SENT || state == C.TCP_CONNTRACK_SYN_RECV)
  ) {
    initSender(sender, receiver, tcp, end, win, dir)
    if (dir == C.CT_DIR_REPLY && (flags & ACK) == 0) return IN_WINDOW
  }

  const receiverEnd = load<u32>(receiver, C.SEEN_END)
  const receiverWin = load<u32>(receiver, C.SEEN_MAXWIN)
  if ((flags & ACK) == 0 || ((flags & RST) != 0 && ack == 0)) {
    ack = receiverEnd
    sack = receiverEnd
  }
  if ((flags & RST) != 0 && seq == 0 && state == C.TCP_CONNTRACK_SYN_SENT) {
    seq = load<u32>(sender, C.SEEN_END) // the answer to a SYN
    end = seq
  }

  const liberal = (seenFlags(sender) & BE_LIBERAL) != 0
  const senderEnd = load<u32>(sender, C.SEEN_END)
  const maxEnd = load<u32>(sender, C.SEEN_MAXEND)
  const maxWin = load<u32>(sender, C.SEEN_MAXWIN)
  const ackFrom = receiverEnd - (maxWin > MAXACKWINCONST ? maxWin : MAXACKWINCONST) - 1
  const reaches = isBefore(senderEnd - receiverWin - 1, end)
  if (!isBefore(seq, maxEnd + 1)) {
    const overshot = end - maxEnd + 1
    if (
      receiverWin != 0 &&
      reaches &&
      isBefore(ackFrom, sack) &&
      overshot <= receiverWin &&
      isBefore(sack, receiverEnd + 1)
    ) {
      // More than was offered; should the other side take it, what it acknowledges must be known.
      store<u32>(sender, end, C.SEEN_END)
      setSeenFlags(sender, seenFlags(sender) | DATA_UNACKNOWLEDGED)
      return liberal ? IN_WINDOW : PASSED_OVER
    }
    return liberal ? IN_WINDOW : OUT_OF_WINDOW
  }
  if (!isBefore(sack, receiverEnd + 1)) return liberal ? IN_WINDOW : OUT_OF_WINDOW
  if (receiverWin != 0 && !reaches) return liberal ? IN_WINDOW : PASSED_OVER
  if (!isBefore(ackFrom, sack)) return liberal ? IN_WINDOW : PASSED_OVER

  if ((flags & SYN) == 0) win <<= load<u8>(sender, C.SEEN_SCALE)
  const swin = win + (sack - ack)
  if (maxWin < swin) store<u32>(sender, swin, C.SEEN_MAXWIN)
  if (isBefore(senderEnd, end)) {
    store<u32>(sender, end, C.SEEN_END)
    setSeenFlags(sender, seenFlags(sender) | DATA_UNACKNOWLEDGED)
  }
  if ((flags & ACK) != 0) {
    const known = (seenFlags(sender) & MAXACK_SET) != 0
    if (!known || isBefore(load<u32>(sender, C.SEEN_MAXACK), ack)) store<u32>(sender, ack, C.SEEN_MAXACK)
    setSeenFlags(sender, seenFlags(sender) | MAXACK_SET)
  }
  if (receiverWin != 0 && isBefore(maxEnd, end)) store<u32>(receiver, receiverWin + (end - maxEnd), C.SEEN_MAXWIN)
  if (isBefore(load<u32>(receiver, C.SEEN_MAXEND) - 1, sack + win)) {
    store<u32>(receiver, sack + win + (win == 0 ? 1 : 0), C.SEEN_MAXEND)
  }
  if (ack == load<u32>(receiver, C.SEEN_END)) setSeenFlags(receiver, seenFlags(receiver) & ~DATA_UNACKNOWLEDGED)

  if (kind == ACK_SET) countRetransmission(conn, dir, seq, ack, end, winRaw)
  return IN_WINDOW
}

function countRetransmission(conn: usize, dir: u32, seq: u32, ack: u32, end: u32, win: u32): void {
  if (
    load<u8>(conn, C.CONN_TCP_LAST_DIR) == <u8>dir &&
    load<u32>(conn, C.CONN_TCP_LAST_SEQ) == seq &&
    load<u32>(conn, C.CONN_TCP_LAST_ACK) == ack &&
    load<u32>(conn, C.CONN_TCP_LAST_END) == end &&
    load<u32>(conn, C.CONN_TCP_LAST_WIN) == win
  ) {
    store<u8>(conn, load<u8>(conn, C.CONN_TCP_RETRANS) + 1, C.CONN_TCP_RETRANS)
    return
  }
  store<u8>(conn, <u8>dir, C.CONN_TCP_LAST_DIR)
  store<u32>(conn, seq, C.CONN_TCP_LAST_SEQ)
  store<u32>(conn, ack, C.CONN_TCP_LAST_ACK)
  store<u32>(conn, end, C.CONN_TCP_LAST_END)
  store<u32>(conn, win, C.CONN_TCP_LAST_WIN)
  store<u8>(conn, 0, C.CONN_TCP_RETRANS)
}

/** tcp_new: a first segment. False: none may begin with this one. */
function begins(conn: usize, tcp: usize, room: i32): bool {
  const state = <u32>(row(C.CT_DIR_ORIGINAL, kindOf(load<u8>(tcp, 13)))) & 15
  if (state >= <u32>C.TCP_CONNTRACK_MAX) return false
  memory.fill(conn + C.CONN_TCP_STATE, 0, C.CONN_SIZE - C.CONN_TCP_STATE)
  const seen = seenBy(conn, C.CT_DIR_ORIGINAL)
  const end = endOf(tcp, room)
  const win = <u32>bswap<u16>(load<u16>(tcp, 14))
  store<u32>(seen, end, C.SEEN_END)
  store<u32>(seen, win == 0 ? 1 : win, C.SEEN_MAXWIN)
  if (state == C.TCP_CONNTRACK_SYN_SENT) {
    store<u32>(seen, end, C.SEEN_MAXEND)
    takeOptions(tcp, seen)
  } else {
    // Picked up in the middle: what was agreed on is not known.
    store<u32>(seen, end + (win == 0 ? 1 : win), C.SEEN_MAXEND)
    setSeenFlags(seen, SACK_PERM | BE_LIBERAL)
    setSeenFlags(seenBy(conn, C.CT_DIR_REPLY), SACK_PERM | BE_LIBERAL)
  }
  store<u8>(conn, <u8>NONE_SET, C.CONN_TCP_LAST_INDEX)
  return true
}

/** nf_conntrack_tcp_established */
function isEstablished(conn: usize): bool {
  return load<u8>(conn, C.CONN_TCP_STATE) == C.TCP_CONNTRACK_ESTABLISHED && (statusOf(conn) & C.IPS_ASSURED) != 0
}

/** tcp_can_early_drop: one side at least has said goodbye. */
function isClosing(state: u32): bool {
  return state >= <u32>C.TCP_CONNTRACK_FIN_WAIT && state <= <u32>C.TCP_CONNTRACK_CLOSE
}

// What follows from the state that the table names.
const GO_ON: i32 = 0
const SKIP_WINDOW: i32 = 1
const LET_THROUGH: i32 = 2
const REFUSE: i32 = 3
const REOPEN: i32 = 4
const IN_SYNC: i32 = 5

/** A segment that the state has no use for: what it says is noted, should the other side believe it. */
function letThrough(conn: usize, tcp: usize, room: i32, dir: u32, kind: u32, old: u32): i32 {
  const lastDir = <u32>load<u8>(conn, C.CONN_TCP_LAST_DIR)
  if (
    kind == SYNACK_SET &&
    <u32>load<u8>(conn, C.CONN_TCP_LAST_INDEX) == SYN_SET &&
    lastDir != dir &&
    bswap<u32>(load<u32>(tcp, 8)) == load<u32>(conn, C.CONN_TCP_LAST_END)
  ) {
    // It answers a SYN that was let through: the two are in agreement, and this table was not.
    const asked = seenBy(conn, lastDir)
    const last = load<u32>(conn, C.CONN_TCP_LAST_WIN)
    store<u32>(asked, load<u32>(conn, C.CONN_TCP_LAST_END), C.SEEN_END)
    store<u32>(asked, load<u32>(conn, C.CONN_TCP_LAST_END), C.SEEN_MAXEND)
    store<u32>(asked, last == 0 ? 1 : last, C.SEEN_MAXWIN)
    store<u8>(asked, load<u8>(conn, C.CONN_TCP_LAST_WSCALE), C.SEEN_SCALE)
    const flags = <u32>load<u8>(conn, C.CONN_TCP_LAST_FLAGS) & ~EXP_CHALLENGE_ACK
    store<u8>(conn, <u8>flags, C.CONN_TCP_LAST_FLAGS)
    setSeenFlags(asked, flags)
    const answers = seenBy(conn, dir)
    const liberal = seenFlags(answers) & BE_LIBERAL
    memory.fill(answers, 0, C.SEEN_SIZE)
    setSeenFlags(answers, liberal)
    return IN_SYNC
  }
  store<u8>(conn, <u8>kind, C.CONN_TCP_LAST_INDEX)
  store<u8>(conn, <u8>dir, C.CONN_TCP_LAST_DIR)
  store<u32>(conn, bswap<u32>(load<u32>(tcp, 4)), C.CONN_TCP_LAST_SEQ)
  store<u32>(conn, endOf(tcp, room), C.CONN_TCP_LAST_END)
  store<u32>(conn, bswap<u16>(load<u16>(tcp, 14)), C.CONN_TCP_LAST_WIN)
  if (kind == SYN_SET && dir == C.CT_DIR_ORIGINAL) {
    let flags: u32 = 0
    store<u8>(conn, 0, C.CONN_TCP_LAST_WSCALE)
    if (readOptions(tcp)) {
      flags = optionFlags
      if ((flags & WINDOW_SCALE) != 0) store<u8>(conn, optionScale, C.CONN_TCP_LAST_WSCALE)
    }
    // It may be answered by a challenge ACK (RFC 5961), which acknowledges no FIN.
    if (old == C.TCP_CONNTRACK_LAST_ACK) flags |= EXP_CHALLENGE_ACK
    store<u8>(conn, <u8>flags, C.CONN_TCP_LAST_FLAGS)
  }
  if (old == C.TCP_CONNTRACK_SYN_SENT && kind == ACK_SET && dir == C.CT_DIR_REPLY) {
    store<u32>(conn, bswap<u32>(load<u32>(tcp, 8)), C.CONN_TCP_LAST_ACK)
  }
  return LET_THROUGH
}

/** State that a segment leads to, where `next` of the table is not all there is to say. */
let nextState: u32 = 0

/** A reset: does it come from who may send it? */
function reset(conn: usize, tcp: usize, dir: u32, old: u32): i32 {
  if (isClosing(old)) return SKIP_WINDOW
  const seq = bswap<u32>(load<u32>(tcp, 4))
  const other = seenBy(conn, dir ^ 1)
  const lastKind = <u32>load<u8>(conn, C.CONN_TCP_LAST_INDEX)
  const lastDir = <u32>load<u8>(conn, C.CONN_TCP_LAST_DIR)
  if ((seenFlags(other) & MAXACK_SET) != 0 && lastKind != SYN_SET) {
    const maxAck = load<u32>(other, C.SEEN_MAXACK)
    if (seq == 0 && !isEstablished(conn)) return GO_ON
    if (isBefore(seq, maxAck)) return REFUSE
    if (!isEstablished(conn) || seq == maxAck) return GO_ON
    if (lastKind == ACK_SET && lastDir == dir && seq == load<u32>(conn, C.CONN_TCP_LAST_END)) return GO_ON
    nextState = old // not the very number: it may be answered by a challenge ACK
  }
  const status = statusOf(conn)
  const answersSyn = (status & C.IPS_SEEN_REPLY) != 0 && lastKind == SYN_SET
  const answersAck = (status & C.IPS_ASSURED) == 0 && lastKind == ACK_SET
  if ((answersSyn || answersAck) && bswap<u32>(load<u32>(tcp, 8)) == load<u32>(conn, C.CONN_TCP_LAST_END)) {
    return SKIP_WINDOW
  }
  if (
    old == C.TCP_CONNTRACK_SYN_SENT &&
    lastKind == ACK_SET &&
    lastDir == C.CT_DIR_REPLY &&
    seq == load<u32>(conn, C.CONN_TCP_LAST_ACK)
  ) {
    return SKIP_WINDOW
  }
  return GO_ON
}

/** What the step from `old` to nextState asks for. */
function step(conn: usize, tcp: usize, room: i32, dir: u32, kind: u32, old: u32): i32 {
  switch (nextState) {
    case C.TCP_CONNTRACK_SYN_SENT: {
      if (old < <u32>C.TCP_CONNTRACK_TIME_WAIT) return GO_ON
      const both = seenFlags(seenBy(conn, 0)) | seenFlags(seenBy(conn, 1))
      const wasReset =
        <u32>load<u8>(conn, C.CONN_TCP_LAST_DIR) == dir && <u32>load<u8>(conn, C.CONN_TCP_LAST_INDEX) == RST_SET
      if ((both & CLOSE_INIT) != 0 || wasReset) return REOPEN
      return letThrough(conn, tcp, room, dir, kind, old)
    }
    case C.TCP_CONNTRACK_IGNORE:
      return letThrough(conn, tcp, room, dir, kind, old)
    case C.TCP_CONNTRACK_MAX:
      return REFUSE
    case C.TCP_CONNTRACK_TIME_WAIT: {
      const flags = <u32>load<u8>(conn, C.CONN_TCP_LAST_FLAGS)
      if (
        old == C.TCP_CONNTRACK_LAST_ACK &&
        kind == ACK_SET &&
        <u32>load<u8>(conn, C.CONN_TCP_LAST_DIR) != dir &&
        <u32>load<u8>(conn, C.CONN_TCP_LAST_INDEX) == SYN_SET &&
        (flags & EXP_CHALLENGE_ACK) != 0
      ) {
        store<u8>(conn, <u8>(flags & ~EXP_CHALLENGE_ACK), C.CONN_TCP_LAST_FLAGS)
        return LET_THROUGH
      }
      return GO_ON
    }
    case C.TCP_CONNTRACK_SYN_SENT2:
      store<u8>(conn, load<u8>(conn, C.CONN_TCP_LAST_FLAGS) | <u8>SIMULTANEOUS_OPEN, C.CONN_TCP_LAST_FLAGS)
      return GO_ON
    case C.TCP_CONNTRACK_SYN_RECV: {
      const both = (<u32>load<u8>(conn, C.CONN_TCP_LAST_FLAGS) & SIMULTANEOUS_OPEN) != 0
      if (dir == C.CT_DIR_REPLY && kind == ACK_SET && both) nextState = C.TCP_CONNTRACK_ESTABLISHED
      return GO_ON
    }
    case C.TCP_CONNTRACK_CLOSE:
      return kind == RST_SET ? reset(conn, tcp, dir, old) : GO_ON
    default:
      return GO_ON
  }
}

/** nf_tcp_handle_invalid: FINs and RSTs outside the window, both ways: the two are closing without this table. */
function noteInvalid(conn: usize, dir: u32, kind: u32, now: u32): void {
  if ((statusOf(conn) & C.IPS_ASSURED) == 0 || (kind != RST_SET && kind != FIN_SET)) return
  const last = <u32>load<u8>(conn, C.CONN_TCP_LAST_INDEX)
  if (<u32>load<u8>(conn, C.CONN_TCP_LAST_DIR) != dir && (last == FIN_SET || last == RST_SET)) {
    if (<i32>(load<u32>(conn, C.CONN_TIMEOUT) - now) > <i32>UNACK_TIMEOUT) refresh(conn, UNACK_TIMEOUT, now)
    return
  }
  store<u8>(conn, <u8>kind, C.CONN_TCP_LAST_INDEX)
  store<u8>(conn, <u8>dir, C.CONN_TCP_LAST_DIR)
}

/** Milliseconds until the connection is forgotten, in its new state. */
function timeoutOf(conn: usize, state: u32, kind: u32): u32 {
  const usual = tcpTimeout(state)
  if (load<u8>(conn, C.CONN_TCP_RETRANS) >= <u8>MAX_RETRANS && usual > RETRANS_TIMEOUT) return RETRANS_TIMEOUT
  if (kind == RST_SET) return CLOSE_TIMEOUT
  const both = seenFlags(seenBy(conn, 0)) | seenFlags(seenBy(conn, 1))
  if ((both & DATA_UNACKNOWLEDGED) != 0 && usual > UNACK_TIMEOUT) return UNACK_TIMEOUT
  return load<u32>(conn, C.CONN_TCP_LAST_WIN) == 0 && usual > RETRANS_TIMEOUT ? RETRANS_TIMEOUT : usual
}

/** nf_conntrack_tcp_packet. PACKET_*. */
export function tcpPacket(conn: usize, ip: usize, n: i32, at: i32, family: u32, dir: u32, now: u32): i32 {
  if (isBroken(ip, n, at, family)) return PACKET_INVALID
  const tcp = ip + at
  const room = n - at
  const confirmed = (statusOf(conn) & C.IPS_CONFIRMED) != 0
  if (!confirmed && !begins(conn, tcp, room)) return PACKET_INVALID
  const lock = conn + C.CONN_LOCK
  spinLock(lock)
  const kind = kindOf(load<u8>(tcp, 13))
  let old = <u32>load<u8>(conn, C.CONN_TCP_STATE)
  nextState = <u32>(row(dir, kind) >> (old << 2)) & 15
  const what = step(conn, tcp, room, dir, kind, old)
  if (what == IN_SYNC) {
    old = C.TCP_CONNTRACK_SYN_SENT
    nextState = C.TCP_CONNTRACK_SYN_RECV
  } else if (what == LET_THROUGH) {
    spinUnlock(lock)
    return PACKET_ACCEPT
  } else if (what == REFUSE) {
    spinUnlock(lock)
    return PACKET_INVALID
  } else if (what == REOPEN) {
    spinUnlock(lock)
    return kill(table(), conn) ? PACKET_REPEAT : PACKET_DROP
  }
  if (what != SKIP_WINDOW) {
    const found = inWindow(conn, tcp, room, dir, kind)
    if (found != IN_WINDOW) {
      if (found == OUT_OF_WINDOW) noteInvalid(conn, dir, kind, now)
      spinUnlock(lock)
      return found == OUT_OF_WINDOW ? PACKET_INVALID : PACKET_ACCEPT
    }
  }
  const state = nextState
  store<u8>(conn, <u8>kind, C.CONN_TCP_LAST_INDEX)
  store<u8>(conn, <u8>dir, C.CONN_TCP_LAST_DIR)
  store<u8>(conn, <u8>state, C.CONN_TCP_STATE)
  if (old != state && state == C.TCP_CONNTRACK_FIN_WAIT) {
    const seen = seenBy(conn, dir)
    setSeenFlags(seen, seenFlags(seen) | CLOSE_INIT)
  }
  let timeout = timeoutOf(conn, state, kind)
  spinUnlock(lock)

  const status = statusOf(conn)
  if ((status & C.IPS_SEEN_REPLY) == 0) {
    if (kind == RST_SET) {
      // Refused before anything was said: forget it at once.
      if (confirmed) kill(table(), conn)
      return PACKET_ACCEPT
    }
    // A SYN that is sent again does not prolong its life.
    if (kind == SYN_SET && old == C.TCP_CONNTRACK_SYN_SENT) return PACKET_ACCEPT
    if (state == C.TCP_CONNTRACK_ESTABLISHED && timeout > UNACK_TIMEOUT) timeout = UNACK_TIMEOUT
  } else if (
    (status & C.IPS_ASSURED) == 0 &&
    (old == C.TCP_CONNTRACK_SYN_RECV || old == C.TCP_CONNTRACK_ESTABLISHED) &&
    state == C.TCP_CONNTRACK_ESTABLISHED
  ) {
    setStatus(conn, C.IPS_ASSURED)
  }
  refresh(conn, timeout, now)
  return PACKET_ACCEPT
}

/** flow_offload_fixup_tcp: what was not looked at while the flow table had it must be learned again. */
export function forgetWindows(conn: usize): void {
  store<u32>(seenBy(conn, 0), 0, C.SEEN_MAXWIN)
  store<u32>(seenBy(conn, 1), 0, C.SEEN_MAXWIN)
}

/** The flow table takes it: its windows are not looked at any more. */
export function beLiberal(conn: usize): void {
  setSeenFlags(seenBy(conn, 0), seenFlags(seenBy(conn, 0)) | BE_LIBERAL)
  setSeenFlags(seenBy(conn, 1), seenFlags(seenBy(conn, 1)) | BE_LIBERAL)
}
