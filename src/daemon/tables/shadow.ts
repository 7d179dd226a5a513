// Is a rule shadowed: does an earlier one of its chain take every packet that this one asks for?
//
// An earlier mask whose bits are all among this rule's, with a flow whose key agrees there, matches whatever this rule
// matches. It is in the way unless one of its actions says `continue`. Port ranges of the earlier rule count only where
// this one asks for one port. Slow: it tries every earlier mask. u32 rules look at the packet itself and are passed over.

import { unpack } from '../../flow/classifier.ts'
import type { FlowContext } from '../../flow/context.ts'
import { actionOf } from '../../flow/flow.ts'
import { lookupInMask } from '../../flow/lookup.ts'
import type { MatchScratch } from '../../flow/match_scratch.ts'
import { ACT_CONTROL, ACT_CONTROL2, TC_ACT_UNSPEC } from '../../memory/layout/action.ts'
import * as F from '../../memory/layout/flow.ts'
import { KEY_PORT_DST, KEY_PORT_SRC } from '../../memory/layout/flow_key.ts'
import { deref } from '../../sync/rcu.ts'

/** As MASK_PROTO. */
const ETH_P_ALL = 0x0300

/** The flow of the chain that shadows this one, 0 without. In an RCU section; `s` holds the flow, unpacked. */
export function shadowedBy(c: FlowContext, chain: number, flow: number, s: MatchScratch): number {
  const { m } = c.a
  const own = m[(flow + F.FLOW_MASK) >> 2]
  const protocol = m[(own + F.MASK_PROTO) >> 2]
  unpack(m, flow, s)
  let mask = deref(m, (chain + F.CHAIN_MASKS) >> 2)
  for (; mask !== 0 && mask !== own; mask = deref(m, (mask + F.MASK_NEXT) >> 2)) {
    const proto = m[(mask + F.MASK_PROTO) >> 2]
    if ((proto !== protocol && proto !== ETH_P_ALL) || !isWithin(m, mask, s)) continue
    const earlier = lookupInMask(m, mask, s.key32)
    if (earlier !== 0 && !goesOn(c, earlier)) return earlier
  }
  return 0
}

/** Are all bits that the mask looks at among those of the scratch? */
function isWithin(m: Int32Array, mask: number, s: MatchScratch): boolean {
  const flags = m[(mask + F.MASK_FLAGS) >> 2]
  const whole = (at: number): boolean => s.mask[at] === 255 && s.mask[at + 1] === 255
  if (flags & F.MASK_U32) return false
  if (flags & F.MASK_RANGE_SRC && !whole(KEY_PORT_SRC)) return false
  if (flags & F.MASK_RANGE_DST && !whole(KEY_PORT_DST)) return false
  const words = m[(mask + F.MASK_WORDS) >> 2]
  for (let i = 0, w = (mask + F.MASK_PAIRS) >> 2; i < words; i++, w += 2)
    if ((m[w + 1] & ~s.mask32[m[w] >> 2]) !== 0) return false
  return true
}

/** May the lookup go on behind the flow? */
function goesOn(c: FlowContext, flow: number): boolean {
  const { m } = c.a
  const n = m[(flow + F.FLOW_NACTIONS) >> 2]
  for (let i = 0; i < n; i++) {
    const act = actionOf(m, flow, i)
    if (m[(act + ACT_CONTROL) >> 2] === TC_ACT_UNSPEC || m[(act + ACT_CONTROL2) >> 2] === TC_ACT_UNSPEC) return true
  }
  // A flow without actions takes the packet as it is, and the lookup ends (TC_ACT_OK).
  return false
}
