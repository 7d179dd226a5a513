// The daemon's own life: start-up scripts, the clock, and what is left when it ends.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { openClient } from '../rtnl/client.ts'
import { parseConfig } from './config.ts'
import { ConfigError } from './config_error.ts'
import { startDaemon } from './daemon.ts'
import { FrontEnd } from './front_end.ts'
import { openLog } from './log.ts'

const dir = mkdtempSync(join(tmpdir(), 'flowerbed-daemon-'))
afterAll(() => rmSync(dir, { recursive: true }))
const socket = join(dir, 'below/rtnetlink.sock')
const log = openLog('silent')
const config = (...scripts: string[]) =>
  parseConfig(JSON.stringify({ socket, ports: [{ name: 'p0' }, { name: 'p1' }], scripts }), join(dir, 'c.yaml'))

test('start-up scripts run before anybody can ask; the clock runs; the socket goes with the daemon', async () => {
  writeFileSync(
    join(dir, 'setup.tc'),
    '# a world\nip addr add 10.0.0.1/24 dev p1\nip neigh add 10.0.0.2 \\\n dev p1 nud stale lladdr 02:11:22:33:44:55\n',
  )
  writeFileSync(join(dir, 'rules.tc'), 'qdisc add dev p0 clsact\n')
  const daemon = await startDaemon(config('setup.tc', 'rules.tc'), log)
  const client = await openClient(socket)
  let out = ''
  const say = (text: string): void => {
    out += text
  }
  const io = { out: say, err: say, read: () => '' }
  const frontEnd = new FrontEnd(client, io)
  expect(await frontEnd.run('ip', ['neigh', 'show'])).toBe(0)
  expect(await frontEnd.run('tc', ['qdisc', 'show', 'dev', 'p0'])).toBe(0)
  expect(out).toMatch(/10\.0\.0\.2 dev p1 lladdr 02:11:22:33:44:55 STALE.*clsact/s)
  const before = daemon.switch.now
  await expect.poll(() => daemon.switch.now).toBeGreaterThan(before)
  await daemon.close()
  await client.ended
  await expect(frontEnd.run('ip', ['neigh', 'show'])).rejects.toThrow(/closed/)
  expect(existsSync(socket)).toBe(false)
})

test.each([
  ['ip addr add 10.0.0.1/24 dev p1\nip addr add 10.0.0.1/24 dev p9\n', /wrong\.tc:2: Cannot find device "p9"/],
  ['\nqdisc add dev p0 clsact\nqdisc add dev p0 clsact\n', /wrong\.tc:3: /],
  ['tc filter add "dev\n', /wrong\.tc: Unterminated/],
])('a start-up script that is refused: where and why, and nothing is left: %j', async (text, message) => {
  writeFileSync(join(dir, 'wrong.tc'), text)
  const starting = startDaemon(config('wrong.tc'), log)
  await expect(starting).rejects.toThrow(ConfigError)
  await expect(starting).rejects.toThrow(message)
  expect(existsSync(socket)).toBe(false)
})

test('a script that is not there', async () => {
  await expect(startDaemon(config('nowhere.tc'), log)).rejects.toThrow(/nowhere\.tc: no such script/)
})
