// pedit: edits any bytes of the packet (m_pedit.c, act_pedit.c). The words are in pedit_words.ts.
//
// The parameters are a block: the number of keys, then for each PEDIT_KEY_LEN bytes as in struct tc_pedit_key, behind
// them header type and command.

import { ACT_PARAMS, TC_ACT_OK } from '../memory/layout/action.ts'
import { OP_PEDIT, PEDIT_ADD } from '../memory/layout/program.ts'
import { alloc, freeRcu, TAG_PARAMS } from '../memory/pool.ts'
import type { Printer } from '../tc/printer.ts'
import { printTm } from '../tc/stats_text.ts'
import { FLOW_ACTION_ADD, FLOW_ACTION_MANGLE } from '../wire/flow_action_id.ts'
import { attrLen, type Builder, forEachAttr, NLA_F_NESTED, NLA_HDRLEN } from '../wire/netlink.ts'
import { EINVAL, NetlinkError } from '../wire/netlink_error.ts'
import {
  genAction,
  genBindcnt,
  genIndex,
  genRefcnt,
  TC_GEN_LEN,
  TCA_ID_PEDIT,
  TCA_PEDIT_KEY_EX,
  TCA_PEDIT_KEY_EX_CMD,
  TCA_PEDIT_KEY_EX_CMD_ADD,
  TCA_PEDIT_KEY_EX_HDR_TYPE_UDP,
  TCA_PEDIT_KEY_EX_HTYPE,
  TCA_PEDIT_KEYS_EX,
  TCA_PEDIT_PARMS,
  TCA_PEDIT_PARMS_EX,
  TCA_PEDIT_TM,
} from '../wire/tca_action.ts'
import type { ActionKind } from './action.ts'
import { checkControl, controlOr, dropControl, printControl, readIndex, setControl } from './control.ts'
import { headerChanged } from './offload.ts'
import { checkAttrs, controlOf, dumpParms, dumpTm, policy, putParms, readAttrs } from './parms.ts'
import { noteRewrite, rewritesRefused } from './pedit_offload.ts'
import { type PeditKeys, parseMunge } from './pedit_words.ts'

/** Params: the block, and whether the keys came with header types. */
const BLOCK = ACT_PARAMS
const EXTENDED = ACT_PARAMS + 4

/** struct tc_pedit_sel: tc_gen, u8 nkeys, u8 flags, padding; then the keys: u32 mask, val, off, at, offmask, shift. */
const SEL_LEN = TC_GEN_LEN + 4
const KEY_LEN = 24
/** In the block: a key, its header type, its command. */
const BLOCK_KEY_LEN = 32
const HTYPE = 24
const CMD = 28

const blockSize = (n: number): number => 16 + n * BLOCK_KEY_LEN

const attrs = new Int32Array(TCA_PEDIT_KEYS_EX + 2)
const POLICY = policy(TCA_PEDIT_KEYS_EX + 1, {
  [TCA_PEDIT_TM]: 0,
  [TCA_PEDIT_PARMS]: SEL_LEN,
  [TCA_PEDIT_PARMS_EX]: SEL_LEN,
  [TCA_PEDIT_KEYS_EX]: 0,
})

/** Header type and command of each key, two numbers each; scratch of the thread. */
const extras: number[] = []

// tcf_pedit_keys_ex_parse
function readExtras(d: DataView, nest: number, n: number, check: boolean): void {
  extras.length = 0
  const refuse = (): void => {
    if (check) throw new NetlinkError(EINVAL, 'pedit: the extended keys are not one for each key', nest - NLA_HDRLEN)
  }
  forEachAttr(d, nest, nest + attrLen(d, nest), (type, o, len) => {
    let htype = -1
    let cmd = -1
    if (type !== TCA_PEDIT_KEY_EX || extras.length >= 2 * n) refuse()
    forEachAttr(d, o, o + len, (t, p) => {
      if (t === TCA_PEDIT_KEY_EX_HTYPE) htype = d.getUint16(p, true)
      if (t === TCA_PEDIT_KEY_EX_CMD) cmd = d.getUint16(p, true)
    })
    if (htype < 0 || cmd < 0 || htype > TCA_PEDIT_KEY_EX_HDR_TYPE_UDP || cmd > TCA_PEDIT_KEY_EX_CMD_ADD) refuse()
    extras.push(htype, cmd)
  })
  if (extras.length !== 2 * n) refuse()
}

function putKeys(b: Builder, p: PeditKeys, o: number): void {
  const { d, u8s } = b
  u8s[o] = p.keys.length
  for (const [i, k] of p.keys.entries()) {
    const at = o + 4 + i * KEY_LEN
    d.setUint32(at, k.mask)
    d.setUint32(at + 4, k.val)
    d.setInt32(at + 8, k.off, true)
    d.setUint32(at + 12, k.at, true)
    d.setUint32(at + 16, k.offmask, true)
    d.setUint32(at + 20, k.shift, true)
  }
}

