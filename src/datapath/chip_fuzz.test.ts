// Whatever comes in: nothing traps, every packet is accounted for, and nothing is written outside its slot.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { reserve } from '../memory/arena.ts'
import { PKT_DATA, PKT_DEV, PKT_FRAME, PKT_HEADROOM, PKT_LEN } from '../memory/layout/packet.ts'
import { SUPER_PACKET_COUNT, SUPER_PACKET_SIZE, SUPER_PACKETS } from '../memory/layout/super.ts'
import * as W from '../memory/layout/worker.ts'
import { be, busyWorld, damagedFrame, eth, ipv4, ours, SLOTS, vxlanFrame } from './busy_world.fixture.ts'

const { a, dp, devices } = busyWorld()
const [p0] = devices
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

describe('the chip, whatever comes in', { timeout: 60_000 }, () => {
  it('takes damaged frames of every kind, one by one and in bursts', () => {
    fc.assert(
      fc.property(fc.array(damagedFrame, { minLength: 1, maxLength: 6 }), fc.boolean(), (frames, burst) =>
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
    const whole = fc.sample(vxlanFrame, { numRuns: 20, seed: 7 })
    for (const f of whole) for (let n = 0; n <= f.length; n++) feed([Uint8Array.from(f.slice(0, n))], n % 2 === 0)
  })
})
