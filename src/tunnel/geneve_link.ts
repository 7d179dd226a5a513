// The parameters of a geneve device: IFLA_GENEVE_* to its slot and back (geneve_validate, geneve_nl2info,
// geneve_configure, geneve_link_config, geneve_fill_info of Linux 6.1).
//
// An external device is told nothing but its port; a classic one has a VNI and a remote, and its metadata are a tun_info
// made here (NETDEV_TUN). Runs under rtnl.

import type { Arena } from '../memory/arena.ts'
import * as T from '../memory/layout/action.ts'
import * as N from '../memory/layout/netdev.ts'
import { SUPER_NETDEVS } from '../memory/layout/super.ts'
import { alloc, freeRcu, TAG_TUN_INFO } from '../memory/pool.ts'
import { isAny, isLinkLocal, isMulticast } from '../net/inet.ts'
import type { MtuRange } from '../net/request.ts'
import { lookup } from '../net/route.ts'
import { attrLen, type Builder, parseAttrs } from '../wire/netlink.ts'
import { EADDRINUSE, EBUSY, EINVAL, EOPNOTSUPP, EPERM, ERANGE, NetlinkError } from '../wire/netlink_error.ts'
import * as L from '../wire/rtm_link.ts'
import { AF_INET, AF_INET6 } from '../wire/rtm_route.ts'

// ---- NETDEV_PRIV of a geneve device, u8 each
/** Takes the ttl of the inner packet. @under rtnl */
export const GENEVE_TTL_INHERIT = N.NETDEV_PRIV
/** GENEVE_DF_*. @under rtnl */
export const GENEVE_DF = N.NETDEV_PRIV + 1
/** UDP checksums of zero over IPv6 are refused (use_udp6_rx_checksums). @under rtnl */
export const GENEVE_UDP6_RX_CSUM = N.NETDEV_PRIV + 2

const GENEVE_UDP_PORT = 6081
const VNI_LIMIT = 1 << 24
const MIN_MTU = 68
/** UDP and Geneve header, and the inner Ethernet header. */
const BASE = 8 + 8 + 14
const IPV4 = 20
const IPV6 = 40
const IP_MAX_MTU = 65535

interface Config {
  external: boolean
  ipv6: boolean
  remote: Uint8Array
  vni: number
  ttl: number
  tos: number
  label: number
  port: number
  csum: boolean
  ttlInherit: boolean
  df: number
  udp6Csum: boolean
}

const tb = new Int32Array(L.IFLA_GENEVE_INNER_PROTO_INHERIT + 1)
/** Least payload by attribute type (geneve_policy). */
const LEAST: Record<number, number> = {
  [L.IFLA_GENEVE_ID]: 4,
  [L.IFLA_GENEVE_REMOTE]: 4,
  [L.IFLA_GENEVE_REMOTE6]: 16,
  [L.IFLA_GENEVE_TTL]: 1,
  [L.IFLA_GENEVE_TOS]: 1,
  [L.IFLA_GENEVE_LABEL]: 4,
  [L.IFLA_GENEVE_PORT]: 2,
  [L.IFLA_GENEVE_UDP_CSUM]: 1,
  [L.IFLA_GENEVE_UDP_ZERO_CSUM6_TX]: 1,
  [L.IFLA_GENEVE_UDP_ZERO_CSUM6_RX]: 1,
  [L.IFLA_GENEVE_TTL_INHERIT]: 1,
  [L.IFLA_GENEVE_DF]: 1,
}

const refuse = (errno: number, message: string, at?: number): never => {
  throw new NetlinkError(errno, message, at ? at - 4 : undefined)
}

function parse(d: DataView, data: number, end: number): void {
  if (end === 0) refuse(EINVAL, 'Not enough attributes provided to perform the operation')
  parseAttrs(d, data, end, tb, tb.length - 1)
  for (let t = 1; t < tb.length; t++)
    if (tb[t] !== 0 && attrLen(d, tb[t]) < (LEAST[t] ?? 0)) refuse(ERANGE, 'Attribute failed policy validation', tb[t])
  const id = tb[L.IFLA_GENEVE_ID]
  if (id && d.getUint32(id, true) >= VNI_LIMIT) refuse(ERANGE, 'Geneve ID must be lower than 16777216', id)
  const df = tb[L.IFLA_GENEVE_DF]
  if (df && d.getUint8(df) > L.GENEVE_DF_INHERIT) refuse(EINVAL, 'Invalid DF attribute', df)
}

const address = (d: DataView, at: number, n: number): Uint8Array => {
  const out = new Uint8Array(16)
  for (let i = 0; i < n; i++) out[i] = d.getUint8(at + i)
  return out
}

