// Hundreds of captures of other projects, many of them malformed on purpose, through rules that look at everything and do
// everything: a replay ends, and every packet with it. `npm run sweep` turns keys against actions.
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, test } from 'vitest'
import { CaptureError } from '../port/capture/capture.ts'
import { everything } from './everything.fixture.ts'
import { replay } from './replay.ts'
import { scenarioOf } from './scenario.ts'

const captures = fileURLToPath(new URL('../../../shared/conformance/captures/', import.meta.url))
const found = (() => {
  try {
    return readdirSync(captures, { recursive: true, encoding: 'utf8' }).filter((f) => /\.(pcap|pcapng|cap)$/.test(f))
  } catch {
    return []
  }
})()

const dir = mkdtempSync(join(tmpdir(), 'flowerbed-captures-'))
afterAll(() => rmSync(dir, { recursive: true }))

test.skipIf(found.length === 0)('the captures of the conformance data go through', { timeout: 120_000 }, async () => {
  const rules = join(dir, 'rules.tc')
  writeFileSync(rules, everything())
  let ran = 0
  for (const file of found)
    try {
      const { summary } = await replay(scenarioOf([rules], [`p0=${join(captures, file)}`]))
      const { packets } = summary
      expect(packets.in, file).toBe(summary.captures[0].packets)
      // A packet leaves, as one frame or in fragments or in copies, or it ends under a name.
      expect(packets.out + packets.dropped, file).toBeGreaterThanOrEqual(packets.in)
      ran++
    } catch (e) {
      if (!(e instanceof CaptureError)) throw e
    }
  expect(ran).toBeGreaterThan(300)
})
