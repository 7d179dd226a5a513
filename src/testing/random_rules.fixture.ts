// Random rules for the generator, each as tc's words and as what they mean: which bytes of the key are looked at, and
// what is done. The meaning is read off the documentation of tc-flower(8) and of cls_flower.c, not off this project's
// tables; of those only the places of fields in the key are used, because the slow dissector has its answer there.

import * as K from '../memory/layout/flow_key.ts'
import {
  ENDPOINT,
  IPV4,
  IPV6,
  ipv4Bytes,
  ipv6Bytes,
  LABELS,
  type Luck,
  MACS,
  mac,
  OUTER_TOS,
  PORTS,
  REMOTES,
  SESSIONS,
  TOS,
  TTLS,
  VLANS,
  VNIS,
} from './random_frames.fixture.ts'
import { CSUM_FLAGS, type CsumFlag } from './slow_checksum.fixture.ts'
import { type CtAction, ESTABLISHED, INVALID, NEW, REPLY, TRACKED } from './slow_conntrack.fixture.ts'

/** What the rules of a round may do and look at. */
export interface May {
  /** Push and pop VLAN tags, and what else moves headers or sums over them. */
  readonly edit: boolean
  /** Track connections. */
  readonly track: boolean
  /** Look at the outer headers of a tunnel. */
  readonly outer: boolean
}

/** Bytes of the key from `at` on that must have these values where the mask has ones. */
export interface Look {
  readonly at: number
  readonly value: readonly number[]
  readonly mask: readonly number[]
}

export interface Range {
  readonly at: number
  readonly min: number
  readonly max: number
}

export type Action =
  | { readonly kind: 'end'; readonly verdict: 'pass' | 'drop' | 'continue' }
  | { readonly kind: 'goto'; readonly chain: number }
  | { readonly kind: 'mirred'; readonly port: number; readonly copy: boolean }
  | { readonly kind: 'vlan_push'; readonly id: number; readonly prio: number; readonly tpid: number }
  | { readonly kind: 'vlan_pop' }
  | { readonly kind: 'vlan_modify'; readonly id: number }
  | { readonly kind: 'set'; readonly header: 'eth' | 'network'; readonly at: number; readonly value: readonly number[] }
  /** One word of four bytes: bits of `keep` stay, the others become those of `value`, or are added to. */
  | {
      readonly kind: 'word'
      readonly header: 'eth' | 'network'
      readonly at: number
      readonly keep: readonly number[]
      readonly value: readonly number[]
      readonly add: boolean
    }
  | {
      readonly kind: 'skbmod'
      readonly dst?: readonly number[]
      readonly src?: readonly number[]
      readonly swap: boolean
    }
  | {
      readonly kind: 'nat'
      readonly egress: boolean
      readonly old: readonly number[]
      readonly bits: number
      readonly to: readonly number[]
    }
  | { readonly kind: 'csum'; readonly flags: readonly CsumFlag[] }
  | { readonly kind: 'mpls_push'; readonly label: number; readonly tc: number; readonly ttl: number }
  | { readonly kind: 'mpls_pop'; readonly type: number }
  /** Bits of the label stack entry that are in `mask` become those of `value`. */
  | { readonly kind: 'mpls_modify'; readonly value: number; readonly mask: number }
  | { readonly kind: 'mpls_dec_ttl' }
  | ({ readonly kind: 'ct' } & CtAction)
  /** police with time: what a byte, or a packet, takes of a bucket that holds `burst`; all in nanoseconds. */
  | {
      readonly kind: 'bucket'
      readonly perByte: number
      readonly perPacket: number
      readonly burst: number
      readonly first: Control
      readonly other: Control
    }
  /** police avrate: who comes while there are so many bytes a second, or more, on average. */
  | { readonly kind: 'average'; readonly limit: number; readonly first: Control; readonly other: Control }
  /** gact determ, one packet in `every`; or police, those longer than `limit`: they get the other control. */
  | {
      readonly kind: 'fork'
      readonly every: number
      readonly limit: number
      readonly first: Control
      readonly other: Control
    }

