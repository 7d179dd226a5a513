// Which flow a packet meets: the order of prefs and masks as the kernel's (conformance cases pref-*), tables that grow.
import { afterEach, beforeEach, expect, test } from 'vitest'
import {
  FLOW_HANDLE,
  FLOW_MASK,
  FLOW_PRIO,
  MASK_NFLOWS,
  MASK_TABLE,
  PRIO_PREF,
  TABLE_MASK,
  TABLE_USED,
} from '../memory/layout/flow.ts'
import {
  FLOW_ADDR_IPV4,
  KEY_FLAGS,
  KEY_IP_PROTO,
  KEY_IPV4_DST,
  KEY_N_PROTO,
  KEY_PORT_DST,
  KEY_PORT_SRC,
} from '../memory/layout/flow_key.ts'
import { findChain } from './chain.ts'
import { lookup, lookupInChain } from './lookup.ts'
import { ingressOf, leaks, makeWorld, type World } from './world.model.ts'

const IP = 0x0008
const ARP = 0x0608
const F = 'tc filter add dev p0 ingress protocol ip'

let w: World
beforeEach(() => {
  w = makeWorld()
  w.tc('tc qdisc add dev p0 clsact')
})
afterEach(() => {
  w.tc('tc qdisc del dev p0 clsact')
  expect(leaks(w)).toEqual({})
})

/** The key of an IPv4 packet. */
function key(dst: string, proto = 0, port = 0): Int32Array {
  const bytes = new Uint8Array(512)
  const d = new DataView(bytes.buffer)
  d.setUint16(KEY_N_PROTO, 0x0800)
  bytes[KEY_FLAGS] = FLOW_ADDR_IPV4
  bytes[KEY_IP_PROTO] = proto
  bytes.set(dst.split('.').map(Number), KEY_IPV4_DST)
  d.setUint16(KEY_PORT_DST, port)
  d.setUint16(KEY_PORT_SRC, 1000)
  return new Int32Array(bytes.buffer)
}

/** pref/handle of what the packet meets, '' for nothing. */
const name = (flow: number): string => {
  const { m } = w.a
  return flow === 0 ? '' : `${m[(m[(flow + FLOW_PRIO) >> 2] + PRIO_PREF) >> 2]}/${m[(flow + FLOW_HANDLE) >> 2]}`
}
const meets = (k: Int32Array, protocol = IP): string => name(lookup(w.a, ingressOf(w, 'p0'), protocol, k))

test('lower prefs first, in whatever order they were made', () => {
  w.tc(`${F} pref 20 flower dst_ip 1.1.1.0/24 action pass`)
  w.tc(`${F} pref 10 flower dst_ip 1.1.0.0/16 action pass`)
  w.tc(`${F} pref 30 flower action pass`)
  expect([meets(key('1.1.1.1')), meets(key('1.1.2.1')), meets(key('2.1.1.1'))]).toEqual(['10/1', '10/1', '30/1'])
  w.tc('tc filter del dev p0 ingress pref 10')
  expect([meets(key('1.1.1.1')), meets(key('1.1.2.1'))]).toEqual(['20/1', '30/1'])
  expect(meets(key('1.1.1.1'), ARP)).toBe('')
  w.tc('tc filter add dev p0 ingress protocol all pref 15 flower action pass')
  expect([meets(key('1.1.1.1'), ARP), meets(key('1.1.1.1'))]).toEqual(['15/1', '15/1'])
})

test('within a pref the mask that came first, until it goes and comes again', () => {
  w.tc(`${F} pref 10 flower dst_ip 1.1.0.0/16 action pass`)
  w.tc(`${F} pref 10 flower dst_ip 1.1.1.0/24 action pass`)
  w.tc(`${F} pref 10 flower dst_ip 1.1.1.5 action pass`)
  w.tc(`${F} pref 5 flower dst_ip 9.9.9.9 action pass`)
  w.tc(`${F} pref 20 flower dst_ip 1.1.1.5 action pass`)
  expect(meets(key('1.1.1.5'))).toBe('10/1')
  w.tc(`${F} pref 10 flower dst_ip 1.2.0.0/16 action pass`)
  w.tc('tc filter del dev p0 ingress protocol ip pref 10 handle 1 flower')
  expect(meets(key('1.1.1.5'))).toBe('10/2')
  w.tc(`${F} pref 10 flower dst_ip 1.1.0.0/16 action pass`) // its mask never left
  expect(meets(key('1.1.1.5'))).toBe('10/1')
  w.tc('tc filter del dev p0 ingress protocol ip pref 10 handle 1 flower')
  w.tc('tc filter del dev p0 ingress protocol ip pref 10 handle 4 flower')
  w.tc(`${F} pref 10 flower dst_ip 1.1.0.0/16 action pass`) // now it did
  expect([meets(key('1.1.1.5')), meets(key('1.1.7.7'))]).toEqual(['10/2', '10/1'])
})

