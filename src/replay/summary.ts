// What became of the packets, and how the switch stands at the end: summary.json.
import { type ConnectionView, connectionList } from '../conntrack/show.ts'
import { connectionsOf, earlyDrops } from '../conntrack/table.ts'
import { dropReasons } from '../datapath/drop_reason.ts'
import { type LookupAlarm, lookupAlarm } from '../datapath/lookup_alarm.ts'
import { type EncapView, encapList } from '../encap/show.ts'
import { slowName } from '../encap/slow_reason.ts'
import { idrFind, idrNext } from '../flow/idr.ts'
import { type Arena, workerOf } from '../memory/arena.ts'
import { counterRead } from '../memory/counters.ts'
import * as F from '../memory/layout/flow.ts'
import { NETDEV_EGRESS, NETDEV_INGRESS } from '../memory/layout/netdev.ts'
import { SUPER_WORKERS } from '../memory/layout/super.ts'
import { WORKER_DROPS } from '../memory/layout/worker.ts'
import { netdevName, nextNetdev } from '../net/netdev.ts'
import type { Damage } from '../port/capture/capture.ts'
import type { Switch } from '../switch/switch.ts'
import { execute } from './execute.ts'

export interface Traffic {
  readonly packets: number
  readonly bytes: number
}

export interface FlowSummary {
  /** p0-ingress, vxlan0-egress, block-22 */
  readonly hook: string
  readonly chain: number
  readonly pref: number
  readonly handle: number
  /** The fast path needs nothing of the host; the slow one waits for something. */
  readonly path: 'fast' | 'slow'
  /** Why the flow is on the slow path; empty on the fast one. */
  readonly why: string
  readonly packets: number
  readonly bytes: number
}

export interface Summary {
  readonly packets: { readonly in: number; readonly out: number; readonly dropped: number }
  readonly ports: Record<string, { readonly in: Traffic; readonly out: Traffic }>
  readonly drops: Record<string, number>
  readonly flows: readonly FlowSummary[]
  readonly encaps: readonly EncapView[]
  /** As `ip -j neigh show`. */
  readonly neighbours: readonly unknown[]
  /** Connections that action ct knows: how many, how many were given up for others, and the first of them. */
  readonly connections: ConnectionSummary
  readonly captures: readonly CaptureSummary[]
  /** Only when a lookup had to probe more than 64 masks. */
  readonly longLookups?: LookupAlarm
}

export interface ConnectionSummary {
  readonly count: number
  readonly earlyDrops: number
  readonly list: readonly ConnectionView[]
}

export interface CaptureSummary {
  readonly port: string
  readonly packets: number
  /** Frames of which the capture holds only the beginning: they went in as short as they are there. */
  readonly cut: number
  readonly damage: Damage | null
}

/** Packets and bytes by port, as replay counted them. */
export interface PortTraffic {
  readonly inPackets: Float64Array
  readonly inBytes: Float64Array
  readonly outPackets: Float64Array
  readonly outBytes: Float64Array
}

const total = (counts: Float64Array): number => counts.reduce((a, b) => a + b, 0)

/** The document, without the captures. */
export function summarize(
  sw: Switch,
  names: readonly string[],
  t: PortTraffic,
  captures: readonly CaptureSummary[],
): Summary {
  const alarm = lookupAlarm(sw.arena)
  const drops = dropReasons.map((r) => [r.name, dropped(sw.arena, r.code)] as const).filter(([, n]) => n > 0)
  return {
    packets: { in: total(t.inPackets), out: total(t.outPackets), dropped: drops.reduce((sum, [, n]) => sum + n, 0) },
    ports: Object.fromEntries(
      names.map((name, i) => [
        name,
        {
          in: { packets: t.inPackets[i], bytes: t.inBytes[i] },
          out: { packets: t.outPackets[i], bytes: t.outBytes[i] },
        },
      ]),
    ),
    drops: Object.fromEntries(drops),
    flows: flows(sw.arena),
    encaps: encapList(sw.arena),
    neighbours: JSON.parse(execute(sw, ['ip', '-j', 'neigh', 'show']).trim() || '[]'),
    connections: connections(sw),
    captures,
    ...(alarm === null ? {} : { longLookups: alarm }),
  }
}

/** Connections that summary.json lists: it is no dump of the table. */
const LISTED = 100

function connections(sw: Switch): ConnectionSummary {
  const now = Math.floor(sw.now / 1e6)
  return {
    count: connectionsOf(sw.arena, now).length,
    earlyDrops: earlyDrops(sw.arena),
    list: connectionList(sw.arena, now, LISTED),
  }
}

/** Packets that ended under a reason, in all workers. */
function dropped(a: Arena, reason: number): number {
  let n = 0
  for (let i = 0; i < a.m[SUPER_WORKERS >> 2]; i++) {
    const w = (a.m[(workerOf(a, i) + WORKER_DROPS) >> 2] + reason * 8) >> 2
    n += (a.m[w] >>> 0) + (a.m[w + 1] >>> 0) * 0x100000000
  }
  return n
}

/** Every filter of every hook, in the order in which a dump shows them. */
function flows(a: Arena): FlowSummary[] {
  const out: FlowSummary[] = []
  const seen = new Set<number>()
  for (let dev = nextNetdev(a, 0); dev !== 0; dev = nextNetdev(a, dev))
    for (const [field, side] of [
      [NETDEV_INGRESS, 'ingress'],
      [NETDEV_EGRESS, 'egress'],
    ] as const) {
      const block = a.m[(dev + field) >> 2]
      if (block === 0 || seen.has(block)) continue
      seen.add(block)
      const index = a.m[(block + F.BLOCK_INDEX) >> 2]
      blockFlows(a, block, index === 0 ? `${netdevName(a, dev)}-${side}` : `block-${index}`, out)
    }
  return out
}

function blockFlows(a: Arena, block: number, hook: string, out: FlowSummary[]): void {
  const { m } = a
  for (let chain = m[(block + F.BLOCK_CHAINS) >> 2]; chain !== 0; chain = m[(chain + F.CHAIN_NEXT) >> 2])
    for (let prio = m[(chain + F.CHAIN_PRIOS) >> 2]; prio !== 0; prio = m[(prio + F.PRIO_NEXT) >> 2]) {
      const handles = prio + F.PRIO_HANDLES
      for (let h = idrNext(m, handles, 0); h >= 0; h = idrNext(m, handles, h + 1)) {
        const flow = idrFind(m, handles, h)
        const slow = (m[(flow + F.FLOW_FLAGS) >> 2] & F.FLOW_F_SLOW) !== 0
        const { packets, bytes } = counterRead(a, m[(flow + F.FLOW_COUNTER) >> 2])
        out.push({
          hook,
          chain: m[(chain + F.CHAIN_INDEX) >> 2] >>> 0,
          pref: m[(prio + F.PRIO_PREF) >> 2],
          handle: h,
          path: slow ? 'slow' : 'fast',
          why: slow ? slowName(m[(flow + F.FLOW_WHY) >> 2]) : '',
          packets,
          bytes,
        })
      }
    }
}
