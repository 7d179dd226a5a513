// Numbers to pointers, ordered, with the lowest free number found fast: what the kernel's idr is for filter handles
// and action indexes.
//
// A radix tree of nodes with 64 slots, as tall as the largest number in it needs:
//
//   root { node, shift }    node { present, full: a bit for each slot; slot[64] }    leaf slots hold the pointers
//
// `full` says that nothing below the slot is free, so the lowest free number is one walk down. Numbers are u32. The
// owner's lock (a prio's, an action kind's) is held around every call, so nodes are freed at once.

import type { Arena } from '../memory/arena.ts'
import { alloc, free } from '../memory/pool.ts'
import { TAG_HASH } from '../memory/tags.ts'

/** A root: address of the top node, 0 when empty, and how many bits lie below its slots. */
export const IDR_NODE = 0
export const IDR_SHIFT = 4

const PRESENT = 0
const FULL = 8
const SLOTS = 16
const NODE_SIZE = SLOTS + 64 * 4
const BITS = 6
const ALL = -1

const slotOf = (id: number, shift: number): number => (id >>> shift) & 63
/** Nothing of `id` lies above the slots of a node with this shift. */
const fits = (id: number, shift: number): boolean => shift + BITS >= 32 || id >>> (shift + BITS) === 0

const testBit = (m: Int32Array, bitmap: number, bit: number): boolean =>
  (m[(bitmap >> 2) + (bit >> 5)] & (1 << (bit & 31))) !== 0
const setBit = (m: Int32Array, bitmap: number, bit: number): void => {
  m[(bitmap >> 2) + (bit >> 5)] |= 1 << (bit & 31)
}
const clearBit = (m: Int32Array, bitmap: number, bit: number): void => {
  m[(bitmap >> 2) + (bit >> 5)] &= ~(1 << (bit & 31))
}
const isFull = (m: Int32Array, node: number): boolean =>
  m[(node + FULL) >> 2] === ALL && m[(node + FULL + 4) >> 2] === ALL
const isEmpty = (m: Int32Array, node: number): boolean =>
  m[(node + PRESENT) >> 2] === 0 && m[(node + PRESENT + 4) >> 2] === 0

const lowestBit = (v: number): number => 31 - Math.clz32(v & -v)

/** First bit at or after `from` that is set in the bitmap (or, inverted, that is not); 64 when there is none. */
function nextBit(m: Int32Array, bitmap: number, from: number, invert: number): number {
  if (from < 32) {
    const low = (m[bitmap >> 2] ^ invert) & (ALL << from)
    if (low !== 0) return lowestBit(low)
    from = 32
  }
  const high = (m[(bitmap >> 2) + 1] ^ invert) & (ALL << (from - 32))
  return high === 0 ? 64 : 32 + lowestBit(high)
}

/** The pointer of `id`, 0 when there is none. */
export function idrFind(m: Int32Array, root: number, id: number): number {
  let node = m[(root + IDR_NODE) >> 2]
  let shift = m[(root + IDR_SHIFT) >> 2]
  if (node === 0 || !fits(id, shift)) return 0
  for (; shift > 0; shift -= BITS) {
    node = m[((node + SLOTS) >> 2) + slotOf(id, shift)]
    if (node === 0) return 0
  }
  return m[((node + SLOTS) >> 2) + slotOf(id, 0)]
}

/** The lowest number at or above `min` that is free; above 0xffffffff when all are taken. */
export function idrLowestFree(m: Int32Array, root: number, min: number): number {
  let id = min
  for (;;) {
    let node = m[(root + IDR_NODE) >> 2]
    let shift = m[(root + IDR_SHIFT) >> 2]
    if (node === 0 || !fits(id, shift)) return id
    for (;;) {
      const at = slotOf(id, shift)
      const slot = nextBit(m, node + FULL, at, ALL)
      if (slot === 64) break
      if (slot !== at) id = firstOf(id, shift, slot)
      node = m[((node + SLOTS) >> 2) + slot]
      if (shift === 0 || node === 0) return id
      shift -= BITS
    }
    id = behind(id, shift)
    if (id > 0xffffffff) return id
  }
}

/** The lowest number in `slot` of the node with this shift on the way to `id`. */
const firstOf = (id: number, shift: number, slot: number): number => {
  const above = shift + BITS >= 32 ? 0 : (id >>> (shift + BITS)) << (shift + BITS)
  return (above | (slot << shift)) >>> 0
}

/** The lowest number above all those below the node with this shift on the way to `id`. */
const behind = (id: number, shift: number): number =>
  shift + BITS >= 32 ? 0x100000000 : ((id >>> (shift + BITS)) + 1) * (1 << (shift + BITS))

const path = new Int32Array(8)

