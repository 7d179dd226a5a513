// RTM_{NEW,DEL,GET}ROUTE: struct rtmsg, its RTA_* attributes, and struct rtnexthop of RTA_MULTIPATH
// (include/uapi/linux/rtnetlink.h).
//
// struct rtmsg { u8 family; u8 dst_len; u8 src_len; u8 tos; u8 table; u8 protocol; u8 scope; u8 type; u32 flags; }
// struct rtnexthop { u16 len; u8 flags; u8 hops; i32 ifindex; } then attributes

import type { Builder } from './netlink.ts'

export const RTMSG_LEN = 12
/** Where the attributes of a route message begin. */
export const RTMSG_ATTRS = 28

export const rtmFamily = (d: DataView, o = 16): number => d.getUint8(o)
export const rtmDstLen = (d: DataView, o = 16): number => d.getUint8(o + 1)
export const rtmSrcLen = (d: DataView, o = 16): number => d.getUint8(o + 2)
export const rtmTos = (d: DataView, o = 16): number => d.getUint8(o + 3)
export const rtmTable = (d: DataView, o = 16): number => d.getUint8(o + 4)
export const rtmProtocol = (d: DataView, o = 16): number => d.getUint8(o + 5)
export const rtmScope = (d: DataView, o = 16): number => d.getUint8(o + 6)
export const rtmType = (d: DataView, o = 16): number => d.getUint8(o + 7)
export const rtmFlags = (d: DataView, o = 16): number => d.getUint32(o + 8, true)

export interface Rtmsg {
  family: number
  dstLen: number
  srcLen: number
  tos: number
  table: number
  protocol: number
  scope: number
  type: number
  flags: number
}

export function rtmsg(b: Builder, r: Rtmsg): void {
  b.u8(r.family)
  b.u8(r.dstLen)
  b.u8(r.srcLen)
  b.u8(r.tos)
  b.u8(r.table)
  b.u8(r.protocol)
  b.u8(r.scope)
  b.u8(r.type)
  b.u32(r.flags)
}

/** Writes the parts of a header that are known only behind its attributes. */
export function setRtmsg(b: Builder, family: number, dstLen: number, srcLen: number, tos: number, flags: number): void {
  b.d.setUint8(16, family)
  b.d.setUint8(17, dstLen)
  b.d.setUint8(18, srcLen)
  b.d.setUint8(19, tos)
  b.d.setUint32(24, flags, true)
}

export const RTNEXTHOP_LEN = 8
export const rtnhLen = (d: DataView, o: number): number => d.getUint16(o, true)
export const rtnhFlags = (d: DataView, o: number): number => d.getUint8(o + 2)
export const rtnhHops = (d: DataView, o: number): number => d.getUint8(o + 3)
export const rtnhIfindex = (d: DataView, o: number): number => d.getInt32(o + 4, true)

/** Writes the header at `o`, where RTNEXTHOP_LEN bytes of room are, when the attributes behind it are there. */
export function setRtnexthop(b: Builder, o: number, flags: number, hops: number, ifindex: number): void {
  b.d.setUint16(o, b.at - o, true)
  b.d.setUint8(o + 2, flags)
  b.d.setUint8(o + 3, hops)
  b.d.setInt32(o + 4, ifindex, true)
}

export const RTM_NEWROUTE = 24
export const RTM_DELROUTE = 25
export const RTM_GETROUTE = 26

export const RTNLGRP_IPV4_ROUTE = 7
export const RTNLGRP_IPV6_ROUTE = 11

export const AF_UNSPEC = 0
export const AF_INET = 2
export const AF_INET6 = 10
export const AF_BRIDGE = 7
export const AF_MPLS = 28
export const AF_PACKET = 17

/** Route types: rtm_type */
export const RTN_UNSPEC = 0
export const RTN_UNICAST = 1
export const RTN_LOCAL = 2
export const RTN_BROADCAST = 3
export const RTN_ANYCAST = 4
export const RTN_MULTICAST = 5
export const RTN_BLACKHOLE = 6
export const RTN_UNREACHABLE = 7
export const RTN_PROHIBIT = 8
export const RTN_THROW = 9
export const RTN_NAT = 10
export const RTN_XRESOLVE = 11

