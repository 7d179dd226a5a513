// The host behind the ports, frame in and frame out, on the real datapath.

import { beforeEach, describe, expect, test } from 'vitest'
import { counterRead } from '../memory/counters.ts'
import { NETDEV_TX_COUNTER } from '../memory/layout/netdev.ts'
import { linkLocalEui64 } from '../net/addr.ts'
import { neighLookup, neighSnapshot } from '../net/neigh.ts'
import { frameText } from '../testing/frame_text.ts'
import * as P from '../testing/packets.ts'
import { addrAdd, address16, linkSet, neighAdd, neighDel, routeAdd } from '../testing/rtnl_messages.ts'
import * as Eth from '../wire/ethernet.ts'
import * as Ipv4 from '../wire/ipv4.ts'
import { NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST } from '../wire/netlink.ts'
import { NUD_DELAY, NUD_FAILED, NUD_PROBE, NUD_REACHABLE, NUD_STALE } from '../wire/rtm_neigh.ts'
import { AF_INET, AF_INET6, RTN_BLACKHOLE } from '../wire/rtm_route.ts'
import { truesize, UNRES_QLEN_BYTES } from './neighbour.ts'
import { type Sent, World } from './world.fixture.ts'

const ME = '02:00:00:00:00:01'
const PEER = '02:11:00:00:01:02'
let w: World
beforeEach(() => {
  w = new World()
  w.vxlan()
  w.ask(addrAdd('10.0.1.1/24', w.index('p1')), addrAdd('fd00:1::1/64', w.index('p1')))
})

const lines = (s: Sent[]): string[] => s.map((x) => `${x.port} ${frameText(x.frame)}`)
const state = (address: string): number => {
  const n = neighLookup(w.a, address.includes(':') ? AF_INET6 : AF_INET, address16(address), w.dev('p1'))
  return n === 0 ? -1 : neighSnapshot(w.a, n).state
}
const to = { to: ME, from: PEER }
const REPLACE = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE
const NS = 135
const NA = 136

describe('ARP', () => {
  test('is answered for every address of ours, and the asker is learned', () => {
    w.ask(addrAdd('10.0.2.1/24', w.index('p2')))
    const ask = (tpa: string, spa = '10.0.1.2'): string[] => lines(w.receive('p1', P.arp({ from: PEER, spa, tpa })))
    expect(ask('10.0.1.1')).toEqual([`p1 ${ME} > ${PEER} arp 10.0.1.1 is-at ${ME} to 10.0.1.2`])
    expect(ask('10.0.2.1')).toEqual([`p1 ${ME} > ${PEER} arp 10.0.2.1 is-at ${ME} to 10.0.1.2`])
    expect(state('10.0.1.2')).toBe(NUD_STALE)
    expect(ask('10.0.1.77')).toEqual([])
    expect(ask('10.0.1.77', '10.0.1.50')).toEqual([])
    expect(state('10.0.1.50'), 'somebody who does not ask for us').toBe(-1)
    expect(ask('10.0.1.1', '10.0.1.1'), 'our own address as sender').toEqual([])
    expect(ask('10.0.1.1', '0.0.0.0')).toEqual([`p1 ${ME} > ${PEER} arp 10.0.1.1 is-at ${ME} to 0.0.0.0`])
  })

  test('a reply is learned only by an entry that is there; a second one within a second is not', () => {
    const reply = (mac: string, o: Partial<P.ArpText> = {}): void =>
      void w.receive('p1', P.arp({ op: 2, from: mac, to: ME, spa: '10.0.1.2', tha: ME, tpa: '10.0.1.1', ...o }))
    reply(PEER)
    expect(state('10.0.1.2')).toBe(-1)
    w.now = 10
    w.tunnel('vxlan0', P.udp(), { dst: '10.0.1.2', src: '10.0.1.1' })
    w.now = 20
    reply(PEER)
    expect(state('10.0.1.2')).toBe(NUD_REACHABLE)
    w.now = 500
    reply('02:11:00:00:01:99')
    const mac = (): string =>
      P.macText(neighSnapshot(w.a, neighLookup(w.a, AF_INET, address16('10.0.1.2'), w.dev('p1'))).mac)
    expect(mac()).toBe(PEER)
    w.now = 1100
    reply('02:11:00:00:01:99')
    expect(mac()).toBe('02:11:00:00:01:99')
    w.now = 1200
    reply('02:11:00:00:01:98', { to: 'ff:ff:ff:ff:ff:ff', tha: '02:11:00:00:01:98', tpa: '10.0.1.2' })
    expect(mac(), 'gratuitous: at once').toBe('02:11:00:00:01:98')
    expect(state('10.0.1.2')).toBe(NUD_STALE)
  })

  test('malformed messages say nothing', () => {
    const good = P.arp({ from: PEER, spa: '10.0.1.2', tpa: '10.0.1.1' })
    for (const [at, v] of [
      [14, 9],
      [16, 9],
      [18, 5],
      [19, 6],
      [20, 7],
      [21, 9],
    ]) {
      const bad = good.slice()
      bad[at] = v
      expect(lines(w.receive('p1', bad))).toEqual([])
    }
    for (let n = 14; n < 42; n++) expect(w.receive('p1', good.slice(0, n))).toEqual([])
    expect(w.drops().arp).toBe(34)
  })
})

