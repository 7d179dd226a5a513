// What a ConnectX writes in front of a packet where the kernel's software path writes something else (mlx5e-scheme 5.4 to
// 5.10, 5.12). Its template knows nothing of the packet behind it:
//
//   tos, traffic class   the key's, whole: no ECN of the inner packet
//   UDP checksum         zero, over IPv6 too
//   IPv4 id, DF          zero
//   IPv6 flow label      zero
//   ttl                  the key's, or the system's where it has none
//   size                 not looked at: what is too long for the port is the port's business
//
// Which UDP source port its entropy gives is the card's secret; here it is the kernel's.

import {
  HEADER_F_GRE,
  HEADER_F_INNER_TYPE,
  HEADER_F_NO_ECN,
  HEADER_F_NO_ID,
  HEADER_F_UDP,
} from '../memory/layout/encap.ts'
import { DEFAULT_TTL, type Outer } from './tunnel.ts'

/** The MTU to build such a header with: none. */
export const NO_MTU = 0x7fffffff

/** Turns what a tunnel type says of the outer headers into what the card makes of it. */
export function asHardware(out: Outer): void {
  out.flags &= HEADER_F_UDP | HEADER_F_GRE | HEADER_F_INNER_TYPE
  out.flags |= HEADER_F_NO_ECN | HEADER_F_NO_ID
  out.label = 0
  out.ttl ||= DEFAULT_TTL
  out.ethertypes = 0
  out.innerMtu = 0
}
