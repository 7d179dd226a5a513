// `ip link add … type geneve …` (iplink_geneve.c): words to IFLA_GENEVE_* and back.

import { attrLen, type Builder, parseAttrs } from '../wire/netlink.ts'
import {
  GENEVE_DF_INHERIT,
  GENEVE_DF_SET,
  GENEVE_DF_UNSET,
  IFLA_GENEVE_COLLECT_METADATA,
  IFLA_GENEVE_DF,
  IFLA_GENEVE_ID,
  IFLA_GENEVE_INNER_PROTO_INHERIT,
  IFLA_GENEVE_LABEL,
  IFLA_GENEVE_PORT,
  IFLA_GENEVE_REMOTE,
  IFLA_GENEVE_REMOTE6,
  IFLA_GENEVE_TOS,
  IFLA_GENEVE_TTL,
  IFLA_GENEVE_TTL_INHERIT,
  IFLA_GENEVE_UDP_CSUM,
  IFLA_GENEVE_UDP_ZERO_CSUM6_RX,
  IFLA_GENEVE_UDP_ZERO_CSUM6_TX,
} from '../wire/rtm_link.ts'
import { AF_INET, AF_UNSPEC } from '../wire/rtm_route.ts'
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

const OPTIONS: readonly string[] = [
  ...['id', 'vni', 'remote', 'ttl', 'hoplimit', 'tos', 'dsfield', 'df', 'label', 'flowlabel', 'dstport', 'external'],
  ...['noexternal', 'udpcsum', 'noudpcsum', 'udp6zerocsumtx', 'noudp6zerocsumtx', 'udp6zerocsumrx', 'noudp6zerocsumrx'],
]
const CHECKSUMS: readonly string[] = ['udpcsum', 'udp6zerocsumtx', 'udp6zerocsumrx']
const CHECKSUM_ATTRS = [IFLA_GENEVE_UDP_CSUM, IFLA_GENEVE_UDP_ZERO_CSUM6_TX, IFLA_GENEVE_UDP_ZERO_CSUM6_RX] as const

interface Said {
  readonly given: Given
  id: number
  remote: Endpoint | null
  ttl: number
  tos: number
  label: number
  port: number
  external: boolean
  inherit: boolean
  readonly checksums: number[]
}

function parse(args: Args, b: Builder, c: { create: boolean }): string {
  const s: Said = {
    given: new Given(),
    id: 0,
    remote: null,
    ttl: 0,
    tos: 0,
    label: 0,
    port: 0,
    external: false,
    inherit: false,
    checksums: [-1, -1, -1],
  }
  for (; args.more; args.skip()) parseWord(args, b, s)
  const { given } = s
  if (s.external && given.has('id')) throw args.fail("geneve: both 'external' and vni cannot be specified")
  if (!s.external && !given.has('id')) throw args.fail('geneve: missing virtual network identifier')
  if (!s.external && c.create && !s.remote) throw args.fail('geneve: remote link partner not specified')
  b.attrU32(IFLA_GENEVE_ID, s.id)
  if (s.remote) b.attr(s.remote.family === AF_INET ? IFLA_GENEVE_REMOTE : IFLA_GENEVE_REMOTE6, s.remote.bytes)
  if (c.create || given.has('flowlabel')) b.attrBe32(IFLA_GENEVE_LABEL, s.label)
  if (c.create || given.has('ttl')) b.attrU8(IFLA_GENEVE_TTL, s.ttl)
  if (c.create || given.has('tos')) b.attrU8(IFLA_GENEVE_TOS, s.tos)
  if (s.port) b.attrBe16(IFLA_GENEVE_PORT, s.port)
  if (s.external) b.attrFlag(IFLA_GENEVE_COLLECT_METADATA)
  if (s.inherit) b.attrFlag(IFLA_GENEVE_INNER_PROTO_INHERIT)
  for (let i = 0; i < 3; i++) if (s.checksums[i] >= 0) b.attrU8(CHECKSUM_ATTRS[i], s.checksums[i])
  return ''
}

