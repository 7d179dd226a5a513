// bench peers: other switches beside this one, on the same machine, in the same minutes.
//
// The peers are measured by shell scripts, one a switch, each of which prints its figures on its last line; which
// folder they are in, `--scripts` says. A case is run round by round, everybody in turn, so that all meet the same
// neighbours on a shared machine; the medians are compared. A peer that is not installed is named, with what it lacks.
//
//   … 3.56 Mpps (3.23-3.89), 657 cycles/packet (…), 3.74 Mpps/CPU-s, …

import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync } from 'node:fs'
import { join } from 'node:path'
import { BenchError } from './bench_error.ts'
import { median, spread } from './statistics.ts'

interface Peer {
  readonly name: string
  /** Programs and files that it needs; the first that is missing is its excuse. */
  readonly needs: readonly string[]
  /** What runs before the rounds, and what each round runs: a script's name and arguments. */
  readonly before: readonly string[] | null
  readonly run: readonly string[]
}

/** 64-byte frames, VXLAN encap, a rule for each of so many flows. */
const peersOf = (flows: number): readonly Peer[] => [
  {
    name: 'ovs-dpdk',
    needs: ['ovs-vsctl', '/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk', 'ip', 'python3'],
    before: null,
    run: ['01-ovs-dpdk.sh', 'vxlan', '64', String(flows)],
  },
  {
    name: 'kernel-vxlan',
    needs: ['ip', 'bridge', 'gcc', 'clang', 'ethtool', '/usr/include/bpf/libbpf.h'],
    // The sender's own cost, which the next one subtracts.
    before: ['04-kernel.sh', 'sink', '64', String(flows)],
    run: ['04-kernel.sh', 'vxlan-fdb', '64', String(flows)],
  },
  {
    name: 'xdp-program',
    needs: ['ip', 'gcc', 'clang', 'ethtool', '/usr/include/bpf/libbpf.h'],
    before: ['04-kernel.sh', 'sink', '64', String(flows)],
    run: ['04-kernel.sh', 'vxlan-xdp', '64', String(flows)],
  },
  { name: 'vpp', needs: ['vpp', '06-vpp.sh'], before: null, run: ['06-vpp.sh', 'vxlan', '64', String(flows)] },
]

export interface PeerResult {
  readonly suite: 'peers'
  readonly tunnel: 'vxlan'
  readonly case: string
  readonly size: number
  readonly flows: number
  /** Packets in a second of the forwarding thread's CPU time, millions: the median of the rounds. */
  readonly mpps: number
  readonly cyclesPerPacket: number
  readonly spread: number
  readonly runs: number
  /** Our rate by this one's: above 1 is ahead of it. */
  readonly ratio: number
}

/** Why a peer cannot be measured. */
export interface Absent {
  readonly name: string
  readonly why: string
}

export interface PeersOptions {
  readonly scripts: string
  /** Folders where programs are. */
  readonly path: readonly string[]
  readonly rounds: number
  readonly flows: readonly number[]
  /** Measures us once: millions of packets in a second of CPU time, and cycles for a packet. */
  ours(flows: number): { readonly mpps: number; readonly cycles: number }
  done(r: PeerResult): void
  absent(a: Absent): void
}

/** A script that has printed nothing after that long is stuck. */
const PATIENCE_MS = 300_000

/** Measures every case. Throws BenchError when the folder of scripts is not there. */
export function peersBench(o: PeersOptions): void {
  if (!existsSync(o.scripts))
    throw new BenchError(`${o.scripts}: no folder of scripts that measure peers (--scripts DIR)`)
  const missing = new Map<string, string>()
  for (const flows of o.flows) {
    const here = peersOf(flows).filter((p) => {
      const why = missing.get(p.name) ?? lacks(p, o)
      if (why !== undefined && !missing.has(p.name)) o.absent({ name: p.name, why })
      if (why !== undefined) missing.set(p.name, why)
      return why === undefined
    })
    for (const p of here) if (p.before !== null) lastLine(o.scripts, p.before)
    const seen = new Map<string, Measured[]>(['flowerbed', ...here.map((p) => p.name)].map((name) => [name, []]))
    for (let i = 0; i < o.rounds; i++) {
      seen.get('flowerbed')?.push(o.ours(flows))
      for (const p of here) {
        const line = lastLine(o.scripts, p.run)
        const m = figures(line)
        if (m === null) o.absent({ name: p.name, why: `${p.run.join(' ')} printed no figure: ${line}` })
        else seen.get(p.name)?.push(m)
      }
    }
    report(seen, flows, o)
  }
}

interface Measured {
  readonly mpps: number
  readonly cycles: number
}

function report(seen: ReadonlyMap<string, readonly Measured[]>, flows: number, o: PeersOptions): void {
  const ours = median((seen.get('flowerbed') ?? []).map((m) => m.mpps))
  for (const [name, runs] of seen) {
    if (runs.length === 0) continue
    const mpps = runs.map((m) => m.mpps)
    o.done({
      suite: 'peers',
      tunnel: 'vxlan',
      case: name,
      size: 64,
      flows,
      mpps: Number(median(mpps).toPrecision(3)),
      cyclesPerPacket: Math.round(median(runs.map((m) => m.cycles))),
      spread: Number(spread(mpps).toPrecision(2)),
      runs: runs.length,
      ratio: Number((ours / median(mpps)).toPrecision(3)),
    })
  }
}

/** The figures of a script's last line: the CPU time's where it has them; null when it forwarded nothing. */
export function figures(line: string): Measured | null {
  const mpps = Number(/([\d.]+) Mpps\/CPU-s/.exec(line)?.[1] ?? /([\d.]+) Mpps/.exec(line)?.[1] ?? 0)
  const alone = /([\d.]+) cycles\/packet for forwarding alone/.exec(line)
  const cycles = Number((alone ?? /([\d.]+) cycles\/packet/.exec(line))?.[1] ?? 0)
  return mpps > 0 && cycles > 0 ? { mpps, cycles } : null
}

function lastLine(scripts: string, [script, ...args]: readonly string[]): string {
  const { stdout } = spawnSync(`./${script}`, args, {
    cwd: scripts,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: PATIENCE_MS,
  })
  return (stdout ?? '').trim().split('\n').at(-1) ?? ''
}

function lacks(p: Peer, o: PeersOptions): string | undefined {
  const need = [...p.needs, p.run[0]].find((n) => !has(n, o))
  return need === undefined ? undefined : `${need} is not there`
}

function has(need: string, o: PeersOptions): boolean {
  if (need.endsWith('.sh')) return existsSync(join(o.scripts, need))
  if (need.startsWith('/')) return existsSync(need)
  return o.path.some((dir) => isProgram(join(dir, need)))
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** The line of a result. */
export function peersRow(r: PeerResult): string {
  return [
    r.case.padEnd(14),
    String(r.flows).padStart(8),
    r.mpps.toFixed(2).padStart(9),
    String(r.cyclesPerPacket).padStart(8),
    `${(r.spread * 100).toFixed(0)} %`.padStart(7),
    r.case === 'flowerbed' ? '' : `   flowerbed is ${r.ratio} × as fast`,
  ].join('')
}

export const PEERS_HEADER = 'peer             flows  Mpps/CPU  cycles spread'
