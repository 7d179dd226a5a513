// Neighbour discovery, RFC 4861: solicitations (4.3), advertisements (4.4), link-layer address options (4.6.1).
//
//   +---------------+---------------+-------------------------------+
//   |  135 or 136   |       0       |           Checksum            |
//   +-+-+-+---------+---------------+-------------------------------+
//   |R|S|O|  (advertisement only)     reserved                      |
//   +-+-+-+---------------------------------------------------------+
//   |                    Target Address (16 bytes)                  |
//   +---------------+---------------+-------------------------------+
//   | 1 or 2        | length / 8    |  link-layer address …         |
import * as Icmp6 from './icmp6.ts'

const FLAGS = 4
const TARGET = 8

/** Without options. */
export const LEN = 24
/** One link-layer address option. */
export const OPTION_LEN = 8

export const NDISC_ROUTER_SOLICITATION = 133
export const NDISC_ROUTER_ADVERTISEMENT = 134
export const NDISC_NEIGHBOUR_SOLICITATION = 135
export const NDISC_NEIGHBOUR_ADVERTISEMENT = 136
export const NDISC_REDIRECT = 137

export const ND_OPT_SOURCE_LL_ADDR = 1
export const ND_OPT_TARGET_LL_ADDR = 2
export const ND_OPT_NONCE = 14

export const NA_ROUTER = 0x80000000
export const NA_SOLICITED = 0x40000000
export const NA_OVERRIDE = 0x20000000

/** The fixed part fits and every option has a length and ends before `end` (ndisc_parse_options). */
export function check(d: DataView, o: number, end: number): boolean {
  if (o + LEN > end) return false
  let at = o + LEN
  while (at < end) {
    if (at + 2 > end) return false
    const length = d.getUint8(at + 1) * 8
    if (length === 0 || at + length > end) return false
    at += length
  }
  return true
}

export const flags = (d: DataView, o: number): number => d.getUint32(o + FLAGS)
export function target(d: DataView, o: number): Uint8Array {
  const out = new Uint8Array(16)
  for (let i = 0; i < 16; i++) out[i] = d.getUint8(o + TARGET + i)
  return out
}

/** Offset of the first option of a type, 0 without. */
export function option(d: DataView, o: number, end: number, type: number): number {
  for (let at = o + LEN; at + 2 <= end; at += d.getUint8(at + 1) * 8) if (d.getUint8(at) === type) return at
  return 0
}

/** The Ethernet address in an option of eight bytes; null when it has another length. */
export function linkAddress(d: DataView, at: number): Uint8Array | null {
  if (d.getUint8(at + 1) !== 1) return null
  const mac = new Uint8Array(6)
  for (let i = 0; i < 6; i++) mac[i] = d.getUint8(at + 2 + i)
  return mac
}

export interface Repr {
  /** NDISC_NEIGHBOUR_*. */
  type: number
  /** NA_*; 0 in a solicitation. */
  flags: number
  target: Uint8Array
  /** Its option is of the type that belongs to the message; null: none. */
  mac: Uint8Array | null
}
/** Length of the message that emit writes. */
export const length = (r: Repr): number => LEN + (r.mac === null ? 0 : OPTION_LEN)

/** The message without checksum; the IPv6 header follows, then Icmp6.setChecksum. */
export function emit(d: DataView, o: number, r: Repr): void {
  Icmp6.emit(d, o, r.type, 0, r.flags)
  for (let i = 0; i < 16; i++) d.setUint8(o + TARGET + i, r.target[i])
  if (r.mac === null) return
  d.setUint8(o + LEN, r.type === NDISC_NEIGHBOUR_SOLICITATION ? ND_OPT_SOURCE_LL_ADDR : ND_OPT_TARGET_LL_ADDR)
  d.setUint8(o + LEN + 1, 1)
  for (let i = 0; i < 6; i++) d.setUint8(o + LEN + 2 + i, r.mac[i])
}

/** ff02::1:ffXX:XXXX of an address (RFC 4291 2.7.1). */
export function solicitedNode(address: Uint8Array): Uint8Array {
  const out = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0)
  for (let i = 13; i < 16; i++) out[i] = address[i]
  return out
}
