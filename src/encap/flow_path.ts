// A flow's two paths: when one of its entries becomes valid or stops being so (mlx5e_tc_encap_flows_add, _del; scheme 3.12).
//
//   SLOW ──the last of its entries became valid──> FAST        publish the fast program, then clear FLOW_F_SLOW
//   FAST ──one of its entries became invalid─────> SLOW        set FLOW_F_SLOW, then publish the slow program
//
// A switch is one atomic store of FLOW_ACTIONS by flow/ (FlowOps), never a moment without a program. A flow is switched
// only while it is pinned: its reference taken and its init_done seen, or, when its last reference is gone, its
// del_hw_done seen (takeFlowsLocked). Both waits happen under encap_tbl: root.ts says what makes that safe. What is
// pinned is put after encap_tbl is dropped, because the last put tears the flow down and takes it again (race 34).

import { type Arena, rcuOf } from '../memory/arena.ts'
import {
  FLOW_DEL_HW_DONE,
  FLOW_ENCAPS,
  FLOW_F_OFFLOADED,
  FLOW_F_SLOW,
  FLOW_FLAGS,
  FLOW_INIT_DONE,
  FLOW_NENCAPS,
  FLOW_REFCNT,
  FLOW_WHY,
} from '../memory/layout/flow.ts'
import { SLOW_NONE } from '../memory/layout/slow.ts'
import { first, next } from '../memory/list.ts'
import { isAnnounced, readerOf, recordOf } from '../memory/thread_record.ts'
import { and, load, or, store } from '../sync/atomic.ts'
import * as Completion from '../sync/completion.ts'
import { ENCAP_TBL } from '../sync/lock_order.ts'
import { assertHeld } from '../sync/mutex.ts'
import * as Rcu from '../sync/rcu.ts'
import * as Refcount from '../sync/refcount.ts'
import { announce, ENDING } from '../sync/supervise.ts'
import {
  ENTRY_FLOWS,
  ENTRY_WHY,
  ITEM_ENTRY,
  ITEM_F_VALID,
  ITEM_FLAGS,
  ITEM_FLOW,
  ITEM_LINK,
  ITEM_OWNER,
  ITEM_SIZE,
} from './encap_entry.ts'
import { hooksOf } from './hooks.ts'
import {
  ROOT_WAIT,
  rootOf,
  STAT_TO_FAST,
  STAT_TO_SLOW,
  STAT_WAIT_DEL_HW_DONE,
  STAT_WAIT_INIT_DONE,
  tally,
} from './root.ts'
import { traceFlowPath } from './trace.ts'

/** A flow that the event worker holds, and the item by which it was reached. */
export interface Pinned {
  readonly flow: number
  readonly item: number
}

/** Address of a flow's item i. */
export const itemOf = (a: Arena, flow: number, i: number): number => a.m[(flow + FLOW_ENCAPS) >> 2] + i * ITEM_SIZE

const allValid = (a: Arena, flow: number): boolean => {
  const n = a.m[(flow + FLOW_NENCAPS) >> 2]
  for (let i = 0; i < n; i++) if (!(a.m[(itemOf(a, flow, i) + ITEM_FLAGS) >> 2] & ITEM_F_VALID)) return false
  return true
}

/** Why the flow is slow: the reason of the first of its entries that is not valid. Under encap_tbl. */
export function whyLocked(a: Arena, flow: number): number {
  const n = a.m[(flow + FLOW_NENCAPS) >> 2]
  for (let i = 0; i < n; i++) {
    const item = itemOf(a, flow, i)
    if (!(a.m[(item + ITEM_FLAGS) >> 2] & ITEM_F_VALID)) return a.m[(a.m[(item + ITEM_ENTRY) >> 2] + ENTRY_WHY) >> 2]
  }
  return SLOW_NONE
}

const has = (a: Arena, flow: number, flag: number): boolean => (load(a.m, (flow + FLOW_FLAGS) >> 2) & flag) !== 0

/**
 * Waits for a completion of a flow with encap_tbl held: only the event worker does, one wait at a time. Gives up when
 * nobody lives who will complete it (`comes`): what is waited for then is not worth more, see takeFlowsLocked. ROOT_WAIT
 * tells encapRecover whom to nudge: it is said before looking, and encapRecover comes after the death has been noted.
 */
function waitLocked(a: Arena, word: number, stat: number, comes: () => boolean): void {
  const { m } = a
  if (Completion.result(m, word) !== 0) return
  tally(a, stat)
  const root = rootOf(a)
  store(m, (root + ROOT_WAIT) >> 2, word)
  for (let seen = Completion.face(m, word); Completion.result(m, word) === 0; seen = Completion.face(m, word)) {
    if (!comes()) break
    Completion.sleep(m, word, seen)
  }
  store(m, (root + ROOT_WAIT) >> 2, 0)
}

