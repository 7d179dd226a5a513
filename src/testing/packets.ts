// Frames for tests, from few words: udp({ src: '9.9.9.9', dst: '1.1.1.1' }), arpReply(…), vxlanIn(udp(…), inner).
//
// A frame is a Uint8Array that begins with its Ethernet header; lengths and checksums come out right unless a test says
// otherwise by overwriting bytes. Addresses are texts.

import * as Arp from '../wire/arp.ts'
import { complement, complementUdp, pseudoSum, sum } from '../wire/checksum.ts'
import * as Eth from '../wire/ethernet.ts'
import * as Icmp6 from '../wire/icmp6.ts'
import * as Ipv4 from '../wire/ipv4.ts'
import * as Ipv6 from '../wire/ipv6.ts'
import * as Nd from '../wire/nd.ts'
import * as Tcp from '../wire/tcp.ts'
import * as Udp from '../wire/udp.ts'
import * as Vlan from '../wire/vlan.ts'
import * as Vxlan from '../wire/vxlan.ts'
import { address16 } from './rtnl_messages.ts'

export const macBytes = (text: string): Uint8Array => Uint8Array.from(text.split(':'), (x) => Number.parseInt(x, 16))
export const macText = (b: Uint8Array, o = 0): string =>
  Array.from(b.slice(o, o + 6), (x) => x.toString(16).padStart(2, '0')).join(':')

export interface FrameText {
  /** Ethernet addresses. */
  to?: string
  from?: string
}
export interface IpText extends FrameText {
  src?: string
  dst?: string
  tos?: number
  ttl?: number
  id?: number
  /** IPv4: DF, MF and offset / 8. */
  fragment?: number
}
export interface UdpText extends IpText {
  sport?: number
  dport?: number
  data?: Uint8Array
  /** false: sent as zero. */
  checksum?: boolean
}

const view = (b: Uint8Array): DataView => new DataView(b.buffer, b.byteOffset, b.byteLength)

export function ethernet(type: number, payload: Uint8Array, o: FrameText = {}): Uint8Array {
  const f = new Uint8Array(Eth.LEN + payload.length)
  Eth.emit(view(f), 0, {
    dst: macBytes(o.to ?? '02:bb:00:00:00:01'),
    src: macBytes(o.from ?? '02:aa:00:00:00:01'),
    type,
  })
  f.set(payload, Eth.LEN)
  return f
}

/** An IP packet of either family around `payload`. */
export function ip(proto: number, payload: Uint8Array, o: IpText = {}): Uint8Array {
  const v6 = (o.src ?? '').includes(':')
  const p = new Uint8Array((v6 ? Ipv6.LEN : Ipv4.LEN) + payload.length)
  const [src, dst] = [address16(o.src ?? '9.9.9.9'), address16(o.dst ?? '1.1.1.1')]
  const ttl = o.ttl ?? 64
  if (v6)
    Ipv6.emit(view(p), 0, {
      trafficClass: o.tos ?? 0,
      flowLabel: 0,
      payloadLength: payload.length,
      nextHeader: proto,
      hopLimit: ttl,
      src,
      dst,
    })
  else
    Ipv4.emit(view(p), 0, {
      tos: o.tos ?? 0,
      totalLength: p.length,
      id: o.id ?? 1,
      fragment: o.fragment ?? 0,
      ttl,
      protocol: proto,
      src,
      dst,
    })
  p.set(payload, p.length - payload.length)
  return p
}

export const ipFrame = (proto: number, payload: Uint8Array, o: IpText = {}): Uint8Array =>
  ethernet((o.src ?? '').includes(':') ? Eth.ETH_P_IPV6 : Eth.ETH_P_IP, ip(proto, payload, o), o)

/** UDP in IPv4 or IPv6, whichever `src` is. */
export function udp(o: UdpText = {}): Uint8Array {
  const data = o.data ?? Uint8Array.from('payloadABC', (c) => c.charCodeAt(0))
  const u = new Uint8Array(Udp.LEN + data.length)
  Udp.emit(view(u), 0, { srcPort: o.sport ?? 1000, dstPort: o.dport ?? 53, length: u.length, checksum: 0 })
  u.set(data, Udp.LEN)
  const f = ipFrame(Ipv4.IPPROTO_UDP, u, o)
  const v6 = (o.src ?? '').includes(':')
  const at = f.length - u.length
  if (o.checksum === false) return f
  const d = view(f)
  Udp.setChecksum(d, at, complementUdp(pseudoSum(d, Eth.LEN, v6, Ipv4.IPPROTO_UDP, u.length) + sum(d, at, u.length)))
  return f
}

