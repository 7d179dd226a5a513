// The machine that runs a flow's program (memory/layout/program.ts): one packet, one list of actions.
//
// Gives back a verdict of the kernel (TC_ACT_*), the packet still there, or one of those below.

import { TC_ACT_GOTO_CHAIN, TC_ACT_OK } from '../../memory/layout/action.ts'
import { DROP_ACTION, DROP_DEV_DOWN, DROP_HEADROOM, DROP_MIRRED_NEST, DROP_NO_SLOT, DROP_VLAN } from '../../memory/layout/drop.ts'
import { ENCAP_DEV, ENCAP_TUN } from '../../memory/layout/encap.ts'
import { IFF_UP, NETDEV_FLAGS, NETDEV_IFINDEX } from '../../memory/layout/netdev.ts'
import { PKT_CT, PKT_DEV, PKT_IIF, PKT_LEN, PKT_MRU, PKT_TC_DEPTH, PKT_TUN } from '../../memory/layout/packet.ts'
import * as P from '../../memory/layout/program.ts'
import { PUNT_CT_REFRAGMENT } from '../../memory/layout/worker.ts'
import { gactRandom, police, sample } from './action_chance.ts'
import { csum } from './action_csum.ts'
import { connmark, ct, CT_FRAGMENT, CT_SHOT, ctClear, ctinfo, ctReason } from './action_ct.ts'
import { passGate } from './action_gate.ts'
import { mplsDecTtl, mplsModify, mplsPop, mplsPush, popEth, pushEth } from './action_mpls.ts'
import { nat } from './action_nat.ts'
import { pedit } from './action_pedit.ts'
import { skbedit, skbmod } from './action_skb.ts'
import { defer } from './backlog.ts'
import { ETH_LEN } from './frame.ts'
import { deliver } from './input.ts'
import { transmit, transmitEncap } from './output.ts'
import { clone, ownTunnel } from './packet.ts'
import {
  addMirredNest,
  count,
  countDrop,
  countOverlimit,
  countReason,
  drop,
  mirredNest,
  punt,
  setModified,
  uncount,
} from './state.ts'
import { vlanModify, vlanPop, vlanPush } from './vlan.ts'

/** An action sent the packet on. */
export const EXEC_TAKEN: i32 = 100
/** An action dropped it, and its sender is told. */
export const EXEC_SHOT: i32 = 101
/** A fragment: the op at heldAt wants the whole packet. It is still there. */
export const EXEC_HELD: i32 = 102

/** MIRRED_NEST_LIMIT */
const MIRRED_NEST_MAX: i32 = 4
/** MIRRED_DEFER_LIMIT: how often ingress hooks send a packet to an ingress, before one refuses. */
const MIRRED_DEFER_MAX: u32 = 3

/** Chain that the last TC_ACT_GOTO_CHAIN names. */
export let gotoChain: usize = 0

/** The op that the last EXEC_HELD is about. */
export let heldAt: usize = 0

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
        const gone = mirred(pkt, load<usize>(pc, 4), 0, pc, bytes, ingress)
        if (gone != 0) return gone
        break
      }
      case P.OP_ENCAP: {
        const entry = load<usize>(pc, 4)
        const gone = mirred(pkt, load<usize>(entry, ENCAP_DEV), entry, pc, bytes, ingress)
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
      case P.OP_RANDOM:
        if (gactRandom(pc + 4)) pc += load<u32>(pc, 24) << 2
        break
      case P.OP_POLICE:
        if (police(pkt, pc + 4, bytes, ingress)) pc += load<u32>(pc, 16) << 2
        break
      case P.OP_SAMPLE:
        sample(pkt, pc + 4)
        break
      case P.OP_GATE:
        if (!passGate(pkt, load<usize>(pc, 4), load<u32>(pc, 8), bytes)) {
          return refuse(pkt, load<u32>(pc, 8), DROP_ACTION)
        }
        break
      case P.OP_CT: {
        setModified(true)
        const done = ct(pkt, load<usize>(pc, 4))
        if (done == CT_SHOT) return refuse(pkt, load<u32>(pc, 8), ctReason)
        if (done == CT_FRAGMENT) {
          heldAt = pc
          return EXEC_HELD
        }
        break
      }
      case P.OP_CT_CLEAR:
        setModified(true)
        ctClear(pkt)
        break
      case P.OP_CONNMARK:
        connmark(pkt, load<u32>(pc, 4), load<u32>(pc, 8))
        break
      case P.OP_CTINFO:
        setModified(true)
        ctinfo(pkt, pc + 4)
        break
      default: {
        setModified(true)
        const counter = edit(pkt, pc, ingress)
        if (counter != EDITED) return refuse(pkt, counter, DROP_ACTION)
        break
      }
    }
    pc += (op >>> 8) << 2
  }
  return TC_ACT_OK
}

