// `ip link add … type vxlan …` (iplink_vxlan.c): words to IFLA_VXLAN_* and back. Flags are written as they are read, the
// rest behind them in a fixed order.

import { attrLen, type Builder, parseAttrs } from '../wire/netlink.ts'
import {
  IFLA_VXLAN_AGEING,
  IFLA_VXLAN_COLLECT_METADATA,
  IFLA_VXLAN_DF,
  IFLA_VXLAN_GBP,
  IFLA_VXLAN_GPE,
  IFLA_VXLAN_GROUP,
  IFLA_VXLAN_GROUP6,
  IFLA_VXLAN_ID,
  IFLA_VXLAN_L2MISS,
  IFLA_VXLAN_L3MISS,
  IFLA_VXLAN_LABEL,
  IFLA_VXLAN_LEARNING,
  IFLA_VXLAN_LIMIT,
  IFLA_VXLAN_LINK,
  IFLA_VXLAN_LOCAL,
  IFLA_VXLAN_LOCAL6,
  IFLA_VXLAN_PORT,
  IFLA_VXLAN_PORT_RANGE,
  IFLA_VXLAN_PROXY,
  IFLA_VXLAN_REMCSUM_RX,
  IFLA_VXLAN_REMCSUM_TX,
  IFLA_VXLAN_RSC,
  IFLA_VXLAN_TOS,
  IFLA_VXLAN_TTL,
  IFLA_VXLAN_TTL_INHERIT,
  IFLA_VXLAN_UDP_CSUM,
  IFLA_VXLAN_UDP_ZERO_CSUM6_RX,
  IFLA_VXLAN_UDP_ZERO_CSUM6_TX,
  IFLA_VXLAN_VNIFILTER,
  VXLAN_DF_INHERIT,
  VXLAN_DF_SET,
  VXLAN_DF_UNSET,
} from '../wire/rtm_link.ts'
import { AF_INET, AF_INET6, AF_UNSPEC } from '../wire/rtm_route.ts'
import type { Args } from './args.ts'
import {
  addressAt,
  type Endpoint,
  endpoint,
  Given,
  type LinkKind,
  printSwitch,
  printTos,
  unknownOption,
} from './link_kind.ts'
import { parseDsfield } from './names_text.ts'
import type { Printer } from './printer.ts'

const NO_PORT =
  'vxlan: destination port not specified\n' +
  'Will use Linux kernel default (non-standard value)\n' +
  "Use 'dstport 4789' to get the IANA assigned value\n" +
  "Use 'dstport 0' to get default and quiet this message"

// What a word says beyond itself, in the order in which `ip` tries the words.
const OPTIONS: readonly string[] = [
  ...['id', 'vni', 'group', 'remote', 'local', 'dev', 'ttl', 'hoplimit', 'tos', 'dsfield', 'df', 'label', 'flowlabel'],
  ...[
    'ageing',
    'maxaddress',
    'port',
    'srcport',
    'dstport',
    'nolearning',
    'learning',
    'noproxy',
    'proxy',
    'norsc',
    'rsc',
  ],
  ...['nol2miss', 'l2miss', 'nol3miss', 'l3miss', 'udpcsum', 'noudpcsum', 'udp6zerocsumtx', 'noudp6zerocsumtx'],
  ...['udp6zerocsumrx', 'noudp6zerocsumrx', 'remcsumtx', 'noremcsumtx', 'remcsumrx', 'noremcsumrx'],
  ...['external', 'noexternal', 'gbp', 'gpe'],
]

const SWITCHES: Readonly<Record<string, readonly [number, number]>> = {
  noproxy: [IFLA_VXLAN_PROXY, 0],
  proxy: [IFLA_VXLAN_PROXY, 1],
  norsc: [IFLA_VXLAN_RSC, 0],
  rsc: [IFLA_VXLAN_RSC, 1],
  nol2miss: [IFLA_VXLAN_L2MISS, 0],
  l2miss: [IFLA_VXLAN_L2MISS, 1],
  nol3miss: [IFLA_VXLAN_L3MISS, 0],
  l3miss: [IFLA_VXLAN_L3MISS, 1],
  udpcsum: [IFLA_VXLAN_UDP_CSUM, 1],
  noudpcsum: [IFLA_VXLAN_UDP_CSUM, 0],
  udp6zerocsumtx: [IFLA_VXLAN_UDP_ZERO_CSUM6_TX, 1],
  noudp6zerocsumtx: [IFLA_VXLAN_UDP_ZERO_CSUM6_TX, 0],
  udp6zerocsumrx: [IFLA_VXLAN_UDP_ZERO_CSUM6_RX, 1],
  noudp6zerocsumrx: [IFLA_VXLAN_UDP_ZERO_CSUM6_RX, 0],
  remcsumtx: [IFLA_VXLAN_REMCSUM_TX, 1],
  noremcsumtx: [IFLA_VXLAN_REMCSUM_TX, 0],
  remcsumrx: [IFLA_VXLAN_REMCSUM_RX, 1],
  noremcsumrx: [IFLA_VXLAN_REMCSUM_RX, 0],
}

