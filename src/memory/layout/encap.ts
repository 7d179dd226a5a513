// What the datapath knows of an encap entry: its header, an immutable template with patch points.
//
// Control makes a new header for every change and publishes it over ENCAP_HEADER; 0 means that the next
// hop is not resolved and packets take the slow path. Offsets are bytes.

// ---- encap entry (struct mlx5e_encap_entry): the words that the datapath reads; the rest is in encap/
/** Address of the encap header, 0 while not valid. @rcu encap_tbl */
export const ENCAP_HEADER = 0
/** The tunnel device (address). @constant */
export const ENCAP_DEV = 4
/** Its tunnel metadata (address of a tun_info that the entry owns). @constant */
export const ENCAP_TUN = 8
/** Control's part begins here; its layout is in encap/encap_entry.ts. */
export const ENCAP_CONTROL = 64
export const ENCAP_SIZE = 192

// ---- encap header (pkt_reformat): immutable
/** The outer bytes, Ethernet first, end at HEADER_BYTES + HEADER_ROOM: right-aligned, so that whole words are copied. */
export const HEADER_LEN = 0
/** Port or device (address) that the outer frame leaves by. */
export const HEADER_OUT_DEV = 4
/** HEADER_F_*. */
export const HEADER_FLAGS = 8
/** Byte offset of the outer IP header from the first outer byte (14, 18). */
export const HEADER_L3 = 12
/** Byte offset of the outer UDP or GRE header. */
export const HEADER_L4 = 16
/** Largest outer IP packet that fits the route (MTU of the device). */
export const HEADER_MTU = 20
/** tos and ttl of the tunnel key: the configured values that inheritance starts from. */
export const HEADER_TOS = 24
export const HEADER_TTL = 28
/** IPv4 header checksum of the template with tot_len, id and tos zero: unfolded sum. */
export const HEADER_IP_SUM = 32
/** Sum of the pseudo header without the length, unfolded, for a UDP or GRE checksum. */
export const HEADER_PSEUDO_SUM = 36
/** UDP source port range: min, number of ports. */
export const HEADER_PORT_MIN = 40
export const HEADER_PORT_COUNT = 44
/** In the place of the ports, for GRE: the tunnel device (address), whose sequence numbers they are. */
export const HEADER_DEV = 40
/** Retirement checks: flows that use it are under RCU; refs must be 0. */
export const HEADER_ENTRY = 48
/** Bytes to strip from the front of the inner frame first (14 for L3 tunnels). */
export const HEADER_STRIP = 52
/** EtherType that an inner frame must have, as on the wire and loaded little-endian (0: any); in the high half another one that will do. Others are dropped. */
export const HEADER_ETHERTYPES = 56
/**
 * MTU of the tunnel device, 0: it does not look (HEADER_F_ERSPAN: longer frames are cut). Inner IPv4 packets with DF, and
 * IPv6 packets where the limit is 1280 or more, that are longer from their IP header on are not sent; where the outer packet
 * has DF the limit is what HEADER_MTU leaves.
 */
export const HEADER_INNER_MTU = 60
/** Template bytes are right-aligned in HEADER_ROOM bytes from here. */
export const HEADER_BYTES = 64
export const HEADER_ROOM = 384
/** Small headers (up to 128 bytes of template, right-aligned in 128) use this size and room. */
export const HEADER_SIZE_SMALL = 192
export const HEADER_ROOM_SMALL = 128
export const HEADER_SIZE = 448

export const HEADER_F_IPV6 = 1
/** Transport is UDP: set source port from the flow hash, length, checksum. */
export const HEADER_F_UDP = 2
/** Transport checksum is to be computed (UDP, or GRE with the checksum bit). */
export const HEADER_F_CSUM = 4
/** tos (traffic class) starts from the inner one. */
export const HEADER_F_TOS_INHERIT = 8
export const HEADER_F_TTL_INHERIT = 16
/** DF as the inner IPv4 header has it; over UDP also when the inner packet is IPv6, as vxlan and geneve have it. */
export const HEADER_F_DF_INHERIT = 32
/** DF always. */
export const HEADER_F_DF_SET = 64
/** GRE: sequence number from the device. */
export const HEADER_F_SEQ = 128
/** GRE (with or without checksum). */
export const HEADER_F_GRE = 256
/** Outer room is HEADER_ROOM_SMALL. */
export const HEADER_F_SMALL = 512
/** Inner ECN is not copied out (ip6gretap). */
export const HEADER_F_NO_ECN = 1024
/** Flow label from the flow hash (GRE over IPv6). */
export const HEADER_F_FLOW_LABEL = 2048
/** GRE: the protocol in the header is the inner frame's EtherType (tunnels of layer 3). */
export const HEADER_F_INNER_TYPE = 4096
/** The inner IP header is looked for behind all VLAN tags, and a packet without a whole one refused (geneve). */
export const HEADER_F_ALL_TAGS = 8192
/** The inner packet's own flow label goes out (ip6gre with `flowlabel inherit`). */
export const HEADER_F_LABEL_INHERIT = 16384
/** Behind the GRE header stands one of erspan, to be filled in; frames longer than HEADER_INNER_MTU are cut. */
export const HEADER_F_ERSPAN = 32768
/** IPv6 packets from the outer destination (none known: from nobody) are refused: they would go round (ip6gre). */
export const HEADER_F_NO_RETURN = 65536
/** An inner IP packet whose header is cut short is refused. */
export const HEADER_F_WHOLE = 131072
/** The tunnel device looks at the packet before it sends: HEADER_ETHERTYPES, HEADER_INNER_MTU, and what the flags ask. */
export const HEADER_F_LOOKS = 262144
/** The outer IP protocol says what the inner packet is: IPv4, IPv6 or MPLS (IP in IP). */
export const HEADER_F_INNER_PROTO = 524288
/** IPv4 identification 0, as hardware has it. */
export const HEADER_F_NO_ID = 1048576

// ---- what comes of pushing a header
/** Encapsulated. */
export const PUSH_DONE = 0
/** Encapsulated, and larger than the route's MTU. */
export const PUSH_TOO_BIG = 1
/** Not, and the packet is as it was: there is no room in front of it. */
export const PUSH_NO_ROOM = 2
/** Its own IP header is cut short, and the tunnel looks. */
export const PUSH_CUT = 3
/** It is of a protocol that the tunnel does not carry. */
export const PUSH_PROTOCOL = 4
/** It may not be cut, and is larger than the tunnel takes. */
export const PUSH_INNER_TOO_BIG = 5
/** It would come back through the tunnel. */
export const PUSH_LOOP = 6
