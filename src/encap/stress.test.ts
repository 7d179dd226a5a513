// A short storm of each kind; `npm run stress` makes a long one.
import { expect, test } from 'vitest'
import { runStorm } from './run_storm.stress.ts'

test.each([false, true])('two seconds of storm, offload %s', { timeout: 60_000 }, async (offload) => {
  const r = await runStorm({ seconds: 2, seed: 20261123, control: 2, rules: 2000, keys: 64, offload })
  console.log(JSON.stringify(r))
  expect(r.wrong).toEqual([])
  expect(Math.min(r.adds, r.deletes, r.changes, r.sent, r.punted, r.stats.to_fast, r.stats.to_slow)).toBeGreaterThan(0)
})
