// When a line of a scenario runs: the words in front of it.
//
//   @1.5s tc …         1.5 seconds after the first packet
//   @+200ms tc …       200 ms after the moment of the line before (from the first packet, when that has none)
//   @packet 100 tc …   when 100 packets have been received
import { ScenarioError } from './scenario_error.ts'

export interface Moment {
  readonly kind: 'at' | 'after' | 'packet'
  /** Nanoseconds, or packets. */
  readonly value: number
}

const UNIT: Record<string, number> = { ns: 1, us: 1e3, ms: 1e6, s: 1e9, m: 60e9, min: 60e9, h: 3600e9 }

/** Takes the moment off the front of a line. `where` is for the message of a bad one. */
export function parseMoment(
  words: readonly string[],
  where: string,
): { moment: Moment | null; words: readonly string[] } {
  const first = words[0]
  if (first === undefined || !first.startsWith('@')) return { moment: null, words }
  if (first === '@packet') {
    if (!/^\d+$/.test(words[1] ?? ''))
      throw new ScenarioError(`${where}: "@packet ${words[1] ?? ''}": expected a number of packets`)
    return { moment: { kind: 'packet', value: Number(words[1]) }, words: words.slice(2) }
  }
  const [, plus, number, unit] = /^@(\+?)(\d+(?:\.\d+)?|\.\d+)(ns|us|ms|s|m|min|h)$/.exec(first) ?? []
  if (number === undefined)
    throw new ScenarioError(`${where}: "${first}": expected @TIME or @+TIME, as 1.5s or 200ms, or @packet N`)
  return {
    moment: { kind: plus ? 'after' : 'at', value: Math.round(Number(number) * UNIT[unit]) },
    words: words.slice(1),
  }
}
