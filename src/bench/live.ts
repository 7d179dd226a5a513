// flowerbed bench live: VXLAN encap from veth to veth, beside the kernel's vxlan device doing the same on the same veths.
//
//   generator s0 ──▶ p0 [ kernel bridge + vxlan | flowerbed ] p1 ──▶ r1, whose address is another one
//
// What a packet costs is the CPU time of the threads that forward it, and of no other. p0 and r1 are received from by
// threads of their own (`threaded` NAPI), so that on a veth, too, the sender, the forwarder and the receiver are three:
//
//   the kernel    napi/p0, which does all of it: bridge, route, header, out by p1
//   flowerbed     napi/p0, which hands frames to the socket, and the datapath thread, its system calls included
//
// All of it runs on CPU 1, and what sends and receives on CPU 0. The other threads of the daemon do not forward: they are
// told beside. The generator never has more under way than fits, so that nothing is dropped; the rounds alternate, and the
// ratio of each round counts, since the machine may do other work beside it.
//
// Frames come from a packet socket, as a program on this machine sends them, or (`xdp`) as a NIC's driver has them: not
// yet in an skb. That is what AF_XDP is for; from a socket the kernel must first copy each into a page with headroom.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { sendSegments, setJoinsReceived } from '../port/link.ts'
import { PortError } from '../port/port_error.ts'
import { CLONE_NEWNET, close, O_RDONLY, open, setAffinity, setns } from '../sys/libc.ts'
import { round } from './result.ts'
import { median } from './statistics.ts'

/** Where frames come from: a packet socket, or an XDP program in front, which hands them on as a NIC's driver does. */
export const SOURCES = ['xdp', 'socket'] as const
export type Source = (typeof SOURCES)[number]

