// The mask index finds what the search mask after mask finds: random masks and flows, packets that are new each time.
// The oracle is the definition: the first mask of the packet's protocol whose flow has the packet's words.

import { beforeEach, describe, expect, it } from 'vitest'
import { type Arena, createArena, reserve } from '../memory/arena.ts'
import { counterAlloc, counterRead } from '../memory/counters.ts'
import * as T from '../memory/layout/action.ts'
import * as K from '../memory/layout/flow_key.ts'
import * as N from '../memory/layout/netdev.ts'
import { PKT_DEV } from '../memory/layout/packet.ts'
import * as P from '../memory/layout/program.ts'
import { SUPER_GENERATION } from '../memory/layout/super.ts'
import * as W from '../memory/layout/worker.ts'
import * as Hand from '../testing/hand_table.ts'
import { Datapath } from './chip.ts'
import { lookupAlarm } from './lookup_alarm.ts'

type Pair = [offset: number, bits: number]
interface Rule {
  readonly mask: number
  readonly proto: number
  readonly pairs: readonly Pair[]
  readonly words: readonly number[]
  readonly counter: number
}

let a: Arena
let dp: Datapath
let port: number
let chain: number
let seed = 1
const random = (n: number): number => {
  seed = (Math.imul(seed, 1664525) + 1013904223) | 0
  return (seed >>> 8) % n
}

beforeEach(() => {
  a = createArena({ bytes: 96 << 20, packets: 64, counters: 1 << 14, emc: 64 })
  dp = new Datapath(a, 0)
  port = Hand.handDevice(a, 1)
  chain = Hand.chain0(a, Hand.handBlock(a, port, N.NETDEV_INGRESS))
  seed = 1
}, 300_000)

const ALL = 0x0300
const IP = 0x0008
const IPV6 = 0xdd86
/** What a rule may look at: few values each, so that packets match, and nearly do. */
const FIELDS: Pair[] = [
  [K.KEY_IPV4_SRC, 0xff000000 | 0],
  [K.KEY_IPV4_SRC, -1],
  [K.KEY_IPV4_DST, -1],
  [K.KEY_IPV4_DST, 0x0f000000],
  [K.KEY_PORT_SRC, 0xffff],
  [K.KEY_PORT_SRC, -1],
  [K.KEY_IP_TOS, 0xff],
  [K.KEY_IP_TOS, 0xff00],
  [K.KEY_ETH_DST, 0xffff],
  [K.KEY_N_PROTO, 0x00ffffff],
]

function frame(): Uint8Array {
  const f = new Uint8Array(60)
  f.set([
    random(3) * 2,
    random(2),
    0,
    0,
    0,
    1,
    2,
    9,
    9,
    9,
    9,
    9,
    8,
    0,
    0x45,
    random(3),
    0,
    46,
    0,
    0,
    0,
    0,
    random(4),
    17,
  ])
  f.set([0, 0, 10, 0, 0, random(40), 10, 1, 0, random(40), 0, random(6), 0, random(6)], 24)
  return f
}

/** Adds masks with flows whose words are those of some frames. */
function addRules(masks: number, flowsOfEach: number): Rule[] {
  const rules: Rule[] = []
  for (let i = 0; i < masks; i++) {
    const pairs = FIELDS.filter(() => random(3) === 0)
    const proto = [ALL, IP, IP, IPV6][random(4)]
    const mask = Hand.handMask(a, Hand.handPrio(a, chain, i + 1, proto), pairs, 64)
    const seen = new Set<string>()
    for (let f = 0; f < flowsOfEach; f++) {
      const key = keyOf(frame())
      const words = pairs.map(([offset, bits]) => key[offset >> 2] & bits)
      if (seen.has(words.join())) continue
      seen.add(words.join())
      const counter = counterAlloc(a)
      Hand.handFlow(a, mask, words, [...Hand.op(P.OP_COUNT, counter), ...Hand.op(P.OP_END, T.TC_ACT_SHOT)])
      rules.push({ mask: i, proto, pairs, words, counter })
    }
  }
  return rules
}

