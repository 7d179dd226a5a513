import { beforeEach, describe, expect, it } from 'vitest'
import { type Arena, createArena, reserve } from '../memory/arena.ts'
import { counterAlloc, counterRead } from '../memory/counters.ts'
import * as T from '../memory/layout/action.ts'
import * as S from '../memory/layout/action_state.ts'
import * as D from '../memory/layout/drop.ts'
import * as N from '../memory/layout/netdev.ts'
import { PKT_MARK, PKT_PRIORITY } from '../memory/layout/packet.ts'
import * as P from '../memory/layout/program.ts'
import * as W from '../memory/layout/worker.ts'
import * as Hand from '../testing/hand_table.ts'
import { Datapath, type Emission } from './chip.ts'
import { chipModule } from './chip_module.ts'

chipModule()
const { op } = Hand
let a: Arena
let dp: Datapath
let p0: number
let p1: number
let counter: number

const be = (v: number): number[] => [(v >> 8) & 255, v & 255]
const word = (...b: number[]): number => b[0] | (b[1] << 8) | (b[2] << 16) | (b[3] << 24)
function checksum(b: number[]): number[] {
  let s = b.reduce((t, v, i) => t + (i & 1 ? v : v << 8), 0)
  while (s > 0xffff) s = (s & 0xffff) + (s >>> 16)
  return be(~s)
}
const MACS = [2, 0, 0, 0, 0, 1, 2, 9, 9, 9, 9, 9]
const PAYLOAD = [1, 2, 3, 4, 5, 6, 7, 8]
/** UDP 1000 -> 53 from 10.0.0.2 to 10.0.0.1, its checksums right. */
function udp(): number[] {
  const addresses = [10, 0, 0, 2, 10, 0, 0, 1]
  const head = [0x45, 0x10, ...be(36), 0, 7, 0, 0, 64, 17]
  const body = [...be(1000), ...be(53), ...be(16)]
  const sum = checksum([...addresses, 0, 17, ...be(16), ...body, 0, 0, ...PAYLOAD])
  return [...MACS, 8, 0, ...head, ...checksum([...head, ...addresses]), ...addresses, ...body, ...sum, ...PAYLOAD]
}
const tag = (f: number[], tci = 5): number[] => [...f.slice(0, 12), 0x81, 0, ...be(tci), ...f.slice(12)]
/** The IPv4 and UDP checksums of a frame, verified. */
function holds(f: number[]): boolean {
  const ip = f.slice(14)
  const ok = (b: number[]): boolean => checksum(b).every((v) => v === 0)
  return ok(ip.slice(0, 20)) && ok([...ip.slice(12, 20), 0, 17, ...ip.slice(24, 26), ...ip.slice(20)])
}

function run(program: number[], frame = udp()): Emission[] {
  a.m[(p0 + N.NETDEV_INGRESS) >> 2] = 0
  const block = Hand.handBlock(a, p0, N.NETDEV_INGRESS)
  const mask = Hand.handMask(a, Hand.handPrio(a, Hand.chain0(a, block), 1), [], 4)
  Hand.handFlow(a, mask, [], [...program, ...op(P.OP_REDIRECT, p1, 0, 0)])
  return send(frame)
}
function send(frame: number[]): Emission[] {
  const pkt = dp.alloc()
  dp.loadBytes(pkt, Uint8Array.from(frame))
  dp.receive(pkt, p0)
  return dp.takeEmissions()
}
function bytes(program: number[], frame = udp()): number[] {
  const [e] = run(program, frame)
  const out = [...dp.frame(e.pkt)]
  dp.release(e.pkt)
  return out
}
function refused(program: number[], frame = udp()): void {
  const before = [dp.drops(D.DROP_ACTION), counterRead(a, counter).drops]
  expect(run(program, frame)).toEqual([])
  expect([dp.drops(D.DROP_ACTION), counterRead(a, counter).drops]).toEqual([before[0] + 1, before[1] + 1])
}
const changed = (f: number[], at: number, ...to: number[]): number[] => [
  ...f.slice(0, at),
  ...to,
  ...f.slice(at + to.length),
]

beforeEach(() => {
  a = createArena({ bytes: 48 << 20, packets: 32, counters: 4096, emc: 64 })
  dp = new Datapath(a, 0)
  dp.setTime(1e9)
  ;[p0, p1] = [Hand.handDevice(a, 1), Hand.handDevice(a, 2)]
  counter = counterAlloc(a)
})

