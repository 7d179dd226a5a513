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
import { cfm } from './cfm.ts'
import { ct } from './ct.ts'
import { enc } from './enc.ts'
import { encFlags } from './enc_flags.ts'
import { encOpts } from './enc_opts.ts'
import { eth } from './eth.ts'
import { ethType } from './eth_type.ts'
import { hash } from './hash.ts'
import { icmp } from './icmp.ts'
import { indev } from './indev.ts'
import { ip } from './ip.ts'
import { ipAddr } from './ip_addr.ts'
import { ipFlags } from './ip_flags.ts'
import { l2Miss } from './l2_miss.ts'
import { l2tpv3 } from './l2tpv3.ts'
import type { FlowerContext, KeyExtra, MatchGroup } from './match.ts'
import { mpls } from './mpls.ts'
import { numOfVlans } from './num_of_vlans.ts'
import { MIN_LENGTH, NO_ATTRIBUTE } from './policy.ts'
import { portRange } from './port_range.ts'
import { ports } from './ports.ts'
import { pppoe } from './pppoe.ts'
import { spi } from './spi.ts'
import { tcpFlags } from './tcp_flags.ts'
import { vlan } from './vlan.ts'

/** The order of fl_set_key: later groups look at what earlier ones put into the key. */
const SET_ORDER: readonly MatchGroup[] = [
  indev,
  l2Miss,
  eth,
  numOfVlans,
  ethType,
  vlan,
  pppoe,
  ip,
  ipAddr,
  ports,
  tcpFlags,
  icmp,
  mpls,
  arp,
  l2tpv3,
  cfm,
  portRange,
  spi,
  enc,
  hash,
  encOpts,
  ct,
  ipFlags,
  encFlags,
]

/** The order of fl_dump_key. */
const DUMP_ORDER: readonly MatchGroup[] = [
  indev,
  l2Miss,
  eth,
  ethType,
  numOfVlans,
  mpls,
  vlan,
  ip,
  pppoe,
  ipAddr,
  ports,
  tcpFlags,
  icmp,
  arp,
  l2tpv3,
  spi,
  portRange,
  enc,
  encOpts,
  ct,
  ipFlags,
  hash,
  cfm,
  encFlags,
]

/** The order of flower_print_opt; indev stands outside of "keys". */
const PRINT_ORDER: readonly MatchGroup[] = [
  numOfVlans,
  vlan,
  eth,
  ethType,
  ip,
  mpls,
  ipAddr,
  ports,
  portRange,
  tcpFlags,
  icmp,
  l2tpv3,
  spi,
  arp,
  pppoe,
  enc,
  encOpts,
  ipFlags,
  encFlags,
  l2Miss,
  ct,
  cfm,
]

/**
 * The words in the order in which flower_parse_opt tries them, which decides what an abbreviation means; those with `=`
 * have none.
 */
const WORDS = `ip_flags =l2_miss ct_state ct_zone ct_mark ct_label indev =num_of_vlans
  vlan_id vlan_prio vlan_ethtype cvlan_id cvlan_prio cvlan_ethtype mpls mpls_label mpls_tc mpls_bos mpls_ttl
  dst_mac src_mac ip_proto ip_tos ip_ttl dst_ip src_ip dst_port src_port tcp_flags type code =l2tpv3_sid =spi
  arp_tip arp_sip arp_op arp_tha arp_sha =pppoe_sid =ppp_proto
  enc_dst_ip enc_src_ip enc_key_id enc_dst_port enc_tos enc_ttl geneve_opts vxlan_opts erspan_opts =gtp_opts
  =enc_flags =cfm`

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

/** For each attribute, the groups whose toKey it makes worth calling: bit i is SET_ORDER[i]. */
const GROUPS_OF = new Int32Array(Tca.TCA_FLOWER_MAX + 1)
for (const [i, group] of SET_ORDER.entries()) for (const type of group.attributes) GROUPS_OF[type] |= 1 << i

const attrs = new Int32Array(Tca.TCA_FLOWER_MAX + 1)

// Finds the attributes in [o, end) and gives the groups that they call for.
function findAttributes(d: DataView, o: number, end: number): number {
  for (let t = 0; t <= Tca.TCA_FLOWER_MAX; t++) attrs[t] = 0
  let groups = 0
  while (end - o >= NLA_HDRLEN) {
    const len = d.getUint16(o, true)
    if (len < NLA_HDRLEN || len > end - o) throw new NetlinkError(EINVAL, 'malformed attribute', o)
    const type = d.getUint16(o + 2, true) & NLA_TYPE_MASK
    if (type > Tca.TCA_FLOWER_MAX || MIN_LENGTH[type] === NO_ATTRIBUTE)
      throw new NetlinkError(EINVAL, `flowerbed: unknown flower attribute ${type}`, o)
    // fl_change parses without extended acks: `dst_ip any` is refused without a word.
    if (len - NLA_HDRLEN < MIN_LENGTH[type]) throw new NetlinkError(ERANGE, '', o)
    attrs[type] = o + NLA_HDRLEN
    groups |= GROUPS_OF[type]
    o += (len + 3) & ~3
  }
  return groups
}

/**
 * Turns the content of a flower filter's TCA_OPTIONS, the bytes [o, end) of the message, into key and mask (512 bytes
 * each, zero before) and what stands beside them. Throws NetlinkError: ERANGE for an attribute that is too short, EINVAL
 * for one that does not exist, and whatever the groups refuse.
 */
export function flowKey(d: DataView, o: number, end: number, key: Uint8Array, mask: Uint8Array, extra: KeyExtra): void {
  let groups = findAttributes(d, o, end)
  extra.srcPortMin = 0
  extra.srcPortMax = 0
  extra.dstPortMin = 0
  extra.dstPortMax = 0
  extra.classid = attrs[Tca.TCA_FLOWER_CLASSID] ? d.getUint32(attrs[Tca.TCA_FLOWER_CLASSID], true) : 0
  extra.flags = attrs[Tca.TCA_FLOWER_FLAGS] ? d.getUint32(attrs[Tca.TCA_FLOWER_FLAGS], true) : 0
  extra.act = attrs[Tca.TCA_FLOWER_ACT]
  while (groups !== 0) {
    const i = 31 - Math.clz32(groups & -groups)
    groups &= groups - 1
    SET_ORDER[i].toKey(attrs, d, key, mask, extra)
  }
}

/** Writes the attributes that say `key` (as flowKey made it, not masked) and `mask`. */
export function flowKeyAttributes(key: Uint8Array, mask: Uint8Array, extra: KeyExtra, b: Builder): void {
  for (const group of DUMP_ORDER) group.toAttributes(key, mask, b, extra)
}
