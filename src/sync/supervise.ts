// What a thread leaves behind for others to find, should it die: a few words of shared memory that only it writes.
//
//   words 0 .. 27   HELD[rank]: word index of the lock of that class it holds, or is about to take, or just gave back
//   word  28        POSTING: word index of the work item it is putting on a queue
//   word  29        ENDING: word index of the reference count that it is giving a reference back to, and, when that was
//                   the last one, until what others wait for is said
//
// Each word is written before the step it announces and cleared after the step that ends it, so at any moment of death
// it covers what is half done; being a hint, it is checked against the shared state before anything is repaired.
// memory/thread_record.ts gives every thread such a record; a thread without one works, and cannot be recovered.

export const RECORD_WORDS = 32
export const POSTING = 28
export const ENDING = 29

let record: Int32Array | undefined
let at = 0
let dead: ((m: Int32Array, owner: number) => boolean) | undefined

/** From now on this thread's record is m[i .. i + RECORD_WORDS). `isDead` says whether a thread is known to be dead. */
export function supervise(m: Int32Array, i: number, isDead: (m: Int32Array, owner: number) => boolean): void {
  record = m
  at = i
  dead = isDead
}

/** Announces (or, with 0, ends) a step on memory m. */
export const announce = (m: Int32Array, word: number, i: number): void => {
  if (record === m) m[at + word] = i
}

/** Is the thread that a lock word names known to be dead? */
export const isDead = (m: Int32Array, owner: number): boolean => dead?.(m, owner) ?? false
