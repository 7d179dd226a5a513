// Writes captures: classic pcap with micro- or nanoseconds, or pcapng; little-endian, Ethernet, frames whole.
//
// A writer copies frames out of one piece of memory (the arena, or the window of a reader) and never keeps a
// reference to it. Its buffer goes to the file when it is full and when the writer is closed.
import { MAX_CAPLEN } from './capture.ts'
import { append, closeOutput, type Output, openOutput, room } from './output.ts'
import * as Pcap from './pcap_format.ts'
import * as Ng from './pcapng_format.ts'

export interface CaptureWriter {
  readonly path: string
  readonly count: number
  /** Appends `length` bytes at `from` of the source, `time` nanoseconds after the epoch. */
  write(from: number, length: number, time: number): void
  close(): void
}

export interface WriterOptions {
  readonly format: 'pcap' | 'pcapng'
  /** Finer than microseconds. */
  readonly nanoseconds: boolean
  /** The memory that frames lie in. */
  readonly source: Uint8Array
  /** Seconds since 1970 that times count from. */
  readonly epoch?: number
  /** Name of the interface, in pcapng. */
  readonly name?: string
}

/** Creates the file. Throws the file system's errors, here and in every call. */
export function openWriter(path: string, options: WriterOptions): CaptureWriter {
  return options.format === 'pcap' ? new PcapWriter(path, options) : new PcapngWriter(path, options)
}

class PcapWriter implements CaptureWriter {
  count = 0
  readonly path: string
  readonly #o: Output
  readonly #source: Uint8Array
  readonly #view: DataView
  readonly #epoch: number
  readonly #unit: number

  constructor(path: string, { source, nanoseconds, epoch = 0 }: WriterOptions) {
    this.path = path
    this.#source = source
    this.#view = viewOf(source)
    this.#epoch = epoch
    this.#unit = nanoseconds ? 1 : 1000
    const o = openOutput(path)
    o.d.setUint32(Pcap.FILE_MAGIC, nanoseconds ? Pcap.MAGIC_NANO : Pcap.MAGIC_MICRO, true)
    o.d.setUint16(Pcap.FILE_MAJOR, 2, true)
    o.d.setUint16(Pcap.FILE_MINOR, 4, true)
    o.d.setUint32(Pcap.FILE_SNAPLEN, MAX_CAPLEN, true)
    o.d.setUint32(Pcap.FILE_LINKTYPE, 1, true)
    o.end = Pcap.FILE_LEN
    this.#o = o
  }

  write(from: number, length: number, time: number): void {
    const o = this.#o
    room(o, Pcap.RECORD_LEN + length)
    const seconds = Math.floor(time / 1e9)
    const d = o.d
    d.setUint32(o.end + Pcap.RECORD_SECONDS, seconds + this.#epoch, true)
    d.setUint32(o.end + Pcap.RECORD_FRACTION, Math.floor((time - seconds * 1e9) / this.#unit), true)
    d.setUint32(o.end + Pcap.RECORD_CAPLEN, length, true)
    d.setUint32(o.end + Pcap.RECORD_ORIGLEN, length, true)
    o.end += Pcap.RECORD_LEN
    append(o, this.#source, this.#view, from, length)
    this.count++
  }

  close(): void {
    closeOutput(this.#o)
  }
}

class PcapngWriter implements CaptureWriter {
  count = 0
  readonly path: string
  readonly #o: Output
  readonly #source: Uint8Array
  readonly #view: DataView
  readonly #epoch: number
  readonly #ticks: number

  constructor(path: string, { source, nanoseconds, epoch = 0, name }: WriterOptions) {
    this.path = path
    this.#source = source
    this.#view = viewOf(source)
    this.#epoch = epoch
    this.#ticks = nanoseconds ? 1e9 : 1e6
    this.#o = openOutput(path)
    this.#section()
    this.#describe(nanoseconds ? 9 : 6, name)
  }

  #section(): void {
    const { d } = this.#o
    d.setUint32(Ng.BLOCK_TYPE, Ng.BT_SHB, true)
    d.setUint32(Ng.SHB_MAGIC, Ng.BYTE_ORDER_MAGIC, true)
    d.setUint16(Ng.SHB_MAJOR, 1, true)
    d.setUint16(Ng.SHB_MINOR, 0, true)
    d.setBigInt64(Ng.SHB_SECTION, -1n, true)
    this.#finish(Ng.SHB_MIN)
  }

  #describe(tsresol: number, name?: string): void {
    const { d, bytes, end } = this.#o
    d.setUint32(end + Ng.BLOCK_TYPE, Ng.BT_IDB, true)
    d.setUint16(end + Ng.IDB_LINKTYPE, 1, true)
    d.setUint32(end + Ng.IDB_SNAPLEN, MAX_CAPLEN, true)
    let o = end + Ng.IDB_OPTIONS
    const option = (code: number, value: Uint8Array) => {
      d.setUint16(o, code, true)
      d.setUint16(o + 2, value.length, true)
      bytes.set(value, o + 4)
      o += 4 + Ng.padded(value.length)
    }
    if (name !== undefined) option(Ng.OPT_IF_NAME, new TextEncoder().encode(name))
    option(Ng.OPT_IF_TSRESOL, Uint8Array.of(tsresol))
    option(Ng.OPT_END, new Uint8Array(0))
    this.#finish(o + 4 - end)
  }

  /** The two lengths of the block of `total` bytes that begins at `end`. */
  #finish(total: number): void {
    const { d, end } = this.#o
    d.setUint32(end + Ng.BLOCK_LENGTH, total, true)
    d.setUint32(end + total - 4, total, true)
    this.#o.end = end + total
  }

  write(from: number, length: number, time: number): void {
    const o = this.#o
    const total = Ng.EPB_MIN + Ng.padded(length)
    room(o, total)
    const { d, end } = o
    // Ticks since 1970 as two words: whole seconds and the rest apart, so that doubles stay exact.
    const seconds = Math.floor(time / 1e9)
    const fraction = Math.floor((time - seconds * 1e9) / (1e9 / this.#ticks))
    const s = seconds + this.#epoch
    // s * ticks + fraction = (a * 2^21 + b) * ticks + fraction, where a * ticks < 2^42 is split once more.
    const a = Math.floor(s / 2 ** 21)
    const high = Math.floor((a * this.#ticks) / 2 ** 11)
    const low = (a * this.#ticks - high * 2 ** 11) * 2 ** 21 + (s - a * 2 ** 21) * this.#ticks + fraction
    const carry = Math.floor(low / 2 ** 32)
    d.setUint32(end + Ng.BLOCK_TYPE, Ng.BT_EPB, true)
    d.setUint32(end + Ng.EPB_INTERFACE, 0, true)
    d.setUint32(end + Ng.EPB_TIME_HIGH, high + carry, true)
    d.setUint32(end + Ng.EPB_TIME_LOW, low - carry * 2 ** 32, true)
    d.setUint32(end + Ng.EPB_CAPLEN, length, true)
    d.setUint32(end + Ng.EPB_ORIGLEN, length, true)
    // The last word of the data may be padding: zeros first, the frame over them.
    if (length % 4 !== 0) d.setUint32(end + total - 8, 0, true)
    o.end = end + Ng.EPB_DATA
    append(o, this.#source, this.#view, from, length)
    o.end = end
    this.#finish(total)
    this.count++
  }

  close(): void {
    closeOutput(this.#o)
  }
}

function viewOf(u8: Uint8Array): DataView {
  return new DataView(u8.buffer, u8.byteOffset, u8.byteLength)
}
