// The machine that runs a flow's program (memory/layout/program.ts): one packet, one list of actions.
//
// Gives back a verdict of the kernel (TC_ACT_*), the packet still there, or one of the two below, the packet gone.

import { TC_ACT_GOTO_CHAIN, TC_ACT_OK } from '../../memory/layout/action.ts'
import { DROP_DEV_DOWN, DROP_HEADROOM, DROP_MIRRED_NEST, DROP_NO_SLOT, DROP_VLAN } from '../../memory/layout/drop.ts'
import { ENCAP_DEV } from '../../memory/layout/encap.ts'
import { IFF_UP, NETDEV_FLAGS, NETDEV_IFINDEX } from '../../memory/layout/netdev.ts'
import { PKT_DEV, PKT_IIF, PKT_TUN } from '../../memory/layout/packet.ts'
import * as P from '../../memory/layout/program.ts'
import { defer } from './backlog.ts'
import { deliver } from './input.ts'
import { transmit, transmitEncap } from './output.ts'
import { clone } from './packet.ts'
import {
  addMirredNest,
  count,
  countDrop,
  countOverlimit,
  countReason,
  drop,
  mirredNest,
  setModified,
} from './state.ts'
import { vlanModify, vlanPop, vlanPush } from './vlan.ts'

/** An action sent the packet on. */
export const EXEC_TAKEN: i32 = 100
/** An action dropped it, and its sender is told. */
export const EXEC_SHOT: i32 = 101

/** MIRRED_NEST_LIMIT */
const MIRRED_NEST_MAX: i32 = 4

/** Chain that the last TC_ACT_GOTO_CHAIN names. */
export let gotoChain: usize = 0

/** Runs the program at `pc`. `bytes` is what counters count for the packet. */
export function execute(pkt: usize, pc: usize, bytes: u32, ingress: bool): i32 {
  while (pc != 0) {
    const op = load<u32>(pc)
    switch (op & 0xff) {
      case P.OP_END:
        return load<i32>(pc, 4)
      case P.OP_GOTO:
        gotoChain = load<usize>(pc, 4)
        return TC_ACT_GOTO_CHAIN
      case P.OP_COUNT:
        count(load<u32>(pc, 4), bytes)
        break
      case P.OP_JUMP:
        pc += (load<u32>(pc, 4) << 2)
        break
      case P.OP_REDIRECT: {
        const gone = mirred(pkt, load<usize>(pc, 4), 0, load<u32>(pc, 8), load<u32>(pc, 12), ingress)
        if (gone != 0) return gone
        break
      }
      case P.OP_ENCAP: {
        const entry = load<usize>(pc, 4)
        const gone = mirred(pkt, load<usize>(entry, ENCAP_DEV), entry, load<u32>(pc, 8), load<u32>(pc, 12), ingress)
        if (gone != 0) return gone
        break
      }
      case P.OP_TUNNEL_SET:
        store<usize>(pkt, load<usize>(pc, 4), PKT_TUN)
        setModified(true)
        break
      case P.OP_TUNNEL_UNSET:
        store<usize>(pkt, 0, PKT_TUN)
        setModified(true)
        break
      case P.OP_VLAN_PUSH:
        setModified(true)
        if (!vlanPush(pkt, load<u32>(pc, 4), load<u32>(pc, 8))) return refuse(pkt, load<u32>(pc, 12), DROP_HEADROOM)
        break
      case P.OP_VLAN_POP:
        setModified(true)
        if (!vlanPop(pkt)) return refuse(pkt, op >>> 8 > 1 ? load<u32>(pc, 4) : 0, DROP_VLAN)
        break
      case P.OP_VLAN_MODIFY:
        setModified(true)
        vlanModify(pkt, load<u32>(pc, 4), load<u32>(pc, 8), load<u32>(pc, 12))
        break
      default:
        return TC_ACT_OK
    }
    pc += (op >>> 8) << 2
  }
  return TC_ACT_OK
}

/** The action drops the packet, and its counter says so. */
function refuse(pkt: usize, counter: u32, reason: i32): i32 {
  countDrop(counter)
  drop(pkt, reason)
  return EXEC_SHOT
}

/** tcf_mirred_act. 0: the list goes on (a copy was sent, or could not be). */
function mirred(pkt: usize, dev: usize, entry: usize, flags: u32, counter: u32, ingress: bool): i32 {
  if (mirredNest >= MIRRED_NEST_MAX) {
    drop(pkt, DROP_MIRRED_NEST)
    return EXEC_SHOT
  }
  const mirror = (flags & P.REDIRECT_MIRROR) != 0
  if ((load<u32>(dev, NETDEV_FLAGS) & IFF_UP) == 0) {
    countOverlimit(counter)
    if (mirror) return 0
    drop(pkt, DROP_DEV_DOWN)
    return EXEC_SHOT
  }
  const from = load<u32>(load<usize>(pkt, PKT_DEV), NETDEV_IFINDEX)
  if (mirror) {
    pkt = clone(pkt)
    if (pkt == 0) {
      countReason(DROP_NO_SLOT)
      countOverlimit(counter)
      return 0
    }
  }
  store<u32>(pkt, from, PKT_IIF)
  addMirredNest(1)
  let failed = false
  if ((flags & P.REDIRECT_INGRESS) != 0) {
    if (!ingress) store<usize>(pkt, 0, PKT_TUN)
    // Nested, the kernel queues it (netif_rx) instead of receiving it in the middle of things.
    failed = mirredNest > 1 ? !defer(pkt, dev) : deliver(pkt, dev)
  } else {
    failed = entry != 0 ? transmitEncap(pkt, dev, entry) : transmit(pkt, dev)
  }
  addMirredNest(-1)
  if (failed) countOverlimit(counter)
  if (mirror) return 0
  return failed && !ingress ? EXEC_SHOT : EXEC_TAKEN
}
