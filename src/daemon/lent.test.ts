// Connections that control workers serve by themselves: lent as long as that is enough, and nothing is lost on the way back.
import { rmSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest'
import { openClient } from '../rtnl/client.ts'
import { FRAME_NETLINK, FrameReader, frame } from '../rtnl/frame.ts'
import { parseCommand } from '../tc/command.ts'
import { splitLine } from '../tc/line.ts'
import { msgSeq, msgType, NLMSG_DONE, parseError, setMsgSeq, viewOf } from '../wire/netlink.ts'
import { RTM_NEWLINK } from '../wire/rtm_link.ts'
import { RTNLGRP_TC } from '../wire/tcm.ts'
import { parseConfig } from './config.ts'
import { type Daemon, startDaemon } from './daemon.ts'
import { folder } from './process.fixture.ts'
import { devicesOf } from './tables/devices.ts'

const dir = folder()
afterAll(() => rmSync(dir, { recursive: true }))
const none = (): void => {}
const log = { debug: none, info: none, warn: none, error: none }
const path = join(dir, 'rtnetlink.sock')

let daemon: Daemon
beforeEach(async () => {
  const config = { socket: path, control_workers: 1, ports: [{ name: 'p0' }] }
  daemon = await startDaemon(parseConfig(JSON.stringify(config), 'test'), log as never)
}, 120_000)
afterEach(() => daemon.close(), 60_000)

const lent = (): number => daemon.seats.counts().reduce((n, c) => n + c.lent, 0)
const request = (line: string): Uint8Array => parseCommand(splitLine(line), devicesOf(daemon.arena)).requests[0].slice()
const errnoOf = (replies: readonly Uint8Array[]): number => parseError(replies[replies.length - 1]).errno
const rule = (i: number): Uint8Array =>
  request(`tc filter add dev p0 ingress protocol ip pref 1 handle ${i + 1} flower dst_ip 10.0.0.${i} action drop`)

test('ordinary requests are served by the worker; what needs more comes back, in order', {
  timeout: 120_000,
}, async () => {
  const first = await openClient(path)
  expect(errnoOf(await first.ask(request('tc qdisc add dev p0 clsact')))).toBe(0)
  expect(lent()).toBe(1)
  // In one write: rules, and the dump behind them, which has them all.
  const asked = Array.from({ length: 40 }, (_, i) => first.ask(rule(i)))
  const dump = first.ask(request('tc filter show dev p0 ingress'))
  expect((await Promise.all(asked)).map(errnoOf)).toEqual(asked.map(() => 0))
  const shown = await dump
  expect(msgType(viewOf(shown[shown.length - 1]))).toBe(NLMSG_DONE)
  expect(shown.length).toBeGreaterThan(40)
  expect(lent()).toBe(0)
  expect(errnoOf(await first.ask(rule(50)))).toBe(0)
  // Of links and addresses the switch thread knows best.
  const second = await openClient(path)
  expect(errnoOf(await second.ask(rule(51)))).toBe(0)
  expect(lent()).toBe(1)
  expect(errnoOf(await second.ask(request('ip link set p0 mtu 1400')))).toBe(0)
  expect(lent()).toBe(0)
  first.close()
  second.close()
  await expect.poll(() => daemon.server.sessions.size, { timeout: 30_000 }).toBe(0)
})

test('while somebody listens he hears of a change before its author has the answer', { timeout: 120_000 }, async () => {
  const author = await openClient(path)
  expect(errnoOf(await author.ask(request('tc qdisc add dev p0 clsact')))).toBe(0)
  const listener = await openClient(path)
  let heard = 0
  listener.onNews = () => {
    heard++
  }
  listener.join(RTNLGRP_TC)
  // What it asks is read behind its joining.
  await listener.ask(request('tc qdisc show'))
  expect(lent()).toBe(1)
  expect(errnoOf(await author.ask(rule(1)))).toBe(0)
  expect(lent()).toBe(0)
  await expect.poll(() => heard, { timeout: 30_000 }).toBeGreaterThan(0)
  author.close()
  listener.close()
})

test('a client that does not read waits for itself, and has all of its answers when it does', {
  timeout: 120_000,
}, async () => {
  const N = 3000
  const ask = request('ip link show dev p0')
  const all = Buffer.concat(
    Array.from({ length: N }, (_, i) => {
      const m = ask.slice()
      setMsgSeq(viewOf(m), 0, i + 1)
      return frame(FRAME_NETLINK, m)
    }),
  )
  const socket = connect(path)
  socket.pause()
  await new Promise((resolve) => socket.once('connect', resolve))
  socket.write(all)
  // Others are served meanwhile.
  const other = await openClient(path)
  expect(errnoOf(await other.ask(request('tc qdisc add dev p0 clsact')))).toBe(0)
  const seen: number[] = []
  const frames = new FrameReader()
  await new Promise<void>((resolve) => {
    socket.on('data', (chunk) => {
      frames.push(chunk)
      for (let f = frames.next(); f !== null; f = frames.next())
        if (msgType(viewOf(f.payload)) === RTM_NEWLINK) seen.push(msgSeq(viewOf(f.payload)))
      if (seen.length === N) resolve()
    })
    socket.resume()
  })
  expect(seen).toEqual(Array.from({ length: N }, (_, i) => i + 1))
  socket.destroy()
  other.close()
})
