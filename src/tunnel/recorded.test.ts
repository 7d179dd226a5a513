// Geneve, gretap, gre and bareudp against frames that Linux 6.1 sent: a template must be the outer bytes of the frame
// wherever the datapath does not write, and its fields must say what the datapath writes there.
import { beforeEach, describe, expect, test } from 'vitest'
import { type Arena, createArena } from '../memory/arena.ts'
import * as T from '../memory/layout/action.ts'
import * as H from '../memory/layout/encap.ts'
import { ENC_OPTS_GENEVE } from '../memory/layout/flow_key.ts'
import * as N from '../memory/layout/netdev.ts'
import { SLOW_NO_KEY } from '../memory/layout/slow.ts'
import { alloc, TAG_TUN_INFO } from '../memory/pool.ts'
import { addPort, netInit } from '../net/link.ts'
import { netdevRegister } from '../net/netdev.ts'
import { Builder, viewOf } from '../wire/netlink.ts'
import * as L from '../wire/rtm_link.ts'
import { bareudp } from './bareudp.ts'
import { geneve } from './geneve.ts'
import { gre, gretap } from './gre.ts'
import { buildHeader, headerBytes, headerLength } from './header.ts'
import { newOuter, type TunnelType } from './tunnel.ts'

let a: Arena
let p1: number
beforeEach(() => {
  a = createArena({ bytes: 64 << 20, counters: 1024, packets: 16, threads: 4 })
  netInit(a)
  p1 = addPort(a, 'p1', 0, Uint8Array.of(2, 0, 0, 0, 0, 1))
})

const info = (fill: (b: Builder) => void): Uint8Array => {
  const b = new Builder()
  b.begin(0, 0)
  fill(b)
  return b.end().slice(16)
}
let devices = 0
function device(type: TunnelType, fill: (b: Builder) => void, mtu = 0): number {
  const dev = netdevRegister(a, { name: `t${devices++}`, kind: type.kind })
  const data = info(fill)
  type.newlink(a, dev, viewOf(data), 0, data.length, mtu)
  return dev
}
const attrs = (type: TunnelType, dev: number): string => {
  const m = info((b) => type.fillInfo(a, dev, b))
  const d = viewOf(m)
  const out: string[] = []
  for (let o = 0; o < m.length; o += (d.getUint16(o, true) + 3) & ~3)
    out.push(`${d.getUint16(o + 2, true)}:${Buffer.from(m.slice(o + 4, o + d.getUint16(o, true))).toString('hex')}`)
  return out.join(' ')
}

interface Key {
  id?: number
  csum?: boolean
  tos?: number
  ttl?: number
  opts?: string
  port?: number
}
function tunInfo(k: Key): number {
  const opts = Buffer.from((k.opts ?? '').replaceAll(' ', ''), 'hex')
  const p = alloc(a, T.TUN_SIZE + opts.length, TAG_TUN_INFO)
  a.m[(p + T.TUN_MODE) >> 2] = T.TUN_TX
  a.m[(p + T.TUN_FLAGS) >> 2] =
    (k.id === undefined ? 0 : T.TUNNEL_KEY) | (k.csum ? T.TUNNEL_CSUM : 0) | (opts.length ? T.TUNNEL_GENEVE_OPT : 0)
  a.m[(p + T.TUN_ID) >> 2] = k.id ?? 0
  a.u8.set([10, 0, 1, 1], p + T.TUN_SRC)
  a.u8.set([10, 0, 1, 2], p + T.TUN_DST)
  a.d.setUint16(p + T.TUN_TP_DST, k.port ?? 0)
  a.u8[p + T.TUN_TOS] = k.tos ?? 0
  a.u8[p + T.TUN_TTL] = k.ttl ?? 0
  a.u8[p + T.TUN_OPTS_LEN] = opts.length
  a.u8[p + T.TUN_OPTS_KIND] = opts.length ? ENC_OPTS_GENEVE : 0
  a.u8.set(opts, p + T.TUN_OPTS)
  return p
}

