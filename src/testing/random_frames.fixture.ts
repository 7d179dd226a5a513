// Random frames for the generator: every protocol that flower has keys for, from so few values that rules with values
// from the same lists meet them; some cut short, some with bytes changed.

/** Numbers in a row that a seed decides (mulberry32). */
export class Luck {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** In [0, n). */
  below(n: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) % n
  }

  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)]
  }

  /** True once in n. */
  once(n: number): boolean {
    return this.below(n) === 0
  }
}

export const MACS = ['02:aa:00:00:00:01', '02:aa:00:00:00:02', '02:ab:00:00:01:01', '06:aa:00:00:00:01']
export const IPV4 = ['10.0.0.1', '10.0.0.2', '10.0.1.1', '192.168.7.9']
export const IPV6 = ['fd00:0:0:0:0:0:0:1', 'fd00:0:0:0:0:0:0:2', 'fd00:0:0:1:0:0:0:1', '2001:db8:0:0:0:0:0:9']
export const PORTS = [53, 80, 1000, 1001, 1030, 4789, 40000]
export const VLANS = [1, 5, 6, 100]
export const LABELS = [16, 17, 1000, 0xfffff]
export const SESSIONS = [1, 2, 300]
export const TOS = [0, 1, 0xb8, 0x20]
export const TTLS = [1, 63, 64, 255]

const be = (v: number, n: number): number[] =>
  Array.from({ length: n }, (_, i) => Math.floor(v / 256 ** (n - 1 - i)) % 256)
export const mac = (text: string): number[] => text.split(':').map((x) => Number.parseInt(x, 16))
export const ipv4Bytes = (text: string): number[] => text.split('.').map(Number)
/** Eight groups, none left out. */
export const ipv6Bytes = (text: string): number[] => text.split(':').flatMap((g) => be(Number.parseInt(g, 16), 2))

const rest = (l: Luck): number[] => Array.from({ length: l.below(30) }, () => l.below(256))

/** A transport header and what follows; the protocol's number comes with it. */
function transport(l: Luck, icmp: number): [proto: number, bytes: number[]] {
  const ports = [...be(l.of(PORTS), 2), ...be(l.of(PORTS), 2)]
  switch (l.below(7)) {
    case 0:
    case 1:
      return [6, [...ports, ...be(1, 4), ...be(0, 4), 0x50, l.of([2, 0x12, 0x10, 1]), 1, 0, 0, 0, 0, 0, ...rest(l)]]
    case 2:
    case 3: {
      const data = rest(l)
      return [17, [...ports, ...be(8 + data.length, 2), ...(l.once(6) ? [18, 52] : [0, 0]), ...data]]
    }
    case 4:
      return [132, [...ports, ...be(0, 8), ...rest(l)]]
    case 5:
      return [icmp, [l.of([0, 8, 3, 135]), l.of([0, 1]), 0, 0, 0, 0, 0, 0, ...rest(l)]]
    default:
      return [l.of([47, 50, 115]), [...be(l.of(SESSIONS), 4), ...be(7, 4), ...rest(l)]]
  }
}

function ipv4(l: Luck): number[] {
  const [proto, body] = transport(l, 1)
  const options = l.once(8) ? [1, 1, 1, 1] : []
  const fragment = l.once(6) ? l.of([0x2000, 0x0010, 0x2010, 0x4000]) : 0
  const size = 20 + options.length
  const head = [0x40 | (size / 4), l.of(TOS), ...be(size + body.length, 2), 0, 1, ...be(fragment, 2), l.of(TTLS), proto]
  return [...head, 0, 0, ...ipv4Bytes(l.of(IPV4)), ...ipv4Bytes(l.of(IPV4)), ...options, ...body]
}

function ipv6(l: Luck): number[] {
  let [next, body] = transport(l, 58)
  if (l.once(6)) {
    body = [next, 0, ...be(l.of([0, 1, 8, 9]), 2), ...be(5, 4), ...body]
    next = 44
  }
  if (l.once(6)) {
    body = [next, 0, 1, 4, 0, 0, 0, 0, ...body]
    next = l.of([0, 60])
  }
  const head = [...be(0x60000000 + l.of(TOS) * 0x100000, 4), ...be(body.length, 2), next, l.of(TTLS)]
  return [...head, ...ipv6Bytes(l.of(IPV6)), ...ipv6Bytes(l.of(IPV6)), ...body]
}

