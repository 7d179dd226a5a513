// spi: security parameter index of ESP and AH (RFC 4303, RFC 4302), hexadecimal. Of kernels and a tc later than 6.1.

import { KEY_IP_PROTO, KEY_SPI } from '../memory/layout/flow_key.ts'
import { EINVAL, NetlinkError } from '../wire/netlink_error.ts'
import { TCA_FLOWER_KEY_SPI, TCA_FLOWER_KEY_SPI_MASK } from '../wire/tca_flower.ts'
import { type MatchGroup, putKeyVal, setKeyVal } from './match.ts'

const IPPROTO_UDP = 17
const IPPROTO_ESP = 50
const IPPROTO_AH = 51

export const spi: MatchGroup = {
  name: 'spi',
  keywords: ['spi'],
  attributes: [TCA_FLOWER_KEY_SPI],

  parse(_keyword, args, b, c) {
    args.next()
    if (c.ipProto !== IPPROTO_UDP && c.ipProto !== IPPROTO_ESP && c.ipProto !== IPPROTO_AH)
      throw args.fail(`Can't set "spi" if ip_proto isn't ESP/UDP/AH`)
    const index = args.u32(16)
    if (index < 0) throw args.fail('Illegal "spi index"')
    b.attrBe32(TCA_FLOWER_KEY_SPI, index)
    b.attrBe32(TCA_FLOWER_KEY_SPI_MASK, 0xffffffff)
    args.skip()
  },

  toKey(attrs, d, key, mask) {
    if (!attrs[TCA_FLOWER_KEY_SPI]) return
    if (key[KEY_IP_PROTO] !== IPPROTO_ESP && key[KEY_IP_PROTO] !== IPPROTO_AH)
      throw new NetlinkError(EINVAL, 'Protocol must be either ESP or AH')
    setKeyVal(attrs, d, key, mask, KEY_SPI, 4, TCA_FLOWER_KEY_SPI, TCA_FLOWER_KEY_SPI_MASK)
  },

  toAttributes(key, mask, b) {
    putKeyVal(key, mask, b, KEY_SPI, 4, TCA_FLOWER_KEY_SPI, TCA_FLOWER_KEY_SPI_MASK)
  },

  print(attrs, d, out) {
    if (!attrs[TCA_FLOWER_KEY_SPI]) return
    out.nl()
    out.hex('spi', '  spi 0x%x', d.getUint32(attrs[TCA_FLOWER_KEY_SPI]))
  },
}
