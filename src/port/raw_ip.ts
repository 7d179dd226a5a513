// raw_ip: an uplink without Ethernet. Packets of tunnels go out, and come in, by the kernel's own IP: its routes, its next
// hops, whatever its device is. For a machine whose underlay is no Ethernet device of ours: a VPN, a container's network.
//
// The package raw-socket does it, which can live on the main thread of a process only: so it has a process of its own
// (raw_ip_process.ts), with two pipes between that keep packets apart. It is good for some ten thousand packets a second.
//
//   flush ──[ an IPv4 packet, or a line of JSON: what is ours ]──▶ process ──raw socket──▶ the kernel's IP
//   receive ◀──[ an IPv4 packet, or one byte: a packet that ended there, and why ]──
//
// IPv4 only: a raw IPv6 socket keeps the header for itself. The kernel has our addresses too, and answers for us what is
// no tunnel's. When the process ends the port is gone, and is opened again.

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import type { Arena } from '../memory/arena.ts'
import { DROP_PORT_GONE, DROP_RX_TOO_LONG, DROP_TX_FULL, DROP_TX_REFUSED } from '../memory/layout/drop.ts'
import { NETDEV_MAC } from '../memory/layout/netdev.ts'
import { PKT_DATA, PKT_DEV, PKT_FRAME, PKT_LEN } from '../memory/layout/packet.ts'
import * as Q from '../memory/layout/queue.ts'
import { AF_INET, addressOf, close, PIPE_BUF, packetPipe, read, SOCK_RAW, socket, write } from '../sys/libc.ts'
import { EAGAIN, EINTR } from '../sys/sys_error.ts'
import { ETH_P_IP } from '../wire/ethernet.ts'
import type { DeviceFilter } from './endpoints.ts'
import { v4Of } from './endpoints.ts'
import { closeGuards, guard } from './guard.ts'
import type { OpenPort, PortDatapath, PortDriver, PortSpec, QueueDriver, Room } from './port.ts'
import { PortError, portError } from './port_error.ts'
import { flushEach } from './queue_list.ts'
import { NO_ROOM, REFUSED, TOO_LONG } from './raw_ip_process.ts'

const ETH_LEN = 14
const IPV4_LEN = 20
const IPPROTO_UDP = 17
/** Room of a pipe: packets that may be under way, a page each. */
const PIPE_BYTES = 1 << 20

export const rawIpQueue: QueueDriver = {
  receive(dp, q, list, max) {
    const fd = dp.a.m[(q + Q.QUEUE_FD) >> 2]
    if (fd < 0) return 0
    let n = 0
    for (let reads = 0; reads < max; reads++) {
      const pkt = receiveOne(dp, q, fd)
      if (pkt < 0) break
      if (pkt === 0) continue
      dp.a.m[(list >> 2) + n++] = pkt
    }
    return n
  },
  flush: (dp, q) => flushEach(dp, q, sendOne),
}

/** A packet, with an Ethernet header before it; 0: something else came, -1: nothing. */
function receiveOne(dp: PortDatapath, q: number, fd: number): number {
  const { a } = dp
  const pkt = dp.alloc()
  if (pkt === 0) return -1
  const at = pkt + PKT_FRAME
  const base = Number(a.d.getBigUint64(q + Q.QUEUE_BASE, true))
  const len = read(fd, base + at + ETH_LEN, Math.min(PIPE_BUF, dp.maxFrame() - ETH_LEN))
  if (len < IPV4_LEN) {
    dp.release(pkt)
    if (len === 1) dp.countDrop(REASONS.get(a.u8[at + ETH_LEN]) ?? DROP_TX_REFUSED)
    else if (len !== -EAGAIN && len !== -EINTR) a.m[(q + Q.QUEUE_BROKEN) >> 2] = 1
    return len === 1 ? 0 : -1
  }
  const dev = a.m[(q + Q.QUEUE_DEV) >> 2]
  a.u8.copyWithin(at, dev + NETDEV_MAC, dev + NETDEV_MAC + 6)
  a.u8.copyWithin(at + 6, dev + NETDEV_MAC, dev + NETDEV_MAC + 6)
  a.u8[at + 6] ^= 4 // another station than ours
  a.d.setUint16(at + 12, ETH_P_IP)
  dp.load(pkt, at, len + ETH_LEN)
  dp.rings.completeGuessed(pkt)
  a.m[(pkt + PKT_DEV) >> 2] = dev
  return pkt
}

const REASONS = new Map([
  [TOO_LONG, DROP_RX_TOO_LONG],
  [NO_ROOM, DROP_TX_FULL],
  [REFUSED, DROP_TX_REFUSED],
])

