// Datagrams in pieces: what fragments of IPv4 and IPv6 become before the host looks at them (net/ipv4/ip_fragment.c,
// net/ipv6/reassembly.c, net/ipv4/inet_fragment.c).
//
//   first piece of a datagram ─> a queue ─> all pieces there: one frame goes up again
//                                       ─> an overlap, or ends that disagree: the whole datagram is given up (RFC 5722)
//                                       ─> 30 s (IPv6: 60 s): given up, and its sender told, if the first piece was there
//
// A piece that is there already is dropped alone. When more than 4 MiB of a family wait, pieces are refused until others time out.
// An IPv4 datagram of which nothing came while its source sent more than 64 other pieces begins anew (ipfrag_max_dist).

import {
  DROP_FRAG_DUPLICATE,
  DROP_FRAG_MEMORY,
  DROP_FRAG_REASSEMBLY,
  DROP_FRAG_TIMEOUT,
} from '../memory/layout/drop.ts'
import * as Eth from '../wire/ethernet.ts'
import * as Icmp from '../wire/icmp.ts'
import * as Icmp6 from '../wire/icmp6.ts'
import * as Ipv4 from '../wire/ipv4.ts'
import * as Ipv6 from '../wire/ipv6.ts'
import { icmp6Error, icmpError } from './icmp_error.ts'
import { type HostState, nowMs, view } from './state.ts'

/** net.ipv4.ipfrag_time, net.ipv6.ip6frag_time. */
export const IPFRAG_TIME = 30000
export const IP6FRAG_TIME = 60000
/** ipfrag_high_thresh, ip6frag_high_thresh. */
const HIGH_THRESH = 4 << 20
const MAX_DIST = 64
const MAX_DATAGRAM = 65535
/** What the kernel has around the bytes of a piece. */
const OVERHEAD = 768
const NOTHING = new Uint8Array(0)

interface Piece {
  offset: number
  data: Uint8Array
}
/** One datagram that is not whole yet. */
export interface FragmentQueue {
  readonly v6: boolean
  readonly dev: number
  readonly expires: number
  pieces: Piece[]
  /** Bytes of data that are there. */
  have: number
  /** Length of the datagram's data, as far as it is known. */
  length: number
  /** The last piece is there: `length` is final. */
  last: boolean
  /** Ethernet to end of the unfragmentable part, of the first piece; null while it is missing. */
  head: Uint8Array | null
  /** The first piece as it came, for the message at the end of the time. */
  first: Uint8Array | null
  /** IPv6: offset in `head` of the byte that names the Fragment header, and what stands there instead. */
  pointer: number
  next: number
  /** Bits 1 << ECN of the pieces. */
  ecn: number
  memory: number
  /** Bytes of IP of the largest piece, and of the largest that must not be cut (IPv4 DF). */
  largest: number
  largestDf: number
  /** For connection tracking: nobody is told when its time is over. */
  readonly tracked: boolean
  /** Bytes in front of the network header of the first piece; they are not in `head`. */
  link: Uint8Array
  /** Count of its source's pieces when the last one of this datagram came. */
  seen: number
}

/** ip_frag_ecn_table: the ECN that pieces with these make together; 255: they cannot belong together. */
function ecnOf(bits: number): number {
  const notEct = (bits & 1) !== 0
  const others = bits >> 1
  if (notEct) return others === 0 ? 0 : 255
  return bits & 8 && bits !== 8 ? 3 : 0
}

const bytesOf = (h: HostState, v6: boolean): number => (v6 ? h.fragmentBytes.v6 : h.fragmentBytes.v4)
function account(h: HostState, v6: boolean, n: number): void {
  if (v6) h.fragmentBytes.v6 += n
  else h.fragmentBytes.v4 += n
}

function discard(h: HostState, key: string, q: FragmentQueue, reason: number, also = 0): void {
  for (let i = 0; i < q.pieces.length + also; i++) h.dp.countDrop(reason)
  account(h, q.v6, -q.memory)
  h.fragments.delete(key)
}

/** Where a piece belongs: 'new' it fills a gap, 'duplicate' it is there, 'overlap' it is partly there. */
function place(q: FragmentQueue, from: number, to: number): 'new' | 'duplicate' | 'overlap' {
  // Neighbouring pieces count as one run, as in the kernel's tree.
  let start = -1
  let end = -1
  const inside = (): 'duplicate' | 'overlap' | null =>
    start < 0 || to <= start || from >= end ? null : from >= start && to <= end ? 'duplicate' : 'overlap'
  for (const p of q.pieces) {
    if (p.offset !== end) {
      const answer = inside()
      if (answer !== null) return answer
      start = p.offset
    }
    end = p.offset + p.data.length
  }
  return inside() ?? 'new'
}

