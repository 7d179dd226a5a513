// Main's side of the threads that do requests: who gets which datagram, and what becomes of it when its thread dies.
//
//   session ──ask──▶ seat ──post──▶ thread ──post──▶ main ──▶ session: answers, done
//                                                     └────▶ groups: notifications
//
// Connections are lent to control workers as long as they ask for ordinary things only (lent.ts); what follows is how the
// others, and all of a daemon with a journal, are served.
//
// A seat is a place for a thread. The switch thread has one for good; control workers sit on the others, and when one
// dies another takes its seat. A session's datagrams go to one seat as long as any of them is not answered, so they are
// done in their order; else to the seat that has least to do. One that only the switch thread may do waits until those
// before it are answered. What a turn of the event loop brings for a thread is posted together, behind it.
//
// Death of a control worker: its locks are freed (memory/threads.ts), a waiting event worker looks again, and its
// datagrams are sorted by the number that it had begun last. What it had not begun is given to others. What it had is
// answered with EIO, because nobody can tell how far it got.

import { encapRecover, wakeEventLoop } from '../encap/encap.ts'
import { flowRecover } from '../flow/recover.ts'
import type { Arena } from '../memory/arena.ts'
import { recoverDead } from '../memory/threads.ts'
import { receive, requestTypes } from '../rtnl/datagram.ts'
import { FRAME_PORT, FrameReader } from '../rtnl/frame.ts'
import type { Asker, Executor, Guest } from '../rtnl/session.ts'
import { changesNet } from '../switch/control.ts'
import { load } from '../sync/atomic.ts'
import { spawn, type Thread } from '../sync/thread.ts'
import { close, duplicate } from '../sys/libc.ts'
import { buildError, viewOf } from '../wire/netlink.ts'
import { EIO } from '../wire/netlink_error.ts'
import type { JournalData } from './journalled.ts'
import { handDone, newHand, readHand } from './lent.ts'
import { isAnyListening } from './listening.ts'
import type { Log } from './log.ts'
import * as P from './post.ts'
import {
  type CommonData,
  type ControlThreadData,
  END,
  type Said,
  type TableAnswer,
  type TableQuestion,
  type Up,
} from './protocol.ts'
import { type Query, QueryError } from './tables/table.ts'

/** A thread that does not end when it is asked to is ended, after so many ms. */
const PATIENCE = 5000
const HALF_DONE = 'the thread that did this died; whether it was done is not known'

/** Answers what a thread that died had begun. */
const NO_ANSWER = { request: (m: Uint8Array) => [buildError(m, EIO, HALF_DONE)] }
const NOTHING = new Uint8Array(0)

interface Asked {
  readonly asker: Asker
  readonly number: number
  readonly datagram: Uint8Array
}

interface Seat {
  readonly name: string
  thread: Thread
  readonly post: P.Post
  /** The thread has said that it is there. */
  up: boolean
  /** Not answered, oldest first. */
  asked: Asked[]
  /** Datagrams asked so far. */
  number: number
  /** Datagrams answered so far, by whoever sat here. */
  answered: number
  /** Threads that died here. */
  deaths: number
  doing: Int32Array
  /** Connections that it serves by itself, by session; and how many it was lent so far. */
  lent: Map<number, Lending>
  lends: number
  /** What it has in hand of them. */
  hand: Int32Array
}

/** A connection that is lent: the descriptor is the thread's when it has adopted it. */
interface Lending {
  readonly guest: Guest
  readonly number: number
  readonly fd: number
  stuck: boolean
}

/** What a thread that does requests has done. */
export interface RequestCount {
  readonly thread: string
  readonly answered: number
  readonly waiting: number
  /** Connections that it serves by itself. */
  readonly lent: number
  readonly deaths: number
}

interface Awaited {
  readonly seat: Seat
  resolve(document: unknown): void
  reject(e: Error): void
}

/** Where an asker's datagrams are. */
interface Place {
  readonly asker: Asker
  seat: Seat | null
  /** At the seat. */
  open: number
  /** For the switch thread, or behind such a one. */
  readonly waiting: Uint8Array[]
}

