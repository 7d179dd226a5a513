// Which device of a tunnel that has an IP protocol of its own a received packet is for (net/ipv4/ip_tunnel.c:
// ip_tunnel_lookup; net/ipv6/ip6_gre.c: ip6gre_tunnel_lookup; ip6_tnl_lookup; sit.c: ipip6_tunnel_lookup).
//
// Devices are judged by how exactly they name the packet's ends; the external one takes what is left.

import { TUN_DST, TUN_SRC } from '../../memory/layout/action.ts'
import { GRE_F_KEY, GRE_IFLAGS, GRE_IKEY, GRE_LINK } from '../../memory/layout/gre.ts'
import {
  IFF_UP,
  NETDEV_F_EXTERNAL,
  NETDEV_FEATURES,
  NETDEV_FLAGS,
  NETDEV_KIND,
  NETDEV_TP_NEXT,
  NETDEV_TUN,
} from '../../memory/layout/netdev.ts'
import { protocolTunnel } from './tunnel_input.ts'

/** Places in the order of search: 0 an exact match, the remote alone, the local address alone, 3 neither. */
export const NOBODY: u32 = 100
export const EXTERNAL: u32 = 64
const OTHER_LINK: u32 = 4

/** What a packet says: `key` and whether it has one; keyless: the protocol knows no keys. */
export const KEYED: u32 = 1
export const KEYLESS: u32 = 2

/** An address as tun_info has it: IPv4 in the first four bytes, the rest zero. */
// @ts-ignore: decorator
@inline
export function addressAt(p: usize, family: u32): v128 {
  return family == 4 ? i32x4.replace_lane(i32x4.splat(0), 0, load<u32>(p)) : v128.load(p)
}

// @ts-ignore: decorator
@inline
function same(a: v128, b: v128): bool {
  return !v128.any_true(v128.xor(a, b))
}

// @ts-ignore: decorator
@inline
export function isExternal(dev: usize): bool {
  return (load<u32>(dev, NETDEV_FEATURES) & NETDEV_F_EXTERNAL) != 0
}

/** How well a device fits: less is better, NOBODY not at all. `says`: KEYED, KEYLESS. */
export function fits(dev: usize, remote: v128, local: v128, family: u32, iif: u32, key: u32, says: u32): u32 {
  const tun = load<usize>(dev, NETDEV_TUN)
  const zero = i32x4.splat(0)
  const theirs = tun == 0 ? zero : v128.load(tun, TUN_DST)
  const ours = tun == 0 ? zero : v128.load(tun, TUN_SRC)
  const anyTheirs = same(theirs, zero)
  const anyOurs = same(ours, zero)
  const sameKey = load<u32>(dev, GRE_IKEY) == key
  // Over IPv4 the flag counts too: a key of 0 is another thing than none.
  const wantsKey = (load<u16>(dev, GRE_IFLAGS) & GRE_F_KEY) != 0
  const keyed = (says & KEYED) != 0
  const takesKey = family == 6 ? sameKey : wantsKey ? keyed && sameKey : !keyed
  let place: u32 = NOBODY
  if (anyTheirs && anyOurs) {
    if ((says & KEYLESS) != 0 || sameKey) place = 3
  } else if (takesKey) {
    if (same(theirs, remote)) {
      if (same(ours, local)) place = 0
      else if (anyOurs) place = 1
    } else if (anyTheirs && same(ours, local)) {
      place = 2
    }
  }
  if (place == NOBODY) return isExternal(dev) ? EXTERNAL : NOBODY
  return load<u32>(dev, GRE_LINK) == iif ? place : place + OTHER_LINK
}

/** The device of one kind, on the list of an IP protocol, that fits best; 0 when there is none. */
export function ipTunnelOf(
  ipProto: u32,
  kind: u32,
  remote: v128,
  local: v128,
  family: u32,
  iif: u32,
  key: u32,
  says: u32,
): usize {
  let found: usize = 0
  let best = NOBODY
  for (let dev = protocolTunnel(ipProto); dev != 0; dev = load<usize>(dev, NETDEV_TP_NEXT)) {
    if (load<u32>(dev, NETDEV_KIND) != kind || (load<u32>(dev, NETDEV_FLAGS) & IFF_UP) == 0) continue
    const place = fits(dev, remote, local, family, iif, key, says)
    if (place < best) {
      best = place
      found = dev
    }
  }
  return found
}