interface Made {
  bytes: Uint8Array
  flags: number
  field(f: number): number
}
function make(type: TunnelType, dev: number, tun: number): Made {
  const out = newOuter()
  expect(type.outer(a, dev, tun, out)).toBe(0)
  const h = buildHeader(a, type, dev, tun, out, out.src, p1, Uint8Array.of(2, 0x11, 0, 0, 1, 2), 0, 1500, 0)
  const o = headerBytes(a, h)
  const field = (f: number): number => a.m[(h + f) >> 2]
  return { bytes: a.u8.slice(o, o + headerLength(out)), flags: field(H.HEADER_FLAGS), field }
}

/** The recorded outer bytes, zero where the datapath writes. */
function expected(frame: string, h: Made): Uint8Array {
  const b = Uint8Array.from(Buffer.from(frame.replaceAll(' ', ''), 'hex')).slice(0, h.bytes.length)
  const zero = (from: number, n: number): unknown => b.fill(0, from, from + n)
  zero(15, 5) // tos, total length, id
  zero(24, 2) // header checksum
  if (h.flags & H.HEADER_F_TTL_INHERIT) zero(22, 1)
  if (h.flags & H.HEADER_F_UDP) {
    zero(34, 2)
    zero(38, 4)
  } else if (h.flags & H.HEADER_F_CSUM) zero(38, 2)
  if (h.flags & H.HEADER_F_INNER_TYPE) zero(36, 2)
  return b
}

describe('geneve', () => {
  const external = (b: Builder): void => b.attrFlag(L.IFLA_GENEVE_COLLECT_METADATA)
  const frames: [string, Key, string][] = [
    [
      'one option; ttl 0 as nobody said one',
      { id: 100, csum: true, opts: '0102 80 01 00880022', port: 6081 },
      '021100000102020000000001 0800 45 00 005b c797 0000 00 11 dcf8 0a000101 0a000102 74cc 17c1 0047 1695 02 00 6558 000064 00 01028001 00880022',
    ],
    [
      'two options, ttl and tos, the largest VNI, no checksum',
      { id: 0xffffff, tos: 0x10, ttl: 7, opts: '0102 80 02 0088002200112233 0103 01 01 aabbccdd' },
      '021100000102020000000001 0800 45 10 0062 c798 0000 07 11 d5e0 0a000101 0a000102 74cc 17c1 004e 0000 05 00 6558 ffffff 00 01028002 0088002200112233 01030101 aabbccdd',
    ],
    [
      'the port is the device’s, whatever the key says',
      { id: 0, csum: true, port: 7000 },
      '021100000102020000000001 0800 45 01 006f c799 0000 00 11 dce1 0a000101 0a000102 74cc 17c1 005b fe36 00 00 6558 000000 00',
    ],
  ]
  test.each(frames)('%s', (_, key, frame) => {
    const h = make(geneve, device(geneve, external), tunInfo(key))
    expect(h.bytes).toEqual(expected(frame, h))
    expect(h.flags & H.HEADER_F_CSUM).toBe(key.csum ? H.HEADER_F_CSUM : 0)
    expect([h.field(H.HEADER_TTL), h.field(H.HEADER_TOS)]).toEqual([key.ttl ?? 0, key.tos ?? 0])
    expect([h.field(H.HEADER_PORT_MIN), h.field(H.HEADER_PORT_COUNT)]).toEqual([32768, 28231])
  })

  test('a device of its own', () => {
    const dev = device(geneve, (b) => {
      b.attrU32(L.IFLA_GENEVE_ID, 5)
      b.attr(L.IFLA_GENEVE_REMOTE, Uint8Array.of(10, 0, 1, 2))
      b.attrU8(L.IFLA_GENEVE_TTL_INHERIT, 1)
      b.attrU8(L.IFLA_GENEVE_TOS, 1)
      b.attrU8(L.IFLA_GENEVE_DF, L.GENEVE_DF_INHERIT)
      b.attrU8(L.IFLA_GENEVE_UDP_CSUM, 1)
    })
    const { flags } = make(geneve, dev, a.m[(dev + N.NETDEV_TUN) >> 2])
    const inherited = H.HEADER_F_TTL_INHERIT | H.HEADER_F_TOS_INHERIT | H.HEADER_F_DF_INHERIT
    expect(flags).toBe(H.HEADER_F_UDP | H.HEADER_F_ALL_TAGS | H.HEADER_F_CSUM | H.HEADER_F_SMALL | inherited)
    expect(attrs(geneve, dev)).toBe('1:05000000 2:0a000102 8:01 3:00 4:01 11:00000000 13:02 5:17c1 10:01 12:01')
    geneve.dellink(a, dev)
  })

  test('MTU and refusals', () => {
    expect(a.m[(device(geneve, external) + N.NETDEV_MTU) >> 2]).toBe(65465) // as recorded: by way of loopback
    expect(() => device(geneve, external)).toThrow(expect.objectContaining({ errno: 16 }))
    const own = (b: Builder): void => {
      b.attrU32(L.IFLA_GENEVE_ID, 5)
      b.attr(L.IFLA_GENEVE_REMOTE, Uint8Array.of(10, 0, 1, 2))
    }
    expect(() => device(geneve, own)).toThrow('There already exists an externally controlled device')
    const on7000 = (b: Builder): void => {
      own(b)
      b.attrBe16(L.IFLA_GENEVE_PORT, 7000)
    }
    device(geneve, on7000)
    expect(() => device(geneve, on7000)).toThrow(expect.objectContaining({ errno: 16 }))
    expect(() =>
      device(geneve, (b) => {
        external(b)
        b.attrBe16(L.IFLA_GENEVE_PORT, 7000)
      }),
    ).toThrow('only one externally controlled device')
    expect(() => device(geneve, (b) => b.attr(L.IFLA_GENEVE_REMOTE, Uint8Array.of(224, 0, 0, 1)))).toThrow('Multicast')
    expect(() => device(geneve, (b) => b.attrU32(L.IFLA_GENEVE_ID, 1 << 24))).toThrow('Geneve ID must be lower')
    expect(() =>
      device(geneve, (b) => {
        external(b)
        b.attrU32(L.IFLA_GENEVE_ID, 5)
      }),
    ).toThrow('Device is externally controlled')
  })
})

