// From a request's (ifindex, parent) to the block that it means: __tcf_qdisc_find and __tcf_block_find of cls_api.c.
//
// A device has at most one qdisc of ours, clsact with two hooks or ingress with one; both have the handle ffff:. Its
// blocks are found under RCU. Refusals carry the kernel's errno and sentence.

import type { Arena } from '../memory/arena.ts'
import { BLOCK_INDEX, BLOCK_NEXT, FLOW_F_EGRESS, FLOW_F_INGRESS } from '../memory/layout/flow.ts'
import { NETDEV_EGRESS, NETDEV_INGRESS, NETDEV_QDISC, QDISC_INGRESS, QDISC_NONE } from '../memory/layout/netdev.ts'
import { netdevByIndex } from '../net/netdev.ts'
import { deref } from '../sync/rcu.ts'
import { EINVAL, ENODEV, ENOENT, EOPNOTSUPP, NetlinkError } from '../wire/netlink_error.ts'
import {
  TC_H_MAJ_MASK,
  TC_H_MIN_EGRESS,
  TC_H_MIN_INGRESS,
  TC_H_MIN_MASK,
  TCM_IFINDEX_MAGIC_BLOCK,
} from '../wire/tcm.ts'
import { sharedBlocks } from './context.ts'

/** The block that a request means, and how its answers name it. */
export interface Hook {
  readonly block: number
  readonly ifindex: number
  readonly parent: number
  /** FLOW_F_INGRESS or FLOW_F_EGRESS. */
  readonly direction: number
}

const QDISC_MAJOR = 0xffff0000

/** The shared block of that index under RCU, 0 without. */
export function sharedBlock(a: Arena, index: number): number {
  let block = deref(a.m, sharedBlocks(a))
  while (block !== 0 && a.m[(block + BLOCK_INDEX) >> 2] >>> 0 !== index) block = deref(a.m, (block + BLOCK_NEXT) >> 2)
  return block
}

const isMagicBlock = (ifindex: number): boolean => ifindex >>> 0 === TCM_IFINDEX_MAGIC_BLOCK

/** The block at that minor handle of the device's qdisc, 0 without. */
function blockOf(a: Arena, dev: number, parent: number): number {
  const { m } = a
  const minor = parent & TC_H_MIN_MASK
  if (m[(dev + NETDEV_QDISC) >> 2] === QDISC_INGRESS || minor === TC_H_MIN_INGRESS) {
    return deref(m, (dev + NETDEV_INGRESS) >> 2)
  }
  return minor === TC_H_MIN_EGRESS ? deref(m, (dev + NETDEV_EGRESS) >> 2) : 0
}

const directionOf = (parent: number): number =>
  (parent & TC_H_MIN_MASK) === TC_H_MIN_EGRESS ? FLOW_F_EGRESS : FLOW_F_INGRESS

/** The block for a change or a look at one filter. Refuses as the kernel does. */
export function findHook(a: Arena, ifindex: number, parent: number): Hook {
  if (isMagicBlock(ifindex)) {
    const block = sharedBlock(a, parent)
    if (block === 0) throw new NetlinkError(EINVAL, 'Block of given index was not found')
    return { block, ifindex, parent, direction: FLOW_F_INGRESS }
  }
  const dev = netdevByIndex(a, ifindex)
  if (dev === 0) throw new NetlinkError(ENODEV)
  if (parent === 0) throw new NetlinkError(EINVAL, 'Qdisc not classful')
  const qdisc = a.m[(dev + NETDEV_QDISC) >> 2]
  if ((parent & TC_H_MAJ_MASK) >>> 0 !== QDISC_MAJOR || qdisc === QDISC_NONE) {
    throw new NetlinkError(EINVAL, "Parent Qdisc doesn't exists")
  }
  const minor = parent & TC_H_MIN_MASK
  if (qdisc !== QDISC_INGRESS && minor !== 0 && minor !== TC_H_MIN_INGRESS && minor !== TC_H_MIN_EGRESS) {
    throw new NetlinkError(ENOENT, "Specified class doesn't exist")
  }
  const block = blockOf(a, dev, parent)
  if (block === 0) throw new NetlinkError(EINVAL, 'The qdisc has no filters at this hook')
  if (a.m[(block + BLOCK_INDEX) >> 2] !== 0) {
    throw new NetlinkError(
      EOPNOTSUPP,
      'This filter block is shared. Please use the block index to manipulate the filters',
    )
  }
  return { block, ifindex, parent, direction: directionOf(parent) }
}

/** The block for a dump: nothing there is an empty dump, not an error. A shared one is named by its index in the answers. */
export function findHookForDump(a: Arena, ifindex: number, parent: number): Hook | undefined {
  if (isMagicBlock(ifindex)) {
    const block = sharedBlock(a, parent)
    return block === 0 ? undefined : { block, ifindex, parent, direction: FLOW_F_INGRESS }
  }
  const dev = netdevByIndex(a, ifindex)
  if (dev === 0 || parent === 0 || (parent & TC_H_MAJ_MASK) >>> 0 !== QDISC_MAJOR) return undefined
  if (a.m[(dev + NETDEV_QDISC) >> 2] === QDISC_NONE) return undefined
  const block = blockOf(a, dev, parent)
  if (block === 0) return undefined
  const index = a.m[(block + BLOCK_INDEX) >> 2] >>> 0
  if (index !== 0) return { block, ifindex: TCM_IFINDEX_MAGIC_BLOCK, parent: index, direction: FLOW_F_INGRESS }
  return { block, ifindex, parent, direction: directionOf(parent) }
}