interface Said {
  readonly given: Given
  id: number
  local: Endpoint | null
  remote: Endpoint | null
  port: number
  learning: number
  external: boolean
  vnifilter: boolean
}

function parse(args: Args, b: Builder, c: { create: boolean; family: number }): string {
  const s: Said = {
    given: new Given(),
    id: 0,
    local: null,
    remote: null,
    port: 0,
    learning: 1,
    external: false,
    vnifilter: false,
  }
  for (; args.more; args.skip()) parseWord(args, b, s)
  const { given } = s
  if (!s.external && s.vnifilter) throw args.fail("vxlan: vnifilter is valid only when 'external' is set")
  if (s.external && given.has('id')) throw args.fail("vxlan: both 'external' and vni cannot be specified")
  if (!s.external && !s.vnifilter && !given.has('id') && c.create)
    throw args.fail('vxlan: missing virtual network identifier')
  if (s.remote?.multicast && !given.has('dev')) throw args.fail("vxlan: 'group' requires 'dev' to be specified")
  if (!given.has('dstport') && given.has('gpe')) s.port = 4790
  if (given.has('id')) b.attrU32(IFLA_VXLAN_ID, s.id)
  if (s.local) b.attr(s.local.family === AF_INET ? IFLA_VXLAN_LOCAL : IFLA_VXLAN_LOCAL6, s.local.bytes)
  if (s.remote) b.attr(s.remote.family === AF_INET ? IFLA_VXLAN_GROUP : IFLA_VXLAN_GROUP6, s.remote.bytes)
  if (!s.local && !s.remote && c.family === AF_INET) b.attr(IFLA_VXLAN_GROUP, new Uint8Array(4))
  if (!s.local && !s.remote && c.family === AF_INET6) b.attr(IFLA_VXLAN_GROUP6, new Uint8Array(16))
  if (c.create || given.has('learning')) b.attrU8(IFLA_VXLAN_LEARNING, s.learning)
  if (s.port) b.attrBe16(IFLA_VXLAN_PORT, s.port)
  return !given.has('dstport') && !given.has('gpe') && c.create ? NO_PORT : ''
}

