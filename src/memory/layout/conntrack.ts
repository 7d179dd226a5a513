// Connection tracking: the table, a connection, and what is known of its TCP windows (struct nf_conn, struct ip_ct_tcp).
//
//   SUPER_PART_CT ─▶ table ─▶ buckets ─▶ tuple ─▶ tuple …      a connection is in two chains: by the tuple of its
//                      └────▶ connections                       original direction and by that of its replies
//
// Chains are read without a lock. Who links or unlinks holds the lock of the bucket. A connection that was unlinked
// stays whole for a grace period, then it is used again. Times are milliseconds of the switch's clock, 32 bits of them.

// ---- the table
/** Heads of the chains: address, and their number less one. @constant */
export const CT_TABLE_BUCKETS = 0
export const CT_TABLE_MASK = 4
/** Words of the spin locks of the chains. @constant */
export const CT_TABLE_LOCKS = 8
/** Connections that may be known at once (nf_conntrack_max). @constant */
export const CT_TABLE_MAX = 12
/** Connections that are known. @atomic */
export const CT_TABLE_COUNT = 16
/** Word of the spin lock of the four below. @atomic */
export const CT_TABLE_LOCK = 20
/** First connection never used, end of them all; first and last of those that wait for a grace period. */
export const CT_TABLE_FRESH = 24
export const CT_TABLE_END = 28
export const CT_TABLE_DEAD = 32
export const CT_TABLE_DEAD_LAST = 36
/** Bucket that is looked through next for connections whose time is over. @atomic */
export const CT_TABLE_CURSOR = 40
/** Connections given up early for others (nf_conntrack's early_drop). @atomic */
export const CT_TABLE_EARLY_DROPS = 44
/** Large slots: word of their spin lock, then the first free one. @atomic */
export const CT_TABLE_LARGE_LOCK = 48
export const CT_TABLE_LARGE = 52
export const CT_TABLE_SIZE = 64

/** Spin locks, a power of two; a table has at least as many buckets. */
export const CT_LOCKS = 256

// ---- a tuple: one direction of a connection as its packets say it (struct nf_conntrack_tuple_hash)
/** Addresses, 16 bytes each, wire order, IPv4 in the first four. @constant */
export const TUPLE_SRC = 0
export const TUPLE_DST = 16
/** Ports as loaded; of ICMP the id and, in the second, type | code << 8; of GRE the keys. @constant */
export const TUPLE_SPORT = 32
export const TUPLE_DPORT = 34
/** IP protocol, then 4 or 6, then the zone (u16). @constant */
export const TUPLE_PROTO = 36
export const TUPLE_FAMILY = 37
export const TUPLE_ZONE = 38
/** Next tuple of the chain. @atomic */
export const TUPLE_NEXT = 40
/** CT_DIR_ORIGINAL or CT_DIR_REPLY. @constant */
export const TUPLE_DIR = 44
export const TUPLE_SIZE = 48

export const CT_DIR_ORIGINAL = 0
export const CT_DIR_REPLY = 1

// ---- a connection
export const CONN_ORIGINAL = 0
export const CONN_REPLY = 48
/** IPS_*. @atomic */
export const CONN_STATUS = 96
/** When it ends; while it is not confirmed, how long it will live. @atomic */
export const CONN_TIMEOUT = 100
export const CONN_MARK = 104
/** Word of the spin lock of what the protocols keep. @atomic */
export const CONN_LOCK = 108
export const CONN_LABELS = 112
/** Until when it is in the flow table of its zone (IPS_OFFLOAD). @atomic */
export const CONN_FLOW_TIMEOUT = 128
/** UDP: from when on it is a stream. */
export const CONN_UDP_STREAM = 132
/** Next that waits for a grace period, and the stamp of it. */
export const CONN_NEXT_DEAD = 136
export const CONN_STAMP = 140
/** TCP: TCP_CONNTRACK_*, direction of the last packet, its kind (TCP_*_SET), retransmissions (a byte each). */
export const CONN_TCP_STATE = 144
export const CONN_TCP_LAST_DIR = 145
export const CONN_TCP_LAST_INDEX = 146
export const CONN_TCP_RETRANS = 147
export const CONN_TCP_LAST_SEQ = 148
export const CONN_TCP_LAST_ACK = 152
export const CONN_TCP_LAST_END = 156
export const CONN_TCP_LAST_WIN = 160
export const CONN_TCP_LAST_WSCALE = 164
export const CONN_TCP_LAST_FLAGS = 165
/** TCP: what each side has sent (SEEN_*). */
export const CONN_TCP_SEEN = 168
/** In the place of TCP's, SCTP: SCTP_CONNTRACK_*, last direction, flags, who sent an INIT (a bit each), the tags. */
export const CONN_SCTP_STATE = 144
export const CONN_SCTP_LAST_DIR = 145
export const CONN_SCTP_FLAGS = 146
export const CONN_SCTP_INITS = 147
export const CONN_SCTP_VTAGS = 148
export const CONN_SCTP_SIZE = 12
/** DCCP: CT_DCCP_*, direction and type of the last packet, the server's direction, the Response's sequence number. */
export const CONN_DCCP_STATE = 144
export const CONN_DCCP_LAST_DIR = 145
export const CONN_DCCP_LAST_TYPE = 146
export const CONN_DCCP_SERVER = 147
export const CONN_DCCP_HANDSHAKE = 152
export const CONN_DCCP_SIZE = 16
export const CONN_SIZE = 256

