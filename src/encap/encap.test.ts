import { beforeEach, describe, expect, test } from 'vitest'
import { rcuOf } from '../memory/arena.ts'
import { reclaim } from '../memory/deferred.ts'
import { ENCAP_HEADER, HEADER_BYTES, HEADER_MTU } from '../memory/layout/encap.ts'
import * as F from '../memory/layout/flow.ts'
import { NETDEV_ENCAP } from '../memory/layout/netdev.ts'
import * as S from '../memory/layout/slow.ts'
import { inUse } from '../memory/pool.ts'
import { readerOf } from '../memory/thread_record.ts'
import { fibInsert, type NewRoute, newRoute } from '../net/fib.ts'
import { linkDelete, linkDown, linkSetMac, linkSetMtu, linkUp } from '../net/link.ts'
import { neighLookup } from '../net/neigh.ts'
import { neighUse } from '../net/neigh_update.ts'
import { netdevIfindex } from '../net/netdev.ts'
import { complete } from '../sync/completion.ts'
import { quiescent } from '../sync/rcu.ts'
import { headerBytes } from '../tunnel/header.ts'
import * as L from '../wire/rtm_link.ts'
import { NUD_FAILED, NUD_INCOMPLETE, NUD_PERMANENT, NUD_REACHABLE, NUD_STALE } from '../wire/rtm_neigh.ts'
import { AF_INET, RT_TABLE_MAIN, RTN_BLACKHOLE, RTN_PROHIBIT, RTN_UNICAST, RTN_UNREACHABLE } from '../wire/rtm_route.ts'
import { entryOf } from './attach.ts'
import { encapStats, encapUsed, MODE_OFFLOAD, runWork } from './encap.ts'
import { ENTRY_WHY } from './encap_entry.ts'
import { violations } from './invariants.fixture.ts'
import { encapDetails, encapList } from './show.ts'
import { slowName, slowSentence } from './slow_reason.ts'
import * as W from './world.fixture.ts'

let w: W.World
beforeEach(() => {
  w = W.makeWorld()
  work() // what the making of the devices posted
})

const work = (): number => runWork(w.a, w.clock.now)
const item = (dst: string, vni = 1, src = ''): { tun: number; dev: number } => ({
  tun: W.tunKey(w.a, dst, vni, src),
  dev: w.vxlan0,
})
const why = (flow: number): string => slowName(w.a.m[(flow + F.FLOW_WHY) >> 2])
const header = (flow: number, i = 0): number => w.a.m[(entryOf(w.a, flow, i) + ENCAP_HEADER) >> 2]
const dmac = (h: number): number[] => [...w.a.u8.slice(headerBytes(w.a, h), headerBytes(w.a, h) + 6)]
const good = (...flows: number[]): void => expect(violations(w.a, flows)).toEqual([])

/** Frees what waits for a grace period: this thread is the only reader. */
function settleMemory(): void {
  for (let i = 0; i < 3; i++) {
    quiescent(w.a.m, rcuOf(w.a), readerOf(w.a))
    reclaim(w.a)
  }
}

