// The slow path of a tunnel device, one packet at a time (vxlan_xmit_one and its kin): what must the outer headers say,
// which way do they go, then the header in front, fragments if need be, and the next hop, who may have to be asked.
//
// Packets come here while their encap entry has no header (the next hop is not known, or not confirmed lately, or the
// way goes through the host itself), and when filters send them into a tunnel device without one.

import {
  DROP_HEADROOM,
  DROP_INNER_HEADER,
  DROP_IP_SOURCE,
  DROP_LOOP,
  DROP_NO_ROUTE,
  DROP_NO_TUNNEL_KEY,
  DROP_TUNNEL_AF,
  DROP_TUNNEL_HEADER,
  DROP_TUNNEL_PROTOCOL,
} from '../memory/layout/drop.ts'
import {
  HEADER_MTU,
  PUSH_CUT,
  PUSH_INNER_TOO_BIG,
  PUSH_LOOP,
  PUSH_NO_ROOM,
  PUSH_PROTOCOL,
} from '../memory/layout/encap.ts'
import { NETDEV_F_EXTERNAL, NETDEV_FEATURES, NETDEV_TUN, NETDEV_TX_COUNTER } from '../memory/layout/netdev.ts'
import { PKT_LEN, PKT_NEST, PKT_TUN } from '../memory/layout/packet.ts'
import { SLOW_NO_KEY, SLOW_NO_REMOTE, SLOW_NONE } from '../memory/layout/slow.ts'
import { isAny } from '../net/inet.ts'
import { addressType, lookup } from '../net/route.ts'
import { buildHeader, freeHeader, headerFits } from '../tunnel/header.ts'
import { tunnelOf } from '../tunnel/index.ts'
import { newOuter } from '../tunnel/tunnel.ts'
import * as Eth from '../wire/ethernet.ts'
import { AF_INET, RTN_LOCAL } from '../wire/rtm_route.ts'
import { fragmentAndSend, ipOutput } from './ip_output.ts'
import { countDevice, type HostState, scrub } from './state.ts'
import { innerTooBig, isBare } from './tunnel_error.ts'

/** Why a packet ends that Datapath.encapsulate pushed no header in front of. */
const DROPS: Readonly<Record<number, number>> = {
  [PUSH_NO_ROOM]: DROP_HEADROOM,
  [PUSH_CUT]: DROP_INNER_HEADER,
  [PUSH_PROTOCOL]: DROP_TUNNEL_PROTOCOL,
  [PUSH_LOOP]: DROP_LOOP,
}
/** XMIT_RECURSION_LIMIT */
const NEST_MAX = 8
const NO_MAC = new Uint8Array(6)
const outer = newOuter()

/** PUNT_TUNNEL: a frame sent into tunnel device `dev`. The packet is taken. */
export function tunnelOutput(h: HostState, pkt: number, dev: number): void {
  const { a, dp } = h
  const { m } = a
  const external = (m[(dev + NETDEV_FEATURES) >> 2] & NETDEV_F_EXTERNAL) !== 0
  const tun = m[(external ? pkt + PKT_TUN : dev + NETDEV_TUN) >> 2]
  const type = tunnelOf(a, dev)
  if (tun === 0 || type === undefined) {
    dp.drop(pkt, DROP_NO_TUNNEL_KEY)
    return
  }
  const why = type.outer(a, dev, tun, outer)
  if (why !== SLOW_NONE || !headerFits(outer)) {
    dp.drop(
      pkt,
      why === SLOW_NO_KEY ? DROP_TUNNEL_AF : why === SLOW_NO_REMOTE ? DROP_NO_TUNNEL_KEY : DROP_TUNNEL_HEADER,
    )
    return
  }
  const route = lookup(a, outer.family, outer.dst, { src: outer.src, oif: outer.oif, tos: outer.tos & 0x1e })
  if (route.errno !== 0) {
    const foreign = outer.family === AF_INET && !isAny(outer.src) && addressType(a, AF_INET, outer.src) !== RTN_LOCAL
    dp.drop(pkt, foreign ? DROP_IP_SOURCE : DROP_NO_ROUTE)
    return
  }
  if (route.dev === dev || a.u8[pkt + PKT_NEST] >= NEST_MAX) {
    dp.drop(pkt, DROP_LOOP)
    return
  }
  const bytes = m[(pkt + PKT_LEN) >> 2] - (isBare(a, pkt) ? 0 : Eth.LEN)
  const header = buildHeader(a, type, dev, tun, outer, route.src, route.dev, NO_MAC, 0, route.mtu, 0)
  const pushed = dp.encapsulate(pkt, header)
  if (pushed === PUSH_INNER_TOO_BIG) innerTooBig(h, pkt, header)
  freeHeader(a, header)
  if (pushed === PUSH_INNER_TOO_BIG) return
  if (DROPS[pushed] !== undefined) {
    dp.drop(pkt, DROPS[pushed])
    return
  }
  scrub(h, pkt)
  countDevice(h, dev, NETDEV_TX_COUNTER, bytes)
  ipOutput(h, pkt, outer.family, route)
}

/** PUNT_MTU: encapsulated by the datapath with `header`, and larger than its route. The packet is taken. */
export function tunnelTooBig(h: HostState, pkt: number, dev: number, header: number): void {
  fragmentAndSend(h, pkt, dev, h.a.m[(header + HEADER_MTU) >> 2])
}