interface Incoming {
  readonly key: string
  readonly v6: boolean
  readonly dev: number
  /** In bytes. */
  readonly offset: number
  readonly more: boolean
  /** What follows the (fragment) header. */
  readonly data: Uint8Array
  /** Ethernet and IP headers, up to the data or the Fragment header. */
  readonly head: Uint8Array
  readonly frame: Uint8Array
  readonly pointer: number
  readonly next: number
  readonly ecn: number
  /** IPv4 source, '' for IPv6. */
  readonly source: string
  readonly tracked: Tracked | null
}

/** Whose datagrams these are, when it is not the host's own stack: connection tracking of a zone. */
export interface Tracked {
  readonly zone: number
  /** Bytes in front of the network header of the piece at hand. */
  readonly link: Uint8Array
}

/** What pieces became: the frame, and the queue that they were in. */
export interface Whole {
  readonly frame: Uint8Array
  readonly queue: FragmentQueue
}

/** Takes a piece in. The whole frame when it was the last missing one, else null; drops are counted here. */
function add(h: HostState, i: Incoming): Whole | null {
  // inet_frag_find finds nothing then, not even what is there.
  if (bytesOf(h, i.v6) > HIGH_THRESH) {
    h.dp.countDrop(DROP_FRAG_MEMORY)
    return null
  }
  let q = h.fragments.get(i.key)
  if (q === undefined) {
    q = {
      v6: i.v6,
      dev: i.dev,
      expires: nowMs(h) + (i.v6 ? IP6FRAG_TIME : IPFRAG_TIME),
      pieces: [],
      have: 0,
      length: 0,
      last: false,
      head: null,
      first: null,
      pointer: 0,
      next: 0,
      ecn: 0,
      memory: 0,
      largest: 0,
      largestDf: 0,
      tracked: i.tracked !== null,
      link: NOTHING,
      seen: 0,
    }
    h.fragments.set(i.key, q)
  }
  if (i.source !== '') tooFar(h, q, i.source)
  const end = i.offset + i.data.length
  if (!i.more) {
    if (end < q.length || (q.last && end !== q.length)) {
      discard(h, i.key, q, DROP_FRAG_REASSEMBLY, 1)
      return null
    }
    q.last = true
    q.length = end
  } else if (end > q.length) {
    if (q.last) {
      discard(h, i.key, q, DROP_FRAG_REASSEMBLY, 1)
      return null
    }
    q.length = end
  }
  if (end === i.offset) {
    discard(h, i.key, q, DROP_FRAG_REASSEMBLY, 1)
    return null
  }
  const where = place(q, i.offset, end)
  if (where === 'duplicate') {
    h.dp.countDrop(DROP_FRAG_DUPLICATE)
    return null
  }
  if (where === 'overlap') {
    discard(h, i.key, q, DROP_FRAG_REASSEMBLY, 1)
    return null
  }
  insert(h, q, i)
  if (q.head === null || !q.last || q.have !== q.length) return null
  return whole(h, i.key, q)
}

function insert(h: HostState, q: FragmentQueue, i: Incoming): void {
  let at = q.pieces.length
  while (at > 0 && q.pieces[at - 1].offset > i.offset) at--
  q.pieces.splice(at, 0, { offset: i.offset, data: i.data })
  q.have += i.data.length
  q.ecn |= 1 << i.ecn
  const size = i.frame.length - Eth.LEN
  q.largest = Math.max(q.largest, size)
  if (!i.v6 && Ipv4.fragment(view(i.frame), Eth.LEN) & Ipv4.DF) q.largestDf = Math.max(q.largestDf, size)
  q.memory += i.frame.length + OVERHEAD
  account(h, q.v6, i.frame.length + OVERHEAD)
  if (i.offset !== 0) return
  q.head = i.head
  q.link = i.tracked?.link ?? NOTHING
  q.first = i.frame
  q.pointer = i.pointer
  q.next = i.next
}

/** ip_frag_too_far: the source has sent so much else that this must be another datagram with the same id. */
function tooFar(h: HostState, q: FragmentQueue, source: string): void {
  const count = (h.fragmentCount.get(source) ?? 0) + 1
  if (h.fragmentCount.size > 65536) h.fragmentCount.clear()
  h.fragmentCount.set(source, count)
  const far = q.pieces.length > 0 && count - q.seen > MAX_DIST
  q.seen = count
  if (!far) return
  for (let k = 0; k < q.pieces.length; k++) h.dp.countDrop(DROP_FRAG_REASSEMBLY)
  account(h, q.v6, -q.memory)
  Object.assign(q, { pieces: [], have: 0, length: 0, last: false, head: null, first: null, ecn: 0 })
  Object.assign(q, { memory: 0, largest: 0, largestDf: 0, link: NOTHING })
}

