// bench compare A B: is B better, worse, or the same as A, as far as these measurements can tell?
//
// Both documents are those of `bench --json`. Each result says its median and its spread, (fastest - slowest run) /
// median. Runs lie about half a spread to either side of their median; while the two medians are no further apart
// than these two halves, the runs of A and B overlap, and the difference is noise. Beyond that, and beyond the floor that
// one machine differs from itself from one start to the next, it is a verdict.

import { BenchError } from './bench_error.ts'
import { type AnyResult, caseOf, type Figure, figuresOf } from './figures.ts'

export type Verdict = 'better' | 'worse' | 'same'

export interface Comparison {
  readonly case: string
  readonly figure: Figure
  readonly a: number
  readonly b: number
  /** How much better B is: 1.1 is ten per cent, whichever way the figure counts. */
  readonly ratio: number
  /** How far the ratio may be from 1 without meaning anything. */
  readonly noise: number
  readonly verdict: Verdict
}

export interface ReportDocument {
  readonly machine: AnyResult
  readonly commit: string
  readonly results: readonly AnyResult[]
}

/** Differences below this mean nothing, however steady the runs: code moves in memory, and the machine changes its mind. */
const FLOOR = 0.02

/** Reads what `bench --json` wrote. Throws BenchError that names the file and what is wrong with it. */
export function readReport(text: string, name: string): ReportDocument {
  let document: unknown
  try {
    document = JSON.parse(text)
  } catch (e) {
    throw new BenchError(`${name}: not JSON: ${(e as Error).message}`)
  }
  const d = document as Partial<ReportDocument> | null
  if (typeof d !== 'object' || d === null || !Array.isArray(d.results) || typeof d.machine !== 'object')
    throw new BenchError(`${name}: not the document of bench --json: machine or results are missing`)
  d.results.forEach((r, i) => {
    if (typeof r !== 'object' || r === null || typeof r.suite !== 'string' || figuresOf(r).length === 0)
      throw new BenchError(`${name}: results[${i}]: no figure of a suite that this version knows`)
  })
  return { machine: d.machine ?? {}, commit: String(d.commit ?? 'unknown'), results: d.results }
}

/** Compares every figure of every case that both have, in A's order. */
export function compare(a: ReportDocument, b: ReportDocument): Comparison[] {
  const after = new Map(b.results.map((r) => [caseOf(r), r]))
  return a.results.flatMap((before) => {
    const now = after.get(caseOf(before))
    if (now === undefined) return []
    const noise = Math.max(FLOOR, (spreadOf(before) + spreadOf(now)) / 2)
    return figuresOf(before)
      .filter((figure) => typeof now[figure.name] === 'number')
      .map((figure) => judge(caseOf(before), figure, before[figure.name] as number, now[figure.name] as number, noise))
  })
}

/** Cases that only one of both has. */
export function unmatched(a: ReportDocument, b: ReportDocument): string[] {
  const [inA, inB] = [a, b].map((d) => new Set(d.results.map(caseOf)))
  return [...inA, ...inB].filter((c) => inA.has(c) !== inB.has(c))
}

const spreadOf = (r: AnyResult): number => (typeof r.spread === 'number' ? r.spread : 0)

function judge(name: string, figure: Figure, a: number, b: number, noise: number): Comparison {
  const ratio = figure.more ? b / a : a / b
  const verdict = ratio > 1 + noise ? 'better' : ratio < 1 / (1 + noise) ? 'worse' : 'same'
  return { case: name, figure, a, b, ratio, noise, verdict }
}

/** The table, and a last line that sums up. */
export function comparisonText(rows: readonly Comparison[]): string {
  const wide = Math.max(4, ...rows.map((r) => r.case.length))
  const lines = rows.map((r) =>
    [
      r.case.padEnd(wide),
      r.figure.name.padEnd(18),
      String(r.a).padStart(10),
      String(r.b).padStart(10),
      r.ratio.toFixed(3).padStart(7),
      `± ${(r.noise * 100).toFixed(0)} %`.padStart(7),
      r.verdict,
    ].join('  '),
  )
  const head = [
    'case'.padEnd(wide),
    'figure'.padEnd(18),
    'A'.padStart(10),
    'B'.padStart(10),
    '  ratio',
    '  noise',
    'B is',
  ]
  const count = (v: Verdict): number => rows.filter((r) => r.verdict === v).length
  const sum = `${count('better')} better, ${count('worse')} worse, ${count('same')} the same within the noise`
  return `${[head.join('  '), ...lines].join('\n')}\n\n${sum}\n`
}
