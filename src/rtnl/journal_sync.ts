// Until when is the journal on the disk? Group commit: one fdatasync for all who wait.
//
//   always     a change is acknowledged when it is on the disk: no power cut takes it back
//   interval   when it is in the file; synced every so many milliseconds: `kill -9` takes nothing back, a power cut may
//   none       when it is in the file; the operating system writes when it pleases
//
// While one fdatasync is under way, those who come wait for the next one, however many they are. A disk that refuses to
// sync has lost something, nobody knows what, and asking it again would get a lie; so nothing more is acknowledged or
// written, and the owner is told to end. One thread, the daemon's main.

import { close, fdatasync, openSync } from 'node:fs'
import type { Arena } from '../memory/arena.ts'
import { EIO } from '../wire/netlink_error.ts'
import { breakJournal, journalGeneration, journalTicket } from './journal.ts'

export const SYNC_POLICIES = ['always', 'interval', 'none'] as const
export type SyncPolicy = (typeof SYNC_POLICIES)[number]

export interface SyncOptions {
  readonly path: string
  readonly sync: SyncPolicy
  /** Milliseconds, for `interval`. */
  readonly intervalMs: number
  /** The disk refused; nothing that waits will be acknowledged. */
  failed(e: Error): void
}

export class JournalSync {
  readonly #a: Arena
  readonly #o: SyncOptions
  readonly #timer: NodeJS.Timeout | undefined
  #fd = -1
  #generation = -1
  #durable: number
  #syncing = false
  #failed = false
  #waiting: { readonly ticket: number; readonly done: () => void }[] = []
  /** fdatasyncs so far. */
  syncs = 0

  /** After journalInit. */
  constructor(a: Arena, o: SyncOptions) {
    this.#a = a
    this.#o = o
    this.#durable = journalTicket(a)
    if (o.sync === 'interval') {
      this.#timer = setInterval(() => this.#begin(), o.intervalMs)
      this.#timer.unref()
    }
  }

  /** Calls `done` when the records up to `ticket` are as safe as the policy says; at once when they are. */
  whenSafe(ticket: number, done: () => void): void {
    if (this.#o.sync !== 'always' || ((ticket - this.#durable) | 0) <= 0) done()
    else {
      this.#waiting.push({ ticket, done })
      this.#begin()
    }
  }

  /** Syncs what there is; resolves when it is on the disk, or the disk has refused. */
  async close(): Promise<void> {
    if (this.#timer !== undefined) clearInterval(this.#timer)
    if (this.#o.sync !== 'none' && !this.#failed)
      await new Promise<void>((resolve) => {
        this.#waiting.push({ ticket: journalTicket(this.#a), done: resolve })
        this.#begin()
      })
    if (this.#fd >= 0) close(this.#fd)
    this.#fd = -1
  }

  #begin(): void {
    if (this.#syncing || this.#failed) return
    const generation = journalGeneration(this.#a)
    // What was written before the file was replaced is in the new one, and that was synced.
    const ticket = journalTicket(this.#a)
    if (generation !== this.#generation) {
      if (this.#fd >= 0) close(this.#fd)
      this.#fd = openSync(this.#o.path, 'r+')
      this.#generation = generation
    }
    this.#syncing = true
    this.syncs++
    fdatasync(this.#fd, (e) => {
      this.#syncing = false
      if (e !== null) this.#fail(e)
      else if (journalGeneration(this.#a) !== generation) this.#begin()
      else this.#reached(ticket)
    })
  }

  #reached(ticket: number): void {
    this.#durable = ticket
    const waiting = this.#waiting
    this.#waiting = waiting.filter((w) => ((w.ticket - ticket) | 0) > 0)
    for (const w of waiting) if (((w.ticket - ticket) | 0) <= 0) w.done()
    if (this.#waiting.length > 0) this.#begin()
  }

  #fail(e: NodeJS.ErrnoException): void {
    this.#failed = true
    breakJournal(this.#a, -(e.errno ?? -EIO))
    this.#o.failed(e)
  }
}
