// A packet meets the table of connections: whose is it, is it valid, does it begin one (nf_conntrack_in), and the short
// way for packets of connections that are established (the flow table of act_ct: tcf_ct_flow_table_lookup).
//
// The packet leaves with PKT_CT, the connection or 0, and in PKT_CT_STATE what it is to it. A connection that is not in
// the table stands in the hook's own memory (`unconfirmed`) until somebody commits it.

import * as C from '../../memory/layout/conntrack.ts'
import { PKT_CT, PKT_CT_STATE } from '../../memory/layout/packet.ts'
import { connOf, find, setStatus, statusOf, tupleAt, unconfirmed } from './conntrack.ts'
import {
  isSumRight,
  PACKET_ACCEPT,
  PACKET_DROP,
  PACKET_REPEAT,
  protocolPacket,
  refresh,
  UDP_REPLIED,
} from './conntrack_proto.ts'
import { beLiberal, forgetWindows, tcpTimeout } from './conntrack_tcp.ts'
import {
  getTuple,
  invertTuple,
  IPPROTO_GRE,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPPROTO_TCP,
  IPPROTO_UDP,
  l4Header,
  l4Proto,
} from './conntrack_tuple.ts'

const NR_ICMP_TYPES: u32 = 18
/** How long the flow table keeps a connection that nothing is heard of (NF_FLOW_TIMEOUT). */
const FLOW_TIMEOUT: u32 = 30000
/** It is written down again when it is this much older. */
const FLOW_REFRESH: i32 = 1000

const FIN_OR_RST: u32 = 5

/** The packet has a connection, or is to have none. */
export const IN_ACCEPT: i32 = 0
/** It must be dropped. */
export const IN_DROP: i32 = 1
/** The flow table had it: nothing more is to be learned from it. */
export const IN_FLOW: i32 = 2

/** nf_ct_set: `state` CT_STATE_*. */
// @ts-ignore: decorator
@inline
export function setCt(pkt: usize, conn: usize, state: u32): void {
  store<usize>(pkt, conn, PKT_CT)
  store<u16>(pkt, <u16>state, PKT_CT_STATE)
}

/** CTINFO2DIR */
// @ts-ignore: decorator
@inline
export function dirOf(pkt: usize): u32 {
  return (load<u16>(pkt, PKT_CT_STATE) & C.CT_STATE_REPLY) != 0 ? C.CT_DIR_REPLY : C.CT_DIR_ORIGINAL
}

/** Is the transport checksum of an ICMP message right, and its type known? Then 0; else it is invalid: 1. Errors: 2. */
function icmpKind(ip: usize, n: i32, at: i32, v6: bool): i32 {
  if (at + 8 > n) return 1
  if (!isSumRight(ip, n, at, v6 ? 6 : 4, v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP)) return 1
  const type = <u32>load<u8>(ip + at)
  if (v6) return type < 128 ? 2 : 0
  if (type > NR_ICMP_TYPES) return 1
  return type == 3 || type == 4 || type == 5 || type == 11 || type == 12 ? 2 : 0
}

/** Messages that are no conversation: multicast listeners, neighbour discovery but redirects. */
function isUntracked(type: u32): bool {
  return (type >= 130 && type <= 136) || type == 143
}

/** nf_conntrack_inet_error: an error is related to the connection of the packet that it carries. */
function related(pkt: usize, tab: usize, ip: usize, n: i32, at: i32, family: u32, zone: u32, now: u32): void {
  const inner = ip + at + 8
  const left = n - at - 8
  const l4 = l4Header(inner, left, family)
  if (l4 < 0 || !getTuple(tupleAt(1), inner, left, l4, family, zone)) return
  if (!invertTuple(tupleAt(2), tupleAt(1))) return
  const h = find(tab, tupleAt(2), now)
  if (h == 0) return
  // Sent to the one whose packet it was?
  const toIts =
    family == 4
      ? load<u32>(ip, 16) == load<u32>(h, C.TUPLE_DST)
      : !v128.any_true(v128.xor(v128.load(ip, 24), v128.load(h, C.TUPLE_DST)))
  if (!toIts) return
  const reply = load<u32>(h, C.TUPLE_DIR) == C.CT_DIR_REPLY
  setCt(pkt, connOf(h), C.CT_STATE_TRACKED | C.CT_STATE_RELATED | (reply ? C.CT_STATE_REPLY : 0))
}

