// The ordered workqueue: any thread posts, one thread runs the works, one after the other, in the order of posting.
//
// A work item is a few words inside the object it is about. It is pending from the post until just before its function
// runs; posting a pending item does nothing and says so (queue_work's "already queued"). Because the pending mark goes
// before the function is called, an event that comes while it runs makes it run again: none is lost, many become one.
//
//   idle ──post──> pending ──run──> idle, function called ──post──> …
//        ──postAt──> pending, due later ──run at or after its time──> idle, function called
//
// Post: mark (cas), push on POSTED (a stack, cas), ring the bell. No lock, no allocation, never sleeps: a notifier may
// do it, or the datapath's host. Run: take the whole stack, turn it round into READY (or DELAYED, by time), then call.
// READY and DELAYED belong to whoever runs, one thread at a time, and stay in shared memory.
//
// Who posts an item also sees to it that its object lives until the function has run: take a reference before, put it in
// the function, and put it at once when the post says "already queued".
//
// Death of a poster: between its mark and its push the item would be pending for ever. It is announced (supervise.ts);
// recoverPost() tells the runner, who alone can tell: an item still marked by the dead thread and on no list was never
// pushed, and is run then. The runner's own death is not survived: half a work has happened, the process must stop.
// Time is an argument: milliseconds, compared modulo 2^32.
import { add, cas, exchange, load, store, wait, wake } from './atomic.ts'
import { announce, POSTING } from './supervise.ts'
import { self } from './thread.ts'

// ---- queue: words from q
const POSTED = 0
const BELL = 1
/** Who died while posting, and the item: ORPHANS pairs. @atomic */
const ORPHAN = 2
const ORPHANS = 4
const READY = 16
const READY_TAIL = 17
const DELAYED = 18
/** Runs so far, for tests and the curious. */
const RUNS = 19
export const QUEUE_WORDS = 32

// ---- work item: words from w
/** 0 idle; else pending: `self` of who posted it. @atomic */
const STATE = 0
const NEXT = 1
/** Its queue. @constant */
const QUEUE = 2
/** Which function, and what it is about. @constant */
const FUNCTION = 3
const ARGUMENT = 4
/** Not before this time; TIMED says whether it counts. Written by the poster while the item is its own. */
const DUE = 5
const TIMED = 6
export const WORK_WORDS = 8

/** Runs a work: its function number and argument, as initWork was told. */
export type Call = (f: number, argument: number, w: number) => void

export const initQueue = (m: Int32Array, q: number): void => {
  m.fill(0, q, q + QUEUE_WORDS)
}

/** Before the object is published. */
export function initWork(m: Int32Array, w: number, q: number, f: number, argument: number): void {
  m[w + STATE] = 0
  m[w + QUEUE] = q
  m[w + FUNCTION] = f
  m[w + ARGUMENT] = argument
}

/** Will it run as soon as its turn comes? False: it was pending already (then its time stays as it was). */
export const post = (m: Int32Array, w: number): boolean => postTimed(m, w, 0, 0)

/** The same, but not before `due` milliseconds on the clock that `run` is given. */
export const postAt = (m: Int32Array, w: number, due: number): boolean => postTimed(m, w, 1, due | 0)

export const isPending = (m: Int32Array, w: number): boolean => load(m, w + STATE) !== 0

function postTimed(m: Int32Array, w: number, timed: number, due: number): boolean {
  announce(m, POSTING, w)
  if (!cas(m, w + STATE, 0, self)) {
    announce(m, POSTING, 0)
    return false
  }
  m[w + TIMED] = timed
  m[w + DUE] = due
  const q = m[w + QUEUE]
  for (;;) {
    const head = load(m, q + POSTED)
    m[w + NEXT] = head
    if (cas(m, q + POSTED, head, w)) break
  }
  announce(m, POSTING, 0)
  ring(m, q)
  return true
}

const ring = (m: Int32Array, q: number): void => {
  add(m, q + BELL, 1)
  wake(m, q + BELL, 1)
}

/** Supervisor: the dead thread `who` was posting w. */
export function recoverPost(m: Int32Array, w: number, who: number): void {
  if (load(m, w + STATE) !== who) return
  const q = m[w + QUEUE]
  for (let i = 0; i < ORPHANS; i++) {
    if (!cas(m, q + ORPHAN + 2 * i, 0, who)) continue
    store(m, q + ORPHAN + 2 * i + 1, w)
    ring(m, q)
    return
  }
  throw new Error(`workqueue at word ${q}: more than ${ORPHANS} posters died at once`)
}

