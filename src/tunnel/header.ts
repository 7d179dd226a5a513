// The encap header: the outer bytes of one tunnel key towards one next hop, as a template that never changes.
//
//   HEADER_LEN … HEADER_STRIP | …free… | Ethernet | IPv4 or IPv6 | UDP or GRE, tunnel header, options |
//   ^ words of layout/encap.ts          ^ HEADER_BYTES + room - HEADER_LEN                              ^ room ends
//
// The bytes are right-aligned in their room, so that the last one meets the inner frame and the datapath copies whole
// words. Patch points are zero in the template: IPv4 tos, total length, id, ttl when inherited, and checksum; IPv6
// traffic class and payload length; UDP source port, length and checksum. HEADER_IP_SUM and HEADER_PSEUDO_SUM are the
// sums (RFC 1071: big-endian 16-bit words, not folded) of what stands in the template; the datapath adds what it patches.
//
// A header is made by encap/ (for the packets of flows) and by host/ (for one packet on the slow path), published or
// passed on, and given back with freeHeader: at once while nobody can know it, else after a grace period.

import type { Arena } from '../memory/arena.ts'
import {
  HEADER_BYTES,
  HEADER_ENTRY,
  HEADER_ETHERTYPES,
  HEADER_F_DF_SET,
  HEADER_F_IPV6,
  HEADER_F_SMALL,
  HEADER_F_TTL_INHERIT,
  HEADER_F_UDP,
  HEADER_FLAGS,
  HEADER_INNER_MTU,
  HEADER_IP_SUM,
  HEADER_L3,
  HEADER_L4,
  HEADER_LEN,
  HEADER_MTU,
  HEADER_OUT_DEV,
  HEADER_PORT_COUNT,
  HEADER_PORT_MIN,
  HEADER_PSEUDO_SUM,
  HEADER_ROOM,
  HEADER_ROOM_SMALL,
  HEADER_SIZE,
  HEADER_SIZE_SMALL,
  HEADER_STRIP,
  HEADER_TOS,
  HEADER_TTL,
} from '../memory/layout/encap.ts'
import { NETDEV_MAC } from '../memory/layout/netdev.ts'
import { alloc, free, freeRcu } from '../memory/pool.ts'
import { TAG_HEADER } from '../memory/tags.ts'
import { AF_INET6 } from '../wire/rtm_route.ts'
import type { Outer, TunnelType } from './tunnel.ts'

const ETH_LEN = 14
const ETH_P_IP = 0x0800
const ETH_P_IPV6 = 0x86dd
const IPV4_LEN = 20
const IPV6_LEN = 40
const IP_DF = 0x4000

/** Bytes of the outer headers, Ethernet included. */
export const headerLength = (outer: Outer): number =>
  ETH_LEN + (outer.family === AF_INET6 ? IPV6_LEN : IPV4_LEN) + outer.length

/** Do the outer headers fit a template? (mlx5e: max_encap_header_size.) */
export const headerFits = (outer: Outer): boolean => headerLength(outer) <= HEADER_ROOM

/** Where the first outer byte of a header stands in the arena. */
export const headerBytes = (a: Arena, h: number): number =>
  h +
  HEADER_BYTES +
  (a.m[(h + HEADER_FLAGS) >> 2] & HEADER_F_SMALL ? HEADER_ROOM_SMALL : HEADER_ROOM) -
  a.m[(h + HEADER_LEN) >> 2]

const sizeOf = (a: Arena, h: number): number =>
  a.m[(h + HEADER_FLAGS) >> 2] & HEADER_F_SMALL ? HEADER_SIZE_SMALL : HEADER_SIZE

/** Sum of the 16-bit big-endian words of [o, o + n), not folded; n even. */
function sum(d: DataView, o: number, n: number): number {
  let s = 0
  for (let i = 0; i < n; i += 2) s += d.getUint16(o + i)
  return s
}

function writeIpv4(d: DataView, u8: Uint8Array, o: number, outer: Outer, src: Uint8Array, ttl: number): void {
  d.setUint16(o, 0x4500)
  d.setUint16(o + 6, outer.flags & HEADER_F_DF_SET ? IP_DF : 0)
  d.setUint8(o + 8, ttl)
  d.setUint8(o + 9, outer.proto)
  for (let i = 0; i < 4; i++) {
    u8[o + 12 + i] = src[i]
    u8[o + 16 + i] = outer.dst[i]
  }
}

