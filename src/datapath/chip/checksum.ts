// Internet checksums (RFC 1071) over bytes of the arena, sixteen at a time.

/** Folds a sum of 16-bit words to 16 bits. */
// @ts-ignore: decorator
@inline
export function fold(sum: u32): u32 {
  sum = (sum & 0xffff) + (sum >>> 16)
  return (sum + (sum >>> 16)) & 0xffff
}

/** Sum of the words of [p, p + n), folded, as words are loaded (little-endian: swap it for the wire's order). */
export function sumWords(p: usize, n: u32): u32 {
  let acc = i32x4.splat(0)
  const end = p + n
  // A lane grows by less than 2^17 a step: 64 KiB cannot overflow it.
  for (; p + 16 <= end; p += 16) acc = i32x4.add(acc, i32x4.extadd_pairwise_i16x8_u(v128.load(p)))
  let sum = <u64>i64x2.extract_lane(acc, 0)
  sum = (sum & 0xffffffff) + (sum >>> 32)
  const high = <u64>i64x2.extract_lane(acc, 1)
  sum += (high & 0xffffffff) + (high >>> 32)
  for (; p + 2 <= end; p += 2) sum += load<u16>(p)
  if (p < end) sum += load<u8>(p)
  sum = (sum & 0xffffffff) + (sum >>> 32)
  return fold(fold(<u32>(sum & 0xffff) + <u32>(sum >>> 16)))
}

/** The same as a number: words taken as on the wire. */
// @ts-ignore: decorator
@inline
export function sumNumber(p: usize, n: u32): u32 {
  return bswap<u16>(<u16>sumWords(p, n))
}

/** csum16_add on a field as loaded. */
// @ts-ignore: decorator
@inline
export function add16(check: u32, addend: u32): u32 {
  const s = check + addend
  return (s + (s >>> 16)) & 0xffff
}

/** csum_replace4: a checksum field as loaded, after a word of what it covers has changed (words as loaded too). */
export function replace4(check: u32, from: u32, to: u32): u32 {
  let s = <u64>(0xffff0000 | (~check & 0xffff)) + <u64>~from
  s = (s & 0xffffffff) + (s >>> 32)
  s += to
  s = (s & 0xffffffff) + (s >>> 32)
  return ~fold(<u32>s) & 0xffff
}

/** CRC32c of bytes, as SCTP has it (RFC 3309): a little-endian word. */
export function crc32c(p: usize, n: i32): u32 {
  let crc: u32 = 0xffffffff
  for (const end = p + n; p < end; p++) {
    crc ^= load<u8>(p)
    for (let i = 0; i < 8; i++) crc = (crc >>> 1) ^ (0x82f63b78 & -(crc & 1))
  }
  return ~crc
}
