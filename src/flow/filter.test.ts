// What the kernel refuses and in which words, what it accepts, and what it then shows: conformance/tc-output/errors.txt
// and listings.txt, and BEHAVIOUR.md.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { msgFlags, msgLen, msgSeq, msgType, viewOf } from '../wire/netlink.ts'
import * as Tcm from '../wire/tcm.ts'
import { leaks, lines, makeWorld, type World } from './world.model.ts'

let w: World
beforeEach(() => {
  w = makeWorld()
  w.tc('tc qdisc add dev p0 clsact')
})

const F = 'tc filter add dev p0 ingress protocol ip'
const TALK = '\nWe have an error talking to the kernel'
const handles = (line = 'tc filter show dev p0 ingress'): unknown[] =>
  w
    .json(line)
    .filter((f: { options?: unknown }) => f.options)
    // biome-ignore lint/suspicious/noExplicitAny: tc's JSON
    .map((f: any) => [f.pref, f.options.handle])

describe('refusals', () => {
  test.each([
    [`${F} pref 1000 flower dst_ip 9.9.9.1 action drop`, 'RTNETLINK answers: File exists'],
    [`${F} pref 1000 handle 1 flower dst_ip 9.9.9.2 action drop`, 'Error: Filter already exists.'],
    [
      'tc filter add dev p0 ingress protocol ipv6 pref 1000 flower dst_ip ::1 action drop',
      'Error: Filter with specified priority/protocol not found.',
    ],
    [`${F} pref 10`, 'Error: Filter kind and protocol must be specified.'],
    [`${F} pref 10 chain 4294967295 flower action drop`, 'Error: Specified chain index exceeds upper limit.'],
    ['tc filter add dev p0 protocol ip pref 10 flower action drop', 'Error: Qdisc not classful.'],
    ['tc filter add dev p0 parent 1: protocol ip pref 10 flower', "Error: Parent Qdisc doesn't exists."],
    ['tc filter add dev p1 ingress protocol ip pref 10 flower action drop', "Error: Parent Qdisc doesn't exists."],
    ['tc filter add ingress protocol ip pref 10 flower action drop', 'RTNETLINK answers: No such device'],
    ['tc filter add block 5 protocol ip pref 10 flower action drop', 'Error: Block of given index was not found.'],
    [
      'tc filter del dev p0 ingress protocol ip pref 77 flower',
      'Error: Filter with specified priority/protocol not found.',
    ],
    [
      'tc filter del dev p0 ingress protocol ip pref 1000 handle 77 flower',
      'Error: Specified filter handle not found.',
    ],
    [
      'tc filter del dev p0 ingress protocol ipv6 pref 1000 flower',
      'Error: Filter with specified priority/protocol not found.',
    ],
    ['tc filter del dev p0 ingress chain 9 protocol ip pref 1000 flower', 'Error: Cannot find specified filter chain.'],
    [
      'tc filter change dev p0 ingress protocol ip pref 1000 handle 77 flower dst_ip 1.1.1.1 action drop',
      'Error: Need both RTM_NEWTFILTER and NLM_F_CREATE to create a new filter.',
    ],
    [
      'tc filter replace dev p0 ingress protocol ipv6 pref 1000 handle 1 flower dst_ip ::1 action drop',
      'Error: Filter with specified priority/protocol not found.',
    ],
    [
      'tc filter get dev p0 ingress protocol ip pref 77 handle 1 flower',
      'Error: Filter with specified priority/protocol not found.',
    ],
    ['tc filter get dev p0 ingress protocol ip pref 1000 handle 9 flower', 'Error: Specified filter handle not found.'],
    [`${F} pref 10 flower skip_sw dst_ip 1.1.1.1 action drop`, 'RTNETLINK answers: Operation not supported'],
    [`${F} pref 10 flower skip_sw skip_hw dst_ip 1.1.1.1 action drop`, 'RTNETLINK answers: Invalid argument'],
    [`${F} pref 10 flower indev nope`, 'Error: Network device not found.'],
    [`${F} pref 10 flower action mirred index 77`, 'Error: act_mirred: Unknown mirred option.'],
    [
      'tc filter replace dev p0 ingress protocol ip pref 1000 handle 1 flower dst_ip 9.9.9.0/24 action drop',
      'Error: flower: a filter is replaced by one with the same mask.',
    ],
  ])('%s', (line, text) => {
    w.tc(`${F} pref 1000 flower dst_ip 9.9.9.1 action drop`)
    const before = w.tc('tc -s filter show dev p0 ingress')
    expect(() => w.tc(line)).toThrow(text + TALK)
    expect(w.tc('tc -s filter show dev p0 ingress')).toBe(before)
    expect(lines(w.tc('tc chain show dev p0 ingress'))).toEqual(['chain parent ffff: chain 0'])
  })
})

