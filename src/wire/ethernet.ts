// Ethernet II header, IEEE 802.3 clause 3.2.
//
//   +--------+--------+--------+--------+--------+--------+
//   |                     destination                     |
//   +--------+--------+--------+--------+--------+--------+
//   |                       source                        |
//   +--------+--------+--------+--------+--------+--------+
//   |    EtherType    |
//   +--------+--------+
const DST = 0
const SRC = 6
const TYPE = 12

export const LEN = 14
export const ALEN = 6

export const ETH_P_IP = 0x0800
export const ETH_P_ARP = 0x0806
export const ETH_P_TEB = 0x6558
export const ETH_P_8021Q = 0x8100
export const ETH_P_IPV6 = 0x86dd
export const ETH_P_8021AD = 0x88a8
export const ETH_P_MPLS_UC = 0x8847
export const ETH_P_802_3_MIN = 0x0600

export const check = (_d: DataView, o: number, end: number): boolean => o + LEN <= end

export const type = (d: DataView, o: number): number => d.getUint16(o + TYPE)
export const setType = (d: DataView, o: number, v: number): void => d.setUint16(o + TYPE, v)

/** Bit 0 of the first byte: a group or broadcast address. */
export const isGroup = (d: DataView, o: number): boolean => (d.getUint8(o + DST) & 1) !== 0
export const isBroadcast = (d: DataView, o: number): boolean =>
  d.getUint16(o + DST) === 0xffff && d.getUint32(o + DST + 2) === 0xffffffff

function copy(d: DataView, o: number): Uint8Array {
  const mac = new Uint8Array(ALEN)
  for (let i = 0; i < ALEN; i++) mac[i] = d.getUint8(o + i)
  return mac
}
export const dst = (d: DataView, o: number): Uint8Array => copy(d, o + DST)
export const src = (d: DataView, o: number): Uint8Array => copy(d, o + SRC)

export interface Repr {
  dst: Uint8Array
  src: Uint8Array
  type: number
}
export function emit(d: DataView, o: number, r: Repr): void {
  for (let i = 0; i < ALEN; i++) {
    d.setUint8(o + DST + i, r.dst[i])
    d.setUint8(o + SRC + i, r.src[i])
  }
  d.setUint16(o + TYPE, r.type)
}
