import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { hashWords } from './flow_hash.ts'

/** The definition, in exact integers. */
function definition(words: number[]): number {
  const mask = (1n << 64n) - 1n
  let h = 0x243f6a8885a308d3n
  for (const w of words) h = ((h ^ BigInt(w >>> 0)) * 0x9e3779b97f4a7c15n) & mask
  h = ((h ^ (h >> 32n)) * 0xd6e8feb86659fd93n) & mask
  return Number(h >> 32n) | 0
}

describe('hashWords', () => {
  it('is its definition', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -0x80000000, max: 0x7fffffff }), { maxLength: 40 }), (words) => {
        expect(hashWords(Int32Array.from([7, ...words, 9]), 1, words.length)).toBe(definition(words))
      }),
    )
  })

  it('spreads addresses that differ in their last byte over the buckets', () => {
    const seen = new Set<number>()
    for (let i = 0; i < 1024; i++) {
      // 10.0.x.y in wire order, loaded little-endian
      seen.add(hashWords(Int32Array.of(0x0008, 0x0000000a | ((i >> 8) << 16) | ((i & 255) << 24)), 0, 2) & 1023)
    }
    expect(seen.size).toBeGreaterThan(600) // a random function fills 647 of 1024
  })
})
