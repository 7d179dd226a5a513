// A mask's table against a packet that looks at it meanwhile, and the chain's list of masks likewise.
//
// A is in the table throughout, or replaced by B: whatever else comes and goes, a lookup of its key finds it.
import { type Arena, attachArena, layOutArena } from '../memory/arena.ts'
import { hashWords } from '../memory/flow_hash.ts'
import {
  CELL_FLOW,
  CELL_FREE,
  CELL_HASH,
  CELL_SIZE,
  FLOW_HASH,
  FLOW_KEY,
  FLOW_KEY_PTR,
  FLOW_SIZE,
  MASK_PAIRS,
  MASK_SIZE,
  MASK_TABLE,
  MASK_WORDS,
  TABLE_BYTES,
  TABLE_CELLS,
  TABLE_MASK,
} from '../memory/layout/flow.ts'
import { alloc } from '../memory/pool.ts'
import { publish } from '../sync/rcu.ts'
import type { Scenario } from '../testing/scenario.ts'
import { lookupInMask } from './lookup.ts'
import { tableInit, tableInsert, tableRemove, tableReplace } from './mask_table.ts'

const OPTIONS = { packets: 2, frameSize: 60, counters: 2100, emc: 2, threads: 4 }
/** Words of the super page that nothing else uses: the mask, the flows, what a reader found. */
const MASK = 2048 >> 2
const A = MASK + 1
const B = MASK + 2
const X = MASK + 3
const Y = MASK + 4
const Z = MASK + 5
const OUT = MASK + 8

/** Keys whose lookups begin at the same cell, as long as the table has 4 or 8. */
const keys: number[] = []
for (let k = 1; keys.length < 4; k++) if ((hashWords(Int32Array.of(k), 0, 1) & 7) === 2) keys.push(k)

function makeFlow(a: Arena, key: number): number {
  const { m } = a
  const flow = alloc(a, FLOW_SIZE)
  m[(flow + FLOW_KEY_PTR) >> 2] = flow + FLOW_KEY
  m[(flow + FLOW_KEY) >> 2] = key
  m[(flow + FLOW_HASH) >> 2] = hashWords(Int32Array.of(key), 0, 1)
  return flow
}

/** A mask over the first word of the key, and these flows in this order. */
function setUp(a: Arena, inTable: number[]): void {
  const { m } = a
  const mask = alloc(a, MASK_SIZE)
  m[MASK] = mask
  m[(mask + MASK_WORDS) >> 2] = 1
  m[(mask + MASK_PAIRS + 4) >> 2] = -1
  m[A] = makeFlow(a, keys[0])
  m[B] = makeFlow(a, keys[0])
  m[X] = makeFlow(a, keys[1])
  m[Y] = makeFlow(a, keys[2])
  m[Z] = makeFlow(a, keys[3])
  tableInit(a, mask)
  for (const flow of inTable) tableInsert(a, mask, m[flow])
}

const key = new Int32Array(128)
key[0] = keys[0]
const reader = (a: Arena): void => {
  for (let i = 0; i < 2; i++) a.m[OUT + i] = lookupInMask(a.m, a.m[MASK], key)
}
const found = (m: Int32Array): string | undefined => {
  for (let i = 0; i < 2; i++) if (m[OUT + i] !== m[A] && m[OUT + i] !== m[B]) return `look ${i} found ${m[OUT + i]}`
  return m[OUT] === m[B] && m[OUT + 1] === m[A] ? 'the new one, then the old one' : undefined
}

const model = (inTable: number[], writer: (a: Arena) => void) =>
  ({
    words: (2 << 20) / 4,
    setup: (_m, memory) => setUp(layOutArena(memory, OPTIONS), inTable),
    enter: attachArena,
    threads: [writer, reader],
    check: found,
  }) satisfies Scenario<Arena>

export const goodReplace = model([A], (a) => tableReplace(a.m, a.m[MASK], a.m[A], a.m[B]))
/** The twin takes the old one out before the new one is in. */
export const badReplace = model([A], (a) => {
  tableRemove(a, a.m[MASK], a.m[A])
  tableInsert(a, a.m[MASK], a.m[B])
})

export const goodGrow = model([A, X, Y], (a) => tableInsert(a, a.m[MASK], a.m[Z]))
/** The twin publishes the larger table, then fills it. */
export const badGrow = model([A, X, Y], (a) => {
  const { m } = a
  const bytes = TABLE_CELLS + 8 * CELL_SIZE
  const table = alloc(a, bytes)
  m[(table + TABLE_MASK) >> 2] = 7
  m[(table + TABLE_BYTES) >> 2] = bytes
  publish(m, (m[MASK] + MASK_TABLE) >> 2, table)
  const first = (table + TABLE_CELLS + 2 * CELL_SIZE) >> 2
  ;[A, X, Y, Z].forEach((flow, i) => {
    m[first + 2 * i + (CELL_HASH >> 2)] = m[(m[flow] + FLOW_HASH) >> 2]
    publish(m, first + 2 * i + (CELL_FLOW >> 2), m[flow])
  })
})

/** X and Y, before A on its way, go and one comes again. */
export const goodRemove = model([X, Y, A], (a) => {
  tableRemove(a, a.m[MASK], a.m[Y])
  tableRemove(a, a.m[MASK], a.m[X])
  tableInsert(a, a.m[MASK], a.m[Z])
})
/** The twin ends the way where X was. */
export const badRemove = model([X, Y, A], (a) => {
  const { m } = a
  const table = m[(m[MASK] + MASK_TABLE) >> 2]
  publish(m, (table + TABLE_CELLS + 2 * CELL_SIZE + CELL_FLOW) >> 2, CELL_FREE)
})
