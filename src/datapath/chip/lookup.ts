// Flow lookup: which flow does a packet meet first, from a given mask of a chain on?
//
// The answer is a tuple space search: mask after mask, in the chain's order, of those whose prio has the packet's
// protocol; the key under the mask is hashed and looked up in the mask's table.
//
// In front of it stands the worker's exact-match cache. A *plan* knows, for the mask that a lookup starts with, which
// bits of the key any mask of the whole block looks at; the key under these bits, the protocol and the starting mask
// determine the flow, so the cache is keyed by them: packets that differ only in what no rule asks share an entry.
// An entry is valid for one SUPER_GENERATION. Bits are kept in chunks of 16 bytes; a chunk that nobody looks at costs nothing.
//
//   entry   0 start | 4 generation | 8 protocol | 12 flow | 16 chunk | 32 chunk | …
//
// When only the first three chunks are looked at, an entry is one cache line, in a table of its own; else it is 256
// bytes with room for fifteen.
// For a packet that leaves a tunnel the burst has a name for all that its outer headers say (outer.ts); with the name in
// place of the starting mask, three chunks are enough for it too.
// Keys of sixteen chunks and rules on tunnel options go without the cache, and so do blocks with filters of u32 (u32.ts),
// for which the search needs the packet.

import {
  BLOCK_CHAINS,
  CHAIN_BLOCK,
  CHAIN_INDEX,
  CHAIN_MASKS,
  CHAIN_NEXT,
  MASK_FLAGS,
  MASK_GROUPS,
  MASK_NEXT,
  MASK_PAIRS,
  MASK_PRIO,
  MASK_PROTO,
  MASK_WORDS,
  PRIO_CHAIN,
} from '../../memory/layout/flow.ts'
import { KEY_ENC_KEY_ID, KEY_ENC_PORT_SRC, KEY_ENC_TOS, KEY_PORT_SRC, KEY_SIZE } from '../../memory/layout/flow_key.ts'
import { NETDEV_IFINDEX } from '../../memory/layout/netdev.ts'
import { PKT_DEV } from '../../memory/layout/packet.ts'
import {
  WORKER_EMC,
  WORKER_EMC_MASK,
  WORKER_STEEP,
  WORKER_STEEP_CHAIN,
  WORKER_STEEP_IFINDEX,
  WORKER_STEEP_MASKS,
} from '../../memory/layout/worker.ts'
import { BE_ALL } from './frame.ts'
import { HASH_SEED, hashEnd, hashWord } from './hash.ts'
import { PLAN_SIZE, PLANS, SCRATCH_PLANS } from './layout.ts'
import { findHashed } from './mask_find.ts'
import { foundUnknown, indexOf, isReady, probed, searchIndex, visited } from './mask_index.ts'
import { calls, generation, scratch, worker } from './state.ts'
import { isU32, u32Classify } from './u32.ts'

// ---- plan
const PLAN_START: usize = 0
const PLAN_GENERATION: usize = 4
/** Groups of the key that the dissector must fill. */
export const PLAN_GROUPS: usize = 8
/** Chunks in use; 1 .. 15, PLAN_SMALL or PLAN_UNCACHED. */
export const PLAN_CHUNKS: usize = 12
/** The first three chunks of the key and no other: the common fields, up to TCP flags and ICMP. */
export const PLAN_SMALL: u32 = 0
const PLAN_UNCACHED: u32 = 255
/** Not 0: the chunks of small plans and those of the id, IPv4 addresses and ports of a tunnel, five in all. */
export const PLAN_TUNNEL: usize = 16
/** Not 0: and of the tunnel nothing that differs among the packets that an entry of outer.ts is for. */
export const PLAN_OUTER: usize = 20
/** Offset of the last chunk of small plans. */
const SMALL_LAST: usize = 32
/** Offsets in the key of the chunks in use. */
const PLAN_OFFSETS: usize = 64
/** Their bits, in the same order. */
export const PLAN_MASKS: usize = 128
/** The bits that are looked at, laid out as the key. */
const PLAN_BITS: usize = 384

