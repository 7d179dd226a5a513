// The tables and nodes of u32 filters as structs in the arena (struct tc_u_common, tc_u_hnode, tc_u_knode).
//
// All prios of u32 of a qdisc have one list of tables, and numbers from one counter; each prio has a root table. A node is
// a match and leads to a flow, which has the actions, or to another table. Everything here runs under rtnl; packets walk
// along under RCU, so a node is written whole before it is linked, and freed after a grace period.

import type { Arena } from '../memory/arena.ts'
import { counterAlloc, counterFree } from '../memory/counters.ts'
import {
  BLOCK_DEV,
  BLOCK_INDEX,
  CHAIN_BLOCK,
  FLOW_KNODE,
  MASK_U32,
  PRIO_CHAIN,
  PRIO_ROOT,
} from '../memory/layout/flow.ts'
import * as U from '../memory/layout/u32.ts'
import { alloc, free, freeRcu, TAG_KEY, TAG_LOCAL, TAG_TABLE } from '../memory/pool.ts'
import { RTNL } from '../sync/lock_order.ts'
import { assertHeld } from '../sync/mutex.ts'
import { publish } from '../sync/rcu.ts'
import { ENOMEM, NetlinkError } from '../wire/netlink_error.ts'
import { SEL_KEYS, SEL_NKEYS, SELKEY_SIZE, TC_U32_ROOT, u32Hash, u32Htid, u32Node } from '../wire/tca_u32.ts'
import { u32Commons } from './context.ts'
import { addMaskLocked } from './mask.ts'
import { clearScratch, matchScratch, pack } from './match_scratch.ts'
import { isDeleted, lockChain, lockPrio, unlockChain, unlockPrio } from './prio.ts'

/** A table's bucket, as word. */
export const bucket = (hnode: number, hash: number): number => (hnode + U.HNODE_BUCKETS + hash * 4) >> 2

const hnodeSize = (buckets: number): number => U.HNODE_BUCKETS + buckets * 4

/** Address in the node of the i-th key. */
export const keyOf = (knode: number, i: number): number => knode + U.KNODE_KEYS + i * U.KNODE_KEY_SIZE
export const keyCount = (a: Arena, knode: number): number => a.u8[knode + U.KNODE_SEL + SEL_NKEYS]
const knodeSize = (keys: number): number => U.KNODE_KEYS + keys * U.KNODE_KEY_SIZE

/** What identifies the qdisc of a prio: tables are shared by the two hooks of a device, or are those of a shared block. */
function qdiscOf(m: Int32Array, prio: number): number {
  const block = m[(m[(prio + PRIO_CHAIN) >> 2] + CHAIN_BLOCK) >> 2]
  return m[(block + BLOCK_INDEX) >> 2] !== 0 ? block : m[(block + BLOCK_DEV) >> 2]
}

/** Word of the link to the qdisc's common struct. */
function linkToCommon(a: Arena, qdisc: number): number {
  let at = u32Commons(a)
  while (a.m[at] !== 0 && a.m[(a.m[at] + U.COMMON_KEY) >> 2] !== qdisc) at = (a.m[at] + U.COMMON_NEXT) >> 2
  return at
}

/** What the prio shares with the others of its qdisc. */
export const commonOf = (a: Arena, prio: number): number => a.m[linkToCommon(a, qdiscOf(a.m, prio))]

const FIRST_ROOT = 0x80000000
const LAST_ID = 0x7ff

/** A number for a table that nobody named: 801:, 802:, …, and round again past those that are taken (idr_alloc_cyclic). */
function newId(m: Int32Array, common: number): number {
  const last = (common + U.COMMON_LAST_ID) >> 2
  for (let step = 0; step < LAST_ID; step++) {
    const id = ((m[last] + step) % LAST_ID) + 1
    const handle = ((0x800 | id) << 20) >>> 0
    let hnode = m[(common + U.COMMON_TABLES) >> 2]
    while (hnode !== 0 && m[(hnode + U.HNODE_HANDLE) >> 2] >>> 0 !== handle) hnode = m[(hnode + U.HNODE_NEXT) >> 2]
    if (hnode !== 0) continue
    m[last] = id
    return handle
  }
  throw new NetlinkError(ENOMEM, 'cls_u32: no number is left for a hash table')
}

