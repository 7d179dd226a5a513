// What packets are to their connections: each protocol's beginning, middle and end, what is invalid, zones, marks,
// labels, fragments, what is forgotten and when, and a table that is full.
import { describe, expect, test, vi } from 'vitest'
import { DROP_CT, DROP_CT_FULL, DROP_FRAG_TIMEOUT } from '../memory/layout/drop.ts'
import { fragments, ipFrame, type TcpText, tagged, tcp, udp } from '../testing/packets.ts'
import { connectionCount, earlyDrops } from './table.ts'
import { icmp, packetOf, World } from './world.fixture.ts'

const FIN = 1
const SYN = 2
const RST = 4
const PSH = 8
const ACK = 16

vi.setConfig({ testTimeout: 60000 })

const A = '10.0.0.1'
const B = '10.0.0.2'
const A6 = 'fd00::1'
const B6 = 'fd00::2'

/** A connection of a client at p0 and a server at p1, by the flags and numbers of its segments. */
const client = (flags: number, sequence: number, acknowledgment = 0, o: Partial<TcpText> = {}): Uint8Array =>
  tcp({ src: A, dst: B, sport: 4000, dport: 80, flags, sequence, acknowledgment, ...o })
const server = (flags: number, sequence: number, acknowledgment: number, o: Partial<TcpText> = {}): Uint8Array =>
  tcp({ src: B, dst: A, sport: 80, dport: 4000, flags, sequence, acknowledgment, ...o })

function established(w = new World()): World {
  expect(w.send(0, client(SYN, 100))).toBe('new')
  expect(w.send(1, server(SYN | ACK, 500, 101))).toBe('est rpl')
  expect(w.send(0, client(ACK, 101, 501))).toBe('est')
  return w
}
const state = (w: World): string | undefined => w.connections[0]?.state

