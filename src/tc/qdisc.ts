// `tc qdisc …` (tc_qdisc.c): add, change, replace, link, del, show. The switch has two kinds, clsact and ingress; any other
// kind without options is sent as it is, for the switch to refuse by name.

import {
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
  parseAttrs,
  viewOf,
} from '../wire/netlink.ts'
import {
  RTM_DELQDISC,
  RTM_GETQDISC,
  RTM_NEWQDISC,
  TC_H_CLSACT,
  TC_H_INGRESS,
  TC_H_ROOT,
  TCA_DUMP_INVISIBLE,
  TCA_EGRESS_BLOCK,
  TCA_EXT_WARN_MSG,
  TCA_HW_OFFLOAD,
  TCA_INGRESS_BLOCK,
  TCA_KIND,
  TCA_OPTIONS,
  TCA_STATS2,
  TCMSG_ATTRS,
  tcmHandle,
  tcmIfindex,
  tcmInfo,
  tcmParent,
  tcmsg,
} from '../wire/tcm.ts'
import { type Args, isPrefix } from './args.ts'
import type { Command, ParseContext } from './command.ts'
import { formatClassid, parseClassid, parseQdiscHandle } from './handle_text.ts'
import { LanguageError } from './language_error.ts'
import type { Printer } from './printer.ts'
import { printStats2 } from './stats_text.ts'
import { usage } from './usage.ts'

const HELP =
  'tc qdisc { add | change | replace | delete | show } dev DEV { clsact | ingress } [ ingress_block N ] [ egress_block N ]'

/** Parses behind `tc qdisc`. */
export function parseQdisc(c: ParseContext): Command {
  const { args } = c
  if (!args.more) return show(c)
  const word = args.word
  args.skip()
  if (isPrefix(word, 'add')) return modify(c, RTM_NEWQDISC, NLM_F_EXCL | NLM_F_CREATE)
  if (isPrefix(word, 'change')) return modify(c, RTM_NEWQDISC, 0)
  if (isPrefix(word, 'replace')) return modify(c, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE)
  if (isPrefix(word, 'link')) return modify(c, RTM_NEWQDISC, NLM_F_REPLACE)
  if (isPrefix(word, 'delete')) return modify(c, RTM_DELQDISC, 0)
  if (isPrefix(word, 'list') || isPrefix(word, 'show') || isPrefix(word, 'lst')) return show(c)
  if (isPrefix(word, 'help')) return usage('tc', c.options, HELP)
  throw new LanguageError(`Command "${word}" is unknown, try "tc qdisc help".`, 255, word)
}

// The kinds whose options tc 6.1 knows: not in the switch, and refused by name.
const FOREIGN = new Set([
  ...[
    'atm',
    'bfifo',
    'cake',
    'cbq',
    'cbs',
    'choke',
    'codel',
    'drr',
    'dsmark',
    'etf',
    'ets',
    'fq',
    'fq_codel',
    'fq_pie',
  ],
  ...[
    'gred',
    'hfsc',
    'hhf',
    'htb',
    'mqprio',
    'multiq',
    'netem',
    'pfifo',
    'pfifo_fast',
    'pfifo_head_drop',
    'pie',
    'plug',
  ],
  ...['prio', 'qfq', 'red', 'rr', 'sfb', 'sfq', 'skbprio', 'taprio', 'tbf'],
])

