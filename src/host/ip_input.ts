// IPv4 packets for the host that are not plain UDP for a tunnel: odd sources and destinations, options, fragments,
// other protocols (ip_rcv_finish, ip_local_deliver, and the handlers of a host without sockets).
//
// The datapath has checked header, checksum and length and cut the frame to its length. What turns out to be for a
// tunnel's UDP port or protocol after all goes back to it, made plain: options gone, whole, PKT_F_REASSEMBLED.

import {
  DROP_FORWARDING_OFF,
  DROP_FRAG_REASSEMBLY,
  DROP_HOST_CONSUMED,
  DROP_IP_MARTIAN,
  DROP_IP_OPTIONS,
  DROP_NO_PROTOCOL,
  DROP_NO_SOCKET,
  DROP_TUNNEL_HEADER,
  DROP_UDP_CSUM,
  DROP_UDP_LENGTH,
} from '../memory/layout/drop.ts'
import { IFF_LOOPBACK } from '../memory/layout/netdev.ts'
import { PKT_F_REASSEMBLED, PKT_FLAGS } from '../memory/layout/packet.ts'
import { netdevFlags, protocolFirst, udpPortFirst } from '../net/netdev.ts'
import { complement, pseudoSum, sum } from '../wire/checksum.ts'
import * as Eth from '../wire/ethernet.ts'
import * as Icmp from '../wire/icmp.ts'
import * as Ipv4 from '../wire/ipv4.ts'
import { AF_INET } from '../wire/rtm_route.ts'
import * as Tcp from '../wire/tcp.ts'
import * as Udp from '../wire/udp.ts'
import { icmpError } from './icmp_error.ts'
import { type Fate, inputRoute4 } from './input_route.ts'
import { defragIpv4 } from './reassembly.ts'
import { frameOf, type HostState, setReceived, slotFor, view } from './state.ts'
import { tcpReset } from './tcp_reset.ts'

/** Drop reason of each fate that ends here. */
export const FATE_DROP: Readonly<Partial<Record<Fate, number>>> = {
  forward: DROP_FORWARDING_OFF,
  unreachable: DROP_FORWARDING_OFF,
  martian: DROP_IP_MARTIAN,
  ignored: DROP_HOST_CONSUMED,
}

const IPOPT_END = 0
const IPOPT_NOOP = 1
const IPOPT_LSRR = 131
const IPOPT_SSRR = 137

/** ip_options_compile and the source route check: 0 fine, -1 source route (not accepted), else the offset that is wrong. */
function optionsProblem(d: DataView, ip: number): number {
  const end = ip + Ipv4.headerLength(d, ip)
  for (let o = ip + Ipv4.LEN; o < end; ) {
    const kind = d.getUint8(o)
    if (kind === IPOPT_END) return 0
    if (kind === IPOPT_NOOP) {
      o++
      continue
    }
    if (o + 2 > end) return o - ip
    const length = d.getUint8(o + 1)
    if (length < 2 || o + length > end) return o - ip
    if (kind === IPOPT_LSRR || kind === IPOPT_SSRR) return -1
    o += length
  }
  return 0
}

/** A packet of type IPv4 that `dev` received. The packet is taken. */
export function ipv4Input(h: HostState, pkt: number, dev: number): void {
  const { a, dp } = h
  const routed = (a.m[(pkt + PKT_FLAGS) >> 2] & PKT_F_REASSEMBLED) !== 0
  let frame = frameOf(h, pkt)
  let d = view(frame)
  const ip = Eth.LEN
  const loopback = (netdevFlags(a, dev) & IFF_LOOPBACK) !== 0
  const fate: Fate = routed || loopback ? 'local' : inputRoute4(h, Ipv4.src(d, ip), Ipv4.dst(d, ip))
  const ended = FATE_DROP[fate]
  if (ended !== undefined) {
    dp.drop(pkt, ended)
    return
  }
  if (Ipv4.headerLength(d, ip) > Ipv4.LEN) {
    const problem = optionsProblem(d, ip)
    if (problem !== 0) {
      dp.drop(pkt, DROP_IP_OPTIONS)
      if (problem > 0) icmpError(h, frame, dev, Icmp.ICMP_PARAMETERPROB, 0, problem << 24)
      return
    }
  }
  if (Ipv4.isFragment(d, ip)) {
    dp.release(pkt)
    const whole = defragIpv4(h, frame, dev)
    if (whole === null) return
    frame = whole.frame
    d = view(frame)
    deliver(h, frame, dev, fate, 0)
    return
  }
  deliver(h, frame, dev, fate, pkt)
}

function end(h: HostState, pkt: number, reason: number): void {
  if (pkt === 0) h.dp.countDrop(reason)
  else h.dp.drop(pkt, reason)
}

/** ip_protocol_deliver_rcu. `pkt`: the slot that the frame came in, 0 when it was put together here. */
function deliver(h: HostState, frame: Uint8Array, dev: number, fate: Fate, pkt: number): void {
  const d = view(frame)
  const at = Eth.LEN + Ipv4.headerLength(d, Eth.LEN)
  switch (Ipv4.protocol(d, Eth.LEN)) {
    case Ipv4.IPPROTO_UDP:
      udp(h, frame, at, dev, fate, pkt)
      return
    case Ipv4.IPPROTO_TCP:
      tcp(h, frame, at, fate, pkt)
      return
    case Ipv4.IPPROTO_GRE:
      gre(h, frame, at, dev, pkt)
      return
    case Ipv4.IPPROTO_IPIP:
    case Ipv4.IPPROTO_IPV6:
      ipip(h, frame, at, dev, pkt)
      return
    case Ipv4.IPPROTO_ICMP:
    case Ipv4.IPPROTO_IGMP:
      // Echo requests are not answered here, and nobody waits for the others.
      end(h, pkt, DROP_HOST_CONSUMED)
      return
    case Ipv4.IPPROTO_UDPLITE:
      end(h, pkt, DROP_NO_SOCKET)
      icmpError(h, frame, dev, Icmp.ICMP_DEST_UNREACH, Icmp.ICMP_PORT_UNREACH)
      return
    default:
      end(h, pkt, DROP_NO_PROTOCOL)
      icmpError(h, frame, dev, Icmp.ICMP_DEST_UNREACH, Icmp.ICMP_PROT_UNREACH)
  }
}

