// The neigh hash entry on its own: find-or-create, the last put, the notifier, and the rule of registering first.
//
// Entries here are blank encap entries, only their place on a next hop is used. Rows of races.ts in the comments.

import { hashInsert, hashLookup, hashRemove } from '../memory/hash_table.ts'
import { ENCAP_SIZE } from '../memory/layout/encap.ts'
import { insert } from '../memory/list.ts'
import { alloc, freeRcu, TAG_ENCAP, TAG_NHE } from '../memory/pool.ts'
import { addressHash, writeAddress } from '../net/inet.ts'
import { neighLookup, neighSnapshot } from '../net/neigh.ts'
import { store } from '../sync/atomic.ts'
import * as Refcount from '../sync/refcount.ts'
import { initWork, post, run } from '../sync/workqueue.ts'
import type { Scenario } from '../testing/scenario.ts'
import { NUD_PERMANENT } from '../wire/rtm_neigh.ts'
import { AF_INET } from '../wire/rtm_route.ts'
import { ENTRY_NHE, ENTRY_NHE_LINK, ENTRY_REFCNT } from './encap_entry.ts'
import { type Actor, enter, HOP, OUT, part, quiet, setup, WORDS, worker } from './model_world.fixture.ts'
import * as N from './neigh_hash_entry.ts'
import { lockNeighs, queueOf, ROOT_NEIGH_TABLE, rootOf, unlockNeighs, WORK_NEIGH_UPDATE } from './root.ts'
import { ip, mac, setNeigh } from './world.fixture.ts'

const ADDRESS = ip(HOP)
const E1 = OUT
const E2 = OUT + 1
/** What the registering thread, or later the event worker, made of the neighbour's state. */
const RESULT = OUT + 2

const blank = (c: Actor, word: number): void => {
  const e = alloc(c.a, ENCAP_SIZE, TAG_ENCAP)
  Refcount.init(c.a.m, (e + ENTRY_REFCNT) >> 2)
  c.a.m[word] = e
}
const both = (c: Actor): void => {
  blank(c, E1)
  blank(c, E2)
}
const scenario = (
  threads: ((c: Actor) => void)[],
  check: (c: Actor) => string | undefined,
  more: (c: Actor) => void = both,
): Scenario<Actor> => ({
  words: WORDS,
  setup: setup(more),
  enter,
  threads,
  check: (_m, memory) => check(quiet(memory, () => []).c),
})

const find = (c: Actor): number =>
  hashLookup(c.a, rootOf(c.a) + ROOT_NEIGH_TABLE, addressHash(ADDRESS, AF_INET, c.p1) | 0, () => true)
const refs = (c: Actor, nhe: number): number => c.a.m[(nhe + N.NHE_REFCNT) >> 2]

const join =
  (word: number): ((c: Actor) => void) =>
  (c) =>
    N.nheAttach(c.a, c.a.m[word], AF_INET, ADDRESS, c.p1)
const leave =
  (word: number): ((c: Actor) => void) =>
  (c) =>
    N.nheDetach(c.a, c.a.m[word])

/** 12: two entries register on one next hop at once. */
export const goodCreate = scenario([part(join(E1)), part(join(E2))], (c) => {
  const nhe = find(c)
  return refs(c, nhe) === 2 && N.takeEncaps(c.a, nhe).length === 2 ? undefined : `${refs(c, nhe)} references`
})

/** Looks, and makes when there was none: without the lock over both. */
const lookThenMake =
  (word: number): ((c: Actor) => void) =>
  (c) => {
    const { m } = c.a
    let nhe = N.nheLookup(c.a, AF_INET, ADDRESS, c.p1)
    if (nhe === 0) {
      nhe = alloc(c.a, N.NHE_SIZE, TAG_NHE)
      Refcount.init(m, (nhe + N.NHE_REFCNT) >> 2)
      m[(nhe + N.NHE_FAMILY) >> 2] = AF_INET
      m[(nhe + N.NHE_DEV) >> 2] = c.p1
      writeAddress(c.a.u8, nhe + N.NHE_ADDR, ADDRESS)
      initWork(m, (nhe + N.NHE_WORK) >> 2, queueOf(c.a), WORK_NEIGH_UPDATE, nhe)
      lockNeighs(c.a)
      hashInsert(c.a, rootOf(c.a) + ROOT_NEIGH_TABLE, addressHash(ADDRESS, AF_INET, c.p1) | 0, nhe)
      unlockNeighs(c.a)
    }
    insert(c.a, nhe + N.NHE_ENCAPS, c.a.m[word], ENTRY_NHE_LINK)
  }
