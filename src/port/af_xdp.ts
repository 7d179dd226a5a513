// af_xdp: a port on a device of the kernel's, by AF_XDP sockets: the fast one.
//
// The UMEM is the arena's packet slots, and all four rings are mapped into the arena, so that frames travel between NIC,
// datapath and NIC in their slots, and the chip reads the descriptors itself (datapath/chip/xdp_ring.ts). Every receive
// queue of the device has a socket; queue i is worker (i mod workers)'s. A worker that has none of a device sends by a
// packet socket.
//
// Which frames come to us the XDP program decides (xdp_program.ts). It is attached in the driver, or else in the
// kernel's generic place, which is slower and says so.

import type { Arena } from '../memory/arena.ts'
import { DROP_TX_FULL } from '../memory/layout/drop.ts'
import { PKT_FRAME } from '../memory/layout/packet.ts'
import * as Q from '../memory/layout/queue.ts'
import { SUPER_PACKET_COUNT, SUPER_PACKET_SIZE, SUPER_PACKETS } from '../memory/layout/super.ts'
import {
  AF_XDP,
  addressOf,
  bind,
  close,
  getOption,
  MAP_FIXED,
  MAP_POPULATE,
  MAP_SHARED,
  MSG_DONTWAIT,
  mmap,
  PROT_READ_WRITE,
  SOCK_RAW,
  sendto,
  setOption,
  setOptionInt,
  socket,
} from '../sys/libc.ts'
import { EAFNOSUPPORT, ENETDOWN, ENODEV, ENXIO, EOPNOTSUPP, SysError } from '../sys/sys_error.ts'
import { attachXdp, loadXdpProgram, makeXskMap, replaceXdp, setMapEntry } from './bpf.ts'
import { driverOf, linkOf, receiveQueues, setJoinsReceived } from './link.ts'
import { growSendBuffer, openPacketSocket, openSender, prepareMessages, promiscuous } from './packet_socket.ts'
import type { OpenPort, PortDatapath, PortDriver, PortSpec, QueueDriver, Room } from './port.ts'
import { PortError, portError } from './port_error.ts'
import { xdpProgram } from './xdp_program.ts'

const SOL_XDP = 283
const XDP_MMAP_OFFSETS = 1
const XDP_RX_RING = 2
const XDP_TX_RING = 3
const XDP_UMEM_REG = 4
const XDP_UMEM_FILL_RING = 5
const XDP_UMEM_COMPLETION_RING = 6
const XDP_STATISTICS = 7
const XDP_MAX_TX_SKB_BUDGET = 9

const XDP_COPY = 2
const XDP_ZEROCOPY = 4
const XDP_USE_NEED_WAKEUP = 8
const XDP_UMEM_UNALIGNED_CHUNK_FLAG = 1
const XDP_FLAGS_SKB_MODE = 2
export const XDP_FLAGS_DRV_MODE = 4
const PGOFF_RX = 0
const PGOFF_TX = 0x80000000
const PGOFF_FILL = 0x100000000
const PGOFF_DONE = 0x180000000

/** Entries of each ring: at most so many slots of a worker stand in a port's fill ring. */
export const XDP_RING = 1024
const PAGE = 4096
const RING_BYTES = 4 * PAGE + XDP_RING * (8 + 8 + 16 + 16)
/** Headroom that the kernel keeps in every chunk. */
const XDP_PACKET_HEADROOM = 256
/** Frames that one system call may send (XDP_MAX_TX_SKB_BUDGET); 32 where the kernel is older. */
const BUDGET = 256
/** Slots that a worker keeps for what is not a received frame. */
const KEEP = 256

/** Drivers that hand frames of this machine over as they are, with checksums that only begin. */
const PARTIAL = new Set(['veth', 'tun', 'virtio_net', 'dummy', 'bridge', 'bonding', 'netkit', ''])

