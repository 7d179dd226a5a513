// `ip neigh …` (ipneigh.c): add, change, replace, delete, get, show, flush.

import {
  attrBytes,
  attrLen,
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
  NDA_CACHEINFO,
  NDA_DST,
  NDA_FLAGS_EXT,
  NDA_IFINDEX,
  NDA_LLADDR,
  NDA_PROBES,
  NDA_PROTOCOL,
  NDMSG_ATTRS,
  NTF_EXT_LEARNED,
  NTF_EXT_MANAGED,
  NTF_OFFLOADED,
  NTF_PROXY,
  NTF_ROUTER,
  NTF_USE,
  NUD_DELAY,
  NUD_FAILED,
  NUD_INCOMPLETE,
  NUD_NOARP,
  NUD_NONE,
  NUD_PERMANENT,
  NUD_PROBE,
  NUD_REACHABLE,
  NUD_STALE,
  ndmFamily,
  ndmFlags,
  ndmIfindex,
  ndmState,
  ndmsg,
  RTM_DELNEIGH,
  RTM_GETNEIGH,
  RTM_NEWNEIGH,
} from '../wire/rtm_neigh.ts'
import { AF_UNSPEC } from '../wire/rtm_route.ts'
import { formatInet } from './address_text.ts'
import { type Args, isPrefix } from './args.ts'
import type { Command, ParseContext } from './command.ts'
import { deleteEach, inPrefix, type Prefix, prefixOf } from './ip_filter.ts'
import { lladdrError } from './ip_link.ts'
import { LanguageError } from './language_error.ts'
import { formatRouteProtocol, parseRouteProtocol } from './names_text.ts'
import type { Printer } from './printer.ts'
import { usage } from './usage.ts'

const HELP =
  'ip neigh { add | change | replace | delete } ADDR [ lladdr MAC ] [ nud STATE ] dev DEV | show [ dev DEV ] [ nud STATE ]'
const USER_HZ = 100
/** In a filter: also entries without a state. */
const STATELESS = 0x100

const STATES: readonly (readonly [string, number, boolean])[] = [
  ['permanent', NUD_PERMANENT, true],
  ['reachable', NUD_REACHABLE, true],
  ['noarp', NUD_NOARP, false],
  ['none', NUD_NONE, false],
  ['stale', NUD_STALE, false],
  ['incomplete', NUD_INCOMPLETE, false],
  ['delay', NUD_DELAY, false],
  ['probe', NUD_PROBE, false],
  ['failed', NUD_FAILED, true],
]

/** A neighbour's state, some abbreviated as `ip` allows; -1 when the word is none. */
function parseState(args: Args): number {
  const word = args.word
  for (const [name, state, short] of STATES) if (word === name || (short && isPrefix(word, name))) return state
  const n = args.u32()
  return n < 0x100 && (n & (n - 1)) === 0 ? n : -1
}

/** Parses behind `ip neigh`. */
export function parseNeigh(c: ParseContext): Command {
  const { args } = c
  if (!args.more) return showOrFlush(c, false)
  const word = args.word
  args.skip()
  if (isPrefix(word, 'add')) return modify(c, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_EXCL)
  if (isPrefix(word, 'change') || word === 'chg') return modify(c, RTM_NEWNEIGH, NLM_F_REPLACE)
  if (isPrefix(word, 'replace')) return modify(c, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE)
  if (isPrefix(word, 'delete')) return modify(c, RTM_DELNEIGH, 0)
  if (isPrefix(word, 'get')) return get(c)
  if (isPrefix(word, 'show') || isPrefix(word, 'lst') || isPrefix(word, 'list')) return showOrFlush(c, false)
  if (isPrefix(word, 'flush')) return showOrFlush(c, true)
  if (isPrefix(word, 'help')) return usage('ip', c.options, HELP)
  throw new LanguageError(`Command "${word}" is unknown, try "ip neigh help".`, 255, word)
}

