// gact: a verdict and nothing else, `action drop`, `action pass`, `action goto chain 5`; with `random` now and then
// another one (m_gact.c, act_gact.c).
//
// `random netrand drop 10`: with a chance of one in ten the packet gets the second verdict. `determ`: every tenth does.

import {
  ACT_CONTROL,
  ACT_CONTROL2,
  ACT_PARAMS,
  TC_ACT_EXT_MASK,
  TC_ACT_GOTO_CHAIN,
  TC_ACT_OK,
  TC_ACT_PIPE,
  TC_ACT_SHOT,
  TC_ACT_TRAP,
  TC_ACT_UNSPEC,
} from '../memory/layout/action.ts'
import { OP_RANDOM } from '../memory/layout/program.ts'
import type { Args } from '../tc/args.ts'
import { LanguageError } from '../tc/language_error.ts'
import {
  FLOW_ACTION_ACCEPT,
  FLOW_ACTION_CONTINUE,
  FLOW_ACTION_DROP,
  FLOW_ACTION_GOTO,
  FLOW_ACTION_INVALID,
  FLOW_ACTION_PIPE,
  FLOW_ACTION_TRAP,
} from '../wire/flow_action_id.ts'
import type { Builder } from '../wire/netlink.ts'
import { NLA_HDRLEN } from '../wire/netlink.ts'
import { EINVAL, NetlinkError } from '../wire/netlink_error.ts'
import {
  genAction,
  MAX_RAND,
  PGACT_DETERM,
  PGACT_NETRAND,
  PGACT_NONE,
  TC_GEN_LEN,
  TCA_GACT_PARMS,
  TCA_GACT_PROB,
  TCA_GACT_TM,
  TCA_ID_GACT,
} from '../wire/tca_action.ts'
import type { ActionKind } from './action.ts'
import {
  type BadControl,
  checkControl,
  dropControl,
  forkDrops,
  isGoto,
  printControl,
  readControl,
  readIndex,
  setControl,
} from './control.ts'
import { checkAttrs, controlOf, dumpParms, dumpTm, policy, printInstance, putParms, readAttrs } from './parms.ts'

/** Params: type and one in how many. */
const RANDOM_TYPE = ACT_PARAMS
const RANDOM_VAL = ACT_PARAMS + 4
/** How many packets there were, for determ. @atomic */
const RANDOM_COUNT = ACT_PARAMS + 8

const TYPES: Readonly<Record<number, string>> = { [PGACT_NETRAND]: 'netrand', [PGACT_DETERM]: 'determ' }
const attrs = new Int32Array(TCA_GACT_PROB + 2)
const POLICY = policy(TCA_GACT_PROB + 1, { [TCA_GACT_TM]: 0, [TCA_GACT_PARMS]: TC_GEN_LEN, [TCA_GACT_PROB]: 8 })

// Here tc shows how gact is used and leaves.
const usage = (args: Args, bad: BadControl): LanguageError => new LanguageError(bad.wrong, 255, args.word, true)

function parseRandom(args: Args): { type: number; verdict: number; val: number } {
  args.next()
  const type = args.matches('netrand') ? PGACT_NETRAND : args.matches('determ') ? PGACT_DETERM : PGACT_NONE
  if (type === PGACT_NONE) throw args.fail('Illegal "random type"')
  args.next()
  const verdict = readControl(args)
  if (typeof verdict !== 'number') throw usage(args, verdict)
  const val = args.u16(10)
  if (val < 0) throw args.fail('Illegal probability val 0x0')
  if (val > 10000) throw args.fail(`Illegal probability val  0x${val.toString(16)}`)
  args.skip()
  return { type, verdict, val }
}

/** What a driver is told of a verdict (tcf_gact_offload_act_setup). */
const PLAIN: ReadonlyMap<number, number> = new Map([
  [TC_ACT_OK, FLOW_ACTION_ACCEPT],
  [TC_ACT_SHOT, FLOW_ACTION_DROP],
  [TC_ACT_TRAP, FLOW_ACTION_TRAP],
  [TC_ACT_UNSPEC, FLOW_ACTION_CONTINUE],
  [TC_ACT_PIPE, FLOW_ACTION_PIPE],
])

