import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { BATCH, openCapture, WINDOW } from '../port/capture/capture.ts'
import { classicBytes, pcapngBytes } from '../testing/capture_bytes.ts'
import { Packets } from './packets.ts'

const dir = mkdtempSync(join(tmpdir(), 'flowerbed-packets-'))
afterAll(() => rmSync(dir, { recursive: true }))

/** Captures of which each packet's one byte is its number, at the microseconds given. */
function open(captures: number[][], start = 0, quiet = 0, pcapng = false, longest?: number) {
  const memory = new Uint8Array(captures.length * WINDOW)
  return {
    memory,
    packets: new Packets(
      captures.map((times, port) => {
        const frames = times.map((us, i) => ({
          seconds: 1_700_000_000 + Math.floor(us / 1e6),
          nanos: (us % 1e6) * 1000,
          bytes: Uint8Array.of(i),
        }))
        const path = join(dir, `${port}.pcap`)
        writeFileSync(path, pcapng ? pcapngBytes(frames) : classicBytes(frames))
        const window = port * WINDOW
        return { port, capture: openCapture(path, { window: memory.subarray(window, window + WINDOW) }), window }
      }),
      start,
      quiet,
      longest,
    ),
  }
}

/** Everything, as [port, number, virtual time in us]. */
function all({ packets, memory }: ReturnType<typeof open>, most = BATCH): [number, number, number][] {
  const out: [number, number, number][] = []
  for (let n = packets.next(most, Number.POSITIVE_INFINITY); n > 0; n = packets.next(most, Number.POSITIVE_INFINITY))
    for (let i = 0; i < n; i++) out.push([packets.port, memory[packets.address[i]], packets.time[i] / 1000])
  expect(packets.more).toBe(false)
  return out
}

describe('order', () => {
  test('by time, ties by port, from the first packet of all', () => {
    const captures = [
      [100, 200, 200],
      [50, 200, 3_000_000],
    ]
    expect(all(open(captures, 5000))).toEqual([
      [1, 0, 5],
      [0, 0, 55],
      [0, 1, 155],
      [0, 2, 155],
      [1, 1, 155],
      [1, 2, 2_999_955],
    ])
  })

  test('whatever is asked for at a time, it is the order of a sort', () => {
    const times = fc.array(fc.integer({ min: 0, max: 30 }), { maxLength: 20 }).map((t) => t.sort((a, b) => a - b))
    fc.assert(
      fc.property(
        fc.array(times, { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 1, max: 5 }),
        fc.boolean(),
        (captures, most, pcapng) => {
          const sorted = captures
            .flatMap((c, port) => c.map((us, i) => ({ port, us, i })))
            .sort((a, b) => a.us - b.us || a.port - b.port || a.i - b.i)
          const first = sorted[0]?.us
          expect(all(open(captures, 0, 0, pcapng), most)).toEqual(
            sorted.map(({ port, us, i }) => [port, i, us - first]),
          )
        },
      ),
      { numRuns: 100 },
    )
  })

  test('a batch and more of one capture', () => {
    const many = Array.from({ length: BATCH * 2 + 3 }, (_, i) => i)
    expect(all(open([many, [BATCH, BATCH + 1]])).length).toBe(BATCH * 2 + 5)
  })
})

test('never sooner than the quiet time after the one before, also when the capture goes back in time', () => {
  expect(all(open([[100, 101, 110, 105, 300]], 0, 4000)).map((x) => x[2])).toEqual([0, 4, 10, 14, 200])
})

test('a pause longer than the longest is that long, and what comes later keeps its distance', () => {
  expect(all(open([[0, 5, 9005, 9015], [4010]], 0, 0, false, 1_000_000)).map((x) => x[2])).toEqual([
    0, 5, 1005, 2005, 2015,
  ])
})

test('nothing at or behind the bound is described', () => {
  const { packets } = open([[0, 10, 20, 30]])
  expect(packets.next(BATCH, 20_000)).toBe(2)
  expect(packets.next(BATCH, 20_000)).toBe(0)
  expect(packets.more).toBe(true)
  expect(packets.next(1, 20_001)).toBe(1)
  expect(packets.next(BATCH, Number.POSITIVE_INFINITY)).toBe(1)
})

test('captures without packets', () => {
  expect(all(open([[], []]))).toEqual([])
  expect(all(open([[], [7]], 1000))).toEqual([[1, 0, 1]])
})
