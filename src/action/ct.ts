// ct: connection tracking: finds the packet's connection in a zone, makes it (commit), marks it, translates its
// addresses; or makes the packet forget it (clear) (m_ct.c, act_ct.c). The parameters are a block (action_state.ts).

import { ACT_PARAMS, TC_ACT_PIPE } from '../memory/layout/action.ts'
import * as Ct from '../memory/layout/action_state.ts'
import { OP_CT, OP_CT_CLEAR } from '../memory/layout/program.ts'
import { alloc, freeRcu, TAG_PARAMS } from '../memory/pool.ts'
import type { Args } from '../tc/args.ts'
import { LanguageError } from '../tc/language_error.ts'
import type { Printer } from '../tc/printer.ts'
import { FLOW_ACTION_CT } from '../wire/flow_action_id.ts'
import { attrLen, type Builder, NLA_HDRLEN } from '../wire/netlink.ts'
import { EOPNOTSUPP, ERANGE, NetlinkError, POLICY_TEXT } from '../wire/netlink_error.ts'
import { AF_INET, AF_UNSPEC } from '../wire/rtm_route.ts'
import {
  genAction,
  TC_GEN_LEN,
  TCA_CT_ACT_CLEAR,
  TCA_CT_ACT_COMMIT,
  TCA_CT_ACT_FORCE,
  TCA_CT_ACT_NAT,
  TCA_CT_ACT_NAT_DST,
  TCA_CT_ACT_NAT_SRC,
  TCA_CT_ACTION,
  TCA_CT_LABELS,
  TCA_CT_LABELS_MASK,
  TCA_CT_MARK,
  TCA_CT_MARK_MASK,
  TCA_CT_NAT_IPV4_MAX,
  TCA_CT_NAT_IPV4_MIN,
  TCA_CT_NAT_IPV6_MAX,
  TCA_CT_NAT_IPV6_MIN,
  TCA_CT_NAT_PORT_MAX,
  TCA_CT_NAT_PORT_MIN,
  TCA_CT_PARMS,
  TCA_CT_TM,
  TCA_CT_ZONE,
  TCA_ID_CT,
} from '../wire/tca_action.ts'
import type { ActionKind } from './action.ts'
import { checkControl, controlOr, dropControl, printControl, setControl } from './control.ts'
import { listCut } from './offload.ts'
import { checkAttrs, controlOf, dumpParms, dumpTm, policy, printInstance, putParms, readAttrs } from './parms.ts'

const BLOCK = ACT_PARAMS
const NAT_BOTH = TCA_CT_ACT_NAT_SRC | TCA_CT_ACT_NAT_DST
const LABEL_DIGITS = 32

const attrs = new Int32Array(TCA_CT_NAT_PORT_MAX + 2)
const POLICY = policy(TCA_CT_NAT_PORT_MAX + 1, {
  [TCA_CT_PARMS]: TC_GEN_LEN,
  [TCA_CT_TM]: 0,
  [TCA_CT_ACTION]: 2,
  [TCA_CT_ZONE]: 2,
  [TCA_CT_MARK]: 4,
  [TCA_CT_MARK_MASK]: 4,
  [TCA_CT_LABELS]: 0,
  [TCA_CT_LABELS_MASK]: 0,
  [TCA_CT_NAT_IPV4_MIN]: 4,
  [TCA_CT_NAT_IPV4_MAX]: 4,
  [TCA_CT_NAT_IPV6_MIN]: 16,
  [TCA_CT_NAT_IPV6_MAX]: 16,
  [TCA_CT_NAT_PORT_MIN]: 2,
  [TCA_CT_NAT_PORT_MAX]: 2,
})

// ---- words

function address(args: Args, text: string, family: number): void {
  if (args.address(family, text)) return
  const name = family === AF_INET ? 'inet' : family === AF_UNSPEC ? 'any valid' : 'inet6'
  throw new LanguageError(`Error: ${name} address is expected rather than "${text}".`, 1, text, true)
}