/** All pieces are there: the frame as if it had never been cut. */
function whole(h: HostState, key: string, q: FragmentQueue): Whole | null {
  const head = q.head as Uint8Array
  const ecn = ecnOf(q.ecn)
  const ip = head.length - Eth.LEN
  if (ecn === 255 || ip + q.length - (q.v6 ? Ipv6.LEN : 0) > MAX_DATAGRAM) {
    discard(h, key, q, DROP_FRAG_REASSEMBLY)
    return null
  }
  const frame = new Uint8Array(head.length + q.length)
  frame.set(head)
  for (const p of q.pieces) frame.set(p.data, head.length + p.offset)
  const d = view(frame)
  if (q.v6) {
    d.setUint8(q.pointer, q.next)
    Ipv6.setPayloadLength(d, Eth.LEN, ip - Ipv6.LEN + q.length)
    Ipv6.setTrafficClass(d, Eth.LEN, Ipv6.trafficClass(d, Eth.LEN) | ecn)
  } else {
    Ipv4.setTotalLength(d, Eth.LEN, ip + q.length)
    Ipv4.setFragment(d, Eth.LEN, q.largestDf === q.largest ? Ipv4.DF : 0)
    Ipv4.setTos(d, Eth.LEN, Ipv4.tos(d, Eth.LEN) | ecn)
    Ipv4.setChecksum(d, Eth.LEN)
  }
  account(h, q.v6, -q.memory)
  h.fragments.delete(key)
  return { frame, queue: q }
}

const keyOf = (tracked: Tracked | null, key: string): string => (tracked === null ? key : `${tracked.zone}: ${key}`)

/** A fragment of an IPv4 datagram (a frame, checked and trimmed to its length) that `dev` received. */
export function defragIpv4(h: HostState, frame: Uint8Array, dev: number, tracked: Tracked | null = null): Whole | null {
  const d = view(frame)
  const ip = Eth.LEN
  const start = ip + Ipv4.headerLength(d, ip)
  const more = Ipv4.moreFragments(d, ip)
  // Pieces but the last are whole units of eight bytes.
  const length = more ? (frame.length - start) & ~7 : frame.length - start
  const source = String(Ipv4.src(d, ip).subarray(0, 4))
  return add(h, {
    key: keyOf(tracked, `4 ${source} ${Ipv4.dst(d, ip).subarray(0, 4)} ${Ipv4.id(d, ip)} ${Ipv4.protocol(d, ip)}`),
    v6: false,
    dev,
    offset: Ipv4.fragmentOffset(d, ip),
    more,
    data: frame.subarray(start, start + length),
    head: frame.subarray(0, start),
    frame,
    pointer: 0,
    next: 0,
    ecn: Ipv4.tos(d, ip) & 3,
    source,
    tracked,
  })
}

/**
 * A fragment of an IPv6 datagram: its Fragment header is at `at` of the frame, named by the byte at `pointer`. Pieces
 * whose length cannot be are answered with a parameter problem.
 */
export function defragIpv6(
  h: HostState,
  frame: Uint8Array,
  dev: number,
  at: number,
  pointer: number,
  tracked: Tracked | null = null,
): Whole | null {
  const d = view(frame)
  const ip = Eth.LEN
  const start = at + Ipv6.FRAGMENT_LEN
  const offset = Ipv6.fragmentOffset(d, at)
  const more = Ipv6.fragmentMore(d, at)
  const length = frame.length - start
  const wrong = offset + length > MAX_DATAGRAM ? at + 2 - ip : more && length & 7 ? 4 : -1
  if (wrong >= 0) {
    h.dp.countDrop(DROP_FRAG_REASSEMBLY)
    if (tracked === null) icmp6Error(h, frame, dev, Icmp6.ICMPV6_PARAMPROB, Icmp6.ICMPV6_HDR_FIELD, wrong)
    return null
  }
  return add(h, {
    key: keyOf(tracked, `6 ${Ipv6.src(d, ip)} ${Ipv6.dst(d, ip)} ${Ipv6.fragmentId(d, at)}`),
    v6: true,
    dev,
    offset,
    more,
    data: frame.subarray(start),
    head: frame.subarray(0, at),
    frame,
    pointer,
    next: Ipv6.fragmentNext(d, at),
    ecn: Ipv6.trafficClass(d, ip) & 3,
    source: '',
    tracked,
  })
}

/** When the first datagram's time is over, milliseconds. */
export function nextFragmentTimer(h: HostState): number {
  let next = Number.POSITIVE_INFINITY
  for (const q of h.fragments.values()) if (q.expires < next) next = q.expires
  return next
}

/** Gives up datagrams whose time is over (ip_expire, ip6frag_expire_frag_queue). */
export function runFragmentTimers(h: HostState): void {
  const now = nowMs(h)
  for (const [key, q] of h.fragments) {
    if (q.expires > now) continue
    const { first } = q
    discard(h, key, q, DROP_FRAG_TIMEOUT)
    if (first === null || q.tracked) continue
    if (q.v6) icmp6Error(h, first, q.dev, Icmp6.ICMPV6_TIME_EXCEED, Icmp6.ICMPV6_EXC_FRAGTIME)
    else icmpError(h, first, q.dev, Icmp.ICMP_TIME_EXCEEDED, Icmp.ICMP_EXC_FRAGTIME)
  }
}
