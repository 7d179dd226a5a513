// The pool: objects of any size in the arena, for every thread, at the price of a few array accesses.
//
//   alloc    from the thread's magazine; when that is empty: deferred frees that are due, else a batch (magazine.ts)
//   free     to the thread's magazine: nobody else can reach the object
//   freeRcu  when every reader that may see it has passed a quiescent state (deferred.ts)
//
// An object comes zero-filled. It is aligned to a cache line when it is as large as one, else to its size class (16 or
// 32). `free` names the size it was allocated with, and its tag: what it is for, counted for the leak report. Frees do
// not have to come from the thread that allocated.
import { load } from '../sync/atomic.ts'
import type { Arena } from './arena.ts'
import { deferFree, reclaimElapsed } from './deferred.ts'
import { giveObject, isEmpty, takeObject, unmark } from './magazine.ts'
import { MemoryError } from './memory_error.ts'
import * as Class from './size_class.ts'
import { TAG_NONE, tagNames } from './tags.ts'
import * as Thread from './thread_record.ts'

export { reclaim } from './deferred.ts'
export { MemoryError } from './memory_error.ts'
export * from './tags.ts'

function count(a: Arena, c: number, tag: number, by: number): void {
  a.m[((a.thread + Thread.THREAD_USED) >> 2) + c] += by
  a.m[((a.thread + Thread.THREAD_TAGS) >> 2) + tag] += by
}

/** Takes an object of class c: its content beyond what `unmark` cleared is zero only when that says so. */
export function takeCounted(a: Arena, c: number, tag: number): number {
  if (isEmpty(a, c)) reclaimElapsed(a)
  const p = takeObject(a, c)
  count(a, c, tag, 1)
  return p
}

/** The opposite, after a grace period. */
export function deferCounted(a: Arena, c: number, p: number, tag: number): void {
  count(a, c, tag, -1)
  deferFree(a, c, p)
}

function classFor(size: number): number {
  const c = size > 0 ? Class.classOf(size) : Class.CLASSES
  if (c === Class.CLASSES) throw new MemoryError(`no object has ${size} bytes`)
  return c
}

/** Loop or fill: the call to fill costs as much as clearing this many words one by one. */
const FILL_WORDS = 64

/** A zero-filled object. Throws MemoryError when the arena is full. */
export function alloc(a: Arena, size: number, tag = TAG_NONE): number {
  const p = takeCounted(a, classFor(size), tag)
  if (!unmark(a, p)) {
    const { m } = a
    const w = p >> 2
    const end = w + ((size + 3) >> 2)
    if (end - w > FILL_WORDS) m.fill(0, w, end)
    else for (let i = w + 3; i < end; i++) m[i] = 0
  }
  return p
}

/** Frees an object that nobody else can reach. */
export function free(a: Arena, p: number, size: number, tag = TAG_NONE): void {
  const c = classFor(size)
  giveObject(a, c, p)
  count(a, c, tag, -1)
}

/** Frees an unlinked object that readers may still see, after a grace period. Returns at once. */
export function freeRcu(a: Arena, p: number, size: number, tag = TAG_NONE): void {
  deferCounted(a, classFor(size), p, tag)
}

/**
 * The leak report: what was allocated and not freed, by tag and by size; freed objects that still wait for a grace
 * period stand under `deferred`. Empty when nothing is in use. Exact only while no other thread allocates or frees.
 */
export function inUse(a: Arena): Record<string, number> {
  const { m } = a
  const sum = (field: number, i: number): number => {
    let n = 0
    for (let slot = 0; slot < Thread.recordCount(a); slot++) {
      n = (n + load(m, ((Thread.recordAt(a, slot) + field) >> 2) + i)) | 0
    }
    return n
  }
  const report: Record<string, number> = {}
  const tell = (name: string, n: number): void => {
    if (n !== 0) report[name] = n
  }
  for (let tag = 0; tag < Thread.TAG_MAX; tag++) tell(tagNames[tag] ?? `tag ${tag}`, sum(Thread.THREAD_TAGS, tag))
  for (let c = 0; c < Class.SIZE_CLASSES; c++) tell(`${Class.classSize[c]} bytes`, sum(Thread.THREAD_USED, c))
  tell('deferred', sum(Thread.THREAD_DEFERRED, 0))
  return report
}
