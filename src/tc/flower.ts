// `… flower [ KEYS ] [ action … ]`: the frame around the words of match/flower.ts (f_flower.c): the handle, TCA_OPTIONS,
// and the list of actions.

import { flowerContext, parseFlower, printFlower } from '../match/flower.ts'
import { attrLen, type Builder } from '../wire/netlink.ts'
import { TCA_FLOWER_ACT } from '../wire/tca_flower.ts'
import { infoProtocol, TCA_OPTIONS, tcmInfo, tcmParent } from '../wire/tcm.ts'
import { parseActionList, printActionList } from './action_list.ts'
import type { Args } from './args.ts'
import type { Classifier } from './classifier.ts'
import { refusedBy } from './language_error.ts'
import type { Printer } from './printer.ts'

const TCM_HANDLE = 24

function parseActions(args: Args, b: Builder): void {
  try {
    parseActionList(args, b, TCA_FLOWER_ACT)
  } catch (e) {
    throw refusedBy(e, 'Illegal "action"')
  }
}

const printActions = (d: DataView, o: number, out: Printer): void => printActionList(d, o, out, 0, true)

export const flower: Classifier = {
  parse(args, b, handle) {
    if (handle) {
      const h = args.number(handle, 0, 0xffffffff)
      if (h < 0) throw args.fail('Illegal "handle"', 1, handle)
      b.d.setUint32(TCM_HANDLE, h, true)
    }
    const options = b.nest(TCA_OPTIONS)
    parseFlower(args, b, flowerContext(infoProtocol(tcmInfo(b.d)), tcmParent(b.d)), parseActions)
    b.nestEnd(options)
  },

  print(d, o, handle, _protocol, out) {
    printFlower(d, o, o + attrLen(d, o), handle, out, printActions)
  },
}
