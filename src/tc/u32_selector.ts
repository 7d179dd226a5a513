// The words behind `match` and `sample` of a u32 filter: what becomes struct tc_u32_sel (parse_selector of f_u32.c).
//
// Keys are 32-bit words at offsets that are multiples of four. Words that name the same place are packed into one key,
// and must not contradict each other. Readers give false where tc returns -1, and the caller says what tc says then.

import { AF_INET, AF_INET6 } from '../wire/rtm_route.ts'
import * as Tca from '../wire/tca_u32.ts'
import type { Args } from './args.ts'
import { parseInteger, parseUint } from './number_text.ts'

export interface Key {
  /** As on the wire, read as a big-endian number. */
  mask: number
  val: number
  off: number
  /** -1: from the next header on. */
  offmask: number
}

export interface Selector {
  flags: number
  offshift: number
  /** Big-endian as read, 16 bits. */
  offmask: number
  off: number
  offoff: number
  hoff: number
  /** Big-endian as read. */
  hmask: number
  readonly keys: Key[]
}

export const selector = (): Selector => ({
  flags: 0,
  offshift: 0,
  offmask: 0,
  off: 0,
  offoff: 0,
  hoff: 0,
  hmask: 0,
  keys: [],
})

const KEYS_MAX = 128

/** What `match mark` says. */
export interface Mark {
  val: number
  mask: number
}

/** pack_key: adds a word, or bits to a word that is there. */
function packKey(s: Selector, val: number, mask: number, off: number, offmask: number): boolean {
  val &= mask
  for (const k of s.keys) {
    if (k.off !== off || k.offmask !== offmask) continue
    if (((val ^ k.val) & mask & k.mask) !== 0) return false
    k.val |= val
    k.mask |= mask
    return true
  }
  if (s.keys.length >= KEYS_MAX || off % 4 !== 0) return false
  s.keys.push({ mask, val, off, offmask })
  return true
}

/** A number of `bits` at `off`: it becomes part of the word around it. */
function pack(s: Selector, bits: number, val: number, mask: number, off: number, offmask: number): boolean {
  const max = bits === 32 ? 0xffffffff : (1 << bits) - 1
  if (val > max || mask > max) return false
  if (bits === 32) return packKey(s, val, mask, off, offmask)
  // tc knows two places for 16 bits, whatever the offset.
  const shift = bits === 16 ? ((off & 3) === 0 ? 16 : 0) : 24 - 8 * (off & 3)
  return packKey(s, val << shift, mask << shift, off & ~3, offmask)
}

interface At {
  off: number
  offmask: number
}

/** `at OFFSET` or `at nexthdr+OFFSET`, when it is there. */
function parseAt(args: Args, where: At): boolean {
  if (!args.is('at')) return true
  let word = args.next()
  if (word.startsWith('nexthdr+') && word.length > 'nexthdr+'.length) {
    where.offmask = -1
    word = word.slice('nexthdr+'.length)
  } else if (args.matches('nexthdr+')) {
    word = args.next()
    where.offmask = -1
  }
  const off = parseInteger(word, 0, 0x7fffffff)
  if (Number.isNaN(off)) return false
  where.off = off
  args.skip()
  return true
}

/** VALUE MASK [ at … ]; the mask is hexadecimal. */
function parseNumber(args: Args, s: Selector, bits: number, off: number, offmask: number): boolean {
  if (args.left < 2) return false
  const val = args.u32()
  if (val < 0) return false
  args.skip()
  const mask = args.u32(16)
  if (mask < 0) return false
  args.skip()
  if (bits === 8 && (val > 0xff || mask > 0xff)) return false
  const where: At = { off, offmask }
  return parseAt(args, where) && pack(s, bits, val, mask, where.off, where.offmask)
}

/** ADDRESS[/LENGTH] [ at … ] */
function parseAddress(args: Args, s: Selector, family: number, off: number): boolean {
  if (!args.more || !args.prefix(family)) return false
  const { data } = args.inet
  const words = new DataView(data.slice().buffer)
  const bitlen = args.inet.bitlen === -1 ? (family === AF_INET ? 32 : 128) : Math.max(args.inet.bitlen, 0)
  args.skip()
  const where: At = { off, offmask: 0 }
  if (!parseAt(args, where)) return false
  // An IPv4 address of length 0 is a key that looks at nothing; an IPv6 one is no key.
  if (family === AF_INET && bitlen === 0) return packKey(s, 0, 0, where.off, where.offmask)
  for (let i = 0; i < bitlen; i += 32) {
    const mask = i + 31 < bitlen ? -1 : -1 << (32 - (bitlen - i))
    if (!packKey(s, words.getInt32(i / 8, false), mask, where.off + i / 8, where.offmask)) return false
  }
  return true
}

