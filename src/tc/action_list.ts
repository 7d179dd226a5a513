// A list of actions, as it stands behind a filter's `action` and in `tc actions`: reading and printing (m_action.c).
//
// Each action is a nest numbered from 1: TCA_ACT_KIND, TCA_ACT_OPTIONS (the kind's own file in action/ writes and prints
// that), TCA_ACT_COOKIE, TCA_ACT_HW_STATS, TCA_ACT_FLAGS. tc 6.1 gives a cookie to all later actions of its list too.

import { actionKind } from '../action/index.ts'
import { attrLen, attrString, type Builder, NLA_F_NESTED, parseAttrs } from '../wire/netlink.ts'
import {
  TCA_ACT_COOKIE,
  TCA_ACT_FLAGS,
  TCA_ACT_FLAGS_NO_PERCPU_STATS,
  TCA_ACT_FLAGS_SKIP_HW,
  TCA_ACT_FLAGS_SKIP_SW,
  TCA_ACT_HW_STATS,
  TCA_ACT_HW_STATS_DELAYED,
  TCA_ACT_HW_STATS_IMMEDIATE,
  TCA_ACT_IN_HW_COUNT,
  TCA_ACT_KIND,
  TCA_ACT_MAX_PRIO,
  TCA_ACT_OPTIONS,
  TCA_ACT_STATS,
  TCA_ACT_USED_HW_STATS,
} from '../wire/tca_action.ts'
import { type Args, isPrefix } from './args.ts'
import { keepActions, recallActions } from './known_actions.ts'
import { refusedBy } from './language_error.ts'
import type { Printer } from './printer.ts'
import { printStats2 } from './stats_text.ts'

const VERDICTS = ['continue', 'drop', 'shot', 'pass', 'ok', 'reclassify', 'pipe', 'goto', 'jump', 'trap'] as const
const COMMANDS = ['change', 'replace', 'delete', 'get', 'add'] as const
const COOKIE_DIGITS = 32
const HW_STATS: readonly (readonly [string, number])[] = [
  ['immediate', TCA_ACT_HW_STATS_IMMEDIATE],
  ['delayed', TCA_ACT_HW_STATS_DELAYED],
  ['disabled', 0],
]
// All kinds of tc 6.1: those that the catalogue does not have are refused by name. Any other word is taken for a verdict,
// as tc does.
const KINDS = new Set([
  ...['bpf', 'connmark', 'csum', 'ct', 'ctinfo', 'gact', 'gate', 'ife', 'ipt', 'mirred', 'mpls', 'nat', 'pedit'],
  ...['police', 'sample', 'simple', 'skbedit', 'skbmod', 'tunnel_key', 'vlan', 'xt'],
])

const isVerdict = (word: string): boolean => {
  for (const v of VERDICTS) if (isPrefix(word, v)) return true
  return false
}
const isCommand = (word: string): boolean => {
  for (const v of COMMANDS) if (isPrefix(word, v)) return true
  return false
}

/** The kind of action that a word begins: a verdict, and any word that is no kind, is gact's. */
export function kindOf(word: string): string {
  if (KINDS.has(word)) return word // none of them begins a verdict
  if (isVerdict(word)) return 'gact'
  const kind = word.length > 15 ? word.slice(0, 15) : word
  return KINDS.has(kind) ? kind : 'gact'
}

/**
 * Reads a list of actions from the cursor (on the word behind `action`, or on `action`) into attribute `type`. Stops at
 * the end, at `flowid`/`classid`, and at the name of a further `tc actions` command. Throws LanguageError.
 */
export function parseActionList(args: Args, b: Builder, type: number): void {
  if (recallActions(args, b, type)) return
  const mark = b.at
  readActionList(args, b, type)
  keepActions(args, b, mark)
}

function readActionList(args: Args, b: Builder, type: number): void {
  const list = b.nest(type)
  let count = 0
  let expecting = 0
  let cookie: Uint8Array | null = null
  while (args.more) {
    const word = args.word
    if (word === 'action') {
      args.skip()
      expecting = 1
      continue
    }
    if (word === 'flowid' || word === 'classid') break
    if (word === 'help') throw args.fail('')
    if (!KINDS.has(word) && isCommand(word)) {
      if (count === 0) return
      break
    }
    expecting = 0
    const kind = kindOf(word)
    const action = b.nest(++count)
    b.attrStr(TCA_ACT_KIND, kind)
    const start = args.at
    try {
      parseOptions(args, b, kind)
    } catch (e) {
      const line = `bad action parsing\nparse_action: bad value (${args.words.length - start}:${word})!`
      throw refusedBy(e, line, 1, word)
    }
    if (args.is('cookie')) cookie = parseCookie(args)
    if (cookie) b.attr(TCA_ACT_COOKIE, cookie)
    if (args.matches('hw_stats')) parseHwStats(args, b)
    parseFlags(args, b)
    b.nestEnd(action)
  }
  if (expecting)
    throw args.fail(
      `bad action empty ${expecting}\nparse_action: bad value (${args.left}:${args.more ? args.word : '(null)'})!`,
    )
  b.nestEnd(list)
}

function parseOptions(args: Args, b: Builder, kind: string): void {
  const k = actionKind(kind)
  if (!k) throw args.fail(`Action "${kind}" is not supported`)
  const options = b.nest(TCA_ACT_OPTIONS | NLA_F_NESTED)
  k.parse(args, b)
  b.nestEnd(options)
}

