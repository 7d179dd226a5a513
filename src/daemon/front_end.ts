// Our own `tc` and `ip`: command lines executed on a daemon, with iproute2's grammar, output and exit statuses.
//
//   words ─▶ parseCommand ─▶ requests ─▶ the daemon ─▶ answers ─▶ printReplies
//
// A line names devices, a message numbers: which is which the daemon is asked when a name or a number turns up that is not
// known yet, and the line is then read again. Whatever can rename a device makes us forget, and so does a device that is
// said not to be there: somebody may have made it anew. One line at a time.

import type { Client } from '../rtnl/client.ts'
import {
  type Command,
  type Devices,
  type Given,
  parseCommand,
  printReplies,
  refusal,
  warningText,
} from '../tc/command.ts'
import { LanguageError } from '../tc/language_error.ts'
import { splitScript } from '../tc/line.ts'
import {
  attrString,
  Builder,
  msgType,
  NLM_F_DUMP,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  parseAttrs,
  parseError,
  viewOf,
} from '../wire/netlink.ts'
import { ENODEV, strerror } from '../wire/netlink_error.ts'
import { RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR } from '../wire/rtm_addr.ts'
import * as L from '../wire/rtm_link.ts'
import { RTNLGRP_NEIGH } from '../wire/rtm_neigh.ts'
import { RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE } from '../wire/rtm_route.ts'
import { RTNLGRP_TC } from '../wire/tcm.ts'

/** As ip's max_flush_loops. */
const FLUSH_ROUNDS = 10

export interface Output {
  out(text: string): void
  err(text: string): void
  /** The text of a batch file, `-` for standard input. Throws the system's error. */
  read(path: string): string
}

export class FrontEnd implements Devices {
  readonly #client: Client
  readonly #io: Output
  #byName = new Map<string, number>()
  #byIndex = new Map<number, string>()
  /** How often the daemon was asked for its devices. */
  #loads = 0
  /** Something was asked for that is not in the maps. */
  #missed = false

  constructor(client: Client, io: Output) {
    this.#client = client
    this.#io = io
  }

  indexOf(name: string): number {
    const index = this.#byName.get(name)
    if (index === undefined) this.#missed = true
    return index ?? 0
  }

  nameOf(index: number): string {
    const name = this.#byIndex.get(index)
    if (name === undefined) this.#missed = true
    return name ?? `if${index}`
  }

  /** Executes the words behind `tc` or `ip`; resolves with the exit status. Rejects when the daemon is gone. */
  async run(program: 'tc' | 'ip', words: readonly string[]): Promise<number> {
    try {
      const { command } = await this.#line([program, ...words])
      if (command.batch !== undefined) return await this.#batch(program, command, command.batch)
      if (command.monitor) await this.#monitor(command)
      return 0
    } catch (e) {
      return this.#refused(e)
    }
  }

