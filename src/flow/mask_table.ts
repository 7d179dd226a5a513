// The table of a mask's flows: open addressing with linear probing (memory/layout/flow.ts draws it).
//
// Control changes it holding the mask's prio lock; the datapath and `lookup.ts` read it at any time. So a change is
// one store that readers see whole: a cell's hash is written before its flow is published, a removed flow becomes a
// dead cell, a replaced one is overwritten in place, and a table that is too full is copied into a new one, which is
// published over MASK_TABLE and the old one freed after a grace period.
//
// Flows with an equal key differ in their port range (or were forced together by `replace`); the first in probing
// order is the one that matches. A copy keeps that order, and masks with ranges never take a dead cell again, so there
// it is the order in which the flows were made.

import type { Arena } from '../memory/arena.ts'
import {
  CELL_DEAD,
  CELL_FLOW,
  CELL_FREE,
  CELL_HASH,
  CELL_SIZE,
  FLOW_HASH,
  FLOW_KEY_PTR,
  FLOW_RANGE,
  FLOW_RANGE_DST,
  MASK_FLAGS,
  MASK_NFLOWS,
  MASK_TABLE,
  MASK_WORDS,
  TABLE_BYTES,
  TABLE_CELLS,
  TABLE_MASK,
  TABLE_USED,
} from '../memory/layout/flow.ts'
import { alloc, freeRcu, TAG_TABLE } from '../memory/pool.ts'
import { publish } from '../sync/rcu.ts'

const FIRST_CELLS = 4

/** Word of cell i. */
const cell = (table: number, i: number): number => (table + TABLE_CELLS + i * CELL_SIZE) >> 2
const FLOW_WORD = CELL_FLOW >> 2
const HASH_WORD = CELL_HASH >> 2

function makeTable(a: Arena, cells: number): number {
  const bytes = TABLE_CELLS + cells * CELL_SIZE
  const table = alloc(a, bytes, TAG_TABLE)
  a.m[(table + TABLE_MASK) >> 2] = cells - 1
  a.m[(table + TABLE_BYTES) >> 2] = bytes
  return table
}

/** Gives a new mask its table, before the mask is published. */
export function tableInit(a: Arena, mask: number): void {
  a.m[(mask + MASK_TABLE) >> 2] = makeTable(a, FIRST_CELLS)
}

/** Frees the table of an unlinked mask, after a grace period. */
export function tableFreeRcu(a: Arena, mask: number): void {
  const table = a.m[(mask + MASK_TABLE) >> 2]
  freeRcu(a, table, a.m[(table + TABLE_BYTES) >> 2], TAG_TABLE)
}

/** Do two flows of one mask match the same packets? */
function sameKey(m: Int32Array, mask: number, f: number, g: number): boolean {
  if (m[(f + FLOW_HASH) >> 2] !== m[(g + FLOW_HASH) >> 2]) return false
  if (m[(f + FLOW_RANGE) >> 2] !== m[(g + FLOW_RANGE) >> 2]) return false
  if (m[(f + FLOW_RANGE_DST) >> 2] !== m[(g + FLOW_RANGE_DST) >> 2]) return false
  const a = m[(f + FLOW_KEY_PTR) >> 2] >> 2
  const b = m[(g + FLOW_KEY_PTR) >> 2] >> 2
  for (let i = m[(mask + MASK_WORDS) >> 2] - 1; i >= 0; i--) if (m[a + i] !== m[b + i]) return false
  return true
}

/** A flow of the mask with the key and range of `flow`, 0 when there is none. */
export function tableFind(m: Int32Array, mask: number, flow: number): number {
  const table = m[(mask + MASK_TABLE) >> 2]
  const last = m[(table + TABLE_MASK) >> 2]
  const hash = m[(flow + FLOW_HASH) >> 2]
  for (let i = hash & last; ; i = (i + 1) & last) {
    const w = cell(table, i)
    const f = m[w + FLOW_WORD]
    if (f === CELL_FREE) return 0
    if (m[w + HASH_WORD] === hash && f !== CELL_DEAD && sameKey(m, mask, f, flow)) return f
  }
}

/** Index of the cell that holds `flow`, -1 when none does. */
function cellOf(m: Int32Array, table: number, flow: number): number {
  const last = m[(table + TABLE_MASK) >> 2]
  for (let i = m[(flow + FLOW_HASH) >> 2] & last; ; i = (i + 1) & last) {
    const f = m[cell(table, i) + FLOW_WORD]
    if (f === flow) return i
    if (f === CELL_FREE) return -1
  }
}

