// flowerbed flow show, encap show, neigh show, conntrack show, port show, drops, events, top: what the daemon's tables say, as text for
// people or as the JSON that they are.

import { connectionText } from '../conntrack/show.ts'
import type { ThreadTable } from '../daemon/daemon.ts'
import { followEvents, getTable, HttpRefusal } from '../daemon/http_client.ts'
import type { ConnectionPage } from '../daemon/tables/connections.ts'
import type { EncapDetail, FlowPage, FlowRow } from '../daemon/tables/flows.ts'
import type { DropRow, NeighbourRow, PortRow } from '../daemon/tables/index.ts'
import { SocketError } from './socket_error.ts'
import { UsageError } from './usage_error.ts'

export interface ShowOptions {
  readonly http: string
  readonly json?: boolean
  readonly why?: boolean
  readonly dev?: string
  readonly limit?: number
}

const out = (text: string): void => void process.stdout.write(text)

async function table<T>(o: ShowOptions, path: string): Promise<T> {
  try {
    return await getTable<T>(o.http, path)
  } catch (e) {
    if (e instanceof HttpRefusal) throw new UsageError(e.message)
    if ((e as NodeJS.ErrnoException).syscall !== undefined) throw new SocketError(o.http, e as NodeJS.ErrnoException)
    throw e
  }
}

