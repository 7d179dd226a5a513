import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import {
  block,
  classicBytes,
  enhancedBlock,
  interfaceBlock,
  pcapngBytes,
  sectionBlock,
  simpleBlock,
  type TestFrame,
} from '../../testing/capture_bytes.ts'
import { BATCH, type Capture, CaptureError, MIN_WINDOW, openCapture } from './capture.ts'
import { openWithPcapParser } from './pcap_parser.ts'
import { openWriter } from './writer.ts'

const dir = mkdtempSync(join(tmpdir(), 'flowerbed-capture-'))
afterAll(() => rmSync(dir, { recursive: true }))
let files = 0

function file(bytes: ArrayLike<number>): string {
  const path = join(dir, `${++files}.pcap`)
  writeFileSync(path, Uint8Array.from(bytes))
  return path
}

type Open = typeof openCapture

/** Everything that a capture says, as plain values. */
function readAll(path: string, open: Open = openCapture, window = new Uint8Array(MIN_WINDOW)) {
  const c = open(path, { window })
  const frames: { time: bigint; hex: string }[] = []
  for (let n = c.next(); n > 0; n = c.next())
    for (let i = 0; i < n; i++) {
      const bytes = window.subarray(c.frames.offset[i], c.frames.offset[i] + c.frames.length[i])
      frames.push({
        time: BigInt(c.epoch) * 1_000_000_000n + BigInt(c.frames.time[i]),
        hex: Buffer.from(bytes).toString('hex'),
      })
    }
  c.close()
  expect(c.count).toBe(frames.length)
  return { frames, damage: c.damage, cut: c.cut, position: c.position, nanoseconds: c.nanoseconds, format: c.format }
}

const expected = (frames: readonly TestFrame[], unit = 1) =>
  frames.map((f) => ({
    time: BigInt(f.seconds) * 1_000_000_000n + BigInt(f.nanos - (f.nanos % unit)),
    hex: Buffer.from(f.bytes).toString('hex'),
  }))

const two: TestFrame[] = [
  { seconds: 1_700_000_000, nanos: 123_456_789, bytes: Uint8Array.from({ length: 61 }, (_, i) => i) },
  { seconds: 1_700_000_001, nanos: 5, bytes: Uint8Array.of(0xff) },
  { seconds: 1_700_000_001, nanos: 999_999_999, bytes: new Uint8Array(0), original: 9 },
]

const anyFrames = fc.array(
  fc.record({
    // Within 100 days of each other: times are exact nanoseconds there.
    seconds: fc.integer({ min: 1_700_000_000, max: 1_708_000_000 }),
    nanos: fc.integer({ min: 0, max: 999_999_999 }),
    bytes: fc.uint8Array({ maxLength: 200 }),
  }),
  { minLength: 1, maxLength: 8 },
)

describe('classic', () => {
  test.each([
    [true, false],
    [true, true],
    [false, false],
    [false, true],
  ])('little-endian %s, nanoseconds %s', (le, nano) => {
    const r = readAll(file(classicBytes(two, { le, nano })))
    expect(r.frames).toEqual(expected(two, nano ? 1 : 1000))
    expect(r).toMatchObject({ damage: null, cut: 1, nanoseconds: nano, format: 'pcap' })
  })

  test('a file that ends anywhere gives the whole frames before, and the offset', () => {
    const bytes = classicBytes(two)
    const ends = [24, 24 + 16 + 61, 24 + 32 + 62, bytes.length]
    for (let n = 0; n < bytes.length; n++) {
      const r = readAll(file(bytes.subarray(0, n)))
      const whole = ends.filter((e) => e <= n).length - 1
      expect(r.frames).toEqual(expected(two.slice(0, Math.max(0, whole)), 1000))
      if (ends.includes(n)) expect(r.damage).toBeNull()
      else
        expect(r.damage).toEqual({ offset: n < 24 ? n : ends[whole], what: expect.stringMatching(/empty|cut short/) })
    }
  })

  test('a length that no frame has is damage at its record', () => {
    const bytes = classicBytes(two)
    new DataView(bytes.buffer).setUint32(24 + 16 + 61 + 8, 0xfffffff0, true)
    const r = readAll(file(bytes))
    expect(r.frames).toEqual(expected(two.slice(0, 1), 1000))
    expect(r.damage).toEqual({
      offset: 24 + 16 + 61,
      what: 'record 2 says that it has 4294967280 bytes; no frame is longer than 262144',
    })
  })

  test('a frame check sequence that the header announces is taken off', () => {
    const f = { seconds: 1, nanos: 0, bytes: Uint8Array.from({ length: 64 }, (_, i) => i) }
    const r = readAll(file(classicBytes([f, { ...f, original: 80 }], { link: 1 | 0x04000000 | (2 << 28) })))
    expect(r.frames.map((x) => x.hex.length / 2)).toEqual([60, 64])
  })

  test('more frames than a batch and more bytes than the window', () => {
    const many = Array.from({ length: 3 * BATCH + 1 }, (_, i) => ({
      seconds: i,
      nanos: 0,
      bytes: new Uint8Array(300).fill(i),
    }))
    expect(readAll(file(classicBytes(many))).frames).toEqual(expected(many))
  })
})

