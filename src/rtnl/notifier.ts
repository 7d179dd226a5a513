// The kernel's links, addresses, routes and neighbours, from its rtnetlink multicast: read once, then followed.
//
//   subscribe ─▶ dump links, addresses, routes, neighbours ─▶ [ events · what they make worth reading again · questions ] …
//
// Two sockets: events come in by one, dumps and questions go by the other, so an answer is never among the news. It is
// subscribed before it dumps; what happened meanwhile waits in the socket and is told after the dump, in its order, so
// whatever a dump said of a moment in between, the last word on each object is told last. A dump during which the
// kernel's table changed in a way that it says makes it inconsistent (NLM_F_DUMP_INTR) is begun anew. Events that the
// kernel had to drop (ENOBUFS) are made up for by dumping everything.
//
// It waits for news only in `wait`, and never sends what could block. One thread; the sockets are of the network namespace
// in which that thread made them.

import {
  AF_NETLINK,
  bind,
  close,
  MSG_DONTWAIT,
  MSG_TRUNC,
  POLLIN,
  poll,
  recv,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SOCK_RAW,
  SOL_SOCKET,
  sendto,
  setOptionInt,
  socket,
} from '../sys/libc.ts'
import { EAGAIN, EINTR, ENOBUFS, SysError } from '../sys/sys_error.ts'
import {
  attrLen,
  Builder,
  msgFlags,
  msgSeq,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_REPLACE,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  NLMSG_HDRLEN,
  parseAttrs,
} from '../wire/netlink.ts'
import { RTM_GETADDR, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR } from '../wire/rtm_addr.ts'
import { RTM_GETLINK, RTNLGRP_LINK } from '../wire/rtm_link.ts'
import { NDA_DST, NTF_USE, ndmsg, RTM_GETNEIGH, RTM_NEWNEIGH, RTNLGRP_NEIGH } from '../wire/rtm_neigh.ts'
import {
  NDTA_PARMS,
  NDTMSG_ATTRS,
  NDTMSG_LEN,
  NDTPA_DELAY_PROBE_TIME,
  NDTPA_IFINDEX,
  RTM_GETNEIGHTBL,
} from '../wire/rtm_neightbl.ts'
import { RTM_GETROUTE, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE } from '../wire/rtm_route.ts'

/** What may be read as a whole, in the order in which one needs the other. */
export const KINDS = ['link', 'addr', 'route', 'neigh'] as const
export type Kind = (typeof KINDS)[number]

/** Who keeps the picture. */
export interface NotifierTarget {
  /** Everything of a kind, as the kernel has it now. */
  replace(kind: Kind, messages: readonly Uint8Array[]): void
  /** Something happened. Says which kinds are to be read anew because of it. */
  event(message: Uint8Array): readonly Kind[]
}

const SOL_NETLINK = 270
const NETLINK_ADD_MEMBERSHIP = 1
const NETLINK_GET_STRICT_CHK = 12
const GROUPS = [
  RTNLGRP_LINK,
  RTNLGRP_NEIGH,
  RTNLGRP_IPV4_IFADDR,
  RTNLGRP_IPV6_IFADDR,
  RTNLGRP_IPV4_ROUTE,
  RTNLGRP_IPV6_ROUTE,
]
const GET: Readonly<Record<Kind, readonly [type: number, header: number]>> = {
  link: [RTM_GETLINK, 16],
  addr: [RTM_GETADDR, 8],
  route: [RTM_GETROUTE, 12],
  neigh: [RTM_GETNEIGH, 12],
}
/** Bytes of events that the kernel keeps for us; a storm of neighbours fits. */
const RCVBUF = 8 << 20
/** Times that a dump is begun anew before what it says is taken as it is. */
const TRIES = 10
/** Datagrams of events that are told before anything is read anew. */
const BATCH = 256

export interface NotifierOptions {
  /** Receive buffer of the events, bytes: for tests of what happens without room. */
  readonly rcvbuf?: number
}

export class Notifier {
  readonly #target: NotifierTarget
  readonly #events: number
  readonly #requests: number
  readonly #buffer = new Uint8Array(1 << 18)
  readonly #set = new Uint8Array(8)
  readonly #b = new Builder(256)
  #seq = 0
  #dirty = new Set<Kind>()
  /** Times that events were lost; dumps that were begun anew. */
  overruns = 0
  restarts = 0

