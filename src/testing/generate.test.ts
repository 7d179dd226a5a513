// A little of `npm run generate`, and that it sees what it is for: a switch that makes a mistake differs.
import { expect, test } from 'vitest'
import { chipModule } from '../datapath/chip_module.ts'
import { execute } from '../replay/execute.ts'
import { openWorld, round } from './generate.fixture.ts'

chipModule() // built here, where no test's time runs

test('the switch does with random packets what the slow one does', { timeout: 240_000 }, () => {
  const w = openWorld()
  let hits = 0
  for (let seed = 1; seed <= 24; seed++) hits += round(w, seed, 150).hits
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
