// ICMP and ICMPv6 errors that the host sends about packets it was given (net/ipv4/icmp.c: __icmp_send; net/ipv6/icmp.c:
// icmp6_send). Never about an error, a group or broadcast, a later fragment, or a source that is nobody.

import { DROP_PKT_TOO_BIG } from '../memory/layout/drop.ts'
import { IFF_LOOPBACK, NETDEV_MAC } from '../memory/layout/netdev.ts'
import { addrFind, selectSource4 } from '../net/addr.ts'
import { isAny, isMulticast } from '../net/inet.ts'
import { netdevFlags, netdevIfindex } from '../net/netdev.ts'
import { addressType, lookup } from '../net/route.ts'
import * as Eth from '../wire/ethernet.ts'
import * as Icmp from '../wire/icmp.ts'
import * as Icmp6 from '../wire/icmp6.ts'
import * as Ipv4 from '../wire/ipv4.ts'
import * as Ipv6 from '../wire/ipv6.ts'
import { AF_INET, AF_INET6, RT_SCOPE_LINK, RTN_BROADCAST, RTN_LOCAL, RTN_MULTICAST } from '../wire/rtm_route.ts'
import { globalAllow, peerAllow, RATELIMIT } from './icmp_limit.ts'
import { ipOutput } from './ip_output.ts'
import { type HostState, slotFor, view } from './state.ts'

const TTL = 64
/** An error of ICMP quotes so much that it has this length at most (RFC 1812 4.3.2.3). */
const ICMP_MAX = 576

/** The frame was addressed to the device alone (PACKET_HOST). */
function toDevice(h: HostState, frame: Uint8Array, dev: number): boolean {
  for (let i = 0; i < 6; i++) if (frame[i] !== h.a.u8[dev + NETDEV_MAC + i]) return false
  return true
}

/** Sends an error about an IPv4 frame that `dev` received. `rest`: the word behind the checksum. */
export function icmpError(h: HostState, frame: Uint8Array, dev: number, type: number, code: number, rest = 0): void {
  const d = view(frame)
  const ip = Eth.LEN
  if (!toDevice(h, frame, dev)) return
  const [src, dst] = [Ipv4.src(d, ip), Ipv4.dst(d, ip)]
  const dstType = addressType(h.a, AF_INET, dst)
  if (dstType === RTN_BROADCAST || dstType === RTN_MULTICAST || Ipv4.fragmentOffset(d, ip) !== 0) return
  if (Ipv4.protocol(d, ip) === Ipv4.IPPROTO_ICMP) {
    const inner = ip + Ipv4.headerLength(d, ip)
    if (inner >= frame.length) return
    const t = d.getUint8(inner)
    if (t > Icmp.NR_ICMP_TYPES || Icmp.isError(t)) return
  }
  const limited = !(type === Icmp.ICMP_DEST_UNREACH && code === Icmp.ICMP_FRAG_NEEDED)
  const loopback = (netdevFlags(h.a, dev) & IFF_LOOPBACK) !== 0
  if (limited && !loopback && !globalAllow(h)) return
  const from =
    dstType === RTN_LOCAL ? dst : (selectSource4(h.a, netdevIfindex(h.a, dev), null, RT_SCOPE_LINK) ?? undefined)
  // RT_TOS and "internetwork control".
  const tos = (Ipv4.tos(d, ip) & 0x1e) | 0xc0
  const route = lookup(h.a, AF_INET, src, { src: from, tos: tos & 0x1e })
  if (route.errno !== 0) return
  if (limited && !(netdevFlags(h.a, route.dev) & IFF_LOOPBACK) && !peerAllow(h, AF_INET, src)) return
  const room = Math.min(route.mtu, ICMP_MAX) - Ipv4.LEN - Icmp.LEN
  if (room <= Ipv4.LEN) return
  const quoted = frame.subarray(ip, Math.min(frame.length, ip + room))
  const out = new Uint8Array(Eth.LEN + Ipv4.LEN + Icmp.LEN + quoted.length)
  out.set(quoted, Eth.LEN + Ipv4.LEN + Icmp.LEN)
  const o = view(out)
  Eth.setType(o, 0, Eth.ETH_P_IP)
  Ipv4.emit(o, Eth.LEN, {
    tos,
    totalLength: out.length - Eth.LEN,
    id: h.ipId++ & 0xffff,
    fragment: 0,
    ttl: TTL,
    protocol: Ipv4.IPPROTO_ICMP,
    src: route.src,
    dst: src,
  })
  Icmp.emit(o, Eth.LEN + Ipv4.LEN, type, code, rest, Icmp.LEN + quoted.length)
  const pkt = slotFor(h, out, DROP_PKT_TOO_BIG)
  if (pkt !== 0) ipOutput(h, pkt, AF_INET, route)
}

