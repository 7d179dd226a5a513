// The slow, obvious dissector: the flow key of a frame, read off the kernel's documentation one field at a time.
//
// The chip's is written for speed; this one for being right at a glance. Tests compare the two on random and damaged
// frames, and a trace explains a match with it. Bytes of the key are as in memory/layout/flow_key.ts.

import * as K from '../memory/layout/flow_key.ts'

const ETH_P_IP = 0x0800
const ETH_P_ARP = 0x0806
const ETH_P_RARP = 0x8035
const ETH_P_8021Q = 0x8100
const ETH_P_IPV6 = 0x86dd
const ETH_P_PPP_SES = 0x8864
const ETH_P_MPLS_UC = 0x8847
const ETH_P_MPLS_MC = 0x8848
const ETH_P_8021AD = 0x88a8
const ETH_P_802_3 = 0x0001
const ETH_P_802_2 = 0x0004

/** MAX_FLOW_DISSECT_HDRS: how often the walk may go on to another header. */
const HEADERS = 15

interface Walk {
  readonly frame: Uint8Array
  readonly key: Uint8Array
  at: number
  steps: number
  /** Where the network header is when there is a tag. */
  readonly network: number
}

const be16 = (b: Uint8Array, o: number): number => (b[o] << 8) | b[o + 1]
const put16 = (key: Uint8Array, o: number, v: number): void => {
  key[o] = v >> 8
  key[o + 1] = v & 255
}
const has = (w: Walk, n: number): boolean => w.at + n <= w.frame.length
const copy = (w: Walk, field: number, from: number, n: number): void => {
  for (let i = 0; i < n; i++) w.key[field + i] = w.frame[w.at + from + i]
}
/** May the walk go on? */
const step = (w: Walk): boolean => ++w.steps <= HEADERS
const isVlan = (type: number): boolean => type === ETH_P_8021Q || type === ETH_P_8021AD

/** eth_type_trans: what a type field below 0x600, a length, stands for. */
function protocol(b: Uint8Array, o: number): number {
  const type = be16(b, o)
  if (type >= 0x600) return type
  return o + 4 <= b.length && be16(b, o + 2) === 0xffff ? ETH_P_802_3 : ETH_P_802_2
}

/**
 * The key of a frame that came in by device `ifindex`. `network`: where the network header of a tagged frame is; behind
 * the first tag, unless an action pushed another one in front.
 */
export function referenceKey(frame: Uint8Array, ifindex: number, network = 18): Uint8Array {
  const key = new Uint8Array(K.KEY_SIZE_OPTS)
  new DataView(key.buffer).setUint32(K.KEY_INDEV, ifindex, true)
  if (frame.length < 14) return key
  const w: Walk = { frame, key, at: 0, steps: 0, network }
  copy(w, K.KEY_ETH_DST, 0, 6)
  copy(w, K.KEY_ETH_SRC, 6, 6)
  w.at = 14
  put16(key, K.KEY_N_PROTO, walk(w, protocol(frame, 12), 0))
  return key
}

/** Walks from a network header on; returns the protocol that the walk ended with. */
function walk(w: Walk, type: number, tags: number): number {
  if (isVlan(type)) return vlan(w, type, tags)
  if (type === ETH_P_PPP_SES) return pppoe(w)
  if (type === ETH_P_MPLS_UC || type === ETH_P_MPLS_MC) labels(w)
  if (type === ETH_P_ARP || type === ETH_P_RARP) arp(w)
  if (type === ETH_P_IP) return ipv4(w)
  if (type === ETH_P_IPV6) return ipv6(w)
  return type
}

function vlan(w: Walk, type: number, tags: number): number {
  if (!has(w, 4)) return type
  const next = tags === 0 ? protocol(w.frame, w.at + 2) : be16(w.frame, w.at + 2)
  if (tags < 2) {
    const tci = be16(w.frame, w.at) & 0xefff
    put16(w.key, tags === 0 ? K.KEY_VLAN_TCI : K.KEY_CVLAN_TCI, tci)
    put16(w.key, tags === 0 ? K.KEY_VLAN_TPID : K.KEY_CVLAN_TPID, type)
    put16(w.key, tags === 0 ? K.KEY_VLAN_ETH_TYPE : K.KEY_CVLAN_ETH_TYPE, next)
  }
  w.key[K.KEY_NUM_OF_VLANS] = tags + 1
  w.at = tags === 0 ? w.network : w.at + 4
  return step(w) ? walk(w, next, tags + 1) : next
}

function pppoe(w: Walk): number {
  if (!has(w, 8) || be16(w.frame, w.at) !== 0x1100) return ETH_P_PPP_SES
  const ppp = be16(w.frame, w.at + 6)
  const inside: Record<number, number> = { 33: ETH_P_IP, 87: ETH_P_IPV6, 641: ETH_P_MPLS_UC, 643: ETH_P_MPLS_MC }
  if (inside[ppp] === undefined && (ppp & 0x101) !== 1) return ETH_P_PPP_SES
  copy(w, K.KEY_PPPOE_SID, 2, 2)
  put16(w.key, K.KEY_PPP_PROTO, ppp)
  put16(w.key, K.KEY_PPPOE_TYPE, ETH_P_PPP_SES)
  if (inside[ppp] === undefined) return ETH_P_PPP_SES
  w.at += 8
  return step(w) ? walk(w, inside[ppp], 2) : inside[ppp]
}

