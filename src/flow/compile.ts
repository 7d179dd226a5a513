// The program compiler: a filter's list of actions to op words (memory/layout/program.ts).
//
// The list runs from its first action; an action's control says what comes behind it: pipe goes on, `jump N` goes to the
// N-th action of the list (tcf_action_exec counts from the list's beginning), everything else ends. So the way through a
// list is known here and the program is that way laid out straight: no op jumps. A jump backwards is laid out as often
// as the kernel would go it (32 times).
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
import { onwardControl } from '../action/index.ts'
import type { Arena } from '../memory/arena.ts'
import { counterAlloc } from '../memory/counters.ts'
import {
  ACT_CHAIN,
  ACT_COUNTER,
  ACT_KIND,
  TC_ACT_GOTO_CHAIN,
  TC_ACT_JUMP,
  TC_ACT_OK,
  TC_ACT_PIPE,
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
  OP_REDIRECT,
  OP_TUNNEL_SET,
  OP_TUNNEL_UNSET,
  OP_VLAN_POP,
  REDIRECT_FIRST,
  REDIRECT_MIRROR,
} from '../memory/layout/program.ts'
import { alloc, freeRcu, TAG_PROGRAM } from '../memory/pool.ts'
import { kindOf, lockKind, unlockKind } from './action_table.ts'

/** Most actions of one list (TCA_ACT_MAX_PRIO). */
export const ACTIONS_MAX = 32
/** How often a list may jump. */
const JUMPS_MAX = 32

/** What compile made: the programs in one block, and for each action its USER_F_*. */
export interface Programs {
  fast: number
  /** The same as fast when the flow has no encap destination. */
  slow: number
  readonly uses: Int32Array
}

const words = new Int32Array(32768)
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
  encapOf: (i: number) => number
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
  encapIndex: 0,
  tun: 0,
  next: 0,
}

/** The action's own counter, made when it has none. It stays as long as the action. */
function ownCounter(a: Arena, act: number): number {
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

/** Where the list goes behind action `i` with this control: the next action, `n` for the end as pass, or -1: it ends. */
function behind(control: number, i: number, n: number): number {
  if (control === TC_ACT_PIPE) return i + 1
  if (control > 0 && (control & 0xf0000000) === TC_ACT_JUMP) {
    const to = control & 0x1ff
    return to === 0 || to > n ? n : to
  }
  return -1
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

/** How often each action of the list is met. */
function walk(m: Int32Array, acts: Int32Array, n: number): void {
  met.fill(0, 0, n)
  let jumps = JUMPS_MAX
  for (let i = 0; i >= 0 && i < n; ) {
    met[i]++
    const to = behind(onwardControl(m, acts[i]), i, n)
    if (to !== i + 1 && --jumps <= 0) break
    i = to
  }
}

/** Appends the program of one path. The first pass decides who counts where, a second one finds it decided. */
function layOut(m: Int32Array, acts: Int32Array, n: number): void {
  let all = true
  let jumps = JUMPS_MAX
  context.encapIndex = 0
  context.tun = 0
  emit1(OP_COUNT, flowCounter)
  let i = 0
  while (i < n) {
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
    const control = onwardControl(m, act)
    const to = behind(control, i, n)
    if (to < 0) {
      emitVerdict(m, act, control)
      return
    }
    if (to !== i + 1 && --jumps <= 0) break
    i = to
  }
  emit1(OP_END, TC_ACT_OK)
}

/**
 * Compiles a list for a flow with this counter. `encapOf(i)` is the flow's i-th encap entry, absent when the flow has
 * none. The result is valid until the next call. Throws MemoryError.
 */
export function compile(
  a: Arena,
  acts: Int32Array,
  n: number,
  counter: number,
  encapOf?: (i: number) => number,
): Programs {
  const { m } = a
  context.a = a
  flowCounter = counter
  dropsOf = -1
  uses.fill(0, 0, n)
  walk(m, acts, n)
  length = 1
  context.path = 'slow'
  if (encapOf !== undefined) {
    context.path = 'fast'
    context.encapOf = encapOf
    layOut(m, acts, n)
    context.path = 'slow'
  }
  const fastLength = length - 1
  layOut(m, acts, n)
  words[0] = length * 4
  const block = alloc(a, length * 4, TAG_PROGRAM)
  const w = block >> 2
  for (let i = 0; i < length; i++) m[w + i] = words[i]
  programs.fast = block + 4
  programs.slow = block + 4 + fastLength * 4
  return programs
}

/** Frees the programs of a flow, of which `fast` is the first, after a grace period. */
export function freePrograms(a: Arena, fast: number): void {
  freeRcu(a, fast - 4, a.m[(fast - 4) >> 2], TAG_PROGRAM)
}
