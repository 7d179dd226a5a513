// The device table: ports, dummies, loopback, tunnel devices (net/core/dev.c).
//
// One region of NETDEV_MAX slots, slot i for ifindex i; a device is named by the address of its slot and its life is
// register … open … close … unregister (net/link.ts does what follows from each: addresses, routes, neighbours). Control
// writes under rtnl with atomic stores, any thread reads plain words. A slot whose NETDEV_KIND is 0 is free; ifindexes
// go up and are used again only after the counter has gone round, so a worker that still holds the address of a
// device that is gone finds it down, never another device.
//
// A tunnel device stands on the list of its UDP port, or of its IP protocol, while it is up, as a vxlan socket is open
// then: SUPER_UDP_PORTS[NETDEV_TP_DST], linked by NETDEV_TP_NEXT. Looking up which of them a packet is for is the datapath's.

import type { Arena } from '../memory/arena.ts'
import { counterAlloc, counterFree } from '../memory/counters.ts'
import {
  IFF_BROADCAST,
  IFF_LOOPBACK,
  IFF_LOWER_UP,
  IFF_MULTICAST,
  IFF_NOARP,
  IFF_POINTOPOINT,
  IFF_UP,
  NETDEV_EGRESS,
  NETDEV_F_KERNEL,
  NETDEV_F_L3,
  NETDEV_FEATURES,
  NETDEV_FLAGS,
  NETDEV_IFINDEX,
  NETDEV_INGRESS,
  NETDEV_KIND,
  NETDEV_KIND_DUMMY,
  NETDEV_KIND_LOOPBACK,
  NETDEV_KIND_NONE,
  NETDEV_KIND_PORT,
  NETDEV_MAC,
  NETDEV_MAX,
  NETDEV_MTU,
  NETDEV_NAME,
  NETDEV_PORT,
  NETDEV_PRIV,
  NETDEV_QDISC,
  NETDEV_RX_COUNTER,
  NETDEV_SIZE,
  NETDEV_TP_DST,
  NETDEV_TP_NEXT,
  NETDEV_TX_COUNTER,
  TP_PROTO,
} from '../memory/layout/netdev.ts'
import { SUPER_GENERATION, SUPER_NETDEVS, SUPER_UDP_PORTS } from '../memory/layout/super.ts'
import { add, load, store } from '../sync/atomic.ts'
import { EEXIST, EINVAL, EMFILE, EOPNOTSUPP, NetlinkError } from '../wire/netlink_error.ts'

export const IFNAMSIZ = 16

export interface NewNetdev {
  readonly name: string
  /** NETDEV_KIND_*. */
  readonly kind: number
  /** Largest IP packet; 1500 when absent. */
  readonly mtu?: number
  /** Six bytes; zero when absent. */
  readonly mac?: Uint8Array
  /** NETDEV_F_*. */
  readonly features?: number
  /** Number of the port in the scenario; -1, no port, when absent. */
  readonly port?: number
  /** The ifindex asked for, 0 any. */
  readonly ifindex?: number
}

/** Called on the thread that made the change: RTM_NEWLINK when a device is new or changed, RTM_DELLINK before it goes. */
export type NetdevListener = (a: Arena, event: number, dev: number) => void
const listeners = new WeakMap<WebAssembly.Memory, NetdevListener[]>()

export function netdevListen(a: Arena, f: NetdevListener): void {
  const l = listeners.get(a.memory)
  if (l) l.push(f)
  else listeners.set(a.memory, [f])
}

/** Tells of a device. */
export function netdevNotify(a: Arena, event: number, dev: number): void {
  for (const f of listeners.get(a.memory) ?? []) f(a, event, dev)
}

/** Address of the slot of an ifindex; says nothing about whether a device is there. */
export const netdevSlot = (a: Arena, ifindex: number): number => a.m[SUPER_NETDEVS >> 2] + ifindex * NETDEV_SIZE

/** Address of the device, 0 when there is none of that ifindex. */
export function netdevByIndex(a: Arena, ifindex: number): number {
  if (ifindex <= 0 || ifindex >= NETDEV_MAX) return 0
  const dev = netdevSlot(a, ifindex)
  return load(a.m, (dev + NETDEV_KIND) >> 2) === NETDEV_KIND_NONE ? 0 : dev
}

/** The ifindex that a name had when this thread looked last: the first place to look. */
const lastSeen = new Map<string, number>()
const LAST_SEEN_MAX = 4096

