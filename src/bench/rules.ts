// flowerbed bench rules: how fast control workers add, dump, change and delete rules, and what a rule weighs.
//
// Each worker is a thread with a text of tc lines of its own (rules_thread.ts); an event worker runs beside them. A rate
// is rules by the busiest worker's CPU time, which a shared machine does not distort as it does the wall's: all workers
// begin together and share the work evenly, so on as many free processors that is when they would be ready.
//
//   insert   every rule           dump     each worker reads all rules
//   mixed    each rule is deleted and added again, by its worker           delete   every rule
//
// The first run warms the compiler up and is not counted.

import { type Arena, createArena } from '../memory/arena.ts'
import { SUPER_BRK, SUPER_COUNTER_NEXT, SUPER_WORKERS } from '../memory/layout/super.ts'
import { COUNTER_SIZE } from '../memory/layout/worker.ts'
import { reclaim } from '../memory/pool.ts'
import { addPort } from '../net/link.ts'
import { execute, type Kernel } from '../replay/execute.ts'
import { ask, makeTables, openControl } from '../switch/control.ts'
import { add, load, store, wake } from '../sync/atomic.ts'
import { spawn, type Thread } from '../sync/thread.ts'
import { splitLine } from '../tc/line.ts'
import { round } from './result.ts'
import { CTL_WORDS, clock, type Done, devicesOf, GO, type Job, READY, STOP, type ThreadData } from './rules_thread.ts'
import { addLine, countersOf, deleteLine, keysOf, type Profile, setup, sharedText } from './rules_workload.ts'
import { median, spread } from './statistics.ts'

export interface RulesResult {
  readonly suite: 'rules'
  readonly profile: Profile
  /** Control workers. */
  readonly workers: number
  readonly rules: number
  /** Rules added in a second of the busiest worker's CPU time: the median of the runs. */
  readonly rulesPerSecond: number
  /** The same in a second of wall time. */
  readonly rulesPerSecondWall: number
  readonly deletesPerSecond: number
  /** Rules that one worker reads, while the others read them too. */
  readonly dumpsPerSecond: number
  /** Adds and deletes, in turn. */
  readonly mixedPerSecond: number
  /** Of the arena, counters included. */
  readonly bytesPerRule: number
  /** (fastest - slowest run) / median, of the adding. */
  readonly spread: number
  readonly runs: number
  /** Every line was acknowledged, and every dump had every rule. */
  readonly verified: boolean
}

export interface RulesOptions {
  readonly rules: number
  readonly runs: number
}

/** A switch's tables without a datapath, and the threads that work on them. */
export interface World {
  readonly a: Arena
  readonly ctl: Int32Array
  readonly kernel: Kernel
  readonly workers: readonly Thread[]
  /** Gives each worker its job; resolves when all are done. */
  run(texts: readonly (SharedArrayBuffer | undefined)[]): Promise<Done[]>
  /** What the datapath worker has done so far: nanoseconds of its thread, packets. */
  datapath(): { readonly cpu: number; readonly packets: number }
  close(): Promise<void>
}

const LARGEST = 32767 * 65536

/** Makes it, with `workers` control workers, an event worker, and the world of rules_workload.ts. */
export async function openWorld(o: {
  readonly workers: number
  readonly rules: number
  readonly hops: number
  /** Counters of a rule, 1 without. */
  readonly countersEach?: number
  /** A datapath worker too, that sends packets of these rules. */
  readonly datapath?: { readonly from: number; readonly flows: number }
}): Promise<World> {
  const counters = o.rules * 2 * (o.countersEach ?? 1) + 65536 // those that wait for a grace period, too
  const a = createArena({ bytes: LARGEST, packets: 1024, counters, threads: o.workers + 5 })
  makeTables(a, { offload: true })
  const c = openControl(a, { now: clock })
  const kernel: Kernel = { devices: devicesOf(a), ask: (message, reply) => ask(c, message, reply) }
  for (let i = 0; i < 2; i++) addPort(a, `p${i}`, i, Uint8Array.of(2, 0, 0, 0, 0, i), 1500)
  for (const line of setup(o.hops)) execute(kernel, splitLine(line))
  const ctl = new Int32Array(new SharedArrayBuffer(CTL_WORDS * 4))
  const told = new Float64Array(new SharedArrayBuffer(16))
  const start = (role: ThreadData['role']): Thread => {
    const data: ThreadData = { role, memory: a.memory, ctl, told, ...(o.datapath ?? { from: 0, flows: 0 }) }
    return spawn(new URL('./rules_thread.ts', import.meta.url), data, role)
  }
  const workers = Array.from({ length: o.workers }, () => start('control'))
  const others = [start('events'), ...(o.datapath === undefined ? [] : [start('datapath')])]
  const died = Promise.race(
    [...workers, ...others].map(async (t) => {
      const { error } = await t.ended
      throw error ?? new Error('a thread ended early')
    }),
  )
  died.catch(() => {})
  let number = 0
  const allReady = async (n: number): Promise<void> => {
    while (load(ctl, READY) < n) await Promise.race([new Promise((resolve) => setTimeout(resolve, 1)), died])
    store(ctl, READY, 0)
  }
  await allReady(others.length)
  return {
    a,
    ctl,
    kernel,
    workers,
    async run(texts) {
      number++
      const answers = workers.map(
        (t, i) =>
          new Promise<Done>((resolve) => {
            t.onceMessage((m) => resolve(m as Done))
            t.post({ number, text: texts[i] } satisfies Job)
          }),
      )
      await allReady(workers.length)
      add(ctl, GO, 1)
      wake(ctl, GO)
      return Promise.race([Promise.all(answers), died])
    },
    datapath: () => ({ cpu: told[0], packets: told[1] }),
    async close() {
      store(ctl, STOP, 1)
      for (const t of workers) t.post(null)
      await Promise.all([...workers, ...others].map((t) => t.ended))
    },
  }
}

