// Who finds the records of a classic capture in the window: the thread that reads it, or, for a capture in the arena, the
// datapath, which takes a fifth of the time (replay/chip_scanner.ts). Both say the same.
import { BATCH, type Frames, MAX_CAPLEN, makeFrames } from './capture.ts'
import * as Pcap from './pcap_format.ts'

/** What the header of a file says about its records. */
export interface RecordFormat {
  /** Little-endian. */
  readonly le: boolean
  /** Nanoseconds of a unit of time. */
  readonly unit: number
  /** Bytes at the end of each frame that are a frame check sequence. */
  readonly fcs: number
}

export interface Scanner {
  readonly frames: Frames
  /** Where the last scan ended: the byte of the window behind the last frame. */
  end: number
  /** Frames of the last scan that the file holds only the beginning of. */
  cut: number
  /**
   * Describes the frames whose records lie whole in bytes [from, to) of the window, BATCH at most, one of MAX_CAPLEN at
   * longest. Times count from the second `epoch`. Returns how many.
   */
  scan(from: number, to: number, format: RecordFormat, epoch: number): number
}

/** Scans with this thread. */
export class PlainScanner implements Scanner {
  readonly frames = makeFrames()
  end = 0
  cut = 0
  readonly #d: DataView

  constructor(window: DataView) {
    this.#d = window
  }

  scan(from: number, to: number, { le, unit, fcs }: RecordFormat, epoch: number): number {
    const { offset, length, time } = this.frames
    const d = this.#d
    let at = from
    let cut = 0
    let n = 0
    while (n < BATCH && to - at >= Pcap.RECORD_LEN) {
      const caplen = d.getUint32(at + Pcap.RECORD_CAPLEN, le)
      const next = at + Pcap.RECORD_LEN + caplen
      if (caplen > MAX_CAPLEN || next > to) break
      const origlen = d.getUint32(at + Pcap.RECORD_ORIGLEN, le)
      const seconds = d.getUint32(at + Pcap.RECORD_SECONDS, le)
      offset[n] = at + Pcap.RECORD_LEN
      length[n] = fcs === 0 ? caplen : Math.max(0, Math.min(caplen, origlen - fcs))
      time[n] = (seconds - epoch) * 1e9 + d.getUint32(at + Pcap.RECORD_FRACTION, le) * unit
      if (caplen < origlen) cut++
      at = next
      n++
    }
    this.end = at
    this.cut = cut
    return n
  }
}
