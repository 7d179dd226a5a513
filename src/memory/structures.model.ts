// Ring, trace ring, list and hash table against their readers.
import { load, store } from '../sync/atomic.ts'
import { deref, publish } from '../sync/rcu.ts'
import type { Scenario } from '../testing/scenario.ts'
import { type Arena, attachArena, layOutArena } from './arena.ts'
import { hashInit, hashInsert, hashLookup, hashRemove } from './hash_table.ts'
import * as List from './list.ts'
import { alloc } from './pool.ts'
import { ringCreate, ringPop, ringPush } from './ring.ts'
import { TRACE_ARG, TRACE_ARGS, TRACE_EVENT_WORDS, TRACE_ID, traceCreate, traceRead, traceWrite } from './trace_ring.ts'

const OPTIONS = { packets: 2, frameSize: 60, counters: 2100, emc: 2, threads: 4 }
/** Inputs and results: words of the super page that nothing else uses. */
const IN = 2048 >> 2
const OUT = IN + 16

const model = (
  setup: (a: Arena) => void,
  threads: ((a: Arena) => void)[],
  check: (m: Int32Array) => string | undefined,
) =>
  ({
    words: (2 << 20) / 4,
    setup: (_m, memory) => setup(layOutArena(memory, OPTIONS)),
    enter: attachArena,
    threads,
    check,
  }) satisfies Scenario<Arena>

// ---- ring: OUT.. holds what was popped, OUT + 15 how many
const three = Int32Array.of(1, 2, 3)

const producer = (a: Arena): void => {
  let n = 0
  for (let i = 0; i < 3; i++) n += ringPush(a, a.m[IN], three, n, 3 - n)
  a.m[IN + 1] = n
}
const consumer = (a: Arena): void => {
  const into = new Int32Array(4)
  let n = 0
  for (let i = 0; i < 3; i++) {
    const k = ringPop(a, a.m[IN], into, 0, 2)
    for (let j = 0; j < k; j++) a.m[OUT + n++] = into[j]
  }
  a.m[OUT + 15] = n
}
const inOrder = (m: Int32Array): string | undefined => {
  for (let i = 0; i < m[OUT + 15]; i++) if (m[OUT + i] !== i + 1) return `popped ${m.slice(OUT, OUT + m[OUT + 15])}`
  return m[OUT + 15] <= m[IN + 1] ? undefined : `popped ${m[OUT + 15]} of ${m[IN + 1]}`
}
const setRing = (a: Arena): void => {
  a.m[IN] = ringCreate(a, 2)
}
export const goodRing = model(setRing, [producer, consumer], inOrder)

/** The twin says that the words are there, then writes them. */
export const badRing = model(
  setRing,
  [
    (a) => {
      const r = a.m[IN] >> 2
      for (let i = 0; i < 2; i++) {
        const head = a.m[r + 16]
        store(a.m, r + 16, head + 1)
        store(a.m, r + 48 + (head & 1), i + 1)
        a.m[IN + 1]++
      }
    },
    consumer,
  ],
  inOrder,
)

// ---- trace ring: an event's arguments are all its number
const setTrace = (a: Arena): void => {
  a.m[IN] = traceCreate(a, 2)
}
const tracer = (a: Arena): void => {
  for (let id = 1; id <= 4; id++) traceWrite(a, a.m[IN], id, id, new Array<number>(TRACE_ARGS).fill(id), TRACE_ARGS)
}
const whole = (e: Int32Array): boolean => {
  for (let i = TRACE_ARG; i < TRACE_EVENT_WORDS; i++) if (e[i] !== e[TRACE_ID]) return false
  return true
}
export const goodTrace = model(
  setTrace,
  [
    tracer,
    (a) => {
      let from = 0
      let seen = 0
      for (let i = 0; i < 2; i++) {
        const { next, lost } = traceRead(a, a.m[IN], from, (e) => {
          if (!whole(e) || e[TRACE_ID] <= seen) a.m[OUT] = 1
          seen = e[TRACE_ID]
          a.m[OUT + 1]++
        })
        a.m[OUT + 2] += lost
        from = next
      }
      a.m[OUT + 3] = from
    },
  ],
  (m) =>
    m[OUT] !== 0
      ? 'an event was garbled or out of order'
      : m[OUT + 1] + m[OUT + 2] === m[OUT + 3]
        ? undefined
        : `${m[OUT + 1]} read and ${m[OUT + 2]} lost of ${m[OUT + 3]}`,
)