function modify(c: ParseContext, type: number, flags: number): Command {
  const { args, b, options } = c
  let dev = ''
  let kind = ''
  let handle = 0
  let parent = 0
  let ingressBlock = 0
  let egressBlock = 0
  while (args.more) {
    if (args.is('dev')) {
      args.next()
      if (dev) throw args.duparg('dev')
      dev = args.word.slice(0, 15)
    } else if (args.is('handle')) {
      if (handle) throw args.duparg('handle')
      handle = parseQdiscHandle(args.next())
      if (handle < 0) throw args.invarg('invalid qdisc ID')
    } else if (args.is('root')) {
      if (parent) throw args.fail('Error: "root" is duplicate parent ID', 255)
      parent = TC_H_ROOT
    } else if (args.is('clsact') || args.is('ingress')) {
      kind = args.word
      if (parent) throw args.fail(`Error: "${kind}" is a duplicate parent ID`, 255)
      parent = kind === 'clsact' ? TC_H_CLSACT : TC_H_INGRESS
      handle = (parent & 0xffff0000) >>> 0
      args.skip()
      break
    } else if (args.is('parent')) {
      args.next()
      if (parent) throw args.duparg('parent')
      parent = parseClassid(args.word)
      if (parent < 0) throw args.invarg('invalid parent ID')
    } else if (args.matches('estimator') || args.matches('stab')) {
      throw args.fail(`"${args.word}" is not supported`, 255)
    } else if (args.matches('ingress_block')) ingressBlock = block(args, 'ingress')
    else if (args.matches('egress_block')) egressBlock = block(args, 'egress')
    else if (args.matches('help')) return usage('tc', options, HELP)
    else {
      kind = args.word.slice(0, 15)
      args.skip()
      break
    }
    args.skip()
  }
  b.begin(type, NLM_F_REQUEST | NLM_F_ACK | flags)
  tcmsg(b, 0, handle, parent, 0)
  if (kind) b.attrStr(TCA_KIND, kind)
  if (ingressBlock) b.attrU32(TCA_INGRESS_BLOCK, ingressBlock)
  if (egressBlock) b.attrU32(TCA_EGRESS_BLOCK, egressBlock)
  if (kind) kindOptions(args, kind)
  else if (args.more) throw args.fail(`Garbage instead of arguments "${args.word} ...". Try "tc qdisc help".`, 255)
  if (dev) b.d.setUint32(20, args.device(dev), true)
  return { program: 'tc', options, requests: [b.end()], onRefusal: { line: '', exitCode: 2 } }
}

function block(args: Args, side: string): number {
  args.next()
  const n = args.u32()
  if (n <= 0) throw args.invarg(`invalid ${side} block index value`)
  return n
}

function kindOptions(args: Args, kind: string): void {
  if (kind === 'ingress' && args.is('handle')) {
    args.next()
    args.skip()
  }
  if (FOREIGN.has(kind)) throw args.fail(`Qdisc "${kind}" is not supported`, 2, kind)
  if (!args.more) return
  if (kind === 'clsact' || kind === 'ingress') throw args.fail(`What is "${args.word}"?\nUsage: ... ${kind}`)
  throw args.fail(`Unknown qdisc "${kind}", hence option "${args.word}" is unparsable`)
}

function show(c: ParseContext): Command {
  const { args, b, options } = c
  let dev = ''
  let parent = 0
  let handle = 0
  let invisible = false
  const once = (): void => {
    if (parent) throw args.invarg('parent is already specified')
    if (handle) throw args.invarg('handle is already specified')
  }
  for (; args.more; args.skip()) {
    if (args.is('dev')) dev = args.next().slice(0, 15)
    else if (args.is('root')) {
      once()
      parent = TC_H_ROOT
    } else if (args.is('ingress') || args.is('clsact')) {
      once()
      parent = TC_H_INGRESS
    } else if (args.matches('parent')) {
      once()
      parent = parseClassid(args.next())
      if (parent < 0) throw args.invarg('invalid parent ID')
    } else if (args.matches('handle')) {
      once()
      handle = parseQdiscHandle(args.next())
      if (handle < 0) throw args.invarg('invalid handle ID')
    } else if (args.matches('help')) return usage('tc', options, HELP)
    else if (args.is('invisible')) invisible = true
    else throw args.fail(`What is "${args.word}"? Try "tc qdisc help".`, 255)
  }
  const ifindex = dev ? args.device(dev) : 0
  b.begin(RTM_GETQDISC, NLM_F_REQUEST | NLM_F_DUMP)
  tcmsg(b, ifindex, 0, 0, 0)
  if (invisible) b.attrFlag(TCA_DUMP_INVISIBLE)
  return {
    program: 'tc',
    options,
    requests: [b.end()],
    onRefusal: { line: 'Dump terminated', exitCode: 1 },
    show: (replies, out) => {
      out.openDocument()
      for (const m of replies) printQdisc(m, out, { ifindex, parent, handle, raw: options.raw })
      out.closeDocument()
    },
  }
}

