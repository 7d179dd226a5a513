// Packets through one worker, memory to memory: a row of frames, the pump that runs it (datapath/chip/pump.ts), the clock.
//
// A source writes the first HEAD bytes of a frame: its headers. What lies behind them in a slot is the same for all frames
// and stays there, as tunnels never touch it. Time is the thread's CPU time: runs until they are steady, then
// several that count, by their median.

import type { Datapath, PumpTable } from '../datapath/chip.ts'
import { reserve } from '../memory/arena.ts'
import { NETDEV_SIZE } from '../memory/layout/netdev.ts'
import { SUPER_NETDEVS } from '../memory/layout/super.ts'
import { EMIT_OUTPUT } from '../memory/layout/worker.ts'
import type { Switch } from '../switch/switch.ts'
import { cpuTime } from './cpu_time.ts'
import { type Result, round } from './result.ts'
import { median, spread } from './statistics.ts'

export interface PumpOptions {
  readonly runs: number
  /** Length of a run. */
  readonly ms: number
  /** Clock of the processor, 0 when unknown. */
  readonly mhz: number
  /** Called with each result. */
  done(r: Result): void
}

/** Length and padding in front of a frame of the table. */
const ENTRY_HEAD = 16
/** Frames that go through between two looks at the clock. */
const PIECE = 16384
/** Flows checked against the reference. */
const SAMPLE = 64

/** A row of frames for the pump, received by the device of this name. `head`: bytes that are written for each packet. */
export function pumpTable(
  sw: Switch,
  device: string,
  frames: number,
  frame: (i: number) => Uint8Array,
  head: number,
): PumpTable {
  const a = sw.arena
  const stride = ENTRY_HEAD + Math.ceil(head / 16) * 16
  const address = reserve(a, frames * stride)
  for (let i = 0; i < frames; i++) {
    const f = frame(i)
    a.m[(address + i * stride) >> 2] = f.length
    a.u8.set(f.subarray(0, head), address + i * stride + ENTRY_HEAD)
  }
  const dev = a.m[SUPER_NETDEVS >> 2] + sw.devices.indexOf(device) * NETDEV_SIZE
  return { address, stride, frames, device: dev, head }
}

/** Sends one frame by itself; the bytes that came out, null when that is not one frame that leaves by a port. */
export function sendOne(dp: Datapath, device: number, frame: Uint8Array): Uint8Array | null {
  const pkt = dp.alloc()
  dp.loadBytes(pkt, frame)
  dp.receive(pkt, device)
  const out = dp.takeEmissions()
  const got = out.length === 1 && out[0].kind === EMIT_OUTPUT ? dp.frame(out[0].pkt).slice() : null
  for (const e of out) dp.release(e.pkt)
  return got
}

/** Checks about so many of `n` flows, from the first to the last; why the first that is wrong is wrong, or null. */
export function sample(n: number, wrong: (i: number) => string | null): string | null {
  for (let i = 0; i < n; i += Math.max(1, Math.floor(n / SAMPLE))) {
    const why = wrong(i)
    if (why !== null) return `flow ${i}: ${why}`
  }
  return null
}

/** Fills the slots with a frame: what a source leaves standing behind the headers. */
export function fillSlots(dp: Datapath, frame: Uint8Array): void {
  const slots: number[] = []
  for (let pkt = dp.alloc(); pkt !== 0; pkt = dp.alloc()) {
    dp.loadBytes(pkt, frame)
    slots.push(pkt)
  }
  for (const pkt of slots.reverse()) dp.release(pkt)
}

type Measured = Pick<Result, 'mpps' | 'mppsWall' | 'nsPerPacket' | 'cyclesPerPacket' | 'spread' | 'runs'>

/**
 * The pump of a row: called, it runs for so many nanoseconds of this thread's CPU time, goes on where it stopped, and
 * returns how many packets it sent. Throws when one does not leave by a port.
 */
export function pumper(dp: Datapath, table: PumpTable): (ns: number) => number {
  let first = 0
  return (ns) => {
    const end = cpuTime() + ns
    let packets = 0
    do {
      const { taken, out, other } = dp.pump(table, first, PIECE)
      if (taken !== PIECE || out !== PIECE)
        throw new Error(`of ${PIECE} packets ${taken} came in, ${out} left by a port, ${other} went to the host`)
      first = (first + PIECE) % table.frames
      packets += PIECE
      dp.quiescent()
    } while (cpuTime() < end)
    return packets
  }
}

/** Runs no more than so many times … */
const WARM_MAX = 15
/** … and until so many in a row were not faster by this part than the best before. */
const WARM_STEADY = 3
const WARM_FASTER = 0.05

/**
 * Fills caches, and waits for the compiler, which makes the chip's slow first code faster on a thread of its own: on a busy
 * machine that takes a while, and the first case of a program would pay for it.
 */
function warmUp(run: (ns: number) => number, ns: number): void {
  let best = Number.POSITIVE_INFINITY
  for (let i = 0, steady = 0; i < WARM_MAX && steady < WARM_STEADY; i++) {
    const begin = cpuTime()
    const packets = run(ns)
    const each = (cpuTime() - begin) / packets
    steady = each < best * (1 - WARM_FASTER) ? 0 : steady + 1
    best = Math.min(best, each)
  }
}

/** Measures the row. Throws when a packet does not leave by a port. */
export function measurePump(dp: Datapath, table: PumpTable, o: PumpOptions): Measured {
  const run = pumper(dp, table)
  warmUp(run, o.ms * 1e6)
  const cpu: number[] = []
  const wall: number[] = []
  for (let i = 0; i < o.runs; i++) {
    const [cpu0, wall0] = [cpuTime(), performance.now()]
    const packets = run(o.ms * 1e6)
    cpu.push((cpuTime() - cpu0) / packets)
    wall.push(((performance.now() - wall0) * 1e6) / packets)
  }
  const ns = median(cpu)
  return {
    mpps: round(1000 / ns),
    mppsWall: round(1000 / median(wall)),
    nsPerPacket: round(ns),
    cyclesPerPacket: Math.round((ns * o.mhz) / 1000),
    spread: round(spread(cpu), 2),
    runs: o.runs,
  }
}