describe('neighbour discovery', () => {
  const ns = (o: Partial<P.NdText> = {}): Uint8Array =>
    P.nd({
      from: PEER,
      to: '33:33:ff:00:00:01',
      src: 'fd00:1::2',
      dst: 'ff02::1:ff00:1',
      type: NS,
      target: 'fd00:1::1',
      mac: PEER,
      ...o,
    })

  test('solicitations of our addresses are answered', () => {
    expect(lines(w.receive('p1', ns()))).toEqual([`p1 ${ME} > ${PEER} fd00:1::1 > fd00:1::2 na fd00:1::1 SO mac ${ME}`])
    expect(state('fd00:1::2'), 'it was used to answer').toBe(NUD_DELAY)
    expect(lines(w.receive('p1', ns({ to: ME, dst: 'fd00:1::1' })))).toEqual([
      `p1 ${ME} > ${PEER} fd00:1::1 > fd00:1::2 na fd00:1::1 S`,
    ])
    expect(lines(w.receive('p1', ns({ src: '::', mac: undefined })))).toEqual([
      `p1 ${ME} > 33:33:00:00:00:01 fd00:1::1 > ff02::1 na fd00:1::1 O mac ${ME}`,
    ])
    expect(w.receive('p1', ns({ target: 'fd00:1::77' }))).toEqual([])
    expect(w.receive('p1', ns({ ttl: 254 })), 'came through a router').toEqual([])
    expect(w.receive('p1', ns({ src: '::' })), 'detection with an address option').toEqual([])
    expect(w.drops()).toMatchObject({ nd: 2 })
  })

  test('link-local addresses are resolved like others', () => {
    const own = linkLocalEui64(Uint8Array.of(2, 0, 0, 0, 0, 1))
    expect(own).toEqual(address16('fe80::ff:fe00:1'))
    expect(lines(w.receive('p1', ns({ src: 'fe80::2', dst: 'ff02::1:ff00:1', target: 'fe80::ff:fe00:1' })))).toEqual([
      `p1 ${ME} > ${PEER} fe80::ff:fe00:1 > fe80::2 na fe80::ff:fe00:1 SO mac ${ME}`,
    ])
  })

  test('advertisements: override, solicited, and who is not asked is not learned', () => {
    const na = (flags: number, mac?: string): void =>
      void w.receive(
        'p1',
        P.nd({ from: PEER, to: ME, src: 'fd00:1::2', dst: 'fd00:1::1', type: NA, target: 'fd00:1::2', flags, mac }),
      )
    na(0x60000000, PEER)
    expect(state('fd00:1::2')).toBe(-1)
    w.tunnel('vxlan0', P.udp(), { dst: 'fd00:1::2', src: 'fd00:1::1' })
    na(0x60000000, PEER)
    expect(state('fd00:1::2')).toBe(NUD_REACHABLE)
    na(0x40000000, '02:11:00:00:01:99')
    const snap = neighSnapshot(w.a, neighLookup(w.a, AF_INET6, address16('fd00:1::2'), w.dev('p1')))
    expect([snap.state, P.macText(snap.mac)], 'another address without override: doubt').toEqual([NUD_STALE, PEER])
    na(0x20000000, '02:11:00:00:01:99')
    expect(state('fd00:1::2')).toBe(NUD_STALE)
  })

  test('every cut and every flipped byte is survived', () => {
    const good = ns()
    for (let n = 14; n < good.length; n++) w.receive('p1', good.slice(0, n))
    for (let i = 12; i < good.length; i++) {
      const bad = good.slice()
      bad[i] ^= 0xff
      w.receive('p1', bad)
    }
    expect(w.dp.freeSlots()).toBe(512)
  })
})