describe('pcapng', () => {
  test.each([true, false])('little-endian %s, several interfaces', (le) => {
    const frames = two.map((f, i) => ({ ...f, port: i }))
    const r = readAll(file(pcapngBytes(frames, { le, interfaces: 3 })))
    expect(r.frames).toEqual(expected(two))
    expect(r).toMatchObject({ damage: null, cut: 1, nanoseconds: true, format: 'pcapng' })
  })

  const ticks = (perSecond: bigint, seconds: bigint, fraction: bigint) => seconds * perSecond + fraction
  test.each([
    [
      'microseconds when nothing is said',
      undefined,
      ticks(1_000_000n, 1_700_000_000n, 123_456n),
      1_700_000_000_123_456_000n,
    ],
    ['milliseconds', 3, ticks(1_000n, 1_700_000_000n, 123n), 1_700_000_000_123_000_000n],
    ['seconds', 0, 1_700_000_000n, 1_700_000_000_000_000_000n],
    ['nanoseconds', 9, ticks(1_000_000_000n, 1_700_000_000n, 123_456_789n), 1_700_000_000_123_456_789n],
    ['picoseconds', 12, ticks(10n ** 12n, 1_700_000n, 123_456_789_999n), 1_700_000_123_456_789n],
    ['2^-10 seconds', 0x8a, ticks(1024n, 1_700_000_000n, 512n), 1_700_000_000_500_000_000n],
    ['2^-32 seconds', 0xa0, ticks(2n ** 32n, 1_700_000_000n, 2n ** 31n), 1_700_000_000_500_000_000n],
    ['2^-50 seconds', 0xb2, ticks(2n ** 50n, 8000n, 2n ** 49n), 8_000_500_000_000n],
  ])('resolution: %s', (_, tsresol, time, ns) => {
    const bytes = [
      ...sectionBlock(true),
      ...interfaceBlock(true, tsresol),
      ...enhancedBlock(true, 0, time, Uint8Array.of(1)),
    ]
    expect(readAll(file(bytes)).frames).toEqual([{ time: ns, hex: '01' }])
  })

  test('a time offset, also a negative one', () => {
    const bytes = [
      ...sectionBlock(false),
      ...interfaceBlock(false, 6, 1, -3600n),
      ...enhancedBlock(false, 0, 7200_000_000n, Uint8Array.of(1)),
    ]
    expect(readAll(file(bytes)).frames[0].time).toBe(3600_000_000_000n)
  })

  test('simple and obsolete packets, unknown blocks of any size, a second section of the other order', () => {
    const bytes = [
      ...sectionBlock(true),
      ...interfaceBlock(true),
      ...block(true, 0x0bad, new Array(2_000_000).fill(7)),
      ...enhancedBlock(true, 0, 5_000_000n, Uint8Array.of(1)),
      ...simpleBlock(true, Uint8Array.of(2, 2, 2, 2, 2)),
      ...block(true, 2, [0, 0, 9, 9, 0, 0, 0, 0, 0x80, 0x84, 0x1e, 0, 1, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0]),
      ...sectionBlock(false),
      ...interfaceBlock(false, 9),
      ...enhancedBlock(false, 0, 9n, Uint8Array.of(4)),
    ]
    expect(readAll(file(bytes)).frames).toEqual([
      { time: 5_000_000_000n, hex: '01' },
      { time: 5_000_000_000n, hex: '0202020202' },
      { time: 2_000_000_000n, hex: '03' },
      { time: 9n, hex: '04' },
    ])
  })

  test('a file that ends anywhere gives the whole frames before, and the offset of the block', () => {
    const bytes = pcapngBytes(two)
    const ends: number[] = [0]
    while (ends[ends.length - 1] < bytes.length) {
      const o = ends[ends.length - 1]
      ends.push(o + new DataView(bytes.buffer).getUint32(o + 4, true))
    }
    for (let n = 0; n < bytes.length; n++) {
      const r = readAll(file(bytes.subarray(0, n)))
      const whole = ends.filter((e) => e <= n).length - 1
      expect(r.frames).toEqual(expected(two.slice(0, Math.max(0, whole - 2))))
      if (n > 0 && ends.includes(n)) expect(r.damage).toBeNull()
      else expect(r.damage?.offset).toBe(n < 4 ? n : ends[whole])
    }
  })

  const good = [...sectionBlock(true), ...interfaceBlock(true, 9), ...enhancedBlock(true, 0, 1n, Uint8Array.of(1))]
  const last = enhancedBlock(true, 0, 2n, Uint8Array.of(2))
  const patched = (at: number, ...v: number[]) => last.map((b, i) => v[i - at] ?? b)
  test.each([
    ['a trailer that disagrees', patched(last.length - 4, 99), /ends in a length of 99/],
    ['an interface that nobody described', patched(8, 1), /packet 2 is of interface 1/],
    ['a captured length beyond its block', patched(20, 200), /packet 2 says that it has 200 bytes, in a block of 36/],
    ['a block too small for a packet', patched(4, 12), /block of type 6 says that it has 12 bytes/],
    ['a length that is no multiple of four', patched(4, 37), /block of type 6 says that it has 37 bytes/],
    ['a packet block larger than any frame', patched(4, 0, 0, 0, 0x10), /type 6 says that it has 268435456/],
    ['a section header without magic', sectionBlock(true).map((b, i) => (i === 8 ? 0 : b)), /byte-order magic/],
    ['a wireless interface', interfaceBlock(true, 9, 105), /interface 1 has link type 105/],
  ])('%s is damage at its block', (_, bytes, what) => {
    const r = readAll(file([...good, ...bytes]))
    expect(r.frames).toEqual([{ time: 1n, hex: '01' }])
    expect(r.damage).toEqual({ offset: good.length, what: expect.stringMatching(what) })
  })
})

