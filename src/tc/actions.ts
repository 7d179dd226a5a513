// `tc actions …` (m_action.c): add, change, replace, delete, get, list, flush. One line may hold several commands.

import {
  attrLen,
  attrString,
  msgFlags,
  msgLen,
  msgType,
  NLM_F_ACK,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  NLM_F_REQUEST,
  NLM_F_ROOT,
  parseAttrs,
  viewOf,
} from '../wire/netlink.ts'
import {
  RTM_DELACTION,
  RTM_GETACTION,
  RTM_NEWACTION,
  TCA_ACT_FLAG_LARGE_DUMP_ON,
  TCA_ACT_FLAG_TERSE_DUMP,
  TCA_ACT_INDEX,
  TCA_ACT_KIND,
  TCA_ACT_TAB,
  TCA_ROOT_COUNT,
  TCA_ROOT_EXT_WARN_MSG,
  TCA_ROOT_FLAGS,
  TCA_ROOT_TIME_DELTA,
  TCAMSG_ATTRS,
  tcamsg,
} from '../wire/tca_action.ts'
import { TCA_FCNT } from '../wire/tcm.ts'
import { kindOf, parseActionList, printActionList } from './action_list.ts'
import { isPrefix } from './args.ts'
import type { Command, ParseContext, Refused } from './command.ts'
import { LanguageError, refusedBy } from './language_error.ts'
import type { Printer } from './printer.ts'

const HELP =
  'Usage: tc actions { add | change | replace } action KIND … | { delete | get } action KIND index N | { list | flush } action KIND'
const TALKING = 'We have an error talking to the kernel'

/** What the commands of a line have come to. */
interface Line {
  readonly requests: Uint8Array[]
  onRefusal: Refused
  show?: Command['show']
}

/** Parses behind `tc actions`. */
export function parseActions(c: ParseContext): Command {
  const { options } = c
  const line: Line = { requests: [], onRefusal: { line: TALKING, exitCode: 255 } }
  let afterwards: LanguageError | undefined
  try {
    while (c.args.more && parseOne(c, line));
  } catch (e) {
    if (!(e instanceof LanguageError) || line.requests.length === 0) throw e
    // tc has done the commands before it.
    afterwards = e
  }
  const { requests, onRefusal, show } = line
  return {
    program: 'tc',
    options,
    requests,
    onRefusal,
    ...(show ? { show } : {}),
    ...(afterwards ? { afterwards } : {}),
  }
}

/** One command of the line; false when it is the last whatever follows. */
function parseOne(c: ParseContext, line: Line): boolean {
  const { args } = c
  const { requests } = line
  const word = args.word
  if (isPrefix(word, 'add')) requests.push(modify(c, NLM_F_EXCL | NLM_F_CREATE))
  else if (isPrefix(word, 'change') || isPrefix(word, 'replace')) requests.push(modify(c, NLM_F_CREATE | NLM_F_REPLACE))
  else if (isPrefix(word, 'delete') || isPrefix(word, 'get')) {
    const type = isPrefix(word, 'delete') ? RTM_DELACTION : RTM_GETACTION
    // tc then goes on with the word that it stands on, and does not know it.
    const unknown = `Command "${args.following}" is unknown, try "tc actions help".`
    line.onRefusal = { line: `${TALKING}\n${unknown}`, exitCode: 255 }
    requests.push(getOrDelete(c, type))
    if (type === RTM_GETACTION) line.show = showAll
  } else if (isPrefix(word, 'list') || isPrefix(word, 'show') || isPrefix(word, 'lst')) {
    requests.push(listOrFlush(c, RTM_GETACTION))
    line.onRefusal = { line: 'Dump terminated', exitCode: 1 }
    line.show = showAll
    return false
  } else if (isPrefix(word, 'flush')) {
    requests.push(listOrFlush(c, RTM_DELACTION))
    line.onRefusal = { line: 'We have an error flushing', exitCode: 1 }
    return false
  } else if (isPrefix(word, 'help')) throw new LanguageError(HELP, 255, word, true)
  else throw new LanguageError(`Command "${word}" is unknown, try "tc actions help".`, 255, word)
  return true
}

function modify(c: ParseContext, flags: number): Uint8Array {
  const { args, b } = c
  args.skip()
  b.begin(RTM_NEWACTION, NLM_F_REQUEST | NLM_F_ACK | flags)
  tcamsg(b)
  try {
    if (!args.more) throw args.fail('')
    parseActionList(args, b, TCA_ACT_TAB)
  } catch (e) {
    throw refusedBy(e, 'Illegal "action"', 255)
  }
  return b.end()
}

