// ctinfo: restores the DS field of the packet, or its mark, from the mark of its connection (m_ctinfo.c, act_ctinfo.c).

import { ACT_PARAMS, TC_ACT_PIPE } from '../memory/layout/action.ts'
import { OP_CTINFO } from '../memory/layout/program.ts'
import { load } from '../sync/atomic.ts'
import type { Args } from '../tc/args.ts'
import { printTm } from '../tc/stats_text.ts'
import { getU64 } from '../wire/netlink.ts'
import { EINVAL, NetlinkError } from '../wire/netlink_error.ts'
import {
  genAction,
  genBindcnt,
  genIndex,
  genRefcnt,
  TC_GEN_LEN,
  TCA_CTINFO_ACT,
  TCA_CTINFO_PARMS_CPMARK_MASK,
  TCA_CTINFO_PARMS_DSCP_MASK,
  TCA_CTINFO_PARMS_DSCP_STATEMASK,
  TCA_CTINFO_STATS_CPMARK_SET,
  TCA_CTINFO_STATS_DSCP_ERROR,
  TCA_CTINFO_STATS_DSCP_SET,
  TCA_CTINFO_TM,
  TCA_CTINFO_ZONE,
  TCA_ID_CTINFO,
} from '../wire/tca_action.ts'
import type { ActionKind } from './action.ts'
import { checkControl, dropControl, printControl, readControlAndIndex, setControl } from './control.ts'
import { checkAttrs, controlOf, dumpParms, dumpTm, policy, putParms, readAttrs } from './parms.ts'

/** Params; a mask of 0: not asked for. */
const ZONE = ACT_PARAMS
const DSCP_MASK = ACT_PARAMS + 4
const STATE_MASK = ACT_PARAMS + 8
const CPMARK_MASK = ACT_PARAMS + 12
/** What packets counted up: DS fields set, errors, marks set. @atomic */
const COUNTS = ACT_PARAMS + 16

const attrs = new Int32Array(TCA_CTINFO_STATS_CPMARK_SET + 1)
const POLICY = policy(TCA_CTINFO_STATS_CPMARK_SET, {
  [TCA_CTINFO_ACT]: TC_GEN_LEN,
  [TCA_CTINFO_ZONE]: 2,
  [TCA_CTINFO_PARMS_DSCP_MASK]: 4,
  [TCA_CTINFO_PARMS_DSCP_STATEMASK]: 4,
  [TCA_CTINFO_PARMS_CPMARK_MASK]: 4,
})

/** Six bits side by side? */
const isDscpMask = (mask: number): boolean => mask !== 0 && mask >>> (31 - Math.clz32(mask & -mask)) === 0x3f

const hex10 = (v: number): string => `0x${v.toString(16).padStart(8, '0')}`

// A number behind a word may be there or not; if it is none, it is the next word.
function optionalMask(args: Args, none: number): number {
  args.skip()
  const v = args.more ? args.u32() : -1
  if (v < 0) return none
  args.skip()
  return v
}

