// flowerbed bench lookup: how long a search takes when the cache cannot help, since each packet has a source address of its
// own and a rule asks for it.
//
// `defeated`: a thousand flows in so many masks, each packet's flow in one of them. `hostile`: what somebody would do to
// make a search long. Every mask has two rules that each know one of the packet's fields and not the other, so that no
// field says that no rule takes the packet, but the one of the last mask. `own_bits`: nor do all the fields together that
// the masks share, since one of the two rules is wrong in what only its mask looks at. What comes out is held against the
// slow reference of the encap bench.

import { execute } from '../replay/execute.ts'
import { createSwitch } from '../switch/switch.ts'
import { fillSlots, measurePump, type PumpOptions, pumpTable, sample, sendOne } from './pumped.ts'
import { wrongEncap } from './reference.ts'
import { hostileRules, innerFrame, lookupRules, setup } from './workload.ts'

const SIZE = 64
const FLOWS = 1000
/** The last three bytes of the source address. */
const VARY = 27

export interface LookupCase {
  readonly kind: 'defeated' | 'hostile' | 'own_bits'
  readonly masks: number
}

export function lookupBench({ kind, masks }: LookupCase, o: PumpOptions): void {
  const sw = createSwitch({
    ports: [0, 1].map((i) => ({ name: `p${i}`, mac: Uint8Array.of(2, 0, 0, 0, 0, i), mtu: 1500 })),
  })
  for (const line of setup()) execute(sw, line.split(' '))
  const flows = kind === 'defeated' ? FLOWS : 1
  const rules = kind === 'defeated' ? lookupRules({ flows, masks }) : hostileRules(masks, kind === 'own_bits')
  for (const line of rules) execute(sw, line.split(' '))
  const frame = (f: number) => innerFrame(f, SIZE)
  const table = pumpTable(sw, 'p0', flows, frame, SIZE)
  const wrong = sample(flows, (f) => {
    const got = sendOne(sw.datapath, table.device, frame(f))
    return got === null ? 'did not come out' : wrongEncap(got, f, SIZE)
  })
  if (wrong !== null) process.emitWarning(`bench lookup: ${wrong}`)
  fillSlots(sw.datapath, frame(0))
  const measured = measurePump(sw.datapath, { ...table, vary: VARY }, o)
  const what = { suite: 'lookup', tunnel: 'vxlan', case: kind, size: SIZE, flows, masks, workers: 1 } as const
  o.done({ ...what, ...measured, verified: wrong === null })
  sw.close()
}
