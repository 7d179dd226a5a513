// Receiving: a frame from a port, its ingress filters, then the host's protocols (__netif_receive_skb_core).

import { DROP_DEV_DOWN, DROP_RX_TOO_LONG, DROP_RX_TOO_SHORT, DROP_VLAN } from '../../memory/layout/drop.ts'
import {
  IFF_UP,
  NETDEV_FLAGS,
  NETDEV_IFINDEX,
  NETDEV_INGRESS,
  NETDEV_MTU,
  NETDEV_RX_COUNTER,
} from '../../memory/layout/netdev.ts'
import {
  PKT_CT,
  PKT_DATA,
  PKT_DEV,
  PKT_FLAGS,
  PKT_IIF,
  PKT_LEN,
  PKT_MRU,
  PKT_TYPE_DEV_SHIFT,
} from '../../memory/layout/packet.ts'
import { ETH_LEN, isVlan, TAGGED_MIN } from './frame.ts'
import { HOOK_PASS, HOOK_SHOT, runHook } from './hook.ts'
import { localInput } from './local_input.ts'
import { count, drop } from './state.ts'
import { traceDeliver } from './trace.ts'

/** What a port takes beside its MTU: Ethernet header and one tag (is_skb_forwardable). */
export const MTU_SLACK: u32 = 18

/** What the port itself refuses. False: the packet is dropped. */
// @ts-ignore: decorator
@inline
export function accept(pkt: usize, dev: usize): bool {
  const len = load<u32>(pkt, PKT_LEN)
  const ok = (load<u32>(dev, NETDEV_FLAGS) & IFF_UP) != 0 && len <= load<u32>(dev, NETDEV_MTU) + MTU_SLACK && len >= ETH_LEN
  if (!ok) {
    refuse(pkt, dev, len)
    return false
  }
  store<usize>(pkt, dev, PKT_DEV)
  store<u32>(pkt, load<u32>(dev, NETDEV_IFINDEX) << PKT_TYPE_DEV_SHIFT, PKT_FLAGS)
  count(load<u32>(dev, NETDEV_RX_COUNTER), len)
  return true
}

function refuse(pkt: usize, dev: usize, len: u32): void {
  if ((load<u32>(dev, NETDEV_FLAGS) & IFF_UP) == 0) drop(pkt, DROP_DEV_DOWN)
  else drop(pkt, len < ETH_LEN ? DROP_RX_TOO_SHORT : DROP_RX_TOO_LONG)
}

/** skb_vlan_untag refuses it. */
// @ts-ignore: decorator
@inline
export function isCutTag(pkt: usize): bool {
  return load<u32>(pkt, PKT_LEN) < TAGGED_MIN && isVlan(load<u16>(load<usize>(pkt, PKT_DATA), 12))
}

/** A frame that a port received. */
export function receive(pkt: usize, dev: usize): void {
  if (accept(pkt, dev)) deliver(pkt, dev)
}

/** netif_receive_skb: what a device received, from wherever. True: the sender is told that it was dropped. */
export function deliver(pkt: usize, dev: usize): bool {
  store<usize>(pkt, dev, PKT_DEV)
  store<u32>(pkt, load<u32>(dev, NETDEV_IFINDEX), PKT_IIF)
  store<u16>(pkt, 0, PKT_MRU)
  store<u64>(pkt, 0, PKT_CT) // with state and zone: a connection does not come along from one device to another
  traceDeliver(pkt, dev)
  if (isCutTag(pkt)) {
    drop(pkt, DROP_VLAN)
    return true
  }
  const block = load<usize>(dev, NETDEV_INGRESS)
  if (block != 0) {
    const fate = runHook(pkt, block, true)
    if (fate != HOOK_PASS) return fate == HOOK_SHOT
  }
  return localInput(pkt, dev)
}