/** What an action ends with: a verdict, on in the list, or on with its n-th action. */
export type Control = 'pass' | 'drop' | 'continue' | 'pipe' | number

export interface Rule {
  readonly chain: number
  readonly pref: number
  /** As tc writes it. */
  readonly protocol: string
  /** The words of the match and of the actions. */
  readonly match: string
  readonly actions: string
  /** What stands in front of the protocol: the estimator that an average needs. */
  readonly estimator: string
  readonly looks: readonly Look[]
  readonly ranges: readonly Range[]
  readonly list: readonly Action[]
}

const be = (v: number, n: number): number[] =>
  Array.from({ length: n }, (_, i) => Math.floor(v / 256 ** (n - 1 - i)) % 256)
const ones = (n: number): number[] => new Array(n).fill(255)
const exact = (at: number, value: readonly number[]): Look => ({ at, value, mask: ones(value.length) })
/** The first `bits` bits. */
const prefix = (n: number, bits: number): number[] =>
  Array.from({ length: n }, (_, i) => (0xff00 >> Math.min(8, Math.max(0, bits - 8 * i))) & 255)

/** Words and what they ask for. */
interface Key {
  readonly words: string
  readonly looks: readonly Look[]
  readonly ranges?: readonly Range[]
}

const macKey = (l: Luck, word: string, at: number): Key => {
  const m = l.of(MACS)
  const mask = l.of(['', '', '/ff:ff:ff:ff:ff:00', '/24'])
  const bits = mask === '/24' ? prefix(6, 24) : mask === '' ? ones(6) : prefix(6, 40)
  return { words: `${word} ${m}${mask}`, looks: [{ at, value: mac(m), mask: bits }] }
}
const ip4Key = (l: Luck, word: string, at: number): Key => {
  const bits = l.of([32, 32, 24, 16, 8])
  const a = l.of(IPV4)
  return { words: `${word} ${a}/${bits}`, looks: [{ at, value: ipv4Bytes(a), mask: prefix(4, bits) }] }
}
const ip6Key = (l: Luck, word: string, at: number): Key => {
  const bits = l.of([128, 128, 64, 32, 16])
  const a = l.of(IPV6)
  return { words: `${word} ${a}/${bits}`, looks: [{ at, value: ipv6Bytes(a), mask: prefix(16, bits) }] }
}
const byteKey = (l: Luck, word: string, at: number, values: readonly number[]): Key => {
  const v = l.of(values)
  const m = l.of([0xff, 0xff, 0xf0, 0x03])
  return { words: `${word} 0x${v.toString(16)}/0x${m.toString(16)}`, looks: [{ at, value: [v], mask: [m] }] }
}
/** The address family that a match on addresses asks for. */
const family = (flag: number): Look => ({ at: K.KEY_FLAGS, value: [flag], mask: [flag] })

const portKey = (l: Luck, word: string, at: number): Key => {
  const p = l.of(PORTS)
  if (l.once(3)) {
    const max = p + 1 + l.below(60)
    return { words: `${word} ${p}-${max}`, looks: [], ranges: [{ at, min: p, max }] }
  }
  if (l.once(4)) return { words: `${word} ${p}/0xfff0`, looks: [{ at, value: be(p, 2), mask: [255, 0xf0] }] }
  return { words: `${word} ${p}`, looks: [exact(at, be(p, 2))] }
}

