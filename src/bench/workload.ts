// What the encap bench puts through a switch: flows of UDP frames, a rule for each flow spread over so many masks, and the
// tunnels that the rules send them into.
//
// Every flow has a destination address of its own and a rule that sends it into one of 64 VXLAN tunnels over IPv4. The rules
// of one mask look at the same bits; flow f is in mask f % masks. When there are fewer flows than masks, rules that
// match nothing come first, so that the flow's mask is the last that a lookup tries. Rules are tc lines, added one by one.

export interface Workload {
  readonly flows: number
  readonly masks: number
}

export const TUNNELS = 64
/** The inner frame's headers: Ethernet, IPv4, UDP. */
export const INNER_HEADERS = 42

const address = (base: number, i: number): string =>
  `${base >>> 24}.${(base >>> 16) & 255}.${(i >>> 8) & 255}.${i & 255}`
const src = (f: number): string => address(0x0a000000 + ((f >>> 16) << 16), f)
const dst = (f: number): string => address(0x0a400000 + ((f >>> 16) << 16), f)
const sport = (f: number): number => 1024 + (f % 50_000)
export const innerSport = sport

export const vni = (f: number): number => 1000 + (f % TUNNELS)
/** The remote endpoint of flow f, and its MAC. */
export const remote = (f: number): string => `172.16.0.${10 + (f % TUNNELS)}`
export const remoteMac = (f: number): string => `02:11:00:00:00:${(10 + (f % TUNNELS)).toString(16).padStart(2, '0')}`
export const LOCAL = '172.16.0.1'

/** ip and tc lines that make the world, without the rules. The underlay takes the largest frame with its tunnel. */
export function setup(): string[] {
  const lines = [
    'ip link set p1 mtu 9000',
    `ip addr add ${LOCAL}/16 dev p1`,
    'ip link add vxlan0 type vxlan external dstport 4789',
    'ip link set vxlan0 up',
    'tc qdisc add dev p0 clsact',
  ]
  for (let t = 0; t < TUNNELS; t++) lines.push(`ip neigh add ${remote(t)} lladdr ${remoteMac(t)} dev p1 nud permanent`)
  return lines
}

/** The match of mask k for addresses a → b: 32 different sets of bits, all of which know b. */
function match(k: number, f: number, to: string): string {
  const ports = k < 16 ? ` src_port ${sport(f)}` : ''
  return `ip_proto udp src_ip ${src(f)}/${32 - (k % 16)} dst_ip ${to} dst_port 4000${ports}`
}

/** What the rule of flow f does, if nothing else is asked for. */
const encap = (f: number): string =>
  `action tunnel_key set id ${vni(f)} src_ip ${LOCAL} dst_ip ${remote(f)} dst_port 4789 nocsum action mirred egress redirect dev vxlan0`

/** The rules, as tc lines. `actions`: the words that the rule of flow f ends with. */
export function* rules({ flows, masks }: Workload, actions: (f: number) => string = encap): Generator<string> {
  const add = 'tc filter add dev p0 ingress protocol ip pref 10 flower'
  for (let k = flows; k < masks; k++) yield `${add} ${match(k, k, `10.192.0.${k}`)} ${actions(k)}`
  for (let f = 0; f < flows; f++) yield `${add} ${match(f % masks, f, dst(f))} ${actions(f)}`
}

/**
 * Masks of a lookup bench: mask k looks at some bits of the MAC addresses, of which all frames have the same. `wrong`: but
 * for one bit that mask k looks at.
 */
function macMatch(k: number, wrong: boolean): string {
  const bits = (n: number) => (0xff00 | n).toString(16).slice(-2)
  const one = wrong ? k & -k : 0
  const [dst, src] = [bits(0xaa ^ (one & 255)), bits(0xbb ^ (one >> 8))]
  return `dst_mac 02:00:00:00:00:${dst}/ff:ff:ff:ff:ff:${bits(k & 255)} src_mac 02:00:00:00:00:${src}/ff:ff:ff:ff:ff:${bits(k >> 8)}`
}

/** A rule for each flow in so many masks, and in front of them one that asks for a source address nobody has. */
export function* lookupRules({ flows, masks }: Workload): Generator<string> {
  yield 'tc filter add dev p0 ingress protocol ip pref 1 flower src_ip 203.0.113.1 action drop'
  for (let f = 0; f < flows; f++) yield lookupRule(f % masks, f, dst(f), 4000)
}

/**
 * Two rules in each of so many masks that nearly match flow 0, and in the last mask one that does. One of the two is wrong in
 * the destination, the other in the port; with `own` not in the port, which all masks look at, but in what only this one does.
 */
