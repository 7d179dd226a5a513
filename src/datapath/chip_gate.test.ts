// The gate's schedule, by the packets' time.

import { beforeEach, describe, expect, it } from 'vitest'
import { type Arena, createArena, reserve } from '../memory/arena.ts'
import { counterAlloc, counterRead } from '../memory/counters.ts'
import { TC_ACT_STOLEN } from '../memory/layout/action.ts'
import * as S from '../memory/layout/action_state.ts'
import { DROP_ACTION } from '../memory/layout/drop.ts'
import { NETDEV_INGRESS } from '../memory/layout/netdev.ts'
import * as P from '../memory/layout/program.ts'
import * as Hand from '../testing/hand_table.ts'
import { Datapath } from './chip.ts'
import { chipModule } from './chip_module.ts'

chipModule() // built here, where no test's time runs

const FRAME = Uint8Array.from([2, 0, 0, 0, 0, 1, 2, 9, 9, 9, 9, 9, 0x12, 0x34, ...Array(46).fill(7)])
/** What is counted of it at ingress. */
const BYTES = FRAME.length - 14
const MS = 1_000_000

let a: Arena
let dp: Datapath
let p0: number
let counter: number

beforeEach(() => {
  a = createArena({ bytes: 48 << 20, packets: 16, counters: 64, emc: 16 })
  dp = new Datapath(a, 0)
  p0 = Hand.handDevice(a, 1)
  counter = counterAlloc(a)
})

type Entry = [open: number, ms: number, maxOctets: number]

/** Makes a schedule that starts at `start` ms the one rule of p0: what passes goes out again. */
function schedule(start: number, entries: Entry[]): number {
  const gate = reserve(a, S.GATE_ENTRIES + entries.length * S.GATE_ENTRY_SIZE)
  a.m[(gate + S.GATE_COUNT) >> 2] = entries.length
  a.d.setBigInt64(gate + S.GATE_START, BigInt(start) * BigInt(MS), true)
  a.d.setBigInt64(gate + S.GATE_ROUND, BigInt(entries.reduce((sum, [, ms]) => sum + ms, 0)) * BigInt(MS), true)
  entries.forEach(([open, ms, max], i) => {
    a.m.set([open, ms * MS, -1, max], (gate + S.GATE_ENTRIES + i * S.GATE_ENTRY_SIZE) >> 2)
  })
  const mask = Hand.handMask(a, Hand.handPrio(a, Hand.chain0(a, Hand.handBlock(a, p0, NETDEV_INGRESS)), 1), [], 4)
  const { op } = Hand
  Hand.handFlow(
    a,
    mask,
    [],
    [...op(P.OP_GATE, gate, counter), ...op(P.OP_REDIRECT, p0, 0, 0), ...op(P.OP_END, TC_ACT_STOLEN)],
  )
  return gate
}

function passesAt(ms: number): boolean {
  dp.setTime(Math.round(ms * MS))
  const pkt = dp.alloc()
  dp.loadBytes(pkt, FRAME)
  dp.receive(pkt, p0)
  const out = dp.takeEmissions()
  for (const e of out) dp.release(e.pkt)
  return out.length === 1
}

describe('gate', () => {
  it('turns from entry to entry, round after round', () => {
    schedule(0, [
      [1, 10, -1],
      [0, 20, -1],
      [1, 5, -1],
    ])
    for (const round of [0, 35, 70, 35_000_000]) {
      for (const ms of [0, 9.999999, 30, 34.999999]) expect(passesAt(round + ms), `${round + ms}`).toBe(true)
      for (const ms of [10, 29.999999]) expect(passesAt(round + ms), `${round + ms}`).toBe(false)
    }
    expect(counterRead(a, counter)).toMatchObject({ drops: 8, overlimits: 0 })
    expect(dp.drops(DROP_ACTION)).toBe(8)
  })

  it('lets everything pass before it starts', () => {
    schedule(100, [[0, 10, -1]])
    expect(passesAt(99.999999)).toBe(true)
    expect(passesAt(100)).toBe(false)
  })

  it('closes for the rest of an entry when its octets are used up', () => {
    schedule(0, [
      [1, 10, 2 * BYTES + 1],
      [1, 10, -1],
    ])
    for (const round of [0, 20]) {
      expect([1, 2, 3, 4].map((ms) => passesAt(round + ms))).toEqual([true, true, false, false])
      expect([11, 12, 13].map((ms) => passesAt(round + ms))).toEqual([true, true, true])
    }
    expect(counterRead(a, counter)).toMatchObject({ drops: 4, overlimits: 4 })
  })

  it('has no say without a schedule', () => {
    schedule(0, [])
    expect(passesAt(5)).toBe(true)
  })
})
