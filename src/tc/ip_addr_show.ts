// `ip addr show` and `ip addr flush` (ipaddress.c): devices and their addresses.

import {
  attrBytes,
  attrLen,
  attrString,
  msgLen,
  msgType,
  NLM_F_DUMP,
  NLM_F_REQUEST,
  parseAttrs,
  viewOf,
} from '../wire/netlink.ts'
import {
  IFA_ADDRESS,
  IFA_ANYCAST,
  IFA_BROADCAST,
  IFA_CACHEINFO,
  IFA_F_DEPRECATED,
  IFA_F_PERMANENT,
  IFA_F_SECONDARY,
  IFA_FLAGS,
  IFA_LABEL,
  IFA_LOCAL,
  IFA_PROTO,
  IFA_RT_PRIORITY,
  IFADDRMSG_ATTRS,
  ifaddrmsg,
  ifaFamily,
  ifaFlags,
  ifaIndex,
  ifaPrefixlen,
  ifaScope,
  RTM_DELADDR,
  RTM_GETADDR,
  RTM_NEWADDR,
} from '../wire/rtm_addr.ts'
import { ifiIndex, RTM_NEWLINK } from '../wire/rtm_link.ts'
import { AF_INET, AF_INET6, AF_UNSPEC } from '../wire/rtm_route.ts'
import { formatInet } from './address_text.ts'
import type { Command, ParseContext } from './command.ts'
import { ADDRESS_FLAGS } from './ip_addr_flags.ts'
import { deleteEach, inPrefix, type Prefix, prefixOf } from './ip_filter.ts'
import { printLink, wanted } from './ip_link_print.ts'
import { linkDump, linkGet } from './ip_link_show.ts'
import { formatScope, parseScope } from './names_text.ts'
import type { Printer } from './printer.ts'
import { usage } from './usage.ts'

const HELP = 'ip addr { show | flush } [ dev DEV ] [ scope SCOPE ] [ to PREFIX ] [ up ] [ FLAG ]'
const FOREVER = 0xffffffff

/** Which addresses to show. */
export interface AddrFilter {
  readonly family: number
  readonly ifindex: number
  /** -1: any */
  readonly scope: number
  readonly to: Prefix | null
  readonly flags: number
  readonly flagMask: number
}

export const EVERY_ADDR: AddrFilter = { family: AF_UNSPEC, ifindex: 0, scope: -1, to: null, flags: 0, flagMask: 0 }

/** Parses behind `ip addr show`. */
export const showAddrs = (c: ParseContext): Command => showOrFlush(c, false)

/** Parses behind `ip addr flush`. */
export const flushAddrs = (c: ParseContext): Command => showOrFlush(c, true)

function showOrFlush(c: ParseContext, flush: boolean): Command {
  const { args, b, options } = c
  if (flush && !args.more) throw args.fail('Flush requires arguments.', 1)
  let dev = ''
  let up = false
  let kind = ''
  let scope = -1
  let family = options.family
  let to: Prefix | null = null
  let flags = 0
  let flagMask = 0
  for (; args.more; args.skip()) {
    if (args.is('to')) {
      args.next()
      to = prefixOf(args.needPrefix(family))
      if (family === AF_UNSPEC) family = to.family
    } else if (args.is('scope')) {
      scope = parseScope(args.next())
      if (scope < 0 && !args.is('all')) throw args.invarg('invalid "scope"\n')
    } else if (args.is('up')) up = true
    else if (flagOf(args.word)) {
      const flag = flagOf(args.word)!
      flagMask |= flag.mask
      flags = flag.on ? flags | flag.mask : flags & ~flag.mask
    } else if (args.is('type')) kind = args.next()
    else if (['label', 'group', 'master', 'vrf', 'nomaster'].includes(args.word)) {
      throw args.fail(`"${args.word}" is not supported`, 1)
    } else {
      if (args.is('dev')) args.next()
      else if (args.matches('help')) return usage('ip', options, HELP)
      if (dev) throw args.duparg2('dev')
      dev = args.word
    }
  }
  const ifindex = dev ? args.devices.indexOf(dev) : 0
  if (dev && !ifindex) throw args.fail(`Device "${dev}" does not exist.`, 1, dev)
  const filter: AddrFilter = { family, ifindex, scope, to, flags, flagMask }
  b.begin(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP)
  ifaddrmsg(b, family, 0, 0, 0, ifindex)
  const addresses = b.end()
  if (flush) {
    const then = (replies: readonly Uint8Array[]): Uint8Array[] =>
      deleteEach(replies, RTM_NEWADDR, RTM_DELADDR, (m) => matches(m, filter))
    return { program: 'ip', options, requests: [addresses], onRefusal: { line: 'Flush terminated', exitCode: 1 }, then }
  }
  const links = ifindex ? linkGet(c, options.family, ifindex) : linkDump(c, options.family, kind)
  const show = (replies: readonly Uint8Array[], out: Printer): void => {
    out.openDocument()
    for (const m of replies) {
      if (!wanted(m, { ifindex, up, kind, master: 0, group: -1 })) continue
      const index = ifiIndex(viewOf(m))
      const all = replies.filter((r) => isAddressOf(r, index))
      const own = all.filter((r) => matches(r, filter))
      // A device goes unmentioned when it has addresses, but none that was asked for; or none of a family asked for.
      if (own.length === 0 && (all.length > 0 || family !== AF_UNSPEC)) continue
      out.openObject()
      if (!options.oneline || options.brief) printLink(m, out, false, options.brief, family)
      out.openArray('addr_info')
      for (const a of own) {
        out.openObject()
        printAddr(a, out, { oneline: options.oneline, brief: options.brief })
        out.closeObject()
      }
      out.closeArray()
      if (options.brief) out.text('\n')
      out.closeObject()
    }
    out.closeDocument()
  }
  return {
    program: 'ip',
    options,
    requests: [links, addresses],
    onRefusal: { line: 'Dump terminated', exitCode: 1 },
    show,
  }
}

