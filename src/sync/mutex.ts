// The mutex: a futex word that knows its owner, taken in lock order.
//
//   0                 free
//   owner             held, nobody waits
//   owner | WAITERS   held, somebody may sleep on the word
//
// After Drepper's "Futexes Are Tricky" (mutex 2) and the kernel's robust futexes: an uncontended lock and unlock are one
// atomic operation each. Who slept takes the lock with WAITERS set, because others may still sleep; a needless wake-up
// is the price of never missing one.
//
// What a thread holds is kept twice. In its own memory, a bit for each lock class: taking a lock when one of the same
// or a lower class is held throws at once, on every run. And in its supervision record (supervise.ts), the word of the
// lock, written before the lock is taken and cleared after it is given back: a thread that dies at any point leaves the
// words of all its locks there. The lock is the dead thread's only if its owner field says so; recoverLock() then frees
// it. What the lock protects must be consistent, or be repaired, before that: memory/threads.ts is the place.
import { cas, exchange, explored, load, wait, wake } from './atomic.ts'
import { type LockClass, lockClasses } from './lock_order.ts'
import { announce, isDead, RECORD_WORDS } from './supervise.ts'
import { self } from './thread.ts'

const WAITERS = 0x40000000
/** A waiter asks this often whether the owner has died. */
const SLICE_MS = 1000

let heldMask = 0
const heldWord = new Int32Array(RECORD_WORDS)

/** Names of what this thread holds, outermost first. */
export function held(): string {
  const names: string[] = []
  for (const c of lockClasses) if ((heldMask & (1 << c.rank)) !== 0) names.push(c.name)
  return names.join(' > ')
}

const outOfOrder = (c: LockClass): never => {
  throw new Error(`lock order: ${c.name} taken under ${held()}`)
}

/** Takes the lock, sleeping while another thread holds it. Throws when the order forbids it. */
export function lock(m: Int32Array, i: number, c: LockClass): void {
  if (heldMask >>> c.rank !== 0) outOfOrder(c)
  announce(m, c.rank, i)
  if (!cas(m, i, 0, self)) slowLock(m, i, c)
  heldMask |= 1 << c.rank
  heldWord[c.rank] = i
}

/** Looks at a lock that is held before sleeping on it: most are held for less time than a sleep and a wake-up take. */
const LOOKS = 100

function slowLock(m: Int32Array, i: number, c: LockClass): void {
  if (!explored()) for (let n = 0; n < LOOKS; n++) if (load(m, i) === 0 && cas(m, i, 0, self)) return
  let dead = 0
  for (;;) {
    const v = load(m, i)
    if (v === 0) {
      if (cas(m, i, 0, self | WAITERS)) return
    } else if ((v & WAITERS) !== 0 || cas(m, i, v, v | WAITERS)) {
      if (wait(m, i, v | WAITERS, SLICE_MS)) continue
      const owner = v & ~WAITERS
      if (!isDead(m, owner) || load(m, i) !== (v | WAITERS)) continue
      if (++dead === 10) throw new Error(`${c.name} lock at word ${i}: its owner, thread ${owner - 1}, died`)
    }
  }
}

/** Takes the lock if it is free and the order allows it; never sleeps. */
export function tryLock(m: Int32Array, i: number, c: LockClass): boolean {
  if (heldMask >>> c.rank !== 0) outOfOrder(c)
  announce(m, c.rank, i)
  if (!cas(m, i, 0, self)) {
    announce(m, c.rank, 0)
    return false
  }
  heldMask |= 1 << c.rank
  heldWord[c.rank] = i
  return true
}

/** Gives the lock back. Throws when this thread does not hold it. */
export function unlock(m: Int32Array, i: number, c: LockClass): void {
  if ((heldMask & (1 << c.rank)) === 0 || heldWord[c.rank] !== i) throw new Error(`unlock of ${c.name}, not held`)
  heldMask &= ~(1 << c.rank)
  if ((exchange(m, i, 0) & WAITERS) !== 0) wake(m, i, 1)
  announce(m, c.rank, 0)
}

/** First line of every function whose name ends in Locked. */
export function assertHeld(c: LockClass): void {
  if ((heldMask & (1 << c.rank)) === 0) throw new Error(`${c.name} not held`)
}

export const isHeld = (c: LockClass): boolean => (heldMask & (1 << c.rank)) !== 0

/** First line of what must hold nothing: a wait for another thread, a request's end. */
export function assertNoneHeld(): void {
  if (heldMask !== 0) throw new Error(`${held()} still held`)
}

/** The thread in lock words that holds the lock, 0 when free. */
export const ownerOf = (m: Int32Array, i: number): number => load(m, i) & ~WAITERS

/**
 * Frees the lock if `owner`, a dead thread, holds it; says whether it did. Wakes all waiters in any case: the dead thread
 * may have been woken for a lock that it did not live to take, and that wake-up was meant for one of them.
 */
export function recoverLock(m: Int32Array, i: number, owner: number): boolean {
  for (;;) {
    const v = load(m, i)
    const held = (v & ~WAITERS) === owner
    if (!held || cas(m, i, v, 0)) {
      wake(m, i)
      return held
    }
  }
}

/** Explorer only: this thread's run was cut short; forget what it held. The shared words stay as they are. */
export const forgetHeld = (): void => {
  heldMask = 0
}
