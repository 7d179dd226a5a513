// Datagrams that a thread has been given to answer: those of one session in their order, a piece at a time.
//
//   ask ──▶ queue of the session ──▶ receive (datagram.ts), one datagram after the other ──▶ taker
//                  ▲                                    │
//                  └────────────── more ◀── paused: PIECE bytes were answered, and there is more to say
//
// Answers are read out of generators, so an answer that nobody takes is not made: a session that is paused holds no more
// than where it was. Sessions do not wait for each other. Any thread may own one of these; all calls are that thread's.

import { isEchoTo, pack, type Requester, receive } from './datagram.ts'

/** Bytes that are answered to a session before it is asked whether it wants more. */
export const PIECE = 128 * 1024

/** Where the answers go. */
export interface Taker {
  /** Session, and one datagram of the answer. */
  answer(session: number, datagram: Uint8Array): void
  /** The datagram `number` is done and its answer complete. */
  done(session: number, number: number): void
  /** More of the answer comes when `more` is called. */
  paused(session: number): void
}

interface Job {
  readonly number: number
  readonly port: number
  readonly answers: Iterator<Uint8Array, void>
}

export class Answering {
  readonly #requester: Requester
  readonly #taker: Taker
  readonly #sessions = new Map<number, Job[]>()
  /** The request that is being done, and whose it is. */
  #doing: { session: number; port: number; message: Uint8Array } | null = null

  constructor(requester: Requester, taker: Taker) {
    this.#requester = requester
    this.#taker = taker
  }

  /** Answers a datagram when those before it are answered; `number` comes back with `done`. */
  ask(session: number, number: number, port: number, datagram: Uint8Array): void {
    const requester: Requester = {
      request: (message) => {
        this.#doing = { session, port, message }
        try {
          return this.#requester.request(message)
        } finally {
          this.#doing = null
        }
      },
    }
    const job = { number, port, answers: pack(receive(requester, datagram, port)) }
    const jobs = this.#sessions.get(session)
    if (jobs !== undefined) {
      jobs.push(job)
      return
    }
    this.#sessions.set(session, [job])
    this.more(session)
  }

  /** A session that was paused takes more. */
  more(session: number): void {
    const jobs = this.#sessions.get(session)
    if (jobs === undefined) return
    let size = 0
    for (let job = jobs[0]; job !== undefined; job = jobs[0]) {
      for (let next = job.answers.next(); !next.done; next = job.answers.next()) {
        this.#taker.answer(session, next.value)
        size += next.value.length
        if (size < PIECE) continue
        this.#taker.paused(session)
        return
      }
      // Somebody may have gone while a request was done.
      if (this.#sessions.get(session) !== jobs) return
      jobs.shift()
      this.#taker.done(session, job.number)
    }
    this.#sessions.delete(session)
  }

  /** The session is no more: what it asked and has not been begun is not done. */
  gone(session: number): void {
    const jobs = this.#sessions.get(session)
    if (jobs === undefined) return
    this.#sessions.delete(session)
    for (const job of jobs) job.answers.return?.()
  }

  /** The session that hears this notification as an answer already (the sender of an echo), 0 without. */
  echoTo(message: Uint8Array): number {
    const doing = this.#doing
    return doing !== null && isEchoTo(message, doing.port, doing.message) ? doing.session : 0
  }
}