/** Who made the route: rtm_protocol */
export const RTPROT_UNSPEC = 0
export const RTPROT_REDIRECT = 1
export const RTPROT_KERNEL = 2
export const RTPROT_BOOT = 3
export const RTPROT_STATIC = 4
export const RTPROT_GATED = 8
export const RTPROT_RA = 9
export const RTPROT_MRT = 10
export const RTPROT_ZEBRA = 11
export const RTPROT_BIRD = 12
export const RTPROT_DNROUTED = 13
export const RTPROT_XORP = 14
export const RTPROT_NTK = 15
export const RTPROT_DHCP = 16
export const RTPROT_MROUTED = 17
export const RTPROT_KEEPALIVED = 18
export const RTPROT_BABEL = 42
export const RTPROT_OPENR = 99
export const RTPROT_BGP = 186
export const RTPROT_ISIS = 187
export const RTPROT_OSPF = 188
export const RTPROT_RIP = 189
export const RTPROT_EIGRP = 192

/** How far the destination is: rtm_scope */
export const RT_SCOPE_UNIVERSE = 0
export const RT_SCOPE_SITE = 200
export const RT_SCOPE_LINK = 253
export const RT_SCOPE_HOST = 254
export const RT_SCOPE_NOWHERE = 255

/** Tables */
export const RT_TABLE_UNSPEC = 0
export const RT_TABLE_COMPAT = 252
export const RT_TABLE_DEFAULT = 253
export const RT_TABLE_MAIN = 254
export const RT_TABLE_LOCAL = 255

/** rtm_flags */
export const RTM_F_NOTIFY = 0x100
export const RTM_F_CLONED = 0x200
export const RTM_F_EQUALIZE = 0x400
export const RTM_F_PREFIX = 0x800
export const RTM_F_LOOKUP_TABLE = 0x1000
export const RTM_F_FIB_MATCH = 0x2000
export const RTM_F_OFFLOAD = 0x4000
export const RTM_F_TRAP = 0x8000
export const RTM_F_OFFLOAD_FAILED = 0x20000000

/** Attributes of a route */
export const RTA_UNSPEC = 0
export const RTA_DST = 1
export const RTA_SRC = 2
export const RTA_IIF = 3
export const RTA_OIF = 4
export const RTA_GATEWAY = 5
export const RTA_PRIORITY = 6
export const RTA_PREFSRC = 7
export const RTA_METRICS = 8
export const RTA_MULTIPATH = 9
export const RTA_PROTOINFO = 10
export const RTA_FLOW = 11
export const RTA_CACHEINFO = 12
export const RTA_SESSION = 13
export const RTA_MP_ALGO = 14
export const RTA_TABLE = 15
export const RTA_MARK = 16
export const RTA_MFC_STATS = 17
export const RTA_VIA = 18
export const RTA_NEWDST = 19
export const RTA_PREF = 20
export const RTA_ENCAP_TYPE = 21
export const RTA_ENCAP = 22
export const RTA_EXPIRES = 23
export const RTA_PAD = 24
export const RTA_UID = 25
export const RTA_TTL_PROPAGATE = 26
export const RTA_IP_PROTO = 27
export const RTA_SPORT = 28
export const RTA_DPORT = 29
export const RTA_NH_ID = 30

/** rtnh_flags; also in rtm_flags of a single hop */
export const RTNH_F_DEAD = 1
export const RTNH_F_PERVASIVE = 2
export const RTNH_F_ONLINK = 4
export const RTNH_F_OFFLOAD = 8
export const RTNH_F_LINKDOWN = 0x10
export const RTNH_F_UNRESOLVED = 0x20
export const RTNH_F_TRAP = 0x40

/** In RTA_METRICS */
export const RTAX_UNSPEC = 0
export const RTAX_LOCK = 1
export const RTAX_MTU = 2
export const RTAX_WINDOW = 3
export const RTAX_RTT = 4
export const RTAX_RTTVAR = 5
export const RTAX_SSTHRESH = 6
export const RTAX_CWND = 7
export const RTAX_ADVMSS = 8
export const RTAX_REORDERING = 9
export const RTAX_HOPLIMIT = 10
export const RTAX_INITCWND = 11
export const RTAX_FEATURES = 12
export const RTAX_INITRWND = 14
export const RTAX_QUICKACK = 15
export const RTAX_CC_ALGO = 16
export const RTAX_FASTOPEN_NO_COOKIE = 17
