// What changes in a switch, told as a kernel tells its multicast groups: links, neighbours, addresses, routes, and
// everything of tc.
//
// The tables call their listeners on the thread that made the change, in the middle of the request; a message is made
// only while somebody is in its group. `openNews` once a switch; `listening` whenever clients join or leave.

import { contextOf } from '../flow/context.ts'
import type { Arena } from '../memory/arena.ts'
import { addrListen } from '../net/addr.ts'
import { fibListen, readRoute } from '../net/fib.ts'
import { neighListen } from '../net/neigh.ts'
import { netdevListen } from '../net/netdev.ts'
import type { NetContext } from '../net/request.ts'
import { fillAddr } from '../net/request_addr.ts'
import { fillLink } from '../net/request_link.ts'
import { fillNeigh } from '../net/request_neigh.ts'
import { fillRoute } from '../net/request_route.ts'
import { RTNLGRP_NONE } from '../rtnl/groups.ts'
import { tunnelNamed, tunnelOf } from '../tunnel/index.ts'
import { Builder } from '../wire/netlink.ts'
import { RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR } from '../wire/rtm_addr.ts'
import { RTNLGRP_LINK } from '../wire/rtm_link.ts'
import { RTNLGRP_NEIGH } from '../wire/rtm_neigh.ts'
import { RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE } from '../wire/rtm_route.ts'
import { RTNLGRP_TC } from '../wire/tcm.ts'

export interface News {
  /** Somebody is in these groups, and nobody in others. */
  listening(groups: ReadonlySet<number>): void
}

/** From now on every change of the switch in this arena goes to `tell`. `now`: ms of the switch's clock. */
export function openNews(a: Arena, now: () => number, tell: (message: Uint8Array) => void): News {
  let groups: ReadonlySet<number> = new Set()
  const b = new Builder(1024)
  const c: NetContext = { a, now, kinds: { named: tunnelNamed, of: tunnelOf } }
  const say = (group: number, other: number, event: number, fill: () => void): void => {
    if (!groups.has(group) && !groups.has(other)) return
    b.begin(event, 0)
    fill()
    tell(b.end())
  }
  netdevListen(a, (_, event, dev) => say(RTNLGRP_LINK, RTNLGRP_NONE, event, () => fillLink({ a, c }, dev, b)))
  neighListen(a, (_, event, n) => say(RTNLGRP_NEIGH, RTNLGRP_NONE, event, () => fillNeigh(a, n, b, now())))
  addrListen(a, (_, event, p) => say(RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, event, () => fillAddr(a, p, b)))
  fibListen(a, (_, event, r) => say(RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, event, () => fillRoute(readRoute(a, r), b)))
  return {
    listening(now) {
      groups = now
      contextOf(a).notify = now.has(RTNLGRP_TC) ? tell : undefined
    },
  }
}
