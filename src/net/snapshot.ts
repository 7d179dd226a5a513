// Links, addresses, routes and neighbours as requests that make them anew, and how a new switch takes them in.
//
//   all devices, by ifindex │ all addresses │ all routes │ neighbours with a link-layer address
//
// A device that is set up brings addresses and routes of its own accord, and an address brings routes; some of them may
// have been deleted, and others added that look like them. So addresses and routes are whole in a snapshot, and the
// restoring side makes its tables so: what it has beyond them goes, what it lacks is requested (`NetRestore`).
//
// What is a kernel's, mirrored, is not in it: the kernel has it, and tells it again. Of a mirrored port only the ifindex is,
// which rules name it by. A tunnel device of the kernel's is made anew, marked by IFLA_LINK_NETNSID as what it is: a device
// whose other half is in another place. It is the kernel's again when all was taken, and whoever mirrors finds it so.
//
// A neighbour that was proven to be reachable has to prove it again: it comes back as stale. Those that were being asked
// or had failed are not kept. Of a port only its ifindex, flags, and what `ip link` changed of it is told: the rest is
// the configuration's.
//
// The caller keeps changes away, and is an online RCU reader. Under rtnl.

import type { Arena } from '../memory/arena.ts'
import {
  NETDEV_F_KERNEL,
  NETDEV_FEATURES,
  NETDEV_KIND,
  NETDEV_KIND_DUMMY,
  NETDEV_KIND_LOOPBACK,
  NETDEV_KIND_PORT,
} from '../memory/layout/netdev.ts'
import { store } from '../sync/atomic.ts'
import {
  align4,
  Builder,
  forEachAttr,
  msgType,
  NLA_TYPE_MASK,
  NLM_F_APPEND,
  NLM_F_CREATE,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  NLM_F_REQUEST,
  NLMSG_HDRLEN,
  setMsgFlags,
  viewOf,
} from '../wire/netlink.ts'
import * as I from '../wire/rtm_addr.ts'
import * as L from '../wire/rtm_link.ts'
import * as N from '../wire/rtm_neigh.ts'
import * as R from '../wire/rtm_route.ts'
import { ADDR_IFINDEX, nextAddr } from './addr.ts'
import { fibSorted, ROUTE_F_KERNEL, ROUTE_FLAGS, readRoute } from './fib.ts'
import { NEIGH_DEV, neighEach, neighSnapshot } from './neigh.ts'
import {
  isEthernet,
  isKernels,
  netdevByIndex,
  netdevFlags,
  netdevHint,
  netdevIfindex,
  netdevMac,
  netdevMtu,
  netdevName,
  nextNetdev,
} from './netdev.ts'
import type { NetContext } from './request.ts'
import { fillAddr } from './request_addr.ts'
import { fillNeigh } from './request_neigh.ts'
import { fillRoute } from './request_route.ts'

/** What a port was made with. */
export interface PortBirth {
  readonly name: string
  readonly mac: Uint8Array
  readonly mtu: number
}

const b = new Builder(4096)
const inner = new Builder(1024)
const MAKE = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL

/**
 * All of them; each message is a copy of its own. `gone`: ifindexes of devices that are no more and that rules name: something
 * is made in their places, and `removal` of each is to come behind the rules.
 */
export function* netSnapshot(
  c: NetContext,
  ports: readonly PortBirth[],
  gone: readonly number[] = [],
): Generator<Uint8Array, void> {
  const { a } = c
  yield* links(c, ports, gone)
  yield* addresses(a)
  yield* routes(a)
  const neighs: number[] = []
  neighEach(a, (n) => {
    if (!isKernels(a, a.m[(n + NEIGH_DEV) >> 2]) && neighSnapshot(a, n).valid) neighs.push(n)
  })
  for (const n of neighs) yield neighbour(c, n)
}

/**
 * All devices, by ifindex. The next one that is made gets the ifindex behind the one that was given out last: so that
 * device is the last to be made anew, and when it is gone it comes and goes.
 */
