// Addresses of devices (struct in_ifaddr, struct inet6_ifaddr; net/ipv4/devinet.c, net/ipv6/addrconf.c).
//
// One list for all devices, in the order in which the kernel keeps and shows them: by ifindex, IPv4 before IPv6; within
// IPv4 the wider scope first and secondary addresses last; within IPv6 the wider scope first. An entry is immutable.
// What follows from an address (its routes) is net/link.ts's; the source selection that reads the list is here.
//
// Writers hold lock `addr`; readers on any thread are online RCU readers.

import type { Arena } from '../memory/arena.ts'
import { reserve } from '../memory/arena.ts'
import { SUPER_PART_ADDR, SUPER_PARTS } from '../memory/layout/super.ts'
import { alloc, freeRcu } from '../memory/pool.ts'
import { TAG_ADDR } from '../memory/tags.ts'
import { ADDR } from '../sync/lock_order.ts'
import { lock, unlock } from '../sync/mutex.ts'
import { deref, publish } from '../sync/rcu.ts'
import { IFA_F_DEPRECATED, IFA_F_SECONDARY, RTM_DELADDR, RTM_NEWADDR } from '../wire/rtm_addr.ts'
import { AF_INET, AF_INET6, RT_SCOPE_HOST, RT_SCOPE_LINK } from '../wire/rtm_route.ts'
import {
  addressAt,
  commonBits,
  isLinkLocal,
  isLoopback,
  isMulticast,
  prefixOf,
  readAddress,
  sameAddress,
  writeAddress,
} from './inet.ts'

/** The part: the lock, then the head of the list. */
const PART_LOCK = 0
const PART_FIRST = 4

// ---- an address
/** @rcu addr */
export const ADDR_NEXT = 0
export const ADDR_FAMILY = 4
export const ADDR_IFINDEX = 8
/** Prefix length. */
export const ADDR_LEN = 12
export const ADDR_LOCAL = 16
/** IFA_ADDRESS: the address itself, or the peer's. */
export const ADDR_PEER = 32
/** IPv4 only; all zero without. */
export const ADDR_BROADCAST = 48
export const ADDR_SCOPE = 64
/** IFA_F_*. */
export const ADDR_FLAGS = 68
/** Lifetimes in seconds, -1 forever. */
export const ADDR_VALID = 72
export const ADDR_PREFERRED = 76
/** Label of IPv4, IFNAMSIZ bytes, zero-terminated. */
export const ADDR_LABEL = 80
/** IFA_RT_PRIORITY. */
export const ADDR_METRIC = 96
/** IFA_PROTO. */
export const ADDR_PROTO = 100
/** Hundredths of a second of the switch's clock. */
export const ADDR_CSTAMP = 104
export const ADDR_SIZE = 128

export interface NewAddr {
  family: number
  ifindex: number
  length: number
  local: Uint8Array
  peer: Uint8Array
  broadcast: Uint8Array
  scope: number
  flags: number
  valid: number
  preferred: number
  label: string
  metric: number
  proto: number
  cstamp: number
}

/** Called on the thread that made the change, RTM_NEWADDR or RTM_DELADDR; the address is still readable. */
export type AddrListener = (a: Arena, event: number, addr: number) => void
const listeners = new WeakMap<WebAssembly.Memory, AddrListener[]>()

export function addrListen(a: Arena, f: AddrListener): void {
  const l = listeners.get(a.memory)
  if (l) l.push(f)
  else listeners.set(a.memory, [f])
}

const part = (a: Arena): number => a.m[(SUPER_PARTS + SUPER_PART_ADDR) >> 2]

/** Once for an arena. */
export function addrInit(a: Arena): void {
  a.m[(SUPER_PARTS + SUPER_PART_ADDR) >> 2] = reserve(a, 64, 64)
}

