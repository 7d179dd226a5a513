// What `ip route show`, `ip route get` and `ip monitor` print of a route (print_route of iproute.c), and which routes a
// listing is narrowed to.

import { attrBytes, attrLen, msgLen, msgType, parseAttrs, viewOf } from '../wire/netlink.ts'
import {
  AF_INET,
  AF_INET6,
  AF_UNSPEC,
  RT_SCOPE_UNIVERSE,
  RT_TABLE_MAIN,
  RTA_CACHEINFO,
  RTA_DST,
  RTA_FLOW,
  RTA_GATEWAY,
  RTA_IIF,
  RTA_MARK,
  RTA_METRICS,
  RTA_MULTIPATH,
  RTA_NH_ID,
  RTA_OIF,
  RTA_PREF,
  RTA_PREFSRC,
  RTA_PRIORITY,
  RTA_SRC,
  RTA_TABLE,
  RTA_UID,
  RTA_VIA,
  RTAX_LOCK,
  RTM_DELROUTE,
  RTM_F_CLONED,
  RTM_NEWROUTE,
  RTMSG_ATTRS,
  RTN_UNICAST,
  RTNEXTHOP_LEN,
  RTNH_F_DEAD,
  RTNH_F_LINKDOWN,
  RTNH_F_OFFLOAD,
  RTNH_F_ONLINK,
  RTNH_F_PERVASIVE,
  RTNH_F_TRAP,
  RTNH_F_UNRESOLVED,
  RTPROT_BOOT,
  rtmDstLen,
  rtmFamily,
  rtmFlags,
  rtmProtocol,
  rtmScope,
  rtmSrcLen,
  rtmTable,
  rtmTos,
  rtmType,
  rtnhFlags,
  rtnhHops,
  rtnhIfindex,
  rtnhLen,
} from '../wire/rtm_route.ts'
import { formatInet } from './address_text.ts'
import { type Prefix, sameBits } from './ip_filter.ts'
import { formatDsfield, formatRouteProtocol, formatRouteType, formatScope, formatTable } from './names_text.ts'
import type { Printer } from './printer.ts'

const USER_HZ = 100

/** Which routes to show; -1 and null where anything goes. */
export interface RouteFilter {
  family: number
  /** 0: all tables */
  table: number
  protocol: number
  scope: number
  type: number
  tos: number
  metric: number
  oif: number
  iif: number
  root: Prefix | null
  match: Prefix | null
  via: Prefix | null
  src: Prefix | null
}

export const EVERY_ROUTE: RouteFilter = {
  family: AF_UNSPEC,
  table: 0,
  protocol: -1,
  scope: -1,
  type: -1,
  tos: -1,
  metric: -1,
  oif: 0,
  iif: 0,
  root: null,
  match: null,
  via: null,
  src: null,
}

const attrs = new Int32Array(RTA_NH_ID + 1)
const u32 = (d: DataView, t: number): number => (attrs[t] ? d.getUint32(attrs[t], true) : 0)
const EMPTY = new Uint8Array(0)
const bytesAt = (d: DataView, t: number): Uint8Array => (attrs[t] ? attrBytes(d, attrs[t]) : EMPTY)

const tableOf = (d: DataView): number => (attrs[RTA_TABLE] ? u32(d, RTA_TABLE) : rtmTable(d))

/** Does the filter let this route message through? */
export function matches(m: Uint8Array, f: RouteFilter): boolean {
  const d = viewOf(m)
  if (msgType(d) !== RTM_NEWROUTE && msgType(d) !== RTM_DELROUTE) return false
  parseAttrs(d, RTMSG_ATTRS, msgLen(d), attrs, RTA_NH_ID)
  if (f.family && f.family !== rtmFamily(d)) return false
  if (f.table && f.table !== tableOf(d)) return false
  if (f.protocol >= 0 && f.protocol !== rtmProtocol(d)) return false
  if (f.scope >= 0 && f.scope !== rtmScope(d)) return false
  if (f.type >= 0 && f.type !== rtmType(d)) return false
  if (f.tos >= 0 && f.tos !== rtmTos(d)) return false
  if (f.metric >= 0 && f.metric !== u32(d, RTA_PRIORITY)) return false
  if (f.oif && f.oif !== u32(d, RTA_OIF)) return false
  if (f.iif && f.iif !== u32(d, RTA_IIF)) return false
  const dst = bytesAt(d, RTA_DST)
  if (f.root && (!sameFamily(f.root, d) || f.root.bits > rtmDstLen(d))) return false
  if (f.root && !sameBits(dst, f.root.bytes, f.root.bits)) return false
  if (f.match && (!sameFamily(f.match, d) || (f.match.bits >= 0 && f.match.bits < rtmDstLen(d)))) return false
  if (f.match && !sameBits(dst, f.match.bytes, rtmDstLen(d))) return false
  if (f.via && !sameBits(bytesAt(d, RTA_GATEWAY), f.via.bytes, f.via.bits)) return false
  return !f.src || sameBits(bytesAt(d, RTA_PREFSRC), f.src.bytes, f.src.bits)
}

