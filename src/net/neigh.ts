// The neighbour table (struct neighbour, net/core/neighbour.c): who has which address on which device.
//
// A neighbour is found by (family, address, device) in one hash table for ARP and ND, and lives from its creation until
// it is removed or garbage collected. Its identity is constant; its state, link-layer address, flags and times change
// under lock `neighbour` inside a sequence count, so that any thread takes a consistent picture with `neighSnapshot`
// and no lock (it must be an online RCU reader). What changes when, the state machine, is net/neigh_update.ts; timers,
// probes and held packets are host/neighbour.ts's, which is the one writer beside `ip neigh`.
//
// A listener is called after a change that matters to others, on the thread that made the change and with no lock held:
// encap/ posts from it to the event worker.
// Times are milliseconds of the switch's clock, kept modulo 2^32 and compared by difference.

import type { Arena } from '../memory/arena.ts'
import { reserve } from '../memory/arena.ts'
import { SUPER_PART_NEIGH, SUPER_PARTS } from '../memory/layout/super.ts'
import { alloc, freeRcu } from '../memory/pool.ts'
import { TAG_NEIGH } from '../memory/tags.ts'
import { add, load, store } from '../sync/atomic.ts'
import { NEIGHBOUR } from '../sync/lock_order.ts'
import { isHeld, lock, unlock } from '../sync/mutex.ts'
import { deref, publish } from '../sync/rcu.ts'
import { NUD_DELAY, NUD_NOARP, NUD_PERMANENT, NUD_PROBE, NUD_REACHABLE, NUD_STALE } from '../wire/rtm_neigh.ts'
import { addressAt, addressHash, readAddress, writeAddress } from './inet.ts'

export const NUD_VALID = NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_PROBE | NUD_STALE | NUD_DELAY
export const NUD_CONNECTED = NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE

// ---- the table
const TABLE_LOCK = 0
/** Entries that garbage collection may take (gc_entries), IPv4 then IPv6: all but permanent and externally learned. @under neighbour */
export const NEIGH_GC_ENTRIES = 16
/** A timer was set by a thread that is not the host's: the host looks at all. @atomic */
export const NEIGH_TIMERS_CHANGED = 8
/** Bumped with every change. @atomic */
export const NEIGH_GENERATION = 12
/** Bumped with every neighbour that the kernel shall be asked for. @atomic */
export const NEIGH_ASKS = 24
const TABLE_BUCKETS = 64
const BUCKETS = 65536

// ---- a neighbour
/** @rcu neighbour */
export const NEIGH_NEXT = 0
/** Odd while the words below change. @atomic */
export const NEIGH_SEQ = 4
export const NEIGH_FAMILY = 8
/** Address of the device's slot. @constant */
export const NEIGH_DEV = 12
export const NEIGH_ADDR = 16
/** NUD_*. In the sequence count. */
export const NEIGH_STATE = 32
/** Six bytes, two of zero. In the sequence count. */
export const NEIGH_MAC = 36
/** NTF_*. In the sequence count. */
export const NEIGH_FLAGS = 44
/** When it was last known to be reachable, used, changed. In the sequence count. */
export const NEIGH_CONFIRMED = 48
export const NEIGH_USED = 52
export const NEIGH_UPDATED = 56
/** When its timer runs out; meaningful while NEIGH_ARMED. @under neighbour */
export const NEIGH_TIMER = 60
export const NEIGH_ARMED = 64
/** Probes sent in this state. @under neighbour */
export const NEIGH_PROBES = 68
/** RTN_* of the address when it was made: unicast, multicast, broadcast, local. @constant */
export const NEIGH_TYPE = 72
/** RTPROT_* given with `protocol`. @under neighbour */
export const NEIGH_PROTOCOL = 76
/** 1: taken out of the table. @atomic */
export const NEIGH_DEAD = 80
/** On the list that garbage collection looks at. @under neighbour */
export const NEIGH_ON_GC_LIST = 84
/** 1: the kernel whose neighbour this is shall be asked for it (NETDEV_F_KERNEL). @atomic */
export const NEIGH_ASKED = 88
export const NEIGH_SIZE = 128

/** A picture of a neighbour, consistent in itself. */
export interface NeighSnapshot {
  /** Address of the struct, 0 when there is no such neighbour. */
  neigh: number
  family: number
  /** Address of the device. */
  dev: number
  address: Uint8Array
  /** NUD_*; 0 (NUD_NONE) when there is no such neighbour. */
  state: number
  /** Packets may be sent to `mac` now. */
  valid: boolean
  mac: Uint8Array
  flags: number
  confirmed: number
  used: number
  updated: number
  probes: number
  type: number
  protocol: number
}

