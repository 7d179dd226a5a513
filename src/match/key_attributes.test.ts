// Attributes and key are the same thing twice: for any values and masks, what is dumped makes the same key again.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ENC_OPTS_GENEVE, KEY_ENC_OPTS_KIND, KEY_FLAGS, KEY_IPV4_DST, KEY_N_PROTO } from '../memory/layout/flow_key.ts'
import { Builder, NLA_F_NESTED } from '../wire/netlink.ts'
import { EINVAL, ERANGE, NetlinkError } from '../wire/netlink_error.ts'
import * as Tca from '../wire/tca_flower.ts'
import { flowKey, flowKeyAttributes, matchGroups } from './index.ts'
import { keyExtra } from './match.ts'

const devices = { indexOf: (name: string): number => Number(name.slice(1)), nameOf: (i: number): string => `p${i}` }

interface Made {
  key: Uint8Array
  mask: Uint8Array
  extra: ReturnType<typeof keyExtra>
}

function made(b: Builder): Made {
  const m: Made = {
    key: new Uint8Array(512),
    mask: new Uint8Array(512),
    extra: keyExtra(devices),
  }
  flowKey(b.d, 0, b.at, m.key, m.mask, m.extra)
  return m
}

const refusal = (b: Builder): NetlinkError => {
  try {
    made(b)
  } catch (e) {
    if (e instanceof NetlinkError) return e
    throw e
  }
  throw new Error('was not refused')
}

type Field = readonly [type: number, maskType: number, len: number]
const IPV4: Field[] = [
  [Tca.TCA_FLOWER_KEY_IPV4_SRC, Tca.TCA_FLOWER_KEY_IPV4_SRC_MASK, 4],
  [Tca.TCA_FLOWER_KEY_IPV4_DST, Tca.TCA_FLOWER_KEY_IPV4_DST_MASK, 4],
]
const ANY: Field[] = [
  [Tca.TCA_FLOWER_KEY_ETH_DST, Tca.TCA_FLOWER_KEY_ETH_DST_MASK, 6],
  [Tca.TCA_FLOWER_KEY_ETH_SRC, Tca.TCA_FLOWER_KEY_ETH_SRC_MASK, 6],
  [Tca.TCA_FLOWER_KEY_IP_TOS, Tca.TCA_FLOWER_KEY_IP_TOS_MASK, 1],
  [Tca.TCA_FLOWER_KEY_IP_TTL, Tca.TCA_FLOWER_KEY_IP_TTL_MASK, 1],
  [Tca.TCA_FLOWER_KEY_ENC_IPV4_SRC, Tca.TCA_FLOWER_KEY_ENC_IPV4_SRC_MASK, 4],
  [Tca.TCA_FLOWER_KEY_ENC_IPV4_DST, Tca.TCA_FLOWER_KEY_ENC_IPV4_DST_MASK, 4],
  [Tca.TCA_FLOWER_KEY_ENC_KEY_ID, 0, 4],
  [Tca.TCA_FLOWER_KEY_ENC_UDP_SRC_PORT, Tca.TCA_FLOWER_KEY_ENC_UDP_SRC_PORT_MASK, 2],
  [Tca.TCA_FLOWER_KEY_ENC_UDP_DST_PORT, Tca.TCA_FLOWER_KEY_ENC_UDP_DST_PORT_MASK, 2],
  [Tca.TCA_FLOWER_KEY_ENC_IP_TOS, Tca.TCA_FLOWER_KEY_ENC_IP_TOS_MASK, 1],
  [Tca.TCA_FLOWER_KEY_ENC_IP_TTL, Tca.TCA_FLOWER_KEY_ENC_IP_TTL_MASK, 1],
  [Tca.TCA_FLOWER_KEY_CT_ZONE, Tca.TCA_FLOWER_KEY_CT_ZONE_MASK, 2],
  [Tca.TCA_FLOWER_KEY_CT_MARK, Tca.TCA_FLOWER_KEY_CT_MARK_MASK, 4],
  [Tca.TCA_FLOWER_KEY_CT_LABELS, Tca.TCA_FLOWER_KEY_CT_LABELS_MASK, 16],
  [Tca.TCA_FLOWER_KEY_HASH, Tca.TCA_FLOWER_KEY_HASH_MASK, 4],
  [Tca.TCA_FLOWER_L2_MISS, 0, 1],
]
const PORTS: Record<number, Field[]> = {
  6: [
    [Tca.TCA_FLOWER_KEY_TCP_SRC, Tca.TCA_FLOWER_KEY_TCP_SRC_MASK, 2],
    [Tca.TCA_FLOWER_KEY_TCP_DST, Tca.TCA_FLOWER_KEY_TCP_DST_MASK, 2],
    [Tca.TCA_FLOWER_KEY_TCP_FLAGS, Tca.TCA_FLOWER_KEY_TCP_FLAGS_MASK, 2],
  ],
  17: [
    [Tca.TCA_FLOWER_KEY_UDP_SRC, Tca.TCA_FLOWER_KEY_UDP_SRC_MASK, 2],
    [Tca.TCA_FLOWER_KEY_UDP_DST, Tca.TCA_FLOWER_KEY_UDP_DST_MASK, 2],
  ],
  132: [
    [Tca.TCA_FLOWER_KEY_SCTP_SRC, Tca.TCA_FLOWER_KEY_SCTP_SRC_MASK, 2],
    [Tca.TCA_FLOWER_KEY_SCTP_DST, Tca.TCA_FLOWER_KEY_SCTP_DST_MASK, 2],
  ],
  1: [
    [Tca.TCA_FLOWER_KEY_ICMPV4_TYPE, Tca.TCA_FLOWER_KEY_ICMPV4_TYPE_MASK, 1],
    [Tca.TCA_FLOWER_KEY_ICMPV4_CODE, Tca.TCA_FLOWER_KEY_ICMPV4_CODE_MASK, 1],
  ],
  115: [[Tca.TCA_FLOWER_KEY_L2TPV3_SID, 0, 4]],
  50: [[Tca.TCA_FLOWER_KEY_SPI, Tca.TCA_FLOWER_KEY_SPI_MASK, 4]],
}

