// The program compiler: a filter's list of actions to op words (memory/layout/program.ts).
//
// The ways through a list are known here (action/ways.ts), and the program is these ways laid out straight: what follows
// an action's ops is what comes behind it, a jump backwards as often as the kernel would go it. Only the op of a fork
// skips, to its other way, and a way that meets another one jumps to where that stands.
//
//   OP_COUNT flow   [OP_COUNT own]  ops of the action   …   OP_END verdict | OP_GOTO chain
//
// `OP_COUNT flow` counts the packet for the flow and for every action that all packets reach. Behind an op that may end
// the packet, and for an action that is met twice, an action counts for itself (action_stats.ts).
//
// A flow without encap destinations has one program. One with them has two, which differ only in how they send into a
// tunnel: the fast one has the entry's header, the slow one leaves resolving to the host. Both stand in one block, behind
// a word that has their lengths.

import type { CompileContext } from '../action/action.ts'
import { tunnelKey, tunOf } from '../action/tunnel_key.ts'
import { behind, forkOf, JUMPS_MAX, jumpsBehind, stateOf, walkWays } from '../action/ways.ts'
import type { EncapItem } from '../encap/encap.ts'
import type { Arena } from '../memory/arena.ts'
import { counterAlloc } from '../memory/counters.ts'
import {
  ACT_CHAIN,
  ACT_CONTROL,
  ACT_COUNTER,
  ACT_KIND,
  TC_ACT_GOTO_CHAIN,
  TC_ACT_OK,
  TC_ACT_QUEUED,
  TC_ACT_RECLASSIFY,
  TC_ACT_REDIRECT,
  TC_ACT_SHOT,
  TC_ACT_STOLEN,
  TC_ACT_TRAP,
  TC_ACT_UNSPEC,
  USER_F_DROPS,
  USER_F_PACKETS,
} from '../memory/layout/action.ts'
import {
  OP_COUNT,
  OP_ENCAP,
  OP_END,
  OP_GOTO,
  OP_JUMP,
  OP_REDIRECT,
  OP_TUNNEL_SET,
  OP_TUNNEL_UNSET,
  OP_VLAN_POP,
  REDIRECT_FIRST,
  REDIRECT_MIRROR,
} from '../memory/layout/program.ts'
import { alloc, freeRcu, TAG_PROGRAM } from '../memory/pool.ts'
import { ENOMEM, NetlinkError } from '../wire/netlink_error.ts'
import { kindOf, lockKind, unlockKind } from './action_table.ts'

/** Most actions of one list (TCA_ACT_MAX_PRIO). */
export const ACTIONS_MAX = 32

/** What compile made: the programs in one block, and for each action its USER_F_*. */
export interface Programs {
  fast: number
  /** The same as fast when the flow has no encap destination. */
  slow: number
  uses: Int32Array
}

const WORDS = 32768
/** More than the ops of one action take, and both ends. */
const WORDS_SPARE = 2048
const words = new Int32Array(WORDS)
let length = 0

function emit(op: number, ...operands: number[]): void {
  words[length++] = op | ((operands.length + 1) << 8)
  for (let i = 0; i < operands.length; i++) words[length++] = operands[i]
}

function emit1(op: number, operand: number): void {
  words[length++] = op | (2 << 8)
  words[length++] = operand
}

interface Compiler extends CompileContext {
  a: Arena
  path: 'fast' | 'slow'
  encapOf: (tun: number, dev: number) => number
}

let flowCounter = 0
/** The action being compiled, by its place in the list. */
let current = 0
/** The action whose drops the flow's counter has; -1 while none. */
let dropsOf = -1
const uses = new Int32Array(ACTIONS_MAX)
const met = new Int32Array(ACTIONS_MAX)
const programs: Programs = { fast: 0, slow: 0, uses }

const context: Compiler = {
  a: undefined as unknown as Arena,
  path: 'slow',
  emit,
  counter(act: number): number {
    if ((uses[current] & USER_F_PACKETS) !== 0 && (dropsOf === -1 || dropsOf === current)) {
      dropsOf = current
      uses[current] |= USER_F_DROPS
      return flowCounter
    }
    return ownCounter(context.a, act)
  },
  encapOf: () => 0,
  tun: 0,
  next: 0,
}

/** While a list is outlined: what the numbers of its flow begin with. */
let mark = 0

/** The action's own counter, made when it has none. It stays as long as the action. */
function ownCounter(a: Arena, act: number): number {
  if (mark !== 0) return mark + FOR_OWN + acts.indexOf(act)
  const { m } = a
  const kind = m[(act + ACT_KIND) >> 2]
  lockKind(m, kind)
  try {
    if (m[(act + ACT_COUNTER) >> 2] === 0) m[(act + ACT_COUNTER) >> 2] = counterAlloc(a)
    return m[(act + ACT_COUNTER) >> 2]
  } finally {
    unlockKind(m, kind)
  }
}

