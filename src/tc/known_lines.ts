// Lines of a shape that was met before: the rules of a batch differ in a few numbers and addresses, all else is the same
// letter for letter.
//
//   filter add dev p0 ingress pref 10 handle 7 flower src_ip 10.0.0.7 action mirred egress redirect dev p1
//   ╰───────────── literal ────────────────╯ │ ╰── literal ─╯ │       ╰───────────── literal ───────────╯
//                                    u32 at 20           be32 at 72
//
// A shape is studied when it has come up so often that its lines cost as much as the study does: the line is parsed again
// with other values in each of its places, and where the message then differs is where that value stands. A word whose
// values do not stand in one place as they are (ip_proto, which decides what other words mean; vlan_id, which has a
// limit) is literal. So nothing here knows a keyword, and what the parser refuses is refused by the parser: a line that
// is not exactly of a known shape goes there.
//
// A message of a known shape is the one that the study made, with this line's values written over the last one's.
// One KnownLines for each reader of a text; control threads only.

import { msgType, viewOf } from '../wire/netlink.ts'
import { RTM_DELTFILTER, RTM_NEWTFILTER } from '../wire/tcm.ts'
import type { Devices } from './args.ts'
import { type Command, type Given, parseCommand } from './command.ts'
import { LanguageError } from './language_error.ts'

/** A shape is studied when it comes up this often: a study parses a line about as many times. */
const OFTEN = 32
/** Shapes that are counted, and shapes that are known, at most. */
const COUNTED = 512
const KNOWN = 16

// How a value stands in a message.
const LE32 = 0
const BE32 = 1
const LE16 = 2
const BE16 = 3
const U8 = 4
const IPV4 = 5
const MAC = 6
type Form = typeof LE32 | typeof BE32 | typeof LE16 | typeof BE16 | typeof U8 | typeof IPV4 | typeof MAC

interface Shape {
  /** The bytes of all literals, one behind the other, and where each ends; a value stands behind each but the last. */
  readonly literals: Uint8Array
  readonly literalView: DataView
  readonly ends: Int32Array
  /** Of each value: its form, and its place in the message. */
  readonly forms: Int32Array
  readonly places: Int32Array
  readonly command: Command
  readonly message: Uint8Array
  readonly view: DataView
  /** What it was told of devices. */
  readonly names: readonly string[]
  readonly ifindexes: readonly number[]
}

const LINE_FEED = 0x0a

export class KnownLines {
  /** Behind the line that `recall` knew. */
  end = 0
  readonly #devices: Devices
  readonly #given: Given | undefined
  readonly #counts = new Map<string, number>()
  /** The one that was met last stands first. */
  readonly #shapes: Shape[] = []
  #text: Uint8Array = new Uint8Array(0)
  #view: DataView = new DataView(this.#text.buffer)

  constructor(devices: Devices, given?: Given) {
    this.#devices = devices
    this.#given = given
  }

