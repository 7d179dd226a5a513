// `… u32 [ match SELECTOR ]… [ link H ] [ ht H ] [ offset … ] [ hashkey … ] [ sample … ] [ classid ID ] [ action … ]`, or
// `… u32 divisor N`: words of 32 bits anywhere in the packet, in a tree of hash tables (f_u32.c).

import type { Builder } from '../wire/netlink.ts'
import * as Tca from '../wire/tca_u32.ts'
import { TCA_CLS_FLAGS_SKIP_HW, TCA_CLS_FLAGS_SKIP_SW, TCA_OPTIONS } from '../wire/tcm.ts'
import { parseActionList } from './action_list.ts'
import type { Args } from './args.ts'
import type { Classifier } from './classifier.ts'
import { parseClassid } from './handle_text.ts'
import { refusedBy } from './language_error.ts'
import { parseUint } from './number_text.ts'
import { printU32 } from './u32_print.ts'
import {
  hashFold,
  type Mark,
  parseHashkey,
  parseOffset,
  parseSelector,
  type Selector,
  selector,
  selectorBytes,
} from './u32_selector.ts'

const TCM_HANDLE = 24
const BOTH = TCA_CLS_FLAGS_SKIP_HW | TCA_CLS_FLAGS_SKIP_SW
const USAGE = `Usage: ... u32 [ match SELECTOR ... ] [ link HTID ] [ classid CLASSID ]
               [ action ACTION_SPEC ] [ offset OFFSET_SPEC ]
               [ ht HTID ] [ hashkey HASHKEY_SPEC ]
               [ sample SAMPLE ] [skip_hw | skip_sw]
or         u32 divisor DIVISOR

Where: SELECTOR := SAMPLE SAMPLE ...
       SAMPLE := { ip | ip6 | udp | tcp | icmp | u{32|16|8} | mark }
                 SAMPLE_ARGS [ divisor DIVISOR ]
       FILTERID := X:Y:Z

NOTE: CLASSID is parsed at hexadecimal input.`

/** `htid:hash:node` or 0x…, -1 when it is none (get_u32_handle). */
function parseHandle(word: string): number {
  if (!word.includes(':')) return word.startsWith('0x') ? parseUint(word, 16, 0xffffffff) : -1
  const [htid, hash = '', node = '', ...rest] = word.split(':')
  const part = (text: string, max: number): number => (text === '' ? 0 : parseUint(text, 16, max))
  const [h, b, n] = [part(htid, 0xfff), part(hash, 0xff), part(node, 0xfff)]
  if (h < 0 || b < 0 || n < 0 || rest.length > 0) return -1
  return ((h << 20) | (b << 12) | n) >>> 0
}

/** A power of two up to 256, -1 when it is none. */
function parseDivisor(args: Args): number {
  const n = args.u32()
  return n <= 0 || n > 0x100 || (n & (n - 1)) !== 0 ? -1 : n
}

