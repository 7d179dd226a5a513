// The flow: a filter's match and program, and its life (struct cls_fl_filter, struct mlx5e_tc_flow).
//
//   made ──attach encaps, compile──> whole ──join (flow_table.ts)──> in the tables ──leave──> unlinked ──last put──> freed
//
// Everything is written before the flow can be met. Its references: one for the tables, one for each who works on it
// without a lock (a dump, the event worker). Whoever puts the last one tears it down, in this order: the program is out
// of the packets' way (it left the tables before), del_hw_done, detach from the encaps, actions, memory. Encap entries and
// programs outlive it by a grace period, so a packet in flight finishes what it began.
//
// FLOW_FLAGS: INGRESS or EGRESS, OFFLOADED while in the tables, SLOW while the slow program runs, DELETED (set once, by
// who takes it out), FAILED when it never got in. init_done completes on every way out of the making; only flows with
// encap destinations have anybody waiting for it.

import { tunOf } from '../action/tunnel_key.ts'
import { encapItems } from '../action/ways.ts'
import { type FlowOps, hwDone, lastPut } from '../encap/encap.ts'
import type { Arena } from '../memory/arena.ts'
import { counterAlloc, counterFree } from '../memory/counters.ts'
import { ACT_GENERATION, ACT_KIND, ACT_REFCNT, USER_F_DROPS, USER_F_PACKETS } from '../memory/layout/action.ts'
import {
  FLOW_ACTION_PTR,
  FLOW_ACTION0,
  FLOW_ACTIONS,
  FLOW_CLASSID,
  FLOW_CLS_FLAGS,
  FLOW_COOKIE,
  FLOW_COOKIE_HI,
  FLOW_COUNTER,
  FLOW_F_FAILED,
  FLOW_F_OFFLOADED,
  FLOW_FAST,
  FLOW_FLAGS,
  FLOW_HASH,
  FLOW_INIT_DONE,
  FLOW_KEY,
  FLOW_KEY_PTR,
  FLOW_KEY_WORDS,
  FLOW_NACTIONS,
  FLOW_NENCAPS,
  FLOW_RANGE,
  FLOW_RANGE_DST,
  FLOW_RAW,
  FLOW_REFCNT,
  FLOW_SIZE,
  FLOW_SLOW,
} from '../memory/layout/flow.ts'
import { alloc, free, freeRcu, MemoryError, TAG_FLOW, TAG_KEY, TAG_LIST } from '../memory/pool.ts'
import { and, load, or } from '../sync/atomic.ts'
import { complete } from '../sync/completion.ts'
import { publish } from '../sync/rcu.ts'
import { FLOW_ACTION_INVALID } from '../wire/flow_action_id.ts'
import { EAGAIN, NetlinkError } from '../wire/netlink_error.ts'
import { TCA_CLS_FLAGS_IN_HW } from '../wire/tcm.ts'
import { addUser, removeUserLocked } from './action_stats.ts'
import { dropActionLocked, freeAction, kindOf, lockKind, putAction, unlockKind } from './action_table.ts'
import { ACTIONS_MAX, compile, fillIn, freePrograms } from './compile.ts'
import { contextOf, type FlowContext, nextCookie, PROFILE_MLX5, profileOf } from './context.ts'
import type { KnownList } from './known_lists.ts'
import { keyInline, type MatchScratch } from './match_scratch.ts'

const INLINE_ACTIONS = 4

/** Address of the flow's i-th action. */
export const actionOf = (m: Int32Array, flow: number, i: number): number =>
  m[(m[(flow + FLOW_ACTION_PTR) >> 2] >> 2) + i]

/** What a driver would be told that the flow's actions are: FLOW_ACTION_*, in order. */
export function actionIds(m: Int32Array, flow: number): number[] {
  const ids: number[] = []
  for (let i = 0; i < m[(flow + FLOW_NACTIONS) >> 2]; i++) {
    const act = actionOf(m, flow, i)
    const kind = kindOf(m, act)
    if (kind.offload === undefined) ids.push(FLOW_ACTION_INVALID)
    else kind.offload(m, act, ids)
  }
  return ids
}

/** The encap destinations of the flow that was made last. */
export const items: { tun: number; dev: number }[] = []

/**
 * A whole flow in no table: the match of the scratch, these actions (whose references become the flow's, also when it
 * throws), attached to its encaps. `direction` is FLOW_F_INGRESS or FLOW_F_EGRESS. `known`: the list that the actions
 * were made of anew. Throws MemoryError and what attach throws.
 */
