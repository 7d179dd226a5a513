// A recorded session of tc 6.1 with a kernel (conformance data): every command line must give the messages that were sent
// then, what the kernel answered must print as what tc printed then, and what it told the group as `tc monitor` did.

import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { msgFlags, msgPid, msgSeq, msgType, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, viewOf } from '../wire/netlink.ts'
import { RTM_GETLINK, RTM_NEWLINK } from '../wire/rtm_link.ts'
import { RTM_GETACTION } from '../wire/tca_action.ts'
import { RTM_GETCHAIN, RTM_GETQDISC, RTM_GETTFILTER } from '../wire/tcm.ts'
import type { Devices } from './args.ts'
import { type Command, parseCommand, printReplies, refusal } from './command.ts'
import { LanguageError } from './language_error.ts'
import { splitLine } from './line.ts'
import { printNews } from './monitor.ts'
import { Printer } from './printer.ts'

const DATA = new URL('../../../shared/conformance/tc-output/', import.meta.url)
const present = existsSync(DATA)
const names = ['', 'lo', 'p0', 'p1', 'p2', 'vxlan0', 'geneve0', 'nlmon0']
const devices: Devices = { indexOf: (n) => Math.max(0, names.indexOf(n)), nameOf: (i) => names[i] ?? `if${i}` }

interface Message {
  readonly m: Uint8Array
  readonly request: boolean
}

interface Exchange {
  readonly request: Uint8Array
  readonly replies: Uint8Array[]
}

/** All messages of a capture of an nlmon device: 16 bytes of cooked header, then messages. */
function messages(pcap: Buffer): Message[] {
  const out: Message[] = []
  for (let o = 24; o < pcap.length; ) {
    const end = o + 16 + pcap.readUInt32LE(o + 8)
    for (let at = o + 16 + 16; at + 16 <= end; ) {
      const m = new Uint8Array(pcap.subarray(at, at + pcap.readUInt32LE(at)))
      if (m.length < 16) break
      at += (m.length + 3) & ~3
      const d = viewOf(m)
      const request = msgType(d) > NLMSG_DONE && (msgFlags(d) & NLM_F_REQUEST) !== 0 && msgPid(d) === 0
      out.push({ m, request })
    }
    o = end
  }
  return out
}

/** Requests of the session with their replies, device look-ups left out. */
function exchanges(all: readonly Message[]): Exchange[] {
  const bySeq = new Map<number, Exchange>()
  const out: Exchange[] = []
  for (const { m, request } of all) {
    const d = viewOf(m)
    const type = msgType(d)
    if (request) {
      const e: Exchange = { request: m, replies: [] }
      bySeq.set(msgSeq(d), e)
      if (type !== RTM_GETLINK) out.push(e)
    } else if (type !== RTM_NEWLINK && type !== NLMSG_DONE) {
      const e = bySeq.get(msgSeq(d))
      if (e && !e.replies.some((r) => Buffer.compare(r, m) === 0)) e.replies.push(m)
    }
  }
  return out
}

/** What was told to the group, each once: all that is no request, no reply of a dump or a get, no ack. */
function news(all: readonly Message[]): Uint8Array[] {
  const gets = [RTM_GETLINK, RTM_GETQDISC, RTM_GETTFILTER, RTM_GETCHAIN, RTM_GETACTION]
  const asked = new Set<number>()
  const out: Uint8Array[] = []
  for (const { m, request } of all) {
    const d = viewOf(m)
    // Sequence numbers come from a clock: a later command may have the number of an earlier question.
    if (request && gets.includes(msgType(d))) asked.add(msgSeq(d))
    else if (request) asked.delete(msgSeq(d))
    if (request || asked.has(msgSeq(d)) || msgType(d) <= NLMSG_DONE) continue
    if (out.length === 0 || Buffer.compare(out[out.length - 1], m) !== 0) out.push(m)
  }
  return out
}

interface Said {
  readonly argv: string
  readonly text: string
  readonly exit: number
}

function commands(text: string): Said[] {
  return text
    .split(/^\$ /m)
    .slice(1)
    .map((block) => {
      const [argv, ...lines] = block.split('\n')
      const end = lines.findIndex((l) => l.startsWith('[exit '))
      return { argv, text: lines.slice(0, end).join('\n'), exit: Number(/\d+/.exec(lines[end])?.[0]) }
    })
}

// Filters with an action that the catalogue does not have are left out of a listing.
function comparable(ours: string, theirs: string): [string, string] {
  const blocks = (text: string): string[] => text.split(/^(?=(?:added |deleted |)(?:filter|chain|qdisc) |total acts )/m)
  const [a, b] = [blocks(ours), blocks(theirs)]
  const known = (_: string, i: number): boolean => !a[i]?.includes('[Unknown action')
  return [a.filter(known).join(''), b.filter(known).join('')]
}

const pcap = present ? messages(readFileSync(new URL('nlmon.pcap', DATA))) : []

describe.skipIf(!present)('a recorded session (conformance data)', () => {
  const session = exchanges(pcap)
  const said = present ? commands(readFileSync(new URL('netlink/commands.txt', DATA), 'utf8')) : []

  let at = 0
  for (const s of said) {
    if (!s.argv.startsWith('tc ')) continue
    let command: Command
    try {
      command = parseCommand(splitLine(s.argv), devices)
    } catch (e) {
      if (!(e instanceof LanguageError)) throw e
      at++
      it.skip(`${s.argv}: ${e.message}`, () => {})
      continue
    }
    const exchange = session[at++]
    it(s.argv, () => {
      expect(command.requests.length).toBe(1)
      const theirs = Buffer.from(exchange.request)
      theirs.writeUInt32LE(0, 8)
      expect(Buffer.from(command.requests[0]).toString('hex')).toBe(theirs.toString('hex'))
      const isError = (m: Uint8Array): boolean => msgType(viewOf(m)) === NLMSG_ERROR
      const error = exchange.replies.find((m) => isError(m) && viewOf(m).getInt32(16, true) !== 0)
      if (error) {
        const e = refusal(command, error)
        expect([e.message, e.exitCode]).toEqual([s.text, s.exit])
        return
      }
      const replies = exchange.replies.filter((m) => !isError(m))
      const [a, b] = comparable(printReplies(command, replies, devices).replace(/\n$/, ''), s.text)
      expect(a).toBe(b)
    })
  }
})

describe.skipIf(!present)('tc monitor (conformance data)', () => {
  it('prints the news of the session as tc did', () => {
    const out = new Printer(devices)
    for (const m of news(pcap)) printNews(m, out)
    const [a, b] = comparable(out.finish(), readFileSync(new URL('netlink/monitor.txt', DATA), 'utf8'))
    // The capture ends a little before the monitor does.
    expect(a).toBe(b.slice(0, a.length))
    expect(a.split('\n').length).toBeGreaterThan(150)
  })
})
