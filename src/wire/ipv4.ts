// IPv4 header, RFC 791 section 3.1.
//
//    0                   1                   2                   3
//    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//   +-------+-------+---------------+-------------------------------+
//   |Version|  IHL  |Type of Service|          Total Length         |
//   +-------+-------+---------------+-----+-------------------------+
//   |         Identification        |0 D M|      Fragment Offset    |
//   +---------------+---------------+-----+-------------------------+
//   |  Time to Live |    Protocol   |         Header Checksum       |
//   +---------------+---------------+-------------------------------+
//   |                         Source Address                        |
//   |                      Destination Address                      |
//   |                    Options, padded to 32 bits                 |
//   +---------------------------------------------------------------+
import { complement, sum } from './checksum.ts'

const VHL = 0
const TOS = 1
const TOTLEN = 2
const ID = 4
const FRAG = 6
const TTL = 8
const PROTO = 9
const CSUM = 10
const SRC = 12
const DST = 16

/** Without options. */
export const LEN = 20
export const DF = 0x4000
export const MF = 0x2000
export const OFFSET_MASK = 0x1fff

export const IPPROTO_ICMP = 1
export const IPPROTO_IGMP = 2
export const IPPROTO_IPIP = 4
export const IPPROTO_TCP = 6
export const IPPROTO_UDP = 17
export const IPPROTO_IPV6 = 41
export const IPPROTO_GRE = 47
export const IPPROTO_ESP = 50
export const IPPROTO_SCTP = 132
export const IPPROTO_UDPLITE = 136

/** Version, header and total length are possible (ip_rcv_core); then no accessor below can fail. */
export function check(d: DataView, o: number, end: number): boolean {
  if (o + LEN > end || d.getUint8(o) >> 4 !== 4) return false
  const header = (d.getUint8(o) & 15) * 4
  const total = d.getUint16(o + TOTLEN)
  return header >= LEN && header <= total && o + total <= end
}

export const headerLength = (d: DataView, o: number): number => (d.getUint8(o + VHL) & 15) * 4
export const tos = (d: DataView, o: number): number => d.getUint8(o + TOS)
export const totalLength = (d: DataView, o: number): number => d.getUint16(o + TOTLEN)
export const id = (d: DataView, o: number): number => d.getUint16(o + ID)
/** DF, MF and offset as they stand. */
export const fragment = (d: DataView, o: number): number => d.getUint16(o + FRAG)
/** Offset in bytes. */
export const fragmentOffset = (d: DataView, o: number): number => (d.getUint16(o + FRAG) & OFFSET_MASK) * 8
export const moreFragments = (d: DataView, o: number): boolean => (d.getUint16(o + FRAG) & MF) !== 0
export const isFragment = (d: DataView, o: number): boolean => (d.getUint16(o + FRAG) & (MF | OFFSET_MASK)) !== 0
export const ttl = (d: DataView, o: number): number => d.getUint8(o + TTL)
export const protocol = (d: DataView, o: number): number => d.getUint8(o + PROTO)
/** The header's sum comes out right. */
export const checksumOk = (d: DataView, o: number): boolean => complement(sum(d, o, headerLength(d, o))) === 0

function address(d: DataView, o: number): Uint8Array {
  const out = new Uint8Array(16)
  for (let i = 0; i < 4; i++) out[i] = d.getUint8(o + i)
  return out
}
/** Sixteen bytes, the address in the first four. */
export const src = (d: DataView, o: number): Uint8Array => address(d, o + SRC)
export const dst = (d: DataView, o: number): Uint8Array => address(d, o + DST)

export const setTotalLength = (d: DataView, o: number, v: number): void => d.setUint16(o + TOTLEN, v)
export const setFragment = (d: DataView, o: number, v: number): void => d.setUint16(o + FRAG, v)
export const setTos = (d: DataView, o: number, v: number): void => d.setUint8(o + TOS, v)
export function setChecksum(d: DataView, o: number): void {
  d.setUint16(o + CSUM, 0)
  d.setUint16(o + CSUM, complement(sum(d, o, headerLength(d, o))))
}

export interface Repr {
  tos: number
  /** Header and payload. */
  totalLength: number
  id: number
  /** DF, MF, offset / 8. */
  fragment: number
  ttl: number
  protocol: number
  src: Uint8Array
  dst: Uint8Array
}
/** Twenty bytes, checksum included. */
export function emit(d: DataView, o: number, r: Repr): void {
  d.setUint8(o + VHL, 0x45)
  d.setUint8(o + TOS, r.tos)
  d.setUint16(o + TOTLEN, r.totalLength)
  d.setUint16(o + ID, r.id)
  d.setUint16(o + FRAG, r.fragment)
  d.setUint8(o + TTL, r.ttl)
  d.setUint8(o + PROTO, r.protocol)
  for (let i = 0; i < 4; i++) {
    d.setUint8(o + SRC + i, r.src[i])
    d.setUint8(o + DST + i, r.dst[i])
  }
  setChecksum(d, o)
}
