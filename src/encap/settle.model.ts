// A header is replaced while packets use it: a reader copies the MAC that it finds, the event worker publishes another.
//
// The reader is what a datapath worker is: it loads ENCAP_HEADER once for a packet, copies, and says quiescent when the
// packet is gone. 48 of races.ts. And a next hop that is a kernel's is asked for until something is heard of it: 92.

import { rcuOf } from '../memory/arena.ts'
import { ENCAP_HEADER } from '../memory/layout/encap.ts'
import { NETDEV_F_KERNEL, NETDEV_FEATURES } from '../memory/layout/netdev.ts'
import { alloc, free, reclaim } from '../memory/pool.ts'
import { readerOf } from '../memory/thread_record.ts'
import { NEIGH_ASKED, neighLookup } from '../net/neigh.ts'
import { exchange, store } from '../sync/atomic.ts'
import { deref, offline, online, publish } from '../sync/rcu.ts'
import { dropDelayed } from '../sync/workqueue.ts'
import type { Scenario } from '../testing/scenario.ts'
import { freeHeader, headerBytes } from '../tunnel/header.ts'
import { NUD_FAILED, NUD_PERMANENT } from '../wire/rtm_neigh.ts'
import { AF_INET } from '../wire/rtm_route.ts'
import { entryOf } from './attach.ts'
import { runWork } from './encap.ts'
import { ENTRY_TEMPLATE } from './encap_entry.ts'
import { type Actor, enter, HOP, OUT, part, quiet, reading, setup, WORDS, worker } from './model_world.fixture.ts'
import { KICK_INTERVAL, lockEncaps, MODE_OFFLOAD, queueOf, unlockEncaps } from './root.ts'
import { addFlow, ip, setNeigh } from './world.fixture.ts'

const FLOW = OUT
const SEEN = OUT + 1

const macOf = (x: number): Uint8Array => new Uint8Array(6).fill(x)
const neigh = (c: Actor, x: number): void =>
  setNeigh(c, c.p1, HOP, x === 0 ? NUD_FAILED : NUD_PERMANENT, x === 0 ? null : macOf(x))

const begin = (c: Actor): void => {
  neigh(c, 2)
  c.a.m[FLOW] = addFlow(c, [{ tun: c.tun, dev: c.vxlan0 }])
}

/** One packet: the two words that hold the MAC are copied, in two steps. */
function packet(c: Actor): void {
  const { a } = c
  const e = entryOf(a, a.m[FLOW], 0)
  online(a.m, rcuOf(a), readerOf(a))
  const h = deref(a.m, (e + ENCAP_HEADER) >> 2)
  if (h !== 0) {
    const o = headerBytes(a, h)
    const first = [0, 1, 2].map((i) => a.u8[o + i])
    deref(a.m, h >> 2)
    const second = [3, 4, 5].map((i) => a.u8[o + i])
    const all = [...first, ...second]
    if (!all.every((x) => x === all[0]) || ![2, 4].includes(all[0])) a.m[SEEN] = 1
  }
  offline(a.m, rcuOf(a), readerOf(a))
}

/** Takes what was just freed, if it may be reused, and writes all over it. */
function reuse(c: Actor): void {
  reclaim(c.a)
  for (const size of [192, 192]) {
    const p = alloc(c.a, size)
    c.a.u8.fill(0xee, p, p + size)
    store(c.a.m, p >> 2, -1)
    free(c.a, p, size)
  }
}

const sane = (m: Int32Array): string | undefined =>
  m[SEEN] === 0 ? undefined : 'a packet left with bytes that no header had'
const scenario = (writer: (c: Actor) => void): Scenario<Actor> => ({
  words: WORDS,
  setup: setup(begin),
  enter,
  preemptions: 2,
  threads: [packet, writer],
  check: sane,
})

/** The event worker's own code: another MAC, and the end. */
export const goodReplace = scenario((c) => {
  reading(c, () => {
    neigh(c, 4)
    runWork(c.a, 0)
  })
  reuse(c)
})
export const goodWithdraw = scenario((c) => {
  reading(c, () => {
    neigh(c, 0)
    runWork(c.a, 0)
  })
  reuse(c)
})

/** The twin frees the old header at once. */
export const badFree = scenario((c) => {
  const { m } = c.a
  const e = entryOf(c.a, m[FLOW], 0)
  lockEncaps(c.a)
  const h = m[(e + ENTRY_TEMPLATE) >> 2]
  publish(m, (e + ENCAP_HEADER) >> 2, 0)
  m[(e + ENTRY_TEMPLATE) >> 2] = 0
  freeHeader(c.a, h)
  unlockEncaps(c.a)
  reuse(c)
})

/** The twin writes the new MAC into the header that packets use, as upstream does with e->encap_header. */
export const badEdit = scenario((c) => {
  const { a } = c
  const e = entryOf(a, a.m[FLOW], 0)
  lockEncaps(a)
  const o = headerBytes(a, a.m[(e + ENCAP_HEADER) >> 2])
  for (let i = 0; i < 3; i++) a.u8[o + i] = 4
  deref(a.m, e >> 2)
  for (let i = 3; i < 6; i++) a.u8[o + i] = 4
  unlockEncaps(a)
})

// ---- 92: the mirror of a kernel takes a question, and it is lost
const theKernels = (c: Actor): void => {
  c.a.m[(c.p1 + NETDEV_FEATURES) >> 2] |= NETDEV_F_KERNEL
}
const adder = part((c) => {
  c.a.m[FLOW] = addFlow(c, [{ tun: c.tun, dev: c.vxlan0 }])
})
/** Takes the question for the next hop away: was it out? */
function takeQuestion(c: Actor): boolean {
  const n = neighLookup(c.a, AF_INET, ip(HOP), c.p1)
  return n !== 0 && exchange(c.a.m, (n + NEIGH_ASKED) >> 2, 0) !== 0
}
const loser = part((c) => void takeQuestion(c))

const pursued = (run?: (c: Actor) => void): Scenario<Actor> => ({
  words: WORDS,
  setup: setup(theKernels, MODE_OFFLOAD),
  enter,
  preemptions: 1,
  threads: [adder, loser, worker(2, run)],
  check(m, memory) {
    const { c, wrong } = quiet(memory, () => [m[FLOW]], KICK_INTERVAL)
    if (wrong.length > 0) return wrong.join('; ')
    return takeQuestion(c) ? undefined : 'nobody asks again'
  },
})
/** A second later the question is out again, whenever the first was taken. */
export const goodPursue = pursued()

/** The twin asks once: its event worker forgets what was to be done later. */
export const badPursue = pursued((c) => {
  runWork(c.a, 0)
  dropDelayed(c.a.m, queueOf(c.a), () => {})
})
