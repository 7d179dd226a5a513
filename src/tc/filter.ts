// `tc filter …` and `tc chain …` (tc_filter.c): add, change, replace, delete, get, show.
//
// A filter's message is struct tcmsg (device or block, handle, parent, preference and protocol), TCA_CHAIN, TCA_KIND, and
// the options that the classifier's own file writes. Deleting by preference alone, or a whole hook, is the same message
// with less in it.

import {
  msgLen,
  NLM_F_ACK,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_ECHO,
  NLM_F_EXCL,
  NLM_F_REQUEST,
  parseAttrs,
  viewOf,
} from '../wire/netlink.ts'
import {
  filterInfo,
  RTM_DELCHAIN,
  RTM_DELTFILTER,
  RTM_GETCHAIN,
  RTM_GETQDISC,
  RTM_GETTFILTER,
  RTM_NEWCHAIN,
  RTM_NEWTFILTER,
  TC_H_ROOT,
  TCA_CHAIN,
  TCA_DUMP_FLAGS,
  TCA_DUMP_FLAGS_TERSE,
  TCA_EGRESS_BLOCK,
  TCA_EXT_WARN_MSG,
  TCA_INGRESS_BLOCK,
  TCA_KIND,
  TCM_IFINDEX_MAGIC_BLOCK,
  TCMSG_ATTRS,
  tcmsg,
} from '../wire/tcm.ts'
import { type Args, isPrefix } from './args.ts'
import { classifier } from './classifier.ts'
import type { Command, ParseContext, Refused } from './command.ts'
import { type Estimator, parseEstimator, putEstimator } from './estimator.ts'
import { EGRESS, EVERY_FILTER, type FilterFilter, INGRESS, printFilter } from './filter_print.ts'
import { parseClassid } from './handle_text.ts'
import { LanguageError } from './language_error.ts'
import { parseProtocol } from './protocol_text.ts'
import { usage } from './usage.ts'

const FILTER_HELP =
  'tc filter { add | change | replace | delete | get | show } { dev DEV { ingress | egress | parent ID } | block N } [ protocol P ] [ pref N ] [ chain N ] [ handle H ] [ flower … ]'
const CHAIN_HELP =
  'tc chain { add | delete | get | show } { dev DEV { ingress | egress | parent ID } | block N } [ chain N ]'

const ETH_P_ALL = 3
const TALKING: Refused = { line: 'We have an error talking to the kernel', exitCode: 2 }

/** Parses behind `tc filter`. */
export function parseFilter(c: ParseContext): Command {
  const { args } = c
  if (!args.more) return show(c, RTM_GETTFILTER)
  const word = args.word
  args.skip()
  if (isPrefix(word, 'add')) return modify(c, RTM_NEWTFILTER, NLM_F_EXCL | NLM_F_CREATE)
  if (isPrefix(word, 'change')) return modify(c, RTM_NEWTFILTER, 0)
  if (isPrefix(word, 'replace')) return modify(c, RTM_NEWTFILTER, NLM_F_CREATE)
  if (isPrefix(word, 'delete')) return modify(c, RTM_DELTFILTER, 0)
  if (isPrefix(word, 'get')) return get(c, RTM_GETTFILTER)
  if (isPrefix(word, 'list') || isPrefix(word, 'show') || isPrefix(word, 'lst')) return show(c, RTM_GETTFILTER)
  if (isPrefix(word, 'help')) return usage('tc', c.options, FILTER_HELP)
  throw new LanguageError(`Command "${word}" is unknown, try "tc filter help".`, 255, word)
}

/** Parses behind `tc chain`. */
export function parseChain(c: ParseContext): Command {
  const { args } = c
  if (!args.more) return show(c, RTM_GETCHAIN)
  const word = args.word
  args.skip()
  if (isPrefix(word, 'add')) return modify(c, RTM_NEWCHAIN, NLM_F_EXCL | NLM_F_CREATE)
  if (isPrefix(word, 'delete')) return modify(c, RTM_DELCHAIN, 0)
  if (isPrefix(word, 'get')) return get(c, RTM_GETCHAIN)
  if (isPrefix(word, 'list') || isPrefix(word, 'show') || isPrefix(word, 'lst')) return show(c, RTM_GETCHAIN)
  if (isPrefix(word, 'help')) return usage('tc', c.options, CHAIN_HELP)
  throw new LanguageError(`Command "${word}" is unknown, try "tc chain help".`, 255, word)
}

/** The words in front of the classifier's name; one for all lines. */
interface Selector {
  dev: string
  block: number
  parent: number
  pref: number
  /** -1 while not given. */
  protocol: number
  chain: number
  handle: string
  kind: string
  readonly estimator: Estimator
}