describe('attach', () => {
  test('to a resolved next hop: fast from the start', () => {
    W.setNeigh(w, w.p1, '10.0.1.2', NUD_PERMANENT, W.mac(2))
    const flow = W.addFlow(w, [item('10.0.1.2')])
    expect(W.isFast(w.a, flow)).toBe(true)
    expect(dmac(header(flow))).toEqual([...W.mac(2)])
    good(flow)
  })

  test('to an unresolved one: slow, and the neighbour table is left alone', () => {
    const flow = W.addFlow(w, [item('10.0.1.2')])
    expect(W.isFast(w.a, flow)).toBe(false)
    expect(why(flow)).toBe('neigh_none')
    expect(neighLookup(w.a, 2, W.ip('10.0.1.2'), w.p1)).toBe(0)
    good(flow)
  })

  test('one entry for one key: options and device are part of it', () => {
    const opts = [1, 2, 3, 4]
    const tun = (o: number[]): number => W.tunKey(w.a, '10.0.1.2', 1, '', { opts: o })
    const other = W.addVxlan(w.a, 'vxlan1', (b) => {
      b.attrU8(L.IFLA_VXLAN_COLLECT_METADATA, 1)
      b.attrBe16(L.IFLA_VXLAN_PORT, 4790)
    })
    const one = (t: number, dev = w.vxlan0): number => W.addFlow(w, [{ tun: t, dev }])
    const flows = [
      one(tun([])),
      one(tun([])),
      one(tun(opts)),
      one(tun(opts)),
      one(tun([1, 2, 3, 5])),
      one(tun([]), other),
    ]
    const entries = flows.map((f) => entryOf(w.a, f, 0))
    expect(entries[0]).toBe(entries[1])
    expect(entries[2]).toBe(entries[3])
    expect(new Set(entries).size).toBe(4)
    good(...flows)
  })

  test('32 destinations, one key twice; 33 are refused and leave nothing', () => {
    const items = Array.from({ length: 32 }, (_, i) => item(`10.0.1.${2 + (i % 31)}`))
    const flow = W.addFlow(w, items)
    expect(entryOf(w.a, flow, 0)).toBe(entryOf(w.a, flow, 31))
    good(flow)
    expect(() => W.addFlow(w, [...items, item('10.0.1.99')])).toThrow(/more than 32/)
    W.putFlow(w.a, flow)
    good()
  })

  const via = (type: number): { tun: number; dev: number } => {
    W.addRoute(w, '10.51.0.0', 24, { type })
    return item('10.51.0.1')
  }
  const unresolved = (state: number): { tun: number; dev: number } => {
    W.setNeigh(w, w.p1, '10.0.1.2', state, null)
    return item('10.0.1.2')
  }
  const tunnelDown = (): { tun: number; dev: number } => {
    linkDown(w.a, w.vxlan0)
    return item('10.0.1.2')
  }
  const reasons: [string, string, () => { tun: number; dev: number }][] = [
    ['no route', 'no_route', () => item('10.99.0.1')],
    ['blackhole', 'blackhole', () => via(RTN_BLACKHOLE)],
    ['unreachable', 'unreachable', () => via(RTN_UNREACHABLE)],
    ['prohibit', 'prohibit', () => via(RTN_PROHIBIT)],
    ['an address of the switch', 'local', () => item('10.0.2.1')],
    ['broadcast', 'broadcast', () => item('10.0.1.255')],
    ['foreign source', 'source', () => item('10.0.1.2', 1, '10.7.7.7')],
    ['incomplete', 'neigh_incomplete', () => unresolved(NUD_INCOMPLETE)],
    ['failed', 'neigh_failed', () => unresolved(NUD_FAILED)],
    ['tunnel down', 'tunnel_down', () => tunnelDown()],
    ['IPv6 without route', 'no_route', () => item('fd99::1')],
  ]
  test.each(reasons)('slow for a named reason: %s', (_name, reason, make) => {
    const flow = W.addFlow(w, [make()])
    expect(W.isFast(w.a, flow)).toBe(false)
    expect(why(flow)).toBe(reason)
    good(flow)
  })

  test('through a gateway, also an IPv6 one for IPv4', () => {
    W.addRoute(w, '10.50.0.0', 24, { via: '10.0.1.9', dev: w.p1 })
    W.addRoute(w, '10.60.0.0', 24, { via: 'fd00:1::9', dev: w.p1 })
    W.setNeigh(w, w.p1, '10.0.1.9', NUD_PERMANENT, W.mac(9))
    W.setNeigh(w, w.p1, 'fd00:1::9', NUD_PERMANENT, W.mac(0x69))
    const flows = [W.addFlow(w, [item('10.50.0.1')]), W.addFlow(w, [item('10.60.0.1')])]
    expect(flows.map((f) => dmac(header(f)))).toEqual([[...W.mac(9)], [...W.mac(0x69)]])
    good(...flows)
  })
})

