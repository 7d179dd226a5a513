// `ip route show`, `get` and `flush` (iproute.c).

import { NLM_F_DUMP, NLM_F_REQUEST } from '../wire/netlink.ts'
import {
  AF_INET,
  AF_INET6,
  AF_UNSPEC,
  RT_TABLE_MAIN,
  RTA_DPORT,
  RTA_DST,
  RTA_IIF,
  RTA_IP_PROTO,
  RTA_MARK,
  RTA_OIF,
  RTA_SPORT,
  RTA_SRC,
  RTA_TABLE,
  RTA_UID,
  RTM_DELROUTE,
  RTM_F_FIB_MATCH,
  RTM_F_LOOKUP_TABLE,
  RTM_F_NOTIFY,
  RTM_GETROUTE,
  RTM_NEWROUTE,
  type Rtmsg,
  rtmsg,
  setRtmsg,
} from '../wire/rtm_route.ts'
import type { Args } from './args.ts'
import type { Command, ParseContext } from './command.ts'
import { deleteEach, type Prefix, prefixOf } from './ip_filter.ts'
import { EVERY_ROUTE, matches, printRoute, type RouteFilter } from './ip_route_print.ts'
import {
  parseDsfield,
  parseIpProtocol,
  parseRouteProtocol,
  parseRouteType,
  parseScope,
  parseTable,
} from './names_text.ts'
import { usage } from './usage.ts'

const HELP =
  'ip route { show | flush } [ [ root | match | exact ] PREFIX ] [ table N ] [ dev DEV ] [ proto P ] [ type T ] [ scope S ]'
const NO_ROUTE: Rtmsg = { family: 0, dstLen: 0, srcLen: 0, tos: 0, table: 0, protocol: 0, scope: 0, type: 0, flags: 0 }

/** Parses behind `ip route show`. */
export const showRoutes = (c: ParseContext): Command => showOrFlush(c, false)

/** Parses behind `ip route flush`. */
export const flushRoutes = (c: ParseContext): Command => showOrFlush(c, true)

function showOrFlush(c: ParseContext, flush: boolean): Command {
  const { args, b, options } = c
  if (flush && !args.more) throw args.fail('"ip route flush" requires arguments.', 1)
  const f: RouteFilter = { ...EVERY_ROUTE, family: options.family, table: RT_TABLE_MAIN }
  let oif = ''
  let iif = ''
  for (; args.more; args.skip()) {
    if (args.is('dev') || args.is('oif')) oif = args.next()
    else if (args.is('iif')) iif = args.next()
    else if (parseWord(args, f)) return usage('ip', options, HELP)
  }
  f.iif = iif ? args.device(iif) : 0
  f.oif = oif ? args.device(oif) : 0
  const family = options.family || (f.table ? AF_INET : AF_UNSPEC)
  b.begin(RTM_GETROUTE, NLM_F_REQUEST | NLM_F_DUMP)
  rtmsg(b, { ...NO_ROUTE, family, protocol: f.protocol < 0 ? 0 : f.protocol })
  if (f.table) b.attrU32(RTA_TABLE, f.table)
  if (f.oif) b.attrU32(RTA_OIF, f.oif)
  const requests = [b.end()]
  if (flush) {
    const then = (replies: readonly Uint8Array[]): Uint8Array[] =>
      deleteEach(replies, RTM_NEWROUTE, RTM_DELROUTE, (m) => matches(m, f))
    return { program: 'ip', options, requests, onRefusal: { line: 'Flush terminated', exitCode: 2 }, then }
  }
  return {
    program: 'ip',
    options,
    requests,
    onRefusal: { line: 'Dump terminated', exitCode: 2 },
    show: (replies, out) => {
      out.openDocument()
      for (const m of replies) printRoute(m, out, f)
      out.closeDocument()
    },
  }
}

// True when help was asked for.
function parseWord(args: Args, f: RouteFilter): boolean {
  const checked = (n: number, what: string): number => {
    if (n < 0) throw args.invarg(what)
    return n
  }
  if (args.matches('table')) {
    const table = parseTable(args.next())
    if (args.is('cache')) throw args.fail('"table cache" is not supported', 1)
    if (table < 0 && !args.is('all')) throw args.invarg('table id value is invalid\n')
    f.table = table < 0 ? 0 : table
  } else if (args.matches('vrf') || args.matches('cached') || args.matches('cloned') || args.is('mark')) {
    throw args.fail(`"${args.word}" is not supported`, 1)
  } else if (args.is('tos') || args.matches('dsfield')) {
    f.tos = checked(parseDsfield(args.next()), 'TOS value is invalid\n')
  } else if (args.matches('protocol')) {
    f.protocol = parseRouteProtocol(args.next())
    if (!args.is('all')) checked(f.protocol, 'invalid "protocol"\n')
  } else if (args.matches('scope')) {
    f.scope = parseScope(args.next())
    if (!args.is('all')) checked(f.scope, 'invalid "scope"\n')
  } else if (args.matches('type')) f.type = checked(parseRouteType(args.next()), 'node type value is invalid\n')
  else if (args.matches('metric') || args.matches('priority') || args.is('preference')) {
    args.next()
    f.metric = checked(args.u32(), '"metric" value is invalid\n')
  } else if (args.is('via')) {
    args.next()
    f.via = prefixOf(args.needPrefix(f.family))
  } else if (args.is('src')) {
    args.next()
    f.src = prefixOf(args.needPrefix(f.family))
  } else if (args.matches('realms') || args.matches('from')) throw args.fail(`"${args.word}" is not supported`, 1)
  else {
    if (args.matches('to')) args.next()
    if (args.is('help')) return true
    const root = args.matches('root')
    const match = !root && args.matches('match')
    if (root || match || args.matches('exact')) args.next()
    const p = prefixOf(args.needPrefix(f.family))
    if (!match) f.root = p
    if (!root) f.match = p
  }
  return false
}