function* links(c: NetContext, ports: readonly PortBirth[], gone: readonly number[]): Generator<Uint8Array, void> {
  const { a } = c
  const last = netdevHint(a)
  for (let dev = nextNetdev(a, 0); dev !== 0; dev = nextNetdev(a, dev))
    if (netdevIfindex(a, dev) !== last) yield link(c, dev, ports)
  for (const ifindex of gone) if (ifindex !== last) yield placeholder(`gone-${ifindex}`, ifindex)
  if (last === 0) return
  const dev = netdevByIndex(a, last)
  if (dev !== 0) {
    yield link(c, dev, ports)
    return
  }
  yield placeholder('last-ifindex', last)
  if (!gone.includes(last)) yield removal(last)
}

function placeholder(name: string, ifindex: number): Uint8Array {
  b.begin(L.RTM_NEWLINK, MAKE)
  L.ifinfomsg(b, 0, 0, ifindex, 0, 0)
  b.attrStr(L.IFLA_IFNAME, name)
  const info = b.nest(L.IFLA_LINKINFO)
  b.attrStr(L.IFLA_INFO_KIND, 'dummy')
  b.nestEnd(info)
  return b.end()
}

/** A device goes. */
export function removal(ifindex: number): Uint8Array {
  b.begin(L.RTM_DELLINK, NLM_F_REQUEST)
  L.ifinfomsg(b, 0, 0, ifindex, 0, 0)
  return b.end()
}

function* addresses(a: Arena): Generator<Uint8Array, void> {
  for (let p = nextAddr(a, 0, 0, 0); p !== 0; p = nextAddr(a, p, 0, 0)) {
    if (isKernels(a, netdevByIndex(a, a.m[(p + ADDR_IFINDEX) >> 2]))) continue
    b.begin(I.RTM_NEWADDR, MAKE)
    fillAddr(a, p, b)
    yield b.end()
  }
}

function* routes(a: Arena): Generator<Uint8Array, void> {
  for (const r of fibSorted(a, (r) => (a.m[(r + ROUTE_FLAGS) >> 2] & ROUTE_F_KERNEL) === 0)) {
    b.begin(R.RTM_NEWROUTE, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_APPEND)
    fillRoute(readRoute(a, r), b)
    yield without(b.end(), R.RTMSG_ATTRS, R.RTA_CACHEINFO)
  }
}

const SETTABLE = L.IFF_NOARP | L.IFF_PROMISC | L.IFF_ALLMULTI | L.IFF_MULTICAST | L.IFF_DEBUG | L.IFF_DYNAMIC

function link(c: NetContext, dev: number, ports: readonly PortBirth[]): Uint8Array {
  const { a } = c
  const name = netdevName(a, dev)
  const kind = a.m[(dev + NETDEV_KIND) >> 2]
  const born = kind === NETDEV_KIND_PORT || kind === NETDEV_KIND_LOOPBACK
  b.begin(L.RTM_NEWLINK, born ? NLM_F_REQUEST : MAKE)
  L.ifinfomsg(b, 0, 0, netdevIfindex(a, dev), netdevFlags(a, dev), SETTABLE | L.IFF_UP)
  b.attrStr(L.IFLA_IFNAME, name)
  if (born && isKernels(a, dev)) return b.end()
  const birth = ports.find((p) => p.name === name)
  const mac = netdevMac(a, dev)
  if (isEthernet(a, dev) && kind !== NETDEV_KIND_LOOPBACK && !(birth !== undefined && sameBytes(birth.mac, mac)))
    b.attr(L.IFLA_ADDRESS, mac)
  if (birth?.mtu !== netdevMtu(a, dev) && kind !== NETDEV_KIND_LOOPBACK) b.attrU32(L.IFLA_MTU, netdevMtu(a, dev))
  if (!born) {
    if (isKernels(a, dev)) b.attrU32(L.IFLA_LINK_NETNSID, 0)
    const info = b.nest(L.IFLA_LINKINFO)
    const type = c.kinds.of(a, dev)
    b.attrStr(L.IFLA_INFO_KIND, kind === NETDEV_KIND_DUMMY ? 'dummy' : (type?.name ?? ''))
    if (type !== undefined) {
      inner.begin(0, 0)
      type.fillInfo(a, dev, inner)
      const data = b.nest(L.IFLA_INFO_DATA)
      putInfo(inner.end(), type.name)
      b.nestEnd(data)
    }
    b.nestEnd(info)
  }
  return b.end()
}

