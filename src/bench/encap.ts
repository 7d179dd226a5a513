// flowerbed bench encap: how fast one worker encapsulates, from packet slot to packet slot.
//
// The whole pipeline runs: a source puts frames of so many flows into slots, as a driver would; bursts of 32 go through
// the chip (dissection, exact-match cache, table, counters, tunnel_key, encap header); the frames come out as emissions,
// and their slots are free again. Rules are tc lines, one for each flow, added one by one through the switch's own door.
//
// A source writes the first 64 bytes of a frame: its headers. What lies behind them in a slot is the same payload for
// all flows and stays there, as encapsulation never touches it. Before the runs, a sample of the flows goes
// through one by one, and every byte that comes out is held against the slow reference.

import type { Datapath } from '../datapath/chip.ts'
import { reserve } from '../memory/arena.ts'
import * as Netdev from '../memory/layout/netdev.ts'
import { PKT_DATA, PKT_DEV, PKT_LEN } from '../memory/layout/packet.ts'
import { SUPER_NETDEVS } from '../memory/layout/super.ts'
import * as W from '../memory/layout/worker.ts'
import { execute } from '../replay/execute.ts'
import { createSwitch, type Switch } from '../switch/switch.ts'
import { cpuTime } from './cpu_time.ts'
import { wrongEncap } from './reference.ts'
import { type Result, round } from './result.ts'
import { median, spread } from './statistics.ts'
import { IMIX, innerFrame, rules, setup } from './workload.ts'

export interface EncapCase {
  readonly size: number | 'imix'
  readonly flows: number
  readonly masks: number
}

export interface EncapOptions {
  readonly runs: number
  /** Length of a run. */
  readonly ms: number
  /** Clock of the processor, 0 when unknown. */
  readonly mhz: number
  /** Called with each result. */
  done(r: Result): void
}

const BURST = 32
/** Bytes of a frame that the source writes. */
const HEAD = 64
/** Frames checked against the reference. */
const SAMPLE = 64
const MAX_FRAME = 9018

/** The bench on one table: the cases differ in size only. */
export function encapBench(cases: readonly EncapCase[], o: EncapOptions): void {
  const { flows, masks } = cases[0]
  const sw = createSwitch({
    ports: [0, 1].map((i) => ({ name: `p${i}`, mac: Uint8Array.of(2, 0, 0, 0, 0, i), mtu: i === 0 ? 9000 : 1500 })),
    frameSize: MAX_FRAME,
  })
  for (const line of setup()) execute(sw, line.split(' '))
  for (const line of rules({ flows, masks })) execute(sw, line.split(' '))
  const bench = new Bench(sw, flows)
  for (const c of cases) o.done(measure(bench, c, o))
  sw.close()
}

function measure(bench: Bench, c: EncapCase, o: EncapOptions): Result {
  const sizes = c.size === 'imix' ? IMIX : [c.size]
  bench.prepare(sizes)
  const wrong = bench.verify(sizes)
  if (wrong !== null) process.emitWarning(`bench encap: ${wrong}`)
  bench.run(o.ms * 1e6) // warm: caches, and the compiler
  const cpu: number[] = []
  const wall: number[] = []
  for (let i = 0; i < o.runs; i++) {
    const [cpu0, wall0] = [cpuTime(), performance.now()]
    const packets = bench.run(o.ms * 1e6)
    cpu.push((cpuTime() - cpu0) / packets)
    wall.push(((performance.now() - wall0) * 1e6) / packets)
  }
  const ns = median(cpu)
  return {
    suite: 'encap',
    tunnel: 'vxlan',
    ...c,
    workers: 1,
    mpps: round(1000 / ns),
    mppsWall: round(1000 / median(wall)),
    nsPerPacket: round(ns),
    cyclesPerPacket: Math.round((ns * o.mhz) / 1000),
    spread: round(spread(cpu), 2),
    runs: o.runs,
    verified: wrong === null,
  }
}

/** The driver of the bench: source, chip, sink. */
class Bench {
  readonly #sw: Switch
  readonly #dp: Datapath
  readonly #flows: number
  /** The first HEAD bytes of each flow's frame, for each frame size in turn. */
  readonly #heads: number
  readonly #lengths: Int32Array
  /** Addresses of the packets of a burst. */
  readonly #list: number
  readonly #port: number
  #next = 0

