// The ring: words from one thread to one other, in order (packets between workers and host).
//
//   +------------------+------------------+------------------+----------+
//   | size, mask       | producer's line  | consumer's line  | words …  |
//   +------------------+------------------+------------------+----------+
//
// The producer alone writes HEAD (words ever pushed), the consumer alone TAIL (words ever popped); both run freely
// through 2^32. Each keeps in its own line what it last saw of the other's index and looks again only when that is
// not enough, so a burst costs one atomic load and one atomic store. The words travel as plain stores between those.
import { load, store } from '../sync/atomic.ts'
import type { Arena } from './arena.ts'
import { alloc, free, TAG_RING } from './pool.ts'

const MASK = 0
const HEAD = 64
const SEEN_TAIL = 68
const TAIL = 128
const SEEN_HEAD = 132
const WORDS = 192

const bytes = (capacity: number): number => WORDS + capacity * 4

/** A ring for `capacity` words, rounded up to a power of two. */
export function ringCreate(a: Arena, capacity: number): number {
  const n = 2 ** Math.ceil(Math.log2(Math.max(2, capacity)))
  const r = alloc(a, bytes(n), TAG_RING)
  a.m[(r + MASK) >> 2] = n - 1
  return r
}

/** Both threads are done with it. */
export const ringDestroy = (a: Arena, r: number): void => free(a, r, bytes(a.m[(r + MASK) >> 2] + 1), TAG_RING)

/** Producer: pushes the first n words of `from` (from index `at`) as far as there is room; returns how many. */
export function ringPush(a: Arena, r: number, from: Int32Array, at: number, n: number): number {
  const { m } = a
  const mask = m[(r + MASK) >> 2]
  const head = m[(r + HEAD) >> 2]
  let room = mask + 1 - ((head - m[(r + SEEN_TAIL) >> 2]) | 0)
  if (room < n) {
    m[(r + SEEN_TAIL) >> 2] = load(m, (r + TAIL) >> 2)
    room = mask + 1 - ((head - m[(r + SEEN_TAIL) >> 2]) | 0)
  }
  const k = Math.min(n, room)
  if (k === 0) return 0
  const w = (r + WORDS) >> 2
  for (let i = 0; i < k; i++) m[w + ((head + i) & mask)] = from[at + i]
  store(m, (r + HEAD) >> 2, (head + k) | 0)
  return k
}

/** Consumer: pops at most `max` words into `into` (from index `at`); returns how many. */
export function ringPop(a: Arena, r: number, into: Int32Array, at: number, max: number): number {
  const k = ringPeek(a, r, into, at, max)
  if (k > 0) ringAdvance(a, r, k)
  return k
}

/** Consumer: as ringPop, but the words stay in the ring: the producer sees that they are not done with. */
export function ringPeek(a: Arena, r: number, into: Int32Array, at: number, max: number): number {
  const { m } = a
  const mask = m[(r + MASK) >> 2]
  const tail = m[(r + TAIL) >> 2]
  let ready = (m[(r + SEEN_HEAD) >> 2] - tail) | 0
  if (ready < max) {
    m[(r + SEEN_HEAD) >> 2] = load(m, (r + HEAD) >> 2)
    ready = (m[(r + SEEN_HEAD) >> 2] - tail) | 0
  }
  const k = Math.min(max, ready)
  const w = (r + WORDS) >> 2
  for (let i = 0; i < k; i++) into[at + i] = m[w + ((tail + i) & mask)]
  return k
}

/** Consumer: n words that were peeked at are done with. */
export const ringAdvance = (a: Arena, r: number, n: number): void =>
  store(a.m, (r + TAIL) >> 2, (a.m[(r + TAIL) >> 2] + n) | 0)

/** Words in the ring, as anybody sees it at this moment. */
export const ringCount = (a: Arena, r: number): number => (load(a.m, (r + HEAD) >> 2) - load(a.m, (r + TAIL) >> 2)) | 0
