// A burst of packets, in order.

import { PKT_DEV } from '../../memory/layout/packet.ts'
import { drainBacklog, hasBacklog } from './backlog.ts'
import { receive } from './input.ts'
import { emitRoom, punted } from './state.ts'

/** Emissions that one packet may make before the list is looked at again. */
const ROOM: i32 = 256

/** Receives packets until one made something for the host, or the emission list is nearly full. */
export function receiveAll(list: usize, n: i32): i32 {
  let i: i32 = 0
  while (i < n) {
    const pkt = load<usize>(list + ((<usize>i) << 2))
    receive(pkt, load<usize>(pkt, PKT_DEV))
    if (hasBacklog()) drainBacklog()
    i++
    if (punted || emitRoom() < ROOM) break
  }
  return i
}
