// type, code: of ICMP and ICMPv6, whichever ip_proto says; masks in decimal.

import { KEY_ICMP_CODE, KEY_ICMP_TYPE, KEY_IP_PROTO } from '../memory/layout/flow_key.ts'
import {
  TCA_FLOWER_KEY_ETH_TYPE,
  TCA_FLOWER_KEY_ICMPV4_CODE,
  TCA_FLOWER_KEY_ICMPV4_CODE_MASK,
  TCA_FLOWER_KEY_ICMPV4_TYPE,
  TCA_FLOWER_KEY_ICMPV4_TYPE_MASK,
  TCA_FLOWER_KEY_ICMPV6_CODE,
  TCA_FLOWER_KEY_ICMPV6_CODE_MASK,
  TCA_FLOWER_KEY_ICMPV6_TYPE,
  TCA_FLOWER_KEY_ICMPV6_TYPE_MASK,
  TCA_FLOWER_KEY_IP_PROTO,
} from '../wire/tca_flower.ts'
import { illegal, parseMaskedU8, printU8 } from './masked_text.ts'
import { keyProto, type MatchGroup, putKeyVal, setKeyVal } from './match.ts'

interface IcmpAttrs {
  readonly type: number
  readonly typeMask: number
  readonly code: number
  readonly codeMask: number
}
const v4: IcmpAttrs = {
  type: TCA_FLOWER_KEY_ICMPV4_TYPE,
  typeMask: TCA_FLOWER_KEY_ICMPV4_TYPE_MASK,
  code: TCA_FLOWER_KEY_ICMPV4_CODE,
  codeMask: TCA_FLOWER_KEY_ICMPV4_CODE_MASK,
}
const v6: IcmpAttrs = {
  type: TCA_FLOWER_KEY_ICMPV6_TYPE,
  typeMask: TCA_FLOWER_KEY_ICMPV6_TYPE_MASK,
  code: TCA_FLOWER_KEY_ICMPV6_CODE,
  codeMask: TCA_FLOWER_KEY_ICMPV6_CODE_MASK,
}
const attrsOf = (ethType: number, ipProto: number): IcmpAttrs | undefined =>
  ethType === 0x0800 && ipProto === 1 ? v4 : ethType === 0x86dd && ipProto === 58 ? v6 : undefined

export const icmp: MatchGroup = {
  name: 'icmp',
  keywords: ['type', 'code'],
  attributes: [
    TCA_FLOWER_KEY_ICMPV4_TYPE,
    TCA_FLOWER_KEY_ICMPV4_CODE,
    TCA_FLOWER_KEY_ICMPV6_TYPE,
    TCA_FLOWER_KEY_ICMPV6_CODE,
  ],

  parse(keyword, args, b, c) {
    args.next()
    const a = attrsOf(c.ethType, c.ipProto)
    const isType = keyword === 'type'
    if (!a || !parseMaskedU8(args, b, isType ? a.type : a.code, isType ? a.typeMask : a.codeMask))
      throw illegal(args, `icmp ${keyword}`)
    args.skip()
  },

  toKey(attrs, d, key, mask) {
    const a = attrsOf(keyProto(key), key[KEY_IP_PROTO])
    if (!a) return
    setKeyVal(attrs, d, key, mask, KEY_ICMP_TYPE, 1, a.type, a.typeMask)
    setKeyVal(attrs, d, key, mask, KEY_ICMP_CODE, 1, a.code, a.codeMask)
  },

  toAttributes(key, mask, b) {
    const a = attrsOf(keyProto(key), key[KEY_IP_PROTO])
    if (!a) return
    putKeyVal(key, mask, b, KEY_ICMP_TYPE, 1, a.type, a.typeMask)
    putKeyVal(key, mask, b, KEY_ICMP_CODE, 1, a.code, a.codeMask)
  },

  print(attrs, d, out) {
    if (!attrs[TCA_FLOWER_KEY_ETH_TYPE] || !attrs[TCA_FLOWER_KEY_IP_PROTO]) return
    const a = attrsOf(d.getUint16(attrs[TCA_FLOWER_KEY_ETH_TYPE]), d.getUint8(attrs[TCA_FLOWER_KEY_IP_PROTO]))
    if (!a) return
    printU8(out, d, 'icmp_type', attrs[a.type], attrs[a.typeMask])
    printU8(out, d, 'icmp_code', attrs[a.code], attrs[a.codeMask])
  },
}
