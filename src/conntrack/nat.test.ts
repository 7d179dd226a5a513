// Address translation of connections: to and back, both families, ports that are taken, and the packets in ICMP errors.
import { describe, expect, test, vi } from 'vitest'
import { DROP_CT_CLASH } from '../memory/layout/drop.ts'
import { fragments, ipv4Residue, tcp, udp } from '../testing/packets.ts'
import { complement, pseudoSum, sum } from '../wire/checksum.ts'
import * as Eth from '../wire/ethernet.ts'
import { icmp, packetOf, World } from './world.fixture.ts'

vi.setConfig({ testTimeout: 60000 })

const A = '10.0.0.1'
const B = '10.0.0.2'
const T = '192.0.2.1'
const A6 = 'fd00::1'
const B6 = 'fd00::2'
const T6 = 'fd00:1::1'

const viewOf = (f: Uint8Array): DataView => new DataView(f.buffer, f.byteOffset, f.byteLength)

/** Both checksums of a frame are right. */
function holds(f: Uint8Array): boolean {
  const d = viewOf(f)
  const v6 = d.getUint16(12) === Eth.ETH_P_IPV6
  const proto = v6 ? f[20] : f[23]
  const at = v6 ? 54 : 34
  const start = proto === 1 ? 0 : pseudoSum(d, Eth.LEN, v6, proto, f.length - at)
  return (v6 || ipv4Residue(f) === 0) && complement(start + sum(d, at, f.length - at)) === 0
}
/** What the last packet to leave says, as if it had been made so. */
function sameAs(w: World, f: Uint8Array): void {
  expect(Buffer.from(w.last).toString('hex')).toBe(Buffer.from(f).toString('hex'))
}

const data = Uint8Array.from({ length: 20 }, (_, i) => i * 7)

