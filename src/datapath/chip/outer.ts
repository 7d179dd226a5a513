// The short way out of a VXLAN tunnel: what a burst must know of outer headers, remembered.
//
// Whether a packet is for one of our tunnel devices is decided by bytes that are the same for all packets of a tunnel's
// peer: addresses, UDP port, VNI. What local_input.ts, tunnel_input.ts and vxlan_input.ts say of them is kept in a small
// table of the worker, valid for one SUPER_GENERATION: the bytes, the device, and the part of the flow key that they
// make. What differs from packet to packet (checksum, lengths, ECN) is looked at each time. Whatever is not the common
// kind (IPv4 without options and fragments, no UDP checksum, no policy group, no congestion) is left to the long way,
// and a packet that would be dropped is too.

import { ADDR_TYPE_IPV4 } from '../../memory/layout/flow_key.ts'
import { TUNNEL_KEY } from '../../memory/layout/action.ts'
import {
  NETDEV_F_EXTERNAL,
  NETDEV_FEATURES,
  NETDEV_INGRESS,
  NETDEV_KIND,
  NETDEV_KIND_VXLAN,
  NETDEV_MAC,
} from '../../memory/layout/netdev.ts'
import { ETH_LEN } from './frame.ts'
import { firstMask } from './hook.ts'
import { OUTER_SIZE, OUTERS, OUTERS_LOG, SCRATCH_OUTERS } from './layout.ts'
import { isLocal, isOddSource } from './local_input.ts'
import { forgetCache } from './lookup.ts'
import { isQuick } from './quick_key.ts'
import { generation, scratch } from './state.ts'
import { tunnelPort } from './tunnel_input.ts'
import { deviceOf } from './vxlan_input.ts'

/** Where the inner frame begins: Ethernet, IPv4, UDP, VXLAN. */
export const OUTER_LEN: u32 = 50
const UDP: usize = 34
const VXLAN: usize = 42

// An entry of the table: the bytes under their masks, and what they mean.
const OUTER_BYTES: usize = 0
const OUTER_LAST: usize = 48
const OUTER_GENERATION: usize = 52
/** The port that received it. */
const OUTER_FROM: usize = 56
/** The tunnel device; and the VNI, NO_METADATA when the device gives its packets none. */
export const OUTER_DEV: usize = 64
export const OUTER_VNI: usize = 68
export const NO_METADATA: u32 = 0xffffffff
/** The first mask of the device's filters. */
export const OUTER_MASK: usize = 72
/** The entry's name: no mask's address, and no other's while the generation lasts. 0: it has none. */
export const OUTER_NAME: usize = 76

/** Places that headers may have. */
const WAYS: u32 = 4

/** The name given last: odd. */
let lastName: u32 = 1

/** Destination address, type, version and length, ECN (its low bit: ECT(1) and CE are for the long way). */
// @ts-ignore: decorator
@inline
function mask0(): v128 {
  return i8x16(-1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, -1, -1, -1, 1)
}
/** Fragments, protocol, source, half of the destination. */
// @ts-ignore: decorator
@inline
function mask1(): v128 {
  return i8x16(0, 0, 0, 0, 0x3f, -1, 0, -1, 0, 0, -1, -1, -1, -1, -1, -1)
}
/** The rest of it, UDP port and checksum, VXLAN flags, two bytes of the VNI. */
// @ts-ignore: decorator
@inline
function mask2(): v128 {
  return i8x16(-1, -1, 0, 0, -1, -1, 0, 0, -1, -1, -1, -1, -1, -1, -1, -1)
}

/**
 * The entry for a packet of a common kind that leaves a tunnel here, with filters behind it; 0 for all others. `innerLen`
 * says how long the inner frame is.
 */
