// Neighbour discovery of the host (net/ipv6/ndisc.c): solicits next hops, advertises its own addresses, learns.
// Router messages and redirects are not listened to (accept_ra off); duplicate address detection is off.

import { DROP_HOST_CONSUMED, DROP_ND, DROP_PKT_TOO_BIG } from '../memory/layout/drop.ts'
import { addrFind, linkLocalOf } from '../net/addr.ts'
import { isAny, isMulticast, sameAddress } from '../net/inet.ts'
import { NEIGH_STATE, neighLookup } from '../net/neigh.ts'
import {
  multicastMac,
  NEIGH_UPDATE_F_ISROUTER,
  NEIGH_UPDATE_F_OVERRIDE,
  NEIGH_UPDATE_F_OVERRIDE_ISROUTER,
  NEIGH_UPDATE_F_WEAK_OVERRIDE,
  neighGet,
  neighUpdate,
} from '../net/neigh_update.ts'
import { netdevIfindex, netdevMac } from '../net/netdev.ts'
import * as Eth from '../wire/ethernet.ts'
import * as Icmp6 from '../wire/icmp6.ts'
import * as Ipv6 from '../wire/ipv6.ts'
import * as Nd from '../wire/nd.ts'
import { NUD_FAILED, NUD_REACHABLE, NUD_STALE } from '../wire/rtm_neigh.ts'
import { AF_INET6 } from '../wire/rtm_route.ts'
import { neighOutput } from './neighbour.ts'
import { type HostState, nowMs, slotFor, view } from './state.ts'

const ALL_NODES = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)

/** ndisc_send_skb: a message from `src` to `dst` by a device. */
function emit(h: HostState, dev: number, src: Uint8Array, dst: Uint8Array, r: Nd.Repr): void {
  const length = Nd.length(r)
  const frame = new Uint8Array(Eth.LEN + Ipv6.LEN + length)
  const d = view(frame)
  const mac = isMulticast(AF_INET6, dst) ? multicastMac(AF_INET6, dst) : new Uint8Array(6)
  Eth.emit(d, 0, { dst: mac, src: netdevMac(h.a, dev), type: Eth.ETH_P_IPV6 })
  Ipv6.emit(d, Eth.LEN, {
    trafficClass: 0,
    flowLabel: 0,
    payloadLength: length,
    nextHeader: Ipv6.NEXTHDR_ICMP,
    hopLimit: 255,
    src,
    dst,
  })
  Nd.emit(d, Eth.LEN + Ipv6.LEN, r)
  Icmp6.setChecksum(d, Eth.LEN, Eth.LEN + Ipv6.LEN, length)
  const pkt = slotFor(h, frame, DROP_PKT_TOO_BIG)
  if (pkt !== 0) neighOutput(h, pkt, dev, AF_INET6, dst)
}

/** ndisc_solicit: asks for `target`, all who might have it or, `unicast`, the neighbour itself. */
export function ndiscSolicit(
  h: HostState,
  target: Uint8Array,
  dev: number,
  waiting: Uint8Array | null,
  unicast: boolean,
): void {
  const ifindex = netdevIfindex(h.a, dev)
  let source: Uint8Array | null = null
  if (waiting !== null && Eth.type(view(waiting), 0) === Eth.ETH_P_IPV6) {
    const src = Ipv6.src(view(waiting), Eth.LEN)
    if (addrFind(h.a, ifindex, AF_INET6, src) !== 0) source = src
  }
  source ??= linkLocalOf(h.a, ifindex)
  if (source === null) return
  emit(h, dev, source, unicast ? target : Nd.solicitedNode(target), {
    type: Nd.NDISC_NEIGHBOUR_SOLICITATION,
    flags: 0,
    target,
    mac: netdevMac(h.a, dev),
  })
}

function advertise(
  h: HostState,
  dev: number,
  to: Uint8Array,
  target: Uint8Array,
  flags: number,
  option: boolean,
): void {
  emit(h, dev, target, to, {
    type: Nd.NDISC_NEIGHBOUR_ADVERTISEMENT,
    flags,
    target,
    mac: option ? netdevMac(h.a, dev) : null,
  })
}

/**
 * ndisc_rcv: an ICMPv6 message at `at`, right in its checksum, of type 133..137; the IPv6 header is at `ip`. The packet
 * is taken.
 */
