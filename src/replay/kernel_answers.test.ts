// Every scenario in fixtures/kernel against what a real Linux 6.1 kernel sent and counted.
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { chipModule } from '../datapath/chip_module.ts'
import { differences } from './kernel_answer.fixture.ts'
import { replay } from './replay.ts'
import { loadScenario } from './scenario.ts'

chipModule() // built here, where no test's time runs

const root = fileURLToPath(new URL('../../fixtures/kernel/', import.meta.url))

/** What the hooks have seen. */
const QDISCS = { where: 'end', words: ['tc', '-s', '-j', 'qdisc', 'show'], moment: null, forgiving: false }

describe.each(readdirSync(root))('%s', (name) => {
  test('sends and counts as the kernel', async () => {
    const dir = join(root, name)
    const out = mkdtempSync(join(tmpdir(), 'flowerbed-kernel-'))
    try {
      const scenario = loadScenario(dir)
      const { log } = await replay({ ...scenario, after: [...scenario.after, QDISCS] }, { out })
      expect(differences(dir, out)).toEqual([])
      const qdiscs = JSON.parse(log[log.length - 1].printed) as { kind: string }[]
      const expected = readFileSync(join(dir, 'expected', 'qdisc.json'), 'utf8')
      expect(qdiscs.filter((q) => q.kind !== 'noqueue')).toEqual(JSON.parse(expected))
    } finally {
      rmSync(out, { recursive: true })
    }
  })
})

test("a byte, a packet or a counter that is not the kernel's is said", async () => {
  const dir = mkdtempSync(join(tmpdir(), 'flowerbed-kernel-'))
  try {
    cpSync(join(root, 'key-vlan'), dir, { recursive: true })
    const out = join(dir, 'out')
    await replay(loadScenario(dir), { out })
    const alter = (file: string, edit: (b: Buffer) => Buffer): void =>
      writeFileSync(join(dir, file), edit(readFileSync(join(dir, file))))
    alter('expected/out-p1.pcap', (b) => {
      b[24 + 16 + 3] ^= 1 // the first packet's fourth byte
      return b
    })
    alter('expected/out-p2.pcap', (b) => b.subarray(0, 24))
    alter('expected/filters.json', (b) => Buffer.from(b.toString().replace('"packets": 1,', '"packets": 7,')))
    const found = differences(dir, out)
    expect(found.map((f) => f.split(/[:;]/)[0])).toEqual(['out-p1.pcap', 'out-p2.pcap', 'filters.json'])
    expect(found[1]).toMatch(/^out-p2\.pcap: \d+ packets, the kernel 0; packet 1:/)
    expect(found[2]).toMatch(/packets: 1, the kernel 7$/)
  } finally {
    rmSync(dir, { recursive: true })
  }
})
