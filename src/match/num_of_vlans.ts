// num_of_vlans: how many VLAN tags the frame has. With it, VLAN words are allowed whatever the protocol says.

import { KEY_NUM_OF_VLANS } from '../memory/layout/flow_key.ts'
import { TCA_FLOWER_KEY_NUM_OF_VLANS } from '../wire/tca_flower.ts'
import { illegal } from './masked_text.ts'
import { type MatchGroup, putKeyVal, setKeyVal } from './match.ts'

export const numOfVlans: MatchGroup = {
  name: 'num_of_vlans',
  keywords: ['num_of_vlans'],
  attributes: [TCA_FLOWER_KEY_NUM_OF_VLANS],

  parse(_keyword, args, b, c) {
    args.next()
    const n = args.u8(10)
    if (n < 0) throw illegal(args, 'num_of_vlans')
    c.numOfVlans = n
    b.attrU8(TCA_FLOWER_KEY_NUM_OF_VLANS, n)
    args.skip()
  },

  toKey(attrs, d, key, mask) {
    setKeyVal(attrs, d, key, mask, KEY_NUM_OF_VLANS, 1, TCA_FLOWER_KEY_NUM_OF_VLANS, 0)
  },

  toAttributes(key, mask, b) {
    putKeyVal(key, mask, b, KEY_NUM_OF_VLANS, 1, TCA_FLOWER_KEY_NUM_OF_VLANS, 0)
  },

  print(attrs, d, out) {
    if (!attrs[TCA_FLOWER_KEY_NUM_OF_VLANS]) return
    out.nl()
    out.num('num_of_vlans', '  num_of_vlans %d', d.getUint8(attrs[TCA_FLOWER_KEY_NUM_OF_VLANS]))
  },
}
