// RTM_{NEW,DEL,GET}TFILTER: filters are added, changed, deleted, shown (tc_new_tfilter and its sisters of cls_api.c,
// fl_change of cls_flower.c).
//
// Each function is one request of one thread, inside one RCU section, many at once. It finds chain and prio without a
// lock; where they have to be made it takes their locks. The flow is made whole before it joins; when the prio went away
// meanwhile, it looks again. The order in which things are checked is the kernel's, because it decides what is refused.

import { flowKey } from '../match/index.ts'
import type { KeyExtra } from '../match/match.ts'
import {
  CHAIN_TEMPLATE,
  FLOW_REFCNT,
  MASK_RANGE_DST,
  MASK_RANGE_SRC,
  PRIO_CHAIN,
  PRIO_KIND_FLOWER,
  TEMPLATE_MASK,
} from '../memory/layout/flow.ts'
import * as Refcount from '../sync/refcount.ts'
import {
  attrLen,
  Builder,
  msgFlags,
  msgLen,
  msgPid,
  msgSeq,
  NLM_F_CREATE,
  NLM_F_ECHO,
  NLM_F_EXCL,
  parseAttrs,
} from '../wire/netlink.ts'
import { EEXIST, EINVAL, ENOENT, EOPNOTSUPP, NetlinkError } from '../wire/netlink_error.ts'
import * as Tcm from '../wire/tcm.ts'
import { initActions, isString } from './action_message.ts'
import { type ChainEvents, findChain, getChain, putChain } from './chain.ts'
import { chainEvents } from './chain_message.ts'
import { ACTIONS_MAX } from './compile.ts'
import { bumpGeneration, type FlowContext } from './context.ts'
import { extraOf, FLOWER, fillFilter, type Reply } from './filter_message.ts'
import { failFlow, finishFlow, makeFlow, putFlow } from './flow.ts'
import { DONE, type Joined, join, leave, leaveAll, STALE, takeFlow } from './flow_table.ts'
import { findHook, type Hook } from './hook.ts'
import { type MatchScratch, matchScratch, pack } from './match_scratch.ts'
import { addPrio, findPrio, nextPrio, notFound, putPrio, unlinkEmptyPrio, unlinkPrio } from './prio.ts'

export const tca = new Int32Array(Tcm.TCA_EXT_WARN_MSG + 1)
const scratch = matchScratch()
const acts = new Int32Array(ACTIONS_MAX)
const builder = new Builder(8192)
const left = { flows: 0 }

/** Largest chain index (TC_ACT_EXT_VAL_MASK). */
const CHAIN_MAX = 0x0fffffff

/** What the header and the attributes of a filter request say. */
interface Request {
  readonly d: DataView
  readonly flags: number
  readonly handle: number
  readonly pref: number
  /** EtherType in wire order, as PRIO_PROTO. */
  readonly protocol: number
  readonly hook: Hook
  readonly chainIndex: number
}

/** Attributes of a tc message whose fixed part is a tcmsg, into `tca`. */
export function parseTcm(d: DataView): void {
  parseAttrs(d, Tcm.TCMSG_ATTRS, msgLen(d), tca, Tcm.TCA_EXT_WARN_MSG)
}

/** TCA_CHAIN, 0 without; EINVAL above the limit. */
export function chainIndexOf(d: DataView): number {
  const index = tca[Tcm.TCA_CHAIN] === 0 ? 0 : d.getUint32(tca[Tcm.TCA_CHAIN], true)
  if (index > CHAIN_MAX) throw new NetlinkError(EINVAL, 'Specified chain index exceeds upper limit')
  return index
}

function parseRequest(c: FlowContext, d: DataView): Request {
  const info = Tcm.tcmInfo(d)
  const hook = findHook(c.a, Tcm.tcmIfindex(d), Tcm.tcmParent(d))
  return {
    d,
    flags: msgFlags(d),
    handle: Tcm.tcmHandle(d),
    pref: info >>> 16,
    protocol: info & 0xffff,
    hook,
    chainIndex: chainIndexOf(d),
  }
}

