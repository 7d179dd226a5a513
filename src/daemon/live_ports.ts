// The live ports of a switch, as the switch thread has them: opened, published to the datapath threads, watched.
//
//   open ──published in the tables──▶ in use ──device gone, or broken──▶ withdrawn ──a grace period──▶ closed ─┐
//    ▲                                                                                                       │
//    └──────────────────────────────── the device is there (again): looked for a few times a second ──────────┘
//
// It also takes what the datapath threads hand up (datapath_protocol.ts), sends what the host sends, and keeps the filters
// of uplinks as the switch's addresses and tunnel devices are. A port whose device is not there drops by name. Everything
// here is called from the switch thread and does not block.

import { withRtnl } from '../flow/rtnl.ts'
import { type Arena, rcuOf, reserve, workerOf } from '../memory/arena.ts'
import { DROP_NO_SLOT, DROP_PORT_GONE, DROP_RX_MISSED, DROP_WORKER_DIED } from '../memory/layout/drop.ts'
import {
  IFF_LOWER_UP,
  IFF_NOARP,
  IFF_RUNNING,
  LOCAL_ENTRIES,
  LOCAL_ENTRY_ADDR,
  LOCAL_ENTRY_FAMILY,
  LOCAL_ENTRY_SIZE,
  LOCAL_ENTRY_TYPE,
  LOCAL_MASK,
  NETDEV_KIND,
  NETDEV_KIND_ERSPAN,
  NETDEV_KIND_GRE,
  NETDEV_KIND_GRETAP,
  NETDEV_KIND_IP6ERSPAN,
  NETDEV_KIND_IP6GRE,
  NETDEV_KIND_IP6GRETAP,
  NETDEV_KIND_IPIP,
  NETDEV_KIND_SIT,
  NETDEV_LIVE,
  NETDEV_TP_DST,
  PORT_DOWN,
  PORT_GONE,
  PORT_NO_CARRIER,
  PORT_UP,
} from '../memory/layout/netdev.ts'
import { PKT_TIME, PKT_TIME_HI } from '../memory/layout/packet.ts'
import * as Q from '../memory/layout/queue.ts'
import {
  SUPER_GENERATION,
  SUPER_LOCAL,
  SUPER_PACKET_COUNT,
  SUPER_PACKET_SIZE,
  SUPER_PACKETS,
} from '../memory/layout/super.ts'
import { WORKER_EMIT_COUNT, WORKER_FREE, WORKER_FREE_COUNT } from '../memory/layout/worker.ts'
import { ringAdvance, ringPeek } from '../memory/ring.ts'
import { linkSetFlags, linkSetMac, linkSetMtu } from '../net/link.ts'
import { isKernels, netdevFlags, netdevIsUp, netdevMac, netdevMtu, nextNetdev } from '../net/netdev.ts'
import { type DeviceFilter, sameFilter } from '../port/endpoints.ts'
import { linkOf } from '../port/link.ts'
import type { OpenPort, PortDriver, PortSpec, QueueRoom } from '../port/port.ts'
import { PortError } from '../port/port_error.ts'
import { queueDrivers } from '../port/queues.ts'
import type { Switch } from '../switch/switch.ts'
import { add, load, store } from '../sync/atomic.ts'
import * as Rcu from '../sync/rcu.ts'
import { SysError } from '../sys/sys_error.ts'
import { makeSeat, type Seat, UP_WORDS } from './datapath_protocol.ts'

/** How often devices are looked at, and filters compared, ns of the switch's clock. */
const LOOK = 200e6
const COMPARE = 10e6
/** Messages that are taken at a time. */
const BATCH = 64
const RTN_LOCAL = 2

export interface LivePort {
  readonly spec: PortSpec
  readonly driver: PortDriver
}

export type Say = (level: 'debug' | 'info' | 'warn' | 'error', what: object, message: string) => void

interface Held extends LivePort {
  open?: OpenPort
  /** Withdrawn, and this is its grace period; 0: in use. */
  leaving: number
  running: boolean
  missed: number
  /** Why it could not be opened, as it was said last. */
  why: string
  filter: DeviceFilter
}

const NOTHING: DeviceFilter = { udp: [], protocols: [], addresses: [] }

