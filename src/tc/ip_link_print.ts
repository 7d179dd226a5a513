// What `ip link show`, `ip addr show` and `ip monitor` print of a device (print_linkinfo of ipaddress.c).

import { attrBytes, attrLen, attrString, getU64, msgLen, msgType, parseAttrs, viewOf } from '../wire/netlink.ts'
import {
  ARPHRD_ETHER,
  ARPHRD_IP6GRE,
  ARPHRD_IPGRE,
  ARPHRD_LOOPBACK,
  ARPHRD_NONE,
  ARPHRD_SIT,
  ARPHRD_TUNNEL,
  ARPHRD_TUNNEL6,
  ARPHRD_VOID,
  IFF_ALLMULTI,
  IFF_AUTOMEDIA,
  IFF_BROADCAST,
  IFF_DEBUG,
  IFF_DORMANT,
  IFF_DYNAMIC,
  IFF_ECHO,
  IFF_LOOPBACK,
  IFF_LOWER_UP,
  IFF_MASTER,
  IFF_MULTICAST,
  IFF_NOARP,
  IFF_NOTRAILERS,
  IFF_POINTOPOINT,
  IFF_PORTSEL,
  IFF_PROMISC,
  IFF_RUNNING,
  IFF_SLAVE,
  IFF_UP,
  IFINFOMSG_ATTRS,
  IFLA_ADDRESS,
  IFLA_AF_SPEC,
  IFLA_ALLMULTI,
  IFLA_BROADCAST,
  IFLA_GRO_MAX_SIZE,
  IFLA_GROUP,
  IFLA_GSO_MAX_SEGS,
  IFLA_GSO_MAX_SIZE,
  IFLA_IFALIAS,
  IFLA_IFNAME,
  IFLA_INET6_ADDR_GEN_MODE,
  IFLA_INFO_DATA,
  IFLA_INFO_KIND,
  IFLA_LINK,
  IFLA_LINK_NETNSID,
  IFLA_LINKINFO,
  IFLA_LINKMODE,
  IFLA_MASTER,
  IFLA_MAX_MTU,
  IFLA_MIN_MTU,
  IFLA_MTU,
  IFLA_NUM_RX_QUEUES,
  IFLA_NUM_TX_QUEUES,
  IFLA_OPERSTATE,
  IFLA_PROMISCUITY,
  IFLA_QDISC,
  IFLA_STATS64,
  IFLA_TSO_MAX_SEGS,
  IFLA_TSO_MAX_SIZE,
  IFLA_TXQLEN,
  ifiFlags,
  ifiIndex,
  ifiType,
  RTM_DELLINK,
  RTM_NEWLINK,
} from '../wire/rtm_link.ts'
import { AF_INET6, AF_PACKET } from '../wire/rtm_route.ts'
import { formatInet, formatMac } from './address_text.ts'
import { linkKind } from './link_kinds.ts'
import type { Printer } from './printer.ts'

/** Which devices to show. */
export interface LinkFilter {
  readonly ifindex: number
  readonly up: boolean
  readonly kind: string
  readonly master: number
  /** -1: any */
  readonly group: number
}

const attrs = new Int32Array(IFLA_ALLMULTI + 1)
const info = new Int32Array(IFLA_INFO_DATA + 1)
const spec = new Int32Array(AF_INET6 + 1)
const inet6 = new Int32Array(IFLA_INET6_ADDR_GEN_MODE + 1)

const u32 = (d: DataView, t: number): number => (attrs[t] ? d.getUint32(attrs[t], true) : 0)

/** Does the filter let this link message through? */
export function wanted(m: Uint8Array, f: LinkFilter): boolean {
  const d = viewOf(m)
  if (msgType(d) !== RTM_NEWLINK && msgType(d) !== RTM_DELLINK) return false
  parseAttrs(d, IFINFOMSG_ATTRS, msgLen(d), attrs, IFLA_ALLMULTI)
  if (f.ifindex && f.ifindex !== ifiIndex(d)) return false
  if (f.up && !(ifiFlags(d) & IFF_UP)) return false
  if (f.group >= 0 && f.group !== u32(d, IFLA_GROUP)) return false
  if (f.master && f.master !== u32(d, IFLA_MASTER)) return false
  return !f.kind || f.kind === kindName(d)
}