function modify(c: ParseContext, type: number, flags: number): Command {
  const { args, b, options } = c
  let state = NUD_PERMANENT
  let ndmFlag = 0
  let extended = 0
  let dev = ''
  let lladdr = ''
  let dst: Prefix | null = null
  b.begin(type, NLM_F_REQUEST | NLM_F_ACK | flags)
  ndmsg(b, 0, 0, 0, 0, 0)
  for (; args.more; args.skip()) {
    if (args.matches('lladdr')) {
      args.next()
      if (lladdr) throw args.duparg('lladdr')
      lladdr = args.word
    } else if (args.is('nud')) {
      args.next()
      state = parseState(args)
      if (state < 0) throw args.invarg('nud state is bad')
    } else if (args.matches('proxy')) {
      args.next()
      if (args.matches('help')) return usage('ip', options, HELP)
      if (dst) throw args.duparg2('address')
      dst = prefixOf(args.needAddress(options.family))
      ndmFlag |= NTF_PROXY
    } else if (args.is('router')) ndmFlag |= NTF_ROUTER
    else if (args.is('use')) ndmFlag |= NTF_USE
    else if (args.is('managed')) {
      extended |= NTF_EXT_MANAGED
      state = NUD_NONE
    } else if (args.matches('extern_learn')) ndmFlag |= NTF_EXT_LEARNED
    else if (args.is('dev')) dev = args.next()
    else if (args.matches('protocol')) {
      const protocol = parseRouteProtocol(args.next())
      if (protocol < 0) throw args.invarg('"protocol" value is invalid\n')
      b.attrU8(NDA_PROTOCOL, protocol)
    } else {
      if (args.is('to')) args.next()
      if (args.matches('help')) args.next()
      if (dst) throw args.duparg2('to')
      dst = prefixOf(args.needAddress(options.family))
    }
  }
  if ((!dev && !(ndmFlag & NTF_PROXY)) || !dst || dst.family === AF_UNSPEC)
    throw new LanguageError('Device and destination are required arguments.', 255, undefined, true)
  b.attr(NDA_DST, dst.bytes)
  if (extended) b.attrU32(NDA_FLAGS_EXT, extended)
  if (lladdr && lladdr !== 'null') {
    const n = args.lladdr(lladdr)
    if (n < 0) throw args.fail(lladdrError(lladdr), 1, lladdr)
    b.attrSlice(NDA_LLADDR, args.mac, 0, n)
  }
  const d = b.d
  d.setUint8(16, dst.family)
  d.setUint32(20, dev ? args.device(dev) : 0, true)
  d.setUint16(24, state, true)
  d.setUint8(26, ndmFlag)
  return { program: 'ip', options, requests: [b.end()], onRefusal: { line: '', exitCode: 2 } }
}

function get(c: ParseContext): Command {
  const { args, b, options } = c
  let dev = ''
  let flags = 0
  let dst: Prefix | null = null
  for (; args.more; args.skip()) {
    if (args.is('dev')) dev = args.next()
    else if (args.matches('proxy')) {
      args.next()
      if (args.matches('help')) return usage('ip', options, HELP)
      if (dst) throw args.duparg2('address')
      dst = prefixOf(args.needAddress(options.family))
      flags |= NTF_PROXY
    } else {
      if (args.is('to')) args.next()
      if (args.matches('help')) return usage('ip', options, HELP)
      if (dst) throw args.duparg2('to')
      dst = prefixOf(args.needAddress(options.family))
    }
  }
  if ((!dev && !flags) || !dst || dst.family === AF_UNSPEC)
    throw args.fail('Device and address are required arguments.', 1)
  b.begin(RTM_GETNEIGH, NLM_F_REQUEST)
  ndmsg(b, dst.family, dev ? args.device(dev) : 0, 0, flags, 0)
  b.attr(NDA_DST, dst.bytes)
  return {
    program: 'ip',
    options,
    requests: [b.end()],
    onRefusal: { line: '', exitCode: 2 },
    show: (replies, out) => {
      for (const m of replies) printNeigh(m, out, EVERY_NEIGH)
    },
  }
}