// ---- cache entry
const ENTRY_GENERATION: usize = 4
const ENTRY_PROTO: usize = 8
export const ENTRY_FLOW: usize = 12
const ENTRY_CHUNKS: usize = 16
const SMALL_SHIFT: u32 = 6
const LARGE_SHIFT: u32 = 8

let small: usize = 0
let smallMask: u32 = 0
let smallMax: u32 = 0
let large: usize = 0
let largeMask: u32 = 0
let largeMax: u32 = 0
/** Entries less one that a table begins with: few flows stay in few pages. */
const SMALL_FIRST: u32 = 2047
const LARGE_FIRST: u32 = 511
/** From this size on a table is too large for the processor's near caches. */
const SMALL_NEAR: u32 = 8191

/** WORKER_EMC is (mask + 1) * 128 bytes for small entries and (mask + 1) * 64 for large ones, a quarter of a place each. */
export function attachCache(): void {
  const last = load<u32>(worker, WORKER_EMC_MASK)
  small = load<usize>(worker, WORKER_EMC)
  smallMax = last * 2 + 1
  smallMask = min(smallMax, SMALL_FIRST)
  large = small + ((<usize>last + 1) << 7)
  largeMax = last >>> 2
  largeMask = min(largeMax, LARGE_FIRST)
}

/** Is the table of small entries so large that it pays to fetch them ahead? */
// @ts-ignore: decorator
@inline
export function isCacheFar(): bool {
  return smallMask > SMALL_NEAR
}

// How large a table should be: it doubles when many misses found both of their places taken, halves when a generation
// ended and took its entries with it, and is the smallest again when it is as large as can be and most packets still find
// both places taken.
/** Calls of a window, and the conflicts in one that make the table grow; or, in each call, shrink it. */
const WINDOW: u32 = 256
const CONFLICTS: u32 = 128
const USELESS: u32 = 16
/** Calls before a cache that was no use may grow again. */
const PAUSE: u32 = 1 << 16
let windowBegan: u32 = 0
let conflicts: u32 = 0
let growAfter: u32 = 0

// Whether it is asked at all: when it has given up, seven bursts in eight go without it until it answers some packets again.
/** Packets that ask before that is decided. */
const TRIAL: u32 = 4096
let asked: u32 = 0
let unanswered: u32 = 0
let idle: bool = false

/** Does this burst go without the cache? */
// @ts-ignore: decorator
@inline
export function isCacheIdle(): bool {
  return idle && (calls & 7) != 0
}

/** So many packets of a burst asked the cache, and so many of them in vain. */
// @ts-ignore: decorator
@inline
export function noteAsked(packets: u32, missed: u32): void {
  asked += packets
  unanswered += missed
  if (asked < TRIAL) return
  if (unanswered <= asked - (asked >>> 4)) idle = false
  asked = 0
  unanswered = 0
}

/** Both places were taken. True: the table grew. */
function conflict(isSmall: bool): bool {
  const full = isSmall ? smallMask == smallMax : largeMask == largeMax
  const age = calls - windowBegan
  conflicts++
  if (age > WINDOW) {
    if (full && conflicts > age * USELESS) {
      smallMask = min(smallMax, SMALL_FIRST)
      largeMask = min(largeMax, LARGE_FIRST)
      growAfter = calls + PAUSE
      if (isSmall) idle = true
    }
    windowBegan = calls
    conflicts = 0
    return false
  }
  if (full || conflicts < CONFLICTS || <i32>(calls - growAfter) < 0) return false
  windowBegan = calls
  conflicts = 0
  if (isSmall) smallMask = smallMask * 2 + 1
  else largeMask = largeMask * 2 + 1
  return true
}

let cacheGeneration: u32 = 0

