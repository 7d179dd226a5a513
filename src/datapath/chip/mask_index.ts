// The mask index: which masks of a lookup can have a flow for a key at all?
//
// A search that tries mask after mask costs as much as there are masks. Masks are made of few *fields*: a field is a word
// of the key and the bits of it that a mask looks at, and many masks share it. For those that most masks share a small
// table says, by the hash of the field's value, which masks have a flow with such a value (masks that do not look at the
// field always do), one bit each. The sets of these fields together, one AND a field, leave the masks that are worth a
// look, in the order in which the search would have come to them. Values that share a hash share a set: a set may have a
// mask too many, never one too few, so what is found is what the whole search would find ("tuple pruning": Srinivasan,
// Suri, Varghese, SIGCOMM 1999).
//
// When many masks are left, because their rules know each field of the packet and never all of them together, the fields
// that most masks share are asked for together, by one table more: the *common key*, keyed by a hash of all of them. And
// when many are left then, a hash of the whole masked key goes over those (mask_sift.ts).
//
// Its life: searches without an index count the masks that they visit. When these visits have cost as much as making an
// index will, it is made, a piece with each search, and used when it is whole; so an index never costs more than was
// spent already, however fast the rules change. Like an entry of the cache it is valid for one SUPER_GENERATION: control
// bumps that behind every change, and frees what it took out only after this worker was quiescent once more. Flows never
// move inside a mask's table; one that got a new table while it was read is read again.
//
// A worker has a few indexes, by the mask that the lookup starts with.

import {
  CELL_DEAD,
  CELL_FLOW,
  FLOW_KEY_PTR,
  MASK_NEXT,
  MASK_NFLOWS,
  MASK_PAIRS,
  MASK_PROTO,
  MASK_TABLE,
  MASK_WORDS,
  TABLE_CELLS,
  TABLE_MASK,
} from '../../memory/layout/flow.ts'
import { KEY_SIZE } from '../../memory/layout/flow_key.ts'
import { BE_ALL } from './frame.ts'
import {
  INDEX_COMMON,
  INDEX_SIZE,
  INDEX_TABLES,
  INDEX_TABLES_SIZE,
  INDEXES,
  SCRATCH_INDEXES,
  SCRATCH_SETS,
  TERMS_MAX,
} from './layout.ts'
import { findFlow } from './mask_find.ts'
import {
  addSum,
  addSumOfFlow,
  bitsFor,
  bitsOf,
  clearBits,
  clearTerms,
  countOf,
  countTerm,
  numberFields,
  offsetOf,
  partOf,
  sift,
  termOf,
  workOut,
} from './mask_sift.ts'
import { generation, scratch } from './state.ts'
import { isU32 } from './u32.ts'

const STATE_NONE: u32 = 0
const STATE_MAKING: u32 = 1
const STATE_READY: u32 = 2

const MASKS_MAX: u32 = 512
/** Fewer masks are tried one by one. */
const MASKS_MIN: u32 = 4
/** Fields that have tables, and how few of the masks, one in so many, may look at one. */
const FIELDS_MAX: u32 = 16
const FIELDS_SHARE: u32 = 16
const WORDS_MAX: u32 = 128
/** Fields of the common key, and how few of the masks, one in so many, may be without one of them. */
const COMMON_MAX: u32 = 8
const COMMON_SHARE: u32 = 4
/** Sets of a field: 2^4 … 2^13. */
const SETS_MIN: u32 = 4
const SETS_MAX: u32 = 13
/** Bytes of the tables that are cleared for the price of a visit. */
const CLEARED: u32 = 256
/** So many terms cost what a probe does. */
const TERMS_OF_PROBE: u32 = 16
/** Visits before anything is thought about, and cells that a search reads for an index in the making. */
const PRICE_MIN: u32 = 1024
const PIECE: u32 = 64

