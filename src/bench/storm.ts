// flowerbed bench storm: rules change their path because neighbours come and go.
//
//   this thread: host      event worker            datapath worker
//   next hop fails   ───▶  all its rules slow      sends packets all the time
//   next hop is back ───▶  all its rules fast
//
// Switch time: from the request that changes a next hop to the moment when the last of the rules has the other program,
// as another thread sees it. Then the same without waiting in between, all next hops in turn, while a datapath worker on
// a thread of its own sends packets: its rate by its own CPU time, against its rate when nothing changes. Its traffic is
// that of rules of the same table whose own next hop stays, or of the rules that change their path: what it then has for
// the host goes up to another thread, as in the daemon.

import { encapStats } from '../encap/encap.ts'
import { execute } from '../replay/execute.ts'
import { splitLine } from '../tc/line.ts'
import { round } from './result.ts'
import { openWorld, type World } from './rules.ts'
import { hop, hopMac, steadyLine, stormLine } from './rules_workload.ts'
import { median } from './statistics.ts'

export interface StormResult {
  readonly suite: 'storm'
  readonly rules: number
  /** Neighbours that they are spread over. */
  readonly hops: number
  /** Packets are those of rules whose next hop stays, or of those that change their path. */
  readonly traffic: Traffic
  /** Milliseconds for all rules of one neighbour: median and longest, to the slow path and back. */
  readonly switchMs: number
  readonly switchMsMax: number
  /** Changes of path in a second, while all neighbours flap. */
  readonly switchesPerSecond: number
  /** Packets in a second of the datapath thread's CPU time, millions: quiet, and while all neighbours flap. */
  readonly mppsQuiet: number
  readonly mppsStorm: number
  /** The second by the first. */
  readonly kept: number
  readonly runs: number
  /** After the storm every rule was on the fast path. */
  readonly verified: boolean
}

export const TRAFFIC = ['steady', 'flapping'] as const
export type Traffic = (typeof TRAFFIC)[number]

export interface StormOptions {
  readonly rules: number
  readonly hops: number
  readonly traffic: Traffic
  /** Changes that are timed. */
  readonly runs: number
  /** Length of the storm, and of the quiet time. */
  readonly ms: number
}

/** Rules whose next hop stays: those of the traffic. */
const STEADY = 1024

/** A switch that did not come within this time, milliseconds, never will. */
const PATIENCE = 10_000

export async function stormBench(o: StormOptions): Promise<StormResult> {
  const world = await openWorld({
    workers: 0,
    rules: o.rules + STEADY,
    hops: o.hops + 1,
    datapath: {
      from: o.traffic === 'steady' ? o.rules : 0,
      flows: Math.min(STEADY, o.traffic === 'steady' ? STEADY : o.rules),
    },
  })
  try {
    for (let i = 0; i < STEADY; i++) execute(world.kernel, splitLine(steadyLine(o.rules + i, o.hops)))
    // A tunnel key for every 50 rules: an event has to find its rules through many entries.
    const keys = Math.max(o.hops, Math.ceil(o.rules / 50))
    for (let i = 0; i < o.rules; i++) execute(world.kernel, splitLine(stormLine(i, keys, o.hops)))
    const times: number[] = []
    let verified = true
    for (let run = 0; run < o.runs; run++) {
      const n = run % o.hops
      const of = rulesOf(n, o, keys)
      for (const back of [false, true]) {
        const ms = await timeSwitch(world, n, back, of)
        if (ms === null) verified = false
        else times.push(ms)
      }
    }
    const quiet = await rate(world, o.ms, () => {})
    let turn = 0
    const before = switches(world)
    const began = performance.now()
    const storm = await rate(world, o.ms, () => {
      const n = (turn >> 1) % o.hops
      change(world, n, (turn & 1) === 1, turn >> 1)
      turn++
    })
    if (turn & 1) change(world, ((turn - 1) >> 1) % o.hops, true, 0)
    const seconds = (performance.now() - began) / 1000
    const changed = switches(world) - before
    verified &&= await settled(world)
    return {
      suite: 'storm',
      rules: o.rules,
      hops: o.hops,
      traffic: o.traffic,
      switchMs: round(median(times)),
      switchMsMax: round(Math.max(...times)),
      switchesPerSecond: Math.round(changed / seconds),
      mppsQuiet: round(quiet),
      mppsStorm: round(storm),
      kept: round(storm / quiet),
      runs: o.runs,
      verified,
    }
  } finally {
    await world.close()
  }
}

/** Rules whose next hop is n. */
function rulesOf(n: number, o: StormOptions, keys: number): number {
  let count = 0
  for (let i = 0; i < o.rules; i++) if ((i % keys) % o.hops === n) count++
  return count
}

function change(world: World, n: number, back: boolean, version: number): void {
  const line = back
    ? `ip neigh replace ${hop(n)} lladdr ${hopMac(n, version)} dev p1 nud permanent`
    : `ip neigh replace ${hop(n)} dev p1 nud failed`
  execute(world.kernel, splitLine(line))
}

const switches = (world: World): number => {
  const s = encapStats(world.a)
  return s.to_fast + s.to_slow
}

/** Changes next hop n and waits until `rules` more have another path: milliseconds, null when that does not happen. */
async function timeSwitch(world: World, n: number, back: boolean, rules: number): Promise<number | null> {
  const end = switches(world) + rules
  const began = performance.now()
  change(world, n, back, 0)
  for (;;) {
    // Looking all the time would take the processor from who is being watched.
    await new Promise((resolve) => setImmediate(resolve))
    const now = performance.now() - began
    if (switches(world) >= end) return now
    if (now > PATIENCE) return null
  }
}

/**
 * Millions of packets in a second of the datapath thread's CPU time, while `event` comes every millisecond: for `ms`, and
 * until that thread has said something.
 */
async function rate(world: World, ms: number, event: () => void): Promise<number> {
  const before = world.datapath()
  const end = performance.now() + ms
  while (performance.now() < end || world.datapath().cpu === before.cpu) {
    event()
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  const after = world.datapath()
  return ((after.packets - before.packets) * 1e3) / (after.cpu - before.cpu)
}

/** Is every rule on the fast path, now or soon? */
async function settled(world: World): Promise<boolean> {
  const end = performance.now() + PATIENCE
  do {
    const s = encapStats(world.a)
    if (s.to_fast === s.to_slow) return true
    await new Promise((resolve) => setTimeout(resolve, 5))
  } while (performance.now() < end)
  return false
}

/** One line of the table. */
export function stormRow(r: StormResult): string {
  return (
    String(r.rules).padStart(7) +
    String(r.hops).padStart(7) +
    r.traffic.padStart(10) +
    r.switchMs.toFixed(1).padStart(10) +
    r.switchMsMax.toFixed(1).padStart(8) +
    (r.switchesPerSecond / 1000).toFixed(0).padStart(12) +
    r.mppsQuiet.toFixed(2).padStart(10) +
    r.mppsStorm.toFixed(2).padStart(8) +
    `${(r.kept * 100).toFixed(0)} %`.padStart(7) +
    (r.verified ? 'yes' : 'NO').padStart(9)
  )
}

export const STORM_HEADER = '  rules   hops   traffic switch ms   (max)  switches/k  Mpps quiet  storm   kept verified'
