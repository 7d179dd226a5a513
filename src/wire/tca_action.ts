// Actions: RTM_{NEW,DEL,GET}ACTION, the TCA_ACT_* attributes that wrap every action, and the TCA_ACT_OPTIONS of each
// kind (include/uapi/linux/pkt_cls.h, tc_act/*.h, kernel 6.1). Constants carry the kernel's names.
//
// An action's parameters begin with struct tc_gen (index, capab, action, refcnt, bindcnt); a TM attribute is struct
// tcf_t. The rest of each kind's structure is written in one line over its attributes.

import type { Builder } from './netlink.ts'

export const RTM_NEWACTION = 48
export const RTM_DELACTION = 49
export const RTM_GETACTION = 50

/** struct tcamsg, the fixed part of an action message. */
export const TCAMSG_LEN = 4
/** Where the attributes of an action message begin. */
export const TCAMSG_ATTRS = 20

/** struct tcamsg { u8 family; u8 pad; u16 pad; } */
export const tcamsg = (b: Builder, family = 0): void => b.u32(family)

/** Attributes of an action message: TCA_ACT_TAB is the list of actions, numbered from 1. */
export const TCA_ROOT_UNSPEC = 0
export const TCA_ROOT_TAB = 1
export const TCA_ACT_TAB = 1
export const TCAA_MAX = 1
export const TCA_ROOT_FLAGS = 2
export const TCA_ROOT_COUNT = 3
export const TCA_ROOT_TIME_DELTA = 4
export const TCA_ROOT_EXT_WARN_MSG = 5
/** TCA_ROOT_FLAGS */
export const TCA_ACT_FLAG_LARGE_DUMP_ON = 1
export const TCA_ACT_FLAG_TERSE_DUMP = 2

/** Most actions of one list. */
export const TCA_ACT_MAX_PRIO = 32

/** struct tc_gen, the beginning of every action's parameters: u32 index, capab; i32 action, refcnt, bindcnt. */
export const TC_GEN_LEN = 20
export const genIndex = (d: DataView, o: number): number => d.getUint32(o, true)
export const genCapab = (d: DataView, o: number): number => d.getUint32(o + 4, true)
export const genAction = (d: DataView, o: number): number => d.getInt32(o + 8, true)
export const genRefcnt = (d: DataView, o: number): number => d.getInt32(o + 12, true)
export const genBindcnt = (d: DataView, o: number): number => d.getInt32(o + 16, true)

/** Writes a struct tc_gen. */
export function tcGen(b: Builder, index: number, action: number, refcnt = 0, bindcnt = 0): void {
  b.u32(index)
  b.u32(0)
  b.u32(action)
  b.u32(refcnt)
  b.u32(bindcnt)
}

/** struct tcf_t { u64 install, lastuse, expires, firstuse; } in clock ticks of 1/100 s. */
export const TCF_T_LEN = 32

/** In an action */
export const TCA_ACT_UNSPEC = 0
export const TCA_ACT_KIND = 1
export const TCA_ACT_OPTIONS = 2
export const TCA_ACT_INDEX = 3
export const TCA_ACT_STATS = 4
export const TCA_ACT_PAD = 5
export const TCA_ACT_COOKIE = 6
export const TCA_ACT_FLAGS = 7
export const TCA_ACT_HW_STATS = 8
export const TCA_ACT_USED_HW_STATS = 9
export const TCA_ACT_IN_HW_COUNT = 10

/** TCA_ACT_FLAGS */
export const TCA_ACT_FLAGS_NO_PERCPU_STATS = 1
export const TCA_ACT_FLAGS_SKIP_HW = 2
export const TCA_ACT_FLAGS_SKIP_SW = 4

/** TCA_ACT_HW_STATS */
export const TCA_ACT_HW_STATS_IMMEDIATE = 1
export const TCA_ACT_HW_STATS_DELAYED = 2

