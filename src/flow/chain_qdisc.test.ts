// Chains on demand, on purpose and with templates; goto; qdiscs and the blocks they share.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { CHAIN_INDEX, FLOW_ACTIONS } from '../memory/layout/flow.ts'
import { OP_GOTO } from '../memory/layout/program.ts'
import { msgType, viewOf } from '../wire/netlink.ts'
import * as Tcm from '../wire/tcm.ts'
import { findChain } from './chain.ts'
import { putFlow } from './flow.ts'
import { takeFlow } from './flow_table.ts'
import { findPrio } from './prio.ts'
import { ingressOf, leaks, lines, makeWorld, type World } from './world.model.ts'

const F = 'tc filter add dev p0 ingress protocol ip'
let w: World
beforeEach(() => {
  w = makeWorld({ notify: true })
  w.tc('tc qdisc add dev p0 clsact')
  w.notified.length = 0
})
afterEach(() => {
  for (const dev of ['p0', 'p1', 'p2']) {
    const kind = /qdisc (clsact|ingress)/.exec(w.tc(`tc qdisc show dev ${dev}`))?.[1]
    if (kind) w.tc(`tc qdisc del dev ${dev} ${kind}`)
  }
  w.tc('tc actions flush action gact')
  expect(leaks(w)).toEqual({})
})

const chains = (line = 'tc chain show dev p0 ingress'): number[] => w.json(line).map((c: { chain: number }) => c.chain)
const told = (): number[] => w.notified.splice(0).map((m) => msgType(viewOf(m)))

describe('chains', () => {
  test('come with their first filter and go with their last', () => {
    expect(chains()).toEqual([])
    w.tc(`${F} pref 1 chain 5 flower action drop`)
    w.tc(`${F} pref 1 flower action drop`)
    w.tc(`${F} pref 1 chain 2 flower action drop`)
    expect(chains()).toEqual([5, 0, 2])
    w.tc('tc filter del dev p0 ingress chain 5')
    expect(chains()).toEqual([0, 2])
    w.tc(`${F} pref 1 chain 5 flower action drop`)
    expect(chains()).toEqual([0, 2, 5])
  })

  test('one that only a goto names is there and not shown', () => {
    w.tc(`${F} pref 1 flower action goto chain 9`)
    expect(chains()).toEqual([0])
    expect(told()).toEqual([Tcm.RTM_NEWCHAIN, Tcm.RTM_NEWTFILTER])
    const { m } = w.a
    const block = ingressOf(w, 'p0')
    const flow = takeFlow(m, findPrio(m, findChain(m, block, 0), 1, 0), 1)
    const program = m[(flow + FLOW_ACTIONS) >> 2] >> 2
    expect(m[program + 2] & 0xff).toBe(OP_GOTO)
    expect(m[(m[program + 3] + CHAIN_INDEX) >> 2]).toBe(9)
    expect(findChain(m, block, 9)).toBe(m[program + 3])
    putFlow(w.a, flow)
    expect(() => w.tc('tc chain get dev p0 ingress chain 9')).toThrow('Cannot find specified filter chain')
    w.tc(`${F} pref 1 chain 9 flower action drop`)
    expect(chains()).toEqual([0, 9])
    expect(told()).toEqual([Tcm.RTM_NEWCHAIN, Tcm.RTM_NEWTFILTER])
    w.tc('tc filter del dev p0 ingress chain 9')
    expect(told()).toEqual([Tcm.RTM_DELTFILTER, Tcm.RTM_DELCHAIN])
    expect(findChain(m, block, 9)).not.toBe(0)
    w.tc('tc filter del dev p0 ingress')
    expect(findChain(m, block, 9)).toBe(0)
  })

  test('made on purpose they stay', () => {
    w.tc('tc chain add dev p0 ingress chain 5')
    expect(() => w.tc('tc chain add dev p0 ingress chain 5')).toThrow('Error: Filter chain already exists.')
    w.tc(`${F} pref 1 chain 5 flower action drop`)
    w.tc('tc filter del dev p0 ingress chain 5')
    expect(chains()).toEqual([5])
    w.tc(`${F} pref 1 chain 5 flower action drop`)
    w.tc('tc chain del dev p0 ingress chain 5')
    expect(chains()).toEqual([])
    expect(w.tc('tc filter show dev p0 ingress')).toBe('')
    expect(() => w.tc('tc chain del dev p0 ingress chain 6')).toThrow('Error: Cannot find specified filter chain.')
  })

  test('chain 0 made on purpose', () => {
    w.tc('tc chain add dev p0 ingress chain 0')
    expect(chains()).toEqual([0])
    w.tc('tc chain del dev p0 ingress chain 0')
    expect(chains()).toEqual([])
    w.tc(`${F} pref 1 flower action drop`)
    expect(() => w.tc('tc chain add dev p0 ingress chain 0')).toThrow('Filter chain already exists')
  })

  test('a template says what its filters may look at', () => {
    w.tc('tc chain add dev p0 ingress chain 4 protocol ip flower dst_ip 0.0.0.0/24')
    expect(lines(w.tc('tc chain show dev p0 ingress'))).toEqual([
      'chain parent ffff: flower chain 4',
      'eth_type ipv4',
      'dst_ip 0.0.0.0/24',
    ])
    w.tc(`${F} pref 10 chain 4 flower dst_ip 1.1.1.0/24 action drop`)
    expect(() => w.tc(`${F} pref 20 chain 4 flower src_ip 9.9.9.9 action drop`)).toThrow(
      'Error: Mask does not fit the template.',
    )
    expect(() => w.tc(`${F} pref 10 chain 4 flower dst_ip 1.1.1.1 action drop`)).toThrow('does not fit')
    expect(w.json('tc filter show dev p0 ingress')).toHaveLength(2)
    w.tc('tc chain del dev p0 ingress chain 4')
  })

  test('a refused template leaves no chain', () => {
    expect(() => w.tc('tc chain add dev p0 ingress chain 4 protocol ip flower indev nope')).toThrow('device')
    expect(chains()).toEqual([])
  })
})

