import { describe, expect, test } from 'vitest'
import { compare, comparisonText, readReport, unmatched } from './compare.ts'
import { htmlReport, plots } from './html.ts'
import { figures } from './peers.ts'

const encap = (o: object): object => ({
  suite: 'encap',
  tunnel: 'vxlan',
  size: 64,
  flows: 1000,
  masks: 8,
  workers: 1,
  mpps: 20,
  spread: 0.04,
  verified: true,
  ...o,
})
const report = (...results: object[]) =>
  readReport(JSON.stringify({ machine: { cpu: 'x' }, commit: 'abc', results }), 'a.json')

describe('compare', () => {
  test.each([
    [20, 'same'],
    [20.6, 'same'],
    [19.3, 'same'],
    [21.4, 'better'],
    [18.4, 'worse'],
  ])('20 against %d with runs 4 %% apart is %s', (mpps, verdict) => {
    expect(compare(report(encap({})), report(encap({ mpps }))).map((c) => c.verdict)).toEqual([verdict])
  })

  test('a difference inside the spread of noisy runs is noise', () => {
    const [c] = compare(report(encap({ spread: 0.4 })), report(encap({ mpps: 15.1, spread: 0.4 })))
    expect(c.verdict).toBe('same')
    expect(c.noise).toBeCloseTo(0.4)
  })

  test('fewer bytes a rule are better', () => {
    const rules = (bytesPerRule: number) => ({
      suite: 'rules',
      profile: 'encap',
      workers: 2,
      rulesPerSecond: 1,
      bytesPerRule,
    })
    const found = compare(report(rules(700)), report(rules(600)))
    expect(found.map((c) => [c.figure.name, c.verdict])).toEqual([
      ['rulesPerSecond', 'same'],
      ['bytesPerRule', 'better'],
    ])
  })

  test('only what measures the same is compared; the rest is named', () => {
    const a = report(encap({}), encap({ flows: 1 }))
    const b = report(encap({ flows: 1 }), encap({ size: 'imix' }))
    expect(compare(a, b).map((c) => c.case)).toEqual(['encap vxlan size=64 flows=1 masks=8 workers=1'])
    expect(unmatched(a, b)).toEqual([
      'encap vxlan size=64 flows=1000 masks=8 workers=1',
      'encap vxlan size=imix flows=1000 masks=8 workers=1',
    ])
    expect(comparisonText(compare(a, b))).toContain('0 better, 0 worse, 1 the same within the noise')
  })

  test.each([
    ['{', /^b\.json: not JSON: /],
    ['[]', /^b\.json: not the document of bench --json/],
    ['null', /^b\.json: not the document/],
    ['{"machine":{},"results":[{"suite":"encap"}]}', /^b\.json: results\[0\]: no figure/],
  ])('%s is refused', (text, message) => {
    expect(() => readReport(text, 'b.json')).toThrow(message)
  })
})

describe('plots', () => {
  const results = [64, 512].flatMap((size) => [1, 1000].map((flows) => encap({ size, flows, mpps: size + flows })))

  test('one over each dimension with several values, a line for each value of another', () => {
    const [size, flows, ...more] = plots(report(...results, encap({ size: 'imix' })).results)
    expect(more).toEqual([])
    expect(size.lines).toEqual(['vxlan flows 1', 'vxlan flows 1000'])
    expect(size.data).toEqual([
      [64, 512],
      [65, 513],
      [1064, 1512],
    ])
    expect(flows.x).toEqual({ label: 'flows', log: true })
  })

  test('the page carries its scripts, and no word of a result is markup', () => {
    const page = htmlReport({
      machine: { cpu: '<b>' },
      commit: 'abc',
      results: report(encap({ tunnel: '</script>' })).results,
    })
    expect(page).toContain('uPlot=function')
    expect(page).toContain('cpu &lt;b&gt;')
    expect(page.match(/<\/script>/g)).toHaveLength(2)
  })
})

test.each([
  [
    'ovs: 3.5647 Mpps (3.2-3.8), 657.15 cycles/packet (best 602.0), 3.7477 Mpps/CPU-s, PMD',
    { mpps: 3.7477, cycles: 657.15 },
  ],
  [
    'kernel: 0.1439 Mpps (0.1-0.2) one core, 12174.1 cycles/packet both, 11527 cycles/packet for forwarding alone (sender 648 subtracted) = 0.212 Mpps/CPU-s',
    { mpps: 0.212, cycles: 11527 },
  ],
  ['ovs: 0.0000 Mpps (0.0000-0.0000), 0.0 cycles/packet (best 0.0), -nan Mpps/CPU-s', null],
  ['', null],
])('figures of a peer: %s', (line, found) => {
  expect(figures(line)).toEqual(found)
})
