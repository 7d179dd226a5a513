// A burst of packets, in order.
//
// For packets of one port the work is staged, so that the memory of one is fetched while another is worked on: first
// all keys and where the cache has their flows, then the flows' programs and counters are touched, then each packet is
// run in turn. Staging only looks; nothing changes before a packet's turn has come. A packet that the short cut cannot
// see through, or that no rule takes, is received the long way when it is its turn.
//
// What the port counts is added up and written once.

import * as E from '../../memory/layout/encap.ts'
import { OP_COUNT, OP_ENCAP } from '../../memory/layout/program.ts'
import { FLOW_ACTIONS } from '../../memory/layout/flow.ts'
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
  miss,
  otherSmallEntry,
  PLAN_CHUNKS,
  PLAN_MASKS,
  PLAN_SMALL,
  planOf,
  searchFor,
  smallEntry,
  smallEntryHas,
} from './lookup.ts'
import { fold } from './checksum.ts'
import { plainFlowHash } from './entropy.ts'
import { ecnEncapsulate, takeId } from './push_header.ts'
import { isQuick, quickChunk0, quickChunk1, quickChunk2 } from './quick_key.ts'
import { count, countMany, emit, emitRoom, punted, scratch, touchCounter } from './state.ts'

/** Emissions that one packet may make before the list is looked at again. */
const ROOM: i32 = 256

// What staging notes of a packet: its slot, its flow (or FLOW_UNKNOWN), the flow's program, its length.
const STAGE_FLOW: usize = 4
const STAGE_PROGRAM: usize = 8
const STAGE_LEN: usize = 12
const STAGE_SIZE: usize = 16
/** Ops as they stand in programs. */
const COUNT: u32 = OP_COUNT | (2 << 8)
const ENCAP: u32 = OP_ENCAP | (4 << 8)
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
    i += mask != 0 && up ? receiveStaged(at, most, dev, block, mask) : receivePlain(at, most)
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

/** Packets of one port that has filters; stops before one of another port. */
function receiveStaged(list: usize, n: i32, dev: usize, block: usize, mask: usize): i32 {
  const plan = planOf(mask)
  if (load<u32>(plan, PLAN_CHUNKS) != PLAN_SMALL) return receivePlain(list, n)
  n = stage(list, n, dev, mask, plan)
  return run(n, dev, block)
}

/** What is to be done with each packet, into the burst's stages. Returns how many there are. */
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
    let flow = FLOW_UNKNOWN
    let program: usize = 0
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
      if (flow != 0 && !far) program = load<usize>(flow, FLOW_ACTIONS)
    }
    store<usize>(s, pkt)
    store<u32>(s, len, STAGE_LEN)
    store<usize>(s, flow, STAGE_FLOW)
    store<usize>(s, program, STAGE_PROGRAM)
  }
  if (far) fetchPrograms(stages, s)
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

