// UDP header, RFC 768.
//
//    0                   1                   2                   3
//    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//   +-------------------------------+-------------------------------+
//   |          Source Port          |       Destination Port        |
//   +-------------------------------+-------------------------------+
//   |            Length             |           Checksum            |
//   +-------------------------------+-------------------------------+
const SRC = 0
const DST = 2
const LENGTH = 4
const CSUM = 6

export const LEN = 8

/** A header fits, and its length is that of a header at least and no more than is there. */
export const check = (d: DataView, o: number, end: number): boolean =>
  o + LEN <= end && d.getUint16(o + LENGTH) >= LEN && o + d.getUint16(o + LENGTH) <= end

export const srcPort = (d: DataView, o: number): number => d.getUint16(o + SRC)
export const dstPort = (d: DataView, o: number): number => d.getUint16(o + DST)
export const length = (d: DataView, o: number): number => d.getUint16(o + LENGTH)
export const checksum = (d: DataView, o: number): number => d.getUint16(o + CSUM)
export const setChecksum = (d: DataView, o: number, v: number): void => d.setUint16(o + CSUM, v)

export interface Repr {
  srcPort: number
  dstPort: number
  /** Header and payload. */
  length: number
  checksum: number
}
export function emit(d: DataView, o: number, r: Repr): void {
  d.setUint16(o + SRC, r.srcPort)
  d.setUint16(o + DST, r.dstPort)
  d.setUint16(o + LENGTH, r.length)
  d.setUint16(o + CSUM, r.checksum)
}