const sameFamily = (p: Prefix, d: DataView): boolean => p.family === AF_UNSPEC || p.family === rtmFamily(d)

/** Prints one RTM_{NEW,DEL}ROUTE message, if the filter lets it through (print_route). */
export function printRoute(m: Uint8Array, out: Printer, f: RouteFilter): void {
  if (!matches(m, f)) return
  const d = viewOf(m)
  const host = rtmFamily(d) === AF_INET6 ? 128 : 32
  const cloned = (rtmFlags(d) & RTM_F_CLONED) !== 0
  out.openObject()
  if (msgType(d) === RTM_DELROUTE) out.bool('deleted', 'Deleted ', true)
  if (rtmType(d) !== RTN_UNICAST || out.details) out.str('type', '%s ', formatRouteType(rtmType(d)))
  out.str('dst', '%s ', prefixText(d, RTA_DST, rtmDstLen(d), host))
  if (attrs[RTA_SRC] || rtmSrcLen(d)) out.str('from', 'from %s ', prefixText(d, RTA_SRC, rtmSrcLen(d), host))
  if (attrs[RTA_NH_ID]) out.num('nhid', 'nhid %u ', u32(d, RTA_NH_ID))
  if (rtmTos(d) && f.tos < 0) out.str('tos', 'tos %s ', formatDsfield(rtmTos(d)))
  if (attrs[RTA_GATEWAY] && f.via?.bits !== host) out.str('gateway', 'via %s ', addressText(d, attrs[RTA_GATEWAY]))
  if (attrs[RTA_VIA]) printVia(d, attrs[RTA_VIA], out)
  if (attrs[RTA_OIF] && !f.oif) out.str('dev', 'dev %s ', out.devices.nameOf(u32(d, RTA_OIF)))
  const table = tableOf(d)
  if (table && (table !== RT_TABLE_MAIN || out.details) && !f.table) out.str('table', 'table %s ', formatTable(table))
  if (!cloned) {
    if ((rtmProtocol(d) !== RTPROT_BOOT || out.details) && f.protocol < 0)
      out.str('protocol', 'proto %s ', formatRouteProtocol(rtmProtocol(d)))
    if ((rtmScope(d) !== RT_SCOPE_UNIVERSE || out.details) && f.scope < 0)
      out.str('scope', 'scope %s ', formatScope(rtmScope(d)))
  }
  if (attrs[RTA_PREFSRC] && f.src?.bits !== host) out.str('prefsrc', 'src %s ', addressText(d, attrs[RTA_PREFSRC]))
  if (attrs[RTA_PRIORITY] && f.metric < 0) out.num('metric', 'metric %u ', u32(d, RTA_PRIORITY))
  printFlags(out, rtmFlags(d))
  if (u32(d, RTA_MARK)) out.num('mark', u32(d, RTA_MARK) >= 16 ? 'mark %#x ' : 'mark %u ', u32(d, RTA_MARK))
  if (attrs[RTA_FLOW]) printRealm(out, u32(d, RTA_FLOW))
  if (attrs[RTA_UID]) out.num('uid', 'uid %u ', u32(d, RTA_UID))
  if (rtmFamily(d) === AF_INET && cloned) {
    out.nl()
    out.openArray('cache', '    cache ')
    out.closeArray()
  }
  if (attrs[RTA_CACHEINFO]) printCacheinfo(d, attrs[RTA_CACHEINFO], out)
  if (attrs[RTA_METRICS]) printMetrics(d, attrs[RTA_METRICS], out)
  if (attrs[RTA_IIF] && !f.iif) out.str('iif', 'iif %s ', out.devices.nameOf(u32(d, RTA_IIF)))
  if (attrs[RTA_PREF]) printPreference(d.getUint8(attrs[RTA_PREF]), out)
  if (attrs[RTA_MULTIPATH]) printNexthops(d, attrs[RTA_MULTIPATH], out)
  out.text('\n')
  out.closeObject()
}

const addressText = (d: DataView, o: number): string => formatInet(attrBytes(d, o), attrLen(d, o))

function prefixText(d: DataView, type: number, len: number, host: number): string {
  if (!attrs[type]) return len ? `0/${len} ` : 'default'
  const text = addressText(d, attrs[type])
  return len === host ? text : `${text}/${len}`
}

