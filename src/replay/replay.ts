// Replay: a scenario goes through a switch under a virtual clock. One thread drives it, no wall clock is read (unless
// paced), and the same input gives the same output every time.
//
//   set-up lines at time 0 ─▶ packets from start_ms on, other lines at their moments ─▶ final_ms ─▶ post.tc ─▶ results
//
// Whoever starts a replay gets its results as an object; with `out` also as files, which appear all at the end or not
// at all. Bad input is a ScenarioError or CaptureError, thrown before anything can be seen of the replay.
import type { Trace } from '../datapath/chip.ts'
import { reserve } from '../memory/arena.ts'
import { BATCH, type Capture, type Damage, openCapture, WINDOW } from '../port/capture/capture.ts'
import { openWithPcapParser } from '../port/capture/pcap_parser.ts'
import { createSwitch, type Switch } from '../switch/switch.ts'
import { LanguageError } from '../tc/language_error.ts'
import { batchLength, type ControlWorkers, openControlWorkers } from './batch.ts'
import { ChipScanner } from './chip_scanner.ts'
import { type Events, openEvents } from './events.ts'
import { check, execute } from './execute.ts'
import { allFilters } from './filters.ts'
import { type LogEntry, logText } from './log.ts'
import { type Outputs, openOutputs } from './outputs.ts'
import { arenaRows, Packets } from './packets.ts'
import { largestMtu, type Scenario, type Step } from './scenario.ts'
import { ScenarioError } from './scenario_error.ts'
import { Schedule } from './schedule.ts'
import { type PortTraffic, type Summary, summarize } from './summary.ts'
import { Workers } from './workers.ts'

export interface ReplayOptions {
  /** Folder for the results; none are written without. */
  readonly out?: string
  /** Datapath workers: with more than one, each is a thread, and packets of different flows overtake each other. */
  readonly workers?: number
  /** File for the events of the scheme, a line each. */
  readonly events?: string
  /** Says of each rule whether a NIC with this driver would take it. */
  readonly profile?: 'mlx5'
  /** Reads captures through the npm package of that name. */
  readonly pcapBackend?: 'pcap-parser'
  /** Waits for the wall clock, so that packets come at the distances of the capture. */
  readonly pace?: boolean
  /** Threads that parse and commit long rows of tc lines; 1 or absent: this thread does every line. */
  readonly controlWorkers?: number
  /** Least number of lines that they get at once. */
  readonly shortestBatch?: number
  /** Called now and then with how far the captures have been read, in bytes and packets. */
  readonly progress?: (bytes: number, packets: number) => void
  /** Hears what happens to packets; it gets them in the switch's place, and hands them on. */
  readonly observer?: Observer
  /** Called with what a command printed, at once. */
  readonly printed?: (text: string) => void
}

export interface Observer {
  readonly trace: Trace
  /** The switch is made, and has seen nothing yet. Returns who takes the packets. */
  open(sw: Switch, ports: readonly string[]): Pick<Switch, 'inputBatch'>
}

export interface ReplayResult {
  readonly summary: Summary
  readonly filters: Record<string, unknown>
  readonly log: readonly LogEntry[]
  /** Captures that broke off; what came before went through. */
  readonly damaged: readonly { readonly path: string; readonly damage: Damage }[]
}

interface Run {
  readonly scenario: Scenario
  readonly options: ReplayOptions
  readonly sw: Switch
  readonly traffic: PortTraffic
  readonly events: Events | null
  /** Who takes packets: the switch itself, or threads. */
  readonly input: Pick<Switch, 'inputBatch'>
  readonly log: LogEntry[]
  /** Virtual time, nanoseconds. */
  now: number
}

/** An hour: no state of the switch lasts longer than that by itself. */
const LONGEST_PAUSE = 3600e9

