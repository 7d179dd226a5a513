import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { CaptureError } from '../port/capture/capture.ts'
import { classicBytes, pcapngBytes, type TestFrame } from '../testing/capture_bytes.ts'
import { convert } from './convert.ts'
import { UsageError } from './usage_error.ts'

const dir = mkdtempSync(join(tmpdir(), 'flowerbed-convert-'))
afterAll(() => rmSync(dir, { recursive: true }))
const at = (name: string) => join(dir, name)

const frames: TestFrame[] = Array.from({ length: 5 }, (_, i) => ({
  seconds: 1_700_000_000 + i,
  nanos: 123_456_000 + i * 1000,
  bytes: Uint8Array.from({ length: 60 + i }, (_, k) => k),
}))

test('there and back gives the same bytes but for the snap length of the file header', async () => {
  for (const nano of [false, true]) {
    const original = classicBytes(frames, { nano })
    new DataView(original.buffer).setUint32(16, 262144, true)
    writeFileSync(at('a.pcap'), original)
    expect(await convert(at('a.pcap'), at('b.pcapng'))).toBe(0)
    expect(await convert(at('b.pcapng'), at('c.pcap'))).toBe(0)
    expect(readFileSync(at('c.pcap'), 'hex')).toBe(Buffer.from(original).toString('hex'))
  }
})

test('a damaged capture is converted as far as it goes', async () => {
  const bytes = pcapngBytes(frames)
  writeFileSync(at('cut.pcapng'), bytes.subarray(0, bytes.length - 10))
  expect(await convert(at('cut.pcapng'), at('cut.pcap'))).toBe(1)
  expect(readFileSync(at('cut.pcap')).length).toBe(24 + 4 * 16 + 60 + 61 + 62 + 63)
})

test('nothing is left behind by what cannot be done', async () => {
  writeFileSync(at('text.pcap'), 'no capture')
  const before = readdirSync(dir)
  await expect(convert(at('text.pcap'), at('new.pcap'))).rejects.toThrow(CaptureError)
  await expect(convert(at('a.pcap'), at('new.cap'))).rejects.toThrow(UsageError)
  await expect(convert(at('a.pcap'), at('a.pcap'))).rejects.toThrow(UsageError)
  await expect(convert(at('a.pcap'), at('nowhere/b.pcap'))).rejects.toThrow(/ENOENT/)
  expect(readdirSync(dir)).toEqual(before)
  expect(existsSync(at('new.pcap'))).toBe(false)
})
