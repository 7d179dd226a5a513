// Ports that come and go while the daemon runs, without a device behind them: over HTTP, and by the command.
import { execFile } from 'node:child_process'
import { rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { getTable } from './http_client.ts'
import { type DaemonProcess, folder, startProcess } from './process.fixture.ts'
import type { PortRow } from './tables/index.ts'

const command = fileURLToPath(new URL('../../bin/flowerbed', import.meta.url))
const run = promisify(execFile)
let daemon: DaemonProcess
let http = ''

beforeAll(async () => {
  daemon = await startProcess({ ports: [{ name: 'p0' }, { name: 'p1', mtu: 9000 }] })
  http = join(dirname(daemon.socket), 'http.sock')
}, 60_000)
afterAll(() => daemon.end())

/** Runs the command; returns its exit status, and what it said. */
async function flowerbed(...words: string[]): Promise<{ status: number; out: string; err: string }> {
  try {
    const { stdout, stderr } = await run(process.execPath, [command, ...words])
    return { status: 0, out: stdout, err: stderr }
  } catch (e) {
    const { code, stdout, stderr } = e as { code: number; stdout: string; stderr: string }
    return { status: code, out: stdout, err: stderr }
  }
}
const port = (...words: string[]) => flowerbed('port', ...words, '--http', http)
const tc = (...words: string[]) => flowerbed('tc', '--socket', daemon.socket, ...words)
const shown = async () => (await getTable<{ ports: PortRow[] }>(http, '/ports')).ports

test('a port is added, has rules, and goes with them; its number is taken by the next', async () => {
  expect(await port('add', 'p7', 'mtu', '2000', 'mac', '02:00:00:00:00:77')).toEqual({ status: 0, out: '', err: '' })
  expect(await shown()).toMatchObject([
    { name: 'p0', port: 0 },
    { name: 'p1', port: 1 },
    { name: 'p7', port: 2, up: true, mtu: 2000, mac: '02:00:00:00:00:77', device: null },
  ])
  expect((await tc('qdisc', 'add', 'dev', 'p7', 'clsact')).status).toBe(0)
  expect((await tc('filter', 'add', 'dev', 'p7', 'ingress', 'matchall', 'action', 'drop')).status).toBe(0)
  expect(await getTable(http, '/flows')).toMatchObject({ flows: [{ hook: 'p7-ingress' }] })

  expect((await port('del', 'p7')).status).toBe(0)
  expect((await shown()).map((p) => p.name)).toEqual(['p0', 'p1'])
  expect(await getTable(http, '/flows')).toMatchObject({ flows: [] })
  expect((await port('add', 'p8')).status).toBe(0)
  expect((await shown()).at(-1)).toMatchObject({ name: 'p8', port: 2, mac: '02:00:00:00:00:02' })
  expect((await port('show')).out).toContain('p8 up mtu 1500')
}, 60_000)

test.each([
  [['add', 'p0'], 2, 'port p0: there is a port p0 already'],
  [['add', 'lo'], 2, 'port lo: a device lo is there already'],
  [
    ['add', 'p9', 'driver', 'carrier_pigeon'],
    2,
    'port p9: driver: no such port driver: carrier_pigeon; there are: dummy',
  ],
  [['add', 'p9', 'speed', '10'], 2, 'port p9: there is no option speed'],
  [['add', 'p9', 'mtu'], 2, 'mtu: the value is missing'],
  [['add', 'p9', 'mtu', '9200'], 2, 'port p9: its MTU is 9200, and packet slots hold frames of'],
  [['add', 'p9', 'driver', 'tap'], 2, 'port p9: the daemon has no datapath threads'],
  [['del', 'p9'], 2, 'port p9: there is no port p9'],
])(
  'port %s: status %i, and why',
  async (words, status, why) => {
    const said = await port(...words)
    expect(said.err).toContain(why)
    expect(said.status).toBe(status)
    expect((await shown()).map((p) => p.name)).not.toContain('p9')
  },
  60_000,
)

test('with a journal a port that was added is there again after kill -9, with its rules, until it is deleted', async () => {
  const dir = folder()
  const config = { ports: [{ name: 'p0' }], journal: { path: join(dir, 'journal.pcap') } }
  const names = async (): Promise<string[]> => {
    const { ports } = await getTable<{ ports: PortRow[] }>(join(dirname(other.socket), 'http.sock'), '/ports')
    return ports.map((p) => `${p.name} ${p.mtu} ${p.mac}`)
  }
  const portOf = (...words: string[]) => flowerbed('port', ...words, '--http', join(dirname(other.socket), 'http.sock'))
  const tcOf = (...words: string[]) => flowerbed('tc', '--socket', other.socket, ...words)
  const again = async (): Promise<void> => {
    const ended = new Promise((resolve) => other.process.once('exit', resolve))
    other.process.kill('SIGKILL')
    await ended
    other = await startProcess(config)
  }
  let other = await startProcess(config)
  try {
    expect(await portOf('add', 'p7', 'mtu', '1400', 'mac', '02:00:00:00:00:77')).toEqual({
      status: 0,
      out: '',
      err: '',
    })
    expect(await portOf('add', 'p8')).toMatchObject({ status: 0 })
    for (const name of ['p7', 'p8']) {
      expect((await tcOf('qdisc', 'add', 'dev', name, 'clsact')).status).toBe(0)
      const filter = ['filter', 'add', 'dev', name, 'ingress', 'prio', '3', 'matchall', 'action', 'drop']
      expect((await tcOf(...filter)).status).toBe(0)
    }
    const before = [await names(), await tcOf('filter', 'show', 'dev', 'p7', 'ingress')]
    expect(JSON.stringify(before)).toContain('p7 1400 02:00:00:00:00:77')
    await again()
    expect([await names(), await tcOf('filter', 'show', 'dev', 'p7', 'ingress')]).toEqual(before)
    expect((await portOf('del', 'p7')).status).toBe(0)
    await again()
    expect((await names()).map((n) => n.split(' ')[0])).toEqual(['p0', 'p8'])
    expect((await tcOf('filter', 'show', 'dev', 'p8', 'ingress')).out).toContain('pref 3 matchall')
    // Another of that name is another port.
    expect((await portOf('add', 'p7')).status).toBe(0)
    expect((await tcOf('qdisc', 'show', 'dev', 'p7')).out).not.toContain('clsact')
  } finally {
    await other.end()
    rmSync(dir, { recursive: true, force: true })
  }
}, 240_000)
