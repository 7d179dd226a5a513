// skbmod: sets or swaps the addresses of the Ethernet header, sets its type, or marks congestion (m_skbmod.c,
// act_skbmod.c). tc 6.1 prints it without regard to JSON.

import { ACT_CONTROL, ACT_PARAMS, TC_ACT_PIPE, TC_ACT_SHOT } from '../memory/layout/action.ts'
import { OP_SKBMOD } from '../memory/layout/program.ts'
import type { Args } from '../tc/args.ts'
import { LanguageError } from '../tc/language_error.ts'
import { printTm } from '../tc/stats_text.ts'
import { EINVAL, NetlinkError } from '../wire/netlink_error.ts'
import {
  genAction,
  genBindcnt,
  genIndex,
  genRefcnt,
  SKBMOD_F_DMAC,
  SKBMOD_F_ECN,
  SKBMOD_F_ETYPE,
  SKBMOD_F_SMAC,
  SKBMOD_F_SWAPMAC,
  TCA_ID_SKBMOD,
  TCA_SKBMOD_DMAC,
  TCA_SKBMOD_ETYPE,
  TCA_SKBMOD_PARMS,
  TCA_SKBMOD_SMAC,
  TCA_SKBMOD_TM,
} from '../wire/tca_action.ts'
import type { ActionKind } from './action.ts'
import { checkControl, controlOr, dropControl, printControl, setControl } from './control.ts'
import { checkAttrs, controlOf, dumpParms, dumpTm, policy, putParms, readAttrs } from './parms.ts'

/** Params: SKBMOD_F_*, type (host order), destination and source. */
const FLAGS = ACT_PARAMS
const ETYPE = ACT_PARAMS + 4
const MACS = ACT_PARAMS + 8

/** struct tc_skbmod: tc_gen, four bytes of padding, u64 flags. */
const PARMS_LEN = 32
const PARMS_FLAGS = 24

const attrs = new Int32Array(TCA_SKBMOD_ETYPE + 2)
const POLICY = policy(TCA_SKBMOD_ETYPE + 1, {
  [TCA_SKBMOD_TM]: 0,
  [TCA_SKBMOD_PARMS]: PARMS_LEN,
  [TCA_SKBMOD_DMAC]: 6,
  [TCA_SKBMOD_SMAC]: 6,
  [TCA_SKBMOD_ETYPE]: 2,
})

interface Read {
  flags: number
  etype: number
  dmac: Uint8Array | undefined
  smac: Uint8Array | undefined
}

// Six numbers between colons; what follows them does not matter (sscanf).
function readMac(args: Args, what: string): Uint8Array {
  const word = args.next()
  const parts = word.split(':')
  const bytes = parts.slice(0, 6).map((p) => Number.parseInt(p, 16))
  if (bytes.length < 6 || bytes.some(Number.isNaN)) throw args.fail(`Invalid ${what} address ${word}`)
  return Uint8Array.from(bytes)
}

function parseWords(args: Args): Read {
  const r: Read = { flags: 0, etype: 0, dmac: undefined, smac: undefined }
  while (args.more) {
    if (args.matches('skbmod') || args.matches('swap') || args.matches('set')) {
      args.next()
      continue
    }
    if (args.matches('mac')) r.flags |= SKBMOD_F_SWAPMAC
    else if (args.matches('etype')) {
      args.next()
      r.etype = args.u16()
      if (r.etype < 0) throw args.invarg('ethertype is invalid')
      r.flags |= SKBMOD_F_ETYPE
      args.say(`skbmod etype 0x${r.etype.toString(16)}`)
    } else if (args.matches('dmac')) {
      r.dmac = readMac(args, 'dst mac')
      r.flags |= SKBMOD_F_DMAC
      args.say(`dst MAC address <${args.word}>`)
    } else if (args.matches('smac')) {
      r.smac = readMac(args, 'smac')
      r.flags |= SKBMOD_F_SMAC
      args.say(`src MAC address <${args.word}>`)
    } else if (args.matches('ecn')) r.flags |= SKBMOD_F_ECN
    else break
    args.skip()
  }
  return r
}