test('values and masks of every kind go into the key and come back', () => {
  const bytes = fc.uint8Array({ minLength: 16, maxLength: 16 })
  const pick = fc.array(fc.tuple(fc.nat(1000), bytes, bytes), { maxLength: 8 })
  fc.assert(
    fc.property(
      fc.constantFrom(1, 6, 17, 50, 115, 132),
      fc.constantFrom(0, 0x8100, 0x88a8),
      pick,
      (proto, tag, picks) => {
        const b = new Builder()
        const fields = [...IPV4, ...ANY, ...PORTS[proto]]
        const done = new Set<number>()
        for (const [n, value, mask] of picks) {
          const [type, maskType, len] = fields[n % fields.length]
          if (done.has(type)) continue
          done.add(type)
          const v = type === Tca.TCA_FLOWER_L2_MISS ? new Uint8Array([value[0] & 1]) : value.subarray(0, len)
          b.attr(type, v)
          mask[0] |= 1 // a mask of zeros asks for nothing, and is not dumped
          if (maskType) b.attrSlice(maskType, mask, 0, len)
        }
        b.attrU8(Tca.TCA_FLOWER_KEY_IP_PROTO, proto)
        b.attrBe16(Tca.TCA_FLOWER_KEY_ETH_TYPE, tag || 0x0800)
        if (tag) {
          b.attrU16(Tca.TCA_FLOWER_KEY_VLAN_ID, 77)
          b.attrBe16(Tca.TCA_FLOWER_KEY_VLAN_ETH_TYPE, 0x0800)
        }
        const first = made(b)
        const again = new Builder()
        flowKeyAttributes(first.key, first.mask, first.extra, again)
        if (tag) again.attrBe16(Tca.TCA_FLOWER_KEY_ETH_TYPE, tag) // the filter's protocol, which the dump says elsewhere
        const second = made(again)
        expect(second.key).toEqual(first.key)
        expect(second.mask).toEqual(first.mask)
      },
    ),
  )
})

test('options of geneve: any list, any masks', () => {
  const option = fc.record({
    cls: fc.nat(0xffff),
    type: fc.nat(0xff),
    data: fc.integer({ min: 1, max: 8 }).chain((n) => fc.uint8Array({ minLength: 4 * n, maxLength: 4 * n })),
    mask: fc.option(fc.nat(0xffff)),
  })
  fc.assert(
    fc.property(fc.array(option, { minLength: 1, maxLength: 6 }), (options) => {
      const b = new Builder()
      const put = (type: number, ones: boolean): void => {
        const list = b.nest(type)
        for (const o of options) {
          const nest = b.nest(Tca.TCA_FLOWER_KEY_ENC_OPTS_GENEVE)
          b.attrBe16(Tca.TCA_FLOWER_KEY_ENC_OPT_GENEVE_CLASS, ones ? (o.mask ?? 0xffff) : o.cls)
          b.attrU8(Tca.TCA_FLOWER_KEY_ENC_OPT_GENEVE_TYPE, ones ? 0xff : o.type)
          b.attr(Tca.TCA_FLOWER_KEY_ENC_OPT_GENEVE_DATA, ones ? o.data.map(() => 0xff) : o.data)
          b.nestEnd(nest)
        }
        b.nestEnd(list)
      }
      put(Tca.TCA_FLOWER_KEY_ENC_OPTS, false)
      put(Tca.TCA_FLOWER_KEY_ENC_OPTS_MASK, true)
      const size = options.reduce((n, o) => n + 4 + o.data.length, 0)
      if (size > 255) return expect(refusal(b).errno).toBe(ERANGE)
      const { key } = made(b)
      expect(key[KEY_ENC_OPTS_KIND]).toBe(ENC_OPTS_GENEVE)
      expect(key.subarray(256, 260)).toEqual(
        new Uint8Array([options[0].cls >> 8, options[0].cls & 0xff, options[0].type, options[0].data.length / 4]),
      )
    }),
  )
})

