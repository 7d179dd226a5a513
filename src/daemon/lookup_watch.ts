// Watches for long lookups on behalf of the switch thread, and says so in the log: at most once a minute, as whoever
// sends such packets sends many.

import { lookupAlarm, lookupAlarmText } from '../datapath/lookup_alarm.ts'
import type { Arena } from '../memory/arena.ts'
import type { Say } from './live_ports.ts'

const MINUTE = 60e9

export class LookupWatch {
  readonly #a: Arena
  readonly #say: Say
  /** Lookups that the log knows of. */
  #told = 0
  /** Says nothing before that moment, nanoseconds. */
  #quiet = 0

  constructor(a: Arena, say: Say) {
    this.#a = a
    this.#say = say
  }

  /** To be called every now and then; `now` in nanoseconds. */
  look(now: number): void {
    if (now < this.#quiet) return
    const alarm = lookupAlarm(this.#a)
    if (alarm === null || alarm.lookups === this.#told) return
    this.#told = alarm.lookups
    this.#quiet = now + MINUTE
    this.#say('warn', alarm, lookupAlarmText(alarm))
  }
}
