// A switch is made anew from its snapshot: every kernel case, and what a dump does not show (orders, equal keys, chains
// that only a goto holds). Then the same through a journal's tail: requests done again.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { execute } from '../replay/execute.ts'
import { LanguageError } from '../tc/language_error.ts'
import { splitScript } from '../tc/line.ts'
import { msgFlags, msgType, viewOf } from '../wire/netlink.ts'
import * as Tcm from '../wire/tcm.ts'
import { SwitchRestore, switchSnapshot } from './snapshot.ts'
import { createSwitch, type PortSpec, type Switch } from './switch.ts'

const fixtures = fileURLToPath(new URL('../../fixtures/kernel/', import.meta.url))

const portsOf = (n: number): PortSpec[] =>
  Array.from({ length: n }, (_, i) => ({ name: `p${i}`, mac: Uint8Array.of(2, 0, 0, 0, 0, i), mtu: 1500 }))

const make = (ports: readonly PortSpec[]): Switch =>
  createSwitch({ ports, frameSize: 9216 + 18, arenaBytes: 256 << 20, packets: 64 })

/** The same switch from a snapshot, and the snapshot. */
function again(sw: Switch, ports: readonly PortSpec[]): { sw: Switch; snapshot: Uint8Array[] } {
  const snapshot = [...switchSnapshot(sw.control, ports)]
  const other = make(ports)
  const restore = new SwitchRestore(other.control)
  for (const message of snapshot) restore.take(message, 'snapshot')
  restore.end()
  return { sw: other, snapshot }
}

/** What time and packets change. */
const COUNTED = new Set(['installed', 'last_used', 'first_used', 'stats', 'stats64', 'used', 'confirmed', 'updated'])
const strip = (v: unknown): unknown => {
  if (Array.isArray(v)) return v.map(strip)
  if (v === null || typeof v !== 'object') return v
  return Object.fromEntries(
    Object.entries(v)
      .filter(([k]) => !COUNTED.has(k))
      .map(([k, x]) => [k, strip(x)]),
  )
}

const KINDS = ['gact', 'mirred', 'tunnel_key', 'vlan', 'pedit', 'police', 'skbedit', 'csum', 'sample', 'mpls', 'nat']

/** Everything that tc and ip show. */
function shown(sw: Switch): Record<string, unknown> {
  const out: Record<string, unknown> = {}
  const say = (line: string): void => {
    const text = execute(sw, line.split(' ')).trim()
    // What tc prints of some filters is no JSON.
    try {
      out[line] = strip(JSON.parse(text || '[]'))
    } catch {
      out[line] = execute(sw, line.replace(' -s -j', '').split(' '))
    }
  }
  say('ip -d -j link show')
  say('ip -j addr show')
  for (const family of ['-4', '-6']) say(`ip ${family} -j route show table all`)
  const links = out['ip -d -j link show'] as { ifname: string }[]
  say('tc -j qdisc show')
  for (const kind of KINDS) say(`tc -j actions ls action ${kind}`)
  const blocks = new Set<number>()
  for (const { ifname } of links)
    for (const hook of ['ingress', 'egress']) {
      say(`tc -s -j filter show dev ${ifname} ${hook}`)
      say(`tc -j chain show dev ${ifname} ${hook}`)
    }
  for (const q of out['tc -j qdisc show'] as { ingress_block?: number }[])
    if (q.ingress_block) blocks.add(q.ingress_block)
  for (const block of blocks) say(`tc -s -j filter show block ${block}`)
  return out
}

/** Chains and filters in the order in which they stand in the tables. */
const order = (snapshot: readonly Uint8Array[]): string[] =>
  snapshot.flatMap((m) => {
    const d = viewOf(m)
    const type = msgType(d)
    if (type !== Tcm.RTM_NEWTFILTER && type !== Tcm.RTM_NEWCHAIN && type !== Tcm.RTM_DELCHAIN) return []
    return [`${type} ${msgFlags(d)} ${Tcm.tcmIfindex(d)} ${Tcm.tcmParent(d)} ${Tcm.tcmInfo(d)} ${Tcm.tcmHandle(d)}`]
  })

