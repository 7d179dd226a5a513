// Lists of actions that were met before: what is made of them is what would have been made of the message.
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { runWork } from '../encap/encap.ts'
import { ACT_COUNTER, ACT_INDEX } from '../memory/layout/action.ts'
import {
  FLOW_ACTIONS,
  FLOW_COUNTER,
  FLOW_F_INGRESS,
  FLOW_FAST,
  FLOW_NACTIONS,
  FLOW_REFCNT,
  FLOW_SLOW,
} from '../memory/layout/flow.ts'
import * as Refcount from '../sync/refcount.ts'
import { findChain } from './chain.ts'
import { unpack } from './classifier.ts'
import { actionOf, failFlow, makeFlow, putFlow } from './flow.ts'
import { join, STALE, takeFlow } from './flow_table.ts'
import type { KnownList } from './known_lists.ts'
import { makeAgain } from './known_lists.ts'
import { matchScratch, pack } from './match_scratch.ts'
import { findPrio } from './prio.ts'
import { ingressOf, leaks, makeWorld, rebase, type World } from './world.model.ts'

let w: World
/** What the last request's list was known as. */
let known: () => KnownList | undefined
let recalls: () => number
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
  const recall = vi.spyOn(w.c.lists, 'recall')
  recalls = () => recall.mock.calls.length
  known = () => recall.mock.results.at(-1)?.value
})
afterEach(() => {
  w.tc('tc qdisc del dev p0 clsact')
  runWork(w.a, w.clock.now)
  const left = leaks(w)
  for (const what of ['flow', 'program', 'encap', 'encap_header', 'nhe', 'tun_info', 'action', 'counter', 'list'])
    expect(left[what], what).toBeUndefined()
})

const REDIRECT = 'action mirred egress redirect dev'
const encap = (id: number, to: string, mirred: string): string =>
  `action tunnel_key set src_ip 10.0.1.1 dst_ip ${to} id ${id} dst_port 4789 tos 4 action mirred egress ${mirred} dev vxlan0`
const add = (handle: number, actions: string): void =>
  void w.tc(
    `tc filter add dev p0 ingress protocol ip pref 10 handle ${handle} flower dst_ip 1.1.1.${handle} ${actions}`,
  )
const prio = (): number => findPrio(w.a.m, findChain(w.a.m, ingressOf(w, 'p0'), 0), 10, 0)

function flowOf(handle: number): number {
  const flow = takeFlow(w.a.m, prio(), handle)
  putFlow(w.a, flow)
  return flow
}

/** Both programs of a flow, what is the flow's own by its name, and where it stands now. */
function programs(flow: number): (number | string)[] {
  const { m } = w.a
  const own = new Map<number, string>()
  for (let i = 0; i < m[(flow + FLOW_NACTIONS) >> 2]; i++) {
    own.set(m[(actionOf(m, flow, i) + ACT_COUNTER) >> 2], `counter of ${i}`)
    const tun = m[(actionOf(m, flow, i) + 68) >> 2]
    if (tun > 65536) own.set(tun, `metadata ${i}`)
  }
  own.delete(0)
  own.set(m[(flow + FLOW_COUNTER) >> 2], 'counter')
  const fast = m[(flow + FLOW_FAST) >> 2]
  const block = m.subarray((fast - 4) >> 2, (fast - 4 + m[(fast - 4) >> 2]) >> 2)
  const at = [FLOW_SLOW, FLOW_ACTIONS].map((field) => m[(flow + field) >> 2] - fast)
  return [...at, ...Array.from(block, (v) => own.get(v) ?? v)]
}

/** What tc shows of a rule, without what is its own. */
const shown = (handle: number): string =>
  w
    .tc(`tc filter get dev p0 ingress protocol ip pref 10 handle ${handle} flower`)
    .replace(/handle 0x\S+|index \d+|dst_ip 1\.1\.1\.\d+/g, '')

test.each([
  ['redirect', `${REDIRECT} p2`],
  ['copies', `action mirred egress mirror dev p2 action mirred ingress mirror dev p3 ${REDIRECT} p1`],
  ['encap', encap(7, '10.0.1.9', 'redirect')],
  ['encap without a neighbour', encap(7, '10.0.1.8', 'redirect')],
  [
    'several',
    `${encap(7, '10.0.1.9', 'mirror')} ${encap(8, '10.0.1.9', 'mirror')} ${encap(7, '10.0.1.9', 'redirect')}`,
  ],
  ['metadata for a port', `action tunnel_key set src_ip 1.1.1.1 dst_ip 2.2.2.2 id 5 ${REDIRECT} p2`],
  ['metadata taken away', `action tunnel_key unset ${REDIRECT} p2`],
  ['options', `action tunnel_key set src_ip 10.0.1.1 dst_ip 10.0.1.9 id 5 geneve_opts 1:2:11223344 ${REDIRECT} p2`],
])('%s: rules of a known list are as those before', (_, actions) => {
  for (let handle = 1; handle <= 4; handle++) {
    add(handle, actions)
    expect(known() !== undefined, `rule ${handle}`).toBe(handle > 2)
  }
  const rules = [1, 2, 3, 4]
  expect(new Set(rules.map((handle) => JSON.stringify(programs(flowOf(handle))))).size).toBe(1)
  expect(new Set(rules.map(shown)).size).toBe(1)
  const n = w.a.m[(flowOf(1) + FLOW_NACTIONS) >> 2]
  const indexes = rules.flatMap((handle) =>
    Array.from({ length: n }, (__, i) => w.a.m[(actionOf(w.a.m, flowOf(handle), i) + ACT_INDEX) >> 2]),
  )
  expect(Math.max(...indexes)).toBe(actions.split('mirred').length === n + 1 ? 4 * n : indexes.length / 2)
  w.tc('tc filter del dev p0 ingress protocol ip pref 10 handle 3 flower')
  add(9, actions)
  expect(shown(9)).toBe(shown(1)) // the lowest index is free again, and is taken
})

