// Flows join a prio and leave it: handles, masks and the masks' tables change together under the prio's lock.
//
// join is the moment at which packets begin to meet the flow, one store into its mask's table; everything of the flow is
// written by then. leave is the opposite. The chain's lock is needed besides only when a mask comes or goes: it is taken
// first (lock order), so join looks without it, and, when there is no such mask, begins anew with it.

import { traceConfigureFlower, traceDeleteFlower, traceIsOn } from '../encap/trace.ts'
import type { Arena } from '../memory/arena.ts'
import {
  FLOW_F_DELETED,
  FLOW_F_OFFLOADED,
  FLOW_FLAGS,
  FLOW_HANDLE,
  FLOW_MASK,
  FLOW_PRIO,
  FLOW_REFCNT,
  MASK_FLAGS,
  MASK_NFLOWS,
  MASK_U32,
  PRIO_CHAIN,
  PRIO_FIRST_MASK,
  PRIO_NFLOWS,
} from '../memory/layout/flow.ts'
import { and, load, or } from '../sync/atomic.ts'
import * as Refcount from '../sync/refcount.ts'
import { EEXIST, EINVAL, ENOSPC, NetlinkError } from '../wire/netlink_error.ts'
import { isRestoring } from './exact_key.ts'
import { actionIds, isStale } from './flow.ts'
import { idrAlloc, idrFind, idrInsert, idrNext, idrRemove, idrReplace } from './idr.ts'
import { addMaskLocked, findMaskLocked, removeMaskLocked } from './mask.ts'
import { tableFind, tableInsert, tableInsertBefore, tableRemove, tableReplace } from './mask_table.ts'
import type { MatchScratch } from './match_scratch.ts'
import { handlesOf, isDeleted, lockChain, lockPrio, unlockChain, unlockPrio } from './prio.ts'

/** join: the prio is being deleted, or the flow to be replaced is, or the handle was taken meanwhile: look again. */
export const AGAIN = 'again'
/** join: an action of the flow was replaced meanwhile: make another flow. */
export const STALE = 'stale'
export const DONE = 'done'
export type Joined = typeof AGAIN | typeof STALE | typeof DONE

const AUTO_HANDLE_MAX = 0x7fffffff
const NO_MASK = 'no mask'

/**
 * Puts a whole flow, made from the scratch, into the prio under `handle` (0: the lowest free one), or, with `old`, in the
 * place of that flow, which leaves; the caller puts it. EEXIST when another flow matches the same packets, EINVAL when
 * `old` has another mask, ENOSPC, MemoryError: then the prio is as it was.
 */
export function join(a: Arena, prio: number, flow: number, s: MatchScratch, handle: number, old: number): Joined {
  const { m } = a
  lockPrio(m, prio)
  let result: Joined | typeof NO_MASK
  try {
    result = tryJoin(a, prio, flow, s, handle, old, false)
  } finally {
    unlockPrio(m, prio)
  }
  if (result !== NO_MASK) return result
  const chain = m[(prio + PRIO_CHAIN) >> 2]
  lockChain(m, chain)
  lockPrio(m, prio)
  try {
    return tryJoin(a, prio, flow, s, handle, old, true) as Joined
  } finally {
    unlockPrio(m, prio)
    unlockChain(m, chain)
  }
}

function tryJoin(
  a: Arena,
  prio: number,
  flow: number,
  s: MatchScratch,
  handle: number,
  old: number,
  withChain: boolean,
): Joined | typeof NO_MASK {
  const { m } = a
  if (isDeleted(m, prio)) return AGAIN
  let mask = findMaskLocked(m, prio, s)
  if (old !== 0 && (mask === 0 || mask !== m[(old + FLOW_MASK) >> 2]))
    throw new NetlinkError(EINVAL, 'flower: a filter is replaced by one with the same mask')
  if (mask === 0 && !withChain) return NO_MASK
  const made = mask === 0
  if (made) mask = addMaskLocked(a, prio, s)
  try {
    m[(flow + FLOW_MASK) >> 2] = mask
    m[(flow + FLOW_PRIO) >> 2] = prio
    const result = old === 0 ? add(a, prio, mask, flow, handle) : replace(a, prio, mask, flow, old)
    if (made && result !== DONE) removeMaskLocked(a, mask)
    return result
  } catch (e) {
    if (made) removeMaskLocked(a, mask)
    throw e
  }
}

