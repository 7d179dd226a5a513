// The journal's file and its writers: what a kill leaves is cut, what something else wrote is refused with its place, and
// one sync serves all who wait.
import { execFileSync, spawnSync } from 'node:child_process'
import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterAll, expect, test } from 'vitest'
import { createArena } from '../memory/arena.ts'
import { Builder, buildAck, buildError, msgSeq, NLM_F_ACK, NLM_F_REQUEST, parseError, viewOf } from '../wire/netlink.ts'
import { EIO } from '../wire/netlink_error.ts'
import { RTM_NEWTFILTER, tcmsg } from '../wire/tcm.ts'
import { breakJournal, cutJournal, Journal, journalInit, journalStats, journalTicket, writeJournal } from './journal.ts'
import { JournalError, readJournal } from './journal_format.ts'
import { JournalSync } from './journal_sync.ts'

const dir = mkdtempSync(join(tmpdir(), 'flowerbed-journal-'))
afterAll(() => rmSync(dir, { recursive: true }))
let files = 0
const file = (): string => join(dir, `${++files}.pcap`)

const b = new Builder(4096)
function filter(seq: number, padding = 0): Uint8Array {
  b.begin(RTM_NEWTFILTER, NLM_F_REQUEST | NLM_F_ACK, seq)
  tcmsg(b, 2, seq, 0xfffffff2, 0)
  b.attrStr(1, 'flower')
  if (padding > 0) b.attr(5, new Uint8Array(padding))
  return b.end()
}

/** The numbers of the messages in each part, and the end. */
function read(path: string) {
  const snapshot: number[] = []
  const tail: number[] = []
  const offsets: number[] = []
  const end = readJournal(path, (m, offset, part) => {
    ;(part === 'snapshot' ? snapshot : tail).push(msgSeq(viewOf(m)))
    offsets.push(offset)
  })
  return { snapshot, tail, offsets, end }
}

const arena = () => createArena({ bytes: 64 << 20, packets: 64, counters: 1024, emc: 1024 })
const ok = (m: Uint8Array) => () => [buildAck(m)]

function open(path: string, o: Partial<ConstructorParameters<typeof Journal>[1]> = {}, snapshot: Uint8Array[] = []) {
  const a = arena()
  journalInit(a, writeJournal(path, snapshot, 1000))
  const journal = new Journal(a, { path, wallClock: () => 1_700_000_000_123, ...o })
  return { a, journal, add: (seq: number, n = 0) => journal.around(filter(seq, n), ok(filter(seq))) }
}

test('what was done is there, what was refused is not', () => {
  const path = file()
  const { a, journal, add } = open(path, {}, [filter(100), filter(101)])
  add(1)
  const refused = filter(2)
  expect(parseError(journal.around(refused, () => [buildError(refused, 17)])[0]).errno).toBe(17)
  add(3)
  expect(() =>
    journal.around(filter(4), () => {
      throw new Error('a bug')
    }),
  ).toThrow('a bug')
  add(5)
  journal.close()
  const { snapshot, tail, end } = read(path)
  expect([snapshot, tail]).toEqual([
    [100, 101],
    [1, 3, 5],
  ])
  expect(end).toMatchObject({ torn: 0, records: 6, size: statSync(path).size })
  expect(journalStats(a)).toMatchObject({ bytes: end.size, records: 6, written: 3 })
})

test('a torn tail: every length at which a kill may have cut the file', () => {
  const path = file()
  const { journal, add } = open(path)
  for (let i = 0; i < 3; i++) add(i, 10)
  journal.close()
  const whole = readFileSync(path)
  const { offsets, end } = read(path)
  for (let size = end.snapshot; size <= whole.length; size++) {
    truncateSync(path, size)
    const sound = [...offsets.slice(1), whole.length].filter((o) => o <= size).length
    const got = read(path)
    expect(got.tail.length, String(size)).toBe(sound)
    expect(got.end.size + got.end.torn, String(size)).toBe(size)
    writeFileSync(path, whole)
  }
  // A hole at the end is torn as well.
  appendFileSync(path, new Uint8Array(5000))
  expect(read(path).end).toMatchObject({ torn: 5000, size: whole.length })
  cutJournal(path, whole.length)
  expect(readFileSync(path)).toEqual(whole)
})

