// The dissector: headers -> flow key, as the kernel's flow dissector fills it for flower (net/core/flow_dissector.c,
// 6.1, with FLOW_DISSECTOR_F_STOP_BEFORE_ENCAP; cls_flower.c:fl_classify).
//
// What a packet does not have stays zero. A header that is cut short ends the walk: what stands before it is in the
// key, with n_proto and ip_proto as far as they are known. The IP version and lengths are not looked at. Fragments,
// first ones too, have no L4 keys. Encapsulated packets are not entered.
//
// Only groups of the key that some mask looks at are written (`groups`); group 0 always is.

import * as K from '../../memory/layout/flow_key.ts'
import * as T from '../../memory/layout/action.ts'
import { CONN_LABELS, CONN_MARK, CONN_ORIGINAL, CT_STATE_SHOWN, TUPLE_ZONE } from '../../memory/layout/conntrack.ts'
import {
  PKT_CT,
  PKT_CT_STATE,
  PKT_CT_ZONE,
  PKT_DATA,
  PKT_F_L2_MISS,
  PKT_FLAGS,
  PKT_IIF,
  PKT_LEN,
  PKT_MARK,
  PKT_TUN,
} from '../../memory/layout/packet.ts'
import {
  BE_ARP,
  BE_IP,
  BE_IPV6,
  BE_MPLS_MC,
  BE_MPLS_UC,
  BE_PPP_SES,
  BE_RARP,
  ETH_LEN,
  isBare,
  innerProtocol,
  isVlan,
  networkHeader,
  outerProtocol,
  VLAN_LEN,
} from './frame.ts'

const GROUP_IPV6: u32 = 2
const GROUP_ENC: u32 = 4
const GROUP_MPLS_CT: u32 = 8
const GROUP_OPTS: u32 = 0xf0

/** MAX_FLOW_DISSECT_HDRS */
const HEADERS_MAX: i32 = 15
const MPLS_MAX: u32 = 7

const IPPROTO_ICMP: u32 = 1
const IPPROTO_TCP: u32 = 6
const IPPROTO_UDP: u32 = 17
const IPPROTO_DCCP: u32 = 33
const IPPROTO_ESP: u32 = 50
const IPPROTO_AH: u32 = 51
const IPPROTO_ICMPV6: u32 = 58
const IPPROTO_L2TP: u32 = 115
const IPPROTO_SCTP: u32 = 132
const IPPROTO_UDPLITE: u32 = 136
const IPPROTO_MPLS: u32 = 137
const NEXTHDR_HOP: u32 = 0
const NEXTHDR_ROUTING: u32 = 43
const NEXTHDR_FRAGMENT: u32 = 44
const NEXTHDR_DEST: u32 = 60

// @ts-ignore: decorator
@inline
function clear64(p: usize): void {
  const zero = i64x2.splat(0)
  v128.store(p, zero, 0)
  v128.store(p, zero, 16)
  v128.store(p, zero, 32)
  v128.store(p, zero, 48)
}

/** skb_flow_dissect_tunnel_info */
function tunnelKeys(tun: usize, key: usize, groups: u32): void {
  if ((groups & GROUP_ENC) != 0) {
    if ((load<u32>(tun, T.TUN_MODE) & T.TUN_IPV6) != 0) {
      store<u8>(key, K.ADDR_TYPE_IPV6, K.KEY_ENC_ADDR_TYPE)
      v128.store(key, v128.load(tun, T.TUN_SRC), K.KEY_ENC_IPV6_SRC)
      v128.store(key, v128.load(tun, T.TUN_DST), K.KEY_ENC_IPV6_DST)
    } else {
      store<u8>(key, K.ADDR_TYPE_IPV4, K.KEY_ENC_ADDR_TYPE)
      store<u32>(key, load<u32>(tun, T.TUN_SRC), K.KEY_ENC_IPV4_SRC)
      store<u32>(key, load<u32>(tun, T.TUN_DST), K.KEY_ENC_IPV4_DST)
    }
    store<u32>(key, bswap<u32>(load<u32>(tun, T.TUN_ID)), K.KEY_ENC_KEY_ID)
    store<u32>(key, load<u32>(tun, T.TUN_FLAGS), K.KEY_ENC_FLAGS)
    store<u32>(key, load<u32>(tun, T.TUN_TP_SRC), K.KEY_ENC_PORT_SRC)
    store<u16>(key, load<u16>(tun, T.TUN_TOS), K.KEY_ENC_TOS)
  }
  const size = <u32>load<u8>(tun, T.TUN_OPTS_LEN)
  if (size != 0 && size <= <u32>(K.KEY_SIZE_OPTS - K.KEY_SIZE)) {
    if ((groups & GROUP_MPLS_CT) != 0) {
      store<u8>(key, load<u8>(tun, T.TUN_OPTS_KIND), K.KEY_ENC_OPTS_KIND)
      store<u8>(key, <u8>size, K.KEY_ENC_OPTS_LEN)
    }
    if ((groups & GROUP_OPTS) != 0) memory.copy(key + K.KEY_ENC_OPTS, tun + T.TUN_OPTS, size)
  }
}

