// Reads pcapng: enhanced, simple and the obsolete packet blocks, any number of interfaces and sections, either
// byte order, every time resolution. Blocks that carry no frame are stepped over.
//
// What cannot be (a length that is no block's, a trailer that disagrees with its header, a packet of an
// interface that nobody described, a file that ends inside a block) is damage at the offset of the block.
// An interface that is not Ethernet is refused when it is described before the first packet; later, it is
// damage: the frames before it went through already.
import { closeSync } from 'node:fs'
import {
  BATCH,
  type Capture,
  CaptureError,
  checkLinkType,
  type Damage,
  MAX_CAPLEN,
  MIN_WINDOW,
  makeFrames,
} from './capture.ts'
import * as Ng from './pcapng_format.ts'
import { fill, skip, type Window } from './window.ts'

/** What an interface description says about the packets that name it. */
interface Interface {
  readonly snaplen: number
  /** Ticks in a second: 10^n or 2^n. */
  readonly resolution: number
  /** Seconds to add to every time. */
  readonly offset: number
  readonly fcs: number
}

// What `block` took.
const STOP = -1
const OTHER = 0
const FRAME = 1

class PcapngReader implements Capture {
  readonly format = 'pcapng'
  readonly path: string
  readonly frames = makeFrames()
  nanoseconds = false
  epoch = 0
  damage: Damage | null = null
  count = 0
  cut = 0
  readonly #w: Window
  #le = true
  #interfaces: Interface[] = []
  /** Time of the last packet, which a simple packet takes over. */
  #seconds = 0
  #nanos = 0

  constructor(w: Window) {
    this.#w = w
    this.path = w.path
  }

  get position(): number {
    return this.#w.at
  }

