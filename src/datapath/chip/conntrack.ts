// The table of connections: who is known, who joins, who leaves (net/netfilter/nf_conntrack_core.c).
//
// Finding takes no lock: a chain of tuples is walked as it stands. Joining and leaving hold the spin locks of the two
// chains that a connection is in, in the order of the locks. A connection that left may still be in the hands of
// another worker, so it waits, in order of leaving, until every worker has passed a quiescent state (sync/rcu.ts); then
// it is the first to be used again. Nothing is ever allocated: the table was laid out with room for CT_TABLE_MAX
// connections and some that wait.
//
// A connection that is not confirmed is in no chain: it stands in the scratch memory of the hook that made it, one for
// each level of hooks, and nobody else knows of it. `confirm` copies it into the table.

import * as C from '../../memory/layout/conntrack.ts'
import { PKT_TIME } from '../../memory/layout/packet.ts'
import { SUPER_PART_CT, SUPER_PARTS, SUPER_RCU } from '../../memory/layout/super.ts'
import { WORKER_NOW } from '../../memory/layout/worker.ts'
import { hashEnd, HASH_SEED } from './hash.ts'
import { SCRATCH_CONNECTIONS, SCRATCH_TUPLES } from './layout.ts'
import { copyWords } from './packet.ts'
import { hookDepth, scratch, worker } from './state.ts'

/** Buckets that are looked through for one to give up (NF_CT_EVICTION_RANGE). */
const EVICTION_RANGE: i32 = 8
const HASH_K: u64 = 0x9e3779b97f4a7c15
const HASH_K2: u64 = 0xd6e8feb86659fd93

/** The table, 0 where there is none. */
// @ts-ignore: decorator
@inline
export function table(): usize {
  return load<usize>(SUPER_PARTS + SUPER_PART_CT)
}

/** Milliseconds of the switch's clock at which the packet came, or the worker's when it says none. */
export function nowOf(pkt: usize): u32 {
  const at = load<u64>(pkt, PKT_TIME)
  return <u32>((at != 0 ? at : load<u64>(worker, WORKER_NOW)) / 1000000)
}

/** A tuple of this worker's own, for asking: there are four. */
// @ts-ignore: decorator
@inline
export function tupleAt(i: usize): usize {
  return scratch + SCRATCH_TUPLES + i * <usize>C.TUPLE_SIZE
}

/** Where the hook that runs now keeps a connection that is not confirmed. */
// @ts-ignore: decorator
@inline
export function unconfirmed(): usize {
  return scratch + SCRATCH_CONNECTIONS + <usize>hookDepth * <usize>C.CONN_SIZE
}

/** Address of the tuple of a direction. */
// @ts-ignore: decorator
@inline
export function tupleOf(conn: usize, dir: u32): usize {
  return conn + <usize>dir * <usize>C.TUPLE_SIZE
}

/** nf_ct_tuplehash_to_ctrack */
// @ts-ignore: decorator
@inline
export function connOf(tuple: usize): usize {
  return tuple - load<usize>(tuple, C.TUPLE_DIR) * <usize>C.TUPLE_SIZE
}

// @ts-ignore: decorator
@inline
export function statusOf(conn: usize): u32 {
  return atomic.load<u32>(conn, C.CONN_STATUS)
}

// @ts-ignore: decorator
@inline
export function setStatus(conn: usize, bits: u32): u32 {
  return atomic.or<u32>(conn, bits, C.CONN_STATUS)
}

export function spinLock(word: usize): void {
  while (atomic.cmpxchg<u32>(word, 0, 1) != 0) {}
}
// @ts-ignore: decorator
@inline
export function spinUnlock(word: usize): void {
  atomic.store<u32>(word, 0)
}

/** Do two tuples say the same, zone included? */
// @ts-ignore: decorator
@inline
export function sameTuple(a: usize, b: usize): bool {
  const x = v128.or(
    v128.xor(v128.load(a, C.TUPLE_SRC), v128.load(b, C.TUPLE_SRC)),
    v128.xor(v128.load(a, C.TUPLE_DST), v128.load(b, C.TUPLE_DST)),
  )
  return load<u64>(a, C.TUPLE_SPORT) == load<u64>(b, C.TUPLE_SPORT) && !v128.any_true(x)
}

export function hashTuple(t: usize): u32 {
  let h = (HASH_SEED ^ load<u64>(t, C.TUPLE_SRC)) * HASH_K
  h = (rotr<u64>(h, 29) ^ load<u64>(t, C.TUPLE_SRC + 8)) * HASH_K2
  h = (rotr<u64>(h, 29) ^ load<u64>(t, C.TUPLE_DST)) * HASH_K
  h = (rotr<u64>(h, 29) ^ load<u64>(t, C.TUPLE_DST + 8)) * HASH_K2
  h = (rotr<u64>(h, 29) ^ load<u64>(t, C.TUPLE_SPORT)) * HASH_K
  return hashEnd(h)
}

