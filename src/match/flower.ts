// The words of `tc filter … flower` and what `tc filter show` prints of them (flower_parse_opt, flower_print_opt): the
// keys of the catalogue, and what is not a key: classid, hw_tc, skip_hw, skip_sw, verbose, actions.

import { type Args, isPrefix } from '../tc/args.ts'
import { formatClassid, parseClassid } from '../tc/handle_text.ts'
import type { Printer } from '../tc/printer.ts'
import { type Builder, parseAttrs } from '../wire/netlink.ts'
import * as Tca from '../wire/tca_flower.ts'
import {
  TC_H_MAJ_MASK,
  TC_H_MIN_PRIORITY,
  TCA_CLS_FLAGS_IN_HW,
  TCA_CLS_FLAGS_NOT_IN_HW,
  TCA_CLS_FLAGS_SKIP_HW,
  TCA_CLS_FLAGS_SKIP_SW,
  TCA_CLS_FLAGS_VERBOSE,
} from '../wire/tcm.ts'
import { parseKey, printKeys } from './index.ts'
import { illegal } from './masked_text.ts'
import type { FlowerContext } from './match.ts'

const ETH_P_ALL = 3
const TC_QOPT_MAX_QUEUE = 16

/** A context for one command. `protocol` in host order. */
export const flowerContext = (protocol: number, parent = 0): FlowerContext => ({
  protocol,
  parent,
  ethType: protocol,
  vlanEthType: 0,
  numOfVlans: 0,
  ipProto: 0xff,
  mplsOld: false,
  mplsNew: false,
  ipFlags: 0,
  ipFlagsMask: 0,
  encFlags: 0,
  encFlagsMask: 0,
  clsFlags: 0,
})

/** Words that mean something else than a key, in tc's order, in front of every key. */
const OPTIONS = ['classid', 'flowid', 'hw_tc', 'verbose', 'skip_hw', 'skip_sw'] as const

function optionOf(word: string): (typeof OPTIONS)[number] | undefined {
  for (let i = 0; i < OPTIONS.length; i++) if (isPrefix(word, OPTIONS[i])) return OPTIONS[i]
  return undefined
}

/**
 * Reads all words from the current one on and writes the content of TCA_OPTIONS. `action` is called on the word behind
 * `action`; it writes the nest TCA_FLOWER_ACT and leaves `args` behind the actions.
 */
export function parseFlower(args: Args, b: Builder, c: FlowerContext, action: (args: Args, b: Builder) => void): void {
  while (args.more) {
    const word = args.word
    const option = optionOf(word)
    if (option === 'classid' || option === 'flowid') parseClass(args, b)
    else if (option === 'hw_tc') parseHwTc(args, b, c)
    else if (option === 'verbose') setFlag(args, c, TCA_CLS_FLAGS_VERBOSE)
    else if (option === 'skip_hw') setFlag(args, c, TCA_CLS_FLAGS_SKIP_HW)
    else if (option === 'skip_sw') setFlag(args, c, TCA_CLS_FLAGS_SKIP_SW)
    else if (parseKey(args, b, c)) continue
    else if (isPrefix(word, 'action')) {
      args.next()
      action(args, b)
    } else throw args.fail(word === 'help' ? '' : `What is "${word}"?`)
  }
  b.attrU32(Tca.TCA_FLOWER_FLAGS, c.clsFlags)
  if (c.ipFlagsMask) {
    b.attrBe32(Tca.TCA_FLOWER_KEY_FLAGS, c.ipFlags)
    b.attrBe32(Tca.TCA_FLOWER_KEY_FLAGS_MASK, c.ipFlagsMask)
  }
  if (c.encFlagsMask) {
    b.attrBe32(Tca.TCA_FLOWER_KEY_ENC_FLAGS, c.encFlags)
    b.attrBe32(Tca.TCA_FLOWER_KEY_ENC_FLAGS_MASK, c.encFlagsMask)
  }
  if (c.protocol !== ETH_P_ALL) b.attrBe16(Tca.TCA_FLOWER_KEY_ETH_TYPE, c.protocol)
}

function setFlag(args: Args, c: FlowerContext, flag: number): void {
  c.clsFlags |= flag
  args.skip()
}

function parseClass(args: Args, b: Builder): void {
  const id = parseClassid(args.next())
  if (id < 0) throw illegal(args, 'classid')
  b.attrU32(Tca.TCA_FLOWER_CLASSID, id)
  args.skip()
}

function parseHwTc(args: Args, b: Builder, c: FlowerContext): void {
  args.next()
  const tc = args.u32()
  if (tc < 0) throw args.fail('Illegal TC index')
  if (tc >= TC_QOPT_MAX_QUEUE) throw args.fail('TC index exceeds max range')
  b.attrU32(Tca.TCA_FLOWER_CLASSID, ((c.parent & TC_H_MAJ_MASK) | (tc + TC_H_MIN_PRIORITY)) >>> 0)
  args.skip()
}

const attrs = new Int32Array(Tca.TCA_FLOWER_MAX + 1)

/** Prints the options in [o, end) of a filter; `actions` prints the nest TCA_FLOWER_ACT whose payload it gets. */
export function printFlower(
  d: DataView,
  o: number,
  end: number,
  handle: number,
  out: Printer,
  actions: (d: DataView, payload: number, out: Printer) => void,
): void {
  parseAttrs(d, o, end, attrs, Tca.TCA_FLOWER_MAX)
  if (handle) out.num('handle', 'handle 0x%x ', handle)
  if (attrs[Tca.TCA_FLOWER_CLASSID]) {
    const id = d.getUint32(attrs[Tca.TCA_FLOWER_CLASSID], true)
    const tc = (id & 0xffff) - TC_H_MIN_PRIORITY
    if (tc >= 0 && tc < TC_QOPT_MAX_QUEUE) out.num('hw_tc', 'hw_tc %u ', tc)
    else out.str('classid', 'classid %s ', formatClassid(id))
  }
  printKeys(attrs, d, out)
  if (attrs[Tca.TCA_FLOWER_FLAGS]) printFlags(d.getUint32(attrs[Tca.TCA_FLOWER_FLAGS], true), d, out)
  if (attrs[Tca.TCA_FLOWER_ACT]) actions(d, attrs[Tca.TCA_FLOWER_ACT], out)
}

function printFlags(flags: number, d: DataView, out: Printer): void {
  const line = (name: string): void => {
    out.nl()
    out.bool(name, `  ${name}`, true)
  }
  if (flags & TCA_CLS_FLAGS_SKIP_HW) line('skip_hw')
  if (flags & TCA_CLS_FLAGS_SKIP_SW) line('skip_sw')
  if (flags & TCA_CLS_FLAGS_IN_HW) {
    line('in_hw')
    const count = attrs[Tca.TCA_FLOWER_IN_HW_COUNT]
    if (count) out.num('in_hw_count', ' in_hw_count %u', d.getUint32(count, true))
  } else if (flags & TCA_CLS_FLAGS_NOT_IN_HW) line('not_in_hw')
}