export function outerOf(dev: usize, data: usize, len: u32): usize {
  if (len < OUTER_LEN + ETH_LEN || load<u8>(data, 23) != 17) return 0
  const place = (load<u32>(data, 26) ^ rotl<u32>(load<u32>(data, 46), 9)) * 0x9e3779b1
  let entry = entryAt(place >>> (32 - OUTERS_LOG))
  const a = v128.and(v128.load(data), mask0())
  const b = v128.and(v128.load(data, 16), mask1())
  const c = v128.and(v128.load(data, 32), mask2())
  const last = <u32>load<u16>(data, OUTER_LAST)
  if (!holds(entry, dev, a, b, c, last)) {
    entry = elsewhere(place >>> (32 - OUTERS_LOG), dev, data, a, b, c, last)
    if (entry == 0) return 0
  }
  const tunnel = load<usize>(entry, OUTER_DEV)
  if (tunnel == 0 || !isSound(data, len)) return 0
  const inner = data + OUTER_LEN
  // A frame that the tunnel device has sent itself is dropped.
  if (load<u32>(inner, 6) == load<u32>(tunnel, NETDEV_MAC) && load<u16>(inner, 10) == load<u16>(tunnel, NETDEV_MAC + 4)) return 0
  return isQuick(inner, innerLen(data)) ? entry : 0
}

/** Headers that found no place of theirs. */
let homeless: u32 = 0

/**
 * The entry of headers that are not in their first place: in one of the others, or made in one that is free. When all are
 * taken, one in sixteen takes a place; the others are learned anew each time, and have no name. 0: nothing can be said.
 */
function elsewhere(row: u32, dev: usize, data: usize, a: v128, b: v128, c: v128, last: u32): usize {
  let free: usize = 0
  for (let i: u32 = 0; i < WAYS; i++) {
    const entry = entryAt(row ^ i)
    if (holds(entry, dev, a, b, c, last)) return entry
    if (free == 0 && load<u32>(entry, OUTER_GENERATION) != generation) free = entry
  }
  const named = free != 0 || (++homeless & 15) == 0
  if (free == 0) free = named ? entryAt(row ^ ((homeless >>> 4) & (WAYS - 1))) : entryAt(OUTERS)
  return learn(free, dev, data, a, b, c, last, named) ? free : 0
}

// @ts-ignore: decorator
@inline
function entryAt(row: u32): usize {
  return scratch + SCRATCH_OUTERS + <usize>row * OUTER_SIZE
}

/** Does the entry hold these bytes of a packet that came by this port? */
// @ts-ignore: decorator
@inline
function holds(entry: usize, dev: usize, a: v128, b: v128, c: v128, last: u32): bool {
  const ab = v128.or(v128.xor(a, v128.load(entry)), v128.xor(b, v128.load(entry, 16)))
  const other = v128.or(ab, v128.xor(c, v128.load(entry, 32)))
  return (
    !v128.any_true(other) &&
    load<u32>(entry, OUTER_LAST) == last &&
    load<u32>(entry, OUTER_GENERATION) == generation &&
    load<usize>(entry, OUTER_FROM) == dev
  )
}

/** Bytes of the inner frame, by the UDP header of a sound packet. */
// @ts-ignore: decorator
@inline
export function innerLen(data: usize): u32 {
  return <u32>bswap<u16>(load<u16>(data, UDP + 4)) - 16
}

/** The IPv4 checksum holds, and the lengths do. */
// @ts-ignore: decorator
@inline
function isSound(data: usize, len: u32): bool {
  const x = load<u64>(data, 14)
  const y = load<u64>(data, 22)
  let sum = (x & 0xffffffff) + (x >> 32) + (y & 0xffffffff) + (y >> 32) + load<u32>(data, 30)
  sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32)
  sum = (sum & 0xffff) + (sum >> 16)
  const total = <u32>bswap<u16>(load<u16>(data, 16))
  const udp = <u32>bswap<u16>(load<u16>(data, UDP + 4))
  return sum == 0xffff && total + ETH_LEN <= len && udp + 20 <= total && udp > 16 + ETH_LEN
}

