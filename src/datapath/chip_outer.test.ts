// The short way out of a VXLAN tunnel agrees with the long one: bursts of sound and unsound outer packets, in worlds with
// every kind of device and filters, against the same packets one at a time with a cache that never holds anything.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createArena, reserve } from '../memory/arena.ts'
import { counterAlloc } from '../memory/counters.ts'
import * as T from '../memory/layout/action.ts'
import * as E from '../memory/layout/encap.ts'
import * as K from '../memory/layout/flow_key.ts'
import * as N from '../memory/layout/netdev.ts'
import * as P from '../memory/layout/program.ts'
import { SUPER_GENERATION } from '../memory/layout/super.ts'
import { EMIT_OUTPUT } from '../memory/layout/worker.ts'
import * as Hand from '../testing/hand_table.ts'
import { type BusyWorld, be, counters, eth, ipv4, type Left, slot, take } from './busy_world.fixture.ts'
import { Datapath } from './chip.ts'

interface Kind {
  readonly name: string
  readonly external: boolean
  /** The port has filters of its own, in front of the tunnel. */
  readonly filtered: boolean
  /** What the tunnel's filters look at beside the frame: all that there is of the tunnel, its id and source, nothing. */
  readonly enc: 'tunnel' | 'peer' | ''
}

const { op } = Hand

function world({ external, filtered, enc }: Kind): BusyWorld {
  const a = createArena({ bytes: 64 << 20, packets: 64, counters: 1024, emc: 64 })
  const dp = new Datapath(a, 0)
  dp.setTime(1e9)
  const [p0, p1, p2] = [1, 2, 3].map((i) => Hand.handDevice(a, i))
  Hand.handLocal(a, [
    [10, 0, 0, 1],
    [10, 0, 0, 9],
  ])
  const tunnel = { kind: N.NETDEV_KIND_VXLAN, udpPort: 4789 }
  const vx = Hand.handDevice(a, 4, {
    ...tunnel,
    mac: [2, 7, 7, 7, 7, 7],
    vni: 5,
    features: external ? N.NETDEV_F_EXTERNAL : 0,
  })
  const other = Hand.handDevice(a, 5, { ...tunnel, mac: [2, 7, 7, 7, 7, 8], vni: 6, features: N.NETDEV_F_GBP })
  const tun = reserve(a, T.TUN_SIZE_MAX)
  a.m[(tun + T.TUN_MODE) >> 2] = T.TUN_TX
  const template = Array.from({ length: 50 }, (_, i) => i)
  template.splice(12, 3, 8, 0, 0x45)
  const entry = Hand.handEncap(a, vx, tun, template, {
    [E.HEADER_OUT_DEV]: p1,
    [E.HEADER_FLAGS]: E.HEADER_F_UDP,
    [E.HEADER_L3]: 14,
    [E.HEADER_L4]: 34,
    [E.HEADER_MTU]: 1500,
    [E.HEADER_PORT_MIN]: 32768,
    [E.HEADER_PORT_COUNT]: 28231,
  })
  const counters: number[] = []
  const programs = [
    op(P.OP_REDIRECT, p1, 0, 0),
    [...op(P.OP_TUNNEL_UNSET), ...op(P.OP_REDIRECT, p1, 0, 0)],
    op(P.OP_ENCAP, entry, 0, 0),
    op(P.OP_REDIRECT, p2, 0, 0),
    [...op(P.OP_REDIRECT, p1, P.REDIRECT_MIRROR, 0), ...op(P.OP_END, T.TC_ACT_UNSPEC)],
    op(P.OP_REDIRECT, p1, P.REDIRECT_INGRESS, 0),
    op(P.OP_END, T.TC_ACT_OK),
    op(P.OP_END, T.TC_ACT_SHOT),
  ]
  let n = 0
  const rules = (dev: number, hook: number, fields: readonly [number, number][], shifts: readonly number[]) => {
    const chain = Hand.chain0(a, Hand.handBlock(a, dev, hook))
    fields.forEach((field, i) => {
      const mask = Hand.handMask(a, Hand.handPrio(a, chain, i + 1), [field], 16)
      for (let v = 0; v < 3; v++) {
        const counter = counterAlloc(a)
        counters.push(counter)
        const program = programs[n++ % programs.length]
        Hand.handFlow(a, mask, [v << shifts[i]], n % 3 === 0 ? program : [...op(P.OP_COUNT, counter), ...program])
      }
    })
  }
  const inner: [number, number][] = [
    [K.KEY_IPV4_SRC, 0x07000000],
    [K.KEY_PORT_SRC, 0x07000000],
    [K.KEY_ETH_SRC + 2, 0x07000000],
  ]
  const tunnelled: [number, number][] = [
    [K.KEY_ENC_KEY_ID, 0x03000000],
    [K.KEY_ENC_PORT_SRC, 0x0700],
    [K.KEY_ENC_TOS, 0xff],
    [K.KEY_ENC_IPV4_SRC, -1],
  ]
  const fieldsOf = {
    tunnel: [...tunnelled.slice(0, 2), ...inner, ...tunnelled.slice(2)],
    peer: [tunnelled[0], ...inner, [K.KEY_ENC_IPV4_SRC, 0x03000000] as [number, number]],
    '': inner,
  }
  rules(vx, N.NETDEV_INGRESS, fieldsOf[enc], enc === 'peer' ? [24, 24, 24, 24, 24] : [24, 24, 24, 24, 24, 0, 0])
  rules(other, N.NETDEV_INGRESS, inner, [24, 24, 24])
  if (filtered) rules(p0, N.NETDEV_INGRESS, [[K.KEY_PORT_SRC, 0xff07]], [0])
  rules(p2, N.NETDEV_EGRESS, [[K.KEY_IPV4_SRC, 0x01000000]], [24])
  return { a, dp, devices: [p0, p1, p2, vx, other], counters }
}

