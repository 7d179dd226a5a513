import { expect, test } from 'vitest'
import { splitScript } from '../tc/line.ts'
import { rulesBench, rulesRow } from './rules.ts'
import { addLine, deleteLine, PROFILES, sharedText } from './rules_workload.ts'
import { stormBench, stormRow } from './storm.ts'

test('every rule of a profile is another, and has a line that deletes it', () => {
  for (const p of PROFILES) {
    const numbers = [0, 1, 255, 256, 65_535, 65_536, 999_999]
    expect(new Set(numbers.map((i) => addLine(p, i).replace(/handle \d+/, ''))).size).toBe(numbers.length)
    for (const i of numbers) expect(addLine(p, i)).toContain(deleteLine(i).replace('filter delete ', ''))
  }
})

test('a shared text is its lines', () => {
  const lines = [addLine('encap', 1), deleteLine(1)]
  const text = Buffer.from(sharedText(lines, 2 + lines.join('').length)).toString('latin1')
  expect([...splitScript(text)].map((l) => l.words.join(' '))).toEqual(lines)
})

test.each([
  ['multi-encap', 1],
  ['encap', 2],
] as const)(
  'bench rules %s with %i workers: all rules in, dumped, changed, out',
  { timeout: 60_000 },
  async (p, workers) => {
    const r = await rulesBench(p, workers, { rules: 300, runs: 1 })
    expect(r).toMatchObject({ suite: 'rules', profile: p, workers, rules: 300, verified: true })
    for (const rate of [r.rulesPerSecond, r.deletesPerSecond, r.dumpsPerSecond, r.mixedPerSecond])
      expect(rate).toBeGreaterThan(0)
    expect(r.bytesPerRule).toBeGreaterThan(200)
    expect(rulesRow(r)).toMatch(/yes$/)
  },
)

test('bench storm: all rules of a neighbour change their path and come back', { timeout: 180_000 }, async () => {
  const r = await stormBench({ rules: 200, hops: 4, traffic: 'flapping', runs: 4, ms: 100 })
  expect(r).toMatchObject({ suite: 'storm', rules: 200, hops: 4, traffic: 'flapping', verified: true })
  expect(r.switchMs).toBeGreaterThan(0)
  expect(r.mppsQuiet).toBeGreaterThan(0)
  expect(r.mppsStorm).toBeGreaterThan(0)
  expect(stormRow(r)).toMatch(/yes$/)
})
