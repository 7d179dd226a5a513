// bareudp: MPLS or IP packets behind nothing but UDP (RFC 7510 for MPLS). Always external.
//
// What the outer headers say is bareudp_xmit_skb of Linux 6.1: ttl as the metadata have it, 0 when nobody said one; the
// UDP port is the device's. It takes only packets of its EtherType: HEADER_ETHERTYPES has it, and with multiproto the
// other one of its kind. The inner Ethernet header does not travel. One file, as there is little to tell such a device.

import type { Arena } from '../memory/arena.ts'
import * as T from '../memory/layout/action.ts'
import { BAREUDP_ETHERTYPE, BAREUDP_MULTIPROTO, BAREUDP_SPORT_MIN } from '../memory/layout/bareudp.ts'
import { HEADER_F_CSUM, HEADER_F_DF_SET, HEADER_F_LOOKS, HEADER_F_UDP, HEADER_F_WHOLE } from '../memory/layout/encap.ts'
import * as N from '../memory/layout/netdev.ts'
import { SLOW_NO_KEY, SLOW_NONE } from '../memory/layout/slow.ts'
import { SUPER_NETDEVS } from '../memory/layout/super.ts'
import { attrLen, type Builder, parseAttrs } from '../wire/netlink.ts'
import { EADDRINUSE, EBUSY, EINVAL, EOPNOTSUPP, ERANGE, NetlinkError } from '../wire/netlink_error.ts'
import * as L from '../wire/rtm_link.ts'
import { AF_INET, AF_INET6 } from '../wire/rtm_route.ts'
import { LOCAL_PORT_MAX, LOCAL_PORT_MIN, type Outer, type TunnelType } from './tunnel.ts'

const IPPROTO_UDP = 17
const UDP_LEN = 8
const ETH_LEN = 14
/** IPV4_MIN_MTU, IP_MAX_MTU less the driver's header. */
const MTU_RANGE = [68, 65535 - UDP_LEN] as const
// EtherTypes as on the wire, loaded little-endian.
const BE_MPLS_UC = 0x4788
const BE_MPLS_MC = 0x4888
const BE_IP = 0x0008
const BE_IPV6 = 0xdd86

const tb = new Int32Array(L.IFLA_BAREUDP_MULTIPROTO_MODE + 1)
const refuse = (errno: number, message = '', at?: number): never => {
  throw new NetlinkError(errno, message, at ? at - 4 : undefined)
}
const slot = (a: Arena, i: number): number => a.m[SUPER_NETDEVS >> 2] + i * N.NETDEV_SIZE

/** bareudp_validate, bareudp2info, bareudp_configure. */
function newlink(a: Arena, dev: number, d: DataView, data: number, end: number, mtu: number): void {
  if (end === 0) refuse(EINVAL, 'Not enough attributes provided to perform the operation')
  parseAttrs(d, data, end, tb, tb.length - 1)
  for (const t of [L.IFLA_BAREUDP_PORT, L.IFLA_BAREUDP_ETHERTYPE, L.IFLA_BAREUDP_SRCPORT_MIN])
    if (tb[t] !== 0 && attrLen(d, tb[t]) < 2) refuse(ERANGE, 'Attribute failed policy validation', tb[t])
  if (!tb[L.IFLA_BAREUDP_PORT]) refuse(EINVAL, 'port not specified')
  if (!tb[L.IFLA_BAREUDP_ETHERTYPE]) refuse(EINVAL, 'ethertype not specified')
  const port = d.getUint16(tb[L.IFLA_BAREUDP_PORT], true)
  const ethertype = d.getUint16(tb[L.IFLA_BAREUDP_ETHERTYPE], true)
  const multiproto = tb[L.IFLA_BAREUDP_MULTIPROTO_MODE] !== 0
  for (let i = 1; i < N.NETDEV_MAX; i++) {
    const other = slot(a, i)
    if (other === dev || a.m[(other + N.NETDEV_KIND) >> 2] !== N.NETDEV_KIND_BAREUDP) continue
    if (a.m[(other + N.NETDEV_TP_DST) >> 2] === port)
      refuse(EBUSY, 'Another bareudp device using the same port already exists')
  }
  if (multiproto && ethertype !== BE_MPLS_UC && ethertype !== BE_IP)
    refuse(EINVAL, 'Cannot set multiproto mode for this ethertype (only IPv4 and unicast MPLS are supported)')
  const { m } = a
  a.d.setUint16(dev + BAREUDP_ETHERTYPE, ethertype, true)
  const first = tb[L.IFLA_BAREUDP_SRCPORT_MIN]
  a.d.setUint16(dev + BAREUDP_SPORT_MIN, first ? d.getUint16(first, true) : 0, true)
  a.d.setUint16(dev + BAREUDP_MULTIPROTO, multiproto ? 1 : 0, true)
  m[(dev + N.NETDEV_TP_DST) >> 2] = port
  m[(dev + N.NETDEV_FEATURES) >> 2] = N.NETDEV_F_EXTERNAL | N.NETDEV_F_L3 | N.NETDEV_F_UDP6_ZERO_CSUM_RX
  m[(dev + N.NETDEV_FLAGS) >> 2] = N.IFF_POINTOPOINT | N.IFF_NOARP | N.IFF_MULTICAST
  if (mtu) m[(dev + N.NETDEV_MTU) >> 2] = mtu
}

