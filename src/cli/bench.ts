// flowerbed bench: which cases, how often, and the results as a table, one JSON document, or a page with plots; and two
// such documents compared.
import { readFileSync, writeFileSync } from 'node:fs'
import { delimiter } from 'node:path'
import { ACTIONS, actionsBench } from '../bench/actions.ts'
import { compare, comparisonText, readReport, unmatched } from '../bench/compare.ts'
import { decapBench } from '../bench/decap.ts'
import { encapBench } from '../bench/encap.ts'
import { encapWorkersBench } from '../bench/encap_workers.ts'
import { htmlReport } from '../bench/html.ts'
import { LIVE_HEADER, type LiveResult, liveBench, liveRow } from '../bench/live.ts'
import { lookupBench } from '../bench/lookup.ts'
import { commit, machine } from '../bench/machine.ts'
import { pcapBench } from '../bench/pcap.ts'
import { PEERS_HEADER, type PeerResult, peersBench, peersRow } from '../bench/peers.ts'
import { HEADER, machineText, type Result, row } from '../bench/result.ts'
import { RULES_HEADER, type RulesResult, rulesBench, rulesRow } from '../bench/rules.ts'
import { PROFILES, type Profile } from '../bench/rules_workload.ts'
import { STORM_HEADER, type StormResult, stormBench, stormRow, TRAFFIC } from '../bench/storm.ts'
import { UsageError } from './usage_error.ts'

export interface BenchCommand {
  readonly json?: boolean
  readonly size?: string[]
  readonly flows?: string[]
  readonly masks?: string[]
  readonly runs?: number
  readonly ms?: number
  readonly packets?: number
  readonly profile?: string[]
  readonly workers?: string[]
  readonly rules?: number
  readonly html?: string
  readonly scripts: string
}

const SIZES = ['64', '512', '1500', 'imix']
const FLOWS = ['1', '1000', '100000']
const MASKS = ['1', '8', '32']

type AnyResult = Result | RulesResult | StormResult | PeerResult | LiveResult

/** The suites: what stands over the table, and what runs it and tells each result with its line. */
const SUITES: Readonly<
  Record<
    string,
    { header: string; run(o: BenchCommand, mhz: number, done: (r: AnyResult, line: string) => void): Promise<void> }
  >
> = {
  encap: { header: HEADER, run: packets('encap') },
  decap: { header: HEADER, run: packets('decap') },
  lookup: {
    header: HEADER,
    async run(o, mhz, done) {
      const options = { runs: o.runs ?? 5, ms: o.ms ?? 200, mhz, done: (r: Result) => done(r, row(r)) }
      for (const masks of numbers('--masks', o.masks ?? ['8', '64', '512'], 1, 512)) {
        lookupBench({ kind: 'defeated', masks }, options)
        if (masks < 64) continue
        lookupBench({ kind: 'hostile', masks }, options)
        lookupBench({ kind: 'own_bits', masks }, options)
      }
    },
  },
  actions: {
    header: HEADER,
    async run(o, mhz, done) {
      const options = { runs: o.runs ?? 5, ms: o.ms ?? 200, mhz, done: (r: Result) => done(r, row(r)) }
      for (const flows of numbers('--flows', o.flows ?? ['1', '1000'], 1, 1_000_000))
        for (const name of ACTIONS) actionsBench(name, flows, options)
    },
  },
  pcap: { header: HEADER, run: packets('pcap') },
  rules: {
    header: RULES_HEADER,
    async run(o, _mhz, done) {
      for (const profile of profiles(o.profile))
        for (const workers of numbers('--workers', o.workers ?? ['1', '2'], 1, 16)) {
          const r = await rulesBench(profile, workers, { rules: o.rules ?? 100_000, runs: o.runs ?? 3 })
          done(r, rulesRow(r))
        }
    },
  },
  storm: {
    header: STORM_HEADER,
    async run(o, _mhz, done) {
      const rules = o.rules ?? 10_000
      for (const hops of [1, Math.ceil(rules / 50)])
        for (const traffic of TRAFFIC) {
          const r = await stormBench({ rules, hops, traffic, runs: o.runs ?? 20, ms: o.ms ?? 2000 })
          done(r, stormRow(r))
        }
    },
  },
  peers: { header: PEERS_HEADER, run: peers },
  live: {
    header: LIVE_HEADER,
    run: (o, _mhz, done) =>
      liveBench({
        rounds: o.runs ?? 5,
        ms: o.ms ?? 2000,
        drivers: ['af_xdp', 'af_packet'],
        size: numbers('--size', o.size ?? ['64'], 64, 1500)[0],
        done: (r) => done(r, liveRow(r)),
      }),
  },
}

