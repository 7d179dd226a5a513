// The RCU hash table: from a hash to the address of an object, for every thread to read without a lock.
//
// Open addressing with linear probing in one array of (object, hash) pairs. Readers follow HASH_ARRAY and probe with
// plain loads. Writers hold the lock that the table's owner chose. The array is replaced, never moved, when it fills: a
// reader in the old one sees the table as it was, and the old one is freed after a grace period.
//
// A removed pair becomes a tombstone, so that probes go on past it; an insert may use it again. The object of a pair is
// published last. A reader that catches a pair halfway (old object, new hash, or the other way) at worst passes over
// an object that was removed or inserted during its lookup; the object itself always decides, by `matches`.
//
// The struct is HASH_TABLE_SIZE bytes inside whatever owns it.
import { deref, publish } from '../sync/rcu.ts'
import type { Arena } from './arena.ts'
import { alloc, freeRcu, TAG_HASH } from './pool.ts'

/** The array: its number of pairs less one, then the pairs from ARRAY_PAIRS. @rcu */
const HASH_ARRAY = 0
/** Objects, and pairs that are not empty (objects and tombstones). Under the owner's lock. */
export const HASH_COUNT = 4
const HASH_USED = 8
export const HASH_TABLE_SIZE = 16

const ARRAY_MASK = 0
const ARRAY_PAIRS = 16
const TOMBSTONE = 1

const bytes = (pairs: number): number => ARRAY_PAIRS + pairs * 8

/** An empty table at address t, with room for about `expected` objects before it grows. */
export function hashInit(a: Arena, t: number, expected = 8): void {
  let pairs = 8
  while (pairs * 3 < expected * 4) pairs *= 2
  const array = alloc(a, bytes(pairs), TAG_HASH)
  a.m[(array + ARRAY_MASK) >> 2] = pairs - 1
  a.m[(t + HASH_COUNT) >> 2] = 0
  a.m[(t + HASH_USED) >> 2] = 0
  publish(a.m, (t + HASH_ARRAY) >> 2, array)
}

/** Frees the array; nobody may use the table any more, except readers that will still look in vain. */
export function hashDestroy(a: Arena, t: number): void {
  const array = a.m[(t + HASH_ARRAY) >> 2]
  publish(a.m, (t + HASH_ARRAY) >> 2, 0)
  if (array !== 0) freeRcu(a, array, bytes(a.m[(array + ARRAY_MASK) >> 2] + 1), TAG_HASH)
}

/** Spreads a hash whose low bits may be poor (Fibonacci hashing). */
const spread = (hash: number): number => {
  const h = Math.imul(hash, 0x9e3779b1)
  return h ^ (h >>> 15)
}

/** The first object with this hash that `matches`, or 0. Under RCU or the owner's lock. */
export function hashLookup(a: Arena, t: number, hash: number, matches: (p: number) => boolean): number {
  const { m } = a
  const array = deref(m, (t + HASH_ARRAY) >> 2)
  if (array === 0) return 0
  const mask = m[(array + ARRAY_MASK) >> 2]
  const h = hash | 0
  for (let i = spread(h) & mask; ; i = (i + 1) & mask) {
    const w = ((array + ARRAY_PAIRS) >> 2) + 2 * i
    const p = deref(m, w)
    if (p === 0) return 0
    if (p !== TOMBSTONE && m[w + 1] === h && matches(p)) return p
  }
}

/** Adds an object; does not look whether it is there already. Owner's lock. Throws MemoryError. */
export function hashInsert(a: Arena, t: number, hash: number, p: number): void {
  const { m } = a
  const h = hash | 0
  let array = m[(t + HASH_ARRAY) >> 2]
  if ((m[(t + HASH_USED) >> 2] + 1) * 4 > (m[(array + ARRAY_MASK) >> 2] + 1) * 3) array = rebuild(a, t)
  const mask = m[(array + ARRAY_MASK) >> 2]
  for (let i = spread(h) & mask; ; i = (i + 1) & mask) {
    const w = ((array + ARRAY_PAIRS) >> 2) + 2 * i
    if (m[w] !== 0 && m[w] !== TOMBSTONE) continue
    if (m[w] === 0) m[(t + HASH_USED) >> 2]++
    m[(t + HASH_COUNT) >> 2]++
    m[w + 1] = h
    publish(m, w, p)
    return
  }
}

/** Removes an object; says whether it was there. Owner's lock. Free it with freeRcu. */
export function hashRemove(a: Arena, t: number, hash: number, p: number): boolean {
  const { m } = a
  const array = m[(t + HASH_ARRAY) >> 2]
  const mask = m[(array + ARRAY_MASK) >> 2]
  for (let i = spread(hash) & mask; ; i = (i + 1) & mask) {
    const w = ((array + ARRAY_PAIRS) >> 2) + 2 * i
    if (m[w] === 0) return false
    if (m[w] !== p) continue
    publish(m, w, TOMBSTONE)
    m[(t + HASH_COUNT) >> 2]--
    return true
  }
}

/** A new array without tombstones, for half as many objects again and more; publishes it and returns it. */
function rebuild(a: Arena, t: number): number {
  const { m } = a
  const old = m[(t + HASH_ARRAY) >> 2]
  const oldPairs = m[(old + ARRAY_MASK) >> 2] + 1
  const count = m[(t + HASH_COUNT) >> 2]
  let pairs = 8
  while (pairs < count * 2 + 2) pairs *= 2
  const array = alloc(a, bytes(pairs), TAG_HASH)
  m[(array + ARRAY_MASK) >> 2] = pairs - 1
  for (let i = 0; i < oldPairs; i++) {
    const w = ((old + ARRAY_PAIRS) >> 2) + 2 * i
    if (m[w] === 0 || m[w] === TOMBSTONE) continue
    let k = spread(m[w + 1]) & (pairs - 1)
    while (m[((array + ARRAY_PAIRS) >> 2) + 2 * k] !== 0) k = (k + 1) & (pairs - 1)
    m[((array + ARRAY_PAIRS) >> 2) + 2 * k] = m[w]
    m[((array + ARRAY_PAIRS) >> 2) + 2 * k + 1] = m[w + 1]
  }
  m[(t + HASH_USED) >> 2] = count
  publish(m, (t + HASH_ARRAY) >> 2, array)
  freeRcu(a, old, bytes(oldPairs), TAG_HASH)
  return array
}

/** Calls f with every object. Under RCU or the owner's lock; f may remove. What changes meanwhile may be missed. */
export function hashEach(a: Arena, t: number, f: (p: number) => void): void {
  const { m } = a
  const array = deref(m, (t + HASH_ARRAY) >> 2)
  if (array === 0) return
  const pairs = m[(array + ARRAY_MASK) >> 2] + 1
  for (let i = 0; i < pairs; i++) {
    const p = deref(m, ((array + ARRAY_PAIRS) >> 2) + 2 * i)
    if (p !== 0 && p !== TOMBSTONE) f(p)
  }
}

/** How many objects. */
export const hashCount = (a: Arena, t: number): number => a.m[(t + HASH_COUNT) >> 2]
