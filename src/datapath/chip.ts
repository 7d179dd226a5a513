// The datapath of one worker: the chip's instance on the arena's memory, and its lists as TypeScript sees them.
//
// Who drives a worker (replay, a datapath thread, the host for what it sends) owns one of these and calls it from its
// thread alone. After each call the emissions say, in the order in which it happened, what the packets became:
//
//   dp.setTime(ns);  dp.receive(pkt, port);  for (const e of dp.takeEmissions()) …  dp.quiescent()
//
// An emitted packet is the caller's: it sends or handles it and gives the slot back with `release` or `drop`.

import type { Arena } from '../memory/arena.ts'
import { rcuOf, reserve, workerOf } from '../memory/arena.ts'
import { DROP_MAX } from '../memory/layout/drop.ts'
import { PKT_DATA, PKT_FRAME, PKT_LEN } from '../memory/layout/packet.ts'
import { SUPER_PACKET_SIZE } from '../memory/layout/super.ts'
import * as W from '../memory/layout/worker.ts'
import * as Rcu from '../sync/rcu.ts'
import { chipModule } from './chip_module.ts'

/** What a packet became. */
export interface Emission {
  readonly pkt: number
  /** Address of the device. */
  readonly dev: number
  /** EMIT_OUTPUT or PUNT_*. */
  readonly kind: number
  readonly arg: number
}

/** Frames for `pump`: entries of `stride` bytes, each the frame's length (u32), twelve bytes of nothing, the frame. */
export interface PumpTable {
  readonly address: number
  readonly stride: number
  readonly frames: number
  /** The device that receives them: its address. */
  readonly device: number
  /** Bytes of a frame that are written; behind them a slot keeps what it has. All when absent. */
  readonly head?: number
  /** Offset in the frame of three bytes that are another number for each packet; none when absent. */
  readonly vary?: number
}

/** What `pump` did: frames that got a slot, and emissions that were outputs, and that were not. */
export interface Pumped {
  readonly taken: number
  readonly out: number
  readonly other: number
}

interface Exports {
  scratchSize(): number
  init(worker: number, scratch: number): void
  alloc(): number
  release(pkt: number): void
  drop(pkt: number, reason: number): void
  fill(pkt: number, from: number, length: number): number
  clear(pkt: number, length: number): void
  dissect(pkt: number, groups: number): number
  receive(pkt: number, dev: number): void
  receiveBurst(list: number, n: number): number
  scan(s: number): number
  takeBurst(list: number, address: number, length: number, time: number, n: number, dev: number): number
  record(records: number, unit: number): number
  pump(
    table: number,
    stride: number,
    frames: number,
    first: number,
    n: number,
    dev: number,
    head: number,
    vary: number,
  ): number
  pumpOut(): number
  pumpOther(): number
  transmit(pkt: number, dev: number): number
  encapsulate(pkt: number, header: number): number
  localInput(pkt: number, dev: number): void
  resume(pkt: number): void
  allocLarge(): number
  collectConnections(buckets: number): number
  adopt(pkt: number): number
  copyBytes(to: number, from: number, n: number): void
  completeChecksum(data: number, len: number, start: number, offset: number): number
  completeGuessed(pkt: number): void
  putTag(pkt: number, tpid: number, tci: number): void
  packetReceive(q: number, list: number, max: number): number
  packetStep(q: number): void
  packetVectors(q: number, list: number, n: number): void
  xdpReceive(q: number, list: number, max: number): number
  xdpFill(q: number, keep: number): void
  xdpSend(q: number, list: number, n: number): number
  xdpReap(q: number): void
}

/** What the chip does for the drivers of ports (port/port.ts): addresses of queues, lists and packets. */
export type PortRings = Pick<
  Exports,
  | 'copyBytes'
  | 'completeChecksum'
  | 'completeGuessed'
  | 'putTag'
  | 'packetReceive'
  | 'packetStep'
  | 'packetVectors'
  | 'xdpReceive'
  | 'xdpFill'
  | 'xdpSend'
  | 'xdpReap'
>

const FRAME_SLACK = 64

/** Hears what the chip does with each packet, while it does it: TRACE_* of memory/layout/trace.ts. Must not change it. */
export type Trace = (event: number, pkt: number, a: number, b: number, c: number, d: number) => void