function parseWord(args: Args, b: Builder, s: Said): void {
  const { given } = s
  const word = OPTIONS.find((o) => args.matches(o)) ?? args.word
  const plain = word.replace(/^no/, '')
  const checksum = CHECKSUMS.indexOf(plain)
  if (checksum >= 0) {
    given.once(plain, args)
    s.checksums[checksum] = word === plain ? 1 : 0
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
    case 'remote':
      args.next()
      given.once('remote', args)
      s.remote = endpoint(args.needAddress(AF_UNSPEC))
      if (s.remote.multicast || s.remote.family === AF_UNSPEC) throw args.invarg('invalid remote address')
      break
    case 'ttl':
    case 'hoplimit':
      args.next()
      given.once('ttl', args)
      if (args.is('inherit')) b.attrU8(IFLA_GENEVE_TTL_INHERIT, 1)
      else if (!args.is('auto')) {
        s.ttl = args.u32()
        if (s.ttl < 0) throw args.invarg('invalid TTL')
        if (s.ttl > 255) throw args.invarg('TTL must be <= 255')
      }
      break
    case 'tos':
    case 'dsfield':
      args.next()
      given.once('tos', args)
      s.tos = args.is('inherit') ? 1 : parseDsfield(args.word)
      if (s.tos < 0) throw args.invarg('bad TOS value')
      break
    case 'df': {
      args.next()
      given.once('df', args)
      const df = ['unset', 'set', 'inherit'].indexOf(args.word)
      if (df < 0) throw args.invarg("DF must be 'unset', 'set' or 'inherit'")
      b.attrU8(IFLA_GENEVE_DF, [GENEVE_DF_UNSET, GENEVE_DF_SET, GENEVE_DF_INHERIT][df])
      break
    }
    case 'label':
    case 'flowlabel':
      args.next()
      given.once('flowlabel', args)
      s.label = args.u32()
      if (s.label < 0 || s.label > 0xfffff) throw args.invarg('invalid flowlabel')
      break
    case 'dstport':
      args.next()
      given.once('dstport', args)
      s.port = args.u16()
      if (s.port < 0) throw args.invarg('dstport')
      break
    case 'external':
    case 'noexternal':
      given.once('external', args)
      s.external = word === 'external'
      break
    case 'innerprotoinherit':
      given.once(word, args)
      s.inherit = true
      break
    default:
      throw unknownOption(args, 'geneve')
  }
}

const attrs = new Int32Array(IFLA_GENEVE_INNER_PROTO_INHERIT + 1)

function print(d: DataView, o: number, end: number, out: Printer): void {
  parseAttrs(d, o, end, attrs, IFLA_GENEVE_INNER_PROTO_INHERIT)
  const u8 = (t: number): number => (attrs[t] ? d.getUint8(attrs[t]) : 0)
  if (attrs[IFLA_GENEVE_COLLECT_METADATA]) out.bool('external', 'external ', true)
  if (attrs[IFLA_GENEVE_ID]) out.num('id', 'id %u ', d.getUint32(attrs[IFLA_GENEVE_ID], true))
  const remote = attrs[IFLA_GENEVE_REMOTE] || attrs[IFLA_GENEVE_REMOTE6]
  if (remote) {
    const text = addressAt(out, d, remote, attrLen(d, remote))
    if (text) out.str(attrs[IFLA_GENEVE_REMOTE] ? 'remote' : 'remote6', 'remote %s ', text)
  }
  if (u8(IFLA_GENEVE_TTL_INHERIT)) out.text('ttl inherit ')
  else if (attrs[IFLA_GENEVE_TTL]) {
    if (out.json || u8(IFLA_GENEVE_TTL)) out.num('ttl', 'ttl %u ', u8(IFLA_GENEVE_TTL))
    else out.text('ttl auto ')
  }
  printTos(out, u8(IFLA_GENEVE_TOS))
  if (attrs[IFLA_GENEVE_DF]) {
    const df = u8(IFLA_GENEVE_DF)
    if (df === GENEVE_DF_UNSET) out.str('df', null, 'unset')
    else if (df === GENEVE_DF_SET) out.str('df', 'df %s ', 'set')
    else if (df === GENEVE_DF_INHERIT) out.str('df', 'df %s ', 'inherit')
  }
  const label = attrs[IFLA_GENEVE_LABEL] ? d.getUint32(attrs[IFLA_GENEVE_LABEL]) : 0
  if (label) out.hex0x('label', 'flowlabel %#llx ', label)
  if (attrs[IFLA_GENEVE_PORT]) out.num('port', 'dstport %u ', d.getUint16(attrs[IFLA_GENEVE_PORT]))
  const keys = ['udp_csum', 'udp_zero_csum6_tx', 'udp_zero_csum6_rx']
  for (let i = 0; i < 3; i++)
    if (attrs[CHECKSUM_ATTRS[i]]) printSwitch(out, keys[i], CHECKSUMS[i], u8(CHECKSUM_ATTRS[i]) !== 0)
  if (attrs[IFLA_GENEVE_INNER_PROTO_INHERIT]) out.bool('inner_proto_inherit', 'innerprotoinherit ', true)
}

export default { name: 'geneve', parse, print } satisfies LinkKind
