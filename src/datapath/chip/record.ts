// Frames in and out in bulk, for a driver whose frames lie in the arena already (replay): the records of a capture, a burst
// of frames into slots, and what ports send into the buffers of captures (memory/layout/record.ts), without a call for
// each packet.

import { DROP_NO_SLOT, DROP_RX_TOO_LONG } from '../../memory/layout/drop.ts'
import { NETDEV_PORT } from '../../memory/layout/netdev.ts'
import { PKT_DATA, PKT_DEV, PKT_FRAME, PKT_LEN, PKT_TIME } from '../../memory/layout/packet.ts'
import {
  RECORD_BYTES,
  RECORD_END,
  RECORD_LIMIT,
  RECORD_PACKETS,
  RECORD_SIZE,
  SCAN_AT,
  SCAN_CUT,
  SCAN_END,
  SCAN_EPOCH,
  SCAN_FCS,
  SCAN_LENGTH,
  SCAN_LONGEST,
  SCAN_OFFSET,
  SCAN_ROWS,
  SCAN_SWAPPED,
  SCAN_TIME,
  SCAN_UNIT,
  SCAN_WINDOW,
} from '../../memory/layout/record.ts'
import { SUPER_PACKET_SIZE } from '../../memory/layout/super.ts'
import { EMIT_DEV, EMIT_KIND, EMIT_OUTPUT, EMIT_SIZE, WORKER_EMIT, WORKER_EMIT_COUNT } from '../../memory/layout/worker.ts'
import { clearMeta, copyWords } from './packet.ts'
import { alloc, countReason, drop, releaseEmitted, worker } from './state.ts'

/** seconds u32 | fraction u32 | captured length u32 | original length u32 */
const HEADER: usize = 16
const SECOND: u64 = 1000000000

/** A word of a file of either byte order. */
// @ts-ignore: decorator
@inline
function word(at: usize, swapped: bool): u32 {
  const w = load<u32>(at)
  return swapped ? bswap<u32>(w) : w
}

/** Describes the frames whose records lie whole in what has been read, SCAN_ROWS at most. Returns how many. */
export function scanRecords(s: usize): u32 {
  const end = load<usize>(s, SCAN_END)
  const unit = load<u32>(s, SCAN_UNIT)
  const swapped = load<u32>(s, SCAN_SWAPPED) != 0
  const fcs = load<u32>(s, SCAN_FCS)
  const epoch = load<u32>(s, SCAN_EPOCH)
  const longest = load<u32>(s, SCAN_LONGEST)
  const window = load<usize>(s, SCAN_WINDOW)
  let at = load<usize>(s, SCAN_AT)
  let cut: u32 = 0
  let n: u32 = 0
  while (n < <u32>SCAN_ROWS && end - at >= HEADER) {
    const held = word(at + 8, swapped)
    if (held > longest || end - at - HEADER < <usize>held) break
    const original = word(at + 12, swapped)
    const seconds = <i64>word(at, swapped) - <i64>epoch
    const length = fcs == 0 ? held : min(held, max(original, fcs) - fcs)
    store<u32>(s + (<usize>n << 2), at + HEADER - window, SCAN_OFFSET)
    store<u32>(s + (<usize>n << 2), length, SCAN_LENGTH)
    store<f64>(s + (<usize>n << 3), <f64>seconds * 1e9 + <f64>word(at + 4, swapped) * <f64>unit, SCAN_TIME)
    cut += u32(held < original)
    at += HEADER + held
    n++
  }
  store<u32>(s, cut, SCAN_CUT)
  store<usize>(s, at, SCAN_AT)
  return n
}

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
  }
  if (i != 0) {
    releaseEmitted(first, i)
    if (i < n) memory.copy(first, e, <usize>(n - i) * EMIT_SIZE)
    store<u32>(worker, n - i, WORKER_EMIT_COUNT)
  }
  return i
}
