// What a Linux kernel learned from ARP and neighbour discovery: each message was sent to one through a veth, and its
// neighbour table read afterwards. The host must answer as often and know the same.

import { expect, test } from 'vitest'
import { neighEach, neighSnapshot } from '../net/neigh.ts'
import { addressText, frameText } from '../testing/frame_text.ts'
import * as P from '../testing/packets.ts'
import { addrAdd } from '../testing/rtnl_messages.ts'
import { NUD_DELAY, NUD_FAILED, NUD_INCOMPLETE, NUD_NOARP, NUD_REACHABLE, NUD_STALE } from '../wire/rtm_neigh.ts'
import { AF_INET6 } from '../wire/rtm_route.ts'
import { World } from './world.fixture.ts'

const ME = '02:00:00:00:00:01'
const A = '02:11:00:00:01:02'
const B = '02:11:00:00:01:99'
const GROUP = '33:33:ff:00:00:01'
const NAMES: Record<number, string> = {
  [NUD_STALE]: 'STALE',
  [NUD_REACHABLE]: 'REACHABLE',
  [NUD_DELAY]: 'DELAY',
  [NUD_INCOMPLETE]: 'INCOMPLETE',
  [NUD_FAILED]: 'FAILED',
}

function table(w: World): Record<string, string> {
  const out: Record<string, string> = {}
  neighEach(w.a, (n) => {
    const s = neighSnapshot(w.a, n)
    if (s.state === NUD_NOARP) return
    out[addressText(s.address, s.family === AF_INET6)] = s.valid
      ? `${s.mac[5].toString(16).padStart(2, '0')} ${NAMES[s.state]}`
      : NAMES[s.state]
  })
  return out
}

interface Step {
  readonly name: string
  readonly frame: Uint8Array
  /** Milliseconds after the step before. */
  readonly after?: number
  /** Frames sent because of it. */
  readonly sent: number
  /** The neighbour that the message is about, and what is known of it then; absent: nothing. */
  readonly of: string
  readonly known?: string
}

function play(w: World, steps: Step[]): void {
  for (const s of steps) {
    w.now += s.after ?? 50
    expect([s.name, w.receive('p1', s.frame).map((x) => frameText(x.frame)).length]).toEqual([s.name, s.sent])
    expect([s.name, table(w)[s.of]]).toEqual([s.name, s.known])
  }
}

const world = (): World => {
  const w = new World()
  w.ask(addrAdd('10.0.1.1/24', w.index('p1')), addrAdd('fd00:1::1/64', w.index('p1')))
  return w
}

test('ARP', () => {
  const of = '10.0.1.2'
  const ask = (from: string, spa: string, tpa: string): Uint8Array => P.arp({ from, spa, tpa })
  const reply = (from: string, o: Partial<P.ArpText> = {}): Uint8Array =>
    P.arp({ op: 2, from, to: ME, spa: of, tha: ME, tpa: '10.0.1.1', ...o })
  const ieee802 = ask(A, of, '10.0.1.1')
  ieee802[15] = 6
  play(world(), [
    { name: 'asks for us', frame: ask(A, of, '10.0.1.1'), sent: 1, of, known: '02 STALE' },
    { name: 'asks for another', frame: ask(A, '10.0.1.50', '10.0.1.77'), sent: 0, of: '10.0.1.50' },
    { name: 'has our address', frame: ask(A, '10.0.1.1', '10.0.1.1'), sent: 0, of: '10.0.1.1' },
    { name: 'looks for a duplicate', frame: ask(A, '0.0.0.0', '10.0.1.1'), sent: 1, of: '0.0.0.0' },
    { name: 'from another subnet', frame: ask(A, '9.9.9.9', '10.0.1.1'), sent: 1, of: '9.9.9.9', known: '02 STALE' },
    { name: 'asks with another MAC', frame: ask(B, of, '10.0.1.1'), sent: 1, of, known: '99 STALE' },
    {
      name: 'gratuitous reply',
      frame: reply(A, { to: 'ff:ff:ff:ff:ff:ff', tha: A, tpa: of }),
      sent: 0,
      of,
      known: '02 STALE',
    },
    { name: 'reply', frame: reply(A), sent: 0, of, known: '02 REACHABLE' },
    { name: 'reply, another MAC, soon', frame: reply(B), sent: 0, of, known: '02 REACHABLE' },
    { name: 'reply, another MAC, later', frame: reply(B), after: 1200, sent: 0, of, known: '99 REACHABLE' },
    { name: 'asks for another, soon', frame: ask(A, of, '10.0.1.77'), sent: 0, of, known: '99 REACHABLE' },
    { name: 'asks for another, later', frame: ask(A, of, '10.0.1.77'), after: 1200, sent: 0, of, known: '02 STALE' },
    { name: 'asks for 127.0.0.1', frame: ask(A, of, '127.0.0.1'), sent: 0, of, known: '02 STALE' },
    { name: 'hardware type 6', frame: ieee802, sent: 1, of, known: '02 STALE' },
  ])
})