export interface SeatsOptions {
  readonly arena: Arena
  readonly began: bigint
  readonly listening: Int32Array
  readonly switchThread: { readonly thread: Thread; readonly doing: Int32Array }
  /** Control workers. */
  readonly control: number
  readonly log: Log
  readonly journal: JournalData | undefined
  /** Calls `done` when what a client must not hear before is on the disk: the journal up to that record. */
  whenSafe(record: number, done: () => void): void
  /** A notification, and the session that has it in its answer already (0: none). */
  tell(message: Uint8Array, except: number): void
  /** A thread died before it was there: another would, too. */
  failed(error: Error): void
}

export class Seats implements Executor {
  readonly #o: SeatsOptions
  readonly #switch: Seat
  readonly #control: Seat[]
  readonly #places = new Map<number, Place>()
  /** Tables that are being made, by number. */
  readonly #awaited = new Map<number, Awaited>()
  #tables = 0
  #posting = false
  #ending = false

  constructor(o: SeatsOptions) {
    this.#o = o
    this.#switch = this.#seat('switch', o.switchThread.thread, o.switchThread.doing)
    o.switchThread.thread.onMessage((m) => this.#heard(this.#switch, m))
    this.#control = Array.from({ length: o.control }, (_, i) => {
      const { thread, doing, hand } = this.#spawn(i)
      const seat = this.#seat(`control ${i}`, thread, doing, hand)
      this.#mind(seat, i)
      return seat
    })
  }

  ask(asker: Asker, datagram: Uint8Array): void {
    let place = this.#places.get(asker.id)
    if (place === undefined) {
      place = { asker, seat: null, open: 0, waiting: [] }
      this.#places.set(asker.id, place)
    }
    place.waiting.push(datagram)
    this.#place(place)
  }

  more(asker: Asker): void {
    const seat = this.#places.get(asker.id)?.seat
    if (!seat) return
    seat.post.add(P.MORE, asker.id)
    this.#postLater()
  }

  lend(guest: Guest, fd: number): boolean {
    const { journal, listening } = this.#o
    // Those who journal wait for the disk, and those who listen hear first.
    if (journal !== undefined || isAnyListening(listening) || fd < 0) return false
    const seat = this.#control.reduce((least, s) => (s.lent.size < least.lent.size ? s : least))
    const copy = duplicate(fd)
    seat.lent.set(guest.id, { guest, number: ++seat.lends, fd: copy, stuck: false })
    seat.post.add(P.LEND, guest.id, seat.lends, guest.port, new Uint8Array(Uint32Array.of(copy).buffer))
    this.#postLater()
    return true
  }

  recall(guest: Guest): void {
    for (const seat of this.#control) if (seat.lent.has(guest.id)) seat.post.add(P.RECALL, guest.id)
    this.#postLater()
  }

  gone(asker: Asker): void {
    for (const s of this.#control) {
      if (!s.lent.delete(asker.id)) continue
      s.post.add(P.GONE, asker.id)
      this.#postLater()
    }
    const seat = this.#places.get(asker.id)?.seat
    this.#places.delete(asker.id)
    if (!seat) return
    seat.asked = seat.asked.filter((x) => x.asker !== asker)
    seat.post.add(P.GONE, asker.id)
    this.#postLater()
  }

  /** Has a control worker make a table (tables/). Rejects with QueryError. */
  table(name: string, query: Query): Promise<unknown> {
    const number = ++this.#tables
    const seat = this.#idlest(this.#control[0])
    seat.post.add(
      P.TABLE,
      0,
      number,
      0,
      new TextEncoder().encode(JSON.stringify({ name, query } satisfies TableQuestion)),
    )
    this.#postLater()
    return new Promise((resolve, reject) => this.#awaited.set(number, { seat, resolve, reject }))
  }

  /** What each thread has done, the switch's first. */
  counts(): RequestCount[] {
    return [this.#switch, ...this.#control].map((s) => ({
      thread: s.name,
      answered: s.answered + handDone(s.hand),
      waiting: s.asked.length,
      lent: s.lent.size,
      deaths: s.deaths,
    }))
  }

  /** Control workers, by the thread that sits there: for tests and the curious. */
  get control(): readonly Thread[] {
    return this.#control.map((s) => s.thread)
  }

  /** The switch thread: for tests and the curious. */
  get switchThread(): Thread {
    return this.#switch.thread
  }

  /** Ends all threads in order, the switch's last. */
  async close(): Promise<void> {
    this.#ending = true
    await Promise.all(this.#control.map((s) => end(s.thread)))
    this.#switch.thread.post(END)
    wakeEventLoop(this.#o.arena)
    await end(this.#switch.thread)
  }

  #seat(name: string, thread: Thread, doing: Int32Array, hand = newHand()): Seat {
    const none = { up: false, asked: [], number: 0, answered: 0, deaths: 0, lent: new Map(), lends: 0 }
    return { name, thread, doing, hand, post: new P.Post(), ...none }
  }

  #spawn(i: number): { thread: Thread; doing: Int32Array; hand: Int32Array } {
    const hand = newHand()
    const doing = new Int32Array(new SharedArrayBuffer(4))
    const { began, listening, arena, journal } = this.#o
    const common: CommonData = { began, listening, doing, journal }
    const data: ControlThreadData = { ...common, role: 'control', memory: arena.memory, hand }
    return { thread: spawn(new URL('./control_thread.ts', import.meta.url), data, `control ${i}`), doing, hand }
  }

  /** Listens to the thread on the seat; replaces it when it dies. */
  #mind(seat: Seat, i: number): void {
    const { thread } = seat
    thread.onMessage((m) => {
      if (seat.thread === thread) this.#heard(seat, m)
    })
    void thread.ended.then(({ code, error }) => {
      if (this.#ending) return
      if (!seat.up) {
        this.#o.failed(error ?? new Error(`${seat.name} ended early (${code})`))
        return
      }
      const { locks } = recoverDead(this.#o.arena, thread.self)
      flowRecover(this.#o.arena)
      encapRecover(this.#o.arena)
      this.#o.log.error(
        { thread: seat.name, code, error: error?.stack, locks, requests: seat.asked.length },
        'a control worker died; another takes its seat',
      )
      const begun = load(seat.doing, 0)
      const left = seat.asked
      const { lent, hand } = seat
      seat.deaths++
      seat.answered += handDone(hand)
      Object.assign(seat, this.#spawn(i), { up: false, asked: [], number: 0, lent: new Map(), lends: 0 })
      seat.post.take()
      this.#mind(seat, i)
      this.#bereaved(left, begun)
      this.#inherit(lent, hand)
      for (const [number, awaited] of this.#awaited)
        if (awaited.seat === seat) {
          this.#awaited.delete(number)
          awaited.reject(new Error(HALF_DONE))
        }
    })
  }

  /** The thread that had these datagrams is dead: those up to number `begun` may be done or half done. */
  #bereaved(left: readonly Asked[], begun: number): void {
    const places = new Set<Place>()
    // From the newest: each goes in front of those that came behind it.
    for (const { asker, datagram, number } of [...left].reverse()) {
      const place = this.#places.get(asker.id)
      if (place === undefined) continue
      place.open--
      places.add(place)
      if (number > begun) place.waiting.unshift(datagram)
    }
    for (const { asker, datagram, number } of left) {
      if (number > begun || !this.#places.has(asker.id)) continue
      for (const reply of receive(NO_ANSWER, datagram, asker.port)) asker.answer(reply)
      asker.done()
    }
    for (const place of places) this.#place(place)
  }

  /** The thread that served these connections is dead: what it was at may be done or half done, the rest is asked here. */
  #inherit(lent: ReadonlyMap<number, Lending>, hand: Int32Array): void {
    const { adopted, guest: serving, begun, unread } = readHand(hand)
    for (const [id, { guest, number, fd, stuck }] of lent) {
      if (number > adopted) close(fd)
      if (stuck) {
        guest.close('the thread that answered it died')
        continue
      }
      if (id === serving) {
        const frames = new FrameReader()
        frames.push(begun)
        for (let f = frames.next(); f !== null; f = frames.next())
          if (f.kind === FRAME_PORT) guest.named(viewOf(f.payload).getUint32(0, true))
          else for (const reply of receive(NO_ANSWER, f.payload, guest.port)) guest.answer(reply)
      }
      guest.returned(id === serving ? unread : NOTHING)
    }
  }

  /** Gives away what may be given away now. */
  #place(place: Place): void {
    while (place.waiting.length > 0) {
      const [datagram] = place.waiting
      const seat = this.#seatFor(datagram, place)
      if (seat === null) return
      place.waiting.shift()
      place.seat = seat
      place.open++
      const { asker } = place
      seat.asked.push({ asker, number: ++seat.number, datagram })
      seat.post.add(P.ASK, asker.id, seat.number, asker.port, datagram)
      this.#postLater()
    }
  }

  /** Null: not yet. */
  #seatFor(datagram: Uint8Array, { seat, open }: Place): Seat | null {
    const busy = open > 0
    if (requestTypes(datagram).some(changesNet)) return busy && seat !== this.#switch ? null : this.#switch
    if (busy) return seat
    return this.#idlest(seat === null || seat === this.#switch ? this.#control[0] : seat)
  }

  /** The seat that has least to do; `least` when none has less. */
  #idlest(least: Seat): Seat {
    for (const s of this.#control) if (s.asked.length < least.asked.length) least = s
    return least
  }

  #postLater(): void {
    if (this.#posting) return
    this.#posting = true
    setImmediate(() => {
      this.#posting = false
      for (const seat of [this.#switch, ...this.#control]) {
        const message = seat.post.take()
        if (message === null) continue
        seat.thread.post(message)
        if (seat === this.#switch) wakeEventLoop(this.#o.arena)
      }
    })
  }

  #heardOfGuest(seat: Seat, lending: Lending, kind: number, port: number, unread: Uint8Array): void {
    const { guest } = lending
    if (kind === P.NAMED) guest.named(port)
    else if (kind === P.STUCK) {
      lending.stuck = true
      guest.stuck()
    } else {
      seat.lent.delete(guest.id)
      guest.returned(unread.slice())
    }
  }

  #heard(seat: Seat, message: unknown): void {
    if (!(message instanceof Uint8Array)) {
      const said = message as Said | Up
      if ('up' in said) seat.up = true
      else if (said.log !== undefined) this.#o.log[said.log](said.what, said.message)
      return
    }
    P.readPost(message, (kind, id, number, record, payload) => {
      if (kind === P.NEWS) {
        this.#o.tell(payload, id)
        return
      }
      if (kind === P.TABLE) {
        this.#tableCame(number, payload)
        return
      }
      const lending = seat.lent.get(id)
      if (lending !== undefined) {
        this.#heardOfGuest(seat, lending, kind, record, payload)
        return
      }
      const place = this.#places.get(id)
      if (place === undefined) return
      // Done is done, whatever becomes of the thread; the client hears of it when it is safe.
      if (kind === P.DONE && !this.#answered(seat, place, number)) return
      this.#o.whenSafe(record, () => {
        if (this.#places.get(id) !== place) return
        if (kind === P.ANSWER) place.asker.answer(payload)
        else if (kind === P.PAUSED) place.asker.paused()
        else this.#done(place)
      })
    })
  }

  #tableCame(number: number, payload: Uint8Array): void {
    const awaited = this.#awaited.get(number)
    this.#awaited.delete(number)
    const said = JSON.parse(new TextDecoder().decode(payload)) as TableAnswer
    if ('error' in said) awaited?.reject(new QueryError(said.error))
    else awaited?.resolve(said.document)
  }

  /** The datagram is answered; false when somebody else has answered for it. */
  #answered(seat: Seat, place: Place, number: number): boolean {
    const at = seat.asked.findIndex((x) => x.number === number && x.asker === place.asker)
    if (at < 0) return false
    seat.asked.splice(at, 1)
    seat.answered++
    return true
  }

  #done(place: Place): void {
    place.open--
    place.asker.done()
    this.#place(place)
  }
}

async function end(thread: Thread): Promise<void> {
  thread.post(END)
  const late = setTimeout(() => void thread.terminate(), PATIENCE)
  await thread.ended
  clearTimeout(late)
}
