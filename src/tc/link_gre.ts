// `ip link add … type gre|gretap|erspan …` and `ip6gre|ip6gretap|ip6erspan …` (link_gre.c, link_gre6.c): words to
// IFLA_GRE_* and back. The two families share most words; what differs is in `v6`.

import { attrLen, type Builder, parseAttrs } from '../wire/netlink.ts'
import {
  GRE_CSUM,
  GRE_KEY,
  GRE_SEQ,
  IFLA_GRE_COLLECT_METADATA,
  IFLA_GRE_ENCAP_DPORT,
  IFLA_GRE_ENCAP_FLAGS,
  IFLA_GRE_ENCAP_LIMIT,
  IFLA_GRE_ENCAP_SPORT,
  IFLA_GRE_ENCAP_TYPE,
  IFLA_GRE_ERSPAN_DIR,
  IFLA_GRE_ERSPAN_HWID,
  IFLA_GRE_ERSPAN_INDEX,
  IFLA_GRE_ERSPAN_VER,
  IFLA_GRE_FLAGS,
  IFLA_GRE_FLOWINFO,
  IFLA_GRE_FWMARK,
  IFLA_GRE_IFLAGS,
  IFLA_GRE_IGNORE_DF,
  IFLA_GRE_IKEY,
  IFLA_GRE_LINK,
  IFLA_GRE_LOCAL,
  IFLA_GRE_OFLAGS,
  IFLA_GRE_OKEY,
  IFLA_GRE_PMTUDISC,
  IFLA_GRE_REMOTE,
  IFLA_GRE_TOS,
  IFLA_GRE_TTL,
  TUNNEL_ENCAP_FLAG_CSUM6,
  TUNNEL_ENCAP_NONE,
} from '../wire/rtm_link.ts'
import { AF_INET, AF_INET6 } from '../wire/rtm_route.ts'
import { formatIpv4, parseIpv4 } from './address_text.ts'
import type { Args } from './args.ts'
import { LanguageError } from './language_error.ts'
import { addressAt, type Endpoint, endpoint, type LinkKind, printTos } from './link_kind.ts'
import { parseDsfield } from './names_text.ts'
import type { Printer } from './printer.ts'

const IP6_TNL_F_IGN_ENCAP_LIMIT = 0x1
const IP6_TNL_F_USE_ORIG_TCLASS = 0x2
const IP6_TNL_F_USE_ORIG_FLOWLABEL = 0x4
const IP6_TNL_F_RCV_DSCP_COPY = 0x10
const IP6_TNL_F_USE_ORIG_FWMARK = 0x20
const IP6_TNL_F_ALLOW_LOCAL_REMOTE = 0x40
const DEFAULT_HOP_LIMIT = 64
const DEFAULT_ENCAP_LIMIT = 4

// Flag words: which bit, and whose: in, out or both; in the order in which `ip` tries them.
const FLAGS: readonly (readonly [string, number, 'i' | 'o' | 'io'])[] = [
  ['seq', GRE_SEQ, 'io'],
  ['noseq', GRE_SEQ, 'io'],
  ['iseq', GRE_SEQ, 'i'],
  ['noiseq', GRE_SEQ, 'i'],
  ['oseq', GRE_SEQ, 'o'],
  ['nooseq', GRE_SEQ, 'o'],
  ['csum', GRE_CSUM, 'io'],
  ['nocsum', GRE_CSUM, 'io'],
  ['icsum', GRE_CSUM, 'i'],
  ['noicsum', GRE_CSUM, 'i'],
  ['ocsum', GRE_CSUM, 'o'],
  ['noocsum', GRE_CSUM, 'o'],
]
const KEYS: readonly (readonly [string, 'i' | 'o' | 'io'])[] = [
  ['key', 'io'],
  ['nokey', 'io'],
  ['ikey', 'i'],
  ['noikey', 'i'],
  ['okey', 'o'],
  ['nookey', 'o'],
]

