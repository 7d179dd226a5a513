// A scenario with a real kernel's answer in expected/: what the ports sent, and what tc said of the filters. A replay of the
// scenario is held against it, with the masks of testing/kernel_compare.ts.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { openCapture, WINDOW } from '../port/capture/capture.ts'
import { judged, normalize } from '../testing/kernel_compare.ts'

export interface TimedFrame {
  readonly bytes: Uint8Array
  /** Nanoseconds since 1970, as a double has them. */
  readonly time: number
}

/** All frames of a capture. @throws Error when it is damaged */
export function timedFrames(path: string): TimedFrame[] {
  const window = new Uint8Array(WINDOW)
  const c = openCapture(path, { window })
  const out: TimedFrame[] = []
  try {
    for (let n = c.next(); n > 0; n = c.next())
      for (let i = 0; i < n; i++) {
        const bytes = window.slice(c.frames.offset[i], c.frames.offset[i] + c.frames.length[i])
        out.push({ bytes, time: c.epoch * 1e9 + c.frames.time[i] })
      }
    if (c.damage !== null) throw new Error(`${path}: ${c.damage.what}`)
  } finally {
    c.close()
  }
  return out
}

const frames = (path: string): Uint8Array[] => timedFrames(path).map((f) => f.bytes)
const hex = (b: Uint8Array): string => Buffer.from(b).toString('hex')

/** Where two JSON documents differ first; null when nowhere. */
function firstDifference(ours: unknown, kernel: unknown, at = ''): string | null {
  const both = [ours, kernel].every((v) => typeof v === 'object' && v !== null)
  if (!both) return ours === kernel ? null : `${at}: ${JSON.stringify(ours)}, the kernel ${JSON.stringify(kernel)}`
  const [a, b] = [ours, kernel] as Record<string, unknown>[]
  for (const key of new Set([...Object.keys(b), ...Object.keys(a)])) {
    const found = firstDifference(a[key], b[key], at === '' ? key : `${at}.${key}`)
    if (found !== null) return found
  }
  return null
}

/**
 * What is different in the output of a replay, a line each; none when it is as the kernel's answer.
 * @param dir the scenario's folder, with expected/
 * @param out the folder that replay wrote
 */
export function differences(dir: string, out: string): string[] {
  const expected = join(dir, 'expected')
  const inputs = new Set(
    readdirSync(dir)
      .filter((f) => f.startsWith('in-'))
      .flatMap((f) => frames(join(dir, f)).map(hex)),
  )
  const found: string[] = []
  for (const file of readdirSync(expected).filter((f) => f.endsWith('.pcap'))) {
    const want = frames(join(expected, file)).map((f) => normalize(f, inputs))
    const got = existsSync(join(out, file)) ? frames(join(out, file)).map((f) => normalize(f, inputs)) : []
    const i = got.findIndex((f, k) => f.hex !== want[k]?.hex)
    if (i >= 0 || got.length !== want.length) {
      const at = i < 0 ? got.length : i
      const both = `${got[at]?.hex ?? 'no packet'}\n  the kernel ${want[at]?.hex ?? 'no packet'}`
      found.push(`${file}: ${got.length} packets, the kernel ${want.length}; packet ${at + 1}:\n  ours       ${both}`)
    }
    // A mask hides no mistake of ours that the kernel did not make too.
    got.forEach((f, k) => {
      if (f.wrong.length > 0 && f.wrong.join() !== want[k]?.wrong.join())
        found.push(`${file}, packet ${k + 1}: ${f.wrong.join(', ')}`)
    })
  }
  const document = (path: string): unknown => judged(JSON.parse(readFileSync(path, 'utf8')))
  const filters = firstDifference(document(join(out, 'filters.json')), document(join(expected, 'filters.json')))
  if (filters !== null) found.push(`filters.json: ${filters}`)
  return found
}
