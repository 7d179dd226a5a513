// The parameters of gre and gretap devices: IFLA_GRE_* to the slot and back (ipgre_tunnel_validate, ipgre_tap_validate,
// ipgre_netlink_parms, ip_tunnel_newlink, ip_tunnel_bind_dev, ipgre_fill_info of Linux 6.1).
//
// There may be one external device of a kind; others have a remote of their own, and their metadata are a tun_info made
// here. What would make a header depend on more than the packet (sequence numbers), or put another header in front (fou,
// gue), and many-to-many devices without a remote are refused by name. Runs under rtnl.

import type { Arena } from '../memory/arena.ts'
import * as T from '../memory/layout/action.ts'
import * as N from '../memory/layout/netdev.ts'
import { SUPER_NETDEVS } from '../memory/layout/super.ts'
import { alloc, freeRcu, TAG_TUN_INFO } from '../memory/pool.ts'
import { isAny } from '../net/inet.ts'
import { lookup } from '../net/route.ts'
import { attrLen, type Builder, parseAttrs } from '../wire/netlink.ts'
import { EEXIST, EINVAL, EOPNOTSUPP, ERANGE, NetlinkError } from '../wire/netlink_error.ts'
import * as L from '../wire/rtm_link.ts'
import { AF_INET } from '../wire/rtm_route.ts'

// ---- NETDEV_PRIV of a GRE device
/** ifindex of `dev`, 0 without. @under rtnl */
export const GRE_LINK = N.NETDEV_PRIV
/** IFLA_GRE_IKEY, IFLA_GRE_OKEY, host order. @under rtnl */
export const GRE_IKEY = N.NETDEV_PRIV + 4
export const GRE_OKEY = N.NETDEV_PRIV + 8
/** GRE_* of IFLA_GRE_IFLAGS and IFLA_GRE_OFLAGS, as host numbers. u16 each. @under rtnl */
export const GRE_IFLAGS = N.NETDEV_PRIV + 12
export const GRE_OFLAGS = N.NETDEV_PRIV + 14
/** u8 each: DF on every outer header; DF of the inner packet does not count. @under rtnl */
export const GRE_PMTUDISC = N.NETDEV_PRIV + 16
export const GRE_IGNORE_DF = N.NETDEV_PRIV + 17
/** @under rtnl */
export const GRE_FWMARK = N.NETDEV_PRIV + 20

const MIN_MTU = 68
const ETH_DATA_LEN = 1500
const ETH_LEN = 14
const IPV4_LEN = 20
const VERSION_OR_ROUTING = 0x4007
const GRE_HEADER_CSUM = 0x8000
const GRE_HEADER_KEY = 0x2000
const GRE_HEADER_SEQ = 0x1000

interface Config {
  external: boolean
  link: number
  iflags: number
  oflags: number
  ikey: number
  okey: number
  local: Uint8Array
  remote: Uint8Array
  ttl: number
  tos: number
  pmtudisc: boolean
  ignoreDf: boolean
  fwmark: number
}

const tb = new Int32Array(L.IFLA_GRE_ERSPAN_HWID + 1)
/** Least payload by attribute type (ipgre_policy). */
const LEAST: Record<number, number> = {
  [L.IFLA_GRE_LINK]: 4,
  [L.IFLA_GRE_IFLAGS]: 2,
  [L.IFLA_GRE_OFLAGS]: 2,
  [L.IFLA_GRE_IKEY]: 4,
  [L.IFLA_GRE_OKEY]: 4,
  [L.IFLA_GRE_LOCAL]: 4,
  [L.IFLA_GRE_REMOTE]: 4,
  [L.IFLA_GRE_TTL]: 1,
  [L.IFLA_GRE_TOS]: 1,
  [L.IFLA_GRE_PMTUDISC]: 1,
  [L.IFLA_GRE_ENCAP_TYPE]: 2,
  [L.IFLA_GRE_IGNORE_DF]: 1,
  [L.IFLA_GRE_FWMARK]: 4,
}

