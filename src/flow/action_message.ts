// Actions in messages: a nest of them to instances (tcf_action_init), an instance to attributes (tcf_action_dump_1).
//
//   TCA_FLOWER_ACT or TCA_ACT_TAB { 1: { TCA_ACT_KIND, TCA_ACT_COOKIE, …, TCA_ACT_OPTIONS { parms (index, …), … } }, 2: … }
//
// An index that is there means that instance: a filter binds it and does not look at the rest of its options; `tc
// actions` refuses it (EEXIST) or replaces its parameters.

import type { ActionKind } from '../action/action.ts'
import { actionKind, parmsOf } from '../action/index.ts'
import { ACT_COOKIE, ACT_FLAGS, ACT_HW_STATS, ACT_INDEX, ACT_INSTALLED, ACT_KIND } from '../memory/layout/action.ts'
import { FLOW_CLS_FLAGS } from '../memory/layout/flow.ts'
import { alloc, TAG_COOKIE } from '../memory/pool.ts'
import { attrLen, attrString, type Builder, parseAttrs } from '../wire/netlink.ts'
import { EEXIST, EINVAL, ENOENT, NetlinkError } from '../wire/netlink_error.ts'
import * as Tca from '../wire/tca_action.ts'
import { TCA_CLS_FLAGS_IN_HW, TCA_CLS_FLAGS_SKIP_HW, TCA_CLS_FLAGS_SKIP_SW } from '../wire/tcm.ts'
import { actionStatsLocked, forEachUserLocked } from './action_stats.ts'
import {
  COOKIE_SIZE,
  discardAction,
  freeAction,
  insertAction,
  kindOf,
  lockKind,
  makeAction,
  putAction,
  takeAction,
  unlockKind,
} from './action_table.ts'
import { ACTIONS_MAX } from './compile.ts'
import { estimatorsWaiting, type FlowContext } from './context.ts'
import { makeEstimator, rateOfLocked, startEstimator } from './estimator.ts'
import { actionStats } from './stats_message.ts'

const HW_STATS_ANY = Tca.TCA_ACT_HW_STATS_IMMEDIATE | Tca.TCA_ACT_HW_STATS_DELAYED
const USER_FLAGS = Tca.TCA_ACT_FLAGS_NO_PERCPU_STATS | Tca.TCA_ACT_FLAGS_SKIP_HW | Tca.TCA_ACT_FLAGS_SKIP_SW

const list = new Int32Array(ACTIONS_MAX + 1)
const attrs = new Int32Array(Tca.TCA_ACT_IN_HW_COUNT + 1)

/** How an action list is meant. */
interface Init {
  /** By a filter: instances are bound. */
  readonly bind: boolean
  /** An instance that is there gets new parameters; else EEXIST (not for a filter). */
  readonly replace?: ((act: number, fresh: number) => void) | undefined
  /** TCA_CLS_FLAGS_* of the filter. */
  readonly clsFlags: number
  /** TCA_RATE of the filter, for instances that it makes; 0 without. */
  readonly rate: number
}

/**
 * Makes or finds the instances of a nest of actions whose payload begins at `payload`; each gets one reference. Puts
 * them into `out` and says how many. Throws as the kernel refuses; then none is kept.
 */
export function initActions(c: FlowContext, d: DataView, payload: number, how: Init, out: Int32Array): number {
  parseAttrs(d, payload, payload + attrLen(d, payload), list, ACTIONS_MAX)
  let n = 0
  try {
    while (n < ACTIONS_MAX && list[n + 1] !== 0) {
      const at = list[n + 1]
      out[n] = initAction(c, d, at, how)
      n++
    }
  } catch (e) {
    for (let i = 0; i < n; i++) putAction(c.a, c.actions, out[i], how.bind)
    throw e
  }
  return n
}

const names: { kind: ActionKind; name: string }[] = []

/** The kind that TCA_ACT_KIND names. */
function kindAt(d: DataView, payload: number): ActionKind {
  if (payload === 0) throw new NetlinkError(EINVAL, 'TC action kind must be specified')
  for (const known of names) if (isString(d, payload, known.name)) return known.kind
  const name = attrString(d, payload)
  const kind = actionKind(name)
  if (kind === undefined) throw new NetlinkError(ENOENT, 'Failed to load TC action module')
  names.push({ kind, name })
  return kind
}

/** Is the string attribute this text? Makes no garbage. */
export function isString(d: DataView, payload: number, text: string): boolean {
  const n = text.length
  const len = attrLen(d, payload)
  if (len < n || (len > n && d.getUint8(payload + n) !== 0)) return false
  for (let i = 0; i < n; i++) if (d.getUint8(payload + i) !== text.charCodeAt(i)) return false
  return true
}