describe('gretap and gre', () => {
  const external = (b: Builder): void => b.attrFlag(L.IFLA_GRE_COLLECT_METADATA)
  const frames: [string, TunnelType, Key, string][] = [
    [
      'gretap: key and checksum, the ttl of the inner packet',
      gretap,
      { id: 100, csum: true },
      '021100000102020000000001 0800 45 00 004f 2eaa 0000 40 2f 35d4 0a000101 0a000102 a000 6558 010e 0000 00000064',
    ],
    [
      'gretap: the largest key, ttl and tos',
      gretap,
      { id: 0xffffffff, tos: 0x10, ttl: 7 },
      '021100000102020000000001 0800 45 10 0046 2eab 0000 07 2f 6ecc 0a000101 0a000102 2000 6558 ffffffff',
    ],
    [
      'gretap: no key',
      gretap,
      {},
      '021100000102020000000001 0800 45 01 0063 2eac 0000 ff 2f 76bc 0a000101 0a000102 0000 6558',
    ],
    [
      'gre: the protocol is the inner frame’s',
      gre,
      { id: 100 },
      '021100000102020000000001 0800 45 00 003d ea8b 0000 40 2f 7a04 0a000101 0a000102 2000 0800 00000064',
    ],
  ]
  test.each(frames)('%s', (_, type, key, frame) => {
    const h = make(type, device(type, external), tunInfo(key))
    expect(h.bytes).toEqual(expected(frame, h))
    expect((h.flags & H.HEADER_F_TTL_INHERIT) !== 0).toBe(key.ttl === undefined)
    expect(h.field(H.HEADER_STRIP)).toBe(type === gre ? 14 : 0)
    expect(h.field(H.HEADER_INNER_MTU)).toBe(type === gre ? 1476 : 1462) // the devices' MTUs, as recorded
  })

  test('a device of its own: DF by default, and inner packets by the route’s MTU', () => {
    const dev = device(gretap, (b) => {
      b.attrBe16(L.IFLA_GRE_OFLAGS, 0x2000)
      b.attrBe32(L.IFLA_GRE_OKEY, 5)
      b.attr(L.IFLA_GRE_LOCAL, Uint8Array.of(10, 0, 1, 1))
      b.attr(L.IFLA_GRE_REMOTE, Uint8Array.of(10, 0, 1, 2))
    })
    const h = make(gretap, dev, a.m[(dev + N.NETDEV_TUN) >> 2])
    const looks = H.HEADER_F_LOOKS | H.HEADER_F_WHOLE
    expect(h.flags).toBe(H.HEADER_F_GRE | looks | H.HEADER_F_DF_SET | H.HEADER_F_TTL_INHERIT | H.HEADER_F_SMALL)
    expect(h.field(H.HEADER_INNER_MTU)).toBe(1500 - 20 - 8 - 14)
    expect(attrs(gretap, dev)).toBe(
      '1:00000000 2:0000 3:2000 4:00000000 5:00000005 6:0a000101 7:0a000102 8:00 9:00 10:01 20:00000000 14:0000 16:0000 17:0000 15:0000 19:00',
    )
  })

  test('refusals', () => {
    device(gretap, external)
    expect(() => device(gretap, external)).toThrow(expect.objectContaining({ errno: 17 }))
    device(gre, external)
    expect(() => device(gre, () => {})).toThrow('without a remote')
    expect(() => device(gretap, (b) => b.attrBe16(L.IFLA_GRE_OFLAGS, 0x4000))).toThrow(
      expect.objectContaining({ errno: 22 }),
    )
  })

  test('only IPv4 keys', () => {
    const dev = device(gretap, external)
    const v6 = tunInfo({ id: 1 })
    a.m[(v6 + T.TUN_MODE) >> 2] |= T.TUN_IPV6
    expect(gretap.outer(a, dev, v6, newOuter())).toBe(SLOW_NO_KEY)
    expect(gretap.outer(a, dev, 0, newOuter())).toBe(SLOW_NO_KEY)
  })
})