export function makeFlow(
  c: FlowContext,
  s: MatchScratch,
  acts: Int32Array,
  n: number,
  direction: number,
  clsFlags: number,
  classid: number,
  known?: KnownList,
): number {
  const { a } = c
  const { m } = a
  let flow = 0
  try {
    flow = alloc(a, FLOW_SIZE, TAG_FLOW)
    m[(flow + FLOW_REFCNT) >> 2] = 1
    m[(flow + FLOW_FLAGS) >> 2] = direction
    m[(flow + FLOW_CLS_FLAGS) >> 2] = clsFlags
    m[(flow + FLOW_CLASSID) >> 2] = classid
    writeKey(a, flow, s)
    writeActions(a, flow, acts, n)
  } catch (e) {
    for (let i = 0; i < n; i++) putAction(a, c.actions, acts[i], true)
    if (flow !== 0) freeFlow(a, flow)
    throw e
  }
  try {
    const counter = counterAlloc(a)
    m[(flow + FLOW_COUNTER) >> 2] = counter
    const cookie = nextCookie(a)
    m[(flow + FLOW_COOKIE) >> 2] = cookie | 0
    m[(flow + FLOW_COOKIE_HI) >> 2] = Math.floor(cookie / 0x100000000)
    for (let i = 0; i < n; i++)
      generations[i] = known === undefined ? load(m, (acts[i] + ACT_GENERATION) >> 2) : GENERATION_FIRST
    if (known === undefined) findItems(a, acts, n)
    else recallItems(m, known, acts)
    const valid = attach(c, flow)
    owner = flow
    ownerContext = c
    const isAttached = m[(flow + FLOW_NENCAPS) >> 2] !== 0
    const p =
      known !== undefined && (isAttached || items.length === 0)
        ? fillIn(a, known.outline, acts, counter, entryAt)
        : compile(a, acts, n, counter, isAttached ? entryOfOwner : undefined)
    m[(flow + FLOW_FAST) >> 2] = p.fast
    m[(flow + FLOW_SLOW) >> 2] = p.slow
    m[(flow + FLOW_ACTIONS) >> 2] = valid ? p.fast : p.slow
    for (let i = 0; i < n; i++) addUser(a, acts[i], flow, p.uses[i] & (USER_F_PACKETS | USER_F_DROPS))
  } catch (e) {
    failFlow(a, flow, e)
    throw e
  }
  return flow
}

function writeKey(a: Arena, flow: number, s: MatchScratch): void {
  const { m } = a
  m[(flow + FLOW_HASH) >> 2] = s.hash
  m[(flow + FLOW_KEY_WORDS) >> 2] = s.count
  m[(flow + FLOW_RANGE) >> 2] = s.rangeSrc
  m[(flow + FLOW_RANGE_DST) >> 2] = s.rangeDst
  const key = keyInline(s.count) ? flow + FLOW_KEY : alloc(a, s.count * 4, TAG_KEY)
  m[(flow + FLOW_KEY_PTR) >> 2] = key
  for (let i = 0; i < s.count; i++) m[(key >> 2) + i] = s.words[i]
  if (s.rawCount === 0) return
  const raw = alloc(a, 4 + s.rawCount * 8, TAG_KEY)
  m[raw >> 2] = s.rawCount
  for (let i = 0; i < s.rawCount * 2; i++) m[(raw >> 2) + 1 + i] = s.raw[i]
  m[(flow + FLOW_RAW) >> 2] = raw
}

function writeActions(a: Arena, flow: number, acts: Int32Array, n: number): void {
  const { m } = a
  const list = n <= INLINE_ACTIONS ? flow + FLOW_ACTION0 : alloc(a, n * 4, TAG_LIST)
  m[(flow + FLOW_ACTION_PTR) >> 2] = list
  for (let i = 0; i < n; i++) m[(list >> 2) + i] = acts[i]
  m[(flow + FLOW_NACTIONS) >> 2] = n
}

/** The flow being compiled. */
let owner = 0
let ownerContext: FlowContext
const entryOfOwner = (tun: number, dev: number): number => {
  let i = 0
  while (items[i].tun !== tun || items[i].dev !== dev) i++
  return ownerContext.encap.entryOf(ownerContext.a, owner, i)
}

const entryAt = (i: number): number => ownerContext.encap.entryOf(ownerContext.a, owner, i)

/** Attaches the flow to the encaps of its destinations, if it has any. False: it begins on the slow path. */
function attach(c: FlowContext, flow: number): boolean {
  if (items.length === 0) return true
  // Beside a NIC, what it does not take is the software path's alone.
  const isOffloaded = (c.a.m[(flow + FLOW_CLS_FLAGS) >> 2] & TCA_CLS_FLAGS_IN_HW) !== 0
  if (profileOf(c.a) === PROFILE_MLX5 && !isOffloaded) return true
  return c.encap.attach(c.a, flow, items)
}

/** The destinations of a list. */
function findItems(a: Arena, acts: Int32Array, n: number): void {
  count = 0
  if (n > 1) encapItems(a, acts, n, addItem) // a destination takes a tunnel_key and a mirred
  if (items.length !== count) items.length = count
}

function recallItems(m: Int32Array, { metadata, devices }: KnownList, acts: Int32Array): void {
  count = 0
  for (let i = 0; i < devices.length; i++) addItem(tunOf(m, acts[metadata[i]]), devices[i])
  if (items.length !== count) items.length = count
}