describe('pedit', () => {
  const edit = (...keys: number[][]): number[] => op(P.OP_PEDIT, counter, keys.length, ...keys.flat())
  const L3 = 0
  const ETH = 1
  const UDP = 5

  it('writes under a mask, from the network, Ethernet and transport header on, tagged or not', () => {
    const keys = [
      [L3, 8, 9, 0xffffff00 | 0, 0, 0, 0], // ttl 9
      [ETH, 4, word(0, 0, 3, 3), 0x0000ffff, 0, 0, 0], // source 03:03:…
      [ETH, 12, word(0x88, 0xb5, 0, 0), 0xffff0000 | 0, 0, 0, 0], // type
      [UDP, 0, word(0, 0, 0, 80), 0x0000ffff, 0, 0, 0], // destination port
    ]
    const f = udp()
    let want = changed(f, 22, 9)
    want = changed(want, 6, 3, 3)
    want = changed(want, 12, 0x88, 0xb5)
    want = changed(want, 36, 0, 80)
    expect(bytes(edit(...keys), f)).toEqual(want)
    expect(bytes(edit(...keys), tag(f))).toEqual(tag(want))
  })

  it('adds in the byte order of the machine', () => {
    const add = [UDP | P.PEDIT_ADD, 0, 0xffff0000 | 0, 0x0000ffff, 0, 0, 0]
    expect(bytes(edit(add)).slice(36, 38)).toEqual(be(0xff34))
  })

  it('reads where to write from the packet', () => {
    const key = [L3, 0, word(0, 0, 0, 0xee), 0x00ffffff, 0, 0xf, 0] // ihl 5: offset 5, no word
    expect(bytes(edit(key))).toEqual(udp())
    expect(counterRead(a, counter).overlimits).toBe(1)
    const shifted = [L3, 0, word(0xee, 0, 0, 0), 0xffffff00 | 0, 9, 17, 0] // protocol 17 & 17 = 17 >> 0: no word
    expect(bytes(edit(shifted))).toEqual(udp())
    const half = [L3, 0, word(0xee, 0, 0, 0), 0xffffff00 | 0, 9, 16, 2] // 16 >> 2 = 4: the id
    expect(bytes(edit(half))).toEqual(changed(udp(), 18, 0xee))
  })

  it('leaves what does not fit, and the rest, and goes on', () => {
    const far = [L3, 36, -1, 0, 0, 0, 0]
    const near = [L3, 8, 9, 0xffffff00 | 0, 0, 0, 0]
    expect(bytes(edit(far, near))).toEqual(udp())
    expect(bytes(edit(near, far))).toEqual(changed(udp(), 22, 9))
    expect(counterRead(a, counter).overlimits).toBe(2)
  })
})

describe('csum and nat', () => {
  it('computes the checksums again', () => {
    const f = changed(changed(udp(), 24, 0xde, 0xad), 40, 0xbe, 0xef)
    expect(holds(f)).toBe(false)
    expect(bytes(op(P.OP_CSUM, 1 | 16, counter), f)).toEqual(udp())
    expect(bytes(op(P.OP_CSUM, 1 | 16, counter), tag(f))).toEqual(tag(udp()))
    expect(bytes(op(P.OP_CSUM, 16, counter), changed(udp(), 40, 0, 0)).slice(40, 42)).toEqual([0, 0])
  })

  it('refuses a packet longer than it is', () => {
    refused(op(P.OP_CSUM, 16, counter), changed(udp(), 17, 37))
  })

  it('translates an address under a mask, and the checksums with it', () => {
    const nat = (egress: number): number[] =>
      op(P.OP_NAT, word(10, 0, 0, 0), word(172, 16, 9, 0), word(255, 255, 255, 0), egress, counter)
    const out = bytes(nat(1))
    expect(out.slice(26, 34)).toEqual([172, 16, 9, 2, 10, 0, 0, 1])
    expect(holds(out)).toBe(true)
    const back = bytes(nat(0))
    expect(back.slice(26, 34)).toEqual([10, 0, 0, 2, 172, 16, 9, 1])
    expect(holds(back)).toBe(true)
    refused(nat(1), udp().slice(0, 33))
  })
})

