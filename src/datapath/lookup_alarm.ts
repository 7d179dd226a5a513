// The alarm of long lookups: packets, and somebody's rules, that make a search probe very many masks.
//
// The mask index keeps such searches rare; what is left of them the chip counts (chip/lookup.ts). A program asks here
// now and then, and tells people which port it is and how many masks.

import type { Arena } from '../memory/arena.ts'
import { workerOf } from '../memory/arena.ts'
import { SUPER_WORKERS } from '../memory/layout/super.ts'
import * as W from '../memory/layout/worker.ts'

export interface LookupAlarm {
  /** Lookups so far that probed more than 64 masks, of all workers. */
  readonly lookups: number
  /** The most that one probed; at the filters of the device with this ifindex, in this chain. */
  readonly masks: number
  readonly ifindex: number
  readonly chain: number
}

/** What there is to be alarmed about; null when no lookup was long. Any thread. */
export function lookupAlarm(a: Arena): LookupAlarm | null {
  let alarm: LookupAlarm | null = null
  let lookups = 0
  for (let i = 0; i < a.m[SUPER_WORKERS >> 2]; i++) {
    const word = (field: number): number => a.m[(workerOf(a, i) + field) >> 2] >>> 0
    lookups += word(W.WORKER_STEEP) + word(W.WORKER_STEEP + 4) * 0x100000000
    const masks = word(W.WORKER_STEEP_MASKS)
    if (masks > (alarm?.masks ?? 0)) {
      alarm = { lookups: 0, masks, ifindex: word(W.WORKER_STEEP_IFINDEX), chain: word(W.WORKER_STEEP_CHAIN) }
    }
  }
  return alarm === null ? null : { ...alarm, lookups }
}

/** The alarm as a sentence. `name`: of the device with an ifindex. */
export function lookupAlarmText(
  { lookups, masks, ifindex, chain }: LookupAlarm,
  name: (ifindex: number) => string,
): string {
  const where = chain === 0 ? '' : `, chain ${chain}`
  return `${lookups} lookups had to probe more than 64 masks, the longest one ${masks} (filters of ${name(ifindex)}${where}): merge masks, or put the rules that packets meet most first`
}
