// A command line becomes a Command: the rtnetlink messages that iproute2 6.1 would send for it, byte for byte, and what
// to make of the answers.
//
//   words ──parseCommand──▶ Command { requests } ──the switch, or a socket──▶ replies ──printReplies──▶ text or JSON
//
// Whoever executes a Command sends `before.request` first where there is one and hands its replies to `before.check`,
// then each of `requests` in turn; `then`, where there is one, makes further requests from the replies (flush). A
// refusal of the kernel's side is worded by `refusal`. Sequence numbers are left 0: the sender sets them.
// Control threads only; parsing keeps scratch per thread and is not reentrant.

import { Builder, parseError } from '../wire/netlink.ts'
import { strerror } from '../wire/netlink_error.ts'
import { Args, type Devices } from './args.ts'
import { parseIp } from './ip_command.ts'
import { LanguageError } from './language_error.ts'
import { type Options, parseOptions } from './options.ts'
import { Printer } from './printer.ts'
import { parseTc } from './tc_command.ts'

export type { Devices } from './args.ts'

export interface Command {
  readonly program: 'tc' | 'ip'
  readonly options: Options
  readonly requests: Uint8Array[]
  /** A question that comes first, and what throws a LanguageError when its answer is not good. */
  readonly before?: { readonly request: Uint8Array; check(replies: readonly Uint8Array[]): void }
  /** Requests that follow from the replies (`flush`). */
  then?(replies: readonly Uint8Array[], devices: Devices): Uint8Array[]
  /** Prints all replies of `requests`; absent where the command prints nothing. */
  show?(replies: readonly Uint8Array[], out: Printer): void
  /** What the program adds below a refusal, and its exit status then. */
  readonly onRefusal: Refused
  /** -batch: the file to read, nothing else is set then. */
  readonly batch?: string
  /** The command ends after this text on stderr, with status 0 (help). */
  readonly usage?: string
  /** What the program says on stderr although it goes on. */
  readonly warning?: string
  /** What ends the line behind the requests, which are done all the same: several commands stood on it, and one was none. */
  readonly afterwards?: LanguageError
  /** `monitor`: print what comes, by `show`, until interrupted. */
  readonly monitor?: boolean
}

export interface Refused {
  readonly line: string
  readonly exitCode: number
}

/** What holds for a line besides its words. */
export type Given = Partial<Options> & { readonly program?: 'tc' | 'ip' }

export interface ParseContext {
  readonly args: Args
  readonly b: Builder
  readonly options: Options
}

const builder = new Builder(4096)
const args = new Args([], { indexOf: () => 0, nameOf: (i) => `if${i}` })

const NOTHING_GIVEN: Given = {}

const IP_OBJECTS = new Set(['link', 'address', 'addr', 'route', 'neighbor', 'neighbour', 'neigh'])

/**
 * Parses one command line. A leading `tc` or `ip` says whose language it is; without one it is `given.program`, or `ip`
 * when the first word is an object of `ip` only, else `tc`. `given` also holds options that hold for all lines of a batch.
 * Throws LanguageError with iproute2's text and exit status.
 */
export function parseCommand(words: readonly string[], devices: Devices, given: Given = NOTHING_GIVEN): Command {
  args.set(words)
  args.devices = devices
  let program = given.program
  if (args.is('tc') || args.is('ip')) {
    program = args.word as 'tc' | 'ip'
    args.skip()
  }
  program ??= IP_OBJECTS.has(args.word) ? 'ip' : 'tc'
  const options = parseOptions(args, program, given)
  const c: ParseContext = { args, b: builder, options }
  try {
    const command = program === 'tc' ? parseTc(c) : parseIp(c)
    return args.said.length === 0
      ? command
      : { ...command, warning: [...args.said, command.warning ?? ''].join('\n').trimEnd() }
  } catch (e) {
    if (!(e instanceof LanguageError) || args.said.length === 0) throw e
    throw new LanguageError([...args.said, e.message].join('\n'), e.exitCode, e.word, e.exits)
  }
}

/** What the program prints on stdout for the replies to a command. */
export function printReplies(
  command: Command,
  replies: readonly Uint8Array[],
  devices: Devices,
  o: { readonly json?: boolean; readonly stats?: boolean; readonly details?: boolean } = {},
): string {
  if (!command.show) return ''
  const p = command.options
  const out = new Printer(devices, {
    ...p,
    json: o.json ?? p.json,
    stats: o.stats === undefined ? p.stats : Number(o.stats),
    details: o.details ?? p.details,
  })
  command.show(replies, out)
  return out.finish()
}

/** print_ext_ack_msg: with a full stop at its end. */
const sentence = (message: string): string => (/[.\n]$/.test(message) ? message : `${message}.`)

/** What the program says on stderr when an acknowledgement carries a message. */
export const warningText = (message: string): string => `Warning: ${sentence(message)}`

/** What the program says on stderr when a request is answered by the error message `reply`, and its exit status. */
export function refusal(command: Command, reply: Uint8Array): LanguageError {
  const { errno, message } = parseError(reply)
  return refusalText(command, errno, message)
}

/** As `refusal` for an errno and an extended ack's text. */
export function refusalText(command: Command, errno: number, message: string): LanguageError {
  const first = message ? `Error: ${sentence(message)}` : `RTNETLINK answers: ${strerror(errno)}`
  const { line, exitCode } = command.onRefusal
  return new LanguageError(line ? `${first}\n${line}` : first, exitCode, undefined, true)
}
