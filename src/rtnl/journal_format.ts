// The journal's file: rtnetlink messages in a capture that Wireshark and tshark open (link type NETLINK, 253).
//
//   file header of pcap, nanoseconds │ record │ record │ …
//
//   record:  pcap record header   seconds u32 | nanoseconds u32 | captured length u32 | original length u32
//            cooked header        packet type be16 = 7 (to the kernel) | ARPHRD_NETLINK be16 = 824 |
//                                 crc32 be32 | number be32 | 0 be16 | family be16 = 0 (NETLINK_ROUTE)
//            the message          struct nlmsghdr …
//
// The ten bytes between the two types are an address that netlink has not; readers of captures pass over them, and here
// they hold what a journal needs: the record's number, from 0 in each file, and a checksum of everything else in the
// record. So a file says by itself whether it is whole:
//
//   the last record is not all there, or nothing sound follows it     torn: what a kill or a power cut leaves behind
//   a record is wrong and a sound one follows                        damaged: something else wrote there
//
// The first part of a file, up to the NLMSG_DONE, is a snapshot: messages that make the table anew, written aside as a
// whole. What follows, the tail, is requests as they were done. Pure functions; times are the caller's.

import { closeSync, openSync, readSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import { Builder, msgLen, msgType, NLMSG_DONE, NLMSG_HDRLEN, viewOf } from '../wire/netlink.ts'
import { FRAME_MAX } from './frame.ts'

const MAGIC = 0xa1b23c4d
export const LINKTYPE_NETLINK = 253
export const HEADER_LEN = 24
const RECORD_LEN = 16
const COOKED_LEN = 16
/** Bytes of a record before its message. */
export const BEFORE = RECORD_LEN + COOKED_LEN
const PACKET_KERNEL = 7
const ARPHRD_NETLINK = 824
/** How a cooked header of ours begins. */
const COOKED = Buffer.from([0, PACKET_KERNEL, ARPHRD_NETLINK >> 8, ARPHRD_NETLINK & 0xff])

/** A journal that cannot be used; the message names file, offset and reason. */
export class JournalError extends Error {
  override readonly name = 'JournalError'
  readonly offset: number

  constructor(path: string, offset: number, what: string) {
    super(`${path}: damaged at byte ${offset}: ${what}`)
    this.offset = offset
  }
}

/** The header of a new file. */
export function fileHeader(): Uint8Array {
  const d = new DataView(new ArrayBuffer(HEADER_LEN))
  d.setUint32(0, MAGIC, true)
  d.setUint16(4, 2, true)
  d.setUint16(6, 4, true)
  d.setUint32(16, FRAME_MAX + COOKED_LEN, true)
  d.setUint32(20, LINKTYPE_NETLINK, true)
  return new Uint8Array(d.buffer)
}

/** A record around a message. `ms`: milliseconds since 1970. */
export function record(message: Uint8Array, number: number, ms: number): Uint8Array {
  const out = new Uint8Array(BEFORE + message.length)
  const d = new DataView(out.buffer)
  const seconds = Math.floor(ms / 1000)
  d.setUint32(0, seconds, true)
  d.setUint32(4, Math.floor((ms - seconds * 1000) * 1e6), true)
  d.setUint32(8, COOKED_LEN + message.length, true)
  d.setUint32(12, COOKED_LEN + message.length, true)
  out.set(COOKED, 16)
  d.setUint32(24, number)
  out.set(message, BEFORE)
  d.setUint32(20, checksum(out))
  return out
}

/** The message that ends the snapshot. */
export function snapshotEnd(): Uint8Array {
  const b = new Builder(64)
  b.begin(NLMSG_DONE, 0)
  return b.end()
}

/** CRC-32 of a record without the bytes of the checksum. */
const checksum = (r: Uint8Array): number => crc32(r.subarray(24), crc32(r.subarray(0, 20)))

/** Length of the sound record at `o`, 0 when more bytes are needed, -1 when there is none. */
function soundAt(b: Buffer, o: number, end: number, number: number): number {
  if (end - o < BEFORE) return 0
  const length = b.readUInt32LE(o + 8)
  if (length < COOKED_LEN + NLMSG_HDRLEN || length > COOKED_LEN + FRAME_MAX) return -1
  if (b.readUInt32LE(o + 12) !== length || b.compare(COOKED, 0, 4, o + 16, o + 20) !== 0) return -1
  if (end - o < RECORD_LEN + length) return 0
  const r = b.subarray(o, o + RECORD_LEN + length)
  if (r.readUInt32BE(20) !== checksum(r)) return -1
  if (number >= 0 && r.readUInt32BE(24) !== number) return -1
  return RECORD_LEN + length
}

export type Part = 'snapshot' | 'tail'

export interface JournalEnd {
  /** Bytes that are sound: where the next record goes. */
  readonly size: number
  /** Bytes behind that, of a record that was being written. */
  readonly torn: number
  /** Number of the next record. */
  readonly records: number
  /** Bytes of the snapshot. */
  readonly snapshot: number
}

const CHUNK = 1 << 20

/**
 * Reads a journal from its beginning, a piece at a time. `each` gets every message (a copy of its own), where its record
 * begins, in which part, and its time. Throws JournalError for a damaged file, the system's error when it cannot be read.
 */
export function readJournal(
  path: string,
  each: (message: Uint8Array, offset: number, part: Part, ms: number) => void,
): JournalEnd {
  const fd = openSync(path, 'r')
  try {
    return readFrom(fd, path, each)
  } finally {
    closeSync(fd)
  }
}

function readFrom(fd: number, path: string, each: Parameters<typeof readJournal>[1]): JournalEnd {
  // Room for the largest record and a chunk more.
  const b = Buffer.allocUnsafe(CHUNK + BEFORE + FRAME_MAX)
  let base = 0 // file offset of b[0]
  let end = 0
  let eof = false
  const fill = (o: number): number => {
    b.copy(b, 0, o, end)
    base += o
    end -= o
    const n = readSync(fd, b, end, b.length - end, base + end)
    if (n === 0) eof = true
    end += n
    return 0
  }
  fill(0)
  if (end < HEADER_LEN) throw new JournalError(path, 0, 'shorter than the header of a capture')
  if (b.readUInt32LE(0) !== MAGIC) throw new JournalError(path, 0, 'not a capture with nanoseconds, as a journal is')
  if (b.readUInt32LE(20) !== LINKTYPE_NETLINK) throw new JournalError(path, 20, `link type ${b.readUInt32LE(20)}`)
  let o = HEADER_LEN
  let number = 0
  let snapshot = 0
  for (;;) {
    let n = soundAt(b, o, end, number)
    while (n === 0 && !eof) {
      o = fill(o)
      n = soundAt(b, o, end, number)
    }
    if (n <= 0) break
    const message = Uint8Array.from(b.subarray(o + BEFORE, o + n))
    if (msgLen(viewOf(message)) !== message.length)
      throw new JournalError(path, base + o, 'a netlink message whose length is not its own')
    if (snapshot === 0 && msgType(viewOf(message)) === NLMSG_DONE) snapshot = base + o + n
    else {
      const ms = b.readUInt32LE(o) * 1000 + b.readUInt32LE(o + 4) / 1e6
      each(message, base + o, snapshot === 0 ? 'snapshot' : 'tail', ms)
    }
    number++
    o += n
  }
  const size = base + o
  // From here nothing is sound: is there anything behind it that is?
  let rest = 0
  for (;;) {
    for (let at = b.indexOf(COOKED, o); at >= 0 && at < end; at = b.indexOf(COOKED, at + 1)) {
      if (at - RECORD_LEN < o || base + at - RECORD_LEN === size) continue
      let from = at - RECORD_LEN
      if (soundAt(b, from, end, -1) === 0 && !eof) {
        at -= from
        o = from = fill(from)
      }
      if (soundAt(b, from, end, -1) > 0)
        throw new JournalError(path, size, `the record is not sound, and one that is follows at byte ${base + from}`)
    }
    rest = base + end - size
    if (eof) break
    // A cooked header may lie across the border.
    o = Math.max(o, end - BEFORE)
    o = fill(o)
  }
  if (snapshot === 0) throw new JournalError(path, size, 'the snapshot has no end')
  return { size, torn: rest, records: number, snapshot }
}
