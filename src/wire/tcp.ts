// TCP header, RFC 9293 section 3.1, as far as a host without sockets needs it: to refuse a connection.
//
//    0                   1                   2                   3
//    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//   +-------------------------------+-------------------------------+
//   |          Source Port          |       Destination Port        |
//   +-------------------------------+-------------------------------+
//   |                        Sequence Number                        |
//   |                    Acknowledgment Number                      |
//   +-------+-------+---------------+-------------------------------+
//   |  Data |  Rsvd |C E U A P R S F|            Window             |
//   +-------+-------+---------------+-------------------------------+
//   |           Checksum            |         Urgent Pointer        |
//   +-------------------------------+-------------------------------+
const SRC = 0
const DST = 2
const SEQ = 4
const ACK = 8
const OFFSET = 12
const FLAGS = 13
const WINDOW = 14
const CSUM = 16
const URGENT = 18

/** Without options. */
export const LEN = 20
export const FLAG_FIN = 1
export const FLAG_SYN = 2
export const FLAG_RST = 4
export const FLAG_PSH = 8
export const FLAG_ACK = 16

/** The header fits and its data offset is possible. */
export const check = (d: DataView, o: number, end: number): boolean =>
  o + LEN <= end && headerLength(d, o) >= LEN && o + headerLength(d, o) <= end

export const srcPort = (d: DataView, o: number): number => d.getUint16(o + SRC)
export const dstPort = (d: DataView, o: number): number => d.getUint16(o + DST)
export const sequence = (d: DataView, o: number): number => d.getUint32(o + SEQ)
export const acknowledgment = (d: DataView, o: number): number => d.getUint32(o + ACK)
export const headerLength = (d: DataView, o: number): number => (d.getUint8(o + OFFSET) >> 4) * 4
export const flags = (d: DataView, o: number): number => d.getUint8(o + FLAGS)
export const setChecksum = (d: DataView, o: number, v: number): void => d.setUint16(o + CSUM, v)

export interface Repr {
  srcPort: number
  dstPort: number
  sequence: number
  acknowledgment: number
  flags: number
  window: number
}
/** Twenty bytes, checksum zero. */
export function emit(d: DataView, o: number, r: Repr): void {
  d.setUint16(o + SRC, r.srcPort)
  d.setUint16(o + DST, r.dstPort)
  d.setUint32(o + SEQ, r.sequence >>> 0)
  d.setUint32(o + ACK, r.acknowledgment >>> 0)
  d.setUint8(o + OFFSET, 5 << 4)
  d.setUint8(o + FLAGS, r.flags)
  d.setUint16(o + WINDOW, r.window)
  d.setUint16(o + CSUM, 0)
  d.setUint16(o + URGENT, 0)
}
