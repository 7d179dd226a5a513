// flowerbed bench encap --workers N: datapath threads side by side, each with its own flows, on the same tables.
//
// Throughput is the packets of all workers by the CPU time of the busiest: what they do on as many free cores. The wall
// beside it says what this machine, and who else is on it, let them do. Each run of all comes behind one of the first
// worker alone, so that their ratio is of one and the same moment.

import { spawn, type Thread } from '../sync/thread.ts'
import { type EncapCase, openEncap, prepareEncap } from './encap.ts'
import type { EncapDone, EncapThreadData } from './encap_thread.ts'
import type { PumpOptions } from './pumped.ts'
import { round } from './result.ts'
import { median, spread } from './statistics.ts'

/** As encapBench, with so many workers, which are threads. */
export async function encapWorkersBench(cases: readonly EncapCase[], workers: number, o: PumpOptions): Promise<void> {
  const sw = openEncap(cases[0], workers)
  let next = 1
  for (const c of cases) {
    const { table, verified, fill } = prepareEncap(sw, c, workers)
    const frames = table.frames / workers
    const threads = Array.from({ length: workers }, (_, i) => {
      const mine = { ...table, address: table.address + i * frames * table.stride, frames }
      const data: EncapThreadData = { memory: sw.arena.memory, worker: i + 1, table: mine, fill }
      return spawn(new URL('./encap_thread.ts', import.meta.url), data, `encap ${next++}`)
    })
    try {
      await run(threads, o.ms) // warm
      const one: number[] = []
      const all: number[] = []
      const wall: number[] = []
      for (let i = 0; i < o.runs; i++) {
        one.push((await run(threads.slice(0, 1), o.ms)).ns)
        const together = await run(threads, o.ms)
        all.push(together.ns)
        wall.push(together.wall)
      }
      const ns = median(all)
      o.done({
        ...{ suite: 'encap', tunnel: 'vxlan', ...c, workers },
        mpps: round(1000 / ns),
        mppsWall: round(1000 / median(wall)),
        // Of a worker's time, not of all of them together.
        nsPerPacket: round(ns * workers),
        cyclesPerPacket: Math.round((ns * workers * o.mhz) / 1000),
        spread: round(spread(all), 2),
        runs: o.runs,
        verified,
        timesOne: round(median(one) / ns),
      })
    } finally {
      for (const t of threads) t.post(null)
      await Promise.all(threads.map((t) => t.ended))
    }
  }
  sw.close()
}

/** Lets threads pump together: nanoseconds for a packet, of the busiest one's CPU time, and of the wall. */
async function run(threads: readonly Thread[], ms: number): Promise<{ ns: number; wall: number }> {
  const began = performance.now()
  const done = await Promise.all(
    threads.map(
      (t) =>
        new Promise<EncapDone>((resolve, reject) => {
          t.onceMessage((m) => resolve(m as EncapDone))
          void t.ended.then(({ error }) => reject(error ?? new Error('a datapath thread ended early')))
          t.post(ms * 1e6)
        }),
    ),
  )
  const packets = done.reduce((sum, d) => sum + d.packets, 0)
  return {
    ns: Math.max(...done.map((d) => d.cpu)) / packets,
    wall: ((performance.now() - began) * 1e6) / packets,
  }
}
