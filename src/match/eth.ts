// dst_mac, src_mac: Ethernet addresses with a mask or a number of bits.

import { KEY_ETH_DST, KEY_ETH_SRC } from '../memory/layout/flow_key.ts'
import {
  TCA_FLOWER_KEY_ETH_DST,
  TCA_FLOWER_KEY_ETH_DST_MASK,
  TCA_FLOWER_KEY_ETH_SRC,
  TCA_FLOWER_KEY_ETH_SRC_MASK,
} from '../wire/tca_flower.ts'
import { parseMacMask, printMac } from './masked_text.ts'
import { type MatchGroup, putKeyVal, setKeyVal } from './match.ts'

export const eth: MatchGroup = {
  name: 'eth',
  keywords: ['dst_mac', 'src_mac'],
  attributes: [TCA_FLOWER_KEY_ETH_DST, TCA_FLOWER_KEY_ETH_SRC],

  parse(keyword, args, b) {
    args.next()
    if (keyword === 'dst_mac') parseMacMask(args, b, keyword, TCA_FLOWER_KEY_ETH_DST, TCA_FLOWER_KEY_ETH_DST_MASK)
    else parseMacMask(args, b, keyword, TCA_FLOWER_KEY_ETH_SRC, TCA_FLOWER_KEY_ETH_SRC_MASK)
    args.skip()
  },

  toKey(attrs, d, key, mask) {
    setKeyVal(attrs, d, key, mask, KEY_ETH_DST, 6, TCA_FLOWER_KEY_ETH_DST, TCA_FLOWER_KEY_ETH_DST_MASK)
    setKeyVal(attrs, d, key, mask, KEY_ETH_SRC, 6, TCA_FLOWER_KEY_ETH_SRC, TCA_FLOWER_KEY_ETH_SRC_MASK)
  },

  toAttributes(key, mask, b) {
    putKeyVal(key, mask, b, KEY_ETH_DST, 6, TCA_FLOWER_KEY_ETH_DST, TCA_FLOWER_KEY_ETH_DST_MASK)
    putKeyVal(key, mask, b, KEY_ETH_SRC, 6, TCA_FLOWER_KEY_ETH_SRC, TCA_FLOWER_KEY_ETH_SRC_MASK)
  },

  print(attrs, d, out) {
    printMac(out, d, 'dst_mac', attrs[TCA_FLOWER_KEY_ETH_DST], attrs[TCA_FLOWER_KEY_ETH_DST_MASK])
    printMac(out, d, 'src_mac', attrs[TCA_FLOWER_KEY_ETH_SRC], attrs[TCA_FLOWER_KEY_ETH_SRC_MASK])
  },
}
