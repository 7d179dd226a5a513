// The daemon and its three clients as a user meets them: processes, exit statuses, signals.
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const command = join(root, 'bin/flowerbed')
const dir = mkdtempSync(join(tmpdir(), 'flowerbed-live-'))
const socket = join(dir, 'rtnetlink.sock')
let daemon: ChildProcess
let log = ''

interface Said {
  status: number
  out: string
  err: string
}

function flowerbed(...args: string[]): Promise<Said> {
  return new Promise((resolve) => {
    execFile(process.execPath, [command, ...args], { cwd: root }, (e, out, err) =>
      resolve({ status: e === null ? 0 : Number(e.code), out, err }),
    )
  })
}

beforeAll(async () => {
  writeFileSync(join(dir, 'c.yaml'), `socket: ${socket}\nports: [{ name: p0 }, { name: p1 }]\n`)
  daemon = spawn(process.execPath, [command, 'run', '--config', join(dir, 'c.yaml')], { cwd: root })
  daemon.stderr?.on('data', (text) => {
    log += text
  })
  await vi.waitFor(() => expect(log).toContain('"ready"'), { timeout: 60_000, interval: 100 })
}, 70_000)
afterAll(() => {
  daemon.kill('SIGKILL')
  rmSync(dir, { recursive: true })
})

const slow = { timeout: 90_000 }
const at = ['--socket', socket]

test('tc and ip: options behind the command are theirs, exit statuses iproute2’s', slow, async () => {
  expect(await flowerbed('tc', ...at, 'qdisc', 'add', 'dev', 'p0', 'clsact')).toEqual({ status: 0, out: '', err: '' })
  const rule = 'filter add dev p0 ingress protocol ip pref 7 flower dst_ip 1.2.3.4 action drop'.split(' ')
  expect(await flowerbed('tc', ...at, ...rule)).toEqual({ status: 0, out: '', err: '' })
  const again = await flowerbed('tc', ...at, ...rule)
  expect([again.status, again.err.split('\n').at(-2)]).toEqual([2, 'We have an error talking to the kernel'])
  const shown = await flowerbed('tc', ...at, '-s', '-j', 'filter', 'show', 'dev', 'p0', 'ingress')
  expect(JSON.parse(shown.out)[1]).toMatchObject({ pref: 7, options: { keys: { dst_ip: '1.2.3.4' } } })
  expect(await flowerbed('ip', ...at, 'link', 'show', 'dev', 'nowhere')).toMatchObject({ status: 1, out: '' })
  expect((await flowerbed('tc', ...at, '-V')).out).toMatch(/^tc utility/)
})

const compiler = spawnSync('cc', ['--version']).status === 0
test.skipIf(!compiler)('shell: the status of its command (needs cc)', slow, async () => {
  expect(await flowerbed('shell', ...at, 'sh', '-c', 'echo "$1"; exit 7', '-', '--json')).toEqual({
    status: 7,
    out: '--json\n',
    err: '',
  })
  expect(await flowerbed('shell', ...at, 'no-such-program')).toMatchObject({ status: 127 })
})

test('no daemon: 3, and what to do; bad configuration: 2', slow, async () => {
  for (const args of [
    ['tc', 'qdisc'],
    ['shell', 'true'],
  ]) {
    const said = await flowerbed(args[0], '--socket', join(dir, 'none'), args[1])
    expect(said).toMatchObject({ status: 3, out: '' })
    expect(said.err).toMatch(/none: no daemon answers; "flowerbed run" starts one/)
  }
  writeFileSync(join(dir, 'bad.yaml'), 'ports:\n  - name: p0\n    driver: vfio\n')
  const said = await flowerbed('run', '--config', join(dir, 'bad.yaml'))
  expect(said).toMatchObject({ status: 2, out: '' })
  expect(said.err).toMatch(/bad\.yaml:3: ports\[0\]\.driver: no such port driver: vfio/)
  expect(await flowerbed('run', '--socket', socket)).toMatchObject({ status: 3 })
})

test('SIGTERM ends the daemon in order', slow, async () => {
  const status = new Promise((resolve) => daemon.once('exit', resolve))
  daemon.kill('SIGTERM')
  expect(await status).toBe(0)
  expect(existsSync(socket)).toBe(false)
  expect(log).toContain('"ended"')
})
