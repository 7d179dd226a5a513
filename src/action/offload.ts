// What the mlx5e driver says to a rule's list of actions, when a switch runs with its profile: `offload` of each kind is
// asked in the order of the list, with what the actions before it have left here (parse_tc_fdb_actions and
// en/tc/act/*.c). The sentences are the driver's, in substance.

export interface OffloadRule {
  /** Key and mask of the filter (memory/layout/flow_key.ts). */
  readonly key: Uint8Array
  readonly mask: Uint8Array
  /** tunnel_key set was met, and no output yet. */
  encap: boolean
  decap: boolean
  /** Outputs, and goto: a rule must have one, or drop, or pass. */
  forwards: number
  ends: boolean
  /** Devices that the packet goes to since its header changed last. */
  readonly outputs: Set<number>
  pedits: number
  vlanPush: number
  vlanPop: number
  mpls: boolean
}

export const offloadRule = (key: Uint8Array, mask: Uint8Array): OffloadRule => ({
  key,
  mask,
  encap: false,
  decap: false,
  forwards: 0,
  ends: false,
  outputs: new Set(),
  pedits: 0,
  vlanPush: 0,
  vlanPop: 0,
  mpls: false,
})

/** Outputs that one rule may have (MLX5_MAX_FLOW_FWD_VPORTS). */
export const OUTPUTS_MAX = 32

/** The packet that goes out from here on is not the one that went out before. */
export function headerChanged(r: OffloadRule): void {
  r.outputs.clear()
}
