// `ip link add … type ipip|sit …` and `… type ip6tnl …` (link_iptnl.c, link_ip6tnl.c): words to IFLA_IPTUN_* and back.

import { attrLen, type Builder, parseAttrs } from '../wire/netlink.ts'
import * as L from '../wire/rtm_link.ts'
import { AF_INET, AF_INET6 } from '../wire/rtm_route.ts'
import type { Args } from './args.ts'
import { LanguageError } from './language_error.ts'
import { addressAt, type Endpoint, endpoint, type LinkKind, printTos } from './link_kind.ts'
import { parseDsfield } from './names_text.ts'
import type { Printer } from './printer.ts'

const IPPROTO_IPIP = 4
const IPPROTO_IPV6 = 41
const IPPROTO_MPLS = 137
const IP6_TNL_F_IGN_ENCAP_LIMIT = 0x1
const IP6_TNL_F_USE_ORIG_TCLASS = 0x2
const IP6_TNL_F_USE_ORIG_FLOWLABEL = 0x4
const IP6_TNL_F_RCV_DSCP_COPY = 0x10
const IP6_TNL_F_USE_ORIG_FWMARK = 0x20
const IP6_TNL_F_ALLOW_LOCAL_REMOTE = 0x40
const DEFAULT_HOP_LIMIT = 64
const DEFAULT_ENCAP_LIMIT = 4

const MODES4: Readonly<Record<string, number>> = {
  'ipv4/ipv4': IPPROTO_IPIP,
  ipip: IPPROTO_IPIP,
  ip4ip4: IPPROTO_IPIP,
  'mpls/ipv4': IPPROTO_MPLS,
  mplsip: IPPROTO_MPLS,
  'any/ipv4': 0,
  any: 0,
}
const MODES_SIT: Readonly<Record<string, number>> = { ...MODES4, 'ipv6/ipv4': IPPROTO_IPV6, ip6ip: IPPROTO_IPV6 }
const MODES6: Readonly<Record<string, number>> = {
  'ipv6/ipv6': IPPROTO_IPV6,
  ip6ip6: IPPROTO_IPV6,
  'ip/ipv6': IPPROTO_IPIP,
  'ipv4/ipv6': IPPROTO_IPIP,
  ipip6: IPPROTO_IPIP,
  ip4ip6: IPPROTO_IPIP,
  'any/ipv6': 0,
  any: 0,
}

interface Said {
  readonly kind: string
  readonly v6: boolean
  proto: number
  local: Endpoint | null
  remote: Endpoint | null
  link: number
  ttl: number
  tos: number
  pmtudisc: number
  fwmark: number
  flags: number
  flowinfo: number
  encapLimit: number
  external: boolean
}

function parse(args: Args, b: Builder, create: boolean, kind: string): string {
  if (!create) throw args.fail('Changing the options of a tunnel is not supported.')
  const v6 = kind === 'ip6tnl'
  const s: Said = {
    kind,
    v6,
    proto: 0,
    local: null,
    remote: null,
    link: 0,
    ttl: v6 ? DEFAULT_HOP_LIMIT : 0,
    tos: 0,
    pmtudisc: 1,
    fwmark: 0,
    flags: 0,
    flowinfo: 0,
    encapLimit: DEFAULT_ENCAP_LIMIT,
    external: false,
  }
  for (; args.more; args.skip())
    if (!parseShared(args, s) && !(v6 ? parseV6(args, s) : parseV4(args, s)))
      throw args.fail(`Usage: ... ${kind} [ OPTIONS ]`)
  if (!v6 && s.ttl && s.pmtudisc === 0)
    throw new LanguageError('ttl != 0 and nopmtudisc are incompatible', 255, args.word)
  write(b, s)
  return ''
}

function parseShared(args: Args, s: Said): boolean {
  const family = s.v6 ? AF_INET6 : AF_INET
  if (args.is('remote')) {
    args.next()
    s.remote = endpoint(args.needAddress(family))
  } else if (args.is('local')) {
    args.next()
    s.local = endpoint(args.needAddress(family))
  } else if (args.matches('dev')) s.link = args.device(args.next(), 255)
  else if (args.is('mode')) {
    const modes = s.v6 ? MODES6 : s.kind === 'sit' ? MODES_SIT : MODES4
    const proto = modes[args.next()]
    if (proto === undefined) throw args.invarg('Cannot guess tunnel mode.')
    s.proto = proto
  } else if (args.is('ttl') || args.is('hoplimit') || args.is('hlim')) {
    args.next()
    s.ttl = args.is('inherit') ? 0 : args.u8()
    if (s.ttl < 0) throw args.invarg(s.v6 ? 'invalid HLIM' : 'invalid TTL\n')
  } else if (args.is('external')) s.external = true
  else if (args.is('noencap')) return true
  else if (args.is('encap')) {
    if (args.next() !== 'none') throw args.fail(`encap "${args.word}" is not supported`)
  } else return false
  return true
}

