// The interleaving explorer: believes no concurrent code that it has not run in every order.
//
// ECMA-262 makes race-free programs sequentially consistent, so the order of the atomic operations is all there is to
// vary (deref counts as one). The explorer runs a scenario's threads on real workers, one step at a time, and
// enumerates, depth first, every schedule with at most `preemptions` switches away from a thread that could have gone
// on, after Musuvathi and Qadeer's context bounding: most bugs need one or two. With `kills`, a thread may also die
// before any of its steps; then the scenario's supervisor thread wakes up and takes part.
//
// Every schedule starts from the same memory. It fails when a thread throws, when all that are left sleep (a lost
// wake-up, a deadlock), when it does not end, or when `check` says so. The schedule that failed is printed in a form
// that `replay` takes: `0*5 1*3 0! 2*4` is five steps of thread 0, three of thread 1, death of thread 0, four of 2.
import { add, load, wait, wake } from '../sync/atomic.ts'
import { spawn, type Thread } from '../sync/thread.ts'
import * as Control from './explore_control.ts'
import { takeSnapshot } from './explore_memory.ts'
import { defaultChoice, nextPrefix, parse, print, same, spending } from './explore_schedule.ts'
import type { Scenario } from './scenario.ts'

export interface Bounds {
  preemptions?: number
  kills?: number
  /** Stop after so many schedules; the report then says that it is not complete. */
  schedules?: number
  /** Stop after so many failures. */
  failures?: number
  /** More steps than this in one schedule are a failure. */
  steps?: number
  /** Stop after so many milliseconds. */
  ms?: number
  /** Where an exploration stopped, to go on from there. */
  from?: Position
}

/** The next schedule of an exploration: its bound of preemptions, and its beginning. */
export interface Position {
  readonly bound: number
  readonly prefix: readonly number[]
}

export interface Failure {
  readonly schedule: string
  readonly what: string
}

export interface Report {
  readonly schedules: number
  /** Most steps of any schedule. */
  readonly steps: number
  /** All schedules within the bounds were run. */
  readonly complete: boolean
  readonly failures: readonly Failure[]
  /** What comes next, when it stopped because of a limit. */
  readonly next?: Position
}

export interface Explorer {
  explore(model: URL, name: string, bounds?: Bounds): Promise<Report>
  /** Runs one schedule; says what failed. */
  replay(model: URL, name: string, schedule: string): Promise<string | undefined>
  close(): Promise<void>
}

/** The scenarios of a model file: its exports that begin with good or bad. */
export const scenarioNames = async (model: URL): Promise<string[]> =>
  Object.keys((await import(model.href)) as object).filter((name) => /^(good|bad)/.test(name))

/** A thread that computes so long between two steps will compute for ever. */
const STUCK_MS = 60_000

/** Starts an explorer; its threads live until close, and serve one scenario after the other. */
export function startExplorer(): Explorer {
  const threads: Thread[] = []
  const withRun = async <T>(model: URL, name: string, f: (r: Run) => T): Promise<T> => {
    try {
      const run = await openRun(threads, model, name)
      const result = f(run)
      await run.close()
      return result
    } catch (e) {
      for (const t of threads.splice(0)) await t.terminate() // some may wait in the middle of a schedule
      throw e
    }
  }
  return {
    explore: (model, name, bounds = {}) => withRun(model, name, (run) => exploreAll(run, bounds)),
    replay: (model, name, schedule) => withRun(model, name, (run) => run.schedule(parse(schedule), 100_000)),
    close: async () => {
      for (const t of threads) await t.terminate()
    },
  }
}

/** One scenario, its threads attached and ready to run any schedule. */
interface Run {
  /** Runs the schedule that begins with these steps (log entries), then goes on without preemption. */
  schedule(prefix: ArrayLike<number>, steps: number): string | undefined
  /** Did all schedules since the last call begin with the memory that they should? */
  verify(): boolean
  /** The steps of the last schedule. */
  trace(): Int32Array
  /** Bit mask of the threads that may die. */
  readonly mortal: number
  /** What the scenario asks for. */
  readonly preemptions: number | undefined
  close(): Promise<void>
}