/** The number given out last beside this prio, 0 for none. */
export function lastId(a: Arena, prio: number): number {
  const common = commonOf(a, prio)
  return common === 0 ? 0 : a.m[(common + U.COMMON_LAST_ID) >> 2]
}

/** What was given out since `last` is given out again: for a prio that is about to go as if it had never been. */
export function takeBackIds(a: Arena, prio: number, last: number): void {
  const common = commonOf(a, prio)
  if (common !== 0) a.m[(common + U.COMMON_LAST_ID) >> 2] = last
}

/** A table, listed. `handle` 0: a number is given. Throws MemoryError. */
export function makeHnode(
  a: Arena,
  prio: number,
  handle: number,
  divisor: number,
  flags: number,
  root = false,
): number {
  assertHeld(RTNL)
  const { m } = a
  const common = commonOf(a, prio)
  const hnode = alloc(a, hnodeSize(divisor), TAG_TABLE)
  try {
    m[(hnode + U.HNODE_HANDLE) >> 2] = handle === 0 ? newId(m, common) : handle
  } catch (e) {
    free(a, hnode, hnodeSize(divisor), TAG_TABLE)
    throw e
  }
  m[(hnode + U.HNODE_PRIO) >> 2] = prio
  m[(hnode + U.HNODE_REFCNT) >> 2] = 1
  m[(hnode + U.HNODE_DIVISOR) >> 2] = divisor - 1
  m[(hnode + U.HNODE_IS_ROOT) >> 2] = root ? 1 : 0
  m[(hnode + U.HNODE_FLAGS) >> 2] = flags
  m[(hnode + U.HNODE_NEXT) >> 2] = m[(common + U.COMMON_TABLES) >> 2]
  m[(common + U.COMMON_TABLES) >> 2] = hnode
  return hnode
}

/** Frees a table without nodes. */
export function freeHnode(a: Arena, hnode: number): void {
  const { m } = a
  const common = commonOf(a, m[(hnode + U.HNODE_PRIO) >> 2])
  let at = (common + U.COMMON_TABLES) >> 2
  while (m[at] !== hnode) at = (m[at] + U.HNODE_NEXT) >> 2
  m[at] = m[(hnode + U.HNODE_NEXT) >> 2]
  freeRcu(a, hnode, hnodeSize(m[(hnode + U.HNODE_DIVISOR) >> 2] + 1), TAG_TABLE)
}

/** The root table of a new prio (u32_init); `handle`: the one that it had, 0 for the next. */
export function initPrio(a: Arena, prio: number, handle = 0): void {
  assertHeld(RTNL)
  const { m } = a
  const at = linkToCommon(a, qdiscOf(m, prio))
  let common = m[at]
  const made = common === 0
  if (made) {
    common = alloc(a, U.COMMON_SIZE, TAG_LOCAL)
    m[(common + U.COMMON_KEY) >> 2] = qdiscOf(m, prio)
    m[at] = common
  }
  try {
    addMask(a, prio)
    const root = makeHnode(a, prio, handle || (made ? FIRST_ROOT : 0), 1, 0, true)
    m[(common + U.COMMON_REFCNT) >> 2]++
    m[(prio + PRIO_ROOT) >> 2] = root
  } catch (e) {
    if (made) {
      m[at] = 0
      free(a, common, U.COMMON_SIZE, TAG_LOCAL)
    }
    throw e
  }
}

/** What packets meet of the prio: a mask that looks at no key. */
function addMask(a: Arena, prio: number): void {
  const { m } = a
  const chain = m[(prio + PRIO_CHAIN) >> 2]
  clearScratch(nothing)
  nothing.maskFlags = MASK_U32
  pack(nothing)
  lockChain(m, chain)
  lockPrio(m, prio)
  try {
    if (!isDeleted(m, prio)) addMaskLocked(a, prio, nothing)
  } finally {
    unlockPrio(m, prio)
    unlockChain(m, chain)
  }
}

const nothing = matchScratch()

