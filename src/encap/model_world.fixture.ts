// The world of the models: a small arena with one port, one vxlan device and its keys, at addresses that threads find in
// words of the super page that nothing else uses. Imported by models only.
//
// A thread of a model enters once: it attaches, tells encap/ how to switch flows, and fills its magazines, so that the
// steps which the explorer enumerates are those of the protocol and not of the pool. `reading` makes one RCU read section
// of what a thread does and then reclaims, so that what may be freed is freed, and a use after that is found.

import { type Arena, attachArena, layOutArena, rcuOf } from '../memory/arena.ts'
import { FLOW_SIZE } from '../memory/layout/flow.ts'
import { alloc, free, reclaim } from '../memory/pool.ts'
import { readerOf } from '../memory/thread_record.ts'
import { add, load } from '../sync/atomic.ts'
import { offline, online } from '../sync/rcu.ts'
import { bell, nudge, sleep } from '../sync/workqueue.ts'
import { attach, detach, entryOf } from './attach.ts'
import { openEncap, runWork } from './encap.ts'
import { violations } from './invariants.fixture.ts'
import { queueOf } from './root.ts'
import { plainFlows, tunKey, type World, worldIn } from './world.fixture.ts'

const OPTIONS = { packets: 2, frameSize: 60, counters: 2100, emc: 2, threads: 8 }
export const WORDS = (4 << 20) / 4

// Words of the super page.
const BASE = 2048 >> 2
const P1 = BASE
const VXLAN0 = BASE + 1
const TUN = BASE + 2
const TUN2 = BASE + 3
/** Actors that have done their part: the event worker stops when all have. */
export const DONE = BASE + 4
/** The model's own words: 16 from here. */
export const OUT = BASE + 8

export const HOP = '10.0.1.2'
export const HOP2 = '10.0.1.3'

/** What a thread works on. */
export interface Actor extends World {
  readonly tun: number
  readonly tun2: number
}

/** Lays out the world; `more` adds what the model begins with. `mode`: MODE_*. */
export const setup =
  (more: (c: Actor) => void = () => {}, mode?: number) =>
  (m: Int32Array, memory: WebAssembly.Memory): void => {
    const w = worldIn(layOutArena(memory, OPTIONS), mode)
    m[P1] = w.p1
    m[VXLAN0] = w.vxlan0
    m[TUN] = tunKey(w.a, HOP)
    m[TUN2] = tunKey(w.a, HOP2)
    runWork(w.a, 0)
    more({ ...w, tun: m[TUN], tun2: m[TUN2] })
    runWork(w.a, 0)
    offline(m, rcuOf(w.a), readerOf(w.a))
  }

const actorOf = (a: Arena): Actor => ({
  a,
  p1: a.m[P1],
  p2: 0,
  vxlan0: a.m[VXLAN0],
  tun: a.m[TUN],
  tun2: a.m[TUN2],
  ops: { attach, detach, entryOf },
  clock: { now: 0 },
})

const SIZES = [32, 64, 96, 128, 192, FLOW_SIZE, 1024]

export function enter(memory: WebAssembly.Memory): Actor {
  const a = attachArena(memory)
  openEncap(a, { flows: plainFlows, now: () => 0 })
  for (const size of SIZES) {
    const all = Array.from({ length: 8 }, () => alloc(a, size))
    for (const p of all) free(a, p, size)
  }
  return actorOf(a)
}

/** One read section, and then what may be freed is freed. */
export function reading(c: Actor, f: () => void): void {
  const { a } = c
  online(a.m, rcuOf(a), readerOf(a))
  f()
  offline(a.m, rcuOf(a), readerOf(a))
  reclaim(a)
}

/** An actor's part: done, and the event worker looks up. */
export const part =
  (f: (c: Actor) => void) =>
  (c: Actor): void => {
    reading(c, () => f(c))
    add(c.a.m, DONE, 1)
    nudge(c.a.m, queueOf(c.a))
  }

/** The event worker: runs works until `actors` are done and nothing is left. */
export const worker =
  (actors: number, run: (c: Actor) => void = (c) => void runWork(c.a, 0)) =>
  (c: Actor): void => {
    const { m } = c.a
    const q = queueOf(c.a)
    for (;;) {
      const seen = bell(m, q)
      const done = load(m, DONE) >= actors
      reading(c, () => run(c))
      if (done) return
      sleep(m, q, seen, 1000)
    }
  }

/**
 * After a schedule: runs what is left, and looks at every invariant. `flows`: those that should be there now; `now`: what the
 * clock says by then, ms.
 */
export function quiet(
  memory: WebAssembly.Memory,
  flows: (c: Actor) => number[],
  now = 0,
): { c: Actor; wrong: string[] } {
  const c = actorOf(attachArena(memory))
  const { a } = c
  openEncap(a, { flows: plainFlows, now: () => now })
  online(a.m, rcuOf(a), readerOf(a))
  runWork(a, now)
  const wrong = violations(a, flows(c))
  offline(a.m, rcuOf(a), readerOf(a))
  return { c, wrong }
}
