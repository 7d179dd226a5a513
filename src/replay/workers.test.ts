// Several datapath workers do what one does: the same packets leave, those of one flow in their order, and every count agrees.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, test } from 'vitest'
import { innerFrame } from '../bench/workload.ts'
import { openCapture, WINDOW } from '../port/capture/capture.ts'
import { openWriter } from '../port/capture/writer.ts'
import { replay } from './replay.ts'
import { loadScenario, type Scenario, scenarioOf } from './scenario.ts'

const dir = mkdtempSync(join(tmpdir(), 'flowerbed-workers-'))
afterAll(() => rmSync(dir, { recursive: true }))

const FLOWS = 40
const PACKETS = 20_000

/** Frames of so many flows in turn; the last four bytes of each are its number. */
function input(): string {
  const path = join(dir, 'in.pcap')
  const source = new Uint8Array(64)
  const w = openWriter(path, { format: 'pcap', nanoseconds: false, source })
  for (let i = 0; i < PACKETS; i++) {
    source.set(innerFrame(i % FLOWS, 64))
    new DataView(source.buffer).setUint32(60, i)
    w.write(0, 64, i * 1000)
  }
  w.close()
  return path
}

/** Numbers of the frames of a capture, in order. */
function numbers(path: string): number[] {
  const window = new Uint8Array(WINDOW)
  const d = new DataView(window.buffer)
  const c = openCapture(path, { window })
  const out: number[] = []
  for (let n = c.next(); n > 0; n = c.next())
    for (let i = 0; i < n; i++) out.push(d.getUint32(c.frames.offset[i] + c.frames.length[i] - 4))
  c.close()
  return out
}

async function run(scenario: Scenario, workers: number) {
  const out = join(dir, `out-${workers}`)
  const { summary } = await replay(scenario, { out, workers })
  return { summary, sent: ['p1', 'p2'].map((p) => numbers(join(out, `out-${p}.pcap`))) }
}

// Copies and drops move packet slots between the threads, far more than there are.
const script = `# quiet_ms: 0
ip addr add 172.16.0.1/16 dev p1
ip neigh add 172.16.0.2 lladdr 02:11:00:00:00:02 dev p1 nud permanent
ip link add vxlan0 type vxlan external dstport 4789
ip link set vxlan0 up
tc qdisc add dev p0 clsact
tc filter add dev p0 ingress protocol ip pref 1 flower ip_proto udp src_port 1024-1033 action drop
tc filter add dev p0 ingress protocol ip pref 2 flower ip_proto udp src_port 1034-1053 action mirred egress mirror dev p2 action mirred egress mirror dev p1 action drop
tc filter add dev p0 ingress protocol ip pref 3 flower ip_proto udp action tunnel_key set id 7 src_ip 172.16.0.1 dst_ip 172.16.0.2 dst_port 4789 action mirred egress redirect dev vxlan0
tc filter add dev p2 egress protocol ip pref 1 flower action pass
`

test('many packets of many flows', { timeout: 60_000 }, async () => {
  const rules = join(dir, 'rules.tc')
  writeFileSync(rules, script.replace('tc filter add dev p2', 'tc qdisc add dev p2 clsact\ntc filter add dev p2'))
  const scenario = scenarioOf([rules], [`p0=${input()}`])
  const one = await run(scenario, 1)
  expect(one.summary.packets).toEqual({ in: PACKETS, out: (PACKETS * 50) / 40, dropped: (PACKETS * 30) / 40 })
  for (const workers of [2, 3]) {
    const several = await run(scenario, workers)
    expect(several.summary).toEqual(one.summary)
    several.sent.forEach((sent, port) => {
      expect([...sent].sort((a, b) => a - b)).toEqual([...one.sent[port]].sort((a, b) => a - b))
      for (let f = 0; f < FLOWS; f++) {
        const ofFlow = (n: number) => n % FLOWS === f
        expect(sent.filter(ofFlow)).toEqual(one.sent[port].filter(ofFlow))
      }
    })
  }
})

test('lines, timers and what the host does have their moment', { timeout: 60_000 }, async () => {
  for (const name of ['first', 'neigh-goes-and-comes']) {
    const scenario = loadScenario(fileURLToPath(new URL(`../../fixtures/${name}`, import.meta.url)))
    const [one, two] = [await replay(scenario), await replay(scenario, { workers: 2 })]
    expect(two).toEqual(one)
  }
})
