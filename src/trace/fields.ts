// The fields of the flow key under their tc keywords, and the first of them in which a packet is not what a flow asks for.
//
// The order is that in which a reader looks at a packet: where it came from, outside in. Values are printed as tc takes
// them; a mask that is not whole stands behind a slash. Bytes are as in memory/layout/flow_key.ts.

import * as K from '../memory/layout/flow_key.ts'
import { formatInet, formatMac } from '../tc/address_text.ts'

type Kind = 'number' | 'host' | 'hex' | 'mac' | 'ip' | 'named' | 'states'

interface Field {
  readonly keyword: string
  readonly at: number
  readonly bytes: number
  readonly kind: Kind
  /** Bits of it that the keyword is about, where the bytes hold more: they are shifted down for showing. */
  readonly bits?: number
}

const f = (keyword: string, at: number, bytes: number, kind: Kind = 'number', bits?: number): Field => ({
  keyword,
  at,
  bytes,
  kind,
  bits,
})

const FIELDS: readonly Field[] = [
  f('indev', K.KEY_INDEV, 4, 'host'),
  f('l2_miss', K.KEY_L2_MISS, 1),
  f('enc_key_id', K.KEY_ENC_KEY_ID, 4),
  f('enc_addr_type', K.KEY_ENC_ADDR_TYPE, 1),
  f('enc_dst_ip', K.KEY_ENC_IPV4_DST, 4, 'ip'),
  f('enc_src_ip', K.KEY_ENC_IPV4_SRC, 4, 'ip'),
  f('enc_dst_ip', K.KEY_ENC_IPV6_DST, 16, 'ip'),
  f('enc_src_ip', K.KEY_ENC_IPV6_SRC, 16, 'ip'),
  f('enc_dst_port', K.KEY_ENC_PORT_DST, 2),
  f('enc_src_port', K.KEY_ENC_PORT_SRC, 2),
  f('enc_tos', K.KEY_ENC_TOS, 1, 'hex'),
  f('enc_ttl', K.KEY_ENC_TTL, 1),
  f('enc_flags', K.KEY_ENC_FLAGS, 4, 'hex'),
  f('enc_opts', K.KEY_ENC_OPTS_KIND, 2, 'hex'),
  f('enc_opts', K.KEY_ENC_OPTS, K.KEY_SIZE_OPTS - K.KEY_ENC_OPTS, 'hex'),
  f('dst_mac', K.KEY_ETH_DST, 6, 'mac'),
  f('src_mac', K.KEY_ETH_SRC, 6, 'mac'),
  f('num_of_vlans', K.KEY_NUM_OF_VLANS, 1),
  f('vlan_tpid', K.KEY_VLAN_TPID, 2, 'hex'),
  f('vlan_id', K.KEY_VLAN_TCI, 2, 'number', 0x0fff),
  f('vlan_prio', K.KEY_VLAN_TCI, 2, 'number', 0xe000),
  f('vlan_ethtype', K.KEY_VLAN_ETH_TYPE, 2, 'hex'),
  f('cvlan_tpid', K.KEY_CVLAN_TPID, 2, 'hex'),
  f('cvlan_id', K.KEY_CVLAN_TCI, 2, 'number', 0x0fff),
  f('cvlan_prio', K.KEY_CVLAN_TCI, 2, 'number', 0xe000),
  f('cvlan_ethtype', K.KEY_CVLAN_ETH_TYPE, 2, 'hex'),
  f('eth_type', K.KEY_N_PROTO, 2, 'named'),
  f('pppoe_sid', K.KEY_PPPOE_SID, 2),
  f('ppp_proto', K.KEY_PPP_PROTO, 2, 'hex'),
  f('pppoe_type', K.KEY_PPPOE_TYPE, 2, 'hex'),
  f('mpls', K.KEY_MPLS_USED, 1, 'hex'),
  f('mpls', K.KEY_MPLS_LSE, 28, 'hex'),
  f('ip version', K.KEY_FLAGS, 1, 'hex', K.FLOW_ADDR_IPV4 | K.FLOW_ADDR_IPV6),
  f('ip_flags', K.KEY_FLAGS, 1, 'hex', K.FLOW_IS_FRAGMENT | K.FLOW_FIRST_FRAG),
  f('ip_proto', K.KEY_IP_PROTO, 1, 'named'),
  f('ip_tos', K.KEY_IP_TOS, 1, 'hex'),
  f('ip_ttl', K.KEY_IP_TTL, 1),
  f('dst_ip', K.KEY_IPV4_DST, 4, 'ip'),
  f('src_ip', K.KEY_IPV4_SRC, 4, 'ip'),
  f('dst_ip', K.KEY_IPV6_DST, 16, 'ip'),
  f('src_ip', K.KEY_IPV6_SRC, 16, 'ip'),
  f('dst_port', K.KEY_PORT_DST, 2),
  f('src_port', K.KEY_PORT_SRC, 2),
  f('tcp_flags', K.KEY_TCP_FLAGS, 2, 'hex'),
  f('type', K.KEY_ICMP_TYPE, 1),
  f('code', K.KEY_ICMP_CODE, 1),
  f('arp_op', K.KEY_ARP_OP, 1),
  f('arp_tip', K.KEY_ARP_TIP, 4, 'ip'),
  f('arp_sip', K.KEY_ARP_SIP, 4, 'ip'),
  f('arp_tha', K.KEY_ARP_THA, 6, 'mac'),
  f('arp_sha', K.KEY_ARP_SHA, 6, 'mac'),
  f('l2tpv3_sid', K.KEY_L2TPV3_SID, 4),
  f('spi', K.KEY_SPI, 4, 'hex'),
  f('cfm mdl', K.KEY_CFM_MDL, 1),
  f('cfm op', K.KEY_CFM_OPCODE, 1),
  f('ct_state', K.KEY_CT_STATE, 2, 'states'),
  f('ct_zone', K.KEY_CT_ZONE, 2, 'host'),
  f('ct_mark', K.KEY_CT_MARK, 4, 'host'),
  f('ct_label', K.KEY_CT_LABELS, 16, 'hex'),
  f('hash', K.KEY_HASH, 4, 'host'),
]

