// simple: writes its text to the kernel's log for each packet, and nothing else (m_simple.c, act_simple.c). Packets go
// by unchanged; here nobody keeps that log. tc 6.1 prints the action without regard to JSON.
//
// tc sends 32 bytes from where the text stands on its command line, so that the words behind it go along.

import { ACT_PARAMS, TC_ACT_PIPE } from '../memory/layout/action.ts'
import type { Args } from '../tc/args.ts'
import { printTm } from '../tc/stats_text.ts'
import { attrString } from '../wire/netlink.ts'
import { EINVAL, NetlinkError } from '../wire/netlink_error.ts'
import {
  genAction,
  genBindcnt,
  genIndex,
  genRefcnt,
  TC_GEN_LEN,
  TCA_DEF_DATA,
  TCA_DEF_PARMS,
  TCA_DEF_TM,
  TCA_ID_SIMP,
} from '../wire/tca_action.ts'
import type { ActionKind } from './action.ts'
import { checkControl, controlOr, dropControl, readIndexOr, setControl } from './control.ts'
import { checkAttrs, dumpParms, dumpTm, policy, putParms, readAttrs } from './parms.ts'

/** Params: the text, closed by a zero. */
const TEXT = ACT_PARAMS
const TEXT_MAX = 32

const attrs = new Int32Array(TCA_DEF_DATA + 2)
const POLICY = policy(TCA_DEF_DATA + 1, { [TCA_DEF_TM]: 0, [TCA_DEF_PARMS]: TC_GEN_LEN, [TCA_DEF_DATA]: 0 })
const encoder = new TextEncoder()

function wordsFrom(args: Args, at: number): Uint8Array {
  const bytes = new Uint8Array(TEXT_MAX)
  const words = encoder.encode(args.words.slice(at).join('\0'))
  bytes.set(words.subarray(0, TEXT_MAX))
  return bytes
}

export const simple: ActionKind = {
  name: 'simple',
  id: TCA_ID_SIMP,
  parms: TCA_DEF_PARMS,
  parmsLen: TC_GEN_LEN,

  parse(args, b) {
    let at = -1
    while (args.more) {
      if (args.matches('simple')) args.next()
      else if (args.matches('sdata')) {
        args.next()
        at = args.at
        args.skip()
      } else break
    }
    const control = controlOr(args, TC_ACT_PIPE)
    const indexed = args.matches('index')
    const index = readIndexOr(args, (word) => args.fail(`simple: Illegal "index" (${word})`))
    if (at < 0 && !indexed) throw args.fail('simple needs sdata or index')
    if (at >= 0 && args.words[at].length >= TEXT_MAX)
      throw args.fail(`simple: Illegal string len ${args.words[at].length} <${args.words[at]}>`)
    putParms(b, TCA_DEF_PARMS, index, control)
    if (at >= 0) b.attr(TCA_DEF_DATA, wordsFrom(args, at))
  },

  print(d, o, end, out) {
    readAttrs(d, o, end, attrs)
    const parms = attrs[TCA_DEF_PARMS]
    if (!parms || !attrs[TCA_DEF_DATA]) return
    out.raw(`Simple <${attrString(d, attrs[TCA_DEF_DATA])}>\n`)
    out.raw(`\t index ${genIndex(d, parms)} ref ${genRefcnt(d, parms)} bind ${genBindcnt(d, parms)}`)
    if (out.stats && attrs[TCA_DEF_TM]) printTm(d, attrs[TCA_DEF_TM], out)
    out.nl()
  },

  init(c, act, d, o, end) {
    checkAttrs(d, o, end, attrs, POLICY)
    const parms = attrs[TCA_DEF_PARMS]
    if (!attrs[TCA_DEF_DATA]) throw new NetlinkError(EINVAL, 'simple: the text is missing')
    checkControl(genAction(d, parms))
    const text = encoder.encode(attrString(d, attrs[TCA_DEF_DATA]))
    for (let i = 0; i < TEXT_MAX; i++) c.a.u8[act + TEXT + i] = i < TEXT_MAX - 1 && i < text.length ? text[i] : 0
    setControl(c, act, genAction(d, parms))
  },

  cleanup: dropControl,

  compile() {},

  dump(c, act, b) {
    dumpParms(c, act, b, TCA_DEF_PARMS)
    let n = 0
    while (c.a.u8[act + TEXT + n] !== 0) n++
    b.attrSlice(TCA_DEF_DATA, c.a.u8, act + TEXT, n + 1)
    dumpTm(c, act, b, TCA_DEF_TM)
  },
}