/** What the long way would say of these bytes, into the entry. False: nothing can be said of such. */
function learn(entry: usize, dev: usize, data: usize, a: v128, b: v128, c: v128, last: u32, named: bool): bool {
  // No tag, IPv4 without options, no fragment, ECN 0 or ECT(0); no UDP checksum; a VNI and no other flag.
  if (
    (load<u32>(data, 12) & 0x1ffffff) != 0x450008 ||
    (load<u16>(data, 20) & 0xff3f) != 0 ||
    load<u16>(data, UDP + 6) != 0 ||
    load<u32>(data, VXLAN) != 0x08 ||
    load<u8>(data, 49) != 0
  ) {
    return false
  }
  v128.store(entry, a, OUTER_BYTES)
  v128.store(entry, b, OUTER_BYTES + 16)
  v128.store(entry, c, OUTER_BYTES + 32)
  store<u32>(entry, last, OUTER_LAST)
  store<u32>(entry, generation, OUTER_GENERATION)
  store<usize>(entry, dev, OUTER_FROM)
  store<usize>(entry, 0, OUTER_DEV)
  const dst = load<u32>(data, 30)
  if ((load<u8>(data) & 1) != 0 || load<u32>(data) != load<u32>(dev, NETDEV_MAC) || load<u16>(data, 4) != load<u16>(dev, NETDEV_MAC + 4)) {
    return true
  }
  if ((dst & 255) == 127 || !isLocal(4, dst, 0, 0, 0) || isOddSource(load<u32>(data, 26))) return true
  const first = tunnelPort(load<u16>(data, UDP + 2), 4)
  if (first == 0 || load<u32>(first, NETDEV_KIND) != NETDEV_KIND_VXLAN) return true
  const vni = bswap<u32>(load<u32>(data, VXLAN + 4)) >>> 8
  const tunnel = deviceOf(first, vni, 4)
  if (tunnel == 0) return true
  const block = load<usize>(tunnel, NETDEV_INGRESS)
  const mask: usize = block == 0 ? 0 : firstMask(block)
  if (mask == 0) return true
  const external = (load<u32>(tunnel, NETDEV_FEATURES) & NETDEV_F_EXTERNAL) != 0
  if (named) {
    lastName += 2
    if (lastName == 1) forgetCache() // round: an entry of the cache may know another by the name that comes
  }
  store<usize>(entry, tunnel, OUTER_DEV)
  store<u32>(entry, external ? vni : NO_METADATA, OUTER_VNI)
  store<usize>(entry, mask, OUTER_MASK)
  store<u32>(entry, named ? lastName : 0, OUTER_NAME)
  return true
}

/** Does the tunnel device give its packets metadata? */
// @ts-ignore: decorator
@inline
function isExternal(entry: usize): bool {
  return load<u32>(entry, OUTER_VNI) != NO_METADATA
}

/** Tunnel id, addresses, flags: the ninth chunk of the key. */
// @ts-ignore: decorator
@inline
export function outerChunk8(entry: usize, data: usize): v128 {
  if (!isExternal(entry)) return i64x2.splat(0)
  const id = <u64>bswap<u32>(load<u32>(entry, OUTER_VNI))
  return i64x2.replace_lane(
    i64x2.splat(id | (<u64>load<u32>(data, 26) << 32)),
    1,
    <u64>load<u32>(data, 30) | (<u64>TUNNEL_KEY << 32),
  )
}

/** Ports, tos, ttl, kind of the addresses: the twelfth. */
// @ts-ignore: decorator
@inline
export function outerChunk11(entry: usize, data: usize): v128 {
  if (!isExternal(entry)) return i64x2.splat(0)
  const tos = <u64>load<u8>(data, 15) | (<u64>load<u8>(data, 22) << 8)
  return i64x2.replace_lane(i64x2.splat(0), 0, <u64>load<u32>(data, 34) | (tos << 32) | (<u64>ADDR_TYPE_IPV4 << 48))
}
