// Statistics as the kernel writes them: gnet_stats_copy_* of net/core/gen_stats.c, struct tc_stats of TCA_STATS.

import type { Counter } from '../memory/counters.ts'
import type { Builder } from '../wire/netlink.ts'
import {
  TCA_STATS_BASIC,
  TCA_STATS_BASIC_HW,
  TCA_STATS_PKT64,
  TCA_STATS_QUEUE,
  TCA_STATS_RATE_EST,
  TCA_STATS_RATE_EST64,
} from '../wire/tcm.ts'
import type { Rate } from './estimator.ts'

const U32 = 0x100000000

/** struct gnet_stats_basic { u64 bytes; u32 packets; } and its packets in full when they need more than 32 bits. */
function basic(b: Builder, type: number, bytes: number, packets: number): void {
  const o = b.attrRoom(type, 16)
  b.d.setUint32(o, bytes >>> 0, true)
  b.d.setUint32(o + 4, Math.floor(bytes / U32), true)
  b.d.setUint32(o + 8, packets >>> 0, true)
  b.d.setUint32(o + 12, 0, true)
  if (packets >= U32) b.attrU64(TCA_STATS_PKT64, packets)
}

/** struct gnet_stats_queue { u32 qlen, backlog, drops, requeues, overlimits; } */
function queue(b: Builder, drops: number, overlimits: number): void {
  const o = b.attrRoom(TCA_STATS_QUEUE, 20)
  b.d.setUint32(o, 0, true)
  b.d.setUint32(o + 4, 0, true)
  b.d.setUint32(o + 8, drops >>> 0, true)
  b.d.setUint32(o + 12, 0, true)
  b.d.setUint32(o + 16, overlimits >>> 0, true)
}

/** struct gnet_stats_rate_est { u32 bps, pps; }, and with 64 bits each when the bytes need more than 32. */
function rateEst(b: Builder, r: Rate | undefined): void {
  if (r === undefined) return
  const o = b.attrRoom(TCA_STATS_RATE_EST, 8)
  const isWide = r.bps >= BigInt(U32)
  b.d.setUint32(o, isWide ? U32 - 1 : Number(r.bps), true)
  b.d.setUint32(o + 4, Number(BigInt.asUintN(32, r.pps)), true)
  if (!isWide) return
  const wide = b.attrRoom(TCA_STATS_RATE_EST64, 16)
  b.d.setBigUint64(wide, r.bps, true)
  b.d.setBigUint64(wide + 8, r.pps, true)
}

/** The content of TCA_ACT_STATS: nothing is in hardware. */
export function actionStats(b: Builder, c: Counter, rate?: Rate): void {
  basic(b, TCA_STATS_BASIC, c.bytes, c.packets)
  basic(b, TCA_STATS_BASIC_HW, 0, 0)
  rateEst(b, rate)
  queue(b, c.drops, c.overlimits)
}

/** The content of TCA_STATS2 of a qdisc. */
export function qdiscStats(b: Builder, bytes: number, packets: number, drops: number): void {
  basic(b, TCA_STATS_BASIC, bytes, packets)
  queue(b, drops, 0)
}

/** struct tc_stats { u64 bytes; u32 packets, drops, overlimits, bps, pps, qlen, backlog; }, 40 bytes with padding. */
export function tcStats(b: Builder, type: number, bytes: number, packets: number, drops: number): void {
  const o = b.attrRoom(type, 40)
  b.u8s.fill(0, o, o + 40)
  b.d.setUint32(o, bytes >>> 0, true)
  b.d.setUint32(o + 4, Math.floor(bytes / U32), true)
  b.d.setUint32(o + 8, packets >>> 0, true)
  b.d.setUint32(o + 12, drops >>> 0, true)
}