function parseV4(args: Args, s: Said): boolean {
  if (args.is('nopmtudisc')) s.pmtudisc = 0
  else if (args.is('pmtudisc')) s.pmtudisc = 1
  else if (args.is('tos') || args.is('tclass') || args.matches('dsfield')) {
    args.next()
    s.tos = args.is('inherit') ? 1 : parseDsfield(args.word)
    if (s.tos < 0) throw args.invarg('bad TOS value')
  } else if (args.is('fwmark')) {
    args.next()
    s.fwmark = args.u32()
    if (s.fwmark < 0) throw args.invarg('invalid fwmark\n')
  } else return false
  return true
}

const setBit = (flags: number, bit: number, on: boolean): number => (on ? flags | bit : flags & ~bit)

function parseV6(args: Args, s: Said): boolean {
  if (args.is('encaplimit')) {
    args.next()
    if (args.is('none')) s.flags |= IP6_TNL_F_IGN_ENCAP_LIMIT
    else {
      s.encapLimit = args.u8()
      if (s.encapLimit < 0) throw args.invarg('invalid ELIM')
      s.flags &= ~IP6_TNL_F_IGN_ENCAP_LIMIT
    }
  } else if (args.is('tclass') || args.is('tc') || args.is('tos') || args.matches('dsfield')) {
    args.next()
    const n = args.is('inherit') ? 0 : args.u8(16)
    if (n < 0) throw args.invarg('invalid TClass')
    s.flowinfo = (s.flowinfo & 0xfffff) | (n << 20)
    s.flags = setBit(s.flags, IP6_TNL_F_USE_ORIG_TCLASS, args.is('inherit'))
  } else if (args.is('flowlabel') || args.is('fl')) {
    args.next()
    const n = args.is('inherit') ? 0 : args.u32(16)
    if (n < 0 || n > 0xfffff) throw args.invarg('invalid Flowlabel')
    s.flowinfo = (s.flowinfo & ~0xfffff) | n
    s.flags = setBit(s.flags, IP6_TNL_F_USE_ORIG_FLOWLABEL, args.is('inherit'))
  } else if (args.is('dscp')) {
    if (args.next() !== 'inherit') throw args.invarg('not inherit')
    s.flags |= IP6_TNL_F_RCV_DSCP_COPY
  } else if (args.is('fwmark')) {
    args.next()
    s.fwmark = args.is('inherit') ? 0 : args.u32()
    if (s.fwmark < 0) throw args.invarg('invalid fwmark\n')
    s.flags = setBit(s.flags, IP6_TNL_F_USE_ORIG_FWMARK, args.is('inherit'))
  } else if (args.is('allow-localremote')) s.flags |= IP6_TNL_F_ALLOW_LOCAL_REMOTE
  else if (args.is('noallow-localremote')) s.flags &= ~IP6_TNL_F_ALLOW_LOCAL_REMOTE
  else return false
  return true
}

function write(b: Builder, s: Said): void {
  b.attrU8(L.IFLA_IPTUN_PROTO, s.proto)
  if (s.external) {
    b.attrFlag(L.IFLA_IPTUN_COLLECT_METADATA)
    return
  }
  if (s.local && !s.local.unspecified) b.attr(L.IFLA_IPTUN_LOCAL, s.local.bytes)
  if (s.remote && !s.remote.unspecified) b.attr(L.IFLA_IPTUN_REMOTE, s.remote.bytes)
  if (s.v6) {
    b.attrU8(L.IFLA_IPTUN_TTL, s.ttl)
    b.attrU8(L.IFLA_IPTUN_ENCAP_LIMIT, s.encapLimit)
    b.attrBe32(L.IFLA_IPTUN_FLOWINFO, s.flowinfo)
    b.attrU32(L.IFLA_IPTUN_FLAGS, s.flags)
  } else {
    b.attrU8(L.IFLA_IPTUN_PMTUDISC, s.pmtudisc)
    b.attrU8(L.IFLA_IPTUN_TOS, s.tos)
    b.attrU8(L.IFLA_IPTUN_TTL, s.ttl)
  }
  b.attrU32(L.IFLA_IPTUN_LINK, s.link)
  b.attrU32(L.IFLA_IPTUN_FWMARK, s.fwmark)
  b.attrU16(L.IFLA_IPTUN_ENCAP_TYPE, L.TUNNEL_ENCAP_NONE)
  b.attrU16(L.IFLA_IPTUN_ENCAP_FLAGS, s.v6 ? L.TUNNEL_ENCAP_FLAG_CSUM6 : 0)
  b.attrU16(L.IFLA_IPTUN_ENCAP_SPORT, 0)
  b.attrU16(L.IFLA_IPTUN_ENCAP_DPORT, 0)
  if (s.kind === 'sit') b.attrU16(L.IFLA_IPTUN_FLAGS, 0)
}

