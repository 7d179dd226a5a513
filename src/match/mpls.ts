// mpls_label, mpls_tc, mpls_bos, mpls_ttl of the top label stack entry; `mpls lse depth N …` of any of the first seven.
//
// An entry is one be32 of the key: label 20 bits, tc 3, bos 1, ttl 8 (RFC 3032). A rule that names an entry asks that
// the packet has it (KEY_MPLS_USED), even when it looks at no field of it.

import { KEY_MPLS_LSE, KEY_MPLS_USED } from '../memory/layout/flow_key.ts'
import type { Args } from '../tc/args.ts'
import {
  attrLen,
  attrRawType,
  type Builder,
  forEachAttr,
  NLA_F_NESTED,
  NLA_HDRLEN,
  parseAttrs,
} from '../wire/netlink.ts'
import { EBADMSG, EINVAL, ERANGE, NetlinkError, POLICY_TEXT } from '../wire/netlink_error.ts'
import {
  TCA_FLOWER_KEY_MPLS_BOS,
  TCA_FLOWER_KEY_MPLS_LABEL,
  TCA_FLOWER_KEY_MPLS_OPT_LSE_BOS,
  TCA_FLOWER_KEY_MPLS_OPT_LSE_DEPTH,
  TCA_FLOWER_KEY_MPLS_OPT_LSE_LABEL,
  TCA_FLOWER_KEY_MPLS_OPT_LSE_TC,
  TCA_FLOWER_KEY_MPLS_OPT_LSE_TTL,
  TCA_FLOWER_KEY_MPLS_OPTS,
  TCA_FLOWER_KEY_MPLS_OPTS_LSE,
  TCA_FLOWER_KEY_MPLS_TC,
  TCA_FLOWER_KEY_MPLS_TTL,
} from '../wire/tca_flower.ts'
import { illegal, printU8 } from './masked_text.ts'
import { type FlowerContext, keyProto, type MatchGroup } from './match.ts'

const DEPTH_MAX = 7
const LABEL_MAX = 0xfffff

const isMpls = (ethType: number): boolean => ethType === 0x8847 || ethType === 0x8848

// ---- words

interface Field {
  readonly word: string
  readonly type: number
  readonly lseType: number
  readonly max: number
}
const FIELDS: readonly Field[] = [
  { word: 'label', type: TCA_FLOWER_KEY_MPLS_LABEL, lseType: TCA_FLOWER_KEY_MPLS_OPT_LSE_LABEL, max: LABEL_MAX },
  { word: 'tc', type: TCA_FLOWER_KEY_MPLS_TC, lseType: TCA_FLOWER_KEY_MPLS_OPT_LSE_TC, max: 7 },
  { word: 'bos', type: TCA_FLOWER_KEY_MPLS_BOS, lseType: TCA_FLOWER_KEY_MPLS_OPT_LSE_BOS, max: 1 },
  { word: 'ttl', type: TCA_FLOWER_KEY_MPLS_TTL, lseType: TCA_FLOWER_KEY_MPLS_OPT_LSE_TTL, max: 255 },
]

function putField(b: Builder, f: Field, type: number, v: number): void {
  if (f.max > 255) b.attrU32(type, v)
  else b.attrU8(type, v)
}

function parseLse(args: Args, b: Builder): void {
  const lse = b.nest(TCA_FLOWER_KEY_MPLS_OPTS_LSE | NLA_F_NESTED)
  let depth = 0
  for (; args.more; args.skip()) {
    const field = FIELDS.find((f) => args.matches(f.word))
    if (args.matches('depth')) {
      args.next()
      depth = args.u8(10)
      if (depth < 1) throw illegal(args, 'depth')
      b.attrU8(TCA_FLOWER_KEY_MPLS_OPT_LSE_DEPTH, depth)
    } else if (field) {
      args.next()
      const v = args.number(args.word, 10, field.max)
      if (v < 0) throw illegal(args, field.word)
      putField(b, field, field.lseType, v)
    } else break
  }
  if (depth === 0) throw args.missarg('depth')
  b.nestEnd(lse)
}

function parseStack(args: Args, b: Builder, c: FlowerContext): void {
  if (c.mplsOld) throw args.fail(`Can't set "mpls" if "mpls_label", "mpls_tc", "mpls_bos" or "mpls_ttl" is set`)
  c.mplsNew = true
  const opts = b.nest(TCA_FLOWER_KEY_MPLS_OPTS | NLA_F_NESTED)
  while (args.matches('lse')) {
    args.next()
    parseLse(args, b)
  }
  b.nestEnd(opts)
}

// ---- key

const get32 = (bytes: Uint8Array, o: number): number =>
  ((bytes[o] << 24) | (bytes[o + 1] << 16) | (bytes[o + 2] << 8) | bytes[o + 3]) >>> 0

