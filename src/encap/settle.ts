// What an encap entry is at this moment: the one place that turns route and neighbour into a header, or into a reason
// why there is none (mlx5e_tc_tun_create_header_*, _update_header_*, mlx5e_rep_update_flows; scheme 3.6, 3.11, 3.13).
//
// `settleLocked` is called when an entry is made, when its neighbour changed, when the routing table or a device changed.
// It always asks the same questions in the same order, and then changes what must change:
//
//   device: what must the outer headers say?   ─no─> SLOW_NO_KEY, SLOW_NO_REMOTE, SLOW_OPTIONS …
//   route:  does it leave by a port?           ─no─> SLOW_NO_ROUTE, SLOW_LOCAL …       (entry leaves its next hop)
//   next hop: registered, THEN read            ─no─> SLOW_NEIGH_INCOMPLETE, SLOW_NEIGH_FAILED …
//
//   not valid -> valid     build, publish the header, switch the flows to fast
//   valid -> not valid     switch the flows to slow, withdraw the header, retire it
//   valid, other bytes     publish another header over the old one: one store, and all flows follow
//
// A header is never edited. Packets that copy an old one while it is replaced send whole old bytes, and it is freed after
// a grace period.

import type { Arena } from '../memory/arena.ts'
import {
  ENCAP_DEV,
  ENCAP_HEADER,
  ENCAP_TUN,
  HEADER_F_SMALL,
  HEADER_FLAGS,
  HEADER_LEN,
  HEADER_SIZE,
  HEADER_SIZE_SMALL,
} from '../memory/layout/encap.ts'
import { NETDEV_TUN } from '../memory/layout/netdev.ts'
import {
  SLOW_ERROR,
  SLOW_NEIGH_FAILED,
  SLOW_NEIGH_INCOMPLETE,
  SLOW_NEIGH_NONE,
  SLOW_NEIGH_STALE,
  SLOW_NONE,
  SLOW_TOO_LONG,
  SLOW_TUNNEL_DOWN,
} from '../memory/layout/slow.ts'
import { MemoryError } from '../memory/pool.ts'
import { addressAt, readAddress } from '../net/inet.ts'
import { NEIGH_DEAD, neighLookup, neighSnapshot } from '../net/neigh.ts'
import { netdevIsUp } from '../net/netdev.ts'
import { load } from '../sync/atomic.ts'
import { ENCAP_TBL } from '../sync/lock_order.ts'
import { assertHeld } from '../sync/mutex.ts'
import { publish } from '../sync/rcu.ts'
import { asHardware, NO_MTU } from '../tunnel/hardware.ts'
import { buildHeader, freeHeader, headerFits, retireHeader } from '../tunnel/header.ts'
import { tunnelOf } from '../tunnel/index.ts'
import { newOuter } from '../tunnel/tunnel.ts'
import { NUD_FAILED, NUD_INCOMPLETE, NUD_STALE } from '../wire/rtm_neigh.ts'
import { askNeigh } from './ask_neigh.ts'
import {
  ENTRY_CHANGED,
  ENTRY_DEV_GENERATION,
  ENTRY_F_DEVICE,
  ENTRY_F_VALID,
  ENTRY_FLAGS,
  ENTRY_MAC,
  ENTRY_NHE,
  ENTRY_OUT_DEV,
  ENTRY_ROUTE,
  ENTRY_ROUTE_VERSION,
  ENTRY_TEMPLATE,
  ENTRY_WHY,
  isValid,
} from './encap_entry.ts'
import { flowsAddLocked, flowsDelLocked, flowsExplainLocked, type Pinned, takeFlowsLocked } from './flow_path.ts'
import { hooksOf } from './hooks.ts'
import { NHE_ADDR, NHE_DEV, NHE_FAMILY, NHE_STATE, nheAttach, nheDetach } from './neigh_hash_entry.ts'
import {
  devGeneration,
  isHardware,
  isSoftware,
  postKick,
  postNeighStats,
  STAT_FAILURES,
  STAT_HEADERS,
  STAT_REPLACED,
  tally,
} from './root.ts'
import * as Route from './route_entry.ts'
import { traceEncapState } from './trace.ts'

