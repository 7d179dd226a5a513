import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { beforeEach, describe, expect, it } from 'vitest'
import { type Arena, createArena, reserve } from '../memory/arena.ts'
import { counterAlloc, counterRead } from '../memory/counters.ts'
import * as T from '../memory/layout/action.ts'
import * as D from '../memory/layout/drop.ts'
import * as E from '../memory/layout/encap.ts'
import { MASK_RANGE_DST } from '../memory/layout/flow.ts'
import * as K from '../memory/layout/flow_key.ts'
import * as N from '../memory/layout/netdev.ts'
import { PKT_IIF, PKT_TUN } from '../memory/layout/packet.ts'
import * as P from '../memory/layout/program.ts'
import * as W from '../memory/layout/worker.ts'
import * as Hand from '../testing/hand_table.ts'
import { Datapath, type Emission } from './chip.ts'
import { chipModule } from './chip_module.ts'

const { op } = Hand
chipModule() // built here, where no test's time runs

let a: Arena
let dp: Datapath
let p: number[]

/** Wire bytes as a word of the key. */
const word = (...b: number[]): number => b[0] | (b[1] << 8) | (b[2] << 16) | (b[3] << 24)
const end = (verdict: number): number[] => op(P.OP_END, verdict)
const be = (v: number): number[] => [(v >> 8) & 255, v & 255]

function checksum(b: number[]): number[] {
  let s = 0
  b.forEach((v, i) => {
    s += i & 1 ? v : v << 8
  })
  while (s > 0xffff) s = (s & 0xffff) + (s >>> 16)
  return be(~s)
}

interface Udp {
  dst?: number[]
  src?: number[]
  to?: number[]
  from?: number[]
  tos?: number
  dport?: number
  payload?: number[]
  csum?: boolean
}
const MACS = [2, 0, 0, 0, 0, 1, 2, 9, 9, 9, 9, 9]

function ipv4(proto: number, body: number[], o: Udp = {}): number[] {
  const head = [0x45, o.tos ?? 0, ...be(20 + body.length), 0, 7, 0, 0, 64, proto]
  const addresses = [...(o.from ?? [10, 0, 0, 2]), ...(o.to ?? [10, 0, 0, 1])]
  return [...head, ...checksum([...head, ...addresses]), ...addresses, ...body]
}

function udp(o: Udp = {}): number[] {
  const payload = o.payload ?? [1, 2, 3, 4, 5, 6, 7, 8]
  const head = [...be(4000), ...be(o.dport ?? 53), ...be(8 + payload.length)]
  const pseudo = [...(o.from ?? [10, 0, 0, 2]), ...(o.to ?? [10, 0, 0, 1]), 0, 17, ...be(8 + payload.length)]
  const sum = o.csum ? checksum([...pseudo, ...head, ...payload]) : [0, 0]
  return [...MACS, 8, 0, ...ipv4(17, [...head, ...sum, ...payload], o)]
}

const tag = (frame: number[], tci: number, tpid = 0x8100): number[] => [
  ...frame.slice(0, 12),
  ...be(tpid),
  ...be(tci),
  ...frame.slice(12),
]

function send(frame: number[], dev = p[0]): Emission[] {
  const pkt = dp.alloc()
  expect(dp.loadBytes(pkt, Uint8Array.from(frame))).toBe(true)
  dp.receive(pkt, dev)
  return dp.takeEmissions()
}
/** Sends a frame and says what left: port and bytes. Every packet must be accounted for. */
function outputs(frame: number[], dev = p[0]): [port: number, frame: number[]][] {
  const free = dp.freeSlots()
  const es = send(frame, dev)
  expect(dp.freeSlots() + es.length).toBe(free)
  return es.map((e) => {
    expect(e.kind).toBe(W.EMIT_OUTPUT)
    const bytes = [...dp.frame(e.pkt)]
    dp.release(e.pkt)
    return [p.indexOf(e.dev), bytes]
  })
}

const redirect = (dev: number, counter = 0, flags = 0): number[] => op(P.OP_REDIRECT, dev, flags, counter)
const count = (id: number): number[] => op(P.OP_COUNT, id)

/** A flow that takes every packet of the device's ingress. */
function takeAll(program: number[], dev = p[0], hook = N.NETDEV_INGRESS): number {
  const block = a.m[(dev + hook) >> 2] || Hand.handBlock(a, dev, hook)
  return Hand.handFlow(a, Hand.handMask(a, Hand.handPrio(a, Hand.chain0(a, block), 10), [], 4), [], program)
}

beforeEach(() => {
  a = createArena({ bytes: 48 << 20, packets: 32, counters: 4096, emc: 64 })
  dp = new Datapath(a, 0)
  p = [1, 2, 3, 4].map((i) => Hand.handDevice(a, i))
  dp.setTime(5_000_000_000)
})

