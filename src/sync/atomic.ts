// The atomic operations of the project: the only file that says `Atomics`.
//
// Every function takes a view of shared memory and a WORD index (byte address >> 2). Each call costs about
// 10 ns in V8, against under 1 ns for a plain access, so the datapath may make one per burst, none per packet.
// ECMA-262 makes these operations sequentially consistent among themselves; a program whose every race goes
// through them behaves as some interleaving of them, and that is what testing/explore.ts enumerates: it installs
// a hook here and then lets one thread at a time make one operation.

/** What the interleaving explorer does at each operation instead of just letting it happen. */
export interface Hook {
  /** Called before every operation; returns when it is this thread's turn. */
  step(): void
  /** Takes the place of a futex wait; returns when woken, or at once when the word differs; false when time ran out. */
  wait(m: Int32Array, i: number, value: number, ms: number): boolean
  /** Takes the place of a futex wake. */
  wake(m: Int32Array, i: number, count: number): number
}

let hook: Hook | undefined

/** Explorer only: install or remove the hook of this thread. */
export const onAtomic = (h: Hook | undefined): void => {
  hook = h
}

/** Is this thread run by the explorer? */
export const explored = (): boolean => hook !== undefined

/** A step that reads shared memory plainly: nothing in production, a turn under the explorer. See rcu.ts deref. */
export const plainStep = (): void => {
  if (hook !== undefined) hook.step()
}

export const load = (m: Int32Array, i: number): number => {
  if (hook !== undefined) hook.step()
  return Atomics.load(m, i)
}

export const store = (m: Int32Array, i: number, v: number): void => {
  if (hook !== undefined) hook.step()
  Atomics.store(m, i, v)
}

/** Adds, returns the value before. */
export const add = (m: Int32Array, i: number, v: number): number => {
  if (hook !== undefined) hook.step()
  return Atomics.add(m, i, v)
}

/** Subtracts, returns the value before. */
export const sub = (m: Int32Array, i: number, v: number): number => {
  if (hook !== undefined) hook.step()
  return Atomics.sub(m, i, v)
}

/** Sets bits, returns the value before: test_and_set is `(or(m, i, BIT) & BIT) !== 0`. */
export const or = (m: Int32Array, i: number, bits: number): number => {
  if (hook !== undefined) hook.step()
  return Atomics.or(m, i, bits)
}

/** Keeps only these bits, returns the value before. */
export const and = (m: Int32Array, i: number, bits: number): number => {
  if (hook !== undefined) hook.step()
  return Atomics.and(m, i, bits)
}

export const exchange = (m: Int32Array, i: number, v: number): number => {
  if (hook !== undefined) hook.step()
  return Atomics.exchange(m, i, v)
}

/** Compare and set: true when the word was `old` and is now `v`. */
export const cas = (m: Int32Array, i: number, old: number, v: number): boolean => {
  if (hook !== undefined) hook.step()
  return Atomics.compareExchange(m, i, old, v) === old
}

/**
 * Sleeps while the word is `value`, until a wake, at most `ms` milliseconds. False when the time ran out.
 * The explorer knows no time: there a wait lasts until a wake, so that a lost wake-up is a deadlock it reports (or, in a
 * scenario that allows it, until nobody else can make a step).
 */
export const wait = (m: Int32Array, i: number, value: number, ms = Number.POSITIVE_INFINITY): boolean => {
  if (hook !== undefined) return hook.wait(m, i, value, ms)
  return Atomics.wait(m, i, value, ms) !== 'timed-out'
}

/** Wakes at most `count` sleepers on the word; returns how many. */
export const wake = (m: Int32Array, i: number, count = Number.POSITIVE_INFINITY): number => {
  if (hook !== undefined) return hook.wake(m, i, count)
  return Atomics.notify(m, i, count)
}

/** Words in a cache line: two threads that write should not share one. */
export const LINE = 16