async function openRun(pool: Thread[], model: URL, name: string): Promise<Run> {
  const scenario = ((await import(model.href)) as Record<string, Scenario<unknown>>)[name]
  if (scenario === undefined) throw new Error(`${model.pathname} has no scenario ${name}`)
  const n = scenario.threads.length
  const supervisor = scenario.supervisor === undefined ? -1 : n
  const all = supervisor === -1 ? n : n + 1
  if (all > Control.THREADS_MAX) throw new Error(`${name}: more than ${Control.THREADS_MAX} threads`)
  const pages = Math.ceil(scenario.words / 16384)
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true })
  const m = new Int32Array(memory.buffer)
  const ctl = new Int32Array(new SharedArrayBuffer(Control.CONTROL_WORDS * 4))
  const log = new Int32Array(new SharedArrayBuffer(Control.LOG_WORDS * 4))
  const text = new Uint8Array(new SharedArrayBuffer(all * Control.TEXT_BYTES))

  const state = (t: number): number => load(ctl, Control.STATE + t)

  scenario.setup?.(m, memory)
  while (pool.length < all) pool.push(spawn(new URL('./explore_worker.ts', import.meta.url)))
  for (let t = 0; t < all; t++) {
    const job = { url: model.href, name, thread: t, ctl, log, text, memory } satisfies Control.Job
    const answer = nextMessage(pool[t])
    pool[t].post(job)
    const said = await answer
    if (said !== 'entered') throw new Error(String(said))
  }
  for (let t = 0; t < all; t++) {
    for (let seq = load(ctl, Control.SEQ); state(t) !== Control.IDLE; seq = load(ctl, Control.SEQ)) {
      wait(ctl, Control.SEQ, seq, 10)
    }
  }
  const snapshot = takeSnapshot(m)

  /** Gives thread t the turn, and comes back when it hands over. */
  const resume = (t: number, budget: number, kill = 0): void => {
    ctl[Control.BUDGET + t] = budget
    ctl[Control.KILL + t] = kill
    const seq = load(ctl, Control.SEQ)
    add(ctl, Control.TURN + t, 1)
    wake(ctl, Control.TURN + t)
    while (load(ctl, Control.SEQ) === seq) {
      if (!wait(ctl, Control.SEQ, seq, STUCK_MS)) throw new Error(`${name}: thread ${t} makes no step`)
    }
  }
  const kill = (t: number): void => {
    log[ctl[Control.STEPS]++] = Control.logEntry(t, true, Control.readyMask(ctl))
    ctl[Control.DEAD_SELF] = ctl[Control.SELF + t]
    resume(t, 0, Control.KILL_DIE)
    if (supervisor !== -1) ctl[Control.STATE + supervisor] = Control.READY
  }
  const textOf = (t: number): string =>
    new TextDecoder().decode(text.slice(t * Control.TEXT_BYTES, t * Control.TEXT_BYTES + ctl[Control.TEXT_LENGTH + t]))

  /** Who can make a step; when nobody can and the scenario knows time, those whose time ran out. */
  const ready = (): number => {
    if (Control.readyMask(ctl) !== 0 || scenario.timeouts !== true) return Control.readyMask(ctl)
    for (let t = 0; t < all; t++) {
      if (state(t) !== Control.ASLEEP || ctl[Control.TIMED + t] !== 1) continue
      ctl[Control.TIMED + t] = 2
      ctl[Control.STATE + t] = Control.READY
    }
    return Control.readyMask(ctl)
  }

  const runAll = (prefix: ArrayLike<number>): string | undefined => {
    let last = 0
    for (let k = 0; k < prefix.length; k = ctl[Control.STEPS]) {
      last = Control.logThread(prefix[k])
      if ((ready() & (1 << last)) === 0) return `not replayable: thread ${last} cannot make step ${k}`
      if (Control.logDied(prefix[k])) {
        kill(last)
        continue
      }
      let count = 1
      while (k + count < prefix.length && same(prefix[k + count], prefix[k])) count++
      resume(last, count)
      if (state(last) === Control.FAILED) return `thread ${last}: ${textOf(last)}`
    }
    for (let now = ready(); now !== 0; now = ready()) {
      last = defaultChoice(last, now)
      resume(last, 0x7fffffff)
      if (state(last) === Control.FAILED) return `thread ${last}: ${textOf(last)}`
    }
    const asleep: string[] = []
    for (let t = 0; t < all; t++) {
      if (state(t) === Control.ASLEEP) asleep.push(`thread ${t} on word ${ctl[Control.SLEEPS_ON + t]}`)
    }
    if (asleep.length > 0) return `asleep for ever: ${asleep.join(', ')}`
    try {
      return scenario.check(m, memory)
    } catch (e) {
      return `check: ${(e as Error).stack}` // a failure like others: perhaps only of memory that was not put back
    }
  }

  return {
    schedule(prefix, steps) {
      snapshot.restore()
      ctl[Control.STEPS] = 0
      ctl[Control.STEPS_MAX] = Math.min(steps, Control.LOG_WORDS - all)
      for (let t = 0; t < all; t++) ctl[Control.STATE + t] = t === supervisor ? Control.IDLE : Control.READY
      for (let t = 0; t < all; t++) ctl[Control.KILL + t] = 0
      const what = runAll(prefix)
      for (let t = 0; t < all; t++) {
        const s = state(t)
        if (s === Control.ASLEEP || s === Control.READY) resume(t, 0, Control.KILL_ABORT)
      }
      return what
    },
    verify: () => snapshot.verify(),
    trace: () => log.slice(0, ctl[Control.STEPS]),
    mortal: (scenario.mortal ?? scenario.threads.map((_, t) => t)).reduce((mask, t) => mask | (1 << t), 0),
    preemptions: scenario.preemptions,
    async close() {
      for (let t = 0; t < all; t++) {
        const answer = nextMessage(pool[t])
        ctl[Control.KILL + t] = Control.KILL_QUIT
        add(ctl, Control.TURN + t, 1)
        wake(ctl, Control.TURN + t)
        await answer
      }
    },
  }
}