  #refused(e: unknown): number {
    if (!(e instanceof LanguageError)) throw e
    if (e.message !== '') this.#io.err(`${e.message}\n`)
    return e.exitCode
  }

  /** Executes one line, as far as that is one conversation. Throws LanguageError. */
  async #line(words: readonly string[], given?: Given): Promise<{ command: Command }> {
    const asked = this.#loads
    try {
      return await this.#once(words, given)
    } catch (e) {
      // A device that we knew may have been made anew by others, with another number.
      if (!(e instanceof Refusal) || e.errno !== ENODEV || this.#loads > asked || this.#byName.size === 0) throw e
      this.#forget()
      return this.#once(words, given)
    }
  }

  async #once(words: readonly string[], given?: Given): Promise<{ command: Command }> {
    // In an object: a Command has a `then` of its own, which is none of a promise.
    const read = await this.#known(() => ({ command: parseCommand(words, this, given) }))
    const { command } = read
    if (command.warning) this.#io.err(`${command.warning}\n`)
    if (command.usage !== undefined) {
      this.#io.err(command.usage.endsWith('\n') ? command.usage : `${command.usage}\n`)
      // ip, but not tc, leaves with a failure then.
      if (command.program === 'ip') throw new LanguageError('', 255, undefined, true)
      return read
    }
    if (command.batch !== undefined || command.monitor) return read
    if (command.before) command.before.check(await this.#send(command, [command.before.request]))
    const replies = await this.#send(command, command.requests)
    if (command.then) await this.#rounds(command, command.then, replies)
    const text = await this.#known(() => printReplies(command, replies, this))
    if (text !== '') this.#io.out(text)
    if (command.afterwards) throw command.afterwards
    return read
  }

  /** `ip … flush`: what the listing names is deleted, and the listing asked for again, until it names nothing more. */
  async #rounds(command: Command, then: NonNullable<Command['then']>, replies: readonly Uint8Array[]): Promise<void> {
    for (let round = 0; ; round++) {
      const requests = await this.#known(() => then(replies, this))
      if (requests.length === 0) return
      if (round === FLUSH_ROUNDS)
        throw new LanguageError(`*** Flush remains incomplete after ${FLUSH_ROUNDS} rounds. ***`, 1)
      for (const request of requests) this.#client.post(request)
      replies = await this.#send(command, command.requests)
      for (const reply of this.#client.refusals())
        throw new LanguageError(`Failed to send flush request: ${strerror(parseError(reply).errno)}`, 1)
    }
  }

  /** do_batch: one bad line ends it, unless forced; it is then a failure all the same. */
  async #batch(program: 'tc' | 'ip', command: Command, path: string): Promise<number> {
    let text: string
    try {
      text = this.#io.read(path)
    } catch (e) {
      const { code } = e as NodeJS.ErrnoException
      const why = code === 'ENOENT' ? 'No such file or directory' : String(code)
      this.#io.err(`Cannot open file "${path}" for reading: ${why}\n`)
      return 1
    }
    const given: Given = { ...command.options, batch: undefined, program }
    let status = 0
    try {
      for (const line of splitScript(text)) {
        try {
          await this.#line(line.words, given)
        } catch (e) {
          const code = this.#refused(e)
          // Where the C program leaves on the spot, there is nobody left to go on.
          if ((e as LanguageError).exits && !(e instanceof Refusal)) return code
          this.#io.err(`Command failed ${path}:${line.number}\n`)
          status = 1
          if (!command.options.force) break
        }
      }
    } catch (e) {
      return this.#refused(e)
    }
    return status
  }

  async #monitor(command: Command): Promise<void> {
    const groups =
      command.program === 'tc'
        ? [RTNLGRP_TC]
        : [
            L.RTNLGRP_LINK,
            RTNLGRP_NEIGH,
            RTNLGRP_IPV4_IFADDR,
            RTNLGRP_IPV6_IFADDR,
            RTNLGRP_IPV4_ROUTE,
            RTNLGRP_IPV6_ROUTE,
          ]
    await this.#load()
    let before = Promise.resolve()
    this.#client.onNews = (message) => {
      before = before.then(async () => {
        if (message === null) this.#io.err('netlink receive error No buffer space available (105)\n')
        else this.#io.out(await this.#known(() => printReplies(command, [message], this)))
      })
    }
    for (const group of groups) this.#client.join(group)
    await this.#client.ended
    await before
  }

  /** Does something that may ask for devices; again, when one was not known and the daemon has been asked. */
  async #known<T>(what: () => T): Promise<T> {
    this.#missed = false
    try {
      const result = what()
      if (!this.#missed) return result
    } catch (e) {
      if (!this.#missed) throw e
    }
    await this.#load()
    return what()
  }

  async #load(): Promise<void> {
    const b = new Builder(64)
    b.begin(L.RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP)
    L.ifinfomsg(b, 0, 0, 0, 0, 0)
    const tb = new Int32Array(L.IFLA_IFNAME + 1)
    this.#forget()
    this.#loads++
    for (const m of await this.#client.ask(b.end())) {
      const d = viewOf(m)
      if (msgType(d) !== L.RTM_NEWLINK) continue
      parseAttrs(d, L.IFINFOMSG_ATTRS, m.length, tb, L.IFLA_IFNAME)
      const name = attrString(d, tb[L.IFLA_IFNAME])
      this.#byName.set(name, L.ifiIndex(d))
      this.#byIndex.set(L.ifiIndex(d), name)
    }
  }

  #forget(): void {
    this.#byName = new Map()
    this.#byIndex = new Map()
  }

  async #send(command: Command, requests: readonly Uint8Array[]): Promise<Uint8Array[]> {
    const replies: Uint8Array[] = []
    for (const request of requests) {
      const type = msgType(viewOf(request))
      for (const reply of await this.#client.ask(request)) {
        const kind = msgType(viewOf(reply))
        if (kind === NLMSG_ERROR) {
          const { errno, message } = parseError(reply)
          if (errno !== 0) throw new Refusal(refusal(command, reply), errno)
          if (message !== '') this.#io.err(`${warningText(message)}\n`)
        }
        if (kind !== NLMSG_ERROR && kind !== NLMSG_DONE) replies.push(reply)
      }
      if (type === L.RTM_NEWLINK || type === L.RTM_SETLINK || type === L.RTM_DELLINK) this.#forget()
    }
    return replies
  }
}

/** The daemon refused, not the language. */
class Refusal extends LanguageError {
  readonly errno: number

  constructor(e: LanguageError, errno: number) {
    super(e.message, e.exitCode, e.word, e.exits)
    this.errno = errno
  }
}
