// A datapath worker makes no garbage: ten million packets, and nothing is collected.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const BURSTS = 160_000

test('ten million packets without a collection of garbage', { timeout: 180_000 }, () => {
  const fixture = fileURLToPath(new URL('./garbage.fixture.ts', import.meta.url))
  const flags = ['--expose-gc', '--max-semi-space-size=1', '--import', 'tsx']
  const { stdout, stderr, status } = spawnSync(process.execPath, [...flags, fixture, String(BURSTS)], {
    encoding: 'utf8',
    timeout: 170_000,
  })
  expect(status, stderr).toBe(0)
  // An object for each burst would have been seen.
  expect(JSON.parse(stdout)).toEqual({ packets: BURSTS * 64, collections: 0, littered: true })
})
