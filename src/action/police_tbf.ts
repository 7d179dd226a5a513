// struct tc_police and struct tc_ratespec (linux/pkt_cls.h, pkt_sched.h): byte offsets.

import { ACT_BINDCNT, ACT_INDEX, ACT_REFCNT } from '../memory/layout/action.ts'

/** struct tc_police { u32 index; i32 action; u32 limit, burst, mtu; ratespec rate, peakrate; i32 refcnt, bindcnt; u32 capab } */
export const INDEX = 0
export const ACTION = 4
export const BURST = 12
export const MTU = 16
export const RATE = 20
export const PEAKRATE = 32
export const REFCNT = 44
export const BINDCNT = 48
export const LEN = 56

/** struct tc_ratespec { u8 cell_log, linklayer; u16 overhead; i16 cell_align; u16 mpu; u32 rate } */
export const SPEC_CELL_LOG = 0
export const SPEC_LINKLAYER = 1
export const SPEC_OVERHEAD = 2
export const SPEC_CELL_ALIGN = 4
export const SPEC_MPU = 6
export const SPEC_RATE = 8

/** Zeros, and what every instance says of itself. */
export function dump(m: Int32Array, act: number, d: DataView, o: number): void {
  for (let i = 0; i < LEN; i += 4) d.setUint32(o + i, 0, true)
  d.setUint32(o + INDEX, m[(act + ACT_INDEX) >> 2], true)
  d.setInt32(o + REFCNT, m[(act + ACT_REFCNT) >> 2], true)
  d.setInt32(o + BINDCNT, m[(act + ACT_BINDCNT) >> 2], true)
}
