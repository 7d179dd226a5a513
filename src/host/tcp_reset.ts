// The host has no TCP sockets: a segment for it is refused (tcp_v4_send_reset, tcp_v6_send_response; RFC 9293 3.10.7.1).

import { DROP_PKT_TOO_BIG } from '../memory/layout/drop.ts'
import { lookup } from '../net/route.ts'
import { complement, pseudoSum, sum } from '../wire/checksum.ts'
import * as Eth from '../wire/ethernet.ts'
import * as Ipv4 from '../wire/ipv4.ts'
import * as Ipv6 from '../wire/ipv6.ts'
import { AF_INET, AF_INET6 } from '../wire/rtm_route.ts'
import * as Tcp from '../wire/tcp.ts'
import { ipOutput } from './ip_output.ts'
import { type HostState, slotFor, view } from './state.ts'

const TTL = 64

/** Answers the segment at `at` of a frame (its end is the end of the segment), right in its checksum, to an address of ours. */
export function tcpReset(h: HostState, frame: Uint8Array, at: number, family: number): void {
  const d = view(frame)
  const flags = Tcp.flags(d, at)
  if (flags & Tcp.FLAG_RST) return
  const v6 = family === AF_INET6
  const [from, to] = v6 ? [Ipv6.dst(d, Eth.LEN), Ipv6.src(d, Eth.LEN)] : [Ipv4.dst(d, Eth.LEN), Ipv4.src(d, Eth.LEN)]
  const route = lookup(h.a, family, to, { src: from })
  if (route.errno !== 0) return
  const payload = frame.length - at - Tcp.headerLength(d, at)
  const counted = payload + (flags & Tcp.FLAG_SYN ? 1 : 0) + (flags & Tcp.FLAG_FIN ? 1 : 0)
  const acked = (flags & Tcp.FLAG_ACK) !== 0
  const start = Eth.LEN + (v6 ? Ipv6.LEN : Ipv4.LEN)
  const out = new Uint8Array(start + Tcp.LEN)
  const o = view(out)
  Eth.setType(o, 0, v6 ? Eth.ETH_P_IPV6 : Eth.ETH_P_IP)
  if (v6)
    Ipv6.emit(o, Eth.LEN, {
      trafficClass: Ipv6.trafficClass(d, Eth.LEN) & 0xfc,
      flowLabel: 0,
      payloadLength: Tcp.LEN,
      nextHeader: Ipv4.IPPROTO_TCP,
      hopLimit: TTL,
      src: from,
      dst: to,
    })
  else
    Ipv4.emit(o, Eth.LEN, {
      tos: Ipv4.tos(d, Eth.LEN) & 0xfc,
      totalLength: Ipv4.LEN + Tcp.LEN,
      id: 0,
      fragment: Ipv4.DF,
      ttl: TTL,
      protocol: Ipv4.IPPROTO_TCP,
      src: from,
      dst: to,
    })
  Tcp.emit(o, start, {
    srcPort: Tcp.dstPort(d, at),
    dstPort: Tcp.srcPort(d, at),
    sequence: acked ? Tcp.acknowledgment(d, at) : 0,
    acknowledgment: acked ? 0 : (Tcp.sequence(d, at) + counted) % 0x100000000,
    flags: Tcp.FLAG_RST | (acked ? 0 : Tcp.FLAG_ACK),
    window: 0,
  })
  Tcp.setChecksum(o, start, complement(pseudoSum(o, Eth.LEN, v6, Ipv4.IPPROTO_TCP, Tcp.LEN) + sum(o, start, Tcp.LEN)))
  const pkt = slotFor(h, out, DROP_PKT_TOO_BIG)
  if (pkt !== 0) ipOutput(h, pkt, v6 ? AF_INET6 : AF_INET, route)
}