/** `nested`: NLA_F_NESTED as tc sets it; a kernel sets none, and tc reads no list that has it. */
function putExtras(
  b: Builder,
  nested: number,
  count: number,
  of: (i: number) => readonly [htype: number, cmd: number],
): void {
  const list = b.nest(TCA_PEDIT_KEYS_EX | nested)
  for (let i = 0; i < count; i++) {
    const key = b.nest(TCA_PEDIT_KEY_EX | nested)
    const [htype, cmd] = of(i)
    b.attrU16(TCA_PEDIT_KEY_EX_HTYPE, htype)
    b.attrU16(TCA_PEDIT_KEY_EX_CMD, cmd)
    b.nestEnd(key)
  }
  b.nestEnd(list)
}

const HTYPES = ['', 'eth', 'ipv4', 'ipv6', 'tcp', 'udp']
const hex8 = (v: number): string => v.toString(16).padStart(8, '0')

function printKey(d: DataView, o: number, i: number, htype: number, cmd: number, out: Printer): void {
  const off = d.getInt32(o + 8, true)
  const signed = off < 0 ? String(off) : `+${off}`
  out.openObject()
  out.text(`\n\t key #${i}  at ${htype ? (HTYPES[htype] ?? `unknown(${htype})`) + signed : off}`)
  out.str('htype', null, htype ? (HTYPES[htype] ?? `unknown(${htype})`) : 'network')
  out.num('offset', null, off)
  out.text(`: ${cmd ? 'add' : 'val'} ${hex8(d.getUint32(o + 4))} mask ${hex8(d.getUint32(o))}`)
  out.str('cmd', null, cmd ? 'add' : 'set')
  out.hex('val', null, d.getUint32(o + 4))
  out.hex('mask', null, d.getUint32(o))
  out.closeObject()
}