/** geneve_nl2info: over what the device has (`change`) or over nothing. */
function apply(c: Config, d: DataView, change: boolean): void {
  const fixed = (at: number): void => {
    if (change && at)
      refuse(
        EOPNOTSUPP,
        'Changing VNI, Port, endpoint IP address family, external, inner_proto_inherit, and UDP checksum attributes are not supported',
        at,
      )
  }
  const [r4, r6] = [tb[L.IFLA_GENEVE_REMOTE], tb[L.IFLA_GENEVE_REMOTE6]]
  if (r4 && r6) refuse(EINVAL, 'Cannot specify both IPv4 and IPv6 Remote addresses')
  if (r4) {
    if (c.ipv6) fixed(r4)
    c.remote = address(d, r4, 4)
    if (isMulticast(AF_INET, c.remote)) refuse(EINVAL, 'Remote IPv4 address cannot be Multicast', r4)
  }
  if (r6) {
    if (!c.ipv6) fixed(r6)
    c.remote = address(d, r6, 16)
    c.ipv6 = true
    if (isLinkLocal(AF_INET6, c.remote)) refuse(EINVAL, 'Remote IPv6 address cannot be link-local', r6)
    if (isMulticast(AF_INET6, c.remote)) refuse(EINVAL, 'Remote IPv6 address cannot be Multicast', r6)
    c.csum = true
    c.udp6Csum = true
  }
  const u8 = (type: number): number => d.getUint8(tb[type])
  if (tb[L.IFLA_GENEVE_ID]) {
    const vni = d.getUint32(tb[L.IFLA_GENEVE_ID], true)
    if (vni !== c.vni) fixed(tb[L.IFLA_GENEVE_ID])
    c.vni = vni
  }
  if (tb[L.IFLA_GENEVE_TTL_INHERIT]) c.ttlInherit = u8(L.IFLA_GENEVE_TTL_INHERIT) !== 0
  else if (tb[L.IFLA_GENEVE_TTL]) {
    c.ttl = u8(L.IFLA_GENEVE_TTL)
    c.ttlInherit = false
  }
  if (tb[L.IFLA_GENEVE_TOS]) c.tos = u8(L.IFLA_GENEVE_TOS)
  if (tb[L.IFLA_GENEVE_DF]) c.df = u8(L.IFLA_GENEVE_DF)
  if (tb[L.IFLA_GENEVE_LABEL]) {
    c.label = d.getUint32(tb[L.IFLA_GENEVE_LABEL]) & 0xfffff
    if (c.label && !c.ipv6)
      refuse(EINVAL, 'Label attribute only applies for IPv6 Geneve devices', tb[L.IFLA_GENEVE_LABEL])
  }
  fixed(tb[L.IFLA_GENEVE_PORT])
  if (tb[L.IFLA_GENEVE_PORT]) c.port = d.getUint16(tb[L.IFLA_GENEVE_PORT])
  fixed(tb[L.IFLA_GENEVE_COLLECT_METADATA])
  if (tb[L.IFLA_GENEVE_COLLECT_METADATA]) c.external = true
  fixed(tb[L.IFLA_GENEVE_UDP_CSUM])
  if (tb[L.IFLA_GENEVE_UDP_CSUM] && u8(L.IFLA_GENEVE_UDP_CSUM)) c.csum = true
  fixed(tb[L.IFLA_GENEVE_UDP_ZERO_CSUM6_TX])
  if (tb[L.IFLA_GENEVE_UDP_ZERO_CSUM6_TX] && u8(L.IFLA_GENEVE_UDP_ZERO_CSUM6_TX)) c.csum = false
  fixed(tb[L.IFLA_GENEVE_UDP_ZERO_CSUM6_RX])
  if (tb[L.IFLA_GENEVE_UDP_ZERO_CSUM6_RX] && u8(L.IFLA_GENEVE_UDP_ZERO_CSUM6_RX)) c.udp6Csum = false
  if (tb[L.IFLA_GENEVE_INNER_PROTO_INHERIT])
    refuse(EOPNOTSUPP, 'geneve: innerprotoinherit is not supported', tb[L.IFLA_GENEVE_INNER_PROTO_INHERIT])
}

const slot = (a: Arena, i: number): number => a.m[SUPER_NETDEVS >> 2] + i * N.NETDEV_SIZE
const swap16 = (port: number): number => ((port & 0xff) << 8) | (port >> 8)
const isExternal = (a: Arena, dev: number): boolean => (a.m[(dev + N.NETDEV_FEATURES) >> 2] & N.NETDEV_F_EXTERNAL) !== 0

