// A world in which a tunnel's next hop moves, for the test of neighbours' lives and for the command that measures them: a
// stream of numbered datagrams goes from A into a tunnel, and every packet that leaves is captured at the other end.
//
//   A  a0 10.0.0.1 ── p0 [ flowerbed in F ] ┬ p1 10.1.1.1 ── b1 10.1.1.2  B
//      datagrams 0, 1, 2, …                 └ p2 10.1.2.1 ── b2 10.1.2.2  B, 10.9.9.9: the tunnel's end
//
// F's addresses, routes and neighbours are its kernel's, and are changed by `ip`. The tunnel's address is in B behind a
// route by p1. With `family` 6 the underlay is fd00:1::1 and so on. Timers of neighbours are short.

import type { ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openCapture } from '../port/capture/capture.ts'
import { getTable } from './http_client.ts'
import { makeNamespace, type Namespace, removeNamespaces, veth } from './netns.fixture.ts'
import { said } from './process.fixture.ts'
import type { EncapDetail, FlowPage } from './tables/flows.ts'

const command = fileURLToPath(new URL('../../bin/flowerbed', import.meta.url))

/**
 * Milliseconds: the least that leave a loaded machine the time to follow. The kernel makes a time of reachability of 0.5 to
 * 1.5 times the one; were it shorter than the delay, an IPv6 neighbour would never go stale: its own probe counts as use.
 */
const REACHABLE = 7000
const PROBE = 3000
const RETRANS = 250

const SENDER = `
const s = require('node:dgram').createSocket('udp4')
let n = 0
const b = Buffer.alloc(18)
const gap = Number(process.argv[1])
const began = performance.now()
setInterval(() => {
  for (let due = (performance.now() - began) / gap; n < due; n++) { b.writeUInt32BE(n); s.send(Buffer.from(b), 9, '10.0.0.2') }
}, gap)`

/** A packet as it left. */
export interface Seen {
  /** Number of the datagram inside. */
  readonly number: number
  /** Nanoseconds since 1970, of the capture. */
  readonly time: number
  /** Where: 1 or 2, the uplink. */
  readonly uplink: number
  readonly mac: string
}

export interface MovingWorld {
  readonly family: 4 | 6
  readonly f: Namespace
  readonly b: Namespace
  readonly http: string
  readonly pid: number
  log(): string
  /** Next hop by an uplink, as `ip` says it. */
  nexthop(uplink: number): string
  /** The tunnel's end, with its prefix length. */
  readonly end: string
  /** Packets so far, in the order of the datagrams' numbers. */
  seen(): Seen[]
  /** As the daemon shows it. */
  encap(): Promise<EncapDetail>
  flow(): Promise<FlowPage['flows'][number]>
  /** A datagram every so many milliseconds, from number 0. */
  send(gap: number): void
  silence(): void
  close(): Promise<void>
}

