// RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE: routes as `ip route` speaks of them (net/ipv4/fib_frontend.c,
// fib_semantics.c, net/ipv6/route.c). The checks stand in the kernel's order, so that the same mistake gets the same
// answer. Several next hops, encapsulation in a route, and next hop objects are refused by name. Under rtnl.

import type { Arena } from '../memory/arena.ts'
import {
  attrBytes,
  attrLen,
  type Builder,
  forEachAttr,
  NLM_F_APPEND,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  parseAttrs,
} from '../wire/netlink.ts'
import { EAFNOSUPPORT, EEXIST, EINVAL, ENOENT, EOPNOTSUPP, ESRCH, NetlinkError } from '../wire/netlink_error.ts'
import * as R from '../wire/rtm_route.ts'
import {
  fibFind,
  fibInsert,
  fibRemove,
  fibSorted,
  type NewRoute,
  newRoute,
  ROUTE_F_KERNEL,
  ROUTE_F_OWN_GATEWAY,
  ROUTE_FLAGS,
  ROUTE_GW_FAMILY,
  ROUTE_METRIC,
  ROUTE_TABLE,
  ROUTE_TOS,
  readRoute,
} from './fib.ts'
import { familyBits, familyBytes, isAny, prefixOf, sameAddress } from './inet.ts'
import { publishLocal } from './local.ts'
import { netdevByIndex, netdevIfindex, refuseKernels } from './netdev.ts'
import { beginReply, type Request } from './request.ts'
import { lookup } from './route.ts'
import { checkRoute4, checkRoute6 } from './route_check.ts'

const tb = new Int32Array(R.RTA_NH_ID + 1)
const metrics = new Int32Array(R.RTAX_FASTOPEN_NO_COOKIE + 1)
const KNOWN = new Set([
  R.RTA_DST,
  R.RTA_OIF,
  R.RTA_GATEWAY,
  R.RTA_VIA,
  R.RTA_PRIORITY,
  R.RTA_PREFSRC,
  R.RTA_METRICS,
  R.RTA_TABLE,
  R.RTA_PREF,
  R.RTA_SRC,
])
const NAMES: Readonly<Record<number, string>> = {
  [R.RTA_MULTIPATH]: 'routes with several next hops are',
  [R.RTA_ENCAP]: 'encapsulation in a route is',
  [R.RTA_ENCAP_TYPE]: 'encapsulation in a route is',
  [R.RTA_NH_ID]: 'next hop objects are',
  [R.RTA_EXPIRES]: 'routes that expire are',
  [R.RTA_FLOW]: 'realms are',
}

const refuse = (errno: number, message = ''): never => {
  throw new NetlinkError(errno, message)
}

function parse(r: Request): void {
  if (r.end < R.RTMSG_ATTRS) refuse(EINVAL, 'message too short')
  forEachAttr(r.d, R.RTMSG_ATTRS, r.end, (type, payload) => {
    if (KNOWN.has(type)) return
    throw new NetlinkError(EOPNOTSUPP, `${NAMES[type] ?? `route attribute ${type} is`} not supported`, payload - 4)
  })
  parseAttrs(r.d, R.RTMSG_ATTRS, r.end, tb, R.RTA_NH_ID)
  const family = R.rtmFamily(r.d)
  if (family !== R.AF_INET && family !== R.AF_INET6) refuse(EAFNOSUPPORT)
}

function address(r: Request, type: number, family: number): Uint8Array {
  const out = new Uint8Array(16)
  if (!tb[type]) return out
  const bytes = familyBytes(family)
  if (attrLen(r.d, tb[type]) < bytes)
    refuse(EINVAL, type === R.RTA_GATEWAY ? 'Invalid gateway address length' : 'Invalid address length')
  out.set(attrBytes(r.d, tb[type]).subarray(0, bytes))
  return out
}

