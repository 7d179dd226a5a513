// A world for tests of the chip: ports, a tunnel device, local addresses, and rules that look at everything and do a
// bit of everything; and frames of every kind, whole and damaged, for it.

import fc from 'fast-check'
import { type Arena, createArena, reserve } from '../memory/arena.ts'
import { counterAlloc, counterRead } from '../memory/counters.ts'
import * as T from '../memory/layout/action.ts'
import { DROP_MAX } from '../memory/layout/drop.ts'
import * as E from '../memory/layout/encap.ts'
import * as K from '../memory/layout/flow_key.ts'
import * as N from '../memory/layout/netdev.ts'
import { PKT_DEV } from '../memory/layout/packet.ts'
import * as P from '../memory/layout/program.ts'
import * as Hand from '../testing/hand_table.ts'
import { Datapath } from './chip.ts'

export const SLOTS = 24

export interface BusyWorld {
  readonly a: Arena
  readonly dp: Datapath
  /** Devices; the first is the port that frames come in by. */
  readonly devices: number[]
  /** Every counter that a rule has. */
  readonly counters: number[]
}

const header = (out: number): Record<number, number> => ({
  [E.HEADER_OUT_DEV]: out,
  [E.HEADER_L3]: 14,
  [E.HEADER_L4]: 34,
  [E.HEADER_MTU]: 1500,
  [E.HEADER_TTL]: 64,
  [E.HEADER_PORT_MIN]: 32768,
  [E.HEADER_PORT_COUNT]: 28231,
})

export function busyWorld(): BusyWorld {
  const { op } = Hand
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
  const all = E.HEADER_F_UDP | E.HEADER_F_CSUM | E.HEADER_F_TOS_INHERIT | E.HEADER_F_TTL_INHERIT | E.HEADER_F_DF_INHERIT
  const plain = Hand.handEncap(a, vx, tun, template, { ...header(p2), [E.HEADER_FLAGS]: E.HEADER_F_UDP })
  const open = Hand.handEncap(a, vx, tun, template, {
    ...header(p1),
    [E.HEADER_FLAGS]: E.HEADER_F_UDP,
    [E.HEADER_TOS]: 0x48,
    [E.HEADER_IP_SUM]: 0x1234,
  })
  const full = Hand.handEncap(a, vx, tun, template, { ...header(p2), [E.HEADER_FLAGS]: all })
  const counters: number[] = []

  /** Rules at a hook: each program in turn, some behind a counter. */
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
      for (const field of fields.slice(0, hook === N.NETDEV_INGRESS && dev === p0 ? 3 : 7)) {
        const mask = Hand.handMask(a, Hand.handPrio(a, c, n + 1), [field], 8)
        for (let v = 1; v < 4; v += 2) {
          const shift = 31 - Math.clz32(field[1]) - 1
          const counter = counterAlloc(a)
          counters.push(counter)
          const program = programs[n++ % programs.length]
          Hand.handFlow(a, mask, [v << shift], n % 3 === 0 ? program : [...op(P.OP_COUNT, counter), ...program])
        }
      }
    }
  }
  rules(p0, N.NETDEV_INGRESS, [
    op(P.OP_ENCAP, open, 0, 0),
    op(P.OP_REDIRECT, p1, 0, 0),
    op(P.OP_ENCAP, plain, 0, 0),
    [
      ...op(P.OP_REDIRECT, p1, P.REDIRECT_MIRROR, 0),
      ...op(P.OP_VLAN_PUSH, 0x0081, 5, 0),
      ...op(P.OP_ENCAP, full, 0, 0),
    ],
    [...op(P.OP_VLAN_POP, 0), ...op(P.OP_END, T.TC_ACT_UNSPEC)],
    [...op(P.OP_VLAN_MODIFY, 0xa888, 0x2003, 0xffff), ...op(P.OP_END, T.TC_ACT_RECLASSIFY)],
    op(P.OP_REDIRECT, p1, P.REDIRECT_INGRESS, 0),
    [...edits, ...op(P.OP_REDIRECT, p1, 0, 0)],
  ])
  rules(vx, N.NETDEV_INGRESS, [
    op(P.OP_REDIRECT, p1, 0, 0),
    op(P.OP_REDIRECT, vx, 0, 0),
    op(P.OP_ENCAP, full, 0, 0),
    [...op(P.OP_TUNNEL_UNSET), ...op(P.OP_END, T.TC_ACT_RECLASSIFY)],
  ])
  rules(p2, N.NETDEV_EGRESS, [op(P.OP_END, T.TC_ACT_OK), op(P.OP_ENCAP, full, P.REDIRECT_MIRROR, 0), edits])
  return { a, dp, devices: [p0, p1, p2, vx], counters }
}

