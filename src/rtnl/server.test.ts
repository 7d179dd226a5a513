// The server over a real socket, with a requester that is no switch: what a client may do to it, and to others.
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, expect, test, vi } from 'vitest'
import {
  Builder,
  buildAck,
  buildDone,
  msgFlags,
  msgLen,
  msgPid,
  msgSeq,
  msgType,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_ECHO,
  NLM_F_MULTI,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  parseError,
  viewOf,
} from '../wire/netlink.ts'
import { EINVAL } from '../wire/netlink_error.ts'
import { RTM_GETLINK, RTM_NEWLINK } from '../wire/rtm_link.ts'
import { RTM_NEWTFILTER, RTNLGRP_TC } from '../wire/tcm.ts'
import { type Client, openClient } from './client.ts'
import type { Requester } from './datagram.ts'
import { DATAGRAM_SIZE } from './datagram.ts'
import {
  FRAME_HEADER,
  FRAME_JOIN,
  FRAME_MAX,
  FRAME_NETLINK,
  FRAME_OVERRUN,
  FRAME_PORT,
  FrameReader,
  frame,
  numberFrame,
} from './frame.ts'
import { here, type RtnlServer, type ServeOptions, serve } from './server.ts'
import { BACKLOG } from './session.ts'

const dir = mkdtempSync(join(tmpdir(), 'flowerbed-rtnl-'))
const open: (() => unknown)[] = []
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close()
  rmSync(dir, { recursive: true, force: true })
})

const b = new Builder()
function message(type: number, flags: number, size = 16, seq = 1): Uint8Array {
  b.begin(type, flags | NLM_F_REQUEST, seq)
  b.pad(size)
  return b.end()
}

/** Dumps as many parts as the first payload word says, of 400 bytes each; acknowledges everything else. */
function answer(m: Uint8Array): Uint8Array[] {
  const d = viewOf(m)
  if ((msgFlags(d) & NLM_F_DUMP) !== NLM_F_DUMP) return [buildAck(m)]
  const parts = Array.from({ length: d.getUint32(16, true) }, () => {
    b.begin(RTM_NEWLINK, NLM_F_MULTI, msgSeq(d), msgPid(d))
    b.pad(400)
    return b.end()
  })
  return [...parts, buildDone(msgSeq(d), msgPid(d))]
}

const path = join(dir, 'rtnetlink.sock')
async function start(o: Partial<ServeOptions & Requester> = {}): Promise<RtnlServer> {
  const server = await serve({ path, executor: here({ request: o.request ?? answer }), ...o })
  open.push(() => server.close())
  return server
}

async function client(): Promise<Client> {
  const c = await openClient(path)
  open.push(() => c.close())
  return c
}

/** A peer that says what it likes. */
async function raw(): Promise<{
  socket: Socket
  frames: { kind: number; payload: Uint8Array }[]
  closed: Promise<void>
}> {
  const socket = connect(path)
  const reader = new FrameReader()
  const frames: { kind: number; payload: Uint8Array }[] = []
  socket.on('data', (chunk) => {
    reader.push(chunk)
    for (let f = reader.next(); f !== null; f = reader.next()) frames.push(f)
  })
  socket.on('error', () => {})
  open.push(() => socket.destroy())
  await new Promise((resolve) => socket.once('connect', resolve))
  return { socket, frames, closed: new Promise((resolve) => socket.on('close', () => resolve())) }
}

function dumpOf(parts: number): Uint8Array {
  const m = message(RTM_GETLINK, NLM_F_DUMP)
  viewOf(m).setUint32(16, parts, true)
  return m
}

test('requests are answered with the port id of the socket and the number of the request', async () => {
  await start()
  const c = await client()
  for (let seq = 1; seq < 4; seq++) {
    const [ack] = await c.ask(message(RTM_NEWLINK, NLM_F_ACK))
    expect([msgType(viewOf(ack)), msgSeq(viewOf(ack)), msgPid(viewOf(ack))]).toEqual([NLMSG_ERROR, seq, process.pid])
    expect(parseError(ack).errno).toBe(0)
  }
})

test('a dump comes in datagrams that fit the smallest buffer, and ends with NLMSG_DONE', async () => {
  await start()
  const peer = await raw()
  peer.socket.write(numberFrame(FRAME_PORT, 77))
  peer.socket.write(frame(FRAME_NETLINK, dumpOf(100)))
  await vi.waitFor(() => expect(peer.frames.length).toBeGreaterThanOrEqual(12))
  let messages = 0
  let last = 0
  for (const { payload } of peer.frames) {
    expect(payload.length).toBeLessThanOrEqual(DATAGRAM_SIZE)
    for (let o = 0; o < payload.length; o += msgLen(viewOf(payload), o), messages++) {
      expect(msgPid(viewOf(payload), o)).toBe(77)
      last = msgType(viewOf(payload), o)
    }
  }
  expect([messages, last]).toEqual([101, NLMSG_DONE])
})

