// Magazines and shared lists: free objects by size class, without a word about what they are for.
//
// Two levels, after Bonwick's magazines. Each thread keeps a magazine of free objects for each size class in its record
// (thread_record.ts) and in the common case touches nothing else. An empty or full magazine trades half of itself, a
// batch, with the shared list of the class, under its lock; when that has none, fresh objects are cut from the arena.
//
// A free object carries its state in its first three words: next object of its batch, next batch, and a mark made of
// its address. The mark catches a second free, and a write to freed memory when the object is given out again: both
// throw. A fresh object's mark differs, because it is known to be zero and need not be cleared.
//
// A thread that dies leaves a whole record; threads.ts gives its magazines back. One that dies in the middle of a trade
// leaks at most that batch and breaks nothing: a batch joins or leaves the shared list by one store.
import { store } from '../sync/atomic.ts'
import { POOL } from '../sync/lock_order.ts'
import { lock, unlock } from '../sync/mutex.ts'
import { type Arena, reserve } from './arena.ts'
import * as Super from './layout/super.ts'
import { COUNTER_SIZE, WORKER_COUNTERS } from './layout/worker.ts'
import { MemoryError } from './memory_error.ts'
import * as Class from './size_class.ts'
import { MAGAZINE_OBJECTS, MAGAZINE_SIZE, THREAD_MAGAZINES } from './thread_record.ts'

const NEXT = 0
const NEXT_BATCH = 1
const MARK = 2
const FREED = 0x5eedf4ee
const FRESH = 0x0f4e5b1e

/** Fresh objects are cut from a piece of the arena this large, or one object if that is larger. */
const PIECE = 65536

const magazineOf = (record: number, c: number): number => (record + THREAD_MAGAZINES + c * MAGAZINE_SIZE) >> 2
const listOf = (a: Arena, c: number): number => a.m[Super.SUPER_POOLS >> 2] + Class.POOL_FIRST + c * Class.POOL_SIZE

/** Does this thread's magazine of class c hold none? */
export const isEmpty = (a: Arena, c: number): boolean => a.m[magazineOf(a.thread, c)] === 0

/** Takes an object of class c; its content is `fresh` zeros, or rests with the first three words overwritten. */
export function takeObject(a: Arena, c: number): number {
  const { m } = a
  const mag = magazineOf(a.thread, c)
  if (m[mag] === 0) refill(a, c, mag)
  const n = m[mag] - 1
  const p = m[mag + (MAGAZINE_OBJECTS >> 2) + n]
  m[mag] = n
  return p
}

/** Checks and removes the mark; says whether the object beyond its first three words is known to be zero. */
export function unmark(a: Arena, p: number): boolean {
  const { m } = a
  const w = p >> 2
  const mark = m[w + MARK] ^ p
  m[w + NEXT] = 0
  m[w + NEXT_BATCH] = 0
  m[w + MARK] = 0
  if (mark !== FREED && mark !== FRESH) throw new Error(`object at ${p} was written to after it was freed`)
  return mark === FRESH
}

/** Gives back an object of class c that nobody can reach. */
export function giveObject(a: Arena, c: number, p: number): void {
  const { m } = a
  const w = p >> 2
  const mark = FREED ^ p
  if (m[w + MARK] === mark) throw new Error(`object at ${p} is freed twice`)
  m[w + MARK] = mark
  const mag = magazineOf(a.thread, c)
  if (m[mag] === Class.magazineMax[c]) spill(a, c, mag, Class.batchSize[c])
  const n = m[mag]
  m[mag + (MAGAZINE_OBJECTS >> 2) + n] = p
  m[mag] = n + 1
}

/** Gives the magazines of a record back to the shared lists: the thread leaves, or has died. */
export function emptyMagazines(a: Arena, record: number): void {
  for (let c = 0; c < Class.CLASSES; c++) {
    const mag = magazineOf(record, c)
    if (a.m[mag] > 0) spill(a, c, mag, a.m[mag])
  }
}