describe.each([
  ['IPv4', A, B, T],
  ['IPv6', A6, B6, T6],
])('%s', (_, a, b, t) => {
  const one = (src: string, dst: string, sport: number, dport: number) => udp({ src, dst, sport, dport, data })

  test('source: out as the new address, back as the old', () => {
    const w = new World({ track: 'nat', commit: `action ct commit nat src addr ${t} port 5000` })
    expect(w.send(0, one(a, b, 1000, 53))).toBe('new')
    sameAs(w, one(t, b, 5000, 53))
    expect(w.send(1, one(b, t, 53, 5000))).toBe('est rpl')
    sameAs(w, one(b, a, 53, 1000))
    expect(w.send(0, one(a, b, 1000, 53))).toBe('est')
    sameAs(w, one(t, b, 5000, 53))
    expect(w.connections[0]).toMatchObject({
      original: { src: a, dst: b, sport: 1000, dport: 53 },
      reply: { src: b, dst: t, sport: 53, dport: 5000 },
    })
  })

  test('destination: in to the new address, back as the old', () => {
    const w = new World({ track: 'nat', commit: `action ct commit nat dst addr ${t} port 8080` })
    expect(w.send(0, one(a, b, 1000, 80))).toBe('new')
    sameAs(w, one(a, t, 1000, 8080))
    expect(w.send(1, one(t, a, 8080, 1000))).toBe('est rpl')
    sameAs(w, one(b, a, 80, 1000))
  })

  test('TCP through its whole handshake, and in the flow table', () => {
    const w = new World({ track: 'nat', commit: `action ct commit nat src addr ${t}` })
    const seg = (src: string, dst: string, flags: number, sequence: number, acknowledgment: number) => {
      const out = src === b
      const [sport, dport] = out ? [80, 4000] : [4000, 80]
      return tcp({ src, dst, sport, dport, flags, sequence, acknowledgment, data: flags === 24 ? data : undefined })
    }
    w.send(0, seg(a, b, 2, 100, 0))
    sameAs(w, seg(t, b, 2, 100, 0))
    expect(w.send(1, seg(b, t, 18, 500, 101))).toBe('est rpl')
    sameAs(w, seg(b, a, 18, 500, 101))
    w.send(0, seg(a, b, 16, 101, 501))
    expect(w.connections[0].status).toEqual(['ASSURED', 'OFFLOAD'])
    w.send(0, seg(a, b, 24, 101, 501))
    sameAs(w, seg(t, b, 24, 101, 501))
    w.send(1, seg(b, t, 24, 501, 121))
    sameAs(w, seg(b, a, 24, 501, 121))
  })

  test('an echo keeps its id, or gets another when it is taken', () => {
    const w = new World({ track: 'nat', commit: `action ct commit nat src addr ${t}` })
    const [ask, reply] = a === A ? [8, 0] : [128, 129]
    const echo = (type: number, src: string, dst: string, id: number) =>
      icmp(type, 0, (id << 16) | 1, data, { src, dst })
    w.send(0, echo(ask, a, b, 7))
    sameAs(w, echo(ask, t, b, 7))
    expect(w.send(1, echo(reply, b, t, 7))).toBe('est rpl')
    sameAs(w, echo(reply, b, a, 7))
    const other = a === A ? '10.0.0.3' : 'fd00::3'
    expect(w.send(0, echo(ask, other, b, 7))).toBe('new')
    const id = viewOf(w.last).getUint16(a === A ? 38 : 58)
    expect(id).not.toBe(7)
    expect(holds(w.last)).toBe(true)
    expect(w.send(1, echo(reply, b, t, id))).toBe('est rpl')
    sameAs(w, echo(reply, b, other, 7))
  })

  test('an ICMP error about a translated packet, and the packet in it', () => {
    const w = new World({ track: 'nat', commit: `action ct commit nat src addr ${t} port 5000` })
    w.send(0, one(a, b, 1000, 53))
    const router = a === A ? '10.0.0.9' : 'fd00::9'
    const [type, code] = a === A ? [3, 3] : [1, 4]
    const error = (to: string, inner: Uint8Array) => icmp(type, code, 0, inner, { src: router, dst: to })
    expect(w.send(1, error(t, packetOf(one(t, b, 5000, 53))))).toBe('rel rpl')
    sameAs(w, error(a, packetOf(one(a, b, 1000, 53))))
    expect(holds(w.last)).toBe(true)
  })
})

const one = (src: string, dst: string, sport: number, dport: number): Uint8Array =>
  udp({ src, dst, sport, dport, data })

describe('ports', () => {
  test('stay as they are while nobody else has them', () => {
    const w = new World({ track: 'nat', commit: `action ct commit nat src addr ${T}` })
    w.send(0, one(A, B, 1000, 53))
    sameAs(w, one(T, B, 1000, 53))
    w.send(0, one('10.0.0.3', B, 1000, 53))
    const port = viewOf(w.last).getUint16(34)
    expect(port).not.toBe(1000)
    expect(port).toBeGreaterThanOrEqual(600) // as privileged as it was
    expect(port).toBeLessThan(1024)
    expect(holds(w.last)).toBe(true)
    w.send(1, one(B, T, 53, port))
    sameAs(w, one(B, '10.0.0.3', 53, 1000))
  })

  test('of a range: each connection one of its own, until they are all taken', () => {
    const w = new World({ track: 'nat', commit: `action ct commit nat src addr ${T} port 7000-7007` })
    const ports = new Set<number>()
    for (let i = 0; i < 8; i++) {
      expect(w.send(0, one(A, B, 2000 + i, 53))).toBe('new')
      ports.add(viewOf(w.last).getUint16(34))
    }
    expect([...ports].sort()).toEqual([7000, 7001, 7002, 7003, 7004, 7005, 7006, 7007])
    expect(w.send(0, one(A, B, 3000, 53))).toBe('')
    expect(w.drops()).toEqual({ [DROP_CT_CLASH]: 1 })
    expect(w.send(0, one(A, '10.0.0.4', 3000, 53))).toBe('new')
  })

  test('a port that only one may have', () => {
    const w = new World({ track: 'nat', commit: `action ct commit nat src addr ${T} port 5000` })
    w.send(0, one(A, B, 1000, 53))
    expect(w.send(0, one(A, B, 1001, 53))).toBe('')
    expect(w.connections).toHaveLength(1)
  })

  test('addresses of a range: of it, and the same for the same hosts', () => {
    const w = new World({ track: 'nat', commit: 'action ct commit nat src addr 192.0.2.16-192.0.2.31' })
    const chosen = new Set<number>()
    for (let i = 0; i < 60; i++) {
      w.send(0, one(`10.0.1.${i}`, B, 1000, 53))
      const byte = w.last[29]
      expect([...w.last.slice(26, 29), byte >> 4]).toEqual([192, 0, 2, 1])
      w.send(0, one(`10.0.1.${i}`, B, 1001, 53))
      expect(w.last[29]).toBe(byte)
      chosen.add(byte)
    }
    expect(chosen.size).toBeGreaterThan(8)
  })
})

