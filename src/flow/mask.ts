// Masks: one for each set of bits that flows of a prio look at (struct fl_flow_mask).
//
// A mask is made when a prio's first flow with its bits comes, and goes with its last. While it lives it stands in the
// chain's list, through which the datapath walks: prios by pref, and within a prio in the order in which the masks were
// made. So a mask that went and comes again stands at the end of its prio.
//
// The list changes under the chain's and the prio's lock, so that either is enough to walk over the prio's own part of
// it. Packets walk it under RCU: a mask that was taken out still leads to what follows.

import type { Arena } from '../memory/arena.ts'
import {
  CHAIN_MASKS,
  CHAIN_PRIOS,
  MASK_FLAGS,
  MASK_GROUPS,
  MASK_HASH,
  MASK_NEXT,
  MASK_PAIRS,
  MASK_PREV,
  MASK_PRIO,
  MASK_PROTO,
  MASK_WORDS,
  PRIO_CHAIN,
  PRIO_FIRST_MASK,
  PRIO_LAST_MASK,
  PRIO_NEXT,
  PRIO_PROTO,
} from '../memory/layout/flow.ts'
import { SUPER_GENERATION } from '../memory/layout/super.ts'
import { alloc, free, freeRcu, TAG_MASK } from '../memory/pool.ts'
import { add } from '../sync/atomic.ts'
import { CHAIN, PRIO } from '../sync/lock_order.ts'
import { assertHeld } from '../sync/mutex.ts'
import { publish } from '../sync/rcu.ts'
import { tableFreeRcu, tableInit } from './mask_table.ts'
import { type MatchScratch, maskSize } from './match_scratch.ts'

/** Does the mask look at exactly these bits? */
function sameBits(m: Int32Array, mask: number, s: MatchScratch): boolean {
  if (m[(mask + MASK_HASH) >> 2] !== s.maskHash || m[(mask + MASK_WORDS) >> 2] !== s.count) return false
  if (m[(mask + MASK_FLAGS) >> 2] !== s.maskFlags) return false
  let w = (mask + MASK_PAIRS) >> 2
  for (let i = 0; i < s.count; i++, w += 2) if (m[w] !== s.offsets[i] || m[w + 1] !== s.bits[i]) return false
  return true
}

/** The prio's mask with the bits of the scratch, 0 when it has none. */
export function findMaskLocked(m: Int32Array, prio: number, s: MatchScratch): number {
  assertHeld(PRIO)
  const last = m[(prio + PRIO_LAST_MASK) >> 2]
  for (let mask = m[(prio + PRIO_FIRST_MASK) >> 2]; mask !== 0; mask = m[(mask + MASK_NEXT) >> 2]) {
    if (sameBits(m, mask, s)) return mask
    if (mask === last) break
  }
  return 0
}

/** A mask with the bits of the scratch, at the end of the prio's masks. Throws MemoryError, nothing changed. */
export function addMaskLocked(a: Arena, prio: number, s: MatchScratch): number {
  assertHeld(CHAIN)
  assertHeld(PRIO)
  const { m } = a
  const mask = alloc(a, maskSize(s.count), TAG_MASK)
  try {
    tableInit(a, mask)
  } catch (e) {
    free(a, mask, maskSize(s.count), TAG_MASK)
    throw e
  }
  m[(mask + MASK_PRIO) >> 2] = prio
  m[(mask + MASK_PROTO) >> 2] = m[(prio + PRIO_PROTO) >> 2]
  m[(mask + MASK_WORDS) >> 2] = s.count
  m[(mask + MASK_FLAGS) >> 2] = s.maskFlags
  m[(mask + MASK_GROUPS) >> 2] = s.groups
  m[(mask + MASK_HASH) >> 2] = s.maskHash
  let w = (mask + MASK_PAIRS) >> 2
  for (let i = 0; i < s.count; i++) {
    m[w++] = s.offsets[i]
    m[w++] = s.bits[i]
  }
  link(m, prio, mask)
  return mask
}