interface Said {
  readonly v6: boolean
  readonly erspan: boolean
  iflags: number
  oflags: number
  ikey: number
  okey: number
  local: Endpoint | null
  remote: Endpoint | null
  pmtudisc: number
  ignoreDf: number
  tos: number
  ttl: number
  link: number
  fwmark: number
  flags: number
  flowinfo: number
  encapLimit: number
  external: boolean
  erspanIndex: number
  erspanVersion: number
  erspanDirection: number
  erspanHwid: number
}

function parse(args: Args, b: Builder, create: boolean, v6: boolean, erspan: boolean): string {
  if (!create) throw args.fail('Changing the options of a tunnel is not supported.')
  const s: Said = {
    v6,
    // ip6gre takes the words of erspan for all its kinds.
    erspan: erspan || v6,
    iflags: 0,
    oflags: 0,
    ikey: 0,
    okey: 0,
    local: null,
    remote: null,
    pmtudisc: 1,
    ignoreDf: 0,
    tos: 0,
    ttl: v6 ? DEFAULT_HOP_LIMIT : 0,
    link: 0,
    fwmark: 0,
    flags: 0,
    flowinfo: 0,
    encapLimit: DEFAULT_ENCAP_LIMIT,
    external: false,
    erspanIndex: 0,
    erspanVersion: 1,
    erspanDirection: 0,
    erspanHwid: 0,
  }
  for (; args.more; args.skip()) {
    if (!parseKeyOrFlag(args, s) && !parseShared(args, s) && !(v6 ? parseV6(args, s) : parseV4(args, s)))
      throw args.fail(`Usage: ... { ${v6 ? 'ip6gre | ip6gretap | ip6erspan' : 'gre | gretap | erspan'} } [ OPTIONS ]`)
  }
  if (!v6 && s.remote?.multicast) {
    const group = new DataView(s.remote.bytes.buffer).getUint32(0)
    if (!s.ikey) s.iflags |= GRE_KEY
    if (!s.okey) s.oflags |= GRE_KEY
    s.ikey ||= group
    s.okey ||= group
    if (!s.local || s.local.unspecified) throw args.fail('A broadcast tunnel requires a source address.')
  }
  write(b, s)
  return ''
}

function parseKeyOrFlag(args: Args, s: Said): boolean {
  const key = KEYS.find(([word]) => args.matches(word))
  const flag = key ? undefined : FLAGS.find(([word]) => args.matches(word))
  const found = key ?? flag
  if (!found) return false
  const on = !found[0].startsWith('no')
  const bit = flag ? flag[1] : GRE_KEY
  const side = flag ? flag[2] : key![1]
  const value = key && on ? parseKey(args, key[0]) : 0
  if (side.includes('i')) {
    s.iflags = on ? s.iflags | bit : s.iflags & ~bit
    if (key) s.ikey = value
  }
  if (side.includes('o')) {
    s.oflags = on ? s.oflags | bit : s.oflags & ~bit
    if (key) s.okey = value
  }
  return true
}

const quad = new Uint8Array(4)
function parseKey(args: Args, name: string): number {
  const word = args.next()
  if (word.includes('.')) {
    if (!parseIpv4(word, word.length, quad))
      throw new LanguageError(`Error: an IP address is expected rather than "${word}"`, 1, word, true)
    return new DataView(quad.buffer).getUint32(0)
  }
  const n = args.u32()
  if (n < 0) {
    const text = `invalid value for "${name}": "${word}"; it should be an unsigned integer`
    throw new LanguageError(text, 255, word, true)
  }
  return n
}

