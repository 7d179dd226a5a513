// Qdiscs: clsact and ingress, which give a device its hooks (net/sched/sch_ingress.c, the requests of sch_api.c).
//
// A hook's block is its own, or a shared one that `ingress_block N` names: the first hook makes it, the last one takes all
// its filters with it. Every device that is up has besides the kernel's default root qdisc, noqueue, which is only shown.
// A qdisc counts what its hooks look at while they have filters, and what those drop (mini_qdisc_bstats_cpu_update).
// Requests run under rtnl; packets and filter requests find the blocks under RCU.

import type { Arena } from '../memory/arena.ts'
import { counterAlloc, counterFree, counterRead } from '../memory/counters.ts'
import { BLOCK_HOOKS, BLOCK_INDEX, BLOCK_NEXT } from '../memory/layout/flow.ts'
import {
  IFF_UP,
  NETDEV_EGRESS,
  NETDEV_FLAGS,
  NETDEV_HAD_QDISC,
  NETDEV_IFINDEX,
  NETDEV_INGRESS,
  NETDEV_QDISC,
  NETDEV_QDISC_COUNTER,
  QDISC_CLSACT,
  QDISC_INGRESS,
  QDISC_NONE,
} from '../memory/layout/netdev.ts'
import { netdevByIndex, nextNetdev } from '../net/netdev.ts'
import { store } from '../sync/atomic.ts'
import { publish } from '../sync/rcu.ts'
import {
  attrString,
  Builder,
  msgFlags,
  msgPid,
  msgSeq,
  NLM_F_CREATE,
  NLM_F_EXCL,
  NLM_F_MULTI,
  NLM_F_REPLACE,
} from '../wire/netlink.ts'
import { EEXIST, EINVAL, ENODEV, ENOENT, EOPNOTSUPP, NetlinkError } from '../wire/netlink_error.ts'
import * as Tcm from '../wire/tcm.ts'
import { holdBlock, makeBlock, nextChain, putBlock, putChainExplicit } from './chain.ts'
import { chainEvents } from './chain_message.ts'
import { bumpGeneration, type FlowContext, sharedBlocks } from './context.ts'
import { emptyChain } from './filter_delete.ts'
import { sharedBlock } from './hook.ts'
import { qdiscStats, tcStats } from './stats_message.ts'
import { isTold, parseTcm, tca, tell } from './tcm_request.ts'

/** ffff:, the handle of clsact and ingress. */
const HANDLE = 0xffff0000
const INGRESS_PARENT = 0xfffffff2
const EGRESS_PARENT = 0xfffffff3

const builder = new Builder(1024)

const kindName = (qdisc: number): string => (qdisc === QDISC_CLSACT ? 'clsact' : 'ingress')

/** Begins `b` anew with the device's qdisc of ours, or its root one. */
function fillQdisc(
  c: FlowContext,
  dev: number,
  root: boolean,
  type: number,
  flags: number,
  seq: number,
  pid: number,
  refs: number,
): void {
  const { m } = c.a
  const qdisc = m[(dev + NETDEV_QDISC) >> 2]
  builder.begin(type, flags, seq, pid)
  const ifindex = m[(dev + NETDEV_IFINDEX) >> 2]
  if (root) {
    Tcm.tcmsg(builder, ifindex, 0, Tcm.TC_H_ROOT, refs)
    builder.attrStr(Tcm.TCA_KIND, 'noqueue')
  } else {
    Tcm.tcmsg(builder, ifindex, HANDLE, Tcm.TC_H_CLSACT, refs)
    builder.attrStr(Tcm.TCA_KIND, kindName(qdisc))
    putBlockIndex(m, m[(dev + NETDEV_INGRESS) >> 2], Tcm.TCA_INGRESS_BLOCK)
    if (qdisc === QDISC_CLSACT) putBlockIndex(m, m[(dev + NETDEV_EGRESS) >> 2], Tcm.TCA_EGRESS_BLOCK)
    builder.nestEnd(builder.nest(Tcm.TCA_OPTIONS))
  }
  builder.attrU8(Tcm.TCA_HW_OFFLOAD, 0)
  const { bytes, packets, drops } = counterRead(c.a, root ? 0 : m[(dev + NETDEV_QDISC_COUNTER) >> 2])
  const stats = builder.nest(Tcm.TCA_STATS2)
  qdiscStats(builder, bytes, packets, drops)
  builder.nestEnd(stats)
  tcStats(builder, Tcm.TCA_STATS, bytes, packets, drops)
}