describe('TCP', () => {
  test('a handshake makes a connection', () => {
    const w = new World()
    w.send(0, client(SYN, 100))
    expect(w.connections).toEqual([
      {
        protocol: 'tcp',
        number: 6,
        zone: 0,
        state: 'SYN_SENT',
        timeout: 120,
        original: { src: A, dst: B, sport: 4000, dport: 80 },
        reply: { src: B, dst: A, sport: 80, dport: 4000 },
        status: ['UNREPLIED'],
        mark: 0,
        label: '',
      },
    ])
    w.send(1, server(SYN | ACK, 500, 101))
    expect(w.connections[0]).toMatchObject({ state: 'SYN_RECV', timeout: 60, status: [] })
    w.send(0, client(ACK, 101, 501))
    expect(w.connections[0]).toMatchObject({
      state: 'ESTABLISHED',
      timeout: 5 * 24 * 3600,
      status: ['ASSURED', 'OFFLOAD'],
    })
  })

  test('and goodbyes end it', () => {
    const w = established()
    expect(w.send(0, client(FIN | ACK, 101, 501))).toBe('est')
    expect(state(w)).toBe('FIN_WAIT')
    expect(w.send(1, server(ACK, 501, 102))).toBe('est rpl')
    expect(state(w)).toBe('CLOSE_WAIT')
    expect(w.send(1, server(FIN | ACK, 501, 102))).toBe('est rpl')
    expect(state(w)).toBe('LAST_ACK')
    expect(w.send(0, client(ACK, 102, 502))).toBe('est')
    expect(w.connections[0]).toMatchObject({ state: 'TIME_WAIT', timeout: 120 })
    w.wait(121000)
    expect(w.connections).toEqual([])
  })

  test('a SYN after the end begins a new one', () => {
    const w = established()
    for (const [port, f] of [
      [0, client(FIN | ACK, 101, 501)],
      [1, server(FIN | ACK, 501, 102)],
      [0, client(ACK, 102, 502)],
    ] as const)
      w.send(port, f)
    expect(state(w)).toBe('TIME_WAIT')
    expect(w.send(0, client(SYN, 90000))).toBe('new')
    expect(w.connections).toHaveLength(1)
    expect(w.connections[0]).toMatchObject({ state: 'SYN_SENT', status: ['UNREPLIED'] })
  })

  test('a reset ends it soon', () => {
    const w = established()
    expect(w.send(1, server(RST | ACK, 501, 101))).toBe('est rpl')
    expect(w.connections[0]).toMatchObject({ state: 'CLOSE', timeout: 10 })
  })

  test('a refused one is forgotten at once', () => {
    const w = new World()
    w.send(0, client(SYN, 100))
    expect(w.send(1, server(RST | ACK, 0, 101))).toBe('est rpl')
    expect(w.connections).toEqual([])
  })

  test('nothing but a SYN or an ACK begins one', () => {
    const w = new World()
    for (const flags of [SYN | ACK, RST, RST | ACK, FIN | ACK, 0, SYN | FIN, FIN, SYN | RST, PSH])
      expect([flags, w.send(0, client(flags, 1, 1))]).toEqual([flags, 'inv'])
    expect(w.send(0, client(ACK, 1, 1))).toBe('new')
    expect(w.connections[0]).toMatchObject({ state: 'ESTABLISHED', status: ['UNREPLIED'], timeout: 300 })
  })

  test('an acknowledgement before there is anything to acknowledge is invalid', () => {
    const w = new World()
    w.send(0, client(SYN, 100))
    expect(w.send(0, client(ACK, 101, 501))).toBe('inv')
  })

  test('a segment outside the window is invalid, while the handshake is not over', () => {
    const w = new World()
    w.send(0, client(SYN, 100))
    w.send(1, server(SYN | ACK, 500, 101))
    expect(w.send(0, client(ACK, 101 + 100000, 501))).toBe('inv')
    expect(w.send(0, client(ACK, 101, 501 + 100000))).toBe('inv')
    expect(w.send(0, client(ACK, 101, 501))).toBe('est')
  })

  test('in the flow table windows are not looked at, but resets are', () => {
    const w = established()
    expect(w.send(0, client(ACK, 101 + 5000000, 501))).toBe('est')
    // A reset takes it out; what is not behind all that was acknowledged comes from somebody else.
    expect(w.send(1, server(RST, 5, 0))).toBe('inv')
    expect(state(w)).toBe('ESTABLISHED')
  })

  test('a wrong checksum is invalid, and so are a cut header and a wrong length', () => {
    const w = new World()
    const wrong = client(SYN, 100)
    wrong[wrong.length - 4] ^= 0xff
    expect(w.send(0, wrong)).toBe('inv')
    expect(w.send(0, ipFrame(6, new Uint8Array(12), { src: A, dst: B }))).toBe('inv')
    expect(w.connections).toEqual([])
  })

  test('IPv6, and a tag in front', () => {
    const w = new World()
    const o = { src: A6, dst: B6 }
    expect(w.send(0, client(SYN, 100, 0, o))).toBe('new')
    expect(w.send(1, server(SYN | ACK, 500, 101, { src: B6, dst: A6 }))).toBe('est rpl')
    expect(w.connections[0].original).toEqual({ src: A6, dst: B6, sport: 4000, dport: 80 })
    w.tc('filter add dev p0 ingress protocol 802.1q pref 9 flower action ct pipe action mirred egress redirect dev p3')
    expect(w.send(0, tagged(udp({ src: A, dst: B }), 5))).toBe('est')
  })
})

describe('UDP', () => {
  const ask = udp({ src: A, dst: B, sport: 1000, dport: 53 })
  const answer = udp({ src: B, dst: A, sport: 53, dport: 1000 })

  test('is new until it is answered', () => {
    const w = new World()
    expect(w.send(0, ask)).toBe('new')
    expect(w.send(0, ask)).toBe('new')
    expect(w.send(1, answer)).toBe('est rpl')
    expect(w.send(0, ask)).toBe('est')
    expect(w.connections[0]).toMatchObject({ status: [], timeout: 30 })
  })

  test('becomes a stream after two seconds', () => {
    const w = new World()
    w.send(0, ask)
    w.send(1, answer)
    w.wait(2100)
    expect(w.send(0, ask)).toBe('est')
    expect(w.connections[0]).toMatchObject({ status: ['ASSURED', 'OFFLOAD'], timeout: 120 })
    w.wait(60000)
    expect(w.send(1, answer)).toBe('est rpl') // it left the flow table after 30 s, and came back
    expect(w.connections[0]).toMatchObject({ status: ['ASSURED', 'OFFLOAD'], timeout: 120 })
    w.wait(121000)
    expect(w.connections).toEqual([])
    expect(w.send(1, answer)).toBe('new')
  })

  test('is forgotten after thirty seconds of silence', () => {
    const w = new World()
    w.send(0, ask)
    w.wait(29000)
    expect(w.send(1, answer)).toBe('est rpl')
    w.wait(31000)
    expect(w.connections).toEqual([])
    expect(w.send(0, ask)).toBe('new')
  })

  test.each([
    ['a wrong checksum', (f: Uint8Array) => (f[41] ^= 1)],
    ['a length longer than the packet', (f: Uint8Array) => (f[38] = 9)],
    ['a length shorter than its header', (f: Uint8Array) => (f[39] = 7)],
  ])('%s is invalid', (_, damage) => {
    const w = new World()
    const f = ask.slice()
    damage(f)
    expect(w.send(0, f)).toBe('inv')
  })

  test('without a checksum it is fine, and what is behind the IP packet is cut off', () => {
    const w = new World()
    const f = new Uint8Array(80)
    f.set(udp({ src: A, dst: B, checksum: false, data: new Uint8Array(4) }))
    expect(w.send(0, f)).toBe('new')
    expect(w.last.length).toBe(14 + 20 + 8 + 4)
  })
})

