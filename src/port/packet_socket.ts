// Packet sockets (packet(7)): what af_packet is made of, and what af_xdp sends by where it has no queue of its own.

import type { Arena } from '../memory/arena.ts'
import { DROP_PORT_GONE, DROP_TX_FULL, DROP_TX_REFUSED } from '../memory/layout/drop.ts'
import * as Q from '../memory/layout/queue.ts'
import {
  AF_PACKET,
  addressOf,
  bind,
  close,
  MSG_DONTWAIT,
  SO_SNDBUFFORCE,
  SOCK_RAW,
  SOL_SOCKET,
  sendmmsg,
  setOption,
  setOptionInt,
  socket,
} from '../sys/libc.ts'
import { EAGAIN, EINTR, ENETDOWN, ENOBUFS, ENODEV, ENXIO, SysError } from '../sys/sys_error.ts'
import type { PortDatapath } from './port.ts'

export const SOL_PACKET = 263
const PACKET_ADD_MEMBERSHIP = 1
const PACKET_MR_PROMISC = 1
const ETH_P_ALL = 3
const SNDBUF = 4 << 20

/** struct sockaddr_ll. */
function address(ifindex: number, protocol: number): Uint8Array {
  const d = new DataView(new ArrayBuffer(20))
  d.setUint16(0, AF_PACKET, true)
  d.setUint16(2, protocol)
  d.setInt32(4, ifindex, true)
  return new Uint8Array(d.buffer)
}

/** A packet socket that receives nothing before it is bound. @throws SysError */
export const openPacketSocket = (): number => socket(AF_PACKET, SOCK_RAW, 0)

/** Binds to a device: to receive everything, or only to send. @throws SysError */
export const bindPacketSocket = (fd: number, ifindex: number, receives: boolean): void =>
  bind(fd, address(ifindex, receives ? ETH_P_ALL : 0), `device ${ifindex}`)

/** The device takes frames for other stations too, as long as the socket is open (struct packet_mreq). @throws SysError */
export function promiscuous(fd: number, ifindex: number): void {
  const d = new DataView(new ArrayBuffer(16))
  d.setInt32(0, ifindex, true)
  d.setUint16(4, PACKET_MR_PROMISC, true)
  setOption(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, new Uint8Array(d.buffer), 'PACKET_ADD_MEMBERSHIP')
}

/** A socket that only sends. @throws SysError */
export function openSender(ifindex: number): number {
  const fd = openPacketSocket()
  try {
    bindPacketSocket(fd, ifindex, false)
    growSendBuffer(fd)
    return fd
  } catch (e) {
    close(fd)
    throw e
  }
}

/** More frames may be under way; without the capability it stays as it is. */
export function growSendBuffer(fd: number): void {
  try {
    setOptionInt(fd, SOL_SOCKET, SO_SNDBUFFORCE, SNDBUF)
  } catch (e) {
    if (!(e instanceof SysError)) throw e
  }
}

/** struct mmsghdr: where its msg_iov and msg_iovlen are. */
const MMSGHDR = 64
const MSG_IOV = 16
const MSG_IOVLEN = 24
const IOVEC = 16

/** Sets a queue's message headers up: message i has vector i. */
export function prepareMessages(a: Arena, q: number): void {
  const { m, d } = a
  const base = BigInt(addressOf(a.u8))
  d.setBigUint64(q + Q.QUEUE_BASE, base, true)
  for (let i = 0; i < Q.QUEUE_LIST_MAX; i++) {
    const message = m[(q + Q.QUEUE_MESSAGES) >> 2] + i * MMSGHDR
    d.setBigUint64(message + MSG_IOV, base + BigInt(m[(q + Q.QUEUE_VECTORS) >> 2] + i * IOVEC), true)
    d.setBigUint64(message + MSG_IOVLEN, 1n, true)
  }
}

const isGone = (errno: number): boolean => errno === ENETDOWN || errno === ENXIO || errno === ENODEV

/** Sends the packets of the queue's list by its QUEUE_TX_FD. A QueueDriver's flush. */
export function flushMessages(dp: PortDatapath, q: number): void {
  const { m, d } = dp.a
  const n = m[(q + Q.QUEUE_LIST_COUNT) >> 2]
  if (n === 0) return
  m[(q + Q.QUEUE_LIST_COUNT) >> 2] = 0
  const list = m[(q + Q.QUEUE_LIST) >> 2]
  const fd = m[(q + Q.QUEUE_TX_FD) >> 2]
  dp.rings.packetVectors(q, list, n)
  const messages = Number(d.getBigUint64(q + Q.QUEUE_BASE, true)) + m[(q + Q.QUEUE_MESSAGES) >> 2]
  const end = (list >> 2) + n
  for (let at = list >> 2; at < end; ) {
    const from = at - (list >> 2)
    const sent = sendmmsg(fd, messages + from * MMSGHDR, n - from, MSG_DONTWAIT)
    if (sent > 0) {
      for (let i = 0; i < sent; i++) dp.release(m[at++])
    } else if (sent === -EAGAIN) {
      while (at < end) dp.drop(m[at++], DROP_TX_FULL)
    } else if (isGone(-sent)) {
      m[(q + Q.QUEUE_BROKEN) >> 2] = 1
      while (at < end) dp.drop(m[at++], DROP_PORT_GONE)
    } else if (sent !== -EINTR) dp.drop(m[at++], sent === -ENOBUFS ? DROP_TX_FULL : DROP_TX_REFUSED)
  }
}
