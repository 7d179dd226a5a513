// What encap/ keeps once in the arena: the locks, the tables, the policy, the numbers. SUPER_PART_ENCAP points to it.
//
//   encap table   tunnel key  -> encap entry      lock encap_tbl: the table, entries' flows, flags, header; flows' items
//   route table   route key   -> route entry      lock encap_tbl too: an entry and its route change together
//   neigh table   next hop    -> neigh hash entry lock neigh: find-or-create, removal; read under RCU by the notifier
//
// The lock order is sync/lock_order.ts's: encap_tbl > neigh > encap_list. The core rule of the design (mlx5e scheme 2.2)
// in one sentence: whoever holds encap_tbl may wait for a flow's init_done or del_hw_done, therefore nothing between
// "the flow is linked to an entry" and init_done, and nothing in a flow's teardown before del_hw_done, takes encap_tbl.

import { type Arena, reserve } from '../memory/arena.ts'
import { HASH_TABLE_SIZE, hashInit } from '../memory/hash_table.ts'
import { SUPER_PART_ENCAP, SUPER_PART_WORKQUEUE, SUPER_PARTS } from '../memory/layout/super.ts'
import { add, load, store } from '../sync/atomic.ts'
import { ENCAP_TBL, NEIGH } from '../sync/lock_order.ts'
import { lock, unlock } from '../sync/mutex.ts'
import { initQueue, initWork, postAt, QUEUE_WORDS, WORK_WORDS } from '../sync/workqueue.ts'
import { hooksOf } from './hooks.ts'

// First line: locks and policy.
/** Futex word of lock class encap_tbl. @atomic */
export const ROOT_ENCAP_LOCK = 0
/** Futex word of lock class neigh. @atomic */
export const ROOT_NEIGH_LOCK = 4
/** MODE_*. @constant */
export const ROOT_MODE = 8
/** Period of neigh_stats, milliseconds: of the least delay_probe_time. @atomic */
export const ROOT_MIN_INTERVAL = 12
/** Number of the next encap entry, for people: 1, 2, … @under encap_tbl */
export const ROOT_NEXT_ID = 16
/** Bumped when a device's MAC or MTU changes; the route update then looks at every entry. @atomic */
export const ROOT_DEV_GENERATION = 20
/** First encap entry, by ENTRY_LINK. @under encap_tbl */
export const ROOT_ENTRIES = 24
/** First neigh hash entry, by NHE_LINK. @under neigh */
export const ROOT_NHES = 28
/** Word index of the completion that the event worker waits for, 0 without. @atomic */
export const ROOT_WAIT = 32
// Tables.
/** memory/hash_table.ts. @under encap_tbl */
export const ROOT_ENCAP_TABLE = 64
/** @under encap_tbl */
export const ROOT_ROUTE_TABLE = ROOT_ENCAP_TABLE + HASH_TABLE_SIZE
/** @rcu neigh */
export const ROOT_NEIGH_TABLE = ROOT_ROUTE_TABLE + HASH_TABLE_SIZE
// Works of which there is one. sync/workqueue.ts.
export const ROOT_ROUTE_WORK = 128
export const ROOT_STATS_WORK = ROOT_ROUTE_WORK + WORK_WORDS * 4
export const ROOT_KICK_WORK = ROOT_STATS_WORK + WORK_WORDS * 4
/** STAT_*: numbers for people and tests. @atomic */
export const ROOT_STATS = 256
export const ROOT_SIZE = 384

/**
 * As the kernel's software path: the header is withheld from a STALE next hop, so that the next packet goes through the
 * host and makes it DELAY at its time; nobody is asked before a packet wants it; statistics refresh nothing.
 */
export const MODE_SOFTWARE = 0
/**
 * As a switchdev NIC: every NUD_VALID state is good, resolution starts when a flow is added, the neighbour is refreshed
 * from the flows' counters while they are used (mlx5e scheme 3.6 H7, 3.14), and asked again while it fails (row 92).
 */
export const MODE_OFFLOAD = 1
/** The same, and headers are what the card writes (tunnel/hardware.ts): for flows that are offloaded, no others. */
export const MODE_HARDWARE = 2

/** Flows switched to the fast path, and to the slow path. */
export const STAT_TO_FAST = 0
export const STAT_TO_SLOW = 1
/** Headers made; headers replaced by another (a new MAC). */
export const STAT_HEADERS = 2
export const STAT_REPLACED = 3
/** Neighbour events posted; those that found the work queued already; works run. */
export const STAT_EVENTS = 4
export const STAT_COALESCED = 5
export const STAT_NEIGH_WORKS = 6
export const STAT_ROUTE_WORKS = 7
/** Waits for a flow to be made or taken down, by the event worker, and the longest in microseconds. */
export const STAT_WAIT_INIT_DONE = 8
export const STAT_WAIT_DEL_HW_DONE = 9
/** Entries and headers that could not be made for want of memory. */
export const STAT_FAILURES = 10
export const STAT_COUNT = 11
export const statNames: readonly string[] = [
  'to_fast',
  'to_slow',
  'headers',
  'headers_replaced',
  'neigh_events',
  'neigh_events_coalesced',
  'neigh_updates',
  'route_updates',
  'waits_init_done',
  'waits_del_hw_done',
  'failures',
]

