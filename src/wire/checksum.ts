// The Internet checksum (RFC 1071), over big-endian 16-bit words; incremental update (RFC 1624).
//
// A sum is a plain number that is folded once at the end: a frame of 64 KiB adds up to less than 2^32.

/** Sum of the 16-bit words of [o, o + n); an odd last byte counts as the high half of a word. */
export function sum(d: DataView, o: number, n: number): number {
  let s = 0
  const end = o + (n & ~1)
  for (let i = o; i < end; i += 2) s += d.getUint16(i)
  if (n & 1) s += d.getUint8(o + n - 1) << 8
  return s
}

/** Folds a sum to 16 bits, not complemented. */
export function fold(s: number): number {
  let x = (s % 0x10000) + Math.floor(s / 0x10000)
  while (x > 0xffff) x = (x & 0xffff) + (x >>> 16)
  return x
}

/** The checksum field for a sum over everything else. */
export const complement = (s: number): number => ~fold(s) & 0xffff

/** The same for UDP, whose computed zero is sent as ones (RFC 768). */
export const complementUdp = (s: number): number => complement(s) || 0xffff

/** Sum of the pseudo header of IPv4 (RFC 793) or IPv6 (RFC 8200 8.1) whose header is at `ip`. */
export function pseudoSum(d: DataView, ip: number, ipv6: boolean, proto: number, length: number): number {
  const addresses = ipv6 ? sum(d, ip + 8, 32) : sum(d, ip + 12, 8)
  return addresses + proto + (length >>> 16) + (length & 0xffff)
}

/** The field after a 16-bit word that it covers went from `before` to `after` (RFC 1624 equation 3). */
export const update = (checksum: number, before: number, after: number): number =>
  complement((~checksum & 0xffff) + (~before & 0xffff) + after)
