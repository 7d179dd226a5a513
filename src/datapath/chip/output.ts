// Sending: egress filters, then the device (dev_queue_xmit, and what each kind of device does with a frame).
//
// The functions take the packet; true says that the sender is told of a failure (NET_XMIT_DROP, -ENETDOWN), as mirred
// counts it under overlimits. A tunnel device swallows its own troubles.

import { TUN_MODE, TUN_TX } from '../../memory/layout/action.ts'
import {
  DROP_DEV_DOWN,
  DROP_DUMMY,
  DROP_LOOP,
  DROP_NO_PROTOCOL,
  DROP_NO_TUNNEL_KEY,
  DROP_RX_TOO_SHORT,
  DROP_VLAN,
} from '../../memory/layout/drop.ts'
import { ENCAP_HEADER, ENCAP_TUN } from '../../memory/layout/encap.ts'
import {
  IFF_UP,
  NETDEV_EGRESS,
  NETDEV_ENCAP,
  NETDEV_F_EXTERNAL,
  NETDEV_FEATURES,
  NETDEV_FLAGS,
  NETDEV_KIND,
  NETDEV_KIND_DUMMY,
  NETDEV_KIND_LOOPBACK,
  NETDEV_KIND_PORT,
  NETDEV_TX_COUNTER,
} from '../../memory/layout/netdev.ts'
import { PKT_DATA, PKT_DEV, PKT_LEN, PKT_TUN } from '../../memory/layout/packet.ts'
import { EMIT_OUTPUT, PUNT_TUNNEL } from '../../memory/layout/worker.ts'
import { ETH_LEN, isVlan, TAGGED_MIN } from './frame.ts'
import { HOOK_PASS, HOOK_SHOT, runHook } from './hook.ts'
import { ownTunnel } from './packet.ts'
import { sendEncapsulated } from './push_header.ts'
import { addXmitNest, count, drop, emit, punt, setModified, xmitNest } from './state.ts'

/** XMIT_RECURSION_LIMIT */
const XMIT_NEST_MAX: i32 = 8

/** Sends a packet by a device: its egress filters, then the device. */
export function transmit(pkt: usize, dev: usize): bool {
  store<usize>(pkt, dev, PKT_DEV)
  const block = load<usize>(dev, NETDEV_EGRESS)
  if (block != 0) {
    const fate = runHook(pkt, block, false)
    if (fate != HOOK_PASS) return fate == HOOK_SHOT
  }
  return transmitFiltered(pkt, dev)
}

/** Sends a packet that has passed the device's egress filters. */
// @ts-ignore: decorator
@inline
export function transmitFiltered(pkt: usize, dev: usize): bool {
  if (load<u32>(dev, NETDEV_KIND) == NETDEV_KIND_PORT && (load<u32>(dev, NETDEV_FLAGS) & IFF_UP) != 0) {
    const len = load<u32>(pkt, PKT_LEN)
    if (len < ETH_LEN) {
      drop(pkt, DROP_RX_TOO_SHORT) // a packet of a tunnel device of layer 3 that is no frame
      return false
    }
    count(load<u32>(dev, NETDEV_TX_COUNTER), len)
    // What is at the other end of a port (a veth) takes a frame whose tag is cut short off the wire and drops it.
    if (len < TAGGED_MIN && isVlan(load<u16>(load<usize>(pkt, PKT_DATA), 12))) drop(pkt, DROP_VLAN)
    else emit(pkt, dev, EMIT_OUTPUT, 0)
    return false
  }
  return transmitOther(pkt, dev)
}

/** Devices that are not ports, and those that are down. */
function transmitOther(pkt: usize, dev: usize): bool {
  if ((load<u32>(dev, NETDEV_FLAGS) & IFF_UP) == 0) {
    drop(pkt, DROP_DEV_DOWN)
    return true
  }
  const kind = load<u32>(dev, NETDEV_KIND)
  if (kind == NETDEV_KIND_DUMMY || kind == NETDEV_KIND_LOOPBACK) {
    count(load<u32>(dev, NETDEV_TX_COUNTER), load<u32>(pkt, PKT_LEN))
    drop(pkt, kind == NETDEV_KIND_DUMMY ? DROP_DUMMY : DROP_NO_PROTOCOL)
    return false
  }
  if ((load<u32>(dev, NETDEV_FEATURES) & NETDEV_F_EXTERNAL) == 0) {
    tunnelTransmit(pkt, dev, load<usize>(dev, NETDEV_ENCAP))
    return xmitRefused
  }
  const tun = load<usize>(pkt, PKT_TUN)
  if (tun == 0 || (load<u32>(tun, TUN_MODE) & TUN_TX) == 0) {
    drop(pkt, DROP_NO_TUNNEL_KEY)
    return false
  }
  tunnelTransmit(pkt, dev, 0)
  return xmitRefused
}

/** Sends a packet into a tunnel device with the metadata of an encap entry, whose header is known already. */
export function transmitEncap(pkt: usize, dev: usize, entry: usize): bool {
  const tun = load<usize>(entry, ENCAP_TUN)
  const external = (load<u32>(dev, NETDEV_FEATURES) & NETDEV_F_EXTERNAL) != 0
  if (external) store<usize>(pkt, tun, PKT_TUN)
  setModified(true)
  const block = load<usize>(dev, NETDEV_EGRESS)
  if (block != 0) {
    store<usize>(pkt, dev, PKT_DEV)
    const fate = runHook(pkt, block, false)
    if (fate != HOOK_PASS) return fate == HOOK_SHOT
    // The filters may have set another key.
    if (external && load<usize>(pkt, PKT_TUN) != tun) return transmitOther(pkt, dev)
  }
  tunnelTransmit(pkt, dev, entry)
  return xmitRefused
}

/** The last tunnelTransmit was one too many inside each other. */
let xmitRefused: bool = false

/** The tunnel device: by the entry's header, or by the host when there is none. */
function tunnelTransmit(pkt: usize, dev: usize, entry: usize): void {
  xmitRefused = xmitNest >= XMIT_NEST_MAX
  if (xmitRefused) {
    drop(pkt, DROP_LOOP)
    return
  }
  const header: usize = entry == 0 ? 0 : load<usize>(entry, ENCAP_HEADER)
  if (header == 0) {
    store<usize>(pkt, dev, PKT_DEV)
    ownTunnel(pkt)
    punt(pkt, dev, PUNT_TUNNEL, entry)
    return
  }
  addXmitNest(1)
  sendEncapsulated(pkt, dev, header)
  addXmitNest(-1)
  xmitRefused = false
}
