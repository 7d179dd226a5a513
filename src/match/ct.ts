// ct_state, ct_zone, ct_mark, ct_label: what connection tracking knows of the packet, after an action ct.
//
// State, zone and mark are in host order. A label shorter than 16 bytes is filled up with zeros at its end.

import { KEY_CT_LABELS, KEY_CT_MARK, KEY_CT_STATE, KEY_CT_ZONE } from '../memory/layout/flow_key.ts'
import type { Args } from '../tc/args.ts'
import { attrLen, type Builder, NLA_HDRLEN } from '../wire/netlink.ts'
import { EINVAL, ERANGE, NetlinkError, POLICY_TEXT } from '../wire/netlink_error.ts'
import {
  TCA_FLOWER_KEY_CT_FLAGS_ESTABLISHED,
  TCA_FLOWER_KEY_CT_FLAGS_INVALID,
  TCA_FLOWER_KEY_CT_FLAGS_NEW,
  TCA_FLOWER_KEY_CT_FLAGS_RELATED,
  TCA_FLOWER_KEY_CT_FLAGS_REPLY,
  TCA_FLOWER_KEY_CT_FLAGS_TRACKED,
  TCA_FLOWER_KEY_CT_LABELS,
  TCA_FLOWER_KEY_CT_LABELS_MASK,
  TCA_FLOWER_KEY_CT_MARK,
  TCA_FLOWER_KEY_CT_MARK_MASK,
  TCA_FLOWER_KEY_CT_STATE,
  TCA_FLOWER_KEY_CT_STATE_MASK,
  TCA_FLOWER_KEY_CT_ZONE,
  TCA_FLOWER_KEY_CT_ZONE_MASK,
} from '../wire/tca_flower.ts'
import { hex, illegal, parseMaskedUint, printMaskedU16, printMaskedU32 } from './masked_text.ts'
import { type MatchGroup, putKeyVal, setKeyVal } from './match.ts'

const STATES: readonly (readonly [string, number])[] = [
  ['trk', TCA_FLOWER_KEY_CT_FLAGS_TRACKED],
  ['new', TCA_FLOWER_KEY_CT_FLAGS_NEW],
  ['est', TCA_FLOWER_KEY_CT_FLAGS_ESTABLISHED],
  ['rel', TCA_FLOWER_KEY_CT_FLAGS_RELATED],
  ['inv', TCA_FLOWER_KEY_CT_FLAGS_INVALID],
  ['rpl', TCA_FLOWER_KEY_CT_FLAGS_REPLY],
]
const ALL_STATES = 0x3f
const LABEL_DIGITS = 32

function parseState(args: Args, b: Builder): void {
  const word = args.word
  let state = 0
  let mask = 0
  for (let i = 0; i < word.length; i += 4) {
    const sign = word[i]
    const found = STATES.find(([name]) => word.startsWith(name, i + 1))
    if ((sign !== '+' && sign !== '-') || !found) throw illegal(args, 'ct_state')
    if (sign === '+') state |= found[1]
    mask |= found[1]
  }
  b.attrU16(TCA_FLOWER_KEY_CT_STATE, state)
  b.attrU16(TCA_FLOWER_KEY_CT_STATE_MASK, mask)
}

// Whole bytes of the digits; an odd one at the end is passed over, as hex2mem does.
function labelBytes(args: Args, text: string, what: string): Uint8Array {
  const bytes = args.hexBytes(text.slice(0, text.length & ~1))
  if (!bytes) throw args.invarg(`${what} must be a hex string\n`, text)
  return bytes
}

function parseLabel(args: Args, b: Builder): void {
  const [label, mask] = args.word.split('/', 2)
  if (label.length > LABEL_DIGITS || (mask ?? '').length > LABEL_DIGITS)
    throw args.invarg(`${label.length} Max allowed size ${LABEL_DIGITS}`, label)
  b.attr(TCA_FLOWER_KEY_CT_LABELS, labelBytes(args, label, 'labels'))
  const bits = mask === undefined ? new Uint8Array(16).fill(0xff) : labelBytes(args, mask, 'labels mask')
  b.attr(TCA_FLOWER_KEY_CT_LABELS_MASK, bits)
}

// The policy of the attribute, and fl_validate_ct_state.
function checkState(attrs: Int32Array, d: DataView): void {
  const value = d.getUint16(attrs[TCA_FLOWER_KEY_CT_STATE], true)
  const at = attrs[TCA_FLOWER_KEY_CT_STATE_MASK]
  const mask = at ? d.getUint16(at, true) : 0xffff
  if (value & ~ALL_STATES || (at && mask & ~ALL_STATES))
    throw new NetlinkError(EINVAL, POLICY_TEXT, attrs[TCA_FLOWER_KEY_CT_STATE] - NLA_HDRLEN)
  const state = value & mask
  const has = (flag: number): boolean => (state & flag) !== 0
  const refuse = (why: string): void => {
    throw new NetlinkError(EINVAL, why, at || undefined)
  }
  if (state && !has(TCA_FLOWER_KEY_CT_FLAGS_TRACKED)) refuse('no trk, so no other flag can be set')
  if (has(TCA_FLOWER_KEY_CT_FLAGS_NEW) && has(TCA_FLOWER_KEY_CT_FLAGS_ESTABLISHED))
    refuse('new and est are mutually exclusive')
  if (has(TCA_FLOWER_KEY_CT_FLAGS_INVALID) && has(~(TCA_FLOWER_KEY_CT_FLAGS_TRACKED | TCA_FLOWER_KEY_CT_FLAGS_INVALID)))
    refuse('when inv is set, only trk may be set')
  if (has(TCA_FLOWER_KEY_CT_FLAGS_NEW) && has(TCA_FLOWER_KEY_CT_FLAGS_REPLY))
    refuse('new and rpl are mutually exclusive')
}