// `addr A[-B] [port P[-Q]]`; leaves `args` on the word behind.
function parseNat(args: Args, b: Builder): void {
  args.next()
  if (!args.matches('addr')) throw new LanguageError('ct nat: "addr" is expected', 255, args.word, true)
  const [from, to] = args.next().split('-', 2)
  const { inet } = args
  address(args, from, AF_UNSPEC)
  const v4 = inet.family === AF_INET
  b.attrSlice(v4 ? TCA_CT_NAT_IPV4_MIN : TCA_CT_NAT_IPV6_MIN, inet.data, 0, inet.bytelen)
  if (to !== undefined) address(args, to, inet.family)
  b.attrSlice(v4 ? TCA_CT_NAT_IPV4_MAX : TCA_CT_NAT_IPV6_MAX, inet.data, 0, inet.bytelen)
  args.next()
  if (!args.matches('port')) return
  const [low, high] = args.next().split('-', 2)
  const port = (text: string): number => {
    const v = args.number(text, 10, 0xffff)
    if (v < 0) throw args.fail('ct: Illegal nat port range')
    return v
  }
  b.attrBe16(TCA_CT_NAT_PORT_MIN, port(low))
  b.attrBe16(TCA_CT_NAT_PORT_MAX, port(high ?? low))
  args.skip()
}

function parseMark(args: Args, b: Builder): void {
  const [mark, mask] = args.word.split('/', 2)
  const value = args.number(mark, 0, 0xffffffff)
  const bits = mask === undefined ? 0xffffffff : args.number(mask, 0, 0xffffffff)
  if (value < 0 || bits < 0) throw args.fail('ct: Illegal "mark"')
  b.attrU32(TCA_CT_MARK, value)
  b.attrU32(TCA_CT_MARK_MASK, bits)
}

function parseLabel(args: Args, b: Builder): void {
  const [label, mask] = args.word.split('/', 2)
  if (label.length > LABEL_DIGITS || (mask ?? '').length > LABEL_DIGITS)
    throw args.invarg(`${label.length} Max allowed size ${LABEL_DIGITS}`, label)
  const bytes = (text: string, what: string): Uint8Array => {
    const found = args.hexBytes(text.slice(0, text.length & ~1))
    if (!found) throw args.invarg(`ct: ${what} must be a hex string\n`, text)
    return found
  }
  b.attr(TCA_CT_LABELS, bytes(label, 'labels'))
  b.attr(TCA_CT_LABELS_MASK, mask === undefined ? new Uint8Array(16).fill(0xff) : bytes(mask, 'labels mask'))
}

function checkWords(args: Args, action: number): void {
  if (action & TCA_CT_ACT_CLEAR && action & ~TCA_CT_ACT_CLEAR) throw args.fail('ct: clear can only be used alone')
  if ((action & NAT_BOTH) === NAT_BOTH) throw args.fail("ct: src and dst nat can't be used together")
  if (action & TCA_CT_ACT_COMMIT && action & TCA_CT_ACT_NAT && !(action & NAT_BOTH))
    throw args.fail('ct: commit and nat must set src or dst')
  if (!(action & TCA_CT_ACT_COMMIT) && action & NAT_BOTH)
    throw args.fail('ct: src or dst is only valid if commit is set')
}