/** Supervisor, after recoverDead: a thread died; who waits for it must look again. */
export function encapRecover(a: Arena): void {
  const { m } = a
  const r = rcuOf(a)
  const reader = readerOf(a)
  const online = Rcu.isOnline(m, r, reader)
  if (!online) Rcu.online(m, r, reader) // the flow whose word ROOT_WAIT names stays what it is until we are done
  const word = load(m, (rootOf(a) + ROOT_WAIT) >> 2)
  if (word !== 0) Completion.nudge(m, word)
  if (!online) Rcu.offline(m, r, reader)
}

/**
 * Gives a flow's reference back. True to who gave the last: it takes the flow out of the packets' way and says `hwDone`.
 * In between the flow is announced as its own (sync/supervise.ts), so that nobody waits for a thread that died there.
 */
export function lastPut(a: Arena, flow: number): boolean {
  const { m } = a
  const refs = (flow + FLOW_REFCNT) >> 2
  announce(m, ENDING, refs)
  const last = Refcount.put(m, refs)
  if (!last) announce(m, ENDING, 0)
  return last
}

/** The flow that this thread put last is out of the packets' way (del_hw_done). */
export function hwDone(a: Arena, flow: number): void {
  const { m } = a
  if (m[(flow + FLOW_NENCAPS) >> 2] !== 0) Completion.complete(m, (flow + FLOW_DEL_HW_DONE) >> 2, 1)
  announce(m, ENDING, 0)
}

/**
 * Pins every flow of an entry. Waits, with encap_tbl held, until a flow is made: its maker has published its program and
 * will not touch its path again. A flow that its maker left half made is not OFFLOADED, so nobody switches it. A flow that
 * cannot be taken is past its last reference; waiting until its program is out of the tables (race 37) is all it needs.
 */
export function takeFlowsLocked(a: Arena, e: number): Pinned[] {
  assertHeld(ENCAP_TBL)
  const { m } = a
  const pinned: Pinned[] = []
  for (let item = first(a, e + ENTRY_FLOWS); item !== 0; item = next(a, item, ITEM_LINK)) {
    const flow = m[(item + ITEM_FLOW) >> 2]
    if (Refcount.take(m, (flow + FLOW_REFCNT) >> 2)) {
      const owner = m[(item + ITEM_OWNER) >> 2]
      waitLocked(a, (flow + FLOW_INIT_DONE) >> 2, STAT_WAIT_INIT_DONE, () => recordOf(a, owner) !== 0)
      pinned.push({ flow, item })
    } else {
      const refs = (flow + FLOW_REFCNT) >> 2
      waitLocked(a, (flow + FLOW_DEL_HW_DONE) >> 2, STAT_WAIT_DEL_HW_DONE, () => isAnnounced(a, ENDING, refs))
    }
  }
  return pinned
}

/** Lets pinned flows go. No lock held: the last put of a flow tears it down here. */
export function putFlows(a: Arena, pinned: Pinned[]): void {
  const { flows } = hooksOf(a)
  for (const p of pinned) flows.put(a, p.flow)
}

/** The entry became valid: its header is published already. */
export function flowsAddLocked(a: Arena, pinned: Pinned[]): void {
  const { m } = a
  const { flows } = hooksOf(a)
  for (const { flow, item } of pinned) {
    if (!has(a, flow, FLOW_F_OFFLOADED) || !has(a, flow, FLOW_F_SLOW)) continue
    or(m, (item + ITEM_FLAGS) >> 2, ITEM_F_VALID)
    if (!allValid(a, flow)) {
      store(m, (flow + FLOW_WHY) >> 2, whyLocked(a, flow))
      continue
    }
    flows.fast(a, flow)
    store(m, (flow + FLOW_WHY) >> 2, SLOW_NONE)
    and(m, (flow + FLOW_FLAGS) >> 2, ~FLOW_F_SLOW)
    tally(a, STAT_TO_FAST)
    traceFlowPath(a, flow, SLOW_NONE)
  }
}

/** The entry is about to become invalid: `why` stands in it already, its header is still published. */
export function flowsDelLocked(a: Arena, pinned: Pinned[]): void {
  const { m } = a
  const { flows } = hooksOf(a)
  for (const { flow, item } of pinned) {
    if (!has(a, flow, FLOW_F_OFFLOADED)) continue
    and(m, (item + ITEM_FLAGS) >> 2, ~ITEM_F_VALID) // before looking at SLOW: race 51
    const why = whyLocked(a, flow)
    store(m, (flow + FLOW_WHY) >> 2, why)
    if (or(m, (flow + FLOW_FLAGS) >> 2, FLOW_F_SLOW) & FLOW_F_SLOW) continue
    flows.slow(a, flow)
    tally(a, STAT_TO_SLOW)
    traceFlowPath(a, flow, why)
  }
}

/** The entry stays invalid for another reason: its slow flows show it. Under encap_tbl, nothing is pinned. */
export function flowsExplainLocked(a: Arena, e: number): void {
  for (let item = first(a, e + ENTRY_FLOWS); item !== 0; item = next(a, item, ITEM_LINK)) {
    const flow = a.m[(item + ITEM_FLOW) >> 2]
    if (has(a, flow, FLOW_F_SLOW)) store(a.m, (flow + FLOW_WHY) >> 2, whyLocked(a, flow))
  }
}