/** Enters `pointer` (not 0) under `id`; false when the number is taken. Throws MemoryError with the tree as it was. */
export function idrInsert(a: Arena, root: number, id: number, pointer: number): boolean {
  const { m } = a
  if (m[(root + IDR_NODE) >> 2] === 0) {
    m[(root + IDR_NODE) >> 2] = alloc(a, NODE_SIZE, TAG_HASH)
    m[(root + IDR_SHIFT) >> 2] = 0
  }
  while (!fits(id, m[(root + IDR_SHIFT) >> 2])) grow(a, root)
  let node = m[(root + IDR_NODE) >> 2]
  let depth = 0
  let shift = m[(root + IDR_SHIFT) >> 2]
  for (; shift > 0; shift -= BITS) {
    path[depth++] = node
    const word = ((node + SLOTS) >> 2) + slotOf(id, shift)
    let child = m[word]
    if (child === 0) {
      child = alloc(a, NODE_SIZE, TAG_HASH)
      m[word] = child
      setBit(m, node + PRESENT, slotOf(id, shift))
    }
    node = child
  }
  const slot = slotOf(id, 0)
  if (testBit(m, node + PRESENT, slot)) return false
  m[((node + SLOTS) >> 2) + slot] = pointer
  setBit(m, node + PRESENT, slot)
  setBit(m, node + FULL, slot)
  for (shift = BITS; depth > 0 && isFull(m, node); shift += BITS) {
    node = path[--depth]
    setBit(m, node + FULL, slotOf(id, shift))
  }
  return true
}

/** One level more on top. */
function grow(a: Arena, root: number): void {
  const { m } = a
  const old = m[(root + IDR_NODE) >> 2]
  const top = alloc(a, NODE_SIZE, TAG_HASH)
  if (isEmpty(m, old)) {
    free(a, old, NODE_SIZE, TAG_HASH)
  } else {
    m[(top + SLOTS) >> 2] = old
    setBit(m, top + PRESENT, 0)
    if (isFull(m, old)) setBit(m, top + FULL, 0)
  }
  m[(root + IDR_NODE) >> 2] = top
  m[(root + IDR_SHIFT) >> 2] += BITS
}

/** Enters `pointer` under the lowest free number from `min`; gives the number back, or -1 when all are taken. */
export function idrAlloc(a: Arena, root: number, min: number, pointer: number): number {
  const id = idrLowestFree(a.m, root, min)
  if (id > 0xffffffff) return -1
  idrInsert(a, root, id, pointer)
  return id
}

/** Another pointer for a number that is in the tree. */
export function idrReplace(m: Int32Array, root: number, id: number, pointer: number): void {
  let node = m[(root + IDR_NODE) >> 2]
  for (let shift = m[(root + IDR_SHIFT) >> 2]; shift > 0; shift -= BITS) {
    node = m[((node + SLOTS) >> 2) + slotOf(id, shift)]
  }
  m[((node + SLOTS) >> 2) + slotOf(id, 0)] = pointer
}

/** Takes a number out; gives back its pointer, 0 when it was not in. */
export function idrRemove(a: Arena, root: number, id: number): number {
  const { m } = a
  let node = m[(root + IDR_NODE) >> 2]
  let shift = m[(root + IDR_SHIFT) >> 2]
  if (node === 0 || !fits(id, shift)) return 0
  let depth = 0
  for (; shift > 0; shift -= BITS) {
    path[depth++] = node
    node = m[((node + SLOTS) >> 2) + slotOf(id, shift)]
    if (node === 0) return 0
  }
  const word = ((node + SLOTS) >> 2) + slotOf(id, 0)
  const pointer = m[word]
  if (pointer === 0) return 0
  m[word] = 0
  clearBit(m, node + PRESENT, slotOf(id, 0))
  clearBit(m, node + FULL, slotOf(id, 0))
  for (shift = BITS; depth > 0; shift += BITS) {
    const parent = path[--depth]
    clearBit(m, parent + FULL, slotOf(id, shift))
    if (isEmpty(m, node)) {
      free(a, node, NODE_SIZE, TAG_HASH)
      m[((parent + SLOTS) >> 2) + slotOf(id, shift)] = 0
      clearBit(m, parent + PRESENT, slotOf(id, shift))
    }
    node = parent
  }
  if (isEmpty(m, node)) {
    free(a, node, NODE_SIZE, TAG_HASH)
    m[(root + IDR_NODE) >> 2] = 0
  }
  return pointer
}

/** The lowest number at or above `from` that is in the tree, -1 when there is none. */
export function idrNext(m: Int32Array, root: number, from: number): number {
  let id = from
  for (;;) {
    let node = m[(root + IDR_NODE) >> 2]
    let shift = m[(root + IDR_SHIFT) >> 2]
    if (node === 0 || id > 0xffffffff || !fits(id, shift)) return -1
    for (;;) {
      const at = slotOf(id, shift)
      const slot = nextBit(m, node + PRESENT, at, 0)
      if (slot === 64) break
      if (slot !== at) id = firstOf(id, shift, slot)
      if (shift === 0) return id
      node = m[((node + SLOTS) >> 2) + slot]
      shift -= BITS
    }
    id = behind(id, shift)
  }
}
