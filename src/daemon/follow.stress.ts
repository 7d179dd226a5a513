// How fast packets follow the kernel: a measurement, not a test.
//
//   npm run bench:follow [-- --rounds 20 --driver af_xdp --family 4]
//
// Real interfaces in namespaces (root), a datagram every millisecond into a tunnel, everything that leaves captured at the
// other end (moving_world.fixture.ts). Each change is one rtnetlink request to the kernel, sent by this process; its moment is
// the one just before. From there to the last packet on the old path, and to the first one on the new path, by the
// capture's timestamps; of so many rounds the median and the worst.

import { closeSync, openSync } from 'node:fs'
import { execute, type Kernel } from '../replay/execute.ts'
import {
  AF_NETLINK,
  bind,
  CLONE_NEWNET,
  clockRealtime,
  ifindexOf,
  recv,
  SOCK_RAW,
  sendto,
  setns,
  socket,
} from '../sys/libc.ts'
import { msgFlags, NLM_F_ACK, NLMSG_ERROR, parseError, setMsgFlags, viewOf } from '../wire/netlink.ts'
import { NetlinkError } from '../wire/netlink_error.ts'
import { type MovingWorld, makeMovingWorld, type Seen } from './moving_world.fixture.ts'
import { whyNoNamespaces } from './netns.fixture.ts'

/** Between two changes, ms: what the first one brought has ended. */
const PAUSE = 400

/** One measured round: ms from the kernel's event. */
interface Round {
  readonly lastOld: number
  readonly firstNew: number
}

/** The kernel of a namespace, as one who answers requests; `at`: when it was asked last, ns since 1970. */
interface Door extends Kernel {
  at: number
  close(): void
}

/** rtnetlink of the namespace, whichever thread asks. */
function openDoor(namespace: string): Door {
  const here = openSync('/proc/thread-self/ns/net', 'r')
  const there = openSync(`/run/netns/${namespace}`, 'r')
  setns(there, CLONE_NEWNET)
  const fd = socket(AF_NETLINK, SOCK_RAW, 0)
  const address = new Uint8Array(12)
  new DataView(address.buffer).setUint16(0, AF_NETLINK, true)
  bind(fd, address, 'rtnetlink')
  const names = new Map(['lo', 'p0', 'p1', 'p2'].map((name) => [name, ifindexOf(name)]))
  setns(here, CLONE_NEWNET)
  closeSync(there)
  closeSync(here)
  const buffer = new Uint8Array(65536)
  const door: Door = {
    at: 0,
    devices: {
      indexOf: (name) => names.get(name) ?? 0,
      nameOf: (i) => [...names].find(([, index]) => index === i)?.[0] ?? `if${i}`,
    },
    ask(message) {
      const d = viewOf(message)
      setMsgFlags(d, 0, msgFlags(d) | NLM_F_ACK)
      door.at = clockRealtime()
      sendto(fd, message, message.length, 0)
      const n = recv(fd, buffer, buffer.length, 0)
      const reply = buffer.slice(0, n)
      if (viewOf(reply).getUint16(4, true) !== NLMSG_ERROR) return ''
      const { errno, message: why } = parseError(reply)
      if (errno !== 0) throw new NetlinkError(Math.abs(errno), why ?? '')
      return why
    },
    close: () => closeSync(fd),
  }
  return door
}

/** A kind of change: what is done before and by which packets have followed. */
interface Kind {
  readonly name: string
  /** Makes the world ready, and says which packets go the old way. */
  ready(i: number): (s: Seen) => boolean
  /** The `ip` lines of the event; the last one's moment counts. */
  event(i: number): string | readonly string[]
}

