// The notifier thread's own life: a daemon of this process, in a network namespace of the test's own.
import { execFileSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { CLONE_NEWNET, setns, unshare } from '../sys/libc.ts'
import { parseConfig } from './config.ts'
import { type Daemon, startDaemon } from './daemon.ts'
import { openLog } from './log.ts'
import { titled, whyNoNamespaces } from './netns.fixture.ts'
import type { NeighbourRow } from './tables/index.ts'

const skip = whyNoNamespaces()
const title = titled(skip)
const patient = { timeout: 30_000, interval: 50 }
const dir = mkdtempSync(join(tmpdir(), 'flowerbed-notifier-'))
const before = openSync('/proc/thread-self/ns/net', 'r')
let daemon: Daemon | undefined

afterEach(async () => {
  await daemon?.close()
  setns(before, CLONE_NEWNET)
  closeSync(before)
  rmSync(dir, { recursive: true, force: true })
}, 60_000)

test.skipIf(skip !== '')(
  title(
    'a notifier that dies is replaced, and the other one knows what was missed; the devices are the kernel’s to change',
  ),
  async () => {
    const ip = (line: string): string => execFileSync('ip', line.split(' '), { encoding: 'utf8' })
    unshare(CLONE_NEWNET)
    ip('link set lo up')
    ip('link add eth7 type veth peer name x7')
    ip('addr add 10.0.7.1/24 dev eth7')
    ip('link set x7 up')
    ip('link set eth7 up')
    ip('neigh add 10.0.7.2 dev eth7 lladdr 02:00:00:00:07:02 nud permanent')
    let log = ''
    const error = (what: object, text: string): void => {
      log += `${JSON.stringify(what)} ${text}\n`
    }
    const logger = new Proxy(openLog('silent'), {
      get: (t, key) => (key === 'error' ? error : Reflect.get(t, key)),
    })
    const text = JSON.stringify({
      socket: join(dir, 's'),
      ports: [{ name: 'p1', driver: 'af_packet', device: 'eth7', role: 'uplink' }],
      workers: 1,
      control_workers: 1,
    })
    daemon = await startDaemon(parseConfig(text, 'c.yaml'), logger)
    const { notifier, seats } = daemon
    const mac = async (address: string): Promise<string | undefined> => {
      const { neighbours } = (await seats.table('neighbours', {})) as { neighbours: NeighbourRow[] }
      return neighbours.find((n) => n.address === address && n.dev === 'p1')?.mac
    }
    await expect.poll(() => mac('10.0.7.2'), patient).toBe('02:00:00:00:07:02')
    await expect.poll(() => notifier.followed, patient).toBe(1)

    ip('neigh replace 10.0.7.2 dev eth7 lladdr 02:00:00:00:07:22 nud permanent')
    await expect.poll(() => mac('10.0.7.2'), patient).toBe('02:00:00:00:07:22')

    // What it does not understand it dies of.
    notifier.thread!.post({ uplinks: 7 })
    await expect.poll(() => log, patient).toContain('another takes its place')
    ip('neigh replace 10.0.7.3 dev eth7 lladdr 02:00:00:00:07:33 nud permanent')
    ip('neigh del 10.0.7.2 dev eth7')
    await expect.poll(() => mac('10.0.7.3'), patient).toBe('02:00:00:00:07:33')
    await expect.poll(() => mac('10.0.7.2'), patient).toBeUndefined()
    await expect.poll(() => notifier.followed, patient).toBe(2)
  },
  120_000,
)
