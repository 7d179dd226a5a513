// Action programs: what a flow makes the datapath do. A program is an immutable array of 32-bit words;
// an op is a word `opcode | words << 8` (words counts the op's own words, this one included) and its operands.
// FLOW_ACTIONS points to the first op. Addresses are byte addresses in the arena.
//
// Verdicts are the kernel's TC_ACT_*; running into OP_END hands one to the classifier loop.

/** OP_END verdict: TC_ACT_OK, SHOT, UNSPEC (next prio), RECLASSIFY, STOLEN, TRAP. */
export const OP_END = 0
/** OP_GOTO chain: classify on from this chain. */
export const OP_GOTO = 1
/** OP_COUNT counter: packets += 1, bytes += length at the start of the list. */
export const OP_COUNT = 2
/** OP_JUMP words: skip forward by that many words from the next op. */
export const OP_JUMP = 3
/** OP_REDIRECT netdev flags counter: send the packet and end (flags REDIRECT_INGRESS), overlimits on counter when the device is down. The program goes on behind it when REDIRECT_MIRROR is set (a clone was sent). */
export const OP_REDIRECT = 4
/** OP_TUNNEL_SET tun_info. */
export const OP_TUNNEL_SET = 5
/** OP_TUNNEL_UNSET. */
export const OP_TUNNEL_UNSET = 6
/** OP_ENCAP entry flags counter: as OP_REDIRECT to the entry's tunnel device with the entry's metadata, its header already known. */
export const OP_ENCAP = 7
/** OP_VLAN_PUSH tpid tci counter: tpid be16 as a little-endian number, tci host order. counter: drops when it fails. */
export const OP_VLAN_PUSH = 8
export const OP_VLAN_POP = 9
/** OP_VLAN_MODIFY tpid tci mask counter: mask says which bits of the tci are set (0xfff id, 0xe000 prio). tpid 0 keeps it. */
export const OP_VLAN_MODIFY = 10
/** First opcode of the actions beyond the first slice; each says its operands in its catalogue file. */
export const OP_FIRST_OTHER = 16

export const REDIRECT_MIRROR = 1
export const REDIRECT_INGRESS = 2