export interface TcpText extends IpText {
  sport: number
  dport: number
  flags: number
  sequence?: number
  acknowledgment?: number
  data?: Uint8Array
}
export function tcp(o: TcpText): Uint8Array {
  const data = o.data ?? new Uint8Array(0)
  const t = new Uint8Array(Tcp.LEN + data.length)
  Tcp.emit(view(t), 0, {
    srcPort: o.sport,
    dstPort: o.dport,
    sequence: o.sequence ?? 0,
    acknowledgment: o.acknowledgment ?? 0,
    flags: o.flags,
    window: 8192,
  })
  t.set(data, Tcp.LEN)
  const f = ipFrame(Ipv4.IPPROTO_TCP, t, o)
  const d = view(f)
  const at = f.length - t.length
  const v6 = (o.src ?? '').includes(':')
  Tcp.setChecksum(d, at, complement(pseudoSum(d, Eth.LEN, v6, Ipv4.IPPROTO_TCP, t.length) + sum(d, at, t.length)))
  return f
}

/** `inner` (a frame) in VXLAN in UDP. */
export function vxlan(inner: Uint8Array, vni: number, o: UdpText = {}): Uint8Array {
  const data = new Uint8Array(Vxlan.LEN + inner.length)
  Vxlan.emit(view(data), 0, { vni })
  data.set(inner, Vxlan.LEN)
  return udp({ sport: 50000, dport: Vxlan.PORT, checksum: false, ...o, data })
}

export interface ArpText extends FrameText {
  op?: number
  sha?: string
  spa: string
  tha?: string
  tpa: string
}
export function arp(o: ArpText): Uint8Array {
  const p = new Uint8Array(Arp.LEN)
  Arp.emit(view(p), 0, {
    operation: o.op ?? Arp.REQUEST,
    senderMac: macBytes(o.sha ?? o.from ?? '02:aa:00:00:00:01'),
    senderAddress: address16(o.spa),
    targetMac: macBytes(o.tha ?? '00:00:00:00:00:00'),
    targetAddress: address16(o.tpa),
  })
  return ethernet(Eth.ETH_P_ARP, p, { to: 'ff:ff:ff:ff:ff:ff', ...o })
}

export interface NdText extends IpText {
  /** NDISC_NEIGHBOUR_*. */
  type: number
  flags?: number
  target: string
  /** Link-layer address option. */
  mac?: string
}
export function nd(o: NdText): Uint8Array {
  const r = { type: o.type, flags: o.flags ?? 0, target: address16(o.target), mac: o.mac ? macBytes(o.mac) : null }
  const m = new Uint8Array(Nd.length(r))
  Nd.emit(view(m), 0, r)
  const f = ipFrame(Ipv6.NEXTHDR_ICMP, m, { ttl: 255, ...o })
  Icmp6.setChecksum(view(f), Eth.LEN, f.length - m.length, m.length)
  return f
}

/** The frame with a VLAN tag pushed. */
export function tagged(frame: Uint8Array, id: number, priority = 0, tpid = Eth.ETH_P_8021Q): Uint8Array {
  const f = new Uint8Array(frame.length + Vlan.LEN)
  f.set(frame.subarray(0, 12))
  f.set(frame.subarray(12), 12 + Vlan.LEN)
  const d = view(f)
  d.setUint16(12, tpid)
  Vlan.emit(d, Eth.LEN, { id, priority, dei: 0, type: d.getUint16(16) })
  return f
}

/** An IPv4 frame cut into fragments whose data are `size` bytes (a multiple of 8) each. */
export function fragments(frame: Uint8Array, size: number): Uint8Array[] {
  const out: Uint8Array[] = []
  const data = frame.subarray(Eth.LEN + Ipv4.LEN)
  for (let at = 0; at < data.length; at += size) {
    const part = data.subarray(at, at + size)
    const f = new Uint8Array(Eth.LEN + Ipv4.LEN + part.length)
    f.set(frame.subarray(0, Eth.LEN + Ipv4.LEN))
    f.set(part, Eth.LEN + Ipv4.LEN)
    const d = view(f)
    Ipv4.setTotalLength(d, Eth.LEN, Ipv4.LEN + part.length)
    Ipv4.setFragment(d, Eth.LEN, (at / 8) | (at + size < data.length ? Ipv4.MF : 0))
    Ipv4.setChecksum(d, Eth.LEN)
    out.push(f)
  }
  return out
}

/** Complement of the sum over a whole IPv4 header: 0 when its checksum is right. */
export const ipv4Residue = (frame: Uint8Array): number =>
  complement(sum(view(frame), Eth.LEN, Ipv4.headerLength(view(frame), Eth.LEN)))
