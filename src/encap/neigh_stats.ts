// Is a next hop in use? What the flows' counters say, and what follows (mlx5e_tc_update_neigh_used_value; scheme 3.14).
//
// Packets on the fast path never touch the neighbour table. In MODE_OFFLOAD this work therefore tells the neighbour, once
// a period, that it is used: a stale one begins its delay and is asked, as if a packet had gone to it. In MODE_SOFTWARE
// packets themselves do that (the header is withheld from a stale next hop), and the work only reports.
//
// The period is the least delay_probe_time. The work posts itself again while there are next hops, and whoever makes an
// entry valid posts it, so it ends by itself and is never lost (race 64). `used` means: a counter of a flow that is
// attached says it was used after NHE_REPORTED_LASTUSE; then that becomes now (race 68).
//
// The kick work is its companion for next hops that are not resolved: in MODE_OFFLOAD they are asked again every second
// while flows wait for them (race 92); in both modes, what lacked memory is tried again.

import type { Arena } from '../memory/arena.ts'
import { counterRead } from '../memory/counters.ts'
import { FLOW_COUNTER, FLOW_F_OFFLOADED, FLOW_FLAGS, FLOW_REFCNT } from '../memory/layout/flow.ts'
import { SLOW_ERROR, SLOW_NEIGH_FAILED, SLOW_NEIGH_NONE } from '../memory/layout/slow.ts'
import { first, next } from '../memory/list.ts'
import { neighLookup } from '../net/neigh.ts'
import { neighUse } from '../net/neigh_update.ts'
import { load } from '../sync/atomic.ts'
import * as Refcount from '../sync/refcount.ts'
import { askNeigh } from './ask_neigh.ts'
import { ENTRY_FLOWS, ENTRY_NHE, ENTRY_WHY, ITEM_FLOW, ITEM_LINK, isReady, isValid } from './encap_entry.ts'
import { encapPut } from './encap_put.ts'
import { hooksOf } from './hooks.ts'
import {
  NHE_DEV,
  NHE_FAMILY,
  NHE_REPORTED_LASTUSE,
  nheAddress,
  nhePut,
  takeEncaps,
  takeNhes,
} from './neigh_hash_entry.ts'
import { isSoftware, lockEncaps, postKick, postNeighStats, unlockEncaps } from './root.ts'
import { settleAll, takeEntries } from './route_update.ts'
import { traceUpdateNeighUsedValue } from './trace.ts'

/** The work. */
export function neighStats(a: Arena): void {
  const nhes = takeNhes(a)
  if (nhes.length > 0) postNeighStats(a)
  for (const nhe of nhes) {
    const used = takeEncaps(a, nhe)
      .map((e) => isUsed(a, nhe, e))
      .includes(true)
    traceUpdateNeighUsedValue(a, nhe, used)
    if (used) reportUse(a, nhe)
    nhePut(a, nhe)
  }
}

/** Has traffic gone through an entry since the last report? Gives back the entry that the caller took. */
function isUsed(a: Arena, nhe: number, e: number): boolean {
  const { m } = a
  const flows: number[] = []
  let used = false
  lockEncaps(a)
  if (isReady(a, e) && isValid(a, e))
    for (let item = first(a, e + ENTRY_FLOWS); item !== 0 && !used; item = next(a, item, ITEM_LINK)) {
      const flow = m[(item + ITEM_FLOW) >> 2]
      if (!Refcount.take(m, (flow + FLOW_REFCNT) >> 2)) continue
      flows.push(flow)
      if (!(load(m, (flow + FLOW_FLAGS) >> 2) & FLOW_F_OFFLOADED)) continue
      const { lastUsed } = counterRead(a, m[(flow + FLOW_COUNTER) >> 2])
      used = lastUsed !== 0 && (((lastUsed | 0) - m[(nhe + NHE_REPORTED_LASTUSE) >> 2]) | 0) > 0
    }
  unlockEncaps(a)
  for (const flow of flows) hooksOf(a).flows.put(a, flow)
  encapPut(a, e)
  return used
}

function reportUse(a: Arena, nhe: number): void {
  const { m } = a
  const now = hooksOf(a).now()
  m[(nhe + NHE_REPORTED_LASTUSE) >> 2] = (now + 1) | 0 // as COUNTER_LAST_USED: milliseconds + 1
  if (isSoftware(a)) return
  const n = neighLookup(a, m[(nhe + NHE_FAMILY) >> 2], nheAddress(a, nhe), m[(nhe + NHE_DEV) >> 2])
  if (n !== 0) neighUse(a, n, now)
}

/** The kick work: once more for what is still wanted and not there. */
export function kick(a: Arena): void {
  const lacking: number[] = []
  const entries = takeEntries(a)
  const asked = new Set<number>()
  for (const e of entries) {
    const why = a.m[(e + ENTRY_WHY) >> 2]
    if (why === SLOW_ERROR) lacking.push(e)
    else {
      const nhe = a.m[(e + ENTRY_NHE) >> 2]
      if ((why === SLOW_NEIGH_FAILED || why === SLOW_NEIGH_NONE) && !isSoftware(a) && nhe !== 0) asked.add(nhe)
    }
  }
  for (const nhe of asked) askNeigh(a, nhe)
  if (asked.size > 0) postKick(a)
  for (const e of entries) if (!lacking.includes(e)) encapPut(a, e)
  settleAll(a, lacking)
}