test.each([
  ['an index', `${REDIRECT} p2 index 5`],
  ['a cookie', `${REDIRECT} p2 cookie 0102`],
  ['a chain', 'action mirred egress mirror dev p2 goto chain 7'],
  ['a kind that keeps nothing', `action pass ${REDIRECT} p2`],
])('a list with %s is read every time', (_, actions) => {
  for (let handle = 1; handle <= 4; handle++) {
    add(handle, actions)
    expect(known()).toBeUndefined()
  }
})

test('hundreds of lists are known at once', { timeout: 60_000 }, () => {
  let unknown = 0
  for (const round of [0, 1, 2]) {
    for (let n = 1; n <= 200; n++) {
      const place = `pref 10 handle ${n + 1000 * round}`
      const match = `src_ip 9.9.9.${round + 1} dst_ip 1.1.1.${n}`
      w.tc(`tc filter add dev p0 ingress protocol ip ${place} flower ${match} ${encap(n, '10.0.1.9', 'redirect')}`)
      if (round === 2 && known() === undefined) unknown++
    }
  }
  expect(unknown).toBeLessThan(5)
})

test('a list of a filter with an estimator is read every time', () => {
  for (let handle = 1; handle <= 3; handle++) add(handle, `${REDIRECT} p2`)
  expect(known()).toBeDefined()
  const calls = recalls()
  w.tc(`tc filter add dev p0 ingress protocol ip pref 10 handle 4 estimator 1s 4s flower dst_ip 1.1.1.4 ${REDIRECT} p2`)
  expect(recalls()).toBe(calls)
})

test('a list is another one with other flags of the filter', () => {
  for (let handle = 1; handle <= 3; handle++) add(handle, `${REDIRECT} p2`)
  expect(known()).toBeDefined()
  add(4, `skip_hw ${REDIRECT} p2`)
  expect(known()).toBeUndefined()
  expect(shown(4)).toContain('skip_hw')
})

test('a device that is another one is looked for anew', () => {
  w.tc('ip link add vxlan1 type vxlan external dstport 4790')
  for (let handle = 1; handle <= 3; handle++) add(handle, `${REDIRECT} vxlan1`)
  expect(known()).toBeDefined()
  const ifindex = w.devices.indexOf('vxlan1')
  const { indexOf } = w.devices
  w.tc('ip link del vxlan1')
  // tc was told the ifindex before the device went.
  Object.assign(w.devices, { indexOf: (name: string) => (name === 'vxlan1' ? ifindex : indexOf(name)) })
  expect(() => add(5, `${REDIRECT} vxlan1`)).toThrow('No such device')
  Object.assign(w.devices, { indexOf })
  expect(takeFlow(w.a.m, prio(), 5)).toBe(0)
  w.tc('ip link add vxlan1 type vxlan external dstport 4790')
  for (let handle = 6; handle <= 9; handle++) add(handle, `${REDIRECT} vxlan1`)
  expect(shown(9)).toContain('to device vxlan1')
  w.tc('tc filter del dev p0 ingress')
  w.tc('ip link del vxlan1')
})

test('an instance that is replaced before its flow is made: the flow does not join', () => {
  for (let handle = 1; handle <= 3; handle++) add(handle, `${REDIRECT} p2`)
  const list = known()
  if (list === undefined) throw new Error('the list is not known')
  const { a } = w
  const acts = new Int32Array(32)
  expect(makeAgain(w.c, list, acts)).toBe(true)
  w.tc(`tc actions replace ${REDIRECT} p3 index ${a.m[(acts[0] + ACT_INDEX) >> 2]}`)
  const scratch = matchScratch()
  unpack(a.m, flowOf(1), scratch)
  scratch.key[scratch.mask.lastIndexOf(0xff)] = 77
  pack(scratch)
  const flow = makeFlow(w.c, scratch, acts, 1, FLOW_F_INGRESS, 0, 0, list)
  Refcount.get(a.m, (flow + FLOW_REFCNT) >> 2)
  expect(join(a, prio(), flow, scratch, 77, 0)).toBe(STALE)
  failFlow(a, flow)
  putFlow(a, flow)
})
