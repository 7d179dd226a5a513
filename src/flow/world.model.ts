// A world for the tests of flow/: a switch without datapath, spoken to in tc's and ip's language, on any thread.
//
// The lines become rtnetlink messages as the command line makes them, and the answers are printed as tc prints them. So
// a test here is a scenario and what tc says about it.

import { encapInit } from '../encap/encap.ts'
import { type Arena, attachArena, createArena } from '../memory/arena.ts'
import { type Counter, counterRead } from '../memory/counters.ts'
import { NETDEV_INGRESS } from '../memory/layout/netdev.ts'
import { inUse, reclaim } from '../memory/pool.ts'
import { addPort, netInit } from '../net/link.ts'
import { netdevByIndex, netdevByName, netdevIfindex, netdevName } from '../net/netdev.ts'
import { isNetRequest, type NetContext, netRequest } from '../net/request.ts'
import { type Devices, parseCommand, printReplies, refusalText, warningText } from '../tc/command.ts'
import { splitLine } from '../tc/line.ts'
import { tunnelNamed, tunnelOf } from '../tunnel/index.ts'
import { msgType, setMsgSeq, viewOf } from '../wire/netlink.ts'
import { NetlinkError } from '../wire/netlink_error.ts'
import { type FlowContext, flowInit } from './context.ts'
import { openFlow } from './open.ts'
import { flowRequest } from './request.ts'

export interface World {
  readonly a: Arena
  readonly c: FlowContext
  readonly clock: { now: number }
  readonly devices: Devices
  readonly notified: Uint8Array[]
  /** Leak report of the world before the test. */
  base: Record<string, number>
  /** Runs one line; what it prints, or throws what tc says on stderr. */
  tc(line: string): string
  /** As `tc` in JSON with statistics. */
  // biome-ignore lint/suspicious/noExplicitAny: tc's JSON
  json(line: string): any
  /** The messages of the answer. */
  replies(line: string): Uint8Array[]
}

export interface WorldOptions {
  /** PROFILE_*. */
  profile?: number
  /** p0, p1, … */
  ports?: number
  /** The world that another thread made. */
  memory?: WebAssembly.Memory
  /** A new arena to make it in. */
  arena?: Arena
  notify?: boolean
  bytes?: number
  counters?: number
}

export function makeWorld(o: WorldOptions = {}): World {
  const a = o.memory
    ? attachArena(o.memory)
    : (o.arena ??
      createArena({ bytes: o.bytes ?? 512 << 20, counters: o.counters ?? 1 << 20, packets: 16, threads: 8 }))
  const clock = { now: 1000 }
  const notified: Uint8Array[] = []
  if (!o.memory) {
    netInit(a)
    encapInit(a)
    flowInit(a, o.profile)
  }
  const notify = o.notify ? (m: Uint8Array) => notified.push(m) && undefined : undefined
  const c = openFlow(a, { now: () => clock.now, ...(notify ? { notify } : {}) })
  const net: NetContext = { a, now: () => clock.now, kinds: { named: tunnelNamed, of: tunnelOf } }
  if (!o.memory) for (let i = 0; i < (o.ports ?? 4); i++) addPort(a, `p${i}`, i, Uint8Array.of(2, 0, 0, 0, 0, i))
  reclaim(a)
  const devices: Devices = {
    indexOf: (name) => {
      const dev = netdevByName(a, name)
      return dev === 0 ? 0 : netdevIfindex(a, dev)
    },
    nameOf: (i) => netdevName(a, netdevByIndex(a, i)),
  }
  const execute = (line: string) => {
    const command = parseCommand(splitLine(line), devices)
    c.warning = ''
    const out: Uint8Array[] = []
    try {
      for (const message of command.requests) {
        setMsgSeq(viewOf(message), 0, 7)
        const reply = (m: Uint8Array): void => {
          out.push(m)
        }
        if (isNetRequest(msgType(viewOf(message)))) netRequest(net, message, reply)
        else flowRequest(c, message, reply)
      }
    } catch (e) {
      if (e instanceof NetlinkError) throw refusalText(command, e.errno, e.message)
      throw e
    }
    return { command, out }
  }
  return {
    a,
    c,
    clock,
    devices,
    notified,
    base: inUse(a),
    tc(line) {
      const { command, out } = execute(line)
      const warning = c.warning === '' ? '' : `${warningText(c.warning)}\n`
      return warning + printReplies(command, out, devices)
    },
    json(line) {
      const { command, out } = execute(line)
      return JSON.parse(printReplies(command, out, devices, { json: true, stats: true }))
    },
    replies: (line) => execute(line).out,
  }
}

/** Everything printed that has to do with time or with a machine is left. */
export const lines = (text: string): string[] =>
  text
    .split('\n')
    .map((l) => l.trim())
    .filter((l) => l !== '')

/** The block of a port's ingress hook. */
export const ingressOf = (w: World, port: string): number => w.a.m[(netdevByName(w.a, port) + NETDEV_INGRESS) >> 2]

/** What is in use beyond `base`, after everything that waited for a grace period is freed. */
export function leaks(w: World): Record<string, number> {
  reclaim(w.a)
  const now = inUse(w.a)
  const left: Record<string, number> = {}
  for (const k of new Set([...Object.keys(now), ...Object.keys(w.base)])) {
    const n = (now[k] ?? 0) - (w.base[k] ?? 0)
    if (n !== 0) left[k] = n
  }
  return left
}

export const counter = (w: World, id: number): Counter => counterRead(w.a, id)

/** What is in use now is not a leak. */
export function rebase(w: World): void {
  reclaim(w.a)
  w.base = inUse(w.a)
}