/** Parameters that are told as zero, where a request says so by leaving them out. */
const LEFT_OUT = [
  { kind: /^vxlan$/, type: L.IFLA_VXLAN_TTL_INHERIT },
  { kind: /gre|erspan/, type: L.IFLA_GRE_REMOTE },
]

/** The parameters of a kind. */
function putInfo(info: Uint8Array, kind: string): void {
  forEachAttr(viewOf(info), NLMSG_HDRLEN, info.length, (type, o, n) => {
    const value = info.subarray(o, o + n)
    const out = LEFT_OUT.some((x) => x.type === type && x.kind.test(kind)) && value.every((v) => v === 0)
    if (!out) b.attr(type, value)
  })
}

const SOFT = N.NUD_REACHABLE | N.NUD_DELAY | N.NUD_PROBE

function neighbour(c: NetContext, n: number): Uint8Array {
  b.begin(N.RTM_NEWNEIGH, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE)
  fillNeigh(c.a, n, b, c.now())
  const message = b.end()
  const d = viewOf(message)
  if (N.ndmState(d) & SOFT) d.setUint16(NDM_STATE, N.NUD_STALE, true)
  return message
}
/** ndm_state: behind family, padding and ifindex. */
const NDM_STATE = 16 + 8

const sameBytes = (x: Uint8Array, y: Uint8Array): boolean => x.length === y.length && x.every((v, i) => v === y[i])

/** The message without its attributes of a type, which a kernel tells and does not take. */
function without(message: Uint8Array, attrs: number, type: number): Uint8Array {
  const d = viewOf(message)
  const out = new Uint8Array(message.length)
  out.set(message.subarray(0, attrs))
  let size = attrs
  for (let o = attrs; message.length - o >= 4; ) {
    const n = Math.min(align4(d.getUint16(o, true)), message.length - o)
    if (n < 4) break
    if ((d.getUint16(o + 2, true) & NLA_TYPE_MASK) !== type) {
      out.set(message.subarray(o, o + n), size)
      size += n
    }
    o += n
  }
  new DataView(out.buffer).setUint32(0, size, true)
  return out.slice(0, size)
}

/** Takes the messages of a snapshot in, in their order. `request` does one and throws when it is refused. */
export class NetRestore {
  readonly #a: Arena
  readonly #request: (message: Uint8Array) => void
  readonly #addresses: Uint8Array[] = []
  readonly #routes: Uint8Array[] = []
  /** Ifindexes of the kernel's devices. */
  readonly #kernels: number[] = []
  #whole = false

  constructor(a: Arena, request: (message: Uint8Array) => void) {
    this.#a = a
    this.#request = request
  }

  take(message: Uint8Array): void {
    const type = msgType(viewOf(message))
    if (type === I.RTM_NEWADDR) this.#addresses.push(message)
    else if (type === R.RTM_NEWROUTE) this.#routes.push(message)
    else {
      if (type !== L.RTM_NEWLINK && type !== L.RTM_DELLINK) this.settle()
      this.#request(type === L.RTM_NEWLINK ? this.#unmarked(message) : message)
    }
  }