describe('ICMP', () => {
  const request = icmp(8, 0, 0x70001, new Uint8Array(8), { src: A, dst: B })
  const reply = icmp(0, 0, 0x70001, new Uint8Array(8), { src: B, dst: A })

  test('an echo is answered; an answer to nothing is invalid', () => {
    const w = new World()
    expect(w.send(1, reply)).toBe('inv')
    expect(w.send(0, request)).toBe('new')
    expect(w.send(1, reply)).toBe('est rpl')
    expect(w.connections[0].original).toEqual({ src: A, dst: B, id: 7, type: 8, code: 0 })
    expect(w.send(0, icmp(8, 0, 0x80001, new Uint8Array(8), { src: A, dst: B }))).toBe('new')
  })

  test('an unknown type and a wrong checksum are invalid', () => {
    const w = new World()
    expect(w.send(0, icmp(40, 0, 0, new Uint8Array(8), { src: A, dst: B }))).toBe('inv')
    const f = request.slice()
    f[40] ^= 1
    expect(w.send(0, f)).toBe('inv')
  })

  test('an error is related to the connection of the packet that it carries', () => {
    const w = new World()
    const sent = udp({ src: A, dst: B })
    w.send(0, sent)
    const error = (to: string, inner: Uint8Array) => icmp(3, 3, 0, inner, { src: '10.0.0.9', dst: to })
    expect(w.send(1, error(A, packetOf(sent, 28)))).toBe('rel rpl')
    expect(w.send(1, error('10.0.0.8', packetOf(sent, 28)))).toBe('inv') // not sent to who sent it
    expect(w.send(1, error(A, packetOf(udp({ src: A, dst: B, dport: 54 }), 28)))).toBe('inv')
    expect(w.send(1, error(A, packetOf(sent, 20)))).toBe('inv')
    expect(w.send(0, error(B, packetOf(udp({ src: B, dst: A, sport: 53, dport: 1000 }), 28)))).toBe('rel')
  })

  test('ICMPv6 too; neighbour discovery is never tracked', () => {
    const w = new World()
    const o = { src: A6, dst: B6 }
    expect(w.send(0, icmp(128, 0, 0x10001, new Uint8Array(8), o))).toBe('new')
    expect(w.send(1, icmp(129, 0, 0x10001, new Uint8Array(8), { src: B6, dst: A6 }))).toBe('est rpl')
    expect(w.send(0, icmp(135, 0, 0, new Uint8Array(16), o))).toBe('inv')
    const sent = udp(o)
    w.send(0, sent)
    expect(w.send(1, icmp(1, 4, 0, packetOf(sent), { src: 'fd00::9', dst: A6 }))).toBe('rel rpl')
    expect(w.connections).toHaveLength(2)
  })
})

describe('other protocols', () => {
  test('GRE and those without ports have one connection for two hosts', () => {
    const w = new World()
    for (const proto of [47, 50, 89]) {
      expect(w.send(0, ipFrame(proto, new Uint8Array(16), { src: A, dst: B }))).toBe('new')
      expect(w.send(1, ipFrame(proto, new Uint8Array(16), { src: B, dst: A }))).toBe('est rpl')
    }
    expect(w.connections.map((c) => [c.protocol, c.timeout]).sort()).toEqual([
      ['50', 600],
      ['89', 600],
      ['gre', 30],
    ])
  })

  test('what is not IP, or cut short, is dropped', () => {
    const w = new World()
    w.tc('filter add dev p0 ingress protocol all pref 30 flower action ct')
    w.send(
      0,
      Uint8Array.from({ length: 40 }, (_, i) => (i === 12 ? 0x88 : i === 13 ? 0xb5 : 1)),
    )
    w.send(0, udp({}).slice(0, 14 + 12))
    expect(w.drops()).toEqual({ [DROP_CT]: 2 })
  })
})

