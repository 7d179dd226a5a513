// The life of live ports: what of an uplink stays the kernel's, devices that go down and away and come back, a thread that
// dies. Real interfaces, in namespaces of the test's own.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, test } from 'vitest'
import * as Q from '../memory/layout/queue.ts'
import { openClient } from '../rtnl/client.ts'
import { add } from '../sync/atomic.ts'
import { parseConfig } from './config.ts'
import { type Daemon, startDaemon } from './daemon.ts'
import { SEAT_BURSTS, SEAT_TURNS } from './datapath_protocol.ts'
import { FrontEnd } from './front_end.ts'
import { change, getTable } from './http_client.ts'
import { openLog } from './log.ts'
import { makeNamespace, type Namespace, removeNamespaces, titled, veth, whyNoNamespaces } from './netns.fixture.ts'
import { said } from './process.fixture.ts'
import type { PortRow } from './tables/index.ts'

const skip = whyNoNamespaces('ping')
const command = fileURLToPath(new URL('../../bin/flowerbed', import.meta.url))
const dir = mkdtempSync(join(tmpdir(), 'flowerbed-ports-'))
const title = titled(skip)

interface Running {
  readonly process: ChildProcess
  log(): string
}
const running: ChildProcess[] = []

afterEach(async () => {
  for (const p of running.splice(0)) {
    if (p.exitCode !== null || p.signalCode !== null) continue
    const ended = new Promise((resolve) => p.once('exit', resolve))
    p.kill('SIGTERM')
    await ended
  }
  removeNamespaces()
  rmSync(dir, { recursive: true, force: true })
}, 60_000)

async function start(ns: Namespace, ports: object[], setup: string, ready = '"ready"'): Promise<Running> {
  rmSync(dir, { recursive: true, force: true })
  const { mkdirSync } = await import('node:fs')
  mkdirSync(dir)
  writeFileSync(join(dir, 'setup.tc'), setup)
  const config = { socket: join(dir, 's'), ports, scripts: ['setup.tc'], workers: 2 }
  writeFileSync(join(dir, 'c.yaml'), JSON.stringify(config))
  const child = ns.start(process.execPath, command, 'run', '--config', join(dir, 'c.yaml'))
  const heard = await said(child, ready)
  if (child.exitCode === null) running.push(child)
  return { process: child, log: () => heard.text }
}

const FORWARD = `
tc qdisc add dev p0 clsact
tc qdisc add dev p1 clsact
tc filter add dev p0 ingress prio 1 protocol all flower action mirred egress redirect dev p1
tc filter add dev p1 ingress prio 1 protocol all flower action mirred egress redirect dev p0
`

/** Pings until it is answered: a port is looked for a few times a second. */
const answered = (from: Namespace, to: string): Promise<void> =>
  expect
    .poll(
      () => {
        try {
          return from.run('ping', '-c', '1', '-W', '1', to)
        } catch {
          return ''
        }
      },
      { timeout: 40_000, interval: 100 },
    )
    .toContain(' 0% packet loss')

