// Random rules for the generator, each as tc's words and as what they mean: which bytes of the key are looked at, and
// what is done. The meaning is read off the documentation of tc-flower(8) and of cls_flower.c, not off this project's
// tables; of those only the places of fields in the key are used, because the slow dissector has its answer there.

import * as K from '../memory/layout/flow_key.ts'
import {
  IPV4,
  IPV6,
  ipv4Bytes,
  ipv6Bytes,
  LABELS,
  type Luck,
  MACS,
  mac,
  PORTS,
  SESSIONS,
  TOS,
  TTLS,
  VLANS,
} from './random_frames.fixture.ts'

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

function keysOf(l: Luck, protocol: string): Key[] {
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
  return keys
}

/** One more thing that a list does, and its words; undefined behind an action that ends it. */
function action(l: Luck, chains: number): [words: string, does: Action] {
  const port = 1 + l.below(3)
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

/** A rule in one of `chains` chains. A preference belongs to one protocol. `tags`: may it push and pop VLAN tags? */
export function randomRule(l: Luck, chains: number, tags: boolean): Rule {
  const protocols = ['ip', 'ip', 'ip', 'ipv6', 'ipv6', '802.1Q', '802.1ad', 'arp', 'mpls_uc', 'ppp_ses', 'all']
  const which = l.below(protocols.length)
  const keys = keysOf(l, protocols[which])
  const words: string[] = []
  const list: Action[] = []
  for (let n = 0; n < 5; n++) {
    const [text, does] = action(l, chains)
    // What a kernel's dissector makes of a packet with two tags of which it was given one is not for this to say.
    const looksAgain =
      does.kind === 'goto' ||
      (does.kind === 'end' && does.verdict === 'continue') ||
      (does.kind === 'fork' && [does.first, does.other].includes('continue'))
    if (!tags && does.kind.startsWith('vlan')) continue
    // A jump may come back to a push.
    if (does.kind === 'vlan_push' && list.some((a) => a.kind === 'fork')) continue
    if (list.some((a) => a.kind === 'vlan_push') && (looksAgain || does.kind === 'vlan_push')) continue
    words.push(`action ${text}`)
    list.push(does)
    if (ends(does)) break
  }
  return {
    chain: l.below(chains),
    pref: 10 * (1 + which),
    protocol: protocols[which],
    match: keys
      .map((k) => k.words)
      .filter((w) => w !== '')
      .join(' '),
    actions: words.join(' '),
    looks: keys.flatMap((k) => k.looks),
    ranges: keys.flatMap((k) => k.ranges ?? []),
    list,
  }
}
