// Reads classic captures: micro- and nanosecond, either byte order.
//
// What cannot be: a captured length beyond MAX_CAPLEN, or a file that ends inside a record. Both are damage
// at the offset of the record. A frame check sequence that the file header announces is taken off.
import { closeSync } from 'node:fs'
import { type Capture, CaptureError, checkLinkType, type Damage, type Frames, MAX_CAPLEN } from './capture.ts'
import * as Pcap from './pcap_format.ts'
import { PlainScanner, type RecordFormat, type Scanner } from './scanner.ts'
import { fill, type Window } from './window.ts'

class PcapReader implements Capture {
  readonly format = 'pcap'
  readonly path: string
  readonly nanoseconds: boolean
  epoch = 0
  damage: Damage | null = null
  count = 0
  cut = 0
  readonly #w: Window
  readonly #format: RecordFormat
  readonly #scanner: Scanner

  constructor(w: Window, format: RecordFormat, scanner: Scanner) {
    this.#w = w
    this.path = w.path
    this.nanoseconds = format.unit === 1
    this.#format = format
    this.#scanner = scanner
  }

  get frames(): Frames {
    return this.#scanner.frames
  }

  get position(): number {
    return this.#w.at
  }

  next(): number {
    while (this.damage === null) {
      const n = this.#scan()
      if (n > 0) return n
      // The next frame is not whole in the window.
      if (!this.#more()) break
    }
    return 0
  }

  #scan(): number {
    const w = this.#w
    if (this.count === 0 && w.end - w.start >= Pcap.RECORD_LEN)
      this.epoch = w.d.getUint32(w.start + Pcap.RECORD_SECONDS, this.#format.le)
    const n = this.#scanner.scan(w.start, w.end, this.#format, this.epoch)
    const { end } = this.#scanner
    this.cut += this.#scanner.cut
    this.count += n
    w.at += end - w.start
    w.start = end
    return n
  }

  /** Makes the next record whole in the window. False: there is none, or it is damaged. */
  #more(): boolean {
    const w = this.#w
    let want = Pcap.RECORD_LEN
    let there = fill(w, want)
    if (there >= want) {
      want += w.d.getUint32(w.start + Pcap.RECORD_CAPLEN, this.#format.le)
      if (want > Pcap.RECORD_LEN + MAX_CAPLEN) {
        this.#broken(`says that it has ${want - Pcap.RECORD_LEN} bytes; no frame is longer than ${MAX_CAPLEN}`)
        return false
      }
      there = fill(w, want)
      if (there >= want) return true
    }
    if (there > 0) this.#broken(`is cut short: ${there} of ${want} bytes are there`, want)
    return false
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
export function openPcap(w: Window, scanner: Scanner = new PlainScanner(w.d)): Capture {
  const there = fill(w, Pcap.FILE_LEN)
  if (there < Pcap.FILE_LEN) {
    const c = new PcapReader(w, { le: true, unit: 1000, fcs: 0 }, scanner)
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
  const unit = magic === Pcap.MAGIC_NANO ? 1 : 1000
  return new PcapReader(w, { le, unit, fcs: link & Pcap.LINKTYPE_FCS ? (link >>> 28) * 2 : 0 }, scanner)
}
