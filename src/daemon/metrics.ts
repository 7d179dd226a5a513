// What Prometheus is told: numbers read from the shared memory when it asks. The only file that knows prom-client.
//
// Nothing is counted here. Reading takes no lock and stops nobody; a number is one that was true during the request. What
// takes a walk through a table is asked of a control worker, as GET /encaps and /neighbours are.

import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import { dropReasons } from '../datapath/drop_reason.ts'
import { encapStats } from '../encap/encap.ts'
import type { EncapView } from '../encap/show.ts'
import type { Arena } from '../memory/arena.ts'
import { counterRead } from '../memory/counters.ts'
import { NETDEV_KIND, NETDEV_KIND_LOOPBACK, NETDEV_RX_COUNTER, NETDEV_TX_COUNTER } from '../memory/layout/netdev.ts'
import { inUse, TAG_FLOW, tagNames } from '../memory/pool.ts'
import { netdevIsUp, netdevName, nextNetdev } from '../net/netdev.ts'
import { journalStats } from '../rtnl/journal.ts'
import { SEAT_BURSTS, SEAT_SLEEPS, SEAT_TURNS, type Seat } from './datapath_protocol.ts'
import type { RequestCount } from './seats.ts'
import { dropped, type NeighbourRow } from './tables/index.ts'

export interface MetricsOptions {
  readonly arena: Arena
  /** Is there a journal? */
  readonly journal: boolean
  /** fdatasyncs of it so far. */
  syncs(): number
  /** Clients of the rtnetlink socket. */
  clients(): number
  /** Of datapath workers 1, 2, … */
  readonly seats: readonly Seat[]
  /** Threads that do requests. */
  requests(): readonly RequestCount[]
  /** A table of tables/index.ts. */
  table(name: 'encaps' | 'neighbours'): Promise<unknown>
}

/** The text and its content type, as HTTP wants them. */
export function openMetrics(o: MetricsOptions): () => Promise<{ type: string; text: string }> {
  const { arena: a } = o
  const registry = new Registry()
  collectDefaultMetrics({ register: registry, prefix: 'flowerbed_' })
  const registers = [registry]
  const counter = (name: string, help: string, labelNames: string[], read: (c: Counter) => void): void => {
    new Counter({
      name: `flowerbed_${name}`,
      help,
      labelNames,
      registers,
      collect() {
        this.reset()
        read(this)
      },
    })
  }
  const gauge = (name: string, help: string, labelNames: string[], read: (g: Gauge) => void | Promise<void>): void => {
    new Gauge({
      name: `flowerbed_${name}`,
      help,
      labelNames,
      registers,
      async collect() {
        this.reset()
        await read(this)
      },
    })
  }
  const perWorker = (name: string, help: string, field: number): void =>
    counter(`datapath_${name}_total`, help, ['worker'], (c) => {
      for (const [i, { state }] of o.seats.entries()) c.inc({ worker: String(i + 1) }, a.m[(state + field) >> 2] >>> 0)
    })
  const devices = (each: (name: string, dev: number) => void): void => {
    for (let dev = nextNetdev(a, 0); dev !== 0; dev = nextNetdev(a, dev))
      if (a.m[(dev + NETDEV_KIND) >> 2] !== NETDEV_KIND_LOOPBACK) each(netdevName(a, dev), dev)
  }
  for (const [way, field] of [
    ['receive', NETDEV_RX_COUNTER],
    ['transmit', NETDEV_TX_COUNTER],
  ] as const)
    for (const what of ['packets', 'bytes', 'drops'] as const)
      counter(`device_${way}_${what}_total`, `${what} that a device ${way}s`, ['device'], (c) =>
        devices((device, dev) => c.inc({ device }, counterRead(a, a.m[(dev + field) >> 2])[what])),
      )
  gauge('device_up', 'whether a device is up', ['device'], (g) =>
    devices((device, dev) => g.set({ device }, netdevIsUp(a, dev) ? 1 : 0)),
  )
  counter('drops_total', 'packets that ended without being sent, by reason', ['reason'], (c) => {
    for (const r of dropReasons) c.inc({ reason: r.name }, dropped(a, r.code))
  })
  counter('encap_total', 'what the encap machine did', ['what'], (c) => {
    for (const [what, n] of Object.entries(encapStats(a))) c.inc({ what }, n)
  })
  gauge('rules', 'rules in the tables', [], (g) => g.set(inUse(a)[tagNames[TAG_FLOW]] ?? 0))
  gauge('objects', 'what the shared memory holds, by what it is for', ['kind'], (g) => {
    const used = inUse(a)
    for (const kind of tagNames) g.set({ kind }, used[kind] ?? 0)
  })
  gauge('encaps', 'tunnel destinations, by path; slow ones by why', ['path', 'why'], async (g) => {
    const { encaps } = (await o.table('encaps')) as { encaps: readonly EncapView[] }
    for (const e of encaps) g.inc({ path: e.fast ? 'fast' : 'slow', why: e.why })
  })
  gauge('neighbours', 'neighbours, by device and state', ['device', 'state'], async (g) => {
    const { neighbours } = (await o.table('neighbours')) as { neighbours: readonly NeighbourRow[] }
    for (const n of neighbours) g.inc({ device: n.dev, state: n.state })
  })
  perWorker('turns', 'turns of a datapath thread', SEAT_TURNS)
  perWorker('bursts', 'turns that found packets', SEAT_BURSTS)
  perWorker('sleeps', 'how often a datapath thread slept until something came', SEAT_SLEEPS)
  counter('requests_total', 'requests that a thread has answered', ['thread'], (c) => {
    for (const { thread, answered } of o.requests()) c.inc({ thread }, answered)
  })
  gauge('requests_waiting', 'requests that a thread has not answered yet', ['thread'], (g) => {
    for (const { thread, waiting } of o.requests()) g.set({ thread }, waiting)
  })
  gauge('clients_lent', 'clients that a thread serves by itself', ['thread'], (g) => {
    for (const { thread, lent } of o.requests()) g.set({ thread }, lent)
  })
  counter('thread_deaths_total', 'threads that died and were replaced', ['thread'], (c) => {
    for (const { thread, deaths } of o.requests()) c.inc({ thread }, deaths)
  })
  gauge('clients', 'clients of the rtnetlink socket', [], (g) => g.set(o.clients()))
  if (o.journal) {
    gauge('journal_bytes', 'bytes of the journal', ['part'], (g) => {
      const s = journalStats(a)
      g.set({ part: 'snapshot' }, s.snapshotBytes)
      g.set({ part: 'tail' }, s.bytes - s.snapshotBytes)
    })
    counter('journal_changes_total', 'changes written down', [], (c) => c.inc(journalStats(a).written))
    counter('journal_syncs_total', 'times the journal was synced to the disk', [], (c) => c.inc(o.syncs()))
  }
  return async () => ({ type: registry.contentType, text: await registry.metrics() })
}