function sendOne(dp: PortDatapath, q: number, pkt: number): void {
  const { m, d } = dp.a
  const ip = m[(pkt + PKT_DATA) >> 2] + ETH_LEN
  const room = m[(pkt + PKT_LEN) >> 2] - ETH_LEN
  const len = room < IPV4_LEN ? 0 : d.getUint16(ip + 2)
  if (d.getUint16(ip - 2) !== ETH_P_IP || len < IPV4_LEN || len > Math.min(room, PIPE_BUF)) {
    dp.drop(pkt, DROP_TX_REFUSED)
    return
  }
  const base = Number(d.getBigUint64(q + Q.QUEUE_BASE, true))
  let sent: number
  do sent = write(m[(q + Q.QUEUE_TX_FD) >> 2], base + ip, len)
  while (sent === -EINTR)
  if (sent === len) dp.release(pkt)
  else if (sent === -EAGAIN) dp.drop(pkt, DROP_TX_FULL)
  else {
    m[(q + Q.QUEUE_BROKEN) >> 2] = 1
    dp.drop(pkt, DROP_PORT_GONE)
  }
}

export const rawIp: PortDriver = {
  open(a: Arena, port: PortSpec, workers: number, room: Room): OpenPort {
    checkPackage(port.name)
    checkAllowed(port.name)
    if (port.mtu > PIPE_BUF) throw new PortError(port.name, `raw_ip: the largest mtu is ${PIPE_BUF}`)
    const fds: number[] = []
    const keep = (fd: number): number => {
      fds.push(fd)
      return fd
    }
    try {
      const out = packetPipe(PIPE_BYTES)
      const back = packetPipe(PIPE_BYTES)
      const source = import.meta.url.endsWith('.ts')
      const path = fileURLToPath(new URL(source ? './raw_ip_process.ts' : './raw_ip_process.js', import.meta.url))
      const child = spawn(process.execPath, [...(source ? ['--import', 'tsx'] : []), path, String(port.mtu)], {
        stdio: [out.reader, back.writer, 'inherit'],
      })
      child.unref()
      child.on('error', () => {}) // its end of the pipe closes, which is noticed
      close(out.reader)
      close(back.writer)
      keep(out.writer)
      keep(back.reader)
      const queues: number[][] = []
      for (let w = 0; w <= workers; w++) {
        const { q } = room(w, 0, 0)
        const set = (field: number, v: number): void => {
          a.m[(q + field) >> 2] = v
        }
        set(Q.QUEUE_DRIVER, Q.DRIVER_RAW_IP)
        set(Q.QUEUE_DEV, port.dev)
        set(Q.QUEUE_PORT, port.number)
        set(Q.QUEUE_BROKEN, 0)
        set(Q.QUEUE_FD, w === 1 ? back.reader : -1)
        set(Q.QUEUE_TX_FD, out.writer)
        a.d.setBigUint64(q + Q.QUEUE_BASE, BigInt(addressOf(a.u8)), true)
        queues.push([q])
      }
      const guards = new Map<string, number>()
      return {
        ifindex: 0,
        isDevice: false,
        noArp: true,
        queues,
        how: 'raw_ip, by a process with raw sockets',
        filter(f) {
          const text = new TextEncoder().encode(JSON.stringify(wanted(f)))
          if (write(out.writer, text, text.length) !== text.length)
            throw new PortError(port.name, 'raw_ip: too much to say')
          guard(guards, { ...f, protocols: [] })
        },
        missed: () => 0,
        close() {
          closeGuards(guards)
          for (const fd of fds) close(fd)
        },
      }
    } catch (e) {
      for (const fd of fds) close(fd)
      throw portError(port.name, 'raw_ip', 'CAP_NET_RAW', e)
    }
  },
}

/** What the process is told of what is ours. */
export interface Wanted {
  readonly protocols: readonly number[]
  readonly udp: readonly number[]
  readonly addresses: readonly string[]
}

const wanted = (f: DeviceFilter): Wanted => ({
  protocols: f.udp.length > 0 ? [IPPROTO_UDP, ...f.protocols] : f.protocols,
  udp: f.udp,
  addresses: v4Of(f).map((x) => x.join('.')),
})

/** It compiles when it is installed, and is optional. */
function checkPackage(port: string): void {
  try {
    const at = createRequire(import.meta.url).resolve('raw-socket')
    if (existsSync(fileURLToPath(new URL('build/Release/raw.node', `file://${at}`)))) return
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw e
  }
  throw new PortError(port, 'raw_ip: the package raw-socket is not built (npm ci with a C++ compiler builds it)')
}

function checkAllowed(port: string): void {
  try {
    close(socket(AF_INET, SOCK_RAW, IPPROTO_UDP))
  } catch (e) {
    throw portError(port, 'raw_ip', 'CAP_NET_RAW', e)
  }
}