export const ctinfo: ActionKind = {
  name: 'ctinfo',
  id: TCA_ID_CTINFO,
  parms: TCA_CTINFO_ACT,
  parmsLen: TC_GEN_LEN,
  missing: 'act_ctinfo: ctinfo requires attributes to be passed',
  missingParms: 'act_ctinfo: Missing required TCA_CTINFO_ACT attribute',

  parse(args, b) {
    args.skip()
    let [dscp, state, cpmark, zone] = [0, 0, 0, 0]
    if (args.matches('dscp')) {
      args.next()
      dscp = args.u32()
      if (dscp < 0) throw args.fail('ctinfo: Illegal dscp "mask"')
      state = optionalMask(args, 0)
    }
    if (args.matches('cpmark')) cpmark = optionalMask(args, 0xffffffff)
    if (args.matches('zone')) {
      args.next()
      zone = args.u16(10)
      if (zone < 0) throw args.fail('ctinfo: Illegal "zone"')
      args.skip()
    }
    const { control, index } = readControlAndIndex(args, TC_ACT_PIPE, 'ctinfo: Illegal "index"')
    if (dscp & state) throw args.fail('ctinfo: dscp mask & statemask must NOT overlap')
    if (dscp && !isDscpMask(dscp)) throw args.fail('ctinfo: dscp mask must be 6 contiguous bits long')
    putParms(b, TCA_CTINFO_ACT, index, control)
    b.attrU16(TCA_CTINFO_ZONE, zone)
    if (dscp) b.attrU32(TCA_CTINFO_PARMS_DSCP_MASK, dscp)
    if (state) b.attrU32(TCA_CTINFO_PARMS_DSCP_STATEMASK, state)
    if (cpmark) b.attrU32(TCA_CTINFO_PARMS_CPMARK_MASK, cpmark)
  },

  print(d, o, end, out) {
    out.str('kind', '%s ', 'ctinfo')
    readAttrs(d, o, end, attrs)
    const parms = attrs[TCA_CTINFO_ACT]
    if (!parms) return
    const u32 = (type: number): number => (attrs[type] ? d.getUint32(attrs[type], true) : 0)
    const mask = (key: string, before: string, v: number): void => {
      out.text(`${before}${hex10(v)}`)
      if (out.json) out.hex0x(key, null, v)
    }
    out.num('zone', 'zone %u', attrs[TCA_CTINFO_ZONE] ? d.getUint16(attrs[TCA_CTINFO_ZONE], true) : 0)
    printControl(out, ' ', controlOf(d, parms))
    out.nl()
    out.num('index', '\t index %u', genIndex(d, parms))
    out.num('ref', ' ref %d', genRefcnt(d, parms))
    out.num('bind', ' bind %d', genBindcnt(d, parms))
    if (attrs[TCA_CTINFO_PARMS_DSCP_MASK]) {
      mask('dscpmask', ' dscp ', u32(TCA_CTINFO_PARMS_DSCP_MASK))
      mask('dscpstatemask', ' ', u32(TCA_CTINFO_PARMS_DSCP_STATEMASK))
    }
    if (attrs[TCA_CTINFO_PARMS_CPMARK_MASK]) mask('cpmark', ' cpmark ', u32(TCA_CTINFO_PARMS_CPMARK_MASK))
    if (out.stats) {
      const count = (type: number, key: string, fmt: string): void => {
        if (attrs[type]) out.num(key, fmt, getU64(d, attrs[type]))
      }
      if (attrs[TCA_CTINFO_TM]) printTm(d, attrs[TCA_CTINFO_TM], out)
      count(TCA_CTINFO_STATS_DSCP_SET, 'dscpset', ' DSCP set %llu')
      count(TCA_CTINFO_STATS_DSCP_ERROR, 'dscperror', ' error %llu')
      count(TCA_CTINFO_STATS_CPMARK_SET, 'cpmarkset', ' CPMARK set %llu')
    }
    out.nl()
  },

  init(c, act, d, o, end) {
    const { m } = c.a
    checkAttrs(d, o, end, attrs, POLICY)
    const parms = attrs[TCA_CTINFO_ACT]
    const u32 = (type: number): number => (attrs[type] ? d.getUint32(attrs[type], true) : 0)
    const dscp = u32(TCA_CTINFO_PARMS_DSCP_MASK)
    const state = u32(TCA_CTINFO_PARMS_DSCP_STATEMASK)
    if (attrs[TCA_CTINFO_PARMS_DSCP_MASK] && !isDscpMask(dscp))
      throw new NetlinkError(EINVAL, 'dscp mask must be 6 contiguous bits', attrs[TCA_CTINFO_PARMS_DSCP_MASK])
    if (dscp & state) throw new NetlinkError(EINVAL, 'dscp statemask must not overlap dscp mask')
    checkControl(genAction(d, parms))
    m[(act + ZONE) >> 2] = attrs[TCA_CTINFO_ZONE] ? d.getUint16(attrs[TCA_CTINFO_ZONE], true) : 0
    m[(act + DSCP_MASK) >> 2] = dscp
    m[(act + STATE_MASK) >> 2] = state
    m[(act + CPMARK_MASK) >> 2] = u32(TCA_CTINFO_PARMS_CPMARK_MASK)
    setControl(c, act, genAction(d, parms))
  },

  cleanup: dropControl,

  compile(c, act) {
    const w = (act + ZONE) >> 2
    c.emit(OP_CTINFO, c.a.m[w], c.a.m[w + 1], c.a.m[w + 2], c.a.m[w + 3], act + COUNTS)
  },

  dump(c, act, b) {
    const { m } = c.a
    dumpParms(c, act, b, TCA_CTINFO_ACT)
    b.attrU16(TCA_CTINFO_ZONE, m[(act + ZONE) >> 2])
    if (m[(act + DSCP_MASK) >> 2]) {
      b.attrU32(TCA_CTINFO_PARMS_DSCP_MASK, m[(act + DSCP_MASK) >> 2])
      b.attrU32(TCA_CTINFO_PARMS_DSCP_STATEMASK, m[(act + STATE_MASK) >> 2])
    }
    if (m[(act + CPMARK_MASK) >> 2]) b.attrU32(TCA_CTINFO_PARMS_CPMARK_MASK, m[(act + CPMARK_MASK) >> 2])
    const counts = [TCA_CTINFO_STATS_DSCP_SET, TCA_CTINFO_STATS_DSCP_ERROR, TCA_CTINFO_STATS_CPMARK_SET]
    counts.forEach((type, i) => {
      b.attrU64(type, load(m, ((act + COUNTS) >> 2) + i) >>> 0)
    })
    dumpTm(c, act, b, TCA_CTINFO_TM)
  },
}
