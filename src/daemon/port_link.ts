// The seam between the switch thread and a datapath thread, which has ports: two rings, and nobody waits for the other.
//
//   datapath thread ──▶ up     four words an emission, as in its worker's list: what is for the host (punts), and what it
//                              emitted by a port that is not its own; or [slot, 0, KIND_SLOT, 0]: a free slot too many
//   datapath thread ◀── down   two words a packet: its address and the port that sends it; or [slot | FREE, 0]: a free slot
//
// A packet goes with its slot, so slots wander; who has SURPLUS more than it began with gives some back. After pushing up
// the datapath thread wakes the switch thread, which sleeps on the workqueue's bell; after pushing down the switch thread
// rings the link's own bell, a futex word that the datapath thread sleeps on (or looks at, if it sleeps elsewhere).
//
// A port is owned by one datapath thread. The switch thread copies what the host sends into slots of its own worker and
// hands them down. A ring without room is a drop under its name: a flood for the host must not stop the ports.
//
// `makeLink` on the switch thread, before the others start; SwitchEnd there, DatapathEnd on the datapath thread.

import type { Datapath } from '../datapath/chip.ts'
import { wakeEventLoop } from '../encap/encap.ts'
import { type Arena, reserve } from '../memory/arena.ts'
import { DROP_RING_FULL } from '../memory/layout/drop.ts'
import { PKT_TIME, PKT_TIME_HI } from '../memory/layout/packet.ts'
import { ringCreate, ringPop, ringPush } from '../memory/ring.ts'
import { FREE, GIVEN, KIND_SLOT, SURPLUS } from '../replay/worker_protocol.ts'
import type { Switch } from '../switch/switch.ts'
import { add, load, wait, wake } from '../sync/atomic.ts'

/** Words of the rings, and of what they carry. */
const UP_RING = 4 * 4096
const DOWN_RING = 2 * 4096
export const UP_WORDS = 4
export const DOWN_WORDS = 2
/** Emissions that are handled at a time. */
const BATCH = 256

/** What both ends are given. */
export interface PortLink {
  /** The datapath thread's worker in the arena, from 1; the switch thread's is 0. */
  readonly worker: number
  /** Addresses of the rings. */
  readonly up: number
  readonly down: number
  /** Word index of the datapath thread's bell. */
  readonly bell: number
}

export function makeLink(a: Arena, worker: number): PortLink {
  return { worker, up: ringCreate(a, UP_RING), down: ringCreate(a, DOWN_RING), bell: reserve(a, 64) >> 2 }
}

/** The ends of all links on the switch thread. */
export class SwitchEnd {
  readonly #sw: Switch
  readonly #links: readonly PortLink[]
  /** Index of the link by whose thread a port sends; -1: nobody does, what it is to send is gone (a dummy). */
  readonly #owner: readonly number[]
  readonly #share: number
  readonly #list = new Int32Array(BATCH * UP_WORDS)
  readonly #pair = new Int32Array(DOWN_WORDS)
  readonly #rung = new Set<PortLink>()
  #poor = 0