const replyTo = (r: Request, type: number): Reply => ({
  type,
  flags: r.flags,
  seq: msgSeq(r.d),
  pid: msgPid(r.d),
  ifindex: r.hook.ifindex,
  parent: r.hook.parent,
})

/** Is anybody to be told of the change? */
const isTold = (c: FlowContext, r: Request): boolean => c.notify !== undefined || (r.flags & NLM_F_ECHO) !== 0

/** Tells a change: to everybody, and to the one who asked, if it wants the echo. */
export function tell(c: FlowContext, flags: number, reply: (m: Uint8Array) => void, message: Uint8Array): void {
  c.notify?.(message)
  if ((flags & NLM_F_ECHO) !== 0) reply(message)
}

function checkKind(d: DataView): void {
  const kind = tca[Tcm.TCA_KIND]
  if (kind !== 0 && !isString(d, kind, FLOWER)) {
    throw new NetlinkError(EINVAL, 'Specified filter kind does not match existing one')
  }
}

/** RTM_NEWTFILTER: add, replace, change. */
export function newFilter(c: FlowContext, d: DataView, reply: (m: Uint8Array) => void): void {
  parseTcm(d)
  const create = (msgFlags(d) & NLM_F_CREATE) !== 0
  if (Tcm.tcmInfo(d) >>> 16 === 0 && !create) {
    throw new NetlinkError(ENOENT, 'Invalid filter command with priority of zero')
  }
  const r = parseRequest(c, d)
  const told = isTold(c, r)
  const events = chainEvents(c)
  let flow = 0
  for (let done = false; !done; ) {
    const { prio, made } = takePrio(c, r, create, events)
    let old = 0
    try {
      checkKind(d)
      old = r.handle === 0 ? 0 : takeFlow(c.a.m, prio, r.handle)
      if (old === 0 && !create) throw needCreate()
      if (old !== 0 && (r.flags & NLM_F_EXCL) !== 0) throw new NetlinkError(EEXIST, 'Filter already exists')
      if (flow === 0) {
        flow = parseFlow(c, r, prio)
        if (told) Refcount.get(c.a.m, (flow + FLOW_REFCNT) >> 2)
      }
      const joined = enter(c, r, prio, flow, old)
      done = joined === DONE
      if (joined === STALE) {
        failFlow(c.a, flow, undefined)
        if (told) putFlow(c.a, flow)
        flow = 0
      }
      if (!done && made && unlinkEmptyPrio(c.a.m, prio)) putPrio(c.a, prio, events)
    } catch (e) {
      if (flow !== 0) failFlow(c.a, flow, e)
      if (flow !== 0 && told) putFlow(c.a, flow)
      if (made && unlinkEmptyPrio(c.a.m, prio)) putPrio(c.a, prio, events)
      throw e
    } finally {
      if (old !== 0) putFlow(c.a, old)
    }
    if (done && told) {
      fillFilter(c, builder, replyTo(r, Tcm.RTM_NEWTFILTER), prio, flow)
      tell(c, r.flags, reply, builder.end())
      putFlow(c.a, flow)
    }
  }
}

const needCreate = (): NetlinkError =>
  new NetlinkError(ENOENT, 'Need both RTM_NEWTFILTER and NLM_F_CREATE to create a new filter')

/** The prio that the request means, made when it is not there. */
function takePrio(c: FlowContext, r: Request, create: boolean, events: ChainEvents): { prio: number; made: boolean } {
  const { a } = c
  const seen = findChain(a.m, r.hook.block, r.chainIndex)
  const there = seen === 0 || r.pref === 0 ? 0 : findPrio(a.m, seen, r.pref, r.protocol)
  if (there !== 0) return { prio: there, made: false }
  if (tca[Tcm.TCA_KIND] === 0 || r.protocol === 0) {
    throw new NetlinkError(EINVAL, 'Filter kind and protocol must be specified')
  }
  if (!create) throw needCreate()
  if (!isString(r.d, tca[Tcm.TCA_KIND], FLOWER)) throw new NetlinkError(ENOENT, 'TC classifier not found')
  const chain = getChain(a, r.hook.block, r.chainIndex, true, events)
  let made = false
  try {
    const p = addPrio(a, chain, r.pref, r.protocol, PRIO_KIND_FLOWER)
    made = p.made
    return p
  } finally {
    if (!made) putChain(a, chain, events)
  }
}

