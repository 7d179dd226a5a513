// systemd's side is played by a datagram socket of the test's own.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { AF_UNIX, bind, close, MSG_DONTWAIT, recv, SOCK_DGRAM, socket } from '../sys/libc.ts'
import { openNotify } from './notify.ts'

const dir = mkdtempSync(join(tmpdir(), 'flowerbed-notify-'))
afterAll(() => rmSync(dir, { recursive: true }))

test.each([join(dir, 'notify'), `@flowerbed-${process.pid}`])('states go to %s', (path) => {
  const fd = socket(AF_UNIX, SOCK_DGRAM, 0)
  const name = Buffer.from(path.startsWith('@') ? `\0${path.slice(1)}` : path)
  bind(fd, Uint8Array.from([AF_UNIX, 0, ...name]))
  const notify = openNotify({ NOTIFY_SOCKET: path, WATCHDOG_USEC: '30000000' })
  expect(notify.watchdogMs).toBe(15_000)
  expect(notify.tell('READY=1\nSTATUS=up')).toBe(true)
  const buffer = new Uint8Array(100)
  const n = recv(fd, buffer, buffer.length, MSG_DONTWAIT)
  expect(Buffer.from(buffer.subarray(0, n)).toString()).toBe('READY=1\nSTATUS=up')
  notify.close()
  close(fd)
})

test('nobody to tell', () => {
  expect(openNotify({}).tell('READY=1')).toBe(false)
  expect(openNotify({ NOTIFY_SOCKET: join(dir, 'none'), WATCHDOG_USEC: '1000' })).toMatchObject({ watchdogMs: 0 })
  expect(openNotify({ NOTIFY_SOCKET: '', WATCHDOG_USEC: '30000000', WATCHDOG_PID: '1' }).watchdogMs).toBe(0)
})
