// Netlink messages: struct nlmsghdr, struct nlattr, and the error reply with its extended ack (RFC 3549 section 2,
// include/uapi/linux/netlink.h). Everything is in host order, which is little-endian on every machine we run on;
// attributes that carry network-order values have methods of their own (attrBe16, attrBe32).
//
//    0               1               2               3
//   +---------------+---------------+---------------+---------------+
//   |                 nlmsg_len (header included)                   |
//   +---------------+---------------+---------------+---------------+
//   |          nlmsg_type           |          nlmsg_flags          |
//   +---------------+---------------+---------------+---------------+
//   |                           nlmsg_seq                           |
//   |                           nlmsg_pid                           |
//   +---------------+---------------+---------------+---------------+
//   | fixed header of the family (ifinfomsg, tcmsg, …), then struct nlattr { u16 nla_len, u16 nla_type, payload }*,
//   | each padded with zeros to 4 bytes
//
// A Builder is kept and reused: `begin`, fixed part, attributes, `end` (a copy of the finished message). It writes
// attributes exactly as libnetlink's addattr and the kernel's nla_put do. Readers call `parseAttrs` once per nest into
// a kept Int32Array: index = attribute type, value = byte offset of the payload, 0 = absent.
// Used from every control thread; holds no shared state.

import { EINVAL, NetlinkError } from './netlink_error.ts'

export const NLMSG_HDRLEN = 16
export const NLA_HDRLEN = 4

export const NLMSG_NOOP = 1
export const NLMSG_ERROR = 2
export const NLMSG_DONE = 3
export const NLMSG_OVERRUN = 4

export const NLM_F_REQUEST = 0x01
export const NLM_F_MULTI = 0x02
export const NLM_F_ACK = 0x04
export const NLM_F_ECHO = 0x08
export const NLM_F_DUMP_INTR = 0x10
export const NLM_F_DUMP_FILTERED = 0x20
/** GET requests */
export const NLM_F_ROOT = 0x100
export const NLM_F_MATCH = 0x200
export const NLM_F_ATOMIC = 0x400
export const NLM_F_DUMP = 0x300
/** NEW requests */
export const NLM_F_REPLACE = 0x100
export const NLM_F_EXCL = 0x200
export const NLM_F_CREATE = 0x400
export const NLM_F_APPEND = 0x800
/** DEL requests */
export const NLM_F_NONREC = 0x100
export const NLM_F_BULK = 0x200
/** ACK replies */
export const NLM_F_CAPPED = 0x100
export const NLM_F_ACK_TLVS = 0x200

export const NLA_F_NESTED = 0x8000
export const NLA_F_NET_BYTEORDER = 0x4000
export const NLA_TYPE_MASK = 0x3fff

export const NLMSGERR_ATTR_MSG = 1
export const NLMSGERR_ATTR_OFFS = 2
export const NLMSGERR_ATTR_COOKIE = 3
export const NLMSGERR_ATTR_POLICY = 4
export const NLMSGERR_ATTR_MISS_TYPE = 5
export const NLMSGERR_ATTR_MISS_NEST = 6

export const align4 = (n: number): number => (n + 3) & ~3

export const msgLen = (d: DataView, o = 0): number => d.getUint32(o, true)
export const msgType = (d: DataView, o = 0): number => d.getUint16(o + 4, true)
export const msgFlags = (d: DataView, o = 0): number => d.getUint16(o + 6, true)
export const msgSeq = (d: DataView, o = 0): number => d.getUint32(o + 8, true)
export const msgPid = (d: DataView, o = 0): number => d.getUint32(o + 12, true)
export const setMsgFlags = (d: DataView, o: number, v: number): void => d.setUint16(o + 6, v, true)
export const setMsgSeq = (d: DataView, o: number, v: number): void => d.setUint32(o + 8, v, true)
export const setMsgPid = (d: DataView, o: number, v: number): void => d.setUint32(o + 12, v, true)

let viewed: Uint8Array = new Uint8Array(0)
let view: DataView = new DataView(viewed.buffer)

/** A DataView over exactly the bytes of `b`. A message goes through many hands: the last one's is kept. */
export function viewOf(b: Uint8Array): DataView {
  if (b !== viewed) {
    view = new DataView(b.buffer, b.byteOffset, b.byteLength)
    viewed = b
  }
  return view
}

