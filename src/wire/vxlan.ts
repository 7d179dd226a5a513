// VXLAN header, RFC 7348 section 5.
//
//    0                   1                   2                   3
//    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//   +-+-+-+-+-+-+-+-+-----------------------------------------------+
//   |R|R|R|R|I|R|R|R|            Reserved                           |
//   +-+-+-+-+-+-+-+-+-------------------------------+---------------+
//   |                VXLAN Network Identifier (VNI) |   Reserved    |
//   +-----------------------------------------------+---------------+
const FLAGS = 0
const VNI = 4
const FLAG_VNI = 0x08

export const LEN = 8
export const PORT = 4789

/** True when a header fits before `end` and names a network. */
export const check = (d: DataView, o: number, end: number): boolean =>
  o + LEN <= end && (d.getUint8(o + FLAGS) & FLAG_VNI) !== 0

export const vni = (d: DataView, o: number): number => d.getUint32(o + VNI) >>> 8

export interface Repr {
  vni: number
}
export const parse = (d: DataView, o: number): Repr => ({ vni: vni(d, o) })
export function emit(d: DataView, o: number, r: Repr): void {
  d.setUint32(o + FLAGS, FLAG_VNI << 24)
  d.setUint32(o + VNI, (r.vni << 8) >>> 0)
}
