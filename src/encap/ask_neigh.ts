// Asks for a next hop without a packet: neigh_event_send(n, NULL) of mlx5e (scheme 3.6 H7, 3.14 G5).
//
// The request itself goes out when the host next looks at its timers. MODE_OFFLOAD only.

import type { Arena } from '../memory/arena.ts'
import { neighGet, neighUse } from '../net/neigh_update.ts'
import { hooksOf } from './hooks.ts'
import { NHE_DEV, NHE_FAMILY, nheAddress } from './neigh_hash_entry.ts'

/** Asks, making the neighbour if there is none. Takes lock neighbour; encap_tbl may be held. */
export function askNeigh(a: Arena, nhe: number): void {
  const now = hooksOf(a).now()
  const n = neighGet(a, a.m[(nhe + NHE_FAMILY) >> 2], nheAddress(a, nhe), a.m[(nhe + NHE_DEV) >> 2], now)
  if (n !== 0) neighUse(a, n, now)
}