export class LivePorts {
  /** Of workers 1, 2, … */
  readonly seats: readonly Seat[]
  readonly #sw: Switch
  readonly #a: Arena
  readonly #say: Say
  readonly #epoch: bigint
  readonly #ports: Held[] = []
  /** Of queues, by port number, worker, index and size: whoever has the number next has them, too. */
  readonly #rooms = new Map<string, QueueRoom>()
  readonly #messages = new Int32Array(BATCH * UP_WORDS)
  readonly #list = new Int32Array(BATCH * UP_WORDS)
  #nextLook = 0
  #nextFrame = 0
  #nextCompare = 0
  #generation = -1

  /** `epoch`: when the switch's clock was 0, nanoseconds since 1970. */
  constructor(sw: Switch, workers: number, say: Say, epoch = 0n) {
    this.#epoch = epoch
    this.#sw = sw
    this.#a = sw.arena
    this.#say = say
    this.seats = Array.from({ length: workers }, () => makeSeat(sw.arena))
    sw.onOutput((port, address, length) => this.#send(port, address, length))
  }

  /** Opens a port. @throws PortError when it cannot be had */
  add(port: LivePort): void {
    const held: Held = {
      ...port,
      leaving: 0,
      running: true,
      missed: 0,
      why: '',
      filter: NOTHING,
    }
    this.#open(held)
    this.#ports.push(held)
    this.#publish()
    this.#generation = -1
  }

  /** Takes a port away, if it is one of these, and closes it: no worker has packets of it when this returns. */
  remove(number: number): void {
    const held = this.#ports.find((p) => p.spec.number === number)
    if (held === undefined) return
    this.#withdraw(held, 'removed')
    this.#closeAll()
    this.#ports.splice(this.#ports.indexOf(held), 1)
  }

  /** When a port has frames of its own for the switch again, ns of the switch's clock. */
  get nextFrame(): number {
    return this.#nextFrame
  }

  /** Handles what has come up from the datapath threads, and looks after the ports. Returns how many packets. */
  collect(): number {
    let n = 0
    for (const seat of this.seats) n += this.#take(seat)
    const now = this.#sw.now
    if (now >= this.#nextFrame) n += this.#bring(now)
    if (now >= this.#nextCompare) {
      this.#nextCompare = now + COMPARE
      this.#compare()
      this.#close()
    }
    if (now >= this.#nextLook) {
      this.#nextLook = now + LOOK
      for (const p of this.#ports) this.#look(p)
    }
    return n
  }

  /** Gives everything up; no datapath thread runs any more. */
  close(): void {
    for (const p of this.#ports) p.open?.close()
    this.#ports.length = 0
  }

  /**
   * A worker's thread died, and is no RCU reader any more. Its ports are opened anew, its slots are its own again; those
   * that were neither free nor with the kernel held a packet. Another thread may take the seat when this returns.
   */
  workerDied(worker: number): void {
    const { m } = this.#a
    this.#take(this.seats[worker - 1])
    let kernel = 0
    for (const p of this.#ports) {
      for (const q of p.open?.queues[worker] ?? []) {
        if (m[(q + Q.QUEUE_DRIVER) >> 2] === Q.DRIVER_AF_XDP)
          kernel += m[(q + Q.XSK_SENT) >> 2] + distance(m, q, Q.XSK_FILL_PRODUCER, Q.XSK_RX_CONSUMER)
      }
      if (p.open !== undefined) this.#withdraw(p, `worker ${worker} died`)
    }
    this.#closeAll()
    const w = workerOf(this.#a, worker)
    const home = this.#homeSlots(worker)
    const lost = Math.max(0, home.length - m[(w + WORKER_FREE_COUNT) >> 2] - kernel)
    m[(w + WORKER_EMIT_COUNT) >> 2] = 0
    m.set(home, m[(w + WORKER_FREE) >> 2] >> 2)
    m[(w + WORKER_FREE_COUNT) >> 2] = home.length
    this.#sw.datapath.countDrop(DROP_WORKER_DIED, lost)
    for (const p of this.#ports) this.#look(p)
  }

  /** Slots that worker `w` began with: none of them is anybody else's for good. */
  #homeSlots(w: number): Int32Array {
    const { m } = this.#a
    const n = m[SUPER_PACKET_COUNT >> 2] / (this.seats.length + 1)
    const stride = m[SUPER_PACKET_SIZE >> 2]
    return Int32Array.from({ length: n }, (_, i) => m[SUPER_PACKETS >> 2] + (w * n + n - 1 - i) * stride)
  }

  // ---- packets

  /** Frames of ports that bring them by themselves, as far as they are due. Returns how many. */
  #bring(now: number): number {
    let n = 0
    this.#nextFrame = Number.POSITIVE_INFINITY
    for (const p of this.#ports) {
      if (p.open?.bring === undefined || p.leaving !== 0) continue
      const next = p.open.bring(now, BATCH, (frame) => {
        this.#sw.input(p.spec.number, frame)
        n++
      })
      this.#nextFrame = Math.min(this.#nextFrame, next)
    }
    return n
  }

  /** Copies of what a worker handed up go their way in the switch; then the worker has its slots back. */
  #take(seat: Seat): number {
    const { datapath } = this.#sw
    let all = 0
    for (;;) {
      const words = ringPeek(this.#a, seat.up, this.#messages, 0, this.#messages.length)
      if (words === 0) return all
      let n = 0
      for (let o = 0; o < words; o += UP_WORDS) {
        const pkt = datapath.adopt(this.#messages[o])
        if (pkt === 0) {
          datapath.countDrop(DROP_NO_SLOT)
          continue
        }
        this.#list[n] = pkt
        for (let i = 1; i < UP_WORDS; i++) this.#list[n + i] = this.#messages[o + i]
        n += UP_WORDS
      }
      if (n > 0) this.#sw.emitted(this.#list, n / UP_WORDS)
      ringAdvance(this.#a, seat.up, words)
      all += words / UP_WORDS
    }
  }

  /** What the host sends, and what a worker may not send itself. */
  #send(port: number, address: number, length: number): void {
    const { datapath } = this.#sw
    const { m } = this.#a
    const held = this.#ports.find((p) => p.spec.number === port)
    if (held === undefined) return // a port that is none of ours: a dummy without a driver
    const q = held.leaving === 0 ? held.open?.queues[0][0] : undefined
    if (q === undefined) {
      datapath.countDrop(DROP_PORT_GONE)
      return
    }
    const pkt = datapath.alloc()
    if (pkt === 0 || !datapath.load(pkt, address, length)) {
      datapath.countDrop(DROP_NO_SLOT)
      if (pkt !== 0) datapath.release(pkt)
      return
    }
    m[(pkt + PKT_TIME) >> 2] = (this.#sw.now % 0x100000000) | 0
    m[(pkt + PKT_TIME_HI) >> 2] = (this.#sw.now / 0x100000000) | 0
    m[m[(q + Q.QUEUE_LIST) >> 2] >> 2] = pkt
    m[(q + Q.QUEUE_LIST_COUNT) >> 2] = 1
    queueDrivers[m[(q + Q.QUEUE_DRIVER) >> 2]]!.flush(datapath, q)
  }

  // ---- ports that come and go

  #open(p: Held): void {
    const room = (worker: number, index: number, ringBytes: number): QueueRoom => {
      const key = `${p.spec.number} ${worker} ${index} ${ringBytes}`
      let r = this.#rooms.get(key)
      if (r === undefined) {
        r = makeRoom(this.#a, ringBytes)
        this.#rooms.set(key, r)
      }
      this.#a.m[(r.q + Q.QUEUE_LIST_COUNT) >> 2] = 0
      return r
    }
    p.open = p.driver.open(this.#a, { ...p.spec, epoch: this.#epoch }, this.seats.length, room)
    this.#nextFrame = 0
    if (p.open.noArp) this.#noArp(p)
    p.running = true
    this.#state(p, PORT_UP)
    p.filter = NOTHING
    p.why = ''
    this.#say('info', { port: p.spec.name, how: p.open.how }, 'a port is open')
  }

  #withdraw(p: Held, why: string): void {
    if (p.open === undefined || p.leaving !== 0) return
    this.#count(p)
    p.leaving = -1
    p.why = why
    this.#state(p, PORT_GONE)
    this.#publish()
    p.leaving = Rcu.stamp(this.#a.m, rcuOf(this.#a))
    this.#carrier(p, false)
    if (why !== 'removed') this.#say('warn', { port: p.spec.name, device: p.spec.device, why }, 'a port is gone')
  }

  /** Closes what was withdrawn. The workers leave the queues within a burst; those that sleep are offline. */
  #closeAll(): void {
    while (this.#ports.some((p) => p.leaving !== 0)) {
      for (const seat of this.seats) this.#take(seat)
      this.#close()
    }
  }

  /** Closes what no worker uses any more. */
  #close(): void {
    // This thread's own reader is between two uses.
    this.#sw.datapath.quiescent()
    for (const p of this.#ports) {
      if (p.leaving === 0 || !Rcu.elapsed(this.#a.m, rcuOf(this.#a), p.leaving)) continue
      p.open?.close()
      delete p.open
      p.leaving = 0
    }
  }

  /** Compares a port with its device. */
  #look(p: Held): void {
    const { device } = p.spec
    if (p.open === undefined) {
      this.#again(p)
      return
    }
    if (p.leaving !== 0) return
    if (p.open.ifindex === 0) {
      if (this.#isBroken(p.open)) this.#withdraw(p, 'what is behind it has ended')
      return
    }
    this.#count(p)
    const link = linkOf(device)
    if (link === undefined || link.ifindex !== p.open.ifindex) {
      this.#withdraw(p, link === undefined ? `there is no device ${device}` : `another device is called ${device}`)
      return
    }
    // What failed while the device was down says nothing about the sockets.
    if (this.#isBroken(p.open) && link.running && p.running) {
      this.#withdraw(p, `a socket on ${device} failed`)
      return
    }
    if (link.running !== p.running) {
      p.running = link.running
      this.#state(p, link.running ? PORT_UP : link.up ? PORT_NO_CARRIER : PORT_DOWN)
      const what = { port: p.spec.name, device }
      this.#say(
        link.running ? 'info' : 'warn',
        what,
        link.running ? 'a port is up' : link.up ? 'a port has no carrier' : 'a port is down',
      )
      this.#carrier(p, link.running)
    }
    const { dev } = p.spec
    if (isKernels(this.#a, dev)) return // mirrored: its MTU and address come by themselves
    if (p.open.isDevice && link.mtu !== netdevMtu(this.#a, dev))
      withRtnl(this.#a, () => linkSetMtu(this.#a, dev, link.mtu))
    const mac = netdevMac(this.#a, dev)
    if (p.open.isDevice && link.mac.some((byte, i) => byte !== mac[i]))
      withRtnl(this.#a, () => linkSetMac(this.#a, dev, link.mac))
  }

  /** Tries to open a port whose device was gone. */
  #again(p: Held): void {
    try {
      this.#open(p)
      this.#carrier(p, true)
      this.#publish()
      this.#generation = -1
    } catch (e) {
      if (!(e instanceof PortError) && !(e instanceof SysError)) throw e
      if (e.message !== p.why) this.#say('warn', { port: p.spec.name, why: e.message }, 'a port cannot be opened yet')
      p.why = e.message
    }
  }

  /** What people see of it. */
  #state(p: Held, state: number): void {
    store(this.#a.m, (p.spec.dev + NETDEV_LIVE) >> 2, state)
  }

  #isBroken(open: OpenPort): boolean {
    const { m } = this.#a
    return open.queues.flat().some((q) => {
      const broken = load(m, (q + Q.QUEUE_BROKEN) >> 2) !== 0
      m[(q + Q.QUEUE_BROKEN) >> 2] = 0
      return broken
    })
  }

  /** The switch's device says whether there is a carrier; a mirrored one says what the kernel says. */
  #carrier(p: Held, is: boolean): void {
    const { dev } = p.spec
    if (isKernels(this.#a, dev)) return
    withRtnl(this.#a, () => {
      const flags = netdevFlags(this.#a, dev)
      linkSetFlags(this.#a, dev, is ? flags | IFF_RUNNING | IFF_LOWER_UP : flags & ~(IFF_RUNNING | IFF_LOWER_UP))
    })
  }

  /** Its next hops need no address. */
  #noArp(p: Held): void {
    const { dev } = p.spec
    withRtnl(this.#a, () => linkSetFlags(this.#a, dev, netdevFlags(this.#a, dev) | IFF_NOARP))
  }

  /** What the kernel missed, while there is somebody to ask. */
  #count(p: Held): void {
    try {
      const n = p.open?.missed() ?? 0
      if (n === 0) return
      p.missed += n
      this.#sw.datapath.countDrop(DROP_RX_MISSED, n)
    } catch (e) {
      if (!(e instanceof SysError)) throw e
    }
  }

  /** Writes the tables of the workers. */
  #publish(): void {
    const { m } = this.#a
    this.seats.forEach(({ table }, i) => {
      let n = 0
      for (const p of this.#ports) {
        if (p.open === undefined || p.leaving !== 0) continue
        for (const q of p.open.queues[i + 1]) m[((table + Q.TABLE_QUEUES) >> 2) + n++] = q
      }
      m[(table + Q.TABLE_COUNT) >> 2] = n
      add(m, (table + Q.TABLE_GENERATION) >> 2, 1)
    })
  }

  // ---- what of an uplink is ours

  #compare(): void {
    const generation = load(this.#a.m, SUPER_GENERATION >> 2)
    if (generation === this.#generation) return
    this.#generation = generation
    let now: DeviceFilter | undefined
    for (const p of this.#ports) {
      if (p.open?.filter === undefined || p.leaving !== 0) continue
      now ??= endpointsOf(this.#a)
      if (sameFilter(now, p.filter)) continue
      try {
        p.open.filter(now)
        p.filter = now
      } catch (e) {
        // What the port took before it still takes; tried again with the next change.
        if (!(e instanceof SysError)) throw e
        this.#say('error', { port: p.spec.name, error: e.message }, 'what is ours of an uplink could not be changed')
      }
    }
  }
}

/** Entries between two index words of a ring. */
const distance = (m: Int32Array, q: number, to: number, from: number): number =>
  (m[m[(q + to) >> 2] >> 2] - m[m[(q + from) >> 2] >> 2]) | 0

/** A queue's memory: kept for good, since what is mapped over its ring cannot be given back to a pool. */
function makeRoom(a: Arena, ringBytes: number): QueueRoom {
  const q = reserve(a, Q.QUEUE_SIZE)
  a.m[(q + Q.QUEUE_LIST) >> 2] = reserve(a, Q.QUEUE_LIST_MAX * 4)
  a.m[(q + Q.QUEUE_MESSAGES) >> 2] = reserve(a, Q.QUEUE_LIST_MAX * 64)
  a.m[(q + Q.QUEUE_VECTORS) >> 2] = reserve(a, Q.QUEUE_LIST_MAX * 16)
  const ring = ringBytes === 0 ? 0 : reserve(a, Math.ceil(ringBytes / 4096) * 4096, 4096)
  return { q, ring, ringBytes }
}

const PROTOCOLS = new Map<number, readonly number[]>([
  [NETDEV_KIND_GRETAP, [47]],
  [NETDEV_KIND_IP6GRETAP, [47]],
  [NETDEV_KIND_GRE, [47]],
  [NETDEV_KIND_IP6GRE, [47]],
  [NETDEV_KIND_ERSPAN, [47]],
  [NETDEV_KIND_IP6ERSPAN, [47]],
  [NETDEV_KIND_IPIP, [4]],
  [NETDEV_KIND_SIT, [41]],
])

/** Addresses of the switch, and what its tunnel devices listen to. */
export function endpointsOf(a: Arena): DeviceFilter {
  const udp = new Set<number>()
  const protocols = new Set<number>()
  for (let dev = nextNetdev(a, 0); dev !== 0; dev = nextNetdev(a, dev)) {
    if (!netdevIsUp(a, dev)) continue
    const port = a.m[(dev + NETDEV_TP_DST) >> 2]
    if (port !== 0) udp.add(((port & 0xff) << 8) | (port >> 8))
    for (const p of PROTOCOLS.get(a.m[(dev + NETDEV_KIND) >> 2]) ?? []) protocols.add(p)
  }
  return { udp: [...udp].sort(byNumber), protocols: [...protocols].sort(byNumber), addresses: localAddresses(a) }
}

const byNumber = (x: number, y: number): number => x - y

/** Local addresses but those of loopback, in a fixed order. */
function localAddresses(a: Arena): Uint8Array[] {
  const table = load(a.m, SUPER_LOCAL >> 2)
  if (table === 0) return []
  const found: Uint8Array[] = []
  const entries = a.m[(table + LOCAL_MASK) >> 2] + 1
  for (let i = 0; i < entries; i++) {
    const e = table + LOCAL_ENTRIES + i * LOCAL_ENTRY_SIZE
    const family = a.m[(e + LOCAL_ENTRY_FAMILY) >> 2]
    if (family === 0 || a.m[(e + LOCAL_ENTRY_TYPE) >> 2] !== RTN_LOCAL) continue
    const address = a.u8.slice(e + LOCAL_ENTRY_ADDR, e + LOCAL_ENTRY_ADDR + (family === 4 ? 4 : 16))
    if (family === 4 ? address[0] !== 127 : address.some((byte, k) => byte !== (k === 15 ? 1 : 0))) found.push(address)
  }
  return found.sort((x, y) => Buffer.compare(x, y))
}
