// `ip route …` (iproute.c): add, change, replace, prepend, append, test, delete; show and flush are in ip_route_show.ts.

import {
  type Builder,
  NLM_F_ACK,
  NLM_F_APPEND,
  NLM_F_CREATE,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  NLM_F_REQUEST,
} from '../wire/netlink.ts'
import {
  AF_INET,
  AF_INET6,
  AF_UNSPEC,
  RT_SCOPE_HOST,
  RT_SCOPE_LINK,
  RT_SCOPE_NOWHERE,
  RT_SCOPE_UNIVERSE,
  RT_TABLE_LOCAL,
  RT_TABLE_MAIN,
  RT_TABLE_UNSPEC,
  RTA_DST,
  RTA_EXPIRES,
  RTA_FLOW,
  RTA_GATEWAY,
  RTA_METRICS,
  RTA_MULTIPATH,
  RTA_OIF,
  RTA_PREF,
  RTA_PREFSRC,
  RTA_PRIORITY,
  RTA_SRC,
  RTA_TABLE,
  RTA_VIA,
  RTAX_ADVMSS,
  RTAX_CWND,
  RTAX_HOPLIMIT,
  RTAX_INITCWND,
  RTAX_INITRWND,
  RTAX_LOCK,
  RTAX_MTU,
  RTAX_QUICKACK,
  RTAX_REORDERING,
  RTAX_SSTHRESH,
  RTAX_WINDOW,
  RTM_DELROUTE,
  RTM_NEWROUTE,
  RTN_ANYCAST,
  RTN_BROADCAST,
  RTN_LOCAL,
  RTN_MULTICAST,
  RTN_NAT,
  RTN_UNICAST,
  RTN_UNSPEC,
  RTNEXTHOP_LEN,
  RTNH_F_ONLINK,
  RTPROT_BOOT,
  type Rtmsg,
  rtmsg,
  setRtnexthop,
} from '../wire/rtm_route.ts'
import { type Args, isPrefix } from './args.ts'
import type { Command, ParseContext } from './command.ts'
import { flushRoutes, getRoute, showRoutes } from './ip_route_show.ts'
import { LanguageError, refusedBy } from './language_error.ts'
import { parseDsfield, parseRouteProtocol, parseRouteType, parseScope, parseTable } from './names_text.ts'
import { usage } from './usage.ts'

const HELP =
  'ip route { add | change | replace | append | prepend | delete } [ TYPE ] PREFIX [ via ADDR ] [ dev DEV ] [ src ADDR ] [ metric N ] [ table N ] … | show | get ADDR | flush'

// Metrics: word, attribute, whether it may be abbreviated, largest value, whether `lock` may stand in front.
const METRICS: readonly (readonly [string, number, boolean, number, boolean])[] = [
  ['mtu', RTAX_MTU, false, 0xffffffff, true],
  ['hoplimit', RTAX_HOPLIMIT, false, 255, true],
  ['advmss', RTAX_ADVMSS, false, 0xffffffff, true],
  ['reordering', RTAX_REORDERING, true, 0xffffffff, true],
  ['window', RTAX_WINDOW, true, 0xffffffff, true],
  ['cwnd', RTAX_CWND, true, 0xffffffff, true],
  ['initcwnd', RTAX_INITCWND, true, 0xffffffff, true],
  ['initrwnd', RTAX_INITRWND, true, 0xffffffff, true],
  ['quickack', RTAX_QUICKACK, true, 1, false],
  ['ssthresh', RTAX_SSTHRESH, true, 0xffffffff, true],
]
const UNSUPPORTED = ['rtt', 'rto_min', 'as', 'nhid', 'encap', 'ttl-propagate']
const UNSUPPORTED_SHORT = ['features', 'congctl', 'rttvar', 'vrf', 'fastopen_no_cookie']
const PREFERENCES: Readonly<Record<string, number>> = { low: 3, medium: 0, high: 1 }

/** Parses behind `ip route`. */
export function parseRoute(c: ParseContext): Command {
  const { args } = c
  if (!args.more) return showRoutes(c)
  const word = args.word
  args.skip()
  if (isPrefix(word, 'add')) return modify(c, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL)
  if (isPrefix(word, 'change') || word === 'chg') return modify(c, RTM_NEWROUTE, NLM_F_REPLACE)
  if (isPrefix(word, 'replace')) return modify(c, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE)
  if (isPrefix(word, 'prepend')) return modify(c, RTM_NEWROUTE, NLM_F_CREATE)
  if (isPrefix(word, 'append')) return modify(c, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_APPEND)
  if (isPrefix(word, 'test')) return modify(c, RTM_NEWROUTE, NLM_F_EXCL)
  if (isPrefix(word, 'delete')) return modify(c, RTM_DELROUTE, 0)
  if (isPrefix(word, 'list') || isPrefix(word, 'show') || isPrefix(word, 'lst')) return showRoutes(c)
  if (isPrefix(word, 'get')) return getRoute(c)
  if (isPrefix(word, 'flush')) return flushRoutes(c)
  if (isPrefix(word, 'help')) return usage('ip', c.options, HELP)
  throw new LanguageError(`Command "${word}" is unknown, try "ip route help".`, 255, word)
}

