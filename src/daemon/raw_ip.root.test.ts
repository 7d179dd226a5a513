// An underlay by the kernel's own IP: A ↔ access port, flowerbed, raw_ip ↔ the kernel of F, which routes ↔ B, whose VXLAN
// endpoint is the kernel's own device. Real interfaces, in namespaces of the test's own.
import { readFileSync } from 'node:fs'
import { afterEach, expect, test } from 'vitest'
import { endLiveWorld, type LiveWorld, makeLiveWorld, transfer } from './live_world.fixture.ts'
import { type Namespace, titled, whyNoNamespaces } from './netns.fixture.ts'

const skip = whyNoNamespaces('ping', 'ethtool')
const title = titled(skip)
let w: LiveWorld | undefined

afterEach(async () => {
  await endLiveWorld(w)
  w = undefined
}, 60_000)

/** ICMP "destination unreachable" that the kernel of a namespace has sent. */
function unreachables(ns: Namespace): number {
  const [names, values] = ns
    .run('cat', '/proc/net/snmp')
    .match(/^Icmp: .*$/gm)!
    .map((line) => line.split(' '))
  return Number(values[names.indexOf('OutDestUnreachs')])
}

test.skipIf(skip !== '')(
  title('raw_ip: ping and TCP through a tunnel to the kernel; its process ends and is replaced'),
  async () => {
    w = await makeLiveWorld('af_packet', {}, 'raw_ip')
    const { a, b, f, daemon } = w
    a.run('ping', '-c', '3', '-i', '0.2', '-W', '5', '10.0.0.2')
    const before = unreachables(f) // B's kernel has sent into the tunnel since it is there
    b.run('ping', '-c', '3', '-i', '0.2', '-W', '5', '-s', '1400', '10.0.0.1')
    expect(await transfer(a, b, '10.0.0.2', 16384, 300_000)).toBe('same')
    expect(await transfer(b, a, '10.0.0.1', 16384, 300_000)).toBe('same')
    // The kernel of F routes what the switch sends, and did not answer for a tunnel that it does not know.
    expect(Number(f.run('cat', '/sys/class/net/p1/statistics/tx_packets'))).toBeGreaterThan(200)
    expect(unreachables(f)).toBe(before)

    const [helper] = readFileSync(`/proc/${daemon.pid}/task/${daemon.pid}/children`, 'utf8').trim().split(' ')
    const threads = f.run('sh', '-c', `cat /proc/${daemon.pid}/task/*/children`).trim().split(/\s+/)
    for (const pid of new Set([helper, ...threads].filter((p) => p !== ''))) process.kill(Number(pid), 'SIGKILL')
    await expect.poll(() => w!.log(), { timeout: 60_000 }).toMatch(/"port":"p1".*a port is gone/)
    a.run('ping', '-c', '40', '-i', '0.2', '-w', '60', '10.0.0.2')
  },
  240_000,
)
