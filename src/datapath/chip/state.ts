// What one instance of the chip knows: the addresses of its worker's structures, and where it is.
//
// A worker's thread instantiates the module once on the arena's memory and calls `attach`. These are WebAssembly
// globals, so each instance has its own; everything else is in the arena. The module has no data of its own there.

import {
  COUNTER_BYTES,
  COUNTER_DROPS,
  COUNTER_FIRST_USED,
  COUNTER_LAST_USED,
  COUNTER_OVERLIMITS,
  COUNTER_PACKETS,
  COUNTER_SIZE,
  EMIT_OUTPUT,
  EMIT_SIZE,
  WORKER_APART,
  WORKER_COUNTERS,
  WORKER_DROPS,
  WORKER_EMIT,
  WORKER_EMIT_COUNT,
  WORKER_EMIT_MAX,
  WORKER_FREE,
  WORKER_FREE_COUNT,
  WORKER_NOW_MS,
} from '../../memory/layout/worker.ts'
import { DROP_EMIT_FULL } from '../../memory/layout/drop.ts'
import { SUPER_GENERATION, SUPER_LARGE } from '../../memory/layout/super.ts'
import { PKT_NEST } from '../../memory/layout/packet.ts'
import { releaseLarge } from './held.ts'
import { traceDrop, traceEmit } from './trace.ts'

/** This worker's struct, and what it says. */
export let worker: usize = 0
export let scratch: usize = 0
let counters: usize = 0
let drops: usize = 0
let freeStack: usize = 0
let emissions: usize = 0
let emitMax: u32 = 0

/** Milliseconds of the clock + 1, as counters keep them. */
let usedAt: u32 = 1
/** SUPER_GENERATION as this burst sees it. */
export let generation: u32 = 0
/** Calls from outside so far. */
export let calls: u32 = 0
/** Slots from here on are large ones (held.ts). */
export let largeFrom: usize = 0xffffffff
/** Something was emitted for a host that is on this thread: the burst stops behind this packet. */
export let punted: bool = false

/** Nested mirred actions (mirred_nest_level) and device transmissions (xmit recursion) of the call in progress. */
export let mirredNest: i32 = 0
export let xmitNest: i32 = 0
/** Hooks that are being run, each with a key of its own. */
export let hookDepth: i32 = 0
/** An action changed the packet or its metadata: the key of the hook that runs it is no longer right. */
export let modified: bool = false

export function attach(w: usize, room: usize): void {
  worker = w
  scratch = room
  counters = load<usize>(w, WORKER_COUNTERS)
  drops = load<usize>(w, WORKER_DROPS)
  freeStack = load<usize>(w, WORKER_FREE)
  emissions = load<usize>(w, WORKER_EMIT)
  emitMax = load<u32>(w, WORKER_EMIT_MAX)
}

/** At every call from outside: looks at the clock and at what control changed. */
// @ts-ignore: decorator
@inline
export function begin(mirred: i32): void {
  usedAt = load<u32>(worker, WORKER_NOW_MS) + 1
  generation = load<u32>(SUPER_GENERATION)
  calls++
  const large = load<usize>(SUPER_LARGE)
  largeFrom = large == 0 ? 0xffffffff : large
  punted = false
  mirredNest = mirred
  xmitNest = 0
  hookDepth = 0
}

// @ts-ignore: decorator
@inline
export function setModified(to: bool): void {
  modified = to
}
// @ts-ignore: decorator
@inline
export function addMirredNest(by: i32): void {
  mirredNest += by
}
// @ts-ignore: decorator
@inline
export function addXmitNest(by: i32): void {
  xmitNest += by
}
// @ts-ignore: decorator
@inline
export function addHookDepth(by: i32): void {
  hookDepth += by
}

// ---- counters

// @ts-ignore: decorator
@inline
export function count(id: u32, bytes: u32): void {
  countMany(id, 1, bytes)
}

/** Packets counted together. */
// @ts-ignore: decorator
@inline
export function countMany(id: u32, packets: u32, bytes: u32): void {
  const c = counters + (<usize>id) * COUNTER_SIZE
  const at = usedAt
  v128.store(c, i64x2.add(v128.load(c, COUNTER_PACKETS), i64x2.replace_lane(i64x2.splat(packets), 1, bytes)), COUNTER_PACKETS)
  store<u32>(c, at, COUNTER_LAST_USED)
  if (load<u32>(c, COUNTER_FIRST_USED) == 0) store<u32>(c, at, COUNTER_FIRST_USED)
}

/** Takes back what `count` added. */
export function uncount(id: u32, bytes: u32): void {
  const c = counters + (<usize>id) * COUNTER_SIZE
  v128.store(c, i64x2.sub(v128.load(c, COUNTER_PACKETS), i64x2.replace_lane(i64x2.splat(1), 1, bytes)), COUNTER_PACKETS)
}

