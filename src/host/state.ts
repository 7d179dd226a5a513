// What the host keeps, and the few things that all its parts do: frames in and out of packet slots, names for drops.
//
// The host is one thread's: the owner of a datapath worker. Packets that wait (for a neighbour, for their other
// fragments) are copied out of their slots into memory of the process, so that waiting packets never keep a port from
// receiving; how many bytes may wait is bounded where they wait.

import type { Arena } from '../memory/arena.ts'
import { DROP_NO_SLOT } from '../memory/layout/drop.ts'
import { NETDEV_IFINDEX } from '../memory/layout/netdev.ts'
import {
  PKT_DATA,
  PKT_DEV,
  PKT_FLAGS,
  PKT_HASH,
  PKT_HEADROOM,
  PKT_IIF,
  PKT_LEN,
  PKT_TIME,
  PKT_TIME_HI,
  PKT_TUN,
  PKT_TYPE_DEV_SHIFT,
} from '../memory/layout/packet.ts'
import { COUNTER_BYTES, COUNTER_PACKETS, COUNTER_SIZE, WORKER_COUNTERS } from '../memory/layout/worker.ts'
import type { Held } from './neighbour.ts'
import type { FragmentQueue } from './reassembly.ts'
import { TimerHeap } from './timer_heap.ts'

/** What the host asks of the datapath; Datapath of datapath/chip.ts is one. */
export interface HostDatapath {
  /** Address of the worker's struct. */
  readonly struct: number
  alloc(): number
  release(pkt: number): void
  drop(pkt: number, reason: number): void
  countDrop(reason: number): void
  maxFrame(): number
  loadBytes(pkt: number, frame: Uint8Array): boolean
  receive(pkt: number, dev: number): void
  transmit(pkt: number, dev: number): boolean
  encapsulate(pkt: number, header: number): number
  localInput(pkt: number, dev: number): void
  resume(pkt: number): void
  allocLarge(): number
}

export interface HostState {
  readonly a: Arena
  readonly dp: HostDatapath
  /** Nanoseconds of the switch's clock. */
  readonly clock: () => number
  /** Packets that wait for a neighbour, by its address in the arena. */
  readonly held: Map<number, Held>
  /** Timers of neighbours, by expiry in milliseconds. */
  readonly timers: TimerHeap
  /** Datagrams that wait for their other fragments. */
  readonly fragments: Map<string, FragmentQueue>
  readonly fragmentBytes: { v4: number; v6: number }
  /** Fragments seen of each IPv4 source: ip_frag_too_far. */
  readonly fragmentCount: Map<string, number>
  /** Token buckets of ICMP errors, by destination (struct inet_peer). */
  readonly peers: Map<string, { tokens: number; last: number }>
  /** Bucket of all ICMP errors together (icmp_global). */
  readonly icmpGlobal: { credit: number; stamp: number }
  /** Identification of the next IPv4 packet that the host makes. */
  ipId: number
  /** When the neighbour tables are next looked through (neigh_periodic_work), milliseconds. */
  nextGc: number
  /** NEIGH_GENERATION when those who wait were last looked after. */
  neighGeneration: number
}

export const newState = (a: Arena, dp: HostDatapath, clock: () => number): HostState => ({
  a,
  dp,
  clock,
  held: new Map(),
  timers: new TimerHeap(),
  fragments: new Map(),
  fragmentBytes: { v4: 0, v6: 0 },
  fragmentCount: new Map(),
  peers: new Map(),
  icmpGlobal: { credit: 0, stamp: Number.NEGATIVE_INFINITY },
  ipId: 1,
  nextGc: 15000,
  neighGeneration: 0,
})

/** Milliseconds of the switch's clock. */
export const nowMs = (h: HostState): number => Math.floor(h.clock() / 1e6)

/** A copy of the packet's frame. */
export function frameOf(h: HostState, pkt: number): Uint8Array {
  const data = h.a.m[(pkt + PKT_DATA) >> 2]
  return h.a.u8.slice(data, data + h.a.m[(pkt + PKT_LEN) >> 2])
}

/** Puts a frame into a fresh slot, reaching into the headroom when it is longer than a port's frames. 0: none, counted. */
export function slotFor(h: HostState, frame: Uint8Array, tooLong: number): number {
  const pkt = h.dp.alloc()
  if (pkt === 0) {
    h.dp.countDrop(DROP_NO_SLOT)
    return 0
  }
  const { a, dp } = h
  stamp(h, pkt)
  if (dp.loadBytes(pkt, frame)) {
    stamp(h, pkt)
    return pkt
  }
  // Fill up from the end of the slot.
  dp.loadBytes(pkt, frame.subarray(0, 0))
  const end = a.m[(pkt + PKT_DATA) >> 2] + dp.maxFrame()
  const data = end - frame.length
  if (data < pkt + PKT_HEADROOM) {
    dp.drop(pkt, tooLong)
    return 0
  }
  a.u8.set(frame, data)
  a.m[(pkt + PKT_DATA) >> 2] = data
  a.m[(pkt + PKT_LEN) >> 2] = frame.length
  stamp(h, pkt)
  return pkt
}

/** What happens to the packet happens now. */
function stamp(h: HostState, pkt: number): void {
  const ns = h.clock()
  h.a.m[(pkt + PKT_TIME) >> 2] = (ns % 0x100000000) | 0
  h.a.m[(pkt + PKT_TIME_HI) >> 2] = (ns / 0x100000000) | 0
}

/** Makes a packet one that `dev` received, and that passed its filters: `flags` PKT_F_*. */
export function setReceived(h: HostState, pkt: number, dev: number, flags: number): void {
  const { m } = h.a
  const ifindex = m[(dev + NETDEV_IFINDEX) >> 2]
  m[(pkt + PKT_DEV) >> 2] = dev
  m[(pkt + PKT_IIF) >> 2] = ifindex
  m[(pkt + PKT_FLAGS) >> 2] = flags | (ifindex << PKT_TYPE_DEV_SHIFT)
}

/** skb_scrub_packet: what came in by a tunnel or a port goes out as a packet of the host's own. */
export function scrub(h: HostState, pkt: number): void {
  const { m } = h.a
  m[(pkt + PKT_TUN) >> 2] = 0
  m[(pkt + PKT_IIF) >> 2] = 0
  m[(pkt + PKT_HASH) >> 2] = 0
}

/** Counts a packet that a device took (NETDEV_RX_COUNTER, NETDEV_TX_COUNTER) in this worker's shard. */
export function countDevice(h: HostState, dev: number, field: number, bytes: number): void {
  const { m } = h.a
  const id = m[(dev + field) >> 2]
  const w = (m[(h.dp.struct + WORKER_COUNTERS) >> 2] + id * COUNTER_SIZE) >> 2
  add64(m, w + (COUNTER_PACKETS >> 2), 1)
  add64(m, w + (COUNTER_BYTES >> 2), bytes)
}

function add64(m: Int32Array, w: number, n: number): void {
  const low = (m[w] >>> 0) + n
  m[w] = low | 0
  if (low > 0xffffffff) m[w + 1]++
}

/** Sends a frame that the host made. */
export function send(h: HostState, frame: Uint8Array, dev: number, tooLong: number): void {
  const pkt = slotFor(h, frame, tooLong)
  if (pkt !== 0) h.dp.transmit(pkt, dev)
}

export const view = (b: Uint8Array): DataView => new DataView(b.buffer, b.byteOffset, b.byteLength)