export const skbmod: ActionKind = {
  name: 'skbmod',
  id: TCA_ID_SKBMOD,
  parms: TCA_SKBMOD_PARMS,
  parmsLen: PARMS_LEN,

  parse(args, b) {
    const r = parseWords(args)
    const control = controlOr(args, TC_ACT_PIPE)
    let index = 0
    if (args.matches('index')) {
      args.next()
      index = args.u32()
      if (index < 0) throw args.fail('skbmod: Illegal "index"')
      args.skip()
    } else if (r.flags === 0) throw new LanguageError('skbmod requires at least one option', 255, args.word, true)
    const o = putParms(b, TCA_SKBMOD_PARMS, index, control, PARMS_LEN - 20)
    b.d.setUint32(o + PARMS_FLAGS - 20, r.flags, true)
    if (r.dmac) b.attr(TCA_SKBMOD_DMAC, r.dmac)
    if (r.etype) b.attrU16(TCA_SKBMOD_ETYPE, r.etype)
    if (r.smac) b.attr(TCA_SKBMOD_SMAC, r.smac)
  },

  print(d, o, end, out) {
    readAttrs(d, o, end, attrs)
    const parms = attrs[TCA_SKBMOD_PARMS]
    if (!parms) return
    const flags = d.getUint32(parms + PARMS_FLAGS, true)
    const [etype, dmac, smac] = [attrs[TCA_SKBMOD_ETYPE], attrs[TCA_SKBMOD_DMAC], attrs[TCA_SKBMOD_SMAC]]
    out.raw('skbmod ')
    printControl(out, '', controlOf(d, parms), ' ')
    if (etype) out.raw(`set etype 0x${d.getUint16(etype, true).toString(16).toUpperCase()} \n\t `)
    if (dmac) out.raw(`set dmac ${out.mac(d, dmac)} `)
    if (smac) out.raw(`set smac ${out.mac(d, smac)} `)
    if (flags & SKBMOD_F_SWAPMAC) out.raw('swap mac ')
    if (flags & SKBMOD_F_ECN) out.raw('ecn ')
    out.raw(`\n\t index ${genIndex(d, parms)} ref ${genRefcnt(d, parms)} bind ${genBindcnt(d, parms)}`)
    if (out.stats && attrs[TCA_SKBMOD_TM]) printTm(d, attrs[TCA_SKBMOD_TM], out)
    out.raw('\n')
  },

  init(c, act, d, o, end) {
    const { m, u8 } = c.a
    checkAttrs(d, o, end, attrs, POLICY)
    const parms = attrs[TCA_SKBMOD_PARMS]
    const [etype, dmac, smac] = [attrs[TCA_SKBMOD_ETYPE], attrs[TCA_SKBMOD_DMAC], attrs[TCA_SKBMOD_SMAC]]
    const asked = d.getUint32(parms + PARMS_FLAGS, true)
    let flags = (dmac && SKBMOD_F_DMAC) | (smac && SKBMOD_F_SMAC) | (etype && SKBMOD_F_ETYPE)
    if (asked & SKBMOD_F_SWAPMAC) flags = SKBMOD_F_SWAPMAC
    if (asked & SKBMOD_F_ECN) flags = SKBMOD_F_ECN
    if (flags === 0) throw new NetlinkError(EINVAL, 'skbmod: nothing to change')
    checkControl(genAction(d, parms))
    m[(act + FLAGS) >> 2] = flags
    m[(act + ETYPE) >> 2] = etype ? d.getUint16(etype, true) : 0
    for (let i = 0; i < 6; i++) {
      u8[act + MACS + i] = dmac ? d.getUint8(dmac + i) : 0
      u8[act + MACS + 6 + i] = smac ? d.getUint8(smac + i) : 0
    }
    setControl(c, act, genAction(d, parms))
  },

  cleanup: dropControl,

  compile(c, act) {
    const { m } = c.a
    // With drop it drops at once, and every packet is an overlimit of its counter (action_stats.ts).
    if (m[(act + ACT_CONTROL) >> 2] === TC_ACT_SHOT) return
    const w = (act + MACS) >> 2
    const etype = m[(act + ETYPE) >> 2]
    const wire = ((etype & 0xff) << 8) | (etype >> 8)
    c.emit(OP_SKBMOD, m[(act + FLAGS) >> 2], m[w], m[w + 1], m[w + 2], wire, c.counter(act))
  },

  dump(c, act, b) {
    const { m, u8 } = c.a
    const flags = m[(act + FLAGS) >> 2]
    const o = dumpParms(c, act, b, TCA_SKBMOD_PARMS, PARMS_LEN - 20)
    b.d.setUint32(o + PARMS_FLAGS - 20, flags, true)
    if (flags & SKBMOD_F_DMAC) b.attrSlice(TCA_SKBMOD_DMAC, u8, act + MACS, 6)
    if (flags & SKBMOD_F_SMAC) b.attrSlice(TCA_SKBMOD_SMAC, u8, act + MACS + 6, 6)
    if (flags & SKBMOD_F_ETYPE) b.attrU16(TCA_SKBMOD_ETYPE, m[(act + ETYPE) >> 2])
    dumpTm(c, act, b, TCA_SKBMOD_TM)
  },
}
