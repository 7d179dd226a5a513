// RTM_{NEW,DEL,GET,SET}LINK: struct ifinfomsg and its IFLA_* attributes (include/uapi/linux/if_link.h), with the
// IFLA_INFO_DATA of the device kinds that the switch knows: vxlan, geneve, gre/gretap/ip6gre/ip6gretap/erspan, bareudp.
// Constants carry the kernel's names; numbers are the kernel's ABI.
//
// struct ifinfomsg { u8 family; u8 pad; u16 type (ARPHRD_*); i32 index; u32 flags (IFF_*); u32 change; }

import type { Builder } from './netlink.ts'

/** Size of struct ifinfomsg. */
export const IFINFOMSG_LEN = 16
/** Where the attributes of a link message begin. */
export const IFINFOMSG_ATTRS = 32

export const ifiFamily = (d: DataView, o = 16): number => d.getUint8(o)
export const ifiType = (d: DataView, o = 16): number => d.getUint16(o + 2, true)
export const ifiIndex = (d: DataView, o = 16): number => d.getInt32(o + 4, true)
export const ifiFlags = (d: DataView, o = 16): number => d.getUint32(o + 8, true)
export const ifiChange = (d: DataView, o = 16): number => d.getUint32(o + 12, true)

export function ifinfomsg(
  b: Builder,
  family: number,
  type: number,
  index: number,
  flags: number,
  change: number,
): void {
  b.u8(family)
  b.u8(0)
  b.u16(type)
  b.u32(index)
  b.u32(flags)
  b.u32(change)
}

export const RTM_NEWLINK = 16
export const RTM_DELLINK = 17
export const RTM_GETLINK = 18
export const RTM_SETLINK = 19

export const RTNLGRP_LINK = 1

export const ARPHRD_ETHER = 1
export const ARPHRD_TUNNEL = 768
export const ARPHRD_TUNNEL6 = 769
export const ARPHRD_LOOPBACK = 772
export const ARPHRD_SIT = 776
export const ARPHRD_IPGRE = 778
export const ARPHRD_IP6GRE = 823
export const ARPHRD_VOID = 0xffff
export const ARPHRD_NONE = 0xfffe

/** Device flags */
export const IFF_UP = 1
export const IFF_BROADCAST = 2
export const IFF_DEBUG = 4
export const IFF_LOOPBACK = 8
export const IFF_POINTOPOINT = 0x10
export const IFF_NOTRAILERS = 0x20
export const IFF_RUNNING = 0x40
export const IFF_NOARP = 0x80
export const IFF_PROMISC = 0x100
export const IFF_ALLMULTI = 0x200
export const IFF_MASTER = 0x400
export const IFF_SLAVE = 0x800
export const IFF_MULTICAST = 0x1000
export const IFF_PORTSEL = 0x2000
export const IFF_AUTOMEDIA = 0x4000
export const IFF_DYNAMIC = 0x8000
export const IFF_LOWER_UP = 0x10000
export const IFF_DORMANT = 0x20000
export const IFF_ECHO = 0x40000

/** IFLA_OPERSTATE, RFC 2863 */
export const IF_OPER_UNKNOWN = 0
export const IF_OPER_NOTPRESENT = 1
export const IF_OPER_DOWN = 2
export const IF_OPER_LOWERLAYERDOWN = 3
export const IF_OPER_TESTING = 4
export const IF_OPER_DORMANT = 5
export const IF_OPER_UP = 6

/** Attributes of a link */
export const IFLA_UNSPEC = 0
export const IFLA_ADDRESS = 1
export const IFLA_BROADCAST = 2
export const IFLA_IFNAME = 3
export const IFLA_MTU = 4
export const IFLA_LINK = 5
export const IFLA_QDISC = 6
export const IFLA_STATS = 7
export const IFLA_COST = 8
export const IFLA_PRIORITY = 9
export const IFLA_MASTER = 10
export const IFLA_WIRELESS = 11
export const IFLA_PROTINFO = 12
export const IFLA_TXQLEN = 13
export const IFLA_MAP = 14
export const IFLA_WEIGHT = 15
export const IFLA_OPERSTATE = 16
export const IFLA_LINKMODE = 17
export const IFLA_LINKINFO = 18
export const IFLA_NET_NS_PID = 19
export const IFLA_IFALIAS = 20
export const IFLA_NUM_VF = 21
export const IFLA_VFINFO_LIST = 22
export const IFLA_STATS64 = 23
export const IFLA_VF_PORTS = 24
export const IFLA_PORT_SELF = 25
export const IFLA_AF_SPEC = 26
export const IFLA_GROUP = 27
export const IFLA_NET_NS_FD = 28
export const IFLA_EXT_MASK = 29
export const IFLA_PROMISCUITY = 30
export const IFLA_NUM_TX_QUEUES = 31
export const IFLA_NUM_RX_QUEUES = 32
export const IFLA_CARRIER = 33
export const IFLA_PHYS_PORT_ID = 34
export const IFLA_CARRIER_CHANGES = 35
export const IFLA_PHYS_SWITCH_ID = 36
export const IFLA_LINK_NETNSID = 37
export const IFLA_PHYS_PORT_NAME = 38
export const IFLA_PROTO_DOWN = 39
export const IFLA_GSO_MAX_SEGS = 40
export const IFLA_GSO_MAX_SIZE = 41
export const IFLA_PAD = 42
export const IFLA_XDP = 43
export const IFLA_EVENT = 44
export const IFLA_NEW_NETNSID = 45
export const IFLA_IF_NETNSID = 46
export const IFLA_TARGET_NETNSID = 46
export const IFLA_CARRIER_UP_COUNT = 47
export const IFLA_CARRIER_DOWN_COUNT = 48
export const IFLA_NEW_IFINDEX = 49
export const IFLA_MIN_MTU = 50
export const IFLA_MAX_MTU = 51
export const IFLA_PROP_LIST = 52
export const IFLA_ALT_IFNAME = 53
export const IFLA_PERM_ADDRESS = 54
export const IFLA_PROTO_DOWN_REASON = 55
export const IFLA_PARENT_DEV_NAME = 56
export const IFLA_PARENT_DEV_BUS_NAME = 57
export const IFLA_GRO_MAX_SIZE = 58
export const IFLA_TSO_MAX_SIZE = 59
export const IFLA_TSO_MAX_SEGS = 60
export const IFLA_ALLMULTI = 61

