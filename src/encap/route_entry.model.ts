// A route changes while a flow attaches (72, 73, 76): on the code itself, and the rule about generations taken apart.

import { add, load, store } from '../sync/atomic.ts'
import { post, run } from '../sync/workqueue.ts'
import type { Scenario } from '../testing/scenario.ts'
import { NUD_PERMANENT } from '../wire/rtm_neigh.ts'
import { RTN_BLACKHOLE } from '../wire/rtm_route.ts'
import { type Actor, enter, HOP, OUT, part, quiet, setup, WORDS, worker } from './model_world.fixture.ts'
import { lockEncaps, queueOf, ROOT_ROUTE_WORK, rootOf, unlockEncaps } from './root.ts'
import { addFlow, addRoute, isFast, mac, setNeigh, tunKey } from './world.fixture.ts'

const FLOW = OUT
const FAR = '10.50.0.1'

/** The route comes while the flow that needs it is made. */
const routeComes = (type?: number): Scenario<Actor> => ({
  words: WORDS,
  setup: setup((c) => {
    setNeigh(c, c.p1, HOP, NUD_PERMANENT, mac(2))
    if (type !== undefined) addRoute(c, FAR, 16, { via: HOP, dev: c.p1 })
  }),
  enter,
  preemptions: 1,
  threads: [
    part((c) => {
      c.a.m[FLOW] = addFlow(c, [{ tun: tunKey(c.a, FAR), dev: c.vxlan0 }])
    }),
    part((c) => {
      if (type === undefined) addRoute(c, FAR, 32, { via: HOP, dev: c.p1 })
      else addRoute(c, FAR, 32, { type })
    }),
    worker(2),
  ],
  check: (m, memory) => {
    const { c, wrong } = quiet(memory, () => [m[FLOW]])
    if (wrong.length > 0) return wrong.join('; ')
    return isFast(c.a, m[FLOW]) === (type === undefined) ? undefined : 'the flow is on the wrong path'
  },
})
export const goodComes = routeComes()
export const goodBlackhole = routeComes(RTN_BLACKHOLE)

// The rule: an answer carries the generation from before the question. Words: a table, its generation, an answer.
const TABLE = OUT + 1
const GENERATION = OUT + 2
const ANSWER = OUT + 3
const ASKED_AT = OUT + 4

const ask = (c: Actor): void => {
  store(c.a.m, ASKED_AT, load(c.a.m, GENERATION))
  store(c.a.m, ANSWER, load(c.a.m, TABLE))
}
/** Asks again only when the generation says so. */
const again = (c: Actor): void => {
  run(c.a.m, queueOf(c.a), 0, () => {
    lockEncaps(c.a)
    if (load(c.a.m, ASKED_AT) !== load(c.a.m, GENERATION)) ask(c)
    unlockEncaps(c.a)
  })
}
const change = part((c) => {
  store(c.a.m, TABLE, 2)
  add(c.a.m, GENERATION, 1)
  post(c.a.m, (rootOf(c.a) + ROOT_ROUTE_WORK) >> 2)
})
const generations = (asker: (c: Actor) => void): Scenario<Actor> => ({
  words: WORDS,
  setup: setup((c) => {
    c.a.m[TABLE] = 1
    c.a.m[GENERATION] = 1
  }),
  enter,
  threads: [
    part((c) => {
      lockEncaps(c.a)
      asker(c)
      unlockEncaps(c.a)
    }),
    change,
    worker(2, again),
  ],
  check: (m) => (m[ANSWER] === 2 ? undefined : `the answer is ${m[ANSWER]} for ever`),
})
export const goodGeneration = generations(ask)

/** The twin takes the generation after the answer. */
export const badGeneration = generations((c) => {
  const answer = load(c.a.m, TABLE)
  store(c.a.m, ASKED_AT, load(c.a.m, GENERATION))
  store(c.a.m, ANSWER, answer)
})
