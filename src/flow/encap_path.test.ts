// Flows that encapsulate: which program they run while neighbours come and go (the mlx5e scheme, flow's half).
import { afterEach, beforeEach, expect, test } from 'vitest'
import { runWork } from '../encap/encap.ts'
import { ENCAP_HEADER } from '../memory/layout/encap.ts'
import {
  FLOW_ACTIONS,
  FLOW_F_INGRESS,
  FLOW_F_OFFLOADED,
  FLOW_F_SLOW,
  FLOW_FAST,
  FLOW_FLAGS,
  FLOW_INIT_DONE,
  FLOW_NENCAPS,
  FLOW_SLOW,
} from '../memory/layout/flow.ts'
import { OP_COUNT, OP_ENCAP, OP_REDIRECT, OP_TUNNEL_SET } from '../memory/layout/program.ts'
import { load } from '../sync/atomic.ts'
import { findChain } from './chain.ts'
import { putFlow } from './flow.ts'
import { takeFlow } from './flow_table.ts'
import { findPrio } from './prio.ts'
import { ingressOf, leaks, makeWorld, rebase, type World } from './world.model.ts'

let w: World
beforeEach(() => {
  w = makeWorld()
  for (const line of [
    'ip addr add 10.0.1.1/24 dev p1',
    'ip link add vxlan0 type vxlan external dstport 4789',
    'ip link set vxlan0 up',
    'ip neigh add 10.0.1.9 lladdr 02:09:09:09:09:09 nud permanent dev p1',
  ])
    w.tc(line)
  runWork(w.a, w.clock.now)
  rebase(w)
  w.tc('tc qdisc add dev p0 clsact')
})
afterEach(() => {
  w.tc('tc qdisc del dev p0 clsact')
  runWork(w.a, w.clock.now)
  const left = leaks(w)
  for (const what of ['flow', 'program', 'encap', 'encap_header', 'nhe', 'tun_info', 'action', 'counter', 'list'])
    expect(left[what], what).toBeUndefined()
})

const encap = (to: string, id = 1): string =>
  `action tunnel_key set src_ip 10.0.1.1 dst_ip ${to} id ${id} dst_port 4789 action mirred egress redirect dev vxlan0`
const add = (pref: number, actions: string): void =>
  void w.tc(`tc filter add dev p0 ingress protocol ip pref ${pref} flower dst_ip 1.1.1.1 ${actions}`)

function flowOf(pref: number): number {
  const { m } = w.a
  const flow = takeFlow(m, findPrio(m, findChain(m, ingressOf(w, 'p0'), 0), pref, 0), 1)
  putFlow(w.a, flow)
  return flow
}
const ops = (at: number): number[] => {
  const { m } = w.a
  const list: number[] = []
  for (let i = at >> 2; list.length < 8; i += m[i] >> 8) {
    list.push(m[i] & 0xff)
    if ((m[i] & 0xff) === OP_ENCAP || ((m[i] & 0xff) === OP_REDIRECT && (m[i + 2] & 1) === 0)) break
  }
  return list
}
const path = (pref: number): string => {
  const { m } = w.a
  const flow = flowOf(pref)
  const slow = (load(m, (flow + FLOW_FLAGS) >> 2) & FLOW_F_SLOW) !== 0
  expect(m[(flow + FLOW_ACTIONS) >> 2]).toBe(m[(flow + (slow ? FLOW_SLOW : FLOW_FAST)) >> 2])
  expect(load(m, (flow + FLOW_FLAGS) >> 2) & (FLOW_F_OFFLOADED | FLOW_F_INGRESS)).toBe(
    FLOW_F_OFFLOADED | FLOW_F_INGRESS,
  )
  return slow ? 'slow' : 'fast'
}