describe('refused', () => {
  test.each([
    ['another link type', classicBytes([], { link: 113 }), /link type 113, LINUX_SLL/],
    ['another link type in pcapng', [...sectionBlock(true), ...interfaceBlock(true, 9, 101)], /link type 101, RAW/],
    ['gzip', [0x1f, 0x8b, 8, 0, 0], /gzip/],
    ['text', Buffer.from('tc qdisc add'), /begins with 0x74632071, neither pcap nor pcapng/],
    ['an old version', classicBytes([]).map((b, i) => (i === 6 ? 2 : b)), /version 2.2/],
  ])('%s', (_, bytes, message) => {
    const path = file(bytes)
    expect(() => openCapture(path)).toThrow(CaptureError)
    expect(() => openCapture(path)).toThrow(message)
  })

  test('a file that is not there keeps its own error', () => {
    expect(() => openCapture(join(dir, 'nothing'))).toThrow(/ENOENT/)
  })
})

describe('what is written reads back', () => {
  const memory = new Uint8Array(new SharedArrayBuffer(1 << 16))
  const write = (frames: readonly TestFrame[], format: 'pcap' | 'pcapng', nanoseconds: boolean, epoch: number) => {
    const w = openWriter(join(dir, `w.${format}`), { format, nanoseconds, source: memory, epoch, name: 'p0' })
    let at = 1
    for (const f of frames) {
      memory.set(f.bytes, at)
      w.write(at, f.bytes.length, (f.seconds - epoch) * 1e9 + f.nanos)
      at += f.bytes.length + 3
    }
    w.close()
    return w.path
  }

  test.each([
    ['pcap', true],
    ['pcap', false],
    ['pcapng', true],
    ['pcapng', false],
  ] as const)('%s, nanoseconds %s', (format, nanoseconds) => {
    fc.assert(
      fc.property(anyFrames, (frames) => {
        const r = readAll(write(frames, format, nanoseconds, frames[0].seconds))
        expect(r.frames).toEqual(expected(frames, nanoseconds ? 1 : 1000))
        expect(r).toMatchObject({ damage: null, format, nanoseconds })
      }),
      { numRuns: 50 },
    )
  })

  test('more than the buffer, and frames of every alignment', () => {
    const big: TestFrame[] = Array.from({ length: 500 }, (_, i) => ({
      seconds: 0,
      nanos: i,
      bytes: new Uint8Array(i).fill(i),
    }))
    const all = Array.from({ length: 20 }, () => big).flat()
    const path = join(dir, 'big.pcap')
    const w = openWriter(path, { format: 'pcap', nanoseconds: true, source: memory })
    for (const f of all) {
      memory.set(f.bytes, 5)
      w.write(5, f.bytes.length, f.nanos)
    }
    w.close()
    expect(readAll(path).frames).toEqual(expected(all))
  })
})

