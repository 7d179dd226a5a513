// Every kind of action.

import type { Arena } from '../memory/arena.ts'
import { ACT_CONTROL, ACT_KIND, TC_ACT_EXT_MASK, TC_ACT_JUMP, TC_ACT_PIPE } from '../memory/layout/action.ts'
import { attrLen, lastAttr } from '../wire/netlink.ts'
import { EINVAL, ERANGE, NetlinkError } from '../wire/netlink_error.ts'
import type { ActionKind } from './action.ts'
import { connmark } from './connmark.ts'
import { csum } from './csum.ts'
import { ct } from './ct.ts'
import { ctinfo } from './ctinfo.ts'
import { gact } from './gact.ts'
import { gate } from './gate.ts'
import { isRedirect, mirred, tunnelDeviceOf } from './mirred.ts'
import { mpls } from './mpls.ts'
import { nat } from './nat.ts'
import { pedit } from './pedit.ts'
import { police } from './police.ts'
import { sample } from './sample.ts'
import { simple } from './simple.ts'
import { skbedit } from './skbedit.ts'
import { skbmod } from './skbmod.ts'
import { tunnelKey, tunOf } from './tunnel_key.ts'
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
  if (o === 0) throw new NetlinkError(EINVAL, kind.missing ?? '')
  const one = lastAttr(d, o, end, kind.parms)
  const parms = Math.max(one, kind.parmsOr === undefined ? 0 : lastAttr(d, o, end, kind.parmsOr))
  if (parms === 0) throw new NetlinkError(EINVAL, kind.missingParms ?? '')
  if (attrLen(d, parms) < kind.parmsLen) throw new NetlinkError(ERANGE, '', parms)
  return parms
}

/** The control that decides where a list goes behind the instance. */
export function onwardControl(m: Int32Array, act: number): number {
  return BY_ID[m[(act + ACT_KIND) >> 2]]?.goesOn?.(m, act) ?? m[(act + ACT_CONTROL) >> 2]
}

/** How often a list may jump (tcf_action_exec). */
const JUMPS_MAX = 32

/**
 * Calls `each` with the metadata and the device (addresses) of every tunnel destination of a list of instances, in the
 * order in which compile asks for their entries: along the way that a packet takes, jumps included.
 */
export function encapItems(a: Arena, acts: ArrayLike<number>, each: (tun: number, dev: number) => void): void {
  const { m } = a
  const n = acts.length
  let tun = 0
  let jumps = JUMPS_MAX
  for (let i = 0; i < n; ) {
    const kind = m[(acts[i] + ACT_KIND) >> 2]
    const control = onwardControl(m, acts[i])
    if (kind === tunnelKey.id) tun = tunOf(m, acts[i])
    else if (kind === mirred.id) {
      const dev = tunnelDeviceOf(m, acts[i])
      if (tun !== 0 && dev !== 0) each(tun, dev)
      if (isRedirect(m, acts[i])) return
    }
    if (control === TC_ACT_PIPE) i++
    else if (control > 0 && (control & ~TC_ACT_EXT_MASK) === TC_ACT_JUMP) {
      const to = control & 0x1ff
      if (to === 0 || to > n || (to !== i + 1 && --jumps <= 0)) return
      i = to
    } else return
  }
}
