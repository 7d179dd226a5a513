// npm run sweep [-- TURNS]: every capture of fixtures/ and of the conformance data, damaged ones included, through rules
// that look at everything and do everything, with keys and actions turned against each other; all turns by default.
// A trap, an exception, or a packet that neither left nor ended under a name stops it with exit status 1.

import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { CaptureError } from '../port/capture/capture.ts'
import { everything, TURNS } from './everything.fixture.ts'
import { replay } from './replay.ts'
import { scenarioOf } from './scenario.ts'

const FOLDERS = [
  '../../fixtures/',
  '../../../shared/conformance/captures/',
  '../../../shared/conformance/kernel/cases/',
]

const files: string[] = []
for (const folder of FOLDERS.map((f) => fileURLToPath(new URL(f, import.meta.url)))) {
  if (!existsSync(folder)) {
    process.stdout.write(`skipped: ${folder} is not there\n`)
    continue
  }
  for (const f of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (/\.(pcap|pcapng|cap)$/.test(f)) files.push(join(folder, f))
  }
}

const turns = Math.min(Number(process.argv[2] ?? TURNS), TURNS)
const dir = mkdtempSync(join(tmpdir(), 'flowerbed-sweep-'))
let packets = 0
let ran = 0
let refused = 0
let at = ''
try {
  for (let shift = 0; shift < turns; shift++) {
    const rules = join(dir, `rules-${shift}.tc`)
    writeFileSync(rules, everything(shift))
    for (const file of files) {
      at = `turn ${shift}, ${file}`
      try {
        const { summary } = await replay(scenarioOf([rules], [`p0=${file}`]))
        const p = summary.packets
        if (p.out + p.dropped < p.in) throw new Error(`${p.in} packets in, ${p.out} out, ${p.dropped} dropped`)
        packets += p.in
        ran++
      } catch (e) {
        if (!(e instanceof CaptureError)) throw e
        refused++
      }
    }
    process.stdout.write(
      `turn ${shift + 1} of ${turns}: ${ran} replays, ${packets} packets, ${refused} files refused\n`,
    )
  }
} catch (e) {
  process.stdout.write(`${at}: ${(e as Error).stack}\n`)
  process.exitCode = 1
} finally {
  rmSync(dir, { recursive: true })
}
