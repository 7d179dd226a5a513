// Every scenario in fixtures/kernel against what a real Linux 6.1 kernel sent and counted.
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { chipModule } from '../datapath/chip_module.ts'
import { compareWithKernel } from './kernel_answer.fixture.ts'

chipModule() // built here, where no test's time runs

const root = fileURLToPath(new URL('../../fixtures/kernel/', import.meta.url))

test.each(readdirSync(root))('%s sends and counts as the kernel', async (name) => {
  expect(await compareWithKernel(join(root, name))).toEqual([])
})

test("a byte, a packet or a counter that is not the kernel's is said", async () => {
  const dir = mkdtempSync(join(tmpdir(), 'flowerbed-kernel-'))
  try {
    cpSync(join(root, 'key-vlan'), dir, { recursive: true })
    const alter = (file: string, edit: (b: Buffer) => Buffer): void =>
      writeFileSync(join(dir, 'expected', file), edit(readFileSync(join(dir, 'expected', file))))
    alter('out-p1.pcap', (b) => {
      b[24 + 16 + 3] ^= 1 // the first packet's fourth byte
      return b
    })
    alter('out-p2.pcap', (b) => b.subarray(0, 24))
    for (const file of ['filters.json', 'qdisc.json'])
      alter(file, (b) => Buffer.from(b.toString().replace(/"packets": ?\d+,/, '"packets": 777,')))
    const found = await compareWithKernel(dir)
    expect(found.map((f) => f.split(/[:;]/)[0])).toEqual(['out-p1.pcap', 'out-p2.pcap', 'filters.json', 'qdisc.json'])
    expect(found[1]).toMatch(/^out-p2\.pcap: \d+ packets, the kernel 0; packet 1:/)
    expect(found[2]).toMatch(/packets: \d+, the kernel 777$/)
    expect(found[3]).toMatch(/packets: \d+, the kernel 777$/)
  } finally {
    rmSync(dir, { recursive: true })
  }
})
