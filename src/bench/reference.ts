// The slow reference of the encap bench: what a frame of the workload must look like when it comes out, field by field,
// from RFC 7348, RFC 791 and the rule, without any code of the product.
import { innerFrame, LOCAL, remote, remoteMac, vni } from './workload.ts'

/** Outer Ethernet, IPv4, UDP, VXLAN. */
const OUTER = 50

/** Why `got` is not the frame of flow f in its tunnel; null when it is. */
export function wrongEncap(got: Uint8Array, f: number, size: number): string | null {
  if (got.length !== size + OUTER) return `${got.length} bytes instead of ${size + OUTER}`
  const d = new DataView(got.buffer, got.byteOffset, got.byteLength)
  const hex = (from: number, to: number) => Buffer.from(got.subarray(from, to)).toString('hex')
  const expect = (what: string, is: number | string, should: number | string) =>
    is === should ? null : `${what} ${is} instead of ${should}`
  const ip = (text: string) => Buffer.from(text.split('.').map(Number)).toString('hex')
  let sum = 0
  for (let o = 14; o < 34; o += 2) sum += d.getUint16(o)
  sum = (sum & 0xffff) + (sum >>> 16)
  const sport = d.getUint16(34)
  return (
    expect('outer destination', hex(0, 6), remoteMac(f).replaceAll(':', '')) ??
    expect('outer source', hex(6, 12), '020000000001') ??
    expect('outer type', hex(12, 14), '0800') ??
    expect('version and tos', hex(14, 16), '4500') ??
    expect('IPv4 length', d.getUint16(16), size + OUTER - 14) ??
    expect('fragment', hex(20, 22), '0000') ??
    expect('ttl and protocol', hex(22, 24), '4011') ??
    expect('IPv4 checksum', (sum & 0xffff) + (sum >>> 16), 0xffff) ??
    expect('source', hex(26, 30), ip(LOCAL)) ??
    expect('destination', hex(30, 34), ip(remote(f))) ??
    (sport >= 32768 && sport <= 60999 ? null : `source port ${sport}`) ??
    expect('destination port', d.getUint16(36), 4789) ??
    expect('UDP length', d.getUint16(38), size + OUTER - 34) ??
    expect('UDP checksum', d.getUint16(40), 0) ??
    expect('VXLAN flags', hex(42, 46), '08000000') ??
    expect('VNI', d.getUint32(46), vni(f) << 8) ??
    expect('inner frame', hex(OUTER, got.length), Buffer.from(innerFrame(f, size)).toString('hex'))
  )
}