export function ndiscInput(h: HostState, pkt: number, dev: number, ip: number, at: number, end: number): void {
  const { d } = h.a
  const type = Icmp6.type(d, at)
  const known = type === Nd.NDISC_NEIGHBOUR_SOLICITATION || type === Nd.NDISC_NEIGHBOUR_ADVERTISEMENT
  if (!known) {
    h.dp.drop(pkt, DROP_HOST_CONSUMED)
    return
  }
  const ok = Ipv6.hopLimit(d, ip) === 255 && Icmp6.code(d, at) === 0 && Nd.check(d, at, end)
  const done =
    ok && (type === Nd.NDISC_NEIGHBOUR_SOLICITATION ? solicited(h, dev, ip, at, end) : advertised(h, dev, ip, at, end))
  h.dp.drop(pkt, done ? DROP_HOST_CONSUMED : DROP_ND)
}

const isSolicitedNode = (x: Uint8Array): boolean => sameAddress(Nd.solicitedNode(x), x)

/** ndisc_recv_ns. False: not a message that can be. */
function solicited(h: HostState, dev: number, ip: number, at: number, end: number): boolean {
  const { a } = h
  const src = Ipv6.src(a.d, ip)
  const dst = Ipv6.dst(a.d, ip)
  const target = Nd.target(a.d, at)
  const detection = isAny(src)
  if (isMulticast(AF_INET6, target) || (detection && !isSolicitedNode(dst))) return false
  const option = Nd.option(a.d, at, end, Nd.ND_OPT_SOURCE_LL_ADDR)
  let mac: Uint8Array | null = null
  if (option !== 0) {
    mac = Nd.linkAddress(a.d, option)
    if (mac === null || detection) return false
  }
  const toGroup = isMulticast(AF_INET6, dst)
  if (addrFind(a, netdevIfindex(a, dev), AF_INET6, target) === 0) return true
  if (detection) {
    advertise(h, dev, ALL_NODES, target, Nd.NA_OVERRIDE, true)
    return true
  }
  const now = nowMs(h)
  const n = !toGroup || mac !== null ? neighGet(a, AF_INET6, src, dev, now) : neighLookup(a, AF_INET6, src, dev)
  if (n === 0) return true
  neighUpdate(a, n, mac, NUD_STALE, NEIGH_UPDATE_F_WEAK_OVERRIDE | NEIGH_UPDATE_F_OVERRIDE, now)
  advertise(h, dev, src, target, Nd.NA_SOLICITED | (toGroup ? Nd.NA_OVERRIDE : 0), toGroup)
  return true
}

/** ndisc_recv_na. */
function advertised(h: HostState, dev: number, ip: number, at: number, end: number): boolean {
  const { a } = h
  const flags = Nd.flags(a.d, at)
  const target = Nd.target(a.d, at)
  const dst = Ipv6.dst(a.d, ip)
  if (isMulticast(AF_INET6, target) || (isMulticast(AF_INET6, dst) && flags & Nd.NA_SOLICITED)) return false
  const option = Nd.option(a.d, at, end, Nd.ND_OPT_TARGET_LL_ADDR)
  const mac = option === 0 ? null : Nd.linkAddress(a.d, option)
  if (option !== 0 && mac === null) return false
  // Somebody else has an address of ours: noted nowhere, nothing is learned.
  if (addrFind(a, netdevIfindex(a, dev), AF_INET6, target) !== 0) return true
  const n = neighLookup(a, AF_INET6, target, dev)
  if (n === 0 || a.m[(n + NEIGH_STATE) >> 2] & NUD_FAILED) return true
  neighUpdate(
    a,
    n,
    mac,
    flags & Nd.NA_SOLICITED ? NUD_REACHABLE : NUD_STALE,
    NEIGH_UPDATE_F_WEAK_OVERRIDE |
      (flags & Nd.NA_OVERRIDE ? NEIGH_UPDATE_F_OVERRIDE : 0) |
      NEIGH_UPDATE_F_OVERRIDE_ISROUTER |
      (flags & Nd.NA_ROUTER ? NEIGH_UPDATE_F_ISROUTER : 0),
    nowMs(h),
  )
  return true
}
