// RTM_{NEW,DEL,GET}NEIGH: struct ndmsg and its NDA_* attributes (include/uapi/linux/neighbour.h).
//
// struct ndmsg { u8 family; u8 pad; u16 pad; i32 ifindex; u16 state (NUD_*); u8 flags (NTF_*); u8 type (RTN_*); }

import type { Builder } from './netlink.ts'

export const NDMSG_LEN = 12
/** Where the attributes of a neighbour message begin. */
export const NDMSG_ATTRS = 28

export const ndmFamily = (d: DataView, o = 16): number => d.getUint8(o)
export const ndmIfindex = (d: DataView, o = 16): number => d.getInt32(o + 4, true)
export const ndmState = (d: DataView, o = 16): number => d.getUint16(o + 8, true)
export const ndmFlags = (d: DataView, o = 16): number => d.getUint8(o + 10)
export const ndmType = (d: DataView, o = 16): number => d.getUint8(o + 11)

export function ndmsg(b: Builder, family: number, ifindex: number, state: number, flags: number, type: number): void {
  b.u8(family)
  b.u8(0)
  b.u16(0)
  b.u32(ifindex)
  b.u16(state)
  b.u8(flags)
  b.u8(type)
}

export const RTM_NEWNEIGH = 28
export const RTM_DELNEIGH = 29
export const RTM_GETNEIGH = 30

export const RTNLGRP_NEIGH = 3

/** Neighbour states, RFC 4861 7.3.2 and the kernel's own */
export const NUD_NONE = 0
export const NUD_INCOMPLETE = 1
export const NUD_REACHABLE = 2
export const NUD_STALE = 4
export const NUD_DELAY = 8
export const NUD_PROBE = 0x10
export const NUD_FAILED = 0x20
export const NUD_NOARP = 0x40
export const NUD_PERMANENT = 0x80

/** ndm_flags (NTF_EXT_* go into NDA_FLAGS_EXT) */
export const NTF_EXT_MANAGED = 1
export const NTF_USE = 1
export const NTF_SELF = 2
export const NTF_MASTER = 4
export const NTF_PROXY = 8
export const NTF_EXT_LEARNED = 0x10
export const NTF_OFFLOADED = 0x20
export const NTF_STICKY = 0x40
export const NTF_ROUTER = 0x80

/** Attributes of a neighbour */
export const NDA_UNSPEC = 0
export const NDA_DST = 1
export const NDA_LLADDR = 2
export const NDA_CACHEINFO = 3
export const NDA_PROBES = 4
export const NDA_VLAN = 5
export const NDA_PORT = 6
export const NDA_VNI = 7
export const NDA_IFINDEX = 8
export const NDA_MASTER = 9
export const NDA_LINK_NETNSID = 10
export const NDA_SRC_VNI = 11
export const NDA_PROTOCOL = 12
export const NDA_NH_ID = 13
export const NDA_FDB_EXT_ATTRS = 14
export const NDA_FLAGS_EXT = 15
export const NDA_NDM_STATE_MASK = 16
export const NDA_NDM_FLAGS_MASK = 17
