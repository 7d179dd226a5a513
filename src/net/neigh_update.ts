// What changes a neighbour, and how: the rules of __neigh_update, neigh_event_send and the constructors
// (net/core/neighbour.c, arp_constructor, ndisc_constructor).
//
//            use                 answer                    not confirmed for REACHABLE_TIME
//   NONE ────────> INCOMPLETE ─────────> REACHABLE ─────────────────────────────> STALE
//   FAILED            │ 3 requests           ^  ^                                   │ use
//      ^              v                      │  └──────── answer, confirmed ──── DELAY
//      └───────────────────────── PROBE <────┼──────────────────────────────────────┘ 5 s
//                                    └───────┘
//
// The timers themselves and the requests are host/neighbour.ts's. Called from the host's thread (ARP and ND came in, a
// packet goes out), from control (`ip neigh`) and from encap/'s event worker (neighUse).

import type { Arena } from '../memory/arena.ts'
import { IFF_LOOPBACK, IFF_NOARP, IFF_POINTOPOINT } from '../memory/layout/netdev.ts'
import { add, load, store } from '../sync/atomic.ts'
import { EINVAL, EPERM, NetlinkError } from '../wire/netlink_error.ts'
import {
  NTF_EXT_LEARNED,
  NTF_ROUTER,
  NUD_DELAY,
  NUD_FAILED,
  NUD_INCOMPLETE,
  NUD_NOARP,
  NUD_PERMANENT,
  NUD_PROBE,
  NUD_REACHABLE,
  NUD_STALE,
  RTM_DELNEIGH,
  RTM_NEWNEIGH,
} from '../wire/rtm_neigh.ts'
import { AF_INET, RTN_BROADCAST, RTN_MULTICAST } from '../wire/rtm_route.ts'
import {
  lockNeighbours,
  NEIGH_ARMED,
  NEIGH_ASKED,
  NEIGH_ASKS,
  NEIGH_CONFIRMED,
  NEIGH_DEAD,
  NEIGH_DEV,
  NEIGH_FAMILY,
  NEIGH_FLAGS,
  NEIGH_GC_ENTRIES,
  NEIGH_MAC,
  NEIGH_ON_GC_LIST,
  NEIGH_PROBES,
  NEIGH_STATE,
  NEIGH_TYPE,
  NEIGH_UPDATED,
  NEIGH_USED,
  NUD_CONNECTED,
  NUD_VALID,
  neighEach,
  neighFree,
  neighInsertLocked,
  neighLookup,
  neighNotify,
  neighTable,
  neighUnlinkLocked,
  setTimerLocked,
  unlockNeighbours,
  writeBegin,
  writeEnd,
} from './neigh.ts'
import { isEthernet, isKernels, netdevFlags, netdevMac } from './netdev.ts'
import { addressType } from './route.ts'

// The kernel's defaults (net/ipv4/neigh/default/*), milliseconds. The kernel draws the reachable time anew between half
// and one and a half of the base value; a replay must be the same every time, so here it is the base value.
export const REACHABLE_TIME = 30000
export const RETRANS_TIME = 1000
export const DELAY_PROBE_TIME = 5000
export const GC_STALETIME = 60000
export const UCAST_PROBES = 3
export const MCAST_PROBES = 3
export const GC_THRESH1 = 128
export const GC_THRESH2 = 512
export const GC_THRESH3 = 1024

export const NEIGH_UPDATE_F_OVERRIDE = 1
export const NEIGH_UPDATE_F_WEAK_OVERRIDE = 2
export const NEIGH_UPDATE_F_OVERRIDE_ISROUTER = 4
export const NEIGH_UPDATE_F_USE = 0x10
export const NEIGH_UPDATE_F_EXT_LEARNED = 0x20
export const NEIGH_UPDATE_F_ISROUTER = 0x40
export const NEIGH_UPDATE_F_ADMIN = 0x80

/** States that a timer ends. */
export const NUD_IN_TIMER = NUD_INCOMPLETE | NUD_REACHABLE | NUD_DELAY | NUD_PROBE

