// The messages that make qdiscs, actions, chains and filters anew as they are: requests, in an order in which each finds
// what it needs, made by walking the tables.
//
//   qdiscs, with their blocks │ actions that exist by themselves, by index │ of each block:
//     all chains in their order, with templates │ filters │ the hold of chains that `tc chain add` did not make is given up
//
// A filter's message is the one that a dump shows, as a request (dump_request.ts), with handle, pref and the indexes of its
// actions, so nothing is left to be chosen. Filters of a prio come in the order of its masks, and within a mask in that of its table, since packets
// meet them so; a dump, which goes by handle, would lose that. What the last step means no kernel's request says: here it is
// RTM_DELCHAIN with NLM_F_NONREC, which `tc` never sends and only `restoreChain` understands.
//
// The caller keeps changes away (rtnl/journal.ts holds lock journal) and is an online RCU reader.

import { goneDeviceOf, mirred, nameGoneDevices } from '../action/mirred.ts'
import { ACT_BINDCNT, ACT_INDEX, ACT_REFCNT } from '../memory/layout/action.ts'
import * as F from '../memory/layout/flow.ts'
import {
  NETDEV_EGRESS,
  NETDEV_IFINDEX,
  NETDEV_INGRESS,
  NETDEV_QDISC,
  QDISC_CLSACT,
  QDISC_NONE,
} from '../memory/layout/netdev.ts'
import { HNODE_PRIO } from '../memory/layout/u32.ts'
import { nextNetdev } from '../net/netdev.ts'
import { Builder, NLM_F_CREATE, NLM_F_EXCL, NLM_F_NONREC, NLM_F_REQUEST, viewOf } from '../wire/netlink.ts'
import * as Tca from '../wire/tca_action.ts'
import * as Tcm from '../wire/tcm.ts'
import { dumpActionLocked } from './action_message.ts'
import { KINDS, lockKind, nextActionLocked, unlockKind } from './action_table.ts'
import { lookupChainLocked, putChainExplicit, withBlock } from './chain.ts'
import { fillChain } from './chain_message.ts'
import { classifierOf, flower, isU32, unpack } from './classifier.ts'
import { beginReading, endReading, type FlowContext } from './context.ts'
import { actionsRequest, filterRequest } from './dump_request.ts'
import { putRate } from './estimator.ts'
import { writeExactKey } from './exact_key.ts'
import { fillFilter, fillU32, type Reply } from './filter_message.ts'
import { actionOf, putFlow } from './flow.ts'
import { takeFlows } from './flow_table.ts'
import { findHook } from './hook.ts'
import { tableFlows } from './mask_table.ts'
import { matchScratch } from './match_scratch.ts'
import { chainIndexOf, parseTcm } from './tcm_request.ts'
import { tablesBeside } from './u32_node.ts'

const MAKE = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL
const HANDLE = 0xffff0000
const b = new Builder(65536)

/**
 * Ifindexes of devices that actions send to and that are gone: rules outlive them. The reader of a snapshot has something of
 * that ifindex before the actions come, and takes it away behind the filters.
 */
export function goneDevices(c: FlowContext): number[] {
  const { m } = c.a
  const gone = new Set<number>()
  lockKind(m, mirred.id)
  for (let index = 0; ; index++) {
    const act = nextActionLocked(m, mirred.id, index)
    if (act === 0) break
    gone.add(goneDeviceOf(c.a, act))
    index = m[(act + ACT_INDEX) >> 2] >>> 0
  }
  unlockKind(m, mirred.id)
  gone.delete(0)
  return [...gone]
}

/** All of them, one after the other; each is a copy of its own. */
export function* flowSnapshot(c: FlowContext): Generator<Uint8Array, void> {
  nameGoneDevices(true)
  try {
    yield* flowMessages(c)
  } finally {
    nameGoneDevices(false)
  }
}