/** 1.2 s, 340 ms, 2 h 3 min */
export function duration(ms: number): string {
  if (ms < 1000) return `${ms} ms`
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`
  const minutes = Math.floor(ms / 60_000)
  return minutes < 60
    ? `${minutes} min ${Math.floor(ms / 1000) % 60} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

/** Every rule, page by page. */
export async function flowShow(o: ShowOptions): Promise<number> {
  const page = Math.min(o.limit ?? 1000, 1000)
  let left = o.limit ?? Number.POSITIVE_INFINITY
  const all: FlowRow[] = []
  for (let from: number | null = 0; from !== null && left > 0; ) {
    const query = new URLSearchParams({ from: String(from), limit: String(Math.min(page, left)) })
    if (o.why) query.set('why', '1')
    if (o.dev !== undefined) query.set('dev', o.dev)
    const said: FlowPage = await table<FlowPage>(o, `/flows?${query}`)
    if (o.json) all.push(...said.flows)
    else for (const f of said.flows) out(`${flowText(f, o.why === true)}\n`)
    left -= said.flows.length
    from = said.next
  }
  if (o.json) out(`${JSON.stringify({ flows: all })}\n`)
  return 0
}

/** A rule in a line; with `why`, what stands behind it in lines of their own. */
export function flowText(f: FlowRow, why: boolean): string {
  const used = f.used === null ? 'never used' : `used ${duration(f.used)} ago`
  const lines = [
    `${f.hook} chain ${f.chain} pref ${f.pref} handle 0x${f.handle.toString(16)} ${f.protocol} ${f.kind} ${f.path}` +
      `${f.why === null ? '' : ` (${f.why.sentence})`} ${f.packets} packets ${f.bytes} bytes, ${used}`,
  ]
  if (!why) return lines[0]
  lines.push(`  matches ${f.match === '' ? 'every packet of its protocol' : f.match}`)
  lines.push(`  does ${f.actions.length === 0 ? 'nothing: the packet passes' : f.actions.join('; ')}`)
  for (const e of f.encaps) lines.push(...encapText(e).map((line) => `  ${line}`))
  if (f.shadowedBy)
    lines.push(
      `  shadowed: pref ${f.shadowedBy.pref} handle 0x${f.shadowedBy.handle.toString(16)} comes first and takes all of its packets`,
    )
  return lines.join('\n')
}

/** Which of a route's next hops it is. */
const shareText = ({ hops }: NonNullable<EncapDetail['route']>): string =>
  hops === undefined
    ? ''
    : `, one of ${hops.alive} next hops by the hash of the addresses, weight ${hops.weight} of ${hops.weights}`

/** An encap entry, and what it stands on. */
export function encapText(e: EncapDetail): string[] {
  const state = e.fast ? 'fast' : e.valid ? 'held' : 'slow'
  const lines = [
    `encap ${e.id} dev ${e.dev} key ${e.key} src ${e.src} dst ${e.dst}: ${state}${e.why === 'none' ? '' : ` (${e.reason})`}, ` +
      `${e.flows} flows, since ${duration(e.since)}`,
  ]
  const r = e.route
  if (r !== null)
    lines.push(
      r.why === 'none'
        ? `  route via ${r.via} dev ${r.dev} src ${r.src} mtu ${r.mtu}${shareText(r)}`
        : `  route: ${r.why}`,
    )
  const n = e.neighbour
  if (n !== null)
    lines.push(
      `  next hop ${n.address} dev ${n.dev} ${n.state}${n.mac === '' ? '' : ` lladdr ${n.mac}`}${n.state === 'NONE' ? '' : `, since ${duration(n.since)}`}`,
    )
  return lines
}

export async function encapShow(o: ShowOptions): Promise<number> {
  const said = await table<{ encaps: EncapDetail[] }>(o, '/encaps')
  if (o.json) out(`${JSON.stringify(said)}\n`)
  else for (const e of said.encaps) out(`${encapText(e).join('\n')}\n`)
  return 0
}

export async function neighShow(o: ShowOptions): Promise<number> {
  const said = await table<{ neighbours: NeighbourRow[] }>(o, '/neighbours')
  if (o.json) out(`${JSON.stringify(said)}\n`)
  else
    for (const n of said.neighbours)
      out(
        `${n.address} dev ${n.dev} ${n.state}${n.mac === '' ? '' : ` lladdr ${n.mac}`}, since ${duration(n.since)}, ` +
          `${n.encaps} encaps\n`,
      )
  return 0
}

export async function conntrackShow(o: ShowOptions): Promise<number> {
  const said = await table<ConnectionPage>(o, `/connections?limit=${o.limit ?? 100_000}`)
  if (o.json) out(`${JSON.stringify(said)}\n`)
  else for (const c of said.connections) out(`${connectionText(c)}\n`)
  return 0
}

export async function portShow(o: ShowOptions): Promise<number> {
  const said = await table<{ ports: PortRow[] }>(o, '/ports')
  if (o.json) out(`${JSON.stringify(said)}\n`)
  else for (const p of said.ports) out(`${portText(p)}\n`)
  return 0
}

const portText = (p: PortRow): string =>
  `${p.name} ${p.up ? 'up' : 'down'}${p.device === null || p.device === 'up' ? '' : ` (its device: ${p.device})`} mtu ${p.mtu} ${p.mac} rx ${p.rx.packets} packets ${p.rx.bytes} bytes ` +
  `tx ${p.tx.packets} packets ${p.tx.bytes} bytes`

export async function drops(o: ShowOptions): Promise<number> {
  const said = await table<{ drops: DropRow[] }>(o, '/drops')
  if (o.json) out(`${JSON.stringify(said)}\n`)
  else for (const d of said.drops) out(`${String(d.packets).padStart(12)}  ${d.name.padEnd(20)}  ${d.sentence}\n`)
  return 0
}

/** Prints events until the daemon ends. */
export async function events(o: ShowOptions): Promise<number> {
  try {
    for await (const { event, data } of followEvents(o.http)) {
      if (event === 'hello') continue
      if (o.json) out(`${JSON.stringify({ event, ...data })}\n`)
      else if (event === 'lost') out(`${data.events} events were lost: too many for this reader\n`)
      else out(`${(Number(data.time) / 1e9).toFixed(6)}: ${event}: ${data.text}\n`)
    }
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === 'ECONNRESET') return 0
    if ((e as NodeJS.ErrnoException).syscall !== undefined) throw new SocketError(o.http, e as NodeJS.ErrnoException)
    throw e
  }
  return 0
}

