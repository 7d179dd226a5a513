// How a frame gets from the arena into the output buffer: words through DataViews, or TypedArray.set, which on
// shared memory goes byte by byte when source and target differ in alignment.
import { bench, describe } from 'vitest'

const source = new Uint8Array(new SharedArrayBuffer(1 << 20))
const from = new DataView(source.buffer)
const target = new Uint8Array(1 << 20)
const to = new DataView(target.buffer)

for (const n of [64, 114, 256, 512, 1514])
  describe(`${n} bytes, 1000 frames`, () => {
    bench('words', () => {
      for (let f = 0; f < 1000; f++) {
        const a = (f * 131) & 0xffff
        const b = (f * 130 + 16) & 0xffff
        let i = 0
        for (; i + 4 <= n; i += 4) to.setInt32(b + i, from.getInt32(a + i, true), true)
        for (; i < n; i++) target[b + i] = source[a + i]
      }
    })
    bench('set', () => {
      for (let f = 0; f < 1000; f++) {
        const a = (f * 131) & 0xffff
        target.set(source.subarray(a, a + n), (f * 130 + 16) & 0xffff)
      }
    })
  })
