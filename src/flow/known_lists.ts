// Lists of actions that were met before: the rules of a batch do the same to other packets, so behind their keys stands
// the same list, byte for byte.
//
//   met once        its hash is noted
//   met again       it is kept: the bytes, the words that each action came to, the outline of the programs
//   met after that  instances are made of those words, programs of that outline; nothing is read or laid out anew
//
// A list is kept when its instances depend on nothing but its bytes and the devices that they name: no action has an
// index of its own choosing or a cookie, and every kind says what to keep (action.ts). Whether the devices are still those
// is asked each time; when they are not, the list is read as any other.
//
// What a rule owns it gets as ever: instances with an index of the lowest, a tun_info, a counter, its encap entries. An
// instance can be given other parameters (`tc actions replace`) as soon as it is in its table, before its flow is made;
// the flow of a known list is therefore made for instances of generation 0, and does not join when they have another
// (flow.ts isStale). One KnownLists for each thread.

import type { ActionKind } from '../action/action.ts'
import { kindById, parmsOf } from '../action/index.ts'
import { tunOf } from '../action/tunnel_key.ts'
import type { EncapItem } from '../encap/encap.ts'
import {
  ACT_COOKIE,
  ACT_FLAGS,
  ACT_GENERATION,
  ACT_HW_STATS,
  ACT_INSTALLED,
  ACT_KIND,
} from '../memory/layout/action.ts'
import { load } from '../sync/atomic.ts'
import { attrLen, parseAttrs } from '../wire/netlink.ts'
import * as Tca from '../wire/tca_action.ts'
import { discardAction, freeAction, insertAction, makeAction, putAction } from './action_table.ts'
import { ACTIONS_MAX, type Outline, outline } from './compile.ts'
import type { FlowContext } from './context.ts'

/** An action of a list. */
interface KnownAction {
  readonly kind: ActionKind
  readonly flags: number
  readonly hwStats: number
  readonly kept: Int32Array
}

export interface KnownList {
  /** The content of the nest. */
  readonly words: Int32Array
  readonly clsFlags: number
  readonly actions: readonly KnownAction[]
  /** Of each encap destination: the action whose metadata it takes, the device. */
  readonly metadata: Int32Array
  readonly devices: Int32Array
  readonly outline: Outline
}

/** Each hash has two places, the older list is given up. */
const PLACES = 4096
/** Longer lists are read every time. */
const LONGEST = 2048

const list = new Int32Array(ACTIONS_MAX + 1)
const attrs = new Int32Array(Tca.TCA_ACT_IN_HW_COUNT + 1)

export class KnownLists {
  readonly #lists: (KnownList | undefined)[] = new Array(PLACES).fill(undefined)
  /** Hash of the list that was met last at a place. */
  readonly #met = new Int32Array(PLACES)
  /** The list that was recalled last. */
  #last: KnownList | undefined
  /** Hash of the list that `recall` did not know, 0: it is not to be kept. */
  #hash = 0

  /** The list whose nest begins at `payload`, undefined when it is not known. */
  recall(d: DataView, payload: number, clsFlags: number): KnownList | undefined {
    const bytes = attrLen(d, payload)
    this.#hash = 0
    if (bytes > LONGEST || (bytes & 3) !== 0 || payload + bytes > d.byteLength) return undefined
    const last = this.#last
    if (last !== undefined && isSame(last, d, payload, bytes, clsFlags)) return last
    const hash = hashOf(d, payload, bytes, clsFlags)
    for (let i = 0; i < 2; i++) {
      const known = this.#lists[placeOf(hash) ^ i]
      if (known === undefined || !isSame(known, d, payload, bytes, clsFlags)) continue
      this.#last = known
      return known
    }
    this.#hash = hash
    return undefined
  }

