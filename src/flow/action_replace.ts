// `tc actions replace`: an instance gets new parameters while filters use it.
//
// The new parameters were initialised in a second instance. The words of the kind are swapped between the two, then every
// flow that uses the instance is made anew with the same key, handle and actions and takes the old one's place in the
// table by one store: packets meet the one or the other. At last the second instance, which has the old parameters now,
// is given back. Runs under rtnl, so there is one replacement at a time; a flow that is being made by another thread
// meanwhile notices by ACT_GENERATION.

import type { Arena } from '../memory/arena.ts'
import {
  ACT_BINDCNT,
  ACT_CHAIN,
  ACT_CONTROL,
  ACT_CONTROL2,
  ACT_COOKIE,
  ACT_GENERATION,
  ACT_HW_STATS,
  ACT_KIND,
  ACT_PARAMS,
  ACT_REFCNT,
  ACT_SIZE,
} from '../memory/layout/action.ts'
import {
  CHAIN_BLOCK,
  FLOW_CLASSID,
  FLOW_CLS_FLAGS,
  FLOW_F_EGRESS,
  FLOW_F_INGRESS,
  FLOW_F_OFFLOADED,
  FLOW_FLAGS,
  FLOW_HANDLE,
  FLOW_MASK,
  FLOW_NACTIONS,
  FLOW_PRIO,
  FLOW_REFCNT,
  MASK_FLAGS,
  PRIO_CHAIN,
} from '../memory/layout/flow.ts'
import { add, load } from '../sync/atomic.ts'
import { RTNL } from '../sync/lock_order.ts'
import { assertHeld } from '../sync/mutex.ts'
import * as Refcount from '../sync/refcount.ts'
import { TCA_CLS_FLAGS_IN_HW, TCA_CLS_FLAGS_NOT_IN_HW, TCA_CLS_FLAGS_SKIP_HW } from '../wire/tcm.ts'
import { forEachUserLocked } from './action_stats.ts'
import { freeAction, kindOf, lockKind, unlockKind } from './action_table.ts'
import { isU32, unpack } from './classifier.ts'
import { ACTIONS_MAX } from './compile.ts'
import { bumpGeneration, type FlowContext, PROFILE_MLX5, profileOf } from './context.ts'
import { actionOf, failFlow, finishFlow, makeFlow, putFlow } from './flow.ts'
import { DONE, type Joined, join, joinNode, STALE } from './flow_table.ts'
import { matchScratch, pack } from './match_scratch.ts'
import { offloadRefused } from './mlx5.ts'
import { repointNode } from './u32.ts'

const scratch = matchScratch()
const acts = new Int32Array(ACTIONS_MAX)

const SWAPPED: readonly number[] = [ACT_CONTROL, ACT_CONTROL2, ACT_CHAIN]

function swap(m: Int32Array, p: number, q: number): void {
  const v = m[p >> 2]
  m[p >> 2] = m[q >> 2]
  m[q >> 2] = v
}

/** Gives `act` the parameters of `fresh`, an instance in no table, and frees `fresh` with the old ones. */
export function replaceAction(c: FlowContext, act: number, fresh: number): void {
  assertHeld(RTNL)
  const { a } = c
  const { m } = a
  const kind = m[(act + ACT_KIND) >> 2]
  const users = new Set<number>()
  lockKind(m, kind)
  add(m, (act + ACT_GENERATION) >> 2, 1)
  for (const field of SWAPPED) swap(m, act + field, fresh + field)
  for (let field = ACT_PARAMS; field < ACT_SIZE; field += 4) swap(m, act + field, fresh + field)
  m[(act + ACT_HW_STATS) >> 2] = m[(fresh + ACT_HW_STATS) >> 2]
  if (m[(fresh + ACT_COOKIE) >> 2] !== 0) swap(m, act + ACT_COOKIE, fresh + ACT_COOKIE)
  add(m, (act + ACT_GENERATION) >> 2, 1)
  forEachUserLocked(m, act, (flow) => {
    if (!users.has(flow) && Refcount.take(m, (flow + FLOW_REFCNT) >> 2)) users.add(flow)
  })
  unlockKind(m, kind)
  for (const flow of users) {
    try {
      remake(c, flow)
    } finally {
      putFlow(a, flow)
    }
  }
  freeAction(a, c.actions, kindOf(m, fresh), fresh)
}

/** Puts a new flow with the same match and actions in the place of `flow`, if that is in its table. */
function remake(c: FlowContext, flow: number): void {
  const { m } = c.a
  if ((load(m, (flow + FLOW_FLAGS) >> 2) & FLOW_F_OFFLOADED) === 0) return // deleted; or its maker notices
  unpack(m, flow, scratch)
  scratch.maskFlags = m[(m[(flow + FLOW_MASK) >> 2] + MASK_FLAGS) >> 2]
  pack(scratch)
  for (let joined: Joined = STALE; joined === STALE; ) joined = tryRemake(c, flow)
}

function tryRemake(c: FlowContext, flow: number): Joined {
  const { a } = c
  const { m } = a
  const direction = m[(flow + FLOW_FLAGS) >> 2] & (FLOW_F_INGRESS | FLOW_F_EGRESS)
  const n = bindAgain(a, flow)
  const clsFlags = judged(c, flow, n, direction)
  const fresh = makeFlow(c, scratch, acts, n, direction, clsFlags, m[(flow + FLOW_CLASSID) >> 2])
  let joined: Joined
  try {
    const prio = m[(flow + FLOW_PRIO) >> 2]
    const handle = m[(flow + FLOW_HANDLE) >> 2] >>> 0
    if (isU32(m, prio)) {
      joined = joinNode(a, prio, fresh, handle, flow)
      if (joined === DONE) repointNode(m, flow, fresh)
    } else joined = join(a, prio, fresh, scratch, handle, flow)
  } catch (e) {
    failFlow(a, fresh, e)
    throw e
  }
  if (joined !== DONE) {
    failFlow(a, fresh)
    return joined
  }
  bumpGeneration(a)
  finishFlow(a, fresh)
  putFlow(a, flow)
  return joined
}

/** The flags of the flow, whose actions are in `acts`: with a NIC it may be in hardware no more, or now. */
function judged(c: FlowContext, flow: number, n: number, direction: number): number {
  const { m } = c.a
  const flags = m[(flow + FLOW_CLS_FLAGS) >> 2]
  const prio = m[(flow + FLOW_PRIO) >> 2]
  if (profileOf(c.a) !== PROFILE_MLX5 || isU32(m, prio) || (flags & TCA_CLS_FLAGS_SKIP_HW) !== 0) return flags
  const block = m[(m[(prio + PRIO_CHAIN) >> 2] + CHAIN_BLOCK) >> 2]
  const isIn = offloadRefused(c, { prio, block, direction }, scratch, acts, n) === undefined
  const rest = flags & ~(TCA_CLS_FLAGS_IN_HW | TCA_CLS_FLAGS_NOT_IN_HW)
  return rest | (isIn ? TCA_CLS_FLAGS_IN_HW : TCA_CLS_FLAGS_NOT_IN_HW)
}

/** One more reference to each action of a flow that is held. */
function bindAgain(a: Arena, flow: number): number {
  const { m } = a
  const n = m[(flow + FLOW_NACTIONS) >> 2]
  for (let i = 0; i < n; i++) {
    const act = actionOf(m, flow, i)
    const kind = m[(act + ACT_KIND) >> 2]
    lockKind(m, kind)
    m[(act + ACT_REFCNT) >> 2]++
    m[(act + ACT_BINDCNT) >> 2]++
    unlockKind(m, kind)
    acts[i] = act
  }
  return n
}
