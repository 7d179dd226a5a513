// A little of `npm run generate`, and that it sees what it is for: a switch that makes a mistake differs.
import { expect, test } from 'vitest'
import { chipModule } from '../datapath/chip_module.ts'
import { KEY_CT_STATE, KEY_CT_ZONE, KEY_ENC_ADDR_TYPE, KEY_ENC_KEY_ID } from '../memory/layout/flow_key.ts'
import { execute } from '../replay/execute.ts'
import { openWorld, round } from './generate.fixture.ts'
import type { Action, Rule } from './random_rules.fixture.ts'

chipModule() // built here, where no test's time runs

test('the switch does with random packets what the slow one does', { timeout: 240_000 }, () => {
  const w = openWorld()
  let hits = 0
  for (let seed = 1; seed <= 30; seed++) hits += round(w, seed, 150).hits
  expect(hits).toBeGreaterThan(800)
  w.sw.close()
})

test('a rule too many is a difference', { timeout: 240_000 }, () => {
  const w = openWorld()
  execute(
    w.sw,
    'tc filter add dev p0 ingress protocol all pref 1 flower src_mac 02:aa:00:00:00:01 action drop'.split(' '),
  )
  expect(() => {
    for (let seed = 1; seed <= 10; seed++) round(w, seed, 100)
  }).toThrow(/^seed \d+: /)
  w.sw.close()
})

const acts =
  (change: (a: Action) => Action) =>
  (r: Rule): Rule => ({ ...r, list: r.list.map(change) })
const looks =
  (from: number, to: number) =>
  (r: Rule): Rule => ({ ...r, looks: r.looks.filter((look) => look.at < from || look.at >= to) })

// What the slow switch takes a rule for, that a comparison must notice; and the rounds where that is.
test.each<[string, number, (r: Rule) => Rule]>([
  ['csum', 1, acts((a) => (a.kind === 'csum' ? { ...a, flags: [] } : a))],
  ['mpls push', 1, acts((a) => (a.kind === 'mpls_push' ? { ...a, tc: a.tc ^ 1 } : a))],
  ['mpls pop', 1, acts((a) => (a.kind === 'mpls_pop' ? { ...a, type: a.type ^ 1 } : a))],
  ['mpls modify', 1, acts((a) => (a.kind === 'mpls_modify' ? { ...a, mask: 0, value: 0 } : a))],
  ['police with time', 1, acts((a) => (a.kind === 'bucket' ? { ...a, burst: a.burst / 2 } : a))],
  ['police avrate', 1, acts((a) => (a.kind === 'average' ? { ...a, limit: a.limit * 8 } : a))],
  ['ct zone', 2, acts((a) => (a.kind === 'ct' ? { ...a, zone: 3 - a.zone } : a))],
  ['ct commit', 2, acts((a) => (a.kind === 'ct' ? { ...a, commit: false } : a))],
  ['ct mark', 2, acts((a) => (a.kind === 'ct' && a.mark >= 0 ? { ...a, mark: a.mark + 1 } : a))],
  ['ct_state', 2, looks(KEY_CT_STATE, KEY_CT_ZONE)],
  ['enc keys', 4, looks(KEY_ENC_KEY_ID, KEY_ENC_ADDR_TYPE)],
])('another meaning of %s is a difference', { timeout: 240_000 }, (_what, first, read) => {
  const w = openWorld()
  expect(() => {
    for (let seed = first; seed <= 400; seed += 5) round(w, seed, 200, read)
  }).toThrow(/^seed \d+: /)
  w.sw.close()
})

test('a port that leaves its block is a difference', { timeout: 240_000 }, () => {
  const w = openWorld()
  execute(w.sw, 'tc qdisc del dev p3 clsact'.split(' '))
  expect(() => {
    for (let seed = 3; seed <= 50; seed += 5) round(w, seed, 100)
  }).toThrow(/^seed \d+: /)
  w.sw.close()
})
