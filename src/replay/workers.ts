// Replay with several datapath workers: packets are spread over threads by their flow, and what they became comes back.
//
// The switch stays in one hand: this thread puts frames into slots, gives them to the threads, and handles their
// emissions (outputs, and what is for the host), as it does with those of its own worker. Packets of one flow go to one
// thread and keep their order; those of different flows overtake each other, so the output is not the same every time.
// Before timers run and before a command, `inputBatch` and `settle` have waited for every packet to come to rest.
import { reserve } from '../memory/arena.ts'
import { DROP_RX_TOO_LONG } from '../memory/layout/drop.ts'
import { PKT_DEV, PKT_TIME, PKT_TIME_HI } from '../memory/layout/packet.ts'
import { reclaim } from '../memory/pool.ts'
import { ringCreate, ringPop, ringPush } from '../memory/ring.ts'
import type { Switch } from '../switch/switch.ts'
import { add, load, wait, wake } from '../sync/atomic.ts'
import { spawn, type Thread } from '../sync/thread.ts'
import * as P from './worker_protocol.ts'

const STAGE = 64
const IN_RING = 4096
const OUT_RING = 16384
const NAP_MS = 100

interface Worker {
  readonly thread: Thread
  readonly in: number
  readonly out: number
  readonly bell: number
  readonly state: number
  readonly staged: Int32Array
  count: number
}

export class Workers {
  readonly #sw: Switch
  readonly #workers: Worker[]
  readonly #bell: number
  readonly #popped = new Int32Array(1024 * P.OUT_WORDS)
  readonly #share: number
  /** Packets given away and not come to rest. */
  #waiting = 0
  /** Next thread to get slots back. */
  #poor = 0

