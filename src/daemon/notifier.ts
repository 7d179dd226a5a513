// Main's side of the notifier thread: started when there is an uplink whose neighbours are the kernel's, and another one when
// it dies.
//
//   died: its locks are freed (memory/threads.ts) ─▶ a moment ─▶ another one, which reads everything anew
//
// It is asked to end by a message, and never terminated: it may be inside a system call. While there is none, the switch goes
// on with what it knew.

import { encapRecover, wakeEventLoop } from '../encap/encap.ts'
import { flowRecover } from '../flow/recover.ts'
import type { Arena } from '../memory/arena.ts'
import { recoverDead } from '../memory/threads.ts'
import { spawn, type Thread } from '../sync/thread.ts'
import type { JournalData } from './journalled.ts'
import type { MirrorData } from './kernel_mirror.ts'
import type { Log } from './log.ts'
import * as P from './post.ts'
import { END, type Followed, type NotifierThreadData, type Said, type Uplinks } from './protocol.ts'

/** After a death, ms: what killed it may kill the next one, too. */
const MOMENT = 500

export interface NotifierOptions extends MirrorData {
  readonly arena: Arena
  readonly began: bigint
  readonly listening: Int32Array
  readonly journal: JournalData | undefined
  readonly log: Log
  /** A notification for the groups of the door. */
  tell(message: Uint8Array): void
}

export class NotifierThread {
  readonly #o: NotifierOptions
  #uplinks: ReadonlyMap<string, string>
  #thread: Thread | undefined
  #again: NodeJS.Timeout | undefined
  #ending = false
  #died = false
  /** Threads that have read everything and follow since then. */
  followed = 0

  constructor(o: NotifierOptions) {
    this.#o = o
    this.#uplinks = o.uplinks
    if (o.uplinks.size > 0) this.#start()
  }

  /** Other uplinks than before. */
  setUplinks(uplinks: ReadonlyMap<string, string>): void {
    this.#uplinks = uplinks
    if (this.#thread !== undefined) this.#thread.post({ uplinks: [...uplinks] } satisfies Uplinks)
    else if (uplinks.size > 0 && this.#again === undefined) this.#start()
  }

  /** The thread that follows the kernel now: for tests and the curious. */
  get thread(): Thread | undefined {
    return this.#thread
  }

  async close(): Promise<void> {
    this.#ending = true
    clearTimeout(this.#again)
    this.#thread?.post(END)
    await this.#thread?.ended
  }

  #start(): void {
    const { arena, began, listening, journal, log } = this.#o
    const data: NotifierThreadData = {
      role: 'notifier',
      memory: arena.memory,
      began,
      listening,
      uplinks: this.#uplinks,
      journal,
      again: this.#died,
    }
    const thread = spawn(new URL('./notifier_thread.ts', import.meta.url), data, 'notifier')
    this.#thread = thread
    this.#again = undefined
    thread.onMessage((message) => {
      if (message instanceof Uint8Array) P.readPost(message, (_, _s, _n, _p, payload) => this.#o.tell(payload))
      else if ('followed' in (message as Followed | Said)) this.followed++
      else log[(message as Said).log]((message as Said).what, (message as Said).message)
    })
    void thread.ended.then(({ code, error }) => {
      if (this.#ending) return
      const { locks } = recoverDead(arena, thread.self)
      flowRecover(arena)
      encapRecover(arena)
      wakeEventLoop(arena)
      log.error({ thread: 'notifier', code, error: error?.stack, locks }, 'the notifier died; another takes its place')
      this.#thread = undefined
      this.#died = true
      this.#again = setTimeout(() => this.#start(), MOMENT)
    })
  }
}
