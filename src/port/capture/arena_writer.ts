// A classic capture whose buffer lies in the arena, so that the datapath itself writes records into it
// (memory/layout/record.ts) while this thread only empties it into the file. Frames whose time is not their arrival come
// through `write`, behind what is in the buffer. One thread owns a writer, and the chip that records for it.
import { closeSync, openSync, writeSync } from 'node:fs'
import { type Arena, reserve } from '../../memory/arena.ts'
import { RECORD_BYTES, RECORD_END, RECORD_LIMIT, RECORD_PACKETS } from '../../memory/layout/record.ts'
import { MAX_CAPLEN } from './capture.ts'
import * as Pcap from './pcap_format.ts'
import type { CaptureWriter } from './writer.ts'

const SIZE = 1 << 20

export class ArenaWriter implements CaptureWriter {
  readonly path: string
  /** Frames that came through `write`. */
  count = 0
  readonly #a: Arena
  readonly #record: number
  readonly #unit: number
  readonly #fd: number
  readonly #buffer: number

  /** Creates the file. `record`: address of the port's record. Throws the file system's errors, here and in every call. */
  constructor(a: Arena, path: string, nanoseconds: boolean, record: number) {
    this.path = path
    this.#a = a
    this.#record = record
    this.#unit = nanoseconds ? 1 : 1000
    this.#buffer = reserve(a, SIZE)
    this.#fd = openSync(path, 'w')
    const { d } = a
    d.setUint32(this.#buffer + Pcap.FILE_MAGIC, nanoseconds ? Pcap.MAGIC_NANO : Pcap.MAGIC_MICRO, true)
    d.setUint16(this.#buffer + Pcap.FILE_MAJOR, 2, true)
    d.setUint16(this.#buffer + Pcap.FILE_MINOR, 4, true)
    d.setUint32(this.#buffer + Pcap.FILE_SNAPLEN, MAX_CAPLEN, true)
    d.setUint32(this.#buffer + Pcap.FILE_LINKTYPE, 1, true)
    a.m[(record + RECORD_END) >> 2] = this.#buffer + Pcap.FILE_LEN
    a.m[(record + RECORD_LIMIT) >> 2] = this.#buffer + SIZE
  }

  write(from: number, length: number, time: number): void {
    const { m, d, u8 } = this.#a
    const word = (this.#record + RECORD_END) >> 2
    if (m[word] + Pcap.RECORD_LEN + length > this.#buffer + SIZE) this.flush()
    const at = m[word]
    const seconds = Math.floor(time / 1e9)
    d.setUint32(at + Pcap.RECORD_SECONDS, seconds, true)
    d.setUint32(at + Pcap.RECORD_FRACTION, Math.floor((time - seconds * 1e9) / this.#unit), true)
    d.setUint32(at + Pcap.RECORD_CAPLEN, length, true)
    d.setUint32(at + Pcap.RECORD_ORIGLEN, length, true)
    u8.copyWithin(at + Pcap.RECORD_LEN, from, from + length)
    m[word] = at + Pcap.RECORD_LEN + length
    this.count++
  }

  /** Frames that the chip has recorded, and their bytes. */
  get recorded(): { packets: number; bytes: number } {
    const { m } = this.#a
    const number = (field: number): number => {
      const w = (this.#record + field) >> 2
      return (m[w] >>> 0) + m[w + 1] * 0x100000000
    }
    return { packets: number(RECORD_PACKETS), bytes: number(RECORD_BYTES) }
  }

  /** Empties the buffer into the file. */
  flush(): void {
    const { m, u8 } = this.#a
    const word = (this.#record + RECORD_END) >> 2
    for (let at = this.#buffer; at < m[word]; ) at += writeSync(this.#fd, u8, at, m[word] - at)
    m[word] = this.#buffer
  }

  close(): void {
    this.flush()
    closeSync(this.#fd)
  }
}
