// What the mlx5e driver says to a rule's list of actions, when a switch runs with its profile: `offload` of each kind is
// asked in the order of the list, with what the actions before it have left here (parse_tc_fdb_actions and
// en/tc/act/*.c). The sentences are the driver's, in substance.

import type { Rewrites } from './pedit_offload.ts'

export interface OffloadRule {
  /** Key and mask of the filter (memory/layout/flow_key.ts). */
  readonly key: Uint8Array
  readonly mask: Uint8Array
  /** The metadata of a tunnel_key set that was met, 0 when none was since the last output. */
  tun: number
  decap: boolean
  /** Outputs, and goto: a rule must have one, or drop, or pass. */
  forwards: number
  ends: boolean
  /** Devices that the packet goes to since its header changed last. */
  readonly outputs: Set<number>
  pedits: number
  /** What the pedits since the list was last cut rewrite. */
  readonly rewrites: Rewrites
  vlanPush: number
  vlanPop: number
  /** mpls push, mpls pop, vlan pop_eth and vlan push_eth were met. */
  mpls: boolean
  mplsPop: boolean
  ethPop: boolean
  ethPush: boolean
  /** NETDEV_KIND_* of the filter's device, 0 of a shared block. */
  readonly kind: number
  /** Is this a UDP port that the card takes for VXLAN? */
  isVxlanPort(port: number): boolean
  /** Of the action: its place in the list, and whether it is the last. */
  place: number
  isLast: boolean
}

export const offloadRule = (
  key: Uint8Array,
  mask: Uint8Array,
  kind: number,
  isVxlanPort: (port: number) => boolean,
): OffloadRule => ({
  key,
  mask,
  kind,
  isVxlanPort,
  place: 0,
  isLast: false,
  rewrites: new Map(),
  tun: 0,
  decap: false,
  forwards: 0,
  ends: false,
  outputs: new Set(),
  pedits: 0,
  vlanPush: 0,
  vlanPop: 0,
  mpls: false,
  mplsPop: false,
  ethPop: false,
  ethPush: false,
})

/** Outputs that one rule may have (MLX5_MAX_FLOW_FWD_VPORTS). */
export const OUTPUTS_MAX = 32

/** The packet that goes out from here on is not the one that went out before. */
export function headerChanged(r: OffloadRule): void {
  r.outputs.clear()
}

/** The list goes on in another table (connection tracking, police, sample): rewrites are gathered anew. */
export function listCut(r: OffloadRule): void {
  r.rewrites.clear()
  headerChanged(r)
}