function putBlockIndex(m: Int32Array, block: number, attribute: number): void {
  const index = block === 0 ? 0 : m[(block + BLOCK_INDEX) >> 2]
  if (index !== 0) builder.attrU32(attribute, index)
}

/** RTM_NEWQDISC. */
export function newQdisc(c: FlowContext, d: DataView, reply: (m: Uint8Array) => void): void {
  parseTcm(d)
  const flags = msgFlags(d)
  const dev = netdevByIndex(c.a, Tcm.tcmIfindex(d))
  if (dev === 0) throw new NetlinkError(ENODEV)
  const there = c.a.m[(dev + NETDEV_QDISC) >> 2]
  const kind = tca[Tcm.TCA_KIND] === 0 ? '' : attrString(d, tca[Tcm.TCA_KIND])
  if (isChange(d, there !== QDISC_NONE, flags)) {
    if ((flags & NLM_F_EXCL) !== 0) throw new NetlinkError(EEXIST, 'Exclusivity flag on, cannot modify')
    if (kind !== '' && kind !== kindName(there)) throw new NetlinkError(EINVAL, 'Invalid qdisc name')
    if (tca[Tcm.TCA_OPTIONS] !== 0) {
      throw new NetlinkError(EINVAL, 'Change operation not supported by specified qdisc')
    }
    if (tca[Tcm.TCA_INGRESS_BLOCK] !== 0 || tca[Tcm.TCA_EGRESS_BLOCK] !== 0) {
      throw new NetlinkError(EOPNOTSUPP, 'Change of blocks is not supported')
    }
  } else {
    if ((flags & NLM_F_CREATE) === 0) {
      throw new NetlinkError(ENOENT, 'Qdisc not found. To create specify NLM_F_CREATE flag')
    }
    addQdisc(c, d, dev, kind)
  }
  if (!isTold(c, flags)) return
  fillQdisc(c, dev, false, Tcm.RTM_NEWQDISC, NLM_F_REPLACE, msgSeq(d), msgPid(d), 1)
  tell(c, flags, reply, builder.end())
}

/** tc_modify_qdisc: is the request about the qdisc that is there? Else it makes one. */
function isChange(d: DataView, there: boolean, flags: number): boolean {
  const parent = Tcm.tcmParent(d)
  const handle = Tcm.tcmHandle(d)
  if (parent === 0) {
    if (handle === 0) throw new NetlinkError(EINVAL, 'Handle cannot be zero')
    if (!there || handle !== HANDLE) throw new NetlinkError(ENOENT, 'Specified qdisc not found')
    return true
  }
  if (parent !== Tcm.TC_H_CLSACT) {
    if (parent !== Tcm.TC_H_ROOT && !(there && (parent & Tcm.TC_H_MAJ_MASK) >>> 0 === HANDLE)) {
      throw new NetlinkError(ENOENT, 'Failed to find specified qdisc')
    }
    throw new NetlinkError(EOPNOTSUPP, 'flowerbed: only clsact and ingress qdiscs')
  }
  if (!there || handle === HANDLE) return there
  if (handle !== 0 && (flags & NLM_F_REPLACE) === 0) throw new NetlinkError(EEXIST, 'NLM_F_REPLACE needed to override')
  if ((handle & Tcm.TC_H_MIN_MASK) !== 0) throw new NetlinkError(EINVAL, 'Invalid minor handle')
  return true
}