describe('neighbour events', () => {
  test('up, another MAC, down: the flow follows, and its header is replaced, never edited', () => {
    const flow = W.addFlow(w, [item('10.0.1.2')])
    W.setNeigh(w, w.p1, '10.0.1.2', NUD_REACHABLE, W.mac(2))
    expect(W.isFast(w.a, flow)).toBe(false) // nothing moves before the event worker
    work()
    expect(W.isFast(w.a, flow)).toBe(true)
    good(flow)
    const before = header(flow)
    const bytes = [...w.a.u8.slice(before, before + HEADER_BYTES + 128)]
    W.setNeigh(w, w.p1, '10.0.1.2', NUD_REACHABLE, W.mac(3))
    work()
    expect(header(flow)).not.toBe(before)
    expect([...w.a.u8.slice(before, before + HEADER_BYTES + 128)]).toEqual(bytes)
    expect(dmac(header(flow))).toEqual([...W.mac(3)])
    expect(W.isFast(w.a, flow)).toBe(true)
    good(flow)
    W.setNeigh(w, w.p1, '10.0.1.2', NUD_FAILED, null)
    work()
    expect([W.isFast(w.a, flow), header(flow), why(flow)]).toEqual([false, 0, 'neigh_failed'])
    good(flow)
    W.delNeigh(w, w.p1, '10.0.1.2')
    work()
    expect(why(flow)).toBe('neigh_none')
    good(flow)
    expect(encapStats(w.a)).toMatchObject({ to_fast: 1, to_slow: 1, headers_replaced: 1 })
  })

  test('a flow is fast only while all its entries are valid, in every order', () => {
    const hops = ['10.0.1.2', '10.0.1.3', '10.0.1.4']
    const flow = W.addFlow(
      w,
      hops.map((h, i) => item(h, i)),
    )
    const up = [false, false, false]
    let seed = 1
    for (let step = 0; step < 60; step++) {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
      const i = (seed >>> 16) % 3
      up[i] = !up[i]
      W.setNeigh(w, w.p1, hops[i], up[i] ? NUD_PERMANENT : NUD_FAILED, up[i] ? W.mac(i) : null)
      work()
      expect(W.isFast(w.a, flow)).toBe(up.every((x) => x))
      good(flow)
    }
  })

  test('the same address on another port is another next hop', () => {
    const flow = W.addFlow(w, [item('10.0.1.2')])
    W.setNeigh(w, w.p2, '10.0.1.2', NUD_PERMANENT, W.mac(2))
    expect(work()).toBe(0)
    expect(W.isFast(w.a, flow)).toBe(false)
  })

  test('many events, one work', () => {
    const flow = W.addFlow(w, [item('10.0.1.2')])
    for (let i = 0; i < 10; i++) W.setNeigh(w, w.p1, '10.0.1.2', NUD_REACHABLE, W.mac(i))
    work()
    expect(dmac(header(flow))).toEqual([...W.mac(9)])
    expect(encapStats(w.a)).toMatchObject({ neigh_events: 10, neigh_events_coalesced: 9, neigh_updates: 1, headers: 1 })
  })

  test('a flow that failed to be made is left alone', () => {
    const tun = item('10.0.1.2')
    const flow = W.addFlow(w, [tun])
    w.a.m[(flow + F.FLOW_FLAGS) >> 2] &= ~F.FLOW_F_OFFLOADED
    W.setNeigh(w, w.p1, '10.0.1.2', NUD_PERMANENT, W.mac(2))
    work()
    expect(W.isFast(w.a, flow)).toBe(false)
  })
})