export const afXdpQueue: QueueDriver = {
  receive(dp, q, list, max) {
    const n = dp.rings.xdpReceive(q, list, max)
    dp.rings.xdpFill(q, KEEP)
    return n
  },
  flush(dp, q) {
    const { m } = dp.a
    const n = m[(q + Q.QUEUE_LIST_COUNT) >> 2]
    if (m[(q + Q.XSK_SENT) >> 2] > 0) dp.rings.xdpReap(q)
    if (n === 0 && !isWaiting(m, q)) return
    m[(q + Q.QUEUE_LIST_COUNT) >> 2] = 0
    const list = m[(q + Q.QUEUE_LIST) >> 2]
    const put = dp.rings.xdpSend(q, list, n)
    kick(dp, q)
    for (let i = put; i < n; i++) dp.drop(m[(list >> 2) + i], DROP_TX_FULL)
  },
}

/** Has the kernel left descriptors on the ring? */
const isWaiting = (m: Int32Array, q: number): boolean =>
  m[(q + Q.XSK_SENT) >> 2] > 0 && m[m[(q + Q.XSK_TX_PRODUCER) >> 2] >> 2] !== m[m[(q + Q.XSK_TX_CONSUMER) >> 2] >> 2]

/** Tells the kernel to send what is on the ring. */
function kick(dp: PortDatapath, q: number): void {
  const { m } = dp.a
  const sent = sendto(m[(q + Q.QUEUE_TX_FD) >> 2], null, 0, MSG_DONTWAIT)
  dp.rings.xdpReap(q)
  // The others (EAGAIN, EBUSY, ENOBUFS) leave it on the ring for the next time.
  if (sent === -ENETDOWN || sent === -ENXIO || sent === -ENODEV) m[(q + Q.QUEUE_BROKEN) >> 2] = 1
}

export const afXdp: PortDriver = {
  open(a: Arena, port: PortSpec, workers: number, room: Room): OpenPort {
    const link = linkOf(port.device)
    if (link === undefined) throw new PortError(port.name, `there is no device ${port.device}`)
    const fds: number[] = []
    const keep = (fd: number): number => {
      fds.push(fd)
      return fd
    }
    try {
      const filtered = port.role === 'uplink' && !port.ownNeighbours
      const { zeroCopy } = port
      const count = receiveQueues(port.device)
      const partial = PARTIAL.has(driverOf(port.device))
      setJoinsReceived(port.device, false)
      const map = keep(makeXskMap(count))
      const queues: number[][] = Array.from({ length: workers + 1 }, () => [])
      for (let i = 0; i < count; i++) {
        const r = room(1 + (i % workers), Math.floor(i / workers), RING_BYTES)
        const fd = keep(openSocket(a, r.q, r.ring, port, link.ifindex, i, zeroCopy))
        if (partial) a.m[(r.q + Q.QUEUE_FLAGS) >> 2] |= Q.QUEUE_F_PARTIAL
        setMapEntry(map, i, fd)
        queues[1 + (i % workers)].push(r.q)
      }
      for (const [w, own] of queues.entries()) {
        if (own.length > 0) continue
        const { q } = room(w, 0, 0)
        sender(a, q, port, keep(openSender(link.ifindex)))
        own.push(q)
      }
      if (port.role === 'access') promiscuous(keep(openPacketSocket()), link.ifindex)
      const nothing = { udp: [], protocols: [], addresses: [] }
      const program = loadXdpProgram(xdpProgram(map, filtered ? nothing : undefined))
      const [attached, mode] = attach(program, link.ifindex)
      keep(attached)
      close(program)
      const sockets = queues.flat().filter((q) => a.m[(q + Q.QUEUE_DRIVER) >> 2] === Q.DRIVER_AF_XDP)
      let missed = 0
      return {
        ifindex: link.ifindex,
        isDevice: true,
        queues,
        how: `af_xdp on ${port.device}, ${mode}, ${zeroCopy ? 'zero-copy' : 'copy'}, ${count} queue${count === 1 ? '' : 's'}`,
        ...(filtered && {
          filter(f) {
            const next = loadXdpProgram(xdpProgram(map, f))
            replaceXdp(attached, next)
            close(next)
          },
        }),
        missed() {
          const now = sockets.reduce((n, q) => n + missedBy(a.m[(q + Q.QUEUE_FD) >> 2]), 0)
          const since = now - missed
          missed = now
          return since
        },
        close() {
          for (const fd of [...fds].reverse()) close(fd)
        },
      }
    } catch (e) {
      for (const fd of [...fds].reverse()) close(fd)
      if (e instanceof SysError && e.errno === EAFNOSUPPORT)
        throw new PortError(port.name, 'af_xdp: this kernel has no AF_XDP sockets (CONFIG_XDP_SOCKETS)')
      if (e instanceof SysError && e.errno === EOPNOTSUPP && port.zeroCopy)
        throw new PortError(port.name, `af_xdp: the driver of ${port.device} has no zero-copy; leave zerocopy out`)
      throw portError(port.name, 'af_xdp', 'CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF', e)
    }
  },
}

