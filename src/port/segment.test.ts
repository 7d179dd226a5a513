// GSO frames taken apart: every byte that the segments have, and the checksums by a reckoning of the test's own.
import { describe, expect, test, vi } from 'vitest'
import { Datapath } from '../datapath/chip.ts'
import { createArena, reserve } from '../memory/arena.ts'
import { DROP_GSO, DROP_NO_SLOT, DROP_RX_TOO_LONG } from '../memory/layout/drop.ts'
import { segment, VNET_LEN } from './segment.ts'

// Each world is an arena and an instance of the chip: slow on a busy machine.
vi.setConfig({ testTimeout: 60_000 })

const be16 = (n: number): number[] => [(n >> 8) & 0xff, n & 0xff]
const MACS = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]
const payload = (n: number): Uint8Array => Uint8Array.from({ length: n }, (_, i) => (i * 7 + (i >> 8)) & 0xff)

function onesSum(bytes: ArrayLike<number>): number {
  let s = 0
  for (let i = 0; i < bytes.length; i += 2) s += (bytes[i] << 8) | (bytes[i + 1] ?? 0)
  while (s > 0xffff) s = (s & 0xffff) + (s >>> 16)
  return s
}

const v4 = (proto: number, length: number): number[] => {
  const h = [0x45, 0, ...be16(20 + length), ...be16(0x100), 0x40, 0, 64, proto, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]
  const sum = ~onesSum(h) & 0xffff
  return [...h.slice(0, 10), ...be16(sum), ...h.slice(12)]
}
const ADDRESS6 = [...Array(15).fill(0xfd), 1, ...Array(15).fill(0xfd), 2]
const v6 = (proto: number, length: number): number[] => [0x60, 0, 0, 0, ...be16(length), proto, 64, ...ADDRESS6]
/** Sum of the pseudo header: what stands in the field of a checksum that only begins. */
const pseudo = (six: boolean, proto: number, length: number): number =>
  onesSum([...(six ? ADDRESS6 : [10, 0, 0, 1, 10, 0, 0, 2]), 0, proto, ...be16(length)])

/** FIN, PSH, ACK and CWR; twelve bytes of options. */
const tcp = (six: boolean, data: Uint8Array): number[] => [
  ...[...be16(1000), ...be16(2000), 0, 0, 0xff, 0xf0, 0, 0, 0, 1, 0x80, 0x99, 1, 0],
  ...[...be16(pseudo(six, 6, 32 + data.length)), 0, 0, ...Array(12).fill(1), ...data],
]
const udp = (six: boolean, data: ArrayLike<number>, check = pseudo(six, 17, 8 + data.length)): number[] => [
  ...[...be16(1000), ...be16(4789), ...be16(8 + data.length), ...be16(check), ...Array.from(data)],
]
const eth = (type: number, bytes: number[], tag: number[] = []): number[] => [...MACS, ...tag, ...be16(type), ...bytes]

interface Vnet {
  flags?: number
  type: number
  size: number
  start: number
  offset: number
}

function run(frame: number[], v: Vnet, packets = 64) {
  const a = createArena({ bytes: 64 << 20, packets, counters: 64, emc: 64, frameSize: 1600 })
  const dp = new Datapath(a, 0)
  const at = reserve(a, 70000)
  const list = reserve(a, 1024)
  a.u8[at] = v.flags ?? 1
  a.u8[at + 1] = v.type
  a.d.setUint16(at + 4, v.size, true)
  a.d.setUint16(at + 6, v.start, true)
  a.d.setUint16(at + 8, v.offset, true)
  a.u8.set(frame, at + VNET_LEN)
  const n = segment(dp, at, at + VNET_LEN, frame.length, list)
  const segments = Array.from({ length: n }, (_, i) => dp.frame(a.m[(list >> 2) + i]).slice())
  return { dp, segments }
}

const u16 = (b: Uint8Array, o: number): number => (b[o] << 8) | b[o + 1]
const u32 = (b: Uint8Array, o: number): number => u16(b, o) * 65536 + u16(b, o + 2)
/** A right checksum over `bytes` and its pseudo header sums up to all ones. */
const isWhole = (b: Uint8Array, l4: number, six: boolean, proto: number): boolean =>
  onesSum([...be16(onesSum(b.subarray(l4))), ...be16(pseudo(six, proto, b.length - l4))]) === 0xffff

