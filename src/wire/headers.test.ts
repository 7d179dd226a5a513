// Packet headers: real bytes taken apart, the same bytes written over 0xa5, impossible lengths, and each RFC's odd rule.

import { describe, expect, test } from 'vitest'
import * as Arp from './arp.ts'
import { complement, complementUdp, fold, pseudoSum, sum, update } from './checksum.ts'
import * as Eth from './ethernet.ts'
import * as Icmp from './icmp.ts'
import * as Icmp6 from './icmp6.ts'
import * as Ipv4 from './ipv4.ts'
import * as Ipv6 from './ipv6.ts'
import * as Nd from './nd.ts'
import * as Tcp from './tcp.ts'
import * as Udp from './udp.ts'
import * as Vlan from './vlan.ts'
import * as Vxlan from './vxlan.ts'

const bytes = (hex: string): DataView => {
  const b = Uint8Array.from(hex.replace(/\s/g, '').match(/../g)!, (x) => Number.parseInt(x, 16))
  return new DataView(b.buffer)
}
const hex = (d: DataView, n = d.byteLength): string => Buffer.from(d.buffer, 0, n).toString('hex')
const dirty = (n: number): DataView => new DataView(new Uint8Array(n).fill(0xa5).buffer)
const sixteen = (...b: number[]): Uint8Array => Uint8Array.from([...b, ...new Array(16 - b.length).fill(0)])

describe('checksum', () => {
  test('RFC 1071: the example, and odd lengths', () => {
    expect(fold(sum(bytes('0001f203f4f5f6f7'), 0, 8))).toBe(0xddf2)
    expect(sum(bytes('0102ff'), 0, 3)).toBe(0x0102 + 0xff00)
    expect(complement(0)).toBe(0xffff)
    expect(complementUdp(0xffff), 'a computed zero is sent as ones').toBe(0xffff)
  })
  test('large sums fold right', () => {
    expect(fold(0xffff * 40000)).toBe(0xffff)
    expect(fold(0x1_0000_0001)).toBe(2)
  })
  test('RFC 1624: the example', () => {
    expect(update(0xdd2f, 0x5555, 0x3285)).toBe(0x0000)
  })
})

test('ethernet and VLAN', () => {
  const d = bytes('ffffffffffff 02aa00000001 8100 a00a 0800')
  expect(Eth.check(d, 0, 13)).toBe(false)
  expect(Eth.check(d, 0, 14)).toBe(true)
  expect([Eth.isBroadcast(d, 0), Eth.isGroup(d, 0), Eth.type(d, 0)]).toEqual([true, true, Eth.ETH_P_8021Q])
  expect(Vlan.check(d, 14, 17)).toBe(false)
  expect(Vlan.parse(d, 14)).toEqual({ id: 10, priority: 5, dei: 0, type: 0x0800 })
  const out = dirty(18)
  Eth.emit(out, 0, { dst: Eth.dst(d, 0), src: Eth.src(d, 0), type: Eth.type(d, 0) })
  Vlan.emit(out, 14, Vlan.parse(d, 14))
  expect(hex(out)).toBe(hex(d))
})

test('ARP', () => {
  const d = bytes('0001 0800 06 04 0002 021100000102 0a000102 020000000001 0a000101')
  expect(Arp.check(d, 0, 27)).toBe(false)
  expect(Arp.check(d, 0, 28)).toBe(true)
  expect(Arp.operation(d, 0)).toBe(Arp.REPLY)
  const out = dirty(28)
  Arp.emit(out, 0, {
    operation: Arp.operation(d, 0),
    senderMac: Arp.senderMac(d, 0),
    senderAddress: Arp.senderAddress(d, 0),
    targetMac: Arp.targetMac(d, 0),
    targetAddress: Arp.targetAddress(d, 0),
  })
  expect(hex(out)).toBe(hex(d))
  for (const [at, v] of [
    [1, 7],
    [2, 9],
    [4, 5],
    [5, 6],
  ]) {
    const bad = bytes(hex(d))
    bad.setUint8(at, v)
    expect(Arp.check(bad, 0, 28), `byte ${at}`).toBe(false)
  }
})

