// A process of its own that does what a datapath thread does with packets (daemon/datapath_thread.ts), by millions, and
// tells on stdout how many collections of garbage it saw: first for a moment in which it makes some on purpose, then for
// the packets. Node runs it with --expose-gc, and with a nursery so small that little garbage is seen.
//
//   frames in the arena ─▶ takeBurst ─▶ receiveBurst ─▶ each emission's slot given back ─▶ quiescent ─▶ …

import { PerformanceObserver } from 'node:perf_hooks'
import { innerFrame, rules, setup } from '../bench/workload.ts'
import { reserve } from '../memory/arena.ts'
import { EMIT_OUTPUT, WORKER_EMIT, WORKER_EMIT_COUNT } from '../memory/layout/worker.ts'
import { execute } from '../replay/execute.ts'
import { createSwitch } from '../switch/switch.ts'

const FLOWS = 1024
const BURST = 64
const SIZE = 64

const sw = createSwitch({
  ports: [0, 1].map((i) => ({ name: `p${i}`, mac: Uint8Array.of(2, 0, 0, 0, 0, i), mtu: 1500 })),
})
for (const line of [...setup(), ...rules({ flows: FLOWS, masks: 8 })]) execute(sw, line.split(' '))
const { arena, datapath } = sw
const dev = sw.portDevice(0)
const frames = reserve(arena, FLOWS * SIZE)
const address = reserve(arena, FLOWS * 4)
const length = reserve(arena, FLOWS * 4)
const time = reserve(arena, FLOWS * 8, 8)
for (let f = 0; f < FLOWS; f++) {
  arena.u8.set(innerFrame(f, SIZE), frames + f * SIZE)
  arena.m[(address >> 2) + f] = frames + f * SIZE
  arena.m[(length >> 2) + f] = SIZE
}
const list = reserve(arena, BURST * 4)

/** Runs so many bursts; how many packets left by a port. */
function run(bursts: number): number {
  const { m } = arena
  let out = 0
  for (let b = 0; b < bursts; b++) {
    const first = (b * BURST) % FLOWS
    datapath.setTime(1e9 + b * 1000)
    const n = datapath.takeBurst(list, address + first * 4, length + first * 4, time + first * 8, BURST, dev)
    for (let done = 0; done < n; ) {
      done += datapath.receiveBurst(list + done * 4, n - done)
      const count = m[(datapath.struct + WORKER_EMIT_COUNT) >> 2]
      m[(datapath.struct + WORKER_EMIT_COUNT) >> 2] = 0
      for (let i = 0, e = m[(datapath.struct + WORKER_EMIT) >> 2] >> 2; i < count; i++, e += 4) {
        if (m[e + 2] === EMIT_OUTPUT) out++
        datapath.release(m[e])
      }
    }
    datapath.quiescent()
  }
  return out
}

/** Collections while `f` runs, which begins with nothing to collect. */
async function collections(f: () => void): Promise<number> {
  const tell = () => new Promise((resolve) => setTimeout(resolve, 50))
  ;(globalThis as unknown as { gc(): void }).gc()
  await tell()
  let seen = 0
  const observer = new PerformanceObserver((entries) => {
    seen += entries.getEntries().length
  })
  observer.observe({ entryTypes: ['gc'] })
  f()
  await tell()
  observer.disconnect()
  return seen
}

const bursts = Number(process.argv[2])
run(20_000) // warm: the compiler leaves garbage of its own
let packets = 0
let kept: object = {}
const littered = await collections(() => {
  // Four words for each burst of the run, such as the object of one call.
  for (let i = 0; i < bursts; i++) kept = { i, kept: i & 1 }
})
const seen = await collections(() => {
  packets = run(bursts)
})
process.stdout.write(JSON.stringify({ packets, collections: seen, littered: littered > 0 && 'i' in kept }))
