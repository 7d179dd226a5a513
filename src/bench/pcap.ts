// flowerbed bench pcap: from a capture file to a capture file, as `flowerbed replay` does it: 64-byte frames of a thousand
// flows, VXLAN encap, one worker. The files are in the page cache. A run that is not counted warms that and the compiler up:
// without it the capture's first second would be measured, in which the rules' thousand lines are read by cold code.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openCapture, WINDOW } from '../port/capture/capture.ts'
import { openWriter } from '../port/capture/writer.ts'
import { replay } from '../replay/replay.ts'
import { scenarioOf } from '../replay/scenario.ts'
import { cpuTime } from './cpu_time.ts'
import { wrongEncap } from './reference.ts'
import { type Result, round } from './result.ts'
import { median, spread } from './statistics.ts'
import { innerFrame, rules, setup } from './workload.ts'

export interface PcapOptions {
  readonly packets: number
  readonly runs: number
  readonly mhz: number
  done(r: Result): void
}

const SIZE = 64
const FLOWS = 1000
const MASKS = 8

export async function pcapBench(o: PcapOptions): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'flowerbed-bench-'))
  try {
    const input = join(dir, 'in.pcap')
    makeInput(input, o.packets)
    const script = join(dir, 'rules.tc')
    const header = ['# quiet_ms: 0']
    writeFileSync(script, [...header, ...setup(), ...rules({ flows: FLOWS, masks: MASKS })].join('\n'))
    const scenario = scenarioOf([script], [`p0=${input}`])
    const cpu: number[] = []
    const wall: number[] = []
    let wrong: string | null = null
    for (let i = 0; i <= o.runs; i++) {
      const out = join(dir, 'out')
      const [cpu0, wall0] = [cpuTime(), performance.now()]
      await replay(scenario, { out })
      if (i > 0) {
        cpu.push((cpuTime() - cpu0) / o.packets)
        wall.push(((performance.now() - wall0) * 1e6) / o.packets)
      }
      wrong ??= check(join(out, 'out-p1.pcap'), o.packets)
      rmSync(out, { recursive: true })
    }
    if (wrong !== null) process.emitWarning(`bench pcap: ${wrong}`)
    const ns = median(cpu)
    o.done({
      suite: 'pcap',
      tunnel: 'vxlan',
      size: SIZE,
      flows: FLOWS,
      masks: MASKS,
      workers: 1,
      mpps: round(1000 / ns),
      mppsWall: round(1000 / median(wall)),
      nsPerPacket: round(ns),
      cyclesPerPacket: Math.round((ns * o.mhz) / 1000),
      spread: round(spread(wall), 2),
      runs: o.runs,
      verified: wrong === null,
      peakMiB: Math.round(process.resourceUsage().maxRSS / 1024),
    })
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

/** The flows in turn, a packet each microsecond. */
function makeInput(path: string, packets: number): void {
  const source = new Uint8Array(FLOWS * SIZE)
  for (let f = 0; f < FLOWS; f++) source.set(innerFrame(f, SIZE), f * SIZE)
  const w = openWriter(path, { format: 'pcap', nanoseconds: false, source, epoch: 1_700_000_000 })
  for (let i = 0; i < packets; i++) w.write((i % FLOWS) * SIZE, SIZE, i * 1000)
  w.close()
}

/** Why the output is wrong: the number of its frames, or one of a sample of them. */
function check(path: string, packets: number): string | null {
  const window = new Uint8Array(WINDOW)
  const c = openCapture(path, { window })
  let wrong: string | null = null
  for (let n = c.next(); n > 0; n = c.next()) {
    // One frame of each batch: its flow is known by its place.
    const at = c.frames.offset[0]
    const flow = (c.count - n) % FLOWS
    wrong ??= wrongEncap(window.slice(at, at + c.frames.length[0]), flow, SIZE)
  }
  c.close()
  if (c.count !== packets) return `${c.count} of ${packets} packets came out`
  return wrong
}
