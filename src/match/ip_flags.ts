// ip_flags: is the packet a fragment, and the first one (`frag`, `nofrag/firstfrag`, …). The words only gather bits; the
// attributes are written behind all else (flower.ts).

import { FLOW_FIRST_FRAG, FLOW_IS_FRAGMENT, KEY_FLAGS } from '../memory/layout/flow_key.ts'
import {
  TCA_FLOWER_KEY_FLAGS,
  TCA_FLOWER_KEY_FLAGS_FRAG_IS_FIRST,
  TCA_FLOWER_KEY_FLAGS_IS_FRAGMENT,
  TCA_FLOWER_KEY_FLAGS_MASK,
} from '../wire/tca_flower.ts'
import { checkFlagsMask, type Flag, parseFlags, printFlags, toAttrBits, toKeyBits } from './flag_bits.ts'
import type { MatchGroup } from './match.ts'

const FLAGS: readonly Flag[] = [
  ['frag', TCA_FLOWER_KEY_FLAGS_IS_FRAGMENT, FLOW_IS_FRAGMENT],
  ['firstfrag', TCA_FLOWER_KEY_FLAGS_FRAG_IS_FIRST, FLOW_FIRST_FRAG],
]

export const ipFlags: MatchGroup = {
  name: 'ip_flags',
  keywords: ['ip_flags'],
  attributes: [TCA_FLOWER_KEY_FLAGS],

  parse(keyword, args, _b, c) {
    args.next()
    parseFlags(args, keyword, FLAGS, (bit, on) => {
      c.ipFlags = on ? c.ipFlags | bit : c.ipFlags & ~bit
      c.ipFlagsMask |= bit
    })
    args.skip()
  },

  toKey(attrs, d, key, mask) {
    if (!attrs[TCA_FLOWER_KEY_FLAGS]) return
    checkFlagsMask(attrs[TCA_FLOWER_KEY_FLAGS_MASK])
    const bits = toKeyBits(FLAGS, d.getUint32(attrs[TCA_FLOWER_KEY_FLAGS_MASK]))
    key[KEY_FLAGS] |= toKeyBits(FLAGS, d.getUint32(attrs[TCA_FLOWER_KEY_FLAGS])) & bits
    mask[KEY_FLAGS] |= bits
  },

  toAttributes(key, mask, b) {
    const bits = toAttrBits(FLAGS, mask[KEY_FLAGS])
    if (bits === 0) return
    b.attrBe32(TCA_FLOWER_KEY_FLAGS, toAttrBits(FLAGS, key[KEY_FLAGS]) & bits)
    b.attrBe32(TCA_FLOWER_KEY_FLAGS_MASK, bits)
  },

  print(attrs, d, out) {
    printFlags(out, d, 'ip_flags', FLAGS, attrs[TCA_FLOWER_KEY_FLAGS], attrs[TCA_FLOWER_KEY_FLAGS_MASK])
  },
}
