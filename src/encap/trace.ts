// Events of the scheme, as they happen: the five trace points of mlx5e (scheme 6) and the changes of state of flows,
// entries and neighbours, each with its time, into a ring of the thread that does them (memory/trace_ring.ts).
//
// Tracing is off until traceOpen; then a thread's first event makes its ring and puts it on the list that readers walk.
// Off, an event costs one load. Writing never waits and never fails; a ring keeps the newest events. What an event's words
// mean is said beside each writer here and read by trace_points.ts, which makes text and JSON of them.

import { type Arena, reserve } from '../memory/arena.ts'
import { ENCAP_DEV, ENCAP_HEADER } from '../memory/layout/encap.ts'
import { FLOW_COOKIE, FLOW_COOKIE_HI } from '../memory/layout/flow.ts'
import { NETDEV_NAME } from '../memory/layout/netdev.ts'
import { SUPER_PART_TRACE, SUPER_PARTS } from '../memory/layout/super.ts'
import { MemoryError } from '../memory/pool.ts'
import { TRACE_ARGS, traceCreate, traceRead, traceTime, traceWrite, traceWritten } from '../memory/trace_ring.ts'
import { NEIGH_ADDR, NEIGH_DEV, NEIGH_FAMILY, NEIGH_MAC, NEIGH_STATE, NUD_VALID, neighLookup } from '../net/neigh.ts'
import { cas, load } from '../sync/atomic.ts'
import { ENTRY_ID, ENTRY_NHE, ENTRY_ROUTE, ENTRY_WHY } from './encap_entry.ts'
import { hooksOf } from './hooks.ts'
import { NHE_ADDR, NHE_DEV, NHE_FAMILY, nheAddress } from './neigh_hash_entry.ts'
import { ROUTE_ENTRY_DST, ROUTE_ENTRY_FAMILY } from './route_entry.ts'

// The part (SUPER_PART_TRACE): events in each ring, 0 while tracing is off; the newest node.
const TRACE_EVENTS = 0
const TRACE_NODES = 4
const TRACE_SIZE = 16
// A node: the next older one, a thread's ring.
const NODE_NEXT = 0
const NODE_RING = 4
const NODE_SIZE = 16

export const TRACE_CONFIGURE_FLOWER = 1
export const TRACE_DELETE_FLOWER = 2
export const TRACE_STATS_FLOWER = 3
export const TRACE_NEIGH_USED_VALUE = 4
export const TRACE_REP_NEIGH_UPDATE = 5
export const TRACE_FLOW_PATH = 6
export const TRACE_ENCAP_STATE = 7
export const TRACE_NEIGH_STATE = 8

/** Words of a device name in an event. */
export const NAME_WORDS = 4
/** Most action ids that an event keeps: one byte each. */
export const IDS_MAX = (TRACE_ARGS - 3) * 4

const partWord = (SUPER_PARTS + SUPER_PART_TRACE) >> 2
const rings = new WeakMap<WebAssembly.Memory, number>()
const args = new Int32Array(TRACE_ARGS)

/** Turns tracing on for the arena: each thread keeps its last `events` events. Once, before the threads start. */
export function traceOpen(a: Arena, events = 65536): void {
  const part = reserve(a, TRACE_SIZE)
  a.m[(part + TRACE_EVENTS) >> 2] = events
  a.m[partWord] = part
}

/** Is anybody interested? The first question of every writer, and of who would have to compute what to tell. */
export const traceIsOn = (a: Arena): boolean => a.m[partWord] !== 0

/** This thread's ring, made when it is first needed; 0 when there is no memory for it. */
function ringOf(a: Arena): number {
  const known = rings.get(a.memory)
  if (known !== undefined) return known
  const { m } = a
  const part = m[partWord]
  let ring = 0
  try {
    ring = traceCreate(a, m[(part + TRACE_EVENTS) >> 2])
    const node = reserve(a, NODE_SIZE)
    m[(node + NODE_RING) >> 2] = ring
    for (;;) {
      const head = load(m, (part + TRACE_NODES) >> 2)
      m[(node + NODE_NEXT) >> 2] = head
      if (cas(m, (part + TRACE_NODES) >> 2, head, node)) break
    }
  } catch (e) {
    if (!(e instanceof MemoryError)) throw e
  }
  rings.set(a.memory, ring)
  return ring
}

