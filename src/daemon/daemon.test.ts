// The daemon's own life: start-up scripts, the clock, its threads, and what is left when it ends.
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test, vi } from 'vitest'
import { openClient } from '../rtnl/client.ts'
import { FrontEnd } from './front_end.ts'
import { folder, refusedProcess, startProcess } from './process.fixture.ts'

vi.setConfig({ testTimeout: 120_000 })
const dir = folder()
afterAll(() => rmSync(dir, { recursive: true }))
const ports = [{ name: 'p0' }, { name: 'p1' }]

test('start-up scripts run before anybody can ask; time passes; the socket goes with the daemon', async () => {
  writeFileSync(
    join(dir, 'setup.tc'),
    '# a world\nip addr add 10.0.0.1/24 dev p1\nip neigh add 10.0.0.2 \\\n dev p1 nud reachable lladdr 02:11:22:33:44:55\n',
  )
  writeFileSync(join(dir, 'rules.tc'), 'qdisc add dev p0 clsact\n')
  const daemon = await startProcess({ ports, scripts: [join(dir, 'setup.tc'), join(dir, 'rules.tc')] })
  const client = await openClient(daemon.socket)
  let out = ''
  const say = (text: string): void => {
    out += text
  }
  const frontEnd = new FrontEnd(client, { out: say, err: say, read: () => '' })
  expect(await frontEnd.run('ip', ['-s', 'neigh', 'show'])).toBe(0)
  expect(await frontEnd.run('tc', ['qdisc', 'show', 'dev', 'p0'])).toBe(0)
  expect(out).toMatch(/10\.0\.0\.2 dev p1 lladdr 02:11:22:33:44:55 .*clsact/s)
  const age = async (): Promise<number> => {
    out = ''
    await frontEnd.run('ip', ['-s', 'neigh', 'show'])
    return Number(/used \d+\/(\d+)/.exec(out)?.[1])
  }
  const before = await age()
  await expect.poll(age, { timeout: 20_000 }).toBeGreaterThan(before)
  expect(await daemon.end()).toBe(0)
  await client.ended
  await expect(frontEnd.run('ip', ['neigh', 'show'])).rejects.toThrow(/closed/)
  expect(existsSync(daemon.socket)).toBe(false)
  expect(daemon.log).toContain('"ended"')
})

test.each([
  ['ip addr add 10.0.0.1/24 dev p1\nip addr add 10.0.0.1/24 dev p9\n', /wrong\.tc:2: Cannot find device "p9"/],
  ['\nqdisc add dev p0 clsact\nqdisc add dev p0 clsact\n', /wrong\.tc:3: /],
  ['tc filter add "dev\n', /wrong\.tc: Unterminated/],
  [null, /wrong\.tc: no such script/],
])('a start-up script that is refused: where and why, and nothing is left: %j', async (text, message) => {
  const script = join(dir, 'wrong.tc')
  if (text === null) rmSync(script, { force: true })
  else writeFileSync(script, text)
  const { status, log, socket } = await refusedProcess({ ports, scripts: [script] })
  expect(log).toMatch(message)
  expect(existsSync(socket)).toBe(false)
  expect(status).toBe(2)
})