/** init_conntrack: a connection that nobody knows of yet. 0: there can be none. */
function begin(t: usize): usize {
  const conn = unconfirmed()
  memory.fill(conn, 0, C.CONN_SIZE)
  memory.copy(conn + C.CONN_ORIGINAL, t, C.TUPLE_SIZE)
  if (!invertTuple(conn + C.CONN_REPLY, t)) return 0
  store<u32>(conn, C.CT_DIR_ORIGINAL, C.CONN_ORIGINAL + C.TUPLE_DIR)
  store<u32>(conn, C.CT_DIR_REPLY, C.CONN_REPLY + C.TUPLE_DIR)
  return conn
}

/** Is the packet one that the flow table knows how to take: no options, not about to expire, a whole header? */
function flowMayTake(ip: usize, n: i32, at: i32, family: u32, proto: u32): bool {
  const plain = family == 4 ? at == 20 && (load<u16>(ip, 6) & 0xff3f) == 0 : at == 40
  if (!plain) return false
  const ttl = <u32>(family == 4 ? load<u8>(ip, 8) : load<u8>(ip, 7))
  return ttl > 1 && at + (proto == IPPROTO_TCP ? 20 : 4) <= n
}

/** flow_offload_teardown: its packets go the long way again. */
function flowTeardown(conn: usize, now: u32): void {
  if ((atomic.and<u32>(conn, ~C.IPS_OFFLOAD, C.CONN_STATUS) & C.IPS_OFFLOAD) == 0) return
  const proto = load<u8>(conn, C.CONN_ORIGINAL + C.TUPLE_PROTO)
  if (proto == <u8>IPPROTO_TCP) forgetWindows(conn)
  if (proto == <u8>IPPROTO_GRE) return
  const most = flowLife(conn) - FLOW_TIMEOUT
  if (<i32>(load<u32>(conn, C.CONN_TIMEOUT) - now) > <i32>most) refresh(conn, most, now)
}

/** How long a connection of the flow table lives when nothing is heard of it any more. */
function flowLife(conn: usize): u32 {
  if (load<u8>(conn, C.CONN_ORIGINAL + C.TUPLE_PROTO) != <u8>IPPROTO_TCP) return UDP_REPLIED
  return tcpTimeout(load<u8>(conn, C.CONN_TCP_STATE))
}

function flowRefresh(conn: usize, now: u32): void {
  const until = now + FLOW_TIMEOUT
  if (<i32>(until - load<u32>(conn, C.CONN_FLOW_TIMEOUT)) < FLOW_REFRESH) return
  store<u32>(conn, until, C.CONN_FLOW_TIMEOUT)
  refresh(conn, flowLife(conn), now)
}

/** tcf_ct_flow_table_lookup, of a packet whose tuple was found. True: it needs nothing more. */
function flowTakes(pkt: usize, h: usize, ip: usize, n: i32, at: i32, family: u32, now: u32): bool {
  const conn = connOf(h)
  const proto = <u32>load<u8>(h, C.TUPLE_PROTO)
  if (!flowMayTake(ip, n, at, family, proto)) return false
  const late = <i32>(load<u32>(conn, C.CONN_FLOW_TIMEOUT) - now) <= 0
  if (late || (proto == IPPROTO_TCP && (load<u8>(ip + at, 13) & FIN_OR_RST) != 0)) {
    flowTeardown(conn, now)
    return false
  }
  flowRefresh(conn, now)
  const reply = load<u32>(h, C.TUPLE_DIR) == C.CT_DIR_REPLY
  setCt(pkt, conn, C.CT_STATE_TRACKED | C.CT_STATE_ESTABLISHED | (reply ? C.CT_STATE_REPLY : 0))
  return true
}

