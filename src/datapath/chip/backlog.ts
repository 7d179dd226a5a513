// Packets that are received again when the work at hand is done: the kernel's per-CPU backlog (netif_rx).

import { DROP_LOOP, DROP_NO_SLOT } from '../../memory/layout/drop.ts'
import { deliver } from './input.ts'
import { BACKLOG_MAX, SCRATCH_BACKLOG } from './layout.ts'
import { drop, scratch, setMirredNest } from './state.ts'

/**
 * How often a packet may come by. In the kernel one that is redirected in a circle of ingresses goes round for ever,
 * and other work is done between its rounds; here there is no between.
 */
const ROUNDS_MAX: i32 = 64

let head: u32 = 0
let tail: u32 = 0

/** Queues a packet for the ingress of dev. False: no room, the packet is dropped. */
export function defer(pkt: usize, dev: usize): bool {
  if (tail - head >= BACKLOG_MAX) {
    drop(pkt, DROP_NO_SLOT)
    return false
  }
  const at = scratch + SCRATCH_BACKLOG + ((<usize>(tail & (BACKLOG_MAX - 1))) << 3)
  store<usize>(at, pkt)
  store<usize>(at, dev, 4)
  tail++
  return true
}

/** Receives what was queued, and what that queues, round by round. */
export function drainBacklog(): void {
  for (let round: i32 = 0; head != tail; round++) {
    const end = tail
    while (head != end) {
      const at = scratch + SCRATCH_BACKLOG + ((<usize>(head & (BACKLOG_MAX - 1))) << 3)
      head++
      if (round < ROUNDS_MAX) {
        setMirredNest(0)
        deliver(load<usize>(at), load<usize>(at, 4))
      } else {
        drop(load<usize>(at), DROP_LOOP)
      }
    }
  }
}

// @ts-ignore: decorator
@inline
export function hasBacklog(): bool {
  return head != tail
}