function writeIpv6(d: DataView, u8: Uint8Array, o: number, outer: Outer, src: Uint8Array, ttl: number): void {
  d.setUint32(o, 0x60000000 | (outer.label & 0xfffff))
  d.setUint8(o + 6, outer.proto)
  d.setUint8(o + 7, ttl)
  for (let i = 0; i < 16; i++) {
    u8[o + 8 + i] = src[i]
    u8[o + 24 + i] = outer.dst[i]
  }
}

/**
 * Makes a header. `outer` from type.outer(); `src` the source address after the route lookup; the frame leaves by the
 * port `outDev` (its MAC becomes the source) to the MAC at `mac[at..at+5]`; `mtu` the route's; `entry` the encap entry
 * that it belongs to, 0 for one of the host. The caller checked headerFits. Returns its address; throws when memory is out.
 */
export function buildHeader(
  a: Arena,
  type: TunnelType,
  dev: number,
  tun: number,
  outer: Outer,
  src: Uint8Array,
  outDev: number,
  mac: Uint8Array,
  at: number,
  mtu: number,
  entry: number,
): number {
  const ipv6 = outer.family === AF_INET6
  const length = headerLength(outer)
  const small = length <= HEADER_ROOM_SMALL
  const h = alloc(a, small ? HEADER_SIZE_SMALL : HEADER_SIZE, TAG_HEADER)
  const { m, u8, d } = a
  const flags = outer.flags | (ipv6 ? HEADER_F_IPV6 : 0) | (small ? HEADER_F_SMALL : 0)
  const w = h >> 2
  m[w + (HEADER_LEN >> 2)] = length
  m[w + (HEADER_OUT_DEV >> 2)] = outDev
  m[w + (HEADER_FLAGS >> 2)] = flags
  m[w + (HEADER_L3 >> 2)] = ETH_LEN
  m[w + (HEADER_L4 >> 2)] = ETH_LEN + (ipv6 ? IPV6_LEN : IPV4_LEN) + outer.extension
  m[w + (HEADER_MTU >> 2)] = mtu
  m[w + (HEADER_TOS >> 2)] = outer.tos
  m[w + (HEADER_TTL >> 2)] = outer.ttl
  m[w + (HEADER_PORT_MIN >> 2)] = flags & HEADER_F_UDP ? outer.portMin : dev // HEADER_DEV
  m[w + (HEADER_PORT_COUNT >> 2)] = outer.portCount
  m[w + (HEADER_ENTRY >> 2)] = entry
  m[w + (HEADER_STRIP >> 2)] = outer.strip
  m[w + (HEADER_ETHERTYPES >> 2)] = outer.ethertypes
  m[w + (HEADER_INNER_MTU >> 2)] = outer.innerMtu

  const o = headerBytes(a, h)
  for (let i = 0; i < 6; i++) {
    u8[o + i] = mac[at + i]
    u8[o + 6 + i] = u8[outDev + NETDEV_MAC + i]
  }
  d.setUint16(o + 12, ipv6 ? ETH_P_IPV6 : ETH_P_IP)
  const ip = o + ETH_LEN
  const ttl = flags & HEADER_F_TTL_INHERIT ? 0 : outer.ttl
  if (ipv6) {
    writeIpv6(d, u8, ip, outer, src, ttl)
    m[w + (HEADER_PSEUDO_SUM >> 2)] = sum(d, ip + 8, 32) + outer.proto
  } else {
    writeIpv4(d, u8, ip, outer, src, ttl)
    m[w + (HEADER_IP_SUM >> 2)] = sum(d, ip, IPV4_LEN)
    m[w + (HEADER_PSEUDO_SUM >> 2)] = sum(d, ip + 12, 8) + outer.proto
  }
  type.write(a, dev, tun, outer, d, ip + (ipv6 ? IPV6_LEN : IPV4_LEN))
  return h
}

/** Gives a header back that was published: a packet may be copying it until the grace period ends. */
export const retireHeader = (a: Arena, h: number): void => freeRcu(a, h, sizeOf(a, h), TAG_HEADER)

/** Gives a header back that no other thread has seen. */
export const freeHeader = (a: Arena, h: number): void => free(a, h, sizeOf(a, h), TAG_HEADER)
