// Prios: the classifier instances of a chain (struct tcf_proto), ordered by pref.
//
// A prio is made by the first filter of its pref and goes with the last, or when it is deleted as a whole. It is bound
// to one protocol and one kind. The chain's list holds one reference, and who needs a prio across a quiescent state
// takes another; a request that is inside one RCU section needs none: it locks the prio and looks at PRIO_DELETED,
// which is final.
//
// Lock order: chain, then prio. A deleted prio left the list and its masks left the packets' way in one critical
// section, so a flow that joins under the prio's lock is either seen by packets or refused.

import type { Arena } from '../memory/arena.ts'
import {
  CHAIN_LOCK,
  CHAIN_PRIOS,
  PRIO_CHAIN,
  PRIO_DELETED,
  PRIO_FLAGS,
  PRIO_HANDLES,
  PRIO_KIND,
  PRIO_LOCK,
  PRIO_NEXT,
  PRIO_NFLOWS,
  PRIO_PREF,
  PRIO_PROTO,
  PRIO_REFCNT,
  PRIO_SIZE,
} from '../memory/layout/flow.ts'
import { alloc, freeRcu, TAG_PRIO } from '../memory/pool.ts'
import { CHAIN, PRIO } from '../sync/lock_order.ts'
import { lock, unlock } from '../sync/mutex.ts'
import { deref, publish } from '../sync/rcu.ts'
import * as Refcount from '../sync/refcount.ts'
import { EINVAL, NetlinkError } from '../wire/netlink_error.ts'
import { type ChainEvents, putChain } from './chain.ts'
import { freeMasks, unlinkMasksLocked } from './mask.ts'

export const lockChain = (m: Int32Array, chain: number): void => lock(m, (chain + CHAIN_LOCK) >> 2, CHAIN)
export const unlockChain = (m: Int32Array, chain: number): void => unlock(m, (chain + CHAIN_LOCK) >> 2, CHAIN)
export const lockPrio = (m: Int32Array, prio: number): void => lock(m, (prio + PRIO_LOCK) >> 2, PRIO)
export const unlockPrio = (m: Int32Array, prio: number): void => unlock(m, (prio + PRIO_LOCK) >> 2, PRIO)

/** Root of the prio's handles for flow/idr.ts. */
export const handlesOf = (prio: number): number => prio + PRIO_HANDLES

export const isDeleted = (m: Int32Array, prio: number): boolean => (m[(prio + PRIO_FLAGS) >> 2] & PRIO_DELETED) !== 0

/** Prefs that are given out when none is asked for: from here downwards. */
const AUTO_FIRST = 0xc000
const AUTO_LAST = 0x8000

export const notFound = (errno: number): NetlinkError =>
  new NetlinkError(errno, 'Filter with specified priority/protocol not found')

/**
 * The chain's prio of that pref under RCU, 0 when there is none. `protocol` 0 is any; another one than the prio's is
 * refused with EINVAL.
 */
export function findPrio(m: Int32Array, chain: number, pref: number, protocol: number): number {
  let prio = deref(m, (chain + CHAIN_PRIOS) >> 2)
  while (prio !== 0 && m[(prio + PRIO_PREF) >> 2] < pref) prio = deref(m, (prio + PRIO_NEXT) >> 2)
  if (prio === 0 || m[(prio + PRIO_PREF) >> 2] !== pref) return 0
  if (protocol !== 0 && m[(prio + PRIO_PROTO) >> 2] !== protocol) throw notFound(EINVAL)
  return prio
}

/** Word of the link to the first prio with that pref or a larger one. */
function linkTo(m: Int32Array, chain: number, pref: number): number {
  let at = (chain + CHAIN_PRIOS) >> 2
  while (m[at] !== 0 && m[(m[at] + PRIO_PREF) >> 2] < pref) at = (m[at] + PRIO_NEXT) >> 2
  return at
}

/**
 * The prio of that pref, made when it is not there; pref 0 makes one below the lowest of those that were given out, as
 * tcf_auto_prio does. The caller's reference to the chain goes to a new prio. Says whether it is new.
 */