describe('pcap-parser', () => {
  test('reads what our reader reads', () => {
    fc.assert(
      fc.property(anyFrames, fc.boolean(), (frames, le) => {
        const path = file(classicBytes(frames, { le }))
        expect(readAll(path, openWithPcapParser)).toEqual(readAll(path))
      }),
      { numRuns: 50 },
    )
  })

  test('a frame larger than a piece, and more frames than a batch', () => {
    const many = Array.from({ length: BATCH + 5 }, (_, i) => ({
      seconds: i,
      nanos: 0,
      bytes: new Uint8Array(i === 3 ? 200_000 : 90).fill(i),
    }))
    const path = file(classicBytes(many))
    expect(readAll(path, openWithPcapParser)).toEqual(readAll(path))
  })

  test('damage is noticed around it, at the same offset', () => {
    const bytes = classicBytes(two)
    for (let n = 0; n < bytes.length; n++) {
      const path = file(bytes.subarray(0, n))
      const [theirs, ours] = [readAll(path, openWithPcapParser), readAll(path)]
      expect(theirs.frames).toEqual(ours.frames)
      expect(theirs.damage?.offset).toBe(ours.damage?.offset)
    }
    new DataView(bytes.buffer).setUint32(24 + 16 + 61 + 8, 0xfffffff0, true)
    const path = file(bytes)
    expect(readAll(path, openWithPcapParser)).toEqual({ ...readAll(path) })
  })

  test.each([
    ['nanoseconds', classicBytes(two, { nano: true }), /pcap-parser: unknown magic number: 4d3cb2a1/],
    ['pcapng', pcapngBytes(two), /unknown magic number: 0a0d0d0a/],
    ['another link type', classicBytes(two, { link: 101 }), /link type 101/],
  ])('refuses %s', (_, bytes, message) => {
    const path = file(bytes)
    expect(() => openWithPcapParser(path)).toThrow(message)
  })
})

// Hundreds of captures of other projects, many of them malformed on purpose: whatever is in them, a reader ends,
// and the two readers agree where both can read.
const others = new URL('../../../../shared/conformance/captures/', import.meta.url)
const found = (() => {
  try {
    return readdirSync(others, { recursive: true, encoding: 'utf8' }).filter((f) => /\.(pcap|pcapng|cap)$/.test(f))
  } catch {
    return []
  }
})()

test.skipIf(found.length === 0)(
  'the captures of the conformance data',
  () => {
    let both = 0
    for (const f of found) {
      const path = new URL(f, others).pathname
      let ours: ReturnType<typeof readAll>
      try {
        ours = readAll(path)
      } catch (e) {
        expect(e).toBeInstanceOf(CaptureError)
        continue
      }
      let theirs: Capture
      try {
        theirs = openWithPcapParser(path)
      } catch (e) {
        expect(e).toBeInstanceOf(CaptureError)
        continue
      }
      theirs.close()
      const again = readAll(path, openWithPcapParser)
      expect(again.frames).toEqual(ours.frames)
      expect(again.damage?.offset).toEqual(ours.damage?.offset)
      both++
    }
    expect(both).toBeGreaterThan(100)
  },
  60_000,
)
