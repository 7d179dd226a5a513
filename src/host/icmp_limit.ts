// How many ICMP errors the host sends (icmp_global_allow, inet_peer_xrlim_allow): all together 1000 a second, at most 50
// at once; to one destination one a second, six at once after a silence. Echo replies and "packet too big" do not count.

import type { HostState } from './state.ts'
import { nowMs } from './state.ts'

/** net.ipv4.icmp_msgs_per_sec, icmp_msgs_burst. */
const PER_SECOND = 1000
const BURST = 50
/** net.ipv4.icmp_ratelimit, net.ipv6.icmp.ratelimit: milliseconds. */
export const RATELIMIT = 1000
const XRLIM_BURST_FACTOR = 6
const PEERS_MAX = 65536

/** May one more ICMP error be sent at all? Counts it. */
export function globalAllow(h: HostState): boolean {
  const g = h.icmpGlobal
  const now = nowMs(h)
  const delta = Math.min(now - g.stamp, 1000)
  if (delta >= 20) {
    g.credit = Math.min(g.credit + (PER_SECOND * delta) / 1000, BURST)
    g.stamp = now
  }
  if (g.credit < 1) return false
  g.credit--
  return true
}

/** May one more be sent to this destination? `timeout`: milliseconds that one costs. Counts it. */
export function peerAllow(h: HostState, family: number, address: Uint8Array, timeout = RATELIMIT): boolean {
  const key = `${family} ${address}`
  const now = nowMs(h)
  let p = h.peers.get(key)
  if (p === undefined) {
    if (h.peers.size >= PEERS_MAX) h.peers.clear()
    p = { tokens: 0, last: now - 60 * 1000 }
    h.peers.set(key, p)
  }
  p.tokens = Math.min(p.tokens + now - p.last, XRLIM_BURST_FACTOR * timeout)
  p.last = now
  if (p.tokens < timeout) return false
  p.tokens -= timeout
  return true
}
