// A block's chains, their prios, the masks of a prio and the flows of a mask.
//
//   block -> chain -> mask list (prio order, then the order in which the masks of a prio came to be)
//                        mask -> hash table -> flow -> action program
//
// The datapath reads these under RCU: it follows CHAIN_MASKS, MASK_NEXT, MASK_TABLE, the cells of the
// table and FLOW_ACTIONS with plain loads; control publishes them with atomic stores and frees after a
// grace period. All pointers are byte addresses in the arena, 0 is null. Offsets are bytes.

// ---- block: the filters of one hook, or of several when it is shared (struct tcf_block)
/** Holders: hooks, and chains that are in the list. @under block */
export const BLOCK_REFCNT = 0
/** `ingress_block N`, or 0. @constant */
export const BLOCK_INDEX = 4
/** Chain 0, made with the block: what a packet meets first. @constant */
export const BLOCK_CHAIN0 = 8
/** First chain, linked by CHAIN_NEXT, in the order in which they came to be. @rcu block */
export const BLOCK_CHAINS = 12
/** Futex word of lock class block. @atomic */
export const BLOCK_LOCK = 16
/** NETDEV address and direction of the one hook of an unshared block. @constant */
export const BLOCK_DEV = 20
export const BLOCK_PARENT = 24
/** Next shared block. @under rtnl */
export const BLOCK_NEXT = 28
/** Hooks that use it; with the last one its filters go. @under rtnl */
export const BLOCK_HOOKS = 32
export const BLOCK_SIZE = 64

// ---- chain (struct tcf_chain)
/** Prios, goto actions, walkers, and one when it was made by `tc chain add`. Not in BLOCK_CHAINS while 0. @under block */
export const CHAIN_REFCNT = 0
/** Those of them that are goto actions: a chain that only they hold is not shown. @under block */
export const CHAIN_ACTION_REFCNT = 4
/** @constant */
export const CHAIN_INDEX = 8
/** First mask of the first prio; a packet walks MASK_NEXT from here. @rcu chain */
export const CHAIN_MASKS = 12
/** @rcu block */
export const CHAIN_NEXT = 16
/** @constant */
export const CHAIN_BLOCK = 20
/** First prio, linked by PRIO_NEXT, ascending pref. @rcu chain */
export const CHAIN_PRIOS = 24
/** Futex word of lock class chain. @atomic */
export const CHAIN_LOCK = 28
/** CHAIN_F_*. @under block */
export const CHAIN_FLAGS = 32
/** Template, 0 without: TEMPLATE_*. @under block */
export const CHAIN_TEMPLATE = 36
export const CHAIN_SIZE = 64
/** Made by `tc chain add`. */
export const CHAIN_F_EXPLICIT = 1

// ---- template of a chain (struct fl_flow_tmplt)
/** Bytes of the block, mask and key as flower's attributes gave them (KEY_SIZE_OPTS each). @constant */
export const TEMPLATE_MASK = 64
export const TEMPLATE_KEY = 576
export const TEMPLATE_SIZE = 1088

// ---- prio: one classifier instance, a (pref, protocol) pair of a chain (struct tcf_proto)
/** The chain's list, and walkers. @atomic */
export const PRIO_REFCNT = 0
/** @rcu chain */
export const PRIO_NEXT = 4
/** The pref that tc shows (1..65535). @constant */
export const PRIO_PREF = 8
/** EtherType in wire order as a u16 number loaded little-endian, ETH_P_ALL likewise. @constant */
export const PRIO_PROTO = 12
/** PRIO_KIND_*. @constant */
export const PRIO_KIND = 16
/** Futex word of lock class prio. @atomic */
export const PRIO_LOCK = 20
/** @constant */
export const PRIO_CHAIN = 24
/** First and last of this prio's masks in the chain's mask list. @under chain, changed with prio held too */
export const PRIO_FIRST_MASK = 28
export const PRIO_LAST_MASK = 32
/** Root of the handles (flow/idr.ts): handle -> flow, in the order in which a dump shows them. @under prio */
export const PRIO_HANDLES = 36
export const PRIO_HANDLES_SHIFT = 40
/** @under prio */
export const PRIO_NFLOWS = 44
/** PRIO_DELETED: taken off the chain, no flow may join. @under prio */
export const PRIO_FLAGS = 48
/** u32: its root table (memory/layout/u32.ts). @constant */
export const PRIO_ROOT = 52
/** fw: the bits of the mark that its filters look at. @under rtnl */
export const PRIO_FW_MASK = 56
export const PRIO_SIZE = 64
export const PRIO_KIND_FLOWER = 1
export const PRIO_KIND_MATCHALL = 2
export const PRIO_KIND_U32 = 3
export const PRIO_KIND_FW = 4
export const PRIO_DELETED = 1

