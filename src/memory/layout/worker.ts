// What one datapath worker owns: its key, its caches, its emission list, its drop counters.
//
// An emission is what a packet became: output on a port, or a punt to the host. The list is in the order
// in which things happened; whoever drives the worker handles it in that order, after each call. A burst
// stops behind a packet that punted, so that what the host learns from it holds for the next packet (WORKER_APART). @worker

export const WORKER_INDEX = 0
/** Stack of free packet slots: addresses, count, capacity. */
export const WORKER_FREE = 4
export const WORKER_FREE_COUNT = 8
export const WORKER_FREE_MAX = 12
/** Emissions: address of the array, count, capacity. */
export const WORKER_EMIT = 16
export const WORKER_EMIT_COUNT = 20
export const WORKER_EMIT_MAX = 24
/** Exact-match cache: address, entries less one. */
export const WORKER_EMC = 28
export const WORKER_EMC_MASK = 32
/** This worker's counters: COUNTER_SIZE bytes for each counter id. */
export const WORKER_COUNTERS = 36
/** Drop counters: DROP_MAX u64. */
export const WORKER_DROPS = 40
/** Now, nanoseconds, and milliseconds for last-used. */
export const WORKER_NOW = 48
export const WORKER_NOW_MS = 56
/** Lookups that had to probe more than 64 masks (u64); the most that one probed; by the port with this ifindex, in this chain. */
export const WORKER_STEEP = 2048
export const WORKER_STEEP_MASKS = 2056
export const WORKER_STEEP_IFINDEX = 2060
export const WORKER_STEEP_CHAIN = 2064
/** 1: the host is on another thread and learns nothing in the middle of a burst, which goes on behind a punt. */
export const WORKER_APART = 2068
/** The flow key being built. */
export const WORKER_KEY = 64
/** After the key: scratch of the datapath. */
export const WORKER_SCRATCH = 576
export const WORKER_SIZE = 4096

export const EMIT_PKT = 0
export const EMIT_DEV = 4
/** EMIT_OUTPUT or one of PUNT_*. */
export const EMIT_KIND = 8
export const EMIT_ARG = 12
export const EMIT_SIZE = 16

/** The frame leaves by the port EMIT_DEV. */
export const EMIT_OUTPUT = 0
/** Passed all filters of EMIT_DEV and is for the host: ARP, ND, fragments, ICMP, anything local. */
export const PUNT_LOCAL = 1
/** Sent into tunnel device EMIT_DEV with PKT_TUN and no usable encap entry: route, resolve, hold, send. EMIT_ARG: the encap entry or 0. */
export const PUNT_TUNNEL = 2
/** Encapsulated (PKT_DATA is the outer Ethernet header) but larger than the MTU of EMIT_DEV. EMIT_ARG: the encap header. */
export const PUNT_MTU = 3
/** `trap`. */
export const PUNT_TRAP = 4
/** `sample`: a copy; EMIT_ARG the action. */
export const PUNT_SAMPLE = 5
/** A fragment for an action ct: EMIT_ARG is the zone, | HELD_IPV6, PKT_HELD_* says where it goes on when it is whole. */
export const PUNT_CT_FRAGMENT = 6
export const HELD_IPV6 = 0x10000
/** Put together by an action ct, and redirected to EMIT_DEV: to be cut again, into fragments of at most PKT_MRU. */
export const PUNT_CT_REFRAGMENT = 7
/** Refused by tunnel device EMIT_DEV, as it is: larger than the device takes, and not to be cut. EMIT_ARG: the encap header. */
export const PUNT_INNER_MTU = 8

// ---- counters: one struct per counter id and worker, summed by the reader
export const COUNTER_PACKETS = 0
export const COUNTER_BYTES = 8
/** Milliseconds of the switch's clock + 1, 0 = never. */
export const COUNTER_LAST_USED = 16
export const COUNTER_FIRST_USED = 20
export const COUNTER_DROPS = 24
export const COUNTER_OVERLIMITS = 28
export const COUNTER_SIZE = 32

// ---- QSBR words of the workers and control threads are in memory/layout/super.ts
