// The dissector's short cut: the three first chunks of the key (layout/flow_key.ts) of an untagged, unfragmented IPv4
// frame that carries TCP or UDP, in vector registers. dissect.ts says the same of every frame; a test compares the two.

import { FLOW_ADDR_IPV4 } from '../../memory/layout/flow_key.ts'

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

/** n_proto, ip_proto, flags, Ethernet addresses. */
// @ts-ignore: decorator
@inline
export function quickChunk0(data: usize): v128 {
  const v = v128.shuffle<u8>(v128.load(data), v128.load(data, 16), 12, 13, 23, 12, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
  return i8x16.replace_lane(v, 3, <i8>FLOW_ADDR_IPV4)
}

/** VLAN tags (none), ports, source address. */
// @ts-ignore: decorator
@inline
export function quickChunk1(data: usize): v128 {
  const lane = <u64>load<u32>(data, 34) | (<u64>load<u32>(data, 26) << 32)
  return i64x2.replace_lane(i64x2.splat(0), 1, lane)
}

/** Destination address, tos, ttl, TCP flags; ICMP and tags (none), ifindex. */
// @ts-ignore: decorator
@inline
export function quickChunk2(data: usize, ifindex: u32): v128 {
  const flags = load<u8>(data, 23) == TCP ? <u64>(load<u16>(data, 46) & 0xff0f) << 48 : 0
  const lane = <u64>load<u32>(data, 30) | (<u64>load<u8>(data, 15) << 32) | (<u64>load<u8>(data, 22) << 40) | flags
  return i64x2.replace_lane(i64x2.splat(lane), 1, <u64>ifindex << 32)
}
