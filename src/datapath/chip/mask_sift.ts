// The sieve of a mask index: of many masks that could have a flow for a key, field by field, those that can have one
// for the whole of it. One hash for each mask, and a small table of bits for each that says which hashes its flows have.
//
// Hashing the key anew under every mask is what a search should be spared. So the hash is a sum, and masks share what
// they have in common:
//
//   hash of a key under a mask = sum over the mask's fields of (value of the field * the field's odd number)  mod 2^64
//
// A *term* is a part of such a sum: a field, or the sum of two terms. The fields of a mask are added the commonest first,
// and a sum that is there is taken again, so that masks which differ in one field cost one addition each. For a key every
// term is worked out once, in its order; then a mask is two loads, an addition, and a bit. That the sum of products is
// as good as any hash of the whole is the multiply-shift of vectors (Dietzfelbinger 1996). A bit may be set for a flow
// that is not there, or for two; it is never missing: what is left is probed.
//
// It belongs to a mask index, which makes it and reads it (mask_index.ts); terms and bits stand in the index's memory.

import { MASK_PAIRS, MASK_WORDS } from '../../memory/layout/flow.ts'
import {
  INDEX_BITS,
  INDEX_BITS_SIZE,
  INDEX_MASK_TERMS,
  INDEX_PLACES,
  INDEX_TERMS,
  SCRATCH_TERMS,
  TERMS_MAX,
} from './layout.ts'
import { scratch } from './state.ts'

// A term: offset and bits of a field, or the places of two terms; and the field's number.
const TERM_SIZE: usize = 16
const TERM_A: usize = 0
const TERM_B: usize = 4
const TERM_NUMBER: usize = 8
/** In TERM_A of a sum: no offset of a key is that large. */
const SUM: u32 = 0x80000000
/** Where a term's value stands, is eight times its number. Term 0 is nothing, its value 0. */
const PLACE_SHIFT: u32 = 3

/** Words of INDEX_PLACES (u16, by hash) less one. */
const PLACES: u32 = 2 * TERMS_MAX - 1
/** Bits of a mask: 2^8 at least, and as many for each of its flows if there is room. */
const BITS_MIN: u32 = 8
const BITS_OF_FLOW: u32 = 16
/** More masks than this among 64 are gone through one by one. */
const MANY: u64 = 24

// @ts-ignore: decorator
@inline
function termAt(index: usize, t: u32): usize {
  return index + INDEX_TERMS + <usize>t * TERM_SIZE
}

/** No terms. */
export function clearTerms(index: usize): void {
  memory.fill(index + INDEX_PLACES, 0, 2 * (PLACES + 1))
}

/** The term of these two, made when there is none; 0 when there is no room. `terms`: how many there are. */
export function termOf(index: usize, a: u32, b: u32, terms: u32): u32 {
  let place = (((a * 0x9e3779b1) ^ b) * 0x85ebca6b) >>> 16
  let t: u32 = 1
  while (t != 0) {
    place = (place + 1) & PLACES
    t = load<u16>(index + INDEX_PLACES + (<usize>place << 1))
    if (t != 0 && load<u32>(termAt(index, t), TERM_A) == a && load<u32>(termAt(index, t), TERM_B) == b) return t
  }
  if (terms + 1 >= TERMS_MAX) return 0
  t = terms + 1
  store<u16>(index + INDEX_PLACES + (<usize>place << 1), <u16>t)
  store<u32>(termAt(index, t), a, TERM_A)
  store<u32>(termAt(index, t), b, TERM_B)
  store<u64>(termAt(index, t), 0, TERM_NUMBER)
  return t
}

/** One mask more looks at the field t. While terms are made, a field's number is how many do. */
export function countTerm(index: usize, t: u32): void {
  const term = termAt(index, t)
  store<u64>(term, load<u64>(term, TERM_NUMBER) + 1, TERM_NUMBER)
}

/** How many masks look at the field t. */
// @ts-ignore: decorator
@inline
export function countOf(index: usize, t: u32): u32 {
  return load<u32>(termAt(index, t), TERM_NUMBER)
}

export function offsetOf(index: usize, t: u32): u32 {
  return load<u32>(termAt(index, t), TERM_A)
}

export function bitsOf(index: usize, t: u32): u32 {
  return load<u32>(termAt(index, t), TERM_B)
}

/** The sum for mask i, from terms that are there as far as they are. `terms`: how many there are; how many then, 0: no room. */
export function addSum(index: usize, i: u32, mask: usize, terms: u32): u32 {
  const words = load<u32>(mask, MASK_WORDS)
  // The mask's fields, the commonest first; room for them is where values will be.
  const list = scratch + SCRATCH_TERMS
  for (let n: u32 = 0; n < words; n++) {
    const pair = mask + (<usize>n << 3)
    const t = termOf(index, load<u32>(pair, MASK_PAIRS), load<u32>(pair, MASK_PAIRS + 4), terms)
    let at = n
    while (at != 0 && isCommoner(index, t, load<u32>(list + (<usize>(at - 1) << 2)))) {
      store<u32>(list + (<usize>at << 2), load<u32>(list + (<usize>(at - 1) << 2)))
      at--
    }
    store<u32>(list + (<usize>at << 2), t)
  }
  let a: u32 = words == 0 ? 0 : load<u32>(list)
  for (let n: u32 = 1; n + 1 < words; n++) {
    const sum = termOf(index, SUM | (a << PLACE_SHIFT), load<u32>(list + (<usize>n << 2)) << PLACE_SHIFT, terms)
    if (sum == 0) return 0
    if (sum > terms) terms = sum
    a = sum
  }
  const b: u32 = words < 2 ? 0 : load<u32>(list + (<usize>(words - 1) << 2))
  store<u64>(index + (<usize>i << 3), <u64>(a << PLACE_SHIFT) | (<u64>(b << PLACE_SHIFT) << 32), INDEX_MASK_TERMS)
  return terms
}

