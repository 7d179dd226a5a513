// A bareudp device in its slot: NETDEV_PRIV, u16 each, for control and for the chip. Offsets are bytes from the device.

import { NETDEV_PRIV } from './netdev.ts'

/** EtherType as on the wire, loaded little-endian. @constant */
export const BAREUDP_ETHERTYPE = NETDEV_PRIV
/** First UDP source port. @constant */
export const BAREUDP_SPORT_MIN = NETDEV_PRIV + 2
/** 1: MPLS multicast beside unicast, IPv6 beside IPv4. @constant */
export const BAREUDP_MULTIPROTO = NETDEV_PRIV + 4
