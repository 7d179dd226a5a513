// Our requests and refusals against what the real tc 6.1 sent and said: the recorded command lines of the conformance data.

import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { Devices } from './args.ts'
import { parseCommand } from './command.ts'
import { LanguageError } from './language_error.ts'
import { splitLine } from './line.ts'

const DATA = new URL('../../../shared/conformance/', import.meta.url)
const present = existsSync(DATA)

interface Recorded {
  readonly argv: string
  readonly exit: number
  readonly stderr: string
  readonly nlmsgs: readonly string[]
}

interface Case {
  readonly file: string
  readonly class: string
  readonly setup: readonly Recorded[]
  readonly cmd: Recorded
}

// The recording machine's device numbers are not ours: each device gets a number that stands out, and where it stands
// anything may stand.
const MARK = 0x5a5a_0000
const seen: string[] = []
const devices: Devices = {
  indexOf: (name) => {
    if (!/^(lo|p\d|v0p\d|dummy\d|eth\d)$/.test(name)) return 0
    if (!seen.includes(name)) seen.push(name)
    return MARK + seen.indexOf(name)
  },
  nameOf: (i) => seen[i - MARK] ?? `if${i}`,
}

// What tc sends of `simple` runs on behind its command line, into the environment of the recording machine.
const environment = (theirs: Buffer): number => {
  const at = theirs.indexOf('GRPC_')
  return at < 0 ? theirs.length : at
}

function same(ours: Uint8Array, recorded: Buffer): boolean {
  if (ours.length !== recorded.length) return false
  const theirs = recorded.subarray(0, environment(recorded))
  ours = ours.subarray(0, theirs.length)
  const d = new DataView(ours.buffer, ours.byteOffset)
  for (let o = 0; o < ours.length; o += 4) {
    if (o === 8) continue // nlmsg_seq
    const n = o + 4 <= ours.length ? d.getUint32(o, true) : 0
    if (n >= MARK && n < MARK + seen.length) continue
    for (let i = o; i < o + 4 && i < ours.length; i++) if (ours[i] !== theirs[i]) return false
  }
  return true
}

const hex = (b: Uint8Array): string => Buffer.from(b).toString('hex')

/** What is wrong with our reading of a recorded line; "" when nothing is, null when the line is none of ours. */
function judge(r: Recorded): string | null {
  let ours: readonly Uint8Array[] = []
  try {
    const { requests, afterwards } = parseCommand(splitLine(r.argv), devices)
    ours = requests
    if (afterwards && r.nlmsgs.length === 0) throw afterwards
  } catch (e) {
    if (!(e instanceof LanguageError)) throw e
    if (e.message.includes('is not supported') || /^Unknown (filter|qdisc)/.test(e.message)) return null
    if (r.nlmsgs.length) return `refused: ${e.message}`
    if (e.exitCode !== r.exit) return `exit ${e.exitCode}, not ${r.exit}: ${e.message}`
    return sameText(e.message, r.stderr)
  }
  if (r.nlmsgs.length === 0) return `not refused: ${r.stderr}`
  const theirs = r.nlmsgs.map((m) => Buffer.from(m, 'hex'))
  if (ours.length === theirs.length && ours.every((m, i) => same(m, theirs[i]))) return ''
  return `\n  ours   ${ours.map(hex).join(' ')}\n  theirs ${r.nlmsgs.join(' ')}`
}

// The records are cut after 200 characters, and how a command is used is told in our own words.
function sameText(ours: string, theirs: string): string {
  const lines = (s: string): string[] => {
    const all = s.trimEnd().split('\n')
    const usage = all.findIndex((l) => /^usage:/i.test(l))
    return usage < 0 ? all : all.slice(0, usage)
  }
  const want = lines(theirs.length >= 150 ? theirs.slice(0, theirs.lastIndexOf('\n')) : theirs)
  const got = lines(ours).slice(0, want.length)
  return got.join('\n') === want.join('\n')
    ? ''
    : `\n  ours   ${JSON.stringify(ours)}\n  theirs ${JSON.stringify(theirs)}`
}

describe.skipIf(!present)('recorded requests of tc 6.1 (conformance data)', () => {
  const lines = present ? readFileSync(new URL('tc-requests/requests.jsonl', DATA), 'utf8').trim().split('\n') : []
  const cases = lines.map((l) => JSON.parse(l) as Case).filter((c) => !c.class.startsWith('tc61 too old'))
  const records = new Map<string, { r: Recorded; file: string }>()
  for (const c of cases) for (const r of [...c.setup, c.cmd]) records.set(r.argv, { r, file: c.file })

  it('are the same, byte for byte, or refused in the same words', () => {
    const wrong: string[] = []
    const foreign: string[] = []
    const families = new Map<string, number[]>()
    for (const { r, file } of records.values()) {
      const verdict = judge(r)
      if (verdict === null) foreign.push(r.argv)
      else if (verdict) wrong.push(`${r.argv}: ${verdict}`)
      const counts = families.get(file) ?? [0, 0, 0, 0]
      families.set(file, counts)
      counts[verdict === null ? 2 : verdict ? 3 : r.nlmsgs.length === 0 ? 1 : 0]++
    }
    const row = (...cells: readonly (string | number)[]): string =>
      cells.map((c, i) => (i === 0 ? String(c).padEnd(24) : String(c).padStart(9))).join('')
    const rows = [...families].sort().map(([file, counts]) => row(file, ...counts))
    process.stdout.write(`${[row('lines of tc', 'same', 'refused', 'foreign', 'wrong'), ...rows].join('\n')}\n`)
    expect(wrong).toEqual([])
    expect(records.size - foreign.length).toBeGreaterThan(130)
  })
})

describe.skipIf(!present)('recorded refusals of tc 6.1 (conformance data)', () => {
  const blocks = present ? readFileSync(new URL('tc-output/errors.txt', DATA), 'utf8').split('\n\n') : []
  const cases = blocks
    .map((b) => ({
      argv: /^\$ (tc .*)$/m.exec(b)?.[1] ?? '',
      exit: Number(/\[exit (\d+)\]/.exec(b)?.[1]),
      stderr: [...b.matchAll(/^stderr: (.*)$/gm)].map((m) => m[1]),
    }))
    .filter((c) => c.argv && !/-b(atch)?( |$)/.test(c.argv))

  it.each(cases)('$argv', ({ argv, exit, stderr }) => {
    const talked = exit === 0 || stderr.some((l) => /talking to the kernel|^RTNETLINK|^Error: [A-Z]/.test(l))
    let refused: LanguageError | null = null
    try {
      parseCommand(splitLine(argv), devices)
    } catch (e) {
      if (!(e instanceof LanguageError)) throw e
      refused = e
    }
    if (refused?.message.includes('is not supported')) return
    if (talked && exit !== 1 && exit !== 255) return expect(refused).toBeNull()
    if (exit === 0 || (exit === 255 && talked)) return
    expect(refused?.exitCode).toBe(exit)
    const usage = stderr.findIndex((l) => /^usage:/i.test(l))
    const want = usage < 0 ? stderr : stderr.slice(0, usage)
    expect(refused?.message.split('\n').slice(0, want.length)).toEqual(want)
  })
})
