// VXLAN received: the header, the device, the inner frame (drivers/net/vxlan: vxlan_rcv; net/inet_ecn.h).
//
// An external device takes every VNI and gives the packet its tunnel metadata; a classic one takes its own VNI.

import {
  TUN_FLAGS,
  TUN_OPTS,
  TUN_OPTS_KIND,
  TUN_OPTS_LEN,
  TUNNEL_KEY,
  TUNNEL_VXLAN_OPT,
} from '../../memory/layout/action.ts'
import { DROP_INNER_HEADER, DROP_LOOP, DROP_NO_VNI, DROP_TUNNEL_HEADER } from '../../memory/layout/drop.ts'
import { ENC_OPTS_VXLAN } from '../../memory/layout/flow_key.ts'
import {
  NETDEV_F_EXTERNAL,
  NETDEV_F_GBP,
  NETDEV_FEATURES,
  NETDEV_KIND,
  NETDEV_KIND_VXLAN,
  NETDEV_MAC,
  NETDEV_VNI,
} from '../../memory/layout/netdev.ts'
import { PKT_LEN, PKT_MARK, PKT_TUN, PKT_TUN_INFO } from '../../memory/layout/packet.ts'
import { ETH_LEN } from './frame.ts'
import { drop } from './state.ts'
import { frameUp, nextTunnel, outerTos, setUdpTunnel } from './tunnel_input.ts'

const UDP_LEN: u32 = 8
const VXLAN_LEN: u32 = 8
// The first four bytes of the header, as loaded.
const FLAG_VNI: u32 = 0x08
const FLAG_GBP: u32 = 0x80
/** Behind the flags byte: what the group policy extension uses. */
const GBP_BITS: u32 = 0xffffff00
const GBP_DONT_LEARN: u32 = 0x400000
const GBP_POLICY_APPLIED: u32 = 0x080000

/** vxlan_vs_find_vni */
export function deviceOf(dev: usize, vni: u32, family: u32): usize {
  for (; dev != 0; dev = nextTunnel(dev, family)) {
    if (load<u32>(dev, NETDEV_KIND) != NETDEV_KIND_VXLAN) continue
    if ((load<u32>(dev, NETDEV_FEATURES) & NETDEV_F_EXTERNAL) != 0 || load<u32>(dev, NETDEV_VNI) == vni) return dev
  }
  return 0
}

/** A VXLAN packet whose outer headers are right. `tunnel`: first device of its port; `udp`: offset of the UDP header. */
export function vxlanInput(pkt: usize, tunnel: usize, data: usize, udp: u32, family: u32): void {
  const len = load<u32>(pkt, PKT_LEN)
  const header = data + udp + UDP_LEN
  const at = udp + UDP_LEN + VXLAN_LEN
  if (len < at || (load<u32>(header) & FLAG_VNI) == 0) {
    drop(pkt, DROP_TUNNEL_HEADER)
    return
  }
  const last = bswap<u32>(load<u32>(header, 4))
  const vni = last >>> 8
  const dev = deviceOf(tunnel, vni, family)
  if (dev == 0) {
    drop(pkt, DROP_NO_VNI)
    return
  }
  if (len <= at + ETH_LEN) {
    drop(pkt, DROP_INNER_HEADER)
    return
  }
  const features = load<u32>(dev, NETDEV_FEATURES)
  const external = (features & NETDEV_F_EXTERNAL) != 0
  let flags = load<u32>(header) & ~FLAG_VNI
  let policy: u32 = 0
  const grouped = (features & NETDEV_F_GBP) != 0 && (flags & FLAG_GBP) != 0
  if ((features & NETDEV_F_GBP) != 0) {
    policy = bswap<u32>(flags) & (0xffff | GBP_DONT_LEARN | GBP_POLICY_APPLIED)
    flags &= ~(FLAG_GBP | GBP_BITS)
  }
  if (flags != 0 || (last & 255) != 0) {
    drop(pkt, DROP_TUNNEL_HEADER)
    return
  }
  const inner = data + at
  if (load<u32>(inner, 6) == load<u32>(dev, NETDEV_MAC) && load<u16>(inner, 10) == load<u16>(dev, NETDEV_MAC + 4)) {
    drop(pkt, DROP_LOOP)
    return
  }
  if (external) {
    setUdpTunnel(pkt, data, udp, family, TUNNEL_KEY, vni)
    if (grouped) {
      const tun = pkt + PKT_TUN_INFO
      store<u32>(tun, load<u32>(tun, TUN_FLAGS) | TUNNEL_VXLAN_OPT, TUN_FLAGS)
      store<u8>(tun, 4, TUN_OPTS_LEN)
      store<u8>(tun, ENC_OPTS_VXLAN, TUN_OPTS_KIND)
      store<u32>(tun, policy, TUN_OPTS)
    }
  } else {
    store<usize>(pkt, 0, PKT_TUN)
    if (grouped) store<u32>(pkt, policy, PKT_MARK)
  }
  frameUp(pkt, dev, data, at, outerTos(data, udp, family), load<u16>(data + at, 12))
}
