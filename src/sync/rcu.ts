// RCU of the quiescent-state kind (liburcu's qsbr flavour): readers pay nothing, writers replace, wait and free.
//
// Memory, in words from `r`: GP, the number of readers admitted so far, then one cache line for each reader with the value of GP that
// it saw when it last held no pointer (0 = offline, dead, or no such reader).
//
//   reader:  online … (deref, use) quiescent (deref, use) quiescent … offline
//   writer:  unlink with publish;  s = stamp(m, r);  …  if (elapsed(m, r, s)) free
//
// A datapath worker says `quiescent` once for each burst, a control thread is online for one request. Between two
// quiescent states a reader may keep what it dereferenced. A thread that will sleep says `offline` first; for a thread
// that died, whoever noticed says it. So idle and dead readers never stall a grace period, and nobody ever waits for
// one: memory/pool.ts keeps what is to be freed and looks again later.
//
// The grace period for stamp s is over when every reader is offline or has seen GP >= s. Why that is enough: unlink,
// then GP := s, then the writer reads the reader's word. A reader that loaded s from GP did so after the unlink, at a
// point where it held nothing; a reader that was offline, or not yet admitted, comes online with a sequentially consistent
// store that is after the writer's load, so what it dereferences later cannot find the unlinked object.
//
// The assumption, stated once: `deref` is a plain load. ECMA-262 orders only atomics, but the pointer is published by an
// atomic store, the reader's next load goes through the pointer (an address dependency, kept by x86 and arm64), and V8
// and WebAssembly engines neither invent loads nor keep shared memory in registers across a call. Never spin on a plain
// read: it may be hoisted out of the loop; spinning is `load`.
import { add, cas, LINE, load, plainStep, store } from './atomic.ts'

const GP = 0
const READERS = 1
const reader = (r: number, i: number): number => r + LINE * (1 + i)

/** Words that `readers` readers need. */
export const size = (readers: number): number => LINE * (1 + readers)

/** Before any thread uses it: readers 0 .. n - 1 exist. */
export const init = (m: Int32Array, r: number, n: number): void => {
  m[r + GP] = 1
  m[r + READERS] = n
}

/** Reader i may come online from now on: writers look at it. */
export const admit = (m: Int32Array, r: number, i: number): void => {
  for (;;) {
    const n = load(m, r + READERS)
    if (n > i || cas(m, r + READERS, n, i + 1)) return
  }
}

/** Word index of the grace-period counter, for the datapath's own quiescent(). */
export const counterWord = (r: number): number => r + GP
/** Word index where reader i says what it saw. */
export const readerWord = (r: number, i: number): number => reader(r, i)

/** Reader i begins to use RCU pointers. */
export const online = (m: Int32Array, r: number, i: number): void => {
  store(m, reader(r, i), load(m, r + GP))
}

/** Reader i holds no pointer and will not take one: before sleeping, at its end, or said for it when it died. */
export const offline = (m: Int32Array, r: number, i: number): void => {
  store(m, reader(r, i), 0)
}

export const isOnline = (m: Int32Array, r: number, i: number): boolean => load(m, reader(r, i)) !== 0

/** Reader i holds no pointer at this moment. One load for each burst, and a store only when a grace period began. */
export const quiescent = (m: Int32Array, r: number, i: number): void => {
  const gp = load(m, r + GP)
  const w = reader(r, i)
  if (m[w] !== gp) store(m, w, gp) // ours alone to write: a plain read will do
}

/** Writer, after unlinking: the stamp for `elapsed`. Begins a grace period. Odd, so never 0, which means offline. */
export const stamp = (m: Int32Array, r: number): number => (add(m, r + GP, 2) + 2) | 0

/** May what was unlinked before `s` be freed? Looks, never waits. */
export const elapsed = (m: Int32Array, r: number, s: number): boolean => {
  const n = load(m, r + READERS)
  for (let i = 0; i < n; i++) {
    const seen = load(m, reader(r, i))
    if (seen !== 0 && ((seen - s) | 0) < 0) return false
  }
  return true
}

/** Reads an RCU pointer or flag: a plain load, valid until this reader's next quiescent state. */
export const deref = (m: Int32Array, i: number): number => {
  plainStep()
  return m[i]
}

/** Writes an RCU pointer: all that was written before is visible to who derefs it. */
export const publish = (m: Int32Array, i: number, p: number): void => {
  store(m, i, p)
}
