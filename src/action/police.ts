// police: a token bucket in front of the rest of the list (m_police.c, act_police.c): packets beyond `rate` and `burst`
// (or `pkts_rate` and `pkts_burst`, or longer than `mtu`, or all while the average is at `avrate`) exceed and get the first verdict of conform-exceed, the others
// the second, which is pass when none is written.
//
// In the kernel the instance's control is the verdict of who exceeds. Here ACT_CONTROL is that of who conforms, because
// most do, and ACT_CONTROL2 the other: the op is a fork (ways.ts). The buckets are a block (memory/layout/action_state.ts).

import {
  ACT_CONTROL,
  ACT_CONTROL2,
  ACT_EST,
  ACT_PARAMS,
  TC_ACT_OK,
  TC_ACT_SHOT,
  TC_ACT_UNSPEC,
} from '../memory/layout/action.ts'
import * as Police from '../memory/layout/action_state.ts'
import { OP_POLICE } from '../memory/layout/program.ts'
import { alloc, freeRcu, TAG_POLICE } from '../memory/pool.ts'
import type { Args } from '../tc/args.ts'
import { printTm } from '../tc/stats_text.ts'
import { FLOW_ACTION_POLICE } from '../wire/flow_action_id.ts'
import { attrLen, type Builder, getU64, NLA_HDRLEN } from '../wire/netlink.ts'
import { EINVAL, ENOMEM, NetlinkError, POLICY_TEXT } from '../wire/netlink_error.ts'
import {
  TCA_ID_POLICE,
  TCA_POLICE_AVRATE,
  TCA_POLICE_PAD,
  TCA_POLICE_PEAKRATE,
  TCA_POLICE_PEAKRATE64,
  TCA_POLICE_PKTBURST64,
  TCA_POLICE_PKTRATE64,
  TCA_POLICE_RATE,
  TCA_POLICE_RATE64,
  TCA_POLICE_RESULT,
  TCA_POLICE_TBF,
  TCA_POLICE_TM,
} from '../wire/tca_action.ts'
import type { ActionContext, ActionKind } from './action.ts'
import { checkControl, dropControl, forkDrops, isGoto, isOnward, printControl, setControl } from './control.ts'
import { listCut } from './offload.ts'
import { checkAttrs, dumpTm, policy, readAttrs } from './parms.ts'
import * as Tbf from './police_tbf.ts'
import { parsePolice } from './police_words.ts'
import { LINKLAYER_ATM, xmitSize } from './rate_text.ts'

/** Params: the block of buckets; burst in ticks, cell_log as given. */
const BLOCK = ACT_PARAMS
const BURST = ACT_PARAMS + 4

const RTAB_LEN = 1024
const U32_MAX = 0xffffffff

const attrs = new Int32Array(TCA_POLICE_PKTBURST64 + 1)
const POLICY = policy(TCA_POLICE_PKTBURST64, {
  [TCA_POLICE_TBF]: 0,
  [TCA_POLICE_RATE]: 0,
  [TCA_POLICE_PEAKRATE]: 0,
  [TCA_POLICE_AVRATE]: 4,
  [TCA_POLICE_RESULT]: 4,
  [TCA_POLICE_TM]: 0,
  [TCA_POLICE_PAD]: 0,
  [TCA_POLICE_RATE64]: 8,
  [TCA_POLICE_PEAKRATE64]: 8,
  [TCA_POLICE_PKTRATE64]: 8,
  [TCA_POLICE_PKTBURST64]: 8,
})

// ---- kernel

// qdisc_get_rtab: the table itself is no longer used, but it must be there.
function checkTable(d: DataView, spec: number, table: number): void {
  const cellLog = d.getUint8(spec + Tbf.SPEC_CELL_LOG)
  if (!table || cellLog === 0 || cellLog >= 32 || attrLen(d, table) !== RTAB_LEN)
    throw new NetlinkError(ENOMEM, 'Invalid rate table parameters for searching')
}

