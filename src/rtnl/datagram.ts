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
  NLM_F_ECHO,
  NLM_F_MULTI,
  NLM_F_REQUEST,
  NLMSG_ERROR,
  NLMSG_HDRLEN,
  setMsgPid,
  viewOf,
} from '../wire/netlink.ts'
import { EINVAL } from '../wire/netlink_error.ts'

/** NLMSG_GOODSIZE of a machine with 4 KiB pages: what the kernel fills when it does not know the reader's buffer. */
export const DATAGRAM_SIZE = 3776
/** NLMSG_MIN_TYPE: below are control messages, which ask for nothing. */
const MIN_TYPE = 16

/** Packs answers into datagrams: consecutive parts of a dump together, other messages alone. */
export function pack(replies: readonly Uint8Array[]): Uint8Array[] {
  const datagrams: Uint8Array[] = []
  for (let i = 0; i < replies.length; ) {
    let size = align4(replies[i].length)
    let end = i + 1
    if (isPart(replies[i]))
      for (; end < replies.length && isPart(replies[end]); end++) {
        if (size + align4(replies[end].length) > DATAGRAM_SIZE) break
        size += align4(replies[end].length)
      }
    const datagram = new Uint8Array(size)
    for (let at = 0; i < end; i++) {
      datagram.set(replies[i], at)
      at += align4(replies[i].length)
    }
    datagrams.push(datagram)
  }
  return datagrams
}

const isPart = (m: Uint8Array): boolean => (msgFlags(viewOf(m)) & NLM_F_MULTI) !== 0

export interface Requester {
  /** Does one well-formed request of port id `nlmsg_pid`, and answers it. Does not throw for what the message says. */
  request(message: Uint8Array): Uint8Array[]
}

/**
 * Does every request of a datagram, for a socket with this port id; the answers go to `reply`, request by request. What
 * cannot be a message is answered with EINVAL, and nothing that follows it is looked at.
 */
export function receive(
  requester: Requester,
  datagram: Uint8Array,
  port: number,
  reply: (messages: readonly Uint8Array[]) => void,
): void {
  let o = 0
  do {
    const left = datagram.length - o
    const length = left < NLMSG_HDRLEN ? 0 : msgLen(viewOf(datagram), o)
    if (length < NLMSG_HDRLEN || length > left) {
      reply([malformed(datagram.subarray(o), port)])
      return
    }
    answer(requester, datagram.slice(o, o + length), port, reply)
    o += align4(length)
  } while (o < datagram.length)
}

function answer(
  requester: Requester,
  message: Uint8Array,
  port: number,
  reply: (messages: readonly Uint8Array[]) => void,
): void {
  const d = viewOf(message)
  if (!(msgFlags(d) & NLM_F_REQUEST) || msgType(d) < MIN_TYPE) {
    if (msgFlags(d) & NLM_F_ACK) reply([buildAck(message, port)])
    return
  }
  const said = msgPid(d)
  setMsgPid(d, 0, port)
  const replies = requester.request(message)
  // An error quotes the request as it came.
  for (const r of replies) {
    const rd = viewOf(r)
    if (msgType(rd) === NLMSG_ERROR) setMsgPid(rd, NLMSG_HDRLEN + 4, said)
  }
  reply(replies)
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