/** tcf_ct_flow_table_process_conn: an established connection joins the flow table of its zone. */
export function flowAdd(pkt: usize, conn: usize, now: u32): void {
  if ((load<u16>(pkt, PKT_CT_STATE) & C.CT_STATE_ESTABLISHED) == 0) return
  const status = statusOf(conn)
  if ((status & (C.IPS_ASSURED | C.IPS_OFFLOAD | C.IPS_DYING)) != C.IPS_ASSURED) return
  switch (<u32>load<u8>(conn, C.CONN_ORIGINAL + C.TUPLE_PROTO)) {
    case IPPROTO_TCP:
      if (load<u8>(conn, C.CONN_TCP_STATE) != C.TCP_CONNTRACK_ESTABLISHED) return
      break
    case IPPROTO_UDP:
      break
    case IPPROTO_GRE:
      if ((status & C.IPS_NAT_MASK) != 0 || load<u32>(conn, C.CONN_ORIGINAL + C.TUPLE_SPORT) != 0) return
      break
    default:
      return
  }
  if ((setStatus(conn, C.IPS_OFFLOAD) & C.IPS_OFFLOAD) != 0) return
  if (load<u8>(conn, C.CONN_ORIGINAL + C.TUPLE_PROTO) == <u8>IPPROTO_TCP) beLiberal(conn)
  store<u32>(conn, now + FLOW_TIMEOUT, C.CONN_FLOW_TIMEOUT)
  refresh(conn, flowLife(conn), now)
}

/**
 * nf_conntrack_in of an IP packet of `n` bytes, in a zone, by an action that looks into the flow table first. IN_*.
 */
export function conntrackIn(pkt: usize, tab: usize, ip: usize, n: i32, family: u32, zone: u32, now: u32): i32 {
  const untracked = (load<u16>(pkt, PKT_CT_STATE) & C.CT_STATE_UNTRACKED) != 0
  const at = l4Header(ip, n, family)
  const proto = l4Proto
  const t = tupleAt(0)
  const whole = at >= 0 && getTuple(t, ip, n, at, family, zone)
  let h: usize = whole ? find(tab, t, now) : 0
  if (h != 0 && (statusOf(connOf(h)) & C.IPS_OFFLOAD) != 0 && flowTakes(pkt, h, ip, n, at, family, now)) return IN_FLOW
  // A zone has a template, which makes the packet forget that it was to be forgotten; the default zone has none.
  setCt(pkt, 0, 0)
  if (untracked && zone == 0) {
    setCt(pkt, 0, C.CT_STATE_UNTRACKED)
    return IN_ACCEPT
  }
  if (at < 0) return IN_ACCEPT
  if (proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6) {
    const v6 = proto == IPPROTO_ICMPV6
    const kind = icmpKind(ip, n, at, v6)
    if (kind == 1) return IN_ACCEPT
    if (kind == 2) {
      related(pkt, tab, ip, n, at, family, zone, now)
      return IN_ACCEPT
    }
    if (v6 && isUntracked(load<u8>(ip + at))) {
      setCt(pkt, 0, C.CT_STATE_UNTRACKED)
      return IN_ACCEPT
    }
  }
  if (!whole) return IN_ACCEPT
  let verdict = PACKET_REPEAT
  while (verdict == PACKET_REPEAT) {
    const conn = h == 0 ? begin(t) : connOf(h)
    if (conn == 0) return IN_ACCEPT
    const dir: u32 = h == 0 ? C.CT_DIR_ORIGINAL : load<u32>(h, C.TUPLE_DIR)
    const seen = (statusOf(conn) & C.IPS_SEEN_REPLY) != 0
    verdict = protocolPacket(conn, ip, n, at, family, dir, now)
    if (verdict == PACKET_ACCEPT) {
      if (dir == C.CT_DIR_REPLY) {
        setCt(pkt, conn, C.CT_STATE_TRACKED | C.CT_STATE_ESTABLISHED | C.CT_STATE_REPLY)
        if (!seen) setStatus(conn, C.IPS_SEEN_REPLY)
      } else {
        setCt(pkt, conn, C.CT_STATE_TRACKED | (seen ? C.CT_STATE_ESTABLISHED : C.CT_STATE_NEW))
      }
    }
    h = 0
  }
  return verdict == PACKET_DROP ? IN_DROP : IN_ACCEPT
}

/** A known connection of the packet as it stands, without tracking it (act_connmark, act_ctinfo); 0: none. */
export function lookFor(tab: usize, ip: usize, n: i32, family: u32, zone: u32, now: u32): usize {
  const at = l4Header(ip, n, family)
  if (at < 0 || !getTuple(tupleAt(0), ip, n, at, family, zone)) return 0
  const h = find(tab, tupleAt(0), now)
  return h == 0 ? 0 : connOf(h)
}