  next(): number {
    const w = this.#w
    let n = 0
    while (n < BATCH && this.damage === null) {
      const there = w.end - w.start
      if (there >= Ng.BLOCK_MIN) {
        const type = w.d.getUint32(w.start + Ng.BLOCK_TYPE, this.#le)
        if (type === Ng.BT_EPB) {
          const total = w.d.getUint32(w.start + Ng.BLOCK_LENGTH, this.#le)
          if (there >= total && total >= Ng.EPB_MIN && total % 4 === 0 && this.#checked(total)) {
            if (this.#packet(n, total, w.d.getUint32(w.start + Ng.EPB_INTERFACE, this.#le))) n++
            continue
          }
        }
      }
      // Anything but a whole enhanced packet: the frames before it first, since the window may move.
      if (n > 0 || this.damage !== null) break
      const took = this.block()
      if (took === STOP) break
      if (took === FRAME) n = 1
    }
    return n
  }

  /** Takes one block of any type; a frame is described in row 0. */
  block(): number {
    const w = this.#w
    const there = fill(w, Ng.BLOCK_MIN)
    if (there === 0) return STOP
    if (there < Ng.BLOCK_MIN) {
      this.#broken(`the file ends in the header of a block: ${there} of ${Ng.BLOCK_MIN} bytes are there`)
      return STOP
    }
    // The type of a section header reads the same in both byte orders; its length does not.
    const type = w.d.getUint32(w.start + Ng.BLOCK_TYPE, this.#le)
    if (type === Ng.BT_SHB && !this.#byteOrder()) return STOP
    const total = w.d.getUint32(w.start + Ng.BLOCK_LENGTH, this.#le)
    const least = minimum(type)
    if (total < least || total % 4 !== 0 || (least > Ng.BLOCK_MIN && total > MIN_WINDOW)) {
      this.#broken(`a block of type ${type} says that it has ${total} bytes`)
      return STOP
    }
    if (least === Ng.BLOCK_MIN) return this.#stepOver(total) ? OTHER : STOP
    const got = fill(w, total)
    if (got < total) {
      this.#broken(`a block is cut short: ${got} of ${total} bytes are there`)
      return STOP
    }
    if (!this.#checked(total)) return STOP
    const index = w.start + Ng.EPB_INTERFACE
    switch (type) {
      case Ng.BT_EPB:
        return this.#packet(0, total, w.d.getUint32(index, this.#le)) ? FRAME : STOP
      case Ng.BT_PB:
        return this.#packet(0, total, w.d.getUint16(index, this.#le)) ? FRAME : STOP
      case Ng.BT_SPB:
        return this.#simplePacket(total) ? FRAME : STOP
    }
    if (!(type === Ng.BT_SHB ? this.#section() : this.#describe(total))) return STOP
    w.start += total
    w.at += total
    return OTHER
  }

  #byteOrder(): boolean {
    const magic = this.#w.d.getUint32(this.#w.start + Ng.SHB_MAGIC, false)
    this.#le = magic !== Ng.BYTE_ORDER_MAGIC
    return (
      [Ng.BYTE_ORDER_MAGIC, 0x4d3c2b1a].includes(magic) ||
      this.#broken(`a section header without byte-order magic (0x${magic.toString(16)})`)
    )
  }

  /** A block that carries no frame, of any length. */
  #stepOver(total: number): boolean {
    const w = this.#w
    const at = w.at
    const body = skip(w, total - 4)
    if (body === total - 4 && fill(w, 4) >= 4) {
      const trailer = w.d.getUint32(w.start, this.#le)
      if (trailer !== total) return this.#broken(`a block of ${total} bytes ends in a length of ${trailer}`, at)
      skip(w, 4)
      return true
    }
    return this.#broken(`a block is cut short: ${w.at + w.end - w.start - at} of ${total} bytes are there`, at)
  }

  /** The length at the end of the block must be the one at its beginning. */
  #checked(total: number): boolean {
    const trailer = this.#w.d.getUint32(this.#w.start + total - 4, this.#le)
    return trailer === total || this.#broken(`a block of ${total} bytes ends in a length of ${trailer}`)
  }

  /** An enhanced packet, or the obsolete packet block, that is whole in the window. */
  #packet(n: number, total: number, index: number): boolean {
    const w = this.#w
    const i = this.#interfaces[index]
    if (i === undefined)
      return this.#broken(`packet ${this.count + 1} is of interface ${index}, which is not described`)
    const caplen = w.d.getUint32(w.start + Ng.EPB_CAPLEN, this.#le)
    if (caplen > MAX_CAPLEN || Ng.EPB_MIN + Ng.padded(caplen) > total)
      return this.#broken(`packet ${this.count + 1} says that it has ${caplen} bytes, in a block of ${total}`)
    this.#setTime(
      w.d.getUint32(w.start + Ng.EPB_TIME_HIGH, this.#le),
      w.d.getUint32(w.start + Ng.EPB_TIME_LOW, this.#le),
      i,
    )
    return this.#frame(n, total, Ng.EPB_DATA, caplen, w.d.getUint32(w.start + Ng.EPB_ORIGLEN, this.#le), i)
  }

  #simplePacket(total: number): boolean {
    const w = this.#w
    const i = this.#interfaces[0]
    if (i === undefined) return this.#broken(`packet ${this.count + 1} is of interface 0, which is not described`)
    const origlen = w.d.getUint32(w.start + Ng.SPB_ORIGLEN, this.#le)
    const caplen = Math.min(origlen, i.snaplen === 0 ? origlen : i.snaplen)
    if (caplen > MAX_CAPLEN || Ng.SPB_MIN + Ng.padded(caplen) > total)
      return this.#broken(`packet ${this.count + 1} says that it has ${caplen} bytes, in a block of ${total}`)
    return this.#frame(0, total, Ng.SPB_DATA, caplen, origlen, i)
  }

  #frame(n: number, total: number, data: number, caplen: number, origlen: number, i: Interface): true {
    const w = this.#w
    if (this.count === 0) this.epoch = this.#seconds
    this.frames.offset[n] = w.start + data
    this.frames.length[n] = i.fcs === 0 ? caplen : Math.max(0, Math.min(caplen, origlen - i.fcs))
    this.frames.time[n] = (this.#seconds - this.epoch) * 1e9 + this.#nanos
    if (caplen < origlen) this.cut++
    this.count++
    w.start += total
    w.at += total
    return true
  }

  /** 64 bits of ticks into seconds and nanoseconds, in doubles that stay below 2^53. */
  #setTime(high: number, low: number, i: Interface): void {
    const r = i.resolution
    if (r > 2 ** 36) {
      const ticks = (BigInt(high) << 32n) | BigInt(low)
      this.#seconds = Number(ticks / BigInt(r)) + i.offset
      this.#nanos = Number(((ticks % BigInt(r)) * 1_000_000_000n) / BigInt(r))
      return
    }
    // Long division by digits of 16 bits: r * 2^16 stays exact. No `%`, which is a call for doubles.
    let seconds = Math.floor(high / r)
    let rest = (high - seconds * r) * 65536 + (low >>> 16)
    let digit = Math.floor(rest / r)
    seconds = seconds * 65536 + digit
    rest = (rest - digit * r) * 65536 + (low & 0xffff)
    digit = Math.floor(rest / r)
    this.#seconds = seconds * 65536 + digit + i.offset
    this.#nanos = Math.floor((rest - digit * r) * (1e9 / r))
  }

  #section(): boolean {
    const w = this.#w
    const major = w.d.getUint16(w.start + Ng.SHB_MAJOR, this.#le)
    if (major !== 1) return this.#broken(`a section of pcapng version ${major}; only 1 is read`)
    this.#interfaces = []
    return true
  }

  #describe(total: number): boolean {
    const w = this.#w
    const link = w.d.getUint16(w.start + Ng.IDB_LINKTYPE, this.#le)
    try {
      checkLinkType(this.path, link)
    } catch (e) {
      if (this.count === 0) throw e
      return this.#broken(`interface ${this.#interfaces.length} has link type ${link}, not Ethernet`)
    }
    let resolution = 1e6
    let offset = 0
    let fcs = 0
    const end = w.start + total - 4
    for (let o = w.start + Ng.IDB_OPTIONS; o + 4 <= end; ) {
      const code = w.d.getUint16(o, this.#le)
      const length = w.d.getUint16(o + 2, this.#le)
      if (code === Ng.OPT_END) break
      if (o + 4 + length > end)
        return this.#broken(`option ${code} of interface ${this.#interfaces.length} says that it has ${length} bytes`)
      if (code === Ng.OPT_IF_TSRESOL && length === 1) {
        const v = w.d.getUint8(o + 4)
        resolution = v & 0x80 ? 2 ** (v & 0x7f) : 10 ** v
        if (resolution > 2 ** 63)
          return this.#broken(`interface ${this.#interfaces.length} has ${resolution} ticks a second`)
      } else if (code === Ng.OPT_IF_FCSLEN && length === 1) fcs = w.d.getUint8(o + 4)
      else if (code === Ng.OPT_IF_TSOFFSET && length === 8) offset = Number(w.d.getBigInt64(o + 4, this.#le))
      o += 4 + Ng.padded(length)
    }
    if (resolution > 1e6) this.nanoseconds = true
    this.#interfaces.push({ snaplen: w.d.getUint32(w.start + Ng.IDB_SNAPLEN, this.#le), resolution, offset, fcs })
    return true
  }

  #broken(what: string, offset = this.#w.at): false {
    this.damage = { offset, what }
    return false
  }

  /** The next block is a packet, or there is none. */
  get atPacket(): boolean {
    const w = this.#w
    if (this.damage !== null || fill(w, Ng.BLOCK_MIN) < Ng.BLOCK_MIN) return true
    return [Ng.BT_EPB, Ng.BT_PB, Ng.BT_SPB].includes(w.d.getUint32(w.start + Ng.BLOCK_TYPE, this.#le))
  }

  close(): void {
    closeSync(this.#w.fd)
  }
}

/** Smallest total length of a block that is read; BLOCK_MIN for those that are stepped over. */
function minimum(type: number): number {
  switch (type) {
    case Ng.BT_SHB:
      return Ng.SHB_MIN
    case Ng.BT_IDB:
      return Ng.IDB_MIN
    case Ng.BT_EPB:
    case Ng.BT_PB:
      return Ng.EPB_MIN
    case Ng.BT_SPB:
      return Ng.SPB_MIN
    default:
      return Ng.BLOCK_MIN
  }
}

/** Opens the pcapng capture in the window and reads up to its first packet, so that other link types are refused now. */
export function openPcapng(w: Window): Capture {
  if (w.bytes.length < MIN_WINDOW) throw new CaptureError(`${w.path}: a window of ${w.bytes.length} bytes is too small`)
  const c = new PcapngReader(w)
  while (!c.atPacket) if (c.block() === STOP) break
  return c
}