export type NeighListener = (a: Arena, event: number, neigh: number) => void
interface Hooks {
  listeners: NeighListener[]
  /** The host's, on its own thread: a timer was set or stopped. */
  timer: ((a: Arena, neigh: number) => void) | undefined
}
const hooks = new WeakMap<WebAssembly.Memory, Hooks>()

function hooksOf(a: Arena): Hooks {
  let h = hooks.get(a.memory)
  if (h === undefined) {
    h = { listeners: [], timer: undefined }
    hooks.set(a.memory, h)
  }
  return h
}

/**
 * From now on `f` hears of every change that this thread makes and that the kernel would tell of (NETEVENT_NEIGH_UPDATE
 * and `ip monitor neigh`): RTM_NEWNEIGH for another state or link-layer address, RTM_DELNEIGH for the end.
 */
export const neighListen = (a: Arena, f: NeighListener): void => {
  hooksOf(a).listeners.push(f)
}

/** The host's thread only: `f` hears of timers that change. */
export const neighTimerHook = (a: Arena, f: ((a: Arena, neigh: number) => void) | undefined): void => {
  hooksOf(a).timer = f
}

/**
 * Tells of a change (neigh_update_notify): RTM_NEWNEIGH for one that others should see, RTM_DELNEIGH when it left the
 * table. No lock held.
 */
export function neighNotify(a: Arena, event: number, neigh: number): void {
  add(a.m, (neighTable(a) + NEIGH_GENERATION) >> 2, 1)
  for (const f of hooksOf(a).listeners) f(a, event, neigh)
}

export const neighTable = (a: Arena): number => a.m[(SUPER_PARTS + SUPER_PART_NEIGH) >> 2]

/** Once for an arena. */
export function neighInit(a: Arena): void {
  a.m[(SUPER_PARTS + SUPER_PART_NEIGH) >> 2] = reserve(a, TABLE_BUCKETS + BUCKETS * 4, 64)
}

export const lockNeighbours = (a: Arena): void => lock(a.m, (neighTable(a) + TABLE_LOCK) >> 2, NEIGHBOUR)
export const unlockNeighbours = (a: Arena): void => unlock(a.m, (neighTable(a) + TABLE_LOCK) >> 2, NEIGHBOUR)

const bucketWord = (a: Arena, family: number, address: Uint8Array, dev: number): number =>
  (neighTable(a) + TABLE_BUCKETS + (addressHash(address, family, dev) & (BUCKETS - 1)) * 4) >> 2

/** The neighbour (address of its struct), 0 when there is none. Valid until the reader's next quiescent state. */
export function neighLookup(a: Arena, family: number, address: Uint8Array, dev: number): number {
  const m = a.m
  for (let n = deref(m, bucketWord(a, family, address, dev)); n !== 0; n = deref(m, (n + NEIGH_NEXT) >> 2))
    if (
      m[(n + NEIGH_DEV) >> 2] === dev &&
      m[(n + NEIGH_FAMILY) >> 2] === family &&
      addressAt(a.u8, n + NEIGH_ADDR, address)
    )
      return n
  return 0
}

/** Links in a neighbour that is not in the table, state NUD_NONE. The caller holds lock neighbour. */
export function neighInsertLocked(
  a: Arena,
  family: number,
  address: Uint8Array,
  dev: number,
  type: number,
  now: number,
): number {
  const m = a.m
  const n = alloc(a, NEIGH_SIZE, TAG_NEIGH)
  m[(n + NEIGH_FAMILY) >> 2] = family
  m[(n + NEIGH_DEV) >> 2] = dev
  writeAddress(a.u8, n + NEIGH_ADDR, address)
  m[(n + NEIGH_TYPE) >> 2] = type
  m[(n + NEIGH_CONFIRMED) >> 2] = now | 0
  m[(n + NEIGH_USED) >> 2] = now | 0
  m[(n + NEIGH_UPDATED) >> 2] = now | 0
  const word = bucketWord(a, family, address, dev)
  m[(n + NEIGH_NEXT) >> 2] = m[word]
  publish(m, word, n)
  return n
}

/** Takes a neighbour out of the table. The caller holds lock neighbour; then it tells of it, then neighFree. */
export function neighUnlinkLocked(a: Arena, n: number): void {
  const m = a.m
  let word = bucketWord(a, m[(n + NEIGH_FAMILY) >> 2], neighAddress(a, n), m[(n + NEIGH_DEV) >> 2])
  while (m[word] !== 0 && m[word] !== n) word = (m[word] + NEIGH_NEXT) >> 2
  if (m[word] !== n) return
  publish(m, word, m[(n + NEIGH_NEXT) >> 2])
  store(m, (n + NEIGH_DEAD) >> 2, 1)
  setTimerLocked(a, n, 0, false)
}

