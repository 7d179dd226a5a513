// The profile mlx5: would a ConnectX's driver take this rule? (parse_cls_flower, parse_tc_fdb_actions.)
//
// A switch with this profile refuses to offload what the driver refuses, with its reason, and shows the rest as in_hw.
// Packets do not see a difference: what is not offloaded runs in software, as with the driver. Only skip_sw makes it one
// of life and death: such a rule is refused. The reasons are the driver's, in substance; which keys and actions it knows
// is that of 6.1 with an eswitch in switchdev mode.

import { kindById } from '../action/index.ts'
import { type OffloadRule, offloadRule } from '../action/offload.ts'
import { ACT_HW_STATS, ACT_KIND } from '../memory/layout/action.ts'
import {
  BLOCK_DEV,
  BLOCK_INDEX,
  CHAIN_BLOCK,
  FLOW_CLS_FLAGS,
  FLOW_F_EGRESS,
  FLOW_FLAGS,
  FLOW_NACTIONS,
  FLOW_PRIO,
  MASK_RANGE_DST,
  MASK_RANGE_SRC,
  PRIO_CHAIN,
} from '../memory/layout/flow.ts'
import * as K from '../memory/layout/flow_key.ts'
import { NETDEV_IFINDEX, NETDEV_KIND, NETDEV_KIND_BAREUDP } from '../memory/layout/netdev.ts'
import { TCA_CLS_FLAGS_IN_HW, TCA_CLS_FLAGS_SKIP_HW } from '../wire/tcm.ts'
import { type Classifier, classifierOf, flower, unpack } from './classifier.ts'
import { ACTIONS_MAX } from './compile.ts'
import { type FlowContext, PROFILE_MLX5, profileOf } from './context.ts'
import { actionOf } from './flow.ts'
import { type MatchScratch, matchScratch } from './match_scratch.ts'

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
const HW_STATS_DELAYED = 2

const looksAt = (mask: Uint8Array, at: number, bytes: number): boolean => {
  for (let i = at; i < at + bytes; i++) if (mask[i] !== 0) return true
  return false
}

/** What the driver says to the keys. */
function keysRefused(s: MatchScratch, ifindex: number, bareudp: boolean): string | undefined {
  const { key, mask } = s
  for (const [at, bytes, reason] of UNSUPPORTED) if (looksAt(mask, at, bytes)) return reason
  if ((s.maskFlags & (MASK_RANGE_SRC | MASK_RANGE_DST)) !== 0) return 'Unsupported key: port range'
  if ((mask[K.KEY_FLAGS] & K.FLOW_FIRST_FRAG) !== 0) return 'Match on frag first/later is not supported'
  if (looksAt(mask, K.KEY_INDEV, 4)) {
    if (mask.subarray(K.KEY_INDEV, K.KEY_INDEV + 4).some((b) => b !== 255)) return 'Unsupported ingress ifindex mask'
    if (s.key32[K.KEY_INDEV >> 2] !== ifindex) return "Can't match on the ingress filter port"
  }
  const proto = key[K.KEY_IP_PROTO]
  if (looksAt(mask, K.KEY_PORT_SRC, 4) && proto !== IPPROTO_TCP && proto !== IPPROTO_UDP) {
    return 'Only UDP and TCP transports are supported for L4 matching'
  }
  if (looksAt(mask, K.KEY_MPLS_LSE, 28) && !bareudp) return 'Matching on MPLS is supported only for MPLS over UDP'
  const opts = mask[K.KEY_ENC_OPTS_LEN] === 0 ? 0 : key[K.KEY_ENC_OPTS_KIND]
  if (opts === K.ENC_OPTS_ERSPAN) return 'Unsupported key: erspan_opts'
  if (opts === K.ENC_OPTS_GTP) return 'Unsupported key: gtp_opts'
  const state = key[K.KEY_CT_STATE] & mask[K.KEY_CT_STATE]
  if ((state & CT_RELATED) !== 0) return "Matching on ct_state +rel isn't supported"
  if ((state & CT_INVALID) !== 0) return "Matching on ct_state +inv isn't supported"
  return undefined
}

