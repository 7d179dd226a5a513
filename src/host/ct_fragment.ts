// Fragments for an action ct (tcf_ct_handle_fragments), and their way out (net/sched/sch_frag.c).
//
//   fragment ─> the datagrams of its zone (reassembly.ts) ─> all there: a large slot ─> the op that wanted it whole
//   redirected, still larger than the largest fragment ─> cut as it was, or where it was changed, to that size
//
// The packet that goes on is the one whose fragment came last; bytes in front of the IP header are those of the first.
// Nobody is told of datagrams that never become whole.

import type { Arena } from '../memory/arena.ts'
import { DROP_CT, DROP_CT_FRAGMENT } from '../memory/layout/drop.ts'
import * as P from '../memory/layout/packet.ts'
import { SUPER_LARGE } from '../memory/layout/super.ts'
import { HELD_IPV6 } from '../memory/layout/worker.ts'
import * as Eth from '../wire/ethernet.ts'
import * as Ipv4 from '../wire/ipv4.ts'
import * as Ipv6 from '../wire/ipv6.ts'
import { defragIpv4, defragIpv6, type FragmentQueue, type Tracked, type Whole } from './reassembly.ts'
import { type HostState, slotFor, view } from './state.ts'

const VLANS = new Set([0x8100, 0x88a8])

/** Address of the packet's network header (skb_network_header). */
function networkHeader(a: Arena, pkt: number): number {
  const noted = (a.m[(pkt + P.PKT_FLAGS) >> 2] >>> P.PKT_NETWORK_SHIFT) & P.PKT_NETWORK_MASK
  if (noted !== 0) return pkt + noted
  const data = a.m[(pkt + P.PKT_DATA) >> 2]
  return data + Eth.LEN + (VLANS.has(Eth.type(a.d, data)) ? 4 : 0)
}

/** The Fragment header of an IPv6 packet whose header is at `ip`, and the byte that names it; null: there is none. */
function findFragment(d: DataView, ip: number, end: number): { at: number; pointer: number } | null {
  let next = Ipv6.nextHeader(d, ip)
  let at = ip + Ipv6.LEN
  let pointer = ip + 6
  while (Ipv6.isExtension(next) && next !== Ipv6.NEXTHDR_FRAGMENT) {
    if (at + 8 > end) return null
    const length = next === Ipv6.NEXTHDR_AUTH ? (d.getUint8(at + 1) + 2) * 4 : (d.getUint8(at + 1) + 1) * 8
    next = d.getUint8(at)
    pointer = at
    at += length
  }
  return next === Ipv6.NEXTHDR_FRAGMENT && at + Ipv6.FRAGMENT_LEN <= end ? { at, pointer } : null
}

/** `frame`: fourteen bytes of nothing and the IP packet. 'bad': its headers make no sense. */
function takeIn(h: HostState, frame: Uint8Array, v6: boolean, dev: number, tracked: Tracked): Whole | null | 'bad' {
  const d = view(frame)
  if (v6) {
    const found = findFragment(d, Eth.LEN, frame.length)
    return found === null ? 'bad' : defragIpv6(h, frame, dev, found.at, found.pointer, tracked)
  }
  const header = Ipv4.headerLength(d, Eth.LEN)
  if (header < Ipv4.LEN || Eth.LEN + header > frame.length) return 'bad'
  return defragIpv4(h, frame, dev, tracked)
}

/** PUNT_CT_FRAGMENT. The packet is taken; `arg` as in the emission. */
export function ctFragment(h: HostState, pkt: number, dev: number, arg: number): void {
  const { a, dp } = h
  const data = a.m[(pkt + P.PKT_DATA) >> 2]
  const ip = networkHeader(a, pkt)
  const end = data + a.m[(pkt + P.PKT_LEN) >> 2]
  const frame = new Uint8Array(Eth.LEN + end - ip)
  frame.set(a.u8.subarray(ip, end), Eth.LEN)
  const tracked = { zone: arg & 0xffff, link: a.u8.slice(data, ip) }
  const made = takeIn(h, frame, (arg & HELD_IPV6) !== 0, dev, tracked)
  if (made === 'bad') {
    dp.drop(pkt, DROP_CT)
    return
  }
  if (made === null) {
    dp.release(pkt)
    return
  }
  const large = dp.allocLarge()
  if (large === 0) {
    dp.drop(pkt, DROP_CT_FRAGMENT)
    return
  }
  fill(h, large, pkt, ip - pkt, made)
  dp.release(pkt)
  dp.resume(large)
}