const refuse = (errno: number, message = '', at?: number): never => {
  throw new NetlinkError(errno, message, at ? at - 4 : undefined)
}
const isEthernet = (a: Arena, dev: number): boolean => a.m[(dev + N.NETDEV_KIND) >> 2] !== N.NETDEV_KIND_GRE

const address = (d: DataView, at: number): Uint8Array => {
  const out = new Uint8Array(16)
  if (at) for (let i = 0; i < 4; i++) out[i] = d.getUint8(at + i)
  return out
}

function parse(d: DataView, data: number, end: number, ethernet: boolean, c: Config | null): Config {
  if (end === 0) tb.fill(0)
  else parseAttrs(d, data, end, tb, tb.length - 1)
  for (let t = 1; t < tb.length; t++)
    if (tb[t] !== 0 && attrLen(d, tb[t]) < (LEAST[t] ?? 0)) refuse(ERANGE, 'Attribute failed policy validation', tb[t])
  const be16 = (t: number): number => (tb[t] ? d.getUint16(tb[t]) : 0)
  const be32 = (t: number): number => (tb[t] ? d.getUint32(tb[t]) : 0)
  const u8 = (t: number): number => (tb[t] ? d.getUint8(tb[t]) : 0)
  const flags = be16(L.IFLA_GRE_IFLAGS) | be16(L.IFLA_GRE_OFLAGS)
  if (flags & VERSION_OR_ROUTING) refuse(EINVAL)
  if (tb[L.IFLA_GRE_COLLECT_METADATA] && tb[L.IFLA_GRE_ENCAP_TYPE] && d.getUint16(tb[L.IFLA_GRE_ENCAP_TYPE], true))
    refuse(EINVAL)
  const remote = address(d, tb[L.IFLA_GRE_REMOTE])
  if (ethernet && tb[L.IFLA_GRE_REMOTE] && isAny(remote)) refuse(EINVAL)
  const pmtudisc = !tb[L.IFLA_GRE_PMTUDISC] || u8(L.IFLA_GRE_PMTUDISC) !== 0
  if (u8(L.IFLA_GRE_IGNORE_DF) && pmtudisc) refuse(EINVAL)
  if (flags & GRE_HEADER_SEQ) refuse(EOPNOTSUPP, 'gre: sequence numbers are not supported')
  if (tb[L.IFLA_GRE_ENCAP_TYPE] && d.getUint16(tb[L.IFLA_GRE_ENCAP_TYPE], true) !== L.TUNNEL_ENCAP_NONE)
    refuse(EOPNOTSUPP, 'gre: encap fou and gue are not supported', tb[L.IFLA_GRE_ENCAP_TYPE])
  const external = tb[L.IFLA_GRE_COLLECT_METADATA] !== 0 || c?.external === true
  if (!external && isAny(remote)) refuse(EOPNOTSUPP, 'gre: a device without a remote is not supported')
  return {
    external,
    link: tb[L.IFLA_GRE_LINK] ? d.getUint32(tb[L.IFLA_GRE_LINK], true) : 0,
    iflags: be16(L.IFLA_GRE_IFLAGS),
    oflags: be16(L.IFLA_GRE_OFLAGS),
    ikey: be32(L.IFLA_GRE_IKEY),
    okey: be32(L.IFLA_GRE_OKEY),
    local: address(d, tb[L.IFLA_GRE_LOCAL]),
    remote,
    ttl: u8(L.IFLA_GRE_TTL),
    tos: u8(L.IFLA_GRE_TOS),
    pmtudisc,
    ignoreDf: u8(L.IFLA_GRE_IGNORE_DF) !== 0,
    fwmark: tb[L.IFLA_GRE_FWMARK] ? d.getUint32(tb[L.IFLA_GRE_FWMARK], true) : 0,
  }
}