// ---- mask (struct fl_flow_mask): a hash table of flows that look at the same bits
/** Next mask that a packet tries. @rcu chain */
export const MASK_NEXT = 0
/** The prio it belongs to: `continue` skips to the first mask of another prio. @constant */
export const MASK_PRIO = 4
/** Copy of PRIO_PROTO: a packet of another protocol skips the mask. @constant */
export const MASK_PROTO = 8
/** The table of its flows, replaced when it grows. @rcu prio */
export const MASK_TABLE = 12
/** How many words of the key the mask looks at; 0 matches every packet. @constant */
export const MASK_WORDS = 16
/** MASK_RANGE_*: its flows also have a port range (FLOW_RANGE); of several with an equal key the first in the table whose range holds the port is the one. @constant */
export const MASK_FLAGS = 20
/** @under prio */
export const MASK_NFLOWS = 24
/** @under chain */
export const MASK_PREV = 28
/** Groups of the key (bit 0..7, 64 bytes each) that the mask looks at. @constant */
export const MASK_GROUPS = 32
/** Hash of the mask, for finding it. @constant */
export const MASK_HASH = 36
/** MASK_WORDS pairs: byte offset in the key (u32), the bits (u32). @constant */
export const MASK_PAIRS = 64
/** Room for 24 words in the small size; 128 in the large one. */
export const MASK_SIZE = 256
export const MASK_SIZE_LARGE = 1088
export const MASK_RANGE_SRC = 1
export const MASK_RANGE_DST = 2
/** Stands for a prio of u32 filters, which look at the packet, not at the key: PRIO_ROOT leads to them. */
export const MASK_U32 = 4

// ---- table of a mask: open addressing, so that a packet which misses touches no flow
//
// A cell is two words: the full hash of the packed key, and the flow. A lookup begins at cell
// `hash & TABLE_MASK` and goes on to the next (and from the last to the first) until a cell whose flow
// is CELL_FREE; a cell whose hash differs, or whose flow is CELL_DEAD, is passed over. There is always a
// free cell. Control writes the hash first and publishes the flow; a dead cell may be taken again, so a
// reader compares the whole key of the flow that it read. A table grows by a new one (RCU).
/** Number of cells less one; the number is a power of two. */
export const TABLE_MASK = 0
export const TABLE_BYTES = 4
/** Cells that are not free: flows and dead ones. @under prio */
export const TABLE_USED = 8
export const TABLE_CELLS = 16
export const CELL_HASH = 0
export const CELL_FLOW = 4
export const CELL_SIZE = 8
/** No flow was ever here: the lookup ends. */
export const CELL_FREE = 0
/** A flow was here: the lookup goes on. */
export const CELL_DEAD = 1

// ---- flow (struct cls_fl_filter and struct mlx5e_tc_flow in one)
// First line: what a datapath worker reads.
/** Port range of this flow, min in the low, max in the high 16 bits, host order: source. @constant */
export const FLOW_RANGE = 0
/** Full hash of the packed key. @constant */
export const FLOW_HASH = 4
/** The program that packets run now: the fast one, or the slow one. @rcu encap_tbl */
export const FLOW_ACTIONS = 8
/** @constant */
export const FLOW_MASK = 12
/** Where the packed key is: FLOW_KEY inside the flow, or a block of its own when it is long. @constant */
export const FLOW_KEY_PTR = 16
/** FLOW_F_*, atomic bit operations only. @atomic */
export const FLOW_FLAGS = 20
/** Packed masked key: one word for each pair of the mask. @constant */
export const FLOW_KEY = 24
export const FLOW_KEY_WORDS_INLINE = 9
/** Port range, destination. @constant */
export const FLOW_RANGE_DST = 60
// Second line: control.
/** The table's, and whoever works on the flow. Zero is final. @atomic */
export const FLOW_REFCNT = 64
/** @constant */
export const FLOW_HANDLE = 68
export const FLOW_PRIO = 72
/** Key words that have bits outside the mask, for the dump: count, then (offset, word) pairs; 0 without. @constant */
export const FLOW_RAW = 76
/** Copy of TCA_FLOWER_CLASSID and of what else is only shown. @constant */
export const FLOW_CLASSID = 80
/** TCA_CLS_FLAGS_* as given, and TCA_CLS_FLAGS_NOT_IN_HW. @constant */
export const FLOW_CLS_FLAGS = 84
/** Both programs; FLOW_ACTIONS holds one of them. They change only when a shared action changes. @under action */
export const FLOW_FAST = 88
export const FLOW_SLOW = 92
/** Actions: FLOW_NACTIONS addresses of tc_action, in a block of their own when more than four. @constant */
export const FLOW_NACTIONS = 96
export const FLOW_ACTION_PTR = 100
export const FLOW_ACTION0 = 104
/** Encap destinations: FLOW_NENCAPS items of ENCAP_ITEM_SIZE. @under encap_tbl */
export const FLOW_NENCAPS = 120
export const FLOW_ENCAPS = 124
// Third line: completions of the mlx5e scheme, and what is rare.
export const FLOW_INIT_DONE = 128
export const FLOW_DEL_HW_DONE = 132
/** Words of the packed key. @constant */
export const FLOW_KEY_WORDS = 136
/** u32: the node whose actions these are. @under rtnl */
export const FLOW_KNODE = 140
/** Trace points print this as the cookie; never reused while the arena lives. @constant */
export const FLOW_COOKIE = 152
export const FLOW_COOKIE_HI = 156
/** Counter of the packets that entered the program. @constant */
export const FLOW_COUNTER = 160
/** Why the flow is on the slow path: SLOW_*. @atomic */
export const FLOW_WHY = 164
export const FLOW_SIZE = 192

// The flags of mlx5e-scheme 1.2, same order.
export const FLOW_F_INGRESS = 1
export const FLOW_F_EGRESS = 2
export const FLOW_F_OFFLOADED = 32
export const FLOW_F_SLOW = 256
export const FLOW_F_NOT_READY = 1024
export const FLOW_F_DELETED = 2048
export const FLOW_F_FAILED = 16384
