// The packets of all captures in the order in which the ports receive them: by time, ties by port number.
//
// A capture is read in batches into its own window of the arena. A run is as many packets of one capture as come
// before the next packet of every other; with one capture, that is a whole batch. Each packet's virtual time is its
// distance from the first packet of all, but never less than the quiet time after the one before. Captures put together
// from others have pauses of years; where nothing waits for a moment, a pause counts as `longest` at most.
import { type Arena, reserve } from '../memory/arena.ts'
import { BATCH, type Capture } from '../port/capture/capture.ts'

interface Source {
  readonly port: number
  readonly capture: Capture
  /** Address of the capture's window in the arena. */
  readonly window: number
  /** Rows [at, n) of the batch are still to come. */
  at: number
  n: number
  /** Nanoseconds to add to the capture's times. */
  shift: number
}

/** Room for the description of a run, BATCH packets each. */
export interface Rows {
  readonly address: Int32Array
  readonly length: Int32Array
  readonly time: Float64Array
}

const makeRows = (): Rows => ({
  address: new Int32Array(BATCH),
  length: new Int32Array(BATCH),
  time: new Float64Array(BATCH),
})

/** Rows that lie in the arena, so that the datapath reads them. */
export function arenaRows(a: Arena): Rows {
  const at = reserve(a, BATCH * 16)
  const { buffer } = a.memory
  return {
    address: new Int32Array(buffer, at, BATCH),
    length: new Int32Array(buffer, at + BATCH * 4, BATCH),
    time: new Float64Array(buffer, at + BATCH * 8, BATCH),
  }
}

export class Packets {
  /** Packets of the run: port, and for each its address, length and virtual time. */
  port = 0
  /** Bytes of the run's packets. */
  bytes = 0
  readonly address: Int32Array
  readonly length: Int32Array
  readonly time: Float64Array
  readonly #sources: Source[]
  readonly #start: number
  readonly #quiet: number
  readonly #longest: number
  /** What the pauses that were shortened have taken off all later times. */
  #skipped = 0
  #last = Number.NEGATIVE_INFINITY

  /** `start`, `quiet`, `longest`: virtual time of the first packet, least and longest pause after each, nanoseconds. */
  constructor(
    captures: readonly { port: number; capture: Capture; window: number }[],
    start: number,
    quiet: number,
    longest = Number.POSITIVE_INFINITY,
    { address, length, time }: Rows = makeRows(),
  ) {
    this.address = address
    this.length = length
    this.time = time
    this.#start = start
    this.#quiet = quiet
    this.#longest = longest
    this.#sources = captures.map((c) => ({ ...c, at: 0, n: 0, shift: 0 }))
    for (const s of this.#sources) this.#refill(s)
    const first = this.#sources.filter((s) => s.n > 0)
    // Times count from the first packet of all. Whole seconds apart first: a double holds 104 days of nanoseconds.
    const epoch = Math.min(...first.map((s) => s.capture.epoch))
    for (const s of first) s.shift = (s.capture.epoch - epoch) * 1e9
    const zero = Math.min(...first.map((s) => s.capture.frames.time[0] + s.shift))
    for (const s of first) s.shift += start - zero
  }

  #refill(s: Source): void {
    if (s.at < s.n) return
    s.at = 0
    s.n = s.capture.next()
  }

  /**
   * Describes the next run: at most `most` packets, none of them at `before` or later. Returns how many, 0 when there is
   * none (see `nextTime`).
   */
  next(most: number, before: number): number {
    let s: Source | null = null
    let bound = Number.POSITIVE_INFINITY
    let boundPort = 0
    for (const x of this.#sources) {
      this.#refill(x)
      if (x.n === 0) continue
      const t = x.capture.frames.time[x.at] + x.shift
      if (s === null || t < s.capture.frames.time[s.at] + s.shift) {
        if (s !== null) {
          bound = s.capture.frames.time[s.at] + s.shift
          boundPort = s.port
        }
        s = x
      } else if (t < bound) {
        bound = t
        boundPort = x.port
      }
    }
    if (s === null) return 0
    const { offset, length, time } = s.capture.frames
    const [rowAddress, rowLength, rowTime] = [this.address, this.length, this.time]
    const { at, shift, window } = s
    const [start, quiet, longest] = [this.#start, this.#quiet, this.#longest]
    // A packet at the bound goes first when its port does.
    const tie = boundPort < s.port
    const end = Math.min(s.n, at + most)
    let skipped = this.#skipped
    let last = this.#last
    let bytes = 0
    let i = at
    for (; i < end; i++) {
      const t = time[i] + shift
      if (i > at && (t > bound || (t === bound && tie))) break
      let virtual = Math.max(t - skipped, last + quiet, start)
      if (virtual - last > longest && last > Number.NEGATIVE_INFINITY) {
        skipped += virtual - last - longest
        virtual = last + longest
      }
      if (virtual >= before) break
      rowAddress[i - at] = window + offset[i]
      rowLength[i - at] = length[i]
      rowTime[i - at] = virtual
      bytes += length[i]
      last = virtual
    }
    this.port = s.port
    this.bytes = bytes
    this.#skipped = skipped
    this.#last = last
    s.at = i
    return i - at
  }

  /** True while there are packets to come. */
  get more(): boolean {
    for (const s of this.#sources) {
      this.#refill(s)
      if (s.n > 0) return true
    }
    return false
  }
}
