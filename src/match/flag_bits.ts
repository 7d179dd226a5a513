// Flags of flower: a word `name/noname/…` gathers bits and a mask; in the attributes both are in network order, the mask
// always there; in the key each flag has a bit of its own. ip_flags.ts and enc_flags.ts differ in their tables only.

import type { Args } from '../tc/args.ts'
import type { Printer } from '../tc/printer.ts'
import { attrLen } from '../wire/netlink.ts'
import { EINVAL, NetlinkError } from '../wire/netlink_error.ts'
import { illegal } from './masked_text.ts'

/** Name, bit of the attribute, bit of the key. */
export type Flag = readonly [name: string, bit: number, keyBit: number]

/** Reads the current word; `add` gets each flag's bit and whether it is to be set. */
export function parseFlags(
  args: Args,
  keyword: string,
  flags: readonly Flag[],
  add: (bit: number, on: boolean) => void,
): void {
  for (const token of args.word.split('/')) {
    if (token === '') continue
    const no = token.startsWith('no')
    const name = no ? token.slice(2) : token
    const flag = flags.find(([n]) => n === name)
    if (!flag) throw illegal(args, keyword)
    add(flag[1], !no)
  }
}

/** The bits of the key for those of an attribute. */
export function toKeyBits(flags: readonly Flag[], bits: number): number {
  let out = 0
  for (const [, bit, keyBit] of flags) if (bits & bit) out |= keyBit
  return out
}

/** The opposite. */
export function toAttrBits(flags: readonly Flag[], keyBits: number): number {
  let out = 0
  for (const [, bit, keyBit] of flags) if (keyBits & keyBit) out |= bit
  return out
}

/** Refuses flags without a mask. */
export function checkFlagsMask(mask: number): void {
  if (!mask) throw new NetlinkError(EINVAL, 'Missing flags mask')
}

/** Prints the flags that the mask names. */
export function printFlags(
  out: Printer,
  d: DataView,
  keyword: string,
  flags: readonly Flag[],
  value: number,
  mask: number,
): void {
  if (!value || !mask || attrLen(d, mask) !== 4) return
  const on = d.getUint32(value)
  const named = flags.filter(([, bit]) => d.getUint32(mask) & bit)
  if (named.length === 0) return
  out.nl()
  out.text(`  ${keyword} `)
  out.openObject(keyword)
  for (const [i, [name, bit]] of named.entries()) {
    if (i > 0) out.text('/')
    out.bool(name, on & bit ? name : `no${name}`, (on & bit) !== 0)
  }
  out.closeObject()
}
