// Any list of actions on any frame: nothing traps, every packet is accounted for, and nothing is written outside the
// slots of the packets in work. Lists that no rule would make are among them.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { reserve } from '../memory/arena.ts'
import { counterAlloc } from '../memory/counters.ts'
import * as T from '../memory/layout/action.ts'
import * as S from '../memory/layout/action_state.ts'
import * as N from '../memory/layout/netdev.ts'
import { PKT_DATA, PKT_HEADROOM, PKT_LEN } from '../memory/layout/packet.ts'
import * as P from '../memory/layout/program.ts'
import { SUPER_PACKET_SIZE, SUPER_PACKETS } from '../memory/layout/super.ts'
import * as W from '../memory/layout/worker.ts'
import * as Hand from '../testing/hand_table.ts'
import { be, busyWorld, damagedFrame, eth, SLOTS } from './busy_world.fixture.ts'

const { op } = Hand
const { a, dp, devices } = busyWorld()
const [p0, p1, p2, vx] = devices
const stride = a.m[SUPER_PACKET_SIZE >> 2]
const first = a.m[SUPER_PACKETS >> 2]
const counter = counterAlloc(a)

// Most slots are held here, and full of one byte: who writes beside a packet writes into them.
const held = Array.from({ length: SLOTS - 8 }, () => dp.alloc())
const PATTERN = Buffer.alloc(stride, 0xa5)
for (const pkt of held) a.u8.set(PATTERN, pkt)

// ---- lists

const u8 = fc.integer({ min: 0, max: 255 })
const u16 = fc.integer({ min: 0, max: 0xffff })
const word = fc.integer()
const flags = (n: number): fc.Arbitrary<number> => fc.integer({ min: 0, max: 2 ** n - 1 })
const type = fc.oneof(fc.constantFrom(0x4788, 0x4888, 0x0008, 0xdd86, 0x0081), u16)
const verdict = fc.constantFrom(
  T.TC_ACT_OK,
  T.TC_ACT_SHOT,
  T.TC_ACT_UNSPEC,
  T.TC_ACT_STOLEN,
  T.TC_ACT_TRAP,
  T.TC_ACT_PIPE,
)
const near = fc.oneof(fc.integer({ min: -20, max: 80 }), fc.integer({ min: -700, max: 2200 }), word)
const key = fc
  .tuple(
    fc.integer({ min: 0, max: 5 }),
    fc.boolean(),
    near,
    word,
    word,
    near,
    fc.constantFrom(0, 0, 15, 255, -1),
    flags(5),
  )
  .map(([htype, add, off, val, mask, at, offmask, shift]) =>
    // Most offsets are such as the control side lets through.
    [htype | (add ? P.PEDIT_ADD : 0), off & (shift & 1 ? -1 : -4), val, mask, at, offmask, shift],
  )

/** State of a policer, or a schedule: every word at random but the lock, and what the control side never writes. */
const random = reserve(a, 16)
const police = fc.array(word, { minLength: S.POLICE_SIZE / 4, maxLength: S.POLICE_SIZE / 4 }).map((words) => {
  const p = reserve(a, S.POLICE_SIZE)
  a.m.set(words, p >> 2)
  a.m[(p + S.POLICE_LOCK) >> 2] = 0
  a.m[(p + S.POLICE_FLAGS) >> 2] &= 7
  a.m[(p + S.POLICE_EST) >> 2] = reserve(a, S.EST_SIZE)
  return p
})
const gate = fc
  .tuple(
    fc.array(fc.tuple(flags(1), fc.integer({ min: 1, max: 1e9 }), word, fc.integer({ min: -1, max: 200 })), {
      minLength: 1,
      maxLength: 4,
    }),
    word,
  )
  .map(([entries, start]) => {
    const p = reserve(a, S.GATE_ENTRIES + entries.length * S.GATE_ENTRY_SIZE)
    a.m[(p + S.GATE_COUNT) >> 2] = entries.length
    a.m[(p + S.GATE_START) >> 2] = start
    a.m[(p + S.GATE_ROUND) >> 2] = entries.reduce((sum, e) => sum + e[1], 0)
    a.m.set(entries.flat(), (p + S.GATE_ENTRIES) >> 2)
    return p
  })