function* flowMessages(c: FlowContext): Generator<Uint8Array, void> {
  const { m } = c.a
  yield* qdiscs(c)
  yield* actions(c)
  const blocks: { block: number; ifindex: number; parent: number }[] = []
  for (let dev = nextNetdev(c.a, 0); dev !== 0; dev = nextNetdev(c.a, dev))
    for (const field of [NETDEV_INGRESS, NETDEV_EGRESS]) {
      const block = m[(dev + field) >> 2]
      if (block === 0 || blocks.some((known) => known.block === block)) continue
      const index = m[(block + F.BLOCK_INDEX) >> 2] >>> 0
      if (index !== 0) blocks.push({ block, ifindex: Tcm.TCM_IFINDEX_MAGIC_BLOCK, parent: index })
      else
        blocks.push({ block, ifindex: m[(dev + NETDEV_IFINDEX) >> 2], parent: m[(block + F.BLOCK_PARENT) >> 2] >>> 0 })
    }
  for (const { block, ifindex, parent } of blocks) yield* blockMessages(c, block, ifindex, parent)
}

function* qdiscs(c: FlowContext): Generator<Uint8Array, void> {
  const { m } = c.a
  for (let dev = nextNetdev(c.a, 0); dev !== 0; dev = nextNetdev(c.a, dev)) {
    const qdisc = m[(dev + NETDEV_QDISC) >> 2]
    if (qdisc === QDISC_NONE) continue
    b.begin(Tcm.RTM_NEWQDISC, MAKE)
    Tcm.tcmsg(b, m[(dev + NETDEV_IFINDEX) >> 2], HANDLE, Tcm.TC_H_CLSACT, 0)
    b.attrStr(Tcm.TCA_KIND, qdisc === QDISC_CLSACT ? 'clsact' : 'ingress')
    for (const [field, attribute] of [
      [NETDEV_INGRESS, Tcm.TCA_INGRESS_BLOCK],
      [NETDEV_EGRESS, Tcm.TCA_EGRESS_BLOCK],
    ]) {
      const block = m[(dev + field) >> 2]
      const index = block === 0 ? 0 : m[(block + F.BLOCK_INDEX) >> 2]
      if (index !== 0) b.attrU32(attribute, index)
    }
    yield b.end()
  }
}

/** Those that somebody made with `tc actions`: they have a reference that no filter has. */
function* actions(c: FlowContext): Generator<Uint8Array, void> {
  const { m } = c.a
  for (let kind = 0; kind < KINDS; kind++)
    for (let index = 0; ; index++) {
      lockKind(m, kind)
      const act = nextActionLocked(m, kind, index)
      const own = act !== 0 && m[(act + ACT_REFCNT) >> 2] > m[(act + ACT_BINDCNT) >> 2]
      if (own) {
        b.begin(Tca.RTM_NEWACTION, MAKE)
        Tca.tcamsg(b)
        const tab = b.nest(Tca.TCA_ACT_TAB)
        dumpActionLocked(c, act, 1, b, false)
        b.nestEnd(tab)
      }
      if (act !== 0) index = m[(act + ACT_INDEX) >> 2] >>> 0
      unlockKind(m, kind)
      if (act === 0) break
      if (own) yield actionsRequest(b.end())
    }
}