/** What it says to the actions. */
function actionsRefused(m: Int32Array, s: MatchScratch, acts: Int32Array, n: number): string | undefined {
  const rule: OffloadRule = offloadRule(s.key, s.mask)
  const stats = n === 0 ? 0 : m[(acts[0] + ACT_HW_STATS) >> 2]
  for (let i = 0; i < n; i++) {
    const kind = kindById(m[(acts[i] + ACT_KIND) >> 2])
    if (kind === undefined) return 'The offload action is not supported'
    const hwStats = m[(acts[i] + ACT_HW_STATS) >> 2]
    if (hwStats !== stats) return 'Mixing HW stats types for actions is not supported'
    if ((hwStats & HW_STATS_DELAYED) === 0) return "Driver doesn't support the selected HW stats type"
    if (kind.driverRefuses === undefined) return `The offload action is not supported: ${kind.name}`
    const reason = kind.driverRefuses(m, acts[i], rule)
    if (reason !== undefined) return reason
  }
  if (rule.encap || (rule.forwards === 0 && !rule.ends)) return 'Rule must have at least one forward/drop action'
  return undefined
}

/** Where a rule is. */
export interface OffloadPlace {
  readonly kind: Classifier
  readonly block: number
  readonly direction: number
}

/** Why the driver does not take the rule of the scratch, or undefined: it does. */
export function offloadRefused(
  c: FlowContext,
  at: OffloadPlace,
  s: MatchScratch,
  acts: Int32Array,
  n: number,
): string | undefined {
  const { m } = c.a
  if (at.kind !== flower) return `Filters of kind ${at.kind.name} are not offloaded`
  if ((at.direction & FLOW_F_EGRESS) !== 0) return 'The driver takes filters of ingress hooks only'
  const shared = m[(at.block + BLOCK_INDEX) >> 2] !== 0
  const dev = shared ? 0 : m[(at.block + BLOCK_DEV) >> 2]
  const bareudp = dev !== 0 && m[(dev + NETDEV_KIND) >> 2] === NETDEV_KIND_BAREUDP
  const ifindex = dev === 0 ? 0 : m[(dev + NETDEV_IFINDEX) >> 2]
  return keysRefused(s, ifindex, bareudp) ?? actionsRefused(m, s, acts, n)
}

const scratch = matchScratch()
const actions = new Int32Array(ACTIONS_MAX)

/**
 * Why a flow is not in hardware: undefined when it is, or when the switch has no such profile; for whoever shows flows.
 * The caller holds the flow.
 */
export function offloadWhy(c: FlowContext, flow: number): string | undefined {
  const { m } = c.a
  if (profileOf(c.a) !== PROFILE_MLX5) return undefined
  const flags = m[(flow + FLOW_CLS_FLAGS) >> 2]
  if ((flags & TCA_CLS_FLAGS_IN_HW) !== 0) return undefined
  if ((flags & TCA_CLS_FLAGS_SKIP_HW) !== 0) return 'The rule says skip_hw'
  const prio = m[(flow + FLOW_PRIO) >> 2]
  unpack(m, flow, scratch)
  scratch.maskFlags = (scratch.rangeSrc === 0 ? 0 : MASK_RANGE_SRC) | (scratch.rangeDst === 0 ? 0 : MASK_RANGE_DST)
  const n = m[(flow + FLOW_NACTIONS) >> 2]
  for (let i = 0; i < n; i++) actions[i] = actionOf(m, flow, i)
  const place: OffloadPlace = {
    kind: classifierOf(m, prio),
    block: m[(m[(prio + PRIO_CHAIN) >> 2] + CHAIN_BLOCK) >> 2],
    direction: m[(flow + FLOW_FLAGS) >> 2],
  }
  return offloadRefused(c, place, scratch, actions, n)
}
