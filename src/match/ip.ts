// ip_proto, ip_tos, ip_ttl: fields of the IPv4 and IPv6 header (the last next header, traffic class, hop limit).
//
// A number that tc does not know by name is hexadecimal, read and written: `ip_proto 47` is 0x47.

import { KEY_IP_PROTO, KEY_IP_TOS, KEY_IP_TTL } from '../memory/layout/flow_key.ts'
import type { Args } from '../tc/args.ts'
import {
  TCA_FLOWER_KEY_IP_PROTO,
  TCA_FLOWER_KEY_IP_TOS,
  TCA_FLOWER_KEY_IP_TOS_MASK,
  TCA_FLOWER_KEY_IP_TTL,
  TCA_FLOWER_KEY_IP_TTL_MASK,
} from '../wire/tca_flower.ts'
import { illegal, parseTosTtl, printMaskedU8 } from './masked_text.ts'
import { type FlowerContext, keyProto, type MatchGroup, putKeyVal, setKeyVal } from './match.ts'

const NAMES: readonly (readonly [name: string, number: number, ethType: number])[] = [
  ['tcp', 6, 0],
  ['udp', 17, 0],
  ['sctp', 132, 0],
  ['icmp', 1, 0x0800],
  ['icmpv6', 58, 0x86dd],
]
// Later versions of tc know these as well; not by abbreviation.
const LATER: Readonly<Record<string, number>> = { l2tp: 115, esp: 50, ah: 51 }

const isIp = (proto: number): boolean => proto === 0x0800 || proto === 0x86dd

function parseProto(args: Args, c: FlowerContext): number {
  const word = args.word
  if (!isIp(c.ethType)) throw illegal(args, 'ip_proto', 'Illegal "eth_type" for ip proto')
  for (const [name, number, ethType] of NAMES) {
    if (!name.startsWith(word)) continue
    if (ethType !== 0 && ethType !== c.ethType) throw illegal(args, 'ip_proto', 'Illegal "eth_type" for ip proto')
    return number
  }
  const proto = LATER[word] ?? args.u8(16)
  if (proto < 0) throw illegal(args, 'ip_proto')
  return proto
}

export const ip: MatchGroup = {
  name: 'ip',
  keywords: ['ip_proto', 'ip_tos', 'ip_ttl'],
  attributes: [TCA_FLOWER_KEY_IP_PROTO, TCA_FLOWER_KEY_IP_TOS, TCA_FLOWER_KEY_IP_TTL],

  parse(keyword, args, b, c) {
    args.next()
    if (keyword === 'ip_proto') {
      c.ipProto = parseProto(args, c)
      b.attrU8(TCA_FLOWER_KEY_IP_PROTO, c.ipProto)
    } else if (keyword === 'ip_tos') {
      if (!parseTosTtl(args, b, TCA_FLOWER_KEY_IP_TOS, TCA_FLOWER_KEY_IP_TOS_MASK)) throw illegal(args, keyword)
    } else if (!parseTosTtl(args, b, TCA_FLOWER_KEY_IP_TTL, TCA_FLOWER_KEY_IP_TTL_MASK)) throw illegal(args, keyword)
    args.skip()
  },

  toKey(attrs, d, key, mask) {
    if (!isIp(keyProto(key))) return
    setKeyVal(attrs, d, key, mask, KEY_IP_PROTO, 1, TCA_FLOWER_KEY_IP_PROTO, 0)
    setKeyVal(attrs, d, key, mask, KEY_IP_TOS, 1, TCA_FLOWER_KEY_IP_TOS, TCA_FLOWER_KEY_IP_TOS_MASK)
    setKeyVal(attrs, d, key, mask, KEY_IP_TTL, 1, TCA_FLOWER_KEY_IP_TTL, TCA_FLOWER_KEY_IP_TTL_MASK)
  },

  toAttributes(key, mask, b) {
    putKeyVal(key, mask, b, KEY_IP_PROTO, 1, TCA_FLOWER_KEY_IP_PROTO, 0)
    putKeyVal(key, mask, b, KEY_IP_TOS, 1, TCA_FLOWER_KEY_IP_TOS, TCA_FLOWER_KEY_IP_TOS_MASK)
    putKeyVal(key, mask, b, KEY_IP_TTL, 1, TCA_FLOWER_KEY_IP_TTL, TCA_FLOWER_KEY_IP_TTL_MASK)
  },

  print(attrs, d, out) {
    if (attrs[TCA_FLOWER_KEY_IP_PROTO]) {
      const proto = d.getUint8(attrs[TCA_FLOWER_KEY_IP_PROTO])
      const name = NAMES.find(([, number]) => number === proto)?.[0]
      out.nl()
      out.str('ip_proto', '  ip_proto %s', name ?? proto.toString(16).padStart(2, '0'))
    }
    printMaskedU8(out, d, 'ip_tos', attrs[TCA_FLOWER_KEY_IP_TOS], attrs[TCA_FLOWER_KEY_IP_TOS_MASK])
    printMaskedU8(out, d, 'ip_ttl', attrs[TCA_FLOWER_KEY_IP_TTL], attrs[TCA_FLOWER_KEY_IP_TTL_MASK])
  },
}