describe('a stale next hop', () => {
  test('software: the header is withheld until the host has used the neighbour, and the flow stays fast', () => {
    W.setNeigh(w, w.p1, '10.0.1.2', NUD_STALE, W.mac(2))
    const flow = W.addFlow(w, [item('10.0.1.2')])
    const e = entryOf(w.a, flow, 0)
    expect([W.isFast(w.a, flow), header(flow), w.a.m[(e + ENTRY_WHY) >> 2]]).toEqual([true, 0, S.SLOW_NEIGH_STALE])
    good(flow)
    encapUsed(w.a, e) // still stale: looks, and nothing changes
    work()
    expect(header(flow)).toBe(0)
    neighUse(w.a, neighLookup(w.a, 2, W.ip('10.0.1.2'), w.p1), w.clock.now)
    encapUsed(w.a, e)
    work()
    expect(dmac(header(flow))).toEqual([...W.mac(2)])
    good(flow)
    W.setNeigh(w, w.p1, '10.0.1.2', NUD_STALE, W.mac(2))
    work()
    expect([W.isFast(w.a, flow), header(flow)]).toEqual([true, 0])
    expect(encapStats(w.a).to_slow).toBe(0)
    good(flow)
  })

  test('offload: every valid state is good; a next hop that nobody asked for is asked', () => {
    w = W.makeWorld({ mode: MODE_OFFLOAD })
    W.setNeigh(w, w.p1, '10.0.1.2', NUD_STALE, W.mac(2))
    const flow = W.addFlow(w, [item('10.0.1.2')])
    expect(dmac(header(flow))).toEqual([...W.mac(2)])
    const other = W.addFlow(w, [item('10.0.1.3')])
    expect(w.a.m[(neighLookup(w.a, 2, W.ip('10.0.1.3'), w.p1) + 32) >> 2]).toBe(NUD_INCOMPLETE)
    W.setNeigh(w, w.p1, '10.0.1.3', NUD_FAILED, null)
    work()
    w.clock.now += 1000
    work()
    expect(w.a.m[(neighLookup(w.a, 2, W.ip('10.0.1.3'), w.p1) + 32) >> 2]).toBe(NUD_INCOMPLETE)
    good(flow, other)
  })
})