/** 01:00:5e and 23 bits of the group, 33:33 and 32 bits of it (RFC 1112 6.4, RFC 2464 7). */
export function multicastMac(family: number, group: Uint8Array): Uint8Array {
  if (family === AF_INET) return Uint8Array.of(1, 0, 0x5e, group[1] & 0x7f, group[2], group[3])
  return Uint8Array.of(0x33, 0x33, group[12], group[13], group[14], group[15])
}

/**
 * The neighbour, made if there is none: for groups, broadcast addresses and devices without ARP it is NUD_NOARP with
 * the address that follows. 0 when the table is full of entries that may not be given up ("neighbour table overflow").
 * `exempt`: garbage collection leaves it alone. Takes lock neighbour.
 */
export function neighGet(
  a: Arena,
  family: number,
  address: Uint8Array,
  dev: number,
  now: number,
  exempt = false,
): number {
  const known = neighLookup(a, family, address, dev)
  if (known !== 0) return known
  const type = addressType(a, family, address)
  if (!exempt && gcEntries(a, family) >= GC_THRESH3 && forcedGc(a, family, now) === 0) return 0
  lockNeighbours(a)
  // Another thread may have made it meanwhile.
  let n = neighLookup(a, family, address, dev)
  if (n === 0) {
    n = neighInsertLocked(a, family, address, dev, type, now)
    construct(a, n, family, address, dev, type)
    gcListLocked(a, n, !exempt)
  }
  unlockNeighbours(a)
  return n
}

function construct(a: Arena, n: number, family: number, address: Uint8Array, dev: number, type: number): void {
  const flags = netdevFlags(a, dev)
  let mac: Uint8Array | null = null
  if (!isEthernet(a, dev)) mac = new Uint8Array(6)
  else if (type === RTN_MULTICAST) mac = multicastMac(family, address)
  else if (flags & (IFF_NOARP | IFF_LOOPBACK)) mac = netdevMac(a, dev)
  else if (type === RTN_BROADCAST || flags & IFF_POINTOPOINT) mac = new Uint8Array(6).fill(255)
  if (mac === null) return
  writeBegin(a, n)
  store(a.m, (n + NEIGH_STATE) >> 2, NUD_NOARP)
  setMac(a, n, mac)
  writeEnd(a, n)
}

function setMac(a: Arena, n: number, mac: Uint8Array): void {
  store(a.m, (n + NEIGH_MAC) >> 2, mac[0] | (mac[1] << 8) | (mac[2] << 16) | (mac[3] << 24))
  store(a.m, (n + NEIGH_MAC + 4) >> 2, mac[4] | (mac[5] << 8))
}

const sameMac = (a: Arena, n: number, mac: Uint8Array): boolean => {
  for (let i = 0; i < 6; i++) if (a.u8[n + NEIGH_MAC + i] !== mac[i]) return false
  return true
}

// ---- garbage collection
const gcWord = (a: Arena, family: number): number =>
  (neighTable(a) + NEIGH_GC_ENTRIES + (family === AF_INET ? 0 : 4)) >> 2
/** Entries of a family that count against the thresholds. */
export const gcEntries = (a: Arena, family: number): number => a.m[gcWord(a, family)]

function gcListLocked(a: Arena, n: number, on: boolean): void {
  const m = a.m
  const word = (n + NEIGH_ON_GC_LIST) >> 2
  if ((m[word] !== 0) === on) return
  m[word] = on ? 1 : 0
  m[gcWord(a, m[(n + NEIGH_FAMILY) >> 2])] += on ? 1 : -1
}

/** Takes away what nobody will miss, when the table is full (neigh_forced_gc). Gives back how many. */
function forcedGc(a: Arena, family: number, now: number): number {
  const m = a.m
  const idle: number[] = []
  neighEach(a, (n) => {
    if (m[(n + NEIGH_FAMILY) >> 2] !== family || m[(n + NEIGH_ON_GC_LIST) >> 2] === 0 || m[(n + NEIGH_ARMED) >> 2])
      return
    const state = m[(n + NEIGH_STATE) >> 2]
    const old = ((now | 0) - m[(n + NEIGH_UPDATED) >> 2]) | 0
    if (state === NUD_FAILED || state === NUD_NOARP || old > 5000 || old < 0) idle.push(n)
  })
  idle.sort((x, y) => (m[(x + NEIGH_UPDATED) >> 2] - m[(y + NEIGH_UPDATED) >> 2]) | 0)
  const most = gcEntries(a, family) - GC_THRESH2
  const gone = idle.slice(0, most)
  for (const n of gone) neighRemove(a, n)
  return gone.length
}

