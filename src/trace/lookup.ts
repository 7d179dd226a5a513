// One walk along a chain's masks, explained: what each mask's flows ask for that the packet does not have.
//
// The chip says where the walk began, with which key, and what it found. This goes the same way with the slow lookup of
// flow/lookup.ts, and throws when the two do not find the same flow: an explanation of something else would be a lie.

import { slowName, slowSentence } from '../encap/slow_reason.ts'
import { unpack } from '../flow/classifier.ts'
import type { FlowContext } from '../flow/context.ts'
import { lookupInMask } from '../flow/lookup.ts'
import { matchScratch } from '../flow/match_scratch.ts'
import * as F from '../memory/layout/flow.ts'
import { KEY_PORT_DST, KEY_PORT_SRC, KEY_SIZE_OPTS } from '../memory/layout/flow_key.ts'
import type { Devices } from '../tc/args.ts'
import { formatProtocol } from '../tc/protocol_text.ts'
import { actionWords } from './actions.ts'
import { type Difference, difference, differs, fieldsOf, say } from './fields.ts'

/** A mask, or a whole prio of another protocol, that the packet tried. */
export interface Try extends Partial<Difference> {
  readonly pref: number
  readonly result: 'miss' | 'other protocol' | 'match'
  readonly protocol: string
  /** The flow that matched, or came nearest: the one whose first difference comes last. */
  readonly handle?: number
  /** How many flows the mask has. */
  readonly flows?: number
}

export interface Match {
  readonly pref: number
  readonly handle: number
  /** Everything that it asks for, as tc has it; empty: it takes every packet. */
  readonly match: string
  readonly actions: readonly string[]
  /** Slow when a tunnel destination of it is not resolved, with the reason. */
  readonly path: 'fast' | 'slow'
  readonly why?: { readonly name: string; readonly sentence: string }
}

export interface Lookup {
  readonly chain: number
  readonly tries: readonly Try[]
  readonly match: Match | null
}

/** As MASK_PROTO. */
const ETH_P_ALL = 0x0300
const scratch = matchScratch()
const nearest = matchScratch()
const swap = (v: number): number => ((v & 255) << 8) | ((v >>> 8) & 255)

/**
 * Explains the walk from `first` on. `key`: address of the packet's key, `protocol`: as MASK_PROTO, `found`: what the
 * datapath found, 0 for nothing.
 */
export function explain(
  c: FlowContext,
  first: number,
  key: number,
  protocol: number,
  found: number,
  devices: Devices,
): Lookup {
  const { m, u8 } = c.a
  // Copies: whoever explains may not write there, and the key's place is used again.
  const bytes = u8.slice(key, key + KEY_SIZE_OPTS)
  const words = new Int32Array(bytes.buffer)
  const tries: Try[] = []
  const prio0 = m[(first + F.MASK_PRIO) >> 2]
  const chain = m[(m[(prio0 + F.PRIO_CHAIN) >> 2] + F.CHAIN_INDEX) >> 2]
  let otherPrio = 0
  let flow = 0
  for (let mask = first; mask !== 0 && flow === 0; mask = m[(mask + F.MASK_NEXT) >> 2]) {
    const prio = m[(mask + F.MASK_PRIO) >> 2]
    const proto = m[(mask + F.MASK_PROTO) >> 2]
    const pref = m[(prio + F.PRIO_PREF) >> 2]
    const name = formatProtocol(swap(proto))
    if (proto !== protocol && proto !== ETH_P_ALL) {
      if (prio !== otherPrio) {
        const has = formatProtocol(swap(protocol))
        tries.push({ pref, protocol: name, result: 'other protocol', keyword: 'protocol', wants: name, has })
      }
      otherPrio = prio
      continue
    }
    if ((m[(mask + F.MASK_FLAGS) >> 2] & F.MASK_U32) !== 0) {
      // Its filters look at the packet itself: what the datapath found is taken for granted.
      const node = found !== 0 && m[(found + F.FLOW_MASK) >> 2] === mask
      flow = node ? found : 0
      const handle = node ? { handle: m[(found + F.FLOW_HANDLE) >> 2] >>> 0 } : {}
      tries.push({ pref, protocol: name, result: node ? 'match' : 'miss', keyword: 'u32', ...handle })
      continue
    }
    flow = lookupInMask(m, mask, words)
    if (flow === 0) tries.push({ pref, protocol: name, result: 'miss', ...miss(m, mask, bytes) })
    else {
      const handle = m[(flow + F.FLOW_HANDLE) >> 2] >>> 0
      tries.push({ pref, protocol: name, result: 'match', handle, flows: m[(mask + F.MASK_NFLOWS) >> 2] })
    }
  }
  if (flow !== found) throw new Error(`trace: the datapath found flow ${found}, the slow lookup ${flow}`)
  return { chain, tries, match: flow === 0 ? null : matched(c, flow, devices) }
}