test('all connections of a source get the same address and port of a range, while it is free', () => {
  const w = new World({ track: 'nat', commit: 'action ct commit nat src addr 192.0.2.16-192.0.2.31 port 5000-5999' })
  for (let i = 0; i < 20; i++) {
    const mapped = ['10.9.0.1', '10.9.0.2', '10.9.0.3'].map((to) => {
      expect(w.send(0, one(`10.0.1.${i}`, to, 1000, 53))).toBe('new')
      return [...w.last.slice(26, 30), ...w.last.slice(34, 36)].join('.')
    })
    expect(new Set(mapped).size).toBe(1)
  }
})

describe('what is not translated', () => {
  test('by ct nat without a mapping', () => {
    const w = new World({ track: 'nat' })
    w.send(0, one(A, B, 1000, 53))
    sameAs(w, one(A, B, 1000, 53))
    expect(w.send(1, one(B, A, 53, 1000))).toBe('est rpl')
  })

  test('by ct without nat, and a checksum of zero stays zero', () => {
    const bare = (src: string, sport: number) => udp({ src, dst: B, sport, dport: 53, data, checksum: false })
    const w = new World({ commit: `action ct commit nat src addr ${T} port 5000` })
    w.send(0, bare(A, 1000))
    sameAs(w, bare(T, 5000))
    w.send(1, one(B, T, 53, 5000))
    sameAs(w, one(B, T, 53, 5000))
  })
})

test('fragments of a translated datagram leave translated', () => {
  const w = new World({ track: 'nat', commit: `action ct commit nat src addr ${T} port 5000` })
  const long = Uint8Array.from({ length: 500 }, (_, i) => i)
  const parts = fragments(udp({ src: A, dst: B, sport: 1000, data: long }), 256)
  w.send(0, parts[0])
  expect(w.send(0, parts[1])).toBe('new, new')
  expect(w.frames).toEqual(fragments(udp({ src: T, dst: B, sport: 5000, data: long }), 256))
})

test('a translated destination whose answers would be those of another connection: the source port gives way', () => {
  const w = new World({ track: 'nat', commit: `action ct commit nat dst addr ${T}` })
  w.send(0, one(A, B, 1000, 80))
  expect(w.send(0, one(A, '10.0.0.9', 1000, 80))).toBe('new')
  expect(w.last.slice(30, 34)).toEqual(Uint8Array.of(192, 0, 2, 1))
  const port = viewOf(w.last).getUint16(34)
  expect(port).not.toBe(1000)
  expect(holds(w.last)).toBe(true)
  expect(w.send(1, one(T, A, 80, port))).toBe('est rpl')
  sameAs(w, one('10.0.0.9', A, 80, 1000))
  // Where nothing is to be translated, nothing gives way.
  expect(w.send(0, one(A, T, 1000, 80))).toBe('')
})