function parseWord(args: Args, b: Builder, s: Said): void {
  const { given } = s
  const word = OPTIONS.find((o) => args.matches(o)) ?? args.word
  if (Object.hasOwn(SWITCHES, word)) {
    const [type, value] = SWITCHES[word]
    given.once(word.replace(/^no/, ''), args)
    b.attrU8(type, value)
    return
  }
  switch (word) {
    case 'id':
    case 'vni':
      args.next()
      given.once('id', args)
      s.id = args.u32()
      if (s.id < 0 || s.id >= 1 << 24) throw args.invarg('invalid id')
      break
    case 'group':
    case 'remote':
      parseRemote(args, s, word)
      break
    case 'local':
      args.next()
      given.once('local', args)
      s.local = endpoint(args.needAddress(s.remote?.family ?? AF_UNSPEC))
      if (s.local.multicast || s.local.family === AF_UNSPEC) throw args.invarg('invalid local address')
      break
    case 'dev':
      args.next()
      given.once('dev', args)
      b.attrU32(IFLA_VXLAN_LINK, args.device(args.word, 255))
      break
    case 'ttl':
    case 'hoplimit':
      args.next()
      given.once('ttl', args)
      parseTtl(args, b)
      break
    case 'tos':
    case 'dsfield': {
      args.next()
      given.once('tos', args)
      const tos = args.is('inherit') ? 1 : parseDsfield(args.word)
      if (tos < 0) throw args.invarg('bad TOS value')
      b.attrU8(IFLA_VXLAN_TOS, tos)
      break
    }
    case 'df': {
      args.next()
      given.once('df', args)
      const df = ['unset', 'set', 'inherit'].indexOf(args.word)
      if (df < 0) throw args.invarg("DF must be 'unset', 'set' or 'inherit'")
      b.attrU8(IFLA_VXLAN_DF, [VXLAN_DF_UNSET, VXLAN_DF_SET, VXLAN_DF_INHERIT][df])
      break
    }
    case 'label':
    case 'flowlabel': {
      args.next()
      given.once('flowlabel', args)
      const label = args.u32()
      if (label < 0 || label > 0xfffff) throw args.invarg('invalid flowlabel')
      b.attrBe32(IFLA_VXLAN_LABEL, label)
      break
    }
    case 'ageing':
    case 'maxaddress': {
      args.next()
      given.once(word, args)
      const n = args.is(word === 'ageing' ? 'none' : 'unlimited') ? 0 : args.u32()
      if (n < 0) throw args.invarg(word === 'ageing' ? 'ageing timer' : 'max addresses')
      b.attrU32(word === 'ageing' ? IFLA_VXLAN_AGEING : IFLA_VXLAN_LIMIT, n)
      break
    }
    case 'port':
    case 'srcport': {
      args.next()
      given.once('srcport', args)
      const low = args.u16()
      if (low < 0) throw args.invarg('min port')
      args.next()
      const high = args.u16()
      if (high < 0) throw args.invarg('max port')
      if (!low && !high) break
      const o = b.attrRoom(IFLA_VXLAN_PORT_RANGE, 4)
      b.d.setUint16(o, low)
      b.d.setUint16(o + 2, high)
      break
    }
    case 'dstport':
      args.next()
      given.once('dstport', args)
      s.port = args.u16()
      if (s.port < 0) throw args.invarg('dst port')
      break
    case 'nolearning':
    case 'learning':
      given.once('learning', args)
      s.learning = word === 'learning' ? 1 : 0
      break
    case 'external':
    case 'noexternal':
      given.once('external', args)
      s.external = word === 'external'
      if (s.external) s.learning = 0
      b.attrU8(IFLA_VXLAN_COLLECT_METADATA, s.external ? 1 : 0)
      break
    case 'gbp':
    case 'gpe':
      given.once(word, args)
      b.attrFlag(word === 'gbp' ? IFLA_VXLAN_GBP : IFLA_VXLAN_GPE)
      break
    case 'vnifilter':
    case 'novnifilter':
      given.once('vnifilter', args)
      s.vnifilter ||= word === 'vnifilter'
      b.attrU8(IFLA_VXLAN_VNIFILTER, word === 'vnifilter' ? 1 : 0)
      break
    default:
      throw unknownOption(args, 'vxlan')
  }
}

function parseRemote(args: Args, s: Said, word: string): void {
  const group = word === 'group'
  if (s.remote && s.remote.multicast !== group) throw args.fail('vxlan: both group and remote cannot be specified')
  args.next()
  if (s.given.has('remote')) throw args.duparg2(word)
  s.given.once('remote', args)
  s.remote = endpoint(args.needAddress(s.local?.family ?? AF_UNSPEC))
  if (s.remote.multicast !== group || s.remote.family === AF_UNSPEC) throw args.invarg(`invalid ${word} address`)
}

function parseTtl(args: Args, b: Builder): void {
  if (args.is('inherit')) {
    b.attrFlag(IFLA_VXLAN_TTL_INHERIT)
    return
  }
  const ttl = args.is('auto') ? 0 : args.u32()
  if (ttl < 0) throw args.invarg('invalid TTL')
  if (ttl > 255) throw args.invarg('TTL must be <= 255')
  b.attrU8(IFLA_VXLAN_TTL, ttl)
}

const attrs = new Int32Array(IFLA_VXLAN_VNIFILTER + 1)

