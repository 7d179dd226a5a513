// Addresses as iproute2 reads and inet_ntop writes them: IPv4, IPv6, Ethernet.
//
// Reading IPv4 is iproute2's own way: missing bytes are zeros at the end ("10.8" is 10.8.0.0), each number in C's
// notation. Reading fills an InetPrefix that the caller keeps, so that parsing a rule makes no objects.

import { AF_INET, AF_INET6, AF_PACKET, AF_UNSPEC } from '../wire/rtm_route.ts'
import { digit, parseUint } from './number_text.ts'

export interface InetPrefix {
  family: number
  /** Bytes that count in `data`; 0 for "any". */
  bytelen: number
  /** Prefix length; -1 plain address, -2 "default", "all" or "any". */
  bitlen: number
  /** True when a prefix length was written, or "default". */
  specified: boolean
  readonly data: Uint8Array
}

export const inetPrefix = (): InetPrefix => ({
  family: AF_UNSPEC,
  bytelen: 0,
  bitlen: 0,
  specified: false,
  data: new Uint8Array(32),
})

const bitsOf = (family: number): number => (family === AF_INET6 ? 128 : family === AF_INET ? 32 : 0)

/** Reads an IPv4 address into data[at…]; false when `word` is none. */
export function parseIpv4(word: string, end: number, data: Uint8Array, at = 0): boolean {
  let o = 0
  for (let i = 0; i < 4; i++) {
    let stop = o
    while (stop < end && word.charCodeAt(stop) !== 0x2e) stop++
    const n = parseUint(word, 0, 255, o, stop)
    if (n < 0) return false
    data[at + i] = n
    if (stop === end) {
      for (let j = i + 1; j < 4; j++) data[at + j] = 0
      return true
    }
    o = stop + 1
  }
  return false
}

/** Reads an IPv6 address (RFC 4291 2.2) as inet_pton does; false when `word` up to `end` is none. */
export function parseIpv6(word: string, end: number, data: Uint8Array): boolean {
  let at = 0
  let gap = -1
  let o = 0
  if (word.charCodeAt(0) === 0x3a) {
    if (word.charCodeAt(1) !== 0x3a) return false
    o = 1
  }
  let start = o
  let digits = 0
  let value = 0
  for (; o < end; o++) {
    const c = word.charCodeAt(o)
    const v = digit(c)
    if (v >= 0 && v < 16) {
      value = (value << 4) | v
      if (++digits > 4) return false
    } else if (c === 0x3a) {
      start = o + 1
      if (digits === 0) {
        if (gap >= 0) return false
        gap = at
        continue
      }
      if (start === end || at > 14) return false
      data[at++] = value >> 8
      data[at++] = value & 0xff
      digits = 0
      value = 0
    } else if (c === 0x2e && at <= 12 && dottedQuad(word, start, end, data, at)) {
      at += 4
      digits = 0
      break
    } else return false
  }
  if (digits > 0) {
    if (at > 14) return false
    data[at++] = value >> 8
    data[at++] = value & 0xff
  }
  if (gap >= 0) {
    if (at === 16) return false
    data.copyWithin(16 - (at - gap), gap, at)
    data.fill(0, gap, 16 - (at - gap))
    return true
  }
  return at === 16
}

// inet_pton's IPv4: four decimal numbers, nothing else.
function dottedQuad(word: string, start: number, end: number, data: Uint8Array, at: number): boolean {
  let o = start
  for (let i = 0; i < 4; i++) {
    let stop = o
    while (stop < end && word.charCodeAt(stop) !== 0x2e) stop++
    const n = parseUint(word, 10, 255, o, stop)
    if (n < 0 || stop - o > 3 || i < 3 !== stop < end) return false
    data[at + i] = n
    o = stop + 1
  }
  return true
}

// "default", "all" and "any": no address, or all zeros.
function parseAnything(p: InetPrefix, word: string, end: number, family: number): boolean {
  const text = end === word.length ? word : word.slice(0, end)
  if (text !== 'default' && text !== 'all' && text !== 'any') return false
  p.data.fill(0)
  p.family = family
  p.bytelen = text === 'default' ? bitsOf(family) >> 3 : 0
  p.bitlen = -2
  p.specified = text === 'default'
  return true
}

function parseAddressTo(p: InetPrefix, word: string, end: number, family: number): boolean {
  p.specified = false
  const first = word.charCodeAt(0)
  if ((first === 0x61 || first === 0x64) && parseAnything(p, word, end, family)) return true
  if (family === AF_PACKET) {
    const n = parseLladdr(word, p.data)
    p.family = AF_PACKET
    p.bytelen = n
    p.bitlen = n * 8
    return n > 0
  }
  const colon = word.indexOf(':')
  p.bitlen = -1
  if (colon >= 0 && colon < end) {
    p.family = AF_INET6
    p.bytelen = 16
    return (family === AF_UNSPEC || family === AF_INET6) && parseIpv6(word, end, p.data)
  }
  p.family = AF_INET
  p.bytelen = 4
  return (family === AF_UNSPEC || family === AF_INET) && parseIpv4(word, end, p.data)
}