/** What an action ends with: tc_gen.action. The upper four bits extend an opcode by a value in the lower 28. */
export const TC_ACT_UNSPEC = -1
export const TC_ACT_OK = 0
export const TC_ACT_RECLASSIFY = 1
export const TC_ACT_SHOT = 2
export const TC_ACT_PIPE = 3
export const TC_ACT_STOLEN = 4
export const TC_ACT_QUEUED = 5
export const TC_ACT_REPEAT = 6
export const TC_ACT_REDIRECT = 7
export const TC_ACT_TRAP = 8
export const TC_ACT_EXT_VAL_MASK = 0x0fffffff
export const TC_ACT_JUMP = 0x10000000
export const TC_ACT_GOTO_CHAIN = 0x20000000

/** Numbers of the action kinds */
export const TCA_ID_UNSPEC = 0
export const TCA_ID_POLICE = 1
export const TCA_ID_GACT = 5
export const TCA_ID_IPT = 6
export const TCA_ID_PEDIT = 7
export const TCA_ID_MIRRED = 8
export const TCA_ID_NAT = 9
export const TCA_ID_XT = 10
export const TCA_ID_SKBEDIT = 11
export const TCA_ID_VLAN = 12
export const TCA_ID_BPF = 13
export const TCA_ID_CONNMARK = 14
export const TCA_ID_SKBMOD = 15
export const TCA_ID_CSUM = 16
export const TCA_ID_TUNNEL_KEY = 17
export const TCA_ID_SIMP = 22
export const TCA_ID_IFE = 25
export const TCA_ID_SAMPLE = 26
export const TCA_ID_CTINFO = 27
export const TCA_ID_MPLS = 28
export const TCA_ID_CT = 29
export const TCA_ID_GATE = 30

/** gact: TCA_GACT_PARMS is tc_gen; TCA_GACT_PROB is { u16 ptype, u16 pval, i32 paction } */
export const PGACT_NONE = 0
export const TCA_GACT_UNSPEC = 0
export const PGACT_NETRAND = 1
export const TCA_GACT_TM = 1
export const PGACT_DETERM = 2
export const TCA_GACT_PARMS = 2
export const MAX_RAND = 3
export const TCA_GACT_PROB = 3
export const TCA_GACT_PAD = 4

/** mirred: TCA_MIRRED_PARMS is tc_gen, i32 eaction, u32 ifindex */
export const TCA_MIRRED_UNSPEC = 0
export const TCA_EGRESS_REDIR = 1
export const TCA_MIRRED_TM = 1
export const TCA_EGRESS_MIRROR = 2
export const TCA_MIRRED_PARMS = 2
export const TCA_INGRESS_REDIR = 3
export const TCA_MIRRED_PAD = 3
export const TCA_INGRESS_MIRROR = 4

/** tunnel_key: TCA_TUNNEL_KEY_PARMS is tc_gen, i32 t_action */
export const TCA_TUNNEL_KEY_UNSPEC = 0
export const TCA_TUNNEL_KEY_ACT_SET = 1
export const TCA_TUNNEL_KEY_TM = 1
export const TCA_TUNNEL_KEY_ACT_RELEASE = 2
export const TCA_TUNNEL_KEY_PARMS = 2
export const TCA_TUNNEL_KEY_ENC_IPV4_SRC = 3
export const TCA_TUNNEL_KEY_ENC_IPV4_DST = 4
export const TCA_TUNNEL_KEY_ENC_IPV6_SRC = 5
export const TCA_TUNNEL_KEY_ENC_IPV6_DST = 6
export const TCA_TUNNEL_KEY_ENC_KEY_ID = 7
export const TCA_TUNNEL_KEY_PAD = 8
export const TCA_TUNNEL_KEY_ENC_DST_PORT = 9
export const TCA_TUNNEL_KEY_NO_CSUM = 10
export const TCA_TUNNEL_KEY_ENC_OPTS = 11
export const TCA_TUNNEL_KEY_ENC_TOS = 12
export const TCA_TUNNEL_KEY_ENC_TTL = 13
/** Beyond kernel 6.1. */
export const TCA_TUNNEL_KEY_NO_FRAG = 14

/** In TCA_TUNNEL_KEY_ENC_OPTS */
export const TCA_TUNNEL_KEY_ENC_OPTS_UNSPEC = 0
export const TCA_TUNNEL_KEY_ENC_OPTS_GENEVE = 1
export const TCA_TUNNEL_KEY_ENC_OPTS_VXLAN = 2
export const TCA_TUNNEL_KEY_ENC_OPTS_ERSPAN = 3

