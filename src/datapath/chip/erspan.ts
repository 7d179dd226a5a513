// The erspan header of a frame that is sent (net/erspan.h: erspan_build_header, erspan_build_header_v2; ip_gre.c:
// erspan_xmit): version 1 is ERSPAN type II, version 2 type III.
//
//   |  Ver  |         VLAN          | COS |BSO|T|     Session ID    |
//   |      Reserved (or timestamp)  |             Index             |
//   |             SGT               |P|   FT    |   Hw ID   |D|Gra|O|      version 2 alone
//
// The template has what the device or the key say; from the frame come its VLAN tag, the class of its tos, whether it was
// cut, and for version 2 the time.

import { PKT_TIME } from '../../memory/layout/packet.ts'
import { BE_8021Q, BE_IP, BE_IPV6 } from './frame.ts'

const FRAME_MIN: u32 = 60
const FRAME_MAX: u32 = 1514
/** Nanoseconds of a tick of the header's clock. */
const TICK: u64 = 100000
const TRUNCATED: u32 = 0x04
/** ERSPAN_ENCAP_INFRAME: the tag is in the frame. */
const IN_FRAME: u32 = 3 << 3

/** Does the IP packet at `ip`, with `n` bytes left, say that it is longer? */
function isShort(ip: usize, n: i32, type: u32): bool {
  if (type == BE_IP) return n >= 4 && <i32>bswap<u16>(load<u16>(ip, 2)) > n
  // The kernel compares with the transport header's place, which at ingress is the network header's.
  return type == BE_IPV6 && n >= 6 && <i32>bswap<u16>(load<u16>(ip, 4)) > n
}

/**
 * Fills the header at `h` in. The frame at `frame` has `len` bytes, of protocol `type`, its IP header at `ip`; `cut`: it
 * was longer. `outer6`: the tunnel goes over IPv6, whose driver takes whatever is at `ip` for an IPv6 header.
 */
export function fillErspan(h: usize, pkt: usize, frame: usize, len: u32, ip: usize, type: u32, cut: bool, outer6: bool): void {
  const version = load<u8>(h) >>> 4
  const tos: u32 = outer6 ? (((<u32>load<u8>(ip) & 15) << 4) | (load<u8>(ip, 1) >>> 4)) & 255 : load<u8>(ip, 1)
  const tagged = load<u16>(frame, 12) == BE_8021Q
  if (tagged) {
    const tci = <u32>bswap<u16>(load<u16>(frame, 14)) & 0xfff
    store<u8>(h, <u8>((version << 4) | (tci >>> 8)))
    store<u8>(h, <u8>tci, 1)
  }
  let bits: u32 = (tos >>> 5) << 5
  if (version == 1) bits |= tagged ? IN_FRAME : 0
  else if (len < FRAME_MIN) bits |= 1 << 3
  else if (len > FRAME_MAX) bits |= 2 << 3
  if (cut || isShort(ip, <i32>(len - <u32>(ip - frame)), type)) bits |= TRUNCATED
  store<u8>(h, <u8>(bits | (load<u8>(h, 2) & 3)), 2)
  if (version == 2) store<u32>(h, bswap<u32>(<u32>(load<u64>(pkt, PKT_TIME) / TICK)), 4)
}