export class Datapath {
  readonly a: Arena
  readonly worker: number
  /** Address of the worker's struct. */
  readonly struct: number
  /** The rings of ports, as port/ drives them. */
  readonly rings: PortRings
  private readonly chip: Exports
  private readonly rcu: number

  /**
   * Instantiates the chip for worker i of the arena, with `trace` the build of it that tells. Not for the packet path:
   * takes scratch memory for good.
   */
  constructor(a: Arena, worker: number, trace?: Trace) {
    this.a = a
    this.worker = worker
    this.struct = workerOf(a, worker)
    this.rcu = rcuOf(a)
    const { exports } = new WebAssembly.Instance(chipModule(trace !== undefined), {
      env: { memory: a.memory, trace },
    } as never)
    this.chip = exports as unknown as Exports
    this.rings = this.chip
    this.chip.init(this.struct, reserve(a, this.chip.scratchSize(), 64))
  }

  /** A free packet slot, 0 when there is none. */
  alloc(): number {
    return this.chip.alloc()
  }

  /** Gives a slot back: the packet was sent, or its end is counted elsewhere. */
  release(pkt: number): void {
    this.chip.release(pkt)
  }

  /** Ends a packet under a drop reason (DROP_*). */
  drop(pkt: number, reason: number): void {
    this.chip.drop(pkt, reason)
  }

  /** The time of what follows, nanoseconds of the switch's clock. */
  setTime(ns: number): void {
    const w = (this.struct + W.WORKER_NOW) >> 2
    this.a.m[w] = (ns % 0x100000000) | 0
    this.a.m[w + 1] = (ns / 0x100000000) | 0
    this.a.m[(this.struct + W.WORKER_NOW_MS) >> 2] = Math.floor(ns / 1e6) | 0
  }

  /** Largest frame that a slot holds. */
  maxFrame(): number {
    return this.a.m[SUPER_PACKET_SIZE >> 2] - PKT_FRAME - FRAME_SLACK
  }

  /** Puts a frame that stands in the arena into a slot, with fresh metadata. False: it does not fit. */
  load(pkt: number, from: number, length: number): boolean {
    return this.chip.fill(pkt, from, length) !== 0
  }

  /** Puts a frame into a slot, with fresh metadata. False: it does not fit. */
  loadBytes(pkt: number, frame: Uint8Array): boolean {
    if (frame.length > this.maxFrame()) return false
    this.chip.clear(pkt, frame.length)
    this.a.u8.set(frame, pkt + PKT_FRAME)
    return true
  }

  /** A view of the packet's frame, valid while the caller has the packet. */
  frame(pkt: number): Uint8Array {
    const data = this.a.m[(pkt + PKT_DATA) >> 2]
    return this.a.u8.subarray(data, data + this.a.m[(pkt + PKT_LEN) >> 2])
  }

  /** The packet's flow key as filters see it: its address in the arena (layout/flow_key.ts), good until the next call. */
  dissect(pkt: number): number {
    return this.chip.dissect(pkt, 0xff)
  }

  /** A frame that a port received: its checks, ingress filters, then the host's protocols. */
  receive(pkt: number, dev: number): void {
    this.chip.receive(pkt, dev)
  }

  /**
   * Receives the n packets whose addresses stand at `list` in the arena, each on its PKT_DEV. Stops behind one that made
   * something for the host, or when the emission list is nearly full; returns how many it took.
   */
  receiveBurst(list: number, n: number): number {
    return this.chip.receiveBurst(list, n)
  }

  /** Describes the frames of a capture (memory/layout/record.ts SCAN_*). Returns how many. */
  scan(s: number): number {
    return this.chip.scan(s)
  }

  /**
   * Puts n frames that lie in the arena into slots with fresh metadata, and the slots' addresses at `list`. `address`,
   * `length` (u32) and `time` (f64, nanoseconds) are addresses of rows. Returns how many got a slot; the others end by name.
   */
  takeBurst(list: number, address: number, length: number, time: number, n: number, dev: number): number {
    return this.chip.takeBurst(list, address, length, time, n, dev)
  }

  /**
   * Writes the outputs at the head of the emission list into their ports' records (memory/layout/record.ts), with the
   * time of arrival in units of `unit` nanoseconds, and releases them. Returns how many: it stops at what is no output, or
   * has no room.
   */
  record(records: number, unit: number): number {
    return this.chip.record(records, unit)
  }