  /** Starts n threads as workers 1 to n of the switch's arena. */
  constructor(sw: Switch, n: number) {
    const a = sw.arena
    this.#sw = sw
    this.#share = sw.datapath.freeSlots()
    this.#bell = reserve(a, 64) >> 2
    this.#workers = Array.from({ length: n }, (_, i) => {
      const words = reserve(a, 128) >> 2
      const shared = { in: ringCreate(a, IN_RING), out: ringCreate(a, OUT_RING), bell: words, state: words + 16 }
      const data: P.WorkerData = { memory: a.memory, worker: i + 1, mainBell: this.#bell, ...shared }
      const thread = spawn(new URL('./worker_thread.ts', import.meta.url), data, `datapath ${i + 1}`)
      return { thread, ...shared, staged: new Int32Array(STAGE), count: 0 }
    })
  }

  /** As Switch.inputBatch; returns when every packet has come to rest. */
  inputBatch(port: number, address: Int32Array, length: Int32Array, time: Float64Array, n: number): void {
    const { arena, datapath } = this.#sw
    const { m } = arena
    const dev = this.#sw.portDevice(port)
    const max = datapath.maxFrame()
    let timer = Number.NEGATIVE_INFINITY
    for (let i = 0; i < n; i++) {
      if (time[i] >= timer) {
        this.settle()
        this.#sw.advance(time[i])
        timer = this.#sw.nextTimer
      }
      const pkt = this.#slot()
      if (length[i] > max) {
        datapath.drop(pkt, DROP_RX_TOO_LONG)
        continue
      }
      datapath.load(pkt, address[i], length[i])
      m[(pkt + PKT_TIME) >> 2] = (time[i] % 0x100000000) | 0
      m[(pkt + PKT_TIME_HI) >> 2] = (time[i] / 0x100000000) | 0
      m[(pkt + PKT_DEV) >> 2] = dev
      const w = this.#workers[flowHash(arena.d, address[i], length[i]) % this.#workers.length]
      w.staged[w.count++] = pkt
      this.#waiting++
      if (w.count === STAGE) {
        this.#give(w)
        this.#collect()
      }
    }
    this.settle()
    reclaim(arena)
  }

  /** Waits until every packet has come to rest. */
  settle(): void {
    for (const w of this.#workers) if (w.count > 0) this.#give(w)
    while (this.#waiting > 0) this.#wait()
  }

  /** Ends the threads; resolves when they are gone. */
  async stop(): Promise<void> {
    for (const w of this.#workers) {
      w.staged[0] = P.STOP
      w.count = 1
      if (load(this.#sw.arena.m, w.state) === P.STATE_RUNS) this.#give(w)
    }
    await Promise.all(this.#workers.map((w) => w.thread.ended))
  }

  /** A free slot of this thread's, waited for. */
  #slot(): number {
    for (;;) {
      const pkt = this.#sw.datapath.alloc()
      if (pkt !== 0) return pkt
      for (const w of this.#workers) if (w.count > 0) this.#give(w)
      this.#wait()
    }
  }

  #give(w: Worker): void {
    const { arena } = this.#sw
    for (let pushed = 0; pushed < w.count; ) {
      pushed += ringPush(arena, w.in, w.staged, pushed, w.count - pushed)
      add(arena.m, w.bell, 1)
      wake(arena.m, w.bell)
      if (pushed < w.count) this.#wait()
    }
    w.count = 0
  }

  /** Handles what has come back; sleeps first when nothing has. */
  #wait(): void {
    const { m } = this.#sw.arena
    const seen = load(m, this.#bell)
    if (this.#collect()) return
    for (const w of this.#workers)
      if (load(m, w.state) === P.STATE_FAILED) throw new Error('a datapath thread failed; its packets are lost')
    wait(m, this.#bell, seen, NAP_MS)
  }

  /** Handles everything that has come back; false when nothing has. */
  #collect(): boolean {
    const { arena, datapath } = this.#sw
    let any = false
    for (const w of this.#workers)
      for (;;) {
        const words = ringPop(arena, w.out, this.#popped, 0, this.#popped.length)
        if (words === 0) break
        any = true
        this.#sw.emitted(this.#popped, this.#sort(words))
        add(arena.m, w.bell, 1)
        wake(arena.m, w.bell)
      }
    while (datapath.freeSlots() > this.#share + P.SURPLUS) this.#giveSlots()
    return any
  }

  /** Takes what is no emission out of the popped messages; returns how many emissions stay in front. */
  #sort(words: number): number {
    const p = this.#popped
    let n = 0
    for (let o = 0; o < words; o += P.OUT_WORDS) {
      if (p[o + 2] === P.KIND_DONE) this.#waiting -= p[o]
      else if (p[o + 2] === P.KIND_SLOT) this.#sw.datapath.release(p[o])
      else p.copyWithin(P.OUT_WORDS * n++, o, o + P.OUT_WORDS)
    }
    return n
  }

  /** Slots that copies of packets brought here go back to the threads in turn. */
  #giveSlots(): void {
    const w = this.#workers[this.#poor++ % this.#workers.length]
    const slots = Int32Array.from({ length: P.GIVEN }, () => this.#sw.datapath.alloc() | P.FREE)
    const pushed = ringPush(this.#sw.arena, w.in, slots, 0, slots.length)
    for (const slot of slots.subarray(pushed)) this.#sw.datapath.release(slot & ~P.FREE)
  }
}

/** A number that is the same for all frames of a flow: from addresses and ports, or from MACs where there are none. */
function flowHash(d: DataView, o: number, length: number): number {
  const type = length >= 34 ? d.getUint16(o + 12) : 0
  let h = 0
  if (type === 0x0800) {
    h = Math.imul(d.getInt32(o + 26) ^ Math.imul(d.getInt32(o + 30), 0x9e3779b1), 0x85ebca6b)
    const l4 = o + 14 + (d.getUint8(o + 14) & 15) * 4
    const whole = (d.getUint16(o + 20) & 0x3fff) === 0
    const proto = d.getUint8(o + 23)
    if (whole && (proto === 6 || proto === 17) && l4 + 4 <= o + length) h ^= Math.imul(d.getInt32(l4), 0xc2b2ae35)
  } else if (type === 0x86dd && length >= 54) {
    for (let i = 22; i < 54; i += 4) h = Math.imul(h ^ d.getInt32(o + i), 0x9e3779b1)
  } else if (length >= 12) {
    h = Math.imul(d.getInt32(o) ^ d.getInt32(o + 4) ^ d.getInt32(o + 8), 0x85ebca6b)
  }
  h ^= h >>> 15
  return Math.imul(h, 0x9e3779b1) >>> 8
}
