// GSO frames: one frame that stands for many, taken apart as the kernel would have done at the last moment
// (net/ipv4/tcp_offload.c tcp_gso_segment, udp_offload.c __udp_gso_segment, and for tunnels gso of their outer headers).
//
//   | outer headers … | headers up to csum_start | TCP or UDP header | payload: gso_size each, the last one less |
//
// Every segment has all headers again, with lengths, IPv4 identification and TCP sequence of its own, FIN and PSH on the
// last one only, CWR on the first one only, and whole checksums. What is between the outer IP header and csum_start does
// not matter, but for the IP header right in front of csum_start: a tunnel's frame is taken apart as a plain one is.

import type { Arena } from '../memory/arena.ts'
import { DROP_GSO, DROP_NO_SLOT, DROP_RX_TOO_LONG } from '../memory/layout/drop.ts'
import { PKT_FRAME, PKT_LEN } from '../memory/layout/packet.ts'
import { ETH_P_8021AD, ETH_P_8021Q, ETH_P_IP, ETH_P_IPV6 } from '../wire/ethernet.ts'
import type { PortDatapath } from './port.ts'

/** struct virtio_net_hdr, <linux/virtio_net.h>. */
export const VNET_LEN = 10
export const VNET_F_NEEDS_CSUM = 1
const VNET_GSO_TCPV4 = 1
const VNET_GSO_TCPV6 = 4
const VNET_GSO_UDP_L4 = 5
const VNET_GSO_ECN = 0x80

const IPPROTO_TCP = 6
const IPPROTO_UDP = 17
const FIN_PSH = 0x09
const CWR = 0x80

/** What is known of a GSO frame's headers: offsets in the frame. */
interface Headers {
  /** Outermost IP header, and what is behind it. */
  readonly ip: number
  readonly l4: number
  /** The IP header in front of csum_start; the same when there is no tunnel. */
  readonly innerIp: number
  /** All of them. */
  readonly bytes: number
  readonly tcp: boolean
  /** Payload of a segment. */
  readonly size: number
  readonly start: number
}

/**
 * Takes the frame of `len` bytes at address `frame` apart, as the virtio_net_hdr at `vnet` says. The segments are put
 * into slots, the list at `list`; returns how many. A frame that cannot be taken apart is dropped, by name.
 */
export function segment(dp: PortDatapath, vnet: number, frame: number, len: number, list: number): number {
  const { a } = dp
  const h = headersOf(a, vnet, frame, len)
  if (h === undefined) {
    dp.countDrop(DROP_GSO)
    return 0
  }
  const offset = a.d.getUint16(vnet + 8, true)
  const payload = len - h.bytes
  let n = 0
  for (let at = 0, i = 0; at < payload; at += h.size, i++) {
    const part = Math.min(h.size, payload - at)
    const pkt = oneOf(dp, frame, h.bytes, at, part)
    if (pkt === 0) continue
    const data = pkt + PKT_FRAME
    patch(a, data, h, i, at, payload - part, at + part === payload)
    dp.rings.completeChecksum(data, h.bytes + part, h.start, offset)
    if (h.innerIp !== h.ip) outerChecksum(dp, data, h, h.bytes + part)
    a.m[(list >> 2) + n++] = pkt
  }
  return n
}

/** A slot with the headers, and `part` bytes of the payload from `at` on. 0: dropped. */
function oneOf(dp: PortDatapath, frame: number, headers: number, at: number, part: number): number {
  const pkt = dp.alloc()
  if (pkt === 0) {
    dp.countDrop(DROP_NO_SLOT)
    return 0
  }
  if (headers + part > dp.maxFrame()) {
    dp.drop(pkt, DROP_RX_TOO_LONG)
    return 0
  }
  dp.load(pkt, frame, headers)
  dp.rings.copyBytes(pkt + PKT_FRAME + headers, frame + headers + at, part)
  dp.a.m[(pkt + PKT_LEN) >> 2] = headers + part
  return pkt
}

/** Reads the headers; undefined when they are not what they must be. */
function headersOf({ u8, d }: Arena, vnet: number, frame: number, len: number): Headers | undefined {
  const type = u8[vnet + 1] & ~VNET_GSO_ECN
  const size = d.getUint16(vnet + 4, true)
  const start = d.getUint16(vnet + 6, true)
  const tcp = type === VNET_GSO_TCPV4 || type === VNET_GSO_TCPV6
  if (!tcp && type !== VNET_GSO_UDP_L4) return undefined
  if ((u8[vnet] & VNET_F_NEEDS_CSUM) === 0 || size === 0 || len > 0xffff || start + 20 > len) return undefined
  const bytes = start + (tcp ? (u8[frame + start + 12] >> 4) * 4 : 8)
  if (bytes >= len || bytes < start + 8) return undefined

  let at = 12
  while (isTag(d.getUint16(frame + at)) && at + 24 < start) at += 4
  const ip = at + 2
  const l4 = behindIp(d, u8, frame, ip, d.getUint16(frame + at))
  if (l4 === 0 || l4 > start) return undefined
  const innerIp = l4 === start ? ip : innerOf(d, u8, frame, start, len, tcp ? IPPROTO_TCP : IPPROTO_UDP)
  return innerIp === 0 ? undefined : { ip, l4, innerIp, bytes, tcp, size, start }
}

