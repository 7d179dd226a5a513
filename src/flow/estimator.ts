// Rate estimators of actions (net/core/gen_estimator.c): how many bytes and packets a second, as a moving average.
//
// `tc filter add … estimator INTERVAL TIMECONST` gives one to every action that the filter makes. It is sampled at the end
// of each interval by the thread that owns the switch's clock (switch/estimators.ts), from what the action has counted:
//
//   average += (bytes of the interval / interval - average) / 2^ewma_log
//
// so the datapath does nothing for it; a policer with `avrate` only looks at the last average (EST_BPS). Estimator and
// action end apart: who drops the action says so in EST_ACT, under the kind's lock; at the end of the interval the
// sampler finds that and frees the estimator, after a grace period.

import type { Arena } from '../memory/arena.ts'
import { ACT_EST } from '../memory/layout/action.ts'
import * as E from '../memory/layout/action_state.ts'
import { alloc, free, TAG_ESTIMATOR } from '../memory/pool.ts'
import { cas, load } from '../sync/atomic.ts'
import { attrLen, type Builder, NLA_HDRLEN } from '../wire/netlink.ts'
import { EINVAL, ERANGE, NetlinkError, POLICY_TEXT } from '../wire/netlink_error.ts'
import { putTcEstimator, TC_ESTIMATOR_LEN } from '../wire/tcm.ts'

/** EST_ACT of one whose action is gone. */
export const ENDED = -1

/** Milliseconds of the shortest interval; intervals are this times a power of two. */
const QUARTER = 250
/** Bits of fraction that the averages have. */
export const SCALE = 8n

/** The largest struct tc_estimator that an attribute may hold (rtm_tca_policy). Checked for every request. */
export function checkRate(d: DataView, rate: number): void {
  if (rate !== 0 && attrLen(d, rate) > TC_ESTIMATOR_LEN) throw new NetlinkError(ERANGE, POLICY_TEXT, rate - NLA_HDRLEN)
}

/** Gives `act`, which is in no table yet, the estimator that the struct tc_estimator at `rate` describes. EINVAL. */
export function makeEstimator(a: Arena, act: number, d: DataView, rate: number, now: number): void {
  if (attrLen(d, rate) < TC_ESTIMATOR_LEN) throw new NetlinkError(EINVAL)
  const interval = d.getInt8(rate)
  const ewma = d.getUint8(rate + 1)
  if (interval < -2 || interval > 3 || ewma === 0 || ewma >= 31) throw new NetlinkError(EINVAL)
  const est = alloc(a, E.EST_SIZE, TAG_ESTIMATOR)
  a.m[(est + E.EST_INTERVAL_LOG) >> 2] = interval + 2
  a.m[(est + E.EST_EWMA_LOG) >> 2] = ewma
  setExpires(a, est, now + intervalOf(a.m, est))
  a.m[(act + ACT_EST) >> 2] = est
}

/** The action has entered its table: the sampler may look at it from now on. `waiting`: word of those it has not met. */
export function startEstimator(a: Arena, waiting: number, act: number): void {
  const est = a.m[(act + ACT_EST) >> 2]
  if (est === 0) return
  a.m[(est + E.EST_ACT) >> 2] = act
  do a.m[(est + E.EST_NEXT) >> 2] = load(a.m, waiting)
  while (!cas(a.m, waiting, a.m[(est + E.EST_NEXT) >> 2], est))
}

/** The action leaves its table. Holding its kind's lock. */
export function endEstimatorLocked(m: Int32Array, act: number): void {
  const est = m[(act + ACT_EST) >> 2]
  if (est !== 0 && m[(est + E.EST_ACT) >> 2] !== 0) {
    m[(act + ACT_EST) >> 2] = 0
    m[(est + E.EST_ACT) >> 2] = ENDED
  }
}

/** Frees the estimator of an action that never was in a table. */
export function discardEstimator(a: Arena, act: number): void {
  const est = a.m[(act + ACT_EST) >> 2]
  if (est !== 0) free(a, est, E.EST_SIZE, TAG_ESTIMATOR)
}

/** When its interval ends: milliseconds of the switch's clock. */
export const expiresOf = (a: Arena, est: number): number => Number(a.d.getBigUint64(est + E.EST_EXPIRES, true))
export const setExpires = (a: Arena, est: number, at: number): void =>
  a.d.setBigUint64(est + E.EST_EXPIRES, BigInt(at), true)
export const intervalOf = (m: Int32Array, est: number): number => QUARTER << m[(est + E.EST_INTERVAL_LOG) >> 2]

export interface Rate {
  /** Bytes and packets a second. */
  readonly bps: bigint
  readonly pps: bigint
}

/** The averages as they are (gen_estimator_read); undefined for an action without an estimator. Holding the kind's lock. */
export function rateOfLocked(a: Arena, act: number): Rate | undefined {
  const { m, d } = a
  const est = m[(act + ACT_EST) >> 2]
  if (est === 0) return undefined
  for (;;) {
    const seq = load(m, (est + E.EST_SEQ) >> 2)
    const bps = d.getBigUint64(est + E.EST_AVBPS, true) >> SCALE
    const pps = d.getBigUint64(est + E.EST_AVPPS, true) >> SCALE
    if ((seq & 1) === 0 && load(m, (est + E.EST_SEQ) >> 2) === seq) return { bps, pps }
  }
}

/** Writes the action's TCA_RATE, as a request says it, if it has an estimator. True: it has. */
export function putRate(b: Builder, m: Int32Array, act: number): boolean {
  const est = m[(act + ACT_EST) >> 2]
  if (est === 0) return false
  putTcEstimator(b, m[(est + E.EST_INTERVAL_LOG) >> 2] - 2, m[(est + E.EST_EWMA_LOG) >> 2])
  return true
}
