// What a datapath thread is started with, and what it shares with the switch thread: a seat in the arena.
//
//   switch thread ──▶ table   the queues of ports that the worker serves (memory/layout/queue.ts)
//   switch thread ◀── up      four words an emission: packet, device, kind, argument
//   main ──▶ state            SEAT_STOP: end, and how
//
// A packet goes up without its slot: the switch thread copies it (Datapath.adopt) and then moves the ring's tail, and that
// gives the slot back. So every slot is always its own worker's, and a worker that dies leaves nothing elsewhere. Until then
// the worker takes no quiescent state, because an emission's argument is an RCU pointer.

import type { Arena } from '../memory/arena.ts'
import { reserve } from '../memory/arena.ts'
import { TABLE_MAX, TABLE_QUEUES } from '../memory/layout/queue.ts'
import { ringCreate } from '../memory/ring.ts'

/** Words of the ring up, and of a message on it. */
const UP_RING = 4 * 1024
export const UP_WORDS = 4

/** What the seat of a worker consists of: addresses. */
export interface Seat {
  readonly table: number
  readonly up: number
  readonly state: number
}

/** STOP_*: not 0, the thread is to end. @atomic */
export const SEAT_STOP = 0
/** It ends when the switch thread has taken what went up. */
export const STOP_IN_ORDER = 1
/** The switch thread is dead: nobody takes what went up, it is dropped. */
export const STOP_AT_ONCE = 2
/** Goes up with every turn of the loop, and with every one that found packets. @worker */
export const SEAT_TURNS = 64
export const SEAT_BURSTS = 68
/** How often it slept until something came. @worker */
export const SEAT_SLEEPS = 72

export interface DatapathThreadData extends Seat {
  readonly memory: WebAssembly.Memory
  /** Number of the datapath worker, from 1. */
  readonly worker: number
  /** The daemon's beginning (clock.ts). */
  readonly began: bigint
  /** Never sleep. */
  readonly busyPoll: boolean
  /** The CPU it runs on, -1: any. */
  readonly cpu: number
}

/** A worker's seat; whoever sits there finds what the one before left. */
export const makeSeat = (a: Arena): Seat => ({
  table: reserve(a, TABLE_QUEUES + TABLE_MAX * 4),
  up: ringCreate(a, UP_RING),
  state: reserve(a, 128),
})