/** Which neighbours to show. */
export interface NeighFilter {
  readonly family: number
  readonly ifindex: number
  readonly states: number
  readonly unused: boolean
  readonly to: Prefix | null
  readonly protocol: number
}

export const EVERY_NEIGH: NeighFilter = {
  family: AF_UNSPEC,
  ifindex: 0,
  states: 0xff | STATELESS,
  unused: false,
  to: null,
  protocol: 0,
}

function showOrFlush(c: ParseContext, flush: boolean): Command {
  const { args, b, options } = c
  if (flush && !args.more) throw args.fail('Flush requires arguments.', 1)
  const word = flush ? 'flush' : 'show'
  let dev = ''
  let states = -1
  let unused = false
  let proxy = 0
  let protocol = 0
  let to: Prefix | null = null
  for (; args.more; args.skip()) {
    if (args.is('dev')) {
      args.next()
      if (dev) throw args.duparg('dev')
      dev = args.word
    } else if (args.is('master') || args.is('vrf') || args.is('nomaster')) {
      throw args.fail(`"${args.word}" is not supported`, 1)
    } else if (args.is('unused')) unused = true
    else if (args.is('nud')) {
      args.next()
      let state = parseState(args)
      if (state < 0 && !args.is('all')) throw args.invarg('nud state is bad')
      if (state < 0) state = flush ? 0xfff & ~NUD_NOARP : 0xfff
      states = (states < 0 ? 0 : states) | (state || STATELESS)
    } else if (args.is('proxy')) proxy = NTF_PROXY
    else if (args.matches('protocol')) {
      protocol = parseRouteProtocol(args.next())
      if (protocol < 0 && !args.is('all')) throw args.invarg('invalid "protocol"\n')
      if (protocol < 0) protocol = 0
    } else {
      if (args.is('to')) args.next()
      if (args.matches('help')) return usage('ip', options, HELP)
      to = prefixOf(args.needPrefix(options.family))
    }
  }
  const ifindex = dev ? args.device(dev) : 0
  const family = options.family || to?.family || AF_UNSPEC
  if (states < 0) states = flush ? 0xfff & ~(NUD_PERMANENT | NUD_NOARP) : 0xff & ~NUD_NOARP
  const filter: NeighFilter = { family, ifindex, states, unused, to, protocol }
  b.begin(RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP)
  ndmsg(b, family, 0, 0, proxy, 0)
  if (ifindex) b.attrU32(NDA_IFINDEX, ifindex)
  const requests = [b.end()]
  const onRefusal = { line: `${word === 'flush' ? 'Flush' : 'Dump'} terminated`, exitCode: 1 }
  if (flush) {
    const then = (replies: readonly Uint8Array[]): Uint8Array[] =>
      deleteEach(replies, RTM_NEWNEIGH, RTM_DELNEIGH, (m) => matches(m, filter))
    return { program: 'ip', options, requests, onRefusal, then }
  }
  return {
    program: 'ip',
    options,
    requests,
    onRefusal,
    show: (replies, out) => {
      out.openDocument()
      for (const m of replies) printNeigh(m, out, filter)
      out.closeDocument()
    },
  }
}

const attrs = new Int32Array(NDA_FLAGS_EXT + 1)

