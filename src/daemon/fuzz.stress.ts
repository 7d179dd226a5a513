// The mutation fuzzer of the rtnetlink border, a short one as a test:
//
//   npm run fuzz:rtnl -- [--messages N] [--seed N] [--seconds N]
//
// Valid requests of all families, and mutations of them, go to a switch. None may throw, hang, or be answered with what is
// no answer; a refused one must leave everything as it was, which dumps of every table say, byte for byte (taken now and
// then: they cost more than the messages). At the end of each world everything is deleted, and no more objects may be in
// use than in a world that saw nothing. With --seconds it goes on from seed to seed until the time is over.

import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { actionKinds } from '../action/index.ts'
import { inUse, reclaim } from '../memory/pool.ts'
import { netdevName, nextNetdev } from '../net/netdev.ts'
import { execute } from '../replay/execute.ts'
import { receive } from '../rtnl/datagram.ts'
import { mutate, seeded } from '../rtnl/mutate.ts'
import { createSwitch, type Switch } from '../switch/switch.ts'
import { parseCommand } from '../tc/command.ts'
import { splitLine } from '../tc/line.ts'
import { msgLen, msgType, NLMSG_DONE, NLMSG_ERROR, parseError, viewOf } from '../wire/netlink.ts'

const WORLD = [
  'ip link add vxlan0 type vxlan external dstport 4789',
  'ip link set vxlan0 up',
  'ip addr add 10.0.1.1/24 dev p1',
  'ip neigh add 10.0.1.2 lladdr 02:11:00:00:01:02 dev p1 nud permanent',
  'tc qdisc add dev p0 clsact',
]

const LINES = [
  'ip link add vxlan1 type vxlan id 5 remote 10.0.1.2 dstport 4790',
  'ip link add d0 type dummy',
  'ip link set d0 up mtu 1400',
  'ip link del d0',
  'ip addr add 10.0.2.1/24 dev p2',
  'ip -6 addr add fd00:1::1/64 dev p1',
  'ip addr del 10.0.2.1/24 dev p2',
  'ip route add 20.0.0.0/8 via 10.0.1.2',
  'ip -6 route add fd00:2::/64 dev p1',
  'ip route del 20.0.0.0/8',
  'ip route get 10.0.1.2',
  'ip neigh replace 10.0.1.3 lladdr 02:11:00:00:01:03 dev p1',
  'ip neigh del 10.0.1.3 dev p1',
  'tc qdisc add dev p1 ingress',
  'tc qdisc del dev p1 ingress',
  'tc chain add dev p0 ingress chain 5',
  'tc chain del dev p0 ingress chain 5',
  'tc filter add dev p0 ingress protocol ip pref 10 flower ip_proto udp dst_port 53 action drop',
  'tc filter replace dev p0 ingress protocol ip pref 10 handle 1 flower ip_proto udp dst_port 54 action pass',
  'tc filter add dev p0 ingress protocol ip pref 20 flower dst_ip 1.2.3.0/24 action tunnel_key set src_ip 10.0.1.1 dst_ip 10.0.1.2 id 7 dst_port 4789 action mirred egress redirect dev vxlan0',
  'tc filter add dev p0 ingress protocol 802.1q pref 30 flower vlan_id 5 vlan_prio 3 action vlan pop pipe action goto chain 5',
  'tc filter add dev vxlan0 ingress protocol ip pref 40 flower enc_key_id 7 enc_dst_port 4789 action tunnel_key unset action mirred egress redirect dev p1',
  'tc filter add dev p0 egress protocol ipv6 pref 50 flower src_ip fd00::/16 ip_ttl 3 action mirred egress mirror dev p2 action gact drop',
  'tc filter del dev p0 ingress pref 10',
  'tc filter show dev p0 ingress',
  'tc actions add action gact pass index 5',
  'tc actions add action vlan push id 9 index 6',
  'tc actions list action gact',
  'tc actions del action gact index 5',
  'tc actions flush action vlan',
]

const DUMPS = [
  'ip -d link show',
  'ip addr show',
  'ip route show table all',
  'ip -6 route show table all',
  'ip neigh show nud all',
  'tc qdisc show',
  'tc chain show dev p0 ingress',
  'tc filter show dev p0 ingress',
  'tc filter show dev p0 egress',
  'tc filter show dev p1 ingress',
  'tc filter show dev vxlan0 ingress',
  'tc actions list action gact',
  'tc actions list action vlan',
  'tc actions list action mirred',
  'tc actions list action tunnel_key',
]

function world(): Switch {
  const sw = createSwitch({
    ports: ['p0', 'p1', 'p2'].map((name, i) => ({ name, mac: Uint8Array.of(2, 0, 0, 0, 0, i), mtu: 1500 })),
    arenaBytes: 256 * 1024 * 1024,
  })
  for (const line of WORLD) execute(sw, splitLine(line))
  return sw
}

/** The requests for everything that can be asked. */
const dumps = (sw: Switch): Uint8Array[] => DUMPS.flatMap((line) => parse(sw, line))

