// flowerbed bench decap: how fast one worker takes frames out of VXLAN tunnels.
//
// The outer packets of 64 peers arrive at p0, whose address is the tunnels' end; a rule for each flow at the tunnel device
// asks for the VNI, the addresses of the tunnel and of the inner frame, takes the tunnel's metadata off and sends the frame
// out of p1. Before the runs a sample of the flows goes through one by one: what comes out must be the inner frame.

import { execute } from '../replay/execute.ts'
import { createSwitch } from '../switch/switch.ts'
import { fillSlots, measurePump, type PumpOptions, pumpTable, sample, sendOne } from './pumped.ts'
import { decapRules, decapSetup, IMIX, outerFrame } from './workload.ts'

export interface DecapCase {
  readonly size: number | 'imix'
  readonly flows: number
  readonly masks: number
}

const OUTER = 50
/** Outer headers and those of the inner frame, in whole words of sixteen. */
const HEAD = 112

/** The bench on one table: the cases differ in size only. */
export function decapBench(cases: readonly DecapCase[], o: PumpOptions): void {
  const { flows, masks } = cases[0]
  const sw = createSwitch({
    ports: [0, 1].map((i) => ({ name: `p${i}`, mac: Uint8Array.of(2, 0, 0, 0, 0, i), mtu: 9000 })),
    frameSize: 9018 + OUTER,
  })
  for (const line of decapSetup()) execute(sw, line.split(' '))
  for (const line of decapRules({ flows, masks })) execute(sw, line.split(' '))
  for (const c of cases) {
    const sizes = c.size === 'imix' ? IMIX : [c.size]
    // IMIX is a row of twelve sizes: with a multiple of it, every place in the row of frames has one size.
    const frames = Math.ceil(flows / IMIX.length) * IMIX.length
    const frame = (i: number) => outerFrame(i % flows, sizes[i % sizes.length])
    const table = pumpTable(sw, 'p0', frames, frame, HEAD)
    const wrong = sample(frames, (i) => {
      const got = sendOne(sw.datapath, table.device, frame(i))
      if (got === null) return 'did not come out'
      return Buffer.compare(got, frame(i).subarray(OUTER)) === 0 ? null : 'not the inner frame'
    })
    if (wrong !== null) process.emitWarning(`bench decap: ${wrong}`)
    fillSlots(sw.datapath, outerFrame(0, Math.max(...sizes)))
    const measured = measurePump(sw.datapath, table, o)
    o.done({ suite: 'decap', tunnel: 'vxlan', ...c, workers: 1, ...measured, verified: wrong === null })
  }
  sw.close()
}
