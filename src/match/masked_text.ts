// How flower's values look on the command line: `name value/mask`, prefixes, MAC masks (the helpers of f_flower.c).
//
// Reading functions write the value's attribute and the mask's, in this order, or answer false without writing the rest;
// the caller says `Illegal "<keyword>"`. Printing functions begin a line in text mode.

import type { Args } from '../tc/args.ts'
import { LanguageError } from '../tc/language_error.ts'
import type { Printer } from '../tc/printer.ts'
import { attrLen, type Builder } from '../wire/netlink.ts'
import { AF_INET, AF_INET6, AF_UNSPEC } from '../wire/rtm_route.ts'

/** `Illegal "keyword"`, below `inner` when something was said before. */
export const illegal = (args: Args, keyword: string, inner = ''): LanguageError =>
  args.fail(inner ? `${inner}\nIllegal "${keyword}"` : `Illegal "${keyword}"`)

const before = (word: string, slash: number): string => (slash < 0 ? word : word.slice(0, slash))

// ---- reading

/** A number up to `max` with a mask, both in C's notation. Big endian (`be`) or host order, `size` 2 or 4 bytes. */
export function parseMaskedUint(
  args: Args,
  b: Builder,
  type: number,
  maskType: number,
  size: 2 | 4,
  be: boolean,
): boolean {
  const word = args.word
  const slash = word.indexOf('/')
  const max = size === 2 ? 0xffff : 0xffffffff
  const value = args.number(before(word, slash), 0, max)
  if (value < 0) return false
  const mask = slash < 0 ? max : args.number(word.slice(slash + 1), 0, max)
  if (mask < 0) return false
  if (size === 4) {
    b.attrU32(type, value)
    b.attrU32(maskType, mask)
  } else if (be) {
    b.attrBe16(type, value)
    b.attrBe16(maskType, mask)
  } else {
    b.attrU16(type, value)
    b.attrU16(maskType, mask)
  }
  return true
}

/** `value[/mask]` of 8 bits, decimal only (flower_parse_u8); `named` gives the value of a name, -1 without one. */
export function parseMaskedU8(
  args: Args,
  b: Builder,
  type: number,
  maskType: number,
  named: (name: string) => number = () => -1,
  valid: (value: number) => boolean = () => true,
): boolean {
  const word = args.word
  const slash = word.indexOf('/')
  const text = before(word, slash)
  let value = named(text)
  if (value < 0) value = args.number(text, 10, 0xff)
  if (value < 0 || !valid(value)) return false
  const mask = slash < 0 ? 0xff : args.number(word.slice(slash + 1), 10, 0xff)
  if (mask < 0) return false
  b.attrU8(type, value)
  b.attrU8(maskType, mask)
  return true
}

/** tos and ttl: decimal, else hexadecimal; the mask hexadecimal (flower_parse_ip_tos_ttl). */
export function parseTosTtl(args: Args, b: Builder, type: number, maskType: number): boolean {
  const word = args.word
  const slash = word.indexOf('/')
  const text = before(word, slash)
  let value = args.number(text, 10, 0xff)
  if (value < 0) value = args.number(text, 16, 0xff)
  if (value < 0) return false
  const mask = slash < 0 ? 0xff : args.number(word.slice(slash + 1), 16, 0xff)
  if (mask < 0) return false
  b.attrU8(type, value)
  b.attrU8(maskType, mask)
  return true
}

const mac = new Uint8Array(6)

/** `lladdr[/lladdr | /bits]`; a short address ends in zeros, a short mask as the address, of a long one six bytes count. */
export function parseMacMask(args: Args, b: Builder, keyword: string, type: number, maskType: number): void {
  const word = args.word
  const slash = word.indexOf('/')
  mac.fill(0)
  readMac(args, before(word, slash), keyword)
  b.attr(type, mac)
  if (slash < 0) mac.fill(0xff)
  else {
    const bits = args.number(word.slice(slash + 1), 10, 0xffffffff)
    if (bits >= 0) macPrefix(bits)
    else readMac(args, word.slice(slash + 1), keyword)
  }
  b.attr(maskType, mac)
}

function readMac(args: Args, text: string, keyword: string): void {
  const n = args.lladdr(text)
  if (n < 0) throw illegal(args, keyword, `"${badPart(text)}" is invalid lladdr.`)
  for (let i = 0; i < Math.min(n, 6); i++) mac[i] = args.mac[i]
}

// What ll_addr_a2n names: the first part between colons that is no byte.
function badPart(text: string): string {
  if (text.includes('.')) return text
  return text.split(':').find((p) => !/^[0-9a-f]{1,2}$/i.test(p)) ?? text
}

// `/bits` as tc computes it: 48 ones shifted to the top of 64 bits and down again, by a shift count modulo 64. So /49
// loses the first bit and /0 keeps the last 32.
function macPrefix(bits: number): void {
  const mask = BigInt.asUintN(64, 0xffff_ffff_ffffn << BigInt((64 - bits) & 63))
  for (let i = 0; i < 6; i++) mac[i] = Number((mask >> BigInt(56 - 8 * i)) & 0xffn)
}

