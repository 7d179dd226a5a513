// encap/: flows that encapsulate, kept on the right path while neighbours, routes and devices change (the mlx5e scheme).
//
//                 attach                                neighbour, route, device changed
//   flow ──item──────────> encap entry ──> route entry        │ listeners post
//                            │   └───────> neigh hash entry <─┤
//                            └─ header ← settle ←─ event worker: neigh update, route update, neigh stats, kick
//
// encapInit makes the tables, once for an arena. Each thread that adds or deletes flows, changes neighbours, routes or
// devices, or runs the event worker calls openEncap first; what it gives back is what flow/ needs (EncapOps). One thread at
// a time runs the works: `eventLoop` on a thread of its own, or `runWork` between two packets of a replay, where the same
// works in the same order make the same output every time.

import type { Arena } from '../memory/arena.ts'
import { rcuOf } from '../memory/arena.ts'
import { reclaim } from '../memory/deferred.ts'
import { ENCAP_HEADER } from '../memory/layout/encap.ts'
import { SLOW_NEIGH_STALE } from '../memory/layout/slow.ts'
import { readerOf } from '../memory/thread_record.ts'
import { fibListen } from '../net/fib.ts'
import { neighListen } from '../net/neigh.ts'
import { netdevListen } from '../net/netdev.ts'
import { load } from '../sync/atomic.ts'
import * as Rcu from '../sync/rcu.ts'
import * as Refcount from '../sync/refcount.ts'
import { bell, nextDue, nudge, run, sleep } from '../sync/workqueue.ts'
import { tunnelOf } from '../tunnel/index.ts'
import { RTM_DELLINK } from '../wire/rtm_link.ts'
import { RTM_DELNEIGH } from '../wire/rtm_neigh.ts'
import { attach, detach, type EncapItem, entryOf } from './attach.ts'
import { attachDevice, detachDevice } from './device.ts'
import { ENTRY_NHE, ENTRY_WHY } from './encap_entry.ts'
import { type Hooks, hooksOf, setHooks } from './hooks.ts'
import { NHE_REFCNT } from './neigh_hash_entry.ts'
import { kick, neighStats } from './neigh_stats.ts'
import { neighEvent, neighUpdate, postNeighUpdate } from './neigh_update.ts'
import { queueOf, WORK_KICK, WORK_NEIGH_STATS, WORK_NEIGH_UPDATE, WORK_ROUTE_UPDATE } from './root.ts'
import { deviceEvent, routeEvent, routeUpdate } from './route_update.ts'
import { traceNeighState } from './trace.ts'

export { type EncapItem, MAX_ENCAPS } from './attach.ts'
export { encapRecover, hwDone, lastPut } from './flow_path.ts'
export type { FlowOps, Hooks } from './hooks.ts'
export { encapInit, encapStats, MODE_HARDWARE, MODE_OFFLOAD, MODE_SOFTWARE, setProbeTime } from './root.ts'

/** What flow/ asks of encap/. See attach.ts. */
export interface EncapOps {
  attach(a: Arena, flow: number, items: readonly EncapItem[]): boolean
  detach(a: Arena, flow: number): void
  entryOf(a: Arena, flow: number, i: number): number
}

const ops: EncapOps = { attach, detach, entryOf }
const listening = new WeakSet<WebAssembly.Memory>()

/** This thread begins to work with encap/: how it switches flows, its clock. A second call replaces them. */
export function openEncap(a: Arena, hooks: Hooks): EncapOps {
  setHooks(a, hooks)
  if (!listening.has(a.memory)) {
    listening.add(a.memory)
    neighListen(a, (_, event, n) => {
      traceNeighState(a, n, event === RTM_DELNEIGH)
      neighEvent(a, n)
    })
    fibListen(a, () => routeEvent(a))
    netdevListen(a, (_, event, dev) => deviceChanged(a, event, dev))
  }
  return ops
}

/** A device is new, changed or goes: a classic tunnel device has an entry of its own, the others' entries look again. */
function deviceChanged(a: Arena, event: number, dev: number): void {
  if (event === RTM_DELLINK) detachDevice(a, dev)
  else if (tunnelOf(a, dev) !== undefined) attachDevice(a, dev)
  deviceEvent(a)
}

/**
 * host/, after it sent a packet of PUNT_TUNNEL with the entry `e` (EMIT_ARG): the next hop was stale and has begun its
 * delay, so the header may be used again.
 */
export function encapUsed(a: Arena, e: number): void {
  const { m } = a
  if (e === 0 || m[(e + ENTRY_WHY) >> 2] !== SLOW_NEIGH_STALE || load(m, (e + ENCAP_HEADER) >> 2) !== 0) return
  const nhe = m[(e + ENTRY_NHE) >> 2]
  if (nhe !== 0 && Refcount.take(m, (nhe + NHE_REFCNT) >> 2)) postNeighUpdate(a, nhe)
}

function call(a: Arena, f: number, argument: number): void {
  if (f === WORK_NEIGH_UPDATE) neighUpdate(a, argument)
  else if (f === WORK_ROUTE_UPDATE) routeUpdate(a)
  else if (f === WORK_NEIGH_STATS) neighStats(a)
  else if (f === WORK_KICK) kick(a)
  else throw new Error(`event worker: no work ${f}`)
}

/**
 * Runs the works that are due at `now` (milliseconds), and those that they post without a time; returns how many. One
 * thread at a time. For a caller that is no online RCU reader, each work is a read section of its own.
 */
export function runWork(a: Arena, now: number): number {
  const { m } = a
  const r = rcuOf(a)
  const reader = readerOf(a)
  if (Rcu.isOnline(m, r, reader)) return run(m, queueOf(a), now, (f, argument) => call(a, f, argument))
  return run(m, queueOf(a), now, (f, argument) => {
    Rcu.online(m, r, reader)
    call(a, f, argument)
    Rcu.offline(m, r, reader)
  })
}

/** Milliseconds until the next work is due after a runWork at `now`; Infinity when none is. */
export const nextWork = (a: Arena, now: number): number => nextDue(a.m, queueOf(a), now)

/**
 * The event worker: runs works as they come or fall due until `stop()` says so, and sleeps in between (at most 100 ms, so
 * that it sees that; wakeEventLoop makes it look at once). On a thread of its own, after openEncap, whose clock it goes by.
 * The thread is an RCU reader only while a work runs: neither its sleep nor its wait for a flow holds up the others.
 */
export function eventLoop(a: Arena, stop: () => boolean): void {
  const { m } = a
  const q = queueOf(a)
  const { now } = hooksOf(a)
  while (!stop()) {
    const seen = bell(m, q) // before the works: what is posted from here on ends the sleep
    if (runWork(a, now()) > 0) continue
    reclaim(a)
    sleep(m, q, seen, Math.min(100, nextWork(a, now())))
  }
}

/** Any thread: the event worker looks round, at what `stop` says or at a clock that was moved. */
export const wakeEventLoop = (a: Arena): void => nudge(a.m, queueOf(a))