describe('mpls and Ethernet headers', () => {
  const push = (lse: number, flags = 0): number[] => op(P.OP_MPLS_PUSH, lse, 0x4788, flags, counter)

  it('pushes, changes and pops labels behind the Ethernet header and the tag', () => {
    const f = udp()
    const pushed = [...MACS, 0x88, 0x47, 0x00, 0x06, 0x41, 64, ...f.slice(14)]
    expect(bytes(push((100 << 12) | 64, P.MPLS_PUSH_BOS))).toEqual(pushed)
    expect(bytes(push((100 << 12) | 64, P.MPLS_PUSH_BOS), tag(f))).toEqual(tag(pushed))
    const two = [...push((100 << 12) | 64, P.MPLS_PUSH_BOS), ...push((7 << 12) | 64, P.MPLS_PUSH_BOS)]
    expect(bytes(two).slice(14, 22)).toEqual([0, 0, 0x70, 64, 0, 6, 0x41, 64])
    const edited = [
      ...two,
      ...op(P.OP_MPLS_MODIFY, 9 << 12, 0xfffff000 | 0, counter),
      ...op(P.OP_MPLS_DEC_TTL, counter),
    ]
    expect(bytes(edited).slice(14, 18)).toEqual([0, 0, 0x90, 63])
    const popped = [...edited, ...op(P.OP_MPLS_POP, 0x4788, counter), ...op(P.OP_MPLS_POP, 0x0008, counter)]
    expect(bytes(popped)).toEqual(f)
    expect(bytes(op(P.OP_MPLS_POP, 0x0008, counter))).toEqual(f)
  })

  it('refuses to change what is not MPLS, and a ttl that is used up', () => {
    refused(op(P.OP_MPLS_MODIFY, 0, -1, counter))
    refused(op(P.OP_MPLS_DEC_TTL, counter))
    refused([...push((1 << 12) | 1), ...op(P.OP_MPLS_DEC_TTL, counter)])
  })

  it('takes the Ethernet header off and puts another on', () => {
    const f = udp()
    expect(bytes(op(P.OP_VLAN_POP_ETH, counter))).toEqual(f.slice(14))
    const macs = [word(6, 5, 4, 3), word(2, 1, 1, 2), word(3, 4, 5, 6)]
    const again = [...op(P.OP_VLAN_POP_ETH, counter), ...op(P.OP_VLAN_PUSH_ETH, ...macs, counter)]
    expect(bytes(again)).toEqual([6, 5, 4, 3, 2, 1, 1, 2, 3, 4, 5, 6, ...f.slice(12)])
    refused(op(P.OP_VLAN_POP_ETH, counter), tag(f))
    refused(op(P.OP_VLAN_PUSH_ETH, ...macs, counter))
    expect(bytes(push((5 << 12) | 64, P.MPLS_PUSH_BOS | P.MPLS_PUSH_MAC))).toEqual([0, 0, 0x51, 64, ...f])
  })
})

describe('skbedit and skbmod', () => {
  it('changes metadata', () => {
    const [e] = run(op(P.OP_SKBEDIT, 1 | 4, 77, 0xab, 0x0f, 0, 0, counter))
    expect([a.m[(e.pkt + PKT_PRIORITY) >> 2], a.m[(e.pkt + PKT_MARK) >> 2]]).toEqual([77, 0x0b])
    const [ds] = run(op(P.OP_SKBEDIT, 0x20, 0, 0, 0, 0, 0, counter))
    expect(a.m[(ds.pkt + PKT_PRIORITY) >> 2]).toBe(4)
  })

  it('says who a packet is for', () => {
    const other = changed(udp(), 5, 99)
    const host = [...op(P.OP_SKBEDIT, 8, 0, 0, 0, 0, 0, counter), ...op(P.OP_END, T.TC_ACT_OK)]
    expect(run(host, other)[0].kind).toBe(W.PUNT_LOCAL)
    const foreign = [...op(P.OP_SKBEDIT, 8, 0, 0, 0, 0, 3, counter), ...op(P.OP_END, T.TC_ACT_OK)]
    expect(run(foreign)).toEqual([])
    expect(dp.drops(D.DROP_OTHERHOST)).toBe(1)
  })

  it('changes addresses, type and ECN', () => {
    const f = udp()
    const macs = [word(6, 5, 4, 3), word(2, 1, 1, 2), word(3, 4, 5, 6)]
    const want = [6, 5, 4, 3, 2, 1, 1, 2, 3, 4, 5, 6, 0x88, 0xb5, ...f.slice(14)]
    expect(bytes(op(P.OP_SKBMOD, 7, ...macs, 0xb588, counter))).toEqual(want)
    expect(bytes(op(P.OP_SKBMOD, 8, 0, 0, 0, 0, counter))).toEqual([
      ...f.slice(6, 12),
      ...f.slice(0, 6),
      ...f.slice(12),
    ])
    const ect = bytes(op(P.OP_CSUM, 1, 0), changed(f, 15, 0x12))
    const ce = bytes(op(P.OP_SKBMOD, 16, 0, 0, 0, 0, counter), ect)
    expect(ce[15]).toBe(0x13)
    expect(holds(ce)).toBe(true)
  })

  it('sets the type behind the outermost tag, marks packets without an Ethernet header too', () => {
    const twice = [...op(P.OP_VLAN_PUSH, 0x81, 7, counter), ...op(P.OP_VLAN_PUSH, 0x81, 8, counter)]
    const typed = bytes([...twice, ...op(P.OP_SKBMOD, 4, 0, 0, 0, 0xb588, counter)])
    expect(typed).toEqual(changed(tag(tag(udp(), 7), 8), 16, 0x88, 0xb5))
    const ect = changed(udp(), 15, 0x12)
    const around = (...ops: number[]): number[] => [
      ...op(P.OP_VLAN_POP_ETH, counter),
      ...ops,
      ...op(P.OP_VLAN_PUSH_ETH, word(2, 0, 0, 0), word(0, 1, 2, 9), word(9, 9, 9, 9), counter),
    ]
    expect(bytes(around(...op(P.OP_SKBMOD, 16, 0, 0, 0, 0, counter)), ect)[15]).toBe(0x13)
    expect(bytes(around(...op(P.OP_SKBMOD, 1, 0, 0, 0, 0, counter)))).toEqual(udp())
  })
})