/** ip_proto, and keys that need it. */
function transportKeys(l: Luck, v6: boolean): Key[] {
  const proto = l.of(['tcp', 'tcp', 'udp', 'udp', 'sctp', v6 ? 'icmpv6' : 'icmp', 'l2tp'])
  const numbers: Record<string, number> = { tcp: 6, udp: 17, sctp: 132, icmp: 1, icmpv6: 58, l2tp: 115 }
  const keys: Key[] = [{ words: `ip_proto ${proto}`, looks: [exact(K.KEY_IP_PROTO, [numbers[proto]])] }]
  if (proto === 'tcp' || proto === 'udp' || proto === 'sctp') {
    if (l.once(2)) keys.push(portKey(l, 'dst_port', K.KEY_PORT_DST))
    if (l.once(3)) keys.push(portKey(l, 'src_port', K.KEY_PORT_SRC))
    if (proto === 'tcp' && l.once(3)) {
      keys.push({ words: 'tcp_flags 0x2/0x12', looks: [{ at: K.KEY_TCP_FLAGS, value: [0, 2], mask: [0, 0x12] }] })
    }
  } else if (proto === 'l2tp') {
    if (l.once(2)) {
      const sid = l.of(SESSIONS)
      keys.push({ words: `l2tpv3_sid ${sid}`, looks: [exact(K.KEY_L2TPV3_SID, be(sid, 4))] })
    }
  } else if (l.once(2)) {
    const type = l.of([0, 8, 135])
    keys.push({ words: `type ${type}`, looks: [exact(K.KEY_ICMP_TYPE, [type])] })
    if (l.once(2)) keys.push({ words: 'code 1', looks: [exact(K.KEY_ICMP_CODE, [1])] })
  }
  return keys
}

const FRAGMENTS: readonly Key[] = [
  ['frag', K.FLOW_IS_FRAGMENT, K.FLOW_IS_FRAGMENT],
  ['nofrag', 0, K.FLOW_IS_FRAGMENT],
  ['firstfrag', K.FLOW_FIRST_FRAG, K.FLOW_FIRST_FRAG],
  ['nofirstfrag', 0, K.FLOW_FIRST_FRAG],
].map(([word, value, mask]) => ({
  words: `ip_flags ${word}`,
  looks: [{ at: K.KEY_FLAGS, value: [value as number], mask: [mask as number] }],
}))

function ipKeys(l: Luck, v6: boolean): Key[] {
  const keys: Key[] = []
  if (l.once(3)) keys.push(v6 ? ip6Key(l, 'dst_ip', K.KEY_IPV6_DST) : ip4Key(l, 'dst_ip', K.KEY_IPV4_DST))
  if (l.once(4)) keys.push(v6 ? ip6Key(l, 'src_ip', K.KEY_IPV6_SRC) : ip4Key(l, 'src_ip', K.KEY_IPV4_SRC))
  if (keys.length > 0) keys.push({ words: '', looks: [family(v6 ? K.FLOW_ADDR_IPV6 : K.FLOW_ADDR_IPV4)] })
  if (l.once(6)) keys.push(byteKey(l, 'ip_tos', K.KEY_IP_TOS, TOS))
  if (l.once(6)) keys.push(byteKey(l, 'ip_ttl', K.KEY_IP_TTL, TTLS))
  if (l.once(6)) keys.push(l.of(FRAGMENTS))
  if (l.once(2)) keys.push(...transportKeys(l, v6))
  return keys
}

function vlanKeys(l: Luck, tpid: number): Key[] {
  const keys: Key[] = [{ words: '', looks: [exact(K.KEY_VLAN_TPID, be(tpid, 2))] }]
  const tci = (words: string, at: number, value: number, mask: number): Key => ({
    words,
    looks: [{ at, value: be(value, 2), mask: be(mask, 2) }],
  })
  const id = l.of(VLANS)
  if (l.once(2)) keys.push(tci(`vlan_id ${id}`, K.KEY_VLAN_TCI, id, 0xfff))
  const prio = l.below(8)
  if (l.once(4)) keys.push(tci(`vlan_prio ${prio}`, K.KEY_VLAN_TCI, prio * 0x2000, 0xe000))
  const inside = l.of(['', '', 'ip', 'ipv6', '802.1Q'])
  if (inside === '') return keys
  const types: Record<string, number> = { ip: 0x0800, ipv6: 0x86dd, '802.1Q': 0x8100 }
  const type = be(types[inside], 2)
  keys.push({ words: `vlan_ethtype ${inside}`, looks: [exact(K.KEY_VLAN_ETH_TYPE, type)] })
  if (inside !== '802.1Q') {
    keys.push({ words: '', looks: [exact(K.KEY_N_PROTO, type)] }, ...ipKeys(l, inside === 'ipv6'))
    return keys
  }
  keys.push({ words: '', looks: [exact(K.KEY_CVLAN_TPID, type)] })
  const inner = l.of(VLANS)
  if (l.once(2)) keys.push(tci(`cvlan_id ${inner}`, K.KEY_CVLAN_TCI, inner, 0xfff))
  return keys
}