export const SEEN_END = 0
export const SEEN_MAXEND = 4
export const SEEN_MAXWIN = 8
export const SEEN_MAXACK = 12
export const SEEN_SCALE = 16
export const SEEN_FLAGS = 17
export const SEEN_SIZE = 20

// enum ip_conntrack_status
export const IPS_SEEN_REPLY = 0x2
export const IPS_ASSURED = 0x4
export const IPS_CONFIRMED = 0x8
export const IPS_SRC_NAT = 0x10
export const IPS_DST_NAT = 0x20
export const IPS_NAT_MASK = 0x30
export const IPS_SRC_NAT_DONE = 0x80
export const IPS_DST_NAT_DONE = 0x100
export const IPS_NAT_DONE_MASK = 0x180
export const IPS_DYING = 0x200
export const IPS_OFFLOAD = 0x4000

// enum tcp_conntrack
export const TCP_CONNTRACK_NONE = 0
export const TCP_CONNTRACK_SYN_SENT = 1
export const TCP_CONNTRACK_SYN_RECV = 2
export const TCP_CONNTRACK_ESTABLISHED = 3
export const TCP_CONNTRACK_FIN_WAIT = 4
export const TCP_CONNTRACK_CLOSE_WAIT = 5
export const TCP_CONNTRACK_LAST_ACK = 6
export const TCP_CONNTRACK_TIME_WAIT = 7
export const TCP_CONNTRACK_CLOSE = 8
export const TCP_CONNTRACK_SYN_SENT2 = 9
/** No state: the packet is invalid; the packet is let through and changes nothing. */
export const TCP_CONNTRACK_MAX = 10
export const TCP_CONNTRACK_IGNORE = 11

// enum sctp_conntrack
export const SCTP_CONNTRACK_NONE = 0
export const SCTP_CONNTRACK_CLOSED = 1
export const SCTP_CONNTRACK_COOKIE_WAIT = 2
export const SCTP_CONNTRACK_COOKIE_ECHOED = 3
export const SCTP_CONNTRACK_ESTABLISHED = 4
export const SCTP_CONNTRACK_SHUTDOWN_SENT = 5
export const SCTP_CONNTRACK_SHUTDOWN_RECD = 6
export const SCTP_CONNTRACK_SHUTDOWN_ACK_SENT = 7
export const SCTP_CONNTRACK_HEARTBEAT_SENT = 8
/** No state: the chunk is invalid. */
export const SCTP_CONNTRACK_MAX = 9

// enum ct_dccp_states
export const CT_DCCP_NONE = 0
export const CT_DCCP_REQUEST = 1
export const CT_DCCP_RESPOND = 2
export const CT_DCCP_PARTOPEN = 3
export const CT_DCCP_OPEN = 4
export const CT_DCCP_CLOSEREQ = 5
export const CT_DCCP_CLOSING = 6
export const CT_DCCP_TIMEWAIT = 7
/** No states: the packet is let through and changes nothing; it is invalid. */
export const CT_DCCP_IGNORE = 8
export const CT_DCCP_INVALID = 9

// ---- what a packet carries in PKT_CT_STATE: how flower sees it (TCA_FLOWER_KEY_CT_FLAGS_*), and one bit more
export const CT_STATE_NEW = 1
export const CT_STATE_ESTABLISHED = 2
export const CT_STATE_RELATED = 4
export const CT_STATE_TRACKED = 8
export const CT_STATE_INVALID = 0x10
export const CT_STATE_REPLY = 0x20
export const CT_STATE_SHOWN = 0x3f
/** IP_CT_UNTRACKED: it was told to forget its connection. */
export const CT_STATE_UNTRACKED = 0x8000