describe('zones, marks and labels', () => {
  const ask = udp({ src: A, dst: B })

  test('a connection is of one zone', () => {
    const w = new World({ track: 'zone 5', commit: 'action ct commit zone 5' })
    expect(w.send(0, ask)).toBe('new')
    w.tc(
      'filter replace dev p1 ingress protocol ip pref 1 handle 1 flower ct_state -trk action ct zone 6 pipe action goto chain 1',
    )
    const answer = udp({ src: B, dst: A, sport: 53, dport: 1000 })
    expect(w.send(1, answer)).toBe('new') // committed in zone 5, where it is an answer
    expect(w.connections.map((c) => c.zone)).toEqual([5])
  })

  test('ct_zone, ct_mark and ct_label match what the connection has', () => {
    const label = '0123456789abcdef0123456789abcdef'
    const w = new World({ track: 'zone 7', commit: `action ct commit zone 7 mark 0x12/0xff label ${label}` })
    w.send(0, ask)
    expect(w.connections[0]).toMatchObject({ mark: 0x12, label })
    const match = `ct_zone 7 ct_mark 0x10/0xf0 ct_label ${label}/ffff0000000000000000000000000000`
    w.tc(`filter add dev p1 ingress protocol ip pref 1 chain 1 flower ${match} action mirred egress redirect dev p7`)
    expect(w.send(1, udp({ src: B, dst: A, sport: 53, dport: 1000 }))).toBe('inv')
    expect(w.send(1, udp({ src: B, dst: A, sport: 53, dport: 1001 }))).toBe('new')
  })

  test('a commit changes the mark of a connection that is there, under its mask', () => {
    const w = new World({ commit: 'action ct commit mark 0xff' })
    w.send(0, ask)
    w.tc('filter add dev p0 ingress protocol ip pref 1 chain 1 flower ip_proto udp action ct commit mark 0x100/0xf00')
    w.send(0, ask)
    expect(w.connections[0].mark).toBe(0x1ff)
  })

  test.each([
    [0, 'inv'], // the default zone has no template: a packet that was told to forget stays without
    [9, 'est'],
  ])('clear: the packet has no connection any more; then in zone %i', (zone, is) => {
    const w = new World({ track: `zone ${zone}`, commit: `action ct commit zone ${zone}` })
    w.send(0, ask)
    w.send(1, udp({ src: B, dst: A, sport: 53, dport: 1000 }))
    const add = 'filter add dev p0 ingress protocol ip pref 1'
    w.tc(`${add} chain 1 flower action ct clear pipe action goto chain 2`)
    w.tc(`${add} chain 2 flower ct_state -trk action ct zone ${zone} pipe action goto chain 3`)
    w.tc(`${add} chain 3 flower ct_state +trk+inv action mirred egress redirect dev p7`)
    w.tc(
      `filter add dev p0 ingress protocol ip pref 2 chain 3 flower ct_state +trk+est action mirred egress redirect dev p3`,
    )
    expect(w.send(0, ask)).toBe(is)
  })

  test('force: a packet the other way begins the connection anew', () => {
    const w = new World()
    w.send(0, ask)
    const answer = udp({ src: B, dst: A, sport: 53, dport: 1000 })
    w.tc(
      'filter add dev p1 ingress protocol ip pref 1 chain 1 flower ct_state +trk+rpl action ct commit force zone 0 mark 7',
    )
    w.send(1, answer)
    // In the default zone it stays without then, as after clear.
    expect(w.connections).toEqual([])
    const z = new World({ track: 'zone 3', commit: 'action ct commit zone 3' })
    z.send(0, ask)
    z.tc(
      'filter add dev p1 ingress protocol ip pref 1 chain 1 flower ct_state +trk+rpl action ct commit force zone 3 mark 7',
    )
    z.send(1, answer)
    expect(z.connections).toMatchObject([{ original: { src: B, dst: A }, mark: 7, status: ['UNREPLIED'] }])
  })

  test('without commit nothing is remembered', () => {
    const w = new World({ commit: 'action pass' })
    w.send(0, ask)
    expect(w.connections).toEqual([])
    expect(w.drops()[DROP_CT] ?? 0).toBe(0)
  })

  test('helpers are refused by name', () => {
    const w = new World()
    const words = 'filter add dev p0 ingress protocol ip pref 99 flower action ct commit helper ipv4-tcp-ftp'
    expect(() => w.tc(words)).toThrow('ct: helpers are not supported')
  })

  test('connmark and ctinfo find the connection', () => {
    const w = new World({ commit: 'action ct commit mark 0xb8000005' })
    w.send(0, ask)
    w.tc('filter add dev p1 egress protocol all pref 1 handle 5 fw action drop')
    w.tc('qdisc add dev p2 clsact')
    w.tc(
      'filter add dev p2 ingress protocol ip pref 1 flower action connmark pipe action ctinfo dscp 0xfc000000 0x00000005 cpmark 0xf',
    )
    w.send(2, ask)
    const [, f] = JSON.parse(w.tc('-s -j filter show dev p2 ingress'))
    expect(f.options.actions[0].stats.overlimits).toBe(1)
    expect(f.options.actions[1]).toMatchObject({ dscpset: 1, dscperror: 0, cpmarkset: 1 })
  })
})