/** The last look before a flow joins: false when it must not. Where a driver would be told of it. */
function offload(a: Arena, flow: number): boolean {
  const { m } = a
  if (traceIsOn(a)) traceConfigureFlower(a, flow, actionIds(m, flow))
  or(m, (flow + FLOW_FLAGS) >> 2, FLOW_F_OFFLOADED)
  if (!isStale(m, flow)) return true
  and(m, (flow + FLOW_FLAGS) >> 2, ~FLOW_F_OFFLOADED)
  return false
}

function add(a: Arena, prio: number, mask: number, flow: number, handle: number): Joined {
  const { m } = a
  if (!isRestoring() && tableFind(m, mask, flow) !== 0) throw new NetlinkError(EEXIST)
  if (!offload(a, flow)) return STALE
  if (handle !== 0) {
    if (!idrInsert(a, handlesOf(prio), handle, flow)) {
      and(m, (flow + FLOW_FLAGS) >> 2, ~FLOW_F_OFFLOADED)
      return AGAIN
    }
  } else {
    handle = idrAlloc(a, handlesOf(prio), 1, flow)
    if (handle < 0 || handle > AUTO_HANDLE_MAX) {
      if (handle > 0) idrRemove(a, handlesOf(prio), handle)
      throw new NetlinkError(ENOSPC)
    }
  }
  m[(flow + FLOW_HANDLE) >> 2] = handle
  try {
    tableInsert(a, mask, flow)
  } catch (e) {
    idrRemove(a, handlesOf(prio), handle)
    throw e
  }
  m[(prio + PRIO_NFLOWS) >> 2]++
  return DONE
}

function replace(a: Arena, prio: number, mask: number, flow: number, old: number): Joined {
  const { m } = a
  if ((load(m, (old + FLOW_FLAGS) >> 2) & FLOW_F_OFFLOADED) === 0) return AGAIN // deleted, or not in yet
  if (!offload(a, flow)) return STALE
  const same = tableFind(m, mask, flow)
  m[(flow + FLOW_HANDLE) >> 2] = m[(old + FLOW_HANDLE) >> 2]
  if (same === old) tableReplace(m, mask, old, flow)
  else {
    if (same === 0) tableInsert(a, mask, flow)
    else tableInsertBefore(a, mask, same, flow) // the kernel lets a replaced filter take another one's key
    tableRemove(a, mask, old)
  }
  idrReplace(m, handlesOf(prio), m[(old + FLOW_HANDLE) >> 2] >>> 0, flow)
  markGone(a, old)
  return DONE
}

function markGone(a: Arena, flow: number): void {
  const { m } = a
  traceDeleteFlower(a, flow)
  or(m, (flow + FLOW_FLAGS) >> 2, FLOW_F_DELETED)
  and(m, (flow + FLOW_FLAGS) >> 2, ~FLOW_F_OFFLOADED)
}

/**
 * As join for a flow that hangs on a node of u32: it gets the handle, or takes the place of `old`. The caller links the
 * node.
 */
export function joinNode(a: Arena, prio: number, flow: number, handle: number, old: number): Joined {
  const { m } = a
  lockPrio(m, prio)
  try {
    if (isDeleted(m, prio)) return AGAIN
    m[(flow + FLOW_MASK) >> 2] = m[(prio + PRIO_FIRST_MASK) >> 2]
    m[(flow + FLOW_PRIO) >> 2] = prio
    m[(flow + FLOW_HANDLE) >> 2] = handle
    if (!offload(a, flow)) return STALE
    if (old === 0) {
      idrInsert(a, handlesOf(prio), handle, flow)
      m[(prio + PRIO_NFLOWS) >> 2]++
    } else {
      markGone(a, old)
      idrReplace(m, handlesOf(prio), handle, flow)
    }
    return DONE
  } finally {
    unlockPrio(m, prio)
  }
}