/** rtm_to_fib_config, rtm_to_fib6_config: the request as a route, nothing checked against the tables. */
function wanted(r: Request): NewRoute {
  const { d } = r
  const family = R.rtmFamily(d)
  const length = R.rtmDstLen(d)
  if (length > familyBits(family)) refuse(EINVAL, 'Invalid prefix length')
  const dst = address(r, R.RTA_DST, family)
  if (family === R.AF_INET && !sameAddress(prefixOf(dst, length), dst))
    refuse(EINVAL, 'Invalid prefix for given prefix length')
  if (R.rtmSrcLen(d) || tb[R.RTA_SRC]) refuse(EINVAL, 'Specifying source address requires IPV6_SUBTREES to be enabled')
  const tos = R.rtmTos(d)
  if (family === R.AF_INET && tos & 3) refuse(EINVAL, 'Invalid dsfield (tos): ECN bits must be 0')
  if (family === R.AF_INET6 && tos) refuse(EINVAL, 'Invalid dsfield (tos): option not available for IPv6')
  if (R.rtmType(d) > R.RTN_XRESOLVE) refuse(EINVAL, 'Invalid route type')
  if (tb[R.RTA_GATEWAY] && tb[R.RTA_VIA]) refuse(EINVAL, 'Nexthop configuration can not contain both GATEWAY and VIA')
  const n = newRoute({
    family,
    table: tb[R.RTA_TABLE] ? d.getUint32(tb[R.RTA_TABLE], true) : R.rtmTable(d),
    type: R.rtmType(d),
    dst: prefixOf(dst, length),
    length,
    scope: family === R.AF_INET ? R.rtmScope(d) : 0,
    protocol: R.rtmProtocol(d),
    tos,
    flags: R.rtmFlags(d) & (R.RTNH_F_ONLINK | R.RTNH_F_PERVASIVE | R.RTNH_F_DEAD | R.RTNH_F_LINKDOWN),
    metric: tb[R.RTA_PRIORITY] ? d.getUint32(tb[R.RTA_PRIORITY], true) : 0,
    oif: tb[R.RTA_OIF] ? d.getUint32(tb[R.RTA_OIF], true) : 0,
    prefsrc: address(r, R.RTA_PREFSRC, family),
  })
  if (n.table === R.RT_TABLE_UNSPEC) n.table = R.RT_TABLE_MAIN
  gatewayOf(r, n)
  if (tb[R.RTA_METRICS]) metricsOf(r, n)
  return n
}

function gatewayOf(r: Request, n: NewRoute): void {
  const { d } = r
  if (tb[R.RTA_GATEWAY]) {
    n.gateway = address(r, R.RTA_GATEWAY, n.family)
    n.gatewayFamily = n.family === R.AF_INET && isAny(n.gateway) ? 0 : n.family
  }
  if (!tb[R.RTA_VIA]) return
  if (n.family === R.AF_INET6) refuse(EINVAL, 'IPv6 does not support RTA_VIA attribute')
  const via = tb[R.RTA_VIA]
  if (attrLen(d, via) < 2) refuse(EINVAL, 'Invalid attribute length for RTA_VIA')
  const family = d.getUint16(via, true)
  if (family !== R.AF_INET && family !== R.AF_INET6) refuse(EINVAL, 'Unsupported address family in RTA_VIA')
  if (attrLen(d, via) - 2 !== familyBytes(family)) refuse(EINVAL, 'Invalid attribute length for RTA_VIA')
  n.gateway = new Uint8Array(16)
  n.gateway.set(attrBytes(d, via).subarray(2))
  n.gatewayFamily = family
}

function metricsOf(r: Request, n: NewRoute): void {
  const { d } = r
  const nest = tb[R.RTA_METRICS]
  forEachAttr(d, nest, nest + attrLen(d, nest), (type) => {
    if (type !== R.RTAX_MTU && type !== R.RTAX_LOCK && type !== R.RTAX_ADVMSS && type !== R.RTAX_HOPLIMIT)
      refuse(EOPNOTSUPP, `route metric ${type} is not supported`)
  })
  parseAttrs(d, nest, nest + attrLen(d, nest), metrics, R.RTAX_FASTOPEN_NO_COOKIE)
  const u32 = (type: number): number => {
    if (!metrics[type]) return 0
    n.metrics |= 1 << type
    return d.getUint32(metrics[type], true)
  }
  n.locked = u32(R.RTAX_LOCK)
  n.mtu = Math.min(u32(R.RTAX_MTU), 65535 - 15)
  n.advmss = u32(R.RTAX_ADVMSS)
  n.hoplimit = u32(R.RTAX_HOPLIMIT)
  if (n.hoplimit > 255) refuse(EINVAL, 'Invalid hoplimit')
}

const sameHop = (x: NewRoute, n: NewRoute): boolean =>
  x.oif === n.oif && x.gatewayFamily === n.gatewayFamily && sameAddress(x.gateway, n.gateway)