function read(a: Arena, dev: number): Config {
  const tun = a.m[(dev + N.NETDEV_TUN) >> 2]
  const at = (field: number): Uint8Array => (tun === 0 ? new Uint8Array(16) : a.u8.slice(tun + field, tun + field + 16))
  return {
    external: (a.m[(dev + N.NETDEV_FEATURES) >> 2] & N.NETDEV_F_EXTERNAL) !== 0,
    link: a.m[(dev + GRE_LINK) >> 2],
    iflags: a.d.getUint16(dev + GRE_IFLAGS, true),
    oflags: a.d.getUint16(dev + GRE_OFLAGS, true),
    ikey: a.m[(dev + GRE_IKEY) >> 2] >>> 0,
    okey: a.m[(dev + GRE_OKEY) >> 2] >>> 0,
    local: at(T.TUN_SRC),
    remote: at(T.TUN_DST),
    ttl: tun === 0 ? 0 : a.u8[tun + T.TUN_TTL],
    tos: tun === 0 ? 0 : a.u8[tun + T.TUN_TOS],
    pmtudisc: a.u8[dev + GRE_PMTUDISC] !== 0,
    ignoreDf: a.u8[dev + GRE_IGNORE_DF] !== 0,
    fwmark: a.m[(dev + GRE_FWMARK) >> 2] >>> 0,
  }
}

/** ip_tunnel_find: would a packet find two devices? */
function validate(a: Arena, self: number, c: Config): void {
  const kind = a.m[(self + N.NETDEV_KIND) >> 2]
  for (let i = 1; i < N.NETDEV_MAX; i++) {
    const dev = a.m[SUPER_NETDEVS >> 2] + i * N.NETDEV_SIZE
    if (dev === self || a.m[(dev + N.NETDEV_KIND) >> 2] !== kind) continue
    const o = read(a, dev)
    const same = (x: Uint8Array, y: Uint8Array): boolean => x.every((b, k) => b === y[k])
    const found = same(o.local, c.local) && same(o.remote, c.remote) && o.link === c.link && o.ikey === c.ikey
    if (c.external ? o.external : !o.external && found) refuse(EEXIST)
  }
}

function write(a: Arena, dev: number, c: Config): void {
  const { m, u8, d } = a
  m[(dev + GRE_LINK) >> 2] = c.link
  m[(dev + GRE_IKEY) >> 2] = c.ikey
  m[(dev + GRE_OKEY) >> 2] = c.okey
  d.setUint16(dev + GRE_IFLAGS, c.iflags, true)
  d.setUint16(dev + GRE_OFLAGS, c.oflags, true)
  u8[dev + GRE_PMTUDISC] = c.pmtudisc ? 1 : 0
  u8[dev + GRE_IGNORE_DF] = c.ignoreDf ? 1 : 0
  m[(dev + GRE_FWMARK) >> 2] = c.fwmark
  m[(dev + N.NETDEV_FEATURES) >> 2] = (c.external ? N.NETDEV_F_EXTERNAL : 0) | (isEthernet(a, dev) ? 0 : N.NETDEV_F_L3)
  const old = m[(dev + N.NETDEV_TUN) >> 2]
  m[(dev + N.NETDEV_TUN) >> 2] = c.external ? 0 : tunInfo(a, c)
  if (old) freeRcu(a, old, T.TUN_SIZE, TAG_TUN_INFO)
}

function tunInfo(a: Arena, c: Config): number {
  const p = alloc(a, T.TUN_SIZE, TAG_TUN_INFO)
  a.m[(p + T.TUN_MODE) >> 2] = T.TUN_TX
  a.m[(p + T.TUN_FLAGS) >> 2] =
    (c.oflags & GRE_HEADER_CSUM ? T.TUNNEL_CSUM : 0) | (c.oflags & GRE_HEADER_KEY ? T.TUNNEL_KEY : 0)
  a.m[(p + T.TUN_ID) >> 2] = c.okey
  a.u8.set(c.local, p + T.TUN_SRC)
  a.u8.set(c.remote, p + T.TUN_DST)
  a.u8[p + T.TUN_TOS] = c.tos
  a.u8[p + T.TUN_TTL] = c.ttl
  a.m[(p + T.TUN_REFCNT) >> 2] = 1
  return p
}

