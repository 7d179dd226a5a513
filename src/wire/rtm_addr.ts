// RTM_{NEW,DEL,GET}ADDR: struct ifaddrmsg and its IFA_* attributes (include/uapi/linux/if_addr.h).
//
// struct ifaddrmsg { u8 family; u8 prefixlen; u8 flags (IFA_F_*, low 8 bits); u8 scope (RT_SCOPE_*); u32 index; }

import type { Builder } from './netlink.ts'

export const IFADDRMSG_LEN = 8
/** Where the attributes of an address message begin. */
export const IFADDRMSG_ATTRS = 24

export const ifaFamily = (d: DataView, o = 16): number => d.getUint8(o)
export const ifaPrefixlen = (d: DataView, o = 16): number => d.getUint8(o + 1)
export const ifaFlags = (d: DataView, o = 16): number => d.getUint8(o + 2)
export const ifaScope = (d: DataView, o = 16): number => d.getUint8(o + 3)
export const ifaIndex = (d: DataView, o = 16): number => d.getUint32(o + 4, true)

export function ifaddrmsg(
  b: Builder,
  family: number,
  prefixlen: number,
  flags: number,
  scope: number,
  index: number,
): void {
  b.u8(family)
  b.u8(prefixlen)
  b.u8(flags)
  b.u8(scope)
  b.u32(index)
}

export const RTM_NEWADDR = 20
export const RTM_DELADDR = 21
export const RTM_GETADDR = 22

export const RTNLGRP_IPV4_IFADDR = 5
export const RTNLGRP_IPV6_IFADDR = 9

export const IFA_UNSPEC = 0
export const IFA_ADDRESS = 1
export const IFA_LOCAL = 2
export const IFA_LABEL = 3
export const IFA_BROADCAST = 4
export const IFA_ANYCAST = 5
export const IFA_CACHEINFO = 6
export const IFA_MULTICAST = 7
export const IFA_FLAGS = 8
export const IFA_RT_PRIORITY = 9
export const IFA_TARGET_NETNSID = 10
export const IFA_PROTO = 11

/** Address flags; IFA_FLAGS carries all 32 bits */
export const IFA_F_SECONDARY = 1
export const IFA_F_TEMPORARY = 1
export const IFA_F_NODAD = 2
export const IFA_F_OPTIMISTIC = 4
export const IFA_F_DADFAILED = 8
export const IFA_F_HOMEADDRESS = 0x10
export const IFA_F_DEPRECATED = 0x20
export const IFA_F_TENTATIVE = 0x40
export const IFA_F_PERMANENT = 0x80
export const IFA_F_MANAGETEMPADDR = 0x100
export const IFA_F_NOPREFIXROUTE = 0x200
export const IFA_F_MCAUTOJOIN = 0x400
export const IFA_F_STABLE_PRIVACY = 0x800

/** IFA_PROTO */
export const IFAPROT_UNSPEC = 0
export const IFAPROT_KERNEL_LO = 1
export const IFAPROT_KERNEL_RA = 2
export const IFAPROT_KERNEL_LL = 3
