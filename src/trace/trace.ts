// A replay that is told packet by packet: which hooks each met, what it matched and did not match, where it went.
//
// The replay is the same as without: the switch computes, the tracing build of the chip says what it does while it does
// it, and this listens and puts the tables' words to it. Packets go one at a time, so that what is heard belongs to one;
// what a timer sends (a neighbour that is asked again, held packets that end) stands by itself, between packets.

import type { Trace } from '../datapath/chip.ts'
import { dropReasons } from '../datapath/drop_reason.ts'
import { ENTRY_WHY } from '../encap/encap_entry.ts'
import { slowSentence } from '../encap/slow_reason.ts'
import { contextOf } from '../flow/context.ts'
import {
  TC_ACT_GOTO_CHAIN,
  TC_ACT_OK,
  TC_ACT_QUEUED,
  TC_ACT_RECLASSIFY,
  TC_ACT_SHOT,
  TC_ACT_STOLEN,
  TC_ACT_TRAP,
  TC_ACT_UNSPEC,
} from '../memory/layout/action.ts'
import { DROP_MAX } from '../memory/layout/drop.ts'
import { HEADER_LEN, HEADER_OUT_DEV } from '../memory/layout/encap.ts'
import { NETDEV_KIND, NETDEV_KIND_VXLAN } from '../memory/layout/netdev.ts'
import { PKT_DEV } from '../memory/layout/packet.ts'
import * as T from '../memory/layout/trace.ts'
import * as W from '../memory/layout/worker.ts'
import { netdevName } from '../net/netdev.ts'
import { type Observer, type ReplayResult, replay } from '../replay/replay.ts'
import type { Scenario } from '../replay/scenario.ts'
import type { Switch } from '../switch/switch.ts'
import { frameLine } from './frame_line.ts'
import { explain, type Lookup } from './lookup.ts'

/** What happened, in the order in which it did. */
export type Step =
  | { readonly step: 'receive'; readonly device: string; readonly decapsulated: boolean; readonly frame: string }
  | { readonly step: 'hook'; readonly device: string; readonly hook: 'ingress' | 'egress' }
  | ({ readonly step: 'lookup' } & Lookup)
  | { readonly step: 'verdict'; readonly verdict: string }
  | { readonly step: 'encap'; readonly bytes: number; readonly device: string }
  | { readonly step: 'output'; readonly port: string; readonly frame: string }
  | { readonly step: 'host'; readonly device: string; readonly what: string; readonly why?: string }
  | { readonly step: 'drop'; readonly name: string; readonly sentence: string }

export interface PacketTrace {
  /** From 1, in the order of arrival; null: what happened by itself before the next packet. */
  readonly packet: number | null
  /** Nanoseconds of the switch's clock. */
  readonly time: number
  readonly port: string | null
  readonly frame: string | null
  readonly steps: readonly Step[]
}

/** Verdicts of an action list that the packet outlives, or that end it with no other word. */
const VERDICTS: Record<number, string> = {
  [TC_ACT_UNSPEC]: 'continue',
  [TC_ACT_OK]: 'ok',
  [TC_ACT_RECLASSIFY]: 'reclassify',
  [TC_ACT_SHOT]: 'drop',
  [TC_ACT_STOLEN]: 'stolen',
  [TC_ACT_QUEUED]: 'queued',
  [TC_ACT_TRAP]: 'trap',
  [TC_ACT_GOTO_CHAIN]: 'goto chain',
}

const PUNTS: Record<number, string> = {
  [W.PUNT_LOCAL]: 'local input',
  [W.PUNT_TUNNEL]: 'no header is ready: it is sent from there, or waits for the next hop',
  [W.PUNT_MTU]: 'larger than the MTU',
  [W.PUNT_TRAP]: 'trap',
  [W.PUNT_SAMPLE]: 'sampled copy',
  [W.PUNT_INNER_MTU]: 'larger than the tunnel device takes',
}

const drop = (code: number): Step => {
  const reason = dropReasons.find((r) => r.code === code)
  return { step: 'drop', name: reason?.name ?? `reason_${code}`, sentence: reason?.sentence ?? '' }
}

/**
 * Replays a scenario and gives each packet's account to `told`, as soon as it is whole. With `only`, packets other than
 * that one, and what happens by itself, go untold.
 */
export async function trace(scenario: Scenario, told: (t: PacketTrace) => void, only?: number): Promise<ReplayResult> {
  const observer = new Tracer(told, only)
  const result = await replay(scenario, { observer })
  observer.tellRest()
  return result
}

