// The end of an encap entry (mlx5e_encap_put, mlx5e_encap_dealloc).
//
// The count falls to zero only under encap_tbl and together with the removal from the table, so a lookup under the lock
// never revives a dying entry (race 16). Teardown comes after the lock is dropped: leaving the neigh hash entry may take
// neigh, and nobody needs encap_tbl for what nobody finds any more. Packets may still be reading entry and header, and
// the event worker may be failing to take it: memory goes back after a grace period.

import type { Arena } from '../memory/arena.ts'
import { hashRemove } from '../memory/hash_table.ts'
import { ENCAP_HEADER, ENCAP_SIZE, ENCAP_TUN } from '../memory/layout/encap.ts'
import { remove } from '../memory/list.ts'
import { freeRcu, TAG_ENCAP, TAG_TUN_INFO } from '../memory/pool.ts'
import { publish } from '../sync/rcu.ts'
import * as Refcount from '../sync/refcount.ts'
import { retireHeader } from '../tunnel/header.ts'
import {
  ENTRY_F_DEVICE,
  ENTRY_F_HASHED,
  ENTRY_FLAGS,
  ENTRY_HASH,
  ENTRY_LINK,
  ENTRY_REFCNT,
  ENTRY_TEMPLATE,
  tunSize,
} from './encap_entry.ts'
import { nheDetach } from './neigh_hash_entry.ts'
import { lockEncaps, ROOT_ENCAP_TABLE, rootOf, unlockEncaps } from './root.ts'
import { routeDetachLocked } from './route_entry.ts'

/** Gives a reference back, with no lock held. The last one tears down. */
export function encapPut(a: Arena, e: number): void {
  if (Refcount.putNotLast(a.m, (e + ENTRY_REFCNT) >> 2)) return
  lockEncaps(a)
  const last = encapPutLocked(a, e)
  unlockEncaps(a)
  if (last) encapDealloc(a, e)
}

/** Under encap_tbl. True: it was the last reference, the entry is out of the tables and the caller deallocates it after unlocking. */
export function encapPutLocked(a: Arena, e: number): boolean {
  if (!Refcount.put(a.m, (e + ENTRY_REFCNT) >> 2)) return false
  encapUnlinkLocked(a, e)
  return true
}

/** Takes an entry out of the tables of encap_tbl: at its end, or at once when its creation failed (race 15). */
export function encapUnlinkLocked(a: Arena, e: number): void {
  const { m } = a
  const flags = m[(e + ENTRY_FLAGS) >> 2]
  if (flags & ENTRY_F_HASHED) hashRemove(a, rootOf(a) + ROOT_ENCAP_TABLE, m[(e + ENTRY_HASH) >> 2], e)
  m[(e + ENTRY_FLAGS) >> 2] = flags & ~ENTRY_F_HASHED
  remove(a, e, ENTRY_LINK)
  routeDetachLocked(a, e)
}

/** mlx5e_encap_dealloc: nobody can find the entry any more but the datapath and passes that fail to take it. No lock held. */
export function encapDealloc(a: Arena, e: number): void {
  const { m } = a
  nheDetach(a, e)
  publish(m, (e + ENCAP_HEADER) >> 2, 0)
  const h = m[(e + ENTRY_TEMPLATE) >> 2]
  if (h !== 0) retireHeader(a, h)
  const tun = m[(e + ENCAP_TUN) >> 2]
  if (!(m[(e + ENTRY_FLAGS) >> 2] & ENTRY_F_DEVICE)) freeRcu(a, tun, tunSize(a, tun), TAG_TUN_INFO)
  freeRcu(a, e, ENCAP_SIZE, TAG_ENCAP)
}
