// What the rule benches put into a switch: tc lines, as a user's `tc -batch` files would have them.
//
// A rule's number makes its match, so that every rule is another and a number is all it takes to name it again. All rules
// of a bench stand at one hook, in one pref: what every control worker meets is one table under the same locks.

/** What the rules of a bench look like. */
export const PROFILES = ['l2', '5-tuple', 'encap', 'encap-200', 'multi-encap'] as const
export type Profile = (typeof PROFILES)[number]

export const LOCAL = '172.16.0.1'
/** The n-th next hop: 1 <= n < 62 500. */
export const hop = (n: number): string => `172.16.${1 + Math.floor(n / 250)}.${1 + (n % 250)}`
export const hopMac = (n: number, change = 0): string =>
  [2, change & 255, 0x11, n >> 16, (n >> 8) & 255, n & 255].map((b) => b.toString(16).padStart(2, '0')).join(':')

/** Tunnel keys of a profile. */
export const keysOf = (p: Profile): number =>
  ({ l2: 0, '5-tuple': 0, encap: 1, 'encap-200': 200, 'multi-encap': 16 })[p]
/** Destinations of a rule of `multi-encap`. */
const DESTINATIONS = 4
/** Counters that a rule has at most: its own, and those of actions that cannot share it. */
export const countersOf = (p: Profile): number => (p === 'multi-encap' ? 2 * DESTINATIONS : 1)

/** The lines that make the world around the rules: `hops` next hops that are there. */
export function setup(hops: number): string[] {
  const lines = [
    `ip addr add ${LOCAL}/16 dev p1`,
    'ip link add vxlan0 type vxlan external dstport 4789',
    'ip link set vxlan0 up',
    'tc qdisc add dev p0 clsact',
  ]
  for (let n = 0; n < hops; n++) lines.push(`ip neigh add ${hop(n)} lladdr ${hopMac(n)} dev p1 nud permanent`)
  return lines
}

const place = (i: number): string => `dev p0 ingress protocol ip pref 10 handle ${i + 1}`
const byte = (i: number, shift: number): string => ((i >> shift) & 255).toString(16).padStart(2, '0')
const mac = (i: number): string => `${byte(i, 16)}:${byte(i, 8)}:${byte(i, 0)}`

/** Addresses and ports of rule i: numbers below 2^20 have a pair of addresses of their own. */
export const source = (i: number): string => `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`
export const target = (i: number): string => `11.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`
export const sport = (i: number): number => 1024 + (i % 50_000)
export const DPORT = 4000

const tuple = (i: number): string =>
  `ip_proto udp src_ip ${source(i)} dst_ip ${target(i)} src_port ${sport(i)} dst_port ${DPORT}`
/** A tunnel_key and mirred pair: key k through next hop k % hops. */
const encap = (k: number, hops: number, mirred: string): string =>
  `action tunnel_key set id ${1000 + k} src_ip ${LOCAL} dst_ip ${hop(k % hops)} dst_port 4789 nocsum action mirred egress ${mirred} dev vxlan0`

function rest(p: Profile, i: number): string {
  if (p === 'l2') return `src_mac 02:aa:00:${mac(i)} dst_mac 02:bb:00:${mac(i)} action mirred egress redirect dev p1`
  if (p === '5-tuple') return `${tuple(i)} action mirred egress redirect dev p1`
  const keys = keysOf(p)
  if (p !== 'multi-encap') return `${tuple(i)} ${encap(i % keys, keys, 'redirect')}`
  const pairs: string[] = []
  for (let d = 0; d < DESTINATIONS; d++)
    pairs.push(encap((i + d) % keys, keys, d === DESTINATIONS - 1 ? 'redirect' : 'mirror'))
  return `${tuple(i)} ${pairs.join(' ')}`
}

export const addLine = (p: Profile, i: number): string => `filter add ${place(i)} flower ${rest(p, i)}`
export const deleteLine = (i: number): string => `filter delete ${place(i)} flower`

/** Rule i of a storm: `keys` tunnel keys over `hops` next hops. */
export const stormLine = (i: number, keys: number, hops: number): string =>
  `filter add ${place(i)} flower ${tuple(i)} ${encap(i % keys, hops, 'redirect')}`

/** Rule i into a tunnel through next hop `n`. */
export const steadyLine = (i: number, n: number): string =>
  `filter add ${place(i)} flower ${tuple(i)} ${encap(n, n + 1, 'redirect')}`

/** A text that threads share, its lines one after the other. */
export function sharedText(lines: Iterable<string>, bytes: number): SharedArrayBuffer {
  const text = new SharedArrayBuffer(bytes)
  const b = Buffer.from(text)
  let at = 0
  for (const line of lines) at += b.write(`${line}\n`, at, 'latin1')
  b.fill(0x0a, at)
  return text
}