/** skb_flow_dissect_ct: what the last action ct said of the packet. */
function ctKeys(pkt: usize, key: usize): void {
  const state = <u32>load<u16>(pkt, PKT_CT_STATE) & CT_STATE_SHOWN
  if (state == 0) return
  store<u16>(key, <u16>state, K.KEY_CT_STATE)
  const conn = load<usize>(pkt, PKT_CT)
  if (conn == 0) {
    store<u16>(key, load<u16>(pkt, PKT_CT_ZONE), K.KEY_CT_ZONE)
    return
  }
  store<u16>(key, load<u16>(conn, CONN_ORIGINAL + TUPLE_ZONE), K.KEY_CT_ZONE)
  store<u32>(key, load<u32>(conn, CONN_MARK), K.KEY_CT_MARK)
  v128.store(key, v128.load(conn, CONN_LABELS), K.KEY_CT_LABELS)
}

/** __skb_flow_dissect_arp: requests and replies for IPv4 over Ethernet, whole ones. */
function arpKeys(arp: usize, room: i32, key: usize): void {
  if (room < 28) return
  if ((load<u64>(arp) & 0xffffffffffff) != 0x040600080100) return
  const op = <u32>load<u16>(arp, 6)
  if (op != 0x0100 && op != 0x0200) return
  store<u16>(key, <u16>(op >> 8), K.KEY_ARP_OP)
  store<u32>(key, load<u32>(arp, 8), K.KEY_ARP_SHA)
  store<u16>(key, load<u16>(arp, 12), K.KEY_ARP_SHA + 4)
  store<u32>(key, load<u32>(arp, 14), K.KEY_ARP_SIP)
  store<u32>(key, load<u32>(arp, 18), K.KEY_ARP_THA)
  store<u16>(key, load<u16>(arp, 22), K.KEY_ARP_THA + 4)
  store<u32>(key, load<u32>(arp, 24), K.KEY_ARP_TIP)
}

/** __skb_flow_get_ports: where the ports of the protocol are, -1 when it has none (proto_ports_offset). */
// @ts-ignore: decorator
@inline
function portsOffset(ipProto: u32): i32 {
  switch (ipProto) {
    case IPPROTO_TCP:
    case IPPROTO_UDP:
    case IPPROTO_DCCP:
    case IPPROTO_ESP:
    case IPPROTO_SCTP:
    case IPPROTO_UDPLITE:
      return 0
    case IPPROTO_AH:
      return 4
    default:
      return -1
  }
}

/** What stands behind the IP header: ports, TCP flags, ICMP type, L2TPv3 session. */
function transportKeys(data: usize, at: i32, len: i32, ipProto: u32, key: usize, groups: u32): void {
  const p = data + at
  switch (ipProto) {
    case IPPROTO_TCP:
      if (at + 20 <= len && load<u8>(p, 12) >= 0x50) store<u16>(key, load<u16>(p, 12) & 0xff0f, K.KEY_TCP_FLAGS)
      break
    case IPPROTO_ICMP:
    case IPPROTO_ICMPV6:
      if (at + 8 <= len) store<u16>(key, load<u16>(p), K.KEY_ICMP_TYPE)
      break
    case IPPROTO_L2TP:
      if (at + 4 <= len && (groups & GROUP_IPV6) != 0) store<u32>(key, load<u32>(p), K.KEY_L2TPV3_SID)
      break
    default:
      break
  }
  const ports = portsOffset(ipProto)
  if (ports >= 0 && at + ports + 4 <= len) store<u32>(key, load<u32>(p + ports), K.KEY_PORT_SRC)
}

