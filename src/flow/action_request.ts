// RTM_{NEW,DEL,GET}ACTION: `tc actions add|replace|change|del|get|flush|ls` (tc_ctl_action and tc_dump_action of act_api.c).
//
//   nlmsghdr  tcamsg  TCA_ACT_TAB { 1: an action, 2: … }  TCA_ROOT_FLAGS  TCA_ROOT_TIME_DELTA
//
// Changes run under rtnl. An instance made here has one reference of its own until it is deleted here; one that filters
// use cannot be deleted.

import type { ActionKind } from '../action/action.ts'
import { actionKind } from '../action/index.ts'
import { ACT_BINDCNT, ACT_INDEX, ACT_INSTALLED, ACT_KIND, ACT_REFCNT } from '../memory/layout/action.ts'
import {
  attrLen,
  attrString,
  Builder,
  msgFlags,
  msgLen,
  msgPid,
  msgSeq,
  msgType,
  NLM_F_MULTI,
  NLM_F_REPLACE,
  NLM_F_ROOT,
  parseAttrs,
} from '../wire/netlink.ts'
import { EINVAL, ENOENT, EPERM, NetlinkError } from '../wire/netlink_error.ts'
import * as Tca from '../wire/tca_action.ts'
import { TCA_FCNT } from '../wire/tcm.ts'
import { dumpAction, dumpActionLocked, initActions } from './action_message.ts'
import { replaceAction } from './action_replace.ts'
import { actionStatsLocked } from './action_stats.ts'
import {
  dropActionLocked,
  freeAction,
  lockKind,
  nextActionLocked,
  putAction,
  takeAction,
  unlockKind,
} from './action_table.ts'
import { ACTIONS_MAX } from './compile.ts'
import type { FlowContext } from './context.ts'
import { isTold, tell } from './tcm_request.ts'

type Reply = (m: Uint8Array) => void

const root = new Int32Array(Tca.TCA_ROOT_TIME_DELTA + 1)
const list = new Int32Array(ACTIONS_MAX + 1)
const attrs = new Int32Array(Tca.TCA_ACT_INDEX + 1)
const acts = new Int32Array(ACTIONS_MAX)
const builder = new Builder(65536)

/** Payload of TCA_ACT_TAB; EINVAL without. */
function actionTab(d: DataView): number {
  parseAttrs(d, Tca.TCAMSG_ATTRS, msgLen(d), root, Tca.TCA_ROOT_TIME_DELTA)
  if (root[Tca.TCA_ACT_TAB] === 0) throw new NetlinkError(EINVAL, 'Netlink action attributes missing')
  return root[Tca.TCA_ACT_TAB]
}

/** Begins a message of actions; the nest that it opens is the caller's to end. */
function beginActions(d: DataView, type: number, flags: number): number {
  builder.begin(type, flags, msgSeq(d), msgPid(d))
  Tca.tcamsg(builder)
  return builder.nest(Tca.TCA_ACT_TAB)
}

/** RTM_NEWACTION. */
export function newAction(c: FlowContext, d: DataView, reply: Reply): void {
  const tab = actionTab(d)
  const flags = msgFlags(d)
  const replaced: number[] = []
  const replace =
    (flags & NLM_F_REPLACE) === 0
      ? undefined
      : (act: number, fresh: number): void => {
          replaceAction(c, act, fresh)
          replaced.push(act)
        }
  c.actions.block = 0
  const n = initActions(c, d, tab, { bind: false, replace, clsFlags: 0, rate: 0 }, acts)
  if (isTold(c, flags)) {
    const nest = beginActions(d, Tca.RTM_NEWACTION, flags)
    for (let i = 0; i < n; i++) dumpAction(c, acts[i], i + 1, builder, false)
    builder.nestEnd(nest)
    tell(c, flags, reply, builder.end())
  }
  for (const act of replaced) putAction(c.a, c.actions, act, false)
}

/** The kind that the attribute names; EINVAL, with this sentence, for one that there is not. */
function kindNamed(d: DataView, payload: number, sentence: string): ActionKind {
  const kind = payload === 0 ? undefined : actionKind(attrString(d, payload))
  if (kind === undefined) throw new NetlinkError(EINVAL, sentence)
  return kind
}

