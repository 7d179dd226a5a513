// IPv6 packets for the host that are not plain UDP for a tunnel: ICMPv6 and neighbour discovery, extension headers,
// fragments, other protocols (ip6_rcv_core, ip6_input_finish, and the handlers of a host without sockets).

import {
  DROP_FRAG_REASSEMBLY,
  DROP_HOST_CONSUMED,
  DROP_IP_HEADER,
  DROP_IP_OPTIONS,
  DROP_ND,
  DROP_NO_PROTOCOL,
  DROP_NO_SOCKET,
  DROP_UDP_CSUM,
  DROP_UDP_LENGTH,
} from '../memory/layout/drop.ts'
import { PKT_DATA, PKT_F_REASSEMBLED, PKT_FLAGS, PKT_LEN } from '../memory/layout/packet.ts'
import { protocolFirst, udpPortFirst } from '../net/netdev.ts'
import { complement, pseudoSum, sum } from '../wire/checksum.ts'
import * as Eth from '../wire/ethernet.ts'
import * as Icmp6 from '../wire/icmp6.ts'
import * as Ipv4 from '../wire/ipv4.ts'
import * as Ipv6 from '../wire/ipv6.ts'
import * as Nd from '../wire/nd.ts'
import { AF_INET6 } from '../wire/rtm_route.ts'
import * as Tcp from '../wire/tcp.ts'
import * as Udp from '../wire/udp.ts'
import { icmp6Error } from './icmp_error.ts'
import { type Fate, inputRoute6 } from './input_route.ts'
import { FATE_DROP } from './ip_input.ts'
import { isCutInHeaders, walkHeaders } from './ip6_headers.ts'
import { ndiscInput } from './ndisc.ts'
import { defragIpv6 } from './reassembly.ts'
import { frameOf, type HostState, setReceived, slotFor, view } from './state.ts'
import { tcpReset } from './tcp_reset.ts'

/** Code of a first fragment without all its headers (RFC 7112). */
const ICMPV6_HDR_INCOMP = 3

/** A packet of type IPv6 that `dev` received. The packet is taken. */
export function ipv6Input(h: HostState, pkt: number, dev: number): void {
  const { a, dp } = h
  const routed = (a.m[(pkt + PKT_FLAGS) >> 2] & PKT_F_REASSEMBLED) !== 0
  const o = a.m[(pkt + PKT_DATA) >> 2] + Eth.LEN
  const n = a.m[(pkt + PKT_LEN) >> 2] - Eth.LEN
  if (!Ipv6.check(a.d, o, o + n)) {
    dp.drop(pkt, DROP_IP_HEADER)
    return
  }
  const payload = Ipv6.payloadLength(a.d, o)
  // A jumbo payload's length stands in a hop-by-hop option, which nobody sends over these links.
  if (payload !== 0 || Ipv6.nextHeader(a.d, o) !== Ipv6.NEXTHDR_HOP)
    a.m[(pkt + PKT_LEN) >> 2] = Eth.LEN + Ipv6.LEN + payload
  const fate: Fate = routed ? 'local' : inputRoute6(h, Ipv6.src(a.d, o), Ipv6.dst(a.d, o), dev)
  const ended = FATE_DROP[fate]
  if (ended !== undefined) {
    const frame = fate === 'unreachable' ? frameOf(h, pkt) : null
    dp.drop(pkt, ended)
    // ip6_pkt_discard: an IPv6 host says so even when it does not forward.
    if (frame !== null) icmp6Error(h, frame, dev, Icmp6.ICMPV6_DEST_UNREACH, Icmp6.ICMPV6_NOROUTE)
    return
  }
  walk(h, frameOf(h, pkt), pkt, dev, fate, routed)
}

function end(h: HostState, pkt: number, reason: number): void {
  if (pkt === 0) h.dp.countDrop(reason)
  else h.dp.drop(pkt, reason)
}

