// pcap: captures as a port. What is in a file comes in, at the distance that the frames have in it or at a rate; what goes
// out is written to another one.
//
// Files may block, so all of it is done by the switch thread: workers hand up what leaves by the port. A frame is written
// when it is sent, record header and frame in one writev, so that the file is whole at any moment, and the driver keeps
// nothing. A damaged capture comes in up to where it is damaged.

import type { Arena } from '../memory/arena.ts'
import { DROP_PORT_GONE } from '../memory/layout/drop.ts'
import { PKT_DATA, PKT_LEN, PKT_TIME, PKT_TIME_HI } from '../memory/layout/packet.ts'
import * as Q from '../memory/layout/queue.ts'
import { addressOf, close, O_CREAT, O_TRUNC, O_WRONLY, open, write, writev } from '../sys/libc.ts'
import { SysError } from '../sys/sys_error.ts'
import { type Capture, CaptureError, LINKTYPE_ETHERNET, MAX_CAPLEN, openCapture } from './capture/capture.ts'
import * as Pcap from './capture/pcap_format.ts'
import { idleQueues } from './dummy.ts'
import type { OpenPort, PortCaptures, PortDriver, PortSpec, QueueDriver, Room } from './port.ts'
import { PortError } from './port_error.ts'

/** The ring memory of the switch thread's queue: a record header for each packet of its list. */
const HEADERS_BYTES = Q.QUEUE_LIST_MAX * Pcap.RECORD_LEN
const IOVEC = 16
/** Packets that one writev takes: it has two vectors each, and the queue has QUEUE_LIST_MAX. */
const AT_ONCE = Q.QUEUE_LIST_MAX / 2

export const pcapQueue: QueueDriver = {
  receive: () => 0, // `bring` does it
  flush(dp, q) {
    const { m } = dp.a
    const n = m[(q + Q.QUEUE_LIST_COUNT) >> 2]
    m[(q + Q.QUEUE_LIST_COUNT) >> 2] = 0
    const list = m[(q + Q.QUEUE_LIST) >> 2] >> 2
    const fd = m[(q + Q.QUEUE_TX_FD) >> 2]
    for (let from = 0; from < n; from += AT_ONCE) {
      const packets = m.subarray(list + from, list + Math.min(n, from + AT_ONCE))
      // Without a file to write to it is as a dummy is: counted by the device, and gone.
      const wrote = fd < 0 || writeRecords(dp.a, q, fd, packets)
      for (const pkt of packets) {
        if (wrote) dp.release(pkt)
        else dp.drop(pkt, DROP_PORT_GONE)
      }
    }
  },
}

/** False: the file does not take them (the disk is full). */
function writeRecords(a: Arena, q: number, fd: number, packets: Int32Array): boolean {
  const { m, d } = a
  const base = d.getBigUint64(q + Q.QUEUE_BASE, true)
  const vectors = m[(q + Q.QUEUE_VECTORS) >> 2]
  let header = m[(q + Q.QUEUE_STAGING) >> 2]
  let v = vectors
  let bytes = 0
  const vector = (from: number, length: number): void => {
    d.setBigUint64(v, base + BigInt(from), true)
    d.setBigUint64(v + 8, BigInt(length), true)
    v += IOVEC
    bytes += length
  }
  for (const pkt of packets) {
    const length = m[(pkt + PKT_LEN) >> 2]
    const time = d.getBigUint64(q + Q.QUEUE_EPOCH, true) + timeOf(m, pkt)
    d.setUint32(header + Pcap.RECORD_SECONDS, Number(time / SECOND), true)
    d.setUint32(header + Pcap.RECORD_FRACTION, Number(time % SECOND), true)
    d.setUint32(header + Pcap.RECORD_CAPLEN, length, true)
    d.setUint32(header + Pcap.RECORD_ORIGLEN, length, true)
    vector(header, Pcap.RECORD_LEN)
    vector(m[(pkt + PKT_DATA) >> 2], length)
    header += Pcap.RECORD_LEN
  }
  return writev(fd, Number(base) + vectors, packets.length * 2) === bytes
}

const SECOND = 1_000_000_000n
const timeOf = (m: Int32Array, pkt: number): bigint =>
  (BigInt(m[(pkt + PKT_TIME_HI) >> 2] >>> 0) << 32n) | BigInt(m[(pkt + PKT_TIME) >> 2] >>> 0)