  /**
   * The command of the line that begins at `from`, undefined when its shape is not known; `end` is then behind its line
   * feed. Its request is the shape's own and valid until the next line.
   */
  recall(text: Uint8Array, from: number): Command | undefined {
    const shapes = this.#shapes
    for (let i = 0; i < shapes.length; i++) {
      const s = shapes[i]
      const end = fill(s, text, this.#viewOf(text), from)
      if (end < 0 || !this.#areThere(s)) continue
      for (let j = i; j > 0; j--) shapes[j] = shapes[j - 1]
      shapes[0] = s
      this.end = end
      return s.command
    }
    return undefined
  }

  /**
   * The line [from, to) of the text, which `recall` did not know, has these words, apart by blanks or by NUL, and became
   * this command.
   */
  meet(text: Uint8Array, from: number, to: number, words: readonly string[], command: Command): void {
    if (!isChange(command)) return
    const name = shapeName(words)
    const count = (this.#counts.get(name) ?? 0) + 1
    if (count === 1 && this.#counts.size === COUNTED) this.#counts.clear()
    this.#counts.set(name, count)
    if (count !== OFTEN) return
    const shape = study(text.slice(from, to), words, this.#devices, this.#given)
    if (shape === undefined) return
    if (this.#shapes.length === KNOWN) this.#shapes.pop()
    this.#shapes.unshift(shape)
  }

  /** The text that is being read, in words too. */
  #viewOf(text: Uint8Array): DataView {
    if (text !== this.#text) {
      this.#text = text
      this.#view = new DataView(text.buffer, text.byteOffset, text.byteLength)
    }
    return this.#view
  }

  /** A name may have gone to another device. */
  #areThere(s: Shape): boolean {
    for (let i = 0; i < s.names.length; i++) if (this.#devices.indexOf(s.names[i]) !== s.ifindexes[i]) return false
    return true
  }
}

/** One request that changes filters, and nothing around it. */
function isChange(c: Command): boolean {
  if (c.requests.length !== 1 || c.before || c.then || c.show || c.usage !== undefined || c.warning) return false
  const type = msgType(viewOf(c.requests[0]))
  return type === RTM_NEWTFILTER || type === RTM_DELTFILTER
}

const isDigit = (c: number): boolean => c >= 0x30 && c <= 0x39

/** What lines of one shape have in common. */
function shapeName(words: readonly string[]): string {
  let name = ''
  for (const w of words)
    name += isDigit(w.charCodeAt(0)) || (w.length === 17 && w.charCodeAt(2) === 0x3a) ? ' 0' : ` ${w}`
  return name
}

// ---- a line of a known shape

/** Writes the values of the line at `from` into the shape's message; where the next line begins, -1: another shape. */
function fill(s: Shape, text: Uint8Array, words: DataView, from: number): number {
  const { literals, literalView, ends, forms, places, view } = s
  const values = forms.length
  const lastWord = text.length - 4
  let o = from
  let l = 0
  for (let i = 0; ; i++) {
    const end = ends[i]
    for (; l + 4 <= end && o <= lastWord; l += 4, o += 4)
      if (words.getInt32(o, true) !== literalView.getInt32(l, true)) return -1
    for (; l < end; l++, o++) if (text[o] !== literals[l]) return -1
    if (i === values) break
    const form = forms[i]
    const place = places[i]
    if (form === MAC) {
      o = readMac(text, o, s.message, place)
      if (o < 0) return -1
      continue
    }
    o = form === IPV4 ? readIpv4(text, o) : readNumber(text, o)
    if (o < 0) return -1
    switch (form) {
      case LE32:
        view.setUint32(place, value, true)
        break
      case BE32:
      case IPV4:
        view.setUint32(place, value)
        break
      case LE16:
      case BE16:
        if (value > 0xffff) return -1
        view.setUint16(place, value, form === LE16)
        break
      default:
        if (value > 0xff) return -1
        view.setUint8(place, value)
    }
  }
  if (o === text.length) return o
  return text[o] === LINE_FEED ? o + 1 : -1
}

/** What the last reader read. */
let value = 0

/** A number as everybody writes it, above 0, below 2^32; gives where it ends, -1 when there is none. */
function readNumber(text: Uint8Array, o: number): number {
  let c = text[o]
  if (!(c >= 0x31 && c <= 0x39)) return -1
  let n = 0
  for (const limit = o + 10; c >= 0x30 && c <= 0x39; c = text[++o]) {
    if (o === limit) return -1
    n = n * 10 + (c - 0x30)
  }
  if (n > 0xffffffff) return -1
  value = n
  return o
}

/** An address in four numbers, not 0.0.0.0. */
function readIpv4(text: Uint8Array, o: number): number {
  let address = 0
  for (let i = 0; ; i++) {
    let c = text[o]
    if (!(c >= 0x30 && c <= 0x39)) return -1
    let n = c - 0x30
    for (c = text[++o]; c >= 0x30 && c <= 0x39; c = text[++o]) {
      if (n === 0 || n > 25) return -1 // 08 is none, 010 is eight
      n = n * 10 + (c - 0x30)
    }
    if (n > 255) return -1
    address = (address << 8) | n
    if (i === 3) break
    if (c !== 0x2e) return -1
    o++
  }
  if (address === 0) return -1
  value = address >>> 0
  return o
}

const HEX = new Int8Array(256).fill(-1)
for (let v = 0; v < 16; v++) {
  HEX[v.toString(16).charCodeAt(0)] = v
  HEX[v.toString(16).toUpperCase().charCodeAt(0)] = v
}

/** An Ethernet address of six times two digits, not zero, into `out`. */
function readMac(text: Uint8Array, o: number, out: Uint8Array, at: number): number {
  if (o + 17 > text.length) return -1
  let any = 0
  for (let i = 0; i < 6; i++, o += 3) {
    const high = HEX[text[o]]
    const low = HEX[text[o + 1]]
    if (high < 0 || low < 0 || (i < 5 && text[o + 2] !== 0x3a)) return -1
    any |= out[at + i] = (high << 4) | low
  }
  return any === 0 ? -1 : o - 1
}

// ---- the study of a shape

/** What is put in the place of a word: its text, and its bytes in the form that it may have. */
interface Probe {
  readonly text: string
  readonly bytes: Uint8Array
}

const numbers = (form: Form, values: readonly number[]): Probe[] =>
  values.map((v) => {
    const d = new DataView(new ArrayBuffer(form === LE32 || form === BE32 ? 4 : form === U8 ? 1 : 2))
    if (form === LE32 || form === BE32) d.setUint32(0, v, form === LE32)
    else if (form === U8) d.setUint8(0, v)
    else d.setUint16(0, v, form === LE16)
    return { text: String(v), bytes: new Uint8Array(d.buffer) }
  })

// Least and largest value are among them. No byte of the first is a byte of the second: one of them differs everywhere.
const U32 = [0x5a3b1c7d, 0x2b4d6f08, 1, 0xffffffff]
const U16 = [0x5a3b, 0x2b4d, 1, 0xffff]
const OCTETS = [
  [0x5a, 0x3b, 0x1c, 0x7d, 0x66, 0x19],
  [0x2b, 0x4d, 0x6f, 0x08, 0x91, 0xe4],
  [0, 0, 0, 1, 0, 1],
  [255, 255, 255, 255, 255, 255],
]
const PROBES: Readonly<Record<Form, readonly Probe[]>> = {
  [LE32]: numbers(LE32, U32),
  [BE32]: numbers(BE32, U32),
  [LE16]: numbers(LE16, U16),
  [BE16]: numbers(BE16, U16),
  [U8]: numbers(U8, [0x5a, 0x2b, 1, 0xff]),
  [IPV4]: OCTETS.map((o) => ({ text: o.slice(0, 4).join('.'), bytes: Uint8Array.from(o.slice(0, 4)) })),
  [MAC]: OCTETS.map((o) => ({
    text: o.map((b) => b.toString(16).padStart(2, '0')).join(':'),
    bytes: Uint8Array.from(o),
  })),
}

/** The forms that the value of a word may have: those whose reader reads all of it. */
function formsOf(word: Uint8Array): readonly Form[] {
  const n = word.length
  if (readNumber(word, 0) === n) return [LE32, BE32, LE16, BE16, U8]
  if (readIpv4(word, 0) === n) return [IPV4]
  return n === 17 && readMac(word, 0, new Uint8Array(6), 0) === n ? [MAC] : []
}

interface Value {
  /** Which word. */
  readonly word: number
  readonly form: Form
  readonly place: number
}

/**
 * Finds where the values of a line stand in its message. Undefined when none does, or when the words are not the line's
 * as they stand there: it has comments or quotes, or goes on behind a backslash.
 */
function study(line: Uint8Array, words: readonly string[], devices: Devices, given?: Given): Shape | undefined {
  const ranges = wordsOf(line)
  if (ranges.length !== words.length) return undefined
  for (const [i, [o, end]] of ranges.entries()) if (decoder.decode(line.subarray(o, end)) !== words[i]) return undefined
  const names: string[] = []
  const ifindexes: number[] = []
  const asked: Devices = {
    indexOf(name) {
      const ifindex = devices.indexOf(name)
      if (!names.includes(name)) ifindexes[names.push(name) - 1] = ifindex
      return ifindex
    },
    nameOf: (i) => devices.nameOf(i),
  }
  const command = parseCommand(words, asked, given)
  const message = command.requests[0].slice()
  const messageOf = (changed: ReadonlyMap<number, string>): Uint8Array | undefined => {
    try {
      return parseCommand(
        words.map((w, i) => changed.get(i) ?? w),
        devices,
        given,
      ).requests[0]
    } catch (e) {
      if (e instanceof LanguageError) return undefined
      throw e
    }
  }
  const values: Value[] = []
  for (const [word, [o, end]] of ranges.entries()) {
    for (const form of formsOf(line.subarray(o, end))) {
      const place = placeOf(message, PROBES[form], (probe) => messageOf(new Map([[word, probe]])))
      if (place < 0) continue
      values.push({ word, form, place })
      break
    }
  }
  // All at once, too: a value may not change what another one means.
  for (let i = 0; i < 4; i++) {
    const probes = values.map((v, j) => PROBES[v.form][(i + j) % 4])
    const got = messageOf(new Map(values.map((v, j) => [v.word, probes[j].text])))
    const want = message.slice()
    for (const [j, v] of values.entries()) want.set(probes[j].bytes, v.place)
    if (got === undefined || !equal(got, want)) return undefined
  }
  if (values.length === 0) return undefined
  const literals: number[] = []
  const ends: number[] = []
  let at = 0
  for (const [o, end] of [...values.map((v) => ranges[v.word]), [line.length, line.length]]) {
    literals.push(...line.subarray(at, o))
    ends.push(literals.length)
    at = end
  }
  const bytes = Uint8Array.from(literals)
  return {
    literals: bytes,
    literalView: new DataView(bytes.buffer),
    ends: Int32Array.from(ends),
    forms: Int32Array.from(values, (v) => v.form),
    places: Int32Array.from(values, (v) => v.place),
    command: { ...command, requests: [message] },
    message,
    view: new DataView(message.buffer, message.byteOffset, message.byteLength),
    names,
    ifindexes,
  }
}

const decoder = new TextDecoder()

/** Where words begin and end. */
function wordsOf(line: Uint8Array): [number, number][] {
  const ranges: [number, number][] = []
  const isBlank = (c: number): boolean => c === 0x20 || c === 0x09 || c === 0x0d || c === 0
  for (let o = 0; o < line.length; o++) {
    if (isBlank(line[o])) continue
    const begin = o
    while (o < line.length && !isBlank(line[o])) o++
    ranges.push([begin, o])
  }
  return ranges
}

/** Where every probe makes the message its bytes, and changes nothing else; -1 nowhere. */
function placeOf(
  message: Uint8Array,
  probes: readonly Probe[],
  messageOf: (text: string) => Uint8Array | undefined,
): number {
  const got: Uint8Array[] = []
  for (const p of probes) {
    const m = messageOf(p.text)
    if (m === undefined || m.length !== message.length) return -1
    got.push(m)
  }
  const width = probes[0].bytes.length
  let first = 0
  while (first < message.length && got[0][first] === got[1][first]) first++
  if (first + width > message.length) return -1
  for (const [i, p] of probes.entries()) {
    const want = message.slice()
    want.set(p.bytes, first)
    if (!equal(got[i], want)) return -1
  }
  return first
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}