/** Why an entry has a header and packets may not use it yet. */
const withheld = (why: number): boolean => why === SLOW_NEIGH_STALE

/** May the entry have a header? */
const usable = (why: number): boolean => why === SLOW_NONE || withheld(why)

/** Everything that a header is made of and that may change. Filled by `judgeLocked`, used at once: one thread's scratch. */
const outer = newOuter()
const source = new Uint8Array(16)
const nexthop = new Uint8Array(16)
let mac: Uint8Array = new Uint8Array(6)

/** The metadata to build with: a classic device's own may have been replaced by `ip link set`. */
const tunOf = (a: Arena, e: number): number =>
  a.m[(e + ENTRY_FLAGS) >> 2] & ENTRY_F_DEVICE
    ? a.m[(a.m[(e + ENCAP_DEV) >> 2] + NETDEV_TUN) >> 2]
    : a.m[(e + ENCAP_TUN) >> 2]

/** The first two questions; SLOW_NONE: `outer` and the entry's route entry are good. */
function judgeRouteLocked(a: Arena, e: number): number {
  const { m } = a
  const dev = m[(e + ENCAP_DEV) >> 2]
  const type = tunnelOf(a, dev)
  if (type === undefined || !netdevIsUp(a, dev)) return SLOW_TUNNEL_DOWN
  const why = type.outer(a, dev, tunOf(a, e), outer)
  if (why !== SLOW_NONE) return why
  if (!headerFits(outer)) return SLOW_TOO_LONG
  let r = m[(e + ENTRY_ROUTE) >> 2]
  if (r !== 0 && !Route.routeIsFor(a, r, outer)) {
    Route.routeDetachLocked(a, e)
    r = 0
  }
  if (r === 0) r = Route.routeAttachLocked(a, e, outer)
  else if (Route.isOutdated(a, r)) Route.routeAskLocked(a, r)
  return m[(r + Route.ROUTE_ENTRY_WHY) >> 2]
}

/** Registers the entry on the next hop of its route, leaving another: before anybody reads the neighbour. */
function registerLocked(a: Arena, e: number): void {
  const { m } = a
  const r = m[(e + ENTRY_ROUTE) >> 2]
  const nhe = m[(e + ENTRY_NHE) >> 2]
  const family = m[(r + Route.ROUTE_ENTRY_NEXTHOP_FAMILY) >> 2]
  const dev = m[(r + Route.ROUTE_ENTRY_DEV) >> 2]
  readAddress(a.u8, r + Route.ROUTE_ENTRY_NEXTHOP, nexthop)
  if (nhe !== 0) {
    const same = m[(nhe + NHE_DEV) >> 2] === dev && m[(nhe + NHE_FAMILY) >> 2] === family
    if (same && addressAt(a.u8, nhe + NHE_ADDR, nexthop)) return
    nheDetach(a, e)
  }
  nheAttach(a, e, family, nexthop, dev)
}

/** The state and MAC of a next hop, in one picture, of whatever the table has under its key now (races 44, 47, 87). */
function readNeighLocked(a: Arena, nhe: number): number {
  const { m } = a
  const n = neighLookup(
    a,
    m[(nhe + NHE_FAMILY) >> 2],
    readAddress(a.u8, nhe + NHE_ADDR, nexthop),
    m[(nhe + NHE_DEV) >> 2],
  )
  if (n === 0) return SLOW_NEIGH_NONE
  const seen = neighSnapshot(a, n)
  m[(nhe + NHE_STATE) >> 2] = seen.state
  if (load(m, (n + NEIGH_DEAD) >> 2) !== 0) return SLOW_NEIGH_NONE
  mac = seen.mac
  if (!seen.valid)
    return seen.state & NUD_FAILED
      ? SLOW_NEIGH_FAILED
      : seen.state & NUD_INCOMPLETE
        ? SLOW_NEIGH_INCOMPLETE
        : SLOW_NEIGH_NONE
  return seen.state & NUD_STALE && isSoftware(a) ? SLOW_NEIGH_STALE : SLOW_NONE
}