/** Takes a neighbour out of the table and tells of it. Takes lock neighbour. */
export function neighRemove(a: Arena, n: number): void {
  lockNeighbours(a)
  const dead = a.m[(n + NEIGH_DEAD) >> 2] !== 0
  if (!dead) {
    gcListLocked(a, n, false)
    neighUnlinkLocked(a, n)
  }
  unlockNeighbours(a)
  if (dead) return
  neighNotify(a, RTM_DELNEIGH, n)
  neighFree(a, n)
}

/** All neighbours of a device go (neigh_ifdown: the device went down or away), permanent ones too unless `keepPermanent`. */
export function neighFlush(a: Arena, dev: number, keepPermanent = false): void {
  const m = a.m
  neighEach(a, (n) => {
    if (m[(n + NEIGH_DEV) >> 2] !== dev) return
    if (keepPermanent && m[(n + NEIGH_STATE) >> 2] & NUD_PERMANENT) return
    neighRemove(a, n)
  })
}

// ---- changes
/**
 * Changes a neighbour as __neigh_update does: `mac` null keeps the one known, `next` is the new NUD_* state, `flags`
 * NEIGH_UPDATE_F_*. Answers 0 or the errno: EPERM (a NOARP or permanent one, without ADMIN; dead), EINVAL (no address).
 */
export function neighUpdate(
  a: Arena,
  n: number,
  mac: Uint8Array | null,
  next: number,
  flags: number,
  now: number,
): number {
  // What is heard on the wire the kernel hears too, and tells.
  if (isKernels(a, a.m[(n + NEIGH_DEV) >> 2])) return 0
  lockNeighbours(a)
  const r = updateLocked(a, n, mac, next, flags, now | 0)
  unlockNeighbours(a)
  if (r.notify) neighNotify(a, RTM_NEWNEIGH, n)
  return r.errno
}

