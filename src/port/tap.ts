// tap: a device that the port makes; what the kernel sends by it the switch receives, and the other way round.
//
// A queue for each worker (IFF_MULTI_QUEUE): the kernel spreads flows over them. One system call a frame. Each frame has
// a struct virtio_net_hdr in front (IFF_VNET_HDR): the kernel leaves checksums and segmentation to us, as to a NIC that
// can do it, which saves most of the calls of a bulk transfer. The device is gone when the port is closed.

import type { Arena } from '../memory/arena.ts'
import { DROP_PORT_GONE, DROP_TX_FULL, DROP_TX_REFUSED } from '../memory/layout/drop.ts'
import { PKT_DATA, PKT_DEV, PKT_FRAME, PKT_LEN } from '../memory/layout/packet.ts'
import * as Q from '../memory/layout/queue.ts'
import { addressOf, close, ioctl, O_NONBLOCK, O_RDWR, open, readv, writev } from '../sys/libc.ts'
import { EAGAIN, EINTR, ENOBUFS } from '../sys/sys_error.ts'
import { linkOf, setMtu, setUp } from './link.ts'
import type { OpenPort, PortDatapath, PortDriver, PortSpec, QueueDriver, Room } from './port.ts'
import { PortError, portError } from './port_error.ts'
import { flushEach } from './queue_list.ts'
import { segment, VNET_F_NEEDS_CSUM, VNET_LEN } from './segment.ts'

const TUNSETIFF = 0x400454ca
const TUNSETOFFLOAD = 0x400454d0
const IFF_TAP = 2
const IFF_MULTI_QUEUE = 0x100
const IFF_NO_PI = 0x1000
const IFF_VNET_HDR = 0x4000
const TUN_F_CSUM = 1
const TUN_F_TSO4 = 2
const TUN_F_TSO6 = 4
const TUN_F_TSO_ECN = 8

/** Largest GSO frame. */
const GSO_MAX = 65536 + 64
/** The ring memory of a queue: a header of zeros to send with, then room for what does not fit into a slot. */
const ZEROS = 64
const STAGING_BYTES = ZEROS + VNET_LEN + GSO_MAX

export const tapQueue: QueueDriver = {
  receive(dp, q, list, max) {
    const fd = dp.a.m[(q + Q.QUEUE_FD) >> 2]
    if (fd < 0) return 0
    let n = 0
    while (n < max) {
      const got = receiveOne(dp, q, fd, list + n * 4)
      if (got < 0) break
      n += got
    }
    return n
  },
  flush: (dp, q) => flushEach(dp, q, sendOne),
}

/** Two vectors at the queue's place for them; returns their address as the kernel sees it. */
function vectors(a: Arena, q: number, at0: number, n0: number, at1: number, n1: number): number {
  const base = a.d.getBigUint64(q + Q.QUEUE_BASE, true)
  const v = a.m[(q + Q.QUEUE_VECTORS) >> 2]
  a.d.setBigUint64(v, base + BigInt(at0), true)
  a.d.setBigUint64(v + 8, BigInt(n0), true)
  a.d.setBigUint64(v + 16, base + BigInt(at1), true)
  a.d.setBigUint64(v + 24, BigInt(n1), true)
  return Number(base) + v
}

/** One frame, or the segments of one. How many; -1: nothing was there. */
function receiveOne(dp: PortDatapath, q: number, fd: number, list: number): number {
  const { a } = dp
  const pkt = dp.alloc()
  if (pkt === 0) return -1 // left where it is: the device's queue is longer than ours
  const vnet = pkt + PKT_FRAME - VNET_LEN
  const room = VNET_LEN + dp.maxFrame()
  const staging = a.m[(q + Q.QUEUE_STAGING) >> 2]
  const got = readv(fd, vectors(a, q, vnet, room, staging + room, STAGING_BYTES - ZEROS - room), 2)
  if (got < VNET_LEN) {
    dp.release(pkt)
    if (got < 0 && got !== -EAGAIN && got !== -EINTR) a.m[(q + Q.QUEUE_BROKEN) >> 2] = 1
    return -1
  }
  const len = got - VNET_LEN
  const dev = a.m[(q + Q.QUEUE_DEV) >> 2]
  if (got <= room && a.u8[vnet + 1] === 0) {
    // `load` makes the metadata; the bytes are where it puts them already.
    const partial = (a.u8[vnet] & VNET_F_NEEDS_CSUM) !== 0
    if (partial)
      dp.rings.completeChecksum(pkt + PKT_FRAME, len, a.d.getUint16(vnet + 6, true), a.d.getUint16(vnet + 8, true))
    dp.load(pkt, pkt + PKT_FRAME, len)
    a.m[(pkt + PKT_DEV) >> 2] = dev
    a.m[list >> 2] = pkt
    return 1
  }
  dp.rings.copyBytes(staging, vnet, Math.min(got, room))
  dp.release(pkt)
  const n = segment(dp, staging, staging + VNET_LEN, len, list)
  for (let i = 0; i < n; i++) a.m[(a.m[(list >> 2) + i] + PKT_DEV) >> 2] = dev
  return n
}

