import { beforeEach, describe, expect, test } from 'vitest'
import { type Arena, createArena } from '../memory/arena.ts'
import * as T from '../memory/layout/action.ts'
import * as H from '../memory/layout/encap.ts'
import { ENC_OPTS_VXLAN } from '../memory/layout/flow_key.ts'
import * as N from '../memory/layout/netdev.ts'
import { SLOW_NO_KEY, SLOW_NO_REMOTE, SLOW_OPTIONS, SLOW_PER_PACKET } from '../memory/layout/slow.ts'
import { SUPER_NETDEVS } from '../memory/layout/super.ts'
import { alloc, inUse } from '../memory/pool.ts'
import { TAG_TUN_INFO } from '../memory/tags.ts'
import { Builder, viewOf } from '../wire/netlink.ts'
import { NetlinkError } from '../wire/netlink_error.ts'
import * as L from '../wire/rtm_link.ts'
import { buildHeader, freeHeader, headerBytes, headerLength } from './header.ts'
import { tunnelNamed, tunnelOf } from './index.ts'
import { newOuter } from './tunnel.ts'
import { vxlan } from './vxlan.ts'

let a: Arena
const PORT_MAC = [2, 0, 0, 0, 0, 1]
const slot = (i: number): number => a.m[SUPER_NETDEVS >> 2] + i * N.NETDEV_SIZE

/** A slot as net/netdev.ts leaves it before the tunnel type fills in its part. */
function device(i: number, kind: number): number {
  const dev = slot(i)
  a.m[(dev + N.NETDEV_KIND) >> 2] = kind
  a.m[(dev + N.NETDEV_IFINDEX) >> 2] = i
  a.m[(dev + N.NETDEV_MTU) >> 2] = 1500
  if (kind === N.NETDEV_KIND_PORT) a.u8.set(PORT_MAC, dev + N.NETDEV_MAC)
  return dev
}

const info = (fill: (b: Builder) => void): Uint8Array => {
  const b = new Builder()
  b.begin(0, 0)
  fill(b)
  return b.end().slice(16)
}
const newlink = (dev: number, data: Uint8Array | null, mtu = 0): void =>
  vxlan.newlink(a, dev, viewOf(data ?? new Uint8Array(0)), 0, data === null ? 0 : data.length, mtu)

const hex = (b: Uint8Array): string => Buffer.from(b).toString('hex')
const ip4 = (s: string): Uint8Array => Uint8Array.from([...s.split('.').map(Number), ...new Array(12).fill(0)])

beforeEach(() => {
  a = createArena({ bytes: 64 << 20, counters: 64, packets: 16, threads: 4 })
})

const external = (b: Builder): void => {
  b.attrU8(L.IFLA_VXLAN_COLLECT_METADATA, 1)
  b.attrU8(L.IFLA_VXLAN_LEARNING, 0)
  b.attrBe16(L.IFLA_VXLAN_PORT, 4789)
}
const classic =
  (vni: number, more: (b: Builder) => void = () => {}) =>
  (b: Builder): void => {
    b.attrU32(L.IFLA_VXLAN_ID, vni)
    b.attr(L.IFLA_VXLAN_GROUP, ip4('10.0.0.1').subarray(0, 4))
    b.attr(L.IFLA_VXLAN_LOCAL, ip4('10.0.0.2').subarray(0, 4))
    b.attrBe16(L.IFLA_VXLAN_PORT, 4789)
    more(b)
  }

interface Key {
  src?: string
  dst?: string
  v6?: boolean
  flags?: number
  tos?: number
  ttl?: number
  port?: number
  vni?: number
}
function tunInfo(k: Key): number {
  const p = alloc(a, T.TUN_SIZE, TAG_TUN_INFO)
  a.m[(p + T.TUN_MODE) >> 2] = T.TUN_TX | (k.v6 ? T.TUN_IPV6 : 0)
  a.m[(p + T.TUN_FLAGS) >> 2] = k.flags ?? T.TUNNEL_KEY | T.TUNNEL_CSUM
  a.m[(p + T.TUN_ID) >> 2] = k.vni ?? 0x123456
  const bytes = (s: string): Uint8Array => (k.v6 ? Uint8Array.from(Buffer.from(s, 'hex')) : ip4(s))
  a.u8.set(bytes(k.src ?? '10.0.0.2'), p + T.TUN_SRC)
  a.u8.set(bytes(k.dst ?? '10.0.0.1'), p + T.TUN_DST)
  a.d.setUint16(p + T.TUN_TP_DST, k.port ?? 0)
  a.u8[p + T.TUN_TOS] = k.tos ?? 0
  a.u8[p + T.TUN_TTL] = k.ttl ?? 0
  return p
}