function addQdisc(c: FlowContext, d: DataView, dev: number, kind: string): void {
  const { a } = c
  if (kind !== 'clsact' && kind !== 'ingress') throw new NetlinkError(ENOENT, 'Specified qdisc kind is unknown')
  const clsact = kind === 'clsact'
  const index = blockIndex(d, Tcm.TCA_INGRESS_BLOCK)
  const egressIndex = blockIndex(d, Tcm.TCA_EGRESS_BLOCK)
  if (egressIndex !== 0 && !clsact) {
    throw new NetlinkError(EOPNOTSUPP, 'Egress block sharing is not supported')
  }
  if (tca[Tcm.TCA_RATE] !== 0) throw new NetlinkError(EOPNOTSUPP, 'flowerbed: no estimator for a qdisc')
  const ingress = takeBlock(a, dev, INGRESS_PARENT, index)
  let egress = 0
  let counter: number
  try {
    if (clsact) egress = takeBlock(a, dev, EGRESS_PARENT, egressIndex)
    counter = counterAlloc(a)
  } catch (e) {
    if (egress !== 0) dropHook(c, egress)
    dropHook(c, ingress)
    throw e
  }
  publish(a.m, (dev + NETDEV_QDISC_COUNTER) >> 2, counter)
  publish(a.m, (dev + NETDEV_EGRESS) >> 2, egress)
  publish(a.m, (dev + NETDEV_INGRESS) >> 2, ingress)
  store(a.m, (dev + NETDEV_QDISC) >> 2, clsact ? QDISC_CLSACT : QDISC_INGRESS)
  bumpGeneration(a)
}

function blockIndex(d: DataView, attribute: number): number {
  if (tca[attribute] === 0) return 0
  const index = d.getUint32(tca[attribute], true)
  if (index === 0) throw new NetlinkError(EINVAL, 'Block number may not be zero')
  return index
}

/** A block for one hook more: a new one, or the shared one of that index. */
function takeBlock(a: Arena, dev: number, parent: number, index: number): number {
  const { m } = a
  let block = index === 0 ? 0 : sharedBlock(a, index)
  if (block !== 0) holdBlock(m, block)
  else {
    block = makeBlock(a, dev, parent, index)
    if (index !== 0) {
      m[(block + BLOCK_NEXT) >> 2] = m[sharedBlocks(a)]
      publish(m, sharedBlocks(a), block)
    }
  }
  m[(block + BLOCK_HOOKS) >> 2]++
  return block
}

/** A hook leaves its block; the last one takes all filters with it. */
function dropHook(c: FlowContext, block: number): void {
  const { a } = c
  const { m } = a
  if (--m[(block + BLOCK_HOOKS) >> 2] === 0) {
    if (m[(block + BLOCK_INDEX) >> 2] !== 0) unlist(m, sharedBlocks(a), block)
    const events = chainEvents(c)
    for (let chain = nextChain(a, block, 0); chain !== 0; chain = nextChain(a, block, chain, events)) {
      putChainExplicit(a, chain, events)
      emptyChain(c, chain, events)
    }
  }
  putBlock(a, block)
}

function unlist(m: Int32Array, first: number, block: number): void {
  let at = first
  while (m[at] !== block) at = (m[at] + BLOCK_NEXT) >> 2
  publish(m, at, m[(block + BLOCK_NEXT) >> 2])
}

/** Takes the qdisc of a device away with all its filters, if it has one: also when the device goes. Under rtnl. */
export function dropQdisc(c: FlowContext, dev: number): void {
  const { m } = c.a
  if (m[(dev + NETDEV_QDISC) >> 2] === QDISC_NONE) return
  const ingress = m[(dev + NETDEV_INGRESS) >> 2]
  const egress = m[(dev + NETDEV_EGRESS) >> 2]
  publish(m, (dev + NETDEV_INGRESS) >> 2, 0)
  publish(m, (dev + NETDEV_EGRESS) >> 2, 0)
  store(m, (dev + NETDEV_QDISC) >> 2, QDISC_NONE)
  m[(dev + NETDEV_HAD_QDISC) >> 2] = 1
  const counter = m[(dev + NETDEV_QDISC_COUNTER) >> 2]
  publish(m, (dev + NETDEV_QDISC_COUNTER) >> 2, 0)
  counterFree(c.a, counter)
  bumpGeneration(c.a)
  dropHook(c, ingress)
  if (egress !== 0) dropHook(c, egress)
}

