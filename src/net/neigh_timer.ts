// What time does to neighbours: their timers (neigh_timer_handler) and the periodic collection (neigh_periodic_work).
// Called by the host's thread, which sends the requests that are due.

import type { Arena } from '../memory/arena.ts'
import {
  NUD_DELAY,
  NUD_FAILED,
  NUD_INCOMPLETE,
  NUD_PERMANENT,
  NUD_PROBE,
  NUD_REACHABLE,
  NUD_STALE,
  RTM_NEWNEIGH,
} from '../wire/rtm_neigh.ts'
import {
  lockNeighbours,
  NEIGH_CONFIRMED,
  NEIGH_DEAD,
  NEIGH_FAMILY,
  NEIGH_ON_GC_LIST,
  NEIGH_PROBES,
  NEIGH_STATE,
  NEIGH_USED,
  neighEach,
  neighNotify,
  setTimerLocked,
  unlockNeighbours,
} from './neigh.ts'
import {
  DELAY_PROBE_TIME,
  GC_STALETIME,
  GC_THRESH1,
  gcEntries,
  MCAST_PROBES,
  NUD_IN_TIMER,
  neighRemove,
  neighSetStateLocked,
  REACHABLE_TIME,
  RETRANS_TIME,
  UCAST_PROBES,
} from './neigh_update.ts'

/**
 * The state part of neigh_timer_handler: what the timer of a neighbour that ran out at `now` makes of it. Answers what
 * to do: 'probe' a request is due (and counted), 'failed' it has just failed, 'none'.
 */
export function neighExpire(a: Arena, n: number, now: number): 'probe' | 'failed' | 'none' {
  const m = a.m
  const t = now | 0
  lockNeighbours(a)
  let state = m[(n + NEIGH_STATE) >> 2]
  if (!(state & NUD_IN_TIMER) || m[(n + NEIGH_DEAD) >> 2]) {
    setTimerLocked(a, n, 0, false)
    unlockNeighbours(a)
    return 'none'
  }
  const confirmed = m[(n + NEIGH_CONFIRMED) >> 2]
  const since = (x: number): number => (t - x) | 0
  let expires = (t + RETRANS_TIME) | 0
  let notify = false
  let answer: 'probe' | 'failed' | 'none' = 'none'
  if (state & NUD_REACHABLE) {
    if (since(confirmed) <= REACHABLE_TIME) {
      expires = (confirmed + REACHABLE_TIME) | 0
    } else if (since(m[(n + NEIGH_USED) >> 2]) <= DELAY_PROBE_TIME) {
      state = NUD_DELAY
      neighSetStateLocked(a, n, state, t, true)
      expires = (t + DELAY_PROBE_TIME) | 0
    } else {
      state = NUD_STALE
      neighSetStateLocked(a, n, state, t, true)
      notify = true
    }
  } else if (state & NUD_DELAY) {
    if (since(confirmed) <= DELAY_PROBE_TIME) {
      state = NUD_REACHABLE
      neighSetStateLocked(a, n, state, t, true)
      notify = true
      expires = (confirmed + REACHABLE_TIME) | 0
    } else {
      state = NUD_PROBE
      m[(n + NEIGH_PROBES) >> 2] = 0
      neighSetStateLocked(a, n, state, t, true)
      notify = true
    }
  }
  const most = UCAST_PROBES + (state & NUD_PROBE ? 0 : MCAST_PROBES)
  if (state & (NUD_INCOMPLETE | NUD_PROBE) && m[(n + NEIGH_PROBES) >> 2] >= most) {
    neighSetStateLocked(a, n, NUD_FAILED, t, true)
    setTimerLocked(a, n, 0, false)
    notify = true
    answer = 'failed'
  } else {
    // Not sooner than in 10 ms: a timer that runs out just when the time is over finds it not quite over.
    if (((expires - t) | 0) < 10) expires = (t + 10) | 0
    setTimerLocked(a, n, expires, (state & NUD_IN_TIMER) !== 0)
    if (state & (NUD_INCOMPLETE | NUD_PROBE)) {
      m[(n + NEIGH_PROBES) >> 2]++
      answer = 'probe'
    }
  }
  unlockNeighbours(a)
  if (notify) neighNotify(a, RTM_NEWNEIGH, n)
  return answer
}

/** The periodic collection (neigh_periodic_work): failed ones, and those unused for GC_STALETIME, when there are many. */
export function neighGc(a: Arena, family: number, now: number): void {
  if (gcEntries(a, family) < GC_THRESH1) return
  const m = a.m
  neighEach(a, (n) => {
    if (m[(n + NEIGH_FAMILY) >> 2] !== family || m[(n + NEIGH_ON_GC_LIST) >> 2] === 0) return
    const state = m[(n + NEIGH_STATE) >> 2]
    if (state & (NUD_PERMANENT | NUD_IN_TIMER)) return
    const used = m[(n + NEIGH_USED) >> 2]
    const confirmed = m[(n + NEIGH_CONFIRMED) >> 2]
    const last = ((used - confirmed) | 0) < 0 ? confirmed : used
    if (state === NUD_FAILED || (((now | 0) - last) | 0) >= GC_STALETIME) neighRemove(a, n)
  })
}