describe('bareudp', () => {
  const mpls = (b: Builder): void => {
    b.attrBe16(L.IFLA_BAREUDP_PORT, 6635)
    b.attrBe16(L.IFLA_BAREUDP_ETHERTYPE, 0x8847)
  }
  test('nothing but UDP, and ttl 0', () => {
    const dev = device(bareudp, mpls)
    const h = make(bareudp, dev, tunInfo({ csum: true, port: 9999 }))
    const frame = '021100000102020000000001 0800 45 00 0041 902f 0000 00 11 147b 0a000101 0a000102 e35e 19eb 002d 494e'
    expect(h.bytes).toEqual(expected(frame, h))
    expect([h.field(H.HEADER_STRIP), h.field(H.HEADER_ETHERTYPES), h.field(H.HEADER_TTL)]).toEqual([14, 0x4788, 0])
    expect(attrs(bareudp, dev)).toBe('1:19eb 2:8847 3:0000')
    expect(a.m[(dev + N.NETDEV_MTU) >> 2]).toBe(1500)
  })
  test('multiproto', () => {
    const dev = device(bareudp, (b) => {
      b.attrBe16(L.IFLA_BAREUDP_PORT, 6636)
      b.attrBe16(L.IFLA_BAREUDP_ETHERTYPE, 0x0800)
      b.attrU16(L.IFLA_BAREUDP_SRCPORT_MIN, 1000)
      b.attrFlag(L.IFLA_BAREUDP_MULTIPROTO_MODE)
    })
    const h = make(bareudp, dev, tunInfo({}))
    expect(h.field(H.HEADER_ETHERTYPES) >>> 0).toBe(0xdd860008)
    expect([h.field(H.HEADER_PORT_MIN), h.field(H.HEADER_PORT_COUNT)]).toEqual([1000, 64535])
    expect(bareudp.outer(a, dev, 0, newOuter())).toBe(SLOW_NO_KEY)
  })
  test('refusals', () => {
    device(bareudp, mpls)
    expect(() => device(bareudp, mpls)).toThrow('Another bareudp device using the same port already exists')
    expect(() => device(bareudp, (b) => b.attrBe16(L.IFLA_BAREUDP_PORT, 1))).toThrow('ethertype not specified')
    expect(() => device(bareudp, (b) => b.attrBe16(L.IFLA_BAREUDP_ETHERTYPE, 1))).toThrow('port not specified')
  })
})