function shrinkCache(): void {
  if (cacheGeneration == generation) return
  cacheGeneration = generation
  if (smallMask > SMALL_FIRST) smallMask >>>= 1
  if (largeMask > LARGE_FIRST) largeMask >>>= 1
}

function addMaskToPlan(plan: usize, mask: usize): void {
  const words = load<u32>(mask, MASK_WORDS)
  for (let i: u32 = 0; i < words; i++) {
    const offset = load<u32>(mask + (i << 3), MASK_PAIRS)
    if (offset >= <u32>KEY_SIZE) {
      store<u32>(plan, PLAN_UNCACHED, PLAN_CHUNKS)
      continue
    }
    const at = plan + offset
    store<u32>(at, load<u32>(at, PLAN_BITS) | load<u32>(mask + (i << 3), MASK_PAIRS + 4), PLAN_BITS)
  }
  if (isU32(mask)) store<u32>(plan, PLAN_UNCACHED, PLAN_CHUNKS)
  else if (load<u32>(mask, MASK_FLAGS) != 0) store<u32>(plan, 0xffffffff, PLAN_BITS + KEY_PORT_SRC)
  store<u32>(plan, load<u32>(plan, PLAN_GROUPS) | load<u32>(mask, MASK_GROUPS), PLAN_GROUPS)
}

function makePlan(plan: usize, start: usize): void {
  shrinkCache()
  memory.fill(plan, 0, PLAN_SIZE)
  store<usize>(plan, start, PLAN_START)
  store<u32>(plan, generation, PLAN_GENERATION)
  const block = load<usize>(load<usize>(load<usize>(start, MASK_PRIO), PRIO_CHAIN), CHAIN_BLOCK)
  for (let chain = load<usize>(block, BLOCK_CHAINS); chain != 0; chain = load<usize>(chain, CHAIN_NEXT)) {
    for (let mask = load<usize>(chain, CHAIN_MASKS); mask != 0; mask = load<usize>(mask, MASK_NEXT)) {
      addMaskToPlan(plan, mask)
    }
  }
  if (load<u32>(plan, PLAN_CHUNKS) == PLAN_UNCACHED) return
  let n: u32 = 0
  let last: usize = 0
  for (let offset: usize = 0; offset < <usize>KEY_SIZE; offset += 16) {
    if (v128.any_true(v128.load(plan + offset, PLAN_BITS))) last = offset
  }
  if (last <= SMALL_LAST) {
    // All three, whether used or not: the burst has them in registers.
    for (let offset: usize = 0; offset <= SMALL_LAST; offset += 16) {
      v128.store(plan + offset, v128.load(plan + offset, PLAN_BITS), PLAN_MASKS)
    }
    store<u32>(plan, 16, PLAN_OFFSETS + 4)
    store<u32>(plan, 32, PLAN_OFFSETS + 8)
    store<u32>(plan, PLAN_SMALL, PLAN_CHUNKS)
    return
  }
  const tunnel = isTunnelPlan(plan)
  for (let offset: usize = 0; offset < <usize>KEY_SIZE; offset += 16) {
    const bits = v128.load(plan + offset, PLAN_BITS)
    if (tunnel ? !isTunnelChunk(offset) : !v128.any_true(bits)) continue
    v128.store(plan + (n << 4), bits, PLAN_MASKS)
    store<u32>(plan + (n << 2), <u32>offset, PLAN_OFFSETS)
    n++
  }
  store<u32>(plan, n < 16 ? n : PLAN_UNCACHED, PLAN_CHUNKS)
  store<u32>(plan, tunnel ? 1 : 0, PLAN_TUNNEL)
  const varies = load<u16>(plan, PLAN_BITS + KEY_ENC_PORT_SRC) | load<u16>(plan, PLAN_BITS + KEY_ENC_TOS)
  store<u32>(plan, tunnel && varies == 0 ? 1 : 0, PLAN_OUTER)
}

