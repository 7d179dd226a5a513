// What `ip link` may say about a vxlan device, and what must fit together (drivers/net/vxlan/vxlan_core.c of Linux 6.1:
// vxlan_validate, vxlan_nl2conf, vxlan_config_validate), with the kernel's refusals.
//
// Pure: attributes to a Config, no arena. What a device may be asked to do and this switch does not do (gpe, proxy, rsc,
// l2miss, l3miss, remote checksum, vnifilter) is refused by name. Learning is accepted, as it is the default, and nothing
// is learned: a classic device sends everything to its remote.

import { isAny, isLinkLocal, isMulticast } from '../net/inet.ts'
import { attrLen, parseAttrs } from '../wire/netlink.ts'
import { EINVAL, ENODEV, EOPNOTSUPP, ERANGE, NetlinkError } from '../wire/netlink_error.ts'
import * as L from '../wire/rtm_link.ts'
import { AF_INET, AF_INET6 } from '../wire/rtm_route.ts'

// Flags of include/net/vxlan.h.
export const VXLAN_F_LEARN = 0x01
export const VXLAN_F_PROXY = 0x02
export const VXLAN_F_RSC = 0x04
export const VXLAN_F_L2MISS = 0x08
export const VXLAN_F_L3MISS = 0x10
export const VXLAN_F_IPV6 = 0x20
export const VXLAN_F_UDP_ZERO_CSUM_TX = 0x40
export const VXLAN_F_UDP_ZERO_CSUM6_TX = 0x80
export const VXLAN_F_UDP_ZERO_CSUM6_RX = 0x100
export const VXLAN_F_REMCSUM_TX = 0x200
export const VXLAN_F_REMCSUM_RX = 0x400
export const VXLAN_F_GBP = 0x800
export const VXLAN_F_REMCSUM_NOPARTIAL = 0x1000
export const VXLAN_F_COLLECT_METADATA = 0x2000
export const VXLAN_F_GPE = 0x4000
export const VXLAN_F_IPV6_LINKLOCAL = 0x8000
export const VXLAN_F_TTL_INHERIT = 0x10000
/** Devices that share a socket agree in these. */
export const VXLAN_F_RCV_FLAGS = VXLAN_F_GBP | VXLAN_F_UDP_ZERO_CSUM6_RX | VXLAN_F_COLLECT_METADATA

const VNI_LIMIT = 1 << 24
/** The kernel's default port, older than IANA's 4789. */
const DEFAULT_PORT = 8472
const DEFAULT_AGEING = 300
/** Flag attributes: type, VXLAN_F_*, name in messages, NLA_FLAG instead of u8, changeable later, done by this switch. */
const FLAGS = [
  [L.IFLA_VXLAN_TTL_INHERIT, VXLAN_F_TTL_INHERIT, 'TTL_INHERIT', true, false, true],
  [L.IFLA_VXLAN_LEARNING, VXLAN_F_LEARN, 'LEARNING', false, true, true],
  [L.IFLA_VXLAN_PROXY, VXLAN_F_PROXY, 'PROXY', false, false, false],
  [L.IFLA_VXLAN_RSC, VXLAN_F_RSC, 'RSC', false, false, false],
  [L.IFLA_VXLAN_L2MISS, VXLAN_F_L2MISS, 'L2MISS', false, false, false],
  [L.IFLA_VXLAN_L3MISS, VXLAN_F_L3MISS, 'L3MISS', false, false, false],
  [L.IFLA_VXLAN_COLLECT_METADATA, VXLAN_F_COLLECT_METADATA, 'COLLECT_METADATA', false, false, true],
  [L.IFLA_VXLAN_UDP_ZERO_CSUM6_TX, VXLAN_F_UDP_ZERO_CSUM6_TX, 'UDP_ZERO_CSUM6_TX', false, false, true],
  [L.IFLA_VXLAN_UDP_ZERO_CSUM6_RX, VXLAN_F_UDP_ZERO_CSUM6_RX, 'UDP_ZERO_CSUM6_RX', false, false, true],
  [L.IFLA_VXLAN_REMCSUM_TX, VXLAN_F_REMCSUM_TX, 'REMCSUM_TX', false, false, false],
  [L.IFLA_VXLAN_REMCSUM_RX, VXLAN_F_REMCSUM_RX, 'REMCSUM_RX', false, false, false],
  [L.IFLA_VXLAN_GBP, VXLAN_F_GBP, 'GBP', true, false, true],
  [L.IFLA_VXLAN_GPE, VXLAN_F_GPE, 'GPE', true, false, false],
  [L.IFLA_VXLAN_REMCSUM_NOPARTIAL, VXLAN_F_REMCSUM_NOPARTIAL, 'REMCSUM_NOPARTIAL', true, false, false],
  [L.IFLA_VXLAN_VNIFILTER, 0x20000, 'VNIFILTER', false, false, false],
] as const

