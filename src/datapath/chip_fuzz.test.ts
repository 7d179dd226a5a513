// Whatever comes in: nothing traps, every packet is accounted for, and nothing is written outside its slot.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createArena, reserve } from '../memory/arena.ts'
import * as T from '../memory/layout/action.ts'
import * as E from '../memory/layout/encap.ts'
import * as K from '../memory/layout/flow_key.ts'
import * as N from '../memory/layout/netdev.ts'
import { PKT_DATA, PKT_DEV, PKT_FRAME, PKT_HEADROOM, PKT_LEN } from '../memory/layout/packet.ts'
import * as P from '../memory/layout/program.ts'
import { SUPER_PACKET_COUNT, SUPER_PACKET_SIZE, SUPER_PACKETS } from '../memory/layout/super.ts'
import * as W from '../memory/layout/worker.ts'
import * as Hand from '../testing/hand_table.ts'
import { Datapath } from './chip.ts'
import { chipModule } from './chip_module.ts'

chipModule()
const { op } = Hand
const SLOTS = 24
const a = createArena({ bytes: 64 << 20, packets: SLOTS, counters: 1024, emc: 16 })
const dp = new Datapath(a, 0)
dp.setTime(1e9)
const [p0, p1, p2] = [1, 2, 3].map((i) => Hand.handDevice(a, i))
Hand.handLocal(a, [
  [10, 0, 0, 1],
  [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
])
const tun = reserve(a, T.TUN_SIZE_MAX)
a.m[(tun + T.TUN_MODE) >> 2] = T.TUN_TX
const vx = Hand.handDevice(a, 4, {
  kind: N.NETDEV_KIND_VXLAN,
  features: N.NETDEV_F_EXTERNAL | N.NETDEV_F_GBP | N.NETDEV_F_UDP6_ZERO_CSUM_RX,
  mac: [2, 7, 7, 7, 7, 7],
  udpPort: 4789,
})
const template = Array.from({ length: 50 }, (_, i) => i)
template.splice(12, 3, 8, 0, 0x45)
const header = {
  [E.HEADER_OUT_DEV]: p2,
  [E.HEADER_L3]: 14,
  [E.HEADER_L4]: 34,
  [E.HEADER_MTU]: 1500,
  [E.HEADER_TTL]: 64,
  [E.HEADER_PORT_MIN]: 32768,
  [E.HEADER_PORT_COUNT]: 28231,
}
const all = E.HEADER_F_UDP | E.HEADER_F_CSUM | E.HEADER_F_TOS_INHERIT | E.HEADER_F_TTL_INHERIT | E.HEADER_F_DF_INHERIT
const plain = Hand.handEncap(a, vx, tun, template, { ...header, [E.HEADER_FLAGS]: E.HEADER_F_UDP })
const full = Hand.handEncap(a, vx, tun, template, { ...header, [E.HEADER_FLAGS]: all })

/** Rules that look at everything and do a bit of everything. */
function rules(dev: number, hook: number, programs: number[][]): void {
  const block = Hand.handBlock(a, dev, hook)
  const chain = Hand.chain0(a, block)
  const one = Hand.handChain(a, block, 1)
  programs.push(op(P.OP_GOTO, one), op(P.OP_END, T.TC_ACT_UNSPEC), op(P.OP_END, T.TC_ACT_RECLASSIFY))
  const fields: [number, number][] = [
    [K.KEY_ETH_SRC + 2, 0x3],
    [K.KEY_IPV4_DST, 0x03000000],
    [K.KEY_PORT_SRC, 0x03000000],
    [K.KEY_VLAN_TCI, 0x0300],
    [K.KEY_IPV6_DST + 12, 0x03000000],
    [K.KEY_ENC_KEY_ID, 0x03000000],
    [K.KEY_MPLS_LSE, 0x03],
  ]
  let n = 0
  for (const c of [chain, one]) {
    for (const field of fields) {
      const mask = Hand.handMask(a, Hand.handPrio(a, c, n + 1), [field], 8)
      for (let v = 1; v < 4; v += 2) {
        const shift = 31 - Math.clz32(field[1]) - 1
        Hand.handFlow(a, mask, [v << shift], programs[n++ % programs.length])
      }
    }
  }
}
rules(p0, N.NETDEV_INGRESS, [
  op(P.OP_REDIRECT, p1, 0, 0),
  op(P.OP_ENCAP, plain, 0, 0),
  [...op(P.OP_REDIRECT, p1, P.REDIRECT_MIRROR, 0), ...op(P.OP_VLAN_PUSH, 0x0081, 5, 0), ...op(P.OP_ENCAP, full, 0, 0)],
  [...op(P.OP_VLAN_POP, 0), ...op(P.OP_END, T.TC_ACT_UNSPEC)],
  [...op(P.OP_VLAN_MODIFY, 0xa888, 0x2003, 0xffff), ...op(P.OP_END, T.TC_ACT_RECLASSIFY)],
  op(P.OP_REDIRECT, p1, P.REDIRECT_INGRESS, 0),
])
rules(vx, N.NETDEV_INGRESS, [
  op(P.OP_REDIRECT, p1, 0, 0),
  op(P.OP_REDIRECT, vx, 0, 0),
  op(P.OP_ENCAP, full, 0, 0),
  [...op(P.OP_TUNNEL_UNSET), ...op(P.OP_END, T.TC_ACT_RECLASSIFY)],
])
rules(p2, N.NETDEV_EGRESS, [op(P.OP_END, T.TC_ACT_OK), op(P.OP_ENCAP, full, P.REDIRECT_MIRROR, 0)])

const first = a.m[SUPER_PACKETS >> 2]
const stride = a.m[SUPER_PACKET_SIZE >> 2]
expect(a.m[SUPER_PACKET_COUNT >> 2]).toBe(SLOTS)
const list = reserve(a, 256)
/** The end of a slot: copies in whole words may reach behind the frame, but not so far. */
const GUARD = 48
for (let slot = first; slot < first + SLOTS * stride; slot += stride)
  a.u8.fill(0xa5, slot + stride - GUARD, slot + stride)

/** Receives frames, in a burst or one by one; checks what became of them. */
function feed(frames: Uint8Array[], burst: boolean): void {
  const ends = (): number => dp.allDrops()
  const before = ends()
  const slots = dp.freeSlots()
  const packets = frames.map((f) => {
    const pkt = dp.alloc()
    expect(dp.loadBytes(pkt, f)).toBe(true)
    a.m[(pkt + PKT_DEV) >> 2] = p0
    return pkt
  })
  const below = a.u8.slice(first - 64, first)
  const emitted: { pkt: number; dev: number; kind: number }[] = []
  if (burst) {
    packets.forEach((pkt, i) => {
      a.m[(list >> 2) + i] = pkt
    })
    for (let done = 0; done < packets.length; ) {
      done += dp.receiveBurst(list + done * 4, packets.length - done)
      emitted.push(...dp.takeEmissions())
    }
  } else {
    for (const pkt of packets) {
      dp.receive(pkt, p0)
      emitted.push(...dp.takeEmissions())
    }
  }
  for (const e of emitted) {
    const data = a.m[(e.pkt + PKT_DATA) >> 2]
    const len = a.m[(e.pkt + PKT_LEN) >> 2]
    expect((e.pkt - first) % stride).toBe(0)
    expect(data).toBeGreaterThanOrEqual(e.pkt + PKT_HEADROOM)
    expect(len).toBeGreaterThanOrEqual(14)
    expect(data + len).toBeLessThanOrEqual(e.pkt + stride)
    expect([W.EMIT_OUTPUT, W.PUNT_LOCAL, W.PUNT_TUNNEL, W.PUNT_MTU]).toContain(e.kind)
    dp.release(e.pkt)
  }
  expect(dp.freeSlots()).toBe(slots)
  expect(new Set(emitted.map((e) => e.pkt)).size).toBe(emitted.length)
  expect(emitted.length + ends() - before).toBeGreaterThanOrEqual(frames.length)
  expect(a.u8.slice(first - 64, first)).toEqual(below)
  for (let slot = first; slot < first + SLOTS * stride; slot += stride) {
    expect(a.u8.subarray(slot + stride - GUARD, slot + stride).every((v) => v === 0xa5)).toBe(true)
  }
}

const be = (v: number): number[] => [(v >> 8) & 255, v & 255]
const b = (n: number) => fc.array(fc.integer({ min: 0, max: 255 }), { minLength: n, maxLength: n })
const rest = fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 120 })
const sum = (x: number[]): number[] => {
  let s = x.reduce((t, v, i) => t + (i & 1 ? v : v << 8), 0)
  while (s > 0xffff) s = (s & 0xffff) + (s >>> 16)
  return be(~s)
}
const ipv4 = (proto: number, body: number[], addresses: number[], tos = 0): number[] => {
  const head = [0x45, tos, ...be(20 + body.length), 0, 1, 0, 0, 64, proto]
  return [...head, ...sum([...head, ...addresses]), ...addresses, ...body]
}
const eth = (src: number[], body: number[], type = [8, 0]): number[] => [2, 0, 0, 0, 0, 1, ...src, ...type, ...body]
const inner = fc
  .tuple(b(6), b(8), fc.constantFrom(6, 17, 1), b(4), rest, fc.integer({ min: 0, max: 255 }))
  .map(([src, addresses, proto, ports, more, tos]) =>
    eth(src, ipv4(proto, [...ports, ...be(8 + more.length), 0, 0, ...more], addresses, tos)),
  )
