// The journal in the daemon's threads: what each of them is told of it, the start from it, and the changes that go by it.
//
//   start   file there?  yes: its snapshot, then its tail, onto the new switch; a torn end is cut and said
//                        no:  the start-up scripts, then a first file with what they made
//   change  every request that changes something, on whatever thread: rtnl/journal.ts
//   aside   ports and the kernel's tunnel devices, which come and go without a request: a new snapshot has them
//
// The kernel's tunnel devices are in it for their ifindexes, which rules name them by, and because their rules are: after a
// start they are the kernel's again, and those that it has no more go, with their rules, as they would have while it ran.
// The start-up scripts are for the first start: what they made is in the file afterwards.

import { existsSync, mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Arena } from '../memory/arena.ts'
import { NETDEV_MAX } from '../memory/layout/netdev.ts'
import { cutJournal, Journal, journalInit, journalTicket, syncFolder, writeJournal } from '../rtnl/journal.ts'
import { type JournalEnd, JournalError, readJournal } from '../rtnl/journal_format.ts'
import type { Control } from '../switch/control.ts'
import { SwitchRestore, switchSnapshot } from '../switch/snapshot.ts'
import { attrString, msgType, parseAttrs, viewOf } from '../wire/netlink.ts'
import { NetlinkError } from '../wire/netlink_error.ts'
import { IFINFOMSG_ATTRS, IFLA_IFNAME, IFLA_LINKINFO, ifiIndex, RTM_NEWLINK } from '../wire/rtm_link.ts'
import type { PortConfig } from './config.ts'
import { ConfigError } from './config_error.ts'

/** What every thread that changes the switch is told. */
export interface JournalData {
  readonly path: string
  readonly compactBytes: number
  /** What the ports were made with. */
  readonly ports: readonly PortConfig[]
}

export type Say = (level: 'info' | 'warn' | 'error', what: object, message: string) => void

/** rtnetlink messages come in fours, GET the third of each; below 16 is netlink's own. */
const changes = (type: number): boolean => type >= 16 && (type & 3) !== 2

/** This thread's way of doing requests: those that change something by the journal. */
export class Journalled {
  readonly #a: Arena
  readonly #journal: Journal | undefined
  /** Of the last change that this thread made; 0 without a journal. */
  ticket = 0

  constructor(c: Control, o: JournalData | undefined, say: Say) {
    this.#a = c.flow.a
    if (o === undefined) return
    this.#journal = new Journal(this.#a, {
      path: o.path,
      wallClock: Date.now,
      compactBytes: o.compactBytes,
      snapshot: () => switchSnapshot(c, o.ports),
      failed: (e) => say('warn', { journal: o.path, error: e.message }, 'no new snapshot could be written'),
    })
  }

  /** Does one request by `answer`. */
  request<T extends Iterable<Uint8Array>>(
    message: Uint8Array,
    answer: (message: Uint8Array) => T,
  ): Iterable<Uint8Array> {
    if (this.#journal === undefined || !changes(msgType(viewOf(message)))) return answer(message)
    const replies = this.#journal.around(message, () => [...answer(message)])
    this.ticket = journalTicket(this.#a)
    return replies
  }

  /** Does what no request says; `f` says whether anything is another than before. */
  aside(f: () => boolean): void {
    if (this.#journal === undefined) f()
    else this.#journal.aside(f)
  }

  close(): void {
    this.#journal?.close()
  }
}

/**
 * The ports with the ifindexes that they have in the journal, so that its messages mean the same devices; new ones get
 * numbers from the end. Without a journal as they are. Throws JournalError, ConfigError.
 */
export function withIndexes<P extends PortConfig>(
  ports: readonly P[],
  path: string | undefined,
): (P & { ifindex: number })[] {
  const known = new Map<string, number>()
  if (path !== undefined && existsSync(path)) {
    const tb = new Int32Array(IFLA_LINKINFO + 1)
    readJournal(path, (message, _, part) => {
      const d = viewOf(message)
      if (part !== 'snapshot' || msgType(d) !== RTM_NEWLINK) return
      parseAttrs(d, IFINFOMSG_ATTRS, message.length, tb, IFLA_LINKINFO)
      if (tb[IFLA_LINKINFO] === 0 && tb[IFLA_IFNAME] !== 0) known.set(attrString(d, tb[IFLA_IFNAME]), ifiIndex(d))
    })
    for (const name of known.keys())
      if (name !== 'lo' && !ports.some((p) => p.name === name))
        throw new ConfigError(`${path}: it has rules of the port ${name}, which the configuration has no more`)
  }
  let last = NETDEV_MAX
  return ports.map((p) => ({ ...p, ifindex: known.size === 0 ? 0 : (known.get(p.name) ?? --last) }))
}

/**
 * Makes the new switch what the journal says, and opens it: true. Without a file: false; `firstJournal` comes when the
 * scripts have run. Throws JournalError for a file that is damaged or whose records are refused.
 */
export function restore(c: Control, o: JournalData, say: Say): boolean {
  if (!existsSync(o.path)) return false
  const restoring = new SwitchRestore(c)
  let refused: { offset: number; why: string } | undefined
  let records = 0
  let end: JournalEnd = readJournal(o.path, (message, offset, part) => {
    // A request is written down before it is done: the last one may be one that was refused, before it was taken back.
    if (refused !== undefined) throw new JournalError(o.path, refused.offset, `it cannot be done again: ${refused.why}`)
    try {
      restoring.take(message, part)
      records++
    } catch (e) {
      if (!(e instanceof NetlinkError)) throw e
      refused = { offset, why: e.message || `errno ${e.errno}` }
      if (part === 'snapshot') throw new JournalError(o.path, offset, `it cannot be done again: ${refused.why}`)
    }
  })
  restoring.end()
  const torn = end.torn
  if (refused !== undefined) end = { ...end, size: refused.offset, torn: 1, records: end.records - 1 }
  if (end.torn > 0) {
    cutJournal(o.path, end.size)
    say(
      'warn',
      { journal: o.path, offset: end.size, bytes: torn },
      'the end of the journal was never finished, and is cut',
    )
  }
  journalInit(c.flow.a, end)
  say('info', { journal: o.path, records, bytes: end.size }, 'restored')
  return true
}

/** A first file, with the switch as it is. Throws the system's error. */
export function firstJournal(c: Control, o: JournalData): void {
  mkdirSync(dirname(o.path), { recursive: true, mode: 0o700 })
  journalInit(c.flow.a, writeJournal(o.path, switchSnapshot(c, o.ports), Date.now()))
  syncFolder(o.path)
}