/** Least payload by attribute type (vxlan_policy); flags need none. */
const LEAST: Record<number, number> = {
  [L.IFLA_VXLAN_ID]: 4,
  [L.IFLA_VXLAN_GROUP]: 4,
  [L.IFLA_VXLAN_GROUP6]: 16,
  [L.IFLA_VXLAN_LINK]: 4,
  [L.IFLA_VXLAN_LOCAL]: 4,
  [L.IFLA_VXLAN_LOCAL6]: 16,
  [L.IFLA_VXLAN_TOS]: 1,
  [L.IFLA_VXLAN_TTL]: 1,
  [L.IFLA_VXLAN_LABEL]: 4,
  [L.IFLA_VXLAN_AGEING]: 4,
  [L.IFLA_VXLAN_LIMIT]: 4,
  [L.IFLA_VXLAN_PORT_RANGE]: 4,
  [L.IFLA_VXLAN_PORT]: 2,
  [L.IFLA_VXLAN_UDP_CSUM]: 1,
  [L.IFLA_VXLAN_DF]: 1,
}
for (const [type, , , flag] of FLAGS) if (!flag) LEAST[type] = 1

/** struct vxlan_config. */
export interface Config {
  flags: number
  vni: number
  /** 0 while neither address was given. */
  remoteFamily: number
  localFamily: number
  remote: Uint8Array
  local: Uint8Array
  link: number
  tos: number
  ttl: number
  df: number
  label: number
  ageing: number
  limit: number
  portMin: number
  portMax: number
  port: number
}

export const emptyConfig = (): Config => ({
  flags: 0,
  vni: 0,
  remoteFamily: 0,
  localFamily: 0,
  remote: new Uint8Array(16),
  local: new Uint8Array(16),
  link: 0,
  tos: 0,
  ttl: 0,
  df: L.VXLAN_DF_UNSET,
  label: 0,
  ageing: 0,
  limit: 0,
  portMin: 0,
  portMax: 0,
  port: 0,
})

const tb = new Int32Array(L.IFLA_VXLAN_VNIFILTER + 1)

export const refuse = (errno: number, message: string, at?: number): never => {
  throw new NetlinkError(errno, message, at === undefined || at === 0 ? undefined : at - 4)
}

/** vxlan_validate: lengths and ranges that do not depend on the device. */
export function parse(d: DataView, data: number, end: number): void {
  if (end === 0) refuse(EINVAL, 'Required attributes not provided to perform the operation')
  parseAttrs(d, data, end, tb, L.IFLA_VXLAN_VNIFILTER)
  for (let t = 1; t <= L.IFLA_VXLAN_VNIFILTER; t++)
    if (tb[t] !== 0 && attrLen(d, tb[t]) < (LEAST[t] ?? 0)) refuse(ERANGE, 'Attribute failed policy validation', tb[t])
  const id = tb[L.IFLA_VXLAN_ID]
  if (id && d.getUint32(id, true) >= VNI_LIMIT) refuse(ERANGE, 'VXLAN ID must be lower than 16777216', id)
  const range = tb[L.IFLA_VXLAN_PORT_RANGE]
  if (range && d.getUint16(range + 2) < d.getUint16(range)) refuse(EINVAL, 'Invalid source port range', range)
  const df = tb[L.IFLA_VXLAN_DF]
  if (df && d.getUint8(df) > L.VXLAN_DF_INHERIT) refuse(EINVAL, 'Invalid DF attribute', df)
}

function address(d: DataView, at: number, n: number): Uint8Array {
  const out = new Uint8Array(16)
  for (let i = 0; i < n; i++) out[i] = d.getUint8(at + i)
  return out
}

