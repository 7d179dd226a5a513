// Attach against neighbour update against detach, on the code itself: a flow is made or deleted by one thread while a
// neighbour changes on another and the event worker follows on a third. The number in a scenario's comment is its row in
// races.ts. Each twin is the one thing done wrong.

import type { Arena } from '../memory/arena.ts'
import { hashInsert, hashLookup } from '../memory/hash_table.ts'
import { ENCAP_SIZE } from '../memory/layout/encap.ts'
import * as F from '../memory/layout/flow.ts'
import { alloc, TAG_ENCAP, TAG_FLOW } from '../memory/pool.ts'
import { recoverDead } from '../memory/threads.ts'
import { or, store } from '../sync/atomic.ts'
import { complete } from '../sync/completion.ts'

import * as Refcount from '../sync/refcount.ts'
import type { Scenario } from '../testing/scenario.ts'
import { NUD_FAILED, NUD_PERMANENT } from '../wire/rtm_neigh.ts'
import { attach, entryOf, initLocked } from './attach.ts'
import { encapRecover } from './encap.ts'
import { ENTRY_REFCNT, encapTake } from './encap_entry.ts'
import { encapHash, hasKey } from './encap_key.ts'
import { encapUnlinkLocked } from './encap_put.ts'
import { putFlows, takeFlowsLocked } from './flow_path.ts'
import { type Actor, enter, HOP, HOP2, OUT, part, quiet, setup, WORDS, worker } from './model_world.fixture.ts'
import { lockEncaps, ROOT_ENCAP_TABLE, rootOf, unlockEncaps } from './root.ts'
import { addFlow, FAST, isFast, mac, putFlow, SLOW, setNeigh } from './world.fixture.ts'

const item = (c: Actor): { tun: number; dev: number } => ({ tun: c.tun, dev: c.vxlan0 })
const item2 = (c: Actor): { tun: number; dev: number } => ({ tun: c.tun2, dev: c.vxlan0 })
const up = (c: Actor, hop = HOP): void => setNeigh(c, c.p1, hop, NUD_PERMANENT, mac(2))
const down = (c: Actor, hop = HOP): void => setNeigh(c, c.p1, hop, NUD_FAILED, null)
const remember = (c: Actor, i: number, flow: number): void => {
  c.a.m[OUT + i] = flow
}

/** A flow's words before it attaches anything. */
function newFlow(c: Actor): number {
  const flow = alloc(c.a, F.FLOW_SIZE, TAG_FLOW)
  Refcount.init(c.a.m, (flow + F.FLOW_REFCNT) >> 2)
  return flow
}
function finish(c: Actor, flow: number, valid: boolean): void {
  const { m } = c.a
  m[(flow + F.FLOW_ACTIONS) >> 2] = valid ? FAST : SLOW
  or(m, (flow + F.FLOW_FLAGS) >> 2, F.FLOW_F_OFFLOADED)
  complete(m, (flow + F.FLOW_INIT_DONE) >> 2, 1)
}

/** All invariants hold for the flows in OUT[0..n), and flow i is fast or not as said. */
const holds =
  (...fast: boolean[]) =>
  (m: Int32Array, memory: WebAssembly.Memory): string | undefined => {
    const flows = fast.map((_, i) => m[OUT + i])
    const { c, wrong } = quiet(memory, () => flows)
    if (wrong.length > 0) return wrong.join('; ')
    for (const [i, want] of fast.entries()) if (isFast(c.a, flows[i]) !== want) return `flow ${i} is fast: ${!want}`
    return undefined
  }

const scenario = (
  threads: ((c: Actor) => void)[],
  check: Scenario<Actor>['check'],
  more?: (c: Actor) => void,
): Scenario<Actor> => ({ words: WORDS, setup: setup(more), enter, preemptions: 1, threads, check })

const adder = part((c) => remember(c, 0, addFlow(c, [item(c)])))
const upper = part((c) => up(c))
const downer = part((c) => down(c))