/** In IFLA_LINKINFO */
export const IFLA_INFO_UNSPEC = 0
export const IFLA_INFO_KIND = 1
export const IFLA_INFO_DATA = 2
export const IFLA_INFO_XSTATS = 3
export const IFLA_INFO_SLAVE_KIND = 4
export const IFLA_INFO_SLAVE_DATA = 5

/** IFLA_INFO_DATA of vxlan */
export const IFLA_VXLAN_UNSPEC = 0
export const IFLA_VXLAN_ID = 1
export const IFLA_VXLAN_GROUP = 2
export const IFLA_VXLAN_LINK = 3
export const IFLA_VXLAN_LOCAL = 4
export const IFLA_VXLAN_TTL = 5
export const IFLA_VXLAN_TOS = 6
export const IFLA_VXLAN_LEARNING = 7
export const IFLA_VXLAN_AGEING = 8
export const IFLA_VXLAN_LIMIT = 9
export const IFLA_VXLAN_PORT_RANGE = 10
export const IFLA_VXLAN_PROXY = 11
export const IFLA_VXLAN_RSC = 12
export const IFLA_VXLAN_L2MISS = 13
export const IFLA_VXLAN_L3MISS = 14
export const IFLA_VXLAN_PORT = 15
export const IFLA_VXLAN_GROUP6 = 16
export const IFLA_VXLAN_LOCAL6 = 17
export const IFLA_VXLAN_UDP_CSUM = 18
export const IFLA_VXLAN_UDP_ZERO_CSUM6_TX = 19
export const IFLA_VXLAN_UDP_ZERO_CSUM6_RX = 20
export const IFLA_VXLAN_REMCSUM_TX = 21
export const IFLA_VXLAN_REMCSUM_RX = 22
export const IFLA_VXLAN_GBP = 23
export const IFLA_VXLAN_REMCSUM_NOPARTIAL = 24
export const IFLA_VXLAN_COLLECT_METADATA = 25
export const IFLA_VXLAN_LABEL = 26
export const IFLA_VXLAN_GPE = 27
export const IFLA_VXLAN_TTL_INHERIT = 28
export const IFLA_VXLAN_DF = 29
export const IFLA_VXLAN_VNIFILTER = 30

export const VXLAN_DF_UNSET = 0
export const VXLAN_DF_SET = 1
export const VXLAN_DF_INHERIT = 2

/** IFLA_INFO_DATA of geneve */
export const IFLA_GENEVE_UNSPEC = 0
export const IFLA_GENEVE_ID = 1
export const IFLA_GENEVE_REMOTE = 2
export const IFLA_GENEVE_TTL = 3
export const IFLA_GENEVE_TOS = 4
export const IFLA_GENEVE_PORT = 5
export const IFLA_GENEVE_COLLECT_METADATA = 6
export const IFLA_GENEVE_REMOTE6 = 7
export const IFLA_GENEVE_UDP_CSUM = 8
export const IFLA_GENEVE_UDP_ZERO_CSUM6_TX = 9
export const IFLA_GENEVE_UDP_ZERO_CSUM6_RX = 10
export const IFLA_GENEVE_LABEL = 11
export const IFLA_GENEVE_TTL_INHERIT = 12
export const IFLA_GENEVE_DF = 13
export const IFLA_GENEVE_INNER_PROTO_INHERIT = 14

export const GENEVE_DF_UNSET = 0
export const GENEVE_DF_SET = 1
export const GENEVE_DF_INHERIT = 2