/** geneve_configure: which devices may stand beside each other. */
function validate(a: Arena, self: number, c: Config): void {
  const told = c.vni || c.csum || c.tos || c.ttl || c.label || !isAny(c.remote)
  if (c.external && told)
    refuse(EINVAL, 'Device is externally controlled, so attributes (VNI, Port, and so on) must not be specified')
  let samePort = false
  let external = false
  for (let i = 1; i < N.NETDEV_MAX; i++) {
    const dev = slot(a, i)
    if (dev === self || a.m[(dev + N.NETDEV_KIND) >> 2] !== N.NETDEV_KIND_GENEVE) continue
    if (a.m[(dev + N.NETDEV_TP_DST) >> 2] !== swap16(c.port)) continue
    const other = read(a, dev)
    if (other.vni === c.vni && other.remote.every((x, k) => x === c.remote[k])) refuse(EBUSY, '')
    samePort = true
    external = other.external
  }
  if (c.external && samePort) refuse(EPERM, 'There can be only one externally controlled device on a destination port')
  if (!c.external && external)
    refuse(EPERM, 'There already exists an externally controlled device on this destination port')
}

function read(a: Arena, dev: number): Config {
  const tun = a.m[(dev + N.NETDEV_TUN) >> 2]
  const external = isExternal(a, dev)
  const word = (field: number): number => (tun === 0 ? 0 : a.m[(tun + field) >> 2])
  return {
    external,
    ipv6: (word(T.TUN_MODE) & T.TUN_IPV6) !== 0,
    remote: tun === 0 ? new Uint8Array(16) : a.u8.slice(tun + T.TUN_DST, tun + T.TUN_DST + 16),
    vni: word(T.TUN_ID),
    ttl: tun === 0 ? 0 : a.u8[tun + T.TUN_TTL],
    tos: tun === 0 ? 0 : a.u8[tun + T.TUN_TOS],
    label: word(T.TUN_LABEL),
    port: swap16(a.m[(dev + N.NETDEV_TP_DST) >> 2]),
    csum: (word(T.TUN_FLAGS) & T.TUNNEL_CSUM) !== 0,
    ttlInherit: a.u8[dev + GENEVE_TTL_INHERIT] !== 0,
    df: a.u8[dev + GENEVE_DF],
    udp6Csum: a.u8[dev + GENEVE_UDP6_RX_CSUM] !== 0,
  }
}

function write(a: Arena, dev: number, c: Config): void {
  const { m, u8 } = a
  u8[dev + GENEVE_TTL_INHERIT] = c.ttlInherit ? 1 : 0
  u8[dev + GENEVE_DF] = c.df
  u8[dev + GENEVE_UDP6_RX_CSUM] = c.udp6Csum ? 1 : 0
  m[(dev + N.NETDEV_TP_DST) >> 2] = swap16(c.port)
  m[(dev + N.NETDEV_VNI) >> 2] = c.vni
  m[(dev + N.NETDEV_FEATURES) >> 2] =
    (c.external ? N.NETDEV_F_EXTERNAL : 0) | (c.udp6Csum ? 0 : N.NETDEV_F_UDP6_ZERO_CSUM_RX)
  const old = m[(dev + N.NETDEV_TUN) >> 2]
  m[(dev + N.NETDEV_TUN) >> 2] = c.external ? 0 : tunInfo(a, c)
  if (old) freeRcu(a, old, T.TUN_SIZE, TAG_TUN_INFO)
}

function tunInfo(a: Arena, c: Config): number {
  const p = alloc(a, T.TUN_SIZE, TAG_TUN_INFO)
  a.m[(p + T.TUN_MODE) >> 2] = T.TUN_TX | (c.ipv6 ? T.TUN_IPV6 : 0)
  a.m[(p + T.TUN_FLAGS) >> 2] = c.csum ? T.TUNNEL_CSUM : 0
  a.m[(p + T.TUN_ID) >> 2] = c.vni
  a.u8.set(c.remote, p + T.TUN_DST)
  a.d.setUint16(p + T.TUN_TP_DST, c.port)
  a.u8[p + T.TUN_TOS] = c.tos
  a.u8[p + T.TUN_TTL] = c.ttl
  a.m[(p + T.TUN_LABEL) >> 2] = c.label
  a.m[(p + T.TUN_REFCNT) >> 2] = 1
  return p
}

/** geneve_setup, then geneve_configure for the header of the underlay. See TunnelType.mtuRange. */
export function mtuRange(a: Arena, dev: number, isNew: boolean): MtuRange {
  const most = IP_MAX_MTU - BASE
  if (isNew) return [MIN_MTU, most]
  const tun = a.m[(dev + N.NETDEV_TUN) >> 2]
  const over4 = tun !== 0 && (a.m[(tun + T.TUN_MODE) >> 2] & T.TUN_IPV6) === 0
  return [MIN_MTU, most - (over4 ? IPV4 : IPV6)]
}

