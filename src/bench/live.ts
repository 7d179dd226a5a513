// flowerbed bench live: VXLAN encap from veth to veth, beside the kernel's vxlan device doing the same on the same veths.
//
//   generator s0 ──▶ p0 [ sink | kernel bridge + vxlan | flowerbed ] p1 ──▶ r1, whose address is another one
//
// What a packet costs: all CPU time of it, the generator's and the kernel's in its name, the forwarder's process and the
// kernel's softirq threads, less what the same generator takes for a packet that an XDP program drops at p0. A veth's
// work is done in the context of who sends, so nothing less would be fair to either side. The rounds alternate, and the
// ratio of each round counts: the machine may do other work beside it. The receiver is not addressed, so that its stack
// does not answer: a trap that halves the figure.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { PortError } from '../port/port_error.ts'
import { round } from './result.ts'
import { median } from './statistics.ts'

export interface LiveResult {
  readonly suite: 'live'
  /** Who forwards: kernel, or a port driver. */
  readonly forwarder: string
  readonly size: number
  /** Nanoseconds of forwarding CPU time for a packet: the median of the rounds. */
  readonly nsPerPacket: number
  /** Millions of packets in a second of forwarding CPU time. */
  readonly mpps: number
  /** Packets that came out, millions in a second of wall time. */
  readonly mppsWall: number
  /** The kernel's time by this one's, of the same round: the median. */
  readonly ratio: number
  readonly rounds: number
  /** All that came out was VXLAN of the right size. */
  readonly verified: boolean
}

export interface LiveOptions {
  readonly rounds: number
  readonly ms: number
  readonly drivers: readonly string[]
  readonly size: number
  done(r: LiveResult): void
}

const SINK_MAC = '02:00:00:00:77:77'
const VXLAN_BYTES = 50
/** The frame: to a station behind the tunnel. */
const INNER_MAC = '02:01:00:00:00:00'

interface Ticks {
  readonly sent: number
  readonly came: number
  readonly bytes: number
  /** CPU time, ns. */
  readonly generator: number
  readonly forwarder: number
  readonly softirq: number
  readonly wall: number
}

interface Run {
  readonly ns: number
  readonly wall: number
  readonly bytes: number
}

/** Runs the suite. @throws PortError without root, iproute2 or a kernel that can */
export async function liveBench(o: LiveOptions): Promise<void> {
  if (process.getuid?.() !== 0) throw new PortError('s0', '', 'bench live needs root: it makes network namespaces')
  const runs = new Map<string, Run[]>()
  const forwarders = ['kernel', ...o.drivers]
  for (let i = 0; i < o.rounds; i++) {
    const sink = await once('sink', o, 0)
    for (const f of forwarders) runs.set(f, [...(runs.get(f) ?? []), await once(f, o, sink.ns)])
  }
  const kernel = runs.get('kernel')!
  for (const f of forwarders) {
    const own = runs.get(f)!
    const ns = median(own.map((r) => r.ns))
    o.done({
      suite: 'live',
      forwarder: f,
      size: o.size,
      nsPerPacket: round(ns),
      mpps: round(1000 / ns),
      mppsWall: round(median(own.map((r) => r.wall))),
      ratio: round(median(own.map((r, i) => kernel[i].ns / r.ns))),
      rounds: o.rounds,
      verified: own.every((r) => Math.abs(r.bytes - (o.size + VXLAN_BYTES)) < 1),
    })
  }
}