/** All tables of the prio's qdisc, newest first. */
export function tablesBeside(a: Arena, prio: number): number[] {
  const { m } = a
  const out: number[] = []
  for (let hnode = m[(commonOf(a, prio) + U.COMMON_TABLES) >> 2]; hnode !== 0; hnode = m[(hnode + U.HNODE_NEXT) >> 2])
    out.push(hnode)
  return out
}

/** The prio's tables, newest first. */
export function hnodesOf(a: Arena, prio: number): number[] {
  return tablesBeside(a, prio).filter((hnode) => a.m[(hnode + U.HNODE_PRIO) >> 2] === prio)
}

/** The end of a prio whose flows have left it: its nodes and tables go (u32_destroy). */
export function destroyPrio(a: Arena, prio: number): void {
  assertHeld(RTNL)
  const { m } = a
  if (m[(prio + PRIO_ROOT) >> 2] === 0) return
  const at = linkToCommon(a, qdiscOf(m, prio))
  const common = m[at]
  const mine = hnodesOf(a, prio)
  for (const hnode of mine) {
    for (let i = 0; i <= m[(hnode + U.HNODE_DIVISOR) >> 2]; i++) {
      while (m[bucket(hnode, i)] !== 0) unlinkKnode(a, m[bucket(hnode, i)])
    }
  }
  for (const hnode of mine) freeHnode(a, hnode)
  m[(prio + PRIO_ROOT) >> 2] = 0
  if (--m[(common + U.COMMON_REFCNT) >> 2] > 0) return
  m[at] = m[(common + U.COMMON_NEXT) >> 2]
  freeRcu(a, common, U.COMMON_SIZE, TAG_LOCAL)
}

/** The table of that number as seen from the prio, 0 when there is none (u32_lookup_ht). */
export function findHnode(a: Arena, prio: number, handle: number): number {
  const { m } = a
  if (u32Htid(handle) === TC_U32_ROOT) return m[(prio + PRIO_ROOT) >> 2]
  let hnode = m[(commonOf(a, prio) + U.COMMON_TABLES) >> 2]
  while (hnode !== 0 && m[(hnode + U.HNODE_HANDLE) >> 2] >>> 0 !== u32Htid(handle)) {
    hnode = m[(hnode + U.HNODE_NEXT) >> 2]
  }
  return hnode
}

/** The node of that number in the table, 0 when there is none. */
export function findKnode(m: Int32Array, hnode: number, handle: number): number {
  if (u32Hash(handle) > m[(hnode + U.HNODE_DIVISOR) >> 2]) return 0
  let knode = m[bucket(hnode, u32Hash(handle))]
  while (knode !== 0 && m[(knode + U.KNODE_HANDLE) >> 2] >>> 0 !== handle) knode = m[(knode + U.KNODE_NEXT) >> 2]
  return knode
}

/** A number for a node of the bucket that nobody named: from 800 on, then from 1 on (gen_new_kid). */
export function newNode(m: Int32Array, hnode: number, htid: number): number {
  for (const [from, to] of [
    [0x800, 0xfff],
    [1, 0x7ff],
  ]) {
    for (let node = from; node <= to; node++)
      if (findKnode(m, hnode, (htid | node) >>> 0) === 0) return (htid | node) >>> 0
  }
  return (htid | 0xfff) >>> 0
}

/** A node in no table with the selector whose bytes begin at `sel` of `d`, and counters of its own. Throws MemoryError. */
export function makeKnode(a: Arena, d: DataView, sel: number): number {
  const { m } = a
  const keys = d.getUint8(sel + SEL_NKEYS)
  const knode = alloc(a, knodeSize(keys), TAG_KEY)
  const copy = (to: number, from: number, bytes: number): void => {
    for (let i = 0; i < bytes; i++) a.u8[to + i] = d.getUint8(from + i)
  }
  copy(knode + U.KNODE_SEL, sel, SEL_KEYS)
  for (let i = 0; i < keys; i++) copy(keyOf(knode, i), sel + SEL_KEYS + i * SELKEY_SIZE, SELKEY_SIZE)
  try {
    for (const field of COUNTERS) m[(knode + field) >> 2] = counterAlloc(a)
    for (let i = 0; i < keys; i++) m[(keyOf(knode, i) + U.KNODE_KEY_COUNTER) >> 2] = counterAlloc(a)
  } catch (e) {
    freeKnode(a, knode)
    throw e
  }
  return knode
}