function updateLocked(
  a: Arena,
  n: number,
  given: Uint8Array | null,
  wanted: number,
  flags: number,
  now: number,
): { errno: number; notify: boolean } {
  const m = a.m
  const old = m[(n + NEIGH_STATE) >> 2]
  let next = wanted
  let notify = false
  if (m[(n + NEIGH_DEAD) >> 2]) return { errno: EPERM, notify }
  if (!(flags & NEIGH_UPDATE_F_ADMIN) && old & (NUD_NOARP | NUD_PERMANENT)) return { errno: EPERM, notify }
  if (flags & NEIGH_UPDATE_F_ADMIN) {
    const learned = (flags & NEIGH_UPDATE_F_EXT_LEARNED) !== 0
    const had = (m[(n + NEIGH_FLAGS) >> 2] & NTF_EXT_LEARNED) !== 0
    if (learned !== had) {
      setFlag(a, n, NTF_EXT_LEARNED, learned)
      notify = true
    }
  }
  if (flags & NEIGH_UPDATE_F_USE) {
    neighSetStateLocked(a, n, old & ~NUD_PERMANENT, now, false)
    gcListLocked(a, n, onGcList(a, n))
    return { errno: 0, notify }
  }
  if (!(next & NUD_VALID)) {
    setTimerLocked(a, n, 0, false)
    neighSetStateLocked(a, n, next, now, false)
    gcListLocked(a, n, onGcList(a, n))
    return {
      errno: 0,
      notify: (old & NUD_VALID) !== 0 || (next === NUD_FAILED && (old & NUD_INCOMPLETE) !== 0) || notify,
    }
  }
  const valid = (old & NUD_VALID) !== 0
  if (given === null && !valid) return { errno: EINVAL, notify }
  let mac = given === null || (valid && sameMac(a, n, given)) ? null : given
  if (next & NUD_CONNECTED) setTime(a, n, NEIGH_CONFIRMED, now)
  let isRouter = (flags & NEIGH_UPDATE_F_OVERRIDE_ISROUTER) !== 0
  if (valid) {
    if (mac !== null && !(flags & NEIGH_UPDATE_F_OVERRIDE)) {
      isRouter = false
      if (!(flags & NEIGH_UPDATE_F_WEAK_OVERRIDE) || !(old & NUD_CONNECTED)) return { errno: 0, notify }
      mac = null
      next = NUD_STALE
    } else if (mac === null && next === NUD_STALE && !(flags & NEIGH_UPDATE_F_ADMIN)) next = old
  }
  writeBegin(a, n)
  if (next !== old || mac !== null) store(m, (n + NEIGH_UPDATED) >> 2, now)
  if (next !== old) {
    if (next & NUD_PROBE) m[(n + NEIGH_PROBES) >> 2] = 0
    store(m, (n + NEIGH_STATE) >> 2, next)
    notify = true
  }
  if (mac !== null) {
    setMac(a, n, mac)
    if (!(next & NUD_CONNECTED)) store(m, (n + NEIGH_CONFIRMED) >> 2, (now - 2 * REACHABLE_TIME) | 0)
    notify = true
  }
  const router = (flags & NEIGH_UPDATE_F_ISROUTER) !== 0
  if (isRouter && router !== ((m[(n + NEIGH_FLAGS) >> 2] & NTF_ROUTER) !== 0)) {
    store(m, (n + NEIGH_FLAGS) >> 2, m[(n + NEIGH_FLAGS) >> 2] ^ NTF_ROUTER)
    notify = true
  }
  writeEnd(a, n)
  if (next !== old)
    setTimerLocked(a, n, (now + (next & NUD_REACHABLE ? REACHABLE_TIME : 0)) | 0, (next & NUD_IN_TIMER) !== 0)
  gcListLocked(a, n, onGcList(a, n))
  return { errno: 0, notify }
}

const onGcList = (a: Arena, n: number): boolean =>
  !(a.m[(n + NEIGH_STATE) >> 2] & NUD_PERMANENT) && !(a.m[(n + NEIGH_FLAGS) >> 2] & NTF_EXT_LEARNED)

/** Sets the state, and the time of the change when `stamp`. The caller holds lock neighbour. */
export function neighSetStateLocked(a: Arena, n: number, state: number, now: number, stamp: boolean): void {
  writeBegin(a, n)
  store(a.m, (n + NEIGH_STATE) >> 2, state)
  if (stamp) store(a.m, (n + NEIGH_UPDATED) >> 2, now)
  writeEnd(a, n)
}

function setFlag(a: Arena, n: number, flag: number, on: boolean): void {
  const w = (n + NEIGH_FLAGS) >> 2
  writeBegin(a, n)
  store(a.m, w, on ? a.m[w] | flag : a.m[w] & ~flag)
  writeEnd(a, n)
}

function setTime(a: Arena, n: number, field: number, now: number): void {
  writeBegin(a, n)
  store(a.m, (n + field) >> 2, now | 0)
  writeEnd(a, n)
}

/** As neighUpdate, for `ip neigh`: throws the refusal. */
export function neighUpdateAdmin(
  a: Arena,
  n: number,
  mac: Uint8Array | null,
  next: number,
  flags: number,
  now: number,
): void {
  const errno = neighUpdate(a, n, mac, next, flags | NEIGH_UPDATE_F_ADMIN, now)
  if (errno === EINVAL) throw new NetlinkError(EINVAL, 'No link layer address given')
  if (errno === EPERM) throw new NetlinkError(EPERM, 'Neighbor entry is now dead')
}

/**
 * A packet goes to this neighbour now (neigh_event_send without the packet): a stale one begins its delay, one that is
 * unknown or has failed is asked for. The request goes out when the host next looks at its timers, which is at once when
 * the host itself calls. Gives back the state after. Takes lock neighbour unless there is nothing to change.
 */
