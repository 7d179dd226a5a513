// l2_miss: did a bridge not know the destination address of the frame? Of kernels and a tc later than 6.1.

import { KEY_L2_MISS } from '../memory/layout/flow_key.ts'
import { NLA_HDRLEN } from '../wire/netlink.ts'
import { EINVAL, NetlinkError, POLICY_TEXT } from '../wire/netlink_error.ts'
import { TCA_FLOWER_L2_MISS } from '../wire/tca_flower.ts'
import { illegal } from './masked_text.ts'
import { type MatchGroup, putKeyVal, setKeyVal } from './match.ts'

export const l2Miss: MatchGroup = {
  name: 'l2_miss',
  keywords: ['l2_miss'],
  attributes: [TCA_FLOWER_L2_MISS],

  parse(_keyword, args, b) {
    args.next()
    const v = args.u8(10)
    if (v < 0) throw illegal(args, 'l2_miss')
    b.attrU8(TCA_FLOWER_L2_MISS, v)
    args.skip()
  },

  toKey(attrs, d, key, mask) {
    const miss = attrs[TCA_FLOWER_L2_MISS]
    if (miss && d.getUint8(miss) > 1) throw new NetlinkError(EINVAL, POLICY_TEXT, miss - NLA_HDRLEN)
    setKeyVal(attrs, d, key, mask, KEY_L2_MISS, 1, TCA_FLOWER_L2_MISS, 0)
  },

  toAttributes(key, mask, b) {
    putKeyVal(key, mask, b, KEY_L2_MISS, 1, TCA_FLOWER_L2_MISS, 0)
  },

  print(attrs, d, out) {
    if (!attrs[TCA_FLOWER_L2_MISS]) return
    out.nl()
    out.num('l2_miss', '  l2_miss %u', d.getUint8(attrs[TCA_FLOWER_L2_MISS]))
  },
}