/** Adds a flow. Throws MemoryError, the table unchanged. */
export function tableInsert(a: Arena, mask: number, flow: number): void {
  const { m } = a
  let table = m[(mask + MASK_TABLE) >> 2]
  if (4 * (m[(table + TABLE_USED) >> 2] + 1) > 3 * (m[(table + TABLE_MASK) >> 2] + 1)) table = copyTable(a, mask)
  const reuse = m[(mask + MASK_FLAGS) >> 2] === 0
  put(m, table, m[(flow + FLOW_HASH) >> 2], flow, reuse)
  m[(mask + MASK_NFLOWS) >> 2]++
}

/** Writes hash and flow into the first cell from the hash's own that is free, or, with `reuse`, dead. */
function put(m: Int32Array, table: number, hash: number, flow: number, reuse: boolean): void {
  const last = m[(table + TABLE_MASK) >> 2]
  let i = hash & last
  while (m[cell(table, i) + FLOW_WORD] !== CELL_FREE) {
    if (reuse && m[cell(table, i) + FLOW_WORD] === CELL_DEAD) break
    i = (i + 1) & last
  }
  const w = cell(table, i)
  if (m[w + FLOW_WORD] === CELL_FREE) m[(table + TABLE_USED) >> 2]++
  m[w + HASH_WORD] = hash
  publish(m, w + FLOW_WORD, flow)
}

/** A new table with room for twice the flows, the order among equal hashes kept. */
function copyTable(a: Arena, mask: number): number {
  const { m } = a
  const old = m[(mask + MASK_TABLE) >> 2]
  const last = m[(old + TABLE_MASK) >> 2]
  let cells = FIRST_CELLS
  while (cells < 2 * (m[(mask + MASK_NFLOWS) >> 2] + 1)) cells *= 2
  const table = makeTable(a, cells)
  const mod = cells - 1
  let from = 0
  while (m[cell(old, from) + FLOW_WORD] !== CELL_FREE) from++ // behind a free cell begins a run: order is kept
  let used = 0
  for (let n = 0; n <= last; n++) {
    const w = cell(old, (from + n) & last)
    const flow = m[w + FLOW_WORD]
    if (flow === CELL_FREE || flow === CELL_DEAD) continue
    const hash = m[w + HASH_WORD]
    let i = hash & mod
    while (m[cell(table, i) + FLOW_WORD] !== CELL_FREE) i = (i + 1) & mod
    m[cell(table, i) + HASH_WORD] = hash
    m[cell(table, i) + FLOW_WORD] = flow
    used++
  }
  m[(table + TABLE_USED) >> 2] = used
  publish(m, (mask + MASK_TABLE) >> 2, table)
  freeRcu(a, old, m[(old + TABLE_BYTES) >> 2], TAG_TABLE)
  return table
}

/** Takes a flow out; says whether it was in. */
export function tableRemove(a: Arena, mask: number, flow: number): boolean {
  const { m } = a
  const table = m[(mask + MASK_TABLE) >> 2]
  const last = m[(table + TABLE_MASK) >> 2]
  let i = cellOf(m, table, flow)
  if (i < 0) return false
  m[(mask + MASK_NFLOWS) >> 2]--
  if (m[cell(table, (i + 1) & last) + FLOW_WORD] !== CELL_FREE) {
    publish(m, cell(table, i) + FLOW_WORD, CELL_DEAD)
    return true
  }
  // Nothing follows: the cell, and dead ones before it, may end the lookup.
  do {
    publish(m, cell(table, i) + FLOW_WORD, CELL_FREE)
    m[(table + TABLE_USED) >> 2]--
    i = (i - 1) & last
  } while (m[cell(table, i) + FLOW_WORD] === CELL_DEAD)
  return true
}

/** Puts `flow` into the cell of `old`, which has the same key: packets meet the one or the other, never none. */
export function tableReplace(m: Int32Array, mask: number, old: number, flow: number): void {
  const table = m[(mask + MASK_TABLE) >> 2]
  publish(m, cell(table, cellOf(m, table, old)) + FLOW_WORD, flow)
}

/**
 * Puts `flow` before `other`, a flow of another handle with the same key: what `replace` with a key that is taken
 * does, the newer is met first (rhashtable inserts at the head).
 */
export function tableInsertBefore(a: Arena, mask: number, other: number, flow: number): void {
  tableInsert(a, mask, other) // twice for a moment, behind itself
  tableReplace(a.m, mask, other, flow)
}

/** The flows of a mask in the order in which packets meet those with an equal key. The prio's flows stay as they are meanwhile. */
export function* tableFlows(m: Int32Array, mask: number): Generator<number, void> {
  const table = m[(mask + MASK_TABLE) >> 2]
  const last = m[(table + TABLE_MASK) >> 2]
  let from = 0
  while (m[cell(table, from) + FLOW_WORD] !== CELL_FREE) from++ // behind a free cell begins a run: order is kept
  for (let n = 0; n <= last; n++) {
    const flow = m[cell(table, (from + n) & last) + FLOW_WORD]
    if (flow !== CELL_FREE && flow !== CELL_DEAD) yield flow
  }
}