export interface LiveResult {
  readonly suite: 'live'
  /** Who forwards: kernel, or a port driver. */
  readonly forwarder: string
  readonly source: Source
  readonly size: number
  /** Nanoseconds of forwarding CPU time for a packet: the median of the rounds. */
  readonly nsPerPacket: number
  /** Of them, the kernel thread's that receives from p0. */
  readonly nsReceive: number
  /** Beside them, the daemon's threads that do not forward. */
  readonly nsOther: number
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
/** A veth counts what it receives by NAPI without it. */
const ETH_LEN = 14
/** The frame: to a station behind the tunnel. */
const INNER_MAC = '02:01:00:00:00:00'
/** Packets before the measure begins, or so many times 50 ms: code is compiled, caches are filled. */
const WARM = 50_000
const WARM_TURNS = 60
/** The CPU that sends and receives, and the one that forwards. */
const ENDS_CPU = 0
const FORWARDING_CPU = 1

interface Run {
  readonly ns: number
  readonly receive: number
  readonly other: number
  readonly wall: number
  readonly bytes: number
}

/** Runs the suite. @throws PortError without root, iproute2 or a kernel that can */
export async function liveBench(o: LiveOptions): Promise<void> {
  if (process.getuid?.() !== 0) throw new PortError('s0', '', 'bench live needs root: it makes network namespaces')
  removeLeftovers()
  const forwarders = ['kernel', ...o.drivers]
  for (const source of SOURCES) {
    const runs = new Map<string, Run[]>()
    for (let i = 0; i < o.rounds; i++)
      for (const f of forwarders) runs.set(f, [...(runs.get(f) ?? []), await once(f, source, o)])
    const kernel = runs.get('kernel')!
    for (const f of forwarders) {
      const own = runs.get(f)!
      const ns = median(own.map((r) => r.ns))
      o.done({
        suite: 'live',
        forwarder: f,
        source,
        size: o.size,
        nsPerPacket: round(ns),
        nsReceive: round(median(own.map((r) => r.receive))),
        nsOther: round(median(own.map((r) => r.other))),
        mpps: round(1000 / ns),
        mppsWall: round(median(own.map((r) => r.wall))),
        ratio: round(median(own.map((r, i) => kernel[i].ns / r.ns))),
        rounds: o.rounds,
        verified: own.every((r) => [0, ETH_LEN].some((n) => Math.abs(r.bytes - (o.size + VXLAN_BYTES - n)) < 1)),
      })
    }
  }
}

/** One forwarder, in namespaces of its own, for a while. */
async function once(forwarder: string, source: Source, o: LiveOptions): Promise<Run> {
  const w = makeWorld()
  const dir = mkdtempSync(join(tmpdir(), 'flowerbed-live-'))
  const started: ChildProcess[] = []
  try {
    let pid = 0
    if (forwarder === 'kernel') kernelForwarder(w)
    else {
      const child = await ourForwarder(w, dir, forwarder)
      started.push(child)
      pid = child.pid ?? 0 // `ip netns exec` becomes the program itself
      for (const t of readdirSync(`/proc/${pid}/task`)) setAffinity(FORWARDING_CPU, Number(t))
    }
    const receives = napiThread(w.f, 'p0', FORWARDING_CPU)
    napiThread(w.s, 'r1', ENDS_CPU)
    started.push(...(await startGenerator(w, o.size, source)))
    const read = (): Reading => ({
      ...received(w.s, 'r1'),
      receive: schedTime(`/proc/${receives}/schedstat`),
      ...(pid === 0 ? { forward: 0, other: 0 } : daemonTime(pid)),
      wall: performance.now() * 1e6,
    })
    for (let i = 0; i < 600 && received(w.s, 'r1').came < (i < WARM_TURNS ? WARM : 1); i++) await sleep(50)
    const before = read()
    await sleep(o.ms)
    const after = read()
    const since = (field: keyof Reading): number => after[field] - before[field]
    const came = since('came')
    if (came < 1000) throw new Error(`bench live: ${forwarder} let ${came} packets through`)
    return {
      ns: (since('receive') + since('forward')) / came,
      receive: since('receive') / came,
      other: since('other') / came,
      wall: (came / since('wall')) * 1000,
      bytes: since('bytes') / came,
    }
  } finally {
    for (const p of started) p.kill()
    await sleep(200)
    for (const ns of [w.s, w.f]) ip(['netns', 'del', ns])
    rmSync(dir, { recursive: true, force: true })
  }
}

/** What has come out, and the CPU time of those who took part so far, ns. */
interface Reading {
  readonly came: number
  readonly bytes: number
  readonly receive: number
  readonly forward: number
  readonly other: number
  readonly wall: number
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

/** Takes away the namespaces of runs that were killed, and ends what still runs in them. */
export function removeLeftovers(): void {
  const all: { name: string }[] = JSON.parse(ip(['-j', 'netns', 'list']) || '[]')
  for (const { name } of all) {
    const [, pid] = /^fbl(\d+)[sf]\d+$/.exec(name) ?? []
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue
    for (const left of ip(['netns', 'pids', name]).split('\n').filter(Boolean)) {
      try {
        process.kill(Number(left), 'SIGKILL')
      } catch {
        // it ended by itself
      }
    }
    ip(['netns', 'del', name])
  }
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
  // A veth receives in a NAPI thread only with GRO, and then only what needs no TSO of the sender.
  within(w.s, () => {
    sendSegments('s0')
    setJoinsReceived('r1', true)
  })
  within(w.f, () => {
    sendSegments('p1')
    setJoinsReceived('p0', true)
  })
  for (const p of ['s0', 'r1']) line(w.s, `link set ${p} up`)
  for (const p of ['p0', 'p1']) line(w.f, `link set ${p} up`)
  return w
}

/** Does something in a network namespace. */
function within(ns: string, what: () => void): void {
  const home = open('/proc/thread-self/ns/net', O_RDONLY)
  const there = open(`/run/netns/${ns}`, O_RDONLY)
  try {
    setns(there, CLONE_NEWNET)
    what()
  } finally {
    setns(home, CLONE_NEWNET)
    close(there)
    close(home)
  }
}

/** A kernel thread on a CPU receives from the device from now on. Returns its number. */
function napiThread(ns: string, device: string, cpu: number): number {
  const before = new Set(napiThreads(device))
  execFileSync('ip', ['netns', 'exec', ns, 'sh', '-c', `echo 1 > /sys/class/net/${device}/threaded`])
  const [thread] = napiThreads(device).filter((t) => !before.has(t))
  if (thread === undefined) throw new PortError(device, '', `bench live: this kernel has no NAPI threads for a veth`)
  setAffinity(cpu, thread)
  return thread
}

const napiThreads = (device: string): number[] =>
  readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid) && nameOf(`/proc/${pid}/comm`).startsWith(`napi/${device}-`))
    .map(Number)