/** Does x stand before a new address? */
function before(a: Arena, x: number, n: NewAddr): boolean {
  const m = a.m
  if (m[(x + ADDR_IFINDEX) >> 2] !== n.ifindex) return m[(x + ADDR_IFINDEX) >> 2] < n.ifindex
  if (m[(x + ADDR_FAMILY) >> 2] !== n.family) return m[(x + ADDR_FAMILY) >> 2] < n.family
  const secondary = m[(x + ADDR_FLAGS) >> 2] & IFA_F_SECONDARY
  if (n.family === AF_INET) {
    if (n.flags & IFA_F_SECONDARY) return true
    if (secondary) return false
    return m[(x + ADDR_SCOPE) >> 2] <= n.scope
  }
  // ipv6_link_dev_addr: in front of the first whose scope is not wider.
  return m[(x + ADDR_SCOPE) >> 2] < n.scope
}

/** Links an address in and gives back where it is. */
export function addrInsert(a: Arena, n: NewAddr): number {
  const m = a.m
  const p = alloc(a, ADDR_SIZE, TAG_ADDR)
  m[(p + ADDR_FAMILY) >> 2] = n.family
  m[(p + ADDR_IFINDEX) >> 2] = n.ifindex
  m[(p + ADDR_LEN) >> 2] = n.length
  writeAddress(a.u8, p + ADDR_LOCAL, n.local)
  writeAddress(a.u8, p + ADDR_PEER, n.peer)
  writeAddress(a.u8, p + ADDR_BROADCAST, n.broadcast)
  m[(p + ADDR_SCOPE) >> 2] = n.scope
  m[(p + ADDR_FLAGS) >> 2] = n.flags
  m[(p + ADDR_VALID) >> 2] = n.valid
  m[(p + ADDR_PREFERRED) >> 2] = n.preferred
  for (let i = 0; i < 15 && i < n.label.length; i++) a.u8[p + ADDR_LABEL + i] = n.label.charCodeAt(i)
  m[(p + ADDR_METRIC) >> 2] = n.metric
  m[(p + ADDR_PROTO) >> 2] = n.proto
  m[(p + ADDR_CSTAMP) >> 2] = n.cstamp
  const state = part(a)
  lock(m, (state + PART_LOCK) >> 2, ADDR)
  let word = (state + PART_FIRST) >> 2
  while (m[word] !== 0 && before(a, m[word], n)) word = (m[word] + ADDR_NEXT) >> 2
  m[(p + ADDR_NEXT) >> 2] = m[word]
  publish(m, word, p)
  unlock(m, (state + PART_LOCK) >> 2, ADDR)
  for (const f of listeners.get(a.memory) ?? []) f(a, RTM_NEWADDR, p)
  return p
}

/** Takes an address out. False when it was not there any more. */
export function addrRemove(a: Arena, p: number): boolean {
  const m = a.m
  const state = part(a)
  lock(m, (state + PART_LOCK) >> 2, ADDR)
  let word = (state + PART_FIRST) >> 2
  while (m[word] !== 0 && m[word] !== p) word = (m[word] + ADDR_NEXT) >> 2
  const found = m[word] === p
  if (found) publish(m, word, m[(p + ADDR_NEXT) >> 2])
  unlock(m, (state + PART_LOCK) >> 2, ADDR)
  if (!found) return false
  for (const f of listeners.get(a.memory) ?? []) f(a, RTM_DELADDR, p)
  freeRcu(a, p, ADDR_SIZE, TAG_ADDR)
  return true
}

/** First address after `p` (0: from the start) of a device (0: any) and family (0: any); 0 at the end. */
export function nextAddr(a: Arena, p: number, ifindex: number, family: number): number {
  const m = a.m
  let x = deref(m, (p === 0 ? part(a) + PART_FIRST : p + ADDR_NEXT) >> 2)
  for (; x !== 0; x = deref(m, (x + ADDR_NEXT) >> 2)) {
    if (ifindex !== 0 && m[(x + ADDR_IFINDEX) >> 2] !== ifindex) continue
    if (family !== 0 && m[(x + ADDR_FAMILY) >> 2] !== family) continue
    return x
  }
  return 0
}

