// VLAN tags: push, pop, modify (net/sched/act_vlan.c, skb_vlan_push, skb_vlan_pop).
//
// The frame's start moves by four bytes and the two addresses with it; the rest stays where it is. tpid is as loaded
// from the wire, tci a number.

import { PKT_DATA, PKT_HEADROOM, PKT_LEN, PKT_PROTO } from '../../memory/layout/packet.ts'
import { isTagged, isVlan, macLen, networkHeader, setNetworkHeader } from './frame.ts'

/** False: no room in front. */
export function vlanPush(pkt: usize, tpid: u32, tci: u32): bool {
  const from = load<usize>(pkt, PKT_DATA)
  const data = from - 4
  if (data < pkt + PKT_HEADROOM) return false
  setNetworkHeader(pkt, networkHeader(pkt))
  if (isTagged(from, load<u32>(pkt, PKT_LEN))) store<u16>(pkt, 0, PKT_PROTO)
  const head = load<u64>(from)
  const rest = load<u32>(from, 8)
  store<u64>(data, head)
  store<u32>(data, rest, 8)
  store<u32>(data, tpid | (<u32>bswap<u16>(<u16>tci) << 16), 12)
  store<usize>(pkt, data, PKT_DATA)
  store<u32>(pkt, load<u32>(pkt, PKT_LEN) + 4, PKT_LEN)
  return true
}

/** Takes the outermost tag off a tagged frame. */
export function untag(pkt: usize): void {
  const from = load<usize>(pkt, PKT_DATA)
  const data = from + 4
  const head = load<u64>(from)
  const rest = load<u32>(from, 8)
  store<u64>(data, head)
  store<u32>(data, rest, 8)
  store<usize>(pkt, data, PKT_DATA)
  store<u32>(pkt, load<u32>(pkt, PKT_LEN) - 4, PKT_LEN)
}

/** A frame without a tag stays as it is. False: the next tag is cut short (skb_vlan_pop wants it whole). */
export function vlanPop(pkt: usize): bool {
  const data = load<usize>(pkt, PKT_DATA)
  const len = load<u32>(pkt, PKT_LEN)
  if (!isTagged(data, len)) return true
  if (isVlan(load<u16>(data, 16)) && len < 22) return false
  const at = networkHeader(pkt)
  untag(pkt)
  const behind = data + 4 + macLen(data + 4, len - 4)
  setNetworkHeader(pkt, at > behind ? at : behind)
  return true
}

/** A frame without a tag stays as it is; so do the bits that `mask` leaves out, and the tpid when 0 is given. */
export function vlanModify(pkt: usize, tpid: u32, tci: u32, mask: u32): void {
  const data = load<usize>(pkt, PKT_DATA)
  if (!isTagged(data, load<u32>(pkt, PKT_LEN))) return
  if (tpid != 0) store<u16>(data, <u16>tpid, 12)
  const old = <u32>bswap<u16>(load<u16>(data, 14))
  store<u16>(data, bswap<u16>(<u16>((old & ~mask) | (tci & mask))), 14)
}
