// Internet addresses as the tables hold them: sixteen bytes in wire order, an IPv4 address in the first four and zeros
// behind it (as TUN_SRC and LOCAL_ENTRY_ADDR of memory/layout). In the arena such an address is four words at a
// four-byte boundary. A family is AF_INET (2) or AF_INET6 (10), as in rtnetlink.
//
// Pure functions; every thread.

import { AF_INET } from '../wire/rtm_route.ts'

/** Bits of an address of the family. */
export const familyBits = (family: number): number => (family === AF_INET ? 32 : 128)
/** Bytes of an address of the family as attributes carry it. */
export const familyBytes = (family: number): number => (family === AF_INET ? 4 : 16)

/** Four bytes as one number, first byte highest. */
export const ipv4Number = (a: Uint8Array, o = 0): number =>
  ((a[o] << 24) | (a[o + 1] << 16) | (a[o + 2] << 8) | a[o + 3]) >>> 0

/** The sixteen bytes of an IPv4 address given as a number. */
export function ipv4Address(n: number): Uint8Array {
  const out = new Uint8Array(16)
  out[0] = n >>> 24
  out[1] = n >>> 16
  out[2] = n >>> 8
  out[3] = n
  return out
}

/** True when all bytes are zero: INADDR_ANY, in6addr_any. */
export function isAny(a: Uint8Array): boolean {
  for (let i = 0; i < 16; i++) if (a[i] !== 0) return false
  return true
}

export function sameAddress(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = 0; i < 16; i++) if (a[i] !== b[i]) return false
  return true
}

/** 127.0.0.0/8 or ::1. */
export function isLoopback(family: number, a: Uint8Array): boolean {
  if (family === AF_INET) return a[0] === 127
  for (let i = 0; i < 15; i++) if (a[i] !== 0) return false
  return a[15] === 1
}

/** 224.0.0.0/4 or ff00::/8. */
export const isMulticast = (family: number, a: Uint8Array): boolean =>
  family === AF_INET ? a[0] >> 4 === 14 : a[0] === 0xff

/** 255.255.255.255. */
export const isLimitedBroadcast = (family: number, a: Uint8Array): boolean =>
  family === AF_INET && (a[0] & a[1] & a[2] & a[3]) === 255

/** 0.0.0.0; the rest of 0.0.0.0/8 is like any other address (Linux 5.3 and later). */
export const isZeronet = (family: number, a: Uint8Array): boolean =>
  family === AF_INET && (a[0] | a[1] | a[2] | a[3]) === 0

/** fe80::/10. */
export const isLinkLocal = (family: number, a: Uint8Array): boolean =>
  family !== AF_INET && a[0] === 0xfe && (a[1] & 0xc0) === 0x80

/** The address with all but the first `length` bits cleared. */
export function prefixOf(a: Uint8Array, length: number): Uint8Array {
  const out = new Uint8Array(16)
  for (let i = 0; i < 16; i++) {
    const bits = Math.min(8, Math.max(0, length - i * 8))
    out[i] = a[i] & (0xff00 >> bits)
  }
  return out
}

/** Length of the prefix that two addresses share, in bits. */
export function commonBits(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < 16; i++) {
    const x = a[i] ^ b[i]
    if (x !== 0) return i * 8 + Math.clz32(x) - 24
  }
  return 128
}

/** Copies sixteen bytes at arena address `p` out. */
export function readAddress(u8: Uint8Array, p: number, into: Uint8Array): Uint8Array {
  for (let i = 0; i < 16; i++) into[i] = u8[p + i]
  return into
}

export function writeAddress(u8: Uint8Array, p: number, from: Uint8Array): void {
  for (let i = 0; i < 16; i++) u8[p + i] = from[i]
}

/** True when the sixteen bytes at arena address `p` are `b`. */
export function addressAt(u8: Uint8Array, p: number, b: Uint8Array): boolean {
  for (let i = 0; i < 16; i++) if (u8[p + i] !== b[i]) return false
  return true
}

/** Hash of an address and two more words (multiplication and shift; not seeded: a replay is the same every time). */
export function addressHash(a: Uint8Array, x: number, y: number): number {
  let h = Math.imul(x, 0x9e3779b1) ^ Math.imul(y, 0x85ebca6b)
  for (let i = 0; i < 16; i += 4) {
    h ^= (a[i] << 24) | (a[i + 1] << 16) | (a[i + 2] << 8) | a[i + 3]
    h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d)
  }
  h = Math.imul(h ^ (h >>> 12), 0x297a2d39)
  return (h ^ (h >>> 15)) >>> 0
}
