// A recorded session of tc 6.1 with a kernel (conformance data): every command line must give the messages that were sent
// then, and what the kernel answered must print as what tc printed then.

import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { msgFlags, msgLen, msgSeq, msgType, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, viewOf } from '../wire/netlink.ts'
import { RTM_GETLINK, RTM_NEWLINK } from '../wire/rtm_link.ts'
import type { Devices } from './args.ts'
import { type Command, parseCommand, printReplies, refusal } from './command.ts'
import { LanguageError } from './language_error.ts'
import { splitLine } from './line.ts'

const DATA = new URL('../../../shared/conformance/tc-output/', import.meta.url)
const present = existsSync(DATA)
const names = ['', 'lo', 'p0', 'p1', 'p2', 'vxlan0', 'geneve0', 'nlmon0']

interface Exchange {
  readonly request: Uint8Array
  readonly replies: Uint8Array[]
}

/** Requests of the session with their replies, device look-ups left out. */
function exchanges(pcap: Buffer): Exchange[] {
  const all = new Map<number, Exchange>()
  const out: Exchange[] = []
  for (let o = 24; o < pcap.length; ) {
    const len = pcap.readUInt32LE(o + 8)
    // 16 bytes of cooked header, then messages
    for (let at = o + 16 + 16; at + 16 <= o + 16 + len; ) {
      const m = new Uint8Array(pcap.subarray(at, at + pcap.readUInt32LE(at)))
      if (m.length < 16) break
      at += (m.length + 3) & ~3
      const d = viewOf(m)
      const type = msgType(d)
      const request =
        type > NLMSG_DONE &&
        (msgFlags(d) & NLM_F_REQUEST) !== 0 &&
        pcap.readUInt32LE(at - ((m.length + 3) & ~3) + 12) === 0
      if (request) {
        const e: Exchange = { request: m, replies: [] }
        all.set(msgSeq(d), e)
        if (type !== RTM_GETLINK) out.push(e)
      } else if (type !== RTM_NEWLINK && type !== NLMSG_DONE) {
        const e = all.get(msgSeq(d))
        if (e && !e.replies.some((r) => Buffer.compare(r, m) === 0)) e.replies.push(m)
      }
    }
    o += 16 + len
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
  const blocks = (text: string): string[] => text.split(/^(?=filter )/m)
  const [a, b] = [blocks(ours), blocks(theirs)]
  const known = (_: string, i: number): boolean => !a[i]?.includes('[Unknown action')
  return [a.filter(known).join(''), b.filter(known).join('')]
}

describe.skipIf(!present)('a recorded session (conformance data)', () => {
  const session = present ? exchanges(readFileSync(new URL('nlmon.pcap', DATA))) : []
  const said = present ? commands(readFileSync(new URL('netlink/commands.txt', DATA), 'utf8')) : []
  const devices: Devices = { indexOf: (n) => Math.max(0, names.indexOf(n)), nameOf: (i) => names[i] ?? `if${i}` }

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
      const error = exchange.replies.find(
        (m) => msgType(viewOf(m)) === NLMSG_ERROR && viewOf(m).getInt32(16, true) !== 0,
      )
      if (error) {
        const e = refusal(command, error)
        expect([e.message, e.exitCode]).toEqual([s.text, s.exit])
      } else {
        const replies = exchange.replies.filter((m) => msgType(viewOf(m)) !== NLMSG_ERROR && msgLen(viewOf(m)) > 16)
        const [ours, theirs] = comparable(printReplies(command, replies, devices).replace(/\n$/, ''), s.text)
        expect(ours).toBe(theirs)
      }
    })
  }
})
