// A scenario with a real kernel's answer in expected/: what the ports sent, and what tc said of filters and qdiscs. A replay
// of the scenario is held against it, with the masks of testing/kernel_compare.ts.

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openCapture, WINDOW } from '../port/capture/capture.ts'
import { judged, normalize } from '../testing/kernel_compare.ts'
import { replay } from './replay.ts'
import { loadScenario } from './scenario.ts'

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

/** The frames of a capture; none when a port sent nothing. */
const frames = (path: string): Uint8Array[] => (existsSync(path) ? timedFrames(path).map((f) => f.bytes) : [])
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

/** What the hooks have seen. */
const QDISCS = { where: 'the end', words: ['tc', '-s', '-j', 'qdisc', 'show'], moment: null, forgiving: false }

/** What of tc's listing of qdiscs is judged: not those that a device has by itself. */
export const judgedQdiscs = (text: string): unknown[] =>
  (JSON.parse(text) as { kind: string }[]).filter((q) => q.kind !== 'noqueue')

/**
 * Runs a scenario. What is different from the kernel's answer, a line each; none when nothing is.
 * @param dir the scenario's folder, with expected/
 * @throws ScenarioError, LanguageError as replay does
 */
export async function compareWithKernel(dir: string): Promise<string[]> {
  const expected = join(dir, 'expected')
  const out = mkdtempSync(join(tmpdir(), 'flowerbed-kernel-'))
  try {
    const scenario = loadScenario(dir)
    const { log } = await replay({ ...scenario, after: [...scenario.after, QDISCS] }, { out })
    const inputs = new Set(scenario.captures.flatMap(({ path }) => timedFrames(path).map((f) => hex(f.bytes))))
    const found = readdirSync(expected)
      .filter((f) => f.endsWith('.pcap'))
      .flatMap((file) => differentFrames(file, frames(join(out, file)), frames(join(expected, file)), inputs))
    const documents: [name: string, ours: unknown, kernel: unknown][] = []
    const read = (path: string): string => readFileSync(path, 'utf8')
    const filters = (path: string): unknown => judged(JSON.parse(read(join(path, 'filters.json'))))
    documents.push(['filters.json', filters(out), filters(expected)])
    const qdiscs = join(expected, 'qdisc.json')
    if (existsSync(qdiscs))
      documents.push(['qdisc.json', judgedQdiscs(log[log.length - 1].printed), judgedQdiscs(read(qdiscs))])
    for (const [name, ours, kernel] of documents) {
      const difference = firstDifference(ours, kernel)
      if (difference !== null) found.push(`${name}: ${difference}`)
    }
    return found
  } finally {
    rmSync(out, { recursive: true })
  }
}

function differentFrames(file: string, ours: Uint8Array[], kernel: Uint8Array[], inputs: Set<string>): string[] {
  const found: string[] = []
  const [got, want] = [ours, kernel].map((all) => all.map((f) => normalize(f, inputs)))
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
  return found
}