/** Gives an unlinked neighbour back, after a grace period. */
export const neighFree = (a: Arena, n: number): void => freeRcu(a, n, NEIGH_SIZE, TAG_NEIGH)

/** Begins a change of the words in the sequence count: odd, also when a writer died in it. The caller holds lock neighbour. */
export const writeBegin = (a: Arena, n: number): void => {
  store(a.m, (n + NEIGH_SEQ) >> 2, a.m[(n + NEIGH_SEQ) >> 2] | 1)
}
/** Ends it: even again, and another number. */
export const writeEnd = (a: Arena, n: number): void => {
  store(a.m, (n + NEIGH_SEQ) >> 2, (a.m[(n + NEIGH_SEQ) >> 2] | 1) + 1)
}

/** Sets or stops the timer of a neighbour. The caller holds lock neighbour. */
export function setTimerLocked(a: Arena, n: number, expires: number, armed: boolean): void {
  const m = a.m
  m[(n + NEIGH_TIMER) >> 2] = expires | 0
  m[(n + NEIGH_ARMED) >> 2] = armed ? 1 : 0
  const { timer } = hooksOf(a)
  if (timer !== undefined) timer(a, n)
  else if (armed) store(m, (neighTable(a) + NEIGH_TIMERS_CHANGED) >> 2, 1)
}

export const neighAddress = (a: Arena, n: number): Uint8Array => readAddress(a.u8, n + NEIGH_ADDR, new Uint8Array(16))

/**
 * Reads a neighbour whole. When a writer is in it, waits for the lock that writers hold instead of spinning: the writer
 * may have to wait for this very thread's processor, or be dead. Any thread that is an online RCU reader.
 */
export function neighSnapshot(a: Arena, n: number): NeighSnapshot {
  const seen = readWhole(a, n, isHeld(NEIGHBOUR))
  if (seen !== undefined) return seen
  lockNeighbours(a)
  try {
    return readWhole(a, n, true) as NeighSnapshot
  } finally {
    unlockNeighbours(a)
  }
}

/** One try; undefined when a writer was in the way. `locked`: none can be, whatever the count says. */
function readWhole(a: Arena, n: number, locked: boolean): NeighSnapshot | undefined {
  const m = a.m
  const seq = load(m, (n + NEIGH_SEQ) >> 2)
  if (seq & 1 && !locked) return undefined
  // Atomic loads, so that none of them moves behind the second look at the count.
  const state = load(m, (n + NEIGH_STATE) >> 2)
  const mac0 = load(m, (n + NEIGH_MAC) >> 2)
  const mac1 = load(m, (n + NEIGH_MAC + 4) >> 2)
  const flags = load(m, (n + NEIGH_FLAGS) >> 2)
  const confirmed = load(m, (n + NEIGH_CONFIRMED) >> 2)
  const used = load(m, (n + NEIGH_USED) >> 2)
  const updated = load(m, (n + NEIGH_UPDATED) >> 2)
  if (load(m, (n + NEIGH_SEQ) >> 2) !== seq) return undefined
  const mac = new Uint8Array(6)
  for (let i = 0; i < 4; i++) mac[i] = mac0 >>> (8 * i)
  mac[4] = mac1
  mac[5] = mac1 >>> 8
  return {
    neigh: n,
    family: m[(n + NEIGH_FAMILY) >> 2],
    dev: m[(n + NEIGH_DEV) >> 2],
    address: neighAddress(a, n),
    state,
    valid: (state & NUD_VALID) !== 0,
    mac,
    flags,
    confirmed,
    used,
    updated,
    probes: m[(n + NEIGH_PROBES) >> 2],
    type: m[(n + NEIGH_TYPE) >> 2],
    protocol: m[(n + NEIGH_PROTOCOL) >> 2],
  }
}

/** Every neighbour, in no order. The caller is an online RCU reader. */
export function neighEach(a: Arena, each: (neigh: number) => void): void {
  const m = a.m
  const first = (neighTable(a) + TABLE_BUCKETS) >> 2
  for (let word = first; word < first + BUCKETS; word++)
    for (let n = deref(m, word); n !== 0; ) {
      const next = deref(m, (n + NEIGH_NEXT) >> 2)
      each(n)
      n = next
    }
}