const COUNTERS: readonly number[] = [U.KNODE_COUNTER_HIT, U.KNODE_COUNTER_MARK, U.KNODE_COUNTER_SUCCESS]

/** A node as this one, in no table: for a change. Its counters are the same, so one of the two is freed without them. */
export function copyKnode(a: Arena, knode: number): number {
  const size = knodeSize(keyCount(a, knode))
  const fresh = alloc(a, size, TAG_KEY)
  a.u8.copyWithin(fresh, knode, knode + size)
  return fresh
}

/** Frees a node that no table has, after a grace period. */
export function freeKnode(a: Arena, knode: number, counters = true): void {
  const { m } = a
  const keys = keyCount(a, knode)
  if (counters) {
    for (const field of COUNTERS) counterFree(a, m[(knode + field) >> 2])
    for (let i = 0; i < keys; i++) counterFree(a, m[(keyOf(knode, i) + U.KNODE_KEY_COUNTER) >> 2])
  }
  freeRcu(a, knode, knodeSize(keys), TAG_KEY)
}

/** Sets where the node leads to: a table gets one reference more. */
export function linkDown(m: Int32Array, knode: number, hnode: number): void {
  if (hnode !== 0) m[(hnode + U.HNODE_REFCNT) >> 2]++
  m[(knode + U.KNODE_DOWN) >> 2] = hnode
}

/** Takes back what linkDown took. */
export function unlinkDown(m: Int32Array, knode: number): void {
  const hnode = m[(knode + U.KNODE_DOWN) >> 2]
  if (hnode !== 0) m[(hnode + U.HNODE_REFCNT) >> 2]--
}

/** Word of the link to the node in its bucket, or to the first one behind its place. */
function linkTo(m: Int32Array, hnode: number, handle: number): number {
  let at = bucket(hnode, u32Hash(handle))
  while (m[at] !== 0 && u32Node(m[(m[at] + U.KNODE_HANDLE) >> 2]) < u32Node(handle)) at = (m[at] + U.KNODE_NEXT) >> 2
  return at
}

/** Packets meet the node from now on. */
export function insertKnode(a: Arena, knode: number): void {
  const { m } = a
  const hnode = m[(knode + U.KNODE_UP) >> 2]
  const at = linkTo(m, hnode, m[(knode + U.KNODE_HANDLE) >> 2])
  m[(knode + U.KNODE_NEXT) >> 2] = m[at]
  publish(m, at, knode)
  m[(commonOf(a, m[(hnode + U.HNODE_PRIO) >> 2]) + U.COMMON_NODES) >> 2]++
}

/** `fresh`, a copy, takes the place of `knode`, which is freed. */
export function replaceKnode(a: Arena, knode: number, fresh: number): void {
  const { m } = a
  const at = linkTo(m, m[(knode + U.KNODE_UP) >> 2], m[(knode + U.KNODE_HANDLE) >> 2])
  m[(fresh + U.KNODE_NEXT) >> 2] = m[(knode + U.KNODE_NEXT) >> 2]
  publish(m, at, fresh)
  unlinkDown(m, knode)
  freeKnode(a, knode, false)
}

/** Takes the node out of its table and frees it. */
export function unlinkKnode(a: Arena, knode: number): void {
  assertHeld(RTNL)
  const { m } = a
  const hnode = m[(knode + U.KNODE_UP) >> 2]
  publish(m, linkTo(m, hnode, m[(knode + U.KNODE_HANDLE) >> 2]), m[(knode + U.KNODE_NEXT) >> 2])
  m[(commonOf(a, m[(hnode + U.HNODE_PRIO) >> 2]) + U.COMMON_NODES) >> 2]--
  unlinkDown(m, knode)
  freeKnode(a, knode)
}

/** The node of a flow. */
export const knodeOf = (m: Int32Array, flow: number): number => m[(flow + FLOW_KNODE) >> 2]