test('a rule asks for the family of its address, and for both when no bit of it counts', () => {
  const rule = (mask: number): Made => {
    const b = new Builder()
    b.attrBe32(Tca.TCA_FLOWER_KEY_IPV4_DST, 0x0a000001)
    b.attrBe32(Tca.TCA_FLOWER_KEY_IPV4_DST_MASK, mask)
    b.attrBe16(Tca.TCA_FLOWER_KEY_ETH_TYPE, 0x0800)
    return made(b)
  }
  expect(rule(0xff000000).key[KEY_FLAGS]).toBe(4)
  expect(rule(0xff000000).mask[KEY_FLAGS]).toBe(12)
  expect(rule(0).key[KEY_FLAGS]).toBe(12)
  expect(rule(0xff000000).key.subarray(KEY_IPV4_DST, KEY_IPV4_DST + 4)).toEqual(new Uint8Array([10, 0, 0, 1]))
})

test('802.1Q without an inner ethertype asks for no protocol; the inner one is the protocol', () => {
  const b = new Builder()
  b.attrBe16(Tca.TCA_FLOWER_KEY_ETH_TYPE, 0x8100)
  expect(made(b).mask.subarray(KEY_N_PROTO, KEY_N_PROTO + 2)).toEqual(new Uint8Array(2))
  b.attrBe16(Tca.TCA_FLOWER_KEY_VLAN_ETH_TYPE, 0x86dd)
  expect(made(b).key.subarray(KEY_N_PROTO, KEY_N_PROTO + 2)).toEqual(new Uint8Array([0x86, 0xdd]))
})

test('refusals: short attributes, unknown ones, half a range, a bad stack', () => {
  const b = new Builder()
  const one = (put: () => void): NetlinkError => {
    b.reset()
    put()
    b.attrU8(Tca.TCA_FLOWER_KEY_IP_PROTO, 17)
    b.attrBe16(Tca.TCA_FLOWER_KEY_ETH_TYPE, 0x0800)
    return refusal(b)
  }
  expect(one(() => b.attr(Tca.TCA_FLOWER_KEY_IPV4_DST, new Uint8Array(0)))).toMatchObject({
    errno: ERANGE,
    message: '',
  })
  expect(one(() => b.attrU8(200, 1)).errno).toBe(EINVAL)
  expect(one(() => b.attrBe16(Tca.TCA_FLOWER_KEY_PORT_DST_MIN, 5)).message).toBe(
    'Both min and max destination ports must be specified',
  )
  expect(one(() => b.attrU16(Tca.TCA_FLOWER_KEY_CT_STATE, 2)).message).toBe('no trk, so no other flag can be set')
  expect(one(() => b.attrStr(Tca.TCA_FLOWER_INDEV, 'p0')).message).toBe('Network device not found')
  expect(one(() => b.attrBe32(Tca.TCA_FLOWER_KEY_FLAGS, 1)).message).toBe('Missing flags mask')
  b.reset()
  b.attrBe16(Tca.TCA_FLOWER_KEY_ETH_TYPE, 0x8847)
  b.nestEnd(b.nest(Tca.TCA_FLOWER_KEY_MPLS_OPTS))
  expect(refusal(b).message).toBe('NLA_F_NESTED is missing')
  b.reset()
  b.attrBe16(Tca.TCA_FLOWER_KEY_ETH_TYPE, 0x8847)
  const stack = b.nest(Tca.TCA_FLOWER_KEY_MPLS_OPTS | NLA_F_NESTED)
  const lse = b.nest(Tca.TCA_FLOWER_KEY_MPLS_OPTS_LSE | NLA_F_NESTED)
  b.attrU8(Tca.TCA_FLOWER_KEY_MPLS_OPT_LSE_DEPTH, 8)
  b.nestEnd(lse)
  b.nestEnd(stack)
  expect(refusal(b).message).toBe('Invalid MPLS depth')
})

test('every keyword belongs to one group', () => {
  const words = matchGroups.flatMap((g) => g.keywords)
  expect(new Set(words).size).toBe(words.length)
  expect(new Set(matchGroups.map((g) => g.name)).size).toBe(matchGroups.length)
})
