// Every scenario in fixtures/kernel against what a real Linux 6.1 kernel sent and counted.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { chipModule } from '../datapath/chip_module.ts'
import { openCapture, WINDOW } from '../port/capture/capture.ts'
import { judged, normalize } from '../testing/kernel_compare.ts'
import { replay } from './replay.ts'
import { loadScenario } from './scenario.ts'

chipModule() // built here, where no test's time runs

const root = fileURLToPath(new URL('../../fixtures/kernel/', import.meta.url))

function frames(path: string): Uint8Array[] {
  const window = new Uint8Array(WINDOW)
  const c = openCapture(path, { window })
  const out: Uint8Array[] = []
  for (let n = c.next(); n > 0; n = c.next())
    for (let i = 0; i < n; i++) out.push(window.slice(c.frames.offset[i], c.frames.offset[i] + c.frames.length[i]))
  c.close()
  expect(c.damage).toBeNull()
  return out
}

describe.each(readdirSync(root))('%s', (name) => {
  test('sends and counts as the kernel', async () => {
    const dir = join(root, name)
    const out = mkdtempSync(join(tmpdir(), 'flowerbed-kernel-'))
    try {
      await replay(loadScenario(dir), { out })
      const inputs = new Set(
        readdirSync(dir)
          .filter((f) => f.startsWith('in-'))
          .flatMap((f) => frames(join(dir, f)).map((x) => Buffer.from(x).toString('hex'))),
      )
      const expected = join(dir, 'expected')
      for (const file of readdirSync(expected).filter((f) => f.endsWith('.pcap'))) {
        const want = frames(join(expected, file)).map((f) => normalize(f, inputs))
        const got = existsSync(join(out, file)) ? frames(join(out, file)).map((f) => normalize(f, inputs)) : []
        expect({ file, frames: got.map((f) => f.hex) }).toEqual({ file, frames: want.map((f) => f.hex) })
        // A mask hides no mistake of ours that the kernel did not make too.
        got.forEach((f, i) => {
          if (f.wrong.length > 0) expect(f.wrong, `${file}, packet ${i + 1}`).toEqual(want[i].wrong)
        })
      }
      const document = (path: string) => judged(JSON.parse(readFileSync(path, 'utf8')))
      expect(document(join(out, 'filters.json'))).toEqual(document(join(expected, 'filters.json')))
    } finally {
      rmSync(out, { recursive: true })
    }
  })
})