const familyName = (family: number): string =>
  family === AF_INET ? 'inet' : family === AF_INET6 ? 'inet6' : 'any valid'

const ipMask = new Uint8Array(16)

/** `address[/length]` and its mask (__flower_parse_ip_addr); an address that is none ends the command at once. */
export function parseIpMask(
  args: Args,
  b: Builder,
  family: number,
  type4: number,
  maskType4: number,
  type6: number,
  maskType6: number,
): void {
  const { inet } = args
  if (!args.prefix(family))
    throw new LanguageError(
      `Error: ${familyName(family)} prefix is expected rather than "${args.word}".`,
      1,
      args.word,
      true,
    )
  const v4 = inet.family === AF_INET
  b.attrSlice(v4 ? type4 : type6, inet.data, 0, inet.bytelen)
  let bits = inet.bitlen
  for (let i = 0; i < inet.bytelen; i++, bits -= 8)
    ipMask[i] = bits >= 8 ? 0xff : bits > 0 ? (0xff00 >> bits) & 0xff : 0
  b.attrSlice(v4 ? maskType4 : maskType6, ipMask, 0, inet.bytelen)
}

/** The address family that an EtherType asks for; -1 for none, AF_UNSPEC (any) for 0. */
export const familyOf = (ethType: number): number =>
  ethType === 0x0800 ? AF_INET : ethType === 0x86dd ? AF_INET6 : ethType === 0 ? AF_UNSPEC : -1

// ---- printing

/** A line `  name value`. */
export function printName(out: Printer, name: string, value: string): void {
  out.nl()
  out.text('  ')
  out.nameStr(name, value)
}

/** A line `  name value[/0xmask]`, in JSON `name` and `name_mask` (print_masked_type). */
export function printMasked(out: Printer, name: string, value: number, mask: number, max: number): void {
  out.nl()
  out.text('  ')
  out.nameNum(name, value)
  if (mask !== max) out.hex(`${name}_mask`, '/0x%x', mask)
}

export function printMaskedU8(out: Printer, d: DataView, name: string, value: number, mask: number): void {
  if (value) printMasked(out, name, d.getUint8(value), mask ? d.getUint8(mask) : 0xff, 0xff)
}

export function printMaskedU16(out: Printer, d: DataView, name: string, value: number, mask: number): void {
  if (value) printMasked(out, name, d.getUint16(value, true), mask ? d.getUint16(mask, true) : 0xffff, 0xffff)
}

export function printMaskedBe16(out: Printer, d: DataView, name: string, value: number, mask: number): void {
  if (value) printMasked(out, name, d.getUint16(value), mask ? d.getUint16(mask) : 0xffff, 0xffff)
}

export function printMaskedU32(out: Printer, d: DataView, name: string, value: number, mask: number): void {
  if (!value) return
  printMasked(out, name, d.getUint32(value, true), mask ? d.getUint32(mask, true) : 0xffffffff, 0xffffffff)
}

/** A line `  name value[/mask]`, decimal, a string in JSON (flower_print_masked_u8). */
export function printU8(
  out: Printer,
  d: DataView,
  name: string,
  value: number,
  mask = 0,
  nameOf: (value: number) => string = () => '',
): void {
  if (!value) return
  const v = d.getUint8(value)
  const m = mask ? d.getUint8(mask) : 0xff
  const text = (m === 0xff && nameOf(v)) || String(v)
  printName(out, name, m === 0xff ? text : `${text}/${m}`)
}

/** How many leading ones the mask has, -1 when they are not all there is (or when there are none). */
function maskBits(d: DataView, o: number, len: number): number {
  let bits = 0
  for (let i = 0; i < len; i++) {
    const v = d.getUint8(o + i)
    const ones = Math.clz32(~(v << 24))
    if (bits === 8 * i) bits += Math.min(ones, 8)
    const expected = bits >= 8 * (i + 1) ? 0xff : bits > 8 * i ? (0xff00 >> (bits - 8 * i)) & 0xff : 0
    if (v !== expected) return -1
  }
  return bits === 0 ? -1 : bits
}

export function printMac(out: Printer, d: DataView, name: string, addr: number, mask: number): void {
  if (!addr || attrLen(d, addr) !== 6) return
  let text = out.mac(d, addr)
  if (mask && attrLen(d, mask) === 6) {
    const bits = maskBits(d, mask, 6)
    if (bits < 0) text += `/${out.mac(d, mask)}`
    else if (bits < 48) text += `/${bits}`
  }
  printName(out, name, text)
}

export function printIp(out: Printer, d: DataView, name: string, len: 4 | 16, addr: number, mask: number): void {
  if (!addr || attrLen(d, addr) !== len || !mask || attrLen(d, mask) !== len) return
  let text = out.inet(d, addr, len)
  const bits = maskBits(d, mask, len)
  if (bits < 0) text += `/${out.inet(d, mask, len)}`
  else if (bits < 8 * len) text += `/${bits}`
  printName(out, name, text)
}

/** Bytes as hexadecimal digits. */
export function hex(d: DataView, o: number, len: number): string {
  let s = ''
  for (let i = 0; i < len; i++)
    s += d
      .getUint8(o + i)
      .toString(16)
      .padStart(2, '0')
  return s
}
