// A queue of a port: what one thread needs to know of it to receive and to send, in words.
//
// The switch thread opens it, publishes its address in the worker's table, and closes it a grace period after it took
// the address back. In between it belongs to the worker. As everything is here, in the rings (which are mapped into the
// arena) and in the kernel, a worker that takes over from a dead one goes on where that stood. Offsets are bytes. @worker

/** DRIVER_*. */
export const QUEUE_DRIVER = 0
/** Descriptor that is polled and received from, and the one that is sent to; -1: none. */
export const QUEUE_FD = 4
export const QUEUE_TX_FD = 8
/** Device of the port, and the port's number. */
export const QUEUE_DEV = 12
export const QUEUE_PORT = 16
/** QUEUE_F_*. */
export const QUEUE_FLAGS = 20
/** Packets to send: addresses, how many, room for QUEUE_LIST_MAX. */
export const QUEUE_LIST = 24
export const QUEUE_LIST_COUNT = 28
/** struct mmsghdr and struct iovec, QUEUE_LIST_MAX of each. */
export const QUEUE_MESSAGES = 32
export const QUEUE_VECTORS = 36
/** Address of the arena's first byte (u64): what a pointer in a vector begins with. */
export const QUEUE_BASE = 40
/** tap: room behind a slot for what is larger. */
export const QUEUE_STAGING = 48
/** The kernel's device went away under us (ENXIO, ENETDOWN, EIO): the switch thread looks. @atomic */
export const QUEUE_BROKEN = 52

// ---- af_xdp: the four rings; producer and consumer are addresses of words that the kernel shares
export const XSK_RX_PRODUCER = 64
export const XSK_RX_CONSUMER = 68
export const XSK_RX = 72
export const XSK_TX_PRODUCER = 76
export const XSK_TX_CONSUMER = 80
export const XSK_TX = 84
export const XSK_FILL_PRODUCER = 88
export const XSK_FILL_CONSUMER = 92
export const XSK_FILL = 96
export const XSK_DONE_PRODUCER = 100
export const XSK_DONE_CONSUMER = 104
export const XSK_DONE = 108
/** Entries of each ring less one. */
export const XSK_MASK = 112
/** Arena address of the first packet slot: address 0 of the UMEM. */
export const XSK_UMEM = 116
/** Bytes of a chunk less one; 0: chunks of any size (XDP_UMEM_UNALIGNED_CHUNK_FLAG). */
export const XSK_CHUNK_MASK = 120
/** Descriptors that the kernel has not given back. */
export const XSK_SENT = 124

// ---- af_packet: the receive ring (TPACKET_V3)
export const RING_BLOCKS = 64
export const RING_BLOCK_SIZE = 68
export const RING_BLOCK_COUNT = 72
/** Block in work, frames left in it, and the next one. */
export const RING_BLOCK = 76
export const RING_LEFT = 80
export const RING_NEXT = 84

// ---- pcap
/** When the switch's clock was 0, nanoseconds since 1970 (u64). */
export const QUEUE_EPOCH = 64

export const QUEUE_SIZE = 128

export const QUEUE_LIST_MAX = 256

export const DRIVER_DUMMY = 1
export const DRIVER_AF_PACKET = 2
export const DRIVER_AF_XDP = 3
export const DRIVER_TAP = 4
/** The switch thread sends and receives for the port. */
export const DRIVER_HOSTED = 5
export const DRIVER_RAW_IP = 6
export const DRIVER_PCAP = 7

/** Frames may come with a checksum that only begins (CHECKSUM_PARTIAL), and nothing says which do. */
export const QUEUE_F_PARTIAL = 1

// ---- the table of a worker: how many queues, then their addresses. @rcu rtnl
export const TABLE_COUNT = 0
/** Changes with every change of the table. @atomic */
export const TABLE_GENERATION = 4
export const TABLE_QUEUES = 64
export const TABLE_MAX = 256