function parseWords(args: Args, b: Builder): readonly [action: number, index: number] {
  let action = 0
  let index = 0
  while (args.more) {
    if (args.matches('zone')) {
      args.next()
      const zone = args.u16()
      if (zone < 0) throw args.fail('ct: Illegal "zone"')
      b.attrU16(TCA_CT_ZONE, zone)
    } else if (args.matches('nat')) {
      action |= TCA_CT_ACT_NAT
      args.next()
      if (args.matches('src')) action |= TCA_CT_ACT_NAT_SRC
      else if (args.matches('dst')) action |= TCA_CT_ACT_NAT_DST
      else continue
      parseNat(args, b)
      continue
    } else if (args.matches('clear')) action |= TCA_CT_ACT_CLEAR
    else if (args.matches('commit')) action |= TCA_CT_ACT_COMMIT
    else if (args.matches('force')) action |= TCA_CT_ACT_FORCE
    else if (args.matches('index')) {
      args.next()
      index = args.u32(10)
      if (index < 0) throw args.fail('ct: Illegal "index"')
    } else if (args.matches('mark')) {
      args.next()
      parseMark(args, b)
    } else if (args.matches('label')) {
      args.next()
      parseLabel(args, b)
    } else if (args.word === 'helper') throw args.fail('ct: helpers are not supported')
    else break
    args.skip()
  }
  return [action, index]
}

// ---- text

const hex = (d: DataView, o: number, len: number): string => {
  let s = ''
  for (let i = 0; i < len; i++)
    s += d
      .getUint8(o + i)
      .toString(16)
      .padStart(2, '0')
  return s
}

function natText(d: DataView, out: Printer, action: number): string {
  if (!(action & NAT_BOTH)) return ''
  let text = action & TCA_CT_ACT_NAT_SRC ? 'src' : 'dst'
  const v4 = attrs[TCA_CT_NAT_IPV4_MIN] !== 0
  const min = v4 ? attrs[TCA_CT_NAT_IPV4_MIN] : attrs[TCA_CT_NAT_IPV6_MIN]
  const max = v4 ? attrs[TCA_CT_NAT_IPV4_MAX] : attrs[TCA_CT_NAT_IPV6_MAX]
  const len = v4 ? 4 : 16
  if (min) text += ` addr ${out.inet(d, min, len)}`
  if (min && max && hex(d, min, len) !== hex(d, max, len)) text += `-${out.inet(d, max, len)}`
  const [low, high] = [attrs[TCA_CT_NAT_PORT_MIN], attrs[TCA_CT_NAT_PORT_MAX]]
  if (low) text += ` port ${d.getUint16(low)}`
  if (low && high && d.getUint16(low) !== d.getUint16(high)) text += `-${d.getUint16(high)}`
  return text
}

function printFields(d: DataView, out: Printer, action: number): void {
  const [mark, markMask, zone] = [attrs[TCA_CT_MARK], attrs[TCA_CT_MARK_MASK], attrs[TCA_CT_ZONE]]
  if (mark) {
    const mask = markMask ? d.getUint32(markMask, true) : 0xffffffff
    out.text(' ')
    out.nameNum('mark', d.getUint32(mark, true))
    if (mask !== 0xffffffff) out.hex('mark_mask', '/0x%x', mask)
  }
  if (zone) {
    out.text(' ')
    out.nameNum('zone', d.getUint16(zone, true))
  }
  const [label, labelMask] = [attrs[TCA_CT_LABELS], attrs[TCA_CT_LABELS_MASK]]
  if (label) {
    const n = attrLen(d, label)
    let text = hex(d, label, n)
    if (labelMask && (n !== 16 || !/^f*$/.test(hex(d, labelMask, 16)))) text += `/${hex(d, labelMask, n)}`
    out.str('label', ' label %s', text)
  }
  if (action & TCA_CT_ACT_NAT) {
    const text = natText(d, out, action)
    out.str('nat', text ? ' nat %s' : ' nat', text)
  }
}

// ---- kernel

