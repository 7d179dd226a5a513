// Every tunnel type from end to end: what one switch sends into it, another takes out of it, byte for byte; and what
// stands around it on the way, read by a decoder that knows nothing of templates.
import { describe, expect, test } from 'vitest'
import { chipModule } from '../datapath/chip_module.ts'
import { dropReasons } from '../datapath/drop_reason.ts'
import { Switch } from '../switch/switch.ts'
import { splitLine } from '../tc/line.ts'
import { arp, ethernet, ip, ipFrame, macBytes, tagged, tcp, udp } from '../testing/packets.ts'
import { complement, pseudoSum, sum } from '../wire/checksum.ts'
import { execute } from './execute.ts'

chipModule() // built here, where no test's time runs

const slowly = { timeout: 60_000 }
const view = (b: Uint8Array): DataView => new DataView(b.buffer, b.byteOffset, b.byteLength)
const hex = (b: Uint8Array): string => Buffer.from(b).toString('hex')

/** A switch with an inside port p0, an underlay port p1, and a port p2 for what nobody took. `n`: 1 or 2. */
class Box {
  readonly sw: Switch
  readonly sent: [number, Uint8Array][] = []
  #now = 0
  constructor(n: number, ...lines: string[]) {
    const mac = (port: number): Uint8Array => macBytes(`02:00:00:00:0${n}:0${port}`)
    this.sw = new Switch({
      ports: [0, 1, 2].map((port) => ({ name: `p${port}`, mac: mac(port), mtu: 1500 })),
      packets: 64,
      arenaBytes: 256 << 20,
    })
    this.sw.onOutput((port, address, length) => {
      this.sent.push([port, this.sw.arena.u8.slice(address, address + length)])
    })
    const peer = 3 - n
    this.run(
      `ip addr add 10.0.1.${n}/24 dev p1`,
      `ip -6 addr add fd00:1::${n}/64 dev p1 nodad`,
      `ip neigh add 10.0.1.${peer} lladdr 02:00:00:00:0${peer}:01 dev p1 nud permanent`,
      `ip -6 neigh add fd00:1::${peer} lladdr 02:00:00:00:0${peer}:01 dev p1 nud permanent`,
      ...lines,
    )
  }
  run(...lines: string[]): string {
    return lines.map((line) => execute(this.sw, splitLine(line))).join('')
  }
  /** One frame in; what the ports sent for it. */
  in(port: number, frame: Uint8Array): [number, Uint8Array][] {
    this.#now += 1e6
    this.sw.advance(this.#now)
    this.sent.length = 0
    this.sw.input(port, frame)
    return [...this.sent]
  }
  /** Names of the reasons that packets ended for, since the last call. */
  #drops = new Map<string, number>()
  dropped(): string[] {
    const out: string[] = []
    for (const { code, name } of dropReasons) {
      const n = Number(this.sw.datapath.drops(code))
      for (let i = this.#drops.get(name) ?? 0; i < n; i++) out.push(name)
      this.#drops.set(name, n)
    }
    return out
  }
}

/** The outer headers of a frame in words, and where the inner packet begins. Wrong checksums and lengths throw. */
function outer(f: Uint8Array): { text: string; inner: Uint8Array } {
  const d = view(f)
  const v6 = d.getUint16(12) === 0x86dd
  const words: string[] = []
  let proto: number
  let at: number
  if (v6) {
    expect(d.getUint16(18)).toBe(f.length - 54)
    const first = d.getUint32(14)
    words.push(`tos ${(first >>> 20) & 255} ttl ${f[21]}`)
    if (first & 0xfffff) words.push('label')
    proto = f[20]
    at = 54
    if (proto === 60) {
      expect(hex(f.subarray(at + 1, at + 8))).toMatch(/^000401..010100$/)
      words.push(`limit ${f[at + 4]}`)
      proto = f[at]
      at += 8
    }
  } else {
    expect(d.getUint16(16)).toBe(f.length - 14)
    expect(complement(sum(d, 14, 20))).toBe(0)
    words.push(`tos ${f[15]} ttl ${f[22]}`)
    if (f[20] & 0x40) words.push('df')
    proto = f[23]
    at = 34
  }
  if (proto === 17) {
    expect(d.getUint16(at + 4)).toBe(f.length - at)
    const check = d.getUint16(at + 6)
    const right = complement(pseudoSum(d, 14, v6, 17, f.length - at) + sum(d, at, f.length - at)) === 0
    if (check) expect(right).toBe(true)
    words.push(`udp ${d.getUint16(at + 2)}${check ? ' csum' : ''}`)
    const header = { 4789: 8, 6081: 8 + (f[at + 8] & 63) * 4 }[d.getUint16(at + 2)] ?? 0
    return { text: words.join(' '), inner: f.subarray(at + 8 + header) }
  }
  if (proto !== 47) return { text: `${words.join(' ')} proto ${proto}`, inner: f.subarray(at) }
  const flags = d.getUint16(at)
  const type = d.getUint16(at + 2)
  words.push(`gre ${type.toString(16)}`)
  let o = at + 4
  if (flags & 0x8000) {
    expect(complement(sum(d, at, f.length - at))).toBe(0)
    words.push('csum')
    o += 4
  }
  if (flags & 0x2000) {
    words.push(`key ${d.getUint32(o)}`)
    o += 4
  }
  if (flags & 0x1000) {
    words.push(`seq ${d.getUint32(o)}`)
    o += 4
  }
  if (type === 0x88be && flags & 0x1000) {
    words.push(`erspan ${hex(f.subarray(o, o + 8))}`)
    o += 8
  }
  if (type === 0x22eb) {
    words.push(`erspan ${hex(f.subarray(o, o + 4))} ${hex(f.subarray(o + 8, o + 12))}`)
    o += 12
  }
  return { text: words.join(' '), inner: f.subarray(o) }
}

interface Row {
  /** The tunnel device: words behind its name. `L` and `R` stand for the two addresses. */
  device: string
  /** Words of tunnel_key for an external device. */
  key?: string
  ipv6?: boolean
  /** Its packets have no Ethernet header. */
  bare?: boolean
  /** The outer headers of the first frame. */
  headers: string
  /** Keys that the other end matches. */
  match?: string
  /** Which of IPv4 and IPv6 it carries, when not both. */
  carries?: readonly string[]
  /** What stands around an ARP packet, when not the same; null: it is not carried. */
  arp?: string | null
}
const erspan1 = 'erspan_opts 1:1234:0:0 nocsum'
const erspan2 = 'erspan_opts 2:0:1:37 nocsum'
const ROWS: Record<string, Row> = {
  'gretap external': {
    device: 'type gretap external',
    key: 'id 7 nocsum',
    match: 'enc_key_id 7',
    headers: 'tos 1 ttl 33 gre 6558 key 7',
    arp: 'tos 0 ttl 64 gre 6558 key 7',
  },
  'gretap external, tos, ttl, no fragments': {
    device: 'type gretap external',
    key: 'id 7 nocsum tos 0x20 ttl 9 nofrag',
    match: 'enc_key_id 7 enc_tos 0x20/0xfc enc_ttl 9',
    headers: 'tos 33 ttl 9 df gre 6558 key 7',
    arp: 'tos 32 ttl 9 df gre 6558 key 7',
  },
  'gretap external, tos inherited': {
    device: 'type gretap external',
    key: 'id 7 nocsum tos 1',
    headers: 'tos 185 ttl 33 gre 6558 key 7',
    arp: 'tos 0 ttl 64 gre 6558 key 7',
  },
  gretap: {
    device: 'type gretap local L remote R key 5 csum',
    headers: 'tos 1 ttl 33 df gre 6558 csum key 5',
    arp: 'tos 0 ttl 64 df gre 6558 csum key 5',
  },
  'gretap, nopmtudisc, ttl, tos inherit, sequence': {
    device: 'type gretap local L remote R nopmtudisc ttl 77 tos inherit seq',
    headers: 'tos 185 ttl 77 gre 6558 seq 0',
    arp: 'tos 0 ttl 77 gre 6558 seq 1',
  },
  'gre external': {
    device: 'type gre external',
    bare: true,
    key: 'id 7 nocsum',
    match: 'enc_key_id 7',
    headers: 'tos 1 ttl 33 gre 800 key 7',
    arp: 'tos 0 ttl 64 gre 806 key 7',
  },
  gre: {
    device: 'type gre local L remote R ttl 200 csum seq key 9',
    bare: true,
    headers: 'tos 1 ttl 200 df gre 800 csum key 9 seq 0',
    arp: 'tos 0 ttl 200 df gre 806 csum key 9 seq 1',
  },
  'ip6gretap external': {
    device: 'type ip6gretap external',
    ipv6: true,
    key: 'id 7 nocsum',
    match: 'enc_key_id 7',
    headers: 'tos 0 ttl 33 label gre 6558 key 7',
    arp: 'tos 0 ttl 64 label gre 6558 key 7',
  },
  ip6gretap: {
    device: 'type ip6gretap local L remote R key 5 csum',
    ipv6: true,
    headers: 'tos 0 ttl 64 label limit 4 gre 6558 csum key 5',
  },
  'ip6gretap, no limit, tclass and hoplimit of the inner packet': {
    device: 'type ip6gretap local L remote R encaplimit none tclass inherit hoplimit 0',
    ipv6: true,
    headers: 'tos 185 ttl 33 label gre 6558',
    arp: 'tos 0 ttl 64 label gre 6558',
  },
  'ip6gre external': {
    device: 'type ip6gre external',
    ipv6: true,
    bare: true,
    key: 'id 8 nocsum ttl 3 tos 0x10',
    match: 'enc_key_id 8 enc_ttl 3 enc_tos 0x10',
    headers: 'tos 16 ttl 3 label gre 800 key 8',
    arp: 'tos 16 ttl 3 label gre 806 key 8',
  },
  ip6gre: {
    device: 'type ip6gre local L remote R tclass 0x20 seq',
    ipv6: true,
    bare: true,
    headers: 'tos 32 ttl 64 label limit 4 gre 800 seq 0',
    arp: 'tos 32 ttl 64 label limit 4 gre 806 seq 1',
  },
  'erspan external, version 1': {
    device: 'type erspan external',
    key: `id 100 ${erspan1}`,
    match: 'enc_key_id 100 erspan_opts 1:1234:0:0',
    headers: 'tos 1 ttl 33 gre 88be seq 0 erspan 1000a064000004d2',
    arp: 'tos 0 ttl 64 gre 88be seq 1 erspan 10000064000004d2',
  },
  'erspan external, version 2': {
    device: 'type erspan external',
    key: `id 100 ${erspan2}`,
    match: 'enc_key_id 100',
    headers: 'tos 1 ttl 33 gre 22eb seq 0 erspan 2000a064 00008258',
    arp: 'tos 0 ttl 64 gre 22eb seq 1 erspan 20000864 00008258',
  },
  erspan: {
    device: 'type erspan local L remote R seq key 33 erspan_ver 1 erspan 55',
    headers: 'tos 1 ttl 33 df gre 88be seq 0 erspan 1000a02100000037',
    arp: 'tos 0 ttl 64 df gre 88be seq 1 erspan 1000002100000037',
  },
  'ip6erspan external': {
    device: 'type ip6erspan external',
    ipv6: true,
    key: `id 100 ${erspan1}`,
    match: 'enc_key_id 100 erspan_opts 1:1234:0:0',
    headers: 'tos 0 ttl 33 label gre 88be seq 0 erspan 10004064000004d2',
    arp: 'tos 0 ttl 64 label gre 88be seq 1 erspan 10000064000004d2',
  },
  ip6erspan: {
    device: 'type ip6erspan local L remote R seq key 33 erspan_ver 2 erspan_dir egress erspan_hwid 9',
    ipv6: true,
    headers: 'tos 0 ttl 64 label limit 4 gre 22eb seq 0 erspan 20004021 00008098',
    arp: 'tos 0 ttl 64 label limit 4 gre 22eb seq 1 erspan 20000821 00008098',
  },
  'vxlan external': {
    device: 'type vxlan external dstport 4789 nolearning',
    key: 'id 7 dst_port 4789 nocsum tos 0x10 ttl 3 nofrag',
    match: 'enc_key_id 7 enc_ttl 3 enc_dst_port 4789',
    headers: 'tos 17 ttl 3 df udp 4789',
    arp: 'tos 16 ttl 3 df udp 4789',
  },
  'vxlan external over IPv6': {
    device: 'type vxlan external dstport 4789 nolearning udp6zerocsumrx',
    ipv6: true,
    key: 'id 7 dst_port 4789 nocsum',
    match: 'enc_key_id 7',
    headers: 'tos 1 ttl 64 udp 4789',
    arp: 'tos 0 ttl 64 udp 4789',
  },
  'vxlan, everything of the inner packet': {
    device: 'type vxlan id 5 local L remote R dstport 4789 nolearning noudpcsum tos inherit ttl inherit df inherit',
    headers: 'tos 185 ttl 33 udp 4789',
    arp: 'tos 0 ttl 64 udp 4789',
  },
  'vxlan, df, tos, ttl, checksum, source ports': {
    device: 'type vxlan id 5 local L remote R dstport 4789 nolearning udpcsum df set tos 0x20 ttl 9 srcport 5000 5001',
    headers: 'tos 33 ttl 9 df udp 4789 csum',
    arp: 'tos 32 ttl 9 df udp 4789 csum',
  },
  'vxlan over IPv6': {
    device: 'type vxlan id 5 local L remote R dstport 4789 nolearning flowlabel 0x12',
    ipv6: true,
    headers: 'tos 1 ttl 64 label udp 4789 csum',
    arp: 'tos 0 ttl 64 label udp 4789 csum',
  },
  'geneve external': {
    device: 'type geneve external',
    key: 'id 7 geneve_opts 0102:80:00112233 csum ttl 5',
    match: 'enc_key_id 7 geneve_opts 0102:80:00112233',
    headers: 'tos 1 ttl 5 udp 6081 csum',
    arp: 'tos 0 ttl 5 udp 6081 csum',
  },
  'geneve over IPv6': {
    device: 'type geneve id 5 remote R ttl inherit tos inherit udp6zerocsumtx udp6zerocsumrx',
    ipv6: true,
    headers: 'tos 185 ttl 33 udp 6081',
    arp: 'tos 0 ttl 64 udp 6081',
  },
  'geneve, df': {
    device: 'type geneve id 5 remote R df set udpcsum',
    headers: 'tos 1 ttl 64 df udp 6081 csum',
    arp: 'tos 0 ttl 64 df udp 6081 csum',
  },
  ipip: {
    device: 'type ipip local L remote R mode ipip',
    bare: true,
    headers: 'tos 1 ttl 33 df proto 4',
    arp: null,
    carries: ['ip'],
  },
  'ipip external, any': {
    device: 'type ipip external mode any',
    bare: true,
    key: 'tos 0x10 ttl 7 nocsum',
    match: 'enc_ttl 7',
    headers: 'tos 17 ttl 7 proto 4',
    arp: null,
    carries: ['ip'],
  },
  sit: {
    device: 'type sit local L remote R ttl 9 tos inherit',
    bare: true,
    headers: 'tos 185 ttl 9 df proto 4',
    arp: null,
  },
  'ip6tnl external': {
    device: 'type ip6tnl external',
    ipv6: true,
    bare: true,
    key: 'nocsum',
    headers: 'tos 1 ttl 33 label proto 4',
    arp: null,
  },
  'ip6tnl, IPv4 alone': {
    device: 'type ip6tnl local L remote R mode ipip6 tclass 0x20',
    ipv6: true,
    bare: true,
    headers: 'tos 33 ttl 64 label limit 4 proto 4',
    arp: null,
    carries: ['ip'],
  },
  'ip6tnl, any': {
    device: 'type ip6tnl local L remote R hoplimit 7 tclass inherit',
    ipv6: true,
    bare: true,
    headers: 'tos 185 ttl 7 label limit 4 proto 4',
    arp: null,
  },
  'bareudp ip': {
    device: 'type bareudp dstport 6635 ethertype ip',
    bare: true,
    key: 'id 1 dst_port 9 ttl 8 csum',
    headers: 'tos 1 ttl 8 udp 6635 csum',
    match: 'enc_dst_port 6635',
    arp: null,
    carries: ['ip'],
  },
  'bareudp over IPv6': {
    device: 'type bareudp dstport 6635 ethertype ip multiproto',
    ipv6: true,
    bare: true,
    key: 'id 1 dst_port 9 ttl 8 nocsum',
    headers: 'tos 1 ttl 8 udp 6635',
    arp: null,
  },
}

const SECOND = 'action mirred egress redirect dev'
function ends(row: Row): [Box, Box] {
  const address = (n: number): string => (row.ipv6 ? `fd00:1::${n}` : `10.0.1.${n}`)
  const device = (n: number): string =>
    `ip link add t0 ${row.device.replace('L', address(n)).replace('R', address(3 - n))}`
  const key = row.key ? `action tunnel_key set src_ip ${address(1)} dst_ip ${address(2)} ${row.key} ` : ''
  const near = new Box(
    1,
    device(1),
    'ip link set t0 up',
    'tc qdisc add dev p0 clsact',
    `tc filter add dev p0 ingress protocol all pref 1 flower ${key}${SECOND} t0`,
  )
  const far = new Box(
    2,
    device(2),
    'ip link set t0 up',
    'tc qdisc add dev t0 clsact',
    `tc filter add dev t0 ingress protocol all pref 1 flower ${row.match ?? ''} ${SECOND} p0`,
    `tc filter add dev t0 ingress protocol all pref 2 flower ${SECOND} p2`,
  )
  return [near, far]
}

const payload = Uint8Array.from({ length: 40 }, (_, i) => i)
const first = udp({ src: '9.9.9.9', dst: '1.1.1.1', tos: 0xb9, ttl: 33, sport: 1000, dport: 53, data: payload })
const who = arp({ spa: '10.9.0.1', tpa: '10.9.0.2' })

describe.each(Object.entries(ROWS))('%s', slowly, (_, row) => {
  const trimmed = (f: Uint8Array): Uint8Array => (row.bare ? f.subarray(14) : f)

  test('what goes in comes out', () => {
    const [near, far] = ends(row)
    const there = near.in(0, first)
    expect(there.map(([port, f]) => [port, outer(f).text])).toEqual([[1, row.headers]])
    expect(hex(outer(there[0][1]).inner)).toBe(hex(trimmed(first)))
    expect(far.in(1, there[0][1])).toEqual([[0, trimmed(first)]])
    expect([...near.dropped(), ...far.dropped()]).toEqual([])
  })

  test('packets of other kinds', () => {
    const [near, far] = ends(row)
    near.in(0, first)
    const asked = near.in(0, who)
    if (row.arp === null) {
      expect(asked).toEqual([])
      expect(near.dropped()).toEqual(['tunnel_protocol'])
    } else {
      expect(asked.map(([, f]) => outer(f).text)).toEqual([row.arp ?? row.headers])
      expect(far.in(1, asked[0][1])).toEqual([[0, trimmed(who)]])
    }
    const more = [tcp({ src: '9.9.9.9', dst: '1.1.1.1', sport: 5, dport: 80, flags: 2 })]
    if (row.carries === undefined) more.push(udp({ src: '2001:db8::9', dst: '2001:db8::1', sport: 7, dport: 9 }))
    for (const f of more) {
      const [[, sent]] = near.in(0, f)
      outer(sent)
      expect(far.in(1, sent)).toEqual([[0, trimmed(f)]])
    }
  })

  test('a damaged outer packet comes out nowhere', () => {
    const [near, far] = ends(row)
    const [[, sent]] = near.in(0, first)
    for (let n = 14; n < sent.length - payload.length - 28; n++) {
      expect(far.in(1, sent.subarray(0, n)).filter(([port]) => port !== 1)).toEqual([])
    }
    expect(far.dropped().length).toBeGreaterThan(0)
  })
})

test('bytes changed at random: nothing traps, and every packet ends under a name', slowly, () => {
  let state = 12345
  const random = (n: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    return (state >>> 8) % n
  }
  for (const row of Object.values(ROWS)) {
    const [near, far] = ends(row)
    const [[, sent]] = near.in(0, first)
    for (let i = 0; i < 200; i++) {
      const f = sent.slice(0, 14 + random(sent.length - 13))
      for (let k = 0; k <= random(3); k++) f[14 + random(Math.max(1, f.length - 14))] ^= 1 << random(8)
      const out = far.in(1, f)
      expect(out.length + far.dropped().length).toBeGreaterThan(0)
    }
  }
})

describe('what a GRE device looks at', slowly, () => {
  const from = (proto: number, body: number[], o: { v6?: boolean; tos?: number } = {}): Uint8Array =>
    ipFrame(proto, Uint8Array.from(body), {
      src: o.v6 ? 'fd00:1::2' : '10.0.1.2',
      dst: o.v6 ? 'fd00:1::1' : '10.0.1.1',
      tos: o.tos,
      to: '02:00:00:00:01:01',
      from: '02:00:00:00:02:01',
    })
  const be32 = (n: number): number[] => [n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255]
  const packet = Array.from(first.subarray(14))

  test('keys: each device its own, none is another than 0, and the external one takes the rest', () => {
    const box = new Box(
      1,
      'ip link add t0 type gretap local 10.0.1.1 remote 10.0.1.2 key 5',
      'ip link add t1 type gretap local 10.0.1.1 remote 10.0.1.2',
      'ip link add t2 type gretap local 10.0.1.1 remote 10.0.1.2 key 0',
      'ip link add t3 type gretap external',
      ...['t0', 't1', 't2', 't3'].flatMap((x, i) => [
        `ip link set ${x} up`,
        `tc qdisc add dev ${x} clsact`,
        `tc filter add dev ${x} ingress protocol all pref 1 flower action skbmod set dmac 02:00:00:00:00:0${i + 1} pipe ${SECOND} p0`,
      ]),
    )
    const took = (key: number[] | null): number[] =>
      box
        .in(1, from(47, [key ? 0x20 : 0, 0, 0x65, 0x58, ...(key ?? []), ...first]))
        .map(([port, f]) => (port === 0 ? f[5] : -1))
    expect([took(be32(5)), took(null), took(be32(0)), took(be32(6))]).toEqual([[1], [2], [3], [4]])
    box.run('ip link del t3')
    // Nobody has key 6 now: the sender hears that the port is unreachable.
    const told = box.in(1, from(47, [0x20, 0, 0x65, 0x58, ...be32(6), ...first]))
    expect(told.map(([port, f]) => [port, f[23], f[34], f[35]])).toEqual([[1, 1, 3, 3]])
  })

  test('sequence numbers only go up, and checksums must be there where they are wanted, and only there', () => {
    const box = new Box(
      1,
      'ip link add t0 type gre local 10.0.1.1 remote 10.0.1.2 iseq',
      'ip link set t0 up',
      'tc qdisc add dev t0 clsact',
      `tc filter add dev t0 ingress protocol all pref 1 flower ${SECOND} p0`,
    )
    const seq = (n: number | null): number =>
      box.in(1, from(47, [n === null ? 0 : 0x10, 0, 8, 0, ...(n === null ? [] : be32(n)), ...packet])).length
    expect([seq(7), seq(6), seq(8), seq(8), seq(null), seq(100), seq(99)]).toEqual([1, 0, 1, 0, 0, 1, 0])
    expect(box.dropped()).toEqual(Array.from({ length: 4 }, () => 'tunnel_seq'))
    const header = [0x90, 0, 8, 0, 0, 0, 0, 0, ...be32(200)]
    const bytes = Uint8Array.from([...header, ...packet])
    view(bytes).setUint16(4, complement(sum(view(bytes), 0, bytes.length)))
    expect(box.in(1, from(47, Array.from(bytes)))).toEqual([])
    bytes[4] ^= 1
    expect(box.in(1, from(47, Array.from(bytes)))).toEqual([])
    expect(box.dropped()).toEqual(['tunnel_header', 'tunnel_csum'])
  })

  test('version, routing bit, and what is cut short', () => {
    const box = new Box(1, 'ip link add t0 type gretap external', 'ip link set t0 up')
    const tries = [
      [0x40, 0],
      [0, 1],
      [0, 7],
    ].map(([x, y]) => from(47, [x, y, 0x65, 0x58, ...first]))
    for (const f of [
      ...tries,
      from(47, [0x20, 0, 0x65, 0x58]),
      from(47, [0xb0, 0, 0x65, 0x58, 0, 0, 0, 0, 1, 2, 3, 4]),
    ])
      expect(box.in(1, f)).toEqual([])
    expect(new Set(box.dropped())).toEqual(new Set(['tunnel_header']))
  })

  test('Ethernet frames reach a gre device when there is no gretap, as packets without Ethernet header', () => {
    const box = new Box(
      1,
      'ip link add t0 type gre external',
      'ip link set t0 up',
      'tc qdisc add dev t0 clsact',
      `tc filter add dev t0 ingress protocol 0x6558 pref 1 flower ${SECOND} p0`,
    )
    expect(box.in(1, from(47, [0, 0, 0x65, 0x58, ...first]))).toEqual([[0, first]])
  })

  test.each([false, true])('ECN comes in, over IPv6: %s', (v6) => {
    const box = new Box(
      1,
      `ip link add t0 type ${v6 ? 'ip6gretap' : 'gretap'} external`,
      'ip link set t0 up',
      'tc qdisc add dev t0 clsact',
      `tc filter add dev t0 ingress protocol all pref 1 flower ${SECOND} p0`,
    )
    const inner = (tos: number): Uint8Array => udp({ src: '9.9.9.9', dst: '1.1.1.1', tos, sport: 1, dport: 2 })
    const through = (outerTos: number, tos: number): number | string => {
      const out = box.in(1, from(47, [0, 0, 0x65, 0x58, ...inner(tos)], { v6, tos: outerTos }))
      return out.length === 0 ? box.dropped().join() : out[0][1][15]
    }
    expect([through(3, 2), through(3, 0), through(1, 2), through(2, 1), through(0, 3)]).toEqual([
      3,
      'tunnel_ecn',
      1,
      1,
      3,
    ])
  })

  test('an inner packet that may not be cut and is longer than the device takes is not sent', () => {
    const box = new Box(
      1,
      'ip link add t0 type gretap external',
      'ip link set t0 up',
      'tc qdisc add dev p0 clsact',
      `tc filter add dev p0 ingress protocol all pref 1 flower action tunnel_key set src_ip 10.0.1.1 dst_ip 10.0.1.2 id 1 nocsum ${SECOND} t0`,
    )
    const big = (fragment: number, n: number): number =>
      box.in(0, udp({ src: '9.9.9.9', dst: '1.1.1.1', sport: 1, dport: 2, fragment, data: new Uint8Array(n - 28) }))
        .length
    // The device's MTU is 1462; with a key 1458 fit one packet, and what may be cut leaves in two.
    expect([big(0x4000, 1462), big(0x4000, 1463), big(0, 1458), big(0, 1463)]).toEqual([2, 0, 1, 2])
    expect(box.dropped()).toEqual(['pkt_too_big'])
  })

  test('… and its source is told, when the packet was for us', () => {
    const box = new Box(
      1,
      'ip addr add 9.9.9.1/24 dev p0',
      'ip neigh add 9.9.9.9 lladdr 02:aa:00:00:00:01 dev p0 nud permanent',
      'ip -6 addr add 2001:db8::1/64 dev p0 nodad',
      'ip -6 neigh add 2001:db8::9 lladdr 02:aa:00:00:00:01 dev p0 nud permanent',
      'ip link add t0 type gretap external',
      'ip link add t1 type ip6gretap external',
      'ip link set t0 up',
      'ip link set t1 up',
      'tc qdisc add dev p0 clsact',
      `tc filter add dev p0 ingress protocol ip pref 1 flower dst_ip 1.1.1.6 action tunnel_key set src_ip fd00:1::1 dst_ip fd00:1::2 id 1 nocsum ${SECOND} t1`,
      `tc filter add dev p0 ingress protocol ipv6 pref 2 flower dst_ip 2001:db8:6::1 action tunnel_key set src_ip fd00:1::1 dst_ip fd00:1::2 id 1 nocsum ${SECOND} t1`,
      `tc filter add dev p0 ingress protocol all pref 3 flower action tunnel_key set src_ip 10.0.1.1 dst_ip 10.0.1.2 id 1 nocsum ${SECOND} t0`,
    )
    const told = (dst: string, n: number, fragment = 0, to = '02:00:00:00:01:00'): string[] => {
      const v6 = dst.includes(':')
      const data = new Uint8Array(n - (v6 ? 48 : 28))
      const out = box.in(0, udp({ src: v6 ? '2001:db8::9' : '9.9.9.9', dst, sport: 1, dport: 2, fragment, to, data }))
      return out.map(([port, f]) => {
        if (port !== 0) return 'sent'
        const d = view(f)
        return d.getUint16(12) === 0x800
          ? `icmp ${f[34]}/${f[35]} ${d.getUint16(40)} to ${f.slice(30, 34).join('.')}`
          : `icmp6 ${f[54]}/${f[55]} ${d.getUint32(58)}`
      })
    }
    expect([
      told('1.1.1.1', 1463, 0x4000),
      told('1.1.1.1', 1463, 0x4000, '02:bb:00:00:00:01'),
      told('2001:db8:4::1', 1463),
      told('1.1.1.6', 1438),
      told('1.1.1.6', 1439),
      told('1.1.1.6', 1439, 0, '02:bb:00:00:00:01'),
      told('2001:db8:6::1', 1439),
      told('2001:db8:6::1', 1439, 0, '02:bb:00:00:00:01'),
    ]).toEqual([
      ['icmp 3/4 1462 to 9.9.9.9'],
      [],
      ['icmp6 2/0 1462'],
      ['sent'],
      ['icmp 3/4 1442 to 9.9.9.9'],
      [],
      ['icmp6 2/0 1442'],
      ['icmp6 2/0 1442'],
    ])
  })

  test('erspan cuts what is longer than the device takes, and says so', () => {
    const [near] = ends(ROWS['erspan external, version 1'])
    near.run('ip link set t0 mtu 100')
    const long = tagged(
      udp({ src: '9.9.9.9', dst: '1.1.1.1', tos: 0xe0, sport: 1, dport: 2, data: new Uint8Array(300) }),
      5,
    )
    const [[, sent]] = near.in(0, long)
    const { text, inner } = outer(sent)
    // vlan 5, class 7, tag in the frame, cut, session 100
    expect(text).toMatch(/erspan 1005fc64000004d2$/)
    expect(hex(inner)).toBe(hex(long.subarray(0, 114)))
  })

  test('a fragmented outer packet and one with IP options reach the tunnel', () => {
    const [near, far] = ends(ROWS['gretap external'])
    const large = udp({ src: '9.9.9.9', dst: '1.1.1.1', sport: 1, dport: 2, data: new Uint8Array(1440) })
    const parts = near.in(0, large)
    expect(parts.length).toBe(2)
    expect(far.in(1, parts[0][1])).toEqual([])
    expect(far.in(1, parts[1][1])).toEqual([[0, large]])
  })

  test('a packet from a device of layer 3 that no rule takes is the host’s', () => {
    const box = new Box(1, 'ip link add t0 type gre external', 'ip link set t0 up')
    // To an address of ours where nobody listens: an ICMP error, by the route to its source.
    const inner = ip(17, new Uint8Array([0, 1, 0, 2, 0, 8, 0, 0]), { src: '10.0.1.2', dst: '10.0.1.1' })
    const out = box.in(1, from(47, [0, 0, 8, 0, ...inner]))
    expect(out.map(([port, f]) => [port, f[23], f[34], f[35]])).toEqual([[1, 1, 3, 3]])
  })
})

describe('MPLS behind UDP', slowly, () => {
  const lse = [0x00, 0x06, 0x41, 0x40]
  const frame = ethernet(0x8847, Uint8Array.from([...lse, ...first.subarray(14)]))
  test('labels in, labels out; IP is not carried', () => {
    const [near, far] = ends({
      device: 'type bareudp dstport 6635 ethertype mpls_uc',
      key: 'id 0 dst_port 1 ttl 64 csum',
      match: 'enc_key_id 0',
      headers: '',
    })
    const [[, sent]] = near.in(0, frame)
    expect(outer(sent).text).toBe('tos 0 ttl 64 udp 6635 csum')
    expect(far.in(1, sent)).toEqual([[0, frame.subarray(14)]])
    expect(near.in(0, first)).toEqual([])
    expect(near.dropped()).toEqual(['tunnel_protocol'])
  })
})

describe('IP in IP', slowly, () => {
  test('what nobody wants: the port is unreachable where there are such devices, the protocol where not', () => {
    const box = new Box(1)
    const inner = ip(17, payload, { src: '9.9.9.9', dst: '1.1.1.1' })
    const o = { src: '10.0.1.2', dst: '10.0.1.1', to: '02:00:00:00:01:01', from: '02:00:00:00:02:01' }
    const told = (): number[][] => box.in(1, ipFrame(4, inner, o)).map(([port, f]) => [port, f[23], f[34], f[35]])
    expect(told()).toEqual([[1, 1, 3, 2]])
    box.run('ip link add t0 type ipip local 10.0.1.1 remote 10.0.1.9', 'ip link set t0 up')
    expect(told()).toEqual([[1, 1, 3, 3]])
  })
})

describe('ip link', slowly, () => {
  const lines = (box: Box, name: string): string[] => box.run(`ip -d link show dev ${name}`).trimEnd().split('\n')
  test('shows what a device was told', () => {
    const box = new Box(1)
    const shown = (words: string): string => {
      box.run(`ip link add x ${words}`)
      const text = lines(box, 'x')
      box.run('ip link del x')
      return `${text[0].replace(/^\d+: x(@NONE)?: /, '')}|${text[1].trim().replace(/(ether) .*/, '$1')}|${text[2].trim().replace(/ addrgenmode.*/, '')}`
    }
    expect([
      shown('type gretap external'),
      shown('type gre external'),
      shown('type gre local 10.0.1.1 remote 10.0.1.2 key 5 seq'),
      shown('type ip6gretap external'),
      shown('type ip6gre local fd00:1::1 remote fd00:1::2 okey 7'),
      shown('type erspan local 10.0.1.1 remote 10.0.1.2 seq key 3 erspan_ver 2 erspan_dir egress erspan_hwid 4'),
      shown('type ip6erspan external'),
      shown('type bareudp dstport 6635 ethertype mpls_uc'),
      shown('type ipip local 10.0.1.1 remote 10.0.1.2'),
      shown('type sit local 10.0.1.1 remote 10.0.1.2 mode ip6ip ttl 9 tos 0x10'),
      shown('type ip6tnl local fd00:1::1 remote fd00:1::2 encaplimit none'),
      shown('type ipip external'),
    ]).toMatchInlineSnapshot(`
      [
        "<BROADCAST,MULTICAST> mtu 1462 qdisc noop state DOWN mode DEFAULT group default qlen 1000|link/ether|gretap external remote any local any ttl inherit",
        "<NOARP> mtu 1476 qdisc noop state DOWN mode DEFAULT group default qlen 1000|link/none 00:00:00:00 brd 00:00:00:00 promiscuity 0  allmulti 0 minmtu 0 maxmtu 0|gre external remote any local any ttl inherit",
        "<POINTOPOINT,NOARP> mtu 1468 qdisc noop state DOWN mode DEFAULT group default qlen 1000|link/gre 10.0.1.1 peer 10.0.1.2 promiscuity 0  allmulti 0 minmtu 0 maxmtu 0|gre remote 10.0.1.2 local 10.0.1.1 ttl inherit ikey 0.0.0.5 okey 0.0.0.5 iseq oseq",
        "<BROADCAST,MULTICAST> mtu 1434 qdisc noop state DOWN mode DEFAULT group default qlen 1000|link/ether|ip6gretap external remote any local any hoplimit inherit encaplimit 0 tclass 0x00 flowlabel 0x00000",
        "<POINTOPOINT,NOARP> mtu 1444 qdisc noop state DOWN mode DEFAULT group default qlen 1000|link/gre6 fd00:1::1 peer fd00:1::2 promiscuity 0  allmulti 0 minmtu 0 maxmtu 0|ip6gre remote fd00:1::2 local fd00:1::1 hoplimit 64 encaplimit 4 tclass 0x00 flowlabel 0x00000 okey 0.0.0.7",
        "<BROADCAST,MULTICAST> mtu 1446 qdisc noop state DOWN mode DEFAULT group default qlen 1000|link/ether|erspan remote 10.0.1.2 local 10.0.1.1 ttl inherit ikey 0.0.0.3 okey 0.0.0.3 iseq oseq erspan_ver 2 erspan_dir egress erspan_hwid 0x4",
        "<BROADCAST,MULTICAST> mtu 1422 qdisc noop state DOWN mode DEFAULT group default qlen 1000|link/ether|ip6erspan external remote any local any hoplimit inherit encaplimit 0 tclass 0x00 flowlabel 0x00000 erspan_index 0 erspan_ver 1",
        "<POINTOPOINT,MULTICAST,NOARP> mtu 1500 qdisc noop state DOWN mode DEFAULT group default qlen 1000|link/none  promiscuity 0  allmulti 0 minmtu 68 maxmtu 65527|bareudp dstport 6635 ethertype mpls_uc srcportmin 0 nomultiproto",
        "<POINTOPOINT,NOARP> mtu 1480 qdisc noop state DOWN mode DEFAULT group default qlen 1000|link/ipip 10.0.1.1 peer 10.0.1.2 promiscuity 0  allmulti 0 minmtu 0 maxmtu 0|ipip any remote 10.0.1.2 local 10.0.1.1 ttl inherit pmtudisc",
        "<POINTOPOINT,NOARP> mtu 1480 qdisc noop state DOWN mode DEFAULT group default qlen 1000|link/sit 10.0.1.1 peer 10.0.1.2 promiscuity 0  allmulti 0 minmtu 1280 maxmtu 65555|sit ip6ip remote 10.0.1.2 local 10.0.1.1 ttl 9 tos 0x10 pmtudisc",
        "<POINTOPOINT,NOARP> mtu 1460 qdisc noop state DOWN mode DEFAULT group default qlen 1000|link/tunnel6 fd00:1::1 peer fd00:1::2 promiscuity 0  allmulti 0 minmtu 68 maxmtu 65535|ip6tnl any remote fd00:1::2 local fd00:1::1 hoplimit 64 encaplimit none tclass 0x00 flowlabel 0x00000",
        "<NOARP> mtu 1480 qdisc noop state DOWN mode DEFAULT group default qlen 1000|link/ipip 0.0.0.0 brd 0.0.0.0 promiscuity 0  allmulti 0 minmtu 0 maxmtu 0|ipip external any remote any local any ttl inherit pmtudisc",
      ]
    `)
  })
  test('has the least and the largest MTU of its kind', () => {
    const box = new Box(1)
    const said = (line: string): string => {
      try {
        box.run(line)
        return 'ok'
      } catch (e) {
        return (e as Error).message.trim().replace(/^(Error|RTNETLINK answers): /, '')
      }
    }
    // What `ip -d link show` says of it, then what becomes of MTUs that it is given: when it is made, and later.
    const range = (type: string, ...mtus: number[]): string => {
      box.run(`ip link add x ${type}`)
      const shown = /minmtu (\d+) maxmtu (\d+)/.exec(lines(box, 'x').join(' '))
      const later = mtus.map((mtu) => said(`ip link set x mtu ${mtu}`))
      box.run('ip link del x')
      const made = mtus.map((mtu) => {
        const text = said(`ip link add x mtu ${mtu} ${type}`)
        if (text !== 'ok') return text
        const is = /mtu (\d+)/.exec(lines(box, 'x')[0])
        box.run('ip link del x')
        return is?.[1]
      })
      return [`${shown?.[1]} ${shown?.[2]}`, ...later, '|', ...made].join('; ')
    }
    const few = 'mtu less than device minimum'
    const many = 'mtu greater than device maximum'
    const own = 'MTU must be between 68 and 65535.'
    const invalid = 'Invalid argument'
    const ends = 'local 10.0.1.1 remote 10.0.1.2'
    const ends6 = 'local fd00:1::1 remote fd00:1::2'
    const is = (...words: string[]): string => words.join('; ')
    expect(range('type dummy', 10, 70000)).toBe(is('0 0', 'ok', 'ok', '|', '10', '70000'))
    expect(range('type vxlan external dstport 4789', 67, 68, 65536)).toBe(
      is('68 65535', `${few}.`, 'ok', `${many}.`, '|', own, '68', own),
    )
    expect(range('type geneve external', 67, 65465, 65466, 65506)).toBe(
      is('68 65465', `${few}.`, 'ok', `${many}.`, `${many}.`, '|', `${few}.`, '65465', '65465', `${many}.`),
    )
    expect(range('type geneve id 5 remote 10.0.1.2', 65485, 65486)).toBe(
      is('68 65485', 'ok', `${many}.`, '|', '65485', '65485'),
    )
    expect(range('type bareudp dstport 6635 ethertype mpls_uc', 67, 65527, 65528)).toBe(
      is('68 65527', `${few}.`, 'ok', `${many}.`, '|', `${few}.`, '65527', `${many}.`),
    )
    expect(range('type gretap external', 67, 65497, 65498)).toBe(
      is('68 0', `${few}.`, 'ok', invalid, '|', `${few}.`, '65497', '65497'),
    )
    expect(range(`type gre ${ends} key 5`, 67, 65507, 65508)).toBe(
      is('0 0', invalid, 'ok', invalid, '|', '68', '65507', '65507'),
    )
    expect(range(`type erspan ${ends} seq key 3`, 67, 65485, 65486)).toBe(
      is('68 0', `${few}.`, 'ok', invalid, '|', `${few}.`, '65485', '65485'),
    )
    expect(range(`type ip6gretap ${ends6}`, 67, 65477, 65478)).toBe(
      is('68 0', `${few}.`, 'ok', invalid, '|', `${few}.`, '65477', '1434'),
    )
    expect(range(`type ip6gre ${ends6}`, 67, 65491, 65492)).toBe(
      is('0 0', invalid, 'ok', invalid, '|', '1448', '65491', '1448'),
    )
    expect(range(`type ipip ${ends}`, 67, 65515, 65516)).toBe(
      is('0 0', invalid, 'ok', invalid, '|', '68', '65515', '65515'),
    )
    expect(range(`type sit ${ends}`, 1279, 65555, 65556)).toBe(
      is('1280 65555', `${few}.`, 'ok', `${many}.`, '|', `${few}.`, '65555', `${many}.`),
    )
    expect(range(`type ip6tnl mode ip6ip6 ${ends6}`, 67, 1279, 65535, 65536)).toBe(
      is('68 65535', `${few}.`, invalid, 'ok', `${many}.`, '|', '1452', '1452', '65535', '1452'),
    )
  })
  test('refuses what the kernel refuses', () => {
    const box = new Box(1, 'ip link add t0 type gretap external', 'ip link add t1 type ip6gre external')
    const refusal = (words: string): string => {
      try {
        box.run(`ip link add x ${words}`)
      } catch (e) {
        return (e as Error).message.trim()
      }
      box.run('ip link del x')
      return ''
    }
    expect([
      refusal('type gretap external'),
      refusal('type ip6gretap external'),
      refusal('type ip6erspan external'),
      refusal('type erspan local 10.0.1.1 remote 10.0.1.2 key 3'),
      refusal('type erspan local 10.0.1.1 remote 10.0.1.2 seq key 1024'),
      refusal('type gre local 10.0.1.1'),
      refusal('type ip6gre local fd00:1::1 remote fd00:1::2 dscp inherit'),
    ]).toMatchInlineSnapshot(`
      [
        "RTNETLINK answers: File exists",
        "RTNETLINK answers: File exists",
        "",
        "Error: erspan: it has sequence numbers and a key, and nothing else.",
        "Error: erspan: the key has ten bits.",
        "Error: gre: a device without a remote is not supported.",
        "Error: ip6gre: dscp inherit, fwmark inherit and allow-localremote are not supported.",
      ]
    `)
  })
})
