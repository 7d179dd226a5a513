// The figures of a bench result: which of its numbers are measurements, and which words say what was measured.
//
// Every suite has a result type of its own (result.ts, rules.ts, storm.ts, …); reports, plots and comparisons read them
// all by this one table, so that a new suite needs a row here and nothing there.

/** A result as `bench --json` writes it: words, numbers, and whether the output was verified. */
export type AnyResult = Readonly<Record<string, unknown>>

/** A measured number of a result. */
export interface Figure {
  readonly name: string
  readonly unit: string
  /** More is better; otherwise less. */
  readonly more: boolean
}

/** By the figure's field. The first that a result has is its main one. */
const FIGURES: readonly Figure[] = [
  { name: 'mpps', unit: 'Mpps', more: true },
  { name: 'rulesPerSecond', unit: 'rules/s', more: true },
  { name: 'deletesPerSecond', unit: 'rules/s', more: true },
  { name: 'dumpsPerSecond', unit: 'rules/s', more: true },
  { name: 'mixedPerSecond', unit: 'rules/s', more: true },
  { name: 'bytesPerRule', unit: 'bytes', more: false },
  { name: 'switchMs', unit: 'ms', more: false },
  { name: 'mppsStorm', unit: 'Mpps', more: true },
]

/** Fields that say what was measured. Two results with the same values measure the same thing. */
const WHAT = [
  'suite',
  'tunnel',
  'profile',
  'driver',
  'case',
  'forwarder',
  'source',
  'size',
  'flows',
  'masks',
  'rules',
  'hops',
  'workers',
]

/** The figures that a result has, main one first. */
export const figuresOf = (r: AnyResult): Figure[] => FIGURES.filter((f) => typeof r[f.name] === 'number')

/** What a result measures, in words: "encap vxlan size=64 flows=1000 masks=8 workers=1". */
export const caseOf = (r: AnyResult): string =>
  WHAT.filter((field) => r[field] !== undefined)
    .map((field) => (field === 'suite' || field === 'tunnel' ? String(r[field]) : `${field}=${r[field]}`))
    .join(' ')
