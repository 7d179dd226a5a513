// Capabilities: what is missing is named, and what is not needed is given up.
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, test } from 'vitest'
import { makeNamespace, removeNamespaces, titled, veth, whyNoNamespaces } from './netns.fixture.ts'
import { startProcess } from './process.fixture.ts'

const skip = whyNoNamespaces('setpriv')
const title = titled(skip)
const command = fileURLToPath(new URL('../../bin/flowerbed', import.meta.url))
const dir = mkdtempSync(join(tmpdir(), 'flowerbed-capabilities-'))
afterAll(() => {
  removeNamespaces()
  rmSync(dir, { recursive: true, force: true })
})

test.skipIf(skip !== '').each([
  [{ driver: 'af_packet' }, '-net_raw', 'port p1: af_packet needs CAP_NET_RAW, which this process does not have'],
  [
    { driver: 'af_packet', role: 'uplink' },
    '-net_raw,-net_admin',
    'port p1: af_packet needs CAP_NET_RAW and CAP_NET_ADMIN, which this process does not have',
  ],
  [
    { driver: 'af_xdp' },
    '-bpf,-perfmon,-sys_admin',
    'port p1: af_xdp needs CAP_BPF and CAP_PERFMON, which this process does not have',
  ],
])(
  title('a run without what it needs: %j without %s: which one, and status 3'),
  (port, bounding, why) => {
    const f = makeNamespace('f')
    f.ip('link add p1 type veth peer name x1')
    const file = join(dir, 'c.yaml')
    writeFileSync(file, JSON.stringify({ socket: join(dir, 's'), ports: [{ name: 'p1', ...port }], workers: 1 }))
    const enter = ['netns', 'exec', f.name, 'setpriv', '--bounding-set', bounding, process.execPath]
    const { status, stderr } = spawnSync('ip', [...enter, command, 'run', '--config', file], { encoding: 'utf8' })
    expect(stderr).toContain(`${why}\n`)
    expect(status).toBe(3)
  },
  60_000,
)

/** CapEff of each thread of a process, as many as there are. */
const threads = (pid: number): string[] =>
  readdirSync(`/proc/${pid}/task`).map(
    (t) => /^CapEff:\s*(\w+)$/m.exec(readFileSync(`/proc/${pid}/task/${t}/status`, 'utf8'))![1],
  )
const NOTHING = '0000000000000000'
/** CAP_NET_ADMIN, CAP_NET_RAW, CAP_IPC_LOCK, CAP_PERFMON, CAP_BPF. */
const PORTS = '000000c000007000'

test.skipIf(skip !== '')(
  title('without live ports all capabilities are given up'),
  async () => {
    const daemon = await startProcess({ ports: [{ name: 'p0' }], control_workers: 2 })
    try {
      const effective = () => readFileSync(`/proc/${daemon.process.pid}/status`, 'utf8')
      await expect.poll(effective, { timeout: 20_000 }).toContain(`CapEff:\t${NOTHING}`)
      expect(effective()).toContain(`CapPrm:\t${NOTHING}`)
      // Main, the switch thread, two control workers.
      await expect
        .poll(() => threads(daemon.process.pid!).filter((c) => c === NOTHING).length, { timeout: 20_000 })
        .toBeGreaterThanOrEqual(4)
    } finally {
      await daemon.end()
    }
  },
  60_000,
)

test.skipIf(skip !== '')(
  title('with live ports main and the switch thread keep what opening one takes, the notifier what asking takes'),
  async () => {
    const [f, b] = ['f', 'b'].map(makeNamespace)
    veth(b, 'b0', f, 'p1')
    f.ip('addr add 10.0.0.1/24 dev p1')
    const file = join(dir, 'd.yaml')
    const ports = [{ name: 'p1', driver: 'af_packet', role: 'uplink' }]
    writeFileSync(file, JSON.stringify({ socket: join(dir, 's'), ports, workers: 1, control_workers: 1 }))
    const daemon = spawn('ip', ['netns', 'exec', f.name, process.execPath, command, 'run', '--config', file])
    try {
      // ip executes the command in its own place.
      const count = (what: string) => (): number => threads(daemon.pid!).filter((c) => c === what).length
      await expect.poll(count(PORTS), { timeout: 30_000 }).toBeGreaterThanOrEqual(2)
      await expect.poll(count('0000000000001000'), { timeout: 30_000 }).toBe(1)
      await expect.poll(count(NOTHING), { timeout: 30_000 }).toBeGreaterThanOrEqual(2)
    } finally {
      const ended = new Promise((resolve) => daemon.once('exit', resolve))
      daemon.kill('SIGTERM')
      await ended
    }
  },
  60_000,
)