// @ts-ignore: decorator
@inline
function isTunnelChunk(offset: usize): bool {
  return offset <= SMALL_LAST || offset == KEY_ENC_KEY_ID || offset == KEY_ENC_PORT_SRC
}

/** Are all chunks in use among those of PLAN_TUNNEL? */
function isTunnelPlan(plan: usize): bool {
  let rest = i64x2.splat(0)
  for (let offset: usize = 0; offset < <usize>KEY_SIZE; offset += 16) {
    if (!isTunnelChunk(offset)) rest = v128.or(rest, v128.load(plan + offset, PLAN_BITS))
  }
  return !v128.any_true(rest)
}

/** The plan for lookups that start with this mask. */
// @ts-ignore: decorator
@inline
export function planOf(start: usize): usize {
  const plan = scratch + SCRATCH_PLANS + (((start >> 8) ^ (start >> 14)) & (PLANS - 1)) * PLAN_SIZE
  if (load<usize>(plan) != start || load<u32>(plan, PLAN_GENERATION) != generation) makePlan(plan, start)
  return plan
}

// ---- cache

/** 64-bit lanes of a product of two vectors, lane by lane: NH, four words of key in two multiplications. */
// @ts-ignore: decorator
@inline
function product(a: v128, b: v128): v128 {
  return i64x2.add(i64x2.extmul_low_i32x4_u(a, b), i64x2.extmul_high_i32x4_u(a, b))
}

// @ts-ignore: decorator
@inline
function salt(i: u32): v128 {
  return i64x2.splat(<i64>(0x9e3779b97f4a7c15 * (2 * <u64>i + 1)))
}

/** Of a sum that is as good as random, the bits that say where an entry is. */
// @ts-ignore: decorator
@inline
function fold(sum: v128): u32 {
  const s = <u64>i64x2.extract_lane(sum, 0) + rotl<u64>(<u64>i64x2.extract_lane(sum, 1), 23)
  return <u32>((s * 0x9e3779b97f4a7c15) >> 40)
}

/** The part of such a sum that is the same for all packets of a plan and protocol. */
// @ts-ignore: decorator
@inline
function seed(start: usize, proto: u32): v128 {
  return i64x2.replace_lane(i64x2.splat(0), 0, (<u64>start << 16) + proto)
}

/** Address of the entry that has, or may get, the answer for this key; 0 for uncached plans. */
export function cacheEntry(plan: usize, key: usize, proto: u32): usize {
  const chunks = load<u32>(plan, PLAN_CHUNKS)
  const start = load<usize>(plan, PLAN_START)
  if (chunks == PLAN_SMALL) {
    const a = v128.and(v128.load(key), v128.load(plan, PLAN_MASKS))
    const b = v128.and(v128.load(key, 16), v128.load(plan, PLAN_MASKS + 16))
    const c = v128.and(v128.load(key, 32), v128.load(plan, PLAN_MASKS + 32))
    return smallEntry(a, b, smallSeed(c, start, proto))
  }
  if (chunks == PLAN_UNCACHED) return 0
  let sum = seed(start, proto)
  for (let i: u32 = 0; i < chunks; i++) {
    const v = v128.and(v128.load(key + load<u32>(plan + (i << 2), PLAN_OFFSETS)), v128.load(plan + (i << 4), PLAN_MASKS))
    sum = i64x2.add(sum, square(v, i))
  }
  return large + ((<usize>(fold(sum) & largeMask)) << LARGE_SHIFT)
}

/** What the third chunk of a small plan's key adds to the hash, with the starting mask and the protocol. */
// @ts-ignore: decorator
@inline
export function smallSeed(c: v128, start: usize, proto: u32): v128 {
  return i64x2.add(square(c, 2), seed(start, proto))
}

