// Lists of actions that were read before: behind `action`, the lines of a batch are often word for word the same, since
// many rules share a tunnel.
//
// What becomes of such words depends on nothing but them and on the devices that they name. So the bytes of the last
// lists are kept with their words, and with the ifindex that each name had, which is asked again: a name may have gone
// to another device. A list is found by its words, two places for each hash, the older one is given up.
// Control threads only; each has its own.

import type { Builder } from '../wire/netlink.ts'
import type { Args } from './args.ts'

interface Known {
  readonly words: readonly string[]
  /** The list's attribute. */
  readonly bytes: Uint8Array
  readonly names: readonly string[]
  readonly ifindexes: readonly number[]
}

const PLACES = 1024
/** More words than this are read every time. */
const LONGEST = 128
const known: (Known | undefined)[] = new Array(PLACES).fill(undefined)

let words: readonly string[] = []
let from = 0
/** Where the list that recallActions looked for belongs, -1 for nowhere. */
let place = -1

function hashFrom(w: readonly string[], at: number): number {
  let h = 0
  for (let i = at; i < w.length; i++) {
    const word = w[i]
    const n = word.length
    // The end of a word tells more than its beginning: addresses and numbers count there.
    h = Math.imul(h ^ n ^ (word.charCodeAt(n - 1) << 8) ^ (word.charCodeAt(n >> 1) << 16), 0x9e3779b1)
    if (n > 2) h = Math.imul(h ^ (word.charCodeAt(n - 2) << 8) ^ word.charCodeAt(n - 3), 0x85ebca6b)
    h ^= h >>> 15
  }
  return (h >>> 0) % PLACES
}

function isIt(k: Known | undefined, args: Args, type: number): k is Known {
  if (k === undefined || k.words.length !== words.length - from || k.bytes[2] !== (type & 0xff)) return false
  for (let i = 0; i < k.words.length; i++) if (k.words[i] !== words[from + i]) return false
  for (let i = 0; i < k.names.length; i++) if (args.devices.indexOf(k.names[i]) !== k.ifindexes[i]) return false
  return true
}

/**
 * Writes the list that all words from the cursor on are, as it was read before, and goes behind them. False when it is
 * not known: whoever reads it then tells `keepActions`.
 */
export function recallActions(args: Args, b: Builder, type: number): boolean {
  words = args.words
  from = args.at
  place = -1
  if (args.left > LONGEST) return false
  place = hashFrom(words, from)
  let k = known[place]
  if (!isIt(k, args, type)) k = known[place ^ 1]
  if (!isIt(k, args, type)) {
    args.asked = []
    return false
  }
  b.bytes(k.bytes)
  args.at = words.length
  return true
}

/** The list that recallActions did not know is in `b` from `mark` on. It is kept when it went to the end of the line. */
export function keepActions(args: Args, b: Builder, mark: number): void {
  const names = args.asked ?? []
  args.asked = null
  // What was said about it would have to be said again.
  if (place < 0 || args.more || args.said.length > 0) return
  known[place ^ 1] = known[place]
  known[place] = {
    words: words.slice(from),
    bytes: b.u8s.slice(mark, b.at),
    names,
    ifindexes: names.map((name) => args.devices.indexOf(name)),
  }
}
