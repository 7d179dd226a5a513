// `ip addr …` (ipaddress.c): add, change, replace, delete; show and flush are in ip_addr_show.ts.

import { type Builder, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST } from '../wire/netlink.ts'
import {
  IFA_ADDRESS,
  IFA_ANYCAST,
  IFA_BROADCAST,
  IFA_CACHEINFO,
  IFA_F_MCAUTOJOIN,
  IFA_FLAGS,
  IFA_LABEL,
  IFA_LOCAL,
  IFA_RT_PRIORITY,
  ifaddrmsg,
  RTM_DELADDR,
  RTM_NEWADDR,
} from '../wire/rtm_addr.ts'
import { AF_INET, AF_INET6, AF_UNSPEC, RT_SCOPE_HOST } from '../wire/rtm_route.ts'
import { type Args, isPrefix } from './args.ts'
import type { Command, ParseContext } from './command.ts'
import { ADDRESS_FLAGS } from './ip_addr_flags.ts'
import { flushAddrs, showAddrs } from './ip_addr_show.ts'
import { type Prefix, prefixOf } from './ip_filter.ts'
import { LanguageError } from './language_error.ts'
import { parseScope } from './names_text.ts'
import { usage } from './usage.ts'

const HELP =
  'ip addr { add | change | replace | delete } PREFIX dev DEV [ brd ADDR ] [ scope SCOPE ] [ metric N ] | show [ dev DEV ] | flush dev DEV'
const FOREVER = 0xffffffff

/** Parses behind `ip addr`. */
export function parseAddr(c: ParseContext): Command {
  const { args } = c
  if (!args.more) return showAddrs(c)
  const word = args.word
  args.skip()
  if (isPrefix(word, 'add')) return modify(c, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL)
  if (isPrefix(word, 'change') || word === 'chg') return modify(c, RTM_NEWADDR, NLM_F_REPLACE)
  if (isPrefix(word, 'replace')) return modify(c, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE)
  if (isPrefix(word, 'delete')) return modify(c, RTM_DELADDR, 0)
  if (isPrefix(word, 'list') || isPrefix(word, 'show') || isPrefix(word, 'lst')) return showAddrs(c)
  if (isPrefix(word, 'flush')) return flushAddrs(c)
  if (isPrefix(word, 'help')) return usage('ip', c.options, HELP)
  throw new LanguageError(`Command "${word}" is unknown, try "ip address help".`, 255, word)
}

interface Said {
  readonly del: boolean
  family: number
  prefixlen: number
  scope: number
  dev: string
  local: Prefix | null
  localWord: string
  peer: Prefix | null
  /** "+" and "-" are computed in the end. */
  broadcast: '' | '+' | '-' | 'given'
  anycast: boolean
  flags: number
  valid: number
  preferred: number
  help: boolean
  readonly warnings: string[]
}

function modify(c: ParseContext, type: number, flags: number): Command {
  const { args, b, options } = c
  const s: Said = {
    del: type === RTM_DELADDR,
    family: options.family,
    prefixlen: 0,
    scope: -1,
    dev: '',
    local: null,
    localWord: '',
    peer: null,
    broadcast: '',
    anycast: false,
    flags: 0,
    valid: -1,
    preferred: -1,
    help: false,
    warnings: [],
  }
  b.begin(type, NLM_F_REQUEST | NLM_F_ACK | flags)
  ifaddrmsg(b, 0, 0, 0, 0, 0)
  for (; args.more && !s.help; args.skip()) parseWord(args, b, s)
  if (s.help) return usage('ip', options, HELP)
  if (s.flags > 0xff) b.attrU32(IFA_FLAGS, s.flags)
  if (!s.dev) throw new LanguageError('Not enough information: "dev" argument is required.', 1)
  writeEnd(args, b, s)
  const ifindex = args.device(s.dev)
  writeLifetime(args, b, s)
  if (s.flags & IFA_F_MCAUTOJOIN && !isMulticast(s.local)) throw args.fail('autojoin needs multicast address', 1)
  const end = b.at
  b.at = 16
  ifaddrmsg(b, s.family, s.prefixlen, s.flags > 0xff ? 0 : s.flags, s.scope < 0 ? 0 : s.scope, ifindex)
  b.at = end
  const command: Command = { program: 'ip', options, requests: [b.end()], onRefusal: { line: '', exitCode: 2 } }
  return s.warnings.length ? { ...command, warning: s.warnings.join('\n') } : command
}