describe('next hops', () => {
  const tunnel = (dst: string, o: { frame?: Uint8Array; src?: string; csum?: boolean } = {}): string[] =>
    lines(
      w.tunnel('vxlan0', o.frame ?? P.udp(), {
        dst,
        src: o.src ?? (dst.includes(':') ? 'fd00:1::1' : '10.0.1.1'),
        csum: o.csum,
      }),
    )

  test('are asked for; packets wait and leave in order', () => {
    expect(tunnel('10.0.1.2')).toEqual([`p1 ${ME} > ff:ff:ff:ff:ff:ff arp who-has 10.0.1.2 tell 10.0.1.1`])
    expect(tunnel('10.0.1.2', { frame: P.udp({ dport: 54 }) })).toEqual([])
    const out = w.receive('p1', P.arp({ op: 2, ...to, spa: '10.0.1.2', tha: ME, tpa: '10.0.1.1' }))
    expect(lines(out).map((x) => x.replace(/udp \d+ /, 'udp X '))).toEqual(
      Array(2).fill(`p1 ${ME} > ${PEER} 10.0.1.1 > 10.0.1.2 udp X > 4789 length 68`),
    )
    expect(out.map((x) => x.frame[50 + 37])).toEqual([53, 54])
    expect(w.host.waiting().packets).toBe(0)
  })

  test('IPv6: solicited-node group, source of the packet that waits', () => {
    expect(tunnel('fd00:1::2')).toEqual([
      `p1 ${ME} > 33:33:ff:00:00:02 fd00:1::1 > ff02::1:ff00:2 ns fd00:1::2 mac ${ME}`,
    ])
  })

  test('three requests, a second apart; then those who waited are dropped, and the next packet asks again', () => {
    tunnel('10.0.1.2')
    tunnel('10.0.1.2')
    expect(w.advance(2999).map((x) => x.at)).toEqual([1000, 2000])
    expect(w.drops()).toEqual({})
    expect(w.advance(3500)).toEqual([])
    expect(w.drops()).toEqual({ neigh_failed: 2 })
    expect(state('10.0.1.2')).toBe(NUD_FAILED)
    expect(tunnel('10.0.1.2')).toHaveLength(1)
  })

  test('a stale one is used, and asked alone five seconds later', () => {
    w.ask(neighAdd('10.0.1.2', PEER, w.index('p1'), NUD_STALE))
    expect(tunnel('10.0.1.2')[0]).toContain(`${ME} > ${PEER} 10.0.1.1 > 10.0.1.2`)
    expect(state('10.0.1.2')).toBe(NUD_DELAY)
    expect(w.advance(4999)).toEqual([])
    const probes = w.advance(7900)
    expect(probes.map((x) => x.at)).toEqual([5000, 6000, 7000])
    expect(frameText(probes[0].frame)).toBe(`${ME} > ${PEER} arp who-has 10.0.1.2 tell 10.0.1.1`)
    expect(state('10.0.1.2')).toBe(NUD_PROBE)
    w.receive('p1', P.arp({ op: 2, ...to, spa: '10.0.1.2', tha: ME, tpa: '10.0.1.1' }))
    expect(state('10.0.1.2')).toBe(NUD_REACHABLE)
    w.advance(60000)
    expect(state('10.0.1.2')).toBe(NUD_STALE)
  })

  test('`ip neigh` says who it is: those who waited leave; deleted: they end', () => {
    tunnel('10.0.1.2')
    tunnel('10.0.1.3')
    w.ask(neighAdd('10.0.1.2', PEER, w.index('p1'), NUD_REACHABLE, REPLACE))
    expect(w.host.waiting().packets).toBe(1)
    w.ask(neighDel('10.0.1.3', w.index('p1')))
    expect(w.host.waiting().packets).toBe(0)
    expect(w.drops()).toEqual({ neigh_failed: 1 })
  })

  test('the port goes down: those who waited end', () => {
    tunnel('10.0.1.2')
    w.ask(linkSet(w.index('p1'), { up: false }))
    expect(w.host.waiting().packets).toBe(0)
    expect(w.drops()).toEqual({ neigh_failed: 1 })
    expect(w.host.nextTimer()).toBe(Number.POSITIVE_INFINITY)
  })

  test('as many wait as the kernel lets wait, the newest', () => {
    const most = Math.floor(UNRES_QLEN_BYTES / truesize(102))
    for (let i = 0; i < most + 7; i++) tunnel('10.0.1.2', { frame: P.udp({ dport: 1000 + i }) })
    expect(w.host.waiting().packets).toBe(most)
    expect(w.drops()).toEqual({ neigh_queue_full: 7 })
    const out = w.receive('p1', P.arp({ op: 2, ...to, spa: '10.0.1.2', tha: ME, tpa: '10.0.1.1' }))
    expect(out).toHaveLength(most)
    expect(new DataView(out[0].frame.buffer).getUint16(50 + 36)).toBe(1007)
  })

  test('groups and broadcasts: no asking, and the sender hears a broadcast too', () => {
    expect(tunnel('10.0.1.255')[0]).toContain(`${ME} > ff:ff:ff:ff:ff:ff 10.0.1.1 > 10.0.1.255`)
    expect(tunnel('239.1.1.1')[0]).toContain(`${ME} > 01:00:5e:01:01:01 10.0.1.1 > 239.1.1.1`)
    expect(w.drops(), 'the inner frame of the echo is for somebody else').toEqual({ otherhost: 1 })
  })

  test('to an address of ours: by the loopback, into the tunnel device', () => {
    w.ask(addrAdd('10.0.2.1/24', w.index('p2')))
    for (const dst of ['10.0.1.1', '10.0.2.1', '127.0.0.1', 'fd00:1::1'])
      expect(tunnel(dst, { csum: true })).toEqual([])
    expect(w.drops()).toEqual({ otherhost: 4 })
    const lo = counterRead(w.a, w.a.m[(w.dev('lo') + NETDEV_TX_COUNTER) >> 2])
    expect([lo.packets, lo.bytes], 'as `ip -s link show lo` of a kernel counted').toEqual([4, 372])
    tunnel('fd00:1::1')
    expect(w.drops(), 'zero checksums over IPv6 are not taken').toEqual({ otherhost: 4, udp_csum: 1 })
  })

  test('no way: by name', () => {
    w.ask(routeAdd('10.51.0.0/24', { type: RTN_BLACKHOLE }))
    tunnel('10.99.0.1')
    tunnel('10.51.0.1')
    tunnel('10.0.1.2', { src: '1.2.3.4' })
    tunnel('fd99::1')
    expect(w.drops()).toEqual({ no_route: 3, ip_source: 1 })
    expect(w.dp.freeSlots()).toBe(512)
  })
})

