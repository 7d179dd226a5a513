// The options in front of the object word: -s -d -j -p -o -force -batch … of `tc` (tc.c) and `ip` (ip.c).

import { AF_BRIDGE, AF_INET, AF_INET6, AF_MPLS, AF_PACKET, AF_UNSPEC } from '../wire/rtm_route.ts'
import type { Args } from './args.ts'
import { isPrefix } from './args.ts'
import { LanguageError } from './language_error.ts'

export interface Options {
  readonly json: boolean
  readonly pretty: boolean
  readonly stats: number
  readonly details: boolean
  readonly oneline: boolean
  readonly brief: boolean
  readonly force: boolean
  /** -4, -6, -f FAMILY of `ip` */
  readonly family: number
  readonly timestamp: boolean
  /** -r of tc: handles in hexadecimal besides */
  readonly raw: boolean
  readonly batch: string | undefined
  readonly version: boolean
  readonly help: boolean
}

type Draft = { -readonly [K in keyof Options]: Options[K] }

export const NO_OPTIONS: Options = {
  json: false,
  pretty: false,
  stats: 0,
  details: false,
  oneline: false,
  brief: false,
  force: false,
  family: AF_UNSPEC,
  timestamp: false,
  raw: false,
  batch: undefined,
  version: false,
  help: false,
}

type Setter = (o: Draft, args: Args) => void

const set = {
  json: (o: Draft) => {
    o.json = true
  },
  pretty: (o: Draft) => {
    o.pretty = true
  },
  stats: (o: Draft) => {
    o.stats++
  },
  details: (o: Draft) => {
    o.details = true
  },
  oneline: (o: Draft) => {
    o.oneline = true
  },
  brief: (o: Draft) => {
    o.brief = true
  },
  force: (o: Draft) => {
    o.force = true
  },
  timestamp: (o: Draft) => {
    o.timestamp = true
  },
  version: (o: Draft) => {
    o.version = true
  },
  help: (o: Draft) => {
    o.help = true
  },
  batch: (o: Draft, args: Args) => {
    o.batch = args.next()
  },
  raw: (o: Draft) => {
    o.raw = true
  },
  nothing: () => {},
  // Accepting what we do not do would be a lie.
  unsupported: (_o: Draft, args: Args) => {
    throw new LanguageError(`Option "${args.word}" is not supported.`, 255, args.word, true)
  },
} satisfies Record<string, Setter>

// In the order in which the programs try them: an abbreviation is the first of these that it begins.
// There is no colour here: to ask for none, or for some where it fits, is fine; to insist on it is not.
const color: Setter = (_o, args) => {
  const [, when] = args.word.split('=')
  if (when !== 'never' && when !== 'auto') set.unsupported(_o, args)
}

const TC: readonly (readonly [string, Setter])[] = [
  ['-stats', set.stats],
  ['-statistics', set.stats],
  ['-details', set.details],
  ['-raw', set.raw],
  ['-pretty', set.pretty],
  ['-graph', set.unsupported],
  ['-Version', set.version],
  ['-iec', set.unsupported],
  ['-help', set.help],
  ['-force', set.force],
  ['-batch', set.batch],
  ['-netns', set.unsupported],
  ['-Numeric', set.unsupported],
  ['-names', set.unsupported],
  ['-nm', set.unsupported],
  ['-cf', set.unsupported],
  ['-conf', set.unsupported],
  ['-color', color],
  ['-timestamp', set.timestamp],
  ['-tshort', set.timestamp],
  ['-json', set.json],
  ['-oneline', set.oneline],
  ['-brief', set.brief],
]

const FAMILIES: Readonly<Record<string, number>> = {
  inet: AF_INET,
  inet6: AF_INET6,
  link: AF_PACKET,
  mpls: AF_MPLS,
  bridge: AF_BRIDGE,
}

const family =
  (n: number): Setter =>
  (o) => {
    o.family = n
  }

const IP: readonly (readonly [string, Setter])[] = [
  ['-loops', (_o, args) => void args.next()],
  [
    '-family',
    (o, args) => {
      const word = args.next()
      if (!(word in FAMILIES)) throw args.invarg('invalid protocol family')
      o.family = FAMILIES[word]
    },
  ],
  ['-4', family(AF_INET)],
  ['-6', family(AF_INET6)],
  ['-0', family(AF_PACKET)],
  ['-M', family(AF_MPLS)],
  ['-B', family(AF_BRIDGE)],
  ['-human-readable', set.unsupported],
  ['-iec', set.unsupported],
  ['-stats', set.stats],
  ['-statistics', set.stats],
  ['-details', set.details],
  ['-resolve', set.unsupported],
  ['-oneline', set.oneline],
  ['-timestamp', set.timestamp],
  ['-tshort', set.timestamp],
  ['-Version', set.version],
  ['-force', set.force],
  ['-batch', set.batch],
  ['-brief', set.brief],
  ['-json', set.json],
  ['-pretty', set.pretty],
  ['-rcvbuf', (_o, args) => void args.next()],
  ['-color', color],
  ['-help', set.help],
  ['-netns', set.unsupported],
  ['-Numeric', set.unsupported],
  ['-all', set.unsupported],
  ['-echo', set.unsupported],
]

// The lines of a batch come with the same options each: one object for all of them.
let lastGiven: Partial<Options> = {}
let lastOptions: Options = NO_OPTIONS

function optionsFrom(given: Partial<Options>): Options {
  if (given !== lastGiven) {
    lastOptions = { ...NO_OPTIONS, ...given }
    lastGiven = given
  }
  return lastOptions
}

/** Reads the options at the cursor; `given` is what holds already. */
export function parseOptions(args: Args, program: 'tc' | 'ip', given: Partial<Options>): Options {
  if (!args.more || args.word.charCodeAt(0) !== 0x2d) return optionsFrom(given)
  const o: Draft = { ...NO_OPTIONS, ...given }
  while (args.more && args.word.charCodeAt(0) === 0x2d) {
    let word = args.word
    if (program === 'ip') {
      if (word === '--') {
        args.skip()
        break
      }
      if (word.startsWith('--')) word = word.slice(1)
    }
    // matches_color(): the word may say when.
    const begin = word.startsWith('-c') ? word.split('=')[0] : word
    const found = (program === 'tc' ? TC : IP).find(([full]) => isPrefix(begin, full))
    if (!found) {
      const hint = program === 'tc' ? 'tc -help' : 'ip -help'
      throw new LanguageError(`Option "${word}" is unknown, try "${hint}".`, 255, word, true)
    }
    found[1](o, args)
    args.skip()
  }
  return o
}
