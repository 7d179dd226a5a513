// connmark: gives the packet the mark of its connection (m_connmark.c, act_connmark.c).

import { ACT_PARAMS, TC_ACT_PIPE } from '../memory/layout/action.ts'
import { OP_CONNMARK } from '../memory/layout/program.ts'
import { genAction, TC_GEN_LEN, TCA_CONNMARK_PARMS, TCA_CONNMARK_TM, TCA_ID_CONNMARK } from '../wire/tca_action.ts'
import type { ActionKind } from './action.ts'
import { checkControl, dropControl, printControl, readControlAndIndex, setControl } from './control.ts'
import { checkAttrs, controlOf, dumpParms, dumpTm, policy, printInstance, putParms, readAttrs } from './parms.ts'

const ZONE = ACT_PARAMS

/** struct tc_connmark: tc_gen, u16 zone, padding. */
const MORE = 4

const attrs = new Int32Array(TCA_CONNMARK_TM + 2)
const POLICY = policy(TCA_CONNMARK_TM + 1, { [TCA_CONNMARK_PARMS]: TC_GEN_LEN + MORE, [TCA_CONNMARK_TM]: 0 })

export const connmark: ActionKind = {
  name: 'connmark',
  id: TCA_ID_CONNMARK,
  parms: TCA_CONNMARK_PARMS,
  parmsLen: TC_GEN_LEN + MORE,

  parse(args, b) {
    args.skip()
    let zone = 0
    if (args.matches('zone')) {
      args.next()
      zone = args.u16(10)
      if (zone < 0) throw args.fail('connmark: Illegal "zone"')
      args.skip()
    }
    const { control, index } = readControlAndIndex(args, TC_ACT_PIPE, 'connmark: Illegal "index"')
    b.d.setUint16(putParms(b, TCA_CONNMARK_PARMS, index, control, MORE), zone, true)
  },

  print(d, o, end, out) {
    out.str('kind', '%s ', 'connmark')
    readAttrs(d, o, end, attrs)
    const parms = attrs[TCA_CONNMARK_PARMS]
    if (!parms) return
    out.num('zone', 'zone %u', d.getUint16(parms + TC_GEN_LEN, true))
    printControl(out, ' ', controlOf(d, parms))
    printInstance(out, d, parms, attrs[TCA_CONNMARK_TM])
  },

  init(c, act, d, o, end) {
    checkAttrs(d, o, end, attrs, POLICY)
    const parms = attrs[TCA_CONNMARK_PARMS]
    checkControl(genAction(d, parms))
    c.a.m[(act + ZONE) >> 2] = d.getUint16(parms + TC_GEN_LEN, true)
    setControl(c, act, genAction(d, parms))
  },

  cleanup: dropControl,

  compile(c, act) {
    c.emit(OP_CONNMARK, c.a.m[(act + ZONE) >> 2], c.counter(act))
  },

  dump(c, act, b) {
    b.d.setUint16(dumpParms(c, act, b, TCA_CONNMARK_PARMS, MORE), c.a.m[(act + ZONE) >> 2], true)
    dumpTm(c, act, b, TCA_CONNMARK_TM)
  },
}
