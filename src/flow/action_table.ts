// The instances of actions (struct tc_action, net/sched/act_api.c): found by (kind, index), shared by filters.
//
// An instance is made by a filter's action list or by `tc actions add`; its index is the lowest free one of its kind, or
// the one that was given. Who names an index that is there uses that instance. REFCNT counts its users and, once, the
// `tc actions add` that made it; BINDCNT only the filters. The last reference takes it out of the table.
//
// Each kind has a lock (class action) over its table, the counts, the users and the parameters of its instances.

import type { ActionContext, ActionKind } from '../action/action.ts'
import { kindById } from '../action/index.ts'
import type { Arena } from '../memory/arena.ts'
import { counterFree } from '../memory/counters.ts'
import {
  ACT_BASE,
  ACT_BINDCNT,
  ACT_COOKIE,
  ACT_COUNTER,
  ACT_INDEX,
  ACT_KIND,
  ACT_REFCNT,
  ACT_SIZE,
} from '../memory/layout/action.ts'
import { SUPER_PART_ACTION, SUPER_PARTS } from '../memory/layout/super.ts'
import { alloc, free, freeRcu, TAG_ACTION, TAG_COOKIE, TAG_LOCAL } from '../memory/pool.ts'
import { ACTION } from '../sync/lock_order.ts'
import { lock, unlock } from '../sync/mutex.ts'
import { EEXIST, ENOSPC, NetlinkError } from '../wire/netlink_error.ts'
import { discardEstimator, endEstimatorLocked } from './estimator.ts'
import { idrAlloc, idrFind, idrInsert, idrNext, idrRemove } from './idr.ts'

/** The tables: one of these for each TCA_ID_*. */
const KIND_LOCK = 0
/** Root for flow/idr.ts. */
const KIND_ROOT = 4
const KIND_SIZE = 64
/** Kinds that there may be: TCA_ID_* modulo this. */
export const KINDS = 32

/** Bytes of a cookie's block: its length, then up to 16. */
export const COOKIE_SIZE = 17

/** Once, by the thread that makes the switch. */
export function actionTableInit(a: Arena): void {
  a.m[(SUPER_PARTS + SUPER_PART_ACTION) >> 2] = alloc(a, KINDS * KIND_SIZE, TAG_LOCAL)
}

const tableOf = (m: Int32Array, kind: number): number =>
  m[(SUPER_PARTS + SUPER_PART_ACTION) >> 2] + (kind & (KINDS - 1)) * KIND_SIZE

export const lockKind = (m: Int32Array, kind: number): void => lock(m, (tableOf(m, kind) + KIND_LOCK) >> 2, ACTION)
export const unlockKind = (m: Int32Array, kind: number): void => unlock(m, (tableOf(m, kind) + KIND_LOCK) >> 2, ACTION)

export const kindOf = (m: Int32Array, act: number): ActionKind => {
  const kind = kindById(m[(act + ACT_KIND) >> 2])
  if (kind === undefined) throw new Error(`action at ${act} has no kind`)
  return kind
}

/** An instance in no table yet, its counts and parameters zero. */
export function makeAction(a: Arena, kind: ActionKind): number {
  const act = alloc(a, ACT_SIZE, TAG_ACTION)
  a.m[(act + ACT_KIND) >> 2] = kind.id
  return act
}

/** Frees an instance that no table and no program knows (any more); after a grace period its memory. */
export function freeAction(a: Arena, c: ActionContext, kind: ActionKind, act: number): void {
  const { m } = a
  kind.cleanup(c, act)
  discardAction(a, act)
  counterFree(a, m[(act + ACT_COUNTER) >> 2])
  counterFree(a, m[(act + ACT_BASE) >> 2])
}

/** Frees the memory of an instance whose kind took nothing. */
export function discardAction(a: Arena, act: number): void {
  const cookie = a.m[(act + ACT_COOKIE) >> 2]
  if (cookie !== 0) free(a, cookie, COOKIE_SIZE, TAG_COOKIE)
  discardEstimator(a, act)
  freeRcu(a, act, ACT_SIZE, TAG_ACTION)
}

/** The instance with that index, 0 without; one reference more (`bind`: of a filter). */
export function takeAction(a: Arena, kind: number, index: number, bind: boolean): number {
  const { m } = a
  lockKind(m, kind)
  const act = idrFind(m, tableOf(m, kind) + KIND_ROOT, index)
  if (act !== 0) {
    m[(act + ACT_REFCNT) >> 2]++
    if (bind) m[(act + ACT_BINDCNT) >> 2]++
  }
  unlockKind(m, kind)
  return act
}

/** Enters a fresh instance, with one reference, under its ACT_INDEX or, when that is 0, the lowest free one. EEXIST, ENOSPC. */
export function insertAction(a: Arena, act: number, bind: boolean): void {
  const { m } = a
  const kind = m[(act + ACT_KIND) >> 2]
  const root = tableOf(m, kind) + KIND_ROOT
  let index = m[(act + ACT_INDEX) >> 2]
  m[(act + ACT_REFCNT) >> 2] = 1
  m[(act + ACT_BINDCNT) >> 2] = bind ? 1 : 0
  lockKind(m, kind)
  try {
    if (index !== 0) {
      if (!idrInsert(a, root, index >>> 0, act)) throw new NetlinkError(EEXIST)
    } else {
      index = idrAlloc(a, root, 1, act)
      if (index < 0) throw new NetlinkError(ENOSPC)
      m[(act + ACT_INDEX) >> 2] = index
    }
  } finally {
    unlockKind(m, kind)
  }
}

/** Gives a reference back (`bind`: a filter's); the last one takes the instance out and frees it. */
export function putAction(a: Arena, c: ActionContext, act: number, bind: boolean): void {
  const { m } = a
  const kind = m[(act + ACT_KIND) >> 2]
  lockKind(m, kind)
  const last = dropActionLocked(a, act, bind)
  unlockKind(m, kind)
  if (last) freeAction(a, c, kindOf(m, act), act)
}

/** Holding the kind's lock. True: it was the last reference, and the instance left the table; the caller frees it. */
export function dropActionLocked(a: Arena, act: number, bind: boolean): boolean {
  const { m } = a
  if (bind) m[(act + ACT_BINDCNT) >> 2]--
  if (--m[(act + ACT_REFCNT) >> 2] !== 0) return false
  endEstimatorLocked(m, act)
  idrRemove(a, tableOf(m, m[(act + ACT_KIND) >> 2]) + KIND_ROOT, m[(act + ACT_INDEX) >> 2] >>> 0)
  return true
}

/** Holding the kind's lock: the instance with the lowest index from `from`, 0 at the end. */
export function nextActionLocked(m: Int32Array, kind: number, from: number): number {
  const root = tableOf(m, kind) + KIND_ROOT
  const index = idrNext(m, root, from)
  return index < 0 ? 0 : idrFind(m, root, index)
}
