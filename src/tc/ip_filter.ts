// What `ip … show` and `ip … flush` share: prefixes to narrow a listing by, and deleting what a listing names.

import { msgType, NLM_F_REQUEST, setMsgFlags, viewOf } from '../wire/netlink.ts'
import type { InetPrefix } from './address_text.ts'

/** A prefix from a line, kept. */
export interface Prefix {
  readonly family: number
  readonly bytes: Uint8Array
  /** -2 "any", -1 no length (an address), else the length. */
  readonly bits: number
  readonly specified: boolean
}

export const prefixOf = (p: InetPrefix): Prefix => ({
  family: p.family,
  bytes: p.data.slice(0, p.bytelen),
  bits: p.bitlen,
  specified: p.specified,
})

/** Do the first `bits` bits agree? Missing bytes count as zeros. */
export function sameBits(a: Uint8Array, b: Uint8Array, bits: number): boolean {
  for (let i = 0; i * 8 < bits; i++) {
    const mask = bits - i * 8 >= 8 ? 0xff : (0xff00 >> (bits - i * 8)) & 0xff
    if (((a[i] ?? 0) ^ (b[i] ?? 0)) & mask) return false
  }
  return true
}

/** Is the address inside? An empty prefix holds all; one of another family none. */
export function inPrefix(address: Uint8Array, p: Prefix): boolean {
  if (p.bits <= 0) return true
  return address.length === p.bytes.length && sameBits(address, p.bytes, p.bits)
}

/** The messages of `replies` that `chosen` wants, as requests to delete: what `flush` sends, each its own message. */
export function deleteEach(
  replies: readonly Uint8Array[],
  newType: number,
  delType: number,
  chosen: (m: Uint8Array) => boolean,
): Uint8Array[] {
  const requests: Uint8Array[] = []
  for (const m of replies) {
    if (msgType(viewOf(m)) !== newType || !chosen(m)) continue
    const copy = m.slice()
    const d = viewOf(copy)
    d.setUint16(4, delType, true)
    setMsgFlags(d, 0, NLM_F_REQUEST)
    requests.push(copy)
  }
  return requests
}
