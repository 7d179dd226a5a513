// Devices with several queues: each worker has one and gets its share of the flows, and all of those come out. And what a
// device cannot do is refused by name. Real interfaces, in namespaces of the test's own.
import { request } from 'node:http'
import { dirname, join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { makeNamespace, type Namespace, removeNamespaces, titled, whyNoNamespaces } from './netns.fixture.ts'
import { type DaemonProcess, refusedProcess, startProcessAt } from './process.fixture.ts'

const skip = whyNoNamespaces('ping')
const title = titled(skip)
const FLOWS = 16
let daemon: DaemonProcess | undefined

afterEach(async () => {
  await daemon?.end()
  daemon = undefined
  removeNamespaces()
}, 60_000)

const RULES = [
  'qdisc add dev p0 clsact',
  'qdisc add dev p1 clsact',
  'filter add dev p0 ingress prio 1 protocol all flower action mirred egress redirect dev p1',
  'filter add dev p1 ingress prio 1 protocol all flower action mirred egress redirect dev p0',
]

/** A veth with two queues each way. */
function veth2(a: Namespace, nameA: string, b: Namespace, nameB: string): void {
  const queues = 'numrxqueues 2 numtxqueues 2'
  a.ip(`link add ${nameA} ${queues} type veth peer name ${nameB} ${queues} netns ${b.name}`)
  a.ip(`link set ${nameA} up`)
  b.ip(`link set ${nameB} up`)
}

function metrics(d: DaemonProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    const r = request(
      { socketPath: join(dirname(d.socket), 'http.sock'), path: '/metrics', agent: false },
      (answer) => {
        let text = ''
        answer.setEncoding('utf8')
        answer.on('data', (chunk) => {
          text += chunk
        })
        answer.on('end', () => resolve(text))
      },
    )
    r.on('error', reject)
    r.end()
  })
}

async function bursts(d: DaemonProcess): Promise<number[]> {
  const text = await metrics(d)
  return [1, 2].map((w) =>
    Number(new RegExp(`^flowerbed_datapath_bursts_total\\{worker="${w}"\\} (\\d+)$`, 'm').exec(text)![1]),
  )
}

/** Pings from each of the addresses 10.0.0.100 …: a flow each. Returns from which it was never answered. */
const unanswered = (from: Namespace, to: string): string[] =>
  Array.from({ length: FLOWS }, (_, i) => `10.0.0.${100 + i}`).filter(
    (address) => !/ [1-9]\d* received/.test(from.run('sh', '-c', `ping -I ${address} -c 1 -w 60 ${to} || true`)),
  )

describe('two queues and two workers', () => {
  test.skipIf(skip !== '').each(['af_xdp', 'af_packet', 'tap'])(
    title('%s: both workers get flows, every flow comes out'),
    async (driver) => {
      const [a, f, b] = ['a', 'f', 'b'].map(makeNamespace)
      const isTap = driver === 'tap'
      f.run('sh', '-c', 'echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6')
      veth2(a, 'a0', f, isTap ? 'v0' : 'p0')
      veth2(b, 'b0', f, isTap ? 'v1' : 'p1')
      a.ip('addr add 10.0.0.1/24 dev a0')
      b.ip('addr add 10.0.0.2/24 dev b0')
      for (let i = 0; i < FLOWS; i++) a.ip(`addr add 10.0.0.${100 + i}/24 dev a0`)
      const ports = ['p0', 'p1'].map((name) => ({ name, driver }))
      daemon = await startProcessAt({ within: f.name, lines: RULES }, { ports, workers: 2 })
      if (isTap)
        for (const i of [0, 1]) {
          f.ip(`link add br${i} type bridge`)
          for (const d of [`v${i}`, `p${i}`]) f.ip(`link set ${d} master br${i}`)
          f.ip(`link set br${i} up`)
        }
      if (driver === 'af_xdp') expect(daemon.log).toMatch(/af_xdp on p0, .*2 queues/)
      if (isTap) expect(daemon.log).toMatch(/tap p0, 2 queues/)
      // The first ones may be lost while bridges learn.
      await expect
        .poll(() => a.run('sh', '-c', 'ping -c 1 -W 1 10.0.0.2 || true'), { timeout: 30_000 })
        .toContain(' 0% packet loss')
      const before = await bursts(daemon)
      expect(unanswered(a, '10.0.0.2')).toEqual([])
      const after = await bursts(daemon)
      for (const w of [0, 1]) expect(after[w] - before[w], `worker ${w + 1}`).toBeGreaterThan(0)
    },
    180_000,
  )
})

test.skipIf(skip !== '')(
  title('zero-copy of a device whose driver has none is refused, by name and with 3'),
  async () => {
    const [a, f] = ['a', 'f'].map(makeNamespace)
    veth2(a, 'a0', f, 'p0')
    const ports = [{ name: 'p0', driver: 'af_xdp', zerocopy: true }]
    const d = await refusedProcess({ ports, workers: 1 }, { within: f.name })
    expect(d.status).toBe(3)
    expect(d.log).toContain('port p0: af_xdp: the driver of p0 has no zero-copy; leave zerocopy out')
  },
  60_000,
)
