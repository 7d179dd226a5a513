// What requests about filters and chains have in common: tcmsg and TCA_* attributes in, answers and echoes out.

import { attrLen, msgFlags, msgLen, msgPid, msgSeq, NLM_F_ECHO, parseAttrs } from '../wire/netlink.ts'
import { EINVAL, NetlinkError } from '../wire/netlink_error.ts'
import * as Tcm from '../wire/tcm.ts'
import type { FlowContext } from './context.ts'
import { checkRate } from './estimator.ts'
import type { Reply } from './filter_message.ts'
import { findHook, type Hook } from './hook.ts'

/** Offsets of the payloads of the request being done, by TCA_*. */
export const tca = new Int32Array(Tcm.TCA_EXT_WARN_MSG + 1)

/** Largest chain index (TC_ACT_EXT_VAL_MASK). */
const CHAIN_MAX = 0x0fffffff

/** Attributes of a tc message, into `tca`. */
export function parseTcm(d: DataView): void {
  parseAttrs(d, Tcm.TCMSG_ATTRS, msgLen(d), tca, Tcm.TCA_EXT_WARN_MSG)
  checkRate(d, tca[Tcm.TCA_RATE])
}

/** End of the payload of TCA_OPTIONS. */
export const optionsEnd = (d: DataView): number => tca[Tcm.TCA_OPTIONS] + attrLen(d, tca[Tcm.TCA_OPTIONS])

/** TCA_CHAIN, 0 without; EINVAL above the limit. */
export function chainIndexOf(d: DataView): number {
  const index = tca[Tcm.TCA_CHAIN] === 0 ? 0 : d.getUint32(tca[Tcm.TCA_CHAIN], true)
  if (index > CHAIN_MAX) throw new NetlinkError(EINVAL, 'Specified chain index exceeds upper limit')
  return index
}

/** What the header and the attributes of a filter request say. */
export interface Request {
  readonly d: DataView
  readonly flags: number
  readonly handle: number
  readonly pref: number
  /** EtherType in wire order, as PRIO_PROTO. */
  readonly protocol: number
  readonly hook: Hook
  readonly chainIndex: number
}

/** After parseTcm. Refuses what no block can be found for. */
export function parseRequest(c: FlowContext, d: DataView): Request {
  const info = Tcm.tcmInfo(d)
  const hook = findHook(c.a, Tcm.tcmIfindex(d), Tcm.tcmParent(d))
  return {
    d,
    flags: msgFlags(d),
    handle: Tcm.tcmHandle(d),
    pref: info >>> 16,
    protocol: info & 0xffff,
    hook,
    chainIndex: chainIndexOf(d),
  }
}

/** Header of the messages that answer a request. */
export const replyTo = (d: DataView, hook: Hook, type: number): Reply => ({
  type,
  flags: msgFlags(d),
  seq: msgSeq(d),
  pid: msgPid(d),
  ifindex: hook.ifindex,
  parent: hook.parent,
})

/** Is anybody to be told of a change that a request with these flags makes? */
export const isTold = (c: FlowContext, flags: number): boolean => c.notify !== undefined || (flags & NLM_F_ECHO) !== 0

/** Tells a change: to everybody, and to the one who asked, if it wants the echo. */
export function tell(c: FlowContext, flags: number, reply: (m: Uint8Array) => void, message: Uint8Array): void {
  c.notify?.(message)
  if ((flags & NLM_F_ECHO) !== 0) reply(message)
}