/** Bytes of the arena that are taken, and of counters. */
function taken(a: Arena): number {
  return a.m[SUPER_BRK >> 2] + a.m[SUPER_COUNTER_NEXT >> 2] * COUNTER_SIZE * a.m[SUPER_WORKERS >> 2]
}

interface Texts {
  readonly insert: SharedArrayBuffer[]
  readonly mixed: SharedArrayBuffer[]
  readonly delete: SharedArrayBuffer[]
}

function makeTexts(p: Profile, rules: number, workers: number): Texts {
  const text = (of: (i: number) => string[], w: number): SharedArrayBuffer => {
    const lines: string[] = []
    let bytes = 0
    for (let i = w; i < rules; i += workers)
      for (const line of of(i)) {
        lines.push(line)
        bytes += line.length + 1
      }
    return sharedText(lines, bytes)
  }
  const texts = (of: (i: number) => string[]) => Array.from({ length: workers }, (_, w) => text(of, w))
  return {
    insert: texts((i) => [addLine(p, i)]),
    mixed: texts((i) => [deleteLine(i), addLine(p, i)]),
    delete: texts((i) => [deleteLine(i)]),
  }
}

/** One profile with so many workers. */
export async function rulesBench(p: Profile, workers: number, o: RulesOptions): Promise<RulesResult> {
  const world = await openWorld({ workers, rules: o.rules, hops: Math.max(1, keysOf(p)), countersEach: countersOf(p) })
  try {
    const texts = makeTexts(p, o.rules, workers)
    const none = texts.insert.map(() => undefined)
    const rates = {
      insert: [] as number[],
      wall: [] as number[],
      dump: [] as number[],
      mixed: [] as number[],
      delete: [] as number[],
    }
    let bytes = 0
    let verified = true
    const job = async (
      what: readonly (SharedArrayBuffer | undefined)[],
      count: number,
      each: number,
    ): Promise<[number, number]> => {
      const done = await world.run(what)
      for (const d of done) if (d.error !== undefined) process.emitWarning(`bench rules: ${d.error}`)
      if (done.reduce((n, d) => n + d.count, 0) !== count) verified = false
      const busiest = Math.max(...done.map((d) => d.cpu))
      const last = Math.max(...done.map((d) => d.wall))
      return [(each * 1e9) / busiest, (each * 1e3) / last]
    }
    for (let run = 0; run <= o.runs; run++) {
      const before = taken(world.a)
      const [insert, wall] = await job(texts.insert, o.rules, o.rules)
      if (run === 0) bytes = taken(world.a) - before
      const [dump] = await job(none, o.rules * workers, o.rules)
      const [mixed] = await job(texts.mixed, o.rules * 2, o.rules * 2)
      const [del] = await job(texts.delete, o.rules, o.rules)
      reclaim(world.a)
      if (run === 0) continue
      rates.insert.push(insert)
      rates.wall.push(wall)
      rates.dump.push(dump)
      rates.mixed.push(mixed)
      rates.delete.push(del)
    }
    return {
      suite: 'rules',
      profile: p,
      workers,
      rules: o.rules,
      rulesPerSecond: Math.round(median(rates.insert)),
      rulesPerSecondWall: Math.round(median(rates.wall)),
      deletesPerSecond: Math.round(median(rates.delete)),
      dumpsPerSecond: Math.round(median(rates.dump)),
      mixedPerSecond: Math.round(median(rates.mixed)),
      bytesPerRule: Math.round(bytes / o.rules),
      spread: round(spread(rates.insert), 2),
      runs: o.runs,
      verified,
    }
  } finally {
    await world.close()
  }
}

/** One line of the table. */
export function rulesRow(r: RulesResult): string {
  const k = (n: number): string => (n / 1000).toFixed(0).padStart(8)
  return (
    r.profile.padEnd(12) +
    String(r.workers).padStart(7) +
    k(r.rulesPerSecond) +
    k(r.rulesPerSecondWall) +
    k(r.mixedPerSecond) +
    k(r.deletesPerSecond) +
    k(r.dumpsPerSecond) +
    String(r.bytesPerRule).padStart(8) +
    `${(r.spread * 100).toFixed(0)} %`.padStart(7) +
    (r.verified ? 'yes' : 'NO').padStart(9)
  )
}

export const RULES_HEADER = 'profile     workers insert/k  (wall)   mixed  delete    dump  B/rule spread verified'