/** A fork whose other way ends with a verdict. */
const fork = (o: number[], v: number): number[] => [...o, ...op(P.OP_JUMP, 2), ...op(P.OP_END, v)]

const one: fc.Arbitrary<number[]> = fc.oneof(
  fc.array(key, { minLength: 1, maxLength: 4 }).map((keys) => op(P.OP_PEDIT, counter, keys.length, ...keys.flat())),
  fc.oneof(flags(7), fc.constant(127)).map((f) => op(P.OP_CSUM, f, counter)),
  fc.tuple(word, word, word, flags(1)).map((w) => op(P.OP_NAT, ...w, counter)),
  fc.tuple(word, word, flags(1)).map(([old, to, egress]) => op(P.OP_NAT, old, to, 0, egress, counter)),
  fc.tuple(word, type, flags(2)).map(([lse, t, f]) => op(P.OP_MPLS_PUSH, lse, t, f, counter)),
  type.map((t) => op(P.OP_MPLS_POP, t, counter)),
  fc.tuple(word, word).map(([lse, mask]) => op(P.OP_MPLS_MODIFY, lse, mask, counter)),
  fc.constant(op(P.OP_MPLS_DEC_TTL, counter)),
  fc.constant(op(P.OP_VLAN_POP_ETH, counter)),
  fc.tuple(word, word, word).map((w) => op(P.OP_VLAN_PUSH_ETH, ...w, counter)),
  fc.tuple(fc.constantFrom(0x0081, 0xa888), u16).map(([tpid, tci]) => op(P.OP_VLAN_PUSH, tpid, tci, counter)),
  fc.constant(op(P.OP_VLAN_POP)),
  fc.tuple(fc.constantFrom(0, 0x0081, 0xa888), u16, u16).map((w) => op(P.OP_VLAN_MODIFY, ...w)),
  fc.tuple(flags(6), word, word, word, flags(2), flags(2)).map((w) => op(P.OP_SKBEDIT, ...w, counter)),
  fc.tuple(flags(5), word, word, word, type).map((w) => op(P.OP_SKBMOD, ...w, counter)),
  fc
    .tuple(fc.integer({ min: 1, max: 3 }), fc.constantFrom(0, 1, 20, 64, 5000))
    .map(([rate, trunc]) => op(P.OP_SAMPLE, rate, 1, trunc, 0)),
  fc
    .tuple(fc.constantFrom(1, 2), fc.integer({ min: 1, max: 4 }), flags(2), verdict)
    .map(([kind, val, drops, v]) => fork(op(P.OP_RANDOM, kind, val, random, counter, drops, 2), v)),
  fc.tuple(police, flags(2), verdict).map(([p, drops, v]) => fork(op(P.OP_POLICE, p, counter, drops, 2), v)),
  gate.map((p) => op(P.OP_GATE, p, counter)),
  u16.map((zone) => op(P.OP_CONNMARK, zone)),
  fc.tuple(u16, word, word, word).map((w) => op(P.OP_CTINFO, ...w, counter)),
  fc.constant(op(P.OP_TUNNEL_UNSET)),
)
/** Copies; for their sake no list ends in reclassify, with which they multiply, as in the kernel, by 17 a level. */
const copy = fc
  .tuple(fc.constantFrom(p1, p2, vx), fc.constantFrom(0, P.REDIRECT_INGRESS))
  .map(([dev, f]) => op(P.OP_REDIRECT, dev, f | P.REDIRECT_MIRROR, counter))
const end = fc.oneof(
  fc.constantFrom(p1, p1, p2, vx).map((dev) => op(P.OP_REDIRECT, dev, 0, counter)),
  verdict.filter((v) => v !== T.TC_ACT_PIPE).map((v) => op(P.OP_END, v)),
)
const list = fc
  .tuple(
    fc.array(fc.tuple(fc.oneof({ weight: 9, arbitrary: one }, copy), fc.integer({ min: 0, max: 9 })), {
      minLength: 1,
      maxLength: 8,
    }),
    end,
  )
  .map(([ops, last]) => [...ops.flatMap(([o, n]) => (n === 0 ? [...op(P.OP_JUMP, o.length), ...o] : o)), ...last])

