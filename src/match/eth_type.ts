// eth_type: the EtherType that the filter asks for, behind its VLAN tags. It has no word of its own: `protocol` of the
// filter and vlan_ethtype say it, and vlan.ts turns both into the key, because the one decides what the other means.

import { KEY_N_PROTO } from '../memory/layout/flow_key.ts'
import { TCA_FLOWER_KEY_ETH_TYPE } from '../wire/tca_flower.ts'
import { type MatchGroup, putKeyVal } from './match.ts'

const NAMES: Readonly<Record<number, string>> = { 2048: 'ipv4', 34525: 'ipv6', 2054: 'arp', 32821: 'rarp' }

export const ethType: MatchGroup = {
  name: 'eth_type',
  keywords: [],
  attributes: [],

  parse() {},

  toKey() {},

  toAttributes(key, mask, b) {
    putKeyVal(key, mask, b, KEY_N_PROTO, 2, TCA_FLOWER_KEY_ETH_TYPE, 0)
  },

  print(attrs, d, out) {
    if (!attrs[TCA_FLOWER_KEY_ETH_TYPE]) return
    const type = d.getUint16(attrs[TCA_FLOWER_KEY_ETH_TYPE])
    out.nl()
    out.str('eth_type', '  eth_type %s', NAMES[type] ?? type.toString(16).padStart(4, '0'))
  },
}