function kinds(w: MovingWorld, ip: (line: string) => void, macs: readonly string[]): Kind[] {
  const hop = w.nexthop(1)
  const fake = (i: number): string => `02:bb:00:00:00:${(i % 250).toString(16).padStart(2, '0')}`
  const via = (i: number): string => `route replace ${w.end} via ${w.nexthop(i)} dev p${i}`
  const permanent = (mac: string): string => `neigh replace ${hop} dev p1 lladdr ${mac} nud permanent`
  return [
    {
      name: 'another MAC',
      ready: (i) => {
        ip(permanent(fake(2 * i)))
        return (s) => s.mac === fake(2 * i)
      },
      event: (i) => permanent(fake(2 * i + 1)),
    },
    {
      name: 'deleted',
      ready: (i) => {
        ip(permanent(fake(i)))
        return (s) => s.mac === fake(i)
      },
      event: () => `neigh del ${hop} dev p1`,
    },
    {
      name: 'failed',
      ready: (i) => {
        ip(permanent(fake(i)))
        return (s) => s.mac === fake(i)
      },
      event: () => `neigh change ${hop} dev p1 nud failed`,
    },
    {
      name: 'route moved',
      ready: (i) => {
        ip(permanent(macs[0]))
        ip(via(1 + (i % 2)))
        return (s) => s.uplink === 1 + (i % 2)
      },
      event: (i) => via(2 - (i % 2)),
    },
    {
      name: 'link down',
      ready: () => {
        ip('link set p1 up')
        ip(via(1))
        return (s) => s.uplink === 1
      },
      event: () => 'link set p1 down',
    },
    {
      // The kernel has dropped the route with the link: it is there again with the second request.
      name: 'link up, route',
      ready: () => {
        ip('link set p1 down')
        return (s) => s.uplink === 2
      },
      event: () => ['link set p1 up', via(1)],
    },
  ]
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Measures all kinds, `rounds` times each. */
export async function follow(rounds: number, driver: string, family: 4 | 6): Promise<Map<string, Round[]>> {
  const w = await makeMovingWorld(driver, family)
  const results = new Map<string, Round[]>()
  const door = openDoor(w.f.name)
  try {
    const ip = (line: string): void => void execute(door, ['ip', ...(family === 6 ? ['-6'] : []), ...line.split(' ')])
    const macs = [1, 2].map((i) => /link\/ether (\S+)/.exec(w.b.ip(`link show dev b${i}`))![1])
    w.send(1)
    while (!(await w.encap()).fast) await sleep(50)
    // Resolved before it is needed, and the way that is left while p1 is down.
    ip(`neigh replace ${w.nexthop(2)} dev p2 lladdr ${macs[1]} nud permanent`)
    ip(`route append ${w.end} via ${w.nexthop(2)} dev p2 metric 4000`)
    for (const kind of kinds(w, ip, macs)) {
      const all: Round[] = []
      let stalls = 0
      for (let i = 0; i < rounds; i++) {
        const isOld = kind.ready(i)
        await sleep(PAUSE)
        for (const line of [kind.event(i)].flat()) ip(line)
        const at = door.at
        await sleep(PAUSE)
        const seen = w.seen().filter((s) => s.time > at - PAUSE * 1e6 && s.time < at + PAUSE * 1e6)
        const ms = (time: number | undefined): number => (time === undefined ? Number.NaN : (time - at) / 1e6)
        const old = seen.filter(isOld)
        // A machine that stands still sends nothing, and shows nothing: once more.
        if (old.length === 0) {
          if (++stalls > rounds) throw new Error(`${kind.name}: no packet took the old path before the event`)
          i--
          continue
        }
        all.push({
          lastOld: Math.max(0, ...old.map((s) => ms(s.time))),
          firstNew: ms(seen.filter((s) => !isOld(s) && s.time > at).sort((x, y) => x.time - y.time)[0]?.time),
        })
      }
      results.set(kind.name, all)
    }
    return results
  } finally {
    door.close()
    await w.close()
  }
}

const median = (values: readonly number[]): number =>
  [...values].sort((x, y) => x - y)[values.length >> 1] ?? Number.NaN

if (process.argv[1]?.includes('follow')) {
  const option = (name: string, value: string): string => {
    const at = process.argv.indexOf(`--${name}`)
    return at < 0 ? value : process.argv[at + 1]
  }
  const missing = whyNoNamespaces('tcpdump')
  if (missing !== '') {
    console.error(`follow: ${missing}`)
    process.exit(3)
  }
  const rounds = Number(option('rounds', '20'))
  const family = option('family', '4') === '6' ? 6 : 4
  const results = await follow(rounds, option('driver', 'af_xdp'), family)
  console.log(`ms from the kernel's event, by capture timestamps; ${rounds} rounds each`)
  console.log('event          last packet on the old path    first one on the new path')
  console.log('                  median       worst             median       worst')
  const text = (values: readonly number[]): string => {
    const known = values.filter((v) => !Number.isNaN(v))
    const number = (v: number): string => v.toFixed(1).padStart(10)
    return `${number(median(known))}  ${number(Math.max(...known))}`
  }
  for (const [name, all] of results)
    console.log(`${name.padEnd(14)} ${text(all.map((r) => r.lastOld))}        ${text(all.map((r) => r.firstNew))}`)
}
