// Packets that an action ct holds: fragments, until the host has put their datagram together; and the large slots in
// which such datagrams stand, of which the table of connections has a few (memory/layout/packet.ts: LARGE_*).

import { CT_TABLE_LARGE, CT_TABLE_LARGE_LOCK } from '../../memory/layout/conntrack.ts'
import { CT_ZONE } from '../../memory/layout/action_state.ts'
import { DROP_CT_FRAGMENT, DROP_HEADROOM } from '../../memory/layout/drop.ts'
import * as K from '../../memory/layout/packet.ts'
import { SUPER_GENERATION } from '../../memory/layout/super.ts'
import { HELD_IPV6, PUNT_CT_FRAGMENT } from '../../memory/layout/worker.ts'
import { spinLock, spinUnlock, table } from './conntrack.ts'
import { BE_IPV6, networkProtocol } from './frame.ts'
import { HOOK_PASS, hookBytes, runFlow } from './hook.ts'
import { localInput } from './local_input.ts'
import { transmitFiltered } from './output.ts'
import { ownTunnel } from './packet.ts'
import { drop, punt } from './state.ts'

/** Gives a fragment to the host. `op`: the OP_CT that wants it whole. */
export function hold(pkt: usize, block: usize, flow: usize, op: usize, ingress: bool): void {
  if (load<usize>(pkt, K.PKT_DATA) < pkt + K.PKT_HELD_END) {
    drop(pkt, DROP_HEADROOM)
    return
  }
  ownTunnel(pkt)
  store<usize>(pkt, block, K.PKT_HELD_BLOCK)
  store<usize>(pkt, flow, K.PKT_HELD_FLOW)
  store<usize>(pkt, op, K.PKT_HELD_OP)
  store<u32>(pkt, load<u32>(SUPER_GENERATION), K.PKT_HELD_GENERATION)
  store<u32>(pkt, ingress ? 1 : 0, K.PKT_HELD_INGRESS)
  const family: usize = networkProtocol(pkt) == BE_IPV6 ? <usize>HELD_IPV6 : 0
  punt(pkt, load<usize>(pkt, K.PKT_DEV), PUNT_CT_FRAGMENT, family | load<u16>(load<usize>(op, 4), CT_ZONE))
}

/** A packet that was held goes on, whole. The rules that held it may have changed: then it ends here. */
export function resume(pkt: usize): void {
  if (load<u32>(SUPER_GENERATION) != load<u32>(pkt, K.PKT_HELD_GENERATION)) {
    drop(pkt, DROP_CT_FRAGMENT)
    return
  }
  const block = load<usize>(pkt, K.PKT_HELD_BLOCK)
  const flow = load<usize>(pkt, K.PKT_HELD_FLOW)
  const op = load<usize>(pkt, K.PKT_HELD_OP)
  const ingress = load<u32>(pkt, K.PKT_HELD_INGRESS) != 0
  const bytes = hookBytes(pkt, load<usize>(pkt, K.PKT_DATA), load<u32>(pkt, K.PKT_LEN), ingress)
  if (runFlow(pkt, block, flow, op, false, bytes, ingress) != HOOK_PASS) return
  const dev = load<usize>(pkt, K.PKT_DEV)
  if (ingress) localInput(pkt, dev)
  else transmitFiltered(pkt, dev)
}

// ---- large slots

/** A free large slot, 0 when there is none. */
export function allocLarge(): usize {
  const tab = table()
  if (tab == 0) return 0
  spinLock(tab + CT_TABLE_LARGE_LOCK)
  const pkt = load<usize>(tab, CT_TABLE_LARGE)
  if (pkt != 0) store<usize>(tab, load<usize>(pkt), CT_TABLE_LARGE)
  spinUnlock(tab + CT_TABLE_LARGE_LOCK)
  if (pkt != 0) store<u16>(pkt, 0, K.LARGE_PIECES)
  return pkt
}

export function releaseLarge(pkt: usize): void {
  const tab = table()
  spinLock(tab + CT_TABLE_LARGE_LOCK)
  store<usize>(pkt, load<usize>(tab, CT_TABLE_LARGE))
  store<usize>(tab, pkt, CT_TABLE_LARGE)
  spinUnlock(tab + CT_TABLE_LARGE_LOCK)
}
