// What the profile mlx5 says to a filter's keys (parse_cls_flower and its helpers, en/tc_tun*.c): which fields the driver
// knows, and what it asks of a filter on a tunnel device, whose packets it takes out of the tunnel itself.
//
// The sentences are the driver's, in substance. What depends on the card is taken as a ConnectX-6 Dx has it: two VLAN
// tags, a flexible parser that reads ICMP and one Geneve option. That a card holds one option type at a time, for all
// filters together, is not modelled.

import type { Arena } from '../memory/arena.ts'
import { MASK_RANGE_DST, MASK_RANGE_SRC } from '../memory/layout/flow.ts'
import * as K from '../memory/layout/flow_key.ts'
import {
  NETDEV_KIND,
  NETDEV_KIND_BAREUDP,
  NETDEV_KIND_GENEVE,
  NETDEV_KIND_GRETAP,
  NETDEV_KIND_IP6GRETAP,
  NETDEV_KIND_LOOPBACK,
  NETDEV_KIND_VXLAN,
  NETDEV_TP_DST,
} from '../memory/layout/netdev.ts'
import { netdevIfindex, netdevName, nextNetdev } from '../net/netdev.ts'
import type { MatchScratch } from './match_scratch.ts'

/** Runs of key bytes that the driver cannot look at, and what it says. */
const UNSUPPORTED: readonly (readonly [at: number, bytes: number, reason: string])[] = [
  [K.KEY_L2_MISS, 1, "Can't match on l2_miss"],
  [K.KEY_NUM_OF_VLANS, 1, 'Unsupported key: num_of_vlans'],
  [K.KEY_PPPOE_SID, 6, 'Unsupported key: pppoe'],
  [K.KEY_CFM_MDL, 2, 'Unsupported key: cfm'],
  [K.KEY_HASH, 4, 'Unsupported key: hash'],
  [K.KEY_ARP_SIP, 21, 'Unsupported key: arp'],
  [K.KEY_L2TPV3_SID, 4, 'Unsupported key: l2tpv3'],
  [K.KEY_SPI, 4, 'Unsupported key: spi'],
  [K.KEY_ENC_FLAGS, 4, 'Unsupported key: enc_flags'],
]

const IPPROTO_TCP = 6
const IPPROTO_UDP = 17
const CT_RELATED = 4
const CT_INVALID = 16
const ECN = 3
const ECT_1 = 1
const CE = 3
/** The port of VXLAN that the driver opens by itself, and the one of Geneve that it knows. */
const VXLAN_PORT = 4789
const GENEVE_PORT = 6081
const GENEVE_OPT_LEN = 4

const KEY_ENC_END = 183

const looksAt = (mask: Uint8Array, at: number, bytes: number): boolean => {
  for (let i = at; i < at + bytes; i++) if (mask[i] !== 0) return true
  return false
}
const isWhole = (mask: Uint8Array, at: number, bytes: number): boolean =>
  mask.subarray(at, at + bytes).every((b) => b === 0xff)

/** What the driver says to the keys of a filter of the device, 0 for a shared block; undefined: it takes them. */
export function keysRefused(a: Arena, s: MatchScratch, dev: number, chain: number): string | undefined {
  const { key, mask } = s
  for (const [at, bytes, reason] of UNSUPPORTED) if (looksAt(mask, at, bytes)) return reason
  if ((s.maskFlags & (MASK_RANGE_SRC | MASK_RANGE_DST)) !== 0) return 'Unsupported key: port range'
  if ((mask[K.KEY_FLAGS] & K.FLOW_FIRST_FRAG) !== 0) return 'Match on frag first/later is not supported'
  if (looksAt(mask, K.KEY_INDEV, 4)) {
    if (!isWhole(mask, K.KEY_INDEV, 4)) return 'Unsupported ingress ifindex mask'
    if (dev === 0 || s.key32[K.KEY_INDEV >> 2] !== netdevIfindex(a, dev)) {
      return "Can't match on the ingress filter port"
    }
  }
  const proto = key[K.KEY_IP_PROTO]
  if (looksAt(mask, K.KEY_PORT_SRC, 4) && proto !== IPPROTO_TCP && proto !== IPPROTO_UDP) {
    return 'Only UDP and TCP transports are supported for L4 matching'
  }
  const kind = dev === 0 ? 0 : a.m[(dev + NETDEV_KIND) >> 2]
  if (looksAt(mask, K.KEY_MPLS_LSE, 28) && kind !== NETDEV_KIND_BAREUDP) {
    return 'Matching on MPLS is supported only for MPLS over UDP'
  }
  const state = key[K.KEY_CT_STATE] & mask[K.KEY_CT_STATE]
  if ((state & CT_RELATED) !== 0) return "Matching on ct_state +rel isn't supported"
  if ((state & CT_INVALID) !== 0) return "Matching on ct_state +inv isn't supported"
  if (kind > NETDEV_KIND_LOOPBACK) return decapRefused(a, s, dev, kind, chain)
  const isTunnel = looksAt(mask, K.KEY_ENC_KEY_ID, KEY_ENC_END - K.KEY_ENC_KEY_ID) || mask[K.KEY_ENC_OPTS_LEN] !== 0
  return isTunnel && chain === 0 ? 'Matching on tunnel keys is supported only on a tunnel device' : undefined
}