/** A worker's queue that only sends, by a packet socket. */
function sender(a: Arena, q: number, port: PortSpec, fd: number): void {
  const set = setter(a, q)
  set(Q.QUEUE_DRIVER, Q.DRIVER_AF_PACKET)
  set(Q.QUEUE_DEV, port.dev)
  set(Q.QUEUE_PORT, port.number)
  set(Q.QUEUE_FD, -1)
  set(Q.QUEUE_TX_FD, fd)
  set(Q.QUEUE_BROKEN, 0)
  prepareMessages(a, q)
}

const setter =
  (a: Arena, q: number) =>
  (field: number, v: number): void => {
    a.m[(q + field) >> 2] = v
  }

/** A socket on receive queue i: UMEM over the packet slots, rings over `ring`. */
function openSocket(
  a: Arena,
  q: number,
  ring: number,
  port: PortSpec,
  ifindex: number,
  i: number,
  zeroCopy: boolean,
): number {
  const fd = socket(AF_XDP, SOCK_RAW, 0)
  try {
    const set = setter(a, q)
    registerUmem(a, fd, set, zeroCopy, port)
    for (const [option, name] of [
      [XDP_UMEM_FILL_RING, 'XDP_UMEM_FILL_RING'],
      [XDP_UMEM_COMPLETION_RING, 'XDP_UMEM_COMPLETION_RING'],
      [XDP_RX_RING, 'XDP_RX_RING'],
      [XDP_TX_RING, 'XDP_TX_RING'],
    ] as const)
      setOptionInt(fd, SOL_XDP, option, XDP_RING, name)
    mapRings(a, fd, ring, set)
    const d = new DataView(new ArrayBuffer(16)) // struct sockaddr_xdp
    d.setUint16(0, AF_XDP, true)
    d.setUint16(2, (zeroCopy ? XDP_ZEROCOPY : XDP_COPY) | XDP_USE_NEED_WAKEUP, true)
    d.setUint32(4, ifindex, true)
    d.setUint32(8, i, true)
    bind(fd, new Uint8Array(d.buffer), `${port.device} queue ${i}`)
    raiseBudget(fd)
    growSendBuffer(fd)
    set(Q.QUEUE_DRIVER, Q.DRIVER_AF_XDP)
    set(Q.QUEUE_DEV, port.dev)
    set(Q.QUEUE_PORT, port.number)
    set(Q.QUEUE_FLAGS, 0)
    set(Q.QUEUE_BROKEN, 0)
    set(Q.QUEUE_FD, fd)
    set(Q.QUEUE_TX_FD, fd)
    set(Q.XSK_MASK, XDP_RING - 1)
    set(Q.XSK_SENT, 0)
    return fd
  } catch (e) {
    close(fd)
    throw e
  }
}

/**
 * The packet slots as UMEM (struct xdp_umem_reg). Slots are no power of two, which keeps them in different cache sets;
 * for a NIC that writes to them itself a chunk must not reach over a page, so there slots are pages.
 */
