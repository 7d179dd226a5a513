// `tc OBJECT …`: which object, then its own file (tc.c).

import { parseActions } from './actions.ts'
import { parseClass } from './class.ts'
import type { Command, ParseContext } from './command.ts'
import { parseChain, parseFilter } from './filter.ts'
import { LanguageError } from './language_error.ts'
import { parseMonitor } from './monitor.ts'
import { parseQdisc } from './qdisc.ts'
import { NOTHING, usage } from './usage.ts'

const OBJECTS: readonly (readonly [string, (c: ParseContext) => Command])[] = [
  ['qdisc', parseQdisc],
  ['class', parseClass],
  ['filter', parseFilter],
  ['chain', parseChain],
  ['actions', parseActions],
  ['monitor', parseMonitor],
]

/** Parses from the object word on. Throws LanguageError. */
export function parseTc(c: ParseContext): Command {
  const { args, options } = c
  if (options.batch !== undefined) return { ...NOTHING, program: 'tc', options, batch: options.batch }
  if (options.version)
    return { ...NOTHING, program: 'tc', options, show: (_r, out) => out.raw('tc utility, iproute2-6.1.0\n') }
  if (options.help || !args.more)
    return usage(
      'tc',
      options,
      'tc [ OPTIONS ] { qdisc | class | filter | chain | actions | monitor } { COMMAND | help }',
    )
  for (let i = 0; i < OBJECTS.length; i++) {
    if (!args.matches(OBJECTS[i][0])) continue
    args.skip()
    return OBJECTS[i][1](c)
  }
  if (args.matches('help'))
    return usage(
      'tc',
      options,
      'tc [ OPTIONS ] { qdisc | class | filter | chain | actions | monitor } { COMMAND | help }',
    )
  throw new LanguageError(`Object "${args.word}" is unknown, try "tc help".`, 255, args.word)
}