function labels(w: Walk): void {
  for (let i = 0; i < 7 && has(w, 4); i++) {
    copy(w, K.KEY_MPLS_LSE + 4 * i, 0, 4)
    w.key[K.KEY_MPLS_USED] |= 1 << i
    const bottom = (w.frame[w.at + 2] & 1) === 1
    w.at += 4
    if (bottom || !step(w)) return
  }
}

function arp(w: Walk): void {
  if (!has(w, 28)) return
  const want = [0, 1, 8, 0, 6, 4, 0]
  if (want.some((v, i) => w.frame[w.at + i] !== v)) return
  const operation = w.frame[w.at + 7]
  if (operation !== 1 && operation !== 2) return
  w.key[K.KEY_ARP_OP] = operation
  copy(w, K.KEY_ARP_SHA, 8, 6)
  copy(w, K.KEY_ARP_SIP, 14, 4)
  copy(w, K.KEY_ARP_THA, 18, 6)
  copy(w, K.KEY_ARP_TIP, 24, 4)
}

function ipv4(w: Walk): number {
  const header = (w.frame[w.at] & 15) * 4
  if (!has(w, 20) || header < 20) return ETH_P_IP
  copy(w, K.KEY_IPV4_SRC, 12, 4)
  copy(w, K.KEY_IPV4_DST, 16, 4)
  copy(w, K.KEY_IP_TOS, 1, 1)
  copy(w, K.KEY_IP_TTL, 8, 1)
  copy(w, K.KEY_IP_PROTO, 9, 1)
  w.key[K.KEY_FLAGS] |= K.FLOW_ADDR_IPV4
  const fragment = be16(w.frame, w.at + 6) & 0x3fff
  w.at += header
  if (fragment !== 0) {
    w.key[K.KEY_FLAGS] |= K.FLOW_IS_FRAGMENT | ((fragment & 0x1fff) === 0 ? K.FLOW_FIRST_FRAG : 0)
    return ETH_P_IP
  }
  return transport(w, ETH_P_IP)
}

function ipv6(w: Walk): number {
  if (!has(w, 40)) return ETH_P_IPV6
  copy(w, K.KEY_IPV6_SRC, 8, 16)
  copy(w, K.KEY_IPV6_DST, 24, 16)
  copy(w, K.KEY_IP_TTL, 7, 1)
  copy(w, K.KEY_IP_PROTO, 6, 1)
  w.key[K.KEY_IP_TOS] = (be16(w.frame, w.at) >> 4) & 255
  w.key[K.KEY_FLAGS] |= K.FLOW_ADDR_IPV6
  w.at += 40
  while ([0, 43, 60].includes(w.key[K.KEY_IP_PROTO])) {
    if (!has(w, 2)) return ETH_P_IPV6
    copy(w, K.KEY_IP_PROTO, 0, 1)
    w.at += (w.frame[w.at + 1] + 1) * 8
    if (!step(w)) {
      ports(w)
      return ETH_P_IPV6
    }
  }
  if (w.key[K.KEY_IP_PROTO] === 44) {
    if (!has(w, 8)) return ETH_P_IPV6
    const offset = be16(w.frame, w.at + 2) & 0xfff8
    copy(w, K.KEY_IP_PROTO, 0, 1)
    w.key[K.KEY_FLAGS] |= K.FLOW_IS_FRAGMENT | (offset === 0 ? K.FLOW_FIRST_FRAG : 0)
    return ETH_P_IPV6
  }
  return transport(w, ETH_P_IPV6)
}

/** Protocols whose header begins with two ports (or, ESP, something read as such), and AH where they stand behind. */
function ports(w: Walk): void {
  const proto = w.key[K.KEY_IP_PROTO]
  const from = [6, 17, 33, 50, 132, 136].includes(proto) ? 0 : proto === 51 ? 4 : -1
  if (from >= 0 && has(w, from + 4)) copy(w, K.KEY_PORT_SRC, from, 4)
}

function transport(w: Walk, type: number): number {
  const proto = w.key[K.KEY_IP_PROTO]
  if (proto === 6 && has(w, 20) && w.frame[w.at + 12] >= 0x50) {
    put16(w.key, K.KEY_TCP_FLAGS, be16(w.frame, w.at + 12) & 0xfff)
  }
  if ((proto === 1 || proto === 58) && has(w, 8)) copy(w, K.KEY_ICMP_TYPE, 0, 2)
  if (proto === 115 && has(w, 4)) copy(w, K.KEY_L2TPV3_SID, 0, 4)
  ports(w)
  if (proto !== 137) return type
  if (step(w)) labels(w)
  return ETH_P_MPLS_UC
}