/** The flow that the request describes, whole, in no table. */
function parseFlow(c: FlowContext, r: Request, prio: number): number {
  const { d } = r
  const options = tca[Tcm.TCA_OPTIONS]
  if (options === 0) throw new NetlinkError(EINVAL)
  const extra = extraOf(c)
  flowKey(d, options, options + attrLen(d, options), scratch.key, scratch.mask, extra)
  const skip = Tcm.TCA_CLS_FLAGS_SKIP_HW | Tcm.TCA_CLS_FLAGS_SKIP_SW
  if ((extra.flags & ~(skip | Tcm.TCA_CLS_FLAGS_VERBOSE)) !== 0 || (extra.flags & skip) === skip) {
    throw new NetlinkError(EINVAL)
  }
  c.actions.block = r.hook.block
  const { flags, classid } = extra
  const n = extra.act === 0 ? 0 : initActions(c, d, extra.act, { bind: true, clsFlags: flags }, acts)
  setRanges(scratch, extra)
  pack(scratch)
  const flow = makeFlow(c, scratch, acts, n, r.hook.direction, flags | Tcm.TCA_CLS_FLAGS_NOT_IN_HW, classid)
  try {
    checkTemplate(c, prio)
    if ((flags & Tcm.TCA_CLS_FLAGS_SKIP_SW) !== 0) throw new NetlinkError(EOPNOTSUPP) // nothing is in hardware
  } catch (e) {
    failFlow(c.a, flow, e)
    throw e
  }
  return flow
}

function setRanges(s: MatchScratch, extra: KeyExtra): void {
  s.rangeSrc = extra.srcPortMax === 0 ? 0 : extra.srcPortMin | (extra.srcPortMax << 16)
  s.rangeDst = extra.dstPortMax === 0 ? 0 : extra.dstPortMin | (extra.dstPortMax << 16)
  s.maskFlags = (s.rangeSrc === 0 ? 0 : MASK_RANGE_SRC) | (s.rangeDst === 0 ? 0 : MASK_RANGE_DST)
}

/** fl_mask_fits_tmplt: the mask looks only at bits that the chain's template looks at. */
function checkTemplate(c: FlowContext, prio: number): void {
  const { m } = c.a
  const template = m[(m[(prio + PRIO_CHAIN) >> 2] + CHAIN_TEMPLATE) >> 2]
  if (template === 0) return
  const w = (template + TEMPLATE_MASK) >> 2
  for (let i = 0; i < scratch.count; i++) {
    if ((scratch.bits[i] & ~m[w + (scratch.offsets[i] >> 2)]) !== 0) {
      throw new NetlinkError(EINVAL, 'Mask does not fit the template')
    }
  }
}

/** Puts the flow into the prio, in the place of `old`. When it is DONE packets meet it. */
function enter(c: FlowContext, r: Request, prio: number, flow: number, old: number): Joined {
  const joined = join(c.a, prio, flow, scratch, r.handle, old)
  if (joined !== DONE) return joined
  bumpGeneration(c.a)
  finishFlow(c.a, flow)
  if (old !== 0) putFlow(c.a, old) // the tables' reference
  return joined
}

/** RTM_DELTFILTER: one filter, all of a pref, all of a chain. */
export function delFilter(c: FlowContext, d: DataView, reply: (m: Uint8Array) => void): void {
  parseTcm(d)
  const info = Tcm.tcmInfo(d)
  const flush = info >>> 16 === 0
  if (flush && ((info & 0xffff) !== 0 || Tcm.tcmHandle(d) !== 0 || tca[Tcm.TCA_KIND] !== 0)) {
    throw new NetlinkError(ENOENT, 'Cannot flush filters with protocol, handle or kind set')
  }
  const r = parseRequest(c, d)
  const events = chainEvents(c)
  const chain = getChain(c.a, r.hook.block, r.chainIndex, false, events)
  if (chain === 0) {
    if (flush) return
    throw new NetlinkError(ENOENT, 'Cannot find specified filter chain')
  }
  try {
    if (flush) {
      flushChain(c, chain, events, replyTo(r, Tcm.RTM_DELTFILTER), reply)
      return
    }
    const prio = findPrio(c.a.m, chain, r.pref, r.protocol)
    if (prio === 0) throw notFound(ENOENT)
    checkKind(d)
    if (r.handle === 0) delPrio(c, r, prio, events, reply)
    else delOne(c, r, prio, events, reply)
  } finally {
    putChain(c.a, chain, events)
  }
}