function nameOf(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch {
    return '' // it ended
  }
}

/** A bridge that sends the station's frames into a vxlan device. No firewall looks at them on the way. */
function kernelForwarder({ f }: World): void {
  const off = 'for f in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e $f ] || echo 0 > $f; done'
  ip(['netns', 'exec', f, 'sh', '-c', off])
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

/** A program of ours on real sockets, in a namespace. */
function program(ns: string, file: string, args: readonly string[]): ChildProcess {
  const source = import.meta.url.endsWith('.ts')
  const path = fileURLToPath(new URL(source ? `./${file}.ts` : `./${file}.js`, import.meta.url))
  const loader = source ? ['--import', 'tsx'] : []
  return spawn('ip', ['netns', 'exec', ns, process.execPath, ...loader, path, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
  })
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

/** Sends, as fast as it comes out at r1, until it is killed. Returns the programs that do it. */
async function startGenerator(w: World, size: number, source: Source): Promise<ChildProcess[]> {
  const started: ChildProcess[] = []
  if (source === 'xdp') {
    ip(['-n', w.s, 'link', 'add', 'g0', 'type', 'veth', 'peer', 'name', 'g1'])
    for (const p of ['g0', 'g1']) ip(['-n', w.s, 'link', 'set', p, 'up'])
    const child = program(w.s, 'live_frames', ['g1', 's0'])
    await said(child, 'hands on')
    started.push(child)
  }
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
  const from = source === 'xdp' ? 'g0' : 's0'
  started.push(program(w.s, 'live_generator', [from, Buffer.from(frame).toString('hex'), 'r1', String(ENDS_CPU)]))
  return started
}

/** What a device of a namespace has received. */
function received(ns: string, device: string): { came: number; bytes: number } {
  const [link] = JSON.parse(ip(['-n', ns, '-s', '-j', 'link', 'show', 'dev', device]))
  return { came: link.stats64.rx.packets, bytes: link.stats64.rx.bytes }
}

/** CPU time of the daemon's threads, ns: those that forward, and the others. */
function daemonTime(pid: number): { forward: number; other: number } {
  let forward = 0
  let other = 0
  for (const t of readdirSync(`/proc/${pid}/task`)) {
    const ns = schedTime(`/proc/${pid}/task/${t}/schedstat`)
    if (nameOf(`/proc/${pid}/task/${t}/comm`).startsWith('datapath')) forward += ns
    else other += ns
  }
  return { forward, other }
}

function schedTime(file: string): number {
  try {
    return Number(readFileSync(file, 'utf8').split(' ')[0])
  } catch {
    return 0 // it ended
  }
}

export const LIVE_HEADER =
  'forwarder  frames from  size      ns  (receive, others beside)  Mpps per CPU-s  (wall)  against the kernel'

export function liveRow(r: LiveResult): string {
  return [
    r.forwarder.padEnd(11),
    r.source.padEnd(11),
    String(r.size).padStart(6),
    r.nsPerPacket.toFixed(0).padStart(8),
    `(${r.nsReceive.toFixed(0)}, ${r.nsOther.toFixed(0)})`.padStart(26),
    r.mpps.toFixed(3).padStart(16),
    r.mppsWall.toFixed(3).padStart(8),
    `${r.ratio.toFixed(2)}×`.padStart(20),
  ].join('')
}
