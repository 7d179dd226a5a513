// Numbers as iproute2 reads them: strtoul's grammar (base 0: 0x hexadecimal, leading 0 octal), whole word, in range.
// No regular expressions: a rule line has a dozen of these and is read in microseconds.

/**
 * The number that `word` says from index `from` to its end, or -1 when it is none or above `max`. Base 0, 10, 16 or 8.
 * A minus sign is refused: strtoul would wrap it to a number above every limit.
 */
export function parseUint(word: string, base: number, max: number, from = 0, end = word.length): number {
  let i = from
  while (i < end && isSpace(word.charCodeAt(i))) i++
  if (word.charCodeAt(i) === 0x2b) i++
  if (
    (base === 0 || base === 16) &&
    i + 2 < end &&
    word.charCodeAt(i) === 0x30 &&
    (word.charCodeAt(i + 1) | 0x20) === 0x78
  ) {
    base = 16
    i += 2
  } else if (base === 0) base = word.charCodeAt(i) === 0x30 && i + 1 < end ? 8 : 10
  if (i >= end) return -1
  let n = 0
  for (; i < end; i++) {
    const v = digit(word.charCodeAt(i))
    if (v < 0 || v >= base) return -1
    n = n * base + v
    if (n > max) return -1
  }
  return n
}

/** As parseUint for 64 bits, where a number is not exact; -1n when it is none. */
export function parseU64(word: string, base: number): bigint {
  const small = parseUint(word, base, Number.MAX_SAFE_INTEGER)
  if (small >= 0) return BigInt(small)
  let text = word.trimStart()
  if (text.startsWith('+')) text = text.slice(1)
  let radix = base
  if ((base === 0 || base === 16) && (text.startsWith('0x') || text.startsWith('0X'))) {
    radix = 16
    text = text.slice(2)
  } else if (base === 0) radix = text.startsWith('0') ? 8 : 10
  if (text === '') return -1n
  let n = 0n
  for (let i = 0; i < text.length; i++) {
    const v = digit(text.charCodeAt(i))
    if (v < 0 || v >= radix) return -1n
    n = n * BigInt(radix) + BigInt(v)
  }
  return n > 0xffff_ffff_ffff_ffffn ? -1n : n
}

/** A signed number in [-max-1, max], or NaN. */
export function parseInteger(word: string, base: number, max: number): number {
  const minus = word.charCodeAt(0) === 0x2d
  const n = parseUint(word, base, minus ? max + 1 : max, minus ? 1 : 0)
  return n < 0 ? Number.NaN : minus ? 0 - n : n
}

/** The value of a hexadecimal digit's character code, -1 for any other. */
export function digit(c: number): number {
  if (c >= 0x30 && c <= 0x39) return c - 0x30
  const l = c | 0x20
  return l >= 0x61 && l <= 0x7a ? l - 0x57 : -1
}

const isSpace = (c: number): boolean => c === 0x20 || (c >= 9 && c <= 13)

/** Bytes of a string of hexadecimal digits, two each; null when it is none. */
export function parseHexBytes(word: string): Uint8Array | null {
  if (word.length % 2) return null
  const b = new Uint8Array(word.length / 2)
  for (let i = 0; i < b.length; i++) {
    const hi = digit(word.charCodeAt(2 * i))
    const lo = digit(word.charCodeAt(2 * i + 1))
    if (hi < 0 || hi > 15 || lo < 0 || lo > 15) return null
    b[i] = (hi << 4) | lo
  }
  return b
}