function registerUmem(
  a: Arena,
  fd: number,
  set: (field: number, v: number) => void,
  zeroCopy: boolean,
  port: PortSpec,
): void {
  const slot = a.m[SUPER_PACKET_SIZE >> 2]
  const aligned = (slot & (slot - 1)) === 0
  if (slot > PAGE)
    throw new PortError(port.name, `af_xdp: frames of ${slot - PKT_FRAME} bytes do not fit into a page; lower the MTU`)
  if (zeroCopy && !aligned) throw new PortError(port.name, 'af_xdp: zero-copy needs packet slots of a page')
  const first = a.m[SUPER_PACKETS >> 2]
  const d = new DataView(new ArrayBuffer(32))
  d.setBigUint64(0, BigInt(addressOf(a.u8) + first), true)
  d.setBigUint64(8, BigInt(Math.ceil((a.m[SUPER_PACKET_COUNT >> 2] * slot) / PAGE) * PAGE), true)
  d.setUint32(16, slot, true)
  d.setUint32(20, PKT_FRAME - XDP_PACKET_HEADROOM, true)
  d.setUint32(24, aligned ? 0 : XDP_UMEM_UNALIGNED_CHUNK_FLAG, true)
  setOption(fd, SOL_XDP, XDP_UMEM_REG, new Uint8Array(d.buffer), 'XDP_UMEM_REG')
  set(Q.XSK_UMEM, first)
  set(Q.XSK_CHUNK_MASK, aligned ? slot - 1 : 0)
}

/** Maps the four rings over the arena, one behind the other (struct xdp_mmap_offsets says what is where in each). */
function mapRings(a: Arena, fd: number, ring: number, set: (field: number, v: number) => void): void {
  const offsets = new BigUint64Array(16)
  getOption(fd, SOL_XDP, XDP_MMAP_OFFSETS, new Uint8Array(offsets.buffer), 'XDP_MMAP_OFFSETS')
  const base = addressOf(a.u8)
  let at = ring
  const map = (i: number, entry: number, page: number, producer: number, consumer: number, entries: number): void => {
    const [p, c, desc] = [0, 1, 2].map((k) => Number(offsets[i * 4 + k]))
    const bytes = Math.ceil((desc + XDP_RING * entry) / PAGE) * PAGE
    mmap(base + at, bytes, PROT_READ_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd, page, 'of an AF_XDP ring')
    set(producer, at + p)
    set(consumer, at + c)
    set(entries, at + desc)
    at += bytes
  }
  map(0, 16, PGOFF_RX, Q.XSK_RX_PRODUCER, Q.XSK_RX_CONSUMER, Q.XSK_RX)
  map(1, 16, PGOFF_TX, Q.XSK_TX_PRODUCER, Q.XSK_TX_CONSUMER, Q.XSK_TX)
  map(2, 8, PGOFF_FILL, Q.XSK_FILL_PRODUCER, Q.XSK_FILL_CONSUMER, Q.XSK_FILL)
  map(3, 8, PGOFF_DONE, Q.XSK_DONE_PRODUCER, Q.XSK_DONE_CONSUMER, Q.XSK_DONE)
}

function raiseBudget(fd: number): void {
  try {
    setOptionInt(fd, SOL_XDP, XDP_MAX_TX_SKB_BUDGET, BUDGET, 'XDP_MAX_TX_SKB_BUDGET')
  } catch (e) {
    if (!(e instanceof SysError)) throw e
  }
}

/** Attaches in the driver, else in the generic place. @throws SysError, with the reason of the second */
function attach(program: number, ifindex: number): [link: number, mode: string] {
  try {
    return [attachXdp(program, ifindex, XDP_FLAGS_DRV_MODE), 'native']
  } catch (e) {
    if (!(e instanceof SysError)) throw e
    return [attachXdp(program, ifindex, XDP_FLAGS_SKB_MODE), `generic, since ${e.message}`]
  }
}

/** struct xdp_statistics: dropped for want of room, of a valid address, of room in the rx ring, of a free slot. */
function missedBy(fd: number): number {
  const stats = new BigUint64Array(6)
  getOption(fd, SOL_XDP, XDP_STATISTICS, new Uint8Array(stats.buffer), 'XDP_STATISTICS')
  return Number(stats[0] + stats[3])
}
