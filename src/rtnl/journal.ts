// The journal: an acknowledged change survives `kill -9`, and a power cut when it is synced.
//
//   request ─▶ lock journal ─▶ write the record ─▶ do it ─▶ refused? take the record back ─▶ unlock ─▶ answer … ─▶ client
//                                                                                                       ▲
//                                              one fdatasync for all who wait (journal_sync.ts) ───────┘
//
// A change is written down before it is made, and taken back when it is refused: so a change that cannot be written is
// refused with the system's errno and has not happened, and the order of the records is the order of the changes, on
// however many threads they are made. All that a request does not say (a handle, a pref, an action's index) follows
// from those before it, so the file holds the requests themselves, and doing them again makes the same table.
//
// The file grows by requests and is as long as the table's history. When the tail is longer than the snapshot before it
// and than `compactBytes`, whoever made the last change writes a new file aside, a snapshot of the table as it is,
// syncs it and renames it over the old one, still holding the lock: changes wait meanwhile, packets do not.
//
// What no request says (a port that is added, a tunnel device of the kernel's that comes or goes) is made `aside`: while no
// change is made, and a new file with a snapshot of what became of it follows at once. So the requests behind it find the
// devices that they name.
//
// Each control thread has a Journal of its own, a descriptor and this code; what they share is a few words of the arena.
// A record that was being written when its writer died is taken back by the next one: J_SIZE is moved behind it at last.