describe.each(['af_packet', 'af_xdp'])('%s', (driver) => {
  test.skipIf(skip !== '')(
    title(
      'of an uplink only the tunnels are taken; the kernel keeps its addresses, resolves, and stays silent for ours',
    ),
    async () => {
      const [a, f, b] = ['a', 'f', 'b'].map(makeNamespace)
      veth(a, 'a0', f, 'p0')
      veth(b, 'b0', f, 'p1', 1600)
      a.ip('addr add 10.0.0.1/24 dev a0')
      f.ip('addr add 192.168.77.1/24 dev p1')
      b.ip('addr add 192.168.77.2/24 dev b0')
      b.ip('link add vx0 mtu 1500 type vxlan id 4 local 192.168.77.2 remote 192.168.77.1 dstport 4789')
      b.ip('addr add 10.0.0.2/24 dev vx0')
      b.ip('link set vx0 up')
      const setup = `
ip link add vxlan0 type vxlan external dstport 4789
ip link set vxlan0 up
tc qdisc add dev p0 clsact
tc qdisc add dev vxlan0 clsact
tc filter add dev p0 ingress prio 1 protocol all flower action tunnel_key set id 4 src_ip 192.168.77.1 dst_ip 192.168.77.2 dst_port 4789 action mirred egress redirect dev vxlan0
tc filter add dev vxlan0 ingress prio 1 protocol all flower enc_key_id 4 action tunnel_key unset action mirred egress redirect dev p0
`
      await start(
        f,
        [
          { name: 'p0', driver },
          { name: 'p1', driver, role: 'uplink' },
        ],
        setup,
      )
      const unreachable = (): string => {
        const [names, values] = f
          .run('cat', '/proc/net/snmp')
          .split('\n')
          .filter((l) => l.startsWith('Icmp:'))
        return values.split(' ')[names.split(' ').indexOf('OutDestUnreachs')]
      }
      await answered(a, '10.0.0.2') // through the tunnel
      const before = unreachable() // B's kernel has sent into the tunnel since it is there
      await answered(b, '192.168.77.1') // the kernel of F: its ARP, its ICMP
      await answered(a, '10.0.0.2')
      await answered(b, '10.0.0.1')
      expect(unreachable()).toBe(before)
    },
    90_000,
  )

  test.skipIf(skip !== '')(
    title('a device that goes down, and one that goes away, are named, and come back'),
    async () => {
      const [a, f, b] = ['a', 'f', 'b'].map(makeNamespace)
      veth(a, 'a0', f, 'p0')
      veth(b, 'b0', f, 'p1')
      a.ip('addr add 10.0.0.1/24 dev a0')
      b.ip('addr add 10.0.0.2/24 dev b0')
      const w = await start(
        f,
        [
          { name: 'p0', driver },
          { name: 'p1', driver },
        ],
        FORWARD,
      )
      await answered(a, '10.0.0.2')

      f.ip('link set p0 down')
      await expect.poll(w.log, { timeout: 20_000 }).toContain('a port is down')
      f.ip('link set p0 up')
      await expect.poll(w.log, { timeout: 20_000 }).toContain('a port is up')
      await answered(a, '10.0.0.2')

      f.ip('link del p0')
      await expect.poll(w.log, { timeout: 20_000 }).toMatch(/there is no device p0.*a port is gone/)
      veth(a, 'a0', f, 'p0')
      a.ip('addr add 10.0.0.1/24 dev a0')
      await answered(a, '10.0.0.2')
      await answered(b, '10.0.0.1')
    },
    90_000,
  )

  test.skipIf(skip !== '')(
    title('a port is added to a running daemon, shows its device, and goes'),
    async () => {
      const [a, f, b] = ['a', 'f', 'b'].map(makeNamespace)
      veth(a, 'a0', f, 'p0')
      veth(b, 'b0', f, 'eth9')
      a.ip('addr add 10.0.0.1/24 dev a0')
      b.ip('addr add 10.0.0.2/24 dev b0')
      await start(f, [{ name: 'p0', driver }], '')
      const http = join(dir, 'http.sock')
      const nowhere = ['port', 'add', 'p1', 'driver', driver, 'device', 'nowhere', '--http', http]
      const { status, stderr } = spawnSync(process.execPath, [command, ...nowhere], { encoding: 'utf8' })
      expect(stderr).toBe('port p1: there is no device nowhere\n')
      expect(status).toBe(3)

      const client = await openClient(join(dir, 's'))
      const complaints: string[] = []
      const run = async (lines: readonly string[]): Promise<void> => {
        // It remembers which device has which number.
        const front = new FrontEnd(client, { out: () => {}, err: (text) => complaints.push(text), read: () => '' })
        for (const line of lines) await front.run('tc', line.split(' ').slice(1))
        expect(complaints).toEqual([])
      }
      const device = async (): Promise<string | null | undefined> =>
        (await getTable<{ ports: PortRow[] }>(http, '/ports')).ports.find((p) => p.name === 'p1')?.device
      const lines = FORWARD.trim().split('\n')
      await change(http, 'POST', '/ports', { name: 'p1', driver, device: 'eth9' })
      await run(lines)
      await answered(a, '10.0.0.2')
      expect(await device()).toBe('up')
      b.ip('link set b0 down')
      await expect.poll(device, { timeout: 20_000 }).toBe('no carrier')
      f.ip('link del eth9')
      await expect.poll(device, { timeout: 20_000 }).toBe('gone')
      await change(http, 'DELETE', '/ports/p1')
      expect(await device()).toBeUndefined()
      // Its number, and the memory of its rings, again. The rule that led to it leads nowhere.
      veth(b, 'b1', f, 'eth9')
      b.ip('addr add 10.0.0.2/24 dev b1')
      a.ip('neigh flush all') // it knows b0's address for up to a minute
      await change(http, 'POST', '/ports', { name: 'p1', driver, device: 'eth9' })
      await run(['tc filter del dev p0 ingress', ...lines.slice(1)])
      await answered(a, '10.0.0.2')
      client.close()
    },
    90_000,
  )

  test.skipIf(skip !== '')(
    title('a device that is not there: which one, and status 3'),
    async () => {
      const f = makeNamespace('f')
      const w = await start(f, [{ name: 'p0', driver, device: 'nowhere' }], FORWARD, 'nowhere')
      await expect.poll(() => w.process.exitCode, { timeout: 30_000 }).toBe(3)
      expect(w.log()).toContain('port p0: there is no device nowhere')
    },
    60_000,
  )
})

