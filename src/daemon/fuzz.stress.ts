// The mutation fuzzer of the rtnetlink border, a short one as a test:
//
//   npm run fuzz:rtnl -- [--messages N] [--seed N] [--seconds N] [--jobs N] [--stacks]
//
// Valid requests of all families, and mutations of them, go to a switch. None may throw, hang, or be answered with what is no
// answer, or be refused without a word, but for the errnos of WORDLESS. What a refused one does is held against a second switch, the shadow, which is
// given the accepted ones only: now and then, and at the end of each world, both must show the same, byte for byte, in
// dumps of every table. A difference is looked for again, message by message. At the end of each world everything is
// deleted, and no more objects may be in use than in a world that saw nothing.
//
// A run is made of seeds, each a life of two switches; the seed and the number of a message say what it was. --jobs does
// several at a time; one from which nothing is heard for five minutes hangs, and is reported with its seed. --stacks keeps the
// stacks of errors, which cost more than the messages.

import { fork } from 'node:child_process'
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
import {
  attrLen,
  attrString,
  lastAttr,
  msgLen,
  msgType,
  NLMSG_DONE,
  NLMSG_ERROR,
  parseError,
  viewOf,
} from '../wire/netlink.ts'
import {
  EADDRNOTAVAIL,
  EAFNOSUPPORT,
  EBUSY,
  EEXIST,
  EHOSTUNREACH,
  EINVAL,
  ENETUNREACH,
  ENODEV,
  ENOENT,
  ENOSPC,
  EOPNOTSUPP,
  EPERM,
  ERANGE,
  ESRCH,
} from '../wire/netlink_error.ts'
import { RTM_GETROUTE } from '../wire/rtm_route.ts'
import { TCA_FLOWER_FLAGS } from '../wire/tca_flower.ts'
import { TCA_MATCHALL_FLAGS } from '../wire/tca_matchall.ts'
import { TCA_U32_FLAGS } from '../wire/tca_u32.ts'
import {
  RTM_NEWTFILTER,
  TCA_CLS_FLAGS_SKIP_SW,
  TCA_CLS_FLAGS_VERBOSE,
  TCA_KIND,
  TCA_OPTIONS,
  TCMSG_ATTRS,
} from '../wire/tcm.ts'

const WORLD = [
  'ip link add vxlan0 type vxlan external dstport 4789',
  'ip link set vxlan0 up',
  'ip addr add 10.0.1.1/24 dev p1',
  'ip neigh add 10.0.1.2 lladdr 02:11:00:00:01:02 dev p1 nud permanent',
  'tc qdisc add dev p0 clsact',
]

