// A mask's flow for a key: the probe of the mask's table (memory/layout/flow.ts draws it).

import {
  CELL_DEAD,
  CELL_FLOW,
  CELL_FREE,
  CELL_HASH,
  FLOW_KEY_PTR,
  FLOW_RANGE,
  FLOW_RANGE_DST,
  MASK_FLAGS,
  MASK_PAIRS,
  MASK_RANGE_DST,
  MASK_RANGE_SRC,
  MASK_TABLE,
  MASK_WORDS,
  TABLE_CELLS,
  TABLE_MASK,
} from '../../memory/layout/flow.ts'
import { KEY_PORT_DST, KEY_PORT_SRC } from '../../memory/layout/flow_key.ts'
import { HASH_SEED, hashEnd, hashWord } from './hash.ts'

/** The mask's flow for this key, 0 without: any mask, any key. */
export function findFlow(mask: usize, key: usize): usize {
  const words = load<u32>(mask, MASK_WORDS)
  let h = HASH_SEED
  for (let pair = mask, end = mask + (words << 3); pair < end; pair += 8) {
    h = hashWord(h, load<u32>(key + load<u32>(pair, MASK_PAIRS)) & load<u32>(pair, MASK_PAIRS + 4))
  }
  return findHashed(mask, words, key, hashEnd(h))
}

/** Likewise, the hash of the key's `words` words under the mask known. */
// @ts-ignore: decorator
@inline
export function findHashed(mask: usize, words: u32, key: usize, hash: u32): usize {
  const table = load<usize>(mask, MASK_TABLE)
  const last = load<u32>(table, TABLE_MASK)
  let i = hash & last
  let flow = load<usize>(table + (i << 3), TABLE_CELLS + CELL_FLOW)
  while (flow != CELL_FREE) {
    if (load<u32>(table + (i << 3), TABLE_CELLS + CELL_HASH) == hash && flow != CELL_DEAD && matches(mask, words, key, flow)) break
    i = (i + 1) & last
    flow = load<usize>(table + (i << 3), TABLE_CELLS + CELL_FLOW)
  }
  return flow
}

function matches(mask: usize, words: u32, key: usize, flow: usize): bool {
  const packed = load<usize>(flow, FLOW_KEY_PTR)
  for (let i: u32 = 0; i < words; i++) {
    const pair = mask + (i << 3)
    const w = load<u32>(key + load<u32>(pair, MASK_PAIRS)) & load<u32>(pair, MASK_PAIRS + 4)
    if (w != load<u32>(packed + (i << 2))) return false
  }
  const ranges = load<u32>(mask, MASK_FLAGS)
  if (ranges == 0) return true
  if ((ranges & MASK_RANGE_SRC) != 0 && !inRange(load<u32>(flow, FLOW_RANGE), load<u16>(key, KEY_PORT_SRC))) return false
  return (ranges & MASK_RANGE_DST) == 0 || inRange(load<u32>(flow, FLOW_RANGE_DST), load<u16>(key, KEY_PORT_DST))
}

/** Range: min in the low, max in the high half. A flow of a range mask need not have this one: 0 takes every port. */
// @ts-ignore: decorator
@inline
function inRange(range: u32, port: u16): bool {
  const p = <u32>bswap<u16>(port)
  return range == 0 || (p >= (range & 0xffff) && p <= range >>> 16)
}
