// A burst of packets, in order.
//
// For packets of one port the work is staged, so that the memory of one is fetched while another is worked on: first
// all keys and where the cache has their flows, then the flows' programs and counters are touched, then each packet is
// run in turn. Staging only looks; nothing changes before a packet's turn has come. A packet that the short cut cannot
// see through, or that the cache does not know, is received the long way when it is its turn.
//
// What the port counts is added up and written once.

import { OP_COUNT } from '../../memory/layout/program.ts'
import { FLOW_ACTIONS } from '../../memory/layout/flow.ts'
import {
  IFF_UP,
  NETDEV_FLAGS,
  NETDEV_IFINDEX,
  NETDEV_INGRESS,
  NETDEV_MTU,
  NETDEV_RX_COUNTER,
} from '../../memory/layout/netdev.ts'
import {
  PKT_DATA,
  PKT_DEV,
  PKT_FLAGS,
  PKT_IIF,
  PKT_LEN,
  PKT_TYPE_DEV_SHIFT,
} from '../../memory/layout/packet.ts'
import { drainBacklog, hasBacklog } from './backlog.ts'
import { BE_IP, ETH_LEN } from './frame.ts'
import { firstMask, HOOK_PASS, runFlow } from './hook.ts'
import { MTU_SLACK, receive } from './input.ts'
import { BURST_MAX, SCRATCH_BURST } from './layout.ts'
import { localInput } from './local_input.ts'
import { ENTRY_FLOW, PLAN_CHUNKS, PLAN_MASKS, PLAN_SMALL, planOf, smallEntry, smallEntryHas } from './lookup.ts'
import { isQuick, quickChunk0, quickChunk1, quickChunk2 } from './quick_key.ts'
import { countMany, emitRoom, punted, scratch, touchCounter } from './state.ts'

/** Emissions that one packet may make before the list is looked at again. */
const ROOM: i32 = 256

// What staging notes of a packet: its slot, its flow (or what follows), the flow's program, its length.
const STAGE_SHIFT: usize = 4
/** The long way. */
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
  const ifindex = load<u32>(dev, NETDEV_IFINDEX)
  const longest = load<u32>(dev, NETDEV_MTU) + MTU_SLACK
  const stage = scratch + SCRATCH_BURST
  const m0 = v128.load(plan, PLAN_MASKS)
  const m1 = v128.load(plan, PLAN_MASKS + 16)
  const m2 = v128.load(plan, PLAN_MASKS + 32)
  const key = load<u64>(plan)

  let k: i32 = 0
  for (; k < n; k++) {
    const pkt = load<usize>(list + ((<usize>k) << 2))
    if (load<usize>(pkt, PKT_DEV) != dev) break
    const s = stage + ((<usize>k) << STAGE_SHIFT)
    const data = load<usize>(pkt, PKT_DATA)
    const len = load<u32>(pkt, PKT_LEN)
    store<usize>(s, pkt)
    store<u32>(s, len, 12)
    let flow = FLOW_UNKNOWN
    let program: usize = 0
    if (len <= longest && isQuick(data, len)) {
      const a = v128.and(quickChunk0(data), m0)
      const b = v128.and(quickChunk1(data), m1)
      const c = v128.and(quickChunk2(data, ifindex), m2)
      const entry = smallEntry(a, b, c, mask, BE_IP)
      if (smallEntryHas(entry, a, b, c, key, BE_IP)) {
        flow = load<usize>(entry, ENTRY_FLOW)
        if (flow != 0) program = load<usize>(flow, FLOW_ACTIONS)
      }
    }
    store<usize>(s, flow, 4)
    store<usize>(s, program, 8)
  }
  n = k

  let sink: u32 = 0
  for (k = 0; k < n; k++) {
    const program = load<usize>(stage + ((<usize>k) << STAGE_SHIFT), 8)
    if (program == 0) continue
    const op = load<u64>(program)
    if ((op & 0xff) == OP_COUNT) sink += touchCounter(<u32>(op >>> 32))
  }
  touched = sink

  let packets: u32 = 0
  let bytes: u32 = 0
  for (k = 0; k < n; ) {
    const s = stage + ((<usize>k) << STAGE_SHIFT)
    const pkt = load<usize>(s)
    const flow = load<usize>(s, 4)
    k++
    if (flow > FLOW_UNKNOWN) {
      const len = load<u32>(s, 12)
      packets++
      bytes += len
      store<u32>(pkt, ifindex << PKT_TYPE_DEV_SHIFT, PKT_FLAGS)
      store<u32>(pkt, ifindex, PKT_IIF)
      const fate = runFlow(pkt, block, flow, false, len - ETH_LEN, true)
      if (fate == HOOK_PASS) localInput(pkt, dev)
    } else {
      receive(pkt, dev)
    }
    if (hasBacklog()) drainBacklog()
    if (punted || emitRoom() < ROOM) break
  }
  if (packets != 0) countMany(load<u32>(dev, NETDEV_RX_COUNTER), packets, bytes)
  return k
}