/** Payload length of the attribute whose payload begins at `payload`. */
export const attrLen = (d: DataView, payload: number): number => d.getUint16(payload - NLA_HDRLEN, true) - NLA_HDRLEN

/** Type of the attribute whose payload begins at `payload`, NLA_F_* bits included. */
export const attrRawType = (d: DataView, payload: number): number => d.getUint16(payload - NLA_HDRLEN + 2, true)

/**
 * Finds the attributes in [o, end). `into[type]` becomes the offset of the payload, 0 when absent; a later attribute of
 * the same type wins, types above `maxType` are passed over (the caller who must refuse them uses `forEachAttr`).
 * Throws EINVAL with the offset when an attribute is shorter than its header or longer than what is left.
 */
export function parseAttrs(d: DataView, o: number, end: number, into: Int32Array, maxType: number): void {
  for (let t = 0; t <= maxType; t++) into[t] = 0
  while (end - o >= NLA_HDRLEN) {
    const len = d.getUint16(o, true)
    if (len < NLA_HDRLEN || len > end - o) throw new NetlinkError(EINVAL, 'malformed attribute', o)
    const type = d.getUint16(o + 2, true) & NLA_TYPE_MASK
    if (type <= maxType) into[type] = o + NLA_HDRLEN
    o += align4(len)
  }
}

/** Offset of the payload of the last attribute of that type in [o, end), 0 without one. Throws as parseAttrs. */
export function lastAttr(d: DataView, o: number, end: number, type: number): number {
  let found = 0
  while (end - o >= NLA_HDRLEN) {
    const len = d.getUint16(o, true)
    if (len < NLA_HDRLEN || len > end - o) throw new NetlinkError(EINVAL, 'malformed attribute', o)
    if ((d.getUint16(o + 2, true) & NLA_TYPE_MASK) === type) found = o + NLA_HDRLEN
    o += align4(len)
  }
  return found
}

/** Calls `each(type without flags, payload offset, payload length)` for the attributes in [o, end), in order. Throws as parseAttrs. */
export function forEachAttr(
  d: DataView,
  o: number,
  end: number,
  each: (type: number, payload: number, len: number) => void,
): void {
  while (end - o >= NLA_HDRLEN) {
    const len = d.getUint16(o, true)
    if (len < NLA_HDRLEN || len > end - o) throw new NetlinkError(EINVAL, 'malformed attribute', o)
    each(d.getUint16(o + 2, true) & NLA_TYPE_MASK, o + NLA_HDRLEN, len - NLA_HDRLEN)
    o += align4(len)
  }
}

const decoder = new TextDecoder()
const encoder = new TextEncoder()
/** A string attribute without its closing NUL. */
export function attrString(d: DataView, payload: number): string {
  let n = attrLen(d, payload)
  for (let i = 0; i < n; i++) if (d.getUint8(payload + i) === 0) n = i
  return decoder.decode(new Uint8Array(d.buffer, d.byteOffset + payload, n).slice())
}

/** The payload as bytes; a view, not a copy. */
export const attrBytes = (d: DataView, payload: number): Uint8Array =>
  new Uint8Array(d.buffer, d.byteOffset + payload, attrLen(d, payload))

/** A 64-bit attribute or field as a number (exact up to 2^53). */
export const getU64 = (d: DataView, o: number): number =>
  d.getUint32(o + 4, true) * 0x1_0000_0000 + d.getUint32(o, true)

// Finished messages are cut from slabs: an ArrayBuffer of its own for each costs more than the rest of the message.
const SLAB_SIZE = 32768
let slab = new ArrayBuffer(SLAB_SIZE)
let slabAt = 0

function take(n: number): Uint8Array {
  if (n > SLAB_SIZE / 8) return new Uint8Array(n)
  if (slabAt + n > SLAB_SIZE) {
    slab = new ArrayBuffer(SLAB_SIZE)
    slabAt = 0
  }
  const o = slabAt
  slabAt += align4(n)
  return new Uint8Array(slab, o, n)
}

/** Writes messages. One message at a time: begin … end. */
export class Builder {
  /** The buffer; may be replaced by a larger one whenever something is added. */
  u8s: Uint8Array
  d: DataView
  /** Where the next byte goes. */
  at = 0

  constructor(capacity = 4096) {
    this.u8s = new Uint8Array(capacity)
    this.d = new DataView(this.u8s.buffer)
  }