function parseShared(args: Args, s: Said): boolean {
  if (args.matches('remote')) {
    args.next()
    s.remote = endpoint(args.needAddress(s.v6 ? AF_INET6 : AF_INET))
  } else if (args.matches('local')) {
    args.next()
    s.local = endpoint(args.needAddress(s.v6 ? AF_INET6 : AF_INET))
  } else if (args.matches('dev')) s.link = args.device(args.next(), 255)
  else if (args.matches('ttl') || args.matches('hoplimit') || args.matches('hlim')) {
    args.next()
    s.ttl = args.is('inherit') ? 0 : args.u8()
    if (s.ttl < 0) throw args.invarg(s.v6 ? 'invalid HLIM\n' : 'invalid TTL\n')
  } else if (args.is('external')) s.external = true
  else if (args.is('noencap')) return true
  else if (args.is('encap')) {
    if (args.next() !== 'none') throw args.fail(`encap "${args.word}" is not supported`)
  } else if (s.erspan && args.is('erspan')) {
    args.next()
    s.erspanIndex = args.u32()
    if (s.erspanIndex < 0) throw args.invarg('invalid erspan index\n')
    if (s.erspanIndex === 0 || s.erspanIndex > 0xfffff) throw args.invarg('erspan index must be > 0 and <= 20-bit\n')
  } else if (s.erspan && args.is('erspan_ver')) {
    args.next()
    s.erspanVersion = args.u8()
    if (s.erspanVersion < 0) throw args.invarg('invalid erspan version\n')
    if (s.erspanVersion > 2) throw args.invarg('erspan version must be 0/1/2\n')
  } else if (s.erspan && args.is('erspan_dir')) {
    args.next()
    if (!args.matches('ingress') && !args.matches('egress')) throw args.invarg('Invalid erspan direction.')
    s.erspanDirection = args.matches('ingress') ? 0 : 1
  } else if (s.erspan && args.is('erspan_hwid')) {
    args.next()
    s.erspanHwid = args.u16()
    if (s.erspanHwid < 0) throw args.invarg('invalid erspan hwid\n')
  } else return false
  return true
}

function parseV4(args: Args, s: Said): boolean {
  if (args.matches('nopmtudisc')) s.pmtudisc = 0
  else if (args.matches('pmtudisc')) s.pmtudisc = 1
  else if (args.matches('tos') || args.matches('tclass') || args.matches('dsfield')) {
    args.next()
    s.tos = args.is('inherit') ? 1 : parseDsfield(args.word)
    if (s.tos < 0) throw args.invarg('bad TOS value')
  } else if (args.is('ignore-df')) s.ignoreDf = 1
  else if (args.is('noignore-df')) s.ignoreDf = 2
  else if (args.is('fwmark')) {
    args.next()
    s.fwmark = args.u32()
    if (s.fwmark < 0) throw args.invarg('invalid fwmark\n')
  } else return false
  return true
}

