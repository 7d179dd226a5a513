// Blocks and their chains (struct tcf_block, struct tcf_chain).
//
// A block belongs to a hook of a device, or, with an index, to several. It is made with chain 0, which packets meet
// first and which stands in the list of chains only while somebody holds it; the other chains come on demand and go
// with their last holder: a prio, a goto action, `tc chain add`, whoever works on one. A chain that only goto actions
// hold is not shown.
//
//   block ──CHAINS──> chain ──NEXT──> chain        in the order in which they came
//
// Chains in the list hold the block, hooks hold it, and the last one frees it. All counts are under the block's lock;
// the list may be walked under RCU.

import type { Arena } from '../memory/arena.ts'
import {
  BLOCK_CHAIN0,
  BLOCK_CHAINS,
  BLOCK_DEV,
  BLOCK_INDEX,
  BLOCK_LOCK,
  BLOCK_PARENT,
  BLOCK_REFCNT,
  BLOCK_SIZE,
  CHAIN_ACTION_REFCNT,
  CHAIN_BLOCK,
  CHAIN_F_EXPLICIT,
  CHAIN_FLAGS,
  CHAIN_INDEX,
  CHAIN_NEXT,
  CHAIN_REFCNT,
  CHAIN_SIZE,
  CHAIN_TEMPLATE,
  TEMPLATE_SIZE,
} from '../memory/layout/flow.ts'
import { alloc, free, freeRcu, TAG_BLOCK, TAG_CHAIN, TAG_TEMPLATE } from '../memory/pool.ts'
import { BLOCK } from '../sync/lock_order.ts'
import { assertHeld, lock, unlock } from '../sync/mutex.ts'
import { deref, publish } from '../sync/rcu.ts'

/** Told when a chain begins or ceases to be shown: RTM_NEWCHAIN and RTM_DELCHAIN messages come from here. */
export interface ChainEvents {
  chainShown?(chain: number): void
  chainHidden?(chain: number): void
}

const none: ChainEvents = {}

/** A block with one holder, the caller. `index` 0 is an unshared one. */
export function makeBlock(a: Arena, dev: number, parent: number, index: number): number {
  const { m } = a
  const block = alloc(a, BLOCK_SIZE, TAG_BLOCK)
  let chain0: number
  try {
    chain0 = makeChain(a, block, 0)
  } catch (e) {
    free(a, block, BLOCK_SIZE, TAG_BLOCK)
    throw e
  }
  m[(block + BLOCK_CHAIN0) >> 2] = chain0
  m[(block + BLOCK_DEV) >> 2] = dev
  m[(block + BLOCK_PARENT) >> 2] = parent
  m[(block + BLOCK_INDEX) >> 2] = index
  m[(block + BLOCK_REFCNT) >> 2] = 1
  return block
}

function makeChain(a: Arena, block: number, index: number): number {
  const chain = alloc(a, CHAIN_SIZE, TAG_CHAIN)
  a.m[(chain + CHAIN_BLOCK) >> 2] = block
  a.m[(chain + CHAIN_INDEX) >> 2] = index
  return chain
}

const lockBlock = (m: Int32Array, block: number): void => lock(m, (block + BLOCK_LOCK) >> 2, BLOCK)
const unlockBlock = (m: Int32Array, block: number): void => unlock(m, (block + BLOCK_LOCK) >> 2, BLOCK)

/** One hook more or, before it is published, less. */
export function holdBlock(m: Int32Array, block: number): void {
  lockBlock(m, block)
  m[(block + BLOCK_REFCNT) >> 2]++
  unlockBlock(m, block)
}

/** Gives the block back; the last one frees it. Its chains hold it, so none is left then. */
export function putBlock(a: Arena, block: number): void {
  const { m } = a
  lockBlock(m, block)
  const last = --m[(block + BLOCK_REFCNT) >> 2] === 0
  unlockBlock(m, block)
  if (last) freeBlock(a, block)
}

function freeBlock(a: Arena, block: number): void {
  freeRcu(a, a.m[(block + BLOCK_CHAIN0) >> 2], CHAIN_SIZE, TAG_CHAIN)
  freeRcu(a, block, BLOCK_SIZE, TAG_BLOCK)
}

/** The chain of that index under RCU, 0 when it is not there or, for a moment, when the list changes. */
export function findChain(m: Int32Array, block: number, index: number): number {
  if (index === 0) return deref(m, (block + BLOCK_CHAIN0) >> 2)
  let chain = deref(m, (block + BLOCK_CHAINS) >> 2)
  while (chain !== 0 && m[(chain + CHAIN_INDEX) >> 2] !== index) chain = deref(m, (chain + CHAIN_NEXT) >> 2)
  return chain
}

/** The chain of that index in the list, 0 when it is not there. */
export function lookupChainLocked(m: Int32Array, block: number, index: number): number {
  assertHeld(BLOCK)
  let chain = m[(block + BLOCK_CHAINS) >> 2]
  while (chain !== 0 && m[(chain + CHAIN_INDEX) >> 2] !== index) chain = m[(chain + CHAIN_NEXT) >> 2]
  return chain
}

/** Only goto actions hold it: it is not shown, and `tc chain` does not know it. */
export const heldByActionsOnly = (m: Int32Array, chain: number): boolean =>
  m[(chain + CHAIN_REFCNT) >> 2] === m[(chain + CHAIN_ACTION_REFCNT) >> 2]

