// The sentences of memory/layout/slow.ts: why an entry or a flow is on the slow path, for `encap show`, summary.json and
// the events.

import * as S from '../memory/layout/slow.ts'

interface Reason {
  /** As summaries and JSON have it. */
  readonly name: string
  readonly sentence: string
}

const reasons: Reason[] = []
const say = (n: number, name: string, sentence: string): void => {
  reasons[n] = { name, sentence }
}
say(S.SLOW_NONE, 'none', 'fast path')
say(S.SLOW_NO_ROUTE, 'no_route', 'no route to the tunnel destination')
say(S.SLOW_BLACKHOLE, 'blackhole', 'the route to the tunnel destination is a blackhole')
say(S.SLOW_UNREACHABLE, 'unreachable', 'the route says that the tunnel destination is unreachable')
say(S.SLOW_PROHIBIT, 'prohibit', 'the route to the tunnel destination is prohibited')
say(S.SLOW_LOCAL, 'local', 'the tunnel destination is an address of this switch')
say(S.SLOW_BROADCAST, 'broadcast', 'the tunnel destination is a broadcast address')
say(S.SLOW_MULTICAST, 'multicast', 'the tunnel destination is a multicast address')
say(S.SLOW_SOURCE, 'source', 'the tunnel source is not an address of this switch')
say(S.SLOW_NOT_A_PORT, 'not_a_port', 'the route leaves by a device that is not a port')
say(S.SLOW_DEV_DOWN, 'device_down', 'the port that the route leaves by is down')
say(S.SLOW_NEIGH_NONE, 'neigh_none', 'the next hop has not been asked for')
say(S.SLOW_NEIGH_INCOMPLETE, 'neigh_incomplete', 'the next hop has not answered yet')
say(S.SLOW_NEIGH_FAILED, 'neigh_failed', 'the next hop did not answer')
say(S.SLOW_NEIGH_STALE, 'neigh_stale', 'the next hop has not been confirmed lately')
say(S.SLOW_NO_REMOTE, 'no_remote', 'the tunnel device has no remote address')
say(S.SLOW_TUNNEL_DOWN, 'tunnel_down', 'the tunnel device is down')
say(S.SLOW_NO_KEY, 'no_key', 'the tunnel device needs a tunnel key')
say(S.SLOW_OPTIONS, 'options', 'the tunnel options are not what this tunnel can send')
say(S.SLOW_TOO_LONG, 'too_long', 'the outer headers are too long')
say(S.SLOW_PER_PACKET, 'per_packet', 'the outer headers depend on each packet')
say(S.SLOW_ERROR, 'error', 'out of memory')

/** `neigh_failed` */
export const slowName = (why: number): string => reasons[why]?.name ?? `slow_${why}`
/** `the next hop did not answer` */
export const slowSentence = (why: number): string => reasons[why]?.sentence ?? `slow path, reason ${why}`
