// Holds frames against what a real kernel sent: equal, but for what a kernel chooses at random or from a secret of its boot.
//
// Masked, and only where a tunnel header really is (UDP to a tunnel port, IP protocol 47) or where the host's stack speaks:
// the outer IPv4 id and with it the header checksum, which must be right; the UDP source port, which must be in the range
// that Linux uses; a UDP checksum, which stays zero or must be right; the id of ICMP errors and of fragments; the flow label
// of GRE over IPv6. Frames that an input capture holds byte for byte are compared without any mask. Nothing inside a
// tunnel is masked.

const TUNNEL_PORTS = new Set([4789, 8472, 6081, 7000, 4790, 6635])
const PORT_MIN = 32768
const PORT_MAX = 60999

export interface Normal {
  readonly hex: string
  /** What is wrong with the frame in a field that is masked. */
  readonly wrong: readonly string[]
}

const hex = (b: Uint8Array): string => Buffer.from(b).toString('hex')

/** The one's complement sum over several pieces, of even length but for the last; 0xffff when a checksum in it is right. */
function sum(...pieces: Uint8Array[]): number {
  let t = 0
  for (const p of pieces) for (let i = 0; i < p.length; i += 2) t += (p[i] << 8) | (i + 1 < p.length ? p[i + 1] : 0)
  while (t > 0xffff) t = (t & 0xffff) + (t >>> 16)
  return t
}

/** The frame with zeros where a kernel is free. `inputs` are the frames that came in, as hex. */
export function normalize(frame: Uint8Array, inputs: ReadonlySet<string>): Normal {
  if (inputs.has(hex(frame))) return { hex: hex(frame), wrong: [] }
  const b = frame.slice()
  const d = new DataView(frame.buffer, frame.byteOffset, frame.byteLength)
  const wrong: string[] = []
  let o = 12
  while (o + 4 <= frame.length && [0x8100, 0x88a8, 0x9100].includes(d.getUint16(o))) o += 4
  if (o + 2 <= frame.length) {
    const type = d.getUint16(o)
    if (type === 0x0800) maskIpv4(frame, d, b, o + 2, wrong)
    else if (type === 0x86dd) maskIpv6(frame, d, b, o + 2, wrong)
  }
  return { hex: hex(b), wrong }
}

function maskIpv4(f: Uint8Array, d: DataView, b: Uint8Array, o: number, wrong: string[]): void {
  if (f.length < o + 20 || f[o] >> 4 !== 4 || (f[o] & 15) < 5) return
  const headerLength = (f[o] & 15) * 4
  if (f.length < o + headerLength) return
  const l4 = o + headerLength
  const proto = f[o + 9]
  const fragment = d.getUint16(o + 6) & 0x3fff
  const later = (fragment & 0x1fff) !== 0
  let free = proto === 47
  if (proto === 17 && later) free = true
  else if (proto === 17 && f.length >= l4 + 8) {
    const pseudo = Uint8Array.of(...f.subarray(o + 12, o + 20), 0, 17, f[l4 + 4], f[l4 + 5])
    free = maskUdp(f, d, b, l4, fragment === 0 ? Math.min(f.length, o + d.getUint16(o + 2)) : 0, pseudo, wrong)
  } else if (proto === 1 && fragment === 0 && f.length > l4) free = [3, 11, 12].includes(f[l4])
  if (!free) return
  if (sum(f.subarray(o, l4)) === 0xffff) b.fill(0, o + 10, o + 12)
  else wrong.push('IPv4 header checksum wrong')
  b.fill(0, o + 4, o + 6)
}

function maskIpv6(f: Uint8Array, d: DataView, b: Uint8Array, o: number, wrong: string[]): void {
  if (f.length < o + 40 || f[o] >> 4 !== 6) return
  let next = f[o + 6]
  let q = o + 40
  if (next === 44 && f.length >= q + 8) {
    b.fill(0, q + 4, q + 8)
    if ((d.getUint16(q + 2) & 0xfff8) === 0 && f[q] === 17 && f.length >= q + 16)
      maskUdp(f, d, b, q + 8, 0, new Uint8Array(0), wrong)
    return
  }
  if (next === 60 && f.length >= q + 8) {
    next = f[q]
    q += (f[q + 1] + 1) * 8
  }
  if (next === 47) {
    b[o + 1] &= 0xf0
    b.fill(0, o + 2, o + 4)
  } else if (next === 17 && f.length >= q + 8) {
    const pseudo = Uint8Array.of(...f.subarray(o + 8, o + 40), 0, 0, f[q + 4], f[q + 5], 0, 0, 0, 17)
    maskUdp(f, d, b, q, Math.min(f.length, o + 40 + d.getUint16(o + 4)), pseudo, wrong)
  }
}

/** True when this is a tunnel's UDP header. `end` is where its packet ends, 0 when it cannot be summed (a fragment). */
function maskUdp(
  f: Uint8Array,
  d: DataView,
  b: Uint8Array,
  o: number,
  end: number,
  pseudo: Uint8Array,
  wrong: string[],
): boolean {
  if (!TUNNEL_PORTS.has(d.getUint16(o + 2))) return false
  const port = d.getUint16(o)
  if (port < PORT_MIN || port > PORT_MAX) wrong.push(`UDP source port ${port} outside ${PORT_MIN}-${PORT_MAX}`)
  b.fill(0, o, o + 2)
  if (d.getUint16(o + 6) !== 0) {
    const length = d.getUint16(o + 4)
    if (length >= 8 && o + length <= end && sum(pseudo, f.subarray(o, o + length)) !== 0xffff)
      wrong.push('UDP checksum wrong')
    b.fill(0xff, o + 6, o + 8)
  }
  return true
}

// ---- filters.json

const VOLATILE = new Set([
  'installed',
  'last_used',
  'first_used',
  'expires',
  'not_in_hw',
  'in_hw',
  'in_hw_count',
  'hw_stats',
  'used_hw_stats',
  'cookie',
])

const TIMES = /"(installed|last_used|first_used)":\d+,/g

/** What is judged of one hook's filters: not the times, and of an action's statistics the packets, bytes and drops. */
export function judged(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(judged)
  if (value === null || typeof value !== 'object') return value
  // tc prints some classifiers as broken JSON: the text is judged, and how a reader complains about it is not.
  if ('invalid_json' in value && 'raw' in value) return String(value.raw).replace(TIMES, '').trimEnd()
  const out: Record<string, unknown> = {}
  for (const [key, v] of Object.entries(value)) {
    if (VOLATILE.has(key)) continue
    if (key === 'stats') {
      const s = v as Record<string, number>
      out[key] = { bytes: s.bytes ?? 0, packets: s.packets ?? 0, drops: s.drops ?? 0 }
    } else out[key] = judged(v)
  }
  return out
}
