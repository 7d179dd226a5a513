// Is this a route that can be, and by which device does it go? The kernel's checks of a new route (fib_create_info,
// fib_check_nh_v4_gw; ip6_route_info_create, ip6_validate_gw), in its order and with its words. Under rtnl.

import type { Arena } from '../memory/arena.ts'
import { IFF_LOOPBACK } from '../memory/layout/netdev.ts'
import { EACCES, EHOSTUNREACH, EINVAL, ENETDOWN, ENETUNREACH, ENODEV, NetlinkError } from '../wire/netlink_error.ts'
import * as R from '../wire/rtm_route.ts'
import { addrFind } from './addr.ts'
import { fibMatch, type NewRoute, ROUTE_F_OWN_GATEWAY, ROUTE_OIF, ROUTE_SCOPE, ROUTE_TOS, ROUTE_TYPE } from './fib.ts'
import { isAny, isLinkLocal, isMulticast, sameAddress } from './inet.ts'
import { loopbackDev, netdevByIndex, netdevFlags, netdevIfindex, netdevIsUp } from './netdev.ts'
import { addressType, lookup } from './route.ts'

const IP6_RT_PRIO_USER = 1024
const REJECT = [R.RTN_BLACKHOLE, R.RTN_UNREACHABLE, R.RTN_PROHIBIT, R.RTN_THROW]

const refuse = (errno: number, message = ''): never => {
  throw new NetlinkError(errno, message)
}

/** Scope below which a type makes no sense (fib_props). */
const PROPS_SCOPE: Readonly<Record<number, number>> = {
  [R.RTN_LOCAL]: R.RT_SCOPE_HOST,
  [R.RTN_BROADCAST]: R.RT_SCOPE_LINK,
  [R.RTN_ANYCAST]: R.RT_SCOPE_LINK,
  [R.RTN_NAT]: R.RT_SCOPE_NOWHERE,
  [R.RTN_XRESOLVE]: R.RT_SCOPE_NOWHERE,
}

/** IPv4: fib_create_info. `n.oif` becomes the device. Throws NetlinkError. */
export function checkRoute4(a: Arena, n: NewRoute): void {
  if ((PROPS_SCOPE[n.type] ?? R.RT_SCOPE_UNIVERSE) > n.scope) refuse(EINVAL, 'Invalid scope')
  if (n.flags & (R.RTNH_F_DEAD | R.RTNH_F_LINKDOWN))
    refuse(EINVAL, 'Invalid rtm_flags - can not contain DEAD or LINKDOWN')
  if (REJECT.includes(n.type)) {
    if (n.gatewayFamily || n.oif)
      refuse(EINVAL, 'Gateway, device and multipath can not be specified for this route type')
  } else {
    if (n.type < R.RTN_UNICAST || n.type > R.RTN_MULTICAST) refuse(EINVAL, 'Invalid route type')
    if (n.scope > R.RT_SCOPE_HOST) refuse(EINVAL, 'Invalid scope')
    if (n.scope === R.RT_SCOPE_HOST) {
      if (n.gatewayFamily) refuse(EINVAL, 'Route with host scope can not have a gateway')
      if (netdevByIndex(a, n.oif) === 0) refuse(ENODEV)
    } else if (n.gatewayFamily === R.AF_INET) gateway4(a, n)
    else if (n.gatewayFamily === R.AF_INET6) gateway6(a, n)
    else {
      if (n.flags & (R.RTNH_F_PERVASIVE | R.RTNH_F_ONLINK))
        refuse(EINVAL, 'Invalid flags for nexthop - PERVASIVE and ONLINK can not be set')
      const dev = netdevByIndex(a, n.oif)
      if (dev === 0) refuse(ENODEV)
      if (!netdevIsUp(a, dev)) refuse(ENETDOWN, 'Device for nexthop is not up')
    }
  }
  if (isAny(n.prefsrc) || (n.type === R.RTN_LOCAL && sameAddress(n.prefsrc, n.dst))) return
  if (addressType(a, R.AF_INET, n.prefsrc) !== R.RTN_LOCAL) refuse(EINVAL, 'Invalid prefsrc address')
}

