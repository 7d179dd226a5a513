// `estimator INTERVAL TIMECONST` in front of a filter or a qdisc (m_estimator.c, tc_estimator.c): struct tc_estimator of
// TCA_RATE. The kernel knows six intervals, from a quarter of a second to eight, and weights that are powers of two, so
// the words are rounded to the interval above and to the largest weight that forgets within the time constant.

import { parseTime } from '../action/rate_text.ts'
import type { Builder } from '../wire/netlink.ts'
import { putTcEstimator } from '../wire/tcm.ts'
import type { Args } from './args.ts'

/** Microseconds of the shortest interval. */
const QUARTER = 250_000
const INTERVALS = 6

export interface Estimator {
  /** The interval is a second times 2 to this. */
  interval: number
  /** Logarithm of the weight; 0: there is no estimator. */
  ewmaLog: number
}

const HELP = [
  'Usage: ... estimator INTERVAL TIME-CONST',
  '  INTERVAL is interval between measurements',
  '  TIME-CONST is averaging time constant',
  'Example: ... est 1sec 8sec',
]

/** Reads the two words behind `estimator`; stands on the second afterwards. `raw`: says what it made of them. */
export function parseEstimator(args: Args, e: Estimator, raw: boolean): void {
  args.next()
  if (e.ewmaLog !== 0) throw args.duparg('estimator')
  const interval = time(args, 'interval')
  args.next()
  const constant = time(args, 'time constant')
  if (!setup(e, interval, constant)) throw args.fail('Error: estimator parameters are out of range.', 255)
  if (raw) args.say(`[estimator i=${e.interval} e=${e.ewmaLog}]`)
}

function time(args: Args, what: string): number {
  if (args.matches('help')) for (const line of HELP) args.say(line)
  const us = parseTime(args.word)
  if (Number.isNaN(us)) throw args.invarg('estimator', `invalid estimator ${what}`)
  return us
}

/** tc_setup_estimator. False: there is no such one. */
function setup(e: Estimator, interval: number, constant: number): boolean {
  let log = 0
  while (log < INTERVALS && interval > QUARTER * 2 ** log) log++
  if (log === INTERVALS) return false
  e.interval = log - 2
  let ewma = 1
  // As C has it: 1 << 31 is negative, and so is the logarithm.
  while (ewma < 32 && (ewma === 31 || interval / -Math.log(1 - 1 / 2 ** ewma) <= constant)) ewma++
  e.ewmaLog = ewma - 1
  return e.ewmaLog !== 0 && e.ewmaLog < 31
}

/** Appends TCA_RATE, if there is an estimator. */
export function putEstimator(b: Builder, e: Estimator): void {
  if (e.ewmaLog !== 0) putTcEstimator(b, e.interval, e.ewmaLog)
}