test('IPv4: a packet that a kernel sent', () => {
  const d = bytes('45c00070e11a0000400184b00a0000010a000002')
  expect(Ipv4.checksumOk(d, 0)).toBe(true)
  expect([
    Ipv4.headerLength(d, 0),
    Ipv4.tos(d, 0),
    Ipv4.totalLength(d, 0),
    Ipv4.ttl(d, 0),
    Ipv4.protocol(d, 0),
  ]).toEqual([20, 0xc0, 112, 64, 1])
  expect(Ipv4.check(d, 0, 20), 'the payload is missing').toBe(false)
  expect(Ipv4.check(d, 0, 112)).toBe(true)
  const out = dirty(20)
  Ipv4.emit(out, 0, {
    tos: 0xc0,
    totalLength: 112,
    id: 0xe11a,
    fragment: 0,
    ttl: 64,
    protocol: 1,
    src: sixteen(10, 0, 0, 1),
    dst: sixteen(10, 0, 0, 2),
  })
  expect(hex(out)).toBe(hex(d))
  for (const first of [0x44, 0x4f, 0x65, 0x40]) {
    d.setUint8(0, first)
    expect(Ipv4.check(d, 0, first === 0x4f ? 59 : 112), first.toString(16)).toBe(false)
  }
})

test('IPv4 fragments', () => {
  const d = bytes('45000034000a2003401100000a0000010a000002')
  expect([Ipv4.isFragment(d, 0), Ipv4.moreFragments(d, 0), Ipv4.fragmentOffset(d, 0)]).toEqual([true, true, 24])
  Ipv4.setFragment(d, 0, Ipv4.DF)
  expect(Ipv4.isFragment(d, 0)).toBe(false)
})

test('IPv6 and its extension headers', () => {
  const d = dirty(80)
  Ipv6.emit(d, 0, {
    trafficClass: 0xb8,
    flowLabel: 0x12345,
    payloadLength: 40,
    nextHeader: Ipv6.NEXTHDR_DEST,
    hopLimit: 9,
    src: sixteen(0xfd),
    dst: sixteen(0xff, 2),
  })
  expect(hex(d, 8)).toBe('6b81234500283c09')
  expect([Ipv6.trafficClass(d, 0), Ipv6.payloadLength(d, 0), Ipv6.hopLimit(d, 0)]).toEqual([0xb8, 40, 9])
  expect(Ipv6.check(d, 0, 79)).toBe(false)
  expect(Ipv6.check(d, 0, 80)).toBe(true)
  Ipv6.setTrafficClass(d, 0, 3)
  expect(hex(d, 4)).toBe('60312345')
  d.setUint16(40, 0x1100)
  expect(Ipv6.transport(d, 0, 80)).toEqual({ proto: 17, at: 48, pointer: 40 })
  d.setUint16(40, 0x1105)
  expect(Ipv6.transport(d, 0, 80), 'longer than the packet').toBe(null)
  d.setUint32(40, 0x110000a9)
  d.setUint32(44, 7)
  expect([
    Ipv6.fragmentNext(d, 40),
    Ipv6.fragmentOffset(d, 40),
    Ipv6.fragmentMore(d, 40),
    Ipv6.fragmentId(d, 40),
  ]).toEqual([17, 168, true, 7])
})

test('UDP: lengths that cannot be', () => {
  const d = bytes('03e81118000f079e7061796c6f6164')
  expect(Udp.check(d, 0, 15)).toBe(true)
  expect([Udp.srcPort(d, 0), Udp.dstPort(d, 0), Udp.length(d, 0), Udp.checksum(d, 0)]).toEqual([1000, 4376, 15, 0x079e])
  expect(Udp.check(d, 0, 14)).toBe(false)
  d.setUint16(4, 7)
  expect(Udp.check(d, 0, 15)).toBe(false)
  const out = dirty(8)
  Udp.emit(out, 0, { srcPort: 1000, dstPort: 4376, length: 15, checksum: 0 })
  expect(hex(out)).toBe('03e81118000f0000')
})

