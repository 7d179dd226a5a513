// Control: rtnetlink messages in, the kernel's answers out.
//
// Every way to change or to ask a switch ends here: the lines of a scenario, a client's socket, a control worker's share
// of a batch. A Control belongs to one thread; all that it works on is in the arena, so any number of threads may have
// one and use it at the same time (the parallel `tc` of the mlx5e scheme). Links, addresses, routes and neighbours are
// net/'s; qdiscs, chains, filters and actions are flow/'s; acknowledgements, errors and the end of a dump are made here,
// as rtnetlink.c and af_netlink.c make them.

import { conntrackInit } from '../conntrack/table.ts'
import { encapInit, MODE_HARDWARE, MODE_OFFLOAD, MODE_SOFTWARE } from '../encap/encap.ts'
import { type FlowContext, flowInit, PROFILE_MLX5, PROFILE_SOFTWARE } from '../flow/context.ts'
import { openFlow } from '../flow/open.ts'
import { flowDump, flowRequest, isFlowDump, isFlowRequest } from '../flow/request.ts'
import type { Arena } from '../memory/arena.ts'
import { MemoryError } from '../memory/memory_error.ts'
import { netInit } from '../net/link.ts'
import { isNetRequest, type NetContext, netRequest } from '../net/request.ts'
import { tunnelNamed, tunnelOf } from '../tunnel/index.ts'
import {
  buildAck,
  buildDone,
  buildError,
  msgFlags,
  msgLen,
  msgPid,
  msgSeq,
  msgType,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLMSG_HDRLEN,
  viewOf,
} from '../wire/netlink.ts'
import { EINVAL, ENOMEM, EOPNOTSUPP, NetlinkError } from '../wire/netlink_error.ts'

export interface Control {
  readonly flow: FlowContext
  readonly net: NetContext
}

export interface ControlOptions {
  /** Milliseconds of the switch's clock. */
  now(): number
  /** Every change of filters, chains, qdiscs and actions, as the kernel's multicast says it. */
  notify?(message: Uint8Array): void
}

export interface TableOptions {
  /** As a switchdev NIC treats its neighbours, instead of as the kernel's software path does. */
  readonly offload?: boolean
  /** Pretends to be a NIC: what its driver would not offload is shown as not in hardware, and refused with skip_sw. */
  readonly profile?: 'mlx5'
  /** Connections that may be tracked at once; by default a share of the arena. */
  readonly connections?: number
}

/** Makes the tables in a new arena: devices (with loopback), addresses, routes, neighbours, filters, encaps. Once. */
export function makeTables(a: Arena, o: TableOptions = {}): void {
  netInit(a)
  const isNic = o.profile === 'mlx5'
  encapInit(a, { mode: isNic ? MODE_HARDWARE : o.offload ? MODE_OFFLOAD : MODE_SOFTWARE })
  flowInit(a, isNic ? PROFILE_MLX5 : PROFILE_SOFTWARE)
  conntrackInit(a, o.connections)
}

/** This thread's control of the tables. */
export function openControl(a: Arena, o: ControlOptions): Control {
  return {
    flow: openFlow(a, o),
    net: { a, now: o.now, kinds: { named: tunnelNamed, of: tunnelOf } },
  }
}

/** rtnetlink messages come in fours, GET the third of each: only GET dumps (rtnl_msg kinds). */
const isGet = (type: number): boolean => (type & 3) === 2

/** Does this type of request change links, addresses, routes or neighbours? Then the host wants to know at once. */
export const changesNet = (type: number): boolean => isNetRequest(type) && !isGet(type)

/**
 * Does one request, for a caller in this process: what it asks for goes to `reply`, and that it returns is the
 * acknowledgement, with a warning or ''. Throws NetlinkError as a refusal; a refused request has changed nothing.
 */
export function ask(c: Control, message: Uint8Array, reply: (m: Uint8Array) => void): string {
  const d = viewOf(message)
  if (message.byteLength < NLMSG_HDRLEN || msgLen(d) !== message.byteLength) {
    throw new RangeError('an rtnetlink message whose length is not its own: framing is the caller’s')
  }
  const type = msgType(d)
  c.flow.warning = ''
  try {
    if (isNetRequest(type)) netRequest(c.net, message, reply)
    else if (isFlowRequest(type)) flowRequest(c.flow, message, reply)
    else throw new NetlinkError(EOPNOTSUPP, `flowerbed has no requests of type ${type}`)
  } catch (e) {
    throw refusal(e)
  }
  return c.flow.warning
}

/** Does one request, and returns its answer in messages: acknowledgement or error, what it asks for, the parts of a dump. */
export function request(c: Control, message: Uint8Array): Uint8Array[] {
  const replies: Uint8Array[] = []
  let warning = ''
  try {
    warning = ask(c, message, (m) => replies.push(m))
  } catch (e) {
    if (e instanceof NetlinkError) return [buildError(message, e.errno, e.message, e.offset)]
    throw e
  }
  const d = viewOf(message)
  if (isGet(msgType(d)) && (msgFlags(d) & NLM_F_DUMP) === NLM_F_DUMP) replies.push(buildDone(msgSeq(d), msgPid(d)))
  else if (msgFlags(d) & NLM_F_ACK) replies.push(buildAck(message, undefined, warning))
  return replies
}

/**
 * As `request`, but a dump of what may be many is made while it is read: between two of its messages the thread may do
 * other requests, and who has read enough says `return`.
 */
export function answer(c: Control, message: Uint8Array): Iterable<Uint8Array> {
  return isFlowDump(message) ? dump(c, message) : request(c, message)
}

function* dump(c: Control, message: Uint8Array): Generator<Uint8Array, void> {
  try {
    yield* flowDump(c.flow, message)
  } catch (e) {
    const why = refusal(e)
    if (!(why instanceof NetlinkError)) throw e
    yield buildError(message, why.errno, why.message, why.offset)
    return
  }
  const d = viewOf(message)
  yield buildDone(msgSeq(d), msgPid(d))
}

function refusal(e: unknown): unknown {
  if (e instanceof MemoryError) return new NetlinkError(ENOMEM, e.message)
  // The border checks lengths before it reads; should a message get past it, it is still the message that is wrong.
  if (e instanceof RangeError) return new NetlinkError(EINVAL, 'malformed message')
  return e
}
