// A route with several next hops: which of them a flow takes (fib_select_multipath, fib6_select_path: hash threshold, RFC 2992).
//
//   0                                                    2^31
//   ├──── hop 1, weight 2 ────┼─ hop 2, weight 1 ─┼─ … ─┤       the hash of a flow falls into the part of one hop
//
// Every hop that is alive has a part as large as its weight. One is dead when its device is down or gone, or when the kernel
// says so; then those that live share the whole, so that flows of the others may move as well, which is what the kernel does
// without a resilient group.
//
// The hash is over source and destination of what is routed, the kernel's default (fib_multipath_hash_policy 0). A tunnel's
// are the outer ones, as its key says them (an unsaid source is zero: it is selected behind this): so all packets of an encap
// entry go one way, which is how a NIC has it, that keeps one header an entry. The ports of policy 1 would not tell entries
// apart: the source port is every packet's own. A kernel hashes with a secret of its boot, and may choose another hop.

import type { Arena } from '../memory/arena.ts'
import { RTNH_F_DEAD, RTNH_F_LINKDOWN } from '../wire/rtm_route.ts'
import { ROUTE_FLAGS, ROUTE_OIF, ROUTE_SIBLING, ROUTE_WEIGHT } from './fib.ts'
import { addressHash } from './inet.ts'
import { netdevByIndex, netdevIsUp } from './netdev.ts'

/** Bits of the hash. */
const RANGE = 2 ** 31

/** A route's next hops: itself when it has one, else itself and its siblings, in the order in which they were given. */
export function hopsOf(a: Arena, r: number): number[] {
  const hops: number[] = []
  for (let h = r; h !== 0; h = a.m[(h + ROUTE_SIBLING) >> 2]) hops.push(h)
  return hops
}

/** Has the route a next hop by this device? */
export const leavesBy = (a: Arena, r: number, ifindex: number): boolean =>
  hopsOf(a, r).some((h) => a.m[(h + ROUTE_OIF) >> 2] === ifindex)

/** Those that packets may take. */
export const aliveHops = (a: Arena, r: number): number[] =>
  hopsOf(a, r).filter((h) => {
    const dev = netdevByIndex(a, a.m[(h + ROUTE_OIF) >> 2])
    return (a.m[(h + ROUTE_FLAGS) >> 2] & (RTNH_F_DEAD | RTNH_F_LINKDOWN)) === 0 && dev !== 0 && netdevIsUp(a, dev)
  })

/** Sum of weights. */
export const totalWeight = (a: Arena, hops: readonly number[]): number =>
  hops.reduce((n, h) => n + a.m[(h + ROUTE_WEIGHT) >> 2], 0)

/** The hop that a flow takes; the first one when none is alive. `src`: as it was asked with, all zero when unsaid. */
export function selectHop(a: Arena, r: number, src: Uint8Array, dst: Uint8Array): number {
  if (a.m[(r + ROUTE_SIBLING) >> 2] === 0) return r
  const alive = aliveHops(a, r)
  const total = totalWeight(a, alive)
  const hash = addressHash(dst, addressHash(src, 0, 0), 0) >>> 1
  let weight = 0
  for (const h of alive) {
    weight += a.m[(h + ROUTE_WEIGHT) >> 2]
    if (hash < Math.round((weight * RANGE) / total)) return h
  }
  return alive[0] ?? r
}
