// flowerbed bench: which cases, how often, and the results as a table or one JSON document.
import { encapBench } from '../bench/encap.ts'
import { commit, machine } from '../bench/machine.ts'
import { pcapBench } from '../bench/pcap.ts'
import { HEADER, machineText, type Result, row } from '../bench/result.ts'
import { RULES_HEADER, type RulesResult, rulesBench, rulesRow } from '../bench/rules.ts'
import { PROFILES, type Profile } from '../bench/rules_workload.ts'
import { STORM_HEADER, type StormResult, stormBench, stormRow } from '../bench/storm.ts'
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
}

const SIZES = ['64', '512', '1500', 'imix']
const FLOWS = ['1', '1000', '100000']
const MASKS = ['1', '8', '32']

type AnyResult = Result | RulesResult | StormResult

/** The suites: what stands over the table, and what runs it and tells each result with its line. */
const SUITES: Readonly<
  Record<
    string,
    { header: string; run(o: BenchCommand, mhz: number, done: (r: AnyResult, line: string) => void): Promise<void> }
  >
> = {
  encap: { header: HEADER, run: packets('encap') },
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
      for (const hops of [1, Math.ceil(rules / 50)]) {
        const r = await stormBench({ rules, hops, runs: o.runs ?? 20, ms: o.ms ?? 2000 })
        done(r, stormRow(r))
      }
    },
  },
}

/** Runs the command; 1 when an output was wrong. */
export async function bench(suite: string, o: BenchCommand): Promise<number> {
  const chosen = Object.hasOwn(SUITES, suite) ? SUITES[suite] : undefined
  if (chosen === undefined) throw new UsageError(`bench ${suite}: no such suite (${Object.keys(SUITES).join(', ')})`)
  const on = machine()
  const at = commit()
  const results: AnyResult[] = []
  await chosen.run(o, on.mhz, (r, line) => {
    // The head with the first result: options that mean nothing are refused before that.
    if (!o.json && results.length === 0) process.stdout.write(`${machineText(on, at)}\n${chosen.header}\n`)
    results.push(r)
    if (!o.json) process.stdout.write(`${line}\n`)
  })
  if (o.json) process.stdout.write(`${JSON.stringify({ machine: on, commit: at, results }, null, 1)}\n`)
  return results.every((r) => r.verified) ? 0 : 1
}

function profiles(names: readonly string[] = PROFILES): Profile[] {
  return names.map((name) => {
    const p = PROFILES.find((known) => known === name)
    if (p === undefined) throw new UsageError(`bench: --profile ${name}: none of ${PROFILES.join(', ')}`)
    return p
  })
}

function packets(suite: 'encap' | 'pcap') {
  return async (o: BenchCommand, mhz: number, told: (r: AnyResult, line: string) => void): Promise<void> => {
    const done = (r: Result) => told(r, row(r))
    const sizes = (o.size ?? SIZES).map((s) => (s === 'imix' ? s : numbers('--size', [s], 64, 9000)[0]))
    const flows = numbers('--flows', o.flows ?? FLOWS, 1, 1_000_000)
    const masks = numbers('--masks', o.masks ?? MASKS, 1, 32)
    if (suite === 'pcap') {
      await pcapBench({ packets: o.packets ?? 1_000_000, runs: o.runs ?? 3, mhz, done })
      return
    }
    const options = { runs: o.runs ?? 5, ms: o.ms ?? 200, mhz, done }
    for (const f of flows)
      for (const m of masks)
        encapBench(
          sizes.map((size) => ({ size, flows: f, masks: m })),
          options,
        )
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
