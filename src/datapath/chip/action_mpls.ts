// MPLS labels: push, pop, modify, and Ethernet headers taken off and put on (net/sched/act_mpls.c, act_vlan.c;
// skb_mpls_push, skb_mpls_pop, skb_eth_pop, skb_eth_push).
//
// The frame's start moves, what lies in front of the network header with it. The type field always stands in the two
// bytes before the network header, even where no Ethernet header is left: there it is in the headroom.

import { MPLS_PUSH_BOS, MPLS_PUSH_MAC } from '../../memory/layout/program.ts'
import { PKT_DATA, PKT_HEADROOM, PKT_LEN, PKT_PROTO } from '../../memory/layout/packet.ts'
import {
  BE_MPLS_MC,
  BE_MPLS_UC,
  ETH_LEN,
  innerProtocol,
  isBare,
  isTagged,
  isVlan,
  macLen,
  networkHeader,
  networkProtocol,
  setNetworkHeader,
} from './frame.ts'

const LSE_LEN: usize = 4
const BOTTOM: u32 = 0x100

// @ts-ignore: decorator
@inline
function isMpls(proto: u32): bool {
  return proto == BE_MPLS_UC || proto == BE_MPLS_MC
}

function moveStart(pkt: usize, data: usize): void {
  const from = load<usize>(pkt, PKT_DATA)
  store<usize>(pkt, data, PKT_DATA)
  store<u32>(pkt, load<u32>(pkt, PKT_LEN) + <u32>(from - data), PKT_LEN)
}

/** OP_MPLS_PUSH. False: no room. */
export function mplsPush(pkt: usize, lse: u32, type: u32, flags: u32): bool {
  const from = load<usize>(pkt, PKT_DATA)
  if (from - LSE_LEN - 2 < pkt + PKT_HEADROOM) return false
  const mac = (flags & MPLS_PUSH_MAC) != 0
  const bare = isBare(pkt)
  if ((flags & MPLS_PUSH_BOS) != 0) {
    const proto = bare ? innerProtocol(pkt) : networkProtocol(pkt)
    if ((mac && !bare) || !isMpls(proto)) lse |= BOTTOM
  }
  const at = mac ? from : networkHeader(pkt)
  const link = bare || mac ? 0 : macLen(from, load<u32>(pkt, PKT_LEN))
  store<u16>(pkt, 0, PKT_PROTO)
  moveStart(pkt, from - LSE_LEN)
  if (at != from) memory.copy(from - LSE_LEN, from, at - from)
  store<u32>(at - LSE_LEN, bswap<u32>(lse))
  // The type of the Ethernet header, even if a tag that an action pushed out of the way stands between it and the label.
  store<u16>((link == 0 ? at : from + link) - LSE_LEN - 2, <u16>type)
  setNetworkHeader(pkt, at - LSE_LEN)
  return true
}

/** OP_MPLS_POP; what is not MPLS stays. False: cut short. */
export function mplsPop(pkt: usize, type: u32): bool {
  if (!isMpls(innerProtocol(pkt))) return true
  const from = load<usize>(pkt, PKT_DATA)
  const at = networkHeader(pkt)
  if (at + LSE_LEN > from + load<u32>(pkt, PKT_LEN)) return false
  // A push writes the Ethernet header's type, a pop what is in front of the label: another one, behind a tag.
  const apart = !isBare(pkt) && <u32>(at - from) != macLen(from, load<u32>(pkt, PKT_LEN))
  memory.copy(from + LSE_LEN, from, at - from)
  store<u16>(pkt, apart ? <u16>type : 0, PKT_PROTO)
  moveStart(pkt, from + LSE_LEN)
  store<u16>(at + LSE_LEN - 2, <u16>type)
  setNetworkHeader(pkt, at + LSE_LEN)
  return true
}

/** OP_MPLS_MODIFY. False: not MPLS, or cut short. */
export function mplsModify(pkt: usize, lse: u32, mask: u32): bool {
  const at = networkHeader(pkt)
  if (!isMpls(innerProtocol(pkt)) || at + LSE_LEN > load<usize>(pkt, PKT_DATA) + load<u32>(pkt, PKT_LEN)) return false
  store<u32>(at, bswap<u32>((bswap<u32>(load<u32>(at)) & ~mask) | (lse & mask)))
  return true
}

/** OP_MPLS_DEC_TTL. False: not MPLS, cut short, or the ttl is used up. */
export function mplsDecTtl(pkt: usize): bool {
  const at = networkHeader(pkt)
  if (!isMpls(innerProtocol(pkt)) || at + LSE_LEN > load<usize>(pkt, PKT_DATA) + load<u32>(pkt, PKT_LEN)) return false
  const ttl = load<u8>(at, 3) - 1
  if (ttl == 0) return false
  store<u8>(at, ttl, 3)
  return true
}

/** OP_VLAN_POP_ETH. False: there is a tag, or no Ethernet header. */
export function popEth(pkt: usize): bool {
  const data = load<usize>(pkt, PKT_DATA)
  const len = load<u32>(pkt, PKT_LEN)
  if (isBare(pkt) || len < ETH_LEN || isTagged(data, len) || isVlan(load<u16>(data, 12))) return false
  if (networkHeader(pkt) != data + ETH_LEN) return false
  moveStart(pkt, data + ETH_LEN)
  setNetworkHeader(pkt, data + ETH_LEN)
  return true
}

/** OP_VLAN_PUSH_ETH: `addresses` of twelve bytes. False: it has an Ethernet header, or there is no room. */
export function pushEth(pkt: usize, addresses: usize): bool {
  const data = load<usize>(pkt, PKT_DATA)
  if (!isBare(pkt) || data - ETH_LEN < pkt + PKT_HEADROOM) return false
  // The type stands where it belongs already, unless another was written there.
  if (load<u16>(pkt, PKT_PROTO) != 0) store<u16>(data - 2, load<u16>(pkt, PKT_PROTO))
  store<u64>(data - ETH_LEN, load<u64>(addresses))
  store<u32>(data - ETH_LEN, load<u32>(addresses, 8), 8)
  moveStart(pkt, data - ETH_LEN)
  return true
}