function fill(a: { m: Int32Array; u8: Uint8Array; d: DataView }, p: number, d: DataView, action: number): void {
  a.d.setUint16(p + Ct.CT_ACTION, action, true)
  if (action & TCA_CT_ACT_CLEAR) return
  const copy = (type: number, to: number, len: number): boolean => {
    const o = attrs[type]
    if (o) for (let i = 0; i < Math.min(len, attrLen(d, o)); i++) a.u8[to + i] = d.getUint8(o + i)
    return o !== 0
  }
  let flags = 0
  if (action & TCA_CT_ACT_NAT && action & NAT_BOTH) {
    if ((action & NAT_BOTH) === NAT_BOTH)
      throw new NetlinkError(EOPNOTSUPP, "dnat and snat can't be enabled at the same time")
    const v4 = attrs[TCA_CT_NAT_IPV4_MIN] !== 0
    const min = v4 ? TCA_CT_NAT_IPV4_MIN : TCA_CT_NAT_IPV6_MIN
    const max = v4 ? TCA_CT_NAT_IPV4_MAX : TCA_CT_NAT_IPV6_MAX
    if (copy(min, p + Ct.CT_NAT_MIN, 16)) {
      flags |= v4 ? Ct.CT_NAT_IPV4 : Ct.CT_NAT_IPV6
      copy(attrs[max] ? max : min, p + Ct.CT_NAT_MAX, 16)
    }
    if (copy(TCA_CT_NAT_PORT_MIN, p + Ct.CT_NAT_PORT_MIN, 2)) {
      flags |= Ct.CT_NAT_PORTS
      copy(attrs[TCA_CT_NAT_PORT_MAX] ? TCA_CT_NAT_PORT_MAX : TCA_CT_NAT_PORT_MIN, p + Ct.CT_NAT_PORT_MAX, 2)
    }
  }
  a.m[(p + Ct.CT_NAT_FLAGS) >> 2] = flags
  const masked = (type: number, maskType: number, to: number, maskTo: number, len: number): void => {
    if (copy(type, to, len) && !copy(maskType, maskTo, len)) a.u8.fill(0xff, maskTo, maskTo + len)
  }
  masked(TCA_CT_MARK, TCA_CT_MARK_MASK, p + Ct.CT_MARK, p + Ct.CT_MARK_MASK, 4)
  masked(TCA_CT_LABELS, TCA_CT_LABELS_MASK, p + Ct.CT_LABELS, p + Ct.CT_LABELS_MASK, 16)
  copy(TCA_CT_ZONE, p + Ct.CT_ZONE, 2)
}