/** Runs the scenario to its end. */
export async function replay(scenario: Scenario, options: ReplayOptions = {}): Promise<ReplayResult> {
  for (const step of [...scenario.steps, ...scenario.after]) if (step.moment !== null) checkGrammar(step)
  const threads = (options.workers ?? 1) > 1 ? options.workers : 0
  const sw = createSwitch({
    ports: scenario.ports.map((name, i) => ({ name, mac: portMac(i), mtu: 1500 })),
    // Ethernet and a VLAN tag in front of the largest packet.
    frameSize: largestMtu(scenario) + 18,
    workers: threads,
    trace: options.observer?.trace,
    profile: options.profile,
  })
  const counts = () => new Float64Array(scenario.ports.length)
  const traffic = { inPackets: counts(), inBytes: counts(), outPackets: counts(), outBytes: counts() }
  const events = options.events === undefined ? null : openEvents(options.events, sw.arena)
  const datapaths = threads ? new Workers(sw, threads) : null
  const input = options.observer?.open(sw, scenario.ports) ?? datapaths ?? sw
  const run: Run = { scenario, options, sw, input, traffic, events, log: [], now: 0 }
  const captures: Capture[] = []
  const workers = startWorkers(run)
  let outputs: Outputs | null = null
  try {
    const sources = scenario.captures.map(({ port, path }) => {
      const window = reserve(sw.arena, WINDOW)
      const open = options.pcapBackend === 'pcap-parser' ? openWithPcapParser : openCapture
      const capture = open(path, {
        window: sw.arena.u8.subarray(window, window + WINDOW),
        scanner: new ChipScanner(sw.datapath, window),
      })
      captures.push(capture)
      return { port, capture, window }
    })
    if (options.out !== undefined) {
      const nanoseconds = captures.some((c) => c.nanoseconds)
      outputs = openOutputs(options.out, scenario.ports, sw.arena, nanoseconds)
    }
    const write = outputs?.frame
    sw.onOutput((port, address, length, time) => {
      traffic.outPackets[port]++
      traffic.outBytes[port] += length
      if (write !== undefined) write(port, address, length, time)
    }, outputs?.recorder)
    const first = scenario.steps.filter((s) => s.moment === null)
    await runSteps(run, first, workers)
    const start = scenario.startMs * 1e6
    const timed = scenario.steps.some((s) => s.moment !== null && s.moment.kind !== 'packet')
    const longest = timed ? Number.POSITIVE_INFINITY : LONGEST_PAUSE
    const packets = new Packets(sources, start, scenario.quietMs * 1e6, longest, arenaRows(sw.arena))
    await drive(run, packets, captures, start, outputs)
    await runSteps(run, scenario.after, workers)
    scenario.ports.forEach((_, port) => {
      const by = outputs?.recorded(port)
      traffic.outPackets[port] += by?.packets ?? 0
      traffic.outBytes[port] += by?.bytes ?? 0
    })
    const result: ReplayResult = {
      summary: summarize(
        sw,
        scenario.ports,
        traffic,
        sources.map(({ port, capture: c }) => ({
          port: scenario.ports[port],
          packets: c.count,
          cut: c.cut,
          damage: c.damage,
        })),
      ),
      filters: allFilters(sw),
      log: run.log,
      damaged: captures.flatMap(({ path, damage }) => (damage === null ? [] : [{ path, damage }])),
    }
    outputs?.file('filters.json', `${JSON.stringify(result.filters, null, 1)}\n`)
    outputs?.file('summary.json', `${JSON.stringify(result.summary, null, 1)}\n`)
    outputs?.file('log.txt', logText(run.log))
    await outputs?.publish()
    events?.publish()
    return result
  } finally {
    await outputs?.discard()
    events?.discard()
    for (const c of captures) c.close()
    await datapaths?.stop()
    await workers?.close()
    sw.close()
  }
}