/** Makes the large slot the packet of `pkt`, its IP header as far from the slot as there, its bytes what came together. */
function fill(h: HostState, large: number, pkt: number, ip: number, made: Whole): void {
  const { u8, m, d } = h.a
  u8.copyWithin(large, pkt, pkt + P.PKT_HELD_END)
  const { link } = made.queue
  const at = large + ip
  u8.set(link, at - link.length)
  u8.set(made.frame.subarray(Eth.LEN), at)
  m[(large + P.PKT_DATA) >> 2] = at - link.length
  m[(large + P.PKT_LEN) >> 2] = link.length + made.frame.length - Eth.LEN
  if (m[(pkt + P.PKT_TUN) >> 2] !== 0) m[(large + P.PKT_TUN) >> 2] = large + P.PKT_TUN_INFO
  d.setUint16(large + P.PKT_MRU, made.queue.largest, true)
  notePieces(d, large, made.queue)
}

/** Writes down how the datagram was cut, so that it can be cut so again. */
function notePieces(d: DataView, large: number, q: FragmentQueue): void {
  const n = q.pieces.length
  d.setUint16(large + P.LARGE_PIECES, n > P.LARGE_PIECES_MAX ? 0 : n, true)
  if (n <= P.LARGE_PIECES_MAX)
    q.pieces.forEach((p, i) => {
      d.setUint16(large + P.LARGE_PIECES + 2 + 2 * i, p.data.length, true)
    })
}

/** How many bytes of data each fragment gets: as they came, if that is `total` still, or as many as fit `room`. */
function cuts(h: HostState, pkt: number, total: number, room: number): number[] {
  const { d, m } = h.a
  const isLarge = m[SUPER_LARGE >> 2] !== 0 && pkt >= m[SUPER_LARGE >> 2]
  const n = isLarge ? d.getUint16(pkt + P.LARGE_PIECES, true) : 0
  const as = Array.from({ length: n }, (_, i) => d.getUint16(pkt + P.LARGE_PIECES + 2 + 2 * i, true))
  if (as.reduce((sum, x) => sum + x, 0) === total) return as
  const most = room & ~7
  const out: number[] = []
  for (let left = total; left > 0; left -= out[out.length - 1]) out.push(left <= room ? left : most)
  return out
}

/** Fragments of an IPv4 packet (`frame` as in takeIn), for as many bytes as `sizes` has. */
function cutAs(frame: Uint8Array, sizes: readonly number[]): Uint8Array[] {
  const d = view(frame)
  const start = Eth.LEN + Ipv4.headerLength(d, Eth.LEN)
  let at = start
  return sizes.map((n) => {
    const part = new Uint8Array(start + n)
    part.set(frame.subarray(0, start))
    part.set(frame.subarray(at, at + n), start)
    const more = at + n < frame.length ? Ipv4.MF : 0
    Ipv4.setTotalLength(view(part), Eth.LEN, start - Eth.LEN + n)
    Ipv4.setFragment(view(part), Eth.LEN, (Ipv4.fragment(d, Eth.LEN) & Ipv4.DF) | more | ((at - start) >> 3))
    Ipv4.setChecksum(view(part), Eth.LEN)
    at += n
    return part
  })
}

