// A burst of packets, in order.
//
// For packets of one port the work is staged, so that the memory of one is fetched while another is worked on: first
// all keys and where the cache has their flows, then the flows' programs and counters are touched, then each packet is
// run in turn. Staging only looks; nothing changes before a packet's turn has come. A packet that the short cut cannot
// see through, or that no rule takes, is received the long way when it is its turn.
//
// What the port counts is added up and written once.

import { TUNNEL_KEY } from '../../memory/layout/action.ts'
import * as E from '../../memory/layout/encap.ts'
import { OP_COUNT, OP_ENCAP, OP_REDIRECT, OP_TUNNEL_UNSET } from '../../memory/layout/program.ts'
import { FLOW_ACTIONS } from '../../memory/layout/flow.ts'
import { KEY_ENC_IPV6_DST, KEY_ENC_IPV6_SRC, KEY_ENC_KEY_ID, KEY_ENC_PORT_SRC } from '../../memory/layout/flow_key.ts'
import {
  IFF_UP,
  NETDEV_EGRESS,
  NETDEV_FLAGS,
  NETDEV_IFINDEX,
  NETDEV_INGRESS,
  NETDEV_KIND,
  NETDEV_KIND_PORT,
  NETDEV_MTU,
  NETDEV_RX_COUNTER,
  NETDEV_TX_COUNTER,
} from '../../memory/layout/netdev.ts'
import {
  PKT_DATA,
  PKT_DEV,
  PKT_FLAGS,
  PKT_HEADROOM,
  PKT_IIF,
  PKT_LEN,
  PKT_TUN,
  PKT_TYPE_DEV_SHIFT,
} from '../../memory/layout/packet.ts'
import { EMIT_OUTPUT } from '../../memory/layout/worker.ts'
import { drainBacklog, hasBacklog } from './backlog.ts'
import { BE_IP, ETH_LEN } from './frame.ts'
import { firstMask, HOOK_PASS, runFlow } from './hook.ts'
import { MTU_SLACK, receive } from './input.ts'
import { BURST_MAX, SCRATCH_BURST, SCRATCH_KEYS } from './layout.ts'
import { localInput } from './local_input.ts'
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
  tunnelEntry,
  tunnelEntryHas,
} from './lookup.ts'
import { fold } from './checksum.ts'
import { plainFlowHash } from './entropy.ts'
import { innerLen, NO_METADATA, OUTER_DEV, OUTER_LEN, OUTER_MASK, OUTER_NAME, outerChunk11, outerChunk8, outerOf } from './outer.ts'
import { ecnEncapsulate, takeId } from './push_header.ts'
import { isQuick, quickChunk0, quickChunk1, quickChunk2 } from './quick_key.ts'
import { count, countMany, emit, emitRoom, generation, punted, scratch, touchCounter } from './state.ts'
import { setUdpTunnel } from './tunnel_input.ts'

/** Emissions that one packet may make before the list is looked at again. */
const ROOM: i32 = 256

// What staging notes of a packet: its slot, its flow (or FLOW_UNKNOWN), the flow's program, its length.
const STAGE_FLOW: usize = 4
const STAGE_PROGRAM: usize = 8
const STAGE_LEN: usize = 12
/** The tunnel device that it leaves, or 0: then flow and length are those of the inner frame. */
const STAGE_TUNNEL: usize = 16
/** As OUTER_VNI. */
const STAGE_VNI: usize = 20
const STAGE_SIZE: usize = 32
/** Ops as they stand in programs. */
const COUNT: u32 = OP_COUNT | (2 << 8)
const ENCAP: u32 = OP_ENCAP | (4 << 8)
const REDIRECT: u32 = OP_REDIRECT | (4 << 8)
const UNSET: u32 = OP_TUNNEL_UNSET | (1 << 8)
/** Offset of an outer UDP header. */
const OUTER_UDP: u32 = 34
/** The short cut cannot see it. */
const FLOW_UNKNOWN: usize = 1