function expectSame(sw: Switch, ports: readonly PortSpec[]): void {
  const first = again(sw, ports)
  expect(shown(first.sw)).toEqual(shown(sw))
  const second = [...switchSnapshot(first.sw.control, ports)]
  expect(order(second)).toEqual(order(first.snapshot))
}

describe('every kernel case', { timeout: 90_000 }, () => {
  test.each(readdirSync(fixtures).filter((name) => existsSync(`${fixtures}${name}/setup.tc`)))('%s', (name) => {
    const text = ['setup.tc', 'rules.tc', 'post.tc']
      .filter((f) => existsSync(`${fixtures}${name}/${f}`))
      .map((f) => readFileSync(`${fixtures}${name}/${f}`, 'utf8'))
      .join('\n')
    const ports = portsOf(Number(/# ports: (\d+)/.exec(text)?.[1] ?? 4))
    const sw = make(ports)
    run(sw, text)
    expectSame(sw, ports)
  })
})

/** Runs the lines of a script; those that are refused change nothing, as `errors: continue` says. */
function run(sw: Switch, text: string): void {
  for (const { words } of splitScript(text)) {
    const line = words[0] === '@packet' ? words.slice(2) : words[0].startsWith('@') ? words.slice(1) : words
    if (line[0] === 'modprobe') continue
    try {
      execute(sw, line)
    } catch (e) {
      if (!(e instanceof LanguageError)) throw e
    }
  }
}

/** Runs lines that must not be refused. */
function must(sw: Switch, text: string): void {
  for (const { words } of splitScript(text)) execute(sw, words)
}

test('what a dump does not show: order of masks, equal keys, chains that only a goto holds', () => {
  const ports = portsOf(2)
  const sw = make(ports)
  must(
    sw,
    `
    qdisc add dev p0 clsact
    qdisc add dev p1 ingress_block 7 clsact
    chain add dev p0 ingress chain 9
    filter add dev p0 ingress protocol ip pref 5 chain 3 flower dst_ip 10.0.0.0/8 action drop
    filter add dev p0 ingress protocol ip pref 5 handle 4 flower dst_ip 10.1.0.0/16 action goto chain 7
    filter add dev p0 ingress protocol ip pref 5 handle 2 flower src_ip 10.2.0.0/16 action pass
    filter add dev p0 ingress protocol ip pref 5 handle 3 flower dst_ip 10.3.0.0/16 action pass
    filter add dev p0 ingress protocol ip pref 5 handle 1 flower ip_proto tcp dst_port 10-20 action drop
    filter add dev p0 ingress protocol ip pref 5 handle 9 flower ip_proto tcp dst_port 10-20 src_ip 1.2.3.4 action drop
    filter add dev p0 ingress protocol ip pref 5 handle 8 flower ip_proto tcp dst_port 15-30 action pass
    filter replace dev p0 ingress protocol ip pref 5 handle 3 flower dst_ip 10.1.0.0/16 action pass
    filter add block 7 protocol all pref 1 matchall action mirred egress redirect dev p0
    actions add action gact drop index 17
    filter add dev p0 egress protocol ip pref 1 flower action gact index 17
    filter add dev p0 egress protocol ip pref 2 flower action police rate 1mbit burst 10k index 5
    filter add dev p0 egress protocol ip pref 3 flower action police index 5
    `,
  )
  expectSame(sw, ports)
  const flows = order([...switchSnapshot(sw.control, ports)])
  // Handle 3 took the key of handle 4, and is met first; 1 and 8 overlap, 1 came first.
  expect(flows.map((f) => Number(f.split(' ').at(-1))).filter((h) => h > 0)).toEqual([1, 3, 4, 2, 1, 8, 9, 1, 1, 1, 1])
})

test('rules that send to devices that are gone', () => {
  const ports = portsOf(2)
  const sw = make(ports)
  must(
    sw,
    `
    ip link add vxlan0 type vxlan external dstport 4789
    ip link add d1 type dummy
    qdisc add dev p0 clsact
    filter add dev p0 ingress protocol ip pref 5 flower dst_ip 10.0.0.1 action mirred egress redirect dev d1
    filter add dev p0 ingress protocol ip pref 6 flower action tunnel_key set src_ip 10.0.0.1 dst_ip 10.0.0.2 id 7 action mirred egress redirect dev vxlan0
    actions add action mirred egress mirror dev d1 index 77
    ip link del vxlan0
    ip link del d1
  `,
  )
  expect(execute(sw, 'tc filter show dev p0 ingress'.split(' '))).toContain('Egress Redirect to device if0')
  expectSame(sw, ports)
  // The next device has the number that it would have had.
  const { sw: other } = again(sw, ports)
  for (const one of [sw, other]) execute(one, 'ip link add d2 type dummy'.split(' '))
  expect(other.devices.indexOf('d2')).toBe(sw.devices.indexOf('d2'))
})

test('u32 and fw: tables, links, marks', () => {
  const ports = portsOf(2)
  const sw = make(ports)
  must(
    sw,
    `
    qdisc add dev p0 clsact
    filter add dev p0 ingress protocol ip pref 30 u32 match u32 0 0 action pass
    filter add dev p0 ingress protocol ip pref 20 u32 match ip dst 10.0.0.0/8 action drop
    filter del dev p0 ingress protocol ip pref 30
    filter add dev p0 ingress protocol ip pref 20 handle 5: u32 divisor 16
    filter add dev p0 ingress protocol ip pref 20 u32 ht 5:3: match ip src 10.1.0.0/16 action pass
    filter add dev p0 ingress protocol ip pref 20 u32 ht 800:: match ip protocol 6 0xff link 5: hashkey mask 0xf at 12
    filter add dev p0 ingress protocol ip pref 10 u32 match mark 7 0xff action drop
    filter add dev p0 ingress protocol ip pref 40 handle 6/0xff fw action drop
    filter add dev p0 ingress protocol ip pref 40 handle 7/0xff fw action pass
    `.replace('ht 800::', 'ht 801::'),
  )
  expectSame(sw, ports)
})

test('addresses and routes that came by themselves and went, and that only look so', () => {
  const ports = portsOf(2)
  const sw = make(ports)
  must(
    sw,
    `
    ip link add d0 type dummy
    ip link set d0 up
    ip link add v0 type vxlan id 7 dstport 4789 local 10.0.0.1 remote 10.0.0.2
    ip link set v0 up mtu 1400
    ip link set p1 down
    ip link set p1 address 02:11:22:33:44:55
    ip addr add 10.0.0.1/24 dev p0
    ip addr add 10.0.0.9/24 dev p0
    ip addr add fd00::1/64 dev p0
    ip addr add 10.9.0.1/32 peer 10.9.0.2 dev d0
    ip addr del fe80::ff:fe00:0/64 dev p0
    ip route del 10.0.0.0/24 dev p0
    ip route add 10.0.0.0/24 dev p0 proto static metric 7
    ip route add 10.7.0.0/16 via 10.0.0.2 mtu lock 1300
    ip route add 10.7.0.0/16 via 10.0.0.3 metric 10
    ip route add unreachable 10.8.0.0/16
    ip route add fd01::/64 via fd00::2
    ip neigh add 10.0.0.2 lladdr 02:aa:bb:cc:dd:ee dev p0 nud permanent
    ip neigh add 10.0.0.3 lladdr 02:aa:bb:cc:dd:ef dev p0 nud reachable
    `,
  )
  expectSame(sw, ports)
  const neighs = (s: Switch): string => execute(s, ['ip', 'neigh', 'show'])
  expect(neighs(again(sw, ports).sw)).toBe(neighs(sw).replace('REACHABLE', 'STALE'))
})
