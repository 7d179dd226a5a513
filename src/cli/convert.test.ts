import { appendFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { CaptureError } from '../port/capture/capture.ts'
import { execute } from '../replay/execute.ts'
import { writeJournal } from '../rtnl/journal.ts'
import { record } from '../rtnl/journal_format.ts'
import { switchSnapshot } from '../switch/snapshot.ts'
import { createSwitch } from '../switch/switch.ts'
import { classicBytes, pcapngBytes, type TestFrame } from '../testing/capture_bytes.ts'
import { Builder } from '../wire/netlink.ts'
import { RTM_DELADDR } from '../wire/rtm_addr.ts'
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

test('a journal is text for people, and the same bytes again', async () => {
  const sw = createSwitch({
    ports: [0, 1].map((i) => ({ name: `p${i}`, mac: Uint8Array.of(2, 0, 0, 0, 0, i), mtu: 1500 })),
  })
  for (const line of [
    'ip addr add 10.0.0.1/24 dev p1',
    'tc qdisc add dev p0 clsact',
    'tc filter add dev p0 ingress protocol ip pref 7 flower dst_ip 10.1.2.3 action mirred egress redirect dev p1',
  ])
    execute(sw, line.split(' '))
  const ports = [0, 1].map((i) => ({ name: `p${i}`, mac: Uint8Array.of(2, 0, 0, 0, 0, i), mtu: 1500 }))
  const end = writeJournal(at('journal.pcap'), switchSnapshot(sw.control, ports), 1_764_349_200_123)
  const request = new Builder(256)
  request.begin(RTM_DELADDR, 1)
  request.pad(8)
  appendFileSync(at('journal.pcap'), record(request.end(), end.records, 1_764_349_201_000))

  expect(await convert(at('journal.pcap'), at('journal.txt'))).toBe(0)
  const text = readFileSync(at('journal.txt'), 'utf8')
  expect(text).toMatch(/# .*filter dev p0 ingress protocol ip pref 7 flower/)
  expect(text).toContain('dst_ip 10.1.2.3')
  expect(text).toMatch(/inet 10\.0\.0\.1\/24/)
  expect(text).toMatch(/^tail 1764349201000 18000000 15000100/m)
  expect(await convert(at('journal.txt'), at('again.pcap'))).toBe(0)
  expect(readFileSync(at('again.pcap'), 'hex')).toBe(readFileSync(at('journal.pcap'), 'hex'))

  const bytes = readFileSync(at('journal.pcap'))
  writeFileSync(at('torn.pcap'), bytes.subarray(0, bytes.length - 3))
  expect(await convert(at('torn.pcap'), at('torn.txt'))).toBe(1)
  writeFileSync(at('wrong.txt'), 'tail 1 zz\n')
  await expect(convert(at('wrong.txt'), at('w.pcap'))).rejects.toThrow(/wrong\.txt:1: expected snapshot or tail/)
  writeFileSync(at('wrong.txt'), '# nothing\n\nsnapshot 1 10000000 03000000\n')
  await expect(convert(at('wrong.txt'), at('w.pcap'))).rejects.toThrow(
    /wrong\.txt:3: a message whose length is not its own/,
  )
  expect(existsSync(at('w.pcap'))).toBe(false)
})