/** 26, 28, 61: the neighbour resolves while a flow attaches. */
export const goodResolve = scenario([adder, upper, worker(2)], holds(true))

/** 29, 32: the neighbour fails while a flow that found it valid is not installed yet. */
export const goodFailing = scenario([adder, downer, worker(2)], holds(false), (c) => up(c))

/** The twin says init_done before the flow is installed. */
export const badFailing = scenario(
  [
    part((c) => {
      const flow = newFlow(c)
      remember(c, 0, flow)
      const valid = attach(c.a, flow, [item(c)])
      complete(c.a.m, (flow + F.FLOW_INIT_DONE) >> 2, 1)
      store(c.a.m, (flow + F.FLOW_ACTIONS) >> 2, valid ? FAST : SLOW)
      or(c.a.m, (flow + F.FLOW_FLAGS) >> 2, F.FLOW_F_OFFLOADED)
    }),
    downer,
    worker(2),
  ],
  holds(false),
  (c) => up(c),
)

/** 31: two destinations, and the event worker is at the first. */
export const goodMulti = scenario(
  [part((c) => remember(c, 0, addFlow(c, [item(c), item2(c)]))), upper, worker(2)],
  holds(true),
  (c) => up(c, HOP2),
)

/** The twin attaches each destination in a critical section of its own. */
export const badMulti = scenario(
  [
    part((c) => {
      const flow = newFlow(c)
      remember(c, 0, flow)
      attach(c.a, flow, [item(c)])
      const valid = attach(c.a, flow, [item2(c)])
      finish(c, flow, valid)
    }),
    upper,
    worker(2),
  ],
  () => undefined,
  (c) => up(c, HOP2),
)

const failing = (said: boolean): ((c: Actor) => void) =>
  part((c) => {
    const flow = newFlow(c)
    attach(c.a, flow, [item(c)])
    or(c.a.m, (flow + F.FLOW_FLAGS) >> 2, F.FLOW_F_FAILED)
    if (said) complete(c.a.m, (flow + F.FLOW_INIT_DONE) >> 2, -22)
    putFlow(c.a, flow)
  })

/** 33: a flow fails after it attached, while the event worker has it pinned. */
export const goodFailed = scenario([failing(true), upper, worker(2)], holds())

/** The twin forgets init_done on that way out. */
export const badFailed = scenario([failing(false), upper, worker(2)], () => undefined)

/** A flow that is there from the start, fast or slow. */
const withFlow =
  (valid: boolean) =>
  (c: Actor): void => {
    if (valid) up(c)
    remember(c, 0, addFlow(c, [item(c)]))
  }
const deleter = part((c) => putFlow(c.a, c.a.m[OUT]))

/** 36, 37, 38, 39: a flow is deleted while the event worker switches it, to the slow path and to the fast one. */
export const goodDeleteDown = scenario([deleter, downer, worker(2)], holds(), withFlow(true))
export const goodDeleteUp = scenario([deleter, upper, worker(2)], holds(), withFlow(false))

/** 34: the twin puts the flows that it pinned before it drops the lock. Another flow keeps the entry alive. */
export const badPutLocked = scenario(
  [
    deleter,
    part((c) => {
      lockEncaps(c.a)
      putFlows(c.a, takeFlowsLocked(c.a, entryOf(c.a, c.a.m[OUT + 1], 0)))
      unlockEncaps(c.a)
    }),
  ],
  () => undefined,
  (c) => {
    withFlow(true)(c)
    remember(c, 1, addFlow(c, [item(c)]))
  },
)

/** 9, 10, 12: two flows with one new key. */
export const goodCreate = scenario([adder, part((c) => remember(c, 1, addFlow(c, [item(c)])))], holds(false, false))

/** Finds or makes an entry for the key, by these two: what attach does for one destination, taken apart. */
const take = (c: Actor, how: (a: Arena, e: number) => boolean): number =>
  hashLookup(
    c.a,
    rootOf(c.a) + ROOT_ENCAP_TABLE,
    encapHash(c.a, c.tun, c.vxlan0),
    (p) => hasKey(c.a, p, c.tun, c.vxlan0) && how(c.a, p),
  )

