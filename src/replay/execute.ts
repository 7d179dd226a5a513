// Runs one command line on a switch, as the tc or ip program would on a kernel: text to messages, the answers to text.
import { type Command, type Devices, parseCommand, printReplies, refusalText, warningText } from '../tc/command.ts'
import type { Options } from '../tc/options.ts'
import { setMsgSeq, viewOf } from '../wire/netlink.ts'
import { NetlinkError } from '../wire/netlink_error.ts'

/** Who answers requests: a switch. */
export interface Kernel {
  readonly devices: Devices
  /** Does a request; what it asks for goes to `reply`. Returns a warning or ''; throws NetlinkError when it refuses. */
  ask(message: Uint8Array, reply: (m: Uint8Array) => void): string
}

let sequence = 0
/** What the kernel said of the line although it took it. */
let warnings = ''

const NO_OPTIONS: Partial<Options> = {}

/**
 * Executes the words of a command line; returns what tc prints: warnings, then its answer. Throws LanguageError with what
 * it prints on stderr when the line, or the switch, refuses.
 */
export function execute(kernel: Kernel, words: readonly string[], options: Partial<Options> = NO_OPTIONS): string {
  return perform(kernel, parseCommand(words, kernel.devices, options))
}

/** As `execute`, for a line that is parsed already. */
export function perform(kernel: Kernel, command: Command): string {
  warnings = ''
  if (command.before) command.before.check(send(kernel, command, [command.before.request]))
  const replies = send(kernel, command, command.requests)
  if (command.then) send(kernel, command, command.then(replies, kernel.devices))
  const text = warnings + printReplies(command, replies, kernel.devices)
  if (command.afterwards) throw command.afterwards
  return text
}

function send(kernel: Kernel, command: Command, requests: readonly Uint8Array[]): Uint8Array[] {
  const replies: Uint8Array[] = []
  const reply = (m: Uint8Array): void => {
    replies.push(m)
  }
  try {
    for (const request of requests) {
      sequence = (sequence + 1) >>> 0 || 1
      setMsgSeq(viewOf(request), 0, sequence)
      const warning = kernel.ask(request, reply)
      if (warning !== '') warnings += `${warningText(warning)}\n`
    }
  } catch (e) {
    if (e instanceof NetlinkError) throw refusalText(command, e.errno, e.message)
    throw e
  }
  return replies
}

/** Any name is a device: for checking the grammar of a line before the devices that it names exist. */
const ANY: Devices = { indexOf: () => 1, nameOf: (i) => `if${i}` }

/** Throws LanguageError when the line is none, whatever devices there are. */
export function check(words: readonly string[]): void {
  parseCommand(words, ANY)
}