/** Address of the device, 0 when there is none of that name. */
export function netdevByName(a: Arena, name: string): number {
  if (name.length === 0 || name.length >= IFNAMSIZ) return 0
  const last = lastSeen.get(name)
  if (last !== undefined) {
    const dev = netdevByIndex(a, last)
    if (dev !== 0 && hasName(a, dev, name)) return dev
  }
  for (let dev = nextNetdev(a, 0); dev !== 0; dev = nextNetdev(a, dev)) {
    if (!hasName(a, dev, name)) continue
    if (lastSeen.size === LAST_SEEN_MAX) lastSeen.clear()
    lastSeen.set(name, netdevIfindex(a, dev))
    return dev
  }
  return 0
}

function hasName(a: Arena, dev: number, name: string): boolean {
  const n = name.length
  for (let i = 0; i < n; i++) if (a.u8[dev + NETDEV_NAME + i] !== name.charCodeAt(i)) return false
  return a.u8[dev + NETDEV_NAME + n] === 0
}

/** The device after `dev` in order of ifindex, 0 at the end; 0 as `dev` gives the first. */
export function nextNetdev(a: Arena, dev: number): number {
  const end = load(a.m, lastWord(a)) + 1
  for (let i = dev === 0 ? 1 : a.m[(dev + NETDEV_IFINDEX) >> 2] + 1; i < end; i++) {
    const next = netdevByIndex(a, i)
    if (next !== 0) return next
  }
  return 0
}

// Slot 0 has no device (an ifindex is never 0): its words are the table's own.
/** Highest ifindex ever used. */
const lastWord = (a: Arena): number => (a.m[SUPER_NETDEVS >> 2] + NETDEV_IFINDEX) >> 2
/** Where the search for a free ifindex goes on. */
const hintWord = (a: Arena): number => (a.m[SUPER_NETDEVS >> 2] + NETDEV_PORT) >> 2

/** The ifindex that was given out last: the next device gets one behind it. */
export const netdevHint = (a: Arena): number => load(a.m, hintWord(a))

export function netdevName(a: Arena, dev: number): string {
  let name = ''
  for (let i = 0; i < IFNAMSIZ; i++) {
    const c = a.u8[dev + NETDEV_NAME + i]
    if (c === 0) break
    name += String.fromCharCode(c)
  }
  return name
}

export const netdevIfindex = (a: Arena, dev: number): number => a.m[(dev + NETDEV_IFINDEX) >> 2]
export const netdevMtu = (a: Arena, dev: number): number => a.m[(dev + NETDEV_MTU) >> 2]
export const netdevFlags = (a: Arena, dev: number): number => a.m[(dev + NETDEV_FLAGS) >> 2]
export const netdevIsUp = (a: Arena, dev: number): boolean => (a.m[(dev + NETDEV_FLAGS) >> 2] & IFF_UP) !== 0

export function netdevMac(a: Arena, dev: number): Uint8Array {
  const mac = new Uint8Array(6)
  for (let i = 0; i < 6; i++) mac[i] = a.u8[dev + NETDEV_MAC + i]
  return mac
}

/** The loopback device, 0 when there is none. */
export function loopbackDev(a: Arena): number {
  for (let dev = nextNetdev(a, 0); dev !== 0; dev = nextNetdev(a, dev))
    if (a.m[(dev + NETDEV_KIND) >> 2] === NETDEV_KIND_LOOPBACK) return dev
  return 0
}

/** What a name may be (dev_valid_name): 1..15 characters, no slash, colon or space, not a dot or two. */
export function validName(name: string): boolean {
  if (name.length === 0 || name.length >= IFNAMSIZ || name === '.' || name === '..') return false
  return !/[/:\s]/.test(name) && !name.includes('\0')
}

/** The flags that a device of the kind is born with, down. */
function bornFlags(kind: number, features: number): number {
  if (kind === NETDEV_KIND_LOOPBACK) return IFF_LOOPBACK
  if (features & NETDEV_F_L3) return IFF_NOARP | IFF_POINTOPOINT
  return IFF_BROADCAST | (kind === NETDEV_KIND_DUMMY ? IFF_NOARP : IFF_MULTICAST)
}

/**
 * Makes a device, down, without qdisc. Refuses as register_netdevice and rtnl_newlink: EEXIST for a name or ifindex in
 * use, EINVAL for a bad name, EMFILE when the table is full. Gives back its address.
 */
