// One switch: ports, tables, the datapath, and the small host behind the ports, under a clock that its owner moves.
//
// The owner (replay, bench, a test) says what happens and when: a frame arrives (`input`, `inputBatch`), a request comes
// (`request`), time passes (`advance`). Everything that follows happens inside the call, in the order in which a kernel
// would do it, and what the ports send goes to the sink. No wall clock is read and nothing is random, so the same calls
// give the same bytes.
//
//   frame ─▶ datapath ─▶ emission ─┬─▶ output: the sink
//                 ▲                └─▶ punt: the host (ARP, ND, fragments, a neighbour to wait for)
//                 └───── what the host sends or gives back ────┘
//
// Emissions are handled before the next packet is looked at: a burst stops behind a packet that punted. After every
// packet that reached the host, and every request, the works that it posted for encap/ are run here, which in a daemon
// is the event worker's task. One thread owns a switch.

import { Collector } from '../conntrack/collect.ts'
import { Datapath, type Trace } from '../datapath/chip.ts'
import { nextWork, runWork } from '../encap/encap.ts'
import { withRtnl } from '../flow/rtnl.ts'
import { Host } from '../host/host.ts'
import { type Arena, createArena, reserve } from '../memory/arena.ts'
import { DROP_NO_SLOT, DROP_RX_TOO_LONG } from '../memory/layout/drop.ts'
import { NETDEV_IFINDEX, NETDEV_PORT } from '../memory/layout/netdev.ts'
import { PKT_DATA, PKT_DEV, PKT_LEN, PKT_TIME, PKT_TIME_HI } from '../memory/layout/packet.ts'
import * as W from '../memory/layout/worker.ts'
import { reclaim } from '../memory/pool.ts'
import { addPort, linkDelete } from '../net/link.ts'
import { netdevByIndex, netdevByName, netdevName } from '../net/netdev.ts'
import { answer, ask, type Control, makeTables, openControl, request } from './control.ts'
import { Estimators } from './estimators.ts'

export interface PortSpec {
  readonly name: string
  /** Six bytes. */
  readonly mac: Uint8Array
  readonly mtu: number
  /** 0 or absent: the next one. */
  readonly ifindex?: number
}

/** Takes what ports send without a call for each frame. */
export interface Recorder {
  /** Address of a record for each port (memory/layout/record.ts). */
  readonly records: number
  /** Nanoseconds of a record's unit of time. */
  readonly unit: number
  /** The port's buffer has no room for another frame: make some. */
  full(port: number): void
}

export interface SwitchOptions {
  /** In this order they are port 0, 1, … */
  readonly ports: readonly PortSpec[]
  /** Largest frame that a port may be configured for, Ethernet header included. */
  readonly frameSize?: number
  /** Address space of the arena. */
  readonly arenaBytes?: number
  /** Packet slots, and bytes of one where a device wants pages. */
  readonly packets?: number
  readonly packetBytes?: number
  /** Datapath workers of other threads, beside the switch's own: they attach to the arena as workers 1, 2, … */
  readonly workers?: number
  /** Neighbours as a switchdev NIC's driver treats them (encap/ MODE_OFFLOAD). */
  readonly offload?: boolean
  /** Connections that may be tracked at once; by default a share of the arena. */
  readonly connections?: number
  /** Pretends to be a NIC with this driver (flow/mlx5.ts). */
  readonly profile?: 'mlx5'
  /** Hears what the switch's own datapath does with each packet. */
  readonly trace?: Trace
}

/** Takes a frame that a port sent: `length` bytes at `address` of the arena, valid during the call. `time` in ns. */
export type Sink = (port: number, address: number, length: number, time: number) => void

const BURST = 64
const NANO = 1e6
/** Counter ids where several workers share the address space for their shards. */
const WORKERS_COUNTERS = 1 << 20

export class Switch {
  readonly arena: Arena
  readonly datapath: Datapath
  readonly host: Host
  readonly #control: Control
  readonly #ports: number[]
  readonly #burst: number
  readonly #collector: Collector
  readonly #estimators: Estimators
  #sink: Sink = () => {}
  #recorder: Recorder | null = null
  #now = 0

