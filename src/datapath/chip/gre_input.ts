// GRE received: the header (RFC 2784, RFC 2890), the device, what it carries (net/ipv4/gre_demux.c: gre_parse_header;
// net/ipv4/ip_gre.c: gre_rcv, ipgre_rcv, erspan_rcv; net/ipv6/ip6_gre.c: gre_rcv; ip_tunnel_rcv, __ip6_tnl_rcv).
//
// Over IPv4 there is a family of devices for each thing that is carried: Ethernet frames go to gretap, or else to gre,
// which takes them for a protocol like others; mirrored frames go to erspan, all else to gre. Over IPv6 the kinds are one
// family, in which a device of Ethernet frames takes only those, unless it is the external one. What nobody wants is the
// host's, who says so to the sender.

import {
  TUN_DST,
  TUN_FLAGS,
  TUN_OPTS,
  TUN_OPTS_KIND,
  TUN_OPTS_LEN,
  TUNNEL_CSUM,
  TUNNEL_ERSPAN_OPT,
  TUNNEL_KEY,
  TUNNEL_SEQ,
} from '../../memory/layout/action.ts'
import { DROP_INNER_HEADER, DROP_TUNNEL_CSUM, DROP_TUNNEL_HEADER, DROP_TUNNEL_SEQ } from '../../memory/layout/drop.ts'
import { ENC_OPTS_ERSPAN } from '../../memory/layout/flow_key.ts'
import { GRE_F_CSUM, GRE_F_KEY, GRE_F_ROUTING, GRE_F_SEQ, GRE_IFLAGS } from '../../memory/layout/gre.ts'
import {
  NETDEV_F_L3,
  NETDEV_FEATURES,
  NETDEV_FLAGS,
  NETDEV_KIND,
  NETDEV_KIND_ERSPAN,
  NETDEV_KIND_GRE,
  NETDEV_KIND_GRETAP,
  NETDEV_KIND_IP6ERSPAN,
  NETDEV_KIND_IP6GRE,
  NETDEV_KIND_IP6GRETAP,
  NETDEV_SEQ_IN,
  NETDEV_TP_NEXT,
  NETDEV_TUN,
  IFF_UP,
} from '../../memory/layout/netdev.ts'
import { PKT_LEN, PKT_TUN, PKT_TUN_INFO } from '../../memory/layout/packet.ts'
import { sumWords } from './checksum.ts'
import { BE_IP, BE_IPV6, ETH_LEN } from './frame.ts'
import { addressAt, EXTERNAL, fits, ipTunnelOf, isExternal, KEYED, KEYLESS, NOBODY } from './ip_tunnel.ts'
import { drop } from './state.ts'
import { frameUp, outerTos, packetUp, protocolTunnel, setTunnel, typeBehindTags } from './tunnel_input.ts'

const IPPROTO_GRE: u32 = 47
// Protocol types, as loaded.
const BE_TEB: u32 = 0x5865
const BE_WCCP: u32 = 0x3e88
const BE_ERSPAN: u32 = 0xbe88
const BE_ERSPAN2: u32 = 0xeb22
/** struct erspan_base_hdr, and struct erspan_metadata as tunnel options. */
const ERSPAN_LEN: u32 = 4
const ERSPAN_OPTS_LEN: u32 = 12

// What the header of the packet at hand says: one packet at a time.
let flags: u32 = 0
let type: u32 = 0
let key: u32 = 0
let seq: u32 = 0

// @ts-ignore: decorator
@inline
function isErspan(): bool {
  return type == BE_ERSPAN || type == BE_ERSPAN2
}

