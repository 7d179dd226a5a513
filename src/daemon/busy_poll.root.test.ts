// Datapath threads sleep while nothing comes in, unless they are told to poll. A real interface, in a namespace of the test's own.
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { makeNamespace, removeNamespaces, titled, whyNoNamespaces } from './netns.fixture.ts'
import { type DaemonProcess, startProcessAt } from './process.fixture.ts'

const skip = whyNoNamespaces()
const title = titled(skip)
const LOOKS = 50
let daemon: DaemonProcess | undefined

afterEach(async () => {
  await daemon?.end()
  daemon = undefined
  removeNamespaces()
}, 60_000)

/** How often of LOOKS the datapath thread was seen asleep. A thread that waits for a core is not. */
async function asleep(pid: number): Promise<number> {
  const tasks = `/proc/${pid}/task`
  const thread = readdirSync(tasks).find((t) => readFileSync(`${tasks}/${t}/comm`, 'utf8').startsWith('datapath'))
  let n = 0
  for (let i = 0; i < LOOKS; i++) {
    if (/^State:\s+S/m.test(readFileSync(`${tasks}/${thread}/status`, 'utf8'))) n++
    await sleep(20)
  }
  return n
}

test.skipIf(skip !== '').each([
  [['--busy-poll'], 0],
  [[], LOOKS],
])(
  title('an idle datapath thread, %j: asleep %d times of 50'),
  async (options, expected) => {
    const f = makeNamespace('f')
    f.run('sh', '-c', 'echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6')
    f.ip('link add p0 type veth peer name q0')
    f.ip('link set p0 up')
    f.ip('link set q0 up')
    daemon = await startProcessAt(
      { within: f.name },
      { ports: [{ name: 'p0', driver: 'af_packet' }], workers: 1 },
      ...options,
    )
    await sleep(1000)
    const seen = await asleep(daemon.process.pid!)
    // It looks around now and then.
    expect(Math.abs(seen - expected)).toBeLessThan(LOOKS / 5)
  },
  60_000,
)