export const badCreate = scenario([part(lookThenMake(E1)), part(lookThenMake(E2))], (c) => {
  const nhe = find(c)
  return refs(c, nhe) === 2 ? undefined : `${refs(c, nhe)} references`
})

const joined = (c: Actor): void => {
  both(c)
  join(E1)(c)
}
const hears = (c: Actor): string | undefined => {
  const nhe = find(c)
  if (nhe === 0) return 'no neigh hash entry for a registered entry'
  return refs(c, nhe) === 1 && N.takeEncaps(c.a, nhe)[0] === c.a.m[E2]
    ? undefined
    : 'the wrong neigh hash entry is in the table'
}

/** 11: the last entry leaves while another registers. */
export const goodLast = scenario([part(leave(E1)), part(join(E2))], hears, joined)

/** The twin removes whatever has the key. */
export const badLast = scenario(
  [
    part((c) => {
      const nhe = c.a.m[(c.a.m[E1] + ENTRY_NHE) >> 2]
      if (!Refcount.put(c.a.m, (nhe + N.NHE_REFCNT) >> 2)) return
      lockNeighs(c.a)
      hashRemove(c.a, rootOf(c.a) + ROOT_NEIGH_TABLE, addressHash(ADDRESS, AF_INET, c.p1) | 0, find(c))
      unlockNeighs(c.a)
      freeRcu(c.a, nhe, N.NHE_SIZE, TAG_NHE)
    }),
    part(join(E2)),
  ],
  hears,
  (c) => {
    both(c)
    join(E1)(c)
  },
)

/** 42, 43, 58: an event for a next hop whose last entry leaves. The work finds it alive, or there is no work. */
export const goodEvent: Scenario<Actor> = {
  ...scenario(
    [part(leave(E1)), part((c) => setNeigh(c, c.p1, HOP, NUD_PERMANENT, mac(2))), worker(2)],
    (c) => (find(c) === 0 ? undefined : 'a neigh hash entry is left'),
    joined,
  ),
  preemptions: 1,
}

/** The twin posts without taking a reference. */
export const badEvent: Scenario<Actor> = {
  ...goodEvent,
  setup: setup((c) => {
    joined(c)
    setNeigh(c, c.p1, HOP, NUD_PERMANENT, mac(2))
  }),
  threads: [
    part(leave(E1)),
    part((c) => {
      const nhe = find(c)
      if (nhe !== 0) post(c.a.m, (nhe + N.NHE_WORK) >> 2)
    }),
    worker(2),
  ],
}

const state = (c: Actor): number => {
  const n = neighLookup(c.a, AF_INET, ADDRESS, c.p1)
  return n === 0 ? 0 : neighSnapshot(c.a, n).state
}
/** A stand-in for neigh update: RESULT becomes the state, for whoever is registered. */
const follow = (c: Actor): void => {
  run(c.a.m, queueOf(c.a), 0, (_f, nhe) => {
    if (N.takeEncaps(c.a, nhe).length > 0) store(c.a.m, RESULT, state(c))
    N.nhePut(c.a, nhe)
  })
}
const resolves = part((c) => setNeigh(c, c.p1, HOP, NUD_PERMANENT, mac(2)))
const knows = (c: Actor): string | undefined =>
  c.a.m[RESULT] === NUD_PERMANENT ? undefined : `the entry believes ${c.a.m[RESULT]} for ever`

/** 26: register, then read. Whatever changes after the read is heard. */
export const goodRegister = scenario(
  [
    part((c) => {
      join(E1)(c)
      const seen = state(c)
      if (seen !== 0) store(c.a.m, RESULT, seen)
    }),
    resolves,
    worker(2, follow),
  ],
  knows,
)

/** The twin reads, then registers. */
export const badRegister = scenario(
  [
    part((c) => {
      const seen = state(c)
      join(E1)(c)
      if (seen !== 0) store(c.a.m, RESULT, seen)
    }),
    resolves,
    worker(2, follow),
  ],
  knows,
)