function initAction(c: FlowContext, d: DataView, at: number, how: Init): number {
  const { a } = c
  parseAttrs(d, at, at + attrLen(d, at), attrs, Tca.TCA_ACT_IN_HW_COUNT)
  const kind = kindAt(d, attrs[Tca.TCA_ACT_KIND])
  const cookie = attrs[Tca.TCA_ACT_COOKIE]
  if (cookie !== 0 && attrLen(d, cookie) > COOKIE_SIZE - 1) {
    throw new NetlinkError(EINVAL, 'TC cookie size above the maximum')
  }
  const options = attrs[Tca.TCA_ACT_OPTIONS]
  const o = options
  const end = options === 0 ? 0 : options + attrLen(d, options)
  const index = Tca.genIndex(d, parmsOf(kind, d, o, end))
  for (;;) {
    const there = index === 0 ? 0 : takeAction(a, kind.id, index, how.bind)
    if (there !== 0 && how.bind) return there
    if (there !== 0 && how.replace === undefined) {
      putAction(a, c.actions, there, false)
      throw new NetlinkError(EEXIST)
    }
    const fresh = makeAction(a, kind)
    try {
      setCommon(c, d, fresh, index, how.clsFlags)
      if (how.rate !== 0) makeEstimator(a, fresh, d, how.rate, c.now())
      kind.init(c.actions, fresh, d, o, end, there)
    } catch (e) {
      discardAction(a, fresh)
      if (there !== 0) putAction(a, c.actions, there, false)
      throw e
    }
    if (there !== 0) {
      how.replace?.(there, fresh)
      return there
    }
    try {
      insertAction(a, fresh, how.bind)
      startEstimator(a, estimatorsWaiting(a), fresh)
      return fresh
    } catch (e) {
      freeAction(a, c.actions, kind, fresh)
      if (!(e instanceof NetlinkError) || e.errno !== EEXIST) throw e // else another thread made it: look again
    }
  }
}

/** The words that are not the kind's. */
function setCommon(c: FlowContext, d: DataView, act: number, index: number, clsFlags: number): void {
  const { a } = c
  const { m } = a
  m[(act + ACT_INDEX) >> 2] = index
  m[(act + ACT_INSTALLED) >> 2] = c.now()
  const hw = attrs[Tca.TCA_ACT_HW_STATS]
  m[(act + ACT_HW_STATS) >> 2] = hw === 0 ? HW_STATS_ANY : d.getUint32(hw, true)
  const flags = attrs[Tca.TCA_ACT_FLAGS]
  let user = flags === 0 ? 0 : d.getUint32(flags, true) & USER_FLAGS
  if ((clsFlags & TCA_CLS_FLAGS_SKIP_HW) !== 0) user |= Tca.TCA_ACT_FLAGS_SKIP_HW
  if ((clsFlags & TCA_CLS_FLAGS_SKIP_SW) !== 0) user |= Tca.TCA_ACT_FLAGS_SKIP_SW
  m[(act + ACT_FLAGS) >> 2] = user
  const cookie = attrs[Tca.TCA_ACT_COOKIE]
  if (cookie === 0) return
  const block = alloc(a, COOKIE_SIZE, TAG_COOKIE)
  const n = attrLen(d, cookie)
  a.u8[block] = n
  for (let i = 0; i < n; i++) a.u8[block + 1 + i] = d.getUint8(cookie + i)
  m[(act + ACT_COOKIE) >> 2] = block
}

/** Writes one action as tcf_action_dump_1 does, numbered `order`. `terse`: kind, statistics and cookie. */
export function dumpAction(c: FlowContext, act: number, order: number, b: Builder, terse: boolean): void {
  const { m } = c.a
  const kind = m[(act + ACT_KIND) >> 2]
  lockKind(m, kind)
  try {
    dumpActionLocked(c, act, order, b, terse)
  } finally {
    unlockKind(m, kind)
  }
}

/** As dumpAction, holding the kind's lock. */
export function dumpActionLocked(c: FlowContext, act: number, order: number, b: Builder, terse: boolean): void {
  const { a } = c
  const { m } = a
  const kind = kindOf(m, act)
  const nest = b.nest(order)
  b.attrStr(Tca.TCA_ACT_KIND, kind.name)
  const stats = b.nest(Tca.TCA_ACT_STATS)
  actionStats(b, actionStatsLocked(a, act), rateOfLocked(a, act))
  b.nestEnd(stats)
  const cookie = m[(act + ACT_COOKIE) >> 2]
  if (cookie !== 0) b.attrSlice(Tca.TCA_ACT_COOKIE, a.u8, cookie + 1, a.u8[cookie])
  if (!terse) {
    const hw = m[(act + ACT_HW_STATS) >> 2]
    if (hw !== HW_STATS_ANY) bitfield(b, Tca.TCA_ACT_HW_STATS, hw, HW_STATS_ANY)
    if (isInHw(m, act)) bitfield(b, Tca.TCA_ACT_USED_HW_STATS, Tca.TCA_ACT_HW_STATS_DELAYED, HW_STATS_ANY)
    const flags = m[(act + ACT_FLAGS) >> 2]
    if (flags !== 0) bitfield(b, Tca.TCA_ACT_FLAGS, flags, flags)
    b.attrU32(Tca.TCA_ACT_IN_HW_COUNT, 0)
    const options = b.nest(Tca.TCA_ACT_OPTIONS)
    kind.dump(c.actions, act, b)
    b.nestEnd(options)
  }
  b.nestEnd(nest)
}

/** Does a NIC count for the action: is a flow that uses it in hardware? */
function isInHw(m: Int32Array, act: number): boolean {
  let found = false
  forEachUserLocked(m, act, (flow) => {
    found ||= (m[(flow + FLOW_CLS_FLAGS) >> 2] & TCA_CLS_FLAGS_IN_HW) !== 0
  })
  return found
}

/** struct nla_bitfield32 { u32 value, selector; } */
function bitfield(b: Builder, type: number, value: number, selector: number): void {
  const o = b.attrRoom(type, 8)
  b.d.setUint32(o, value, true)
  b.d.setUint32(o + 4, selector, true)
}