const IX_START: usize = 0
const IX_GENERATION: usize = 4
const IX_STATE: usize = 8
/** Number of masks, of 64-bit words in a set (1, 2 or 8), of fields; shift of the hash. */
const IX_MASKS: usize = 12
const IX_WORDS: usize = 16
const IX_FIELDS: usize = 20
const IX_SHIFT: usize = 24
/** Searches without the index, the masks that they visited, and how many of these will be enough. */
const IX_SEARCHES: usize = 28
const IX_VISITS: usize = 32
const IX_PRICE: usize = 36
/** While it is made: the mask, its table, and the next cell of it. */
const IX_AT_MASK: usize = 40
const IX_AT_TABLE: usize = 44
const IX_AT_CELL: usize = 48
/** The first mask behind those that the index knows, 0 when it knows all: these are tried one by one. */
const IX_REST: usize = 52
/** Terms in all, those of them that are fields, and log2 of a mask's bits (mask_sift.ts). */
const IX_TERMS: usize = 56
const IX_TERM_FIELDS: usize = 60
const IX_LOG: usize = 64
/** So many masks may be left for a key before they are sifted. */
const IX_TRY: usize = 68
/** Fields of the common key: the first of the list, so many; 0: there is none. */
const IX_COMMON: usize = 72
/** Masks by their bit: addresses. */
const IX_MASK_LIST: usize = 128
/** Fields with tables: offset in the key, bits. */
const IX_FIELD_LIST: usize = IX_MASK_LIST + 4 * <usize>MASKS_MAX
/** Of the mask that is being read: its words' terms, and their tables, -1 for a word that has none. */
const IX_AT_TERMS: usize = IX_FIELD_LIST + 8 * <usize>FIELDS_MAX
const IX_AT_FIELDS: usize = IX_AT_TERMS + 4 * <usize>WORDS_MAX

/** The index for lookups that start with this mask, in whatever state. */
// @ts-ignore: decorator
@inline
export function indexOf(start: usize): usize {
  const index = scratch + SCRATCH_INDEXES + (((start >> 8) ^ (start >> 14)) & (INDEXES - 1)) * INDEX_SIZE
  if (load<usize>(index) != start || load<u32>(index, IX_GENERATION) != generation) {
    store<usize>(index, start, IX_START)
    store<u32>(index, generation, IX_GENERATION)
    store<u32>(index, STATE_NONE, IX_STATE)
    forget(index, PRICE_MIN)
  }
  return index
}

// @ts-ignore: decorator
@inline
export function isReady(index: usize): bool {
  return load<u32>(index, IX_STATE) == STATE_READY
}

function forget(index: usize, price: u32): void {
  store<u32>(index, 0, IX_SEARCHES)
  store<u32>(index, 0, IX_VISITS)
  store<u32>(index, price, IX_PRICE)
}

/** Masks that the last indexed search probed. */
export let probed: u32 = 0
/** It found a flow of a mask with bits that the plan does not know: control is at work, the answer must not be cached. */
export let foundUnknown: bool = false

// @ts-ignore: decorator
@inline
function setOf(value: u32, shift: u64): usize {
  return <usize>((<u64>value * 0x9e3779b97f4a7c15) >> shift)
}

/** The first flow for the key of a protocol, by an index that is ready. `bits`: those of the key that the plan knows. */
export function searchIndex(index: usize, key: usize, proto: u32, bits: usize): usize {
  probed = 0
  foundUnknown = false
  const size = load<u32>(index, IX_WORDS)
  if (size == 1) return searchNarrow(index, key, proto)
  if (size == 2) return searchMiddle(index, key, proto)
  let flow = searchWide(index, key, proto)
  for (let mask = load<usize>(index, IX_REST); mask != 0 && flow == 0; mask = load<usize>(mask, MASK_NEXT)) {
    const p = load<u32>(mask, MASK_PROTO)
    if ((p != proto && p != BE_ALL) || isU32(mask)) continue // u32: newer than the plan, which knows of none
    probed++
    flow = findFlow(mask, key)
    foundUnknown = flow != 0 && !isKnown(mask, load<u32>(mask, MASK_WORDS), bits)
  }
  return flow
}

