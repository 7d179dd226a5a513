// Actions as objects of their own: indexes, references, sharing, and whose packets they count.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { FLOW_ACTIONS, FLOW_COUNTER } from '../memory/layout/flow.ts'
import { OP_COUNT, OP_END, OP_GOTO, OP_REDIRECT, OP_VLAN_PUSH } from '../memory/layout/program.ts'
import { SUPER_WORKER } from '../memory/layout/super.ts'
import {
  COUNTER_BYTES,
  COUNTER_DROPS,
  COUNTER_OVERLIMITS,
  COUNTER_PACKETS,
  COUNTER_SIZE,
  WORKER_COUNTERS,
} from '../memory/layout/worker.ts'
import { findChain } from './chain.ts'
import { putFlow } from './flow.ts'
import { takeFlow } from './flow_table.ts'
import { findPrio } from './prio.ts'
import { ingressOf, leaks, lines, makeWorld, type World } from './world.model.ts'

const F = 'tc filter add dev p0 ingress protocol ip'
let w: World
beforeEach(() => {
  w = makeWorld()
  w.tc('tc qdisc add dev p0 clsact')
})
afterEach(() => {
  if (w.tc('tc qdisc show dev p0').includes('clsact')) w.tc('tc qdisc del dev p0 clsact')
  for (const kind of ['gact', 'mirred', 'vlan', 'tunnel_key']) w.tc(`tc actions flush action ${kind}`)
  expect(leaks(w)).toEqual({})
})

/** The flow of pref and handle. */
function flowOf(pref: number, handle = 1): number {
  const { m } = w.a
  const flow = takeFlow(m, findPrio(m, findChain(m, ingressOf(w, 'p0'), 0), pref, 0), handle)
  putFlow(w.a, flow)
  return flow
}

/** The flow's program as [op, operands…]. */
function program(flow: number): number[][] {
  const { m } = w.a
  const ops: number[][] = []
  for (let at = m[(flow + FLOW_ACTIONS) >> 2] >> 2; ; ) {
    const n = m[at] >> 8
    const op = m[at] & 0xff
    ops.push([op, ...m.subarray(at + 1, at + n)])
    at += n
    if (op === OP_END || op === OP_GOTO || (op === OP_REDIRECT && (m[at - 2] & 1) === 0)) return ops
  }
}

/** What a worker does to a counter. */
function count(id: number, o: { packets?: number; drops?: number; overlimits?: number }): void {
  const { m } = w.a
  const at = (m[(m[SUPER_WORKER >> 2] + WORKER_COUNTERS) >> 2] + id * COUNTER_SIZE) >> 2
  m[at + (COUNTER_PACKETS >> 2)] += o.packets ?? 0
  m[at + (COUNTER_BYTES >> 2)] += 100 * (o.packets ?? 0)
  m[at + (COUNTER_DROPS >> 2)] += o.drops ?? 0
  m[at + (COUNTER_OVERLIMITS >> 2)] += o.overlimits ?? 0
}
const counterOf = (flow: number): number => w.a.m[(flow + FLOW_COUNTER) >> 2]

/** packets, drops, overlimits of every action of the filters of p0. */
const shown = (): number[][] =>
  w
    .json('tc filter show dev p0 ingress')
    // biome-ignore lint/suspicious/noExplicitAny: tc's JSON
    .flatMap((f: any) => f.options?.actions ?? [])
    // biome-ignore lint/suspicious/noExplicitAny: tc's JSON
    .map((x: any) => [x.stats.packets, x.stats.drops, x.stats.overlimits])

