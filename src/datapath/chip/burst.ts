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
import { ENTRY_FLOW, miss, otherSmallEntry, PLAN_CHUNKS, PLAN_MASKS, PLAN_SMALL, planOf, smallEntry, smallEntryHas } from './lookup.ts'
import { fold } from './checksum.ts'
import { plainFlowHash } from './entropy.ts'
import { ecnEncapsulate, takeId } from './push_header.ts'
import { isQuick, quickChunk0, quickChunk1, quickChunk2 } from './quick_key.ts'
import { count, countMany, emit, emitRoom, punted, scratch, touchCounter } from './state.ts'

/** Emissions that one packet may make before the list is looked at again. */
const ROOM: i32 = 256

// What staging notes of a packet: its slot, its flow (or what follows), the flow's program, its length.
const STAGE_SHIFT: usize = 4
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
      } else {
        const other = otherSmallEntry(entry)
        if (smallEntryHas(other, a, b, c, key, BE_IP)) flow = load<usize>(other, ENTRY_FLOW)
        else flow = missQuick(entry, plan, data, ifindex)
      }
      if (flow != 0) program = load<usize>(flow, FLOW_ACTIONS)
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
  // The encap entry at hand, what its packets count on the two devices, and what they need of its header.
  let entryNow: usize = 0
  let encaps: u32 = 0
  let encapBytes: u32 = 0
  let size: u32 = 0
  let l3: u32 = 0
  let l4: u32 = 0
  let sum: u32 = 0
  let tosOut: u32 = 0
  let lenMax: u32 = 0
  let portMin: u32 = 0
  let portCount: u32 = 0
  let end: usize = 0
  let tunnel: usize = 0
  let out: usize = 0
  for (k = 0; k < n; ) {
    const s = stage + ((<usize>k) << STAGE_SHIFT)
    const pkt = load<usize>(s)
    const flow = load<usize>(s, 4)
    k++
    if (flow <= FLOW_UNKNOWN) {
      receive(pkt, dev)
      if (hasBacklog()) drainBacklog()
      if (punted || emitRoom() < ROOM) break
      continue
    }
    const len = load<u32>(s, 12)
    let pc = load<usize>(s, 8)
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
      if (entry != entryNow) {
        if (encaps != 0) countEncaps(tunnel, out, encaps, encapBytes, size)
        encaps = 0
        encapBytes = 0
        entryNow = 0
        if (isPlain(entry)) {
          const header = load<usize>(entry, E.ENCAP_HEADER)
          entryNow = entry
          size = load<u32>(header, E.HEADER_LEN)
          l3 = load<u32>(header, E.HEADER_L3)
          l4 = load<u32>(header, E.HEADER_L4)
          sum = load<u32>(header, E.HEADER_IP_SUM)
          tosOut = load<u32>(header, E.HEADER_TOS)
          lenMax = load<u32>(header, E.HEADER_MTU) + l3 - size
          portMin = load<u32>(header, E.HEADER_PORT_MIN)
          portCount = load<u32>(header, E.HEADER_PORT_COUNT)
          end = header + (E.HEADER_BYTES + E.HEADER_ROOM_SMALL)
          tunnel = load<usize>(entry, E.ENCAP_DEV)
          out = load<usize>(header, E.HEADER_OUT_DEV)
        }
      }
      const data = load<usize>(pkt, PKT_DATA)
      if (entry == entryNow && len <= lenMax && data - 64 >= pkt + PKT_HEADROOM) {
        const hash = plainFlowHash(data)
        const tos = ecnEncapsulate(tosOut, load<u8>(data, 15))
        v128.store(data - 64, v128.load(end - 64))
        v128.store(data - 48, v128.load(end - 48))
        v128.store(data - 32, v128.load(end - 32))
        v128.store(data - 16, v128.load(end - 16))
        const outer = data - size
        const outerLen = len + size
        const ip = outer + l3
        const lenId = ((outerLen - l3) << 16) | takeId()
        store<u8>(ip, <u8>tos, 1)
        store<u32>(ip, bswap<u32>(lenId), 2)
        store<u16>(ip, bswap<u16>(<u16>~fold(sum + tos + (lenId & 0xffff) + (lenId >>> 16))), 10)
        const udp = outer + l4
        store<u16>(udp, bswap<u16>(<u16>(portMin + <u32>((<u64>hash * portCount) >> 32))))
        store<u16>(udp, bswap<u16>(<u16>(outerLen - l4)), 4)
        store<u64>(pkt, <u64>outer | ((<u64>outerLen) << 32), PKT_DATA)
        store<u64>(pkt, <u64>out, PKT_DEV) // and PKT_IIF: none
        encaps++
        encapBytes += len
        emit(pkt, out, EMIT_OUTPUT, 0)
        if (emitRoom() < ROOM) break
        continue
      }
    }
    store<u32>(pkt, ifindex << PKT_TYPE_DEV_SHIFT, PKT_FLAGS)
    store<u32>(pkt, ifindex, PKT_IIF)
    const fate = runFlow(pkt, block, flow, pc, false, len - ETH_LEN, true)
    if (fate == HOOK_PASS) localInput(pkt, dev)
    if (hasBacklog()) drainBacklog()
    if (punted || emitRoom() < ROOM) break
  }
  if (encaps != 0) countEncaps(tunnel, out, encaps, encapBytes, size)
  if (packets != 0) countMany(load<u32>(dev, NETDEV_RX_COUNTER), packets, bytes)
  return k
}

/** The search for a key that the short cut can tell. */
function missQuick(entry: usize, plan: usize, data: usize, ifindex: u32): usize {
  const at = scratch + SCRATCH_KEYS
  v128.store(at, quickChunk0(data), 0)
  v128.store(at, quickChunk1(data), 16)
  v128.store(at, quickChunk2(data, ifindex), 32)
  v128.store(at, i64x2.splat(0), 48)
  return miss(entry, plan, at, BE_IP)
}

/**
 * Is the entry's header the common kind, and the way out open: IPv4 and UDP without checksum, nothing inherited but ECN,
 * a port that is up, no filters on the way? Then the burst writes it itself; push_header.ts does the others.
 */
function isPlain(entry: usize): bool {
  const header = load<usize>(entry, E.ENCAP_HEADER)
  if (header == 0) return false
  const dev = load<usize>(entry, E.ENCAP_DEV)
  const out = load<usize>(header, E.HEADER_OUT_DEV)
  return (
    load<u32>(header, E.HEADER_FLAGS) == (E.HEADER_F_UDP | E.HEADER_F_SMALL) &&
    load<u32>(header, E.HEADER_LEN) <= 64 &&
    load<u32>(header, E.HEADER_STRIP) == 0 &&
    (load<u32>(dev, NETDEV_FLAGS) & load<u32>(out, NETDEV_FLAGS) & IFF_UP) != 0 &&
    load<usize>(dev, NETDEV_EGRESS) == 0 &&
    load<usize>(out, NETDEV_EGRESS) == 0 &&
    load<u32>(out, NETDEV_KIND) == NETDEV_KIND_PORT
  )
}

/** What the tunnel device and the port count for packets of `bytes` in all, before a header of `size` bytes each. */
function countEncaps(tunnel: usize, out: usize, packets: u32, bytes: u32, size: u32): void {
  countMany(load<u32>(tunnel, NETDEV_TX_COUNTER), packets, bytes - packets * ETH_LEN)
  countMany(load<u32>(out, NETDEV_TX_COUNTER), packets, bytes + packets * size)
}
