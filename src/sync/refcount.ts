// Reference counts, after the kernel's refcount_t: they never rise from zero, and a bug saturates them.
//
// An object is born with one reference, its maker's. Who holds one may `get` another. Who only found the object
// (in a table, under RCU) must `take`, which fails once the last holder is gone: zero is final, the object is being
// torn down. `put` says true to exactly one caller, and that caller tears down, in its own context.
//
//   init 1 ──get/take──> n ──put──> … ──put──> 0 (final)
//
// A count that would overflow, rise from zero by `get`, or fall below zero is a bug: it sticks at SATURATED, so the
// object leaks instead of being used after free, and `get` and `put` throw.
import { add, cas, load, store, sub } from './atomic.ts'

/** Far from both ends, so that even many racing adds do not leave the saturated range. refcount_t: REFCOUNT_SATURATED. */
export const SATURATED = -0x40000000
const MAX = 0x7fffffff

/** The maker's references; before the object is published. */
export const init = (m: Int32Array, i: number, n = 1): void => {
  m[i] = n
}

const saturate = (m: Int32Array, i: number, what: string): never => {
  store(m, i, SATURATED)
  throw new Error(`refcount at word ${i}: ${what}`)
}

/** One more, for a caller that already holds one. */
export function get(m: Int32Array, i: number): void {
  const old = add(m, i, 1)
  if (old <= 0 || old === MAX) saturate(m, i, old === 0 ? 'get from zero' : 'overflow')
}

/** One more, unless the last holder is gone: then false, and the caller must forget the object. */
export function take(m: Int32Array, i: number): boolean {
  for (;;) {
    const old = load(m, i)
    if (old === 0) return false
    if (old < 0) return true // saturated: never freed, so holding it is safe
    if (old === MAX) saturate(m, i, 'overflow')
    if (cas(m, i, old, old + 1)) return true
  }
}

/** One less. True: this was the last one, the caller tears the object down. */
export function put(m: Int32Array, i: number): boolean {
  const old = sub(m, i, 1)
  if (old === 1) return true
  if (old <= 0) saturate(m, i, 'put of a count that was already zero')
  return false
}

/**
 * Puts unless that would be the last one: then false, the count is unchanged and the caller takes the table's lock
 * before it puts for good (refcount_dec_not_one, the first half of refcount_dec_and_mutex_lock).
 */
export function putNotLast(m: Int32Array, i: number): boolean {
  for (;;) {
    const old = load(m, i)
    if (old < 0) return true
    if (old === 1) return false
    if (old === 0) saturate(m, i, 'put of a count that was already zero')
    if (cas(m, i, old, old - 1)) return true
  }
}
