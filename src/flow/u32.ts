// u32 filters in requests: u32_change, u32_get, u32_delete and u32_walk of cls_u32.c.
//
// A handle may mean a table or a node. A change of a node keeps its selector and its counters, whatever the request says
// of them: actions, class, device and link are what changes. All of it runs under rtnl. Two things that cls_u32 allows are
// refused by name: nodes in, and links to, a table that was made with another preference.

import { FLOW_CLASSID, FLOW_CLS_FLAGS, FLOW_KNODE, PRIO_ROOT } from '../memory/layout/flow.ts'
import { NETDEV_IFINDEX } from '../memory/layout/netdev.ts'
import * as U from '../memory/layout/u32.ts'
import { netdevByName } from '../net/netdev.ts'
import { RTNL } from '../sync/lock_order.ts'
import { assertHeld } from '../sync/mutex.ts'
import { publish } from '../sync/rcu.ts'
import { attrLen, attrString, NLA_HDRLEN, parseAttrs } from '../wire/netlink.ts'
import { EBUSY, EINVAL, ENOSPC, EOPNOTSUPP, NetlinkError, POLICY_TEXT } from '../wire/netlink_error.ts'
import * as Tca from '../wire/tca_u32.ts'
import * as Tcm from '../wire/tcm.ts'
import { initActions } from './action_message.ts'
import { ACTIONS_MAX } from './compile.ts'
import { bumpGeneration, type FlowContext } from './context.ts'
import { failFlow, finishFlow, makeFlow, putFlow } from './flow.ts'
import { AGAIN, DONE, type Joined, joinNode } from './flow_table.ts'
import { clearScratch, matchScratch, pack } from './match_scratch.ts'
import { optionsEnd, type Request, tca } from './tcm_request.ts'
import type { U32Object } from './u32_message.ts'
import * as Node from './u32_node.ts'

const NOTHING: U32Object = { hnode: 0, knode: 0 }
const attrs = new Int32Array(Tca.TCA_U32_MAX + 1)
const acts = new Int32Array(ACTIONS_MAX)
const everything = matchScratch()
const SKIP = Tcm.TCA_CLS_FLAGS_SKIP_HW | Tcm.TCA_CLS_FLAGS_SKIP_SW
const IN_HW = Tcm.TCA_CLS_FLAGS_IN_HW | Tcm.TCA_CLS_FLAGS_NOT_IN_HW

const refusal = (message: string, errno = EINVAL): NetlinkError => new NetlinkError(errno, `cls_u32: ${message}`)

/** u32_get */
export function u32Get(c: FlowContext, prio: number, handle: number): U32Object {
  const hnode = Node.findHnode(c.a, prio, handle)
  if (hnode === 0) return NOTHING
  if (Tca.u32Key(handle) === 0) return { hnode, knode: 0 }
  const knode = Node.findKnode(c.a.m, hnode, handle)
  return knode === 0 ? NOTHING : { hnode: 0, knode }
}

/** A u32 of the options, 0 without. */
function u32At(d: DataView, type: number): number {
  const o = attrs[type]
  if (o === 0) return 0
  if (attrLen(d, o) < 4) throw new NetlinkError(EINVAL, POLICY_TEXT, o - NLA_HDRLEN)
  return d.getUint32(o, true)
}

function readOptions(d: DataView): number {
  parseAttrs(d, tca[Tcm.TCA_OPTIONS], optionsEnd(d), attrs, Tca.TCA_U32_MAX)
  const flags = u32At(d, Tca.TCA_U32_FLAGS)
  if ((flags & ~(SKIP | Tcm.TCA_CLS_FLAGS_VERBOSE)) !== 0 || (flags & SKIP) === SKIP) {
    throw refusal('Invalid filter flags')
  }
  if (attrs[Tca.TCA_U32_POLICE] !== 0) throw new NetlinkError(EOPNOTSUPP, 'flowerbed: use action police')
  return flags
}

/**
 * u32_change: makes a table or a node, or gives a node (`there`) other actions. What it made or changed; AGAIN when the
 * prio went away meanwhile.
 */