function print(d: DataView, o: number, end: number, out: Printer): void {
  parseAttrs(d, o, end, attrs, IFLA_VXLAN_VNIFILTER)
  const u8 = (t: number): number => (attrs[t] ? d.getUint8(attrs[t]) : 0)
  const u32 = (t: number): number => (attrs[t] ? d.getUint32(attrs[t], true) : 0)
  if (u8(IFLA_VXLAN_COLLECT_METADATA)) out.bool('external', 'external ', true)
  if (u8(IFLA_VXLAN_VNIFILTER)) out.bool('vnifilter', 'vnifilter', true)
  if (attrs[IFLA_VXLAN_ID]) out.num('id', 'id %u ', u32(IFLA_VXLAN_ID))
  printRemote(d, out)
  const local = attrs[IFLA_VXLAN_LOCAL] || attrs[IFLA_VXLAN_LOCAL6]
  if (local) {
    const text = addressAt(out, d, local, attrLen(d, local))
    if (text) out.str(attrs[IFLA_VXLAN_LOCAL] ? 'local' : 'local6', 'local %s ', text)
  }
  if (u32(IFLA_VXLAN_LINK)) out.str('link', 'dev %s ', out.devices.nameOf(u32(IFLA_VXLAN_LINK)))
  const range = attrs[IFLA_VXLAN_PORT_RANGE]
  if (range) {
    out.openObject('port_range')
    out.num('low', 'srcport %u ', d.getUint16(range))
    out.num('high', '%u ', d.getUint16(range + 2))
    out.closeObject()
  }
  if (attrs[IFLA_VXLAN_PORT]) out.num('port', 'dstport %u ', d.getUint16(attrs[IFLA_VXLAN_PORT]))
  if (attrs[IFLA_VXLAN_LEARNING]) {
    out.bool('learning', null, u8(IFLA_VXLAN_LEARNING) !== 0)
    if (!u8(IFLA_VXLAN_LEARNING)) out.text('nolearning ')
  }
  if (u8(IFLA_VXLAN_PROXY)) out.bool('proxy', 'proxy ', true)
  if (u8(IFLA_VXLAN_RSC)) out.bool('rsc', 'rsc ', true)
  if (u8(IFLA_VXLAN_L2MISS)) out.bool('l2miss', 'l2miss ', true)
  if (u8(IFLA_VXLAN_L3MISS)) out.bool('l3miss', 'l3miss ', true)
  printTos(out, u8(IFLA_VXLAN_TOS))
  if (u8(IFLA_VXLAN_TTL_INHERIT)) out.text('ttl inherit ')
  else if (attrs[IFLA_VXLAN_TTL]) {
    if (out.json || u8(IFLA_VXLAN_TTL)) out.num('ttl', 'ttl %u ', u8(IFLA_VXLAN_TTL))
    else out.text('ttl auto ')
  }
  if (attrs[IFLA_VXLAN_DF]) {
    const df = u8(IFLA_VXLAN_DF)
    if (df === VXLAN_DF_UNSET) out.str('df', null, 'unset')
    else if (df === VXLAN_DF_SET) out.str('df', 'df %s ', 'set')
    else if (df === VXLAN_DF_INHERIT) out.str('df', 'df %s ', 'inherit')
  }
  if (u32(IFLA_VXLAN_LABEL)) out.hex0x('label', 'flowlabel %#llx ', d.getUint32(attrs[IFLA_VXLAN_LABEL]))
  if (attrs[IFLA_VXLAN_AGEING])
    out.num('ageing', u32(IFLA_VXLAN_AGEING) ? 'ageing %u ' : 'ageing none ', u32(IFLA_VXLAN_AGEING))
  if (u32(IFLA_VXLAN_LIMIT)) out.num('limit', 'maxaddr %u ', u32(IFLA_VXLAN_LIMIT))
  if (attrs[IFLA_VXLAN_UDP_CSUM]) printSwitch(out, 'udp_csum', 'udpcsum', u8(IFLA_VXLAN_UDP_CSUM) !== 0)
  if (attrs[IFLA_VXLAN_UDP_ZERO_CSUM6_TX])
    printSwitch(out, 'udp_zero_csum6_tx', 'udp6zerocsumtx', u8(IFLA_VXLAN_UDP_ZERO_CSUM6_TX) !== 0)
  if (attrs[IFLA_VXLAN_UDP_ZERO_CSUM6_RX])
    printSwitch(out, 'udp_zero_csum6_rx', 'udp6zerocsumrx', u8(IFLA_VXLAN_UDP_ZERO_CSUM6_RX) !== 0)
  if (u8(IFLA_VXLAN_REMCSUM_TX)) out.bool('remcsum_tx', 'remcsumtx ', true)
  if (u8(IFLA_VXLAN_REMCSUM_RX)) out.bool('remcsum_rx', 'remcsumrx ', true)
  if (attrs[IFLA_VXLAN_GBP]) out.bool('gbp', 'gbp ', true)
  if (attrs[IFLA_VXLAN_GPE]) out.bool('gpe', 'gpe ', true)
}

function printRemote(d: DataView, out: Printer): void {
  const v4 = attrs[IFLA_VXLAN_GROUP]
  const o = v4 || attrs[IFLA_VXLAN_GROUP6]
  if (!o) return
  const text = addressAt(out, d, o, attrLen(d, o))
  if (!text) return
  const group = v4 ? (d.getUint8(o) & 0xf0) === 0xe0 : d.getUint8(o) === 0xff
  const word = group ? 'group' : 'remote'
  out.str(v4 ? word : `${word}6`, `${word} %s `, text)
}

export default { name: 'vxlan', parse, print } satisfies LinkKind