function or32(bytes: Uint8Array, o: number, v: number): void {
  bytes[o] |= v >>> 24
  bytes[o + 1] |= v >>> 16
  bytes[o + 2] |= v >>> 8
  bytes[o + 3] |= v
}

/** Sets the given fields of entry `i` (payload offsets, 0 for none). */
function setLse(
  d: DataView,
  key: Uint8Array,
  mask: Uint8Array,
  i: number,
  label: number,
  tc: number,
  bos: number,
  ttl: number,
): void {
  let value = 0
  let bits = 0
  const refuse = (at: number, why: string): void => {
    throw new NetlinkError(EINVAL, why, at)
  }
  if (ttl) {
    value |= d.getUint8(ttl)
    bits |= 0xff
  }
  if (bos) {
    if (d.getUint8(bos) > 1) refuse(bos, 'Bottom Of Stack (BOS) must be 0 or 1')
    value |= d.getUint8(bos) << 8
    bits |= 0x100
  }
  if (tc) {
    if (d.getUint8(tc) > 7) refuse(tc, 'Traffic Class (TC) must be between 0 and 7')
    value |= d.getUint8(tc) << 9
    bits |= 0xe00
  }
  if (label) {
    const v = d.getUint32(label, true)
    if (v > LABEL_MAX) refuse(label, 'Label must be between 0 and 1048575')
    value |= v << 12
    bits |= 0xfffff000
  }
  const o = KEY_MPLS_LSE + 4 * i
  or32(key, o, value)
  or32(mask, o, bits)
  key[KEY_MPLS_USED] |= 1 << i
  mask[KEY_MPLS_USED] |= 1 << i
}

const lseAttrs = new Int32Array(TCA_FLOWER_KEY_MPLS_OPT_LSE_LABEL + 1)

function setStack(d: DataView, opts: number, key: Uint8Array, mask: Uint8Array): void {
  if (!(attrRawType(d, opts) & NLA_F_NESTED)) throw new NetlinkError(EINVAL, 'NLA_F_NESTED is missing', opts)
  forEachAttr(d, opts, opts + attrLen(d, opts), (type, o, len) => {
    if (type !== TCA_FLOWER_KEY_MPLS_OPTS_LSE) throw new NetlinkError(EINVAL, 'Invalid MPLS option type', o)
    forEachAttr(d, o, o + len, (t, p, n) => {
      if (t > TCA_FLOWER_KEY_MPLS_OPT_LSE_LABEL) throw new NetlinkError(EINVAL, 'Unknown attribute type', p)
      if (n < (t === TCA_FLOWER_KEY_MPLS_OPT_LSE_LABEL ? 4 : 1))
        throw new NetlinkError(ERANGE, POLICY_TEXT, p - NLA_HDRLEN)
    })
    parseAttrs(d, o, o + len, lseAttrs, TCA_FLOWER_KEY_MPLS_OPT_LSE_LABEL)
    const depth = lseAttrs[TCA_FLOWER_KEY_MPLS_OPT_LSE_DEPTH]
    if (!depth) throw new NetlinkError(EINVAL, 'Missing MPLS option "depth"')
    const i = d.getUint8(depth) - 1
    if (i < 0 || i >= DEPTH_MAX) throw new NetlinkError(EINVAL, 'Invalid MPLS depth', depth)
    setLse(
      d,
      key,
      mask,
      i,
      lseAttrs[TCA_FLOWER_KEY_MPLS_OPT_LSE_LABEL],
      lseAttrs[TCA_FLOWER_KEY_MPLS_OPT_LSE_TC],
      lseAttrs[TCA_FLOWER_KEY_MPLS_OPT_LSE_BOS],
      lseAttrs[TCA_FLOWER_KEY_MPLS_OPT_LSE_TTL],
    )
  })
}

function putStack(key: Uint8Array, mask: Uint8Array, b: Builder): void {
  const opts = b.nest(TCA_FLOWER_KEY_MPLS_OPTS | NLA_F_NESTED)
  for (let i = 0; i < DEPTH_MAX; i++) {
    if (!(mask[KEY_MPLS_USED] & (1 << i))) continue
    const lse = b.nest(TCA_FLOWER_KEY_MPLS_OPTS_LSE | NLA_F_NESTED)
    const value = get32(key, KEY_MPLS_LSE + 4 * i)
    const bits = get32(mask, KEY_MPLS_LSE + 4 * i)
    b.attrU8(TCA_FLOWER_KEY_MPLS_OPT_LSE_DEPTH, i + 1)
    if (bits & 0xff) b.attrU8(TCA_FLOWER_KEY_MPLS_OPT_LSE_TTL, value & 0xff)
    if (bits & 0x100) b.attrU8(TCA_FLOWER_KEY_MPLS_OPT_LSE_BOS, (value >>> 8) & 1)
    if (bits & 0xe00) b.attrU8(TCA_FLOWER_KEY_MPLS_OPT_LSE_TC, (value >>> 9) & 7)
    if (bits & 0xfffff000) b.attrU32(TCA_FLOWER_KEY_MPLS_OPT_LSE_LABEL, value >>> 12)
    b.nestEnd(lse)
  }
  b.nestEnd(opts)
}