function kindName(d: DataView): string {
  const o = attrs[IFLA_LINKINFO]
  if (!o) return ''
  parseAttrs(d, o, o + attrLen(d, o), info, IFLA_INFO_DATA)
  return info[IFLA_INFO_KIND] ? attrString(d, info[IFLA_INFO_KIND]) : ''
}

const STATES = ['UNKNOWN', 'NOTPRESENT', 'DOWN', 'LOWERLAYERDOWN', 'TESTING', 'DORMANT', 'UP']
const MODES = ['DEFAULT', 'DORMANT']
const GEN_MODES = ['eui64', 'none', 'stable_secret', 'random']
const TYPES: Readonly<Record<number, string>> = {
  [ARPHRD_ETHER]: 'ether',
  [ARPHRD_LOOPBACK]: 'loopback',
  [ARPHRD_IPGRE]: 'gre',
  [ARPHRD_IP6GRE]: 'gre6',
  [ARPHRD_TUNNEL]: 'ipip',
  [ARPHRD_TUNNEL6]: 'tunnel6',
  [ARPHRD_SIT]: 'sit',
  [ARPHRD_NONE]: 'none',
  [ARPHRD_VOID]: 'void',
}

/**
 * Prints a link message; `link` is `ip link` (else `ip addr`), `family` what the listing is narrowed to. Ends the line
 * except in the brief form of `ip addr`.
 */
export function printLink(m: Uint8Array, out: Printer, link: boolean, brief: boolean, family: number): void {
  const d = viewOf(m)
  parseAttrs(d, IFINFOMSG_ATTRS, msgLen(d), attrs, IFLA_ALLMULTI)
  if (msgType(d) === RTM_DELLINK) out.bool('deleted', 'Deleted ', true)
  if (brief) {
    printName(d, out, '%-16s ')
    printState(d, out, true)
    if (family !== AF_PACKET) return
    if (attrs[IFLA_ADDRESS]) out.str('address', '%s ', lladdr(d, attrs[IFLA_ADDRESS]))
    printFlags(d, out)
    out.text('\n')
    return
  }
  out.num('ifindex', '%d: ', ifiIndex(d))
  printName(d, out, '%s: ')
  printFlags(d, out)
  if (attrs[IFLA_MTU]) out.num('mtu', 'mtu %u ', u32(d, IFLA_MTU))
  if (attrs[IFLA_QDISC]) out.str('qdisc', 'qdisc %s ', attrString(d, attrs[IFLA_QDISC]))
  if (attrs[IFLA_MASTER]) out.str('master', 'master %s ', out.devices.nameOf(u32(d, IFLA_MASTER)))
  printState(d, out, false)
  if (link && attrs[IFLA_LINKMODE]) out.str('linkmode', 'mode %s ', MODES[d.getUint8(attrs[IFLA_LINKMODE])] ?? '?')
  if (attrs[IFLA_GROUP]) out.str('group', 'group %s ', u32(d, IFLA_GROUP) ? String(u32(d, IFLA_GROUP)) : 'default')
  if (u32(d, IFLA_TXQLEN)) out.num('txqlen', 'qlen %d', u32(d, IFLA_TXQLEN))
  if (family === 0 || family === AF_PACKET || out.details) printAddress(d, out)
  if (attrs[IFLA_LINK_NETNSID]) out.num('link_netnsid', ' link-netnsid %d', d.getInt32(attrs[IFLA_LINK_NETNSID], true))
  if (out.details) printDetails(d, out, link)
  if ((link || out.details) && attrs[IFLA_IFALIAS]) {
    out.nl()
    out.str('ifalias', '    alias %s', attrString(d, attrs[IFLA_IFALIAS]))
  }
  if (link && out.stats) {
    out.nl()
    printCounters(d, out)
  }
  out.text('\n')
}

// NAME, or NAME@LOWER.
function printName(d: DataView, out: Printer, fmt: string): void {
  const name = attrString(d, attrs[IFLA_IFNAME])
  let at = ''
  if (attrs[IFLA_LINK]) {
    const lower = u32(d, IFLA_LINK)
    if (!lower) {
      out.nul('link', null)
      at = 'NONE'
    } else if (attrs[IFLA_LINK_NETNSID]) {
      out.num('link_index', null, lower)
      at = `if${lower}`
    } else {
      at = out.devices.nameOf(lower)
      out.str('link', null, at)
    }
  }
  out.str('ifname', fmt, at && !out.json ? `${name}@${at}` : name)
}