export const ct: ActionKind = {
  name: 'ct',
  id: TCA_ID_CT,
  parms: TCA_CT_PARMS,
  parmsLen: TC_GEN_LEN,
  missing: 'act_ct: Ct requires attributes to be passed',
  missingParms: 'act_ct: Missing required ct parameters',

  parse(args, b) {
    if (args.matches('ct')) args.skip()
    const [action, index] = parseWords(args, b)
    checkWords(args, action)
    const control = controlOr(args, TC_ACT_PIPE)
    b.attrU16(TCA_CT_ACTION, action)
    putParms(b, TCA_CT_PARMS, index, control)
  },

  print(d, o, end, out) {
    out.str('kind', '%s', 'ct')
    readAttrs(d, o, end, attrs)
    const parms = attrs[TCA_CT_PARMS]
    if (!parms) return
    const action = attrs[TCA_CT_ACTION] ? d.getUint16(attrs[TCA_CT_ACTION], true) : 0
    if (action & TCA_CT_ACT_COMMIT) out.str('action', ' %s', action & TCA_CT_ACT_FORCE ? 'commit force' : 'commit')
    else if (action & TCA_CT_ACT_CLEAR) out.str('action', ' %s', 'clear')
    printFields(d, out, action)
    printControl(out, ' ', controlOf(d, parms))
    printInstance(out, d, parms, attrs[TCA_CT_TM])
  },

  init(c, act, d, o, end) {
    const { m } = c.a
    checkAttrs(d, o, end, attrs, POLICY)
    for (const type of [TCA_CT_LABELS, TCA_CT_LABELS_MASK])
      if (attrs[type] && attrLen(d, attrs[type]) > 16)
        throw new NetlinkError(ERANGE, POLICY_TEXT, attrs[type] - NLA_HDRLEN)
    const control = genAction(d, attrs[TCA_CT_PARMS])
    checkControl(control)
    const action = attrs[TCA_CT_ACTION] ? d.getUint16(attrs[TCA_CT_ACTION], true) : 0
    const block = alloc(c.a, Ct.CT_SIZE, TAG_PARAMS)
    try {
      fill(c.a, block, d, action)
      m[(act + BLOCK) >> 2] = block
      setControl(c, act, control)
    } catch (e) {
      freeRcu(c.a, block, Ct.CT_SIZE, TAG_PARAMS)
      throw e
    }
  },

  cleanup(c, act) {
    dropControl(c, act)
    freeRcu(c.a, c.a.m[(act + BLOCK) >> 2], Ct.CT_SIZE, TAG_PARAMS)
  },

  compile(c, act) {
    const block = c.a.m[(act + BLOCK) >> 2]
    if (c.a.d.getUint16(block + Ct.CT_ACTION, true) & TCA_CT_ACT_CLEAR) c.emit(OP_CT_CLEAR)
    else c.emit(OP_CT, block, c.counter(act))
  },

  offload(_m, _act, ids) {
    ids.push(FLOW_ACTION_CT)
  },

  driverRefuses(m, act, r) {
    const action = m[(m[(act + BLOCK) >> 2] + Ct.CT_ACTION) >> 2] & 0xffff
    if ((action & TCA_CT_ACT_COMMIT) !== 0 && r.isLast) return "Ct commit can't be the last action"
    if ((action & TCA_CT_ACT_CLEAR) === 0) listCut(r)
    return undefined
  },

  dump(c, act, b) {
    const { m, u8, d } = c.a
    const p = m[(act + BLOCK) >> 2]
    const action = d.getUint16(p + Ct.CT_ACTION, true)
    const flags = m[(p + Ct.CT_NAT_FLAGS) >> 2]
    b.attrU16(TCA_CT_ACTION, action)
    if (!(action & TCA_CT_ACT_CLEAR)) {
      if (m[(p + Ct.CT_MARK_MASK) >> 2]) {
        b.attrU32(TCA_CT_MARK, m[(p + Ct.CT_MARK) >> 2])
        b.attrU32(TCA_CT_MARK_MASK, m[(p + Ct.CT_MARK_MASK) >> 2])
      }
      if (u8.subarray(p + Ct.CT_LABELS_MASK, p + Ct.CT_LABELS_MASK + 16).some((v) => v !== 0)) {
        b.attrSlice(TCA_CT_LABELS, u8, p + Ct.CT_LABELS, 16)
        b.attrSlice(TCA_CT_LABELS_MASK, u8, p + Ct.CT_LABELS_MASK, 16)
      }
      b.attrU16(TCA_CT_ZONE, d.getUint16(p + Ct.CT_ZONE, true))
      const v6 = (flags & Ct.CT_NAT_IPV6) !== 0
      if (flags & (Ct.CT_NAT_IPV4 | Ct.CT_NAT_IPV6)) {
        b.attrSlice(v6 ? TCA_CT_NAT_IPV6_MIN : TCA_CT_NAT_IPV4_MIN, u8, p + Ct.CT_NAT_MIN, v6 ? 16 : 4)
        b.attrSlice(v6 ? TCA_CT_NAT_IPV6_MAX : TCA_CT_NAT_IPV4_MAX, u8, p + Ct.CT_NAT_MAX, v6 ? 16 : 4)
      }
      if (flags & Ct.CT_NAT_PORTS) {
        b.attrSlice(TCA_CT_NAT_PORT_MIN, u8, p + Ct.CT_NAT_PORT_MIN, 2)
        b.attrSlice(TCA_CT_NAT_PORT_MAX, u8, p + Ct.CT_NAT_PORT_MAX, 2)
      }
    }
    dumpParms(c, act, b, TCA_CT_PARMS)
    dumpTm(c, act, b, TCA_CT_TM)
  },
}