/** geneve_link_config: what is asked for, or what the way to the remote leaves; an external device's way is loopback's. */
function setMtu(a: Arena, dev: number, c: Config, asked: number): void {
  const ip = c.ipv6 ? IPV6 : IPV4
  const [, max] = mtuRange(a, dev, false)
  let mtu = asked
  if (mtu === 0) {
    const route = lookup(a, c.ipv6 ? AF_INET6 : AF_INET, c.remote)
    if (route.errno !== 0) return
    mtu = route.mtu - BASE - ip
  }
  if (mtu > 0) a.m[(dev + N.NETDEV_MTU) >> 2] = Math.max(MIN_MTU, Math.min(max, mtu))
}

/** geneve_newlink. See TunnelType.newlink. */
export function newlink(a: Arena, dev: number, d: DataView, data: number, end: number, mtu: number): void {
  parse(d, data, end)
  const c: Config = {
    external: false,
    ipv6: false,
    remote: new Uint8Array(16),
    vni: 0,
    ttl: 0,
    tos: 0,
    label: 0,
    port: GENEVE_UDP_PORT,
    csum: false,
    ttlInherit: false,
    df: L.GENEVE_DF_UNSET,
    udp6Csum: false,
  }
  apply(c, d, false)
  validate(a, dev, c)
  write(a, dev, c)
  setMtu(a, dev, c, mtu)
}

/** geneve_changelink: an external device cannot be told anything. */
export function changelink(a: Arena, dev: number, d: DataView, data: number, end: number): void {
  if (isExternal(a, dev)) refuse(EOPNOTSUPP, '')
  parse(d, data, end)
  const c = read(a, dev)
  const remote = c.remote
  apply(c, d, true)
  write(a, dev, c)
  if (!remote.every((x, i) => x === c.remote[i])) setMtu(a, dev, c, 0)
}

export function dellink(a: Arena, dev: number): void {
  const tun = a.m[(dev + N.NETDEV_TUN) >> 2]
  a.m[(dev + N.NETDEV_TUN) >> 2] = 0
  if (tun) freeRcu(a, tun, T.TUN_SIZE, TAG_TUN_INFO)
}

/** geneve_fill_info: same attributes, same order. */
export function fillInfo(a: Arena, dev: number, b: Builder): void {
  const c = read(a, dev)
  b.attrU32(L.IFLA_GENEVE_ID, c.vni)
  if (!c.external && !c.ipv6) {
    b.attr(L.IFLA_GENEVE_REMOTE, c.remote.subarray(0, 4))
    b.attrU8(L.IFLA_GENEVE_UDP_CSUM, c.csum ? 1 : 0)
  } else if (!c.external) {
    b.attr(L.IFLA_GENEVE_REMOTE6, c.remote)
    b.attrU8(L.IFLA_GENEVE_UDP_ZERO_CSUM6_TX, c.csum ? 0 : 1)
  }
  b.attrU8(L.IFLA_GENEVE_TTL, c.ttl)
  b.attrU8(L.IFLA_GENEVE_TOS, c.tos)
  b.attrBe32(L.IFLA_GENEVE_LABEL, c.label)
  b.attrU8(L.IFLA_GENEVE_DF, c.df)
  b.attrBe16(L.IFLA_GENEVE_PORT, c.port)
  if (c.external) b.attrFlag(L.IFLA_GENEVE_COLLECT_METADATA)
  b.attrU8(L.IFLA_GENEVE_UDP_ZERO_CSUM6_RX, c.udp6Csum ? 0 : 1)
  b.attrU8(L.IFLA_GENEVE_TTL_INHERIT, c.ttlInherit ? 1 : 0)
}

/** geneve_open: the port must not be another kind's. External devices have sockets of both families. */
export function open(a: Arena, dev: number): void {
  const port = a.m[(dev + N.NETDEV_TP_DST) >> 2]
  for (let i = 1; i < N.NETDEV_MAX; i++) {
    const other = slot(a, i)
    if (other === dev || a.m[(other + N.NETDEV_TP_DST) >> 2] !== port) continue
    const kind = a.m[(other + N.NETDEV_KIND) >> 2]
    if (kind === N.NETDEV_KIND_NONE || kind === N.NETDEV_KIND_GENEVE) continue
    if (a.m[(other + N.NETDEV_FLAGS) >> 2] & N.IFF_UP) refuse(EADDRINUSE, '')
  }
}