test('a flow begins on the path that its next hop allows', () => {
  add(10, encap('10.0.1.9'))
  add(20, encap('10.0.1.8'))
  add(30, 'action mirred egress redirect dev p2')
  expect([path(10), path(20), path(30)]).toEqual(['fast', 'slow', 'fast'])
  const { m } = w.a
  const flow = flowOf(10)
  expect(ops(m[(flow + FLOW_FAST) >> 2])).toEqual([OP_COUNT, OP_ENCAP])
  expect(ops(m[(flow + FLOW_SLOW) >> 2])).toEqual([OP_COUNT, OP_TUNNEL_SET, OP_REDIRECT])
  expect(m[(m[(m[(flow + FLOW_FAST) >> 2] >> 2) + 3] + ENCAP_HEADER) >> 2]).not.toBe(0)
  expect([m[(flow + FLOW_NENCAPS) >> 2], m[(flow + FLOW_INIT_DONE) >> 2]]).toEqual([1, 1])
  expect(m[(flowOf(30) + FLOW_FAST) >> 2]).toBe(m[(flowOf(30) + FLOW_SLOW) >> 2])
})

test('and goes from one to the other with its neighbour', () => {
  add(10, encap('10.0.1.9'))
  add(20, encap('10.0.1.8'))
  w.tc('ip neigh del 10.0.1.9 dev p1')
  w.tc('ip neigh add 10.0.1.8 lladdr 02:08:08:08:08:08 nud permanent dev p1')
  runWork(w.a, w.clock.now)
  expect([path(10), path(20)]).toEqual(['slow', 'fast'])
  w.tc('ip neigh replace 10.0.1.9 lladdr 02:09:09:09:09:0a nud permanent dev p1')
  runWork(w.a, w.clock.now)
  expect([path(10), path(20)]).toEqual(['fast', 'fast'])
})

test('a flow with two destinations is fast when both are', () => {
  add(10, `${encap('10.0.1.9').replace('redirect', 'mirror')} ${encap('10.0.1.8', 2)}`)
  expect(path(10)).toBe('slow')
  w.tc('ip neigh add 10.0.1.8 lladdr 02:08:08:08:08:08 nud permanent dev p1')
  runWork(w.a, w.clock.now)
  expect(path(10)).toBe('fast')
  w.tc('ip neigh del 10.0.1.9 dev p1')
  runWork(w.a, w.clock.now)
  expect(path(10)).toBe('slow')
})

test('as many destinations as 32 actions hold: keys of their own, or one key for all', () => {
  const pairs = Array.from({ length: 16 }, (_, i) => encap(i % 2 === 0 ? '10.0.1.9' : '10.0.1.8', 100 + i))
  add(10, pairs.map((p, i) => (i < 15 ? p.replace('redirect', 'mirror') : p)).join(' '))
  const copies = Array.from({ length: 30 }, () => 'action mirred egress mirror dev vxlan0')
  add(20, encap('10.0.1.9', 7).replace(' action mirred', ` ${copies.join(' ')} action mirred`))
  const { m } = w.a
  expect([m[(flowOf(10) + FLOW_NENCAPS) >> 2], m[(flowOf(20) + FLOW_NENCAPS) >> 2]]).toEqual([16, 31])
  expect([path(10), path(20)]).toEqual(['slow', 'fast'])
  w.tc('ip neigh add 10.0.1.8 lladdr 02:08:08:08:08:08 nud permanent dev p1')
  runWork(w.a, w.clock.now)
  expect([path(10), path(20)]).toEqual(['fast', 'fast'])
  w.tc('ip neigh del 10.0.1.9 dev p1')
  runWork(w.a, w.clock.now)
  expect([path(10), path(20)]).toEqual(['slow', 'slow'])
})

test('a refused flow lets go of its encaps', () => {
  add(10, encap('10.0.1.9'))
  expect(() => add(10, encap('10.0.1.8'))).toThrow('File exists')
  w.tc('ip neigh add 10.0.1.8 lladdr 02:08:08:08:08:08 nud permanent dev p1')
  runWork(w.a, w.clock.now)
  expect(path(10)).toBe('fast')
})

test('a shared tunnel_key that is replaced sends its flows elsewhere', () => {
  add(10, 'action tunnel_key set src_ip 10.0.1.1 dst_ip 10.0.1.9 id 1 index 5 action mirred egress redirect dev vxlan0')
  expect(path(10)).toBe('fast')
  w.tc('tc actions replace action tunnel_key set src_ip 10.0.1.1 dst_ip 10.0.1.8 id 1 index 5')
  expect(path(10)).toBe('slow')
  w.tc('ip neigh add 10.0.1.8 lladdr 02:08:08:08:08:08 nud permanent dev p1')
  runWork(w.a, w.clock.now)
  expect(path(10)).toBe('fast')
})