export async function makeMovingWorld(driver: string, family: 4 | 6): Promise<MovingWorld> {
  const a = makeNamespace('a')
  const f = makeNamespace('f')
  const b = makeNamespace('b')
  f.run('sh', '-c', 'echo 1 > /proc/sys/net/ipv6/conf/all/keep_addr_on_down')
  f.run('sh', '-c', 'echo 1 > /proc/sys/net/ipv6/conf/default/keep_addr_on_down')
  const net = (i: number, host: number): string => (family === 4 ? `10.1.${i}.${host}` : `fd00:${i}::${host}`)
  const [end, source] = family === 4 ? ['10.9.9.9', '10.8.8.8'] : ['fd00:9::9', 'fd00:8::8']
  const [one, length] = family === 4 ? [32, 24] : [128, 64]
  veth(a, 'a0', f, 'p0')
  a.ip('addr add 10.0.0.1/24 dev a0')
  a.ip('neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev a0 nud permanent')
  for (const i of [1, 2]) {
    veth(b, `b${i}`, f, `p${i}`, 1600)
    b.ip(`addr add ${net(i, 2)}/${length} dev b${i} nodad`)
    f.ip(`addr add ${net(i, 1)}/${length} dev p${i} nodad`)
    const cache = family === 4 ? 'arp_cache' : 'ndisc_cache'
    f.ip(`ntable change name ${cache} dev p${i} base_reachable ${REACHABLE} delay_probe ${PROBE} retrans ${RETRANS}`)
  }
  b.ip(`addr add ${end}/${one} dev lo`)
  b.ip(`link add vx0 type vxlan id 7 local ${end} dstport 4789`)
  b.ip('link set vx0 up')
  b.ip(`route add ${source}/${one} via ${net(1, 1)}`)
  f.ip(`addr add ${source}/${one} dev lo`)
  f.ip(`route add ${end}/${one} via ${net(1, 2)} dev p1`)

  const dir = mkdtempSync(join(tmpdir(), 'flowerbed-moving-'))
  writeFileSync(
    join(dir, 'setup.tc'),
    `ip link add vxlan0 type vxlan external dstport 4789
ip link set vxlan0 up
tc qdisc add dev p0 clsact
tc filter add dev p0 ingress prio 1 protocol ip flower ip_proto udp action tunnel_key set id 7 src_ip ${source} dst_ip ${end} dst_port 4789 action mirred egress redirect dev vxlan0
tc filter add dev p0 ingress prio 2 protocol all flower action drop
`,
  )
  const uplink = (name: string): object => ({ name, driver, role: 'uplink' })
  writeFileSync(
    join(dir, 'c.yaml'),
    JSON.stringify({
      socket: join(dir, 's'),
      ports: [{ name: 'p0', driver }, uplink('p1'), uplink('p2')],
      scripts: ['setup.tc'],
      workers: 1,
      control_workers: 1,
    }),
  )
  const children: ChildProcess[] = []
  const start = (
    ns: Namespace,
    ready: string,
    program: string,
    ...args: string[]
  ): Promise<{ readonly text: string }> => {
    const child = ns.start(program, ...args)
    children.push(child)
    return said(child, ready)
  }
  const files = [1, 2].map((i) => join(dir, `b${i}.pcap`))
  const filter = [
    '-Z',
    'root',
    '-U',
    '--immediate-mode',
    '-s',
    '160',
    '--time-stamp-precision=nano',
    'dst',
    'port',
    '4789',
  ]
  await Promise.all(
    files.map((file, i) => start(b, 'listening on', 'tcpdump', '-i', `b${i + 1}`, '-w', file, ...filter)),
  )
  const daemon = await start(f, '"ready"', process.execPath, command, 'run', '--config', join(dir, 'c.yaml'))
  const http = join(dir, 'http.sock')
  let sender: ChildProcess | undefined
  return {
    family,
    f,
    b,
    http,
    pid: children[2].pid!,
    log: () => daemon.text,
    nexthop: (i) => net(i, 2),
    end: `${end}/${one}`,
    seen: () => files.flatMap((file, i) => read(file, i + 1, family)).sort((x, y) => x.number - y.number),
    encap: async () => (await getTable<{ encaps: EncapDetail[] }>(http, '/encaps')).encaps[0],
    flow: async () => (await getTable<FlowPage>(http, '/flows?why=1')).flows[0],
    send(gap) {
      sender = a.start(process.execPath, '-e', SENDER, String(gap))
    },
    silence: () => void sender?.kill('SIGKILL'),
    async close() {
      sender?.kill('SIGKILL')
      for (const c of children) c.kill('SIGTERM')
      await Promise.all(children.map((c) => (c.exitCode === null ? new Promise((r) => c.once('exit', r)) : undefined)))
      removeNamespaces()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

/** What a capture has so far: a record that is being written is left for the next time. */
function read(file: string, uplink: number, family: 4 | 6): Seen[] {
  if (statSync(file).size < 24) return []
  const out: Seen[] = []
  const window = new Uint8Array(1 << 20)
  const d = new DataView(window.buffer)
  const capture = openCapture(file, { window })
  // Ethernet, IP, UDP, VXLAN, Ethernet, IPv4, UDP.
  const inside = 14 + (family === 4 ? 20 : 40) + 8 + 8 + 14 + 20 + 8
  try {
    for (let n = capture.next(); n > 0; n = capture.next())
      for (let i = 0; i < n; i++) {
        const o = capture.frames.offset[i]
        if (capture.frames.length[i] < inside + 4) continue
        out.push({
          number: d.getUint32(o + inside),
          time: capture.epoch * 1e9 + capture.frames.time[i],
          uplink,
          mac: Buffer.from(window.subarray(o, o + 6))
            .toString('hex')
            .replace(/..(?=.)/g, '$&:'),
        })
      }
  } finally {
    capture.close()
  }
  return out
}

/** The paths that packets took, one after the other: each once for all packets that took it in a row. */
export const steps = (seen: readonly Seen[], of: (s: Seen) => string | number): (string | number)[] =>
  seen.map(of).filter((x, i, all) => i === 0 || x !== all[i - 1])
