// The distribution's tc and ip, and our own front end, word for word the same: each line goes through both programs, to a
// switch of each one's own, and must send the same requests, print the same, say the same and end with the same status.
//
// The switches go through the same life, so a difference shows at the line where it begins. Left out of the comparison are
// sequence numbers and port ids, how the programs look up devices, ip's question whether there is RTM_NEWLINK, and how a
// command is used, which each tells in its own words.
import { execFile, execFileSync } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Client, openClient } from '../rtnl/client.ts'
import { here, type RtnlServer, serve } from '../rtnl/server.ts'
import { createSwitch } from '../switch/switch.ts'
import { splitLine } from '../tc/line.ts'
import { msgLen, msgType, viewOf } from '../wire/netlink.ts'
import { RTM_GETLINK, RTM_NEWLINK } from '../wire/rtm_link.ts'
import { DoorError, doorEnvironment, netlinkDoor } from './door.ts'
import { FrontEnd } from './front_end.ts'
import { folder } from './process.fixture.ts'

function missing(): string {
  try {
    if (!execFileSync('tc', ['-V'], { encoding: 'utf8' }).includes('iproute2-6.1')) return 'tc is not iproute2 6.1'
    netlinkDoor()
  } catch (e) {
    return e instanceof DoorError ? e.message : 'no iproute2'
  }
  return ''
}
const lacks = missing()
const dir = folder()
afterAll(() => rmSync(dir, { recursive: true, force: true }))

interface Said {
  status: number
  out: string
  err: string
}

interface Side {
  readonly server: RtnlServer
  readonly asked: Uint8Array[]
  close(): Promise<void>
}

let sides = 0
async function side(): Promise<Side> {
  const sw = createSwitch({
    ports: ['p0', 'p1'].map((name, i) => ({ name, mac: Uint8Array.of(2, 0, 0, 0, 0, i), mtu: 1500 })),
    arenaBytes: 192 * 1024 * 1024,
    packets: 64,
  })
  const asked: Uint8Array[] = []
  const executor = here({
    request(m) {
      asked.push(m.slice())
      return sw.answer(m)
    },
  })
  const server = await serve({ path: join(dir, `${++sides}.sock`), executor })
  return {
    server,
    asked,
    async close() {
      await server.close()
      sw.close()
    },
  }
}

const real = (socket: string, words: readonly string[]): Promise<Said> =>
  new Promise((resolve) => {
    const { LD_PRELOAD, FLOWERBED_RTNETLINK } = doorEnvironment(socket)
    // Of `simple` the environment goes along in the message: a small one.
    const env = { PATH: process.env.PATH, LD_PRELOAD, FLOWERBED_RTNETLINK }
    execFile(words[0], words.slice(1), { env }, (e, out, err) =>
      resolve({ status: e === null ? 0 : Number(e.code ?? -1), out, err }),
    )
  })

async function ours(client: Client, words: readonly string[]): Promise<Said> {
  const said: Said = { status: 0, out: '', err: '' }
  const frontEnd = new FrontEnd(client, {
    out: (text) => {
      said.out += text
    },
    err: (text) => {
      said.err += text
    },
    read: (path) => readFileSync(path, 'utf8'),
  })
  said.status = await frontEnd.run(words[0] as 'tc' | 'ip', words.slice(1))
  return said
}

/** Requests without what cannot be the same. */
function compared(asked: readonly Uint8Array[]): string[] {
  const probe = (m: Uint8Array): boolean => msgType(viewOf(m)) === RTM_NEWLINK && msgLen(viewOf(m)) === 32
  return asked
    .filter((m) => msgType(viewOf(m)) !== RTM_GETLINK && !probe(m))
    .map((m) => Buffer.from(m).fill(0, 8, 16).toString('hex'))
}

/** Without how a command is used, up to the next line that is tc's own again. */
function unused(err: string): string {
  const kept: string[] = []
  let usage = false
  for (const line of err.split('\n')) {
    if (/^\s*usage:/i.test(line)) usage = true
    else if (/^(bad |parse_action|Illegal|We have|RTNETLINK|Error:|Command |Unknown|What is)/.test(line)) usage = false
    if (!usage) kept.push(line)
  }
  return kept.join('\n').trimEnd()
}

