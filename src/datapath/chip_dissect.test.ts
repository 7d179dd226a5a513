import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createArena } from '../memory/arena.ts'
import * as K from '../memory/layout/flow_key.ts'
import { PKT_IIF } from '../memory/layout/packet.ts'
import { Datapath } from './chip.ts'
import { referenceKey } from './reference.ts'

const a = createArena({ bytes: 64 << 20, packets: 16, counters: 1024, emc: 64 })
const dp = new Datapath(a, 0)

function chipKey(frame: Uint8Array): Uint8Array {
  const pkt = dp.alloc()
  expect(dp.loadBytes(pkt, frame)).toBe(true)
  // What stood in the slot before must not be read as part of the frame.
  a.u8.fill(0xff, a.m[pkt >> 2] + frame.length, a.m[pkt >> 2] + frame.length + 64)
  a.m[(pkt + PKT_IIF) >> 2] = 7
  const at = dp.dissect(pkt)
  dp.release(pkt)
  return a.u8.slice(at, at + K.KEY_SIZE_OPTS)
}

const bytes = (n: number) => fc.array(fc.integer({ min: 0, max: 255 }), { minLength: n, maxLength: n })
const mac = bytes(12)
const be = (v: number): number[] => [v >> 8, v & 255]

const transportProto = fc.constantFrom(0, 1, 6, 17, 33, 43, 44, 47, 50, 51, 58, 60, 115, 132, 136, 137, 4, 41)
const payload = fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 60 })

const ipv4 = fc
  .tuple(
    fc.constantFrom(0x45, 0x45, 0x45, 0x46, 0x4f, 0x44, 0x65),
    transportProto,
    fc.constantFrom(0, 0, 0, 0x20, 0x21, 0x40, 1),
    bytes(8),
    payload,
  )
  .map(([first, proto, frag, addresses, rest]) => [
    ...[first, 0x1b, 0, 0, 0, 1, frag, 0, 64, proto, 0, 0],
    ...addresses,
    ...Array((first & 15) > 5 ? ((first & 15) - 5) * 4 : 0).fill(1),
    ...rest,
  ])

/** Extension headers: the next one's number, a length, bytes. */
const extensions = fc.array(
  fc.tuple(fc.constantFrom(0, 43, 60, 44), fc.constantFrom(0, 0, 1), bytes(14), fc.boolean()),
  { maxLength: 18 },
)
const ipv6 = fc
  .tuple(fc.constantFrom(0x60, 0x6a, 0x40), transportProto, bytes(32), extensions, payload)
  .map(([first, proto, addresses, headers, rest]) => {
    const out = [first, 0xb1, 2, 3, 0, 0, headers[0]?.[0] ?? proto, 64, ...addresses]
    headers.forEach(([kind, length, body, atomic], i) => {
      const next = headers[i + 1]?.[0] ?? proto
      if (kind === 44) out.push(next, 0, ...(atomic ? [0, 1] : body.slice(0, 2)), 0, 0, 0, 1)
      else out.push(next, length, ...body.slice(0, 6 + length * 8))
    })
    return [...out, ...rest]
  })
const arp = fc
  .tuple(fc.constantFrom([0, 1], [0, 2], [0, 3], [1, 1]), fc.constantFrom(6, 5), bytes(20))
  .map(([operation, hln, rest]) => [0, 1, 8, 0, hln, 4, ...operation, ...rest])
const mpls = fc
  .tuple(fc.array(bytes(4), { maxLength: 17 }), fc.integer({ min: 0, max: 17 }))
  .map(([entries, bottom]) => entries.flatMap((e, i) => [e[0], e[1], i === bottom ? e[2] | 1 : e[2] & 0xfe, e[3]]))
const other = fc
  .tuple(fc.constantFrom([], [0xff, 0xff], [0xaa, 0xaa]), payload)
  .map(([head, rest]) => [...head, ...rest])

