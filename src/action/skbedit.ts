// skbedit: what goes with the packet but is not in it: priority, mark, queue, packet type (m_skbedit.c, act_skbedit.c).

import { ACT_PARAMS, TC_ACT_PIPE } from '../memory/layout/action.ts'
import { OP_SKBEDIT } from '../memory/layout/program.ts'
import type { Args } from '../tc/args.ts'
import { formatClassid, parseClassid } from '../tc/handle_text.ts'
import {
  FLOW_ACTION_INVALID,
  FLOW_ACTION_MARK,
  FLOW_ACTION_PRIORITY,
  FLOW_ACTION_PTYPE,
} from '../wire/flow_action_id.ts'
import { NLA_HDRLEN } from '../wire/netlink.ts'
import { EINVAL, NetlinkError } from '../wire/netlink_error.ts'
import {
  genAction,
  SKBEDIT_F_INHERITDSFIELD,
  SKBEDIT_F_MARK,
  SKBEDIT_F_MASK,
  SKBEDIT_F_PRIORITY,
  SKBEDIT_F_PTYPE,
  SKBEDIT_F_QUEUE_MAPPING,
  SKBEDIT_F_TXQ_SKBHASH,
  TC_GEN_LEN,
  TCA_ID_SKBEDIT,
  TCA_SKBEDIT_FLAGS,
  TCA_SKBEDIT_MARK,
  TCA_SKBEDIT_MASK,
  TCA_SKBEDIT_PARMS,
  TCA_SKBEDIT_PRIORITY,
  TCA_SKBEDIT_PTYPE,
  TCA_SKBEDIT_QUEUE_MAPPING,
  TCA_SKBEDIT_TM,
} from '../wire/tca_action.ts'
import type { ActionKind } from './action.ts'
import { checkControl, controlOr, dropControl, printControl, readIndex, setControl } from './control.ts'
import { checkAttrs, controlOf, dumpParms, dumpTm, policy, printInstance, putParms, readAttrs } from './parms.ts'

/** Params: SKBEDIT_F_*, and a word each. */
const FLAGS = ACT_PARAMS
const PRIORITY = ACT_PARAMS + 4
const MARK = ACT_PARAMS + 8
const MASK = ACT_PARAMS + 12
const QUEUE = ACT_PARAMS + 16
const PTYPE = ACT_PARAMS + 20

/** The flags that the attribute of flags says; the others follow from the other attributes. */
const PURE_FLAGS = SKBEDIT_F_INHERITDSFIELD | SKBEDIT_F_TXQ_SKBHASH

/** In the order in which tc tries them. */
const PTYPES: readonly (readonly [string, number])[] = [
  ['host', 0],
  ['broadcast', 1],
  ['multicast', 2],
  ['otherhost', 3],
]

const attrs = new Int32Array(TCA_SKBEDIT_FLAGS + 1)
const POLICY = policy(TCA_SKBEDIT_FLAGS, {
  [TCA_SKBEDIT_TM]: 0,
  [TCA_SKBEDIT_PARMS]: TC_GEN_LEN,
  [TCA_SKBEDIT_PRIORITY]: 4,
  [TCA_SKBEDIT_QUEUE_MAPPING]: 2,
  [TCA_SKBEDIT_MARK]: 4,
  [TCA_SKBEDIT_PTYPE]: 2,
  [TCA_SKBEDIT_MASK]: 4,
  [TCA_SKBEDIT_FLAGS]: 8,
})

interface Read {
  priority: number
  mark: number
  mask: number
  queue: number
  ptype: number
  inherit: boolean
}