export const gact: ActionKind = {
  name: 'gact',
  id: TCA_ID_GACT,
  parms: TCA_GACT_PARMS,
  parmsLen: TC_GEN_LEN,

  parse(args: Args, b: Builder) {
    if (args.matches('gact')) args.next()
    let control = 0
    let random: ReturnType<typeof parseRandom> | undefined
    if (!args.matches('index')) {
      const read = readControl(args)
      if (typeof read !== 'number') throw usage(args, read)
      control = read
      if (args.matches('random')) random = parseRandom(args)
    }
    const index = readIndex(args, 'Illegal "index"')
    putParms(b, TCA_GACT_PARMS, index, control)
    if (!random) return
    const o = b.attrRoom(TCA_GACT_PROB, 8)
    b.d.setUint16(o, random.type, true)
    b.d.setUint16(o + 2, random.val, true)
    b.d.setInt32(o + 4, random.verdict, true)
  },

  print(d, o, end, out) {
    out.str('kind', '%s ', 'gact')
    readAttrs(d, o, end, attrs)
    const parms = attrs[TCA_GACT_PARMS]
    if (!parms) return
    const prob = attrs[TCA_GACT_PROB]
    printControl(out, 'action ', controlOf(d, parms))
    out.openObject('prob')
    out.nl()
    out.str('random_type', '\t random type %s', (prob && TYPES[d.getUint16(prob, true)]) || 'none')
    printControl(out, ' ', prob ? d.getInt32(prob + 4, true) : 0, ' ')
    out.num('val', 'val %d', prob ? d.getUint16(prob + 2, true) : 0)
    out.closeObject()
    printInstance(out, d, parms, attrs[TCA_GACT_TM])
  },

  init(c, act, d, o, end) {
    const { m } = c.a
    checkAttrs(d, o, end, attrs, POLICY)
    const prob = attrs[TCA_GACT_PROB]
    let type = PGACT_NONE
    if (prob) {
      type = d.getUint16(prob, true)
      if (type >= MAX_RAND) throw new NetlinkError(EINVAL, 'gact: no such kind of random', prob - NLA_HDRLEN)
      if (isGoto(d.getInt32(prob + 4, true))) throw new NetlinkError(EINVAL, 'goto chain not allowed on fallback')
    }
    const control = genAction(d, attrs[TCA_GACT_PARMS])
    checkControl(control)
    if (type !== PGACT_NONE) checkControl(d.getInt32(prob + 4, true))
    m[(RANDOM_TYPE + act) >> 2] = type
    m[(RANDOM_VAL + act) >> 2] = prob ? Math.max(1, d.getUint16(prob + 2, true)) : 0
    m[(act + ACT_CONTROL2) >> 2] = prob ? d.getInt32(prob + 4, true) : 0
    setControl(c, act, control)
  },

  cleanup: dropControl,

  compile(c, act) {
    const { m } = c.a
    const type = m[(act + RANDOM_TYPE) >> 2]
    if (type === PGACT_NONE) return
    c.emit(OP_RANDOM, type, m[(act + RANDOM_VAL) >> 2], act + RANDOM_COUNT, c.counter(act), forkDrops(m, act), 0)
  },

  fork(m, act) {
    return m[(act + RANDOM_TYPE) >> 2] === PGACT_NONE ? undefined : m[(act + ACT_CONTROL2) >> 2]
  },

  offload(m, act, ids) {
    const control = m[(act + ACT_CONTROL) >> 2]
    const plain = PLAIN.get(control)
    if (plain !== undefined) ids.push(plain)
    else if (control > 0 && (control & ~TC_ACT_EXT_MASK) === TC_ACT_GOTO_CHAIN) ids.push(FLOW_ACTION_GOTO)
    else ids.push(FLOW_ACTION_INVALID)
  },

  driverRefuses(m, act, r) {
    const control = m[(act + ACT_CONTROL) >> 2]
    r.ends = true
    if (control === TC_ACT_OK || control === TC_ACT_TRAP) return undefined
    if (control > 0 && (control & ~TC_ACT_EXT_MASK) === TC_ACT_GOTO_CHAIN) {
      return r.decap ? 'Goto is not supported with decap in one rule' : undefined
    }
    if (control !== TC_ACT_SHOT) return 'Offload of this verdict is not supported'
    return r.forwards > 0 || r.pedits > 0 ? "Drop can't be offloaded with other actions" : undefined
  },

  dump(c, act, b) {
    const { m } = c.a
    dumpParms(c, act, b, TCA_GACT_PARMS)
    const type = m[(act + RANDOM_TYPE) >> 2]
    if (type !== PGACT_NONE) {
      const o = b.attrRoom(TCA_GACT_PROB, 8)
      b.d.setUint16(o, type, true)
      b.d.setUint16(o + 2, m[(act + RANDOM_VAL) >> 2], true)
      b.d.setInt32(o + 4, m[(act + ACT_CONTROL2) >> 2], true)
    }
    dumpTm(c, act, b, TCA_GACT_TM)
  },
}
