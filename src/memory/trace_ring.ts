// The trace ring: events of one thread, kept until newer ones overwrite them, readable by anybody at any time.
//
// One writer, which never waits and never fails: the newest events win. A reader copies an event and then looks whether
// it was overwritten meanwhile; what was lost is counted, never garbled. Each thread that traces has its own ring, so
// events of different threads are put in order by their time stamps.
//
// An event is TRACE_EVENT_WORDS words: the number of the event ever written here plus 1 (0 while it is being written),
// what happened, when (nanoseconds, two words), and TRACE_ARGS arguments.
import { load, store } from '../sync/atomic.ts'
import type { Arena } from './arena.ts'
import { alloc, free, TAG_TRACE } from './pool.ts'

const MASK = 0
/** Events ever written. */
const WRITTEN = 4
const EVENTS = 64
const EVENT_BYTES = 64
export const TRACE_EVENT_WORDS = EVENT_BYTES / 4
export const TRACE_ID = 1
export const TRACE_TIME = 2
export const TRACE_ARG = 4
export const TRACE_ARGS = TRACE_EVENT_WORDS - TRACE_ARG

const bytes = (events: number): number => EVENTS + events * EVENT_BYTES

/** A ring that keeps the last `events` events, rounded up to a power of two. */
export function traceCreate(a: Arena, events: number): number {
  const n = 2 ** Math.ceil(Math.log2(Math.max(2, events)))
  const r = alloc(a, bytes(n), TAG_TRACE)
  a.m[(r + MASK) >> 2] = n - 1
  return r
}

export const traceDestroy = (a: Arena, r: number): void => free(a, r, bytes(a.m[(r + MASK) >> 2] + 1), TAG_TRACE)

/**
 * Writer: event `id` with the first n words of `args` (at most TRACE_ARGS; the rest zero). `time` is in nanoseconds: exact
 * for 104 days, to 256 ns when it counts from 1970.
 */
export function traceWrite(a: Arena, r: number, id: number, time: number, args: ArrayLike<number>, n: number): void {
  const { m } = a
  const written = m[(r + WRITTEN) >> 2]
  const w = (r + EVENTS + (written & m[(r + MASK) >> 2]) * EVENT_BYTES) >> 2
  store(m, w, 0) // before any of what follows: who copies a mixture finds the number changed
  m[w + TRACE_ID] = id
  m[w + TRACE_TIME] = time
  m[w + TRACE_TIME + 1] = Math.floor(time / 0x100000000)
  for (let i = 0; i < TRACE_ARGS; i++) m[w + TRACE_ARG + i] = i < n ? args[i] : 0
  store(m, w, (written + 1) | 0)
  store(m, (r + WRITTEN) >> 2, (written + 1) | 0)
}

/** Events ever written: where a reader that wants only news begins. */
export const traceWritten = (a: Arena, r: number): number => load(a.m, (r + WRITTEN) >> 2)

/**
 * Reader: calls f with each event from number `from` on (0 is the first ever written), as words in `event`, in order.
 * Returns the number to go on from, and how many were overwritten before they could be read.
 */
export function traceRead(
  a: Arena,
  r: number,
  from: number,
  f: (event: Int32Array) => void,
): { readonly next: number; readonly lost: number } {
  const { m } = a
  const mask = m[(r + MASK) >> 2]
  const event = new Int32Array(TRACE_EVENT_WORDS)
  const written = load(m, (r + WRITTEN) >> 2)
  let lost = Math.max(0, ((written - from) | 0) - (mask + 1))
  for (let k = (from + lost) | 0; ((written - k) | 0) > 0; k = (k + 1) | 0) {
    const w = (r + EVENTS + (k & mask) * EVENT_BYTES) >> 2
    let whole = load(m, w) === ((k + 1) | 0)
    for (let i = 0; whole && i < TRACE_EVENT_WORDS; i++) event[i] = load(m, w + i)
    whole &&= load(m, w) === ((k + 1) | 0)
    if (whole) f(event)
    else lost++
  }
  return { next: written, lost }
}

/** Nanoseconds of an event that traceRead showed. */
export const traceTime = (event: Int32Array): number => (event[TRACE_TIME] >>> 0) + event[TRACE_TIME + 1] * 0x100000000
