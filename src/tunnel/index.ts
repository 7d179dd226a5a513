// The catalogue of tunnel types: an explicit list, sorted by name. Adding a type is adding a file and a line here.

import type { Arena } from '../memory/arena.ts'
import { NETDEV_KIND } from '../memory/layout/netdev.ts'
import { bareudp } from './bareudp.ts'
import { erspan, ip6erspan } from './erspan.ts'
import { geneve } from './geneve.ts'
import { gre, gretap, ip6gre, ip6gretap } from './gre.ts'
import { ip6tnl, ipip, sit } from './ipip.ts'
import type { TunnelType } from './tunnel.ts'
import { vxlan } from './vxlan.ts'

export const tunnelTypes: readonly TunnelType[] = [
  bareudp,
  erspan,
  geneve,
  gre,
  gretap,
  ip6erspan,
  ip6gre,
  ip6gretap,
  ip6tnl,
  ipip,
  sit,
  vxlan,
]

const byKind: (TunnelType | undefined)[] = []
for (const t of tunnelTypes) byKind[t.kind] = t

/** The type of a device, undefined when it is no tunnel device. */
export const tunnelOf = (a: Arena, dev: number): TunnelType | undefined => byKind[a.m[(dev + NETDEV_KIND) >> 2]]

/** The type that `ip link add … type <name>` names, undefined when there is none. */
export const tunnelNamed = (name: string): TunnelType | undefined => tunnelTypes.find((t) => t.name === name)