describe('handles and prefs', () => {
  test('the automatic handle is the lowest free one', () => {
    for (let i = 1; i <= 4; i++) w.tc(`${F} pref 10 flower dst_ip 1.1.1.${i} action drop`)
    w.tc('tc filter del dev p0 ingress protocol ip pref 10 handle 2 flower')
    w.tc(`${F} pref 10 handle 0x20 flower dst_ip 1.1.1.20 action drop`)
    w.tc(`${F} pref 10 flower dst_ip 1.1.1.5 action drop`)
    w.tc(`${F} pref 10 flower dst_ip 1.1.1.6 action drop`)
    expect(handles()).toEqual([1, 2, 3, 4, 5, 32].map((h) => [10, h]))
  })

  test('the automatic pref goes down from 49152, below what is there', () => {
    w.tc(`${F} flower dst_ip 1.1.1.1 action drop`)
    w.tc(`${F} flower dst_ip 1.1.1.1 action drop`)
    w.tc(`${F} pref 40000 flower dst_ip 1.1.1.1 action drop`)
    w.tc(`${F} flower dst_ip 1.1.1.1 action drop`)
    w.tc(`${F} pref 5 flower dst_ip 1.1.1.1 action drop`)
    w.tc(`${F} flower dst_ip 1.1.1.1 action drop`)
    expect(handles()).toEqual([5, 39998, 39999, 40000, 49151, 49152].map((p) => [p, 1]))
  })

  test('replace keeps the handle and takes the new match and actions', () => {
    w.tc(`${F} pref 10 flower dst_ip 1.1.1.1 action drop`)
    w.tc(`${F} pref 10 flower dst_ip 1.1.1.2 action drop`)
    w.tc('tc filter replace dev p0 ingress protocol ip pref 10 handle 1 flower dst_ip 1.1.1.3 action pass')
    w.tc(
      'tc filter change dev p0 ingress protocol ip pref 10 handle 2 flower dst_ip 1.1.1.2 action mirred egress redirect dev p1',
    )
    const [, one, two] = w.json('tc filter show dev p0 ingress')
    expect([one.options.handle, one.options.keys.dst_ip, one.options.actions[0].control_action.type]).toEqual([
      1,
      '1.1.1.3',
      'pass',
    ])
    expect([two.options.handle, two.options.keys.dst_ip, two.options.actions[0].to_dev]).toEqual([2, '1.1.1.2', 'p1'])
    w.tc(`${F} pref 10 flower dst_ip 1.1.1.1 action drop`) // its key is free again
    expect(() => w.tc(`${F} pref 10 flower dst_ip 1.1.1.3 action drop`)).toThrow('File exists')
  })

  test('replace without a handle that is there adds', () => {
    w.tc('tc filter replace dev p0 ingress protocol ip pref 10 handle 7 flower dst_ip 1.1.1.3 action pass')
    expect(handles()).toEqual([[10, 7]])
  })

  test('the key is shown as it was given, and duplicates are told by what it masks', () => {
    w.tc(`${F} pref 10 flower dst_ip 1.1.1.99/24 src_ip 2.3.4.5/0 action drop`)
    expect(w.json('tc filter show dev p0 ingress')[1].options.keys).toEqual({ eth_type: 'ipv4', dst_ip: '1.1.1.99/24' })
    expect(() => w.tc(`${F} pref 10 flower dst_ip 1.1.1.0/24 src_ip 9.9.9.9/0 action drop`)).toThrow('File exists')
  })
})