function parseWords(args: Args): Read {
  const r: Read = { priority: -1, mark: -1, mask: -1, queue: -1, ptype: -1, inherit: false }
  for (; args.more; args.skip()) {
    if (args.matches('queue_mapping')) {
      args.next()
      r.queue = args.u16(10)
      if (r.queue < 0) throw args.fail('Illegal queue_mapping')
    } else if (args.matches('priority')) {
      r.priority = parseClassid(args.next())
      if (r.priority < 0) throw args.fail('Illegal priority')
    } else if (args.matches('mark')) {
      const [mark, mask] = args.next().split('/', 2)
      r.mark = args.number(mark, 0, 0xffffffff)
      if (r.mark < 0) throw args.fail('Illegal mark')
      if (mask !== undefined) {
        r.mask = args.number(mask, 0, 0xffffffff)
        if (r.mask < 0) throw args.fail('Illegal mask')
      }
    } else if (args.matches('ptype')) {
      args.next()
      const ptype = PTYPES.find(([name]) => args.matches(name))
      if (!ptype) throw args.fail(`Illegal ptype (${args.word})`)
      r.ptype = ptype[1]
    } else if (args.matches('inheritdsfield')) r.inherit = true
    else break
  }
  return r
}

export const skbedit: ActionKind = {
  name: 'skbedit',
  id: TCA_ID_SKBEDIT,
  parms: TCA_SKBEDIT_PARMS,
  parmsLen: TC_GEN_LEN,

  parse(args, b) {
    args.next()
    const r = parseWords(args)
    const control = controlOr(args, TC_ACT_PIPE)
    const indexed = args.matches('index')
    const index = readIndex(args, 'skbedit: Illegal "index"')
    if (!indexed && !r.inherit && Math.max(r.priority, r.mark, r.queue, r.ptype) < 0)
      throw args.fail('skbedit needs something to edit')
    putParms(b, TCA_SKBEDIT_PARMS, index, control)
    if (r.queue >= 0) b.attrU16(TCA_SKBEDIT_QUEUE_MAPPING, r.queue)
    if (r.priority >= 0) b.attrU32(TCA_SKBEDIT_PRIORITY, r.priority)
    if (r.mark >= 0) b.attrU32(TCA_SKBEDIT_MARK, r.mark)
    if (r.mask >= 0) b.attrU32(TCA_SKBEDIT_MASK, r.mask)
    if (r.ptype >= 0) b.attrU16(TCA_SKBEDIT_PTYPE, r.ptype)
    if (r.inherit) b.attrU64(TCA_SKBEDIT_FLAGS, SKBEDIT_F_INHERITDSFIELD)
  },

  print(d, o, end, out) {
    out.str('kind', '%s ', 'skbedit')
    readAttrs(d, o, end, attrs)
    const parms = attrs[TCA_SKBEDIT_PARMS]
    if (!parms) return
    const [queue, priority] = [attrs[TCA_SKBEDIT_QUEUE_MAPPING], attrs[TCA_SKBEDIT_PRIORITY]]
    const [mark, mask] = [attrs[TCA_SKBEDIT_MARK], attrs[TCA_SKBEDIT_MASK]]
    const [ptype, flags] = [attrs[TCA_SKBEDIT_PTYPE], attrs[TCA_SKBEDIT_FLAGS]]
    if (queue) out.num('queue_mapping', 'queue_mapping %u', d.getUint16(queue, true))
    if (priority) out.str('priority', ' priority %s', formatClassid(d.getUint32(priority, true)))
    if (mark) out.num('mark', ' mark %u', d.getUint32(mark, true))
    if (mask) out.hex('mask', '/%#x', d.getUint32(mask, true))
    if (ptype) {
      const name = PTYPES.find(([, n]) => n === d.getUint16(ptype, true))
      if (name) out.str('ptype', ' ptype %s', name[0])
      else out.num('ptype', ' ptype %u', d.getUint16(ptype, true))
    }
    if (flags && d.getUint32(flags, true) & SKBEDIT_F_INHERITDSFIELD) out.nul('inheritdsfield', ' %s', 'inheritdsfield')
    printControl(out, ' ', controlOf(d, parms))
    printInstance(out, d, parms, attrs[TCA_SKBEDIT_TM])
  },

  init(c, act, d, o, end) {
    const { m } = c.a
    checkAttrs(d, o, end, attrs, POLICY)
    const parms = attrs[TCA_SKBEDIT_PARMS]
    const u32 = (type: number): number => (attrs[type] ? d.getUint32(attrs[type], true) : 0)
    const u16 = (type: number): number => (attrs[type] ? d.getUint16(attrs[type], true) : 0)
    let flags = u32(TCA_SKBEDIT_FLAGS) & PURE_FLAGS
    if (attrs[TCA_SKBEDIT_PRIORITY]) flags |= SKBEDIT_F_PRIORITY
    if (attrs[TCA_SKBEDIT_QUEUE_MAPPING]) flags |= SKBEDIT_F_QUEUE_MAPPING
    if (attrs[TCA_SKBEDIT_PTYPE]) flags |= SKBEDIT_F_PTYPE
    if (attrs[TCA_SKBEDIT_MARK]) flags |= SKBEDIT_F_MARK
    if (attrs[TCA_SKBEDIT_MASK]) flags |= SKBEDIT_F_MASK
    if (u16(TCA_SKBEDIT_PTYPE) > 3)
      throw new NetlinkError(EINVAL, 'skbedit: no such packet type', attrs[TCA_SKBEDIT_PTYPE] - NLA_HDRLEN)
    if (flags === 0) throw new NetlinkError(EINVAL, 'skbedit: nothing to edit')
    checkControl(genAction(d, parms))
    m[(act + FLAGS) >> 2] = flags
    m[(act + PRIORITY) >> 2] = u32(TCA_SKBEDIT_PRIORITY)
    m[(act + MARK) >> 2] = u32(TCA_SKBEDIT_MARK)
    m[(act + MASK) >> 2] = attrs[TCA_SKBEDIT_MASK] ? u32(TCA_SKBEDIT_MASK) : -1
    m[(act + QUEUE) >> 2] = u16(TCA_SKBEDIT_QUEUE_MAPPING)
    m[(act + PTYPE) >> 2] = u16(TCA_SKBEDIT_PTYPE)
    setControl(c, act, genAction(d, parms))
  },

  cleanup: dropControl,

  compile(c, act) {
    const { m } = c.a
    const w = (act + FLAGS) >> 2
    c.emit(OP_SKBEDIT, m[w], m[w + 1], m[w + 2], m[w + 3], m[w + 4], m[w + 5], c.counter(act))
  },

  offload(m, act, ids) {
    const flags = m[(act + FLAGS) >> 2]
    if (flags === SKBEDIT_F_MARK) ids.push(FLOW_ACTION_MARK)
    else if (flags === SKBEDIT_F_PTYPE) ids.push(FLOW_ACTION_PTYPE)
    else ids.push(flags === SKBEDIT_F_PRIORITY ? FLOW_ACTION_PRIORITY : FLOW_ACTION_INVALID)
  },

  driverRefuses(m, act) {
    if (m[(act + FLAGS) >> 2] !== SKBEDIT_F_PTYPE) return 'Of skbedit only ptype is supported'
    return m[(act + PTYPE) >> 2] !== 0 ? 'Skbedit ptype is supported only with type host' : undefined
  },

  dump(c, act, b) {
    const { m } = c.a
    const flags = m[(act + FLAGS) >> 2]
    dumpParms(c, act, b, TCA_SKBEDIT_PARMS)
    if (flags & SKBEDIT_F_PRIORITY) b.attrU32(TCA_SKBEDIT_PRIORITY, m[(act + PRIORITY) >> 2])
    if (flags & SKBEDIT_F_QUEUE_MAPPING) b.attrU16(TCA_SKBEDIT_QUEUE_MAPPING, m[(act + QUEUE) >> 2])
    if (flags & SKBEDIT_F_MARK) b.attrU32(TCA_SKBEDIT_MARK, m[(act + MARK) >> 2])
    if (flags & SKBEDIT_F_PTYPE) b.attrU16(TCA_SKBEDIT_PTYPE, m[(act + PTYPE) >> 2])
    if (flags & SKBEDIT_F_MASK) b.attrU32(TCA_SKBEDIT_MASK, m[(act + MASK) >> 2])
    if (flags & PURE_FLAGS) b.attrU64(TCA_SKBEDIT_FLAGS, flags & PURE_FLAGS)
    dumpTm(c, act, b, TCA_SKBEDIT_TM)
  },
}
