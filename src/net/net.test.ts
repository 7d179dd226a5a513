// The tables of net/ through their requests: what a scenario's `ip` lines make of them.

import { beforeEach, describe, expect, test } from 'vitest'
import { createArena } from '../memory/arena.ts'
import { NETDEV_KIND_VXLAN, NETDEV_TP_DST } from '../memory/layout/netdev.ts'
import { inUse } from '../memory/pool.ts'
import {
  addrAdd,
  addrDel,
  address16,
  dump,
  linkAdd,
  linkDel,
  linkSet,
  neighAdd,
  neighDel,
  routeAdd,
  routeDel,
} from '../testing/rtnl_messages.ts'
import { msgType, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST } from '../wire/netlink.ts'
import { NetlinkError } from '../wire/netlink_error.ts'
import {
  NUD_DELAY,
  NUD_FAILED,
  NUD_INCOMPLETE,
  NUD_NOARP,
  NUD_PERMANENT,
  NUD_REACHABLE,
  NUD_STALE,
} from '../wire/rtm_neigh.ts'
import * as R from '../wire/rtm_route.ts'
import { linkLocalEui64, nextAddr, readAddr } from './addr.ts'
import { fibSorted, readRoute } from './fib.ts'
import { addPort, linkDown, linkUp, netInit } from './link.ts'
import { localIfindex, localType } from './local.ts'
import { neighLookup, neighSnapshot } from './neigh.ts'
import { neighExpire } from './neigh_timer.ts'
import { NEIGH_UPDATE_F_OVERRIDE, neighGet, neighUpdate, neighUse } from './neigh_update.ts'
import {
  netdevByName,
  netdevIfindex,
  netdevName,
  netdevRegister,
  udpPortClose,
  udpPortFirst,
  udpPortOpen,
} from './netdev.ts'
import { type NetContext, netRequest } from './request.ts'
import { lookup } from './route.ts'

let c: NetContext
let p: number[]
beforeEach(() => {
  const a = createArena({ bytes: 96 << 20, counters: 4096, packets: 16 })
  netInit(a)
  p = [0, 1, 2, 3, 4].map((i) => netdevIfindex(a, addPort(a, `p${i}`, i, Uint8Array.of(2, 0, 0, 0, 0, i))))
  c = { a, now: () => 0, kinds: { named: () => undefined, of: () => undefined } }
})

const ask = (m: Uint8Array): Uint8Array[] => {
  const out: Uint8Array[] = []
  netRequest(c, m, (x) => out.push(x))
  return out
}
/** errno and text of a refusal. */
const refusal = (m: Uint8Array): [number, string] => {
  try {
    ask(m)
  } catch (e) {
    if (e instanceof NetlinkError) return [e.errno, e.message]
    throw e
  }
  return [0, '']
}
const way = (dst: string, o: { src?: string; oif?: number } = {}): string => {
  const family = dst.includes(':') ? R.AF_INET6 : R.AF_INET
  const r = lookup(c.a, family, address16(dst), { src: o.src ? address16(o.src) : undefined, oif: o.oif })
  if (r.errno !== 0) return `errno ${r.errno}`
  const text = (b: Uint8Array): string =>
    family === R.AF_INET ? Array.from(b.subarray(0, 4)).join('.') : Buffer.from(b).toString('hex').replace(/0{8,}/, '~')
  return `${['', 'unicast', 'local', 'broadcast', '', 'multicast'][r.type]} ${netdevName(c.a, r.dev)} ${r.gateway ? `via ${text(r.gateway)} ` : ''}src ${text(r.src)} mtu ${r.mtu}`
}
const routes = (family: number, table: number): string[] =>
  fibSorted(c.a, (r) => readRoute(c.a, r).family === family && readRoute(c.a, r).table === table).map((r) => {
    const k = readRoute(c.a, r)
    return `${k.type} ${Array.from(k.dst.subarray(0, family === R.AF_INET ? 4 : 3)).join('.')}/${k.length} dev ${k.oif} scope ${k.scope} metric ${k.metric}`
  })