const attrs = new Int32Array(L.IFLA_IPTUN_FWMARK + 1)
const MODE_NAMES4: Readonly<Record<number, string>> = { 0: 'any', 4: 'ipip', 41: 'ip6ip', 137: 'mplsip' }
const MODE_NAMES6: Readonly<Record<number, string>> = { 0: 'any', 4: 'ipip6', 41: 'ip6ip6' }

function print(d: DataView, o: number, end: number, out: Printer, v6: boolean): void {
  parseAttrs(d, o, end, attrs, L.IFLA_IPTUN_FWMARK)
  const u8 = (t: number): number => (attrs[t] ? d.getUint8(attrs[t]) : 0)
  const u32 = (t: number): number => (attrs[t] ? d.getUint32(attrs[t], true) : 0)
  if (attrs[L.IFLA_IPTUN_COLLECT_METADATA]) out.bool('external', 'external ', true)
  const mode = (v6 ? MODE_NAMES6 : MODE_NAMES4)[u8(L.IFLA_IPTUN_PROTO)]
  if (mode) out.str('proto', '%s ', mode)
  for (const [name, t] of [
    ['remote', L.IFLA_IPTUN_REMOTE],
    ['local', L.IFLA_IPTUN_LOCAL],
  ] as const) {
    out.nameStr(name, (attrs[t] && addressAt(out, d, attrs[t], attrLen(d, attrs[t]))) || 'any')
    out.text(' ')
  }
  if (u32(L.IFLA_IPTUN_LINK)) out.str('link', 'dev %s ', out.devices.nameOf(u32(L.IFLA_IPTUN_LINK)))
  if (v6) printV6(d, out, u32(L.IFLA_IPTUN_FLAGS))
  else {
    if (out.json || u8(L.IFLA_IPTUN_TTL)) out.num('ttl', 'ttl %u ', u8(L.IFLA_IPTUN_TTL))
    else out.text('ttl inherit ')
    printTos(out, u8(L.IFLA_IPTUN_TOS))
    const on = u8(L.IFLA_IPTUN_PMTUDISC) !== 0
    out.bool('pmtudisc', on ? 'pmtudisc ' : 'nopmtudisc ', on)
  }
  if (u32(L.IFLA_IPTUN_FWMARK)) out.hex0x('fwmark', 'fwmark %#llx ', u32(L.IFLA_IPTUN_FWMARK))
}

function printV6(d: DataView, out: Printer, flags: number): void {
  const flowinfo = attrs[L.IFLA_IPTUN_FLOWINFO] ? d.getUint32(attrs[L.IFLA_IPTUN_FLOWINFO]) : 0
  const hex = (n: number, digits: number): string => `0x${n.toString(16).padStart(digits, '0')}`
  const ttl = attrs[L.IFLA_IPTUN_TTL] ? d.getUint8(attrs[L.IFLA_IPTUN_TTL]) : 0
  if (out.json || ttl) out.num('ttl', 'hoplimit %u ', ttl)
  else out.text('hoplimit inherit ')
  if (flags & IP6_TNL_F_IGN_ENCAP_LIMIT) out.bool('ip6_tnl_f_ign_encap_limit', 'encaplimit none ', true)
  else if (attrs[L.IFLA_IPTUN_ENCAP_LIMIT])
    out.num('encap_limit', 'encaplimit %u ', d.getUint8(attrs[L.IFLA_IPTUN_ENCAP_LIMIT]))
  if (flags & IP6_TNL_F_USE_ORIG_TCLASS) out.bool('ip6_tnl_f_use_orig_tclass', 'tclass inherit ', true)
  else if (attrs[L.IFLA_IPTUN_FLOWINFO]) out.str('tclass', 'tclass %s ', hex((flowinfo >>> 20) & 0xff, 2))
  if (flags & IP6_TNL_F_USE_ORIG_FLOWLABEL) out.bool('ip6_tnl_f_use_orig_flowlabel', 'flowlabel inherit ', true)
  else out.str('flowlabel', 'flowlabel %s ', hex(flowinfo & 0xfffff, 5))
}

const kind = (name: string): LinkKind => ({
  name,
  parse: (args, b, c) => parse(args, b, c.create, name),
  print: (d, o, end, out) => print(d, o, end, out, name === 'ip6tnl'),
})

export const iptnlKinds: readonly LinkKind[] = [kind('ipip'), kind('sit'), kind('ip6tnl')]