// @ts-ignore: decorator
@inline
function bucketOf(tab: usize, hash: u32): usize {
  return load<usize>(tab, C.CT_TABLE_BUCKETS) + (<usize>(hash & load<u32>(tab, C.CT_TABLE_MASK)) << 2)
}

// @ts-ignore: decorator
@inline
function lockOf(tab: usize, hash: u32): usize {
  return load<usize>(tab, C.CT_TABLE_LOCKS) + (<usize>(hash & (C.CT_LOCKS - 1)) << 2)
}

// @ts-ignore: decorator
@inline
export function isExpired(conn: usize, now: u32): bool {
  return <i32>(load<u32>(conn, C.CONN_TIMEOUT) - now) <= 0
}

/** The tuple of a living connection that equals `t`, 0 when there is none (nf_conntrack_find_get). */
export function find(tab: usize, t: usize, now: u32): usize {
  for (let h = load<usize>(bucketOf(tab, hashTuple(t))); h != 0; h = load<usize>(h, C.TUPLE_NEXT)) {
    if (!sameTuple(h, t)) continue
    const conn = connOf(h)
    if ((statusOf(conn) & C.IPS_DYING) == 0 && !isExpired(conn, now)) return h
  }
  return 0
}

// ---- joining and leaving

/** Has every reader passed a quiescent state since the stamp? sync/rcu.ts: elapsed. */
function isOver(stamp: u32): bool {
  const rcu = load<usize>(SUPER_RCU)
  const n = atomic.load<u32>(rcu, 4)
  for (let i: u32 = 0; i < n; i++) {
    const seen = atomic.load<u32>(rcu + ((<usize>i + 1) << 6))
    if (seen != 0 && <i32>(seen - stamp) < 0) return false
  }
  return true
}

/** A connection to use, 0 when all are in use or waiting. */
function take(tab: usize): usize {
  spinLock(tab + C.CT_TABLE_LOCK)
  let conn = load<usize>(tab, C.CT_TABLE_DEAD)
  if (conn != 0 && isOver(load<u32>(conn, C.CONN_STAMP))) {
    store<usize>(tab, load<usize>(conn, C.CONN_NEXT_DEAD), C.CT_TABLE_DEAD)
  } else {
    conn = load<usize>(tab, C.CT_TABLE_FRESH)
    if (conn < load<usize>(tab, C.CT_TABLE_END)) store<usize>(tab, conn + C.CONN_SIZE, C.CT_TABLE_FRESH)
    else conn = 0
  }
  spinUnlock(tab + C.CT_TABLE_LOCK)
  return conn
}

/** Lets a connection that is in no chain wait until nobody can have it in hand. */
function giveBack(tab: usize, conn: usize): void {
  store<usize>(conn, 0, C.CONN_NEXT_DEAD)
  spinLock(tab + C.CT_TABLE_LOCK)
  store<u32>(conn, atomic.add<u32>(load<usize>(SUPER_RCU), 2) + 2, C.CONN_STAMP)
  if (load<usize>(tab, C.CT_TABLE_DEAD) == 0) store<usize>(tab, conn, C.CT_TABLE_DEAD)
  else store<usize>(load<usize>(tab, C.CT_TABLE_DEAD_LAST), conn, C.CONN_NEXT_DEAD)
  store<usize>(tab, conn, C.CT_TABLE_DEAD_LAST)
  spinUnlock(tab + C.CT_TABLE_LOCK)
}

function unlink(tab: usize, tuple: usize): void {
  const hash = hashTuple(tuple)
  const lock = lockOf(tab, hash)
  spinLock(lock)
  let at = bucketOf(tab, hash)
  let h = load<usize>(at)
  while (h != 0 && h != tuple) {
    at = h + C.TUPLE_NEXT
    h = load<usize>(at)
  }
  if (h != 0) atomic.store<usize>(at, load<usize>(h, C.TUPLE_NEXT))
  spinUnlock(lock)
}

/** nf_ct_kill: the connection leaves the table. False: somebody else was first. */
export function kill(tab: usize, conn: usize): bool {
  if ((setStatus(conn, C.IPS_DYING) & C.IPS_DYING) != 0) return false
  unlink(tab, conn + C.CONN_ORIGINAL)
  unlink(tab, conn + C.CONN_REPLY)
  atomic.sub<u32>(tab, 1, C.CT_TABLE_COUNT)
  giveBack(tab, conn)
  return true
}

