// Reads classic captures: micro- and nanosecond, either byte order.
//
// What cannot be: a captured length beyond MAX_CAPLEN, or a file that ends inside a record. Both are damage
// at the offset of the record. A frame check sequence that the file header announces is taken off.
import { closeSync } from 'node:fs'
import { BATCH, type Capture, CaptureError, checkLinkType, type Damage, MAX_CAPLEN, makeFrames } from './capture.ts'
import * as Pcap from './pcap_format.ts'
import { fill, type Window } from './window.ts'

class PcapReader implements Capture {
  readonly format = 'pcap'
  readonly path: string
  readonly frames = makeFrames()
  readonly nanoseconds: boolean
  epoch = 0
  damage: Damage | null = null
  count = 0
  cut = 0
  readonly #w: Window
  readonly #le: boolean
  readonly #unit: number
  readonly #fcs: number

  constructor(w: Window, le: boolean, nanoseconds: boolean, fcs: number) {
    this.#w = w
    this.path = w.path
    this.#le = le
    this.nanoseconds = nanoseconds
    this.#unit = nanoseconds ? 1 : 1000
    this.#fcs = fcs
  }

  get position(): number {
    return this.#w.at
  }

  next(): number {
    const w = this.#w
    const d = w.d
    const le = this.#le
    const { offset, length, time } = this.frames
    let n = 0
    while (n < BATCH && this.damage === null) {
      let there = w.end - w.start
      let want = Pcap.RECORD_LEN
      if (there >= want) {
        const caplen = d.getUint32(w.start + Pcap.RECORD_CAPLEN, le)
        want += caplen
        if (caplen <= MAX_CAPLEN && there >= want) {
          const o = w.start
          const origlen = d.getUint32(o + Pcap.RECORD_ORIGLEN, le)
          const seconds = d.getUint32(o + Pcap.RECORD_SECONDS, le)
          if (this.count === 0) this.epoch = seconds
          offset[n] = o + Pcap.RECORD_LEN
          length[n] = this.#fcs === 0 ? caplen : Math.max(0, Math.min(caplen, origlen - this.#fcs))
          time[n] = (seconds - this.epoch) * 1e9 + d.getUint32(o + Pcap.RECORD_FRACTION, le) * this.#unit
          if (caplen < origlen) this.cut++
          this.count++
          n++
          w.start = o + want
          w.at += want
          continue
        }
      }
      // A frame that is not whole in the window: the ones before it first, then more of the file.
      if (n > 0) break
      if (want > Pcap.RECORD_LEN + MAX_CAPLEN) {
        this.#broken(`says that it has ${want - Pcap.RECORD_LEN} bytes; no frame is longer than ${MAX_CAPLEN}`)
        break
      }
      there = fill(w, want)
      if (there >= want) continue
      if (there > 0) this.#broken(`is cut short: ${there} of ${want} bytes are there`, want)
      break
    }
    return n
  }

  #broken(how: string, want = 0): void {
    const part = want === Pcap.RECORD_LEN ? 'the header of record' : 'record'
    this.damage = { offset: this.#w.at, what: `${part} ${this.count + 1} ${how}` }
  }

  close(): void {
    closeSync(this.#w.fd)
  }
}

/** Opens the classic capture in the window; `fill(w, 4)` was called. A file that ends in its header is damaged. */
export function openPcap(w: Window): Capture {
  const there = fill(w, Pcap.FILE_LEN)
  if (there < Pcap.FILE_LEN) {
    const c = new PcapReader(w, true, false, 0)
    c.damage = {
      offset: there,
      what:
        there === 0
          ? 'the file is empty'
          : `the file header is cut short: ${there} of ${Pcap.FILE_LEN} bytes are there`,
    }
    return c
  }
  const le = [Pcap.MAGIC_MICRO, Pcap.MAGIC_NANO].includes(w.d.getUint32(w.start + Pcap.FILE_MAGIC, true))
  const magic = w.d.getUint32(w.start + Pcap.FILE_MAGIC, le)
  const major = w.d.getUint16(w.start + Pcap.FILE_MAJOR, le)
  const minor = w.d.getUint16(w.start + Pcap.FILE_MINOR, le)
  // 2.3 and older swapped the two lengths of a record; nobody writes them any more.
  if (major !== 2 || minor < 4) throw new CaptureError(`${w.path}: pcap version ${major}.${minor}; only 2.4 is read`)
  const link = w.d.getUint32(w.start + Pcap.FILE_LINKTYPE, le)
  checkLinkType(w.path, link & Pcap.LINKTYPE_MASK)
  w.start += Pcap.FILE_LEN
  w.at += Pcap.FILE_LEN
  return new PcapReader(w, le, magic === Pcap.MAGIC_NANO, link & Pcap.LINKTYPE_FCS ? (link >>> 28) * 2 : 0)
}