function keyOf(f: Uint8Array): Int32Array {
  const pkt = dp.alloc()
  dp.loadBytes(pkt, f)
  a.m[(pkt + 12) >> 2] = 1 // PKT_IIF
  const at = dp.dissect(pkt) >> 2
  const key = a.m.slice(at, at + 128)
  dp.release(pkt)
  return key
}

/** Sends the frame with nothing in the cache; the counter that went up, 0 for none. */
function send(f: Uint8Array, rules: readonly Rule[]): number {
  const before = rules.map((r) => counterRead(a, r.counter).packets)
  const pkt = dp.alloc()
  dp.loadBytes(pkt, f)
  dp.receive(pkt, port)
  for (const e of dp.takeEmissions()) dp.release(e.pkt)
  return rules.find((r, i) => counterRead(a, r.counter).packets !== before[i])?.counter ?? 0
}

function oracle(f: Uint8Array, rules: readonly Rule[]): number {
  const key = keyOf(f)
  const hit = rules.filter(
    (r) => r.proto !== IPV6 && r.pairs.every(([offset, bits], w) => (key[offset >> 2] & bits) === r.words[w]),
  )
  return hit.sort((x, y) => x.mask - y.mask)[0]?.counter ?? 0
}

describe('the mask index', { timeout: 120_000 }, () => {
  it.each([
    [6, 4],
    [64, 2],
    [65, 2],
    [300, 1],
    [512, 1],
    [530, 1], // more than an index takes
  ])('of %i masks with %i flows each says what the search says', (masks, flows) => {
    const rules = addRules(masks, flows)
    for (let i = 0; i < 1500; i++) {
      const f = frame()
      expect(send(f, rules), `packet ${i}`).toBe(oracle(f, rules))
    }
  })

  it('is made anew when control changed something, and sees the new rule at once', () => {
    let rules = addRules(40, 2)
    for (let round = 0; round < 20; round++) {
      for (let i = 0; i < 150; i++) {
        const f = frame()
        expect(send(f, rules), `round ${round}, packet ${i}`).toBe(oracle(f, rules))
      }
      rules = [...rules, ...addRules(1, 3).map((r) => ({ ...r, mask: 1000 + round }))]
    }
  })

  it('leaves few of 512 masks to probe, where the search would visit all', () => {
    // Each mask looks at one address of its own, under bits of its own.
    for (let i = 0; i < 512; i++) {
      const pairs: Pair[] = [
        [K.KEY_IPV4_SRC, (-1 << (i % 16)) & -1 & ~(1 << (16 + (i % 8)))],
        [K.KEY_IPV4_DST, (-1 << (i >> 4)) | 1],
      ]
      const mask = Hand.handMask(a, Hand.handPrio(a, chain, i + 1, IP), pairs, 4)
      Hand.handFlow(a, mask, [i * 7919, i * 104729], Hand.op(P.OP_END, T.TC_ACT_OK))
    }
    a.u8.set(new TextEncoder().encode('p7'), port + N.NETDEV_NAME)
    const steep = () => a.m[(dp.struct + W.WORKER_STEEP) >> 2]
    for (let i = 0; i < 400; i++) send(frame(), [])
    const before = steep()
    expect(before).toBeGreaterThan(0)
    for (let i = 0; i < 400; i++) send(frame(), [])
    expect(steep()).toBe(before)
    expect(lookupAlarm(a)).toEqual({ lookups: before, masks: 512, dev: 'p7', chain: 0 })
    a.m[SUPER_GENERATION >> 2]++
    for (let i = 0; i < 10; i++) send(frame(), [])
    expect(steep()).toBe(before + 10)
  })

  it('goes without the cache when each packet is new, and takes it up again', () => {
    const rules = addRules(20, 3)
    const list = reserve(a, 128)
    const burst = (frames: Uint8Array[], name: string) => {
      const before = rules.map((r) => counterRead(a, r.counter).packets)
      frames.forEach((f, i) => {
        const pkt = dp.alloc()
        dp.loadBytes(pkt, f)
        a.m[(pkt + PKT_DEV) >> 2] = port
        a.m[(list >> 2) + i] = pkt
      })
      for (let done = 0; done < frames.length; ) {
        done += dp.receiveBurst(list + done * 4, frames.length - done)
        for (const e of dp.takeEmissions()) dp.release(e.pkt)
      }
      for (const f of frames) {
        const counter = oracle(f, rules)
        if (counter !== 0) before[rules.findIndex((r) => r.counter === counter)]++
      }
      expect(
        rules.map((r) => counterRead(a, r.counter).packets),
        name,
      ).toEqual(before)
    }
    const fresh = (n: number) => {
      const f = frame()
      f.set([n >> 8, n & 255], 28)
      return f
    }
    for (let i = 0; i < 340; i++) {
      burst(
        Array.from({ length: 32 }, (_, k) => fresh(i * 32 + k)),
        `new packets, burst ${i}`,
      )
    }
    const known = Array.from({ length: 32 }, frame)
    for (let i = 0; i < 100; i++) burst(known, `known packets, burst ${i}`)
  })

  let packets = 0
  /** A packet whose source address, which a rule asks for, is new: the cache does not know it. */
  function near(): Uint8Array {
    const f = Uint8Array.from(
      '02000000000102090909090908004500002e000000004011000000000a00000001010a0100010101020304'.match(/../g) ?? [],
      (hex) => Number.parseInt(hex, 16),
    )
    new DataView(f.buffer).setUint16(28, ++packets)
    return Uint8Array.from({ length: 60 }, (_, i) => f[i] ?? 0)
  }

  /**
   * Masks under which such packets have each field of some rule, and all of them of none but the last; with `common` not
   * even all of those that the masks share.
   */
  function addNearMisses(masks: number, fieldsOfEach: number, common: boolean): Rule[] {
    const rules: Rule[] = []
    const source = Hand.handMask(a, Hand.handPrio(a, chain, 1, IP), [[K.KEY_IPV4_SRC, -1]], 4)
    Hand.handFlow(a, source, [1], Hand.op(P.OP_END, T.TC_ACT_OK))
    const key = keyOf(near())
    for (let i = 0; i < masks; i++) {
      const pairs: Pair[] = [
        [K.KEY_IPV4_DST, -1],
        [K.KEY_PORT_SRC, -1],
      ]
      for (let f = 0; f < fieldsOfEach; f++) pairs.push([K.KEY_IPV6_SRC + 4 * f, i * fieldsOfEach + f + 1])
      const mask = Hand.handMask(a, Hand.handPrio(a, chain, i + 1, IP), pairs, 8)
      const right = pairs.map(([offset, bits]) => key[offset >> 2] & bits)
      const nearly = [
        common
          ? [right[0], right[1] ^ 1, ...right.slice(2)]
          : [...right.slice(0, -1), ~right[right.length - 1] & (pairs.at(-1) as Pair)[1]],
        [right[0] ^ 1, ...right.slice(1)],
      ]
      for (const words of i === masks - 1 ? [...nearly, right] : nearly) {
        const counter = counterAlloc(a)
        Hand.handFlow(a, mask, words, [...Hand.op(P.OP_COUNT, counter), ...Hand.op(P.OP_END, T.TC_ACT_SHOT)])
        rules.push({ mask: i, proto: IP, pairs, words, counter })
      }
    }
    return rules
  }

  it.each([
    ['the shared fields', true],
    ['its own', false],
  ])('sifts masks whose rules know each field of the packet and never all of them: %s', (_, common) => {
    const rules = addNearMisses(511, 1, common)
    const steep = () => a.m[(dp.struct + W.WORKER_STEEP) >> 2]
    const last = rules[rules.length - 1].counter
    for (let i = 0; i < 400; i++) expect(send(near(), rules)).toBe(last)
    const before = steep()
    expect(before).toBeGreaterThan(0)
    for (let i = 0; i < 100; i++) expect(send(near(), rules)).toBe(last)
    expect(steep()).toBe(before)
  })

  it('probes them when they have more fields than there is room for', () => {
    const rules = addNearMisses(511, 9, false)
    const last = rules[rules.length - 1].counter
    for (let i = 0; i < 600; i++) expect(send(near(), rules)).toBe(last)
  })
})
