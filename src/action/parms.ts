// What the options of every kind have in common: struct tc_gen at the beginning of the parameters, struct tcf_t, and the
// line that says index, ref and bind.

import { ACT_BINDCNT, ACT_CONTROL, ACT_INDEX, ACT_INSTALLED, ACT_REFCNT } from '../memory/layout/action.ts'
import type { Printer } from '../tc/printer.ts'
import { printTm } from '../tc/stats_text.ts'
import { type Builder, NLA_HDRLEN, NLA_TYPE_MASK, parseAttrs } from '../wire/netlink.ts'
import { EINVAL, ERANGE, NetlinkError, POLICY_TEXT } from '../wire/netlink_error.ts'
import { genAction, genBindcnt, genIndex, genRefcnt, TC_GEN_LEN, TCF_T_LEN, tcGen } from '../wire/tca_action.ts'
import type { ActionContext } from './action.ts'

// ---- words

/** Begins the attribute of parameters: its tc_gen, and `more` bytes of zeros behind; gives where those are. */
export function putParms(b: Builder, type: number, index: number, control: number, more = 0): number {
  const o = b.attrRoom(type, TC_GEN_LEN + more)
  b.d.setUint32(o, index, true)
  b.d.setUint32(o + 4, 0, true)
  b.d.setInt32(o + 8, control, true)
  b.d.setUint32(o + 12, 0, true)
  b.d.setUint32(o + 16, 0, true)
  for (let i = 0; i < more; i++) b.u8s[o + TC_GEN_LEN + i] = 0
  return o + TC_GEN_LEN
}

// ---- text

/** `index N ref N bind N`, with -s the ages in the tcf_t at `tm` (0: none), and the end of the line. */
export function printInstance(out: Printer, d: DataView, parms: number, tm: number, prefix = '\t '): void {
  out.nl()
  out.num('index', `${prefix}index %u`, genIndex(d, parms))
  out.num('ref', ' ref %d', genRefcnt(d, parms))
  out.num('bind', ' bind %d', genBindcnt(d, parms))
  if (out.stats && tm) printTm(d, tm, out)
  out.nl()
}

export const controlOf = genAction

/** parse_rtattr_nested for the print halves: `attrs` must have maxType + 1 entries. */
export const readAttrs = (d: DataView, o: number, end: number, attrs: Int32Array): void =>
  parseAttrs(d, o, end, attrs, attrs.length - 1)

// ---- kernel

/**
 * nla_parse_nested_deprecated with a policy of least lengths, by type: ERANGE for an attribute that is too short, EINVAL
 * for one that the kind does not have (0xff); `why` goes with both.
 */
export function checkAttrs(
  d: DataView,
  o: number,
  end: number,
  attrs: Int32Array,
  least: Readonly<Uint8Array>,
  why = POLICY_TEXT,
): void {
  for (let t = 0; t < attrs.length; t++) attrs[t] = 0
  while (end - o >= NLA_HDRLEN) {
    const len = d.getUint16(o, true)
    if (len < NLA_HDRLEN || len > end - o) throw new NetlinkError(EINVAL, 'malformed attribute', o)
    const type = d.getUint16(o + 2, true) & NLA_TYPE_MASK
    if (type >= least.length || least[type] === 0xff)
      throw new NetlinkError(EINVAL, `flowerbed: unknown action attribute ${type}`, o)
    if (len - NLA_HDRLEN < least[type]) throw new NetlinkError(ERANGE, why, o)
    attrs[type] = o + NLA_HDRLEN
    o += (len + 3) & ~3
  }
}

/** A policy for checkAttrs: least length of each type; a type that is not named does not exist. */
export function policy(max: number, lengths: Readonly<Record<number, number>>): Uint8Array {
  const p = new Uint8Array(max + 1).fill(0xff)
  p[0] = 0
  for (const [type, len] of Object.entries(lengths)) p[Number(type)] = len
  return p
}

/** The beginning of the parameters of a dump: a tc_gen, and `more` bytes behind, whose offset it gives. */
export function dumpParms(c: ActionContext, act: number, b: Builder, type: number, more = 0): number {
  const { m } = c.a
  const o = b.attrRoom(type, TC_GEN_LEN + more)
  const end = b.at
  b.at = o
  tcGen(
    b,
    m[(act + ACT_INDEX) >> 2],
    m[(act + ACT_CONTROL) >> 2],
    m[(act + ACT_REFCNT) >> 2],
    m[(act + ACT_BINDCNT) >> 2],
  )
  b.at = end
  for (let i = 0; i < more; i++) b.u8s[o + TC_GEN_LEN + i] = 0
  return o + TC_GEN_LEN
}

/** tcf_tm_dump: ages in hundredths of a second. An action that was never used says its own age as that of its last use. */
export function dumpTm(c: ActionContext, act: number, b: Builder, type: number): void {
  const now = c.now()
  const s = c.stats(act)
  const ticks = (since: number): number => Math.floor(((now - since) >>> 0) / 10)
  const install = ticks(c.a.m[(act + ACT_INSTALLED) >> 2])
  const o = b.attrRoom(type, TCF_T_LEN)
  putU64(b.d, o, install)
  putU64(b.d, o + 8, s.lastUsed ? ticks(s.lastUsed - 1) : install)
  putU64(b.d, o + 16, 0)
  putU64(b.d, o + 24, s.firstUsed ? ticks(s.firstUsed - 1) : 0)
}

function putU64(d: DataView, o: number, v: number): void {
  d.setUint32(o, v, true)
  d.setUint32(o + 4, 0, true)
}