/** The device whose qdisc a GET or DEL request means; refuses as tc_get_qdisc. */
function findQdisc(c: FlowContext, d: DataView): number {
  const { m } = c.a
  const dev = netdevByIndex(c.a, Tcm.tcmIfindex(d))
  if (dev === 0) throw new NetlinkError(ENODEV)
  const there = m[(dev + NETDEV_QDISC) >> 2]
  const parent = Tcm.tcmParent(d)
  const handle = Tcm.tcmHandle(d)
  if (parent === 0) {
    if (there === QDISC_NONE || handle !== HANDLE) {
      throw new NetlinkError(ENOENT, 'Failed to find qdisc with specified handle')
    }
  } else if (parent === Tcm.TC_H_ROOT || (parent & Tcm.TC_H_MAJ_MASK) >>> 0 !== HANDLE) {
    if (parent !== Tcm.TC_H_ROOT) throw new NetlinkError(ENOENT, 'Failed to find qdisc with specified classid')
    if (handle !== 0) throw new NetlinkError(EINVAL, 'Invalid handle')
    throw new NetlinkError(ENOENT, 'Cannot delete qdisc with handle of zero')
  } else {
    if (there === QDISC_NONE && m[(dev + NETDEV_HAD_QDISC) >> 2] === 0) {
      throw new NetlinkError(ENOENT, 'Cannot find specified qdisc on specified device')
    }
    // A queue that has lost its qdisc has one with the handle 0.
    if (handle !== 0 && handle !== (there === QDISC_NONE ? 0 : HANDLE)) throw new NetlinkError(EINVAL, 'Invalid handle')
  }
  const kind = tca[Tcm.TCA_KIND]
  if (kind !== 0 && (there === QDISC_NONE || attrString(d, kind) !== kindName(there))) {
    throw new NetlinkError(EINVAL, 'Invalid qdisc name')
  }
  if (there === QDISC_NONE) throw new NetlinkError(ENOENT, 'Cannot delete qdisc with handle of zero')
  return dev
}

/** RTM_DELQDISC. */
export function delQdisc(c: FlowContext, d: DataView, reply: (m: Uint8Array) => void): void {
  parseTcm(d)
  const dev = findQdisc(c, d)
  if (Tcm.tcmParent(d) === 0) throw new NetlinkError(EINVAL, 'Classid cannot be zero')
  const flags = msgFlags(d)
  let message: Uint8Array | undefined
  if (isTold(c, flags)) {
    fillQdisc(c, dev, false, Tcm.RTM_DELQDISC, 0, msgSeq(d), msgPid(d), 0)
    message = builder.end()
  }
  dropQdisc(c, dev)
  if (message !== undefined) tell(c, flags, reply, message)
}

/** RTM_GETQDISC of one qdisc. */
export function getQdisc(c: FlowContext, d: DataView, reply: (m: Uint8Array) => void): void {
  parseTcm(d)
  const dev = findQdisc(c, d)
  fillQdisc(c, dev, false, Tcm.RTM_NEWQDISC, 0, msgSeq(d), msgPid(d), 1)
  reply(builder.end())
}

/** RTM_GETQDISC as a dump: of every device in order of ifindex its root qdisc, then ours. */
export function dumpQdiscs(c: FlowContext, d: DataView, reply: (m: Uint8Array) => void): void {
  const { m } = c.a
  const one = Tcm.tcmIfindex(d)
  for (let dev = nextNetdev(c.a, 0); dev !== 0; dev = nextNetdev(c.a, dev)) {
    if (one !== 0 && m[(dev + NETDEV_IFINDEX) >> 2] !== one) continue
    const up = (m[(dev + NETDEV_FLAGS) >> 2] & IFF_UP) !== 0
    for (const root of [true, false]) {
      if (root ? !up : m[(dev + NETDEV_QDISC) >> 2] === QDISC_NONE) continue
      fillQdisc(c, dev, root, Tcm.RTM_NEWQDISC, NLM_F_MULTI, msgSeq(d), msgPid(d), root ? 2 : 1)
      reply(builder.end())
    }
  }
}