/** Errors and informational messages that are not known are never answered (is_ineligible). */
function isIneligible(d: DataView, ip: number, end: number): boolean {
  const t = Ipv6.transport(d, ip, end)
  if (t === null) return true
  let { proto, at } = t
  if (proto === Ipv6.NEXTHDR_FRAGMENT && at + Ipv6.FRAGMENT_LEN <= end) {
    if (Ipv6.fragmentOffset(d, at) !== 0) return false
    proto = Ipv6.fragmentNext(d, at)
    at += Ipv6.FRAGMENT_LEN
  }
  return proto === Ipv6.NEXTHDR_ICMP && (at >= end || Icmp6.isError(d.getUint8(at)))
}

/** Sends an error about an IPv6 frame that `dev` received. */
export function icmp6Error(h: HostState, frame: Uint8Array, dev: number, type: number, code: number, rest = 0): void {
  const d = view(frame)
  const ip = Eth.LEN
  const [src, dst] = [Ipv6.src(d, ip), Ipv6.dst(d, ip)]
  const group = isMulticast(AF_INET6, dst) || !toDevice(h, frame, dev)
  if (group && type !== Icmp6.ICMPV6_PKT_TOOBIG) return
  if (isAny(src) || isMulticast(AF_INET6, src) || isIneligible(d, ip, frame.length)) return
  const limited = type !== Icmp6.ICMPV6_PKT_TOOBIG
  if (limited && !(netdevFlags(h.a, dev) & IFF_LOOPBACK) && !globalAllow(h)) return
  const ifindex = netdevIfindex(h.a, dev)
  const own = !group && (addrFind(h.a, ifindex, AF_INET6, dst) !== 0 || addressType(h.a, AF_INET6, dst) === RTN_LOCAL)
  const linkLocal = src[0] === 0xfe && (src[1] & 0xc0) === 0x80
  const route = lookup(h.a, AF_INET6, src, { src: own ? dst : undefined, oif: linkLocal ? ifindex : 0 })
  if (route.errno !== 0) return
  // Wider prefixes get more bandwidth: for a /64, four a second.
  const timeout = RATELIMIT >> ((128 - route.length) >> 5)
  if (limited && !(netdevFlags(h.a, route.dev) & IFF_LOOPBACK) && !peerAllow(h, AF_INET6, src, timeout)) return
  const room = Ipv6.MIN_MTU - Ipv6.LEN - Icmp6.LEN
  const quoted = frame.subarray(ip, Math.min(frame.length, ip + room))
  const out = new Uint8Array(Eth.LEN + Ipv6.LEN + Icmp6.LEN + quoted.length)
  out.set(quoted, Eth.LEN + Ipv6.LEN + Icmp6.LEN)
  const o = view(out)
  Eth.setType(o, 0, Eth.ETH_P_IPV6)
  Ipv6.emit(o, Eth.LEN, {
    trafficClass: 0,
    flowLabel: 0,
    payloadLength: Icmp6.LEN + quoted.length,
    nextHeader: Ipv6.NEXTHDR_ICMP,
    hopLimit: TTL,
    src: route.src,
    dst: src,
  })
  Icmp6.emit(o, Eth.LEN + Ipv6.LEN, type, code, rest)
  Icmp6.setChecksum(o, Eth.LEN, Eth.LEN + Ipv6.LEN, Icmp6.LEN + quoted.length)
  const pkt = slotFor(h, out, DROP_PKT_TOO_BIG)
  if (pkt !== 0) ipOutput(h, pkt, AF_INET6, route)
}
