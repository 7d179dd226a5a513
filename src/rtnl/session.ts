// One client of the rtnetlink server: its socket, port id, groups, and what it has not read yet.
//
//   bytes ─▶ FrameReader ─▶ frame ─▶ executor ─▶ answers ─▶ queue ─▶ socket
//                                          notifications of others ─▶ ┘
//
// Who answers is the executor's affair: it may be another thread, and take its time. Its answers come in order.
//
// A connection may be lent: then the executor reads it and answers by itself, which saves two ways between threads for each
// request, until there is something in it that needs this thread (daemon/lent.ts says what).
//
// Slow clients hurt only themselves. While more than BACKLOG bytes wait for a client, or more than AHEAD of its requests
// are not answered, its further requests wait in its socket, and of the answer that is being given it gets a piece when
// it has taken the one before. Notifications are not kept for it then; it hears of the loss (FRAME_OVERRUN), as a netlink
// socket hears ENOBUFS. A client that stops reading with a full backlog is closed by the server after a while. What is no
// frame ends the connection. Server's thread only.

import type { Socket } from 'node:net'
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
/** Datagrams, and bytes of them, that a client may be ahead of the answers. */
export const AHEAD = 256
export const AHEAD_BYTES = 512 * 1024
/** Bytes handed to the socket at a time. */
const WRITE = 64 * 1024

/** Who asks, as an executor sees it: a session, or a part of the daemon. */
export interface Asker {
  /** Unique among the askers. */
  readonly id: number
  /** Port id. */
  readonly port: number
  /** Takes a datagram of the answer to the oldest request. */
  answer(datagram: Uint8Array): void
  /** The oldest datagram is answered. */
  done(): void
  /** There is more of this answer, when `more` is called. */
  paused(): void
}

/** Who does the requests. */
export interface Executor {
  /** Does the requests of a datagram, behind those that were asked before. */
  ask(asker: Asker, datagram: Uint8Array): void
  /** The asker has taken what it was told before `paused`. */
  more(asker: Asker): void
  /** The asker is no more, and wants no answers. */
  gone(asker: Asker): void
  /**
   * May take the connection behind descriptor `fd` for itself, and serve it alone as long as what is asked allows that:
   * true, and until it says `returned` it is the executor that reads and answers.
   */
  lend?(guest: Guest, fd: number): boolean
  /** A connection that is lent is wanted back. */
  recall?(guest: Guest): void
}

/** A connection that may be lent, as the executor sees it. */
export interface Guest extends Asker {
  /** The client has said its port id. */
  named(port: number): void
  /** The client does not read: it comes back when it has, or is closed after a while. */
  stuck(): void
  /** It is back: every request before `unread` is answered. */
  returned(unread: Uint8Array): void
  close(why: string): void
}

export interface SessionEvents {
  /** The groups of a session have changed. */
  groupsChanged(): void
  closed(session: Session, why: string): void
}

export class Session implements Guest {
  /** Unique in the server, from 1. */
  readonly id: number
  readonly groups = new Set<number>()
  readonly #socket: Socket
  readonly #executor: Executor
  readonly #events: SessionEvents
  readonly #frames = new FrameReader()
  /** Frames from `#sent` on wait. */
  #queue: Uint8Array[] = []
  #sent = 0
  #backlog = 0
  #writing = false
  #overrun = false
  #port: number
  /** Lengths of the datagrams that are not answered, and their sum. */
  readonly #asked: number[] = []
  #askedBytes = 0
  #paused = false
  #pumping = false
  #draining = false
  /** Another thread reads and answers; and could not, because the client does not read. */
  #lent = false
  #stuck = false
  /** A frame that is about the session itself waits until what came before it is answered. */
  #waiting: { kind: number; payload: Uint8Array } | null = null
  #why = 'the client closed'
  /** Backlog at the last look, and how many looks it has not shrunk. */
  #progress = 0
  #seen = 0
  #stalled = 0

  /** `port` is the port id until the client says its own. */
  constructor(id: number, socket: Socket, port: number, executor: Executor, events: SessionEvents) {
    this.id = id
    this.#socket = socket
    this.#port = port
    this.#executor = executor
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
      executor.gone(this)
      events.closed(this, this.#why)
    })
    this.#lent = executor.lend?.(this, descriptorOf(socket)) ?? false
    if (!this.#lent) socket.resume()
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
    if (this.#backlog > BACKLOG) this.#overrun = true
    else this.#send(FRAME_NETLINK, message)
  }

  answer(datagram: Uint8Array): void {
    this.#send(FRAME_NETLINK, datagram)
  }

  done(): void {
    this.#askedBytes -= this.#asked.shift() ?? 0
    this.#pump()
  }

  paused(): void {
    this.#paused = true
    this.#goOn()
  }

  named(port: number): void {
    this.#port = port
  }

  stuck(): void {
    this.#stuck = true
  }

  returned(unread: Uint8Array): void {
    this.#lent = false
    this.#stuck = false
    if (unread.length > 0) this.#frames.push(unread)
    this.#pump()
  }

  /** Called at even intervals: the number of intervals for which a client with a full backlog has read nothing. */
  stalledFor(): number {
    this.#stalled = (this.#backlog > BACKLOG || this.#stuck) && this.#progress === this.#seen ? this.#stalled + 1 : 0
    this.#seen = this.#progress
    return this.#stalled
  }

  /** Takes no further requests; those that were taken are answered. */
  drain(): void {
    this.#draining = true
    this.#socket.pause()
    if (this.#lent) this.#executor.recall?.(this)
  }

  /** Something is not answered, or not taken by the client. */
  get busy(): boolean {
    return this.#asked.length > 0 || this.#backlog > 0 || this.#lent
  }

  /** Ends the connection now. */
  close(why: string): void {
    this.#why = why
    this.#socket.destroy()
  }

  #goOn(): void {
    if (!this.#paused || this.#backlog > BACKLOG || this.#socket.destroyed) return
    this.#paused = false
    this.#executor.more(this)
  }

  #mayAsk(): boolean {
    return !this.#draining && this.#backlog <= BACKLOG && this.#asked.length < AHEAD && this.#askedBytes < AHEAD_BYTES
  }

  #pump(): void {
    if (this.#pumping) return
    this.#pumping = true
    try {
      while (this.#mayAsk() && !this.#socket.destroyed) {
        const f = this.#waiting ?? this.#frames.next()
        if (f === null) break
        this.#waiting = f.kind === FRAME_NETLINK || this.#asked.length === 0 ? null : f
        if (this.#waiting !== null) break
        this.#take(f.kind, f.payload)
      }
    } catch (e) {
      if (!(e instanceof FrameError)) throw e
      this.close(e.message)
      return
    } finally {
      this.#pumping = false
    }
    if (!this.#mayAsk() || this.#waiting !== null) this.#socket.pause()
    else if (this.#socket.isPaused()) this.#socket.resume()
  }

  #take(kind: number, payload: Uint8Array): void {
    if (kind === FRAME_NETLINK) {
      this.#asked.push(payload.length)
      this.#askedBytes += payload.length
      this.#executor.ask(this, payload)
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
      this.#goOn()
      this.#pump()
    })
  }
}

/** The descriptor of a connection, -1 where the platform does not tell: Node has no public name for it. */
const descriptorOf = (socket: Socket): number =>
  (socket as unknown as { readonly _handle?: { readonly fd?: number } })._handle?.fd ?? -1
