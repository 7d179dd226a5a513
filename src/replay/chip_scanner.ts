// Scans classic captures with the chip, which reads unaligned words of either byte order as fast as they come. The thread
// that reads the capture owns a scanner, and the datapath that it is given.
import type { Datapath } from '../datapath/chip.ts'
import { reserve } from '../memory/arena.ts'
import * as R from '../memory/layout/record.ts'
import { type Frames, MAX_CAPLEN } from '../port/capture/capture.ts'
import type { RecordFormat, Scanner } from '../port/capture/scanner.ts'

export class ChipScanner implements Scanner {
  readonly frames: Frames
  readonly #datapath: Datapath
  readonly #window: number
  readonly #at: number

  /** `window`: address of the capture's window in the arena. */
  constructor(datapath: Datapath, window: number) {
    const { a } = datapath
    const at = reserve(a, R.SCAN_SIZE)
    const { buffer } = a.memory
    this.frames = {
      offset: new Int32Array(buffer, at + R.SCAN_OFFSET, R.SCAN_ROWS),
      length: new Int32Array(buffer, at + R.SCAN_LENGTH, R.SCAN_ROWS),
      time: new Float64Array(buffer, at + R.SCAN_TIME, R.SCAN_ROWS),
    }
    this.#datapath = datapath
    this.#window = window
    this.#at = at
  }

  get end(): number {
    return this.#word(R.SCAN_AT) - this.#window
  }

  get cut(): number {
    return this.#word(R.SCAN_CUT)
  }

  scan(from: number, to: number, { le, unit, fcs }: RecordFormat, epoch: number): number {
    const { m } = this.#datapath.a
    const w = this.#at >> 2
    m[w + (R.SCAN_AT >> 2)] = this.#window + from
    m[w + (R.SCAN_END >> 2)] = this.#window + to
    m[w + (R.SCAN_UNIT >> 2)] = unit
    m[w + (R.SCAN_SWAPPED >> 2)] = le ? 0 : 1
    m[w + (R.SCAN_FCS >> 2)] = fcs
    m[w + (R.SCAN_EPOCH >> 2)] = epoch | 0
    m[w + (R.SCAN_LONGEST >> 2)] = MAX_CAPLEN
    m[w + (R.SCAN_WINDOW >> 2)] = this.#window
    return this.#datapath.scan(this.#at)
  }

  #word(field: number): number {
    return this.#datapath.a.m[(this.#at + field) >> 2]
  }
}
