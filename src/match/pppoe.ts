// pppoe_sid, ppp_proto: session and protocol of PPPoE (RFC 2516). The protocol that PPP carries becomes the protocol
// of the rest of the filter; KEY_PPPOE_TYPE keeps that the frame is PPPoE.

import { KEY_N_PROTO, KEY_PPP_PROTO, KEY_PPPOE_SID, KEY_PPPOE_TYPE } from '../memory/layout/flow_key.ts'
import type { Args } from '../tc/args.ts'
import { TCA_FLOWER_KEY_ETH_TYPE, TCA_FLOWER_KEY_PPP_PROTO, TCA_FLOWER_KEY_PPPOE_SID } from '../wire/tca_flower.ts'
import { illegal } from './masked_text.ts'
import { isSet, keyProto, type MatchGroup, putKeyVal, setKeyVal } from './match.ts'

const ETH_P_PPP_SES = 0x8864

// linux/ppp_defs.h; of two with one number the first is printed.
const NAMES: readonly (readonly [string, number])[] = [
  ['ip', 0x21],
  ['at', 0x29],
  ['ipx', 0x2b],
  ['vjc_comp', 0x2d],
  ['vjc_uncomp', 0x2f],
  ['mp', 0x3d],
  ['ipv6', 0x57],
  ['compfrag', 0xfb],
  ['comp', 0xfd],
  ['mpls_uc', 0x0281],
  ['mpls_mc', 0x0283],
  ['ipcp', 0x8021],
  ['atcp', 0x8029],
  ['ipxcp', 0x802b],
  ['ipv6cp', 0x8057],
  ['ccpfrag', 0x80fb],
  ['ccp', 0x80fd],
  ['mplscp', 0x80fd],
  ['lcp', 0xc021],
  ['pap', 0xc023],
  ['lqr', 0xc025],
  ['chap', 0xc223],
  ['cbcp', 0xc029],
]

/** The EtherType of what a PPP protocol carries. */
const ETH_TYPES: Readonly<Record<number, number>> = { 33: 0x0800, 87: 0x86dd, 641: 0x8847, 643: 0x8848 }

function parseProto(args: Args): number {
  const word = args.word.toLowerCase()
  const named = NAMES.find(([name]) => name === word)
  const proto = named ? named[1] : args.u16()
  if (proto < 0) throw args.invarg('invalid ppp_proto')
  return proto
}

export const pppoe: MatchGroup = {
  name: 'pppoe',
  keywords: ['pppoe_sid', 'ppp_proto'],
  attributes: [TCA_FLOWER_KEY_ETH_TYPE, TCA_FLOWER_KEY_PPPOE_SID, TCA_FLOWER_KEY_PPP_PROTO],

  parse(keyword, args, b, c) {
    args.next()
    if (c.ethType !== ETH_P_PPP_SES) throw args.fail(`Can't set "${keyword}" if ethertype isn't PPPoE session`)
    if (keyword === 'pppoe_sid') {
      const sid = args.u16(10)
      if (sid < 0) throw illegal(args, keyword)
      b.attrBe16(TCA_FLOWER_KEY_PPPOE_SID, sid)
    } else {
      const proto = parseProto(args)
      c.ethType = ETH_TYPES[proto] ?? c.ethType
      b.attrBe16(TCA_FLOWER_KEY_PPP_PROTO, proto)
    }
    args.skip()
  },

  toKey(attrs, d, key, mask) {
    if (keyProto(key) !== ETH_P_PPP_SES) return
    key[KEY_PPPOE_TYPE] = ETH_P_PPP_SES >> 8
    key[KEY_PPPOE_TYPE + 1] = ETH_P_PPP_SES & 0xff
    mask.fill(0xff, KEY_PPPOE_TYPE, KEY_PPPOE_TYPE + 2)
    setKeyVal(attrs, d, key, mask, KEY_PPPOE_SID, 2, TCA_FLOWER_KEY_PPPOE_SID, 0)
    setKeyVal(attrs, d, key, mask, KEY_PPP_PROTO, 2, TCA_FLOWER_KEY_PPP_PROTO, 0)
    const proto = attrs[TCA_FLOWER_KEY_PPP_PROTO]
    const carried = proto ? ETH_TYPES[d.getUint16(proto)] : 0
    if (carried === undefined) return
    key[KEY_N_PROTO] = carried >> 8
    key[KEY_N_PROTO + 1] = carried & 0xff
    mask.fill(carried ? 0xff : 0, KEY_N_PROTO, KEY_N_PROTO + 2)
  },

  toAttributes(key, mask, b) {
    putKeyVal(key, mask, b, KEY_PPPOE_SID, 2, TCA_FLOWER_KEY_PPPOE_SID, 0)
    if (isSet(mask, KEY_N_PROTO, 2)) putKeyVal(key, mask, b, KEY_PPP_PROTO, 2, TCA_FLOWER_KEY_PPP_PROTO, 0)
  },

  print(attrs, d, out) {
    const [sid, proto] = [attrs[TCA_FLOWER_KEY_PPPOE_SID], attrs[TCA_FLOWER_KEY_PPP_PROTO]]
    if (sid) {
      out.nl()
      out.num('pppoe_sid', '  pppoe_sid %u', d.getUint16(sid))
    }
    if (proto) {
      const id = d.getUint16(proto)
      out.nl()
      out.str('ppp_proto', '  ppp_proto %s', NAMES.find(([, n]) => n === id)?.[0] ?? `[${id}]`)
    }
  },
}