export function u32Change(c: FlowContext, r: Request, prio: number, there: U32Object): U32Object | typeof AGAIN {
  assertHeld(RTNL)
  if (tca[Tcm.TCA_OPTIONS] === 0) {
    if (r.handle !== 0) throw refusal('Filter handle requires options')
    return NOTHING
  }
  const flags = readOptions(r.d)
  if (there.hnode !== 0) throw refusal('Key node id cannot be zero')
  if (there.knode !== 0) return changeNode(c, r, prio, there.knode, flags)
  if (attrs[Tca.TCA_U32_DIVISOR] !== 0) return addTable(c, r, prio, flags)
  return addNode(c, r, prio, flags)
}

function addTable(c: FlowContext, r: Request, prio: number, flags: number): U32Object {
  const divisor = u32At(r.d, Tca.TCA_U32_DIVISOR)
  if (divisor === 0 || (divisor & (divisor - 1)) !== 0) throw refusal('Divisor is not a power of 2')
  if (divisor > 0x100) throw refusal('Exceeded maximum 256 hash buckets')
  if (Tca.u32Key(r.handle) !== 0) throw refusal('Divisor can only be used on a hash table')
  if (r.handle !== 0 && Node.findHnode(c.a, prio, r.handle) !== 0) throw refusal('Handle is taken', ENOSPC)
  if ((flags & Tcm.TCA_CLS_FLAGS_SKIP_SW) !== 0) throw new NetlinkError(EOPNOTSUPP) // nothing is in hardware
  return { hnode: Node.makeHnode(c.a, prio, r.handle, divisor, flags), knode: 0 }
}

/** The table that a node is to be in, and the part of its handle that says so. */
function tableFor(c: FlowContext, r: Request, prio: number): { hnode: number; htid: number } {
  const { m } = c.a
  const asked = u32At(r.d, Tca.TCA_U32_HASH)
  const root = m[(prio + PRIO_ROOT) >> 2]
  if (attrs[Tca.TCA_U32_HASH] === 0 || Tca.u32Htid(asked) === Tca.TC_U32_ROOT) {
    return { hnode: root, htid: m[(root + U.HNODE_HANDLE) >> 2] >>> 0 }
  }
  const hnode = Node.findHnode(c.a, prio, asked)
  if (hnode === 0) throw refusal('Specified hash table not found')
  checkPrio(m, prio, hnode)
  if (m[(hnode + U.HNODE_DIVISOR) >> 2] < Tca.u32Hash(asked)) {
    throw refusal('Specified hash table buckets exceed configured value')
  }
  return { hnode, htid: (asked & 0xfffff000) >>> 0 }
}

function checkPrio(m: Int32Array, prio: number, hnode: number): void {
  if (m[(hnode + U.HNODE_PRIO) >> 2] === prio) return
  throw new NetlinkError(EOPNOTSUPP, 'flowerbed: a u32 table of another preference is not supported')
}

