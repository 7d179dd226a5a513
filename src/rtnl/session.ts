// One client of the rtnetlink server: its socket, port id, groups, and what it has not read yet.
//
//   bytes ─▶ FrameReader ─▶ frame ─▶ receive (datagram.ts) ─▶ answers ─▶ queue ─▶ socket
//                                                  notifications of others ─▶ ┘
//
// Slow clients hurt only themselves. While more than BACKLOG bytes wait for a client, its requests wait too: it has at most
// the answer to one request more than that outstanding. Notifications are not kept for it then; it hears of the
// loss (FRAME_OVERRUN), as a netlink socket hears ENOBUFS. A client that stops reading with a full backlog is closed by
// the server after a while. What is no frame ends the connection. Server's thread only.

import type { Socket } from 'node:net'
import { isEchoTo, pack, type Requester, receive } from './datagram.ts'
import {
  FRAME_JOIN,
  FRAME_LEAVE,
  FRAME_NETLINK,
  FRAME_OVERRUN,
  FRAME_PORT,
  FrameError,
  FrameReader,
  frame,
} from './frame.ts'
import { RTNLGRP_MAX } from './groups.ts'

/** Bytes of answers and notifications that may wait for one client. */
export const BACKLOG = 1024 * 1024
/** Bytes handed to the socket at a time. */
const WRITE = 64 * 1024

export interface SessionEvents extends Requester {
  /** The groups of a session have changed. */
  groupsChanged(): void
  closed(session: Session, why: string): void
}

export class Session {
  readonly groups = new Set<number>()
  readonly #socket: Socket
  readonly #events: SessionEvents
  readonly #frames = new FrameReader()
  /** Frames from `#sent` on wait. */
  #queue: Uint8Array[] = []
  #sent = 0
  #backlog = 0
  #writing = false
  #overrun = false
  #port: number
  #doing: Uint8Array | null = null
  #why = 'the client closed'
  /** Backlog at the last look, and how many looks it has not shrunk. */
  #progress = 0
  #seen = 0
  #stalled = 0

  /** `port` is the port id until the client says its own. */
  constructor(socket: Socket, port: number, events: SessionEvents) {
    this.#socket = socket
    this.#port = port
    this.#events = events
    socket.on('data', (chunk) => {
      this.#frames.push(chunk)
      this.#pump()
    })
    // A client may go at any time, in the middle of an answer: that is no error of ours.
    socket.on('error', (e) => {
      this.#why = e.message
    })
    socket.on('close', () => {
      this.#queue = []
      events.closed(this, this.#why)
    })
  }

  get port(): number {
    return this.#port
  }

  /** Bytes that the client has not taken. */
  get backlog(): number {
    return this.#backlog
  }

  /** Tells a notification of a group that the session is in. */
  tell(message: Uint8Array): void {
    if (isEchoTo(message, this.#port, this.#doing)) return
    if (this.#backlog > BACKLOG) this.#overrun = true
    else this.#send(FRAME_NETLINK, message)
  }

  /** Called at even intervals: the number of intervals for which a client with a full backlog has read nothing. */
  stalledFor(): number {
    this.#stalled = this.#backlog > BACKLOG && this.#progress === this.#seen ? this.#stalled + 1 : 0
    this.#seen = this.#progress
    return this.#stalled
  }

  /** Ends the connection now. */
  close(why: string): void {
    this.#why = why
    this.#socket.destroy()
  }

  #pump(): void {
    try {
      while (this.#backlog <= BACKLOG && !this.#socket.destroyed) {
        const f = this.#frames.next()
        if (f === null) break
        this.#take(f.kind, f.payload)
      }
    } catch (e) {
      if (!(e instanceof FrameError)) throw e
      this.close(e.message)
      return
    }
    if (this.#backlog > BACKLOG) this.#socket.pause()
    else if (this.#socket.isPaused()) this.#socket.resume()
  }

  #take(kind: number, payload: Uint8Array): void {
    if (kind === FRAME_NETLINK) {
      const events = this.#events
      const requester: Requester = {
        request: (message) => {
          this.#doing = message
          try {
            return events.request(message)
          } finally {
            this.#doing = null
          }
        },
      }
      receive(requester, payload, this.#port, (messages) => {
        for (const datagram of pack(messages)) this.#send(FRAME_NETLINK, datagram)
      })
      return
    }
    if (payload.length !== 4) throw new FrameError(`a frame of kind ${kind} with ${payload.length} bytes`)
    const value = new DataView(payload.buffer, payload.byteOffset).getUint32(0, true)
    if (kind === FRAME_PORT) this.#port = value
    else if (kind === FRAME_JOIN || kind === FRAME_LEAVE) {
      if (value < 1 || value > RTNLGRP_MAX) return
      if (kind === FRAME_JOIN) this.groups.add(value)
      else this.groups.delete(value)
      this.#events.groupsChanged()
    } else throw new FrameError(`a frame of kind ${kind}`)
  }

  #send(kind: number, payload: Uint8Array): void {
    const f = frame(kind, payload)
    this.#queue.push(f)
    this.#backlog += f.length
    this.#flush()
  }

  #flush(): void {
    if (this.#writing || this.#socket.destroyed || this.#sent === this.#queue.length) return
    const first = this.#sent
    let size = 0
    while (this.#sent < this.#queue.length && size < WRITE) size += this.#queue[this.#sent++].length
    const chunk = Buffer.concat(this.#queue.slice(first, this.#sent), size)
    if (this.#sent === this.#queue.length) {
      this.#queue = []
      this.#sent = 0
    }
    this.#writing = true
    this.#socket.write(chunk, () => {
      this.#writing = false
      this.#backlog -= size
      this.#progress++
      if (this.#overrun && this.#backlog <= BACKLOG) {
        this.#overrun = false
        this.#send(FRAME_OVERRUN, new Uint8Array(0))
      }
      this.#flush()
      this.#pump()
    })
  }
}
