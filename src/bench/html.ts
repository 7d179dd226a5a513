// The HTML report of `bench --html FILE`: the figures as tables, and as plots over packet size, flows, masks and workers.
//
// One file that needs nothing else: uPlot's script and style sheet stand in it. A plot shows the main figure of one suite
// over one dimension; its lines are the values of another, the rest is held at the value that most results have. A
// dimension with one value has no plot.

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { ReportDocument } from './compare.ts'
import { type AnyResult, caseOf, figuresOf } from './figures.ts'

/** Dimensions, with the scale that suits them and how an axis says them. */
const DIMENSIONS = [
  { field: 'size', label: 'frame size, bytes', log: false },
  { field: 'flows', label: 'flows', log: true },
  { field: 'masks', label: 'masks', log: true },
  { field: 'workers', label: 'workers', log: false },
] as const

export interface Plot {
  readonly title: string
  readonly x: { readonly label: string; readonly log: boolean }
  readonly y: string
  readonly lines: readonly string[]
  /** uPlot's own form: the x values, then for each line a value at each of them, null where nothing was measured. */
  readonly data: readonly (readonly (number | null)[])[]
}

/** The plots that results can fill. */
export function plots(results: readonly AnyResult[]): Plot[] {
  const suites = [...new Set(results.map((r) => r.suite as string))]
  return suites.flatMap((suite) => {
    const mine = results.filter((r) => r.suite === suite)
    return DIMENSIONS.flatMap((d) => plotOver(suite, mine, d) ?? [])
  })
}

type Dimension = (typeof DIMENSIONS)[number]

function plotOver(suite: string, results: readonly AnyResult[], d: Dimension): Plot | undefined {
  const figure = figuresOf(results[0])[0]
  // "imix" and what has no such dimension stand in the table only.
  const points = results.filter((r) => typeof r[d.field] === 'number' && typeof r[figure.name] === 'number')
  const xs = [...new Set(points.map((r) => r[d.field] as number))].sort((a, b) => a - b)
  if (xs.length < 2) return undefined
  const words = ['tunnel', 'profile', 'driver', 'case']
  const others = DIMENSIONS.filter((o) => o.field !== d.field)
  const varies = others.filter((o) => new Set(points.map((r) => r[o.field])).size > 1)
  // At most one other dimension makes lines; the rest stays at its commonest value.
  const [line, ...held] = varies
  const shown = points.filter((r) => held.every((h) => r[h.field] === commonest(points.map((p) => p[h.field]))))
  const nameOf = (r: AnyResult): string =>
    [...words.map((w) => r[w]), line === undefined ? undefined : `${line.field} ${r[line.field]}`]
      .filter((w) => w !== undefined)
      .join(' ')
  const lines = [...new Set(shown.map(nameOf))]
  const data = lines.map((name) =>
    xs.map((x) => {
      const r = shown.find((p) => p[d.field] === x && nameOf(p) === name)
      return r === undefined ? null : (r[figure.name] as number)
    }),
  )
  const fixed = held.map((h) => `${h.field} ${commonest(points.map((p) => p[h.field]))}`)
  return {
    title: [`${suite}: ${figure.unit} over ${d.label}`, ...fixed].join(', '),
    x: { label: d.label, log: d.log },
    y: figure.unit,
    lines,
    data: [xs, ...data],
  }
}

function commonest(values: readonly unknown[]): unknown {
  const count = new Map<unknown, number>()
  for (const v of values) count.set(v, (count.get(v) ?? 0) + 1)
  return [...count].sort((a, b) => b[1] - a[1])[0]?.[0]
}

const escaped = (text: string): string =>
  text.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c] as string)

const STYLE = `
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; display: block; overflow-x: auto }
th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #ddd } th:first-child, td:first-child { text-align: left }
.wrong { color: #b00020; font-weight: bold } .plots { display: flex; flex-wrap: wrap; gap: 1.5rem } p.on { color: #666 }
`

// What runs in the reader's browser: one uPlot for each plot of the page.
const SCRIPT = `
const colours = ['#1f77b4', '#d62728', '#2ca02c', '#9467bd', '#ff7f0e', '#8c564b', '#17becf', '#7f7f7f']
for (const p of PLOTS) {
  new uPlot({
    title: p.title, width: 500, height: 300,
    scales: { x: { time: false, distr: p.x.log ? 3 : 1 }, y: { range: (u, min, max) => [0, max * 1.1] } },
    axes: [{ label: p.x.label }, { label: p.y }],
    series: [{ label: p.x.label }].concat(p.lines.map((l, i) =>
      ({ label: l || p.y, stroke: colours[i % colours.length], width: 2, points: { show: true }, spanGaps: true }))),
  }, p.data, document.getElementById('plots'))
}
`

/** The page. */
export function htmlReport(report: ReportDocument): string {
  const uplot = dirname(createRequire(import.meta.url).resolve('uplot/package.json'))
  const part = (file: string): string => readFileSync(join(uplot, 'dist', file), 'utf8')
  // A closing tag inside a script would end it.
  const data = JSON.stringify(plots(report.results)).replace(/</g, '\\u003c')
  const on = Object.entries(report.machine).map(([k, v]) => `${k} ${v}`)
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>flowerbed bench</title>
<style>${part('uPlot.min.css')}${STYLE}</style>
<h1>flowerbed bench</h1>
<p class="on">${escaped(on.join(', '))}, commit ${escaped(report.commit)}</p>
<div class="plots" id="plots"></div>
${[...new Set(report.results.map((r) => r.suite as string))].map((s) => table(s, report.results)).join('\n')}
<script>${part('uPlot.iife.min.js')}</script>
<script>const PLOTS = ${data}
${SCRIPT}</script>
</html>
`
}

function table(suite: string, results: readonly AnyResult[]): string {
  const mine = results.filter((r) => r.suite === suite)
  const fields = [...new Set(mine.flatMap((r) => Object.keys(r)))].filter((f) => f !== 'suite')
  const cell = (r: AnyResult, f: string): string =>
    f === 'verified' && r[f] === false ? '<td class="wrong">no</td>' : `<td>${escaped(String(r[f] ?? ''))}</td>`
  const rows = mine.map((r) => `<tr title="${escaped(caseOf(r))}">${fields.map((f) => cell(r, f)).join('')}</tr>`)
  const head = fields.map((f) => `<th>${escaped(f)}</th>`).join('')
  return `<h2>${escaped(suite)}</h2>\n<table><tr>${head}</tr>\n${rows.join('\n')}</table>`
}
