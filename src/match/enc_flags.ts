// enc_flags: flags of the tunnel (`tuncsum/notundf`, …). Of kernels and a tc later than 6.1.

import { TUNNEL_CRIT_OPT, TUNNEL_CSUM, TUNNEL_DONT_FRAGMENT, TUNNEL_OAM } from '../memory/layout/action.ts'
import { KEY_ENC_FLAGS } from '../memory/layout/flow_key.ts'
import { EINVAL, NetlinkError } from '../wire/netlink_error.ts'
import {
  TCA_FLOWER_KEY_ENC_FLAGS,
  TCA_FLOWER_KEY_ENC_FLAGS_MASK,
  TCA_FLOWER_KEY_FLAGS_TUNNEL_CRIT_OPT,
  TCA_FLOWER_KEY_FLAGS_TUNNEL_CSUM,
  TCA_FLOWER_KEY_FLAGS_TUNNEL_DONT_FRAGMENT,
  TCA_FLOWER_KEY_FLAGS_TUNNEL_OAM,
} from '../wire/tca_flower.ts'
import { checkFlagsMask, type Flag, parseFlags, printFlags, toAttrBits, toKeyBits } from './flag_bits.ts'
import type { MatchGroup } from './match.ts'

const FLAGS: readonly Flag[] = [
  ['tuncsum', TCA_FLOWER_KEY_FLAGS_TUNNEL_CSUM, TUNNEL_CSUM],
  ['tundf', TCA_FLOWER_KEY_FLAGS_TUNNEL_DONT_FRAGMENT, TUNNEL_DONT_FRAGMENT],
  ['tunoam', TCA_FLOWER_KEY_FLAGS_TUNNEL_OAM, TUNNEL_OAM],
  ['tuncrit', TCA_FLOWER_KEY_FLAGS_TUNNEL_CRIT_OPT, TUNNEL_CRIT_OPT],
]
const ALL = FLAGS.reduce((all, [, bit]) => all | bit, 0)

const read = (bytes: Uint8Array): number => bytes[KEY_ENC_FLAGS] | (bytes[KEY_ENC_FLAGS + 1] << 8)
function write(bytes: Uint8Array, v: number): void {
  bytes[KEY_ENC_FLAGS] = v & 0xff
  bytes[KEY_ENC_FLAGS + 1] = v >> 8
}

export const encFlags: MatchGroup = {
  name: 'enc_flags',
  keywords: ['enc_flags'],
  attributes: [TCA_FLOWER_KEY_ENC_FLAGS],

  parse(keyword, args, _b, c) {
    args.next()
    parseFlags(args, keyword, FLAGS, (bit, on) => {
      c.encFlags = on ? c.encFlags | bit : c.encFlags & ~bit
      c.encFlagsMask |= bit
    })
    args.skip()
  },

  toKey(attrs, d, key, mask) {
    const [value, bits] = [attrs[TCA_FLOWER_KEY_ENC_FLAGS], attrs[TCA_FLOWER_KEY_ENC_FLAGS_MASK]]
    if (!value) return
    checkFlagsMask(bits)
    if ((d.getUint32(value) | d.getUint32(bits)) & ~ALL) throw new NetlinkError(EINVAL, 'reserved bit set', value)
    const keyBits = toKeyBits(FLAGS, d.getUint32(bits))
    write(key, toKeyBits(FLAGS, d.getUint32(value)) & keyBits)
    write(mask, keyBits)
  },

  toAttributes(key, mask, b) {
    const bits = toAttrBits(FLAGS, read(mask))
    if (bits === 0) return
    b.attrBe32(TCA_FLOWER_KEY_ENC_FLAGS, toAttrBits(FLAGS, read(key)) & bits)
    b.attrBe32(TCA_FLOWER_KEY_ENC_FLAGS_MASK, bits)
  },

  print(attrs, d, out) {
    printFlags(out, d, 'enc_flags', FLAGS, attrs[TCA_FLOWER_KEY_ENC_FLAGS], attrs[TCA_FLOWER_KEY_ENC_FLAGS_MASK])
  },
}
