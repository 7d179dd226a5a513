// nat: stateless address translation, one to one (m_nat.c, act_nat.c).
//
// tc shows the prefix length of the old address counted from the wrong end on a little-endian machine: any is /32.

import { ACT_CONTROL, ACT_PARAMS, TC_ACT_OK, TC_ACT_SHOT } from '../memory/layout/action.ts'
import { OP_NAT } from '../memory/layout/program.ts'
import type { Args } from '../tc/args.ts'
import { AF_INET } from '../wire/rtm_route.ts'
import {
  genAction,
  TC_GEN_LEN,
  TCA_ID_NAT,
  TCA_NAT_FLAG_EGRESS,
  TCA_NAT_PARMS,
  TCA_NAT_TM,
} from '../wire/tca_action.ts'
import type { ActionKind } from './action.ts'
import { checkControl, controlOr, dropControl, printControl, readIndex, setControl } from './control.ts'
import { checkAttrs, controlOf, dumpParms, dumpTm, policy, printInstance, putParms, readAttrs } from './parms.ts'

/** Params, as behind the tc_gen: old and new address and mask (be32), flags. */
const NAT = ACT_PARAMS
const NAT_LEN = 16
const OLD = 0
const NEW = 4
const MASK = 8
const FLAGS = 12

const attrs = new Int32Array(TCA_NAT_TM + 2)
const POLICY = policy(TCA_NAT_TM + 1, { [TCA_NAT_PARMS]: TC_GEN_LEN + NAT_LEN, [TCA_NAT_TM]: 0 })

const scratch = new DataView(new ArrayBuffer(NAT_LEN))

// Direction, old prefix, new address into scratch. tc names the word on which `nat` stood when it does not like one.
function parseWords(args: Args): void {
  const first = args.next()
  const bad = (): Error => args.fail(`Illegal nat construct (${first})`, 1, first)
  const egress = args.matches('egress')
  if (!egress && !args.matches('ingress')) throw bad()
  scratch.setUint32(FLAGS, egress ? TCA_NAT_FLAG_EGRESS : 0, true)
  args.next()
  if (!args.prefix(AF_INET)) throw bad()
  for (let i = 0; i < 4; i++) scratch.setUint8(OLD + i, args.inet.data[i])
  // A shift by 32 is one by 0, as the processor has it: no bits means all.
  scratch.setUint32(MASK, (-1 << ((32 - args.inet.bitlen) & 31)) >>> 0)
  args.next()
  if (!args.prefix(AF_INET)) throw bad()
  for (let i = 0; i < 4; i++) scratch.setUint8(NEW + i, args.inet.data[i])
  args.skip()
}

/** ffs(3) of the mask as tc loads it, little-endian, counted from 33. */
function shownLength(d: DataView, o: number): number {
  const mask = d.getUint32(o, true)
  return mask === 0 ? 0 : 32 - (31 - Math.clz32(mask & -mask))
}

export const nat: ActionKind = {
  name: 'nat',
  id: TCA_ID_NAT,
  parms: TCA_NAT_PARMS,
  parmsLen: TC_GEN_LEN + NAT_LEN,

  parse(args, b) {
    while (args.matches('nat')) parseWords(args)
    const control = controlOr(args, TC_ACT_OK)
    const index = readIndex(args, 'Nat: Illegal "index"')
    const o = putParms(b, TCA_NAT_PARMS, index, control, NAT_LEN)
    for (let i = 0; i < NAT_LEN; i++) b.u8s[o + i] = scratch.getUint8(i)
  },

  print(d, o, end, out) {
    out.str('type', ' %s ', 'nat')
    readAttrs(d, o, end, attrs)
    const parms = attrs[TCA_NAT_PARMS]
    if (!parms) return
    const p = parms + TC_GEN_LEN
    out.str('direction', '%s', d.getUint32(p + FLAGS, true) & TCA_NAT_FLAG_EGRESS ? 'egress' : 'ingress')
    out.str('old_addr', ' %s', `${out.inet(d, p + OLD, 4)}/${shownLength(d, p + MASK)}`)
    out.str('new_addr', ' %s', out.inet(d, p + NEW, 4))
    printControl(out, ' ', controlOf(d, parms))
    printInstance(out, d, parms, attrs[TCA_NAT_TM])
  },

  init(c, act, d, o, end) {
    checkAttrs(d, o, end, attrs, POLICY)
    const parms = attrs[TCA_NAT_PARMS]
    checkControl(genAction(d, parms))
    for (let i = 0; i < NAT_LEN; i++) c.a.u8[act + NAT + i] = d.getUint8(parms + TC_GEN_LEN + i)
    setControl(c, act, genAction(d, parms))
  },

  cleanup: dropControl,

  compile(c, act) {
    const { m } = c.a
    // With drop it drops at once, and every packet is a drop of its counter (action_stats.ts).
    if (m[(act + ACT_CONTROL) >> 2] === TC_ACT_SHOT) return
    const w = (act + NAT) >> 2
    c.emit(OP_NAT, m[w], m[w + 1], m[w + 2], m[w + 3] & TCA_NAT_FLAG_EGRESS, c.counter(act))
  },

  dump(c, act, b) {
    const o = dumpParms(c, act, b, TCA_NAT_PARMS, NAT_LEN)
    for (let i = 0; i < NAT_LEN; i++) b.u8s[o + i] = c.a.u8[act + NAT + i]
    dumpTm(c, act, b, TCA_NAT_TM)
  },
}
