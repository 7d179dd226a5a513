// A filter, or the head of a prio, as an RTM_{NEW,DEL}TFILTER message (tcf_fill_node).
//
//   tcmsg { ifindex, handle, parent, pref | protocol }  TCA_KIND  TCA_CHAIN  TCA_OPTIONS { match, flags, actions }
//
// A prio shows itself once, with handle 0 and without options, before its filters.

import { traceIsOn, traceStatsFlower } from '../encap/trace.ts'
import type { Arena } from '../memory/arena.ts'
import { counterRead } from '../memory/counters.ts'
import {
  CHAIN_INDEX,
  FLOW_COUNTER,
  FLOW_HANDLE,
  FLOW_NACTIONS,
  PRIO_CHAIN,
  PRIO_PREF,
  PRIO_PROTO,
} from '../memory/layout/flow.ts'
import { HNODE_HANDLE, KNODE_FLOW } from '../memory/layout/u32.ts'
import type { Builder } from '../wire/netlink.ts'
import { TCA_CHAIN, TCA_KIND, TCA_OPTIONS, tcmsg } from '../wire/tcm.ts'
import { dumpAction } from './action_message.ts'
import { classifierOf } from './classifier.ts'
import type { FlowContext } from './context.ts'
import { actionOf } from './flow.ts'
import { putU32, type U32Object } from './u32_message.ts'

/** Whose answer it is: the header of the messages. */
export interface Reply {
  readonly type: number
  readonly flags: number
  readonly seq: number
  readonly pid: number
  readonly ifindex: number
  readonly parent: number
}

function fillHead(c: FlowContext, b: Builder, r: Reply, prio: number, handle: number): void {
  const { m } = c.a
  const info = (m[(prio + PRIO_PREF) >> 2] << 16) | m[(prio + PRIO_PROTO) >> 2]
  b.begin(r.type, r.flags, r.seq, r.pid)
  tcmsg(b, r.ifindex, handle, r.parent, info)
  b.attrStr(TCA_KIND, classifierOf(m, prio).name)
  b.attrU32(TCA_CHAIN, m[(m[(prio + PRIO_CHAIN) >> 2] + CHAIN_INDEX) >> 2])
}

/**
 * Begins `b` anew with the message of a filter, or, with flow 0, of the prio's head; the caller ends it. The caller holds
 * a reference to the flow and has been in one RCU section since it found it in its prio.
 */
export function fillFilter(c: FlowContext, b: Builder, r: Reply, prio: number, flow: number, terse = false): void {
  const { m } = c.a
  const kind = classifierOf(m, prio)
  fillHead(c, b, r, prio, flow === 0 ? 0 : m[(flow + FLOW_HANDLE) >> 2])
  if (flow === 0 || !kind.shows(m, flow)) return
  if (traceIsOn(c.a)) traceStats(c.a, flow)
  const options = b.nest(TCA_OPTIONS)
  kind.put(c, b, flow, terse, prio)
  const n = m[(flow + FLOW_NACTIONS) >> 2]
  if (n > 0) {
    const list = b.nest(kind.act)
    for (let i = 0; i < n; i++) dumpAction(c, actionOf(m, flow, i), i + 1, b, terse)
    b.nestEnd(list)
  }
  kind.putTail?.(c, b, flow)
  b.nestEnd(options)
}

/** Who shows a filter reads its counter, as the kernel asks the driver then. */
function traceStats(a: Arena, flow: number): void {
  const { bytes, packets, lastUsed } = counterRead(a, a.m[(flow + FLOW_COUNTER) >> 2])
  traceStatsFlower(a, flow, bytes, packets, lastUsed)
}

/** Begins `b` anew with the message of a table or a node of u32; the caller ends it. Under rtnl. */
export function fillU32(c: FlowContext, b: Builder, r: Reply, prio: number, o: U32Object): void {
  const { m } = c.a
  if (o.hnode === 0) {
    fillFilter(c, b, r, prio, o.knode === 0 ? 0 : m[(o.knode + KNODE_FLOW) >> 2])
    return
  }
  fillHead(c, b, r, prio, m[(o.hnode + HNODE_HANDLE) >> 2])
  const options = b.nest(TCA_OPTIONS)
  putU32(c, b, o)
  b.nestEnd(options)
}
