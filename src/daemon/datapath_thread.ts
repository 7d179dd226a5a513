// A datapath thread: receives from the queues in its table, runs the chip, sends by the queues in its table.
//
//   [ look at the table · each queue: a burst in, through the chip, its emissions to lists · each queue: its list out ] …
//
// What is for the host, and what leaves by a port that the switch thread serves, goes up (datapath_protocol.ts). One
// system call to send for each port and burst; none to receive, but for a tap. When nothing comes it looks a few times
// more, then naps for moments, during which senders need not wake it, and then sleeps on its descriptors. With busyPoll
// it does not sleep. It is an RCU reader: quiescent between bursts, offline while it sleeps.
//
// All of its state is in the arena, in its seat and its queues. If it dies, main has another one take its seat.

import { Datapath } from '../datapath/chip.ts'
import { wakeEventLoop } from '../encap/encap.ts'
import { type Arena, attachArena, reserve } from '../memory/arena.ts'
import { DROP_PORT_GONE, DROP_RING_FULL, DROP_WORKER_DIED } from '../memory/layout/drop.ts'
import { NETDEV_PORT } from '../memory/layout/netdev.ts'
import * as Q from '../memory/layout/queue.ts'
import { EMIT_OUTPUT, WORKER_EMIT, WORKER_EMIT_COUNT } from '../memory/layout/worker.ts'
import { ringCount, ringPush } from '../memory/ring.ts'
import { driveWorker } from '../memory/thread_record.ts'
import { leave } from '../memory/threads.ts'
import { LIST_SLACK, type QueueDriver } from '../port/port.ts'
import { queueDrivers } from '../port/queues.ts'
import { load } from '../sync/atomic.ts'
import { threadData } from '../sync/thread.ts'
import { nameThread, POLLIN, poll, ppoll, prctl, setAffinity } from '../sys/libc.ts'
import { keepCapabilities } from './capabilities.ts'
import { openClock } from './clock.ts'
import * as P from './datapath_protocol.ts'

const BURST = 64
/** Turns without a packet before it naps, and naps before it sleeps. A turn costs as much as forwarding ten packets. */
const SPINS = 2
const NAPS = 32
/** How long it naps: longer after one behind which only a few packets were, shorter after one with many. */
const NAP_MIN_NS = 25_000
const NAP_MAX_NS = 200_000
const FEW = 32
/** Looks at the table after that long, ms. */
const SLEEP_MS = 50
/** So many bursts without a quiescent state, then it waits for the switch thread. */
const READ_MAX = 256
const PR_SET_TIMERSLACK = 29

class DatapathThread {
  readonly #a: Arena
  readonly #d: P.DatapathThreadData
  readonly #dp: Datapath
  readonly #clock: () => number
  readonly #list: number
  /** The table as it was last read: queues and their drivers; by port, the queue that sends. */
  #generation = -1
  #queues: number[] = []
  #drivers: QueueDriver[] = []
  #sends = new Int32Array(Q.TABLE_MAX)
  #hosted = new Uint8Array(Q.TABLE_MAX)
  #fds = new Uint8Array(0)
  #polled = 0
  /** Packets that went up and are still the switch thread's, oldest first, in a ring. */
  readonly #up = new Int32Array(1024)
  #upHead = 0
  #upTail = 0
  readonly #message = new Int32Array(P.UP_WORDS)
  #rang = false
  #reading = 0
  #napNs = NAP_MIN_NS

  constructor(a: Arena, d: P.DatapathThreadData) {
    this.#a = a
    this.#d = d
    this.#dp = new Datapath(a, d.worker)
    this.#dp.apart()
    this.#clock = openClock(d.began)
    this.#list = reserve(a, (BURST + LIST_SLACK) * 4)
  }

