// Staging: what is to be done with each packet of a burst, found out for all of them before the first has its turn.
//
// So the memory of one packet is fetched while another is worked on. Staging only looks, and notes: the packet, its flow, the
// flow's program. What it cannot see through, or no rule takes, is FLOW_UNKNOWN, and is received the long way. Packets
// with the key of the one before them, as they come in trains, have its flow without another look.

import { OP_COUNT } from '../../memory/layout/program.ts'
import { FLOW_ACTIONS } from '../../memory/layout/flow.ts'
import { KEY_ENC_IPV6_DST, KEY_ENC_IPV6_SRC, KEY_ENC_KEY_ID, KEY_ENC_PORT_SRC } from '../../memory/layout/flow_key.ts'
import { NETDEV_IFINDEX, NETDEV_MTU } from '../../memory/layout/netdev.ts'
import { PKT_DATA, PKT_DEV, PKT_LEN } from '../../memory/layout/packet.ts'
import { BE_IP } from './frame.ts'
import { MTU_SLACK } from './input.ts'
import { SCRATCH_BURST, SCRATCH_KEYS } from './layout.ts'
import {
  ENTRY_FLOW,
  isCacheFar,
  isCacheIdle,
  miss,
  missNamed,
  noteAsked,
  otherSmallEntry,
  otherTunnelEntry,
  PLAN_CHUNKS,
  PLAN_MASKS,
  PLAN_OUTER,
  PLAN_SMALL,
  PLAN_TUNNEL,
  planOf,
  search,
  searchFor,
  smallEntry,
  smallEntryHas,
  smallHead,
  smallSeed,
  tunnelEntry,
  tunnelEntryHas,
} from './lookup.ts'
import { innerLen, OUTER_DEV, OUTER_LEN, OUTER_MASK, OUTER_NAME, OUTER_VNI, outerChunk11, outerChunk8, outerOf } from './outer.ts'
import { isQuick, quickChunk0, quickChunk1, quickChunk2 } from './quick_key.ts'
import { generation, scratch, touchCounter } from './state.ts'

/** The stage of a packet: its slot; bytes of the frame that its flow is about, and of all that was received. */
export const STAGE_PKT: usize = 0
export const STAGE_LEN: usize = 4
export const STAGE_WIRE: usize = 8
/** Bytes in front of that frame: those of a tunnel that it leaves. */
export const STAGE_SKIP: usize = 12
/** Its flow, or FLOW_UNKNOWN. */
export const STAGE_FLOW: usize = 16
/** As OUTER_VNI. */
export const STAGE_VNI: usize = 20
/** The flow's program, or 0; the tunnel device that the packet leaves, or 0. */
export const STAGE_PROGRAM: usize = 24
export const STAGE_TUNNEL: usize = 28
/** Until the flow is known: its key's place in the cache, or KEY_AS_BEFORE, or FLOW_UNKNOWN; and the first two chunks of the key. */
const STAGE_ENTRY: usize = STAGE_FLOW
const STAGE_CHUNK0: usize = 32
const STAGE_CHUNK1: usize = 48
export const STAGE_SIZE: usize = 64

/** The key is that of the packet before. */
const KEY_AS_BEFORE: usize = 0
/** The short cut cannot see it. */
export const FLOW_UNKNOWN: usize = 1

/** Keeps the loads that only touch memory alive. */
let touched: u32 = 0

/** Stages packets of one port, with the plan of its filters or 0 without; stops before one of another port. Returns how many. */
export function stageBurst(list: usize, n: i32, dev: usize, mask: usize, plan: usize): i32 {
  if (plan == 0) return stageBare(list, n, dev)
  if (isCacheIdle()) return stageSearched(list, n, dev, plan)
  missed = 0
  n = stageFiltered(list, n, dev, mask, plan)
  noteAsked(n, missed)
  return n
}