import { closeSync, fsyncSync, ftruncateSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { type Arena, reserve } from '../memory/arena.ts'
import { SUPER_LOCKS, SUPER_PART_JOURNAL, SUPER_PARTS } from '../memory/layout/super.ts'
import { load, store } from '../sync/atomic.ts'
import { JOURNAL } from '../sync/lock_order.ts'
import { lock, unlock } from '../sync/mutex.ts'
import { buildError, msgType, NLMSG_ERROR, NLMSG_HDRLEN, viewOf } from '../wire/netlink.ts'
import { EIO } from '../wire/netlink_error.ts'
import { RTM_DELACTION } from '../wire/tca_action.ts'
import { fileHeader, HEADER_LEN, type JournalEnd, record, snapshotEnd } from './journal_format.ts'

// The part in the arena. @under journal, but for those that are atomic
/** Goes up when another file takes the place of the old one. @atomic */
const J_GENERATION = 0
/** Records written since the daemon began. @atomic */
const J_TICKET = 4
/** Records in the file. */
const J_NUMBER = 8
/** Bytes of the file, low and high word; of its snapshot. */
const J_SIZE = 16
const J_SNAPSHOT = 24
/** The errno of a failure after which nothing more is written, 0. @atomic */
const J_BROKEN = 32
const J_PART = 64

/** Where the words are; 0 without a journal. */
const partOf = (a: Arena): number => a.m[(SUPER_PARTS + SUPER_PART_JOURNAL) >> 2]
const lockWord = (SUPER_LOCKS >> 2) + 1

const readSize = (a: Arena, field: number): number => {
  const w = (partOf(a) + field) >> 2
  return (a.m[w] >>> 0) + a.m[w + 1] * 0x100000000
}
const writeSize = (a: Arena, field: number, size: number): void => {
  const w = (partOf(a) + field) >> 2
  a.m[w] = (size % 0x100000000) | 0
  a.m[w + 1] = Math.floor(size / 0x100000000)
}

/** Records ever, modulo 2^32: who waits until its change is synced waits for this number. */
export const journalTicket = (a: Arena): number => load(a.m, (partOf(a) + J_TICKET) >> 2)
export const journalGeneration = (a: Arena): number => load(a.m, (partOf(a) + J_GENERATION) >> 2)
/** Nothing more is written: every change is refused with this errno from now on. */
export const breakJournal = (a: Arena, errno: number): void => store(a.m, (partOf(a) + J_BROKEN) >> 2, errno)

/** Numbers for people. */
export const journalStats = (a: Arena): { bytes: number; snapshotBytes: number; records: number; written: number } => ({
  bytes: readSize(a, J_SIZE),
  snapshotBytes: readSize(a, J_SNAPSHOT),
  records: a.m[(partOf(a) + J_NUMBER) >> 2],
  written: journalTicket(a) >>> 0,
})

/** Once for an arena, before any thread opens the journal: `end` is what readJournal, or writeJournal, gave back. */
export function journalInit(a: Arena, end: JournalEnd): void {
  a.m[(SUPER_PARTS + SUPER_PART_JOURNAL) >> 2] = reserve(a, J_PART)
  setEnd(a, end)
}

function setEnd(a: Arena, end: JournalEnd): void {
  writeSize(a, J_SIZE, end.size)
  writeSize(a, J_SNAPSHOT, end.snapshot)
  a.m[(partOf(a) + J_NUMBER) >> 2] = end.records
}

/**
 * Writes a new journal with this snapshot: aside, synced, then renamed over `path`. `ms`: the time of its records. Throws
 * the system's error; then `path` is as it was. `syncFolder` comes next.
 */
export function writeJournal(path: string, snapshot: Iterable<Uint8Array>, ms: number): JournalEnd {
  const aside = `${path}.new`
  const fd = openSync(aside, 'w', 0o600)
  let size = 0
  let records = 0
  let batch: Uint8Array[] = []
  let batched = 0
  const flush = (): void => {
    writeAll(fd, Buffer.concat(batch), size)
    size += batched
    batch = []
    batched = 0
  }
  const add = (bytes: Uint8Array): void => {
    batch.push(bytes)
    batched += bytes.length
    if (batched > 1 << 20) flush()
  }
  try {
    try {
      add(fileHeader())
      for (const message of snapshot) add(record(message, records++, ms))
      add(record(snapshotEnd(), records++, ms))
      flush()
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    renameSync(aside, path)
  } catch (e) {
    rmSync(aside, { force: true })
    throw e
  }
  return { size, torn: 0, records, snapshot: size }
}

/** The name of the file is on the disk as well. Throws the system's error. */
export function syncFolder(path: string): void {
  const folder = openSync(dirname(path), 'r')
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}

function writeAll(fd: number, bytes: Uint8Array, position: number): void {
  for (let n = 0; n < bytes.length; ) n += writeSync(fd, bytes, n, bytes.length - n, position + n)
}

export interface JournalOptions {
  readonly path: string
  /** Milliseconds since 1970, for the records. */
  wallClock(): number
  /** Bytes of a tail that is worth a new snapshot; 16 MiB when absent. */
  readonly compactBytes?: number
  /** Messages that make the table as it is anew. */
  snapshot?(): Iterable<Uint8Array>
  /** A new snapshot could not be written; the old file goes on. */
  failed?(e: Error): void
}

/** This thread's end of the journal. */
export class Journal {
  readonly #a: Arena
  readonly #o: JournalOptions
  #fd = -1
  #generation = 0
  /** Bytes of tail below which no snapshot is tried. */
  #patience: number

  /** After journalInit. Throws the system's error. */
  constructor(a: Arena, o: JournalOptions) {
    this.#a = a
    this.#o = o
    this.#patience = o.compactBytes ?? 16 << 20
    this.#open()
  }

  /** Makes a change, `apply`, whose request is `message`, and gives back its answers; see above. */
  around(message: Uint8Array, apply: () => Uint8Array[]): Uint8Array[] {
    const a = this.#a
    const { m } = a
    const part = partOf(a)
    lock(m, lockWord, JOURNAL)
    try {
      const broken = load(m, (part + J_BROKEN) >> 2)
      if (broken !== 0) return [refusal(message, broken, 'the journal is broken; start the daemon anew')]
      const size = readSize(a, J_SIZE)
      const number = m[(part + J_NUMBER) >> 2]
      const bytes = record(message, number, this.#o.wallClock())
      try {
        if (this.#generation !== journalGeneration(a)) this.#open()
        writeAll(this.#fd, bytes, size)
      } catch (e) {
        this.#takeBack(size)
        const { errno, message: why } = e as NodeJS.ErrnoException
        return [refusal(message, errno === undefined ? EIO : -errno, `journal: ${why}`)]
      }
      let replies: Uint8Array[]
      try {
        replies = apply()
      } catch (e) {
        this.#takeBack(size)
        throw e
      }
      // Of actions to delete some may be gone when one is refused: what was done is done again by the same request.
      if (isRefused(replies) && msgType(viewOf(message)) !== RTM_DELACTION) {
        this.#takeBack(size)
        return replies
      }
      writeSize(a, J_SIZE, size + bytes.length)
      m[(part + J_NUMBER) >> 2] = number + 1
      store(m, (part + J_TICKET) >> 2, (journalTicket(a) + 1) | 0)
      const tail = size + bytes.length - readSize(a, J_SNAPSHOT)
      if (tail > this.#patience && tail > readSize(a, J_SNAPSHOT)) this.#compactLocked()
      return replies
    } finally {
      unlock(m, lockWord, JOURNAL)
    }
  }

  /**
   * Does what no request says, while no change is made. When `f` says that something is another than before, a new file
   * begins; one that cannot be written leaves a journal that could not be done again, so nothing more is written then.
   */
  aside(f: () => boolean): void {
    const a = this.#a
    lock(a.m, lockWord, JOURNAL)
    try {
      if (!f() || load(a.m, (partOf(a) + J_BROKEN) >> 2) !== 0) return
      try {
        this.#replaceLocked()
      } catch (e) {
        const { errno, syscall } = e as NodeJS.ErrnoException
        if (syscall === undefined) throw e
        breakJournal(a, -(errno ?? -EIO))
        this.#o.failed?.(e as Error)
      }
    } finally {
      unlock(a.m, lockWord, JOURNAL)
    }
  }

  /** Begins a new file with a snapshot now. Throws the system's error. */
  compact(): void {
    const { m } = this.#a
    lock(m, lockWord, JOURNAL)
    try {
      this.#replaceLocked()
    } finally {
      unlock(m, lockWord, JOURNAL)
    }
  }

  close(): void {
    closeSync(this.#fd)
  }

  #compactLocked(): void {
    try {
      this.#replaceLocked()
      this.#patience = this.#o.compactBytes ?? 16 << 20
    } catch (e) {
      if ((e as NodeJS.ErrnoException).syscall === undefined) throw e
      this.#patience *= 2
      this.#o.failed?.(e as Error)
    }
  }

  #replaceLocked(): void {
    const a = this.#a
    if (this.#o.snapshot === undefined) return
    setEnd(a, writeJournal(this.#o.path, this.#o.snapshot(), this.#o.wallClock()))
    store(a.m, (partOf(a) + J_GENERATION) >> 2, journalGeneration(a) + 1)
    try {
      this.#open()
      syncFolder(this.#o.path)
    } catch (e) {
      // Behind the rename there is no way back, and a power cut might bring the old file.
      breakJournal(a, -((e as NodeJS.ErrnoException).errno ?? -EIO))
      throw e
    }
  }

  #open(): void {
    if (this.#fd >= 0) closeSync(this.#fd)
    this.#fd = -1
    this.#fd = openSync(this.#o.path, 'r+')
    this.#generation = journalGeneration(this.#a)
  }

  /** The record that was written last is none. What cannot be taken back must not be left to be believed. */
  #takeBack(size: number): void {
    try {
      ftruncateSync(this.#fd, size)
    } catch (e) {
      breakJournal(this.#a, -((e as NodeJS.ErrnoException).errno ?? -EIO))
    }
  }
}

const isRefused = (replies: readonly Uint8Array[]): boolean => {
  if (replies.length === 0) return false
  const d = viewOf(replies[replies.length - 1])
  return msgType(d) === NLMSG_ERROR && d.getInt32(NLMSG_HDRLEN, true) !== 0
}

const refusal = (message: Uint8Array, errno: number, text: string): Uint8Array => buildError(message, errno, text)

/** A file that was torn is cut behind its last sound record. */
export function cutJournal(path: string, size: number): void {
  if (size < HEADER_LEN) throw new RangeError('a journal is not cut inside its header')
  const fd = openSync(path, 'r+')
  try {
    ftruncateSync(fd, size)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
