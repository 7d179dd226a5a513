// ct: finds the packet's connection in a zone, makes it, marks it, translates its addresses (net/sched/act_ct.c, 6.1);
// and the two actions that only ask whose the packet is: connmark and ctinfo (act_connmark.c, act_ctinfo.c).
//
// A fragment cannot say whose it is. It is held: the host puts the datagram together (host/ct_fragment.ts) and the whole
// packet comes back to the same op.

import * as S from '../../memory/layout/action_state.ts'
import * as C from '../../memory/layout/conntrack.ts'
import { DROP_CT, DROP_CT_CLASH, DROP_CT_FULL, DROP_CT_NAT } from '../../memory/layout/drop.ts'
import { PKT_CT, PKT_CT_STATE, PKT_CT_ZONE, PKT_DATA, PKT_LEN, PKT_MARK } from '../../memory/layout/packet.ts'
import { replace4 } from './checksum.ts'
import { confirm, CONFIRM_CLASH, CONFIRM_FULL, kill, nowOf, statusOf, table } from './conntrack.ts'
import { conntrackIn, dirOf, flowAdd, IN_DROP, IN_FLOW, lookFor, setCt } from './conntrack_in.ts'
import { natPacket } from './conntrack_nat.ts'
import { fragment6 } from './conntrack_tuple.ts'
import { BE_IP, BE_IPV6, networkHeader, networkProtocol } from './frame.ts'
import { countOverlimit } from './state.ts'

// TCA_CT_ACT_*
const COMMIT: u32 = 1
const FORCE: u32 = 2
const NAT: u32 = 8
const NAT_SRC: u32 = 16
const NAT_DST: u32 = 32

/** The list goes on; the packet is a fragment, to be held; it is to be dropped, under ctReason. */
export const CT_DONE: i32 = 0
export const CT_FRAGMENT: i32 = 1
export const CT_SHOT: i32 = 2

export let ctReason: i32 = 0

function shot(reason: i32): i32 {
  ctReason = reason
  return CT_SHOT
}

/** Bytes from the network header to the end of the frame. */
// @ts-ignore: decorator
@inline
function roomAt(pkt: usize, ip: usize): i32 {
  return <i32>(load<usize>(pkt, PKT_DATA) + load<u32>(pkt, PKT_LEN) - ip)
}

/** 4, 6, or 0 for what is not IP (tcf_ct_skb_nf_family). */
function familyOf(pkt: usize): u32 {
  const proto = networkProtocol(pkt)
  return proto == BE_IP ? 4 : proto == BE_IPV6 ? 6 : 0
}

/** tcf_ct_skb_network_trim: cuts off what is behind the IP packet. Returns the bytes of it that are there. */
function trim(pkt: usize, ip: usize, family: u32): i32 {
  const room = roomAt(pkt, ip)
  const length = <i32>(family == 4 ? <u32>bswap<u16>(load<u16>(ip, 2)) : <u32>bswap<u16>(load<u16>(ip, 4)) + 40)
  if (length >= room) return room
  store<u32>(pkt, load<u32>(pkt, PKT_LEN) - <u32>(room - length), PKT_LEN)
  return length
}

/** tcf_ct_skb_nfct_cached: is the packet's connection of this zone, and need not be looked for again? */
function isCached(pkt: usize, tab: usize, zone: u32, force: bool): bool {
  const conn = load<usize>(pkt, PKT_CT)
  if (conn == 0) return false
  if (load<u16>(conn, C.CONN_ORIGINAL + C.TUPLE_ZONE) == <u16>zone) {
    if (!force || dirOf(pkt) == C.CT_DIR_ORIGINAL) return true
    // The connection shall have begun with this packet.
    if ((statusOf(conn) & C.IPS_CONFIRMED) != 0) kill(tab, conn)
  }
  setCt(pkt, 0, C.CT_STATE_UNTRACKED)
  return false
}

/** tcf_ct_act_set_mark, tcf_ct_act_set_labels */
function setMarks(conn: usize, params: usize): void {
  const mask = load<u32>(params, S.CT_MARK_MASK)
  if (mask != 0) store<u32>(conn, load<u32>(params, S.CT_MARK) | (load<u32>(conn, C.CONN_MARK) & ~mask), C.CONN_MARK)
  const bits = v128.load(params, S.CT_LABELS_MASK)
  if (!v128.any_true(bits)) return
  const kept = v128.andnot(v128.load(conn, C.CONN_LABELS), bits)
  v128.store(conn, v128.xor(kept, v128.load(params, S.CT_LABELS)), C.CONN_LABELS)
}

