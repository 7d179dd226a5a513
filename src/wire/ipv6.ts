// IPv6 header, RFC 8200 section 3, and the Fragment extension header, section 4.5.
//
//    0                   1                   2                   3
//    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//   +-------+---------------+---------------------------------------+
//   |Version| Traffic Class |              Flow Label               |
//   +-------+---------------+-------+---------------+---------------+
//   |         Payload Length        |  Next Header  |   Hop Limit   |
//   +-------------------------------+---------------+---------------+
//   |  Source Address (16 bytes), Destination Address (16 bytes)    |
//   +---------------------------------------------------------------+
//
//   Fragment:  | Next Header | 0 | Offset (13) 0 0 M | Identification (32) |
const FLOW = 0
const LENGTH = 4
const NEXT = 6
const HOPS = 7
const SRC = 8
const DST = 24

export const LEN = 40
export const FRAGMENT_LEN = 8
/** Every link carries at least this (RFC 8200 section 5). */
export const MIN_MTU = 1280

export const NEXTHDR_HOP = 0
export const NEXTHDR_ROUTING = 43
export const NEXTHDR_FRAGMENT = 44
export const NEXTHDR_AUTH = 51
export const NEXTHDR_ICMP = 58
export const NEXTHDR_NONE = 59
export const NEXTHDR_DEST = 60
export const NEXTHDR_MOBILITY = 135

/** Version and payload length are possible (ip6_rcv_core). */
export const check = (d: DataView, o: number, end: number): boolean =>
  o + LEN <= end && d.getUint8(o) >> 4 === 6 && o + LEN + d.getUint16(o + LENGTH) <= end

export const trafficClass = (d: DataView, o: number): number => (d.getUint16(o + FLOW) >> 4) & 255
export const payloadLength = (d: DataView, o: number): number => d.getUint16(o + LENGTH)
export const nextHeader = (d: DataView, o: number): number => d.getUint8(o + NEXT)
export const hopLimit = (d: DataView, o: number): number => d.getUint8(o + HOPS)
export const setPayloadLength = (d: DataView, o: number, v: number): void => d.setUint16(o + LENGTH, v)
export const setNextHeader = (d: DataView, o: number, v: number): void => d.setUint8(o + NEXT, v)

function address(d: DataView, o: number): Uint8Array {
  const out = new Uint8Array(16)
  for (let i = 0; i < 16; i++) out[i] = d.getUint8(o + i)
  return out
}
export const src = (d: DataView, o: number): Uint8Array => address(d, o + SRC)
export const dst = (d: DataView, o: number): Uint8Array => address(d, o + DST)

export const setTrafficClass = (d: DataView, o: number, v: number): void =>
  d.setUint16(o + FLOW, (d.getUint16(o + FLOW) & 0xf00f) | (v << 4))

/** Is there a further header behind this one that says what follows (not: fragment, ESP, none, transport)? */
export const isExtension = (next: number): boolean =>
  next === NEXTHDR_HOP ||
  next === NEXTHDR_ROUTING ||
  next === NEXTHDR_DEST ||
  next === NEXTHDR_AUTH ||
  next === NEXTHDR_MOBILITY

export interface Transport {
  /** The protocol that the chain of extension headers ends in, or NEXTHDR_FRAGMENT when that stands first. */
  proto: number
  /** Where it begins. */
  at: number
  /** Offset of the byte that names it. */
  pointer: number
}
/** Walks the extension headers up to a transport or a Fragment header; null when they run over `end`. */
export function transport(d: DataView, o: number, end: number): Transport | null {
  let proto = nextHeader(d, o)
  let at = o + LEN
  let pointer = o + NEXT
  while (isExtension(proto)) {
    if (at + 8 > end) return null
    const length = proto === NEXTHDR_AUTH ? (d.getUint8(at + 1) + 2) * 4 : (d.getUint8(at + 1) + 1) * 8
    pointer = at
    proto = d.getUint8(at)
    at += length
    if (at > end) return null
  }
  return { proto, at, pointer }
}

export const fragmentNext = (d: DataView, o: number): number => d.getUint8(o)
/** Offset in bytes. */
export const fragmentOffset = (d: DataView, o: number): number => d.getUint16(o + 2) & 0xfff8
export const fragmentMore = (d: DataView, o: number): boolean => (d.getUint16(o + 2) & 1) !== 0
export const fragmentId = (d: DataView, o: number): number => d.getUint32(o + 4)

export interface Repr {
  trafficClass: number
  flowLabel: number
  payloadLength: number
  nextHeader: number
  hopLimit: number
  src: Uint8Array
  dst: Uint8Array
}
export function emit(d: DataView, o: number, r: Repr): void {
  d.setUint32(o + FLOW, (0x60000000 | (r.trafficClass << 20) | r.flowLabel) >>> 0)
  d.setUint16(o + LENGTH, r.payloadLength)
  d.setUint8(o + NEXT, r.nextHeader)
  d.setUint8(o + HOPS, r.hopLimit)
  for (let i = 0; i < 16; i++) {
    d.setUint8(o + SRC + i, r.src[i])
    d.setUint8(o + DST + i, r.dst[i])
  }
}
