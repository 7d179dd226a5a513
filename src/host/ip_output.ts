// IP packets that the host sends: from a whole packet and its route to the next hop, in fragments where they must be
// (ip_output, ip_mc_output, ip_do_fragment; ip6_output).

import { DROP_NO_SLOT, DROP_PKT_TOO_BIG } from '../memory/layout/drop.ts'
import { IFF_LOOPBACK } from '../memory/layout/netdev.ts'
import { PKT_DATA, PKT_LEN } from '../memory/layout/packet.ts'
import { netdevFlags } from '../net/netdev.ts'
import type { Route } from '../net/route.ts'
import * as Eth from '../wire/ethernet.ts'
import * as Ipv4 from '../wire/ipv4.ts'
import { AF_INET, RTN_BROADCAST } from '../wire/rtm_route.ts'
import { loopback } from './loopback.ts'
import { neighOutput } from './neighbour.ts'
import { frameOf, type HostState, slotFor, view } from './state.ts'

/** Cuts a frame (Ethernet, IPv4) into fragments of at most `mtu` bytes of IP each, offsets in whole units of eight. */
export function cutIpv4(frame: Uint8Array, mtu: number): Uint8Array[] {
  const d = view(frame)
  const header = Ipv4.headerLength(d, Eth.LEN)
  const start = Eth.LEN + header
  const whole = Ipv4.fragment(d, Eth.LEN)
  const room = mtu - header
  const out: Uint8Array[] = []
  for (let at = start; at < frame.length; ) {
    const left = frame.length - at
    let n = Math.min(left, room)
    if (n < left) n &= ~7
    const part = new Uint8Array(start + n)
    part.set(frame.subarray(0, start))
    part.set(frame.subarray(at, at + n), start)
    const p = view(part)
    const more = at + n < frame.length || (whole & Ipv4.MF) !== 0
    const offset = (whole & Ipv4.OFFSET_MASK) + ((at - start) >> 3)
    Ipv4.setTotalLength(p, Eth.LEN, header + n)
    Ipv4.setFragment(p, Eth.LEN, (whole & Ipv4.DF) | (more ? Ipv4.MF : 0) | offset)
    Ipv4.setChecksum(p, Eth.LEN)
    out.push(part)
    at += n
  }
  return out
}

/** May the packet not leave in one piece, and not in several? */
const isStuck = (frame: DataView, family: number): boolean =>
  family !== AF_INET || (Ipv4.fragment(frame, Eth.LEN) & Ipv4.DF) !== 0

/**
 * Sends a packet by a route: its IP header stands behind an Ethernet header whose addresses are still to be written.
 * IPv6 packets and those with DF that are too big end under DROP_PKT_TOO_BIG. The packet is taken.
 */
export function ipOutput(h: HostState, pkt: number, family: number, route: Route): void {
  const { a, dp } = h
  const length = a.m[(pkt + PKT_LEN) >> 2] - Eth.LEN
  // A broadcast is heard by the one who sends it, too, after it has gone out.
  const echo = route.type === RTN_BROADCAST && !(netdevFlags(a, route.dev) & IFF_LOOPBACK) ? frameOf(h, pkt) : null
  if (length <= route.mtu) neighOutput(h, pkt, route.dev, route.family, route.nexthop)
  else {
    const frame = frameOf(h, pkt)
    if (isStuck(view(frame), family)) {
      dp.drop(pkt, DROP_PKT_TOO_BIG)
      return
    }
    dp.release(pkt)
    for (const part of cutIpv4(frame, route.mtu)) {
      const p = slotFor(h, part, DROP_PKT_TOO_BIG)
      if (p !== 0) neighOutput(h, p, route.dev, route.family, route.nexthop)
    }
  }
  if (echo === null) return
  const copy = slotFor(h, echo, DROP_NO_SLOT)
  if (copy !== 0) loopback(h, copy, route.dev)
}

/** A whole outer frame, addresses and all, that is larger than its route (PUNT_MTU). The packet is taken. */
export function fragmentAndSend(h: HostState, pkt: number, dev: number, mtu: number): void {
  const { a, dp } = h
  const o = a.m[(pkt + PKT_DATA) >> 2]
  const family = Eth.type(a.d, o) === Eth.ETH_P_IP ? AF_INET : 0
  const frame = frameOf(h, pkt)
  if (isStuck(view(frame), family)) {
    dp.drop(pkt, DROP_PKT_TOO_BIG)
    return
  }
  dp.release(pkt)
  for (const part of cutIpv4(frame, mtu)) {
    const p = slotFor(h, part, DROP_PKT_TOO_BIG)
    if (p !== 0) dp.transmit(p, dev)
  }
}