function searchNarrow(index: usize, key: usize, proto: u32): usize {
  const shift = <u64>load<u32>(index, IX_SHIFT)
  const size: usize = <usize>8 << <usize>(64 - shift)
  let masks: u64 = ~0
  let field = index
  let sets = index + INDEX_TABLES
  for (const end = sets + <usize>load<u32>(index, IX_FIELDS) * size; sets < end; sets += size, field += 8) {
    const value = load<u32>(key + load<u32>(field, IX_FIELD_LIST)) & load<u32>(field, IX_FIELD_LIST + 4)
    masks &= load<u64>(sets + (setOf(value, shift) << 3))
  }
  if (<u32>popcnt(masks) > load<u32>(index, IX_TRY)) masks &= load<u64>(commonSet(index, key, 8))
  if (<u32>popcnt(masks) > load<u32>(index, IX_TRY)) {
    workOut(index, key, load<u32>(index, IX_TERM_FIELDS), load<u32>(index, IX_TERMS))
    masks = sift(index, masks, 0, load<u32>(index, IX_LOG))
  }
  return probe(index, masks, 0, key, proto)
}

/** Sets of 128 masks. */
function searchMiddle(index: usize, key: usize, proto: u32): usize {
  const shift = <u64>load<u32>(index, IX_SHIFT)
  const size: usize = <usize>16 << <usize>(64 - shift)
  let masks = i64x2.splat(-1)
  let field = index
  let sets = index + INDEX_TABLES
  for (const end = sets + <usize>load<u32>(index, IX_FIELDS) * size; sets < end; sets += size, field += 8) {
    const value = load<u32>(key + load<u32>(field, IX_FIELD_LIST)) & load<u32>(field, IX_FIELD_LIST + 4)
    masks = v128.and(masks, v128.load(sets + (setOf(value, shift) << 4)))
  }
  let low = <u64>i64x2.extract_lane(masks, 0)
  let high = <u64>i64x2.extract_lane(masks, 1)
  if (<u32>(popcnt(low) + popcnt(high)) > load<u32>(index, IX_TRY)) {
    const set = commonSet(index, key, 16)
    low &= load<u64>(set)
    high &= load<u64>(set, 8)
  }
  if (<u32>(popcnt(low) + popcnt(high)) > load<u32>(index, IX_TRY)) {
    workOut(index, key, load<u32>(index, IX_TERM_FIELDS), load<u32>(index, IX_TERMS))
    low = sift(index, low, 0, load<u32>(index, IX_LOG))
    high = sift(index, high, 64, load<u32>(index, IX_LOG))
  }
  const flow = probe(index, low, 0, key, proto)
  return flow != 0 ? flow : probe(index, high, 64, key, proto)
}

/** Sets of 512 masks. */
function searchWide(index: usize, key: usize, proto: u32): usize {
  const shift = <u64>load<u32>(index, IX_SHIFT)
  const size: usize = <usize>64 << <usize>(64 - shift)
  let m0 = i64x2.splat(-1)
  let m1 = m0
  let m2 = m0
  let m3 = m0
  let field = index
  let sets = index + INDEX_TABLES
  for (const end = sets + <usize>load<u32>(index, IX_FIELDS) * size; sets < end; sets += size, field += 8) {
    const value = load<u32>(key + load<u32>(field, IX_FIELD_LIST)) & load<u32>(field, IX_FIELD_LIST + 4)
    const set = sets + (setOf(value, shift) << 6)
    m0 = v128.and(m0, v128.load(set))
    m1 = v128.and(m1, v128.load(set, 16))
    m2 = v128.and(m2, v128.load(set, 32))
    m3 = v128.and(m3, v128.load(set, 48))
  }
  const sets8 = scratch + SCRATCH_SETS
  let candidates = storeSets(sets8, m0, m1, m2, m3)
  if (candidates > load<u32>(index, IX_TRY)) {
    const set = commonSet(index, key, 64)
    m0 = v128.and(m0, v128.load(set))
    m1 = v128.and(m1, v128.load(set, 16))
    m2 = v128.and(m2, v128.load(set, 32))
    m3 = v128.and(m3, v128.load(set, 48))
    candidates = storeSets(sets8, m0, m1, m2, m3)
  }
  const sifted = candidates > load<u32>(index, IX_TRY)
  if (sifted) workOut(index, key, load<u32>(index, IX_TERM_FIELDS), load<u32>(index, IX_TERMS))
  const log = load<u32>(index, IX_LOG)
  let flow: usize = 0
  for (let i: u32 = 0; i < 8 && flow == 0; i++) {
    let masks = load<u64>(sets8 + (<usize>i << 3))
    if (masks == 0) continue
    if (sifted) masks = sift(index, masks, i << 6, log)
    flow = probe(index, masks, i << 6, key, proto)
  }
  return flow
}