export const u32: Classifier = {
  parse(args, b, handle) {
    let tcm = 0
    if (handle) {
      tcm = parseHandle(handle)
      if (tcm < 0) throw args.fail('Illegal filter ID', 1, handle)
      b.d.setUint32(TCM_HANDLE, tcm, true)
    }
    if (!args.more) return
    const options = b.nest(TCA_OPTIONS)
    const sel: Selector = selector()
    const mark: Mark = { val: 0, mask: 0 }
    let selected = false
    let acts = false
    let htid = 0
    let sampled = false
    let order = 0
    let flags = 0
    while (args.more) {
      if (args.matches('match')) {
        args.next()
        const isMark = args.matches('mark')
        if (!parseSelector(args, sel, mark)) throw args.fail('Illegal "match"')
        if (isMark) putMark(b, mark)
        selected = true
        continue
      }
      if (args.matches('offset')) {
        args.next()
        if (!parseOffset(args, sel)) throw args.fail('Illegal "offset"')
        continue
      }
      if (args.matches('hashkey')) {
        args.next()
        if (!parseHashkey(args, sel)) throw args.fail('Illegal "hashkey"')
        continue
      }
      if (args.matches('classid') || args.is('flowid')) {
        const id = parseClassid(args.next())
        if (id < 0) throw args.fail('Illegal "classid"')
        b.attrU32(Tca.TCA_U32_CLASSID, id)
        sel.flags |= Tca.TC_U32_TERMINAL
      } else if (args.matches('divisor')) {
        args.next()
        const n = parseDivisor(args)
        if (n < 0) throw args.fail('Illegal "divisor"')
        b.attrU32(Tca.TCA_U32_DIVISOR, n)
      } else if (args.matches('order')) {
        args.next()
        order = args.u32()
        if (order < 0) throw args.fail('Illegal "order"')
      } else if (args.is('link')) {
        const link = parseHandle(args.next())
        if (link < 0) throw args.fail('Illegal "link"')
        if (link !== 0 && Tca.u32Node(link) !== 0) throw args.fail('"link" must be a hash table.')
        b.attrU32(Tca.TCA_U32_LINK, link)
      } else if (args.is('ht')) {
        const ht = parseHandle(args.next())
        if (ht < 0) throw args.fail('Illegal "ht"')
        if (handle && Tca.u32Node(ht) !== 0) throw args.fail('"ht" must be a hash table.')
        htid = sampled ? (htid & 0xff000) | (ht & 0xfff00000) : ht & 0xfffff000
      } else if (args.is('sample')) {
        args.next()
        htid = (parseSample(args, mark) << 12) | (htid & 0xfff00000)
        sampled = true
        continue
      } else if (args.is('indev')) {
        args.skip()
        if (!args.more) throw args.fail('Illegal indev')
        b.attrStr(Tca.TCA_U32_INDEV, args.word.slice(0, 16))
      } else if (args.matches('action')) {
        args.next()
        try {
          parseActionList(args, b, Tca.TCA_U32_ACT)
        } catch (e) {
          throw refusedBy(e, 'Illegal "action"')
        }
        acts = true
        continue
      } else if (args.matches('police')) {
        throw args.fail('"police" is not supported: use "action police"')
      } else if (args.is('skip_hw') || args.is('skip_sw')) {
        flags |= args.is('skip_hw') ? TCA_CLS_FLAGS_SKIP_HW : TCA_CLS_FLAGS_SKIP_SW
      } else throw args.fail(args.is('help') ? USAGE : `What is "${args.word}"?\n${USAGE}`)
      args.skip()
    }
    if (acts) sel.flags |= Tca.TC_U32_TERMINAL
    if (order !== 0) {
      if (Tca.u32Node(tcm) !== 0 && order !== Tca.u32Node(tcm)) throw args.fail('"order" contradicts "handle"')
      b.d.setUint32(TCM_HANDLE, (tcm | order) >>> 0, true)
    }
    if (htid !== 0) b.attrU32(Tca.TCA_U32_HASH, htid)
    if (selected) b.attr(Tca.TCA_U32_SEL, selectorBytes(sel))
    if (flags === BOTH) throw args.fail('skip_hw and skip_sw are mutually exclusive')
    if (flags !== 0) b.attrU32(Tca.TCA_U32_FLAGS, flags)
    b.nestEnd(options)
  },

  print: printU32,
}

function putMark(b: Builder, mark: Mark): void {
  const o = b.attrRoom(Tca.TCA_U32_MARK, Tca.MARK_SIZE)
  b.d.setUint32(o, mark.val, true)
  b.d.setUint32(o + 4, mark.mask, true)
  b.d.setUint32(o + 8, 0, true)
}

/** `sample SELECTOR [ divisor N ]`: the bucket that such packets fall into. */
function parseSample(args: Args, mark: Mark): number {
  const sample = selector()
  if (!parseSelector(args, sample, mark)) throw args.fail('Illegal "sample"')
  if (sample.keys.length !== 1) throw args.fail('"sample" must contain exactly ONE key.')
  let divisor = 0x100
  if (args.is('divisor')) {
    args.next()
    divisor = parseDivisor(args)
    if (divisor < 0) throw args.fail('Illegal sample "divisor"')
    args.next()
  }
  return hashFold(sample.keys[0]) % divisor
}
