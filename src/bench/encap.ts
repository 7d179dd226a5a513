// flowerbed bench encap: how fast one worker encapsulates, from packet slot to packet slot (several: encap_workers.ts).
//
// The whole pipeline runs: a source puts frames of so many flows into slots, as a driver would; bursts of 32 go through
// the chip (dissection, exact-match cache, table, counters, tunnel_key, encap header); the frames come out as emissions,
// and their slots are free again. Rules are tc lines, one for each flow, added one by one through the switch's own door.
//
// Before the runs, a sample of the flows goes through one by one, and every byte that comes out is held against the slow
// reference.

import type { PumpTable } from '../datapath/chip.ts'
import { execute } from '../replay/execute.ts'
import { createSwitch, type Switch } from '../switch/switch.ts'
import { fillSlots, measurePump, type PumpOptions, pumpTable, sample, sendOne } from './pumped.ts'
import { wrongEncap } from './reference.ts'
import { IMIX, innerFrame, rules, setup } from './workload.ts'

export interface EncapCase {
  readonly size: number | 'imix'
  readonly flows: number
  readonly masks: number
}

/** Bytes of a frame that the source writes. */
const HEAD = 64
const MAX_FRAME = 9018

/** A switch with the rules of a case, for so many datapath threads beside it. */
export function openEncap({ flows, masks }: EncapCase, workers = 0): Switch {
  const sw = createSwitch({
    ports: [0, 1].map((i) => ({ name: `p${i}`, mac: Uint8Array.of(2, 0, 0, 0, 0, i), mtu: i === 0 ? 9000 : 1500 })),
    frameSize: MAX_FRAME,
    workers,
  })
  for (const line of setup()) execute(sw, line.split(' '))
  for (const line of rules({ flows, masks })) execute(sw, line.split(' '))
  return sw
}

/** What is ready to be measured: the row of frames, and what slots shall have behind the headers. */
export interface Prepared {
  readonly table: PumpTable
  readonly fill: Uint8Array
  /** A sample of the row comes out right. */
  readonly verified: boolean
}

/** The frames of a case, which `parts` equal parts of the row share out. */
export function prepareEncap(sw: Switch, c: EncapCase, parts = 1): Prepared {
  const sizes = c.size === 'imix' ? IMIX : [c.size]
  // IMIX is a row of twelve sizes: with a multiple of it, every place in the row of frames has one size.
  const whole = IMIX.length * parts
  const frames = Math.ceil(c.flows / whole) * whole
  const frame = (i: number) => innerFrame(i % c.flows, sizes[i % sizes.length])
  const table = pumpTable(sw, 'p0', frames, frame, HEAD)
  const wrong = sample(frames, (i) => {
    const got = sendOne(sw.datapath, table.device, frame(i))
    return got === null ? 'did not come out' : wrongEncap(got, i % c.flows, sizes[i % sizes.length])
  })
  if (wrong !== null) process.emitWarning(`bench encap: ${wrong}`)
  return { table, fill: innerFrame(0, Math.max(...sizes)), verified: wrong === null }
}

/** The bench on one table: the cases differ in size only. */
export function encapBench(cases: readonly EncapCase[], o: PumpOptions): void {
  const sw = openEncap(cases[0])
  for (const c of cases) {
    const { table, fill, verified } = prepareEncap(sw, c)
    fillSlots(sw.datapath, fill)
    const measured = measurePump(sw.datapath, table, o)
    o.done({ suite: 'encap', tunnel: 'vxlan', ...c, workers: 1, ...measured, verified })
  }
  sw.close()
}