/** Stores a set of 512 masks. Returns how many there are. */
// @ts-ignore: decorator
@inline
function storeSets(to: usize, m0: v128, m1: v128, m2: v128, m3: v128): u32 {
  v128.store(to, m0)
  v128.store(to, m1, 16)
  v128.store(to, m2, 32)
  v128.store(to, m3, 48)
  let n: u64 = 0
  for (let i: usize = 0; i < 64; i += 8) n += popcnt(load<u64>(to + i))
  return <u32>n
}

/** Of the hash of a common key, the part of its field i. */
// @ts-ignore: decorator
@inline
function commonPart(i: u32, value: u32): u64 {
  return <u64>value * (0x9e3779b97f4a7c15 * <u64>(2 * i + 1))
}

/** The set, of so many bytes, of the masks that have a flow with the key's common key, or do not look at all of it. */
function commonSet(index: usize, key: usize, size: usize): usize {
  const n = load<u32>(index, IX_COMMON)
  let sum: u64 = 0
  for (let i: u32 = 0; i < n; i++) {
    const field = index + (<usize>i << 3)
    sum += commonPart(i, load<u32>(key + load<u32>(field, IX_FIELD_LIST)) & load<u32>(field, IX_FIELD_LIST + 4))
  }
  return commonAt(index, sum, size)
}

// @ts-ignore: decorator
@inline
function commonAt(index: usize, sum: u64, size: usize): usize {
  return index + INDEX_COMMON + setOf(<u32>(sum >> 32), load<u32>(index, IX_SHIFT)) * size
}

/** Tries the masks of a set, the lowest bit first, which stands for mask `first`. */
// @ts-ignore: decorator
@inline
function probe(index: usize, masks: u64, first: u32, key: usize, proto: u32): usize {
  let flow: usize = 0
  while (masks != 0) {
    const mask = load<usize>(index + ((<usize>first + <usize>ctz(masks)) << 2), IX_MASK_LIST)
    masks &= masks - 1
    const p = load<u32>(mask, MASK_PROTO)
    if (p != proto && p != BE_ALL) continue
    probed++
    flow = findFlow(mask, key)
    if (flow != 0) break
  }
  return flow
}

// ---- making

/** A search without the index visited so many masks: is it time for one? `bits`: those of the key that the plan knows. */
export function visited(index: usize, masks: u32, bits: usize): void {
  if (load<u32>(index, IX_STATE) == STATE_MAKING) {
    make(index)
    return
  }
  const searches = load<u32>(index, IX_SEARCHES) + 1
  const visits = load<u32>(index, IX_VISITS) + masks
  store<u32>(index, searches, IX_SEARCHES)
  store<u32>(index, visits, IX_VISITS)
  if (visits < load<u32>(index, IX_PRICE)) return
  if (visits < searches * MASKS_MIN) forget(index, PRICE_MIN)
  else begin(index, visits, bits)
}

