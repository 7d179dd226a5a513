// A flow joins its encap entries, and leaves them (mlx5e_attach_encap, mlx5e_detach_encap; scheme 3.4, 3.5).
//
// attach holds encap_tbl over all destinations of the flow, so that nobody ever sees a flow with half its entries (races
// 31, 90), and makes missing entries whole under it: whoever finds one, finds it ready. Inside, nothing waits for another
// thread. From the unlock on the event worker may find the flow and wait for its init_done, therefore the caller
//
//   attach ── build and publish the program ── set FLOW_F_OFFLOADED ── complete FLOW_INIT_DONE     never takes encap_tbl
//   attach ── failed ── set FLOW_F_FAILED ── complete FLOW_INIT_DONE (negative) ── detach          in between (race 33)
//
// and tearing down: program out of the tables ── complete FLOW_DEL_HW_DONE ── detach (race 37).
// Called from control threads, many at once, each an online RCU reader.

import type { Arena } from '../memory/arena.ts'
import { hashInsert, hashLookup } from '../memory/hash_table.ts'
import { TUN_REFCNT } from '../memory/layout/action.ts'
import { ENCAP_DEV, ENCAP_SIZE, ENCAP_TUN } from '../memory/layout/encap.ts'
import { FLOW_ENCAPS, FLOW_F_SLOW, FLOW_FLAGS, FLOW_NENCAPS, FLOW_WHY } from '../memory/layout/flow.ts'
import { insert, remove } from '../memory/list.ts'
import { alloc, free, TAG_ENCAP, TAG_LIST, TAG_TUN_INFO } from '../memory/pool.ts'
import { or, store } from '../sync/atomic.ts'
import * as Completion from '../sync/completion.ts'
import { ENCAP_TBL } from '../sync/lock_order.ts'
import { assertHeld } from '../sync/mutex.ts'
import * as Refcount from '../sync/refcount.ts'
import { self } from '../sync/thread.ts'
import { EOPNOTSUPP, NetlinkError } from '../wire/netlink_error.ts'
import {
  ENTRY_F_HASHED,
  ENTRY_F_VALID,
  ENTRY_FLAGS,
  ENTRY_FLOWS,
  ENTRY_HASH,
  ENTRY_ID,
  ENTRY_ITEMS,
  ENTRY_LINK,
  ENTRY_REFCNT,
  ENTRY_RES_READY,
  encapTake,
  ITEM_ENTRY,
  ITEM_F_VALID,
  ITEM_FLAGS,
  ITEM_FLOW,
  ITEM_LINK,
  ITEM_OWNER,
  ITEM_SIZE,
  isReady,
  tunSize,
} from './encap_entry.ts'
import { encapHash, hasKey } from './encap_key.ts'
import { encapDealloc, encapPutLocked } from './encap_put.ts'
import { itemOf, whyLocked } from './flow_path.ts'
import { lockEncaps, ROOT_ENCAP_TABLE, ROOT_ENTRIES, ROOT_NEXT_ID, rootOf, unlockEncaps } from './root.ts'
import { settleLocked } from './settle.ts'

/** Destinations of one flow (MLX5_MAX_FLOW_FWD_VPORTS). */
export const MAX_ENCAPS = 32

/** One encap destination: the metadata of its tunnel_key, and the tunnel device that it is sent into (addresses). */
export interface EncapItem {
  readonly tun: number
  readonly dev: number
}

/**
 * Attaches all encap destinations of a new flow: FLOW_NENCAPS and FLOW_ENCAPS. True when all its entries are valid; else
 * FLOW_F_SLOW and FLOW_WHY are set and the flow begins with its slow program. Throws EOPNOTSUPP for more than 32
 * destinations and MemoryError; then nothing is attached.
 */
export function attach(a: Arena, flow: number, items: readonly EncapItem[]): boolean {
  const { m } = a
  const n = items.length
  if (n === 0) return true
  if (n > MAX_ENCAPS) throw new NetlinkError(EOPNOTSUPP, `more than ${MAX_ENCAPS} encap destinations`)
  const block = alloc(a, n * ITEM_SIZE, TAG_LIST)
  let attached = 0
  let failure: unknown
  let why = 0
  lockEncaps(a)
  try {
    for (; attached < n; attached++) attachItemLocked(a, flow, block + attached * ITEM_SIZE, items[attached])
    m[(flow + FLOW_ENCAPS) >> 2] = block
    m[(flow + FLOW_NENCAPS) >> 2] = n
    why = whyLocked(a, flow)
    if (why !== 0) {
      store(m, (flow + FLOW_WHY) >> 2, why)
      or(m, (flow + FLOW_FLAGS) >> 2, FLOW_F_SLOW)
    }
  } catch (e) {
    failure = e
  }
  const dead = failure === undefined ? [] : detachItemsLocked(a, block, attached)
  unlockEncaps(a)
  if (failure !== undefined) {
    for (const e of dead) encapDealloc(a, e)
    free(a, block, n * ITEM_SIZE, TAG_LIST)
    throw failure
  }
  return why === 0
}

