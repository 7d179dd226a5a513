// Every key group, and the orders in which they take their turn.
//
// flowKey and flowKeyAttributes are what the filter table calls; parseKey and printKeys are what the command line calls.
// A rule with a 5-tuple costs about half a microsecond here. Each thread has its own scratch.

import type { Args } from '../tc/args.ts'
import type { Printer } from '../tc/printer.ts'
import { type Builder, NLA_HDRLEN, NLA_TYPE_MASK } from '../wire/netlink.ts'
import { EINVAL, ERANGE, NetlinkError } from '../wire/netlink_error.ts'
import * as Tca from '../wire/tca_flower.ts'
import { arp } from './arp.ts'
import { enc } from './enc.ts'
import { eth } from './eth.ts'
import { ethType } from './eth_type.ts'
import { icmp } from './icmp.ts'
import { indev } from './indev.ts'
import { ip } from './ip.ts'
import { ipAddr } from './ip_addr.ts'
import { ipFlags } from './ip_flags.ts'
import type { FlowerContext, KeyExtra, MatchGroup } from './match.ts'
import { numOfVlans } from './num_of_vlans.ts'
import { portRange } from './port_range.ts'
import { ports } from './ports.ts'
import { tcpFlags } from './tcp_flags.ts'
import { vlan } from './vlan.ts'

/** The order of fl_set_key: later groups look at what earlier ones put into the key. */
const SET_ORDER: readonly MatchGroup[] = [
  indev,
  eth,
  numOfVlans,
  ethType,
  vlan,
  ip,
  ipAddr,
  ports,
  tcpFlags,
  icmp,
  arp,
  portRange,
  enc,
  ipFlags,
]

/** The order of fl_dump_key. */
const DUMP_ORDER: readonly MatchGroup[] = [
  indev,
  eth,
  ethType,
  numOfVlans,
  vlan,
  ip,
  ipAddr,
  ports,
  tcpFlags,
  icmp,
  arp,
  portRange,
  enc,
  ipFlags,
]

/** The order of flower_print_opt; indev stands outside of "keys". */
const PRINT_ORDER: readonly MatchGroup[] = [
  numOfVlans,
  vlan,
  eth,
  ethType,
  ip,
  ipAddr,
  ports,
  portRange,
  tcpFlags,
  icmp,
  arp,
  enc,
  ipFlags,
]

/**
 * The words in the order in which flower_parse_opt tries them, which decides what an abbreviation means; those with `=`
 * have none.
 */
const WORDS = `ip_flags indev =num_of_vlans vlan_id vlan_prio vlan_ethtype cvlan_id cvlan_prio cvlan_ethtype
  dst_mac src_mac ip_proto ip_tos ip_ttl dst_ip src_ip dst_port src_port tcp_flags type code
  arp_tip arp_sip arp_op arp_tha arp_sha enc_dst_ip enc_src_ip enc_key_id enc_dst_port enc_tos enc_ttl`

interface Keyword {
  readonly word: string
  readonly exact: boolean
  readonly group: MatchGroup
}

const owners = new Map<string, MatchGroup>()
for (const group of SET_ORDER) for (const word of group.keywords) owners.set(word, group)

const KEYWORDS: readonly Keyword[] = WORDS.split(/\s+/).map((w) => {
  const exact = w.startsWith('=')
  const word = exact ? w.slice(1) : w
  return { word, exact, group: owners.get(word)! }
})
const EXACT = new Map(KEYWORDS.map((k) => [k.word, k]))

/** The groups, for tests and for whoever lists them. */
export const matchGroups: readonly MatchGroup[] = SET_ORDER

/** The keyword that a word means among `from`…, -1 behind the last; used by flower.ts, which has words of its own. */
export function findKeyword(word: string): Keyword | undefined {
  const exact = EXACT.get(word)
  if (exact) return exact
  for (const k of KEYWORDS) if (!k.exact && k.word.startsWith(word)) return k
  return undefined
}

/** Reads one key and its value; false when the current word is none. */
export function parseKey(args: Args, b: Builder, c: FlowerContext): boolean {
  const k = findKeyword(args.word)
  if (!k) return false
  k.group.parse(k.word, args, b, c)
  return true
}

/** Prints the keys; `attrs` as parseAttrs leaves them. */
export function printKeys(attrs: Int32Array, d: DataView, out: Printer): void {
  if (attrs[Tca.TCA_FLOWER_INDEV]) indev.print(attrs, d, out)
  out.openObject('keys')
  for (const group of PRINT_ORDER) group.print(attrs, d, out)
  out.closeObject()
}

// ---- kernel halves

/** fl_policy: least length of each attribute; 0xff: no such attribute. */
const MIN_LENGTH = new Uint8Array(Tca.TCA_FLOWER_MAX + 1).fill(0xff)
function lengths(len: number, ...types: number[]): void {
  for (const type of types) MIN_LENGTH[type] = len
}

