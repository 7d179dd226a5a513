// enc_dst_ip, enc_src_ip, enc_key_id, enc_dst_port, enc_tos, enc_ttl: the tunnel that a packet came out of, or that
// tunnel_key set. tc 6.1 has no word for the outer source port and for masks of ports; the kernel takes both.
//
// As with ip_addr: a rule with an address asks for its family, and a rule whose only address has no bits never matches.
// IPv4 and IPv6 addresses share their bytes in the kernel; of a rule with both, the IPv6 ones are laid over the others.

import {
  ADDR_TYPE_IPV4,
  ADDR_TYPE_IPV6,
  KEY_ENC_ADDR_TYPE,
  KEY_ENC_IPV4_DST,
  KEY_ENC_IPV4_SRC,
  KEY_ENC_IPV6_DST,
  KEY_ENC_IPV6_SRC,
  KEY_ENC_KEY_ID,
  KEY_ENC_PORT_DST,
  KEY_ENC_PORT_SRC,
  KEY_ENC_TOS,
  KEY_ENC_TTL,
} from '../memory/layout/flow_key.ts'
import { AF_UNSPEC } from '../wire/rtm_route.ts'
import {
  TCA_FLOWER_KEY_ENC_IP_TOS,
  TCA_FLOWER_KEY_ENC_IP_TOS_MASK,
  TCA_FLOWER_KEY_ENC_IP_TTL,
  TCA_FLOWER_KEY_ENC_IP_TTL_MASK,
  TCA_FLOWER_KEY_ENC_IPV4_DST,
  TCA_FLOWER_KEY_ENC_IPV4_DST_MASK,
  TCA_FLOWER_KEY_ENC_IPV4_SRC,
  TCA_FLOWER_KEY_ENC_IPV4_SRC_MASK,
  TCA_FLOWER_KEY_ENC_IPV6_DST,
  TCA_FLOWER_KEY_ENC_IPV6_DST_MASK,
  TCA_FLOWER_KEY_ENC_IPV6_SRC,
  TCA_FLOWER_KEY_ENC_IPV6_SRC_MASK,
  TCA_FLOWER_KEY_ENC_KEY_ID,
  TCA_FLOWER_KEY_ENC_UDP_DST_PORT,
  TCA_FLOWER_KEY_ENC_UDP_DST_PORT_MASK,
  TCA_FLOWER_KEY_ENC_UDP_SRC_PORT,
  TCA_FLOWER_KEY_ENC_UDP_SRC_PORT_MASK,
} from '../wire/tca_flower.ts'
import { illegal, parseIpMask, parseTosTtl, printIp, printMaskedBe16, printMaskedU8 } from './masked_text.ts'
import { isSet, type MatchGroup, putKeyVal, setKeyVal } from './match.ts'

/** No packet has this address type. */
const ADDR_TYPE_NEVER = 0xff

function setAddresses(attrs: Int32Array, d: DataView, key: Uint8Array, mask: Uint8Array): void {
  const v4 = attrs[TCA_FLOWER_KEY_ENC_IPV4_SRC] | attrs[TCA_FLOWER_KEY_ENC_IPV4_DST]
  const v6 = attrs[TCA_FLOWER_KEY_ENC_IPV6_SRC] | attrs[TCA_FLOWER_KEY_ENC_IPV6_DST]
  if ((v4 | v6) === 0) return
  if (v4) {
    const src = v6 ? KEY_ENC_IPV6_SRC : KEY_ENC_IPV4_SRC
    const dst = v6 ? KEY_ENC_IPV6_SRC + 4 : KEY_ENC_IPV4_DST
    setKeyVal(attrs, d, key, mask, src, 4, TCA_FLOWER_KEY_ENC_IPV4_SRC, TCA_FLOWER_KEY_ENC_IPV4_SRC_MASK)
    setKeyVal(attrs, d, key, mask, dst, 4, TCA_FLOWER_KEY_ENC_IPV4_DST, TCA_FLOWER_KEY_ENC_IPV4_DST_MASK)
  }
  if (v6) {
    setKeyVal(attrs, d, key, mask, KEY_ENC_IPV6_SRC, 16, TCA_FLOWER_KEY_ENC_IPV6_SRC, TCA_FLOWER_KEY_ENC_IPV6_SRC_MASK)
    setKeyVal(attrs, d, key, mask, KEY_ENC_IPV6_DST, 16, TCA_FLOWER_KEY_ENC_IPV6_DST, TCA_FLOWER_KEY_ENC_IPV6_DST_MASK)
  }
  const looked = v6 ? isSet(mask, KEY_ENC_IPV6_SRC, 32) : isSet(mask, KEY_ENC_IPV4_SRC, 8)
  key[KEY_ENC_ADDR_TYPE] = looked ? (v6 ? ADDR_TYPE_IPV6 : ADDR_TYPE_IPV4) : ADDR_TYPE_NEVER
  mask[KEY_ENC_ADDR_TYPE] = 0xff
}