export const ct: MatchGroup = {
  name: 'ct',
  keywords: ['ct_state', 'ct_zone', 'ct_mark', 'ct_label'],
  attributes: [TCA_FLOWER_KEY_CT_STATE, TCA_FLOWER_KEY_CT_ZONE, TCA_FLOWER_KEY_CT_MARK, TCA_FLOWER_KEY_CT_LABELS],

  parse(keyword, args, b) {
    args.next()
    if (keyword === 'ct_state') parseState(args, b)
    else if (keyword === 'ct_label') parseLabel(args, b)
    else if (
      keyword === 'ct_zone'
        ? !parseMaskedUint(args, b, TCA_FLOWER_KEY_CT_ZONE, TCA_FLOWER_KEY_CT_ZONE_MASK, 2, false)
        : !parseMaskedUint(args, b, TCA_FLOWER_KEY_CT_MARK, TCA_FLOWER_KEY_CT_MARK_MASK, 4, false)
    )
      throw illegal(args, keyword)
    args.skip()
  },

  toKey(attrs, d, key, mask) {
    if (attrs[TCA_FLOWER_KEY_CT_STATE]) {
      checkState(attrs, d)
      setKeyVal(attrs, d, key, mask, KEY_CT_STATE, 2, TCA_FLOWER_KEY_CT_STATE, TCA_FLOWER_KEY_CT_STATE_MASK)
    }
    setKeyVal(attrs, d, key, mask, KEY_CT_ZONE, 2, TCA_FLOWER_KEY_CT_ZONE, TCA_FLOWER_KEY_CT_ZONE_MASK)
    setKeyVal(attrs, d, key, mask, KEY_CT_MARK, 4, TCA_FLOWER_KEY_CT_MARK, TCA_FLOWER_KEY_CT_MARK_MASK)
    const [labels, labelsMask] = [attrs[TCA_FLOWER_KEY_CT_LABELS], attrs[TCA_FLOWER_KEY_CT_LABELS_MASK]]
    if ((labels && attrLen(d, labels) > 16) || (labelsMask && attrLen(d, labelsMask) > 16))
      throw new NetlinkError(ERANGE, POLICY_TEXT, (labels || labelsMask) - NLA_HDRLEN)
    setKeyVal(attrs, d, key, mask, KEY_CT_LABELS, 16, TCA_FLOWER_KEY_CT_LABELS, TCA_FLOWER_KEY_CT_LABELS_MASK)
  },

  toAttributes(key, mask, b) {
    putKeyVal(key, mask, b, KEY_CT_STATE, 2, TCA_FLOWER_KEY_CT_STATE, TCA_FLOWER_KEY_CT_STATE_MASK)
    putKeyVal(key, mask, b, KEY_CT_ZONE, 2, TCA_FLOWER_KEY_CT_ZONE, TCA_FLOWER_KEY_CT_ZONE_MASK)
    putKeyVal(key, mask, b, KEY_CT_MARK, 4, TCA_FLOWER_KEY_CT_MARK, TCA_FLOWER_KEY_CT_MARK_MASK)
    putKeyVal(key, mask, b, KEY_CT_LABELS, 16, TCA_FLOWER_KEY_CT_LABELS, TCA_FLOWER_KEY_CT_LABELS_MASK)
  },

  print(attrs, d, out) {
    const [state, stateMask] = [attrs[TCA_FLOWER_KEY_CT_STATE], attrs[TCA_FLOWER_KEY_CT_STATE_MASK]]
    if (state) {
      const value = d.getUint16(state, true)
      const mask = stateMask ? d.getUint16(stateMask, true) : 0xffff
      let text = ''
      for (const [name, flag] of STATES) if (mask & flag) text += (value & flag ? '+' : '-') + name
      out.nl()
      out.str('ct_state', '  ct_state %s', text)
    }
    printMaskedU16(out, d, 'ct_zone', attrs[TCA_FLOWER_KEY_CT_ZONE], attrs[TCA_FLOWER_KEY_CT_ZONE_MASK])
    printMaskedU32(out, d, 'ct_mark', attrs[TCA_FLOWER_KEY_CT_MARK], attrs[TCA_FLOWER_KEY_CT_MARK_MASK])
    const [label, labelMask] = [attrs[TCA_FLOWER_KEY_CT_LABELS], attrs[TCA_FLOWER_KEY_CT_LABELS_MASK]]
    if (!label) return
    const n = attrLen(d, label)
    let text = hex(d, label, n)
    if (labelMask && (n !== 16 || !/^f*$/.test(hex(d, labelMask, 16)))) text += `/${hex(d, labelMask, n)}`
    out.nl()
    out.str('ct_label', '  ct_label %s', text)
  },
}
