// rtnetlink messages for tests of net/ and host/, from short texts: what `ip addr add`, `ip route add`, `ip neigh add`
// would send. The full grammar is tc/'s; this knows addresses, prefixes and device numbers.

import { Builder, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST } from '../wire/netlink.ts'
import { IFA_ADDRESS, IFA_LOCAL, ifaddrmsg, RTM_DELADDR, RTM_NEWADDR } from '../wire/rtm_addr.ts'
import {
  IFF_UP,
  IFLA_IFNAME,
  IFLA_INFO_KIND,
  IFLA_LINKINFO,
  IFLA_MTU,
  ifinfomsg,
  RTM_DELLINK,
  RTM_NEWLINK,
} from '../wire/rtm_link.ts'
import { NDA_DST, NDA_LLADDR, NUD_PERMANENT, ndmsg, RTM_DELNEIGH, RTM_NEWNEIGH } from '../wire/rtm_neigh.ts'
import {
  AF_INET,
  AF_INET6,
  RT_SCOPE_LINK,
  RT_SCOPE_NOWHERE,
  RT_SCOPE_UNIVERSE,
  RT_TABLE_MAIN,
  RTA_DST,
  RTA_GATEWAY,
  RTA_OIF,
  RTA_PREFSRC,
  RTA_PRIORITY,
  RTM_DELROUTE,
  RTM_NEWROUTE,
  RTN_UNICAST,
  RTPROT_BOOT,
  rtmsg,
} from '../wire/rtm_route.ts'
import { macBytes } from './packets.ts'

const ADD = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL
const DEL = NLM_F_REQUEST | NLM_F_ACK
const b = new Builder()

/** The bytes of an address: four or sixteen. */
export function addressBytes(text: string): Uint8Array {
  if (!text.includes(':')) return Uint8Array.from(text.split('.'), Number)
  const [head, tail = ''] = text.split('::')
  const words = (s: string): number[] => (s ? s.split(':').map((w) => Number.parseInt(w, 16)) : [])
  const [h, t] = [words(head), words(tail)]
  const all = text.includes('::') ? [...h, ...new Array(8 - h.length - t.length).fill(0), ...t] : h
  return Uint8Array.from(all.flatMap((w) => [w >> 8, w & 255]))
}

/** The same as sixteen bytes, as net/ keeps addresses. */
export function address16(text: string): Uint8Array {
  const out = new Uint8Array(16)
  out.set(addressBytes(text))
  return out
}

const familyOf = (text: string): number => (text.includes(':') ? AF_INET6 : AF_INET)

/** `ip addr add PREFIX dev #ifindex`. */
export function addrAdd(prefix: string, ifindex: number, flags = ADD): Uint8Array {
  return addr(RTM_NEWADDR, prefix, ifindex, flags)
}
export const addrDel = (prefix: string, ifindex: number): Uint8Array => addr(RTM_DELADDR, prefix, ifindex, DEL)

function addr(type: number, prefix: string, ifindex: number, flags: number): Uint8Array {
  const [text, length] = prefix.split('/')
  const bytes = addressBytes(text)
  b.begin(type, flags)
  ifaddrmsg(b, familyOf(text), Number(length ?? bytes.length * 8), 0, 0, ifindex)
  b.attr(IFA_LOCAL, bytes)
  b.attr(IFA_ADDRESS, bytes)
  return b.end()
}

export interface RouteText {
  via?: string
  dev?: number
  src?: string
  metric?: number
  type?: number
  flags?: number
  tos?: number
}
/** `ip route add [TYPE] PREFIX …`; `default` or `::/0` for everything. */
export const routeAdd = (prefix: string, o: RouteText = {}): Uint8Array =>
  route(RTM_NEWROUTE, prefix, o, o.flags ?? ADD)
export const routeDel = (prefix: string, o: RouteText = {}): Uint8Array => route(RTM_DELROUTE, prefix, o, DEL)

function route(message: number, prefix: string, o: RouteText, flags: number): Uint8Array {
  const [text, length] = (prefix === 'default' ? '0.0.0.0/0' : prefix).split('/')
  const bytes = addressBytes(text)
  const type = o.type ?? RTN_UNICAST
  const adds = message === RTM_NEWROUTE
  const scope = !adds ? RT_SCOPE_NOWHERE : type === RTN_UNICAST && !o.via ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE
  b.begin(message, flags)
  rtmsg(b, {
    family: familyOf(text),
    dstLen: Number(length ?? bytes.length * 8),
    srcLen: 0,
    tos: o.tos ?? 0,
    table: RT_TABLE_MAIN,
    protocol: adds ? RTPROT_BOOT : 0,
    scope: familyOf(text) === AF_INET ? scope : 0,
    type: adds ? type : (o.type ?? 0),
    flags: 0,
  })
  b.attr(RTA_DST, bytes)
  if (o.via) b.attr(RTA_GATEWAY, addressBytes(o.via))
  if (o.dev) b.attrU32(RTA_OIF, o.dev)
  if (o.src) b.attr(RTA_PREFSRC, addressBytes(o.src))
  if (o.metric) b.attrU32(RTA_PRIORITY, o.metric)
  return b.end()
}

/** `ip neigh add ADDRESS lladdr MAC dev #ifindex nud STATE`. */
export function neighAdd(
  address: string,
  mac: string,
  ifindex: number,
  state = NUD_PERMANENT,
  flags = ADD,
): Uint8Array {
  b.begin(RTM_NEWNEIGH, flags)
  ndmsg(b, familyOf(address), ifindex, state, 0, 0)
  b.attr(NDA_DST, addressBytes(address))
  if (mac) b.attr(NDA_LLADDR, macBytes(mac))
  return b.end()
}
export function neighDel(address: string, ifindex: number): Uint8Array {
  b.begin(RTM_DELNEIGH, DEL)
  ndmsg(b, familyOf(address), ifindex, 0, 0, 0)
  b.attr(NDA_DST, addressBytes(address))
  return b.end()
}

/** `ip link add NAME type KIND`. */
export function linkAdd(name: string, kind: string, flags = ADD): Uint8Array {
  b.begin(RTM_NEWLINK, flags)
  ifinfomsg(b, 0, 0, 0, 0, 0)
  b.attrStr(IFLA_IFNAME, name)
  const info = b.nest(IFLA_LINKINFO)
  b.attrStr(IFLA_INFO_KIND, kind)
  b.nestEnd(info)
  return b.end()
}
/** `ip link set #ifindex up | down`, or `mtu N`. */
export function linkSet(ifindex: number, o: { up?: boolean; mtu?: number }): Uint8Array {
  b.begin(RTM_NEWLINK, DEL)
  ifinfomsg(b, 0, 0, ifindex, o.up ? IFF_UP : 0, o.up === undefined ? 0 : IFF_UP)
  if (o.mtu !== undefined) b.attrU32(IFLA_MTU, o.mtu)
  return b.end()
}
export function linkDel(ifindex: number): Uint8Array {
  b.begin(RTM_DELLINK, DEL)
  ifinfomsg(b, 0, 0, ifindex, 0, 0)
  return b.end()
}

/** A dump request: RTM_GET* with a family in the first byte of a fixed part of `fixed` bytes. */
export function dump(type: number, family: number, fixed: number): Uint8Array {
  b.begin(type, NLM_F_REQUEST | NLM_F_DUMP)
  b.u8(family)
  b.pad(fixed - 1)
  return b.end()
}