test('TCP', () => {
  const d = bytes('005003e8000000000000004e5014000095480000')
  expect(Tcp.check(d, 0, 20)).toBe(true)
  expect([Tcp.srcPort(d, 0), Tcp.dstPort(d, 0), Tcp.acknowledgment(d, 0), Tcp.flags(d, 0)]).toEqual([
    80, 1000, 78, 0x14,
  ])
  const out = dirty(20)
  Tcp.emit(out, 0, { srcPort: 80, dstPort: 1000, sequence: 0, acknowledgment: 78, flags: 0x14, window: 0 })
  Tcp.setChecksum(out, 0, 0x9548)
  expect(hex(out)).toBe(hex(d))
  for (const offset of [0x40, 0x60]) {
    d.setUint8(12, offset)
    expect(Tcp.check(d, 0, 20)).toBe(false)
  }
})

test('ICMP and ICMPv6', () => {
  const d = dirty(12)
  d.setUint32(8, 0x01020304)
  Icmp.emit(d, 0, Icmp.ICMP_DEST_UNREACH, Icmp.ICMP_FRAG_NEEDED, 1400, 12)
  expect(complement(sum(d, 0, 12))).toBe(0)
  expect([Icmp.type(d, 0), Icmp.code(d, 0), Icmp.rest(d, 0)]).toEqual([3, 4, 1400])
  expect([3, 4, 5, 11, 12, 0, 8, 13].map(Icmp.isError)).toEqual([true, true, true, true, true, false, false, false])
  const p = dirty(48)
  Ipv6.emit(p, 0, {
    trafficClass: 0,
    flowLabel: 0,
    payloadLength: 8,
    nextHeader: 58,
    hopLimit: 64,
    src: sixteen(0xfd),
    dst: sixteen(0xfd, 1),
  })
  Icmp6.emit(p, 40, Icmp6.ICMPV6_PKT_TOOBIG, 0, 1280)
  Icmp6.setChecksum(p, 0, 40, 8)
  expect(Icmp6.checksumOk(p, 0, 40, 8)).toBe(true)
  expect(complement(pseudoSum(p, 0, true, 58, 8) + sum(p, 40, 8))).toBe(0)
  p.setUint8(47, 1)
  expect(Icmp6.checksumOk(p, 0, 40, 8)).toBe(false)
})

test('neighbour discovery: a solicitation that a kernel sent', () => {
  const d = bytes(
    '6000000000203afffe80000000000000000000fffe000001fd0000010000000000000000000000028700 7e19 00000000 fd000001000000000000000000000002 0101020000000001',
  )
  expect(Icmp6.checksumOk(d, 0, 40, 32)).toBe(true)
  expect(Nd.check(d, 40, 72)).toBe(true)
  const at = Nd.option(d, 40, 72, Nd.ND_OPT_SOURCE_LL_ADDR)
  expect(Buffer.from(Nd.linkAddress(d, at)!).toString('hex')).toBe('020000000001')
  expect(Nd.option(d, 40, 72, Nd.ND_OPT_TARGET_LL_ADDR)).toBe(0)
  const out = dirty(72)
  Ipv6.emit(out, 0, {
    trafficClass: 0,
    flowLabel: 0,
    payloadLength: 32,
    nextHeader: 58,
    hopLimit: 255,
    src: Ipv6.src(d, 0),
    dst: Ipv6.dst(d, 0),
  })
  const r = { type: Icmp6.type(d, 40), flags: 0, target: Nd.target(d, 40), mac: Nd.linkAddress(d, at) }
  Nd.emit(out, 40, r)
  Icmp6.setChecksum(out, 0, 40, Nd.length(r))
  expect(hex(out)).toBe(hex(d))
  for (const length of [0, 2]) {
    d.setUint8(65, length)
    expect(Nd.check(d, 40, 72), `option of length ${length}`).toBe(false)
  }
  expect(Buffer.from(Nd.solicitedNode(Nd.target(d, 40))).toString('hex')).toBe('ff0200000000000000000001ff000002')
})

test('VXLAN', () => {
  const d = bytes('0800000000006400')
  expect(Vxlan.check(d, 0, 7)).toBe(false)
  expect(Vxlan.parse(d, 0)).toEqual({ vni: 100 })
  const out = dirty(8)
  Vxlan.emit(out, 0, { vni: 0xffffff })
  expect(hex(out)).toBe('08000000ffffff00')
  d.setUint8(0, 0)
  expect(Vxlan.check(d, 0, 8), 'names no network').toBe(false)
})
