// Makes a storm (storm.stress.ts), waits until it is over, and looks at every invariant of mlx5e-scheme 9.4.
//
//   npm run stress [-- --seconds N --seed N --control N --rules N --keys N --offload]

import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Datapath } from '../datapath/chip.ts'
import { type Arena, createArena } from '../memory/arena.ts'
import { counterRead } from '../memory/counters.ts'
import { FLOW_COUNTER, FLOW_F_SLOW, FLOW_FLAGS } from '../memory/layout/flow.ts'
import { inUse, reclaim } from '../memory/pool.ts'
import { addPort } from '../net/link.ts'
import { neighLookup } from '../net/neigh.ts'
import { NEIGH_UPDATE_F_ADMIN, neighGet, neighRemove, neighUpdate, neighUse } from '../net/neigh_update.ts'
import { makeTables, openControl, request } from '../switch/control.ts'
import { load, store, wake } from '../sync/atomic.ts'
import { isMainThread } from '../sync/thread.ts'
import { nudge } from '../sync/workqueue.ts'
import { parseCommand } from '../tc/command.ts'
import { splitLine } from '../tc/line.ts'
import { onThreads } from '../testing/on_threads.ts'
import { NUD_PERMANENT } from '../wire/rtm_neigh.ts'
import { AF_INET } from '../wire/rtm_route.ts'
import { encapStats, runWork } from './encap.ts'
import { attachedFlows, violations } from './invariants.fixture.ts'
import { queueOf } from './root.ts'
import * as Storm from './storm.stress.ts'
import { ip } from './world.fixture.ts'

const {
  CHANGES,
  clock,
  devicesOf,
  errnoOf,
  GO,
  HOPS_MAX,
  hopAddress,
  hops,
  macOf,
  reading,
  STOP,
  STOP_EVENTS,
  sendOne,
} = Storm
type Shared = Storm.Shared
type Sender = Storm.Sender
type StormOptions = Storm.StormOptions
type StormReport = Storm.StormReport
type Told = ReturnType<typeof Storm.control>

/** Runs a storm; what it found wrong is in the report. */
export async function runStorm(o: StormOptions): Promise<StormReport> {
  const a = createArena({ bytes: 1 << 30, packets: 256, counters: o.rules * 2 + 4096, threads: o.control + 8 })
  const ctl = new Int32Array(new SharedArrayBuffer((CHANGES + HOPS_MAX + 1) * 4))
  const s: Shared = { ...o, memory: a.memory, ctl, p0: 0, p1: 0, p2: 0, began: Date.now() }
  makeTables(a, { offload: o.offload })
  const c = openControl(a, { now: clock(s) })
  const ports = [0, 1, 2].map((i) => addPort(a, `p${i}`, i, Uint8Array.of(2, 0, 0, 0, 0, i)))
  const shared: Shared = { ...s, p0: ports[0], p1: ports[1], p2: ports[2] }
  const tc = (line: string): void => {
    for (const m of parseCommand(splitLine(line), devicesOf(a)).requests) {
      const errno = errnoOf(reading(a, () => request(c, m)))
      if (errno !== 0) throw new Error(`${line}: errno ${errno}`)
    }
  }
  for (const line of [
    'ip addr add 10.0.1.1/24 dev p1',
    'ip addr add 10.0.2.1/24 dev p2',
    'ip link add vxlan0 type vxlan external dstport 4789',
    'ip link set vxlan0 up',
  ])
    tc(line)
  reading(a, () => {
    neighUpdate(
      a,
      neighGet(a, AF_INET, ip('10.0.2.9'), shared.p2, 0),
      macOf(HOPS_MAX, 1),
      NUD_PERMANENT,
      NEIGH_UPDATE_F_ADMIN,
      0,
    )
    runWork(a, clock(s)())
  })
  reclaim(a)
  // What the qdisc takes goes with it.
  const base = inUse(a)
  tc('tc qdisc add dev p0 clsact')

  const here = new URL('./storm.stress.ts', import.meta.url)
  const following = onThreads<number>(here, 'events', 1, shared)
  const running = Promise.all([
    onThreads<Told>(here, 'control', o.control, shared),
    onThreads<number>(here, 'host', 1, shared),
    onThreads<Sender>(here, 'packets', 1, shared),
  ])
  const end = (): void => {
    for (const word of [STOP, STOP_EVENTS, GO]) store(ctl, word, 1)
  }
  running.catch(end)
  following.catch(end)
  try {
    while (load(ctl, Storm.READY) < o.control + 3 && load(ctl, STOP) === 0) await sleep(20)
    store(ctl, GO, 1)
    wake(ctl, GO)
    await Promise.race([sleep(o.seconds * 1000), running])
    store(ctl, STOP, 1)
    const [controls, [changes], [sender]] = await running
    store(ctl, STOP_EVENTS, 1)
    nudge(a.m, queueOf(a))
    await following
    const sum = (k: 'adds' | 'deletes' | 'queries' | 'refused'): number => controls.reduce((n, r) => n + r[k], 0)
    const wrong = [...sender.wrong, ...quietChecks(shared, a, tc, base, sum('adds') - sum('deletes'))]
    return {
      adds: sum('adds'),
      deletes: sum('deletes'),
      queries: sum('queries'),
      refused: sum('refused'),
      changes,
      packets: sender.packets,
      sent: sender.sent,
      punted: sender.punted,
      stats: encapStats(a),
      wrong,
    }
  } finally {
    end()
  }
}

