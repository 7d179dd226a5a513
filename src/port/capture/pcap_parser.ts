// The npm package pcap-parser as a second reader, for classic captures with microseconds: `--pcap-backend
// pcap-parser`. It is an independent opinion on what a capture holds, and the tests hold our reader against it.
//
// The package pushes events out of a stream. Here the stream is ours: each `next` reads a piece of the file and
// emits it, the package parses it at once, and its frames are copied into the window. So nothing piles up. What it
// does not notice (a file that ends inside a record, an impossible length) is seen here, by counting bytes.
// It reads neither nanoseconds nor pcapng, and makes several objects for each frame: about fifty times slower.
import { EventEmitter } from 'node:events'
import { closeSync, openSync, readSync } from 'node:fs'
import pcapParser, { type Packet } from 'pcap-parser'
import {
  BATCH,
  type Capture,
  CaptureError,
  type CaptureOptions,
  checkLinkType,
  type Damage,
  MAX_CAPLEN,
  makeFrames,
  WINDOW,
} from './capture.ts'
import * as Pcap from './pcap_format.ts'

/** Bytes given to the package at a time: it joins the rest of the last piece to each, at a cost of both. */
const PIECE = 1 << 16

class PcapParserCapture implements Capture {
  readonly format = 'pcap'
  readonly nanoseconds = false
  readonly path: string
  readonly frames = makeFrames()
  epoch = 0
  damage: Damage | null = null
  count = 0
  cut = 0
  position = 0
  readonly #fd: number
  readonly #window: Uint8Array
  readonly #stream: EventEmitter
  readonly #queue: Packet[] = []
  #read = 0
  #seen = 0
  #eof = false
  #error: Error | null = null
  /** Offset of the next record in what the package parsed, and bytes of the record that it is in. */
  #record = Pcap.FILE_LEN

  constructor(path: string, window: Uint8Array) {
    this.path = path
    this.#window = window
    this.#fd = openSync(path, 'r')
    this.#stream = Object.assign(new EventEmitter(), { pause() {}, resume() {} })
    const parser = pcapParser.parse(this.#stream as unknown as NodeJS.ReadableStream)
    parser.on('error', (e) => {
      this.#error ??= e
    })
    parser.on('globalHeader', (h) => {
      this.position = Pcap.FILE_LEN
      try {
        checkLinkType(path, h.linkLayerType & Pcap.LINKTYPE_MASK)
      } catch (e) {
        this.#error = e as Error
      }
    })
    parser.on('packetHeader', (h) => {
      if (h.capturedLength > MAX_CAPLEN && this.damage === null)
        this.damage = {
          offset: this.#record,
          what: `record ${this.#seen + 1} says that it has ${h.capturedLength} bytes; no frame is longer than ${MAX_CAPLEN}`,
        }
    })
    parser.on('packet', (p) => {
      if (this.damage !== null) return
      this.#seen++
      this.#record += Pcap.RECORD_LEN + p.header.capturedLength
      this.#queue.push(p)
    })
  }

  /** Reads the file header, so that what is no capture is refused now. */
  open(): this {
    this.#feed()
    if (this.#error === null) return this
    this.close()
    throw this.#error instanceof CaptureError
      ? this.#error
      : new CaptureError(`${this.path}: pcap-parser: ${this.#error.message}`)
  }

  #feed(): void {
    const piece = Buffer.allocUnsafe(PIECE)
    const n = readSync(this.#fd, piece, 0, PIECE, null)
    if (n > 0) {
      this.#read += n
      this.#stream.emit('data', piece.subarray(0, n))
      return
    }
    this.#eof = true
    if (this.damage !== null) return
    if (this.#read < Pcap.FILE_LEN)
      this.damage = {
        offset: this.#read,
        what:
          this.#read === 0
            ? 'the file is empty'
            : `the file header is cut short: ${this.#read} of ${Pcap.FILE_LEN} bytes are there`,
      }
    else if (this.#read !== this.#record)
      this.damage = {
        offset: this.#record,
        what: `record ${this.#seen + 1} is cut short: ${this.#read - this.#record} bytes of it are there`,
      }
  }

  next(): number {
    while (this.#queue.length === 0 && !this.#eof && this.damage === null) this.#feed()
    let n = 0
    let o = 0
    while (n < BATCH && n < this.#queue.length) {
      const { header, data } = this.#queue[n]
      if (o + data.length > this.#window.length) break
      this.#window.set(data, o)
      if (this.count === 0) this.epoch = header.timestampSeconds
      this.frames.offset[n] = o
      this.frames.length[n] = data.length
      this.frames.time[n] = (header.timestampSeconds - this.epoch) * 1e9 + header.timestampMicroseconds * 1000
      if (header.capturedLength < header.originalLength) this.cut++
      this.count++
      this.position += Pcap.RECORD_LEN + data.length
      o += data.length
      n++
    }
    this.#queue.splice(0, n)
    return n
  }

  close(): void {
    closeSync(this.#fd)
  }
}

/** Opens a classic capture through the package. Throws CaptureError for everything that it cannot read. */
export function openWithPcapParser(path: string, options: CaptureOptions = {}): Capture {
  return new PcapParserCapture(path, options.window ?? new Uint8Array(WINDOW)).open()
}