export function netdevRegister(a: Arena, n: NewNetdev): number {
  const m = a.m
  if (!validName(n.name)) throw new NetlinkError(EINVAL, 'not a valid ifname')
  if (netdevByName(a, n.name) !== 0) throw new NetlinkError(EEXIST)
  const ifindex = n.ifindex ? n.ifindex : freeIfindex(a)
  if (ifindex < 0 || ifindex >= NETDEV_MAX) throw new NetlinkError(EMFILE, `ifindex above ${NETDEV_MAX - 1}`)
  if (netdevByIndex(a, ifindex) !== 0) throw new NetlinkError(EEXIST)
  const dev = netdevSlot(a, ifindex)
  m.fill(0, (dev + NETDEV_FLAGS) >> 2, (dev + NETDEV_SIZE) >> 2)
  m[(dev + NETDEV_IFINDEX) >> 2] = ifindex
  m[(dev + NETDEV_FLAGS) >> 2] = bornFlags(n.kind, n.features ?? 0)
  m[(dev + NETDEV_MTU) >> 2] = n.mtu ?? 1500
  m[(dev + NETDEV_FEATURES) >> 2] = n.features ?? 0
  m[(dev + NETDEV_PORT) >> 2] = n.port ?? -1
  m[(dev + NETDEV_RX_COUNTER) >> 2] = counterAlloc(a)
  m[(dev + NETDEV_TX_COUNTER) >> 2] = counterAlloc(a)
  netdevSetMac(a, dev, n.mac ?? new Uint8Array(6))
  writeName(a, dev, n.name)
  if (ifindex > load(m, lastWord(a))) store(m, lastWord(a), ifindex)
  store(m, hintWord(a), ifindex)
  store(m, (dev + NETDEV_KIND) >> 2, n.kind)
  return dev
}

/** The ifindex that was given out last, for whoever takes the newest device back. */
export const lastIfindex = (a: Arena): number => load(a.m, hintWord(a))

/** A device that nobody has seen goes: as netdevUnregister, and the next one gets its ifindex. `last` is from before. */
export function netdevTakeBack(a: Arena, dev: number, last: number): void {
  netdevUnregister(a, dev)
  store(a.m, hintWord(a), last)
}

function freeIfindex(a: Arena): number {
  const from = load(a.m, hintWord(a))
  for (let step = 1; step < NETDEV_MAX; step++) {
    const i = ((from + step - 1) % (NETDEV_MAX - 1)) + 1
    if (netdevByIndex(a, i) === 0) return i
  }
  throw new NetlinkError(EMFILE, `no room for more than ${NETDEV_MAX - 1} devices`)
}

/** Takes a device that is down out of the table. Its filters, addresses, routes and neighbours must be gone. */
export function netdevUnregister(a: Arena, dev: number): void {
  const m = a.m
  udpPortClose(a, dev)
  store(m, (dev + NETDEV_FLAGS) >> 2, m[(dev + NETDEV_FLAGS) >> 2] & ~(IFF_UP | IFF_LOWER_UP))
  store(m, (dev + NETDEV_INGRESS) >> 2, 0)
  store(m, (dev + NETDEV_EGRESS) >> 2, 0)
  store(m, (dev + NETDEV_QDISC) >> 2, 0)
  store(m, (dev + NETDEV_KIND) >> 2, NETDEV_KIND_NONE)
  counterFree(a, m[(dev + NETDEV_RX_COUNTER) >> 2])
  counterFree(a, m[(dev + NETDEV_TX_COUNTER) >> 2])
  bumpGeneration(a)
}

/** Sets the IFF_* word as a whole. What follows from IFF_UP is net/link.ts's. */
export function netdevSetFlags(a: Arena, dev: number, flags: number): void {
  store(a.m, (dev + NETDEV_FLAGS) >> 2, flags)
  bumpGeneration(a)
}

export function netdevSetMtu(a: Arena, dev: number, mtu: number): void {
  store(a.m, (dev + NETDEV_MTU) >> 2, mtu)
  bumpGeneration(a)
}

/** Six bytes in two words: a worker that reads meanwhile may see half of each, as on real hardware. */
export function netdevSetMac(a: Arena, dev: number, mac: Uint8Array): void {
  store(a.m, (dev + NETDEV_MAC) >> 2, mac[0] | (mac[1] << 8) | (mac[2] << 16) | (mac[3] << 24))
  store(a.m, (dev + NETDEV_MAC + 4) >> 2, mac[4] | (mac[5] << 8))
  bumpGeneration(a)
}