const FLAG_NAMES: readonly (readonly [string, number])[] = [
  ['LOOPBACK', IFF_LOOPBACK],
  ['BROADCAST', IFF_BROADCAST],
  ['POINTOPOINT', IFF_POINTOPOINT],
  ['MULTICAST', IFF_MULTICAST],
  ['NOARP', IFF_NOARP],
  ['ALLMULTI', IFF_ALLMULTI],
  ['PROMISC', IFF_PROMISC],
  ['MASTER', IFF_MASTER],
  ['SLAVE', IFF_SLAVE],
  ['DEBUG', IFF_DEBUG],
  ['DYNAMIC', IFF_DYNAMIC],
  ['AUTOMEDIA', IFF_AUTOMEDIA],
  ['PORTSEL', IFF_PORTSEL],
  ['NOTRAILERS', IFF_NOTRAILERS],
  ['UP', IFF_UP],
  ['LOWER_UP', IFF_LOWER_UP],
  ['DORMANT', IFF_DORMANT],
  ['ECHO', IFF_ECHO],
]

function printFlags(d: DataView, out: Printer): void {
  let flags = ifiFlags(d)
  out.openArray('flags', '<')
  if (flags & IFF_UP && !(flags & IFF_RUNNING)) out.str(null, flags ? '%s,' : '%s', 'NO-CARRIER')
  flags &= ~IFF_RUNNING
  for (const [name, bit] of FLAG_NAMES) {
    if (!(flags & bit)) continue
    flags &= ~bit
    out.str(null, flags ? '%s,' : '%s', name)
  }
  if (flags) out.hex(null, '%x', flags >>> 0)
  out.closeArray('> ')
}

function printState(d: DataView, out: Printer, brief: boolean): void {
  if (!attrs[IFLA_OPERSTATE]) return
  const state = d.getUint8(attrs[IFLA_OPERSTATE])
  if (state < STATES.length) out.str('operstate', brief ? '%-14s ' : 'state %s ', STATES[state])
  else out.num('operstate_index', 'state %#llx', state)
}

/** Device types whose addresses are IP addresses: tunnels that know their ends (ll_addr_n2a). */
const IP_ENDS = [ARPHRD_TUNNEL, ARPHRD_TUNNEL6, ARPHRD_SIT, ARPHRD_IPGRE, ARPHRD_IP6GRE]

const lladdr = (d: DataView, o: number): string => {
  const b = attrBytes(d, o)
  return IP_ENDS.includes(ifiType(d)) ? formatInet(b, b.length) : formatMac(b, 0, b.length)
}

function printAddress(d: DataView, out: Printer): void {
  out.nl()
  out.str('link_type', '    link/%s ', TYPES[ifiType(d)] ?? `[${ifiType(d)}]`)
  if (attrs[IFLA_ADDRESS]) out.str('address', '%s', lladdr(d, attrs[IFLA_ADDRESS]))
  if (!attrs[IFLA_BROADCAST]) return
  if (ifiFlags(d) & IFF_POINTOPOINT) {
    out.text(' peer ')
    out.bool('link_pointtopoint', null, true)
  } else out.text(' brd ')
  out.str('broadcast', '%s', lladdr(d, attrs[IFLA_BROADCAST]))
}

const DETAILS: readonly (readonly [number, string, string])[] = [
  [IFLA_NUM_TX_QUEUES, 'num_tx_queues', 'numtxqueues %u '],
  [IFLA_NUM_RX_QUEUES, 'num_rx_queues', 'numrxqueues %u '],
  [IFLA_GSO_MAX_SIZE, 'gso_max_size', 'gso_max_size %u '],
  [IFLA_GSO_MAX_SEGS, 'gso_max_segs', 'gso_max_segs %u '],
  [IFLA_TSO_MAX_SIZE, 'tso_max_size', 'tso_max_size %u '],
  [IFLA_TSO_MAX_SEGS, 'tso_max_segs', 'tso_max_segs %u '],
  [IFLA_GRO_MAX_SIZE, 'gro_max_size', 'gro_max_size %u '],
]

