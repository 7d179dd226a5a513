// The words by which the explorer and its threads hand the turn to each other, and the record of a run.
//
// One thread runs at a time, or the explorer does. A thread hands over by writing its state, and ringing SEQ; the
// explorer hands over by giving a budget of steps and ringing the thread's TURN. So everything here except the two bells
// is written by whoever has the turn.

/** Threads of a scenario, the supervisor included. */
export const THREADS_MAX = 8

export const SEQ = 0
/** Steps of this run so far: entries of LOG. */
export const STEPS = 1
/** More steps than this are taken for a loop without end. */
export const STEPS_MAX = 2
// One word for each thread:
export const TURN = 8
export const STATE = 16
/** Steps it may make before it hands over. */
export const BUDGET = 24
/** Word index it sleeps on. */
export const SLEEPS_ON = 32
/** KILL_DIE: it dies now; KILL_ABORT: the schedule is over; KILL_QUIT: the scenario is. */
export const KILL = 40
/** `self` of sync/thread.ts. */
export const SELF = 48
/** Bytes of what went wrong, in TEXT. */
export const TEXT_LENGTH = 56
/** Who died, for the supervisor. */
export const DEAD_SELF = 64
/** 1 while it sleeps with a limit; 2 when its time ran out. */
export const TIMED = 72
export const CONTROL_WORDS = 128

export const TEXT_BYTES = 2048
export const LOG_WORDS = 1 << 16

/** Waiting for a run (or for the next scenario). */
export const IDLE = 1
/** Before a step. */
export const READY = 2
/** Sleeps on a futex word. */
export const ASLEEP = 3
export const DONE = 4
export const DEAD = 5
/** Ended by an error, its text beside it. */
export const FAILED = 6

export const KILL_DIE = 1
export const KILL_ABORT = 2
export const KILL_QUIT = 3

/** A step in the log: its thread, whether that died instead of making it, and who else could have made a step. */
export const logEntry = (thread: number, died: boolean, ready: number): number => thread | (died ? 8 : 0) | (ready << 4)
export const logThread = (e: number): number => e & 7
export const logDied = (e: number): boolean => (e & 8) !== 0
export const logReady = (e: number): number => e >>> 4

/** The threads that can make a step now. */
export function readyMask(ctl: Int32Array): number {
  let mask = 0
  for (let t = 0; t < THREADS_MAX; t++) if (ctl[STATE + t] === READY) mask |= 1 << t
  return mask
}

/** What a thread is sent for each scenario. */
export interface Job {
  readonly url: string
  readonly name: string
  readonly thread: number
  readonly ctl: Int32Array
  readonly log: Int32Array
  readonly text: Uint8Array
  readonly memory: WebAssembly.Memory
}