/** Runner: takes what was posted, oldest first, and sorts it by whether it waits for a time. */
function collect(m: Int32Array, q: number): void {
  let w = exchange(m, q + POSTED, 0)
  let oldest = 0
  while (w !== 0) {
    const next = m[w + NEXT]
    m[w + NEXT] = oldest
    oldest = w
    w = next
  }
  while (oldest !== 0) {
    const next = m[oldest + NEXT]
    if (m[oldest + TIMED] === 0) append(m, q, oldest)
    else insertDelayed(m, q, oldest)
    oldest = next
  }
}

/** Runner: delayed works whose time has come are ready. */
function ripen(m: Int32Array, q: number, now: number): void {
  while (m[q + DELAYED] !== 0 && ((m[m[q + DELAYED] + DUE] - now) | 0) <= 0) {
    const w = m[q + DELAYED]
    m[q + DELAYED] = m[w + NEXT]
    append(m, q, w)
  }
}

function append(m: Int32Array, q: number, w: number): void {
  m[w + NEXT] = 0
  if (m[q + READY] === 0) m[q + READY] = w
  else m[m[q + READY_TAIL] + NEXT] = w
  m[q + READY_TAIL] = w
}

/** By time, equal times in order of posting. */
function insertDelayed(m: Int32Array, q: number, w: number): void {
  let at = q + DELAYED
  while (m[at] !== 0 && ((m[m[at] + DUE] - m[w + DUE]) | 0) <= 0) at = m[at] + NEXT
  m[w + NEXT] = m[at]
  m[at] = w
}

/** Runner: an item still marked by its dead poster, and on no list, was never pushed. */
function adoptOrphans(m: Int32Array, q: number): void {
  for (let i = 0; i < ORPHANS; i++) {
    const at = q + ORPHAN + 2 * i
    const w = load(m, at + 1)
    if (w === 0) continue
    const who = load(m, at)
    store(m, at + 1, 0)
    store(m, at, 0)
    if (load(m, w + STATE) === who && !onQueue(m, q, w)) append(m, q, w)
  }
}

const onList = (m: Int32Array, first: number, w: number): boolean => {
  for (let p = first; p !== 0; p = m[p + NEXT]) if (p === w) return true
  return false
}

const onQueue = (m: Int32Array, q: number, w: number): boolean =>
  onList(m, load(m, q + POSTED), w) || onList(m, m[q + READY], w) || onList(m, m[q + DELAYED], w)

/**
 * Runs works whose time has come, oldest post first, until none is left or `max` have run; returns how many ran.
 * One thread at a time. What `call` posts is run too, except with a time: that waits for the next run, whatever its time,
 * so that a periodic work runs once a run and the run ends, even when `now` is ahead of the clock that the work reads.
 */
export function run(m: Int32Array, q: number, now: number, call: Call, max = Number.POSITIVE_INFINITY): number {
  let n = 0
  collect(m, q)
  ripen(m, q, now | 0)
  while (n < max) {
    collect(m, q)
    if (m[q + READY] === 0) adoptOrphans(m, q)
    const w = m[q + READY]
    if (w === 0) break
    m[q + READY] = m[w + NEXT]
    const f = m[w + FUNCTION]
    const argument = m[w + ARGUMENT]
    store(m, w + STATE, 0) // from here a post queues it again, even while it runs
    m[q + RUNS]++
    n++
    call(f, argument, w)
  }
  return n
}

/** Milliseconds until the next delayed work after a `run` at `now`: 0 when one is due, Infinity without any. */
export function nextDue(m: Int32Array, q: number, now: number): number {
  const w = m[q + DELAYED]
  return w === 0 ? Number.POSITIVE_INFINITY : Math.max(0, (m[w + DUE] - (now | 0)) | 0)
}

/** Runner: what the bell says; read it before `run`, so that `sleep` misses no post. */
export const bell = (m: Int32Array, q: number): number => load(m, q + BELL)

/** Runner: sleeps until something is posted after `seen`, at most `ms`. */
export const sleep = (m: Int32Array, q: number, seen: number, ms: number): void => {
  wait(m, q + BELL, seen, ms)
}

/** Wakes the runner without a work, so that it looks around (shutdown, a clock that was moved). */
export const nudge = ring

/** At the end, producers stopped and what was ready run: makes delayed works idle, telling `dropped` of each. */
export function dropDelayed(m: Int32Array, q: number, dropped: Call): void {
  collect(m, q)
  while (m[q + DELAYED] !== 0) {
    const w = m[q + DELAYED]
    m[q + DELAYED] = m[w + NEXT]
    store(m, w + STATE, 0)
    dropped(m[w + FUNCTION], m[w + ARGUMENT], w)
  }
}
