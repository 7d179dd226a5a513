// The arena: the one block of memory that all threads share.
//
// A fixed-size shared WebAssembly.Memory, so that the datapath's module runs on the same bytes. Its size is address
// space, not memory: the operating system gives a page when it is first written, and nothing here writes a page before
// it is needed. A pointer is a byte address below 2 GiB, hence a positive int32; 0 is null.
//
//   0        super page (layout/super.ts), then room for the chip's own constants up to ARENA_FIRST
//   64 KiB   the fixed regions, laid out by createArena and found through the super page
//   …        brk: what `reserve` hands out and never takes back; memory/pool.ts lives on it
//
// createArena is called once; every other thread gets `memory` when it starts and calls attachArena. Each thread has
// its own Arena object: the views are the thread's, the bytes are everybody's.
import { cas, load } from '../sync/atomic.ts'
import * as Rcu from '../sync/rcu.ts'
import { DROP_MAX } from './layout/drop.ts'
import { NETDEV_MAX, NETDEV_SIZE } from './layout/netdev.ts'
import { PKT_FRAME } from './layout/packet.ts'
import * as Super from './layout/super.ts'
import * as Worker from './layout/worker.ts'
import { MemoryError } from './memory_error.ts'
import { POOL_TABLE_SIZE } from './size_class.ts'
import { enter, THREAD_SIZE } from './thread_record.ts'

/** This thread's view of the shared memory. */
export interface Arena {
  readonly memory: WebAssembly.Memory
  readonly m: Int32Array
  readonly u8: Uint8Array
  readonly d: DataView
  /** Address of this thread's record (thread_record.ts). */
  readonly thread: number
}

export interface ArenaOptions {
  /** Address space of the arena. */
  bytes?: number
  /** Datapath workers. */
  workers?: number
  /** Packet slots for each worker. */
  packets?: number
  /** Largest frame, Ethernet header included. */
  frameSize?: number
  /** Bytes from one packet slot to the next, where a device wants pages; else as frameSize makes it. */
  packetBytes?: number
  /** Counter ids. */
  counters?: number
  /** Size of each worker's exact-match cache at its largest: half of its small entries, a power of two. */
  emc?: number
  /** Threads that may allocate, lock under supervision and read under RCU, beside the workers' readers. */
  threads?: number
}

const MAGIC = 0x62776c66 // 'flwb'
const VERSION = 1
const PAGE = 65536
export const ARENA_FIRST = PAGE
const EMITS = 4096
/** Bytes behind a frame that whole-word copies may touch. */
const FRAME_SLACK = 64

interface Views extends Arena {
  thread: number
}

const view = (memory: WebAssembly.Memory): Views => ({
  memory,
  m: new Int32Array(memory.buffer),
  u8: new Uint8Array(memory.buffer),
  d: new DataView(memory.buffer),
  thread: 0,
})

/**
 * Bytes from one packet slot to the next: whole cache lines, and an odd number of them, so that the same field of
 * consecutive packets falls into different cache sets (a multiple of 4096 would use one set in 64).
 */
export const packetStride = (frameSize: number): number => {
  const lines = Math.ceil((PKT_FRAME + frameSize + FRAME_SLACK) / 64)
  return (lines | 1) * 64
}

/** A zero-filled region that is never given back. Any thread. Throws MemoryError when the arena is full. */
export function reserve(a: Arena, bytes: number, align = 64): number {
  const { m } = a
  for (;;) {
    const brk = load(m, Super.SUPER_BRK >> 2)
    const p = Math.ceil(brk / align) * align
    const end = p + Math.ceil(bytes / 16) * 16
    if (bytes < 0 || end > m[Super.SUPER_BYTES >> 2]) throw new MemoryError(`arena full: ${bytes} bytes wanted`)
    if (cas(m, Super.SUPER_BRK >> 2, brk, end)) return p
  }
}

/** Makes an arena. The options that size a table are its limits for good. */
export function createArena(o: ArenaOptions = {}): Arena {
  const pages = Math.min(Math.ceil((o.bytes ?? 1 << 30) / PAGE), 32767)
  return layOutArena(new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }), o)
}

