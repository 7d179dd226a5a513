// The frame as the kernel sees it: where its network header is and what protocol it says it has.
//
// The kernel keeps the outermost VLAN tag beside the packet (skb->vlan_tci), here it stays in the frame; but it is
// treated as if it were outside: `skb->protocol` is what comes behind it, byte counts leave it out. Multi-byte numbers
// are as loaded from the wire, so constants here are byte-swapped (0x0008 is ETH_P_IP, 0x0800).

import { PKT_DATA, PKT_FLAGS, PKT_LEN, PKT_NETWORK_MASK, PKT_NETWORK_SHIFT, PKT_PROTO } from '../../memory/layout/packet.ts'

export const BE_IP: u16 = 0x0008
export const BE_IPV6: u16 = 0xdd86
export const BE_ARP: u16 = 0x0608
export const BE_RARP: u16 = 0x3580
export const BE_8021Q: u16 = 0x0081
export const BE_8021AD: u16 = 0xa888
export const BE_MPLS_UC: u16 = 0x4788
export const BE_MPLS_MC: u16 = 0x4888
export const BE_PPP_SES: u16 = 0x6488
export const BE_BATMAN: u16 = 0x0543
export const BE_ALL: u16 = 0x0300
export const BE_802_3: u16 = 0x0100
export const BE_802_2: u16 = 0x0400

export const ETH_LEN: u32 = 14
export const VLAN_LEN: u32 = 4
/** A frame that has a tag must have two bytes of what is behind it: skb_vlan_untag. */
export const TAGGED_MIN: u32 = 20

// @ts-ignore: decorator
@inline
export function isVlan(proto: u32): bool {
  return proto == <u32>BE_8021Q || proto == <u32>BE_8021AD
}

/**
 * eth_type_trans and vlan_set_encap_proto: the protocol that a type field stands for. `type` is the address of the
 * field; `room` the bytes that may be read from there.
 */
// @ts-ignore: decorator
@inline
export function protocolAt(type: usize, room: i32): u32 {
  const t = <u32>load<u16>(type)
  if (<u32>bswap<u16>(<u16>t) >= 0x600) return t
  if (room >= 4 && load<u16>(type, 2) == 0xffff) return BE_802_3
  return BE_802_2
}

/** Has the frame a tag that the kernel would keep beside it? */
// @ts-ignore: decorator
@inline
export function isTagged(data: usize, len: u32): bool {
  return len >= 18 && isVlan(load<u16>(data, 12))
}

/** Bytes in front of the network header: skb->mac_len and the tag. */
// @ts-ignore: decorator
@inline
export function macLen(data: usize, len: u32): u32 {
  return isTagged(data, len) ? ETH_LEN + VLAN_LEN : ETH_LEN
}

/** skb_network_header: an address. Actions that push and pop in front of it leave it where it was. */
export function networkHeader(pkt: usize): usize {
  const at = (load<u32>(pkt, PKT_FLAGS) >>> PKT_NETWORK_SHIFT) & PKT_NETWORK_MASK
  if (at != 0) return pkt + at
  const data = load<usize>(pkt, PKT_DATA)
  return data + macLen(data, load<u32>(pkt, PKT_LEN))
}

/** Notes where the network header is; 0: where the frame says. */
export function setNetworkHeader(pkt: usize, at: usize): void {
  const flags = load<u32>(pkt, PKT_FLAGS) & ~(<u32>PKT_NETWORK_MASK << PKT_NETWORK_SHIFT)
  store<u32>(pkt, at == 0 ? flags : flags | (<u32>(at - pkt) << PKT_NETWORK_SHIFT), PKT_FLAGS)
}

/** Has an action taken the Ethernet header away, or pushed labels in front of it? */
// @ts-ignore: decorator
@inline
export function isBare(pkt: usize): bool {
  const at = (load<u32>(pkt, PKT_FLAGS) >>> PKT_NETWORK_SHIFT) & PKT_NETWORK_MASK
  return at != 0 && pkt + at == load<usize>(pkt, PKT_DATA)
}

/** Is the frame all there is to know of network header and protocol? */
// @ts-ignore: decorator
@inline
export function isPlain(pkt: usize): bool {
  const noted = load<u32>(pkt, PKT_FLAGS) & (<u32>PKT_NETWORK_MASK << PKT_NETWORK_SHIFT)
  return noted == 0 && load<u16>(pkt, PKT_PROTO) == 0
}

/** Keeps skb->protocol as it is while the frame gets another type. */
export function keepProtocol(pkt: usize): void {
  store<u16>(pkt, <u16>innerProtocol(pkt), PKT_PROTO)
}

/** skb->protocol: what is behind the outermost tag. A frame without Ethernet header keeps it in front of its bytes. */
export function innerProtocol(pkt: usize): u32 {
  const data = load<usize>(pkt, PKT_DATA)
  const known = load<u16>(pkt, PKT_PROTO)
  if (known != 0) return known
  if (isBare(pkt)) return load<u16>(data - 2)
  const len = load<u32>(pkt, PKT_LEN)
  const at: u32 = isTagged(data, len) ? 16 : 12
  return protocolAt(data + at, <i32>(len - at))
}

/** skb_protocol(skb, false): the outermost tag's, else the same. What prios compare. */
export function outerProtocol(pkt: usize): u32 {
  const data = load<usize>(pkt, PKT_DATA)
  const len = load<u32>(pkt, PKT_LEN)
  return !isBare(pkt) && isTagged(data, len) ? <u32>load<u16>(data, 12) : innerProtocol(pkt)
}

/** skb_protocol(skb, true): behind all tags; 0 when a tag is cut short. */
export function networkProtocol(pkt: usize): u32 {
  const data = load<usize>(pkt, PKT_DATA)
  const len = load<u32>(pkt, PKT_LEN)
  const inner = innerProtocol(pkt)
  if (!isVlan(inner)) return inner
  let at: u32 = 12
  while (at + 2 <= len) {
    const type = <u32>load<u16>(data + at)
    if (!isVlan(type)) return type
    at += 4
  }
  return 0
}
