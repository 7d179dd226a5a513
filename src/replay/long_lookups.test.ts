// Rules and packets that make lookups probe very many masks: the summary says so, and of which device's filters.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { hostileRules, innerFrame, setup } from '../bench/workload.ts'
import { openWriter } from '../port/capture/writer.ts'
import { replay } from './replay.ts'
import { scenarioOf } from './scenario.ts'
import { summaryText } from './summary_text.ts'

const dir = mkdtempSync(join(tmpdir(), 'flowerbed-long-lookups-'))
afterAll(() => rmSync(dir, { recursive: true }))

const PACKETS = 3000

/** Replays packets with a source address each, which no cache knows, against rules in so many masks. */
async function run(masks: number) {
  const capture = join(dir, 'in.pcap')
  const source = new Uint8Array(64)
  const w = openWriter(capture, { format: 'pcap', nanoseconds: false, source })
  source.set(innerFrame(0, 64))
  for (let i = 0; i < PACKETS; i++) {
    new DataView(source.buffer).setUint16(28, i)
    w.write(0, 64, i * 1000)
  }
  w.close()
  const rules = join(dir, 'rules.tc')
  writeFileSync(rules, `# quiet_ms: 0\n${[...setup(), ...hostileRules(masks)].join('\n')}\n`)
  const out = join(dir, `out-${masks}`)
  const { summary } = await replay(scenarioOf([rules], [`p0=${capture}`]), { out })
  return { summary, file: JSON.parse(readFileSync(join(out, 'summary.json'), 'utf8')), text: summaryText(summary) }
}

test('lookups of more than 64 masks are told with the device and the chain', { timeout: 60_000 }, async () => {
  const { summary, file, text } = await run(128)
  expect(summary.longLookups).toMatchObject({ dev: 'p0', chain: 0 })
  expect(summary.longLookups?.masks).toBeGreaterThan(64)
  expect(summary.longLookups?.masks).toBeLessThanOrEqual(129) // 128 and that of the source address
  expect(summary.longLookups?.lookups).toBeGreaterThan(0)
  expect(file.longLookups).toEqual(summary.longLookups)
  expect(text).toMatch(
    /^\d+ lookups? had to probe more than 64 masks, the longest one \d+ \(filters of p0, chain 0\): /m,
  )
})

test('where no lookup is long nothing is said', { timeout: 60_000 }, async () => {
  const { summary, file, text } = await run(40)
  expect(summary.packets.in).toBe(PACKETS)
  expect('longLookups' in file).toBe(false)
  expect(text).not.toMatch(/probe/)
})