/** A daemon of this process with one tap device, and the errors that it logs. */
async function startTap(letter: string): Promise<{ name: string; daemon: Daemon; log(): string }> {
  const name = `fbt${process.pid % 100000}${letter}`
  let log = ''
  const error = (what: object, text: string): void => {
    log += `${JSON.stringify(what)} ${text}\n`
  }
  const logger = new Proxy(openLog('silent'), { get: (t, key) => (key === 'error' ? error : Reflect.get(t, key)) })
  const text = JSON.stringify({
    socket: join(tmpdir(), `${name}.sock`),
    ports: [{ name, driver: 'tap' }],
    workers: 1,
  })
  return { name, daemon: await startDaemon(parseConfig(text, 'c.yaml'), logger), log: () => log }
}

test.skipIf(skip !== '')(
  title('a datapath thread that dies is replaced, and its ports come back'),
  async () => {
    const { daemon, log } = await startTap('d')
    try {
      const { arena, datapath } = daemon
      const { table, state } = datapath.seats[0]
      const turns = (): number => arena.m[(state + SEAT_TURNS) >> 2]
      await expect.poll(turns, { timeout: 20_000 }).toBeGreaterThan(0)
      // Older than what dies of its birth.
      await new Promise((resolve) => setTimeout(resolve, 1200))
      const q = arena.m[(table + Q.TABLE_QUEUES) >> 2]
      arena.m[(q + Q.QUEUE_DRIVER) >> 2] = 99
      add(arena.m, (table + Q.TABLE_GENERATION) >> 2, 1)
      await expect.poll(log, { timeout: 20_000 }).toContain('another takes its seat')
      expect(log()).toContain('has no driver')
      const then = turns()
      await expect.poll(turns, { timeout: 20_000 }).toBeGreaterThan(then)
      expect(arena.m[(q + Q.QUEUE_DRIVER) >> 2]).toBe(Q.DRIVER_TAP)
    } finally {
      await daemon.close()
    }
  },
  60_000,
)

test.skipIf(skip !== '')(
  title('the switch thread dies while packets go up to it: that is told, and the daemon ends'),
  async () => {
    const { name, daemon, log } = await startTap('s')
    spawnSync('ip', ['addr', 'add', '10.213.7.1/24', 'dev', name])
    spawnSync('ip', ['link', 'set', name, 'up'])
    // The kernel asks for neighbours, which goes up. It goes on asking while nobody takes it any more.
    const ping = spawn('ping', ['-f', '-c', '100000', '-b', '10.213.7.255'], { stdio: 'ignore' })
    try {
      const bursts = (): number => daemon.arena.m[(daemon.datapath.seats[0].state + SEAT_BURSTS) >> 2]
      await expect.poll(bursts, { timeout: 30_000 }).toBeGreaterThan(10)
      daemon.seats.switchThread.post(7) // nothing that it knows
      expect(await daemon.failed).toBeInstanceOf(TypeError)
      await daemon.close()
      expect(log()).toContain('the switch thread died')
    } finally {
      ping.kill()
    }
  },
  120_000,
)