describe('qdiscs', () => {
  test.each([
    ['tc qdisc add dev p0 clsact', 'Error: Exclusivity flag on, cannot modify.'],
    ['tc qdisc add dev p0 ingress', 'Error: Exclusivity flag on, cannot modify.'],
    ['tc qdisc del dev p1 clsact', 'Error: Cannot find specified qdisc on specified device.'],
    ['tc qdisc add dev p0 bogus', 'Error: Handle cannot be zero.'],
    ['tc qdisc del dev p0 ingress', 'Error: Invalid qdisc name.'],
  ])('%s', (line, text) => expect(() => w.tc(line)).toThrow(text))

  test('ingress has one hook, whatever it is called', () => {
    w.tc('tc qdisc add dev p1 ingress')
    w.tc('tc filter add dev p1 parent ffff: protocol ip pref 1 flower action drop')
    expect(w.json('tc filter show dev p1 ingress')).toHaveLength(2)
    expect(w.json('tc qdisc show dev p1').map((q: { kind: string }) => q.kind)).toEqual(['noqueue', 'ingress'])
  })

  test('a qdisc that goes takes everything with it', () => {
    for (let i = 0; i < 100; i++) w.tc(`${F} pref ${i + 1} chain ${i % 7} flower action goto chain ${i % 5}`)
    w.tc('tc chain add dev p0 ingress chain 77')
    w.tc('tc qdisc del dev p0 clsact')
    expect(ingressOf(w, 'p0')).toBe(0)
    w.tc('tc qdisc add dev p0 clsact')
    expect(w.tc('tc filter show dev p0 ingress') + w.tc('tc chain show dev p0 ingress')).toBe('')
  })

  test('a device that goes takes its filters with it', () => {
    w.tc('ip link add du0 type dummy')
    w.tc('tc qdisc add dev du0 clsact')
    w.tc('tc filter add dev du0 egress protocol ip flower action drop')
    w.tc('ip link del du0')
    expect(w.tc('tc actions ls action gact')).toBe('')
  })
})

describe('shared blocks', () => {
  beforeEach(() => {
    w.tc('tc qdisc add dev p1 ingress_block 22 ingress')
    w.tc('tc qdisc add dev p2 ingress_block 22 clsact')
  })

  test('are named by their index, and only by it', () => {
    w.tc('tc filter add block 22 protocol ip pref 7 flower action drop')
    expect(ingressOf(w, 'p1')).toBe(ingressOf(w, 'p2'))
    expect(() => w.tc('tc filter add dev p1 ingress protocol ip pref 8 flower action drop')).toThrow(
      'This filter block is shared. Please use the block index to manipulate the filters',
    )
    expect(w.json('tc filter show block 22')).toHaveLength(2)
    expect(w.json('tc filter show dev p1 ingress')).toHaveLength(2)
    expect(w.json('tc qdisc show dev p1')[1].ingress_block).toBe(22)
    expect(() => w.tc('tc filter show block 23')).not.toThrow()
    w.tc('tc filter add dev p2 egress protocol ip pref 8 flower action drop')
  })

  test('live as long as one hook uses them', () => {
    w.tc('tc filter add block 22 protocol ip pref 7 flower action drop')
    w.tc('tc qdisc del dev p1 ingress')
    expect(w.json('tc filter show block 22')).toHaveLength(2)
    w.tc('tc qdisc del dev p2 clsact')
    expect(() => w.tc('tc filter add block 22 protocol ip pref 7 flower action drop')).toThrow(
      'Error: Block of given index was not found.',
    )
  })
})

test('a device that has lost its qdisc is spoken of in other words than one that never had any', () => {
  w.tc('tc qdisc add dev p3 clsact')
  w.tc('tc qdisc del dev p3 clsact')
  expect(() => w.tc('tc qdisc del dev p3 clsact')).toThrow('Error: Invalid handle.')
  w.tc('tc qdisc add dev p3 ingress')
  w.tc('tc qdisc del dev p3 ingress')
})
