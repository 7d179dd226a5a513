// A network device of the switch (struct net_device): a port, a dummy, a tunnel device.
//
// The device table is one region of NETDEV_MAX slots, slot i for ifindex i, found by arithmetic. Control
// writes under rtnl; the datapath reads plain words. Offsets are bytes.

/** NETDEV_KIND_*, 0 when the slot is free. @rcu rtnl */
export const NETDEV_KIND = 0
/** IFF_* as rtnetlink shows them (IFF_UP 1, IFF_RUNNING 0x40, IFF_NOARP 0x80, …). @rcu rtnl */
export const NETDEV_FLAGS = 4
export const NETDEV_IFINDEX = 8
export const NETDEV_MTU = 12
/** Six bytes, then two of zero. @rcu rtnl */
export const NETDEV_MAC = 16
/** Filters of the two hooks, 0 without qdisc. @rcu rtnl */
export const NETDEV_INGRESS = 24
export const NETDEV_EGRESS = 28
/** NETDEV_F_*. @rcu rtnl */
export const NETDEV_FEATURES = 32
/** Tunnel metadata and encap entry of a tunnel device with a fixed remote. @rcu rtnl */
export const NETDEV_TUN = 36
export const NETDEV_ENCAP = 40
/**
 * Where packets for a tunnel device arrive, 0 nowhere: a UDP port (be16 as a little-endian number), or TP_PROTO and an IP
 * protocol. @constant
 */
export const NETDEV_TP_DST = 44
/** VNI of a classic tunnel device. @constant */
export const NETDEV_VNI = 48
/** Next tunnel device of the same NETDEV_TP_DST. @rcu rtnl */
export const NETDEV_TP_NEXT = 52
/** Qdisc: QDISC_NONE, QDISC_CLSACT, QDISC_INGRESS. @rcu rtnl */
export const NETDEV_QDISC = 56
/** Port number in the order of the scenario, -1 for other devices. @constant */
export const NETDEV_PORT = 60
/** Counter ids of what was received and sent. @constant */
export const NETDEV_RX_COUNTER = 64
export const NETDEV_TX_COUNTER = 68
/** 1: it had a qdisc of ours before: a kernel keeps the queue, and says other things of it. @under rtnl */
export const NETDEV_HAD_QDISC = 72
/** Of a port with a driver: what has become of the device behind it, PORT_*. @atomic */
export const NETDEV_LIVE = 76
/** Name, zero-terminated, IFNAMSIZ bytes. @under rtnl */
export const NETDEV_NAME = 80
/** 96 bytes that belong to the kind (parameters of a tunnel device for `ip -d link show`). @under rtnl */
export const NETDEV_PRIV = 96
/** Sequence number of the next packet that is sent, and the least that is received next, 0 any (GRE). @atomic */
export const NETDEV_SEQ_OUT = 192
export const NETDEV_SEQ_IN = 196
/** Counter id of the qdisc of ours: what its hooks looked at while they had filters, and dropped; 0 without. @rcu rtnl */
export const NETDEV_QDISC_COUNTER = 200
export const NETDEV_SIZE = 256
export const NETDEV_MAX = 4096
/** In NETDEV_TP_DST, and in the list that it is the index of: IP protocols stand behind the UDP ports. */
export const TP_PROTO = 65536

/** Nothing is behind it; all is well; set down; no carrier; the device is not there, or failed. */
export const PORT_NONE = 0
export const PORT_UP = 1
export const PORT_DOWN = 2
export const PORT_NO_CARRIER = 3
export const PORT_GONE = 4

export const NETDEV_KIND_NONE = 0
export const NETDEV_KIND_PORT = 1
export const NETDEV_KIND_DUMMY = 2
export const NETDEV_KIND_LOOPBACK = 3
export const NETDEV_KIND_VXLAN = 4
export const NETDEV_KIND_GENEVE = 5
export const NETDEV_KIND_GRETAP = 6
export const NETDEV_KIND_IP6GRETAP = 7
export const NETDEV_KIND_GRE = 8
export const NETDEV_KIND_IP6GRE = 9
export const NETDEV_KIND_BAREUDP = 10
export const NETDEV_KIND_ERSPAN = 11
export const NETDEV_KIND_IP6ERSPAN = 12
export const NETDEV_KIND_IPIP = 13
export const NETDEV_KIND_SIT = 14
export const NETDEV_KIND_IP6TNL = 15

export const IFF_UP = 1
export const IFF_BROADCAST = 2
export const IFF_LOOPBACK = 8
export const IFF_POINTOPOINT = 0x10
export const IFF_RUNNING = 0x40
export const IFF_NOARP = 0x80
export const IFF_PROMISC = 0x100
export const IFF_MULTICAST = 0x1000
export const IFF_LOWER_UP = 0x10000

/** Tunnel device takes its key from the packet (`external`, collect_md). */
export const NETDEV_F_EXTERNAL = 1
/** VXLAN group policy extension. */
export const NETDEV_F_GBP = 2
export const NETDEV_F_UDP6_ZERO_CSUM_RX = 4
/** Its frames begin with the IP header (gre, bareudp, ipip). */
export const NETDEV_F_L3 = 8
/** A kernel's device mirrored: its state, addresses, routes and neighbours are the kernel's to change (net/mirror.ts). */
export const NETDEV_F_KERNEL = 0x100

export const QDISC_NONE = 0
export const QDISC_CLSACT = 1
export const QDISC_INGRESS = 2

// ---- local addresses: an immutable table, republished whole (SUPER_LOCAL; 0 = no address yet)
// Open addressing, at most half full. For an address of words w0..w3 (loaded little-endian, IPv4: w0 alone):
//   h = w0 ^ w1 ^ w2 ^ w3;  h ^= h >>> 16;  h ^= h >>> 8
// the entry is at LOCAL_ENTRIES + (h & LOCAL_MASK) * LOCAL_ENTRY_SIZE or in the next ones (cyclic), before the first
// of family 0. Broadcast addresses of the connected subnets stand in it too, as LOCAL_ENTRY_TYPE says.
/** Number of buckets less one. */
export const LOCAL_MASK = 0
export const LOCAL_BYTES = 4
export const LOCAL_ENTRIES = 64
/** An entry: family (4, 6, 0 = empty), ifindex, type, reserved, 16 address bytes (v4 in the first four). */
export const LOCAL_ENTRY_FAMILY = 0
export const LOCAL_ENTRY_IFINDEX = 4
/** RTN_LOCAL 2 (an address of ours) or RTN_BROADCAST 3. */
export const LOCAL_ENTRY_TYPE = 8
export const LOCAL_ENTRY_ADDR = 16
export const LOCAL_ENTRY_SIZE = 32