export function addPrio(
  a: Arena,
  chain: number,
  pref: number,
  protocol: number,
  kind: number,
): { prio: number; made: boolean } {
  const { m } = a
  const fresh = alloc(a, PRIO_SIZE, TAG_PRIO)
  let made = false
  let prio = 0
  lockChain(m, chain)
  try {
    let at = linkTo(m, chain, pref === 0 ? AUTO_LAST : pref)
    if (pref === 0) {
      if (m[at] !== 0 && m[(m[at] + PRIO_PREF) >> 2] === AUTO_LAST) throw notFound(EINVAL)
      pref = m[at] === 0 ? AUTO_FIRST : m[(m[at] + PRIO_PREF) >> 2] - 1
      at = linkTo(m, chain, pref)
    }
    prio = m[at]
    if (prio === 0 || m[(prio + PRIO_PREF) >> 2] !== pref) {
      prio = fresh
      made = true
      m[(prio + PRIO_REFCNT) >> 2] = 1
      m[(prio + PRIO_PREF) >> 2] = pref
      m[(prio + PRIO_PROTO) >> 2] = protocol
      m[(prio + PRIO_KIND) >> 2] = kind
      m[(prio + PRIO_CHAIN) >> 2] = chain
      m[(prio + PRIO_NEXT) >> 2] = m[at]
      publish(m, at, prio)
    } else if (m[(prio + PRIO_PROTO) >> 2] !== protocol) {
      throw notFound(EINVAL)
    }
  } finally {
    unlockChain(m, chain)
    if (!made) freeRcu(a, fresh, PRIO_SIZE, TAG_PRIO)
  }
  return { prio, made }
}

/** Takes the prio off its chain, for good: packets stop meeting its flows, none may join. False: somebody else did. */
function unlinkPrioLocked(m: Int32Array, chain: number, prio: number): boolean {
  if (isDeleted(m, prio)) return false
  m[(prio + PRIO_FLAGS) >> 2] |= PRIO_DELETED
  let at = (chain + CHAIN_PRIOS) >> 2
  while (m[at] !== prio) at = (m[at] + PRIO_NEXT) >> 2
  publish(m, at, m[(prio + PRIO_NEXT) >> 2])
  unlinkMasksLocked(m, prio)
  return true
}

/** Takes the prio off its chain. True to one caller, who then deletes the flows and puts the list's reference. */
export function unlinkPrio(m: Int32Array, prio: number): boolean {
  const chain = m[(prio + PRIO_CHAIN) >> 2]
  lockChain(m, chain)
  lockPrio(m, prio)
  const done = unlinkPrioLocked(m, chain, prio)
  unlockPrio(m, prio)
  unlockChain(m, chain)
  return done
}

/** As unlinkPrio, if the prio has no flow: after its last one went, or when its first one was refused. */
export function unlinkEmptyPrio(m: Int32Array, prio: number): boolean {
  const chain = m[(prio + PRIO_CHAIN) >> 2]
  lockChain(m, chain)
  lockPrio(m, prio)
  const done = m[(prio + PRIO_NFLOWS) >> 2] === 0 && unlinkPrioLocked(m, chain, prio)
  unlockPrio(m, prio)
  unlockChain(m, chain)
  return done
}

/** Gives a reference back; the last one frees the prio and puts its chain. All its flows are gone. */
export function putPrio(a: Arena, prio: number, events?: ChainEvents): void {
  const { m } = a
  if (!Refcount.put(m, (prio + PRIO_REFCNT) >> 2)) return
  freeMasks(a, prio)
  const chain = m[(prio + PRIO_CHAIN) >> 2]
  freeRcu(a, prio, PRIO_SIZE, TAG_PRIO)
  putChain(a, chain, events)
}

/** The prio after `prio` (0: the first) that is not being deleted, with a reference; puts the one of `prio`. */
export function nextPrio(a: Arena, chain: number, prio: number, events?: ChainEvents): number {
  const { m } = a
  lockChain(m, chain)
  const pref = prio === 0 ? 0 : m[(prio + PRIO_PREF) >> 2]
  let next = m[(chain + CHAIN_PRIOS) >> 2]
  while (next !== 0 && m[(next + PRIO_PREF) >> 2] <= pref) next = m[(next + PRIO_NEXT) >> 2]
  if (next !== 0) Refcount.get(m, (next + PRIO_REFCNT) >> 2)
  unlockChain(m, chain)
  if (prio !== 0) putPrio(a, prio, events)
  return next
}