/** The op that ends a list whose last action has this control. */
function emitVerdict(m: Int32Array, act: number, control: number): void {
  if (control > 0 && (control & 0xf0000000) === TC_ACT_GOTO_CHAIN) emit1(OP_GOTO, m[(act + ACT_CHAIN) >> 2])
  else emit1(OP_END, verdictOf(control))
}

function verdictOf(control: number): number {
  switch (control) {
    case TC_ACT_UNSPEC:
    case TC_ACT_RECLASSIFY:
    case TC_ACT_SHOT:
    case TC_ACT_TRAP:
      return control
    case TC_ACT_STOLEN:
    case TC_ACT_QUEUED:
    case TC_ACT_REDIRECT:
      return TC_ACT_STOLEN
    default:
      return TC_ACT_OK
  }
}

/** May a packet that ran the ops in [from, length) be gone, or diverted? */
function divertsFrom(from: number): boolean {
  for (let at = from; at < length; at += words[at] >> 8) {
    switch (words[at] & 0xff) {
      case OP_TUNNEL_SET:
      case OP_TUNNEL_UNSET:
      case OP_VLAN_POP:
      case OP_COUNT:
        break
      case OP_REDIRECT:
      case OP_ENCAP:
        if ((words[at + 2] & REDIRECT_MIRROR) === 0) return true
        break
      default:
        return true
    }
  }
  return false
}

/** The last op in [from, length) sends the packet away for good. */
function endsFrom(from: number): boolean {
  let last = -1
  for (let at = from; at < length; at += words[at] >> 8) last = at
  if (last < 0) return false
  const op = words[last] & 0xff
  return (op === OP_REDIRECT || op === OP_ENCAP) && (words[last + 2] & REDIRECT_MIRROR) === 0
}

// ---- the list being compiled

let m: Int32Array
let acts: Int32Array
let n = 0
/** Has every packet that entered the flow come this far? */
let all = true
/** Behind the first fork: where the ops of each state of ways.ts stand, since ways may meet again. */
const placed = new Map<number, number>()
let forked = false

const meet = (i: number): void => {
  met[i]++
}

/** Appends the program of one path. The first pass decides who counts where, a second one finds it decided. */
function layOut(): void {
  all = true
  forked = false
  if (placed.size !== 0) placed.clear() // clearing makes a new table, empty or not
  context.tun = 0
  emit1(OP_COUNT, flowCounter)
  layOutFrom(0, JUMPS_MAX)
}

/** Appends what happens from action i on. */
function layOutFrom(i: number, jumps: number): void {
  if (i === n) {
    emit1(OP_END, TC_ACT_OK)
    return
  }
  if (length > WORDS - WORDS_SPARE)
    throw new NetlinkError(ENOMEM, `flowerbed: the list of actions makes a program of more than ${WORDS} words`)
  if (forked) {
    const state = stateOf(i, jumps, context.tun)
    const at = placed.get(state)
    if (at !== undefined) {
      emit1(OP_JUMP, at - length - 2)
      return
    }
    placed.set(state, length)
  }
  const act = acts[i]
  current = i
  if (all && met[i] === 1) uses[i] |= USER_F_PACKETS
  else emit1(OP_COUNT, ownCounter(context.a, act))
  context.next = i + 1 < n ? acts[i + 1] : 0
  const from = length
  kindOf(m, act).compile(context, act)
  const op = words[from] & 0xff
  const sends = length > from && (op === OP_REDIRECT || op === OP_ENCAP)
  if (i === 0 && all && met[0] === 1 && sends) words[from + 2] |= REDIRECT_FIRST
  if (all && divertsFrom(from)) all = false
  if (endsFrom(from)) return
  const other = forkOf(m, act)
  const distance = length - 1
  const { tun } = context
  if (other !== undefined) forked = true
  layOutBehind(m[(act + ACT_CONTROL) >> 2], i, jumps)
  if (other === undefined) return
  words[distance] = length - distance - 1
  context.tun = tun
  layOutBehind(other, i, jumps)
}

/** Appends what happens behind action i to a packet that goes on with this control. */
function layOutBehind(control: number, i: number, jumps: number): void {
  const to = behind(control, i, n)
  const left = jumpsBehind(control, jumps)
  if (to < 0) emitVerdict(m, acts[i], control)
  else layOutFrom(left === 0 ? n : to, left)
}

/**
 * Compiles a list for a flow with this counter. `encapOf` gives the flow's encap entry of a tunnel destination, absent
 * when the flow has none. The result is valid until the next call. Throws MemoryError.
 */