type Layer = [type: number, body: number[]]
const innermost: fc.Arbitrary<Layer> = fc.oneof(
  ipv4.map((b): Layer => [0x0800, b]),
  ipv6.map((b): Layer => [0x86dd, b]),
  arp.map((b): Layer => [0x0806, b]),
  arp.map((b): Layer => [0x8035, b]),
  mpls.map((b): Layer => [0x8847, b]),
  fc.tuple(fc.constantFrom(0x88cc, 0x0026, 0x05ff, 0x0600, 0x9100, 0x4305), other).map(([t, b]): Layer => [t, b]),
)
const pppoe = fc
  .tuple(
    fc.constantFrom(0x21, 0x57, 0x281, 0x283, 0xc021, 0x2100, 0x5700, 0x101),
    fc.constantFrom(0x11, 0x12),
    innermost,
  )
  .map(
    ([ppp, version, [, body]]): Layer => [
      0x8864,
      [
        version,
        0,
        0x12,
        0x34,
        ...be(body.length + 2),
        ...(ppp > 0x1000 && ppp & 0x100 ? [ppp >> 8] : be(ppp)),
        ...body,
      ],
    ],
  )
const tagged = fc
  .tuple(fc.array(fc.tuple(fc.constantFrom(0x8100, 0x88a8), bytes(2)), { maxLength: 17 }), fc.oneof(innermost, pppoe))
  .map(([tags, [type, body]]) => {
    const out: number[] = []
    for (const [tpid, tci] of tags) out.push(...be(tpid), ...tci)
    return [...out, ...be(type), ...body]
  })
const frame = fc
  .tuple(mac, tagged, fc.option(fc.integer({ min: 0, max: 200 }), { freq: 3, nil: undefined }))
  .map(([macs, rest, cut]) =>
    Uint8Array.from([...macs, ...rest]).subarray(0, cut === undefined ? 1400 : Math.max(cut, 14)),
  )

describe('the dissector', { timeout: 60_000 }, () => {
  it('says what the reference says, of frames of every kind, whole and cut short', () => {
    fc.assert(
      fc.property(frame, (f) => {
        expect(chipKey(f)).toEqual(referenceKey(f, 7))
      }),
      { numRuns: 1500 },
    )
  })

  it('says what the reference says of bytes at random', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 0, maxLength: 200 }), (f) => {
        expect(chipKey(f)).toEqual(referenceKey(f, 7))
      }),
      { numRuns: 500 },
    )
  })

  it('says what the reference says of frames with bytes changed', () => {
    const change = fc.array(fc.tuple(fc.integer({ min: 0, max: 80 }), fc.integer({ min: 0, max: 255 })), {
      maxLength: 4,
    })
    fc.assert(
      fc.property(frame, change, (f, changes) => {
        const g = f.slice()
        for (const [at, v] of changes) if (at < g.length) g[at] = v
        expect(chipKey(g)).toEqual(referenceKey(g, 7))
      }),
      { numRuns: 1000 },
    )
  })

  it('reads an IPv4 UDP frame', () => {
    const f = Uint8Array.from([
      ...[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0xb8, 0, 28, 0, 0, 0x40, 0, 63, 17, 0, 0],
      ...[10, 0, 0, 1, 10, 0, 0, 2, 0x12, 0x34, 0, 53, 0, 8, 0, 0],
    ])
    const key = chipKey(f)
    const at = (o: number, n: number): number[] => [...key.subarray(o, o + n)]
    expect(at(K.KEY_N_PROTO, 4)).toEqual([8, 0, 17, K.FLOW_ADDR_IPV4])
    expect(at(K.KEY_IPV4_SRC, 8)).toEqual([10, 0, 0, 1, 10, 0, 0, 2])
    expect(at(K.KEY_PORT_SRC, 4)).toEqual([0x12, 0x34, 0, 53])
    expect(at(K.KEY_IP_TOS, 2)).toEqual([0xb8, 63])
  })
})