/** The address of a device that is exactly this, 0 without. */
export function addrFind(a: Arena, ifindex: number, family: number, local: Uint8Array): number {
  for (let p = nextAddr(a, 0, ifindex, family); p !== 0; p = nextAddr(a, p, ifindex, family))
    if (addressAt(a.u8, p + ADDR_LOCAL, local)) return p
  return 0
}

/** The fields, copied out. */
export function readAddr(a: Arena, p: number): NewAddr {
  const m = a.m
  let label = ''
  for (let i = 0; i < 16 && a.u8[p + ADDR_LABEL + i] !== 0; i++) label += String.fromCharCode(a.u8[p + ADDR_LABEL + i])
  return {
    family: m[(p + ADDR_FAMILY) >> 2],
    ifindex: m[(p + ADDR_IFINDEX) >> 2],
    length: m[(p + ADDR_LEN) >> 2],
    local: readAddress(a.u8, p + ADDR_LOCAL, new Uint8Array(16)),
    peer: readAddress(a.u8, p + ADDR_PEER, new Uint8Array(16)),
    broadcast: readAddress(a.u8, p + ADDR_BROADCAST, new Uint8Array(16)),
    scope: m[(p + ADDR_SCOPE) >> 2],
    flags: m[(p + ADDR_FLAGS) >> 2],
    valid: m[(p + ADDR_VALID) >> 2],
    preferred: m[(p + ADDR_PREFERRED) >> 2],
    label,
    metric: m[(p + ADDR_METRIC) >> 2],
    proto: m[(p + ADDR_PROTO) >> 2],
    cstamp: m[(p + ADDR_CSTAMP) >> 2],
  }
}

const localOf = (a: Arena, p: number): Uint8Array => readAddress(a.u8, p + ADDR_LOCAL, new Uint8Array(16))

/** Is `dst` in the subnet of IPv4 address `p` (inet_ifa_match)? */
export const onSubnet = (a: Arena, p: number, dst: Uint8Array): boolean => {
  const length = a.m[(p + ADDR_LEN) >> 2]
  return sameAddress(prefixOf(readAddress(a.u8, p + ADDR_PEER, new Uint8Array(16)), length), prefixOf(dst, length))
}

/**
 * The IPv4 address that speaks for a device (inet_select_addr): a primary one of at most this scope, best one whose
 * subnet holds `dst`; else one of another device. Null when there is none.
 */
export function selectSource4(a: Arena, ifindex: number, dst: Uint8Array | null, scope: number): Uint8Array | null {
  const m = a.m
  let first = 0
  for (let p = nextAddr(a, 0, ifindex, AF_INET); p !== 0; p = nextAddr(a, p, ifindex, AF_INET)) {
    if (m[(p + ADDR_FLAGS) >> 2] & IFA_F_SECONDARY || m[(p + ADDR_SCOPE) >> 2] > scope) continue
    if (dst === null || onSubnet(a, p, dst)) return localOf(a, p)
    if (first === 0) first = p
  }
  if (first !== 0) return localOf(a, first)
  for (let p = nextAddr(a, 0, 0, AF_INET); p !== 0; p = nextAddr(a, p, 0, AF_INET)) {
    const s = m[(p + ADDR_SCOPE) >> 2]
    if (!(m[(p + ADDR_FLAGS) >> 2] & IFA_F_SECONDARY) && s !== RT_SCOPE_LINK && s <= scope) return localOf(a, p)
  }
  return null
}

/** RFC 4007 scopes as numbers that compare: interface-local 1, link-local 2, site 5, global 14. */
function scope6(x: Uint8Array): number {
  if (isMulticast(AF_INET6, x)) return x[1] & 15
  if (isLoopback(AF_INET6, x) || isLinkLocal(AF_INET6, x)) return 2
  return x[0] === 0xfe && (x[1] & 0xc0) === 0xc0 ? 5 : 14
}