  /** The world is not the one any more in which the list was kept. */
  forget(known: KnownList): void {
    const place = this.#lists.indexOf(known)
    if (place >= 0) this.#lists[place] = undefined
    if (this.#last === known) this.#last = undefined
  }

  /**
   * The list that `recall` did not know has become these instances, of a flow with these encap destinations. Keeps it
   * when it has come before.
   */
  meet(
    c: FlowContext,
    d: DataView,
    payload: number,
    clsFlags: number,
    acts: Int32Array,
    n: number,
    items: readonly EncapItem[],
  ): void {
    const hash = this.#hash
    if (hash === 0) return
    const place = placeOf(hash)
    if (this.#met[place] !== hash && this.#met[place ^ 1] !== hash) {
      this.#met[place ^ 1] = this.#met[place]
      this.#met[place] = hash
      return
    }
    const known = study(c, d, payload, clsFlags, acts, n, items)
    if (known === undefined) return
    this.#lists[place ^ 1] = this.#lists[place]
    this.#lists[place] = known
  }
}

/** The first of its two places: there stands the newer one. */
const placeOf = (hash: number): number => ((hash >>> 0) % PLACES) & ~1

/** Never 0. */
function hashOf(d: DataView, payload: number, bytes: number, clsFlags: number): number {
  let h = clsFlags
  for (let o = payload; o < payload + bytes; o += 4) {
    h = Math.imul(h ^ d.getInt32(o, true), 0x9e3779b1)
    h ^= h >>> 15
  }
  h = Math.imul(h, 0x85ebca6b)
  return (h ^ (h >>> 13)) | 0x40000000
}

function isSame(k: KnownList, d: DataView, payload: number, bytes: number, clsFlags: number): boolean {
  const { words } = k
  if (words.length * 4 !== bytes || k.clsFlags !== clsFlags) return false
  for (let i = 0, o = payload; i < words.length; i++, o += 4) if (words[i] !== d.getInt32(o, true)) return false
  return true
}

/** What there is to keep of a list, undefined when it may come to something else next time. */
function study(
  c: FlowContext,
  d: DataView,
  payload: number,
  clsFlags: number,
  acts: Int32Array,
  n: number,
  items: readonly EncapItem[],
): KnownList | undefined {
  const { m } = c.a
  const actions: KnownAction[] = []
  const end = payload + attrLen(d, payload)
  parseAttrs(d, payload, end, list, ACTIONS_MAX)
  for (let i = 0; i < n; i++) {
    const act = acts[i]
    const kind = kindById(m[(act + ACT_KIND) >> 2])
    const kept = kind?.keep?.(c.actions, act)
    if (kind === undefined || kept === undefined || isNamed(d, list[i + 1], kind)) return undefined
    if (m[(act + ACT_COOKIE) >> 2] !== 0) return undefined
    const flags = m[(act + ACT_FLAGS) >> 2]
    actions.push({ kind, flags, hwStats: m[(act + ACT_HW_STATS) >> 2], kept })
  }
  const words = new Int32Array((end - payload) / 4)
  for (let i = 0; i < words.length; i++) words[i] = d.getInt32(payload + 4 * i, true)
  const mine = acts.subarray(0, n)
  const known: KnownList = {
    words,
    clsFlags,
    actions,
    metadata: Int32Array.from(items, ({ tun }) =>
      mine.findIndex((act, i) => actions[i].kind.id === Tca.TCA_ID_TUNNEL_KEY && tunOf(m, act) === tun),
    ),
    devices: Int32Array.from(items, ({ dev }) => dev),
    outline: outline(c.a, acts, n, items),
  }
  // A replacement begins with the generation: what was read until now was not replaced.
  return mine.every((act) => load(m, (act + ACT_GENERATION) >> 2) === 0) ? known : undefined
}

/** Does the action of the message say its index? */
function isNamed(d: DataView, at: number, kind: ActionKind): boolean {
  parseAttrs(d, at, at + attrLen(d, at), attrs, Tca.TCA_ACT_IN_HW_COUNT)
  const options = attrs[Tca.TCA_ACT_OPTIONS]
  return Tca.genIndex(d, parmsOf(kind, d, options, options + attrLen(d, options))) !== 0
}

/**
 * New instances for a filter, as initActions makes them. False, and there are none, when the world is another one than
 * when the list was kept. Throws MemoryError and ENOSPC.
 */
export function makeAgain(c: FlowContext, known: KnownList, out: Int32Array): boolean {
  const { actions } = known
  let n = 0
  try {
    for (; n < actions.length; n++) {
      const act = makeOne(c, actions[n])
      if (act === 0) break
      out[n] = act
    }
  } catch (e) {
    putAll(c, out, n)
    throw e
  }
  if (n < actions.length) putAll(c, out, n)
  return n === actions.length
}

function putAll(c: FlowContext, acts: Int32Array, n: number): void {
  for (let i = 0; i < n; i++) putAction(c.a, c.actions, acts[i], true)
}

/** One of them, with a reference; 0 when init has to look again. */
function makeOne(c: FlowContext, k: KnownAction): number {
  const { a } = c
  const { m } = a
  const act = makeAction(a, k.kind)
  m[(act + ACT_INSTALLED) >> 2] = c.now()
  m[(act + ACT_HW_STATS) >> 2] = k.hwStats
  m[(act + ACT_FLAGS) >> 2] = k.flags
  let isMade = false
  try {
    isMade = k.kind.again?.(c.actions, act, k.kept) === true
  } finally {
    if (!isMade) discardAction(a, act)
  }
  if (!isMade) return 0
  try {
    insertAction(a, act, true)
  } catch (e) {
    freeAction(a, c.actions, k.kind, act)
    throw e
  }
  return act
}
