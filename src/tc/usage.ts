// A command that asks for help, or that does nothing: what the other files share to say so.

import type { Command } from './command.ts'
import type { Options } from './options.ts'

/** The parts of a Command that sends nothing. */
export const NOTHING = { requests: [] as Uint8Array[], onRefusal: { line: '', exitCode: 2 } }

/** A Command that only says how a command is used. */
export const usage = (program: 'tc' | 'ip', options: Options, text: string): Command => ({
  ...NOTHING,
  program,
  options,
  usage: `Usage: ${text}`,
})