describe('addresses', () => {
  test('bring local, connected and broadcast routes', () => {
    ask(addrAdd('10.0.1.1/24', p[1]))
    expect(routes(R.AF_INET, R.RT_TABLE_MAIN)).toEqual([`1 10.0.1.0/24 dev ${p[1]} scope 253 metric 0`])
    expect(routes(R.AF_INET, R.RT_TABLE_LOCAL)).toEqual([
      `2 10.0.1.1/32 dev ${p[1]} scope 254 metric 0`,
      `3 10.0.1.255/32 dev ${p[1]} scope 253 metric 0`,
      '2 127.0.0.0/8 dev 1 scope 254 metric 0',
      '2 127.0.0.1/32 dev 1 scope 254 metric 0',
      '3 127.255.255.255/32 dev 1 scope 253 metric 0',
    ])
    expect(localIfindex(c.a, R.AF_INET, address16('10.0.1.1'))).toBe(p[1])
    expect(localType(c.a, R.AF_INET, address16('10.0.1.255'))).toBe(R.RTN_BROADCAST)
    expect(localType(c.a, R.AF_INET, address16('10.0.1.2'))).toBe(0)
  })

  test('go with their routes, and with the routes that named them as source', () => {
    ask(addrAdd('10.0.1.1/24', p[1]))
    ask(addrAdd('10.0.1.5/24', p[1]))
    ask(routeAdd('10.50.0.0/16', { via: '10.0.1.9', src: '10.0.1.1' }))
    ask(addrDel('10.0.1.1/24', p[1]))
    expect(routes(R.AF_INET, R.RT_TABLE_MAIN)).toEqual([])
    expect(localType(c.a, R.AF_INET, address16('10.0.1.5')), 'the secondary went with its primary').toBe(0)
    expect(refusal(addrDel('10.0.1.1/24', p[1]))[0]).toBe(99)
  })

  test('are refused as the kernel refuses them', () => {
    ask(addrAdd('10.0.1.1/24', p[1]))
    expect(refusal(addrAdd('10.0.1.1/24', p[1]))[0]).toBe(17)
    expect(refusal(addrAdd('10.0.1.1/24', 99))[0]).toBe(19)
    expect(refusal(addrAdd('ff02::5/64', p[1]))[0]).toBe(99)
    expect(refusal(addrAdd('::1/128', p[1]))[0]).toBe(99)
  })

  test('IPv6 gives itself a link-local one from the Ethernet address', () => {
    const local = readAddr(c.a, nextAddr(c.a, 0, p[1], R.AF_INET6))
    expect(local.local).toEqual(address16('fe80::ff:fe00:1'))
    expect(linkLocalEui64(Uint8Array.of(2, 0, 0, 0, 0, 1))).toEqual(address16('fe80::ff:fe00:1'))
  })

  test('a device that goes down keeps local IPv4 addresses, loses IPv6 and its routes', () => {
    ask(addrAdd('10.0.1.1/24', p[1]))
    ask(addrAdd('fd00:1::1/64', p[1]))
    ask(neighAdd('10.0.1.2', '02:11:00:00:01:02', p[1]))
    ask(linkSet(p[1], { up: false }))
    expect(way('10.0.1.2')).toBe('errno 101')
    expect(way('fd00:1::2')).toBe('errno 101')
    expect(localIfindex(c.a, R.AF_INET, address16('10.0.1.1'))).toBe(p[1])
    expect(localIfindex(c.a, R.AF_INET6, address16('fd00:1::1'))).toBe(0)
    expect(neighLookup(c.a, R.AF_INET, address16('10.0.1.2'), netdevByName(c.a, 'p1'))).toBe(0)
    ask(linkSet(p[1], { up: true }))
    expect(way('10.0.1.2')).toBe('unicast p1 src 10.0.1.1 mtu 1500')
  })

  test('on a device that is down: local, nothing else', () => {
    ask(linkSet(p[4], { up: false }))
    ask(addrAdd('10.0.4.1/24', p[4]))
    expect(way('10.0.4.2')).toBe('errno 101')
    expect(way('10.0.4.1')).toBe('local lo src 10.0.4.1 mtu 65536')
  })
})