function flagOf(word: string): { mask: number; on: boolean } | null {
  const minus = word.startsWith('-')
  const name = minus ? word.slice(1) : word
  if (name === 'dynamic') return { mask: IFA_F_PERMANENT, on: minus }
  if (name === 'primary') return { mask: IFA_F_SECONDARY, on: minus }
  return Object.hasOwn(ADDRESS_FLAGS, name) ? { mask: ADDRESS_FLAGS[name].mask, on: !minus } : null
}

function isAddressOf(m: Uint8Array, ifindex: number): boolean {
  const d = viewOf(m)
  return msgType(d) !== RTM_NEWLINK && msgType(d) === RTM_NEWADDR && ifaIndex(d) === ifindex
}

const attrs = new Int32Array(IFA_PROTO + 1)

const flagsOf = (d: DataView): number => (attrs[IFA_FLAGS] ? d.getUint32(attrs[IFA_FLAGS], true) : ifaFlags(d))

function matches(m: Uint8Array, f: AddrFilter): boolean {
  const d = viewOf(m)
  if (msgType(d) !== RTM_NEWADDR && msgType(d) !== RTM_DELADDR) return false
  parseAttrs(d, IFADDRMSG_ATTRS, msgLen(d), attrs, IFA_PROTO)
  if (f.ifindex && f.ifindex !== ifaIndex(d)) return false
  if (f.scope >= 0 && f.scope !== ifaScope(d)) return false
  if ((f.flags ^ flagsOf(d)) & f.flagMask) return false
  if (f.family && f.family !== ifaFamily(d)) return false
  const local = attrs[IFA_LOCAL] || attrs[IFA_ADDRESS]
  return !f.to || (local !== 0 && inPrefix(attrBytes(d, local), f.to))
}

/** Prints one RTM_{NEW,DEL}ADDR message (print_addrinfo). */
export function printAddr(m: Uint8Array, out: Printer, o: { oneline: boolean; brief: boolean }): void {
  const d = viewOf(m)
  parseAttrs(d, IFADDRMSG_ATTRS, msgLen(d), attrs, IFA_PROTO)
  const family = ifaFamily(d)
  const text = (at: number): string => formatInet(attrBytes(d, at), attrLen(d, at))
  const local = attrs[IFA_LOCAL] || attrs[IFA_ADDRESS]
  const address = attrs[IFA_ADDRESS] || attrs[IFA_LOCAL]
  if (msgType(d) === RTM_DELADDR) out.bool('deleted', 'Deleted ', true)
  if (!o.brief) {
    if (o.oneline) {
      out.num('index', '%u: ', ifaIndex(d))
      out.str('dev', '%s', out.devices.nameOf(ifaIndex(d)))
    }
    out.str('family', '    %s ', family === AF_INET ? 'inet' : family === AF_INET6 ? 'inet6' : '???')
  }
  if (local) {
    out.str('local', '%s', text(local))
    if (text(address) !== text(local)) out.str('address', ' peer %s', text(address))
    out.num('prefixlen', '/%d ', ifaPrefixlen(d))
    if (attrs[IFA_RT_PRIORITY]) out.num('metric', 'metric %u ', d.getUint32(attrs[IFA_RT_PRIORITY], true))
  }
  if (o.brief) return
  if (attrs[IFA_BROADCAST]) out.str('broadcast', 'brd %s ', text(attrs[IFA_BROADCAST]))
  if (attrs[IFA_ANYCAST]) out.str('anycast', 'any %s ', text(attrs[IFA_ANYCAST]))
  out.str('scope', 'scope %s ', formatScope(ifaScope(d)))
  printFlags(d, out, family)
  if (attrs[IFA_LABEL]) out.str('label', '%s', attrString(d, attrs[IFA_LABEL]))
  const cache = attrs[IFA_CACHEINFO]
  if (cache) {
    out.nl()
    printLife(out, '       valid_lft ', 'valid_life_time', d.getUint32(cache + 4, true))
    const preferred = d.getUint32(cache, true)
    const signed = (flagsOf(d) & IFA_F_DEPRECATED) !== 0
    printLife(
      out,
      ' preferred_lft ',
      'preferred_life_time',
      preferred === FOREVER || !signed ? preferred : preferred | 0,
    )
  }
  out.text('\n')
}

function printLife(out: Printer, title: string, key: string, seconds: number): void {
  out.text(title)
  out.num(key, seconds === FOREVER ? 'forever' : '%dsec', seconds)
}

function printFlags(d: DataView, out: Printer, family: number): void {
  let flags = flagsOf(d)
  for (const name in ADDRESS_FLAGS) {
    const { mask } = ADDRESS_FLAGS[name]
    if (mask === IFA_F_PERMANENT) {
      if (!(flags & mask)) out.bool('dynamic', 'dynamic ', true)
    } else if (flags & mask) {
      const word = mask === IFA_F_SECONDARY && family === AF_INET6 ? 'temporary' : name
      out.bool(word, `${word} `, true)
    }
    flags &= ~mask
  }
  if (flags) out.str('ifa_flags', 'flags %s ', flags.toString(16).padStart(2, '0'))
}
