// How fast the chip is, memory to memory: `npx tsx src/datapath/chip.bench.ts [seconds]`.
//
// 64-byte frames, VXLAN over IPv4, hand-laid tables: no control side, no driver. Thread CPU time; cycles from a loop of
// known length that runs beside each figure, so that a busy machine shows.

import { Session } from 'node:inspector'
import { createArena, reserve } from '../memory/arena.ts'
import { counterAlloc } from '../memory/counters.ts'
import * as T from '../memory/layout/action.ts'
import * as E from '../memory/layout/encap.ts'
import * as K from '../memory/layout/flow_key.ts'
import * as N from '../memory/layout/netdev.ts'
import * as P from '../memory/layout/program.ts'
import * as Hand from '../testing/hand_table.ts'
import { Datapath } from './chip.ts'

void Session
const seconds = Number(process.argv[2] ?? 1)
const only = process.argv[3]
const cpu = (): number => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}
const be = (v: number): number[] => [(v >> 8) & 255, v & 255]
const le = (b: number[]): number => b[0] | (b[1] << 8) | (b[2] << 16) | (b[3] << 24)

interface Case {
  name: string
  flows: number
  masks: number
  size: number
  decap?: boolean
  /** Frames of the table; each flow comes in turn. */
  frames?: number
  /** Every packet has a source address of its own, and a mask looks at it: the cache never helps. */
  defeat?: boolean
}

/** Masks in the order in which a packet tries them; flow i is in mask i % masks. */
function masksOf(n: number): [number, number][][] {
  const out: [number, number][][] = []
  for (let i = 0; i < n; i++) {
    // protocol and type always; the destination; then one bit of this or that, zero in all frames
    const pairs: [number, number][] = [
      [K.KEY_N_PROTO, 0x00ffffff],
      [K.KEY_IPV4_DST, -1],
      [K.KEY_PORT_SRC, 0xffff0000 | 0],
    ]
    if (i & 1) pairs.push([K.KEY_IP_TOS, 0xff])
    if (i & 2) pairs.push([K.KEY_IPV4_SRC, 0xff])
    if (i & 4) pairs.push([K.KEY_ETH_DST, 0xff])
    if (i & 8) pairs.push([K.KEY_ETH_SRC + 2, 0xff])
    if (i & 16) pairs.push([K.KEY_ICMP_TYPE, 0xff])
    if (i & 32) pairs.push([K.KEY_INDEV, 0xff])
    out.push(pairs)
  }
  return out
}

function inner(i: number, size: number): number[] {
  const ip = size - 14
  const head = [2, 0, 0, 0, 0, 1, 2, 9, 9, 9, 9, 9, 8, 0, 0x45, 0, ...be(ip), 0, 7, 0, 0, 64, 17, 0, 0, 10, 0, 0, 2]
  const rest = [10, 1 + (i >> 16), (i >> 8) & 255, i & 255, ...be(1000), ...be(53), ...be(ip - 20), 0, 0]
  return [...head, ...rest, ...Array(size - 42).fill(i & 255)]
}