const nextMessage = (t: Thread): Promise<unknown> =>
  Promise.race([
    new Promise((resolve) => t.onceMessage(resolve)),
    t.ended.then(({ error }) => {
      throw error ?? new Error('a thread of the explorer ended')
    }),
  ])

/** Schedules between two looks at the whole memory: few at first, when pages are still found. */
const VERIFY_MAX = 512

interface Progress extends Position {
  readonly schedules: number
  readonly steps: number
  readonly failures: readonly Failure[]
  /** Has this bound schedules of its own? With more preemptions there are no more, when it has not. */
  readonly own: boolean
}

/** All schedules without a preemption, then with one, and so on: what fails, fails with as few as possible. */
function exploreAll(run: Run, bounds: Bounds): Report {
  const { preemptions = run.preemptions ?? 2, kills = 0, schedules = 100_000, failures = 1, steps = 5000 } = bounds
  const { ms = Number.POSITIVE_INFINITY, from = { bound: 0, prefix: [] } } = bounds
  const until = performance.now() + ms
  let now: Progress = { ...from, schedules: 0, steps: 0, failures: [], own: from.prefix.length > 0 }
  let sure = now
  let interval = 1
  for (let left = interval; ; ) {
    const what = run.schedule(now.prefix, steps)
    const trace = run.trace()
    const spent = spending(trace)
    const prefix = nextPrefix(trace, spent, now.bound, kills, run.mortal)
    const own = spent[trace.length].preempted >= now.bound // else it was run at a lower bound
    const past = now
    now = {
      bound: prefix === undefined ? past.bound + 1 : past.bound,
      prefix: prefix ?? [],
      schedules: past.schedules + (own ? 1 : 0),
      steps: own ? Math.max(past.steps, trace.length) : past.steps,
      failures: own && what !== undefined ? [...past.failures, { schedule: print(trace), what }] : past.failures,
      own: prefix !== undefined && (past.own || own),
    }
    const all = prefix === undefined && (past.bound >= preemptions || !(past.own || own))
    const enough = now.failures.length >= failures
    const stop = all || enough || now.schedules >= schedules || performance.now() >= until
    if (!stop && --left > 0) continue
    if (!run.verify()) {
      now = sure
      interval = 1
    } else if (!stop) {
      sure = now
      interval = Math.min(interval * 2, VERIFY_MAX)
    } else {
      const { schedules: count, steps: longest, failures: failed, bound, prefix: rest } = now
      const report = { schedules: count, steps: longest, failures: failed }
      if (all && !enough) return { ...report, complete: true }
      return enough ? { ...report, complete: false } : { ...report, complete: false, next: { bound, prefix: rest } }
    }
    left = interval
  }
}