describe('routes and devices', () => {
  test('of several next hops each key takes one, by weight; a dead one is passed over until it is back', () => {
    const hop = (dev: number, gateway: string, weight: number): NewRoute =>
      newRoute({
        family: AF_INET,
        table: RT_TABLE_MAIN,
        type: RTN_UNICAST,
        dst: W.ip('10.50.0.0'),
        length: 16,
        oif: netdevIfindex(w.a, dev),
        gatewayFamily: AF_INET,
        gateway: W.ip(gateway),
        weight,
      })
    fibInsert(w.a, { ...hop(w.p1, '10.0.1.9', 3), siblings: [hop(w.p2, '10.0.2.9', 1)] })
    W.setNeigh(w, w.p1, '10.0.1.9', NUD_PERMANENT, W.mac(9))
    W.setNeigh(w, w.p2, '10.0.2.9', NUD_PERMANENT, W.mac(0x29))
    const flows = Array.from({ length: 200 }, (_, i) => W.addFlow(w, [item(`10.50.0.${i + 1}`)]))
    const hops = (): string[] => encapList(w.a).map((e) => e.nexthop)
    const before = hops()
    const second = before.filter((h) => h === '10.0.2.9 dev p2').length
    expect(before.filter((h) => h === '10.0.1.9 dev p1').length).toBe(200 - second)
    expect(Math.abs(second - 50)).toBeLessThan(25)
    expect(flows.every((f) => W.isFast(w.a, f))).toBe(true)
    const shares = (): (object | undefined)[] => encapDetails(w.a, w.clock.now).map((e) => e.route?.hops)
    expect(shares()).toContainEqual({ alive: 2, weight: 1, weights: 4 })
    // Another key with these addresses goes the same way, in another tunnel, too.
    const same = W.addFlow(w, [item('10.50.0.7', 99)])
    expect(hops().at(-1)).toBe(before[6])
    good(...flows, same)

    linkDown(w.a, w.p2)
    work()
    expect(new Set(hops())).toEqual(new Set(['10.0.1.9 dev p1']))
    expect(shares()).toEqual(shares().map(() => ({ alive: 1, weight: 3, weights: 3 })))
    good(...flows, same)
    linkUp(w.a, w.p2)
    W.setNeigh(w, w.p2, '10.0.2.9', NUD_PERMANENT, W.mac(0x29))
    work()
    expect(hops().slice(0, 200)).toEqual(before)
    good(...flows, same)
    for (const f of [...flows, same]) W.putFlow(w.a, f)
    good()
  })

  test('a better route moves the entry to another next hop; its end moves it back', () => {
    W.setNeigh(w, w.p1, '10.0.1.9', NUD_PERMANENT, W.mac(9))
    W.setNeigh(w, w.p2, '10.0.2.9', NUD_PERMANENT, W.mac(0x29))
    W.addRoute(w, '10.50.0.0', 16, { via: '10.0.1.9', dev: w.p1 })
    const flow = W.addFlow(w, [item('10.50.0.1')])
    const better = W.addRoute(w, '10.50.0.0', 24, { via: '10.0.2.9', dev: w.p2 })
    work()
    expect(dmac(header(flow))).toEqual([...W.mac(0x29)])
    good(flow)
    W.setNeigh(w, w.p1, '10.0.1.9', NUD_FAILED, null) // not its next hop now
    work()
    expect(W.isFast(w.a, flow)).toBe(true)
    W.delRoute(w, better)
    work()
    expect([W.isFast(w.a, flow), why(flow)]).toEqual([false, 'neigh_failed'])
    good(flow)
  })

  test('no route, then one, then a blackhole', () => {
    W.setNeigh(w, w.p1, '10.0.1.9', NUD_PERMANENT, W.mac(9))
    const flow = W.addFlow(w, [item('10.50.0.1')])
    expect(why(flow)).toBe('no_route')
    W.addRoute(w, '10.50.0.0', 16, { via: '10.0.1.9', dev: w.p1 })
    work()
    expect(W.isFast(w.a, flow)).toBe(true)
    W.addRoute(w, '10.50.0.0', 24, { type: RTN_BLACKHOLE })
    work()
    expect([W.isFast(w.a, flow), why(flow)]).toEqual([false, 'blackhole'])
    good(flow)
  })

  test('the port goes down and comes back', () => {
    W.setNeigh(w, w.p1, '10.0.1.2', NUD_PERMANENT, W.mac(2))
    const flow = W.addFlow(w, [item('10.0.1.2')])
    linkDown(w.a, w.p1)
    work()
    expect(W.isFast(w.a, flow)).toBe(false)
    good(flow)
    linkUp(w.a, w.p1)
    W.setNeigh(w, w.p1, '10.0.1.2', NUD_PERMANENT, W.mac(3))
    work()
    expect(dmac(header(flow))).toEqual([...W.mac(3)])
    good(flow)
  })

  test('another MAC and MTU of the port are in the next header', () => {
    W.setNeigh(w, w.p1, '10.0.1.2', NUD_PERMANENT, W.mac(2))
    const flow = W.addFlow(w, [item('10.0.1.2')])
    linkSetMtu(w.a, w.p1, 1400)
    work()
    expect(w.a.m[(header(flow) + HEADER_MTU) >> 2]).toBe(1400)
    linkSetMac(w.a, w.p1, W.mac(0x77))
    W.setNeigh(w, w.p1, '10.0.1.2', NUD_PERMANENT, W.mac(2))
    work()
    const o = headerBytes(w.a, header(flow))
    expect([...w.a.u8.slice(o + 6, o + 12)]).toEqual([...W.mac(0x77)])
    good(flow)
  })

  test('the tunnel device goes down and up', () => {
    W.setNeigh(w, w.p1, '10.0.1.2', NUD_PERMANENT, W.mac(2))
    const flow = W.addFlow(w, [item('10.0.1.2')])
    linkDown(w.a, w.vxlan0)
    work()
    expect([W.isFast(w.a, flow), why(flow)]).toEqual([false, 'tunnel_down'])
    linkUp(w.a, w.vxlan0)
    work()
    expect(W.isFast(w.a, flow)).toBe(true)
    good(flow)
  })

  test('a classic device has an entry of its own, for as long as it is there', () => {
    const dev = W.addVxlan(w.a, 'vx1', (b) => {
      b.attrU32(L.IFLA_VXLAN_ID, 55)
      b.attr(L.IFLA_VXLAN_GROUP, W.ip('10.0.1.2').subarray(0, 4))
      b.attrBe16(L.IFLA_VXLAN_PORT, 4791)
    })
    const e = w.a.m[(dev + NETDEV_ENCAP) >> 2]
    expect(e).not.toBe(0)
    W.setNeigh(w, w.p1, '10.0.1.2', NUD_PERMANENT, W.mac(2))
    work()
    expect(dmac(w.a.m[(e + ENCAP_HEADER) >> 2])).toEqual([...W.mac(2)])
    good()
    linkDelete(w.a, dev)
    work()
    expect(w.a.m[(dev + NETDEV_ENCAP) >> 2]).toBe(0)
    good()
  })
})