export function neighUse(a: Arena, n: number, now: number): number {
  const m = a.m
  const state = m[(n + NEIGH_STATE) >> 2]
  if (isKernels(a, m[(n + NEIGH_DEV) >> 2])) return askKernel(a, n, state, now)
  if (state & NUD_CONNECTED) return state
  lockNeighbours(a)
  const old = m[(n + NEIGH_STATE) >> 2]
  let next = old
  setTime(a, n, NEIGH_USED, now)
  if (!(old & (NUD_CONNECTED | NUD_DELAY | NUD_PROBE)) && !m[(n + NEIGH_DEAD) >> 2]) {
    if (old & NUD_STALE) {
      next = NUD_DELAY
      neighSetStateLocked(a, n, next, now | 0, true)
      setTimerLocked(a, n, (now + DELAY_PROBE_TIME) | 0, true)
    } else if (!(old & NUD_INCOMPLETE)) {
      next = NUD_INCOMPLETE
      m[(n + NEIGH_PROBES) >> 2] = UCAST_PROBES
      neighSetStateLocked(a, n, next, now | 0, true)
      setTimerLocked(a, n, now | 0, true)
    }
  }
  unlockNeighbours(a)
  return next
}

/** Milliseconds between two questions for one neighbour: the kernel goes on by itself meanwhile. */
const ASK_INTERVAL = 1000

/**
 * The kernel resolves: it is asked by whoever mirrors it, and told of the use of one that is reachable, which therefore does
 * not go stale. Not of a permanent one: NTF_USE would take its permanence. Gives back the state, which is the kernel's.
 */
function askKernel(a: Arena, n: number, state: number, now: number): number {
  const { m } = a
  if (state & (NUD_PERMANENT | NUD_NOARP)) return state
  const since = ((now | 0) - m[(n + NEIGH_USED) >> 2]) | 0
  if (load(m, (n + NEIGH_ASKED) >> 2) !== 0 || (m[(n + NEIGH_PROBES) >> 2] !== 0 && since < ASK_INTERVAL)) return state
  lockNeighbours(a)
  setTime(a, n, NEIGH_USED, now)
  m[(n + NEIGH_PROBES) >> 2] = 1
  unlockNeighbours(a)
  store(m, (n + NEIGH_ASKED) >> 2, 1)
  add(m, (neighTable(a) + NEIGH_ASKS) >> 2, 1)
  return state
}

/** What a kernel says of a neighbour on a device of its own: taken as it is, no timer runs here. `mac` null: none. */
export function neighMirror(
  a: Arena,
  n: number,
  mac: Uint8Array | null,
  state: number,
  flags: number,
  now: number,
): void {
  const { m } = a
  lockNeighbours(a)
  const same = mac === null || sameMac(a, n, mac)
  const changed = m[(n + NEIGH_STATE) >> 2] !== state || !same
  if (changed && !m[(n + NEIGH_DEAD) >> 2]) {
    writeBegin(a, n)
    store(m, (n + NEIGH_STATE) >> 2, state)
    if (mac !== null && !same) setMac(a, n, mac)
    store(m, (n + NEIGH_FLAGS) >> 2, flags)
    store(m, (n + NEIGH_UPDATED) >> 2, now | 0)
    if (state & NUD_CONNECTED) store(m, (n + NEIGH_CONFIRMED) >> 2, now | 0)
    writeEnd(a, n)
    m[(n + NEIGH_PROBES) >> 2] = 0
    setTimerLocked(a, n, 0, false)
    gcListLocked(a, n, false)
  }
  unlockNeighbours(a)
  if (changed) neighNotify(a, RTM_NEWNEIGH, n)
}

/** Something proved that it answers (neigh_confirm, dst_confirm). */
export function neighConfirm(a: Arena, n: number, now: number): void {
  lockNeighbours(a)
  setTime(a, n, NEIGH_CONFIRMED, now)
  unlockNeighbours(a)
}

/** What kind of address the neighbour has: RTN_*. */
export const neighType = (a: Arena, n: number): number => a.m[(n + NEIGH_TYPE) >> 2]
