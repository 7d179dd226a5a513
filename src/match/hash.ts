// The hash of the packet, with a mask: the kernel's flower takes it from a program that speaks netlink; tc has no word
// for it and prints nothing.

import { KEY_HASH } from '../memory/layout/flow_key.ts'
import { TCA_FLOWER_KEY_HASH, TCA_FLOWER_KEY_HASH_MASK } from '../wire/tca_flower.ts'
import { type MatchGroup, putKeyVal, setKeyVal } from './match.ts'

export const hash: MatchGroup = {
  name: 'hash',
  keywords: [],
  attributes: [TCA_FLOWER_KEY_HASH],

  parse() {},

  toKey(attrs, d, key, mask) {
    setKeyVal(attrs, d, key, mask, KEY_HASH, 4, TCA_FLOWER_KEY_HASH, TCA_FLOWER_KEY_HASH_MASK)
  },

  toAttributes(key, mask, b) {
    putKeyVal(key, mask, b, KEY_HASH, 4, TCA_FLOWER_KEY_HASH, TCA_FLOWER_KEY_HASH_MASK)
  },

  print() {},
}
