// A daemon under traffic for as long as it takes to see what only time shows: memory that grows, counters that drift.
//
//   npm run soak [-- --seconds 600 --driver af_xdp]
//
// Real interfaces in namespaces (root): TCP both ways through a VXLAN tunnel to the kernel, hashes compared, while rules
// come and go beside the ones that carry the traffic and the next hop of the tunnel goes stale and is confirmed again. At
// the end: the resident memory of the last quarter is that of the second one, what the switch says that it sent is what
// the kernel's device counted, and every packet that ended is under a name.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { openClient } from '../rtnl/client.ts'
import { FrontEnd } from './front_end.ts'
import { getTable } from './http_client.ts'
import { endLiveWorld, makeLiveWorld, transfer } from './live_world.fixture.ts'
import { whyNoNamespaces } from './netns.fixture.ts'

const CHUNK = 8_000_000
const CHURN_MS = 50
/** Bytes more than before that are no growth: heaps breathe. */
const SLACK = 24 << 20

interface PortRow {
  readonly name: string
  readonly tx: { readonly packets: number }
}
interface DropRow {
  readonly name: string
  readonly packets: number
}

export interface SoakResult {
  readonly transfers: number
  readonly churn: number
  readonly memory: readonly number[]
  readonly drops: readonly DropRow[]
  readonly faults: readonly string[]
}

/** Runs for so many seconds. */
export async function soak(seconds: number, driver: string): Promise<SoakResult> {
  const w = await makeLiveWorld(driver, {})
  const faults: string[] = []
  const memory: number[] = []
  let transfers = 0
  let churn = 0
  let running = true
  try {
    const socket = join(w.dir, 'rtnl.sock')
    const http = join(w.dir, 'http.sock')
    const client = await openClient(socket)
    const complain = (text: string): void => {
      faults.push(text.trim())
    }
    const front = new FrontEnd(client, { out: () => {}, err: complain, read: () => '' })
    const mac = /link\/ether (\S+)/.exec(w.b.ip('link show dev b0'))![1]
    const churning = (async () => {
      for (let i = 0; running; i++) {
        const pref = 20 + (i % 50)
        const rule = `filter add dev p0 ingress pref ${pref} protocol ip flower dst_ip 172.16.${i % 250}.1 action drop`
        await front.run('tc', rule.split(' '))
        const nud = i % 2 === 0 ? 'stale' : 'reachable'
        await front.run('ip', `neigh replace 192.168.77.2 lladdr ${mac} dev p1 nud ${nud}`.split(' '))
        await front.run('tc', `filter del dev p0 ingress pref ${pref}`.split(' '))
        churn++
        await new Promise((resolve) => setTimeout(resolve, CHURN_MS))
      }
    })()
    const end = performance.now() + seconds * 1000
    while (performance.now() < end) {
      for (const [from, to, host] of [
        [w.a, w.b, '10.0.0.2'],
        [w.b, w.a, '10.0.0.1'],
      ] as const) {
        const said = await transfer(from, to, host, 65536, CHUNK)
        if (said !== 'same') faults.push(`transfer ${transfers}: ${said}`)
        transfers++
      }
      const rss = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${w.daemon.pid}/status`, 'utf8'))
      memory.push(Number(rss?.[1] ?? 0) * 1024)
    }
    running = false
    await churning
    const { ports } = await getTable<{ ports: PortRow[] }>(http, '/ports')
    const { drops } = await getTable<{ drops: DropRow[] }>(http, '/drops')
    faults.push(...compareCounters(w.f.run('cat', '/sys/class/net/p1/statistics/tx_packets'), ports, drops))
    faults.push(...grown(memory))
    client.close()
    return { transfers, churn, memory, drops, faults }
  } finally {
    running = false
    await endLiveWorld(w)
  }
}

/** What the switch sent by p1 less what its port could not send is what the kernel's device sent. */
function compareCounters(kernel: string, ports: readonly PortRow[], drops: readonly DropRow[]): string[] {
  const unsent = drops.filter((d) => ['tx_full', 'tx_refused', 'port_gone'].includes(d.name))
  const lost = unsent.reduce((n, d) => n + d.packets, 0)
  const sent = ports.find((p) => p.name === 'p1')?.tx.packets ?? -1
  const came = Number(kernel)
  // Drops are of both ports.
  if (came <= sent && came >= sent - lost) return []
  return [`p1 sent ${sent} by the switch's count, ${came} by the kernel's, and ${lost} could not be sent`]
}

const mean = (values: readonly number[]): number => values.reduce((n, v) => n + v, 0) / Math.max(1, values.length)

/** The first quarter is the start: code is compiled, pools fill. */
function grown(memory: readonly number[]): string[] {
  const quarter = Math.floor(memory.length / 4)
  if (quarter < 2) return []
  const early = mean(memory.slice(quarter, 2 * quarter))
  const late = mean(memory.slice(-quarter))
  return late > early + SLACK ? [`memory went from ${early >> 20} to ${late >> 20} MiB`] : []
}

if (process.argv[1]?.includes('soak')) {
  const option = (name: string, value: string): string => {
    const at = process.argv.indexOf(`--${name}`)
    return at < 0 ? value : process.argv[at + 1]
  }
  const missing = whyNoNamespaces()
  if (missing !== '') {
    console.error(`soak: ${missing}`)
    process.exit(3)
  }
  const r = await soak(Number(option('seconds', '600')), option('driver', 'af_xdp'))
  console.log(`${r.transfers} transfers of ${CHUNK} bytes, ${r.churn} rounds of churn`)
  console.log(`memory, MiB: ${r.memory.map((m) => m >> 20).join(' ')}`)
  for (const d of r.drops) if (d.packets > 0) console.log(`${d.name}: ${d.packets}`)
  for (const f of r.faults) console.log(`FAULT ${f}`)
  process.exit(r.faults.length === 0 ? 0 : 1)
}