/** early_drop: gives up a connection that is not assured, of those near `hash`. False: there is none. */
function earlyDrop(tab: usize, hash: u32, now: u32): bool {
  for (let i: i32 = 0; i < EVICTION_RANGE; i++) {
    for (let h = load<usize>(bucketOf(tab, hash + i)); h != 0; h = load<usize>(h, C.TUPLE_NEXT)) {
      const conn = connOf(h)
      const status = statusOf(conn)
      if ((status & (C.IPS_DYING | C.IPS_OFFLOAD)) != 0) continue
      if ((status & C.IPS_ASSURED) != 0 && !isExpired(conn, now)) continue
      if (!kill(tab, conn)) continue
      atomic.add<u32>(tab, 1, C.CT_TABLE_EARLY_DROPS)
      return true
    }
  }
  return false
}

/** A living connection whose chain of `hash` has the tuple: it stands in the way. One whose time is over gives way. */
function clashIn(tab: usize, t: usize, hash: u32, now: u32): usize {
  for (let h = load<usize>(bucketOf(tab, hash)); h != 0; h = load<usize>(h, C.TUPLE_NEXT)) {
    if (!sameTuple(h, t)) continue
    const conn = connOf(h)
    if ((statusOf(conn) & C.IPS_DYING) == 0 && !isExpired(conn, now)) return conn
  }
  return 0
}

function link(tab: usize, tuple: usize, hash: u32): void {
  const head = bucketOf(tab, hash)
  store<usize>(tuple, load<usize>(head), C.TUPLE_NEXT)
  atomic.store<usize>(head, tuple)
}

/** Results of `confirm` that are no connection. */
export const CONFIRM_FULL: usize = 0
export const CONFIRM_CLASH: usize = 1

/**
 * __nf_conntrack_confirm: puts a connection that is not confirmed into the table; the one that is there now, which is
 * another worker's when that was first with the same. CONFIRM_CLASH: another one has a tuple of it. CONFIRM_FULL.
 */
export function confirm(tab: usize, from: usize, now: u32): usize {
  const hash = hashTuple(from + C.CONN_ORIGINAL)
  const replyHash = hashTuple(from + C.CONN_REPLY)
  if (atomic.add<u32>(tab, 1, C.CT_TABLE_COUNT) >= load<u32>(tab, C.CT_TABLE_MAX) && !earlyDrop(tab, hash, now)) {
    atomic.sub<u32>(tab, 1, C.CT_TABLE_COUNT)
    return CONFIRM_FULL
  }
  const conn = take(tab)
  if (conn == 0) {
    atomic.sub<u32>(tab, 1, C.CT_TABLE_COUNT)
    return CONFIRM_FULL
  }
  copyWords(conn, from, C.CONN_SIZE)
  store<u32>(conn, load<u32>(from, C.CONN_STATUS) | C.IPS_CONFIRMED, C.CONN_STATUS)
  store<u32>(conn, load<u32>(from, C.CONN_TIMEOUT) + now, C.CONN_TIMEOUT)
  const a = lockOf(tab, hash)
  const b = lockOf(tab, replyHash)
  spinLock(a < b ? a : b)
  if (a != b) spinLock(a < b ? b : a)
  const clash = clashIn(tab, conn + C.CONN_ORIGINAL, hash, now)
  const other = clash != 0 ? clash : clashIn(tab, conn + C.CONN_REPLY, replyHash, now)
  if (other == 0) {
    link(tab, conn + C.CONN_ORIGINAL, hash)
    link(tab, conn + C.CONN_REPLY, replyHash)
  }
  spinUnlock(a)
  if (a != b) spinUnlock(b)
  if (other == 0) return conn
  // Nobody has seen it, but what waits, waits in one line.
  giveBack(tab, conn)
  atomic.sub<u32>(tab, 1, C.CT_TABLE_COUNT)
  const same =
    sameTuple(other + C.CONN_ORIGINAL, from + C.CONN_ORIGINAL) && sameTuple(other + C.CONN_REPLY, from + C.CONN_REPLY)
  return same ? other : CONFIRM_CLASH
}

/**
 * Looks through `buckets` chains, from where it stopped last, for connections whose time is over at `now` (gc_worker).
 * Returns how many left.
 */
export function collect(buckets: u32, now: u32): u32 {
  const tab = table()
  if (tab == 0) return 0
  let gone: u32 = 0
  const first = atomic.add<u32>(tab, buckets, C.CT_TABLE_CURSOR)
  for (let i: u32 = 0; i < buckets; i++) {
    let h = load<usize>(bucketOf(tab, first + i))
    while (h != 0) {
      const next = load<usize>(h, C.TUPLE_NEXT)
      const conn = connOf(h)
      if (isExpired(conn, now) && kill(tab, conn)) gone++
      h = next
    }
  }
  return gone
}