export const TCA_TUNNEL_KEY_ENC_OPT_GENEVE_UNSPEC = 0
export const TCA_TUNNEL_KEY_ENC_OPT_GENEVE_CLASS = 1
export const TCA_TUNNEL_KEY_ENC_OPT_GENEVE_TYPE = 2
export const TCA_TUNNEL_KEY_ENC_OPT_GENEVE_DATA = 3

export const TCA_TUNNEL_KEY_ENC_OPT_VXLAN_UNSPEC = 0
export const TCA_TUNNEL_KEY_ENC_OPT_VXLAN_GBP = 1

export const TCA_TUNNEL_KEY_ENC_OPT_ERSPAN_UNSPEC = 0
export const TCA_TUNNEL_KEY_ENC_OPT_ERSPAN_VER = 1
export const TCA_TUNNEL_KEY_ENC_OPT_ERSPAN_INDEX = 2
export const TCA_TUNNEL_KEY_ENC_OPT_ERSPAN_DIR = 3
export const TCA_TUNNEL_KEY_ENC_OPT_ERSPAN_HWID = 4

/** vlan: TCA_VLAN_PARMS is tc_gen, i32 v_action */
export const TCA_VLAN_UNSPEC = 0
export const TCA_VLAN_ACT_POP = 1
export const TCA_VLAN_TM = 1
export const TCA_VLAN_ACT_PUSH = 2
export const TCA_VLAN_PARMS = 2
export const TCA_VLAN_ACT_MODIFY = 3
export const TCA_VLAN_PUSH_VLAN_ID = 3
export const TCA_VLAN_ACT_POP_ETH = 4
export const TCA_VLAN_PUSH_VLAN_PROTOCOL = 4
export const TCA_VLAN_ACT_PUSH_ETH = 5
export const TCA_VLAN_PAD = 5
export const TCA_VLAN_PUSH_VLAN_PRIORITY = 6
export const TCA_VLAN_PUSH_ETH_DST = 7
export const TCA_VLAN_PUSH_ETH_SRC = 8

/** pedit: TCA_PEDIT_PARMS is tc_gen, u8 nkeys, u8 flags, pad, then nkeys struct tc_pedit_key of six u32: mask, val, off, at, offmask, shift */
export const TCA_PEDIT_KEY_EX_CMD_SET = 0
export const TCA_PEDIT_KEY_EX_HDR_TYPE_NETWORK = 0
export const TCA_PEDIT_UNSPEC = 0
export const TCA_PEDIT_KEY_EX_CMD_ADD = 1
export const TCA_PEDIT_KEY_EX_HDR_TYPE_ETH = 1
export const TCA_PEDIT_KEY_EX_HTYPE = 1
export const TCA_PEDIT_TM = 1
export const TCA_PEDIT_KEY_EX_CMD = 2
export const TCA_PEDIT_KEY_EX_HDR_TYPE_IP4 = 2
export const TCA_PEDIT_PARMS = 2
export const TCA_PEDIT_KEY_EX_HDR_TYPE_IP6 = 3
export const TCA_PEDIT_PAD = 3
export const TCA_PEDIT_KEY_EX_HDR_TYPE_TCP = 4
export const TCA_PEDIT_PARMS_EX = 4
export const TCA_PEDIT_KEYS_EX = 5
export const TCA_PEDIT_KEY_EX_HDR_TYPE_UDP = 5
export const TCA_PEDIT_KEY_EX = 6

/** csum: TCA_CSUM_PARMS is tc_gen, u32 update_flags */
export const TCA_CSUM_UNSPEC = 0
export const TCA_CSUM_PARMS = 1
export const TCA_CSUM_UPDATE_FLAG_IPV4HDR = 1
export const TCA_CSUM_TM = 2
export const TCA_CSUM_UPDATE_FLAG_ICMP = 2
export const TCA_CSUM_PAD = 3
export const TCA_CSUM_UPDATE_FLAG_IGMP = 4
export const TCA_CSUM_UPDATE_FLAG_TCP = 8
export const TCA_CSUM_UPDATE_FLAG_UDP = 16
export const TCA_CSUM_UPDATE_FLAG_UDPLITE = 32
export const TCA_CSUM_UPDATE_FLAG_SCTP = 64