describe('actions that choose', () => {
  /** A fork (all but the last operand) whose other way ends with a drop. */
  const orDrop = (...fork: number[]): number[] => [
    ...op(fork[0], ...fork.slice(1), P.FORK_DROPS_OTHER, 2),
    ...op(P.OP_JUMP, 2),
    ...op(P.OP_END, T.TC_ACT_SHOT),
  ]

  it('random: every third', () => {
    const state = reserve(a, 16)
    run(orDrop(P.OP_RANDOM, 2, 3, state, counter))
    const left = [...Array(8)].map(() => send(udp()).length)
    expect(left).toEqual([1, 0, 1, 1, 0, 1, 1, 0])
    expect(counterRead(a, counter).drops).toBe(3)
  })

  it('random: about one in four', () => {
    run(orDrop(P.OP_RANDOM, 1, 4, 0, counter))
    for (let i = 0; i < 400; i++) for (const e of send(udp())) dp.release(e.pkt)
    expect(counterRead(a, counter).drops).toBeGreaterThan(60)
    expect(counterRead(a, counter).drops).toBeLessThan(140)
  })

  it('sample: a copy, cut off', () => {
    const es = run(op(P.OP_SAMPLE, 1, 5, 20, 4242))
    expect(es.map((e) => [e.kind, e.arg, dp.frame(e.pkt).length])).toEqual([
      [W.PUNT_SAMPLE, 4242, 20],
      [W.EMIT_OUTPUT, 0, udp().length],
    ])
  })

  it('police: a bucket of two packets that fills with time', () => {
    const state = reserve(a, S.POLICE_SIZE)
    const set = (field: number, v: number): void => {
      a.m[(state + field) >> 2] = v
    }
    const size = udp().length - 14
    set(S.POLICE_FLAGS, S.POLICE_RATE)
    set(S.POLICE_MTU, 1000)
    set(S.POLICE_BURST, size * 2000) // a byte takes a microsecond
    set(S.POLICE_TOKS, size * 2000)
    set(S.POLICE_T_C, 1e9)
    set(S.POLICE_RATE_MULT, 1000)
    const sent = (): number => {
      const es = send(udp())
      for (const e of es) dp.release(e.pkt)
      return es.length
    }
    run(orDrop(P.OP_POLICE, state, counter))
    expect([sent(), sent(), sent()]).toEqual([1, 0, 0])
    dp.setTime(1e9 + size * 1000)
    expect([sent(), sent()]).toEqual([1, 0])
    expect(counterRead(a, counter)).toMatchObject({ drops: 3, overlimits: 3 })
    set(S.POLICE_MTU, udp().length - 1)
    dp.setTime(9e9)
    expect(sent()).toBe(0)
  })
})
