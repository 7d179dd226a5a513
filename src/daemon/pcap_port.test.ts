// Captures as ports of a daemon: what is in a file comes in, paced, and what is sent is in a file, readable at once.
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { openCapture } from '../port/capture/capture.ts'
import { openWriter } from '../port/capture/writer.ts'
import { type DaemonProcess, folder, refusedProcess, startProcess } from './process.fixture.ts'

const dir = folder()
let daemon: DaemonProcess | undefined
afterAll(async () => {
  await daemon?.end()
})

const FRAMES = 100
const frame = new Uint8Array(60).fill(0x5a)
frame.set([2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, 0x88, 0xb5])

/** FRAMES frames, a second apart from each other, each with its number. */
function write(path: string): void {
  const w = openWriter(path, { format: 'pcap', nanoseconds: true, source: frame, epoch: 1_700_000_000 })
  for (let i = 0; i < FRAMES; i++) {
    frame[20] = i
    w.write(0, frame.length, i * 1e9)
  }
  w.close()
}

interface Sent {
  readonly numbers: number[]
  readonly times: number[]
  readonly epoch: number
  readonly damaged: boolean
}

function read(path: string): Sent {
  const window = new Uint8Array(1 << 20)
  const c = openCapture(path, { window })
  const numbers: number[] = []
  const times: number[] = []
  for (let n = c.next(); n > 0; n = c.next())
    for (let i = 0; i < n; i++) {
      numbers.push(window[c.frames.offset[i] + 20])
      times.push(c.frames.time[i])
    }
  const { epoch, damage } = c
  c.close()
  return { numbers, times, epoch, damaged: damage !== null }
}

const script = `
tc qdisc add dev p0 clsact
tc filter add dev p0 ingress prio 1 protocol all matchall action mirred egress redirect dev p1
`

test('frames come in at a rate, in order, and again; what is sent is written with the time of day', async () => {
  const file = join(dir, 'in.pcap')
  const out = join(dir, 'out.pcap')
  write(file)
  writeFileSync(join(dir, 'rules.tc'), script)
  const began = Date.now() / 1000
  daemon = await startProcess({
    ports: [
      { name: 'p0', driver: 'pcap', in: file, rate: 500, loop: true },
      { name: 'p1', driver: 'pcap', out },
    ],
    scripts: [join(dir, 'rules.tc')],
    workers: 1,
  })
  await expect.poll(() => (existsSync(out) ? statSync(out).size : 0), { timeout: 60_000 }).toBeGreaterThan(250 * 76)
  const sent = read(out)
  expect(sent.damaged).toBe(false)
  // Every frame, in the file's order, and from the beginning again.
  expect(sent.numbers).toEqual(sent.numbers.map((_, i) => i % FRAMES))
  expect(sent.epoch).toBeGreaterThanOrEqual(Math.floor(began))
  expect(sent.epoch).toBeLessThanOrEqual(Date.now() / 1000)
  // 500 a second, however late the thread was at times: never sooner than they are due.
  const last = sent.times.length - 1
  expect(sent.times[last] - sent.times[0]).toBeGreaterThan((last / 500) * 1e9 * 0.5)
  await daemon.end()
  daemon = undefined
}, 120_000)

test('a capture that is none, and one that is not there, are refused by name', async () => {
  writeFileSync(join(dir, 'bad.pcap'), 'no capture at all, only text')
  for (const [name, why] of [
    ['bad.pcap', /port p0: pcap: .*bad\.pcap/],
    ['none.pcap', /port p0: pcap: .*ENOENT/],
  ] as const) {
    const d = await refusedProcess({ ports: [{ name: 'p0', driver: 'pcap', in: join(dir, name) }], workers: 1 })
    expect(d.status).toBe(3)
    expect(d.log).toMatch(why)
  }
  expect(readFileSync(join(dir, 'bad.pcap'), 'utf8')).toMatch(/^no capture/)
}, 120_000)