/** Functions of the event worker's works. */
export const WORK_NEIGH_UPDATE = 1
export const WORK_ROUTE_UPDATE = 2
export const WORK_NEIGH_STATS = 3
export const WORK_KICK = 4

/** net.ipv4.neigh.default.delay_first_probe_time and its IPv6 twin. */
const DELAY_PROBE_TIME = 5000

export const rootOf = (a: Arena): number => a.m[(SUPER_PARTS + SUPER_PART_ENCAP) >> 2]
/** Word index of the event worker's queue. */
export const queueOf = (a: Arena): number => a.m[(SUPER_PARTS + SUPER_PART_WORKQUEUE) >> 2] >> 2

export interface EncapOptions {
  /** MODE_SOFTWARE (default), MODE_OFFLOAD or MODE_HARDWARE. */
  mode?: number
}

/** Once for an arena, before any flow. Makes the event worker's queue when nobody has. */
export function encapInit(a: Arena, o: EncapOptions = {}): void {
  const { m } = a
  if (queueOf(a) === 0) {
    const q = reserve(a, QUEUE_WORDS * 4)
    initQueue(m, q >> 2)
    m[(SUPER_PARTS + SUPER_PART_WORKQUEUE) >> 2] = q
  }
  const r = reserve(a, ROOT_SIZE)
  m[(r + ROOT_MODE) >> 2] = o.mode ?? MODE_SOFTWARE
  m[(r + ROOT_MIN_INTERVAL) >> 2] = DELAY_PROBE_TIME
  m[(r + ROOT_NEXT_ID) >> 2] = 1
  hashInit(a, r + ROOT_ENCAP_TABLE, 256)
  hashInit(a, r + ROOT_ROUTE_TABLE, 256)
  hashInit(a, r + ROOT_NEIGH_TABLE, 64)
  initWork(m, (r + ROOT_ROUTE_WORK) >> 2, queueOf(a), WORK_ROUTE_UPDATE, 0)
  initWork(m, (r + ROOT_STATS_WORK) >> 2, queueOf(a), WORK_NEIGH_STATS, 0)
  initWork(m, (r + ROOT_KICK_WORK) >> 2, queueOf(a), WORK_KICK, 0)
  m[(SUPER_PARTS + SUPER_PART_ENCAP) >> 2] = r
}

export const lockEncaps = (a: Arena): void => lock(a.m, (rootOf(a) + ROOT_ENCAP_LOCK) >> 2, ENCAP_TBL)
export const unlockEncaps = (a: Arena): void => unlock(a.m, (rootOf(a) + ROOT_ENCAP_LOCK) >> 2, ENCAP_TBL)
export const lockNeighs = (a: Arena): void => lock(a.m, (rootOf(a) + ROOT_NEIGH_LOCK) >> 2, NEIGH)
export const unlockNeighs = (a: Arena): void => unlock(a.m, (rootOf(a) + ROOT_NEIGH_LOCK) >> 2, NEIGH)

export const devGeneration = (a: Arena): number => load(a.m, (rootOf(a) + ROOT_DEV_GENERATION) >> 2)

export const isSoftware = (a: Arena): boolean => a.m[(rootOf(a) + ROOT_MODE) >> 2] === MODE_SOFTWARE
export const isHardware = (a: Arena): boolean => a.m[(rootOf(a) + ROOT_MODE) >> 2] === MODE_HARDWARE

/** Period of the kick work: unresolved next hops are asked again (MODE_OFFLOAD), what lacked memory is tried again. */
export const KICK_INTERVAL = 1000

/** Sees to it that the kick work runs within its period. */
export const postKick = (a: Arena): void => {
  postAt(a.m, (rootOf(a) + ROOT_KICK_WORK) >> 2, hooksOf(a).now() + KICK_INTERVAL)
}

/** Sees to it that the statistics run within their period. Idempotent. */
export const postNeighStats = (a: Arena): void => {
  const root = rootOf(a)
  postAt(a.m, (root + ROOT_STATS_WORK) >> 2, hooksOf(a).now() + load(a.m, (root + ROOT_MIN_INTERVAL) >> 2))
}

/**
 * The least delay_probe_time of the devices, ms, where a kernel says it. Half of it is the period: a kernel looks at the time
 * of the last use when a neighbour's reachable time is over, and a use that is reported a moment late would be none.
 */
export const setProbeTime = (a: Arena, ms: number): void => {
  store(a.m, (rootOf(a) + ROOT_MIN_INTERVAL) >> 2, Math.max(MIN_PERIOD, ms >> 1))
}
const MIN_PERIOD = 50

/** One more of STAT_*. */
export const tally = (a: Arena, stat: number, n = 1): void => {
  add(a.m, ((rootOf(a) + ROOT_STATS) >> 2) + stat, n)
}

/** The numbers by name. */
export function encapStats(a: Arena): Record<string, number> {
  const out: Record<string, number> = {}
  for (let i = 0; i < STAT_COUNT; i++) out[statNames[i]] = a.m[((rootOf(a) + ROOT_STATS) >> 2) + i]
  return out
}