/** Runs the staged packets in their order. Returns how many. */
function run(n: i32, dev: usize, block: usize): i32 {
  const ifindex = load<u32>(dev, NETDEV_IFINDEX)
  let packets: u32 = 0
  let bytes: u32 = 0
  // The tunnel device and the port at hand, and what is to be counted on them.
  let tunnel: usize = 0
  let out: usize = 0
  let sent: u32 = 0
  let tunnelBytes: u32 = 0
  let outBytes: u32 = 0
  let s = scratch + SCRATCH_BURST
  let k: i32 = 0
  while (k < n) {
    const pkt = load<usize>(s)
    const flow = load<usize>(s, STAGE_FLOW)
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
    bytes += len
    let op = load<u32>(pc)
    if (op == COUNT) {
      count(load<u32>(pc, 4), len - ETH_LEN)
      pc += 8
      op = load<u32>(pc)
    }
    if (op == ENCAP && load<u32>(pc, 8) == 0) {
      const entry = load<usize>(pc, 4)
      const header = load<usize>(entry, E.ENCAP_HEADER)
      const data = load<usize>(pkt, PKT_DATA)
      if (header != 0 && isPlainHeader(header) && data - 64 >= pkt + PKT_HEADROOM) {
        const size = load<u32>(header, E.HEADER_LEN)
        const l3 = load<u32>(header, E.HEADER_L3)
        if (len <= load<u32>(header, E.HEADER_MTU) + l3 - size) {
          if (load<usize>(entry, E.ENCAP_DEV) != tunnel || load<usize>(header, E.HEADER_OUT_DEV) != out) {
            countSent(tunnel, out, sent, tunnelBytes, outBytes)
            sent = 0
            tunnelBytes = 0
            outBytes = 0
            tunnel = load<usize>(entry, E.ENCAP_DEV)
            out = load<usize>(header, E.HEADER_OUT_DEV)
            if (!isOpenWay(tunnel, out)) tunnel = 0
          }
          if (tunnel != 0) {
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
            const range = <u64>load<u32>(header, E.HEADER_PORT_COUNT)
            const port = load<u32>(header, E.HEADER_PORT_MIN) + <u32>((hash * range) >> 32)
            const udp = outer + l4
            store<u16>(udp, bswap<u16>(<u16>port))
            store<u16>(udp, bswap<u16>(<u16>(outerLen - l4)), 4)
            store<u64>(pkt, <u64>outer | ((<u64>outerLen) << 32), PKT_DATA)
            store<u64>(pkt, <u64>out, PKT_DEV) // and PKT_IIF: none
            sent++
            tunnelBytes += len - ETH_LEN
            outBytes += outerLen
            emit(pkt, out, EMIT_OUTPUT, 0)
            if (emitRoom() < ROOM) break
            continue
          }
        }
      }
    }
    store<u32>(pkt, ifindex << PKT_TYPE_DEV_SHIFT, PKT_FLAGS)
    store<u32>(pkt, ifindex, PKT_IIF)
    const fate = runFlow(pkt, block, flow, pc, false, len - ETH_LEN, true)
    if (fate == HOOK_PASS) localInput(pkt, dev)
    if (hasBacklog()) drainBacklog()
    if (punted || emitRoom() < ROOM) break
  }
  countSent(tunnel, out, sent, tunnelBytes, outBytes)
  if (packets != 0) countMany(load<u32>(dev, NETDEV_RX_COUNTER), packets, bytes)
  return k
}

/** The search for a key that the short cut can tell. */
function missQuick(entry: usize, plan: usize, data: usize, dev: usize, ifindex: u32): usize {
  const at = scratch + SCRATCH_KEYS
  v128.store(at, quickChunk0(data), 0)
  v128.store(at, quickChunk1(data), 16)
  v128.store(at, quickChunk2(data, ifindex), 32)
  v128.store(at, i64x2.splat(0), 48)
  searchFor(dev)
  return miss(entry, plan, at, BE_IP)
}

/**
 * Is the header of the common kind: IPv4 and UDP without checksum, nothing inherited but ECN? Then the burst writes it
 * itself; push_header.ts does the others.
 */
// @ts-ignore: decorator
@inline
function isPlainHeader(header: usize): bool {
  return (
    load<u32>(header, E.HEADER_FLAGS) == (E.HEADER_F_UDP | E.HEADER_F_SMALL) &&
    load<u32>(header, E.HEADER_LEN) <= 64 &&
    load<u32>(header, E.HEADER_STRIP) == 0
  )
}

/** Through the tunnel device and out by the port: both are up, and no filters on the way? */
function isOpenWay(tunnel: usize, out: usize): bool {
  return (
    (load<u32>(tunnel, NETDEV_FLAGS) & load<u32>(out, NETDEV_FLAGS) & IFF_UP) != 0 &&
    load<usize>(tunnel, NETDEV_EGRESS) == 0 &&
    load<usize>(out, NETDEV_EGRESS) == 0 &&
    load<u32>(out, NETDEV_KIND) == NETDEV_KIND_PORT
  )
}

/** What the tunnel device and the port count for packets that they sent. */
function countSent(tunnel: usize, out: usize, packets: u32, tunnelBytes: u32, outBytes: u32): void {
  if (packets == 0) return
  countMany(load<u32>(tunnel, NETDEV_TX_COUNTER), packets, tunnelBytes)
  countMany(load<u32>(out, NETDEV_TX_COUNTER), packets, outBytes)
}