describe('routes', () => {
  beforeEach(() => {
    ask(addrAdd('10.0.1.1/24', p[1]))
    ask(addrAdd('10.0.2.1/24', p[2]))
    ask(addrAdd('fd00:1::1/64', p[1]))
  })

  test('longest prefix wins, then metric', () => {
    ask(routeAdd('10.60.0.0/16', { via: '10.0.1.2' }))
    ask(routeAdd('10.60.1.0/24', { via: '10.0.2.2' }))
    expect(way('10.60.0.1')).toBe('unicast p1 via 10.0.1.2 src 10.0.1.1 mtu 1500')
    expect(way('10.60.1.1')).toBe('unicast p2 via 10.0.2.2 src 10.0.2.1 mtu 1500')
    expect(way('10.60.1.1', { src: '10.0.1.1' })).toBe('unicast p2 via 10.0.2.2 src 10.0.1.1 mtu 1500')
    ask(routeAdd('10.61.0.0/16', { via: '10.0.1.2', metric: 20 }))
    ask(routeAdd('10.61.0.0/16', { via: '10.0.2.2', metric: 10 }))
    expect(way('10.61.0.1')).toBe('unicast p2 via 10.0.2.2 src 10.0.2.1 mtu 1500')
    ask(routeDel('10.61.0.0/16', { metric: 10 }))
    expect(way('10.61.0.1')).toBe('unicast p1 via 10.0.1.2 src 10.0.1.1 mtu 1500')
  })

  test('kinds: blackhole, unreachable, prohibit, throw, local, broadcast, multicast, none', () => {
    ask(routeAdd('10.51.0.0/24', { type: R.RTN_BLACKHOLE }))
    ask(routeAdd('10.52.0.0/24', { type: R.RTN_UNREACHABLE }))
    ask(routeAdd('10.53.0.0/24', { type: R.RTN_PROHIBIT }))
    ask(routeAdd('10.54.0.0/24', { type: R.RTN_THROW }))
    ask(routeAdd('fd51::/64', { type: R.RTN_UNREACHABLE }))
    expect(way('10.51.0.1')).toBe('errno 22')
    expect(way('10.52.0.1')).toBe('errno 113')
    expect(way('10.53.0.1')).toBe('errno 13')
    expect(way('10.54.0.1')).toBe('errno 101')
    expect(way('10.99.0.1')).toBe('errno 101')
    expect(way('fd51::1')).toBe('errno 113')
    expect(way('fd99::1')).toBe('errno 101')
    expect(way('10.0.2.1', { src: '10.0.1.1' })).toBe('local lo src 10.0.1.1 mtu 65536')
    expect(way('127.0.0.1', { src: '10.0.1.1' })).toBe('local lo src 10.0.1.1 mtu 65536')
    expect(way('10.0.1.255', { src: '10.0.1.1' })).toBe('broadcast p1 src 10.0.1.1 mtu 1500')
    expect(way('255.255.255.255', { src: '10.0.1.1' })).toBe('broadcast p1 src 10.0.1.1 mtu 1500')
    expect(way('239.1.1.1', { src: '10.0.1.1' })).toBe('multicast p1 src 10.0.1.1 mtu 1500')
    expect(way('239.1.1.1')).toBe('errno 101')
  })

  test('a source that is not ours is refused, for IPv4', () => {
    expect(way('10.0.1.2', { src: '1.2.3.4' })).toBe('errno 101')
    expect(way('10.0.1.2', { src: '239.0.0.1' })).toBe('errno 22')
    expect(way('fd00:1::2', { src: 'fd77::1' })).toContain('unicast p1')
  })

  test('IPv6 source selection: scope, then the longest prefix', () => {
    ask(addrAdd('fd00:2::1/64', p[1]))
    expect(lookup(c.a, R.AF_INET6, address16('fd00:2::9')).src).toEqual(address16('fd00:2::1'))
    expect(lookup(c.a, R.AF_INET6, address16('fd00:1::9')).src).toEqual(address16('fd00:1::1'))
    expect(lookup(c.a, R.AF_INET6, address16('ff02::9'), { oif: p[1] }).src).toEqual(address16('fe80::ff:fe00:1'))
  })

  test('device routes and gateways', () => {
    ask(routeAdd('10.54.0.0/24', { dev: p[1] }))
    expect(way('10.54.0.5', { src: '10.0.1.1' })).toBe('unicast p1 src 10.0.1.1 mtu 1500')
    expect(refusal(routeAdd('1.2.3.0/24'))).toEqual([19, ''])
    expect(refusal(routeAdd('1.2.3.0/24', { via: '9.9.9.9' }))).toEqual([101, 'Nexthop has invalid gateway'])
    expect(refusal(routeAdd('10.1.1.1/24', { dev: p[1] }))).toEqual([22, 'Invalid prefix for given prefix length'])
    expect(refusal(routeAdd('1.0.0.0/8', { type: R.RTN_UNREACHABLE, dev: p[1] }))[0]).toBe(22)
    expect(refusal(routeAdd('11.0.0.0/8', { dev: p[1], src: '9.9.9.9' }))).toEqual([22, 'Invalid prefsrc address'])
    expect(refusal(routeAdd('fd88::/64', { via: 'fd44::1' }))).toEqual([113, ''])
    expect(refusal(routeAdd('fd88::/64', { via: 'fd00:1::1' }))).toEqual([22, 'Gateway can not be a local address'])
    ask(linkSet(p[3], { up: false }))
    expect(refusal(routeAdd('11.0.0.0/8', { dev: p[3] }))).toEqual([100, 'Device for nexthop is not up'])
    expect(refusal(routeAdd('fd11::/64', { dev: p[3] }))).toEqual([100, 'Nexthop device is not up'])
    expect(refusal(routeDel('5.5.5.0/24'))).toEqual([3, ''])
  })

  test('add twice, replace, change', () => {
    ask(routeAdd('6.0.0.0/8', { via: '10.0.1.9' }))
    expect(refusal(routeAdd('6.0.0.0/8', { via: '10.0.1.9' }))[0]).toBe(17)
    ask(routeAdd('6.0.0.0/8', { via: '10.0.1.11', flags: NLM_F_REQUEST | NLM_F_REPLACE }))
    expect(way('6.1.1.1')).toBe('unicast p1 via 10.0.1.11 src 10.0.1.1 mtu 1500')
    expect(routes(R.AF_INET, R.RT_TABLE_MAIN).filter((x) => x.includes('6.0.0.0'))).toHaveLength(1)
    expect(refusal(routeAdd('77.0.0.0/8', { via: '10.0.1.9', flags: NLM_F_REQUEST | NLM_F_REPLACE }))[0]).toBe(2)
    ask(routeAdd('77.0.0.0/8', { via: '10.0.1.9', flags: NLM_F_REQUEST | NLM_F_REPLACE | NLM_F_CREATE }))
    expect(way('77.1.1.1')).toContain('via 10.0.1.9')
  })

  test('a gateway of ours makes a device route', () => {
    ask(routeAdd('5.0.0.0/8', { via: '10.0.1.1' }))
    expect(way('5.1.1.1')).toBe('unicast p1 src 10.0.1.1 mtu 1500')
  })

  test('are dumped in the order of the kernel', () => {
    ask(routeAdd('default', { via: '10.0.1.9' }))
    ask(routeAdd('10.0.0.0/8', { via: '10.0.1.9' }))
    expect(routes(R.AF_INET, R.RT_TABLE_MAIN).map((x) => x.split(' ')[1])).toEqual([
      '0.0.0.0/0',
      '10.0.0.0/8',
      '10.0.1.0/24',
      '10.0.2.0/24',
    ])
    ask(routeAdd('::/0', { via: 'fd00:1::9' }))
    expect(routes(R.AF_INET6, R.RT_TABLE_MAIN).at(-1)).toContain('0.0.0/0')
    expect(ask(dump(R.RTM_GETROUTE, R.AF_INET, 12)).map((m) => msgType(new DataView(m.buffer)))).toHaveLength(4 + 7)
  })

  test('many routes', () => {
    for (let i = 0; i < 2000; i++)
      ask(routeAdd(`20.${i >> 8}.${i & 255}.0/24`, { via: i % 2 ? '10.0.1.9' : '10.0.2.9' }))
    for (let i = 0; i < 2000; i += 97) expect(way(`20.${i >> 8}.${i & 255}.7`)).toContain(i % 2 ? 'p1' : 'p2')
    ask(linkSet(p[1], { up: false }))
    expect(way('20.0.1.7')).toBe('errno 101')
    expect(way('20.0.0.7')).toContain('p2')
  })
})

