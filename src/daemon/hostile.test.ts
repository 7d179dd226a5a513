// Hostile clients of a whole daemon, all kinds at once, and an honest one beside them: it is served all the time, its dumps
// are whole, and the daemon's memory stays bounded. (What the server does to each of them is in rtnl/server.test.ts.)
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { type Client, openClient } from '../rtnl/client.ts'
import { FRAME_HEADER, FRAME_MAX, FRAME_NETLINK, frame } from '../rtnl/frame.ts'
import { seeded } from '../rtnl/mutate.ts'
import { parseCommand } from '../tc/command.ts'
import { splitLine } from '../tc/line.ts'
import { msgType, NLMSG_DONE, NLMSG_ERROR, parseError, viewOf } from '../wire/netlink.ts'
import { type DaemonProcess, startProcess } from './process.fixture.ts'

let daemon: DaemonProcess | undefined
let sockets: Socket[] = []
afterEach(async () => {
  for (const s of sockets) s.destroy()
  sockets = []
  await daemon?.end()
  daemon = undefined
})

const RULES = 600
const ROUNDS = 8
// p0 is the daemon's only device behind lo.
const devices = { indexOf: () => 2, nameOf: () => 'p0' }
const requests = (line: string): Uint8Array[] => parseCommand(splitLine(line), devices).requests.map((m) => m.slice())
const rule = (i: number): Uint8Array =>
  requests(`tc filter add dev p0 ingress protocol ip pref 1 flower dst_ip 10.0.${i >> 8}.${i & 255} action drop`)[0]
const DUMP = requests('tc filter show dev p0 ingress')[0]

function peer(): Socket {
  const s = connect(daemon?.socket ?? '')
  s.on('error', () => {})
  sockets.push(s)
  return s
}

/** Asks, and expects an acknowledgement. */
async function done(client: Client, request: Uint8Array): Promise<void> {
  const answer = (await client.ask(request)).at(-1)
  expect(answer && msgType(viewOf(answer)) === NLMSG_ERROR && parseError(answer).errno).toBe(0)
}

const lengthOnly = (length: number): Uint8Array => new Uint8Array(new Uint32Array([length, FRAME_NETLINK]).buffer)

/** What is done to the daemon, by one connection each unless it makes more. */
const HOSTILE: Readonly<Record<string, () => void>> = {
  'asks for dumps and reads nothing': () => {
    const s = peer()
    s.pause()
    for (let i = 0; i < 100; i++) s.write(frame(FRAME_NETLINK, DUMP))
  },
  'writes without end and reads nothing': () => {
    const s = peer()
    s.pause()
    const much = Buffer.concat(Array.from({ length: 100 }, () => frame(FRAME_NETLINK, DUMP)))
    const write = (): void => {
      for (let n = 0; n < 50 && s.write(much); n++);
      s.once('drain', write)
    }
    write()
  },
  'writes requests without end, and reads': () => {
    const s = peer()
    s.resume()
    const many = Buffer.concat(Array.from({ length: 200 }, () => frame(FRAME_NETLINK, rule(1))))
    const write = (): void => {
      if (!s.destroyed) s.write(many, () => setImmediate(write))
    }
    write()
  },
  'says a huge length of a frame': () => void peer().write(lengthOnly(0xffffffff)),
  'says a length just too large': () => void peer().write(lengthOnly(FRAME_MAX + 1)),
  'says a huge length of a message': () => {
    const m = rule(1)
    viewOf(m).setUint32(0, 0x7fffffff, true)
    peer().write(frame(FRAME_NETLINK, m))
  },
  'stops in the middle of a header': () => void peer().write(lengthOnly(100).subarray(0, FRAME_HEADER - 3)),
  'stops in the middle of a message': () => void peer().write(frame(FRAME_NETLINK, rule(1)).subarray(0, 40)),
  'sends a byte at a time': () => {
    const s = peer()
    const bytes = frame(FRAME_NETLINK, DUMP)
    let i = 0
    const next = (): void => {
      if (!s.destroyed) s.write(bytes.subarray(i, ++i), () => setImmediate(next))
      if (i === bytes.length) i = 0
    }
    next()
  },
  'reads a dump drop by drop': () => {
    const s = peer()
    s.write(frame(FRAME_NETLINK, DUMP))
    s.on('data', () => {
      s.pause()
      setTimeout(() => s.resume(), 50)
    })
  },
  'goes in the middle of a dump, again and again': () => {
    let left = 40
    const next = (): void => {
      const s = peer()
      s.write(Buffer.concat([frame(FRAME_NETLINK, DUMP), frame(FRAME_NETLINK, DUMP)]))
      s.once('data', () => {
        s.destroy()
        if (--left > 0) next()
      })
    }
    next()
  },
  'opens more connections than there may be': () => {
    for (let i = 0; i < 700; i++) peer()
  },
  'speaks another language': () => {
    const random = seeded(7)
    for (let i = 0; i < 20; i++) peer().write(Uint8Array.from({ length: 1000 }, () => random(256)))
  },
}

const rss = (): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${daemon?.process.pid}/status`, 'utf8'))?.[1])

test('hostile clients hurt nobody but themselves', { timeout: 240_000 }, async () => {
  daemon = await startProcess({ ports: [{ name: 'p0' }] }, '--control-workers', '2')
  const honest = await openClient(daemon.socket)
  await done(honest, requests('tc qdisc add dev p0 clsact')[0])
  for (let i = 0; i < RULES; i += 100)
    await Promise.all(Array.from({ length: 100 }, (_, k) => done(honest, rule(i + k))))
  const filters = async (): Promise<number> => {
    const answer = await honest.ask(DUMP.slice())
    expect(msgType(viewOf(answer[answer.length - 1]))).toBe(NLMSG_DONE)
    return answer.length
  }
  const whole = await filters()
  expect(whole).toBeGreaterThan(RULES)
  const before = rss()
  for (const hurt of Object.values(HOSTILE)) hurt()
  for (let i = 0; i < ROUNDS; i++) {
    await done(honest, rule(RULES + i))
    expect(await filters()).toBe(whole + 1 + i)
  }
  // Kilobytes. Each of 512 clients may have a backlog of a megabyte, and few have.
  expect(rss() - before).toBeLessThan(400_000)
  for (const s of sockets) s.destroy()
  sockets = []
  // All of them are gone, and there is room for others.
  await expect
    .poll(
      async () => {
        const other = await openClient(daemon?.socket ?? '')
        const answered = await other.ask(DUMP.slice()).then(
          (a) => a.length,
          () => 0,
        )
        other.close()
        return answered
      },
      { timeout: 60_000 },
    )
    .toBe(whole + ROUNDS)
  honest.close()
  expect(daemon.log).not.toContain('"level":60')
  expect(await daemon.end()).toBe(0)
  daemon = undefined
})