/** mpls: TCA_MPLS_PARMS is tc_gen, i32 m_action */
export const TCA_MPLS_UNSPEC = 0
export const TCA_MPLS_ACT_POP = 1
export const TCA_MPLS_TM = 1
export const TCA_MPLS_ACT_PUSH = 2
export const TCA_MPLS_PARMS = 2
export const TCA_MPLS_ACT_MODIFY = 3
export const TCA_MPLS_PAD = 3
export const TCA_MPLS_ACT_DEC_TTL = 4
export const TCA_MPLS_PROTO = 4
export const TCA_MPLS_ACT_MAC_PUSH = 5
export const TCA_MPLS_LABEL = 5
export const TCA_MPLS_TC = 6
export const TCA_MPLS_TTL = 7
export const TCA_MPLS_BOS = 8

/** police */
export const TCA_POLICE_UNSPEC = 0
export const TCA_POLICE_TBF = 1
export const TCA_POLICE_RATE = 2
export const TCA_POLICE_PEAKRATE = 3
export const TCA_POLICE_AVRATE = 4
export const TCA_POLICE_RESULT = 5
export const TCA_POLICE_TM = 6
export const TCA_POLICE_PAD = 7
export const TCA_POLICE_RATE64 = 8
export const TCA_POLICE_PEAKRATE64 = 9
export const TCA_POLICE_PKTRATE64 = 10
export const TCA_POLICE_PKTBURST64 = 11

/** What the police does beyond its rate */
export const TC_POLICE_UNSPEC = -1
export const TC_POLICE_OK = 0
export const TC_POLICE_RECLASSIFY = 1
export const TC_POLICE_SHOT = 2
export const TC_POLICE_PIPE = 3

/** ct: TCA_CT_PARMS is tc_gen */
export const TCA_CT_UNSPEC = 0
export const TCA_CT_ACT_COMMIT = 1
export const TCA_CT_PARMS = 1
export const TCA_CT_ACT_FORCE = 2
export const TCA_CT_TM = 2
export const TCA_CT_ACTION = 3
export const TCA_CT_ACT_CLEAR = 4
export const TCA_CT_ZONE = 4
export const TCA_CT_MARK = 5
export const TCA_CT_MARK_MASK = 6
export const TCA_CT_LABELS = 7
export const TCA_CT_ACT_NAT = 8
export const TCA_CT_LABELS_MASK = 8
export const TCA_CT_NAT_IPV4_MIN = 9
export const TCA_CT_NAT_IPV4_MAX = 10
export const TCA_CT_NAT_IPV6_MIN = 11
export const TCA_CT_NAT_IPV6_MAX = 12
export const TCA_CT_NAT_PORT_MIN = 13
export const TCA_CT_NAT_PORT_MAX = 14
export const TCA_CT_PAD = 15
export const TCA_CT_ACT_NAT_SRC = 16
export const TCA_CT_ACT_NAT_DST = 32

/** nat: TCA_NAT_PARMS is tc_gen, be32 old_addr, new_addr, mask, u32 flags */
export const TCA_NAT_UNSPEC = 0
export const TCA_NAT_FLAG_EGRESS = 1
export const TCA_NAT_PARMS = 1
export const TCA_NAT_TM = 2
export const TCA_NAT_PAD = 3

/** skbedit: TCA_SKBEDIT_PARMS is tc_gen */
export const TCA_SKBEDIT_UNSPEC = 0
export const SKBEDIT_F_PRIORITY = 1
export const TCA_SKBEDIT_TM = 1
export const SKBEDIT_F_QUEUE_MAPPING = 2
export const TCA_SKBEDIT_PARMS = 2
export const TCA_SKBEDIT_PRIORITY = 3
export const SKBEDIT_F_MARK = 4
export const TCA_SKBEDIT_QUEUE_MAPPING = 4
export const TCA_SKBEDIT_MARK = 5
export const TCA_SKBEDIT_PAD = 6
export const TCA_SKBEDIT_PTYPE = 7
export const SKBEDIT_F_PTYPE = 8
export const TCA_SKBEDIT_MASK = 8
export const TCA_SKBEDIT_FLAGS = 9
export const SKBEDIT_F_MASK = 16
export const SKBEDIT_F_INHERITDSFIELD = 32
export const SKBEDIT_F_TXQ_SKBHASH = 64