export const pcap: PortDriver = {
  open(a: Arena, port: PortSpec, workers: number, room: Room): OpenPort {
    const files = port.captures ?? { loop: false }
    const reader = files.in === undefined ? undefined : new Player(port.name, files, files.in)
    try {
      const queues = idleQueues(a, port, workers, room, Q.DRIVER_HOSTED)
      const own = room(0, 0, HEADERS_BYTES)
      a.m.copyWithin((own.q + Q.QUEUE_DEV) >> 2, (queues[0][0] + Q.QUEUE_DEV) >> 2, (queues[0][0] + Q.QUEUE_FLAGS) >> 2)
      queues[0] = [own.q]
      const fd = files.out === undefined ? -1 : create(port.name, files.out)
      a.m[(own.q + Q.QUEUE_DRIVER) >> 2] = Q.DRIVER_PCAP
      a.m[(own.q + Q.QUEUE_FD) >> 2] = -1
      a.m[(own.q + Q.QUEUE_TX_FD) >> 2] = fd
      a.m[(own.q + Q.QUEUE_BROKEN) >> 2] = 0
      a.m[(own.q + Q.QUEUE_STAGING) >> 2] = own.ring
      a.d.setBigUint64(own.q + Q.QUEUE_BASE, BigInt(addressOf(a.u8)), true)
      a.d.setBigUint64(own.q + Q.QUEUE_EPOCH, port.epoch, true)
      return {
        ifindex: 0,
        isDevice: false,
        queues,
        how: `pcap, ${[files.in && `from ${files.in}`, files.out && `to ${files.out}`].filter(Boolean).join(', ') || 'no files'}`,
        ...(reader !== undefined && { bring: (now, max, take) => reader.bring(now, max, take) }),
        missed: () => 0,
        close() {
          reader?.close()
          if (fd >= 0) close(fd)
        },
      }
    } catch (e) {
      reader?.close()
      throw e
    }
  },
}

/** A capture that is played: each frame when its time has come. */
class Player {
  readonly #port: string
  readonly #files: PortCaptures
  readonly #path: string
  /** The file's bytes as the reader has them. */
  readonly #window = new Uint8Array(1 << 20)
  #capture: Capture
  #left = 0
  #at = 0
  /** The switch's clock when time 0 of the file was; unknown before the first frame. */
  #zero = Number.NaN
  #count = 0

  constructor(port: string, files: PortCaptures, path: string) {
    this.#port = port
    this.#files = files
    this.#path = path
    this.#capture = this.#open()
  }

  bring(now: number, max: number, take: (frame: Uint8Array) => void): number {
    for (let n = 0; ; n++) {
      if (this.#left === 0 && !this.#next()) return Number.POSITIVE_INFINITY
      const { frames } = this.#capture
      if (Number.isNaN(this.#zero)) this.#zero = now - this.#timeOf(frames.time[this.#at])
      const due = this.#zero + this.#timeOf(frames.time[this.#at])
      if (due > now || n === max) return due
      const from = frames.offset[this.#at]
      take(this.#window.subarray(from, from + frames.length[this.#at]))
      this.#at++
      this.#left--
      this.#count++
    }
  }

  close(): void {
    this.#capture.close()
  }

  /** When a frame comes, ns from the beginning: by the file, or the how many-th it is. */
  #timeOf(time: number): number {
    const { rate } = this.#files
    return rate === undefined ? time : (this.#count * 1e9) / rate
  }

  /** The next frames of the file, or of its next turn. False: that was all. */
  #next(): boolean {
    this.#at = 0
    this.#left = this.#capture.next()
    if (this.#left > 0) return true
    if (!this.#files.loop || this.#capture.count === 0) return false
    this.#capture.close()
    this.#capture = this.#open()
    if (this.#files.rate === undefined) this.#zero = Number.NaN
    this.#left = this.#capture.next()
    return this.#left > 0
  }

  #open(): Capture {
    try {
      return openCapture(this.#path, { window: this.#window })
    } catch (e) {
      const { code, message } = e as NodeJS.ErrnoException
      if (e instanceof CaptureError || code !== undefined) throw new PortError(this.#port, `pcap: ${message}`)
      throw e
    }
  }
}

/** A new capture of nanoseconds, with its header. @throws PortError */
function create(port: string, path: string): number {
  try {
    const fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
    const header = new Uint8Array(Pcap.FILE_LEN)
    const d = new DataView(header.buffer)
    d.setUint32(Pcap.FILE_MAGIC, Pcap.MAGIC_NANO, true)
    d.setUint16(Pcap.FILE_MAJOR, 2, true)
    d.setUint16(Pcap.FILE_MINOR, 4, true)
    d.setUint32(Pcap.FILE_SNAPLEN, MAX_CAPLEN, true)
    d.setUint32(Pcap.FILE_LINKTYPE, LINKTYPE_ETHERNET, true)
    const wrote = write(fd, header, header.length)
    if (wrote === header.length) return fd
    close(fd)
    throw new SysError('write', Math.max(0, -wrote), path)
  } catch (e) {
    throw e instanceof SysError ? new PortError(port, `pcap: ${e.message}`) : e
  }
}
