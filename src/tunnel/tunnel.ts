// The contract of a tunnel type: one kind of device (`ip link add … type vxlan`), one file, one entry in index.ts.
//
// A type knows two things. Its device: which parameters `ip link` may give it, what they default to and how they are
// shown (the kernel's rtnl_link_ops). Its header: what stands between the outer Ethernet header and the inner frame
// (mlx5e's struct mlx5e_tc_tunnel: calc_hlen, generate_ip_tun_hdr). It knows nothing of routes, neighbours, flows.
//
// To encapsulate, somebody (encap/ for flows, host/ for a packet on the slow path) asks in this order:
//
//   outer(a, dev, tun, outer)      what the outer header must say: addresses, tos, ttl, DF, ports
//   fib lookup(outer.dst …)        which way it leaves; fills in a source address that was not given
//   neighbour of the next hop      to which MAC
//   buildHeader(a, …)              header.ts: the immutable template in the arena, which the datapath copies and patches
//
// The meaning is that of the drivers' transmit functions in Linux 6.1 (software path): vxlan_xmit_one, geneve_xmit_skb …
// Everything here runs on control and host threads, never in the datapath.

import type { Arena } from '../memory/arena.ts'
import type { MtuRange } from '../net/request.ts'
import type { Builder } from '../wire/netlink.ts'

/** What the outer headers of one tunnel key say, before route and neighbour. Reused by its owner; see `newOuter`. */
export interface Outer {
  /** AF_INET or AF_INET6. */
  family: number
  /** Sixteen bytes, as in net/inet.ts. All zero: the route selects it. */
  readonly src: Uint8Array
  readonly dst: Uint8Array
  /** ifindex of the device that the packet must leave by, 0 any. */
  oif: number
  /** IPPROTO_* behind the outer IP header. */
  proto: number
  /** tos or traffic class that inner bits are added to. */
  tos: number
  /** Hop limit as it is sent (0 is sent too). With HEADER_F_TTL_INHERIT: for inner packets that have none. */
  ttl: number
  /** IPv6 flow label. */
  label: number
  /** HEADER_F_* without HEADER_F_IPV6 and HEADER_F_SMALL, which buildHeader adds. */
  flags: number
  /** UDP source ports: the first, and how many. */
  portMin: number
  portCount: number
  /** Bytes from the end of the outer IP header to the inner frame: transport and tunnel header. */
  length: number
  /** How many of them are an extension header (IPv6), in front of the transport header. */
  extension: number
  /** Bytes of the inner frame that do not travel (14: the Ethernet header, for tunnels of layer 3). */
  strip: number
  /** EtherType that inner frames must have, and in the high half another; as on the wire. 0: any. */
  ethertypes: number
  /** The device's MTU where it looks at the packet's size (HEADER_INNER_MTU), 0 where not. */
  innerMtu: number
}

export interface TunnelType {
  /** IFLA_INFO_KIND. */
  readonly name: string
  /** NETDEV_KIND_*. */
  readonly kind: number
  /** IPPROTO_* of what its packets arrive in: IPPROTO_UDP types are found by port (NETDEV_TP_DST), others by header. */
  readonly proto: number

  /**
   * `ip link add`: checks IFLA_INFO_DATA ([data, end) of `d`; end 0 when there is none) and fills the slot `dev`, whose
   * generic part (name, ifindex, MAC, flags) stands already: NETDEV_PRIV, _TUN, _TP_DST, _VNI, _FEATURES, _MTU.
   * `mtu` is IFLA_MTU, 0 when not given. Throws NetlinkError; then nothing of the slot was changed.
   */
  newlink(a: Arena, dev: number, d: DataView, data: number, end: number, mtu: number): void
  /** `ip link set … type`: as newlink, starting from what the device has. The caller tells encap/ afterwards. */
  changelink(a: Arena, dev: number, d: DataView, data: number, end: number): void
  /** `ip link del`: gives back what newlink took from the arena. Nobody sends through the device any more. */
  dellink(a: Arena, dev: number): void
  /** The content of IFLA_INFO_DATA for `ip -d link show`, attributes in the kernel's order. */
  fillInfo(a: Arena, dev: number, b: Builder): void
  /**
   * `ip link set up`: the receiving sockets. Throws EADDRINUSE when another device holds the port in another way.
   * Called before IFF_UP is set; what is then registered in SUPER_UDP_PORTS is the caller's (net/netdev.ts).
   */
  open?(a: Arena, dev: number): void
  /**
   * min_mtu and max_mtu, which a wanted MTU is held against first: as the kind's setup leaves them (`isNew`, and newlink has
   * not run), or as newlink did.
   */
  mtuRange(a: Arena, dev: number, isNew: boolean): MtuRange
  /** ndo_change_mtu, where it takes less than that of a device that is there: it says no more than EINVAL. */
  mtuTaken?(a: Arena, dev: number): MtuRange

  /**
   * Fills `out` for packets sent into `dev` with the metadata `tun` (address of a tun_info; NETDEV_TUN of the device
   * itself when the packet brings none). Returns 0, or SLOW_* (memory/layout/slow.ts) when no packet can be made so.
   */
  outer(a: Arena, dev: number, tun: number, out: Outer): number
  /** Writes out.length bytes of transport and tunnel header at `o`; ports, lengths and checksums that the datapath patches are 0. */
  write(a: Arena, dev: number, tun: number, out: Outer, d: DataView, o: number): void
}

export const newOuter = (): Outer => ({
  family: 0,
  src: new Uint8Array(16),
  dst: new Uint8Array(16),
  oif: 0,
  proto: 0,
  tos: 0,
  ttl: 0,
  label: 0,
  flags: 0,
  portMin: 0,
  portCount: 0,
  length: 0,
  extension: 0,
  strip: 0,
  ethertypes: 0,
  innerMtu: 0,
})

/** net.ipv4.ip_local_port_range: udp_flow_src_port() spreads over it when the device has no range of its own. */
export const LOCAL_PORT_MIN = 32768
export const LOCAL_PORT_MAX = 60999
/** net.ipv4.ip_default_ttl and net.ipv6.conf.*.hop_limit: what a type sends when nobody said a ttl (ip4_dst_hoplimit). */
export const DEFAULT_TTL = 64
