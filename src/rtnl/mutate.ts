// Mutations of netlink messages, for fuzzing: most are nearly right, since what is quite wrong is refused at the border.
//
// Everything is drawn from the generator that is passed in, so a seed says which messages they were. nlmsg_len always
// says the true length: other lengths are the server's to refuse (datagram.ts), and have tests of their own.

import { align4, NLA_HDRLEN, NLMSG_HDRLEN, viewOf } from '../wire/netlink.ts'

/** A number from 0 below `n`. */
export type Random = (n: number) => number

/** xorshift32 (Marsaglia 2003). */
export function seeded(seed: number): Random {
  let x = seed | 0 || 1
  return (n) => {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    return (x >>> 0) % n
  }
}

const EDGES = [0, 1, 2, 3, 4, 7, 8, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff]

type Mutation = (m: Uint8Array, random: Random, other: Uint8Array) => Uint8Array

/** Where the attributes of a message can begin: behind nlmsghdr and a family header of 4 to 20 bytes. */
const attribute = (m: Uint8Array, random: Random): number => {
  const d = viewOf(m)
  let o = NLMSG_HDRLEN + [20, 12, 16, 8, 4][random(5)]
  for (let steps = random(12); steps > 0 && o + NLA_HDRLEN <= m.length; steps--) {
    const len = d.getUint16(o, true)
    if (len < NLA_HDRLEN) break
    // Into the nest, or past it.
    o += random(3) === 0 ? NLA_HDRLEN : align4(len)
  }
  return o + NLA_HDRLEN <= m.length ? o : -1
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.length + b.length)
  out.set(a)
  out.set(b, a.length)
  return out
}

const MUTATIONS: readonly Mutation[] = [
  (m, random) => {
    m[NLMSG_HDRLEN + random(Math.max(1, m.length - NLMSG_HDRLEN))] ^= 1 << random(8)
    return m
  },
  (m, random) => {
    m[NLMSG_HDRLEN + random(Math.max(1, m.length - NLMSG_HDRLEN))] = random(256)
    return m
  },
  (m, random) => {
    const o = NLMSG_HDRLEN + (random(Math.max(1, m.length - NLMSG_HDRLEN)) & ~3)
    if (o + 4 <= m.length) viewOf(m).setUint32(o, EDGES[random(EDGES.length)], true)
    return m
  },
  // An attribute's length or type.
  (m, random) => {
    const o = attribute(m, random)
    if (o >= 0) viewOf(m).setUint16(o, random(2) ? EDGES[random(EDGES.length)] & 0xffff : random(64), true)
    return m
  },
  (m, random) => {
    const o = attribute(m, random)
    if (o >= 0) viewOf(m).setUint16(o + 2, random(2) ? random(128) : random(128) | 0x8000, true)
    return m
  },
  // Cut short, longer, an attribute twice, the end of another message.
  (m, random) => m.slice(0, NLMSG_HDRLEN + random(m.length - NLMSG_HDRLEN + 1)),
  (m, random) => {
    const end = new Uint8Array(random(64))
    for (let i = 0; i < end.length; i++) end[i] = random(256)
    return joined(m, end)
  },
  (m, random) => {
    const o = attribute(m, random)
    if (o < 0) return m
    const len = Math.min(align4(viewOf(m).getUint16(o, true)), m.length - o)
    return joined(m, m.subarray(o, o + len))
  },
  (m, random, other) => joined(m.subarray(0, 36), other.subarray(Math.min(36, random(other.length)))),
  // Flags and type: what another verb makes of the same content.
  (m, random) => {
    viewOf(m).setUint16(6, random(0x1000) | 1, true)
    return m
  },
  (m, random) => {
    viewOf(m).setUint16(4, 16 + random(100), true)
    return m
  },
]

/** A changed copy of `m`, with pieces of `other`. It is a request, and its length is its own. */
export function mutate(m: Uint8Array, other: Uint8Array, random: Random): Uint8Array {
  let out: Uint8Array = m.slice()
  for (let n = 1 + random(3); n > 0; n--) out = MUTATIONS[random(MUTATIONS.length)](out, random, other)
  const d = viewOf(out)
  d.setUint32(0, out.length, true)
  d.setUint16(6, d.getUint16(6, true) | 1, true)
  return out
}