describe('matchall', () => {
  const M = 'tc filter add dev p0 ingress protocol all pref 30'

  test('one filter to a pref, any handle, shown as tc shows it', () => {
    w.tc(`${M} matchall action drop`)
    expect(lines(w.tc('tc filter show dev p0 ingress'))).toEqual([
      'filter protocol all pref 30 matchall chain 0',
      'filter protocol all pref 30 matchall chain 0 handle 0x1',
      'not_in_hw',
      'action order 1: gact action drop',
      'random type none pass val 0',
      'index 1 ref 1 bind 1',
    ])
    expect(() => w.tc(`${M} matchall action pass`)).toThrow('RTNETLINK answers: File exists')
    expect(() => w.tc(`${M} handle 1 matchall action pass`)).toThrow('Error: Filter already exists.')
    expect(() => w.tc(`${M} flower action pass`)).toThrow('Specified filter kind does not match existing one')
    expect(() => w.tc(`${F} pref 30 chain 1 bpf obj x`)).toThrow()
    w.tc('tc filter del dev p0 ingress pref 30')
    w.tc(`${M} handle 0xffffffff matchall classid 1:1 skip_hw action pass`)
    expect(w.json('tc filter show dev p0 ingress')[1].options).toMatchObject({
      handle: 0xffffffff,
      flowid: '1:1',
      skip_hw: true,
      rule_hit: 0,
    })
    w.tc('tc filter del dev p0 ingress protocol all pref 30 handle 0xffffffff matchall')
    expect(w.tc('tc filter show dev p0 ingress')).toBe('')
  })

  test('not in a chain with a template', () => {
    w.tc('tc chain add dev p0 ingress chain 4 protocol ip flower dst_ip 0.0.0.0/24')
    expect(() => w.tc('tc filter add dev p0 ingress chain 4 protocol all pref 30 matchall action drop')).toThrow(
      'Error: Chain template is set to a different filter kind.',
    )
    expect(() => w.tc('tc chain add dev p0 ingress chain 5 matchall')).toThrow(
      'Chain templates are not supported with specified classifier',
    )
    w.tc('tc chain del dev p0 ingress chain 4')
  })
})

describe('deleting', () => {
  beforeEach(() => {
    for (let i = 1; i <= 150; i++) w.tc(`${F} pref 10 flower dst_ip 1.1.1.${i} action drop`)
    w.tc(`${F} pref 20 flower dst_ip 1.1.0.0/16 action drop`)
    w.tc(`${F} pref 20 chain 5 flower dst_ip 1.1.0.0/16 action drop`)
  })

  test('one, and with the last one the prio', () => {
    w.tc('tc filter del dev p0 ingress protocol ip pref 20 handle 1 flower')
    expect(handles()).toHaveLength(151)
    expect(w.json('tc filter show dev p0 ingress pref 20')).toHaveLength(2) // of chain 5
    w.tc('tc filter add dev p0 ingress protocol ipv6 pref 20 flower action drop') // its protocol is free again
  })

  test('all of a pref', () => {
    w.tc('tc filter del dev p0 ingress pref 10')
    expect(handles()).toEqual([
      [20, 1],
      [20, 1],
    ])
  })

  test('all of the hook: chain 0 alone', () => {
    w.tc('tc filter del dev p0 ingress')
    expect(handles()).toEqual([[20, 1]])
    expect(lines(w.tc('tc chain show dev p0 ingress'))).toEqual(['chain parent ffff: chain 5'])
  })

  test('a flush with something to choose by is refused', () => {
    expect(() => w.tc('tc filter del dev p0 ingress protocol ip')).toThrow(
      'Cannot flush filters with protocol, handle or kind set',
    )
  })
})