function arpKeys(l: Luck): Key[] {
  const keys: Key[] = []
  if (l.once(2)) {
    const op = l.of([1, 2])
    keys.push({ words: `arp_op ${op === 1 ? 'request' : 'reply'}`, looks: [exact(K.KEY_ARP_OP, [op])] })
  }
  if (l.once(3)) keys.push(ip4Key(l, 'arp_sip', K.KEY_ARP_SIP))
  if (l.once(3)) keys.push(ip4Key(l, 'arp_tip', K.KEY_ARP_TIP))
  if (l.once(4)) keys.push(macKey(l, 'arp_sha', K.KEY_ARP_SHA))
  if (l.once(4)) keys.push(macKey(l, 'arp_tha', K.KEY_ARP_THA))
  return keys
}

function mplsKeys(l: Luck): Key[] {
  const keys: Key[] = []
  const entry = (words: string, value: number, mask: number): Key => ({
    words,
    looks: [
      { at: K.KEY_MPLS_LSE, value: be(value, 4), mask: be(mask, 4) },
      { at: K.KEY_MPLS_USED, value: [1], mask: [1] },
    ],
  })
  const label = l.of(LABELS)
  if (l.once(2)) keys.push(entry(`mpls_label ${label}`, label * 0x1000, 0xfffff000))
  if (l.once(3)) keys.push(entry('mpls_bos 1', 0x100, 0x100))
  const tc = l.below(8)
  if (l.once(3)) keys.push(entry(`mpls_tc ${tc}`, tc * 0x200, 0xe00))
  return keys
}

function pppoeKeys(l: Luck): Key[] {
  const keys: Key[] = [{ words: '', looks: [exact(K.KEY_PPPOE_TYPE, [0x88, 0x64])] }]
  const sid = l.of(SESSIONS)
  keys.push({ words: `pppoe_sid ${sid}`, looks: [exact(K.KEY_PPPOE_SID, be(sid, 2))] })
  if (l.once(2)) {
    keys.push({
      words: 'ppp_proto ip',
      looks: [exact(K.KEY_PPP_PROTO, [0, 0x21]), exact(K.KEY_N_PROTO, [0x08, 0])],
    })
  }
  return keys
}

const TYPES: Record<string, number> = { ip: 0x0800, ipv6: 0x86dd, arp: 0x0806, mpls_uc: 0x8847 }

const u16 = (v: number): number[] => [v & 255, v >> 8] // host order

const STATES: readonly (readonly [string, number, number])[] = [
  ['+trk', TRACKED, TRACKED],
  ['+trk+new', TRACKED | NEW, TRACKED | NEW],
  ['+trk+est', TRACKED | ESTABLISHED, TRACKED | ESTABLISHED],
  ['+trk+est-rpl', TRACKED | ESTABLISHED, TRACKED | ESTABLISHED | REPLY],
  ['+trk+rpl', TRACKED | REPLY, TRACKED | REPLY],
  ['+trk+inv', TRACKED | INVALID, TRACKED | INVALID],
]

