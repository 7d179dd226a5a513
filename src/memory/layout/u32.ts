// The tables and nodes of u32 filters (struct tc_u_hnode, struct tc_u_knode of cls_u32.c).
//
//   prio ─ROOT─> table ─bucket─> node ─NEXT─> node
//                                  └─DOWN─> table ─bucket─> …
//
// Control changes them under rtnl; the datapath walks them under RCU: PRIO_ROOT, buckets, NODE_NEXT, NODE_DOWN and
// NODE_FLOW. A node's flow has its actions, the node its match. Offsets are bytes. Integer constants only.

// ---- what the u32 prios of one qdisc share (struct tc_u_common)
/** Next of the arena. @under rtnl */
export const COMMON_NEXT = 0
/** The device of an unshared hook, or the shared block. @constant */
export const COMMON_KEY = 4
/** Prios. @under rtnl */
export const COMMON_REFCNT = 8
/** First table, linked by HNODE_NEXT, newest first. @under rtnl */
export const COMMON_TABLES = 12
/** The last number given to a table. @under rtnl */
export const COMMON_LAST_ID = 16
/** Nodes. @under rtnl */
export const COMMON_NODES = 20
export const COMMON_SIZE = 64

// ---- table
/** @under rtnl */
export const HNODE_NEXT = 0
/** htid << 20. @constant */
export const HNODE_HANDLE = 4
/** The prio that it was made with. @constant */
export const HNODE_PRIO = 8
/** Nodes that link to it, and one for being listed. @under rtnl */
export const HNODE_REFCNT = 12
/** Buckets less one; the number is a power of two. @constant */
export const HNODE_DIVISOR = 16
/** @constant */
export const HNODE_IS_ROOT = 20
/** Flags of the request that made it. @constant */
export const HNODE_FLAGS = 24
/** First node of each bucket. @rcu rtnl */
export const HNODE_BUCKETS = 32

// ---- node
/** @rcu rtnl */
export const KNODE_NEXT = 0
/** Its actions. @rcu rtnl */
export const KNODE_FLOW = 4
/** @constant */
export const KNODE_HANDLE = 8
/** The table that it is in, and the one that it links to, or 0. @constant */
export const KNODE_UP = 12
export const KNODE_DOWN = 16
/** ifindex that the packet must have come in by, 0 is any. @constant */
export const KNODE_IFINDEX = 20
/** Lowest bit of the selector's hmask. @constant */
export const KNODE_FSHIFT = 24
/** Mark of the packet. @constant */
export const KNODE_MARK = 28
export const KNODE_MARK_MASK = 32
/** Counters: packets that came by; of them, those that had the mark; those that ran the actions. @constant */
export const KNODE_COUNTER_HIT = 36
export const KNODE_COUNTER_MARK = 40
export const KNODE_COUNTER_SUCCESS = 44
/** struct tc_u32_sel, 16 bytes as they came (wire/tca_u32.ts), and where its fields are. @constant */
export const KNODE_SEL = 48
export const KNODE_FLAGS = 48
export const KNODE_OFFSHIFT = 49
export const KNODE_NKEYS = 50
export const KNODE_OFFMASK = 52
export const KNODE_OFF = 54
export const KNODE_OFFOFF = 56
export const KNODE_HOFF = 58
export const KNODE_HMASK = 60
/** For each key: struct tc_u32_key as it came, then a counter of packets that had it. @constant */
export const KNODE_KEYS = 64
export const KEY_MASK = 0
export const KEY_VAL = 4
export const KEY_OFF = 8
export const KEY_OFFMASK = 12
export const KNODE_KEY_COUNTER = 16
export const KNODE_KEY_SIZE = 20

/** Bits of KNODE_FLAGS. */
export const KNODE_TERMINAL = 1
export const KNODE_OFFSET = 2
export const KNODE_VAROFFSET = 4
export const KNODE_EAT = 8
/** Tables that lie on a packet's way. */
export const DEPTH_MAX = 8
