// tcp_flags: the twelve flag bits of a TCP header, hexadecimal. With another ip_proto the kernel passes over it.

import { KEY_IP_PROTO, KEY_TCP_FLAGS } from '../memory/layout/flow_key.ts'
import { TCA_FLOWER_KEY_TCP_FLAGS, TCA_FLOWER_KEY_TCP_FLAGS_MASK } from '../wire/tca_flower.ts'
import { illegal, printName } from './masked_text.ts'
import { type MatchGroup, putKeyVal, setKeyVal } from './match.ts'

const ALL = 0xfff

export const tcpFlags: MatchGroup = {
  name: 'tcp_flags',
  keywords: ['tcp_flags'],
  attributes: [TCA_FLOWER_KEY_TCP_FLAGS],

  parse(_keyword, args, b) {
    const word = args.next()
    const slash = word.indexOf('/')
    const flags = args.number(slash < 0 ? word : word.slice(0, slash), 16, ALL)
    const mask = slash < 0 ? ALL : args.number(word.slice(slash + 1), 16, ALL)
    if (flags < 0 || mask < 0) throw illegal(args, 'tcp_flags')
    b.attrBe16(TCA_FLOWER_KEY_TCP_FLAGS, flags)
    b.attrBe16(TCA_FLOWER_KEY_TCP_FLAGS_MASK, mask)
    args.skip()
  },

  toKey(attrs, d, key, mask) {
    if (key[KEY_IP_PROTO] !== 6) return
    setKeyVal(attrs, d, key, mask, KEY_TCP_FLAGS, 2, TCA_FLOWER_KEY_TCP_FLAGS, TCA_FLOWER_KEY_TCP_FLAGS_MASK)
  },

  toAttributes(key, mask, b) {
    putKeyVal(key, mask, b, KEY_TCP_FLAGS, 2, TCA_FLOWER_KEY_TCP_FLAGS, TCA_FLOWER_KEY_TCP_FLAGS_MASK)
  },

  print(attrs, d, out) {
    const flags = attrs[TCA_FLOWER_KEY_TCP_FLAGS]
    const mask = attrs[TCA_FLOWER_KEY_TCP_FLAGS_MASK]
    if (!flags) return
    const text = `0x${d.getUint16(flags).toString(16)}`
    printName(out, 'tcp_flags', mask ? `${text}/${d.getUint16(mask).toString(16)}` : text)
  },
}
