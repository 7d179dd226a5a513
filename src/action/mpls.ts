// mpls: pops, pushes or changes the top label stack entry (m_mpls.c, act_mpls.c).

import { ACT_PARAMS, TC_ACT_PIPE } from '../memory/layout/action.ts'
import { NETDEV_KIND_BAREUDP } from '../memory/layout/netdev.ts'
import {
  MPLS_PUSH_BOS,
  MPLS_PUSH_MAC,
  OP_MPLS_DEC_TTL,
  OP_MPLS_MODIFY,
  OP_MPLS_POP,
  OP_MPLS_PUSH,
} from '../memory/layout/program.ts'
import type { Args } from '../tc/args.ts'
import { formatProtocol, parseProtocol } from '../tc/protocol_text.ts'
import {
  FLOW_ACTION_INVALID,
  FLOW_ACTION_MPLS_MANGLE,
  FLOW_ACTION_MPLS_POP,
  FLOW_ACTION_MPLS_PUSH,
} from '../wire/flow_action_id.ts'
import { EINVAL, ERANGE, NetlinkError } from '../wire/netlink_error.ts'
import {
  genAction,
  TC_GEN_LEN,
  TCA_ID_MPLS,
  TCA_MPLS_ACT_DEC_TTL,
  TCA_MPLS_ACT_MAC_PUSH,
  TCA_MPLS_ACT_MODIFY,
  TCA_MPLS_ACT_POP,
  TCA_MPLS_ACT_PUSH,
  TCA_MPLS_BOS,
  TCA_MPLS_LABEL,
  TCA_MPLS_PARMS,
  TCA_MPLS_PROTO,
  TCA_MPLS_TC,
  TCA_MPLS_TM,
  TCA_MPLS_TTL,
} from '../wire/tca_action.ts'
import type { ActionKind } from './action.ts'
import { checkControl, controlOr, dropControl, printControl, readIndexOr, setControl } from './control.ts'
import { checkAttrs, controlOf, dumpParms, dumpTm, policy, printInstance, putParms, readAttrs } from './parms.ts'

/** Params: what is done; the fields, -1 (ttl 0) where not given; the protocol, host order. */
const M_ACTION = ACT_PARAMS
const LABEL = ACT_PARAMS + 4
const TC = ACT_PARAMS + 8
const TTL = ACT_PARAMS + 12
const BOS = ACT_PARAMS + 16
const PROTO = ACT_PARAMS + 20

const ETH_P_MPLS_UC = 0x8847
const ETH_P_MPLS_MC = 0x8848
const LABEL_MAX = 0xfffff
/** A label that no packet carries (RFC 3032 2.1). */
const LABEL_IMPLNULL = 3
const DEFAULT_TTL = 255

const NAMES: Readonly<Record<number, string>> = {
  [TCA_MPLS_ACT_POP]: 'pop',
  [TCA_MPLS_ACT_PUSH]: 'push',
  [TCA_MPLS_ACT_MODIFY]: 'modify',
  [TCA_MPLS_ACT_DEC_TTL]: 'dec_ttl',
  [TCA_MPLS_ACT_MAC_PUSH]: 'mac_push',
}
const WORDS = [
  TCA_MPLS_ACT_POP,
  TCA_MPLS_ACT_PUSH,
  TCA_MPLS_ACT_MODIFY,
  TCA_MPLS_ACT_MAC_PUSH,
  TCA_MPLS_ACT_DEC_TTL,
] as const

const attrs = new Int32Array(TCA_MPLS_BOS + 1)
const POLICY = policy(TCA_MPLS_BOS, {
  [TCA_MPLS_PARMS]: TC_GEN_LEN + 4,
  [TCA_MPLS_TM]: 0,
  [TCA_MPLS_PROTO]: 2,
  [TCA_MPLS_LABEL]: 4,
  [TCA_MPLS_TC]: 1,
  [TCA_MPLS_TTL]: 1,
  [TCA_MPLS_BOS]: 1,
})

