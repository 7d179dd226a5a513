// Every kind of action.

import { attrLen, lastAttr, NLA_HDRLEN } from '../wire/netlink.ts'
import { EINVAL, ERANGE, NetlinkError, POLICY_TEXT } from '../wire/netlink_error.ts'
import type { ActionKind } from './action.ts'
import { connmark } from './connmark.ts'
import { csum } from './csum.ts'
import { ct } from './ct.ts'
import { ctinfo } from './ctinfo.ts'
import { gact } from './gact.ts'
import { gate } from './gate.ts'
import { mirred } from './mirred.ts'
import { mpls } from './mpls.ts'
import { nat } from './nat.ts'
import { pedit } from './pedit.ts'
import { police } from './police.ts'
import { sample } from './sample.ts'
import { simple } from './simple.ts'
import { skbedit } from './skbedit.ts'
import { skbmod } from './skbmod.ts'
import { tunnelKey } from './tunnel_key.ts'
import { vlan } from './vlan.ts'

/** The catalogue, by name. */
export const actionKinds: readonly ActionKind[] = [
  connmark,
  csum,
  ct,
  ctinfo,
  gact,
  gate,
  mirred,
  mpls,
  nat,
  pedit,
  police,
  sample,
  simple,
  skbedit,
  skbmod,
  tunnelKey,
  vlan,
]

const BY_NAME = new Map(actionKinds.map((k) => [k.name, k]))
const BY_ID: (ActionKind | undefined)[] = []
for (const k of actionKinds) BY_ID[k.id] = k

/** The kind of that name, undefined when there is none. */
export const actionKind = (name: string): ActionKind | undefined => BY_NAME.get(name)

/** The kind of that number (ACT_KIND), undefined when there is none. */
export const kindById = (id: number): ActionKind | undefined => BY_ID[id]

/**
 * Offset of the parameters in the options [o, end) of an action; the index is their first word. Refuses as the kind's
 * init of the kernel when there are no options (o 0) or no parameters: EINVAL; ERANGE when they are too short.
 */
export function parmsOf(kind: ActionKind, d: DataView, o: number, end: number): number {
  if (o === 0) throw new NetlinkError(EINVAL, kind.missing ?? `${kind.name}: options are missing`)
  const one = lastAttr(d, o, end, kind.parms)
  const parms = Math.max(one, kind.parmsOr === undefined ? 0 : lastAttr(d, o, end, kind.parmsOr))
  if (parms === 0) throw new NetlinkError(EINVAL, kind.missingParms ?? `${kind.name}: parameters are missing`)
  if (attrLen(d, parms) < kind.parmsLen) throw new NetlinkError(ERANGE, POLICY_TEXT, parms - NLA_HDRLEN)
  return parms
}