/** Brings a counter's memory near. */
// @ts-ignore: decorator
@inline
export function touchCounter(id: u32): u32 {
  return load<u32>(counters + (<usize>id) * COUNTER_SIZE)
}

export function countDrop(id: u32): void {
  if (id == 0) return
  const c = counters + (<usize>id) * COUNTER_SIZE
  store<u32>(c, load<u32>(c, COUNTER_DROPS) + 1, COUNTER_DROPS)
}

export function countOverlimit(id: u32): void {
  if (id == 0) return
  const c = counters + (<usize>id) * COUNTER_SIZE
  store<u32>(c, load<u32>(c, COUNTER_OVERLIMITS) + 1, COUNTER_OVERLIMITS)
}

// ---- packet slots

/** A free slot, 0 when there is none. */
export function alloc(): usize {
  const n = load<u32>(worker, WORKER_FREE_COUNT)
  if (n == 0) return 0
  store<u32>(worker, n - 1, WORKER_FREE_COUNT)
  return load<usize>(freeStack + ((<usize>n - 1) << 2))
}

/** So many free slots as there are, n at most, into a list. Returns how many. */
export function allocMany(list: usize, n: u32): u32 {
  const have = load<u32>(worker, WORKER_FREE_COUNT)
  n = min(n, have)
  store<u32>(worker, have - n, WORKER_FREE_COUNT)
  let top = freeStack + ((<usize>have) << 2)
  for (const end = list + ((<usize>n) << 2); list < end; list += 4) {
    top -= 4
    store<usize>(list, load<usize>(top))
  }
  return n
}

export function release(pkt: usize): void {
  if (pkt >= largeFrom) {
    releaseLarge(pkt)
    return
  }
  const n = load<u32>(worker, WORKER_FREE_COUNT)
  store<usize>(freeStack + ((<usize>n) << 2), pkt)
  store<u32>(worker, n + 1, WORKER_FREE_COUNT)
}

/** Gives back the slots of n emissions from `e` on. */
export function releaseEmitted(e: usize, n: u32): void {
  let have = load<u32>(worker, WORKER_FREE_COUNT)
  for (const end = e + <usize>n * EMIT_SIZE; e < end; e += EMIT_SIZE) {
    const pkt = load<usize>(e)
    if (pkt < largeFrom) store<usize>(freeStack + (<usize>(have++) << 2), pkt)
    else releaseLarge(pkt)
  }
  store<u32>(worker, have, WORKER_FREE_COUNT)
}

/** The end of a packet that is not sent: its reason counts, its slot is free. */
export function drop(pkt: usize, reason: i32): void {
  countReason(reason)
  release(pkt)
}

/** A packet that ended without having got a slot, or a reason that is counted apart. */
export function countReason(reason: i32): void {
  traceDrop(reason)
  const d = drops + ((<usize>reason) << 3)
  store<u64>(d, load<u64>(d) + 1)
}

// ---- emissions

/** Says what became of a packet. The slot is the driver's now. */
// @ts-ignore: decorator
@inline
export function emit(pkt: usize, dev: usize, kind: i32, arg: usize): void {
  const n = load<u32>(worker, WORKER_EMIT_COUNT)
  if (n >= emitMax) {
    drop(pkt, DROP_EMIT_FULL)
    return
  }
  traceEmit(pkt, dev, kind, arg)
  store<u32>(worker, n + 1, WORKER_EMIT_COUNT)
  const e = emissions + (<usize>n) * EMIT_SIZE
  store<u64>(e, <u64>pkt | ((<u64>dev) << 32))
  store<u64>(e, <u64>kind | ((<u64>arg) << 32), 8)
}

/** Where n outputs more go in the list, 0 when there is no room for them. */
// @ts-ignore: decorator
@inline
export function emissionEnd(n: u32): usize {
  const have = load<u32>(worker, WORKER_EMIT_COUNT)
  return have + n > emitMax ? 0 : emissions + (<usize>have) * EMIT_SIZE
}

/** They stand there. */
// @ts-ignore: decorator
@inline
export function emitted(n: u32): void {
  store<u32>(worker, load<u32>(worker, WORKER_EMIT_COUNT) + n, WORKER_EMIT_COUNT)
}

/** Hands a packet to the host, with the depth of redirects that it came through. */
export function punt(pkt: usize, dev: usize, kind: i32, arg: usize): void {
  store<u8>(pkt, <u8>mirredNest, PKT_NEST)
  if (load<u32>(worker, WORKER_APART) == 0) punted = true
  emit(pkt, dev, kind, arg)
}

/** Room for more emissions: a burst goes on only while a packet's worth of copies fits. */
// @ts-ignore: decorator
@inline
export function emitRoom(): i32 {
  return <i32>emitMax - load<i32>(worker, WORKER_EMIT_COUNT)
}

/** A packet begins anew: it is in no mirred action. */
export function setMirredNest(to: i32): void {
  mirredNest = to
}
