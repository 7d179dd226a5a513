// Connections that a control worker serves by itself: main has accepted them, and is not in the way of each request.
//
//   client ──▶ lent connection ──▶ control worker: reads, does, answers        as long as every request is an ordinary one
//                                        │
//                                        └── BACK ──▶ main's session, for good: what was read and not done goes with it
//
// Ordinary is what this worker can do and answer at once. Main does what needs more: dumps of more than devices (a client may
// take its time over them), changes that are the switch thread's, membership of groups, everything while somebody is in a
// group (he hears of a change before its author has the answer) or while a journal is written (an answer waits for the
// disk), frames that come in parts, and what is no frame. A client that does not take its answers is reported, and comes
// back when it has.
//
// The answers to what one read has brought leave together. What the worker has in hand then is written down in words that
// main can read, so that when the thread dies nothing is lost: what was begun is answered with EIO, the rest is done by main.
//
//   hand   ADOPTED | DONE | GUEST | AT | END | bytes of the read …
//
// The descriptor is a copy, made by main, of the session's: main notices by itself when the client goes.

import { Socket, type SocketConstructorOpts } from 'node:net'
import { asksDump, pack, type Requester, receive, requestTypes } from '../rtnl/datagram.ts'
import { FRAME_HEADER, FRAME_NETLINK, FRAME_PORT, frame } from '../rtnl/frame.ts'
import { changesNet } from '../switch/control.ts'
import { load, store } from '../sync/atomic.ts'
import { viewOf } from '../wire/netlink.ts'
import { isAnyListening } from './listening.ts'
import * as P from './post.ts'

/** Bytes that are read at a time; a frame that is longer is main's. */
const ROOM = 16 * 1024

const ADOPTED = 0
const DONE = 1
const GUEST = 2
const AT = 3
const END = 4
const WORDS = 8

/** For one thread. */
export const newHand = (): Int32Array => new Int32Array(new SharedArrayBuffer(WORDS * 4 + ROOM))

const bytesOf = (hand: Int32Array): Uint8Array => new Uint8Array(hand.buffer, WORDS * 4)

/** What main reads of the hand. */
export interface InHand {
  /** The number of the last connection that the thread has made its own. */
  readonly adopted: number
  /** Datagrams that it has answered. */
  readonly done: number
  /** The session that it was serving, 0 none; frames that were begun, and those behind them. */
  readonly guest: number
  readonly begun: Uint8Array
  readonly unread: Uint8Array
}

/** Main: what a thread has, or had, in hand. */
export function readHand(hand: Int32Array): InHand {
  const at = load(hand, AT)
  const bytes = bytesOf(hand).slice(0, load(hand, END))
  const next = at + FRAME_HEADER + (bytes.length > at ? viewOf(bytes).getUint32(at, true) : 0)
  return {
    adopted: load(hand, ADOPTED),
    done: load(hand, DONE),
    guest: load(hand, GUEST),
    begun: bytes.subarray(0, next),
    unread: bytes.slice(next),
  }
}

/** Main: how many datagrams a thread has answered by itself. */
export const handDone = (hand: Int32Array): number => load(hand, DONE) >>> 0

interface Guest {
  readonly id: number
  readonly socket: Socket
  port: number
  /** The client has not taken all of its answers: what it sent meanwhile waits here. */
  unread: Uint8Array | null
}

const NOTHING = new Uint8Array(0)

export interface LentOptions {
  readonly requester: Requester
  readonly hand: Int32Array
  readonly listening: Int32Array
  readonly post: P.Post
  /** Posts what has come together. */
  flush(): void
  /** Behind the requests of a read. */
  after(): void
}

/** The worker's side. Its thread only. */
export class Lent {
  readonly #o: LentOptions
  readonly #guests = new Map<number, Guest>()
  readonly #room = new Uint8Array(ROOM)
  readonly #view = viewOf(this.#room)
  readonly #bytes: Uint8Array
  #answers: Uint8Array[] = []