/** Puts a chain at the end of the list. */
function listChain(m: Int32Array, block: number, chain: number): void {
  let at = (block + BLOCK_CHAINS) >> 2
  while (m[at] !== 0) at = (m[at] + CHAIN_NEXT) >> 2
  m[(chain + CHAIN_NEXT) >> 2] = 0
  m[(block + BLOCK_REFCNT) >> 2]++
  publish(m, at, chain)
}

/** The chain, made when it is not there, with `n` references more. The caller tells the events. */
export function createChainLocked(a: Arena, block: number, index: number): number {
  const { m } = a
  const chain = index === 0 ? m[(block + BLOCK_CHAIN0) >> 2] : makeChain(a, block, index)
  listChain(m, block, chain)
  return chain
}

/** A reference to the chain, 0 when it is not there and `create` is false. Throws MemoryError. */
export function getChain(a: Arena, block: number, index: number, create: boolean, events = none, action = 0): number {
  const { m } = a
  lockBlock(m, block)
  let first = false
  let chain = 0
  try {
    chain = lookupChainLocked(m, block, index)
    if (chain === 0 && create) chain = createChainLocked(a, block, index)
    if (chain !== 0) {
      m[(chain + CHAIN_REFCNT) >> 2]++
      m[(chain + CHAIN_ACTION_REFCNT) >> 2] += action
      first = m[(chain + CHAIN_REFCNT) >> 2] - m[(chain + CHAIN_ACTION_REFCNT) >> 2] === 1
    }
  } finally {
    unlockBlock(m, block)
  }
  if (first && action === 0) events.chainShown?.(chain)
  return chain
}

/** A reference for a goto action: the chain is made when it is not there. */
export const getChainByAction = (a: Arena, block: number, index: number): number =>
  getChain(a, block, index, true, none, 1)

/** Gives a reference back; the last one frees the chain. */
export function putChain(a: Arena, chain: number, events = none, action = 0): void {
  const { m } = a
  const block = m[(chain + CHAIN_BLOCK) >> 2]
  lockBlock(m, block)
  dropLocked(a, block, chain, events, action)
}

/** Gives back the reference of `tc chain add`, if there is one. */
export function putChainExplicit(a: Arena, chain: number, events = none): void {
  const { m } = a
  const block = m[(chain + CHAIN_BLOCK) >> 2]
  lockBlock(m, block)
  if ((m[(chain + CHAIN_FLAGS) >> 2] & CHAIN_F_EXPLICIT) === 0) {
    unlockBlock(m, block)
    return
  }
  m[(chain + CHAIN_FLAGS) >> 2] &= ~CHAIN_F_EXPLICIT
  dropLocked(a, block, chain, events, 0)
}

export const putChainByAction = (a: Arena, chain: number): void => putChain(a, chain, none, 1)

/** The end of the put functions: unlocks the block. */
function dropLocked(a: Arena, block: number, chain: number, events: ChainEvents, action: number): void {
  const { m } = a
  m[(chain + CHAIN_ACTION_REFCNT) >> 2] -= action
  const refs = --m[(chain + CHAIN_REFCNT) >> 2]
  const hidden = action === 0 && heldByActionsOnly(m, chain)
  const template = m[(chain + CHAIN_TEMPLATE) >> 2]
  let lastOfBlock = false
  if (refs === 0) {
    unlistChain(m, block, chain)
    lastOfBlock = --m[(block + BLOCK_REFCNT) >> 2] === 0
    m[(chain + CHAIN_TEMPLATE) >> 2] = 0
  }
  unlockBlock(m, block)
  if (hidden) events.chainHidden?.(chain)
  if (refs !== 0) return
  if (template !== 0) freeRcu(a, template, TEMPLATE_SIZE, TAG_TEMPLATE)
  if (m[(chain + CHAIN_INDEX) >> 2] !== 0) freeRcu(a, chain, CHAIN_SIZE, TAG_CHAIN)
  if (lastOfBlock) freeBlock(a, block)
}

function unlistChain(m: Int32Array, block: number, chain: number): void {
  let at = (block + BLOCK_CHAINS) >> 2
  while (m[at] !== chain) at = (m[at] + CHAIN_NEXT) >> 2
  publish(m, at, m[(chain + CHAIN_NEXT) >> 2])
}

/**
 * The shown chain after `chain` (0: the first), with a reference; puts the one of `chain`. 0 at the end. A walk sees a
 * chain that stays throughout, whatever comes and goes meanwhile.
 */
export function nextChain(a: Arena, block: number, chain: number, events = none): number {
  const { m } = a
  lockBlock(m, block)
  let next = chain === 0 ? m[(block + BLOCK_CHAINS) >> 2] : m[(chain + CHAIN_NEXT) >> 2]
  while (next !== 0 && heldByActionsOnly(m, next)) next = m[(next + CHAIN_NEXT) >> 2]
  if (next !== 0) m[(next + CHAIN_REFCNT) >> 2]++
  unlockBlock(m, block)
  if (chain !== 0) putChain(a, chain, events)
  return next
}

/** Runs `f` holding the block's lock. */
export function withBlock<T>(m: Int32Array, block: number, f: () => T): T {
  lockBlock(m, block)
  try {
    return f()
  } finally {
    unlockBlock(m, block)
  }
}