/** MAC [ at … ] */
function parseMac(args: Args, s: Selector, off: number): boolean {
  const word = args.word
  const parts = word.split(':')
  const bytes = parts.map((p) => parseUint(p, 16, 0xff))
  if (parts.length !== 6 || bytes.includes(-1)) {
    throw args.fail(`parse_ether_addr: improperly formed address '${word}'\nIllegal "match"`)
  }
  args.skip()
  const where: At = { off, offmask: 0 }
  if (!parseAt(args, where)) return false
  return bytes.every((b, i) => pack(s, 8, b, 0xff, where.off + i, where.offmask))
}

/** ip6 priority: the traffic class. */
function parseClass(args: Args, s: Selector): boolean {
  if (args.left < 2) return false
  const val = args.u32()
  args.skip()
  const mask = args.u32(16)
  if (val < 0 || mask < 0 || val > 0xff || mask > 0xff) return false
  args.skip()
  return packKey(s, val << 20, mask << 20, 0, 0)
}

type Field = (args: Args, s: Selector) => boolean

const number =
  (bits: number, off: number, offmask = 0): Field =>
  (args, s) =>
    parseNumber(args, s, bits, off, offmask)
const flag =
  (val: number, mask: number): Field =>
  (_, s) =>
    pack(s, 16, val, mask, 6, 0)

/** Fields by name; those with * may be shortened. */
type Fields = Readonly<Record<string, Field>>

const IP: Fields = {
  src: (args, s) => parseAddress(args, s, AF_INET, 12),
  dst: (args, s) => parseAddress(args, s, AF_INET, 16),
  tos: number(8, 1),
  'dsfield*': number(8, 1),
  'precedence*': number(8, 1),
  ihl: number(8, 0),
  protocol: number(8, 9),
  nofrag: flag(0, 0x3fff),
  firstfrag: flag(0x2000, 0x3fff),
  df: flag(0x4000, 0x4000),
  mf: flag(0x2000, 0x2000),
  dport: number(16, 22),
  sport: number(16, 20),
  icmp_type: number(8, 20),
  icmp_code: number(8, 21),
}

const IP6: Fields = {
  src: (args, s) => parseAddress(args, s, AF_INET6, 8),
  dst: (args, s) => parseAddress(args, s, AF_INET6, 24),
  priority: parseClass,
  protocol: number(8, 6),
  flowlabel: number(32, 0),
  dport: number(16, 42),
  sport: number(16, 40),
  icmp_type: number(8, 40),
  // tc's own slip: the offset mask is 1, so the code of a packet behind nexthdr of odd length would be looked at elsewhere.
  icmp_code: number(8, 41, 1),
}

const PORTS: Fields = { src: number(16, 0, -1), dst: number(16, 2, -1) }
const ICMP: Fields = { type: number(8, 0, -1), code: number(8, 1, -1) }
const ETHER: Fields = { src: (args, s) => parseMac(args, s, -8), dst: (args, s) => parseMac(args, s, -14) }

/** Reads the field that the current word names. */
function parseField(args: Args, s: Selector, fields: Fields, unknown = ''): boolean {
  if (args.left < 2) return false
  for (const name of Object.keys(fields)) {
    const short = name.endsWith('*')
    if (!(short ? args.matches(name.slice(0, -1)) : args.is(name))) continue
    args.skip()
    return fields[name](args, s)
  }
  if (unknown !== '') throw args.fail(`${unknown} ${args.word}\nIllegal "match"`)
  return false
}

/** VALUE MASK of the packet's mark. */
function parseMark(args: Args, mark: Mark): boolean {
  if (args.left <= 1) return false
  const val = args.u32()
  if (val < 0) throw args.fail('Illegal "mark" value\nIllegal "match"')
  const mask = args.number(args.next(), 0, 0xffffffff)
  if (mask < 0) throw args.fail('Illegal "mark" mask\nIllegal "match"')
  args.next()
  if ((val & mask) >>> 0 !== val) throw args.fail('Illegal "mark" (impossible combination)\nIllegal "match"')
  mark.val = val
  mark.mask = mask
  return true
}