describe('the end', () => {
  test('nothing is left when all flows are gone', () => {
    w.clock.now += 100000
    work()
    settleMemory()
    const before = inUse(w.a)
    const tuns = ['10.0.1.2', '10.0.1.3', '10.0.2.2', '10.99.0.1', 'fd00:1::2'].map((d, i) => item(d, i))
    const flows = tuns.flatMap((t, i) => [W.addFlow(w, [t, tuns[(i + 1) % tuns.length]]), W.addFlow(w, [t])])
    for (const d of ['10.0.1.2', '10.0.1.3']) W.setNeigh(w, w.p1, d, NUD_PERMANENT, W.mac(5))
    work()
    good(...flows)
    for (const f of flows) W.putFlow(w.a, f)
    w.clock.now += 100000
    work()
    good()
    W.delNeigh(w, w.p1, '10.0.1.2')
    W.delNeigh(w, w.p1, '10.0.1.3')
    work()
    settleMemory()
    const after = inUse(w.a)
    for (const tag of ['encap', 'encap_header', 'nhe', 'route', 'flow', 'list', 'neigh'])
      expect([tag, after[tag] ?? 0]).toEqual([tag, before[tag] ?? 0])
    expect((after.tun_info ?? 0) - (before.tun_info ?? 0)).toBe(tuns.length) // the test's own
  })

  test('a delete while the event worker holds the flow: the worker takes it down', () => {
    const flow = W.addFlow(w, [item('10.0.1.2')])
    const e = entryOf(w.a, flow, 0)
    w.a.m[(flow + F.FLOW_REFCNT) >> 2]++ // somebody else works on it
    W.putFlow(w.a, flow)
    expect(w.a.m[(e + ENTRY_WHY) >> 2]).toBe(S.SLOW_NEIGH_NONE)
    good(flow)
    W.putFlow(w.a, flow)
    good()
  })

  test('a flow past its last reference is not taken, only waited for', () => {
    const flow = W.addFlow(w, [item('10.0.1.2')])
    w.a.m[(flow + F.FLOW_REFCNT) >> 2] = 0
    complete(w.a.m, (flow + F.FLOW_DEL_HW_DONE) >> 2, 1)
    W.setNeigh(w, w.p1, '10.0.1.2', NUD_PERMANENT, W.mac(2))
    work()
    expect(W.isFast(w.a, flow)).toBe(false)
    w.ops.detach(w.a, flow)
    good()
  })
})

test('every reason has a name and a sentence', () => {
  const numbers = Object.entries(S).filter(([k]) => k !== 'SLOW_MAX')
  expect(numbers.length).toBe(S.SLOW_MAX)
  const names = numbers.map(([, n]) => slowName(n))
  expect(new Set(names).size).toBe(S.SLOW_MAX)
  for (const [k, n] of numbers) {
    expect([k, slowName(n)]).not.toEqual([k, `slow_${n}`])
    expect(slowSentence(n).length).toBeGreaterThan(5)
  }
})
