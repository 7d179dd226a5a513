// The chip: what its host wrapper (datapath/chip.ts) calls. One instance per datapath worker, on the arena's memory.
//
// Every entry looks at the clock and at SUPER_GENERATION once; what it makes of packets is in the worker's emission
// list and drop counters when it returns.

import { PKT_DEV, PKT_NEST } from '../../memory/layout/packet.ts'
import { seedLuck } from './action_chance.ts'
import { drainBacklog, hasBacklog } from './backlog.ts'
import { receiveAll } from './burst.ts'
import { collect } from './conntrack.ts'
import { dissect as dissectInto } from './dissect.ts'
import { allocLarge as takeLarge, resume as resumeHeld } from './held.ts'
import { transmit as send } from './output.ts'
import { receive as receiveFrame } from './input.ts'
import { SCRATCH_KEYS, SCRATCH_SIZE } from './layout.ts'
import { localInput as input } from './local_input.ts'
import { attachCache } from './lookup.ts'
import { clearMeta, clone, loadFrame } from './packet.ts'
import { packetReceive as ringReceive, packetStep as ringStep, packetVectors as vectors, putTag as tag } from './packet_ring.ts'
import { complete, completeGuessed as guess } from './partial_checksum.ts'
import { pumpedOther, pumpedOut, pumpFrames } from './pump.ts'
import { recordOutputs, scanRecords, takeFrames } from './record.ts'
import { pushHeader, seedId } from './push_header.ts'
import { alloc as take, attach, begin, drop as end, release as give, scratch, worker } from './state.ts'
import { xdpFill as fillRing, xdpReap as reapRing, xdpReceive as xskReceive, xdpSend as xskSend } from './xdp_ring.ts'
import { WORKER_FREE_COUNT, WORKER_INDEX, WORKER_NOW_MS } from '../../memory/layout/worker.ts'

/** Bytes of scratch memory that `init` wants. */
export function scratchSize(): usize {
  return SCRATCH_SIZE
}

/** Ties this instance to a worker. */
export function init(worker: usize, scratch: usize): void {
  attach(worker, scratch)
  attachCache()
  seedId(load<u32>(worker, WORKER_INDEX))
  seedLuck(load<u32>(worker, WORKER_INDEX))
}

export function alloc(): usize {
  return take()
}

export function release(pkt: usize): void {
  give(pkt)
}

/** Ends a packet under a reason: for drivers and the host. */
export function drop(pkt: usize, reason: i32): void {
  end(pkt, reason)
}

export function fill(pkt: usize, from: usize, len: u32): bool {
  return loadFrame(pkt, from, len)
}

export function clear(pkt: usize, len: u32): void {
  clearMeta(pkt, len)
}

/** The packet's flow key (groups: bit 0..7): its address, good until the next call. */
export function dissect(pkt: usize, groups: u32): usize {
  dissectInto(pkt, scratch + SCRATCH_KEYS, groups)
  return scratch + SCRATCH_KEYS
}

/** A frame that a port received. */
export function receive(pkt: usize, dev: usize): void {
  begin(0)
  receiveFrame(pkt, dev)
  if (hasBacklog()) drainBacklog()
}

/** Packets that ports received, PKT_DEV says which. Returns how many were taken. */
export function receiveBurst(list: usize, n: i32): i32 {
  begin(0)
  return receiveAll(list, n)
}

/** Describes the frames of a capture that lies in the arena. Returns how many. */
export function scan(s: usize): u32 {
  return scanRecords(s)
}

/** Puts n frames of the arena into slots: rows of addresses, lengths, times. Returns how many stand in the list. */
export function takeBurst(list: usize, address: usize, length: usize, time: usize, n: u32, dev: usize): u32 {
  return takeFrames(list, address, length, time, n, dev)
}

/** Records the outputs at the head of the emission list. Returns how many. */
export function record(records: usize, unit: u32): u32 {
  return recordOutputs(records, unit)
}

/** Runs frames of a table through the whole pipeline, for measuring. Returns how many. */
export function pump(table: usize, stride: u32, frames: u32, first: u32, n: u32, dev: usize, head: u32, vary: u32): u32 {
  return pumpFrames(table, stride, frames, first, n, dev, head, vary)
}

/** Of the last pump: outputs, and emissions that were not. */
export function pumpOut(): u32 {
  return pumpedOut
}
export function pumpOther(): u32 {
  return pumpedOther
}

/** A packet that the host sends by a device. True: it is told of a failure. */
export function transmit(pkt: usize, dev: usize): bool {
  begin(load<u8>(pkt, PKT_NEST))
  const failed = send(pkt, dev)
  if (hasBacklog()) drainBacklog()
  return failed
}

/** Pushes an encap header: PUSH_DONE, PUSH_TOO_BIG, PUSH_NO_ROOM. The packet stays the caller's. */
export function encapsulate(pkt: usize, header: usize): i32 {
  return pushHeader(pkt, header)
}

/** A packet that the host reassembled goes up again. */
export function localInput(pkt: usize, dev: usize): void {
  begin(0)
  store<usize>(pkt, dev, PKT_DEV)
  input(pkt, dev)
  if (hasBacklog()) drainBacklog()
}

/** A packet that an action ct held, and the host has put together, goes on. */
export function resume(pkt: usize): void {
  begin(load<u8>(pkt, PKT_NEST))
  resumeHeld(pkt)
  if (hasBacklog()) drainBacklog()
}

/** A slot for a datagram that is larger than a frame, 0 when there is none. */
export function allocLarge(): usize {
  return takeLarge()
}

/** Looks for connections whose time is over, in so many chains of the table. Returns how many there were. */
export function collectConnections(buckets: u32): u32 {
  return collect(buckets, load<u32>(worker, WORKER_NOW_MS))
}

/** A copy, in a slot of this worker's, of a packet that another one holds. 0: no slot is free. */
export function adopt(pkt: usize): usize {
  return clone(pkt)
}

/** Bytes from one place of the arena to another. */
export function copyBytes(to: usize, from: usize, n: u32): void {
  memory.copy(to, from, n)
}

// ---- ports, by their queues (layout/queue.ts)

/** Adds what is missing to a checksum. False: it would not be in the frame. */
export function completeChecksum(data: usize, len: u32, start: u32, offset: u32): bool {
  return complete(data, len, start, offset)
}

/** Adds what is missing to the checksum of a packet's frame, where nothing says whether it is whole. */
export function completeGuessed(pkt: usize): void {
  guess(pkt)
}

export function putTag(pkt: usize, tpid: u32, tci: u32): void {
  tag(pkt, bswap<u16>(<u16>tpid), bswap<u16>(<u16>tci))
}

export function packetReceive(q: usize, list: usize, max: u32): u32 {
  return ringReceive(q, list, max)
}

export function packetStep(q: usize): void {
  ringStep(q)
}

export function packetVectors(q: usize, list: usize, n: u32): void {
  vectors(q, list, n)
}

export function xdpReceive(q: usize, list: usize, max: u32): u32 {
  return xskReceive(q, list, max)
}

export function xdpFill(q: usize, keep: u32): void {
  fillRing(q, keep, load<u32>(worker, WORKER_FREE_COUNT))
}

export function xdpSend(q: usize, list: usize, n: u32): u32 {
  return xskSend(q, list, n)
}

export function xdpReap(q: usize): void {
  reapRing(q)
}