/** All the ops that change a packet. */
const edits = [
  ...Hand.op(P.OP_CSUM, 127, 0),
  ...Hand.op(P.OP_PEDIT, 0, 2, ...[1, 4, 0x11223344, 0, 0, 0, 0], ...[5, 0, 0x3500, 0xffff00ff | 0, 0, 0, 0]),
  ...Hand.op(P.OP_PEDIT, 0, 2, ...[0x100, 8, 0xff, 0xffffff00 | 0, 0, 0, 0], ...[0, 0, 1, 0, 0, 0xf, 0]),
  ...Hand.op(P.OP_NAT, 0, 0x0a0b0c0d, 0xff, 0, 0),
  ...Hand.op(P.OP_MPLS_PUSH, 0x12345040, 0x4788, P.MPLS_PUSH_BOS, 0),
  ...Hand.op(P.OP_MPLS_MODIFY, 0x1000, 0xfffff000 | 0, 0),
  ...Hand.op(P.OP_MPLS_DEC_TTL, 0),
  ...Hand.op(P.OP_MPLS_POP, 0x0008, 0),
  ...Hand.op(P.OP_SKBEDIT, 0x25, 3, 4, 0xff, 0, 0, 0),
  ...Hand.op(P.OP_SKBMOD, 8, 0, 0, 0, 0, 0),
]

export const be = (v: number): number[] => [(v >> 8) & 255, v & 255]
const b = (n: number) => fc.array(fc.integer({ min: 0, max: 255 }), { minLength: n, maxLength: n })
const rest = fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 120 })
const sum = (x: number[]): number[] => {
  let s = x.reduce((t, v, i) => t + (i & 1 ? v : v << 8), 0)
  while (s > 0xffff) s = (s & 0xffff) + (s >>> 16)
  return be(~s)
}
export const ipv4 = (proto: number, body: number[], addresses: number[], tos = 0): number[] => {
  const head = [0x45, tos, ...be(20 + body.length), 0, 1, 0, 0, 64, proto]
  return [...head, ...sum([...head, ...addresses]), ...addresses, ...body]
}
export const eth = (src: number[], body: number[], type = [8, 0]): number[] => [
  2,
  0,
  0,
  0,
  0,
  1,
  ...src,
  ...type,
  ...body,
]
const inner = fc
  .tuple(b(6), b(8), fc.constantFrom(6, 17, 1), b(4), rest, fc.integer({ min: 0, max: 255 }))
  .map(([src, addresses, proto, ports, more, tos]) =>
    eth(src, ipv4(proto, [...ports, ...be(8 + more.length), 0, 0, ...more], addresses, tos)),
  )
export const plainFrame = fc
  .tuple(inner, fc.array(b(2), { maxLength: 3 }))
  .map(([f, tags]) => [...f.slice(0, 12), ...tags.flatMap((t) => [0x81, 0, ...t]), ...f.slice(12)])
export const ours = [10, 0, 0, 2, 10, 0, 0, 1]
export const vxlanFrame = fc
  .tuple(fc.constantFrom(8, 8, 8, 0x88, 0), b(3), b(4), plainFrame, fc.integer({ min: 0, max: 3 }), b(6))
  .map(([flags, reserved, vni, frame, tos, src]) => {
    const body = [flags, ...(flags === 0x88 ? reserved : [0, 0, 0]), ...vni.slice(0, 3), 0, ...frame]
    return eth(src, ipv4(17, [...be(5000), ...be(4789), ...be(8 + body.length), 0, 0, ...body], ours, tos))
  })
const change = fc.array(fc.tuple(fc.integer({ min: 12, max: 120 }), fc.integer({ min: 0, max: 255 })), { maxLength: 3 })
const cut = fc.option(fc.integer({ min: 0, max: 160 }), { freq: 3, nil: undefined })
export const damagedFrame = fc
  .tuple(fc.oneof(plainFrame, vxlanFrame, vxlanFrame, rest), change, cut)
  .map(([f, changes, n]) => {
    const g = Uint8Array.from(f.slice(0, n))
    for (const [at, v] of changes) if (at < g.length) g[at] = v
    return g
  })

/** What left a world: device, kind, bytes. */
export type Left = [dev: number, kind: number, frame: string]

/** Takes what left a world, and gives the slots back. */
export function take(w: BusyWorld, into: Left[]): void {
  for (const e of w.dp.takeEmissions()) {
    into.push([w.devices.indexOf(e.dev), e.kind, Buffer.from(w.dp.frame(e.pkt)).toString('hex')])
    w.dp.release(e.pkt)
  }
}

/** A slot with this frame, come in by the first device. */
export function slot(w: BusyWorld, frame: Uint8Array): number {
  const pkt = w.dp.alloc()
  w.dp.loadBytes(pkt, frame)
  w.a.m[(pkt + PKT_DEV) >> 2] = w.devices[0]
  return pkt
}

/** Every counter of rules and devices, and every drop. */
export function counters(w: BusyWorld): unknown {
  const ids = [...w.counters]
  for (const dev of w.devices)
    ids.push(w.a.m[(dev + N.NETDEV_RX_COUNTER) >> 2], w.a.m[(dev + N.NETDEV_TX_COUNTER) >> 2])
  return {
    counters: ids.map((id) => counterRead(w.a, id)),
    drops: Array.from({ length: DROP_MAX }, (_, i) => w.dp.drops(i)),
  }
}