function header(dev: number, tun: number): { h: number; bytes: string; flags: number } {
  const out = newOuter()
  expect(vxlan.outer(a, dev, tun, out)).toBe(0)
  const h = buildHeader(a, vxlan, dev, tun, out, out.src, slot(9), Uint8Array.from([2, 17, 0, 0, 1, 2]), 0, 1500, 77)
  const at = headerBytes(a, h)
  expect(a.m[(h + H.HEADER_LEN) >> 2]).toBe(headerLength(out))
  return { h, bytes: hex(a.u8.slice(at, at + headerLength(out))), flags: a.m[(h + H.HEADER_FLAGS) >> 2] }
}

describe('encap header', () => {
  let dev: number
  beforeEach(() => {
    device(9, N.NETDEV_KIND_PORT)
    dev = device(2, N.NETDEV_KIND_VXLAN)
    newlink(dev, info(external))
  })

  test('over IPv4: what the datapath patches is zero', () => {
    const { h, bytes, flags } = header(dev, tunInfo({ tos: 0x10 }))
    expect(bytes).toBe(
      '021100000102' +
        '020000000001' +
        '0800' +
        '4500' +
        '0000' +
        '0000' +
        '0000' +
        '40' +
        '11' +
        '0000' +
        '0a000002' +
        '0a000001' +
        '0000' +
        '12b5' +
        '0000' +
        '0000' +
        '08000000' +
        '12345600',
    )
    expect(flags).toBe(H.HEADER_F_UDP | H.HEADER_F_CSUM | H.HEADER_F_SMALL)
    const w = (f: number): number => a.m[(h + f) >> 2]
    expect(w(H.HEADER_TOS)).toBe(0x10)
    expect(w(H.HEADER_TTL)).toBe(64)
    expect(w(H.HEADER_L3)).toBe(14)
    expect(w(H.HEADER_L4)).toBe(34)
    expect(w(H.HEADER_MTU)).toBe(1500)
    expect(w(H.HEADER_OUT_DEV)).toBe(slot(9))
    expect(w(H.HEADER_ENTRY)).toBe(77)
    expect(w(H.HEADER_PORT_MIN)).toBe(32768)
    expect(w(H.HEADER_PORT_COUNT)).toBe(28231)
    expect(w(H.HEADER_IP_SUM)).toBe(0x4500 + 0x4011 + 0x0a00 + 0x0002 + 0x0a00 + 0x0001)
    expect(w(H.HEADER_PSEUDO_SUM)).toBe(0x0a00 + 0x0002 + 0x0a00 + 0x0001 + 17)
    freeHeader(a, h)
    expect(inUse(a).encap_header ?? 0).toBe(0)
  })

  test('over IPv6, with ttl and port of the key', () => {
    const src = 'fd000001000000000000000000000001'
    const dst = 'fd000001000000000000000000000002'
    const { h, bytes, flags } = header(dev, tunInfo({ v6: true, src, dst, ttl: 3, port: 4790, vni: 1 }))
    expect(bytes).toBe(
      `${'021100000102'}${'020000000001'}86dd${'60000000'}0000${'1103'}${src}${dst}${'000012b600000000'}${'0800000000000100'}`,
    )
    expect(flags).toBe(H.HEADER_F_UDP | H.HEADER_F_CSUM | H.HEADER_F_SMALL | H.HEADER_F_IPV6)
    expect(a.m[(h + H.HEADER_PSEUDO_SUM) >> 2]).toBe(0xfd00 * 2 + 2 + 1 + 2 + 17)
  })

  test('nocsum, and DF only over IPv4', () => {
    const flags = T.TUNNEL_KEY | T.TUNNEL_DONT_FRAGMENT
    const v4 = header(dev, tunInfo({ flags }))
    expect(v4.flags & (H.HEADER_F_CSUM | H.HEADER_F_DF_SET)).toBe(H.HEADER_F_DF_SET)
    expect(v4.bytes.slice(40, 44)).toBe('4000')
    expect(header(dev, tunInfo({ v6: true, src: 'fd'.repeat(16), dst: 'fc'.repeat(16), flags })).flags).toBe(
      H.HEADER_F_UDP | H.HEADER_F_SMALL | H.HEADER_F_IPV6,
    )
  })

  test('a group policy needs both the device and the key', () => {
    const tun = alloc(a, T.TUN_SIZE_MAX, TAG_TUN_INFO)
    a.u8.copyWithin(tun, tunInfo({}), tunInfo({}) + 64)
    a.m[(tun + T.TUN_MODE) >> 2] = T.TUN_TX
    a.m[(tun + T.TUN_FLAGS) >> 2] |= T.TUNNEL_VXLAN_OPT
    expect(vxlan.outer(a, dev, tun, newOuter())).toBe(SLOW_OPTIONS)
    a.u8[tun + T.TUN_OPTS_LEN] = 4
    a.u8[tun + T.TUN_OPTS_KIND] = ENC_OPTS_VXLAN
    a.m[(tun + T.TUN_OPTS) >> 2] = 0x480123
    expect(header(dev, tun).bytes.slice(84, 92)).toBe('08000000')
    const gbp = device(3, N.NETDEV_KIND_VXLAN)
    newlink(
      gbp,
      info((b) => {
        external(b)
        b.attrFlag(L.IFLA_VXLAN_GBP)
      }),
    )
    expect(header(gbp, tun).bytes.slice(84, 92)).toBe('88480123')
  })

  test('no header without a key', () => {
    expect(vxlan.outer(a, dev, 0, newOuter())).toBe(SLOW_NO_KEY)
    const rx = tunInfo({})
    a.m[(rx + T.TUN_MODE) >> 2] = 0
    expect(vxlan.outer(a, dev, rx, newOuter())).toBe(SLOW_NO_KEY)
  })

  test('a classic device follows its parameters', () => {
    const own = device(4, N.NETDEV_KIND_VXLAN)
    newlink(
      own,
      info(
        classic(55, (b) => {
          b.attrU8(L.IFLA_VXLAN_TOS, 1)
          b.attrFlag(L.IFLA_VXLAN_TTL_INHERIT)
          b.attrU8(L.IFLA_VXLAN_DF, L.VXLAN_DF_INHERIT)
          b.attrU8(L.IFLA_VXLAN_UDP_CSUM, 0)
        }),
      ),
    )
    const tun = a.m[(own + N.NETDEV_TUN) >> 2]
    const inherited = H.HEADER_F_TOS_INHERIT | H.HEADER_F_TTL_INHERIT | H.HEADER_F_DF_INHERIT
    const { h, bytes, flags } = header(own, tun)
    expect(flags).toBe(H.HEADER_F_UDP | H.HEADER_F_SMALL | inherited)
    expect(a.m[(h + H.HEADER_TTL) >> 2]).toBe(64)
    expect(bytes.slice(44, 46)).toBe('00') // the ttl is the packet's: not in the template, nor in its sum
    expect(bytes.slice(52, 68)).toBe('0a0000020a000001')
    expect(bytes.slice(92)).toBe('00003700')
    // A key that the packet brings decides only about DF.
    const key = header(own, tunInfo({ vni: 99, flags: T.TUNNEL_DONT_FRAGMENT }))
    expect(key.flags & (H.HEADER_F_DF_SET | H.HEADER_F_DF_INHERIT)).toBe(H.HEADER_F_DF_SET)
    expect(key.bytes.slice(92)).toBe('00003700')
  })

  test('a classic device without remote, and one whose policy is the mark, cannot have a template', () => {
    const any = device(4, N.NETDEV_KIND_VXLAN)
    newlink(
      any,
      info((b) => b.attrU32(L.IFLA_VXLAN_ID, 1)),
    )
    expect(vxlan.outer(a, any, a.m[(any + N.NETDEV_TUN) >> 2], newOuter())).toBe(SLOW_NO_REMOTE)
    const gbp = device(5, N.NETDEV_KIND_VXLAN)
    newlink(gbp, info(classic(1, (b) => b.attrFlag(L.IFLA_VXLAN_GBP))))
    expect(vxlan.outer(a, gbp, a.m[(gbp + N.NETDEV_TUN) >> 2], newOuter())).toBe(SLOW_PER_PACKET)
  })

  test('source ports of the device, when it has a range', () => {
    const own = device(4, N.NETDEV_KIND_VXLAN)
    newlink(own, info(classic(56, (b) => b.attr(L.IFLA_VXLAN_PORT_RANGE, Uint8Array.from([0, 100, 0, 110])))))
    const out = newOuter()
    vxlan.outer(a, own, a.m[(own + N.NETDEV_TUN) >> 2], out)
    expect([out.portMin, out.portCount]).toEqual([100, 10])
  })
})