/** vxlan_nl2conf: what the attributes say, over what the device has (`change`) or over nothing. */
export function apply(c: Config, d: DataView, change: boolean): void {
  const fixed = (type: number, message: string): void => {
    if (change && tb[type]) refuse(EOPNOTSUPP, message, tb[type])
  }
  const id = tb[L.IFLA_VXLAN_ID]
  if (id) {
    if (change && d.getUint32(id, true) !== c.vni) refuse(EOPNOTSUPP, 'Cannot change VNI', id)
    c.vni = d.getUint32(id, true)
  }
  for (const [type, family, n] of [
    [L.IFLA_VXLAN_GROUP, AF_INET, 4],
    [L.IFLA_VXLAN_GROUP6, AF_INET6, 16],
  ] as const) {
    if (!tb[type] || (type === L.IFLA_VXLAN_GROUP6 && tb[L.IFLA_VXLAN_GROUP])) continue
    if (change && c.remoteFamily !== family)
      refuse(EOPNOTSUPP, 'New group address family does not match old group', tb[type])
    c.remote = address(d, tb[type], n)
    c.remoteFamily = family
  }
  for (const [type, family, n] of [
    [L.IFLA_VXLAN_LOCAL, AF_INET, 4],
    [L.IFLA_VXLAN_LOCAL6, AF_INET6, 16],
  ] as const) {
    if (!tb[type] || (type === L.IFLA_VXLAN_LOCAL6 && tb[L.IFLA_VXLAN_LOCAL])) continue
    if (change && c.localFamily !== family) refuse(EOPNOTSUPP, 'New local address family does not match old', tb[type])
    c.local = address(d, tb[type], n)
    c.localFamily = family
  }
  if (tb[L.IFLA_VXLAN_LINK]) c.link = d.getUint32(tb[L.IFLA_VXLAN_LINK], true)
  if (tb[L.IFLA_VXLAN_TOS]) c.tos = d.getUint8(tb[L.IFLA_VXLAN_TOS])
  if (tb[L.IFLA_VXLAN_TTL]) c.ttl = d.getUint8(tb[L.IFLA_VXLAN_TTL])
  if (tb[L.IFLA_VXLAN_LABEL]) c.label = d.getUint32(tb[L.IFLA_VXLAN_LABEL]) & 0xfffff
  if (tb[L.IFLA_VXLAN_AGEING]) c.ageing = d.getUint32(tb[L.IFLA_VXLAN_AGEING], true)
  fixed(L.IFLA_VXLAN_LIMIT, 'Cannot change limit')
  if (tb[L.IFLA_VXLAN_LIMIT]) c.limit = d.getUint32(tb[L.IFLA_VXLAN_LIMIT], true)
  const range = tb[L.IFLA_VXLAN_PORT_RANGE]
  fixed(L.IFLA_VXLAN_PORT_RANGE, 'Cannot change port range')
  if (range) {
    c.portMin = d.getUint16(range)
    c.portMax = d.getUint16(range + 2)
  }
  fixed(L.IFLA_VXLAN_PORT, 'Cannot change port')
  if (tb[L.IFLA_VXLAN_PORT]) c.port = d.getUint16(tb[L.IFLA_VXLAN_PORT])
  fixed(L.IFLA_VXLAN_UDP_CSUM, 'Cannot change UDP_CSUM flag')
  if (tb[L.IFLA_VXLAN_UDP_CSUM] && d.getUint8(tb[L.IFLA_VXLAN_UDP_CSUM]) === 0) c.flags |= VXLAN_F_UDP_ZERO_CSUM_TX
  if (tb[L.IFLA_VXLAN_DF]) c.df = d.getUint8(tb[L.IFLA_VXLAN_DF])

  if (!change) c.flags |= VXLAN_F_LEARN
  for (const [type, bit, name, flag, changeable, done] of FLAGS) {
    const at = tb[type]
    if (!at) continue
    if (change && !changeable) refuse(EOPNOTSUPP, `vxlan: cannot change ${name} flag`, at)
    if (flag || d.getUint8(at) !== 0) c.flags |= bit
    else c.flags &= ~bit
    if (!done && c.flags & bit) refuse(EOPNOTSUPP, `vxlan: ${name} is not supported`, at)
  }
}

/** vxlan_config_validate: what must fit together; fills in defaults. `lower`: does the device `c.link` exist? */
export function validate(c: Config, lower: boolean): void {
  if (!c.remoteFamily) c.remoteFamily = c.localFamily || AF_INET
  if (!c.localFamily) c.localFamily = c.remoteFamily
  if (c.localFamily !== c.remoteFamily) refuse(EINVAL, 'Local and remote address must be from the same family')
  if (isMulticast(c.localFamily, c.local)) refuse(EINVAL, 'Local address cannot be multicast')
  const ipv6 = c.localFamily === AF_INET6
  if (ipv6) {
    c.flags |= VXLAN_F_IPV6
    if (!(c.flags & VXLAN_F_COLLECT_METADATA)) {
      const scopes = 'Invalid combination of local and remote address scopes'
      if (isLinkLocal(AF_INET6, c.local)) {
        if (!isLinkLocal(AF_INET6, c.remote) && !isAny(c.remote)) refuse(EINVAL, scopes)
        c.flags |= VXLAN_F_IPV6_LINKLOCAL
      } else {
        if (isLinkLocal(AF_INET6, c.remote)) refuse(EINVAL, scopes)
        c.flags &= ~VXLAN_F_IPV6_LINKLOCAL
      }
    }
  }
  if (c.label && !ipv6) refuse(EINVAL, 'Label attribute only applies to IPv6 VXLAN devices')
  if (c.link) {
    if (!lower) refuse(ENODEV, 'Invalid local interface, device not found')
  } else {
    if (isMulticast(c.remoteFamily, c.remote))
      refuse(EINVAL, 'Local interface required for multicast remote destination')
    if (c.flags & VXLAN_F_IPV6_LINKLOCAL)
      refuse(EINVAL, 'Local interface required for link-local local/remote addresses')
  }
  if (!c.port) c.port = DEFAULT_PORT
  if (!c.ageing) c.ageing = DEFAULT_AGEING
  if (c.flags & VXLAN_F_COLLECT_METADATA && c.vni)
    refuse(EOPNOTSUPP, 'vxlan: an external device with a VNI is not supported')
}