/** To a filter of a tunnel device. */
function decapRefused(a: Arena, s: MatchScratch, dev: number, kind: number, chain: number): string | undefined {
  const { key, mask } = s
  switch (kind) {
    case NETDEV_KIND_VXLAN:
    case NETDEV_KIND_GENEVE:
    case NETDEV_KIND_BAREUDP: {
      const reason = chain === 0 ? portRefused(a, s, kind) : undefined
      if (reason !== undefined) return reason
      break
    }
    case NETDEV_KIND_GRETAP:
    case NETDEV_KIND_IP6GRETAP:
      break
    default:
      return `Decapsulation offload is not supported for ${netdevName(a, dev)}`
  }
  if (kind === NETDEV_KIND_BAREUDP) {
    if (looksAt(mask, K.KEY_ENC_KEY_ID, 4)) return 'Matching on enc_key_id is not supported for MPLS over UDP'
    if (looksAt(mask, K.KEY_MPLS_LSE + 4, 24)) return 'Matching on more than one MPLS entry is not supported'
  }
  return ecnRefused(key, mask) ?? optionsRefused(key, mask, kind, chain)
}

function portRefused(a: Arena, s: MatchScratch, kind: number): string | undefined {
  const { key, mask } = s
  if (!looksAt(mask, K.KEY_ENC_PORT_DST, 2)) return 'UDP tunnel decap filter must match enc_dst_port'
  if (!isWhole(mask, K.KEY_ENC_PORT_DST, 2)) return 'UDP tunnel decap filter must match the whole enc_dst_port'
  const port = (key[K.KEY_ENC_PORT_DST] << 8) | key[K.KEY_ENC_PORT_DST + 1]
  if (kind === NETDEV_KIND_VXLAN && !isVxlanPort(a, port)) {
    return 'Matched UDP dst port is not registered as a VXLAN port'
  }
  return kind === NETDEV_KIND_GENEVE && port !== GENEVE_PORT
    ? 'Matched UDP dst port is not registered as a Geneve port'
    : undefined
}

/** Does the card take packets to this port for VXLAN: the assigned one, or that of a device? */
export function isVxlanPort(a: Arena, port: number): boolean {
  if (port === VXLAN_PORT) return true
  for (let dev = nextNetdev(a, 0); dev !== 0; dev = nextNetdev(a, dev)) {
    if (a.m[(dev + NETDEV_KIND) >> 2] !== NETDEV_KIND_VXLAN) continue
    const own = a.m[(dev + NETDEV_TP_DST) >> 2]
    if ((((own & 0xff) << 8) | ((own >> 8) & 0xff)) === port) return true
  }
  return false
}

// RFC 6040: decapsulation may change the inner ECN bits before they are looked at.
function ecnRefused(key: Uint8Array, mask: Uint8Array): string | undefined {
  const [outer, inner] = [mask[K.KEY_ENC_TOS] & ECN, mask[K.KEY_IP_TOS] & ECN]
  if (outer !== 0 && outer !== ECN) return "Partial match on the ECN bits of enc_tos isn't supported"
  if (inner === 0) return undefined
  if (outer === 0) return "Match on the ECN bits of tos without those of enc_tos isn't supported"
  if (inner !== ECN) return "Partial match on the ECN bits of tos with those of enc_tos isn't supported"
  const [out, within] = [key[K.KEY_ENC_TOS] & ECN, key[K.KEY_IP_TOS] & ECN]
  if (out === ECT_1) return "Match on the ECN bits of tos with enc_tos ECT(1) isn't supported"
  return out === CE && within !== CE ? "Match on the ECN bits of tos with enc_tos CE isn't supported" : undefined
}

function optionsRefused(key: Uint8Array, mask: Uint8Array, kind: number, chain: number): string | undefined {
  if (mask[K.KEY_ENC_OPTS_LEN] === 0) return undefined
  const length = key[K.KEY_ENC_OPTS_LEN]
  const data = mask.subarray(K.KEY_ENC_OPTS, K.KEY_ENC_OPTS + length)
  switch (key[K.KEY_ENC_OPTS_KIND]) {
    case K.ENC_OPTS_ERSPAN:
      return 'Unsupported key: erspan_opts'
    case K.ENC_OPTS_GTP:
      return 'Unsupported key: gtp_opts'
    case K.ENC_OPTS_VXLAN:
      return kind === NETDEV_KIND_VXLAN ? undefined : 'Matching on VXLAN options is supported only on a VXLAN device'
    default:
  }
  if (chain !== 0) {
    const isAll = data.every((b) => b === 0xff)
    return isAll || data.every((b) => b === 0)
      ? undefined
      : 'Partial match on tunnel options in chain > 0 is not supported'
  }
  if (kind !== NETDEV_KIND_GENEVE) return 'Matching on Geneve options is supported only on a Geneve device'
  if (data.every((b) => b === 0)) return undefined
  const first = GENEVE_OPT_LEN + 4 * (key[K.KEY_ENC_OPTS + 3] & 0x1f)
  if (length > first) return 'Matching on Geneve options is supported for one option'
  const value = key.subarray(K.KEY_ENC_OPTS + GENEVE_OPT_LEN, K.KEY_ENC_OPTS + length)
  return value.every((b) => b === 0) ? 'Match on Geneve option data that is zero is not supported' : undefined
}
