// The mirror against a real kernel: network namespaces that the test makes itself, changed by Debian's ip, followed by the
// switch's tables and by the encap entries on them. Skipped without root.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { encapList } from '../encap/show.ts'
import { fibGeneration } from '../net/fib.ts'
import { Mirror } from '../net/mirror.ts'
import { netdevByName, netdevIsUp, netdevMac, netdevMtu } from '../net/netdev.ts'
import { execute } from '../replay/execute.ts'
import { Notifier, type NotifierOptions } from '../rtnl/notifier.ts'
import { CLONE_NEWNET, setns, unshare } from '../sys/libc.ts'
import { msgType, viewOf } from '../wire/netlink.ts'
import { RTM_NEWADDR } from '../wire/rtm_addr.ts'
import { RTM_NEWLINK } from '../wire/rtm_link.ts'
import { RTM_NEWNEIGH } from '../wire/rtm_neigh.ts'
import { RTM_NEWROUTE } from '../wire/rtm_route.ts'
import { switchSnapshot } from './snapshot.ts'
import { createSwitch, type Switch } from './switch.ts'

const root = process.getuid?.() === 0
const slow = { timeout: 60_000 }

function namespaces(): boolean {
  if (!root) return false
  try {
    execFileSync('unshare', ['-n', 'true'])
    execFileSync('ip', ['-V'])
    return true
  } catch {
    return false
  }
}
const able = namespaces()