function getOrDelete(c: ParseContext, type: number): Uint8Array {
  const { args, b } = c
  args.skip()
  args.skip()
  b.begin(type, NLM_F_REQUEST | (type === RTM_DELACTION ? NLM_F_ACK : 0))
  tcamsg(b)
  const tab = b.nest(TCA_ACT_TAB)
  let count = 0
  let index = 0
  while (args.more) {
    const word = args.word
    if (word === 'action') {
      args.skip()
      continue
    }
    if (word === 'help') throw args.fail('', 255)
    // A word that is no kind is gact's, here too.
    const kind = kindOf(word)
    args.skip()
    if (!args.matches('index')) throw args.fail(`Error: no index specified action: ${kind}`, 255, word)
    args.next()
    index = args.u32(10)
    if (index < 0) throw args.fail('Illegal "index"', 255)
    args.skip()
    const one = b.nest(++count)
    b.attrStr(TCA_ACT_KIND, kind)
    if (index > 0) b.attrU32(TCA_ACT_INDEX, index)
    b.nestEnd(one)
  }
  b.nestEnd(tab)
  return b.end()
}

function listOrFlush(c: ParseContext, type: number): Uint8Array {
  const { args, b, options } = c
  if (args.left <= 2) throw new LanguageError(HELP, 255, args.word, true)
  args.skip()
  args.skip()
  const kind = args.word.slice(0, 15)
  args.skip()
  let since = 0
  if (args.is('since')) {
    args.next()
    since = args.u32()
    if (since < 0) throw args.invarg('dump time "since" is invalid')
  }
  b.begin(type, NLM_F_REQUEST | (type === RTM_GETACTION ? NLM_F_DUMP : NLM_F_ACK | NLM_F_ROOT))
  tcamsg(b)
  const tab = b.nest(TCA_ACT_TAB)
  const one = b.nest(1)
  b.attrStr(TCA_ACT_KIND, kind)
  b.nestEnd(one)
  b.nestEnd(tab)
  const flags = TCA_ACT_FLAG_LARGE_DUMP_ON | (options.brief ? TCA_ACT_FLAG_TERSE_DUMP : 0)
  const o = b.attrRoom(TCA_ROOT_FLAGS, 8)
  b.d.setUint32(o, flags, true)
  b.d.setUint32(o + 4, flags, true)
  if (since) b.attrU32(TCA_ROOT_TIME_DELTA, since)
  return b.end()
}

function showAll(replies: readonly Uint8Array[], out: Printer): void {
  out.openDocument()
  for (const m of replies) printActions(m, out)
  out.closeDocument()
}

const root = new Int32Array(TCA_ROOT_EXT_WARN_MSG + 1)
const first = new Int32Array(TCA_FCNT + 1)

/** Prints one RTM_*ACTION message (print_action). */
export function printActions(m: Uint8Array, out: Printer): void {
  const d = viewOf(m)
  const type = msgType(d)
  const flags = msgFlags(d)
  parseAttrs(d, TCAMSG_ATTRS, msgLen(d), root, TCA_ROOT_EXT_WARN_MSG)
  const total = root[TCA_ROOT_COUNT] ? d.getUint32(root[TCA_ROOT_COUNT], true) : 0
  const tab = root[TCA_ACT_TAB]
  out.openObject()
  out.num('total acts', 'total acts %u', total)
  out.nl()
  out.closeObject()
  if (!tab) return
  const flushed = type === RTM_DELACTION && (flags & NLM_F_ROOT) !== 0
  if (type === RTM_DELACTION) out.raw(flushed ? 'Flushed table ' : 'Deleted action ')
  if (type === RTM_NEWACTION) {
    if (flags & NLM_F_REPLACE) out.raw('Replaced action ')
    else if (flags & NLM_F_CREATE) out.raw('Added action ')
  }
  out.openObject()
  if (!flushed || !printFlush(d, tab, out)) printActionList(d, tab, out, total, false)
  out.closeObject()
}

// A flush is told by one nest numbered 0: the kind and how many went.
function printFlush(d: DataView, tab: number, out: Printer): boolean {
  parseAttrs(d, tab, tab + attrLen(d, tab), first, 1)
  const o = first[0]
  if (!o || first[1]) return false
  parseAttrs(d, o, o + attrLen(d, o), first, TCA_FCNT)
  if (!first[TCA_ACT_KIND] || !first[TCA_FCNT]) return false
  out.raw(` ${attrString(d, first[TCA_ACT_KIND])} (${d.getUint32(first[TCA_FCNT], true)} entries)\n`)
  return true
}
