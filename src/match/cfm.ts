// cfm: level and opcode of a connectivity fault management frame (IEEE 802.1ag). Of kernels and a tc later than 6.1.
//
// KEY_CFM_MDL is the first byte of the header: the level in its upper three bits, the version below, which no rule asks.

import { KEY_CFM_MDL, KEY_CFM_OPCODE } from '../memory/layout/flow_key.ts'
import type { Args } from '../tc/args.ts'
import { attrLen, attrRawType, forEachAttr, NLA_F_NESTED, parseAttrs } from '../wire/netlink.ts'
import { EINVAL, ERANGE, NetlinkError, POLICY_TEXT } from '../wire/netlink_error.ts'
import { TCA_FLOWER_KEY_CFM, TCA_FLOWER_KEY_CFM_MD_LEVEL, TCA_FLOWER_KEY_CFM_OPCODE } from '../wire/tca_flower.ts'
import { keyProto, type MatchGroup } from './match.ts'

const ETH_P_CFM = 0x8902
const LEVEL_MAX = 7
const LEVEL_BITS = 0xe0

function byte(args: Args, what: string): number {
  args.next()
  const v = args.u8(10)
  if (v < 0) throw args.fail(`Illegal "cfm ${what}"`)
  return v
}

const cfmAttrs = new Int32Array(TCA_FLOWER_KEY_CFM_OPCODE + 1)

export const cfm: MatchGroup = {
  name: 'cfm',
  keywords: ['cfm'],
  attributes: [TCA_FLOWER_KEY_CFM],

  parse(_keyword, args, b, c) {
    args.next()
    if (c.ethType !== ETH_P_CFM) throw args.fail("Can't set attribute if ethertype isn't CFM")
    const nest = b.nest(TCA_FLOWER_KEY_CFM | NLA_F_NESTED)
    for (; args.more; args.skip()) {
      if (args.is('mdl')) b.attrU8(TCA_FLOWER_KEY_CFM_MD_LEVEL, byte(args, 'md level'))
      else if (args.is('op')) b.attrU8(TCA_FLOWER_KEY_CFM_OPCODE, byte(args, 'opcode'))
      else break
    }
    b.nestEnd(nest)
  },

  toKey(attrs, d, key, mask) {
    const nest = attrs[TCA_FLOWER_KEY_CFM]
    if (!nest || keyProto(key) !== ETH_P_CFM) return
    forEachAttr(d, nest, nest + attrLen(d, nest), (type, o, len) => {
      if (type > TCA_FLOWER_KEY_CFM_OPCODE) throw new NetlinkError(EINVAL, 'Unknown attribute type', o)
      if (len < 1 || (type === TCA_FLOWER_KEY_CFM_MD_LEVEL && d.getUint8(o) > LEVEL_MAX))
        throw new NetlinkError(ERANGE, len < 1 ? POLICY_TEXT : 'integer out of range', o)
    })
    parseAttrs(d, nest, nest + attrLen(d, nest), cfmAttrs, TCA_FLOWER_KEY_CFM_OPCODE)
    const [level, opcode] = [cfmAttrs[TCA_FLOWER_KEY_CFM_MD_LEVEL], cfmAttrs[TCA_FLOWER_KEY_CFM_OPCODE]]
    if (opcode) {
      key[KEY_CFM_OPCODE] = d.getUint8(opcode)
      mask[KEY_CFM_OPCODE] = 0xff
    }
    if (level) {
      key[KEY_CFM_MDL] = d.getUint8(level) << 5
      mask[KEY_CFM_MDL] = LEVEL_BITS
    }
  },

  toAttributes(key, mask, b) {
    if (mask[KEY_CFM_MDL] === 0 && mask[KEY_CFM_OPCODE] === 0) return
    const nest = b.nest(TCA_FLOWER_KEY_CFM | NLA_F_NESTED)
    if (mask[KEY_CFM_MDL]) b.attrU8(TCA_FLOWER_KEY_CFM_MD_LEVEL, key[KEY_CFM_MDL] >> 5)
    if (mask[KEY_CFM_OPCODE]) b.attrU8(TCA_FLOWER_KEY_CFM_OPCODE, key[KEY_CFM_OPCODE])
    b.nestEnd(nest)
  },

  print(attrs, d, out) {
    const nest = attrs[TCA_FLOWER_KEY_CFM]
    if (!nest || !(attrRawType(d, nest) & NLA_F_NESTED)) return
    parseAttrs(d, nest, nest + attrLen(d, nest), cfmAttrs, TCA_FLOWER_KEY_CFM_OPCODE)
    const [level, opcode] = [cfmAttrs[TCA_FLOWER_KEY_CFM_MD_LEVEL], cfmAttrs[TCA_FLOWER_KEY_CFM_OPCODE]]
    out.nl()
    out.text('  cfm')
    out.openObject('cfm')
    if (level) out.num('mdl', ' mdl %u', d.getUint8(level))
    if (opcode) out.num('op', ' op %u', d.getUint8(opcode))
    out.closeObject()
  },
}
