// The last step of sending: a frame that wants only its Ethernet addresses goes to its next hop, or waits for it
// (neigh_output, neigh_resolve_output, neigh_timer_handler; the states themselves are net/neigh_update.ts's).
//
// While a next hop is asked for, packets wait: unres_qlen_bytes of them, counted as the kernel counts (with the memory
// around them), the oldest giving way. When it answers, or when `ip neigh` says who it is, they leave in order; when it
// does not, they end under DROP_NEIGH_FAILED. Requests go out at once and then every second, three in all.

import {
  DROP_DEV_DOWN,
  DROP_NEIGH_FAILED,
  DROP_NEIGH_QUEUE_FULL,
  DROP_NEIGH_TABLE_FULL,
  DROP_PKT_TOO_BIG,
} from '../memory/layout/drop.ts'
import { IFF_LOOPBACK } from '../memory/layout/netdev.ts'
import { PKT_DATA } from '../memory/layout/packet.ts'
import {
  NEIGH_ARMED,
  NEIGH_DEV,
  NEIGH_FAMILY,
  NEIGH_GENERATION,
  NEIGH_PROBES,
  NEIGH_TIMER,
  NEIGH_TIMERS_CHANGED,
  NUD_VALID,
  neighAddress,
  neighEach,
  neighListen,
  neighLookup,
  neighSnapshot,
  neighTable,
  neighTimerHook,
} from '../net/neigh.ts'
import { neighExpire, neighGc } from '../net/neigh_timer.ts'
import { neighGet, neighUse, UCAST_PROBES } from '../net/neigh_update.ts'
import { isEthernet, netdevFlags, netdevIsUp, netdevMac } from '../net/netdev.ts'
import { load, store } from '../sync/atomic.ts'
import * as Eth from '../wire/ethernet.ts'
import { NUD_FAILED, RTM_DELNEIGH } from '../wire/rtm_neigh.ts'
import { AF_INET, AF_INET6 } from '../wire/rtm_route.ts'
import { arpSolicit } from './arp.ts'
import { loopback } from './loopback.ts'
import { ndiscSolicit } from './ndisc.ts'
import { frameOf, type HostState, nowMs, send } from './state.ts'

/** net.ipv4.neigh.default.unres_qlen_bytes: SK_WMEM_MAX. */
export const UNRES_QLEN_BYTES = 212992
/** Period of neigh_periodic_work. */
const GC_PERIOD = 15000

/** What waits for one neighbour. */
export interface Held {
  /** Frames whose Ethernet addresses are not written yet. */
  frames: Uint8Array[]
  /** Bytes as the kernel counts them. */
  bytes: number
  /** Whom they wait for: its struct is another's when it went away unheard. */
  readonly family: number
  readonly address: Uint8Array
  readonly dev: number
}

/** The kmalloc size that holds n bytes. */
const kmalloc = (n: number): number =>
  n <= 64 ? 64 : n <= 96 ? 96 : n <= 192 && n > 128 ? 192 : 2 ** Math.ceil(Math.log2(n))

/**
 * Memory that a waiting packet costs the kernel (skb->truesize): the buffer grew once when the outer headers were put in
 * front, by whole units of 64 bytes; 320 bytes of struct skb_shared_info, 256 of struct sk_buff.
 */
export function truesize(length: number): number {
  const inner = Math.max(length - 50, 14)
  const first = kmalloc(((inner + 16 + 63) & ~63) + 320) - 320
  return 256 + kmalloc(((first + 63) & ~63) + 64 + 320)
}

/** This thread's host hears of neighbours that change, and of their timers. */
export function watchNeighbours(h: HostState): void {
  neighTimerHook(h.a, (a, n) => {
    if (a.m[(n + NEIGH_ARMED) >> 2]) h.timers.arm(n, unwrap(h, a.m[(n + NEIGH_TIMER) >> 2]))
    else h.timers.cancel(n)
  })
  neighListen(h.a, (_a, event, n) => {
    if (event === RTM_DELNEIGH) {
      h.timers.cancel(n)
      giveUp(h, n)
    } else settleHeld(h, n)
  })
  rearmAll(h)
}

/** Milliseconds modulo 2^32 as milliseconds of the clock. */
function unwrap(h: HostState, t: number): number {
  const now = nowMs(h)
  return now + ((t - (now | 0)) | 0)
}

/** Another thread set timers: look at all. */
function rearmAll(h: HostState): void {
  store(h.a.m, (neighTable(h.a) + NEIGH_TIMERS_CHANGED) >> 2, 0)
  neighEach(h.a, (n) => {
    if (h.a.m[(n + NEIGH_ARMED) >> 2]) h.timers.arm(n, unwrap(h, h.a.m[(n + NEIGH_TIMER) >> 2]))
  })
}

/** Those who waited for a neighbour that is valid now leave. */
function settleHeld(h: HostState, n: number): void {
  const held = h.held.get(n)
  if (held === undefined) return
  const s = neighSnapshot(h.a, n)
  if (s.state === NUD_FAILED) giveUp(h, n)
  if (!s.valid) return
  h.held.delete(n)
  for (const frame of held.frames) {
    // The kernel sends them through neigh_output again: a neighbour that is only stale begins its delay.
    neighUse(h.a, n, nowMs(h))
    writeAddresses(h, frame, s.dev, s.mac)
    send(h, frame, s.dev, DROP_PKT_TOO_BIG)
  }
}

