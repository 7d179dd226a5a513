// The alarm of long lookups: packets, and somebody's rules, that make a search probe very many masks.
//
// The mask index keeps such searches rare; what is left of them the chip counts (chip/lookup.ts). A program asks here
// now and then, and tells people which port it is and how many masks.

import type { Arena } from '../memory/arena.ts'
import { workerOf } from '../memory/arena.ts'
import { SUPER_WORKERS } from '../memory/layout/super.ts'
import * as W from '../memory/layout/worker.ts'
import { netdevByIndex, netdevName } from '../net/netdev.ts'

export interface LookupAlarm {
  /** Lookups so far that probed more than 64 masks, of all workers. */
  readonly lookups: number
  /** The most that one probed; at the filters of this device, in this chain. */
  readonly masks: number
  readonly dev: string
  readonly chain: number
}

/** What there is to be alarmed about; null when no lookup was long. Any thread. */
export function lookupAlarm(a: Arena): LookupAlarm | null {
  let lookups = 0
  let masks = 0
  let longest = 0
  for (let i = 0; i < a.m[SUPER_WORKERS >> 2]; i++) {
    const w = workerOf(a, i)
    lookups += word(a, w, W.WORKER_STEEP) + word(a, w, W.WORKER_STEEP + 4) * 0x100000000
    if (word(a, w, W.WORKER_STEEP_MASKS) <= masks) continue
    masks = word(a, w, W.WORKER_STEEP_MASKS)
    longest = w
  }
  if (longest === 0) return null
  const dev = deviceOf(a, word(a, longest, W.WORKER_STEEP_IFINDEX))
  return { lookups, masks, dev, chain: word(a, longest, W.WORKER_STEEP_CHAIN) }
}

const word = (a: Arena, worker: number, field: number): number => a.m[(worker + field) >> 2] >>> 0

/** The name of a device; its ifindex when it is gone. */
function deviceOf(a: Arena, ifindex: number): string {
  const dev = netdevByIndex(a, ifindex)
  return dev === 0 ? `if${ifindex}` : netdevName(a, dev)
}

/** The alarm as a sentence. */
export function lookupAlarmText({ lookups, masks, dev, chain }: LookupAlarm): string {
  return `${lookups} lookup${lookups === 1 ? '' : 's'} had to probe more than 64 masks, the longest one ${masks} (filters of ${dev}, chain ${chain}): merge masks, or put the rules that packets meet most first`
}
