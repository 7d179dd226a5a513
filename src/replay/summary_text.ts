// The summary as a table for people.
import { dropReasons } from '../datapath/drop_reason.ts'
import { lookupAlarmText } from '../datapath/lookup_alarm.ts'
import type { Summary } from './summary.ts'

type Row = readonly (string | number)[]

/** Rows under a heading, columns as wide as they need; numbers to the right. */
function table(head: Row, rows: readonly Row[]): string {
  if (rows.length === 0) return ''
  const all = [head, ...rows]
  const width = head.map((_, c) => Math.max(...all.map((r) => String(r[c]).length)))
  const right = head.map((_, c) => rows.every((r) => typeof r[c] === 'number'))
  const line = (r: Row) =>
    r.map((cell, c) => (right[c] ? String(cell).padStart(width[c]) : String(cell).padEnd(width[c]))).join('  ')
  return `\n${all.map((r) => line(r).trimEnd()).join('\n')}\n`
}

const plural = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? '' : 's'}`

/** The whole text. */
export function summaryText(s: Summary): string {
  const sentences = new Map(dropReasons.map((r) => [r.name, r.sentence]))
  const cut = s.captures.reduce((sum, c) => sum + c.cut, 0)
  return [
    `${plural(s.packets.in, 'packet')} in, ${s.packets.out} out, ${s.packets.dropped} dropped\n`,
    cut > 0 ? `${plural(cut, 'frame')} went in short: the capture holds only their beginning\n` : '',
    s.longLookups === undefined ? '' : `${lookupAlarmText(s.longLookups)}\n`,
    table(
      ['port', 'packets in', 'bytes in', 'packets out', 'bytes out'],
      Object.entries(s.ports).map(([name, p]) => [name, p.in.packets, p.in.bytes, p.out.packets, p.out.bytes]),
    ),
    table(
      ['dropped', 'packets', 'why'],
      Object.entries(s.drops).map(([name, n]) => [name, n, sentences.get(name) ?? '']),
    ),
    table(
      ['rule', 'chain', 'pref', 'handle', 'packets', 'bytes', 'path'],
      s.flows.map((f) => [f.hook, f.chain, f.pref, f.handle, f.packets, f.bytes, f.why ? `slow: ${f.why}` : f.path]),
    ),
    table(
      ['tunnel', 'from', 'to', 'id', 'next hop', 'state'],
      s.encaps.map((e) => [
        e.dev,
        e.src,
        e.dst,
        e.key,
        e.nexthop,
        e.fast ? 'fast' : e.valid ? 'held' : `slow: ${e.why}`,
      ]),
    ),
  ].join('')
}
