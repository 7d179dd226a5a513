// A GRE device in its slot: NETDEV_PRIV of gre, gretap, erspan and their IPv6 kin, and of ipip, sit and ip6tnl, for control and for the chip, which
// finds the device of a received packet by them. Offsets are bytes from the device.

import { NETDEV_PRIV } from './netdev.ts'

/** ifindex of `dev`, 0 without. @under rtnl */
export const GRE_LINK = NETDEV_PRIV
/** IFLA_GRE_IKEY, IFLA_GRE_OKEY, host order. @under rtnl */
export const GRE_IKEY = NETDEV_PRIV + 4
export const GRE_OKEY = NETDEV_PRIV + 8
/** Header flags that a packet must have to be received, and that are sent: GRE_F_*. u16 each. @under rtnl */
export const GRE_IFLAGS = NETDEV_PRIV + 12
export const GRE_OFLAGS = NETDEV_PRIV + 14
/** u8 each: DF on every outer header; DF of the inner packet does not count (IPv4). @under rtnl */
export const GRE_PMTUDISC = NETDEV_PRIV + 16
export const GRE_IGNORE_DF = NETDEV_PRIV + 17
/** u8: limit of nested encapsulations that is sent along (IPv6). @under rtnl */
export const GRE_ENCAP_LIMIT = NETDEV_PRIV + 18
/** u8: erspan's version, 0 for devices that are none. @under rtnl */
export const GRE_ERSPAN_VER = NETDEV_PRIV + 19
/** @under rtnl */
export const GRE_FWMARK = NETDEV_PRIV + 20
/** IP6_TNL_F_*, and traffic class and flow label in host order (IPv6). @under rtnl */
export const GRE_TNL_FLAGS = NETDEV_PRIV + 24
export const GRE_FLOWINFO = NETDEV_PRIV + 28
/** erspan version 1: port index; version 2: direction and hardware id. @under rtnl */
export const GRE_ERSPAN_INDEX = NETDEV_PRIV + 32
export const GRE_ERSPAN_DIR = NETDEV_PRIV + 36
export const GRE_ERSPAN_HWID = NETDEV_PRIV + 37
/** u8: the one IP protocol that an IP in IP device carries, 0 any. @under rtnl */
export const GRE_MODE = NETDEV_PRIV + 38

/** Flags of the GRE header, as a number of its first two bytes (RFC 2784, RFC 2890). */
export const GRE_F_CSUM = 0x8000
export const GRE_F_ROUTING = 0x4000
export const GRE_F_KEY = 0x2000
export const GRE_F_SEQ = 0x1000