/** Keeps the loads that only touch memory alive. */
let touched: u32 = 0

/** Receives packets until one made something for the host, or the emission list is nearly full. Returns how many. */
export function receiveAll(list: usize, n: i32): i32 {
  let i: i32 = 0
  while (i < n) {
    const at = list + ((<usize>i) << 2)
    const dev = load<usize>(load<usize>(at), PKT_DEV)
    const block = load<usize>(dev, NETDEV_INGRESS)
    const mask: usize = block == 0 ? 0 : firstMask(block)
    const up = (load<u32>(dev, NETDEV_FLAGS) & IFF_UP) != 0
    const most = min<i32>(n - i, BURST_MAX)
    i += up ? receiveStaged(at, most, dev, block, mask) : receivePlain(at, most)
    if (punted || emitRoom() < ROOM) break
  }
  return i
}

/** One by one, the long way. */
function receivePlain(list: usize, n: i32): i32 {
  let i: i32 = 0
  while (i < n) {
    const pkt = load<usize>(list + ((<usize>i) << 2))
    receive(pkt, load<usize>(pkt, PKT_DEV))
    if (hasBacklog()) drainBacklog()
    i++
    if (punted || emitRoom() < ROOM) break
  }
  return i
}

/** Packets of one port; stops before one of another port. `mask`: the first of its filters, 0 without. */
function receiveStaged(list: usize, n: i32, dev: usize, block: usize, mask: usize): i32 {
  const plan: usize = mask == 0 ? 0 : planOf(mask)
  if (plan != 0 && load<u32>(plan, PLAN_CHUNKS) != PLAN_SMALL) return receivePlain(list, n)
  if (plan == 0) {
    n = stageBare(list, n, dev)
  } else if (isCacheIdle()) {
    n = stageSearched(list, n, dev, plan)
  } else {
    missed = 0
    n = stage(list, n, dev, mask, plan)
    noteAsked(n, missed)
  }
  return run(n, dev, block)
}

/** The stage of a packet of which nothing is known yet. */
// @ts-ignore: decorator
@inline
function beginStage(s: usize, pkt: usize): void {
  store<usize>(s, pkt)
  store<usize>(s, FLOW_UNKNOWN, STAGE_FLOW)
  store<usize>(s, 0, STAGE_TUNNEL)
}

/** What is to be done with each packet, into the burst's stages: no filters, so that only tunnels can take it. */
function stageBare(list: usize, n: i32, dev: usize): i32 {
  const longest = load<u32>(dev, NETDEV_MTU) + MTU_SLACK
  let s = scratch + SCRATCH_BURST
  let k: i32 = 0
  for (; k < n; k++, s += STAGE_SIZE) {
    const pkt = load<usize>(list + ((<usize>k) << 2))
    if (load<usize>(pkt, PKT_DEV) != dev) break
    const len = load<u32>(pkt, PKT_LEN)
    beginStage(s, pkt)
    if (len <= longest) stageInner(s, dev, load<usize>(pkt, PKT_DATA), len)
  }
  return k
}

