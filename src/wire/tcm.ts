// RTM_{NEW,DEL,GET}{QDISC,TCLASS,TFILTER,CHAIN}: struct tcmsg and the TCA_* attributes that all of them share; the handles
// with a meaning of their own (include/uapi/linux/rtnetlink.h, pkt_sched.h).
//
// struct tcmsg { u8 family; u8 pad; u16 pad; i32 ifindex; u32 handle; u32 parent; u32 info; }
// In a filter `info` is the preference in the upper and the Ethernet protocol, in network order, in the lower 16 bits.
// On a shared block `ifindex` is TCM_IFINDEX_MAGIC_BLOCK and `parent` is the block's index.

import type { Builder } from './netlink.ts'

export const TCMSG_LEN = 20
/** Where the attributes of a tc message begin. */
export const TCMSG_ATTRS = 36

export const tcmFamily = (d: DataView, o = 16): number => d.getUint8(o)
export const tcmIfindex = (d: DataView, o = 16): number => d.getInt32(o + 4, true)
export const tcmHandle = (d: DataView, o = 16): number => d.getUint32(o + 8, true)
export const tcmParent = (d: DataView, o = 16): number => d.getUint32(o + 12, true)
export const tcmInfo = (d: DataView, o = 16): number => d.getUint32(o + 16, true)
/** The shared block's index: tcm_block_index is another name of tcm_parent. */
export const tcmBlockIndex = tcmParent

/** Preference of a filter's tcm_info. */
export const infoPref = (info: number): number => info >>> 16
/** Ethernet protocol, in host order, of a filter's tcm_info. */
export const infoProtocol = (info: number): number => ((info & 0xff) << 8) | ((info >>> 8) & 0xff)
/** tcm_info from preference and protocol (host order). */
export const filterInfo = (pref: number, protocol: number): number =>
  ((pref << 16) | ((protocol & 0xff) << 8) | ((protocol >>> 8) & 0xff)) >>> 0

export function tcmsg(b: Builder, ifindex: number, handle: number, parent: number, info: number): void {
  b.u32(0)
  b.u32(ifindex)
  b.u32(handle)
  b.u32(parent)
  b.u32(info)
}

export const RTM_NEWQDISC = 36
export const RTM_DELQDISC = 37
export const RTM_GETQDISC = 38
export const RTM_NEWTCLASS = 40
export const RTM_DELTCLASS = 41
export const RTM_GETTCLASS = 42
export const RTM_NEWTFILTER = 44
export const RTM_DELTFILTER = 45
export const RTM_GETTFILTER = 46
export const RTM_NEWCHAIN = 100
export const RTM_DELCHAIN = 101
export const RTM_GETCHAIN = 102

export const RTNLGRP_TC = 4

export const TCM_IFINDEX_MAGIC_BLOCK = 0xffffffff

/** Handles */
export const TC_H_UNSPEC = 0
export const TC_H_MIN_PRIORITY = 0xffe0
export const TC_H_MIN_INGRESS = 0xfff2
export const TC_H_MIN_EGRESS = 0xfff3
export const TC_H_CLSACT = 0xfffffff1
export const TC_H_INGRESS = 0xfffffff1
export const TC_H_ROOT = 0xffffffff
export const TC_H_MAJ_MASK = 0xffff0000
export const TC_H_MIN_MASK = 0x0000ffff

/** Attributes of every tc message */
export const TCA_UNSPEC = 0
export const TCA_KIND = 1
export const TCA_OPTIONS = 2
export const TCA_STATS = 3
export const TCA_XSTATS = 4
export const TCA_RATE = 5
export const TCA_FCNT = 6
export const TCA_STATS2 = 7
export const TCA_STAB = 8
export const TCA_PAD = 9
export const TCA_DUMP_INVISIBLE = 10
export const TCA_CHAIN = 11
export const TCA_HW_OFFLOAD = 12
export const TCA_INGRESS_BLOCK = 13
export const TCA_EGRESS_BLOCK = 14
export const TCA_DUMP_FLAGS = 15
export const TCA_EXT_WARN_MSG = 16

/** TCA_RATE: struct tc_estimator { s8 interval; u8 ewma_log; } */
export const TC_ESTIMATOR_LEN = 2
/** Appends TCA_RATE. The interval is a second times 2 to `interval`. */
export function putTcEstimator(b: Builder, interval: number, ewmaLog: number): void {
  const o = b.attrRoom(TCA_RATE, TC_ESTIMATOR_LEN)
  b.d.setInt8(o, interval)
  b.d.setUint8(o + 1, ewmaLog)
}

/** TCA_DUMP_FLAGS: names and statistics only. */
export const TCA_DUMP_FLAGS_TERSE = 1

/** In TCA_STATS2 and TCA_ACT_STATS */
export const TCA_STATS_UNSPEC = 0
export const TCA_STATS_BASIC = 1
export const TCA_STATS_RATE_EST = 2
export const TCA_STATS_QUEUE = 3
export const TCA_STATS_APP = 4
export const TCA_STATS_RATE_EST64 = 5
export const TCA_STATS_PAD = 6
export const TCA_STATS_BASIC_HW = 7
export const TCA_STATS_PKT64 = 8

/** TCA_FLOWER_FLAGS and alike */
export const TCA_CLS_FLAGS_SKIP_HW = 1
export const TCA_CLS_FLAGS_SKIP_SW = 2
export const TCA_CLS_FLAGS_IN_HW = 4
export const TCA_CLS_FLAGS_NOT_IN_HW = 8
export const TCA_CLS_FLAGS_VERBOSE = 0x10
