// ICMPv6 header, RFC 4443 section 2.1.
//
//    0                   1                   2                   3
//    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//   +---------------+---------------+-------------------------------+
//   |     Type      |     Code      |           Checksum            |
//   +---------------+---------------+-------------------------------+
//   |   of the message: MTU, pointer, unused                        |
//   +---------------------------------------------------------------+
//   |   errors: as much of the packet as fits in 1280 bytes         |
import { complement, pseudoSum, sum } from './checksum.ts'
import { NEXTHDR_ICMP } from './ipv6.ts'

const TYPE = 0
const CODE = 1
const CSUM = 2
const REST = 4

export const LEN = 8

export const ICMPV6_DEST_UNREACH = 1
export const ICMPV6_PKT_TOOBIG = 2
export const ICMPV6_TIME_EXCEED = 3
export const ICMPV6_PARAMPROB = 4
export const ICMPV6_ECHO_REQUEST = 128
export const ICMPV6_ECHO_REPLY = 129

export const ICMPV6_NOROUTE = 0
export const ICMPV6_ADDR_UNREACH = 3
export const ICMPV6_PORT_UNREACH = 4
/** Code of time exceeded: reassembly. */
export const ICMPV6_EXC_FRAGTIME = 1
/** Codes of parameter problem. */
export const ICMPV6_HDR_FIELD = 0
export const ICMPV6_UNK_NEXTHDR = 1

export const check = (_d: DataView, o: number, end: number): boolean => o + LEN <= end

export const type = (d: DataView, o: number): number => d.getUint8(o + TYPE)
export const code = (d: DataView, o: number): number => d.getUint8(o + CODE)
export const rest = (d: DataView, o: number): number => d.getUint32(o + REST)
/** Types below 128 report errors. */
export const isError = (t: number): boolean => t < 128

/** The sum over pseudo header and `length` bytes comes out right; the IPv6 header is at `ip`. */
export const checksumOk = (d: DataView, ip: number, o: number, length: number): boolean =>
  complement(pseudoSum(d, ip, true, NEXTHDR_ICMP, length) + sum(d, o, length)) === 0

/** Writes the checksum of a message of `length` bytes whose IPv6 header (with its addresses) stands at `ip`. */
export function setChecksum(d: DataView, ip: number, o: number, length: number): void {
  d.setUint16(o + CSUM, 0)
  d.setUint16(o + CSUM, complement(pseudoSum(d, ip, true, NEXTHDR_ICMP, length) + sum(d, o, length)))
}

/** Type, code and the word behind the checksum; then setChecksum. */
export function emit(d: DataView, o: number, t: number, c: number, restWord: number): void {
  d.setUint8(o + TYPE, t)
  d.setUint8(o + CODE, c)
  d.setUint16(o + CSUM, 0)
  d.setUint32(o + REST, restWord >>> 0)
}