  constructor(sw: Switch, flows: number) {
    const a = sw.arena
    this.#sw = sw
    this.#flows = flows
    this.#dp = sw.datapath
    // IMIX is a row of twelve sizes: with a multiple of it, every place in the row of heads has one size.
    this.#lengths = new Int32Array(Math.ceil(flows / IMIX.length) * IMIX.length)
    this.#heads = reserve(a, this.#lengths.length * HEAD)
    this.#list = reserve(a, BURST * 4)
    this.#port = a.m[SUPER_NETDEVS >> 2] + sw.devices.indexOf('p0') * Netdev.NETDEV_SIZE
  }

  /** Lays out the heads of all flows, and the payload in all slots. */
  prepare(sizes: readonly number[]): void {
    const { u8 } = this.#sw.arena
    for (let i = 0; i < this.#lengths.length; i++) {
      const size = sizes[i % sizes.length]
      this.#lengths[i] = size
      u8.set(innerFrame(i % this.#flows, size).subarray(0, HEAD), this.#heads + i * HEAD)
    }
    const whole = innerFrame(0, Math.max(...sizes))
    const slots: number[] = []
    for (let pkt = this.#dp.alloc(); pkt !== 0; pkt = this.#dp.alloc()) {
      this.#dp.loadBytes(pkt, whole)
      slots.push(pkt)
    }
    for (const pkt of slots.reverse()) this.#dp.release(pkt)
    this.#next = 0
  }

  /** Puts the next n frames into slots, off the top of the worker's stack of free ones. */
  #source(n: number): void {
    const { m } = this.#sw.arena
    const dp = this.#dp
    const free = m[(dp.struct + W.WORKER_FREE) >> 2] >> 2
    const list = this.#list >> 2
    let left = m[(dp.struct + W.WORKER_FREE_COUNT) >> 2]
    for (let i = 0; i < n; i++) {
      const k = this.#next
      this.#next = k + 1 === this.#lengths.length ? 0 : k + 1
      const pkt = m[free + --left]
      dp.load(pkt, this.#heads + k * HEAD, HEAD)
      m[(pkt + PKT_LEN) >> 2] = this.#lengths[k]
      m[(pkt + PKT_DEV) >> 2] = this.#port
      m[list + i] = pkt
    }
    m[(dp.struct + W.WORKER_FREE_COUNT) >> 2] = left
  }

  /** Gives the slots of what came out back; returns how many frames left by a port. */
  #sink(): number {
    const { m } = this.#sw.arena
    const { struct } = this.#dp
    const n = m[(struct + W.WORKER_EMIT_COUNT) >> 2]
    const free = m[(struct + W.WORKER_FREE) >> 2] >> 2
    let left = m[(struct + W.WORKER_FREE_COUNT) >> 2]
    let out = 0
    let e = m[(struct + W.WORKER_EMIT) >> 2] >> 2
    for (let i = 0; i < n; i++, e += W.EMIT_SIZE >> 2) {
      if (m[e + (W.EMIT_KIND >> 2)] === W.EMIT_OUTPUT) out++
      m[free + left++] = m[e]
    }
    m[(struct + W.WORKER_FREE_COUNT) >> 2] = left
    m[(struct + W.WORKER_EMIT_COUNT) >> 2] = 0
    return out
  }

  /** Runs for so many nanoseconds of CPU time; returns the packets that were encapsulated. */
  run(ns: number): number {
    const dp = this.#dp
    const end = cpuTime() + ns
    let out = 0
    do {
      for (let burst = 0; burst < 512; burst++) {
        this.#source(BURST)
        if (dp.receiveBurst(this.#list, BURST) !== BURST) throw new Error('a burst stopped: a packet went to the host')
        out += this.#sink()
        dp.quiescent()
      }
    } while (cpuTime() < end)
    return out
  }

  /** Sends a sample of the flows one by one; why the first that is wrong is wrong, or null. */
  verify(sizes: readonly number[]): string | null {
    const { m } = this.#sw.arena
    const dp = this.#dp
    const step = Math.max(1, Math.floor(this.#lengths.length / SAMPLE))
    for (let k = 0; k < this.#lengths.length; k += step) {
      this.#next = k
      this.#source(1)
      dp.receiveBurst(this.#list, 1)
      const [e, ...more] = dp.takeEmissions()
      if (e === undefined || e.kind !== W.EMIT_OUTPUT || more.length > 0)
        return `flow ${k % this.#flows}: did not come out`
      const data = m[(e.pkt + PKT_DATA) >> 2]
      const wrong = wrongEncap(
        this.#sw.arena.u8.slice(data, data + m[(e.pkt + PKT_LEN) >> 2]),
        k % this.#flows,
        sizes[k % sizes.length],
      )
      dp.release(e.pkt)
      if (wrong !== null) return `flow ${k % this.#flows}: ${wrong}`
    }
    this.#next = 0
    return null
  }
}