/** What a rule asks for, and what the packet has. */
export interface Difference {
  readonly keyword: string
  readonly wants: string
  readonly has: string
}

/** As tc names them. */
const NAMES: Record<string, Record<number, string>> = {
  eth_type: { 2048: 'ipv4', 34525: 'ipv6', 2054: 'arp' },
  ip_proto: { 1: 'icmp', 6: 'tcp', 17: 'udp', 58: 'icmpv6', 132: 'sctp' },
}

const shift = (bits: number): number => 31 - Math.clz32(bits & -bits)
const prefixWords: Record<number, string> = {
  [K.FLOW_ADDR_IPV4]: 'IPv4',
  [K.FLOW_ADDR_IPV6]: 'IPv6',
  0: 'no IP header',
}

/** ct_state as tc takes it: the bits of TCA_FLOWER_KEY_CT_FLAGS_* that `mask` has. */
const STATES = { trk: 8, new: 1, est: 2, rel: 4, inv: 16, rpl: 32 }
const statesText = (bits: number, mask: number): string =>
  Object.entries(STATES)
    .map(([name, bit]) => (mask & bit ? `${bits & bit ? '+' : '-'}${name}` : ''))
    .join('')

/** A value as tc would take it; `mask`: the bits that matter, where a field is nothing but bits. */
function value(field: Field, b: Uint8Array, mask?: Uint8Array): string {
  const { at, bytes, kind, bits } = field
  if (kind === 'states') return statesText(b[at], mask === undefined ? b[at] : mask[at]) || '-trk'
  if (kind === 'ip') return formatInet(b.subarray(at, at + bytes), bytes)
  if (kind === 'mac') return formatMac(b, at)
  if (field.keyword === 'ip version') return prefixWords[b[at] & bits!] ?? 'IPv4 and IPv6'
  if (kind === 'hex' && bytes > 4) return `0x${hex(b, at, used(b, at, bytes))}`
  let n = 0
  for (let i = 0; i < bytes; i++) n = n * 256 + b[kind === 'host' ? at + bytes - 1 - i : at + i]
  if (bits !== undefined) n = (n & bits) >>> shift(bits)
  if (kind === 'named') return NAMES[field.keyword][n] ?? (bytes === 1 ? String(n) : `0x${n.toString(16)}`)
  return kind === 'hex' ? `0x${n.toString(16)}` : String(n)
}

const hex = (b: Uint8Array, at: number, n: number): string => Buffer.from(b.subarray(at, at + n)).toString('hex')
/** Bytes up to the last that is not zero, four at least. */
function used(b: Uint8Array, at: number, n: number): number {
  while (n > 4 && b[at + n - 1] === 0) n--
  return n
}

/** The mask bits that belong to the field. */
function maskOf(field: Field, mask: Uint8Array): Uint8Array {
  const m = mask.slice(field.at, field.at + field.bytes)
  if (field.bits !== undefined) {
    const width = field.bytes === 2 ? [field.bits >> 8, field.bits & 255] : [field.bits]
    for (let i = 0; i < m.length; i++) m[i] &= width[i]
  }
  return m
}

const isWhole = (field: Field, m: Uint8Array): boolean =>
  field.bits === undefined ? m.every((x) => x === 255) : (field.bytes === 2 ? (m[0] << 8) | m[1] : m[0]) === field.bits

function maskText(field: Field, m: Uint8Array): string {
  const bits = [...m].map((x) => x.toString(2).padStart(8, '0')).join('')
  if (field.kind === 'ip' && /^1*0*$/.test(bits)) return `/${bits.indexOf('0') < 0 ? bits.length : bits.indexOf('0')}`
  if (field.keyword === 'ip version' || field.kind === 'states' || isWhole(field, m)) return ''
  return field.kind === 'mac' ? `/${formatMac(m)}` : `/0x${hex(m, 0, used(m, 0, m.length))}`
}

/** The fields that a mask looks at, in order: numbers for `differs` and `say`. */
export function fieldsOf(mask: Uint8Array): number[] {
  return FIELDS.flatMap((field, i) => (maskOf(field, mask).some((x) => x !== 0) ? [i] : []))
}

/** Is the packet not what the flow's key asks for, in this field? */
export function differs(i: number, mask: Uint8Array, want: Uint8Array, has: Uint8Array): boolean {
  const field = FIELDS[i]
  return maskOf(field, mask).some((bits, n) => ((want[field.at + n] ^ has[field.at + n]) & bits) !== 0)
}

/** `dst_ip 1.1.1.2/32`, and what the packet has. */
export function difference(i: number, mask: Uint8Array, want: Uint8Array, has: Uint8Array): Difference {
  const field = FIELDS[i]
  return {
    keyword: field.keyword,
    wants: value(field, want, mask) + maskText(field, maskOf(field, mask)),
    has: value(field, has),
  }
}

/** What other words of a rule ask for by the way. */
const IMPLIED = new Set(['ip version', 'enc_addr_type'])

/** Everything that a key asks for: `ip_proto 6, dst_port 23`. */
export const say = (mask: Uint8Array, want: Uint8Array): string =>
  fieldsOf(mask)
    .filter((i) => !IMPLIED.has(FIELDS[i].keyword))
    .map((i) => {
      const d = difference(i, mask, want, want)
      return `${d.keyword} ${d.wants}`
    })
    .join(', ')
