// flowerbed bench actions: what a packet costs when its rule does other things than VXLAN.
//
//   pedit    another destination MAC, the TTL one less, the IPv4 checksum right again; a rule for each flow
//   geneve   into a Geneve tunnel with two options; a rule for each flow
//   ct       through connection tracking into a chain that takes what is established; a connection for each flow
//
// Before the runs a sample of the flows goes through one by one and is held against the slow reference.

import { execute } from '../replay/execute.ts'
import { createSwitch, type Switch } from '../switch/switch.ts'
import { fillSlots, measurePump, type PumpOptions, pumpTable, sample, sendOne } from './pumped.ts'
import { wrongFrame, wrongGeneve, wrongPedit } from './reference.ts'
import { innerFrame, LOCAL, remote, replyFrame, rules, setup, vni } from './workload.ts'

const SIZE = 64

interface ActionsCase {
  /** The rules; `flows` packets will come, of as many flows. */
  lines(flows: number): Iterable<string>
  /** What else must have happened before the first packet is measured. */
  ready?(sw: Switch, flows: number): void
  /** Why a frame is not what flow f becomes; null when it is. */
  wrong(got: Uint8Array, f: number, size: number): string | null
}

/** By what their rules do. */
const CASES = {
  pedit: {
    lines: (flows) =>
      rules({ flows, masks: 1 }, () => {
        const pedit = 'pedit ex munge eth dst set 02:00:00:00:00:55 munge ip ttl add 255'
        return `action ${pedit} pipe action csum ip4h pipe action mirred egress redirect dev p1`
      }),
    wrong: wrongPedit,
  },
  geneve: {
    *lines(flows) {
      yield 'ip link add geneve0 type geneve external dstport 6081'
      yield 'ip link set geneve0 up'
      yield* rules({ flows, masks: 1 }, (f) => {
        const to = `id ${vni(f)} src_ip ${LOCAL} dst_ip ${remote(f)} dst_port 6081 ttl 64 nocsum`
        const options = 'geneve_opts 0102:01:11223344,0103:02:aabbccdd'
        return `action tunnel_key set ${to} ${options} action mirred egress redirect dev geneve0`
      })
    },
    wrong: wrongGeneve,
  },
  ct: {
    *lines() {
      yield 'tc qdisc add dev p1 clsact'
      for (const [dev, to] of ['p0 p1', 'p1 p0'].map((way) => way.split(' '))) {
        const add = `tc filter add dev ${dev} ingress protocol ip`
        const out = `action mirred egress redirect dev ${to}`
        yield `${add} pref 1 flower ct_state -trk action ct pipe action goto chain 1`
        yield `${add} pref 1 chain 1 flower ct_state +trk+est ${out}`
        yield `${add} pref 2 chain 1 flower ct_state +trk+new action ct commit pipe ${out}`
      }
    },
    ready(sw, flows) {
      for (let f = 0; f < flows; f++) {
        sendOne(sw.datapath, sw.portDevice(0), innerFrame(f, SIZE))
        sendOne(sw.datapath, sw.portDevice(1), replyFrame(f, SIZE))
      }
      // From here on what is not established does not come out.
      for (const dev of ['p0', 'p1'])
        execute(sw, `tc filter del dev ${dev} ingress protocol ip pref 2 chain 1`.split(' '))
    },
    wrong: wrongFrame,
  },
} satisfies Record<string, ActionsCase>

export type ActionsName = keyof typeof CASES
export const ACTIONS = Object.keys(CASES) as ActionsName[]

export function actionsBench(name: ActionsName, flows: number, o: PumpOptions): void {
  const c: ActionsCase = CASES[name]
  const sw = createSwitch({
    ports: [0, 1].map((i) => ({ name: `p${i}`, mac: Uint8Array.of(2, 0, 0, 0, 0, i), mtu: 1500 })),
    connections: flows * 2,
  })
  for (const line of [...setup(), ...c.lines(flows)]) execute(sw, line.split(' '))
  c.ready?.(sw, flows)
  const frame = (f: number) => innerFrame(f, SIZE)
  const table = pumpTable(sw, 'p0', flows, frame, SIZE)
  const wrong = sample(flows, (f) => {
    const got = sendOne(sw.datapath, table.device, frame(f))
    return got === null ? 'did not come out' : c.wrong(got, f, SIZE)
  })
  if (wrong !== null) process.emitWarning(`bench actions: ${name}: ${wrong}`)
  fillSlots(sw.datapath, frame(0))
  const measured = measurePump(sw.datapath, table, o)
  const tunnel = name === 'geneve' ? ({ tunnel: name } as const) : {}
  const what = { suite: 'actions', ...tunnel, case: name, size: SIZE, flows, masks: 1, workers: 1 } as const
  o.done({ ...what, ...measured, verified: wrong === null })
  sw.close()
}