describe.skipIf(!able)('a kernel’s devices in the switch (needs root and ip)', slow, () => {
  let before = -1
  let peer: ChildProcess
  let sw: Switch
  let mirror: Mirror
  let notifier: Notifier
  let clock = 0

  const ip = (line: string): string => execFileSync('ip', line.split(' '), { encoding: 'utf8' })
  const there = (line: string): string =>
    execFileSync('nsenter', ['-t', String(peer.pid), '-n', 'ip', ...line.split(' ')], { encoding: 'utf8' })
  const shown = (...words: string[]): string => execute(sw, words)

  beforeAll(() => {
    before = openSync('/proc/thread-self/ns/net', 'r')
  })
  beforeEach(async () => {
    unshare(CLONE_NEWNET)
    ip('link set lo up')
    peer = spawn('unshare', ['-n', 'sleep', '600'])
    await expect.poll(() => there('-o link show lo'), slow).toContain('lo')
    for (const i of [1, 2]) {
      ip(`link add p${i} type veth peer name x${i}`)
      await expect
        .poll(() => {
          try {
            ip(`link set x${i} netns ${peer.pid}`)
            return 'moved'
          } catch (e) {
            return String(e)
          }
        })
        .toBe('moved')
      there(`addr add 10.0.${i}.2/24 dev x${i}`)
      there(`link set x${i} address 02:00:00:00:0${i}:02 up`)
      ip(`addr add 10.0.${i}.1/24 dev p${i}`)
      ip(`link set p${i} up`)
    }
  })
  afterEach(() => {
    notifier?.close()
    peer.kill('SIGKILL')
    setns(before, CLONE_NEWNET)
  })
  afterAll(() => closeSync(before))

  function follow(o: NotifierOptions = {}): void {
    sw = createSwitch({
      ports: [0, 1, 2].map((i) => ({ name: `p${i}`, mac: Uint8Array.of(2, 0, 0, 0, 0, i), mtu: 1500 })),
      arenaBytes: 512 << 20,
      packets: 64,
      offload: true,
    })
    mirror = new Mirror(sw.control.net, options())
    notifier = new Notifier(mirror, o)
    notifier.resync()
  }

  const options = () => ({ ports: new Map(['p0', 'p1', 'p2'].map((p) => [p, p])) })

  /** Follows the kernel until `what` holds. */
  async function until(what: () => boolean, name: string): Promise<void> {
    const end = Date.now() + 20_000
    while (!what()) {
      if (Date.now() > end)
        expect.fail(
          `not within 20 s: ${name}\n${JSON.stringify(encapList(sw.arena))}${shown('ip', 'neigh', 'show')}${shown('ip', 'route', 'show')}`,
        )
      turn()
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  }

  function turn(): void {
    notifier.wait(5)
    notifier.run()
    clock += 5e6
    sw.run(clock)
    mirror.asked((family, address, ifindex) => notifier.use(family, address, ifindex))
  }

  const neigh = (dst: string): string => shown('ip', 'neigh', 'show', dst).trim()
  const encap = () => encapList(sw.arena)[0]

  test('links, addresses and routes, from the beginning and as they change', async () => {
    ip('link set p1 address 02:aa:00:00:00:01 mtu 1400')
    ip('addr add fd00:1::1/64 dev p1 nodad')
    ip('addr add 192.0.2.1/32 dev lo')
    ip('route add 10.9.0.0/16 via 10.0.1.2 metric 7')
    follow()
    const p1 = netdevByName(sw.arena, 'p1')
    expect([...netdevMac(sw.arena, p1)]).toEqual([2, 0xaa, 0, 0, 0, 1])
    expect(netdevMtu(sw.arena, p1)).toBe(1400)
    await until(() => /fd00:1::1/.test(shown('ip', 'addr', 'show', 'dev', 'p1')), 'the IPv6 address')
    expect(shown('ip', 'addr', 'show', 'dev', 'p1')).toMatch(/inet 10\.0\.1\.1\/24/)
    expect(shown('ip', 'addr', 'show', 'dev', 'lo')).toContain('192.0.2.1')
    expect(shown('ip', 'route', 'show')).toMatch(/10\.9\.0\.0\/16 via 10\.0\.1\.2 dev p1 .*metric 7/)
    expect(shown('ip', 'route', 'get', '10.9.1.1')).toMatch(/via 10\.0\.1\.2 dev p1 src 10\.0\.1\.1/)
    ip('route replace 10.9.0.0/16 via 10.0.2.2 metric 7')
    await until(() => /via 10\.0\.2\.2 dev p2/.test(shown('ip', 'route', 'get', '10.9.1.1')), 'the replaced route')
    ip('route add 10.9.0.0/16 metric 3 nexthop via 10.0.1.2 nexthop via 10.0.2.2')
    await until(() => /nexthop via 10\.0\.1\.2 dev p1 weight 1/.test(shown('ip', 'route', 'show')), 'several hops')
    ip('route replace 10.9.0.0/16 metric 3 nexthop via 10.0.1.2 weight 3 nexthop via 10.0.2.2')
    const all = Array.from({ length: 256 }, (_, i) => `10.9.1.${i}`)
    const by = (dev: string): number =>
      all.filter((dst) => shown('ip', 'route', 'get', dst).includes(` dev ${dev} `)).length
    await until(() => by('p2') < 100, 'three parts of four by p1')
    expect(by('p1') + by('p2')).toBe(256)
    expect(Math.abs(by('p1') - 192)).toBeLessThan(40) // six times the standard deviation of 256 draws
    ip('link set p1 down')
    await until(() => /via 10\.0\.2\.2 dev p2/.test(shown('ip', 'route', 'get', '10.9.1.1')), 'the hop that is left')
    expect(netdevIsUp(sw.arena, p1)).toBe(false)
    ip('link set p1 up')
    ip('addr del 10.0.2.1/24 dev p2')
    await until(
      () => netdevIsUp(sw.arena, p1) && !/10\.0\.2\.0\/24/.test(shown('ip', 'route', 'show')),
      'p1 up, p2 without',
    )
    expect(() => shown('ip', 'addr', 'add', '1.2.3.4/24', 'dev', 'p1')).toThrow(/is the kernel's device/)
    // A route by a device that the switch does not see leads nowhere, and not to the default.
    ip('link add hidden type veth peer name other')
    ip('link set hidden up')
    ip('link set other up')
    ip('route add default via 10.0.1.2')
    ip('route add 10.77.0.0/16 dev hidden')
    await until(() => /default/.test(shown('ip', 'route', 'show')), 'the default route')
    await until(() => /unreachable 10\.77\.0\.0\/16/.test(shown('ip', 'route', 'show')), 'the route that is not ours')
  })

  test('neighbours and a tunnel: resolved by the kernel, MAC, delete, FAILED and back, route and link', async () => {
    ip('link add vx0 type vxlan external dstport 4789')
    ip('link set vx0 up')
    ip('route add 10.9.9.9/32 via 10.0.1.2')
    follow()
    shown('tc', 'qdisc', 'add', 'dev', 'p0', 'clsact')
    const rule =
      'filter add dev p0 ingress protocol ip pref 1 flower action tunnel_key set src_ip 10.0.1.1 dst_ip 10.9.9.9 id 7 ' +
      'dst_port 4789 action mirred egress redirect dev vx0'
    shown('tc', ...rule.split(' '))
    expect(encap().valid).toBe(false)
    // Nobody ever sent a packet there: the rule itself makes the kernel ask.
    await until(() => encap().valid, 'resolved by the kernel’s own ARP')
    expect(encap()).toMatchObject({ fast: true, out: 'p1', mac: '02:00:00:00:01:02', nexthop: '10.0.1.2 dev p1' })

    ip('neigh replace 10.0.1.2 dev p1 lladdr 02:bb:00:00:00:01 nud reachable')
    await until(() => encap().mac === '02:bb:00:00:00:01', 'the new MAC')
    ip('neigh replace 10.0.1.2 dev p1 lladdr 02:bb:00:00:00:02 nud permanent')
    await until(() => encap().mac === '02:bb:00:00:00:02' && /PERMANENT/.test(neigh('10.0.1.2')), 'the permanent MAC')

    there('link set x1 down')
    there('neigh flush all')
    await until(() => !encap().valid, 'the carrier of p1 is gone')
    there('link set x1 up')
    ip('neigh del 10.0.1.2 dev p1')
    await until(() => encap().mac === '02:00:00:00:01:02', 'the link is back, and the kernel asked again')

    // The neighbour does not answer any more, and is asked for; then it answers.
    there('link set x1 arp off')
    ip('neigh del 10.0.1.2 dev p1')
    await until(() => !encap().valid && /FAILED|INCOMPLETE/.test(neigh('10.0.1.2')), 'asked for in vain')
    there('link set x1 arp on')
    await until(() => encap().valid, 'it answers again')

    ip('route replace 10.9.9.9/32 via 10.0.2.2')
    await until(() => encap().out === 'p2' && encap().mac === '02:00:00:00:02:02', 'the route moved to p2')
    ip('route replace 10.9.9.9/32 via 10.0.1.2')
    await until(() => encap().out === 'p1' && encap().fast, 'and back')
    ip('route del 10.9.9.9/32')
    await until(() => !encap().valid && encap().why !== 'none', 'the route was withdrawn')
    ip('route add 10.9.9.9/32 via 10.0.1.2')
    await until(() => encap().fast, 'and came back')
    ip('link del vx0')
    await until(() => netdevByName(sw.arena, 'vx0') === 0, 'the tunnel device went')
  })

  test('another mirror goes on where one has ended; nothing of the kernel’s is in a snapshot', async () => {
    ip('link add vx0 type vxlan external dstport 4789')
    ip('link set vx0 up')
    ip('route add 10.9.0.0/16 via 10.0.1.2')
    follow()
    ip('neigh replace 10.0.1.9 dev p1 lladdr 02:bb:00:00:00:09 nud permanent')
    await until(() => /PERMANENT/.test(neigh('10.0.1.9')), 'the neighbour')
    const before = [shown('ip', 'addr', 'show'), shown('ip', 'route', 'show'), shown('ip', '-6', 'route', 'show')]
    const generation = fibGeneration(sw.arena)

    notifier.close()
    mirror = new Mirror(sw.control.net, options())
    notifier = new Notifier(mirror)
    notifier.resync()
    expect([shown('ip', 'addr', 'show'), shown('ip', 'route', 'show'), shown('ip', '-6', 'route', 'show')]).toEqual(
      before,
    )
    expect(fibGeneration(sw.arena), 'no route came or went meanwhile').toBe(generation)
    expect(netdevByName(sw.arena, 'vx0')).not.toBe(0)

    notifier.close()
    ip('route replace 10.9.0.0/16 via 10.0.2.2')
    ip('neigh del 10.0.1.9 dev p1')
    ip('link del vx0')
    mirror = new Mirror(sw.control.net, options())
    notifier = new Notifier(mirror)
    notifier.resync()
    expect(shown('ip', 'route', 'get', '10.9.1.1')).toMatch(/via 10\.0\.2\.2 dev p2/)
    expect(neigh('10.0.1.9')).toBe('')
    expect(netdevByName(sw.arena, 'vx0')).toBe(0)
    expect(() => shown('ip', 'route', 'del', '10.9.0.0/16')).toThrow(/the route is the kernel's/)

    const ports = [0, 1, 2].map((i) => ({ name: `p${i}`, mac: Uint8Array.of(2, 0, 0, 0, 0, i), mtu: 1500 }))
    const told = [...switchSnapshot(sw.control, ports)].map((m) => msgType(viewOf(m)))
    // The devices, by which rules are named, and what p0, which has no kernel’s device behind it, gave itself.
    expect(told.filter((t) => t === RTM_NEWLINK).length).toBe(5)
    expect(told.filter((t) => t === RTM_NEWADDR).length).toBe(1)
    expect(told.filter((t) => t === RTM_NEWNEIGH)).toEqual([])
    expect(told.filter((t) => t === RTM_NEWROUTE).length).toBeLessThanOrEqual(3)
  })

  test('events that were lost are made up for', async () => {
    follow({ rcvbuf: 2048 })
    for (let round = 0; round < 3; round++) {
      for (let i = 10; i < 250; i++)
        ip(
          `neigh replace 10.0.1.${i} dev p1 lladdr 02:00:00:0${round}:00:${i.toString(16).padStart(2, '0')} nud permanent`,
        )
      if (round < 2) continue
      for (let i = 10; i < 100; i++) ip(`neigh del 10.0.1.${i} dev p1`)
    }
    ip('route add 10.42.0.0/16 via 10.0.1.2')
    await until(() => notifier.overruns > 0 && notifier.run() === 0, 'an overrun, and quiet')
    const all = shown('ip', 'neigh', 'show', 'dev', 'p1')
      .trim()
      .split('\n')
      .filter((line) => /PERMANENT/.test(line))
    expect(all.length).toBe(150)
    for (const line of all) expect(line).toMatch(/lladdr 02:00:00:02:/)
    expect(shown('ip', 'route', 'show')).toContain('10.42.0.0/16')
  })
})