/** Is field t looked at by more masks than u, or, of equals, the older? */
// @ts-ignore: decorator
@inline
function isCommoner(index: usize, t: u32, u: u32): bool {
  const n = countOf(index, t)
  const m = countOf(index, u)
  return n > m || (n == m && t < u)
}

/** Gives the fields their numbers, from here on. */
export function numberFields(index: usize, fields: u32): void {
  let seed: u64 = 0x243f6a8885a308d3
  for (let t: u32 = 1; t <= fields; t++) {
    seed += 0x9e3779b97f4a7c15
    const mixed = (seed ^ (seed >> 30)) * 0xbf58476d1ce4e5b9
    store<u64>(termAt(index, t), (mixed ^ (mixed >> 27)) | 1, TERM_NUMBER)
  }
}

/** Log2 of the bits of each mask for so many masks and flows; 0 when there is too little room for them to say anything. */
export function bitsFor(masks: u32, flows: u32): u32 {
  let log = BITS_MIN
  const most = <u32>INDEX_BITS_SIZE * 8 / masks
  while ((<u32>1 << log) < BITS_OF_FLOW * (flows / masks) && (<u32>2 << log) <= most) log++
  return (<u32>1 << log) > flows / masks ? log : 0
}

export function clearBits(index: usize, masks: u32, log: u32): void {
  memory.fill(index + INDEX_BITS, 0, <usize>masks << (log - 3))
}

/** Mask i has a flow with this sum. */
export function addSumOfFlow(index: usize, i: u32, log: u32, sum: u64): void {
  const at = index + INDEX_BITS + (<usize>i << (log - 3)) + (<usize>(sum >> <u64>(70 - log)) << 3)
  store<u64>(at, load<u64>(at) | (<u64>1 << (sum >> 32)))
}

/** What a word of a flow's key, field t, adds to its sum. */
// @ts-ignore: decorator
@inline
export function partOf(index: usize, t: u32, value: u32): u64 {
  return <u64>value * load<u64>(termAt(index, t), TERM_NUMBER)
}

/** Works out all terms for a key. */
export function workOut(index: usize, key: usize, fields: u32, terms: u32): void {
  let value = scratch + SCRATCH_TERMS
  store<u64>(value, 0)
  let term = termAt(index, 1)
  for (const end = term + <usize>fields * TERM_SIZE; term < end; term += TERM_SIZE) {
    value += 8
    const word = load<u32>(key + load<u32>(term, TERM_A)) & load<u32>(term, TERM_B)
    store<u64>(value, <u64>word * load<u64>(term, TERM_NUMBER))
  }
  const values = scratch + SCRATCH_TERMS
  for (const end = termAt(index, terms + 1); term < end; term += TERM_SIZE) {
    value += 8
    const a = load<u64>(values + (load<u32>(term, TERM_A) & ~SUM))
    store<u64>(value, a + load<u64>(values + load<u32>(term, TERM_B)))
  }
}

/** Of a set of masks, bit 0 for mask `first`, those whose bit is set for the key that was worked out last. */
export function sift(index: usize, masks: u64, first: u32, log: u32): u64 {
  let rows = index + INDEX_MASK_TERMS + (<usize>first << 3)
  let bits = index + INDEX_BITS + (<usize>first << (log - 3))
  const size = <usize>1 << (log - 3)
  const shift = <u64>(70 - log)
  let left: u64 = 0
  if (popcnt(masks) < MANY) {
    for (let rest = masks; rest != 0; rest &= rest - 1) {
      const i = ctz(rest)
      left |= bitOf(rows + (<usize>i << 3), bits + <usize>i * size, shift) << i
    }
    return left
  }
  const end = <u64>64 - clz(masks)
  for (let i: u64 = 0; i < end; i++, rows += 8, bits += size) left |= bitOf(rows, bits, shift) << i
  return left & masks
}

/** The bit of the mask whose two terms stand at `row`, whose bits at `bits`: the sum's upper end says which word of 64. */
// @ts-ignore: decorator
@inline
function bitOf(row: usize, bits: usize, shift: u64): u64 {
  const values = scratch + SCRATCH_TERMS
  const sum = load<u64>(values + load<u32>(row)) + load<u64>(values + load<u32>(row, 4))
  return (load<u64>(bits + (<usize>(sum >> shift) << 3)) >> (sum >> 32)) & 1
}