/** The stage of a packet of which nothing is known yet. */
// @ts-ignore: decorator
@inline
function beginStage(s: usize, pkt: usize, len: u32): void {
  store<usize>(s, pkt, STAGE_PKT)
  store<u32>(s, len, STAGE_LEN)
  store<u64>(s, <u64>len, STAGE_WIRE) // and STAGE_SKIP: nothing
  store<usize>(s, FLOW_UNKNOWN, STAGE_FLOW)
  store<u64>(s, 0, STAGE_PROGRAM) // and STAGE_TUNNEL: none
}

/** No filters, so that only tunnels can take it. */
function stageBare(list: usize, n: i32, dev: usize): i32 {
  const longest = load<u32>(dev, NETDEV_MTU) + MTU_SLACK
  let s = scratch + SCRATCH_BURST
  let k: i32 = 0
  for (; k < n; k++, s += STAGE_SIZE) {
    const pkt = load<usize>(list + ((<usize>k) << 2))
    if (load<usize>(pkt, PKT_DEV) != dev) break
    const len = load<u32>(pkt, PKT_LEN)
    beginStage(s, pkt, len)
    if (len <= longest) stageInner(s, dev)
  }
  return k
}

/** A packet that no filter of its port takes: if it leaves a tunnel here, its flow at the tunnel device. */
function stageInner(s: usize, dev: usize): void {
  store<usize>(s, FLOW_UNKNOWN, STAGE_FLOW)
  const data = load<usize>(load<usize>(s, STAGE_PKT), PKT_DATA)
  const outer = outerOf(dev, data, load<u32>(s, STAGE_LEN))
  if (outer == 0) return
  const mask = load<usize>(outer, OUTER_MASK)
  const plan = planOf(mask)
  const inner = data + OUTER_LEN
  const ifindex = load<u32>(load<usize>(outer, OUTER_DEV), NETDEV_IFINDEX)
  const a = v128.and(quickChunk0(inner), v128.load(plan, PLAN_MASKS))
  const b = v128.and(quickChunk1(inner), v128.load(plan, PLAN_MASKS + 16))
  const c = v128.and(quickChunk2(ifindex), v128.load(plan, PLAN_MASKS + 32))
  const name = load<u32>(outer, OUTER_NAME)
  const named = load<u32>(plan, PLAN_OUTER) != 0 && name != 0
  let flow: usize = 0
  if (named || load<u32>(plan, PLAN_CHUNKS) == PLAN_SMALL) {
    const start = named ? <usize>name : mask
    const key = <u64>start | (<u64>generation << 32)
    const head = smallHead(key, BE_IP)
    const entry = smallEntry(a, b, smallSeed(c, start, BE_IP))
    const other = otherSmallEntry(entry)
    if (smallEntryHas(entry, head, a, b, c)) flow = load<usize>(entry, ENTRY_FLOW)
    else if (smallEntryHas(other, head, a, b, c)) flow = load<usize>(other, ENTRY_FLOW)
    else flow = missNamed(entry, plan, innerKey(outer, data, ifindex), BE_IP, key)
  } else if (load<u32>(plan, PLAN_TUNNEL) != 0) {
    const key = load<u64>(plan)
    const d = v128.and(outerChunk8(outer, data), v128.load(plan, PLAN_MASKS + 48))
    const e = v128.and(outerChunk11(outer, data), v128.load(plan, PLAN_MASKS + 64))
    const entry = tunnelEntry(a, b, c, d, e, mask, BE_IP)
    const other = otherTunnelEntry(entry)
    if (tunnelEntryHas(entry, a, b, c, d, e, key, BE_IP)) flow = load<usize>(entry, ENTRY_FLOW)
    else if (tunnelEntryHas(other, a, b, c, d, e, key, BE_IP)) flow = load<usize>(other, ENTRY_FLOW)
    else flow = miss(entry, plan, innerKey(outer, data, ifindex), BE_IP)
  }
  if (flow == 0) return
  store<usize>(s, flow, STAGE_FLOW)
  store<usize>(s, load<usize>(flow, FLOW_ACTIONS), STAGE_PROGRAM)
  store<usize>(s, load<usize>(outer, OUTER_DEV), STAGE_TUNNEL)
  store<u32>(s, load<u32>(outer, OUTER_VNI), STAGE_VNI)
  store<u32>(s, innerLen(data), STAGE_LEN)
  store<u32>(s, OUTER_LEN, STAGE_SKIP)
}

