// The contract of a port driver. A driver is two halves, in one file, for two threads:
//
//   open       the switch thread: descriptors, rings, filters; a queue (memory/layout/queue.ts) for each worker
//   receive    a datapath worker: what has come, into packet slots with headroom
//   flush      a datapath worker: what stands in the queue's list goes out
//
// The worker's half never blocks, throws or allocates. It has no state of its own: all of it is in the queue, so that
// another thread can go on with it. A packet that `flush` cannot send ends under a name; none stays with the caller.

import type { Arena } from '../memory/arena.ts'
import type { DeviceFilter } from './endpoints.ts'

/** What a driver needs of a worker's datapath; Datapath of datapath/chip.ts is one. */
export interface PortDatapath {
  readonly a: Arena
  readonly rings: PortRings
  /** Largest frame that a slot holds. */
  maxFrame(): number
  alloc(): number
  release(pkt: number): void
  drop(pkt: number, reason: number): void
  /** Counts a packet that ended before it had a slot. */
  countDrop(reason: number): void
  load(pkt: number, from: number, length: number): boolean
  freeSlots(): number
}

/** The chip's part: addresses of queues (`q`), of lists of packets, of bytes. */
export interface PortRings {
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

/** The worker's half. */
export interface QueueDriver {
  /** Receives packets, some `max` of them (a GSO frame may make it more, up to LIST_SLACK). Returns how many. */
  receive(dp: PortDatapath, q: number, list: number, max: number): number
  /** Sends the packets of QUEUE_LIST and empties it. */
  flush(dp: PortDatapath, q: number): void
}

/** How many packets more than `max` a `receive` may return: a GSO frame is at most 64 KiB of at least 500 bytes each. */
export const LIST_SLACK = 160

export type Role = 'access' | 'uplink'

/** What a configuration says of a port that has a device of the kernel's. */
export interface PortSpec {
  readonly name: string
  /** Name of the kernel's device. */
  readonly device: string
  /** Number of the port, and address of its device in the switch. */
  readonly number: number
  readonly dev: number
  /** An access port gives everything to the switch; of an uplink only packets of its tunnels, the rest is the kernel's. */
  readonly role: Role
  /** The uplink's neighbours are the switch's own: it gets everything too. */
  readonly ownNeighbours: boolean
  /** For a device that the driver makes. */
  readonly mtu: number
  readonly zeroCopy: boolean
  /** Files of a port that is captures. */
  readonly captures?: PortCaptures
  /** When the switch's clock was 0, nanoseconds since 1970: what is written down counts from there. */
  readonly epoch: bigint
}

/** What a pcap port reads and writes. */
export interface PortCaptures {
  /** Absolute paths. */
  readonly in?: string
  readonly out?: string
  /** Frames a second; without it they come at their distance in the file. */
  readonly rate?: number
  /** From the beginning again when the file has ended. */
  readonly loop: boolean
}

/** Queue memory for a worker: what it had before, when the port was there before. */
export type Room = (worker: number, index: number, ringBytes: number) => QueueRoom

export interface QueueRoom {
  /** Address of the queue. */
  readonly q: number
  /** Page-aligned memory for rings. */
  readonly ring: number
  readonly ringBytes: number
}

/** An open port, as the switch thread has it. */
export interface OpenPort {
  /** ifindex of the kernel's device. */
  readonly ifindex: number
  /** Queues of each worker: [0] the switch thread's, which sends only, then those of datapath workers 1, 2, … */
  readonly queues: readonly (readonly number[])[]
  /** The port is the device itself, and has its address and MTU; a tap is the other end of it. */
  readonly isDevice: boolean
  /** A sentence about how it was opened: mode, queues. */
  readonly how: string
  /** What is behind it has no station's address: next hops need not be asked for. */
  readonly noArp?: boolean
  /**
   * Hands the frames that are due at `now` (the switch's clock, ns) to `take`, some `max` of them, as bytes that are good
   * until the next call. Returns when the next one is due, Infinity when none will be. On the switch thread.
   */
  bring?(now: number, max: number, take: (frame: Uint8Array) => void): number
  /** Which packets of an uplink are the switch's. */
  filter?(f: DeviceFilter): void
  /** Packets that the kernel could not give us since the last call: a ring was full. */
  missed(): number
  /** Gives everything up. No worker uses the queues any more. */
  close(): void
}

/** The switch thread's half. */
export interface PortDriver {
  /** @throws PortError, SysError */
  open(a: Arena, port: PortSpec, workers: number, room: Room): OpenPort
}