function* blockMessages(c: FlowContext, block: number, ifindex: number, parent: number): Generator<Uint8Array, void> {
  const { m } = c.a
  const chains: number[] = []
  for (let chain = m[(block + F.BLOCK_CHAINS) >> 2]; chain !== 0; chain = m[(chain + F.CHAIN_NEXT) >> 2])
    chains.push(chain)
  const chainMessage = (chain: number, type: number, flags: number): Uint8Array => {
    fillChain(c, b, chain, type, flags, 0, 0)
    const message = b.end()
    // fillChain names the qdisc, as a kernel does; a request names the hook.
    viewOf(message).setUint32(16 + 12, parent, true)
    return message
  }
  for (const chain of chains) yield chainMessage(chain, Tcm.RTM_NEWCHAIN, MAKE)
  const header: Reply = { type: Tcm.RTM_NEWTFILTER, flags: MAKE, seq: 0, pid: 0, ifindex, parent }
  const prios = chains.flatMap((chain) => priosOf(m, chain))
  yield* tables(c, prios, header)
  for (const prio of prios)
    for (const flow of flowsOf(c, prio)) {
      fillFilter(c, b, header, prio, flow)
      // Where a dump of fw shows nothing, a request has options all the same.
      if (!classifierOf(m, prio).shows(m, flow)) {
        const options = b.nest(Tcm.TCA_OPTIONS)
        classifierOf(m, prio).put(c, b, flow, false, prio)
        b.nestEnd(options)
      }
      for (let i = 0; i < m[(flow + F.FLOW_NACTIONS) >> 2] && !putRate(b, m, actionOf(m, flow, i)); i++);
      yield filterRequest(b.end(), exactKey(m, prio, flow))
    }
  for (const chain of chains)
    if ((m[(chain + F.CHAIN_FLAGS) >> 2] & F.CHAIN_F_EXPLICIT) === 0)
      yield chainMessage(chain, Tcm.RTM_DELCHAIN, NLM_F_REQUEST | NLM_F_NONREC)
}

const scratch = matchScratch()

function exactKey(m: Int32Array, prio: number, flow: number): Uint8Array | undefined {
  if (classifierOf(m, prio) !== flower) return undefined
  unpack(m, flow, scratch)
  return writeExactKey(scratch)
}

function priosOf(m: Int32Array, chain: number): number[] {
  const out: number[] = []
  for (let prio = m[(chain + F.CHAIN_PRIOS) >> 2]; prio !== 0; prio = m[(prio + F.PRIO_NEXT) >> 2]) out.push(prio)
  return out
}

/** The tables of u32, oldest first: nodes lead from one to another. That of a root makes its prio. */
function* tables(c: FlowContext, prios: readonly number[], header: Reply): Generator<Uint8Array, void> {
  const { m } = c.a
  const first = prios.find((prio) => isU32(m, prio))
  if (first === undefined) return
  for (const hnode of tablesBeside(c.a, first).reverse()) {
    fillU32(c, b, header, m[(hnode + HNODE_PRIO) >> 2], { hnode, knode: 0 })
    yield filterRequest(b.end())
  }
}

/** The flows of a prio, mask by mask; those of u32, which hang on nodes, by handle. */
function* flowsOf(c: FlowContext, prio: number): Generator<number, void> {
  const { m } = c.a
  const last = m[(prio + F.PRIO_LAST_MASK) >> 2]
  if (last !== 0 && !isU32(m, prio)) {
    for (let mask = m[(prio + F.PRIO_FIRST_MASK) >> 2]; ; mask = m[(mask + F.MASK_NEXT) >> 2]) {
      yield* tableFlows(m, mask)
      if (mask === last) return
    }
  }
  const one = new Int32Array(1)
  for (let handle = 0; takeFlows(m, prio, handle, one) > 0; ) {
    handle = (m[(one[0] + F.FLOW_HANDLE) >> 2] >>> 0) + 1
    try {
      yield one[0]
    } finally {
      putFlow(c.a, one[0])
    }
  }
}

/** RTM_DELCHAIN of a snapshot: the hold of `tc chain add` is given up, the filters stay. */
export function restoreChain(c: FlowContext, d: DataView): void {
  const began = beginReading(c.a)
  try {
    parseTcm(d)
    const { block } = findHook(c.a, Tcm.tcmIfindex(d), Tcm.tcmParent(d))
    const index = chainIndexOf(d)
    const chain = withBlock(c.a.m, block, () => lookupChainLocked(c.a.m, block, index))
    if (chain !== 0) putChainExplicit(c.a, chain)
  } finally {
    if (began) endReading(c.a)
  }
}
