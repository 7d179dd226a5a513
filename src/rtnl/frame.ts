// What goes over the daemon's rtnetlink socket: netlink datagrams, and a little around them, in frames.
//
// A netlink socket keeps the borders of datagrams and knows its owner's port id and groups; a Unix stream does neither.
// So a client (our own front end, or the library that `flowerbed shell` preloads, daemon/shell/netlink_door.c) sends
//
//   +------------------+------------------+-----------------
//   | u32 length       | u32 kind         | length bytes …        (little-endian, as the netlink messages themselves)
//   +------------------+------------------+-----------------
//
//   FRAME_NETLINK   both ways      a datagram: one or more netlink messages
//   FRAME_PORT      to the daemon  u32 port id of the socket (nl_pid), once before the first datagram, again after bind
//   FRAME_JOIN      to the daemon  u32 number of a multicast group (RTNLGRP_*): bind's groups, NETLINK_ADD_MEMBERSHIP
//   FRAME_LEAVE     to the daemon  u32 number of a group
//   FRAME_OVERRUN   to the client  empty: notifications were lost because it was slow (ENOBUFS)
//
// Both ends use these functions; no state is shared between threads.

/** Where the daemon listens and clients look unless told otherwise. */
export const DEFAULT_SOCKET = '/run/flowerbed/rtnetlink.sock'

export const FRAME_NETLINK = 0
export const FRAME_PORT = 1
export const FRAME_JOIN = 2
export const FRAME_LEAVE = 3
export const FRAME_OVERRUN = 4

export const FRAME_HEADER = 8
/** Largest datagram that either side takes; the kernel's bound is the socket buffer, about the same. */
export const FRAME_MAX = 256 * 1024

/** A frame around `payload`, as one new buffer. */
export function frame(kind: number, payload: Uint8Array): Uint8Array {
  const out = new Uint8Array(FRAME_HEADER + payload.length)
  const d = new DataView(out.buffer)
  d.setUint32(0, payload.length, true)
  d.setUint32(4, kind, true)
  out.set(payload, FRAME_HEADER)
  return out
}

/** A frame whose payload is one number. */
export function numberFrame(kind: number, value: number): Uint8Array {
  const payload = new Uint8Array(4)
  new DataView(payload.buffer).setUint32(0, value, true)
  return frame(kind, payload)
}

/** A peer that does not speak this protocol: nothing that follows can be understood. */
export class FrameError extends Error {
  override readonly name = 'FrameError'
}

/**
 * Cuts a stream into frames. Holds no more than the largest frame and one chunk, however the bytes trickle in, and
 * every byte is moved a bounded number of times.
 */
export class FrameReader {
  #buffer = new Uint8Array(4096)
  #from = 0
  #to = 0

  /** Bytes that wait. */
  get pending(): number {
    return this.#to - this.#from
  }

  push(chunk: Uint8Array): void {
    if (this.#to + chunk.length > this.#buffer.length) this.#makeRoom(chunk.length)
    this.#buffer.set(chunk, this.#to)
    this.#to += chunk.length
  }

  /** The next whole frame: its kind and a copy of its payload; null when more bytes are needed. Throws FrameError. */
  next(): { kind: number; payload: Uint8Array } | null {
    if (this.pending < FRAME_HEADER) return null
    const d = new DataView(this.#buffer.buffer, this.#from)
    const length = d.getUint32(0, true)
    if (length > FRAME_MAX) throw new FrameError(`a frame of ${length} bytes: at most ${FRAME_MAX} are taken`)
    if (this.pending < FRAME_HEADER + length) return null
    const kind = d.getUint32(4, true)
    const start = this.#from + FRAME_HEADER
    const payload = this.#buffer.slice(start, start + length)
    this.#from = start + length
    if (this.#from === this.#to) this.#from = this.#to = 0
    return { kind, payload }
  }

  #makeRoom(n: number): void {
    const waiting = this.pending
    let size = this.#buffer.length
    while (size < waiting + n) size *= 2
    const target = size === this.#buffer.length ? this.#buffer : new Uint8Array(size)
    target.set(this.#buffer.subarray(this.#from, this.#to))
    this.#buffer = target
    this.#from = 0
    this.#to = waiting
  }
}
