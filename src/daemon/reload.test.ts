// SIGHUP: the daemon reads its configuration again, and goes over to it as far as that can be done.

import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { getTable } from './http_client.ts'
import { type DaemonProcess, startProcess } from './process.fixture.ts'
import type { PortRow } from './tables/index.ts'

const patient = { timeout: 30_000, interval: 50 }
let daemon: DaemonProcess
let file = ''

beforeAll(async () => {
  daemon = await startProcess({ ports: [{ name: 'p0' }, { name: 'p1' }], control_workers: 1 })
  file = join(dirname(dirname(daemon.socket)), 'c.yaml')
}, 60_000)
afterAll(() => daemon.end())

const ports = async (): Promise<string[]> =>
  (await getTable<{ ports: PortRow[] }>(join(dirname(daemon.socket), 'http.sock'), '/ports')).ports.map((p) => p.name)

/** Changes the configuration, and says so. Resolves when the daemon has said `what` about it. */
async function reload(change: (config: Record<string, unknown>) => string, what: string): Promise<void> {
  const before = daemon.log.length
  writeFileSync(file, change(JSON.parse(readFileSync(file, 'utf8'))))
  daemon.process.kill('SIGHUP')
  await expect.poll(() => daemon.log.slice(before), patient).toContain(what)
}

test('ports come and go; what takes a restart is named', async () => {
  await reload(
    (c) => JSON.stringify({ ...c, ports: [{ name: 'p0', mtu: 1400 }, { name: 'p2' }], control_workers: 2 }),
    'the configuration was read again',
  )
  expect(await ports()).toEqual(['p0', 'p2'])
  expect(daemon.log).toMatch(/"options":\["controlWorkers"\].*that takes a restart/)
  expect(daemon.log).toMatch(/"port":"p0".*a port is changed in the configuration/)
}, 60_000)

test('a port that cannot be had is named, the others come', async () => {
  await reload(
    (c) => JSON.stringify({ ...c, ports: [{ name: 'p0' }, { name: 'p3', driver: 'tap' }, { name: 'p4' }] }),
    'the configuration was read again',
  )
  expect(await ports()).toEqual(['p0', 'p4'])
  expect(daemon.log).toMatch(/"port":"p3","error":"the daemon has no datapath threads.*cannot be had/)
}, 60_000)

test('a configuration with a mistake changes nothing', async () => {
  const before = readFileSync(file, 'utf8')
  await reload(() => 'ports:\n  - name: p9\n    speed: 10\n', 'the configuration was not read again')
  expect(daemon.log).toMatch(/c\.yaml:3: there is no option speed/)
  expect(await ports()).toEqual(['p0', 'p4'])
  writeFileSync(file, before)
}, 60_000)