/** A packet that no filter of its port takes: if it leaves a tunnel here, its flow at the tunnel device. */
function stageInner(s: usize, dev: usize, data: usize, len: u32): void {
  const outer = outerOf(dev, data, len)
  if (outer == 0) return
  const mask = load<usize>(outer, OUTER_MASK)
  const plan = planOf(mask)
  const inner = data + OUTER_LEN
  const ifindex = load<u32>(load<usize>(outer, OUTER_DEV), NETDEV_IFINDEX)
  const a = v128.and(quickChunk0(inner), v128.load(plan, PLAN_MASKS))
  const b = v128.and(quickChunk1(inner), v128.load(plan, PLAN_MASKS + 16))
  const c = v128.and(quickChunk2(inner, ifindex), v128.load(plan, PLAN_MASKS + 32))
  const name = load<u32>(outer, OUTER_NAME)
  const named = load<u32>(plan, PLAN_OUTER) != 0 && name != 0
  let flow: usize = 0
  if (named || load<u32>(plan, PLAN_CHUNKS) == PLAN_SMALL) {
    const start = named ? <usize>name : mask
    const key = <u64>start | (<u64>generation << 32)
    const entry = smallEntry(a, b, c, start, BE_IP)
    const other = otherSmallEntry(entry)
    if (smallEntryHas(entry, a, b, c, key, BE_IP)) flow = load<usize>(entry, ENTRY_FLOW)
    else if (smallEntryHas(other, a, b, c, key, BE_IP)) flow = load<usize>(other, ENTRY_FLOW)
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
  store<u32>(s, innerLen(data), STAGE_LEN)
  store<u64>(s, load<u64>(outer, OUTER_DEV), STAGE_TUNNEL) // and STAGE_VNI
}

/** Likewise for a port with filters that look at what the short cut can tell. */
function stage(list: usize, n: i32, dev: usize, mask: usize, plan: usize): i32 {
  const stages = scratch + SCRATCH_BURST
  const ifindex = load<u32>(dev, NETDEV_IFINDEX)
  const longest = load<u32>(dev, NETDEV_MTU) + MTU_SLACK
  const m0 = v128.load(plan, PLAN_MASKS)
  const m1 = v128.load(plan, PLAN_MASKS + 16)
  const m2 = v128.load(plan, PLAN_MASKS + 32)
  const key = load<u64>(plan)
  const far = isCacheFar()
  if (far) n = fetchEntries(list, n, dev, mask, plan)

  let s = stages
  let k: i32 = 0
  for (; k < n; k++, s += STAGE_SIZE) {
    const pkt = load<usize>(list + ((<usize>k) << 2))
    if (load<usize>(pkt, PKT_DEV) != dev) break
    const data = load<usize>(pkt, PKT_DATA)
    const len = load<u32>(pkt, PKT_LEN)
    store<usize>(s, pkt)
    store<usize>(s, 0, STAGE_TUNNEL)
    let flow = FLOW_UNKNOWN
    if (len <= longest && isQuick(data, len)) {
      const a = v128.and(quickChunk0(data), m0)
      const b = v128.and(quickChunk1(data), m1)
      const c = v128.and(quickChunk2(data, ifindex), m2)
      const entry = far ? load<usize>(s, STAGE_FLOW) : smallEntry(a, b, c, mask, BE_IP)
      if (smallEntryHas(entry, a, b, c, key, BE_IP)) {
        flow = load<usize>(entry, ENTRY_FLOW)
      } else {
        const other = otherSmallEntry(entry)
        if (smallEntryHas(other, a, b, c, key, BE_IP)) flow = load<usize>(other, ENTRY_FLOW)
        else flow = missQuick(entry, plan, data, dev, ifindex)
      }
      if (flow == 0) {
        store<usize>(s, FLOW_UNKNOWN, STAGE_FLOW)
        stageInner(s, dev, data, len)
        continue
      }
      store<u32>(s, len, STAGE_LEN)
      if (!far) store<usize>(s, load<usize>(flow, FLOW_ACTIONS), STAGE_PROGRAM)
    }
    store<usize>(s, flow, STAGE_FLOW)
  }
  if (far) fetchPrograms(stages, s)
  return k
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
    beginStage(s, pkt)
    if (len > longest || !isQuick(data, len)) continue
    const flow = search(plan, quickKey(data, dev, ifindex), BE_IP)
    if (flow == 0) {
      stageInner(s, dev, data, len)
      continue
    }
    store<usize>(s, flow, STAGE_FLOW)
    store<usize>(s, load<usize>(flow, FLOW_ACTIONS), STAGE_PROGRAM)
    store<u32>(s, len, STAGE_LEN)
  }
  return k
}