describe('fragments', () => {
  const data = Uint8Array.from({ length: 3000 }, (_, i) => i)
  const whole = udp({ src: A, dst: B, data })

  test('are put together, tracked as one, and cut again as they were', () => {
    const w = new World()
    const parts = fragments(whole, 1480)
    expect(w.send(0, parts[2])).toBe('')
    expect(w.send(0, parts[0])).toBe('')
    expect(w.send(0, parts[1])).toBe('new, new, new')
    expect(w.frames).toEqual(parts)
    expect(w.connections).toHaveLength(1)
    expect(w.sw.datapath.freeSlots()).toBe(4096)
  })

  test('as many at a time as there are large slots, and then again', () => {
    const w = new World()
    for (let i = 0; i < 300; i++) {
      const parts = fragments(udp({ src: A, dst: B, id: i + 1, data }), 800)
      for (const p of parts.slice(1)) w.send(0, p)
      expect(w.send(0, parts[0])).toMatch(/new/)
    }
    expect(w.drops()).toEqual({})
  })

  test('of different zones are not mixed, and time out', () => {
    const w = new World({ track: 'zone 1' })
    const [first, second] = fragments(udp({ src: A, dst: B, data: data.slice(0, 100) }), 56)
    w.tc(
      'filter replace dev p1 ingress protocol ip pref 1 handle 1 flower ct_state -trk action ct zone 2 pipe action goto chain 1',
    )
    w.send(0, first)
    expect(w.send(1, second)).toBe('')
    w.wait(31000)
    expect(w.drops()).toEqual({ [DROP_FRAG_TIMEOUT]: 2 })
    expect(w.frames).toEqual([])
  })

  test('of IPv6', () => {
    const w = new World()
    const f = udp({ src: A6, dst: B6, data: data.slice(0, 200) })
    const part = (from: number, to: number, more: number): Uint8Array => {
      const body = new Uint8Array(8 + to - from)
      body[0] = 17
      new DataView(body.buffer).setUint16(2, from | more)
      new DataView(body.buffer).setUint32(4, 77)
      body.set(f.subarray(54 + from, 54 + to), 8)
      return ipFrame(44, body, { src: A6, dst: B6 })
    }
    w.send(0, part(0, 104, 1))
    expect(w.send(0, part(104, 208, 0))).toBe('new, new')
    expect(w.frames[0].slice(0, 58)).toEqual(part(0, 104, 1).slice(0, 58))
    expect(w.frames[1].slice(62)).toEqual(part(104, 208, 0).slice(62))
  })
})

describe('a table that is full', () => {
  const from = (i: number): Uint8Array => udp({ src: A, dst: B, sport: 1000 + i })

  test('gives up what is not assured for what is new', () => {
    const w = new World({ connections: 64 })
    for (let i = 0; i < 2000; i++) w.send(0, from(i))
    expect(connectionCount(w.sw.arena)).toBeLessThanOrEqual(64)
    expect(earlyDrops(w.sw.arena)).toBeGreaterThan(1000)
    expect(earlyDrops(w.sw.arena) + connectionCount(w.sw.arena) + (w.drops()[DROP_CT_FULL] ?? 0)).toBe(2000)
  })

  test('and drops, by name, what would need the room of an assured one', () => {
    const w = new World({ connections: 64 })
    for (let i = 0; i < 64; i++) {
      w.send(0, from(i))
      w.send(1, udp({ src: B, dst: A, sport: 53, dport: 1000 + i }))
    }
    w.wait(2500)
    for (let i = 0; i < 64; i++) w.send(0, from(i))
    expect(w.send(0, from(100))).toBe('')
    expect(w.drops()).toEqual({ [DROP_CT_FULL]: 1 })
    expect(w.connections).toHaveLength(64)
    w.wait(160000)
    expect(connectionCount(w.sw.arena)).toBe(0)
    expect(w.send(0, from(100))).toBe('new')
  })
})