/** The flow of a mask that came nearest, and where it differs. */
function miss(m: Int32Array, mask: number, has: Uint8Array): Partial<Try> {
  const flows = m[(mask + F.MASK_NFLOWS) >> 2]
  const table = m[(mask + F.MASK_TABLE) >> 2]
  let fields: number[] | undefined
  let best = -1
  let bestFlow = 0
  for (let i = 0; i <= m[(table + F.TABLE_MASK) >> 2]; i++) {
    const flow = m[(table + F.TABLE_CELLS + i * F.CELL_SIZE + F.CELL_FLOW) >> 2]
    if (flow === F.CELL_FREE || flow === F.CELL_DEAD) continue
    unpack(m, flow, scratch)
    fields ??= fieldsOf(scratch.mask)
    let n = 0
    while (n < fields.length && !differs(fields[n], scratch.mask, scratch.key, has)) n++
    const older = m[(flow + F.FLOW_HANDLE) >> 2] >>> 0 < m[(bestFlow + F.FLOW_HANDLE) >> 2] >>> 0
    if (n < best || (n === best && !older)) continue
    best = n
    bestFlow = flow
  }
  // A mask whose last flow has just gone.
  if (bestFlow === 0) return { flows }
  unpack(m, bestFlow, nearest)
  const handle = m[(bestFlow + F.FLOW_HANDLE) >> 2] >>> 0
  if (fields !== undefined && best < fields.length)
    return { handle, flows, ...difference(fields[best], nearest.mask, nearest.key, has) }
  return { handle, flows, ...rangeDifference(m, mask, bestFlow, has) }
}

/** Where all fields agree, a port is outside of the flow's range. */
function rangeDifference(m: Int32Array, mask: number, flow: number, b: Uint8Array): Difference {
  const flags = m[(mask + F.MASK_FLAGS) >> 2]
  const port = (at: number): number => (b[at] << 8) | b[at + 1]
  const dst = m[(flow + F.FLOW_RANGE_DST) >> 2]
  const isDst = flags & F.MASK_RANGE_DST && (port(KEY_PORT_DST) < (dst & 0xffff) || port(KEY_PORT_DST) > dst >>> 16)
  const range = isDst ? dst : m[(flow + F.FLOW_RANGE) >> 2]
  return {
    keyword: isDst ? 'dst_port' : 'src_port',
    wants: `${range & 0xffff}-${range >>> 16}`,
    has: String(port(isDst ? KEY_PORT_DST : KEY_PORT_SRC)),
  }
}

function matched(c: FlowContext, flow: number, devices: Devices): Match {
  const { m } = c.a
  unpack(m, flow, nearest)
  const prio = m[(m[(flow + F.FLOW_MASK) >> 2] + F.MASK_PRIO) >> 2]
  const ranges = [
    nearest.rangeDst === 0 ? '' : `dst_port ${nearest.rangeDst & 0xffff}-${nearest.rangeDst >>> 16}`,
    nearest.rangeSrc === 0 ? '' : `src_port ${nearest.rangeSrc & 0xffff}-${nearest.rangeSrc >>> 16}`,
  ]
  const slow = (m[(flow + F.FLOW_FLAGS) >> 2] & F.FLOW_F_SLOW) !== 0
  const why = m[(flow + F.FLOW_WHY) >> 2]
  return {
    pref: m[(prio + F.PRIO_PREF) >> 2],
    handle: m[(flow + F.FLOW_HANDLE) >> 2] >>> 0,
    match: [say(nearest.mask, nearest.key), ...ranges].filter((s) => s !== '').join(', '),
    actions: actionWords(c, flow, devices),
    path: slow ? 'slow' : 'fast',
    ...(slow ? { why: { name: slowName(why), sentence: slowSentence(why) } } : {}),
  }
}