/** Runs the command; 1 when an output was wrong, or B is worse than A. */
export async function bench(suite: string, files: readonly string[], o: BenchCommand): Promise<number> {
  if (suite === 'compare') return compareReports(files, o)
  if (files.length > 0) throw new UsageError(`bench ${suite}: ${files[0]}: files are for compare`)
  const chosen = Object.hasOwn(SUITES, suite) ? SUITES[suite] : undefined
  if (chosen === undefined)
    throw new UsageError(`bench ${suite}: no such suite (${Object.keys(SUITES).join(', ')}, compare)`)
  if (o.workers !== undefined && suite !== 'encap' && suite !== 'rules')
    throw new UsageError(`bench ${suite}: --workers is for encap and rules`)
  const on = machine()
  const at = commit()
  const results: AnyResult[] = []
  await chosen.run(o, on.mhz, (r, line) => {
    // The head with the first result: options that mean nothing are refused before that.
    if (!o.json && results.length === 0) process.stdout.write(`${machineText(on, at)}\n${chosen.header}\n`)
    results.push(r)
    if (!o.json) process.stdout.write(`${line}\n`)
  })
  const document = JSON.stringify({ machine: on, commit: at, results }, null, 1)
  if (o.json) process.stdout.write(`${document}\n`)
  if (o.html !== undefined) writeFileSync(o.html, htmlReport(readReport(document, 'results')))
  return results.every((r) => !('verified' in r) || r.verified) ? 0 : 1
}

function compareReports(files: readonly string[], o: BenchCommand): number {
  if (files.length !== 2) throw new UsageError('bench compare: expected two files, A and B')
  const [a, b] = files.map((file) => readReport(readFileSync(file, 'utf8'), file))
  if (a.machine.cpu !== b.machine.cpu)
    process.stderr.write(
      `other machines: ${a.machine.cpu} and ${b.machine.cpu}; only ratios within each mean something\n`,
    )
  for (const c of unmatched(a, b)) process.stderr.write(`only one of both has: ${c}\n`)
  const rows = compare(a, b)
  if (rows.length === 0) throw new UsageError(`bench compare: ${files.join(' and ')} have no case in common`)
  process.stdout.write(o.json ? `${JSON.stringify({ comparisons: rows }, null, 1)}\n` : comparisonText(rows))
  return rows.some((r) => r.verdict === 'worse') ? 1 : 0
}

/** Others and ourselves in turn: VXLAN encap of 64 bytes, a rule for each flow. */
async function peers(o: BenchCommand, mhz: number, done: (r: AnyResult, line: string) => void): Promise<void> {
  const masks = numbers('--masks', o.masks ?? ['8'], 1, 32)[0]
  peersBench({
    scripts: o.scripts,
    // Root's programs, whoever asks.
    path: [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'],
    rounds: o.runs ?? 3,
    flows: numbers('--flows', o.flows ?? FLOWS, 1, 1_000_000),
    ours(flows) {
      const seen: Result[] = []
      encapBench([{ size: 64, flows, masks }], { runs: 3, ms: 300, mhz, done: (r) => seen.push(r) })
      return { mpps: seen[0].mpps, cycles: seen[0].cyclesPerPacket }
    },
    done: (r) => done(r, peersRow(r)),
    absent: ({ name, why }) => process.stderr.write(`${name}: not measured: ${why}\n`),
  })
}

function profiles(names: readonly string[] = PROFILES): Profile[] {
  return names.map((name) => {
    const p = PROFILES.find((known) => known === name)
    if (p === undefined) throw new UsageError(`bench: --profile ${name}: none of ${PROFILES.join(', ')}`)
    return p
  })
}

function packets(suite: 'encap' | 'decap' | 'pcap') {
  return async (o: BenchCommand, mhz: number, told: (r: AnyResult, line: string) => void): Promise<void> => {
    const done = (r: Result) => told(r, row(r))
    const sizes = (o.size ?? SIZES).map((s) => (s === 'imix' ? ('imix' as const) : numbers('--size', [s], 64, 9000)[0]))
    const flows = numbers('--flows', o.flows ?? FLOWS, 1, 1_000_000)
    const masks = numbers('--masks', o.masks ?? MASKS, 1, 32)
    const workers = numbers('--workers', o.workers ?? ['1'], 1, 16)
    if (suite === 'pcap') {
      await pcapBench({ packets: o.packets ?? 4_000_000, runs: o.runs ?? 3, mhz, done })
      return
    }
    const options = { runs: o.runs ?? 5, ms: o.ms ?? 200, mhz, done }
    for (const f of flows)
      for (const m of masks) {
        const cases = sizes.map((size) => ({ size, flows: f, masks: m }))
        if (suite === 'decap') decapBench(cases, options)
        else
          for (const w of workers)
            if (w === 1) encapBench(cases, options)
            else await encapWorkersBench(cases, w, options)
      }
  }
}

function numbers(option: string, texts: readonly string[], min: number, max: number): number[] {
  return texts.map((text) => {
    const n = Number(text)
    if (!/^\d+$/.test(text) || n < min || n > max)
      throw new UsageError(`bench: ${option} ${text}: expected a number from ${min} to ${max}`)
    return n
  })
}
