// Every way a packet ends without being sent: a number, a name. The sentences are in datapath/drop_reason.ts;
// a test compares the two. Numbers never change their meaning; new ones go to the end.

export const DROP_NONE = 0
/** `action drop`. */
export const DROP_FILTER = 1
/** Not addressed to this port (PACKET_OTHERHOST) or no protocol handler took it. */
export const DROP_OTHERHOST = 2
export const DROP_NO_PROTOCOL = 3
export const DROP_DEV_DOWN = 4
/** Frame longer than the MTU of the port it arrived on, or shorter than an Ethernet header. */
export const DROP_RX_TOO_LONG = 5
export const DROP_RX_TOO_SHORT = 6
export const DROP_NO_SLOT = 7
export const DROP_HEADROOM = 8
export const DROP_LOOP = 9
export const DROP_RECLASSIFY_LOOP = 10
/** Redirected into a tunnel device without tunnel metadata. */
export const DROP_NO_TUNNEL_KEY = 11
export const DROP_TUNNEL_AF = 12
export const DROP_NO_ROUTE = 13
export const DROP_NEIGH_FAILED = 14
export const DROP_NEIGH_QUEUE_FULL = 15
export const DROP_PKT_TOO_BIG = 16
export const DROP_IP_HEADER = 17
export const DROP_IP_CSUM = 18
export const DROP_UDP_CSUM = 19
export const DROP_UDP_LENGTH = 20
export const DROP_NO_SOCKET = 21
export const DROP_TUNNEL_HEADER = 22
export const DROP_NO_VNI = 23
export const DROP_TUNNEL_ECN = 24
export const DROP_INNER_HEADER = 25
export const DROP_FRAG_REASSEMBLY = 26
export const DROP_FRAG_TIMEOUT = 27
export const DROP_FRAG_DUPLICATE = 28
export const DROP_ARP = 29
export const DROP_ND = 30
/** Delivered to the host, which has no use for it (consumed). */
export const DROP_HOST_CONSUMED = 31
export const DROP_TRAP = 32
export const DROP_DUMMY = 33
export const DROP_VLAN = 34
export const DROP_ACTION = 35
export const DROP_MIRRED_NEST = 36
export const DROP_IP_SOURCE = 37
export const DROP_IP_MARTIAN = 38
export const DROP_FORWARDING_OFF = 39
export const DROP_EMIT_FULL = 40
export const DROP_VLAN_UNKNOWN = 41
export const DROP_POLICE = 42
/** An action ct met what is not IP, or an IP header that is cut short; or a connection that went away under its hands. */
export const DROP_CT = 60
/** The table of connections is full, and none could be given up. */
export const DROP_CT_FULL = 61
/** Another connection has the addresses and ports already that this one would get. */
export const DROP_CT_CLASH = 62
/** An address could not be translated. */
export const DROP_CT_NAT = 63
/** A fragment for an action ct, of a datagram that the switch has no room for. */
export const DROP_CT_FRAGMENT = 64
/** An action took the packet and did not pass it on (`steal`, `queue`). */
export const DROP_STOLEN = 43
/** The neighbour table has no room for another next hop that has to be asked. */
export const DROP_NEIGH_TABLE_FULL = 44
/** IP options or extension headers that are malformed or not accepted. */
export const DROP_IP_OPTIONS = 45
/** Too many datagrams wait for their fragments. */
export const DROP_FRAG_MEMORY = 46
/** A GRE checksum that is wrong is DROP_TUNNEL_HEADER; this is one where the device wants none, or the other way round. */
export const DROP_TUNNEL_CSUM = 47
export const DROP_TUNNEL_SEQ = 48
/** Sent into a tunnel device of another protocol (bareudp). */
export const DROP_TUNNEL_PROTOCOL = 49
/** Another thread's ring had no room for it: too much for the host at once, or too much for a port. */
export const DROP_RING_FULL = 50
// ---- ports
/** The kernel gave only the beginning of a frame. */
export const DROP_RX_TRUNCATED = 80
/** A GSO frame of a kind, or with lengths, that cannot be taken apart. */
export const DROP_GSO = 81
/** The kernel's queue, or the ring, of the port it was sent by was full. */
export const DROP_TX_FULL = 82
/** The kernel refused to send it. */
export const DROP_TX_REFUSED = 83
/** Sent by a port whose device is not there at the moment. */
export const DROP_PORT_GONE = 84
/** In the hands of a datapath worker, or of the switch thread, that died. */
export const DROP_WORKER_DIED = 86
/** The kernel had no room for it in the ring of the port. */
export const DROP_RX_MISSED = 87
export const DROP_MAX = 96
