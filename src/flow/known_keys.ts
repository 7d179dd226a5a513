// Matches of a shape that was met before: the rules of a batch look at the same fields, and differ in a few values.
//
//   TCA_FLOWER_KEY_IP_PROTO · _IPV4_SRC 10.0.0.7 · _IPV4_SRC_MASK · _UDP_SRC 4711 · … · TCA_FLOWER_ACT · _KEY_ETH_TYPE
//   ╰──── literal ───────────────────╯     │     ╰──── literal ────╯           │   ╰ literal ╯            ╰─ literal ─╯
//                                bytes of the key                       bytes of the key
//
// TCA_FLOWER_ACT, which is known_lists.ts's, stands between a head and a tail, and may have any length.
//
// A shape that has come up often is studied: its options are read again with other values of the addresses, ports and ids
// among them (VALUES), and where the key then differs, and nothing else does, is where that value stands. Every other
// attribute, and a value that is not matched as a whole, is literal. A request of a known shape is compared word by word,
// its values are copied into the key of the shape's own scratch, and the packed words follow from those; what the mask
// comes to was worked out by the study. One KnownKeys for each thread.

import { flowKey } from '../match/index.ts'
import { type KeyDevices, type KeyExtra, keyExtra } from '../match/match.ts'
import { hashWords } from '../memory/flow_hash.ts'
import { NLA_HDRLEN, NLA_TYPE_MASK } from '../wire/netlink.ts'
import { NetlinkError } from '../wire/netlink_error.ts'
import * as Tca from '../wire/tca_flower.ts'
import { clearScratch, type MatchScratch, matchScratch, pack } from './match_scratch.ts'

/** A shape is studied when it comes up this often: a study reads the options about as many times. */
const OFTEN = 16
/** Shapes that are counted, and shapes that are known, at most. */
const COUNTED = 256
const KNOWN = 16
/** Longer matches are read every time. */
const LONGEST = 512

/** Attributes whose value is bytes to be compared, and means nothing for the rest. */
const VALUES: ReadonlySet<number> = new Set([
  Tca.TCA_FLOWER_KEY_ETH_DST,
  Tca.TCA_FLOWER_KEY_ETH_SRC,
  Tca.TCA_FLOWER_KEY_IPV4_SRC,
  Tca.TCA_FLOWER_KEY_IPV4_DST,
  Tca.TCA_FLOWER_KEY_IPV6_SRC,
  Tca.TCA_FLOWER_KEY_IPV6_DST,
  Tca.TCA_FLOWER_KEY_TCP_SRC,
  Tca.TCA_FLOWER_KEY_TCP_DST,
  Tca.TCA_FLOWER_KEY_UDP_SRC,
  Tca.TCA_FLOWER_KEY_UDP_DST,
  Tca.TCA_FLOWER_KEY_SCTP_SRC,
  Tca.TCA_FLOWER_KEY_SCTP_DST,
  Tca.TCA_FLOWER_KEY_ENC_KEY_ID,
  Tca.TCA_FLOWER_KEY_ENC_IPV4_SRC,
  Tca.TCA_FLOWER_KEY_ENC_IPV4_DST,
  Tca.TCA_FLOWER_KEY_ENC_IPV6_SRC,
  Tca.TCA_FLOWER_KEY_ENC_IPV6_DST,
  Tca.TCA_FLOWER_KEY_ENC_UDP_SRC_PORT,
  Tca.TCA_FLOWER_KEY_ENC_UDP_DST_PORT,
])

/** Where a value stands: offset in head and tail, in the key, and its length. */
interface Value {
  readonly from: number
  readonly to: number
  readonly bytes: number
}

export interface KnownKey {
  /** Bytes in front of TCA_FLOWER_ACT, and behind it. */
  readonly head: number
  readonly tail: number
  /** Offsets of the words of head and tail that are literal, and the words. */
  readonly places: Int32Array
  readonly literals: Int32Array
  readonly values: readonly Value[]
  readonly flags: number
  readonly classid: number
  /** What is matched: as of the last request of the shape. */
  readonly match: MatchScratch
}