function ctKeys(l: Luck): Key[] {
  const [words, value, mask] = l.of(STATES)
  const keys: Key[] = [
    { words: `ct_state ${words}`, looks: [{ at: K.KEY_CT_STATE, value: u16(value), mask: u16(mask) }] },
  ]
  const zone = l.of(ZONES)
  if (l.once(4)) keys.push({ words: `ct_zone ${zone}`, looks: [exact(K.KEY_CT_ZONE, u16(zone))] })
  const mark = l.of(MARKS)
  if (l.once(2)) keys.push({ words: `ct_mark ${mark}`, looks: [exact(K.KEY_CT_MARK, [...u16(mark), 0, 0])] })
  return keys
}
const ZONES = [1, 2]
const MARKS = [1, 300]

/** What is tracked is whole UDP packets. */
function trackedKeys(l: Luck): Key[] {
  const keys: Key[] = [
    { words: '', looks: [exact(K.KEY_N_PROTO, [8, 0])] },
    { words: 'ip_proto udp', looks: [exact(K.KEY_IP_PROTO, [17])] },
    FRAGMENTS[1],
  ]
  if (l.once(3)) keys.push(ip4Key(l, 'dst_ip', K.KEY_IPV4_DST), { words: '', looks: [family(K.FLOW_ADDR_IPV4)] })
  if (l.once(4)) keys.push(...ctKeys(l))
  return keys
}

/** What the packet came in. */
function outerKeys(l: Luck): Key[] {
  const keys: Key[] = []
  const vni = l.of(VNIS)
  if (l.once(2)) keys.push({ words: `enc_key_id ${vni}`, looks: [exact(K.KEY_ENC_KEY_ID, be(vni, 4))] })
  const bits = l.of([32, 32, 24, 16])
  const from = l.of(REMOTES)
  const ends: Key[] = []
  if (l.once(2)) {
    const looks = [{ at: K.KEY_ENC_IPV4_SRC, value: ipv4Bytes(from), mask: prefix(4, bits) }]
    ends.push({ words: `enc_src_ip ${from}/${bits}`, looks })
  }
  if (l.once(4)) ends.push({ words: `enc_dst_ip ${ENDPOINT}`, looks: [exact(K.KEY_ENC_IPV4_DST, ipv4Bytes(ENDPOINT))] })
  if (ends.length > 0) keys.push(...ends, { words: '', looks: [exact(K.KEY_ENC_ADDR_TYPE, [K.ADDR_TYPE_IPV4])] })
  const port = l.of([4789, 4789, 4790])
  if (l.once(4)) keys.push({ words: `enc_dst_port ${port}`, looks: [exact(K.KEY_ENC_PORT_DST, be(port, 2))] })
  if (l.once(4)) keys.push(byteKey(l, 'enc_tos', K.KEY_ENC_TOS, OUTER_TOS))
  if (l.once(4)) keys.push(byteKey(l, 'enc_ttl', K.KEY_ENC_TTL, TTLS))
  return keys
}

function keysOf(l: Luck, protocol: string, may: May): Key[] {
  const keys: Key[] = []
  const type = TYPES[protocol]
  if (type !== undefined) keys.push({ words: '', looks: [exact(K.KEY_N_PROTO, be(type, 2))] })
  if (l.once(6)) keys.push(macKey(l, 'dst_mac', K.KEY_ETH_DST))
  if (l.once(6)) keys.push(macKey(l, 'src_mac', K.KEY_ETH_SRC))
  if (l.once(30)) keys.push({ words: 'ct_state -trk', looks: [{ at: K.KEY_CT_STATE, value: [0], mask: [8] }] })
  if (protocol === 'ip' || protocol === 'ipv6') keys.push(...ipKeys(l, protocol === 'ipv6'))
  if (protocol === '802.1Q') keys.push(...vlanKeys(l, 0x8100))
  if (protocol === '802.1ad') keys.push(...vlanKeys(l, 0x88a8))
  if (protocol === 'arp') keys.push(...arpKeys(l))
  if (protocol === 'mpls_uc') keys.push(...mplsKeys(l))
  if (protocol === 'ppp_ses') keys.push(...pppoeKeys(l))
  if (may.track && l.once(2)) keys.push(...ctKeys(l))
  if (may.outer && !l.once(4)) keys.push(...outerKeys(l))
  return keys
}

