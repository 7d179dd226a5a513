// All tables under the names by which they are asked for.
//
//   /flows   /encaps   /neighbours   /connections   /drops   /ports

import { dropReasons } from '../../datapath/drop_reason.ts'
import { encapStats } from '../../encap/encap.ts'
import { encapDetails } from '../../encap/show.ts'
import { nudName } from '../../encap/trace_points.ts'
import { type Arena, workerOf } from '../../memory/arena.ts'
import { counterRead } from '../../memory/counters.ts'
import {
  NETDEV_KIND,
  NETDEV_KIND_PORT,
  NETDEV_LIVE,
  NETDEV_PORT,
  NETDEV_RX_COUNTER,
  NETDEV_TX_COUNTER,
} from '../../memory/layout/netdev.ts'
import { SUPER_WORKERS } from '../../memory/layout/super.ts'
import { WORKER_DROPS } from '../../memory/layout/worker.ts'
import { neighEach, neighSnapshot } from '../../net/neigh.ts'
import { netdevIfindex, netdevIsUp, netdevMac, netdevMtu, netdevName, nextNetdev } from '../../net/netdev.ts'
import { formatInet, formatMac } from '../../tc/address_text.ts'
import { AF_INET6 } from '../../wire/rtm_route.ts'
import { connections } from './connections.ts'
import { flows } from './flows.ts'
import { checkQuery, type Table } from './table.ts'

export interface NeighbourRow {
  readonly address: string
  readonly dev: string
  readonly state: string
  /** Milliseconds since it changed, was last confirmed, was last used. */
  readonly since: number
  readonly confirmed: number
  readonly used: number
  readonly mac: string
  readonly probes: number
  /** Tunnel destinations that it is the next hop of. */
  readonly encaps: number
}

export interface DropRow {
  readonly name: string
  readonly packets: number
  readonly sentence: string
}

export interface PortRow {
  readonly name: string
  readonly port: number
  readonly ifindex: number
  readonly up: boolean
  /** What has become of the device behind it: up, down, no carrier, gone; null: there is none. */
  readonly device: string | null
  readonly mtu: number
  readonly mac: string
  readonly rx: { readonly packets: number; readonly bytes: number }
  readonly tx: { readonly packets: number; readonly bytes: number }
}

/** GET /encaps: the encap entries, what each stands on, and the scheme's own counts. */
const encaps: Table = (c, now, query) => {
  checkQuery(query)
  return { encaps: encapDetails(c.a, now), stats: encapStats(c.a) }
}

/** GET /neighbours: the neighbour table, with the number of tunnel destinations that each is the next hop of. */
const neighbours: Table = (c, now, query) => {
  checkQuery(query)
  const { a } = c
  const uses = new Map<string, number>()
  for (const { neighbour: n } of encapDetails(a, now))
    if (n !== null) uses.set(`${n.address} ${n.dev}`, (uses.get(`${n.address} ${n.dev}`) ?? 0) + 1)
  const rows: NeighbourRow[] = []
  const ago = (t: number): number => Math.max(0, (Math.floor(now) - t) | 0)
  neighEach(a, (n) => {
    const s = neighSnapshot(a, n)
    const address = formatInet(s.address, s.family === AF_INET6 ? 16 : 4)
    const dev = netdevName(a, s.dev)
    rows.push({
      address,
      dev,
      state: nudName(s.state),
      since: ago(s.updated),
      confirmed: ago(s.confirmed),
      used: ago(s.used),
      mac: s.valid ? formatMac(s.mac) : '',
      probes: s.probes,
      encaps: uses.get(`${address} ${dev}`) ?? 0,
    })
  })
  return { neighbours: rows }
}

/** Packets that ended under a reason, in all workers. */
export function dropped(a: Arena, reason: number): number {
  let n = 0
  for (let i = 0; i < a.m[SUPER_WORKERS >> 2]; i++) {
    const w = (a.m[(workerOf(a, i) + WORKER_DROPS) >> 2] + reason * 8) >> 2
    n += (a.m[w] >>> 0) + (a.m[w + 1] >>> 0) * 0x100000000
  }
  return n
}

/** GET /drops: every reason that a packet ended under, with its sentence. */
const drops: Table = (c, _, query) => {
  checkQuery(query)
  return {
    drops: dropReasons
      .map((r) => ({ name: r.name, packets: dropped(c.a, r.code), sentence: r.sentence }))
      .filter((r) => r.packets > 0),
  }
}

/** By PORT_*. */
const DEVICE = [null, 'up', 'down', 'no carrier', 'gone'] as const

/** GET /ports: the switch's ports and what went through them. */
const ports: Table = (c, _, query) => {
  checkQuery(query)
  const { a } = c
  const traffic = (counter: number): PortRow['rx'] => {
    const { packets, bytes } = counterRead(a, counter)
    return { packets, bytes }
  }
  const rows: PortRow[] = []
  for (let dev = nextNetdev(a, 0); dev !== 0; dev = nextNetdev(a, dev)) {
    const word = (field: number): number => a.m[(dev + field) >> 2]
    if (word(NETDEV_KIND) !== NETDEV_KIND_PORT) continue
    rows.push({
      name: netdevName(a, dev),
      port: word(NETDEV_PORT),
      ifindex: netdevIfindex(a, dev),
      up: netdevIsUp(a, dev),
      device: DEVICE[word(NETDEV_LIVE)],
      mtu: netdevMtu(a, dev),
      mac: formatMac(netdevMac(a, dev)),
      rx: traffic(word(NETDEV_RX_COUNTER)),
      tx: traffic(word(NETDEV_TX_COUNTER)),
    })
  }
  return { ports: rows }
}

export const tables: Readonly<Record<string, Table>> = { flows, encaps, neighbours, connections, drops, ports }