  /** Subscribes, in this thread's network namespace. Throws SysError. */
  constructor(target: NotifierTarget, o: NotifierOptions = {}) {
    this.#target = target
    this.#events = open(o.rcvbuf ?? RCVBUF, o.rcvbuf === undefined)
    try {
      for (const group of GROUPS)
        setOptionInt(this.#events, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group, `group ${group}`)
      this.#requests = open(RCVBUF, true)
    } catch (e) {
      close(this.#events)
      throw e
    }
    new DataView(this.#set.buffer).setInt32(0, this.#events, true)
    new DataView(this.#set.buffer).setInt16(4, POLLIN, true)
  }

  /** Reads everything: at the beginning, and whenever there is doubt. Throws SysError. */
  resync(): void {
    for (const kind of KINDS) this.#dirty.add(kind)
    this.#refresh()
  }

  /** Tells that the kernel has no links any more. */
  forget(): void {
    this.#target.replace('link', [])
  }

  /** Waits until there are news, `ms` at most. */
  wait(ms: number): void {
    poll(this.#set, 1, ms)
  }

  /** Tells the news that have come. Returns how many there were. Throws SysError. */
  run(): number {
    let told = 0
    for (let i = 0; i < BATCH; i++) {
      const n = recv(this.#events, this.#buffer, this.#buffer.length, MSG_DONTWAIT | MSG_TRUNC)
      if (n === -EAGAIN) break
      if (n === -EINTR) continue
      // A datagram that does not fit is an event that is lost, too.
      if (n === -ENOBUFS || n > this.#buffer.length) {
        this.overruns++
        for (const kind of KINDS) this.#dirty.add(kind)
        continue
      }
      if (n < 0) throw new SysError('recv', -n, 'rtnetlink events')
      each(this.#buffer, n, (message) => {
        told++
        for (const kind of this.#target.event(message)) this.#dirty.add(kind)
      })
    }
    this.#refresh()
    return told
  }

  /** Asks the kernel to resolve a neighbour, as a packet to it would (neigh_event_send). */
  use(family: number, address: Uint8Array, ifindex: number): void {
    const b = this.#b
    b.begin(RTM_NEWNEIGH, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE, ++this.#seq)
    ndmsg(b, family, ifindex, 0, NTF_USE, 0)
    b.attr(NDA_DST, address)
    // What it refused before (a device that is down) is not wanted: the next question asks again.
    while (recv(this.#requests, this.#buffer, this.#buffer.length, MSG_DONTWAIT) > 0);
    this.#send(b.end())
  }

  /** delay_first_probe_time of each device, milliseconds, IPv4 and IPv6 by turns in no order. Throws SysError. */
  probeTimes(): { readonly ifindex: number; readonly ms: number }[] {
    const times: { ifindex: number; ms: number }[] = []
    const tb = new Int32Array(NDTA_PARMS + 1)
    const parms = new Int32Array(NDTPA_DELAY_PROBE_TIME + 1)
    for (const message of this.#ask('neightbl', RTM_GETNEIGHTBL, NDTMSG_LEN)) {
      const d = new DataView(message.buffer)
      parseAttrs(d, NDTMSG_ATTRS, message.length, tb, NDTA_PARMS)
      const o = tb[NDTA_PARMS]
      if (!o) continue
      parseAttrs(d, o, o + attrLen(d, o), parms, NDTPA_DELAY_PROBE_TIME)
      if (parms[NDTPA_IFINDEX] && parms[NDTPA_DELAY_PROBE_TIME])
        times.push({
          ifindex: d.getUint32(parms[NDTPA_IFINDEX], true),
          ms: Number(d.getBigUint64(parms[NDTPA_DELAY_PROBE_TIME], true)),
        })
    }
    return times
  }

  close(): void {
    close(this.#events)
    close(this.#requests)
  }

  #refresh(): void {
    if (this.#dirty.size === 0) return
    const kinds = KINDS.filter((kind) => this.#dirty.has(kind))
    this.#dirty.clear()
    for (const kind of kinds) this.#target.replace(kind, this.#ask(kind, ...GET[kind]))
  }

  /** One whole dump: of messages of a type, with a header of so many bytes. */
  #ask(what: string, type: number, header: number): Uint8Array[] {
    for (let i = 0; ; i++) {
      const { messages, torn } = this.#askOnce(what, type, header)
      if (!torn || i === TRIES) return messages
      this.restarts++
    }
  }

  #askOnce(what: string, type: number, header: number): { messages: Uint8Array[]; torn: boolean } {
    const b = this.#b
    const seq = ++this.#seq
    b.begin(type, NLM_F_REQUEST | NLM_F_DUMP, seq)
    b.pad(header)
    this.#send(b.end())
    const messages: Uint8Array[] = []
    let torn = false
    for (let done = false; !done; ) {
      const n = recv(this.#requests, this.#buffer, this.#buffer.length, MSG_TRUNC)
      if (n === -EINTR) continue
      if (n === -ENOBUFS || n > this.#buffer.length) return { messages, torn: true }
      if (n < 0) throw new SysError('recv', -n, `dump of ${what}`)
      each(this.#buffer, n, (message) => {
        const d = new DataView(message.buffer)
        // Answers to questions (a refused NTF_USE) come by this socket as well.
        if (msgSeq(d) !== seq) return
        if (msgFlags(d) & NLM_F_DUMP_INTR) torn = true
        const t = d.getUint16(4, true)
        if (t === NLMSG_DONE) done = true
        else if (t === NLMSG_ERROR) throw new SysError('dump', -d.getInt32(NLMSG_HDRLEN, true), what)
        else messages.push(message)
      })
    }
    return { messages, torn }
  }

  #send(message: Uint8Array): void {
    const n = sendto(this.#requests, message, message.length, 0)
    if (n < 0) throw new SysError('send', -n, 'rtnetlink')
  }
}

/** A socket of rtnetlink with room for so many bytes. */
function open(rcvbuf: number, force: boolean): number {
  const fd = socket(AF_NETLINK, SOCK_RAW, 0)
  try {
    try {
      if (force) setOptionInt(fd, SOL_SOCKET, SO_RCVBUFFORCE, rcvbuf)
      else setOptionInt(fd, SOL_SOCKET, SO_RCVBUF, rcvbuf)
    } catch {
      setOptionInt(fd, SOL_SOCKET, SO_RCVBUF, rcvbuf) // without CAP_NET_ADMIN: as much as the system allows
    }
    setOptionInt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
    const address = new Uint8Array(12)
    new DataView(address.buffer).setUint16(0, AF_NETLINK, true)
    bind(fd, address, 'rtnetlink')
    return fd
  } catch (e) {
    close(fd)
    throw e
  }
}

/** Calls `f` with a copy of each message of a datagram. */
function each(buffer: Uint8Array, n: number, f: (message: Uint8Array) => void): void {
  const d = new DataView(buffer.buffer)
  for (let o = 0; o + NLMSG_HDRLEN <= n; ) {
    const length = d.getUint32(o, true)
    if (length < NLMSG_HDRLEN || o + length > n) return
    f(buffer.slice(o, o + length))
    o += (length + 3) & ~3
  }
}
