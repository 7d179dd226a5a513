// flowerbed bench: which cases, how often, and the results as a table or one JSON document.
import { encapBench } from '../bench/encap.ts'
import { commit, machine } from '../bench/machine.ts'
import { pcapBench } from '../bench/pcap.ts'
import { HEADER, machineText, type Result, row } from '../bench/result.ts'
import { UsageError } from './usage_error.ts'

export interface BenchCommand {
  readonly json?: boolean
  readonly size?: string[]
  readonly flows?: string[]
  readonly masks?: string[]
  readonly runs?: number
  readonly ms?: number
  readonly packets?: number
}

const SIZES = ['64', '512', '1500', 'imix']
const FLOWS = ['1', '1000', '100000']
const MASKS = ['1', '8', '32']

/** Runs the command; 1 when an output was wrong. */
export async function bench(suite: string, o: BenchCommand): Promise<number> {
  if (suite !== 'encap' && suite !== 'pcap') throw new UsageError(`bench ${suite}: no such suite (encap, pcap)`)
  const sizes = (o.size ?? SIZES).map((s) => (s === 'imix' ? s : numbers('--size', [s], 64, 9000)[0]))
  const flows = numbers('--flows', o.flows ?? FLOWS, 1, 1_000_000)
  const masks = numbers('--masks', o.masks ?? MASKS, 1, 32)
  const on = machine()
  const at = commit()
  const results: Result[] = []
  const done = (r: Result) => {
    results.push(r)
    if (!o.json) process.stdout.write(`${row(r)}\n`)
  }
  if (!o.json) process.stdout.write(`${machineText(on, at)}\n${HEADER}\n`)
  if (suite === 'encap') {
    const options = { runs: o.runs ?? 5, ms: o.ms ?? 200, mhz: on.mhz, done }
    for (const f of flows)
      for (const m of masks)
        encapBench(
          sizes.map((size) => ({ size, flows: f, masks: m })),
          options,
        )
  } else await pcapBench({ packets: o.packets ?? 1_000_000, runs: o.runs ?? 3, mhz: on.mhz, done })
  if (o.json) process.stdout.write(`${JSON.stringify({ machine: on, commit: at, results }, null, 1)}\n`)
  return results.every((r) => r.verified) ? 0 : 1
}

function numbers(option: string, texts: readonly string[], min: number, max: number): number[] {
  return texts.map((text) => {
    const n = Number(text)
    if (!/^\d+$/.test(text) || n < min || n > max)
      throw new UsageError(`bench: ${option} ${text}: expected a number from ${min} to ${max}`)
    return n
  })
}