/** Counts what there is to read, and when that has been paid for, begins. */
function begin(index: usize, visits: u32, bits: usize): void {
  let masks: u32 = 0
  let flows: u32 = 0
  let words: u32 = 0
  let rest: usize = 0
  for (let mask = load<usize>(index); mask != 0; mask = load<usize>(mask, MASK_NEXT)) {
    const n = load<u32>(mask, MASK_WORDS)
    if (n > WORDS_MAX || isU32(mask) || !isKnown(mask, n, bits)) {
      forget(index, 0x7fffffff) // not at this generation
      return
    }
    if (masks == MASKS_MAX) {
      if (rest == 0) rest = mask
      continue
    }
    store<usize>(index + (masks << 2), mask, IX_MASK_LIST)
    words += n
    flows += load<u32>(mask, MASK_NFLOWS)
    masks++
  }
  if (masks < MASKS_MIN) {
    forget(index, 0x7fffffff)
    return
  }
  // A flow is read for each of its words, a visit reads a mask: about the same. Clearing is cheap.
  const bytes: u32 = masks > 128 ? 64 : masks > 64 ? 16 : 8
  const price = flows * (words / masks + 1) + (words << 4) + ((<u32>INDEX_TABLES_SIZE / 64) * bytes) / CLEARED
  if (visits < price) {
    store<u32>(index, price, IX_PRICE)
    return
  }
  const fields = chooseFields(index, masks)
  const room = <u32>INDEX_TABLES_SIZE / bytes / max<u32>(fields, 1)
  let log = SETS_MIN
  while (log < SETS_MAX && (<u32>1 << log) < flows && (<u32>2 << log) <= room) log++
  store<usize>(index, rest, IX_REST)
  store<u32>(index, masks, IX_MASKS)
  store<u32>(index, bytes >>> 3, IX_WORDS)
  store<u32>(index, fields, IX_FIELDS)
  store<u32>(index, 64 - log, IX_SHIFT)
  clear(index, masks, fields, <u32>1 << log, bytes)
  clearCommon(index, masks, <u32>1 << log, bytes)
  makeSums(index, masks, flows)
  store<u32>(index, 0, IX_AT_MASK)
  store<usize>(index, 0, IX_AT_TABLE)
  store<u32>(index, STATE_MAKING, IX_STATE)
}

/** Makes terms of the masks' fields, and picks those that get tables: the commonest. Returns how many they are. */
function chooseFields(index: usize, masks: u32): u32 {
  clearTerms(index)
  let terms: u32 = 0
  for (let i: u32 = 0; i < masks && terms < TERMS_MAX; i++) {
    const mask = load<usize>(index + (i << 2), IX_MASK_LIST)
    for (let pair = mask, end = mask + (load<u32>(mask, MASK_WORDS) << 3); pair < end; pair += 8) {
      const t = termOf(index, load<u32>(pair, MASK_PAIRS), load<u32>(pair, MASK_PAIRS + 4), terms)
      if (t == 0) {
        terms = TERMS_MAX
        break
      }
      terms = max(terms, t)
      countTerm(index, t)
    }
  }
  const known = min<u32>(terms, TERMS_MAX - 1)
  const least = max<u32>(2, masks / FIELDS_SHARE)
  let fields: u32 = 0
  let common: u32 = 0
  let most: u32 = 0xffffffff
  // From the commonest on, those of the same count in their order.
  while (fields < FIELDS_MAX) {
    let next: u32 = 0
    for (let t: u32 = 1; t <= known; t++) {
      const n = countOf(index, t)
      if (n < most && n > next) next = n
    }
    if (next < least) break
    most = next
    for (let t: u32 = 1; t <= known && fields < FIELDS_MAX; t++) {
      if (countOf(index, t) != most) continue
      store<u32>(index + (fields << 3), offsetOf(index, t), IX_FIELD_LIST)
      store<u32>(index + (fields << 3), bitsOf(index, t), IX_FIELD_LIST + 4)
      fields++
      if (fields <= COMMON_MAX && most >= masks - masks / COMMON_SHARE) common = fields
    }
  }
  store<u32>(index, common, IX_COMMON)
  store<u32>(index, terms, IX_TERM_FIELDS)
  return fields
}

