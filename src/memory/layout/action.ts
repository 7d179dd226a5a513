// An action instance (struct tc_action) and the metadata of a tunnel (struct ip_tunnel_info).
//
// An action is made by a filter or by `tc actions add`, found by (kind, index), and may serve several
// filters. Its parameters are immutable: `tc actions replace` makes a new instance's worth of
// parameters and republishes the programs of the flows that use it. Offsets are bytes.

/** Number of the kind in the action catalogue. @constant */
export const ACT_KIND = 0
export const ACT_INDEX = 4
/** tcfa_refcnt: what `ref` shows. @under action */
export const ACT_REFCNT = 8
/** tcfa_bindcnt: filters that use it, what `bind` shows. @under action */
export const ACT_BINDCNT = 12
/** tcfa_action: TC_ACT_*, with the chain index or the jump count in the low 28 bits. @under action */
export const ACT_CONTROL = 16
/** Its own counter, for what its flows' counters cannot say; 0 without. @under action */
export const ACT_COUNTER = 20
/** TCA_ACT_FLAGS_* as shown. @constant */
export const ACT_FLAGS = 24
/** Address of the user cookie: a length byte, then up to 16 bytes; 0 without. @under action */
export const ACT_COOKIE = 28
/** Counter of what it had counted for flows that are gone; 0 without. Only control writes it. @under action */
export const ACT_BASE = 32
/** Chain that `goto` names, held. @under action */
export const ACT_CHAIN = 36
/** Milliseconds of the switch's clock. @constant */
export const ACT_INSTALLED = 40
/** hw_stats type as given. @constant */
export const ACT_HW_STATS = 44
/** The flow that uses it | USER_F_*; or the first of several USER items | USER_LIST; 0 without. @under action */
export const ACT_USERS = 48
/** Second control (gact random, police exceed). @under action */
export const ACT_CONTROL2 = 52
/** Odd while a replacement swaps the words of the kind, and different after it. @atomic */
export const ACT_GENERATION = 56
/** Its rate estimator (EST_* of action_state.ts), from its making to its end; 0 without. @constant */
export const ACT_EST = 60
/** 64 bytes that belong to the kind; larger parameters are a block whose address stands here. */
export const ACT_PARAMS = 64
export const ACT_SIZE = 128

// ---- one use of an action by a flow; of a single one there is only the word ACT_USERS
/** The flow | USER_F_*. */
export const USER_FLOW = 0
export const USER_NEXT = 4
export const USER_SIZE = 16
/** ACT_USERS is a list. */
export const USER_LIST = 1
/** Every packet that enters the flow reaches the action: packets, bytes and times are the flow's counter's. */
export const USER_F_PACKETS = 2
/** Drops and overlimits are the flow's counter's. */
export const USER_F_DROPS = 4
export const USER_FLAGS = 7

// TC_ACT_* (linux/pkt_cls.h)
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
export const TC_ACT_JUMP = 0x10000000
export const TC_ACT_GOTO_CHAIN = 0x20000000
export const TC_ACT_EXT_MASK = 0xfffffff

// ---- tunnel metadata: what tunnel_key sets, and what a decapsulated packet carries
/** TUN_TX, TUN_IPV6, TUN_BRIDGE. @constant */
export const TUN_MODE = 0
/** TUNNEL_* of linux/if_tunnel.h (TUNNEL_CSUM 1, TUNNEL_KEY 4, …; host order). @constant */
export const TUN_FLAGS = 4
/** Tunnel id, host order, high and low word. @constant */
export const TUN_ID_HI = 8
export const TUN_ID = 12
/** 16 bytes, wire order; IPv4 in the first four, the rest zero. @constant */
export const TUN_SRC = 16
export const TUN_DST = 32
/** be16 each. @constant */
export const TUN_TP_SRC = 48
export const TUN_TP_DST = 50
export const TUN_TOS = 52
export const TUN_TTL = 53
/** Bytes of options and their kind (ENC_OPTS_*). @constant */
export const TUN_OPTS_LEN = 54
export const TUN_OPTS_KIND = 55
export const TUN_LABEL = 56
export const TUN_REFCNT = 60
export const TUN_OPTS = 64
export const TUN_SIZE = 64
/** With the largest options. */
export const TUN_SIZE_MAX = 320

export const TUN_TX = 1
export const TUN_IPV6 = 2
export const TUN_BRIDGE = 4

export const TUNNEL_CSUM = 0x01
export const TUNNEL_ROUTING = 0x02
export const TUNNEL_KEY = 0x04
export const TUNNEL_SEQ = 0x08
export const TUNNEL_STRICT = 0x10
export const TUNNEL_REC = 0x20
export const TUNNEL_VERSION = 0x40
export const TUNNEL_NO_KEY = 0x80
export const TUNNEL_DONT_FRAGMENT = 0x100
export const TUNNEL_OAM = 0x200
export const TUNNEL_CRIT_OPT = 0x400
export const TUNNEL_GENEVE_OPT = 0x800
export const TUNNEL_VXLAN_OPT = 0x1000
export const TUNNEL_NOCACHE = 0x2000
export const TUNNEL_ERSPAN_OPT = 0x4000
export const TUNNEL_GTP_OPT = 0x8000