/** All three questions. `mac` and `outer` are set when the answer is SLOW_NONE or a reason to withhold. */
function judgeLocked(a: Arena, e: number): number {
  try {
    const why = judgeRouteLocked(a, e)
    if (why === SLOW_NONE) {
      registerLocked(a, e)
      return readNeighLocked(a, a.m[(e + ENTRY_NHE) >> 2])
    }
    nheDetach(a, e)
    return why
  } catch (error) {
    return noMemory(a, error)
  }
}

/** Without memory an entry is as good as unresolved; the kick work tries again. */
function noMemory(a: Arena, error: unknown): number {
  if (!(error instanceof MemoryError)) throw error
  tally(a, STAT_FAILURES)
  postKick(a)
  return SLOW_ERROR
}

/** A header for what judgeLocked found; 0 when there is no memory for it. */
function makeHeader(a: Arena, e: number): number {
  const { m } = a
  const dev = m[(e + ENCAP_DEV) >> 2]
  const r = m[(e + ENTRY_ROUTE) >> 2]
  const out = m[(r + Route.ROUTE_ENTRY_DEV) >> 2]
  // A classic device is no flow's: its packets are the host's own.
  const hardware = isHardware(a) && (m[(e + ENTRY_FLAGS) >> 2] & ENTRY_F_DEVICE) === 0
  if (hardware) asHardware(outer)
  const mtu = hardware ? NO_MTU : m[(r + Route.ROUTE_ENTRY_MTU) >> 2]
  const type = tunnelOf(a, dev)
  readAddress(a.u8, r + Route.ROUTE_ENTRY_SOURCE, source)
  try {
    if (type === undefined) return 0
    const h = buildHeader(a, type, dev, tunOf(a, e), outer, source, out, mac, 0, mtu, e)
    tally(a, STAT_HEADERS)
    return h
  } catch (error) {
    noMemory(a, error)
    return 0
  }
}

const sameHeader = (a: Arena, p: number, q: number): boolean => {
  const { m } = a
  const size = m[(p + HEADER_FLAGS) >> 2] & HEADER_F_SMALL ? HEADER_SIZE_SMALL : HEADER_SIZE
  if (m[(p + HEADER_FLAGS) >> 2] !== m[(q + HEADER_FLAGS) >> 2]) return false
  for (let i = HEADER_LEN >> 2; i < size >> 2; i++) if (m[(p >> 2) + i] !== m[(q >> 2) + i]) return false
  return true
}

/**
 * Makes the entry what route and neighbour say now. Under encap_tbl; the caller is an online RCU reader. Flows that had
 * to be pinned are added to `pinned`: the caller puts them after it dropped the lock.
 */
export function settleLocked(a: Arena, e: number, pinned: Pinned[]): void {
  assertHeld(ENCAP_TBL)
  const { m } = a
  if (isValid(a, e) && isFreshLocked(a, e)) {
    const why = readNeighLocked(a, m[(e + ENTRY_NHE) >> 2])
    if (usable(why) && hasMac(a, e)) {
      withholdLocked(a, e, why)
      return
    }
  }
  m[(e + ENTRY_DEV_GENERATION) >> 2] = devGeneration(a) // before looking at any device
  const why = judgeLocked(a, e)
  const r = m[(e + ENTRY_ROUTE) >> 2]
  m[(e + ENTRY_ROUTE_VERSION) >> 2] = r === 0 ? 0 : m[(r + Route.ROUTE_ENTRY_VERSION) >> 2]
  const h = usable(why) ? makeHeader(a, e) : 0
  const now = usable(why) && h === 0 ? SLOW_ERROR : why
  const before = m[(e + ENTRY_WHY) >> 2]
  const header = m[(e + ENCAP_HEADER) >> 2]
  m[(e + ENTRY_WHY) >> 2] = now
  if (h !== 0) upLocked(a, e, h, now, pinned)
  else if (isValid(a, e)) downLocked(a, e, pinned)
  else if (now !== before) flowsExplainLocked(a, e)
  if (now !== before || header !== m[(e + ENCAP_HEADER) >> 2]) changed(a, e)
  if (!isSoftware(a)) pursueLocked(a, e, now)
}