test('neighbour discovery', () => {
  const of = 'fd00:1::2'
  const ns = (src: string, mac: string | undefined, o: Partial<P.NdText> = {}): Uint8Array =>
    P.nd({ from: mac ?? A, to: GROUP, src, dst: 'ff02::1:ff00:1', type: 135, target: 'fd00:1::1', mac, ...o })
  const us = { to: ME, dst: 'fd00:1::1' }
  const na = (flags: number, mac: string | undefined, o: Partial<P.NdText> = {}): Uint8Array =>
    P.nd({ from: mac ?? A, ...us, src: of, type: 136, target: of, flags, mac, ...o })
  const all = { to: '33:33:00:00:00:01', dst: 'ff02::1' }
  play(world(), [
    { name: 'solicits by group', frame: ns(of, A), sent: 1, of, known: '02 DELAY' },
    { name: 'solicits us alone', frame: ns(of, A, us), sent: 1, of, known: '02 DELAY' },
    {
      name: 'alone, without its address: asked for it',
      frame: ns('fd00:1::5', undefined, us),
      sent: 1,
      of: 'fd00:1::5',
      known: 'INCOMPLETE',
    },
    { name: 'by group, without its address', frame: ns('fd00:1::6', undefined), sent: 0, of: 'fd00:1::6' },
    { name: 'looks for a duplicate', frame: ns('::', undefined), sent: 1, of: '::' },
    { name: 'off link', frame: ns('fd99::6', A), sent: 1, of: 'fd99::6', known: '02 DELAY' },
    { name: 'solicits with another MAC', frame: ns(of, B), sent: 1, of, known: '99 DELAY' },
    { name: 'solicited, override', frame: na(0x60000000, A), sent: 0, of, known: '02 REACHABLE' },
    { name: 'solicited, another MAC', frame: na(0x40000000, B), sent: 0, of, known: '02 STALE' },
    { name: 'solicited, no address', frame: na(0x40000000, undefined), sent: 0, of, known: '02 REACHABLE' },
    { name: 'unsolicited, another MAC', frame: na(0, B, all), sent: 0, of, known: '02 STALE' },
    { name: 'unsolicited, override', frame: na(0x20000000, B, all), sent: 0, of, known: '99 STALE' },
    {
      name: 'of somebody unknown',
      frame: na(0x60000000, A, { src: 'fd00:1::9', target: 'fd00:1::9' }),
      sent: 0,
      of: 'fd00:1::9',
    },
    { name: 'router', frame: na(0xe0000000, A), sent: 0, of, known: '02 REACHABLE' },
    { name: 'came through a router', frame: ns(of, B, { ttl: 254 }), sent: 0, of, known: '02 REACHABLE' },
  ])
})

test('who is not heard of is asked alone, three times, and given up: fe80:: asks', () => {
  const w = world()
  play(w, [
    {
      name: 'solicits us',
      frame: P.nd({
        from: A,
        to: GROUP,
        src: 'fd99::6',
        dst: 'ff02::1:ff00:1',
        type: 135,
        target: 'fd00:1::1',
        mac: A,
      }),
      sent: 1,
      of: 'fd99::6',
      known: '02 DELAY',
    },
  ])
  const sent = w.advance(10000)
  expect(sent.map((x) => x.at)).toEqual([5050, 6050, 7050])
  expect(frameText(sent[0].frame)).toBe(`${ME} > ${A} fe80::ff:fe00:1 > fd99::6 ns fd99::6 mac ${ME}`)
  expect(table(w)['fd99::6']).toBe('FAILED')
})
