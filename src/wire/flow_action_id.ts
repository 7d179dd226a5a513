// enum flow_action_id of Linux 6.1 (include/net/flow_offload.h): what a filter's actions are called when a driver is asked
// to take them. Here they are for the trace points.

export const FLOW_ACTION_ACCEPT = 0
export const FLOW_ACTION_DROP = 1
export const FLOW_ACTION_TRAP = 2
export const FLOW_ACTION_GOTO = 3
export const FLOW_ACTION_REDIRECT = 4
export const FLOW_ACTION_MIRRED = 5
export const FLOW_ACTION_REDIRECT_INGRESS = 6
export const FLOW_ACTION_MIRRED_INGRESS = 7
export const FLOW_ACTION_VLAN_PUSH = 8
export const FLOW_ACTION_VLAN_POP = 9
export const FLOW_ACTION_VLAN_MANGLE = 10
export const FLOW_ACTION_TUNNEL_ENCAP = 11
export const FLOW_ACTION_TUNNEL_DECAP = 12
export const FLOW_ACTION_MANGLE = 13
export const FLOW_ACTION_ADD = 14
export const FLOW_ACTION_CSUM = 15
export const FLOW_ACTION_MARK = 16
export const FLOW_ACTION_PTYPE = 17
export const FLOW_ACTION_PRIORITY = 18
export const FLOW_ACTION_WAKE = 19
export const FLOW_ACTION_QUEUE = 20
export const FLOW_ACTION_SAMPLE = 21
export const FLOW_ACTION_POLICE = 22
export const FLOW_ACTION_CT = 23
export const FLOW_ACTION_MPLS_PUSH = 25
export const FLOW_ACTION_MPLS_POP = 26
export const FLOW_ACTION_MPLS_MANGLE = 27
export const FLOW_ACTION_GATE = 28
export const FLOW_ACTION_JUMP = 30
export const FLOW_ACTION_PIPE = 31
export const FLOW_ACTION_VLAN_PUSH_ETH = 32
export const FLOW_ACTION_VLAN_POP_ETH = 33
export const FLOW_ACTION_CONTINUE = 34
/** Of an action that no driver is asked for. */
export const FLOW_ACTION_INVALID = 35
/** How many there are. */
export const NUM_FLOW_ACTIONS = 35
