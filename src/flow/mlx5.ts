// The profile mlx5: would a ConnectX's driver take this rule? (parse_cls_flower, parse_tc_fdb_actions.)
//
// A switch with this profile refuses to offload what the driver refuses, with its reason, and shows the rest as in_hw.
// Packets do not see a difference: what is not offloaded runs in software, as with the driver. Only skip_sw makes it one
// of life and death: such a rule is refused. The reasons are the driver's, in substance; which keys and actions it knows
// is that of 6.1 with an eswitch in switchdev mode.

import { kindById } from '../action/index.ts'
import { type OffloadRule, offloadRule } from '../action/offload.ts'
import { rewritesRefused } from '../action/pedit_offload.ts'
import { police, ratePoliceRefused } from '../action/police.ts'
import type { Arena } from '../memory/arena.ts'
import { ACT_HW_STATS, ACT_KIND } from '../memory/layout/action.ts'
import {
  BLOCK_DEV,
  BLOCK_INDEX,
  CHAIN_BLOCK,
  CHAIN_INDEX,
  FLOW_CLS_FLAGS,
  FLOW_F_EGRESS,
  FLOW_FLAGS,
  FLOW_NACTIONS,
  FLOW_PRIO,
  MASK_RANGE_DST,
  MASK_RANGE_SRC,
  PRIO_CHAIN,
  PRIO_PREF,
} from '../memory/layout/flow.ts'
import { NETDEV_KIND } from '../memory/layout/netdev.ts'
import { TCA_ACT_HW_STATS_DELAYED, TCA_ACT_HW_STATS_IMMEDIATE } from '../wire/tca_action.ts'
import { TCA_CLS_FLAGS_IN_HW, TCA_CLS_FLAGS_SKIP_HW } from '../wire/tcm.ts'
import { classifierOf, flower, matchall, unpack } from './classifier.ts'
import { ACTIONS_MAX } from './compile.ts'
import { type FlowContext, PROFILE_MLX5, profileOf } from './context.ts'
import { actionOf } from './flow.ts'
import { type MatchScratch, matchScratch } from './match_scratch.ts'
import { isVxlanPort, keysRefused } from './mlx5_keys.ts'

const HW_STATS_ANY = TCA_ACT_HW_STATS_IMMEDIATE | TCA_ACT_HW_STATS_DELAYED

/** What it says to the actions. */
function actionsRefused(a: Arena, s: MatchScratch, dev: number, acts: Int32Array, n: number): string | undefined {
  const { m } = a
  const rule: OffloadRule = offloadRule(s.key, s.mask, m[(dev + NETDEV_KIND) >> 2], (port) => isVxlanPort(a, port))
  const stats = n === 0 ? 0 : m[(acts[0] + ACT_HW_STATS) >> 2]
  for (let i = 0; i < n; i++) {
    const kind = kindById(m[(acts[i] + ACT_KIND) >> 2])
    if (kind === undefined) return 'The offload action is not supported'
    const hwStats = m[(acts[i] + ACT_HW_STATS) >> 2]
    if (hwStats !== stats) return 'Mixing HW stats types for actions is not supported'
    if ((hwStats & TCA_ACT_HW_STATS_DELAYED) === 0) return "Driver doesn't support the selected HW stats type"
    if (kind.driverRefuses === undefined) return `The offload action is not supported: ${kind.name}`
    rule.place = i
    rule.isLast = i === n - 1
    const reason = kind.driverRefuses(m, acts[i], rule)
    if (reason !== undefined) return reason
  }
  const reason = rewritesRefused(rule.rewrites, rule)
  if (reason !== undefined) return reason
  if (rule.tun !== 0 || (rule.forwards === 0 && !rule.ends)) return 'Rule must have at least one forward/drop action'
  return undefined
}

/** Where a rule is. */
export interface OffloadPlace {
  readonly prio: number
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
  const kind = classifierOf(m, at.prio)
  if (kind !== flower && kind !== matchall) return `Filters of kind ${kind.name} are not offloaded`
  if ((at.direction & FLOW_F_EGRESS) !== 0) return 'The driver takes filters of ingress hooks only'
  if (kind === matchall) return matchallRefused(m, m[(at.prio + PRIO_PREF) >> 2], acts, n)
  const shared = m[(at.block + BLOCK_INDEX) >> 2] !== 0
  const dev = shared ? 0 : m[(at.block + BLOCK_DEV) >> 2]
  const chain = m[(m[(at.prio + PRIO_CHAIN) >> 2] + CHAIN_INDEX) >> 2]
  return keysRefused(c.a, s, dev, chain) ?? actionsRefused(c.a, s, dev, acts, n)
}

/** mlx5e_tc_configure_matchall of a representor: its ingress rate, and nothing else. */
function matchallRefused(m: Int32Array, pref: number, acts: Int32Array, n: number): string | undefined {
  if (pref !== 1) return 'Only the first priority is supported for matchall'
  if (n === 0) return 'Matchall called with no action'
  if (n > 1) return 'Matchall supports only a single action'
  if (m[(acts[0] + ACT_HW_STATS) >> 2] !== HW_STATS_ANY) return "Driver doesn't support the selected HW stats type"
  if (m[(acts[0] + ACT_KIND) >> 2] !== police.id) return 'Matchall supports only the police action'
  return ratePoliceRefused(m, acts[0])
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
    prio,
    block: m[(m[(prio + PRIO_CHAIN) >> 2] + CHAIN_BLOCK) >> 2],
    direction: m[(flow + FLOW_FLAGS) >> 2],
  }
  return offloadRefused(c, place, scratch, actions, n)
}