/**
 * A port with filters that look at what the short cut can tell. First the places of all keys in the cache are found and
 * looked at, so that all of them are on their way at once; then the keys are compared. When the cache is too large for the
 * processor's own, each such step is a walk of its own, which has many places on their way.
 */
function stageFiltered(list: usize, n: i32, dev: usize, mask: usize, plan: usize): i32 {
  const c = v128.and(quickChunk2(load<u32>(dev, NETDEV_IFINDEX)), v128.load(plan, PLAN_MASKS + 32))
  const far = isCacheFar()
  n = stageKeys(list, n, dev, plan, smallSeed(c, mask, BE_IP), far)
  const head = smallHead(load<u64>(plan), BE_IP)
  const stages = scratch + SCRATCH_BURST
  const end = stages + <usize>n * STAGE_SIZE
  if (far) fetchEntries(stages, end)
  let flow: usize = 0
  let program: usize = 0
  let sink: u32 = 0
  for (let s = stages; s < end; s += STAGE_SIZE) {
    const entry = load<usize>(s, STAGE_ENTRY)
    if (entry == FLOW_UNKNOWN) continue
    if (entry != KEY_AS_BEFORE) {
      const a = v128.load(s, STAGE_CHUNK0)
      const b = v128.load(s, STAGE_CHUNK1)
      flow = smallEntryHas(entry, head, a, b, c) ? load<usize>(entry, ENTRY_FLOW) : findOther(s, entry, head, c, plan, dev)
      if (!far) {
        program = flow == 0 ? 0 : load<usize>(flow, FLOW_ACTIONS)
        sink += load<u32>(program)
      }
    }
    store<usize>(s, flow, STAGE_FLOW)
    store<usize>(s, program, STAGE_PROGRAM)
    if (flow == 0) stageInner(s, dev)
  }
  touched = sink
  if (far) fetchPrograms(stages, end)
  return n
}

/** The keys of the packets, under the plan's masks, and their places in the cache. Returns how many packets came by this port. */
function stageKeys(list: usize, n: i32, dev: usize, plan: usize, seed: v128, far: bool): i32 {
  const longest = load<u32>(dev, NETDEV_MTU) + MTU_SLACK
  const m0 = v128.load(plan, PLAN_MASKS)
  const m1 = v128.load(plan, PLAN_MASKS + 16)
  // Of the packet before. No chunk is all ones.
  let lastA = i64x2.splat(-1)
  let lastB = lastA
  let sink: u32 = 0
  let s = scratch + SCRATCH_BURST
  let k: i32 = 0
  for (; k < n; k++, s += STAGE_SIZE) {
    const pkt = load<usize>(list + ((<usize>k) << 2))
    if (load<usize>(pkt, PKT_DEV) != dev) break
    const data = load<usize>(pkt, PKT_DATA)
    const len = load<u32>(pkt, PKT_LEN)
    beginStage(s, pkt, len)
    if (len > longest || !isQuick(data, len)) continue
    const a = v128.and(quickChunk0(data), m0)
    const b = v128.and(quickChunk1(data), m1)
    let entry = KEY_AS_BEFORE
    if (v128.any_true(v128.or(v128.xor(a, lastA), v128.xor(b, lastB)))) {
      lastA = a
      lastB = b
      v128.store(s, a, STAGE_CHUNK0)
      v128.store(s, b, STAGE_CHUNK1)
      entry = smallEntry(a, b, seed)
      if (!far) sink += load<u32>(entry)
    }
    store<usize>(s, entry, STAGE_ENTRY)
  }
  touched = sink
  return k
}