/** Parses behind `ip route get`: ADDRESS [ from ADDR ] [ iif DEV ] [ oif DEV ] [ tos T ] [ mark M ] [ sport P ] …: attributes in the order of the words. */
export function getRoute(c: ParseContext): Command {
  const { args, b, options } = c
  let oif = ''
  let iif = ''
  let mark = 0
  let warning = ''
  let flags = 0
  let { family } = options
  let [tos, dstLen, srcLen] = [0, -1, 0]
  b.begin(RTM_GETROUTE, NLM_F_REQUEST)
  rtmsg(b, NO_ROUTE)
  const address = (type: number): Prefix => {
    const p = prefixOf(args.needPrefix(family))
    family ||= p.family
    if (p.bytes.length > 0) b.attr(type, p.bytes)
    return p
  }
  const port = (type: number): void => {
    const name = args.word
    args.next()
    const n = args.u16()
    if (n < 0) throw args.invarg(`invalid ${'sport'.startsWith(name) ? 'sport' : 'dport'}\n`)
    b.attrBe16(type, n)
  }
  for (; args.more; args.skip()) {
    if (args.is('tos') || args.matches('dsfield')) {
      tos = parseDsfield(args.next())
      if (tos < 0) throw args.invarg('TOS value is invalid\n')
    } else if (args.matches('from')) {
      args.next()
      if (args.matches('help')) return usage('ip', options, HELP)
      srcLen = address(RTA_SRC).bits
    } else if (args.matches('iif')) iif = args.next()
    else if (args.matches('mark')) {
      args.next()
      mark = args.u32()
      if (mark < 0) throw args.invarg('invalid mark value')
    } else if (args.matches('oif') || args.is('dev')) oif = args.next()
    else if (args.matches('notify')) flags |= RTM_F_NOTIFY
    else if (args.matches('connected') || args.matches('vrf') || args.is('as')) {
      throw args.fail(`"${args.word}" is not supported`, 1)
    } else if (args.matches('uid')) {
      args.next()
      const uid = args.u32()
      if (uid < 0) throw args.invarg('invalid UID\n')
      b.attrU32(RTA_UID, uid)
    } else if (args.matches('fibmatch')) flags |= RTM_F_FIB_MATCH
    else if (args.matches('sport')) port(RTA_SPORT)
    else if (args.matches('dport')) port(RTA_DPORT)
    else if (args.matches('ipproto')) {
      const protocol = parseIpProtocol(args.next())
      if (protocol < 0) throw args.invarg('Invalid "ipproto" value\n')
      b.attrU8(RTA_IP_PROTO, protocol)
    } else {
      if (args.is('to')) args.next()
      if (args.matches('help')) return usage('ip', options, HELP)
      const { bits } = address(RTA_DST)
      const whole = family === AF_INET ? 32 : family === AF_INET6 ? 128 : bits
      if (bits !== whole)
        warning += `Warning: /${bits >>> 0} as prefix is invalid, only /${whole} (or none) is supported.\n`
      dstLen = whole
    }
  }
  if (dstLen < 0) throw args.fail('need at least a destination address', 1)
  if (iif) b.attrU32(RTA_IIF, args.device(iif))
  if (oif) b.attrU32(RTA_OIF, args.device(oif))
  if (mark) b.attrU32(RTA_MARK, mark)
  family ||= AF_INET
  if (family === AF_INET) flags |= RTM_F_LOOKUP_TABLE
  setRtmsg(b, family, dstLen, srcLen, tos, flags)
  const f: RouteFilter = { ...EVERY_ROUTE }
  return {
    program: 'ip',
    options,
    requests: [b.end()],
    onRefusal: { line: '', exitCode: 2 },
    ...(warning ? { warning: warning.trimEnd() } : {}),
    show: (replies, out) => {
      out.openDocument()
      for (const m of replies) printRoute(m, out, f)
      out.closeDocument()
    },
  }
}