/** Takes a reference to every instance that the nest names by kind and index; how many (tcf_action_get_1). */
function takeNamed(c: FlowContext, d: DataView, tab: number): number {
  parseAttrs(d, tab, tab + attrLen(d, tab), list, ACTIONS_MAX)
  let n = 0
  try {
    for (; n < ACTIONS_MAX && list[n + 1] !== 0; n++) {
      const at = list[n + 1]
      parseAttrs(d, at, at + attrLen(d, at), attrs, Tca.TCA_ACT_INDEX)
      const index = attrs[Tca.TCA_ACT_INDEX]
      if (index === 0 || attrLen(d, index) < 4) throw new NetlinkError(EINVAL, 'Invalid TC action index value')
      const kind = kindNamed(d, attrs[Tca.TCA_ACT_KIND], 'Specified TC action kind not found')
      acts[n] = takeAction(c.a, kind.id, d.getUint32(index, true), false)
      if (acts[n] === 0) throw new NetlinkError(ENOENT, 'TC action with specified index not found')
    }
  } catch (e) {
    putNamed(c, n)
    throw e
  }
  return n
}

function putNamed(c: FlowContext, n: number): void {
  for (let i = 0; i < n; i++) putAction(c.a, c.actions, acts[i], false)
}

/** RTM_GETACTION of instances by kind and index. */
export function getAction(c: FlowContext, d: DataView, reply: Reply): void {
  const n = takeNamed(c, d, actionTab(d))
  try {
    const nest = beginActions(d, msgType(d), 0)
    for (let i = 0; i < n; i++) dumpHeld(c, acts[i], i + 1, 1)
    builder.nestEnd(nest)
    reply(builder.end())
  } finally {
    putNamed(c, n)
  }
}

/** Dumps an instance as if it had `fewer` references: those that are only this request's are not shown. */
function dumpHeld(c: FlowContext, act: number, order: number, fewer: number): void {
  const { m } = c.a
  const kind = kindIdOf(m, act)
  lockKind(m, kind)
  m[(act + ACT_REFCNT) >> 2] -= fewer
  dumpActionLocked(c, act, order, builder, false)
  m[(act + ACT_REFCNT) >> 2] += fewer
  unlockKind(m, kind)
}

const kindIdOf = (m: Int32Array, act: number): number => m[(act + ACT_KIND) >> 2]

/** RTM_DELACTION: instances by kind and index, or, with NLM_F_ROOT, all of a kind. */
export function delAction(c: FlowContext, d: DataView, reply: Reply): void {
  const tab = actionTab(d)
  const flags = msgFlags(d)
  if ((flags & NLM_F_ROOT) !== 0) {
    flushActions(c, d, tab, reply)
    return
  }
  const n = takeNamed(c, d, tab)
  const nest = beginActions(d, Tca.RTM_DELACTION, 0)
  for (let i = 0; i < n; i++) dumpHeld(c, acts[i], i + 1, 2)
  builder.nestEnd(nest)
  const message = builder.end()
  let refused = false
  for (let i = 0; i < n; i++) {
    const kind = kindIdOf(c.a.m, acts[i])
    lockKind(c.a.m, kind)
    const bound = c.a.m[(acts[i] + ACT_BINDCNT) >> 2] !== 0
    const again = acts.indexOf(acts[i]) < i
    // Ours is still there. Without another reference it was a filter's, which has gone meanwhile.
    const own = c.a.m[(acts[i] + ACT_REFCNT) >> 2] > 1
    if (own && !bound && !refused && !again) c.a.m[(acts[i] + ACT_REFCNT) >> 2]--
    unlockKind(c.a.m, kind)
    if (bound) refused = true
  }
  putNamed(c, n)
  if (refused) throw new NetlinkError(EPERM, 'Failed to delete TC action')
  tell(c, flags, reply, message)
}

