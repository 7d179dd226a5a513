// The threads of the rule benches: control workers, the event worker, a datapath worker.
//
// A control worker is what each of many `tc -batch` processes is to a kernel: it has a text of its own, parses its lines
// and sends the requests, one by one, each acknowledged before the next. It measures itself: CPU time of its thread, from
// the text to the last acknowledgement. All workers of a job begin together, when GO has its number.

import { Datapath } from '../datapath/chip.ts'
import { eventLoop } from '../encap/encap.ts'
import { flowRequest } from '../flow/request.ts'
import { type Arena, attachArena, reserve } from '../memory/arena.ts'
import { reclaim } from '../memory/pool.ts'
import { driveWorker } from '../memory/thread_record.ts'
import { leave } from '../memory/threads.ts'
import { netdevByIndex, netdevByName, netdevIfindex, netdevName } from '../net/netdev.ts'
import { type Kernel, perform } from '../replay/execute.ts'
import { ask, type Control, openControl } from '../switch/control.ts'
import { add, load, wait } from '../sync/atomic.ts'
import { onParentMessage, postParent, threadData } from '../sync/thread.ts'
import { type Devices, parseCommand } from '../tc/command.ts'
import { CommandText } from '../tc/command_text.ts'
import { viewOf } from '../wire/netlink.ts'
import { tcmHandle } from '../wire/tcm.ts'
import { cpuTime } from './cpu_time.ts'
import { DPORT, source, sport, target } from './rules_workload.ts'

// Words of ctl.
export const READY = 0
export const GO = 1
export const STOP = 2
export const CTL_WORDS = 16

export interface ThreadData {
  readonly role: 'control' | 'events' | 'datapath'
  readonly memory: WebAssembly.Memory
  readonly ctl: Int32Array
  /** What the datapath worker says now and then: its CPU time, nanoseconds, and its packets. */
  readonly told: Float64Array
  /** It sends packets of so many rules from this one on. */
  readonly from: number
  readonly flows: number
}

export interface Job {
  /** GO has this value when it begins. */
  readonly number: number
  /** Lines to execute; without, the rules are dumped. */
  readonly text?: SharedArrayBuffer
}

export interface Done {
  /** Nanoseconds of this thread, milliseconds of the wall. */
  readonly cpu: number
  readonly wall: number
  /** Lines done, or rules dumped. */
  readonly count: number
  readonly error?: string
}

export const clock = (): number => Math.floor(performance.timeOrigin + performance.now())

export const devicesOf = (a: Arena): Devices => ({
  indexOf: (name) => {
    const dev = netdevByName(a, name)
    return dev === 0 ? 0 : netdevIfindex(a, dev)
  },
  nameOf: (i) => {
    const dev = netdevByIndex(a, i)
    return dev === 0 ? `if${i}` : netdevName(a, dev)
  },
})

/** Lines that are done at one time: a look at the clock costs a twentieth of a rule. */
const TOGETHER = 64

/** Executes all lines; returns how many. Throws what a line is refused for. */
function runText(kernel: Kernel, text: SharedArrayBuffer, tick: () => void): number {
  const commands = new CommandText(new Uint8Array(text), kernel.devices)
  let n = 0
  for (let c = commands.next(); c !== undefined; c = commands.next()) {
    if (n++ % TOGETHER === 0) tick()
    perform(kernel, c)
  }
  return n
}

/** Dumps the rules of the hook, as messages; returns how many. */
function dump(c: Control, devices: Devices): number {
  let n = 0
  for (const question of parseCommand(['tc', 'filter', 'show', 'dev', 'p0', 'ingress'], devices).requests)
    flowRequest(c.flow, question, (message) => {
      if (tcmHandle(viewOf(message)) !== 0) n++ // a dump names each pref before its rules
    })
  return n
}

function control(a: Arena, ctl: Int32Array): void {
  let now = clock()
  const tick = (): void => {
    now = clock()
  }
  const c = openControl(a, { now: () => now })
  const kernel: Kernel = { devices: devicesOf(a), ask: (message, reply) => ask(c, message, reply) }
  onParentMessage((message) => {
    if (message === null) {
      leave(a)
      process.exit()
    }
    const job = message as Job
    add(ctl, READY, 1)
    for (let go = load(ctl, GO); go < job.number; go = load(ctl, GO)) wait(ctl, GO, go)
    const [cpu, wall] = [cpuTime(), performance.now()]
    let count = 0
    let error: string | undefined
    try {
      tick()
      count = job.text === undefined ? dump(c, kernel.devices) : runText(kernel, job.text, tick)
    } catch (e) {
      error = (e as Error).message
    }
    postParent({ cpu: cpuTime() - cpu, wall: performance.now() - wall, count, error } satisfies Done)
    reclaim(a)
  })
}

/** Keeps flows on their paths until STOP. */
function events(a: Arena, ctl: Int32Array): void {
  openControl(a, { now: clock })
  add(ctl, READY, 1)
  eventLoop(a, () => load(ctl, STOP) !== 0)
  leave(a)
}

/** Sends packets until STOP. Those on the slow path end where they would go up to the host's thread. */
function datapath(a: Arena, { ctl, told, from, flows }: ThreadData): void {
  openControl(a, { now: clock })
  const dp = new Datapath(a, 0)
  dp.apart()
  driveWorker(a, 0)
  dp.online()
  const frames = 2 ** Math.ceil(Math.log2(flows))
  const table = reserve(a, frames * ENTRY)
  for (let f = 0; f < frames; f++) {
    a.m[(table + f * ENTRY) >> 2] = FRAME
    a.u8.set(frameOf(from + (f % flows)), table + f * ENTRY + 16)
  }
  const source = { address: table, stride: ENTRY, frames, device: netdevByName(a, 'p0') }
  add(ctl, READY, 1)
  let first = 0
  let packets = 0
  while (load(ctl, STOP) === 0) {
    dp.setTime(clock() * 1e6)
    for (let burst = 0; burst < 256; burst++) {
      const { taken } = dp.pump(source, first, 32)
      dp.quiescent()
      packets += taken
      first = (first + taken) & (frames - 1)
    }
    told[0] = cpuTime()
    told[1] = packets
  }
  dp.offline()
  leave(a)
}

const FRAME = 64
const ENTRY = 16 + FRAME

/** A UDP frame that matches rule i. */
function frameOf(i: number): Uint8Array {
  const frame = new Uint8Array(FRAME)
  frame.set([2, 0, 0, 0, 0, 0xaa, 2, 0, 0, 0, 0, 0xbb, 8, 0, 0x45, 0, 0, FRAME - 14, 0, 0, 0x40, 0, 64, 17])
  frame.set([...source(i).split('.'), ...target(i).split('.')].map(Number), 26)
  let sum = 0
  for (let o = 14; o < 34; o += 2) sum += (frame[o] << 8) | frame[o + 1]
  sum = (sum & 0xffff) + (sum >>> 16)
  sum = ~(sum + (sum >>> 16)) & 0xffff
  frame.set([sum >> 8, sum & 255], 24)
  frame.set([sport(i) >> 8, sport(i) & 255, DPORT >> 8, DPORT & 255, 0, FRAME - 34, 0, 0], 34)
  return frame
}

const data = threadData<ThreadData | undefined>()
if (data?.ctl !== undefined) {
  const a = attachArena(data.memory)
  if (data.role === 'control') control(a, data.ctl)
  else if (data.role === 'datapath') datapath(a, data)
  else events(a, data.ctl)
}
