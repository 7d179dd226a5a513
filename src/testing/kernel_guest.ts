// The half of a recording that runs inside the emulator: a real kernel's answer to one scenario.
//
// It runs in a Linux that boot() of kernel_vm.ts started, with the host's files below it, read-only, and one folder to
// write to. For each job there it makes a world: ports p0… are veth ends in one network namespace, their other ends h0… in
// another, from where packets are injected and where tcpdump hears what the ports send. It runs the scenario's lines with the
// distribution's tc and ip, injects the packets one at a time, asks tc for its filters, and writes the answer. Then the
// machine is switched off. Whatever goes wrong is said on the console.
//
// Nothing of the switch is used here: what is recorded must not depend on what it will be compared with.

import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { closeSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { AF_PACKET, bind, clockRealtime, close, ifindexOf, SOCK_RAW, sendto, setns, socket } from '../sys/libc.ts'

/** What the host asks for: a scenario, read. */
export interface Job {
  readonly name: string
  readonly ports: readonly string[]
  readonly lines: readonly JobLine[]
  readonly after: readonly JobLine[]
  readonly packets: readonly JobPacket[]
  readonly startMs: number
  readonly quietMs: number
  readonly finalMs: number
}

export interface JobLine {
  /** `rules.tc:7` */
  readonly where: string
  /** The program, tc or ip, and its arguments. */
  readonly words: readonly string[]
  /** A refusal is part of the answer. */
  readonly forgiving: boolean
}

export interface JobPacket {
  readonly port: number
  /** Base64. */
  readonly bytes: string
  /** Milliseconds after the packet before, of the capture's clock. */
  readonly pause: number
}

/** What the kernel did. Of each port, tcpdump's capture lies beside it, as `<name>.<port>.pcap`. */
export interface Answer {
  /** What stopped it; null when nothing did. */
  readonly error: string | null
  readonly log: string
  /** When each packet was injected, nanoseconds since 1970 of the guest. */
  readonly injected: readonly number[]
  /** By hook, what tc prints. */
  readonly filters: Readonly<Record<string, string>>
  /** What tc prints of qdiscs, with their counters. */
  readonly qdiscs: string
}

const CLONE_NEWNET = 0x40000000
const ETH_P_ALL_BE = 0x0300
/** Reports of multicast listeners, which the host behind the ports sends of its own accord, at its own times. */
const NO_MLD = 'not (ip6[6] == 0 and (ip6[48] == 143 or ip6[48] == 131 or ip6[48] == 132))'
const OFFLOADS = ['tx', 'rx', 'sg', 'tso', 'gso', 'gro', 'txvlan', 'rxvlan'].flatMap((f) => [f, 'off'])

/** The namespace that the machine booted with. */
const outside = openSync('/proc/self/ns/net', 'r')

const say = (text: string): boolean => process.stdout.write(`${text}\n`)
const sleep = (ms: number): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
const ip = (...words: string[]): string => execFileSync('ip', words, { encoding: 'utf8' })

/** This thread, and what it starts, is in that namespace from now on. */
function enter(name: string): void {
  const fd = openSync(`/run/netns/${name}`, 'r')
  setns(fd, CLONE_NEWNET)
  closeSync(fd)
}

function sysctl(path: string, value: number): void {
  writeFileSync(`/proc/sys/net/${path}`, String(value))
}

/** Both namespaces and the veth pairs between them, as the recorded cases describe their world. */
function makeWorld(ports: readonly string[]): void {
  ip('netns', 'add', 'world')
  ip('netns', 'add', 'wire')
  enter('wire')
  for (const which of ['all', 'default']) sysctl(`ipv6/conf/${which}/disable_ipv6`, 1)
  enter('world')
  for (const which of ['all', 'default']) {
    sysctl(`ipv4/conf/${which}/rp_filter`, 0)
    for (const key of ['accept_dad', 'dad_transmits', 'router_solicitations', 'autoconf', 'accept_ra', 'addr_gen_mode'])
      sysctl(`ipv6/conf/${which}/${key}`, 0)
  }
  sysctl('ipv4/icmp_echo_ignore_all', 1)
  sysctl('ipv6/icmp/echo_ignore_all', 1)
  ip('link', 'set', 'lo', 'up')
  const byte = (i: number): string => i.toString(16).padStart(2, '0')
  ports.forEach((port, i) => {
    const near = ['link', 'add', port, 'address', `02:00:00:00:00:${byte(i)}`, 'type', 'veth']
    ip(...near, 'peer', 'name', `h${i}`, 'address', `02:ff:00:00:00:${byte(i)}`, 'mtu', '60000')
    for (const end of [port, `h${i}`]) execFileSync('ethtool', ['-K', end, ...OFFLOADS], { stdio: 'ignore' })
    ip('link', 'set', `h${i}`, 'netns', 'wire')
    ip('-n', 'wire', 'link', 'set', `h${i}`, 'up', 'arp', 'off')
    ip('link', 'set', port, 'up')
  })
}

/** tcpdump at the far end of each port; resolves when all of them listen. */
async function listen(job: Job, share: string): Promise<ChildProcess[]> {
  enter('wire')
  const all = job.ports.map((port, i) => {
    const words = ['-i', `h${i}`, '-Q', 'in', '-U', '--immediate-mode', '-B', '8192', '-s', '0', '-Z', 'root']
    return spawn('tcpdump', [...words, '-w', join(share, `${job.name}.${port}.pcap`), NO_MLD], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
  })
  enter('world')
  await Promise.all(
    all.map(
      (child) =>
        new Promise<void>((resolve, reject) => {
          let said = ''
          child.stderr?.on('data', (d) => {
            said += d
            if (said.includes('listening on')) resolve()
          })
          child.on('exit', () => reject(new Error(`tcpdump: ${said}`)))
        }),
    ),
  )
  return all
}

/** Whether a line may stand in a batch: no refusal is expected, and it begins with its object (`ip -6 …` has an option first). */
const batched = ({ forgiving, words }: JobLine): boolean => !forgiving && !words[1]?.startsWith('-')

/** Runs lines; neighbours that may go to one `tc -batch` or `ip -batch`, because starting a program is slow here. */
function run(lines: readonly JobLine[], log: string[]): void {
  for (let i = 0; i < lines.length; ) {
    const [program] = lines[i].words
    let end = i + 1
    if (batched(lines[i])) while (end < lines.length && batched(lines[end]) && lines[end].words[0] === program) end++
    const some = lines.slice(i, end)
    const input = `${some.map((l) => l.words.slice(1).map(quoted).join(' ')).join('\n')}\n`
    const r =
      some.length === 1
        ? spawnSync(program, lines[i].words.slice(1), { encoding: 'utf8' })
        : spawnSync(program, ['-batch', '-'], { encoding: 'utf8', input })
    const printed = `${r.stdout}${r.stderr}`
    if (printed !== '')
      log.push(`${some[0].where}${some.length > 1 ? ` to ${some[some.length - 1].where}` : ''}: ${printed}`)
    if (r.status !== 0 && !lines[i].forgiving) throw new Error(log[log.length - 1] ?? `${some[0].where}: ${r.error}`)
    i = end
  }
}

const quoted = (word: string): string => (/^[\w.,:/%@=+^-]+$/.test(word) ? word : `"${word}"`)

/** Sends the packets into the far ends, each when the one before has come to rest; returns when each went. */
function inject(job: Job): number[] {
  enter('wire')
  const sockets = job.ports.map((_, i) => {
    const fd = socket(AF_PACKET, SOCK_RAW, 0)
    const address = new DataView(new ArrayBuffer(20)) // struct sockaddr_ll
    address.setUint16(0, AF_PACKET, true)
    address.setUint16(2, ETH_P_ALL_BE, true)
    address.setInt32(4, ifindexOf(`h${i}`), true)
    bind(fd, new Uint8Array(address.buffer), `h${i}`)
    return fd
  })
  enter('world')
  const times: number[] = []
  for (const { port, bytes, pause } of job.packets) {
    if (times.length > 0) sleep(Math.max(job.quietMs, pause))
    const frame = Buffer.from(bytes, 'base64')
    times.push(clockRealtime())
    const n = sendto(sockets[port], frame, frame.length, 0)
    if (n < 0) throw new Error(`packet ${times.length} of ${frame.length} bytes into ${job.ports[port]}: errno ${-n}`)
  }
  sockets.forEach(close)
  return times
}

/** What tc says of every hook that there is. */
function filters(listing: string): Record<string, string> {
  const show = (...of: string[]): string =>
    execFileSync('tc', ['-s', '-j', 'filter', 'show', ...of], { encoding: 'utf8' })
  const out: Record<string, string> = {}
  for (const q of JSON.parse(listing)) {
    if (q.kind !== 'clsact' && q.kind !== 'ingress') continue
    const sides = q.kind === 'clsact' ? ['ingress', 'egress'] : ['ingress']
    for (const side of sides) {
      const block = q[`${side}_block`]
      if (block === undefined) out[`${q.dev}-${side}`] = show('dev', q.dev, side)
      else out[`block-${block}`] = show('block', String(block))
    }
  }
  return out
}

async function answer(job: Job, share: string): Promise<Answer> {
  const log: string[] = []
  let injected: number[] = []
  let found: Record<string, string> = {}
  let qdiscs = '[]'
  let error: string | null = null
  let dumps: ChildProcess[] = []
  try {
    makeWorld(job.ports)
    run(job.lines, log)
    dumps = await listen(job, share)
    sleep(Math.max(job.startMs, 50))
    injected = inject(job)
    sleep(Math.max(job.finalMs, 60))
    // What is printed now is part of the answer, with the counters as the packets left them.
    run(job.after, log)
    qdiscs = execFileSync('tc', ['-s', '-j', 'qdisc', 'show'], { encoding: 'utf8' })
    found = filters(qdiscs)
    sleep(200)
  } catch (e) {
    error = (e as Error).message
  }
  await Promise.all(
    dumps.map(
      (child) =>
        new Promise((resolve) => {
          child.removeAllListeners('exit').on('exit', resolve)
          child.kill('SIGINT')
        }),
    ),
  )
  setns(outside, CLONE_NEWNET)
  ip('netns', 'del', 'world')
  ip('netns', 'del', 'wire')
  return { error, log: log.join(''), injected, filters: found, qdiscs }
}

const share = process.argv[2]
for (const file of readdirSync(share).filter((f) => f.endsWith('.job'))) {
  const job = JSON.parse(readFileSync(join(share, file), 'utf8')) as Job
  const began = performance.now()
  const a = await answer(job, share)
  writeFileSync(join(share, `${job.name}.answer`), JSON.stringify(a))
  say(
    `recorded ${job.name} in ${((performance.now() - began) / 1000).toFixed(1)} s${a.error === null ? '' : `: ${a.error}`}`,
  )
}