class Tracer implements Observer {
  readonly #told: (t: PacketTrace) => void
  readonly #only: number | undefined
  #sw!: Switch
  /** What is heard of the packet, or between packets; null while nobody wants to know. */
  #steps: Step[] | null = null
  /** Drop counters when that began, and what was heard since. */
  #drops = new Float64Array(DROP_MAX)
  #count = 0

  constructor(told: (t: PacketTrace) => void, only: number | undefined) {
    this.#told = told
    this.#only = only
  }

  open(sw: Switch, ports: readonly string[]): Pick<Switch, 'inputBatch'> {
    this.#sw = sw
    if (this.#only === undefined) this.#begin()
    return {
      inputBatch: (port, address, length, time, n) => {
        for (let i = 0; i < n; i++) this.#input(port, ports[port], address[i], length[i], time[i])
      },
    }
  }

  /** Tells what happened by itself since the last packet. */
  tellRest(): void {
    const steps = this.#end()
    if (steps.length > 0) this.#told({ packet: null, time: this.#sw.now, port: null, frame: null, steps })
  }

  #input(port: number, name: string, address: number, length: number, time: number): void {
    const sw = this.#sw
    const packet = ++this.#count
    const bytes = sw.arena.u8.slice(address, address + length)
    sw.advance(time)
    this.tellRest()
    if (this.#only !== undefined && this.#only !== packet) {
      sw.input(port, bytes)
      return
    }
    this.#begin()
    sw.input(port, bytes)
    this.#told({ packet, time, port: name, frame: frameLine(bytes), steps: this.#end() })
    if (this.#only === undefined) this.#begin()
  }

  #begin(): void {
    this.#steps = []
    for (let i = 0; i < DROP_MAX; i++) this.#drops[i] = this.#sw.datapath.drops(i)
  }

  /** What was heard; packets that ended where the chip does not see it are found by their counters. */
  #end(): Step[] {
    const heard = this.#steps
    if (heard === null) return []
    this.#steps = null
    for (let i = 0; i < DROP_MAX; i++)
      for (let n = this.#sw.datapath.drops(i) - this.#drops[i]; n > 0; n--) heard.push(drop(i))
    return heard
  }

  readonly trace: Trace = (event, pkt, a, b, c, d) => {
    if (this.#steps === null) return
    if (event === T.TRACE_DROP) this.#drops[a]++
    const step = this.#step(event, pkt, a, b, c, d)
    if (step !== null) this.#steps.push(step)
  }

  #step(event: number, pkt: number, a: number, b: number, c: number, d: number): Step | null {
    const { arena, devices } = this.#sw
    const { m } = arena
    switch (event) {
      case T.TRACE_DELIVER: {
        const decapsulated = m[(a + NETDEV_KIND) >> 2] >= NETDEV_KIND_VXLAN
        return { step: 'receive', device: this.#device(a), decapsulated, frame: this.#frame(pkt) }
      }
      case T.TRACE_HOOK:
        return { step: 'hook', device: this.#device(m[(pkt + PKT_DEV) >> 2]), hook: b === 1 ? 'ingress' : 'egress' }
      case T.TRACE_LOOKUP:
        return { step: 'lookup', ...explain(contextOf(arena), a, b, c, d, devices) }
      case T.TRACE_VERDICT:
        return VERDICTS[b] === undefined ? null : { step: 'verdict', verdict: VERDICTS[b] }
      case T.TRACE_PUSH: {
        const device = this.#device(m[(a + HEADER_OUT_DEV) >> 2])
        return { step: 'encap', bytes: m[(a + HEADER_LEN) >> 2], device }
      }
      case T.TRACE_DROP:
        return drop(a)
      default:
        return this.#emitted(pkt, a, b, c)
    }
  }

  #emitted(pkt: number, dev: number, kind: number, arg: number): Step {
    const device = this.#device(dev)
    if (kind === W.EMIT_OUTPUT) return { step: 'output', port: device, frame: this.#frame(pkt) }
    const what = PUNTS[kind] ?? `punt ${kind}`
    const why = kind === W.PUNT_TUNNEL && arg !== 0 ? this.#sw.arena.m[(arg + ENTRY_WHY) >> 2] : 0
    return { step: 'host', device, what, ...(why === 0 ? {} : { why: slowSentence(why) }) }
  }

  #device(dev: number): string {
    return netdevName(this.#sw.arena, dev)
  }

  #frame(pkt: number): string {
    return frameLine(this.#sw.datapath.frame(pkt).slice())
  }
}