/** The sums of the masks, on top of their fields. When there is no room for them, no set of masks is sifted. */
function makeSums(index: usize, masks: u32, flows: u32): void {
  const fields = load<u32>(index, IX_TERM_FIELDS)
  const log = bitsFor(masks, flows)
  let terms = log == 0 || fields >= TERMS_MAX ? 0 : fields
  for (let i: u32 = 0; i < masks && terms != 0; i++) {
    terms = addSum(index, i, load<usize>(index + (i << 2), IX_MASK_LIST), terms)
  }
  store<u32>(index, terms, IX_TERMS)
  store<u32>(index, terms == 0 ? 0 : log, IX_LOG)
  // A term costs a tenth of a probe, or so.
  store<u32>(index, terms == 0 ? MASKS_MAX : 2 + terms / TERMS_OF_PROBE, IX_TRY)
  if (terms == 0) return
  numberFields(index, fields)
  clearBits(index, masks, log)
}

/** Are the mask's bits among those that the plan knows? Else control is at work, and its generation is to come. */
function isKnown(mask: usize, words: u32, bits: usize): bool {
  for (let pair = mask, end = mask + (words << 3); pair < end; pair += 8) {
    const offset = load<u32>(pair, MASK_PAIRS)
    if (offset < <u32>KEY_SIZE && (load<u32>(pair, MASK_PAIRS + 4) & ~load<u32>(bits + offset)) != 0) return false
  }
  return true
}

/** The field of a word and bits, -1 when the index has none. */
function fieldOf(index: usize, fields: u32, offset: u32, bits: u32): i32 {
  for (let i: u32 = 0; i < fields; i++) {
    const field = index + (i << 3)
    if (load<u32>(field, IX_FIELD_LIST) == offset && load<u32>(field, IX_FIELD_LIST + 4) == bits) return i
  }
  return -1
}

/** Every set begins with the masks that do not look at its field. */
function clear(index: usize, masks: u32, fields: u32, sets: u32, size: usize): void {
  for (let f: u32 = 0; f < fields; f++) {
    const table = index + INDEX_TABLES + <usize>(f * sets) * size
    memory.fill(table, 0, size)
    const field = index + (f << 3)
    for (let i: u32 = 0; i < masks; i++) {
      if (!looksAt(load<usize>(index + (i << 2), IX_MASK_LIST), load<u32>(field, IX_FIELD_LIST), load<u32>(field, IX_FIELD_LIST + 4))) {
        addMask(table, i)
      }
    }
    for (let s: u32 = 1; s < sets; s++) memory.copy(table + <usize>s * size, table, size)
  }
}

/** Likewise with the masks that do not look at all fields of the common key. */
function clearCommon(index: usize, masks: u32, sets: u32, size: usize): void {
  const table = index + INDEX_COMMON
  memory.fill(table, 0, size)
  const common = load<u32>(index, IX_COMMON)
  for (let i: u32 = 0; i < masks; i++) {
    if (common == 0 || commonOf(index, load<usize>(index + (i << 2), IX_MASK_LIST)) != common) addMask(table, i)
  }
  for (let s: u32 = 1; s < sets; s++) memory.copy(table + <usize>s * size, table, size)
}

/** How many fields of the common key the mask looks at. */
function commonOf(index: usize, mask: usize): u32 {
  let n: u32 = 0
  for (let i: u32 = 0; i < load<u32>(index, IX_COMMON); i++) {
    const field = index + (<usize>i << 3)
    n += u32(looksAt(mask, load<u32>(field, IX_FIELD_LIST), load<u32>(field, IX_FIELD_LIST + 4)))
  }
  return n
}

