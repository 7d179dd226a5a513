// The first page of the arena: where everything is. Written once by whoever creates the arena, read by
// every thread that attaches to it. Offsets are bytes.

export const SUPER_MAGIC = 0
export const SUPER_VERSION = 4
/** Bytes of the arena, and the first byte not yet given to a region (atomic bump). */
export const SUPER_BYTES = 8
export const SUPER_BRK = 12
/** Datapath workers: count, address of WORKER_SIZE structs. */
export const SUPER_WORKERS = 16
export const SUPER_WORKER = 20
/** Device table. */
export const SUPER_NETDEVS = 24
/**
 * Address of the first tunnel device by NETDEV_TP_DST: 65536 words of UDP ports (be16 loaded little-endian), 256 of IP
 * protocols.
 */
export const SUPER_UDP_PORTS = 28
/** Local addresses (LOCAL_*), republished whole. @rcu rtnl */
export const SUPER_LOCAL = 32
/** Bumped on every change that may make a cached lookup wrong; the exact-match caches compare it. @atomic */
export const SUPER_GENERATION = 36
/** Packet slots: address of the first, bytes of one, count. */
export const SUPER_PACKETS = 40
export const SUPER_PACKET_SIZE = 44
export const SUPER_PACKET_COUNT = 48
/** Counter ids: capacity, next never used; free ids are a pool of their own. */
export const SUPER_COUNTER_MAX = 52
export const SUPER_COUNTER_NEXT = 56
/** RCU: address of the grace-period words (sync/rcu.ts), number of readers. */
export const SUPER_RCU = 60
export const SUPER_RCU_READERS = 64
/** Pools: address of the descriptor table. */
export const SUPER_POOLS = 68
/** Records of threads that allocate and lock (memory/thread_record.ts): address, count. */
export const SUPER_THREADS = 72
export const SUPER_THREAD_COUNT = 76
/** Large packet slots (layout/conntrack.ts) begin here, behind all others; 0: there are none. @constant */
export const SUPER_LARGE = 80
/** Lock words of the locks of which there is one: 16 words from here (rtnl, journal), see sync/lock_order.ts. */
export const SUPER_LOCKS = 128
/** Address of the state of each part that keeps some: 32 words, see SUPER_PART_*. */
export const SUPER_PARTS = 256
export const SUPER_PART_FLOW = 0
export const SUPER_PART_ACTION = 4
export const SUPER_PART_ENCAP = 8
export const SUPER_PART_NEIGH = 12
export const SUPER_PART_FIB = 16
export const SUPER_PART_ADDR = 20
export const SUPER_PART_TRACE = 24
export const SUPER_PART_WORKQUEUE = 28
export const SUPER_PART_CT = 32
export const SUPER_PART_THREADS = 36
export const SUPER_PART_JOURNAL = 40
export const SUPER_SIZE = 4096
