import fc from 'fast-check'
import { expect, test } from 'vitest'
import { FRAME_JOIN, FRAME_MAX, FRAME_NETLINK, FrameError, FrameReader, frame, numberFrame } from './frame.ts'

const hex = (b: Uint8Array): string => Buffer.from(b).toString('hex')

function read(reader: FrameReader): string[] {
  const out: string[] = []
  for (let f = reader.next(); f !== null; f = reader.next()) out.push(`${f.kind} ${hex(f.payload)}`)
  return out
}

test('frames come out as they went in, however the stream is cut', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(9), fc.uint8Array({ maxLength: 9000 })), { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1 }),
      (frames, cuts) => {
        const stream = Buffer.concat(frames.map(([kind, payload]) => frame(kind, payload)))
        const reader = new FrameReader()
        const out: string[] = []
        for (let o = 0, i = 0; o < stream.length; i++) {
          const n = cuts[i % cuts.length]
          reader.push(stream.subarray(o, o + n))
          o += n
          out.push(...read(reader))
        }
        expect(out).toEqual(frames.map(([kind, payload]) => `${kind} ${hex(payload)}`))
        expect(reader.pending).toBe(0)
      },
    ),
    { numRuns: 50 },
  )
})

test('the largest frame passes, byte by byte at its beginning; a larger one is refused at its header', () => {
  const reader = new FrameReader()
  const largest = frame(FRAME_NETLINK, new Uint8Array(FRAME_MAX).fill(7))
  for (let o = 0; o < 100; o++) {
    reader.push(largest.subarray(o, o + 1))
    expect(reader.next()).toBeNull()
  }
  reader.push(largest.subarray(100))
  expect(reader.next()?.payload.length).toBe(FRAME_MAX)
  const header = numberFrame(FRAME_NETLINK, 0).slice(0, 8)
  new DataView(header.buffer).setUint32(0, FRAME_MAX + 1, true)
  reader.push(header)
  expect(() => reader.next()).toThrow(FrameError)
})

test('a payload is a copy: later bytes do not change it', () => {
  const reader = new FrameReader()
  reader.push(numberFrame(FRAME_JOIN, 4))
  const first = reader.next()!.payload
  reader.push(numberFrame(FRAME_JOIN, 0x0a0b0c0d))
  expect(hex(first)).toBe('04000000')
})
