// l2tpv3_sid: session id of L2TPv3 over IP (RFC 3931). The kernel takes it since 6.1, tc a little later.

import { KEY_IP_PROTO, KEY_L2TPV3_SID } from '../memory/layout/flow_key.ts'
import { TCA_FLOWER_KEY_L2TPV3_SID } from '../wire/tca_flower.ts'
import { type MatchGroup, putKeyVal, setKeyVal } from './match.ts'

const IPPROTO_L2TP = 115

export const l2tpv3: MatchGroup = {
  name: 'l2tpv3',
  keywords: ['l2tpv3_sid'],
  attributes: [TCA_FLOWER_KEY_L2TPV3_SID],

  parse(_keyword, args, b, c) {
    args.next()
    if (c.ipProto !== IPPROTO_L2TP) throw args.fail(`Can't set "l2tpv3_sid" if ip_proto isn't l2tp`)
    const sid = args.u32(10)
    if (sid < 0) throw args.fail('Illegal "l2tpv3 session id"')
    b.attrBe32(TCA_FLOWER_KEY_L2TPV3_SID, sid)
    args.skip()
  },

  toKey(attrs, d, key, mask) {
    if (key[KEY_IP_PROTO] !== IPPROTO_L2TP) return
    setKeyVal(attrs, d, key, mask, KEY_L2TPV3_SID, 4, TCA_FLOWER_KEY_L2TPV3_SID, 0)
  },

  toAttributes(key, mask, b) {
    putKeyVal(key, mask, b, KEY_L2TPV3_SID, 4, TCA_FLOWER_KEY_L2TPV3_SID, 0)
  },

  print(attrs, d, out) {
    if (!attrs[TCA_FLOWER_KEY_L2TPV3_SID]) return
    out.nl()
    out.num('l2tpv3_sid', '  l2tpv3_sid %u', d.getUint32(attrs[TCA_FLOWER_KEY_L2TPV3_SID]))
  },
}