export function* hostileRules(masks: number, own = false): Generator<string> {
  yield 'tc filter add dev p0 ingress protocol ip pref 1 flower src_ip 203.0.113.1 action drop'
  for (let k = 0; k < masks; k++) {
    yield own && k > 0 ? lookupRule(k, 0, dst(0), 4000, true) : lookupRule(k, 0, dst(0), 4001)
    yield lookupRule(k, 0, dst(1), 4000)
  }
  yield lookupRule(masks - 1, 0, dst(0), 4000)
}

const lookupRule = (k: number, f: number, to: string, port: number, wrong = false): string =>
  `tc filter add dev p0 ingress protocol ip pref 10 flower ${macMatch(k, wrong)} ip_proto udp dst_ip ${to} dst_port ${port} ` +
  `action tunnel_key set id ${vni(f)} src_ip ${LOCAL} dst_ip ${remote(f)} dst_port 4789 nocsum action mirred egress redirect dev vxlan0`

/** The world of the decap bench: the tunnels end at p0. */
export function decapSetup(): string[] {
  return [
    'ip link set p1 mtu 9000',
    `ip addr add ${LOCAL}/16 dev p0`,
    'ip link add vxlan0 type vxlan external dstport 4789',
    'ip link set vxlan0 up',
    'tc qdisc add dev vxlan0 clsact',
  ]
}

/** A rule for each flow that leaves its tunnel. */
export function* decapRules({ flows, masks }: Workload): Generator<string> {
  const add = 'tc filter add dev vxlan0 ingress protocol ip pref 10 flower'
  for (let f = 0; f < flows; f++) {
    const tunnel = `enc_key_id ${vni(f)} enc_src_ip ${remote(f)} enc_dst_ip ${LOCAL} enc_dst_port 4789`
    yield `${add} ${tunnel} ${match(f % masks, f, dst(f))} action tunnel_key unset action mirred egress redirect dev p1`
  }
}

/** The frame of flow f in its tunnel, as its peer sends it: IPv4 checksum right, UDP without. */
export function outerFrame(f: number, size: number): Uint8Array {
  const frame = new Uint8Array(50 + size)
  const ip = 36 + size
  const head = [0x45, 0, ip >> 8, ip & 255, 0, 0, 0, 0, 64, 17, 0, 0, ...bytes(remote(f)), ...bytes(LOCAL)]
  const sum = headerSum(head)
  head.splice(10, 2, sum >> 8, sum & 255)
  frame.set([2, 0, 0, 0, 0, 0, 2, 0x11, 0, 0, 0, 1, 8, 0, ...head])
  const port = 32768 + (f % 28_000)
  const v = vni(f)
  frame.set([port >> 8, port & 255, 4789 >> 8, 4789 & 255, (ip - 20) >> 8, (ip - 20) & 255, 0, 0], 34)
  frame.set([8, 0, 0, 0, v >> 16, (v >> 8) & 255, v & 255, 0], 42)
  frame.set(innerFrame(f, size), 50)
  return frame
}

/** The checksum of an IPv4 header whose field is zero. */
function headerSum(head: readonly number[]): number {
  let sum = 0
  for (let i = 0; i < 20; i += 2) sum += (head[i] << 8) | head[i + 1]
  sum = (sum & 0xffff) + (sum >>> 16)
  return ~(sum + (sum >>> 16)) & 0xffff
}

const bytes = (ip: string): number[] => ip.split('.').map(Number)

/** The frame of flow f, `size` bytes without FCS, payload 0x00 0x01 0x02 …, IPv4 header checksum right, no UDP checksum. */
export function innerFrame(f: number, size: number): Uint8Array {
  const frame = Uint8Array.from({ length: size }, (_, i) => (i - INNER_HEADERS) & 255)
  frame.set([2, 0, 0, 0, 0, 0xaa, 2, 0, 0, 0, 0, 0xbb, 8, 0])
  const ip = size - 14
  const head = [0x45, 0, ip >> 8, ip & 255, 0, 0, 0x40, 0, 64, 17, 0, 0, ...bytes(src(f)), ...bytes(dst(f))]
  const sum = headerSum(head)
  head[10] = sum >> 8
  head[11] = sum & 255
  frame.set(head, 14)
  const udp = ip - 20
  frame.set([sport(f) >> 8, sport(f) & 255, 4000 >> 8, 4000 & 255, udp >> 8, udp & 255, 0, 0], 34)
  return frame
}

/** The answer to the frame of flow f: MAC addresses, IP addresses and ports the other way round. */
export function replyFrame(f: number, size: number): Uint8Array {
  const there = innerFrame(f, size)
  const back = there.slice()
  for (const [from, to, n] of [
    [0, 6, 6],
    [26, 30, 4],
    [34, 36, 2],
  ]) {
    back.set(there.subarray(from, from + n), to)
    back.set(there.subarray(to, to + n), from)
  }
  return back
}

/** Frame sizes by their place: IMIX is 7 × 64, 4 × 594, 1 × 1514, mixed. */
export const IMIX = [64, 594, 64, 594, 64, 1514, 64, 594, 64, 64, 594, 64]
