// A datapath thread of replay: takes packets off its ring, receives them in bursts, hands on what they became.
//
// It is an RCU reader: quiescent after every burst, offline while it sleeps. A failure is its state's last value, so that
// replay does not wait for it.
import { Datapath } from '../datapath/chip.ts'
import { type Arena, attachArena, reserve } from '../memory/arena.ts'
import { PKT_TIME, PKT_TIME_HI } from '../memory/layout/packet.ts'
import * as W from '../memory/layout/worker.ts'
import { ringPop, ringPush } from '../memory/ring.ts'
import { driveWorker } from '../memory/thread_record.ts'
import { leave } from '../memory/threads.ts'
import { add, load, store, wait, wake } from '../sync/atomic.ts'
import { threadData } from '../sync/thread.ts'
import * as P from './worker_protocol.ts'

const BURST = 64
/** Looks again after that long, should a wake be missed. */
const NAP_MS = 100

const data = threadData<P.WorkerData>()
const a = attachArena(data.memory)
try {
  run(a)
  store(a.m, data.state, P.STATE_ENDED)
} catch (e) {
  store(a.m, data.state, P.STATE_FAILED)
  throw e
} finally {
  leave(a)
  ring()
}

function ring(): void {
  add(a.m, data.mainBell, 1)
  wake(a.m, data.mainBell)
}

function run({ m }: Arena): void {
  const dp = new Datapath(a, data.worker)
  driveWorker(a, data.worker)
  dp.online()
  const share = dp.freeSlots()
  const items = new Int32Array(BURST)
  const message = new Int32Array(P.OUT_WORDS)
  const list = reserve(a, BURST * 4)
  for (;;) {
    const seen = load(m, data.bell)
    const n = ringPop(a, data.in, items, 0, BURST)
    if (n === 0) {
      dp.offline()
      wait(m, data.bell, seen, NAP_MS)
      dp.online()
      continue
    }
    let k = 0
    let stop = false
    for (let i = 0; i < n; i++) {
      if (items[i] === P.STOP) stop = true
      else if (items[i] & P.FREE) dp.release(items[i] & ~P.FREE)
      else m[(list >> 2) + k++] = items[i]
    }
    for (let done = 0; done < k; ) {
      dp.setTime(timeOf(m, m[(list >> 2) + done]))
      done += dp.receiveBurst(list + done * 4, k - done)
      handOn(dp)
    }
    if (k > 0) push(message, P.KIND_DONE, k)
    while (dp.freeSlots() > share + P.SURPLUS) for (let i = 0; i < P.GIVEN; i++) push(message, P.KIND_SLOT, dp.alloc())
    dp.quiescent()
    ring()
    if (stop) break
  }
  dp.offline()
}

function timeOf(m: Int32Array, pkt: number): number {
  return (m[(pkt + PKT_TIME) >> 2] >>> 0) + m[(pkt + PKT_TIME_HI) >> 2] * 0x100000000
}

/** The worker's emissions, as they stand, onto the ring. */
function handOn(dp: Datapath): void {
  const { m } = a
  const words = m[(dp.struct + W.WORKER_EMIT_COUNT) >> 2] * P.OUT_WORDS
  const at = m[(dp.struct + W.WORKER_EMIT) >> 2] >> 2
  pushAll(m, at, words)
  m[(dp.struct + W.WORKER_EMIT_COUNT) >> 2] = 0
}

function push(message: Int32Array, kind: number, value: number): void {
  message[0] = value
  message[2] = kind
  pushAll(message, 0, P.OUT_WORDS)
}

/** Waits for room: replay empties the ring whatever else it waits for. */
function pushAll(from: Int32Array, at: number, words: number): void {
  for (let pushed = 0; pushed < words; ) {
    pushed += ringPush(a, data.out, from, at + pushed, words - pushed)
    if (pushed === words) break
    const seen = load(a.m, data.bell)
    ring()
    wait(a.m, data.bell, seen, 1)
  }
}
