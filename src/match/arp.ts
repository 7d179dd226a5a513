// arp_sip, arp_tip, arp_op, arp_sha, arp_tha: fields of an ARP or RARP packet for IPv4 over Ethernet.

import { KEY_ARP_OP, KEY_ARP_SHA, KEY_ARP_SIP, KEY_ARP_THA, KEY_ARP_TIP } from '../memory/layout/flow_key.ts'
import { AF_INET } from '../wire/rtm_route.ts'
import {
  TCA_FLOWER_KEY_ARP_OP,
  TCA_FLOWER_KEY_ARP_OP_MASK,
  TCA_FLOWER_KEY_ARP_SHA,
  TCA_FLOWER_KEY_ARP_SHA_MASK,
  TCA_FLOWER_KEY_ARP_SIP,
  TCA_FLOWER_KEY_ARP_SIP_MASK,
  TCA_FLOWER_KEY_ARP_THA,
  TCA_FLOWER_KEY_ARP_THA_MASK,
  TCA_FLOWER_KEY_ARP_TIP,
  TCA_FLOWER_KEY_ARP_TIP_MASK,
} from '../wire/tca_flower.ts'
import { illegal, parseIpMask, parseMacMask, parseMaskedU8, printIp, printMac, printU8 } from './masked_text.ts'
import { keyProto, type MatchGroup, putKeyVal, setKeyVal } from './match.ts'

const OPS: Readonly<Record<string, number>> = { request: 1, reply: 2 }
const isArp = (ethType: number): boolean => ethType === 0x0806 || ethType === 0x8035

export const arp: MatchGroup = {
  name: 'arp',
  keywords: ['arp_tip', 'arp_sip', 'arp_op', 'arp_tha', 'arp_sha'],
  attributes: [
    TCA_FLOWER_KEY_ARP_SIP,
    TCA_FLOWER_KEY_ARP_TIP,
    TCA_FLOWER_KEY_ARP_OP,
    TCA_FLOWER_KEY_ARP_SHA,
    TCA_FLOWER_KEY_ARP_THA,
  ],

  parse(keyword, args, b, c) {
    args.next()
    if (keyword === 'arp_tha') parseMacMask(args, b, keyword, TCA_FLOWER_KEY_ARP_THA, TCA_FLOWER_KEY_ARP_THA_MASK)
    else if (keyword === 'arp_sha') parseMacMask(args, b, keyword, TCA_FLOWER_KEY_ARP_SHA, TCA_FLOWER_KEY_ARP_SHA_MASK)
    else if (!isArp(c.ethType)) throw illegal(args, keyword)
    else if (keyword === 'arp_tip')
      parseIpMask(args, b, AF_INET, TCA_FLOWER_KEY_ARP_TIP, TCA_FLOWER_KEY_ARP_TIP_MASK, 0, 0)
    else if (keyword === 'arp_sip')
      parseIpMask(args, b, AF_INET, TCA_FLOWER_KEY_ARP_SIP, TCA_FLOWER_KEY_ARP_SIP_MASK, 0, 0)
    else {
      const named = (name: string): number => OPS[name] ?? -1
      if (!parseMaskedU8(args, b, TCA_FLOWER_KEY_ARP_OP, TCA_FLOWER_KEY_ARP_OP_MASK, named, (op) => op <= 2))
        throw illegal(args, keyword)
    }
    args.skip()
  },

  toKey(attrs, d, key, mask) {
    if (!isArp(keyProto(key))) return
    setKeyVal(attrs, d, key, mask, KEY_ARP_SIP, 4, TCA_FLOWER_KEY_ARP_SIP, TCA_FLOWER_KEY_ARP_SIP_MASK)
    setKeyVal(attrs, d, key, mask, KEY_ARP_TIP, 4, TCA_FLOWER_KEY_ARP_TIP, TCA_FLOWER_KEY_ARP_TIP_MASK)
    setKeyVal(attrs, d, key, mask, KEY_ARP_OP, 1, TCA_FLOWER_KEY_ARP_OP, TCA_FLOWER_KEY_ARP_OP_MASK)
    setKeyVal(attrs, d, key, mask, KEY_ARP_SHA, 6, TCA_FLOWER_KEY_ARP_SHA, TCA_FLOWER_KEY_ARP_SHA_MASK)
    setKeyVal(attrs, d, key, mask, KEY_ARP_THA, 6, TCA_FLOWER_KEY_ARP_THA, TCA_FLOWER_KEY_ARP_THA_MASK)
  },

  toAttributes(key, mask, b) {
    putKeyVal(key, mask, b, KEY_ARP_SIP, 4, TCA_FLOWER_KEY_ARP_SIP, TCA_FLOWER_KEY_ARP_SIP_MASK)
    putKeyVal(key, mask, b, KEY_ARP_TIP, 4, TCA_FLOWER_KEY_ARP_TIP, TCA_FLOWER_KEY_ARP_TIP_MASK)
    putKeyVal(key, mask, b, KEY_ARP_OP, 1, TCA_FLOWER_KEY_ARP_OP, TCA_FLOWER_KEY_ARP_OP_MASK)
    putKeyVal(key, mask, b, KEY_ARP_SHA, 6, TCA_FLOWER_KEY_ARP_SHA, TCA_FLOWER_KEY_ARP_SHA_MASK)
    putKeyVal(key, mask, b, KEY_ARP_THA, 6, TCA_FLOWER_KEY_ARP_THA, TCA_FLOWER_KEY_ARP_THA_MASK)
  },

  print(attrs, d, out) {
    printIp(out, d, 'arp_sip', 4, attrs[TCA_FLOWER_KEY_ARP_SIP], attrs[TCA_FLOWER_KEY_ARP_SIP_MASK])
    printIp(out, d, 'arp_tip', 4, attrs[TCA_FLOWER_KEY_ARP_TIP], attrs[TCA_FLOWER_KEY_ARP_TIP_MASK])
    const opName = (op: number): string => (op === 1 ? 'request' : op === 2 ? 'reply' : '')
    printU8(out, d, 'arp_op', attrs[TCA_FLOWER_KEY_ARP_OP], attrs[TCA_FLOWER_KEY_ARP_OP_MASK], opName)
    printMac(out, d, 'arp_sha', attrs[TCA_FLOWER_KEY_ARP_SHA], attrs[TCA_FLOWER_KEY_ARP_SHA_MASK])
    printMac(out, d, 'arp_tha', attrs[TCA_FLOWER_KEY_ARP_THA], attrs[TCA_FLOWER_KEY_ARP_THA_MASK])
  },
}