const chosen: Selector = {
  dev: '',
  block: 0,
  parent: 0,
  pref: 0,
  protocol: -1,
  chain: -1,
  handle: '',
  kind: '',
  estimator: { interval: 0, ewmaLog: 0 },
}

type Verb = 'modify' | 'get' | 'show'

// Reads up to the classifier's name (which it takes too), or up to the end. True when help was asked for.
function select(args: Args, verb: Verb, raw = false): boolean {
  const s = chosen
  s.dev = ''
  s.block = 0
  s.parent = 0
  s.pref = 0
  s.protocol = -1
  s.chain = -1
  s.handle = ''
  s.kind = ''
  s.estimator.ewmaLog = 0
  for (; args.more; args.skip()) {
    const word = args.word
    if (word === 'dev') {
      args.next()
      if (s.dev) throw args.duparg('dev')
      if (s.block) throw args.fail(bothLine(verb, 'dev', 'block'), 255)
      s.dev = args.word.length > 15 ? args.word.slice(0, 15) : args.word
    } else if (word === 'ingress') s.parent = hook(args, s.parent, INGRESS)
    else if (word === 'egress') s.parent = hook(args, s.parent, EGRESS)
    else if (word === 'root') s.parent = hook(args, s.parent, TC_H_ROOT)
    else if (word === 'parent') {
      args.next()
      if (s.parent) throw args.duparg('parent')
      s.parent = parseClassid(args.word)
      if (s.parent < 0) throw args.invarg(verb === 'show' ? 'invalid parent ID' : 'Invalid parent ID')
    } else if (word === 'handle') {
      args.next()
      if (s.handle) throw args.duparg('handle')
      s.handle = args.word
    } else if (isPrefix(word, 'block')) {
      args.next()
      if (s.block) throw args.duparg('block')
      if (s.dev) throw args.fail(bothLine(verb, 'block', 'dev'), 255)
      s.block = args.u32()
      if (s.block <= 0) throw args.invarg('invalid block index value')
    } else if (isPrefix(word, 'preference') || isPrefix(word, 'priority')) {
      args.next()
      if (s.pref) throw args.duparg('priority')
      s.pref = args.u32()
      if (s.pref < 0) throw args.invarg(verb === 'show' ? 'invalid preference' : 'invalid priority value')
      if (s.pref > 0xffff && verb !== 'show') throw args.invarg('invalid priority value')
    } else if (isPrefix(word, 'protocol')) {
      args.next()
      if (s.protocol >= 0) throw args.duparg('protocol')
      s.protocol = parseProtocol(args.word)
      if (s.protocol < 0) throw args.invarg('invalid protocol')
    } else if (isPrefix(word, 'chain')) {
      args.next()
      if (s.chain >= 0) throw args.duparg('chain')
      s.chain = args.u32()
      if (s.chain < 0) throw args.invarg('invalid chain index value')
    } else if (verb === 'modify' && isPrefix(word, 'estimator')) {
      parseEstimator(args, s.estimator, raw)
    } else if (isPrefix(word, 'help')) return true
    else if (verb === 'show') throw args.fail(` What is "${word}"? Try "tc filter help"`, 255)
    else {
      if (verb === 'get' && word === '') throw args.invarg('invalid filter name')
      s.kind = word.length > 15 ? word.slice(0, 15) : word
      args.skip()
      return false
    }
  }
  return false
}

const bothLine = (verb: Verb, one: string, other: string): string =>
  verb === 'show'
    ? `Error: "${one}" cannot be used in the same time as "${other}"`
    : 'Error: "dev" and "block" are mutually exclusive'

function hook(args: Args, parent: number, h: number): number {
  if (parent) throw args.fail(`Error: "${args.word}" is duplicate parent ID`, 255)
  return h
}

const garbage = (args: Args): LanguageError =>
  args.fail(`Garbage instead of arguments "${args.word} ...". Try "tc filter help".`, 255)

function modify(c: ParseContext, type: number, flags: number): Command {
  const { args, b, options } = c
  if (select(args, 'modify', options.raw)) return usage('tc', options, FILTER_HELP)
  const s = chosen
  // A new filter that names no protocol is for all of them.
  const unsaid = type === RTM_NEWTFILTER && flags & NLM_F_CREATE ? ETH_P_ALL : 0
  const info = filterInfo(s.pref, s.protocol >= 0 ? s.protocol : unsaid)
  b.begin(type, NLM_F_REQUEST | NLM_F_ACK | flags)
  tcmsg(b, 0, 0, s.parent, info)
  if (s.chain >= 0) b.attrU32(TCA_CHAIN, s.chain)
  if (s.kind) b.attrStr(TCA_KIND, s.kind)
  target(args, b.d)
  if (s.kind) classifier(s.kind).parse(args, b, s.handle)
  else {
    if (s.handle) throw args.fail('Must specify filter type when using "handle"', 255, s.handle)
    if (args.more) throw garbage(args)
  }
  putEstimator(b, s.estimator)
  return { program: 'tc', options, requests: [b.end()], onRefusal: TALKING }
}