export const pedit: ActionKind = {
  name: 'pedit',
  id: TCA_ID_PEDIT,
  parms: TCA_PEDIT_PARMS,
  parmsOr: TCA_PEDIT_PARMS_EX,
  parmsLen: SEL_LEN,
  missing: 'Pedit requires attributes to be passed',
  missingParms: 'Missing required pedit parameters',

  parse(args, b) {
    const p: { extended: boolean; keys: PeditKeys['keys'] } = { extended: false, keys: [] }
    let ok = 0
    while (args.more) {
      if (args.matches('pedit')) {
        args.next()
        ok++
        if (args.matches('ex')) {
          if (ok > 1) throw args.fail("'ex' must be before first 'munge'")
          p.extended = true
          args.next()
        }
      } else if (args.matches('munge')) {
        if (ok === 0) throw args.fail(`Bad pedit construct (${args.word})`)
        args.next()
        parseMunge(args, p)
        ok++
      } else break
    }
    const control = controlOr(args, TC_ACT_OK)
    const index = readIndex(args, 'Pedit: Illegal "index"')
    const type = p.extended ? TCA_PEDIT_PARMS_EX : TCA_PEDIT_PARMS
    const o = putParms(b, type, index, control, 4 + p.keys.length * KEY_LEN)
    putKeys(b, p, o)
    if (p.extended) putExtras(b, NLA_F_NESTED, p.keys.length, (i) => [p.keys[i].htype, p.keys[i].cmd])
  },

  print(d, o, end, out) {
    out.str('kind', ' %s ', 'pedit')
    readAttrs(d, o, end, attrs)
    const parms = attrs[TCA_PEDIT_PARMS] || attrs[TCA_PEDIT_PARMS_EX]
    if (!parms) return
    const n = d.getUint8(parms + TC_GEN_LEN)
    const [ex, tm] = [attrs[TCA_PEDIT_KEYS_EX], attrs[TCA_PEDIT_TM]]
    extras.length = 0
    if (ex && attrs[TCA_PEDIT_PARMS_EX] === parms) readExtras(d, ex, n, false)
    printControl(out, 'action ', controlOf(d, parms), ' ')
    out.num('nkeys', 'keys %d\n', n)
    out.num('index', ' \t index %u', genIndex(d, parms))
    out.num('ref', ' ref %d', genRefcnt(d, parms))
    out.num('bind', ' bind %d', genBindcnt(d, parms))
    if (out.stats && tm) printTm(d, tm, out)
    if (out.json) out.openArray('keys')
    for (let i = 0; i < n; i++)
      printKey(d, parms + SEL_LEN + i * KEY_LEN, i, extras[2 * i] ?? 0, extras[2 * i + 1] ?? 0, out)
    if (n === 0) out.raw(`\npedit ${genIndex(d, parms).toString(16)} keys 0 is not LEGIT`)
    if (out.json) out.closeArray()
    out.nl()
  },

  init(c, act, d, o, end) {
    const { m, u8 } = c.a
    checkAttrs(d, o, end, attrs, POLICY)
    const parms = attrs[TCA_PEDIT_PARMS] || attrs[TCA_PEDIT_PARMS_EX]
    const extended = attrs[TCA_PEDIT_PARMS] === 0
    const n = d.getUint8(parms + TC_GEN_LEN)
    if (n === 0) throw new NetlinkError(EINVAL, 'Pedit requires keys to be passed')
    if (attrLen(d, parms) < SEL_LEN + n * KEY_LEN)
      throw new NetlinkError(EINVAL, 'The length of pedit keys does not match', parms)
    extras.length = 0
    if (attrs[TCA_PEDIT_KEYS_EX]) readExtras(d, attrs[TCA_PEDIT_KEYS_EX], n, true)
    checkControl(genAction(d, parms))
    const block = alloc(c.a, blockSize(n), TAG_PARAMS)
    m[block >> 2] = n
    for (let i = 0; i < n; i++) {
      const k = block + 16 + i * BLOCK_KEY_LEN
      for (let j = 0; j < KEY_LEN; j++) u8[k + j] = d.getUint8(parms + SEL_LEN + i * KEY_LEN + j)
      m[(k + HTYPE) >> 2] = extras[2 * i] ?? 0
      m[(k + CMD) >> 2] = extras[2 * i + 1] ?? 0
    }
    m[(act + BLOCK) >> 2] = block
    m[(act + EXTENDED) >> 2] = extended ? 1 : 0
    try {
      setControl(c, act, genAction(d, parms))
    } catch (e) {
      freeRcu(c.a, block, blockSize(n), TAG_PARAMS)
      throw e
    }
  },

  cleanup(c, act) {
    dropControl(c, act)
    const block = c.a.m[(act + BLOCK) >> 2]
    freeRcu(c.a, block, blockSize(c.a.m[block >> 2]), TAG_PARAMS)
  },

  compile(c, act) {
    const { m } = c.a
    const block = m[(act + BLOCK) >> 2]
    const n = m[block >> 2]
    const operands: number[] = [c.counter(act), n]
    for (let i = 0; i < n; i++) {
      const w = (block + 16 + i * BLOCK_KEY_LEN) >> 2
      const where = m[w + (HTYPE >> 2)] | (m[w + (CMD >> 2)] === TCA_PEDIT_KEY_EX_CMD_ADD ? PEDIT_ADD : 0)
      operands.push(where, m[w + 2], m[w + 1], m[w], m[w + 3], m[w + 4], m[w + 5])
    }
    c.emit(OP_PEDIT, ...operands)
  },

  offload(m, act, ids) {
    const block = m[(act + BLOCK) >> 2]
    for (let i = 0; i < m[block >> 2]; i++) {
      const cmd = m[(block + 16 + i * BLOCK_KEY_LEN + CMD) >> 2]
      ids.push(cmd === TCA_PEDIT_KEY_EX_CMD_ADD ? FLOW_ACTION_ADD : FLOW_ACTION_MANGLE)
    }
  },

  driverRefuses(m, act, r) {
    if (m[(act + EXTENDED) >> 2] === 0) return 'Legacy pedit offload is not supported'
    const block = m[(act + BLOCK) >> 2]
    for (let i = 0; i < m[block >> 2]; i++) {
      const key = block + 16 + i * BLOCK_KEY_LEN
      const w = key >> 2
      const isAdd = m[(key + CMD) >> 2] === TCA_PEDIT_KEY_EX_CMD_ADD
      const reason = noteRewrite(r.rewrites, m[(key + HTYPE) >> 2], m[w + 2], m[w], m[w + 1], isAdd)
      if (reason !== undefined) return reason
    }
    r.pedits++
    headerChanged(r)
    return rewritesRefused(r.rewrites, r)
  },

  dump(c, act, b) {
    const { m, u8 } = c.a
    const block = m[(act + BLOCK) >> 2]
    const n = m[block >> 2]
    const extended = m[(act + EXTENDED) >> 2] !== 0
    const at = (i: number): number => block + 16 + i * BLOCK_KEY_LEN
    if (extended) putExtras(b, 0, n, (i) => [m[(at(i) + HTYPE) >> 2], m[(at(i) + CMD) >> 2]])
    const o = dumpParms(c, act, b, extended ? TCA_PEDIT_PARMS_EX : TCA_PEDIT_PARMS, 4 + n * KEY_LEN)
    b.u8s[o] = n
    for (let i = 0; i < n; i++) for (let j = 0; j < KEY_LEN; j++) b.u8s[o + 4 + i * KEY_LEN + j] = u8[at(i) + j]
    dumpTm(c, act, b, TCA_PEDIT_TM)
  },
}
