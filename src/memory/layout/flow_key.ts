// The flow key: everything a flower rule can look at, laid end to end.
//
// The datapath's dissector writes one for every packet; a mask is the same bytes with ones where a
// rule looks. Fields hold wire (network) byte order, as the kernel's struct fl_flow_key does, so that
// an rtnetlink attribute is copied in as it came. A field that a packet does not have is zero.
// Offsets are bytes. Both compilers import this file: integer constants only.
//
// The key is four groups of one cache line and, only for rules that match tunnel options, four more:
// a packet that is plain IPv4 dirties the first line alone.

// ---- group 0: what most packets have
/** EtherType of the innermost known header, as basic.n_proto (be16). */
export const KEY_N_PROTO = 0
/** IP protocol or the last IPv6 next header (u8). */
export const KEY_IP_PROTO = 2
/** FLOW_IS_FRAGMENT, FLOW_FIRST_FRAG, FLOW_ADDR_IPV4 or FLOW_ADDR_IPV6 (u8). */
export const KEY_FLAGS = 3
export const KEY_ETH_DST = 4
export const KEY_ETH_SRC = 10
// The bytes of an IPv4 header's addresses and the ports behind them, as they stand in a frame (chip/quick_key.ts).
export const KEY_IPV4_SRC = 16
export const KEY_IPV4_DST = 20
export const KEY_PORT_SRC = 24
export const KEY_PORT_DST = 26
export const KEY_IP_TOS = 28
export const KEY_IP_TTL = 29
/** The 12 flag bits of TCP (be16). */
export const KEY_TCP_FLAGS = 30
/** prio<<13 | id (be16); the DEI bit is always zero. */
export const KEY_VLAN_TCI = 32
export const KEY_VLAN_TPID = 34
export const KEY_CVLAN_TCI = 36
export const KEY_CVLAN_TPID = 38
export const KEY_ICMP_TYPE = 40
export const KEY_ICMP_CODE = 41
export const KEY_NUM_OF_VLANS = 42
export const KEY_L2_MISS = 43
/** ifindex the packet came in by (u32, host order). */
export const KEY_INDEV = 44
export const KEY_VLAN_ETH_TYPE = 48
export const KEY_CVLAN_ETH_TYPE = 50
export const KEY_PPPOE_SID = 52
export const KEY_PPP_PROTO = 54
export const KEY_PPPOE_TYPE = 56
export const KEY_CFM_MDL = 58
export const KEY_CFM_OPCODE = 59
/** skb hash (u32, host order). */
export const KEY_HASH = 60

// ---- group 1: IPv6 and ARP
export const KEY_IPV6_SRC = 64
export const KEY_IPV6_DST = 80
export const KEY_ARP_SIP = 96
export const KEY_ARP_TIP = 100
export const KEY_ARP_SHA = 104
export const KEY_ARP_THA = 110
export const KEY_ARP_OP = 116
export const KEY_L2TPV3_SID = 120
export const KEY_SPI = 124

// ---- group 2: the tunnel the packet came out of, or is about to go into
/** be32, the low word of the tunnel id. */
export const KEY_ENC_KEY_ID = 128
export const KEY_ENC_IPV4_SRC = 132
export const KEY_ENC_IPV4_DST = 136
/** TUNNEL_* flag bits that flower's enc_flags names (u32, host order). */
export const KEY_ENC_FLAGS = 140
export const KEY_ENC_IPV6_SRC = 144
export const KEY_ENC_IPV6_DST = 160
export const KEY_ENC_PORT_SRC = 176
export const KEY_ENC_PORT_DST = 178
export const KEY_ENC_TOS = 180
export const KEY_ENC_TTL = 181
/** ADDR_TYPE_NONE, ADDR_TYPE_IPV4 or ADDR_TYPE_IPV6 (u8). */
export const KEY_ENC_ADDR_TYPE = 182

// ---- group 3: MPLS and connection tracking
/** Seven label stack entries, top first, as on the wire (be32 each). */
export const KEY_MPLS_LSE = 192
/** u16, host order, TCA_FLOWER_KEY_CT_FLAGS_*. */
export const KEY_CT_STATE = 220
export const KEY_CT_ZONE = 222
export const KEY_CT_MARK = 224
export const KEY_CT_LABELS = 228
/** Kind of tunnel options: ENC_OPTS_* (u8), then their length in bytes (u8). */
export const KEY_ENC_OPTS_KIND = 244
export const KEY_ENC_OPTS_LEN = 245
/** Bit i: the packet has a label stack entry i + 1 (u8). */
export const KEY_MPLS_USED = 246

/** skb->mark (u32, host order), which `fw` filters look at. */
export const KEY_MARK = 248
/** Zero in every packet: a filter that looks here for ones never matches. */
export const KEY_NEVER = 252

/** The key without tunnel options. */
export const KEY_SIZE = 256
/** Tunnel options as they are in the packet, up to 252 bytes. */
export const KEY_ENC_OPTS = 256
export const KEY_SIZE_OPTS = 512

export const FLOW_IS_FRAGMENT = 1
export const FLOW_FIRST_FRAG = 2
/** A whole IPv4, or IPv6, header was read: control.addr_type. A rule that asks for both can never match. */
export const FLOW_ADDR_IPV4 = 4
export const FLOW_ADDR_IPV6 = 8

export const ADDR_TYPE_NONE = 0
export const ADDR_TYPE_IPV4 = 2
export const ADDR_TYPE_IPV6 = 3

export const ENC_OPTS_GENEVE = 1
export const ENC_OPTS_VXLAN = 2
export const ENC_OPTS_ERSPAN = 3
export const ENC_OPTS_GTP = 4