/** Nothing moves any more: the invariants, a packet for each rule, then everything goes. */
function quietChecks(
  s: Shared,
  a: Arena,
  tc: (line: string) => void,
  base: Record<string, number>,
  rules: number,
): string[] {
  const now = clock(s)
  const wrong: string[] = []
  reading(a, () => {
    while (runWork(a, now()) > 0) {}
    // Stale next hops are confirmed, as packets would.
    for (let n = 0; n < hops(s); n++) {
      const neigh = neighLookup(a, AF_INET, ip(hopAddress(n)), s.p1)
      if (neigh !== 0) neighUse(a, neigh, now())
    }
    while (runWork(a, now()) > 0) {}
    wrong.push(...violations(a, attachedFlows(a)))
  })
  const flows = attachedFlows(a)
  if (flows.length !== rules)
    wrong.push(`I9 ${flows.length} flows are attached, ${rules} rules were added and not deleted`)
  const slow = flows.filter((f) => a.m[(f + FLOW_FLAGS) >> 2] & FLOW_F_SLOW)
  if (slow.length > 0) wrong.push(`I2 ${slow.length} flows are slow with every next hop known`)

  const counted = (): number => flows.reduce((n, f) => n + counterRead(a, a.m[(f + FLOW_COUNTER) >> 2]).packets, 0)
  const before = counted()
  const dp = new Datapath(a, 0)
  dp.online()
  dp.setTime(now() * 1e6)
  const r: Sender = { packets: 0, sent: 0, punted: 0, wrong: [] }
  for (let i = 0; i < s.rules; i++) {
    sendOne(s, a, dp, i, new Map(), r, true)
    dp.quiescent()
  }
  dp.offline()
  if (counted() - before !== rules) wrong.push(`I7 ${rules} packets met rules, ${counted() - before} were counted`)
  if (r.punted > 0) wrong.push(`I2 ${r.punted} packets were punted`)
  wrong.push(...r.wrong.slice(0, 5))

  tc('tc qdisc del dev p0 clsact')
  reading(a, () => {
    while (runWork(a, now() + 60_000) > 0) {}
    wrong.push(...violations(a, []))
    for (let n = 0; n < hops(s); n++) neighRemove(a, neighGet(a, AF_INET, ip(hopAddress(n)), s.p1, 0))
  })
  for (let i = 0; i < 3; i++) reclaim(a)
  const left = inUse(a)
  for (const tag of [
    'flow',
    'encap',
    'encap_header',
    'nhe',
    'route',
    'tun_info',
    'program',
    'action',
    'list',
    'counter',
    'neigh',
    'mask',
    'prio',
  ])
    if ((left[tag] ?? 0) !== (base[tag] ?? 0)) wrong.push(`I6 ${(left[tag] ?? 0) - (base[tag] ?? 0)} ${tag} are left`)
  return wrong
}

if (isMainThread && process.argv[1]?.endsWith('run_storm.stress.ts')) {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '60' },
      seed: { type: 'string', default: String(Date.now() % 100000) },
      control: { type: 'string', default: '2' },
      rules: { type: 'string', default: '10000' },
      keys: { type: 'string', default: '200' },
      offload: { type: 'boolean', default: false },
    },
  })
  const n = (k: 'seconds' | 'seed' | 'control' | 'rules' | 'keys'): number => Number(values[k])
  const o = { seconds: n('seconds'), seed: n('seed'), control: n('control'), rules: n('rules'), keys: n('keys') }
  console.log(`storm: ${JSON.stringify({ ...o, offload: values.offload })}`)
  const { stats, wrong, ...numbers } = await runStorm({ ...o, offload: values.offload })
  console.log(JSON.stringify(numbers))
  console.log(JSON.stringify(stats))
  for (const w of wrong.slice(0, 20)) console.log(w)
  console.log(wrong.length === 0 ? 'every invariant holds' : `${wrong.length} wrong`)
  process.exitCode = wrong.length === 0 ? 0 : 1
}