// biome-ignore format: a table
{
  lengths(0, Tca.TCA_FLOWER_UNSPEC, Tca.TCA_FLOWER_INDEV, Tca.TCA_FLOWER_ACT)
  lengths(4, Tca.TCA_FLOWER_CLASSID, Tca.TCA_FLOWER_FLAGS)
  for (let t = Tca.TCA_FLOWER_KEY_ETH_DST; t <= Tca.TCA_FLOWER_KEY_ETH_SRC_MASK; t++) lengths(6, t)
  lengths(2, Tca.TCA_FLOWER_KEY_ETH_TYPE)
  lengths(1, Tca.TCA_FLOWER_KEY_IP_PROTO)
  for (let t = Tca.TCA_FLOWER_KEY_IPV4_SRC; t <= Tca.TCA_FLOWER_KEY_IPV4_DST_MASK; t++) lengths(4, t)
  for (let t = Tca.TCA_FLOWER_KEY_IPV6_SRC; t <= Tca.TCA_FLOWER_KEY_IPV6_DST_MASK; t++) lengths(16, t)
  for (let t = Tca.TCA_FLOWER_KEY_TCP_SRC; t <= Tca.TCA_FLOWER_KEY_UDP_DST; t++) lengths(2, t)
  lengths(2, Tca.TCA_FLOWER_KEY_VLAN_ID, Tca.TCA_FLOWER_KEY_VLAN_ETH_TYPE)
  lengths(1, Tca.TCA_FLOWER_KEY_VLAN_PRIO, Tca.TCA_FLOWER_KEY_CVLAN_PRIO, Tca.TCA_FLOWER_KEY_NUM_OF_VLANS)
  lengths(2, Tca.TCA_FLOWER_KEY_CVLAN_ID, Tca.TCA_FLOWER_KEY_CVLAN_ETH_TYPE)
  lengths(4, Tca.TCA_FLOWER_KEY_ENC_KEY_ID)
  for (let t = Tca.TCA_FLOWER_KEY_ENC_IPV4_SRC; t <= Tca.TCA_FLOWER_KEY_ENC_IPV4_DST_MASK; t++) lengths(4, t)
  for (let t = Tca.TCA_FLOWER_KEY_ENC_IPV6_SRC; t <= Tca.TCA_FLOWER_KEY_ENC_IPV6_DST_MASK; t++) lengths(16, t)
  for (let t = Tca.TCA_FLOWER_KEY_TCP_SRC_MASK; t <= Tca.TCA_FLOWER_KEY_ENC_UDP_DST_PORT_MASK; t++) lengths(2, t)
  lengths(4, Tca.TCA_FLOWER_KEY_FLAGS, Tca.TCA_FLOWER_KEY_FLAGS_MASK)
  for (let t = Tca.TCA_FLOWER_KEY_ICMPV4_CODE; t <= Tca.TCA_FLOWER_KEY_ICMPV6_TYPE_MASK; t++) lengths(1, t)
  for (let t = Tca.TCA_FLOWER_KEY_ARP_SIP; t <= Tca.TCA_FLOWER_KEY_ARP_TIP_MASK; t++) lengths(4, t)
  lengths(1, Tca.TCA_FLOWER_KEY_ARP_OP, Tca.TCA_FLOWER_KEY_ARP_OP_MASK)
  for (let t = Tca.TCA_FLOWER_KEY_ARP_SHA; t <= Tca.TCA_FLOWER_KEY_ARP_THA_MASK; t++) lengths(6, t)
  lengths(2, Tca.TCA_FLOWER_KEY_TCP_FLAGS, Tca.TCA_FLOWER_KEY_TCP_FLAGS_MASK)
  for (let t = Tca.TCA_FLOWER_KEY_IP_TOS; t <= Tca.TCA_FLOWER_KEY_IP_TTL_MASK; t++) lengths(1, t)
  for (let t = Tca.TCA_FLOWER_KEY_ENC_IP_TOS; t <= Tca.TCA_FLOWER_KEY_ENC_IP_TTL_MASK; t++) lengths(1, t)
  for (let t = Tca.TCA_FLOWER_KEY_PORT_SRC_MIN; t <= Tca.TCA_FLOWER_KEY_PORT_DST_MAX; t++) lengths(2, t)
}

const attrs = new Int32Array(Tca.TCA_FLOWER_MAX + 1)

/**
 * Turns the content of a flower filter's TCA_OPTIONS, the bytes [o, end) of the message, into key and mask (512 bytes
 * each, overwritten) and what stands beside them. Throws NetlinkError: ERANGE for an attribute that is too short, EINVAL
 * for one that does not exist, and whatever the groups refuse.
 */
export function flowKey(d: DataView, o: number, end: number, key: Uint8Array, mask: Uint8Array, extra: KeyExtra): void {
  attrs.fill(0)
  while (end - o >= NLA_HDRLEN) {
    const len = d.getUint16(o, true)
    if (len < NLA_HDRLEN || len > end - o) throw new NetlinkError(EINVAL, 'malformed attribute', o)
    const type = d.getUint16(o + 2, true) & NLA_TYPE_MASK
    if (type > Tca.TCA_FLOWER_MAX || MIN_LENGTH[type] === 0xff)
      throw new NetlinkError(EINVAL, `flowerbed: unknown flower attribute ${type}`, o)
    if (len - NLA_HDRLEN < MIN_LENGTH[type]) throw new NetlinkError(ERANGE, '', o)
    attrs[type] = o + NLA_HDRLEN
    o += (len + 3) & ~3
  }
  key.fill(0)
  mask.fill(0)
  extra.srcPortMin = 0
  extra.srcPortMax = 0
  extra.dstPortMin = 0
  extra.dstPortMax = 0
  extra.classid = attrs[Tca.TCA_FLOWER_CLASSID] ? d.getUint32(attrs[Tca.TCA_FLOWER_CLASSID], true) : 0
  extra.flags = attrs[Tca.TCA_FLOWER_FLAGS] ? d.getUint32(attrs[Tca.TCA_FLOWER_FLAGS], true) : 0
  extra.act = attrs[Tca.TCA_FLOWER_ACT]
  for (const group of SET_ORDER) group.toKey(attrs, d, key, mask, extra)
}

/** Writes the attributes that say `key` (as flowKey made it, not masked) and `mask`. */
export function flowKeyAttributes(key: Uint8Array, mask: Uint8Array, extra: KeyExtra, b: Builder): void {
  for (const group of DUMP_ORDER) group.toAttributes(key, mask, b, extra)
}