/** ip_tunnel_bind_dev: the MTU of the way to the remote, less what is put in front. */
function setMtu(a: Arena, dev: number, c: Config, asked: number): void {
  let mtu = ETH_DATA_LEN
  if (!isAny(c.remote)) {
    const route = lookup(a, AF_INET, c.remote, { src: c.local, oif: c.link, tos: c.tos & 0x1e })
    if (route.errno === 0) mtu = a.m[(route.dev + N.NETDEV_MTU) >> 2]
  }
  const gre = 4 + (c.oflags & GRE_HEADER_CSUM ? 4 : 0) + (c.oflags & GRE_HEADER_KEY ? 4 : 0)
  mtu -= IPV4_LEN + gre + (isEthernet(a, dev) ? ETH_LEN : 0)
  a.m[(dev + N.NETDEV_MTU) >> 2] = asked || Math.max(mtu, MIN_MTU)
}

/** ip_tunnel_newlink. See TunnelType.newlink. */
export function newlink(a: Arena, dev: number, d: DataView, data: number, end: number, mtu: number): void {
  const c = parse(d, data, end, isEthernet(a, dev), null)
  validate(a, dev, c)
  write(a, dev, c)
  setMtu(a, dev, c, mtu)
}

/** ip_tunnel_changelink: what is not said is not kept. */
export function changelink(a: Arena, dev: number, d: DataView, data: number, end: number): void {
  const c = parse(d, data, end, isEthernet(a, dev), read(a, dev))
  validate(a, dev, c)
  write(a, dev, c)
}

export function dellink(a: Arena, dev: number): void {
  const tun = a.m[(dev + N.NETDEV_TUN) >> 2]
  a.m[(dev + N.NETDEV_TUN) >> 2] = 0
  if (tun) freeRcu(a, tun, T.TUN_SIZE, TAG_TUN_INFO)
}

/** ipgre_fill_info: same attributes, same order. */
export function fillInfo(a: Arena, dev: number, b: Builder): void {
  const c = read(a, dev)
  b.attrU32(L.IFLA_GRE_LINK, c.link)
  b.attrBe16(L.IFLA_GRE_IFLAGS, c.iflags)
  b.attrBe16(L.IFLA_GRE_OFLAGS, c.oflags)
  b.attrBe32(L.IFLA_GRE_IKEY, c.ikey)
  b.attrBe32(L.IFLA_GRE_OKEY, c.okey)
  b.attr(L.IFLA_GRE_LOCAL, c.local.subarray(0, 4))
  b.attr(L.IFLA_GRE_REMOTE, c.remote.subarray(0, 4))
  b.attrU8(L.IFLA_GRE_TTL, c.ttl)
  b.attrU8(L.IFLA_GRE_TOS, c.tos)
  b.attrU8(L.IFLA_GRE_PMTUDISC, c.pmtudisc ? 1 : 0)
  b.attrU32(L.IFLA_GRE_FWMARK, c.fwmark)
  b.attrU16(L.IFLA_GRE_ENCAP_TYPE, L.TUNNEL_ENCAP_NONE)
  b.attrBe16(L.IFLA_GRE_ENCAP_SPORT, 0)
  b.attrBe16(L.IFLA_GRE_ENCAP_DPORT, 0)
  b.attrU16(L.IFLA_GRE_ENCAP_FLAGS, 0)
  b.attrU8(L.IFLA_GRE_IGNORE_DF, c.ignoreDf ? 1 : 0)
  if (c.external) b.attrFlag(L.IFLA_GRE_COLLECT_METADATA)
}
