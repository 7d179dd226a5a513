// A classic capture whose buffers lie in the arena, so that the datapath itself writes records into them
// (memory/layout/record.ts). Frames whose time is not their arrival come through `write`, behind what is in the buffer.
//
// A full buffer goes to its place in the file behind the writer's back, on one of the platform's file threads, and the
// next one takes its place: the page cache's copy costs more than the datapath. `behind` is what the owner waits for now
// and then; who does not has the buffer written at once when none is free. One thread owns a writer, and the chip that
// records for it.
import { close, openSync, write, writeSync } from 'node:fs'
import { promisify } from 'node:util'
import { type Arena, reserve } from '../../memory/arena.ts'
import { RECORD_BYTES, RECORD_END, RECORD_LIMIT, RECORD_PACKETS } from '../../memory/layout/record.ts'
import { MAX_CAPLEN } from './capture.ts'
import * as Pcap from './pcap_format.ts'

const SIZE = 1 << 20
/** Buffers of a writer: one that fills, the others under way. */
const BUFFERS = 4

const writeAt = promisify(write)
const closeFile = promisify(close)

export class ArenaWriter {
  readonly path: string
  /** Frames that came through `write`. */
  count = 0
  readonly #a: Arena
  readonly #record: number
  readonly #unit: number
  readonly #fd: number
  /** Buffers that are free. The others are under way, one is `#buffer`. */
  readonly #free: number[] = []
  readonly #underWay = new Set<Promise<void>>()
  #buffers = 1
  #buffer: number
  /** Where in the file the buffer goes. */
  #position = 0
  #failed: Error | null = null

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

  /** What to wait for before more is written: a write under way, when no buffer is free. */
  get behind(): Promise<void> | null {
    if (this.#buffers < BUFFERS || this.#free.length > 0) return null
    return Promise.race(this.#underWay)
  }

  /** Makes the buffer empty. Throws what went wrong with an earlier one. */
  flush(): void {
    const { m } = this.#a
    const word = (this.#record + RECORD_END) >> 2
    const [from, end] = [this.#buffer, m[word]]
    if (this.#failed !== null) throw this.#failed
    const next = this.#free.pop() ?? (this.#buffers < BUFFERS ? this.#another() : 0)
    if (next === 0) this.#writeNow(from, end)
    else {
      const done = this.#writeBehind(from, end, this.#position).then(() => {
        this.#free.push(from)
        this.#underWay.delete(done)
      })
      this.#underWay.add(done)
      this.#buffer = next
    }
    this.#position += end - from
    m[word] = this.#buffer
    m[(this.#record + RECORD_LIMIT) >> 2] = this.#buffer + SIZE
  }

  #another(): number {
    this.#buffers++
    return reserve(this.#a, SIZE)
  }

  #writeNow(from: number, end: number): void {
    for (let at = from; at < end; ) at += writeSync(this.#fd, this.#a.u8, at, end - at, this.#position + at - from)
  }

  async #writeBehind(from: number, end: number, position: number): Promise<void> {
    try {
      for (let at = from; at < end; ) {
        const { bytesWritten } = await writeAt(this.#fd, this.#a.u8, at, end - at, position + at - from)
        at += bytesWritten
      }
    } catch (e) {
      this.#failed ??= e as Error
    }
  }

  /** Writes what is left. Throws when any of the file could not be written. */
  async close(): Promise<void> {
    await Promise.all(this.#underWay)
    try {
      if (this.#failed !== null) throw this.#failed
      this.#writeNow(this.#buffer, this.#a.m[(this.#record + RECORD_END) >> 2])
    } finally {
      await closeFile(this.#fd)
    }
  }
}
