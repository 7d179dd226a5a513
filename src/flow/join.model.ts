// Filters join, are replaced and deleted, and actions are replaced under them, by several threads: on the code itself,
// at the level of a filter request for the whole, of `join` for what one thread alone decides. Each twin is the one thing
// done wrong. In those that end in `Kill` a control worker dies at any step; nobody may hang because of that.

import { gact } from '../action/gact.ts'
import { encapRecover } from '../encap/encap.ts'
import { layOutArena, rcuOf } from '../memory/arena.ts'
import { TC_ACT_SHOT } from '../memory/layout/action.ts'
import {
  CHAIN_PRIOS,
  FLOW_ACTIONS,
  FLOW_F_INGRESS,
  FLOW_F_OFFLOADED,
  FLOW_FLAGS,
  FLOW_HANDLE,
  FLOW_MASK,
  FLOW_PRIO,
  FLOW_SIZE,
  PRIO_NFLOWS,
} from '../memory/layout/flow.ts'
import { KEY_IPV4_DST } from '../memory/layout/flow_key.ts'
import { alloc, free, reclaim } from '../memory/pool.ts'
import { readerOf } from '../memory/thread_record.ts'
import { recoverDead } from '../memory/threads.ts'
import { or } from '../sync/atomic.ts'
import { deref, offline } from '../sync/rcu.ts'
import type { Scenario } from '../testing/scenario.ts'
import { takeAction } from './action_table.ts'
import { findChain } from './chain.ts'
import { unpack } from './classifier.ts'
import { beginReading, endReading, nextCookie } from './context.ts'
import { makeFlow, putFlow } from './flow.ts'
import { takeFlow } from './flow_table.ts'
import { idrAlloc, idrFind, idrNext, idrReplace } from './idr.ts'
import { findMaskLocked } from './mask.ts'
import { tableFind, tableInsert, tableReplace } from './mask_table.ts'
import { matchScratch, pack } from './match_scratch.ts'
import { handlesOf, lockPrio, unlockPrio } from './prio.ts'
import { flowRecover } from './recover.ts'
import { ingressOf, makeWorld, type World } from './world.model.ts'

const OPTIONS = { packets: 2, frameSize: 60, counters: 2100, emc: 2, threads: 8 }
const WORDS = (8 << 20) / 4
/** What thread i was told: a word of the super page each, that nothing else uses. 1 done, else a positive errno. */
const OUT = 2048 >> 2

const F = 'dev p0 ingress protocol ip pref 10'
/** A filter on one address: all have the same mask. */
const filter = (verb: string, last: number, action: string, handle = 0): string =>
  `tc filter ${verb} ${F} ${handle ? `handle ${handle} ` : ''}flower dst_ip 10.0.0.${last} ${action}`
const PASS = 'action pass index 1'

const SIZES = [32, 48, 64, 96, 128, FLOW_SIZE, 512]

function enter(memory: WebAssembly.Memory): World {
  const w = makeWorld({ memory })
  nextCookie(w.a) // a thread's first takes a block of them: one step more
  for (const size of SIZES) {
    const all = Array.from({ length: 8 }, () => alloc(w.a, size))
    for (const p of all) free(w.a, p, size)
  }
  return w
}

const setup =
  (...lines: string[]) =>
  (_m: Int32Array, memory: WebAssembly.Memory): void => {
    const w = makeWorld({ arena: layOutArena(memory, OPTIONS), ports: 2 })
    w.tc('tc qdisc add dev p0 clsact')
    for (const line of lines) w.tc(line)
    offline(w.a.m, rcuOf(w.a), readerOf(w.a))
  }

/** Thread i does one line, and remembers what it was told. */
const does =
  (i: number, line: string) =>
  (w: World): void => {
    w.a.m[OUT + i] = 1
    try {
      w.tc(line)
    } catch (e) {
      w.a.m[OUT + i] = e instanceof Error && /exists/i.test(e.message) ? 17 : 2
    }
    reclaim(w.a)
  }

/** Filters that are shown after all: the last byte of the address and the action of each, in order of handle. */
function shown(w: World): string {
  const text = w.tc(`tc filter show dev p0 ingress`)
  const all = [...text.matchAll(/dst_ip 10\.0\.0\.(\d+)|gact action (\w+)/g)]
  return all.map((x) => x[1] ?? x[2]).join(' ')
}

/** After a schedule: the filters are these, each is met by packets, and a request goes through. */
const holds =
  (...allowed: string[]) =>
  (m: Int32Array, memory: WebAssembly.Memory): string | undefined => {
    const w = makeWorld({ memory })
    const now = shown(w)
    if (!allowed.includes(now)) return `the filters are: ${now} (${m[OUT]}, ${m[OUT + 1]})`
    w.tc(filter('add', 200, 'action drop'))
    return prioOf(w) !== 0 && m[(prioOf(w) + PRIO_NFLOWS) >> 2] === now.split(' ').length / 2 + 1
      ? undefined
      : 'miscounted'
  }

