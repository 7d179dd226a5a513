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
/** OP_JUMP words: skip by that many words from the next op; backward when negative. */
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
/** First opcode of the actions beyond the first slice. */
export const OP_FIRST_OTHER = 16

// Of the ops below: "refuses" means: the packet is
// dropped (DROP_ACTION), the program ends, drops of `counter` go up by one. Numbers of more than a byte that are called
// be16 or be32 are as on the wire, loaded little-endian. Offsets into the packet count from L3 (the network header as
// the kernel has it at this hook, behind the VLAN tags that the frame had when it came in) unless said otherwise.

/**
 * OP_RANDOM type val state counter drops words: gact random, a fork. With type 1 (netrand) one packet in `val`, by chance;
 * with type 2 (determ) the packets for which the word at address `state`, counted up atomically, is a multiple of `val`:
 * these go on `words` words behind the next op, the others with the next op. drops: FORK_DROPS_*, what counts as a drop.
 */
export const OP_RANDOM = 16
/**
 * OP_PEDIT counter n, then n times: where off val mask at offmask shift. where = PEDIT_HTYPE | PEDIT_ADD. For each key in
 * order: base is L3, for ETH the Ethernet header, for TCP and UDP the transport header: of IPv4 L3 + 4 * ihl whatever
 * the protocol, of IPv6 the header of that protocol behind the extension headers (none: the key fails). With offmask
 * not 0, off += (the byte at base + at & offmask) >> shift. The word there (little-endian load) becomes
 * (word & mask) ^ val, with PEDIT_ADD (word & mask) ^ ((word + val) & ~mask). A key fails when off is no multiple of 4
 * after the shift, or the word is not all in the packet: overlimits of counter go up, the rest of the keys is left out,
 * the program goes on.
 */
export const OP_PEDIT = 17
/** OP_CSUM flags counter: TCA_CSUM_UPDATE_FLAG_*; BEHAVIOUR of act_csum; refuses when a header is cut short. */
export const OP_CSUM = 18
/** OP_MPLS_POP ethertype(be16) counter: takes the top entry away; the frame's type becomes ethertype. Not MPLS: nothing. */
export const OP_MPLS_POP = 19
/** OP_MPLS_PUSH lse(host order) ethertype(be16) flags counter: pushes in front of L3, with MPLS_PUSH_MAC in front of the Ethernet header. MPLS_PUSH_BOS: the bottom bit is set when what follows is not MPLS. */
export const OP_MPLS_PUSH = 20
/** OP_MPLS_MODIFY lse mask(host order) counter: the bits of the top entry that mask has. Refuses what is not MPLS. */
export const OP_MPLS_MODIFY = 21
/** OP_MPLS_DEC_TTL counter: refuses when the ttl gets 0, or on what is not MPLS. */
export const OP_MPLS_DEC_TTL = 22
/** OP_VLAN_POP_ETH counter: takes the Ethernet header away; refuses a frame with VLAN tags, or without Ethernet header. */
export const OP_VLAN_POP_ETH = 23
/** OP_VLAN_PUSH_ETH dst0-3 dst4-5|src0-1 src2-5 counter: the twelve bytes as on the wire. Refuses a frame that has an Ethernet header. */
export const OP_VLAN_PUSH_ETH = 24
/**
 * OP_POLICE police counter drops words: address of the state (POLICE_*), a fork. Who conforms goes on with the next op; who
 * exceeds counts an overlimit and goes on `words` words behind it. drops: FORK_DROPS_*.
 */
export const OP_POLICE = 25
/** OP_CT params counter: address of CT_*; connection tracking. */
export const OP_CT = 26
/** OP_CT_CLEAR */
export const OP_CT_CLEAR = 27
/** OP_NAT old(be32) new(be32) mask(be32) egress counter: act_nat: rewrites source (egress 1) or destination where (addr & mask) == (old & mask) to (new & mask) | (addr & ~mask), with the checksums of IPv4, TCP, UDP, and inside ICMP errors; refuses when a header is cut short. */
export const OP_NAT = 28
/** OP_SKBEDIT flags priority mark markmask queue ptype: SKBEDIT_F_*; INHERITDSFIELD sets the priority from the DS field (refuses nothing but a cut header: DROP_ACTION, counter). Last operand: counter. */
export const OP_SKBEDIT = 29
/** OP_SKBMOD flags dst0-3 dst4-5|src0-1 src2-5 ethertype(be16) counter: SKBMOD_F_*; a frame without Ethernet header goes on unchanged. */
export const OP_SKBMOD = 30
/** OP_SAMPLE rate group trunc action: one packet in `rate`, by chance, is copied (PUNT_SAMPLE, EMIT_ARG action), the first `trunc` bytes when trunc is not 0. */
export const OP_SAMPLE = 31
/** OP_GATE gate counter: address of the schedule (GATE_*); refuses when it is closed, overlimits when max-octets are used up. */
export const OP_GATE = 32

/** OP_CONNMARK zone counter: the packet's mark becomes that of its connection in the zone, if it has one, which counts as an overlimit (act_connmark). */
export const OP_CONNMARK = 33
/** OP_CTINFO zone dscpmask statemask cpmask counts: from the mark of its connection in the zone, the DS field of the packet (dscpmask not 0) and its mark (cpmask not 0), as act_ctinfo. counts: address of three words, counted up atomically: DS fields set, not set because of an error, marks set. */
export const OP_CTINFO = 34

export const PEDIT_HTYPE_MASK = 0xff
export const PEDIT_ADD = 0x100
export const MPLS_PUSH_BOS = 1
export const MPLS_PUSH_MAC = 2

export const REDIRECT_MIRROR = 1
export const REDIRECT_INGRESS = 2
/** It is the first action of its list: counter has the packet already, and gives it back when the nest limit ends it. */
export const REDIRECT_FIRST = 4

/** What an op that forks counts as a drop: the packets of the first way (who goes on with the next op), of the other. */
export const FORK_DROPS = 1
export const FORK_DROPS_OTHER = 2