test('continue goes to the next pref, never to another mask of the same', () => {
  w.tc(`${F} pref 10 flower dst_ip 1.1.1.0/24 action continue`)
  w.tc(`${F} pref 10 flower dst_ip 1.1.0.0/16 action continue`)
  w.tc(`${F} pref 20 flower dst_ip 1.1.0.0/16 action pass`)
  const chain = findChain(w.a.m, ingressOf(w, 'p0'), 0)
  const first = lookupInChain(w.a, chain, IP, key('1.1.1.1'))
  expect(name(first)).toBe('10/1')
  expect(name(lookupInChain(w.a, chain, IP, key('1.1.1.1'), w.a.m[(first + FLOW_MASK) >> 2]))).toBe('20/1')
})

test('a table grows, forgets what was deleted, and never loses a flow', { timeout: 60_000 }, () => {
  const { m } = w.a
  const there = new Set<number>()
  let seed = 7
  const random = (n: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff
    return (seed >>> 8) % n
  }
  const dst = (i: number): string => `10.0.${i >> 8}.${i & 255}`
  for (let step = 0; step < 3000; step++) {
    const i = random(600)
    if (there.has(i)) {
      w.tc(`tc filter del dev p0 ingress protocol ip pref 10 handle ${i + 1} flower`)
      there.delete(i)
    } else {
      w.tc(`${F} pref 10 handle ${i + 1} flower dst_ip ${dst(i)} action pass`)
      there.add(i)
    }
    if (step % 250 === 249) {
      for (let k = 0; k < 600; k++) expect(meets(key(dst(k)))).toBe(there.has(k) ? `10/${k + 1}` : '')
      const flow = lookup(w.a, ingressOf(w, 'p0'), IP, key(dst([...there][0])))
      const mask = m[(flow + FLOW_MASK) >> 2]
      const table = m[(mask + MASK_TABLE) >> 2]
      expect(m[(mask + MASK_NFLOWS) >> 2]).toBe(there.size)
      expect(m[(table + TABLE_USED) >> 2]).toBeGreaterThanOrEqual(there.size)
      expect(4 * m[(table + TABLE_USED) >> 2]).toBeLessThanOrEqual(3 * (m[(table + TABLE_MASK) >> 2] + 1))
    }
  }
})

test('a replaced filter may take the key of another one, and is met first', () => {
  w.tc(`${F} pref 10 flower dst_ip 1.1.1.1 action pass`)
  w.tc(`${F} pref 10 flower dst_ip 1.1.1.2 action pass`)
  w.tc('tc filter replace dev p0 ingress protocol ip pref 10 handle 2 flower dst_ip 1.1.1.1 action drop')
  expect([meets(key('1.1.1.1')), meets(key('1.1.1.2'))]).toEqual(['10/2', ''])
  w.tc('tc filter del dev p0 ingress protocol ip pref 10 handle 2 flower')
  expect(meets(key('1.1.1.1'))).toBe('10/1')
})

test('of overlapping port ranges the one that was made first', () => {
  const udp = (port: number): string => meets(key('1.1.1.1', 17, port))
  w.tc(`${F} pref 10 flower ip_proto udp dst_port 100-200 action pass`)
  w.tc(`${F} pref 10 flower ip_proto udp dst_port 150-300 action pass`)
  w.tc(`${F} pref 10 flower ip_proto udp dst_port 10-1000 action pass`)
  expect([udp(99), udp(100), udp(175), udp(200), udp(201), udp(300), udp(1000), udp(1001)]).toEqual([
    '10/3',
    '10/1',
    '10/1',
    '10/1',
    '10/2',
    '10/2',
    '10/3',
    '',
  ])
  expect(() => w.tc(`${F} pref 10 flower ip_proto udp dst_port 100-200 action pass`)).toThrow('File exists')
  w.tc('tc filter del dev p0 ingress protocol ip pref 10 handle 1 flower')
  w.tc(`${F} pref 10 flower ip_proto udp dst_port 100-200 action pass`)
  expect([udp(150), udp(120)]).toEqual(['10/2', '10/3'])
})

test('a key longer than the flow has room for', () => {
  const line = `tc filter add dev p0 ingress protocol ipv6 pref 10 flower src_mac 2:0:0:0:0:1 dst_mac 2:0:0:0:0:2 ip_proto tcp src_ip fd00:1:2:3:4:5:6:7 dst_ip fd00:8:9:a:b:c:d:e src_port 1 dst_port 2 tcp_flags 1/1 ip_tos 1 ip_ttl 1`
  w.tc(`${line} action pass`)
  expect(w.json('tc filter show dev p0 ingress')[1].options.keys.src_ip).toBe('fd00:1:2:3:4:5:6:7')
  expect(() => w.tc(`${line} action drop`)).toThrow('File exists')
})