/** fib_check_nh_v4_gw: the gateway must be on link. One that is an address of ours makes the route a device route. */
function gateway4(a: Arena, n: NewRoute): void {
  if (n.flags & R.RTNH_F_ONLINK) {
    if (n.scope >= R.RT_SCOPE_LINK) refuse(EINVAL, 'Nexthop has invalid scope')
    const dev = netdevByIndex(a, n.oif)
    if (dev === 0) refuse(ENODEV, 'Nexthop device required for onlink')
    if (!netdevIsUp(a, dev)) refuse(ENETDOWN, 'Nexthop device is not up')
    if (addressType(a, R.AF_INET, n.gateway) !== R.RTN_UNICAST) refuse(EINVAL, 'Nexthop has invalid gateway')
    return
  }
  const m = a.m
  const scope = Math.max(n.scope + 1, R.RT_SCOPE_LINK)
  const fits = (x: number): boolean =>
    (n.oif === 0 || m[(x + ROUTE_OIF) >> 2] === n.oif) &&
    (m[(x + ROUTE_SCOPE) >> 2] >= scope || REJECT.includes(m[(x + ROUTE_TYPE) >> 2])) &&
    m[(x + ROUTE_TOS) >> 2] === 0
  const tables = [R.RT_TABLE_LOCAL, R.RT_TABLE_MAIN, R.RT_TABLE_DEFAULT]
  const x = tables.reduce((found, t) => found || fibMatch(a, t, R.AF_INET, n.gateway, fits), 0)
  if (x === 0) refuse(ENETUNREACH, 'Nexthop has invalid gateway')
  const type = m[(x + ROUTE_TYPE) >> 2]
  if (type === R.RTN_UNREACHABLE) refuse(EHOSTUNREACH, 'Nexthop has invalid gateway')
  if (type === R.RTN_PROHIBIT) refuse(EACCES, 'Nexthop has invalid gateway')
  if (type !== R.RTN_UNICAST && type !== R.RTN_LOCAL) refuse(EINVAL, 'Nexthop has invalid gateway')
  if (type === R.RTN_LOCAL) n.flags |= ROUTE_F_OWN_GATEWAY
  n.oif = m[(x + ROUTE_OIF) >> 2]
  const dev = netdevByIndex(a, n.oif)
  if (dev === 0) refuse(ENODEV, 'No egress device for nexthop gateway')
  if (!netdevIsUp(a, dev)) refuse(ENETDOWN, 'Nexthop device is not up')
}

/** fib6_nh_init, ip6_validate_gw for a gateway; `n.oif` becomes the device. */
function gateway6(a: Arena, n: NewRoute): void {
  const gw = n.gateway
  if (addrFind(a, n.oif, R.AF_INET6, gw) !== 0) refuse(EINVAL, 'Gateway can not be a local address')
  let dev = n.oif === 0 ? 0 : netdevByIndex(a, n.oif)
  if (n.flags & R.RTNH_F_ONLINK) {
    if (dev === 0) refuse(ENODEV, 'Nexthop device required for onlink')
    if (!netdevIsUp(a, dev)) refuse(ENETDOWN, 'Nexthop device is not up')
  } else if (!isLinkLocal(R.AF_INET6, gw)) {
    if (isMulticast(R.AF_INET6, gw) || isAny(gw)) refuse(EINVAL, 'Invalid gateway address')
    const way = lookup(a, R.AF_INET6, gw, { oif: n.oif, src: gw })
    if (way.errno !== 0 || way.gateway !== null) refuse(EHOSTUNREACH)
    dev = way.dev
  }
  if (dev === 0) refuse(EINVAL, 'Egress device not specified')
  if (netdevFlags(a, dev) & IFF_LOOPBACK) refuse(EINVAL, 'Egress device can not be loopback device for this route')
  n.oif = netdevIfindex(a, dev)
}

/** IPv6: ip6_route_info_create. `n.oif` becomes the device, `n.metric` the default. Throws NetlinkError. */
export function checkRoute6(a: Arena, n: NewRoute): void {
  if (n.metric === 0) n.metric = IP6_RT_PRIO_USER
  if (n.oif !== 0 && netdevByIndex(a, n.oif) === 0) refuse(ENODEV)
  if (REJECT.includes(n.type)) {
    n.oif = netdevIfindex(a, loopbackDev(a))
    n.gatewayFamily = 0
  } else {
    if (n.type !== R.RTN_UNICAST && n.type !== R.RTN_LOCAL && n.type !== R.RTN_ANYCAST && n.type !== R.RTN_MULTICAST)
      refuse(EINVAL, 'Invalid route type')
    if (n.gatewayFamily) gateway6(a, n)
    const dev = netdevByIndex(a, n.oif)
    if (dev === 0) refuse(ENODEV)
    if (!netdevIsUp(a, dev)) refuse(ENETDOWN, 'Nexthop device is not up')
  }
  if (!isAny(n.prefsrc) && addressType(a, R.AF_INET6, n.prefsrc) !== R.RTN_LOCAL)
    refuse(EINVAL, 'Invalid source address')
}