/** What `match` may be followed by, in tc's order: a beginning is enough. */
const PROTOCOLS: readonly (readonly [name: string, read: (args: Args, s: Selector, mark: Mark) => boolean])[] = [
  ['u32', number(32, 0)],
  ['u16', number(16, 0)],
  ['u8', number(8, 0)],
  ['ip', (args, s) => parseField(args, s, IP)],
  ['ip6', (args, s) => parseField(args, s, IP6)],
  ['udp', (args, s) => parseField(args, s, PORTS)],
  ['tcp', (args, s) => parseField(args, s, PORTS)],
  ['icmp', (args, s) => parseField(args, s, ICMP)],
  ['mark', (args, _, mark) => parseMark(args, mark)],
  ['ether', (args, s) => parseField(args, s, ETHER, 'Unknown match: ether')],
]

/** Reads what stands behind `match` or `sample` into the selector. */
export function parseSelector(args: Args, s: Selector, mark: Mark): boolean {
  for (const [name, read] of PROTOCOLS) {
    if (!args.matches(name)) continue
    args.next()
    return read(args, s, mark)
  }
  return false
}

/** `offset [ plus N ] [ at N ] [ mask M ] [ shift N ] [ eat ]` */
export function parseOffset(args: Args, s: Selector): boolean {
  while (args.more) {
    if (args.matches('plus')) {
      args.next()
      const n = args.int()
      if (Number.isNaN(n)) return false
      s.off = n & 0xffff
      s.flags |= Tca.TC_U32_OFFSET
    } else if (args.matches('at')) {
      args.next()
      const n = args.int()
      if (Number.isNaN(n)) return false
      s.offoff = n
      if (n % 2 !== 0) throw args.fail('offset "at" must be even\nIllegal "offset"')
      s.flags |= Tca.TC_U32_VAROFFSET
    } else if (args.matches('mask')) {
      args.next()
      const n = args.u16(16)
      if (n < 0) return false
      s.offmask = n
      s.flags |= Tca.TC_U32_VAROFFSET
    } else if (args.matches('shift')) {
      args.next()
      const n = args.int()
      if (Number.isNaN(n)) return false
      s.offshift = n & 0xff
      s.flags |= Tca.TC_U32_VAROFFSET
    } else if (args.matches('eat')) s.flags |= Tca.TC_U32_EAT
    else break
    args.skip()
  }
  return true
}

/** `hashkey [ mask M ] [ at N ]` */
export function parseHashkey(args: Args, s: Selector): boolean {
  while (args.more) {
    if (args.matches('mask')) {
      args.next()
      const n = args.u32(16)
      if (n < 0) return false
      s.hmask = n
    } else if (args.matches('at')) {
      args.next()
      const n = args.int()
      if (Number.isNaN(n) || n % 4 !== 0) return false
      s.hoff = n
    } else break
    args.skip()
  }
  return true
}

/** The bucket that packets with the key of a `sample` fall into (u32_hash_fold). */
export function hashFold(k: Key): number {
  const shift = k.mask === 0 ? 0 : 31 - Math.clz32(k.mask & -k.mask)
  return (k.val & k.mask) >>> shift
}

/** struct tc_u32_sel and its keys. */
export function selectorBytes(s: Selector): Uint8Array {
  const b = new Uint8Array(Tca.SEL_KEYS + s.keys.length * Tca.SELKEY_SIZE)
  const d = new DataView(b.buffer)
  d.setUint8(Tca.SEL_FLAGS, s.flags)
  d.setUint8(Tca.SEL_OFFSHIFT, s.offshift)
  d.setUint8(Tca.SEL_NKEYS, s.keys.length)
  d.setUint16(Tca.SEL_OFFMASK, s.offmask, false)
  d.setUint16(Tca.SEL_OFF, s.off, true)
  d.setInt16(Tca.SEL_OFFOFF, s.offoff, true)
  d.setInt16(Tca.SEL_HOFF, s.hoff, true)
  d.setUint32(Tca.SEL_HMASK, s.hmask, false)
  s.keys.forEach((k, i) => {
    const o = Tca.SEL_KEYS + i * Tca.SELKEY_SIZE
    d.setInt32(o + Tca.SELKEY_MASK, k.mask, false)
    d.setInt32(o + Tca.SELKEY_VAL, k.val, false)
    d.setInt32(o + Tca.SELKEY_OFF, k.off, true)
    d.setInt32(o + Tca.SELKEY_OFFMASK, k.offmask, true)
  })
  return b
}