const tagged = fc
  .tuple(inner, fc.array(b(2), { maxLength: 3 }))
  .map(([f, tags]) => [...f.slice(0, 12), ...tags.flatMap((t) => [0x81, 0, ...t]), ...f.slice(12)])
const ours = [10, 0, 0, 2, 10, 0, 0, 1]
const vxlan = fc
  .tuple(fc.constantFrom(8, 8, 8, 0x88, 0), b(3), b(4), tagged, fc.integer({ min: 0, max: 3 }), b(6))
  .map(([flags, reserved, vni, frame, tos, src]) => {
    const body = [flags, ...(flags === 0x88 ? reserved : [0, 0, 0]), ...vni.slice(0, 3), 0, ...frame]
    return eth(src, ipv4(17, [...be(5000), ...be(4789), ...be(8 + body.length), 0, 0, ...body], ours, tos))
  })
const change = fc.array(fc.tuple(fc.integer({ min: 12, max: 120 }), fc.integer({ min: 0, max: 255 })), { maxLength: 3 })
const cut = fc.option(fc.integer({ min: 0, max: 160 }), { freq: 3, nil: undefined })
const frame = fc.tuple(fc.oneof(tagged, vxlan, vxlan, rest), change, cut).map(([f, changes, n]) => {
  const g = Uint8Array.from(f.slice(0, n))
  for (const [at, v] of changes) if (at < g.length) g[at] = v
  return g
})