/** gre_parse_header: fills what the header says. Its length; 0: it is none that may be received. `n`: bytes from it on. */
function parse(gre: usize, n: u32, family: u32): u32 {
  if (n < (family == 4 ? 12 : 4)) return 0
  flags = <u32>bswap<u16>(load<u16>(gre))
  if ((flags & (GRE_F_ROUTING | (family == 4 ? 0x7f : 7))) != 0) return 0
  let at: u32 = 4
  if ((flags & GRE_F_CSUM) != 0) at += 4
  key = 0
  if ((flags & GRE_F_KEY) != 0) {
    if (at + 4 <= n) key = bswap<u32>(load<u32>(gre + at))
    at += 4
  }
  seq = 0
  if ((flags & GRE_F_SEQ) != 0) {
    if (at + 4 <= n) seq = bswap<u32>(load<u32>(gre + at))
    at += 4
  }
  if (at > n || ((flags & GRE_F_CSUM) != 0 && sumWords(gre, n) != 0xffff)) return 0
  type = load<u16>(gre, 2)
  const known = flags & (GRE_F_CSUM | GRE_F_KEY | GRE_F_SEQ)
  if (flags == 0 && type == BE_WCCP) {
    if (n <= at) return 0
    type = family == 4 ? BE_IP : BE_IPV6
    if ((load<u8>(gre + at) & 0xf0) != 0x40) at += 4
  }
  flags = known
  // erspan has its session id for a key, except for version 0, which is nothing but a type.
  if ((type == BE_ERSPAN && at != 4) || type == BE_ERSPAN2) {
    if (at + ERSPAN_LEN > n) return 0
    key = <u32>bswap<u16>(load<u16>(gre + at, 2)) & 0x3ff
  }
  return at
}

const OTHER_TYPE: u32 = 8

/** The device of one of the kinds over IPv4, 0 when there is none. */
function deviceOver4(kind: u32, remote: v128, local: v128, iif: u32, keyless: bool): usize {
  const says: u32 = keyless ? KEYLESS : (flags & GRE_F_KEY) != 0 ? KEYED : 0
  return ipTunnelOf(IPPROTO_GRE, kind, remote, local, 4, iif, key, says)
}

/** The device over IPv6: one of Ethernet frames for those, one of layer 3 for all. */
function deviceOver6(remote: v128, local: v128, iif: u32): usize {
  const ethernet = type == BE_TEB || isErspan()
  const mirrored = isErspan()
  let found: usize = 0
  let best = NOBODY
  for (let dev = protocolTunnel(IPPROTO_GRE); dev != 0; dev = load<usize>(dev, NETDEV_TP_NEXT)) {
    const kind = load<u32>(dev, NETDEV_KIND)
    if (kind != NETDEV_KIND_IP6GRE && kind != NETDEV_KIND_IP6GRETAP && kind != NETDEV_KIND_IP6ERSPAN) continue
    if ((load<u32>(dev, NETDEV_FLAGS) & IFF_UP) == 0) continue
    let place = fits(dev, remote, local, 6, iif, key, 0)
    if (place < EXTERNAL) {
      if (kind != NETDEV_KIND_IP6GRE && !ethernet) place = isExternal(dev) ? EXTERNAL : NOBODY
      else if ((kind == NETDEV_KIND_IP6GRE) == ethernet) place += OTHER_TYPE
    }
    if (place == EXTERNAL && (kind == NETDEV_KIND_IP6ERSPAN) != mirrored) place = NOBODY
    if (place < best) {
      best = place
      found = dev
    }
  }
  return found
}

/** Has the packet what the device wants of checksum and sequence number? 0, or why it is dropped. */
function refuses(dev: usize): i32 {
  const want = <u32>load<u16>(dev, GRE_IFLAGS)
  if (((want ^ flags) & GRE_F_CSUM) != 0) return DROP_TUNNEL_CSUM
  if ((want & GRE_F_SEQ) == 0) return 0
  const least = load<u32>(dev, NETDEV_SEQ_IN)
  if ((flags & GRE_F_SEQ) == 0 || (least != 0 && <i32>(seq - least) < 0)) return DROP_TUNNEL_SEQ
  store<u32>(dev, seq + 1, NETDEV_SEQ_IN)
  return 0
}

/** TUNNEL_* of the packet's flags. */
function tunnelFlags(): u32 {
  let out: u32 = 0
  if ((flags & GRE_F_CSUM) != 0) out |= TUNNEL_CSUM
  if ((flags & GRE_F_KEY) != 0) out |= TUNNEL_KEY
  if ((flags & GRE_F_SEQ) != 0) out |= TUNNEL_SEQ
  return out
}

