// Main's side of the datapath threads: starts one for each seat, and another one when one dies.
//
//   died: locks freed (memory/threads.ts) ─▶ the switch thread takes back its ports and slots ─▶ vacant ─▶ started again
//
// A thread is asked to end by a word of its seat. It is never terminated: it may be inside a system call. When the switch
// thread dies they end at once, since it would never take what they wait for.

import { encapRecover, wakeEventLoop } from '../encap/encap.ts'
import type { Arena } from '../memory/arena.ts'
import { recoverDead } from '../memory/threads.ts'
import { store } from '../sync/atomic.ts'
import { spawn, type Thread } from '../sync/thread.ts'
import {
  type DatapathThreadData,
  SEAT_STOP,
  SEAT_TURNS,
  type Seat,
  STOP_AT_ONCE,
  STOP_IN_ORDER,
} from './datapath_protocol.ts'
import type { Log } from './log.ts'
import type { Died, Vacant } from './protocol.ts'

export interface DatapathOptions {
  readonly arena: Arena
  readonly seats: readonly Seat[]
  readonly began: bigint
  readonly switchThread: Thread
  readonly busyPoll: boolean
  /** Worker i runs on CPU i - 1. */
  readonly pin: boolean
  readonly log: Log
  /** A thread died before it had done anything: another would, too. */
  failed(error: Error): void
}

export class DatapathThreads {
  readonly #o: DatapathOptions
  readonly #threads: Thread[] = []
  #ending = false

  constructor(o: DatapathOptions) {
    this.#o = o
    o.switchThread.onMessage((message) => {
      const vacant = (message as Partial<Vacant> | null)?.vacant
      if (vacant !== undefined && !this.#ending) this.#start(vacant)
    })
    void o.switchThread.ended.then(() => this.#stop(STOP_AT_ONCE))
    for (let worker = 1; worker <= o.seats.length; worker++) this.#start(worker)
  }

  get seats(): readonly Seat[] {
    return this.#o.seats
  }

  /** Resolves when all of them look for packets; rejects when one has ended before. */
  async running(): Promise<void> {
    const { arena, seats } = this.#o
    const ended = Promise.race(
      this.#threads.map(async (t) => {
        const { error, code } = await t.ended
        throw error ?? new Error(`a datapath thread ended early (${code})`)
      }),
    )
    const turning = async (): Promise<void> => {
      while (seats.some(({ state }) => arena.m[(state + SEAT_TURNS) >> 2] === 0))
        await new Promise((resolve) => setTimeout(resolve, 10))
    }
    if (seats.length > 0) await Promise.race([turning(), ended])
    ended.catch(() => {}) // from now on #start minds them
  }

  /** Ends them: in order while the switch thread runs, which takes what they hand up, at once when it does not. */
  async close(): Promise<void> {
    if (!this.#ending) this.#stop(STOP_IN_ORDER)
    await Promise.all(this.#threads.map((t) => t?.ended))
  }

  #stop(how: number): void {
    this.#ending = true
    for (const { state } of this.#o.seats) store(this.#o.arena.m, (state + SEAT_STOP) >> 2, how)
  }

  #start(worker: number): void {
    const { arena, seats, began, busyPoll, pin } = this.#o
    const data: DatapathThreadData = {
      ...seats[worker - 1],
      memory: arena.memory,
      worker,
      began,
      busyPoll,
      cpu: pin ? worker - 1 : -1,
    }
    const thread = spawn(new URL('./datapath_thread.ts', import.meta.url), data, `datapath ${worker}`)
    this.#threads[worker - 1] = thread
    const started = performance.now()
    void thread.ended.then(({ code, error }) => {
      if (this.#ending) return
      const { locks } = recoverDead(arena, thread.self)
      encapRecover(arena)
      const what = { thread: `datapath ${worker}`, code, error: error?.stack, locks }
      if (performance.now() - started < SHORT_LIFE) {
        this.#o.log.error(what, 'a datapath thread died as soon as it was born')
        this.#o.failed(error ?? new Error(`datapath thread ${worker} ended early (${code})`))
        return
      }
      this.#o.log.error(what, 'a datapath thread died; another takes its seat')
      this.#o.switchThread.post({ died: worker } satisfies Died)
      wakeEventLoop(arena)
    })
  }
}

/** A thread that lives less long, ms, dies of something that will kill the next one too. */
const SHORT_LIFE = 1000