// Writes tcm_ifindex (and tcm_block_index, which is tcm_parent) into the message that has begun.
function target(args: Args, d: DataView): number {
  const s = chosen
  let ifindex = 0
  if (s.dev) {
    ifindex = args.device(s.dev)
    d.setUint32(20, ifindex, true)
  } else if (s.block) {
    d.setUint32(20, TCM_IFINDEX_MAGIC_BLOCK, true)
    d.setUint32(28, s.block, true)
  }
  return ifindex
}

function get(c: ParseContext, type: number): Command {
  const { args, b, options } = c
  if (select(args, 'get')) return usage('tc', options, FILTER_HELP)
  const s = chosen
  const filter = type === RTM_GETTFILTER
  if (filter && s.protocol < 0) throw args.fail('Must specify filter protocol', 255)
  if (filter && !s.pref) throw args.fail('Must specify filter priority', 255)
  b.begin(type, NLM_F_REQUEST | NLM_F_ECHO)
  tcmsg(b, 0, 0, s.parent, filter ? filterInfo(s.pref, s.protocol) : 0)
  if (s.chain >= 0) b.attrU32(TCA_CHAIN, s.chain)
  if (s.parent === 0) throw args.fail('Must specify filter parent', 255)
  if (filter && !s.kind) throw args.fail('Must specify filter type', 255)
  if (filter) b.attrStr(TCA_KIND, s.kind)
  if (!s.dev && !s.block) throw args.fail('Must specify netdevice "dev" or block index "block"', 255)
  const ifindex = target(args, b.d)
  if (filter) {
    classifier(s.kind).parse(args, b, s.handle)
    if (!s.handle) throw args.fail('Must specify filter "handle"', 255)
  } else if (args.more) throw garbage(args)
  const known: FilterFilter = { ...EVERY_FILTER, ifindex, block: s.block }
  return {
    program: 'tc',
    options,
    requests: [b.end()],
    onRefusal: TALKING,
    show: (replies, out) => {
      out.openDocument()
      for (const m of replies) printFilter(m, out, known)
      out.closeDocument()
    },
  }
}

function show(c: ParseContext, type: number): Command {
  const { args, b, options } = c
  if (select(args, 'show')) return usage('tc', options, FILTER_HELP)
  const s = chosen
  const before = s.dev || !s.block ? undefined : blockExists(c, s.block)
  b.begin(type, NLM_F_REQUEST | NLM_F_DUMP)
  tcmsg(b, 0, 0, s.parent, filterInfo(s.pref, s.protocol < 0 ? 0 : s.protocol))
  const ifindex = target(args, b.d)
  if (s.chain >= 0) b.attrU32(TCA_CHAIN, s.chain)
  if (options.brief) {
    const o = b.attrRoom(TCA_DUMP_FLAGS, 8)
    b.d.setUint32(o, TCA_DUMP_FLAGS_TERSE, true)
    b.d.setUint32(o + 4, TCA_DUMP_FLAGS_TERSE, true)
  }
  const known: FilterFilter = {
    ifindex,
    block: s.block,
    parent: s.block && !s.dev ? 0 : s.parent,
    protocol: s.protocol < 0 ? 0 : s.protocol,
    pref: s.pref,
    chain: s.chain,
  }
  const command: Command = {
    program: 'tc',
    options,
    requests: [b.end()],
    onRefusal: { line: 'Dump terminated', exitCode: 1 },
    show: (replies, out) => {
      out.openDocument()
      for (const m of replies) printFilter(m, out, known)
      out.closeDocument()
    },
  }
  return before ? { ...command, before } : command
}

const attrs = new Int32Array(TCA_EXT_WARN_MSG + 1)

// A listing of a block that no qdisc has is refused by tc itself, after it looked through all qdiscs.
function blockExists(c: ParseContext, index: number): NonNullable<Command['before']> {
  c.b.begin(RTM_GETQDISC, NLM_F_REQUEST | NLM_F_DUMP)
  tcmsg(c.b, 0, 0, 0, 0)
  return {
    request: c.b.end(),
    check: (replies) => {
      const found = replies.some((m) => {
        const d = viewOf(m)
        parseAttrs(d, TCMSG_ATTRS, msgLen(d), attrs, TCA_EXT_WARN_MSG)
        return [TCA_INGRESS_BLOCK, TCA_EGRESS_BLOCK].some((t) => attrs[t] && d.getUint32(attrs[t], true) === index)
      })
      if (!found) throw new LanguageError(`Cannot find block "${index}"`, 1, String(index), true)
    },
  }
}
