// The slow reference of the encap, lookup and actions benches: what a frame of the workload must look like when it comes
// out, field by field, from RFC 7348, RFC 8926, RFC 791 and the rule, without any code of the product.
import { innerFrame, LOCAL, remote, remoteMac, vni } from './workload.ts'

/** Outer Ethernet, IPv4, UDP. */
const OUTER = 42

/** A tunnel over UDP. */
interface Tunnel {
  readonly port: number
  /** Source ports are from here to there. */
  readonly sources: readonly [number, number]
  /** The tunnel's header of flow f, in hex. */
  header(f: number): string
}

const VXLAN: Tunnel = { port: 4789, sources: [32768, 60999], header: (f) => `08000000${word(vni(f) << 8)}` }
/** Four words of options, an Ethernet frame inside; the options of the rule: class, type, words, data. */
const GENEVE: Tunnel = {
  port: 6081,
  sources: [1, 65535],
  header: (f) => `04006558${word(vni(f) << 8)}01020101 11223344 01030201 aabbccdd`.replaceAll(' ', ''),
}

/** Why `got` is not the frame of flow f in its VXLAN tunnel; null when it is. */
export const wrongEncap = (got: Uint8Array, f: number, size: number): string | null => wrongTunnel(VXLAN, got, f, size)

/** Why `got` is not the frame of flow f in its Geneve tunnel; null when it is. */
export const wrongGeneve = (got: Uint8Array, f: number, size: number): string | null =>
  wrongTunnel(GENEVE, got, f, size)

/** Why `got` is not the frame of flow f as it came in; null when it is. */
export const wrongFrame = (got: Uint8Array, f: number, size: number): string | null =>
  expect('frame', hex(got), hex(innerFrame(f, size)))

/** Why `got` is not the frame of flow f with the destination MAC of the rule and a TTL of one less; null when it is. */
export function wrongPedit(got: Uint8Array, f: number, size: number): string | null {
  const should = innerFrame(f, size)
  should.set([2, 0, 0, 0, 0, 0x55])
  should[22]--
  should.set(got.subarray(24, 26), 24)
  return expect('frame', hex(got), hex(should)) ?? expect('IPv4 checksum', headerSum(got), 0xffff)
}

function wrongTunnel(t: Tunnel, got: Uint8Array, f: number, size: number): string | null {
  const header = t.header(f)
  const outer = OUTER + header.length / 2
  if (got.length !== size + outer) return `${got.length} bytes instead of ${size + outer}`
  const d = new DataView(got.buffer, got.byteOffset, got.byteLength)
  const part = (from: number, to: number) => hex(got.subarray(from, to))
  const ip = (text: string) => Buffer.from(text.split('.').map(Number)).toString('hex')
  const source = d.getUint16(34)
  return (
    expect('outer destination', part(0, 6), remoteMac(f).replaceAll(':', '')) ??
    expect('outer source', part(6, 12), '020000000001') ??
    expect('outer type', part(12, 14), '0800') ??
    expect('version and tos', part(14, 16), '4500') ??
    expect('IPv4 length', d.getUint16(16), got.length - 14) ??
    expect('fragment', part(20, 22), '0000') ??
    expect('ttl and protocol', part(22, 24), '4011') ??
    expect('IPv4 checksum', headerSum(got), 0xffff) ??
    expect('source', part(26, 30), ip(LOCAL)) ??
    expect('destination', part(30, 34), ip(remote(f))) ??
    (source >= t.sources[0] && source <= t.sources[1] ? null : `source port ${source}`) ??
    expect('destination port', d.getUint16(36), t.port) ??
    expect('UDP length', d.getUint16(38), got.length - 34) ??
    expect('UDP checksum', d.getUint16(40), 0) ??
    expect('tunnel header', part(OUTER, outer), header) ??
    expect('inner frame', part(outer, got.length), hex(innerFrame(f, size)))
  )
}

const hex = (b: Uint8Array): string => Buffer.from(b).toString('hex')
const word = (n: number): string => n.toString(16).padStart(8, '0')

const expect = (what: string, is: number | string, should: number | string): string | null =>
  is === should ? null : `${what} ${is} instead of ${should}`

/** The sum of the words of the first IPv4 header: 0xffff when its checksum is right. */
function headerSum(frame: Uint8Array): number {
  let sum = 0
  for (let o = 14; o < 34; o += 2) sum += (frame[o] << 8) | frame[o + 1]
  sum = (sum & 0xffff) + (sum >>> 16)
  return (sum & 0xffff) + (sum >>> 16)
}
