// The kernel's own tunnel devices in a daemon with a journal: their rules survive kill -9, and go with them, whether the
// daemon runs or not. Real devices, in a namespace of the test's own.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { openClient } from '../rtnl/client.ts'
import { FrontEnd } from './front_end.ts'
import { makeNamespace, removeNamespaces, titled, veth, whyNoNamespaces } from './netns.fixture.ts'
import { type DaemonProcess, startProcessAt } from './process.fixture.ts'

const skip = whyNoNamespaces()
const title = titled(skip)
const patient = { timeout: 30_000, interval: 100 }
const dir = mkdtempSync(join(tmpdir(), 'flowerbed-mirrored-'))
let daemon: DaemonProcess | undefined

afterEach(async () => {
  await daemon?.end()
  removeNamespaces()
  rmSync(dir, { recursive: true, force: true })
}, 60_000)

/** Runs lines; returns what they print. Throws what they complain of. */
async function ask(...lines: string[]): Promise<string> {
  const client = await openClient(daemon!.socket)
  let out = ''
  const say = (text: string): void => {
    out += text
  }
  try {
    const frontEnd = new FrontEnd(client, { out: say, err: say, read: () => '' })
    for (const line of lines) {
      const [program, ...words] = line.split(' ')
      if ((await frontEnd.run(program as 'tc' | 'ip', words)) !== 0) throw new Error(`${line}: ${out}`)
    }
  } finally {
    client.close()
  }
  return out
}

const RULES = [
  'tc qdisc add dev p0 clsact',
  'tc qdisc add dev kvx clsact',
  'tc filter add dev kvx ingress protocol ip pref 7 flower dst_ip 10.9.0.1 action mirred egress redirect dev p0',
  'tc filter add dev p0 ingress protocol ip pref 5 flower dst_ip 10.9.0.2 action tunnel_key set src_ip 10.0.0.1 dst_ip 10.0.0.2 id 7 action mirred egress redirect dev kvx',
]
const SHOW = ['tc filter show dev p0 ingress', 'tc filter show dev kvx ingress', 'tc qdisc show']

test.skipIf(skip !== '')(
  title('rules of a tunnel device of the kernel’s survive kill -9, and go with the device'),
  async () => {
    const [f, b] = ['f', 'b'].map(makeNamespace)
    veth(b, 'b0', f, 'p1')
    f.ip('addr add 10.0.0.1/24 dev p1')
    f.ip('neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev p1 nud permanent')
    const makeTunnel = (): void => {
      f.ip('link add kvx type vxlan external dstport 4789')
      f.ip('link set kvx up')
    }
    const config = {
      ports: [{ name: 'p0' }, { name: 'p1', driver: 'af_packet', role: 'uplink' }],
      journal: { path: join(dir, 'journal.pcap') },
      workers: 1,
      control_workers: 1,
    }
    const start = async (): Promise<void> => {
      daemon = await startProcessAt({ within: f.name }, config)
    }
    const kill = async (): Promise<void> => {
      const ended = new Promise((resolve) => daemon!.process.once('exit', resolve))
      daemon!.process.kill('SIGKILL')
      await ended
    }
    makeTunnel()
    await start()
    await ask(...RULES)
    const before = await ask(...SHOW)
    expect(before).toContain('Redirect to device kvx')
    await kill()
    // What the kernel has is taken anew: another neighbour, an address.
    f.ip('neigh replace 10.0.0.2 lladdr 02:00:00:00:00:22 dev p1 nud permanent')
    f.ip('addr add 10.0.7.1/24 dev p1')
    await start()
    expect(await ask(...SHOW)).toBe(before)
    expect(await ask('ip neigh show')).toContain('02:00:00:00:00:22')
    expect(await ask('ip addr show dev p1')).toContain('10.0.7.1/24')

    // It goes and comes while the daemon runs: it is another one, after a start as well.
    f.ip('link del kvx')
    makeTunnel()
    await expect.poll(() => ask('tc qdisc show'), patient).not.toContain('clsact ffff: dev kvx')
    await expect.poll(() => ask('ip link show'), patient).toContain('kvx')
    expect(await ask('tc filter show dev kvx ingress')).toBe('')
    await kill()
    await start()
    expect(await ask('tc qdisc show')).not.toContain('clsact ffff: dev kvx')
    await ask(RULES[1], RULES[2])
    await kill()
    await start()
    expect(await ask('tc filter show dev kvx ingress')).toContain('10.9.0.1')

    // It goes while the daemon does not run.
    await kill()
    f.ip('link del kvx')
    await start()
    expect(await ask('ip link show')).not.toContain('kvx')
    expect(await ask('tc qdisc show')).toContain('p0')
    // The port's own device goes away and is back: its rules stay.
    b.ip('link del b0')
    veth(b, 'b0', f, 'p1')
    f.ip('addr add 10.0.0.1/24 dev p1')
    await expect.poll(() => ask('ip addr show dev p1'), patient).toContain('10.0.0.1/24')
    await kill()
    await start()
    expect(await ask('ip addr show dev p1')).toContain('10.0.0.1/24')
  },
  400_000,
)