describe('too big', () => {
  const big = (n: number, o: P.UdpText = {}): Uint8Array => P.udp({ data: new Uint8Array(n).fill(7), ...o })

  test('IPv4: in fragments, even when the inner packet has DF; IPv6: dropped', () => {
    w.ask(neighAdd('10.0.1.2', PEER, w.index('p1')), neighAdd('fd00:1::2', PEER, w.index('p1')))
    const out = w.tunnel('vxlan0', big(1472, { fragment: Ipv4.DF }), { src: '10.0.1.1', dst: '10.0.1.2' })
    expect(lines(out).map((x) => x.split('10.0.1.2 ')[1])).toEqual(['frag 0+ length 1500', 'frag 1480 length 70'])
    const d = (i: number): DataView => new DataView(out[i].frame.buffer)
    expect(Ipv4.id(d(0), Eth.LEN)).toBe(Ipv4.id(d(1), Eth.LEN))
    expect(w.tunnel('vxlan0', big(1472), { src: 'fd00:1::1', dst: 'fd00:1::2' })).toEqual([])
    expect(w.drops()).toEqual({ pkt_too_big: 1 })
  })

  test('fragments wait for the next hop like whole packets', () => {
    w.tunnel('vxlan0', big(1472), { src: '10.0.1.1', dst: '10.0.1.2' })
    expect(w.host.waiting().packets).toBe(2)
  })

  test('what went out in fragments comes in again whole', () => {
    const far = new World()
    far.vxlan()
    far.ask(addrAdd('10.0.1.2/24', far.index('p0')), neighAdd('10.0.1.1', ME, far.index('p0')))
    w.ask(neighAdd('10.0.1.2', '02:00:00:00:00:00', w.index('p1')))
    const inner = big(1472, { to: '02:02:02:02:02:02' })
    for (const s of w.tunnel('vxlan0', inner, { src: '10.0.1.1', dst: '10.0.1.2', csum: true }))
      far.receive('p0', s.frame)
    expect(far.drops(), 'decapsulated, and for somebody else').toEqual({ otherhost: 1 })
  })
})