// psched_ratecfg_precompute: time = length * mult >> shift, mult as large as it may be.
function precompute(rate: number, set: (mult: number, shift: number) => void): void {
  const bps = BigInt(Math.floor(rate))
  let factor = 1_000_000_000n
  let shift = 0
  for (;;) {
    const mult = factor / bps
    if (mult & 0x8000_0000n || factor & 0x8000_0000_0000_0000n) {
      set(Number(BigInt.asUintN(32, mult)), shift)
      return
    }
    factor <<= 1n
    shift++
  }
}

const TICK_NS = 64

function setI64(m: Int32Array, p: number, v: number): void {
  m[p >> 2] = (v % 0x1_0000_0000) | 0
  m[(p >> 2) + 1] = Math.floor(v / 0x1_0000_0000)
}
const getI64 = (m: Int32Array, p: number): number => m[(p >> 2) + 1] * 0x1_0000_0000 + (m[p >> 2] >>> 0)

/** psched_l2t_ns of the peak rate, with what is in the block. */
function peakTime(m: Int32Array, p: number, length: number): number {
  const overhead = m[(p + Police.POLICE_PEAK_OVERHEAD) >> 2]
  let len = Math.max(length + (overhead & 0xffff), m[(p + Police.POLICE_PEAK_MPU) >> 2])
  if (overhead >>> 16 === LINKLAYER_ATM) len = Math.ceil(len / 48) * 53
  const mult = BigInt(m[(p + Police.POLICE_PEAK_MULT) >> 2] >>> 0)
  return Number((BigInt(len) * mult) >> BigInt(m[(p + Police.POLICE_PEAK_SHIFT) >> 2]))
}

function fill(c: ActionContext, p: number, d: DataView, tbf: number): void {
  const { m } = c.a
  const set = (field: number, v: number): void => {
    m[(p + field) >> 2] = v
  }
  const rate = d.getUint32(tbf + Tbf.RATE + Tbf.SPEC_RATE, true)
  const peak = rate ? d.getUint32(tbf + Tbf.PEAKRATE + Tbf.SPEC_RATE, true) : 0
  const u64 = (type: number): number => (attrs[type] ? getU64(d, attrs[type]) : 0)
  const pps = u64(TCA_POLICE_PKTRATE64)
  set(Police.POLICE_FLAGS, (rate && Police.POLICE_RATE) | (peak && Police.POLICE_PEAK) | (pps && Police.POLICE_PPS))
  const spec = (at: number, given: number, wide: number, fields: readonly number[]): void => {
    const [mult, shift, overhead, mpu, bps] = fields
    const value = wide || given
    setI64(m, p + bps, value)
    precompute(value, (a, b) => {
      set(mult, a)
      set(shift, b)
    })
    const linklayer = d.getUint8(tbf + at + Tbf.SPEC_LINKLAYER) & 0xf
    set(overhead, d.getUint16(tbf + at + Tbf.SPEC_OVERHEAD, true) | (linklayer << 16))
    set(mpu, d.getUint16(tbf + at + Tbf.SPEC_MPU, true))
  }
  if (rate) spec(Tbf.RATE, rate, u64(TCA_POLICE_RATE64), RATE_FIELDS)
  if (peak) spec(Tbf.PEAKRATE, peak, u64(TCA_POLICE_PEAKRATE64), PEAK_FIELDS)
  if (pps)
    precompute(pps, (a, b) => {
      set(Police.POLICE_PKT_MULT, a)
      set(Police.POLICE_PKT_SHIFT, b)
    })
  setI64(m, p + Police.POLICE_PPS_RATE, pps)
  const mtu = d.getUint32(tbf + Tbf.MTU, true)
  const cellLog = d.getUint8(tbf + Tbf.RATE + Tbf.SPEC_CELL_LOG)
  set(Police.POLICE_MTU, mtu || (rate ? 255 << cellLog : U32_MAX))
  const burst = d.getUint32(tbf + Tbf.BURST, true) * TICK_NS
  setI64(m, p + Police.POLICE_BURST, burst)
  setI64(m, p + Police.POLICE_TOKS, burst)
  if (peak) {
    const tokens = peakTime(m, p, m[(p + Police.POLICE_MTU) >> 2] >>> 0)
    setI64(m, p + Police.POLICE_MTU_PTOKS, tokens)
    setI64(m, p + Police.POLICE_PTOKS, tokens)
  }
  setI64(m, p + Police.POLICE_PKT_BURST, u64(TCA_POLICE_PKTBURST64) * TICK_NS)
  setI64(m, p + Police.POLICE_T_C, c.now() * 1e6)
}