/** Packets and timed lines, until there are no more, and the time after. */
async function drive(
  run: Run,
  packets: Packets,
  captures: readonly Capture[],
  start: number,
  outputs: Outputs | null,
): Promise<void> {
  const { sw, scenario, options } = run
  const schedule = new Schedule(scenario.steps, start)
  const began = performance.now()
  let received = 0
  run.now = start
  sw.advance(start)
  for (;;) {
    for (let step = schedule.take(run.now, received); step !== null; step = schedule.take(run.now, received))
      runStep(run, step)
    const lines = schedule.nextTime
    const wall = options.pace ? start + (performance.now() - began) * 1e6 : Number.POSITIVE_INFINITY
    const n = packets.next(Math.min(BATCH, schedule.nextPackets - received), Math.min(lines, wall))
    if (n > 0) {
      run.input.inputBatch(packets.port, packets.address, packets.length, packets.time, n)
      received += n
      run.traffic.inPackets[packets.port] += n
      run.traffic.inBytes[packets.port] += packets.bytes
      run.now = packets.time[n - 1]
      sw.advance(run.now)
      run.events?.drain()
      options.progress?.(
        captures.reduce((sum, c) => sum + c.position, 0),
        received,
      )
      const behind = outputs?.behind
      if (behind) await behind
    } else if (options.pace && wall < lines && (packets.more || lines < Number.POSITIVE_INFINITY)) {
      run.now = Math.max(run.now, wall)
      sw.advance(run.now)
      await new Promise((resolve) => setTimeout(resolve, 1))
    } else if (lines < Number.POSITIVE_INFINITY) {
      run.now = Math.max(run.now, lines)
      sw.advance(run.now)
    } else break
  }
  for (const step of schedule.left)
    run.log.push({
      where: step.where,
      words: step.words,
      time: run.now,
      printed: '',
      failed: `did not run: only ${received} packets came`,
    })
  run.now += scenario.finalMs * 1e6
  sw.advance(run.now)
}

/** The control workers, if they are wanted and there is a batch for them. */
function startWorkers({ options, scenario, sw }: Run): ControlWorkers | null {
  const n = options.controlWorkers ?? 1
  if (n < 2) return null
  const first = scenario.steps.filter((s) => s.moment === null)
  const any = [first, scenario.after].some((steps) =>
    steps.some((_, at) => batchLength(steps, at, options.shortestBatch) > 0),
  )
  return any ? openControlWorkers(sw, n) : null
}

/** Lines without a moment, in their order. */
async function runSteps(run: Run, steps: readonly Step[], workers: ControlWorkers | null): Promise<void> {
  for (let at = 0; at < steps.length; ) {
    const n = workers === null ? 0 : batchLength(steps, at, run.options.shortestBatch)
    if (workers === null || n === 0) runStep(run, steps[at++])
    else {
      const batch = steps.slice(at, at + n)
      for (const { line, printed, failed } of await workers.run(batch)) said(run, batch[line], printed, failed)
      at += n
    }
  }
}

function runStep(run: Run, step: Step): void {
  try {
    said(run, step, execute(run.sw, step.words), null)
  } catch (e) {
    if (!(e instanceof LanguageError)) throw e
    said(run, step, '', e.message)
  }
}

/** Logs what a line printed, or why it failed; throws when it may not fail. */
function said(run: Run, step: Step, printed: string, failed: string | null): void {
  if (failed !== null && !step.forgiving) throw new ScenarioError(`${step.where}: ${failed}`)
  if (failed === null && printed === '') return
  run.log.push({ where: step.where, words: step.words, time: run.now, printed, failed: failed ?? '' })
  if (printed !== '') run.options.printed?.(printed)
}

/** Timed lines run late; what is no command at all is found now. */
function checkGrammar(step: Step): void {
  if (step.forgiving) return
  try {
    check(step.words)
  } catch (e) {
    throw e instanceof LanguageError ? new ScenarioError(`${step.where}: ${e.message}`) : e
  }
}

/** 02:00:00:00:00:XX with the number of the port. */
export function portMac(port: number): Uint8Array {
  return Uint8Array.of(2, 0, 0, 0, 0, port)
}
