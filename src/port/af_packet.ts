// af_packet: a port on any device of the kernel's, by packet sockets. The driver that always works.
//
// Receives from a TPACKET_V3 ring that is mapped into the arena; several workers share the frames by flow
// (PACKET_FANOUT_HASH). Sends by sendmmsg from the packet slots. A struct virtio_net_hdr comes with each frame, so that
// partial checksums can be completed and GSO frames taken apart. Frames that the machine itself sends by the device are
// not received.
//
// A packet socket gets copies: what is the switch's the kernel sees too, and would answer "port unreachable" for a tunnel
// that it does not know. On an uplink, sockets that are open and take nothing keep it quiet.

import type { Arena } from '../memory/arena.ts'
import { DROP_RX_TRUNCATED } from '../memory/layout/drop.ts'
import { PKT_DEV } from '../memory/layout/packet.ts'
import * as Q from '../memory/layout/queue.ts'
import {
  addressOf,
  close,
  getOption,
  MAP_FIXED,
  MAP_SHARED,
  mmap,
  PROT_READ_WRITE,
  setOption,
  setOptionInt,
} from '../sys/libc.ts'
import { ETH_P_8021Q } from '../wire/ethernet.ts'
import type { DeviceFilter } from './endpoints.ts'
import { attachProgram, closeGuards, guard } from './guard.ts'
import { linkOf } from './link.ts'
import {
  bindPacketSocket,
  flushMessages,
  openPacketSocket,
  openSender,
  prepareMessages,
  promiscuous,
  SOL_PACKET,
} from './packet_socket.ts'
import type { OpenPort, PortDatapath, PortDriver, PortSpec, QueueDriver, Room } from './port.ts'
import { PortError, portError } from './port_error.ts'
import { segment, VNET_LEN } from './segment.ts'
import { socketFilter } from './socket_filter.ts'

const PACKET_RX_RING = 5
const PACKET_STATISTICS = 6
const PACKET_VERSION = 10
const PACKET_VNET_HDR = 15
const PACKET_FANOUT = 18
const PACKET_IGNORE_OUTGOING = 23
const TPACKET_V3 = 2
const PACKET_FANOUT_HASH = 0
const PACKET_FANOUT_FLAG_UNIQUEID = 0x2000

/** A GSO frame of 64 KiB fits into a block. */
const BLOCK_BYTES = 1 << 18
const BLOCKS = 8
const FRAME_BYTES = 2048
/** A block that is not full is given to us after that long, ms. */
const RETIRE = 1

// struct tpacket3_hdr
const FRAME_SNAPLEN = 12
const FRAME_LEN = 16
const FRAME_STATUS = 20
const FRAME_MAC = 24
const TP_STATUS_VLAN_VALID = 0x10
const TP_STATUS_VLAN_TPID_VALID = 0x40

export const afPacketQueue: QueueDriver = {
  receive(dp, q, list, max) {
    if (dp.a.m[(q + Q.QUEUE_FD) >> 2] < 0) return 0
    let n = dp.rings.packetReceive(q, list, max)
    while (n < max && dp.a.m[(q + Q.RING_LEFT) >> 2] > 0) {
      n += segmentNext(dp, q, list + n * 4)
      if (n < max) n += dp.rings.packetReceive(q, list + n * 4, max - n)
    }
    return n
  },
  flush: flushMessages,
}

/** The GSO frame that the ring stopped in front of. */
function segmentNext(dp: PortDatapath, q: number, list: number): number {
  const { m, d } = dp.a
  const frame = m[(q + Q.RING_NEXT) >> 2]
  const data = frame + d.getUint16(frame + FRAME_MAC, true)
  const len = m[(frame + FRAME_LEN) >> 2]
  let n = 0
  if (m[(frame + FRAME_SNAPLEN) >> 2] < len) dp.countDrop(DROP_RX_TRUNCATED)
  else n = segment(dp, data - VNET_LEN, data, len, list)
  const status = m[(frame + FRAME_STATUS) >> 2]
  for (let i = 0; i < n; i++) {
    const pkt = m[(list >> 2) + i]
    m[(pkt + PKT_DEV) >> 2] = m[(q + Q.QUEUE_DEV) >> 2]
    if ((status & TP_STATUS_VLAN_VALID) !== 0)
      dp.rings.putTag(pkt, tpidOf(d, frame, status), d.getUint16(frame + 32, true))
  }
  dp.rings.packetStep(q)
  return n
}

const tpidOf = (d: DataView, frame: number, status: number): number =>
  (status & TP_STATUS_VLAN_TPID_VALID) !== 0 ? d.getUint16(frame + 36, true) : ETH_P_8021Q

