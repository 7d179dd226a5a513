// The short ways and the long one agree: a burst, staged and cached, makes of any frames what one packet at a time does
// with a cache that never holds anything. Byte for byte, and counter for counter.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { reserve } from '../memory/arena.ts'
import { SUPER_GENERATION } from '../memory/layout/super.ts'
import { busyWorld, counters, damagedFrame, type Left, SLOTS, slot, take } from './busy_world.fixture.ts'

describe('the chip', { timeout: 180_000 }, () => {
  it('makes the same of a burst as of each packet alone', () => {
    const [short, long] = [busyWorld(), busyWorld()]
    const list = reserve(short.a, 256)
    // Flows come again, so that the cache has something to say.
    const known = fc.sample(damagedFrame, { numRuns: 60, seed: 5 })
    const frame = fc.oneof(fc.constantFrom(...known), fc.constantFrom(...known), damagedFrame)
    // In trains, too: packets of one flow behind each other are looked up once, and sent together.
    const train = fc.tuple(frame, fc.constantFrom(1, 1, 1, 2, 4)).map(([f, n]): Uint8Array[] => Array(n).fill(f))
    fc.assert(
      fc.property(fc.array(train, { minLength: 1, maxLength: 8 }), (trains) => {
        const frames = trains.flat().slice(0, SLOTS / 2)
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
      }),
      { numRuns: 1500 },
    )
    expect(counters(short)).toEqual(counters(long))
  })
})