/** The place of a small plan's key: its first two chunks under the plan's masks, and what smallSeed says of the rest. */
// @ts-ignore: decorator
@inline
export function smallEntry(a: v128, b: v128, seed: v128): usize {
  const sum = i64x2.add(product(i32x4.add(a, salt(0)), i32x4.add(b, salt(1))), seed)
  return small + ((<usize>(fold(sum) & smallMask)) << SMALL_SHIFT)
}

/** The first word of an entry: starting mask and generation, as the first eight bytes of a plan; protocol; flow 0. */
// @ts-ignore: decorator
@inline
export function smallHead(startAndGeneration: u64, proto: u32): v128 {
  return i64x2.replace_lane(i64x2.splat(startAndGeneration), 1, proto)
}

/** Does a small entry hold this key? */
// @ts-ignore: decorator
@inline
export function smallEntryHas(entry: usize, head: v128, a: v128, b: v128, c: v128): bool {
  const other = v128.or(
    v128.or(v128.and(v128.xor(head, v128.load(entry)), i32x4(-1, -1, -1, 0)), v128.xor(a, v128.load(entry, ENTRY_CHUNKS))),
    v128.or(v128.xor(b, v128.load(entry, ENTRY_CHUNKS + 16)), v128.xor(c, v128.load(entry, ENTRY_CHUNKS + 32))),
  )
  return !v128.any_true(other)
}

/** The place of a tunnel plan's key: its five chunks under the plan's masks. The same that cacheEntry finds. */
// @ts-ignore: decorator
@inline
export function tunnelEntry(a: v128, b: v128, c: v128, d: v128, e: v128, start: usize, proto: u32): usize {
  const sum = i64x2.add(
    i64x2.add(i64x2.add(square(a, 0), square(b, 1)), i64x2.add(square(c, 2), square(d, 3))),
    i64x2.add(square(e, 4), seed(start, proto)),
  )
  return large + ((<usize>(fold(sum) & largeMask)) << LARGE_SHIFT)
}

// @ts-ignore: decorator
@inline
function square(v: v128, i: u32): v128 {
  const x = i32x4.add(v, salt(i))
  return i64x2.extmul_low_i32x4_u(x, v128.shuffle<u32>(x, x, 2, 3, 0, 1))
}

/** Does an entry hold a tunnel plan's key? */
// @ts-ignore: decorator
@inline
export function tunnelEntryHas(entry: usize, a: v128, b: v128, c: v128, d: v128, e: v128, startAndGeneration: u64, proto: u32): bool {
  const ab = v128.or(v128.xor(a, v128.load(entry, ENTRY_CHUNKS)), v128.xor(b, v128.load(entry, ENTRY_CHUNKS + 16)))
  const cd = v128.or(v128.xor(c, v128.load(entry, ENTRY_CHUNKS + 32)), v128.xor(d, v128.load(entry, ENTRY_CHUNKS + 48)))
  const other = v128.or(v128.or(ab, cd), v128.xor(e, v128.load(entry, ENTRY_CHUNKS + 64)))
  return !v128.any_true(other) && load<u64>(entry) == startAndGeneration && load<u32>(entry, ENTRY_PROTO) == proto
}

/** The other place of a tunnel plan's key. */
// @ts-ignore: decorator
@inline
export function otherTunnelEntry(entry: usize): usize {
  return entry ^ (<usize>1 << LARGE_SHIFT)
}

/** Chunks of the plan's entries. */
// @ts-ignore: decorator
@inline
function entryChunks(plan: usize): u32 {
  const chunks = load<u32>(plan, PLAN_CHUNKS)
  return chunks == PLAN_SMALL ? 3 : chunks
}