describe('neighbours', () => {
  const state = (address: string, dev = 'p1'): number => {
    const n = neighLookup(
      c.a,
      address.includes(':') ? R.AF_INET6 : R.AF_INET,
      address16(address),
      netdevByName(c.a, dev),
    )
    return n === 0 ? -1 : neighSnapshot(c.a, n).state
  }

  test('are added, changed and deleted by the kernel rules', () => {
    ask(neighAdd('10.0.1.2', '02:11:00:00:01:02', p[1]))
    expect(state('10.0.1.2')).toBe(NUD_PERMANENT)
    expect(refusal(neighAdd('10.0.1.2', '02:11:00:00:01:02', p[1]))[0]).toBe(17)
    expect(refusal(neighAdd('10.0.1.3', '', p[1], NUD_STALE))).toEqual([22, 'No link layer address given'])
    ask(neighAdd('10.0.1.15', '', p[1], NUD_FAILED))
    ask(neighAdd('10.0.1.16', '', p[1], NUD_INCOMPLETE))
    expect(state('10.0.1.15')).toBe(NUD_FAILED)
    expect(state('10.0.1.16')).toBe(NUD_INCOMPLETE)
    expect(refusal(neighDel('10.0.1.77', p[1]))[0]).toBe(2)
    ask(neighDel('10.0.1.2', p[1]))
    expect(state('10.0.1.2')).toBe(-1)
  })

  test('replace changes the address, change without it does not', () => {
    ask(neighAdd('10.0.1.2', '02:11:00:00:01:02', p[1], NUD_REACHABLE))
    ask(neighAdd('10.0.1.2', '02:11:00:00:01:99', p[1], NUD_REACHABLE, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE))
    const n = neighLookup(c.a, R.AF_INET, address16('10.0.1.2'), netdevByName(c.a, 'p1'))
    expect(neighSnapshot(c.a, n).mac[5]).toBe(0x99)
  })

  test('unknown, three requests, failed', () => {
    const dev = netdevByName(c.a, 'p1')
    const n = neighGet(c.a, R.AF_INET, address16('10.0.1.9'), dev, 0)
    expect(neighUse(c.a, n, 0)).toBe(NUD_INCOMPLETE)
    expect([0, 1000, 2000].map((t) => neighExpire(c.a, n, t))).toEqual(['probe', 'probe', 'probe'])
    expect(neighExpire(c.a, n, 3000)).toBe('failed')
    expect(neighSnapshot(c.a, n).state).toBe(NUD_FAILED)
  })

  test('answered, then stale, delayed when used, probed, failed', () => {
    const dev = netdevByName(c.a, 'p1')
    const n = neighGet(c.a, R.AF_INET, address16('10.0.1.9'), dev, 0)
    neighUse(c.a, n, 0)
    expect(neighUpdate(c.a, n, Uint8Array.of(2, 1, 1, 1, 1, 1), NUD_REACHABLE, NEIGH_UPDATE_F_OVERRIDE, 10)).toBe(0)
    expect(neighExpire(c.a, n, 30020)).toBe('none')
    expect(neighSnapshot(c.a, n).state).toBe(NUD_STALE)
    expect(neighUse(c.a, n, 31000)).toBe(NUD_DELAY)
    expect([36000, 37000, 38000, 39000].map((t) => neighExpire(c.a, n, t))).toEqual([
      'probe',
      'probe',
      'probe',
      'failed',
    ])
  })

  test('groups and broadcast addresses need no asking', () => {
    ask(addrAdd('10.0.1.1/24', p[1]))
    const dev = netdevByName(c.a, 'p1')
    const mac = (family: number, x: string): string =>
      Buffer.from(neighSnapshot(c.a, neighGet(c.a, family, address16(x), dev, 0)).mac).toString('hex')
    expect(mac(R.AF_INET, '239.129.1.1')).toBe('01005e010101')
    expect(mac(R.AF_INET, '10.0.1.255')).toBe('ffffffffffff')
    expect(mac(R.AF_INET6, 'ff02::1:ff00:2')).toBe('3333ff000002')
    expect(state('10.0.1.255')).toBe(NUD_NOARP)
  })

  test('the table has the kernel limit, permanent ones do not count', () => {
    const dev = netdevByName(c.a, 'p1')
    for (let i = 0; i < 1024; i++)
      expect(neighGet(c.a, R.AF_INET, address16(`10.1.${i >> 8}.${i & 255}`), dev, 100)).not.toBe(0)
    expect(neighGet(c.a, R.AF_INET, address16('10.2.0.0'), dev, 100)).toBe(0)
    ask(neighAdd('10.2.0.1', '02:11:00:00:01:02', p[1]))
    expect(neighGet(c.a, R.AF_INET, address16('10.2.0.0'), dev, 60000), 'old ones give way').not.toBe(0)
  })
})