describe('fragments', () => {
  const outer = (o: Partial<P.UdpText> = {}): Uint8Array =>
    P.vxlan(P.udp({ to: '02:02:02:02:02:02' }), 5, { ...to, src: '10.0.1.2', dst: '10.0.1.1', ...o })
  const parts = (): Uint8Array[] => P.fragments(outer(), 24)

  test('in any order make the datagram', () => {
    const [a, b, c] = parts()
    for (const order of [
      [a, b, c],
      [c, b, a],
      [b, a, c],
      [b, c, a],
    ]) {
      const before = w.drops().otherhost ?? 0
      for (const f of order) w.receive('p1', f)
      expect(w.drops().otherhost).toBe(before + 1)
    }
    expect(w.host.waiting().datagrams).toBe(0)
  })

  test('one twice is dropped alone; an overlap ends the datagram', () => {
    const [a, b, c] = parts()
    w.receive('p1', a)
    w.receive('p1', a)
    expect(w.drops()).toEqual({ frag_duplicate: 1 })
    w.receive('p1', b)
    w.receive('p1', c)
    expect(w.drops()).toEqual({ frag_duplicate: 1, otherhost: 1 })
    w.receive('p1', a)
    const shifted = P.fragments(outer(), 16)[1]
    w.receive('p1', shifted)
    expect(w.drops()).toEqual({ frag_duplicate: 1, otherhost: 1, frag_reassembly: 2 })
    expect(w.host.waiting().datagrams).toBe(0)
  })

  test('half a minute later the sender is told, if the first piece was there', () => {
    w.ask(neighAdd('10.0.1.2', PEER, w.index('p1')))
    const [a, , c] = parts()
    w.receive('p1', a)
    const told = w.advance(31000)
    expect(told.map((x) => x.at)).toEqual([30000])
    expect(lines(told)).toEqual([`p1 ${ME} > ${PEER} 10.0.1.1 > 10.0.1.2 icmp 11/1 rest 0 length 52`])
    w.receive('p1', c)
    expect(w.advance(62000)).toEqual([])
    expect(w.drops()).toEqual({ frag_timeout: 2 })
  })

  test('memory is bounded: pieces are refused until the others time out', () => {
    const [a, b, c] = parts()
    for (let id = 100; id < 6100; id++) w.receive('p1', P.fragments(outer({ id }), 24)[0])
    const { datagrams } = w.host.waiting()
    expect(datagrams).toBeLessThan(6000)
    expect(w.drops()).toEqual({ frag_memory: 6000 - datagrams })
    w.receive('p1', a)
    expect(w.drops().frag_memory).toBe(6001 - datagrams)
    w.advance(31000)
    expect(w.host.waiting().datagrams).toBe(0)
    for (const f of [a, b, c]) w.receive('p1', f)
    expect(w.drops().otherhost).toBe(1)
  })

  test('a datagram that others of its sender have overtaken by far begins anew', () => {
    const [a, b, c] = parts()
    w.receive('p1', a)
    for (let id = 100; id < 170; id++) w.receive('p1', P.fragments(outer({ id }), 24)[0])
    w.receive('p1', b)
    w.receive('p1', c)
    expect(w.drops()).toEqual({ frag_reassembly: 1 })
    w.receive('p1', a)
    expect(w.drops()).toEqual({ frag_reassembly: 1, otherhost: 1 })
  })

  test('pieces of different congestion marks make none', () => {
    const tos = (f: Uint8Array, v: number): Uint8Array => {
      const g = f.slice()
      g[15] = v
      Ipv4.setChecksum(new DataView(g.buffer), Eth.LEN)
      return g
    }
    const [a, b, c] = parts()
    for (const f of [tos(a, 0), tos(b, 2), tos(c, 2)]) w.receive('p1', f)
    expect(w.drops()).toEqual({ frag_reassembly: 3 })
  })
})