/** OP_CT: params of the action. CT_*. */
export function ct(pkt: usize, params: usize): i32 {
  const tab = table()
  if (tab == 0) return shot(DROP_CT_FULL)
  const family = familyOf(pkt)
  if (family == 0) return shot(DROP_CT)
  const ip = networkHeader(pkt)
  const action = <u32>load<u16>(params, S.CT_ACTION)
  const zone = <u32>load<u16>(params, S.CT_ZONE)
  if (load<usize>(pkt, PKT_CT) == 0 && (load<u16>(pkt, PKT_CT_STATE) & C.CT_STATE_UNTRACKED) == 0) {
    const room = roomAt(pkt, ip)
    if (family == 4) {
      if (room < 20) return shot(DROP_CT)
      if ((load<u16>(ip, 6) & 0xff3f) != 0) return CT_FRAGMENT
    } else {
      const fragment = fragment6(ip, room)
      if (fragment < 0) return shot(DROP_CT)
      if (fragment != 0) return CT_FRAGMENT
    }
  }
  const n = trim(pkt, ip, family)
  const now = nowOf(pkt)
  let known = false
  if (!isCached(pkt, tab, zone, (action & FORCE) != 0)) {
    const found = conntrackIn(pkt, tab, ip, n, family, zone, now)
    if (found == IN_DROP) return shot(DROP_CT)
    known = found == IN_FLOW
  }
  store<u16>(pkt, <u16>zone, PKT_CT_ZONE)
  let conn = load<usize>(pkt, PKT_CT)
  if (conn == 0) {
    const untracked = <u32>load<u16>(pkt, PKT_CT_STATE) & C.CT_STATE_UNTRACKED
    setCt(pkt, 0, C.CT_STATE_TRACKED | C.CT_STATE_INVALID | untracked)
    return CT_DONE
  }
  const commit = (action & COMMIT) != 0
  if ((action & NAT) != 0) {
    const state = <u32>load<u16>(pkt, PKT_CT_STATE)
    const source = (action & NAT_SRC) != 0
    const destination = (action & NAT_DST) != 0
    if (!natPacket(tab, ip, n, family, conn, state, params, source, destination, commit, now)) return shot(DROP_CT_NAT)
  }
  if (commit) {
    setMarks(conn, params)
    if ((statusOf(conn) & C.IPS_CONFIRMED) == 0) {
      conn = confirm(tab, conn, now)
      if (conn == CONFIRM_FULL) return shot(DROP_CT_FULL)
      if (conn == CONFIRM_CLASH) return shot(DROP_CT_CLASH)
      store<usize>(pkt, conn, PKT_CT)
    }
  }
  if (!known) flowAdd(pkt, conn, now)
  return CT_DONE
}

/** OP_CT_CLEAR: the packet has no connection any more. */
export function ctClear(pkt: usize): void {
  const untracked = load<usize>(pkt, PKT_CT) != 0 ? C.CT_STATE_UNTRACKED : load<u16>(pkt, PKT_CT_STATE) & C.CT_STATE_UNTRACKED
  setCt(pkt, 0, untracked)
}

/** The packet's connection, or the one that it would have in the zone; 0: none. */
function whose(pkt: usize, zone: u32): usize {
  const family = familyOf(pkt)
  const ip = networkHeader(pkt)
  const n = roomAt(pkt, ip)
  if (family == 0 || n < (family == 4 ? 20 : 40)) return 0
  const conn = load<usize>(pkt, PKT_CT)
  const tab = table()
  if (conn != 0 || tab == 0) return conn
  return lookFor(tab, ip, n, family, zone, nowOf(pkt))
}

/** OP_CONNMARK: zone; what it marked counts as overlimits of `counter`, as in the kernel. */
export function connmark(pkt: usize, zone: u32, counter: u32): void {
  const conn = whose(pkt, zone)
  if (conn == 0) return
  countOverlimit(counter)
  store<u32>(pkt, load<u32>(conn, C.CONN_MARK), PKT_MARK)
}

/** OP_CTINFO, operands from `o` on: zone dscpmask statemask cpmask counts. */
export function ctinfo(pkt: usize, o: usize): void {
  const conn = whose(pkt, load<u32>(o))
  if (conn == 0) return
  const mark = load<u32>(conn, C.CONN_MARK)
  const dscpMask = load<u32>(o, 4)
  const stateMask = load<u32>(o, 8)
  const cpMask = load<u32>(o, 12)
  const counts = load<usize>(o, 16)
  if (dscpMask != 0 && (stateMask == 0 || (mark & stateMask) != 0)) {
    const dscp = ((mark & dscpMask) >>> ctz<u32>(dscpMask)) << 2
    if (setDsField(networkHeader(pkt), familyOf(pkt), dscp & 0xfc)) atomic.add<u32>(counts, 1)
  }
  if (cpMask != 0) {
    store<u32>(pkt, mark & cpMask, PKT_MARK)
    atomic.add<u32>(counts, 1, 8)
  }
}

/** Writes the DS field, ECN apart. False: it says so already. */
function setDsField(ip: usize, family: u32, dscp: u32): bool {
  if (family == 4) {
    const was = load<u16>(ip)
    const tos = <u32>(was >>> 8)
    if ((tos & 0xfc) == dscp) return false
    const is = <u32>(was & 0xff) | ((dscp | (tos & 3)) << 8)
    store<u16>(ip, <u16>is)
    store<u16>(ip, <u16>replace4(load<u16>(ip, 10), was, is), 10)
    return true
  }
  const word = <u32>bswap<u16>(load<u16>(ip))
  if (((word >>> 4) & 0xfc) == dscp) return false
  store<u16>(ip, bswap<u16>(<u16>((word & 0xf03f) | (dscp << 4))))
  return true
}