/** Finds the places of the keys in the cache, and only then begins to look there: all of them are on their way at once. */
function fetchEntries(list: usize, n: i32, dev: usize, mask: usize, plan: usize): i32 {
  const stages = scratch + SCRATCH_BURST
  const ifindex = load<u32>(dev, NETDEV_IFINDEX)
  const m0 = v128.load(plan, PLAN_MASKS)
  const m1 = v128.load(plan, PLAN_MASKS + 16)
  const m2 = v128.load(plan, PLAN_MASKS + 32)
  let s = stages
  let k: i32 = 0
  for (; k < n; k++, s += STAGE_SIZE) {
    const pkt = load<usize>(list + ((<usize>k) << 2))
    if (load<usize>(pkt, PKT_DEV) != dev) break
    const data = load<usize>(pkt, PKT_DATA)
    const a = v128.and(quickChunk0(data), m0)
    const b = v128.and(quickChunk1(data), m1)
    const c = v128.and(quickChunk2(data, ifindex), m2)
    store<usize>(s, smallEntry(a, b, c, mask, BE_IP), STAGE_FLOW)
  }
  let sink: u32 = 0
  for (let t = stages; t < s; t += STAGE_SIZE) {
    const entry = load<usize>(t, STAGE_FLOW)
    sink += load<u32>(entry) + load<u32>(otherSmallEntry(entry))
  }
  touched = sink
  return k
}