function attachItemLocked(a: Arena, flow: number, item: number, { tun, dev }: EncapItem): void {
  const { m } = a
  const hash = encapHash(a, tun, dev)
  wantedTun = tun
  wantedDev = dev
  wantedIn = a
  const e = hashLookup(a, rootOf(a) + ROOT_ENCAP_TABLE, hash, isWanted) || createLocked(a, tun, dev, hash)
  m[(item + ITEM_ENTRY) >> 2] = e
  m[(item + ITEM_FLOW) >> 2] = flow
  m[(item + ITEM_OWNER) >> 2] = self
  m[(item + ITEM_FLAGS) >> 2] = m[(e + ENTRY_FLAGS) >> 2] & ENTRY_F_VALID ? ITEM_F_VALID : 0
  insert(a, e + ENTRY_FLOWS, item, ITEM_LINK)
  m[(e + ENTRY_ITEMS) >> 2]++
}

let wantedIn: Arena
let wantedTun = 0
let wantedDev = 0

/**
 * Takes the entry that attachItemLocked looks for. The lock is held over creation and removal: an entry that is found is
 * ready and can be taken, unless its maker died.
 */
const isWanted = (p: number): boolean =>
  isReady(wantedIn, p) && hasKey(wantedIn, p, wantedTun, wantedDev) && encapTake(wantedIn, p)

/** The entry for a key that nobody has: one reference, the caller's. Whole when this returns. */
function createLocked(a: Arena, tun: number, dev: number, hash: number): number {
  const { m } = a
  const e = alloc(a, ENCAP_SIZE, TAG_ENCAP)
  let copy = 0
  try {
    const bytes = tunSize(a, tun)
    copy = alloc(a, bytes, TAG_TUN_INFO)
    a.u8.copyWithin(copy, tun, tun + bytes)
    m[(copy + TUN_REFCNT) >> 2] = 1
    initLocked(a, e, copy, dev)
    m[(e + ENTRY_HASH) >> 2] = hash
    hashInsert(a, rootOf(a) + ROOT_ENCAP_TABLE, hash, e)
    m[(e + ENTRY_FLAGS) >> 2] = ENTRY_F_HASHED
  } catch (error) {
    if (copy !== 0) free(a, copy, tunSize(a, copy), TAG_TUN_INFO)
    free(a, e, ENCAP_SIZE, TAG_ENCAP)
    throw error
  }
  insert(a, rootOf(a) + ROOT_ENTRIES, e, ENTRY_LINK)
  settleLocked(a, e, []) // it has no flows yet: nothing is pinned
  Completion.complete(m, (e + ENTRY_RES_READY) >> 2, 1)
  return e
}

/** The fields of an entry that nobody knows yet. */
export function initLocked(a: Arena, e: number, tun: number, dev: number): void {
  assertHeld(ENCAP_TBL)
  const { m } = a
  const root = rootOf(a)
  m[(e + ENCAP_DEV) >> 2] = dev
  m[(e + ENCAP_TUN) >> 2] = tun
  m[(e + ENTRY_ID) >> 2] = m[(root + ROOT_NEXT_ID) >> 2]++
  Refcount.init(m, (e + ENTRY_REFCNT) >> 2)
}

/** Takes the first n items of a block off their entries; the entries whose last reference that was. */
function detachItemsLocked(a: Arena, block: number, n: number): number[] {
  const { m } = a
  const dead: number[] = []
  for (let i = 0; i < n; i++) {
    const item = block + i * ITEM_SIZE
    const e = m[(item + ITEM_ENTRY) >> 2]
    remove(a, item, ITEM_LINK)
    m[(e + ENTRY_ITEMS) >> 2]--
    if (encapPutLocked(a, e)) dead.push(e)
  }
  return dead
}

/**
 * Takes a flow off its entries. Its program must be out of the tables and FLOW_DEL_HW_DONE complete, or it never was in
 * and FLOW_INIT_DONE is complete. Nothing to do for a flow without encap destinations. No lock of rank encap_tbl or below held.
 */
export function detach(a: Arena, flow: number): void {
  const { m } = a
  const n = m[(flow + FLOW_NENCAPS) >> 2]
  if (n === 0) return
  const block = m[(flow + FLOW_ENCAPS) >> 2]
  lockEncaps(a)
  const dead = detachItemsLocked(a, block, n)
  m[(flow + FLOW_NENCAPS) >> 2] = 0
  m[(flow + FLOW_ENCAPS) >> 2] = 0
  unlockEncaps(a)
  for (const e of dead) encapDealloc(a, e)
  free(a, block, n * ITEM_SIZE, TAG_LIST)
}

/** The entry of a flow's destination i: constant while the flow is attached. For compiling its program. */
export const entryOf = (a: Arena, flow: number, i: number): number => a.m[(itemOf(a, flow, i) + ITEM_ENTRY) >> 2]
