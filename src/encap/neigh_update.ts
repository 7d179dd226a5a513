// A neighbour changed: the notifier posts, the event worker follows (mlx5e_rep_netevent_event, mlx5e_rep_neigh_update;
// scheme 3.10, 3.11).
//
// The notifier is called by net/neigh.ts on whatever thread changed a neighbour. It finds the neigh hash entry under RCU,
// takes it and posts the work inside it; a work that is pending already will read what changed just now, because the
// pending mark goes before the work reads (sync/workqueue.ts), so the event needs nothing of its own: no memory, no state,
// no order between events (races 40, 46, 47, 58). It knows nothing of flows and takes no lock of encap/.
//
// The work reads the neighbour anew by (address, device), never the object of the event (races 53, 87), and settles each
// entry of the next hop in a critical section of its own.

import type { Arena } from '../memory/arena.ts'
import { NEIGH_DEV, NEIGH_FAMILY, neighAddress } from '../net/neigh.ts'
import { post } from '../sync/workqueue.ts'
import { isReady } from './encap_entry.ts'
import { encapPut } from './encap_put.ts'
import { type Pinned, putFlows } from './flow_path.ts'
import { NHE_WORK, nheLookup, nhePut, takeEncaps } from './neigh_hash_entry.ts'
import { lockEncaps, STAT_COALESCED, STAT_EVENTS, STAT_NEIGH_WORKS, tally, unlockEncaps } from './root.ts'
import { settleLocked } from './settle.ts'
import { traceRepNeighUpdate } from './trace.ts'

/** The notifier: neighbour `n` (its struct in the neighbour table) changed. An online RCU reader; no lock of rank neigh or below. */
export function neighEvent(a: Arena, n: number): void {
  const nhe = nheLookup(a, a.m[(n + NEIGH_FAMILY) >> 2], neighAddress(a, n), a.m[(n + NEIGH_DEV) >> 2])
  if (nhe !== 0) postNeighUpdate(a, nhe)
}

/** Queues the neigh update of a next hop; the reference that the caller took goes with it, or is given back. */
export function postNeighUpdate(a: Arena, nhe: number): void {
  tally(a, STAT_EVENTS)
  if (post(a.m, (nhe + NHE_WORK) >> 2)) return
  tally(a, STAT_COALESCED)
  nhePut(a, nhe)
}

/** The work: settles every entry of the next hop, and gives back the reference that came with the event. */
export function neighUpdate(a: Arena, nhe: number): void {
  tally(a, STAT_NEIGH_WORKS)
  traceRepNeighUpdate(a, nhe)
  const pinned: Pinned[] = []
  for (const e of takeEncaps(a, nhe)) {
    lockEncaps(a)
    if (isReady(a, e)) settleLocked(a, e, pinned)
    unlockEncaps(a)
    putFlows(a, pinned)
    pinned.length = 0
    encapPut(a, e)
  }
  nhePut(a, nhe)
}