function delPrio(c: FlowContext, r: Request, prio: number, events: ChainEvents, reply: (m: Uint8Array) => void): void {
  if (!unlinkPrio(c.a.m, prio)) throw notFound(ENOENT)
  bumpGeneration(c.a)
  if (isTold(c, r)) {
    fillFilter(c, builder, replyTo(r, Tcm.RTM_DELTFILTER), prio, 0)
    tell(c, r.flags, reply, builder.end())
  }
  emptyPrio(c, prio, events)
}

/** The end of a prio that is off its chain. */
function emptyPrio(c: FlowContext, prio: number, events: ChainEvents): void {
  leaveAll(c.a, prio, (flow) => putFlow(c.a, flow))
  putPrio(c.a, prio, events)
}

function delOne(c: FlowContext, r: Request, prio: number, events: ChainEvents, reply: (m: Uint8Array) => void): void {
  const { a } = c
  const flow = takeFlow(a.m, prio, r.handle)
  if (flow === 0) throw new NetlinkError(ENOENT, 'Specified filter handle not found')
  let message: Uint8Array | undefined
  if (isTold(c, r)) {
    fillFilter(c, builder, replyTo(r, Tcm.RTM_DELTFILTER), prio, flow)
    message = builder.end()
  }
  const mine = leave(a, flow, left)
  const last = left.flows === 0
  if (mine) bumpGeneration(a)
  if (mine) putFlow(a, flow)
  putFlow(a, flow)
  if (!mine) throw new NetlinkError(ENOENT)
  if (message !== undefined) tell(c, r.flags, reply, message)
  if (last && unlinkEmptyPrio(a.m, prio)) putPrio(a, prio, events)
}

/** Deletes all filters of a chain, which the caller holds. */
export function flushChain(
  c: FlowContext,
  chain: number,
  events: ChainEvents,
  header: Reply,
  reply: (m: Uint8Array) => void,
): void {
  const { a } = c
  if (c.notify !== undefined || (header.flags & NLM_F_ECHO) !== 0) {
    for (let prio = nextPrio(a, chain, 0); prio !== 0; prio = nextPrio(a, chain, prio, events)) {
      fillFilter(c, builder, header, prio, 0)
      tell(c, header.flags, reply, builder.end())
    }
  }
  emptyChain(c, chain, events)
}

/** As flushChain, without a word. */
export function emptyChain(c: FlowContext, chain: number, events: ChainEvents): void {
  const { a } = c
  for (let prio = nextPrio(a, chain, 0); prio !== 0; prio = nextPrio(a, chain, prio, events)) {
    if (!unlinkPrio(a.m, prio)) continue
    bumpGeneration(a)
    emptyPrio(c, prio, events)
  }
}

/** RTM_GETTFILTER of one filter. */
export function getFilter(c: FlowContext, d: DataView, reply: (m: Uint8Array) => void): void {
  parseTcm(d)
  if (Tcm.tcmInfo(d) >>> 16 === 0) throw new NetlinkError(ENOENT, 'Invalid filter command with priority of zero')
  const r = parseRequest(c, d)
  const chain = findChain(c.a.m, r.hook.block, r.chainIndex)
  if (chain === 0) throw new NetlinkError(EINVAL, 'Cannot find specified filter chain')
  const prio = findPrio(c.a.m, chain, r.pref, r.protocol)
  if (prio === 0) throw notFound(ENOENT)
  checkKind(d)
  const flow = takeFlow(c.a.m, prio, r.handle)
  if (flow === 0) throw new NetlinkError(ENOENT, 'Specified filter handle not found')
  try {
    fillFilter(c, builder, replyTo(r, Tcm.RTM_NEWTFILTER), prio, flow)
    reply(builder.end())
  } finally {
    putFlow(c.a, flow)
  }
}