function parseWord(args: Args, b: Builder, s: Said): void {
  const word = args.word
  if (word === 'peer' || word === 'remote') {
    args.next()
    if (s.peer) throw args.duparg('peer')
    s.peer = prefixOf(args.needPrefix(s.family))
    if (s.family === AF_UNSPEC) s.family = s.peer.family
    b.attr(IFA_ADDRESS, s.peer.bytes)
    s.prefixlen = s.peer.bits
  } else if (isPrefix(word, 'broadcast') || word === 'brd') {
    args.next()
    if (s.broadcast) throw args.duparg('broadcast')
    if (args.is('+') || args.is('-')) s.broadcast = args.word as '+' | '-'
    else {
      address(args, b, s, IFA_BROADCAST)
      s.broadcast = 'given'
    }
  } else if (word === 'anycast') {
    args.next()
    if (s.anycast) throw args.duparg('anycast')
    address(args, b, s, IFA_ANYCAST)
    s.anycast = true
  } else if (word === 'scope') {
    s.scope = parseScope(args.next())
    if (s.scope < 0) throw args.invarg('invalid scope value.')
  } else if (word === 'dev') s.dev = args.next()
  else if (word === 'label') b.attrStr(IFA_LABEL, args.next())
  else if (isPrefix(word, 'metric') || isPrefix(word, 'priority') || isPrefix(word, 'preference')) {
    args.next()
    const metric = args.u32()
    if (metric < 0) throw args.invarg('"metric" value is invalid\n')
    b.attrU32(IFA_RT_PRIORITY, metric)
  } else if (isPrefix(word, 'valid_lft')) {
    if (s.valid >= 0) throw args.duparg('valid_lft')
    s.valid = lifetime(args, 'valid_lft value')
  } else if (isPrefix(word, 'preferred_lft')) {
    if (s.preferred >= 0) throw args.duparg('preferred_lft')
    s.preferred = lifetime(args, 'preferred_lft value')
  } else if (Object.hasOwn(ADDRESS_FLAGS, word)) {
    const flag = ADDRESS_FLAGS[word]
    if (flag.readonly) s.warnings.push(`Warning: ${word} option is not mutable from userspace`)
    else if (flag.v6only && s.family !== AF_INET6)
      s.warnings.push(`Warning: ${word} option can be set only for IPv6 addresses`)
    else s.flags |= flag.mask
  } else {
    if (word === 'local') args.next()
    if (args.matches('help')) {
      s.help = true
      return
    }
    if (s.local) throw args.duparg2('local')
    s.localWord = args.word
    s.local = prefixOf(args.needPrefix(s.family))
    if (s.family === AF_UNSPEC) s.family = s.local.family
    b.attr(IFA_LOCAL, s.local.bytes)
  }
}

function address(args: Args, b: Builder, s: Said, type: number): void {
  const p = args.needAddress(s.family)
  if (s.family === AF_UNSPEC) s.family = p.family
  b.attrSlice(type, p.data, 0, p.bytelen)
}

function lifetime(args: Args, what: string): number {
  if (args.next() === 'forever') return FOREVER
  const n = args.u32()
  if (n < 0) throw args.invarg(what)
  return n
}

const isMulticast = (p: Prefix | null): boolean =>
  p !== null && (p.family === AF_INET ? (p.bytes[0] & 0xf0) === 0xe0 : p.bytes[0] === 0xff)

// The attributes that follow from others: IFA_ADDRESS from the local address, the broadcast address from the prefix.
function writeEnd(args: Args, b: Builder, s: Said): void {
  const { local } = s
  if (!s.peer && local?.bytes.length) {
    if (s.del && local.family === AF_INET && !local.specified) {
      const full = `${s.localWord}/${local.bytes.length * 8}`
      s.warnings.push(
        'Warning: Executing wildcard deletion to stay compatible with old scripts.\n' +
          `         Explicitly specify the prefix length (${full}) to avoid this warning.\n` +
          '         This special behaviour is likely to disappear in further releases,\n' +
          '         fix your scripts!',
      )
    } else {
      s.peer = local
      b.attr(IFA_ADDRESS, local.bytes)
    }
  }
  if (s.prefixlen === 0 && local) s.prefixlen = local.bits
  if ((s.broadcast === '+' || s.broadcast === '-') && !s.del) {
    if (s.family !== AF_INET) throw args.fail('Broadcast can be set only for IPv4 addresses', 1)
    if (s.peer && s.peer.bits <= 30) {
      const bytes = s.peer.bytes.slice()
      for (let bit = s.peer.bits; bit < 32; bit++) {
        const mask = 0x80 >> (bit & 7)
        if (s.broadcast === '+') bytes[bit >> 3] |= mask
        else bytes[bit >> 3] &= ~mask
      }
      b.attr(IFA_BROADCAST, bytes)
    }
  }
  if (s.scope < 0 && !s.del) s.scope = local?.family === AF_INET && local.bytes[0] === 127 ? RT_SCOPE_HOST : 0
}

// struct ifa_cacheinfo { u32 prefered, valid, cstamp, tstamp; }
function writeLifetime(args: Args, b: Builder, s: Said): void {
  if (s.valid < 0 && s.preferred < 0) return
  const valid = s.valid < 0 ? FOREVER : s.valid
  const preferred = s.preferred < 0 ? FOREVER : s.preferred
  if (valid === 0) throw args.fail('valid_lft is zero', 1)
  if (valid < preferred) throw args.fail('preferred_lft is greater than valid_lft', 1)
  const o = b.attrRoom(IFA_CACHEINFO, 16)
  b.d.setUint32(o, preferred, true)
  b.d.setUint32(o + 4, valid, true)
  b.d.setUint32(o + 8, 0, true)
  b.d.setUint32(o + 12, 0, true)
}