/** Moves the top n objects of a magazine, as one batch, to the shared list. */
function spill(a: Arena, c: number, mag: number, n: number): void {
  const { m } = a
  let batch = 0
  const top = mag + (MAGAZINE_OBJECTS >> 2) + m[mag]
  for (let i = 1; i <= n; i++) {
    const p = m[top - i]
    m[(p >> 2) + NEXT] = batch
    batch = p
  }
  m[mag] -= n
  const l = listOf(a, c) >> 2
  lock(m, l + (Class.POOL_LOCK >> 2), POOL)
  m[(batch >> 2) + NEXT_BATCH] = m[l + (Class.POOL_BATCHES >> 2)]
  m[l + (Class.POOL_BATCHES >> 2)] = batch
  unlock(m, l + (Class.POOL_LOCK >> 2), POOL)
}

/** Fills an empty magazine with a batch. Throws MemoryError when the arena is full. */
function refill(a: Arena, c: number, mag: number): void {
  const { m } = a
  const l = listOf(a, c) >> 2
  const at = mag + (MAGAZINE_OBJECTS >> 2)
  lock(m, l + (Class.POOL_LOCK >> 2), POOL)
  const batch = m[l + (Class.POOL_BATCHES >> 2)]
  if (batch !== 0) m[l + (Class.POOL_BATCHES >> 2)] = m[(batch >> 2) + NEXT_BATCH]
  let n = 0
  try {
    if (batch === 0) n = cut(a, c, l, at)
  } finally {
    unlock(m, l + (Class.POOL_LOCK >> 2), POOL)
  }
  for (let p = batch; p !== 0; p = m[(p >> 2) + NEXT]) m[at + n++] = p
  m[mag] = n
}

/** Cuts up to a batch of fresh objects from the class's piece of the arena; the lowest address is taken first. */
function cut(a: Arena, c: number, l: number, at: number): number {
  const { m } = a
  const size = c === Class.COUNTER_CLASS ? COUNTER_SIZE : Class.classSize[c]
  let fresh = m[l + (Class.POOL_FRESH >> 2)]
  if (fresh >= m[l + (Class.POOL_FRESH_END >> 2)]) {
    const piece = c === Class.COUNTER_CLASS ? counterPiece(a) : memoryPiece(a, size)
    fresh = piece.at
    store(m, l + (Class.POOL_FRESH_END >> 2), 0) // nothing is fresh between these: who dies here loses a piece
    store(m, l + (Class.POOL_FRESH >> 2), fresh)
    store(m, l + (Class.POOL_FRESH_END >> 2), piece.end)
  }
  const n = Math.min(Class.batchSize[c], (m[l + (Class.POOL_FRESH_END >> 2)] - fresh) / size)
  m[l + (Class.POOL_FRESH >> 2)] = fresh + n * size
  for (let i = 0; i < n; i++) {
    const p = fresh + i * size
    m[(p >> 2) + MARK] = FRESH ^ p
    m[at + n - 1 - i] = p
  }
  return n
}

interface Piece {
  readonly at: number
  readonly end: number
}

/** Address space is the scarce thing: a nearly full arena is cut object by object. */
function memoryPiece(a: Arena, size: number): Piece {
  const whole = size * Math.max(1, Math.floor(PIECE / size))
  const room = a.m[Super.SUPER_BYTES >> 2] - a.m[Super.SUPER_BRK >> 2]
  const bytes = room < PIECE * 16 ? size : whole
  const at = reserve(a, bytes, size >= 64 ? 64 : size)
  return { at, end: at + bytes }
}

/** Counter ids are objects too: an id's place in the first worker's shard. The region was reserved with the arena. */
function counterPiece(a: Arena): Piece {
  const { m } = a
  const shard = m[(m[Super.SUPER_WORKER >> 2] + WORKER_COUNTERS) >> 2]
  const next = m[Super.SUPER_COUNTER_NEXT >> 2]
  const end = Math.min(next + PIECE / COUNTER_SIZE, m[Super.SUPER_COUNTER_MAX >> 2])
  if (next >= end) throw new MemoryError(`all ${end - 1} counters are taken`)
  m[Super.SUPER_COUNTER_NEXT >> 2] = end
  return { at: shard + next * COUNTER_SIZE, end: shard + end * COUNTER_SIZE }
}
