// Requests of the links, addresses, routes and neighbours of the switch: RTM_{NEW,DEL,GET,SET}LINK, _ADDR, _ROUTE,
// _NEIGH. One request in, the kernel's answer out.
//
// `netRequest` takes one rtnetlink message, does it under rtnl, and hands the messages of the answer to `reply`: those of
// a dump with NLM_F_MULTI, else one. The acknowledgement, NLMSG_DONE and NLMSG_ERROR are the dispatcher's. A refusal is a
// NetlinkError with the errno and the text of Linux 6.1; then nothing has been changed. Unknown device kinds and
// attributes that would change something are refused by name, never ignored.
//
// Any control thread. Tunnel device kinds come in from above (net/ knows no tunnels): tunnel/index.ts fits LinkKinds.

import type { Arena } from '../memory/arena.ts'
import { SUPER_LOCKS } from '../memory/layout/super.ts'
import { RTNL } from '../sync/lock_order.ts'
import { isHeld, lock, unlock } from '../sync/mutex.ts'
import { Builder, msgFlags, msgPid, msgSeq, msgType, viewOf } from '../wire/netlink.ts'
import { EINVAL, EOPNOTSUPP, NetlinkError } from '../wire/netlink_error.ts'
import { RTM_DELADDR, RTM_GETADDR, RTM_NEWADDR } from '../wire/rtm_addr.ts'
import { RTM_DELLINK, RTM_GETLINK, RTM_NEWLINK, RTM_SETLINK } from '../wire/rtm_link.ts'
import { RTM_DELNEIGH, RTM_GETNEIGH, RTM_NEWNEIGH } from '../wire/rtm_neigh.ts'
import { RTM_DELROUTE, RTM_GETROUTE, RTM_NEWROUTE } from '../wire/rtm_route.ts'
import { delAddr, getAddr, newAddrRequest } from './request_addr.ts'
import { delLink, getLink, newLink } from './request_link.ts'
import { delNeigh, getNeigh, newNeigh } from './request_neigh.ts'
import { delRoute, getRoute, newRouteRequest } from './request_route.ts'

/** What request_link.ts asks of a kind of device; TunnelType of tunnel/tunnel.ts is one. */
export interface LinkKind {
  readonly name: string
  /** NETDEV_KIND_*. */
  readonly kind: number
  newlink(a: Arena, dev: number, d: DataView, data: number, end: number, mtu: number): void
  changelink(a: Arena, dev: number, d: DataView, data: number, end: number): void
  dellink(a: Arena, dev: number): void
  fillInfo(a: Arena, dev: number, b: Builder): void
  open?(a: Arena, dev: number): void
  mtuRange(a: Arena, dev: number, isNew: boolean): MtuRange
  mtuTaken?(a: Arena, dev: number): MtuRange
}

/** Least and largest MTU of a device; 0 as the largest: there is none. */
export type MtuRange = readonly [min: number, max: number]

export interface LinkKinds {
  named(name: string): LinkKind | undefined
  of(a: Arena, dev: number): LinkKind | undefined
}

export interface NetContext {
  readonly a: Arena
  /** Milliseconds of the switch's clock. */
  now(): number
  readonly kinds: LinkKinds
  /** What a filter hook's qdisc is called, for `ip link show` ("clsact"); '' for the device's default. */
  qdiscName?(dev: number): string
}

/** One request being answered. */
export interface Request {
  readonly c: NetContext
  readonly a: Arena
  readonly now: number
  readonly message: Uint8Array
  readonly d: DataView
  readonly type: number
  /** NLM_F_*. */
  readonly flags: number
  readonly end: number
  readonly reply: (message: Uint8Array) => void
}

type Handler = (r: Request) => void
const handlers: Readonly<Record<number, Handler>> = {
  [RTM_NEWLINK]: newLink,
  [RTM_SETLINK]: newLink,
  [RTM_DELLINK]: delLink,
  [RTM_GETLINK]: getLink,
  [RTM_NEWADDR]: newAddrRequest,
  [RTM_DELADDR]: delAddr,
  [RTM_GETADDR]: getAddr,
  [RTM_NEWROUTE]: newRouteRequest,
  [RTM_DELROUTE]: delRoute,
  [RTM_GETROUTE]: getRoute,
  [RTM_NEWNEIGH]: newNeigh,
  [RTM_DELNEIGH]: delNeigh,
  [RTM_GETNEIGH]: getNeigh,
}

/** Does net/ answer this type of message? */
export const isNetRequest = (type: number): boolean => handlers[type] !== undefined

/** Futex word (index) of rtnl: the first of the locks of which there is one. */
export const rtnlWord = SUPER_LOCKS >> 2

/** Does one request. Takes rtnl unless the caller holds it. Throws NetlinkError. */
export function netRequest(c: NetContext, message: Uint8Array, reply: (message: Uint8Array) => void): void {
  const d = viewOf(message)
  const handler = handlers[msgType(d)]
  if (handler === undefined) throw new NetlinkError(EOPNOTSUPP, `rtnetlink message type ${msgType(d)}`)
  if (message.byteLength < 16 + 8) throw new NetlinkError(EINVAL, 'message too short')
  const r: Request = {
    c,
    a: c.a,
    now: c.now(),
    message,
    d,
    type: msgType(d),
    flags: msgFlags(d),
    end: message.byteLength,
    reply,
  }
  const mine = !isHeld(RTNL)
  if (mine) lock(c.a.m, rtnlWord, RTNL)
  try {
    handler(r)
  } finally {
    if (mine) unlock(c.a.m, rtnlWord, RTNL)
  }
}

const out = new Builder(4096)
/** Starts a message of the answer; `more` marks one of a dump. */
export function beginReply(r: Request, type: number, more: boolean): Builder {
  out.begin(type, more ? 2 : 0, msgSeq(r.d), msgPid(r.d))
  return out
}