/** Reads an address of `family` (AF_UNSPEC: v4 or v6 as it looks); also "any", "all", "default". False when it is none. */
export const parseAddress = (p: InetPrefix, word: string, family: number): boolean =>
  parseAddressTo(p, word, word.length, family)

const netmask = new Uint8Array(4)
function prefixLength(word: string, from: number): number {
  const n = parseUint(word, 0, 0xffffffff, from)
  if (n >= 0) return n
  const text = word.slice(from)
  if (!parseIpv4(text, text.length, netmask)) return -1
  const mask = ((netmask[0] << 24) | (netmask[1] << 16) | (netmask[2] << 8) | netmask[3]) >>> 0
  const host = ~mask >>> 0
  return host & (host + 1) ? -1 : Math.clz32(host)
}

/** Reads `address[/length]`, the length a number or a dotted mask; `bitlen` is full without one. False when it is none. */
export function parsePrefix(p: InetPrefix, word: string, family: number): boolean {
  const slash = word.indexOf('/')
  if (!parseAddressTo(p, word, slash < 0 ? word.length : slash, family)) return false
  const bits = bitsOf(p.family)
  if (slash < 0) {
    p.bitlen = p.bitlen === -2 ? 0 : bits
    return true
  }
  if (p.bitlen === -2) return false
  const n = prefixLength(word, slash + 1)
  if (n < 0 || n > bits) return false
  p.specified = true
  p.bitlen = n
  return true
}

/**
 * Reads an Ethernet address as iproute2's ll_addr_a2n: hexadecimal numbers between colons, as many as there are (six
 * in the end, but that is the caller's to say), or a dotted IPv4 address. Gives the number of bytes, -1 when it is none.
 */
export function parseLladdr(word: string, data: Uint8Array): number {
  if (word.indexOf('.') >= 0) return parseIpv4(word, word.length, data) ? 4 : -1
  let n = 0
  let o = 0
  for (;;) {
    let stop = o
    while (stop < word.length && word.charCodeAt(stop) !== 0x3a) stop++
    const v = leadingHex(word, o, stop)
    if (v < 0 || n >= data.length) return -1
    data[n++] = v
    if (stop === word.length) return n
    o = stop + 1
  }
}

// sscanf's %x, up to 255: what follows the digits does not matter. -1 when there are none.
function leadingHex(word: string, from: number, end: number): number {
  const whole = parseUint(word, 16, 255, from, end)
  if (whole >= 0) return whole
  const digits = /^\s*\+?(?:0x)?([0-9a-f]+)/i.exec(word.slice(from, end))
  const n = digits === null ? -1 : Number.parseInt(digits[1], 16)
  return n > 255 ? -1 : n
}

const hex2 = (n: number): string => (n < 16 ? `0${n.toString(16)}` : n.toString(16))

/** aa:bb:cc:dd:ee:ff */
export function formatMac(b: Uint8Array, o = 0, len = 6): string {
  let s = ''
  for (let i = 0; i < len; i++) s += i ? `:${hex2(b[o + i])}` : hex2(b[o + i])
  return s
}

export const formatIpv4 = (b: Uint8Array, o = 0): string => `${b[o]}.${b[o + 1]}.${b[o + 2]}.${b[o + 3]}`

/** RFC 5952 as inet_ntop of glibc does it: the longest run of two or more zero groups shortened, embedded IPv4 dotted. */
export function formatIpv6(b: Uint8Array, o = 0): string {
  let best = -1
  let bestLen = 1
  for (let i = 0; i < 8; i++) {
    let n = 0
    while (i + n < 8 && b[o + 2 * (i + n)] === 0 && b[o + 2 * (i + n) + 1] === 0) n++
    if (n > bestLen) {
      best = i
      bestLen = n
    }
    if (n) i += n
  }
  let s = ''
  for (let i = 0; i < 8; i++) {
    if (best >= 0 && i >= best && i < best + bestLen) {
      if (i === best) s += ':'
      continue
    }
    if (i) s += ':'
    const mapped = bestLen === 5 && b[o + 10] === 0xff && b[o + 11] === 0xff
    if (i === 6 && best === 0 && (bestLen === 6 || mapped)) return s + formatIpv4(b, o + 12)
    s += ((b[o + 2 * i] << 8) | b[o + 2 * i + 1]).toString(16)
  }
  return best >= 0 && best + bestLen === 8 ? `${s}:` : s
}

/** An address of `len` bytes: 4 IPv4, 16 IPv6, otherwise "???" as iproute2 says. */
export const formatInet = (b: Uint8Array, len: number, o = 0): string =>
  len === 4 ? formatIpv4(b, o) : len === 16 ? formatIpv6(b, o) : '???'