/** One forwarder, in namespaces of its own, for a while. `sink`: ns that a packet takes without being forwarded. */
async function once(forwarder: string, o: LiveOptions, sink: number): Promise<Run> {
  const w = makeWorld()
  const dir = mkdtempSync(join(tmpdir(), 'flowerbed-live-'))
  const started: ChildProcess[] = []
  try {
    if (forwarder === 'sink') started.push(await helper(w.f, ['drop', 'p0']))
    else if (forwarder === 'kernel') kernelForwarder(w)
    else started.push(await ourForwarder(w, dir, forwarder))
    const generator = startGenerator(w, o.size, forwarder !== 'sink')
    started.push(generator.process)
    const pid = forwarder === 'sink' || forwarder === 'kernel' ? 0 : daemonPid(started[0])
    const read = async (): Promise<Ticks> => ({
      ...(await generator.ask()),
      ...received(forwarder === 'sink' ? w.f : w.s, forwarder === 'sink' ? 'p0' : 'r1'),
      forwarder: pid === 0 ? 0 : processTime(pid),
      softirq: softirqTime(),
      wall: performance.now() * 1e6,
    })
    await sleep(500)
    const a = await read()
    await sleep(o.ms)
    const b = await read()
    const came = b.came - a.came
    if (came < 1000) throw new Error(`bench live: ${forwarder} let ${came} packets through`)
    const cpu = b.generator - a.generator + b.forwarder - a.forwarder + b.softirq - a.softirq
    const sent = b.sent - a.sent
    return {
      ns: (cpu - sink * sent) / came,
      wall: (came / (b.wall - a.wall)) * 1000,
      bytes: (b.bytes - a.bytes) / came,
    }
  } finally {
    for (const p of started) p.kill()
    await sleep(200)
    for (const ns of [w.s, w.f]) ip(['netns', 'del', ns])
    rmSync(dir, { recursive: true, force: true })
  }
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

function ip(words: readonly string[]): string {
  try {
    return execFileSync('ip', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  } catch (e) {
    const { stderr, message } = e as Error & { stderr?: string }
    throw new PortError('', '', `bench live: ip ${words.join(' ')}: ${stderr?.trim() || message}`)
  }
}

interface World {
  /** Both ends: the generator's and the receiver's. */
  readonly s: string
  readonly f: string
}

let number = 0

function makeWorld(): World {
  const name = (letter: string): string => `fbl${process.pid}${letter}${number}`
  number++
  const w = { s: name('s'), f: name('f') }
  for (const ns of Object.values(w)) {
    ip(['netns', 'add', ns])
    ip(['netns', 'exec', ns, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6'])
  }
  const line = (ns: string, text: string): string => ip(['-n', ns, ...text.split(' ')])
  line(w.s, `link add s0 type veth peer name p0 netns ${w.f}`)
  line(w.s, `link add r1 type veth peer name p1 netns ${w.f}`)
  line(w.s, 'link set s0 up')
  line(w.s, 'link set r1 up')
  for (const p of ['p0', 'p1']) line(w.f, `link set ${p} up`)
  return w
}

/** A bridge that sends the station's frames into a vxlan device. */
function kernelForwarder({ f }: World): void {
  for (const text of [
    'addr add 192.168.77.1/24 dev p1',
    `neigh add 192.168.77.2 lladdr ${SINK_MAC} dev p1`,
    'link add vx0 type vxlan id 1 local 192.168.77.1 dstport 4789 nolearning noudpcsum',
    'link add br0 type bridge',
    'link set p0 master br0',
    'link set vx0 master br0',
    'link set vx0 up',
    'link set br0 up',
  ])
    ip(['-n', f, ...text.split(' ')])
  for (const text of [
    `fdb add ${INNER_MAC} dev vx0 master static`,
    `fdb add ${INNER_MAC} dev vx0 self dst 192.168.77.2 vni 1000`,
  ])
    execFileSync('bridge', ['-n', f, ...text.split(' ')])
}

const RULES = `
ip addr add 192.168.77.1/24 dev p1
ip neigh add 192.168.77.2 lladdr ${SINK_MAC} dev p1 nud permanent
ip link add vxlan0 type vxlan external dstport 4789
ip link set vxlan0 up
tc qdisc add dev p0 clsact
tc filter add dev p0 ingress prio 1 protocol ip flower dst_mac ${INNER_MAC} action tunnel_key set id 1000 src_ip 192.168.77.1 dst_ip 192.168.77.2 dst_port 4789 nocsum action mirred egress redirect dev vxlan0
`

async function ourForwarder({ f }: World, dir: string, driver: string): Promise<ChildProcess> {
  const config = {
    socket: join(dir, 'rtnl.sock'),
    ports: [
      { name: 'p0', driver, role: 'access' },
      { name: 'p1', driver, role: 'uplink', neigh: 'own' },
    ],
    scripts: ['rules.tc'],
    workers: 1,
  }
  writeFileSync(join(dir, 'rules.tc'), RULES)
  writeFileSync(join(dir, 'c.yaml'), JSON.stringify(config))
  const command = fileURLToPath(new URL('../../bin/flowerbed', import.meta.url))
  const child = spawn('ip', ['netns', 'exec', f, process.execPath, command, 'run', '--config', join(dir, 'c.yaml')], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  await said(child, '"ready"')
  return child
}

/** `ip netns exec` becomes the program itself. */
const daemonPid = (child: ChildProcess): number => child.pid ?? 0

/** A program of ours on real sockets, in a namespace. */
function program(ns: string, file: string, args: readonly string[]): ChildProcess {
  const source = import.meta.url.endsWith('.ts')
  const path = fileURLToPath(new URL(source ? `./${file}.ts` : `./${file}.js`, import.meta.url))
  const loader = source ? ['--import', 'tsx'] : []
  return spawn('ip', ['netns', 'exec', ns, process.execPath, ...loader, path, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
  })
}

async function helper(ns: string, args: readonly string[]): Promise<ChildProcess> {
  const child = program(ns, 'live_drop', args.slice(1))
  await said(child, 'drops')
  return child
}

/** Waits until a program says a word, or has ended. */
async function said(child: ChildProcess, word: string): Promise<void> {
  let text = ''
  await new Promise<void>((resolve, reject) => {
    const hear = (chunk: Buffer): void => {
      text += chunk
      if (text.includes(word)) resolve()
    }
    child.stdout?.on('data', hear)
    child.stderr?.on('data', hear)
    child.on('exit', () => reject(new PortError('', '', `bench live: ${text.trim()}`)))
  })
  child.removeAllListeners('exit')
}

function startGenerator(
  w: World,
  size: number,
  window: boolean,
): { process: ChildProcess; ask(): Promise<{ sent: number; generator: number }> } {
  const frame = new Uint8Array(size)
  const d = new DataView(frame.buffer)
  frame.set(Buffer.from(INNER_MAC.replaceAll(':', ''), 'hex'), 0)
  frame.set([2, 0, 0, 0, 0, 1], 6)
  d.setUint16(12, 0x0800)
  d.setUint16(14, 0x4500)
  d.setUint16(16, size - 14)
  frame.set([64, 17], 22)
  frame.set([10, 0, 0, 1, 10, 0, 0, 2], 26)
  let sum = 0
  for (let i = 14; i < 34; i += 2) sum += d.getUint16(i)
  d.setUint16(24, ~((sum & 0xffff) + (sum >>> 16)))
  d.setUint16(34, 1000)
  d.setUint16(36, 2000)
  d.setUint16(38, size - 34)
  const child = program(w.s, 'live_generator', ['s0', Buffer.from(frame).toString('hex'), ...(window ? ['r1'] : [])])
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
  return {
    process: child,
    async ask() {
      child.stdin!.write('\n')
      const { value, done } = await lines.next()
      if (done) throw new Error('bench live: the generator ended')
      const { sent, cpu } = JSON.parse(value)
      return { sent, generator: cpu }
    },
  }
}

/** What a device of a namespace has received. */
function received(ns: string, device: string): { came: number; bytes: number } {
  const [link] = JSON.parse(ip(['-n', ns, '-s', '-j', 'link', 'show', 'dev', device]))
  return { came: link.stats64.rx.packets, bytes: link.stats64.rx.bytes }
}

/** CPU time of all threads of a process, ns. */
function processTime(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`)
  return threads.reduce((n, t) => n + schedTime(`/proc/${pid}/task/${t}/schedstat`), 0)
}

function schedTime(file: string): number {
  try {
    return Number(readFileSync(file, 'utf8').split(' ')[0])
  } catch {
    return 0 // it ended
  }
}

/** CPU time of the threads that run softirqs when there are too many of them. */
function softirqTime(): number {
  let n = 0
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue
    try {
      if (readFileSync(`/proc/${pid}/comm`, 'utf8').startsWith('ksoftirqd/')) n += schedTime(`/proc/${pid}/schedstat`)
    } catch {
      // it ended
    }
  }
  return n
}

export const LIVE_HEADER = 'forwarder   size      ns   Mpps per CPU-s  (wall)  against the kernel'

export function liveRow(r: LiveResult): string {
  return [
    r.forwarder.padEnd(10),
    String(r.size).padStart(6),
    r.nsPerPacket.toFixed(0).padStart(8),
    r.mpps.toFixed(3).padStart(17),
    r.mppsWall.toFixed(3).padStart(8),
    `${r.ratio.toFixed(2)}×`.padStart(20),
  ].join('')
}