/** Actions that move headers or sum over them. */
function editing(l: Luck): [words: string, does: Action] {
  switch (l.below(6)) {
    case 0: {
      const [label, tc, ttl] = [l.of(LABELS), l.below(8), l.of(TTLS)]
      return [`mpls push label ${label} tc ${tc} ttl ${ttl}`, { kind: 'mpls_push', label, tc, ttl }]
    }
    case 1: {
      const [word, type] = l.of([
        ['ip', 0x0800],
        ['ipv6', 0x86dd],
      ] as const)
      return [`mpls pop protocol ${word}`, { kind: 'mpls_pop', type }]
    }
    case 2: {
      const label = l.of(LABELS)
      return l.of<[string, Action]>([
        [`mpls modify label ${label}`, { kind: 'mpls_modify', value: label * 0x1000, mask: 0xfffff000 }],
        ['mpls modify tc 5', { kind: 'mpls_modify', value: 0xa00, mask: 0xe00 }],
        ['mpls modify ttl 9 bos 1', { kind: 'mpls_modify', value: 0x109, mask: 0x1ff }],
      ])
    }
    case 3:
      return ['mpls dec_ttl', { kind: 'mpls_dec_ttl' }]
    default: {
      const flags = CSUM_FLAGS.filter(() => !l.once(3))
      if (flags.length === 0) flags.push('ip4h')
      return [`csum ${flags.join(' ')} pipe`, { kind: 'csum', flags }]
    }
  }
}

/** A policer that time fills: rates and bursts that are whole ticks. */
function bucket(l: Luck): [words: string, does: Action] {
  const [first, other] = [control(l), control(l)]
  const ends = `conform-exceed ${controlWords(other)} / ${controlWords(first)}`
  if (l.once(2)) {
    const limit = l.of([40, 200, 1000])
    return [`police avrate ${limit * 8}bit ${ends}`, { kind: 'average', limit, first, other }]
  }
  if (l.once(3)) {
    const packets = l.of([1, 4])
    const does: Action = { kind: 'bucket', perByte: 0, perPacket: 1e6, burst: packets * 1e6, first, other }
    return [`police pkts_rate 1000 pkts_burst ${packets} ${ends}`, does]
  }
  const [rate, perByte] = l.of([
    ['800kbit', 10_000],
    ['8mbit', 1000],
    ['80mbit', 100],
  ] as const)
  const bytes = l.of([160, 400, 1600])
  const does: Action = { kind: 'bucket', perByte, perPacket: 0, burst: bytes * perByte, first, other }
  return [`police rate ${rate} burst ${bytes} ${ends}`, does]
}

/** The connection is looked up, and maybe kept; then the packet goes where rules ask for it, or away. */
function tracking(l: Luck, chains: number): [words: string, does: Action][] {
  const zone = l.of(ZONES)
  const commit = l.once(2)
  const mark = commit && !l.once(3) ? l.of(MARKS) : -1
  const words = ['ct', commit ? 'commit' : '', `zone ${zone}`, mark < 0 ? '' : `mark ${mark}`, 'pipe']
  const chain = l.below(chains)
  return [
    [words.filter((w) => w !== '').join(' '), { kind: 'ct', zone, commit, mark }],
    l.once(3)
      ? ['mirred egress redirect dev p3', { kind: 'mirred', port: 3, copy: false }]
      : [`gact goto chain ${chain}`, { kind: 'goto', chain }],
  ]
}

