// The device kinds whose options the language knows. A new kind is a link_<kind>.ts file and a line here.

import bareudp from './link_bareudp.ts'
import geneve from './link_geneve.ts'
import { greKinds } from './link_gre.ts'
import { iptnlKinds } from './link_iptnl.ts'
import type { LinkKind } from './link_kind.ts'
import vxlan from './link_vxlan.ts'

const KINDS = new Map<string, LinkKind>([vxlan, geneve, bareudp, ...greKinds, ...iptnlKinds].map((k) => [k.name, k]))

/** The kind of this name, undefined when the language does not know its options. */
export const linkKind = (name: string): LinkKind | undefined => KINDS.get(name)

/** Kinds of a real system that the switch does not have: their options go unread, the switch refuses the kind by name. */
export const FOREIGN_KINDS: ReadonlySet<string> = new Set([
  ...['veth', 'bridge', 'bond', 'vlan', 'macvlan', 'macvtap', 'ipvlan', 'ipvtap', 'vrf', 'ifb', 'team', 'tun', 'vti'],
  ...['vti6', 'gtp', 'can', 'hsr', 'ipoib', 'macsec', 'rmnet', 'xfrm', 'nlmon', 'netdevsim'],
])