/** skbmod: TCA_SKBMOD_PARMS is tc_gen, u64 flags */
export const TCA_SKBMOD_UNSPEC = 0
export const SKBMOD_F_DMAC = 1
export const TCA_SKBMOD_TM = 1
export const SKBMOD_F_SMAC = 2
export const TCA_SKBMOD_PARMS = 2
export const TCA_SKBMOD_DMAC = 3
export const SKBMOD_F_ETYPE = 4
export const TCA_SKBMOD_SMAC = 4
export const TCA_SKBMOD_ETYPE = 5
export const TCA_SKBMOD_PAD = 6
export const SKBMOD_F_SWAPMAC = 8
export const SKBMOD_F_ECN = 16

/** sample: TCA_SAMPLE_PARMS is tc_gen */
export const TCA_SAMPLE_UNSPEC = 0
export const TCA_SAMPLE_TM = 1
export const TCA_SAMPLE_PARMS = 2
export const TCA_SAMPLE_RATE = 3
export const TCA_SAMPLE_TRUNC_SIZE = 4
export const TCA_SAMPLE_PSAMPLE_GROUP = 5
export const TCA_SAMPLE_PAD = 6

/** gate: TCA_GATE_PARMS is tc_gen */
export const TCA_GATE_ENTRY_UNSPEC = 0
export const TCA_GATE_ONE_ENTRY_UNSPEC = 0
export const TCA_GATE_UNSPEC = 0
export const TCA_GATE_ENTRY_INDEX = 1
export const TCA_GATE_ONE_ENTRY = 1
export const TCA_GATE_TM = 1
export const TCA_GATE_ENTRY_GATE = 2
export const TCA_GATE_PARMS = 2
export const TCA_GATE_ENTRY_INTERVAL = 3
export const TCA_GATE_PAD = 3
export const TCA_GATE_ENTRY_IPV = 4
export const TCA_GATE_PRIORITY = 4
export const TCA_GATE_ENTRY_LIST = 5
export const TCA_GATE_ENTRY_MAX_OCTETS = 5
export const TCA_GATE_BASE_TIME = 6
export const TCA_GATE_CYCLE_TIME = 7
export const TCA_GATE_CYCLE_TIME_EXT = 8
export const TCA_GATE_FLAGS = 9
export const TCA_GATE_CLOCKID = 10

/** simple: TCA_DEF_PARMS is tc_gen */
export const TCA_DEF_UNSPEC = 0
export const TCA_DEF_TM = 1
export const TCA_DEF_PARMS = 2
export const TCA_DEF_DATA = 3
export const TCA_DEF_PAD = 4

/** ife: TCA_IFE_PARMS is tc_gen, u16 flags */
export const IFE_DECODE = 0
export const TCA_IFE_UNSPEC = 0
export const IFE_ENCODE = 1
export const TCA_IFE_PARMS = 1
export const TCA_IFE_TM = 2
export const TCA_IFE_DMAC = 3
export const TCA_IFE_SMAC = 4
export const TCA_IFE_TYPE = 5
export const TCA_IFE_METALST = 6
export const TCA_IFE_PAD = 7

/** connmark: TCA_CONNMARK_PARMS is tc_gen, u16 zone */
export const TCA_CONNMARK_UNSPEC = 0
export const TCA_CONNMARK_PARMS = 1
export const TCA_CONNMARK_TM = 2
export const TCA_CONNMARK_PAD = 3

/** ctinfo */
export const TCA_CTINFO_UNSPEC = 0
export const TCA_CTINFO_PAD = 1
export const TCA_CTINFO_TM = 2
export const TCA_CTINFO_ACT = 3
export const TCA_CTINFO_ZONE = 4
export const TCA_CTINFO_PARMS_DSCP_MASK = 5
export const TCA_CTINFO_PARMS_DSCP_STATEMASK = 6
export const TCA_CTINFO_PARMS_CPMARK_MASK = 7
export const TCA_CTINFO_STATS_DSCP_SET = 8
export const TCA_CTINFO_STATS_DSCP_ERROR = 9
export const TCA_CTINFO_STATS_CPMARK_SET = 10
