// ICMP header, RFC 792; next-hop MTU of "fragmentation needed" by RFC 1191.
//
//    0                   1                   2                   3
//    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//   +---------------+---------------+-------------------------------+
//   |     Type      |     Code      |           Checksum            |
//   +---------------+---------------+-------------------------------+
//   |   of the message: identifier and sequence, pointer, MTU       |
//   +---------------------------------------------------------------+
//   |   errors: IP header and data of the packet that caused it     |
import { complement, sum } from './checksum.ts'

const TYPE = 0
const CODE = 1
const CSUM = 2
const REST = 4

export const LEN = 8

export const ICMP_ECHOREPLY = 0
export const ICMP_DEST_UNREACH = 3
export const ICMP_SOURCE_QUENCH = 4
export const ICMP_REDIRECT = 5
export const ICMP_ECHO = 8
export const ICMP_TIME_EXCEEDED = 11
export const ICMP_PARAMETERPROB = 12
export const NR_ICMP_TYPES = 18

export const ICMP_NET_UNREACH = 0
export const ICMP_HOST_UNREACH = 1
export const ICMP_PROT_UNREACH = 2
export const ICMP_PORT_UNREACH = 3
export const ICMP_FRAG_NEEDED = 4
/** Code of time exceeded: reassembly. */
export const ICMP_EXC_FRAGTIME = 1

export const check = (_d: DataView, o: number, end: number): boolean => o + LEN <= end

export const type = (d: DataView, o: number): number => d.getUint8(o + TYPE)
export const code = (d: DataView, o: number): number => d.getUint8(o + CODE)
export const rest = (d: DataView, o: number): number => d.getUint32(o + REST)

/** Messages that report an error: none is sent about them (RFC 1122 3.2.2). */
export const isError = (t: number): boolean =>
  t === ICMP_DEST_UNREACH ||
  t === ICMP_SOURCE_QUENCH ||
  t === ICMP_REDIRECT ||
  t === ICMP_TIME_EXCEEDED ||
  t === ICMP_PARAMETERPROB

/** Header in front of `length - LEN` bytes that stand already; with checksum. */
export function emit(d: DataView, o: number, t: number, c: number, restWord: number, length: number): void {
  d.setUint8(o + TYPE, t)
  d.setUint8(o + CODE, c)
  d.setUint16(o + CSUM, 0)
  d.setUint32(o + REST, restWord >>> 0)
  d.setUint16(o + CSUM, complement(sum(d, o, length)))
}