const scenario = (
  threads: ((w: World) => void)[],
  check: Scenario<World>['check'],
  ...lines: string[]
): Scenario<World> => ({
  words: WORDS,
  setup: setup(...lines),
  enter,
  preemptions: 1,
  threads,
  check: (m, memory) => {
    try {
      return check(m, memory)
    } catch (e) {
      return `afterwards: ${(e as Error).message}`
    }
  },
})

const prioOf = (w: World): number => {
  const chain = findChain(w.a.m, ingressOf(w, 'p0'), 0)
  return chain === 0 ? 0 : deref(w.a.m, (chain + CHAIN_PRIOS) >> 2)
}

/** Two threads add the same match: one gets in. */
export const goodSame = scenario(
  [does(0, filter('add', 1, PASS)), does(1, filter('add', 1, PASS))],
  (m, memory) => (m[OUT] + m[OUT + 1] === 18 ? holds('9 pass 1 pass')(m, memory) : `told ${m[OUT]} and ${m[OUT + 1]}`),
  filter('add', 9, PASS),
)

// ---- what `join` does, taken apart

const scratch = matchScratch()
const acts = new Int32Array(1)

/** A flow for an address by `pass index 1`, in no table; its match is in the scratch. The world has a filter. */
function made(w: World, last: number): number {
  const { m } = w.a
  const prio = prioOf(w)
  unpack(m, idrFind(m, handlesOf(prio), 1), scratch)
  scratch.key32[KEY_IPV4_DST >> 2] = (scratch.key32[KEY_IPV4_DST >> 2] & 0xffffff) | (last << 24)
  scratch.maskFlags = 0
  pack(scratch)
  acts[0] = takeAction(w.a, gact.id, 1, true)
  const flow = makeFlow(w.c, scratch, acts, 1, FLOW_F_INGRESS, 0, 0)
  m[(flow + FLOW_PRIO) >> 2] = prio
  return flow
}

/** The twin of `join`, under the prio's lock: no look at whether the prio still is one, at the key, at the actions. */
function hastyJoinLocked(w: World, flow: number): void {
  const { a } = w
  const prio = a.m[(flow + FLOW_PRIO) >> 2]
  const mask = findMaskLocked(a.m, prio, scratch)
  a.m[(flow + FLOW_MASK) >> 2] = mask
  or(a.m, (flow + FLOW_FLAGS) >> 2, FLOW_F_OFFLOADED)
  a.m[(flow + FLOW_HANDLE) >> 2] = idrAlloc(a, handlesOf(prio), 1, flow)
  tableInsert(a, mask, flow)
  a.m[(prio + PRIO_NFLOWS) >> 2]++
}

/** A request of its own kind: one read section. */
const section =
  (f: (w: World) => void) =>
  (w: World): void => {
    beginReading(w.a)
    f(w)
    endReading(w.a)
    reclaim(w.a)
  }

/** The twin looks for the key in one critical section and joins in another. */
const looksThenJoins = section((w) => {
  const { m } = w.a
  const flow = made(w, 1)
  const prio = prioOf(w)
  lockPrio(m, prio)
  const found = tableFind(m, findMaskLocked(m, prio, scratch), flow)
  unlockPrio(m, prio)
  if (found !== 0) return putFlow(w.a, flow)
  lockPrio(m, prio)
  hastyJoinLocked(w, flow)
  unlockPrio(m, prio)
})
export const badSame = scenario([looksThenJoins, looksThenJoins], holds('9 pass 1 pass'), filter('add', 9, PASS))

/** What each filter's program does at its end: TC_ACT_* in order of handle. */
function verdicts(w: World): string {
  const { m } = w.a
  const all: number[] = []
  const handles = handlesOf(prioOf(w))
  for (let h = idrNext(m, handles, 0); h >= 0; h = idrNext(m, handles, h + 1))
    all.push(m[(m[(idrFind(m, handles, h) + FLOW_ACTIONS) >> 2] >> 2) + 3]) // behind OP_COUNT and its counter: OP_END
  return all.join(' ')
}
const allDrop = (_m: Int32Array, memory: WebAssembly.Memory): string | undefined => {
  const w = makeWorld({ memory })
  return verdicts(w) === `${TC_ACT_SHOT} ${TC_ACT_SHOT}` ? undefined : `the programs end with ${verdicts(w)}`
}