const LINES = [
  'ip link add vxlan1 type vxlan id 5 remote 10.0.1.2 dstport 4790',
  'ip link add gn0 type geneve id 5 remote 10.0.1.2',
  'ip link add gr0 type gretap local 10.0.1.1 remote 10.0.1.2 key 5',
  'ip link add er0 type erspan local 10.0.1.1 remote 10.0.1.2 key 5 seq erspan_ver 2 erspan_dir egress erspan_hwid 7',
  'ip link add ii0 type ipip local 10.0.1.1 remote 10.0.1.2',
  'ip link add ba0 type bareudp dstport 6635 ethertype mpls_uc',
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
  'tc filter add dev p0 ingress pref 60 matchall action skbedit mark 7/0xff priority 1:2 pipe action sample rate 10 group 5',
  'tc filter add dev p0 ingress protocol ip pref 70 u32 match ip dst 1.2.3.0/24 match u16 5 0xff at 20 classid 1:1 action pass',
  'tc filter add dev p0 ingress protocol ip pref 70 handle 1: u32 divisor 16',
  'tc filter add dev p0 ingress protocol ip pref 80 handle 5/0xff fw classid 1:2 action drop',
  'tc filter add dev p0 ingress protocol mpls_uc pref 90 flower mpls lse depth 1 label 5 lse depth 2 ttl 3 action mpls pop protocol ip',
  'tc filter add dev p0 ingress protocol ip pref 91 flower geneve_opts 0102:80:00880022/ffff:ff:ffffffff ct_state +trk+est ct_zone 3 action ct commit nat src addr 1.2.3.4',
  'tc filter add dev p0 ingress protocol ip pref 92 flower ip_proto tcp src_port 10-20 tcp_flags 2 action pedit ex munge ip ttl dec munge tcp dport set 80 pipe action csum ip tcp',
  'tc filter add dev p0 ingress protocol ip pref 93 flower action police rate 1mbit burst 10k conform-exceed drop/pipe action nat ingress 10.0.0.0/8 1.2.3.4',
  'tc chain add dev p0 ingress chain 6 protocol ip flower dst_ip 0.0.0.0/24 ip_proto udp',
  'tc filter del dev p0 ingress pref 10',
  'tc filter show dev p0 ingress',
  'tc actions add action gact pass index 5',
  'tc actions add action vlan push id 9 index 6',
  'tc actions add action tunnel_key set src_ip 1.1.1.1 dst_ip 2.2.2.2 id 42 dst_port 6081 geneve_opts 0102:80:00880022,0408:42:00400076 index 9',
  'tc actions add action gate index 20 sched-entry open 200000000ns -1 8000000b sched-entry close 100000000ns',
  'tc actions replace action gate base-time 400000000000ns index 20',
  'tc actions add action connmark zone 5 action ctinfo dscp 0xfc000000 0x1000000 action skbmod swap mac action simple sdata x',
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
      for (const m of read(sw, ['tc', 'qdisc', 'del', 'dev', netdevName(sw.arena, dev), kind])) sw.request(m)
  for (let dev = nextNetdev(sw.arena, 0); dev !== 0; dev = nextNetdev(sw.arena, dev))
    for (const m of read(sw, ['ip', 'link', 'del', 'dev', netdevName(sw.arena, dev)])) sw.request(m)
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

/** Messages after which a new pair of worlds begins: mutations that were accepted take the old ones apart. */
const LIFE = 5000

/**
 * Errnos that Linux 6.1 answers without a text at some of their places, and so does flowerbed, since `tc` prints the one
 * and not the other: what is wrong stands in the errno itself.
 */
const WORDLESS: ReadonlyMap<number, string> = new Map([
  [EEXIST, 'File exists: a rule, device, address, route, neighbour, or action that is there'],
  [ENOENT, 'No such file or directory: a neighbour, a handle that is not there'],
  [ESRCH, 'No such process: a route to delete that is not there'],
  [ENODEV, 'No such device'],
  [EADDRNOTAVAIL, 'Cannot assign requested address: an address that no device may have, or has'],
  [EAFNOSUPPORT, 'Address family not supported by protocol'],
  [EHOSTUNREACH, 'No route to host: what route get says'],
  [ENETUNREACH, 'Network is unreachable: what route get says'],
  [EBUSY, 'Device or resource busy: the name of a device that is up'],
  [EPERM, 'Operation not permitted: actions to flush that filters use'],
  [ENOSPC, 'No space left on device: no index is left'],
  [ERANGE, 'Numerical result out of range: of a VLAN id, and of an attribute of flower that is too short'],
])
/** EINVAL and EOPNOTSUPP say little, and have a text but for what a kernel was seen to answer without one. */
function mayBeWordless(errno: number, m: Uint8Array): boolean {
  if (WORDLESS.has(errno)) return true
  const type = msgType(viewOf(m))
  // route get, of an address behind a blackhole, or from one that no packet may have.
  if (errno === EINVAL && type === RTM_GETROUTE) return true
  // An average rate without an estimator beside it (tcf_police_init).
  if (errno === EINVAL && Buffer.from(m).includes('police\0')) return true
  return (errno === EINVAL || errno === EOPNOTSUPP) && type === RTM_NEWTFILTER && refusesByFlags(m)
}

/** Where each classifier has its flags. */
const FLAGS: Readonly<Record<string, number>> = {
  flower: TCA_FLOWER_FLAGS,
  matchall: TCA_MATCHALL_FLAGS,
  u32: TCA_U32_FLAGS,
}

/** Does the filter want both sides skipped, or a bit that is none (EINVAL), or hardware that is not there (EOPNOTSUPP)? */
function refusesByFlags(m: Uint8Array): boolean {
  const d = viewOf(m)
  const options = lastAttr(d, TCMSG_ATTRS, m.length, TCA_OPTIONS)
  if (options === 0) return false
  // Without a kind it is that of the preference.
  const kind = lastAttr(d, TCMSG_ATTRS, m.length, TCA_KIND)
  const types = kind === 0 ? Object.values(FLAGS) : [FLAGS[attrString(d, kind)] ?? 0]
  return types.some((type) => {
    const at = lastAttr(d, options, options + attrLen(d, options), type)
    if (at === 0 || attrLen(d, at) < 4) return false
    const flags = (d.getUint32(at, true) & ~TCA_CLS_FLAGS_VERBOSE) >>> 0
    return (flags & TCA_CLS_FLAGS_SKIP_SW) !== 0 || flags > TCA_CLS_FLAGS_SKIP_SW
  })
}

/** RTM_GET*: changes nothing, and need not be told to the shadow. */
const asksOnly = (m: Uint8Array): boolean => (msgType(viewOf(m)) & 3) === 2

/** The switch that sees everything, and the one that sees what was accepted. */
class Pair {
  readonly sw = world()
  readonly shadow = world()
  readonly #questions = dumps(this.sw)

  /** Do both show the same? */
  get agree(): boolean {
    return all(this.sw, this.#questions).equals(all(this.shadow, this.#questions))
  }

  close(): void {
    this.sw.close()
    this.shadow.close()
  }
}

const NO_ERROR = { errno: 0, message: '' }

type Fail = (what: string) => never

/** Gives the message to the switch; true when it was refused. */
function give(sw: Switch, m: Uint8Array, fail: Fail): boolean {
  let refused = false
  try {
    for (const r of receive(sw, m.slice(), 4711)) {
      if (msgLen(viewOf(r)) !== r.length) fail('a reply whose length is not its own')
      const type = msgType(viewOf(r))
      const { errno, message } = type === NLMSG_ERROR ? parseError(r) : NO_ERROR
      if (errno !== 0 && message === '' && !mayBeWordless(errno, m)) fail(`refused without a word: errno ${errno}`)
      if (errno !== 0) refused = true
      if (type < 16 && type !== NLMSG_ERROR && type !== NLMSG_DONE) fail(`a reply of type ${type}`)
    }
  } catch (e) {
    if ((e as Error).message.includes('(seed ')) throw e
    fail(`threw ${(e as Error).stack}`)
  }
  return refused
}

/** How often a run looks at what both switches show. */
export interface Looks {
  /** Messages between two looks. */
  readonly every: number
  /** No look before this message. */
  readonly from?: number
}

/**
 * Sends so many messages. Throws, with seed and message, at the first that is not answered as it should be. With a look at
 * every message it says which one made the switches differ.
 */
export function fuzz(messages: number, seed: number, looks: Looks, progress?: (sent: number) => void): FuzzResult {
  const random = seeded(seed)
  const result = { sent: 0, refused: 0, accepted: 0 }
  const fresh = world()
  const base = JSON.stringify(emptied(fresh))
  fresh.close()
  let pair = new Pair()
  const seeds = (): Uint8Array[] => LINES.flatMap((line) => parse(pair.sw, line))
  let known = seeds()
  let equal = 0
  const compare = (fail: Fail): void => {
    if (!pair.agree)
      fail(
        looks.every === 1
          ? 'a refused request has changed something'
          : `a refused request has changed something, behind message ${equal}; fuzz(${result.sent + 1}, ${seed}, { every: 1, from: ${equal} }) says which`,
      )
    equal = result.sent
  }
  const end = (): void => {
    const fail: Fail = (what) => {
      throw new Error(`${what} (seed ${seed}, message ${result.sent})`)
    }
    compare(fail)
    const left = JSON.stringify(emptied(pair.sw))
    if (left !== base) fail(`objects are left: ${left}, not ${base}`)
    pair.close()
  }
  for (; result.sent < messages; result.sent++) {
    if (result.sent % LIFE === LIFE - 1) {
      end()
      pair = new Pair()
      known = seeds()
    }
    const m =
      random(10) === 0
        ? known[random(known.length)].slice()
        : mutate(known[random(known.length)], known[random(known.length)], random)
    const fail: Fail = (what) => {
      throw new Error(`${what} (seed ${seed}, message ${result.sent}): ${Buffer.from(m).toString('hex')}`)
    }
    if (give(pair.sw, m, fail)) result.refused++
    else {
      result.accepted++
      if (!asksOnly(m) && give(pair.shadow, m, fail)) fail('accepted by the one, refused by the other')
    }
    if (result.sent % TOLD === 0) progress?.(result.sent)
    if (result.sent >= (looks.from ?? 0) && result.sent % looks.every === 0) compare(fail)
  }
  end()
  return result
}

const parse = (sw: Switch, line: string): readonly Uint8Array[] => read(sw, splitLine(line))

/** The messages of a line; of one that names a device which is not there now, none. */
function read(sw: Switch, words: readonly string[]): readonly Uint8Array[] {
  try {
    return parseCommand(words, sw.devices).requests.map((m) => m.slice())
  } catch {
    // vxlan1, d0: they come and go with what the fuzzer does.
    return []
  }
}

// ---- the program

/** Messages of one seed. */
const SEED = 50_000
const LOOK = 2500
/** Milliseconds, and messages of which a job tells that it has done them. */
const SILENCE = 300_000
const TOLD = 500

const main = (): boolean => process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href

/** A job: does the seeds that it is told, one at a time. */
function job(stacks: boolean): void {
  if (!stacks) Error.stackTraceLimit = 0
  process.on('message', ({ seed, messages }: { seed: number; messages: number }) => {
    try {
      process.send?.({ done: fuzz(messages, seed, { every: LOOK }, (sent) => process.send?.({ sent })) })
    } catch (e) {
      process.send?.({ failed: stacks ? String((e as Error).stack) : (e as Error).message })
    }
  })
}

interface News {
  readonly done?: FuzzResult
  readonly failed?: string
}

async function run(o: {
  messages: number
  seed: number
  seconds: number
  jobs: number
  stacks: boolean
}): Promise<number> {
  const began = performance.now()
  const passed = (): number => (performance.now() - began) / 1000
  const sum = { sent: 0, refused: 0, accepted: 0 }
  let [seed, left, failures] = [o.seed, o.messages, 0]
  const one = (): Promise<void> =>
    new Promise((resolve) => {
      const child = fork(process.argv[1], ['--job', ...(o.stacks ? ['--stacks'] : [])])
      let mine = 0
      let silence: NodeJS.Timeout | undefined
      const failed = (what: string): void => {
        failures++
        process.stdout.write(`seed ${mine}: ${what}\n`)
      }
      const watch = (): void => {
        clearTimeout(silence)
        silence = setTimeout(() => {
          failed('hangs')
          child.kill('SIGKILL')
        }, SILENCE)
      }
      const next = (): void => {
        if (left <= 0 || passed() >= o.seconds) {
          child.disconnect()
          return
        }
        mine = seed++
        const messages = Math.min(left, SEED)
        left -= messages
        child.send({ seed: mine, messages })
        watch()
      }
      child.on('message', (m: News) => {
        watch()
        if (m.failed !== undefined) failed(m.failed)
        if (m.done !== undefined) for (const k of ['sent', 'refused', 'accepted'] as const) sum[k] += m.done[k]
        if (m.failed !== undefined || m.done !== undefined) next()
      })
      child.on('exit', (code, signal) => {
        clearTimeout(silence)
        if (code !== 0 && signal !== 'SIGKILL') failed(`crashed: ${signal ?? code}`)
        resolve()
      })
      next()
    })
  await Promise.all(Array.from({ length: o.jobs }, one))
  process.stdout.write(
    `${sum.sent} messages, ${sum.refused} refused, ${sum.accepted} accepted, ${Math.round(sum.sent / passed())}/s, ` +
      `seeds ${o.seed} to ${seed - 1}, ${failures} failures\n`,
  )
  return failures === 0 ? 0 : 1
}

if (main()) {
  const { values } = parseArgs({
    options: {
      messages: { type: 'string', default: '5000000' },
      seed: { type: 'string', default: String(process.pid) },
      seconds: { type: 'string', default: 'Infinity' },
      jobs: { type: 'string', default: '1' },
      stacks: { type: 'boolean', default: false },
      job: { type: 'boolean', default: false },
    },
  })
  const { messages, seed, seconds, jobs, stacks } = values
  if (values.job) job(stacks)
  else {
    process.exitCode = await run({
      messages: Number(messages),
      seed: Number(seed),
      seconds: Number(seconds),
      jobs: Number(jobs),
      stacks,
    })
  }
}