describe('who counts', () => {
  test('one counter for a flow whose packets reach every action', () => {
    w.tc(`${F} pref 10 flower action mirred egress mirror dev p1 action mirred egress redirect dev p2`)
    const flow = flowOf(10)
    const ops = program(flow)
    expect(ops.map((o) => o[0])).toEqual([OP_COUNT, OP_REDIRECT, OP_REDIRECT])
    expect(ops[0][1]).toBe(counterOf(flow))
    count(counterOf(flow), { packets: 5 })
    count(ops[1][3], { overlimits: 2 }) // the copies could not be sent
    count(ops[2][3], { overlimits: 1 })
    expect(shown()).toEqual([
      [5, 0, 2],
      [5, 0, 1],
    ])
  })

  test('behind an op that may drop an action counts for itself', () => {
    w.tc(`${F} pref 10 flower action vlan push id 5 action drop`)
    const flow = flowOf(10)
    const ops = program(flow)
    expect(ops.map((o) => o[0])).toEqual([OP_COUNT, OP_VLAN_PUSH, OP_COUNT, OP_END])
    count(counterOf(flow), { packets: 5 })
    count(ops[1][3], { drops: 2 })
    count(ops[2][1], { packets: 3 })
    expect(shown()).toEqual([
      [5, 2, 0],
      [3, 3, 0], // a drop drops all that it counts
    ])
  })

  test('an action that nothing reaches counts nothing', () => {
    w.tc(`${F} pref 10 flower action pass action drop`)
    count(counterOf(flowOf(10)), { packets: 5 })
    expect(shown()).toEqual([
      [5, 0, 0],
      [0, 0, 0],
    ])
  })

  test('jumps are laid out straight; the list of a loop runs 32 times', () => {
    w.tc(`${F} pref 10 flower action gact jump 2 action drop action mirred egress redirect dev p1`)
    expect(program(flowOf(10)).map((o) => o[0])).toEqual([OP_COUNT, OP_REDIRECT])
    w.tc(`${F} pref 11 flower action gact pipe action gact jump 1`)
    expect(program(flowOf(11)).filter((o) => o[0] === OP_COUNT)).toHaveLength(1 + 32)
    w.tc(`${F} pref 12 flower action gact jump 5 action drop`)
    expect(program(flowOf(12)).map((o) => o[0])).toEqual([OP_COUNT, OP_END])
  })
})

describe('indexes', () => {
  test('the lowest free one, for each kind', () => {
    w.tc(`${F} pref 1 flower dst_ip 1.1.1.1 action drop`)
    w.tc(`${F} pref 1 flower dst_ip 1.1.1.2 action mirred egress redirect dev p1`)
    w.tc('tc actions add action drop index 3')
    for (const i of [3, 4, 5]) w.tc(`${F} pref 1 flower dst_ip 1.1.1.${i} action pass`)
    const index = (n: number): number => w.json('tc filter show dev p0 ingress')[n].options.actions[0].index
    expect([1, 2, 3, 4, 5].map(index)).toEqual([1, 1, 2, 4, 5])
    w.tc('tc filter del dev p0 ingress protocol ip pref 1 handle 3 flower')
    w.tc(`${F} pref 1 flower dst_ip 1.1.1.6 action pass`)
    expect(index(3)).toBe(2)
  })

  test('an index that is there is bound, whatever else is said', () => {
    w.tc('tc actions add action drop index 7')
    w.tc(`${F} pref 1 flower dst_ip 1.1.1.1 action pass index 7`)
    w.tc(`${F} pref 1 flower dst_ip 1.1.1.2 action gact index 7`)
    const [, one] = w.json('tc filter show dev p0 ingress')
    expect(one.options.actions[0]).toMatchObject({ control_action: { type: 'drop' }, index: 7, ref: 3, bind: 2 })
    expect(() => w.tc('tc actions del action gact index 7')).toThrow('Error: Failed to delete TC action.')
    expect(() => w.tc('tc actions flush action gact')).toThrow('RTNETLINK answers: Operation not permitted')
    w.tc('tc filter del dev p0 ingress')
    expect(lines(w.tc('tc actions get action gact index 7'))).toContain('index 7 ref 1 bind 0')
    w.tc('tc actions del action gact index 7')
    expect(() => w.tc('tc actions get action gact index 7')).toThrow('Error: TC action with specified index not found.')
  })

  test('made by a filter it goes with the last filter', () => {
    w.tc(`${F} pref 1 flower dst_ip 1.1.1.1 action drop index 7`)
    w.tc(`${F} pref 1 flower dst_ip 1.1.1.2 action gact index 7`)
    w.tc('tc filter del dev p0 ingress protocol ip pref 1 handle 1 flower')
    expect(lines(w.tc('tc actions ls action gact'))).toContain('index 7 ref 1 bind 1')
    w.tc('tc filter del dev p0 ingress protocol ip pref 1 handle 2 flower')
    expect(lines(w.tc('tc actions ls action gact'))).toEqual([])
  })

  test.each([
    ['tc actions add action drop index 5', 'RTNETLINK answers: File exists'],
    ['tc actions del action gact index 99', 'Error: TC action with specified index not found.'],
    ['tc actions get action gact index 99', 'Error: TC action with specified index not found.'],
  ])('%s', (line, text) => {
    w.tc('tc actions add action drop index 5')
    expect(() => w.tc(line)).toThrow(text)
  })

  test('a filter that is refused gives its actions back', () => {
    w.tc(`${F} pref 1 flower dst_ip 1.1.1.1 action drop index 7`)
    expect(() =>
      w.tc(`${F} pref 1 flower dst_ip 1.1.1.1 action mirred egress mirror dev p1 action gact index 7`),
    ).toThrow('File exists')
    expect(lines(w.tc('tc actions ls action gact'))).toContain('index 7 ref 1 bind 1')
    expect(w.tc('tc actions ls action mirred')).toBe('')
  })

  test('a long list comes in parts', () => {
    for (let i = 0; i < 100; i++) w.tc('tc actions add action vlan pop')
    const parts = w.json('tc actions ls action vlan')
    // biome-ignore lint/suspicious/noExplicitAny: tc's JSON
    expect(parts.flatMap((p: any) => p.actions ?? []).map((x: any) => x.index)).toEqual(
      Array.from({ length: 100 }, (_, i) => i + 1),
    )
  })
})