/** What `edit` gives when the packet may go on. */
const EDITED: u32 = 0xffffffff

/** Ops that change the packet alone. The counter of an action that refuses it, or EDITED. */
function edit(pkt: usize, pc: usize, ingress: bool): u32 {
  let ok = true
  let counter = load<u32>(pc, 4)
  switch (load<u32>(pc) & 0xff) {
    case P.OP_PEDIT:
      pedit(pkt, pc + 12, load<u32>(pc, 8), counter)
      break
    case P.OP_CSUM:
      counter = load<u32>(pc, 8)
      ok = csum(pkt, load<u32>(pc, 4))
      break
    case P.OP_MPLS_POP:
      counter = load<u32>(pc, 8)
      ok = mplsPop(pkt, load<u32>(pc, 4))
      break
    case P.OP_MPLS_PUSH:
      counter = load<u32>(pc, 16)
      ok = mplsPush(pkt, load<u32>(pc, 4), load<u32>(pc, 8), load<u32>(pc, 12))
      break
    case P.OP_MPLS_MODIFY:
      counter = load<u32>(pc, 12)
      ok = mplsModify(pkt, load<u32>(pc, 4), load<u32>(pc, 8))
      break
    case P.OP_MPLS_DEC_TTL:
      ok = mplsDecTtl(pkt)
      break
    case P.OP_VLAN_POP_ETH:
      ok = popEth(pkt)
      break
    case P.OP_VLAN_PUSH_ETH:
      counter = load<u32>(pc, 16)
      ok = pushEth(pkt, pc + 4)
      break
    case P.OP_NAT:
      counter = load<u32>(pc, 20)
      ok = nat(pkt, load<u32>(pc, 4), load<u32>(pc, 8), load<u32>(pc, 12), load<u32>(pc, 16) != 0)
      break
    case P.OP_SKBEDIT:
      counter = load<u32>(pc, 28)
      ok = skbedit(pkt, pc + 4)
      break
    case P.OP_SKBMOD:
      counter = load<u32>(pc, 24)
      ok = skbmod(pkt, pc + 4, ingress)
      if (!ok) {
        countOverlimit(counter) // where the others count a drop
        counter = 0
      }
      break
    default:
      counter = 0
      ok = false
      break
  }
  return ok ? EDITED : counter
}

/** The action drops the packet, and its counter says so. */
function refuse(pkt: usize, counter: u32, reason: i32): i32 {
  countDrop(counter)
  drop(pkt, reason)
  return EXEC_SHOT
}

/** sch_frag_xmit_hook: was the packet put together from fragments, and is it larger than the largest of them? */
// @ts-ignore: decorator
@inline
function mustBeCut(pkt: usize): bool {
  const mru = <u32>load<u16>(pkt, PKT_MRU)
  return mru != 0 && load<u32>(pkt, PKT_LEN) > mru + ETH_LEN
}

/** tcf_mirred_act, the op at `pc`. 0: the list goes on (a copy was sent, or could not be). */
function mirred(pkt: usize, dev: usize, entry: usize, pc: usize, bytes: u32, ingress: bool): i32 {
  const flags = load<u32>(pc, 8)
  const counter = load<u32>(pc, 12)
  if (mirredNest >= MIRRED_NEST_MAX) {
    if ((flags & P.REDIRECT_FIRST) != 0) uncount(counter, bytes) // the kernel looks at the limit before it counts
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
  const received = (flags & P.REDIRECT_INGRESS) != 0
  const depth = <u32>load<u8>(pkt, PKT_TC_DEPTH)
  if (received && ingress && depth >= MIRRED_DEFER_MAX) {
    countOverlimit(counter)
    if (mirror) return 0
    drop(pkt, DROP_MIRRED_NEST)
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
  store<u64>(pkt, 0, PKT_CT) // nf_reset_ct: with state and zone
  addMirredNest(1)
  let failed = false
  if (received) {
    if (ingress) store<u8>(pkt, <u8>(depth + 1), PKT_TC_DEPTH)
    else store<usize>(pkt, 0, PKT_TUN)
    // Nested, the kernel queues it (netif_rx) instead of receiving it in the middle of things.
    failed = mirredNest > 1 ? !defer(pkt, dev) : deliver(pkt, dev)
  } else if (mustBeCut(pkt)) {
    if (entry != 0) store<usize>(pkt, load<usize>(entry, ENCAP_TUN), PKT_TUN)
    ownTunnel(pkt)
    punt(pkt, dev, PUNT_CT_REFRAGMENT, 0)
  } else {
    failed = entry != 0 ? transmitEncap(pkt, dev, entry) : transmit(pkt, dev)
  }
  addMirredNest(-1)
  if (failed) countOverlimit(counter)
  if (mirror) return 0
  return failed && !ingress ? EXEC_SHOT : EXEC_TAKEN
}
