// A burst of packets, in order.
//
// For packets of one port the work is in two parts: what is to be done with each is found out for all of them
// (burst_stage.ts), then each has its turn: those that only have to be sent (burst_send.ts), others one by one, by the
// flow that is known, or the long way.

import { TUNNEL_KEY } from '../../memory/layout/action.ts'
import { IFF_UP, NETDEV_FLAGS, NETDEV_IFINDEX, NETDEV_INGRESS } from '../../memory/layout/netdev.ts'
import { PKT_DATA, PKT_DEV, PKT_FLAGS, PKT_IIF, PKT_LEN, PKT_TUN, PKT_TYPE_DEV_SHIFT } from '../../memory/layout/packet.ts'
import { drainBacklog, hasBacklog } from './backlog.ts'
import { countReceived, countUp, endBurst, sendStaged } from './burst_send.ts'
import {
  FLOW_UNKNOWN,
  STAGE_FLOW,
  STAGE_LEN,
  STAGE_PROGRAM,
  STAGE_SIZE,
  STAGE_TUNNEL,
  STAGE_VNI,
  STAGE_WIRE,
  stageBurst,
} from './burst_stage.ts'
import { ETH_LEN } from './frame.ts'
import { firstMask, HOOK_PASS, runFlow } from './hook.ts'
import { receive } from './input.ts'
import { BURST_MAX, SCRATCH_BURST } from './layout.ts'
import { localInput } from './local_input.ts'
import { PLAN_CHUNKS, PLAN_SMALL, planOf } from './lookup.ts'
import { NO_METADATA, OUTER_LEN } from './outer.ts'
import { emitRoom, punted, scratch } from './state.ts'
import { setUdpTunnel } from './tunnel_input.ts'

/** Emissions that one packet may make before the list is looked at again. */
const ROOM: i32 = 256
/** Offset of an outer UDP header. */
const OUTER_UDP: u32 = 34

/** Receives packets until one made something for the host, or the emission list is nearly full. Returns how many. */
export function receiveAll(list: usize, n: i32): i32 {
  let i: i32 = 0
  while (i < n) {
    const at = list + ((<usize>i) << 2)
    const dev = load<usize>(load<usize>(at), PKT_DEV)
    const most = min<i32>(n - i, BURST_MAX)
    const up = (load<u32>(dev, NETDEV_FLAGS) & IFF_UP) != 0
    i += up ? receiveStaged(at, most, dev) : receivePlain(at, most)
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

/** Packets of one port; stops before one of another port. */
function receiveStaged(list: usize, n: i32, dev: usize): i32 {
  const block = load<usize>(dev, NETDEV_INGRESS)
  const mask: usize = block == 0 ? 0 : firstMask(block)
  const plan: usize = mask == 0 ? 0 : planOf(mask)
  if (plan != 0 && load<u32>(plan, PLAN_CHUNKS) != PLAN_SMALL) return receivePlain(list, n)
  const first = scratch + SCRATCH_BURST
  const end = first + <usize>stageBurst(list, n, dev, mask, plan) * STAGE_SIZE
  let s = first
  while (s < end) {
    s = sendStaged(s, end)
    if (s == end || (s != first && emitRoom() < ROOM)) break
    runStage(s, dev, block)
    s += STAGE_SIZE
    if (hasBacklog()) drainBacklog()
    if (punted) break
  }
  endBurst(dev, plan != 0)
  return <i32>((s - first) / STAGE_SIZE)
}

/** One packet: the program of its flow, where that is known. */
function runStage(s: usize, dev: usize, block: usize): void {
  const pkt = load<usize>(s)
  const flow = load<usize>(s, STAGE_FLOW)
  if (flow <= FLOW_UNKNOWN) {
    receive(pkt, dev)
    return
  }
  const len = load<u32>(s, STAGE_LEN)
  const pc = load<usize>(s, STAGE_PROGRAM)
  const from = load<usize>(s, STAGE_TUNNEL)
  countReceived(load<u32>(s, STAGE_WIRE))
  if (from != 0) {
    countUp(from, 1, len - ETH_LEN)
    runInner(pkt, from, load<u32>(s, STAGE_VNI), flow, pc, len)
    return
  }
  const ifindex = load<u32>(dev, NETDEV_IFINDEX)
  store<u32>(pkt, ifindex << PKT_TYPE_DEV_SHIFT, PKT_FLAGS)
  store<u32>(pkt, ifindex, PKT_IIF)
  if (runFlow(pkt, block, flow, pc, false, len - ETH_LEN, true) == HOOK_PASS) localInput(pkt, dev)
}

/** A packet that left a tunnel: up from the device as tunnel_input.ts has it. */
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