/** The metadata of an erspan packet: version, then what stands behind its first four bytes. */
function setErspanOptions(pkt: usize, version: u32, at: usize): void {
  const tun = pkt + PKT_TUN_INFO
  store<u32>(tun, load<u32>(tun, TUN_FLAGS) | TUNNEL_KEY | TUNNEL_ERSPAN_OPT, TUN_FLAGS)
  store<u8>(tun, ERSPAN_OPTS_LEN, TUN_OPTS_LEN)
  store<u8>(tun, ENC_OPTS_ERSPAN, TUN_OPTS_KIND)
  store<u32>(tun, version, TUN_OPTS)
  store<u32>(tun, load<u32>(at), TUN_OPTS + 4)
  store<u32>(tun, version == 1 ? 0 : load<u32>(at, 4), TUN_OPTS + 8)
}

// @ts-ignore: decorator
@inline
function erspanLength(version: u32): u32 {
  return version == 0 ? 0 : version == 1 ? 8 : 12
}

/**
 * A GRE packet whose outer headers are right; `at`: offset of the GRE header. False: nobody took it, it is the host's.
 */
export function greInput(pkt: usize, data: usize, at: u32, family: u32, iif: u32): bool {
  const len = load<u32>(pkt, PKT_LEN)
  const gre = data + at
  const header = parse(gre, len - at, family)
  if (header == 0) {
    drop(pkt, DROP_TUNNEL_HEADER)
    return true
  }
  const ip = data + at - (family == 4 ? 20 : 40)
  const remote = addressAt(ip + (family == 4 ? 12 : 8), family)
  const local = addressAt(ip + (family == 4 ? 16 : 24), family)
  const mirrored = isErspan()
  let inner = at + header
  let version: u32 = 0
  let raw = false
  let dev: usize = 0
  if (mirrored) {
    const versionless = family == 4 && header == 4
    if (!versionless) {
      if (inner + ERSPAN_LEN > len) return false
      version = load<u8>(data + inner) >>> 4
    }
    if (family == 4) {
      if (versionless) key = 0
      else flags |= GRE_F_KEY // for the search: erspan always has a key
      dev = deviceOver4(NETDEV_KIND_ERSPAN, remote, local, iif, versionless)
    } else {
      dev = deviceOver6(remote, local, iif)
    }
    inner += erspanLength(version)
    if (dev == 0 || inner > len) return false
  } else if (family == 4) {
    dev = deviceOver4(type == BE_TEB ? NETDEV_KIND_GRETAP : NETDEV_KIND_GRE, remote, local, iif, false)
    raw = dev == 0 && type == BE_TEB
    if (raw) dev = deviceOver4(NETDEV_KIND_GRE, remote, local, iif, false)
  } else {
    dev = deviceOver6(remote, local, iif)
  }
  const ethernet = dev != 0 && (load<u32>(dev, NETDEV_FEATURES) & NETDEV_F_L3) == 0
  if ((mirrored || (type == BE_TEB && !raw) || ethernet) && inner + ETH_LEN > len) {
    // Over IPv6 a frame is looked into before anybody is asked whether he wants it, a mirrored one afterwards.
    if (family == 6 ? mirrored : dev == 0) return false
    drop(pkt, DROP_INNER_HEADER)
    return true
  }
  if (dev == 0) return false

  const tun = load<usize>(dev, NETDEV_TUN)
  const manyToMany = family == 4 && !mirrored && tun != 0 && load<u32>(tun, TUN_DST) == 0
  if (isExternal(dev) || manyToMany) {
    const say = tunnelFlags()
    setTunnel(pkt, data, at, family, family == 4 && !mirrored ? say & (TUNNEL_CSUM | TUNNEL_KEY) : say, key)
    if (mirrored) setErspanOptions(pkt, version, gre + header + ERSPAN_LEN)
  } else {
    store<usize>(pkt, 0, PKT_TUN)
  }
  const reason = refuses(dev)
  if (reason != 0) {
    drop(pkt, reason)
    return true
  }
  const tos = outerTos(data, at, family)
  if (ethernet) {
    const frame = data + inner
    const ecnType = family == 4 ? typeBehindTags(frame, load<u32>(pkt, PKT_LEN) - inner) : <u32>load<u16>(frame, 12)
    frameUp(pkt, dev, data, inner, tos, ecnType)
  } else packetUp(pkt, dev, data, inner, tos, type)
  return true
}
