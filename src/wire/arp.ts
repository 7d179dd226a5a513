// Address resolution of IPv4 over Ethernet, RFC 826.
//
//    0                   1                   2                   3
//    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//   +-------------------------------+-------------------------------+
//   |      hardware type (1)        |     protocol type (0x0800)    |
//   +---------------+---------------+-------------------------------+
//   |  hw length 6  |  pr length 4  |           operation           |
//   +---------------+---------------+-------------------------------+
//   |  sender hardware address (6), sender protocol address (4)     |
//   |  target hardware address (6), target protocol address (4)     |
//   +---------------------------------------------------------------+
const HRD = 0
const PRO = 2
const HLN = 4
const PLN = 5
const OP = 6
const SHA = 8
const SPA = 14
const THA = 18
const TPA = 24

export const LEN = 28
export const ARPHRD_ETHER = 1
/** IEEE 802.2 on Ethernet, which the kernel takes for Ethernet. */
export const ARPHRD_IEEE802 = 6
export const REQUEST = 1
export const REPLY = 2

/** A whole message of IPv4 over Ethernet, of any operation (arp_rcv, arp_process). */
export const check = (d: DataView, o: number, end: number): boolean =>
  o + LEN <= end &&
  d.getUint8(o + HLN) === 6 &&
  d.getUint8(o + PLN) === 4 &&
  d.getUint16(o + PRO) === 0x0800 &&
  (d.getUint16(o + HRD) === ARPHRD_ETHER || d.getUint16(o + HRD) === ARPHRD_IEEE802)

export const operation = (d: DataView, o: number): number => d.getUint16(o + OP)

/** Sixteen bytes, the address in the first four. */
function address(d: DataView, o: number): Uint8Array {
  const out = new Uint8Array(16)
  for (let i = 0; i < 4; i++) out[i] = d.getUint8(o + i)
  return out
}
function mac(d: DataView, o: number): Uint8Array {
  const out = new Uint8Array(6)
  for (let i = 0; i < 6; i++) out[i] = d.getUint8(o + i)
  return out
}
export const senderAddress = (d: DataView, o: number): Uint8Array => address(d, o + SPA)
export const targetAddress = (d: DataView, o: number): Uint8Array => address(d, o + TPA)
export const senderMac = (d: DataView, o: number): Uint8Array => mac(d, o + SHA)
export const targetMac = (d: DataView, o: number): Uint8Array => mac(d, o + THA)

export interface Repr {
  operation: number
  senderMac: Uint8Array
  /** Four bytes or more; the first four count. */
  senderAddress: Uint8Array
  targetMac: Uint8Array
  targetAddress: Uint8Array
}
export function emit(d: DataView, o: number, r: Repr): void {
  d.setUint16(o + HRD, ARPHRD_ETHER)
  d.setUint16(o + PRO, 0x0800)
  d.setUint8(o + HLN, 6)
  d.setUint8(o + PLN, 4)
  d.setUint16(o + OP, r.operation)
  for (let i = 0; i < 6; i++) {
    d.setUint8(o + SHA + i, r.senderMac[i])
    d.setUint8(o + THA + i, r.targetMac[i])
  }
  for (let i = 0; i < 4; i++) {
    d.setUint8(o + SPA + i, r.senderAddress[i])
    d.setUint8(o + TPA + i, r.targetAddress[i])
  }
}
