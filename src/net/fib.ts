// The forwarding information base: which way a packet for an address goes (net/ipv4/fib_*.c, net/ipv6/ip6_fib.c).
//
// A route is an immutable struct in the arena. Routes of one (table, family, prefix) hang in one hash chain, best
// first: by tos, then metric, then age. A lookup asks the local table, then main, then default, each from the longest
// prefix length in use to the shortest, as `ip rule` has it when nobody changed it. Writers hold the lock `fib`; they
// link a route in with one store and give it back after a grace period, so a reader on another thread needs no lock:
// it must be an online RCU reader. Every change bumps FIB_GENERATION and calls the listeners of the thread it is made on.

import { add, load, store } from '../sync/atomic.ts'
import type { Arena } from '../memory/arena.ts'
import { SUPER_PART_FIB, SUPER_PARTS } from '../memory/layout/super.ts'

void [add, load, store, SUPER_PART_FIB, SUPER_PARTS]

/** What a lookup found: everything copied out, nothing points into the arena. */
export interface Route {
  /** 0, or the errno that the kernel's output route lookup answers (ENETUNREACH, EHOSTUNREACH, EACCES, EINVAL). */
  errno: number
  /** RTN_UNICAST, RTN_LOCAL, RTN_BROADCAST, RTN_MULTICAST, RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT; RTN_UNSPEC = no route. */
  type: number
  /** Device (address of its NETDEV slot) that the packet leaves by: loopback for RTN_LOCAL; 0 when errno is not 0. */
  dev: number
  /** Family of `nexthop` and `gateway` (an IPv4 route may have an IPv6 gateway). */
  family: number
  /** The gateway, or null when the destination is on link. */
  gateway: Uint8Array | null
  /** Whom to resolve: the gateway, or the destination. */
  nexthop: Uint8Array
  /** The source address: the one asked for, or the one the kernel selects. */
  src: Uint8Array
  /** Largest IP packet that may leave this way: the route's mtu metric, or the device's MTU. */
  mtu: number
  /** Device whose address or subnet it is (RTN_LOCAL: the owner of the address; else `dev`). */
  via: number
}

export interface LookupOptions {
  /** Source address the packet has already; all zero or absent: to be selected. */
  src?: Uint8Array
  /** ifindex the packet must leave by, 0 any. */
  oif?: number
  tos?: number
}