function run(c: Case): void {
  const frames = c.frames ?? Math.max(1024, 2 ** Math.ceil(Math.log2(c.flows)))
  const a = createArena({
    bytes: 1 << 30,
    packets: 4096,
    counters: 1 << 18,
    emc: process.argv[4] ? Number(process.argv[4]) : undefined,
  })
  const dp = new Datapath(a, 0)
  const [p0, p1] = [1, 2].map((i) => Hand.handDevice(a, i))
  const tun = reserve(a, T.TUN_SIZE_MAX)
  a.m[(tun + T.TUN_MODE) >> 2] = T.TUN_TX
  const vx = Hand.handDevice(a, 3, {
    kind: N.NETDEV_KIND_VXLAN,
    features: N.NETDEV_F_EXTERNAL,
    mac: [2, 7, 7, 7, 7, 7],
    udpPort: 4789,
  })
  Hand.handLocal(a, [[10, 0, 1, 1]])
  const outerIp = [0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 1, 1, 10, 0, 1, 2]
  const template = [
    ...[2, 8, 8, 8, 8, 8, 2, 0, 0, 0, 0, 2, 8, 0],
    ...outerIp,
    0,
    0,
    0x12,
    0xb5,
    0,
    0,
    0,
    0,
    8,
    0,
    0,
    0,
    0,
    0,
    100,
    0,
  ]
  const entry = Hand.handEncap(a, vx, tun, template, {
    [E.HEADER_OUT_DEV]: p1,
    [E.HEADER_FLAGS]: E.HEADER_F_UDP,
    [E.HEADER_L3]: 14,
    [E.HEADER_L4]: 34,
    [E.HEADER_MTU]: 9000,
    [E.HEADER_TTL]: 64,
    [E.HEADER_IP_SUM]: outerIp.reduce((s, v, i) => s + (i & 1 ? v : v << 8), 0),
    [E.HEADER_PORT_MIN]: 32768,
    [E.HEADER_PORT_COUNT]: 28231,
  })
  for (const dev of [p0, p1]) a.m[(dev + N.NETDEV_MTU) >> 2] = 9000
  const on = c.decap ? vx : p0
  const block = Hand.handBlock(a, on, N.NETDEV_INGRESS)
  if (c.defeat) Hand.handMask(a, Hand.handPrio(a, Hand.chain0(a, block), 1, 0x0008), [[K.KEY_IPV4_SRC, -1]])
  const masks = masksOf(c.masks).map((pairs, i) =>
    Hand.handMask(
      a,
      Hand.handPrio(a, Hand.chain0(a, block), i + 1, 0x0008),
      pairs,
      2 ** Math.ceil(Math.log2((c.flows / c.masks) * 2 + 2)),
    ),
  )
  for (let i = 0; i < c.flows; i++) {
    const counter = counterAlloc(a)
    const program = c.decap
      ? [...Hand.op(P.OP_COUNT, counter), ...Hand.op(P.OP_TUNNEL_UNSET), ...Hand.op(P.OP_REDIRECT, p1, 0, counter)]
      : [...Hand.op(P.OP_COUNT, counter), ...Hand.op(P.OP_ENCAP, entry, 0, counter)]
    const frame = Uint8Array.from(inner(i, c.size))
    const word = (o: number): number => {
      switch (o) {
        case K.KEY_N_PROTO:
          return le([8, 0, 17, 4])
        case K.KEY_IPV4_DST:
          return le([...frame.subarray(30, 34)])
        case K.KEY_PORT_SRC:
          return le([...frame.subarray(34, 38)])
        case K.KEY_IP_TOS:
          return 0x4000
        case K.KEY_IPV4_SRC:
          return le([10, 0, 0, 2])
        case K.KEY_ETH_DST:
          return 2
        case K.KEY_ETH_SRC + 2:
          return 9
        case K.KEY_INDEV:
          return c.decap ? 3 : 1
        default:
          return 0
      }
    }
    const m = i % c.masks
    const pairs = masksOf(c.masks)[m]
    Hand.handFlow(
      a,
      masks[m],
      pairs.map(([o]) => word(o)),
      program,
    )
  }
  const size = c.decap ? c.size + 50 : c.size
  const stride = 16 + Math.ceil(size / 16) * 16
  const table = reserve(a, frames * stride)
  for (let i = 0; i < frames; i++) {
    let f = inner(i % c.flows, c.size)
    if (c.decap) {
      f[0] = 2
      f.splice(1, 5, 7, 7, 7, 7, 7)
      const ip = [0x45, 0, ...be(size - 14), 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 1, 2, 10, 0, 1, 1]
      let s = ip.reduce((sum, v, k) => sum + (k & 1 ? v : v << 8), 0)
      while (s > 0xffff) s = (s & 0xffff) + (s >>> 16)
      ip.splice(10, 2, ...be(~s))
      f = [
        ...[2, 0, 0, 0, 0, 1, 2, 8, 8, 8, 8, 8, 8, 0],
        ...ip,
        ...be(40000 + (i % c.flows)),
        ...be(4789),
        ...be(size - 34),
        0,
        0,
        8,
        0,
        0,
        0,
        0,
        0,
        100,
        0,
        ...f,
      ]
    }
    a.m[(table + i * stride) >> 2] = f.length
    a.u8.set(f, table + i * stride + 16)
  }
  const source = { address: table, stride, frames, device: p0, vary: c.defeat ? 27 : 0 }
  const { taken, out, other } = dp.pump(source, 0, frames)
  if (taken !== frames || out !== frames || other !== 0) {
    throw new Error(`${c.name}: ${taken} in, ${out} out, ${other} punted, drops ${dp.allDrops()}`)
  }
  const batch = 1 << 17
  const rates: number[] = []
  for (let r = 0, at = 0; r < 7; r++) {
    const t0 = cpu()
    let n = 0
    let dt = 0
    while (dt < seconds / 7) {
      dp.pump(source, at, batch)
      at = (at + batch) & (frames - 1)
      n += batch
      dt = cpu() - t0
    }
    if (r > 0) rates.push(n / dt / 1e6)
  }
  rates.sort((x, y) => x - y)
  const median = rates[rates.length >> 1]
  const ghz = clock()
  console.log(
    `${c.name.padEnd(40)} ${median.toFixed(1).padStart(6)} Mpps  ${(1000 / median).toFixed(1).padStart(6)} ns ${((ghz * 1000) / median).toFixed(0).padStart(5)} cycles  (${rates[0].toFixed(1)} .. ${rates[rates.length - 1].toFixed(1)}; ${ghz.toFixed(2)} GHz)`,
  )
}

/** GHz of this core just now: a chain of dependent 32-bit multiplications, three cycles each. */
function clock(): number {
  let x = 1
  const t0 = cpu()
  const n = 3e7
  for (let i = 0; i < n; i++) x = Math.imul(x, 0x9e3779b1)
  const dt = cpu() - t0
  return (n * 3 * (x === 0 ? 2 : 1)) / dt / 1e9
}
clock()

const cases: Case[] = [
  { name: 'encap 1 flow 1 mask', flows: 1, masks: 1, size: 64 },
  { name: 'encap 1k flows 8 masks', flows: 1000, masks: 8, size: 64, frames: 1024 },
  { name: 'encap 100k flows 8 masks', flows: 100_000, masks: 8, size: 64 },
  { name: 'encap 1k flows 64 masks, cache defeated', flows: 1000, masks: 64, size: 64, defeat: true },
  { name: 'encap 1500 B 1k flows 8 masks', flows: 1000, masks: 8, size: 1500, frames: 1024 },
  { name: 'decap 1k flows 8 masks', flows: 1000, masks: 8, size: 64, decap: true },
]
for (const c of cases) if (!only || c.name.includes(only)) run(c)
