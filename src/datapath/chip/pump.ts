// A port in memory, for measuring: frames from a table in the arena through the whole pipeline, sent to nowhere.
//
// For each burst: slots from the free stack, frames copied into them, receiveAll, and every output's slot given back,
// as a driver does. The caller sees what a driver would see of punts: they are given back too, and counted apart.

import { PKT_DEV, PKT_FRAME } from '../../memory/layout/packet.ts'
import { EMIT_KIND, EMIT_OUTPUT, EMIT_SIZE, WORKER_EMIT, WORKER_EMIT_COUNT } from '../../memory/layout/worker.ts'
import { receiveAll } from './burst.ts'
import { BURST_MAX, SCRATCH_PUMP } from './layout.ts'
import { clearMeta, copyWords } from './packet.ts'
import { allocMany, begin, releaseEmitted, scratch, worker } from './state.ts'

/** A frame of the table: its length (u32) in sixteen bytes, then its bytes. */
const FRAME_HEAD: usize = 16

/** Emissions of the last call that were outputs, and those that were not. */
export let pumpedOut: u32 = 0
export let pumpedOther: u32 = 0

/** Gives back what the burst emitted. */
function takeBack(): void {
  const n = load<u32>(worker, WORKER_EMIT_COUNT)
  const first = load<usize>(worker, WORKER_EMIT)
  let out: u32 = 0
  for (let e = first, end = first + <usize>n * EMIT_SIZE; e < end; e += EMIT_SIZE) {
    out += u32(load<u32>(e, EMIT_KIND) == EMIT_OUTPUT)
  }
  pumpedOut += out
  pumpedOther += n - out
  releaseEmitted(first, n)
  store<u32>(worker, 0, WORKER_EMIT_COUNT)
}

/** Packets of all calls, for frames that vary. */
let pumped: u32 = 0

/**
 * Sends `n` frames of a table of `frames` entries of `stride` bytes through the device, from entry `first` on. Of each
 * frame `head` bytes at most are written: what a slot has behind them stays. With `vary` not 0 the three bytes of a frame
 * from there on are a number that is another for each packet. Returns how many got a slot.
 */
export function pumpFrames(table: usize, stride: u32, frames: u32, first: u32, n: u32, dev: usize, head: u32, vary: u32): u32 {
  pumpedOut = 0
  pumpedOther = 0
  const list = scratch + SCRATCH_PUMP
  let done: u32 = 0
  let next = first
  while (done < n) {
    const k = allocMany(list, min<u32>(n - done, BURST_MAX))
    for (let i: u32 = 0; i < k; i++) {
      const pkt = load<usize>(list + (<usize>i << 2))
      const from = table + <usize>(next * stride)
      if (++next == frames) next = 0
      const len = load<u32>(from)
      clearMeta(pkt, len)
      store<usize>(pkt, dev, PKT_DEV)
      copyWords(pkt + PKT_FRAME, from + FRAME_HEAD, min(len, head))
      if (vary != 0) store<u32>(pkt + vary, load<u8>(pkt + vary, PKT_FRAME - 1) | (++pumped << 8), PKT_FRAME - 1)
    }
    if (k == 0) break
    let taken: i32 = 0
    while (taken < <i32>k) {
      begin(0)
      taken += receiveAll(list + (<usize>taken << 2), <i32>k - taken)
      takeBack()
    }
    done += k
  }
  return done
}