interface Said {
  readonly r: Rtmsg
  readonly metrics: [number, number][]
  locks: number
  dev: string
  gateway: boolean
  destination: boolean
  nexthops: boolean
  scope: boolean
  table: boolean
  help: boolean
}

function modify(c: ParseContext, type: number, flags: number): Command {
  const { args, b, options } = c
  const adding = type !== RTM_DELROUTE
  const r: Rtmsg = {
    family: options.family,
    dstLen: 0,
    srcLen: 0,
    tos: 0,
    table: RT_TABLE_MAIN,
    protocol: adding ? RTPROT_BOOT : 0,
    scope: adding ? RT_SCOPE_UNIVERSE : RT_SCOPE_NOWHERE,
    type: adding ? RTN_UNICAST : RTN_UNSPEC,
    flags: 0,
  }
  const s: Said = {
    r,
    metrics: [],
    locks: 0,
    dev: '',
    gateway: false,
    destination: false,
    nexthops: false,
    scope: false,
    table: false,
    help: false,
  }
  b.begin(type, NLM_F_REQUEST | NLM_F_ACK | flags)
  rtmsg(b, r)
  parseWords(args, b, s)
  if (s.help) return usage('ip', options, HELP)
  if (!s.destination) throw new LanguageError(`Usage: ${HELP}`, 255, args.words[args.words.length - 1], true)
  if (s.dev) b.attrU32(RTA_OIF, args.device(s.dev))
  if (s.metrics.length) {
    const nest = b.nest(RTA_METRICS)
    for (const [attr, value] of s.metrics) b.attrU32(attr, value)
    if (s.locks) b.attrU32(RTAX_LOCK, s.locks)
    b.nestEnd(nest)
  }
  if (s.nexthops) parseNexthops(args, b, r)
  settle(s, adding)
  const end = b.at
  b.at = 16
  rtmsg(b, r)
  b.at = end
  return { program: 'ip', options, requests: [b.end()], onRefusal: { line: '', exitCode: 2 } }
}

// What follows from the type and the next hop when nobody said it.
function settle(s: Said, adding: boolean): void {
  const { r } = s
  if (r.family === AF_UNSPEC) r.family = AF_INET
  const t = r.type
  if (!s.table && (t === RTN_LOCAL || t === RTN_BROADCAST || t === RTN_NAT || t === RTN_ANYCAST))
    r.table = RT_TABLE_LOCAL
  if (s.scope) return
  if (r.family === AF_INET6) r.scope = RT_SCOPE_UNIVERSE
  else if (t === RTN_LOCAL || t === RTN_NAT) r.scope = RT_SCOPE_HOST
  else if (t === RTN_BROADCAST || t === RTN_MULTICAST || t === RTN_ANYCAST) r.scope = RT_SCOPE_LINK
  else if (t === RTN_UNICAST || t === RTN_UNSPEC) {
    if (!adding) r.scope = RT_SCOPE_NOWHERE
    else if (!s.gateway && !s.nexthops) r.scope = RT_SCOPE_LINK
  }
}

function parseWords(args: Args, b: Builder, s: Said): void {
  const { r } = s
  for (; args.more; args.skip()) {
    const word = args.word
    if (word === 'src') {
      args.next()
      address(args, b, r, RTA_PREFSRC)
    } else if (word === 'via') {
      if (s.gateway) throw args.invarg('use nexthop syntax to specify multiple via\n')
      s.gateway = true
      args.next()
      via(args, b, r)
    } else if (word === 'from') {
      args.next()
      const p = args.needPrefix(r.family)
      if (r.family === AF_UNSPEC) r.family = p.family
      if (p.bytelen) b.attrSlice(RTA_SRC, p.data, 0, p.bytelen)
      r.srcLen = p.bitlen
    } else if (word === 'tos' || isPrefix(word, 'dsfield')) {
      r.tos = parseDsfield(args.next())
      if (r.tos < 0) throw args.invarg('"tos" value is invalid\n')
    } else if (word === 'expires') b.attrU32(RTA_EXPIRES, number(args, 'expires', 0xffffffff))
    else if (isPrefix(word, 'metric') || isPrefix(word, 'priority') || word === 'preference') {
      b.attrU32(RTA_PRIORITY, number(args, 'metric', 0xffffffff))
    } else if (word === 'scope') {
      r.scope = parseScope(args.next())
      if (r.scope < 0) throw args.invarg('invalid "scope" value\n')
      s.scope = true
    } else if (UNSUPPORTED.includes(word)) throw args.fail(`"${word}" is not supported`, 1)
    else if (metric(args, s)) continue
    else if (isPrefix(word, 'realms')) b.attrU32(RTA_FLOW, number(args, 'realm', 0xffff))
    else if (word === 'onlink') r.flags |= RTNH_F_ONLINK
    else if (word === 'nexthop') {
      s.nexthops = true
      return
    } else if (isPrefix(word, 'protocol')) {
      r.protocol = parseRouteProtocol(args.next())
      if (r.protocol < 0) throw args.invarg('"protocol" value is invalid\n')
    } else if (isPrefix(word, 'table')) {
      const table = parseTable(args.next())
      if (table < 0) throw args.invarg('"table" value is invalid\n')
      r.table = table < 256 ? table : RT_TABLE_UNSPEC
      if (table >= 256) b.attrU32(RTA_TABLE, table)
      s.table = true
    } else if (word === 'dev' || word === 'oif') s.dev = args.next()
    else if (isPrefix(word, 'pref')) {
      const name = args.next()
      const pref = Object.hasOwn(PREFERENCES, name) ? PREFERENCES[name] : args.u8()
      if (pref < 0) throw args.invarg('"pref" value is invalid\n')
      b.attrU8(RTA_PREF, pref)
    } else if (UNSUPPORTED_SHORT.some((w) => isPrefix(word, w))) throw args.fail(`"${word}" is not supported`, 1)
    else if (destination(args, b, s)) return
  }
}

