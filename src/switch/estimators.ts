// Who samples the rate estimators of actions (flow/estimator.ts): a timer for each, on the thread that owns the clock.
// Threads that make filters leave new ones in a list; each is met here before its first interval is over.

import { actionStatsLocked } from '../flow/action_stats.ts'
import { lockKind, unlockKind } from '../flow/action_table.ts'
import { estimatorsWaiting } from '../flow/context.ts'
import { ENDED, expiresOf, intervalOf, SCALE, setExpires } from '../flow/estimator.ts'
import { TimerHeap } from '../host/timer_heap.ts'
import type { Arena } from '../memory/arena.ts'
import { ACT_KIND } from '../memory/layout/action.ts'
import * as E from '../memory/layout/action_state.ts'
import { freeRcu, TAG_ESTIMATOR } from '../memory/pool.ts'
import { add, exchange, load, store } from '../sync/atomic.ts'

const U32_MAX = 0xffffffffn

export class Estimators {
  readonly #a: Arena
  readonly #waiting: number
  readonly #timers = new TimerHeap()

  constructor(a: Arena) {
    this.#a = a
    this.#waiting = estimatorsWaiting(a)
  }

  /** When `run` is next wanted: milliseconds of the switch's clock, Infinity while there is no estimator. */
  get next(): number {
    if (load(this.#a.m, this.#waiting) !== 0) this.#meet()
    return this.#timers.next()
  }

  /** Samples those whose interval is over. */
  run(now: number): void {
    for (let est = this.#timers.take(now); est >= 0; est = this.#timers.take(now))
      if (sample(this.#a, est, now)) this.#timers.arm(est, expiresOf(this.#a, est))
  }

  #meet(): void {
    const { m } = this.#a
    for (let est = exchange(m, this.#waiting, 0); est !== 0; est = m[(est + E.EST_NEXT) >> 2])
      this.#timers.arm(est, expiresOf(this.#a, est))
  }
}

/** The end of an interval (est_timer). False: the action is gone, and so is the estimator. */
function sample(a: Arena, est: number, now: number): boolean {
  const { m } = a
  const counted = countedBy(a, est)
  if (counted === undefined) {
    freeRcu(a, est, E.EST_SIZE, TAG_ESTIMATOR)
    return false
  }
  add(m, (est + E.EST_SEQ) >> 2, 1)
  const bps = average(a, est, E.EST_AVBPS, E.EST_LAST_BYTES, counted.bytes)
  average(a, est, E.EST_AVPPS, E.EST_LAST_PACKETS, counted.packets)
  add(m, (est + E.EST_SEQ) >> 2, 1)
  store(m, (est + E.EST_BPS) >> 2, Number(bps > U32_MAX ? U32_MAX : bps) | 0)
  const next = expiresOf(a, est) + intervalOf(m, est)
  setExpires(a, est, next > now ? next : now + 1)
  return true
}

/** What the estimator's action has counted, undefined when it is gone. */
function countedBy(a: Arena, est: number): { bytes: number; packets: number } | undefined {
  const { m } = a
  const act = load(m, (est + E.EST_ACT) >> 2)
  if (act === ENDED) return undefined
  const kind = m[(act + ACT_KIND) >> 2]
  lockKind(m, kind)
  try {
    return m[(est + E.EST_ACT) >> 2] === ENDED ? undefined : actionStatsLocked(a, act)
  } finally {
    unlockKind(m, kind)
  }
}

/** Moves an average by what came since the last count; gives it back without its fraction. */
function average(a: Arena, est: number, average: number, last: number, counted: number): bigint {
  const { d } = a
  const interval = BigInt(a.m[(est + E.EST_INTERVAL_LOG) >> 2])
  const ewma = BigInt(a.m[(est + E.EST_EWMA_LOG) >> 2])
  const was = d.getBigUint64(est + average, true)
  const since = BigInt.asUintN(64, (BigInt(counted) - d.getBigUint64(est + last, true)) << (10n - interval))
  const is = BigInt.asUintN(64, was + (since >> ewma) - (was >> ewma))
  d.setBigUint64(est + average, is, true)
  d.setBigUint64(est + last, BigInt(counted), true)
  return is >> SCALE
}
