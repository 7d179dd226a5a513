// The chip's scratch memory: what one instance needs beside its worker's struct. Offsets from `scratch`, bytes.

/** Flow keys of nested hooks, 512 bytes each. */
export const SCRATCH_KEYS: usize = 0
/** Hooks that may run inside each other (8 device transmissions, 4 redirects, and the one that began it). */
export const HOOK_DEPTH_MAX: i32 = 16
/** Plans (lookup.ts): what the masks of a block look at, by the mask that a lookup starts with. */
export const SCRATCH_PLANS: usize = 8192
export const PLAN_SIZE: usize = 640
export const PLANS: usize = 64
/** Packets that wait to be received again (backlog.ts): pairs of packet and device. */
export const SCRATCH_BACKLOG: usize = SCRATCH_PLANS + PLANS * PLAN_SIZE
export const BACKLOG_MAX: u32 = 256
/** A burst in work (burst.ts). */
export const SCRATCH_BURST: usize = SCRATCH_BACKLOG + 8 * 256
export const BURST_MAX: i32 = 32
export const BURST_SIZE: usize = 128
/** The list of a burst that the pump makes. */
export const SCRATCH_PUMP: usize = SCRATCH_BURST + 32 * BURST_SIZE
/** Connections that are not confirmed (conntrack.ts): one for each level of hooks. */
export const SCRATCH_CONNECTIONS: usize = SCRATCH_PUMP + 128
/** Four tuples to ask with. */
export const SCRATCH_TUPLES: usize = SCRATCH_CONNECTIONS + 17 * 256
/** Where a walk through the tables of u32 came from (u32.ts): eight levels of node and offset. */
export const SCRATCH_U32: usize = SCRATCH_TUPLES + 4 * 64
/** Mask indexes (mask_index.ts), by the mask that a lookup starts with. */
export const SCRATCH_INDEXES: usize = SCRATCH_U32 + 64
export const INDEXES: usize = 4
/** Of an index: the terms of its sums, where they are by hash, the two of each mask, and the masks' bits (mask_sift.ts). */
export const TERMS_MAX: u32 = 4096
export const INDEX_TERMS: usize = 4096
export const INDEX_PLACES: usize = INDEX_TERMS + 4096 * 16
export const INDEX_MASK_TERMS: usize = INDEX_PLACES + 2 * 4096 * 2
export const INDEX_BITS: usize = INDEX_MASK_TERMS + 512 * 8
export const INDEX_BITS_SIZE: usize = 1 << 18
/** The tables of its fields. */
export const INDEX_TABLES: usize = INDEX_BITS + INDEX_BITS_SIZE
export const INDEX_TABLES_SIZE: usize = 1 << 19
/** The table of its common key: no larger than all of those together. */
export const INDEX_COMMON: usize = INDEX_TABLES + INDEX_TABLES_SIZE
export const INDEX_SIZE: usize = INDEX_COMMON + INDEX_TABLES_SIZE
/** Values of the terms of a key. */
export const SCRATCH_TERMS: usize = SCRATCH_INDEXES + INDEXES * INDEX_SIZE
/** The masks that may have a flow for a key: 512 bits. */
export const SCRATCH_SETS: usize = SCRATCH_TERMS + 4096 * 8
/** Outer headers that were seen (outer.ts). */
export const SCRATCH_OUTERS: usize = SCRATCH_SETS + 64
export const OUTERS_LOG: u32 = 11
export const OUTERS: u32 = 1 << OUTERS_LOG
export const OUTER_SIZE: usize = 128
export const SCRATCH_SIZE: usize = SCRATCH_OUTERS + <usize>(OUTERS + 1) * OUTER_SIZE
