// u32: the walk of a packet through the tables of a prio (u32_classify of net/sched/cls_u32.c).
//
// Offsets count from the network header; in front of it are the Ethernet header and the headroom, and the outermost tag is
// beside the frame. A word that the packet does not have ends the walk: nothing of the prio matches.
//
// A node whose action says `continue` is followed by the next one. The walk is then made again, past as many matches as
// there were: it is a rare thing, and nothing has to be kept between the two.

import {
  FLOW_MASK,
  MASK_FLAGS,
  MASK_PRIO,
  MASK_U32,
  PRIO_ROOT,
} from '../../memory/layout/flow.ts'
import { PKT_DATA, PKT_HEADROOM, PKT_IIF, PKT_LEN, PKT_MARK } from '../../memory/layout/packet.ts'
import * as U from '../../memory/layout/u32.ts'
import { isBare, isTagged, networkHeader } from './frame.ts'
import { SCRATCH_U32 } from './layout.ts'
import { count, scratch } from './state.ts'

/** Is the packet to walk through a tree, instead of being looked up by its key? */
// @ts-ignore: decorator
@inline
export function isU32(mask: usize): bool {
  return (load<u32>(mask, MASK_FLAGS) & MASK_U32) != 0
}

// The packet that walks: its network header, how many bytes from there on, how many may be read before, and the tag's.
let network: usize = 0
let size: i32 = 0
let front: i32 = 0
let tag: i32 = 0

/** Address of the byte at an offset from the network header. */
// @ts-ignore: decorator
@inline
function at(offset: i32): usize {
  return network + <usize>(offset < -2 ? offset - tag : offset)
}

// @ts-ignore: decorator
@inline
function has(offset: i32, bytes: i32): bool {
  return offset >= -front && offset <= size - bytes
}

/** Four bytes as they are in memory; `has` said yes. */
function word(offset: i32): u32 {
  if (tag == 0 || offset >= -2 || offset <= -6) return load<u32>(at(offset))
  let w: u32 = 0
  for (let i = 0; i < 4; i++) w |= <u32>load<u8>(at(offset + i)) << (i << 3)
  return w
}

/** The node's keys on the packet: 1 all hold, 0 one does not, -1 one is not there. */
function keysHold(node: usize, off: i32, off2: i32, counting: bool): i32 {
  const n = <u32>load<u8>(node, U.KNODE_NKEYS)
  for (let i: u32 = 0; i < n; i++) {
    const key = node + U.KNODE_KEYS + i * U.KNODE_KEY_SIZE
    const o = off + load<i32>(key, U.KEY_OFF) + (off2 & load<i32>(key, U.KEY_OFFMASK))
    if (!has(o, 4)) return -1
    if (((word(o) ^ load<u32>(key, U.KEY_VAL)) & load<u32>(key, U.KEY_MASK)) != 0) return 0
    if (counting) count(load<u32>(key, U.KNODE_KEY_COUNTER), 0)
  }
  return 1
}

/** The flow that the packet meets in the mask's prio when `skip` matches have said `continue`, 0 when there is none. */
export function u32Classify(pkt: usize, mask: usize, skip: u32): usize {
  const root = load<usize>(load<usize>(mask, MASK_PRIO), PRIO_ROOT)
  if (root == 0) return 0
  const data = load<usize>(pkt, PKT_DATA)
  const len = load<u32>(pkt, PKT_LEN)
  network = networkHeader(pkt)
  size = <i32>(data + len) - <i32>network
  tag = !isBare(pkt) && isTagged(data, len) ? 4 : 0
  front = <i32>network - <i32>(pkt + PKT_HEADROOM) - tag

  const stack = scratch + SCRATCH_U32
  let node = load<usize>(root, U.HNODE_BUCKETS)
  let depth: u32 = 0
  let off: i32 = 0
  let off2: i32 = 0
  let ended = false
  while (!ended) {
    let terminal = false
    if (node == 0) {
      if (depth == 0) return 0
      depth--
      node = load<usize>(stack + (depth << 3))
      off = load<i32>(stack + (depth << 3), 4)
      terminal = true
    } else {
      const counting = skip == 0
      if (counting) count(load<u32>(node, U.KNODE_COUNTER_HIT), 0)
      let holds: i32 = 0
      if ((load<u32>(pkt, PKT_MARK) & load<u32>(node, U.KNODE_MARK_MASK)) == load<u32>(node, U.KNODE_MARK)) {
        if (counting) count(load<u32>(node, U.KNODE_COUNTER_MARK), 0)
        holds = keysHold(node, off, off2, counting)
      }
      const down = load<usize>(node, U.KNODE_DOWN)
      if (holds < 0) ended = true
      else if (holds > 0 && down == 0) terminal = true
      else if (holds == 0) node = load<usize>(node, U.KNODE_NEXT)
      else if (depth >= <u32>U.DEPTH_MAX) ended = true
      else {
        store<usize>(stack + (depth << 3), node)
        store<i32>(stack + (depth << 3), off, 4)
        depth++
        const flags = <u32>load<u8>(node, U.KNODE_FLAGS)
        const divisor = load<u32>(down, U.HNODE_DIVISOR)
        let hash: u32 = 0
        if (divisor != 0) {
          const o = off + <i32>load<i16>(node, U.KNODE_HOFF)
          if (!has(o, 4)) return 0
          hash = divisor & (bswap<u32>(word(o) & load<u32>(node, U.KNODE_HMASK)) >>> load<u32>(node, U.KNODE_FSHIFT))
        }
        let inside = true
        if ((flags & (U.KNODE_OFFSET | U.KNODE_VAROFFSET | U.KNODE_EAT)) != 0) {
          if ((flags & (U.KNODE_OFFSET | U.KNODE_VAROFFSET)) != 0) {
            off2 = <i32>load<u16>(node, U.KNODE_OFF) + 3
            if ((flags & U.KNODE_VAROFFSET) != 0) {
              const o = off + <i32>load<i16>(node, U.KNODE_OFFOFF)
              if (!has(o, 2)) return 0
              const half = <u16>load<u8>(at(o)) | (<u16>load<u8>(at(o + 1)) << 8)
              off2 += <i32>(<u32>bswap<u16>(half & load<u16>(node, U.KNODE_OFFMASK)) >>> load<u8>(node, U.KNODE_OFFSHIFT))
            }
            off2 &= ~3
          }
          if ((flags & U.KNODE_EAT) != 0) {
            off += off2
            off2 = 0
          }
          inside = off < size
        }
        node = inside ? load<usize>(down + (<usize>hash << 2), U.HNODE_BUCKETS) : 0
      }
    }
    if (terminal) {
      const wanted = load<u32>(node, U.KNODE_IFINDEX)
      const here = wanted == 0 || wanted == load<u32>(pkt, PKT_IIF)
      if ((load<u8>(node, U.KNODE_FLAGS) & U.KNODE_TERMINAL) != 0 && here) {
        if (skip == 0) {
          count(load<u32>(node, U.KNODE_COUNTER_SUCCESS), 0)
          return load<usize>(node, U.KNODE_FLOW)
        }
        skip--
      }
      node = load<usize>(node, U.KNODE_NEXT)
    }
  }
  return 0
}

/** The next match behind a flow of u32 that said `continue`: `skip` counts them. 0 when there is none, or it is no such flow. */
export function u32Continue(pkt: usize, flow: usize, skip: u32): usize {
  const mask = load<usize>(flow, FLOW_MASK)
  return isU32(mask) ? u32Classify(pkt, mask, skip) : 0
}