/** Other threads may have changed neighbours (a kernel's are mirrored by one): looks after those who wait. */
export function lookAtHeld(h: HostState): void {
  const generation = load(h.a.m, (neighTable(h.a) + NEIGH_GENERATION) >> 2)
  if (generation === h.neighGeneration) return
  h.neighGeneration = generation
  for (const [n, { family, address, dev }] of [...h.held])
    if (neighLookup(h.a, family, address, dev) === n) settleHeld(h, n)
    else giveUp(h, n)
}

/** Those who waited in vain end here. */
function giveUp(h: HostState, n: number): void {
  const held = h.held.get(n)
  if (held === undefined) return
  h.held.delete(n)
  for (let i = 0; i < held.frames.length; i++) h.dp.countDrop(DROP_NEIGH_FAILED)
}

function writeAddresses(h: HostState, frame: Uint8Array, dev: number, mac: Uint8Array): void {
  frame.set(mac, 0)
  frame.set(netdevMac(h.a, dev), Eth.ALEN)
}

/**
 * Sends a packet, whose Ethernet header stands but for the addresses, by a device to a next hop (of `family`). The
 * packet is taken: sent, held as a copy, or dropped by name.
 */
export function neighOutput(h: HostState, pkt: number, dev: number, family: number, nexthop: Uint8Array): void {
  const { a, dp } = h
  if (!netdevIsUp(a, dev)) {
    dp.drop(pkt, DROP_DEV_DOWN)
    return
  }
  if (netdevFlags(a, dev) & IFF_LOOPBACK) {
    loopback(h, pkt, dev)
    return
  }
  if (!isEthernet(a, dev)) {
    dp.transmit(pkt, dev)
    return
  }
  const now = nowMs(h)
  const n = neighGet(a, family, nexthop, dev, now)
  if (n === 0) {
    dp.drop(pkt, DROP_NEIGH_TABLE_FULL)
    return
  }
  const state = neighUse(a, n, now)
  if (state & NUD_VALID) {
    const o = a.m[(pkt + PKT_DATA) >> 2]
    const { mac } = neighSnapshot(a, n)
    const own = netdevMac(a, dev)
    for (let i = 0; i < Eth.ALEN; i++) {
      a.u8[o + i] = mac[i]
      a.u8[o + Eth.ALEN + i] = own[i]
    }
    dp.transmit(pkt, dev)
    return
  }
  hold(h, pkt, n)
  // The first request is due at once.
  if (a.m[(n + NEIGH_ARMED) >> 2] && unwrap(h, a.m[(n + NEIGH_TIMER) >> 2]) <= now) expire(h, n)
}

function hold(h: HostState, pkt: number, n: number): void {
  let held = h.held.get(n)
  if (held === undefined) {
    const { m } = h.a
    held = {
      frames: [],
      bytes: 0,
      family: m[(n + NEIGH_FAMILY) >> 2],
      address: neighAddress(h.a, n),
      dev: m[(n + NEIGH_DEV) >> 2],
    }
    h.held.set(n, held)
  }
  const frame = frameOf(h, pkt)
  h.dp.release(pkt)
  const size = truesize(frame.length)
  while (held.bytes + size > UNRES_QLEN_BYTES && held.frames.length > 0) {
    const oldest = held.frames.shift() as Uint8Array
    held.bytes -= truesize(oldest.length)
    h.dp.countDrop(DROP_NEIGH_QUEUE_FULL)
  }
  held.frames.push(frame)
  held.bytes += size
}

/** The timer of a neighbour ran out. */
function expire(h: HostState, n: number): void {
  const what = neighExpire(h.a, n, nowMs(h))
  if (what === 'failed') giveUp(h, n)
  if (what !== 'probe') return
  const { m } = h.a
  const dev = m[(n + NEIGH_DEV) >> 2]
  // neigh_probe counts behind the request: the first UCAST_PROBES of a known neighbour go to it alone.
  const unicast = m[(n + NEIGH_PROBES) >> 2] - 1 < UCAST_PROBES
  const held = h.held.get(n)
  const last = held === undefined ? null : held.frames[held.frames.length - 1]
  const mac = unicast ? neighSnapshot(h.a, n).mac : null
  if (m[(n + NEIGH_FAMILY) >> 2] === AF_INET) arpSolicit(h, neighAddress(h.a, n), dev, last, mac)
  else ndiscSolicit(h, neighAddress(h.a, n), dev, last, unicast)
}

/** When a neighbour's timer next runs out, milliseconds. */
export function nextNeighbourTimer(h: HostState): number {
  if (load(h.a.m, (neighTable(h.a) + NEIGH_TIMERS_CHANGED) >> 2)) rearmAll(h)
  return h.timers.next()
}

/** Runs the timers that are due, and what other threads have made possible. */
export function runNeighbourTimers(h: HostState): void {
  const now = nowMs(h)
  if (load(h.a.m, (neighTable(h.a) + NEIGH_TIMERS_CHANGED) >> 2)) rearmAll(h)
  for (let n = h.timers.take(now); n >= 0; n = h.timers.take(now)) expire(h, n)
  lookAtHeld(h)
  if (now < h.nextGc) return
  h.nextGc = now + GC_PERIOD
  neighGc(h.a, AF_INET, now)
  neighGc(h.a, AF_INET6, now)
}