/** EINVAL for a bad name, EEXIST for one in use. */
export function netdevRename(a: Arena, dev: number, name: string): void {
  if (!validName(name)) throw new NetlinkError(EINVAL, 'not a valid ifname')
  const other = netdevByName(a, name)
  if (other === dev) return
  if (other !== 0) throw new NetlinkError(EEXIST)
  writeName(a, dev, name)
}

function writeName(a: Arena, dev: number, name: string): void {
  for (let i = 0; i < IFNAMSIZ; i++) a.u8[dev + NETDEV_NAME + i] = i < name.length ? name.charCodeAt(i) : 0
}

/** Frames of ports, dummies and Ethernet tunnel devices begin with an Ethernet header. */
export const isEthernet = (a: Arena, dev: number): boolean => (a.m[(dev + NETDEV_FEATURES) >> 2] & NETDEV_F_L3) === 0

/** The device speaks ARP and ND. */
export const speaksArp = (a: Arena, dev: number): boolean =>
  (a.m[(dev + NETDEV_FLAGS) >> 2] & (IFF_NOARP | IFF_LOOPBACK)) === 0

/** The kernel's, mirrored: nobody else changes its state, addresses, routes and neighbours. */
export const isKernels = (a: Arena, dev: number): boolean => (a.m[(dev + NETDEV_FEATURES) >> 2] & NETDEV_F_KERNEL) !== 0

/** Refuses a change of ours to a device that a kernel's is mirrored in. */
export function refuseKernels(a: Arena, dev: number): void {
  if (dev !== 0 && isKernels(a, dev))
    throw new NetlinkError(EOPNOTSUPP, `${netdevName(a, dev)} is the kernel's device: change it there`)
}

export const isPort = (a: Arena, dev: number): boolean => a.m[(dev + NETDEV_KIND) >> 2] === NETDEV_KIND_PORT

/** Word of the list of a NETDEV_TP_DST. */
const portWord = (a: Arena, tp: number): number => (a.m[SUPER_UDP_PORTS >> 2] >> 2) + tp

/** Puts a tunnel device on the list of its UDP port or IP protocol (NETDEV_TP_DST), in order of ifindex; none, nothing to do. */
export function udpPortOpen(a: Arena, dev: number): void {
  const m = a.m
  const port = m[(dev + NETDEV_TP_DST) >> 2]
  if (port === 0) return
  let word = portWord(a, port)
  while (m[word] !== 0 && m[word] < dev) word = (m[word] + NETDEV_TP_NEXT) >> 2
  if (m[word] === dev) return
  store(m, (dev + NETDEV_TP_NEXT) >> 2, m[word])
  store(m, word, dev)
  bumpGeneration(a)
}

/** Takes it off. A worker on the way through the list still finds the rest behind it. */
export function udpPortClose(a: Arena, dev: number): void {
  const m = a.m
  const port = m[(dev + NETDEV_TP_DST) >> 2]
  if (port === 0) return
  for (let word = portWord(a, port); m[word] !== 0; word = (m[word] + NETDEV_TP_NEXT) >> 2) {
    if (m[word] !== dev) continue
    store(m, word, m[(dev + NETDEV_TP_NEXT) >> 2])
    bumpGeneration(a)
    return
  }
}

/** First device on a UDP port (host order), 0 without. */
export const udpPortFirst = (a: Arena, port: number): number =>
  load(a.m, portWord(a, ((port & 0xff) << 8) | ((port >> 8) & 0xff)))

/** First device that takes packets of an IP protocol other than UDP, 0 without. */
export const protocolFirst = (a: Arena, ipProto: number): number =>
  load(a.m, portWord(a, TP_PROTO + (IN_IPIP.includes(ipProto) ? IPPROTO_IPIP : ipProto)))

/** IPv6 and MPLS in IP are on the list of IP in IP. */
const IPPROTO_IPIP = 4
const IN_IPIP = [41, 137]

/** The parameters of the kind, for the tunnel catalogue. */
export const netdevPriv = (dev: number): number => dev + NETDEV_PRIV

/** After a change that may make a cached lookup wrong. */
export function bumpGeneration(a: Arena): void {
  add(a.m, SUPER_GENERATION >> 2, 1)
}
