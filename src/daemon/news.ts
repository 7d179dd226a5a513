// What changes in a switch, told as a kernel tells its multicast groups: links, neighbours, addresses, routes, and
// everything of tc.
//
// The tables call their listeners on the thread that made the change, in the middle of the request; a message is made
// only while somebody is in its group (listening.ts). `openNews` once a thread; `attend` before each request.

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
import { isListening } from './listening.ts'

export interface News {
  /** Looks whether anybody wants to hear of tc: its messages are made by flow/, which must be told before. */
  attend(): void
}

/** From now on every change that this thread makes goes to `tell`. `now`: ms of the switch's clock. */
export function openNews(
  a: Arena,
  now: () => number,
  listening: Int32Array,
  tell: (message: Uint8Array) => void,
): News {
  const b = new Builder(1024)
  const c: NetContext = { a, now, kinds: { named: tunnelNamed, of: tunnelOf } }
  const say = (group: number, other: number, event: number, fill: () => void): void => {
    if (!isListening(listening, group) && !isListening(listening, other)) return
    b.begin(event, 0)
    fill()
    tell(b.end())
  }
  netdevListen(a, (_, event, dev) => say(RTNLGRP_LINK, RTNLGRP_NONE, event, () => fillLink({ a, c }, dev, b)))
  neighListen(a, (_, event, n) => say(RTNLGRP_NEIGH, RTNLGRP_NONE, event, () => fillNeigh(a, n, b, now())))
  addrListen(a, (_, event, p) => say(RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, event, () => fillAddr(a, p, b)))
  fibListen(a, (_, event, r) => say(RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, event, () => fillRoute(readRoute(a, r), b)))
  return {
    attend() {
      contextOf(a).notify = isListening(listening, RTNLGRP_TC) ? tell : undefined
    },
  }
}
