// A hook: a packet against the filters of a device's ingress or egress (net/sched/cls_api.c: tcf_classify).
//
// Chain 0 first. A flow's actions end in a verdict: go on to the next prio (`continue`), begin again (`reclassify`),
// go to another chain, or the packet's fate. A miss at the end of any chain is a pass. Sixteen restarts are allowed.

import {
  TC_ACT_GOTO_CHAIN,
  TC_ACT_QUEUED,
  TC_ACT_RECLASSIFY,
  TC_ACT_SHOT,
  TC_ACT_STOLEN,
  TC_ACT_TRAP,
  TC_ACT_UNSPEC,
} from '../../memory/layout/action.ts'
import { DROP_FILTER, DROP_MIRRED_NEST, DROP_RECLASSIFY_LOOP, DROP_STOLEN, DROP_TRAP } from '../../memory/layout/drop.ts'
import { BLOCK_CHAIN0, CHAIN_MASKS, FLOW_ACTIONS, FLOW_MASK, MASK_NEXT, MASK_PRIO } from '../../memory/layout/flow.ts'
import { NETDEV_QDISC_COUNTER } from '../../memory/layout/netdev.ts'
import { PKT_DATA, PKT_DEV, PKT_IIF, PKT_LEN } from '../../memory/layout/packet.ts'
import { dissect } from './dissect.ts'
import { EXEC_HELD, EXEC_SHOT, EXEC_TAKEN, execute, gotoChain, heldAt } from './execute.ts'
import { BE_IP, ETH_LEN, isBare, isPlain, isTagged, outerProtocol, VLAN_LEN } from './frame.ts'
import { hold } from './held.ts'
import { HOOK_DEPTH_MAX, SCRATCH_KEYS } from './layout.ts'
import {
  ENTRY_FLOW,
  lookup,
  PLAN_CHUNKS,
  PLAN_GROUPS,
  PLAN_MASKS,
  PLAN_SMALL,
  planOf,
  smallEntry,
  smallEntryHas,
  smallHead,
  smallSeed,
} from './lookup.ts'
import { isQuick, quickChunk0, quickChunk1, quickChunk2 } from './quick_key.ts'
import { addHookDepth, count, countDrop, drop, hookDepth, modified, scratch, setModified } from './state.ts'
import { u32Continue } from './u32.ts'
import { isTracing, traceHook, traceLookup, traceVerdict } from './trace.ts'

/** The packet goes on. */
export const HOOK_PASS: i32 = 0
/** It was dropped (an error for who sent it), or taken by an action (none). The packet is gone. */
export const HOOK_SHOT: i32 = 1
export const HOOK_TAKEN: i32 = 2

/** max_reclassify_loop */
const RESTARTS: i32 = 16

/** First mask behind those of the mask's prio. */
function nextPrio(mask: usize): usize {
  const prio = load<usize>(mask, MASK_PRIO)
  do {
    mask = load<usize>(mask, MASK_NEXT)
  } while (mask != 0 && load<usize>(mask, MASK_PRIO) == prio)
  return mask
}

/** First mask of a block's chain 0, 0 when there is no filter. */
// @ts-ignore: decorator
@inline
export function firstMask(block: usize): usize {
  const chain = load<usize>(block, BLOCK_CHAIN0)
  return chain == 0 ? 0 : load<usize>(chain, CHAIN_MASKS)
}

/** Runs the filters of `block`, a hook of the device that the packet is at (PKT_DEV). */
export function runHook(pkt: usize, block: usize, ingress: bool): i32 {
  const mask = firstMask(block)
  if (mask == 0) return HOOK_PASS
  traceHook(pkt, block, ingress)
  if (hookDepth >= HOOK_DEPTH_MAX) {
    drop(pkt, DROP_MIRRED_NEST)
    return HOOK_SHOT
  }
  const counter = hookCounter(pkt)
  const plan = planOf(mask)
  const data = load<usize>(pkt, PKT_DATA)
  const len = load<u32>(pkt, PKT_LEN)
  if (!isTracing() && load<u32>(plan, PLAN_CHUNKS) == PLAN_SMALL && isQuick(data, len) && isPlain(pkt)) {
    const a = v128.and(quickChunk0(data), v128.load(plan, PLAN_MASKS))
    const b = v128.and(quickChunk1(data), v128.load(plan, PLAN_MASKS + 16))
    const c = v128.and(quickChunk2(load<u32>(pkt, PKT_IIF)), v128.load(plan, PLAN_MASKS + 32))
    const entry = smallEntry(a, b, smallSeed(c, mask, BE_IP))
    if (smallEntryHas(entry, smallHead(load<u64>(plan), BE_IP), a, b, c)) {
      const flow = load<usize>(entry, ENTRY_FLOW)
      const bytes = ingress ? len - ETH_LEN : len
      count(counter, bytes)
      if (flow == 0) return HOOK_PASS
      return runFlow(pkt, block, flow, load<usize>(flow, FLOW_ACTIONS), false, bytes, ingress)
    }
  }
  const key = scratch + SCRATCH_KEYS + ((<usize>hookDepth) << 9)
  dissect(pkt, key, load<u32>(plan, PLAN_GROUPS))
  const flow = lookup(plan, pkt, key, outerProtocol(pkt))
  if (isTracing()) traceLookup(pkt, mask, key, outerProtocol(pkt), flow)
  const bytes = hookBytes(pkt, data, len, ingress)
  count(counter, bytes)
  if (flow == 0) return HOOK_PASS
  return runFlow(pkt, block, flow, load<usize>(flow, FLOW_ACTIONS), true, bytes, ingress)
}