describe('the chip, whatever comes in', { timeout: 60_000 }, () => {
  it('takes damaged frames of every kind, one by one and in bursts', () => {
    fc.assert(
      fc.property(fc.array(frame, { minLength: 1, maxLength: 6 }), fc.boolean(), (frames, burst) =>
        feed(frames, burst),
      ),
      { numRuns: 800 },
    )
  })

  it('takes frames as large as a slot', () => {
    for (const n of [1500, 1517, 1518, 1519, dp.maxFrame() - 1, dp.maxFrame()]) {
      const body = Array(n - 14 - 28).fill(3)
      const f = eth([3, 3, 3, 3, 3, 3], ipv4(17, [...be(1), ...be(2), ...be(8 + body.length), 0, 0, ...body], ours))
      expect(f.length).toBe(n)
      feed([Uint8Array.from(f)], false)
    }
    expect(dp.loadBytes(dp.alloc(), new Uint8Array(dp.maxFrame() + 1))).toBe(false)
  })

  it('takes every length of frame under the frame that stood there before', () => {
    const pkt = dp.alloc()
    a.u8.fill(0x45, pkt + PKT_FRAME, pkt + PKT_FRAME + 1400)
    dp.release(pkt)
    const whole = fc.sample(vxlan, { numRuns: 20, seed: 7 })
    for (const f of whole) for (let n = 0; n <= f.length; n++) feed([Uint8Array.from(f.slice(0, n))], n % 2 === 0)
  })
})