function arp(l: Luck): number[] {
  const side = (): number[] => [...mac(l.of(MACS)), ...ipv4Bytes(l.of(IPV4))]
  return [0, 1, 8, 0, 6, 4, 0, l.of([1, 2, 2, 3]), ...side(), ...side()]
}

function mpls(l: Luck): number[] {
  const entry = (bottom: number): number[] => {
    const label = l.of(LABELS)
    return be(label * 0x1000 + l.below(8) * 0x200 + bottom * 0x100 + l.of(TTLS), 4)
  }
  return [...(l.once(2) ? entry(0) : []), ...entry(1), ...ipv4(l)]
}

function pppoe(l: Luck): number[] {
  const [ppp, body] = l.of([
    [0x21, ipv4(l)],
    [0x57, ipv6(l)],
    [0xc021, rest(l)],
  ] as const)
  return [0x11, 0, ...be(l.of(SESSIONS), 2), ...be(body.length + 2, 2), ...be(ppp, 2), ...body]
}

/** The type of a frame's payload, and the payload. */
function payload(l: Luck): [type: number, bytes: number[]] {
  switch (l.below(12)) {
    case 0:
      return [0x0806, arp(l)]
    case 1:
      return [0x8847, mpls(l)]
    case 2:
      return [0x8864, pppoe(l)]
    case 3:
      return [l.of([0x88b5, 0x0100]), rest(l)]
    case 4:
    case 5:
    case 6:
      return [0x86dd, ipv6(l)]
    default:
      return [0x0800, ipv4(l)]
  }
}

/** Shorter ones may end before any filter; that is the receiver's, not the filters'. */
const SHORTEST = 26

/** A frame with its Ethernet header. */
export function randomFrame(l: Luck): Uint8Array {
  const [type, body] = payload(l)
  const tags: number[] = []
  for (let n = l.of([0, 0, 0, 1, 1, 2]); n > 0; n--) {
    tags.push(...be(l.of([0x8100, 0x8100, 0x88a8]), 2), ...be(l.below(8) * 0x2000 + l.of(VLANS), 2))
  }
  const frame = [...mac(l.of(MACS)), ...mac(l.of(MACS)), ...tags, ...be(type, 2), ...body]
  while (frame.length < SHORTEST) frame.push(0)
  if (l.once(20)) frame.length = SHORTEST + l.below(frame.length - SHORTEST + 1)
  if (l.once(15)) frame[14 + l.below(frame.length - 14)] = l.below(256)
  return Uint8Array.from(frame)
}

/** What a VXLAN packet has around the frame that it carries. */
export interface Outer {
  readonly vni: number
  readonly src: readonly number[]
  readonly dst: readonly number[]
  readonly sport: number
  readonly tos: number
  readonly ttl: number
}
export const VNIS = [5, 7, 9]
export const REMOTES = ['10.9.0.2', '10.9.0.3', '10.9.1.2']
/** None that has a bit of ECN: what becomes of those inside is not for this to say. */
export const OUTER_TOS = [0, 0xb8, 0x20]
export const ENDPOINT = '10.9.0.1'

export const randomOuter = (l: Luck): Outer => ({
  vni: l.of(VNIS),
  src: ipv4Bytes(l.of(REMOTES)),
  dst: ipv4Bytes(ENDPOINT),
  sport: 50_000 + l.below(4),
  tos: l.of(OUTER_TOS),
  ttl: l.of(TTLS),
})

/** The frame in a VXLAN packet to the port with this MAC. */
export function inVxlan(frame: Uint8Array, o: Outer, to: readonly number[]): Uint8Array {
  const udp = [...be(o.sport, 2), ...be(4789, 2), ...be(16 + frame.length, 2), 0, 0]
  const vxlan = [8, 0, 0, 0, ...be(o.vni * 256, 4)]
  const ip = [0x45, o.tos, ...be(36 + frame.length, 2), 0, 0, 0, 0, o.ttl, 17, 0, 0, ...o.src, ...o.dst]
  let sum = 0
  for (let i = 0; i < 20; i += 2) sum += (ip[i] << 8) | ip[i + 1]
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  ip.splice(10, 2, ...be(~sum & 0xffff, 2))
  return Uint8Array.from([...to, 2, 0xaa, 0, 0, 9, 9, 8, 0, ...ip, ...udp, ...vxlan, ...frame])
}