export const enc: MatchGroup = {
  name: 'enc',
  keywords: ['enc_dst_ip', 'enc_src_ip', 'enc_key_id', 'enc_dst_port', 'enc_tos', 'enc_ttl'],
  attributes: [
    TCA_FLOWER_KEY_ENC_IPV4_SRC,
    TCA_FLOWER_KEY_ENC_IPV4_DST,
    TCA_FLOWER_KEY_ENC_IPV6_SRC,
    TCA_FLOWER_KEY_ENC_IPV6_DST,
    TCA_FLOWER_KEY_ENC_KEY_ID,
    TCA_FLOWER_KEY_ENC_UDP_SRC_PORT,
    TCA_FLOWER_KEY_ENC_UDP_DST_PORT,
    TCA_FLOWER_KEY_ENC_IP_TOS,
    TCA_FLOWER_KEY_ENC_IP_TTL,
  ],

  parse(keyword, args, b) {
    args.next()
    let ok = true
    if (keyword === 'enc_dst_ip')
      parseIpMask(
        args,
        b,
        AF_UNSPEC,
        TCA_FLOWER_KEY_ENC_IPV4_DST,
        TCA_FLOWER_KEY_ENC_IPV4_DST_MASK,
        TCA_FLOWER_KEY_ENC_IPV6_DST,
        TCA_FLOWER_KEY_ENC_IPV6_DST_MASK,
      )
    else if (keyword === 'enc_src_ip')
      parseIpMask(
        args,
        b,
        AF_UNSPEC,
        TCA_FLOWER_KEY_ENC_IPV4_SRC,
        TCA_FLOWER_KEY_ENC_IPV4_SRC_MASK,
        TCA_FLOWER_KEY_ENC_IPV6_SRC,
        TCA_FLOWER_KEY_ENC_IPV6_SRC_MASK,
      )
    else if (keyword === 'enc_key_id') {
      const id = args.u32(10)
      ok = id >= 0
      if (ok) b.attrBe32(TCA_FLOWER_KEY_ENC_KEY_ID, id)
    } else if (keyword === 'enc_dst_port') {
      const port = args.u16(10)
      ok = port >= 0
      if (ok) b.attrBe16(TCA_FLOWER_KEY_ENC_UDP_DST_PORT, port)
    } else if (keyword === 'enc_tos')
      ok = parseTosTtl(args, b, TCA_FLOWER_KEY_ENC_IP_TOS, TCA_FLOWER_KEY_ENC_IP_TOS_MASK)
    else ok = parseTosTtl(args, b, TCA_FLOWER_KEY_ENC_IP_TTL, TCA_FLOWER_KEY_ENC_IP_TTL_MASK)
    if (!ok) throw illegal(args, keyword)
    args.skip()
  },

  toKey(attrs, d, key, mask) {
    setAddresses(attrs, d, key, mask)
    setKeyVal(attrs, d, key, mask, KEY_ENC_KEY_ID, 4, TCA_FLOWER_KEY_ENC_KEY_ID, 0)
    setKeyVal(
      attrs,
      d,
      key,
      mask,
      KEY_ENC_PORT_SRC,
      2,
      TCA_FLOWER_KEY_ENC_UDP_SRC_PORT,
      TCA_FLOWER_KEY_ENC_UDP_SRC_PORT_MASK,
    )
    setKeyVal(
      attrs,
      d,
      key,
      mask,
      KEY_ENC_PORT_DST,
      2,
      TCA_FLOWER_KEY_ENC_UDP_DST_PORT,
      TCA_FLOWER_KEY_ENC_UDP_DST_PORT_MASK,
    )
    setKeyVal(attrs, d, key, mask, KEY_ENC_TOS, 1, TCA_FLOWER_KEY_ENC_IP_TOS, TCA_FLOWER_KEY_ENC_IP_TOS_MASK)
    setKeyVal(attrs, d, key, mask, KEY_ENC_TTL, 1, TCA_FLOWER_KEY_ENC_IP_TTL, TCA_FLOWER_KEY_ENC_IP_TTL_MASK)
  },

  toAttributes(key, mask, b) {
    putKeyVal(key, mask, b, KEY_ENC_IPV4_SRC, 4, TCA_FLOWER_KEY_ENC_IPV4_SRC, TCA_FLOWER_KEY_ENC_IPV4_SRC_MASK)
    putKeyVal(key, mask, b, KEY_ENC_IPV4_DST, 4, TCA_FLOWER_KEY_ENC_IPV4_DST, TCA_FLOWER_KEY_ENC_IPV4_DST_MASK)
    putKeyVal(key, mask, b, KEY_ENC_IPV6_SRC, 16, TCA_FLOWER_KEY_ENC_IPV6_SRC, TCA_FLOWER_KEY_ENC_IPV6_SRC_MASK)
    putKeyVal(key, mask, b, KEY_ENC_IPV6_DST, 16, TCA_FLOWER_KEY_ENC_IPV6_DST, TCA_FLOWER_KEY_ENC_IPV6_DST_MASK)
    putKeyVal(key, mask, b, KEY_ENC_KEY_ID, 4, TCA_FLOWER_KEY_ENC_KEY_ID, 0)
    putKeyVal(key, mask, b, KEY_ENC_PORT_SRC, 2, TCA_FLOWER_KEY_ENC_UDP_SRC_PORT, TCA_FLOWER_KEY_ENC_UDP_SRC_PORT_MASK)
    putKeyVal(key, mask, b, KEY_ENC_PORT_DST, 2, TCA_FLOWER_KEY_ENC_UDP_DST_PORT, TCA_FLOWER_KEY_ENC_UDP_DST_PORT_MASK)
    putKeyVal(key, mask, b, KEY_ENC_TOS, 1, TCA_FLOWER_KEY_ENC_IP_TOS, TCA_FLOWER_KEY_ENC_IP_TOS_MASK)
    putKeyVal(key, mask, b, KEY_ENC_TTL, 1, TCA_FLOWER_KEY_ENC_IP_TTL, TCA_FLOWER_KEY_ENC_IP_TTL_MASK)
  },

  print(attrs, d, out) {
    if (attrs[TCA_FLOWER_KEY_ENC_IPV4_DST_MASK])
      printIp(out, d, 'enc_dst_ip', 4, attrs[TCA_FLOWER_KEY_ENC_IPV4_DST], attrs[TCA_FLOWER_KEY_ENC_IPV4_DST_MASK])
    else printIp(out, d, 'enc_dst_ip', 16, attrs[TCA_FLOWER_KEY_ENC_IPV6_DST], attrs[TCA_FLOWER_KEY_ENC_IPV6_DST_MASK])
    if (attrs[TCA_FLOWER_KEY_ENC_IPV4_SRC_MASK])
      printIp(out, d, 'enc_src_ip', 4, attrs[TCA_FLOWER_KEY_ENC_IPV4_SRC], attrs[TCA_FLOWER_KEY_ENC_IPV4_SRC_MASK])
    else printIp(out, d, 'enc_src_ip', 16, attrs[TCA_FLOWER_KEY_ENC_IPV6_SRC], attrs[TCA_FLOWER_KEY_ENC_IPV6_SRC_MASK])
    if (attrs[TCA_FLOWER_KEY_ENC_KEY_ID]) {
      out.nl()
      out.text('  ')
      out.nameNum('enc_key_id', d.getUint32(attrs[TCA_FLOWER_KEY_ENC_KEY_ID]))
    }
    printMaskedBe16(
      out,
      d,
      'enc_dst_port',
      attrs[TCA_FLOWER_KEY_ENC_UDP_DST_PORT],
      attrs[TCA_FLOWER_KEY_ENC_UDP_DST_PORT_MASK],
    )
    printMaskedU8(out, d, 'enc_tos', attrs[TCA_FLOWER_KEY_ENC_IP_TOS], attrs[TCA_FLOWER_KEY_ENC_IP_TOS_MASK])
    printMaskedU8(out, d, 'enc_ttl', attrs[TCA_FLOWER_KEY_ENC_IP_TTL], attrs[TCA_FLOWER_KEY_ENC_IP_TTL_MASK])
  },
}
