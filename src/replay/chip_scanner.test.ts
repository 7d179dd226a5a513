import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Datapath } from '../datapath/chip.ts'
import { createArena, reserve } from '../memory/arena.ts'
import { MAX_CAPLEN } from '../port/capture/capture.ts'
import { PlainScanner, type Scanner } from '../port/capture/scanner.ts'
import { ChipScanner } from './chip_scanner.ts'

const ROOM = 1 << 19
const arena = createArena({})
const window = reserve(arena, ROOM)
const bytes = arena.u8.subarray(window, window + ROOM)
const view = new DataView(arena.memory.buffer, window, ROOM)
const plain = new PlainScanner(view)
const chip = new ChipScanner(new Datapath(arena, 0), window)

/** Everything that a scan says. */
function said(s: Scanner, ...scan: Parameters<Scanner['scan']>) {
  const n = s.scan(...scan)
  const { offset, length, time } = s.frames
  const rows = [offset, length, time].map((row) => Array.from(row.subarray(0, n)))
  return { n, rows, end: s.end, cut: s.cut }
}

test('the chip and this thread say the same, whatever the bytes are', () => {
  const record = fc.record({
    seconds: fc.nat({ max: 0xffffffff }),
    fraction: fc.nat({ max: 0xffffffff }),
    caplen: fc.oneof({ weight: 20, arbitrary: fc.nat({ max: 90 }) }, fc.constantFrom(MAX_CAPLEN + 1, 0xffffffff)),
    origlen: fc.nat({ max: 100 }),
  })
  fc.assert(
    fc.property(
      fc.array(record, { maxLength: 40 }),
      fc.nat({ max: 7 }),
      fc.nat({ max: 100 }),
      fc.record({ le: fc.boolean(), unit: fc.constantFrom(1, 1000), fcs: fc.constantFrom(0, 4, 30) }),
      fc.nat({ max: 0xffffffff }),
      (records, from, short, format, epoch) => {
        let end = from
        for (const { seconds, fraction, caplen, origlen } of records) {
          for (const [i, v] of [seconds, fraction, caplen, origlen].entries()) view.setUint32(end + i * 4, v, format.le)
          end += 16 + Math.min(caplen, 90)
        }
        const to = Math.max(from, end - short)
        expect(said(chip, from, to, format, epoch)).toEqual(said(plain, from, to, format, epoch))
      },
    ),
  )
})

test('one scan describes a batch at most, the next goes on behind it', () => {
  bytes.fill(0)
  const format = { le: true, unit: 1000, fcs: 0 }
  for (const s of [plain, chip]) {
    const n = s.scan(0, ROOM, format, 0)
    expect([n, s.end]).toEqual([1024, 1024 * 16])
    expect([s.scan(s.end, s.end + 40, format, 0), s.frames.offset[0]]).toEqual([2, 1024 * 16 + 16])
  }
})
