import { expect, test } from 'vitest'
import { ACTIONS, actionsBench } from './actions.ts'
import { cpuTime } from './cpu_time.ts'
import { encapWorkersBench } from './encap_workers.ts'
import { wrongEncap, wrongFrame, wrongGeneve, wrongPedit } from './reference.ts'
import type { Result } from './result.ts'
import { median, spread } from './statistics.ts'
import { innerFrame, remote, remoteMac, rules, vni } from './workload.ts'

function ipv4Sum(b: Uint8Array, o: number): number {
  let s = 0
  for (let i = 0; i < 20; i += 2) s += (b[o + i] << 8) | b[o + i + 1]
  while (s > 0xffff) s = (s & 0xffff) + (s >>> 16)
  return s
}

test('frames have the size asked for, a right header checksum, and addresses of their own', () => {
  const seen = new Set<string>()
  for (const f of [0, 1, 255, 256, 65535, 65536, 99_999])
    for (const size of [64, 594, 1514]) {
      const frame = innerFrame(f, size)
      expect(frame.length).toBe(size)
      expect(ipv4Sum(frame, 14)).toBe(0xffff)
      expect((frame[16] << 8) | frame[17]).toBe(size - 14)
      if (size === 64) seen.add(Buffer.from(frame.subarray(26, 34)).toString('hex'))
    }
  expect(seen.size).toBe(7)
})

test.each([
  [1, 1, 1],
  [1, 8, 8],
  [1000, 8, 1000],
  [40, 32, 40],
])('%i flows in %i masks: %i rules, in so many masks', (flows, masks, count) => {
  const lines = [...rules({ flows, masks })]
  expect(lines.length).toBe(count)
  expect(new Set(lines).size).toBe(count)
  // What a rule looks at: the length of its prefix, and whether it names a source port.
  const kinds = lines.map((l) => `${/src_ip \S+\/(\d+)/.exec(l)?.[1]} ${/src_port/.test(l)}`)
  expect(new Set(kinds).size).toBe(Math.min(masks, count))
  // The rule of the last flow is the last: its mask is the last that came to be when there are fewer flows than masks.
  expect(lines.at(-1)).toContain(`id ${vni(flows - 1)} `)
})

test('the reference takes the right frame and refuses every change but in id and source port', () => {
  const f = 1234
  const inner = innerFrame(f, 64)
  const frame = new Uint8Array(50 + 64)
  const d = new DataView(frame.buffer)
  frame.set(
    remoteMac(f)
      .split(':')
      .map((x) => Number.parseInt(x, 16)),
  )
  frame.set([2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 100, 0x12, 0x34, 0, 0, 64, 17], 6)
  frame.set([172, 16, 0, 1, ...remote(f).split('.').map(Number)], 26)
  d.setUint16(24, 0xffff - ipv4Sum(frame, 14))
  d.setUint16(34, 40000)
  d.setUint16(36, 4789)
  d.setUint16(38, 80)
  d.setUint32(42, 0x08000000)
  d.setUint32(46, vni(f) << 8)
  frame.set(inner, 50)
  expect(wrongEncap(frame, f, 64)).toBeNull()
  for (let i = 0; i < frame.length; i++) {
    const changed = frame.slice()
    changed[i] ^= 0x80
    if (i === 34) expect(wrongEncap(changed, f, 64)).toMatch(/source port/)
    else if (i === 35) expect(wrongEncap(changed, f, 64)).toBeNull()
    else expect(wrongEncap(changed, f, 64), `byte ${i}`).not.toBeNull()
  }
  expect(wrongEncap(frame.subarray(1), f, 64)).toMatch(/113 bytes instead of 114/)
})

test('the other references refuse what came in, or another flow', () => {
  const frame = innerFrame(7, 64)
  expect(wrongFrame(frame, 7, 64)).toBeNull()
  expect(wrongFrame(frame, 8, 64)).not.toBeNull()
  expect(wrongPedit(frame, 7, 64)).not.toBeNull()
  expect(wrongGeneve(frame, 7, 64)).toMatch(/64 bytes instead of 130/)
})

test.each(ACTIONS)('what actions measures is what the reference says: %s', { timeout: 120_000 }, (name) => {
  const results: Result[] = []
  actionsBench(name, 40, { runs: 1, ms: 10, mhz: 0, done: (r) => results.push(r) })
  expect(results).toMatchObject([{ suite: 'actions', case: name, flows: 40, verified: true }])
  expect(results[0].mpps).toBeGreaterThan(0)
})

test('two workers, each with its own packets, beside one alone', { timeout: 180_000 }, async () => {
  const results: Result[] = []
  const cases = ([64, 'imix'] as const).map((size) => ({ size, flows: 40, masks: 2 }))
  await encapWorkersBench(cases, 2, { runs: 1, ms: 10, mhz: 0, done: (r) => results.push(r) })
  expect(results).toMatchObject(cases.map((c) => ({ ...c, suite: 'encap', workers: 2, verified: true })))
  for (const r of results) for (const figure of [r.mpps, r.mppsWall, r.timesOne]) expect(figure).toBeGreaterThan(0)
})

test('median and spread', () => {
  expect([median([3, 1, 2]), median([4, 1, 2, 3])]).toEqual([2, 2.5])
  expect(spread([9, 10, 12])).toBeCloseTo(0.3)
})

test('CPU time goes on while this thread works', () => {
  const before = cpuTime()
  let x = 1
  while (cpuTime() - before < 5e6) x = Math.imul(x, 48271)
  expect(cpuTime() - before).toBeGreaterThanOrEqual(5e6)
})