/** Counter of the qdisc of the device that the packet is at. */
// @ts-ignore: decorator
@inline
function hookCounter(pkt: usize): u32 {
  return load<u32>(load<usize>(pkt, PKT_DEV), NETDEV_QDISC_COUNTER)
}

/** What the counters of a hook take for the packet's size: at ingress the kernel counts from the network header on. */
export function hookBytes(pkt: usize, data: usize, len: u32, ingress: bool): u32 {
  if (isBare(pkt)) return len
  const bytes = isTagged(data, len) ? len - VLAN_LEN : len
  return ingress ? bytes - ETH_LEN : bytes
}

/**
 * Runs the flow that the packet met first, from `pc` in its program on, and what follows from its verdict. `known`: the
 * packet's key stands at this level's place already.
 */
export function runFlow(
  pkt: usize,
  block: usize,
  flow: usize,
  pc: usize,
  known: bool,
  bytes: u32,
  ingress: bool,
): i32 {
  const outer = modified
  const counter = hookCounter(pkt)
  const key = scratch + SCRATCH_KEYS + ((<usize>hookDepth) << 9)
  setModified(!known)
  addHookDepth(1)
  const verdict = execute(pkt, pc, bytes, ingress)
  traceVerdict(pkt, flow, verdict)
  const fate = verdict == EXEC_TAKEN ? HOOK_TAKEN : follow(pkt, block, flow, key, bytes, ingress, verdict)
  addHookDepth(-1)
  setModified(outer || modified)
  if (fate == HOOK_SHOT) countDrop(counter)
  return fate
}

/** The verdicts other than the commonest. */
function follow(pkt: usize, block: usize, flow: usize, key: usize, bytes: u32, ingress: bool, verdict: i32): i32 {
  let restarts: i32 = 0
  let continued: u32 = 0
  let changed = false
  while (flow != 0) {
    let mask: usize = 0
    switch (verdict) {
      case EXEC_TAKEN:
        return HOOK_TAKEN
      case EXEC_SHOT:
        return HOOK_SHOT
      case EXEC_HELD:
        hold(pkt, block, flow, heldAt, ingress)
        return HOOK_TAKEN
      case TC_ACT_SHOT:
        drop(pkt, DROP_FILTER)
        return HOOK_SHOT
      case TC_ACT_TRAP:
        drop(pkt, DROP_TRAP)
        return HOOK_TAKEN
      case TC_ACT_STOLEN:
      case TC_ACT_QUEUED:
        drop(pkt, DROP_STOLEN)
        return HOOK_TAKEN
      case TC_ACT_UNSPEC: {
        const next = u32Continue(pkt, flow, ++continued)
        if (next != 0) {
          flow = next
          verdict = execute(pkt, load<usize>(flow, FLOW_ACTIONS), bytes, ingress)
          traceVerdict(pkt, flow, verdict)
          continue
        }
        mask = nextPrio(load<usize>(flow, FLOW_MASK))
        break
      }
      case TC_ACT_RECLASSIFY:
      case TC_ACT_GOTO_CHAIN:
        if (restarts++ >= RESTARTS) {
          drop(pkt, DROP_RECLASSIFY_LOOP)
          return HOOK_SHOT
        }
        if (verdict == TC_ACT_RECLASSIFY) mask = firstMask(block)
        else if (gotoChain != 0) mask = load<usize>(gotoChain, CHAIN_MASKS)
        break
      default:
        break
    }
    if (mask == 0) break
    continued = 0
    const plan = planOf(mask)
    if (modified) {
      dissect(pkt, key, load<u32>(plan, PLAN_GROUPS))
      setModified(false)
      changed = true
    }
    flow = lookup(plan, pkt, key, outerProtocol(pkt))
    if (isTracing()) traceLookup(pkt, mask, key, outerProtocol(pkt), flow)
    if (flow != 0) {
      verdict = execute(pkt, load<usize>(flow, FLOW_ACTIONS), bytes, ingress)
      traceVerdict(pkt, flow, verdict)
    }
  }
  if (changed) setModified(true)
  return HOOK_PASS
}