const isMpls = (proto: number): boolean => proto === ETH_P_MPLS_UC || proto === ETH_P_MPLS_MC
const isPush = (action: number): boolean => action === TCA_MPLS_ACT_PUSH || action === TCA_MPLS_ACT_MAC_PUSH

// ---- words

interface Read {
  action: number
  label: number
  tc: number
  ttl: number
  bos: number
  proto: number
}

function parseWords(args: Args): Read {
  const r: Read = { action: 0, label: -1, tc: -1, ttl: 0, bos: -1, proto: 0 }
  const field = (max: number, wrong: string): number => {
    if (!isPush(r.action) && r.action !== TCA_MPLS_ACT_MODIFY)
      throw args.invarg('only valid for push, mac_push and modify')
    args.next()
    const v = args.number(args.word, 0, max)
    if (v < 0) throw args.invarg(wrong)
    return v
  }
  for (; args.more; args.skip()) {
    const action = WORDS.find((a) => args.matches(NAMES[a]))
    if (action !== undefined) {
      if (r.action) throw args.fail(`Error: got "${args.word}" but action already set to "${NAMES[r.action]}"`)
      r.action = action
    } else if (args.matches('label')) r.label = field(LABEL_MAX, 'label must be <=0xFFFFF')
    else if (args.matches('tc')) r.tc = field(7, 'tc field is 3 bits max')
    else if (args.matches('ttl')) {
      r.ttl = field(255, 'ttl must be >0 and <=255')
      if (r.ttl === 0) throw args.invarg('ttl must be >0 and <=255')
    } else if (args.matches('bos')) r.bos = field(1, 'bos must be 0 or 1')
    else if (args.matches('protocol')) {
      if (!isPush(r.action) && r.action !== TCA_MPLS_ACT_POP) throw args.invarg('only valid for push, mac_push and pop')
      r.proto = parseProtocol(args.next())
      if (r.proto < 0) throw args.invarg('protocol is invalid')
    } else break
  }
  return r
}

// ---- kernel

function checkFields(d: DataView): void {
  const label = attrs[TCA_MPLS_LABEL]
  if (label && (d.getUint32(label, true) > LABEL_MAX || d.getUint32(label, true) === LABEL_IMPLNULL))
    throw new NetlinkError(EINVAL, 'MPLS label out of range', label)
  const range = (o: number, min: number, max: number): void => {
    if (o && (d.getUint8(o) < min || d.getUint8(o) > max)) throw new NetlinkError(ERANGE, 'integer out of range', o)
  }
  range(attrs[TCA_MPLS_TC], 0, 7)
  range(attrs[TCA_MPLS_TTL], 1, 255)
  range(attrs[TCA_MPLS_BOS], 0, 1)
}

// Which attributes go with which action (tcf_mpls_init).
function checkAction(d: DataView, action: number): void {
  const proto = attrs[TCA_MPLS_PROTO]
  const label = attrs[TCA_MPLS_LABEL]
  const fields = label | attrs[TCA_MPLS_TTL] | attrs[TCA_MPLS_TC] | attrs[TCA_MPLS_BOS]
  const refuse = (why: string): void => {
    throw new NetlinkError(EINVAL, why)
  }
  if (action === TCA_MPLS_ACT_POP) {
    if (!proto) refuse('Protocol must be set for MPLS pop')
    if (d.getUint16(proto) < 0x600) refuse('Invalid protocol type for MPLS pop')
    if (fields) refuse('Label, TTL, TC or BOS cannot be used with MPLS pop')
  } else if (action === TCA_MPLS_ACT_DEC_TTL) {
    if (proto | fields) refuse('Label, TTL, TC, BOS or protocol cannot be used with MPLS dec_ttl')
  } else if (isPush(action)) {
    if (!label) refuse('Label is required for MPLS push')
    if (proto && !isMpls(d.getUint16(proto))) refuse('Protocol must be an MPLS type for MPLS push')
  } else if (action === TCA_MPLS_ACT_MODIFY) {
    if (proto) refuse('Protocol cannot be used with MPLS modify')
  } else refuse('Unknown MPLS action')
}

