// `… matchall [ classid ID ] [ skip_sw | skip_hw ] [ action … ]` (f_matchall.c): every packet of the filter's protocol.

import { attrLen, getU64, parseAttrs } from '../wire/netlink.ts'
import {
  TCA_MATCHALL_ACT,
  TCA_MATCHALL_CLASSID,
  TCA_MATCHALL_FLAGS,
  TCA_MATCHALL_MAX,
  TCA_MATCHALL_PCNT,
} from '../wire/tca_matchall.ts'
import {
  TCA_CLS_FLAGS_IN_HW,
  TCA_CLS_FLAGS_NOT_IN_HW,
  TCA_CLS_FLAGS_SKIP_HW,
  TCA_CLS_FLAGS_SKIP_SW,
  TCA_OPTIONS,
} from '../wire/tcm.ts'
import { parseActionList, printActionList } from './action_list.ts'
import type { Classifier } from './classifier.ts'
import { formatClassid, parseClassid } from './handle_text.ts'
import { refusedBy } from './language_error.ts'
import { parseUint } from './number_text.ts'

const TCM_HANDLE = 24
const USAGE = 'Usage: ... matchall [skip_sw | skip_hw] [ action ACTION-SPEC ] [ classid CLASSID ]'
const BOTH = TCA_CLS_FLAGS_SKIP_HW | TCA_CLS_FLAGS_SKIP_SW

// strtol takes what digits there are: "0x1x" is 1, "abc" is 0.
function leadingNumber(word: string): number {
  for (let end = word.length; end > 0; end--) {
    const n = parseUint(word, 0, 0xffffffff, 0, end)
    if (n >= 0) return n
  }
  return 0
}

const attrs = new Int32Array(TCA_MATCHALL_MAX + 1)

export const matchall: Classifier = {
  parse(args, b, handle) {
    if (handle) b.d.setUint32(TCM_HANDLE, leadingNumber(handle), true)
    if (!args.more) return
    const options = b.nest(TCA_OPTIONS)
    let flags = 0
    while (args.more) {
      if (args.matches('classid') || args.is('flowid')) {
        const id = parseClassid(args.next())
        if (id < 0) throw args.fail('Illegal "classid"')
        b.attrU32(TCA_MATCHALL_CLASSID, id)
        args.skip()
      } else if (args.matches('action')) {
        args.next()
        try {
          parseActionList(args, b, TCA_MATCHALL_ACT)
        } catch (e) {
          throw refusedBy(e, 'Illegal "action"')
        }
      } else if (args.is('skip_hw') || args.is('skip_sw')) {
        flags |= args.is('skip_hw') ? TCA_CLS_FLAGS_SKIP_HW : TCA_CLS_FLAGS_SKIP_SW
        args.next()
      } else throw args.fail(args.is('help') ? USAGE : `What is "${args.word}"?\n${USAGE}`)
    }
    if (flags === BOTH) throw args.fail('skip_hw and skip_sw are mutually exclusive')
    if (flags) b.attrU32(TCA_MATCHALL_FLAGS, flags)
    b.nestEnd(options)
  },

  print(d, o, handle, _protocol, out) {
    parseAttrs(d, o, o + attrLen(d, o), attrs, TCA_MATCHALL_MAX)
    const act = attrs[TCA_MATCHALL_ACT]
    if (handle) out.num('handle', 'handle 0x%x ', handle)
    if (attrs[TCA_MATCHALL_CLASSID])
      out.str('flowid', 'flowid %s ', formatClassid(d.getUint32(attrs[TCA_MATCHALL_CLASSID], true)))
    if (attrs[TCA_MATCHALL_FLAGS]) {
      const flags = d.getUint32(attrs[TCA_MATCHALL_FLAGS], true)
      if (flags & TCA_CLS_FLAGS_SKIP_HW) out.bool('skip_hw', '\n  skip_hw', true)
      if (flags & TCA_CLS_FLAGS_SKIP_SW) out.bool('skip_sw', '\n  skip_sw', true)
      if (flags & TCA_CLS_FLAGS_IN_HW) out.bool('in_hw', '\n  in_hw', true)
      else if (flags & TCA_CLS_FLAGS_NOT_IN_HW) out.bool('not_in_hw', '\n  not_in_hw', true)
    }
    if (out.stats && attrs[TCA_MATCHALL_PCNT])
      out.num('rule_hit', ' (rule hit %llu)', getU64(d, attrs[TCA_MATCHALL_PCNT]))
    if (act) printActionList(d, act, out, 0, true)
  },
}