/** The twin does not look again after it has copied. */
export const badTrace = model(
  setTrace,
  [
    tracer,
    (a) => {
      const w = (a.m[IN] + 64) >> 2
      if (load(a.m, w) === 0) return
      const e = new Int32Array(TRACE_EVENT_WORDS)
      for (let i = 0; i < TRACE_EVENT_WORDS; i++) e[i] = load(a.m, w + i)
      if (!whole(e)) a.m[OUT] = 1
    },
  ],
  (m) => (m[OUT] !== 0 ? 'an event was garbled' : undefined),
)

// ---- list of x, y, z (addresses in IN + 1 ..), head at IN, link at 8: z must be seen while y comes and goes
const HEAD = IN * 4
const LINK = 8
const setList = (a: Arena): void => {
  for (const i of [3, 2, 1]) {
    a.m[IN + i] = alloc(a, 16)
    List.insert(a, HEAD, a.m[IN + i], LINK)
  }
}
const walker = (a: Arena): void => {
  let seen = 0
  for (let p = List.first(a, HEAD); p !== 0; p = List.next(a, p, LINK)) if (p === a.m[IN + 3]) seen++
  a.m[OUT] = seen
}
const seenOnce = (m: Int32Array): string | undefined =>
  m[OUT] === 1 ? undefined : `saw the last object ${m[OUT]} times`

export const goodList = model(
  setList,
  [
    walker,
    (a) => {
      List.remove(a, a.m[IN + 2], LINK)
      const fresh = alloc(a, 16)
      List.insert(a, a.m[IN + 1] + LINK, fresh, LINK)
    },
  ],
  seenOnce,
)
/** The twin clears the removed object's next. */
export const badList = model(
  setList,
  [
    walker,
    (a) => {
      List.remove(a, a.m[IN + 2], LINK)
      store(a.m, (a.m[IN + 2] + LINK) >> 2, 0)
    },
  ],
  seenOnce,
)

// ---- hash table at IN: the object IN + 8 is always there, others come and go around it until the array is replaced
const TABLE = IN * 4
const setHash = (a: Arena): void => {
  hashInit(a, TABLE)
  for (let i = 0; i < 6; i++) {
    const p = alloc(a, 16)
    a.m[IN + 8 + i] = p
    hashInsert(a, TABLE, 5, p)
  }
  hashRemove(a, TABLE, 5, a.m[IN + 9])
}
const looker = (a: Arena): void => {
  const wanted = a.m[IN + 13]
  for (let i = 0; i < 2; i++) if (hashLookup(a, TABLE, 5, (p) => p === wanted) !== wanted) a.m[OUT] = 1
}
const found = (m: Int32Array): string | undefined =>
  m[OUT] !== 0 ? 'an object that is there was not found' : undefined

export const goodHash = model(
  setHash,
  [
    looker,
    (a) => {
      hashInsert(a, TABLE, 5, a.m[IN + 9]) // into the tombstone, or a new array
      hashRemove(a, TABLE, 5, a.m[IN + 10])
      for (let i = 0; i < 2; i++) hashInsert(a, TABLE, 5, alloc(a, 16))
    },
  ],
  found,
)
/** The twin publishes the new array before it is filled. */
export const badHash = model(
  setHash,
  [
    looker,
    (a) => {
      const { m } = a
      const old = m[TABLE >> 2] >> 2
      const array = alloc(a, 16 + 16 * 8) >> 2
      m[array] = 15
      publish(m, TABLE >> 2, array * 4)
      for (let i = 0; i < 8; i++) {
        if (deref(m, old + 4 + 2 * i) < 2) continue
        hashInsert(a, TABLE, m[old + 4 + 2 * i + 1], m[old + 4 + 2 * i])
      }
    },
  ],
  found,
)
