// `ip link add … type bareudp dstport N ethertype P …` (iplink_bareudp.c): words to IFLA_BAREUDP_* and back.

import { type Builder, parseAttrs } from '../wire/netlink.ts'
import {
  IFLA_BAREUDP_ETHERTYPE,
  IFLA_BAREUDP_MULTIPROTO_MODE,
  IFLA_BAREUDP_PORT,
  IFLA_BAREUDP_SRCPORT_MIN,
} from '../wire/rtm_link.ts'
import type { Args } from './args.ts'
import { Given, type LinkKind, unknownOption } from './link_kind.ts'
import type { Printer } from './printer.ts'
import { formatProtocol, parseProtocol } from './protocol_text.ts'

function parse(args: Args, b: Builder): string {
  const given = new Given()
  let port = 0
  let ethertype = 0
  let srcportMin = 0
  let multiproto = false
  for (; args.more; args.skip()) {
    if (args.matches('dstport')) {
      args.next()
      given.once('dstport', args)
      port = args.u16()
      if (port < 0) throw args.invarg('dstport')
    } else if (args.matches('ethertype')) {
      args.next()
      given.once('ethertype', args)
      ethertype = parseProtocol(args.word)
      if (ethertype < 0) throw args.invarg('ethertype')
    } else if (args.matches('srcportmin')) {
      args.next()
      given.once('srcportmin', args)
      srcportMin = args.u16()
      if (srcportMin < 0) throw args.invarg('srcportmin')
    } else if (args.matches('multiproto') || args.matches('nomultiproto')) {
      given.once('multiproto', args)
      multiproto = args.matches('multiproto')
    } else throw unknownOption(args, 'bareudp')
  }
  if (!given.has('dstport')) throw args.missarg('dstport')
  if (!given.has('ethertype')) throw args.missarg('ethertype')
  b.attrBe16(IFLA_BAREUDP_PORT, port)
  b.attrBe16(IFLA_BAREUDP_ETHERTYPE, ethertype)
  if (given.has('srcportmin')) b.attrU16(IFLA_BAREUDP_SRCPORT_MIN, srcportMin)
  if (multiproto) b.attrFlag(IFLA_BAREUDP_MULTIPROTO_MODE)
  return ''
}

const attrs = new Int32Array(IFLA_BAREUDP_MULTIPROTO_MODE + 1)

function print(d: DataView, o: number, end: number, out: Printer): void {
  parseAttrs(d, o, end, attrs, IFLA_BAREUDP_MULTIPROTO_MODE)
  const multi = attrs[IFLA_BAREUDP_MULTIPROTO_MODE] !== 0
  if (attrs[IFLA_BAREUDP_PORT]) out.num('dstport', 'dstport %u ', d.getUint16(attrs[IFLA_BAREUDP_PORT]))
  if (attrs[IFLA_BAREUDP_ETHERTYPE])
    out.str('ethertype', 'ethertype %s ', formatProtocol(d.getUint16(attrs[IFLA_BAREUDP_ETHERTYPE])))
  if (attrs[IFLA_BAREUDP_SRCPORT_MIN])
    out.num('srcportmin', 'srcportmin %u ', d.getUint16(attrs[IFLA_BAREUDP_SRCPORT_MIN], true))
  out.bool('multiproto', multi ? 'multiproto ' : 'nomultiproto ', multi)
}

export default { name: 'bareudp', parse, print } satisfies LinkKind