function flushActions(c: FlowContext, d: DataView, tab: number, reply: Reply): void {
  const { a } = c
  const { m } = a
  parseAttrs(d, tab, tab + attrLen(d, tab), list, ACTIONS_MAX)
  const at = list[1]
  if (at === 0) throw new NetlinkError(EINVAL, 'Invalid netlink attributes while flushing TC action')
  parseAttrs(d, at, at + attrLen(d, at), attrs, Tca.TCA_ACT_INDEX)
  const kind = kindNamed(d, attrs[Tca.TCA_ACT_KIND], 'Cannot flush unknown TC action')
  const gone: number[] = []
  let bound = false
  lockKind(m, kind.id)
  for (let act = nextActionLocked(m, kind.id, 0); act !== 0; ) {
    const index = m[(act + ACT_INDEX) >> 2] >>> 0
    if (m[(act + ACT_BINDCNT) >> 2] > 0) {
      bound = true
      break
    }
    if (dropActionLocked(a, act, false)) gone.push(act)
    act = nextActionLocked(m, kind.id, index + 1)
  }
  unlockKind(m, kind.id)
  for (const act of gone) freeAction(a, c.actions, kind, act)
  // Some went: the kernel is content (tcf_del_walker), and tells how many.
  if (bound && gone.length === 0) throw new NetlinkError(EPERM)
  if (gone.length === 0 || !isTold(c, msgFlags(d))) return
  const nest = beginActions(d, Tca.RTM_DELACTION, NLM_F_ROOT)
  const one = builder.nest(0)
  builder.attrStr(Tca.TCA_ACT_KIND, kind.name)
  builder.attrU32(TCA_FCNT, gone.length)
  builder.nestEnd(one)
  builder.nestEnd(nest)
  tell(c, msgFlags(d), reply, builder.end())
}

/** Bytes of a message of a large dump. */
const LARGE = 16000

/** RTM_GETACTION as a dump: the instances of a kind by index, in messages of 32 or, when asked, as many as fit. */
export function* dumpActions(c: FlowContext, d: DataView): Generator<Uint8Array[], void> {
  const tab = actionTab(d)
  parseAttrs(d, tab, tab + attrLen(d, tab), list, ACTIONS_MAX)
  if (list[1] === 0) return
  parseAttrs(d, list[1], list[1] + attrLen(d, list[1]), attrs, Tca.TCA_ACT_INDEX)
  const named = attrs[Tca.TCA_ACT_KIND]
  const kind = named === 0 ? undefined : actionKind(attrString(d, named))
  if (kind === undefined) return
  const flags = root[Tca.TCA_ROOT_FLAGS] === 0 ? 0 : d.getUint32(root[Tca.TCA_ROOT_FLAGS], true)
  const delta = root[Tca.TCA_ROOT_TIME_DELTA]
  const since = delta === 0 ? -1 : c.now() - d.getUint32(delta, true)
  for (let next = 0; next >= 0; ) {
    const messages: Uint8Array[] = []
    next = dumpSome(c, d, kind, next, flags, since, (m) => messages.push(m))
    yield messages
  }
}

/** One message from index `from` on, if there are any; the index to go on from, -1 at the end. */
function dumpSome(
  c: FlowContext,
  d: DataView,
  kind: ActionKind,
  from: number,
  flags: number,
  since: number,
  reply: Reply,
): number {
  const { m } = c.a
  builder.begin(msgType(d), NLM_F_MULTI, msgSeq(d), msgPid(d))
  Tca.tcamsg(builder)
  builder.attrU32(Tca.TCA_ROOT_COUNT, 0)
  const countAt = builder.at - 4
  const nest = builder.nest(Tca.TCA_ACT_TAB)
  const large = (flags & Tca.TCA_ACT_FLAG_LARGE_DUMP_ON) !== 0
  let n = 0
  let next = -1
  lockKind(m, kind.id)
  try {
    for (let act = nextActionLocked(m, kind.id, from); act !== 0; ) {
      const index = m[(act + ACT_INDEX) >> 2] >>> 0
      if (large ? builder.at > LARGE : n === ACTIONS_MAX) {
        next = index
        break
      }
      if (since < 0 || usedSince(c, act, since)) {
        dumpActionLocked(c, act, n++, builder, (flags & Tca.TCA_ACT_FLAG_TERSE_DUMP) !== 0)
      }
      act = index === 0xffffffff ? 0 : nextActionLocked(m, kind.id, index + 1)
    }
  } finally {
    unlockKind(m, kind.id)
  }
  builder.nestEnd(nest)
  builder.d.setUint32(countAt, n, true)
  if (n > 0) reply(builder.end())
  return next
}

function usedSince(c: FlowContext, act: number, since: number): boolean {
  const { lastUsed } = actionStatsLocked(c.a, act)
  return Math.max(lastUsed - 1, c.a.m[(act + ACT_INSTALLED) >> 2]) >= since
}