/** One more thing that a list does, and its words; undefined behind an action that ends it. */
function action(l: Luck, chains: number, may: May): [words: string, does: Action] {
  const port = 1 + l.below(3)
  if (may.edit && l.once(5)) return editing(l)
  if (l.once(8)) return bucket(l)
  switch (l.below(15)) {
    case 10: {
      const [words, at, keep, value, add] = l.of([
        ['ip ttl set 9', 8, [0, 255, 255, 255], [9, 0, 0, 0], false],
        ['ip ttl add 255', 8, [0, 255, 255, 255], [255, 0, 0, 0], true],
        ['ip tos set 0x20 retain 0xfc', 0, [255, 3, 255, 255], [0, 0x20, 0, 0], false],
        ['ip6 hoplimit set 7', 4, [255, 255, 255, 0], [0, 0, 0, 7], false],
      ] as const)
      return [`pedit ex munge ${words} pipe`, { kind: 'word', header: 'network', at, keep, value, add }]
    }
    case 11: {
      const [dst, src] = [l.of(MACS), l.of(MACS)]
      return l.of<[string, Action]>([
        [`skbmod set dmac ${dst} set smac ${src} pipe`, { kind: 'skbmod', dst: mac(dst), src: mac(src), swap: false }],
        [`skbmod set dmac ${dst} pipe`, { kind: 'skbmod', dst: mac(dst), swap: false }],
        ['skbmod swap mac pipe', { kind: 'skbmod', swap: true }],
      ])
    }
    case 12: {
      const [old, to, bits, egress] = [l.of(IPV4), l.of(IPV4), l.of([32, 24, 8]), l.once(2)]
      const words = `nat ${egress ? 'egress' : 'ingress'} ${old}/${bits} ${to} pipe`
      return [words, { kind: 'nat', egress, old: ipv4Bytes(old), bits, to: ipv4Bytes(to) }]
    }
    case 13: {
      const [first, other] = [control(l), control(l)]
      if (l.once(2)) {
        const every = 1 + l.below(3)
        const words = `gact ${controlWords(first)} random determ ${controlWords(other)} ${every}`
        return [words, { kind: 'fork', every, limit: 0, first, other }]
      }
      const limit = 40 + l.below(80)
      const words = `police mtu ${limit} conform-exceed ${controlWords(other)} / ${controlWords(first)}`
      return [words, { kind: 'fork', every: 0, limit, first, other }]
    }
    case 0:
      return [`mirred egress mirror dev p${port}`, { kind: 'mirred', port, copy: true }]
    case 1: {
      const [id, prio, ad] = [l.of(VLANS), l.below(8), l.once(3)]
      const words = `vlan push id ${id} priority ${prio}${ad ? ' protocol 802.1ad' : ''}`
      return [words, { kind: 'vlan_push', id, prio, tpid: ad ? 0x88a8 : 0x8100 }]
    }
    case 2:
      return ['vlan pop', { kind: 'vlan_pop' }]
    case 3: {
      const id = l.of(VLANS)
      return [`vlan modify id ${id}`, { kind: 'vlan_modify', id }]
    }
    case 4: {
      const m = l.of(MACS)
      return [`pedit ex munge eth dst set ${m} pipe`, { kind: 'set', header: 'eth', at: 0, value: mac(m) }]
    }
    case 5: {
      const a = l.of(IPV4)
      return [`pedit ex munge ip dst set ${a} pipe`, { kind: 'set', header: 'network', at: 16, value: ipv4Bytes(a) }]
    }
    case 6: {
      const chain = l.below(chains)
      return [`gact goto chain ${chain}`, { kind: 'goto', chain }]
    }
    case 7: {
      const verdict = l.of(['pass', 'drop', 'continue', 'continue'] as const)
      return [`gact ${verdict}`, { kind: 'end', verdict }]
    }
    default:
      return [`mirred egress redirect dev p${port}`, { kind: 'mirred', port, copy: false }]
  }
}

const control = (l: Luck): Control => l.of(['pass', 'drop', 'continue', 'pipe', 'pipe', 1, 2, 3] as const)
const controlWords = (c: Control): string => (typeof c === 'number' ? `jump ${c}` : c)

const ends = (a: Action): boolean => a.kind === 'end' || a.kind === 'goto' || (a.kind === 'mirred' && !a.copy)

