// A capture: frames with their times, read from a file in batches.
//
// A reader is opened on a window, a piece of memory that the caller owns (inside the arena when the datapath
// is to read the frames where they lie), and fills it with one chunk of the file after the other: memory
// stays flat however large the file is. Each `next` describes the whole frames that lie in the window now, by
// offset, length and time, in arrays that are used again and again; no object is made for a frame.
//
// A capture that breaks off or makes no sense in the middle is *damaged*: what came before is good, `next`
// returns 0 from there on, and `damage` says what is wrong at which byte. A file that is no capture, or holds
// something else than Ethernet, is refused when it is opened. One thread owns a reader.
import { closeSync } from 'node:fs'
import { openPcap } from './pcap_reader.ts'
import { openPcapng } from './pcapng_reader.ts'
import type { Scanner } from './scanner.ts'
import { fill, openWindow, type Window } from './window.ts'

/** Where a file is broken: the offset of the first byte that cannot be used, and why, as a sentence. */
export interface Damage {
  readonly offset: number
  readonly what: string
}

/** Frames that lie in the window until the next call of `next`. Times are nanoseconds since `epoch`. */
export interface Frames {
  readonly offset: Int32Array
  readonly length: Int32Array
  readonly time: Float64Array
}

export interface Capture {
  readonly path: string
  readonly format: 'pcap' | 'pcapng'
  /** The capture's clock is finer than microseconds. Known after the first `next`. */
  readonly nanoseconds: boolean
  readonly frames: Frames
  /** The second since 1970 that times count from: the one of the first frame. Known after the first `next`. */
  readonly epoch: number
  readonly damage: Damage | null
  /** Frames described so far, and how many of those the capture holds only the beginning of. */
  readonly count: number
  readonly cut: number
  /** Bytes of the file behind the last frame that was described. */
  readonly position: number
  /** Describes the next frames: how many, 0 at the end or at the damage. */
  next(): number
  close(): void
}

export interface CaptureOptions {
  /** Memory to read into; 1 MiB of its own without. At least MIN_WINDOW bytes. */
  readonly window?: Uint8Array
  /** Finds the records of a classic capture in it; this thread does without. */
  readonly scanner?: Scanner
}

/** Bad input: the file is no capture, or not one that a switch can take. */
export class CaptureError extends Error {
  override readonly name = 'CaptureError'
}

/** Frames described by one `next` at most. */
export const BATCH = 1024
/** No frame is longer: libpcap's MAXIMUM_SNAPLEN. A longer one in a record header is damage. */
export const MAX_CAPLEN = 262144
/** The largest frame with its header, trailer and options must fit. */
export const MIN_WINDOW = 1 << 19
export const WINDOW = 1 << 20
export const LINKTYPE_ETHERNET = 1

export function makeFrames(): Frames {
  return { offset: new Int32Array(BATCH), length: new Int32Array(BATCH), time: new Float64Array(BATCH) }
}

// Link types that people meet, by the names of tcpdump.org/linktypes.html.
const LINKTYPES: Record<number, string> = {
  0: 'NULL (BSD loopback)',
  6: 'IEEE802_5 (Token Ring)',
  9: 'PPP',
  50: 'PPP_HDLC',
  101: 'RAW (IP without a link header)',
  105: 'IEEE802_11 (wireless)',
  108: 'LOOP (OpenBSD loopback)',
  113: 'LINUX_SLL (tcpdump -i any)',
  127: 'IEEE802_11_RADIOTAP (wireless)',
  149: 'a private one',
  189: 'USB_LINUX',
  220: 'USB_LINUX_MMAPPED',
  228: 'IPV4',
  229: 'IPV6',
  253: 'NETLINK',
  276: 'LINUX_SLL2 (tcpdump -i any)',
}

/** Refuses a link type that is not Ethernet, by name. */
export function checkLinkType(path: string, type: number): void {
  if (type === LINKTYPE_ETHERNET) return
  const name = LINKTYPES[type]
  throw new CaptureError(
    `${path}: link type ${type}${name ? `, ${name}` : ''}: only Ethernet (1) can go through a port`,
  )
}

/**
 * Opens a capture of either format, told by its first bytes. An empty or short file opens, and is damaged.
 * Throws CaptureError when the file is something else, and the file system's error when it cannot be read.
 */
export function openCapture(path: string, options: CaptureOptions = {}): Capture {
  const w = openWindow(path, options.window ?? new Uint8Array(WINDOW))
  try {
    if (fill(w, 4) < 4) return openPcap(w, options.scanner)
    const magic = w.d.getUint32(w.start, false)
    if (magic === 0x0a0d0d0a) return openPcapng(w)
    if (isClassic(w)) return openPcap(w, options.scanner)
    throw new CaptureError(`${path}: ${notACapture(magic)}`)
  } catch (e) {
    closeSync(w.fd)
    throw e
  }
}

function isClassic(w: Window): boolean {
  return [true, false].some((le) => [0xa1b2c3d4, 0xa1b23c4d].includes(w.d.getUint32(w.start, le)))
}

function notACapture(magic: number): string {
  if (magic >>> 16 === 0x1f8b) return 'compressed with gzip; uncompress it first'
  if (magic === 0x28b52ffd) return 'compressed with zstd; uncompress it first'
  if (magic === 0x34cdb2a1 || magic === 0xa1b2cd34) return "a capture in Kuznetzov's modified format, which is not read"
  return `not a capture: it begins with 0x${magic.toString(16).padStart(8, '0')}, neither pcap nor pcapng`
}