  reset(): void {
    this.at = 0
  }

  /** Makes room for `n` more bytes and gives back where they start. */
  room(n: number): number {
    const o = this.at
    if (o + n > this.u8s.length) this.grow(o + n)
    this.at = o + n
    return o
  }

  private grow(need: number): void {
    const larger = new Uint8Array(Math.max(need, this.u8s.length * 2))
    larger.set(this.u8s.subarray(0, this.at))
    this.u8s = larger
    this.d = new DataView(larger.buffer)
  }

  /** Starts a message at the beginning of the buffer. */
  begin(type: number, flags: number, seq = 0, pid = 0): void {
    this.at = 0
    this.room(NLMSG_HDRLEN)
    const d = this.d
    d.setUint16(4, type, true)
    d.setUint16(6, flags, true)
    d.setUint32(8, seq, true)
    d.setUint32(12, pid, true)
  }

  /**
   * Closes the message: sets nlmsg_len and gives back a copy of it. Copies share buffers: who posts one to another
   * thread posts `slice()`, or the whole slab travels.
   */
  end(): Uint8Array {
    const n = this.at
    this.d.setUint32(0, n, true)
    const copy = take(n)
    const u8s = this.u8s
    for (let i = 0; i < n; i++) copy[i] = u8s[i]
    return copy
  }

  u8(v: number): void {
    const o = this.room(1)
    this.u8s[o] = v
  }

  u16(v: number): void {
    const o = this.room(2)
    this.d.setUint16(o, v, true)
  }

  u32(v: number): void {
    const o = this.room(4)
    this.d.setUint32(o, v, true)
  }

  u64(v: number): void {
    const o = this.room(8)
    this.d.setUint32(o, v >>> 0, true)
    this.d.setUint32(o + 4, Math.floor(v / 0x1_0000_0000), true)
  }

  be16(v: number): void {
    const o = this.room(2)
    this.d.setUint16(o, v)
  }

  be32(v: number): void {
    const o = this.room(4)
    this.d.setUint32(o, v)
  }

  bytes(b: Uint8Array): void {
    const o = this.room(b.length)
    this.u8s.set(b, o)
  }

  /** `n` zero bytes. */
  pad(n: number): void {
    const o = this.room(n)
    this.u8s.fill(0, o, o + n)
  }

  /** Header and room of an attribute with `len` bytes of payload, padding zeroed; gives back the payload's offset. */
  attrRoom(type: number, len: number): number {
    const o = this.room(NLA_HDRLEN + align4(len))
    const d = this.d
    d.setUint16(o, NLA_HDRLEN + len, true)
    d.setUint16(o + 2, type, true)
    if (len & 3) d.setUint32(o + NLA_HDRLEN + (len & ~3), 0, true)
    return o + NLA_HDRLEN
  }

  attr(type: number, b: Uint8Array): void {
    const o = this.attrRoom(type, b.length)
    this.u8s.set(b, o)
  }

  /** An attribute whose payload is `len` bytes of `b` from `from`. */
  attrSlice(type: number, b: Uint8Array, from: number, len: number): void {
    const o = this.attrRoom(type, len)
    const u8s = this.u8s
    for (let i = 0; i < len; i++) u8s[o + i] = b[from + i]
  }

  attrU8(type: number, v: number): void {
    const o = this.attrRoom(type, 1)
    this.u8s[o] = v
  }

  attrU16(type: number, v: number): void {
    const o = this.attrRoom(type, 2)
    this.d.setUint16(o, v, true)
  }

  attrU32(type: number, v: number): void {
    const o = this.attrRoom(type, 4)
    this.d.setUint32(o, v, true)
  }

  attrU64(type: number, v: number): void {
    const o = this.attrRoom(type, 8)
    this.d.setUint32(o, v >>> 0, true)
    this.d.setUint32(o + 4, Math.floor(v / 0x1_0000_0000), true)
  }

  attrBe16(type: number, v: number): void {
    const o = this.attrRoom(type, 2)
    this.d.setUint16(o, v)
  }

  attrBe32(type: number, v: number): void {
    const o = this.attrRoom(type, 4)
    this.d.setUint32(o, v)
  }

  /** A string with its closing NUL. */
  attrStr(type: number, s: string): void {
    this.chars(type, s, 1)
  }