/** RTM_NEWROUTE: `ip route add | append | prepend | change | replace` by the NLM_F_* flags. */
export function newRouteRequest(r: Request): void {
  parse(r)
  const { a, flags } = r
  const n = wanted(r)
  if (n.family === R.AF_INET) checkRoute4(a, n)
  else checkRoute6(a, n)
  const m = a.m
  const rank = (x: number): boolean =>
    m[(x + ROUTE_METRIC) >> 2] >>> 0 === n.metric && m[(x + ROUTE_TOS) >> 2] === n.tos
  const known = fibFind(a, n.table, n.family, n.dst, n.length, rank)
  if (known !== 0) {
    if (flags & NLM_F_EXCL) refuse(EEXIST)
    const twin = fibFind(a, n.table, n.family, n.dst, n.length, (x) => {
      if (!rank(x)) return false
      const k = readRoute(a, x)
      return (
        k.type === n.type &&
        k.scope === n.scope &&
        sameHop(k, n) &&
        sameAddress(k.prefsrc, n.prefsrc) &&
        k.protocol === n.protocol
      )
    })
    if (flags & NLM_F_REPLACE) {
      if (twin === known && readRoute(a, twin).mtu === n.mtu) return
      if (twin !== 0 && twin !== known) refuse(EEXIST)
      insert(a, n, false)
      fibRemove(a, known)
      return
    }
    if (twin !== 0) refuse(EEXIST)
    if (n.family === R.AF_INET6 && n.gatewayFamily && m[(known + ROUTE_GW_FAMILY) >> 2])
      refuse(EOPNOTSUPP, 'routes with several next hops are not supported')
    insert(a, n, n.family === R.AF_INET6 || (flags & NLM_F_APPEND) !== 0)
    return
  }
  if (!(flags & NLM_F_CREATE)) refuse(ENOENT)
  insert(a, n, true)
}

function insert(a: Arena, n: NewRoute, last: boolean): void {
  refuseKernels(a, netdevByIndex(a, n.oif))
  fibInsert(a, n, last)
  if (n.table === R.RT_TABLE_LOCAL) publishLocal(a)
}

/** RTM_DELROUTE: the first route that is what the request says; what it does not say may be anything. */
export function delRoute(r: Request): void {
  parse(r)
  const { a, d } = r
  const n = wanted(r)
  const scoped = n.family === R.AF_INET && R.rtmScope(d) !== R.RT_SCOPE_NOWHERE
  const x = fibFind(a, n.table, n.family, n.dst, n.length, (p) => {
    const k = readRoute(a, p)
    if (n.family === R.AF_INET && k.tos !== n.tos) return false
    if (tb[R.RTA_PRIORITY] && n.metric !== 0 && k.metric !== n.metric) return false
    if (n.family === R.AF_INET && n.type !== 0 && k.type !== n.type) return false
    if (scoped && k.scope !== n.scope) return false
    if (n.protocol !== 0 && k.protocol !== n.protocol) return false
    if (!isAny(n.prefsrc) && !sameAddress(k.prefsrc, n.prefsrc)) return false
    if (n.oif !== 0 && k.oif !== n.oif) return false
    return n.gatewayFamily === 0 || (k.gatewayFamily === n.gatewayFamily && sameAddress(k.gateway, n.gateway))
  })
  if (x === 0) refuse(ESRCH)
  if (a.m[(x + ROUTE_FLAGS) >> 2] & ROUTE_F_KERNEL) refuse(EOPNOTSUPP, "the route is the kernel's: change it there")
  const table = a.m[(x + ROUTE_TABLE) >> 2]
  fibRemove(a, x)
  if (table === R.RT_TABLE_LOCAL) publishLocal(a)
}

/** RTM_GETROUTE: a dump of a family and a table, or `ip route get`. */
export function getRoute(r: Request): void {
  const { a, d } = r
  tb.fill(0)
  if (r.end >= R.RTMSG_ATTRS) parseAttrs(d, R.RTMSG_ATTRS, r.end, tb, R.RTA_NH_ID)
  const family = d.getUint8(16)
  if ((r.flags & NLM_F_DUMP) !== NLM_F_DUMP) {
    get(r, family)
    return
  }
  const table = tb[R.RTA_TABLE] ? d.getUint32(tb[R.RTA_TABLE], true) : r.end >= R.RTMSG_ATTRS ? R.rtmTable(d) : 0
  const wantedOnes = fibSorted(a, (x) => {
    const k = readRoute(a, x)
    return (family === 0 || k.family === family) && (table === 0 || k.table === table)
  })
  for (const x of wantedOnes) {
    const b = beginReply(r, R.RTM_NEWROUTE, true)
    fillRoute(readRoute(a, x), b)
    r.reply(b.end())
  }
}