/** Lays out the fixed regions in memory that is all zero. */
export function layOutArena(memory: WebAssembly.Memory, o: ArenaOptions): Arena {
  const { workers = 1, packets = 4096, frameSize = 1536, counters = 4 << 20, emc = 131072, threads = 64 } = o
  if (emc <= 0 || (emc & (emc - 1)) !== 0) throw new MemoryError(`emc: ${emc} is not a power of two`)
  const a = view(memory)
  const { m } = a
  const set = (field: number, v: number): void => {
    m[field >> 2] = v
  }
  set(Super.SUPER_BYTES, m.byteLength)
  set(Super.SUPER_BRK, ARENA_FIRST)
  set(Super.SUPER_WORKERS, workers)
  set(Super.SUPER_WORKER, reserve(a, workers * Worker.WORKER_SIZE, 4096))
  set(Super.SUPER_NETDEVS, reserve(a, NETDEV_MAX * NETDEV_SIZE, 4096))
  set(Super.SUPER_UDP_PORTS, reserve(a, (65536 + 256) * 4))

  const readers = workers + threads
  const rcu = reserve(a, Rcu.size(readers) * 4)
  Rcu.init(m, rcu >> 2, workers)
  set(Super.SUPER_RCU, rcu)
  set(Super.SUPER_RCU_READERS, readers)
  set(Super.SUPER_THREADS, reserve(a, threads * THREAD_SIZE, 4096))
  set(Super.SUPER_THREAD_COUNT, threads)
  set(Super.SUPER_POOLS, reserve(a, POOL_TABLE_SIZE))
  set(Super.SUPER_COUNTER_MAX, counters)
  set(Super.SUPER_COUNTER_NEXT, 1) // id 0 is no counter

  const stride = o.packetBytes ?? packetStride(frameSize)
  set(Super.SUPER_PACKET_SIZE, stride)
  set(Super.SUPER_PACKET_COUNT, packets * workers)
  set(Super.SUPER_PACKETS, reserve(a, packets * workers * stride, 4096))
  for (let i = 0; i < workers; i++) layOutWorker(a, i, workers, packets, counters, emc)

  set(Super.SUPER_VERSION, VERSION)
  set(Super.SUPER_MAGIC, MAGIC)
  a.thread = enter(a)
  return a
}

/** A worker's regions. Its free stack has room for every slot of the arena: slots migrate with the packets. */
function layOutWorker(a: Arena, i: number, workers: number, packets: number, counters: number, emc: number): void {
  const { m } = a
  const w = m[Super.SUPER_WORKER >> 2] + i * Worker.WORKER_SIZE
  const set = (field: number, v: number): void => {
    m[(w + field) >> 2] = v
  }
  set(Worker.WORKER_INDEX, i)
  const free = reserve(a, packets * workers * 4)
  const first = m[Super.SUPER_PACKETS >> 2] + i * packets * m[Super.SUPER_PACKET_SIZE >> 2]
  for (let k = 0; k < packets; k++) {
    m[(free >> 2) + k] = first + (packets - 1 - k) * m[Super.SUPER_PACKET_SIZE >> 2] // the top is the lowest address
  }
  set(Worker.WORKER_FREE, free)
  set(Worker.WORKER_FREE_COUNT, packets)
  set(Worker.WORKER_FREE_MAX, packets * workers)
  set(Worker.WORKER_EMIT, reserve(a, EMITS * Worker.EMIT_SIZE))
  set(Worker.WORKER_EMIT_MAX, EMITS)
  set(Worker.WORKER_EMC, reserve(a, emc * (128 + 64), 4096)) // two small entries each, and behind them all a large one for four of them
  set(Worker.WORKER_EMC_MASK, emc - 1)
  set(Worker.WORKER_COUNTERS, reserve(a, counters * Worker.COUNTER_SIZE, 4096))
  set(Worker.WORKER_DROPS, reserve(a, DROP_MAX * 8))
}

/** The view of a thread that was given the memory. */
export function attachArena(memory: WebAssembly.Memory): Arena {
  const a = view(memory)
  if (a.m[Super.SUPER_MAGIC >> 2] !== MAGIC || a.m[Super.SUPER_VERSION >> 2] !== VERSION) {
    throw new MemoryError('attach: not an arena of this version')
  }
  a.thread = enter(a)
  return a
}

/** Word index of the RCU state, for sync/rcu.ts. */
export const rcuOf = (a: Arena): number => a.m[Super.SUPER_RCU >> 2] >> 2

/** Address of worker i's struct. */
export const workerOf = (a: Arena, i: number): number => a.m[Super.SUPER_WORKER >> 2] + i * Worker.WORKER_SIZE