let count = 0
const addItem = (tun: number, dev: number): void => {
  if (count === items.length) items.push({ tun, dev })
  else {
    items[count].tun = tun
    items[count].dev = dev
  }
  count++
}

/** ACT_GENERATION of an instance that nobody has replaced. */
const GENERATION_FIRST = 0
/** ACT_GENERATION of the actions of the flow that this thread made last, before it looked at them. */
const generations = new Int32Array(ACTIONS_MAX)

/**
 * Has an action of the flow, which this thread made last, been replaced since? It is asked when the flow is about to
 * join, with FLOW_F_OFFLOADED set: a replacement bumps the generation first and looks at that flag afterwards, so either
 * it sees the flow and makes it anew, or the flow's maker sees the replacement here.
 */
export function isStale(m: Int32Array, flow: number): boolean {
  const n = m[(flow + FLOW_NACTIONS) >> 2]
  for (let i = 0; i < n; i++) {
    const generation = generations[i]
    if ((generation & 1) !== 0 || load(m, (actionOf(m, flow, i) + ACT_GENERATION) >> 2) !== generation) return true
  }
  return false
}

/** The flow is in the tables, or about to be: from now on the event worker may switch its program. */
export function finishFlow(a: Arena, flow: number): void {
  const { m } = a
  if (m[(flow + FLOW_NENCAPS) >> 2] === 0) return
  complete(m, (flow + FLOW_INIT_DONE) >> 2, 1)
}

/** The flow did not get into the tables (because of `e`, or it has to be made anew): its maker lets go. */
export function failFlow(a: Arena, flow: number, e?: unknown): void {
  const { m } = a
  or(m, (flow + FLOW_FLAGS) >> 2, FLOW_F_FAILED)
  and(m, (flow + FLOW_FLAGS) >> 2, ~FLOW_F_OFFLOADED)
  if (m[(flow + FLOW_NENCAPS) >> 2] !== 0) complete(m, (flow + FLOW_INIT_DONE) >> 2, -errnoOf(e))
  putFlow(a, flow)
}

/** Positive: what init_done says of a flow that failed. */
function errnoOf(e: unknown): number {
  return (e instanceof NetlinkError || e instanceof MemoryError) && e.errno > 0 ? e.errno : EAGAIN
}

/** Gives a reference back; the last one tears the flow down, with no lock held. */
export function putFlow(a: Arena, flow: number): void {
  if (lastPut(a, flow)) tearDown(contextOf(a), flow)
}

function tearDown(c: FlowContext, flow: number): void {
  const { a } = c
  const { m } = a
  hwDone(a, flow)
  c.encap.detach(a, flow)
  const n = m[(flow + FLOW_NACTIONS) >> 2]
  for (let i = 0; i < n; i++) releaseAction(c, flow, actionOf(m, flow, i))
  freeFlow(a, flow)
}

function releaseAction(c: FlowContext, flow: number, act: number): void {
  const { a } = c
  const { m } = a
  const kind = m[(act + ACT_KIND) >> 2]
  lockKind(m, kind)
  removeUserLocked(a, act, flow, m[(act + ACT_REFCNT) >> 2] === 1)
  const last = dropActionLocked(a, act, true)
  unlockKind(m, kind)
  if (last) freeAction(a, c.actions, kindOf(m, act), act)
}

/** The memory of a flow, and its counter, after a grace period. */
function freeFlow(a: Arena, flow: number): void {
  const { m } = a
  const word = (field: number): number => m[(flow + field) >> 2]
  if (word(FLOW_FAST) !== 0) freePrograms(a, word(FLOW_FAST))
  counterFree(a, word(FLOW_COUNTER))
  const key = word(FLOW_KEY_PTR)
  if (key !== 0 && key !== flow + FLOW_KEY) freeRcu(a, key, word(FLOW_KEY_WORDS) * 4, TAG_KEY)
  const raw = word(FLOW_RAW)
  if (raw !== 0) free(a, raw, 4 + m[raw >> 2] * 8, TAG_KEY)
  const list = word(FLOW_ACTION_PTR)
  if (list !== 0 && list !== flow + FLOW_ACTION0) free(a, list, word(FLOW_NACTIONS) * 4, TAG_LIST)
  freeRcu(a, flow, FLOW_SIZE, TAG_FLOW)
}

/** The event worker's path switches, under encap_tbl: one atomic store each (encap/hooks.ts FlowOps). */
export const flowOps: FlowOps = {
  fast(a: Arena, flow: number): void {
    publish(a.m, (flow + FLOW_ACTIONS) >> 2, a.m[(flow + FLOW_FAST) >> 2])
  },
  slow(a: Arena, flow: number): void {
    publish(a.m, (flow + FLOW_ACTIONS) >> 2, a.m[(flow + FLOW_SLOW) >> 2])
  },
  put: putFlow,
}