function sendOne(dp: PortDatapath, q: number, pkt: number): void {
  const { a } = dp
  const { m } = a
  const zeros = m[(q + Q.QUEUE_STAGING) >> 2] - ZEROS
  const v = vectors(a, q, zeros, VNET_LEN, m[(pkt + PKT_DATA) >> 2], m[(pkt + PKT_LEN) >> 2])
  let sent: number
  do sent = writev(m[(q + Q.QUEUE_TX_FD) >> 2], v, 2)
  while (sent === -EINTR)
  if (sent >= 0) dp.release(pkt)
  else if (sent === -EAGAIN || sent === -ENOBUFS) dp.drop(pkt, DROP_TX_FULL)
  else if (sent === -EIO || sent === -EBADFD) {
    dp.drop(pkt, DROP_PORT_GONE) // the device is down, or has been taken away
    if (sent === -EBADFD) m[(q + Q.QUEUE_BROKEN) >> 2] = 1
  } else dp.drop(pkt, DROP_TX_REFUSED)
}

const EIO = 5
const EBADFD = 77

export const tap: PortDriver = {
  open(a: Arena, port: PortSpec, workers: number, room: Room): OpenPort {
    const fds: number[] = []
    try {
      const queues: number[][] = []
      for (let w = 0; w <= workers; w++) {
        const r = room(w, 0, STAGING_BYTES)
        const set = (field: number, v: number): void => {
          a.m[(r.q + field) >> 2] = v
        }
        if (w > 0) fds.push(openQueue(port.device))
        set(Q.QUEUE_DRIVER, Q.DRIVER_TAP)
        set(Q.QUEUE_DEV, port.dev)
        set(Q.QUEUE_PORT, port.number)
        set(Q.QUEUE_BROKEN, 0)
        set(Q.QUEUE_FD, w === 0 ? -1 : fds[w - 1])
        set(Q.QUEUE_TX_FD, w === 0 ? -1 : fds[w - 1])
        set(Q.QUEUE_STAGING, r.ring + ZEROS)
        a.d.setBigUint64(r.q + Q.QUEUE_BASE, BigInt(addressOf(a.u8)), true)
        queues.push([r.q])
      }
      // A queue of its own would get a share of the flows: the switch thread writes to a worker's.
      a.m[(queues[0][0] + Q.QUEUE_TX_FD) >> 2] = fds[0]
      setMtu(port.device, port.mtu)
      setUp(port.device)
      const link = linkOf(port.device)
      if (link === undefined) throw new PortError(port.name, `the tap device ${port.device} went away at once`)
      return {
        ifindex: link.ifindex,
        isDevice: false,
        queues,
        how: `tap ${port.device}, ${workers} queue${workers === 1 ? '' : 's'}`,
        missed: () => 0,
        close() {
          for (const fd of fds) close(fd)
        },
      }
    } catch (e) {
      for (const fd of fds) close(fd)
      throw portError(port.name, 'tap', 'CAP_NET_ADMIN and /dev/net/tun', e)
    }
  },
}

/** One more queue of the device, which is made when it is the first. */
function openQueue(device: string): number {
  const fd = open('/dev/net/tun', O_RDWR | O_NONBLOCK)
  try {
    const ifr = new Uint8Array(40)
    ifr.set(new TextEncoder().encode(device).subarray(0, 15))
    new DataView(ifr.buffer).setUint16(16, IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE | IFF_VNET_HDR, true)
    ioctl(fd, TUNSETIFF, ifr, `TUNSETIFF ${device}`)
    // The argument is the flags themselves.
    ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN, 'TUNSETOFFLOAD')
    return fd
  } catch (e) {
    close(fd)
    throw e
  }
}
