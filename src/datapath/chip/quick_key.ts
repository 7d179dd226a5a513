// The dissector's short cut: the three first chunks of the key (layout/flow_key.ts) of an untagged, unfragmented IPv4
// frame that carries TCP or UDP, in vector registers. dissect.ts says the same of every frame; a test compares the two.
//
// The key has such a frame's bytes in the frame's order, so that a chunk is a load, and one word of it put right. The
// third chunk is the same for all that one device receives.

import { FLOW_ADDR_IPV4 } from '../../memory/layout/flow_key.ts'
import { BE_IP } from './frame.ts'

/** Ethernet, IPv4 without options, TCP. */
const LEN_MIN: u32 = 54
const TCP: u32 = 6
const UDP: u32 = 17

/** Is it such a frame? */
// @ts-ignore: decorator
@inline
export function isQuick(data: usize, len: u32): bool {
  if (len < LEN_MIN) return false
  // type 0x0800, ihl 5; no offset, no more fragments
  if ((load<u32>(data, 12) & 0xfffff) != 0x50008 || (load<u16>(data, 20) & 0xff3f) != 0) return false
  const proto = <u32>load<u8>(data, 23)
  return proto == UDP || (proto == TCP && load<u8>(data, 46) >= 0x50)
}

/** n_proto, ip_proto, flags; Ethernet addresses. In front of the frame are four bytes of its slot. */
// @ts-ignore: decorator
@inline
export function quickChunk0(data: usize): v128 {
  const lane = <u32>BE_IP | (<u32>FLOW_ADDR_IPV4 << 24) | (<u32>load<u8>(data, 23) << 16)
  return i32x4.replace_lane(v128.load(data - 4), 0, lane)
}

/** Addresses, ports; tos, ttl, TCP flags. */
// @ts-ignore: decorator
@inline
export function quickChunk1(data: usize): v128 {
  const flags: u32 = load<u8>(data, 23) == TCP ? (load<u16>(data, 46) & 0xff0f) << 16 : 0
  return i32x4.replace_lane(v128.load(data, 26), 3, <u32>load<u8>(data, 15) | (<u32>load<u8>(data, 22) << 8) | flags)
}

/** VLAN tags, ICMP (none); ifindex. */
// @ts-ignore: decorator
@inline
export function quickChunk2(ifindex: u32): v128 {
  return i32x4.replace_lane(i64x2.splat(0), 3, ifindex)
}