export const mpls: MatchGroup = {
  name: 'mpls',
  keywords: ['mpls', 'mpls_label', 'mpls_tc', 'mpls_bos', 'mpls_ttl'],
  attributes: [
    TCA_FLOWER_KEY_MPLS_TTL,
    TCA_FLOWER_KEY_MPLS_BOS,
    TCA_FLOWER_KEY_MPLS_TC,
    TCA_FLOWER_KEY_MPLS_LABEL,
    TCA_FLOWER_KEY_MPLS_OPTS,
  ],

  parse(keyword, args, b, c) {
    args.next()
    if (!isMpls(c.ethType)) throw args.fail(`Can't set "${keyword}" if ethertype isn't MPLS`)
    if (keyword === 'mpls') return parseStack(args, b, c)
    if (c.mplsNew) throw args.fail(`Can't set "${keyword}" if "mpls" is set`)
    c.mplsOld = true
    const field = FIELDS.find((f) => keyword === `mpls_${f.word}`)!
    const v = args.number(args.word, 10, field.max)
    if (v < 0) throw illegal(args, keyword)
    putField(b, field, field.type, v)
    args.skip()
  },

  toKey(attrs, d, key, mask) {
    if (!isMpls(keyProto(key))) return
    const [label, tc] = [attrs[TCA_FLOWER_KEY_MPLS_LABEL], attrs[TCA_FLOWER_KEY_MPLS_TC]]
    const [bos, ttl] = [attrs[TCA_FLOWER_KEY_MPLS_BOS], attrs[TCA_FLOWER_KEY_MPLS_TTL]]
    const old = (label | tc | bos | ttl) !== 0
    const opts = attrs[TCA_FLOWER_KEY_MPLS_OPTS]
    if (opts && old)
      throw new NetlinkError(
        EBADMSG,
        'MPLS label, Traffic Class, Bottom Of Stack and Time To Live must be encapsulated in the MPLS options attribute',
        opts,
      )
    if (opts) setStack(d, opts, key, mask)
    else if (old) setLse(d, key, mask, 0, label, tc, bos, ttl)
  },

  toAttributes(key, mask, b) {
    const used = mask[KEY_MPLS_USED]
    if (used === 0) return
    const value = get32(key, KEY_MPLS_LSE)
    const bits = get32(mask, KEY_MPLS_LSE)
    if (used & ~1 || bits === 0) return putStack(key, mask, b)
    if (bits & 0xff) b.attrU8(TCA_FLOWER_KEY_MPLS_TTL, value & 0xff)
    if (bits & 0xe00) b.attrU8(TCA_FLOWER_KEY_MPLS_TC, (value >>> 9) & 7)
    if (bits & 0xfffff000) b.attrU32(TCA_FLOWER_KEY_MPLS_LABEL, value >>> 12)
    if (bits & 0x100) b.attrU8(TCA_FLOWER_KEY_MPLS_BOS, (value >>> 8) & 1)
  },

  print(attrs, d, out) {
    const opts = attrs[TCA_FLOWER_KEY_MPLS_OPTS]
    if (opts && attrRawType(d, opts) & NLA_F_NESTED) {
      out.nl()
      out.text('  mpls')
      if (out.json) out.openArray('mpls')
      forEachAttr(d, opts, opts + attrLen(d, opts), (_type, o, len) => {
        parseAttrs(d, o, o + len, lseAttrs, TCA_FLOWER_KEY_MPLS_OPT_LSE_LABEL)
        out.nl()
        out.text('    lse')
        out.openObject()
        const depth = lseAttrs[TCA_FLOWER_KEY_MPLS_OPT_LSE_DEPTH]
        if (depth) out.num('depth', ' depth %u', d.getUint8(depth))
        for (const f of FIELDS) {
          const p = lseAttrs[f.lseType]
          if (p) out.num(f.word, ` ${f.word} %u`, f.max > 255 ? d.getUint32(p, true) : d.getUint8(p))
        }
        out.closeObject()
      })
      if (out.json) out.closeArray()
    }
    if (attrs[TCA_FLOWER_KEY_MPLS_LABEL]) {
      out.nl()
      out.text('  ')
      out.nameNum('mpls_label', d.getUint32(attrs[TCA_FLOWER_KEY_MPLS_LABEL], true))
    }
    printU8(out, d, 'mpls_tc', attrs[TCA_FLOWER_KEY_MPLS_TC])
    printU8(out, d, 'mpls_bos', attrs[TCA_FLOWER_KEY_MPLS_BOS])
    printU8(out, d, 'mpls_ttl', attrs[TCA_FLOWER_KEY_MPLS_TTL])
  },
}
