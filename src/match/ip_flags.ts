// ip_flags: is the packet a fragment, and the first one (`frag`, `nofrag/firstfrag`, …).
//
// The words only gather bits; the attributes are written behind all else (flower.ts), in network order, the mask always.

import { FLOW_FIRST_FRAG, FLOW_IS_FRAGMENT, KEY_FLAGS } from '../memory/layout/flow_key.ts'
import { attrLen } from '../wire/netlink.ts'
import { EINVAL, NetlinkError } from '../wire/netlink_error.ts'
import {
  TCA_FLOWER_KEY_FLAGS,
  TCA_FLOWER_KEY_FLAGS_FRAG_IS_FIRST,
  TCA_FLOWER_KEY_FLAGS_IS_FRAGMENT,
  TCA_FLOWER_KEY_FLAGS_MASK,
} from '../wire/tca_flower.ts'
import { illegal } from './masked_text.ts'
import type { MatchGroup } from './match.ts'

const FLAGS: readonly (readonly [name: string, bit: number, keyBit: number])[] = [
  ['frag', TCA_FLOWER_KEY_FLAGS_IS_FRAGMENT, FLOW_IS_FRAGMENT],
  ['firstfrag', TCA_FLOWER_KEY_FLAGS_FRAG_IS_FIRST, FLOW_FIRST_FRAG],
]

export const ipFlags: MatchGroup = {
  name: 'ip_flags',
  keywords: ['ip_flags'],

  parse(_keyword, args, _b, c) {
    const word = args.next()
    for (const token of word.split('/')) {
      if (token === '') continue
      const no = token.startsWith('no')
      const name = no ? token.slice(2) : token
      const flag = FLAGS.find(([n]) => n === name)
      if (!flag) throw illegal(args, 'ip_flags')
      if (no) c.ipFlags &= ~flag[1]
      else c.ipFlags |= flag[1]
      c.ipFlagsMask |= flag[1]
    }
    args.skip()
  },

  toKey(attrs, d, key, mask) {
    if (!attrs[TCA_FLOWER_KEY_FLAGS]) return
    if (!attrs[TCA_FLOWER_KEY_FLAGS_MASK]) throw new NetlinkError(EINVAL, 'Missing flags mask')
    const value = d.getUint32(attrs[TCA_FLOWER_KEY_FLAGS])
    const bits = d.getUint32(attrs[TCA_FLOWER_KEY_FLAGS_MASK])
    for (const [, bit, keyBit] of FLAGS) {
      if (!(bits & bit)) continue
      mask[KEY_FLAGS] |= keyBit
      if (value & bit) key[KEY_FLAGS] |= keyBit
    }
  },

  toAttributes(key, mask, b) {
    let value = 0
    let bits = 0
    for (const [, bit, keyBit] of FLAGS) {
      if (!(mask[KEY_FLAGS] & keyBit)) continue
      bits |= bit
      if (key[KEY_FLAGS] & keyBit) value |= bit
    }
    if (bits === 0) return
    b.attrBe32(TCA_FLOWER_KEY_FLAGS, value)
    b.attrBe32(TCA_FLOWER_KEY_FLAGS_MASK, bits)
  },

  print(attrs, d, out) {
    const mask = attrs[TCA_FLOWER_KEY_FLAGS_MASK]
    if (!attrs[TCA_FLOWER_KEY_FLAGS] || !mask || attrLen(d, mask) !== 4) return
    const value = d.getUint32(attrs[TCA_FLOWER_KEY_FLAGS])
    const bits = d.getUint32(mask)
    let first = true
    for (const [name, bit] of FLAGS) {
      if (!(bits & bit)) continue
      if (first) {
        out.nl()
        out.text('  ip_flags ')
        out.openObject('ip_flags')
      } else out.text('/')
      first = false
      const on = (value & bit) !== 0
      out.bool(name, on ? name : `no${name}`, on)
    }
    if (!first) out.closeObject()
  },
}