const RATE_FIELDS = [
  Police.POLICE_RATE_MULT,
  Police.POLICE_RATE_SHIFT,
  Police.POLICE_RATE_OVERHEAD,
  Police.POLICE_RATE_MPU,
  Police.POLICE_RATE_BPS,
] as const
const PEAK_FIELDS = [
  Police.POLICE_PEAK_MULT,
  Police.POLICE_PEAK_SHIFT,
  Police.POLICE_PEAK_OVERHEAD,
  Police.POLICE_PEAK_MPU,
  Police.POLICE_PEAK_BPS,
] as const

function dumpSpec(m: Int32Array, p: number, d: DataView, o: number, fields: readonly number[]): void {
  const [, , overhead, mpu, bps] = fields
  d.setUint8(o + Tbf.SPEC_LINKLAYER, m[(p + overhead) >> 2] >>> 16)
  d.setUint16(o + Tbf.SPEC_OVERHEAD, m[(p + overhead) >> 2] & 0xffff, true)
  d.setUint16(o + Tbf.SPEC_MPU, m[(p + mpu) >> 2], true)
  d.setUint32(o + Tbf.SPEC_RATE, Math.min(getI64(m, p + bps), U32_MAX), true)
}

/** What a driver says to a bucket of this kind. */
function bucketRefused(m: Int32Array, act: number): string | undefined {
  const p = m[(act + BLOCK) >> 2]
  const isPeak = (m[(p + Police.POLICE_FLAGS) >> 2] & Police.POLICE_PEAK) !== 0
  const overhead = m[(p + Police.POLICE_RATE_OVERHEAD) >> 2] & 0xffff
  const isAverage = m[(p + Police.POLICE_AVRATE) >> 2] !== 0
  return isPeak || isAverage || overhead !== 0
    ? 'Offload is not supported with peakrate, avrate or overhead'
    : undefined
}

/** What a driver says to it as the rate of a port (a matchall with nothing else). */
export function ratePoliceRefused(m: Int32Array, act: number): string | undefined {
  const flags = m[(m[(act + BLOCK) >> 2] + Police.POLICE_FLAGS) >> 2]
  if (m[(act + ACT_CONTROL2) >> 2] !== TC_ACT_SHOT) return 'Offload is supported only when exceed action is drop'
  if (m[(act + ACT_CONTROL) >> 2] !== TC_ACT_UNSPEC) return 'Offload is supported only when conform action is continue'
  if ((flags & Police.POLICE_PPS) !== 0) return 'QoS offload does not support packets per second'
  return bucketRefused(m, act)
}