function matches(m: Uint8Array, f: NeighFilter): boolean {
  const d = viewOf(m)
  parseAttrs(d, NDMSG_ATTRS, msgLen(d), attrs, NDA_FLAGS_EXT)
  const state = ndmState(d)
  if (f.family && f.family !== ndmFamily(d)) return false
  if (f.ifindex && f.ifindex !== ndmIfindex(d)) return false
  const flagged = ndmFlags(d) & (NTF_PROXY | NTF_EXT_LEARNED)
  if (!(f.states & state) && !flagged && (state || !(f.states & STATELESS))) return false
  if (f.to && attrs[NDA_DST] && !inPrefix(attrBytes(d, attrs[NDA_DST]), f.to)) return false
  const protocol = attrs[NDA_PROTOCOL] ? d.getUint8(attrs[NDA_PROTOCOL]) : 0
  if (f.protocol && f.protocol !== protocol) return false
  // struct nda_cacheinfo { u32 confirmed, used, updated, refcnt; }
  return !(f.unused && attrs[NDA_CACHEINFO] && d.getUint32(attrs[NDA_CACHEINFO] + 12, true))
}

/** Prints one RTM_{NEW,DEL,GET}NEIGH message, if the filter lets it through. */
export function printNeigh(m: Uint8Array, out: Printer, f: NeighFilter): void {
  if (!matches(m, f)) return
  const d = viewOf(m)
  const flags = ndmFlags(d)
  out.openObject()
  if (msgType(d) === RTM_DELNEIGH) out.bool('deleted', 'Deleted ', true)
  else if (msgType(d) === RTM_GETNEIGH) out.nul('miss', '%s ', 'miss')
  const dst = attrs[NDA_DST]
  if (dst) out.str('dst', '%s ', formatInet(attrBytes(d, dst), attrLen(d, dst)))
  if (!f.ifindex && ndmIfindex(d)) out.str('dev', 'dev %s ', out.devices.nameOf(ndmIfindex(d)))
  const lladdr = attrs[NDA_LLADDR]
  if (lladdr) out.str('lladdr', 'lladdr %s ', out.mac(d, lladdr, attrLen(d, lladdr)))
  const extended = attrs[NDA_FLAGS_EXT] ? d.getUint32(attrs[NDA_FLAGS_EXT], true) : 0
  if (flags & NTF_ROUTER) out.nul('router', '%s ', 'router')
  if (flags & NTF_PROXY) out.nul('proxy', '%s ', 'proxy')
  if (extended & NTF_EXT_MANAGED) out.nul('managed', '%s ', 'managed')
  if (flags & NTF_EXT_LEARNED) out.nul('extern_learn', '%s ', 'extern_learn')
  if (flags & NTF_OFFLOADED) out.nul('offload', '%s ', 'offload')
  if (out.stats) printUse(d, out)
  if (ndmState(d)) printStates(ndmState(d), out)
  const protocol = attrs[NDA_PROTOCOL] ? d.getUint8(attrs[NDA_PROTOCOL]) : 0
  if (protocol) out.str('protocol', 'proto %s ', formatRouteProtocol(protocol))
  out.text('\n')
  out.closeObject()
}

function printUse(d: DataView, out: Printer): void {
  const o = attrs[NDA_CACHEINFO]
  const seconds = (at: number): number => Math.floor(d.getUint32(o + at, true) / USER_HZ)
  if (o) {
    if (d.getUint32(o + 12, true)) out.num('refcnt', ' ref %u', d.getUint32(o + 12, true))
    out.num('used', ' used %u', seconds(4))
    out.num('confirmed', '/%u', seconds(0))
    out.num('updated', '/%u', seconds(8))
  }
  if (attrs[NDA_PROBES]) out.num('probes', 'probes %u ', d.getUint32(attrs[NDA_PROBES], true))
}

const STATE_NAMES: readonly (readonly [string, number])[] = [
  ['INCOMPLETE', NUD_INCOMPLETE],
  ['REACHABLE', NUD_REACHABLE],
  ['STALE', NUD_STALE],
  ['DELAY', NUD_DELAY],
  ['PROBE', NUD_PROBE],
  ['FAILED', NUD_FAILED],
  ['NOARP', NUD_NOARP],
  ['PERMANENT', NUD_PERMANENT],
]

function printStates(state: number, out: Printer): void {
  out.openArray('state')
  for (const [name, bit] of STATE_NAMES) if (state & bit) out.str(null, '%s ', name)
  out.closeArray()
}