function looksAt(mask: usize, offset: u32, bits: u32): bool {
  for (let pair = mask, end = mask + (load<u32>(mask, MASK_WORDS) << 3); pair < end; pair += 8) {
    if (load<u32>(pair, MASK_PAIRS) == offset && load<u32>(pair, MASK_PAIRS + 4) == bits) return true
  }
  return false
}

// @ts-ignore: decorator
@inline
function addMask(set: usize, i: u32): void {
  const byte = set + (i >>> 3)
  store<u8>(byte, load<u8>(byte) | <u8>(<u32>1 << (i & 7)))
}

/** Reads the next piece of the masks' tables. */
function make(index: usize): void {
  let left = PIECE
  while (left != 0) {
    const i = load<u32>(index, IX_AT_MASK)
    if (i == load<u32>(index, IX_MASKS)) {
      store<u32>(index, STATE_READY, IX_STATE)
      return
    }
    const mask = load<usize>(index + (i << 2), IX_MASK_LIST)
    const table = load<usize>(mask, MASK_TABLE)
    if (table != load<usize>(index, IX_AT_TABLE)) {
      // The mask is new, or has a new table.
      store<usize>(index, table, IX_AT_TABLE)
      store<u32>(index, 0, IX_AT_CELL)
      readFields(index, mask)
    }
    const cells = load<u32>(table, TABLE_MASK) + 1
    let cell = load<u32>(index, IX_AT_CELL)
    for (; cell < cells && left != 0; cell++, left--) {
      const flow = load<usize>(table + (cell << 3), TABLE_CELLS + CELL_FLOW)
      if (flow > <usize>CELL_DEAD) addFlow(index, i, load<u32>(mask, MASK_WORDS), flow)
    }
    store<u32>(index, cell, IX_AT_CELL)
    if (cell == cells) {
      store<u32>(index, i + 1, IX_AT_MASK)
      store<usize>(index, 0, IX_AT_TABLE)
    }
  }
}

function readFields(index: usize, mask: usize): void {
  const words = load<u32>(mask, MASK_WORDS)
  for (let i: u32 = 0; i < words; i++) {
    const pair = mask + (i << 3)
    const offset = load<u32>(pair, MASK_PAIRS)
    const bits = load<u32>(pair, MASK_PAIRS + 4)
    store<i32>(index + (i << 2), fieldOf(index, load<u32>(index, IX_FIELDS), offset, bits), IX_AT_FIELDS)
    if (load<u32>(index, IX_TERMS) != 0) store<u32>(index + (i << 2), termOf(index, offset, bits, 0), IX_AT_TERMS)
  }
}

/** Mask i has a flow: the mask's bit into the sets of its values and of its common key, and the bit of its sum into the mask's. */
function addFlow(index: usize, i: u32, words: u32, flow: usize): void {
  const shift = <u64>load<u32>(index, IX_SHIFT)
  const size = <usize>load<u32>(index, IX_WORDS) << 3
  const key = load<usize>(flow, FLOW_KEY_PTR)
  const log = load<u32>(index, IX_LOG)
  let sum: u64 = 0
  let common: u64 = 0
  let commons: u32 = 0
  for (let w: u32 = 0; w < words; w++) {
    if (log != 0) sum += partOf(index, load<u32>(index + (w << 2), IX_AT_TERMS), load<u32>(key + (w << 2)))
    const field = load<i32>(index + (w << 2), IX_AT_FIELDS)
    if (field < 0) continue
    if (<u32>field < load<u32>(index, IX_COMMON)) {
      common += commonPart(<u32>field, load<u32>(key + (w << 2)))
      commons++
    }
    const table = index + INDEX_TABLES + ((<usize>field * size) << <usize>(64 - shift))
    addMask(table + setOf(load<u32>(key + (w << 2)), shift) * size, i)
  }
  if (commons != 0 && commons == load<u32>(index, IX_COMMON)) addMask(commonAt(index, common, size), i)
  if (log != 0) addSumOfFlow(index, i, log, sum)
}
