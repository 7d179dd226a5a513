// `ip` command lines against what the real ip 6.1 sent and printed (recorded; see the files' first lines).

import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { Devices } from './args.ts'
import { type Command, parseCommand, printReplies } from './command.ts'
import { LanguageError } from './language_error.ts'
import { splitLine } from './line.ts'

interface Recorded {
  readonly argv: string
  readonly requests: string[]
  readonly replies: string[]
  readonly stdout: string[]
  readonly stderr: string[]
  exit: number
}

function read(file: string): { devices: Devices; records: Recorded[] } {
  const names = new Map<string, number>()
  const records: Recorded[] = []
  for (const line of readFileSync(new URL(file, import.meta.url), 'utf8').split('\n')) {
    const [mark, rest] = [line.slice(0, 2), line.slice(2)]
    const r = records[records.length - 1]
    if (line.startsWith('devices ')) {
      for (const pair of line.slice(8).split(' ')) names.set(pair.split('=')[0], Number(pair.split('=')[1]))
    } else if (mark === '$ ') records.push({ argv: rest, requests: [], replies: [], stdout: [], stderr: [], exit: 0 })
    else if (mark === '> ') r.requests.push(rest)
    else if (mark === '< ') r.replies.push(rest)
    else if (mark === '| ') r.stdout.push(rest)
    else if (mark === '! ') r.stderr.push(rest)
    else if (line.startsWith('exit ')) r.exit = Number(line.slice(5))
  }
  const nameOf = (i: number): string => [...names].find(([, n]) => n === i)?.[0] ?? `if${i}`
  return { devices: { indexOf: (n) => names.get(n) ?? 0, nameOf }, records }
}

const hex = (b: Uint8Array): string => Buffer.from(b).toString('hex')

describe('requests of ip', () => {
  const { devices, records } = read('./ip_requests.recorded.txt')
  it.each(records)('$argv', (r) => {
    let command: Command
    try {
      command = parseCommand(splitLine(r.argv), devices)
    } catch (e) {
      if (!(e instanceof LanguageError)) throw e
      expect([e.exitCode, r.requests]).toEqual([r.exit, []])
      if (!e.message.startsWith('Usage')) expect(e.message.split('\n').slice(0, r.stderr.length)).toEqual(r.stderr)
      return
    }
    expect(command.requests.map(hex)).toEqual(r.requests)
    if (r.stderr.length) expect(command.warning).toBe(r.stderr.join('\n'))
  })
})

describe('listings of ip', () => {
  const { devices, records } = read('./ip_listings.recorded.txt')
  it.each(records)('$argv', (r) => {
    const command = parseCommand(splitLine(r.argv), devices)
    expect(command.requests.map(hex)).toEqual(r.requests)
    const replies = r.replies.map((h) => new Uint8Array(Buffer.from(h, 'hex')))
    expect(printReplies(command, replies, devices).split('\n').slice(0, -1)).toEqual(r.stdout)
  })
})