// struct rtvia { u16 family; u8 addr[]; }
function printVia(d: DataView, o: number, out: Printer): void {
  const family = d.getUint16(o, true) === AF_INET6 ? 'inet6' : 'inet'
  const host = out.inet(d, o + 2, attrLen(d, o) - 2)
  out.openObject('via')
  out.str('family', 'via %s ', family)
  out.str('host', '%s ', host)
  out.closeObject()
}

const FLAG_NAMES: readonly (readonly [string, number])[] = [
  ['dead', RTNH_F_DEAD],
  ['onlink', RTNH_F_ONLINK],
  ['pervasive', RTNH_F_PERVASIVE],
  ['offload', RTNH_F_OFFLOAD],
  ['trap', RTNH_F_TRAP],
  ['linkdown', RTNH_F_LINKDOWN],
  ['unresolved', RTNH_F_UNRESOLVED],
]

function printFlags(out: Printer, flags: number): void {
  out.openArray('flags')
  for (const [name, bit] of FLAG_NAMES) if (flags & bit) out.str(null, '%s ', name)
  out.closeArray()
}

function printRealm(out: Printer, flow: number): void {
  const from = flow >>> 16
  out.text(from ? 'realms ' : 'realm ')
  out.openObject('flow')
  if (from) out.str('from', '%s/', String(from))
  out.str('to', '%s ', String(flow & 0xffff))
  out.closeObject()
}

// struct rta_cacheinfo { u32 clntref, lastuse; i32 expires; u32 error, used, id, ts, tsage; }
function printCacheinfo(d: DataView, o: number, out: Printer): void {
  const expires = d.getInt32(o + 8, true)
  const error = d.getUint32(o + 12, true)
  if (expires) out.num('expires', 'expires %dsec ', Math.trunc(expires / USER_HZ))
  if (error) out.num('error', 'error %u ', error)
  if (!out.stats) return
  if (d.getUint32(o, true)) out.num('users', 'users %u ', d.getUint32(o, true))
  if (d.getUint32(o + 16, true)) out.num('used', 'used %u ', d.getUint32(o + 16, true))
  if (d.getUint32(o + 4, true)) out.num('age', 'age %usec ', Math.trunc(d.getUint32(o + 4, true) / USER_HZ))
}

const METRICS: readonly string[] = [
  ...['', '', 'mtu', 'window', 'rtt', 'rttvar', 'ssthresh', 'cwnd', 'advmss', 'reordering', 'hoplimit', 'initcwnd'],
  ...['features', 'rto_min', 'initrwnd', 'quickack', 'congctl', 'fastopen_no_cookie'],
]
const metrics = new Int32Array(METRICS.length)

function printMetrics(d: DataView, o: number, out: Printer): void {
  parseAttrs(d, o, o + attrLen(d, o), metrics, METRICS.length - 1)
  const locks = metrics[RTAX_LOCK] ? d.getUint32(metrics[RTAX_LOCK], true) : 0
  out.openArray('metrics')
  out.openObject()
  for (let i = 2; i < METRICS.length; i++) {
    if (!metrics[i] && !(locks & (1 << i))) continue
    const value = metrics[i] ? d.getUint32(metrics[i], true) : 0
    out.text(`${METRICS[i]} `)
    if (locks & (1 << i)) out.text('lock ')
    out.num(METRICS[i], '%u ', value)
  }
  out.closeObject()
  out.closeArray()
}

function printPreference(pref: number, out: Printer): void {
  const name = ['medium', 'high', '', 'low'][pref]
  if (name) out.str('pref', 'pref %s', name)
  else out.num('pref', '%u', pref)
}

const hop = new Int32Array(RTA_VIA + 1)

function printNexthops(d: DataView, o: number, out: Printer): void {
  const end = o + attrLen(d, o)
  out.openArray('nexthops')
  for (let at = o; end - at >= RTNEXTHOP_LEN && rtnhLen(d, at) >= RTNEXTHOP_LEN; at += (rtnhLen(d, at) + 3) & ~3) {
    if (rtnhLen(d, at) > end - at) break
    out.openObject()
    out.nl()
    out.text('\tnexthop ')
    parseAttrs(d, at + RTNEXTHOP_LEN, at + rtnhLen(d, at), hop, RTA_VIA)
    if (hop[RTA_GATEWAY]) out.str('gateway', 'via %s ', addressText(d, hop[RTA_GATEWAY]))
    if (hop[RTA_VIA]) printVia(d, hop[RTA_VIA], out)
    if (hop[RTA_FLOW]) printRealm(out, d.getUint32(hop[RTA_FLOW], true))
    out.str('dev', 'dev %s ', out.devices.nameOf(rtnhIfindex(d, at)))
    out.num('weight', 'weight %d ', rtnhHops(d, at) + 1)
    printFlags(out, rtnhFlags(d, at))
    out.closeObject()
  }
  out.closeArray()
}