/** The programs of the staged flows, step by step for all of them: the flow, its program, the counter that comes first. */
function fetchPrograms(stages: usize, end: usize): void {
  for (let s = stages; s < end; s += STAGE_SIZE) {
    const flow = load<usize>(s, STAGE_FLOW)
    store<usize>(s, flow > FLOW_UNKNOWN ? load<usize>(flow, FLOW_ACTIONS) : 0, STAGE_PROGRAM)
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

/** Runs the staged packets in their order. Returns how many. */
function run(n: i32, dev: usize, block: usize): i32 {
  const ifindex = load<u32>(dev, NETDEV_IFINDEX)
  let packets: u32 = 0
  let bytes: u32 = 0
  let s = scratch + SCRATCH_BURST
  let k: i32 = 0
  while (k < n) {
    const pkt = load<usize>(s)
    const flow = load<usize>(s, STAGE_FLOW)
    const from = load<usize>(s, STAGE_TUNNEL)
    const vni = load<u32>(s, STAGE_VNI)
    const len = load<u32>(s, STAGE_LEN)
    let pc = load<usize>(s, STAGE_PROGRAM)
    s += STAGE_SIZE
    k++
    if (flow <= FLOW_UNKNOWN) {
      receive(pkt, dev)
      if (hasBacklog()) drainBacklog()
      if (punted || emitRoom() < ROOM) break
      continue
    }
    packets++
    bytes += load<u32>(pkt, PKT_LEN)
    let data = load<usize>(pkt, PKT_DATA)
    if (from != 0) {
      countUp(from, len - ETH_LEN)
      data += OUTER_LEN
    }
    let op = load<u32>(pc)
    if (op == COUNT) {
      count(load<u32>(pc, 4), len - ETH_LEN)
      pc += 8
      op = load<u32>(pc)
    }
    if (op == ENCAP) {
      if (load<u32>(pc, 8) == 0 && sendEncap(pkt, load<usize>(pc, 4), data, len)) {
        if (emitRoom() < ROOM) break
        continue
      }
    } else {
      const to = op == UNSET ? pc + 4 : pc
      if (load<u32>(to) == REDIRECT && load<u32>(to, 8) == 0 && sendPlain(pkt, load<usize>(to, 4), data, len)) {
        if (emitRoom() < ROOM) break
        continue
      }
    }
    if (from == 0) {
      store<u32>(pkt, ifindex << PKT_TYPE_DEV_SHIFT, PKT_FLAGS)
      store<u32>(pkt, ifindex, PKT_IIF)
      if (runFlow(pkt, block, flow, pc, false, len - ETH_LEN, true) == HOOK_PASS) localInput(pkt, dev)
    } else runInner(pkt, from, vni, flow, pc, len)
    if (hasBacklog()) drainBacklog()
    if (punted || emitRoom() < ROOM) break
  }
  countSent()
  countCame()
  if (packets != 0) countMany(load<u32>(dev, NETDEV_RX_COUNTER), packets, bytes)
  return k
}

/** A packet that left a tunnel, whose program the burst cannot do itself: up from the device as tunnel_input.ts has it. */
function runInner(pkt: usize, dev: usize, vni: u32, flow: usize, pc: usize, len: u32): void {
  const data = load<usize>(pkt, PKT_DATA)
  const ifindex = load<u32>(dev, NETDEV_IFINDEX)
  if (vni != NO_METADATA) setUdpTunnel(pkt, data, OUTER_UDP, 4, TUNNEL_KEY, vni)
  else store<usize>(pkt, 0, PKT_TUN)
  store<usize>(pkt, data + OUTER_LEN, PKT_DATA)
  store<u32>(pkt, len, PKT_LEN)
  store<u32>(pkt, ifindex << PKT_TYPE_DEV_SHIFT, PKT_FLAGS)
  store<usize>(pkt, dev, PKT_DEV)
  store<u32>(pkt, ifindex, PKT_IIF)
  const block = load<usize>(dev, NETDEV_INGRESS)
  if (runFlow(pkt, block, flow, pc, false, len - ETH_LEN, true) == HOOK_PASS) localInput(pkt, dev)
}

// What packets of the burst have sent, counted together while they go the same way: the tunnel device (0 for none), the
// port, and their bytes on each; and what came up from a tunnel device.
let tunnel: usize = 0
let out: usize = 0
let isOpen: bool = false
let sent: u32 = 0
let tunnelBytes: u32 = 0
let outBytes: u32 = 0
let upDev: usize = 0
let upPackets: u32 = 0
let upBytes: u32 = 0

/** Turns to another way out. Is it open: devices up, no filters, a port at its end? */
function turnTo(tunnelDev: usize, outDev: usize): bool {
  countSent()
  tunnel = tunnelDev
  out = outDev
  isOpen =
    (load<u32>(out, NETDEV_FLAGS) & IFF_UP) != 0 &&
    load<usize>(out, NETDEV_EGRESS) == 0 &&
    load<u32>(out, NETDEV_KIND) == NETDEV_KIND_PORT &&
    (tunnel == 0 || ((load<u32>(tunnel, NETDEV_FLAGS) & IFF_UP) != 0 && load<usize>(tunnel, NETDEV_EGRESS) == 0))
  return isOpen
}

/** What the tunnel device and the port count for what was sent by them. The next burst looks again whether they are open. */
function countSent(): void {
  if (sent != 0) {
    if (tunnel != 0) countMany(load<u32>(tunnel, NETDEV_TX_COUNTER), sent, tunnelBytes)
    countMany(load<u32>(out, NETDEV_TX_COUNTER), sent, outBytes)
  }
  sent = 0
  tunnelBytes = 0
  outBytes = 0
  out = 0
}

/** A packet came up from a tunnel device. */
// @ts-ignore: decorator
@inline
function countUp(dev: usize, bytes: u32): void {
  if (dev != upDev) {
    countCame()
    upDev = dev
  }
  upPackets++
  upBytes += bytes
}

/** What the tunnel device counts for what came up from it. */
function countCame(): void {
  if (upPackets != 0) countMany(load<u32>(upDev, NETDEV_RX_COUNTER), upPackets, upBytes)
  upPackets = 0
  upBytes = 0
}

/** Sends the frame at `data` by a port, as it is. False: it must go the long way. */
// @ts-ignore: decorator
@inline
function sendPlain(pkt: usize, to: usize, data: usize, len: u32): bool {
  if ((to != out || tunnel != 0) && !turnTo(0, to)) return false
  if (!isOpen) return false
  store<u64>(pkt, <u64>data | ((<u64>len) << 32), PKT_DATA)
  store<u64>(pkt, <u64>to, PKT_DEV) // and PKT_IIF: none
  sent++
  outBytes += len
  emit(pkt, to, EMIT_OUTPUT, 0)
  return true
}

/**
 * Sends the frame at `data` through an encap entry whose header is of the common kind: IPv4 and UDP without checksum,
 * nothing inherited but ECN. push_header.ts does the others. False: it must go the long way.
 */
// @ts-ignore: decorator
@inline
function sendEncap(pkt: usize, entry: usize, data: usize, len: u32): bool {
  const header = load<usize>(entry, E.ENCAP_HEADER)
  if (header == 0 || load<u32>(header, E.HEADER_FLAGS) != (E.HEADER_F_UDP | E.HEADER_F_SMALL)) return false
  const size = load<u32>(header, E.HEADER_LEN)
  const l3 = load<u32>(header, E.HEADER_L3)
  if (size > 64 || load<u32>(header, E.HEADER_STRIP) != 0 || data - 64 < pkt + PKT_HEADROOM) return false
  if (len + size > load<u32>(header, E.HEADER_MTU) + l3) return false
  const through = load<usize>(entry, E.ENCAP_DEV)
  const to = load<usize>(header, E.HEADER_OUT_DEV)
  if ((to != out || through != tunnel) && !turnTo(through, to)) return false
  if (!isOpen) return false
  const end = header + (E.HEADER_BYTES + E.HEADER_ROOM_SMALL)
  const hash = plainFlowHash(data)
  const tos = ecnEncapsulate(load<u32>(header, E.HEADER_TOS), load<u8>(data, 15))
  v128.store(data - 64, v128.load(end - 64))
  v128.store(data - 48, v128.load(end - 48))
  v128.store(data - 32, v128.load(end - 32))
  v128.store(data - 16, v128.load(end - 16))
  const outer = data - size
  const outerLen = len + size
  const ip = outer + l3
  const lenId = ((outerLen - l3) << 16) | takeId()
  const sum = load<u32>(header, E.HEADER_IP_SUM) + tos + (lenId & 0xffff) + (lenId >>> 16)
  store<u8>(ip, <u8>tos, 1)
  store<u32>(ip, bswap<u32>(lenId), 2)
  store<u16>(ip, bswap<u16>(<u16>~fold(sum)), 10)
  const l4 = load<u32>(header, E.HEADER_L4)
  const ports = <u64>load<u32>(header, E.HEADER_PORT_COUNT)
  const port = load<u32>(header, E.HEADER_PORT_MIN) + <u32>((hash * ports) >> 32)
  const udp = outer + l4
  store<u16>(udp, bswap<u16>(<u16>port))
  store<u16>(udp, bswap<u16>(<u16>(outerLen - l4)), 4)
  store<u64>(pkt, <u64>outer | ((<u64>outerLen) << 32), PKT_DATA)
  store<u64>(pkt, <u64>to, PKT_DEV) // and PKT_IIF: none
  sent++
  tunnelBytes += len - ETH_LEN
  outBytes += outerLen
  emit(pkt, to, EMIT_OUTPUT, 0)
  return true
}

/** Packets of the stage at work that the cache did not answer. */
let missed: u32 = 0

/** The search for a key that the short cut can tell. */
function missQuick(entry: usize, plan: usize, data: usize, dev: usize, ifindex: u32): usize {
  missed++
  return miss(entry, plan, quickKey(data, dev, ifindex), BE_IP)
}

/** The key of a frame on the device whose filters are asked. */
function quickKey(data: usize, dev: usize, ifindex: u32): usize {
  const at = scratch + SCRATCH_KEYS
  v128.store(at, quickChunk0(data), 0)
  v128.store(at, quickChunk1(data), 16)
  v128.store(at, quickChunk2(data, ifindex), 32)
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