describe('showing', () => {
  beforeEach(() => {
    for (let i = 1; i <= 200; i++) w.tc(`${F} pref 10 flower dst_ip 1.1.1.${i} action drop`)
    w.tc('tc filter add dev p0 ingress protocol arp pref 3 flower action drop')
    w.tc(`${F} pref 1 chain 7 flower action pass`)
    w.tc('tc filter add dev p0 egress protocol ip pref 4 flower action pass')
  })

  test('prefs ascending, then handles, chains as they came', () => {
    expect(handles()).toEqual([[3, 1], ...Array.from({ length: 200 }, (_, i) => [10, i + 1]), [1, 1]])
    expect(handles('tc filter show dev p0 egress')).toEqual([[4, 1]])
    expect(handles('tc filter show dev p0')).toEqual([])
  })

  test('what is asked for alone', () => {
    expect(w.json('tc filter show dev p0 ingress pref 3')).toHaveLength(2)
    expect(w.json('tc filter show dev p0 ingress protocol arp')).toHaveLength(2)
    expect(w.json('tc filter show dev p0 ingress chain 7')).toHaveLength(2)
    expect(w.json('tc filter show dev p0 ingress chain 8')).toEqual([])
    expect(w.json('tc filter show dev p1 ingress')).toEqual([])
  })

  test('the answers carry the number of the request and say that there are several', () => {
    for (const m of w.replies('tc filter show dev p0 ingress')) {
      const d = viewOf(m)
      expect([msgType(d), msgFlags(d), msgSeq(d), msgLen(d)]).toEqual([Tcm.RTM_NEWTFILTER, 2, 7, m.length])
    }
  })

  test('get shows one as it was asked for', () => {
    expect(lines(w.tc('tc filter get dev p0 ingress protocol ip pref 10 handle 5 flower'))[0]).toBe(
      'filter ingress protocol ip pref 10 flower chain 0 handle 0x5',
    )
  })
})

describe('telling', () => {
  beforeEach(() => {
    w = makeWorld({ notify: true })
    w.tc('tc qdisc add dev p0 clsact')
  })
  const told = (): [number, number][] => w.notified.splice(0).map((m) => [msgType(viewOf(m)), msgLen(viewOf(m))])

  // Types and lengths as recorded: conformance/tc-output/netlink/nlmon-decoded.txt.
  test('every change is told as the kernel tells it', () => {
    expect(told()).toEqual([[Tcm.RTM_NEWQDISC, 152]])
    w.tc(`${F} pref 10 flower dst_ip 1.1.1.0/24 ip_proto udp dst_port 53 action drop`)
    expect(told()).toEqual([
      [Tcm.RTM_NEWCHAIN, 44],
      [Tcm.RTM_NEWTFILTER, 284],
    ])
    w.tc(
      `${F} pref 10 handle 5 flower skip_hw src_mac 02:00:00:00:00:01 dst_mac 02:00:00:00:00:00/40 src_ip 2.2.2.2 ip_tos 0x10/0xfc ip_ttl 64 ip_proto tcp tcp_flags 2/3f dst_port 80 action mirred egress redirect dev p1`,
    )
    expect(told()).toEqual([[Tcm.RTM_NEWTFILTER, 400]])
    w.tc('tc filter del dev p0 ingress protocol ip pref 10 handle 5 flower')
    expect(told()).toEqual([[Tcm.RTM_DELTFILTER, 400]])
    w.tc('tc filter del dev p0 ingress pref 10')
    expect(told()).toEqual([
      [Tcm.RTM_DELTFILTER, 56],
      [Tcm.RTM_DELCHAIN, 44],
    ])
    w.tc('tc qdisc del dev p0 clsact')
    expect(told()).toEqual([[Tcm.RTM_DELQDISC, 152]])
  })

  test('who deletes the hook hears of its chains', () => {
    w.tc(`${F} pref 10 chain 5 flower action drop`)
    told()
    w.tc('tc filter del dev p0 ingress chain 5')
    expect(told()).toEqual([
      [Tcm.RTM_DELTFILTER, 56],
      [Tcm.RTM_DELCHAIN, 44],
    ])
  })
})

afterEach(() => {
  if (w.tc('tc qdisc show dev p0').includes('clsact')) w.tc('tc qdisc del dev p0 clsact')
  expect(leaks(w)).toEqual({})
})