// [ to ] [ TYPE ] PREFIX. True when help was asked for.
function destination(args: Args, b: Builder, s: Said): boolean {
  const { r } = s
  if (args.is('to')) args.next()
  const c = args.word.charCodeAt(0)
  if (c < 0x30 || c > 0x39) {
    const type = parseRouteType(args.word)
    if (type >= 0) {
      r.type = type
      args.next()
    }
  }
  if (args.matches('help')) {
    s.help = true
    return true
  }
  if (s.destination) throw args.duparg2('to')
  s.destination = true
  const p = args.needPrefix(r.family)
  if (r.family === AF_UNSPEC) r.family = p.family
  r.dstLen = p.bitlen
  if (p.bytelen) b.attrSlice(RTA_DST, p.data, 0, p.bytelen)
  return false
}

function address(args: Args, b: Builder, r: Rtmsg, attr: number): void {
  const p = args.needAddress(r.family)
  if (r.family === AF_UNSPEC) r.family = p.family
  b.attrSlice(attr, p.data, 0, p.bytelen)
}

// via [ inet | inet6 ] ADDRESS: the other family goes into RTA_VIA.
function via(args: Args, b: Builder, r: Rtmsg): void {
  let family = r.family
  if (args.is('inet') || args.is('inet6')) {
    family = args.is('inet') ? AF_INET : AF_INET6
    args.next()
  }
  const p = args.needAddress(family)
  if (r.family === AF_UNSPEC) r.family = p.family
  if (p.family === r.family) {
    b.attrSlice(RTA_GATEWAY, p.data, 0, p.bytelen)
    return
  }
  // struct rtvia { u16 family; u8 addr[]; }
  const o = b.attrRoom(RTA_VIA, 2 + p.bytelen)
  b.d.setUint16(o, p.family, true)
  b.u8s.set(p.data.subarray(0, p.bytelen), o + 2)
}

function number(args: Args, name: string, max: number): number {
  const n = args.number(args.next(), 0, max)
  if (n < 0) throw args.invarg(`"${name}" value is invalid\n`)
  return n
}

function metric(args: Args, s: Said): boolean {
  const found = METRICS.find(([name, , short]) => args.is(name) || (short && args.matches(name)))
  if (!found) return false
  const [name, attr, , max, lockable] = found
  if (lockable && args.following === 'lock') {
    s.locks |= 1 << attr
    args.skip()
  }
  const value = number(args, name === 'advmss' ? 'mss' : name, max)
  s.metrics.push([attr, value])
  return true
}

function parseNexthops(args: Args, b: Builder, r: Rtmsg): void {
  const nest = b.nest(RTA_MULTIPATH)
  while (args.more) {
    if (!args.is('nexthop')) {
      const text = `Error: "nexthop" or end of line is expected instead of "${args.word}"`
      throw new LanguageError(text, 255, args.word, true)
    }
    if (args.left <= 1) throw new LanguageError('Error: unexpected end of line after "nexthop"', 255, args.word, true)
    args.skip()
    try {
      parseNexthop(args, b, r)
    } catch (e) {
      throw refusedBy(e, 'Error: cannot parse nexthop', 255)
    }
  }
  b.nestEnd(nest)
}

function parseNexthop(args: Args, b: Builder, r: Rtmsg): void {
  const at = b.room(RTNEXTHOP_LEN)
  let flags = 0
  let hops = 0
  let ifindex = 0
  for (; args.more; args.skip()) {
    if (args.is('via')) {
      args.next()
      via(args, b, r)
    } else if (args.is('dev')) ifindex = args.device(args.next())
    else if (args.is('weight')) {
      args.next()
      hops = args.u32() - 1
      if (hops < 0 || hops > 255) throw args.invarg('"weight" is invalid\n')
    } else if (args.is('onlink')) flags |= RTNH_F_ONLINK
    else if (args.matches('realms')) b.attrU32(RTA_FLOW, number(args, 'realm', 0xffff))
    else break
  }
  setRtnexthop(b, at, flags, hops, ifindex)
}
