// A packet slot: metadata, room for the tunnel metadata of a decapsulated packet, headroom, frame.
//
//   0        64                384            640
//   +--------+-----------------+--------------+---------------------------+
//   | meta   | tun_info + opts | headroom     | frame as it arrived ...   |
//   +--------+-----------------+--------------+---------------------------+
//
// PKT_DATA is the address of the first byte of the frame; encap and decap move it, never the payload.
// A slot belongs to one thread at a time: worker, host, or the ring between them. @worker

export const PKT_DATA = 0
/** Bytes of the frame, Ethernet header included. */
export const PKT_LEN = 4
/** Device (address of its NETDEV slot) the packet is on now: skb->dev. */
export const PKT_DEV = 8
/** ifindex it came in by: skb->skb_iif. */
export const PKT_IIF = 12
/** Tunnel metadata (address of a tun_info), 0 without: skb_tunnel_info(). */
export const PKT_TUN = 16
export const PKT_MARK = 20
export const PKT_PRIORITY = 24
/** Flow hash of the innermost packet, 0 = not computed. */
export const PKT_HASH = 28
/** PKT_F_*. */
export const PKT_FLAGS = 32
/** Connection (address), 0 without; then CT_STATE_* (u16) and the zone of the last action ct (u16). */
export const PKT_CT = 36
export const PKT_CT_STATE = 40
export const PKT_CT_ZONE = 42
/** Transmit queue (u16). */
export const PKT_QUEUE = 44
/** skb->protocol (be16) where an action wrote another type into the frame; 0: as the frame says. */
export const PKT_PROTO = 46
/** Arrival time, nanoseconds, low and high word. */
export const PKT_TIME = 48
export const PKT_TIME_HI = 52
/** Depth of nested redirects (mirred_rec_level / xmit recursion) (u8). */
export const PKT_NEST = 56
/** How often an ingress hook has sent it to an ingress: skb->tc_depth (u8). */
export const PKT_TC_DEPTH = 57
/** Put together from fragments by an action ct: the largest of them, bytes of IP (u16); 0 otherwise. */
export const PKT_MRU = 58
/** Number of the packet in the replay, or 0. */
export const PKT_SEQ = 60
/** tun_info of a decapsulated packet. */
export const PKT_TUN_INFO = 64
export const PKT_HEADROOM = 384
export const PKT_FRAME = 640

/**
 * In the first bytes of the headroom, of a fragment that an action ct holds (PUNT_CT_FRAGMENT): block, flow and op that
 * want the whole packet, SUPER_GENERATION at that time, and 1 at ingress.
 */
export const PKT_HELD_BLOCK = 384
export const PKT_HELD_FLOW = 388
export const PKT_HELD_OP = 392
export const PKT_HELD_GENERATION = 396
export const PKT_HELD_INGRESS = 400
export const PKT_HELD_END = 416

/** A large slot: for datagrams that were put together, which may be larger than any frame. Bytes of its frame, of all. */
export const LARGE_FRAME = 65600
/** In its last bytes: how many fragments it was, 0 when that is not known, and the bytes of data of each (u16). */
export const LARGE_PIECES = 66240
export const LARGE_PIECES_MAX = 255
export const LARGE_SIZE = 66752

/** Outer checksum was verified already (reassembled, or made by us). */
export const PKT_F_CSUM_VERIFIED = 1
/** Came back from the host: whole, without options, and found to be ours. Local input does not ask again whose it is. */
export const PKT_F_REASSEMBLED = 2
/** L2 miss in a bridge (skb ext). */
export const PKT_F_L2_MISS = 4
/** Bits 3 .. 15: network header (skb->network_header), bytes from the slot; 0: behind the Ethernet header and one tag. */
export const PKT_NETWORK_SHIFT = 3
export const PKT_NETWORK_MASK = 0x1fff
/** Bits 28 .. 31: packet type that an action set (PACKET_HOST 0 … PACKET_OTHERHOST 3) and one, 0: by the address. */
export const PKT_TYPE_SHIFT = 28
/** From this bit on: ifindex of the device that gave the packet its type (eth_type_trans: host, other host, multicast). */
export const PKT_TYPE_DEV_SHIFT = 16