  /** A string without a NUL, as `ip` writes IFLA_INFO_KIND. */
  attrChars(type: number, s: string): void {
    this.chars(type, s, 0)
  }

  private chars(type: number, s: string, zeros: number): void {
    const n = s.length
    const mark = this.at
    const o = this.attrRoom(type, n + zeros)
    const u8s = this.u8s
    for (let i = 0; i < n; i++) {
      const c = s.charCodeAt(i)
      if (c > 0x7f) {
        this.at = mark
        this.attr(type, encoder.encode(zeros ? `${s}\0` : s))
        return
      }
      u8s[o + i] = c
    }
    if (zeros) u8s[o + n] = 0
  }

  attrFlag(type: number): void {
    this.attrRoom(type, 0)
  }

  /** Opens a nest; NLA_F_NESTED only when the caller passes it, as iproute2 and the kernel differ here by attribute. */
  nest(type: number): number {
    return this.attrRoom(type, 0) - NLA_HDRLEN
  }

  nestEnd(mark: number): void {
    this.d.setUint16(mark, this.at - mark, true)
  }

  /** Takes back everything from `mark` on, as nla_nest_cancel. */
  nestCancel(mark: number): void {
    this.at = mark
  }
}

const out = new Builder(1024)

function errorReply(request: Uint8Array, flags: number, pid: number, error: number): void {
  const d = viewOf(request)
  out.begin(NLMSG_ERROR, flags, msgSeq(d), pid)
  out.u32(-error >>> 0)
  // The ack quotes only the header, an error the whole request: libnetlink finds the extack attributes by that.
  if (error === 0) for (let i = 0; i < NLMSG_HDRLEN; i += 4) out.u32(d.getUint32(i, true))
  else out.bytes(request)
  if (error !== 0) out.pad(align4(request.length) - request.length)
}

/** The positive answer to `request` (errno 0). `warning` is what extack says although the request was done. */
export function buildAck(request: Uint8Array, pid = msgPid(viewOf(request)), warning = ''): Uint8Array {
  errorReply(request, warning ? NLM_F_CAPPED | NLM_F_ACK_TLVS : NLM_F_CAPPED, pid, 0)
  if (warning) out.attrStr(NLMSGERR_ATTR_MSG, warning)
  return out.end()
}

/** The refusal of `request`: errno (positive), and message and offset as extended ack attributes when there are such. */
export function buildError(
  request: Uint8Array,
  errno: number,
  message = '',
  offset?: number,
  pid = msgPid(viewOf(request)),
): Uint8Array {
  errorReply(request, message || offset !== undefined ? NLM_F_ACK_TLVS : 0, pid, errno)
  if (message) out.attrStr(NLMSGERR_ATTR_MSG, message)
  if (offset !== undefined) out.attrU32(NLMSGERR_ATTR_OFFS, offset)
  return out.end()
}

/** NLMSG_DONE, the end of a dump: carries a 32-bit zero. */
export function buildDone(seq: number, pid: number): Uint8Array {
  out.begin(NLMSG_DONE, NLM_F_MULTI, seq, pid)
  out.u32(0)
  return out.end()
}

export interface ErrorReply {
  /** Positive errno, 0 for an ack. */
  readonly errno: number
  readonly message: string
  readonly offset: number | undefined
}

const tlvs = new Int32Array(NLMSGERR_ATTR_MISS_NEST + 1)
/** What an NLMSG_ERROR message says. */
export function parseError(reply: Uint8Array): ErrorReply {
  const d = viewOf(reply)
  const errno = 0 - d.getInt32(NLMSG_HDRLEN, true)
  if (!(msgFlags(d) & NLM_F_ACK_TLVS)) return { errno, message: '', offset: undefined }
  const quoted = msgFlags(d) & NLM_F_CAPPED ? NLMSG_HDRLEN : align4(msgLen(d, NLMSG_HDRLEN + 4))
  parseAttrs(d, NLMSG_HDRLEN + 4 + quoted, msgLen(d), tlvs, NLMSGERR_ATTR_MISS_NEST)
  const message = tlvs[NLMSGERR_ATTR_MSG] ? attrString(d, tlvs[NLMSGERR_ATTR_MSG]) : ''
  const offset = tlvs[NLMSGERR_ATTR_OFFS] ? d.getUint32(tlvs[NLMSGERR_ATTR_OFFS], true) : undefined
  return { errno, message, offset }
}