/** An action gets new parameters while a filter that uses it is made. */
export const goodStale = scenario(
  [does(0, filter('add', 1, PASS)), does(1, 'tc actions replace action drop index 1')],
  allDrop,
  filter('add', 9, PASS),
)

/** The twin joins without asking whether its actions are still what it compiled. */
export const badStale = scenario(
  [
    section((w) => {
      const flow = made(w, 1)
      lockPrio(w.a.m, prioOf(w))
      hastyJoinLocked(w, flow)
      unlockPrio(w.a.m, prioOf(w))
    }),
    does(1, 'tc actions replace action drop index 1'),
  ],
  allDrop,
  filter('add', 9, PASS),
)

/** A filter is replaced while it is deleted: it is gone, or new behind the deletion. */
export const goodReplace = scenario(
  [does(0, filter('replace', 9, 'action drop', 1)), does(1, `tc filter del ${F} handle 1 flower`)],
  holds('8 pass', '8 pass 9 drop', '9 drop 8 pass'),
  filter('add', 9, PASS, 1),
  filter('add', 8, PASS, 2),
)

/** The twin takes the old flow's place without asking whether it still has one. */
export const badReplace = scenario(
  [
    section((w) => {
      const { a } = w
      const prio = prioOf(w)
      const old = takeFlow(a.m, prio, 1)
      if (old === 0) return
      const flow = made(w, 9)
      lockPrio(a.m, prio)
      a.m[(flow + FLOW_MASK) >> 2] = a.m[(old + FLOW_MASK) >> 2]
      a.m[(flow + FLOW_HANDLE) >> 2] = 1
      or(a.m, (flow + FLOW_FLAGS) >> 2, FLOW_F_OFFLOADED)
      tableReplace(a.m, a.m[(old + FLOW_MASK) >> 2], old, flow)
      idrReplace(a.m, handlesOf(prio), 1, flow)
      unlockPrio(a.m, prio)
      putFlow(a, old)
      putFlow(a, old)
    }),
    does(1, `tc filter del ${F} handle 1 flower`),
  ],
  holds('8 pass', '8 pass 9 pass', '9 pass 8 pass'),
  filter('add', 9, PASS, 1),
  filter('add', 8, PASS, 2),
)

/** The last filter of a prio goes, and the prio with it, while another comes. */
export const goodLast = scenario(
  [does(0, filter('add', 1, PASS)), does(1, `tc filter del ${F} handle 1 flower`)],
  holds('1 pass'),
  filter('add', 9, PASS),
)

/** The twin joins a prio that has left its chain. */
export const badLast = scenario(
  [
    section((w) => {
      if (prioOf(w) === 0) return void w.tc(filter('add', 1, PASS))
      const flow = made(w, 1)
      const prio = w.a.m[(flow + FLOW_PRIO) >> 2]
      lockPrio(w.a.m, prio)
      hastyJoinLocked(w, flow)
      unlockPrio(w.a.m, prio)
    }),
    does(1, `tc filter del ${F} handle 1 flower`),
  ],
  holds('1 pass', '9 pass 1 pass'),
  filter('add', 9, PASS),
)

// ---- death

const recovers = (w: World, who: number): void => {
  recoverDead(w.a, who)
  flowRecover(w.a)
  encapRecover(w.a)
}

/** The other's filter got in, and requests go on. */
const goesOn = (m: Int32Array, memory: WebAssembly.Memory): string | undefined => {
  if (m[OUT + 1] !== 1) return `the other was told ${m[OUT + 1]}`
  const w = makeWorld({ memory })
  w.tc(`tc filter add dev p0 ingress protocol ip pref 20 flower dst_ip 10.0.0.3 ${PASS}`)
  return shown(w).includes('2 ') ? undefined : `the filters are: ${shown(w)}`
}

/** Who adds a filter dies. */
export const goodAddKill: Scenario<World> = {
  ...scenario([does(0, filter('add', 1, PASS)), does(1, filter('add', 2, PASS))], goesOn, filter('add', 9, PASS)),
  mortal: [0],
  supervisor: recovers,
}

/** The twin frees no lock of the dead. */
export const badAddKill: Scenario<World> = { ...goodAddKill, supervisor: () => {} }

/** Who replaces an action dies, while another makes a filter that uses it. */
export const goodStaleKill: Scenario<World> = {
  ...scenario(
    [does(0, 'tc actions replace action drop index 1'), does(1, filter('add', 2, PASS))],
    goesOn,
    filter('add', 9, PASS),
  ),
  mortal: [0],
  supervisor: recovers,
}

/** The twin leaves the action in the middle of its change: who makes a filter with it would do so for ever. */
export const badStaleKill: Scenario<World> = {
  ...goodStaleKill,
  supervisor: (w, who) => {
    recoverDead(w.a, who)
    encapRecover(w.a)
  },
}
