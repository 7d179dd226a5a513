// `… handle MARK[/MASK] fw [ classid ID ] [ indev DEV ] [ action … ]`: packets with that mark (f_fw.c). tc 6.1 prints the
// handle without looking whether JSON was asked for.

import { attrLen, attrString, parseAttrs } from '../wire/netlink.ts'
import * as Tca from '../wire/tca_fw.ts'
import { TCA_OPTIONS } from '../wire/tcm.ts'
import { parseActionList, printActionList } from './action_list.ts'
import type { Classifier } from './classifier.ts'
import { formatClassid, parseClassid } from './handle_text.ts'
import { refusedBy } from './language_error.ts'

const TCM_HANDLE = 24
const EVERY_BIT = 0xffffffff
const USAGE = `Usage: ... fw [ classid CLASSID ] [ indev DEV ] [ action ACTION_SPEC ]
	CLASSID := Push matching packets to the class identified by CLASSID with format X:Y
		CLASSID is parsed as hexadecimal input.
	DEV := specify device for incoming device classification.
	ACTION_SPEC := Apply an action on matching packets.
	NOTE: handle is represented as HANDLE[/FWMASK].
		FWMASK is 0xffffffff by default.`

const attrs = new Int32Array(Tca.TCA_FW_MAX + 1)

export const fw: Classifier = {
  parse(args, b, handle) {
    let mask = -1
    if (handle) {
      const slash = handle.indexOf('/')
      const mark = args.number(slash < 0 ? handle : handle.slice(0, slash), 0, EVERY_BIT)
      if (mark < 0) throw args.fail('Illegal "handle"', 1, handle)
      b.d.setUint32(TCM_HANDLE, mark, true)
      if (slash >= 0) {
        mask = args.number(handle.slice(slash + 1), 0, EVERY_BIT)
        if (mask < 0) throw args.fail('Illegal "handle" mask', 1, handle)
      }
    }
    if (!args.more) return
    const options = b.nest(TCA_OPTIONS)
    if (mask >= 0) b.attrU32(Tca.TCA_FW_MASK, mask)
    while (args.more) {
      if (args.matches('classid') || args.matches('flowid')) {
        const id = parseClassid(args.next())
        if (id < 0) throw args.fail('Illegal "classid"')
        b.attrU32(Tca.TCA_FW_CLASSID, id)
      } else if (args.matches('police')) {
        throw args.fail('"police" is not supported: use "action police"')
      } else if (args.matches('action')) {
        args.next()
        try {
          parseActionList(args, b, Tca.TCA_FW_ACT)
        } catch (e) {
          throw refusedBy(e, 'Illegal fw "action"')
        }
        continue
      } else if (args.is('indev')) {
        args.skip()
        if (!args.more) throw args.fail('Illegal indev')
        b.attrStr(Tca.TCA_FW_INDEV, args.word.slice(0, 16))
      } else throw args.fail(args.is('help') ? USAGE : `What is "${args.word}"?\n${USAGE}`)
      args.skip()
    }
    b.nestEnd(options)
  },

  print(d, o, handle, _protocol, out) {
    parseAttrs(d, o, o + attrLen(d, o), attrs, Tca.TCA_FW_MAX)
    const mask = attrs[Tca.TCA_FW_MASK] ? d.getUint32(attrs[Tca.TCA_FW_MASK], true) : EVERY_BIT
    if (handle || attrs[Tca.TCA_FW_MASK]) {
      out.raw(`handle 0x${handle.toString(16)}${mask === EVERY_BIT ? '' : `/0x${mask.toString(16)}`} `)
    }
    if (attrs[Tca.TCA_FW_CLASSID]) out.raw(`classid ${formatClassid(d.getUint32(attrs[Tca.TCA_FW_CLASSID], true))} `)
    if (attrs[Tca.TCA_FW_INDEV]) out.raw(`input dev ${attrString(d, attrs[Tca.TCA_FW_INDEV])} `)
    if (attrs[Tca.TCA_FW_ACT]) {
      out.raw('\n')
      printActionList(d, attrs[Tca.TCA_FW_ACT], out, 0, true)
    }
  },
}