describe('the module', () => {
  it('has no loop that asc would miscompile', () => {
    const folder = fileURLToPath(new URL('chip', import.meta.url))
    for (const f of readdirSync(folder).filter((name) => name.endsWith('.ts'))) {
      const code = readFileSync(`${folder}/${f}`, 'utf8').replace(/^\s*\/\/.*$/gm, '')
      expect(code.match(/for \([^;]*;\s*;|while \(true\)/), f).toBeNull()
    }
  })
})

describe('receiving', () => {
  it('refuses what the port refuses', () => {
    const long = udp({ payload: Array(1518 - 42 + 1).fill(0) })
    expect(send(long)).toEqual([])
    expect(dp.drops(D.DROP_RX_TOO_LONG)).toBe(1)
    expect(send(MACS)).toEqual([])
    expect(dp.drops(D.DROP_RX_TOO_SHORT)).toBe(1)
    a.m[(p[0] + N.NETDEV_FLAGS) >> 2] = 0
    expect(send(udp())).toEqual([])
    expect(dp.drops(D.DROP_DEV_DOWN)).toBe(1)
    expect(counterRead(a, a.m[(p[0] + N.NETDEV_RX_COUNTER) >> 2]).packets).toBe(0)
  })

  it('refuses a tag that is cut short before any filter sees it', () => {
    takeAll([...redirect(p[1]), ...end(T.TC_ACT_STOLEN)])
    for (const n of [16, 18]) expect(send(tag(udp(), 5).slice(0, n))).toEqual([])
    expect(dp.drops(D.DROP_VLAN)).toBe(2)
    expect(outputs(tag(udp(), 5).slice(0, 22))).toHaveLength(1)
  })

  it('drops by name what is not for the host', () => {
    const other = udp()
    other[5] = 99
    expect(send(other)).toEqual([])
    expect(dp.drops(D.DROP_OTHERHOST)).toBe(1)
    expect(send([...MACS, 0x88, 0xcc, 1, 2])).toEqual([])
    expect(dp.drops(D.DROP_NO_PROTOCOL)).toBe(1)
    expect(send(tag(udp(), 7))).toEqual([])
    expect(dp.drops(D.DROP_VLAN_UNKNOWN)).toBe(1)
  })

  it('hands the host what it must see, tags of VLAN 0 off', () => {
    const [e] = send(tag(udp(), 0xe000))
    expect(e.kind).toBe(W.PUNT_LOCAL)
    expect(e.dev).toBe(p[0])
    expect([...dp.frame(e.pkt)]).toEqual(udp())
  })

  it('takes the Ethernet padding off before the host sees an IP packet', () => {
    const [e] = send([...udp({ payload: [] }), ...Array(18).fill(0)])
    expect(dp.frame(e.pkt).length).toBe(42)
  })
})

describe('filters', () => {
  const dst = (b: number[]): [number, number][] => [[K.KEY_IPV4_DST, word(...b)]]

  it('count without the Ethernet header and the outer tag at ingress, whole frames at egress', () => {
    const [c1, c2] = [counterAlloc(a), counterAlloc(a)]
    takeAll([...count(c1), ...redirect(p[1]), ...end(T.TC_ACT_STOLEN)])
    takeAll([...count(c2), ...end(T.TC_ACT_OK)], p[1], N.NETDEV_EGRESS)
    const f = udp()
    expect(outputs(f)).toEqual([[1, f]])
    expect(outputs(tag(f, 5))).toEqual([[1, tag(f, 5)]])
    expect(counterRead(a, c1)).toMatchObject({
      packets: 2,
      bytes: 2 * (f.length - 14),
      lastUsed: 5001,
      firstUsed: 5001,
    })
    expect(counterRead(a, c2)).toMatchObject({ packets: 2, bytes: 2 * f.length })
    expect(counterRead(a, a.m[(p[1] + N.NETDEV_TX_COUNTER) >> 2])).toMatchObject({
      packets: 2,
      bytes: 2 * f.length + 4,
    })
  })

  it('match by mask order, and go on to another prio on continue, never to another mask of the same', () => {
    const block = Hand.handBlock(a, p[0], N.NETDEV_INGRESS)
    const chain = Hand.chain0(a, block)
    const first = Hand.handPrio(a, chain, 10, 0x0008)
    const exact = Hand.handMask(a, first, dst([255, 255, 255, 255]))
    const net = Hand.handMask(a, first, dst([255, 255, 255, 0]))
    const second = Hand.handMask(a, Hand.handPrio(a, chain, 20), [])
    Hand.handFlow(a, exact, [word(10, 0, 0, 1)], end(T.TC_ACT_UNSPEC))
    Hand.handFlow(a, net, [word(10, 0, 0, 0)], redirect(p[1]))
    Hand.handFlow(a, second, [], redirect(p[2]))
    for (let i = 0; i < 3; i++) {
      expect(outputs(udp())[0][0]).toBe(2)
      expect(outputs(udp({ to: [10, 0, 0, 9] }))[0][0]).toBe(1)
      expect(outputs(udp({ to: [10, 0, 1, 9] }))[0][0]).toBe(2)
      expect(outputs(tag(udp({ to: [10, 0, 0, 9] }), 1))[0][0]).toBe(2) // protocol ip sees no tagged frame
    }
  })

  it('see new rules at once, whatever the cache held', () => {
    const block = Hand.handBlock(a, p[0], N.NETDEV_INGRESS)
    const prio = Hand.handPrio(a, Hand.chain0(a, block), 10)
    const mask = Hand.handMask(a, prio, dst([255, 255, 255, 255]))
    for (let i = 1; i < 40; i++) {
      const to = [10, 0, 0, i]
      Hand.handFlow(a, mask, [word(...to)], redirect(p[i % 4]))
      for (let j = 1; j <= i; j++) expect(outputs(udp({ to: [10, 0, 0, j] }))[0][0]).toBe(j % 4)
    }
  })

  it('compare port ranges one by one, in order', () => {
    const block = Hand.handBlock(a, p[0], N.NETDEV_INGRESS)
    const prio = Hand.handPrio(a, Hand.chain0(a, block), 10)
    const mask = Hand.handMask(a, prio, [[K.KEY_N_PROTO, 0xff0000]], 16, MASK_RANGE_DST)
    const range = (from: number, to: number): number[] => [0, from | (to << 16)]
    Hand.handFlow(a, mask, [17 << 16], redirect(p[1]), range(100, 200))
    Hand.handFlow(a, mask, [17 << 16], redirect(p[2]), range(150, 300))
    for (const [port, out] of [
      [100, 1],
      [200, 1],
      [201, 2],
      [300, 2],
      [150, 1],
    ]) {
      expect(outputs(udp({ dport: port }))[0][0]).toBe(out)
    }
    expect(send(udp({ dport: 99 }))[0].kind).toBe(W.PUNT_LOCAL)
  })

  it('go from chain to chain, and a miss there is a pass', () => {
    const block = Hand.handBlock(a, p[0], N.NETDEV_INGRESS)
    const one = Hand.handChain(a, block, 1)
    const prio = Hand.handPrio(a, Hand.chain0(a, block), 10)
    Hand.handFlow(a, Hand.handMask(a, prio, []), [], op(P.OP_GOTO, one))
    Hand.handFlow(a, Hand.handMask(a, Hand.handPrio(a, Hand.chain0(a, block), 20), []), [], redirect(p[3]))
    const mask = Hand.handMask(a, Hand.handPrio(a, one, 10), dst([255, 255, 255, 255]))
    Hand.handFlow(a, mask, [word(10, 0, 0, 1)], redirect(p[1]))
    expect(outputs(udp())[0][0]).toBe(1)
    expect(send(udp({ to: [10, 0, 0, 2] }))[0].kind).toBe(W.PUNT_LOCAL)
  })

  it('look at the packet anew when an action changed it on the way to another chain', () => {
    const block = Hand.handBlock(a, p[0], N.NETDEV_INGRESS)
    const one = Hand.handChain(a, block, 1)
    const c = counterAlloc(a)
    const prio = Hand.handPrio(a, Hand.chain0(a, block), 10)
    Hand.handFlow(a, Hand.handMask(a, prio, []), [], [...op(P.OP_VLAN_PUSH, 0x0081, 0x2007, 0), ...op(P.OP_GOTO, one)])
    const tagged = Hand.handMask(a, Hand.handPrio(a, one, 10, 0x0081), [[K.KEY_VLAN_TCI, 0xffff]])
    Hand.handFlow(a, tagged, [word(0x20, 7, 0, 0)], [...count(c), ...redirect(p[2])])
    const f = udp()
    expect(outputs(f)).toEqual([[2, tag(f, 0x2007)]])
    expect(counterRead(a, c).bytes).toBe(f.length - 14)
  })

  it('cut a loop of chains, or of reclassify, at the seventeenth', () => {
    for (const dev of p.slice(0, 2)) {
      const c = counterAlloc(a)
      const block = Hand.handBlock(a, dev, N.NETDEV_INGRESS)
      const again = dev === p[0] ? end(T.TC_ACT_RECLASSIFY) : op(P.OP_GOTO, Hand.chain0(a, block))
      takeAll([...count(c), ...again], dev)
      const before = dp.drops(D.DROP_RECLASSIFY_LOOP)
      const frame = udp()
      frame[5] = a.u8[dev + N.NETDEV_MAC + 5]
      expect(send(frame, dev)).toEqual([])
      expect(dp.drops(D.DROP_RECLASSIFY_LOOP)).toBe(before + 1)
      expect(counterRead(a, c).packets).toBe(17)
    }
  })

  it('end packets under their verdict', () => {
    for (const [verdict, reason] of [
      [T.TC_ACT_SHOT, D.DROP_FILTER],
      [T.TC_ACT_TRAP, D.DROP_TRAP],
      [T.TC_ACT_STOLEN, D.DROP_STOLEN],
    ]) {
      a.m[(p[0] + N.NETDEV_INGRESS) >> 2] = 0
      takeAll(end(verdict))
      expect(send(udp())).toEqual([])
      expect(dp.drops(reason)).toBe(1)
    }
    expect(dp.freeSlots()).toBe(32)
  })
})

describe('mirred', () => {
  it('sends copies as the packet was at their place, then the packet', () => {
    takeAll([
      ...op(P.OP_REDIRECT, p[1], P.REDIRECT_MIRROR, 0),
      ...op(P.OP_VLAN_PUSH, 0x0081, 100, 0),
      ...op(P.OP_REDIRECT, p[2], P.REDIRECT_MIRROR, 0),
      ...op(P.OP_VLAN_MODIFY, 0xa888, 7, 0xfff, 0),
      ...op(P.OP_REDIRECT, p[3], P.REDIRECT_MIRROR, 0),
      ...op(P.OP_VLAN_POP, 0),
      ...redirect(p[0]),
    ])
    const f = udp()
    expect(outputs(f)).toEqual([
      [1, f],
      [2, tag(f, 100)],
      [3, tag(f, 7, 0x88a8)],
      [0, f],
    ])
  })

  it('counts overlimits for a device that is down, drops the packet but goes on without the copy', () => {
    const [c1, c2] = [counterAlloc(a), counterAlloc(a)]
    a.m[(p[1] + N.NETDEV_FLAGS) >> 2] = 0
    takeAll([...op(P.OP_REDIRECT, p[1], P.REDIRECT_MIRROR, c1), ...redirect(p[2])])
    expect(outputs(udp())[0][0]).toBe(2)
    expect(counterRead(a, c1).overlimits).toBe(1)
    takeAll([...redirect(p[1], c2)], p[3])
    expect(send(udp(), p[3])).toEqual([])
    expect(counterRead(a, c2).overlimits).toBe(1)
    expect(dp.drops(D.DROP_DEV_DOWN)).toBe(1)
  })

  it('counts overlimits when the filters of the target drop the packet', () => {
    const c = counterAlloc(a)
    takeAll([...redirect(p[1], c)])
    takeAll(end(T.TC_ACT_SHOT), p[1], N.NETDEV_EGRESS)
    expect(send(udp())).toEqual([])
    expect(counterRead(a, c).overlimits).toBe(1)
    expect(dp.drops(D.DROP_FILTER)).toBe(1)
  })

  it('stops at the fifth redirect inside each other', () => {
    const c = counterAlloc(a)
    takeAll([...redirect(p[1])])
    takeAll([...count(c), ...redirect(p[1], c, P.REDIRECT_FIRST)], p[1], N.NETDEV_EGRESS)
    expect(send(udp())).toEqual([])
    expect(dp.drops(D.DROP_MIRRED_NEST)).toBe(1)
    expect(counterRead(a, c)).toMatchObject({ packets: 3, bytes: 3 * udp().length }) // the fifth does not count
  })

  it('receives again what is redirected to an ingress, in a queue when it is nested', () => {
    const c = counterAlloc(a)
    takeAll([...op(P.OP_REDIRECT, p[1], P.REDIRECT_INGRESS, 0)])
    takeAll(
      [...count(c), ...op(P.OP_REDIRECT, p[2], P.REDIRECT_INGRESS | P.REDIRECT_MIRROR, 0), ...redirect(p[3])],
      p[1],
    )
    takeAll([...redirect(p[0])], p[2])
    expect(outputs(udp()).map(([port]) => port)).toEqual([3, 0])
    expect(counterRead(a, c).packets).toBe(1)
  })

  it('runs out of slots by name', () => {
    for (let i = 0; i < 31; i++) dp.alloc()
    takeAll([...op(P.OP_REDIRECT, p[1], P.REDIRECT_MIRROR, 0), ...redirect(p[2])])
    expect(outputs(udp()).map(([port]) => port)).toEqual([2])
    expect(dp.drops(D.DROP_NO_SLOT)).toBe(1)
  })

  it('swallows in a dummy', () => {
    takeAll([...redirect(Hand.handDevice(a, 9, { kind: N.NETDEV_KIND_DUMMY }))])
    expect(send(udp())).toEqual([])
    expect(dp.drops(D.DROP_DUMMY)).toBe(1)
  })
})

describe('vlan', () => {
  it('leaves untagged frames alone, and drops a second tag that is cut short', () => {
    const c = counterAlloc(a)
    takeAll([...op(P.OP_VLAN_POP, c), ...redirect(p[1])])
    const f = udp()
    expect(outputs(f)).toEqual([[1, f]])
    expect(outputs(tag(f, 5))).toEqual([[1, f]])
    expect(outputs(tag(tag(f, 5), 6))).toEqual([[1, tag(f, 5)]])
    expect(send(tag(tag(f, 5), 6).slice(0, 21))).toEqual([])
    expect(counterRead(a, c).drops).toBe(1)
  })
})

// ---- tunnels

const OUTER = [2, 8, 8, 8, 8, 8, 2, 0, 0, 0, 0, 2]
const outer4 = [...OUTER, 8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 1, 1, 10, 0, 1, 2]
const vxlan = (vni: number): number[] => [8, 0, 0, 0, vni >> 16, (vni >> 8) & 255, vni & 255, 0]
const template4 = [...outer4, 0, 0, 0x12, 0xb5, 0, 0, 0, 0, ...vxlan(100)]
const sum16 = (b: number[]): number => b.reduce((s, v, i) => s + (i & 1 ? v : v << 8), 0)

function tunInfo(fields: Record<number, number> = {}): number {
  const tun = reserve(a, T.TUN_SIZE_MAX)
  a.m[(tun + T.TUN_MODE) >> 2] = T.TUN_TX
  for (const [o, v] of Object.entries(fields)) a.m[(tun + Number(o)) >> 2] = v
  return tun
}

function encap(dev: number, fields: Record<number, number> = {}, bytes = template4): number {
  const l4 = bytes[12] === 8 ? 34 : 54
  return Hand.handEncap(a, dev, tunInfo({ [T.TUN_ID]: 100 }), bytes, {
    [E.HEADER_OUT_DEV]: p[1],
    [E.HEADER_FLAGS]: E.HEADER_F_UDP,
    [E.HEADER_L3]: 14,
    [E.HEADER_L4]: l4,
    [E.HEADER_MTU]: 1500,
    [E.HEADER_TTL]: 64,
    [E.HEADER_IP_SUM]: l4 === 34 ? sum16(bytes.slice(14, 34)) : 0,
    [E.HEADER_PSEUDO_SUM]: 17 + sum16(l4 === 34 ? bytes.slice(26, 34) : bytes.slice(22, 54)),
    [E.HEADER_PORT_MIN]: 32768,
    [E.HEADER_PORT_COUNT]: 28231,
    ...fields,
  })
}
const external = (ifindex = 10, o: Hand.HandDevice = {}): number =>
  Hand.handDevice(a, ifindex, {
    kind: N.NETDEV_KIND_VXLAN,
    features: N.NETDEV_F_EXTERNAL,
    mac: [2, 7, 7, 7, 7, 7],
    udpPort: 4789,
    ...o,
  })

describe('encap', () => {
  it('pushes the template and writes lengths, checksum, source port', () => {
    const vx = external()
    takeAll([...op(P.OP_ENCAP, encap(vx), 0, 0)])
    for (const frame of [udp(), udp({ dport: 99, payload: Array(63).fill(7) })]) {
      const [[port, out]] = outputs(frame)
      expect(port).toBe(1)
      expect(out.slice(50)).toEqual(frame)
      expect(out.slice(0, 16)).toEqual(template4.slice(0, 16))
      expect(out.slice(16, 18)).toEqual(be(frame.length + 36))
      expect(checksum(out.slice(14, 34))).toEqual([0, 0])
      const sport = (out[34] << 8) | out[35]
      expect(sport).toBeGreaterThanOrEqual(32768)
      expect(sport).toBeLessThan(32768 + 28231)
      expect(out.slice(36, 42)).toEqual([0x12, 0xb5, ...be(frame.length + 16), 0, 0])
      expect(out.slice(42, 50)).toEqual(vxlan(100))
      expect(outputs(frame)[0][1].slice(34, 36)).toEqual(out.slice(34, 36)) // same flow, same port
    }
    const bytes = (udp().length + 42 + 63 - 0) * 2
    expect(counterRead(a, a.m[(vx + N.NETDEV_TX_COUNTER) >> 2])).toMatchObject({ packets: 4, bytes: bytes - 56 })
  })

  it('spreads flows over source ports', () => {
    takeAll([...op(P.OP_ENCAP, encap(external()), 0, 0)])
    const ports = new Set<number>()
    for (let i = 0; i < 100; i++) {
      const [[, out]] = outputs(udp({ dport: i }))
      ports.add((out[34] << 8) | out[35])
    }
    expect(ports.size).toBeGreaterThan(95)
  })

  it('carries the inner ECN out, CE as ECT(0), and tos, ttl and DF as the header says', () => {
    const vx = external()
    const inherit = E.HEADER_F_UDP | E.HEADER_F_TOS_INHERIT | E.HEADER_F_TTL_INHERIT | E.HEADER_F_DF_INHERIT
    const noTtl = template4.map((v, i) => (i === 22 ? 0 : v))
    const entry = encap(vx, { [E.HEADER_FLAGS]: inherit }, noTtl)
    takeAll([...op(P.OP_ENCAP, encap(vx, { [E.HEADER_TOS]: 0x48 }), 0, 0)])
    for (const [inner, outer] of [
      [0, 0x48],
      [0xb9, 0x49],
      [2, 0x4a],
      [3, 0x4a],
    ]) {
      expect(outputs(udp({ tos: inner }))[0][1][15]).toBe(outer)
      expect(outputs(tag(udp({ tos: inner }), 5))[0][1][15]).toBe(outer)
    }
    takeAll([...op(P.OP_ENCAP, entry, 0, 0)], p[2])
    const f = udp({ tos: 0xbb })
    f[20] = 0x40
    const [[, out]] = outputs(f, p[2])
    expect(out.slice(14, 24)).toEqual([0x45, 0xba, ...be(f.length + 36), out[18], out[19], 0x40, 0, 64, 17])
    expect(checksum(out.slice(14, 34))).toEqual([0, 0])
  })

  it('writes UDP checksums that hold, over IPv4 and IPv6', () => {
    const vx = external()
    const v6 = [0xfd, ...Array(14).fill(0), 1, 0xfd, ...Array(14).fill(0), 2]
    const template6 = [...OUTER, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 17, 64, ...v6, ...template4.slice(34)]
    const csum = { [E.HEADER_FLAGS]: E.HEADER_F_UDP | E.HEADER_F_CSUM }
    takeAll([...op(P.OP_ENCAP, encap(vx, csum), 0, 0)])
    const six = { ...csum, [E.HEADER_FLAGS]: csum[E.HEADER_FLAGS] | E.HEADER_F_IPV6, [E.HEADER_TOS]: 0xb8 }
    takeAll([...op(P.OP_ENCAP, encap(vx, six, template6), 0, 0)], p[2])
    for (let n = 0; n < 40; n++) {
      const f = udp({ payload: Array.from({ length: n }, (_, i) => (i * 37 + n) & 255), tos: 1 })
      const [[, out]] = outputs(f)
      const pseudo = [...out.slice(26, 34), 0, 17, ...be(out.length - 34)]
      expect(out.slice(40, 42)).not.toEqual([0, 0])
      expect(checksum([...pseudo, ...out.slice(34)])).toEqual([0, 0])
      const [[, out6]] = outputs(f, p[2])
      expect(out6.slice(14, 20)).toEqual([0x6b, 0x90, 0, 0, ...be(out6.length - 54)])
      const pseudo6 = [...out6.slice(22, 54), 0, 0, ...be(out6.length - 54), 0, 0, 0, 17]
      expect(checksum([...pseudo6, ...out6.slice(54)])).toEqual([0, 0])
    }
  })

  it('leaves to the host what has no header, or does not fit the route', () => {
    const vx = external()
    const entry = encap(vx, { [E.HEADER_MTU]: 100 })
    takeAll([...op(P.OP_ENCAP, entry, 0, 0)])
    const big = udp({ payload: Array(60).fill(1) })
    const [e] = send(big)
    expect(e).toMatchObject({ kind: W.PUNT_MTU, dev: p[1], arg: a.m[(entry + E.ENCAP_HEADER) >> 2] })
    expect([...dp.frame(e.pkt)].slice(50)).toEqual(big)
    a.m[(entry + E.ENCAP_HEADER) >> 2] = 0
    const [q] = send(udp())
    expect(q).toMatchObject({ kind: W.PUNT_TUNNEL, dev: vx, arg: entry })
    expect([...dp.frame(q.pkt)]).toEqual(udp())
    const tun = a.m[(q.pkt + PKT_TUN) >> 2]
    expect(tun).toBeGreaterThan(q.pkt) // its own copy
    expect(a.m[(tun + T.TUN_ID) >> 2]).toBe(100)
  })

  it('wants a tunnel key for sending', () => {
    const vx = external()
    takeAll([...redirect(vx)])
    expect(send(udp())).toEqual([])
    expect(dp.drops(D.DROP_NO_TUNNEL_KEY)).toBe(1)
    takeAll([...op(P.OP_TUNNEL_SET, tunInfo()), ...redirect(vx)], p[2])
    expect(send(udp(), p[2])[0]).toMatchObject({ kind: W.PUNT_TUNNEL, dev: vx, arg: 0 })
    takeAll([...op(P.OP_TUNNEL_SET, tunInfo()), ...op(P.OP_TUNNEL_UNSET), ...redirect(vx)], p[3])
    expect(send(udp(), p[3])).toEqual([])
    expect(dp.drops(D.DROP_NO_TUNNEL_KEY)).toBe(2)
  })

  it('shows the inner frame to the filters of the tunnel device, the outer one to those of the port', () => {
    const vx = external()
    const [c1, c2] = [counterAlloc(a), counterAlloc(a)]
    takeAll([...op(P.OP_ENCAP, encap(vx), 0, 0)])
    const block = Hand.handBlock(a, vx, N.NETDEV_EGRESS)
    const prio = Hand.handPrio(a, Hand.chain0(a, block), 10)
    const mask = Hand.handMask(a, prio, [[K.KEY_ENC_KEY_ID, -1]])
    Hand.handFlow(a, mask, [word(0, 0, 0, 100)], [...count(c1), ...end(T.TC_ACT_OK)])
    takeAll([...count(c2), ...end(T.TC_ACT_OK)], p[1], N.NETDEV_EGRESS)
    const f = udp()
    expect(outputs(f)).toHaveLength(1)
    expect(counterRead(a, c1)).toMatchObject({ packets: 1, bytes: f.length })
    expect(counterRead(a, c2)).toMatchObject({ packets: 1, bytes: f.length + 50 })
  })

  it('ends circles of tunnels by name', () => {
    const vx = external()
    const entry = encap(vx)
    takeAll([...op(P.OP_ENCAP, entry, 0, 0)])
    takeAll([...op(P.OP_ENCAP, entry, 0, 0)], p[1], N.NETDEV_EGRESS)
    expect(send(udp())).toEqual([])
    expect(dp.drops(D.DROP_MIRRED_NEST) + dp.drops(D.DROP_LOOP) + dp.drops(D.DROP_HEADROOM)).toBe(1)
    expect(dp.freeSlots()).toBe(32)
  })
})

describe('decap', () => {
  const inner = [2, 7, 7, 7, 7, 7, 2, 6, 6, 6, 6, 6, ...udp({ to: [1, 1, 1, 1] }).slice(12)]
  const outer = (o: Udp = {}, header = vxlan(100), frame = inner): number[] =>
    udp({ dport: 4789, payload: [...header, ...frame], ...o })

  beforeEach(() => {
    Hand.handLocal(a, [
      [10, 0, 0, 1],
      [127, 0, 0, 1],
    ])
  })

  it('gives the inner frame and its tunnel metadata to the filters of the tunnel device', () => {
    const vx = external()
    const c = counterAlloc(a)
    const block = Hand.handBlock(a, vx, N.NETDEV_INGRESS)
    const prio = Hand.handPrio(a, Hand.chain0(a, block), 10)
    const mask = Hand.handMask(a, prio, [
      [K.KEY_ENC_KEY_ID, -1],
      [K.KEY_ENC_IPV4_SRC, -1],
      [K.KEY_ENC_PORT_SRC, 0xffff0000 | 0],
      [K.KEY_IPV4_DST, -1],
      [K.KEY_ENC_ADDR_TYPE & ~3, 0xff0000],
    ])
    const words = [word(0, 0, 0, 100), word(10, 0, 0, 2), word(0, 0, 0x12, 0xb5), word(1, 1, 1, 1), 0x20000]
    Hand.handFlow(a, mask, words, [...count(c), ...redirect(p[2])])
    expect(outputs(outer())).toEqual([[2, inner]])
    expect(outputs(outer({ csum: true }))).toEqual([[2, inner]])
    expect(counterRead(a, c)).toMatchObject({ packets: 2, bytes: 2 * (inner.length - 14) })
    expect(counterRead(a, a.m[(vx + N.NETDEV_RX_COUNTER) >> 2])).toMatchObject({ packets: 2 })
  })

  it('sends a decapsulated packet into a tunnel only with a key of its own', () => {
    takeAll(
      [...redirect(Hand.handDevice(a, 11, { kind: N.NETDEV_KIND_VXLAN, features: N.NETDEV_F_EXTERNAL }))],
      external(),
    )
    expect(send(outer())).toEqual([])
    expect(dp.drops(D.DROP_NO_TUNNEL_KEY)).toBe(1)
  })

  it('drops by name what it cannot take', () => {
    const vx = external()
    takeAll([...redirect(p[2])], vx)
    const bad = (frame: number[], reason: number): void => {
      const before = dp.drops(reason)
      expect(send(frame)).toEqual([])
      expect(dp.drops(reason)).toBe(before + 1)
    }
    const broken = outer({ csum: true })
    broken[60] ^= 1
    bad(broken, D.DROP_UDP_CSUM)
    const ip = outer()
    ip[24] ^= 1
    bad(ip, D.DROP_IP_CSUM)
    const short = outer()
    short[39] += 1
    bad(short, D.DROP_UDP_LENGTH)
    bad(outer({}, [0, 0, 0, 0, 0, 0, 100, 0]), D.DROP_TUNNEL_HEADER)
    bad(outer({}, [8, 0, 0, 0, 0, 0, 100, 1]), D.DROP_TUNNEL_HEADER)
    bad(outer({}, [0x88, 0, 0, 5, 0, 0, 100, 0]), D.DROP_TUNNEL_HEADER)
    bad(outer({}, [8, 0, 0], []), D.DROP_TUNNEL_HEADER)
    bad(outer({}, vxlan(1), inner.slice(0, 14)), D.DROP_INNER_HEADER)
    bad(outer({}, vxlan(1), inner.slice(0, 33)), D.DROP_INNER_HEADER)
    bad(outer({ tos: 3 }), D.DROP_TUNNEL_ECN)
    bad(outer({}, vxlan(1), [...inner.slice(0, 6), 2, 7, 7, 7, 7, 7, ...inner.slice(12)]), D.DROP_LOOP)
    a.m[(vx + N.NETDEV_FLAGS) >> 2] = 0
    expect(send(outer())[0].kind).toBe(W.PUNT_LOCAL) // no socket: the host answers
  })

  it('carries the outer ECN in, and keeps the inner checksum right', () => {
    takeAll([...redirect(p[2])], external())
    for (const [out, before, after] of [
      [1, 0x4a, 0x49],
      [3, 1, 3],
      [3, 2, 3],
      [1, 2, 1],
      [1, 1, 1],
      [2, 1, 1],
      [1, 0xb8, 0xb8],
      [3, 0xff, 0xff],
    ]) {
      const frame = [...inner.slice(0, 12), ...udp({ tos: before }).slice(12)]
      const [[, got]] = outputs(outer({ tos: out }, vxlan(1), frame))
      expect([got[15], ...checksum(got.slice(14, 34))]).toEqual([after, 0, 0])
    }
  })

  it('finds the classic device of the VNI', () => {
    const dev = external(12, { features: 0, vni: 7 })
    takeAll([...redirect(p[2])], dev)
    expect(outputs(outer({}, vxlan(7)))).toHaveLength(1)
    expect(send(outer({}, vxlan(8)))).toEqual([])
    expect(dp.drops(D.DROP_NO_VNI)).toBe(1)
  })

  it('leaves fragments, other ports and other addresses to the host', () => {
    external()
    const fragment = outer()
    fragment[20] = 0x20
    fragment.splice(24, 2, 0, 0)
    fragment.splice(24, 2, ...checksum(fragment.slice(14, 34)))
    for (const f of [fragment, outer({ dport: 4790 }), outer({ to: [10, 0, 0, 9] }), outer({ from: [224, 0, 0, 1] })]) {
      expect(send(f)[0]).toMatchObject({ kind: W.PUNT_LOCAL, dev: p[0] })
    }
  })

  it('receives the inner frame as one for the tunnel device', () => {
    const vx = external()
    const [e] = send(outer())
    expect(e).toMatchObject({ kind: W.PUNT_LOCAL, dev: vx })
    expect(a.m[(e.pkt + PKT_IIF) >> 2]).toBe(10)
    expect(send(outer({}, vxlan(1), [2, 1, 1, 1, 1, 1, ...inner.slice(6)]))).toEqual([])
    expect(dp.drops(D.DROP_OTHERHOST)).toBe(1)
  })
})

describe('a burst', () => {
  it('stops behind a packet for the host', () => {
    const block = Hand.handBlock(a, p[0], N.NETDEV_INGRESS)
    const prio = Hand.handPrio(a, Hand.chain0(a, block), 10)
    const mask = Hand.handMask(a, prio, [[K.KEY_PORT_SRC, 0xffff0000 | 0]])
    Hand.handFlow(a, mask, [word(0, 0, 0, 53)], redirect(p[1]))
    const list = reserve(a, 64)
    const frames = [udp(), udp(), udp({ dport: 54 }), udp(), udp()]
    frames.forEach((f, i) => {
      const pkt = dp.alloc()
      dp.loadBytes(pkt, Uint8Array.from(f))
      a.m[(pkt + 8) >> 2] = p[0]
      a.m[(list >> 2) + i] = pkt
    })
    expect(dp.receiveBurst(list, 5)).toBe(3)
    expect(dp.takeEmissions().map((e) => e.kind)).toEqual([W.EMIT_OUTPUT, W.EMIT_OUTPUT, W.PUNT_LOCAL])
    expect(dp.receiveBurst(list + 12, 2)).toBe(2)
    expect(dp.takeEmissions()).toHaveLength(2)
  })

  it('goes on behind it when the host is on another thread', () => {
    dp.apart()
    const block = Hand.handBlock(a, p[0], N.NETDEV_INGRESS)
    const mask = Hand.handMask(a, Hand.handPrio(a, Hand.chain0(a, block), 10), [[K.KEY_PORT_SRC, 0xffff0000 | 0]])
    Hand.handFlow(a, mask, [word(0, 0, 0, 53)], redirect(p[1]))
    const list = reserve(a, 64)
    const dports = [53, 54, 55, 53]
    dports.forEach((dport, i) => {
      const pkt = dp.alloc()
      dp.loadBytes(pkt, Uint8Array.from(udp({ dport })))
      a.m[(pkt + 8) >> 2] = p[0]
      a.m[(list >> 2) + i] = pkt
    })
    expect(dp.receiveBurst(list, 4)).toBe(4)
    expect(dp.takeEmissions().map((e) => e.kind)).toEqual([W.EMIT_OUTPUT, W.PUNT_LOCAL, W.PUNT_LOCAL, W.EMIT_OUTPUT])
  })
})