const isTag = (type: number): boolean => type === ETH_P_8021Q || type === ETH_P_8021AD

function behindIp(d: DataView, u8: Uint8Array, frame: number, ip: number, type: number): number {
  if (type === ETH_P_IP && u8[frame + ip] >> 4 === 4) return ip + (u8[frame + ip] & 15) * 4
  return type === ETH_P_IPV6 && d.getUint8(frame + ip) >> 4 === 6 ? ip + 40 : 0
}

/** The IP header, without options, that ends at `start` and whose packet is all the rest of the frame. */
function innerOf(d: DataView, u8: Uint8Array, frame: number, start: number, len: number, proto: number): number {
  const v4 = start - 20
  if (u8[frame + v4] === 0x45 && u8[frame + v4 + 9] === proto && d.getUint16(frame + v4 + 2) === len - v4) return v4
  const v6 = start - 40
  const is6 = v6 > 0 && u8[frame + v6] >> 4 === 6 && u8[frame + v6 + 6] === proto
  return is6 && d.getUint16(frame + v6 + 4) === len - start ? v6 : 0
}

/** Makes the headers of a segment its own: number `i`, `at` bytes of payload before it, `less` bytes shorter than all. */
function patch({ d, u8 }: Arena, data: number, h: Headers, i: number, at: number, less: number, last: boolean): void {
  patchIp(d, data + h.ip, less, i)
  if (h.innerIp !== h.ip) {
    if (protocolOf(u8, data + h.ip) === IPPROTO_UDP) shorten(d, data + h.l4 + 4, less)
    patchIp(d, data + h.innerIp, less, i)
  }
  const l4 = data + h.start
  // The field has the sum of the pseudo header, in which the length is one word.
  const field = h.tcp ? l4 + 16 : l4 + 6
  const sum = d.getUint16(field) + (~less & 0xffff)
  d.setUint16(field, fold(sum))
  if (!h.tcp) {
    shorten(d, l4 + 4, less)
    return
  }
  d.setUint32(l4 + 4, (d.getUint32(l4 + 4) + at) >>> 0)
  if (!last) u8[l4 + 13] &= ~FIN_PSH
  if (i > 0) u8[l4 + 13] &= ~CWR
}

const shorten = (d: DataView, at: number, less: number): void => d.setUint16(at, d.getUint16(at) - less)

const protocolOf = (u8: Uint8Array, ip: number): number => (u8[ip] >> 4 === 4 ? u8[ip + 9] : u8[ip + 6])

function patchIp(d: DataView, ip: number, less: number, i: number): void {
  if (d.getUint8(ip) >> 4 === 6) {
    shorten(d, ip + 4, less)
    return
  }
  shorten(d, ip + 2, less)
  d.setUint16(ip + 4, d.getUint16(ip + 4) + i)
  d.setUint16(ip + 10, 0)
  let sum = 0
  const end = ip + (d.getUint8(ip) & 15) * 4
  for (let o = ip; o < end; o += 2) sum += d.getUint16(o)
  d.setUint16(ip + 10, ~fold(sum))
}

const fold = (sum: number): number => {
  const s = (sum & 0xffff) + (sum >>> 16)
  return ((s & 0xffff) + (s >>> 16)) & 0xffff
}

/** The checksum of a tunnel's UDP header, where it has one: it covers what has just been changed. */
function outerChecksum(dp: PortDatapath, data: number, h: Headers, len: number): void {
  const { d, u8 } = dp.a
  const ip = data + h.ip
  if (protocolOf(u8, ip) !== IPPROTO_UDP || d.getUint16(data + h.l4 + 6) === 0) return
  const v4 = u8[ip] >> 4 === 4
  let sum = IPPROTO_UDP + len - h.l4
  for (let o = v4 ? ip + 12 : ip + 8; o < data + h.l4 && o < (v4 ? ip + 20 : ip + 40); o += 2) sum += d.getUint16(o)
  d.setUint16(data + h.l4 + 6, fold(sum))
  dp.rings.completeChecksum(data, len, h.l4, 6)
}
