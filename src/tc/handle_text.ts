// Handles of qdiscs and classes as text: "1:", "ffff:fff1", "root", "none" (tc_util.c).

import { TC_H_ROOT, TC_H_UNSPEC } from '../wire/tcm.ts'
import { parseU64, parseUint } from './number_text.ts'

/** A qdisc's handle, "1:" or "1"; -1 when `word` is none. */
export function parseQdiscHandle(word: string): number {
  if (word === 'none') return TC_H_UNSPEC
  const colon = word.indexOf(':')
  const major = parseUint(word, 16, 0xffff, 0, colon < 0 ? word.length : colon)
  return major < 0 ? -1 : (major << 16) >>> 0
}

/** A class id, "1:2", ":2", "ffff:", "root", or a bare hexadecimal number; -1 when `word` is none. */
export function parseClassid(word: string): number {
  if (word === 'root') return TC_H_ROOT
  if (word === 'none') return TC_H_UNSPEC
  const colon = word.indexOf(':')
  if (colon < 0) {
    // Of a longer number strtoul's caller keeps the low 32 bits.
    const n = parseU64(word, 16)
    return n < 0n ? -1 : Number(n & 0xffffffffn)
  }
  const major = colon === 0 ? 0 : parseUint(word, 16, 0xffff, 0, colon)
  const minor = colon === word.length - 1 ? 0 : parseUint(word, 16, 0xffff, colon + 1)
  return major < 0 || minor < 0 ? -1 : ((major << 16) | minor) >>> 0
}

export function formatClassid(h: number): string {
  if (h === TC_H_ROOT) return 'root'
  if (h === TC_H_UNSPEC) return 'none'
  const major = h >>> 16
  const minor = h & 0xffff
  if (major === 0) return `:${minor.toString(16)}`
  return minor === 0 ? `${major.toString(16)}:` : `${major.toString(16)}:${minor.toString(16)}`
}