/** The flow of that handle with a reference, 0 when there is none. */
export function takeFlow(m: Int32Array, prio: number, handle: number): number {
  lockPrio(m, prio)
  const flow = idrFind(m, handlesOf(prio), handle)
  if (flow !== 0) Refcount.get(m, (flow + FLOW_REFCNT) >> 2)
  unlockPrio(m, prio)
  return flow
}

/**
 * Takes the flow out of its prio; true to one caller, who puts the tables' reference. Says in `left` whether the prio has
 * flows left. The caller has a reference.
 */
export function leave(a: Arena, flow: number, left: { flows: number }): boolean {
  const { m } = a
  const prio = m[(flow + FLOW_PRIO) >> 2]
  const mask = m[(flow + FLOW_MASK) >> 2]
  lockPrio(m, prio)
  const mine = (or(m, (flow + FLOW_FLAGS) >> 2, FLOW_F_DELETED) & FLOW_F_DELETED) === 0
  let empty = false
  if (mine) {
    traceDeleteFlower(a, flow)
    and(m, (flow + FLOW_FLAGS) >> 2, ~FLOW_F_OFFLOADED)
    idrRemove(a, handlesOf(prio), m[(flow + FLOW_HANDLE) >> 2] >>> 0)
    if (!isDeleted(m, prio) && (m[(mask + MASK_FLAGS) >> 2] & MASK_U32) === 0) {
      tableRemove(a, mask, flow)
      empty = m[(mask + MASK_NFLOWS) >> 2] === 0
    }
    m[(prio + PRIO_NFLOWS) >> 2]--
  }
  left.flows = m[(prio + PRIO_NFLOWS) >> 2]
  unlockPrio(m, prio)
  if (empty) dropMask(a, prio, mask)
  return mine
}

/** Removes the mask if it still has no flow, and nobody else removed it. Inside the section in which it had its last. */
function dropMask(a: Arena, prio: number, mask: number): void {
  const { m } = a
  const chain = m[(prio + PRIO_CHAIN) >> 2]
  lockChain(m, chain)
  lockPrio(m, prio)
  if (!isDeleted(m, prio) && m[(mask + MASK_NFLOWS) >> 2] === 0) {
    m[(mask + MASK_NFLOWS) >> 2] = -1
    removeMaskLocked(a, mask)
  }
  unlockPrio(m, prio)
  unlockChain(m, chain)
}

const BATCH = 64

/**
 * Takes the flows out of a prio that left its chain and calls `gone` for each, with the tables' reference, no lock held.
 */
export function leaveAll(a: Arena, prio: number, gone: (flow: number) => void): void {
  const { m } = a
  const batch: number[] = []
  do {
    batch.length = 0
    lockPrio(m, prio)
    for (;;) {
      const handle = idrNext(m, handlesOf(prio), 0)
      if (handle < 0 || batch.length === BATCH) break
      const flow = idrRemove(a, handlesOf(prio), handle)
      markGone(a, flow)
      m[(prio + PRIO_NFLOWS) >> 2]--
      batch.push(flow)
    }
    unlockPrio(m, prio)
    for (const flow of batch) gone(flow)
  } while (batch.length === BATCH)
}

/** Takes a reference to each of the next flows from `handle` on into `out`; says how many, at most its length. */
export function takeFlows(m: Int32Array, prio: number, handle: number, out: Int32Array): number {
  let n = 0
  lockPrio(m, prio)
  while (n < out.length) {
    const next = idrNext(m, handlesOf(prio), handle)
    if (next < 0) break
    const flow = idrFind(m, handlesOf(prio), next)
    Refcount.get(m, (flow + FLOW_REFCNT) >> 2)
    out[n++] = flow
    handle = next + 1
  }
  unlockPrio(m, prio)
  return n
}
