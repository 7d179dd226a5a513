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

/** The rules, as tc lines. */
export function* rules({ flows, masks }: Workload): Generator<string> {
  const add = 'tc filter add dev p0 ingress protocol ip pref 10 flower'
  const encap = (f: number) =>
    `action tunnel_key set id ${vni(f)} src_ip ${LOCAL} dst_ip ${remote(f)} dst_port 4789 nocsum action mirred egress redirect dev vxlan0`
  for (let k = flows; k < masks; k++) yield `${add} ${match(k, k, `10.192.0.${k}`)} ${encap(k)}`
  for (let f = 0; f < flows; f++) yield `${add} ${match(f % masks, f, dst(f))} ${encap(f)}`
}

const bytes = (ip: string): number[] => ip.split('.').map(Number)

/** The frame of flow f, `size` bytes without FCS, payload 0x00 0x01 0x02 …, IPv4 header checksum right, no UDP checksum. */
export function innerFrame(f: number, size: number): Uint8Array {
  const frame = Uint8Array.from({ length: size }, (_, i) => (i - INNER_HEADERS) & 255)
  frame.set([2, 0, 0, 0, 0, 0xaa, 2, 0, 0, 0, 0, 0xbb, 8, 0])
  const ip = size - 14
  const head = [0x45, 0, ip >> 8, ip & 255, 0, 0, 0x40, 0, 64, 17, 0, 0, ...bytes(src(f)), ...bytes(dst(f))]
  let sum = 0
  for (let i = 0; i < 20; i += 2) sum += (head[i] << 8) | head[i + 1]
  sum = (sum & 0xffff) + (sum >>> 16)
  sum = ~(sum + (sum >>> 16)) & 0xffff
  head[10] = sum >> 8
  head[11] = sum & 255
  frame.set(head, 14)
  const udp = ip - 20
  frame.set([sport(f) >> 8, sport(f) & 255, 4000 >> 8, 4000 & 255, udp >> 8, udp & 255, 0, 0], 34)
  return frame
}

/** Frame sizes by their place: IMIX is 7 × 64, 4 × 594, 1 × 1514, mixed. */
export const IMIX = [64, 594, 64, 594, 64, 1514, 64, 594, 64, 64, 594, 64]
