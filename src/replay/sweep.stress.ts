// npm run sweep [-- TURNS [FIRST]]: every capture of fixtures/ and of the conformance data, damaged ones included, through
// rules that look at everything and do everything, with keys and actions turned against each other; all turns by default,
// or so many from the first one named on, so that several processes can share them. Of files with the same bytes one is
// replayed: from the same start the others do the same.
// A trap, an exception, or a packet that neither left nor ended under a name stops it with exit status 1.

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
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
const known = new Set<string>()
for (const folder of FOLDERS.map((f) => fileURLToPath(new URL(f, import.meta.url)))) {
  if (!existsSync(folder)) {
    process.stdout.write(`skipped: ${folder} is not there\n`)
    continue
  }
  for (const f of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const file = join(folder, f)
    if (!/\.(pcap|pcapng|cap)$/.test(f)) continue
    const bytes = readFileSync(file, 'latin1')
    if (known.has(bytes)) continue
    known.add(bytes)
    files.push(file)
  }
}

known.clear()

const first = Number(process.argv[3] ?? 0)
const end = Math.min(first + Number(process.argv[2] ?? TURNS), TURNS)
const dir = mkdtempSync(join(tmpdir(), 'flowerbed-sweep-'))
let packets = 0
let ran = 0
let refused = 0
let at = ''
try {
  for (let shift = first; shift < end; shift++) {
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
      `turn ${shift + 1} of ${TURNS}: ${ran} replays, ${packets} packets, ${refused} files refused\n`,
    )
  }
} catch (e) {
  process.stdout.write(`${at}: ${(e as Error).stack}\n`)
  process.exitCode = 1
} finally {
  rmSync(dir, { recursive: true })
}
