// dst_ip, src_ip: IPv4 or IPv6 addresses with a prefix length.
//
// A rule with an address also asks which IP header the packet has (control.addr_type of the kernel, two bits of
// KEY_FLAGS here). The kernel's dissector answers that only when a bit of an address is looked at; so a rule whose only
// address is 0.0.0.0/0 or ::/0 never matches. It asks for both bits here, which no packet has.

import {
  FLOW_ADDR_IPV4,
  FLOW_ADDR_IPV6,
  KEY_FLAGS,
  KEY_IPV4_DST,
  KEY_IPV4_SRC,
  KEY_IPV6_DST,
  KEY_IPV6_SRC,
} from '../memory/layout/flow_key.ts'
import {
  TCA_FLOWER_KEY_ETH_TYPE,
  TCA_FLOWER_KEY_IPV4_DST,
  TCA_FLOWER_KEY_IPV4_DST_MASK,
  TCA_FLOWER_KEY_IPV4_SRC,
  TCA_FLOWER_KEY_IPV4_SRC_MASK,
  TCA_FLOWER_KEY_IPV6_DST,
  TCA_FLOWER_KEY_IPV6_DST_MASK,
  TCA_FLOWER_KEY_IPV6_SRC,
  TCA_FLOWER_KEY_IPV6_SRC_MASK,
} from '../wire/tca_flower.ts'
import { familyOf, illegal, parseIpMask, printIp } from './masked_text.ts'
import { isSet, type MatchGroup, putKeyVal, setKeyVal } from './match.ts'

const BOTH = FLOW_ADDR_IPV4 | FLOW_ADDR_IPV6

export const ipAddr: MatchGroup = {
  name: 'ip_addr',
  keywords: ['dst_ip', 'src_ip'],
  attributes: [TCA_FLOWER_KEY_IPV4_SRC, TCA_FLOWER_KEY_IPV4_DST, TCA_FLOWER_KEY_IPV6_SRC, TCA_FLOWER_KEY_IPV6_DST],

  parse(keyword, args, b, c) {
    args.next()
    const family = familyOf(c.ethType)
    if (family < 0) throw illegal(args, keyword)
    if (keyword === 'dst_ip')
      parseIpMask(
        args,
        b,
        family,
        TCA_FLOWER_KEY_IPV4_DST,
        TCA_FLOWER_KEY_IPV4_DST_MASK,
        TCA_FLOWER_KEY_IPV6_DST,
        TCA_FLOWER_KEY_IPV6_DST_MASK,
      )
    else
      parseIpMask(
        args,
        b,
        family,
        TCA_FLOWER_KEY_IPV4_SRC,
        TCA_FLOWER_KEY_IPV4_SRC_MASK,
        TCA_FLOWER_KEY_IPV6_SRC,
        TCA_FLOWER_KEY_IPV6_SRC_MASK,
      )
    args.skip()
  },

  toKey(attrs, d, key, mask) {
    let looked: boolean
    let type: number
    if (attrs[TCA_FLOWER_KEY_IPV4_SRC] || attrs[TCA_FLOWER_KEY_IPV4_DST]) {
      setKeyVal(attrs, d, key, mask, KEY_IPV4_SRC, 4, TCA_FLOWER_KEY_IPV4_SRC, TCA_FLOWER_KEY_IPV4_SRC_MASK)
      setKeyVal(attrs, d, key, mask, KEY_IPV4_DST, 4, TCA_FLOWER_KEY_IPV4_DST, TCA_FLOWER_KEY_IPV4_DST_MASK)
      type = FLOW_ADDR_IPV4
      looked = isSet(mask, KEY_IPV4_SRC, 8)
    } else if (attrs[TCA_FLOWER_KEY_IPV6_SRC] || attrs[TCA_FLOWER_KEY_IPV6_DST]) {
      setKeyVal(attrs, d, key, mask, KEY_IPV6_SRC, 16, TCA_FLOWER_KEY_IPV6_SRC, TCA_FLOWER_KEY_IPV6_SRC_MASK)
      setKeyVal(attrs, d, key, mask, KEY_IPV6_DST, 16, TCA_FLOWER_KEY_IPV6_DST, TCA_FLOWER_KEY_IPV6_DST_MASK)
      type = FLOW_ADDR_IPV6
      looked = isSet(mask, KEY_IPV6_SRC, 32)
    } else return
    key[KEY_FLAGS] |= looked ? type : BOTH
    mask[KEY_FLAGS] |= BOTH
  },

  toAttributes(key, mask, b) {
    putKeyVal(key, mask, b, KEY_IPV4_SRC, 4, TCA_FLOWER_KEY_IPV4_SRC, TCA_FLOWER_KEY_IPV4_SRC_MASK)
    putKeyVal(key, mask, b, KEY_IPV4_DST, 4, TCA_FLOWER_KEY_IPV4_DST, TCA_FLOWER_KEY_IPV4_DST_MASK)
    putKeyVal(key, mask, b, KEY_IPV6_SRC, 16, TCA_FLOWER_KEY_IPV6_SRC, TCA_FLOWER_KEY_IPV6_SRC_MASK)
    putKeyVal(key, mask, b, KEY_IPV6_DST, 16, TCA_FLOWER_KEY_IPV6_DST, TCA_FLOWER_KEY_IPV6_DST_MASK)
  },

  print(attrs, d, out) {
    const type = attrs[TCA_FLOWER_KEY_ETH_TYPE] ? d.getUint16(attrs[TCA_FLOWER_KEY_ETH_TYPE]) : 0
    if (type === 0x0800) {
      printIp(out, d, 'dst_ip', 4, attrs[TCA_FLOWER_KEY_IPV4_DST], attrs[TCA_FLOWER_KEY_IPV4_DST_MASK])
      printIp(out, d, 'src_ip', 4, attrs[TCA_FLOWER_KEY_IPV4_SRC], attrs[TCA_FLOWER_KEY_IPV4_SRC_MASK])
    } else if (type === 0x86dd) {
      printIp(out, d, 'dst_ip', 16, attrs[TCA_FLOWER_KEY_IPV6_DST], attrs[TCA_FLOWER_KEY_IPV6_DST_MASK])
      printIp(out, d, 'src_ip', 16, attrs[TCA_FLOWER_KEY_IPV6_SRC], attrs[TCA_FLOWER_KEY_IPV6_SRC_MASK])
    }
  },
}
