// The rule set that is to touch everything touches every keyword of the match catalogue and every kind of action, and
// what a rule set with a hole says of it.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, test } from 'vitest'
import { actionKinds } from '../action/index.ts'
import { chipModule } from '../datapath/chip_module.ts'
import { matchGroups } from '../match/index.ts'
import { everything, TURNS } from './everything.fixture.ts'
import { replay } from './replay.ts'
import { loadScenario, scenarioOf } from './scenario.ts'

chipModule() // built here, where no test's time runs

const dir = mkdtempSync(join(tmpdir(), 'flowerbed-everything-'))
afterAll(() => rmSync(dir, { recursive: true }))

const words = new Set(everything().split(/\s+/))
const keywords = matchGroups.flatMap((g) => g.keywords)
const kinds = actionKinds.map((k) => k.name)
const missing = (have: ReadonlySet<string>): string[] =>
  [...keywords, ...kinds.map((k) => (k === 'gact' ? 'goto' : k))].filter((w) => !have.has(w))

test('no keyword and no kind of action is left out', () => {
  expect(keywords.length).toBeGreaterThan(50)
  expect(missing(words)).toEqual([])
})

test('a hole would be seen', () => {
  const fewer = new Set([...words].filter((w) => w !== 'mpls_ttl' && w !== 'skbmod'))
  expect(missing(fewer)).toEqual(['mpls_ttl', 'skbmod'])
})

test('every line is accepted, whichever way keys and actions are turned, and packets go through', {
  timeout: 120_000,
}, async () => {
  const capture = fileURLToPath(new URL('../../fixtures/first/in-p0.pcap', import.meta.url))
  for (const shift of [0, 1, TURNS >> 1]) {
    const rules = join(dir, `rules-${shift}.tc`)
    writeFileSync(rules, everything(shift))
    const { summary } = await replay(scenarioOf([rules], [`p0=${capture}`]))
    expect(summary.packets.out + summary.packets.dropped).toBeGreaterThanOrEqual(summary.packets.in)
  }
})

test('with the profile mlx5 every packet is accounted for, and each rule says whether it is in hardware', {
  timeout: 60_000,
}, async () => {
  const first = loadScenario(fileURLToPath(new URL('../../fixtures/first', import.meta.url)))
  const [plain, nic] = [await replay(first), await replay(first, { profile: 'mlx5' })]
  const flags = (r: typeof plain, flag: string): number => JSON.stringify(r.filters).split(`"${flag}":true`).length - 1
  expect([flags(plain, 'in_hw'), flags(nic, 'in_hw')]).toEqual([0, flags(plain, 'not_in_hw') - flags(nic, 'not_in_hw')])
  expect(flags(nic, 'in_hw')).toBeGreaterThan(3)
  expect(nic.summary.packets.in).toBe(plain.summary.packets.in)
})