  /**
   * For measuring: runs `n` frames of a table through the whole pipeline of a device, in bursts, and gives the slots of
   * what comes out back.
   */
  pump(t: PumpTable, first: number, n: number): Pumped {
    const { chip } = this
    const taken = chip.pump(t.address, t.stride, t.frames, first, n, t.device, t.head ?? t.stride, t.vary ?? 0)
    return { taken, out: chip.pumpOut(), other: chip.pumpOther() }
  }

  /** Sends a packet by a device: its egress filters, then the device. True: dropped on the way, where the kernel says so. */
  transmit(pkt: number, dev: number): boolean {
    return this.chip.transmit(pkt, dev) !== 0
  }

  /** Pushes an encap header: PUSH_*. The packet stays the caller's. */
  encapsulate(pkt: number, header: number): number {
    return this.chip.encapsulate(pkt, header)
  }

  /** A packet that the host has reassembled goes up again, as from the device that received it. */
  localInput(pkt: number, dev: number): void {
    this.chip.localInput(pkt, dev)
  }

  /** A packet that an action ct held (PUNT_CT_FRAGMENT) goes on: what the host put together, its PKT_HELD_* with it. */
  resume(pkt: number): void {
    this.chip.resume(pkt)
  }

  /** A slot for a datagram larger than a frame (LARGE_*), given back as any other; 0 when there is none. */
  allocLarge(): number {
    return this.chip.allocLarge()
  }

  /** Connections whose time is over leave the table: looks into so many of its chains. Returns how many left. */
  collectConnections(buckets: number): number {
    return this.chip.collectConnections(buckets) >>> 0
  }

  /** A copy, in a slot of this worker's, of a packet that another worker holds still. 0: no slot is free. */
  adopt(pkt: number): number {
    return this.chip.adopt(pkt)
  }

  /** From now on punts go to a host on another thread: a burst does not stop behind one. */
  apart(): void {
    this.a.m[(this.struct + W.WORKER_APART) >> 2] = 1
  }

  /** Emissions that wait. */
  emissionCount(): number {
    return this.a.m[(this.struct + W.WORKER_EMIT_COUNT) >> 2]
  }

  /** Takes the emissions out, oldest first: handling them may make new ones. */
  takeEmissions(): Emission[] {
    const { m } = this.a
    const n = this.emissionCount()
    const out: Emission[] = new Array(n)
    let w = m[(this.struct + W.WORKER_EMIT) >> 2] >> 2
    for (let i = 0; i < n; i++, w += W.EMIT_SIZE >> 2) {
      out[i] = { pkt: m[w], dev: m[w + 1], kind: m[w + 2], arg: m[w + 3] }
    }
    m[(this.struct + W.WORKER_EMIT_COUNT) >> 2] = 0
    return out
  }

  /** Packets that ended under this reason. */
  drops(reason: number): number {
    const w = (this.a.m[(this.struct + W.WORKER_DROPS) >> 2] >> 2) + reason * 2
    return (this.a.m[w] >>> 0) + (this.a.m[w + 1] >>> 0) * 0x100000000
  }

  /** Counts packets that ended before they had a slot. */
  countDrop(reason: number, n = 1): void {
    const w = (this.a.m[(this.struct + W.WORKER_DROPS) >> 2] >> 2) + reason * 2
    const low = (this.a.m[w] >>> 0) + n
    this.a.m[w] = low | 0
    if (low > 0xffffffff) this.a.m[w + 1]++
  }

  /** Packets that ended under any reason. */
  allDrops(): number {
    let n = 0
    for (let reason = 0; reason < DROP_MAX; reason++) n += this.drops(reason)
    return n
  }

  /** Slots that are free. */
  freeSlots(): number {
    return this.a.m[(this.struct + W.WORKER_FREE_COUNT) >> 2]
  }

  /** This worker holds no RCU pointer now: once for each burst. */
  quiescent(): void {
    Rcu.quiescent(this.a.m, this.rcu, this.worker)
  }

  /** Before the first packet, and before and after sleeping. */
  online(): void {
    Rcu.online(this.a.m, this.rcu, this.worker)
  }

  offline(): void {
    Rcu.offline(this.a.m, this.rcu, this.worker)
  }
}
