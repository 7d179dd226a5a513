import { createArena } from '../memory/arena.ts'
import { addPort, netInit } from './link.ts'
import type { NetContext } from './request.ts'

const _world = (): NetContext => {
  const a = createArena({ bytes: 64 << 20, counters: 1024, packets: 16 })
  netInit(a)
  for (let i = 0; i < 5; i++) addPort(a, `p${i}`, i, Uint8Array.of(2, 0, 0, 0, 0, i))
  return { a, now: () => 0, kinds: { named: () => undefined, of: () => undefined } }
}
