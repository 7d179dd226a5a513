// VXLAN received: the header, the device, the inner frame (drivers/net/vxlan: vxlan_rcv; net/inet_ecn.h).
//
// An external device takes every VNI and gives the packet its tunnel metadata; a classic one takes its own VNI.

import {
  TUN_DST,
  TUN_FLAGS,
  TUN_ID,
  TUN_ID_HI,
  TUN_IPV6,
  TUN_LABEL,
  TUN_MODE,
  TUN_OPTS,
  TUN_OPTS_KIND,
  TUN_OPTS_LEN,
  TUN_SRC,
  TUN_TOS,
  TUN_TP_SRC,
  TUNNEL_CSUM,
  TUNNEL_KEY,
  TUNNEL_VXLAN_OPT,
} from '../../memory/layout/action.ts'
import {
  DROP_INNER_HEADER,
  DROP_LOOP,
  DROP_NO_VNI,
  DROP_TUNNEL_ECN,
  DROP_TUNNEL_HEADER,
} from '../../memory/layout/drop.ts'
import { ENC_OPTS_VXLAN } from '../../memory/layout/flow_key.ts'
import {
  IFF_UP,
  NETDEV_F_EXTERNAL,
  NETDEV_F_GBP,
  NETDEV_FEATURES,
  NETDEV_FLAGS,
  NETDEV_IFINDEX,
  NETDEV_KIND,
  NETDEV_KIND_VXLAN,
  NETDEV_MAC,
  NETDEV_RX_COUNTER,
  NETDEV_TP_NEXT,
  NETDEV_TUN,
  NETDEV_VNI,
} from '../../memory/layout/netdev.ts'
import {
  PKT_DATA,
  PKT_FLAGS,
  PKT_LEN,
  PKT_MARK,
  PKT_PROTO,
  PKT_TUN,
  PKT_TUN_INFO,
  PKT_TYPE_DEV_SHIFT,
} from '../../memory/layout/packet.ts'
import { SUPER_UDP_PORTS } from '../../memory/layout/super.ts'
import { defer } from './backlog.ts'
import { decapsulateEcn } from './ecn.ts'
import { BE_IP, BE_IPV6, ETH_LEN } from './frame.ts'
import { deliver } from './input.ts'
import { count, drop, mirredNest } from './state.ts'

const UDP_LEN: u32 = 8
const VXLAN_LEN: u32 = 8
// The first four bytes of the header, as loaded.
const FLAG_VNI: u32 = 0x08
const FLAG_GBP: u32 = 0x80
/** Behind the flags byte: what the group policy extension uses. */
const GBP_BITS: u32 = 0xffffff00
const GBP_DONT_LEARN: u32 = 0x400000
const GBP_POLICY_APPLIED: u32 = 0x080000

/** Has the device a socket for packets over this family? Without a remote of IPv6 a classic one has IPv4 alone. */
function takesFamily(dev: usize, family: u32): bool {
  if ((load<u32>(dev, NETDEV_FEATURES) & NETDEV_F_EXTERNAL) != 0) return true
  const tun = load<usize>(dev, NETDEV_TUN)
  const ipv6 = tun != 0 && (load<u32>(tun, TUN_MODE) & TUN_IPV6) != 0
  return ipv6 == (family == 6)
}

/** First tunnel device that listens on the port (as loaded) over this family, 0 when none does. */
export function tunnelPort(port: u32, family: u32): usize {
  let dev = load<usize>(load<usize>(SUPER_UDP_PORTS) + ((<usize>port) << 2))
  while (dev != 0 && !((load<u32>(dev, NETDEV_FLAGS) & IFF_UP) != 0 && takesFamily(dev, family))) {
    dev = load<usize>(dev, NETDEV_TP_NEXT)
  }
  return dev != 0 && load<u32>(dev, NETDEV_KIND) == NETDEV_KIND_VXLAN ? dev : 0
}

/** vxlan_vs_find_vni */
function deviceOf(dev: usize, vni: u32, family: u32): usize {
  for (; dev != 0; dev = load<usize>(dev, NETDEV_TP_NEXT)) {
    if ((load<u32>(dev, NETDEV_FLAGS) & IFF_UP) == 0 || !takesFamily(dev, family)) continue
    if ((load<u32>(dev, NETDEV_FEATURES) & NETDEV_F_EXTERNAL) != 0 || load<u32>(dev, NETDEV_VNI) == vni) return dev
  }
  return 0
}

/** udp_tun_rx_dst: the packet's tunnel metadata from its outer headers. `udp`: offset of the UDP header. */
function setTunnel(pkt: usize, data: usize, udp: u32, vni: u32, family: u32): void {
  const tun = pkt + PKT_TUN_INFO
  const zero = i64x2.splat(0)
  v128.store(tun, zero, 0)
  v128.store(tun, zero, 16)
  v128.store(tun, zero, 32)
  v128.store(tun, zero, 48)
  const t = data + udp
  if (family == 4) {
    const ip = t - 20
    store<u32>(tun, load<u32>(ip, 12), TUN_SRC)
    store<u32>(tun, load<u32>(ip, 16), TUN_DST)
    store<u16>(tun, <u16>load<u8>(ip, 1) | (<u16>load<u8>(ip, 8) << 8), TUN_TOS)
  } else {
    const ip = t - 40
    store<u32>(tun, TUN_IPV6, TUN_MODE)
    v128.store(tun, v128.load(ip, 8), TUN_SRC)
    v128.store(tun, v128.load(ip, 24), TUN_DST)
    const word = bswap<u32>(load<u32>(ip))
    store<u16>(tun, <u16>((word >>> 20) & 255) | (<u16>load<u8>(ip, 7) << 8), TUN_TOS)
    store<u32>(tun, word & 0xfffff, TUN_LABEL)
  }
  store<u32>(tun, load<u32>(t), TUN_TP_SRC)
  store<u32>(tun, load<u16>(t, 6) != 0 ? TUNNEL_KEY | TUNNEL_CSUM : TUNNEL_KEY, TUN_FLAGS)
  store<u32>(tun, 0, TUN_ID_HI)
  store<u32>(tun, vni, TUN_ID)
  store<usize>(pkt, tun, PKT_TUN)
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
  const type = load<u16>(inner, 12)
  const n = len - at - ETH_LEN
  if ((type == BE_IP && n < 20) || (type == BE_IPV6 && n < 40)) {
    drop(pkt, DROP_INNER_HEADER)
    return
  }
  if (external) {
    setTunnel(pkt, data, udp, vni, family)
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
  const tos = family == 4 ? <u32>load<u8>(data + udp - 19) : (<u32>bswap<u16>(load<u16>(data + udp - 40)) >> 4) & 255
  if (!decapsulateEcn(tos, inner + ETH_LEN, type)) {
    drop(pkt, DROP_TUNNEL_ECN)
    return
  }
  store<usize>(pkt, inner, PKT_DATA)
  store<u16>(pkt, 0, PKT_PROTO)
  store<u32>(pkt, len - at, PKT_LEN)
  store<u32>(pkt, load<u32>(dev, NETDEV_IFINDEX) << PKT_TYPE_DEV_SHIFT, PKT_FLAGS)
  count(load<u32>(dev, NETDEV_RX_COUNTER), n)
  // The kernel's NAPI takes it when the work at hand is done.
  if (mirredNest != 0) defer(pkt, dev)
  else deliver(pkt, dev)
}
