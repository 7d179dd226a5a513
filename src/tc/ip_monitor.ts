// `ip monitor` (ipmonitor.c): prints what the groups of links, addresses, routes and neighbours tell.

import { msgType, viewOf } from '../wire/netlink.ts'
import { RTM_DELADDR, RTM_NEWADDR } from '../wire/rtm_addr.ts'
import { RTM_DELLINK, RTM_NEWLINK } from '../wire/rtm_link.ts'
import { RTM_DELNEIGH, RTM_GETNEIGH, RTM_NEWNEIGH } from '../wire/rtm_neigh.ts'
import { AF_PACKET, RTM_DELROUTE, RTM_NEWROUTE } from '../wire/rtm_route.ts'
import type { Command, ParseContext } from './command.ts'
import { printAddr } from './ip_addr_show.ts'
import { printLink } from './ip_link_print.ts'
import { EVERY_NEIGH, printNeigh } from './ip_neigh.ts'
import { EVERY_ROUTE, printRoute } from './ip_route_print.ts'
import type { Printer } from './printer.ts'
import { NOTHING, usage } from './usage.ts'

type Family = 'link' | 'address' | 'route' | 'neigh'
const FAMILIES: readonly Family[] = ['link', 'address', 'route', 'neigh']

/** Parses behind `ip monitor`. */
export function parseIpMonitor(c: ParseContext): Command {
  const { args, options } = c
  const chosen = new Set<Family>()
  for (; args.more; args.skip()) {
    if (args.is('help')) return usage('ip', options, 'ip monitor [ all | link | address | route | neigh ]')
    if (args.is('all')) continue
    const family = FAMILIES.find((f) => args.matches(f))
    if (!family) throw args.fail(`Argument "${args.word}" is unknown, try "ip monitor help".`, 255)
    chosen.add(family)
  }
  const wanted = chosen.size ? chosen : new Set(FAMILIES)
  return {
    ...NOTHING,
    program: 'ip',
    options,
    monitor: true,
    show: (replies, out) => {
      for (const m of replies) printNews(m, out, wanted)
    },
  }
}

function printNews(m: Uint8Array, out: Printer, wanted: ReadonlySet<Family>): void {
  const type = msgType(viewOf(m))
  if ((type === RTM_NEWLINK || type === RTM_DELLINK) && wanted.has('link')) printLink(m, out, true, false, AF_PACKET)
  else if ((type === RTM_NEWADDR || type === RTM_DELADDR) && wanted.has('address'))
    printAddr(m, out, { oneline: true, brief: false })
  else if ((type === RTM_NEWROUTE || type === RTM_DELROUTE) && wanted.has('route')) printRoute(m, out, EVERY_ROUTE)
  else if ((type === RTM_NEWNEIGH || type === RTM_DELNEIGH || type === RTM_GETNEIGH) && wanted.has('neigh'))
    printNeigh(m, out, EVERY_NEIGH)
}