/** The twin looks in one critical section and makes in another. */
const lookThenMake = (i: number): ((c: Actor) => void) =>
  part((c) => {
    lockEncaps(c.a)
    const found = take(c, encapTake)
    unlockEncaps(c.a)
    if (found !== 0) return
    const e = alloc(c.a, ENCAP_SIZE, TAG_ENCAP)
    lockEncaps(c.a)
    initLocked(c.a, e, c.tun, c.vxlan0)
    hashInsert(c.a, rootOf(c.a) + ROOT_ENCAP_TABLE, encapHash(c.a, c.tun, c.vxlan0), e)
    unlockEncaps(c.a)
    remember(c, i, e)
  })
export const badCreate = scenario([lookThenMake(0), lookThenMake(1)], (m) =>
  m[OUT] !== 0 && m[OUT + 1] !== 0 ? 'two entries for one key' : undefined,
)

/** 16, 85: the last flow of a key leaves while another with that key comes. */
export const goodLast = scenario(
  [part((c) => putFlow(c.a, c.a.m[OUT + 1])), adder, upper, worker(3)],
  holds(true),
  (c) => remember(c, 1, addFlow(c, [item(c)])),
)

/** The twin's last put is outside the lock that the lookup holds, and the lookup does not ask whether it may. */
export const badLast = scenario(
  [
    part((c) => {
      const e = entryOf(c.a, c.a.m[OUT + 1], 0)
      if (!Refcount.put(c.a.m, (e + ENTRY_REFCNT) >> 2)) return
      lockEncaps(c.a)
      encapUnlinkLocked(c.a, e)
      unlockEncaps(c.a)
    }),
    part((c) => {
      lockEncaps(c.a)
      take(c, (a, e) => {
        Refcount.get(a.m, (e + ENTRY_REFCNT) >> 2)
        return true
      })
      unlockEncaps(c.a)
    }),
  ],
  () => undefined,
  (c) => remember(c, 1, addFlow(c, [item(c)])),
)

/** 42, 55, 57: the last flow of a next hop leaves while an event for it is on its way. */
export const goodEvent = scenario([deleter, upper, downer, worker(3)], holds(), withFlow(false))

/** 1 and 4 of §9.2, with death: the maker of a flow dies at any step, and nobody hangs. */
export const goodMakerKill: Scenario<Actor> = {
  ...scenario([adder, upper, worker(1)], (_m, memory) => {
    const { c } = quiet(memory, () => [])
    const flow = addFlow(c, [item(c)])
    return isFast(c.a, flow) ? undefined : 'the next flow is not fast'
  }),
  mortal: [0],
  supervisor: (c, who) => {
    recoverDead(c.a, who)
    encapRecover(c.a)
  },
}

/** The twin does not wake who waits for the dead. */
export const badMakerKill: Scenario<Actor> = {
  ...goodMakerKill,
  supervisor: (c, who) => {
    recoverDead(c.a, who)
  },
}

/** 37 and 4 of §9.2, with death: who put a flow last dies before it says so, and nobody hangs. */
export const goodDeleterKill: Scenario<Actor> = {
  ...scenario(
    [deleter, downer, worker(1)],
    (_m, memory) => {
      const { c } = quiet(memory, () => [])
      const flow = addFlow(c, [item(c)])
      return isFast(c.a, flow) ? 'the next flow is fast, though its next hop failed' : undefined
    },
    withFlow(true),
  ),
  mortal: [0],
  supervisor: goodMakerKill.supervisor as (c: Actor, who: number) => void,
}

/** The twin does not wake who waits for the dead. */
export const badDeleterKill: Scenario<Actor> = {
  ...goodDeleterKill,
  supervisor: badMakerKill.supervisor as (c: Actor, who: number) => void,
}
