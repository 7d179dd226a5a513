// dst_port, src_port of TCP, UDP and SCTP: one port, with a mask (`80/0xf0`), or a range (`1000-2000`), whose other
// halves are in port_range.ts. tc asks for ip_proto first. Port 0 cannot be asked for, but with a mask it can.

import { KEY_IP_PROTO, KEY_PORT_DST, KEY_PORT_SRC } from '../memory/layout/flow_key.ts'
import type { Args } from '../tc/args.ts'
import type { Builder } from '../wire/netlink.ts'
import {
  TCA_FLOWER_KEY_IP_PROTO,
  TCA_FLOWER_KEY_PORT_DST_MAX,
  TCA_FLOWER_KEY_PORT_DST_MIN,
  TCA_FLOWER_KEY_PORT_SRC_MAX,
  TCA_FLOWER_KEY_PORT_SRC_MIN,
  TCA_FLOWER_KEY_SCTP_DST,
  TCA_FLOWER_KEY_SCTP_DST_MASK,
  TCA_FLOWER_KEY_SCTP_SRC,
  TCA_FLOWER_KEY_SCTP_SRC_MASK,
  TCA_FLOWER_KEY_TCP_DST,
  TCA_FLOWER_KEY_TCP_DST_MASK,
  TCA_FLOWER_KEY_TCP_SRC,
  TCA_FLOWER_KEY_TCP_SRC_MASK,
  TCA_FLOWER_KEY_UDP_DST,
  TCA_FLOWER_KEY_UDP_DST_MASK,
  TCA_FLOWER_KEY_UDP_SRC,
  TCA_FLOWER_KEY_UDP_SRC_MASK,
} from '../wire/tca_flower.ts'
import { illegal, parseMaskedUint, printMaskedBe16 } from './masked_text.ts'
import { type MatchGroup, putKeyVal, setKeyVal } from './match.ts'

/** Attributes of a protocol's ports. */
interface PortAttrs {
  readonly src: number
  readonly srcMask: number
  readonly dst: number
  readonly dstMask: number
}
const tcp: PortAttrs = {
  src: TCA_FLOWER_KEY_TCP_SRC,
  srcMask: TCA_FLOWER_KEY_TCP_SRC_MASK,
  dst: TCA_FLOWER_KEY_TCP_DST,
  dstMask: TCA_FLOWER_KEY_TCP_DST_MASK,
}
const udp: PortAttrs = {
  src: TCA_FLOWER_KEY_UDP_SRC,
  srcMask: TCA_FLOWER_KEY_UDP_SRC_MASK,
  dst: TCA_FLOWER_KEY_UDP_DST,
  dstMask: TCA_FLOWER_KEY_UDP_DST_MASK,
}
const sctp: PortAttrs = {
  src: TCA_FLOWER_KEY_SCTP_SRC,
  srcMask: TCA_FLOWER_KEY_SCTP_SRC_MASK,
  dst: TCA_FLOWER_KEY_SCTP_DST,
  dstMask: TCA_FLOWER_KEY_SCTP_DST_MASK,
}
/** The attributes of an IP protocol's ports, undefined when it has none. */
export const portAttrs = (ipProto: number): PortAttrs | undefined =>
  ipProto === 6 ? tcp : ipProto === 17 ? udp : ipProto === 132 ? sctp : undefined

function parsePort(args: Args, b: Builder, keyword: string, ipProto: number): void {
  const word = args.word
  const isDst = keyword === 'dst_port'
  const dash = word.indexOf('-')
  const min = args.number(dash < 0 ? word : word.slice(0, dash), 10, 0xffff)
  const max = dash < 0 || min < 0 ? 0 : args.number(word.slice(dash + 1), 10, 0xffff)
  const masked = (min < 0 || max < 0) && word.includes('/')
  if ((min < 0 || max < 0) && !masked) throw illegal(args, keyword)
  const a = portAttrs(ipProto)
  if (!masked && min > 0 && max > 0) {
    if (max <= min) throw illegal(args, keyword, 'max value should be greater than min value')
    if (!a) throw illegal(args, keyword)
    b.attrBe16(isDst ? TCA_FLOWER_KEY_PORT_DST_MIN : TCA_FLOWER_KEY_PORT_SRC_MIN, min)
    b.attrBe16(isDst ? TCA_FLOWER_KEY_PORT_DST_MAX : TCA_FLOWER_KEY_PORT_SRC_MAX, max)
    return
  }
  if (!a || (!masked && (min === 0 || max !== 0))) throw illegal(args, keyword)
  const type = isDst ? a.dst : a.src
  if (!masked) b.attrBe16(type, min)
  else if (!parseMaskedUint(args, b, type, isDst ? a.dstMask : a.srcMask, 2, true)) throw illegal(args, keyword)
}

export const ports: MatchGroup = {
  name: 'ports',
  keywords: ['dst_port', 'src_port'],
  attributes: [
    TCA_FLOWER_KEY_TCP_SRC,
    TCA_FLOWER_KEY_TCP_DST,
    TCA_FLOWER_KEY_UDP_SRC,
    TCA_FLOWER_KEY_UDP_DST,
    TCA_FLOWER_KEY_SCTP_SRC,
    TCA_FLOWER_KEY_SCTP_DST,
  ],

  parse(keyword, args, b, c) {
    args.next()
    parsePort(args, b, keyword, c.ipProto)
    args.skip()
  },

  toKey(attrs, d, key, mask) {
    const a = portAttrs(key[KEY_IP_PROTO])
    if (!a) return
    setKeyVal(attrs, d, key, mask, KEY_PORT_SRC, 2, a.src, a.srcMask)
    setKeyVal(attrs, d, key, mask, KEY_PORT_DST, 2, a.dst, a.dstMask)
  },

  toAttributes(key, mask, b) {
    const a = portAttrs(key[KEY_IP_PROTO])
    if (!a) return
    putKeyVal(key, mask, b, KEY_PORT_SRC, 2, a.src, a.srcMask)
    putKeyVal(key, mask, b, KEY_PORT_DST, 2, a.dst, a.dstMask)
  },

  print(attrs, d, out) {
    const a = attrs[TCA_FLOWER_KEY_IP_PROTO] ? portAttrs(d.getUint8(attrs[TCA_FLOWER_KEY_IP_PROTO])) : undefined
    if (!a) return
    printMaskedBe16(out, d, 'dst_port', attrs[a.dst], attrs[a.dstMask])
    printMaskedBe16(out, d, 'src_port', attrs[a.src], attrs[a.srcMask])
  },
}