/** Does the entry hold this key, at this generation? */
// @ts-ignore: decorator
@inline
export function entryHas(entry: usize, plan: usize, key: usize, proto: u32): bool {
  if (load<u64>(entry) != load<u64>(plan)) return false // start and generation
  if (load<u32>(entry, ENTRY_PROTO) != proto) return false
  const chunks = entryChunks(plan)
  let other = i64x2.splat(0)
  for (let i: u32 = 0; i < chunks; i++) {
    const v = v128.and(v128.load(key + load<u32>(plan + (i << 2), PLAN_OFFSETS)), v128.load(plan + (i << 4), PLAN_MASKS))
    other = v128.or(other, v128.xor(v, v128.load(entry + (i << 4), ENTRY_CHUNKS)))
  }
  return !v128.any_true(other)
}

function fillEntry(entry: usize, plan: usize, key: usize, proto: u32, flow: usize): void {
  store<u64>(entry, load<u64>(plan))
  store<u32>(entry, proto, ENTRY_PROTO)
  store<usize>(entry, flow, ENTRY_FLOW)
  const chunks = entryChunks(plan)
  for (let i: u32 = 0; i < chunks; i++) {
    const v = v128.and(v128.load(key + load<u32>(plan + (i << 2), PLAN_OFFSETS)), v128.load(plan + (i << 4), PLAN_MASKS))
    v128.store(entry + (i << 4), v, ENTRY_CHUNKS)
  }
}

/** The packet whose flow is searched, for filters that look at more than the key. */
let searched: usize = 0

/** The flow for this packet and its key, 0 when none matches: from the cache, or by a search that fills it. */
export function lookup(plan: usize, pkt: usize, key: usize, proto: u32): usize {
  searched = pkt
  searcher = load<usize>(pkt, PKT_DEV)
  const entry = cacheEntry(plan, key, proto)
  if (entry != 0) {
    if (entryHas(entry, plan, key, proto)) return load<usize>(entry, ENTRY_FLOW)
    const other = otherEntry(entry, plan)
    if (entryHas(other, plan, key, proto)) return load<usize>(other, ENTRY_FLOW)
  }
  return miss(entry, plan, key, proto)
}

/** Entries are in pairs: the other place where a key may be. */
// @ts-ignore: decorator
@inline
function otherEntry(entry: usize, plan: usize): usize {
  return entry ^ (load<u32>(plan, PLAN_CHUNKS) == PLAN_SMALL ? <usize>1 << SMALL_SHIFT : <usize>1 << LARGE_SHIFT)
}

/** The other place of a small plan's key. */
// @ts-ignore: decorator
@inline
export function otherSmallEntry(entry: usize): usize {
  return entry ^ (<usize>1 << SMALL_SHIFT)
}

/** Misses so far: now and then one decides differently. */
let misses: u32 = 0
/** How many of the last misses found both places taken by flows that are in use. */
let crowded: u32 = 0
const CROWDED: u32 = 64

/**
 * The search, and the answer into `entry` or its other. When there are many more flows than places, an answer in
 * sixteen is kept: writing them all costs more than it brings.
 */
export function miss(entry: usize, plan: usize, key: usize, proto: u32): usize {
  const flow = search(plan, key, proto)
  if (entry == 0 || strange) return flow
  entry = placeFor(entry, otherEntry(entry, plan), load<u32>(plan, PLAN_CHUNKS) == PLAN_SMALL)
  if (entry != 0) fillEntry(entry, plan, key, proto, flow)
  return flow
}

/** Likewise into a small entry, whatever the plan's are, with a name in place of the starting mask. */
export function missNamed(entry: usize, plan: usize, key: usize, proto: u32, nameAndGeneration: u64): usize {
  const flow = search(plan, key, proto)
  if (strange) return flow
  entry = placeFor(entry, otherSmallEntry(entry), true)
  if (entry == 0) return flow
  store<u64>(entry, nameAndGeneration)
  store<u32>(entry, proto, ENTRY_PROTO)
  store<usize>(entry, flow, ENTRY_FLOW)
  for (let i: usize = 0; i <= SMALL_LAST; i += 16) {
    v128.store(entry + i, v128.and(v128.load(key + i), v128.load(plan + i, PLAN_MASKS)), ENTRY_CHUNKS)
  }
  return flow
}