/** IFLA_INFO_DATA of gre, gretap, ip6gre, ip6gretap, erspan */
export const IFLA_GRE_UNSPEC = 0
export const IFLA_GRE_LINK = 1
export const IFLA_GRE_IFLAGS = 2
export const IFLA_GRE_OFLAGS = 3
export const IFLA_GRE_IKEY = 4
export const IFLA_GRE_OKEY = 5
export const IFLA_GRE_LOCAL = 6
export const IFLA_GRE_REMOTE = 7
export const IFLA_GRE_TTL = 8
export const IFLA_GRE_TOS = 9
export const IFLA_GRE_PMTUDISC = 10
export const IFLA_GRE_ENCAP_LIMIT = 11
export const IFLA_GRE_FLOWINFO = 12
export const IFLA_GRE_FLAGS = 13
export const IFLA_GRE_ENCAP_TYPE = 14
export const IFLA_GRE_ENCAP_FLAGS = 15
export const IFLA_GRE_ENCAP_SPORT = 16
export const IFLA_GRE_ENCAP_DPORT = 17
export const IFLA_GRE_COLLECT_METADATA = 18
export const IFLA_GRE_IGNORE_DF = 19
export const IFLA_GRE_FWMARK = 20
export const IFLA_GRE_ERSPAN_INDEX = 21
export const IFLA_GRE_ERSPAN_VER = 22
export const IFLA_GRE_ERSPAN_DIR = 23
export const IFLA_GRE_ERSPAN_HWID = 24

/** IFLA_GRE_IFLAGS, IFLA_GRE_OFLAGS: network order, as on the wire */
export const GRE_STRICT = 8
export const GRE_SEQ = 0x10
export const GRE_KEY = 0x20
export const GRE_ROUTING = 0x40
export const GRE_CSUM = 0x80

/** IFLA_GRE_ENCAP_TYPE, _FLAGS */
export const TUNNEL_ENCAP_NONE = 0
export const TUNNEL_ENCAP_FLAG_CSUM = 1
export const TUNNEL_ENCAP_FOU = 1
export const TUNNEL_ENCAP_FLAG_CSUM6 = 2
export const TUNNEL_ENCAP_GUE = 2
export const TUNNEL_ENCAP_MPLS = 3
export const TUNNEL_ENCAP_FLAG_REMCSUM = 4

/** IFLA_INFO_DATA of bareudp */
// IFLA_INFO_DATA of ipip, sit and ip6tnl (linux/if_tunnel.h)
export const IFLA_IPTUN_LINK = 1
export const IFLA_IPTUN_LOCAL = 2
export const IFLA_IPTUN_REMOTE = 3
export const IFLA_IPTUN_TTL = 4
export const IFLA_IPTUN_TOS = 5
export const IFLA_IPTUN_ENCAP_LIMIT = 6
export const IFLA_IPTUN_FLOWINFO = 7
export const IFLA_IPTUN_FLAGS = 8
export const IFLA_IPTUN_PROTO = 9
export const IFLA_IPTUN_PMTUDISC = 10
export const IFLA_IPTUN_6RD_PREFIX = 11
export const IFLA_IPTUN_6RD_RELAY_PREFIX = 12
export const IFLA_IPTUN_6RD_PREFIXLEN = 13
export const IFLA_IPTUN_6RD_RELAY_PREFIXLEN = 14
export const IFLA_IPTUN_ENCAP_TYPE = 15
export const IFLA_IPTUN_ENCAP_FLAGS = 16
export const IFLA_IPTUN_ENCAP_SPORT = 17
export const IFLA_IPTUN_ENCAP_DPORT = 18
export const IFLA_IPTUN_COLLECT_METADATA = 19
export const IFLA_IPTUN_FWMARK = 20

export const IFLA_BAREUDP_UNSPEC = 0
export const IFLA_BAREUDP_PORT = 1
export const IFLA_BAREUDP_ETHERTYPE = 2
export const IFLA_BAREUDP_SRCPORT_MIN = 3
export const IFLA_BAREUDP_MULTIPROTO_MODE = 4

/** In IFLA_AF_SPEC */
export const IFLA_INET6_UNSPEC = 0
export const IFLA_INET_UNSPEC = 0
export const IN6_ADDR_GEN_MODE_EUI64 = 0
export const IFLA_INET6_FLAGS = 1
export const IFLA_INET_CONF = 1
export const IN6_ADDR_GEN_MODE_NONE = 1
export const IFLA_INET6_CONF = 2
export const IN6_ADDR_GEN_MODE_STABLE_PRIVACY = 2
export const IFLA_INET6_STATS = 3
export const IN6_ADDR_GEN_MODE_RANDOM = 3
export const IFLA_INET6_MCAST = 4
export const IFLA_INET6_CACHEINFO = 5
export const IFLA_INET6_ICMP6STATS = 6
export const IFLA_INET6_TOKEN = 7
export const IFLA_INET6_ADDR_GEN_MODE = 8
export const IFLA_INET6_RA_MTU = 9

/** IFLA_EXT_MASK */
export const RTEXT_FILTER_VF = 1
export const RTEXT_FILTER_BRVLAN = 2
export const RTEXT_FILTER_BRVLAN_COMPRESSED = 4
export const RTEXT_FILTER_SKIP_STATS = 8
export const RTEXT_FILTER_MRP = 16
export const RTEXT_FILTER_CFM_CONFIG = 32
export const RTEXT_FILTER_CFM_STATUS = 64
export const RTEXT_FILTER_MST = 128