describe('ip link', () => {
  const attrs = (dev: number): string => {
    const b = new Builder()
    b.begin(0, 0)
    vxlan.fillInfo(a, dev, b)
    const m = b.end()
    const d = viewOf(m)
    const out: string[] = []
    for (let o = 16; o < m.length; o += (d.getUint16(o, true) + 3) & ~3)
      out.push(`${d.getUint16(o + 2, true)}:${hex(m.slice(o + 4, o + d.getUint16(o, true)))}`)
    return out.join(' ')
  }

  test('shows what the kernel shows', () => {
    // Recorded from a kernel (attributes younger than 6.1 left out).
    const v1 = device(2, N.NETDEV_KIND_VXLAN)
    device(1, N.NETDEV_KIND_LOOPBACK)
    newlink(
      v1,
      info(
        classic(5, (b) => {
          b.attrFlag(L.IFLA_VXLAN_TTL_INHERIT)
          b.attrU8(L.IFLA_VXLAN_TOS, 1)
          b.attrU8(L.IFLA_VXLAN_DF, 1)
          b.attr(L.IFLA_VXLAN_PORT_RANGE, Uint8Array.from([0, 5, 0, 6]))
          b.attrU32(L.IFLA_VXLAN_LINK, 1)
          b.attrFlag(L.IFLA_VXLAN_GBP)
        }),
      ),
    )
    expect(attrs(v1)).toBe(
      '1:05000000 2:0a000001 3:01000000 4:0a000002 5:00 28:01 6:01 29:01 26:00000000 7:01 11:00 12:00 13:00 14:00 ' +
        '25:00 8:2c010000 9:00000000 15:12b5 18:01 19:00 20:00 21:00 22:00 10:00050006 23:',
    )
    const v2 = device(3, N.NETDEV_KIND_VXLAN)
    newlink(v2, info(external))
    expect(attrs(v2)).toBe(
      '1:00000000 5:00 28:00 6:00 29:00 26:00000000 7:00 11:00 12:00 13:00 14:00 25:01 8:2c010000 9:00000000 15:12b5 ' +
        '18:01 19:00 20:00 21:00 22:00 10:00000000',
    )
    expect(tunnelOf(a, v2)).toBe(vxlan)
    expect(tunnelNamed('vxlan')).toBe(vxlan)
  })

  test('the port defaults to the kernel’s, the MTU follows the lower device', () => {
    const p1 = device(9, N.NETDEV_KIND_PORT)
    a.m[(p1 + N.NETDEV_MTU) >> 2] = 1400
    const dev = device(2, N.NETDEV_KIND_VXLAN)
    newlink(
      dev,
      info((b) => {
        b.attrU32(L.IFLA_VXLAN_ID, 5)
        b.attrU32(L.IFLA_VXLAN_LINK, 9)
      }),
    )
    expect(a.m[(dev + N.NETDEV_TP_DST) >> 2]).toBe(0x1821) // 8472 in wire order
    expect(a.m[(dev + N.NETDEV_MTU) >> 2]).toBe(1350)
    const jumbo = device(3, N.NETDEV_KIND_VXLAN)
    newlink(
      jumbo,
      info((b) => b.attrU32(L.IFLA_VXLAN_ID, 6)),
      9000,
    )
    expect(a.m[(jumbo + N.NETDEV_MTU) >> 2]).toBe(9000)
  })

  const v6 = (s: string): Uint8Array => Uint8Array.from(Buffer.from(`${s.padEnd(30, '0')}01`, 'hex'))
  const refusals: [string, number, string, (b: Builder) => void, number?][] = [
    ['VNI too large', 34, 'VXLAN ID must be lower than 16777216', (b) => b.attrU32(1, 1 << 24)],
    ['reversed ports', 22, 'Invalid source port range', (b) => b.attr(10, Uint8Array.from([0, 9, 0, 8]))],
    ['df', 22, 'Invalid DF attribute', (b) => b.attrU8(29, 3)],
    ['short', 34, 'Attribute failed policy validation', (b) => b.attrU8(1, 3)],
    [
      'families',
      22,
      'Local and remote address must be from the same family',
      (b) => {
        b.attr(2, Uint8Array.from([10, 0, 0, 1]))
        b.attr(17, v6('fd00'))
      },
    ],
    ['local multicast', 22, 'Local address cannot be multicast', (b) => b.attr(4, Uint8Array.from([224, 0, 0, 1]))],
    [
      'group without dev',
      22,
      'Local interface required for multicast remote destination',
      (b) => b.attr(2, Uint8Array.from([239, 0, 0, 1])),
    ],
    [
      'scopes',
      22,
      'Invalid combination of local and remote address scopes',
      (b) => {
        b.attr(17, v6('fe80'))
        b.attr(16, v6('fd00'))
      },
    ],
    [
      'link-local without dev',
      22,
      'Local interface required for link-local local/remote addresses',
      (b) => {
        b.attr(17, v6('fe80'))
        b.attr(16, v6('fe80'))
      },
    ],
    ['label over IPv4', 22, 'Label attribute only applies to IPv6 VXLAN devices', (b) => b.attrBe32(26, 5)],
    ['no such lower device', 19, 'Invalid local interface, device not found', (b) => b.attrU32(3, 99)],
    ['mtu', 22, 'MTU must be between 68 and 65535', () => {}, 60],
    ['gpe', 95, 'vxlan: GPE is not supported', (b) => b.attrFlag(27)],
    ['proxy', 95, 'vxlan: PROXY is not supported', (b) => b.attrU8(11, 1)],
    [
      'same VNI',
      17,
      'A VXLAN device with the specified VNI already exists',
      (b) => {
        b.attrU32(1, 5)
        b.attrBe16(15, 4789)
      },
    ],
  ]
  test.each(refusals)('refuses: %s', (_name, errno, message, fill, mtu) => {
    newlink(device(2, N.NETDEV_KIND_VXLAN), info(classic(5)))
    const dev = device(3, N.NETDEV_KIND_VXLAN)
    const before = hex(a.u8.slice(dev, dev + N.NETDEV_SIZE))
    let caught: unknown
    try {
      newlink(dev, info(fill), mtu)
    } catch (e) {
      caught = e
    }
    expect(caught).toBeInstanceOf(NetlinkError)
    expect((caught as NetlinkError).errno).toBe(errno)
    expect((caught as NetlinkError).message).toBe(message)
    expect(hex(a.u8.slice(dev, dev + N.NETDEV_SIZE))).toBe(before)
  })

  test('needs attributes at all', () => {
    expect(() => newlink(device(2, N.NETDEV_KIND_VXLAN), null)).toThrow(
      'Required attributes not provided to perform the operation',
    )
  })

  test('another way of receiving is another device, but not on the same socket', () => {
    const v1 = device(2, N.NETDEV_KIND_VXLAN)
    newlink(v1, info(classic(5)))
    const v2 = device(3, N.NETDEV_KIND_VXLAN)
    newlink(v2, info(external))
    const v3 = device(4, N.NETDEV_KIND_VXLAN)
    newlink(
      v3,
      info((b) => {
        b.attrU32(1, 6)
        b.attr(16, v6('fd00'))
        b.attrBe16(15, 4789)
      }),
    )
    a.m[(v1 + N.NETDEV_FLAGS) >> 2] = N.IFF_UP
    expect(() => vxlan.open?.(a, v2)).toThrow(expect.objectContaining({ errno: 98 }))
    vxlan.open?.(a, v3)
    a.m[(v1 + N.NETDEV_FLAGS) >> 2] = 0
    vxlan.open?.(a, v2)
  })

  test('ip link set: what may change, and the refusals', () => {
    const dev = device(2, N.NETDEV_KIND_VXLAN)
    newlink(dev, info(classic(5)))
    const set = (fill: (b: Builder) => void): void => {
      const data = info(fill)
      vxlan.changelink(a, dev, viewOf(data), 0, data.length)
    }
    const old = a.m[(dev + N.NETDEV_TUN) >> 2]
    set((b) => {
      b.attrU8(L.IFLA_VXLAN_TTL, 5)
      b.attr(L.IFLA_VXLAN_GROUP, Uint8Array.from([10, 0, 0, 3]))
    })
    expect(attrs(dev)).toContain('2:0a000003 4:0a000002 5:05')
    expect(a.m[(dev + N.NETDEV_TUN) >> 2]).not.toBe(old)
    expect(() => set((b) => b.attrU32(L.IFLA_VXLAN_ID, 6))).toThrow('Cannot change VNI')
    expect(() => set((b) => b.attrBe16(L.IFLA_VXLAN_PORT, 6))).toThrow('Cannot change port')
    expect(() => set((b) => b.attrFlag(L.IFLA_VXLAN_TTL_INHERIT))).toThrow('vxlan: cannot change TTL_INHERIT flag')
    expect(() => set((b) => b.attr(L.IFLA_VXLAN_GROUP6, v6('fd00')))).toThrow(
      'New group address family does not match old group',
    )
    vxlan.dellink(a, dev)
    expect(a.m[(dev + N.NETDEV_TUN) >> 2]).toBe(0)
  })
})