/** Label stack: up to seven entries are kept, the walk ends behind the bottom. */
function mplsKeys(data: usize, at: i32, len: i32, headers: i32, key: usize, groups: u32): void {
  for (let i: u32 = 0; i < MPLS_MAX && at + 4 <= len; i++) {
    const entry = load<u32>(data + at)
    if ((groups & GROUP_MPLS_CT) != 0) {
      store<u32>(key + (i << 2), entry, K.KEY_MPLS_LSE)
      store<u8>(key, load<u8>(key, K.KEY_MPLS_USED) | <u8>(<u32>1 << i), K.KEY_MPLS_USED)
    }
    if ((entry & 0x10000) != 0 || ++headers > HEADERS_MAX) return
    at += 4
  }
}

// What extensionHeaders found, beside where it stopped.
let nextHeader: u32 = 0
let walked: i32 = 0
let fragmentFlags: u32 = 0

/** Walks over IPv6 extension headers. Returns where the transport header begins, -1 when none is to be read. */
function extensionHeaders(data: usize, at: i32, len: i32, ipProto: u32, headers: i32, key: usize): i32 {
  fragmentFlags = 0
  while (ipProto == NEXTHDR_HOP || ipProto == NEXTHDR_ROUTING || ipProto == NEXTHDR_DEST) {
    nextHeader = ipProto
    walked = headers
    if (at + 2 > len) return -1
    ipProto = load<u8>(data + at)
    at += (<i32>load<u8>(data + at, 1) + 1) << 3
    if (++headers > HEADERS_MAX) {
      // too many: ports are read all the same, nothing else
      const ports = portsOffset(ipProto)
      if (ports >= 0 && at + ports + 4 <= len) store<u32>(key, load<u32>(data + at + ports), K.KEY_PORT_SRC)
      nextHeader = ipProto
      return -1
    }
  }
  nextHeader = ipProto
  walked = headers
  if (ipProto != NEXTHDR_FRAGMENT) return at
  if (at + 8 > len) return -1
  nextHeader = load<u8>(data + at)
  fragmentFlags = (load<u16>(data + at, 2) & 0xf8ff) == 0 ? K.FLOW_IS_FRAGMENT | K.FLOW_FIRST_FRAG : K.FLOW_IS_FRAGMENT
  return -1
}