/** What a listing is narrowed to, and therefore does not repeat. */
export interface QdiscFilter {
  readonly ifindex: number
  readonly parent: number
  readonly handle: number
  readonly raw: boolean
}

export const EVERY_QDISC: QdiscFilter = { ifindex: 0, parent: 0, handle: 0, raw: false }

const attrs = new Int32Array(TCA_EXT_WARN_MSG + 1)

/** Prints one RTM_NEWQDISC or RTM_DELQDISC message. */
export function printQdisc(m: Uint8Array, out: Printer, f: QdiscFilter): void {
  const d = viewOf(m)
  const type = msgType(d)
  const flags = msgFlags(d)
  if (f.ifindex && f.ifindex !== tcmIfindex(d)) return
  if (f.handle && f.handle !== tcmHandle(d)) return
  if (f.parent && f.parent !== tcmParent(d)) return
  parseAttrs(d, TCMSG_ATTRS, msgLen(d), attrs, TCA_EXT_WARN_MSG)
  const kind = attrString(d, attrs[TCA_KIND])
  out.openObject()
  if (type === RTM_DELQDISC) out.bool('deleted', 'deleted ', true)
  if (type === RTM_NEWQDISC && flags & NLM_F_CREATE && flags & NLM_F_REPLACE) out.bool('replaced', 'replaced ', true)
  if (type === RTM_NEWQDISC && flags & NLM_F_CREATE && flags & NLM_F_EXCL) out.bool('added', 'added ', true)
  out.str('kind', 'qdisc %s', kind)
  out.str('handle', ' %s', `${(tcmHandle(d) >>> 16).toString(16)}:`)
  if (f.raw) out.text(`[${tcmHandle(d).toString(16).padStart(8, '0')}]`)
  out.text(' ')
  if (f.ifindex === 0) printDevice(out, tcmIfindex(d))
  if (tcmParent(d) === TC_H_ROOT) out.bool('root', 'root ', true)
  else if (tcmParent(d)) out.str('parent', 'parent %s ', formatClassid(tcmParent(d)))
  if (tcmInfo(d) !== 1) out.num('refcnt', 'refcnt %u ', tcmInfo(d))
  if (attrs[TCA_HW_OFFLOAD] && d.getUint8(attrs[TCA_HW_OFFLOAD])) out.bool('offloaded', 'offloaded ', true)
  const ingress = attrs[TCA_INGRESS_BLOCK] ? d.getUint32(attrs[TCA_INGRESS_BLOCK], true) : 0
  if (ingress) out.num('ingress_block', 'ingress_block %u ', ingress)
  const egress = attrs[TCA_EGRESS_BLOCK] ? d.getUint32(attrs[TCA_EGRESS_BLOCK], true) : 0
  if (egress) out.num('egress_block', 'egress_block %u ', egress)
  out.openObject('options')
  if (attrs[TCA_OPTIONS] && kind === 'ingress') out.text('---------------- ')
  out.closeObject()
  out.nl()
  if (out.stats && attrs[TCA_STATS2]) {
    printStats2(d, attrs[TCA_STATS2], out, ' ')
    out.nl()
  }
  out.closeObject()
}

/** `dev NAME ` */
export function printDevice(out: Printer, ifindex: number): void {
  out.text('dev ')
  out.str('dev', '%s ', out.devices.nameOf(ifindex))
}
