// What replay and its datapath threads say to each other: two rings of words for each thread, and a word to wake it.
//
//   replay ──▶ in    a packet's address: receive it (its PKT_DEV and PKT_TIME say where and when)
//                    the address of a free slot + FREE: keep it
//                    STOP: end
//   replay ◀── out   four words an emission, as in a worker's list; or KIND_DONE: so many packets were received
//                    or KIND_SLOT: a slot that the thread has too many of
//
// Every side pushes and pops whole messages: the capacities are multiples of their length. A bell is a futex word that
// its owner sleeps on; who has pushed adds one and wakes it. Slot addresses are multiples of 64, so the low bit is free.

export interface WorkerData {
  readonly memory: WebAssembly.Memory
  /** Number of the datapath worker, from 1. */
  readonly worker: number
  /** Addresses of the rings. */
  readonly in: number
  readonly out: number
  /** Word indices: this thread's bell, replay's, and this thread's state. */
  readonly bell: number
  readonly mainBell: number
  readonly state: number
}

export const FREE = 1
export const STOP = -1

/** In the place of an emission's kind, with the count or the slot in its first word. */
export const KIND_DONE = -1
export const KIND_SLOT = -2
/** Words of a message out. */
export const OUT_WORDS = 4

export const STATE_RUNS = 0
export const STATE_ENDED = 1
export const STATE_FAILED = 2

/** Slots beyond its share that a thread keeps before it gives some away. */
export const SURPLUS = 256
/** How many it gives away at a time. */
export const GIVEN = 128