test('several requests in one datagram are done in turn; what is no request is passed over', async () => {
  const done: number[] = []
  const request = (m: Uint8Array): Uint8Array[] => {
    done.push(msgSeq(viewOf(m)))
    return [buildAck(m)]
  }
  await start({ request })
  const peer = await raw()
  const noRequest = message(RTM_NEWLINK, 0, 16, 3)
  viewOf(noRequest).setUint16(6, NLM_F_ACK, true)
  const control = message(3, NLM_F_ACK, 16, 4)
  const all = [message(RTM_NEWLINK, 0, 16, 1), message(RTM_NEWLINK, 0, 20, 2), noRequest, control]
  peer.socket.write(frame(FRAME_NETLINK, Buffer.concat(all)))
  await vi.waitFor(() => expect(peer.frames.length).toBe(4))
  expect(done).toEqual([1, 2])
  expect(peer.frames.map((f) => msgSeq(viewOf(f.payload)))).toEqual([1, 2, 3, 4])
})

test.each([
  ['shorter than a header', Uint8Array.of(1, 2, 3)],
  ['empty', new Uint8Array(0)],
  ['longer than its datagram', message(RTM_NEWLINK, NLM_F_ACK).subarray(0, 24)],
  ['a length below the header', Uint8Array.from(message(RTM_NEWLINK, 0), (x, i) => (i === 0 ? 15 : x))],
])('a malformed message is answered with EINVAL: %s', async (_, bytes) => {
  await start()
  const peer = await raw()
  peer.socket.write(numberFrame(FRAME_PORT, 5))
  peer.socket.write(frame(FRAME_NETLINK, bytes))
  await vi.waitFor(() => expect(peer.frames.length).toBe(1))
  expect(parseError(peer.frames[0].payload)).toMatchObject({ errno: EINVAL, offset: 0 })
  expect(msgPid(viewOf(peer.frames[0].payload))).toBe(5)
  const [ack] = await (await client()).ask(message(RTM_NEWLINK, NLM_F_ACK))
  expect(parseError(ack).errno).toBe(0)
})

test.each([
  ['an oversized frame', Uint8Array.of(...new Uint8Array(new Uint32Array([FRAME_MAX + 1, 0]).buffer))],
  ['an unknown kind', frame(99, new Uint8Array(4))],
  ['a group without a number', frame(FRAME_JOIN, new Uint8Array(3))],
])('what is no frame ends the connection, and no other: %s', async (_, bytes) => {
  const server = await start()
  const other = await client()
  const peer = await raw()
  peer.socket.write(bytes)
  await peer.closed
  expect(parseError((await other.ask(message(RTM_NEWLINK, NLM_F_ACK)))[0]).errno).toBe(0)
  expect(server.sessions.size).toBe(1)
})

test('a client that does not read gets no further than its backlog; others are served meanwhile', async () => {
  let dumps = 0
  const request = (m: Uint8Array): Uint8Array[] => {
    if ((msgFlags(viewOf(m)) & NLM_F_DUMP) === NLM_F_DUMP) dumps++
    return answer(m)
  }
  const server = await start({ request, stallMs: 300 })
  const slow = await raw()
  slow.socket.pause()
  // Each answer is more than the backlog: only one may be outstanding, besides what the system's buffers hold.
  const parts = Math.ceil((BACKLOG * 1.5) / 416)
  for (let i = 0; i < 50; i++) slow.socket.write(frame(FRAME_NETLINK, dumpOf(parts)))
  const fast = await client()
  for (let i = 0; i < 20; i++) await fast.ask(message(RTM_NEWLINK, NLM_F_ACK))
  expect(dumps).toBeLessThan(4)
  await vi.waitFor(() => expect(server.sessions.size).toBe(1), { timeout: 5000 })
  expect(dumps).toBeLessThan(4)
})