describe('shared', () => {
  test('it shows the packets of all its filters, and of those that are gone', () => {
    w.tc(`${F} pref 1 flower action drop index 7`)
    count(counterOf(flowOf(1)), { packets: 5 })
    w.tc(`${F} pref 2 flower action gact index 7`)
    count(counterOf(flowOf(1)), { packets: 1 })
    count(counterOf(flowOf(2)), { packets: 10 })
    expect(shown()).toEqual([
      [16, 16, 0],
      [16, 16, 0],
    ])
    w.tc('tc filter del dev p0 ingress pref 1')
    count(counterOf(flowOf(2)), { packets: 100 })
    expect(shown()).toEqual([[116, 116, 0]])
    w.tc('tc actions add action pass index 8')
    w.tc(`${F} pref 3 flower action pipe action gact index 7 action gact index 8`)
    count(counterOf(flowOf(3)), { packets: 1000 })
    expect(shown()).toEqual([
      [1116, 1116, 0],
      [1000, 0, 0],
      [1116, 1116, 0],
      [0, 0, 0],
    ])
  })

  test('twice in one list it counts twice', () => {
    w.tc('tc actions add action mirred egress mirror dev p1 index 3')
    w.tc(`${F} pref 1 flower action mirred index 3 action mirred index 3`)
    count(counterOf(flowOf(1)), { packets: 5 })
    expect(shown().map((s) => s[0])).toEqual([10, 10])
  })

  test('replaced, it changes what its filters do, and keeps what it counted', () => {
    w.tc(`${F} pref 1 flower dst_ip 1.1.1.1/24 action mirred egress redirect dev p1 index 3`)
    w.tc(`${F} pref 2 flower action mirred egress redirect dev p1 index 3`)
    const [one, two] = [flowOf(1), flowOf(2)]
    const before = program(one)
    count(counterOf(one), { packets: 5, overlimits: 1 })
    w.tc('tc actions replace action mirred egress redirect dev p2 index 3')
    expect([flowOf(1), flowOf(2)]).not.toEqual([one, two])
    expect(program(flowOf(1))[1][1]).not.toBe(before[1][1])
    expect(program(flowOf(1))[1][1]).toBe(program(flowOf(2))[1][1])
    const filters = w.json('tc filter show dev p0 ingress')
    expect(filters[1].options.keys.dst_ip).toBe('1.1.1.1/24')
    expect(filters[1].options.actions[0]).toMatchObject({ to_dev: 'p2', index: 3, ref: 2, bind: 2 })
    expect(shown()).toEqual([
      [5, 0, 1],
      [5, 0, 1],
    ])
  })

  test('what a replacement cannot be changes nothing', () => {
    w.tc(`${F} pref 1 flower action drop index 90`)
    expect(() => w.tc('tc actions replace action pass random determ goto chain 1 2 index 90')).toThrow()
    expect(() => w.tc('tc actions replace action goto chain 42 index 90')).toThrow()
    expect(w.json('tc filter show dev p0 ingress')[1].options.actions[0]).toMatchObject({
      control_action: { type: 'drop' },
      ref: 1,
      bind: 1,
    })
  })
})