/** ip6_protocol_deliver_rcu: header after header, until one is for somebody. */
function walk(h: HostState, frame: Uint8Array, pkt: number, dev: number, fate: Fate, routed: boolean): void {
  const d = view(frame)
  const t = walkHeaders(d, Eth.LEN, frame.length)
  if (t.what !== 'upper') {
    end(h, pkt, DROP_IP_OPTIONS)
    if (t.what === 'problem') icmp6Error(h, frame, dev, Icmp6.ICMPV6_PARAMPROB, t.code, t.pointer)
    return
  }
  if (t.proto === Ipv6.NEXTHDR_FRAGMENT) {
    fragment(h, frame, pkt, dev, fate, routed, t)
    return
  }
  switch (t.proto) {
    case Ipv4.IPPROTO_UDP:
      udp(h, frame, t.at, dev, fate, pkt, routed)
      return
    case Ipv4.IPPROTO_TCP:
      tcp(h, frame, t.at, fate, pkt)
      return
    case Ipv6.NEXTHDR_ICMP:
      icmp(h, frame, t.at, dev, pkt)
      return
    case Ipv6.NEXTHDR_NONE:
      end(h, pkt, DROP_HOST_CONSUMED)
      return
    case Ipv4.IPPROTO_GRE:
    case Ipv4.IPPROTO_IPIP:
    case Ipv4.IPPROTO_IPV6:
      // What comes back with its headers made plain has been to the datapath already.
      if (!(routed && pkt !== 0) && protocolFirst(h.a, t.proto) !== 0) {
        backToDatapath(h, frame, t.at, t.proto, dev, pkt)
        return
      }
      // Their tunnels, which did not want it, say so.
      end(h, pkt, DROP_NO_PROTOCOL)
      icmp6Error(h, frame, dev, Icmp6.ICMPV6_DEST_UNREACH, Icmp6.ICMPV6_PORT_UNREACH)
      return
    default:
      end(h, pkt, DROP_NO_PROTOCOL)
      icmp6Error(h, frame, dev, Icmp6.ICMPV6_PARAMPROB, Icmp6.ICMPV6_UNK_NEXTHDR, t.pointer - Eth.LEN)
  }
}

/** ipv6_frag_rcv. An atomic fragment (RFC 6946) is a packet with one header too many. */
function fragment(
  h: HostState,
  frame: Uint8Array,
  pkt: number,
  dev: number,
  fate: Fate,
  routed: boolean,
  t: { at: number; pointer: number },
): void {
  const d = view(frame)
  if (t.at + Ipv6.FRAGMENT_LEN > frame.length) {
    end(h, pkt, DROP_FRAG_REASSEMBLY)
    icmp6Error(h, frame, dev, Icmp6.ICMPV6_PARAMPROB, Icmp6.ICMPV6_HDR_FIELD, t.at - Eth.LEN)
    return
  }
  if (Ipv6.fragmentOffset(d, t.at) === 0 && !Ipv6.fragmentMore(d, t.at)) {
    const out = new Uint8Array(frame.length - Ipv6.FRAGMENT_LEN)
    out.set(frame.subarray(0, t.at))
    out.set(frame.subarray(t.at + Ipv6.FRAGMENT_LEN), t.at)
    out[t.pointer] = Ipv6.fragmentNext(d, t.at)
    Ipv6.setPayloadLength(view(out), Eth.LEN, out.length - Eth.LEN - Ipv6.LEN)
    walk(h, out, pkt, dev, fate, routed)
    return
  }
  const first = Ipv6.fragmentOffset(d, t.at) === 0
  if (first && isCutInHeaders(d, Ipv6.fragmentNext(d, t.at), t.at + Ipv6.FRAGMENT_LEN, frame.length)) {
    end(h, pkt, DROP_FRAG_REASSEMBLY)
    icmp6Error(h, frame, dev, Icmp6.ICMPV6_PARAMPROB, ICMPV6_HDR_INCOMP, 0)
    return
  }
  if (pkt !== 0) h.dp.release(pkt)
  const whole = defragIpv6(h, frame, dev, t.at, t.pointer)
  if (whole !== null) walk(h, whole.frame, 0, dev, fate, routed)
}

