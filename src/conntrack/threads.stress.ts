// The body of threads.test.ts: a datapath worker that tracks packets of a few conversations, at random, on its own
// thread, while the others do the same with the same ones.
import { Datapath } from '../datapath/chip.ts'
import { attachArena } from '../memory/arena.ts'
import { PKT_TIME, PKT_TIME_HI } from '../memory/layout/packet.ts'
import { driveWorker } from '../memory/thread_record.ts'
import { leave } from '../memory/threads.ts'
import { add, load, wait, wake } from '../sync/atomic.ts'
import { udp } from '../testing/packets.ts'

export interface Job {
  readonly memory: WebAssembly.Memory
  readonly devices: readonly [number, number]
  /** Word that counts those that are ready. */
  readonly ready: number
  readonly threads: number
  readonly conversations: number
  readonly packets: number
  readonly seed: number
}

/** xorshift32 */
function* numbers(seed: number): Generator<number, never> {
  let x = seed | 1
  for (;;) {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    yield x >>> 0
  }
}

/** Returns how many packets left, and what they were dropped for. */
export function track(job: Job, index: number): { left: number; drops: number } {
  const a = attachArena(job.memory)
  const dp = new Datapath(a, index + 1)
  driveWorker(a, index + 1)
  dp.online()
  const frames = Array.from({ length: job.conversations }, (_, i) => [
    udp({ src: '10.0.0.1', dst: '10.0.0.2', sport: 1000 + i }),
    udp({ src: '10.0.0.2', dst: '10.0.0.1', sport: 53, dport: 1000 + i }),
  ])
  add(a.m, job.ready, 1)
  wake(a.m, job.ready)
  for (let n = load(a.m, job.ready); n < job.threads; n = load(a.m, job.ready)) wait(a.m, job.ready, n, 100)
  const random = numbers(job.seed + index * 7919)
  let left = 0
  for (let i = 0; i < job.packets; i++) {
    const r = random.next().value
    const way = (r >>> 16) & 1
    const frame = frames[(r & 0xffff) % job.conversations][way]
    const pkt = dp.alloc()
    dp.loadBytes(pkt, frame)
    const now = 2e9 + i * 1e6
    a.m[(pkt + PKT_TIME) >> 2] = (now % 0x100000000) | 0
    a.m[(pkt + PKT_TIME_HI) >> 2] = (now / 0x100000000) | 0
    dp.receive(pkt, job.devices[way])
    for (const e of dp.takeEmissions()) {
      const out = dp.frame(e.pkt)
      if (out.length !== frame.length || out.some((b, k) => b !== frame[k])) throw new Error('a packet was changed')
      dp.release(e.pkt)
      left++
    }
    dp.quiescent()
  }
  const drops = dp.allDrops()
  dp.offline()
  leave(a)
  return { left, drops }
}