export function compile(
  a: Arena,
  list: Int32Array,
  count: number,
  counter: number,
  encapOf?: (tun: number, dev: number) => number,
): Programs {
  const slow = layOutBoth(a, list, count, counter, encapOf)
  programs.uses = uses
  return place(a, slow)
}

/** A block of what is laid out. */
function place(a: Arena, slow: number): Programs {
  const { m } = a
  const block = alloc(a, length * 4, TAG_PROGRAM)
  const w = block >> 2
  for (let i = 0; i < length; i++) m[w + i] = words[i]
  programs.fast = block + 4
  programs.slow = block + slow * 4
  return programs
}

/** Lays out the block of both programs; gives the word at which the slow one begins. */
function layOutBoth(
  a: Arena,
  list: Int32Array,
  count: number,
  counter: number,
  encapOf?: (tun: number, dev: number) => number,
): number {
  m = a.m
  acts = list
  n = count
  context.a = a
  flowCounter = counter
  dropsOf = -1
  for (let i = 0; i < n; i++) {
    uses[i] = 0
    met[i] = 0
  }
  walkWays(m, acts, n, meet)
  length = 1
  context.path = 'slow'
  if (encapOf !== undefined) {
    context.path = 'fast'
    context.encapOf = encapOf
    layOut()
    context.path = 'slow'
  }
  const slow = length
  layOut()
  words[0] = length * 4
  return slow
}

/** The programs of a list, with what differs from flow to flow left open. */
export interface Outline {
  readonly words: Int32Array
  /** Word at which the slow program begins. */
  readonly slow: number
  readonly uses: Int32Array
  /** Words that are open, and what stands there: FOR_COUNTER, FOR_TUN or FOR_OWN + action, FOR_ENTRY + destination. */
  readonly open: Int32Array
  readonly what: Int32Array
}
const FOR_COUNTER = 0
const FOR_TUN = 1
const FOR_OWN = FOR_TUN + ACTIONS_MAX
const FOR_ENTRY = FOR_OWN + ACTIONS_MAX

/**
 * Outlines the programs of a list: lays it out twice with other numbers for what the flow brings, and where the words
 * differ is where that stands. `items` are the flow's encap destinations. Only for lists whose kinds have `keep`.
 */
export function outline(a: Arena, list: Int32Array, count: number, items: readonly EncapItem[]): Outline {
  let slow = 0
  const marked = (base: number): Int32Array => {
    mark = base
    const encapOf = (tun: number, dev: number): number =>
      base + FOR_ENTRY + items.findIndex((i) => i.tun === tun && i.dev === dev)
    try {
      slow = layOutBoth(a, list, count, base + FOR_COUNTER, items.length === 0 ? undefined : encapOf)
    } finally {
      mark = 0
    }
    return words.slice(0, length)
  }
  const one = marked(MARK)
  const other = marked(2 * MARK)
  const open: number[] = []
  const what: number[] = []
  for (const [i, w] of one.entries()) {
    if (w === other[i]) continue
    open.push(i)
    what.push(w - MARK)
  }
  for (let at = 1; at < one.length; at += one[at] >> 8) {
    if ((one[at] & 0xff) !== OP_TUNNEL_SET) continue
    open.push(at + 1)
    what.push(FOR_TUN + list.findIndex((act) => kindOf(a.m, act) === tunnelKey && tunOf(a.m, act) === one[at + 1]))
  }
  const kept = uses.slice(0, count)
  return { words: one, slow, uses: kept, open: Int32Array.from(open), what: Int32Array.from(what) }
}
const MARK = 0x1000

/**
 * As compile, for a list of the same words as the one that was outlined. `entryOf` gives the entry of a destination by its
 * number.
 */
export function fillIn(
  a: Arena,
  o: Outline,
  list: Int32Array,
  counter: number,
  entryOf: (i: number) => number,
): Programs {
  const { open, what } = o
  length = o.words.length
  for (let i = 0; i < length; i++) words[i] = o.words[i]
  for (let i = 0; i < open.length; i++) words[open[i]] = ownOf(a, what[i], list, counter, entryOf)
  programs.uses = o.uses
  return place(a, o.slow)
}

function ownOf(a: Arena, what: number, list: Int32Array, counter: number, entryOf: (i: number) => number): number {
  if (what === FOR_COUNTER) return counter
  if (what >= FOR_ENTRY) return entryOf(what - FOR_ENTRY)
  return what >= FOR_OWN ? ownCounter(a, list[what - FOR_OWN]) : tunOf(a.m, list[what - FOR_TUN])
}

/** Frees the programs of a flow, of which `fast` is the first, after a grace period. */
export function freePrograms(a: Arena, fast: number): void {
  freeRcu(a, fast - 4, a.m[(fast - 4) >> 2], TAG_PROGRAM)
}
