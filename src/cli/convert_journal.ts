// flowerbed convert: a journal as text, and back.
//
//   # a journal of flowerbed: a line for each rtnetlink message; what stands behind # is for people
//   # filter dev p0 ingress protocol ip pref 1 flower chain 0 handle 0x1 …
//   tail 1764349200123 78000000 2c00 0506 …
//
// Every message is there byte for byte, in hexadecimal, behind the part that it belongs to and its time in milliseconds since
// 1970; the comment before it is what `tc monitor` and `ip monitor` would print. So a journal can be read, searched, compared
// and, with care, mended: lines may be taken out, and the text made a journal again. Its checksums are made anew.

import { closeSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs'
import { fileHeader, type Part, readJournal, record, snapshotEnd } from '../rtnl/journal_format.ts'
import { type Devices, parseCommand, printReplies } from '../tc/command.ts'
import { attrString, msgLen, msgType, NLMSG_HDRLEN, parseAttrs, viewOf } from '../wire/netlink.ts'
import { IFINFOMSG_ATTRS, IFLA_IFNAME, ifiIndex, RTM_NEWLINK } from '../wire/rtm_link.ts'
import { UsageError } from './usage_error.ts'

const TITLE = '# a journal of flowerbed: a line for each rtnetlink message; what stands behind # is for people\n'

/** Devices as the messages so far have named them. */
class Names implements Devices {
  readonly #names = new Map<number, string>()
  readonly #tb = new Int32Array(IFLA_IFNAME + 1)

  hear(message: Uint8Array): void {
    const d = viewOf(message)
    if (msgType(d) !== RTM_NEWLINK || ifiIndex(d) === 0) return
    parseAttrs(d, IFINFOMSG_ATTRS, message.length, this.#tb, IFLA_IFNAME)
    if (this.#tb[IFLA_IFNAME]) this.#names.set(ifiIndex(d), attrString(d, this.#tb[IFLA_IFNAME]))
  }

  indexOf(name: string): number {
    return [...this.#names].find(([, n]) => n === name)?.[0] ?? 0
  }

  nameOf(ifindex: number): string {
    return this.#names.get(ifindex) ?? `if${ifindex}`
  }
}

/** A journal as text. Throws JournalError for one that is damaged. Returns 0, or 1 when its end was never finished. */
export function journalToText(from: string, to: string): number {
  const names = new Names()
  const monitors = ['tc', 'ip'].map((program) => parseCommand([program, 'monitor'], names))
  const torn = whole(to, (write) => {
    write(TITLE)
    const end = readJournal(from, (message, _, part, ms) => {
      names.hear(message)
      for (const monitor of monitors)
        for (const line of printReplies(monitor, [message], names).split('\n'))
          if (line.trim() !== '') write(`# ${line.trimEnd()}\n`)
      write(`${part} ${ms} ${hex(message)}\n`)
    })
    return end.torn
  })
  if (torn === 0) return 0
  process.stderr.write(`${from}: the last ${torn} bytes are of a record that was never finished\n`)
  return 1
}

/** A text as a journal. Throws UsageError with the line that is none. */
export function textToJournal(from: string, to: string): number {
  const records: { part: Part; ms: number; message: Uint8Array }[] = []
  readFileSync(from, 'utf8')
    .split('\n')
    .forEach((line, i) => {
      const text = line.replace(/#.*/, '').trim()
      if (text !== '') records.push(parse(text, `${from}:${i + 1}`))
    })
  if (records.length === 0) throw new UsageError(`${from}: there is no message in it`)
  const turn = records.findIndex((r) => r.part === 'tail')
  const snapshot = turn < 0 ? records.length : turn
  if (records.slice(snapshot).some((r) => r.part === 'snapshot'))
    throw new UsageError(`${from}: a message of the snapshot stands behind one of the tail`)
  return whole(to, (write) => {
    let number = 0
    write(fileHeader())
    for (const r of records.slice(0, snapshot)) write(record(r.message, number++, r.ms))
    write(record(snapshotEnd(), number++, records[Math.max(0, snapshot - 1)].ms))
    for (const r of records.slice(snapshot)) write(record(r.message, number++, r.ms))
    return 0
  })
}

function parse(text: string, where: string): { part: Part; ms: number; message: Uint8Array } {
  const m = /^(snapshot|tail)\s+(\d+(?:\.\d+)?)\s+([\da-f\s]+)$/i.exec(text)
  if (m === null)
    throw new UsageError(`${where}: expected snapshot or tail, milliseconds, and a message in hexadecimal`)
  const digits = m[3].replace(/\s/g, '')
  if (digits.length % 2 !== 0) throw new UsageError(`${where}: half a byte is missing`)
  const message = Uint8Array.from(Buffer.from(digits, 'hex'))
  if (message.length < NLMSG_HDRLEN || msgLen(viewOf(message)) !== message.length)
    throw new UsageError(`${where}: a message whose length is not its own`)
  return { part: m[1] as Part, ms: Number(m[2]), message }
}

/** Header, then words of eight digits. */
const hex = (message: Uint8Array): string =>
  Buffer.from(message)
    .toString('hex')
    .replace(/.{8}(?=.)/g, '$& ')

/** Writes a file that appears when it is whole. */
function whole(path: string, f: (write: (data: string | Uint8Array) => void) => number): number {
  const partial = `${path}.partial-${process.pid}`
  const fd = openSync(partial, 'w', 0o600)
  try {
    const result = f((data) => void writeSync(fd, typeof data === 'string' ? Buffer.from(data) : data))
    renameSync(partial, path)
    return result
  } finally {
    closeSync(fd)
    rmSync(partial, { force: true })
  }
}
