// `ip OBJECT …`: which object, then its own file (ip.c).

import type { Command, ParseContext } from './command.ts'
import { parseAddr } from './ip_addr.ts'
import { parseLink } from './ip_link.ts'
import { parseIpMonitor } from './ip_monitor.ts'
import { parseNeigh } from './ip_neigh.ts'
import { parseRoute } from './ip_route.ts'
import { LanguageError } from './language_error.ts'
import { NOTHING, usage } from './usage.ts'

const HELP = 'ip [ OPTIONS ] { link | address | route | neighbour | monitor } { COMMAND | help }'

const OBJECTS: readonly (readonly [string, (c: ParseContext) => Command])[] = [
  ['address', parseAddr],
  ['route', parseRoute],
  ['neighbor', parseNeigh],
  ['neighbour', parseNeigh],
  ['link', parseLink],
  ['monitor', parseIpMonitor],
]

/** Parses from the object word on. Throws LanguageError. */
export function parseIp(c: ParseContext): Command {
  const { args, options } = c
  if (options.batch !== undefined) return { ...NOTHING, program: 'ip', options, batch: options.batch }
  if (options.version) {
    return { ...NOTHING, program: 'ip', options, show: (_r, out) => out.raw('ip utility, iproute2-6.1.0\n') }
  }
  if (options.help || !args.more) return usage('ip', options, HELP)
  for (const [object, parse] of OBJECTS) {
    if (args.matches(object)) {
      args.skip()
      return parse(c)
    }
  }
  if (args.matches('help')) return usage('ip', options, HELP)
  throw new LanguageError(`Object "${args.word}" is unknown, try "ip help".`, 1, args.word)
}