/** Does it ask what follows the tags? A tag that was pushed onto another one is in the kernel's way there. */
const asksForType = (a: Action): boolean => a.kind === 'csum' || a.kind.startsWith('mpls')
const isFork = (a: Action): a is Action & { readonly first: Control; readonly other: Control } =>
  a.kind === 'fork' || a.kind === 'bucket' || a.kind === 'average'
const changesAddresses = (a: Action): boolean => a.kind === 'nat' || (a.kind === 'set' && a.header === 'network')

/** Rules of chain 0 that track, and rules of the others that look at what is known then. */
export function trackingRules(l: Luck, chains: number): Rule[] {
  const rules: Rule[] = []
  for (let n = 0; n < 3; n++) rules.push(ruleOf(0, 0, 'ip', trackedKeys(l), tracking(l, chains)))
  for (let n = 0; n < 8; n++) {
    const port = 1 + l.below(3)
    const sends: [string, Action] = [`mirred egress redirect dev p${port}`, { kind: 'mirred', port, copy: false }]
    const keys = [{ words: '', looks: [exact(K.KEY_N_PROTO, [8, 0])] }, ...ctKeys(l)]
    rules.push(
      l.once(3)
        ? ruleOf(1 + l.below(chains - 1), 0, 'ip', trackedKeys(l), tracking(l, chains))
        : ruleOf(1 + l.below(chains - 1), l.below(3), 'ip', keys, [sends]),
    )
  }
  return rules
}

function ruleOf(
  chain: number,
  which: number,
  protocol: string,
  keys: readonly Key[],
  actions: readonly (readonly [words: string, does: Action])[],
): Rule {
  const list = actions.map(([, does]) => does)
  return {
    chain,
    pref: 10 * (1 + which),
    protocol,
    match: keys
      .map((k) => k.words)
      .filter((w) => w !== '')
      .join(' '),
    actions: actions.map(([words]) => `action ${words}`).join(' '),
    estimator: list.some((a) => a.kind === 'average') ? ' estimator 250ms 1sec' : '',
    looks: keys.flatMap((k) => k.looks),
    ranges: keys.flatMap((k) => k.ranges ?? []),
    list,
  }
}

/** A rule in one of `chains` chains. A preference belongs to one protocol. */
export function randomRule(l: Luck, chains: number, may: May): Rule {
  const protocols = ['ip', 'ip', 'ip', 'ipv6', 'ipv6', '802.1Q', '802.1ad', 'arp', 'mpls_uc', 'ppp_ses', 'all']
  const which = l.below(protocols.length)
  if (may.track && protocols[which] === 'ip' && l.once(2))
    return ruleOf(l.below(chains), which, 'ip', trackedKeys(l), tracking(l, chains))
  const keys = keysOf(l, protocols[which], may)
  const actions: [words: string, does: Action][] = []
  const has = (what: (a: Action) => boolean): boolean => actions.some(([, a]) => what(a))
  for (let n = 0; n < 5; n++) {
    const [text, does] = action(l, chains, may)
    // What a kernel's dissector makes of a packet with two tags of which it was given one is not for this to say.
    const looksAgain =
      does.kind === 'goto' ||
      (does.kind === 'end' && does.verdict === 'continue') ||
      (isFork(does) && [does.first, does.other].includes('continue'))
    // A translation could make a packet one that somebody sends to himself.
    if (may.track && changesAddresses(does)) continue
    if (!may.edit && does.kind.startsWith('vlan')) continue
    // A jump may come back to a push.
    if (does.kind === 'vlan_push' && has(isFork)) continue
    const again = looksAgain || does.kind === 'vlan_push' || asksForType(does)
    if (has((a) => a.kind === 'vlan_push') && again) continue
    actions.push([text, does])
    if (ends(does)) break
  }
  if (actions.length === 0) actions.push(['gact pass', { kind: 'end', verdict: 'pass' }])
  return ruleOf(l.below(chains), which, protocols[which], keys, actions)
}