  run(): void {
    const { m } = this.#a
    const dp = this.#dp
    const stop = (this.#d.state + P.SEAT_STOP) >> 2
    const generation = (this.#d.table + Q.TABLE_GENERATION) >> 2
    dp.online()
    let idle = 0
    while (load(m, stop) === 0) {
      if (load(m, generation) !== this.#generation) this.#readTable()
      m[(this.#d.state + P.SEAT_TURNS) >> 2]++
      this.#reap()
      dp.setTime(this.#clock())
      const n = this.#turn()
      this.#rest()
      if (idle >= SPINS && n > 0) this.#moderate(n)
      idle = n > 0 ? 0 : idle + 1
      if (n > 0) m[(this.#d.state + P.SEAT_BURSTS) >> 2]++
      else if (!this.#d.busyPoll) this.#idle(idle)
    }
    this.#drain()
    while (this.#upHead !== this.#upTail) dp.drop(this.#up[this.#upTail++ & (this.#up.length - 1)], DROP_WORKER_DIED)
    dp.offline()
  }

  /** A burst from each queue, and what became of it. Returns how many packets. */
  #turn(): number {
    const dp = this.#dp
    const queues = this.#queues
    const drivers = this.#drivers
    let all = 0
    for (let i = 0; i < queues.length; i++) {
      const n = drivers[i].receive(dp, queues[i], this.#list, BURST)
      for (let done = 0; done < n; ) {
        done += dp.receiveBurst(this.#list + done * 4, n - done)
        this.#emissions()
      }
      all += n
    }
    for (let i = 0; i < queues.length; i++) drivers[i].flush(dp, queues[i])
    if (this.#rang) {
      this.#rang = false
      wakeEventLoop(this.#a)
    }
    return all
  }

  /** The worker's emissions, to the lists of queues or up. */
  #emissions(): void {
    const { m } = this.#a
    const dp = this.#dp
    const count = (dp.struct + WORKER_EMIT_COUNT) >> 2
    const n = m[count]
    let e = m[(dp.struct + WORKER_EMIT) >> 2] >> 2
    m[count] = 0
    for (let i = 0; i < n; i++, e += 4) {
      if (m[e + 2] !== EMIT_OUTPUT) this.#pushUp(m[e], m[e + 1], m[e + 2], m[e + 3])
      else this.#output(m[e], m[e + 1])
    }
  }

  #output(pkt: number, dev: number): void {
    const { m } = this.#a
    const port = m[(dev + NETDEV_PORT) >> 2]
    const q = this.#sends[port]
    if (q === 0) {
      if (this.#hosted[port] !== 0) this.#pushUp(pkt, dev, EMIT_OUTPUT, 0)
      else this.#dp.drop(pkt, DROP_PORT_GONE)
      return
    }
    const count = (q + Q.QUEUE_LIST_COUNT) >> 2
    m[(m[(q + Q.QUEUE_LIST) >> 2] >> 2) + m[count]] = pkt
    if (++m[count] === Q.QUEUE_LIST_MAX) queueDrivers[m[(q + Q.QUEUE_DRIVER) >> 2]]!.flush(this.#dp, q)
  }

  #pushUp(pkt: number, dev: number, kind: number, arg: number): void {
    const w = this.#message
    w[0] = pkt
    w[1] = dev
    w[2] = kind
    w[3] = arg
    const full = this.#upHead - this.#upTail === this.#up.length
    if (full || ringPush(this.#a, this.#d.up, w, 0, P.UP_WORDS) === 0) {
      this.#dp.drop(pkt, DROP_RING_FULL)
      return
    }
    this.#up[this.#upHead++ & (this.#up.length - 1)] = pkt
    this.#rang = true
  }

  /** Frees the slots of packets that the switch thread is done with. */
  #reap(): void {
    if (this.#upHead === this.#upTail) return
    const waiting = ringCount(this.#a, this.#d.up) / P.UP_WORDS
    while (this.#upHead - this.#upTail > waiting) this.#dp.release(this.#up[this.#upTail++ & (this.#up.length - 1)])
  }

  /** A quiescent state, when no argument of an emission is still in use; without one for long, it waits. */
  #rest(): void {
    if (this.#upHead === this.#upTail) {
      this.#dp.quiescent()
      this.#reading = 0
      return
    }
    if (++this.#reading < READ_MAX) return
    this.#drain()
    this.#dp.quiescent()
    this.#reading = 0
  }

  /** Waits until the switch thread is done with everything that went up, unless it is dead. */
  #drain(): void {
    const stop = (this.#d.state + P.SEAT_STOP) >> 2
    while (this.#upHead !== this.#upTail && load(this.#a.m, stop) !== P.STOP_AT_ONCE) this.#nap()
  }

  #idle(turns: number): void {
    if (turns < SPINS) return
    if (turns < SPINS + NAPS || this.#upHead !== this.#upTail) {
      this.#nap()
      return
    }
    this.#a.m[(this.#d.state + P.SEAT_SLEEPS) >> 2]++
    this.#dp.offline()
    poll(this.#fds, this.#polled, SLEEP_MS)
    this.#dp.online()
  }

  /** `n` packets had come when it woke up. */
  #moderate(n: number): void {
    if (n < FEW) this.#napNs = Math.min(this.#napNs * 2, NAP_MAX_NS)
    else if (n >= BURST) this.#napNs = Math.max(this.#napNs / 2, NAP_MIN_NS)
  }

  #nap(): void {
    ppoll(null, 0, this.#napNs)
    this.#reap()
  }

  #readTable(): void {
    const { m } = this.#a
    const { table } = this.#d
    this.#generation = load(m, (table + Q.TABLE_GENERATION) >> 2)
    this.#sends.fill(0)
    this.#hosted.fill(0)
    const all = Array.from(m.subarray((table + Q.TABLE_QUEUES) >> 2, ((table + Q.TABLE_QUEUES) >> 2) + m[table >> 2]))
    for (const q of all) {
      const port = m[(q + Q.QUEUE_PORT) >> 2]
      if (m[(q + Q.QUEUE_DRIVER) >> 2] === Q.DRIVER_HOSTED) this.#hosted[port] = 1
      else if (this.#sends[port] === 0) this.#sends[port] = q
    }
    this.#queues = all.filter((q) => m[(q + Q.QUEUE_DRIVER) >> 2] !== Q.DRIVER_HOSTED)
    this.#drivers = this.#queues.map((q) => {
      const driver = queueDrivers[m[(q + Q.QUEUE_DRIVER) >> 2]]
      if (driver === undefined) throw new Error(`queue ${q} of worker ${this.#d.worker} has no driver`)
      return driver
    })
    const polled = this.#queues.map((q) => m[(q + Q.QUEUE_FD) >> 2]).filter((fd) => fd >= 0)
    const fds = new DataView(new ArrayBuffer(polled.length * 8)) // struct pollfd
    polled.forEach((fd, i) => {
      fds.setInt32(i * 8, fd, true)
      fds.setInt16(i * 8 + 4, POLLIN, true)
    })
    this.#fds = new Uint8Array(fds.buffer)
    this.#polled = polled.length
  }
}

const data = threadData<P.DatapathThreadData>()
const arena = attachArena(data.memory)
try {
  driveWorker(arena, data.worker)
  nameThread(`datapath ${data.worker}`)
  if (data.cpu >= 0) setAffinity(data.cpu)
  prctl(PR_SET_TIMERSLACK, 1)
  keepCapabilities([])
  new DatapathThread(arena, data).run()
} finally {
  leave(arena)
}