const untimed = (text: string): string => text.replace(/((installed|used|firstused)"?:? ?)\d+/g, '$1N')

const TC = [
  'tc qdisc add dev p0 clsact',
  'tc qdisc show',
  'tc -color=never qdisc show dev p0',
  'tc qdisc add dev p0 handle ffff: ingress',
  'tc class show dev p0',
  'tc class ls dev p0 parent 1:',
  'tc class del dev p0 classid 1:1',
  'tc class add dev p0 handle 1:1',
  'tc filter add dev p0 ingress protocol ip pref 1 flower dst_ip 10.0.0.0/255.255.0.0 ip_flags frag action drop',
  'tc filter add dev p0 ingress protocol ip pref 2 u32 match mark 5 0xff match ip dst 1.2.3.4/24 action drop',
  'tc filter add dev p0 ingress protocol ip pref 3 handle 1 fw classid 98765fedcb action ok',
  'tc filter add dev p0 ingress protocol ip pref 4 flower dst_mac 2g:0:0:0:0:1z action drop',
  'tc filter add dev p0 ingress pref 5 matchall action mirred egress mirror dev p1 action vlan push id 5',
  'tc filter replace dev p0 ingress protocol ip pref 1 handle 1 flower dst_ip 10.1.0.1 action goto chain 3',
  'tc filter add dev p0 ingress pref 8 flower src_mac 1:2:3:4:5:6/ff dst_mac 1:2:3:4:5:6/12 action pass',
  'tc filter show dev p0 ingress',
  'tc -s -j filter show dev p0 ingress',
  'tc -br filter show dev p0 ingress',
  'tc filter get dev p0 ingress protocol ip pref 1 handle 1 flower',
  'tc filter del dev p0 ingress pref 9',
  'tc filter add dev p0 ingress protocol ip pref 6 flower action flowid',
  'tc chain add dev p0 ingress chain 7 protocol ip flower dst_ip 0.0.0.0/16',
  'tc chain show dev p0 ingress',
  'tc actions add action gate index 20 sched-entry open 200000000ns -1 8000000b sched-entry close 100000000ns',
  'tc actions replace action gate base-time 400000000000ns index 20',
  'tc actions list action gate',
  'tc actions add action skbmod set dmac 11:22:33:44:55:66 etype 0xBEEF index 5',
  'tc actions add action skbmod set smac 00:44:55:44:55',
  'tc actions add action pedit munge offset 12 u32 set 0x12345678 retain x',
  'tc actions add action pedit munge offset 12 u16 pipe',
  'tc actions add action csum icmp index 3 add action',
  'tc actions add action csum icmp index 4 delete action csum index 3',
  'tc actions get action csum index 4',
  'tc actions flush action csum',
]

const IP = [
  'ip link add d0 type dummy',
  'ip link add name vx0 type vxlan id 5 remote 10.0.0.2 dstport 4789',
  'ip link add ii0 type ipip local 10.0.0.1 remote 10.0.0.2',
  'ip link add si0 type sit local 10.0.0.1 remote 10.0.0.2 mode any',
  'ip link add i60 type ip6tnl local fd00::1 remote fd00::2 mode ip6ip6',
  'ip -d link show',
  'ip -j -d link show ii0',
  'ip link set p0 mtu 1400',
  'ip link set p1 mtu bogus',
  'ip link help',
  'ip addr add 10.0.0.1/24 dev p0',
  'ip addr add 10.0.1.1/24 brd + dev p0 label p0:1',
  'ip addr add fd00::1/64 dev p1',
  'ip addr show',
  'ip -j addr show type dummy',
  'ip -4 addr show type vxlan',
  'ip route add 20.0.0.0/8 via 10.0.0.2',
  'ip route add 21.0.0.0/8 dev p0 metric 5',
  'ip route show table all',
  'ip route get 20.0.0.1 from 10.0.0.1',
  'ip route get 20.0.0.1 ipproto udp sport 5 dport 53 mark 7 uid 0',
  'ip route get 20.0.0.0/8',
  'ip route get fd00::9 dev p1',
  'ip route get',
  'ip neigh add 10.0.0.2 lladdr 02:11:22:33:44:55 dev p0',
  'ip neigh add 10.0.0.3 lladdr 02:11:22:33:44:56 dev p0 nud stale',
  'ip neigh add proxy 10.0.0.14 dev p0',
  'ip neigh get proxy 10.0.0.14 dev p0',
  'ip neigh show nud all',
  'ip neigh flush dev p0',
  'ip neigh show',
  'ip route flush dev p0',
  'ip addr flush dev p0',
  'ip addr flush dev p1',
  'ip addr show',
  'ip addr flush dev nowhere',
  'ip link del d0 type dummy',
]

describe.skipIf(lacks !== '')(`tc, ip and ours${lacks && `: skipped, ${lacks}`}`, { timeout: 120_000 }, () => {
  let [theirs, mine]: Side[] = []
  let client: Client
  beforeEach(async () => {
    theirs = await side()
    mine = await side()
    client = await openClient(mine.server.path)
  }, 120_000)
  afterEach(async () => {
    client.close()
    await theirs.close()
    await mine.close()
  })

  test.each([
    ['tc', TC],
    ['ip', IP],
  ] as const)('%s', async (_, lines) => {
    for (const line of lines) {
      theirs.asked.length = 0
      mine.asked.length = 0
      const words = splitLine(line)
      const expected = await real(theirs.server.path, words)
      const said = await ours(client, words)
      const whole = (s: Said, asked: readonly Uint8Array[]): object => ({
        line,
        requests: compared(asked),
        status: s.status,
        out: untimed(s.out),
        err: unused(s.err),
      })
      expect(whole(said, mine.asked)).toEqual(whole(expected, theirs.asked))
    }
  })

  test('a device that somebody has made anew has another number', async () => {
    const other = await openClient(mine.server.path)
    const said = { out: (): void => {}, err: (): void => {}, read: (): string => '' }
    const [we, they] = [new FrontEnd(client, said), new FrontEnd(other, said)]
    const run = (who: FrontEnd, line: string): Promise<number> => {
      const [program, ...words] = splitLine(line)
      return who.run(program as 'tc' | 'ip', words)
    }
    const qdisc = 'tc qdisc add dev d1 clsact'
    const filter = 'tc filter add dev d1 ingress protocol ip pref 1 flower action drop'
    expect(await run(they, 'ip link add d1 type dummy')).toBe(0)
    expect(await run(we, qdisc)).toBe(0)
    expect(await run(they, 'ip link del d1')).toBe(0)
    // It is gone, and that is what we are told.
    expect(await run(we, filter)).not.toBe(0)
    expect(await run(they, 'ip link add d1 type dummy')).toBe(0)
    expect(await run(we, qdisc)).toBe(0)
    expect(await run(they, 'ip link del d1')).toBe(0)
    expect(await run(they, 'ip link add d1 type dummy')).toBe(0)
    expect(await run(they, qdisc)).toBe(0)
    expect(await run(we, filter)).toBe(0)
    other.close()
  })
})
