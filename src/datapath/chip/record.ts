// Frames in and out in bulk, for a driver whose frames lie in the arena already (replay): a burst of them into slots, and
// what ports send into the buffers of captures (memory/layout/record.ts), without a call for each packet.

import { DROP_NO_SLOT, DROP_RX_TOO_LONG } from '../../memory/layout/drop.ts'
import { NETDEV_PORT } from '../../memory/layout/netdev.ts'
import { PKT_DATA, PKT_DEV, PKT_FRAME, PKT_LEN, PKT_TIME } from '../../memory/layout/packet.ts'
import { RECORD_BYTES, RECORD_END, RECORD_LIMIT, RECORD_PACKETS, RECORD_SIZE } from '../../memory/layout/record.ts'
import { SUPER_PACKET_SIZE } from '../../memory/layout/super.ts'
import { EMIT_DEV, EMIT_KIND, EMIT_OUTPUT, EMIT_SIZE, WORKER_EMIT, WORKER_EMIT_COUNT } from '../../memory/layout/worker.ts'
import { clearMeta, copyWords } from './packet.ts'
import { alloc, countReason, drop, release, worker } from './state.ts'

/** seconds u32 | fraction u32 | captured length u32 | original length u32 */
const HEADER: usize = 16
const SECOND: u64 = 1000000000

/**
 * Puts n frames into slots and the slots into `list`: rows of addresses (u32), lengths (u32), arrival times (f64,
 * nanoseconds). Frames that get none, or are too long, end here by name. Returns how many stand in the list.
 */
export function takeFrames(list: usize, address: usize, length: usize, time: usize, n: u32, dev: usize): u32 {
  const longest = load<u32>(SUPER_PACKET_SIZE) - <u32>PKT_FRAME - 64
  let k: u32 = 0
  for (let i: u32 = 0; i < n; i++) {
    const pkt = alloc()
    const len = load<u32>(length + (<usize>i << 2))
    if (pkt == 0) {
      countReason(DROP_NO_SLOT)
      continue
    }
    if (len > longest) {
      drop(pkt, DROP_RX_TOO_LONG)
      continue
    }
    clearMeta(pkt, len)
    store<usize>(pkt, dev, PKT_DEV)
    store<u64>(pkt, <u64>load<f64>(time + (<usize>i << 3)), PKT_TIME)
    copyWords(pkt + PKT_FRAME, load<usize>(address + (<usize>i << 2)), len)
    store<usize>(list + (<usize>k << 2), pkt)
    k++
  }
  return k
}

/**
 * Records the outputs at the head of the emission list, up to one that is none or has no room in its port's buffer, and
 * gives their slots back. A frame's time is when its packet arrived, in units of `unit` nanoseconds. Returns how many.
 */
export function recordOutputs(records: usize, unit: u32): u32 {
  const n = load<u32>(worker, WORKER_EMIT_COUNT)
  const first = load<usize>(worker, WORKER_EMIT)
  let e = first
  let i: u32 = 0
  for (; i < n && load<u32>(e, EMIT_KIND) == EMIT_OUTPUT; i++, e += EMIT_SIZE) {
    const pkt = load<usize>(e)
    const r = records + <usize>load<u32>(load<usize>(e, EMIT_DEV), NETDEV_PORT) * RECORD_SIZE
    const to = load<usize>(r, RECORD_END)
    const len = load<u32>(pkt, PKT_LEN)
    if (to + HEADER + len + 16 > load<usize>(r, RECORD_LIMIT)) break // whole words are copied
    const time = load<u64>(pkt, PKT_TIME)
    const seconds = time / SECOND
    store<u64>(to, seconds | (((time - seconds * SECOND) / unit) << 32))
    store<u64>(to, <u64>len | (<u64>len << 32), 8)
    copyWords(to + HEADER, load<usize>(pkt, PKT_DATA), len)
    store<usize>(r, to + HEADER + len, RECORD_END)
    store<u64>(r, load<u64>(r, RECORD_PACKETS) + 1, RECORD_PACKETS)
    store<u64>(r, load<u64>(r, RECORD_BYTES) + len, RECORD_BYTES)
    release(pkt)
  }
  if (i != 0) {
    if (i < n) memory.copy(first, e, <usize>(n - i) * EMIT_SIZE)
    store<u32>(worker, n - i, WORKER_EMIT_COUNT)
  }
  return i
}
