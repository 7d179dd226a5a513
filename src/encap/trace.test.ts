import { expect, test } from 'vitest'
import { counterAlloc } from '../memory/counters.ts'
import * as F from '../memory/layout/flow.ts'
import { SUPER_WORKER } from '../memory/layout/super.ts'
import { COUNTER_LAST_USED, COUNTER_SIZE, WORKER_COUNTERS } from '../memory/layout/worker.ts'
import { NEIGH_STATE, neighLookup } from '../net/neigh.ts'
import { DELAY_PROBE_TIME } from '../net/neigh_update.ts'
import { FLOW_ACTION_REDIRECT, FLOW_ACTION_TUNNEL_ENCAP } from '../wire/flow_action_id.ts'
import { NUD_DELAY, NUD_FAILED, NUD_PERMANENT, NUD_STALE } from '../wire/rtm_neigh.ts'
import { MODE_OFFLOAD, runWork, setProbeTime } from './encap.ts'
import { encapList, encapText } from './show.ts'
import * as T from './trace.ts'
import { actionString, ipv6Text, traceEvent, traceJson, traceText } from './trace_points.ts'
import * as W from './world.fixture.ts'

const bytes = (s: string): number[] => [...W.ip(s)]

test('addresses as %pI6c prints them', () => {
  expect(ipv6Text(bytes('fd00:1::2'))).toBe('fd00:1::2')
  expect(ipv6Text(bytes('::'))).toBe('::')
  expect(ipv6Text(bytes('::1'))).toBe('::1')
  expect(ipv6Text(bytes('1:0:2:0:0:0:3:4'))).toBe('1:0:2::3:4')
  expect(ipv6Text(bytes('1:0:2:3:4:5:6:7'))).toBe('1:0:2:3:4:5:6:7')
  expect(ipv6Text([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 1, 1, 1, 10])).toBe('::ffff:1.1.1.10')
})

test('action names: a blank behind each, NULL, UNKNOWN, nothing for an id without a name', () => {
  expect(actionString([])).toBe('NULL')
  expect(actionString([FLOW_ACTION_TUNNEL_ENCAP, FLOW_ACTION_REDIRECT])).toBe('TUNNEL_ENCAP REDIRECT ')
  expect(actionString([17, 99])).toBe(' UNKNOWN ')
})

test('the trace points and the changes of state, in order, as text and JSON', () => {
  const w = W.makeWorld()
  T.traceOpen(w.a, 64)
  const reader = new T.TraceReader(w.a)
  runWork(w.a, w.clock.now)
  reader.read()
  const flow = W.addFlow(w, [{ tun: W.tunKey(w.a, '10.0.1.2', 7), dev: w.vxlan0 }])
  w.a.m[(flow + F.FLOW_COOKIE) >> 2] = 0x67874a55
  T.traceConfigureFlower(w.a, flow, [FLOW_ACTION_TUNNEL_ENCAP, FLOW_ACTION_REDIRECT])
  w.clock.now = 2000.25
  W.setNeigh(w, w.p1, '10.0.1.2', NUD_PERMANENT, W.mac(2))
  runWork(w.a, w.clock.now)
  w.clock.now = 3000
  T.traceStatsFlower(w.a, flow, 0x100000001, 3, 42)
  W.setNeigh(w, w.p1, '10.0.1.2', NUD_FAILED, null)
  runWork(w.a, w.clock.now)
  T.traceDeleteFlower(w.a, flow)
  const events = reader.read().map(traceEvent)
  expect(events.map(traceText)).toEqual([
    '1.000000000: encap_state: encap=1 netdev: vxlan0 dst: 10.0.1.2 header=0 why=neigh_none',
    '1.000000000: mlx5e_configure_flower: cookie=0000000067874a55 actions= TUNNEL_ENCAP REDIRECT ',
    '2.000250000: neigh_state: netdev: p1 dst: 10.0.1.2 MAC: 02:11:00:00:00:02 state=PERMANENT',
    '2.000250000: mlx5e_rep_neigh_update: netdev: p1 MAC: 02:11:00:00:00:02 IPv4: 10.0.1.2 IPv6: ::ffff:10.0.1.2 neigh_connected=1',
    '2.000250000: flow_path: cookie=0000000067874a55 path=fast why=none',
    '2.000250000: encap_state: encap=1 netdev: vxlan0 dst: 10.0.1.2 header=1 why=none',
    '3.000000000: mlx5e_stats_flower: cookie=0000000067874a55 bytes=4294967297 packets=3 lastused=42',
    '3.000000000: neigh_state: netdev: p1 dst: 10.0.1.2 MAC: 02:11:00:00:00:02 state=FAILED',
    '3.000000000: mlx5e_rep_neigh_update: netdev: p1 MAC: 02:11:00:00:00:02 IPv4: 10.0.1.2 IPv6: ::ffff:10.0.1.2 neigh_connected=0',
    '3.000000000: flow_path: cookie=0000000067874a55 path=slow why=neigh_failed',
    '3.000000000: encap_state: encap=1 netdev: vxlan0 dst: 10.0.1.2 header=0 why=neigh_failed',
    '3.000000000: mlx5e_delete_flower: cookie=0000000067874a55 actions= NULL',
  ])
  expect(JSON.parse(traceJson(events[1]))).toEqual({
    time: 1e9,
    event: 'mlx5e_configure_flower',
    cookie: '0000000067874a55',
    num: 2,
    ids: ['TUNNEL_ENCAP', 'REDIRECT'],
  })
  expect(JSON.parse(traceJson(events[3]))).toMatchObject({
    devname: 'p1',
    ha: '02:11:00:00:00:02',
    neigh_connected: true,
  })
  expect(reader.read()).toEqual([])
  expect(reader.lost).toBe(0)
})

