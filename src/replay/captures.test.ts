// Hundreds of captures of other projects, many of them malformed on purpose, through rules of every kind: a replay ends,
// and every packet with it.
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, test } from 'vitest'
import { CaptureError } from '../port/capture/capture.ts'
import { replay } from './replay.ts'
import { scenarioOf } from './scenario.ts'

const captures = fileURLToPath(new URL('../../../shared/conformance/captures/', import.meta.url))
const found = (() => {
  try {
    return readdirSync(captures, { recursive: true, encoding: 'utf8' }).filter((f) => /\.(pcap|pcapng|cap)$/.test(f))
  } catch {
    return []
  }
})()

const dir = mkdtempSync(join(tmpdir(), 'flowerbed-captures-'))
afterAll(() => rmSync(dir, { recursive: true }))

const script = `ip addr add 10.0.1.1/24 dev p1
ip neigh add 10.0.1.2 lladdr 02:11:00:00:01:02 dev p1 nud permanent
ip link set p0 mtu 9000
ip link add vxlan0 type vxlan external dstport 4789
ip link set vxlan0 up
tc qdisc add dev p0 clsact
tc qdisc add dev p1 clsact
tc qdisc add dev vxlan0 clsact
tc filter add dev p0 ingress protocol 802.1Q pref 5 flower vlan_id 5 action vlan pop pipe action mirred egress redirect dev p2
tc filter add dev p0 ingress protocol ip pref 10 flower ip_proto tcp tcp_flags 0x2/0x2 action goto chain 7
tc filter add dev p0 ingress protocol all chain 7 pref 1 flower action vlan push id 7 action mirred egress redirect dev p2
tc filter add dev p0 ingress protocol ip pref 20 flower ip_proto udp dst_port 53 action drop
tc filter add dev p0 ingress protocol ipv6 pref 30 flower ip_proto icmpv6 type 135 action pass
tc filter add dev p0 ingress protocol arp pref 35 flower action trap
tc filter add dev p0 ingress protocol all pref 40 flower action tunnel_key set id 5 src_ip 10.0.1.1 dst_ip 10.0.1.2 dst_port 4789 action mirred egress redirect dev vxlan0
`

test.skipIf(found.length === 0)('the captures of the conformance data go through', { timeout: 120_000 }, async () => {
  const rules = join(dir, 'rules.tc')
  writeFileSync(rules, script)
  let ran = 0
  for (const file of found)
    try {
      const { summary } = await replay(scenarioOf([rules], [`p0=${join(captures, file)}`]))
      const { packets } = summary
      expect(packets.in, file).toBe(summary.captures[0].packets)
      // No rule copies and none holds: a packet leaves, as one frame or in fragments, or it ends under a name.
      expect(packets.out + packets.dropped, file).toBeGreaterThanOrEqual(packets.in)
      ran++
    } catch (e) {
      if (!(e instanceof CaptureError)) throw e
    }
  expect(ran).toBeGreaterThan(300)
})
