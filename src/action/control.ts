// What an action ends with: pass, drop, pipe, continue, reclassify, trap, `goto chain N`, `jump N` (parse_action_control
// of tc_util.c, tcf_action_check_ctrlact of act_api.c).
//
// ACT_CONTROL holds TC_ACT_*, for goto and jump with the number in the low 28 bits; a goto holds its chain (ACT_CHAIN).

import {
  ACT_CHAIN,
  ACT_CONTROL,
  ACT_CONTROL2,
  TC_ACT_EXT_MASK,
  TC_ACT_GOTO_CHAIN,
  TC_ACT_JUMP,
  TC_ACT_OK,
  TC_ACT_PIPE,
  TC_ACT_RECLASSIFY,
  TC_ACT_SHOT,
  TC_ACT_STOLEN,
  TC_ACT_TRAP,
  TC_ACT_UNSPEC,
} from '../memory/layout/action.ts'
import { FORK_DROPS, FORK_DROPS_OTHER } from '../memory/layout/program.ts'
import type { Args } from '../tc/args.ts'
import type { Printer } from '../tc/printer.ts'
import { EINVAL, NetlinkError } from '../wire/netlink_error.ts'
import type { ActionContext } from './action.ts'

const WORDS: readonly (readonly [string, number])[] = [
  ['continue', TC_ACT_UNSPEC],
  ['drop', TC_ACT_SHOT],
  ['shot', TC_ACT_SHOT],
  ['pass', TC_ACT_OK],
  ['ok', TC_ACT_OK],
  ['reclassify', TC_ACT_RECLASSIFY],
  ['pipe', TC_ACT_PIPE],
  ['goto', TC_ACT_GOTO_CHAIN],
  ['jump', TC_ACT_JUMP],
  ['trap', TC_ACT_TRAP],
]

const NAMES: Readonly<Record<number, string>> = {
  [TC_ACT_UNSPEC]: 'continue',
  [TC_ACT_OK]: 'pass',
  [TC_ACT_SHOT]: 'drop',
  [TC_ACT_RECLASSIFY]: 'reclassify',
  [TC_ACT_PIPE]: 'pipe',
  [TC_ACT_STOLEN]: 'stolen',
  [TC_ACT_TRAP]: 'trap',
}

/** The verdict that a word, or its abbreviation, means, without the number of goto and jump; NaN for none. */
export function verdictOf(word: string, numbers = false): number {
  for (const [name, verdict] of WORDS) if (name.startsWith(word)) return verdict
  return numbers && /^[-+]?\d+$/.test(word) ? Number(word) | 0 : Number.NaN
}

/** What readControl found wrong: tc's words; '' when the line is at its end. */
export interface BadControl {
  readonly wrong: string
}

/**
 * Reads a control and leaves `args` behind it, or says what is wrong and leaves `args` where it was. With `numbers` a
 * verdict may be a number.
 */
export function readControl(args: Args, numbers = false): number | BadControl {
  if (!args.more) return { wrong: '' }
  const from = args.at
  const bad = (wrong: string): BadControl => {
    args.at = from
    return { wrong }
  }
  const verdict = verdictOf(args.word, numbers)
  if (Number.isNaN(verdict)) return bad(`Bad action type ${args.word}`)
  let control = verdict
  if (verdict === TC_ACT_GOTO_CHAIN) {
    args.next()
    if (!args.matches('chain')) return bad('"chain index" expected')
    args.next()
    const chain = args.u32(10)
    if (chain < 0 || chain > TC_ACT_EXT_MASK) return bad('Illegal "chain index"')
    control |= chain
  } else if (verdict === TC_ACT_JUMP) {
    args.next()
    const count = args.u32(10)
    if (count < 0 || count > TC_ACT_EXT_MASK) return bad(`Invalid "jump count" (${args.word})`)
    control |= count
  }
  args.skip()
  return control
}

/** Reads a control if there is one, else it is `fallback` (parse_action_control_dflt). */
export function controlOr(args: Args, fallback: number): number {
  const control = readControl(args)
  return typeof control === 'number' ? control : fallback
}

/** `[control] [index N]`, the end of most actions; `illegal` is what tc says to an index that is no number. */
export function readControlAndIndex(args: Args, fallback: number, illegal: string): { control: number; index: number } {
  const control = controlOr(args, fallback)
  return { control, index: readIndex(args, illegal) }
}

/** `index N`, 0 without; `illegal` makes what is thrown when N is no number. */
export function readIndexOr(args: Args, illegal: (word: string) => Error): number {
  if (!args.matches('index')) return 0
  args.next()
  const index = args.u32(10)
  if (index < 0) throw illegal(args.word)
  args.skip()
  return index
}

/** The same with tc's words as they stand. */
export const readIndex = (args: Args, illegal: string): number => readIndexOr(args, () => args.fail(illegal))

const isExt = (control: number, opcode: number): boolean => control >= 0 && (control & ~TC_ACT_EXT_MASK) === opcode

/** print_action_control */
export function printControl(out: Printer, prefix: string, control: number, suffix = ''): void {
  out.text(prefix)
  out.openObject('control_action')
  const n = control & TC_ACT_EXT_MASK
  if (isExt(control, TC_ACT_GOTO_CHAIN)) {
    out.str('type', '%s', 'goto')
    out.num('chain', ' chain %u', n)
  } else if (isExt(control, TC_ACT_JUMP)) {
    out.str('type', '%s', 'jump')
    out.num('jump', ' %u', n)
  } else out.str('type', '%s', NAMES[control] ?? String(control))
  out.closeObject()
  out.text(suffix)
}

// ---- kernel

/** Refuses a control that is none. `goto` is not looked at further: setControl takes its chain. */
export function checkControl(control: number): void {
  const opcode = control & ~TC_ACT_EXT_MASK
  const good =
    control === TC_ACT_UNSPEC ||
    (opcode === 0 ? control <= TC_ACT_TRAP : opcode === TC_ACT_JUMP || opcode === TC_ACT_GOTO_CHAIN)
  if (!good) throw new NetlinkError(EINVAL, 'invalid control action')
}

/** The last thing that init does, because it takes something: sets the control, and takes the chain of a goto. */
export function setControl(c: ActionContext, act: number, control: number): void {
  const { m } = c.a
  let chain = 0
  if (isExt(control, TC_ACT_GOTO_CHAIN)) {
    chain = c.takeChain(control & TC_ACT_EXT_MASK)
    if (chain === 0) throw new NetlinkError(EINVAL, "can't goto NULL chain/proto")
  }
  m[(act + ACT_CONTROL) >> 2] = control
  m[(act + ACT_CHAIN) >> 2] = chain
}

/** Gives back what setControl took. */
export function dropControl(c: ActionContext, act: number): void {
  const chain = c.a.m[(act + ACT_CHAIN) >> 2]
  if (chain !== 0) c.putChain(chain)
}

/** What the op of a fork counts as a drop (FORK_DROPS_*): the packets that a control drops. */
export function forkDrops(m: Int32Array, act: number): number {
  const first = m[(act + ACT_CONTROL) >> 2] === TC_ACT_SHOT ? FORK_DROPS : 0
  return first | (m[(act + ACT_CONTROL2) >> 2] === TC_ACT_SHOT ? FORK_DROPS_OTHER : 0)
}

/** Does the list go on behind this control: pipe or jump? */
export const isOnward = (control: number): boolean => control === TC_ACT_PIPE || isExt(control, TC_ACT_JUMP)

/** Is this control a `goto chain`? */
export const isGoto = (control: number): boolean => isExt(control, TC_ACT_GOTO_CHAIN)
