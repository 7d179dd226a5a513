// Why an encap entry, or a flow, is on the slow path: a number, a name. The sentences are in encap/slow_reason.ts; a
// test compares the two. Numbers never change their meaning; new ones go to the end.
//
// An entry has the reason of its own next hop; a flow (FLOW_WHY) that of the first of its entries that has one.

export const SLOW_NONE = 0
/** No route to the tunnel's destination. */
export const SLOW_NO_ROUTE = 1
/** The route says blackhole, unreachable or prohibit. */
export const SLOW_BLACKHOLE = 2
export const SLOW_UNREACHABLE = 3
export const SLOW_PROHIBIT = 4
/** The destination is an address of the switch itself: packets go through the host. */
export const SLOW_LOCAL = 5
/** The destination is a broadcast or multicast address. */
export const SLOW_BROADCAST = 6
export const SLOW_MULTICAST = 7
/** The source address is not an address of the switch. */
export const SLOW_SOURCE = 8
/** The route leaves by a device that is not a port (a dummy, a tunnel device, the tunnel device itself). */
export const SLOW_NOT_A_PORT = 9
/** The device that the route leaves by is down. */
export const SLOW_DEV_DOWN = 10
/** Nobody has asked for the next hop yet. */
export const SLOW_NEIGH_NONE = 11
/** The next hop has been asked and has not answered yet. */
export const SLOW_NEIGH_INCOMPLETE = 12
/** The next hop did not answer. */
export const SLOW_NEIGH_FAILED = 13
/** Known but not confirmed lately: the next packet goes through the host, which starts to confirm it. */
export const SLOW_NEIGH_STALE = 14
/** A tunnel device without a remote address was used without a tunnel key. */
export const SLOW_NO_REMOTE = 15
/** The tunnel device is down. */
export const SLOW_TUNNEL_DOWN = 16
/** An external tunnel device was used without a tunnel key, or a key of the wrong address family. */
export const SLOW_NO_KEY = 17
/** The tunnel options are not what this kind of tunnel can send. */
export const SLOW_OPTIONS = 18
/** The outer headers do not fit the template. */
export const SLOW_TOO_LONG = 19
/** Something in the header depends on each packet in a way that the template has no patch point for. */
export const SLOW_PER_PACKET = 20
/** The entry could not be built (out of memory). */
export const SLOW_ERROR = 21
export const SLOW_MAX = 22