describe('links', () => {
  test('dummies come and go; what is not known is refused by name', () => {
    ask(linkAdd('du0', 'dummy'))
    const i = netdevIfindex(c.a, netdevByName(c.a, 'du0'))
    expect(refusal(linkAdd('du0', 'dummy'))[0]).toBe(17)
    expect(refusal(linkAdd('br0', 'bridge'))).toEqual([95, 'Unknown device type: bridge is not supported'])
    expect(refusal(linkDel(p[0]))[0]).toBe(95)
    expect(refusal(linkDel(77))[0]).toBe(19)
    expect(refusal(linkSet(p[0], { mtu: 70000 }))).toEqual([22, 'mtu greater than device maximum'])
    expect(refusal(linkSet(p[0], { mtu: 10 }))).toEqual([22, 'mtu less than device minimum'])
    ask(linkSet(i, { up: true }))
    ask(addrAdd('10.9.0.1/24', i))
    expect(way('10.9.0.2')).toBe('unicast du0 src 10.9.0.1 mtu 1500')
    ask(linkDel(i))
    expect(netdevByName(c.a, 'du0')).toBe(0)
    expect(localType(c.a, R.AF_INET, address16('10.9.0.1'))).toBe(0)
  })

  test('tunnel devices share a UDP port in order of ifindex', () => {
    const devs = [0, 1, 2].map((i) => {
      const d = netdevRegister(c.a, { name: `v${i}`, kind: NETDEV_KIND_VXLAN })
      c.a.m[(d + NETDEV_TP_DST) >> 2] = 0xb512
      return d
    })
    for (const i of [1, 2, 0]) udpPortOpen(c.a, devs[i])
    expect(udpPortFirst(c.a, 4789)).toBe(devs[0])
    udpPortClose(c.a, devs[0])
    expect(udpPortFirst(c.a, 4789)).toBe(devs[1])
  })

  test('nothing is left behind', () => {
    const before = inUse(c.a)
    ask(linkAdd('du0', 'dummy'))
    const i = netdevIfindex(c.a, netdevByName(c.a, 'du0'))
    ask(linkSet(i, { up: true }))
    ask(addrAdd('10.9.0.1/24', i))
    ask(addrAdd('fd99::1/64', i))
    ask(routeAdd('9.0.0.0/8', { via: '10.9.0.9' }))
    ask(neighAdd('10.9.0.9', '02:11:00:00:01:02', i))
    ask(linkDel(i))
    const after = inUse(c.a)
    for (const k of ['fib', 'addr', 'neigh']) expect([k, after[k] ?? 0]).toEqual([k, before[k] ?? 0])
    linkDown(c.a, netdevByName(c.a, 'p0'))
    linkUp(c.a, netdevByName(c.a, 'p0'))
  })
})