export const mpls: ActionKind = {
  name: 'mpls',
  id: TCA_ID_MPLS,
  parms: TCA_MPLS_PARMS,
  parmsLen: TC_GEN_LEN + 4,
  missing: 'Missing netlink attributes',
  missingParms: 'No MPLS params',

  parse(args, b) {
    args.next()
    const r = parseWords(args)
    if (!r.action) throw args.incomplete()
    const control = controlOr(args, TC_ACT_PIPE)
    const index = readIndexOr(args, () => args.invarg('illegal index'))
    if (r.action === TCA_MPLS_ACT_PUSH && r.label < 0) throw args.missarg('label')
    if (isPush(r.action) && r.proto && !isMpls(r.proto)) {
      const mac = r.action === TCA_MPLS_ACT_MAC_PUSH ? 'mac_' : ''
      const proto = r.proto.toString(16).padStart(4, '0')
      throw args.fail(`invalid ${mac}push protocol "0x${proto}" - use mpls_(uc|mc)`)
    }
    if (r.action === TCA_MPLS_ACT_POP && !r.proto) throw args.missarg('protocol')
    b.d.setInt32(putParms(b, TCA_MPLS_PARMS, index, control, 4), r.action, true)
    if (r.label >= 0) b.attrU32(TCA_MPLS_LABEL, r.label)
    if (r.proto) b.attrBe16(TCA_MPLS_PROTO, r.proto)
    if (r.tc >= 0) b.attrU8(TCA_MPLS_TC, r.tc)
    if (r.ttl) b.attrU8(TCA_MPLS_TTL, r.ttl)
    if (r.bos >= 0) b.attrU8(TCA_MPLS_BOS, r.bos)
  },

  print(d, o, end, out) {
    out.str('kind', '%s ', 'mpls')
    readAttrs(d, o, end, attrs)
    const parms = attrs[TCA_MPLS_PARMS]
    if (!parms) return
    const action = d.getInt32(parms + TC_GEN_LEN, true)
    out.str('mpls_action', ' %s', NAMES[action] ?? '(null)')
    const proto = attrs[TCA_MPLS_PROTO]
    if (proto && (action === TCA_MPLS_ACT_POP || isPush(action)))
      out.str('protocol', ' protocol %s', formatProtocol(d.getUint16(proto)))
    if (isPush(action) || action === TCA_MPLS_ACT_MODIFY) {
      const [label, tc, bos, ttl] = [
        attrs[TCA_MPLS_LABEL],
        attrs[TCA_MPLS_TC],
        attrs[TCA_MPLS_BOS],
        attrs[TCA_MPLS_TTL],
      ]
      if (label) out.num('label', ' label %u', d.getUint32(label, true))
      if (tc) out.num('tc', ' tc %u', d.getUint8(tc))
      if (bos) out.num('bos', ' bos %u', d.getUint8(bos))
      if (ttl) out.num('ttl', ' ttl %u', d.getUint8(ttl))
    }
    printControl(out, ' ', controlOf(d, parms))
    printInstance(out, d, parms, attrs[TCA_MPLS_TM])
  },

  init(c, act, d, o, end) {
    const { m } = c.a
    checkAttrs(d, o, end, attrs, POLICY)
    checkFields(d)
    const parms = attrs[TCA_MPLS_PARMS]
    const action = d.getInt32(parms + TC_GEN_LEN, true)
    checkAction(d, action)
    checkControl(genAction(d, parms))
    const byte = (type: number, none: number): number => (attrs[type] ? d.getUint8(attrs[type]) : none)
    m[(act + M_ACTION) >> 2] = action
    m[(act + LABEL) >> 2] = attrs[TCA_MPLS_LABEL] ? d.getUint32(attrs[TCA_MPLS_LABEL], true) : -1
    m[(act + TC) >> 2] = byte(TCA_MPLS_TC, -1)
    m[(act + TTL) >> 2] = byte(TCA_MPLS_TTL, isPush(action) ? DEFAULT_TTL : 0)
    m[(act + BOS) >> 2] = byte(TCA_MPLS_BOS, -1)
    m[(act + PROTO) >> 2] = attrs[TCA_MPLS_PROTO] ? d.getUint16(attrs[TCA_MPLS_PROTO]) : ETH_P_MPLS_UC
    setControl(c, act, genAction(d, parms))
  },

  cleanup: dropControl,

  compile(c, act) {
    const { m } = c.a
    const action = m[(act + M_ACTION) >> 2]
    const proto = m[(act + PROTO) >> 2]
    const wire = ((proto & 0xff) << 8) | (proto >> 8)
    if (action === TCA_MPLS_ACT_POP) return c.emit(OP_MPLS_POP, wire, c.counter(act))
    if (action === TCA_MPLS_ACT_DEC_TTL) return c.emit(OP_MPLS_DEC_TTL, c.counter(act))
    const [label, tc, ttl, bos] = [m[(act + LABEL) >> 2], m[(act + TC) >> 2], m[(act + TTL) >> 2], m[(act + BOS) >> 2]]
    let lse = 0
    let mask = 0
    const field = (v: number, given: boolean, shift: number, bits: number): void => {
      if (!given) return
      lse |= v << shift
      mask |= bits << shift
    }
    field(label, label >= 0, 12, 0xfffff)
    field(tc, tc >= 0, 9, 7)
    field(bos, bos >= 0, 8, 1)
    field(ttl, ttl > 0, 0, 0xff)
    if (action === TCA_MPLS_ACT_MODIFY) return c.emit(OP_MPLS_MODIFY, lse, mask, c.counter(act))
    const flags = (bos < 0 ? MPLS_PUSH_BOS : 0) | (action === TCA_MPLS_ACT_MAC_PUSH ? MPLS_PUSH_MAC : 0)
    c.emit(OP_MPLS_PUSH, lse, wire, flags, c.counter(act))
  },

  offload(m, act, ids) {
    const action = m[(act + M_ACTION) >> 2]
    if (action === TCA_MPLS_ACT_PUSH) ids.push(FLOW_ACTION_MPLS_PUSH)
    else if (action === TCA_MPLS_ACT_POP) ids.push(FLOW_ACTION_MPLS_POP)
    else ids.push(action === TCA_MPLS_ACT_MODIFY ? FLOW_ACTION_MPLS_MANGLE : FLOW_ACTION_INVALID)
  },

  driverRefuses(m, act, r) {
    const action = m[(act + M_ACTION) >> 2]
    if (action !== TCA_MPLS_ACT_PUSH && action !== TCA_MPLS_ACT_POP) return 'Of mpls only push and pop are supported'
    if (action === TCA_MPLS_ACT_PUSH) {
      if (m[(act + PROTO) >> 2] !== ETH_P_MPLS_UC) return 'MPLS push is supported only for mpls_uc protocol'
      r.mpls = true
      return undefined
    }
    if (r.place > 1 || (r.place === 1 && !r.decap)) return 'MPLS pop is supported only as the first action'
    if (r.kind !== NETDEV_KIND_BAREUDP) return 'MPLS pop is supported only on bareudp devices'
    r.mplsPop = true
    return undefined
  },

  dump(c, act, b) {
    const { m } = c.a
    b.d.setInt32(dumpParms(c, act, b, TCA_MPLS_PARMS, 4), m[(act + M_ACTION) >> 2], true)
    if (m[(act + LABEL) >> 2] >= 0) b.attrU32(TCA_MPLS_LABEL, m[(act + LABEL) >> 2])
    if (m[(act + TC) >> 2] >= 0) b.attrU8(TCA_MPLS_TC, m[(act + TC) >> 2])
    if (m[(act + TTL) >> 2]) b.attrU8(TCA_MPLS_TTL, m[(act + TTL) >> 2])
    if (m[(act + BOS) >> 2] >= 0) b.attrU8(TCA_MPLS_BOS, m[(act + BOS) >> 2])
    b.attrBe16(TCA_MPLS_PROTO, m[(act + PROTO) >> 2])
    dumpTm(c, act, b, TCA_MPLS_TM)
  },
}