// ---- frames

const bytes = (min: number, max: number): fc.Arbitrary<number[]> => fc.array(u8, { minLength: min, maxLength: max })
const protocol = fc.constantFrom(1, 2, 6, 17, 17, 58, 132, 136, 0, 43, 44, 51, 60, 4)
const length = (right: number): fc.Arbitrary<number> =>
  fc.oneof(fc.constant(right), fc.integer({ min: 0, max: 200 }), u16)
const ip = fc
  .tuple(bytes(0, 140), protocol, fc.constantFrom(5, 5, 5, 6, 15, 4, 0), fc.boolean(), bytes(16, 16))
  .chain(([body, proto, ihl, six, addresses]) =>
    length(six ? body.length : body.length + 20).map((n): [number[], number[]] =>
      six
        ? [
            [0x86, 0xdd],
            [0x60, 0, 0, 0, ...be(n), proto, 64, ...addresses, ...addresses, ...body],
          ]
        : [
            [8, 0],
            [0x40 | ihl, 3, ...be(n), 0, 1, 0, 0, 64, proto, 0, 0, ...addresses.slice(0, 8), ...body],
          ],
    ),
  )
const labelled = fc
  .tuple(
    bytes(6, 6),
    ip,
    fc.array(bytes(4, 4), { maxLength: 3 }),
    fc.array(bytes(2, 2), { maxLength: 3 }),
    fc.option(flags(7)),
  )
  .map(([src, [t, body], labels, tags, cut]) => {
    const inner = [...labels.flat(), ...body]
    const types = tags.flatMap((tci) => [0x81, 0, ...tci])
    const f = eth(src, inner, [...types, ...(labels.length > 0 ? [0x88, 0x47] : t)])
    return Uint8Array.from(f.slice(0, cut ?? undefined))
  })
const frame = fc.oneof(labelled, labelled, damagedFrame)

// ---- what must hold

function install(dev: number, hook: number, program: number[]): void {
  const mask = Hand.handMask(a, Hand.handPrio(a, Hand.chain0(a, Hand.handBlock(a, dev, hook)), 1), [], 4)
  Hand.handFlow(a, mask, [], program)
}

function feed(f: Uint8Array): void {
  const before = dp.allDrops()
  const slots = dp.freeSlots()
  const pkt = dp.alloc()
  expect(dp.loadBytes(pkt, f)).toBe(true)
  dp.receive(pkt, p0)
  const emitted = dp.takeEmissions()
  for (const e of emitted) {
    const data = a.m[(e.pkt + PKT_DATA) >> 2]
    const len = a.m[(e.pkt + PKT_LEN) >> 2]
    expect((e.pkt - first) % stride).toBe(0)
    expect(data).toBeGreaterThanOrEqual(e.pkt + PKT_HEADROOM)
    expect(len).toBeGreaterThanOrEqual(0)
    expect(data + len).toBeLessThanOrEqual(e.pkt + stride)
    expect(e.kind).toBeLessThanOrEqual(W.PUNT_SAMPLE)
    dp.release(e.pkt)
  }
  expect(new Set(emitted.map((e) => e.pkt)).size).toBe(emitted.length)
  expect(dp.freeSlots()).toBe(slots)
  expect(emitted.length + dp.allDrops() - before).toBeGreaterThanOrEqual(1)
}

describe('lists of actions', { timeout: 120_000 }, () => {
  it('do no harm, whatever they are and whatever comes in', () => {
    let clock = 1e9
    fc.assert(
      fc.property(list, list, fc.array(frame, { minLength: 1, maxLength: 6 }), (ingress, egress, frames) => {
        install(p0, N.NETDEV_INGRESS, ingress)
        install(p1, N.NETDEV_EGRESS, egress)
        for (const f of frames) {
          clock += 1e6
          dp.setTime(clock)
          feed(f)
        }
        for (const pkt of held) expect(PATTERN.compare(a.u8, pkt, pkt + stride)).toBe(0)
      }),
      { numRuns: 300 },
    )
  })
})