const rarely = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.oneof({ weight: 7, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary })
const small = (max: number) => fc.integer({ min: 0, max })
const innerFrame = fc
  .tuple(small(8), small(8), small(8), fc.constantFrom(17, 17, 17, 6, 1), small(20), fc.constantFrom(0, 0, 1, 2, 3))
  .map(([mac, src, port, proto, more, tos]) =>
    eth(
      mac === 8 ? [2, 7, 7, 7, 7, 7] : [2, 3, 3, 3, 3, mac],
      ipv4(
        proto,
        [...be(1000), 0, port, ...be(8 + more), 0, 0, ...Array(more).fill(0x55)],
        [10, 1, 0, src, 10, 2, 0, 1],
        tos,
      ),
    ),
  )
/** Outer packets, most of them sound: what may be wrong is now and then. */
const outerFrame = fc
  .record({
    frame: innerFrame,
    vni: fc.constantFrom(5, 5, 5, 6, 7),
    src: fc.constantFrom(2, 2, 3, 9),
    dst: fc.constantFrom(1, 1, 1, 4),
    tos: fc.constantFrom(0, 0, 2, 4, 1, 3),
    sport: small(9),
    csum: fc.constantFrom(0, 0, 0, 0, 0x1234),
    flags: fc.constantFrom(8, 8, 8, 8, 0x88, 0),
    reserved: fc.constantFrom(0, 0, 0, 0, 1),
    trailing: fc.constantFrom(0, 0, 3),
    shortUdp: fc.constantFrom(0, 0, 0, 0, 4, 40),
    change: rarely(fc.tuple(small(60), small(255))),
    cut: rarely(small(110)),
  })
  .map((o) => {
    const body = [o.flags, 0, 0, 0, 0, 0, o.vni, o.reserved, ...o.frame]
    const udp = [...be(5000 + o.sport), ...be(4789), ...be(Math.max(0, 8 + body.length - o.shortUdp)), ...be(o.csum)]
    const f = Uint8Array.from([
      ...eth([2, 8, 8, 8, 8, 8], ipv4(17, [...udp, ...body], [10, 0, 0, o.src, 10, 0, 0, o.dst], o.tos)),
      ...Array(o.trailing).fill(0xee),
    ])
    if (o.change !== undefined) f[o.change[0]] = o.change[1]
    return f.slice(0, o.cut)
  })

const kinds: Kind[] = [true, false].flatMap((external) =>
  [true, false].flatMap((filtered) =>
    (['tunnel', 'peer', ''] as const).map((enc) => ({
      name: `${external ? 'external' : 'classic'} device, ${filtered ? 'filtered' : 'bare'} port, filters on ${enc ? `${enc} and frame` : 'the frame'}`,
      external,
      filtered,
      enc,
    })),
  ),
)

describe('leaving a VXLAN tunnel', { timeout: 180_000 }, () => {
  it.each(kinds)('$name: a burst is as each packet alone', (kind) => {
    const [short, long] = [world(kind), world(kind)]
    const list = reserve(short.a, 256)
    let outputs = 0
    fc.assert(
      fc.property(fc.array(outerFrame, { minLength: 1, maxLength: 8 }), (frames) => {
        const [quick, slow]: [Left[], Left[]] = [[], []]
        frames.forEach((f, i) => {
          short.a.m[(list >> 2) + i] = slot(short, f)
        })
        for (let done = 0; done < frames.length; take(short, quick)) {
          done += short.dp.receiveBurst(list + done * 4, frames.length - done)
        }
        for (const f of frames) {
          long.a.m[SUPER_GENERATION >> 2]++
          long.dp.receive(slot(long, f), long.devices[0])
          take(long, slow)
        }
        expect(quick).toEqual(slow)
        outputs += quick.filter(([, k]) => k === EMIT_OUTPUT).length
      }),
      { numRuns: 600, seed: 7 },
    )
    expect(counters(short)).toEqual(counters(long))
    expect(outputs).toBeGreaterThan(200)
  })

  it('of more peers than the table of outer headers has places for', () => {
    const kind: Kind = { name: '', external: true, filtered: false, enc: 'peer' }
    const [short, long] = [world(kind), world(kind)]
    const list = reserve(short.a, 256)
    const inner = eth([2, 3, 3, 3, 3, 1], ipv4(17, [...be(1000), 0, 1, ...be(8), 0, 0], [10, 1, 0, 1, 10, 2, 0, 1]))
    const udp = [...be(5000), ...be(4789), ...be(16 + inner.length), 0, 0, 8, 0, 0, 0, 0, 0, 5, 0, ...inner]
    const peers = Array.from({ length: 5000 }, (_, i) =>
      Uint8Array.from(eth([2, 8, 8, 8, 8, 8], ipv4(17, udp, [20, 0, i >> 8, i & 255, 10, 0, 0, 1]))),
    )
    for (let round = 0; round < 3; round++) {
      for (const f of peers) {
        const [quick, slow]: [Left[], Left[]] = [[], []]
        short.a.m[list >> 2] = slot(short, f)
        short.dp.receiveBurst(list, 1)
        take(short, quick)
        long.a.m[SUPER_GENERATION >> 2]++
        long.dp.receive(slot(long, f), long.devices[0])
        take(long, slow)
        expect(quick).toEqual(slow)
      }
    }
    expect(counters(short)).toEqual(counters(long))
  })
})
