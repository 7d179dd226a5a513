// RTM_DELTFILTER: one filter, all of a pref, all of a chain (tc_del_tfilter of cls_api.c).
//
// A pref goes as a whole by one store: its prio leaves the chain and its masks the packets' way, then its flows are put one
// by one. One filter leaves its mask's table; with its last filter a prio goes too.

import { Builder } from '../wire/netlink.ts'
import { ENOENT, NetlinkError } from '../wire/netlink_error.ts'
import * as Tcm from '../wire/tcm.ts'
import { type ChainEvents, getChain, putChain } from './chain.ts'
import { chainEvents } from './chain_message.ts'
import { isU32 } from './classifier.ts'
import { bumpGeneration, type FlowContext } from './context.ts'
import { checkKind, freePrio, handleNotFound, removeIfEmpty } from './filter.ts'
import { fillFilter, fillU32, type Reply } from './filter_message.ts'
import { putFlow } from './flow.ts'
import { leave, leaveAll, takeFlow } from './flow_table.ts'
import { findPrio, nextPrio, notFound, unlinkPrio } from './prio.ts'
import { withRtnl } from './rtnl.ts'
import { isTold, parseRequest, parseTcm, type Request, replyTo, tca, tell } from './tcm_request.ts'
import { u32Delete, u32Get, u32IsLast } from './u32.ts'

const builder = new Builder(8192)
const left = { flows: 0 }

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
      flushChain(c, chain, events, replyTo(r.d, r.hook, Tcm.RTM_DELTFILTER), reply)
      return
    }
    const prio = findPrio(c.a.m, chain, r.pref, r.protocol)
    if (prio === 0) throw notFound(ENOENT)
    checkKind(c, d, prio)
    if (r.handle === 0) delPrio(c, r, prio, events, reply)
    else delOne(c, r, prio, events, reply)
  } finally {
    putChain(c.a, chain, events)
  }
}

function delPrio(c: FlowContext, r: Request, prio: number, events: ChainEvents, reply: (m: Uint8Array) => void): void {
  if (!unlinkPrio(c.a.m, prio)) throw notFound(ENOENT)
  bumpGeneration(c.a)
  if (isTold(c, r.flags)) {
    fillFilter(c, builder, replyTo(r.d, r.hook, Tcm.RTM_DELTFILTER), prio, 0)
    tell(c, r.flags, reply, builder.end())
  }
  emptyPrio(c, prio, events)
}

/** The end of a prio that is off its chain. */
function emptyPrio(c: FlowContext, prio: number, events: ChainEvents): void {
  leaveAll(c.a, prio, (flow) => putFlow(c.a, flow))
  freePrio(c, prio, events)
}

function delOne(c: FlowContext, r: Request, prio: number, events: ChainEvents, reply: (m: Uint8Array) => void): void {
  const { a } = c
  if (isU32(a.m, prio)) {
    withRtnl(a, () => delNode(c, r, prio, events, reply))
    return
  }
  const flow = takeFlow(a.m, prio, r.handle)
  if (flow === 0) throw handleNotFound()
  let message: Uint8Array | undefined
  if (isTold(c, r.flags)) {
    fillFilter(c, builder, replyTo(r.d, r.hook, Tcm.RTM_DELTFILTER), prio, flow)
    message = builder.end()
  }
  const mine = leave(a, flow, left)
  const last = left.flows === 0
  if (mine) bumpGeneration(a)
  if (mine) putFlow(a, flow)
  putFlow(a, flow)
  if (!mine) throw new NetlinkError(ENOENT)
  if (message !== undefined) tell(c, r.flags, reply, message)
  if (last) removeIfEmpty(c, prio, events)
}

/** A table or a node of u32, under rtnl. */
function delNode(c: FlowContext, r: Request, prio: number, events: ChainEvents, reply: (m: Uint8Array) => void): void {
  const o = u32Get(c, prio, r.handle)
  if (o.hnode === 0 && o.knode === 0) throw handleNotFound()
  const told = isTold(c, r.flags)
  if (told) fillU32(c, builder, replyTo(r.d, r.hook, Tcm.RTM_DELTFILTER), prio, o)
  const message = told ? builder.end() : undefined
  u32Delete(c, o, (flow) => {
    if (leave(c.a, flow, left)) putFlow(c.a, flow)
  })
  bumpGeneration(c.a)
  if (message !== undefined) tell(c, r.flags, reply, message)
  if (u32IsLast(c, prio)) removeIfEmpty(c, prio, events)
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
  if (isTold(c, header.flags)) {
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
