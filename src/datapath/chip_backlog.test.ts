// Redirects into ingresses that lead back to each other: the packet goes round, but not for ever.

import { expect, it } from 'vitest'
import { createArena } from '../memory/arena.ts'
import { counterAlloc, counterRead } from '../memory/counters.ts'
import { DROP_LOOP } from '../memory/layout/drop.ts'
import { NETDEV_EGRESS, NETDEV_INGRESS } from '../memory/layout/netdev.ts'
import * as P from '../memory/layout/program.ts'
import * as Hand from '../testing/hand_table.ts'
import { Datapath } from './chip.ts'
import { chipModule } from './chip_module.ts'

chipModule() // built here, where no test's time runs

it('a circle of ingresses ends under a name, and copies that multiply in it too', () => {
  for (const copies of [0, 1]) {
    const a = createArena({ bytes: 48 << 20, packets: 16, counters: 64, emc: 16 })
    const dp = new Datapath(a, 0)
    const [p0, p1, p2] = [1, 2, 3].map((i) => Hand.handDevice(a, i))
    const c = counterAlloc(a)
    const rule = (dev: number, hook: number, program: number[]): void => {
      const mask = Hand.handMask(a, Hand.handPrio(a, Hand.chain0(a, Hand.handBlock(a, dev, hook)), 1), [], 4)
      Hand.handFlow(a, mask, [], program)
    }
    const { op } = Hand
    rule(p0, NETDEV_INGRESS, op(P.OP_REDIRECT, p1, 0, 0))
    const copy = op(P.OP_REDIRECT, p2, P.REDIRECT_INGRESS | P.REDIRECT_MIRROR, 0)
    rule(p1, NETDEV_EGRESS, [...(copies ? copy : []), ...op(P.OP_REDIRECT, p2, P.REDIRECT_INGRESS, 0)])
    rule(p2, NETDEV_INGRESS, [...op(P.OP_COUNT, c), ...op(P.OP_REDIRECT, p1, 0, 0)])
    const free = dp.freeSlots()
    const pkt = dp.alloc()
    dp.loadBytes(pkt, Uint8Array.from([2, 0, 0, 0, 0, 1, 2, 9, 9, 9, 9, 9, 0x12, 0x34, ...Array(46).fill(7)]))
    dp.receive(pkt, p0)
    expect(dp.takeEmissions()).toEqual([])
    expect(dp.freeSlots()).toBe(free)
    expect(dp.drops(DROP_LOOP)).toBeGreaterThanOrEqual(1)
    if (!copies) expect(counterRead(a, c).packets).toBe(64)
  }
})