function write(a: Arena, id: number, n: number): void {
  const ring = ringOf(a)
  if (ring !== 0) traceWrite(a, ring, id, Math.round(hooksOf(a).now() * 1e6), args, n)
}

const u64 = (at: number, v: number): void => {
  args[at] = v | 0
  args[at + 1] = Math.floor(v / 0x100000000)
}

/** Copies the name of a device to args[at..at+3]. */
function nameArgs(a: Arena, at: number, dev: number): void {
  const w = (dev + NETDEV_NAME) >> 2
  for (let i = 0; i < NAME_WORDS; i++) args[at + i] = dev === 0 ? 0 : a.m[w + i]
}

/** Copies 16 bytes at arena address p to args[at..at+3]. */
const wordsAt = (a: Arena, at: number, p: number): void => {
  for (let i = 0; i < 4; i++) args[at + i] = a.m[(p >> 2) + i]
}

function flower(a: Arena, id: number, flow: number, ids: ArrayLike<number>): void {
  const n = Math.min(ids.length, IDS_MAX)
  args.fill(0)
  args[0] = a.m[(flow + FLOW_COOKIE) >> 2]
  args[1] = a.m[(flow + FLOW_COOKIE_HI) >> 2]
  args[2] = n
  for (let i = 0; i < n; i++) args[3 + (i >> 2)] |= (ids[i] & 0xff) << ((i & 3) * 8)
  write(a, id, TRACE_ARGS)
}

/** A flow is about to be made (also when that will fail): its FLOW_COOKIE and its FLOW_ACTION_* ids. args: cookie, num, ids (bytes). */
export const traceConfigureFlower = (a: Arena, flow: number, ids: ArrayLike<number>): void => {
  if (traceIsOn(a)) flower(a, TRACE_CONFIGURE_FLOWER, flow, ids)
}

/** A flow was deleted, by the one who won the DELETED race. */
export const traceDeleteFlower = (a: Arena, flow: number): void => {
  if (traceIsOn(a)) flower(a, TRACE_DELETE_FLOWER, flow, [])
}

/** A flow's statistics were read: what they are now. args: cookie, bytes, packets, lastused (two words each). */
export function traceStatsFlower(a: Arena, flow: number, bytes: number, packets: number, lastused: number): void {
  if (!traceIsOn(a)) return
  args[0] = a.m[(flow + FLOW_COOKIE) >> 2]
  args[1] = a.m[(flow + FLOW_COOKIE_HI) >> 2]
  u64(2, bytes)
  u64(4, packets)
  u64(6, lastused)
  write(a, TRACE_STATS_FLOWER, 8)
}

/** neigh_stats looked at a next hop. args: device name, address (4 words), family, used. */
export function traceUpdateNeighUsedValue(a: Arena, nhe: number, used: boolean): void {
  if (!traceIsOn(a)) return
  nameArgs(a, 0, a.m[(nhe + NHE_DEV) >> 2])
  wordsAt(a, 4, nhe + NHE_ADDR)
  args[8] = a.m[(nhe + NHE_FAMILY) >> 2]
  args[9] = used ? 1 : 0
  write(a, TRACE_NEIGH_USED_VALUE, 10)
}

/** neigh_update begins. args: device name, address, family, connected, MAC (two words). */
export function traceRepNeighUpdate(a: Arena, nhe: number): void {
  if (!traceIsOn(a)) return
  const { m } = a
  const n = neighLookup(a, m[(nhe + NHE_FAMILY) >> 2], nheAddress(a, nhe), m[(nhe + NHE_DEV) >> 2])
  nameArgs(a, 0, m[(nhe + NHE_DEV) >> 2])
  wordsAt(a, 4, nhe + NHE_ADDR)
  args[8] = m[(nhe + NHE_FAMILY) >> 2]
  args[9] = n !== 0 && m[(n + NEIGH_STATE) >> 2] & NUD_VALID ? 1 : 0
  args[10] = n === 0 ? 0 : m[(n + NEIGH_MAC) >> 2]
  args[11] = n === 0 ? 0 : m[(n + NEIGH_MAC + 4) >> 2]
  write(a, TRACE_REP_NEIGH_UPDATE, 12)
}