export const afPacket: PortDriver = {
  open(a: Arena, port: PortSpec, workers: number, room: Room): OpenPort {
    const link = linkOf(port.device)
    if (link === undefined) throw new PortError(port.name, `there is no device ${port.device}`)
    const fds: number[] = []
    const keep = (fd: number): number => {
      fds.push(fd)
      return fd
    }
    const filtered = port.role === 'uplink' && !port.ownNeighbours
    const receivers: number[] = []
    const guards = new Map<string, number>()
    try {
      const queues: number[][] = []
      let fanout = 0
      for (let w = 0; w <= workers; w++) {
        const r = room(w, 0, w === 0 ? 0 : BLOCK_BYTES * BLOCKS)
        const set = (field: number, v: number): void => {
          a.m[(r.q + field) >> 2] = v
        }
        set(Q.QUEUE_DRIVER, Q.DRIVER_AF_PACKET)
        set(Q.QUEUE_DEV, port.dev)
        set(Q.QUEUE_PORT, port.number)
        set(Q.QUEUE_BROKEN, 0)
        set(Q.QUEUE_FD, -1)
        set(Q.QUEUE_TX_FD, keep(openSender(link.ifindex)))
        prepareMessages(a, r.q)
        if (w > 0) {
          const fd = keep(openPacketSocket())
          if (filtered) attachFilter(fd, { udp: [], protocols: [], addresses: [] })
          mapRing(a, fd, r.ring, set)
          bindPacketSocket(fd, link.ifindex, true)
          if (port.role === 'access') promiscuous(fd, link.ifindex)
          if (workers > 1) fanout = joinFanout(fd, fanout)
          set(Q.QUEUE_FD, fd)
          receivers.push(fd)
        }
        queues.push([r.q])
      }
      return {
        ifindex: link.ifindex,
        isDevice: true,
        queues,
        how: `af_packet on ${port.device}, TPACKET_V3${workers > 1 ? `, fanout over ${workers} workers` : ''}`,
        ...(filtered && {
          filter(f: DeviceFilter) {
            for (const fd of receivers) attachFilter(fd, f)
            guard(guards, f)
          },
        }),
        missed: () => receivers.reduce((n, fd) => n + missedBy(fd), 0),
        close() {
          for (const fd of fds) close(fd)
          closeGuards(guards)
        },
      }
    } catch (e) {
      for (const fd of fds) close(fd)
      throw portError(port.name, 'af_packet', 'CAP_NET_RAW', e)
    }
  },
}

/** Makes the receive ring and maps it over `ring` of the arena. */
function mapRing(a: Arena, fd: number, ring: number, set: (field: number, v: number) => void): void {
  setOptionInt(fd, SOL_PACKET, PACKET_VERSION, TPACKET_V3, 'PACKET_VERSION')
  setOptionInt(fd, SOL_PACKET, PACKET_VNET_HDR, 1, 'PACKET_VNET_HDR')
  setOptionInt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1, 'PACKET_IGNORE_OUTGOING')
  // struct tpacket_req3: block size and count, frame size and count, retire time, private bytes, features
  const frames = (BLOCK_BYTES / FRAME_BYTES) * BLOCKS
  const req = Uint32Array.of(BLOCK_BYTES, BLOCKS, FRAME_BYTES, frames, RETIRE, 0, 0)
  setOption(fd, SOL_PACKET, PACKET_RX_RING, new Uint8Array(req.buffer), 'PACKET_RX_RING')
  const at = addressOf(a.u8) + ring
  mmap(at, BLOCK_BYTES * BLOCKS, PROT_READ_WRITE, MAP_SHARED | MAP_FIXED, fd, 0, 'PACKET_RX_RING')
  set(Q.RING_BLOCKS, ring)
  set(Q.RING_BLOCK_SIZE, BLOCK_BYTES)
  set(Q.RING_BLOCK_COUNT, BLOCKS)
  set(Q.RING_BLOCK, 0)
  set(Q.RING_LEFT, 0)
  set(Q.RING_NEXT, 0)
}

/** Joins a group whose members get different flows: the first one makes it. Returns its id. */
function joinFanout(fd: number, id: number): number {
  const type = PACKET_FANOUT_HASH | (id === 0 ? PACKET_FANOUT_FLAG_UNIQUEID : 0)
  setOptionInt(fd, SOL_PACKET, PACKET_FANOUT, id | (type << 16), 'PACKET_FANOUT')
  const got = new Uint8Array(4)
  getOption(fd, SOL_PACKET, PACKET_FANOUT, got, 'PACKET_FANOUT')
  return new DataView(got.buffer).getUint16(0, true)
}

/** struct tpacket_stats_v3 counts since it was last asked. */
function missedBy(fd: number): number {
  const stats = new Uint8Array(12)
  getOption(fd, SOL_PACKET, PACKET_STATISTICS, stats, 'PACKET_STATISTICS')
  return new DataView(stats.buffer).getUint32(4, true)
}

const attachFilter = (fd: number, f: DeviceFilter): void => attachProgram(fd, socketFilter(f))
