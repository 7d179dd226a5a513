// RTM_{NEW,GET}TFILTER: filters are added, changed, and one is shown (tc_new_tfilter, tc_get_tfilter of cls_api.c,
// fl_change of cls_flower.c). Deleting is in filter_delete.ts, the dump in filter_dump.ts.
//
// Each function is one request of one thread, inside one RCU section, many at once. It finds chain and prio without a
// lock; where they have to be made it takes their locks. The flow is made whole before it joins; when the prio went away
// meanwhile, it looks again. The order in which things are checked is the kernel's, because it decides what is refused.

import { CHAIN_TEMPLATE, FLOW_REFCNT, PRIO_CHAIN, PRIO_NFLOWS, TEMPLATE_MASK } from '../memory/layout/flow.ts'
import * as Refcount from '../sync/refcount.ts'
import { Builder, msgFlags, NLM_F_CREATE, NLM_F_EXCL } from '../wire/netlink.ts'
import { EEXIST, EINVAL, ENOENT, EOPNOTSUPP, NetlinkError } from '../wire/netlink_error.ts'
import * as Tcm from '../wire/tcm.ts'
import { initActions, isString } from './action_message.ts'
import { type ChainEvents, findChain, getChain, putChain } from './chain.ts'
import { chainEvents } from './chain_message.ts'
import { classifierAt, classifierOf, flower, isU32 } from './classifier.ts'
import { ACTIONS_MAX } from './compile.ts'
import { bumpGeneration, type FlowContext, PROFILE_MLX5, profileOf } from './context.ts'
import { isRestoring } from './exact_key.ts'
import { fillFilter, fillU32 } from './filter_message.ts'
import { failFlow, finishFlow, items, makeFlow, putFlow } from './flow.ts'
import { AGAIN, DONE, type Joined, join, takeFlow } from './flow_table.ts'
import { type KnownList, makeAgain } from './known_lists.ts'
import { type MatchScratch, matchScratch } from './match_scratch.ts'
import { offloadRefused } from './mlx5.ts'
import { addPrio, findPrio, notFound, putPrio, unlinkEmptyPrio } from './prio.ts'
import { withRtnl } from './rtnl.ts'
import { isTold, optionsEnd, parseRequest, parseTcm, type Request, replyTo, tca, tell } from './tcm_request.ts'
import { u32Change, u32Get } from './u32.ts'
import { destroyPrio, initPrio, lastId, takeBackIds } from './u32_node.ts'

const scratch = matchScratch()
/** What the flow that was parsed last matches. */
let match: MatchScratch = scratch
const acts = new Int32Array(ACTIONS_MAX)
const builder = new Builder(8192)