  /** The message without the mark of a kernel's device. */
  #unmarked(message: Uint8Array): Uint8Array {
    const plain = without(message, L.IFINFOMSG_ATTRS, L.IFLA_LINK_NETNSID)
    if (plain.length < message.length) this.#kernels.push(L.ifiIndex(viewOf(message)))
    return plain
  }

  /** All was taken: what was the kernel's is the kernel's again. */
  end(): void {
    const { m } = this.#a
    this.settle()
    for (const ifindex of this.#kernels) {
      const dev = netdevByIndex(this.#a, ifindex)
      if (dev !== 0) store(m, (dev + NETDEV_FEATURES) >> 2, m[(dev + NETDEV_FEATURES) >> 2] | NETDEV_F_KERNEL)
    }
  }

  /** Devices are all there: makes addresses and routes what the snapshot says. Before anything that comes behind them. */
  settle(): void {
    if (this.#whole) return
    this.#whole = true
    this.#make([...addresses(this.#a)], this.#addresses, I.RTM_DELADDR, addressKey)
    this.#make([...routes(this.#a)], this.#routes, R.RTM_DELROUTE, routeKey)
  }

  /** From what there is to what is wanted: the first difference and all behind it, of one device or prefix, is made anew. */
  #make(
    there: readonly Uint8Array[],
    wanted: readonly Uint8Array[],
    del: number,
    key: (message: Uint8Array) => { group: string; item: string },
  ): void {
    const groups = new Map<string, { there: Uint8Array[]; wanted: Uint8Array[] }>()
    const group = (message: Uint8Array): { there: Uint8Array[]; wanted: Uint8Array[] } => {
      const name = key(message).group
      const known = groups.get(name) ?? { there: [], wanted: [] }
      groups.set(name, known)
      return known
    }
    for (const m of there) group(m).there.push(m)
    for (const m of wanted) group(m).wanted.push(m)
    const differ = [...groups.values()].filter(
      (g) => g.there.map((m) => key(m).item).join() !== g.wanted.map((m) => key(m).item).join(),
    )
    for (const g of differ)
      for (const m of g.there) {
        const gone = m.slice()
        const d = viewOf(gone)
        d.setUint16(4, del, true)
        setMsgFlags(d, 0, NLM_F_REQUEST)
        this.#request(gone)
      }
    for (const g of differ) for (const m of g.wanted) this.#request(m)
  }
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/** By device and family; when it was made does not matter. */
function addressKey(message: Uint8Array): { group: string; item: string } {
  const d = viewOf(message)
  const body = without(message, I.IFADDRMSG_ATTRS, I.IFA_CACHEINFO).subarray(16)
  const cache = message.length - 16 - body.length > 0 ? hex(cacheLifetimes(message)) : ''
  return { group: `${I.ifaIndex(d)} ${I.ifaFamily(d)}`, item: `${hex(body)} ${cache}` }
}

/** Preferred and valid lifetime: the first eight bytes of IFA_CACHEINFO. */
function cacheLifetimes(message: Uint8Array): Uint8Array {
  const d = viewOf(message)
  for (let o = I.IFADDRMSG_ATTRS; message.length - o >= 4; o += align4(d.getUint16(o, true)))
    if ((d.getUint16(o + 2, true) & NLA_TYPE_MASK) === I.IFA_CACHEINFO) return message.subarray(o + 4, o + 12)
  return message.subarray(0, 0)
}

/** By table, family and prefix. */
function routeKey(message: Uint8Array): { group: string; item: string } {
  const d = viewOf(message)
  let table = d.getUint8(16 + 4)
  let dst = ''
  for (let o = R.RTMSG_ATTRS; message.length - o >= 4; o += align4(d.getUint16(o, true))) {
    const type = d.getUint16(o + 2, true) & NLA_TYPE_MASK
    if (type === R.RTA_TABLE) table = d.getUint32(o + 4, true)
    if (type === R.RTA_DST) dst = hex(message.subarray(o + 4, o + d.getUint16(o, true)))
  }
  return { group: `${R.rtmFamily(d)} ${table} ${dst}/${R.rtmDstLen(d)}`, item: hex(message.subarray(16)) }
}