/** inet_rtm_getroute, inet6_rtm_getroute: which way a packet to this address would go. */
function get(r: Request, family: number): void {
  if (family !== R.AF_INET && family !== R.AF_INET6) refuse(EAFNOSUPPORT)
  if (R.rtmFlags(r.d) & R.RTM_F_FIB_MATCH) refuse(EOPNOTSUPP, 'route get with fibmatch is not supported')
  if (tb[R.RTA_IIF]) refuse(EOPNOTSUPP, 'route get with an input device is not supported')
  const { a, d } = r
  const dst = address(r, R.RTA_DST, family)
  const src = address(r, R.RTA_SRC, family)
  const way = lookup(a, family, dst, {
    src,
    oif: tb[R.RTA_OIF] ? d.getUint32(tb[R.RTA_OIF], true) : 0,
    tos: R.rtmTos(d),
  })
  if (way.errno !== 0) refuse(way.errno)
  const b = beginReply(r, R.RTM_NEWROUTE, false)
  fillRoute(
    newRoute({
      family,
      table: way.type === R.RTN_LOCAL ? R.RT_TABLE_LOCAL : R.RT_TABLE_MAIN,
      type: way.type,
      dst,
      length: familyBits(family),
      flags: R.RTM_F_CLONED,
      oif: netdevIfindex(a, way.dev),
      gatewayFamily: way.gateway === null ? 0 : way.family,
      gateway: way.gateway ?? src,
      prefsrc: way.src,
    }),
    b,
  )
  r.reply(b.end())
}

/** fib_dump_info, rt6_fill_node. */
export function fillRoute(n: NewRoute, b: Builder): void {
  const bytes = familyBytes(n.family)
  R.rtmsg(b, {
    family: n.family,
    dstLen: n.length,
    srcLen: 0,
    tos: n.tos,
    table: n.table < 256 ? n.table : R.RT_TABLE_COMPAT,
    protocol: n.protocol,
    scope: n.scope,
    type: n.type,
    flags: n.flags & ~(ROUTE_F_OWN_GATEWAY | ROUTE_F_KERNEL),
  })
  b.attrU32(R.RTA_TABLE, n.table)
  if (n.length) b.attr(R.RTA_DST, n.dst.subarray(0, bytes))
  if (n.family === R.AF_INET6) {
    fillMetrics(n, b)
    fillHop(n, b)
    if (!isAny(n.prefsrc)) b.attr(R.RTA_PREFSRC, n.prefsrc)
    b.attrU32(R.RTA_PRIORITY, n.metric)
    b.attr(R.RTA_CACHEINFO, new Uint8Array(32))
    b.attrU8(R.RTA_PREF, 0)
    return
  }
  if (n.metric) b.attrU32(R.RTA_PRIORITY, n.metric)
  fillMetrics(n, b)
  if (!isAny(n.prefsrc)) b.attr(R.RTA_PREFSRC, n.prefsrc.subarray(0, bytes))
  fillHop(n, b)
}

function fillHop(n: NewRoute, b: Builder): void {
  if (n.siblings.length === 0) {
    fillGateway(n, b)
    if (n.oif) b.attrU32(R.RTA_OIF, n.oif)
    return
  }
  const nest = b.nest(R.RTA_MULTIPATH)
  for (const hop of [n, ...n.siblings]) {
    const o = b.room(R.RTNEXTHOP_LEN)
    fillGateway(hop, b)
    R.setRtnexthop(b, o, hop.flags & RTNH_FLAGS, hop.weight - 1, hop.oif)
  }
  b.nestEnd(nest)
}
/** Flags of a next hop, not of its route. */
const RTNH_FLAGS = R.RTNH_F_DEAD | R.RTNH_F_ONLINK | R.RTNH_F_LINKDOWN

function fillGateway(n: NewRoute, b: Builder): void {
  const bytes = familyBytes(n.gatewayFamily)
  if (n.gatewayFamily === n.family) b.attr(R.RTA_GATEWAY, n.gateway.subarray(0, bytes))
  else if (n.gatewayFamily !== 0) {
    const o = b.attrRoom(R.RTA_VIA, 2 + bytes)
    b.d.setUint16(o, n.gatewayFamily, true)
    for (let i = 0; i < bytes; i++) b.u8s[o + 2 + i] = n.gateway[i]
  }
}

function fillMetrics(n: NewRoute, b: Builder): void {
  if (n.metrics === 0) return
  const nest = b.nest(R.RTA_METRICS)
  if (n.locked) b.attrU32(R.RTAX_LOCK, n.locked)
  if (n.mtu) b.attrU32(R.RTAX_MTU, n.mtu)
  if (n.advmss) b.attrU32(R.RTAX_ADVMSS, n.advmss)
  if (n.hoplimit) b.attrU32(R.RTAX_HOPLIMIT, n.hoplimit)
  b.nestEnd(nest)
}
