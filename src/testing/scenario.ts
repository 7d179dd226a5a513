// A scenario: what a model file exports for the explorer.
//
// Threads are real threads; each runs its function once per schedule on the same shared memory. What happens between two
// atomic operations (sync/atomic.ts, or deref of sync/rcu.ts) is one step. Keep a scenario to 2 or 3 threads of 3 to 30
// steps: the number of schedules grows with the steps to the power of the preemptions.
//
// A model should have a twin that is broken in the one way the protocol guards against: if the explorer does not catch
// the twin, the model proves nothing. By custom the twin is the export `bad…`, the model `good…`.

/** C: what a thread works on, made by `enter`. */
export interface Scenario<C = Int32Array> {
  /** Words of shared memory; whole pages of 64 KiB are given. */
  readonly words: number
  /** Prepares the memory, once: every schedule starts from a copy of it. Not explored. */
  setup?(m: Int32Array, memory: WebAssembly.Memory): void
  /** On each thread, once, before the first schedule: attaches. Not explored. Without it a thread gets the words. */
  enter?(memory: WebAssembly.Memory): C
  /** The bound it needs, when that is not the usual 2: some twins need three switches at the worst moments. */
  readonly preemptions?: number
  readonly threads: readonly ((c: C) => void)[]
  /** Waits with a limit end when no thread can make a step: for protocols whose waiters look around now and then. */
  readonly timeouts?: boolean
  /** The threads that may be killed; all when it is left out. */
  readonly mortal?: readonly number[]
  /** A thread of its own that runs after another was killed: `who` is the dead thread's `self`. */
  supervisor?(c: C, who: number): void
  /** After each schedule: what is wrong, if anything. Not explored; attach here if need be. */
  check(m: Int32Array, memory: WebAssembly.Memory): string | undefined
}