function printDetails(d: DataView, out: Printer, link: boolean): void {
  if (attrs[IFLA_PROMISCUITY]) out.num('promiscuity', ' promiscuity %u ', u32(d, IFLA_PROMISCUITY))
  if (attrs[IFLA_ALLMULTI]) out.num('allmulti', ' allmulti %u ', u32(d, IFLA_ALLMULTI))
  if (attrs[IFLA_MIN_MTU]) out.num('min_mtu', 'minmtu %u ', u32(d, IFLA_MIN_MTU))
  if (attrs[IFLA_MAX_MTU]) out.num('max_mtu', 'maxmtu %u ', u32(d, IFLA_MAX_MTU))
  if (attrs[IFLA_LINKINFO]) printKind(d, out)
  if (link && attrs[IFLA_AF_SPEC]) {
    const o = attrs[IFLA_AF_SPEC]
    parseAttrs(d, o, o + attrLen(d, o), spec, AF_INET6)
    const v6 = spec[AF_INET6]
    if (v6) {
      parseAttrs(d, v6, v6 + attrLen(d, v6), inet6, IFLA_INET6_ADDR_GEN_MODE)
      const mode = inet6[IFLA_INET6_ADDR_GEN_MODE]
      if (mode) out.str('inet6_addr_gen_mode', 'addrgenmode %s ', GEN_MODES[d.getUint8(mode)] ?? '?')
    }
  }
  for (const [type, key, fmt] of DETAILS) if (attrs[type]) out.num(key, fmt, u32(d, type))
}

function printKind(d: DataView, out: Printer): void {
  const name = kindName(d)
  out.openObject('linkinfo')
  if (name) {
    out.nl()
    out.str('info_kind', '    %s ', name)
    const kind = linkKind(name)
    if (kind) {
      out.openObject('info_data')
      const o = info[IFLA_INFO_DATA]
      if (o) kind.print(d, o, o + attrLen(d, o), out)
      out.closeObject()
    }
  }
  out.closeObject()
}

// struct rtnl_link_stats64, u64 each: packets, bytes, errors, dropped (rx and tx in turn), multicast, collisions, then
// what the errors were; 11 rx_over, 15 rx_missed… are counted from the start.
const RX_JSON = ['bytes', 'packets', 'errors', 'dropped', 'over_errors', 'multicast']
const TX_JSON = ['bytes', 'packets', 'errors', 'dropped', 'carrier_errors', 'collisions']
const RX_WORDS = ['bytes', 'packets', 'errors', 'dropped', 'missed', 'mcast']
const TX_WORDS = ['bytes', 'packets', 'errors', 'dropped', 'carrier', 'collsns']
const WIDTHS = [10, 7, 6, 7, 7, 7]
/** Room for "compressed", which the switch never does. */
const LAST_WIDTH = 10

function printCounters(d: DataView, out: Printer): void {
  const o = attrs[IFLA_STATS64]
  if (!o) return
  const n = (i: number): number => getU64(d, o + 8 * i)
  const rx = [n(2), n(0), n(4), n(6), n(15), n(8)]
  const tx = [n(3), n(1), n(5), n(7), n(17), n(9)]
  if (out.json) {
    out.openObject('stats64')
    printObject(out, 'rx', RX_JSON, [...rx.slice(0, 4), n(11), n(8)])
    printObject(out, 'tx', TX_JSON, tx)
    out.closeObject()
    return
  }
  const widths = WIDTHS.map((w, i) => Math.max(w, String(rx[i]).length, String(tx[i]).length))
  const title = (side: string, words: readonly string[]): string =>
    `    ${side}: ${words.map((w, i) => `${w.padStart(i ? widths[i] : widths[0] - 4)} `).join('')}${' '.repeat(LAST_WIDTH)}`
  const row = (values: readonly number[]): string =>
    `    ${values.map((v, i) => `${String(v).padStart(widths[i])} `).join('')}`
  out.text(title('RX', RX_WORDS))
  out.nl()
  out.text(row(rx))
  out.nl()
  out.text(title('TX', TX_WORDS))
  out.nl()
  out.text(row(tx))
}

function printObject(out: Printer, key: string, names: readonly string[], values: readonly number[]): void {
  out.openObject(key)
  for (let i = 0; i < names.length; i++) out.num(names[i], null, values[i])
  out.closeObject()
}