/** The kind that the request names, if it names one, must be the prio's. */
export function checkKind(c: FlowContext, d: DataView, prio: number): void {
  const kind = tca[Tcm.TCA_KIND]
  if (kind !== 0 && !isString(d, kind, classifierOf(c.a.m, prio).name)) {
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
  // A request that names no kind may be about one that needs it.
  if (tca[Tcm.TCA_KIND] === 0 || classifierAt(d, tca[Tcm.TCA_KIND]).rtnl) {
    withRtnl(c.a, () => change(c, d, r, create, reply))
  } else change(c, d, r, create, reply)
}

function change(c: FlowContext, d: DataView, r: Request, create: boolean, reply: (m: Uint8Array) => void): void {
  const told = isTold(c, r.flags)
  const events = chainEvents(c)
  for (let done = false; !done; ) {
    const { prio, made } = takePrio(c, r, create, events)
    if (isU32(c.a.m, prio)) {
      done = changeU32(c, r, prio, made, create, events, told ? reply : undefined)
      continue
    }
    let flow = 0
    let old = 0
    try {
      checkKind(c, d, prio)
      old = r.handle === 0 ? 0 : takeFlow(c.a.m, prio, r.handle)
      if (old === 0 && !create) throw needCreate()
      if (old !== 0 && (r.flags & NLM_F_EXCL) !== 0) throw new NetlinkError(EEXIST, 'Filter already exists')
      checkTemplateKind(c.a.m, prio)
      flow = parseFlow(c, r, prio, old)
      if (told) Refcount.get(c.a.m, (flow + FLOW_REFCNT) >> 2)
      done = enter(c, r, prio, flow, old) === DONE
      if (!done) {
        // Another one is made next time. This one's init_done must not wait for that: the put of `old` below may detach,
        // and the event worker may be waiting for this flow with encap_tbl held.
        failFlow(c.a, flow)
        if (told) putFlow(c.a, flow)
        if (made) removeIfEmpty(c, prio, events)
      }
    } catch (e) {
      if (flow !== 0) failFlow(c.a, flow, e)
      if (flow !== 0 && told) putFlow(c.a, flow)
      if (made) removeIfEmpty(c, prio, events)
      throw e
    } finally {
      if (old !== 0) putFlow(c.a, old)
    }
    if (done && told) {
      fillFilter(c, builder, replyTo(d, r.hook, Tcm.RTM_NEWTFILTER), prio, flow)
      tell(c, r.flags, reply, builder.end())
      putFlow(c.a, flow)
    }
  }
}

/** Takes a prio that has no filter off its chain. */
export function removeIfEmpty(c: FlowContext, prio: number, events: ChainEvents): void {
  if (unlinkEmptyPrio(c.a.m, prio)) freePrio(c, prio, events)
}

/** The end of a prio that is off its chain and that its flows have left. */
export function freePrio(c: FlowContext, prio: number, events: ChainEvents): void {
  if (isU32(c.a.m, prio)) withRtnl(c.a, () => destroyPrio(c.a, prio))
  putPrio(c.a, prio, events)
}

/** As `change` for a prio of u32, under rtnl. False: look again. */
function changeU32(
  c: FlowContext,
  r: Request,
  prio: number,
  made: boolean,
  create: boolean,
  events: ChainEvents,
  reply?: (m: Uint8Array) => void,
): boolean {
  const last = made ? lastId(c.a, prio) : 0
  try {
    if (made) initPrio(c.a, prio, isRestoring() ? r.handle : 0)
    if (made && isRestoring()) return true // the message of a snapshot was the root table's
    checkKind(c, r.d, prio)
    const there = u32Get(c, prio, r.handle)
    const found = there.hnode !== 0 || there.knode !== 0
    if (!found && !create) throw needCreate()
    if (found && (r.flags & NLM_F_EXCL) !== 0) throw new NetlinkError(EEXIST, 'Filter already exists')
    checkTemplateKind(c.a.m, prio)
    const changed = u32Change(c, r, prio, there)
    if (changed !== AGAIN && reply !== undefined) {
      fillU32(c, builder, replyTo(r.d, r.hook, Tcm.RTM_NEWTFILTER), prio, changed)
      tell(c, r.flags, reply, builder.end())
    }
    if (changed === AGAIN && made) removeIfEmpty(c, prio, events)
    return changed !== AGAIN
  } catch (e) {
    if (made) {
      takeBackIds(c.a, prio, last)
      removeIfEmpty(c, prio, events)
    }
    throw e
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
  const kind = classifierAt(r.d, tca[Tcm.TCA_KIND])
  const chain = getChain(a, r.hook.block, r.chainIndex, true, events)
  let made = false
  try {
    const p = addPrio(a, chain, r.pref, r.protocol, kind.kind)
    made = p.made
    return p
  } finally {
    if (!made) putChain(a, chain, events)
  }
}

/** The flow that the request describes, whole, in no table. */
function parseFlow(c: FlowContext, r: Request, prio: number, old: number): number {
  const { d } = r
  const { m } = c.a
  const kind = classifierOf(m, prio)
  const options = tca[Tcm.TCA_OPTIONS]
  if (kind.single && m[(prio + PRIO_NFLOWS) >> 2] > 0) throw new NetlinkError(EEXIST)
  const parsed = kind.parse(c, d, options, options === 0 ? 0 : optionsEnd(d), scratch, {
    prio,
    handle: r.handle,
    old,
  })
  const { flags, classid, act } = parsed
  match = parsed.match
  if ((flags & ~(SKIP | Tcm.TCA_CLS_FLAGS_VERBOSE)) !== 0 || (flags & SKIP) === SKIP) throw new NetlinkError(EINVAL)
  c.actions.block = r.hook.block
  const rate = tca[Tcm.TCA_RATE]
  const known = act === 0 || rate !== 0 ? undefined : recallActions(c, d, act, flags)
  const n =
    known?.actions.length ?? (act === 0 ? 0 : initActions(c, d, act, { bind: true, clsFlags: flags, rate }, acts))
  const refused = offloadVerdict(c, r, prio, n, flags)
  const hw = refused === undefined ? Tcm.TCA_CLS_FLAGS_IN_HW : Tcm.TCA_CLS_FLAGS_NOT_IN_HW
  const flow = makeFlow(c, match, acts, n, r.hook.direction, flags | hw, classid, known)
  try {
    if (known === undefined && act !== 0 && rate === 0) c.lists.meet(c, d, act, flags, acts, n, items)
    checkTemplate(m, prio)
    if ((flags & Tcm.TCA_CLS_FLAGS_SKIP_SW) !== 0 && refused !== undefined) throw new NetlinkError(EOPNOTSUPP, refused)
  } catch (e) {
    failFlow(c.a, flow, e)
    throw e
  }
  return flow
}

/** The list of actions that begins at `act`, its instances made, when it is known. */
function recallActions(c: FlowContext, d: DataView, act: number, flags: number): KnownList | undefined {
  const known = c.lists.recall(d, act, flags)
  if (known === undefined || makeAgain(c, known, acts)) return known
  c.lists.forget(known)
  return undefined
}

/** Why the flow of a match and of `acts` is not in hardware: '' where there is none, or the filter wants it so. */
function offloadVerdict(c: FlowContext, r: Request, prio: number, n: number, flags: number): string | undefined {
  if (profileOf(c.a) !== PROFILE_MLX5 || (flags & Tcm.TCA_CLS_FLAGS_SKIP_HW) !== 0) return ''
  const reason = offloadRefused(c, { prio, block: r.hook.block, direction: r.hook.direction }, match, acts, n)
  if (reason === undefined) return undefined
  const said = `mlx5_core: ${reason}`
  // A driver has an extack to write into with skip_sw and verbose (tc_cls_common_offload_init).
  if ((flags & Tcm.TCA_CLS_FLAGS_VERBOSE) !== 0) c.warning = said
  return said
}

const SKIP = Tcm.TCA_CLS_FLAGS_SKIP_HW | Tcm.TCA_CLS_FLAGS_SKIP_SW

const templateOf = (m: Int32Array, prio: number): number => m[(m[(prio + PRIO_CHAIN) >> 2] + CHAIN_TEMPLATE) >> 2]

/** A template is flower's. */
function checkTemplateKind(m: Int32Array, prio: number): void {
  if (templateOf(m, prio) !== 0 && classifierOf(m, prio) !== flower) {
    throw new NetlinkError(EINVAL, 'Chain template is set to a different filter kind')
  }
}

/** fl_mask_fits_tmplt: the mask looks only at bits that the chain's template looks at. */
function checkTemplate(m: Int32Array, prio: number): void {
  const template = templateOf(m, prio)
  if (template === 0) return
  const w = (template + TEMPLATE_MASK) >> 2
  for (let i = 0; i < match.count; i++) {
    if ((match.bits[i] & ~m[w + (match.offsets[i] >> 2)]) !== 0) {
      throw new NetlinkError(EINVAL, 'Mask does not fit the template')
    }
  }
}

/** Puts the flow into the prio, in the place of `old`. When it is DONE packets meet it. */
function enter(c: FlowContext, r: Request, prio: number, flow: number, old: number): Joined {
  const joined = join(c.a, prio, flow, match, r.handle, old)
  if (joined !== DONE) return joined
  bumpGeneration(c.a)
  finishFlow(c.a, flow)
  if (old !== 0) putFlow(c.a, old) // the tables' reference
  return joined
}

export const handleNotFound = (): NetlinkError => new NetlinkError(ENOENT, 'Specified filter handle not found')

/** RTM_GETTFILTER of one filter. */
export function getFilter(c: FlowContext, d: DataView, reply: (m: Uint8Array) => void): void {
  parseTcm(d)
  if (Tcm.tcmInfo(d) >>> 16 === 0) throw new NetlinkError(ENOENT, 'Invalid filter command with priority of zero')
  const r = parseRequest(c, d)
  const chain = findChain(c.a.m, r.hook.block, r.chainIndex)
  if (chain === 0) throw new NetlinkError(EINVAL, 'Cannot find specified filter chain')
  const prio = findPrio(c.a.m, chain, r.pref, r.protocol)
  if (prio === 0) throw notFound(ENOENT)
  checkKind(c, d, prio)
  if (isU32(c.a.m, prio)) {
    withRtnl(c.a, () => {
      const o = u32Get(c, prio, r.handle)
      if (o.hnode === 0 && o.knode === 0) throw handleNotFound()
      fillU32(c, builder, replyTo(d, r.hook, Tcm.RTM_NEWTFILTER), prio, o)
    })
    reply(builder.end())
    return
  }
  const flow = takeFlow(c.a.m, prio, r.handle)
  if (flow === 0) throw handleNotFound()
  try {
    fillFilter(c, builder, replyTo(d, r.hook, Tcm.RTM_NEWTFILTER), prio, flow)
    reply(builder.end())
  } finally {
    putFlow(c.a, flow)
  }
}
