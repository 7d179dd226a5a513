// The slow action csum (act_csum.c): checksums of IPv4, ICMP, TCP and UDP, and of what IPv6 carries, made anew from the
// packet's bytes alone.

const be16 = (b: Uint8Array, o: number): number => (b[o] << 8) | b[o + 1]
const put16 = (b: Uint8Array, o: number, v: number): void => b.set([v >> 8, v & 255], o)

export const CSUM_FLAGS = ['ip4h', 'icmp', 'tcp', 'udp'] as const
export type CsumFlag = (typeof CSUM_FLAGS)[number]

/** The one's complement sum of bytes, as 16 bits. */
export function sumOf(bytes: readonly number[]): number {
  let sum = 0
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i] << 8) | (bytes[i + 1] ?? 0)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return sum
}
const checksum = (...pieces: readonly number[][]): number =>
  ~sumOf(pieces.flatMap((p) => (p.length % 2 === 0 ? p : [...p, 0]))) & 0xffff

const [ICMP, TCP, UDP, ICMP6] = [1, 6, 17, 58]
/** Where the checksum is, and how long the header is at least. */
const FIELDS: Readonly<Record<number, readonly [at: number, least: number]>> = {
  [ICMP]: [2, 8],
  [TCP]: [16, 20],
  [UDP]: [6, 8],
  [ICMP6]: [2, 8],
}

/** Of a frame whose header of layer 3 is at `at`, behind the type `type`. False: the packet is dropped. */
export function csum(f: Uint8Array, at: number, type: number, flags: readonly CsumFlag[]): boolean {
  if (type === 0x0800) return csum4(f, at, flags)
  if (type === 0x86dd) return csum6(f, at, flags)
  return true
}

function csum4(f: Uint8Array, ip: number, flags: readonly CsumFlag[]): boolean {
  if (ip + 20 > f.length) return false
  const header = 4 * (f[ip] & 15)
  const total = be16(f, ip + 2)
  const later = (be16(f, ip + 6) & 0x1fff) !== 0
  const proto = later ? -1 : f[ip + 9]
  const pseudo = [...f.slice(ip + 12, ip + 20), 0, proto & 255]
  if (asked(proto, flags, ICMP) && !layer4(f, ip, header, total, proto, pseudo)) return false
  if (!flags.includes('ip4h')) return true
  put16(f, ip + 10, 0)
  // ip_fast_csum of less than five words gives its first one as it is.
  put16(f, ip + 10, header < 20 ? be16(f, ip) : checksum([...f.slice(ip, ip + header)]))
  return true
}

const asked = (proto: number, flags: readonly CsumFlag[], icmp: number): boolean =>
  (proto === icmp && flags.includes('icmp')) ||
  (proto === TCP && flags.includes('tcp')) ||
  (proto === UDP && flags.includes('udp'))

/** `header`: bytes from the IP header to that of layer 4; `total`: to the end of the packet, as it says itself. */
function layer4(f: Uint8Array, ip: number, header: number, total: number, proto: number, pseudo: number[]): boolean {
  const [field, least] = FIELDS[proto]
  if (ip + total > f.length || header + least > total) return false
  const l4 = ip + header
  const length = total - header
  // Over IPv4 a packet without a checksum gets none.
  if (proto === UDP && pseudo.length === PSEUDO4 && be16(f, l4 + 6) === 0) return true
  put16(f, l4 + field, 0)
  // A length that is not the packet's: it stays without a checksum.
  if (proto === UDP && be16(f, l4 + 4) !== length) return true
  const before = proto === ICMP ? [] : [...pseudo, length >> 8, length & 255]
  const sum = checksum(before, [...f.slice(l4, l4 + length)])
  put16(f, l4 + field, proto === UDP && sum === 0 ? 0xffff : sum)
  return true
}

/** No option is longer than what is left, and none makes the packet a jumbogram. */
function hasWholeOptions(options: Uint8Array): boolean {
  for (let o = 0; o < options.length - 1; ) {
    const length = options[o] === PAD1 ? 1 : options[o + 1] + 2
    if (options[o] === JUMBO || length > options.length - o) return false
    o += length
  }
  return true
}

const [PAD1, JUMBO] = [0, 0xc2]
const PSEUDO4 = 10
const [HOP, ROUTING, FRAGMENT, DEST] = [0, 43, 44, 60]

function csum6(f: Uint8Array, ip: number, flags: readonly CsumFlag[]): boolean {
  if (ip + 40 > f.length) return false
  const total = 40 + be16(f, ip + 4)
  let next = f[ip + 6]
  let header = 40
  while (next === HOP || next === ROUTING || next === DEST) {
    if (ip + header + 2 > f.length) return false
    const length = (f[ip + header + 1] + 1) * 8
    if (ip + header + length > f.length) return false
    if (next === HOP && !hasWholeOptions(f.slice(ip + header + 2, ip + header + length))) return false
    next = f[ip + header]
    header += length
    if (ip + header + 1 > f.length) return true
  }
  if (next === FRAGMENT || !asked(next, flags, ICMP6)) return true
  return layer4(f, ip, header, total, next, [...f.slice(ip + 8, ip + 40), 0, next])
}