function addNode(c: FlowContext, r: Request, prio: number, flags: number): U32Object | typeof AGAIN {
  const { m } = c.a
  const { hnode, htid } = tableFor(c, r, prio)
  let { handle } = r
  if (handle !== 0) {
    if (Tca.u32Htid(handle) !== 0 && Tca.u32Htid(handle ^ htid) !== 0) {
      throw refusal('Handle specified hash table address mismatch')
    }
    handle = (htid | Tca.u32Node(handle)) >>> 0
    if (Node.findKnode(m, hnode, handle) !== 0) throw refusal('Handle is taken', ENOSPC)
  } else handle = Node.newNode(m, hnode, htid)
  const sel = attrs[Tca.TCA_U32_SEL]
  if (sel === 0) throw refusal('Selector not specified')
  const len = attrLen(r.d, sel)
  if (len < Tca.SEL_KEYS || len < Tca.SEL_KEYS + r.d.getUint8(sel + Tca.SEL_NKEYS) * Tca.SELKEY_SIZE) {
    throw refusal('Selector is shorter than its keys')
  }
  const knode = Node.makeKnode(c.a, r.d, sel)
  m[(knode + U.KNODE_HANDLE) >> 2] = handle
  m[(knode + U.KNODE_UP) >> 2] = hnode
  const hmask = r.d.getUint32(sel + Tca.SEL_HMASK, false)
  m[(knode + U.KNODE_FSHIFT) >> 2] = hmask === 0 ? 0 : 31 - Math.clz32(hmask & -hmask)
  const mark = attrs[Tca.TCA_U32_MARK]
  if (mark !== 0 && attrLen(r.d, mark) >= Tca.MARK_SIZE) {
    m[(knode + U.KNODE_MARK) >> 2] = r.d.getInt32(mark, true)
    m[(knode + U.KNODE_MARK_MASK) >> 2] = r.d.getInt32(mark + 4, true)
  }
  const joined = enter(c, r, prio, knode, 0, flags)
  if (joined !== DONE) return AGAIN
  Node.insertKnode(c.a, knode)
  bumpGeneration(c.a)
  finishFlow(c.a, m[(knode + U.KNODE_FLOW) >> 2])
  return { hnode: 0, knode }
}

/** Another node in the place of `old`: the same selector, the same counters. */
function changeNode(c: FlowContext, r: Request, prio: number, old: number, flags: number): U32Object | typeof AGAIN {
  const { m } = c.a
  const was = m[(old + U.KNODE_FLOW) >> 2]
  if (((m[(was + FLOW_CLS_FLAGS) >> 2] ^ flags) & ~IN_HW) !== 0) {
    throw refusal('Key node flags do not match passed flags')
  }
  const knode = Node.copyKnode(c.a, old)
  Node.linkDown(m, knode, m[(old + U.KNODE_DOWN) >> 2])
  if (enter(c, r, prio, knode, was, flags) !== DONE) return AGAIN
  Node.replaceKnode(c.a, old, knode)
  bumpGeneration(c.a)
  finishFlow(c.a, m[(knode + U.KNODE_FLOW) >> 2])
  putFlow(c.a, was) // the tables' reference
  return { hnode: 0, knode }
}

/** u32_set_parms, and the flow of the node's actions. The node is freed when it does not get in. */
function enter(c: FlowContext, r: Request, prio: number, knode: number, old: number, flags: number): Joined {
  const { m } = c.a
  let flow = 0
  let joined: Joined = AGAIN
  try {
    c.actions.block = r.hook.block
    const act = attrs[Tca.TCA_U32_ACT]
    const link = attrs[Tca.TCA_U32_LINK]
    const indev = attrs[Tca.TCA_U32_INDEV]
    const given = attrs[Tca.TCA_U32_CLASSID] !== 0 || old === 0
    const classid = given ? u32At(r.d, Tca.TCA_U32_CLASSID) : m[(old + FLOW_CLASSID) >> 2]
    const down = link === 0 ? 0 : tableToLink(c, r, prio)
    const ifindex = indev === 0 ? m[(knode + U.KNODE_IFINDEX) >> 2] : ifindexAt(c, r.d, indev)
    const n = act === 0 ? 0 : initActions(c, r.d, act, { bind: true, clsFlags: flags, rate: tca[Tcm.TCA_RATE] }, acts)
    clearScratch(everything)
    pack(everything)
    flow = makeFlow(c, everything, acts, n, r.hook.direction, flags | Tcm.TCA_CLS_FLAGS_NOT_IN_HW, classid)
    if ((flags & Tcm.TCA_CLS_FLAGS_SKIP_SW) !== 0) throw new NetlinkError(EOPNOTSUPP) // nothing is in hardware
    if (link !== 0) {
      Node.unlinkDown(m, knode)
      Node.linkDown(m, knode, down)
    }
    m[(knode + U.KNODE_IFINDEX) >> 2] = ifindex
    m[(knode + U.KNODE_FLOW) >> 2] = flow
    m[(flow + FLOW_KNODE) >> 2] = knode
    joined = joinNode(c.a, prio, flow, m[(knode + U.KNODE_HANDLE) >> 2] >>> 0, old)
    return joined
  } catch (e) {
    if (flow !== 0) failFlow(c.a, flow, e)
    flow = 0
    throw e
  } finally {
    if (joined !== DONE) {
      if (flow !== 0) failFlow(c.a, flow)
      Node.unlinkDown(m, knode)
      Node.freeKnode(c.a, knode, old === 0)
    }
  }
}