  constructor(o: SwitchOptions) {
    const frameSize = o.frameSize ?? 1536
    const workers = 1 + (o.workers ?? 0)
    // Each worker has a shard of every counter.
    const counters = workers === 1 ? undefined : WORKERS_COUNTERS
    this.arena = createArena({
      frameSize,
      bytes: o.arenaBytes,
      packets: o.packets,
      packetBytes: o.packetBytes,
      workers,
      counters,
    })
    // Before any device: encap/ listens to what happens to them.
    const now = () => Math.floor(this.#now / NANO)
    makeTables(this.arena, o)
    this.#control = openControl(this.arena, { now })
    this.datapath = new Datapath(this.arena, 0, o.trace)
    this.datapath.online()
    this.#ports = o.ports.map((p, i) => addPort(this.arena, p.name, i, p.mac, p.mtu, 0, p.ifindex))
    this.host = new Host(this.arena, this.datapath, () => this.#now)
    this.#burst = reserve(this.arena, BURST * 4)
    this.#collector = new Collector(this.arena, this.datapath)
    this.#estimators = new Estimators(this.arena)
    this.#settle()
  }

  /** Nanoseconds of the switch's clock. */
  get now(): number {
    return this.#now
  }

  /** This thread's control of the tables. */
  get control(): Control {
    return this.#control
  }

  /** Device names, as a command line needs them. */
  readonly devices = {
    indexOf: (name: string): number => {
      const dev = netdevByName(this.arena, name)
      return dev === 0 ? 0 : this.arena.m[(dev + NETDEV_IFINDEX) >> 2]
    },
    nameOf: (ifindex: number): string => {
      const dev = netdevByIndex(this.arena, ifindex)
      return dev === 0 ? `if${ifindex}` : netdevName(this.arena, dev)
    },
  }

  /**
   * Where the ports send. With a recorder, frames that leave at the time of their packet's arrival do not come to the sink
   * but stand in the records.
   */
  onOutput(sink: Sink, recorder: Recorder | null = null): void {
    this.#sink = sink
    this.#recorder = recorder
  }

  /**
   * Does one rtnetlink request and all that follows from it, and returns a warning or ''; throws NetlinkError when it is
   * refused. See control.ts.
   */
  ask(message: Uint8Array, reply: (m: Uint8Array) => void): string {
    try {
      return ask(this.#control, message, reply)
    } finally {
      this.#settle()
    }
  }

  /** The same, with the answer as messages. */
  request(message: Uint8Array): Uint8Array[] {
    const replies = request(this.#control, message)
    this.#settle()
    return replies
  }

  /** As `request`; a long dump is made while it is read (control.ts `answer`). */
  answer(message: Uint8Array): Iterable<Uint8Array> {
    const replies = answer(this.#control, message)
    this.#settle()
    return replies
  }

  /** Time passes: timers that are due before `to` (ns) run, each at its own time. */
  advance(to: number): void {
    for (let t = this.#nextTimer(); t <= to; t = this.#nextTimer()) {
      this.#clock(Math.max(t, this.#now))
      this.host.advance()
      this.#collector.run(Math.floor(this.#now / NANO))
      this.#estimators.run(Math.floor(this.#now / NANO))
      this.#settle()
    }
    if (to > this.#now) this.#clock(to)
  }

  /** As `advance`; and what other threads have posted or changed is followed. For an owner who is not alone. */
  run(to: number): void {
    this.advance(to)
    this.host.look()
    this.#settle()
  }

  /** One frame arrives at a port now. */
  input(port: number, frame: Uint8Array): void {
    const pkt = this.#slot(frame.length)
    if (pkt === 0) return
    this.datapath.loadBytes(pkt, frame)
    this.#stamp(pkt, this.#now)
    this.datapath.receive(pkt, this.#ports[port])
    this.#drain(this.#now)
  }

  /**
   * n frames arrive at a port: addresses in the arena, lengths, and times, which do not go back. Rows that lie in the arena
   * themselves are the fastest.
   */
  inputBatch(port: number, address: Int32Array, length: Int32Array, time: Float64Array, n: number): void {
    const inArena = [address, length, time].every((row) => row.buffer === this.arena.memory.buffer)
    for (let i = 0; i < n; ) {
      this.advance(time[i])
      const timer = this.#nextTimer()
      const first = i
      do i++
      while (i < n && i - first < BURST && time[i] < timer)
      let k = 0
      if (inArena) {
        const [from, lengths] = [address.byteOffset + first * 4, length.byteOffset + first * 4]
        const times = time.byteOffset + first * 8
        k = this.datapath.takeBurst(this.#burst, from, lengths, times, i - first, this.#ports[port])
      } else for (let j = first; j < i; j++) this.#put(k, address[j], length[j], time[j], port) && k++
      this.#receive(k)
    }
    reclaim(this.arena)
  }

  /** Handles what a worker of another thread made of packets: n emissions, four words each as in a worker's list. */
  emitted(list: Int32Array, n: number): void {
    this.#handle(list, n, -1)
    this.datapath.quiescent()
  }

  /** When something happens by itself next, ns; Infinity when nothing will. */
  get nextTimer(): number {
    return this.#nextTimer()
  }

  /** One more port, as number i, which is free. Takes rtnl. Throws NetlinkError when its name is taken. Gives back its device. */
  addPort(i: number, p: PortSpec): number {
    const dev = withRtnl(this.arena, () => addPort(this.arena, p.name, i, p.mac, p.mtu, Math.floor(this.#now / NANO)))
    this.#ports[i] = dev
    this.#settle()
    return dev
  }

  /** Port i goes, with its filters, addresses and routes. No worker has packets of it any more. Takes rtnl. */
  removePort(i: number): void {
    const dev = this.#ports[i]
    this.#ports[i] = 0
    withRtnl(this.arena, () => linkDelete(this.arena, dev))
    this.#settle()
  }

  /** Address of port i's device, 0 without. */
  portDevice(i: number): number {
    return this.#ports[i]
  }

  /** Gives up the switch; its memory goes with it. */
  close(): void {
    this.datapath.offline()
  }

  #put(k: number, address: number, length: number, time: number, port: number): boolean {
    const pkt = this.#slot(length)
    if (pkt === 0) return false
    this.datapath.load(pkt, address, length)
    this.#stamp(pkt, time)
    this.arena.m[(pkt + PKT_DEV) >> 2] = this.#ports[port]
    this.arena.m[(this.#burst >> 2) + k] = pkt
    return true
  }

  /** A slot for a frame of this length; 0 when it ends here, under a name. */
  #slot(length: number): number {
    const pkt = this.datapath.alloc()
    if (pkt === 0) {
      this.datapath.countDrop(DROP_NO_SLOT)
      return 0
    }
    if (length <= this.datapath.maxFrame()) return pkt
    this.datapath.drop(pkt, DROP_RX_TOO_LONG)
    return 0
  }

  #stamp(pkt: number, time: number): void {
    this.arena.m[(pkt + PKT_TIME) >> 2] = (time % 0x100000000) | 0
    this.arena.m[(pkt + PKT_TIME_HI) >> 2] = (time / 0x100000000) | 0
  }

  /** Receives the k packets of the burst list, and whatever comes of them. */
  #receive(k: number): void {
    const { m } = this.arena
    for (let done = 0; done < k; ) {
      // The worker's clock for the burst; each packet has its own time besides.
      this.#clock(this.#timeOf(m[(this.#burst >> 2) + done]))
      done += this.datapath.receiveBurst(this.#burst + done * 4, k - done)
      this.#drain(-1)
    }
  }

  #timeOf(pkt: number): number {
    const { m } = this.arena
    return (m[(pkt + PKT_TIME) >> 2] >>> 0) + m[(pkt + PKT_TIME_HI) >> 2] * 0x100000000
  }

  /**
   * Handles the emissions in their order. `time` is when they leave; -1: when their packet arrived, which moves the
   * clock there, for what the host makes of a punt. False: there were none.
   */
  #drain(time: number): boolean {
    const { m } = this.arena
    const w = this.datapath.struct
    if (time < 0 && this.#recorder !== null) this.#record(this.#recorder)
    const n = m[(w + W.WORKER_EMIT_COUNT) >> 2]
    if (n === 0) return false
    const from = m[(w + W.WORKER_EMIT) >> 2] >> 2
    let punts = 0
    for (let i = 0; i < n; i++) if (m[from + i * 4 + (W.EMIT_KIND >> 2)] !== W.EMIT_OUTPUT) punts++
    const list = punts === 0 ? m.subarray(from, from + n * 4) : m.slice(from, from + n * 4)
    m[(w + W.WORKER_EMIT_COUNT) >> 2] = 0
    this.#handle(list, n, time)
    if (punts === 0) this.datapath.quiescent()
    return true
  }

  /** The outputs at the head of the emission list go into the records. */
  #record({ records, unit, full }: Recorder): void {
    const { m } = this.arena
    const count = (this.datapath.struct + W.WORKER_EMIT_COUNT) >> 2
    const first = m[(this.datapath.struct + W.WORKER_EMIT) >> 2] >> 2
    while (m[count] > 0) {
      this.datapath.record(records, unit)
      if (m[count] === 0 || m[first + (W.EMIT_KIND >> 2)] !== W.EMIT_OUTPUT) break
      full(m[(m[first + (W.EMIT_DEV >> 2)] + NETDEV_PORT) >> 2])
    }
    this.datapath.quiescent()
  }

  #handle(list: Int32Array, n: number, time: number): void {
    const { m } = this.arena
    for (let i = 0; i < n * 4; i += 4) {
      const pkt = list[i]
      const at = time >= 0 ? time : this.#timeOf(pkt)
      if (list[i + 2] === W.EMIT_OUTPUT) {
        this.#sink(m[(list[i + 1] + NETDEV_PORT) >> 2], m[(pkt + PKT_DATA) >> 2], m[(pkt + PKT_LEN) >> 2], at)
        this.datapath.release(pkt)
      } else {
        // Workers of other threads overtake each other; the clock does not go back for that.
        this.#clock(Math.max(at, this.#now))
        this.host.punt(list[i + 2], pkt, list[i + 1], list[i + 3])
        this.#settle()
      }
    }
  }

  /** Runs the works that are due, and sends what host and works have made, until nothing is left. */
  #settle(): void {
    do runWork(this.arena, this.#now / NANO)
    while (this.#drain(this.#now))
    this.datapath.quiescent()
  }

  #nextTimer(): number {
    const now = Math.floor(this.#now / NANO)
    const timed = Math.min(this.#collector.next, this.#estimators.next)
    return Math.min(this.host.nextTimer(), (now + nextWork(this.arena, now)) * NANO, timed * NANO)
  }

  #clock(ns: number): void {
    this.#now = ns
    this.datapath.setTime(ns)
  }
}

export const createSwitch = (o: SwitchOptions): Switch => new Switch(o)