/** Everything that can be asked, as bytes; what a dump refuses is part of it. */
const all = (sw: Switch, questions: readonly Uint8Array[]): Buffer =>
  Buffer.concat(questions.flatMap((q) => sw.request(q.slice())))

/** What may not be more in use after everything was deleted. */
const COUNTED = [
  'flow',
  'program',
  'mask',
  'prio',
  'chain',
  'action',
  'list',
  'key',
  'template',
  'encap',
  'encap_header',
]

/** Deletes qdiscs, actions and tunnel devices; then how many objects of each kind are left. */
function emptied(sw: Switch): Record<string, number> {
  for (let dev = nextNetdev(sw.arena, 0); dev !== 0; dev = nextNetdev(sw.arena, dev))
    for (const kind of ['clsact', 'ingress'])
      for (const m of parse(sw, `tc qdisc del dev ${netdevName(sw.arena, dev)} ${kind}`)) sw.request(m)
  for (let dev = nextNetdev(sw.arena, 0); dev !== 0; dev = nextNetdev(sw.arena, dev))
    for (const m of parse(sw, `ip link del ${netdevName(sw.arena, dev)}`)) sw.request(m)
  for (const { name } of actionKinds) for (const m of parse(sw, `tc actions flush action ${name}`)) sw.request(m)
  for (let i = 0; i < 3; i++) {
    sw.datapath.quiescent()
    reclaim(sw.arena)
  }
  const used = inUse(sw.arena)
  return Object.fromEntries(COUNTED.map((tag) => [tag, used[tag] ?? 0]))
}

export interface FuzzResult {
  readonly sent: number
  readonly refused: number
  readonly accepted: number
}

/** Sends so many messages. Throws, with seed and message, at the first that is not answered as it should be. */
export function fuzz(messages: number, seed: number, checkEvery = 50): FuzzResult {
  const random = seeded(seed)
  const result = { sent: 0, refused: 0, accepted: 0 }
  const fresh = world()
  const base = JSON.stringify(emptied(fresh))
  fresh.close()
  let sw = world()
  let questions = dumps(sw)
  const end = (): void => {
    const left = JSON.stringify(emptied(sw))
    if (left !== base) throw new Error(`objects are left: ${left}, not ${base} (seed ${seed}, message ${result.sent})`)
    sw.close()
  }
  const seeds = (): Uint8Array[] => LINES.flatMap((line) => parse(sw, line))
  let known = seeds()
  for (; result.sent < messages; result.sent++) {
    // From time to time a new world: mutations that were accepted have taken the old one apart.
    if (result.sent % 5000 === 4999) {
      end()
      sw = world()
      questions = dumps(sw)
      known = seeds()
    }
    const m =
      random(10) === 0
        ? known[random(known.length)].slice()
        : mutate(known[random(known.length)], known[random(known.length)], random)
    const check = random(checkEvery) === 0
    const before = check ? all(sw, questions) : null
    const fail = (what: string): never => {
      throw new Error(`${what} (seed ${seed}, message ${result.sent}): ${Buffer.from(m).toString('hex')}`)
    }
    let refused = false
    try {
      for (const r of receive(sw, m, 4711)) {
        if (msgLen(viewOf(r)) !== r.length) fail('a reply whose length is not its own')
        const type = msgType(viewOf(r))
        if (type === NLMSG_ERROR && parseError(r).errno !== 0) refused = true
        else if (type < 16 && type !== NLMSG_ERROR && type !== NLMSG_DONE) fail(`a reply of type ${type}`)
      }
    } catch (e) {
      fail(`threw ${(e as Error).stack}`)
    }
    if (refused) result.refused++
    else result.accepted++
    if (before !== null && refused && !all(sw, questions).equals(before))
      fail('a refused request has changed something')
  }
  end()
  return result
}

/** The messages of a line; of one that names a device which is not there now, none. */
function parse(sw: Switch, line: string): readonly Uint8Array[] {
  try {
    return parseCommand(splitLine(line), sw.devices).requests.map((m) => m.slice())
  } catch {
    // vxlan1, d0: they come and go with what the fuzzer does.
    return []
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { values } = parseArgs({
    options: {
      messages: { type: 'string', default: '5000000' },
      seed: { type: 'string', default: String(process.pid) },
      seconds: { type: 'string' },
    },
  })
  const seconds = values.seconds === undefined ? Number.POSITIVE_INFINITY : Number(values.seconds)
  const began = performance.now()
  const passed = (): number => (performance.now() - began) / 1000
  const sum = { sent: 0, refused: 0, accepted: 0 }
  let seed = Number(values.seed)
  const first = seed
  for (let left = Number(values.messages); left > 0 && passed() < seconds; seed++) {
    const r = fuzz(Math.min(left, 20_000), seed, 500)
    sum.sent += r.sent
    sum.refused += r.refused
    sum.accepted += r.accepted
    left -= r.sent
  }
  process.stdout.write(
    `${sum.sent} messages, ${sum.refused} refused, ${sum.accepted} accepted, ${Math.round(sum.sent / passed())}/s, ` +
      `seeds ${first} to ${seed - 1}\n`,
  )
}