test('a slow listener hears that it lost something, and goes on', async () => {
  const server = await start()
  const slow = await raw()
  slow.socket.write(numberFrame(FRAME_JOIN, RTNLGRP_TC))
  await vi.waitFor(() => expect([...server.sessions][0]?.groups.size).toBe(1))
  slow.socket.pause()
  const news = message(RTM_NEWTFILTER, 0, 4000)
  for (let i = 0; i < 2000; i++) server.tell(news)
  const [session] = server.sessions
  expect(session.backlog).toBeLessThan(BACKLOG + 2 * (news.length + FRAME_HEADER))
  slow.socket.resume()
  await vi.waitFor(() => expect(slow.frames.some((f) => f.kind === FRAME_OVERRUN)).toBe(true), { timeout: 5000 })
  const before = slow.frames.length
  expect(before).toBeLessThan(2000)
  await vi.waitFor(() => expect(session.backlog).toBe(0))
  server.tell(news)
  await vi.waitFor(() => expect(slow.frames.at(-1)?.kind).toBe(FRAME_NETLINK))
})

test('groups: who joined hears, until it leaves; the sender of an echo does not hear twice', async () => {
  const listening: number[][] = []
  const executor = here({
    request: (m) => {
      const d = viewOf(m)
      b.begin(RTM_NEWTFILTER, 0, msgSeq(d), msgPid(d))
      b.pad(20)
      const news = b.end()
      server.tell(news, executor.echoTo(news))
      return [...(msgFlags(d) & NLM_F_ECHO ? [news] : []), buildAck(m)]
    },
  })
  const server = await start({ listening: (groups) => listening.push([...groups]), executor })
  const [a, c] = [await raw(), await raw()]
  for (const [i, peer] of [a, c].entries()) {
    peer.socket.write(numberFrame(FRAME_PORT, 100 + i))
    peer.socket.write(numberFrame(FRAME_JOIN, RTNLGRP_TC))
  }
  await vi.waitFor(() => expect(listening.length).toBe(2))
  a.socket.write(frame(FRAME_NETLINK, message(RTM_NEWTFILTER, NLM_F_ECHO | NLM_F_ACK, 20)))
  const types = (p: typeof a): number[] => p.frames.map((f) => msgType(viewOf(f.payload)))
  await vi.waitFor(() => expect(types(c)).toEqual([RTM_NEWTFILTER]))
  await vi.waitFor(() => expect(types(a)).toEqual([RTM_NEWTFILTER, NLMSG_ERROR]))
  a.socket.write(frame(FRAME_NETLINK, message(RTM_NEWTFILTER, NLM_F_ACK, 20)))
  await vi.waitFor(() => expect(types(a)).toEqual([RTM_NEWTFILTER, NLMSG_ERROR, RTM_NEWTFILTER, NLMSG_ERROR]))
  a.socket.destroy()
  c.socket.destroy()
  await vi.waitFor(() => expect(listening.at(-1)).toEqual([]))
})

/** A process that listens and is killed. */
const LEAVE_SOCKET = "require('net').createServer().listen(process.argv[1], () => process.exit())"

test('the socket: for user and group; taken over when it is dead, not when it lives', async () => {
  const server = await start()
  expect(statSync(path).mode & 0o777).toBe(0o660)
  await expect(serve({ path, executor: here({ request: answer }) })).rejects.toMatchObject({ code: 'EADDRINUSE' })
  await server.close()
  expect(existsSync(path)).toBe(false)
  await promisify(execFile)(process.execPath, ['-e', LEAVE_SOCKET, path])
  expect(statSync(path).isSocket()).toBe(true)
  await start()
  await client()
  writeFileSync(join(dir, 'file'), '')
  await expect(serve({ path: join(dir, 'file'), executor: here({ request: answer }) })).rejects.toMatchObject({
    code: 'EADDRINUSE',
  })
})

test('too many clients: the next one is turned away', async () => {
  await start({ clients: 1 })
  const first = await client()
  const second = await raw()
  await second.closed
  expect(parseError((await first.ask(message(RTM_NEWLINK, NLM_F_ACK)))[0]).errno).toBe(0)
})

test('the end of the server waits for what was asked, and takes no more', async () => {
  const path = join(dir, 'drain.sock')
  let taken = 0
  const slowly: ServeOptions['executor'] = {
    ask(asker, datagram) {
      taken++
      setTimeout(() => {
        asker.answer(buildAck(datagram, asker.port))
        asker.done()
      }, 200)
    },
    more() {},
    gone() {},
  }
  const server = await serve({ path, executor: slowly })
  const client = await openClient(path)
  const asked = client.ask(message(RTM_NEWLINK, NLM_F_ACK))
  await vi.waitFor(() => expect(taken).toBe(1))
  const closed = server.close()
  const late = expect(client.ask(message(RTM_NEWLINK, NLM_F_ACK))).rejects.toThrow()
  expect(parseError((await asked)[0]).errno).toBe(0)
  await late
  await closed
  expect(taken).toBe(1)
  expect(existsSync(path)).toBe(false)
})