test('damage anywhere before a sound record is refused, with its place', { timeout: 120_000 }, () => {
  const path = file()
  const { journal, add } = open(path, {}, [filter(100)])
  for (let i = 0; i < 40; i++) add(i, i * 37)
  journal.close()
  const whole = readFileSync(path)
  const { offsets, tail } = read(path)
  fc.assert(
    fc.property(fc.integer({ min: 24, max: whole.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const bytes = Buffer.from(whole)
      bytes[at] ^= flip
      writeFileSync(path, bytes)
      const record = offsets.filter((o) => o <= at).at(-1) as number
      if (record === offsets.at(-1)) {
        expect(read(path).tail).toEqual(tail.slice(0, -1))
        return
      }
      let e: unknown
      try {
        read(path)
      } catch (x) {
        e = x
      }
      expect(e).toBeInstanceOf(JournalError)
      // The end of the snapshot is no message, so its place is not in the list.
      expect((e as JournalError).offset).toBeGreaterThanOrEqual(record)
      expect((e as JournalError).offset).toBeLessThanOrEqual(at)
      expect((e as Error).message).toMatch(new RegExp(`^${path}: damaged at byte \\d+: `))
    }),
    { numRuns: 300 },
  )
  for (const [bytes, message] of [
    ['', /damaged at byte 0: shorter/],
    ['#!/bin/sh\n# something else altogether', /damaged at byte 0: not a capture/],
  ] as const) {
    writeFileSync(path, bytes)
    expect(() => read(path)).toThrow(message)
  }
  writeFileSync(path, whole.subarray(0, offsets[0] + 40))
  expect(() => read(path)).toThrow(/the snapshot has no end/)
})

test('records across the borders of the reader’s window', () => {
  const path = file()
  const { journal, add } = open(path)
  for (let i = 0; i < 60; i++) add(i, 60_000)
  journal.close()
  expect(read(path).tail).toEqual(Array.from({ length: 60 }, (_, i) => i))
  const whole = readFileSync(path)
  whole[whole.length - 10] ^= 1
  writeFileSync(path, whole)
  expect(read(path).tail.length).toBe(59)
  whole[2_000_000] ^= 1
  writeFileSync(path, whole)
  expect(() => read(path)).toThrow(JournalError)
})

test('a tail that is longer than the table: a new snapshot takes the place of the file', () => {
  const path = file()
  let table: Uint8Array[] = []
  const { a, journal, add } = open(path, { compactBytes: 4096, snapshot: () => table })
  for (let i = 0; i < 200; i++) {
    table = [filter(1000 + i)]
    add(i)
  }
  const got = read(path)
  expect(got.snapshot.length).toBe(1)
  expect(got.tail[0]).toBe(got.snapshot[0] - 1000 + 1)
  expect(got.tail.at(-1)).toBe(199)
  expect(got.end.size).toBeLessThan(4096 + 1000)
  expect(journalStats(a)).toMatchObject({ bytes: got.end.size, written: 200 })
  // Another thread's end follows to the new file.
  const other = new Journal(a, { path, wallClock: () => 0 })
  journal.compact()
  other.around(filter(777), ok(filter(777)))
  expect(read(path)).toMatchObject({ snapshot: [1199], tail: [777] })
  other.close()
  journal.close()
})

test('what cannot be written is refused with the system’s errno, and has not happened', () => {
  const path = '/dev/full'
  const a = arena()
  journalInit(a, writeJournal(file(), [], 0))
  const journal = new Journal(a, { path, wallClock: () => 0 })
  let done = 0
  const m = filter(1)
  const [reply] = journal.around(m, () => {
    done++
    return [buildAck(m)]
  })
  expect(parseError(reply)).toMatchObject({ errno: 28 })
  expect(parseError(reply).message).toMatch(/^journal: ENOSPC/)
  expect(done).toBe(0)
  breakJournal(a, EIO)
  expect(parseError(journal.around(m, () => [buildAck(m)])[0]).errno).toBe(EIO)
  journal.close()
})

test('group commit: one sync for all who wait, in order, none before its record is synced', async () => {
  const path = file()
  const { a, journal, add } = open(path)
  const sync = new JournalSync(a, {
    path,
    sync: 'always',
    intervalMs: 0,
    failed: (e) => expect.unreachable(String(e)),
  })
  const order: number[] = []
  const all: Promise<void>[] = []
  for (let i = 0; i < 500; i++) {
    add(i)
    const ticket = journalTicket(a)
    all.push(
      new Promise((resolve) =>
        sync.whenSafe(ticket, () => {
          order.push(i)
          resolve()
        }),
      ),
    )
    if (i === 250) journal.compact()
  }
  expect(order).toEqual([])
  await Promise.all(all)
  expect(order).toEqual(Array.from({ length: 500 }, (_, i) => i))
  expect(sync.syncs).toBeLessThan(10)
  // What is safe needs no wait.
  let now = false
  sync.whenSafe(journalTicket(a), () => {
    now = true
  })
  expect(now).toBe(true)
  await sync.close()
  journal.close()
})

test('without sync nobody waits', async () => {
  const path = file()
  const { a, journal, add } = open(path)
  for (const policy of ['none', 'interval'] as const) {
    const sync = new JournalSync(a, { path, sync: policy, intervalMs: 1, failed: () => {} })
    add(1)
    let now = false
    sync.whenSafe(journalTicket(a), () => {
      now = true
    })
    expect(now).toBe(true)
    if (policy === 'interval') await expect.poll(() => sync.syncs).toBeGreaterThan(0)
    await sync.close()
  }
  journal.close()
})

const tshark = spawnSync('tshark', ['--version']).status === 0
test.skipIf(!tshark)('tshark opens it (needs tshark)', { timeout: 60_000 }, () => {
  const path = file()
  const { journal, add } = open(path, {}, [filter(100)])
  add(1)
  journal.close()
  const text = execFileSync(
    'tshark',
    [
      '-r',
      path,
      '-T',
      'fields',
      '-e',
      'frame.time_epoch',
      '-e',
      'netlink.hdr_type',
      '-e',
      'netlink.family',
      '-e',
      'netlink.hdr_seq',
      '-E',
      'separator=,',
    ],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
  )
  const lines = text
    .trim()
    .split('\n')
    .map((line) => line.split(','))
  expect(lines.map((l) => Number(l.at(-1)))).toEqual([100, 0, 1])
  expect(lines.map((l) => Number(l[2]))).toEqual([0, 0, 0])
  expect(lines[2][0]).toMatch(/^1700000000\.123/)
})
