// The lines that wait for their moment, while the packets go through.
//
// Lines run in the order of their moments, and those of one moment in the order of the files. A line relative to another
// is due when that one has run. Replay asks how far it may go: by the clock, and by packets.
import type { Step } from './scenario.ts'

interface Event {
  readonly step: Step
  /** Virtual time, nanoseconds; Infinity until the line before has run, or for `@packet`. */
  due: number
  /** Packets received; Infinity for all others. */
  readonly packets: number
  /** Events that count from this one. */
  readonly followers: Event[]
}

export class Schedule {
  readonly #events: Event[]

  /** `firstPacket`: virtual time of the first packet, nanoseconds. */
  constructor(steps: readonly Step[], firstPacket: number) {
    this.#events = []
    let before: Event | null = null
    for (const step of steps) {
      if (step.moment === null) {
        before = null
        continue
      }
      const { kind, value } = step.moment
      const due =
        kind === 'at' || (kind === 'after' && before === null) ? firstPacket + value : Number.POSITIVE_INFINITY
      const event: Event = { step, due, packets: kind === 'packet' ? value : Number.POSITIVE_INFINITY, followers: [] }
      if (kind === 'after') before?.followers.push(event)
      this.#events.push(event)
      before = event
    }
  }

  /** Lines that have not run. */
  get left(): Step[] {
    return this.#events.map((e) => e.step)
  }

  /** Virtual time of the next line that waits for the clock; Infinity when there is none. */
  get nextTime(): number {
    return this.#events.reduce((t, e) => Math.min(t, e.due), Number.POSITIVE_INFINITY)
  }

  /** Number of packets that the next line waits for; Infinity when there is none. */
  get nextPackets(): number {
    return this.#events.reduce((n, e) => Math.min(n, e.packets), Number.POSITIVE_INFINITY)
  }

  /** Takes the next line that is due at `now`, when `received` packets have been received. */
  take(now: number, received: number): Step | null {
    let best = -1
    this.#events.forEach((e, i) => {
      if (e.packets > received && e.due > now) return
      if (best < 0 || e.due < this.#events[best].due) best = i
    })
    if (best < 0) return null
    const [event] = this.#events.splice(best, 1)
    const ranAt = Math.min(event.due, now)
    for (const f of event.followers) f.due = ranAt + followDelay(f)
    return event.step
  }
}

function followDelay(e: Event): number {
  return e.step.moment!.value
}