/** Behind the prio's last mask, or the last one of the prios before it. */
function link(m: Int32Array, prio: number, mask: number): void {
  const chain = m[(prio + PRIO_CHAIN) >> 2]
  let before = m[(prio + PRIO_LAST_MASK) >> 2]
  if (before === 0) {
    for (let p = m[(chain + CHAIN_PRIOS) >> 2]; p !== prio; p = m[(p + PRIO_NEXT) >> 2]) {
      const last = m[(p + PRIO_LAST_MASK) >> 2]
      if (last !== 0) before = last
    }
    m[(prio + PRIO_FIRST_MASK) >> 2] = mask
  }
  m[(prio + PRIO_LAST_MASK) >> 2] = mask
  const from = before === 0 ? (chain + CHAIN_MASKS) >> 2 : (before + MASK_NEXT) >> 2
  const next = m[from]
  m[(mask + MASK_PREV) >> 2] = before
  m[(mask + MASK_NEXT) >> 2] = next
  if (next !== 0) m[(next + MASK_PREV) >> 2] = mask
  publish(m, from, mask)
}

/** Takes the masks from `first` to `last` out of the chain's list by one store. */
function unlink(m: Int32Array, chain: number, first: number, last: number): void {
  const before = m[(first + MASK_PREV) >> 2]
  const next = m[(last + MASK_NEXT) >> 2]
  if (next !== 0) m[(next + MASK_PREV) >> 2] = before
  publish(m, before === 0 ? (chain + CHAIN_MASKS) >> 2 : (before + MASK_NEXT) >> 2, next)
}

/** Removes a mask without flows. Workers may know it by address until they see another generation. */
export function removeMaskLocked(a: Arena, mask: number): void {
  assertHeld(CHAIN)
  assertHeld(PRIO)
  const { m } = a
  add(m, SUPER_GENERATION >> 2, 1)
  const prio = m[(mask + MASK_PRIO) >> 2]
  const first = m[(prio + PRIO_FIRST_MASK) >> 2]
  const last = m[(prio + PRIO_LAST_MASK) >> 2]
  unlink(m, m[(prio + PRIO_CHAIN) >> 2], mask, mask)
  m[(prio + PRIO_FIRST_MASK) >> 2] = first === mask ? (last === mask ? 0 : m[(mask + MASK_NEXT) >> 2]) : first
  m[(prio + PRIO_LAST_MASK) >> 2] = last === mask ? (first === mask ? 0 : m[(mask + MASK_PREV) >> 2]) : last
  freeMask(a, mask)
}

function freeMask(a: Arena, mask: number): void {
  tableFreeRcu(a, mask)
  freeRcu(a, mask, maskSize(a.m[(mask + MASK_WORDS) >> 2]), TAG_MASK)
}

/** Takes all masks of the prio out of the packets' way, by one store. They are freed by `freeMasks`. */
export function unlinkMasksLocked(m: Int32Array, prio: number): void {
  assertHeld(CHAIN)
  assertHeld(PRIO)
  const first = m[(prio + PRIO_FIRST_MASK) >> 2]
  if (first !== 0) unlink(m, m[(prio + PRIO_CHAIN) >> 2], first, m[(prio + PRIO_LAST_MASK) >> 2])
}

/** Frees the masks of a prio that is off the chain, after a grace period. */
export function freeMasks(a: Arena, prio: number): void {
  const { m } = a
  const last = m[(prio + PRIO_LAST_MASK) >> 2]
  let mask = m[(prio + PRIO_FIRST_MASK) >> 2]
  while (mask !== 0) {
    const next = mask === last ? 0 : m[(mask + MASK_NEXT) >> 2]
    freeMask(a, mask)
    mask = next
  }
  m[(prio + PRIO_FIRST_MASK) >> 2] = 0
  m[(prio + PRIO_LAST_MASK) >> 2] = 0
}