/**
 * MODE_OFFLOAD: a next hop that nobody asked for is asked, and asked again in a while, as is one that failed (race 92): the
 * one question may be lost, on its way to the kernel or in it, and no event would tell.
 */
function pursueLocked(a: Arena, e: number, why: number): void {
  if (why !== SLOW_NEIGH_NONE && why !== SLOW_NEIGH_FAILED) return
  if (why === SLOW_NEIGH_NONE) askNeigh(a, a.m[(e + ENTRY_NHE) >> 2])
  postKick(a)
}

function changed(a: Arena, e: number): void {
  a.m[(e + ENTRY_CHANGED) >> 2] = hooksOf(a).now() | 0
  traceEncapState(a, e)
}

/** Can only the neighbour have changed since the entry was settled? Asks for its route again when that is in doubt. */
function isFreshLocked(a: Arena, e: number): boolean {
  const { m } = a
  const r = m[(e + ENTRY_ROUTE) >> 2]
  if (r === 0 || m[(e + ENTRY_NHE) >> 2] === 0) return false
  if (m[(e + ENTRY_DEV_GENERATION) >> 2] !== devGeneration(a)) return false
  if (Route.isOutdated(a, r)) Route.routeAskLocked(a, r)
  return m[(e + ENTRY_ROUTE_VERSION) >> 2] === m[(r + Route.ROUTE_ENTRY_VERSION) >> 2]
}

const hasMac = (a: Arena, e: number): boolean => {
  for (let i = 0; i < 6; i++) if (a.u8[e + ENTRY_MAC + i] !== mac[i]) return false
  return true
}

/** The header of a valid entry is good: packets may use it now, or not now. */
function withholdLocked(a: Arena, e: number, why: number): void {
  const { m } = a
  if (m[(e + ENTRY_WHY) >> 2] === why) return
  m[(e + ENTRY_WHY) >> 2] = why
  publish(m, (e + ENCAP_HEADER) >> 2, withheld(why) ? 0 : m[(e + ENTRY_TEMPLATE) >> 2])
  changed(a, e)
}

/** The entry has a header: a first one, another one, or the one it had. */
function upLocked(a: Arena, e: number, h: number, why: number, pinned: Pinned[]): void {
  const { m } = a
  const old = m[(e + ENTRY_TEMPLATE) >> 2]
  const same = old !== 0 && sameHeader(a, old, h)
  if (same) freeHeader(a, h)
  else {
    m[(e + ENTRY_TEMPLATE) >> 2] = h
    for (let i = 0; i < 6; i++) a.u8[e + ENTRY_MAC + i] = mac[i]
    m[(e + ENTRY_OUT_DEV) >> 2] = m[(m[(e + ENTRY_ROUTE) >> 2] + Route.ROUTE_ENTRY_DEV) >> 2]
  }
  publish(m, (e + ENCAP_HEADER) >> 2, withheld(why) ? 0 : m[(e + ENTRY_TEMPLATE) >> 2])
  if (old !== 0 && !same) {
    retireHeader(a, old)
    tally(a, STAT_REPLACED)
  }
  if (isValid(a, e)) return
  m[(e + ENTRY_FLAGS) >> 2] |= ENTRY_F_VALID
  postNeighStats(a)
  const flows = takeFlowsLocked(a, e)
  flowsAddLocked(a, flows)
  for (const p of flows) pinned.push(p)
}

/** The entry loses its header. Flows first, so that none is on the fast path without one. */
function downLocked(a: Arena, e: number, pinned: Pinned[]): void {
  const { m } = a
  const flows = takeFlowsLocked(a, e)
  flowsDelLocked(a, flows)
  for (const p of flows) pinned.push(p)
  const h = m[(e + ENTRY_TEMPLATE) >> 2]
  m[(e + ENTRY_FLAGS) >> 2] &= ~ENTRY_F_VALID
  m[(e + ENTRY_TEMPLATE) >> 2] = 0
  publish(m, (e + ENCAP_HEADER) >> 2, 0)
  retireHeader(a, h)
}