/** Fills the groups of the key that `groups` names from the packet and its metadata. */
export function dissect(pkt: usize, key: usize, groups: u32): void {
  clear64(key)
  if ((groups & GROUP_IPV6) != 0) clear64(key + 64)
  if ((groups & GROUP_ENC) != 0) clear64(key + 128)
  if ((groups & GROUP_MPLS_CT) != 0) clear64(key + 192)
  if ((groups & GROUP_OPTS) != 0) for (let i: usize = 256; i < 512; i += 64) clear64(key + i)

  const data = load<usize>(pkt, PKT_DATA)
  const len = load<i32>(pkt, PKT_LEN)
  store<u32>(key, load<u32>(pkt, PKT_IIF), K.KEY_INDEV)
  if ((load<u32>(pkt, PKT_FLAGS) & PKT_F_L2_MISS) != 0) store<u8>(key, 1, K.KEY_L2_MISS)
  if ((groups & ~1) != 0) {
    const tun = load<usize>(pkt, PKT_TUN)
    if (tun != 0) tunnelKeys(tun, key, groups)
    if ((groups & GROUP_MPLS_CT) != 0) {
      if (load<u16>(pkt, PKT_CT_STATE) != 0) ctKeys(pkt, key)
      store<u32>(key, load<u32>(pkt, PKT_MARK), K.KEY_MARK)
    }
  }
  const bare = isBare(pkt)
  if (len < <i32>ETH_LEN && !bare) return
  store<u64>(key, load<u64>(data), K.KEY_ETH_DST)
  store<u32>(key, load<u32>(data, 8), K.KEY_ETH_SRC + 2)

  let at: i32 = bare ? 0 : ETH_LEN
  let type = outerProtocol(pkt)
  let ipProto: u32 = 0
  let flags: u32 = 0
  let tags: u32 = 0
  let headers: i32 = 0
  // A loop with a condition that is always true would be miscompiled: asc takes what follows it for unreachable.
  let more = true
  while (more) {
    if (type == BE_IP) {
      const ip = data + at
      if (at + 20 > len) break
      const ihl = <i32>(load<u8>(ip) & 15)
      if (ihl < 5) break
      at += ihl << 2
      ipProto = load<u8>(ip, 9)
      store<u64>(key, load<u64>(ip, 12), K.KEY_IPV4_SRC)
      store<u8>(key, load<u8>(ip, 1), K.KEY_IP_TOS)
      store<u8>(key, load<u8>(ip, 8), K.KEY_IP_TTL)
      flags |= K.FLOW_ADDR_IPV4
      const fragment = load<u16>(ip, 6) & 0xff3f
      if (fragment != 0) {
        flags |= (fragment & 0xff1f) == 0 ? K.FLOW_IS_FRAGMENT | K.FLOW_FIRST_FRAG : K.FLOW_IS_FRAGMENT
        break
      }
    } else if (type == BE_IPV6) {
      const ip = data + at
      if (at + 40 > len) break
      at += 40
      ipProto = load<u8>(ip, 6)
      if ((groups & GROUP_IPV6) != 0) {
        v128.store(key, v128.load(ip, 8), K.KEY_IPV6_SRC)
        v128.store(key, v128.load(ip, 24), K.KEY_IPV6_DST)
      }
      store<u8>(key, <u8>(bswap<u16>(load<u16>(ip)) >> 4), K.KEY_IP_TOS)
      store<u8>(key, load<u8>(ip, 7), K.KEY_IP_TTL)
      flags |= K.FLOW_ADDR_IPV6
    } else if (isVlan(type)) {
      if (at + 4 > len) break
      const tag = data + at
      // The outermost tag is beside the packet: the type behind it went through eth_type_trans's eyes.
      const next: u32 = tags == 0 ? innerProtocol(pkt) : <u32>load<u16>(tag, 2)
      if (tags < 2) {
        const k = key + (tags << 2)
        store<u16>(k, load<u16>(tag) & 0xffef, K.KEY_VLAN_TCI)
        store<u16>(k, <u16>type, K.KEY_VLAN_TPID)
        store<u16>(key + (tags << 1), <u16>next, K.KEY_VLAN_ETH_TYPE)
      }
      // Behind it stands the network header, wherever actions have left it: a tag that vlan push put into the frame is
      // in front of it, and is read as if it stood there.
      at = tags == 0 && !bare ? <i32>(networkHeader(pkt) - data) : at + <i32>VLAN_LEN
      tags++
      type = next
      if (++headers > HEADERS_MAX) break
      continue
    } else if (type == BE_PPP_SES) {
      if (at + 8 > len || load<u16>(data + at) != 0x0011) break
      const sid = load<u16>(data + at, 2)
      // A protocol field that was compressed to one byte does not come with PPPoE (RFC 2516, section 7).
      const ppp = <u32>bswap<u16>(load<u16>(data + at, 6))
      at += 8
      let next: u32 = 0
      if (ppp == 0x21) next = BE_IP
      else if (ppp == 0x57) next = BE_IPV6
      else if (ppp == 0x281) next = BE_MPLS_UC
      else if (ppp == 0x283) next = BE_MPLS_MC
      else if ((ppp & 0x101) != 1) break
      store<u16>(key, sid, K.KEY_PPPOE_SID)
      store<u16>(key, bswap<u16>(<u16>ppp), K.KEY_PPP_PROTO)
      store<u16>(key, BE_PPP_SES, K.KEY_PPPOE_TYPE)
      if (next == 0) break
      type = next
      if (++headers > HEADERS_MAX) break
      continue
    } else {
      if (type == BE_MPLS_UC || type == BE_MPLS_MC) mplsKeys(data, at, len, headers, key, groups)
      else if ((type == BE_ARP || type == BE_RARP) && (groups & GROUP_IPV6) != 0) arpKeys(data + at, len - at, key)
      break
    }

    // behind an IP header
    if (type == BE_IPV6) {
      at = extensionHeaders(data, at, len, ipProto, headers, key)
      ipProto = nextHeader
      headers = walked
      flags |= fragmentFlags
      if (at < 0) break
    }
    transportKeys(data, at, len, ipProto, key, groups)
    if (ipProto == IPPROTO_MPLS && ++headers <= HEADERS_MAX) {
      type = BE_MPLS_UC
      continue
    }
    if (ipProto == IPPROTO_MPLS) type = BE_MPLS_UC
    break
  }
  store<u16>(key, <u16>type, K.KEY_N_PROTO)
  store<u8>(key, <u8>ipProto, K.KEY_IP_PROTO)
  store<u8>(key, <u8>flags, K.KEY_FLAGS)
  store<u8>(key, <u8>tags, K.KEY_NUM_OF_VLANS)
}