function parseCookie(args: Args): Uint8Array {
  const word = args.next()
  if (word.length > COOKIE_DIGITS) throw args.invarg(`${word.length} Max allowed size ${COOKIE_DIGITS}`)
  const bytes = args.hexBytes(word)
  if (!bytes) throw args.invarg('cookie must be a hex string\n')
  args.skip()
  return bytes
}

function parseHwStats(args: Args, b: Builder): void {
  const word = args.next()
  const found = HW_STATS.find(([name]) => isPrefix(word, name))
  if (!found) throw args.invarg('value is invalid\n')
  bitfield(b, TCA_ACT_HW_STATS, found[1])
  args.skip()
}

function parseFlags(args: Args, b: Builder): void {
  let flags = 0
  if (args.is('no_percpu')) {
    flags |= TCA_ACT_FLAGS_NO_PERCPU_STATS
    args.skip()
  }
  for (let i = 0; i < 2; i++) {
    if (args.is('skip_sw')) flags |= TCA_ACT_FLAGS_SKIP_SW
    else if (args.is('skip_hw')) flags |= TCA_ACT_FLAGS_SKIP_HW
    else continue
    args.skip()
  }
  if (flags) bitfield(b, TCA_ACT_FLAGS, flags)
}

// struct nla_bitfield32 { u32 value; u32 selector; }
function bitfield(b: Builder, type: number, value: number): void {
  const o = b.attrRoom(type, 8)
  b.d.setUint32(o, value, true)
  b.d.setUint32(o + 4, value, true)
}

const LAST = TCA_ACT_USED_HW_STATS > TCA_ACT_IN_HW_COUNT ? TCA_ACT_USED_HW_STATS : TCA_ACT_IN_HW_COUNT
const list = new Int32Array(0x4000)
const one = new Int32Array(LAST + 1)

/**
 * Prints the actions in the nest whose payload is at `o`; `total` is how many there may be (0: as many as a filter can
 * have), `bind` that they are a filter's.
 */
export function printActionList(d: DataView, o: number, out: Printer, total: number, bind: boolean): void {
  const most = Math.min(total || TCA_ACT_MAX_PRIO, list.length - 1)
  parseAttrs(d, o, o + attrLen(d, o), list, most)
  out.openArray('actions')
  for (let i = 0; i <= most; i++) {
    if (!list[i]) continue
    out.openObject()
    out.nl()
    out.num('order', '\taction order %u: ', i)
    printAction(d, list[i], out, bind)
    out.closeObject()
  }
  out.closeArray()
}

function printAction(d: DataView, o: number, out: Printer, bind: boolean): void {
  parseAttrs(d, o, o + attrLen(d, o), one, LAST)
  const [stats, cookie, flags, inHw] = [
    one[TCA_ACT_STATS],
    one[TCA_ACT_COOKIE],
    one[TCA_ACT_FLAGS],
    one[TCA_ACT_IN_HW_COUNT],
  ]
  const [hwStats, usedHwStats] = [one[TCA_ACT_HW_STATS], one[TCA_ACT_USED_HW_STATS]]
  const options = one[TCA_ACT_OPTIONS]
  const end = options ? options + attrLen(d, options) : 0
  const kind = actionKind(attrString(d, one[TCA_ACT_KIND]))
  if (kind) kind.print(d, options, end, out)
  else if (end > options) out.raw(`[Unknown action, optlen=${end - options}] `)
  if (out.stats && stats) {
    out.text('\tAction statistics:')
    out.nl()
    out.openObject('stats')
    printStats2(d, stats, out, '\t')
    out.closeObject()
    out.nl()
  }
  if (cookie) {
    let hex = ''
    for (let i = 0; i < attrLen(d, cookie); i++)
      hex += d
        .getUint8(cookie + i)
        .toString(16)
        .padStart(2, '0')
    out.str('cookie', '\tcookie %s', hex)
    out.nl()
  }
  if (flags || inHw) printFlags(d, flags, inHw, out, bind)
  if (hwStats) printHwStats(d, hwStats, out, 'hw_stats')
  if (usedHwStats) printHwStats(d, usedHwStats, out, 'used_hw_stats')
}

function printFlags(d: DataView, flags: number, inHw: number, out: Printer, bind: boolean): void {
  let newline = false
  const selected = flags ? d.getUint32(flags + 4, true) : 0
  const value = flags ? d.getUint32(flags, true) : 0
  const flag = (bit: number, name: string): void => {
    if (!(selected & bit)) return
    newline = true
    out.bool(name, `\t${name}`, (value & bit) !== 0)
  }
  flag(TCA_ACT_FLAGS_NO_PERCPU_STATS, 'no_percpu')
  if (!bind) flag(TCA_ACT_FLAGS_SKIP_HW, 'skip_hw')
  if (!bind) flag(TCA_ACT_FLAGS_SKIP_SW, 'skip_sw')
  if (inHw && !bind && !(selected & value & TCA_ACT_FLAGS_SKIP_HW)) {
    newline = true
    const count = d.getUint32(inHw, true)
    if (count) {
      out.bool('in_hw', '\tin_hw', true)
      out.num('in_hw_count', ' in_hw_count %u', count)
    } else out.bool('not_in_hw', '\tnot_in_hw', true)
  }
  if (newline) out.nl()
}

function printHwStats(d: DataView, o: number, out: Printer, name: string): void {
  const value = d.getUint32(o, true) & d.getUint32(o + 4, true)
  out.text('\t')
  out.openArray(name, name)
  for (const [word, bit] of HW_STATS) if (value & bit || (!value && !bit)) out.str(null, ' %s', word)
  out.closeArray()
  out.nl()
}