/** Ethernet, a plain IPv4 header, and what follows the options. */
function plain(frame: Uint8Array, at: number): Uint8Array {
  const start = Eth.LEN + Ipv4.LEN
  if (at === start) return frame
  const out = new Uint8Array(frame.length - (at - start))
  out.set(frame.subarray(0, start))
  out.set(frame.subarray(at), start)
  const d = view(out)
  out[Eth.LEN] = 0x45
  Ipv4.setTotalLength(d, Eth.LEN, out.length - Eth.LEN)
  Ipv4.setChecksum(d, Eth.LEN)
  return out
}

/** Has the datapath not seen the packet as it is now? `pkt`: 0 when it was put together here. */
const isNew = (h: HostState, pkt: number): boolean => pkt === 0 || !(h.a.m[(pkt + PKT_FLAGS) >> 2] & PKT_F_REASSEMBLED)

/** What turned out to be for a tunnel goes to the datapath again, plain. The packet is taken. */
function backToDatapath(h: HostState, frame: Uint8Array, at: number, dev: number, pkt: number): void {
  if (pkt !== 0) h.dp.release(pkt)
  const p = slotFor(h, plain(frame, at), DROP_FRAG_REASSEMBLY)
  if (p === 0) return
  setReceived(h, p, dev, PKT_F_REASSEMBLED)
  h.dp.localInput(p, dev)
}

/** __udp4_lib_rcv. */
function udp(h: HostState, frame: Uint8Array, at: number, dev: number, fate: Fate, pkt: number): void {
  const d = view(frame)
  if (!Udp.check(d, at, frame.length)) {
    end(h, pkt, DROP_UDP_LENGTH)
    return
  }
  if (isNew(h, pkt) && udpPortFirst(h.a, Udp.dstPort(d, at)) !== 0) {
    backToDatapath(h, frame, at, dev, pkt)
    return
  }
  const length = Udp.length(d, at)
  const right =
    Udp.checksum(d, at) === 0 ||
    complement(pseudoSum(d, Eth.LEN, false, Ipv4.IPPROTO_UDP, length) + sum(d, at, length)) === 0
  end(h, pkt, right ? DROP_NO_SOCKET : DROP_UDP_CSUM)
  if (right && fate === 'local')
    icmpError(h, frame.subarray(0, at + length), dev, Icmp.ICMP_DEST_UNREACH, Icmp.ICMP_PORT_UNREACH)
}

/** tcp_v4_rcv. */
function tcp(h: HostState, frame: Uint8Array, at: number, fate: Fate, pkt: number): void {
  const d = view(frame)
  const ok =
    fate === 'local' &&
    Tcp.check(d, at, frame.length) &&
    complement(pseudoSum(d, Eth.LEN, false, Ipv4.IPPROTO_TCP, frame.length - at) + sum(d, at, frame.length - at)) === 0
  end(h, pkt, DROP_NO_SOCKET)
  if (ok) tcpReset(h, frame, at, AF_INET)
}

/** gre_rcv of a host whose GRE devices did not want it: version 0, no routing, a right checksum, then "port unreachable". */
function gre(h: HostState, frame: Uint8Array, at: number, dev: number, pkt: number): void {
  if (isNew(h, pkt) && protocolFirst(h.a, Ipv4.IPPROTO_GRE) !== 0) {
    backToDatapath(h, frame, at, dev, pkt)
    return
  }
  const d = view(frame)
  const flags = at + 4 <= frame.length ? d.getUint16(at) : 0xffff
  const checked = (flags & 0x8000) !== 0
  const right = !checked || complement(sum(d, at, frame.length - at)) === 0
  const header = 4 + (checked ? 4 : 0) + (flags & 0x2000 ? 4 : 0) + (flags & 0x1000 ? 4 : 0)
  const ok = (flags & 0x4007) === 0 && right && at + header <= frame.length
  end(h, pkt, ok ? DROP_NO_PROTOCOL : DROP_TUNNEL_HEADER)
  if (ok) icmpError(h, frame, dev, Icmp.ICMP_DEST_UNREACH, Icmp.ICMP_PORT_UNREACH)
}

/** tunnel4_rcv, tunnel64_rcv: a host that has such devices says that the port is unreachable, another knows no such protocol. */
function ipip(h: HostState, frame: Uint8Array, at: number, dev: number, pkt: number): void {
  const known = protocolFirst(h.a, Ipv4.IPPROTO_IPIP) !== 0
  if (known && isNew(h, pkt)) {
    backToDatapath(h, frame, at, dev, pkt)
    return
  }
  end(h, pkt, DROP_NO_PROTOCOL)
  const code = known ? Icmp.ICMP_PORT_UNREACH : Icmp.ICMP_PROT_UNREACH
  icmpError(h, frame, dev, Icmp.ICMP_DEST_UNREACH, code)
}