  constructor(o: LentOptions) {
    this.#o = o
    this.#bytes = bytesOf(o.hand)
  }

  /** Takes a session's connection. */
  lend(id: number, number: number, port: number, fd: number): void {
    const options: SocketConstructorOpts & { onread: object } = {
      fd,
      allowHalfOpen: true,
      onread: { buffer: this.#room, callback: (n: number) => this.#read(guest, n) },
    }
    const guest: Guest = { id, socket: new Socket(options), port, unread: null }
    this.#guests.set(id, guest)
    store(this.#o.hand, ADOPTED, number)
    // Main will see for itself what became of the client.
    const over = (): void => this.#back(guest, guest.unread ?? NOTHING)
    guest.socket.on('end', over)
    guest.socket.on('error', over)
    guest.socket.on('drain', over)
  }

  /** Main wants it back. */
  recall(id: number): void {
    const guest = this.#guests.get(id)
    if (guest !== undefined && guest.unread === null) this.#back(guest, NOTHING)
  }

  /** The session is no more. */
  gone(id: number): boolean {
    const guest = this.#guests.get(id)
    if (guest === undefined) return false
    this.#guests.delete(id)
    guest.socket.destroy()
    return true
  }

  /** Does what a read has brought; false when no more is to be read. */
  #read(guest: Guest, n: number): boolean {
    const { hand, post, flush, after } = this.#o
    this.#bytes.set(n === ROOM ? this.#room : this.#room.subarray(0, n))
    store(hand, AT, 0)
    store(hand, END, n)
    store(hand, GUEST, guest.id)
    let at = 0
    for (let next = this.#one(guest, at, n); next > at; next = this.#one(guest, at, n)) at = next
    store(hand, GUEST, 0)
    const left = at < n ? this.#room.slice(at, n) : NOTHING
    const taken = this.#write(guest)
    if (!taken) {
      guest.unread = left
      post.add(P.STUCK, guest.id)
    } else if (left.length > 0) this.#back(guest, left)
    flush()
    after()
    return taken && left.length === 0
  }

  /** Does the frame at `at` of the room; where the next one is, or `at`: it is main's. */
  #one(guest: Guest, at: number, end: number): number {
    if (end - at < FRAME_HEADER) return at
    const next = at + FRAME_HEADER + this.#view.getUint32(at, true)
    if (next > end) return at
    const kind = this.#view.getUint32(at + 4, true)
    const payload = this.#room.subarray(at + FRAME_HEADER, next)
    if (kind === FRAME_PORT && payload.length === 4) {
      guest.port = this.#view.getUint32(at + FRAME_HEADER, true)
      this.#o.post.add(P.NAMED, guest.id, 0, guest.port)
      return next
    }
    if (kind !== FRAME_NETLINK || !this.#isOrdinary(payload)) return at
    store(this.#o.hand, AT, at)
    for (const m of pack(receive(this.#o.requester, payload, guest.port))) this.#answers.push(frame(FRAME_NETLINK, m))
    store(this.#o.hand, DONE, load(this.#o.hand, DONE) + 1)
    return next
  }

  #isOrdinary(datagram: Uint8Array): boolean {
    return !isAnyListening(this.#o.listening) && !asksDump(datagram) && !requestTypes(datagram).some(changesNet)
  }

  /** Sends the answers; false when the client has not taken them all. */
  #write(guest: Guest): boolean {
    const answers = this.#answers
    if (answers.length === 0) return true
    this.#answers = []
    guest.socket.write(answers.length === 1 ? answers[0] : Buffer.concat(answers))
    return guest.socket.writableLength === 0
  }

  #back(guest: Guest, unread: Uint8Array): void {
    if (!this.#guests.delete(guest.id)) return
    guest.socket.destroy()
    this.#o.post.add(P.BACK, guest.id, 0, 0, unread)
    this.#o.flush()
  }
}
