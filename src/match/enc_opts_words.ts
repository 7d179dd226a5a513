// The words of geneve_opts, vxlan_opts, erspan_opts and gtp_opts: `value[/mask]`, for geneve a list of them. A mask that
// is not given is all ones, spelled out in the message.

import type { Args } from '../tc/args.ts'
import { type Builder, NLA_F_NESTED } from '../wire/netlink.ts'
import {
  TCA_FLOWER_KEY_ENC_OPT_ERSPAN_HWID,
  TCA_FLOWER_KEY_ENC_OPT_ERSPAN_INDEX,
  TCA_FLOWER_KEY_ENC_OPT_GENEVE_CLASS,
  TCA_FLOWER_KEY_ENC_OPT_GENEVE_DATA,
  TCA_FLOWER_KEY_ENC_OPT_GENEVE_TYPE,
  TCA_FLOWER_KEY_ENC_OPT_GTP_PDU_TYPE,
  TCA_FLOWER_KEY_ENC_OPT_GTP_QFI,
  TCA_FLOWER_KEY_ENC_OPT_VXLAN_GBP,
  TCA_FLOWER_KEY_ENC_OPTS,
  TCA_FLOWER_KEY_ENC_OPTS_ERSPAN,
  TCA_FLOWER_KEY_ENC_OPTS_GENEVE,
  TCA_FLOWER_KEY_ENC_OPTS_GTP,
  TCA_FLOWER_KEY_ENC_OPTS_MASK,
  TCA_FLOWER_KEY_ENC_OPTS_VXLAN,
} from '../wire/tca_flower.ts'
import { illegal } from './masked_text.ts'

/** What a part says beside `Illegal "…"`. */
class Bad extends Error {}

function number(args: Args, text: string, base: number, max: number): number {
  const v = args.number(text, base, max)
  if (v < 0) throw new Bad()
  return v
}

function geneve(args: Args, b: Builder, text: string): void {
  for (const option of text.split(',')) {
    const nest = b.nest(TCA_FLOWER_KEY_ENC_OPTS_GENEVE)
    const parts = option.split(':')
    if (parts.length > 3) throw new Bad('Unknown "geneve_opts" type')
    const [cls, type, data] = parts
    if (cls) b.attrBe16(TCA_FLOWER_KEY_ENC_OPT_GENEVE_CLASS, number(args, cls, 16, 0xffff))
    if (type) b.attrU8(TCA_FLOWER_KEY_ENC_OPT_GENEVE_TYPE, number(args, type, 16, 0xff))
    if (data) {
      const bytes = args.hexBytes(data.slice(0, data.length & ~1))
      if (!bytes) throw new Bad()
      b.attr(TCA_FLOWER_KEY_ENC_OPT_GENEVE_DATA, bytes)
    }
    b.nestEnd(nest)
  }
}

function vxlan(args: Args, b: Builder, text: string): void {
  const nest = b.nest(TCA_FLOWER_KEY_ENC_OPTS_VXLAN | NLA_F_NESTED)
  b.attrU32(TCA_FLOWER_KEY_ENC_OPT_VXLAN_GBP, number(args, text, 0, 0xffffffff))
  b.nestEnd(nest)
}

function erspan(args: Args, b: Builder, text: string): void {
  const nest = b.nest(TCA_FLOWER_KEY_ENC_OPTS_ERSPAN | NLA_F_NESTED)
  for (const [i, part] of text.split(':').entries()) {
    const type = i + 1
    if (type > TCA_FLOWER_KEY_ENC_OPT_ERSPAN_HWID) throw new Bad('Unknown "geneve_opts" type')
    if (part === '') continue
    if (type === TCA_FLOWER_KEY_ENC_OPT_ERSPAN_INDEX) b.attrBe32(type, number(args, part, 0, 0xffffffff))
    else b.attrU8(type, number(args, part, 0, 0xff))
  }
  b.nestEnd(nest)
}

function gtp(args: Args, b: Builder, text: string): void {
  const nest = b.nest(TCA_FLOWER_KEY_ENC_OPTS_GTP | NLA_F_NESTED)
  const [pdu, qfi] = text.split(':')
  if (qfi === undefined) throw new Bad()
  if (pdu) b.attrU8(TCA_FLOWER_KEY_ENC_OPT_GTP_PDU_TYPE, number(args, pdu, 16, 0xff))
  if (qfi) b.attrU8(TCA_FLOWER_KEY_ENC_OPT_GTP_QFI, number(args, qfi, 16, 0xff))
  b.nestEnd(nest)
}

// `class:type:data[/mask]` with all three parts; the mask of one without is as long as its data.
function splitGeneve(word: string): [string, string] {
  const keys: string[] = []
  const masks: string[] = []
  for (const option of word.split(',')) {
    const slash = option.indexOf('/')
    const key = slash < 0 ? option : option.slice(0, slash)
    const parts = key.split(':')
    if (parts.length !== 3 || parts.includes('')) throw new Bad()
    keys.push(key)
    masks.push(slash < 0 ? `ffff:ff:${'f'.repeat(parts[2].length)}` : option.slice(slash + 1))
  }
  return [keys.join(','), masks.join(',')]
}

function splitMask(word: string, exact: (key: string) => string): [string, string] {
  const slash = word.indexOf('/')
  return slash < 0 ? [word, exact(word)] : [word.slice(0, slash), word.slice(slash + 1)]
}

function exactErspan(key: string): string {
  const colon = key.indexOf(':')
  if (colon < 0) throw new Bad()
  return `${key.slice(0, colon)}:0xffffffff:0xff:0xff`
}

interface Words {
  split(word: string): [key: string, mask: string]
  put(args: Args, b: Builder, text: string): void
  /** What the outer nests are flagged with. */
  readonly flag: number
}
const WORDS: Readonly<Record<string, Words>> = {
  geneve_opts: { split: splitGeneve, put: geneve, flag: 0 },
  vxlan_opts: { split: (w) => splitMask(w, () => '0xffffffff'), put: vxlan, flag: NLA_F_NESTED },
  erspan_opts: { split: (w) => splitMask(w, exactErspan), put: erspan, flag: NLA_F_NESTED },
  gtp_opts: { split: (w) => splitMask(w, () => 'ff:ff'), put: gtp, flag: NLA_F_NESTED },
}

/** Reads one of the keywords and its value. */
export function parseEncOpts(keyword: string, args: Args, b: Builder): void {
  const word = args.next()
  const { split, put, flag } = WORDS[keyword]
  try {
    const [key, mask] = split(word)
    const value = b.nest(TCA_FLOWER_KEY_ENC_OPTS | flag)
    put(args, b, key)
    b.nestEnd(value)
    const bits = b.nest(TCA_FLOWER_KEY_ENC_OPTS_MASK | flag)
    put(args, b, mask)
    b.nestEnd(bits)
  } catch (e) {
    if (e instanceof Bad) throw illegal(args, keyword, e.message)
    throw e
  }
  args.skip()
}
