// VLAN tag, IEEE 802.1Q clause 9: what follows an EtherType of 0x8100 or 0x88a8.
//
//    0                   1                   2                   3
//    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//   +-----+-+-----------------------+-------------------------------+
//   | PCP |D|          VID          |       inner EtherType         |
//   +-----+-+-----------------------+-------------------------------+
const TCI = 0
const TYPE = 2

export const LEN = 4

export const check = (_d: DataView, o: number, end: number): boolean => o + LEN <= end

export const tci = (d: DataView, o: number): number => d.getUint16(o + TCI)
export const id = (d: DataView, o: number): number => d.getUint16(o + TCI) & 0xfff
export const priority = (d: DataView, o: number): number => d.getUint8(o + TCI) >> 5
export const type = (d: DataView, o: number): number => d.getUint16(o + TYPE)

export interface Repr {
  id: number
  priority: number
  /** Drop eligible indicator. */
  dei: number
  type: number
}
export const parse = (d: DataView, o: number): Repr => ({
  id: id(d, o),
  priority: priority(d, o),
  dei: (d.getUint8(o + TCI) >> 4) & 1,
  type: type(d, o),
})
export function emit(d: DataView, o: number, r: Repr): void {
  d.setUint16(o + TCI, (r.priority << 13) | (r.dei << 12) | r.id)
  d.setUint16(o + TYPE, r.type)
}