/** Labels of RFC 6724 2.1 as the kernel's table has them. */
function label6(x: Uint8Array): number {
  if (isLoopback(AF_INET6, x)) return 0
  const zeros = (n: number): boolean => {
    for (let i = 0; i < n; i++) if (x[i] !== 0) return false
    return true
  }
  if (zeros(10) && x[10] === 0xff && x[11] === 0xff) return 4
  if (zeros(12)) return 3
  if (x[0] === 0x20 && x[1] === 0x01 && x[2] === 0 && x[3] === 0) return 6
  if (x[0] === 0x20 && x[1] === 0x01 && x[2] === 0 && (x[3] & 0xf0) === 0x10) return 7
  if (x[0] === 0x20 && x[1] === 0x02) return 2
  if (x[0] === 0x3f && x[1] === 0xfe) return 12
  if (x[0] === 0xfe && (x[1] & 0xc0) === 0xc0) return 11
  return (x[0] & 0xfe) === 0xfc ? 5 : 1
}

/**
 * The IPv6 source for a destination that leaves by a device (ipv6_dev_get_saddr, RFC 6724 section 5, the rules that can
 * tell our addresses apart: 1 same, 2 scope, 3 deprecated, 5 outgoing device, 6 label, 8 longest prefix).
 */
export function selectSource6(a: Arena, ifindex: number, dst: Uint8Array): Uint8Array | null {
  const m = a.m
  const ofDevice = isMulticast(AF_INET6, dst) || scope6(dst) <= 2
  const want = scope6(dst)
  let best: Uint8Array | null = null
  let bestRank: number[] = []
  for (
    let p = nextAddr(a, 0, ofDevice ? ifindex : 0, AF_INET6);
    p !== 0;
    p = nextAddr(a, p, ofDevice ? ifindex : 0, AF_INET6)
  ) {
    const x = localOf(a, p)
    if (isLoopback(AF_INET6, x) && !isLoopback(AF_INET6, dst)) continue
    const s = scope6(x)
    const same = commonBits(x, dst) === 128
    const rank = [
      same ? 1 : 0,
      s >= want ? 64 - s : s - 64,
      m[(p + ADDR_FLAGS) >> 2] & IFA_F_DEPRECATED ? 0 : 1,
      m[(p + ADDR_IFINDEX) >> 2] === ifindex ? 1 : 0,
      label6(x) === label6(dst) ? 1 : 0,
      Math.min(commonBits(x, dst), m[(p + ADDR_LEN) >> 2]),
    ]
    let i = 0
    while (i < rank.length && best !== null && rank[i] === bestRank[i]) i++
    if (best === null || (i < rank.length && rank[i] > bestRank[i])) {
      best = x
      bestRank = rank
    }
  }
  return best
}

/** The link-local address of a device (ipv6_get_lladdr), null without. */
export function linkLocalOf(a: Arena, ifindex: number): Uint8Array | null {
  for (let p = nextAddr(a, 0, ifindex, AF_INET6); p !== 0; p = nextAddr(a, p, ifindex, AF_INET6)) {
    const x = localOf(a, p)
    if (isLinkLocal(AF_INET6, x)) return x
  }
  return null
}

/** fe80:: with the interface identifier of an Ethernet address (RFC 4291 appendix A, modified EUI-64). */
export function linkLocalEui64(mac: Uint8Array): Uint8Array {
  const x = new Uint8Array(16)
  x.set([0xfe, 0x80])
  x.set([mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]], 8)
  return x
}

/** Scope of an IPv6 address as rtnetlink shows it (rt_scope). */
export const rtScope6 = (x: Uint8Array): number =>
  isLoopback(AF_INET6, x) ? RT_SCOPE_HOST : isLinkLocal(AF_INET6, x) ? RT_SCOPE_LINK : scope6(x) === 5 ? 200 : 0
