// Who looks after connections whose time is over: a timer that goes through the table piece by piece (gc_worker). A
// packet never waits for that: it passes over what has expired. So it is no matter when a piece's turn comes, and nobody
// looks while there are no connections.

import type { Arena } from '../memory/arena.ts'
import { bucketCount, connectionCount } from './table.ts'

/** Milliseconds between two pieces, and pieces of the table. */
export const COLLECT_INTERVAL = 2000
export const COLLECT_PIECES = 16

/** What collects: Datapath of datapath/chip.ts is one. */
export interface Collects {
  collectConnections(buckets: number): number
}

export class Collector {
  readonly #a: Arena
  readonly #dp: Collects
  #next = 0

  constructor(a: Arena, dp: Collects) {
    this.#a = a
    this.#dp = dp
  }

  /** When `run` is next wanted: milliseconds of the switch's clock, Infinity while there is nothing to look at. */
  get next(): number {
    return connectionCount(this.#a) === 0 ? Number.POSITIVE_INFINITY : this.#next
  }

  /** Looks at one piece, if it is time. The thread of the datapath worker. */
  run(now: number): void {
    if (now < this.next) return
    this.#next = now + COLLECT_INTERVAL
    this.#dp.collectConnections(Math.ceil(bucketCount(this.#a) / COLLECT_PIECES))
  }
}