describe.each([false, true])('TCP, IPv6 %s', (six) => {
  const ip = six ? 40 : 20
  const type = six ? 0x86dd : 0x0800
  const head = six ? v6 : v4

  test.each([0, 4])('%i bytes of tag: lengths, numbers, flags and checksums are each segment’s own', (tagBytes) => {
    const data = payload(4000)
    const tag = tagBytes === 0 ? [] : [0x81, 0, 0, 5]
    const l4 = 14 + tagBytes + ip
    const { segments, dp } = run(eth(type, [...head(6, 32 + 4000), ...tcp(six, data)], tag), {
      type: six ? 4 : 1,
      size: 1448,
      start: l4,
      offset: 16,
    })
    expect(segments.map((s) => s.length - l4 - 32)).toEqual([1448, 1448, 1104])
    expect(Buffer.concat(segments.map((s) => s.subarray(l4 + 32)))).toEqual(Buffer.from(data))
    segments.forEach((s, i) => {
      expect(s.subarray(0, 12)).toEqual(Uint8Array.from(MACS))
      expect(u32(s, l4 + 4)).toBe(0xfff0 + i * 1448)
      expect(s[l4 + 13]).toBe([0x90, 0x10, 0x19][i])
      expect(isWhole(s, l4, six, 6)).toBe(true)
      const at = 14 + tagBytes
      if (six) expect(u16(s, at + 4)).toBe(s.length - l4)
      else {
        expect(u16(s, at + 2)).toBe(s.length - at)
        expect(u16(s, at + 4)).toBe(0x100 + i)
        expect(onesSum(s.subarray(at, at + 20))).toBe(0xffff)
      }
    })
    expect(dp.allDrops()).toBe(0)
  })

  test('inside of VXLAN: both headers, and the outer checksum where there is one', () => {
    const data = payload(3000)
    const inner = eth(type, [...head(6, 32 + 3000), ...tcp(six, data)])
    const vxlan = [8, 0, 0, 0, 0, 0, 7, 0, ...inner]
    for (const check of [0, 0x1234]) {
      const frame = eth(0x0800, [...v4(17, 8 + vxlan.length), ...udp(false, vxlan, check)])
      const l4 = 50 + 14 + ip
      const { segments } = run(frame, { type: six ? 4 : 1, size: 1400, start: l4, offset: 16 })
      expect(segments.map((s) => s.length - l4 - 32)).toEqual([1400, 1400, 200])
      segments.forEach((s, i) => {
        expect(u16(s, 16)).toBe(s.length - 14)
        expect(onesSum(s.subarray(14, 34))).toBe(0xffff)
        expect(u16(s, 18)).toBe(0x100 + i)
        expect(u16(s, 38)).toBe(s.length - 34)
        if (check === 0) expect(u16(s, 40)).toBe(0)
        else expect(isWhole(s, 34, false, 17)).toBe(true)
        expect(isWhole(s, l4, six, 6)).toBe(true)
        expect(u32(s, l4 + 4)).toBe(0xfff0 + i * 1400)
      })
    }
  })
})

test('UDP: datagrams of their own, with their own length', () => {
  const frame = eth(0x0800, [...v4(17, 8 + 2500), ...udp(false, payload(2500))])
  const { segments } = run(frame, { type: 5, size: 1000, start: 34, offset: 6 })
  expect(segments.map((s) => u16(s, 38))).toEqual([1008, 1008, 508])
  for (const s of segments) expect(isWhole(s, 34, false, 17)).toBe(true)
})

describe('what cannot be taken apart is dropped by name', () => {
  const frame = eth(0x0800, [...v4(6, 32 + 3000), ...tcp(false, payload(3000))])
  const good: Vnet = { type: 1, size: 1000, start: 34, offset: 16 }
  test.each([
    ['a kind that is not known (UFO)', { type: 3 }],
    ['no checksum offset, hence no header', { flags: 0 }],
    ['segments of nothing', { size: 0 }],
    ['headers beyond the frame', { start: 3050 }],
    ['a start that is no TCP header of the packet', { start: 40 }],
  ])('%s', (_, wrong) => {
    const { segments, dp } = run(frame, { ...good, ...wrong })
    expect(segments).toEqual([])
    expect(dp.drops(DROP_GSO)).toBe(1)
    expect(dp.freeSlots()).toBe(64)
  })

  test('segments larger than a slot, and more than there are slots', () => {
    const { dp, segments } = run(frame, { ...good, size: 2000 })
    expect(segments.length).toBe(1)
    expect(dp.drops(DROP_RX_TOO_LONG)).toBe(1)
    const few = run(frame, good, 2)
    expect(few.segments.length).toBe(2)
    expect(few.dp.drops(DROP_NO_SLOT)).toBe(1)
  })
})