export const police: ActionKind = {
  name: 'police',
  id: TCA_ID_POLICE,
  parms: TCA_POLICE_TBF,
  parmsLen: Tbf.LEN,

  parse(args: Args, b: Builder) {
    args.next()
    parsePolice(args, b)
  },

  print(d, o, end, out) {
    out.str('kind', null, 'police')
    readAttrs(d, o, end, attrs)
    const tbf = attrs[TCA_POLICE_TBF]
    if (!tbf || attrLen(d, tbf) < Tbf.LEN) return
    const rate64 = (type: number, at: number): number =>
      attrs[type] ? getU64(d, attrs[type]) : d.getUint32(tbf + at + Tbf.SPEC_RATE, true)
    const rate = rate64(TCA_POLICE_RATE64, Tbf.RATE)
    const peak = rate64(TCA_POLICE_PEAKRATE64, Tbf.PEAKRATE)
    const index = d.getUint32(tbf + Tbf.INDEX, true)
    out.text(` police 0x${index.toString(16)} `)
    out.num('index', null, index)
    if (!out.json) {
      out.rate(null, 'rate %s ', rate)
      out.size(null, 'burst %s ', xmitSize(rate, d.getUint32(tbf + Tbf.BURST, true)))
      out.size(null, 'mtu %s ', d.getUint32(tbf + Tbf.MTU, true))
      if (peak) out.rate(null, 'peakrate %s ', peak)
      if (attrs[TCA_POLICE_AVRATE]) out.rate(null, 'avrate %s ', d.getUint32(attrs[TCA_POLICE_AVRATE], true))
    }
    if (attrs[TCA_POLICE_PKTRATE64] && attrs[TCA_POLICE_PKTBURST64]) {
      const pps = getU64(d, attrs[TCA_POLICE_PKTRATE64])
      out.num('pkts_rate', 'pkts_rate %llu ', pps)
      out.num('pkts_burst', 'pkts_burst %llu ', xmitSize(pps, getU64(d, attrs[TCA_POLICE_PKTBURST64])))
    }
    printControl(out, 'action ', d.getInt32(tbf + Tbf.ACTION, true))
    const result = attrs[TCA_POLICE_RESULT]
    if (result) printControl(out, '/', d.getInt32(result, true), ' ')
    else out.text(' ')
    out.size('overhead', 'overhead %s ', d.getUint16(tbf + Tbf.RATE + Tbf.SPEC_OVERHEAD, true))
    const linklayer = d.getUint8(tbf + Tbf.RATE + Tbf.SPEC_LINKLAYER) & 0xf
    if (linklayer > 1 || out.details)
      out.str('linklayer', 'linklayer %s ', ['unspec', 'ethernet', 'atm'][linklayer] ?? 'unknown')
    out.nl()
    out.num('ref', '\tref %d ', d.getInt32(tbf + Tbf.REFCNT, true))
    out.num('bind', 'bind %d ', d.getInt32(tbf + Tbf.BINDCNT, true))
    if (out.stats && attrs[TCA_POLICE_TM]) printTm(d, attrs[TCA_POLICE_TM], out)
    out.nl()
  },

  init(c, act, d, o, end, old) {
    const { m } = c.a
    checkAttrs(d, o, end, attrs, POLICY)
    const tbf = attrs[TCA_POLICE_TBF]
    if (attrLen(d, tbf) !== Tbf.LEN) throw new NetlinkError(EINVAL, POLICY_TEXT, tbf - NLA_HDRLEN)
    const exceed = d.getInt32(tbf + Tbf.ACTION, true)
    checkControl(exceed)
    if (d.getUint32(tbf + Tbf.RATE + Tbf.SPEC_RATE, true)) {
      checkTable(d, tbf + Tbf.RATE, attrs[TCA_POLICE_RATE])
      if (d.getUint32(tbf + Tbf.PEAKRATE + Tbf.SPEC_RATE, true))
        checkTable(d, tbf + Tbf.PEAKRATE, attrs[TCA_POLICE_PEAKRATE])
    }
    // An average rate needs an estimator, which comes with the filter that makes the instance, or not at all.
    const est = m[(act + ACT_EST) >> 2] || (old === 0 ? 0 : m[(old + ACT_EST) >> 2])
    if (attrs[TCA_POLICE_AVRATE] && est === 0) throw new NetlinkError(EINVAL)
    const result = attrs[TCA_POLICE_RESULT] ? d.getInt32(attrs[TCA_POLICE_RESULT], true) : 0
    if (isGoto(result)) throw new NetlinkError(EINVAL, 'goto chain not allowed on fallback')
    checkControl(result)
    const [pps, ppsBurst] = [attrs[TCA_POLICE_PKTRATE64], attrs[TCA_POLICE_PKTBURST64]]
    if ((pps === 0) !== (ppsBurst === 0))
      throw new NetlinkError(EINVAL, 'Both or neither packet-per-second burst and rate must be provided')
    if (pps && d.getUint32(tbf + Tbf.RATE + Tbf.SPEC_RATE, true))
      throw new NetlinkError(EINVAL, 'packet-per-second and byte-per-second rate limits not allowed in same action')
    const block = alloc(c.a, Police.POLICE_SIZE, TAG_POLICE)
    fill(c, block, d, tbf)
    m[(block + Police.POLICE_AVRATE) >> 2] = attrs[TCA_POLICE_AVRATE] ? d.getInt32(attrs[TCA_POLICE_AVRATE], true) : 0
    m[(block + Police.POLICE_EST) >> 2] = est
    m[(act + BLOCK) >> 2] = block
    m[(act + BURST) >> 2] = d.getUint32(tbf + Tbf.BURST, true)
    try {
      setControl(c, act, exceed)
    } catch (e) {
      freeRcu(c.a, block, Police.POLICE_SIZE, TAG_POLICE)
      throw e
    }
    m[(act + ACT_CONTROL) >> 2] = result
    m[(act + ACT_CONTROL2) >> 2] = exceed
  },

  cleanup(c, act) {
    dropControl(c, act)
    freeRcu(c.a, c.a.m[(act + BLOCK) >> 2], Police.POLICE_SIZE, TAG_POLICE)
  },

  compile(c, act) {
    c.emit(OP_POLICE, c.a.m[(act + BLOCK) >> 2], c.counter(act), forkDrops(c.a.m, act), 0)
  },

  fork(m, act) {
    return m[(act + ACT_CONTROL2) >> 2]
  },

  offload(_m, _act, ids) {
    ids.push(FLOW_ACTION_POLICE)
  },

  driverRefuses(m, act, r) {
    const known = (v: number): boolean => v === TC_ACT_OK || v === TC_ACT_SHOT || isOnward(v)
    const both = known(m[(act + ACT_CONTROL) >> 2]) && known(m[(act + ACT_CONTROL2) >> 2])
    listCut(r)
    return both ? bucketRefused(m, act) : 'Offload is supported only for pipe, ok, jump and drop'
  },

  dump(c, act, b) {
    const { m } = c.a
    const p = m[(act + BLOCK) >> 2]
    const flags = m[(p + Police.POLICE_FLAGS) >> 2]
    const rate = getI64(m, p + Police.POLICE_RATE_BPS)
    const peak = getI64(m, p + Police.POLICE_PEAK_BPS)
    if (rate > U32_MAX) b.attrU64(TCA_POLICE_RATE64, rate)
    if (peak > U32_MAX) b.attrU64(TCA_POLICE_PEAKRATE64, peak)
    if (flags & Police.POLICE_PPS) {
      b.attrU64(TCA_POLICE_PKTRATE64, getI64(m, p + Police.POLICE_PPS_RATE))
      b.attrU64(TCA_POLICE_PKTBURST64, Math.floor(getI64(m, p + Police.POLICE_PKT_BURST) / TICK_NS))
    }
    const o = b.attrRoom(TCA_POLICE_TBF, Tbf.LEN)
    Tbf.dump(m, act, b.d, o)
    b.d.setInt32(o + Tbf.ACTION, m[(act + ACT_CONTROL2) >> 2], true)
    b.d.setUint32(o + Tbf.BURST, m[(act + BURST) >> 2], true)
    b.d.setUint32(o + Tbf.MTU, m[(p + Police.POLICE_MTU) >> 2], true)
    if (flags & Police.POLICE_RATE) dumpSpec(m, p, b.d, o + Tbf.RATE, RATE_FIELDS)
    if (flags & Police.POLICE_PEAK) dumpSpec(m, p, b.d, o + Tbf.PEAKRATE, PEAK_FIELDS)
    if (m[(act + ACT_CONTROL) >> 2] !== 0) b.attrU32(TCA_POLICE_RESULT, m[(act + ACT_CONTROL) >> 2])
    if (m[(p + Police.POLICE_AVRATE) >> 2] !== 0) b.attrU32(TCA_POLICE_AVRATE, m[(p + Police.POLICE_AVRATE) >> 2] >>> 0)
    dumpTm(c, act, b, TCA_POLICE_TM)
  },
}
