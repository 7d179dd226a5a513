// Requests of the flow tables: RTM_{NEW,DEL,GET}{QDISC,TCLASS,TFILTER,CHAIN,ACTION}. One message in, the kernel's answer out.
//
// `flowRequest` does one request in one RCU section and hands what the kernel would send back to `reply`: the object asked
// for, the messages of a dump, the echo of a change. `flowDump` is a dump that goes on when it is asked to: each of its
// steps is a section of its own. Acknowledgement, NLMSG_DONE and NLMSG_ERROR are the dispatcher's.
// A refusal is a NetlinkError with the errno and the sentence of Linux 6.1; then nothing has been changed.
//
// Any number of threads at once. Filters lock only what they touch; qdiscs and `tc actions` run under rtnl, as in the
// kernel.

import { msgFlags, msgLen, msgType, NLM_F_DUMP, viewOf } from '../wire/netlink.ts'
import { EINVAL, ENOENT, EOPNOTSUPP, NetlinkError } from '../wire/netlink_error.ts'
import { RTM_DELACTION, RTM_GETACTION, RTM_NEWACTION, TCAMSG_ATTRS } from '../wire/tca_action.ts'
import * as Tcm from '../wire/tcm.ts'
import { delAction, dumpActions, getAction, newAction } from './action_request.ts'
import { delChain, dumpChains, getChainRequest, newChain } from './chain_request.ts'
import { beginReading, endReading, type FlowContext } from './context.ts'
import { getFilter, newFilter } from './filter.ts'
import { delFilter } from './filter_delete.ts'
import { dumpFilters } from './filter_dump.ts'
import { delQdisc, dumpQdiscs, getQdisc, newQdisc } from './qdisc.ts'
import { withRtnl } from './rtnl.ts'

type Reply = (message: Uint8Array) => void
type Handler = (c: FlowContext, d: DataView, reply: Reply) => void
type Dump = (c: FlowContext, d: DataView) => Iterator<Uint8Array[], void>

interface Type {
  readonly handle: Handler
  /** For a request with NLM_F_DUMP: messages, some at a time. */
  readonly dump?: Dump
  readonly rtnl?: boolean
}

/** A dump that is never large: all of it in one step. */
function atOnce(dump: Handler): Dump {
  return function* (c, d) {
    const messages: Uint8Array[] = []
    dump(c, d, (m) => messages.push(m))
    yield messages
  }
}

/** No qdisc here has classes: a listing is empty, and everything else meets none. */
function noClass(): never {
  throw new NetlinkError(ENOENT, 'flowerbed: no qdisc with classes')
}

const types: Readonly<Record<number, Type>> = {
  [Tcm.RTM_NEWTFILTER]: { handle: newFilter },
  [Tcm.RTM_DELTFILTER]: { handle: delFilter },
  [Tcm.RTM_GETTFILTER]: { handle: getFilter, dump: dumpFilters },
  [Tcm.RTM_NEWCHAIN]: { handle: newChain },
  [Tcm.RTM_DELCHAIN]: { handle: delChain },
  [Tcm.RTM_GETCHAIN]: { handle: getChainRequest, dump: atOnce(dumpChains) },
  [Tcm.RTM_NEWQDISC]: { handle: newQdisc, rtnl: true },
  [Tcm.RTM_DELQDISC]: { handle: delQdisc, rtnl: true },
  [Tcm.RTM_GETQDISC]: { handle: getQdisc, dump: atOnce(dumpQdiscs) },
  [Tcm.RTM_NEWTCLASS]: { handle: noClass },
  [Tcm.RTM_DELTCLASS]: { handle: noClass },
  [Tcm.RTM_GETTCLASS]: { handle: noClass, dump: atOnce(() => {}) },
  [RTM_NEWACTION]: { handle: newAction, rtnl: true },
  [RTM_DELACTION]: { handle: delAction, rtnl: true },
  [RTM_GETACTION]: { handle: getAction, dump: dumpActions },
}

/** Does flow/ answer this type of message? */
export const isFlowRequest = (type: number): boolean => types[type] !== undefined

/** Does one request, whose length is checked already. Throws NetlinkError and MemoryError. */
export function flowRequest(c: FlowContext, message: Uint8Array, reply: Reply): void {
  if (isFlowDump(message)) {
    for (const m of flowDump(c, message)) reply(m)
    return
  }
  const { d, type } = checked(message)
  const began = beginReading(c.a)
  try {
    if (type.rtnl) withRtnl(c.a, () => type.handle(c, d, reply))
    else type.handle(c, d, reply)
  } finally {
    if (began) endReading(c.a)
  }
}

/** Is this a request of ours whose answer is a dump? */
export const isFlowDump = (message: Uint8Array): boolean => {
  const d = viewOf(message)
  return types[msgType(d)]?.dump !== undefined && (msgFlags(d) & NLM_F_DUMP) === NLM_F_DUMP
}

/**
 * The messages of a dump, made as they are asked for; between two of them the thread may do anything else. Who does not
 * want the rest says `return`. Throws as flowRequest.
 */
export function* flowDump(c: FlowContext, message: Uint8Array): Generator<Uint8Array, void> {
  const { d, type } = checked(message)
  const steps = (type.dump as Dump)(c, d)
  try {
    for (;;) {
      const step = inSection(c, () => steps.next())
      if (step.done) return
      yield* step.value
    }
  } finally {
    inSection(c, () => steps.return?.())
  }
}

function checked(message: Uint8Array): { d: DataView; type: Type } {
  const d = viewOf(message)
  const type = types[msgType(d)]
  if (type === undefined) throw new NetlinkError(EOPNOTSUPP, `rtnetlink message type ${msgType(d)}`)
  const least = msgType(d) >= RTM_NEWACTION && msgType(d) <= RTM_GETACTION ? TCAMSG_ATTRS : Tcm.TCMSG_ATTRS
  if (msgLen(d) < least || msgLen(d) > message.byteLength) throw new NetlinkError(EINVAL, 'message too short')
  return { d, type }
}

function inSection<T>(c: FlowContext, f: () => T): T {
  const began = beginReading(c.a)
  try {
    return f()
  } finally {
    if (began) endReading(c.a)
  }
}
