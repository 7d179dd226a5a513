// The neigh hash entry (struct mlx5e_neigh_hash_entry): what encap/ knows of a next hop, and which entries go through it.
//
// Found by (family, address, device). It lives while an encap entry is registered on it, an event for it is queued, or a
// pass looks at it; it exists independently of the neighbour table's entry for the same next hop, which may come and go.
// Register first, read the neighbour afterwards (race 26): nheAttach is called before neighSnapshot, always.
//
//   found by   the notifier under RCU (nheLookup), find-or-create under neigh
//   removed    by the last put, under neigh, by identity: a new one for the same next hop may be in the table already
//              (race 11). The notifier may then meet the dead one first, so a lookup goes on until a take succeeds.

import type { Arena } from '../memory/arena.ts'
import { hashInsert, hashLookup, hashRemove } from '../memory/hash_table.ts'
import { first, insert, LINK_SIZE, next, remove } from '../memory/list.ts'
import { alloc, free, freeRcu, TAG_NHE } from '../memory/pool.ts'
import { addressAt, addressHash, readAddress, writeAddress } from '../net/inet.ts'
import { ENCAP_LIST } from '../sync/lock_order.ts'
import { lock, unlock } from '../sync/mutex.ts'
import * as Refcount from '../sync/refcount.ts'
import { initWork, WORK_WORDS } from '../sync/workqueue.ts'
import { ENTRY_NHE, ENTRY_NHE_LINK, ENTRY_REFCNT } from './encap_entry.ts'
import { lockNeighs, queueOf, ROOT_NEIGH_TABLE, ROOT_NHES, rootOf, unlockNeighs, WORK_NEIGH_UPDATE } from './root.ts'

/** One for each registered entry, one for a queued event, one for each pass. @atomic */
export const NHE_REFCNT = 0
/** AF_INET or AF_INET6. @constant */
export const NHE_FAMILY = 4
/** Device (address) that the next hop is on. @constant */
export const NHE_DEV = 8
/** @constant */
export const NHE_HASH = 12
/** Sixteen bytes. @constant */
export const NHE_ADDR = 16
/** Futex word of lock class encap_list. @atomic */
export const NHE_LOCK = 32
/** First registered entry, by ENTRY_NHE_LINK. @under encap_list */
export const NHE_ENCAPS = 36
/** Membership in ROOT_NHES. @under neigh */
export const NHE_LINK = 40
/** When the flows' counters last showed traffic, milliseconds + 1. @under encap_tbl */
export const NHE_REPORTED_LASTUSE = NHE_LINK + LINK_SIZE
/** NUD_* that the last neigh update saw, for people. @under encap_tbl */
export const NHE_STATE = NHE_REPORTED_LASTUSE + 4
/** The event: neigh update. sync/workqueue.ts. */
export const NHE_WORK = 64
export const NHE_SIZE = NHE_WORK + WORK_WORDS * 4

const lockList = (a: Arena, nhe: number): void => lock(a.m, (nhe + NHE_LOCK) >> 2, ENCAP_LIST)
const unlockList = (a: Arena, nhe: number): void => unlock(a.m, (nhe + NHE_LOCK) >> 2, ENCAP_LIST)

/** The live neigh hash entry of a next hop, taken; 0 without. An online RCU reader, or under neigh. */
export function nheLookup(a: Arena, family: number, address: Uint8Array, dev: number): number {
  const { m } = a
  return hashLookup(
    a,
    rootOf(a) + ROOT_NEIGH_TABLE,
    addressHash(address, family, dev) | 0,
    (p) =>
      m[(p + NHE_DEV) >> 2] === dev &&
      m[(p + NHE_FAMILY) >> 2] === family &&
      addressAt(a.u8, p + NHE_ADDR, address) &&
      Refcount.take(m, (p + NHE_REFCNT) >> 2),
  )
}

/** Registers entry `e` on the next hop: finds the neigh hash entry or makes it. The caller reads the neighbour afterwards. */
export function nheAttach(a: Arena, e: number, family: number, address: Uint8Array, dev: number): void {
  lockNeighs(a)
  try {
    const nhe = nheLookup(a, family, address, dev) || nheCreateLocked(a, family, address, dev)
    a.m[(e + ENTRY_NHE) >> 2] = nhe
    lockList(a, nhe)
    insert(a, nhe + NHE_ENCAPS, e, ENTRY_NHE_LINK)
    unlockList(a, nhe)
  } finally {
    unlockNeighs(a)
  }
}

function nheCreateLocked(a: Arena, family: number, address: Uint8Array, dev: number): number {
  const { m } = a
  const nhe = alloc(a, NHE_SIZE, TAG_NHE)
  const hash = addressHash(address, family, dev) | 0
  Refcount.init(m, (nhe + NHE_REFCNT) >> 2)
  m[(nhe + NHE_FAMILY) >> 2] = family
  m[(nhe + NHE_DEV) >> 2] = dev
  m[(nhe + NHE_HASH) >> 2] = hash
  writeAddress(a.u8, nhe + NHE_ADDR, address)
  initWork(m, (nhe + NHE_WORK) >> 2, queueOf(a), WORK_NEIGH_UPDATE, nhe)
  try {
    hashInsert(a, rootOf(a) + ROOT_NEIGH_TABLE, hash, nhe)
  } catch (e) {
    free(a, nhe, NHE_SIZE, TAG_NHE)
    throw e
  }
  insert(a, rootOf(a) + ROOT_NHES, nhe, NHE_LINK)
  return nhe
}

/** Takes an entry off its next hop and gives back the reference that it held. */
export function nheDetach(a: Arena, e: number): void {
  const nhe = a.m[(e + ENTRY_NHE) >> 2]
  if (nhe === 0) return
  lockList(a, nhe)
  remove(a, e, ENTRY_NHE_LINK)
  unlockList(a, nhe)
  a.m[(e + ENTRY_NHE) >> 2] = 0
  nhePut(a, nhe)
}

/** Gives a reference back; the last one takes neigh and removes it. */
export function nhePut(a: Arena, nhe: number): void {
  const { m } = a
  if (!Refcount.put(m, (nhe + NHE_REFCNT) >> 2)) return
  lockNeighs(a)
  hashRemove(a, rootOf(a) + ROOT_NEIGH_TABLE, m[(nhe + NHE_HASH) >> 2], nhe)
  remove(a, nhe, NHE_LINK)
  unlockNeighs(a)
  freeRcu(a, nhe, NHE_SIZE, TAG_NHE)
}

/** The entries of a next hop that are still alive, each taken: the pass puts them, holding no lock. */
export function takeEncaps(a: Arena, nhe: number): number[] {
  const taken: number[] = []
  lockList(a, nhe)
  for (let e = first(a, nhe + NHE_ENCAPS); e !== 0; e = next(a, e, ENTRY_NHE_LINK))
    if (Refcount.take(a.m, (e + ENTRY_REFCNT) >> 2)) taken.push(e)
  unlockList(a, nhe)
  return taken.reverse() // in order of registration
}

/** All next hops, each taken, in the order in which they came to be. */
export function takeNhes(a: Arena): number[] {
  const taken: number[] = []
  lockNeighs(a)
  for (let p = first(a, rootOf(a) + ROOT_NHES); p !== 0; p = next(a, p, NHE_LINK))
    if (Refcount.take(a.m, (p + NHE_REFCNT) >> 2)) taken.push(p)
  unlockNeighs(a)
  return taken.reverse()
}

export const nheAddress = (a: Arena, nhe: number): Uint8Array => readAddress(a.u8, nhe + NHE_ADDR, new Uint8Array(16))
