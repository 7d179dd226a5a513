// ARP of the host (net/ipv4/arp.c): asks for next hops, answers for its own addresses, learns what the kernel learns.
//
// The settings are the kernel's defaults: arp_ignore 0 (any address of ours is answered for on any device), arp_announce
// 0 (the source of the packet that waits is named, whichever device it belongs to), arp_accept 0 (nobody is learned who
// was not asked for, but those who ask for us). A neighbour that changed less than a second ago keeps its address.

import { DROP_ARP, DROP_HOST_CONSUMED, DROP_PKT_TOO_BIG } from '../memory/layout/drop.ts'
import { IFF_NOARP, NETDEV_MAC } from '../memory/layout/netdev.ts'
import { PKT_DATA, PKT_LEN } from '../memory/layout/packet.ts'
import { selectSource4 } from '../net/addr.ts'
import { isAny, isLoopback, isMulticast, sameAddress } from '../net/inet.ts'
import { NEIGH_UPDATED, neighLookup } from '../net/neigh.ts'
import { NEIGH_UPDATE_F_OVERRIDE, neighGet, neighUpdate } from '../net/neigh_update.ts'
import { netdevFlags, netdevIfindex, netdevMac } from '../net/netdev.ts'
import { addressType } from '../net/route.ts'
import * as Arp from '../wire/arp.ts'
import * as Eth from '../wire/ethernet.ts'
import * as Ipv4 from '../wire/ipv4.ts'
import { NUD_REACHABLE, NUD_STALE } from '../wire/rtm_neigh.ts'
import { AF_INET, RT_SCOPE_LINK, RTN_LOCAL, RTN_UNICAST } from '../wire/rtm_route.ts'
import { inputRoute4 } from './input_route.ts'
import { type HostState, nowMs, send, view } from './state.ts'

/** net.ipv4.neigh.*.locktime. */
const LOCKTIME = 1000
const BROADCAST = new Uint8Array(6).fill(255)
const NOBODY = new Uint8Array(6)

function emit(h: HostState, dev: number, to: Uint8Array, r: Omit<Arp.Repr, 'senderMac'>): void {
  const frame = new Uint8Array(Eth.LEN + Arp.LEN)
  const own = netdevMac(h.a, dev)
  Eth.emit(view(frame), 0, { dst: to, src: own, type: Eth.ETH_P_ARP })
  Arp.emit(view(frame), Eth.LEN, { ...r, senderMac: own })
  send(h, frame, dev, DROP_PKT_TOO_BIG)
}

/** arp_solicit: asks who has `target`; `waiting` is a frame that waits for the answer, `mac` whom to ask alone. */
export function arpSolicit(
  h: HostState,
  target: Uint8Array,
  dev: number,
  waiting: Uint8Array | null,
  mac: Uint8Array | null,
): void {
  let source: Uint8Array | null = null
  if (waiting !== null && Eth.type(view(waiting), 0) === Eth.ETH_P_IP) {
    const src = Ipv4.src(view(waiting), Eth.LEN)
    if (addressType(h.a, AF_INET, src) === RTN_LOCAL) source = src
  }
  source ??= selectSource4(h.a, netdevIfindex(h.a, dev), target, RT_SCOPE_LINK) ?? new Uint8Array(16)
  emit(h, dev, mac ?? BROADCAST, {
    operation: Arp.REQUEST,
    senderAddress: source,
    targetMac: NOBODY,
    targetAddress: target,
  })
}

/** arp_rcv and arp_process: a frame of type ARP that passed the filters of `dev`. The packet is taken. */
export function arpInput(h: HostState, pkt: number, dev: number): void {
  const { a, dp } = h
  const o = a.m[(pkt + PKT_DATA) >> 2]
  const at = o + Eth.LEN
  const end = o + a.m[(pkt + PKT_LEN) >> 2]
  const ok =
    !(netdevFlags(a, dev) & IFF_NOARP) &&
    Arp.check(a.d, at, end) &&
    (Arp.operation(a.d, at) === Arp.REQUEST || Arp.operation(a.d, at) === Arp.REPLY)
  const tip = ok ? Arp.targetAddress(a.d, at) : NOBODY
  if (!ok || isMulticast(AF_INET, tip) || isLoopback(AF_INET, tip)) {
    dp.drop(pkt, DROP_ARP)
    return
  }
  learn(h, o, at, dev, tip)
  dp.drop(pkt, DROP_HOST_CONSUMED)
}

function learn(h: HostState, o: number, at: number, dev: number, tip: Uint8Array): void {
  const { a } = h
  const now = nowMs(h)
  const sip = Arp.senderAddress(a.d, at)
  const sha = Arp.senderMac(a.d, at)
  const request = Arp.operation(a.d, at) === Arp.REQUEST
  const answer = (): void =>
    emit(h, dev, sha, { operation: Arp.REPLY, senderAddress: tip, targetMac: sha, targetAddress: sip })
  if (isAny(sip)) {
    // Duplicate address detection of somebody who wants our address.
    if (request && addressType(a, AF_INET, tip) === RTN_LOCAL) answer()
    return
  }
  if (request && inputRoute4(h, sip, tip) === 'local') {
    // neigh_event_ns: who asks for us will hear from us.
    const n = neighGet(a, AF_INET, sip, dev, now)
    if (n === 0) return
    neighUpdate(a, n, sha, NUD_STALE, NEIGH_UPDATE_F_OVERRIDE, now)
    answer()
    return
  }
  const n = neighLookup(a, AF_INET, sip, dev)
  if (n === 0) return
  const gratuitous =
    sameAddress(sip, tip) &&
    (request || Arp.targetMac(a.d, at).every((x, i) => x === sha[i])) &&
    addressType(a, AF_INET, sip) === RTN_UNICAST
  const settled = (((now | 0) - a.m[(n + NEIGH_UPDATED) >> 2]) | 0) > LOCKTIME
  let toUs = true
  for (let i = 0; i < 6; i++) toUs &&= a.u8[o + i] === a.u8[dev + NETDEV_MAC + i]
  const state = request || !toUs ? NUD_STALE : NUD_REACHABLE
  neighUpdate(a, n, sha, state, settled || gratuitous ? NEIGH_UPDATE_F_OVERRIDE : 0, now)
}