export class KnownKeys {
  readonly #devices: KeyDevices
  /** The one that was met last stands first. */
  readonly #known: KnownKey[] = []
  readonly #counts = new Map<number, number>()

  constructor(devices: KeyDevices) {
    this.#devices = devices
  }

  /** The shape of the options [o, end), its match theirs until the next request; undefined when it is not known. */
  recall(d: DataView, o: number, end: number): KnownKey | undefined {
    const known = this.#known
    for (let i = 0; i < known.length; i++) {
      const k = known[i]
      if (!isOf(k, d, o, end)) continue
      for (let j = i; j > 0; j--) known[j] = known[j - 1]
      known[0] = k
      fill(k, d, o, end)
      return k
    }
    return undefined
  }

  /** The options that `recall` did not know are good ones; `act` is the payload of TCA_FLOWER_ACT, 0 without. */
  meet(d: DataView, o: number, end: number, act: number): void {
    const head = (act === 0 ? end : act - NLA_HDRLEN) - o
    const tail = act === 0 ? 0 : end - endOf(d, act - NLA_HDRLEN)
    if (tail < 0 || head + tail > LONGEST || ((head | tail) & 3) !== 0) return
    const bytes = new Uint8Array(head + tail)
    for (let i = 0; i < bytes.length; i++) bytes[i] = d.getUint8(i < head ? o + i : end - bytes.length + i)
    const hash = shapeOf(bytes)
    const count = (this.#counts.get(hash) ?? 0) + 1
    if (count === 1 && this.#counts.size === COUNTED) this.#counts.clear()
    this.#counts.set(hash, count)
    if (count !== OFTEN) return
    const shape = study(bytes, head, this.#devices)
    if (shape === undefined) return
    if (this.#known.length === KNOWN) this.#known.pop()
    this.#known.unshift(shape)
  }
}

/** Where the attribute behind the one at `o` begins. */
const endOf = (d: DataView, o: number): number => o + ((d.getUint16(o, true) + 3) & ~3)

/** A number for the attributes' types and lengths. */
function shapeOf(bytes: Uint8Array): number {
  const d = new DataView(bytes.buffer)
  let h = bytes.length
  for (let at = 0; at + NLA_HDRLEN <= bytes.length; at = endOf(d, at)) {
    h = Math.imul(h ^ d.getInt32(at, true), 0x9e3779b1)
    h ^= h >>> 15
  }
  return h
}

/** Are the options those of the shape, but for its values? */
function isOf(k: KnownKey, d: DataView, o: number, end: number): boolean {
  const { head, tail, places, literals } = k
  const act = end - o - head - tail
  if (act !== 0) {
    if (act < NLA_HDRLEN || endOf(d, o + head) !== end - tail) return false
    if ((d.getUint16(o + head + 2, true) & NLA_TYPE_MASK) !== Tca.TCA_FLOWER_ACT) return false
  }
  for (let i = 0; i < places.length; i++) {
    const at = places[i]
    if (d.getInt32(at < head ? o + at : o + act + at, true) !== literals[i]) return false
  }
  return true
}

/** Makes the shape's match that of the options [o, end). */
function fill(k: KnownKey, d: DataView, o: number, end: number): void {
  const { match, values, head, tail } = k
  const { key, key32, offsets, bits, words, count } = match
  for (let i = 0; i < values.length; i++) {
    const { from, to, bytes } = values[i]
    const at = from < head ? o + from : end - head - tail + from
    for (let j = 0; j < bytes; j++) key[to + j] = d.getUint8(at + j)
  }
  for (let i = 0; i < count; i++) words[i] = key32[offsets[i] >> 2] & bits[i]
  match.hash = hashWords(words, 0, count)
}

// ---- the study of a shape

/** What is put in the place of a value: no byte of the first is one of what stood there, nor of the second. */
const PROBES: readonly ((was: number, i: number) => number)[] = [
  (was) => ~was & 0xff,
  (was, i) => (was ^ (0x15 + i)) & 0xff,
  () => 0,
  () => 0xff,
]

interface Read {
  readonly key: Uint8Array
  readonly mask: Uint8Array
  readonly extra: KeyExtra
}

/** Finds where the values of head and tail stand in the key. Undefined when none does, or a device is named. */
function study(bytes: Uint8Array, head: number, devices: KeyDevices): KnownKey | undefined {
  const view = new DataView(bytes.buffer)
  const base = read(view, devices)
  if (base === undefined) return undefined
  const values: Value[] = []
  for (let at = 0; at + NLA_HDRLEN <= bytes.length; at = endOf(view, at)) {
    const type = view.getUint16(at + 2, true) & NLA_TYPE_MASK
    if (type === Tca.TCA_FLOWER_INDEV) return undefined // a name, which may come to mean another device
    if (!VALUES.has(type)) continue
    const value = placeOf(bytes, view, base, at + NLA_HDRLEN, view.getUint16(at, true) - NLA_HDRLEN, devices)
    if (value !== undefined) values.push(value)
  }
  // All at once, too: a value may not change what another one means.
  if (values.length === 0 || !PROBES.every((probe) => isThere(bytes, view, base, values, probe, devices)))
    return undefined
  const isValue = (word: number): boolean => values.some((v) => word >= v.from && word < v.from + v.bytes)
  const places: number[] = []
  for (let at = 0; at < bytes.length; at += 4) if (!isValue(at)) places.push(at)
  const match = matchScratch()
  clearScratch(match)
  match.key.set(base.key)
  match.mask.set(base.mask)
  pack(match)
  return {
    head,
    tail: bytes.length - head,
    places: Int32Array.from(places),
    literals: Int32Array.from(places, (at) => view.getInt32(at, true)),
    values,
    flags: base.extra.flags,
    classid: base.extra.classid,
    match,
  }
}

/** What options come to, undefined when they are refused; ranges are read every time. */
function read(view: DataView, devices: KeyDevices): Read | undefined {
  const s = matchScratch()
  const extra = keyExtra(devices)
  try {
    flowKey(view, 0, view.byteLength, s.key, s.mask, extra)
  } catch (e) {
    if (e instanceof NetlinkError) return undefined
    throw e
  }
  return extra.srcPortMax === 0 && extra.dstPortMax === 0 ? { key: s.key, mask: s.mask, extra } : undefined
}

/** The place of the value [from, from + length) of the options in the key, undefined when it is literal. */
function placeOf(
  bytes: Uint8Array,
  view: DataView,
  base: Read,
  from: number,
  length: number,
  devices: KeyDevices,
): Value | undefined {
  const was = bytes.slice(from, from + length)
  for (let i = 0; i < length; i++) bytes[from + i] = PROBES[0](was[i], i)
  const got = read(view, devices)
  bytes.set(was, from)
  if (got === undefined) return undefined
  const to = base.key.findIndex((b, i) => b !== got.key[i])
  if (to < 0 || !base.mask.subarray(to, to + length).every((b) => b === 0xff)) return undefined
  const value = { from, to, bytes: length }
  return PROBES.every((probe) => isThere(bytes, view, base, [value], probe, devices)) ? value : undefined
}

/** Does the key have other values in their places, and is all else as it was? */
function isThere(
  bytes: Uint8Array,
  view: DataView,
  base: Read,
  values: readonly Value[],
  probe: (was: number, i: number) => number,
  devices: KeyDevices,
): boolean {
  const before = bytes.slice()
  const want = base.key.slice()
  for (const { from, to, bytes: n } of values) {
    for (let i = 0; i < n; i++) bytes[from + i] = probe(before[from + i], i)
    want.set(bytes.subarray(from, from + n), to)
  }
  const got = read(view, devices)
  bytes.set(before)
  if (got === undefined || got.extra.flags !== base.extra.flags || got.extra.classid !== base.extra.classid)
    return false
  return want.every((b, i) => b === got.key[i]) && base.mask.every((b, i) => b === got.mask[i])
}