function tableToLink(c: FlowContext, r: Request, prio: number): number {
  const handle = u32At(r.d, Tca.TCA_U32_LINK)
  if (Tca.u32Key(handle) !== 0) throw refusal('u32 Link handle must be a hash table')
  if (handle === 0) return 0
  const hnode = Node.findHnode(c.a, prio, handle)
  if (hnode === 0) throw refusal('Link hash table not found')
  if (c.a.m[(hnode + U.HNODE_IS_ROOT) >> 2] !== 0) throw refusal('Not linking to root node')
  checkPrio(c.a.m, prio, hnode)
  return hnode
}

/** tcf_change_indev */
function ifindexAt(c: FlowContext, d: DataView, payload: number): number {
  const dev = netdevByName(c.a, attrString(d, payload))
  if (dev === 0) throw new NetlinkError(EINVAL, 'Network device not found')
  return c.a.m[(dev + NETDEV_IFINDEX) >> 2]
}

/** A flow was made anew, because an action of it changed: its node leads to it. Both have been joined. */
export function repointNode(m: Int32Array, old: number, fresh: number): void {
  const knode = Node.knodeOf(m, old)
  m[(fresh + FLOW_KNODE) >> 2] = knode
  publish(m, (knode + U.KNODE_FLOW) >> 2, fresh)
}

/** Refuses what u32_delete refuses; `gone` gets the flows of what is deleted, which it takes out of the prio. */
export function u32Delete(c: FlowContext, o: U32Object, gone: (flow: number) => void): void {
  assertHeld(RTNL)
  const { m } = c.a
  if (o.knode !== 0) {
    remove(c, o.knode, gone)
    return
  }
  if (m[(o.hnode + U.HNODE_IS_ROOT) >> 2] !== 0) throw refusal('Not allowed to delete root node')
  if (m[(o.hnode + U.HNODE_REFCNT) >> 2] !== 1) throw refusal('Can not delete in-use filter', EBUSY)
  for (const knode of nodesOf(m, o.hnode)) remove(c, knode, gone)
  Node.freeHnode(c.a, o.hnode)
}

function remove(c: FlowContext, knode: number, gone: (flow: number) => void): void {
  const flow = c.a.m[(knode + U.KNODE_FLOW) >> 2]
  Node.unlinkKnode(c.a, knode)
  gone(flow)
}

/** Nothing is left in the qdisc: its only prio of u32 goes too. */
export function u32IsLast(c: FlowContext, prio: number): boolean {
  const common = Node.commonOf(c.a, prio)
  return c.a.m[(common + U.COMMON_REFCNT) >> 2] === 1 && c.a.m[(common + U.COMMON_NODES) >> 2] === 0
}

/** The table's nodes, bucket by bucket. */
function nodesOf(m: Int32Array, hnode: number): number[] {
  const out: number[] = []
  for (let i = 0; i <= m[(hnode + U.HNODE_DIVISOR) >> 2]; i++) {
    for (let knode = m[Node.bucket(hnode, i)]; knode !== 0; knode = m[(knode + U.KNODE_NEXT) >> 2]) out.push(knode)
  }
  return out
}

/** Each table of the prio, behind it its nodes (u32_walk). */
export function u32Walk(c: FlowContext, prio: number, each: (o: U32Object) => void): void {
  assertHeld(RTNL)
  for (const hnode of Node.hnodesOf(c.a, prio)) {
    each({ hnode, knode: 0 })
    for (const knode of nodesOf(c.a.m, hnode)) each({ hnode: 0, knode })
  }
}