/** Where the part of an IPv6 packet ends that every fragment has, and the byte that names what follows. */
function unfragmentable(d: DataView): { at: number; pointer: number } {
  let next = Ipv6.nextHeader(d, Eth.LEN)
  let at = Eth.LEN + Ipv6.LEN
  let pointer = Eth.LEN + 6
  while (next === Ipv6.NEXTHDR_HOP || next === Ipv6.NEXTHDR_ROUTING) {
    next = d.getUint8(at)
    pointer = at
    at += (d.getUint8(at + 1) + 1) * 8
  }
  return { at, pointer }
}

function cutIpv6(
  frame: Uint8Array,
  id: number,
  start: number,
  pointer: number,
  sizes: readonly number[],
): Uint8Array[] {
  let at = start
  return sizes.map((n) => {
    const part = new Uint8Array(start + Ipv6.FRAGMENT_LEN + n)
    const p = view(part)
    part.set(frame.subarray(0, start))
    part.set(frame.subarray(at, at + n), start + Ipv6.FRAGMENT_LEN)
    part[start] = frame[pointer]
    part[pointer] = Ipv6.NEXTHDR_FRAGMENT
    p.setUint16(start + 2, (at - start) | (at + n < frame.length ? 1 : 0))
    p.setUint32(start + 4, id)
    Ipv6.setPayloadLength(p, Eth.LEN, part.length - Eth.LEN - Ipv6.LEN)
    at += n
    return part
  })
}

/** PUNT_CT_REFRAGMENT: a packet larger than its PKT_MRU leaves by `dev`, in fragments. The packet is taken. */
export function ctRefragment(h: HostState, pkt: number, dev: number): void {
  const { a, dp } = h
  const data = a.m[(pkt + P.PKT_DATA) >> 2]
  const ip = networkHeader(a, pkt)
  const link = a.u8.slice(data, ip)
  const frame = new Uint8Array(Eth.LEN + data + a.m[(pkt + P.PKT_LEN) >> 2] - ip)
  frame.set(a.u8.subarray(ip, ip + frame.length - Eth.LEN), Eth.LEN)
  const d = view(frame)
  const mru = a.d.getUint16(pkt + P.PKT_MRU, true)
  let parts: Uint8Array[]
  if (frame[Eth.LEN] >> 4 === 4) {
    const header = Ipv4.headerLength(d, Eth.LEN)
    parts = cutAs(frame, cuts(h, pkt, frame.length - Eth.LEN - header, mru - header))
  } else {
    const { at, pointer } = unfragmentable(d)
    const room = Math.max(mru, Ipv6.MIN_MTU) - (at - Eth.LEN) - Ipv6.FRAGMENT_LEN
    parts = cutIpv6(frame, h.ipId++, at, pointer, cuts(h, pkt, frame.length - at, room))
  }
  for (const part of parts) {
    const p = slotFor(h, Uint8Array.of(...link, ...part.subarray(Eth.LEN)), DROP_CT_FRAGMENT)
    if (p === 0) continue
    copyMeta(a, p, pkt, link.length)
    dp.transmit(p, dev)
  }
  dp.release(pkt)
}

/** What the packet carries along, each of its fragments carries; `link`: bytes in front of the network header. */
function copyMeta(a: Arena, to: number, from: number, link: number): void {
  const [data, length] = [a.m[(to + P.PKT_DATA) >> 2], a.m[(to + P.PKT_LEN) >> 2]]
  a.u8.copyWithin(to, from, from + P.PKT_HEADROOM)
  a.m[(to + P.PKT_DATA) >> 2] = data
  a.m[(to + P.PKT_LEN) >> 2] = length
  a.d.setUint16(to + P.PKT_MRU, 0, true)
  const noted = P.PKT_NETWORK_MASK << P.PKT_NETWORK_SHIFT
  const flags = (to + P.PKT_FLAGS) >> 2
  if (a.m[flags] & noted) a.m[flags] = (a.m[flags] & ~noted) | ((data + link - to) << P.PKT_NETWORK_SHIFT)
  if (a.m[(to + P.PKT_TUN) >> 2] !== 0) a.m[(to + P.PKT_TUN) >> 2] = to + P.PKT_TUN_INFO
}