describe('packets for the host', () => {
  beforeEach(() => {
    w.ask(neighAdd('10.0.1.2', PEER, w.index('p1')), neighAdd('fd00:1::2', PEER, w.index('p1')))
  })
  const v4 = { ...to, src: '10.0.1.2', dst: '10.0.1.1' }
  const v6 = { ...to, src: 'fd00:1::2', dst: 'fd00:1::1' }

  test('UDP without socket: port unreachable, six at once, then one a second', () => {
    const ask = (): string[] => lines(w.receive('p1', P.udp({ ...v4, dport: 8472 })))
    expect(ask()).toEqual([`p1 ${ME} > ${PEER} 10.0.1.1 > 10.0.1.2 icmp 3/3 rest 0 length 46`])
    for (let i = 0; i < 5; i++) expect(ask()).toHaveLength(1)
    expect(ask()).toEqual([])
    w.now = 1000
    expect(ask()).toHaveLength(1)
    expect(ask()).toEqual([])
    expect(lines(w.receive('p1', P.udp({ ...v6, dport: 8472 })))).toEqual([
      `p1 ${ME} > ${PEER} fd00:1::1 > fd00:1::2 icmp6 1/4 rest 0 length 66`,
    ])
  })

  test('protocols nobody has: protocol unreachable; TCP: reset', () => {
    expect(lines(w.receive('p1', P.ipFrame(99, new Uint8Array(8), v4)))[0]).toContain('icmp 3/2')
    expect(lines(w.receive('p1', P.ipFrame(99, new Uint8Array(8), v6)))[0]).toContain('icmp6 4/1 rest 6')
    const syn = P.tcp({ ...v4, sport: 1000, dport: 80, flags: 2, sequence: 77 })
    expect(lines(w.receive('p1', syn))).toEqual([
      `p1 ${ME} > ${PEER} 10.0.1.1 > 10.0.1.2 tcp 80 > 1000 [R.] seq 0 ack 78`,
    ])
    const ack = P.tcp({ ...v6, sport: 1000, dport: 80, flags: 16, sequence: 77, acknowledgment: 5 })
    expect(lines(w.receive('p1', ack))).toEqual([
      `p1 ${ME} > ${PEER} fd00:1::1 > fd00:1::2 tcp 80 > 1000 [R] seq 5 ack 0`,
    ])
    expect(w.receive('p1', P.tcp({ ...v4, sport: 1, dport: 2, flags: 4 })), 'never about a reset').toEqual([])
  })

  test('never an error about an error, a broadcast, a later fragment', () => {
    const unreachable = new Uint8Array(36)
    unreachable[0] = 3
    expect(w.receive('p1', P.ipFrame(1, unreachable, v4))).toEqual([])
    expect(w.receive('p1', P.udp({ ...v4, dst: '10.0.1.255', to: 'ff:ff:ff:ff:ff:ff' }))).toEqual([])
    expect(w.receive('p1', P.udp({ ...v4, dst: '224.0.0.1', to: '01:00:5e:00:00:01' }))).toEqual([])
  })

  test('what is not for us, and what cannot be', () => {
    w.receive('p1', P.udp({ ...v4, dst: '10.0.1.77' }))
    w.receive('p1', P.udp({ ...v4, dst: '8.8.8.8' }))
    expect(w.drops()).toEqual({ forwarding_off: 2 })
    for (const src of ['10.0.1.1', '127.0.0.1', '224.0.0.1', '255.255.255.255', '0.0.0.0'])
      w.receive('p1', P.udp({ ...v4, src }))
    w.receive('p1', P.udp({ ...v4, dst: '127.0.0.1' }))
    w.receive('p1', P.udp({ ...v4, dst: '239.1.1.1', to: '01:00:5e:01:01:01' }))
    expect(w.drops()).toEqual({ forwarding_off: 2, ip_martian: 6, host_consumed: 1 })
    expect(w.receive('p1', P.ipFrame(1, Uint8Array.of(8, 0, 0xf7, 0xff, 0, 0, 0, 0), v4)), 'echo').toEqual([])
  })

  test('a tunnel packet to a broadcast address is decapsulated', () => {
    const inner = P.udp({ to: '02:02:02:02:02:02' })
    for (const dst of ['10.0.1.255', '255.255.255.255'])
      w.receive('p1', P.vxlan(inner, 5, { ...v4, dst, to: 'ff:ff:ff:ff:ff:ff' }))
    expect(w.drops()).toEqual({ otherhost: 2 })
  })

  // What a Linux kernel did with each of these, sent to it through a veth: 1 decapsulated, 0 not; and its answer.
  describe('IPv6 headers between the outer header and UDP, as a kernel takes them', () => {
    const u = P.vxlan(P.udp({ to: '02:02:02:02:02:02' }), 5, { ...v6, checksum: true }).subarray(54)
    const tlv = (...o: number[]): Uint8Array => Uint8Array.of(...o)
    const join = (...parts: Uint8Array[]): Uint8Array => Uint8Array.from(parts.flatMap((x) => [...x]))
    const pad = [1, 4, 0, 0, 0, 0]
    const cases: [string, number, Uint8Array, number, string?][] = [
      ['hop-by-hop', 0, tlv(17, 0, ...pad), 1],
      ['destination', 60, tlv(17, 0, ...pad), 1],
      ['destination twice', 60, tlv(60, 0, ...pad, 17, 0, ...pad), 1],
      ['destination, unknown option 0x80', 60, tlv(17, 0, 0x80, 4, 0, 0, 0, 0), 0, 'icmp6 4/2 rest 42'],
      ['destination, unknown option 0x40', 60, tlv(17, 0, 0x40, 4, 0, 0, 0, 0), 0],
      ['destination, unknown option 0x1e', 60, tlv(17, 0, 0x1e, 4, 0, 0, 0, 0), 1],
      ['destination, padding that is not zero', 60, tlv(17, 0, 1, 4, 0, 0, 9, 0), 0],
      ['routing, nothing left', 43, tlv(17, 0, 0, 0, 0, 0, 0, 0), 1],
      [
        'routing of type 0, one left',
        43,
        tlv(17, 2, 0, 1, 0, 0, 0, 0, ...new Array(16).fill(0xfd)),
        0,
        'icmp6 4/0 rest 42',
      ],
      ['routing of type 4, one left', 43, tlv(17, 0, 4, 1, 0, 0, 0, 0), 0],
      ['atomic fragment', 44, tlv(17, 0, 0, 0, 0, 0, 0, 7), 1],
      ['hop-by-hop not first', 60, tlv(0, 0, ...pad, 17, 0, ...pad), 0, 'icmp6 4/1 rest 40'],
      ['authentication', 51, tlv(17, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0), 0, 'icmp6 4/1 rest 6'],
    ]
    test.each(cases)('%s', (_name, next, headers, decapsulated, answer) => {
      const out = lines(w.receive('p1', P.ipFrame(next, join(headers, u), v6)))
      expect(w.drops().otherhost ?? 0).toBe(decapsulated)
      expect(out.map((x) => x.split('fd00:1::2 ')[1].replace(/ length.*/, ''))).toEqual(answer ? [answer] : [])
    })

    test('fragments: a length that cannot be, a first one without its headers', () => {
      const frag = (...x: number[]): Uint8Array => Uint8Array.of(17, 0, 0, 1, 0, 0, 0, ...x)
      const told = (payload: Uint8Array): string[] => lines(w.receive('p1', P.ipFrame(44, payload, v6)))
      expect(told(join(frag(10), u.subarray(0, 33)))[0]).toContain('icmp6 4/0 rest 4')
      expect(told(frag(11))[0]).toContain('icmp6 4/3 rest 0')
      expect(told(join(frag(12), u.subarray(0, 32)))).toEqual([])
      expect(told(join(Uint8Array.of(17, 0, 0, 32, 0, 0, 0, 12), u.subarray(32)))).toEqual([])
      expect(w.drops().otherhost).toBe(1)
    })

    test('sources: our own and none at all are taken, a group is not; no route: the sender is told', () => {
      for (const src of ['fd00:1::1', '::', 'ff02::5'])
        w.receive('p1', P.vxlan(P.udp({ to: '02:02:02:02:02:02' }), 5, { ...v6, src, checksum: true }))
      expect(w.drops()).toEqual({ otherhost: 2, ip_martian: 1 })
      expect(lines(w.receive('p1', P.udp({ ...v6, dst: 'fd77::1' })))[0]).toContain('fd00:1::1 > fd00:1::2 icmp6 1/0')
      expect(w.receive('p1', P.udp({ ...v6, dst: 'fd00:1::77' }))).toEqual([])
      expect(w.receive('p1', P.udp({ ...v6, dport: 9, checksum: false })), 'zero checksum').toEqual([])
    })
  })

  test('IPv4 sources, as a kernel takes them', () => {
    const taken = (src: string): number => {
      const before = w.drops().otherhost ?? 0
      w.receive('p1', P.vxlan(P.udp({ to: '02:02:02:02:02:02' }), 5, { ...v4, src }))
      return (w.drops().otherhost ?? 0) - before
    }
    expect(['240.1.1.1', '10.0.1.255', '0.1.2.3', '8.8.8.8'].map(taken)).toEqual([1, 1, 1, 1])
    expect(['10.0.1.1', '0.0.0.0', '127.0.0.1', '224.0.0.9', '255.255.255.255'].map(taken)).toEqual([0, 0, 0, 0, 0])
  })

  test('source routes are not accepted, other options are', () => {
    const inner = P.udp({ to: '02:02:02:02:02:02' })
    const plain = P.vxlan(inner, 5, v4)
    const withOption = (...option: number[]): Uint8Array => {
      const f = new Uint8Array(plain.length + 4)
      f.set(plain.subarray(0, 34))
      f.set(option, 34)
      f.set(plain.subarray(34), 38)
      const d = new DataView(f.buffer)
      f[14] = 0x46
      Ipv4.setTotalLength(d, 14, f.length - 14)
      Ipv4.setChecksum(d, 14)
      return f
    }
    w.receive('p1', withOption(1, 1, 1, 0))
    expect(w.drops()).toEqual({ otherhost: 1 })
    w.receive('p1', withOption(131, 3, 4, 0))
    expect(w.drops()).toEqual({ otherhost: 1, ip_options: 1 })
    expect(lines(w.receive('p1', withOption(7, 1, 4, 0)))[0], 'an option of impossible length').toContain('icmp 12/0')
  })

  test('no frame of any length or with any byte flipped does harm', () => {
    const frames = [
      P.udp(v4),
      P.udp(v6),
      P.vxlan(P.udp(), 5, v4),
      P.vxlan(P.udp(), 5, v6),
      ...P.fragments(P.udp({ ...v4, data: new Uint8Array(64) }), 24),
      P.tcp({ ...v4, sport: 1, dport: 2, flags: 2 }),
      P.arp({ from: PEER, spa: '10.0.1.2', tpa: '10.0.1.1' }),
      P.ipFrame(44, Uint8Array.of(17, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0), v6),
      P.ipFrame(0, Uint8Array.of(17, 0, 1, 4, 0, 0, 0, 0, 3, 232, 0, 53, 0, 8, 0, 0), v6),
    ]
    for (const f of frames) {
      for (let n = 14; n <= f.length; n++) w.receive('p1', f.slice(0, n))
      for (let i = 12; i < f.length; i++)
        for (const x of [1, 0x80, 0xff]) {
          const g = f.slice()
          g[i] ^= x
          if (i < 34 && i > 14 && f[12] === 8 && f[13] === 0) Ipv4.setChecksum(new DataView(g.buffer), 14)
          w.receive('p1', g)
        }
    }
    w.advance(200000)
    expect(w.host.waiting()).toEqual({ packets: 0, datagrams: 0 })
    expect(w.dp.freeSlots()).toBe(512)
  })
})