/** Begins to look at both places of the keys, in a cache that is too large for the processor's own. */
function fetchEntries(stages: usize, end: usize): void {
  let sink: u32 = 0
  for (let s = stages; s < end; s += STAGE_SIZE) {
    const entry = load<usize>(s, STAGE_ENTRY)
    sink += load<u32>(entry) + load<u32>(otherSmallEntry(entry))
  }
  touched = sink
}

/** The programs of the staged flows, step by step for all of them: the flow, its program, the counter that comes first. */
function fetchPrograms(stages: usize, end: usize): void {
  for (let s = stages; s < end; s += STAGE_SIZE) {
    const flow = load<usize>(s, STAGE_FLOW)
    if (flow > FLOW_UNKNOWN) store<usize>(s, load<usize>(flow, FLOW_ACTIONS), STAGE_PROGRAM)
  }
  let sink: u32 = 0
  for (let s = stages; s < end; s += STAGE_SIZE) {
    const program = load<usize>(s, STAGE_PROGRAM)
    if (program == 0) continue
    const op = load<u64>(program)
    sink += touchCounter((op & 0xff) == OP_COUNT ? <u32>(op >>> 32) : 0)
  }
  touched = sink
}

/** Likewise, without the cache, which is no use. */
function stageSearched(list: usize, n: i32, dev: usize, plan: usize): i32 {
  const ifindex = load<u32>(dev, NETDEV_IFINDEX)
  const longest = load<u32>(dev, NETDEV_MTU) + MTU_SLACK
  let s = scratch + SCRATCH_BURST
  let k: i32 = 0
  for (; k < n; k++, s += STAGE_SIZE) {
    const pkt = load<usize>(list + ((<usize>k) << 2))
    if (load<usize>(pkt, PKT_DEV) != dev) break
    const data = load<usize>(pkt, PKT_DATA)
    const len = load<u32>(pkt, PKT_LEN)
    beginStage(s, pkt, len)
    if (len > longest || !isQuick(data, len)) continue
    const flow = search(plan, quickKey(data, dev, ifindex), BE_IP)
    if (flow == 0) {
      stageInner(s, dev)
      continue
    }
    store<usize>(s, flow, STAGE_FLOW)
    store<usize>(s, load<usize>(flow, FLOW_ACTIONS), STAGE_PROGRAM)
  }
  return k
}

/** Packets of the stage at work that the cache did not answer. */
let missed: u32 = 0

/** The flow for a staged key that is not in its first place of the cache, 0 without. */
function findOther(s: usize, entry: usize, head: v128, c: v128, plan: usize, dev: usize): usize {
  const other = otherSmallEntry(entry)
  if (smallEntryHas(other, head, v128.load(s, STAGE_CHUNK0), v128.load(s, STAGE_CHUNK1), c)) return load<usize>(other, ENTRY_FLOW)
  missed++
  const data = load<usize>(load<usize>(s, STAGE_PKT), PKT_DATA)
  return miss(entry, plan, quickKey(data, dev, load<u32>(dev, NETDEV_IFINDEX)), BE_IP)
}

/** The key of a frame on the device whose filters are asked. */
function quickKey(data: usize, dev: usize, ifindex: u32): usize {
  const at = scratch + SCRATCH_KEYS
  v128.store(at, quickChunk0(data), 0)
  v128.store(at, quickChunk1(data), 16)
  v128.store(at, quickChunk2(ifindex), 32)
  v128.store(at, i64x2.splat(0), 48)
  searchFor(dev)
  return at
}

/** Likewise of the inner frame of a packet that leaves a tunnel. */
function innerKey(outer: usize, data: usize, ifindex: u32): usize {
  const at = scratch + SCRATCH_KEYS
  const zero = i64x2.splat(0)
  v128.store(at, outerChunk8(outer, data), KEY_ENC_KEY_ID)
  v128.store(at, zero, KEY_ENC_IPV6_SRC)
  v128.store(at, zero, KEY_ENC_IPV6_DST)
  v128.store(at, outerChunk11(outer, data), KEY_ENC_PORT_SRC)
  return quickKey(data + OUTER_LEN, load<usize>(outer, OUTER_DEV), ifindex)
}