/** A flow was switched: `why` SLOW_NONE to the fast path, else to the slow one. args: cookie, why. */
export function traceFlowPath(a: Arena, flow: number, why: number): void {
  if (!traceIsOn(a)) return
  args[0] = a.m[(flow + FLOW_COOKIE) >> 2]
  args[1] = a.m[(flow + FLOW_COOKIE_HI) >> 2]
  args[2] = why
  write(a, TRACE_FLOW_PATH, 3)
}

/** An entry has another reason or another header. args: name of the tunnel device, destination, family, why | header << 8 | next hop << 9, id. */
export function traceEncapState(a: Arena, e: number): void {
  if (!traceIsOn(a)) return
  const { m } = a
  const r = m[(e + ENTRY_ROUTE) >> 2]
  nameArgs(a, 0, m[(e + ENCAP_DEV) >> 2])
  if (r === 0) args.fill(0, 4, 8)
  else wordsAt(a, 4, r + ROUTE_ENTRY_DST)
  args[8] = r === 0 ? 0 : m[(r + ROUTE_ENTRY_FAMILY) >> 2]
  args[9] = m[(e + ENTRY_WHY) >> 2] | (m[(e + ENCAP_HEADER) >> 2] ? 0x100 : 0) | (m[(e + ENTRY_NHE) >> 2] ? 0x200 : 0)
  args[10] = m[(e + ENTRY_ID) >> 2]
  write(a, TRACE_ENCAP_STATE, 11)
}

/** A neighbour changed (its struct), or left the table. args: device name, address, family, state | gone << 16, MAC. */
export function traceNeighState(a: Arena, n: number, gone: boolean): void {
  if (!traceIsOn(a)) return
  const { m } = a
  nameArgs(a, 0, m[(n + NEIGH_DEV) >> 2])
  wordsAt(a, 4, n + NEIGH_ADDR)
  args[8] = m[(n + NEIGH_FAMILY) >> 2]
  args[9] = m[(n + NEIGH_STATE) >> 2] | (gone ? 0x10000 : 0)
  args[10] = m[(n + NEIGH_MAC) >> 2]
  args[11] = m[(n + NEIGH_MAC + 4) >> 2]
  write(a, TRACE_NEIGH_STATE, 12)
}

/** An event, copied out. */
export interface TraceRecord {
  /** TRACE_*. */
  readonly id: number
  /** Nanoseconds of the switch's clock. */
  readonly time: number
  readonly args: Int32Array
}

/** A reader of all rings, with its own place in each. Any thread. */
export class TraceReader {
  private readonly a: Arena
  private readonly places = new Map<number, number>()
  /** Events that were overwritten before this reader came to them. */
  lost = 0

  constructor(a: Arena) {
    this.a = a
  }

  /** What is new since the last call, by time; events of one thread at one time in their order. */
  read(): TraceRecord[] {
    const { a } = this
    const all: TraceRecord[] = []
    for (const ring of this.rings()) {
      const { next, lost } = traceRead(a, ring, this.places.get(ring) ?? 0, (w) =>
        all.push({ id: w[1], time: traceTime(w), args: w.slice(4, 4 + TRACE_ARGS) }),
      )
      this.places.set(ring, next)
      this.lost += lost
    }
    return all.sort((x, y) => x.time - y.time)
  }

  /** Passes over what is new since the last call. */
  skip(): void {
    for (const ring of this.rings()) this.places.set(ring, traceWritten(this.a, ring))
  }

  private rings(): number[] {
    const { a } = this
    const part = a.m[partWord]
    const found: number[] = []
    if (part === 0) return found
    for (let node = load(a.m, (part + TRACE_NODES) >> 2); node !== 0; node = a.m[(node + NODE_NEXT) >> 2])
      found.push(a.m[(node + NODE_RING) >> 2])
    return found.reverse()
  }
}