function parseV6(args: Args, s: Said): boolean {
  if (args.matches('tos') || args.matches('tclass') || args.matches('dsfield')) {
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
  else if (args.is('encaplimit')) {
    args.next()
    if (args.is('none')) s.flags |= IP6_TNL_F_IGN_ENCAP_LIMIT
    else {
      s.encapLimit = args.u8()
      if (s.encapLimit < 0) throw args.invarg('invalid ELIM')
      s.flags &= ~IP6_TNL_F_IGN_ENCAP_LIMIT
    }
  } else return false
  return true
}

const setBit = (flags: number, bit: number, on: boolean): number => (on ? flags | bit : flags & ~bit)

function write(b: Builder, s: Said): void {
  if (s.external) {
    b.attrFlag(IFLA_GRE_COLLECT_METADATA)
    return
  }
  b.attrBe32(IFLA_GRE_IKEY, s.ikey)
  b.attrBe32(IFLA_GRE_OKEY, s.okey)
  b.attrU16(IFLA_GRE_IFLAGS, s.iflags)
  b.attrU16(IFLA_GRE_OFLAGS, s.oflags)
  if (s.local && !s.local.unspecified) b.attr(IFLA_GRE_LOCAL, s.local.bytes)
  if (s.remote && !s.remote.unspecified) b.attr(IFLA_GRE_REMOTE, s.remote.bytes)
  if (s.v6) {
    if (s.link) b.attrU32(IFLA_GRE_LINK, s.link)
    b.attrU8(IFLA_GRE_TTL, s.ttl)
    b.attrU8(IFLA_GRE_ENCAP_LIMIT, s.encapLimit)
    b.attrBe32(IFLA_GRE_FLOWINFO, s.flowinfo)
    b.attrU32(IFLA_GRE_FLAGS, s.flags)
  } else {
    b.attrU8(IFLA_GRE_PMTUDISC, s.pmtudisc)
    if (s.ignoreDf) b.attrU8(IFLA_GRE_IGNORE_DF, s.ignoreDf & 1)
    b.attrU8(IFLA_GRE_TOS, s.tos)
    if (s.link) b.attrU32(IFLA_GRE_LINK, s.link)
    b.attrU8(IFLA_GRE_TTL, s.ttl)
  }
  b.attrU32(IFLA_GRE_FWMARK, s.fwmark)
  if (s.erspan) {
    b.attrU8(IFLA_GRE_ERSPAN_VER, s.erspanVersion)
    if (s.erspanVersion === 1 && s.erspanIndex) b.attrU32(IFLA_GRE_ERSPAN_INDEX, s.erspanIndex)
    else if (s.erspanVersion === 2) {
      b.attrU8(IFLA_GRE_ERSPAN_DIR, s.erspanDirection)
      b.attrU16(IFLA_GRE_ERSPAN_HWID, s.erspanHwid)
    }
  }
  b.attrU16(IFLA_GRE_ENCAP_TYPE, TUNNEL_ENCAP_NONE)
  b.attrU16(IFLA_GRE_ENCAP_FLAGS, s.v6 ? TUNNEL_ENCAP_FLAG_CSUM6 : 0)
  b.attrU16(IFLA_GRE_ENCAP_SPORT, 0)
  b.attrU16(IFLA_GRE_ENCAP_DPORT, 0)
}

const attrs = new Int32Array(IFLA_GRE_ERSPAN_HWID + 1)

function print(d: DataView, o: number, end: number, out: Printer, v6: boolean): void {
  parseAttrs(d, o, end, attrs, IFLA_GRE_ERSPAN_HWID)
  const u8 = (t: number): number => (attrs[t] ? d.getUint8(attrs[t]) : 0)
  const u16 = (t: number): number => (attrs[t] ? d.getUint16(attrs[t], true) : 0)
  const u32 = (t: number): number => (attrs[t] ? d.getUint32(attrs[t], true) : 0)
  if (attrs[IFLA_GRE_COLLECT_METADATA]) out.bool('external', 'external ', true)
  printEndpoint(d, out, 'remote', attrs[IFLA_GRE_REMOTE])
  printEndpoint(d, out, 'local', attrs[IFLA_GRE_LOCAL])
  if (u32(IFLA_GRE_LINK)) out.str('link', 'dev %s ', out.devices.nameOf(u32(IFLA_GRE_LINK)))
  const ttl = v6 ? 'hoplimit' : 'ttl'
  if (out.json || u8(IFLA_GRE_TTL)) out.num('ttl', `${ttl} %u `, u8(IFLA_GRE_TTL))
  else out.text(`${ttl} inherit `)
  if (v6) printV6(d, out, u32(IFLA_GRE_FLAGS))
  else {
    printTos(out, u8(IFLA_GRE_TOS))
    if (attrs[IFLA_GRE_PMTUDISC]) {
      const on = u8(IFLA_GRE_PMTUDISC) !== 0
      out.bool('pmtudisc', on ? null : 'nopmtudisc ', on)
    }
    if (u8(IFLA_GRE_IGNORE_DF)) out.bool('ignore_df', 'ignore-df ', true)
  }
  const iflags = u16(IFLA_GRE_IFLAGS)
  const oflags = u16(IFLA_GRE_OFLAGS)
  if (iflags & GRE_KEY && attrs[IFLA_GRE_IKEY]) out.str('ikey', 'ikey %s ', keyText(d, attrs[IFLA_GRE_IKEY]))
  if (oflags & GRE_KEY && attrs[IFLA_GRE_OKEY]) out.str('okey', 'okey %s ', keyText(d, attrs[IFLA_GRE_OKEY]))
  if (iflags & GRE_SEQ) out.bool('iseq', 'iseq ', true)
  if (oflags & GRE_SEQ) out.bool('oseq', 'oseq ', true)
  if (iflags & GRE_CSUM) out.bool('icsum', 'icsum ', true)
  if (oflags & GRE_CSUM) out.bool('ocsum', 'ocsum ', true)
  if (v6 && u32(IFLA_GRE_FLAGS) & IP6_TNL_F_USE_ORIG_FWMARK)
    out.bool('ip6_tnl_f_use_orig_fwmark', 'fwmark inherit ', true)
  else if (u32(IFLA_GRE_FWMARK)) out.hex0x('fwmark', 'fwmark %#llx ', u32(IFLA_GRE_FWMARK))
  if (attrs[IFLA_GRE_ERSPAN_INDEX]) out.num('erspan_index', 'erspan_index %u ', u32(IFLA_GRE_ERSPAN_INDEX))
  if (attrs[IFLA_GRE_ERSPAN_VER]) out.num('erspan_ver', 'erspan_ver %u ', u8(IFLA_GRE_ERSPAN_VER))
  if (attrs[IFLA_GRE_ERSPAN_DIR])
    out.str('erspan_dir', 'erspan_dir %s ', u8(IFLA_GRE_ERSPAN_DIR) ? 'egress' : 'ingress')
  if (attrs[IFLA_GRE_ERSPAN_HWID]) out.hex0x('erspan_hwid', 'erspan_hwid %#llx ', u16(IFLA_GRE_ERSPAN_HWID))
}

function printEndpoint(d: DataView, out: Printer, name: string, o: number): void {
  out.nameStr(name, (o && addressAt(out, d, o, attrLen(d, o))) || 'any')
  out.text(' ')
}

function printV6(d: DataView, out: Printer, flags: number): void {
  const flowinfo = attrs[IFLA_GRE_FLOWINFO] ? d.getUint32(attrs[IFLA_GRE_FLOWINFO]) : 0
  if (flags & IP6_TNL_F_IGN_ENCAP_LIMIT) out.bool('ip6_tnl_f_ign_encap_limit', 'encaplimit none ', true)
  else if (attrs[IFLA_GRE_ENCAP_LIMIT])
    out.num('encap_limit', 'encaplimit %u ', d.getUint8(attrs[IFLA_GRE_ENCAP_LIMIT]))
  const hex = (n: number, digits: number): string => `0x${n.toString(16).padStart(digits, '0')}`
  if (flags & IP6_TNL_F_USE_ORIG_TCLASS) out.bool('ip6_tnl_f_use_orig_tclass', 'tclass inherit ', true)
  else if (attrs[IFLA_GRE_FLOWINFO]) out.str('tclass', 'tclass %s ', hex((flowinfo >>> 20) & 0xff, 2))
  if (flags & IP6_TNL_F_USE_ORIG_FLOWLABEL) out.bool('ip6_tnl_f_use_orig_flowlabel', 'flowlabel inherit ', true)
  else if (attrs[IFLA_GRE_FLOWINFO]) out.str('flowlabel', 'flowlabel %s ', hex(flowinfo & 0xfffff, 5))
  if (flags & IP6_TNL_F_RCV_DSCP_COPY) out.bool('ip6_tnl_f_rcv_dscp_copy', 'dscp inherit ', true)
}

const keyText = (d: DataView, o: number): string => formatIpv4(new Uint8Array(d.buffer, d.byteOffset + o, 4))

const kind = (name: string, v6: boolean, erspan: boolean): LinkKind => ({
  name,
  parse: (args, b, c) => parse(args, b, c.create, v6, erspan),
  print: (d, o, end, out) => print(d, o, end, out, v6),
})

export const greKinds: readonly LinkKind[] = [
  kind('gre', false, false),
  kind('gretap', false, false),
  kind('erspan', false, true),
  kind('ip6gre', true, false),
  kind('ip6gretap', true, false),
  kind('ip6erspan', true, true),
]
