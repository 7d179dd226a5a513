// Datagrams: how netlink messages travel together (af_netlink.c: netlink_rcv_skb, netlink_dump).
//
// A client may put several requests into one datagram; each is done and answered in turn. The parts of a dump come several
// to a datagram, as many as surely fit into a reader's buffer; everything else comes alone.

import {
  align4,
  buildAck,
  buildError,
  msgFlags,
  msgLen,
  msgPid,
  msgSeq,
  msgType,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_ECHO,
  NLM_F_MULTI,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  NLMSG_HDRLEN,
  setMsgPid,
  viewOf,
} from '../wire/netlink.ts'
import { EINVAL } from '../wire/netlink_error.ts'
import { RTM_GETLINK } from '../wire/rtm_link.ts'

/** NLMSG_GOODSIZE of a machine with 4 KiB pages: what the kernel fills when it does not know the reader's buffer. */
export const DATAGRAM_SIZE = 3776
/** NLMSG_MIN_TYPE: below are control messages, which ask for nothing. */
const MIN_TYPE = 16

const isPart = (m: Uint8Array): boolean => (msgFlags(viewOf(m)) & NLM_F_MULTI) !== 0

/** Packs answers into datagrams as they come: consecutive parts of a dump together, other messages alone. */
export function* pack(replies: Iterable<Uint8Array>): Generator<Uint8Array, void> {
  let parts: Uint8Array[] = []
  let size = 0
  for (const m of replies) {
    const n = align4(m.length)
    if (parts.length > 0 && (!isPart(m) || size + n > DATAGRAM_SIZE)) {
      yield join(parts, size)
      parts = []
      size = 0
    }
    parts.push(m)
    size += n
    if (isPart(m) && msgType(viewOf(m)) !== NLMSG_DONE) continue
    yield join(parts, size)
    parts = []
    size = 0
  }
  if (parts.length > 0) yield join(parts, size)
}

function join(messages: readonly Uint8Array[], size: number): Uint8Array {
  const datagram = new Uint8Array(size)
  let at = 0
  for (const m of messages) {
    datagram.set(m, at)
    at += align4(m.length)
  }
  return datagram
}

export interface Requester {
  /**
   * Does one well-formed request of port id `nlmsg_pid`, and answers it. Does not throw for what the message says. A long
   * answer is made while it is read.
   */
  request(message: Uint8Array): Iterable<Uint8Array>
}

/**
 * Does every request of a datagram, for a socket with this port id: one after the other, each when the answers to those
 * before it have been read. What cannot be a message is answered with EINVAL, and nothing that follows it is looked at;
 * zeros behind a message end the datagram.
 */
export function* receive(requester: Requester, datagram: Uint8Array, port: number): Generator<Uint8Array, void> {
  let o = 0
  do {
    const left = datagram.length - o
    const length = left < NLMSG_HDRLEN ? 0 : msgLen(viewOf(datagram), o)
    // libnetlink sends some dump requests with the room behind them: zeros, and no message.
    if (length === 0 && o > 0) return
    if (length < NLMSG_HDRLEN || length > left) {
      yield malformed(datagram.subarray(o), port)
      return
    }
    yield* answer(requester, datagram.slice(o, o + length), port)
    o += align4(length)
  } while (o < datagram.length)
}

function* answer(requester: Requester, message: Uint8Array, port: number): Generator<Uint8Array, void> {
  const d = viewOf(message)
  if (!isRequest(d)) {
    if (msgFlags(d) & NLM_F_ACK) yield buildAck(message, port)
    return
  }
  const said = msgPid(d)
  setMsgPid(d, 0, port)
  for (const r of requester.request(message)) {
    const rd = viewOf(r)
    // An error quotes the request as it came.
    if (msgType(rd) === NLMSG_ERROR) setMsgPid(rd, NLMSG_HDRLEN + 4, said)
    yield r
  }
}

const isRequest = (d: DataView): boolean => (msgFlags(d) & NLM_F_REQUEST) !== 0 && msgType(d) >= MIN_TYPE

/** The types of the requests in a datagram. */
export function requestTypes(datagram: Uint8Array): number[] {
  const types: number[] = []
  for (let o = 0; datagram.length - o >= NLMSG_HDRLEN; ) {
    const d = viewOf(datagram)
    const length = msgLen(d, o)
    if (length < NLMSG_HDRLEN || length > datagram.length - o) break
    if (msgFlags(d, o) & NLM_F_REQUEST && msgType(d, o) >= MIN_TYPE) types.push(msgType(d, o))
    o += align4(length)
  }
  return types
}

/** Does the datagram ask for a dump, other than of devices, which are few and which programs ask for to learn their names? */
export function asksDump(datagram: Uint8Array): boolean {
  const d = viewOf(datagram)
  for (let o = 0; datagram.length - o >= NLMSG_HDRLEN; ) {
    const length = msgLen(d, o)
    if (length < NLMSG_HDRLEN || length > datagram.length - o) return false
    if ((msgFlags(d, o) & NLM_F_DUMP) === NLM_F_DUMP && msgType(d, o) !== RTM_GETLINK) return true
    o += align4(length)
  }
  return false
}

function malformed(rest: Uint8Array, port: number): Uint8Array {
  const header = new Uint8Array(NLMSG_HDRLEN)
  header.set(rest.subarray(0, NLMSG_HDRLEN))
  const d = viewOf(header)
  // Quoted is a header alone, whatever it says of its length.
  d.setUint32(0, NLMSG_HDRLEN, true)
  return buildError(header, EINVAL, 'malformed message: its length is not its own', 0, port)
}

/** Is this notification the echo that its own sender gets as an answer already? (nlmsg_notify leaves the sender out.) */
export function isEchoTo(message: Uint8Array, port: number, request: Uint8Array | null): boolean {
  if (request === null || !(msgFlags(viewOf(request)) & NLM_F_ECHO)) return false
  const d = viewOf(message)
  return msgPid(d) === port && msgSeq(d) === msgSeq(viewOf(request))
}