/** A bareudp device cannot be told anything later (no changelink). */
const changelink = (): void => refuse(EOPNOTSUPP, 'bareudp: the options of a device cannot be changed')

/** bareudp_fill_info. */
function fillInfo(a: Arena, dev: number, b: Builder): void {
  b.attrU16(L.IFLA_BAREUDP_PORT, a.m[(dev + N.NETDEV_TP_DST) >> 2])
  b.attrU16(L.IFLA_BAREUDP_ETHERTYPE, a.d.getUint16(dev + BAREUDP_ETHERTYPE, true))
  b.attrU16(L.IFLA_BAREUDP_SRCPORT_MIN, a.d.getUint16(dev + BAREUDP_SPORT_MIN, true))
  if (a.d.getUint16(dev + BAREUDP_MULTIPROTO, true)) b.attrFlag(L.IFLA_BAREUDP_MULTIPROTO_MODE)
}

function open(a: Arena, dev: number): void {
  for (let i = 1; i < N.NETDEV_MAX; i++) {
    const other = slot(a, i)
    if (other === dev || a.m[(other + N.NETDEV_KIND) >> 2] === N.NETDEV_KIND_NONE) continue
    if (a.m[(other + N.NETDEV_TP_DST) >> 2] !== a.m[(dev + N.NETDEV_TP_DST) >> 2]) continue
    if (a.m[(other + N.NETDEV_FLAGS) >> 2] & N.IFF_UP) refuse(EADDRINUSE)
  }
}

function outer(a: Arena, dev: number, tun: number, out: Outer): number {
  if (tun === 0 || !(a.m[(tun + T.TUN_MODE) >> 2] & T.TUN_TX)) return SLOW_NO_KEY
  const flags = a.m[(tun + T.TUN_FLAGS) >> 2]
  out.family = a.m[(tun + T.TUN_MODE) >> 2] & T.TUN_IPV6 ? AF_INET6 : AF_INET
  for (let i = 0; i < 16; i++) {
    out.src[i] = a.u8[tun + T.TUN_SRC + i]
    out.dst[i] = a.u8[tun + T.TUN_DST + i]
  }
  const min = a.d.getUint16(dev + BAREUDP_SPORT_MIN, true)
  const ethertype = a.d.getUint16(dev + BAREUDP_ETHERTYPE, true)
  const sibling = ethertype === BE_IP ? BE_IPV6 : BE_MPLS_MC
  out.oif = 0
  out.proto = IPPROTO_UDP
  out.tos = a.u8[tun + T.TUN_TOS]
  out.ttl = a.u8[tun + T.TUN_TTL]
  out.label = a.m[(tun + T.TUN_LABEL) >> 2]
  out.flags = HEADER_F_UDP | HEADER_F_LOOKS | HEADER_F_WHOLE | (flags & T.TUNNEL_CSUM ? HEADER_F_CSUM : 0)
  if (flags & T.TUNNEL_DONT_FRAGMENT && out.family === AF_INET) out.flags |= HEADER_F_DF_SET
  // The kernel begins at 0 when nobody said a port: the system's range is part of that.
  out.portMin = min || LOCAL_PORT_MIN
  out.portCount = (min ? 65535 : LOCAL_PORT_MAX) - out.portMin
  out.length = UDP_LEN
  out.extension = 0
  out.strip = ETH_LEN
  out.ethertypes = ethertype | (a.d.getUint16(dev + BAREUDP_MULTIPROTO, true) ? sibling << 16 : 0)
  out.innerMtu = 0
  return SLOW_NONE
}

function write(a: Arena, dev: number, _tun: number, _out: Outer, d: DataView, o: number): void {
  d.setUint16(o, 0)
  d.setUint16(o + 2, a.m[(dev + N.NETDEV_TP_DST) >> 2], true)
  d.setUint32(o + 4, 0)
}

export const bareudp: TunnelType = {
  name: 'bareudp',
  kind: N.NETDEV_KIND_BAREUDP,
  proto: IPPROTO_UDP,
  newlink,
  changelink,
  dellink: () => {},
  fillInfo,
  open,
  mtuRange: () => MTU_RANGE,
  outer,
  write,
}
