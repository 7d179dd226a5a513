// The lookup of a packet's flow, slow and obvious, over the structs that the datapath reads: for tests, for `trace`, and
// as the oracle that the chip is compared with (tcf_classify, fl_classify, fl_lookup).
//
// Filters of u32 look at the packet's bytes, which are not in its key: their masks are passed over.
//
// Masks in the order of the chain's list; of each, the flow whose key is the packet's under the mask. A mask of another
// protocol is passed over. Runs inside an RCU section; touches no counter, executes no action.

import type { Arena } from '../memory/arena.ts'
import { hashWords } from '../memory/flow_hash.ts'
import {
  BLOCK_CHAIN0,
  CELL_DEAD,
  CELL_FLOW,
  CELL_FREE,
  CELL_HASH,
  CELL_SIZE,
  CHAIN_MASKS,
  FLOW_KEY_PTR,
  FLOW_RANGE,
  FLOW_RANGE_DST,
  MASK_FLAGS,
  MASK_NEXT,
  MASK_PAIRS,
  MASK_PRIO,
  MASK_PROTO,
  MASK_RANGE_DST,
  MASK_RANGE_SRC,
  MASK_TABLE,
  MASK_U32,
  MASK_WORDS,
  TABLE_CELLS,
  TABLE_MASK,
} from '../memory/layout/flow.ts'
import { KEY_PORT_DST, KEY_PORT_SRC } from '../memory/layout/flow_key.ts'
import { deref } from '../sync/rcu.ts'

/** ETH_P_ALL as PRIO_PROTO has it. */
const ETH_P_ALL = 0x0300

const packed = new Int32Array(128)

/** The packet's words under the mask, into `packed`. */
function maskKey(m: Int32Array, mask: number, key: Int32Array): number {
  const words = m[(mask + MASK_WORDS) >> 2]
  for (let i = 0, w = (mask + MASK_PAIRS) >> 2; i < words; i++, w += 2) packed[i] = key[m[w] >> 2] & m[w + 1]
  return words
}

function holds(range: number, port: number): boolean {
  return port >= (range & 0xffff) && port <= range >>> 16
}

/** A be16 of the key in host order. */
const port = (key: Int32Array, offset: number): number => {
  const v = key[offset >> 2] >>> ((offset & 2) * 8)
  return ((v & 0xff) << 8) | ((v >>> 8) & 0xff)
}

function inRange(m: Int32Array, mask: number, flow: number, key: Int32Array): boolean {
  const flags = m[(mask + MASK_FLAGS) >> 2]
  if (flags & MASK_RANGE_SRC && !holds(m[(flow + FLOW_RANGE) >> 2], port(key, KEY_PORT_SRC))) return false
  return !(flags & MASK_RANGE_DST) || holds(m[(flow + FLOW_RANGE_DST) >> 2], port(key, KEY_PORT_DST))
}

/** The mask's flow for a packet with this key (KEY_SIZE_OPTS bytes as words), 0 without. */
export function lookupInMask(m: Int32Array, mask: number, key: Int32Array): number {
  const words = maskKey(m, mask, key)
  const hash = hashWords(packed, 0, words)
  const table = deref(m, (mask + MASK_TABLE) >> 2)
  const last = m[(table + TABLE_MASK) >> 2]
  for (let i = hash & last; ; i = (i + 1) & last) {
    const cell = table + TABLE_CELLS + i * CELL_SIZE
    const flow = deref(m, (cell + CELL_FLOW) >> 2)
    if (flow === CELL_FREE) return 0
    if (flow === CELL_DEAD || m[(cell + CELL_HASH) >> 2] !== hash) continue
    const at = m[(flow + FLOW_KEY_PTR) >> 2] >> 2
    let n = 0
    while (n < words && m[at + n] === packed[n]) n++
    if (n === words && inRange(m, mask, flow, key)) return flow
  }
}

/**
 * The first flow of a chain that matches; with `after`, the first one in a later prio than that flow's mask, which is
 * where `continue` goes. `protocol` is the packet's EtherType as PRIO_PROTO.
 */
export function lookupInChain(a: Arena, chain: number, protocol: number, key: Int32Array, after = 0): number {
  const { m } = a
  let mask = after === 0 ? deref(m, (chain + CHAIN_MASKS) >> 2) : after
  if (after !== 0) {
    const prio = m[(after + MASK_PRIO) >> 2]
    while (mask !== 0 && m[(mask + MASK_PRIO) >> 2] === prio) mask = deref(m, (mask + MASK_NEXT) >> 2)
  }
  for (; mask !== 0; mask = deref(m, (mask + MASK_NEXT) >> 2)) {
    const proto = m[(mask + MASK_PROTO) >> 2]
    if (proto !== protocol && proto !== ETH_P_ALL) continue
    if ((m[(mask + MASK_FLAGS) >> 2] & MASK_U32) !== 0) continue
    const flow = lookupInMask(m, mask, key)
    if (flow !== 0) return flow
  }
  return 0
}

/** The flow that a packet meets first in a block. */
export const lookup = (a: Arena, block: number, protocol: number, key: Int32Array): number =>
  lookupInChain(a, a.m[(block + BLOCK_CHAIN0) >> 2], protocol, key)