  constructor(sw: Switch, links: readonly PortLink[], owner: readonly number[]) {
    this.#sw = sw
    this.#links = links
    this.#owner = owner
    this.#share = sw.datapath.freeSlots()
    sw.onOutput((port, address, length, time) => this.#send(port, address, length, time))
  }

  /** Handles what has come up; returns how many emissions. */
  collect(): number {
    let all = 0
    for (const link of this.#links)
      for (;;) {
        const words = ringPop(this.#sw.arena, link.up, this.#list, 0, this.#list.length)
        if (words === 0) break
        const n = this.#sort(words)
        if (n > 0) this.#sw.emitted(this.#list, n)
        all += n
      }
    if (this.#links.length > 0) while (this.#sw.datapath.freeSlots() > this.#share + SURPLUS && this.#giveSlots()) {}
    return all
  }

  /** Rings for those who were handed something since the last time. */
  ring(): void {
    const { m } = this.#sw.arena
    for (const { bell } of this.#rung) {
      add(m, bell, 1)
      wake(m, bell)
    }
    this.#rung.clear()
  }

  #send(port: number, address: number, length: number, time: number): void {
    const link = this.#links[this.#owner[port] ?? -1]
    if (link === undefined) return
    const { arena, datapath } = this.#sw
    const pkt = datapath.alloc()
    if (pkt === 0 || !datapath.load(pkt, address, length)) {
      if (pkt === 0) datapath.countDrop(DROP_RING_FULL)
      else datapath.drop(pkt, DROP_RING_FULL)
      return
    }
    arena.m[(pkt + PKT_TIME) >> 2] = (time % 0x100000000) | 0
    arena.m[(pkt + PKT_TIME_HI) >> 2] = (time / 0x100000000) | 0
    if (!this.#down(link, pkt, port)) datapath.drop(pkt, DROP_RING_FULL)
  }

  #down(link: PortLink, pkt: number, port: number): boolean {
    this.#pair[0] = pkt
    this.#pair[1] = port
    // Only pairs are pushed, into a ring of even size: it has room for both words or for none.
    if (ringPush(this.#sw.arena, link.down, this.#pair, 0, DOWN_WORDS) === 0) return false
    this.#rung.add(link)
    return true
  }

  /** Takes the free slots out of the popped words; returns how many emissions stay in front. */
  #sort(words: number): number {
    const p = this.#list
    let n = 0
    for (let o = 0; o < words; o += UP_WORDS) {
      if (p[o + 2] === KIND_SLOT) this.#sw.datapath.release(p[o])
      else p.copyWithin(UP_WORDS * n++, o, o + UP_WORDS)
    }
    return n
  }

  /** To the threads in turn. */
  #giveSlots(): boolean {
    const link = this.#links[this.#poor++ % this.#links.length]
    for (let i = 0; i < GIVEN; i++) {
      const slot = this.#sw.datapath.alloc()
      if (slot === 0) return false
      if (this.#down(link, slot | FREE, 0)) continue
      this.#sw.datapath.release(slot)
      return false
    }
    return true
  }
}

/** The end of its link on a datapath thread. */
export class DatapathEnd {
  readonly #a: Arena
  readonly #dp: Datapath
  readonly #link: PortLink
  readonly #share: number
  readonly #message = new Int32Array(UP_WORDS)
  readonly #pairs = new Int32Array(BATCH * DOWN_WORDS)

  constructor(a: Arena, dp: Datapath, link: PortLink) {
    this.#a = a
    this.#dp = dp
    this.#link = link
    this.#share = dp.freeSlots()
  }

  /**
   * Hands an emission up: the packet is the switch thread's from now on. Without room it ends here, by name. After the
   * last one of a burst, `ring`.
   */
  up(pkt: number, dev: number, kind: number, arg: number): void {
    if (!this.#push(pkt, dev, kind, arg)) this.#dp.drop(pkt, DROP_RING_FULL)
  }

  /** The switch thread looks. */
  ring(): void {
    wakeEventLoop(this.#a)
  }

  /** Takes what has come down: packets go to `send`, which takes their slots too. Returns how many packets. */
  take(send: (pkt: number, port: number) => void): number {
    let n = 0
    for (;;) {
      const words = ringPop(this.#a, this.#link.down, this.#pairs, 0, this.#pairs.length)
      if (words === 0) break
      for (let o = 0; o < words; o += DOWN_WORDS) {
        if (this.#pairs[o] & FREE) this.#dp.release(this.#pairs[o] & ~FREE)
        else {
          send(this.#pairs[o], this.#pairs[o + 1])
          n++
        }
      }
    }
    for (let spare = this.#dp.freeSlots() - this.#share - SURPLUS; spare > 0; spare--) {
      const slot = this.#dp.alloc()
      if (this.#push(slot, 0, KIND_SLOT, 0)) continue
      this.#dp.release(slot)
      break
    }
    return n
  }

  /** What the bell says; read it before `take`, so that `sleep` misses nothing. */
  bell(): number {
    return load(this.#a.m, this.#link.bell)
  }

  /** Sleeps until something comes down after `seen`, at most `ms`. Offline before, online behind: the caller's. */
  sleep(seen: number, ms: number): void {
    wait(this.#a.m, this.#link.bell, seen, ms)
  }

  #push(pkt: number, dev: number, kind: number, arg: number): boolean {
    const w = this.#message
    w[0] = pkt
    w[1] = dev
    w[2] = kind
    w[3] = arg
    return ringPush(this.#a, this.#link.up, w, 0, UP_WORDS) !== 0
  }
}