/** Ethernet, an IPv6 header that is followed by the transport header at once, and the rest. */
function plain(frame: Uint8Array, at: number, proto: number): Uint8Array {
  const start = Eth.LEN + Ipv6.LEN
  if (at === start) return frame
  const out = new Uint8Array(frame.length - (at - start))
  out.set(frame.subarray(0, start))
  out.set(frame.subarray(at), start)
  Ipv6.setNextHeader(view(out), Eth.LEN, proto)
  Ipv6.setPayloadLength(view(out), Eth.LEN, out.length - start)
  return out
}

/** What is for a tunnel goes to the datapath, plain. The packet is taken. */
function backToDatapath(h: HostState, frame: Uint8Array, at: number, proto: number, dev: number, pkt: number): void {
  if (pkt !== 0) h.dp.release(pkt)
  const p = slotFor(h, plain(frame, at, proto), DROP_FRAG_REASSEMBLY)
  if (p === 0) return
  setReceived(h, p, dev, PKT_F_REASSEMBLED)
  h.dp.localInput(p, dev)
}

/** __udp6_lib_rcv. */
function udp(h: HostState, frame: Uint8Array, at: number, dev: number, fate: Fate, pkt: number, routed: boolean): void {
  const d = view(frame)
  if (!Udp.check(d, at, frame.length)) {
    end(h, pkt, DROP_UDP_LENGTH)
    return
  }
  // What comes back with its headers made plain has been to the datapath already.
  if (!(routed && pkt !== 0) && udpPortFirst(h.a, Udp.dstPort(d, at)) !== 0) {
    backToDatapath(h, frame, at, Ipv4.IPPROTO_UDP, dev, pkt)
    return
  }
  const length = Udp.length(d, at)
  // Without a socket that takes it a zero checksum is a wrong one.
  const right =
    Udp.checksum(d, at) !== 0 &&
    complement(pseudoSum(d, Eth.LEN, true, Ipv4.IPPROTO_UDP, length) + sum(d, at, length)) === 0
  end(h, pkt, right ? DROP_NO_SOCKET : DROP_UDP_CSUM)
  if (right && fate === 'local')
    icmp6Error(h, frame.subarray(0, at + length), dev, Icmp6.ICMPV6_DEST_UNREACH, Icmp6.ICMPV6_PORT_UNREACH)
}

/** tcp_v6_rcv. */
function tcp(h: HostState, frame: Uint8Array, at: number, fate: Fate, pkt: number): void {
  const d = view(frame)
  const n = frame.length - at
  const ok =
    fate === 'local' &&
    Tcp.check(d, at, frame.length) &&
    complement(pseudoSum(d, Eth.LEN, true, Ipv4.IPPROTO_TCP, n) + sum(d, at, n)) === 0
  end(h, pkt, DROP_NO_SOCKET)
  if (ok) tcpReset(h, frame, at, AF_INET6)
}

/** icmpv6_rcv: neighbour discovery; echo requests are not answered here. */
function icmp(h: HostState, frame: Uint8Array, at: number, dev: number, pkt: number): void {
  const d = view(frame)
  const ok = Icmp6.check(d, at, frame.length) && Icmp6.checksumOk(d, Eth.LEN, at, frame.length - at)
  const type = ok ? Icmp6.type(d, at) : 0
  if (!ok) end(h, pkt, DROP_IP_HEADER)
  else if (type < Nd.NDISC_ROUTER_SOLICITATION || type > Nd.NDISC_REDIRECT) end(h, pkt, DROP_HOST_CONSUMED)
  // A message of neighbour discovery that was cut is not one (RFC 6980).
  else if (pkt === 0) end(h, pkt, DROP_ND)
  else {
    const o = h.a.m[(pkt + PKT_DATA) >> 2]
    ndiscInput(h, pkt, dev, o + Eth.LEN, o + at, o + frame.length)
  }
}
