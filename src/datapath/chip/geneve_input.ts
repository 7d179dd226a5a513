// Geneve received: the header, the device, the options (drivers/net/geneve.c: geneve_udp_encap_recv, geneve_rx).
//
// An external device takes every VNI, critical and OAM bits with it, and gives the packet its options as they came,
// whatever they say; a classic one takes its own VNI from its own remote, and no critical options.

import {
  TUN_DST,
  TUN_OPTS,
  TUN_OPTS_KIND,
  TUN_OPTS_LEN,
  TUNNEL_CRIT_OPT,
  TUNNEL_GENEVE_OPT,
  TUNNEL_KEY,
  TUNNEL_OAM,
} from '../../memory/layout/action.ts'
import { DROP_INNER_HEADER, DROP_LOOP, DROP_NO_VNI, DROP_TUNNEL_HEADER } from '../../memory/layout/drop.ts'
import { ENC_OPTS_GENEVE } from '../../memory/layout/flow_key.ts'
import {
  NETDEV_F_EXTERNAL,
  NETDEV_FEATURES,
  NETDEV_KIND,
  NETDEV_KIND_GENEVE,
  NETDEV_MAC,
  NETDEV_TUN,
  NETDEV_VNI,
} from '../../memory/layout/netdev.ts'
import { PKT_LEN, PKT_TUN, PKT_TUN_INFO } from '../../memory/layout/packet.ts'
import { ETH_LEN } from './frame.ts'
import { copyWords } from './packet.ts'
import { drop } from './state.ts'
import { frameUp, nextTunnel, outerTos, setUdpTunnel } from './tunnel_input.ts'

const UDP_LEN: u32 = 8
const GENEVE_LEN: u32 = 8
/** ETH_P_TEB, as loaded. */
const BE_TEB: u32 = 0x5865
const OAM: u32 = 0x80
const CRITICAL: u32 = 0x40

// @ts-ignore: decorator
@inline
function isExternal(dev: usize): bool {
  return (load<u32>(dev, NETDEV_FEATURES) & NETDEV_F_EXTERNAL) != 0
}

/** geneve_lookup_skb. */
function deviceOf(dev: usize, vni: u32, ip: usize, family: u32): usize {
  for (; dev != 0; dev = nextTunnel(dev, family)) {
    if (load<u32>(dev, NETDEV_KIND) != NETDEV_KIND_GENEVE) continue
    if (isExternal(dev)) return dev
    const remote = load<usize>(dev, NETDEV_TUN) + TUN_DST
    const same =
      family == 4
        ? load<u32>(ip, 12) == load<u32>(remote)
        : load<u64>(ip, 8) == load<u64>(remote) && load<u64>(ip, 16) == load<u64>(remote, 8)
    if (same && load<u32>(dev, NETDEV_VNI) == vni) return dev
  }
  return 0
}

/** A Geneve packet whose outer headers are right. `tunnel`: first device of its port; `udp`: offset of the UDP header. */
export function geneveInput(pkt: usize, tunnel: usize, data: usize, udp: u32, family: u32): void {
  const len = load<u32>(pkt, PKT_LEN)
  const header = data + udp + UDP_LEN
  if (len < udp + UDP_LEN + GENEVE_LEN) {
    drop(pkt, DROP_TUNNEL_HEADER)
    return
  }
  const word = <u32>load<u16>(header)
  const options = (word & 0x3f) << 2
  if ((word & 0xc0) != 0) {
    drop(pkt, DROP_TUNNEL_HEADER)
    return
  }
  const vni = bswap<u32>(load<u32>(header, 4)) >>> 8
  const dev = deviceOf(tunnel, vni, data + udp - (family == 4 ? 20 : 40), family)
  if (dev == 0) {
    drop(pkt, DROP_NO_VNI)
    return
  }
  const external = isExternal(dev)
  const bits = word >>> 8
  if (load<u16>(header, 2) != BE_TEB || (!external && (bits & CRITICAL) != 0)) {
    drop(pkt, DROP_TUNNEL_HEADER)
    return
  }
  const at = udp + UDP_LEN + GENEVE_LEN + options
  if (len < at + ETH_LEN) {
    drop(pkt, DROP_INNER_HEADER)
    return
  }
  if (external) {
    let flags: u32 = TUNNEL_KEY
    if ((bits & OAM) != 0) flags |= TUNNEL_OAM
    if ((bits & CRITICAL) != 0) flags |= TUNNEL_CRIT_OPT
    if (options != 0) flags |= TUNNEL_GENEVE_OPT
    setUdpTunnel(pkt, data, udp, family, flags, vni)
    if (options != 0) {
      const tun = pkt + PKT_TUN_INFO
      store<u8>(tun, <u8>options, TUN_OPTS_LEN)
      store<u8>(tun, ENC_OPTS_GENEVE, TUN_OPTS_KIND)
      copyWords(tun + TUN_OPTS, header + GENEVE_LEN, options)
    }
  } else {
    store<usize>(pkt, 0, PKT_TUN)
  }
  const inner = data + at
  if (load<u32>(inner, 6) == load<u32>(dev, NETDEV_MAC) && load<u16>(inner, 10) == load<u16>(dev, NETDEV_MAC + 4)) {
    drop(pkt, DROP_LOOP)
    return
  }
  frameUp(pkt, dev, data, at, outerTos(data, udp, family), load<u16>(data + at, 12))
}
