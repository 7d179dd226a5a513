// Multicast groups of rtnetlink (include/uapi/linux/rtnetlink.h, enum rtnetlink_groups): who is told what.
//
// A client joins groups by number; the daemon hands every notification to `groupOf`, and those who joined hear it.

import { msgType, NLMSG_HDRLEN, viewOf } from '../wire/netlink.ts'
import { RTM_DELADDR, RTM_NEWADDR, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR } from '../wire/rtm_addr.ts'
import { RTM_DELLINK, RTM_NEWLINK, RTNLGRP_LINK } from '../wire/rtm_link.ts'
import { RTM_DELNEIGH, RTM_NEWNEIGH, RTNLGRP_NEIGH } from '../wire/rtm_neigh.ts'
import { AF_INET6, RTM_DELROUTE, RTM_NEWROUTE, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE } from '../wire/rtm_route.ts'
import { RTM_DELACTION, RTM_GETACTION, RTM_NEWACTION } from '../wire/tca_action.ts'
import {
  RTM_DELCHAIN,
  RTM_DELQDISC,
  RTM_DELTFILTER,
  RTM_NEWCHAIN,
  RTM_NEWQDISC,
  RTM_NEWTFILTER,
  RTNLGRP_TC,
} from '../wire/tcm.ts'

export const RTNLGRP_NONE = 0
/** Groups that may be joined; nothing is ever said in those that we do not know. */
export const RTNLGRP_MAX = 36

const TC = new Set([
  RTM_NEWQDISC,
  RTM_DELQDISC,
  RTM_NEWTFILTER,
  RTM_DELTFILTER,
  RTM_NEWCHAIN,
  RTM_DELCHAIN,
  RTM_NEWACTION,
  RTM_DELACTION,
  RTM_GETACTION,
])

/** The group that hears this notification. */
export function groupOf(message: Uint8Array): number {
  const d = viewOf(message)
  const type = msgType(d)
  if (TC.has(type)) return RTNLGRP_TC
  const inet6 = d.getUint8(NLMSG_HDRLEN) === AF_INET6
  switch (type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
      return RTNLGRP_LINK
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH:
      return RTNLGRP_NEIGH
    case RTM_NEWADDR:
    case RTM_DELADDR:
      return inet6 ? RTNLGRP_IPV6_IFADDR : RTNLGRP_IPV4_IFADDR
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
      return inet6 ? RTNLGRP_IPV6_ROUTE : RTNLGRP_IPV4_ROUTE
    default:
      return RTNLGRP_NONE
  }
}