test('a ring keeps the newest events, and the reader knows how many it missed', () => {
  const w = W.makeWorld()
  T.traceOpen(w.a, 8)
  const flow = W.addFlow(w, [])
  for (let i = 0; i < 20; i++) T.traceStatsFlower(w.a, flow, i, 0, 0)
  const reader = new T.TraceReader(w.a)
  expect(reader.read().map((r) => traceEvent(r).fields.bytes)).toEqual([12, 13, 14, 15, 16, 17, 18, 19])
  expect(reader.lost).toBe(12)
})

test('nothing is written while nobody asked', () => {
  const w = W.makeWorld()
  W.addFlow(w, [{ tun: W.tunKey(w.a, '10.0.1.2'), dev: w.vxlan0 }])
  expect(new T.TraceReader(w.a).read()).toEqual([])
})

test('neigh stats: used when a counter moved since the last report, and the neighbour hears of it', () => {
  const w = W.makeWorld({ mode: MODE_OFFLOAD })
  T.traceOpen(w.a)
  const { m } = w.a
  W.setNeigh(w, w.p1, '10.0.1.2', NUD_STALE, W.mac(2))
  const flow = W.addFlow(w, [{ tun: W.tunKey(w.a, '10.0.1.2'), dev: w.vxlan0 }])
  const counter = counterAlloc(w.a)
  m[(flow + F.FLOW_COUNTER) >> 2] = counter
  const state = (): number => m[(neighLookup(w.a, 2, W.ip('10.0.1.2'), w.p1) + NEIGH_STATE) >> 2]
  const used = (): unknown[] => {
    w.clock.now += 5000
    runWork(w.a, w.clock.now)
    return reader
      .read()
      .map(traceEvent)
      .filter((e) => e.event === 'mlx5e_tc_update_neigh_used_value')
      .map((e) => e.fields.neigh_used)
  }
  const reader = new T.TraceReader(w.a)
  expect(used()).toEqual([false])
  expect(state()).toBe(NUD_STALE)
  const shard = m[(m[SUPER_WORKER >> 2] + WORKER_COUNTERS) >> 2]
  m[(shard + counter * COUNTER_SIZE + COUNTER_LAST_USED) >> 2] = w.clock.now + 1
  expect(used()).toEqual([true])
  expect(state()).toBe(NUD_DELAY)
  expect(used()).toEqual([false]) // the same counter value counts once
  W.putFlow(w.a, flow)
  expect(used()).toEqual([]) // and without next hops the work ends
  expect(used()).toEqual([])
})

test('neigh stats come once in delay_probe_time; where a kernel says its own, twice', () => {
  const w = W.makeWorld({ mode: MODE_OFFLOAD })
  T.traceOpen(w.a)
  const reader = new T.TraceReader(w.a)
  W.setNeigh(w, w.p1, '10.0.1.2', NUD_PERMANENT, W.mac(2))
  W.addFlow(w, [{ tun: W.tunKey(w.a, '10.0.1.2'), dev: w.vxlan0 }])
  const reports = (ms: number): number => {
    w.clock.now += ms
    runWork(w.a, w.clock.now)
    return reader
      .read()
      .map(traceEvent)
      .filter((e) => e.event === 'mlx5e_tc_update_neigh_used_value').length
  }
  expect(reports(0)).toBe(0)
  expect([reports(DELAY_PROBE_TIME - 1), reports(1)]).toEqual([0, 1])
  expect([reports(DELAY_PROBE_TIME - 1), reports(1)]).toEqual([0, 1])
  setProbeTime(w.a, 800)
  expect(reports(DELAY_PROBE_TIME)).toBe(1) // was posted before
  expect([reports(399), reports(1), reports(399), reports(1)]).toEqual([0, 1, 0, 1])
})

test('encap show', () => {
  const w = W.makeWorld()
  W.setNeigh(w, w.p1, '10.0.1.2', NUD_PERMANENT, W.mac(2))
  W.setNeigh(w, w.p1, '10.0.1.4', NUD_STALE, W.mac(4))
  for (const [dst, vni] of [
    ['10.0.1.2', 7],
    ['fd00:1::3', 8],
    ['10.99.0.1', 9],
    ['10.0.1.4', 10],
  ] as const)
    W.addFlow(w, [{ tun: W.tunKey(w.a, dst, vni), dev: w.vxlan0 }])
  expect(encapList(w.a).map(encapText)).toEqual([
    'encap 1 dev vxlan0 key 7 src 0.0.0.0 dst 10.0.1.2 via 10.0.1.2 dev p1 flows 1 fast out p1 mac 02:11:00:00:00:02',
    'encap 2 dev vxlan0 key 8 src :: dst fd00:1::3 via fd00:1::3 dev p1 flows 1 slow (the next hop has not been asked for)',
    'encap 3 dev vxlan0 key 9 src 0.0.0.0 dst 10.99.0.1 flows 1 slow (no route to the tunnel destination)',
    'encap 4 dev vxlan0 key 10 src 0.0.0.0 dst 10.0.1.4 via 10.0.1.4 dev p1 flows 1 held out p1 mac 02:11:00:00:00:04 (the next hop has not been confirmed lately)',
  ])
})