export interface TopOptions extends ShowOptions {
  /** Seconds between two views. */
  readonly interval: number
  /** Views; without it until a signal. */
  readonly count?: number
}

/** A live view: ports, the rules that packets went through, encaps, threads, drops. On a terminal it stands in one place. */
export async function top(o: TopOptions): Promise<number> {
  const tty = process.stdout.isTTY === true
  let before = new Map<string, number>()
  for (let n = 0; o.count === undefined || n < o.count; n++) {
    if (n > 0) await new Promise((resolve) => setTimeout(resolve, o.interval * 1000))
    const [{ ports }, { flows }, { encaps }, dropped, threads] = await Promise.all([
      table<{ ports: PortRow[] }>(o, '/ports'),
      table<FlowPage>(o, '/flows?limit=10000'),
      table<{ encaps: EncapDetail[] }>(o, '/encaps'),
      table<{ drops: DropRow[] }>(o, '/drops'),
      table<ThreadTable>(o, '/threads'),
    ])
    const now = new Map<string, number>()
    const rate = (key: string, value: number): number => {
      now.set(key, value)
      return n === 0 ? 0 : Math.max(0, value - (before.get(key) ?? 0)) / o.interval
    }
    const rows = tty
      ? Math.max(4, (process.stdout.rows ?? 24) - ports.length - threads.requests.length - threads.datapath.length - 13)
      : 20
    const lines = [
      `flowerbed: ${flows.length} rules, ${flows.filter((f) => f.path === 'slow').length} slow; ` +
        `${encaps.length} encaps, ${encaps.filter((e) => !e.fast).length} slow`,
      '',
      'PORT             RX/s        TX/s',
      ...ports.map(
        (p) =>
          `${p.name.padEnd(12)} ${rate(`rx ${p.name}`, p.rx.packets).toFixed(0).padStart(8)} ${rate(`tx ${p.name}`, p.tx.packets).toFixed(0).padStart(11)}`,
      ),
      '',
      '  PACKETS/s     PACKETS  RULE',
      ...flows
        .map((f) => ({ f, r: rate(`flow ${f.hook} ${f.chain} ${f.pref} ${f.handle}`, f.packets) }))
        .sort((a, b) => b.r - a.r || b.f.packets - a.f.packets)
        .slice(0, rows)
        .map(
          ({ f, r }) =>
            `${r.toFixed(0).padStart(11)} ${String(f.packets).padStart(11)}  ${f.hook} pref ${f.pref} 0x${f.handle.toString(16)} ${f.path} ${f.match}`,
        ),
      '',
      'THREAD      REQUESTS/s     WAITING  CLIENTS OF ITS OWN',
      ...threads.requests.map(
        (t) =>
          `${t.thread.padEnd(11)} ${rate(`requests ${t.thread}`, t.answered).toFixed(0).padStart(10)} ` +
          `${String(t.waiting).padStart(11)} ${String(t.lent).padStart(20)}`,
      ),
      ...(threads.datapath.length === 0 ? [] : ['', 'WORKER         TURNS/s    BUSY       SLEEPS/s']),
      ...threads.datapath.map((w) => {
        const turns = rate(`turns ${w.worker}`, w.turns)
        const busy = turns === 0 ? 0 : (100 * rate(`bursts ${w.worker}`, w.bursts)) / turns
        return `${String(w.worker).padEnd(11)} ${turns.toFixed(0).padStart(10)} ${busy.toFixed(0).padStart(6)}% ${rate(`sleeps ${w.worker}`, w.sleeps).toFixed(0).padStart(14)}`
      }),
      '',
      `drops: ${dropped.drops.map((d) => `${d.name} ${d.packets}`).join(', ') || 'none'}`,
    ]
    out(`${tty ? '\x1b[H\x1b[2J' : ''}${lines.join('\n')}\n`)
    before = now
  }
  return 0
}
