// sample: hands a copy of one packet in RATE to whoever listens to group GROUP (m_sample.c, act_sample.c).

import { ACT_PARAMS, TC_ACT_PIPE } from '../memory/layout/action.ts'
import { OP_SAMPLE } from '../memory/layout/program.ts'
import type { Args } from '../tc/args.ts'
import { LanguageError } from '../tc/language_error.ts'
import { FLOW_ACTION_SAMPLE } from '../wire/flow_action_id.ts'
import { EINVAL, NetlinkError } from '../wire/netlink_error.ts'
import {
  genAction,
  TC_GEN_LEN,
  TCA_ID_SAMPLE,
  TCA_SAMPLE_PARMS,
  TCA_SAMPLE_PSAMPLE_GROUP,
  TCA_SAMPLE_RATE,
  TCA_SAMPLE_TM,
  TCA_SAMPLE_TRUNC_SIZE,
} from '../wire/tca_action.ts'
import type { ActionKind } from './action.ts'
import { checkControl, controlOr, dropControl, printControl, readIndex, setControl } from './control.ts'
import { listCut } from './offload.ts'
import { checkAttrs, controlOf, dumpParms, dumpTm, policy, printInstance, putParms, readAttrs } from './parms.ts'

const RATE = ACT_PARAMS
const GROUP = ACT_PARAMS + 4
const TRUNC = ACT_PARAMS + 8
/** A trunc size was given; it may be 0. */
const HAS_TRUNC = ACT_PARAMS + 12

const attrs = new Int32Array(TCA_SAMPLE_PSAMPLE_GROUP + 2)
const POLICY = policy(TCA_SAMPLE_PSAMPLE_GROUP + 1, {
  [TCA_SAMPLE_TM]: 0,
  [TCA_SAMPLE_PARMS]: TC_GEN_LEN,
  [TCA_SAMPLE_RATE]: 4,
  [TCA_SAMPLE_TRUNC_SIZE]: 4,
  [TCA_SAMPLE_PSAMPLE_GROUP]: 4,
})

// Here tc shows how sample is used and leaves.
const usage = (args: Args, message: string): LanguageError => new LanguageError(message, 255, args.word, true)

function readNumber(args: Args, what: string): number {
  args.next()
  const v = args.u32(10)
  if (v < 0) throw usage(args, `Illegal ${what} ${args.word}`)
  return v
}

export const sample: ActionKind = {
  name: 'sample',
  id: TCA_ID_SAMPLE,
  parms: TCA_SAMPLE_PARMS,
  parmsLen: TC_GEN_LEN,

  parse(args, b) {
    if (args.left <= 1) throw usage(args, `sample bad argument count ${args.left}`)
    args.next()
    let rate = -1
    let group = -1
    let trunc = -1
    for (; args.more; args.skip()) {
      if (args.matches('rate')) rate = readNumber(args, 'rate')
      else if (args.matches('group')) group = readNumber(args, 'group num')
      else if (args.matches('trunc')) trunc = readNumber(args, 'truncation size')
      else break
    }
    const control = controlOr(args, TC_ACT_PIPE)
    const index = readIndex(args, 'sample: Illegal "index"')
    if (!index && group < 0) throw usage(args, 'param "group" not set')
    if (!index && rate < 0) throw usage(args, 'param "rate" not set')
    putParms(b, TCA_SAMPLE_PARMS, index, control)
    if (rate >= 0) b.attrU32(TCA_SAMPLE_RATE, rate)
    if (group >= 0) b.attrU32(TCA_SAMPLE_PSAMPLE_GROUP, group)
    if (trunc >= 0) b.attrU32(TCA_SAMPLE_TRUNC_SIZE, trunc)
  },

  print(d, o, end, out) {
    out.str('kind', '%s ', 'sample')
    readAttrs(d, o, end, attrs)
    const parms = attrs[TCA_SAMPLE_PARMS]
    const [rate, group, trunc] = [attrs[TCA_SAMPLE_RATE], attrs[TCA_SAMPLE_PSAMPLE_GROUP], attrs[TCA_SAMPLE_TRUNC_SIZE]]
    if (!parms || !rate || !group) return
    out.num('rate', 'rate 1/%u ', d.getUint32(rate, true))
    out.num('group', 'group %u', d.getUint32(group, true))
    if (trunc) out.num('trunc_size', ' trunc_size %u', d.getUint32(trunc, true))
    printControl(out, ' ', controlOf(d, parms))
    printInstance(out, d, parms, attrs[TCA_SAMPLE_TM])
  },

  init(c, act, d, o, end) {
    const { m } = c.a
    checkAttrs(d, o, end, attrs, POLICY)
    const parms = attrs[TCA_SAMPLE_PARMS]
    const [rate, group, trunc] = [attrs[TCA_SAMPLE_RATE], attrs[TCA_SAMPLE_PSAMPLE_GROUP], attrs[TCA_SAMPLE_TRUNC_SIZE]]
    if (!rate || !group) throw new NetlinkError(EINVAL, 'sample rate and group are required')
    checkControl(genAction(d, parms))
    if (d.getUint32(rate, true) === 0) throw new NetlinkError(EINVAL, 'invalid sample rate', rate)
    m[(act + RATE) >> 2] = d.getUint32(rate, true)
    m[(act + GROUP) >> 2] = d.getUint32(group, true)
    m[(act + TRUNC) >> 2] = trunc ? d.getUint32(trunc, true) : 0
    m[(act + HAS_TRUNC) >> 2] = trunc ? 1 : 0
    setControl(c, act, genAction(d, parms))
  },

  cleanup: dropControl,

  compile(c, act) {
    const w = (act + RATE) >> 2
    c.emit(OP_SAMPLE, c.a.m[w], c.a.m[w + 1], c.a.m[w + 2], act)
  },

  offload(_m, _act, ids) {
    ids.push(FLOW_ACTION_SAMPLE)
  },

  driverRefuses(_m, _act, r) {
    listCut(r)
    return undefined
  },

  dump(c, act, b) {
    const { m } = c.a
    dumpParms(c, act, b, TCA_SAMPLE_PARMS)
    dumpTm(c, act, b, TCA_SAMPLE_TM)
    b.attrU32(TCA_SAMPLE_RATE, m[(act + RATE) >> 2])
    if (m[(act + HAS_TRUNC) >> 2]) b.attrU32(TCA_SAMPLE_TRUNC_SIZE, m[(act + TRUNC) >> 2])
    b.attrU32(TCA_SAMPLE_PSAMPLE_GROUP, m[(act + GROUP) >> 2])
  },
}