/** Where an answer is kept: in one of a key's two places, or nowhere (0). */
function placeFor(entry: usize, other: usize, isSmall: bool): usize {
  misses++
  if (load<u32>(entry, ENTRY_GENERATION) != generation) {
    if (crowded != 0) crowded--
    return entry
  }
  if (load<u32>(other, ENTRY_GENERATION) != generation) {
    if (crowded != 0) crowded--
    return other
  }
  if (conflict(isSmall)) return entry
  if (crowded < CROWDED * 2) crowded++
  if (crowded > CROWDED && (misses & 15) != 0) return 0
  return (misses & 1) != 0 ? other : entry
}

/** Takes all small entries out. */
export function forgetCache(): void {
  memory.fill(small, 0, (<usize>smallMax + 1) << SMALL_SHIFT)
}

// ---- search

/** A search that probes more masks than this is noted. */
const STEEP: u32 = 64

/** For people: somebody's rules, and packets, make this worker's searches long (memory/layout/worker.ts). */
function noteSteep(plan: usize, masks: u32): void {
  store<u64>(worker, load<u64>(worker, WORKER_STEEP) + 1, WORKER_STEEP)
  if (masks < load<u32>(worker, WORKER_STEEP_MASKS)) return
  const chain = load<usize>(load<usize>(load<usize>(plan, PLAN_START), MASK_PRIO), PRIO_CHAIN)
  store<u32>(worker, masks, WORKER_STEEP_MASKS)
  store<u32>(worker, load<u32>(searcher, NETDEV_IFINDEX), WORKER_STEEP_IFINDEX)
  store<u32>(worker, load<u32>(chain, CHAIN_INDEX), WORKER_STEEP_CHAIN)
}

/** The device whose filters are looked at. */
let searcher: usize = 0

// @ts-ignore: decorator
@inline
export function searchFor(dev: usize): void {
  searcher = dev
}

/** The last search met a mask with bits that its plan does not know: control is at work, the answer must not be cached. */
let strange: bool = false

/** The first flow for the key, 0 when none matches: by the plan's index, or mask after mask. */
export function search(plan: usize, key: usize, proto: u32): usize {
  const index = indexOf(load<usize>(plan, PLAN_START))
  if (isReady(index)) {
    const flow = searchIndex(index, key, proto, plan + PLAN_BITS)
    strange = foundUnknown
    if (probed > STEEP) noteSteep(plan, probed)
    return flow
  }
  let unknown: u32 = 0
  let flow: usize = 0
  let tried: u32 = 0
  for (let mask = load<usize>(plan, PLAN_START); mask != 0; mask = load<usize>(mask, MASK_NEXT)) {
    const p = load<u32>(mask, MASK_PROTO)
    if (p != proto && p != BE_ALL) continue
    tried++
    if (isU32(mask)) {
      unknown = 1
      // A plan that knows of no such filter is older than this one: control is at work.
      if (load<u32>(plan, PLAN_CHUNKS) == PLAN_UNCACHED) flow = u32Classify(searched, mask, 0)
      if (flow != 0) break
      continue
    }
    const words = load<u32>(mask, MASK_WORDS)
    let h = HASH_SEED
    for (let pair = mask, end = mask + (words << 3); pair < end; pair += 8) {
      const offset = load<u32>(pair, MASK_PAIRS)
      const bits = load<u32>(pair, MASK_PAIRS + 4)
      if (offset < <u32>KEY_SIZE) unknown |= bits & ~load<u32>(plan + offset, PLAN_BITS)
      h = hashWord(h, load<u32>(key + offset) & bits)
    }
    flow = findHashed(mask, words, key, hashEnd(h))
    if (flow != 0) break
  }
  strange = unknown != 0
  if (tried > STEEP) noteSteep(plan, tried)
  visited(index, tried, plan + PLAN_BITS)
  return flow
}
