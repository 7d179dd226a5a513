// The routing table or a device changed: every entry that may go another way is settled again (after mlx5e_tc_fib_event_work;
// scheme 3.13, and what it does better: 9.3).
//
// One work for all changes. It asks again for each route entry whose generation is old, one critical section for each
// encap entry, and a route that still has the same answer costs one lookup. What changed after its look bumps the
// generation and posts it again. An entry whose next hop moved is registered on the new one (its neigh hash entry is
// re-keyed), one whose route went away loses its header and its flows go slow; nothing is ever left as it was.

import type { Arena } from '../memory/arena.ts'
import { first, next } from '../memory/list.ts'
import { add } from '../sync/atomic.ts'
import { post } from '../sync/workqueue.ts'
import { ENTRY_LINK, encapTake, isReady } from './encap_entry.ts'
import { encapPut } from './encap_put.ts'
import { type Pinned, putFlows } from './flow_path.ts'
import {
  lockEncaps,
  ROOT_DEV_GENERATION,
  ROOT_ENTRIES,
  ROOT_ROUTE_WORK,
  rootOf,
  STAT_ROUTE_WORKS,
  tally,
  unlockEncaps,
} from './root.ts'
import { settleLocked } from './settle.ts'

/** The notifier of net/fib.ts: any route came or went. No memory, no lock. */
export const routeEvent = (a: Arena): void => {
  post(a.m, (rootOf(a) + ROOT_ROUTE_WORK) >> 2)
}

/** The notifier of net/netdev.ts: flags, MAC, MTU or parameters of a device changed. */
export function deviceEvent(a: Arena): void {
  add(a.m, (rootOf(a) + ROOT_DEV_GENERATION) >> 2, 1)
  routeEvent(a)
}

/** Entries, each taken, oldest first; the caller puts them. */
export function takeEntries(a: Arena): number[] {
  const taken: number[] = []
  lockEncaps(a)
  for (let e = first(a, rootOf(a) + ROOT_ENTRIES); e !== 0; e = next(a, e, ENTRY_LINK))
    if (encapTake(a, e)) taken.push(e)
  unlockEncaps(a)
  return taken.reverse()
}

/** Settles entries, each in a critical section of its own, and puts them. */
export function settleAll(a: Arena, entries: readonly number[]): void {
  const pinned: Pinned[] = []
  for (const e of entries) {
    lockEncaps(a)
    if (isReady(a, e)) settleLocked(a, e, pinned)
    unlockEncaps(a)
    putFlows(a, pinned)
    pinned.length = 0
    encapPut(a, e)
  }
}

/** The work. */
export function routeUpdate(a: Arena): void {
  tally(a, STAT_ROUTE_WORKS)
  settleAll(a, takeEntries(a))
}
